//! Child processes of a server: started, counted, collected, ended. None is left behind.

use super::{FLUSH_GRACE, Totals, publish_failure, published_failure};
use crate::Result;
use crate::echo::{Conn, Pump, Traffic, Until, Want};
use crate::error::Error;
use crate::observer::Observer;
use crate::sys::eventfd::EventFd;
use crate::sys::fork::{Fork, Pid, die_with_parent, exit_child, fork_and_tell, kill, reap, this_process};
use crate::sys::poll::{PollFlags, wait_for};
use crate::sys::signal::{self, Blocked, Signal};
use crate::sys::socket::{Shutdown, shutdown};
use std::collections::HashMap;
use std::os::fd::{AsFd, BorrowedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

/// The children of this process that live.
#[derive(Debug)]
pub struct Children {
    /// What each tells of its work.
    traffic: HashMap<Pid, &'static Traffic>,
    ended: &'static EventFd,
}

/// Who we are after [`Children::fork`].
#[derive(Debug)]
pub enum Forked {
    /// The parent; this is the number of the child.
    Parent(Pid),
    /// The new process.
    Child(Child),
}

/// A child that has just been forked. Signals that would end it are blocked, because the handlers are still the parent's.
#[derive(Debug)]
pub struct Child {
    parent: Pid,
    traffic: &'static Traffic,
    blocked: Blocked,
}

/// A child that has ended.
#[derive(Debug)]
pub struct Ended {
    /// Its number, which another process may get now.
    pub pid: Pid,
    /// What it did: clients, requests and bytes.
    pub totals: Totals,
    /// The call for whose failure it ended, if that is why.
    pub failure: Option<Error>,
}

impl Children {
    /// None yet. From now on SIGCHLD tells of their ends.
    ///
    /// # Errors
    ///
    /// `EMFILE`, `ENOMEM`.
    pub fn new() -> Result<Children> {
        Ok(Children { traffic: HashMap::new(), ended: signal::children()? })
    }

    /// Split this process in two.
    ///
    /// # Errors
    ///
    /// [`Error::Threads`] in a process with several threads. `EAGAIN` at a limit on processes, `ENOMEM`.
    pub fn fork(&mut self) -> Result<Forked> {
        let parent = this_process();
        // A signal for the child that comes before its own handlers waits until they are there.
        let blocked = signal::block(&[Signal::SIGTERM, Signal::SIGINT, Signal::SIGCHLD])?;
        let (who, traffic) = fork_and_tell()?;
        Ok(match who {
            Fork::Parent(pid) => {
                self.traffic.insert(pid, traffic);
                Forked::Parent(pid)
            }
            Fork::Child => Forked::Child(Child { parent, traffic, blocked }),
        })
    }

    /// Take the status of all that have ended, so that none stays as a zombie, and tell `ended` of each.
    ///
    /// # Errors
    ///
    /// None in practice.
    pub fn collect(&mut self, mut ended: impl FnMut(Ended)) -> Result<()> {
        self.ended.take()?;
        while let Some(pid) = reap()? {
            // It may be a child that somebody else has started.
            if let Some(traffic) = self.traffic.remove(&pid) {
                ended(Ended { pid, totals: Totals::published(traffic), failure: published_failure(traffic) });
            }
        }
        Ok(())
    }

    /// Tell all to end by SIGTERM, wait until they have, and after [`FLUSH_GRACE`] kill those that have not. `ended` is told of
    /// each, as in [`collect`](Children::collect). Returns how many were killed.
    ///
    /// # Errors
    ///
    /// None in practice.
    pub fn end(&mut self, mut ended: impl FnMut(Ended)) -> Result<usize> {
        let mut told = 0;
        // Each of them may take as long as that for its own clients.
        for (order, grace) in
            [(Signal::SIGTERM, FLUSH_GRACE + FLUSH_GRACE / 2), (Signal::SIGKILL, FLUSH_GRACE)]
        {
            told = self.traffic.len();
            self.traffic.keys().try_for_each(|&pid| kill(pid, order))?;
            let until = Instant::now() + grace;
            let left = || until.saturating_duration_since(Instant::now());
            while !self.traffic.is_empty() && !left().is_zero() {
                wait_for(self.ended, PollFlags::POLLIN, Some(left()))?;
                self.collect(&mut ended)?;
            }
        }
        Ok(told)
    }
}

/// Readable when a child has ended and was not [collected](Children::collect).
impl AsFd for Children {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.ended.as_fd()
    }
}

/// In a child: let SIGTERM end a recv(2) or recvmsg(2) from this socket, also if it came already.
pub(crate) fn shut_reading_at_hang_up(socket: &impl AsFd) {
    signal::hang_up_shuts(Some(socket.as_fd()));
    if signal::hung_up().is_some() {
        shutdown(socket, Shutdown::Read).ok();
    }
}

/// In a child: serve this client, with blocking calls, until it leaves. At SIGTERM it comes back instead, to be
/// [finished](super::finish), when what has arrived is answered.
pub(crate) fn until_hang_up<O: Observer>(pump: &mut Pump<O>, mut conn: Conn) -> Option<Conn> {
    shut_reading_at_hang_up(&conn);
    while pump.pump(&mut conn, Until::OneRead) != Want::Close && signal::hung_up().is_none() {}
    signal::hang_up_shuts(None);
    if signal::hung_up().is_some() {
        return Some(conn);
    }
    conn.close();
    None
}

impl Drop for Children {
    fn drop(&mut self) {
        // After an error of the loop, which is what the caller will hear of.
        self.end(|_| {}).ok();
    }
}

impl Child {
    /// Do `work` with the row in which the parent reads what was done, and end this process. SIGTERM does from now on what
    /// [`signal::hang_up_shuts`] says; the death of the parent ends this process at once.
    pub fn run(self, work: impl FnOnce(&'static Traffic) -> Result<()>) -> ! {
        let Child { parent, traffic, blocked } = self;
        let life = || {
            // Ctrl-C goes to every process of the terminal; the parent will tell us with SIGTERM.
            signal::ignore(Signal::SIGINT)?;
            signal::on(&[Signal::SIGTERM]).hang_up()?;
            signal::default(Signal::SIGCHLD)?;
            drop(blocked);
            if die_with_parent(parent, Signal::SIGKILL)? { work(traffic) } else { Ok(()) }
        };
        let life = || life().inspect_err(|error| publish_failure(error, traffic));
        // A panic must not unwind into what the caller does after serving.
        exit_child(match catch_unwind(AssertUnwindSafe(life)) {
            Ok(Ok(())) => 0,
            Ok(Err(_)) => 1,
            Err(_) => 101,
        })
    }
}
