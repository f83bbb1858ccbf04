//! Descriptors that travel between processes: `SCM_RIGHTS` over a socket of the family unix, man 7 unix. The receiver
//! gets a descriptor of its own for the same open file description, as from dup(2).
//!
//! Receiving is over libc: nix gives no descriptors when some of them did not fit, and these would stay open.

use super::{Call, Errno, cvt, cvt_on, retry};
use crate::error::{Error, Result};
use nix::sys::socket::{AddressFamily, ControlMessage, MsgFlags, SockFlag, SockType, sendmsg, socketpair};
use std::io::IoSlice;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;

/// How many descriptors one message may carry here. The kernel allows 253 (`SCM_MAX_FD`).
pub const MOST: usize = 16;

/// What [`receive`] found.
#[derive(Debug)]
pub enum Passed {
    /// Descriptors, all closed on exec; at least one.
    Descriptors(Vec<OwnedFd>),
    /// The sender has gone, or a message without descriptors came.
    End,
    /// No message has arrived (`EAGAIN`).
    NotNow,
}

/// Two unix(7) stream sockets that are connected to each other, blocking and closed on exec: socketpair(2).
///
/// # Errors
///
/// `EMFILE`, `ENFILE`, `ENOMEM`.
#[doc(alias = "socketpair")]
pub fn pair() -> Result<(OwnedFd, OwnedFd)> {
    let ends = socketpair(AddressFamily::Unix, SockType::Stream, None, SockFlag::SOCK_CLOEXEC);
    cvt(Call::Socketpair, ends)
}

/// Send `fds` and one byte over `socket`, a unix(7) socket: sendmsg(2). Without a byte a stream would not carry them.
/// `false` when the send buffer is full (`EAGAIN`): then nothing was sent.
///
/// # Errors
///
/// `EPIPE` and `ECONNRESET` when the receiver has gone; `ETOOMANYREFS` when more descriptors than `RLIMIT_NOFILE` are
/// on their way; [`Error::Misuse`] with no descriptor or more than [`MOST`].
#[doc(alias = "SCM_RIGHTS")]
#[doc(alias = "sendmsg")]
pub fn send(socket: impl AsFd, fds: &[BorrowedFd<'_>]) -> Result<bool> {
    if !(1..=MOST).contains(&fds.len()) {
        return Err(Error::Misuse("a message carries 1 to 16 descriptors"));
    }
    let socket = socket.as_fd();
    let numbers: Vec<RawFd> = fds.iter().map(AsRawFd::as_raw_fd).collect();
    let rights = [ControlMessage::ScmRights(&numbers)];
    let sent = retry(|| {
        let byte = [IoSlice::new(&[0])];
        let sent = sendmsg::<()>(socket.as_raw_fd(), &byte, &rights, MsgFlags::MSG_NOSIGNAL, None);
        cvt_on(Call::Sendmsg, socket, sent)
    });
    match sent {
        Ok(_) => Ok(true),
        Err(error) if error.errno() == Some(Errno::EAGAIN) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Receive the descriptors of one [`send`]: recvmsg(2) with `MSG_CMSG_CLOEXEC`.
///
/// # Errors
///
/// `EMFILE` when this process may not have as many descriptors, `EMSGSIZE` when there were more than [`MOST`]
/// (`MSG_CTRUNC` in both cases): the kernel has dropped what did not fit, and those that did are closed again.
/// `ECONNRESET`.
#[doc(alias = "SCM_RIGHTS")]
#[doc(alias = "recvmsg")]
pub fn receive(socket: impl AsFd) -> Result<Passed> {
    let socket = socket.as_fd();
    let mut control = Control::default();
    let (bytes, flags) = match retry(|| control.receive(socket)) {
        Ok(received) => received,
        Err(error) if error.errno() == Some(Errno::EAGAIN) => return Ok(Passed::NotNow),
        Err(error) => return Err(error),
    };
    let fds = control.take();
    if flags & libc::MSG_CTRUNC != 0 {
        let source = if fds.len() < MOST { Errno::EMFILE } else { Errno::EMSGSIZE };
        return Err(Error::Call { call: Call::Recvmsg, fd: Some(socket.as_raw_fd()), source });
    }
    Ok(if bytes == 0 || fds.is_empty() { Passed::End } else { Passed::Descriptors(fds) })
}

/// A control message as the kernel writes it on 64 bits: the header, then the descriptors.
#[repr(C, align(8))]
#[derive(Default)]
struct Control {
    len: usize,
    level: libc::c_int,
    kind: libc::c_int,
    fds: [RawFd; MOST],
}

impl Control {
    /// recvmsg(2) into this: the number of bytes, and `msg_flags`.
    fn receive(&mut self, socket: BorrowedFd<'_>) -> Result<(usize, libc::c_int)> {
        let mut byte = 0u8;
        let mut bytes = libc::iovec { iov_base: (&raw mut byte).cast(), iov_len: 1 };
        // SAFETY: all-zero bytes are a `msghdr`: numbers, and pointers that may be null.
        let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
        header.msg_iov = &raw mut bytes;
        header.msg_iovlen = 1;
        header.msg_control = ptr::from_mut(self).cast();
        header.msg_controllen = size_of::<Control>() as _;
        // SAFETY:
        // 1. The byte, the vector and the header live on this stack until the call returns.
        // 2. `msg_control` comes from the exclusive borrow of `self` and has as many bytes as is said; the kernel may
        //    write any bytes, and any bytes are a `Control`.
        let got = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut header, libc::MSG_CMSG_CLOEXEC) };
        let got = cvt_on(Call::Recvmsg, socket, Errno::result(got))?;
        Ok((got.cast_unsigned(), header.msg_flags))
    }

    /// The descriptors that came, once.
    fn take(&mut self) -> Vec<OwnedFd> {
        let rights = (self.level, self.kind) == (libc::SOL_SOCKET, libc::SCM_RIGHTS);
        let bytes = if rights { self.len.saturating_sub(std::mem::offset_of!(Control, fds)) } else { 0 };
        self.len = 0;
        let fds = self.fds.iter().take(bytes / size_of::<RawFd>());
        // SAFETY: the kernel has made these descriptors for this message, and nobody else has been told of them; with
        // `len` set to 0 no second call gives them again.
        fds.map(|&fd| unsafe { OwnedFd::from_raw_fd(fd) }).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;

    #[test]
    fn a_descriptor_not_now_and_the_end_are_three_answers() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        theirs.set_nonblocking(true).unwrap();
        assert!(matches!(receive(&theirs).unwrap(), Passed::NotNow));
        let (mut one, two) = UnixStream::pair().unwrap();
        assert!(send(&ours, &[two.as_fd(), ours.as_fd()]).unwrap());
        let Passed::Descriptors(mut fds) = receive(&theirs).unwrap() else { panic!("no descriptors") };
        assert_eq!(fds.len(), 2);
        let mut copy = UnixStream::from(fds.swap_remove(0));
        drop((two, fds));
        copy.write_all(b"x").unwrap();
        one.read_exact(&mut [0]).unwrap();
        drop(copy);
        assert_eq!(one.read(&mut [0]).unwrap(), 0, "no copy has stayed open");
        drop(ours);
        assert!(matches!(receive(&theirs).unwrap(), Passed::End));
    }

    #[test]
    fn more_descriptors_than_fit_are_an_error_and_none_stays_open() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let (mut one, two) = UnixStream::pair().unwrap();
        let many = vec![two.as_raw_fd(); MOST + 1];
        let byte = [IoSlice::new(&[0])];
        let rights = [ControlMessage::ScmRights(&many)];
        sendmsg::<()>(ours.as_raw_fd(), &byte, &rights, MsgFlags::empty(), None).unwrap();
        let error = receive(&theirs).unwrap_err();
        assert_eq!((error.call(), error.errno()), (Some(Call::Recvmsg), Some(Errno::EMSGSIZE)));
        drop(two);
        assert_eq!(one.read(&mut [0]).unwrap(), 0, "no copy has stayed open");
    }

    /// In a thread with a table of descriptors of its own, which starts with the three standard ones: close_range(2).
    #[test]
    fn where_not_all_descriptors_have_room_it_is_an_error_and_none_stays_open() {
        let full = || {
            // SAFETY: it takes three numbers. In its own table this thread has no descriptor above 2 that somebody uses.
            let own = unsafe { libc::syscall(libc::SYS_close_range, 3, u32::MAX, libc::CLOSE_RANGE_UNSHARE) };
            if own != 0 {
                eprintln!("skipped: close_range(2) came with Linux 5.9");
                return;
            }
            let (ours, theirs) = UnixStream::pair().unwrap();
            let (mut one, two) = UnixStream::pair().unwrap();
            assert!(send(&ours, &[two.as_fd(), two.as_fd()]).unwrap());
            let mut all: Vec<_> = std::iter::from_fn(|| two.try_clone().ok()).collect();
            all.pop().expect("room for one of the two");
            let error = receive(&theirs).unwrap_err();
            assert_eq!((error.call(), error.errno()), (Some(Call::Recvmsg), Some(Errno::EMFILE)));
            drop((two, all));
            assert_eq!(one.read(&mut [0]).unwrap(), 0, "no copy has stayed open");
        };
        std::thread::spawn(full).join().unwrap();
    }

    #[test]
    fn a_message_without_descriptors_is_misuse() {
        let (ours, _theirs) = UnixStream::pair().unwrap();
        assert!(matches!(send(&ours, &[]), Err(Error::Misuse(_))));
    }
}
