//! What one wait costs with more and more watched descriptors, of which one is ready: select and poll
//! look at all of them, epoll at that one.
//!
//! `cargo bench --bench wait_cost`

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use io_models::sys::epoll::{Epoll, EpollFlags, Events};
use io_models::sys::limits::Nofile;
use io_models::sys::poll::{PollFlags, PollSet};
use io_models::sys::select::{BigFdSet, select_big};
use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;

fn waits(c: &mut Criterion) {
    let limit = Nofile::raise().expect("the limit can be read").soft;
    for watched in [10, 100, 1000, 9000] {
        if limit < 2 * watched + 50 {
            eprintln!("skipped: {watched} pairs of sockets are more than {limit} descriptors");
            continue;
        }
        let pairs: Vec<_> = (0..watched).map(|_| UnixStream::pair().expect("two descriptors")).collect();
        (&pairs[pairs.len() / 2].1).write_all(b"x").expect("room for a byte");
        let mut group = c.benchmark_group("wait");

        let mut set = BigFdSet::new();
        pairs.iter().for_each(|(socket, _)| set.insert(socket.as_raw_fd()));
        group.bench_function(BenchmarkId::new("select", watched), |b| {
            b.iter(|| {
                let mut readable = set.clone();
                assert_eq!(select_big(&mut readable, None, None), Ok(1));
            });
        });

        let mut set = PollSet::new();
        for (socket, _) in &pairs {
            set.push(socket, PollFlags::POLLIN);
        }
        group.bench_function(BenchmarkId::new("poll", watched), |b| {
            b.iter(|| assert_eq!(set.wait(None), Ok(1)))
        });

        let epoll = Epoll::new().expect("a descriptor");
        for (token, (socket, _)) in pairs.iter().enumerate() {
            epoll.add(socket, token as u64, EpollFlags::EPOLLIN).expect("sockets can be watched");
        }
        let mut events = Events::with_capacity(8);
        group.bench_function(BenchmarkId::new("epoll", watched), |b| {
            b.iter(|| assert_eq!(epoll.wait(&mut events, None), Ok(1)));
        });
    }
}

criterion_group!(benches, waits);
criterion_main!(benches);
