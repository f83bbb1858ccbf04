//! A server that is told to stop ends in time and in order, and says what it did.

use crate::support::{
    IN_TIME, Server, WORKERS, all_models_at_once, ask, at_the_server, children, connect, connect_with_room,
    each_model, end_writing, pattern, process, read_to_end, room_for_descriptors, state, stuff, wait_for_end,
    wait_until,
};
use io_models::model::{Clients, Model, Runs};
use io_models::sys::signal::Signal;
use io_models::sys::sockopt::unsent;
use procfs::process::Process;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread;

#[test]
fn sigterm_and_sigint_stop_a_server_without_clients() {
    each_model(|model| {
        for signal in [Signal::SIGTERM, Signal::SIGINT] {
            let server = Server::start(model);
            server.signal(signal);
            assert_eq!(server.finish(IN_TIME).totals(), (0, 0, 0));
        }
    });
}

#[test]
fn idle_clients_see_the_end_when_the_server_stops() {
    all_models_at_once(|model| {
        for signal in [Signal::SIGTERM, Signal::SIGINT] {
            let server = Server::start(model);
            let talked = connect(server.addr());
            ask(&talked, b"hello");
            let silent = [connect(server.addr()), connect(server.addr())];
            server.signal(signal);
            assert_eq!(read_to_end(&talked), b"", "in order, for a client that owes and is owed nothing");
            for client in &silent {
                assert_eq!(wait_for_end(client), 0);
            }
            server.finish(IN_TIME);
        }
    });
}

#[test]
fn a_client_that_does_not_read_cannot_hold_a_stop_up() {
    all_models_at_once(|model| {
        let server = Server::start(model);
        let running = server.process();
        // First, so that a model that serves one at a time is busy with just this one.
        let greedy = connect(server.addr());
        let sent = stuff(&greedy);
        let idle = [connect(server.addr()), connect(server.addr())];
        let forked: Vec<Process> = children(&running).into_iter().map(process).collect();
        server.signal(Signal::SIGTERM);
        let report = server.finish(IN_TIME);
        for client in &idle {
            assert_eq!(wait_for_end(client), 0);
        }
        let got = wait_for_end(&greedy);
        assert!(got <= report.number("bytes_out"), "{got} of {report:?}");
        assert!(report.number("bytes_in") <= sent, "{sent} sent, {report:?}");
        for child in &forked {
            wait_until("no child outlives the server", || matches!(state(child), None | Some('Z')));
        }
    });
}

#[test]
fn a_client_that_begins_to_read_at_the_stop_gets_all_that_was_answered() {
    each_model(|model| {
        let server = Server::start(model);
        let client = connect(server.addr());
        stuff(&client);
        server.signal(Signal::SIGTERM);
        let got = read_to_end(&client).len() as u64;
        assert_eq!(got, server.finish(IN_TIME).number("bytes_out"));
    });
}

/// A client for which 64 KiB of answers wait, most of them in the send queue of the server.
fn with_answers_unread(server: &Server) -> TcpStream {
    const ANSWERS: usize = 64 * 1024;
    let mut client = connect_with_room(server.addr(), 16 * 1024);
    client.write_all(&pattern(1, ANSWERS)).expect("the server takes it");
    wait_until("the server has answered all", || {
        let arrived = client.peek(&mut [0; ANSWERS]).expect("some answers have arrived");
        let server = at_the_server(&client);
        server.received == 0 && arrived + server.unsent as usize == ANSWERS
    });
    client
}

/// close(2) with a byte that nobody has read destroys what is in the send queue.
#[test]
fn a_byte_that_comes_with_the_stop_destroys_no_answers() {
    each_model(|model| {
        let server = Server::start(model);
        let mut client = with_answers_unread(&server);
        server.signal(Signal::SIGSTOP);
        client.write_all(b"?").expect("the kernel takes it");
        server.signal(Signal::SIGTERM);
        server.signal(Signal::SIGCONT);
        let got = read_to_end(&client).len() as u64;
        assert_eq!(got, server.finish(IN_TIME).number("bytes_out"));
    });
}

#[test]
fn bytes_that_come_after_the_stop_destroy_no_answers() {
    each_model(|model| {
        let server = Server::start(model);
        let mut client = with_answers_unread(&server);
        server.signal(Signal::SIGTERM);
        for _ in 0..3 {
            client.write_all(b"?").expect("the kernel takes it");
            wait_until("the byte has arrived", || {
                unsent(&client).expect("SIOCOUTQ of a socket of ours") == 0
            });
        }
        let got = read_to_end(&client).len() as u64;
        assert_eq!(got, server.finish(IN_TIME).number("bytes_out"));
    });
}

#[test]
fn a_client_that_sends_without_pause_gets_all_that_was_answered_before_the_end() {
    each_model(|model| {
        let server = Server::start(model);
        let client = connect(server.addr());
        let read = AtomicU64::new(0);
        let got = thread::scope(|scope| {
            scope.spawn(|| send_until_the_end(&client));
            let reader = scope.spawn(|| read_and_count(&client, &read));
            wait_until("the client has got some answers", || read.load(Relaxed) > 1 << 20);
            server.signal(Signal::SIGTERM);
            reader.join().expect("the connection ends in order")
        });
        assert_eq!(got, server.finish(IN_TIME).number("bytes_out"));
    });
}

fn send_until_the_end(mut client: &TcpStream) {
    let block = pattern(2, 4096);
    while client.write_all(&block).is_ok() {}
}

fn read_and_count(mut client: &TcpStream, read: &AtomicU64) -> u64 {
    let mut buffer = [0; 4096];
    loop {
        match client.read(&mut buffer).expect("the server ends the connection in order") {
            0 => return read.load(Relaxed),
            n => read.fetch_add(n as u64, Relaxed),
        };
    }
}

/// Clients come and leave without pause, from before the stop until nobody listens any more.
/// Until none is accepted any more. Each hundredth waits for an answer, so that a slow server has seen those before it leave, and
/// does not run out of descriptors.
fn come_and_leave(addr: SocketAddr) {
    for n in 1.. {
        let Ok(mut client) = TcpStream::connect(addr) else { return };
        if n % 100 == 0 {
            // The stop may come first.
            client.write_all(b"x").and_then(|()| client.read(&mut [0])).ok();
        }
    }
}

#[test]
fn a_stop_while_clients_come_and_leave_ends_in_order() {
    each_model(|model| {
        for _ in 0..3 {
            let server = Server::start(model);
            let addr = server.addr();
            thread::scope(|scope| {
                scope.spawn(|| come_and_leave(addr));
                scope.spawn(|| come_and_leave(addr));
                ask(&connect(addr), b"many come and leave");
                server.signal(Signal::SIGTERM);
                server.finish(IN_TIME);
            });
        }
    });
}

/// As many idle clients as the model can have, up to 1000; a process or a thread each would make that slow.
fn crowd(model: &Model) -> usize {
    match (model.clients, model.runs) {
        (Clients::One, _) => 1,
        (Clients::Workers, _) => WORKERS,
        (_, Runs::ProcessPerClient | Runs::ThreadPerClient) => 300,
        (Clients::UpTo { most, .. }, _) => most.min(1000),
        _ => 1000,
    }
}

#[test]
fn a_crowd_of_idle_clients_sees_an_orderly_end() {
    room_for_descriptors(2048);
    each_model(|model| {
        let server = Server::start(model);
        let clients: Vec<_> = (0..crowd(model)).map(|_| connect(server.addr())).collect();
        clients.iter().for_each(|client| ask(client, b"hello"));
        server.signal(Signal::SIGTERM);
        clients.iter().for_each(|client| assert_eq!(read_to_end(client), b""));
        assert_eq!(server.finish(IN_TIME).number("connections"), clients.len() as u64);
    });
}

#[test]
fn the_totals_are_what_the_clients_did() {
    each_model(|model| {
        let server = Server::start(model);
        let mut bytes = 0;
        for round in 0..10 {
            let clients: Vec<_> = (0..7).map(|_| connect(server.addr())).collect();
            for (i, client) in clients.into_iter().enumerate() {
                for request in 0..3 {
                    let size = 1 + 37 * i + 1001 * request + round;
                    ask(&client, &pattern(request as u64, size));
                    bytes += size as u64;
                }
                end_writing(&client);
                assert_eq!(read_to_end(&client), b"");
            }
        }
        let addr = server.addr();
        let report = server.stop();
        assert_eq!(report.totals(), (70, bytes, bytes));
        assert_eq!(report.number("times_full"), 0);
        assert_eq!(report.text("model"), model.name);
        assert_eq!(report.text("address"), addr.to_string());
    });
}
