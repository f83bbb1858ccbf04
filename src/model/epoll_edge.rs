//! epoll(7), edge-triggered: the course's `tcpepoll2`.
//!
//! Each socket is registered once, for reading and writing, and never touched again: no `EPOLL_CTL_MOD`. In return the kernel
//! reports readiness once, when it begins, so the loop has to go on until it has ended:
//!
//! - It reads until a read comes back short (or `EAGAIN`), where the level-triggered loop reads once. Reading once would leave
//!   bytes that the kernel never reports again.
//! - A short read usually proves that nothing is left, with two exceptions: the end of the stream, which may have come together
//!   with the bytes, and urgent data, before which recv(2) stops. Both are reported with the event, and then it reads until
//!   `EAGAIN` or the end.
//! - A client that still has bytes when its budget runs out goes to a list of our own, `unfinished`, because the kernel does not
//!   report it again. It gets one more turn after the next wait, which does not block.
//!
//! Beside `epoll_level.rs`: the flags at registration, `Until`, the list `unfinished`; and nothing where the other calls
//! `modify`.
//!
//! The listener stays level-triggered: with edges, a client that came during a pause would have to be remembered too.
//!
//! System calls per request: recv, send, and one epoll_wait for all requests of a turn.

use crate::Result;
use crate::echo::{Conn, Pump, Until, Want};
use crate::observer::Observer;
use crate::serve::{Acceptor, ByFd, Job, Next, Totals, Worker, finish};
use crate::sys::epoll::{Epoll, EpollFlags, Events};
use crate::sys::fcntl::set_nonblocking;
use crate::sys::socket::Mode;
use std::collections::VecDeque;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::time::Duration;

/// Tokens: a client's is its descriptor, so these are numbers that no descriptor has.
const STOP: u64 = u64::MAX;
const LISTENER: u64 = u64::MAX - 1;

/// Events taken at once. The rest comes with the next wait.
const EVENTS: usize = 512;

/// What each client is watched for, from its first moment to its last.
const CLIENT: EpollFlags = EpollFlags::EPOLLIN
    .union(EpollFlags::EPOLLOUT)
    .union(EpollFlags::EPOLLRDHUP)
    .union(EpollFlags::EPOLLPRI)
    .union(EpollFlags::EPOLLET);

/// After these a short read proves nothing: the end, urgent data, an error.
const NOT_JUST_BYTES: EpollFlags = EpollFlags::EPOLLRDHUP
    .union(EpollFlags::EPOLLPRI)
    .union(EpollFlags::EPOLLHUP)
    .union(EpollFlags::EPOLLERR);

/// Serve clients until the stop.
///
/// # Errors
///
/// Those of the wait and of the listener. What happens to a client ends that client only.
pub fn serve<O: Observer>(job: Job<'_, O>) -> Result<Totals> {
    let mut pump = job.pump(Worker::ONLY);
    let Job { listener, stop, max_clients, spin, .. } = job;
    set_nonblocking(&listener)?;
    let epoll = Epoll::new()?.spinning(spin);
    epoll.add(stop, STOP, EpollFlags::EPOLLIN)?;
    epoll.add(&listener, LISTENER, EpollFlags::EPOLLIN)?;
    let mut acceptor = Acceptor::new(&listener, Mode::Nonblocking).within(max_clients);
    let mut conns = ByFd::new();
    let mut events = Events::with_capacity(EVENTS);
    let mut unfinished: VecDeque<RawFd> = VecDeque::new();
    'serving: loop {
        let idle = acceptor.timeout(pump.handler.observer.idle_timeout());
        let timeout = if unfinished.is_empty() { idle } else { Some(Duration::ZERO) };
        let ready = epoll.wait(&mut events, timeout)?;
        if ready == 0 && unfinished.is_empty() && !acceptor.is_paused() {
            pump.handler.observer.heard_nothing();
        }
        let earlier = unfinished.len();
        for event in events.iter() {
            match event.token {
                STOP => break 'serving,
                LISTENER => {
                    while let Next::Client(conn, peer) = acceptor.next()? {
                        let fd = conn.as_fd().as_raw_fd();
                        match epoll.add(&conn, fd as u64, CLIENT) {
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
                    let fd = fd as RawFd;
                    if let Some(until) = conns.get(fd).and_then(|conn| reads_until(conn, event.flags)) {
                        turn(fd, until, &mut pump, &mut conns, &mut acceptor, &mut unfinished);
                    }
                }
            }
        }
        for _ in 0..earlier {
            if let Some(fd) = unfinished.pop_front() {
                turn(fd, Until::Dry, &mut pump, &mut conns, &mut acceptor, &mut unfinished);
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

/// How far to read a client that was reported with these flags; `None` when it has no turn now.
#[inline]
fn reads_until(conn: &Conn, flags: EpollFlags) -> Option<Until> {
    let nothing_to_write = flags == EpollFlags::EPOLLOUT && !conn.has_unsent();
    // One that is unfinished has its turn after the events, and that reads until EAGAIN.
    if conn.is_unfinished || nothing_to_write {
        return None;
    }
    Some(if flags.intersects(NOT_JUST_BYTES) { Until::Dry } else { Until::ShortRead })
}

/// The turn of one client. If its budget runs out before its bytes do, it is `unfinished`.
#[inline]
fn turn<O: Observer>(
    fd: RawFd,
    until: Until,
    pump: &mut Pump<O>,
    conns: &mut ByFd,
    acceptor: &mut Acceptor<'_>,
    unfinished: &mut VecDeque<RawFd>,
) {
    let Some(conn) = conns.get(fd) else { return };
    let want = pump.pump(conn, until);
    conn.is_unfinished = want == Want::ReadMore;
    match want {
        Want::Read | Want::Write => {}
        Want::ReadMore => unfinished.push_back(fd),
        Want::Close => {
            // close(2) takes the socket out of the epoll set as well.
            conns.close(fd);
            acceptor.client_left();
        }
    }
}
