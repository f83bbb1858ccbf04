//! Hostile company: connections that behave badly, beside those that are measured.
//!
//! All that they do is legal, and happens to every server: clients that ask and do not read the answers,
//! that say they have nothing more to send while they still listen, that vanish in the middle of an
//! answer. A server that handles them badly blocks, leaks, spins or dies, and the measured connections
//! show it. What happens to the company itself is checked to the byte as well, and reported apart: it is
//! never a failure of the run.
//!
//! HostileClients should cost the server something and the measurement nothing. So it has one thread, which
//! sleeps, unlike the engine: it wakes for events, each of which is armed once (`EPOLLONESHOT`), and
//! every 10 ms for what is to be done by the clock; and each kind has a ration of openings and reads, so that
//! a thousand of them do no more in a tick than a few.
//!
//! # TIME_WAIT
//!
//! Who sends the first FIN has the connection in TIME_WAIT for 60 s. Slow readers and resetters send none:
//! they close with a reset. A half closer that ends well cannot avoid it. `SO_LINGER` with 0 seconds does
//! not help, although it is set: Linux has put the port into TIME_WAIT when the server's FIN came, before
//! anybody could read the end of the stream, and the socket that is closed then is an empty shell. A test
//! below shows it. It is one more reason for the ration of openings.

use super::engine::PATIENCE;
use super::plan::Sizes;
use super::stream::{Block, PIECE, Start};
use crate::lab::show::{Page, WRONG, paint_if};
use crate::lab::units::{count, of};
use crate::sys::clock::thread_cpu;
use crate::sys::epoll::{Epoll, EpollFlags, Events};
use crate::sys::socket::{self, Mode, Received, Sent, Shutdown};
use crate::sys::{Call, close};
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

/// Between two looks at the clock; a slow reader reads once in it, and nobody begins twice in it.
const TICK: Duration = Duration::from_millis(10);

/// How long a connection that could not be opened, or went wrong, is left alone.
const RETRY: Duration = Duration::from_millis(100);

/// The most that is read at once.
const GULP: usize = 4096;

/// What all slow readers together may send in a tick: 25 MB/s. It fills the buffers of a connection, 3 MB
/// or so over loopback, in a moment, and leaves somebody time to look at a server that never pushes back.
const FLOOD: u64 = 256 << 10;

/// Of a slow reader, for `SO_RCVBUF` and `SO_SNDBUF`. Little, so that it is the server's buffers that fill
/// and not ours. Much less, and the kernel drops what it has no room for and sends it again ever later.
const SLOW_BUFFER: usize = 32 << 10;

const EVENTS: usize = 64;
const STOP: u64 = u64::MAX;

/// How many connections of each kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct HostileClients {
    /// They ask and ask, and read at most 4096 bytes in 10 ms.
    pub slow_readers: usize,
    /// They ask once, end their direction (FIN), and read to the end; again and again.
    pub half_closers: usize,
    /// They ask once, read at most half of the answer, and reset the connection; again and again.
    pub resetters: usize,
}

impl HostileClients {
    /// How many there are in all, each with a descriptor.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.slow_readers + self.half_closers + self.resetters
    }
}

/// What became of one kind. Each connection that was opened has ended well, was cut short, or was
/// unfinished when it was time to stop.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fate {
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
    /// A slow reader: it stood to the end and had answers. A half closer: every byte came back, then the
    /// end of the stream. A resetter: the reset was its own.
    pub ended_well: u64,
    /// The server ended it before, or it failed, or went without answer for 10 s, or was given up because of
    /// a wrong byte.
    pub cut_short: u64,
    /// Neither had happened when it was time to stop.
    pub unfinished: u64,
    /// The first that was refused or cut short, in words.
    pub first_trouble: Option<String>,
}

/// What became of all.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Fates {
    /// Of the slow readers.
    pub slow_reader: Fate,
    /// Of the half closers.
    pub half_close: Fate,
    /// Of the resetters.
    pub reset: Fate,
    /// CPU time that the company has cost the generator.
    pub cpu_s: f64,
}

/// Keep company with the server until `stop` is readable: to be called in a thread of its own.
///
/// Connections come from `sources` in turn, or from where the kernel chooses when there are none. Requests
/// have `size` bytes, at least 1. The bytes are those of `seed`, and others than the engine sends with the
/// same seed.
///
/// # Errors
///
/// `EMFILE` and the like when there is no epoll to be had. What happens to the connections is in the fates.
pub fn run(
    target: SocketAddr,
    sources: &[IpAddr],
    clients: HostileClients,
    size: u32,
    seed: u64,
    stop: BorrowedFd<'_>,
) -> anyhow::Result<Fates> {
    let cpu_before = thread_cpu();
    let mut host = Host::new(target, sources, clients, size, seed)?;
    host.epoll.add(stop, STOP, EpollFlags::EPOLLIN)?;
    while host.turn()? {}
    let [slow_reader, half_close, reset] = host.farewell();
    let cpu_s = thread_cpu().saturating_sub(cpu_before).as_secs_f64();
    Ok(Fates { slow_reader, half_close, reset, cpu_s })
}

impl Fates {
    /// For people: a paragraph for each kind that there was.
    pub(super) fn show(&self, page: &mut Page) {
        let kinds = [
            ("slow readers", &self.slow_reader),
            ("half closers", &self.half_close),
            ("resetters", &self.reset),
        ];
        for (name, fate) in kinds.into_iter().filter(|(_, fate)| fate.connections > 0) {
            page.line(
                name,
                format!(
                    "{}: {} opened, {} refused; {} ended well, {}, {} unfinished",
                    count(fate.connections as u64),
                    count(fate.opened),
                    count(fate.refused),
                    count(fate.ended_well),
                    paint_if(fate.cut_short > 0, WRONG, format!("{} cut short", count(fate.cut_short))),
                    count(fate.unfinished)
                ),
            );
            page.more(format!(
                "{}, {} bytes sent; {} came back, {}",
                of(fate.requests, "request"),
                count(fate.sent_bytes),
                count(fate.checked_bytes),
                paint_if(fate.wrong_bytes > 0, WRONG, format!("{} wrong", count(fate.wrong_bytes)))
            ));
            if let Some(trouble) = &fate.first_trouble {
                page.more(format!("the first trouble: {trouble}"));
            }
        }
    }
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    SlowReader,
    HalfCloser,
    Resetter,
}

/// What a kind may do in a tick.
#[derive(Debug, Clone, Copy)]
struct Ration {
    /// Connections to open. 400 a second are work for a server, and not much. And the half closers have
    /// at most 24 000 ports in TIME_WAIT, which is less than there are (28 232).
    openings: usize,
    /// Steps of a connection, each with at most [`GULP`] bytes to read. More wait for the next tick,
    /// whatever the server does: one that sends its answers byte by byte cannot keep us awake.
    steps: usize,
}

impl Ration {
    const FULL: Ration = Ration { openings: 4, steps: 32 };
}

/// All of one kind.
#[derive(Debug)]
struct Group {
    members: Range<usize>,
    /// Whose turn it is, because the ration did not suffice for it.
    next: usize,
    ration: Ration,
    fate: Fate,
}

/// Somebody with at most one connection at a time.
#[derive(Debug)]
struct Member {
    kind: Kind,
    start: Start,
    /// Bytes of its stream that went over earlier connections: on the next one others are sent, or an answer
    /// that belongs to an earlier one could not be told from the right one.
    position: u64,
    /// Not to connect before.
    due: Instant,
    link: Option<Link>,
}

/// A connection.
#[derive(Debug)]
struct Link {
    socket: OwnedFd,
    start: Start,
    /// Where in the stream it begins.
    position: u64,
    began: Instant,
    /// When something has last moved.
    moved: Instant,
    connected: bool,
    /// The next step is taken at a tick, and not at an event.
    at_tick: bool,
    sent: u64,
    received: u64,
    /// Of a half closer: it has said that no more will come.
    fin_sent: bool,
    /// Of a resetter: how much of the answer it reads.
    portion: u64,
}

/// What a connection does next.
enum Next {
    Event(EpollFlags),
    Tick,
}

/// How it ended.
enum End {
    Well,
    Refused(String),
    CutShort { words: String, wrong_bytes: u64 },
}

impl End {
    fn cut_short(words: String) -> End {
        End::CutShort { words, wrong_bytes: 0 }
    }
}

impl From<crate::Error> for End {
    fn from(error: crate::Error) -> End {
        End::cut_short(error.to_string())
    }
}

/// Who keeps the company: all members, and what they share.
struct Host<'a> {
    target: SocketAddr,
    sources: &'a [IpAddr],
    next_source: usize,
    size: u64,
    block: Block,
    random: fastrand::Rng,
    epoll: Epoll,
    events: Events,
    buffer: Box<[u8]>,
    members: Vec<Member>,
    /// By kind.
    groups: [Group; 3],
    /// What is left of [`FLOOD`].
    flood: u64,
    next_tick: Instant,
}

impl<'a> Host<'a> {
    fn new(
        target: SocketAddr,
        sources: &'a [IpAddr],
        clients: HostileClients,
        size: u32,
        seed: u64,
    ) -> crate::Result<Host<'a>> {
        // Not the seed of the engine: the streams would be the same as those of the measured connections,
        // and bytes that the server swaps between the two would be right.
        let seed = !seed;
        let size = size.max(1);
        let (block, starts) = Block::new(seed, &Sizes::Fixed(size), clients.connections());
        let mut starts = starts.into_iter();
        let now = Instant::now();
        let mut members = Vec::with_capacity(clients.connections());
        let kinds = [
            (Kind::SlowReader, clients.slow_readers),
            (Kind::HalfCloser, clients.half_closers),
            (Kind::Resetter, clients.resetters),
        ];
        let groups = kinds.map(|(kind, connections)| {
            let first = members.len();
            let starts = starts.by_ref().take(connections);
            members.extend(starts.map(|start| Member { kind, start, position: 0, due: now, link: None }));
            let fate = Fate { connections, ..Fate::default() };
            Group { members: first..members.len(), next: 0, ration: Ration::FULL, fate }
        });
        Ok(Host {
            target,
            sources,
            next_source: 0,
            size: u64::from(size),
            block,
            random: fastrand::Rng::with_seed(seed),
            epoll: Epoll::new()?,
            events: Events::with_capacity(EVENTS),
            buffer: vec![0; GULP].into(),
            members,
            groups,
            flood: FLOOD,
            next_tick: now,
        })
    }

    /// Sleep until something happens or it is time for a tick, and deal with it; `false` when it is time to
    /// end.
    fn turn(&mut self) -> crate::Result<bool> {
        let alone = self.members.is_empty();
        let left = self.next_tick.saturating_duration_since(Instant::now());
        self.epoll.wait(&mut self.events, (!alone).then_some(left))?;
        for k in 0..self.events.len() {
            match self.events.get(k).token {
                STOP => return Ok(false),
                i => self.step(i as usize),
            }
        }
        let now = Instant::now();
        if now >= self.next_tick {
            self.tick(now);
        }
        Ok(true)
    }

    /// Close all connections, with a reset, and say what became of them.
    fn farewell(mut self) -> [Fate; 3] {
        for member in &mut self.members {
            let fate = &mut self.groups[member.kind as usize].fate;
            let Some(link) = member.link.take() else { continue };
            if link.connected {
                let stood = matches!(member.kind, Kind::SlowReader) && link.received > 0;
                *(if stood { &mut fate.ended_well } else { &mut fate.unfinished }) += 1;
            }
            close(link.socket);
        }
        self.groups.map(|group| group.fate)
    }

    fn tick(&mut self, now: Instant) {
        // From now, not from when it was due: ticks that were missed are not made up for in a burst.
        self.next_tick = now + TICK;
        self.flood = FLOOD;
        for kind in 0..self.groups.len() {
            self.groups[kind].ration = Ration::FULL;
            let Group { ref members, next, .. } = self.groups[kind];
            let (first, count) = (members.start, members.len());
            let mut denied = None;
            for i in (0..count).map(|k| (next + k) % count) {
                if !self.attend(first + i, now) {
                    denied.get_or_insert(i);
                }
            }
            self.groups[kind].next = denied.unwrap_or(next + 1);
        }
    }

    /// Do for member `i` what is to be done by the clock; `false` when it has to wait because the ration of
    /// its kind is used up.
    fn attend(&mut self, i: usize, now: Instant) -> bool {
        let member = &self.members[i];
        let ration = &mut self.groups[member.kind as usize].ration;
        match &member.link {
            None if now < member.due => {}
            None if ration.openings == 0 => return false,
            None => {
                ration.openings -= 1;
                self.open(i, now);
            }
            Some(link) if link.at_tick && ration.steps == 0 => return false,
            Some(link) if link.at_tick => self.step(i),
            Some(link) if now.saturating_duration_since(link.moved) >= PATIENCE => {
                let end = self.impatience(link);
                self.part(i, end);
            }
            Some(_) => {}
        }
        true
    }

    fn impatience(&self, link: &Link) -> End {
        match self.size.saturating_sub(link.received) {
            _ if !link.connected => End::Refused(format!("connect: no answer within {PATIENCE:?}")),
            0 => {
                End::cut_short(format!("the answer came, but not within {PATIENCE:?} the end of the stream"))
            }
            missing => End::cut_short(format!("no answer within {PATIENCE:?} ({missing} bytes missing)")),
        }
    }

    /// Begin a connection of member `i`.
    fn open(&mut self, i: usize, now: Instant) {
        let source = (!self.sources.is_empty()).then(|| {
            self.next_source = (self.next_source + 1) % self.sources.len();
            self.sources[self.next_source]
        });
        let portion = self.random.u64(0..=self.size / 2);
        let member = &mut self.members[i];
        match dial(&self.epoll, i, member.kind, source, &self.target) {
            Ok(socket) => {
                member.link = Some(Link {
                    socket,
                    start: member.start,
                    position: member.position,
                    began: now,
                    moved: now,
                    connected: false,
                    at_tick: false,
                    sent: 0,
                    received: 0,
                    fin_sent: false,
                    portion,
                });
            }
            Err(error) => {
                let words = source.map_or(format!("{error}"), |source| format!("from {source}: {error}"));
                self.part(i, End::Refused(words));
            }
        }
    }

    /// Something happened on the connection of member `i`, or it is its turn.
    fn step(&mut self, i: usize) {
        let member = &mut self.members[i];
        let Some(link) = &mut member.link else { return };
        let Group { ration, fate, .. } = &mut self.groups[member.kind as usize];
        if ration.steps == 0 {
            link.at_tick = true; // No event is armed, so it is silent until then.
            return;
        }
        ration.steps -= 1;
        let mut talk = Talk { link, fate, block: &self.block, size: self.size, buffer: &mut self.buffer };
        let result = talk.connected().and_then(|()| match member.kind {
            Kind::SlowReader => talk.flood_and_sip(&mut self.flood),
            Kind::HalfCloser => talk.ask_and_end(),
            Kind::Resetter => talk.ask_and_reset(),
        });
        let armed = result.and_then(|next| {
            link.at_tick = matches!(next, Next::Tick);
            match next {
                Next::Tick => Ok(()),
                Next::Event(flags) => Ok(self.epoll.modify(&link.socket, i as u64, flags | ONCE)?),
            }
        });
        if let Err(end) = armed {
            self.part(i, end);
        }
    }

    /// Member `i` is done with its connection, or with the attempt at one.
    fn part(&mut self, i: usize, end: End) {
        let member = &mut self.members[i];
        let fate = &mut self.groups[member.kind as usize].fate;
        let began = member.link.take().map(|link| {
            member.position += link.sent;
            close(link.socket);
            link.began
        });
        member.due = match end {
            End::Well => began.unwrap_or_else(Instant::now) + TICK,
            End::Refused(_) | End::CutShort { .. } => Instant::now() + RETRY,
        };
        match end {
            End::Well => fate.ended_well += 1,
            End::Refused(words) => {
                fate.refused += 1;
                fate.first_trouble.get_or_insert(words);
            }
            End::CutShort { words, wrong_bytes } => {
                fate.cut_short += 1;
                fate.wrong_bytes += wrong_bytes;
                fate.first_trouble.get_or_insert(words);
            }
        }
    }
}

/// Each event is asked for: who waits for a tick is silent, whatever the server does meanwhile.
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
    socket::set_nodelay(&socket, true)?;
    socket::set_reset_on_close(&socket)?;
    if matches!(kind, Kind::SlowReader) {
        socket::set_receive_buffer(&socket, SLOW_BUFFER)?;
        socket::set_send_buffer(&socket, SLOW_BUFFER)?;
    }
    if let Some(source) = source {
        socket::set_bind_address_no_port(&socket, true)?;
        socket::bind(&socket, &SocketAddr::new(source, 0))?;
    }
    // Also one that stands at once is writable, so that there is one way to go on.
    let _stands = socket::connect(&socket, target)?;
    epoll.add(&socket, i as u64, EpollFlags::EPOLLOUT | ONCE)?;
    Ok(socket)
}

/// A step of a connection, with all that it needs.
struct Talk<'a> {
    link: &'a mut Link,
    fate: &'a mut Fate,
    block: &'a Block,
    size: u64,
    buffer: &'a mut [u8],
}

impl Talk<'_> {
    /// Find out whether it stands, the first time.
    fn connected(&mut self) -> Result<(), End> {
        if self.link.connected {
            return Ok(());
        }
        let fd = self.link.socket.as_raw_fd();
        let error = socket::take_error(&self.link.socket).map_err(|error| End::Refused(error.to_string()))?;
        if let Some(source) = error {
            let error = crate::Error::Call { call: Call::Connect, fd: Some(fd), source };
            return Err(End::Refused(error.to_string()));
        }
        self.link.connected = true;
        self.fate.opened += 1;
        Ok(())
    }

    /// A slow reader: read a little, and ask for more of it than the server can give.
    fn flood_and_sip(&mut self, flood: &mut u64) -> Result<Next, End> {
        if self.receive(GULP)? == Received::End {
            return Err(self.closed());
        }
        // At most a piece each: what is left of the flood is for the others.
        let mut piece = (PIECE as u64).min(*flood);
        while piece > 0 {
            match self.send(piece)? {
                Sent::Bytes(n) => {
                    piece -= n as u64;
                    *flood -= n as u64;
                }
                Sent::NotNow => break,
            }
        }
        Ok(Next::Tick)
    }

    /// A half closer: ask, say that this was all, and read to the end.
    fn ask_and_end(&mut self) -> Result<Next, End> {
        if self.link.sent > 0 && self.receive(GULP)? == Received::End {
            let all = self.link.fin_sent && self.link.received == self.size;
            return Err(if all { End::Well } else { self.closed() });
        }
        let unsent = self.size - self.link.sent;
        if unsent > 0 {
            self.send(unsent.min(GULP as u64))?;
        }
        if self.link.sent < self.size {
            // It is read meanwhile, or the server could not send, and so not read either.
            return Ok(Next::Event(EpollFlags::EPOLLIN | EpollFlags::EPOLLOUT));
        }
        if !self.link.fin_sent {
            socket::shutdown(&self.link.socket, Shutdown::Write)?;
            self.link.fin_sent = true;
        }
        Ok(Next::Event(EpollFlags::EPOLLIN))
    }

    /// A resetter: ask, read a part of the answer, and be off; also when the server takes no more, because
    /// we have not read what it has answered.
    fn ask_and_reset(&mut self) -> Result<Next, End> {
        let unread = self.link.portion - self.link.received;
        if self.link.sent > 0
            && unread > 0
            && self.receive(unread.min(GULP as u64) as usize)? == Received::End
        {
            return Err(self.closed());
        }
        let unsent = self.size - self.link.sent;
        let full = unsent > 0 && self.send(unsent.min(GULP as u64))? == Sent::NotNow;
        let (asked, read) = (self.link.sent == self.size, self.link.received == self.link.portion);
        if read && (asked || full) {
            return Err(End::Well);
        }
        let mut flags = EpollFlags::empty();
        flags.set(EpollFlags::EPOLLIN, !read);
        flags.set(EpollFlags::EPOLLOUT, !asked);
        Ok(Next::Event(flags))
    }

    /// Give the kernel as much as it takes, at most `most` bytes.
    fn send(&mut self, most: u64) -> Result<Sent, End> {
        let link = &mut *self.link;
        let sent = socket::send(&link.socket, self.block.piece(link.start, link.position + link.sent, most))?;
        if let Sent::Bytes(n) = sent {
            let before = link.sent / self.size;
            link.sent += n as u64;
            link.moved = Instant::now();
            self.fate.sent_bytes += n as u64;
            self.fate.requests += link.sent / self.size - before;
        }
        Ok(sent)
    }

    /// Take at most `most` bytes of what has arrived, and check them.
    fn receive(&mut self, most: usize) -> Result<Received, End> {
        let link = &mut *self.link;
        let received = socket::recv(&link.socket, &mut self.buffer[..most])?;
        let Received::Bytes(n) = received else { return Ok(received) };
        self.fate.checked_bytes += n as u64;
        let known = (link.sent - link.received).min(n as u64) as usize;
        if let Some(wrong) =
            self.block.differs(link.start, link.position + link.received, &self.buffer[..known])
        {
            let (at, got, expected) = (wrong.position - link.position, wrong.got, wrong.expected);
            let words = format!("byte {at} came back as 0x{got:02x}, 0x{expected:02x} was sent");
            return Err(End::CutShort { words, wrong_bytes: wrong.bytes + (n - known) as u64 });
        }
        if known < n {
            let words = format!("{} bytes came back that had not been sent", n - known);
            return Err(End::CutShort { words, wrong_bytes: (n - known) as u64 });
        }
        link.received += n as u64;
        link.moved = Instant::now();
        Ok(received)
    }

    fn closed(&self) -> End {
        match self.link.sent - self.link.received {
            0 => End::cut_short("the server closed it first".into()),
            missing => {
                End::cut_short(format!("the server closed it with {missing} bytes of an answer missing"))
            }
        }
    }
}

#[cfg(test)]
mod tests;
