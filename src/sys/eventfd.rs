//! A counter that can be waited for: eventfd(2). Over `nix::sys::eventfd`.

use super::{Call, Errno, cvt, cvt_on, retry};
use crate::Result;
use nix::sys::eventfd::{EfdFlags, EventFd as Inner};
use std::os::fd::{AsFd, BorrowedFd};

/// A descriptor that is readable after [`signal`](EventFd::signal) until [`take`](EventFd::take).
#[derive(Debug)]
pub struct EventFd(Inner);

impl EventFd {
    /// Make one, non-blocking and closed on exec.
    ///
    /// # Errors
    ///
    /// `EMFILE`, `ENFILE`, `ENOMEM`.
    #[doc(alias = "eventfd")]
    pub fn new() -> Result<EventFd> {
        let flags = EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC;
        cvt(Call::Eventfd2, Inner::from_value_and_flags(0, flags)).map(EventFd)
    }

    /// Make it readable.
    ///
    /// # Errors
    ///
    /// None in practice: `EAGAIN`, the counter being full, means that it is readable already.
    pub fn signal(&self) -> Result<()> {
        let one = 1u64.to_ne_bytes();
        match retry(|| cvt_on(Call::Write, self.as_fd(), nix::unistd::write(self, &one))) {
            Err(error) if error.errno() != Some(Errno::EAGAIN) => Err(error),
            _ => Ok(()),
        }
    }

    /// Whether it was signalled since the last time; it is not readable afterwards.
    ///
    /// # Errors
    ///
    /// None in practice: `EAGAIN` is the answer "no".
    pub fn take(&self) -> Result<bool> {
        let mut count = [0; 8];
        match retry(|| cvt_on(Call::Read, self.as_fd(), nix::unistd::read(self, &mut count))) {
            Ok(_) => Ok(true),
            Err(error) if error.errno() == Some(Errno::EAGAIN) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

impl AsFd for EventFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
