//! The threads of a generator, each with its own engine, and what they send to the thread that collects.
//!
//! The collecting thread sleeps while the load is on. Once a second it gets what each thread has recorded, and adds it
//! up. A thread hands over its whole set of histograms and gets an empty set back. So recording a request takes no lock,
//! and each request is recorded once.

use super::Lost;
use super::engine::{Ends, Engine, Pace, Part};
use super::plan::{EngineKind, Plan, Wait};
use super::record::Record;
use super::schedule::{Arrivals, Schedule};
use super::wire::Wire;
use super::wire::epoll::EpollWire;
use crate::sys::affinity;
use crate::sys::clock::set_timer_slack;
use crate::sys::poll::{PollFlags, wait_for};
use anyhow::{Context, anyhow};
use serde::{Deserialize, Serialize};
use std::cell::Cell;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, Scope};
use std::time::{Duration, Instant, SystemTime};

/// How often the threads report.
pub const INTERVAL: Duration = Duration::from_secs(1);

/// How often a thread without connections checks whether the others still have some.
const LOOK: Duration = Duration::from_millis(20);

/// How long before a stage the threads are told of it, so that all of them begin together.
const TOGETHER: Duration = Duration::from_millis(5);

/// How long before the time of a start the wait for it ends. Sleep is not exact, and the threads are told in advance.
const AHEAD: Duration = Duration::from_millis(15);

/// How the load is made.
#[derive(Debug, Clone)]
pub struct Order {
    /// What load to put on whom.
    pub plan: Plan,
    /// How the generator talks to the kernel.
    pub engine: EngineKind,
    /// Its threads.
    pub threads: usize,
    /// Whether each is bound to a processor: the last that is allowed, the last but one, and so on.
    pub pin: bool,
    /// How the requests of an open loop follow each other.
    pub arrivals: Arrivals,
}

/// A part of the load after which the last answers are awaited.
#[derive(Debug, Clone)]
pub struct Stage {
    /// Load before the clock starts, at the first rate.
    pub warmup: Duration,
    /// What follows: requests a second, or `None` for a closed loop, and for how long.
    pub steps: Vec<(Option<f64>, Duration)>,
}

/// What all threads saw in a second.
#[derive(Debug, Clone)]
pub struct Interval {
    /// Since the clock started.
    pub from: Duration,
    /// Since the clock started.
    pub to: Duration,
    /// Requests a second that were offered; `None` in a closed loop.
    pub offered: Option<f64>,
    /// What was recorded.
    pub record: Record,
    /// Connections lost until now.
    pub lost: usize,
}

/// What a stage gave.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// When its clock started.
    pub started: SystemTime,
    /// Threads that took part.
    pub threads: usize,
    /// Requests that can be under way at once.
    pub most_under_way: u64,
    /// Whether no connection is left.
    pub all_lost: bool,
    /// One for each step.
    pub records: Vec<Record>,
    /// Requests answered on the active connection with the fewest, and the one with the most.
    pub fewest_and_most: (u64, u64),
    /// Active connections that waited for an answer for a whole slice of half a second, and the most such slices of one.
    pub stalled: (usize, u32),
    /// Interrupted before its time.
    pub partial: bool,
    /// Connections lost until its end.
    pub lost: Vec<Lost>,
    /// Bytes that came back wrong until its end.
    pub wrong_bytes: u64,
    /// The share of the time in which the busiest thread had something to do.
    pub busiest: f64,
    /// Why a thread ended before its time, and with it the stage.
    pub failure: Option<String>,
}

/// What the threads tell each other.
#[derive(Debug)]
struct Shared {
    /// Threads that have a connection left.
    with_connections: AtomicUsize,
    /// A thread has failed: the stage is over.
    failed: AtomicBool,
}

impl Shared {
    fn is_over(&self) -> bool {
        self.failed.load(Ordering::Relaxed) || self.with_connections.load(Ordering::Relaxed) == 0
    }
}

/// The threads, with all connections open.
#[derive(Debug)]
pub struct Crew {
    workers: Vec<Worker>,
    messages: Receiver<Message>,
    /// How long it took to open all connections and have each answered once.
    pub open_time: Duration,
    /// What was asked before the load, and answered.
    pub opening: Opening,
    /// Requests that were answered in all stages, in warm-up and drain as well.
    pub answered_in_all: u64,
    /// Why a thread is not pinned, although it should be.
    pub unpinned: Option<String>,
    /// Why the kernel may end waits later than asked.
    pub coarse_timer: Option<String>,
    /// When the first load is to begin.
    start_at: Option<SystemTime>,
    most_under_way: u64,
}

#[derive(Debug)]
struct Worker {
    stages: Sender<(Stage, Instant)>,
    spares: Sender<Record>,
}

enum Message {
    Ready(anyhow::Result<Ready>),
    /// Of that thread: what it has recorded until then.
    Interval(usize, Share),
    Done(Done),
    Ended(Ending),
}

/// What the end of the connections gave, after the last stage.
#[derive(Debug, Default)]
pub struct Ending {
    /// How they ended.
    pub ends: Ends,
    /// Connections lost until then.
    pub lost: Vec<Lost>,
    /// Bytes that came back wrong until then.
    pub wrong_bytes: u64,
    /// Why a thread could not wait for the ends.
    pub failure: Option<String>,
}

struct Ready {
    open_time: Duration,
    /// Why this thread is not pinned, although it should be.
    unpinned: Option<String>,
    opening: Opening,
}

/// The requests before the load: one on each connection, so that the server knows them all. Connections that come and go
/// are not asked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Opening {
    /// How many were asked.
    pub requests: u64,
    /// How many were answered.
    pub answered: u64,
}

/// A thread's part of an interval.
struct Share {
    number: u64,
    to: Duration,
    offered: Option<f64>,
    records: Vec<(usize, Record)>,
    lost: usize,
}

struct Done {
    fewest_and_most: (u64, u64),
    stalled: (usize, u32),
    stopped: bool,
    all_lost: bool,
    lost: Vec<Lost>,
    wrong_bytes: u64,
    answered_in_all: u64,
    failure: Option<String>,
}

impl Crew {
    /// Start the threads in `scope`, and open all connections.
    ///
    /// # Errors
    ///
    /// When a connection cannot be opened, or io_uring is asked for and not available.
    pub fn open<'s>(
        order: &'s Order,
        stop: BorrowedFd<'s>,
        scope: &'s Scope<'s, '_>,
    ) -> anyhow::Result<Crew> {
        let (to_us, messages) = channel();
        let (cpus, unpinned) = match affinity::allowed() {
            _ if !order.pin => (Vec::new(), None),
            Ok(cpus) => (cpus, None),
            Err(why) => (Vec::new(), Some(why.to_string())),
        };
        // The threads inherit it.
        let sleeps = order.plan.wait == Wait::Sleep;
        let coarse_timer = sleeps.then(|| set_timer_slack(Duration::from_nanos(1)).err()).flatten();
        let coarse_timer = coarse_timer.map(|why| why.to_string());
        let mut workers = Vec::new();
        let (with_connections, failed) = (AtomicUsize::new(order.threads), AtomicBool::new(false));
        let shared = Arc::new(Shared { with_connections, failed });
        for thread in 0..order.threads {
            let part = Part { thread, threads: order.threads };
            let (stages, orders) = channel();
            let (spares, empty) = channel();
            let cpu = cpus.iter().rev().cycle().nth(thread).copied();
            let desk = Desk {
                order,
                part,
                orders,
                empty,
                out: to_us.clone(),
                shared: shared.clone(),
                lives: Cell::new(true),
            };
            let work = move || desk.work(cpu, stop);
            let begun = thread::Builder::new().name(format!("load {thread}")).spawn_scoped(scope, work);
            begun.with_context(|| {
                format!("cannot start thread {} of {}: pthread_create", thread + 1, order.threads)
            })?;
            workers.push(Worker { stages, spares });
        }
        drop(to_us);
        let most_under_way = (order.plan.active * order.plan.depth) as u64;
        let (open_time, opening) = (Duration::ZERO, Opening::default());
        let mut crew = Crew {
            workers,
            messages,
            open_time,
            opening,
            answered_in_all: 0,
            most_under_way,
            unpinned,
            coarse_timer,
            start_at: None,
        };
        for _ in 0..order.threads {
            match crew.messages.recv() {
                Ok(Message::Ready(ready)) => {
                    let ready = ready?;
                    crew.open_time = crew.open_time.max(ready.open_time);
                    crew.unpinned = crew.unpinned.take().or(ready.unpinned);
                    crew.opening.requests += ready.opening.requests;
                    crew.opening.answered += ready.opening.answered;
                }
                _ => return Err(gone()),
            }
        }
        Ok(crew)
    }

    /// Wait until shortly before `at`, when the next load then begins; or until `stop` is readable. A time that has passed
    /// is not waited for, and the load begins at once.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub fn wait_for(&mut self, at: SystemTime, stop: BorrowedFd<'_>) -> crate::Result<()> {
        self.start_at = Some(at);
        while let Ok(left) = at.duration_since(SystemTime::now() + AHEAD) {
            // The clock may be set meanwhile.
            if wait_for(stop, PollFlags::POLLIN, Some(left.min(INTERVAL)))? {
                break;
            }
        }
        Ok(())
    }

    /// Put this load on the server, and hand over each second of it.
    ///
    /// # Errors
    ///
    /// When a thread has ended without a message. If a thread cannot go on, the outcome says why, with what was measured.
    pub fn run(&mut self, stage: &Stage, mut watch: impl FnMut(&Interval)) -> anyhow::Result<Outcome> {
        let now = SystemTime::now();
        let left = self.start_at.take().and_then(|at| at.duration_since(now).ok()).unwrap_or_default();
        // A wait that was interrupted ended long before its time.
        let ahead = left.clamp(TOGETHER, AHEAD);
        let start = Instant::now() + ahead;
        let started = now + ahead + stage.warmup;
        for worker in &self.workers {
            worker.stages.send((stage.clone(), start)).map_err(|_| gone())?;
        }
        let mut outcome = Outcome {
            started,
            threads: self.workers.len(),
            most_under_way: self.most_under_way,
            all_lost: true,
            records: stage.steps.iter().map(|_| Record::default()).collect(),
            fewest_and_most: (u64::MAX, 0),
            stalled: (0, 0),
            partial: false,
            lost: Vec::new(),
            wrong_bytes: 0,
            busiest: 0.0,
            failure: None,
        };
        let mut intervals = Vec::new();
        // How many seconds each thread has reported, and whether it has ended: then it reports no more of them.
        let mut reported = vec![(0, false); self.workers.len()];
        let mut elapsed = vec![vec![0; stage.steps.len()]; self.workers.len()];
        let mut busy = vec![0; self.workers.len()];
        let mut from = Duration::ZERO;
        let mut working = self.workers.len();
        while working > 0 {
            match self.messages.recv().map_err(|_| gone())? {
                Message::Ready(_) | Message::Ended(_) => return Err(gone()),
                Message::Interval(thread, part) => {
                    match part.number {
                        u64::MAX => reported[thread].1 = true,
                        number => reported[thread].0 = number + 1,
                    }
                    for (step, record) in &part.records {
                        elapsed[thread][*step] += record.counts.elapsed_ns;
                        busy[thread] += record.counts.busy_ns;
                    }
                    add(&mut intervals, &mut outcome.records, &self.workers[thread], part)?;
                    intervals.sort_by_key(|(_, number, _)| *number);
                    let all = self.workers.len();
                    let missing =
                        |number| reported.iter().filter(|(next, ended)| *ended && *next <= number).count();
                    // What came after the last whole second is shown when all have ended.
                    let complete = |(threads, number, _): &(usize, u64, Interval)| {
                        *number != u64::MAX && threads + missing(*number) >= all
                    };
                    while intervals.first().is_some_and(complete) {
                        let (_, _, interval) = intervals.remove(0);
                        from = show(&mut watch, interval, from);
                    }
                }
                Message::Done(done) => {
                    self.answered_in_all += done.answered_in_all;
                    outcome.add(done);
                    working -= 1;
                }
            }
        }
        // One thread may have reported once more than another before the end.
        intervals.sort_by_key(|(_, number, _)| *number);
        for (_, _, interval) in intervals {
            from = show(&mut watch, interval, from);
        }
        // A thread that has lost all its connections ends before the others: a step lasted as long as for the last.
        for (step, record) in outcome.records.iter_mut().enumerate() {
            let longest = elapsed.iter().map(|steps| steps[step]).max().unwrap_or(0);
            record.counts.elapsed_ns = longest * self.workers.len() as u64;
        }
        let share = |(busy, steps): (u64, &Vec<u64>)| busy as f64 / steps.iter().sum::<u64>().max(1) as f64;
        outcome.busiest = busy.into_iter().zip(&elapsed).map(share).fold(0.0, f64::max);
        outcome.lost.sort_by_key(|lost| lost.connection);
        Ok(outcome)
    }
}

impl Crew {
    /// End all connections in order, and the threads.
    #[must_use]
    pub fn end(self) -> Ending {
        let Crew { workers, messages, .. } = self;
        drop(workers); // There are no more stages.
        let mut all = Ending::default();
        for message in messages {
            let Message::Ended(ending) = message else { continue };
            let Ending { ends, lost, wrong_bytes, failure } = ending;
            all.ends.add(ends);
            all.lost.extend(lost);
            all.wrong_bytes += wrong_bytes;
            all.failure = all.failure.or(failure);
        }
        all.lost.sort_by_key(|lost| lost.connection);
        all
    }
}

/// Hand over an interval that began at `from`; when it ended. The last one may have nothing in it, when the second
/// before it ended with the load.
fn show(watch: &mut impl FnMut(&Interval), mut interval: Interval, from: Duration) -> Duration {
    interval.from = from;
    if !interval.record.service.is_empty() || interval.to.saturating_sub(from) > INTERVAL / 100 {
        watch(&interval);
    }
    interval.to
}

/// Add a thread's part to its interval, and to the steps.
fn add(
    intervals: &mut Vec<(usize, u64, Interval)>,
    steps: &mut [Record],
    worker: &Worker,
    part: Share,
) -> anyhow::Result<()> {
    let Share { number, to, offered, records, lost } = part;
    let at = intervals.iter().position(|(_, known, _)| *known == number).unwrap_or_else(|| {
        let record = Record::default();
        intervals.push((0, number, Interval { from: to, to, offered: None, record, lost: 0 }));
        intervals.len() - 1
    });
    let (threads, _, interval) = &mut intervals[at];
    *threads += 1;
    interval.to = interval.to.max(to);
    interval.offered = offered;
    interval.lost += lost;
    for (step, mut record) in records {
        steps[step].add(&record)?;
        interval.record.add(&record)?;
        record.clear();
        // It may have ended meanwhile.
        worker.spares.send(record).ok();
    }
    Ok(())
}

impl Outcome {
    fn add(&mut self, done: Done) {
        let (fewest, most) = done.fewest_and_most;
        self.fewest_and_most = (self.fewest_and_most.0.min(fewest), self.fewest_and_most.1.max(most));
        self.stalled = (self.stalled.0 + done.stalled.0, self.stalled.1.max(done.stalled.1));
        self.partial |= done.stopped;
        self.all_lost &= done.all_lost;
        self.lost.extend(done.lost);
        self.wrong_bytes += done.wrong_bytes;
        self.failure = self.failure.take().or(done.failure);
    }

    /// All steps together.
    ///
    /// # Errors
    ///
    /// None in practice.
    pub fn total(&self) -> anyhow::Result<Record> {
        let mut total = Record::default();
        self.records.iter().try_for_each(|record| total.add(record))?;
        Ok(total)
    }
}

fn gone() -> anyhow::Error {
    anyhow!("a thread of the generator has ended before its time")
}

/// Where one thread works.
struct Desk<'s> {
    order: &'s Order,
    part: Part,
    orders: Receiver<(Stage, Instant)>,
    empty: Receiver<Record>,
    out: Sender<Message>,
    shared: Arc<Shared>,
    /// This thread has a connection left, as far as the others know.
    lives: Cell<bool>,
}

impl Desk<'_> {
    fn work(self, cpu: Option<usize>, stop: BorrowedFd<'_>) {
        // 0: this thread.
        let unpinned = cpu.and_then(|cpu| affinity::pin_this_thread(cpu).err()).map(|why| why.to_string());
        match self.order.engine {
            EngineKind::Epoll => self.with::<EpollWire>(stop, unpinned),
            #[cfg(feature = "uring")]
            EngineKind::Uring => self.with::<super::wire::uring::UringWire>(stop, unpinned),
            #[cfg(not(feature = "uring"))]
            EngineKind::Uring => {
                let why = anyhow!("this program was built without io_uring (feature `uring`)");
                self.out.send(Message::Ready(Err(why))).ok();
            }
        }
    }

    fn with<W: Wire>(self, stop: BorrowedFd<'_>, unpinned: Option<String>) {
        let mut engine = match Engine::<W>::open(&self.order.plan, self.part, Some(stop)) {
            Ok(engine) => engine,
            Err(why) => return drop(self.out.send(Message::Ready(Err(why)))),
        };
        let ready = Ready { open_time: engine.open_time(), unpinned, opening: engine.opening() };
        if self.out.send(Message::Ready(Ok(ready))).is_err() {
            return;
        }
        for (stage, start) in &self.orders {
            if self.out.send(Message::Done(self.stage(&mut engine, &stage, start))).is_err() {
                return;
            }
        }
        let failure = engine.end().err().map(|why| why.to_string());
        let (ends, lost, wrong_bytes) = (engine.ends(), engine.lost().to_vec(), engine.wrong_bytes());
        self.out.send(Message::Ended(Ending { ends, lost, wrong_bytes, failure })).ok();
    }

    /// Put this load on the server. A failure ends it here and, soon, in the other threads; what was recorded until
    /// then is handed over as always.
    fn stage<W: Wire>(&self, engine: &mut Engine<W>, stage: &Stage, start: Instant) -> Done {
        engine.forget_windows();
        let start = engine.time_of(start);
        engine.begin(self.pace(stage, start));
        let mut clock_start = None;
        let mut put = || -> crate::Result<u64> {
            let end = start + stage.warmup.as_nanos() as u64;
            engine.run(end)?;
            // Earlier, if no connection is left or the run was stopped.
            let from = *clock_start.insert(engine.start_clock(end.min(engine.now())));
            let end = self.steps(engine, stage, from)?;
            // The schedule is accounted for to its end, also when no connection is left to keep it.
            let stays = engine.can_go_on() || engine.was_stopped() || stage.steps[0].0.is_none();
            engine.stop_clock(if stays { end.min(engine.now()) } else { end });
            let to = engine.now() - from;
            engine.drain()?;
            engine.sweep()?;
            Ok(to)
        };
        let (to, failure) = match put() {
            Ok(to) => (to, None),
            Err(why) => {
                self.shared.failed.store(true, Ordering::Relaxed);
                engine.stop_clock(engine.now());
                (engine.now() - clock_start.unwrap_or(engine.now()), Some(why.to_string()))
            }
        };
        engine.account_for_the_rest();
        self.hand_over(engine, u64::MAX, to, stage.steps.last().and_then(|(offered, _)| *offered));
        Done {
            fewest_and_most: engine.fewest_and_most(),
            stalled: engine.stalled(),
            stopped: engine.was_stopped(),
            all_lost: !engine.was_stopped() && !engine.can_go_on(),
            lost: engine.lost().to_vec(),
            wrong_bytes: engine.wrong_bytes(),
            answered_in_all: engine.answered_in_all(),
            failure,
        }
    }

    /// The measured part, from `clock_start` on; when it ends.
    fn steps<W: Wire>(&self, engine: &mut Engine<W>, stage: &Stage, clock_start: u64) -> crate::Result<u64> {
        let mut end = clock_start;
        let mut number = 0;
        let flush_at = |number: u64| clock_start + (number + 1) * INTERVAL.as_nanos() as u64;
        for (step, &(offered, time)) in stage.steps.iter().enumerate() {
            if step > 0 && !engine.was_stopped() {
                engine.next_window(end);
            }
            end += time.as_nanos() as u64;
            while engine.now() < end && !engine.was_stopped() && !self.shared.is_over() {
                let until = end.min(flush_at(number));
                if engine.can_go_on() {
                    engine.run(until)?;
                } else {
                    // The other threads still have connections, and what this one does not send is part of the load.
                    if self.lives.take() {
                        self.shared.with_connections.fetch_sub(1, Ordering::Relaxed);
                    }
                    engine.stand_by(until.min(engine.now() + LOOK.as_nanos() as u64))?;
                }
                if engine.now() >= flush_at(number) {
                    self.hand_over(engine, number, engine.now() - clock_start, offered);
                    number += 1;
                }
            }
        }
        Ok(end)
    }

    fn pace(&self, stage: &Stage, start: u64) -> Pace {
        let mut steps: Vec<_> =
            stage.steps.iter().filter_map(|&(rate, time)| rate.map(|rate| (rate, time))).collect();
        let Some(first) = steps.first_mut() else { return Pace::Closed };
        first.1 += stage.warmup;
        let Part { thread, threads } = self.part;
        let Order { arrivals, plan, .. } = self.order;
        Pace::Open(Schedule::new(start, &steps, *arrivals, (thread, threads), plan.seed))
    }

    fn hand_over<W: Wire>(&self, engine: &mut Engine<W>, number: u64, to: u64, offered: Option<f64>) {
        let spare = self.empty.try_recv().unwrap_or_default();
        let records = engine.take_records(spare);
        let to = Duration::from_nanos(to);
        let part = Share { number, to, offered, records, lost: engine.lost().len() };
        // If the collecting thread has ended, there is nobody to send it to.
        self.out.send(Message::Interval(self.part.thread, part)).ok();
    }
}

#[cfg(test)]
mod tests;
