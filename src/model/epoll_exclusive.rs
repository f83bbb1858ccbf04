//! Worker threads with an epoll instance each, and one listener in all of them (`EPOLLEXCLUSIVE`, Linux 4.5).
//!
//! A client stays with the worker that accepted it, and each worker is the server of `epoll_level.rs`. What they share is the
//! listener. Without the flag the kernel wakes every worker that sleeps for each new client: one of them gets it, and the others
//! were woken in vain. That is the thundering herd, and the row `epoll-herd` shows it. With the flag it wakes one worker (the man
//! page promises only that it may be fewer than all).
//!
//! Beside `epoll_level.rs`:
//!
//! - A worker accepts one client for each event. The listener is level-triggered, so the next wait reports what is left, and in the
//!   meantime another worker may have it. To accept until the queue is empty costs one more accept4(2) for each client that comes
//!   alone, and did not share the clients any better.
//! - `EPOLL_CTL_MOD` is not allowed for `EPOLLEXCLUSIVE` (`EINVAL`). So a pause takes the listener out, and its end adds it again.
//! - No wake-up is lost with a worker that pauses. All workers are at the limits at which one of them is, so another could not have
//!   accepted the client either; and the worker that paused looks again after 100 ms, because adding reports what waits already. That
//!   is why a limit on clients has one count for all workers. With a limit for each worker, the kernel could wake one that is full, and
//!   the others would not be told of the client.
//!
//! The price is fairness. The kernel always wakes the first that sleeps of those that added the listener. When clients come one at
//! a time, one worker gets them all, although it may have many clients already and the others none. `reuseport` spreads them.
//! (nginx takes the listener out and adds it again after each 16th client. That puts the worker at the end of the kernel's list, and
//! the clients are spread.)
//!
//! `cargo test --test it herd -- --nocapture` has clients come one at a time to workers that sleep. It prints how many wake-ups a
//! client costs, which is 1 here and the number of workers in `epoll-herd`, and how many clients each worker has in the end. The
//! report of `io-models serve` shows both under any load: accept4 calls beyond the number of clients are wake-ups in vain (but a
//! worker that wakes so late that the client is gone does not call it), and Jain's index of the connections is 1 when all workers
//! have equally many, and 1 / workers when one has all.
//!
//! System calls per request: recv, send, and one epoll_wait for all requests of a turn.

use crate::Result;
use crate::echo::{Pump, Until, Want};
use crate::initserver::Listener;
use crate::observer::Observer;
use crate::serve::workers::in_threads;
use crate::serve::{Acceptor, ByFd, Job, Next, Paused, Sleepers, Totals, finish};
use crate::stop::Stop;
use crate::sys::Errno;
use crate::sys::epoll::{Epoll, EpollFlags, Events};
use crate::sys::fcntl::set_nonblocking;
use crate::sys::socket::Mode;
use std::os::fd::{AsFd, AsRawFd, RawFd};

/// Tokens: a client's is its descriptor, so these are numbers that no descriptor has.
const STOP: u64 = u64::MAX;
const LISTENER: u64 = u64::MAX - 1;

/// Events taken at once. The rest comes with the next wait.
const EVENTS: usize = 512;

/// Serve with workers of which a new client wakes one, until the stop.
///
/// # Errors
///
/// Those of the wait and of the listener; `EAGAIN` when there are not as many threads; `EMFILE`; `EINVAL` before Linux 4.5. What happens to
/// a client ends that client only.
#[doc(alias = "EPOLLEXCLUSIVE")]
pub fn serve<O: Observer>(job: Job<'_, O>) -> Result<Totals> {
    in_workers(job, EpollFlags::EPOLLIN.union(EpollFlags::EPOLLEXCLUSIVE))
}

/// Serve with workers of which a new client wakes all, until the stop: what `EPOLLEXCLUSIVE` is compared with.
///
/// # Errors
///
/// As [`serve`].
pub fn serve_herd<O: Observer>(job: Job<'_, O>) -> Result<Totals> {
    in_workers(job, EpollFlags::EPOLLIN)
}

fn in_workers<O: Observer>(job: Job<'_, O>, watch: EpollFlags) -> Result<Totals> {
    let Job { ref listener, stop, workers, ref max_clients, spin, .. } = job;
    set_nonblocking(listener)?;
    // Before the first client takes a descriptor.
    let epolls = (0..workers.get()).map(|_| Ok(Epoll::new()?.spinning(spin))).collect::<Result<Vec<_>>>()?;
    let totals = in_threads(workers, stop, &Sleepers::with_those_at(listener), |worker, stop| {
        let acceptor = Acceptor::new(listener, Mode::Nonblocking).within(max_clients.clone());
        work(job.pump(worker), &epolls[worker.0], acceptor, stop, watch)
    })?;
    job.listener.close();
    Ok(totals)
}

/// The loop of a worker, which watches the listener for `watch`.
fn work<O: Observer>(
    mut pump: Pump<O>,
    epoll: &Epoll,
    mut acceptor: Acceptor<'_>,
    stop: &Stop,
    watch: EpollFlags,
) -> Result<Totals> {
    let listener = acceptor.listener();
    epoll.add(stop, STOP, EpollFlags::EPOLLIN)?;
    epoll.add(listener, LISTENER, watch)?;
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
                    match accept_one(&mut acceptor, epoll, &mut pump, &mut conns) {
                        // The stop shuts the listener down.
                        Err(_) if stop.is_set()? => break 'serving,
                        accepted => accepted?,
                    }
                    if let Some(why) = acceptor.paused() {
                        pump.handler.observer.paused(why);
                        epoll.delete(listener)?;
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
        if acceptor.resumes() && !is_watched_again(listener, epoll, watch)? {
            acceptor.pause(Paused::NotWatchable);
        }
    }
    finish(pump, conns, acceptor.totals())
}

/// Accept one client, if one waits: the others may be for other workers.
fn accept_one<O: Observer>(
    acceptor: &mut Acceptor<'_>,
    epoll: &Epoll,
    pump: &mut Pump<O>,
    conns: &mut ByFd,
) -> Result<()> {
    let Next::Client(conn, peer) = acceptor.next()? else { return Ok(()) };
    let fd = conn.as_fd().as_raw_fd();
    match epoll.add(&conn, fd as u64, EpollFlags::EPOLLIN) {
        Ok(()) => {
            pump.welcome(&conn, peer);
            conns.insert(conn);
        }
        Err(_) => acceptor.turn_away(conn),
    }
    Ok(())
}

/// Put the listener back into the set; `false` when the kernel has no memory for it, or the user has too many watches.
fn is_watched_again(listener: &Listener, epoll: &Epoll, watch: EpollFlags) -> Result<bool> {
    match epoll.add(listener, LISTENER, watch) {
        Err(error) if matches!(error.errno(), Some(Errno::ENOMEM | Errno::ENOSPC)) => Ok(false),
        added => added.map(|()| true),
    }
}
