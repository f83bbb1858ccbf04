//! A process for each client, blocking calls: the course's `demo10`, UNP chapter 30 design 1.
//!
//! The child is the blocking server at its simplest, for one client; the kernel's scheduler is the event loop. The price is
//! fork(2), exit and wait, the memory of a process, and a context switch for each request of another client. The parent only
//! accepts, forks and collects.
//!
//! What must be right, and is wrong in most examples:
//!
//! - The parent closes its copy of the client's socket, or the client would never see the end. The child closes the listener, or
//!   the port would stay taken when the parent has died.
//! - Ended children are collected when SIGCHLD says so, until none is left: several ends may come as one signal. Otherwise they
//!   stay as zombies.
//! - Stopping goes to our own children by number. (`kill(0, …)` of the course hits everything in the process group, such as the
//!   rest of a shell pipeline.) A child that waits in recv(2) sees no stop descriptor, so SIGTERM shuts its socket's reading
//!   side: the call returns what has arrived, then the end. A child whose client does not take its answers is killed after a
//!   while.
//! - Between fork(2) and its first instruction a child has the parent's signal handlers, which would stop the whole server. So
//!   the signals are blocked until it has its own.
//! - When the parent is killed, nobody is left for an orderly end: the kernel kills the children.
//!
//! System calls per request: recv and send.

use crate::Result;
use crate::echo::{Conn, Pump, Traffic};
use crate::initserver::Listener;
use crate::observer::Observer;
use crate::serve::children::{Children, Forked, shut_reading_at_hang_up, until_hang_up};
use crate::serve::{Acceptor, Job, MaxClients, Paused, Totals, Worker, finish};
use crate::stop::Stop;
use crate::sys::Errno;
use crate::sys::fcntl::set_nonblocking;
use crate::sys::poll::{PollFlags, PollSet};
use crate::sys::socket::Mode;
use std::net::SocketAddr;

const STOP: usize = 0;
const LISTENER: usize = 1;
const CHILDREN: usize = 2;

/// Serve each client in a process until the stop. The observer of the child is told of the client. The rest is as
/// [`for_each_client`] says.
///
/// # Errors
///
/// As [`for_each_client`].
pub fn serve<O: Observer>(job: Job<'_, O>) -> Result<Totals> {
    let observer = (job.observe)(Worker::ONLY);
    let Job { listener, stop, reply, piece, max_clients, observe, .. } = job;
    each_in_a_process(listener, stop, max_clients, observer, |conn, peer, traffic| {
        let mut pump = Pump::new(reply, piece, observe(Worker::ONLY)).publishing_to(Some(traffic));
        pump.welcome(&conn, peer);
        let last = until_hang_up(&mut pump, conn);
        last.iter().try_for_each(set_nonblocking)?;
        finish(pump, last, Totals::default()).map(drop)
    })
}

/// Give each client of `listener` a process that does `job`, until `stop`. The `observer` is told what concerns them all.
///
/// At the stop the reading side of the client's socket is shut down, in each process, so that `job` finds the end of the
/// stream, and [`signal::hung_up`](crate::sys::signal::hung_up) tells why; what still runs a while later is killed. Children of this process that somebody
/// else has started are collected too, so it should have none. The totals have no bytes: only `job` knows of those.
///
/// # Errors
///
/// [`Error::Threads`](crate::Error::Threads) in a process with several threads; those of the wait and of the listener. What
/// happens to a client ends that client only.
pub fn for_each_client(
    listener: Listener,
    stop: &Stop,
    observer: impl Observer,
    job: impl FnOnce(Conn, SocketAddr),
) -> Result<Totals> {
    each_in_a_process(listener, stop, MaxClients::unlimited(), observer, |conn, peer, _| {
        shut_reading_at_hang_up(&conn);
        job(conn, peer);
        Ok(())
    })
}

fn each_in_a_process(
    listener: Listener,
    stop: &Stop,
    max_clients: MaxClients,
    mut observer: impl Observer,
    job: impl FnOnce(Conn, SocketAddr, &'static Traffic) -> Result<()>,
) -> Result<Totals> {
    set_nonblocking(&listener)?;
    let mut children = Children::new()?;
    let mut set = PollSet::new();
    set.push(stop, PollFlags::POLLIN);
    set.push(&listener, PollFlags::POLLIN);
    set.push(&children, PollFlags::POLLIN);
    let mut acceptor = Acceptor::new(&listener, Mode::Blocking).within(max_clients);
    // A client for which there was no process: it waits, as one without descriptor does.
    let mut parked = None;
    let mut done = Totals::default();
    loop {
        set.wait(acceptor.timeout(None))?;
        if !set.revents(STOP).is_empty() {
            break;
        }
        if !set.revents(CHILDREN).is_empty() {
            children.collect(|child| {
                done += child.totals;
                acceptor.client_left();
            })?;
        }
        let resumed = acceptor.resumes();
        if !resumed && set.revents(LISTENER).is_empty() {
            continue;
        }
        while let Some((conn, peer)) = acceptor.next_or(&mut parked)? {
            match children.fork() {
                Ok(Forked::Parent(_)) => conn.close(),
                Ok(Forked::Child(child)) => {
                    listener.close();
                    child.run(|traffic| job(conn, peer, traffic));
                }
                Err(error) if matches!(error.errno(), Some(Errno::EAGAIN | Errno::ENOMEM)) => {
                    parked = Some((conn, peer));
                    acceptor.pause(Paused::NoProcess);
                    break;
                }
                Err(error) => return Err(error),
            }
        }
        let is_watched = if acceptor.is_paused() { PollFlags::empty() } else { PollFlags::POLLIN };
        set.set_events(LISTENER, is_watched);
        acceptor.paused().into_iter().for_each(|why| observer.paused(why));
    }
    observer.stopping();
    let mut totals = acceptor.totals();
    listener.close();
    parked.into_iter().for_each(|(conn, _)| conn.close());
    let killed = children.end(|child| done += child.totals)?;
    if killed > 0 {
        observer.killed(killed);
    }
    // This process has counted the clients.
    totals += Totals { connections: 0, killed: killed as u64, ..done };
    Ok(totals)
}
