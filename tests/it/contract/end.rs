//! A server that is told to stop ends in time and in order, and says what it did.

use crate::support::{
    Server, all_models_at_once, ask, children, connect, each_model, end_writing, pattern, process,
    read_to_end, state, stuff, wait_for_end, wait_until,
};
use io_models::sys::signal::Signal;
use procfs::process::Process;
use std::time::Duration;

/// How long a server may take to stop, whatever its clients do.
const IN_TIME: Duration = Duration::from_secs(5);

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
