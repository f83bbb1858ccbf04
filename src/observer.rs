//! What a loop tells while it runs: who came, what was said, who left.
//!
//! A server that only serves is [`Silent`], and then the calls below compile to nothing. The course's
//! programs print what they are told, which is all that makes `tcppoll` of the model `poll`.
//!
//! ```
//! use io_models::echo::{Echo, Reply, SCRATCH_BYTES};
//! use io_models::{initserver::initserver, model::poll, observer::Observer, stop};
//! use std::{net::{SocketAddr, TcpStream}, os::fd::RawFd};
//!
//! struct Visitors(Vec<SocketAddr>, stop::Stopper);
//!
//! impl Observer for Visitors {
//!     fn accepted(&mut self, _: RawFd, peer: SocketAddr) {
//!         self.0.push(peer);
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
//! let mut visitors = Visitors(Vec::new(), stopper);
//! poll::serve(listener, &stop, Echo::observed(Reply::Echo, SCRATCH_BYTES, &mut visitors))?;
//! assert_eq!(visitors.0, [ours]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use crate::Result;
use std::net::SocketAddr;
use std::os::fd::RawFd;
use std::time::Duration;

/// Is told what happens, as it happens. What is not overridden is ignored.
///
/// A method that waits makes all clients of the loop wait.
pub trait Observer {
    /// A client has come, and is served from now on.
    fn accepted(&mut self, fd: RawFd, peer: SocketAddr) {
        let _ = (fd, peer);
    }

    /// A client has said this.
    fn received(&mut self, fd: RawFd, bytes: &[u8]) {
        let _ = (fd, bytes);
    }

    /// It is being answered with this. (What the kernel did not take at once follows by itself.)
    fn answered(&mut self, fd: RawFd, bytes: &[u8]) {
        let _ = (fd, bytes);
    }

    /// A client has said that no more will come, or its connection has failed; it is closed next.
    fn left(&mut self, fd: RawFd, how: Result<()>) {
        let _ = (fd, how);
    }

    /// Another client wanted to come, and there is no descriptor, or process, for it.
    fn full(&mut self) {}

    /// How long a loop that waits for readiness may hear nothing before it tells: `None`, for ever.
    fn patience(&self) -> Option<Duration> {
        None
    }

    /// Nothing has happened for as long as [`patience`](Observer::patience) says.
    fn heard_nothing(&mut self) {}

    /// The server has been told to stop.
    fn stopping(&mut self) {}

    /// So many processes did not end when they were told to, and have been killed.
    fn killed(&mut self, processes: usize) {
        let _ = processes;
    }
}

/// Whoever lends an observer to a loop has it back afterwards.
impl<O: Observer> Observer for &mut O {
    fn accepted(&mut self, fd: RawFd, peer: SocketAddr) {
        (**self).accepted(fd, peer);
    }
    fn received(&mut self, fd: RawFd, bytes: &[u8]) {
        (**self).received(fd, bytes);
    }
    fn answered(&mut self, fd: RawFd, bytes: &[u8]) {
        (**self).answered(fd, bytes);
    }
    fn left(&mut self, fd: RawFd, how: Result<()>) {
        (**self).left(fd, how);
    }
    fn full(&mut self) {
        (**self).full();
    }
    fn patience(&self) -> Option<Duration> {
        (**self).patience()
    }
    fn heard_nothing(&mut self) {
        (**self).heard_nothing();
    }
    fn stopping(&mut self) {
        (**self).stopping();
    }
    fn killed(&mut self, processes: usize) {
        (**self).killed(processes);
    }
}

/// Has nothing to say.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Observer for Silent {}
