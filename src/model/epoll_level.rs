//! epoll(7), level-triggered: the course's `tcpepoll`.
//!
//! The kernel keeps the list of what is watched, and a wait returns only what is ready, for as long as it is so. Hence: read
//! once and return to the wait, which reports what is left again. And: ask for writability only while something is unsent,
//! because an idle socket is always writable and would be reported for ever. That costs an `EPOLL_CTL_MOD` whenever a client
//! stops or starts to take its answers; in the usual request it costs nothing.
//!
//! System calls per request: recv, send, and one epoll_wait for all requests of a turn.

use crate::Result;
use crate::echo::{Until, Want};
use crate::observer::Observer;
use crate::serve::{Acceptor, ByFd, Job, Next, Totals, Worker, finish};
use crate::sys::epoll::{Epoll, EpollFlags, Events};
use crate::sys::fcntl::set_nonblocking;
use crate::sys::socket::Mode;
use std::os::fd::{AsFd, AsRawFd, RawFd};

/// Tokens: a client's is its descriptor, so these are numbers that no descriptor has.
const STOP: u64 = u64::MAX;
const LISTENER: u64 = u64::MAX - 1;

/// Events taken at once. The rest comes with the next wait.
const EVENTS: usize = 512;

/// Serve clients until the stop.
///
/// # Errors
///
/// Those of the wait and of the listener. What happens to a client ends that client only.
pub fn serve<O: Observer>(job: Job<'_, O>) -> Result<Totals> {
    serve_with(Epoll::new()?.spinning(job.spin), job)
}

/// The same with an epoll that was made before.
pub(super) fn serve_with<O: Observer>(epoll: Epoll, job: Job<'_, O>) -> Result<Totals> {
    let mut pump = job.pump(Worker::ONLY);
    let Job { listener, stop, max_clients, .. } = job;
    set_nonblocking(&listener)?;
    epoll.add(stop, STOP, EpollFlags::EPOLLIN)?;
    epoll.add(&listener, LISTENER, EpollFlags::EPOLLIN)?;
    let mut acceptor = Acceptor::new(&listener, Mode::Nonblocking).within(max_clients);
    let mut conns = ByFd::new();
    let mut events = Events::with_capacity(EVENTS);
    'serving: loop {
        let ready = epoll.wait(&mut events, acceptor.timeout(pump.handler.observer.idle_timeout()))?;
        if ready == 0 && !acceptor.is_paused() {
            pump.handler.observer.heard_nothing();
        }
        for event in events.iter() {
            match event.token {
                STOP => break 'serving,
                LISTENER => {
                    while let Next::Client(conn, peer) = acceptor.next()? {
                        let fd = conn.as_fd().as_raw_fd();
                        match epoll.add(&conn, fd as u64, EpollFlags::EPOLLIN) {
                            Ok(()) => {
                                pump.welcome(&conn, peer);
                                conns.insert(conn);
                            }
                            Err(_) => acceptor.turn_away(conn),
                        }
                    }
                    if let Some(why) = acceptor.paused() {
                        pump.handler.observer.paused(why);
                        epoll.modify(&listener, LISTENER, EpollFlags::empty())?;
                    }
                }
                fd => {
                    let Some(conn) = conns.get(fd as RawFd) else { continue };
                    let was_writing = conn.has_unsent();
                    let interest = match pump.pump(conn, Until::OneRead) {
                        Want::Read | Want::ReadMore if was_writing => EpollFlags::EPOLLIN,
                        Want::Write if !was_writing => EpollFlags::EPOLLOUT,
                        Want::Read | Want::ReadMore | Want::Write => continue,
                        Want::Close => {
                            // close(2) takes the socket out of the epoll set as well.
                            conns.close(fd as RawFd);
                            acceptor.client_left();
                            continue;
                        }
                    };
                    epoll.modify(&*conn, fd, interest)?;
                }
            }
        }
        if acceptor.resumes() {
            epoll.modify(&listener, LISTENER, EpollFlags::EPOLLIN)?;
        }
    }
    let totals = acceptor.totals();
    listener.close();
    finish(pump, conns, totals)
}
