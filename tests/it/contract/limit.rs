//! `serve --max-clients N`: no more clients at a time, and nobody who waits is lost.

use crate::support::{
    DEADLINE, Server, Starter, all_models_at_once, ask, connect, each_model, few, has_settled, wait_until,
    waits_cheaply,
};
use io_models::model::{Clients, Listens, Model, Waits};
use io_models::sys::signal::Signal;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread;

fn limited_to(most: usize, model: &Model) -> Starter {
    Server::of(model).arg("--max-clients").arg(&most.to_string())
}

/// One client at a time is fewer than any limit.
fn at_a_time(most: usize, model: &Model) -> usize {
    if model.clients == Clients::One { 1 } else { most }
}

#[test]
fn beyond_the_limit_clients_wait_while_the_server_sleeps_and_are_served_when_one_leaves() {
    all_models_at_once(|model| {
        let server = limited_to(3, model);
        // The kernel decides whose client it is, so that not each of several workers gets one.
        let has_shares = model.listens == Listens::PerWorker;
        let server = if has_shares { server.workers(1) } else { server }.start();
        let process = server.process();
        let mut first: Vec<_> = (0..at_a_time(3, model)).map(|_| connect(server.addr())).collect();
        first.iter().for_each(|client| ask(client, b"first"));
        let mut next = connect(server.addr());
        next.write_all(b"next").expect("the kernel takes it for the server");
        // A worker that serves one client does not know that others wait.
        if few(model).is_none() {
            server.wait_for_complaint();
        }
        wait_until("the server waits for its first clients", || has_settled(model, &process));
        if model.waits == Waits::Sleeps {
            waits_cheaply(&process);
        }
        next.set_nonblocking(true).expect("a look that does not wait");
        let unserved = next.read(&mut [0]).expect_err("it was served beside the first, or closed");
        assert_eq!(unserved.kind(), ErrorKind::WouldBlock);
        next.set_nonblocking(false).expect("reads that wait");
        first.iter().for_each(|client| ask(client, b"still the first"));
        drop(first.pop());
        let mut answer = [0; 4];
        next.read_exact(&mut answer).expect("the next client is served when one has left");
        assert_eq!(&answer, b"next");
        let (served, told) = (first.len() as u64 + 2, few(model).is_none());
        drop((first, next));
        let report = if told { server.stop_after_saying("--max-clients") } else { server.stop() };
        assert_eq!(report.number("connections"), served);
        assert_eq!(report.number("times_full") > 0, told, "{report:?}");
    });
}

#[test]
fn clients_that_come_one_after_another_are_all_served_under_a_limit() {
    all_models_at_once(|model| {
        let server = limited_to(2, model).start();
        (0..20).for_each(|i| ask(&connect(server.addr()), format!("client {i}").as_bytes()));
        assert_eq!(stopped(server), 20);
    });
}

#[test]
fn of_a_flood_of_clients_no_more_than_the_limit_are_served_at_a_time_and_all_are_served() {
    const FLOOD: usize = 200;
    each_model(|model| {
        let server = limited_to(4, model).start();
        let clients: Vec<_> = (0..FLOOD).map(|_| connect(server.addr())).collect();
        let served = Served::default();
        thread::scope(|scope| {
            for client in clients {
                scope.spawn(|| served.at_the_same_time(client));
            }
        });
        let most = served.most.into_inner();
        assert!((1..=at_a_time(4, model)).contains(&most), "{most} were served at a time");
        assert_eq!(stopped(server), FLOOD as u64);
    });
}

/// Clients that have an answer, and have not left: how many there are, and how many there were at most.
#[derive(Default)]
struct Served {
    now: AtomicUsize,
    most: AtomicUsize,
}

impl Served {
    fn at_the_same_time(&self, client: TcpStream) {
        ask(&client, b"hello");
        self.most.fetch_max(self.now.fetch_add(1, Relaxed) + 1, Relaxed);
        ask(&client, b"still there");
        self.now.fetch_sub(1, Relaxed);
        drop(client);
    }
}

/// How many clients it has had. Whether it had something to say depends on who came first.
fn stopped(server: Server) -> u64 {
    server.signal(Signal::SIGTERM);
    server.report_and_complaints(DEADLINE).0.number("connections")
}
