//! What a check works with: the server, clients, chance, and a log of what was said.

use super::client::Client;
use super::log::Log;
use super::server::{Launch, Server};
use super::{Ended, Step};
use crate::lab::child::Failed;
use crate::lab::results::check::Expect;
use crate::stop::Stop;
use crate::sys::limits::Nofile;
use crate::sys::poll::{PollFlags, PollSet};
use crate::sys::signal::Signal;
use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long an answer may take. On a busy machine a server may have no processor for a while.
pub(super) const TO_ANSWER: Duration = Duration::from_secs(5);

/// How long a check may take in all. A server that sends a byte every few seconds would hold it for hours.
pub(super) const ALL: Duration = Duration::from_secs(90);

/// A check while it is made.
pub(super) struct Session<'a> {
    pub(super) addr: SocketAddr,
    /// Of a program that was started for this check.
    pub(super) started: Option<Started<'a>>,
    pub(super) expect: Expect,
    /// How many clients the server serves at the same time, at least.
    pub(super) at_once: usize,
    pub(super) stop: &'a Stop,
    /// What several checks of one server find out together.
    pub(super) shared: &'a Shared,
    /// When the check must be done.
    pub(super) until: Cell<Instant>,
    /// How long the check may take in all.
    pub(super) limit: Duration,
    /// Whether an answer that stops may be put down to [`EDGE`](super::EDGE).
    pub(super) tries_another_byte: bool,
    pub(super) rng: RefCell<fastrand::Rng>,
    pub(super) log: RefCell<Log>,
    pub(super) clients: Cell<usize>,
}

/// A server that was started, and how.
#[derive(Clone, Copy)]
pub(super) struct Started<'a> {
    pub(super) server: &'a Server,
    pub(super) launch: Launch<'a>,
}

/// What several checks of one server find out together.
#[derive(Debug, Default)]
pub(super) struct Shared {
    pub(super) churn: Mutex<Option<super::checks::Churned>>,
    /// Checks with many clients are made one after another, because descriptors are few.
    many_clients: Mutex<()>,
}

impl<'a> Session<'a> {
    /// The process of the server.
    ///
    /// # Panics
    ///
    /// In a check that does not say that it needs it.
    pub(super) fn server(&self) -> &'a Server {
        self.started().server
    }

    pub(super) fn started(&self) -> Started<'a> {
        self.started.expect("a check that needs the process of the server says so")
    }

    /// A client that has connected, whose conversation is logged.
    pub(super) fn connect(&self) -> Step<Client<'_>> {
        Client::connect(self, |_| Ok(()), true)
    }

    /// The same for one whose conversation is not logged.
    pub(super) fn connect_unlogged(&self) -> Step<Client<'_>> {
        Client::connect(self, |_| Ok(()), false)
    }

    /// So many clients, not logged, each of which has got an answer before the next one connects: there is another check for a queue
    /// of listen(2) that is too short for them.
    pub(super) fn crowd(&self, clients: usize) -> Step<Vec<Client<'_>>> {
        self.say(format!("{clients} clients connect; each gets an answer before the next one connects"));
        let one = |i: usize| {
            let client = self.connect_unlogged()?;
            client.ask(b"first").map_err(|ended| ended.at(&format!("client {} of {clients}", i + 1)))?;
            Ok(client)
        };
        (0..clients).map(one).collect()
    }

    /// A new client gets its answer.
    pub(super) fn serves_another(&self) -> Step {
        let client = self.connect()?;
        client.ask(b"another client").map_err(|ended| ended.at("another client afterwards"))
    }

    /// A new client gets its answer, if not the first then one that comes soon: a server that had no descriptor closes a client or two
    /// before it notices that it has some again.
    pub(super) fn serves_another_soon(&self) -> Step {
        let mut last = Ok(());
        self.within(TO_ANSWER, || {
            last = self.connect().and_then(|client| client.ask(b"another client"));
            let is_over = match &last {
                Err(Ended::Failed(fault)) => fault.is_late || self.server().has_ended(),
                _ => true,
            };
            Ok(is_over)
        })?;
        last.map_err(|ended| ended.at("another client afterwards"))
    }

    /// Descriptors for so many clients, until the guard is dropped. Another check that needs many is waited for.
    pub(super) fn room_for(&self, clients: usize) -> Step<MutexGuard<'a, ()>> {
        /// Of checks that are made at the same time, which a server that runs already does not have, and of this program.
        const OTHERS: [u64; 2] = [600, 20];
        let limit = Nofile::current()?;
        let needed = clients as u64 + OTHERS[usize::from(self.started.is_none())];
        if limit.soft < needed {
            return Err(Ended::NotMade(format!(
                "for {clients} clients the checks need {needed} descriptors: {limit}"
            )));
        }
        let room = self.shared.many_clients.lock().unwrap_or_else(PoisonError::into_inner);
        self.starts_now();
        Ok(room)
    }

    /// The time in which the check waited for another one does not count.
    pub(super) fn starts_now(&self) {
        self.until.set(Instant::now() + self.limit);
    }

    /// A line of the conversation.
    pub(super) fn say(&self, line: impl Into<String>) {
        self.log.borrow_mut().push(line.into());
    }

    /// A signal to the process that listens.
    pub(super) fn signal(&self, signal: Signal) -> Step {
        self.say(format!("the server gets {signal}"));
        Ok(self.server().signal(signal)?)
    }

    /// Wait until the server waits. One that never does gets as much time as it takes to do what it has to do: `false`.
    pub(super) fn until_it_waits(&self) -> Step<bool> {
        match self.started {
            Some(Started { server, .. }) => server.until_it_waits(self.stop),
            None => self.pause(Duration::from_millis(100)).map(|()| true),
        }
    }

    /// Stop the server while it waits, do something, and let it go on.
    pub(super) fn while_stopped(&self, with: Signal, meanwhile: impl FnOnce() -> Step) -> Step {
        // One that is stopped in the middle of its work would find in it what comes meanwhile, without a further event.
        self.until_it_waits()?;
        self.say(format!("the server gets {with}"));
        let is_stopped = self.server().stop_with(with)?;
        if !is_stopped && !self.server().has_ended() {
            self.say(format!("the server handles {with}, and is not stopped by it"));
        }
        let done = meanwhile().map_err(|ended| match ended {
            Ended::Failed(fault) if fault.is_late => Ended::NotMade(format!(
                "while the server was stopped, its queue had no room for the clients ({}); see backlog/200",
                fault.observed
            )),
            ended => ended,
        });
        self.say(format!("the server gets {}", Signal::SIGCONT));
        self.server().signal_all(Signal::SIGCONT)?;
        done
    }

    /// Printable text without spaces, different at each call.
    pub(super) fn text(&self, bytes: usize) -> Vec<u8> {
        let mut rng = self.rng.borrow_mut();
        (0..bytes).map(|_| rng.alphanumeric() as u8).collect()
    }

    /// A number of that range by chance.
    pub(super) fn chance(&self, range: std::ops::Range<usize>) -> usize {
        self.rng.borrow_mut().usize(range)
    }

    /// Wait until the descriptor is ready; `false` when that takes longer than `limit`.
    pub(super) fn ready(&self, fd: impl AsFd, events: PollFlags, limit: Duration) -> Step<bool> {
        let left = self.until.get().saturating_duration_since(Instant::now());
        let mut set = PollSet::new();
        let slot = set.push(fd, events);
        let stop = set.push(self.stop, PollFlags::POLLIN);
        set.wait(Some(limit.min(left)))?;
        if !set.revents(stop).is_empty() {
            return Err(Ended::Interrupted);
        }
        if Instant::now() >= self.until.get() {
            let seconds = self.limit.as_secs();
            return Err(Ended::NotMade(format!(
                "it was not done after {seconds} s: each answer came in time, but slowly"
            )));
        }
        Ok(!set.revents(slot).is_empty())
    }

    /// Wait that long, unless a stop comes.
    pub(super) fn pause(&self, pause: Duration) -> Step {
        if self.stop.wait(Some(pause))? { Err(Ended::Interrupted) } else { Ok(()) }
    }

    /// Wait until something is so; `false` when it is not within `limit`.
    pub(super) fn within(&self, limit: Duration, mut is_so: impl FnMut() -> Step<bool>) -> Step<bool> {
        let until = Instant::now() + limit;
        loop {
            if is_so()? {
                return Ok(true);
            }
            if Instant::now() > until {
                return Ok(false);
            }
            self.pause(Duration::from_millis(1))?;
        }
    }
}

impl From<Failed> for Ended {
    fn from(failed: Failed) -> Ended {
        match failed {
            Failed::Interrupted => Ended::Interrupted,
            Failed::Error(error) => error.into(),
        }
    }
}
