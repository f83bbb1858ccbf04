//! Clients that the first process of a server passes to its workers: none gets lost on the way.

use crate::support::{
    Server, WORKERS, ask, at_the_server, children, connect, is_idle, models_at_once, process, read_to_end,
    state, wait_until,
};
use io_models::model::Model;
use io_models::sys::fork::Pid;
use io_models::sys::signal::Signal;
use nix::sys::signal::kill;
use procfs::process::{FDTarget, Process};
use std::io::Write;
use std::net::TcpStream;

fn passes(model: &Model) -> bool {
    model.name == "prefork-passing"
}

/// Wait until no worker has a client.
#[track_caller]
fn wait_for_free_workers(server: &Server) {
    let process = server.process();
    wait_until("all workers are free", || children(&process).len() == WORKERS && is_idle(&process));
}

/// Stop the first worker of a new server, and connect a client, which is passed to it because it is the first.
#[track_caller]
fn client_of_a_stopped_worker(server: &Server) -> (Pid, TcpStream) {
    wait_for_free_workers(server);
    let worker = children(&server.process())[0];
    kill(worker, Signal::SIGSTOP).expect("the worker is there");
    wait_until("the worker has stopped", || state(&process(worker)) == Some('T'));
    let client = connect(server.addr());
    wait_until("the client was passed", || was_passed(&client, &server.process()));
    (worker, client)
}

/// Whether this process has accepted the client, as the inode of the socket says, and has its descriptor no more.
fn was_passed(client: &TcpStream, acceptor: &Process) -> bool {
    let inode = at_the_server(client).inode;
    let open = acceptor.fd().expect("the descriptors of a process of ours").flatten();
    inode != 0 && open.map(|open| open.target).all(|target| target != FDTarget::Socket(inode.into()))
}

#[test]
fn a_client_whose_worker_dies_before_it_took_the_client_is_served_by_another() {
    models_at_once(passes, |model| {
        let server = Server::start(model);
        let (worker, client) = client_of_a_stopped_worker(&server);
        kill(worker, Signal::SIGKILL).expect("the worker is there");
        ask(&client, b"hello");
        wait_until("another process has its place", || {
            let now = children(&server.process());
            now.len() == WORKERS && !now.contains(&worker)
        });
        let report = server.stop_after_saying("has ended before the server");
        assert_eq!((report.number("connections"), report.number("replaced")), (1, 1));
    });
}

#[test]
fn a_client_that_was_passed_and_not_taken_is_answered_at_the_stop() {
    models_at_once(passes, |model| {
        let server = Server::start(model);
        let (worker, mut client) = client_of_a_stopped_worker(&server);
        client.write_all(b"hello").expect("the kernel takes it for the server");
        server.signal(Signal::SIGTERM);
        let process = server.process();
        wait_until("the other workers have ended", || children(&process) == [worker]);
        kill(worker, Signal::SIGCONT).expect("the worker is there");
        assert_eq!(read_to_end(&client), b"hello");
        let report = server.finish(crate::support::DEADLINE);
        assert_eq!(report.totals(), (1, 5, 5));
    });
}

#[test]
fn clients_wait_in_the_queue_of_the_listener_while_no_worker_is_free() {
    models_at_once(passes, |model| {
        let server = Server::start(model);
        let mut clients: Vec<_> = (0..WORKERS).map(|_| connect(server.addr())).collect();
        clients.iter().for_each(|client| ask(client, b"hello"));
        let next = connect(server.addr());
        let process = server.process();
        wait_until("the server has nothing to do", || is_idle(&process));
        assert!(at_the_server(&next).inode == 0, "accepted, and no worker is free");
        clients.pop();
        ask(&next, b"hello");
        drop((clients, next));
        server.stop();
    });
}
