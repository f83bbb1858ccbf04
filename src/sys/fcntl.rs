//! Descriptor flags and copies: fcntl(2). Over `nix::fcntl`.

use super::{Call, cvt_on};
use crate::Result;
use nix::fcntl::{FcntlArg, fcntl};
use std::os::fd::{AsFd, FromRawFd, OwnedFd, RawFd};

pub use nix::fcntl::OFlag;

/// Make calls on `fd` answer `EAGAIN` instead of waiting. The course's `setnonblocking`.
///
/// The flag belongs to the open file description: it holds for every descriptor and process that
/// shares it.
///
/// # Errors
///
/// `EBADF`. (The original turned a failed `F_GETFL` into "no flags" and cleared them all.)
pub fn set_nonblocking(fd: impl AsFd) -> Result<()> {
    let fd = fd.as_fd();
    let flags = status_flags(fd)?;
    cvt_on(Call::Fcntl, fd, fcntl(fd, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK)))?;
    Ok(())
}

/// The status flags of the open file description: `F_GETFL`. `O_NONBLOCK` and `O_ASYNC` are among them.
///
/// # Errors
///
/// `EBADF`.
#[doc(hidden)]
#[doc(alias = "F_GETFL")]
pub fn status_flags(fd: impl AsFd) -> Result<OFlag> {
    let fd = fd.as_fd();
    Ok(OFlag::from_bits_retain(cvt_on(Call::Fcntl, fd, fcntl(fd, FcntlArg::F_GETFL))?))
}

/// Copy `fd` to the lowest free number, closed on exec: `F_DUPFD_CLOEXEC`.
///
/// # Errors
///
/// `EMFILE` when every number below `RLIMIT_NOFILE` is taken.
#[doc(alias = "F_DUPFD_CLOEXEC")]
pub fn duplicate(fd: impl AsFd) -> Result<OwnedFd> {
    duplicate_from(fd, 0)
}

/// Copy `fd` to the lowest free number that is at least `lowest`, closed on exec.
///
/// # Errors
///
/// `EMFILE` when every number from there to `RLIMIT_NOFILE` is taken, `EINVAL` when `lowest` is beyond
/// that limit.
pub fn duplicate_from(fd: impl AsFd, lowest: RawFd) -> Result<OwnedFd> {
    let fd = fd.as_fd();
    let copy = cvt_on(Call::Fcntl, fd, fcntl(fd, FcntlArg::F_DUPFD_CLOEXEC(lowest)))?;
    // SAFETY: the call succeeded, so `copy` is a descriptor that nobody else has been told of.
    Ok(unsafe { OwnedFd::from_raw_fd(copy) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsRawFd;

    #[test]
    fn nonblocking_is_added_to_the_flags_and_shared_by_copies() {
        let (one, _other) = std::os::unix::net::UnixStream::pair().unwrap();
        let copy = duplicate(&one).unwrap();
        assert_ne!(copy.as_raw_fd(), one.as_raw_fd());
        set_nonblocking(&copy).unwrap();
        let answer = crate::sys::socket::recv(&one, &mut [0]).unwrap();
        assert_eq!(answer, crate::sys::socket::Received::NotNow);
    }
}
