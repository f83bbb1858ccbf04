//! The generator itself: one thread, one epoll, all connections.
//!
//! It spins: while load is on, it asks the kernel for events without ever sleeping. A generator
//! that sleeps makes the server pay for waking it (32 µs of server CPU for a single-connection
//! request instead of 10, measured), and its own wake-up time is counted as the server's latency.
//! The price is a processor, which should be another than the server's.

use super::Lost;
use super::connection::{Connection, Trouble, connect};
use super::stream::{Block, PIECE, Start};
use crate::sys::epoll::{Epoll, EpollFlags, Events};
use anyhow::{Context, anyhow};
use hdrhistogram::Histogram;
use nix::time::{ClockId, clock_gettime};
use std::fmt;
use std::net::SocketAddr;
use std::ops::Range;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

/// How long nothing at all may come back before the connections without answer count as lost, unless
/// somebody wants it otherwise.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// How long the last answers may take in all, however steadily they drip.
pub const LONGEST_DRAIN: Duration = Duration::from_secs(60);

/// A longer gap between two looks was ours (stopped, or not scheduled), and says nothing of the server.
const LONGEST_LOOK_NS: u64 = 10_000_000;

/// How long the last answers may take once somebody has said stop.
const AFTER_STOP: Duration = Duration::from_secs(1);

/// How long to look for bytes that nobody asked for, after the last answer.
const SWEEP: Duration = Duration::from_millis(20);

/// Connections that are opened before the server has to answer the first of them. Fewer than any
/// sensible listen queue holds, so that no connect has to be tried again a second later.
const OPEN_AT_ONCE: usize = 128;

const EVENTS: usize = 512;
const STOP: u64 = u64::MAX;
/// After these a short read does not prove that nothing is left.
const NOT_JUST_BYTES: EpollFlags =
    EpollFlags::EPOLLRDHUP.union(EpollFlags::EPOLLHUP).union(EpollFlags::EPOLLERR);
const LONGEST_NS: u64 = 60_000_000_000;

/// What load to put on whom.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The server.
    pub target: SocketAddr,
    /// Connections that ask.
    pub active: usize,
    /// Connections that ask once, to be known to the server, and are silent from then on.
    pub idle: usize,
    /// Bytes a request, at least 1.
    pub size: u32,
    /// Of the bytes that are sent.
    pub seed: u64,
    /// How long nothing at all may come back before the connections without answer count as lost.
    pub patience: Duration,
}

/// A stretch of load between [`Engine::start_clock`] and [`Engine::stop_clock`].
#[derive(Debug, Clone, Copy, Default)]
pub struct Stretch {
    /// Requests begun.
    pub sent: u64,
    /// Requests whose answer was complete and right.
    pub answered: u64,
    /// Time.
    pub elapsed: Duration,
    /// Time in which there was something to do.
    pub busy: Duration,
    /// CPU time of this thread.
    pub cpu: Duration,
}

/// The connections and what goes over them.
pub struct Engine {
    started: Instant,
    epoll: Epoll,
    events: Events,
    block: Block,
    size: u64,
    patience: Duration,
    connections: Vec<Connection>,
    active: Range<usize>,
    buffer: Box<[u8]>,
    latencies: Histogram<u64>,
    lost: Vec<Lost>,
    wrong_bytes: u64,
    open_time: Duration,
    /// Requests begun and not yet answered.
    outstanding: usize,
    /// Whether an answer is followed by the next request.
    asking: bool,
    stopped: bool,
    /// The measured stretch; its clock runs while this is set.
    clock: Option<Clock>,
    stretch: Stretch,
    /// Since [`begin`](Engine::begin), with warm-up and drain.
    answered_in_all: u64,
}

#[derive(Clone, Copy)]
struct Clock {
    started: Instant,
    cpu_before: Duration,
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Engine({} connections, {:?})", self.connections.len(), self.stretch)
    }
}

impl Engine {
    /// Open all connections, and have each answered once, so that the server knows them all. Half of
    /// the idle ones are opened before the active ones and half after.
    ///
    /// # Errors
    ///
    /// When a connection cannot be opened: nobody listens, no port or descriptor is left. A server
    /// that answers wrongly or not at all is not an error here; see [`lost`](Engine::lost).
    pub fn open(plan: &Plan, stop: Option<BorrowedFd<'_>>) -> anyhow::Result<Engine> {
        let started = Instant::now();
        let count = plan.active + plan.idle;
        let (block, starts) = Block::new(plan.seed, plan.size, count);
        let first = plan.idle / 2;
        let mut engine = Engine {
            started,
            epoll: Epoll::new()?,
            events: Events::with_capacity(EVENTS),
            block,
            size: u64::from(plan.size),
            patience: plan.patience,
            connections: Vec::with_capacity(count),
            active: first..first + plan.active,
            buffer: vec![0; PIECE].into(),
            latencies: Histogram::new_with_bounds(1, LONGEST_NS, 3).map_err(|why| anyhow!("{why:?}"))?,
            lost: Vec::new(),
            wrong_bytes: 0,
            open_time: Duration::ZERO,
            outstanding: 0,
            asking: false,
            stopped: false,
            clock: None,
            stretch: Stretch::default(),
            answered_in_all: 0,
        };
        if let Some(stop) = stop {
            // Edge-triggered: to be told once is enough, and it stays readable.
            engine.epoll.add(stop, STOP, EpollFlags::EPOLLIN | EpollFlags::EPOLLET)?;
        }
        for batch in starts.chunks(OPEN_AT_ONCE) {
            let (from, lost_before) = (engine.connections.len(), engine.lost.len());
            for &start in batch {
                let n = engine.connections.len();
                let socket = connect(plan.target, stop)
                    .with_context(|| format!("cannot open connection {n} to {}", plan.target))?;
                let Some(socket) = socket else {
                    engine.stopped = true;
                    break;
                };
                engine.add(socket, start)?;
            }
            for i in from..engine.connections.len() {
                engine.ask(i, engine.now());
            }
            engine.drain()?;
            if (engine.lost.len() - lost_before) * 2 > batch.len() || engine.stopped {
                break; // It leaves most without answer: no use to wait for the rest as well.
            }
        }
        let missing = if engine.stopped { count } else { engine.connections.len() };
        for missing in missing..count {
            engine.lost.push(Lost { connection: missing, reason: Trouble::NotOpened.to_string() });
        }
        engine.active.end = engine.active.end.min(engine.connections.len());
        engine.active.start = engine.active.start.min(engine.active.end);
        engine.open_time = started.elapsed();
        Ok(engine)
    }

    fn add(&mut self, socket: OwnedFd, start: Start) -> crate::Result<()> {
        // Registered once for everything, edge-triggered: no call is needed when a send falls short.
        let flags = EpollFlags::EPOLLIN | EpollFlags::EPOLLOUT | EpollFlags::EPOLLRDHUP | EpollFlags::EPOLLET;
        self.epoll.add(&socket, self.connections.len() as u64, flags)?;
        self.connections.push(Connection::new(socket, start));
        Ok(())
    }

    /// Let every active connection ask. From now on each answer is followed by the next request.
    pub fn begin(&mut self) {
        self.asking = true;
        self.answered_in_all = 0;
        for i in self.active.clone() {
            self.ask(i, self.now());
        }
    }

    /// Measure from here on, afresh but for the histogram, which goes on.
    pub fn start_clock(&mut self) {
        self.stretch = Stretch::default();
        self.connections.iter_mut().for_each(|connection| connection.answered = 0);
        self.clock = Some(Clock { started: Instant::now(), cpu_before: thread_cpu() });
    }

    /// Measure to here.
    pub fn stop_clock(&mut self) {
        self.stretch = self.stretch();
        if let Some(clock) = self.clock.take() {
            self.stretch.cpu = thread_cpu().saturating_sub(clock.cpu_before);
        }
    }

    /// Handle what comes, for that long, or until there is nobody left to ask.
    ///
    /// # Errors
    ///
    /// Those of the wait.
    pub fn run(&mut self, duration: Duration) -> crate::Result<()> {
        self.spin(Instant::now() + duration, Duration::MAX)
    }

    /// Let the requests that are under way be answered, and ask no more. When nothing has come for
    /// [`Plan::patience`], or not all within [`LONGEST_DRAIN`], connections without answer are lost.
    ///
    /// # Errors
    ///
    /// Those of the wait.
    pub fn drain(&mut self) -> crate::Result<()> {
        self.asking = false;
        let until = Instant::now() + LONGEST_DRAIN;
        self.spin(until, self.patience)?;
        if self.outstanding == 0 || self.stopped {
            return Ok(()); // Who was interrupted cannot know whether the answers would have come.
        }
        for i in 0..self.connections.len() {
            let missing = self.connections[i].missing();
            if missing > 0 {
                let slow = Instant::now() >= until;
                let silent = Trouble::Silent { missing, patience: self.patience };
                self.lose(i, &if slow { Trouble::Slow { missing } } else { silent });
            }
        }
        Ok(())
    }

    /// After the last answer: look once more for bytes that nobody asked for, and for connections that
    /// were closed.
    ///
    /// # Errors
    ///
    /// Those of the wait.
    pub fn sweep(&mut self) -> crate::Result<()> {
        let until = Instant::now() + 10 * SWEEP;
        while self.epoll.wait(&mut self.events, Some(SWEEP))? > 0 && Instant::now() < until {
            self.handle_events();
        }
        Ok(())
    }

    /// Whether there is a connection left to ask, and nobody has said stop.
    #[must_use]
    pub fn can_go_on(&self) -> bool {
        !self.stopped && self.outstanding > 0
    }

    /// Whether the stop descriptor was readable.
    #[must_use]
    pub fn was_stopped(&self) -> bool {
        self.stopped
    }

    /// What was measured, up to now while the clock runs.
    #[must_use]
    pub fn stretch(&self) -> Stretch {
        let elapsed = self.clock.map_or(self.stretch.elapsed, |clock| clock.started.elapsed());
        Stretch { elapsed, ..self.stretch }
    }

    /// Requests answered since [`begin`](Engine::begin), in warm-up and drain as well.
    #[must_use]
    pub fn answered_in_all(&self) -> u64 {
        self.answered_in_all
    }

    /// How many requests the active connection with the fewest answers has had while the clock ran, and
    /// the one with the most. A server that forgets a connection shows here and nowhere else: the
    /// others only get faster.
    #[must_use]
    pub fn fewest_and_most(&self) -> (u64, u64) {
        let answered = || self.connections[self.active.clone()].iter().map(|c| c.answered);
        (answered().min().unwrap_or(0), answered().max().unwrap_or(0))
    }

    /// Latencies of all stretches, in nanoseconds.
    #[must_use]
    pub fn latencies(&self) -> &Histogram<u64> {
        &self.latencies
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

    fn now(&self) -> u64 {
        self.started.elapsed().as_nanos() as u64
    }

    /// Handle what comes, until then, or until nothing has come for as long as `patience`.
    fn spin(&mut self, until: Instant, patience: Duration) -> crate::Result<()> {
        let mut until = until.saturating_duration_since(self.started).as_nanos() as u64;
        let patience = u64::try_from(patience.as_nanos()).unwrap_or(u64::MAX);
        let began = self.now();
        let (mut last, mut idle, mut quiet, mut stopped_at) = (began, 0, 0, None);
        // Who says stop wants no more requests; those under way are still answered.
        while self.outstanding > 0 && !(self.stopped && self.asking) {
            let ready = self.epoll.wait(&mut self.events, Some(Duration::ZERO))?;
            // After a batch of events and not within it: edges are not reported twice.
            self.handle_events();
            let now = self.now();
            if self.stopped {
                until = until.min(stopped_at.get_or_insert(now).saturating_add(AFTER_STOP.as_nanos() as u64));
            }
            if ready == 0 {
                idle += now - last;
                quiet += (now - last).min(LONGEST_LOOK_NS);
            } else {
                quiet = 0;
            }
            last = now;
            if now >= until || quiet >= patience {
                break;
            }
        }
        if self.clock.is_some() {
            self.stretch.busy += Duration::from_nanos(last - began - idle);
        }
        Ok(())
    }

    /// Handle the events of the last wait.
    #[inline]
    fn handle_events(&mut self) {
        for k in 0..self.events.len() {
            let event = self.events.get(k);
            match event.token {
                STOP => self.stopped = true,
                i => self.handle(i as usize, event.flags.intersects(NOT_JUST_BYTES)),
            }
        }
    }

    /// Begin a request on connection `i`, at the time `now`.
    #[inline]
    fn ask(&mut self, i: usize, now: u64) {
        let connection = &mut self.connections[i];
        if !connection.lives() {
            return;
        }
        self.outstanding += 1;
        self.stretch.sent += u64::from(self.clock.is_some());
        if let Err(trouble) = connection.ask(&self.block, self.size, now, self.clock.is_some()) {
            self.lose(i, &trouble);
        }
    }

    /// Something happened on connection `i`.
    #[inline]
    fn handle(&mut self, i: usize, dry: bool) {
        let connection = &mut self.connections[i];
        let received = connection.receive(&self.block, &mut self.buffer, dry);
        if let Err(trouble) = received.and_then(|()| connection.send(&self.block)) {
            return self.lose(i, &trouble);
        }
        if connection.missing() > 0 {
            return;
        }
        // Without a request under way it has become writable, or is idle.
        let Some(asked_at) = connection.asked_at.take() else { return };
        let now = self.started.elapsed().as_nanos() as u64;
        // By when it was asked, and not by when it was answered: or an answer that is late because the
        // server stalled as the clock stopped would never be seen.
        if connection.asked_on_clock {
            self.latencies.saturating_record(now - asked_at);
        }
        if self.clock.is_some() {
            connection.answered += 1;
            self.stretch.answered += 1;
        }
        self.outstanding -= 1;
        self.answered_in_all += 1;
        if self.asking {
            self.ask(i, now);
        }
    }

    fn lose(&mut self, i: usize, trouble: &Trouble) {
        let connection = &mut self.connections[i];
        if connection.lives() {
            self.outstanding -= usize::from(connection.give_up());
            self.wrong_bytes += trouble.wrong_bytes();
            self.lost.push(Lost { connection: i, reason: trouble.to_string() });
        }
    }
}

/// CPU time of this thread, exact, unlike that of getrusage(2), which is brought up to date at ticks.
#[must_use]
pub fn thread_cpu() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map_or(Duration::ZERO, Duration::from)
}
