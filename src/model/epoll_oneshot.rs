//! Several threads share one epoll instance and one table of clients (`EPOLLONESHOT`).
//!
//! Any thread serves any client, so no client waits while a thread sleeps, however the clients were accepted. The flag decides who
//! serves: the kernel reports a client to one thread and then not again, until that thread arms the client by `EPOLL_CTL_MOD`.
//! Without the flag it would report a client that a thread is just serving to all others, again and again.
//!
//! Beside `epoll_level.rs`:
//!
//! - `modify` after every turn of a client. Arming reports at once what is ready already, so nothing that came during the turn is
//!   lost.
//! - A client is in a slot with a lock. A thread holds it from before the turn until the client is armed again. If it armed the
//!   client first and put it into the table afterwards, another thread could find an empty slot, drop the event, and nobody would
//!   arm that client again.
//! - A thread takes one event at a time. Others that it took would wait for their turns although a thread sleeps.
//! - The listener is one-shot too, so that one thread accepts. (`EPOLLEXCLUSIVE` is for several epoll instances, and cannot be
//!   combined with `EPOLLONESHOT`.) A pause is simply not to arm it. There is one acceptor, and so one place that knows of the pause:
//!   the next thread whose client leaves ends it, or else the thread that began it, after 100 ms.
//! - A client is taken out of the epoll before it is closed. close(2) would take it out as well, but what surprised us: another thread
//!   may be looking at the socket just then, inside epoll_wait(2). The connection then ends only when that thread returns from its wait,
//!   which may be never. `EPOLL_CTL_DEL` waits until nobody looks.
//! - The stop is level-triggered, and stays readable: every thread sees it.
//!
//! What is not here: a number of the generation in the token, by which an event for a client that has left could be told from one
//! for the next client with the same descriptor. No such event can be under way, because only the thread that took the event of a
//! client closes it, and until then the client is not armed. (At the stop a thread closes clients that are armed. Then another may
//! serve a new client for such an event: it receives nothing, and arms the client once more.)
//!
//! Each thread has its own observer: a client may be accepted by one and served by others.
//!
//! System calls per request: epoll_wait, recv, send and epoll_ctl.

use crate::Result;
use crate::echo::{Conn, Pump, Until, Want};
use crate::observer::Observer;
use crate::serve::workers::in_threads;
use crate::serve::{Acceptor, Job, Next, Sleepers, Slots, Totals, finish};
use crate::stop::Stop;
use crate::sys::Errno;
use crate::sys::epoll::{Epoll, EpollFlags, Events};
use crate::sys::fcntl::set_nonblocking;
use crate::sys::socket::Mode;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Tokens: a client's is its descriptor, so these are numbers that no descriptor has.
const STOP: u64 = u64::MAX;
const LISTENER: u64 = u64::MAX - 1;

/// Events taken at once: what one thread has taken, no other can serve.
const EVENTS: usize = 1;

const READ: EpollFlags = EpollFlags::EPOLLIN.union(EpollFlags::EPOLLONESHOT);
const WRITE: EpollFlags = EpollFlags::EPOLLOUT.union(EpollFlags::EPOLLONESHOT);

/// Serve with threads that share all clients until the stop.
///
/// # Errors
///
/// Those of the wait and of the listener; `EAGAIN` when there are not as many threads. What happens to a client ends that client
/// only.
#[doc(alias = "EPOLLONESHOT")]
pub fn serve<O: Observer>(job: Job<'_, O>) -> Result<Totals> {
    let Job { ref listener, stop, workers, ref max_clients, spin, .. } = job;
    set_nonblocking(listener)?;
    let epoll = Epoll::new()?.spinning(spin);
    epoll.add(listener, LISTENER, READ)?;
    let acceptor = Mutex::new(Acceptor::new(listener, Mode::Nonblocking).within(max_clients.clone()));
    let shared = Shared { epoll, acceptor, clients: Slots::new() };
    let mut totals = in_threads(workers, stop, &Sleepers::with_those_at(listener), |worker, stop| {
        shared.work(job.pump(worker), stop)
    })?;
    totals.times_full = shared.acceptor().totals().times_full;
    drop(shared);
    job.listener.close();
    Ok(totals)
}

/// What the threads have in common. Who holds the lock of a client does not wait for the acceptor.
struct Shared<'a> {
    epoll: Epoll,
    acceptor: Mutex<Acceptor<'a>>,
    clients: Slots,
}

impl<'a> Shared<'a> {
    /// The loop of a thread.
    fn work<O: Observer>(&self, mut pump: Pump<O>, stop: &Stop) -> Result<Totals> {
        let Shared { epoll, clients, .. } = self;
        match epoll.add(stop, STOP, EpollFlags::EPOLLIN) {
            // Another thread was the first.
            Err(error) if error.errno() == Some(Errno::EEXIST) => {}
            added => added?,
        }
        let mut events = Events::with_capacity(EVENTS);
        let mut totals = Totals::default();
        let mut has_paused = false;
        'serving: loop {
            let idle = pump.handler.observer.idle_timeout();
            let ready =
                epoll.wait(&mut events, if has_paused { self.acceptor().timeout(idle) } else { idle })?;
            if ready == 0 && !has_paused {
                pump.handler.observer.heard_nothing();
            }
            for event in events.iter() {
                match event.token {
                    STOP => break 'serving,
                    LISTENER => match self.accept(&mut pump, &mut totals) {
                        // The stop shuts the listener down.
                        Err(_) if stop.is_set()? => break 'serving,
                        is_paused => has_paused |= is_paused?,
                    },
                    fd => {
                        let mut slot = clients.lock(fd as RawFd);
                        let Some(conn) = &mut *slot else { continue };
                        let interest = match pump.pump(conn, Until::ShortRead) {
                            Want::Read | Want::ReadMore => READ,
                            Want::Write => WRITE,
                            Want::Close => {
                                epoll.delete(&*conn)?;
                                slot.take().into_iter().for_each(Conn::close);
                                drop(slot);
                                self.client_left()?;
                                continue;
                            }
                        };
                        epoll.modify(&*conn, fd, interest)?;
                    }
                }
            }
            if has_paused {
                let mut acceptor = self.acceptor();
                self.resume(&mut acceptor)?;
                has_paused = acceptor.is_paused();
            }
        }
        finish(pump, clients.take_all(), totals)
    }

    /// Accept those who wait, and arm the listener again, unless accepting is paused: then the answer is `true`.
    fn accept<O: Observer>(&self, pump: &mut Pump<O>, totals: &mut Totals) -> Result<bool> {
        let mut acceptor = self.acceptor();
        while let Next::Client(conn, peer) = acceptor.next()? {
            totals.connections += 1;
            let fd = conn.as_fd().as_raw_fd();
            let mut slot = self.clients.lock(fd);
            match self.epoll.add(&conn, fd as u64, READ) {
                Ok(()) => {
                    pump.welcome(&conn, peer);
                    *slot = Some(conn);
                }
                Err(_) => acceptor.turn_away(conn),
            }
        }
        if let Some(why) = acceptor.paused() {
            pump.handler.observer.paused(why);
            return Ok(true);
        }
        self.epoll.modify(acceptor.listener(), LISTENER, READ).map(|()| false)
    }

    fn acceptor(&self) -> MutexGuard<'_, Acceptor<'a>> {
        self.acceptor.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// There is a descriptor again, so that a pause is over, whoever began it.
    fn client_left(&self) -> Result<()> {
        let mut acceptor = self.acceptor();
        acceptor.client_left();
        self.resume(&mut acceptor)
    }

    fn resume(&self, acceptor: &mut Acceptor<'_>) -> Result<()> {
        if acceptor.resumes() {
            self.epoll.modify(acceptor.listener(), LISTENER, READ)?;
        }
        Ok(())
    }
}
