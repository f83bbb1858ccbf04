//! The generator itself: one thread, its connections, and what goes over them.
//!
//! In a closed loop an answer is followed by the next request. In an open loop requests have their times, from a
//! [`Schedule`] that knows nothing of the server: each goes to the connection that has been free for longest; while
//! none is free the requests queue, and their waiting is part of their response time.
//!
//! With [`Wait::Spin`](super::plan::Wait::Spin) it asks the kernel for events without ever sleeping. If it sleeps, the server pays for waking it,
//! and the time that the wake-up takes is part of the latency (compare `--wait spin` with `--wait sleep` and `--pid` on
//! one connection). A generator that spins needs a processor of its own, which should not be the server's.

mod dial;
mod explain;
mod turn;

use super::connection::{Connection, Fate, State, Unanswered};
use super::crew::Opening;
use super::limits;
use super::plan::{Expect, Plan};
use super::record::Record;
use super::schedule::Schedule;
use super::stream::Block;
use super::trouble::{Kind, Lost, Trouble};
use super::wire::Wire;
use crate::sys::clock::{thread_cpu, thread_run_delay};
use anyhow::bail;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::fmt;
use std::ops::Range;
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

/// How long the last answers may take in all, unless the timeout of a single one is longer.
pub const LONGEST_DRAIN: Duration = Duration::from_secs(60);

/// How long after the end the generator may still send the requests that it was itself too late for.
const CATCH_UP: Duration = Duration::from_millis(100);

/// How often to look for connections without an answer, at least: a quarter of the timeout, but within these.
const CHECKS: Range<Duration> = Duration::from_millis(5)..SLICE;

/// A request that leaves this much after its time is late.
pub const LATE_NS: u64 = 1_000_000;

/// A connection that waits for an answer for all of such a slice of time is reported.
pub const SLICE: Duration = Duration::from_millis(500);

/// If more time passes between two looks, the generator itself was stopped or not scheduled. Only so much of that time
/// counts towards a timeout.
const LONGEST_LOOK_NS: u64 = 10_000_000;

/// How long the last answers may take once somebody has said stop.
const AFTER_STOP: Duration = Duration::from_secs(1);

/// We have ended our side of all connections. If none of them ends for this long, the rest counts as not ended.
const END_TIMEOUT: Duration = Duration::from_secs(2);

/// How long the ends of all connections may take together.
const LONGEST_END: Duration = Duration::from_secs(10);

/// How long to look for bytes that nobody asked for, after the last answer.
const SWEEP: Duration = Duration::from_millis(20);

/// Connections that are opened before the server has to answer the first of them. Fewer than any
/// sensible listen queue holds, so that no connect has to be tried again a second later.
const OPEN_AT_ONCE: usize = 128;

/// Connections that are opened at once after a listen queue was full. Course servers call listen(fd, 5).
const SHORT_QUEUE: usize = 4;

/// How long to wait for a connection at least, when others were established. A full listen queue drops the SYN, and TCP
/// sends it again after 1 s, and after 2 s more.
const CONNECT_PATIENCE: Duration = Duration::from_millis(3500);

/// Requests that are sent before the engine looks again at what has come.
const SEND_AT_ONCE: usize = 64;

/// Which connection sends a request when.
#[derive(Debug)]
pub enum Pace {
    /// No request is sent; answers are awaited.
    Still,
    /// Each connection sends its next request as soon as it was answered.
    Closed,
    /// Requests are sent at these times, each on the connection that has been free for longest.
    Open(Schedule),
}

/// How the connections ended that were open at the end of the run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ends {
    /// We sent our FIN, nothing more came back, and the server sent its FIN.
    pub in_order: usize,
    /// We sent our FIN, and the server answered with a reset.
    pub reset: usize,
    /// We sent our FIN, and the server had not sent its own when the time was over.
    pub not_ended: usize,
}

impl Ends {
    /// Add those of another thread.
    pub fn add(&mut self, other: Ends) {
        self.in_order += other.in_order;
        self.reset += other.reset;
        self.not_ended += other.not_ended;
    }

    /// Warnings about them. A run that was interrupted did not wait for long, so it does not warn.
    pub(in crate::lab) fn warnings(self, interrupted: bool) -> impl Iterator<Item = String> {
        let Ends { reset, not_ended, .. } = self;
        let not_ended = (not_ended > 0 && !interrupted).then(|| {
            format!(
                "{not_ended} connections did not end within {END_TIMEOUT:?} after we had ended our side: does the server \
                 close a connection when recv returns 0?"
            )
        });
        let reset = (reset > 0).then(|| {
            format!(
                "the server answered the end of {reset} connections with a reset instead of an end of its own"
            )
        });
        not_ended.into_iter().chain(reset)
    }
}

/// The connections of one thread and what goes over them.
pub struct Engine<W> {
    started: Instant,
    wire: W,
    plan: Plan,
    /// What the requests are made of.
    block: Block,
    /// What the answers must be.
    answers: Block,
    connections: Vec<Connection>,
    active: Range<usize>,
    /// The number of the first connection among those of all threads.
    first: usize,
    /// Connections that were begun.
    dialled: usize,
    /// Whether one of them was established.
    has_connected: bool,
    /// Whether connect(2) could choose the server's port as the local one.
    may_meet_itself: bool,
    /// Slots that could not be connected, and when each is tried again. Sorted by that time.
    waiting: VecDeque<(u64, usize)>,
    pace: Pace,
    /// Whether requests are sent at times decided before: an open loop.
    has_times: bool,
    /// Connections that can take a request, in an open loop; the first has been free for longest.
    free: VecDeque<usize>,
    /// When a request was due and no connection was free, the last time.
    none_free_at: u64,
    /// Requests that are due wait for a connection.
    is_behind: bool,
    /// The last time in which the generator did not look, because it was busy or had no processor, and no request
    /// waited for a connection when it began.
    absence: Range<u64>,
    /// Time in which the generator looked at what came: the clock of timeouts. While it was stopped (SIGSTOP, a
    /// suspended machine), answers may have come that it has not seen.
    watched: u64,
    /// When to look again for connections without an answer, on that clock.
    next_check: u64,
    /// Requests begun and not yet answered.
    under_way: usize,
    /// Active connections that are not lost.
    alive: usize,
    stopped: bool,
    lost: Vec<Lost>,
    wrong_bytes: u64,
    /// Connections of which only our side has ended.
    ending: usize,
    ends: Ends,
    /// Lost connections of which only our side has ended, and when each is closed at the latest. Sorted by that time.
    parting: VecDeque<(u64, usize)>,
    open_time: Duration,
    opening: Opening,
    /// The window that is measured, or the last one.
    window: Range<u64>,
    record: Record,
    /// Windows before it, whose last answers have not come.
    older: Vec<(Range<u64>, Record)>,
    clock: Option<Clock>,
    /// When it was started and stopped last.
    clocked: Range<u64>,
    /// Measured requests that were given up while the clock ran: how long they waited is known when it stops.
    given_up: Vec<Unanswered>,
    /// Requests that are due then or later are not sent.
    last_due: u64,
    /// Requests that were due before that time and are not sent.
    unsent: Option<(Schedule, u64)>,
    /// When this slice of half a second began.
    slice_began: u64,
    /// Since [`begin`](Engine::begin), in warm-up and drain as well.
    answered_in_all: u64,
}

/// Runs while requests are measured.
#[derive(Clone, Copy)]
struct Clock {
    /// When it was started.
    began: u64,
    /// Up to when time and CPU time have been recorded.
    settled: u64,
    /// Up to when the requests under way have been added up.
    integrated: u64,
    cpu: Duration,
    run_delay: Option<Duration>,
}

impl<W> fmt::Debug for Engine<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Engine({} connections, {:?})", self.connections.len(), self.record.counts)
    }
}

/// Which of the threads of a generator this is.
#[derive(Debug, Clone, Copy)]
pub struct Part {
    /// Its number, from 0.
    pub thread: usize,
    /// How many there are.
    pub threads: usize,
}

/// The only one.
pub const ALONE: Part = Part { thread: 0, threads: 1 };

impl Part {
    /// This thread's share of `count`, as a range.
    #[must_use]
    pub fn of(self, count: usize) -> Range<usize> {
        let at = |thread| count * thread / self.threads;
        at(self.thread)..at(self.thread + 1)
    }
}

#[expect(private_bounds, reason = "the two wires are all there are")]
impl<W: Wire> Engine<W> {
    /// Open this thread's part of all connections, and have each answered once, so that the server knows them all;
    /// half of the idle ones before the active ones and half after. Connections that come and go are only opened
    /// once they are needed.
    ///
    /// # Errors
    ///
    /// When no connection can be opened (nobody listens), or one cannot because of this machine (no port or descriptor is
    /// left). What the server does to connections that were opened is not an error here; see [`lost`](Engine::lost).
    pub fn open(plan: &Plan, part: Part, stop: Option<BorrowedFd<'_>>) -> anyhow::Result<Engine<W>> {
        let started = Instant::now();
        let (idle, active) = (part.of(plan.idle).len(), part.of(plan.active).len());
        let count = idle + active;
        let first = part.of(plan.idle).start + part.of(plan.active).start;
        let (block, starts) = Block::new(plan.seed, plan.payload, &plan.sizes, plan.connections());
        let answers = match plan.expect {
            Expect::Echo => block.clone(),
            Expect::Ok => Block::of_oks(),
        };
        let is_active = |i: usize| (idle / 2..idle / 2 + active).contains(&i);
        // Silent connections stay.
        let left = |i| plan.requests_per_conn.filter(|_| is_active(i)).map_or(u64::MAX, u64::from);
        let seeded = |(i, &start)| {
            Connection::new(start, plan.expect, plan.seed.wrapping_add((first + i) as u64), left(i))
        };
        let largest = plan.sizes.largest() as usize * plan.depth;
        let mut engine = Engine {
            started,
            wire: W::new(block.bytes(), count, largest, stop)?,
            plan: plan.clone(),
            block,
            answers,
            connections: starts[first..first + count].iter().enumerate().map(seeded).collect(),
            active: idle / 2..idle / 2 + active,
            first,
            dialled: first,
            has_connected: false,
            may_meet_itself: limits::is_local_port(plan.target.port()),
            waiting: VecDeque::new(),
            pace: Pace::Still,
            has_times: false,
            free: VecDeque::new(),
            none_free_at: 0,
            is_behind: false,
            absence: 0..0,
            watched: 0,
            next_check: 0,
            under_way: 0,
            alive: active,
            stopped: false,
            lost: Vec::new(),
            wrong_bytes: 0,
            ending: 0,
            ends: Ends::default(),
            parting: VecDeque::new(),
            open_time: Duration::ZERO,
            opening: Opening::default(),
            window: 0..0,
            record: Record::default(),
            older: Vec::new(),
            clock: None,
            clocked: 0..0,
            given_up: Vec::new(),
            last_due: u64::MAX,
            unsent: None,
            slice_began: 0,
            answered_in_all: 0,
        };
        engine.open_all(count)?;
        engine.open_time = started.elapsed();
        engine.opening.answered = engine.answered_in_all;
        Ok(engine)
    }

    fn open_all(&mut self, count: usize) -> anyhow::Result<()> {
        let (mut next, mut at_once) = (0, OPEN_AT_ONCE);
        let comes_and_goes = self.plan.requests_per_conn.is_some();
        while next < count && !self.stopped {
            let (batch, lost_before) = (next..count.min(next + at_once), self.lost.len());
            next = batch.end;
            let began = Instant::now();
            for slot in batch.clone() {
                if !comes_and_goes || !self.active.contains(&slot) {
                    self.ask(slot, self.now());
                    self.opening.requests += 1;
                }
            }
            self.spin(self.after(self.longest_drain()))?;
            self.check_connected()?;
            self.give_up_slow();
            if (self.lost.len() - lost_before) * 2 > batch.len() {
                break; // It leaves most without answer: no use to wait for the rest as well.
            }
            // A full listen queue drops what comes, and TCP tries again after a second.
            let queue_was_full = began.elapsed() >= Duration::from_secs(1);
            at_once = if queue_was_full { SHORT_QUEUE } else { OPEN_AT_ONCE.min(at_once * 2) };
        }
        if next < count && !self.stopped {
            for slot in next..count {
                self.lose(slot, &Trouble::NotOpened);
            }
        }
        Ok(())
    }

    /// A run ends before it has begun when this machine cannot open a connection, or the server has not accepted any.
    fn check_connected(&self) -> anyhow::Result<()> {
        let is_fatal = |lost: &&Lost| match lost.kind {
            Kind::NotConnected => true,
            Kind::Refused | Kind::NotAccepted => !self.has_connected,
            _ => false,
        };
        let Some(Lost { connection, reason, hint, .. }) = self.lost.iter().find(is_fatal) else {
            return Ok(());
        };
        let hint = hint.as_ref().map(|hint| format!("; {hint}")).unwrap_or_default();
        bail!("cannot open connection {connection} to {}: {reason}{hint}", self.plan.target);
    }

    /// Send requests from now on, at this pace.
    pub fn begin(&mut self, pace: Pace) {
        self.answered_in_all = 0;
        self.has_times = matches!(pace, Pace::Open(_));
        self.last_due = u64::MAX;
        self.pace = pace;
        self.free.clear();
        for slot in self.active.clone() {
            self.connections[slot].queued = false;
            match self.pace {
                _ if self.stopped => {}
                Pace::Closed => self.ask_again(slot, self.plan.depth, self.now()),
                Pace::Open(_) => self.set_free(slot),
                Pace::Still => {}
            }
        }
    }

    /// Measure from `at` on: the requests whose time it is to be sent then or later; in a closed loop those that are
    /// sent from now on. Requests that were due before and were not sent are left out, so that the backlog of the
    /// warm-up is not measured. The counts start at 0; the histograms keep what they have. Returns when it began.
    pub fn start_clock(&mut self, at: u64) -> u64 {
        let at = if self.has_times { at } else { self.now() };
        if let Pace::Open(schedule) = &mut self.pace {
            schedule.skip_to(at);
        }
        self.record.counts = Default::default();
        self.window = at..u64::MAX;
        self.clock = Some(Clock {
            began: at,
            settled: at,
            integrated: at,
            cpu: thread_cpu(),
            run_delay: thread_run_delay(),
        });
        self.given_up.clear();
        self.unsent = None;
        self.slice_began = self.now();
        for connection in &mut self.connections {
            (connection.answered, connection.heard, connection.stalled) = (0, false, 0);
        }
        at
    }

    /// Measure the requests before `at` apart from those that follow.
    pub fn next_window(&mut self, at: u64) {
        self.settle();
        let before = std::mem::replace(&mut self.window, at..u64::MAX);
        let mut record = std::mem::take(&mut self.record);
        // This thread may have waited for its processor since `at`. That time belongs to what follows.
        let over =
            self.clock.map_or(0, |clock| clock.settled.saturating_sub(at)).min(record.counts.elapsed_ns);
        record.counts.elapsed_ns -= over;
        self.record.counts.elapsed_ns = over;
        self.older.push((before.start..at, record));
    }

    /// Measure no more requests than those before `at`. Their answers are still awaited by [`drain`](Engine::drain).
    pub fn stop_clock(&mut self, at: u64) {
        self.settle();
        let Some(clock) = self.clock.take() else { return };
        self.clocked = clock.began..clock.settled;
        // In a closed loop a request is measured if it was sent while the clock ran, which was a little longer.
        self.window.end = if self.has_times { at } else { self.now() };
        self.last_due = at;
        if !self.catches_up() {
            self.send_no_more();
            self.wait_for_no_port();
        }
    }

    /// Whether requests that are due are not sent because the generator itself is late: it has just been away, or a
    /// connection is free. When the server is the reason, all connections are busy.
    fn catches_up(&self) -> bool {
        match &self.pace {
            Pace::Open(schedule) => self.absence.contains(&schedule.next()) || !self.free.is_empty(),
            _ => false,
        }
    }

    /// The requests that were not sent are counted when the last answers have come: that takes time, in which answers
    /// would wait and look late.
    fn send_no_more(&mut self) {
        if let Pace::Open(schedule) = std::mem::replace(&mut self.pace, Pace::Still) {
            self.unsent = Some((schedule, self.last_due));
        }
    }

    /// Record the measured requests that have no answer: those that were never sent, and those whose connection was
    /// lost, with the time that they had waited when the clock stopped; and those that are still under way because the
    /// run was stopped, with the time until now.
    pub fn account_for_the_rest(&mut self) {
        let now = self.now();
        let mut rest = std::mem::take(&mut self.given_up);
        let under_way: Vec<_> = self.connections.iter().flat_map(Connection::unanswered).collect();
        let end = self.window.end;
        rest.drain(..).for_each(|request| self.not_answered(request, end));
        under_way.into_iter().for_each(|request| self.not_answered(request, now));
        let Some((mut schedule, until)) = self.unsent.take() else { return };
        // An hour of a high rate is billions of requests: those of one window and one latency are counted together.
        while schedule.next() < until {
            let intended = schedule.next();
            let waited = until - intended;
            let edge = self.next_edge(intended).min(until - self.record.shortest_alike(waited) + 1);
            let count = schedule.skip_to(edge);
            if let Some(record) = record_of(&self.window, &mut self.record, &mut self.older, intended) {
                record.not_sent(waited, count);
            }
        }
    }

    /// When, after `time`, the next window begins or one ends.
    fn next_edge(&self, time: u64) -> u64 {
        let windows = self.older.iter().map(|(window, _)| window).chain([&self.window]);
        windows
            .flat_map(|window| [window.start, window.end])
            .filter(|&edge| edge > time)
            .min()
            .unwrap_or(u64::MAX)
    }

    /// A request that was begun has no answer, and by `end` it has waited for one since then.
    fn not_answered(&mut self, Unanswered { intended, sent, fate }: Unanswered, end: u64) {
        let has_times = self.has_times;
        if fate == Fate::Unsent && !has_times {
            return; // A closed loop has no request that is due and not sent.
        }
        if let Some(record) = record_of(&self.window, &mut self.record, &mut self.older, intended) {
            record.counts.sent += u64::from(fate == Fate::NotTaken);
            record.counts.unanswered += u64::from(fate != Fate::Unsent);
            record.counts.unsent += u64::from(fate == Fate::Unsent);
            // In a closed loop a request is begun when it is to be sent, and service time is all that there is.
            let sent = sent.or((!has_times).then_some(intended));
            let since = |time| end.saturating_sub(time);
            record.not_answered(sent.map(since), since(intended));
        }
    }

    /// What was recorded since the last time, by window, beginning with number 0. The windows before the last are in it
    /// only if answers to their requests came meanwhile.
    pub fn take_records(&mut self, spare: Record) -> Vec<(usize, Record)> {
        self.settle();
        let last = self.older.len();
        let mut records: Vec<_> = self
            .older
            .iter_mut()
            .enumerate()
            .filter(|(_, (_, record))| !record.service.is_empty() || record.counts != Default::default())
            .map(|(i, (_, record))| (i, std::mem::take(record)))
            .collect();
        records.push((last, std::mem::replace(&mut self.record, spare)));
        records
    }

    /// Forget the windows that were measured.
    pub fn forget_windows(&mut self) {
        self.older.clear();
        self.window = 0..0;
        self.record.clear();
    }

    /// Record time and CPU time up to now.
    fn settle(&mut self) {
        let now = self.now();
        self.integrate(now);
        if let Some(clock) = &mut self.clock {
            let cpu = thread_cpu();
            let run_delay = thread_run_delay();
            let counts = &mut self.record.counts;
            let elapsed_ns = now.saturating_sub(clock.settled);
            counts.elapsed_ns += elapsed_ns;
            counts.cpu_ns += cpu.saturating_sub(clock.cpu).as_nanos() as u64;
            match (clock.run_delay, run_delay) {
                (Some(before), Some(after)) => {
                    counts.kept_waiting_ns += after.saturating_sub(before).as_nanos() as u64;
                }
                _ => counts.unwatched_ns += elapsed_ns,
            }
            (clock.settled, clock.cpu, clock.run_delay) = (now.max(clock.settled), cpu, run_delay);
        }
    }

    /// Receive answers and send the requests that are due, until `until`, or until no connection is left.
    ///
    /// # Errors
    ///
    /// Those of the wait.
    pub fn run(&mut self, until: u64) -> crate::Result<()> {
        self.spin(until)
    }

    /// Wait until `until` or a stop, although no connection is left.
    ///
    /// # Errors
    ///
    /// Those of the wait.
    pub fn stand_by(&mut self, until: u64) -> crate::Result<()> {
        while !self.stopped && self.now() < until {
            self.wire.wait(Duration::from_nanos(until.saturating_sub(self.now())))?;
            self.handle_events();
            self.close_parting(self.now());
        }
        Ok(())
    }

    /// Wait for the answers to the requests that are under way. Only the requests that the generator itself is late with
    /// are still sent. A connection without an answer for [`Plan::patience`] is lost, and so are those that are not
    /// answered in full within [`LONGEST_DRAIN`].
    ///
    /// # Errors
    ///
    /// Those of the wait.
    pub fn drain(&mut self) -> crate::Result<()> {
        if matches!(self.pace, Pace::Open(_)) {
            self.spin(self.after(CATCH_UP))?;
        }
        self.send_no_more();
        self.wait_for_no_port();
        self.spin(self.after(self.longest_drain()))?;
        self.give_up_slow();
        Ok(())
    }

    fn longest_drain(&self) -> Duration {
        LONGEST_DRAIN.max(self.plan.patience)
    }

    /// Lose the connections that were not answered in full, although there was progress.
    fn give_up_slow(&mut self) {
        if self.under_way == 0 || self.stopped {
            return; // After an interruption nobody knows whether the answers would have come.
        }
        let limit = self.longest_drain();
        for slot in 0..self.connections.len() {
            if self.connections[slot].missing() > 0 {
                self.lose(slot, &Trouble::Slow { limit });
            }
        }
    }

    /// Lose the connections that have been without an answer for too long.
    #[cold]
    fn give_up_silent(&mut self) {
        self.close_parting(self.now());
        let patience = self.plan.patience;
        let every = patience / 4;
        // Others were established, so that a full listen queue is likely.
        let to_connect = if self.has_connected { patience.max(CONNECT_PATIENCE) } else { patience };
        self.next_check = self.watched + every.clamp(CHECKS.start, CHECKS.end).as_nanos() as u64;
        for slot in 0..self.connections.len() {
            let connection = &mut self.connections[slot];
            if connection.state == (State::Waiting { port: true }) {
                continue; // That is no fault of the server.
            }
            // Its SYN may have been dropped, or the ACK after it: then only the server knows that it is not established.
            let may_be_queued = matches!(connection.state, State::Connecting | State::Waiting { .. })
                || (connection.received() == 0 && self.answered_in_all > 0);
            let timeout = if may_be_queued { to_connect } else { patience };
            let timeout_ns = timeout.as_nanos() as u64;
            if connection.waits_since(self.watched).is_none_or(|waited| waited < timeout_ns) {
                continue;
            }
            let trouble = match connection.state {
                State::Connecting | State::Waiting { .. } => Trouble::NotAccepted { waited: timeout },
                _ => {
                    let growing = connection.quiet_since(self.watched) < timeout_ns / 2;
                    Trouble::Silent { waited: timeout, growing }
                }
            };
            self.lose(slot, &trouble);
        }
    }

    /// After the last answer: look once more for bytes that nobody asked for, and for connections that
    /// were closed.
    ///
    /// # Errors
    ///
    /// Those of the wait.
    pub fn sweep(&mut self) -> crate::Result<()> {
        let until = Instant::now() + 10 * SWEEP;
        while self.wire.wait(SWEEP)? && Instant::now() < until {
            self.handle_events();
        }
        Ok(())
    }

    /// End all connections in order: send our FIN, read up to the server's FIN, close. What comes meanwhile and was not
    /// asked for makes a connection a lost one. A connection that the server does not end in time is closed as it is.
    ///
    /// # Errors
    ///
    /// Those of the wait.
    pub fn end(&mut self) -> crate::Result<()> {
        self.pace = Pace::Still;
        // Submit the sends that are still queued in the ring of io_uring(7).
        self.wire.wait(Duration::ZERO)?;
        self.handle_events();
        for slot in 0..self.connections.len() {
            match self.connections[slot].state {
                State::Open => self.shutdown(slot),
                State::Connecting => self.wire.close(slot),
                State::Waiting { .. } | State::Closed | State::Ending | State::Lost => {}
            }
        }
        let (began, timeout, longest) = match self.stopped {
            true => (Instant::now(), AFTER_STOP, AFTER_STOP),
            false => (Instant::now(), END_TIMEOUT, LONGEST_END),
        };
        let left_to_end = |engine: &Self| engine.ending + engine.parting.len();
        let (mut last, mut ending) = (began, left_to_end(self));
        while left_to_end(self) > 0 {
            let until = (last + timeout).min(began + longest);
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            self.wire.wait(left)?;
            self.handle_events();
            if left_to_end(self) < ending {
                (last, ending) = (Instant::now(), left_to_end(self));
            }
        }
        self.ends.not_ended += self.ending;
        for slot in 0..self.connections.len() {
            if self.connections[slot].state == State::Ending {
                self.close_ended(slot);
            }
        }
        self.close_parting(u64::MAX);
        Ok(())
    }

    /// How the connections have ended.
    #[must_use]
    pub fn ends(&self) -> Ends {
        self.ends
    }

    /// Whether a connection is left, and the run was not stopped.
    #[must_use]
    pub fn can_go_on(&self) -> bool {
        !self.stopped && self.alive > 0
    }

    /// Whether the stop descriptor was readable.
    #[must_use]
    pub fn was_stopped(&self) -> bool {
        self.stopped
    }

    /// Requests answered since [`begin`](Engine::begin), in warm-up and drain as well.
    #[must_use]
    pub fn answered_in_all(&self) -> u64 {
        self.answered_in_all
    }

    /// Requests that were sent and not answered.
    #[must_use]
    pub fn under_way(&self) -> usize {
        self.under_way
    }

    /// How many requests the active connection with the fewest answers has had while the clock ran, and
    /// the one with the most. A server that forgets a connection shows here and nowhere else: the
    /// others only get faster.
    #[must_use]
    pub fn fewest_and_most(&self) -> (u64, u64) {
        let answered = || self.connections[self.active.clone()].iter().map(|c| c.answered);
        (answered().min().unwrap_or(0), answered().max().unwrap_or(0))
    }

    /// Active connections that were without an answer for a whole slice of half a second although they waited for
    /// one, and the most such slices that one of them had.
    #[must_use]
    pub fn stalled(&self) -> (usize, u32) {
        let stalled = || self.connections[self.active.clone()].iter().map(|c| c.stalled);
        (stalled().filter(|&slices| slices > 0).count(), stalled().max().unwrap_or(0))
    }

    /// What has been recorded in this window.
    #[must_use]
    pub fn record(&self) -> &Record {
        &self.record
    }

    /// Connections that were lost, in that order.
    #[must_use]
    pub fn lost(&self) -> &[Lost] {
        &self.lost
    }

    /// Bytes that came back and were not those that had been sent.
    #[must_use]
    pub fn wrong_bytes(&self) -> u64 {
        self.wrong_bytes
    }

    /// How long it took to open all connections and have each answered once.
    #[must_use]
    pub fn open_time(&self) -> Duration {
        self.open_time
    }

    /// What was asked meanwhile, and answered.
    #[must_use]
    pub fn opening(&self) -> Opening {
        self.opening
    }

    /// Nanoseconds since this engine began.
    #[inline]
    #[must_use]
    pub fn now(&self) -> u64 {
        self.started.elapsed().as_nanos() as u64
    }

    /// The time of this engine at that instant.
    #[must_use]
    pub fn time_of(&self, instant: Instant) -> u64 {
        instant.saturating_duration_since(self.started).as_nanos() as u64
    }

    fn after(&self, duration: Duration) -> u64 {
        self.now().saturating_add(duration.as_nanos() as u64)
    }
}

/// Where to record a request that was due at `intended`.
#[inline]
fn record_of<'r>(
    window: &Range<u64>,
    record: &'r mut Record,
    older: &'r mut [(Range<u64>, Record)],
    intended: u64,
) -> Option<&'r mut Record> {
    if window.contains(&intended) {
        return Some(record);
    }
    // Requests still come from the latest windows.
    older.iter_mut().rev().find(|(window, _)| window.contains(&intended)).map(|(_, record)| record)
}

#[cfg(test)]
mod tests;
