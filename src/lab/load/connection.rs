//! One connection of the generator: what it has asked, sent and got back, and what can go wrong.

use super::plan::Sizes;
use super::stream::{Block, Start, Wrong};
use super::wire::Wire;
use crate::sys::Errno;
use fastrand::Rng;
use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

/// A part of an answer that counts as progress: an answer of a hundred megabytes may take longer than a timeout, and
/// one that comes a byte at a time may not.
const PROGRESS: u64 = 64 << 10;

/// How far a connection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// There is none: the next request opens it.
    Closed,
    /// It has been begun.
    Connecting,
    /// It stands.
    Open,
    /// We have said that no more will come, and wait for the server to say so too.
    Ending,
    /// It was lost, and stays so.
    Lost,
}

/// A request whose answer is not complete.
#[derive(Debug, Clone, Copy)]
pub(super) struct Request {
    /// When it was to be sent, in nanoseconds since the engine's start.
    pub(super) intended: u64,
    /// When it was begun.
    pub(super) asked: u64,
    /// When it was sent: then, or as soon as its connection stood.
    pub(super) sent: u64,
    /// Where in the stream its answer ends.
    end: u64,
}

/// A request without an answer: when it was to be sent, and when it was, if it was.
#[derive(Debug, Clone, Copy)]
pub(super) struct Unanswered {
    pub(super) intended: u64,
    pub(super) sent: Option<u64>,
}

/// What one connection knows.
pub(super) struct Connection {
    pub(super) state: State,
    start: Start,
    /// Sizes of its requests, where these are random.
    random: Rng,
    /// Bytes of all requests that were begun; how many of them the kernel has taken; how many came back.
    asked: u64,
    taken: u64,
    received: u64,
    /// The kernel will tell when it can take more.
    waiting: bool,
    /// The oldest first.
    pub(super) requests: VecDeque<Request>,
    /// How many requests it may still have before it is closed.
    pub(super) left: u64,
    /// Whether it stands in the queue of those that are free for a request.
    pub(super) queued: bool,
    /// When it was begun.
    pub(super) connect_began: u64,
    /// Requests answered while the clock ran.
    pub(super) answered: u64,
    /// Whether one was answered in this slice of half a second.
    pub(super) heard: bool,
    /// Slices in which none was, although one was asked for all of it.
    pub(super) stalled: u32,
    progress: Progress,
}

/// What a connection had received when it was last seen to make progress.
#[derive(Default)]
struct Progress {
    /// Where the answer ends that it waits for.
    answer: u64,
    /// Bytes in all.
    received: u64,
    /// When that was, on the engine's clock for this.
    at: u64,
}

impl Connection {
    pub(super) fn new(start: Start, seed: u64, left: u64) -> Connection {
        Connection {
            state: State::Closed,
            start,
            random: Rng::with_seed(seed),
            asked: 0,
            taken: 0,
            received: 0,
            waiting: false,
            requests: VecDeque::new(),
            left,
            queued: false,
            connect_began: 0,
            answered: 0,
            heard: false,
            stalled: 0,
            progress: Progress::default(),
        }
    }

    /// How long the connection has waited, at `now`, for an answer or for [`PROGRESS`] bytes of a long one. It is known
    /// only as exactly as this is called, and never too long.
    pub(super) fn waits_since(&mut self, now: u64) -> Option<u64> {
        let answer = self.requests.front()?.end;
        let progress = &mut self.progress;
        if answer != progress.answer || self.received - progress.received >= PROGRESS {
            *progress = Progress { answer, received: self.received, at: now };
        }
        Some(now - progress.at)
    }

    /// Bytes of answers that have not come.
    #[inline]
    pub(super) fn missing(&self) -> u64 {
        self.asked - self.received
    }

    /// Note a request. It is not sent yet.
    #[inline]
    pub(super) fn ask(&mut self, sizes: &Sizes, intended: u64, now: u64) {
        self.asked += sizes.next(&mut self.random);
        self.left = self.left.saturating_sub(1);
        self.requests.push_back(Request { intended, asked: now, sent: now, end: self.asked });
    }

    /// Send what has been asked and not sent, as far as the kernel takes it.
    #[inline]
    pub(super) fn send<W: Wire>(&mut self, slot: usize, wire: &mut W, block: &Block) -> Result<(), Trouble> {
        while self.taken < self.asked && !self.waiting {
            match wire.send(slot, block.range(self.start, self.taken, self.asked - self.taken)) {
                Ok(Some(bytes)) => self.taken += bytes as u64,
                Ok(None) => self.waiting = true,
                Err(error) => return Err(Trouble::Failed(error)),
            }
        }
        Ok(())
    }

    /// The kernel has taken so many bytes more, and can take others.
    #[inline]
    pub(super) fn took(&mut self, bytes: u64) {
        self.taken += bytes;
        self.waiting = false;
    }

    /// Check what has come.
    #[inline]
    pub(super) fn take(&mut self, block: &Block, bytes: &[u8]) -> Result<(), Trouble> {
        // Against what was asked, and not what was taken: io_uring(7) may tell of an answer before it tells that the
        // request was sent.
        let known = self.missing().min(bytes.len() as u64) as usize;
        if let Some(wrong) = block.differs(self.start, self.received, &bytes[..known]) {
            let at = (wrong.position - self.received) as usize;
            let displaced = block.displaced(self.start, wrong.position, &bytes[at..]);
            return Err(Trouble::Wrong { wrong, displaced });
        }
        self.received += known as u64;
        if known < bytes.len() {
            let again = block.displaced(self.start, self.received, &bytes[known..]).is_some_and(|by| by < 0);
            return Err(Trouble::TooMuch { bytes: bytes.len() - known, again });
        }
        Ok(())
    }

    /// The requests that are under way.
    pub(super) fn unanswered(&self) -> impl Iterator<Item = Unanswered> {
        let is_open = self.state == State::Open;
        self.requests.iter().map(move |&Request { intended, sent, .. }| Unanswered {
            intended,
            sent: is_open.then_some(sent),
        })
    }

    /// The oldest request, if its answer is complete.
    #[inline]
    pub(super) fn answer(&mut self) -> Option<Request> {
        let complete = self.requests.front().is_some_and(|request| request.end <= self.received);
        if complete { self.requests.pop_front() } else { None }
    }

    /// It has been closed. Requests that were under way.
    pub(super) fn closed(&mut self, state: State) -> usize {
        self.state = state;
        self.asked = self.received;
        self.taken = self.received;
        self.waiting = false;
        let under_way = self.requests.len();
        self.requests.clear();
        under_way
    }
}

/// Why a connection is lost.
#[derive(Debug)]
pub(super) enum Trouble {
    NotConnected(crate::Error),
    Closed { missing: u64 },
    Failed(crate::Error),
    Wrong { wrong: Wrong, displaced: Option<i64> },
    TooMuch { bytes: usize, again: bool },
    Silent { missing: u64, patience: Duration },
    NoConnection { timeout: Duration },
    Slow { missing: u64, limit: Duration },
    NotOpened,
}

impl Trouble {
    /// Bytes that came back and were not those that had been sent.
    pub(super) fn wrong_bytes(&self) -> u64 {
        match self {
            Trouble::Wrong { wrong, .. } => wrong.bytes,
            Trouble::TooMuch { bytes, .. } => *bytes as u64,
            _ => 0,
        }
    }

    /// What the server did, in a word.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Trouble::NotConnected(_) | Trouble::NoConnection { .. } => "refused",
            Trouble::Closed { .. } => "closed",
            Trouble::Failed(error) if error.errno() == Some(Errno::ECONNRESET) => "reset",
            Trouble::Failed(_) => "failed",
            Trouble::Wrong { displaced: Some(..0), .. } | Trouble::TooMuch { again: true, .. } => "repeated",
            Trouble::Wrong { displaced: Some(_), .. } => "dropped",
            Trouble::Wrong { displaced: None, .. } => "corrupted",
            Trouble::TooMuch { again: false, .. } => "unasked",
            Trouble::Silent { .. } => "silent",
            Trouble::Slow { .. } => "slow",
            Trouble::NotOpened => "not opened",
        }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Trouble::NotConnected(error) => match error.errno() {
                Some(Errno::ECONNREFUSED) => {
                    write!(f, "{error}; nobody listens there: is the server running?")
                }
                Some(Errno::EADDRNOTAVAIL) => write!(
                    f,
                    "{error}; all local ports towards it are in use: give more --sources, or see \
                     net.ipv4.ip_local_port_range"
                ),
                Some(Errno::EMFILE) => write!(f, "{error}; no descriptor is left: see `ulimit -n`"),
                _ => write!(f, "{error}"),
            },
            Trouble::Closed { missing: 0 } => write!(f, "the server closed it between two requests"),
            Trouble::Closed { missing } => {
                write!(f, "the server closed it with {missing} bytes of an answer missing")
            }
            Trouble::Failed(error) => write!(f, "{error}"),
            Trouble::Wrong { wrong: Wrong { position, expected, got, bytes }, displaced } => {
                write!(
                    f,
                    "byte {position} came back as 0x{got:02x}, 0x{expected:02x} was sent ({bytes} wrong in this \
                     piece); "
                )?;
                match displaced {
                    Some(by @ ..0) => {
                        write!(f, "they had come {} bytes earlier: an answer was repeated", -by)
                    }
                    Some(by) => write!(f, "they belong {by} bytes later: {by} bytes were dropped"),
                    None => write!(f, "is it an echo server?"),
                }
            }
            Trouble::TooMuch { bytes, again: true } => {
                write!(f, "{bytes} bytes came back that had not been sent: an answer was repeated")
            }
            Trouble::TooMuch { bytes, again: false } => {
                write!(f, "{bytes} bytes came back that had not been sent")
            }
            Trouble::Silent { missing, patience } => write!(
                f,
                "no answer within {patience:?} ({missing} bytes missing); is it too slow for --timeout, or: \
                 does the server serve several clients at once?"
            ),
            Trouble::NoConnection { timeout } => write!(
                f,
                "connect: no answer within {timeout:?}; is the address right, and the server's listen queue not full?"
            ),
            Trouble::Slow { missing, limit } => {
                write!(f, "not answered in full after {} s ({missing} bytes missing)", limit.as_secs())
            }
            Trouble::NotOpened => write!(f, "not used, because others had no answer"),
        }
    }
}
