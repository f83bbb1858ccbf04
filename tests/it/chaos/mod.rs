//! Clients of every kind, side by side, against every model: the server answers all that can be answered, keeps nothing of
//! them, and rests when they have left.
//!
//! Which clients come follows from a seed, which is printed when something fails. `IO_MODELS_SEED=N cargo test --test it chaos`
//! lets the same come again. With `IO_MODELS_SOAK=SECONDS` one model after another is tried for so long, which is what
//! `scripts/soak.sh` does.

mod client;

use crate::support::{
    Held, Report, Server, WORKERS, all_models_at_once, children, each_model, few, has_settled,
    leaves_it_to_a_ring, number, own_memory, time_awake, wait_until, worker_processes,
};
use client::{Client, Did};
use io_models::model::{Model, Waits};
use procfs::process::Process;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

/// Clients at the same time; with a model that has few at a time twice as many as it has, so that others wait.
const MANY: usize = 16;
const FOR_EACH: usize = 2;

/// Clients of a round, for each of those at the same time.
const IN_A_ROW: usize = 12;

/// Memory may grow by so much after the first round: the C library gives threads arenas and stacks, and makes more when more threads
/// happen to run at the same time.
const SLACK: u64 = 1 << 20;

/// A ring keeps the buffers that it made for clients that did not read: about 130 KiB for each, and up to twice as many because it doubles
/// them.
const MOST_BUFFERS: u64 = (2 * 130 * MANY as u64) << 10;

/// How long a server is watched that should rest, and for what share of that it may be awake.
const REST: Duration = Duration::from_secs(1);
const AWAKE: u32 = 10;

#[test]
fn whatever_clients_do_a_server_answers_keeps_nothing_and_rests() {
    let seed = number("IO_MODELS_SEED").unwrap_or_else(|| fastrand::u64(..));
    match number("IO_MODELS_SOAK") {
        None => all_models_at_once(|model| rounds(model, seed, Duration::ZERO)),
        Some(seconds) => each_model(|model| rounds(model, seed, Duration::from_secs(seconds))),
    }
}

/// Play rounds for so long, two at least. The first makes what a server makes once, and the next has the same clients.
fn rounds(model: &Model, mut seed: u64, time: Duration) {
    let (server, started) = (Server::start(model), Instant::now());
    let process = server.process();
    wait_until("the server waits for clients", || has_settled(model, &process));
    let at_first = Held::by(&process);
    let (mut done, mut memory) = (Did::default(), Vec::new());
    while memory.len() < 2 || started.elapsed() < time {
        let _told = Told(format!("to repeat it: IO_MODELS_SEED={seed} cargo test --test it chaos"));
        done = done + round(model, seed, server.addr());
        is_at_rest(model, &process, &at_first);
        memory.push(own_memory(&process));
        let grown = memory[memory.len() - 1].saturating_sub(memory[0]);
        assert!(grown < slack(model), "round {}: the server has grown by {grown} bytes", memory.len());
        seed = seed.wrapping_add(u64::from(memory.len() > 1));
    }
    if !time.is_zero() {
        let (rounds, first, last) = (memory.len(), memory[0], memory[memory.len() - 1]);
        println!("{}: {rounds} rounds, memory {first} after the first, {last} after the last", model.name);
        println!("  {done:?}");
    }
    is_true(&server.stop(), done);
}

/// By how much the memory of a server may grow after the first round.
fn slack(model: &Model) -> u64 {
    let rings = match leaves_it_to_a_ring(model.name) {
        true if model.has_workers() => WORKERS,
        is_one => usize::from(is_one),
    };
    SLACK + rings as u64 * MOST_BUFFERS
}

/// All clients of that seed.
fn round(model: &Model, seed: u64, addr: SocketAddr) -> Did {
    let at_a_time = few(model).map_or(MANY, |few| few * FOR_EACH);
    let clients = Client::population(seed, at_a_time * IN_A_ROW);
    let next = AtomicUsize::new(0);
    let one_after_another = || {
        let mut done = Did::default();
        while let Some(client) = clients.get(next.fetch_add(1, Relaxed)) {
            let _told = Told(format!("{}: a client {} failed, of seed {seed}", model.name, client.kind()));
            done = done + client.come_and_leave(addr);
        }
        done
    };
    thread::scope(|scope| {
        let running: Vec<_> = (0..at_a_time).map(|_| scope.spawn(one_after_another)).collect();
        let done = running.into_iter().map(|running| running.join().expect("no client fails"));
        done.fold(Did::default(), |all, one| all + one)
    })
}

/// The server has what it had, and sleeps.
#[track_caller]
fn is_at_rest(model: &Model, process: &Process, at_first: &Held) {
    wait_until("the server waits for clients", || has_settled(model, process));
    let what = format!("the server has no more descriptors, threads and children than {at_first:?}");
    wait_until(&what, || Held::by(process).is_within(at_first));
    assert_eq!(children(process).len(), worker_processes(model), "its children");

    if model.waits == Waits::Sleeps {
        let (since, before) = (Instant::now(), time_awake(process));
        thread::sleep(REST);
        let (awake, watched) = (time_awake(process) - before, since.elapsed());
        assert!(awake < watched / AWAKE, "without clients it was awake for {awake:?} of {watched:?}");
    }
}

/// The report says what the clients did, as far as they know: one that breaks off does not know what the server has seen of it.
#[track_caller]
fn is_true(report: &Report, done: Did) {
    let (connections, received, answered) = report.totals();
    assert!((done.served..=done.connected).contains(&connections), "{done:?}, and {report:?}");
    assert!((answered..=done.sent).contains(&received), "{done:?}, and {report:?}");
    assert!(answered >= done.received, "{done:?}, and {report:?}");
    for none in ["times_full", "replaced", "killed"] {
        assert_eq!(report.number(none), 0, "{none}: {report:?}");
    }
}

/// What is said when the thread that has it panics.
struct Told(String);

impl Drop for Told {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("{}", self.0);
        }
    }
}
