//! Sockets.

use super::{Reply, count, done, number};
use libc::socklen_t;
use std::fmt;
use std::ptr::null_mut;

/// An address of a socket, as bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Address {
    bytes: [u8; 128],
    len: usize,
}

impl Address {
    /// 127.0.0.1 and a port.
    pub(crate) fn loopback(port: u16) -> Address {
        Address::v4([127, 0, 0, 1], port)
    }

    /// An IPv4 address and a port: ip(7).
    pub(crate) fn v4(ip: [u8; 4], port: u16) -> Address {
        let mut bytes = [0; 128];
        bytes[..2].copy_from_slice(&(libc::AF_INET as u16).to_ne_bytes());
        bytes[2..4].copy_from_slice(&port.to_be_bytes());
        bytes[4..8].copy_from_slice(&ip);
        Address { bytes, len: 16 }
    }

    /// An IPv6 address and a port: ipv6(7).
    pub(crate) fn v6(ip: [u8; 16], port: u16) -> Address {
        let mut bytes = [0; 128];
        bytes[..2].copy_from_slice(&(libc::AF_INET6 as u16).to_ne_bytes());
        bytes[2..4].copy_from_slice(&port.to_be_bytes());
        bytes[8..24].copy_from_slice(&ip);
        Address { bytes, len: 28 }
    }

    /// An AF_UNIX address that is a path: unix(7).
    pub(crate) fn unix(path: &str) -> Address {
        let mut bytes = [0; 128];
        bytes[..2].copy_from_slice(&(libc::AF_UNIX as u16).to_ne_bytes());
        let len = path.len().min(107);
        bytes[2..2 + len].copy_from_slice(&path.as_bytes()[..len]);
        Address { bytes, len: 2 + len + 1 }
    }

    /// An AF_UNIX address without a name: bind(2) chooses an abstract one.
    pub(crate) fn any_unix() -> Address {
        let mut bytes = [0; 128];
        bytes[..2].copy_from_slice(&(libc::AF_UNIX as u16).to_ne_bytes());
        Address { bytes, len: 2 }
    }

    /// AF_UNSPEC: connect(2) with it takes a connection apart.
    pub(crate) fn unspecified() -> Address {
        Address { bytes: [0; 128], len: 16 }
    }

    /// The port of an IPv4 or IPv6 address.
    pub(crate) fn port(&self) -> u16 {
        u16::from_be_bytes([self.bytes[2], self.bytes[3]])
    }

    /// As the kernel has it.
    #[cfg(feature = "uring")]
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Address({:?})", &self.bytes[..self.len])
    }
}

/// socket.
pub(crate) fn socket(domain: i32, kind: i32, protocol: i32) -> Reply<i32> {
    // SAFETY: numbers.
    number("socket", unsafe { libc::socket(domain, kind, protocol) })
}

/// socketpair, AF_UNIX.
pub(crate) fn socketpair(kind: i32) -> Reply<[i32; 2]> {
    let mut ends = [-1; 2];
    // SAFETY: a live array of two, which is what the kernel writes.
    done("socketpair", unsafe { libc::socketpair(libc::AF_UNIX, kind, 0, ends.as_mut_ptr()) })?;
    Ok(ends)
}

/// bind.
pub(crate) fn bind(fd: i32, address: &Address) -> Reply<()> {
    let pointer = address.bytes.as_ptr();
    // SAFETY: the kernel reads `len` bytes of a live array that is longer.
    done("bind", unsafe { libc::bind(fd, pointer.cast(), address.len as socklen_t) })
}

/// listen.
pub(crate) fn listen(fd: i32, backlog: i32) -> Reply<()> {
    // SAFETY: numbers.
    done("listen", unsafe { libc::listen(fd, backlog) })
}

/// accept, without the peer's address.
pub(crate) fn accept(fd: i32) -> Reply<i32> {
    // SAFETY: nowhere for the address, which is allowed.
    number("accept", unsafe { libc::accept(fd, null_mut(), null_mut()) })
}

/// accept4, without the peer's address.
pub(crate) fn accept4(fd: i32, flags: i32) -> Reply<i32> {
    // SAFETY: as `accept`.
    number("accept4", unsafe { libc::accept4(fd, null_mut(), null_mut(), flags) })
}

/// connect.
pub(crate) fn connect(fd: i32, address: &Address) -> Reply<()> {
    let pointer = address.bytes.as_ptr();
    // SAFETY: as `bind`.
    done("connect", unsafe { libc::connect(fd, pointer.cast(), address.len as socklen_t) })
}

/// shutdown.
pub(crate) fn shutdown(fd: i32, how: i32) -> Reply<()> {
    // SAFETY: numbers.
    done("shutdown", unsafe { libc::shutdown(fd, how) })
}

/// getsockname.
pub(crate) fn getsockname(fd: i32) -> Reply<Address> {
    let mut bytes = [0; 128];
    let mut len = bytes.len() as socklen_t;
    // SAFETY: a live array, and a length that says how long it is.
    done("getsockname", unsafe { libc::getsockname(fd, bytes.as_mut_ptr().cast(), &raw mut len) })?;
    Ok(Address { bytes, len: (len as usize).min(bytes.len()) })
}

/// getpeername.
pub(crate) fn getpeername(fd: i32) -> Reply<Address> {
    let mut bytes = [0; 128];
    let mut len = bytes.len() as socklen_t;
    // SAFETY: as `getsockname`.
    done("getpeername", unsafe { libc::getpeername(fd, bytes.as_mut_ptr().cast(), &raw mut len) })?;
    Ok(Address { bytes, len: (len as usize).min(bytes.len()) })
}

/// The options that experiments use, all of which are plain bytes: others have pointers in their value, and the
/// kernel would follow them.
const PLAIN: &[(i32, i32)] = &[
    (libc::SOL_SOCKET, libc::SO_ACCEPTCONN),
    (libc::SOL_SOCKET, libc::SO_DOMAIN),
    (libc::SOL_SOCKET, libc::SO_ERROR),
    (libc::SOL_SOCKET, libc::SO_INCOMING_CPU),
    (libc::SOL_SOCKET, libc::SO_KEEPALIVE),
    (libc::SOL_SOCKET, libc::SO_LINGER),
    (libc::SOL_SOCKET, libc::SO_MEMINFO),
    (libc::SOL_SOCKET, libc::SO_PROTOCOL),
    (libc::SOL_SOCKET, libc::SO_RCVBUF),
    (libc::SOL_SOCKET, libc::SO_RCVLOWAT),
    (libc::SOL_SOCKET, libc::SO_RCVTIMEO),
    (libc::SOL_SOCKET, libc::SO_REUSEADDR),
    (libc::SOL_SOCKET, libc::SO_REUSEPORT),
    (libc::SOL_SOCKET, libc::SO_SNDBUF),
    (libc::SOL_SOCKET, libc::SO_SNDTIMEO),
    (libc::SOL_SOCKET, libc::SO_TYPE),
    (libc::SOL_SOCKET, libc::SO_ZEROCOPY),
    (libc::IPPROTO_IP, IP_LOCAL_PORT_RANGE),
    (libc::IPPROTO_IPV6, libc::IPV6_V6ONLY),
    (libc::IPPROTO_TCP, libc::TCP_CONGESTION),
    (libc::IPPROTO_TCP, libc::TCP_CORK),
    (libc::IPPROTO_TCP, libc::TCP_DEFER_ACCEPT),
    (libc::IPPROTO_TCP, libc::TCP_FASTOPEN_CONNECT),
    (libc::IPPROTO_TCP, TCP_FASTOPEN_NO_COOKIE),
    (libc::IPPROTO_TCP, libc::TCP_INFO),
    (libc::IPPROTO_TCP, libc::TCP_NODELAY),
    (libc::IPPROTO_TCP, libc::TCP_NOTSENT_LOWAT),
    (libc::IPPROTO_TCP, libc::TCP_USER_TIMEOUT),
];

/// The ports that a socket may be given, lowest and highest, since Linux 6.3; not in libc.
pub(crate) const IP_LOCAL_PORT_RANGE: i32 = 51;
/// Data in the SYN without a cookie, since Linux 4.15; not in libc.
pub(crate) const TCP_FASTOPEN_NO_COOKIE: i32 = 34;

fn assert_plain(level: i32, option: i32) {
    assert!(
        PLAIN.contains(&(level, option)),
        "option {option} of level {level} is not known to be plain bytes"
    );
}

/// getsockopt into bytes; how many the kernel wrote.
pub(crate) fn getsockopt(fd: i32, level: i32, option: i32, value: &mut [u8]) -> Reply<usize> {
    assert_plain(level, option);
    let mut len = value.len() as socklen_t;
    // SAFETY: a live slice, and a length that says how long it is; the value has no pointers to follow.
    let got = unsafe { libc::getsockopt(fd, level, option, value.as_mut_ptr().cast(), &raw mut len) };
    done("getsockopt", got)?;
    Ok((len as usize).min(value.len()))
}

/// setsockopt from bytes.
pub(crate) fn setsockopt(fd: i32, level: i32, option: i32, value: &[u8]) -> Reply<()> {
    assert_plain(level, option);
    let len = value.len() as socklen_t;
    // SAFETY: the pointer and the length are those of one live slice, which has no pointers to follow.
    done("setsockopt", unsafe { libc::setsockopt(fd, level, option, value.as_ptr().cast(), len) })
}

/// setsockopt with SO_ATTACH_REUSEPORT_CBPF: a program that chooses the `k`th socket of the group.
pub(crate) fn steer_reuseport(fd: i32, k: u32) -> Reply<()> {
    // BPF_RET | BPF_K
    let mut program = [libc::sock_filter { code: 0x06, jt: 0, jf: 0, k }];
    let program = libc::sock_fprog { len: 1, filter: program.as_mut_ptr() };
    let len = size_of_val(&program) as socklen_t;
    let (level, option) = (libc::SOL_SOCKET, libc::SO_ATTACH_REUSEPORT_CBPF);
    // SAFETY: a live `sock_fprog`, whose pointer and length are those of a live array.
    done("setsockopt", unsafe { libc::setsockopt(fd, level, option, (&raw const program).cast(), len) })
}

/// send.
pub(crate) fn send(fd: i32, bytes: &[u8], flags: i32) -> Reply<usize> {
    // SAFETY: the pointer and the length are those of one live slice.
    count("send", unsafe { libc::send(fd, bytes.as_ptr().cast(), bytes.len(), flags) } as i64)
}

/// sendto.
pub(crate) fn sendto(fd: i32, bytes: &[u8], flags: i32, to: &Address) -> Reply<usize> {
    let (to, to_len) = (to.bytes.as_ptr(), to.len as socklen_t);
    // SAFETY: the pointers and the lengths are those of a live slice and of a live array that is longer.
    let sent = unsafe { libc::sendto(fd, bytes.as_ptr().cast(), bytes.len(), flags, to.cast(), to_len) };
    count("sendto", sent as i64)
}

/// recv.
pub(crate) fn recv(fd: i32, buffer: &mut [u8], flags: i32) -> Reply<usize> {
    // SAFETY: the pointer and the length are those of one live slice.
    count("recv", unsafe { libc::recv(fd, buffer.as_mut_ptr().cast(), buffer.len(), flags) } as i64)
}

/// What recvmsg brought besides bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Message {
    /// How many bytes.
    pub(crate) bytes: usize,
    /// Descriptors.
    pub(crate) fds: Vec<i32>,
    /// `msg_flags`.
    pub(crate) flags: i32,
}

/// sendmsg with SCM_RIGHTS: one byte, and descriptors. unix(7).
pub(crate) fn send_fds(fd: i32, fds: &[i32]) -> Reply<usize> {
    use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
    let bytes = [std::io::IoSlice::new(b"x")];
    sendmsg::<()>(fd, &bytes, &[ControlMessage::ScmRights(fds)], MsgFlags::MSG_NOSIGNAL, None)
        .map_err(|errno| super::Refusal { call: "sendmsg", errno })
}

/// recvmsg, with room for so many bytes and for `max` descriptors.
pub(crate) fn recv_fds(fd: i32, room: usize, max: usize, flags: i32) -> Reply<Message> {
    // A header of a length and two ints, then the descriptors: `struct cmsghdr` on 64 bits.
    const HEADER: usize = 16;
    let mut control = vec![0u64; (HEADER + 4 * max).div_ceil(8)];
    let mut bytes = vec![0u8; room];
    let mut bytes = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() };
    // SAFETY: all-zero bytes are a value of `msghdr`, which consists of numbers and pointers.
    let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
    header.msg_iov = &raw mut bytes;
    header.msg_iovlen = 1;
    header.msg_control = control.as_mut_ptr().cast();
    // The type of this length depends on the C library.
    header.msg_controllen = (HEADER + 4 * max) as _;
    // SAFETY: the header's pointers and lengths are those of live memory that nothing else borrows.
    let got = count("recvmsg", unsafe { libc::recvmsg(fd, &raw mut header, flags) } as i64)?;
    // The first word of the header is its length with the descriptors; without a message there is no header.
    let len = if header.msg_controllen == 0 { 0 } else { usize::try_from(control[0]).unwrap_or(0) };
    let control: Vec<u8> = control.iter().flat_map(|word| word.to_ne_bytes()).collect();
    let fds = control.get(HEADER..len).unwrap_or_default();
    let fds = fds.chunks_exact(4).map(|fd| i32::from_ne_bytes([fd[0], fd[1], fd[2], fd[3]])).collect();
    Ok(Message { bytes: got, fds, flags: header.msg_flags })
}
