//! io_uring(7) as a source of readiness: what `epoll_level.rs` does, with the ring in the place of the epoll.
//!
//! The kernel is asked to tell when a socket is readable (`IORING_OP_POLL_ADD`), and recv(2) and send(2) do the rest. Each request is
//! answered once, so the socket is polled for anew after each turn, for what it wants then: there is no interest that would have to be
//! changed. If it is ready already the kernel tells so at once, so nothing that came during the turn is lost. The requests are only
//! entries of a queue, and one io_uring_enter(2) hands over those of a turn and brings what is ready.
//!
//! A poll that is under way keeps its socket open, whatever close(2) says. So a client is closed only when it is not polled for, which
//! is always so in its turn, and at the end all polls are cancelled before the clients are closed.
//!
//! Compare it with `uring.rs`, where the kernel also receives and sends.
//!
//! System calls per request: recv, send, and one io_uring_enter for all requests of a turn.

use crate::Result;
use crate::echo::{Until, Want};
use crate::observer::Observer;
use crate::serve::{Acceptor, ByFd, Job, Next, Totals, Worker, finish};
use crate::sys::fcntl::set_nonblocking;
use crate::sys::socket::Mode;
use crate::sys::uring::{Ring, Setup};
use std::os::fd::{AsFd, AsRawFd, RawFd};

/// Tokens: a client's is its descriptor, so these are numbers that no descriptor has.
const STOP: u64 = 1 << 32;
const LISTENER: u64 = STOP + 1;

/// Serve clients until the stop.
///
/// # Errors
///
/// Those of [`Ring::new`], of the wait, and of the listener. What happens to a client ends that client only.
pub fn serve<O: Observer>(job: Job<'_, O>) -> Result<Totals> {
    let mut pump = job.pump(Worker::ONLY);
    let Job { listener, stop, max_clients, spin, .. } = job;
    set_nonblocking(&listener)?;
    let mut ring = Ring::new(Setup { spin, ..Setup::default() })?;
    ring.poll_fd(stop, libc::POLLIN, STOP)?;
    ring.poll_fd(&listener, libc::POLLIN, LISTENER)?;
    let mut acceptor = Acceptor::new(&listener, Mode::Nonblocking).within(max_clients);
    let mut conns = ByFd::new();
    'serving: loop {
        let is_time_up = ring.enter(1, acceptor.timeout(pump.handler.observer.idle_timeout()))?;
        if is_time_up && !acceptor.is_paused() {
            pump.handler.observer.heard_nothing();
        }
        while let Some(ready) = ring.next() {
            match ready.token {
                STOP => break 'serving,
                LISTENER => {
                    while let Next::Client(conn, peer) = acceptor.next()? {
                        let fd = conn.as_fd().as_raw_fd();
                        ring.poll_fd(&conn, libc::POLLIN, fd as u64)?;
                        pump.welcome(&conn, peer);
                        conns.insert(conn);
                    }
                    match acceptor.paused() {
                        Some(why) => pump.handler.observer.paused(why),
                        None => ring.poll_fd(&listener, libc::POLLIN, LISTENER)?,
                    }
                }
                fd => {
                    let Some(conn) = conns.get(fd as RawFd) else { continue };
                    match pump.pump(conn, Until::OneRead) {
                        Want::Read | Want::ReadMore => ring.poll_fd(&*conn, libc::POLLIN, fd)?,
                        Want::Write => ring.poll_fd(&*conn, libc::POLLOUT, fd)?,
                        Want::Close => {
                            conns.close(fd as RawFd);
                            acceptor.client_left();
                        }
                    }
                }
            }
        }
        if acceptor.resumes() {
            ring.poll_fd(&listener, libc::POLLIN, LISTENER)?;
        }
    }
    ring.cancel_all()?;
    while ring.is_busy() {
        ring.enter(1, None)?;
        while ring.next().is_some() {}
    }
    drop(ring);
    let totals = acceptor.totals();
    listener.close();
    finish(pump, conns, totals)
}
