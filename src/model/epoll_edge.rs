//! epoll(7), edge-triggered: the course's `tcpepoll2`.
//!
//! Each socket is registered once, for reading and writing, and never touched again: no
//! `EPOLL_CTL_MOD`. In return a readiness is reported once, when it begins, so the loop owes the
//! kernel to go on until it has ended:
//!
//! - It reads until a read comes back short (or `EAGAIN`), where the level-triggered loop reads
//!   once. Reading once would leave bytes that nobody will ever mention again.
//! - A short read usually proves that nothing is left, with two exceptions: the end of the stream,
//!   which may have come together with the bytes, and urgent data, before which recv(2) stops. Both
//!   are reported with the event, and then it reads until `EAGAIN` or the end.
//! - A client that is still not dry when its turn is over goes to a list of our own, because the
//!   kernel will not remind us of it.
//!
//! Beside `epoll_level.rs`: the flags at registration, `Until`, the list `again`; and nothing where
//! the other calls `modify`.
//!
//! The listener stays level-triggered: with edges, a client that found the door shut would have to
//! be remembered too.
//!
//! Calls a request: recv, send, and a share of one epoll_wait.

use crate::Result;
use crate::echo::{Echo, Until, Want};
use crate::initserver::Listener;
use crate::observer::Observer;
use crate::serve::{Clients, Door, Totals};
use crate::stop::Stop;
use crate::sys::epoll::{Epoll, EpollFlags, Events};
use crate::sys::fcntl::set_nonblocking;
use crate::sys::socket::Mode;
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

/// Serve clients of `listener` with `echo` until `stop`.
///
/// # Errors
///
/// Those of the wait and of the listener. What happens to a client ends that client only.
pub fn serve<O: Observer>(listener: Listener, stop: &Stop, mut echo: Echo<O>) -> Result<Totals> {
    set_nonblocking(&listener)?;
    let epoll = Epoll::new()?;
    epoll.add(stop, STOP, EpollFlags::EPOLLIN)?;
    epoll.add(&listener, LISTENER, EpollFlags::EPOLLIN)?;
    let mut door = Door::new(listener, Mode::Nonblocking);
    let mut clients = Clients::new();
    let mut events = Events::with_capacity(EVENTS);
    // Clients whose turn ended before they were dry, and those of the turn before.
    let mut again: Vec<RawFd> = Vec::new();
    let mut owed: Vec<RawFd> = Vec::new();
    loop {
        let patience = door.timeout(echo.observer.patience());
        let timeout = if again.is_empty() { patience } else { Some(Duration::ZERO) };
        let ready = epoll.wait(&mut events, timeout)?;
        if ready == 0 && again.is_empty() && !door.is_shut() {
            echo.observer.heard_nothing();
        }
        // Who ran out in this turn goes to `again`, and has the next turn beside the events of then.
        std::mem::swap(&mut owed, &mut again);
        // One turn each: for a client that is owed one, its events are left out. Its reminder asks for
        // the most, to be read until dry, because what the event that it had told of is forgotten.
        let due = events.iter().filter(|e| !owed.contains(&(e.token as RawFd))).map(|e| (e.token, e.flags));
        let reminders = owed.iter().map(|&fd| (fd as u64, NOT_JUST_BYTES));
        for (token, flags) in due.chain(reminders) {
            match token {
                STOP => return door.close(echo, clients),
                LISTENER => {
                    while let Some((conn, peer)) = door.accept()? {
                        let fd = conn.as_fd().as_raw_fd();
                        match epoll.add(&conn, fd as u64, CLIENT) {
                            Ok(()) => {
                                echo.welcome(&conn, peer);
                                clients.insert(conn);
                            }
                            Err(_) => door.turn_away(conn),
                        }
                    }
                    if door.is_shut() {
                        echo.observer.full();
                        epoll.modify(&door, LISTENER, EpollFlags::empty())?;
                    }
                }
                fd => {
                    let fd = fd as RawFd;
                    let Some(conn) = clients.get(fd) else { continue };
                    if flags == EpollFlags::EPOLLOUT && !conn.has_unsent() {
                        continue; // It has become writable, and there is nothing to write.
                    }
                    let dry = flags.intersects(NOT_JUST_BYTES);
                    match echo.pump(conn, if dry { Until::Dry } else { Until::ShortRead }) {
                        Want::Read if echo.ran_out() => again.push(fd),
                        Want::Read | Want::Write => {}
                        Want::Close => {
                            // close(2) takes the socket out of the epoll set as well.
                            clients.close(fd);
                            door.client_left();
                        }
                    }
                }
            }
        }
        owed.clear();
        if door.reopens() {
            epoll.modify(&door, LISTENER, EpollFlags::EPOLLIN)?;
        }
    }
}
