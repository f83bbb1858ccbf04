//! What the wrappers of `sys` cost beside the bare call: counting, naming the error, retrying.
//!
//! `cargo bench --bench wrapper_cost`

use criterion::{Criterion, criterion_group, criterion_main};
use io_models::sys::socket::{Received, Sent, recv, send};
use nix::sys::socket::MsgFlags;
use std::hint::black_box;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;

fn wrappers(c: &mut Criterion) {
    let (one, other) = UnixStream::pair().expect("two descriptors");
    let message = [7; 64];
    let mut buffer = [0; 128];
    let mut group = c.benchmark_group("send and recv 64 bytes");
    group.bench_function("through sys", |b| {
        b.iter(|| {
            assert_eq!(send(&one, black_box(&message)), Ok(Sent::Bytes(64)));
            assert_eq!(recv(&other, black_box(&mut buffer)), Ok(Received::Bytes(64)));
        });
    });
    group.bench_function("bare", |b| {
        b.iter(|| {
            let sent = nix::sys::socket::send(one.as_raw_fd(), black_box(&message), MsgFlags::MSG_NOSIGNAL);
            assert_eq!(sent, Ok(64));
            let flags = MsgFlags::empty();
            let received = nix::sys::socket::recv(other.as_raw_fd(), black_box(&mut buffer), flags);
            assert_eq!(received, Ok(64));
        });
    });
}

criterion_group!(benches, wrappers);
criterion_main!(benches);
