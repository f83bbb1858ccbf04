//! What a loop tells while it runs: who came, what was said, who left.
//!
//! A server that only serves is [`Silent`], and then the calls below compile to nothing. The course's
//! programs print what they are told, which is all that makes `tcppoll` of the model `poll`.

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
}

/// Has nothing to say.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Observer for Silent {}
