//! How a loop is told to end: by a descriptor that becomes readable, and stays so.
//!
//! A flag would be seen only after the next event, and an event may never come. A descriptor can
//! stand in every wait set (select, poll, epoll) beside the sockets, and a signal handler may write
//! to it: D. J. Bernstein's self-pipe trick. Nobody reads the byte while loops run, so one write
//! stops them all, also in forked processes, which share the pipe.

use crate::Result;
use crate::sys::limits::Nofile;
use crate::sys::poll::{PollFlags, wait_for};
use crate::sys::select::FdSet;
use crate::sys::signal::{self, Signal};
use crate::sys::{Call, Errno, cvt, cvt_on, fcntl, retry};
use nix::fcntl::OFlag;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::time::Duration;

/// The end that a loop watches.
#[derive(Debug)]
pub struct Stop(OwnedFd);

/// The end that makes it stop. Dropping it stops the loops as well, because a pipe whose writing end is gone is readable.
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

/// The same on high descriptor numbers, so that the listener of a program and its clients have the low
/// ones, as they would without a stop. The watched end has the highest that fits an `fd_set`, and the
/// rest lies above, where `RLIMIT_NOFILE` has room for it.
///
/// # Errors
///
/// As [`pair`].
pub fn pair_high() -> Result<(Stopper, Stop)> {
    /// The ends of the pipe, and the copy for signal handlers.
    const OURS: u64 = 3;
    let most = Nofile::current()?.soft.min(FdSet::CAPACITY as u64 - 1 + OURS);
    let lowest = RawFd::try_from(most.saturating_sub(OURS)).unwrap_or(0);
    let (Stopper(write), Stop(read)) = pair()?;
    let stop = Stop(fcntl::duplicate_from(&read, lowest)?);
    Ok((Stopper(fcntl::duplicate_from(&write, lowest)?), stop))
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

    /// From now on let SIGINT (Ctrl-C) and SIGTERM stop the loops instead of ending the process;
    /// [`signal::first`] tells which it was. A second SIGINT, half a second or more later, ends the process at once.
    ///
    /// A SIGINT that was ignored when this process started stays ignored, as in shells: a script starts its background
    /// jobs so, and a Ctrl-C at its terminal is not meant for them. SIGTERM stops the loops in any case. Both are
    /// unblocked.
    ///
    /// # Errors
    ///
    /// `EMFILE`.
    pub fn stop_on_signals(&self) -> Result<()> {
        let copy = fcntl::duplicate_from(&self.0, self.0.as_raw_fd())?;
        let both = [Signal::SIGTERM, Signal::SIGINT];
        let in_background = signal::is_ignored(Signal::SIGINT)?;
        signal::on(if in_background { &both[..1] } else { &both }).write_to(copy)
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
}

impl AsFd for Stop {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_high_pair_stops_and_fits_an_fd_set() {
        let (stopper, stop) = pair_high().unwrap();
        let (end, limit) = (stop.as_fd().as_raw_fd(), Nofile::current().unwrap().soft);
        assert!((end as usize) < FdSet::CAPACITY, "select could not watch {end}");
        assert!(end as u64 + 3 >= limit.min(FdSet::CAPACITY as u64), "{end} of {limit} is in the way");
        stopper.stop().unwrap();
        assert!(stop.is_set().unwrap());
    }
}
