//! One connection of the generator: what it has asked, sent and got back.

use super::plan::{Expect, Plan};
use super::stream::{Block, Place, Start, Wrong};
use super::trouble::{Seen, Unfinished};
use super::wire::Wire;
use fastrand::Rng;
use std::collections::VecDeque;

/// A part of an answer that counts as progress: an answer of a hundred megabytes may take longer than a timeout, and
/// one that comes a byte at a time may not.
const PROGRESS: u64 = 64 << 10;

/// The state of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// There is none: the next request opens it.
    Closed,
    /// It could not be begun, for lack of a local `port` or because nobody listened, and is tried again.
    Waiting { port: bool },
    /// connect(2) was called.
    Connecting,
    /// It is established.
    Open,
    /// We have said that no more will come, and wait for the server to say so too.
    Ending,
    /// It was lost, and is not used again.
    Lost,
}

/// A request whose answer is not complete.
#[derive(Debug, Clone, Copy)]
pub(super) struct Request {
    /// When it was due, in nanoseconds since the engine's start.
    pub(super) intended: u64,
    /// When it was begun.
    pub(super) asked: u64,
    /// When it was sent: when it was begun, or as soon as its connection was established.
    pub(super) sent: u64,
    /// Where in the stream of answers its answer ends.
    end: u64,
}

/// A request without an answer: when it was due, when it was sent (if it was), and how it is counted.
#[derive(Debug, Clone, Copy)]
pub(super) struct Unanswered {
    pub(super) intended: u64,
    pub(super) sent: Option<u64>,
    pub(super) fate: Fate,
}

/// How a request without an answer is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// It was sent, and is already counted as sent.
    Sent,
    /// The server did not accept its connection. It counts as sent, and has not been counted yet.
    NotTaken,
    /// There was no local port for its connection, which is not the server's fault. It counts as unsent.
    Unsent,
}

/// A connection: its streams, its requests and its counts.
pub(super) struct Connection {
    pub(super) state: State,
    /// Where its requests begin in their block.
    start: Start,
    /// Where its answers begin in theirs.
    answer_start: Start,
    /// Sizes of its requests, where these are random.
    random: Rng,
    /// Bytes of all requests that were begun; how many of them the kernel has taken.
    asked: u64,
    taken: u64,
    /// Bytes of the answers to these requests; how many of them came; how many of those belong to complete answers.
    expected: u64,
    received: u64,
    complete: u64,
    /// How many came, and had been taken, before this connection was begun.
    received_before: u64,
    taken_before: u64,
    /// The kernel will tell when it can take more.
    waiting: bool,
    /// The oldest first.
    pub(super) requests: VecDeque<Request>,
    /// While it is not established: how many of the requests, from the oldest on, have been counted as sent, on an earlier
    /// connection.
    counted: usize,
    /// How many requests it may still have before it is closed.
    pub(super) left: u64,
    /// How many connections broke since the last that served all its requests.
    pub(super) broken: u32,
    /// A loss was reported.
    pub(super) reported: bool,
    /// Whether it is in the queue of connections that are free for a request.
    pub(super) queued: bool,
    /// When connect(2) was called.
    pub(super) connect_began: u64,
    /// Answers since it was opened.
    answers: u64,
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
    /// Bytes in all when it was looked at last that had changed, and when that was.
    last: (u64, u64),
}

/// Bytes that are not those that were expected.
#[derive(Debug)]
pub(super) enum Mismatch {
    /// One of them is another byte.
    Wrong(Wrong),
    /// From this one on, they are more than was asked for.
    TooMuch(usize),
}

impl Connection {
    pub(super) fn new(start: Start, expect: Expect, seed: u64, left: u64) -> Connection {
        Connection {
            state: State::Closed,
            start,
            answer_start: if expect == Expect::Ok { Start::ZERO } else { start },
            random: Rng::with_seed(seed),
            asked: 0,
            taken: 0,
            expected: 0,
            received: 0,
            complete: 0,
            received_before: 0,
            taken_before: 0,
            waiting: false,
            requests: VecDeque::new(),
            counted: 0,
            left,
            broken: 0,
            reported: false,
            queued: false,
            connect_began: 0,
            answers: 0,
            answered: 0,
            heard: false,
            stalled: 0,
            progress: Progress::default(),
        }
    }

    /// How long the connection has waited, at `now`, for an answer or for [`PROGRESS`] bytes of a long one. The result is
    /// never too long; it is too short by at most the time between two calls.
    pub(super) fn waits_since(&mut self, now: u64) -> Option<u64> {
        let answer = self.requests.front()?.end;
        let progress = &mut self.progress;
        if self.received != progress.last.0 {
            progress.last = (self.received, now);
        }
        if answer != progress.answer || self.received - progress.received >= PROGRESS {
            let last = (self.received, now);
            *progress = Progress { answer, received: self.received, at: now, last };
        }
        Some(now - progress.at)
    }

    /// How long no byte has come, to the precision of the calls of [`waits_since`](Connection::waits_since).
    pub(super) fn quiet_since(&self, now: u64) -> u64 {
        now - self.progress.last.1
    }

    /// Bytes of answers that have not come.
    #[inline]
    pub(super) fn missing(&self) -> u64 {
        self.expected - self.received
    }

    /// Note a request. It is not sent yet.
    #[inline]
    pub(super) fn ask(&mut self, plan: &Plan, intended: u64, now: u64) {
        let size = plan.sizes.next(&mut self.random);
        self.asked += size;
        self.expected += plan.expect.answer_to(size);
        self.left = self.left.saturating_sub(1);
        self.requests.push_back(Request { intended, asked: now, sent: now, end: self.expected });
    }

    /// Send what has been asked and not sent, as far as the kernel takes it.
    #[inline]
    pub(super) fn send<W: Wire>(&mut self, slot: usize, wire: &mut W, block: &Block) -> crate::Result<()> {
        while self.taken < self.asked && !self.waiting {
            match wire.send(slot, block.range(self.start, self.taken, self.asked - self.taken))? {
                Some(bytes) => self.taken += bytes as u64,
                None => self.waiting = true,
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

    /// Check what has come against the block of answers.
    #[inline]
    pub(super) fn take(&mut self, answers: &Block, bytes: &[u8]) -> Result<(), Mismatch> {
        // Against what was asked, and not what was taken: io_uring(7) may tell of an answer before it tells that the
        // request was sent.
        let known = self.missing().min(bytes.len() as u64) as usize;
        if let Some(wrong) = answers.differs(self.answer_start, self.received, &bytes[..known]) {
            return Err(Mismatch::Wrong(wrong));
        }
        self.received += known as u64;
        if known < bytes.len() {
            return Err(Mismatch::TooMuch(known));
        }
        Ok(())
    }

    /// The requests that are under way.
    pub(super) fn unanswered(&self) -> impl Iterator<Item = Unanswered> {
        let (state, counted) = (self.state, self.counted);
        self.requests.iter().enumerate().map(move |(i, &Request { intended, sent, .. })| Unanswered {
            intended,
            sent: (state == State::Open).then_some(sent),
            fate: match state {
                State::Open | State::Ending => Fate::Sent,
                _ if i < counted => Fate::Sent,
                State::Waiting { port: true } => Fate::Unsent,
                _ => Fate::NotTaken,
            },
        })
    }

    /// It is established at `now`: its requests are sent. When those were due that have not been counted as sent.
    pub(super) fn established(&mut self, now: u64) -> impl Iterator<Item = u64> {
        self.state = State::Open;
        self.requests.iter_mut().for_each(|request| request.sent = now);
        let counted = std::mem::take(&mut self.counted);
        self.requests.iter().skip(counted).map(|request| request.intended)
    }

    /// The oldest request, if its answer is complete.
    #[inline]
    pub(super) fn answer(&mut self) -> Option<Request> {
        let request = *self.requests.front()?;
        if request.end > self.received {
            return None;
        }
        self.complete = request.end;
        self.answers += 1;
        self.requests.pop_front()
    }

    /// connect(2) is about to be called.
    pub(super) fn begin(&mut self) {
        self.state = State::Connecting;
        self.received_before = self.received;
        self.taken_before = self.taken;
    }

    /// Whether no byte came back since it was begun.
    pub(super) fn has_had_nothing(&self) -> bool {
        self.received == self.received_before
    }

    /// It could not be used. Its requests, of which no byte has come back, are for another connection.
    pub(super) fn send_again(&mut self, state: State) {
        if self.state == State::Open {
            self.counted = self.requests.len();
        }
        self.state = state;
        self.taken = self.taken_before;
        self.waiting = false;
    }

    /// It has been closed.
    pub(super) fn closed(&mut self, state: State) {
        self.state = state;
        // What a lost connection had asked may still come back on another one.
        if state != State::Lost {
            self.asked = self.received;
        }
        self.taken = self.received;
        self.expected = self.received;
        self.complete = self.received;
        self.waiting = false;
        self.answers = 0;
        self.counted = 0;
        self.requests.clear();
    }

    /// Where the next byte of an answer is in its stream.
    pub(super) fn received(&self) -> u64 {
        self.received
    }

    /// Whether no part of an answer has come.
    pub(super) fn is_between_answers(&self) -> bool {
        self.received == self.complete
    }

    /// How far from `position` its stream has the bytes of that place: earlier (below 0) or later. `None` when they are not
    /// among the bytes that it has asked for.
    pub(super) fn distance(&self, block: &Block, position: u64, place: Place) -> Option<i64> {
        let by = block.distance(self.start, position, place);
        position.checked_add_signed(by).is_some_and(|at| at < self.asked).then_some(by)
    }

    /// What it has seen until now.
    pub(super) fn seen(&self, answers: &Block, expect: Expect) -> Seen {
        let answer = self.requests.front().filter(|request| request.end > self.received).map(|request| {
            let came = self.received - self.complete;
            let part = answers.piece(self.answer_start, self.complete, came);
            Unfinished {
                came,
                size: request.end - self.complete,
                last: part.last().copied(),
                next: answers.piece(self.answer_start, self.received, 1)[0],
                first_zero: !part.contains(&0),
            }
        });
        Seen { answers: self.answers, answer, expect }
    }
}
