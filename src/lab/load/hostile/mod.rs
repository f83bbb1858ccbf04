//! Hostile clients: connections that behave badly, beside those that are measured.
//!
//! All that they do is legal, and happens to every server. A *slow reader* sends requests and reads the answers slowly.
//! A *half closer* sends a request, ends its direction (FIN), and reads the answer. A *resetter* resets its connection
//! in the middle of an answer. A server that handles them badly blocks, leaks, spins, loses bytes or dies.
//!
//! Every byte is checked here as well. At the end of the run nobody sends new requests. Slow readers and half closers
//! finish the request that they are sending, end their direction, and read, now as fast as they can, until the server
//! ends its own. So a byte that the server has lost is found, wherever it was in the stream. A connection has ended
//! well only if all bytes that were sent came back.
//!
//! They should cost the server something, and should not disturb the measurement. So they share one thread, which
//! sleeps, unlike that of the engine. It wakes for events, each of which is armed once (`EPOLLONESHOT`), and every 10 ms
//! for what is done by the clock. Each kind has a budget of openings and steps, so that a thousand clients do no more in 10 ms than a few.
//!
//! # TIME_WAIT
//!
//! The side that sends the first FIN has the connection in TIME_WAIT, for 60 s or less. That is us, except where we
//! reset. `SO_LINGER` with 0 seconds would not help a half closer: Linux puts the port into TIME_WAIT when the
//! server's FIN arrives, before anybody can read the end of the stream. A test below shows it. It is one more reason
//! for the budget of openings.

use super::plan::{Plan, Sizes};
use super::stream::{Block, PIECE, Start, Wrong};
use crate::lab::show::{Page, WRONG, paint_if};
use crate::lab::units::{count, of};
use crate::sys::clock::thread_cpu;
use crate::sys::epoll::{Epoll, EpollFlags, Events};
use crate::sys::socket::{self, Mode, Received, Sent, Shutdown};
use crate::sys::sockopt;
use crate::sys::{Call, Errno, close};
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

/// The time between two looks at the clock. In it a slow reader reads once, and no client opens two connections.
const TICK: Duration = Duration::from_millis(10);

/// How long a client waits after a connection that could not be opened, or went wrong.
const RETRY: Duration = Duration::from_millis(100);

/// The most that is read in one step while the load is on.
const STEP_BYTES: usize = 4096;

/// What all slow readers together may send in a tick: 25 MB/s. It fills the buffers of a connection at once. A server
/// that takes everything does not fill the machine's memory at that rate.
const SLOW_SEND_BYTES: u64 = 256 << 10;

/// `SO_RCVBUF` and `SO_SNDBUF` of a slow reader. They are small, so that the server's buffers are soon full, and its
/// send(2) is short or fails with EAGAIN. If they were much smaller, the kernel would drop what it has no room for, and
/// would send it again after longer and longer times.
const SLOW_BUFFER: usize = 32 << 10;

/// `TCP_MAXSEG` of a slow reader: as over Ethernet. The kernel sizes a send buffer in segments. Those of loopback have
/// 64 KiB, with which the server could send 2.5 MB before its buffer is full.
const SLOW_SEGMENT: u32 = 1448;

/// How long to wait at the end for the server's FIN when all bytes have come back.
const END_TIMEOUT: Duration = Duration::from_secs(2);

/// How long the ends of all connections may take together.
const LONGEST_END: Duration = Duration::from_secs(60);

/// How long they may take once somebody has said stop.
const AFTER_STOP: Duration = Duration::from_secs(1);

/// How many losses of one kind of client are listed.
const LISTED: usize = 16;

const EVENTS: usize = 64;
/// The tokens of the descriptors that end the run.
const END: u64 = u64::MAX;
const STOP: u64 = u64::MAX - 1;

/// How many connections of each kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostileClients {
    /// They send request after request, and read at most 4096 bytes in 10 ms.
    pub slow_readers: usize,
    /// They send a request, end their direction (FIN), and read to the end; again and again.
    pub half_closers: usize,
    /// They send a request, read at most half of the answer, and reset the connection; again and again.
    pub resetters: usize,
}

impl HostileClients {
    /// How many there are in all, each with a descriptor.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.slow_readers.saturating_add(self.half_closers).saturating_add(self.resetters)
    }

    /// New connections a second of which our side ends first, at most.
    #[must_use]
    pub fn ended_per_s(&self) -> f64 {
        if self.half_closers == 0 { 0.0 } else { Budget::FULL.openings as f64 / TICK.as_secs_f64() }
    }
}

/// Bytes that were sent and did not come back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Loss {
    /// The client's number among those of its kind, from 0.
    pub connection: usize,
    /// Where in what that connection sent the first missing byte is.
    pub offset: u64,
    /// How many bytes are missing there.
    pub bytes: u64,
}

/// What became of one kind. Each connection that was opened has ended well, was cut short, or was unfinished at the end.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// How many there were at a time, at most.
    pub connections: usize,
    /// Connections that were established, in all.
    pub opened: u64,
    /// Attempts that failed: nobody listened or answered, no descriptor or port was left.
    pub refused: u64,
    /// Requests that the kernel took in full.
    pub requests: u64,
    /// Bytes that it took.
    pub sent_bytes: u64,
    /// Bytes that came back; all were checked.
    pub checked_bytes: u64,
    /// Those that were not what had been sent.
    pub wrong_bytes: u64,
    /// Bytes that were sent and did not come back, although the server went on, ended the connection in order, or was
    /// given the time of `--timeout`.
    pub missing_bytes: u64,
    /// The first of them.
    pub missing: Vec<Loss>,
    /// A slow reader, or a half closer: every byte came back, then the end of the stream. A resetter: it was reset by
    /// us and not by the server.
    pub ended_well: u64,
    /// The server ended it before, or it failed, or had no answer in time, or a byte was wrong or missing.
    pub cut_short: u64,
    /// None of this had happened when the run was over.
    pub unfinished: u64,
    /// The first that was refused or cut short, in words.
    pub first_trouble: Option<String>,
}

/// What became of all.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Outcomes {
    /// Of the slow readers.
    pub slow_reader: Outcome,
    /// Of the half closers.
    pub half_close: Outcome,
    /// Of the resetters.
    pub reset: Outcome,
    /// CPU time that they have cost the generator.
    pub cpu_s: f64,
}

/// Put these clients on the server of `plan` until `end` is readable, and then read back what was sent: to be called in
/// a thread of its own. When `stop` is readable, reading back takes a second at most.
///
/// Connections come from the sources of `plan` in turn, or from where the kernel chooses when there are none. Requests
/// have the largest size of `plan`. The bytes are those of its seed, and others than the engine sends with the same seed.
///
/// # Errors
///
/// `EMFILE` and others when no epoll can be created. What happens to the connections is in the outcomes.
pub fn run(
    plan: &Plan,
    clients: HostileClients,
    end: BorrowedFd<'_>,
    stop: BorrowedFd<'_>,
) -> anyhow::Result<Outcomes> {
    let cpu_before = thread_cpu();
    let mut runner = Runner::new(plan.clone(), clients)?;
    // Edge-triggered: to be told once is enough, and they stay readable.
    runner.epoll.add(end, END, EpollFlags::EPOLLIN | EpollFlags::EPOLLET)?;
    runner.epoll.add(stop, STOP, EpollFlags::EPOLLIN | EpollFlags::EPOLLET)?;
    while runner.turn()? {}
    let [slow_reader, half_close, reset] = runner.end()?;
    let cpu_s = thread_cpu().saturating_sub(cpu_before).as_secs_f64();
    Ok(Outcomes { slow_reader, half_close, reset, cpu_s })
}

impl Outcomes {
    fn kinds(&self) -> impl Iterator<Item = (&'static str, &Outcome)> {
        let kinds = [
            ("slow readers", &self.slow_reader),
            ("half closers", &self.half_close),
            ("resetters", &self.reset),
        ];
        kinds.into_iter().filter(|(_, outcome)| outcome.connections > 0)
    }

    /// Bytes that came back and were not what had been sent.
    pub(super) fn wrong_bytes(&self) -> u64 {
        self.kinds().map(|(_, outcome)| outcome.wrong_bytes).sum()
    }

    /// What was wrong on the wire, in a line; `None` when every byte that came back was right, and none was lost.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        let wrong = self.wrong_bytes();
        let missing: u64 = self.kinds().map(|(_, outcome)| outcome.missing_bytes).sum();
        if wrong + missing == 0 {
            return None;
        }
        let found = |outcome: &Outcome| outcome.wrong_bytes + outcome.missing_bytes > 0;
        let (name, first) = self.kinds().find(|(_, outcome)| found(outcome))?;
        let words = first.first_trouble.as_deref().unwrap_or_default();
        Some(format!(
            "hostile clients: {missing} bytes were sent and did not come back, {wrong} came back wrong; the first of the \
             {name}: {words}"
        ))
    }

    /// For people: a paragraph for each kind that there was.
    pub(in crate::lab) fn show(&self, page: &mut Page) {
        for (name, outcome) in self.kinds() {
            let bad = |n: u64, what| paint_if(n > 0, WRONG, format!("{} {what}", count(n)));
            page.line(
                name,
                format!(
                    "{}: {} opened, {} refused; {} ended well, {}, {} unfinished",
                    count(outcome.connections as u64),
                    count(outcome.opened),
                    count(outcome.refused),
                    count(outcome.ended_well),
                    bad(outcome.cut_short, "cut short"),
                    count(outcome.unfinished)
                ),
            );
            page.more(format!(
                "{}, {} bytes sent; {} came back, {}, {}",
                of(outcome.requests, "request"),
                count(outcome.sent_bytes),
                count(outcome.checked_bytes),
                bad(outcome.wrong_bytes, "wrong"),
                bad(outcome.missing_bytes, "missing")
            ));
            if let Some(trouble) = &outcome.first_trouble {
                page.more(format!("the first trouble: {trouble}"));
            }
            for Loss { connection, offset, bytes } in outcome.missing.iter().take(3) {
                page.more(format!(
                    "client {connection}: {} bytes missing from byte {} on",
                    count(*bytes),
                    count(*offset)
                ));
            }
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    SlowReader,
    HalfCloser,
    Resetter,
}

/// What a kind may still do in a tick.
#[derive(Debug, Clone, Copy)]
struct Budget {
    /// Connections to open. 400 a second are work for a server, and not much. And half closers have at most 24 000 ports
    /// in TIME_WAIT, which is less than there are (28 232).
    openings: usize,
    /// Steps of a connection, each with at most [`STEP_BYTES`] to read. More wait for the next tick, whatever the server
    /// does: one that sends its answers byte by byte cannot keep us busy.
    steps: usize,
}

impl Budget {
    const FULL: Budget = Budget { openings: 4, steps: 32 };
}

/// All clients of one kind.
#[derive(Debug)]
struct Group {
    clients: Range<usize>,
    /// The client to begin with, because the budget did not suffice for it in the last tick.
    next: usize,
    budget: Budget,
    outcome: Outcome,
}

/// A client with at most one connection at a time.
#[derive(Debug)]
struct Client {
    kind: Kind,
    start: Start,
    /// Bytes of its stream that were sent on earlier connections. The next connection sends others, or an answer
    /// that belongs to an earlier one could not be told from the right one.
    position: u64,
    /// It does not connect before.
    due: Instant,
    connection: Option<Connection>,
}

/// A connection.
#[derive(Debug)]
struct Connection {
    socket: OwnedFd,
    start: Start,
    /// Where in the stream it begins.
    position: u64,
    began: Instant,
    /// When bytes were last sent or received.
    progress: Instant,
    connected: bool,
    /// The next step is taken at a tick, and not at an event.
    at_tick: bool,
    /// It asks no more, because the run is over or a byte was wrong: what was sent is read back.
    ending: bool,
    /// The first wrong byte; its position is that on this connection.
    wrong: Option<Wrong>,
    sent: u64,
    received: u64,
    /// It has said that no more will come.
    fin_sent: bool,
    /// Of a resetter: how much of the answer it reads.
    read_target: u64,
}

/// What a connection waits for next.
enum Next {
    Event(EpollFlags),
    Tick,
}

/// How it ended.
#[derive(Debug)]
enum End {
    Well,
    Refused(String),
    CutShort { words: String, wrong_bytes: u64, missing: Option<(u64, u64)> },
}

impl End {
    fn cut_short(words: String) -> End {
        End::CutShort { words, wrong_bytes: 0, missing: None }
    }
}

impl From<crate::Error> for End {
    fn from(error: crate::Error) -> End {
        End::cut_short(error.to_string())
    }
}

/// The thread of the hostile clients: all of them, and what they share.
struct Runner {
    plan: Plan,
    next_source: usize,
    size: u64,
    block: Block,
    random: fastrand::Rng,
    epoll: Epoll,
    events: Events,
    buffer: Box<[u8]>,
    clients: Vec<Client>,
    /// By kind.
    groups: [Group; 3],
    /// What is left of [`SLOW_SEND_BYTES`].
    slow_send: u64,
    next_tick: Instant,
    /// Somebody has said stop.
    stopped: bool,
}

impl Runner {
    fn new(plan: Plan, clients: HostileClients) -> crate::Result<Runner> {
        // Not the seed of the engine: the streams would be the same as those of the measured connections,
        // and bytes that the server swaps between the two would be right.
        let seed = !plan.seed;
        let size = plan.sizes.largest().max(1);
        let HostileClients { slow_readers, half_closers, resetters } = clients;
        let (block, starts) = Block::new(seed, plan.payload, &Sizes::Fixed(size), clients.connections());
        let mut starts = starts.into_iter();
        let now = Instant::now();
        let mut clients = Vec::with_capacity(clients.connections());
        let kinds =
            [(Kind::SlowReader, slow_readers), (Kind::HalfCloser, half_closers), (Kind::Resetter, resetters)];
        let groups = kinds.map(|(kind, connections)| {
            let first = clients.len();
            let starts = starts.by_ref().take(connections);
            clients.extend(starts.map(|start| Client {
                kind,
                start,
                position: 0,
                due: now,
                connection: None,
            }));
            let outcome = Outcome { connections, ..Outcome::default() };
            Group { clients: first..clients.len(), next: 0, budget: Budget::FULL, outcome }
        });
        Ok(Runner {
            plan,
            next_source: 0,
            size: u64::from(size),
            block,
            random: fastrand::Rng::with_seed(seed),
            epoll: Epoll::new()?,
            events: Events::with_capacity(EVENTS),
            buffer: vec![0; PIECE].into(),
            clients,
            groups,
            slow_send: SLOW_SEND_BYTES,
            next_tick: now,
            stopped: false,
        })
    }

    /// Sleep until something happens or a tick is due, and handle it; `false` when the run is over.
    fn turn(&mut self) -> crate::Result<bool> {
        let alone = self.clients.is_empty();
        let left = self.next_tick.saturating_duration_since(Instant::now());
        self.epoll.wait(&mut self.events, (!alone).then_some(left))?;
        let mut goes_on = true;
        for k in 0..self.events.len() {
            match self.events.get(k).token {
                END => goes_on = false,
                STOP => self.stopped = true,
                i => self.step(i as usize),
            }
        }
        let now = Instant::now();
        if goes_on && now >= self.next_tick {
            self.tick(now);
        }
        Ok(goes_on)
    }

    /// End all connections: read back what was sent, and say what became of them.
    fn end(mut self) -> crate::Result<[Outcome; 3]> {
        let began = Instant::now();
        for i in 0..self.clients.len() {
            self.begin_end(i, began);
        }
        while self.clients.iter().any(|client| client.connection.is_some()) {
            let longest = if self.stopped { AFTER_STOP } else { LONGEST_END };
            let now = Instant::now();
            if now >= began + longest {
                break;
            }
            for i in 0..self.clients.len() {
                self.check_end(i, now);
            }
            self.epoll.wait(&mut self.events, Some(TICK))?;
            for k in 0..self.events.len() {
                match self.events.get(k).token {
                    END => {}
                    STOP => self.stopped = true,
                    i => self.step(i as usize),
                }
            }
        }
        for i in 0..self.clients.len() {
            let client = &mut self.clients[i];
            match &client.connection {
                Some(connection) if connection.wrong.is_some() => {
                    let end = connection.verdict("", "", self.stopped);
                    self.part(i, end);
                }
                Some(_) => {
                    client.connection.take().into_iter().for_each(|connection| close(connection.socket));
                    self.groups[client.kind as usize].outcome.unfinished += 1;
                }
                None => {}
            }
        }
        Ok(self.groups.map(|group| group.outcome))
    }

    /// Client `i` asks no more.
    fn begin_end(&mut self, i: usize, now: Instant) {
        let client = &mut self.clients[i];
        let Some(connection) = &mut client.connection else { return };
        let begun = connection.connected && connection.sent > 0;
        if !connection.ending && (client.kind == Kind::Resetter || !begun) {
            self.groups[client.kind as usize].outcome.unfinished += u64::from(connection.connected);
            client.connection.take().into_iter().for_each(|connection| close(connection.socket));
            return;
        }
        (connection.ending, connection.progress) = (true, now);
        self.step(i);
    }

    /// Give up on client `i` when its connection has made no progress for too long.
    fn check_end(&mut self, i: usize, now: Instant) {
        let Some(connection) = &self.clients[i].connection else { return };
        let all = connection.fin_sent && connection.received == connection.sent;
        let timeout = if all { END_TIMEOUT.min(self.plan.patience) } else { self.plan.patience };
        if now.saturating_duration_since(connection.progress) < timeout {
            return;
        }
        let end = connection.timed_out(timeout);
        self.part(i, end);
    }

    fn tick(&mut self, now: Instant) {
        // From now, not from when it was due: ticks that were missed are not made up for in a burst.
        self.next_tick = now + TICK;
        self.slow_send = SLOW_SEND_BYTES;
        for kind in 0..self.groups.len() {
            self.groups[kind].budget = Budget::FULL;
            let Group { ref clients, next, .. } = self.groups[kind];
            let (first, count) = (clients.start, clients.len());
            let mut denied = None;
            for i in (0..count).map(|k| (next + k) % count) {
                if !self.attend(first + i, now) {
                    denied.get_or_insert(i);
                }
            }
            self.groups[kind].next = denied.unwrap_or(next + 1);
        }
    }

    /// Do for client `i` what is done by the clock; `false` when it has to wait because the budget of its kind is used
    /// up.
    fn attend(&mut self, i: usize, now: Instant) -> bool {
        let client = &self.clients[i];
        let budget = &mut self.groups[client.kind as usize].budget;
        match &client.connection {
            None if now < client.due => {}
            None if budget.openings == 0 => return false,
            None => {
                budget.openings -= 1;
                self.open(i, now);
            }
            Some(connection) if connection.at_tick && budget.steps == 0 => return false,
            Some(connection) if connection.at_tick => self.step(i),
            Some(connection) if now.saturating_duration_since(connection.progress) >= self.plan.patience => {
                let end = connection.timed_out(self.plan.patience);
                self.part(i, end);
            }
            Some(_) => {}
        }
        true
    }

    /// Begin a connection of client `i`.
    fn open(&mut self, i: usize, now: Instant) {
        let sources = &self.plan.sources;
        let source = (!sources.is_empty()).then(|| {
            self.next_source = (self.next_source + 1) % sources.len();
            sources[self.next_source]
        });
        let read_target = self.random.u64(0..=self.size / 2);
        let client = &mut self.clients[i];
        match dial(&self.epoll, i, client.kind, source, &self.plan.target) {
            Ok(socket) => {
                client.connection = Some(Connection {
                    socket,
                    start: client.start,
                    position: client.position,
                    began: now,
                    progress: now,
                    connected: false,
                    at_tick: false,
                    ending: false,
                    wrong: None,
                    sent: 0,
                    received: 0,
                    fin_sent: false,
                    read_target,
                });
            }
            Err(error) => {
                let words = source.map_or(format!("{error}"), |source| format!("from {source}: {error}"));
                self.part(i, End::Refused(words));
            }
        }
    }

    /// Something happened on the connection of client `i`, or its time has come.
    fn step(&mut self, i: usize) {
        let client = &mut self.clients[i];
        let Some(connection) = &mut client.connection else { return };
        let Group { budget, outcome, .. } = &mut self.groups[client.kind as usize];
        if !connection.ending {
            if budget.steps == 0 {
                connection.at_tick = true; // No event is armed, so it is silent until then.
                return;
            }
            budget.steps -= 1;
        }
        let mut step =
            Step { connection, outcome, block: &self.block, size: self.size, buffer: &mut self.buffer };
        let result = step.connected().and_then(|()| match client.kind {
            _ if step.connection.ending => step.read_back(),
            Kind::SlowReader => step.read_slowly(&mut self.slow_send),
            Kind::HalfCloser => step.ask_and_end(),
            Kind::Resetter => step.ask_and_reset(),
        });
        let armed = result.and_then(|next| {
            connection.at_tick = matches!(next, Next::Tick);
            match next {
                Next::Tick => Ok(()),
                Next::Event(flags) => Ok(self.epoll.modify(&connection.socket, i as u64, flags | ONCE)?),
            }
        });
        if let Err(end) = armed {
            self.part(i, end);
        }
    }

    /// The connection of client `i` is over, or the attempt at one.
    fn part(&mut self, i: usize, end: End) {
        let client = &mut self.clients[i];
        let Group { outcome, clients, .. } = &mut self.groups[client.kind as usize];
        let began = client.connection.take().map(|connection| {
            client.position += connection.sent;
            close(connection.socket);
            connection.began
        });
        client.due = match end {
            End::Well => began.unwrap_or_else(Instant::now) + TICK,
            End::Refused(_) | End::CutShort { .. } => Instant::now() + RETRY,
        };
        match end {
            End::Well => outcome.ended_well += 1,
            End::Refused(words) => {
                outcome.refused += 1;
                outcome.first_trouble.get_or_insert(words);
            }
            End::CutShort { words, wrong_bytes, missing } => {
                outcome.cut_short += 1;
                outcome.wrong_bytes += wrong_bytes;
                if let Some((offset, bytes)) = missing {
                    outcome.missing_bytes += bytes;
                    if outcome.missing.len() < LISTED {
                        outcome.missing.push(Loss { connection: i - clients.start, offset, bytes });
                    }
                }
                outcome.first_trouble.get_or_insert(words);
            }
        }
    }
}

/// Each event is asked for: a client that waits for a tick gets none, whatever the server does meanwhile.
const ONCE: EpollFlags = EpollFlags::EPOLLONESHOT;

/// A socket that is being connected, known to `epoll` as `i`.
fn dial(
    epoll: &Epoll,
    i: usize,
    kind: Kind,
    source: Option<IpAddr>,
    target: &SocketAddr,
) -> crate::Result<OwnedFd> {
    let socket = socket::tcp(target, Mode::Nonblocking)?;
    sockopt::set_nodelay(&socket, true)?;
    match kind {
        Kind::SlowReader => {
            sockopt::set_receive_buffer(&socket, SLOW_BUFFER)?;
            sockopt::set_send_buffer(&socket, SLOW_BUFFER)?;
            sockopt::set_max_segment(&socket, SLOW_SEGMENT)?;
        }
        Kind::HalfCloser => {}
        Kind::Resetter => sockopt::set_reset_on_close(&socket)?,
    }
    if let Some(source) = source {
        sockopt::set_bind_address_no_port(&socket, true)?;
        socket::bind(&socket, &SocketAddr::new(source, 0))?;
    }
    // A connection that is established at once is writable too, so both cases go on in the same way.
    let _established = socket::connect(&socket, target)?;
    epoll.add(&socket, i as u64, EpollFlags::EPOLLOUT | ONCE)?;
    Ok(socket)
}

/// A step of a connection, with all that it needs.
struct Step<'a> {
    connection: &'a mut Connection,
    outcome: &'a mut Outcome,
    block: &'a Block,
    size: u64,
    buffer: &'a mut [u8],
}

impl Step<'_> {
    /// Find out, the first time, whether it is established.
    fn connected(&mut self) -> Result<(), End> {
        if self.connection.connected {
            return Ok(());
        }
        let socket = &self.connection.socket;
        let refused = |error: crate::Error| End::Refused(error.to_string());
        let error = sockopt::take_error(socket).map_err(refused)?;
        let error = match error {
            None if socket::is_connected_to_itself(socket).is_ok_and(|itself| itself) => {
                Some(Errno::ECONNREFUSED)
            }
            error => error,
        };
        if let Some(source) = error {
            let fd = Some(socket.as_raw_fd());
            return Err(refused(crate::Error::Call { call: Call::Connect, fd, source }));
        }
        self.connection.connected = true;
        self.outcome.opened += 1;
        Ok(())
    }

    /// A slow reader: read a little, and ask for more of it than the server can give.
    fn read_slowly(&mut self, budget: &mut u64) -> Result<Next, End> {
        if self.receive(STEP_BYTES)? == Received::End {
            return Err(self.closed());
        }
        // At most a piece each: what is left of the budget is for the others.
        let mut piece = (PIECE as u64).min(*budget);
        while piece > 0 {
            match self.send(piece)? {
                Sent::Bytes(n) => {
                    piece -= n as u64;
                    *budget -= n as u64;
                }
                Sent::NotNow => break,
            }
        }
        Ok(Next::Tick)
    }

    /// A half closer: ask, say that this was all, and read to the end.
    fn ask_and_end(&mut self) -> Result<Next, End> {
        if self.connection.sent > 0 && self.receive(STEP_BYTES)? == Received::End {
            return Err(self.closed());
        }
        let unsent = self.size - self.connection.sent;
        if unsent > 0 {
            self.send(unsent.min(STEP_BYTES as u64))?;
        }
        if self.connection.sent < self.size {
            // It is read meanwhile, or the server could not send, and so not read either.
            return Ok(Next::Event(EpollFlags::EPOLLIN | EpollFlags::EPOLLOUT));
        }
        self.send_fin()?;
        Ok(Next::Event(EpollFlags::EPOLLIN))
    }

    /// A resetter: ask, read a part of the answer, and reset the connection; also when the server takes no more,
    /// because we have not read what it has answered.
    fn ask_and_reset(&mut self) -> Result<Next, End> {
        let unread = self.connection.read_target - self.connection.received;
        if self.connection.sent > 0
            && unread > 0
            && self.receive(unread.min(STEP_BYTES as u64) as usize)? == Received::End
        {
            return Err(self.closed());
        }
        if self.connection.ending {
            return self.read_back(); // A byte was wrong.
        }
        let unsent = self.size - self.connection.sent;
        let full = unsent > 0 && self.send(unsent.min(STEP_BYTES as u64))? == Sent::NotNow;
        let Connection { sent, received, read_target, .. } = *self.connection;
        let (asked, read) = (sent == self.size, received == read_target);
        if read && (asked || full) {
            return Err(End::Well);
        }
        let mut flags = EpollFlags::empty();
        flags.set(EpollFlags::EPOLLIN, !read);
        flags.set(EpollFlags::EPOLLOUT, !asked);
        Ok(Next::Event(flags))
    }

    /// Send the rest of the last request, say that this was all, and read to the end.
    fn read_back(&mut self) -> Result<Next, End> {
        let begun = self.connection.sent % self.size;
        let unsent = if begun == 0 || self.connection.fin_sent { 0 } else { self.size - begun };
        let full = unsent > 0 && self.send(unsent)? == Sent::NotNow;
        if self.connection.sent.is_multiple_of(self.size) {
            self.send_fin()?;
        }
        if self.receive(PIECE)? == Received::End {
            return Err(self.closed());
        }
        let mut flags = EpollFlags::EPOLLIN;
        flags.set(EpollFlags::EPOLLOUT, full || !self.connection.fin_sent);
        Ok(Next::Event(flags))
    }

    /// Say that no more will come.
    fn send_fin(&mut self) -> Result<(), End> {
        if !self.connection.fin_sent {
            socket::shutdown(&self.connection.socket, Shutdown::Write)?;
            self.connection.fin_sent = true;
        }
        Ok(())
    }

    /// Give the kernel as much as it takes, at most `most` bytes.
    fn send(&mut self, most: u64) -> Result<Sent, End> {
        let connection = &mut *self.connection;
        let piece = self.block.piece(connection.start, connection.position + connection.sent, most);
        let sent = socket::send(&connection.socket, piece)?;
        if let Sent::Bytes(n) = sent {
            let before = connection.sent / self.size;
            connection.sent += n as u64;
            connection.progress = Instant::now();
            self.outcome.sent_bytes += n as u64;
            self.outcome.requests += connection.sent / self.size - before;
        }
        Ok(sent)
    }

    /// Take at most `most` bytes of what has arrived, and check them.
    fn receive(&mut self, most: usize) -> Result<Received, End> {
        let connection = &mut *self.connection;
        let received = socket::recv(&connection.socket, &mut self.buffer[..most])?;
        let Received::Bytes(n) = received else { return Ok(received) };
        self.outcome.checked_bytes += n as u64;
        connection.progress = Instant::now();
        if connection.wrong.is_none() {
            let known = (connection.sent - connection.received).min(n as u64) as usize;
            let from = connection.position + connection.received;
            let differs = self.block.differs(connection.start, from, &self.buffer[..known]);
            let wrong =
                differs.map(|wrong| Wrong { position: wrong.position - connection.position, ..wrong });
            if known < n && wrong.is_none() {
                let words = format!("{} bytes came back that had not been sent", n - known);
                return Err(End::CutShort { words, wrong_bytes: (n - known) as u64, missing: None });
            }
            // Whether it was changed, or others before it were lost, is known when all has come that comes.
            connection.ending |= wrong.is_some();
            connection.wrong = wrong;
        }
        connection.received += n as u64;
        // More than can ever be asked for: a server that never stops sending tells nothing new.
        if connection.received > connection.sent.next_multiple_of(self.size) {
            return Err(connection.verdict("", "", true));
        }
        Ok(received)
    }

    /// The server has ended its direction.
    fn closed(&self) -> End {
        self.connection.verdict(
            "the server closed it first",
            "the server closed it",
            self.connection.fin_sent,
        )
    }
}

impl Connection {
    /// Nothing came or went for so long.
    fn timed_out(&self, timeout: Duration) -> End {
        if !self.connected {
            return End::Refused(format!("connect: no answer within {timeout:?}"));
        }
        let how = format!("no answer within {timeout:?}");
        match self.verdict("", &how, true) {
            End::Well => End::cut_short(format!(
                "every byte came back, but not within {timeout:?} the end of the stream"
            )),
            end => end,
        }
    }

    /// How it ended, when no more comes: `early` when all has come that was sent so far, and otherwise
    /// `how` with what is missing. A server may close a connection early. One that lets the client
    /// end its direction, or sends nothing, had the time to send the rest.
    fn verdict(&self, early: &str, how: &str, had_its_chance: bool) -> End {
        let Connection { sent, received, fin_sent, .. } = *self;
        let missing = sent.saturating_sub(received);
        match self.wrong {
            Some(Wrong { position, expected, got, bytes }) if missing == 0 => End::CutShort {
                words: format!("byte {position} came back as 0x{got:02x}, 0x{expected:02x} was sent"),
                wrong_bytes: bytes + received.saturating_sub(sent),
                missing: None,
            },
            Some(Wrong { position, .. }) => End::CutShort {
                words: format!(
                    "{missing} of {sent} bytes did not come back; the first that is missing is byte {position}, where \
                     later ones came"
                ),
                wrong_bytes: 0,
                missing: Some((position, missing)),
            },
            None if missing > 0 => End::CutShort {
                words: format!("{how} with {missing} bytes of an answer missing, from byte {received} on"),
                wrong_bytes: 0,
                missing: had_its_chance.then_some((received, missing)),
            },
            None if fin_sent => End::Well,
            None => End::cut_short(early.to_owned()),
        }
    }
}

#[cfg(test)]
mod tests;
