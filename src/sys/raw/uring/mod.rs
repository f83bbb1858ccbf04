//! io_uring, for experiments: rings that are never given back, and operations whose memory is theirs for ever.
//!
//! A ring is named by its descriptor's number, like everything else here; an operation by a word, which its
//! completion has too. Without the feature `uring` there is no ring to be had.

use super::{Address, Reply};
use libc::epoll_event;

#[cfg(feature = "uring")]
mod rings;
#[cfg(feature = "uring")]
pub(crate) use rings::*;
#[cfg(not(feature = "uring"))]
mod without;
#[cfg(not(feature = "uring"))]
pub(crate) use without::*;

/// Only one thread submits and waits: since Linux 6.0.
pub(crate) const SETUP_SINGLE_ISSUER: u32 = 1 << 12;
/// What is left to do for a completion is done when somebody waits for one: since Linux 6.1.
pub(crate) const SETUP_DEFER_TASKRUN: u32 = 1 << 13;

/// An operation. `fd` need not be open.
#[derive(Debug, Clone)]
#[cfg_attr(not(feature = "uring"), expect(dead_code, reason = "nothing submits it then"))]
pub(crate) enum Op {
    Nop,
    /// The events of poll(2); `multi` stays armed.
    PollAdd {
        fd: i32,
        events: u32,
        multi: bool,
    },
    /// Takes the poll of that name away.
    PollRemove {
        name: &'static str,
    },
    /// `multi` stays armed; `dont_wait` is IORING_ACCEPT_DONTWAIT.
    Accept {
        fd: i32,
        multi: bool,
        dont_wait: bool,
    },
    Connect {
        fd: i32,
        to: Address,
    },
    /// At most 64 bytes, which [`uring_received`] has afterwards.
    Recv {
        fd: i32,
        flags: i32,
    },
    /// Likewise.
    Read {
        fd: i32,
    },
    /// Into buffers of [`uring_buffers`].
    RecvInto {
        fd: i32,
        how: Take,
    },
    /// So many zeros, at most 64.
    SendZc {
        fd: i32,
        n: u32,
    },
    /// Completes after that time.
    Timeout {
        ms: u64,
    },
    /// Cancels the operation before it, which has to be [linked](Submission::linked), after that time.
    LinkTimeout {
        ms: u64,
    },
    EpollCtl {
        epoll: i32,
        op: i32,
        fd: i32,
        event: epoll_event,
    },
    /// One event, which [`uring_event`] has afterwards.
    EpollWait {
        epoll: i32,
    },
    /// Cancels the operation of that name.
    Cancel {
        name: &'static str,
    },
    /// Cancels all operations on that descriptor.
    CancelFd {
        fd: i32,
    },
}

/// How a RECV takes buffers of a group.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Take {
    /// One, once.
    One,
    /// One each time: IORING_RECV_MULTISHOT.
    Many,
    /// Several each time: IORING_RECVSEND_BUNDLE too, since Linux 6.10.
    ManyBundles,
}

impl Op {
    /// Ready to be submitted.
    pub(crate) const fn named(self, name: &'static str) -> Submission {
        Submission { name, op: self, linked: false, quiet: false }
    }
}

/// An operation, its name, and flags.
#[derive(Debug, Clone)]
#[cfg_attr(not(feature = "uring"), expect(dead_code, reason = "nothing takes it then"))]
pub(crate) struct Submission {
    pub(crate) name: &'static str,
    pub(crate) op: Op,
    /// IOSQE_IO_LINK: the next one depends on it.
    pub(crate) linked: bool,
    /// IOSQE_CQE_SKIP_SUCCESS: its completion is only heard of if it failed.
    pub(crate) quiet: bool,
}

impl Submission {
    /// The next one depends on it.
    pub(crate) const fn linked(self) -> Submission {
        Submission { linked: true, ..self }
    }

    /// Its completion is only heard of if it failed.
    pub(crate) const fn quiet(self) -> Submission {
        Submission { quiet: true, ..self }
    }
}

/// What became of an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Completion {
    pub(crate) name: &'static str,
    pub(crate) result: Reply<i32>,
    /// IORING_CQE_F_MORE: the operation goes on.
    pub(crate) more: bool,
    /// IORING_CQE_F_NOTIF: the memory of what was sent is free.
    pub(crate) notice: bool,
}
