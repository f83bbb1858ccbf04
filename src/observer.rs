//! What a loop tells while it runs: who came, what was said, who left.
//!
//! A server that only serves has [`Notices`], whose calls for clients compile to nothing. The course's programs print what they
//! are told, which is all that makes `tcppoll` of the model `poll`.
//!
//! ```
//! use io_models::{echo::Reply, initserver::initserver, model::poll, observer::Observer, serve::Job, stop};
//! use std::{net::{SocketAddr, TcpStream}, os::fd::RawFd, sync::mpsc};
//!
//! struct Visitors<'a>(mpsc::Sender<SocketAddr>, &'a stop::Stopper);
//!
//! impl Observer for Visitors<'_> {
//!     fn accepted(&mut self, _: RawFd, peer: Option<SocketAddr>) {
//!         peer.map(|peer| self.0.send(peer).expect("there is a receiver"));
//!     }
//!     fn left(&mut self, _: RawFd, _: io_models::Result<()>) {
//!         self.1.stop().expect("the loop is there");
//!     }
//! }
//!
//! let listener = initserver("127.0.0.1:0".parse()?)?;
//! let client = TcpStream::connect(listener.addr())?;
//! let ours = client.local_addr()?;
//! drop(client);
//! let (stopper, stop) = stop::pair()?;
//! let (visitor, visitors) = mpsc::channel();
//! poll::serve(Job::new(listener, &stop, Reply::Echo).observed(&|_| Visitors(visitor.clone(), &stopper)))?;
//! assert_eq!(visitors.recv()?, ours);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use crate::error::{Error, Result};
use crate::serve::{Paused, Worker};
use std::net::SocketAddr;
use std::os::fd::RawFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Is told what happens, as it happens. What is not overridden is ignored.
///
/// A method that waits makes all clients of the loop wait.
pub trait Observer {
    /// A client was accepted, and is served from now on. The models over io_uring do not know where it is, and their clients have no
    /// descriptor: `fd` is then the number of a slot of the ring.
    fn accepted(&mut self, fd: RawFd, peer: Option<SocketAddr>) {
        let _ = (fd, peer);
    }

    /// These bytes of a client were received.
    fn received(&mut self, fd: RawFd, bytes: &[u8]) {
        let _ = (fd, bytes);
    }

    /// They are being answered with these. (What the kernel did not take at once follows by itself.)
    fn answered(&mut self, fd: RawFd, bytes: &[u8]) {
        let _ = (fd, bytes);
    }

    /// A client has ended its stream, or its connection has failed; it is closed next. Clients that are still connected when
    /// the server stops may get no such call: [`stopping`](Observer::stopping) is for all of them.
    fn left(&mut self, fd: RawFd, how: Result<()>) {
        let _ = (fd, how);
    }

    /// Clients wait to be accepted, and cannot be for now.
    fn paused(&mut self, why: Paused) {
        let _ = why;
    }

    /// Call [`heard_nothing`](Observer::heard_nothing) after this long without an event; `None`: never.
    fn idle_timeout(&self) -> Option<Duration> {
        None
    }

    /// There was no event for as long as [`idle_timeout`](Observer::idle_timeout) says.
    fn heard_nothing(&mut self) {}

    /// The server has been told to stop.
    fn stopping(&mut self) {}

    /// A worker process has ended although the server goes on, perhaps because of a `failure`. Another will take its place.
    fn worker_ended(&mut self, worker: Worker, failure: Option<&Error>) {
        let _ = (worker, failure);
    }

    /// So many processes did not end when they were told to, and have been killed.
    fn killed(&mut self, processes: usize) {
        let _ = processes;
    }
}

/// Tells only what the operator of a server must know: that clients have to wait, and why (each process tells each
/// reason once), and that a worker process has ended.
#[derive(Debug, Clone)]
pub struct Notices {
    tell: Option<fn(&str)>,
    /// Shared with the clones, which are for the other threads of the server.
    told: Arc<Mutex<Vec<Paused>>>,
}

impl Notices {
    /// Tells nobody.
    #[must_use]
    pub fn none() -> Notices {
        Notices { tell: None, told: Arc::default() }
    }

    /// Tells by this function, which gets a sentence.
    #[must_use]
    pub fn told_by(tell: fn(&str)) -> Notices {
        Notices { tell: Some(tell), told: Arc::default() }
    }
}

impl Observer for Notices {
    fn paused(&mut self, why: Paused) {
        let Some(tell) = self.tell else { return };
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if !told.contains(&why) {
            told.push(why);
            tell(&format!("clients have to wait: {why}"));
        }
    }

    fn worker_ended(&mut self, Worker(number): Worker, failure: Option<&Error>) {
        let Some(tell) = self.tell else { return };
        let why = failure.map(|error| format!(" ({error})")).unwrap_or_default();
        tell(&format!(
            "worker {number} has ended before the server{why}: another process will take its place"
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

    #[test]
    fn the_workers_of_a_server_tell_each_reason_once_together() {
        static TOLD: AtomicUsize = AtomicUsize::new(0);
        let mut first = Notices::told_by(|_| {
            TOLD.fetch_add(1, Relaxed);
        });
        let mut second = first.clone();
        for why in [Paused::NoDescriptor, Paused::NoThread, Paused::NoDescriptor] {
            first.paused(why);
            second.paused(why);
        }
        assert_eq!(TOLD.load(Relaxed), 2);
    }
}
