//! One request and its answer over loopback, for each model that runs in a thread: wake-ups and all.
//!
//! The client sleeps in recv(2), so this is mostly the scheduler. For numbers to compare models with
//! use `io-models compare`. `cargo bench --bench echo_roundtrip`

use criterion::{Criterion, criterion_group, criterion_main};
use io_models::echo::Reply;
use io_models::initserver::initserver;
use io_models::model::{self, Runs};
use io_models::serve::Job;
use io_models::stop;
use std::io::{Read, Write};
use std::net::TcpStream;

fn roundtrips(c: &mut Criterion) {
    let mut group = c.benchmark_group("echo 64 bytes");
    for model in model::ALL.iter().filter(|model| model.runs == Runs::InThread) {
        let listener = initserver(([127, 0, 0, 1], 0).into()).expect("a free port");
        let addr = listener.addr();
        let (stopper, stop) = stop::pair().expect("a pipe");
        let server = std::thread::spawn(move || (model.serve)(Job::new(listener, &stop, Reply::Echo)));
        let mut client = TcpStream::connect(addr).expect("the server listens");
        client.set_nodelay(true).expect("a TCP socket");
        let mut answer = [0; 64];
        group.bench_function(model.name, |b| {
            b.iter(|| {
                client.write_all(&[7; 64]).expect("the server lives");
                client.read_exact(&mut answer).expect("the server answers");
                assert_eq!(answer, [7; 64]);
            });
        });
        drop(client);
        stopper.stop().expect("the server listens to the stop");
        server.join().expect("the server did not panic").expect("the server did not fail");
    }
}

criterion_group!(benches, roundtrips);
criterion_main!(benches);
