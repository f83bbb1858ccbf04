//! epoll(7), level-triggered: the course's `tcpepoll`.
//!
//! The kernel keeps the list of what is watched, and a wait returns only what is ready, for as long
//! as it is so. Hence: read once and return to the wait; what is left will be reported again. And:
//! ask for writability only while something is unsent, because an idle socket is always writable
//! and would be reported for ever. That costs an `EPOLL_CTL_MOD` whenever a client stops or starts
//! to take its answers; in the usual request it costs nothing.
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

/// Tokens: a client's is its descriptor, so these are numbers that no descriptor has.
const STOP: u64 = u64::MAX;
const LISTENER: u64 = u64::MAX - 1;

/// Events taken at once. The rest comes with the next wait.
const EVENTS: usize = 512;

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
    loop {
        let ready = epoll.wait(&mut events, door.timeout(echo.observer.patience()))?;
        if ready == 0 && !door.is_shut() {
            echo.observer.heard_nothing();
        }
        for event in events.iter() {
            match event.token {
                STOP => return door.close(echo, clients),
                LISTENER => {
                    while let Some((conn, peer)) = door.accept()? {
                        let fd = conn.as_fd().as_raw_fd();
                        match epoll.add(&conn, fd as u64, EpollFlags::EPOLLIN) {
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
                    let Some(conn) = clients.get(fd as RawFd) else { continue };
                    let was_writing = conn.has_unsent();
                    let interest = match echo.pump(conn, Until::OneRead) {
                        Want::Read if was_writing => EpollFlags::EPOLLIN,
                        Want::Write if !was_writing => EpollFlags::EPOLLOUT,
                        Want::Read | Want::Write => continue,
                        Want::Close => {
                            // close(2) takes the socket out of the epoll set as well.
                            clients.close(fd as RawFd);
                            door.client_left();
                            continue;
                        }
                    };
                    epoll.modify(&*conn, fd, interest)?;
                }
            }
        }
        if door.reopens() {
            epoll.modify(&door, LISTENER, EpollFlags::EPOLLIN)?;
        }
    }
}
