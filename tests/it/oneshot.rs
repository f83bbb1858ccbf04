//! Threads that share an epoll set: each client is served, by one thread at a time, and no event is wasted.

use crate::support::{DEADLINE, Server, ask, connect, end_writing, pattern, read_to_end, reset};
use io_models::echo::Reply;
use io_models::initserver::initserver;
use io_models::model::{epoll_oneshot, find};
use io_models::observer::Observer;
use io_models::serve::Job;
use io_models::stop;
use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::num::NonZeroUsize;
use std::os::fd::RawFd;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::thread;

const THREADS: usize = 8;

/// Connections that are opened one after another by all clients together.
const CONNECTIONS: usize = 10_000;

/// Threads of clients, and the connections that each has open at a time.
const CROWDS: usize = 8;
const CROWD: usize = 25;

/// Bytes that a client has sent and not read, at most: they fit the buffers on the way.
const UNREAD: usize = 8_000;

/// Everything at random moments: pieces of requests, ends of all kinds; and a new connection at once, which gets the descriptor of
/// the one that has left.
#[test]
fn no_wake_up_is_lost_and_no_client_is_served_twice() {
    let model = find("epoll-oneshot").expect("it is in the table");
    let server = Server::of(model).workers(THREADS).start();
    let addr = server.addr();
    thread::scope(|scope| {
        for seed in 0..CROWDS as u64 {
            scope.spawn(move || crowd(addr, seed));
        }
    });
    let report = server.stop();
    // A client that resets in the queue may never be seen.
    let seen = report.number("connections") as usize;
    assert!((CONNECTIONS / 2..=CONNECTIONS).contains(&seen), "{seen} connections were seen");
    // Each arming gives one event at most. The stop is level-triggered, and a signal may interrupt each wait.
    let calls = report.calls();
    let (waits, arms) = (calls["epoll_wait"], calls["epoll_ctl"]);
    println!("epoll-oneshot, {THREADS} threads: {waits} epoll_wait, {arms} epoll_ctl");
    assert!(waits <= arms + 2 * THREADS as u64, "{waits} waits returned for {arms} armings");
}

/// The connections that one thread of clients has.
fn crowd(addr: SocketAddr, seed: u64) {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut open: Vec<_> = (0..CROWD).map(|_| Talk::begin(addr)).collect();
    let mut left = CONNECTIONS / CROWDS - CROWD;
    while left > 0 {
        let i = random.usize(..CROWD);
        match random.u32(..10) {
            0 | 1 => {
                open.swap_remove(i).end(&mut random);
                open.push(Talk::begin(addr));
                left -= 1;
            }
            2..=4 => open[i].hear(),
            _ => open[i].say(&mut random),
        }
    }
    open.into_iter().for_each(|mut talk| talk.hear());
}

/// A connection, and what was sent on it and has not come back.
struct Talk {
    client: TcpStream,
    unread: VecDeque<u8>,
}

impl Talk {
    fn begin(addr: SocketAddr) -> Talk {
        Talk { client: connect(addr), unread: VecDeque::new() }
    }

    fn say(&mut self, random: &mut fastrand::Rng) {
        let piece = pattern(random.u64(..), random.usize(1..=300));
        if self.unread.len() + piece.len() > UNREAD {
            return self.hear();
        }
        self.client.write_all(&piece).expect("the server takes a piece");
        self.unread.extend(piece);
    }

    /// All that was sent comes back.
    fn hear(&mut self) {
        let mut answer = vec![0; self.unread.len()];
        self.client.read_exact(&mut answer).expect("the server answers");
        assert!(self.unread == answer, "something else came back");
        self.unread.clear();
    }

    fn end(mut self, random: &mut fastrand::Rng) {
        match random.u32(..4) {
            // With answers unread or not: in order, or by a reset.
            0 => drop(self.client),
            1 => reset(self.client),
            2 => {
                self.hear();
                drop(self.client);
            }
            _ => {
                end_writing(&self.client);
                assert!(self.unread == read_to_end(&self.client), "something else came back before the end");
            }
        }
    }
}

/// Servers that are started one after another: the race below is seen most often among the first clients of a server.
const STARTS: usize = 20;

/// Clients of each.
const ENDS: usize = 100;

/// A thread that looks at a socket inside epoll_wait(2) holds it open, although another thread closes it, until that wait returns.
///
/// The kernel tells an epoll instance twice of a FIN. A thread that spins can take the event between the two. Then the second wakes
/// another thread, which looks at the client while the first thread closes it. There is one client at a time, because any other
/// event could end the wait of that other thread.
#[test]
fn a_client_sees_the_end_although_one_thread_looks_at_it_while_another_closes_it() {
    let model = find("epoll-oneshot").expect("it is in the table");
    for _ in 0..STARTS {
        let server = Server::of(model).workers(THREADS).arg("--spin").arg("1000").start();
        for _ in 0..ENDS {
            let client = connect(server.addr());
            ask(&client, b"hello");
            end_writing(&client);
            assert_eq!(read_to_end(&client), b"");
        }
        assert_eq!(server.stop().number("connections"), ENDS as u64);
    }
}

/// Which thread serves the client with that descriptor; 0: none.
static SERVED_BY: [AtomicU64; 1024] = [const { AtomicU64::new(0) }; 1024];

/// Is one thread of the server, and notices when another is with the same client.
struct OneOf {
    thread: u64,
}

impl OneOf {
    fn enters(&self, fd: RawFd) {
        let other = SERVED_BY[fd as usize].swap(self.thread, SeqCst);
        assert_eq!(other, 0, "thread {other} is serving descriptor {fd}, and so is thread {}", self.thread);
        // Let others come in, if they can.
        thread::yield_now();
    }

    fn leaves(&self, fd: RawFd) {
        let other = SERVED_BY[fd as usize].swap(0, SeqCst);
        assert_eq!(other, self.thread, "another thread has been with descriptor {fd}");
    }
}

impl Observer for OneOf {
    fn accepted(&mut self, fd: RawFd, _: Option<SocketAddr>) {
        self.enters(fd);
        self.leaves(fd);
    }

    fn received(&mut self, fd: RawFd, _: &[u8]) {
        self.enters(fd);
    }

    fn answered(&mut self, fd: RawFd, _: &[u8]) {
        self.leaves(fd);
    }

    fn left(&mut self, fd: RawFd, _: io_models::Result<()>) {
        self.enters(fd);
        self.leaves(fd);
    }
}

#[test]
fn two_threads_are_never_with_one_client() {
    let listener = initserver("127.0.0.1:0".parse().expect("an address")).expect("a free port");
    let addr = listener.addr();
    let (stopper, stop) = stop::pair().expect("a pipe");
    let workers = NonZeroUsize::new(THREADS).expect("some");
    thread::scope(|scope| {
        let observe = |worker: io_models::serve::Worker| OneOf { thread: worker.0 as u64 + 1 };
        let server = scope.spawn(move || {
            epoll_oneshot::serve(
                Job::new(listener, &stop, Reply::Echo).with_workers(workers).observed(&observe),
            )
        });
        let clients: Vec<_> = (0..CROWDS).map(|_| scope.spawn(move || talk_in_pieces(addr))).collect();
        let ends: Vec<_> = clients.into_iter().map(thread::ScopedJoinHandle::join).collect();
        stopper.stop().expect("the server is there");
        server.join().expect("no two threads were with one client").expect("the server serves");
        assert!(ends.iter().all(Result::is_ok), "not all clients were answered within {DEADLINE:?}");
    });
}

fn talk_in_pieces(addr: SocketAddr) {
    for _ in 0..20 {
        let client = connect(addr);
        for round in 0..20 {
            // Pieces that arrive while a thread is with the client.
            (0..5).for_each(|i| (&client).write_all(&pattern(i, 10)).expect("the server takes a piece"));
            let mut answer = [0; 50];
            (&client).read_exact(&mut answer).expect("the server answers");
            ask(&client, &pattern(round, 100));
        }
    }
}
