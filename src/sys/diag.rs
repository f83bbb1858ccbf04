//! What waits in the queues of a TCP socket that may belong to another process: sock_diag(7), over netlink.
//!
//! One socket is asked for by its addresses, which the kernel finds in its hash table. Reading `/proc/net/tcp` walks the whole of
//! that table, which takes milliseconds.

use super::socket::{self, Mode};
use super::{Call, Errno, cvt, retry};
use crate::error::Result;
use nix::sys::socket::{AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::{AsRawFd, OwnedFd};

/// Asks the kernel for sockets.
#[derive(Debug)]
pub struct Diag {
    fd: OwnedFd,
}

/// What the kernel tells of a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Socket {
    /// `TCP_…` of netinet/tcp.h: 1 is ESTABLISHED, 10 LISTEN.
    pub state: u8,
    /// Bytes that have arrived and were not read; of a socket that listens, connections in the accept queue.
    pub received: u32,
    /// Bytes that were sent and not acknowledged; of a socket that listens, the length of its queue.
    pub unsent: u32,
    /// Its number in /proc. 0 for a socket that no descriptor belongs to (any more).
    pub inode: u32,
    /// What the program has handed to it to be sent, in bytes. `None` for a socket that listens or has closed, and before Linux 4.19.
    pub handed: Option<u64>,
    /// What has arrived, in bytes, a FIN counted as one.
    pub arrived: Option<u64>,
}

/// A message begins with `struct nlmsghdr`, linux/netlink.h: length, type, flags, sequence number, port.
const HEADER: usize = 16;
/// `SOCK_DIAG_BY_FAMILY`, linux/sock_diag.h.
const BY_FAMILY: u16 = 20;
/// `struct tcp_info` comes as an attribute with this number, linux/inet_diag.h.
const INET_DIAG_INFO: u8 = 2;

impl Diag {
    /// A socket for questions. A kernel without `inet_diag` says of each socket that there is none, so it is asked for one that is there.
    ///
    /// # Errors
    ///
    /// `EPROTONOSUPPORT`, `EAFNOSUPPORT` where the kernel or the sandbox has no sock_diag; `ENOENT` where the kernel has no `inet_diag`;
    /// `EPERM` in a sandbox; `EMFILE`.
    pub fn new() -> Result<Diag> {
        let fd = nix::sys::socket::socket(
            AddressFamily::Netlink,
            SockType::Datagram,
            SockFlag::SOCK_CLOEXEC,
            SockProtocol::NetlinkSockDiag,
        );
        let diag = Diag { fd: cvt(Call::Socket, fd)? };
        let loopback = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let there = socket::tcp(&loopback, Mode::Nonblocking)?;
        socket::bind(&there, &loopback)?;
        socket::listen(&there, 1)?;
        let nobody = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
        match diag.find(socket::local_addr(&there)?, nobody)? {
            Some(_) => Ok(diag),
            None => cvt(Call::Recvfrom, Err(Errno::ENOENT)),
        }
    }

    /// The socket with these addresses: its own one and that of its peer. A socket that listens has no peer: any address with port 0. `None`
    /// when there is none.
    ///
    /// # Errors
    ///
    /// `EPERM` in a sandbox.
    pub fn find(&self, own: SocketAddr, peer: SocketAddr) -> Result<Option<Socket>> {
        let request = request(own, peer);
        let to = NetlinkAddr::new(0, 0);
        retry(|| {
            let sent = nix::sys::socket::sendto(self.fd.as_raw_fd(), &request, &to, MsgFlags::empty());
            cvt(Call::Sendto, sent)
        })?;
        // struct tcp_info grows from release to release.
        let mut answer = [0; 2048];
        let n = retry(|| {
            let received = nix::sys::socket::recv(self.fd.as_raw_fd(), &mut answer, MsgFlags::empty());
            cvt(Call::Recvfrom, received)
        })?;
        match parse(&answer[..n]) {
            Err(Errno::ENOENT) => Ok(None),
            other => cvt(Call::Recvfrom, other).map(Some),
        }
    }
}

/// `struct nlmsghdr` and `struct inet_diag_req_v2`, linux/inet_diag.h.
fn request(own: SocketAddr, peer: SocketAddr) -> Vec<u8> {
    const LENGTH: u32 = 72;
    const NLM_F_REQUEST: u16 = 1;
    const ALL_STATES: u32 = u32::MAX;
    const NO_COOKIE: [u8; 8] = [0xff; 8];
    let family = if own.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 } as u8;
    let mut request = Vec::with_capacity(LENGTH as usize);
    request.extend(LENGTH.to_ne_bytes());
    request.extend(BY_FAMILY.to_ne_bytes());
    request.extend(NLM_F_REQUEST.to_ne_bytes());
    request.extend([0; 8]);
    request.extend([family, libc::IPPROTO_TCP as u8, 1 << (INET_DIAG_INFO - 1), 0]);
    request.extend(ALL_STATES.to_ne_bytes());
    request.extend(own.port().to_be_bytes());
    request.extend(peer.port().to_be_bytes());
    for ip in [own.ip(), peer.ip()] {
        let mut bytes = [0; 16];
        match ip {
            IpAddr::V4(ip) => bytes[..4].copy_from_slice(&ip.octets()),
            IpAddr::V6(ip) => bytes = ip.octets(),
        }
        request.extend(bytes);
    }
    // Any interface.
    request.extend([0; 4]);
    request.extend(NO_COOKIE);
    request
}

/// An answer: `struct inet_diag_msg`, or an error.
fn parse(answer: &[u8]) -> nix::Result<Socket> {
    const NLMSG_ERROR: u16 = 2;
    const STATE: usize = HEADER + 1;
    /// Behind four bytes, the identity of the socket (48 bytes) and a time.
    const RECEIVED: usize = HEADER + 56;
    const UNSENT: usize = RECEIVED + 4;
    const INODE: usize = RECEIVED + 12;
    let number = |at: usize| {
        let bytes = answer.get(at..at + 4).and_then(|bytes| bytes.try_into().ok());
        bytes.map(u32::from_ne_bytes).ok_or(Errno::EBADMSG)
    };
    let kind = answer.get(4..6).and_then(|bytes| bytes.try_into().ok());
    match kind.map(u16::from_ne_bytes) {
        Some(NLMSG_ERROR) => match number(HEADER)?.cast_signed() {
            0 => Err(Errno::EBADMSG),
            errno => Err(Errno::from_raw(-errno)),
        },
        Some(BY_FAMILY) => {
            let info = answer.get(INODE + 4..).and_then(info);
            Ok(Socket {
                state: *answer.get(STATE).ok_or(Errno::EBADMSG)?,
                received: number(RECEIVED)?,
                unsent: number(UNSENT)?,
                inode: number(INODE)?,
                handed: info.and_then(handed),
                arrived: info.and_then(|info| u64_at(info, 128)),
            })
        }
        _ => Err(Errno::EBADMSG),
    }
}

/// The `struct tcp_info` among attributes: each has a length, which counts itself, and a type, and is aligned to four bytes.
fn info(mut attributes: &[u8]) -> Option<&[u8]> {
    loop {
        let length = u16::from_ne_bytes(attributes.get(..2)?.try_into().ok()?) as usize;
        let kind = u16::from_ne_bytes(attributes.get(2..4)?.try_into().ok()?);
        if kind == u16::from(INET_DIAG_INFO) {
            return attributes.get(4..length);
        }
        attributes = attributes.get(length.max(4).next_multiple_of(4)..)?;
    }
}

/// Of `struct tcp_info`, linux/tcp.h: `tcpi_bytes_sent` less `tcpi_bytes_retrans`, and `tcpi_notsent_bytes`.
fn handed(info: &[u8]) -> Option<u64> {
    let not_sent = u32::from_ne_bytes(info.get(144..148)?.try_into().ok()?);
    Some((u64_at(info, 200)? + u64::from(not_sent)).saturating_sub(u64_at(info, 208)?))
}

fn u64_at(info: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_ne_bytes(info.get(at..at + 8)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::super::sockopt;
    use super::*;
    use std::io::Write;
    use std::net::{TcpListener, TcpStream};
    use std::time::{Duration, Instant};

    #[test]
    fn both_queues_of_a_connection_and_that_of_a_listener() {
        let Ok(diag) = Diag::new() else {
            eprintln!("skipped: this system has no sock_diag");
            return;
        };
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let any = "0.0.0.0:0".parse().unwrap();
        let found = diag.find(addr, any).unwrap().expect("it listens");
        assert_eq!((found.state, found.received), (10, 0));
        let mut client = TcpStream::connect(addr).unwrap();
        let other = client.local_addr().unwrap();
        client.write_all(b"hello").unwrap();
        let began = Instant::now();
        while sockopt::unsent(&client).unwrap() > 0 {
            assert!(
                began.elapsed() < Duration::from_secs(30),
                "not within 30 s: five bytes are acknowledged"
            );
            std::thread::yield_now();
        }
        assert_eq!(diag.find(addr, any).unwrap().expect("it listens").received, 1, "one waits for accept");
        let waiting = diag.find(addr, other).unwrap().expect("it is connected before accept");
        assert_eq!((waiting.state, waiting.received), (1, 5));
        let (server, _) = listener.accept().unwrap();
        let found = diag.find(addr, other).unwrap().expect("it is connected");
        assert_eq!((found.received, found.unsent, found.arrived), (5, 0, Some(5)));
        let link = std::fs::read_link(format!("/proc/self/fd/{}", server.as_raw_fd())).unwrap();
        assert_eq!(link.to_str(), Some(&*format!("socket:[{}]", found.inode)));
        let theirs = diag.find(other, addr).unwrap().expect("the client's end");
        assert_eq!((theirs.received, theirs.handed), (0, Some(5)));
        let nobody = "127.0.0.1:1".parse().unwrap();
        assert_eq!(diag.find(nobody, other).unwrap(), None);
    }

    #[test]
    fn an_answer_that_is_cut_short_is_an_error() {
        assert_eq!(parse(&[]), Err(Errno::EBADMSG));
        let mut answer = vec![0; 40];
        answer[4..6].copy_from_slice(&BY_FAMILY.to_ne_bytes());
        assert_eq!(parse(&answer), Err(Errno::EBADMSG));
    }
}
