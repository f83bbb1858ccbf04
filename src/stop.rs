//! How a loop is told to end: by a descriptor that becomes readable, and stays so.
//!
//! A flag would be seen only after the next event, and an event may never come. A descriptor can
//! stand in every wait set (select, poll, epoll) beside the sockets, and a signal handler may write
//! to it: D. J. Bernstein's self-pipe trick. Nobody reads the byte while loops run, so one write
//! stops them all, also in forked processes, which share the pipe.

use crate::Result;
use crate::sys::poll::{PollFlags, wait_for};
use crate::sys::signal::{self, Signal};
use crate::sys::{Call, Errno, cvt, cvt_on, fcntl, retry};
use nix::fcntl::OFlag;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

/// The end that a loop watches.
#[derive(Debug)]
pub struct Stop(OwnedFd);

/// The end that makes it stop.
#[derive(Debug)]
pub struct Stopper(OwnedFd);

/// Both ends of a new pipe: pipe2(2).
///
/// # Errors
///
/// `EMFILE`, `ENFILE`.
///
/// # Examples
///
/// ```
/// let (stopper, stop) = io_models::stop::pair()?;
/// assert!(!stop.is_set()?);
/// stopper.stop()?;
/// assert!(stop.is_set()?);
/// assert!(stop.is_set()?, "and it stays so");
/// # Ok::<(), io_models::Error>(())
/// ```
pub fn pair() -> Result<(Stopper, Stop)> {
    let (read, write) = cvt(Call::Pipe2, nix::unistd::pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK))?;
    Ok((Stopper(write), Stop(read)))
}

impl Stopper {
    /// End the loops that watch the other end.
    ///
    /// # Errors
    ///
    /// `EPIPE` when the other end is gone.
    pub fn stop(&self) -> Result<()> {
        match retry(|| cvt_on(Call::Write, self.0.as_fd(), nix::unistd::write(&self.0, &[0]))) {
            // A full pipe is readable, and that is all that was asked for.
            Err(error) if error.errno() != Some(Errno::EAGAIN) => Err(error),
            _ => Ok(()),
        }
    }

    /// From now on let SIGINT (Ctrl-C) and SIGTERM stop the loops instead of ending the process.
    ///
    /// # Errors
    ///
    /// `EMFILE`.
    pub fn stop_on_signals(&self) -> Result<()> {
        signal::write_to(fcntl::duplicate(&self.0)?, &[Signal::SIGINT, Signal::SIGTERM])
    }
}

impl Stop {
    /// Whether it is time to end.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub fn is_set(&self) -> Result<bool> {
        self.wait(Some(Duration::ZERO))
    }

    /// Wait until it is time to end; `false` after `timeout` (`None`: wait for ever).
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub fn wait(&self, timeout: Option<Duration>) -> Result<bool> {
        wait_for(self, PollFlags::POLLIN, timeout)
    }

    /// The signal that stopped the loops, if one did: for the exit code, once all have ended.
    ///
    /// # Errors
    ///
    /// As read(2).
    pub fn into_signal(self) -> Result<Option<Signal>> {
        signal::first(&self.0)
    }
}

impl AsFd for Stop {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
