//! System calls, thin and safe: one file per family of man pages.
//!
//! This is the only module that contains `unsafe`. Every wrapper borrows the descriptors it
//! works on ([`BorrowedFd`]), hands out owned ones ([`OwnedFd`]), retries `EINTR`, and turns "not now" (`EAGAIN`,
//! `EINPROGRESS`) into an answer instead of an error.
//!
//! # Where a call is, in reading order
//!
//! | calls | module |
//! |---|---|
//! | socket, bind, listen, accept4, connect, recv, send, shutdown, getsockname, getpeername | [`socket`] |
//! | getsockopt, setsockopt, ioctl (SIOCOUTQ) | [`sockopt`] |
//! | select (pselect6) | [`select`] |
//! | poll | [`poll`] |
//! | epoll_create1, epoll_ctl, epoll_wait, epoll_pwait2 | [`epoll`] |
//! | io_uring_setup, io_uring_enter, io_uring_register | `uring` |
//! | eventfd | [`eventfd`] |
//! | fcntl: flags, copies | [`fcntl`] |
//! | fcntl: record locks; pthread_mutex_lock | [`lock`] |
//! | sigaction, sigprocmask | [`signal`] |
//! | fcntl: F_SETSIG, F_SETOWN_EX, O_ASYNC; sigtimedwait | [`signal_wait`] |
//! | fork, wait4, kill, prctl, _exit | [`fork`](mod@fork) |
//! | pthread_create | [`thread`] |
//! | socketpair; sendmsg, recvmsg with SCM_RIGHTS | [`passing`] |
//! | sendfile, splice | [`sendfile`](mod@sendfile) |
//! | getrlimit, setrlimit (prlimit64) | [`limits`] |
//! | sock_diag(7) | `diag` |
//! | ptrace, waitpid, process_vm_readv, pidfd_open, pidfd_getfd | `ptrace` |
//! | read, write of the standard streams | [`stdio`] |
//! | memfd_create, mmap (MAP_SHARED) | `shared` |
//! | sched_setaffinity, sched_setscheduler | `affinity` |
//! | clock_gettime | `clock` |
//! | close | [`close`] |
//!
//! [`calls`] counts which of them were made.
//!
//! `cvt` is the place where a result enters the program: it counts the call and names it in the
//! error.
//!
//! Types of [nix](https://docs.rs/nix) are part of this interface: [`Errno`], `EpollFlags`, `PollFlags`, `Pid`. A new release of
//! nix with other types is therefore a new release of this crate.

// Hidden modules serve the measuring tools, and may change at any time.
pub mod socket;
pub mod sockopt;
pub mod select;
pub mod poll;
pub mod epoll;
#[cfg(feature = "uring")]
#[doc(hidden)]
pub mod uring;
pub mod eventfd;
pub mod fcntl;
pub mod lock;
pub mod signal;
pub mod signal_wait;
pub mod fork;
pub mod thread;
pub mod passing;
pub mod sendfile;
pub mod limits;
#[cfg(feature = "lab")]
#[doc(hidden)]
pub mod diag;
#[cfg(feature = "lab")]
#[doc(hidden)]
pub mod ptrace;
pub mod stdio;
#[doc(hidden)]
pub mod shared;
#[doc(hidden)]
pub mod affinity;
#[doc(hidden)]
pub mod clock;
pub mod calls;
#[cfg(feature = "facts")]
pub(crate) mod raw;

pub use calls::Call;
pub use nix::errno::Errno;

use crate::error::{Error, Result};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

/// Count `call` and give its failure a name.
///
/// The system calls of this crate pass through here, once for each time that the kernel is entered,
/// so that the counts agree with `strace -c`; [`calls`] names the exceptions.
#[inline]
pub(crate) fn cvt<T>(call: Call, result: nix::Result<T>) -> Result<T> {
    calls::count(call);
    result.map_err(|source| Error::Call { call, fd: None, source })
}

/// Like [`cvt`], for a call on a descriptor: the error tells which one.
#[inline]
pub(crate) fn cvt_on<T>(call: Call, fd: BorrowedFd<'_>, result: nix::Result<T>) -> Result<T> {
    calls::count(call);
    result.map_err(|source| Error::Call { call, fd: Some(fd.as_raw_fd()), source })
}

/// What a function of pthreads(7) says, which returns the errno.
pub(crate) fn answer(errno: libc::c_int) -> nix::Result<()> {
    if errno == 0 { Ok(()) } else { Err(Errno::from_raw(errno)) }
}

/// Call again for as long as a signal handler interrupted the call (`EINTR`).
///
/// No call of this crate uses `EINTR` to learn of a signal: signals arrive as readable
/// descriptors (see [`signal`]), so an interrupted call has nothing to tell.
#[inline]
pub(crate) fn retry<T>(mut call: impl FnMut() -> Result<T>) -> Result<T> {
    loop {
        match call() {
            Err(error) if error.errno() == Some(Errno::EINTR) => {}
            result => return result,
        }
    }
}

/// Like [`retry`], for a wait with a time limit: what a signal interrupted waits only for the rest.
///
/// Without this a process that gets a signal every second would never see a two-second limit pass.
#[inline]
pub(crate) fn retry_wait<T>(
    timeout: Option<Duration>,
    mut wait: impl FnMut(Option<Duration>) -> Result<T>,
) -> Result<T> {
    // The clock is read only when there is a limit.
    let started = timeout.filter(|limit| !limit.is_zero()).map(|_| Instant::now());
    let mut left = timeout;
    loop {
        match wait(left) {
            Err(error) if error.errno() == Some(Errno::EINTR) => {
                left = timeout
                    .map(|limit| limit.saturating_sub(started.map_or(Duration::ZERO, |t| t.elapsed())));
            }
            result => return result,
        }
    }
}

/// Close a descriptor: close(2), counted.
///
/// Dropping an [`OwnedFd`] closes it as well, but uncounted. An error is not reported: on Linux
/// the descriptor is gone whatever close(2) returns, and a second attempt could hit a stranger's.
pub fn close(fd: OwnedFd) {
    calls::count(Call::Close);
    drop(fd);
}

/// Milliseconds for poll(2) and epoll_wait(2): rounded up, never down; `None` is for ever.
///
/// A limit of 0.4 ms that became 0 would turn a wait into a busy loop (libevent and mio both met
/// this). A limit beyond `i32::MAX` ms, 24 days, is cut to that.
pub(crate) fn millis_up(timeout: Option<Duration>) -> i32 {
    match timeout {
        None => -1,
        Some(limit) => {
            let rest = u64::from(limit.subsec_nanos().div_ceil(1_000_000));
            let millis = limit.as_secs().saturating_mul(1000).saturating_add(rest);
            i32::try_from(millis).unwrap_or(i32::MAX)
        }
    }
}

/// A `timespec` for the calls that take nanoseconds.
pub(crate) fn timespec(limit: Duration) -> libc::timespec {
    libc::timespec {
        tv_sec: i64::try_from(limit.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: libc::c_long::from(limit.subsec_nanos() as i32),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn milliseconds_are_rounded_up_never_down() {
        for (limit, ms) in [
            (None, -1),
            (Some(Duration::ZERO), 0),
            (Some(Duration::from_nanos(1)), 1),
            (Some(Duration::from_millis(7)), 7),
            (Some(Duration::from_nanos(7_000_001)), 8),
            (Some(Duration::from_secs(u64::MAX)), i32::MAX),
        ] {
            assert_eq!(millis_up(limit), ms, "{limit:?}");
        }
    }
}
