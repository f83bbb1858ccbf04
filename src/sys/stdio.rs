//! The streams that a process inherits: read(2) and write(2) that wait.
//!
//! `O_NONBLOCK` belongs to the open file description, and standard output shares its description with whoever started
//! us and with everybody on the same terminal or pipe. Event loops such as Node's set the flag and leave it set; then a
//! slow reader gives `EAGAIN` in the middle of our output. Clearing the flag would break the program that set it. So
//! these calls wait until the stream is ready (poll(2)) and go on.

use super::poll::{PollFlags, wait_for};
use super::{Call, Errno, cvt, cvt_on, retry};
use crate::Result;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, FromRawFd, OwnedFd, RawFd};

/// Write all of `bytes`. Where `fd` is non-blocking and full, wait until there is room.
///
/// # Errors
///
/// `EPIPE` when nobody reads any more, `ENOSPC`, `EFBIG`, `EDQUOT`, `EIO`; `EBADF` when `fd` is open for reading only.
#[doc(alias = "write")]
pub fn write_all(fd: impl AsFd, mut bytes: &[u8]) -> Result<()> {
    while !bytes.is_empty() {
        bytes = &bytes[write_when_ready(&fd, bytes)?..];
    }
    Ok(())
}

/// Write what there is room for. Where `fd` is non-blocking and full, wait until there is room.
fn write_when_ready(fd: impl AsFd, bytes: &[u8]) -> Result<usize> {
    loop {
        match write_some(&fd, bytes)? {
            Some(n) => return Ok(n),
            None => drop(wait_for(&fd, PollFlags::POLLOUT, None)?),
        }
    }
}

/// Write what there is room for: `None` when that is nothing, on a non-blocking stream.
///
/// # Errors
///
/// As [`write_all`].
pub fn write_some(fd: impl AsFd, bytes: &[u8]) -> Result<Option<usize>> {
    let fd = fd.as_fd();
    match retry(|| cvt_on(Call::Write, fd, nix::unistd::write(fd, bytes))) {
        Err(error) if error.errno() == Some(Errno::EAGAIN) => Ok(None),
        written => written.map(Some),
    }
}

/// Copy the descriptor with that number, which somebody else has opened: `F_DUPFD_CLOEXEC`. The copy shares its
/// offset and its flags.
///
/// # Errors
///
/// `EBADF` when there is none, `EMFILE`.
#[doc(alias = "F_DUPFD_CLOEXEC")]
pub fn duplicate_number(number: RawFd) -> Result<OwnedFd> {
    // SAFETY: fcntl with F_DUPFD_CLOEXEC takes numbers and touches no memory; the file behind `number` stays open.
    let copy = unsafe { libc::fcntl(number, libc::F_DUPFD_CLOEXEC, 0) };
    let copy = cvt(Call::Fcntl, Errno::result(copy))?;
    // SAFETY: the call succeeded, so `copy` is a new descriptor that nobody else has been told of.
    Ok(unsafe { OwnedFd::from_raw_fd(copy) })
}

/// A descriptor as a reader and writer that waits where the descriptor is non-blocking. It keeps no buffer.
#[derive(Debug)]
pub struct Stream<F>(pub F);

impl<F: AsFd> Write for Stream<F> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(write_when_ready(&self.0, bytes)?)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<F: AsFd> Read for Stream<F> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let fd = self.0.as_fd();
            match retry(|| cvt_on(Call::Read, fd, nix::unistd::read(fd, buffer))) {
                Err(error) if error.errno() == Some(Errno::EAGAIN) => {
                    wait_for(&self.0, PollFlags::POLLIN, None)?;
                }
                read => return Ok(read?),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::fcntl::set_nonblocking;
    use std::os::fd::AsRawFd;
    use std::thread;

    #[test]
    fn a_full_non_blocking_pipe_is_waited_for() {
        let (mut reader, writer) = io::pipe().unwrap();
        set_nonblocking(&writer).unwrap();
        let bytes: Vec<u8> = (0..300_000_u32).map(|i| (i % 251) as u8).collect();
        let sent = bytes.clone();
        let writing = thread::spawn(move || write_all(&writer, &sent));
        let mut got = Vec::new();
        reader.read_to_end(&mut got).unwrap();
        writing.join().unwrap().unwrap();
        assert!(got == bytes, "{} of {} bytes", got.len(), bytes.len());
    }

    #[test]
    fn an_empty_non_blocking_pipe_is_waited_for() {
        let (reader, mut writer) = io::pipe().unwrap();
        set_nonblocking(&reader).unwrap();
        let reading = thread::spawn(move || {
            let mut got = String::new();
            Stream(reader).read_to_string(&mut got).map(|_| got)
        });
        writer.write_all(b"later").unwrap();
        drop(writer);
        assert_eq!(reading.join().unwrap().unwrap(), "later");
    }

    #[test]
    fn a_copy_by_number_is_the_same_file_and_a_closed_number_is_an_error() {
        let (mut reader, writer) = io::pipe().unwrap();
        let copy = duplicate_number(writer.as_raw_fd()).unwrap();
        drop(writer);
        write_all(&copy, b"x").unwrap();
        drop(copy);
        let mut got = Vec::new();
        reader.read_to_end(&mut got).unwrap();
        assert_eq!(got, b"x");
        assert_eq!(duplicate_number(RawFd::MAX).unwrap_err().errno(), Some(Errno::EBADF));
    }
}
