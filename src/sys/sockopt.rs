//! Socket options: setsockopt(2), getsockopt(2), and one ioctl(2). Over `nix::sys::socket`.

use super::{Call, Errno, cvt_on};
use crate::Result;
use nix::sys::socket::sockopt;
use nix::sys::time::TimeVal;
use std::ffi::OsString;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::time::Duration;

/// Take the error that waits on a socket: getsockopt(2) `SO_ERROR`. It is cleared by this.
///
/// # Errors
///
/// `EBADF`, `ENOTSOCK`.
#[doc(alias = "SO_ERROR")]
pub fn take_error(fd: impl AsFd) -> Result<Option<Errno>> {
    let fd = fd.as_fd();
    let error = cvt_on(Call::Getsockopt, fd, nix::sys::socket::getsockopt(&fd, sockopt::SocketError))?;
    Ok((error != 0).then(|| Errno::from_raw(error)))
}

/// Let a server bind a port whose old connections are in TIME_WAIT: `SO_REUSEADDR`, socket(7). The server
/// that left them must have had it, too.
///
/// # Errors
///
/// `EBADF`, `ENOTSOCK`.
#[doc(alias = "SO_REUSEADDR")]
pub fn set_reuse_addr(fd: impl AsFd, on: bool) -> Result<()> {
    set(fd.as_fd(), sockopt::ReuseAddr, &on)
}

/// Let several sockets listen on one address and port, each with a queue of its own, among which the kernel
/// distributes the clients: `SO_REUSEPORT`, socket(7). Each of these sockets must have it before
/// [`bind`](super::socket::bind), and all must belong to the same user.
///
/// # Errors
///
/// `EBADF`, `ENOTSOCK`.
#[doc(alias = "SO_REUSEPORT")]
pub fn set_reuse_port(fd: impl AsFd, on: bool) -> Result<()> {
    set(fd.as_fd(), sockopt::ReusePort, &on)
}

/// Send small pieces at once instead of collecting them: `TCP_NODELAY`, tcp(7). Clients accepted
/// from a listener inherit it.
///
/// # Errors
///
/// `EBADF`, `ENOTSOCK`.
#[doc(alias = "TCP_NODELAY")]
pub fn set_nodelay(fd: impl AsFd, on: bool) -> Result<()> {
    set(fd.as_fd(), sockopt::TcpNoDelay, &on)
}

/// Acknowledge what comes at once, or late, with the next answer or after 40 ms at least: `TCP_QUICKACK`, tcp(7). It holds for a while only:
/// the kernel changes it by what it sees.
///
/// # Errors
///
/// `EBADF`, `ENOTSOCK`.
#[doc(hidden)]
pub fn set_quickack(fd: impl AsFd, on: bool) -> Result<()> {
    let fd = fd.as_fd();
    let on = libc::c_int::from(on);
    // SAFETY: setsockopt reads as many bytes as the last argument says from `on`, which is that large and lives until the call returns.
    let set = unsafe {
        libc::setsockopt(
            fd.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_QUICKACK,
            (&raw const on).cast(),
            size_of_val(&on) as libc::socklen_t,
        )
    };
    cvt_on(Call::Setsockopt, fd, Errno::result(set)).map(drop)
}

/// Ask a peer that has been silent for a while whether it is still there: `SO_KEEPALIVE`, socket(7), with `TCP_KEEPIDLE`,
/// `TCP_KEEPINTVL` and `TCP_KEEPCNT`, tcp(7). The first probe goes out after `idle`, the next each after `interval`; when
/// `probes` of them had no answer, the connection ends with `ETIMEDOUT`. Clients accepted from a listener inherit it.
///
/// # Errors
///
/// `EINVAL` for times of 0, or of more than 32767 s, and for more than 127 probes.
#[doc(alias = "SO_KEEPALIVE")]
pub fn set_keepalive(fd: impl AsFd, idle: Duration, interval: Duration, probes: u32) -> Result<()> {
    let seconds = |time: Duration| u32::try_from(time.as_secs()).unwrap_or(u32::MAX);
    set(fd.as_fd(), sockopt::TcpKeepIdle, &seconds(idle))?;
    set(fd.as_fd(), sockopt::TcpKeepInterval, &seconds(interval))?;
    set(fd.as_fd(), sockopt::TcpKeepCount, &probes)?;
    set(fd.as_fd(), sockopt::KeepAlive, &true)
}

/// Choose who decides how fast to send: `TCP_CONGESTION`, tcp(7). Such as `cubic` or `reno`.
///
/// Before connect(2), or the algorithm of the system has set the connection up: one that paces (`bbr`)
/// leaves the pacing on.
///
/// # Errors
///
/// `ENOENT`: no such algorithm in this kernel (`net.ipv4.tcp_available_congestion_control`). `EPERM`:
/// it is not in `net.ipv4.tcp_allowed_congestion_control`, and this process may not administer the
/// network.
#[doc(alias = "TCP_CONGESTION")]
pub fn set_congestion_control(fd: impl AsFd, algorithm: &str) -> Result<()> {
    set(fd.as_fd(), sockopt::TcpCongestion, &OsString::from(algorithm))
}

/// Let at most `bytes` wait to be sent or acknowledged, and turn off the kernel's own choice of a size:
/// `SO_SNDBUF`, socket(7). The kernel doubles the number, for its bookkeeping, and cuts it to twice
/// `net.core.wmem_max`.
///
/// # Errors
///
/// `EBADF`, `ENOTSOCK`.
#[doc(alias = "SO_SNDBUF")]
pub fn set_send_buffer(fd: impl AsFd, bytes: usize) -> Result<()> {
    set(fd.as_fd(), sockopt::SndBuf, &bytes)
}

/// Let at most `bytes` of what has arrived wait to be read, and turn off the kernel's own choice of a size:
/// `SO_RCVBUF`, socket(7). The kernel doubles the number, for its bookkeeping, and cuts it to twice
/// `net.core.rmem_max`.
///
/// Before connect(2), or the peer has been offered a window for more: tcp(7).
///
/// # Errors
///
/// `EBADF`, `ENOTSOCK`.
#[doc(alias = "SO_RCVBUF")]
pub fn set_receive_buffer(fd: impl AsFd, bytes: usize) -> Result<()> {
    set(fd.as_fd(), sockopt::RcvBuf, &bytes)
}

/// Send and receive segments of at most `bytes`: `TCP_MAXSEG`, tcp(7). Before connect(2), so that the peer is told.
/// The kernel sizes the send buffer of the peer in such segments.
///
/// # Errors
///
/// `EBADF`, `ENOTSOCK`; `EINVAL` for less than 88 or more than 32767.
#[doc(alias = "TCP_MAXSEG")]
pub fn set_max_segment(fd: impl AsFd, bytes: u32) -> Result<()> {
    set(fd.as_fd(), sockopt::TcpMaxSeg, &bytes)
}

/// Let a call wait for `limit` at most on this blocking socket: `SO_RCVTIMEO` and `SO_SNDTIMEO`, socket(7). What has to wait
/// longer says that it cannot be done now (`EAGAIN`, and `EINPROGRESS` of connect(2)). 0 is no limit.
///
/// # Errors
///
/// `EBADF`, `ENOTSOCK`.
#[doc(alias = "SO_RCVTIMEO")]
#[doc(alias = "SO_SNDTIMEO")]
pub fn set_time_limit(fd: impl AsFd, limit: Duration) -> Result<()> {
    let limit = TimeVal::new(limit.as_secs() as i64, limit.subsec_micros().into());
    set(fd.as_fd(), sockopt::ReceiveTimeout, &limit)?;
    set(fd.as_fd(), sockopt::SendTimeout, &limit)
}

/// Leave the choice of a port to connect(2), which knows the peer: `IP_BIND_ADDRESS_NO_PORT`, ip(7), since
/// Linux 4.2; for IPv6 it is the same option. Without it [`bind`](super::socket::bind) with port 0 takes a port that no other
/// socket of this address has, towards whatever peer, and so the ports of one address are all the
/// connections that it can have. With it the port of [`local_addr`](super::socket::local_addr) is 0 until [`connect`](super::socket::connect).
///
/// # Errors
///
/// `EBADF`, `ENOTSOCK`; `ENOPROTOOPT` before Linux 4.2.
#[doc(alias = "IP_BIND_ADDRESS_NO_PORT")]
pub fn set_bind_address_no_port(fd: impl AsFd, on: bool) -> Result<()> {
    set(fd.as_fd(), sockopt::IpBindAddressNoPort, &on)
}

/// Have close(2) reset the connection (RST) instead of ending it (FIN): `SO_LINGER` with 0 seconds.
/// No TIME_WAIT remains, and unsent bytes are lost.
///
/// # Errors
///
/// `EBADF`, `ENOTSOCK`.
#[doc(alias = "SO_LINGER")]
pub fn set_reset_on_close(fd: impl AsFd) -> Result<()> {
    set(fd.as_fd(), sockopt::Linger, &libc::linger { l_onoff: 1, l_linger: 0 })
}

/// How many bytes of the send queue the kernel of the peer has not acknowledged: ioctl(2) `SIOCOUTQ`, tcp(7).
/// A FIN that was sent and is not acknowledged counts as one byte.
///
/// # Errors
///
/// `EINVAL` for a socket that listens; `EBADF`, `ENOTTY`.
#[doc(alias = "SIOCOUTQ")]
pub fn unsent(fd: impl AsFd) -> Result<u32> {
    let fd = fd.as_fd();
    let mut bytes: libc::c_int = 0;
    // SAFETY: SIOCOUTQ, which has the number of TIOCOUTQ, writes one `int` to its argument; `bytes` is one, and
    // lives until the call returns.
    let asked = unsafe { libc::ioctl(fd.as_raw_fd(), libc::TIOCOUTQ, &raw mut bytes) };
    cvt_on(Call::Ioctl, fd, Errno::result(asked))?;
    Ok(bytes.cast_unsigned())
}

/// How many bytes have arrived that were not read: ioctl(2) `FIONREAD`, which is `SIOCINQ` in tcp(7).
///
/// # Errors
///
/// `EINVAL` for a socket that listens; `EBADF`, `ENOTTY`.
#[doc(alias = "SIOCINQ")]
#[doc(alias = "FIONREAD")]
pub fn unread(fd: impl AsFd) -> Result<u32> {
    let fd = fd.as_fd();
    let mut bytes: libc::c_int = 0;
    // SAFETY: FIONREAD writes one `int` to its argument; `bytes` is one, and lives until the call returns.
    let asked = unsafe { libc::ioctl(fd.as_raw_fd(), libc::FIONREAD, &raw mut bytes) };
    cvt_on(Call::Ioctl, fd, Errno::result(asked))?;
    Ok(bytes.cast_unsigned())
}

fn set<O: nix::sys::socket::SetSockOpt>(fd: BorrowedFd<'_>, option: O, value: &O::Val) -> Result<()> {
    cvt_on(Call::Setsockopt, fd, nix::sys::socket::setsockopt(&fd, option, value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::socket::{
        Accepted, Connected, Mode, Received, Sent, Shutdown, accept, bind, connect, listen, local_addr, recv,
        send, shutdown, tcp,
    };
    use std::net::{SocketAddr, TcpStream};
    use std::time::{Duration, Instant};

    #[test]
    fn with_bind_address_no_port_the_port_comes_with_connect_not_with_bind() {
        for any in ["127.0.0.1:0", "[::1]:0"] {
            let any: SocketAddr = any.parse().unwrap();
            let listener = tcp(&any, Mode::Blocking).unwrap();
            if bind(&listener, &any).is_err() {
                eprintln!("skipped {any}: this machine has no such address");
                continue;
            }
            listen(&listener, 8).unwrap();
            let target = local_addr(&listener).unwrap();
            let client = tcp(&any, Mode::Blocking).unwrap();
            set_bind_address_no_port(&client, true).unwrap();
            bind(&client, &any).unwrap();
            assert_eq!(local_addr(&client).unwrap(), any, "bind fixes the address and no port");
            assert_eq!(connect(&client, &target).unwrap(), Connected::Yes);
            let got = local_addr(&client).unwrap();
            assert_eq!(got.ip(), any.ip());
            assert_ne!(got.port(), 0);
            let usual = tcp(&any, Mode::Blocking).unwrap();
            bind(&usual, &any).unwrap();
            assert_ne!(local_addr(&usual).unwrap().port(), 0, "the usual bind takes one");
        }
    }

    #[test]
    fn a_small_receive_buffer_holds_back_the_sender() {
        let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let listener = tcp(&any, Mode::Blocking).unwrap();
        bind(&listener, &any).unwrap();
        listen(&listener, 8).unwrap();
        let target = local_addr(&listener).unwrap();
        let client = tcp(&target, Mode::Blocking).unwrap();
        set_receive_buffer(&client, 16 << 10).unwrap();
        let bytes = nix::sys::socket::getsockopt(&client, sockopt::RcvBuf).unwrap();
        assert_eq!(bytes, 32 << 10, "the kernel doubles it");
        assert_eq!(connect(&client, &target).unwrap(), Connected::Yes);
        let Accepted::Client(server, _) = accept(&listener, Mode::Nonblocking).unwrap() else {
            panic!("no client in the queue")
        };
        set_send_buffer(&server, 16 << 10).unwrap();
        let (block, mut sent) = ([7; 65536], 0);
        while let Sent::Bytes(n) = send(&server, &block).unwrap() {
            sent += n;
        }
        // Without a limit it would be megabytes: how many exactly is the business of the kernel.
        assert!(sent < 512 << 10, "{sent} bytes were taken");
    }

    #[test]
    fn with_reuse_port_two_sockets_listen_on_one_port_and_without_it_one_does() {
        let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let [one, two, without] = [true, true, false].map(|on| {
            let socket = tcp(&any, Mode::Blocking).unwrap();
            set_reuse_port(&socket, on).unwrap();
            socket
        });
        bind(&one, &any).unwrap();
        listen(&one, 8).unwrap();
        let taken = local_addr(&one).unwrap();
        bind(&two, &taken).unwrap();
        listen(&two, 8).unwrap();
        assert_eq!(bind(&without, &taken).unwrap_err().errno(), Some(Errno::EADDRINUSE));
    }

    #[test]
    fn with_a_time_limit_a_blocking_recv_ends_without_bytes_and_not_before() {
        let (ours, _theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        let limit = Duration::from_millis(20);
        set_time_limit(&ours, limit).unwrap();
        let began = Instant::now();
        assert_eq!(recv(&ours, &mut [0]).unwrap(), Received::NotNow);
        assert!(began.elapsed() >= limit);
    }

    /// Wait until the send queue of `fd` has as many bytes that are not acknowledged.
    #[track_caller]
    fn wait_for_unsent(fd: &impl AsFd, bytes: u32) {
        let deadline = Instant::now() + Duration::from_secs(10);
        while unsent(fd).unwrap() != bytes {
            assert!(Instant::now() < deadline, "within 10 s the send queue does not have {bytes} bytes");
            std::thread::yield_now();
        }
    }

    #[test]
    fn unsent_is_what_the_kernel_of_the_peer_has_not_taken() {
        let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let listener = tcp(&any, Mode::Blocking).unwrap();
        set_receive_buffer(&listener, 4096).unwrap();
        bind(&listener, &any).unwrap();
        listen(&listener, 8).unwrap();
        let target = local_addr(&listener).unwrap();
        let client = tcp(&target, Mode::Blocking).unwrap();
        set_send_buffer(&client, 128 << 10).unwrap();
        assert_eq!(connect(&client, &target).unwrap(), Connected::Yes);
        let Accepted::Client(server, _) = accept(&listener, Mode::Blocking).unwrap() else {
            panic!("no client in the queue")
        };
        assert_eq!(send(&client, b"hello").unwrap(), Sent::Bytes(5));
        wait_for_unsent(&client, 0);
        let Sent::Bytes(more) = send(&client, &[7; 60_000]).unwrap() else { panic!("a blocking send") };
        let server = TcpStream::from(server);
        server.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        assert!(unsent(&client).unwrap() > 0, "a receive buffer of 4096 does not hold {more} bytes");
        let (mut left, mut buffer) = (more + 5, [0; 4096]);
        while left > 0 {
            let Received::Bytes(n) = recv(&server, &mut buffer).unwrap() else {
                panic!("within 10 s {left} bytes are missing")
            };
            left -= n;
        }
        shutdown(&client, Shutdown::Write).unwrap();
        wait_for_unsent(&client, 0);
    }
}
