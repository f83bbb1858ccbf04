//! Workers: threads or processes that share the clients of a server. There is a fixed number of them, from before the first
//! client comes.

use super::children::{Child, Children, Forked};
use super::{FLUSH_GRACE, Paused, Sleepers, Totals, Worker};
use crate::Result;
use crate::echo::Traffic;
use crate::observer::Observer;
use crate::stop::{self, Stop, Stopper};
use crate::sys::Errno;
use crate::sys::eventfd::EventFd;
use crate::sys::fork::Pid;
use crate::sys::poll::{PollFlags, PollSet};
use crate::sys::signal;
use crate::sys::thread::spawn_scoped;
use std::num::NonZeroUsize;
use std::os::fd::{AsFd, BorrowedFd};
use std::panic::resume_unwind;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// A worker process is replaced this long after it was started, or later. One that fails at once, again and again, would
/// otherwise keep a processor busy.
const RESTART: Duration = Duration::from_millis(100);

/// How many processes are forked before the stop is looked at.
const FORKS_IN_A_ROW: usize = 16;

/// Do `work` in so many threads until `stop` comes, or until one of them has ended. Then each has to end: the [`Stop`] that it
/// was given says so, and those that wait on `sleepers` are woken.
///
/// # Errors
///
/// The first of `work`. `EAGAIN` when there are not as many threads; `EMFILE`.
///
/// # Panics
///
/// When `work` does, after all threads have ended.
pub fn in_threads(
    workers: NonZeroUsize,
    stop: &Stop,
    sleepers: &Sleepers<'_>,
    work: impl Fn(Worker, &Stop) -> Result<Totals> + Sync,
) -> Result<Totals> {
    let wait = |ended: &EventFd| {
        let mut set = PollSet::new();
        set.push(stop, PollFlags::POLLIN);
        set.push(ended, PollFlags::POLLIN);
        set.wait(None).map(drop)
    };
    beside_threads(workers, sleepers, wait, &|| {}, work)
}

/// Do `work` in so many threads, and `first` in this one until it has ended: at the stop, and when its argument is readable,
/// because a thread has ended. Then `at_end` ends the waits of threads that neither the [`Stop`] nor `sleepers` end.
///
/// # Errors
///
/// That of `first`, and those of [`in_threads`].
///
/// # Panics
///
/// When `work` does, after all threads have ended.
pub fn beside_threads(
    workers: NonZeroUsize,
    sleepers: &Sleepers<'_>,
    first: impl FnOnce(&EventFd) -> Result<()>,
    at_end: &dyn Fn(),
    work: impl Fn(Worker, &Stop) -> Result<Totals> + Sync,
) -> Result<Totals> {
    let (stopper, stop_of_workers) = stop::pair()?;
    let at_work = AtWork { count: Mutex::default(), has_ended: Condvar::new(), ended: EventFd::new()? };
    let life = |worker, _ending: Ending<'_>| work(worker, &stop_of_workers);
    let ends = thread::scope(|scope| {
        // However the lines below end, the threads have to end before the scope does.
        let end = AtEnd { at_end, stopper, sleepers, at_work: &at_work };
        let mut threads = Vec::new();
        for worker in (0..workers.get()).map(Worker) {
            let (life, ending) = (&life, at_work.begin());
            threads.push(spawn_scoped(scope, move || life(worker, ending))?);
        }
        first(&at_work.ended)?;
        drop(end);
        Result::Ok(threads.into_iter().map(thread::ScopedJoinHandle::join).collect::<Vec<_>>())
    })?;
    let mut totals = Totals::default();
    for end in ends {
        totals += end.unwrap_or_else(|panic| resume_unwind(panic))?.of_worker();
    }
    Ok(totals)
}

/// The threads that have not ended.
struct AtWork {
    count: Mutex<usize>,
    has_ended: Condvar,
    /// Readable when one has ended.
    ended: EventFd,
}

impl AtWork {
    fn begin(&self) -> Ending<'_> {
        *self.count() += 1;
        Ending(self)
    }

    fn count(&self) -> MutexGuard<'_, usize> {
        self.count.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A thread that ends, also by a panic, or because it could not be started.
struct Ending<'a>(&'a AtWork);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        let Ending(at_work) = self;
        *at_work.count() -= 1;
        at_work.has_ended.notify_one();
        at_work.ended.signal().ok();
    }
}

/// Tells the threads to end. A send that a client does not take is ended after [`FLUSH_GRACE`].
struct AtEnd<'a> {
    at_end: &'a dyn Fn(),
    stopper: Stopper,
    sleepers: &'a Sleepers<'a>,
    at_work: &'a AtWork,
}

impl Drop for AtEnd<'_> {
    fn drop(&mut self) {
        let AtEnd { at_end, stopper, sleepers, at_work } = self;
        stopper.stop().ok(); // It cannot fail: the other end is open.
        sleepers.wake();
        at_end();
        drop(at_work.has_ended.wait_timeout_while(at_work.count(), FLUSH_GRACE, |count| *count > 0));
        sleepers.give_up();
    }
}

/// Do `work` in so many processes until `stop` comes. One that ends before is replaced: its clients have lost their server, and
/// nobody else has. `at_stop` is called before the processes are told to end.
///
/// # Errors
///
/// As [`Crew::fill`] and [`Crew::collect`].
pub fn in_processes(
    workers: NonZeroUsize,
    stop: &Stop,
    mut observer: impl Observer,
    at_stop: impl FnOnce(),
    work: impl FnOnce(Worker, &'static Traffic) -> Result<Totals>,
) -> Result<Totals> {
    let mut crew = Crew::new(workers)?;
    let serve = || {
        let mut set = PollSet::new();
        let stop = set.push(stop, PollFlags::POLLIN);
        set.push(&crew, PollFlags::POLLIN);
        loop {
            if let Some((worker, child)) = crew.fill(&mut observer)? {
                child.run(|traffic| work(worker, traffic).map(|totals| totals.publish(traffic)));
            }
            set.wait(crew.timeout())?;
            if !set.revents(stop).is_empty() {
                return Ok(());
            }
            crew.collect(&mut observer)?;
        }
    };
    let served = serve();
    at_stop();
    served?;
    crew.end(&mut observer)
}

/// In a worker process that waits in a loop: what SIGTERM makes readable.
///
/// # Errors
///
/// `EMFILE`.
pub fn stop_of_process() -> Result<Stop> {
    let (stopper, stop) = stop::pair()?;
    // The handler has a copy of the writing end, which stays open.
    stopper.stop_on_signals()?;
    if signal::hung_up().is_some() {
        stopper.stop()?;
    }
    Ok(stop)
}

/// Worker processes.
#[derive(Debug)]
pub struct Crew {
    children: Children,
    places: Vec<Place>,
    was_complete: bool,
}

/// The place of a worker.
#[derive(Debug, Clone)]
struct Place {
    process: Option<Pid>,
    /// How many have had it.
    processes: u64,
    /// Nobody is started for this place before.
    not_before: Instant,
    /// What the processes that had it did.
    done: Totals,
}

impl Crew {
    /// So many places, and no process.
    ///
    /// # Errors
    ///
    /// `EMFILE`, `ENOMEM`.
    pub fn new(workers: NonZeroUsize) -> Result<Crew> {
        let now = Instant::now();
        let place = Place { process: None, processes: 0, not_before: now, done: Totals::default() };
        let places = vec![place; workers.get()];
        Ok(Crew { children: Children::new()?, places, was_complete: false })
    }

    /// Fork a process for each place that has none; not for all at once, because a stop may come meanwhile. In such a process the
    /// answer is which worker it is; in the parent `None`.
    ///
    /// # Errors
    ///
    /// [`Error::Threads`](crate::Error::Threads) in a process with several threads. `EAGAIN` and `ENOMEM` before all places were
    /// filled; afterwards it is tried again later, and the observer is told.
    pub fn fill(&mut self, observer: &mut impl Observer) -> Result<Option<(Worker, Child)>> {
        let Crew { children, places, was_complete } = self;
        let now = Instant::now();
        let empty = places.iter_mut().enumerate().filter(|(_, place)| place.is_due(now));
        for (i, place) in empty.take(FORKS_IN_A_ROW) {
            place.not_before = now + RESTART;
            match children.fork() {
                Ok(Forked::Parent(pid)) => {
                    place.process = Some(pid);
                    place.processes += 1;
                }
                Ok(Forked::Child(child)) => return Ok(Some((Worker(i), child))),
                Err(error) => match error.errno() {
                    Some(Errno::EAGAIN | Errno::ENOMEM) if *was_complete => observer.paused(Paused::NoWorker),
                    _ => return Err(error),
                },
            }
        }
        *was_complete |= places.iter().all(|place| place.process.is_some());
        Ok(None)
    }

    /// How long until [`fill`](Crew::fill) can do something; `None` while all places are filled.
    #[must_use]
    pub fn timeout(&self) -> Option<Duration> {
        let empty = self.places.iter().filter(|place| place.process.is_none());
        empty.map(|place| place.not_before.saturating_duration_since(Instant::now())).min()
    }

    /// Take note of the processes that have ended, and tell `observer`. Returns whose they were.
    ///
    /// # Errors
    ///
    /// The failure of a process that was the first in its place, and served nobody: the next would fail as well.
    pub fn collect(&mut self, observer: &mut impl Observer) -> Result<Vec<Worker>> {
        let Crew { children, places, .. } = self;
        let (mut workers, mut fails) = (Vec::new(), Ok(()));
        children.collect(|child| {
            let is_of_use = child.totals.connections > 0;
            let Some(worker) = leave(places, child.pid, child.totals) else { return };
            workers.push(worker);
            match child.failure {
                Some(error) if !is_of_use && places[worker.0].processes == 1 => fails = Err(error),
                failure => observer.worker_ended(worker, failure.as_ref()),
            }
        })?;
        fails.map(|()| workers)
    }

    /// Tell all to end, and wait until they have: [`Children::end`]. Returns what all have done.
    ///
    /// # Errors
    ///
    /// None in practice.
    pub fn end(self, observer: &mut impl Observer) -> Result<Totals> {
        let Crew { mut children, mut places, .. } = self;
        observer.stopping();
        let killed = children.end(|child| {
            leave(&mut places, child.pid, child.totals);
        })?;
        if killed > 0 {
            observer.killed(killed);
        }
        let mut totals = Totals { killed: killed as u64, ..Totals::default() };
        for place in places {
            totals.replaced += place.processes.saturating_sub(1);
            totals += place.done.of_worker();
        }
        Ok(totals)
    }
}

impl Place {
    fn is_due(&self, now: Instant) -> bool {
        self.process.is_none() && self.not_before <= now
    }
}

/// Readable when a process has ended and was not [collected](Crew::collect).
impl AsFd for Crew {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.children.as_fd()
    }
}

/// The process that had this place has ended.
fn leave(places: &mut [Place], pid: Pid, totals: Totals) -> Option<Worker> {
    let i = places.iter().position(|place| place.process == Some(pid))?;
    places[i].process = None;
    places[i].done += totals;
    Some(Worker(i))
}
