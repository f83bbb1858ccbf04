//! Signals that are none of a server's business do no harm.

use crate::support::{Server, ask, connect, each_model, one_at_a_time, state, wait_until};
use io_models::sys::signal::Signal;
use std::io::{Read, Write};

#[test]
fn a_server_that_was_stopped_and_continued_goes_on() {
    each_model(|model| {
        // In a process group of its own, whose head has a parent outside: SIGTSTP does nothing to
        // an orphaned group (setpgid(2)), and ours may be one.
        let server = Server::of(model).own_group().start();
        let process = server.process();
        let mut client = connect(server.addr());
        ask(&client, b"before");
        for signal in [Signal::SIGTSTP, Signal::SIGSTOP, Signal::SIGTSTP] {
            server.signal(signal);
            wait_until("the server is stopped", || state(&process) == Some('T'));
            client.write_all(b"while it sleeps").expect("the kernel takes it");
            server.signal(Signal::SIGCONT);
            let mut answer = [0; 15];
            client.read_exact(&mut answer).expect("the server answers after SIGCONT");
            assert_eq!(&answer, b"while it sleeps");
        }
        drop(client);
        ask(&connect(server.addr()), b"a new client");
        server.stop();
    });
}

#[test]
fn a_server_without_clients_that_was_stopped_and_continued_goes_on() {
    each_model(|model| {
        let server = Server::of(model).own_group().start();
        let process = server.process();
        server.signal(Signal::SIGTSTP);
        wait_until("the server is stopped", || state(&process) == Some('T'));
        let client = connect(server.addr());
        server.signal(Signal::SIGCONT);
        ask(&client, b"connected meanwhile");
        drop(client);
        server.stop();
    });
}

#[test]
fn signals_about_windows_and_children_are_no_reason_to_end() {
    each_model(|model| {
        let server = Server::start(model);
        let client = connect(server.addr());
        for signal in [Signal::SIGWINCH, Signal::SIGCHLD, Signal::SIGCONT, Signal::SIGURG] {
            for _ in 0..20 {
                server.signal(signal);
                ask(&client, b"still here");
            }
        }
        if !one_at_a_time(model) {
            ask(&connect(server.addr()), b"a new client");
        }
        drop(client);
        server.stop();
    });
}

#[test]
fn several_signals_to_stop_are_one() {
    each_model(|model| {
        let server = Server::start(model);
        let client = connect(server.addr());
        ask(&client, b"hello");
        // All are pending before the server can run, and those with one number are one.
        server.signal(Signal::SIGSTOP);
        for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGINT, Signal::SIGCONT] {
            server.signal(signal);
        }
        drop(client);
        server.finish(crate::support::DEADLINE);
    });
}
