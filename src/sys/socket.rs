//! TCP sockets: socket(2) and what follows. Over `nix::sys::socket`.
//!
//! "Not now" is an answer here, not an error: see [`Accepted`], [`Received`], [`Sent`],
//! [`Connected`].

use super::sockopt::take_error;
use super::{Call, Errno, calls, cvt, cvt_on, poll, retry};
use crate::error::{Error, Result};
use nix::sys::socket::{AddressFamily, Backlog, MsgFlags, SockFlag, SockType, SockaddrLike, SockaddrStorage};
use std::mem::MaybeUninit;
use std::net::{SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

pub use nix::sys::socket::Shutdown;

/// Whether calls on a socket wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// They wait until they can do something.
    Blocking,
    /// They say "not now": `SOCK_NONBLOCK`.
    Nonblocking,
}

impl Mode {
    fn flags(self) -> SockFlag {
        match self {
            Mode::Blocking => SockFlag::SOCK_CLOEXEC,
            Mode::Nonblocking => SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK,
        }
    }
}

/// A TCP socket of the family of `addr`, closed on exec: socket(2).
///
/// # Errors
///
/// `EMFILE`, `ENFILE`, `ENOBUFS`; `EAFNOSUPPORT` where IPv6 is off.
pub fn tcp(addr: &SocketAddr, mode: Mode) -> Result<OwnedFd> {
    let family = match addr {
        SocketAddr::V4(_) => AddressFamily::Inet,
        SocketAddr::V6(_) => AddressFamily::Inet6,
    };
    cvt(Call::Socket, nix::sys::socket::socket(family, SockType::Stream, mode.flags(), None))
}

/// Give the socket its own address: bind(2).
///
/// # Errors
///
/// `EADDRINUSE`, `EADDRNOTAVAIL` (not an address of this machine), `EACCES` (a privileged port).
pub fn bind(fd: impl AsFd, addr: &SocketAddr) -> Result<()> {
    let fd = fd.as_fd();
    let addr = SockaddrStorage::from(*addr);
    cvt_on(Call::Bind, fd, nix::sys::socket::bind(fd.as_raw_fd(), &addr))
}

/// Let clients connect; at most `backlog` (and `net.core.somaxconn`) wait for accept: listen(2).
///
/// # Errors
///
/// `EADDRINUSE` when another socket listens on the port.
pub fn listen(fd: impl AsFd, backlog: i32) -> Result<()> {
    let fd = fd.as_fd();
    // nix wants to know a small backlog from one that means "as many as the system allows".
    let backlog = Backlog::new(backlog).unwrap_or(Backlog::MAXCONN);
    cvt_on(Call::Listen, fd, nix::sys::socket::listen(&fd, backlog))
}

/// What accept(2) found.
#[derive(Debug)]
pub enum Accepted {
    /// A client's socket, and where the client is.
    Client(OwnedFd, SocketAddr),
    /// No client waits (`EAGAIN`).
    Nobody,
    /// Not this client, for this reason: it has gone already (`ECONNABORTED`), its connection has failed (Linux passes
    /// errors of the network on), or a filter forbids it (`EPERM`). Usually it is no longer in the queue, and the next call
    /// finds the next one; a filter of system calls (seccomp) leaves it there.
    NotThis(Errno),
}

/// Take a client from the queue: accept4(2). Its socket has `mode` from the start.
///
/// Over libc, because nix does not ask for the address. Asking for it later, by getpeername(2), would
/// fail for a client that has reset its connection.
///
/// # Errors
///
/// `EMFILE` and `ENFILE` when there is no descriptor left, `ENOBUFS` and `ENOMEM` when there is no
/// memory; `EINVAL` after shutdown(2) of the listener; `EOPNOTSUPP` and `EAFNOSUPPORT` when it is no TCP socket.
#[doc(alias = "accept4")]
pub fn accept(listener: impl AsFd, mode: Mode) -> Result<Accepted> {
    let fd = listener.as_fd();
    let mut addr = MaybeUninit::<libc::sockaddr_storage>::uninit();
    let mut len = 0;
    let accepted = retry(|| {
        len = size_of_val(&addr) as libc::socklen_t;
        // SAFETY: the kernel writes at most `len` bytes of an address to `addr`, which is as long as
        // that, and the number of bytes to `len`; both live until the call returns.
        let client = unsafe {
            libc::accept4(fd.as_raw_fd(), addr.as_mut_ptr().cast(), &raw mut len, mode.flags().bits())
        };
        cvt_on(Call::Accept4, fd, Errno::result(client))
    });
    match accepted {
        Ok(client) => {
            // SAFETY: the call succeeded, so this is a descriptor that nobody else has been told of.
            let client = unsafe { OwnedFd::from_raw_fd(client) };
            // SAFETY: the call succeeded, so it has written `len` bytes of an address to `addr`, and no
            // address is longer than `addr` is.
            let addr = unsafe { SockaddrStorage::from_raw(addr.as_ptr().cast(), Some(len)) };
            let addr = addr.ok_or(Errno::EAFNOSUPPORT).and_then(|addr| internet(&addr));
            let addr =
                addr.map_err(|source| Error::Call { call: Call::Accept4, fd: Some(fd.as_raw_fd()), source })?;
            Ok(Accepted::Client(client, addr))
        }
        Err(error) => match error.errno() {
            Some(Errno::EAGAIN) => Ok(Accepted::Nobody),
            Some(errno) if is_about_one_client(errno) => Ok(Accepted::NotThis(errno)),
            _ => Err(error),
        },
    }
}

/// Whether an error of accept(2) is about the client that would have come, and not about the listener: those that accept(2) says to
/// treat like "nobody", and `EPERM`. (`EOPNOTSUPP`, which it names as well, is about the listener.)
pub(crate) fn is_about_one_client(errno: Errno) -> bool {
    matches!(
        errno,
        Errno::ECONNABORTED
            | Errno::EPERM
            | Errno::EPROTO
            | Errno::ENOPROTOOPT
            | Errno::ENETDOWN
            | Errno::ENETUNREACH
            | Errno::EHOSTDOWN
            | Errno::EHOSTUNREACH
            | Errno::ENONET
    )
}

/// How far connect(2) got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Connected {
    /// The connection stands.
    Yes,
    /// Not yet: wait until the socket is writable, then ask [`take_error`] (`EINPROGRESS`).
    Pending,
}

/// Connect to `addr`: connect(2).
///
/// A blocking connect that a signal interrupts goes on in the kernel, and a second call would say
/// `EALREADY`; this waits for its end.
///
/// # Errors
///
/// `ECONNREFUSED`, `ETIMEDOUT`, `EHOSTUNREACH`, `ENETUNREACH`; `EADDRNOTAVAIL` when all local ports
/// towards this address are in use.
pub fn connect(fd: impl AsFd, addr: &SocketAddr) -> Result<Connected> {
    let fd = fd.as_fd();
    let storage = SockaddrStorage::from(*addr);
    match cvt_on(Call::Connect, fd, nix::sys::socket::connect(fd.as_raw_fd(), &storage)) {
        Ok(()) => Ok(Connected::Yes),
        Err(error) => match error.errno() {
            Some(Errno::EINPROGRESS) => Ok(Connected::Pending),
            Some(Errno::EINTR) => {
                poll::wait_for(fd, poll::PollFlags::POLLOUT, None)?;
                match take_error(fd)? {
                    None => Ok(Connected::Yes),
                    Some(source) => {
                        Err(Error::Call { call: Call::Connect, fd: Some(fd.as_raw_fd()), source })
                    }
                }
            }
            _ => Err(error),
        },
    }
}

/// What recv(2) found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Received {
    /// That many bytes, at least 1.
    Bytes(usize),
    /// The peer has said that no more will come (FIN).
    End,
    /// Nothing has arrived (`EAGAIN`).
    NotNow,
}

/// Take what has arrived, at most as much as `buffer` holds: recv(2).
///
/// `ssize_t recv(int sockfd, void *buf, size_t len, int flags)`, man 2 recv. It is recv and not read(2), because that goes
/// through the file layer of the kernel first.
///
/// # Errors
///
/// `ECONNRESET`, `ETIMEDOUT`, `ECONNREFUSED`.
///
/// # Panics
///
/// With an empty buffer: the answer 0 could not be told from the end of the stream.
#[doc(alias = "recvfrom")]
#[inline]
pub fn recv(fd: impl AsFd, buffer: &mut [u8]) -> Result<Received> {
    let fd = fd.as_fd().as_raw_fd();
    assert!(!buffer.is_empty(), "a receive of no bytes cannot be told from the end of the stream");
    loop {
        calls::count(Call::Recvfrom);
        match nix::sys::socket::recv(fd, buffer, MsgFlags::empty()) {
            Ok(0) => return Ok(Received::End),
            Ok(n) => return Ok(Received::Bytes(n)),
            Err(Errno::EAGAIN) => return Ok(Received::NotNow),
            Err(Errno::EINTR) => {}
            Err(source) => return Err(Error::Call { call: Call::Recvfrom, fd: Some(fd), source }),
        }
    }
}

/// What send(2) took.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sent {
    /// That many bytes, perhaps fewer than were given.
    Bytes(usize),
    /// None: the send buffer is full (`EAGAIN`).
    NotNow,
}

/// Give bytes to the kernel to send: send(2), with `MSG_NOSIGNAL`.
///
/// Without that flag a peer that has gone would end the process by `SIGPIPE`.
///
/// # Errors
///
/// `EPIPE` and `ECONNRESET` when the peer has gone.
#[doc(alias = "sendto")]
#[doc(alias = "MSG_NOSIGNAL")]
#[inline]
pub fn send(fd: impl AsFd, bytes: &[u8]) -> Result<Sent> {
    let fd = fd.as_fd().as_raw_fd();
    loop {
        calls::count(Call::Sendto);
        match nix::sys::socket::send(fd, bytes, MsgFlags::MSG_NOSIGNAL) {
            Ok(n) => return Ok(Sent::Bytes(n)),
            Err(Errno::EAGAIN) => return Ok(Sent::NotNow),
            Err(Errno::EINTR) => {}
            Err(source) => return Err(Error::Call { call: Call::Sendto, fd: Some(fd), source }),
        }
    }
}

/// Give the last bytes to the kernel to send, and end this direction: send(2) with `MSG_MORE`, then shutdown(2). So few bytes go
/// out in one segment with the FIN.
///
/// # Errors
///
/// `EPIPE` and `ECONNRESET` when the peer has gone; `EAGAIN` when the send buffer has no room for all of them.
#[doc(hidden)]
pub fn send_last(fd: impl AsFd, bytes: &[u8]) -> Result<()> {
    let fd = fd.as_fd();
    let flags = MsgFlags::MSG_NOSIGNAL | MsgFlags::from_bits_retain(libc::MSG_MORE);
    let sent = cvt_on(Call::Sendto, fd, nix::sys::socket::send(fd.as_raw_fd(), bytes, flags))?;
    if sent < bytes.len() {
        return Err(Error::Call { call: Call::Sendto, fd: Some(fd.as_raw_fd()), source: Errno::EAGAIN });
    }
    shutdown(fd, Shutdown::Write)
}

/// Send a byte of urgent data: send(2) with `MSG_OOB`, tcp(7).
///
/// # Errors
///
/// `EPIPE` and `ECONNRESET` when the peer has gone.
#[doc(hidden)]
pub fn send_urgent(fd: impl AsFd, byte: u8) -> Result<()> {
    let fd = fd.as_fd();
    let flags = MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_OOB;
    cvt_on(Call::Sendto, fd, nix::sys::socket::send(fd.as_raw_fd(), &[byte], flags)).map(drop)
}

/// End one direction of a connection, or both: shutdown(2). On a listener, `Shutdown::Read` wakes
/// who waits in accept(2).
///
/// # Errors
///
/// `ENOTCONN`.
pub fn shutdown(fd: impl AsFd, how: Shutdown) -> Result<()> {
    let fd = fd.as_fd();
    cvt_on(Call::Shutdown, fd, nix::sys::socket::shutdown(fd.as_raw_fd(), how))
}

/// The socket's own address: getsockname(2).
///
/// # Errors
///
/// `EBADF`, `ENOTSOCK`; `EAFNOSUPPORT` when it is not an internet socket.
#[doc(alias = "getsockname")]
pub fn local_addr(fd: impl AsFd) -> Result<SocketAddr> {
    let fd = fd.as_fd();
    let result = nix::sys::socket::getsockname::<SockaddrStorage>(fd.as_raw_fd());
    cvt_on(Call::Getsockname, fd, result.and_then(|addr| internet(&addr)))
}

/// The address at the other end: getpeername(2).
///
/// # Errors
///
/// `ENOTCONN` when it has gone; `EAFNOSUPPORT` when it is not an internet socket.
#[doc(alias = "getpeername")]
pub fn peer_addr(fd: impl AsFd) -> Result<SocketAddr> {
    let fd = fd.as_fd();
    let result = nix::sys::socket::getpeername::<SockaddrStorage>(fd.as_raw_fd());
    cvt_on(Call::Getpeername, fd, result.and_then(|addr| internet(&addr)))
}

/// Whether both ends are this socket. connect(2) to a port of `net.ipv4.ip_local_port_range` on which nobody listens can
/// choose that very port as the local one. Two SYNs then cross, the connection stands, and everything that is sent
/// comes back (RFC 9293, 3.5: simultaneous open).
///
/// # Errors
///
/// `ENOTCONN` when it is not connected.
pub fn is_connected_to_itself(fd: impl AsFd) -> Result<bool> {
    Ok(local_addr(&fd)? == peer_addr(&fd)?)
}

fn internet(addr: &SockaddrStorage) -> nix::Result<SocketAddr> {
    if let Some(v4) = addr.as_sockaddr_in() {
        Ok(SocketAddrV4::from(*v4).into())
    } else if let Some(v6) = addr.as_sockaddr_in6() {
        Ok(SocketAddrV6::from(*v6).into())
    } else {
        Err(Errno::EAFNOSUPPORT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::poll::{PollFlags, wait_for};
    use crate::sys::sockopt::{set_reset_on_close, set_reuse_addr};
    use std::time::Duration;

    /// A connected pair over loopback, both ends non-blocking.
    fn pair(any: &str) -> (OwnedFd, OwnedFd) {
        let addr: SocketAddr = any.parse().unwrap();
        let listener = tcp(&addr, Mode::Nonblocking).unwrap();
        bind(&listener, &addr).unwrap();
        listen(&listener, 8).unwrap();
        let bound = local_addr(&listener).unwrap();
        assert!(matches!(accept(&listener, Mode::Nonblocking).unwrap(), Accepted::Nobody));
        let client = tcp(&bound, Mode::Nonblocking).unwrap();
        if connect(&client, &bound).unwrap() == Connected::Pending {
            assert!(wait_for(&client, PollFlags::POLLOUT, Some(Duration::from_secs(5))).unwrap());
        }
        assert_eq!(take_error(&client).unwrap(), None);
        assert!(wait_for(&listener, PollFlags::POLLIN, Some(Duration::from_secs(5))).unwrap());
        let Accepted::Client(server, peer) = accept(&listener, Mode::Nonblocking).unwrap() else {
            panic!("no client in the queue")
        };
        assert_eq!(local_addr(&client).unwrap(), peer);
        assert_eq!(peer_addr(&server).unwrap(), peer);
        assert_eq!(peer_addr(&client).unwrap(), bound);
        (client, server)
    }

    #[test]
    fn bytes_not_now_and_the_end_are_three_answers() {
        for any in ["127.0.0.1:0", "[::1]:0"] {
            if std::net::TcpListener::bind(any).is_err() {
                eprintln!("skipped {any}: this machine has no such address");
                continue;
            }
            let (client, server) = pair(any);
            let mut buffer = [0; 16];
            assert_eq!(recv(&server, &mut buffer).unwrap(), Received::NotNow);
            assert_eq!(send(&client, b"hello").unwrap(), Sent::Bytes(5));
            assert!(wait_for(&server, PollFlags::POLLIN, Some(Duration::from_secs(5))).unwrap());
            assert_eq!(recv(&server, &mut buffer).unwrap(), Received::Bytes(5));
            shutdown(&client, Shutdown::Write).unwrap();
            assert!(wait_for(&server, PollFlags::POLLIN, Some(Duration::from_secs(5))).unwrap());
            assert_eq!(recv(&server, &mut buffer).unwrap(), Received::End);
        }
    }

    #[test]
    fn a_full_send_buffer_says_not_now_and_a_gone_peer_epipe() {
        let (client, server) = pair("127.0.0.1:0");
        let block = [7; 65536];
        let mut sent = 0;
        while let Sent::Bytes(n) = send(&client, &block).unwrap() {
            sent += n;
            assert!(sent < 1 << 30, "a buffer of a gigabyte?");
        }
        set_reset_on_close(&server).unwrap();
        drop(server);
        assert!(wait_for(&client, PollFlags::POLLOUT, Some(Duration::from_secs(5))).unwrap());
        let first = send(&client, &block).unwrap_err();
        assert_eq!(first.errno(), Some(Errno::ECONNRESET));
        let second = send(&client, &block).unwrap_err();
        assert_eq!(second.errno(), Some(Errno::EPIPE), "and the process still lives");
    }

    #[test]
    fn a_refused_connection_waits_in_so_error_and_is_taken_once() {
        let addr: SocketAddr = "127.0.0.1:0".parse().unwrap();
        // Bound but not listening: nobody else can get the port, and it refuses.
        let holder = tcp(&addr, Mode::Blocking).unwrap();
        bind(&holder, &addr).unwrap();
        let closed = local_addr(&holder).unwrap();
        let client = tcp(&closed, Mode::Nonblocking).unwrap();
        match connect(&client, &closed) {
            Ok(Connected::Pending) => {
                assert!(wait_for(&client, PollFlags::POLLOUT, Some(Duration::from_secs(5))).unwrap());
                assert_eq!(take_error(&client).unwrap(), Some(Errno::ECONNREFUSED));
                assert_eq!(take_error(&client).unwrap(), None);
            }
            other => panic!("{other:?}"),
        }
        let error = connect(tcp(&closed, Mode::Blocking).unwrap(), &closed).unwrap_err();
        assert_eq!(error.errno(), Some(Errno::ECONNREFUSED));
    }

    #[test]
    fn a_port_in_use_is_an_error_that_names_bind_or_listen() {
        let addr: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let one = tcp(&addr, Mode::Blocking).unwrap();
        bind(&one, &addr).unwrap();
        listen(&one, 1).unwrap();
        let taken = local_addr(&one).unwrap();
        let two = tcp(&taken, Mode::Blocking).unwrap();
        set_reuse_addr(&two, true).unwrap();
        let error = bind(&two, &taken).unwrap_err();
        assert_eq!(error.errno(), Some(Errno::EADDRINUSE));
        assert!(error.to_string().starts_with("bind(fd "), "{error}");
    }

    #[test]
    fn a_socket_can_be_connected_to_itself_and_everything_comes_back() {
        let any = "127.0.0.1:0".parse().unwrap();
        let socket = tcp(&any, Mode::Nonblocking).unwrap();
        bind(&socket, &any).unwrap();
        connect(&socket, &local_addr(&socket).unwrap()).unwrap();
        assert!(wait_for(&socket, PollFlags::POLLOUT, Some(Duration::from_secs(10))).is_ok());
        assert!(is_connected_to_itself(&socket).unwrap());
        assert_eq!(send(&socket, b"x").unwrap(), Sent::Bytes(1));
        assert!(wait_for(&socket, PollFlags::POLLIN, Some(Duration::from_secs(10))).is_ok());
        assert_eq!(recv(&socket, &mut [0; 8]).unwrap(), Received::Bytes(1));
        let (client, server) = pair("127.0.0.1:0");
        assert!(!is_connected_to_itself(&client).unwrap());
        assert!(!is_connected_to_itself(&server).unwrap());
    }
}
