//! A fixed number of threads, and the first thread accepts for them, blocking calls: UNP chapter 30 design 8.
//!
//! Compare with `prethread.rs`, where every thread waits in accept(2). Here the first thread alone does, and hands each client
//! over to a thread that is free: through a queue with a mutex and a condition variable, as in the book. The book's first
//! thread accepts all who come, and its queue must never be full. Here it accepts only while a thread is free, so that the other
//! clients wait in the queue of the listener, where a client that gives up costs nothing.
//!
//! What must be right: the first thread waits for three things at once, the stop, the listener, and a thread that becomes free.
//! poll(2) waits for descriptors only, so an eventfd(2) tells of the third.
//!
//! System calls per request: recv and send. System calls per client, beside accept4: a poll, and two calls of futex(2), one to
//! wake the thread and one in which it waits. While threads are free there is also an accept4 that finds nobody; when none was,
//! a write and a read of the eventfd.

use super::blocking::until_stop;
use crate::Result;
use crate::echo::{Conn, Pump};
use crate::observer::Observer;
use crate::serve::workers::beside_threads;
use crate::serve::{Acceptor, Job, Next, Sleepers, Totals, Worker, finish};
use crate::stop::Stop;
use crate::sys::eventfd::EventFd;
use crate::sys::fcntl::set_nonblocking;
use crate::sys::poll::{PollFlags, PollSet};
use crate::sys::socket::Mode;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

const STOP: usize = 0;
const ENDED: usize = 1;
const FREE: usize = 2;
const LISTENER: usize = 3;

/// Serve one client in each thread until the stop.
///
/// # Errors
///
/// Those of the wait and of the listener; `EAGAIN` when there are not as many threads; `EMFILE`. What happens to a client ends
/// that client only.
pub fn serve<O: Observer>(job: Job<'_, O>) -> Result<Totals> {
    let mut observer = (job.observe)(Worker::ONLY);
    let Job { ref listener, stop, workers, .. } = job;
    set_nonblocking(listener)?;
    let mut acceptor = Acceptor::new(listener, Mode::Blocking);
    let (queue, sleepers) = (Queue::new()?, Sleepers::new());
    let accept = |ended: &EventFd| accept(&mut acceptor, &queue, stop, ended, &mut observer);
    let mut totals = beside_threads(workers, &sleepers, accept, &|| queue.close(), |worker, _| {
        one_after_another(job.pump(worker), &queue, &sleepers)
    })?;
    observer.stopping();
    totals.times_full = acceptor.totals().times_full;
    job.listener.close();
    Ok(totals)
}

/// The loop of the first thread: accept clients while threads are free for them, until the stop, or until a thread has `ended`.
fn accept(
    acceptor: &mut Acceptor<'_>,
    queue: &Queue,
    stop: &Stop,
    ended: &EventFd,
    observer: &mut impl Observer,
) -> Result<()> {
    let mut set = PollSet::new();
    set.push(stop, PollFlags::POLLIN);
    set.push(ended, PollFlags::POLLIN);
    set.push(&queue.has_room, PollFlags::POLLIN);
    set.push(acceptor.listener(), PollFlags::empty());
    loop {
        set.wait(acceptor.timeout(None))?;
        if !set.revents(STOP).is_empty() || !set.revents(ENDED).is_empty() {
            return Ok(());
        }
        // Before a look at the threads: one that becomes free afterwards makes it readable again.
        if !set.revents(FREE).is_empty() {
            queue.has_room.take()?;
        }
        acceptor.resumes();
        while queue.is_awaited()
            && let Next::Client(conn, peer) = acceptor.next()?
        {
            queue.hand_over(conn, peer);
        }
        let is_watched = queue.is_awaited() && !acceptor.is_paused();
        set.set_events(LISTENER, if is_watched { PollFlags::POLLIN } else { PollFlags::empty() });
        acceptor.paused().into_iter().for_each(|why| observer.paused(why));
    }
}

/// The life of a worker. What it has not served when the queue is closed, it finishes.
fn one_after_another<O: Observer>(
    mut pump: Pump<O>,
    queue: &Queue,
    sleepers: &Sleepers<'_>,
) -> Result<Totals> {
    let (mut totals, mut last) = (Totals::default(), None);
    while last.is_none()
        && let Some((conn, peer)) = queue.next()
    {
        totals.connections += 1;
        pump.welcome(&conn, peer);
        last = until_stop(&mut pump, conn, sleepers)?;
    }
    finish(pump, last, totals)
}

/// The clients that were accepted, until a thread takes them: never more than there are threads that wait for one.
#[derive(Debug)]
struct Queue {
    state: Mutex<State>,
    has_client: Condvar,
    /// Readable when a thread waits for a client, and none did before.
    has_room: EventFd,
}

#[derive(Debug, Default)]
struct State {
    clients: VecDeque<(Conn, SocketAddr)>,
    /// Threads that wait for a client, those included for which one is in the queue.
    waiting: usize,
    is_closed: bool,
}

impl State {
    fn free(&self) -> usize {
        self.waiting - self.clients.len()
    }
}

impl Queue {
    fn new() -> Result<Queue> {
        Ok(Queue { state: Mutex::default(), has_client: Condvar::new(), has_room: EventFd::new()? })
    }

    /// Whether a thread is free.
    fn is_awaited(&self) -> bool {
        self.lock().free() > 0
    }

    /// Leave a client to a thread that is free.
    fn hand_over(&self, conn: Conn, peer: SocketAddr) {
        self.lock().clients.push_back((conn, peer));
        self.has_client.notify_one();
    }

    /// Wait for a client; `None` when the queue is closed and empty.
    fn next(&self) -> Option<(Conn, SocketAddr)> {
        let mut state = self.lock();
        state.waiting += 1;
        if state.free() == 1 {
            self.has_room.signal().ok(); // It cannot fail: see there.
        }
        let none_yet = |state: &mut State| state.clients.is_empty() && !state.is_closed;
        let waited = self.has_client.wait_while(state, none_yet);
        let mut state = waited.unwrap_or_else(PoisonError::into_inner);
        state.waiting -= 1;
        state.clients.pop_front()
    }

    /// No client comes any more.
    fn close(&self) {
        self.lock().is_closed = true;
        self.has_client.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
