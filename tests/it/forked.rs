//! What a process for each client must not leave behind: zombies and orphans.

use crate::support::{
    DEADLINE, Server, ask, children, connect, forks, models_at_once, process, read_to_end, state, stuff,
    wait_for_end, wait_until,
};
use io_models::sys::fork::Pid;
use io_models::sys::signal::Signal;
use procfs::process::Process;
use std::fs::read_to_string;
use std::net::TcpStream;
use std::time::Instant;

/// Clients that have been answered, so that each has its process, and these processes.
fn clients_and_processes(server: &Server, clients: usize) -> (Vec<TcpStream>, Vec<Process>) {
    let clients: Vec<_> = (0..clients).map(|_| connect(server.addr())).collect();
    clients.iter().for_each(|client| ask(client, b"hello"));
    let processes: Vec<_> = children(&server.process()).into_iter().map(process).collect();
    assert_eq!(processes.len(), clients.len(), "a process for each client");
    (clients, processes)
}

/// Ended, and collected or about to be by whoever collects orphans on this machine.
#[track_caller]
fn wait_for_ends(processes: &[Process]) {
    for process in processes {
        let what = format!("child {} ends", process.pid);
        wait_until(&what, || matches!(state(process), None | Some('Z')));
    }
}

#[test]
fn clients_that_have_left_leave_no_zombie() {
    models_at_once(forks, |model| {
        let server = Server::start(model);
        for _ in 0..5 {
            // All at once, so that several ends come as one SIGCHLD.
            let (clients, _) = clients_and_processes(&server, 20);
            drop(clients);
            let process = server.process();
            wait_until("all children are collected", || children(&process).is_empty());
        }
        assert_eq!(server.stop().number("connections"), 100);
    });
}

#[test]
fn a_stop_leaves_no_orphan() {
    models_at_once(forks, |model| {
        let server = Server::start(model);
        let (clients, processes) = clients_and_processes(&server, 20);
        let report = server.stop();
        wait_for_ends(&processes);
        clients.iter().for_each(|client| assert_eq!(read_to_end(client), b""));
        assert_eq!(report.totals(), (20, 100, 100));
    });
}

#[test]
fn a_server_that_is_killed_leaves_no_orphan() {
    models_at_once(forks, |model| {
        let mut server = Server::start(model);
        let (clients, processes) = clients_and_processes(&server, 20);
        server.kill();
        wait_for_ends(&processes);
        clients.iter().for_each(|client| assert_eq!(read_to_end(client), b""));
    });
}

#[test]
fn a_server_that_is_killed_leaves_no_orphan_with_a_client_that_does_not_read() {
    models_at_once(forks, |model| {
        let mut server = Server::start(model);
        let (clients, processes) = clients_and_processes(&server, 1);
        // The child waits in send(2), for a client that stays and takes nothing.
        stuff(&clients[0]);
        server.kill();
        wait_for_ends(&processes);
        wait_for_end(&clients[0]);
    });
}

#[test]
fn ctrl_c_reaches_every_process_and_all_end_in_order() {
    models_at_once(forks, |model| {
        let server = Server::of(model).own_group().start();
        let (clients, processes) = clients_and_processes(&server, 20);
        server.signal_group(Signal::SIGINT);
        let report = server.finish(DEADLINE);
        wait_for_ends(&processes);
        clients.iter().for_each(|client| assert_eq!(read_to_end(client), b""));
        assert_eq!(report.totals(), (20, 100, 100));
    });
}

#[test]
fn a_child_that_is_killed_takes_only_its_client_with_it() {
    models_at_once(forks, |model| {
        let server = Server::start(model);
        let first = connect(server.addr());
        ask(&first, b"first");
        let child = children(&server.process())[0];
        let second = connect(server.addr());
        ask(&second, b"second");
        nix::sys::signal::kill(child, Signal::SIGKILL).expect("the child is there");
        assert_eq!(wait_for_end(&first), 0);
        ask(&second, b"still here");
        ask(&connect(server.addr()), b"a new client");
        drop(second);
        server.stop();
    });
}

/// The first child, as soon as it is there: it may not have run yet.
#[track_caller]
fn a_new_child(server: &Process) -> Pid {
    let path = format!("/proc/{0}/task/{0}/children", server.pid);
    let until = Instant::now() + DEADLINE;
    loop {
        let children = read_to_string(&path).expect("/proc/PID/task/PID/children");
        if let Some(pid) = children.split_whitespace().next() {
            return Pid::from_raw(pid.parse().expect("the number of a process"));
        }
        assert!(Instant::now() < until, "not within {DEADLINE:?}: the client has a process");
    }
}

/// Until it has handlers of its own, a child has those of its parent, which write to the parent's stop pipe.
#[test]
fn a_signal_to_a_child_that_has_just_been_forked_does_not_stop_the_server() {
    models_at_once(forks, |model| {
        let server = Server::start(model);
        let process = server.process();
        for _ in 0..40 {
            let client = connect(server.addr());
            nix::sys::signal::kill(a_new_child(&process), Signal::SIGTERM).expect("the child is there");
            assert_eq!(wait_for_end(&client), 0);
            wait_until("the child is collected", || children(&process).is_empty());
        }
        ask(&connect(server.addr()), b"a new client");
        assert_eq!(server.stop().number("connections"), 41);
    });
}
