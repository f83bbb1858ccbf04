//! From what a client said to the answer: bytes only, no system call.

use super::Reply;
use crate::Result;
use crate::observer::{Notices, Observer};
use crate::serve::Totals;
use std::os::fd::RawFd;

/// Answers clients, tells an observer of it, and counts.
///
/// ```
/// use io_models::echo::{Handler, Reply};
/// use io_models::observer::Notices;
///
/// let mut handler = Handler::new(Reply::Echo, Notices::none());
/// assert_eq!(handler.heard(7, b"hello"), b"hello");
/// handler.took(5);
/// assert_eq!((handler.requests, handler.bytes_in, handler.bytes_out), (1, 5, 5));
/// ```
#[derive(Debug)]
pub struct Handler<O = Notices> {
    reply: Reply,
    /// The answer of [`Reply::Own`].
    own: Vec<u8>,
    /// Who is told what happens.
    pub observer: O,
    /// Pieces that were received and answered.
    pub requests: u64,
    /// Bytes received from clients.
    pub bytes_in: u64,
    /// Bytes of answers that the kernel took.
    pub bytes_out: u64,
}

impl<O: Observer> Handler<O> {
    /// A handler that answers with `reply`, and tells `observer`.
    #[must_use]
    pub fn new(reply: Reply, observer: O) -> Handler<O> {
        Handler { reply, own: Vec::new(), observer, requests: 0, bytes_in: 0, bytes_out: 0 }
    }

    /// The client on `fd` said this. Returns the answer.
    #[inline]
    pub fn heard<'a>(&'a mut self, fd: RawFd, bytes: &'a [u8]) -> &'a [u8] {
        self.requests += 1;
        self.bytes_in += bytes.len() as u64;
        self.observer.received(fd, bytes);
        if let Reply::Own(write) = self.reply {
            self.own.clear();
            write(bytes, &mut self.own);
        }
        answer(self.reply, &self.own, bytes)
    }

    /// The kernel has begun to send the answer to what was heard last, `bytes`, to the client on `fd`.
    #[inline]
    pub fn answered(&mut self, fd: RawFd, bytes: &[u8]) {
        self.observer.answered(fd, answer(self.reply, &self.own, bytes));
    }

    /// The kernel has taken so many bytes of an answer.
    #[inline]
    pub fn took(&mut self, bytes: usize) {
        self.bytes_out += bytes as u64;
    }

    /// The client on `fd` has ended, or failed.
    #[inline]
    pub fn left(&mut self, fd: RawFd, how: Result<()>) {
        self.observer.left(fd, how);
    }

    /// What was done for clients.
    #[must_use]
    pub fn totals(&self) -> Totals {
        let Handler { requests, bytes_in, bytes_out, .. } = *self;
        Totals { requests, bytes_in, bytes_out, ..Totals::default() }
    }
}

#[inline]
fn answer<'a>(reply: Reply, own: &'a [u8], heard: &'a [u8]) -> &'a [u8] {
    match reply {
        Reply::Echo => heard,
        Reply::Ok => b"ok",
        Reply::Own(_) => own,
    }
}
