//! What can go wrong: the call, the descriptor, the errno.
//!
//! `epoll_ctl(fd 7): Bad file descriptor (os error 9)` is how a failure reads. Conditions that are
//! part of normal work (`EAGAIN`, `EINTR`, end of stream) never become an [`Error`]; see
//! [`sys`](crate::sys).

use crate::sys::{Call, Errno};
use std::io;
use std::os::fd::RawFd;

/// A result of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// A failed system call, or something that no call could have done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The kernel said no.
    #[error("{}", in_words(*call, *fd, *source))]
    Call {
        /// Which call.
        call: Call,
        /// On which descriptor, where the call has one.
        fd: Option<RawFd>,
        /// What the kernel answered.
        source: Errno,
    },
    /// The number does not fit the `fd_set` of select(2).
    #[error(
        "select: descriptor {fd} does not fit an fd_set of {} (FD_SETSIZE); use poll, epoll or the growable set",
        libc::FD_SETSIZE
    )]
    BeyondFdSetSize {
        /// The descriptor, 1024 or more.
        fd: RawFd,
    },
    /// fork(2) in a process with several threads: the child would have only one of them.
    #[error(
        "fork: refused, this process has {}; a child would inherit their locks but not them",
        in_number(*threads)
    )]
    Threads {
        /// How many threads the process has; 0 where that cannot be known.
        threads: u64,
    },
    /// A name without an address: getaddrinfo(3), which is no system call.
    #[error("no address for {host:?}: {why}")]
    NoAddress {
        /// The name.
        host: String,
        /// What the resolver says.
        why: String,
    },
    /// Something that the state of the object rules out, such as sending before connecting. Nothing was
    /// called.
    #[error("{0}")]
    Misuse(&'static str),
}

impl Error {
    /// The system call that failed, where it was one.
    #[must_use]
    pub fn call(&self) -> Option<Call> {
        match self {
            Error::Call { call, .. } => Some(*call),
            _ => None,
        }
    }

    /// The errno, where the kernel gave one.
    #[must_use]
    pub fn errno(&self) -> Option<Errno> {
        match self {
            Error::Call { source, .. } => Some(*source),
            _ => None,
        }
    }
}

fn in_number(threads: u64) -> String {
    if threads == 0 {
        "several threads, or a number that is not known here".to_owned()
    } else {
        format!("{threads} threads")
    }
}

fn in_words(call: Call, fd: Option<RawFd>, source: Errno) -> String {
    let call = call.name();
    let why = io::Error::from(source);
    match fd {
        Some(fd) => format!("{call}(fd {fd}): {why}"),
        None => format!("{call}: {why}"),
    }
}

/// Keeps the errno, so that [`io::Error::kind`] and [`io::Error::raw_os_error`] tell the truth.
impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        match error.errno() {
            Some(errno) => io::Error::from(errno),
            None => io::Error::other(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_the_call_the_descriptor_and_the_errno() {
        let error = Error::Call { call: Call::EpollCtl, fd: Some(7), source: Errno::EBADF };
        assert_eq!(error.to_string(), "epoll_ctl(fd 7): Bad file descriptor (os error 9)");
        let error = Error::Call { call: Call::EpollCreate1, fd: None, source: Errno::EINVAL };
        assert_eq!(error.to_string(), "epoll_create1: Invalid argument (os error 22)");
    }

    #[test]
    fn an_io_error_keeps_the_errno() {
        let error = Error::Call { call: Call::Recvfrom, fd: Some(7), source: Errno::ECONNRESET };
        let io = io::Error::from(error);
        assert_eq!(io.raw_os_error(), Some(libc::ECONNRESET));
        assert_eq!(io.kind(), io::ErrorKind::ConnectionReset);
    }
}
