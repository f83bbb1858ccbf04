//! One request and its answer over loopback, for each model that runs in this process: wake-ups and all.
//!
//! A model with workers has one. The client sleeps in recv(2), so this is mostly the scheduler. For numbers to compare models with
//! use `io-models compare`. `cargo bench --bench echo_roundtrip`

use criterion::{Criterion, criterion_group, criterion_main};
use io_models::echo::Reply;
use io_models::model::{self, Model, Runs};
use io_models::serve::Job;
use io_models::stop;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

fn roundtrips(c: &mut Criterion) {
    let mut group = c.benchmark_group("echo 64 bytes");
    group.warm_up_time(Duration::from_secs(1)).measurement_time(Duration::from_secs(3));
    for model in model::ALL {
        if let Some(why) = why_not(model) {
            eprintln!("skipped: {}: {why}", model.name);
            continue;
        }
        let listener = model.listen(([127, 0, 0, 1], 0).into()).expect("a free port");
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
                assert_eq!(std::mem::replace(&mut answer, [0; 64]), [7; 64]);
            });
        });
        drop(client);
        stopper.stop().expect("the server listens to the stop");
        server.join().expect("the server did not panic").expect("the server did not fail");
    }
}

fn why_not(model: &Model) -> Option<String> {
    match model.runs {
        Runs::ProcessPerClient | Runs::WorkerProcesses => {
            Some("it forks, and this process has several threads".into())
        }
        _ => (model.why_not)(),
    }
}

criterion_group!(benches, roundtrips);
criterion_main!(benches);
