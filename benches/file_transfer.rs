//! A file of 256 MiB over loopback into memory: as the library sends it, into the old file and beside it,
//! and as the course's originals do, with calls of 4 KiB.
//!
//! Sender and receiver have a processor each where there are two. What new pages cost on this machine is
//! the difference between the first two. `cargo bench --bench file_transfer`

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use io_models::initserver::initserver;
use io_models::sys::affinity;
use io_models::sys::socket::{Accepted, Mode, accept};
use io_models::transfer::{Incoming, Outgoing, Place, connect, expect_ok, receive_header, say_ok};
use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::thread;

const BYTES: u64 = 256 << 20;
const PIECE: usize = 4096;

fn transfers(c: &mut Criterion) {
    let memory = Path::new("/dev/shm");
    let folder = tempfile::tempdir_in(memory).expect("a folder in memory");
    let (source, target) = (folder.path().join("source"), folder.path().join("target"));
    fs::create_dir(&target).expect("a folder");
    let block: Vec<u8> = (0..1 << 20).map(|i: u32| (i % 251) as u8).collect();
    let mut file = File::create(&source).expect("a source");
    (0..BYTES >> 20).for_each(|_| file.write_all(&block).expect("room in memory"));
    let content = fs::read(&source).expect("the source");
    let old = vec![0; content.len()];
    let arrived = target.join("source");

    // Known before any thread is pinned: threads inherit that.
    let cpus = affinity::allowed().expect("the processors of this process");
    let mut group = c.benchmark_group("256 MiB over loopback");
    group.throughput(Throughput::Bytes(BYTES)).sample_size(10);
    for place in [Place::InPlace, Place::Beside] {
        fs::write(&arrived, &old).expect("room in memory");
        group.bench_function(BenchmarkId::new("sendfile to splice", format!("{place:?}")), |b| {
            b.iter(|| ours(&cpus, &source, &target, place));
        });
        assert!(fs::read(&arrived).is_ok_and(|is| is == content), "what was measured arrived");
    }
    fs::write(&arrived, &old).expect("room in memory");
    group.bench_function(BenchmarkId::new("4 KiB calls", "InPlace"), |b| {
        b.iter(|| originals(&cpus, &source, &arrived));
    });
    assert!(fs::read(&arrived).is_ok_and(|is| is == content), "what was measured arrived");
    group.finish();
    let whole =
        fs::read(target.join("source")).expect("the target") == fs::read(&source).expect("the source");
    assert!(whole, "what was measured arrived");
}

fn ours(cpus: &[usize], source: &Path, target: &Path, place: Place) {
    let listener = initserver(([127, 0, 0, 1], 0).into()).expect("a free port");
    let port = listener.addr().port();
    thread::scope(|scope| {
        scope.spawn(move || {
            on_processor(cpus, 1);
            let accepted = accept(&listener, Mode::Blocking).expect("a sender");
            let Accepted::Client(socket, _) = accepted else { panic!("the sender has gone") };
            let header = receive_header(&socket).expect("a header");
            let mut incoming = Incoming::create(target, &header, place).expect("room in memory");
            say_ok(&socket).expect("the sender is there");
            incoming.receive(&socket).expect("all of it");
            say_ok(&socket).expect("the sender is there");
        });
        on_processor(cpus, 0);
        let file = Outgoing::open(source, None).expect("the source");
        let socket = connect("127.0.0.1", port).expect("the receiver listens");
        file.announce(&socket).expect("the receiver is there");
        expect_ok(&socket).expect("it wants the file");
        file.send(&socket, |_| ()).expect("the receiver is there");
        expect_ok(&socket).expect("it has the file");
    });
}

/// What the originals' loops do, without their faults.
fn originals(cpus: &[usize], source: &Path, target: &Path) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    let addr = listener.local_addr().expect("its address");
    thread::scope(|scope| {
        scope.spawn(move || {
            on_processor(cpus, 1);
            let (mut socket, _) = listener.accept().expect("a sender");
            let mut file = File::options().write(true).open(target).expect("the target");
            let mut piece = [0; PIECE];
            loop {
                match socket.read(&mut piece).expect("the sender is there") {
                    0 => break,
                    n => file.write_all(&piece[..n]).expect("room in memory"),
                }
            }
            socket.write_all(b"ok").expect("the sender is there");
        });
        on_processor(cpus, 0);
        let mut socket = TcpStream::connect(addr).expect("the receiver listens");
        let mut file = File::open(source).expect("the source");
        let mut piece = [0; PIECE];
        while file.read(&mut piece).expect("the source") > 0 {
            socket.write_all(&piece).expect("the receiver is there");
        }
        socket.shutdown(std::net::Shutdown::Write).expect("the receiver is there");
        socket.read_exact(&mut [0; 2]).expect("its answer");
    });
}

/// Let this thread run on the processor of that rank, if there are so many.
fn on_processor(cpus: &[usize], rank: usize) {
    if let Some(&cpu) = cpus.get(rank) {
        affinity::pin_this_thread(cpu).expect("a processor that is allowed");
    }
}

criterion_group!(benches, transfers);
criterion_main!(benches);
