//! One client.

use crate::Result;
use crate::sys::fcntl::duplicate;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// One client: its socket and what it has not taken yet.
#[derive(Debug)]
pub struct Conn<S = OwnedFd> {
    pub(super) socket: S,
    /// For a model that has to remember that the client has a turn of its own coming.
    pub(crate) is_unfinished: bool,
    /// Whether the handler was told that the client has left.
    pub(super) has_left: bool,
    pub(super) unsent: Option<Box<Unsent>>,
}

#[derive(Debug)]
pub(super) struct Unsent {
    pub(super) bytes: Box<[u8]>,
    pub(super) sent: usize,
}

impl<S: AsFd> Conn<S> {
    /// A client that has just connected.
    pub fn new(socket: S) -> Conn<S> {
        Conn { socket, is_unfinished: false, has_left: false, unsent: None }
    }

    /// The same connection over what `own` makes of its socket.
    #[must_use]
    pub(crate) fn map<T>(self, own: impl FnOnce(S) -> T) -> Conn<T> {
        let Conn { socket, is_unfinished, has_left, unsent } = self;
        Conn { socket: own(socket), is_unfinished, has_left, unsent }
    }

    /// Whether bytes wait for the client to make room. They are at most one answer.
    #[inline]
    #[must_use]
    pub fn has_unsent(&self) -> bool {
        self.unsent.is_some()
    }
}

impl Conn {
    /// A client that has not been sent these bytes yet. `has_left`: the handler was told that it has left.
    #[cfg(feature = "uring")]
    pub(crate) fn with_unsent(socket: OwnedFd, bytes: Vec<u8>, has_left: bool) -> Conn {
        let unsent = (!bytes.is_empty()).then(|| Box::new(Unsent { bytes: bytes.into(), sent: 0 }));
        Conn { unsent, has_left, ..Conn::new(socket) }
    }

    /// End the connection. Bytes unsent are dropped.
    pub fn close(self) {
        crate::sys::close(self.socket);
    }

    /// The socket alone. Bytes unsent are dropped.
    #[must_use]
    pub fn into_socket(self) -> OwnedFd {
        self.socket
    }

    /// Move the connection to the lowest free descriptor number, if that is lower.
    ///
    /// # Errors
    ///
    /// `EMFILE`. The connection is as it was.
    pub fn renumber(&mut self) -> Result<()> {
        let copy = duplicate(&self.socket)?;
        let is_lower = copy.as_raw_fd() < self.socket.as_raw_fd();
        crate::sys::close(if is_lower { std::mem::replace(&mut self.socket, copy) } else { copy });
        Ok(())
    }
}

impl<S: AsFd> AsFd for Conn<S> {
    #[inline]
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
