//! How connections end: in order, so that a run does no harm to the server.

use super::program::Ended;
use super::servers::Server;
use super::{load, report, report_of, start_load, whole};
use crate::support::wait_until;
use nix::sys::signal::Signal;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

/// How the clients of a server have ended.
#[derive(Default)]
struct Seen {
    /// By an end of the stream.
    in_order: AtomicUsize,
    /// By an error, such as ECONNRESET.
    broken: AtomicUsize,
}

/// Give back what comes, note how the client ends, and then do with it whatever `last` does.
fn noting(last: impl Fn(&mut TcpStream) -> io::Result<()> + Send + Sync + 'static) -> (Server, Arc<Seen>) {
    let seen = Arc::new(Seen::default());
    let notes = Arc::clone(&seen);
    let server = Server::start(move |_, mut client, answers| {
        let mut buffer = vec![0; 1 << 16];
        loop {
            match client.read(&mut buffer) {
                Ok(0) => break,
                Ok(n) => client.write_all(&buffer[..n])?,
                Err(error) => {
                    notes.broken.fetch_add(1, SeqCst);
                    return Err(error);
                }
            }
            answers.fetch_add(1, SeqCst);
        }
        notes.in_order.fetch_add(1, SeqCst);
        last(&mut client)
    });
    (server, seen)
}

#[track_caller]
fn all_in_order(seen: &Seen, connections: usize, what: &str) {
    let counts = (seen.in_order.load(SeqCst), seen.broken.load(SeqCst));
    assert_eq!(counts, (connections, 0), "(in order, reset), {what}");
}

#[test]
fn every_connection_of_an_ordinary_run_ends_in_order() {
    for engine in ["epoll", "uring"] {
        for (mode, rate) in [("closed", ""), ("open", "-R 500")] {
            let (server, seen) = noting(|_| Ok(()));
            let args =
                format!("-c 5 -t 2 --idle 3 -d 300ms --warmup 10ms --engine {engine} {rate} --json --quiet");
            let ended = load(server.addr, &args);
            let report = report_of(mode, ended.measured());
            assert_eq!(whole(&report, "/ends/in_order"), 8, "{args}: {report:#}");
            assert_eq!(whole(&report, "/ends/reset"), 0, "{args}: {report:#}");
            assert_eq!(whole(&report, "/ends/not_ended"), 0, "{args}: {report:#}");
            all_in_order(&seen, 8, &args);
        }
    }
}

#[test]
fn an_interrupted_run_ends_its_connections_in_order_too() {
    for args in ["", "--engine uring", "-R 1k", "-R 1k --engine uring"] {
        let (server, seen) = noting(|_| Ok(()));
        let load = start_load(server.addr, &format!("-c 4 -d 10m --warmup 10ms --quiet {args}"));
        wait_until("the load is on", || server.answers() > 100);
        load.signal(Signal::SIGINT);
        load.end().exits(130);
        all_in_order(&seen, 4, args);
    }
}

#[test]
fn connections_that_come_and_go_end_in_order() {
    let (server, seen) = noting(|_| Ok(()));
    load(server.addr, "-c 4 -d 300ms --warmup 10ms --requests-per-conn 2 --quiet").exits(0);
    assert_eq!(seen.broken.load(SeqCst), 0);
    assert!(seen.in_order.load(SeqCst) > 4);
}

/// Run two connections against a server that does this with a client that has ended.
fn ended_by(last: impl Fn(&mut TcpStream) -> io::Result<()> + Send + Sync + 'static) -> Ended {
    let (server, _) = noting(last);
    load(server.addr, "-c 2 -d 300ms --warmup 10ms --json")
}

#[test]
fn a_server_that_does_not_end_its_side_is_named_and_does_not_hold_up_the_run() {
    // Until the test ends nobody closes them.
    let (_keep, held) = std::sync::mpsc::channel::<()>();
    let held = std::sync::Mutex::new(held);
    let ended = ended_by(move |_| {
        drop(held.lock().map(|held| held.recv()));
        Ok(())
    });
    let report = report(ended.exits(0));
    assert_eq!(whole(&report, "/ends/not_ended"), 2, "{report:#}");
    let warning = "2 connections did not end within 2s after we had ended our side: does the server close a connection \
                   when recv returns 0?";
    assert!(ended.stderr.contains(warning), "{}", ended.stderr);
}

#[test]
fn a_server_that_resets_at_the_end_is_named() {
    let ended = ended_by(|client| Ok(io_models::sys::sockopt::set_reset_on_close(client)?));
    let report = report(ended.exits(0));
    assert_eq!(whole(&report, "/ends/reset"), 2, "{report:#}");
    let warning = "the server answered the end of 2 connections with a reset instead of an end of its own";
    assert!(ended.stderr.contains(warning), "{}", ended.stderr);
}

#[test]
fn bytes_after_the_last_answer_were_not_asked_for() {
    let ended = ended_by(|client| client.write_all(b"good bye"));
    let report = report(ended.exits(1));
    assert_eq!(whole(&report, "/lost_connections"), 2, "{report:#}");
    assert_eq!(report["lost"][0]["kind"], "unasked", "{report:#}");
    assert_eq!(whole(&report, "/wrong_bytes"), 16, "{report:#}");
}

#[test]
fn a_connection_that_got_wrong_bytes_ends_in_order_as_well() {
    for engine in super::engines::all() {
        let seen = Arc::new(Seen::default());
        let notes = Arc::clone(&seen);
        let server = Server::start(move |_, mut client, _| {
            // More than the generator has read when it finds the first wrong byte.
            let mut converse = || {
                client.read_exact(&mut [0; 64])?;
                client.write_all(&vec![b'?'; 4 << 20])?;
                io::copy(&mut client, &mut io::sink())
            };
            let ended = if converse().is_ok() { &notes.in_order } else { &notes.broken };
            ended.fetch_add(1, SeqCst);
            Ok(())
        });
        let ended = load(server.addr, &format!("-c 3 -d 50ms --warmup 10ms {engine} --json --quiet"));
        assert_eq!(report(ended.exits(1))["lost_connections"], 3, "{ended}");
        wait_until("every client has gone", || seen.in_order.load(SeqCst) + seen.broken.load(SeqCst) == 3);
        all_in_order(&seen, 3, engine);
    }
}
