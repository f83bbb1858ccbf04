//! The clients of a loop, found by descriptor number.

use crate::echo::Conn;
use std::ops::Range;
use std::os::fd::{AsFd, AsRawFd, RawFd};

/// A table of clients.
///
/// Descriptor numbers are small and dense, because the kernel gives out the lowest free one: an array is the fastest map
/// there is.
///
/// In one thread an event never names a client that has left: closing a descriptor takes it out of the epoll set, and a
/// wait reports each at most once. Signals are the exception: one that is queued may name a client that has left, and whose
/// number another has now. That is harmless as long as the client is only pumped, on a non-blocking socket. Several threads that
/// share an epoll set have [`Slots`](super::Slots).
#[derive(Debug, Default)]
pub struct ByFd {
    conns: Vec<Option<Conn>>,
}

impl ByFd {
    /// No clients.
    #[must_use]
    pub fn new() -> ByFd {
        ByFd::default()
    }

    /// Add one.
    pub fn insert(&mut self, conn: Conn) {
        let fd = conn.as_fd().as_raw_fd() as usize;
        if self.conns.len() <= fd {
            self.conns.resize_with(fd + 1, || None);
        }
        self.conns[fd] = Some(conn);
    }

    /// The client with that descriptor.
    #[inline]
    pub fn get(&mut self, fd: RawFd) -> Option<&mut Conn> {
        self.conns.get_mut(fd as usize)?.as_mut()
    }

    /// The range in which the descriptors of the clients are. Not every number in it is a client's.
    #[must_use]
    pub fn numbers(&self) -> Range<RawFd> {
        0..self.conns.len() as RawFd
    }

    /// Close the client with that descriptor.
    pub fn close(&mut self, fd: RawFd) {
        if let Some(conn) = self.conns.get_mut(fd as usize).and_then(Option::take) {
            conn.close();
        }
    }
}

impl IntoIterator for ByFd {
    type Item = Conn;
    type IntoIter = std::iter::Flatten<std::vec::IntoIter<Option<Conn>>>;

    fn into_iter(self) -> Self::IntoIter {
        self.conns.into_iter().flatten()
    }
}
