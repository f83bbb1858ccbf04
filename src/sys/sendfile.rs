//! Bytes between files and sockets without a copy through this process: sendfile(2), splice(2). Over
//! `nix::sys::sendfile` and `nix::fcntl`.
//!
//! sendfile hands pages of a file to a socket. The way back takes a pipe in the middle: splice moves what
//! has arrived from the socket into the pipe, and from there into the file, where it is copied once.

use super::{Call, cvt, cvt_on, retry};
use crate::Result;
use nix::fcntl::{FcntlArg, OFlag, SpliceFFlags, fcntl};
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};

/// Send at most `count` bytes of `file`, from where it stands, to `socket`, which may wait: the number
/// of bytes, 0 at the end of the file.
///
/// A peer that has gone raises SIGPIPE, since sendfile has no `MSG_NOSIGNAL`. Rust programs ignore that
/// signal unless they are told otherwise.
///
/// # Errors
///
/// `EPIPE` and `ECONNRESET` when the peer has gone, `EIO` when the file cannot be read, `EINVAL` when its
/// file system cannot do it.
pub fn sendfile(socket: impl AsFd, file: &File, count: usize) -> Result<usize> {
    let fd = socket.as_fd();
    retry(|| cvt_on(Call::Sendfile, fd, nix::sys::sendfile::sendfile(fd, file, None, count)))
}

/// A pipe for [`splice`], with room for `bytes` where the kernel allows that: pipe2(2), `F_SETPIPE_SZ`.
///
/// # Errors
///
/// `EMFILE`, `ENFILE`.
#[doc(alias = "F_SETPIPE_SZ")]
pub fn pipe(bytes: i32) -> Result<(OwnedFd, OwnedFd)> {
    let (read, write) = cvt(Call::Pipe2, nix::unistd::pipe2(OFlag::O_CLOEXEC))?;
    // Beyond fs.pipe-max-size, or the user's fs.pipe-user-pages-soft, it stays at 64 KiB, and works.
    cvt_on(Call::Fcntl, write.as_fd(), fcntl(&write, FcntlArg::F_SETPIPE_SZ(bytes))).ok();
    Ok((read, write))
}

/// Move at most `count` bytes from `from` to `to`, one of which is a pipe, waiting for the first: the
/// number of bytes, 0 at the end.
///
/// # Errors
///
/// Those of reading `from` and of writing `to`; `EINVAL` when the file system cannot do it, or the file
/// was opened with `O_APPEND`.
pub fn splice(from: impl AsFd, to: impl AsFd, count: usize) -> Result<usize> {
    let (from, to) = (from.as_fd(), to.as_fd());
    let flags = SpliceFFlags::SPLICE_F_MOVE;
    retry(|| cvt_on(Call::Splice, from, nix::fcntl::splice(from, None, to, None, count, flags)))
}
