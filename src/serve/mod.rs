//! What the loops share: what to serve, whom to accept, who is connected, and the end.
//!
//! This is straight work. The branches that make a model what it is stay in its own file.
//!
//! # In reading order
//!
//! - [`Job`] is what a model is asked to do; a [`Worker`] is who does it.
//! - [`Acceptor`] takes clients from the listener, and gives the [`Next`]. It says why it has [`Paused`], and keeps to [`MaxClients`].
//! - [`ByFd`] finds the clients of a loop by descriptor, and [`Slots`] those of several threads.
//! - [`Sleepers`] are threads in blocking calls, which have to be woken to stop.
//! - [`children`]: a process for each client.
//! - [`workers`]: a fixed number of threads or processes.
//! - [`finish`] ends a server within [`FLUSH_GRACE`], and gives the [`Totals`], with the [`Share`] of each worker.

mod acceptor;
mod by_fd;
pub mod children;
mod ending;
mod job;
mod max_clients;
mod sleepers;
mod slots;
pub mod workers;

pub use acceptor::{Acceptor, Next, Paused};
pub use by_fd::ByFd;
pub use ending::{FLUSH_GRACE, finish};
pub use job::{Job, Worker};
pub use max_clients::MaxClients;
pub use sleepers::Sleepers;
pub use slots::Slots;

use crate::echo::Traffic;
use crate::error::Error;
use crate::sys::{Call, Errno};
use std::ops::AddAssign;

/// What a server has done, told when it ends.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Totals {
    /// Clients accepted.
    pub connections: u64,
    /// Pieces received from clients and answered: one for each recv(2) that found bytes.
    pub requests: u64,
    /// Bytes received from them.
    pub bytes_in: u64,
    /// Bytes of answers that the kernel took.
    pub bytes_out: u64,
    /// How often accepting was paused, for lack of a descriptor, a thread or a process, or at the limit on clients. Retries that
    /// accepted nobody are not counted.
    pub times_full: u64,
    /// Worker processes that ended before the server did, and were replaced.
    pub replaced: u64,
    /// Processes that did not end when they were told to, and were killed.
    pub killed: u64,
    /// The share of each worker, for models that have workers.
    pub workers: Vec<Share>,
}

/// What one worker did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Share {
    /// Clients that it served.
    pub connections: u64,
    /// Pieces that it received and answered.
    pub requests: u64,
}

impl Totals {
    /// These totals as those of one of several workers.
    #[must_use]
    pub fn of_worker(mut self) -> Totals {
        self.workers = vec![Share { connections: self.connections, requests: self.requests }];
        self
    }

    /// Write what one process has done where its parent can read it.
    #[inline]
    pub(crate) fn publish(&self, traffic: &Traffic) {
        let Totals { connections, requests, bytes_in, bytes_out, times_full, .. } = *self;
        traffic.set([connections, requests, bytes_in, bytes_out, times_full, 0]);
    }

    /// What a process has published.
    pub(crate) fn published(traffic: &Traffic) -> Totals {
        let [connections, requests, bytes_in, bytes_out, times_full, _] = traffic.values();
        Totals { connections, requests, bytes_in, bytes_out, times_full, ..Totals::default() }
    }
}

/// Which number of [`Traffic`] says why a process has ended: the call and the errno, or 0.
const FAILURE: usize = 5;

/// Tell the parent of this process why it ends. Only a failed call can be told.
fn publish_failure(error: &Error, traffic: &Traffic) {
    if let Error::Call { call, source, .. } = error {
        traffic.put(FAILURE, ((*call as u64) << 32) | *source as u64);
    }
}

/// Why a process has ended, if it has told.
fn published_failure(traffic: &Traffic) -> Option<Error> {
    let failure = traffic.values()[FAILURE];
    let call = *Call::ALL.get((failure >> 32) as usize)?;
    (failure != 0).then_some(Error::Call { call, fd: None, source: Errno::from_raw(failure as i32) })
}

impl AddAssign for Totals {
    fn add_assign(&mut self, other: Totals) {
        self.connections += other.connections;
        self.requests += other.requests;
        self.bytes_in += other.bytes_in;
        self.bytes_out += other.bytes_out;
        self.times_full += other.times_full;
        self.replaced += other.replaced;
        self.killed += other.killed;
        self.workers.extend(other.workers);
    }
}
