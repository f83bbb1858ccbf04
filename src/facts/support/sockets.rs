//! Sockets in a known state.

use super::super::kernel::Linux;
use super::{
    Address, At, Errno, Events, Held, IN, K, Reply, Why, bound_ms, entry, holds, mask_with, needs, raw, skip,
    until,
};
use crate::sys::raw::Refusal;
use libc::{
    AF_INET, IPPROTO_TCP, MSG_DONTWAIT, SOCK_CLOEXEC, SOCK_DGRAM, SOCK_NONBLOCK, SOCK_STREAM, SOL_SOCKET,
};

/// A stream socket of TCP, blocking.
pub(in crate::facts) fn tcp(k: K) -> Reply<i32> {
    tcp_with(k, 0)
}

/// A stream socket of TCP, non-blocking.
pub(in crate::facts) fn tcp_nonblocking(k: K) -> Reply<i32> {
    tcp_with(k, SOCK_NONBLOCK)
}

/// Every kernel has reno, which sends at once: others, such as BBR, pace, and what a [`Fence`] says is not so then. How much
/// may wait to be sent, net.ipv4.tcp_notsent_lowat, would say when there is OUT. An accepted socket has both from its
/// listener.
fn tcp_with(k: K, flags: i32) -> Reply<i32> {
    let fd = k.socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | flags, 0)?;
    raw::setsockopt(fd, IPPROTO_TCP, libc::TCP_CONGESTION, b"reno").ok();
    raw::setsockopt(fd, IPPROTO_TCP, libc::TCP_NOTSENT_LOWAT, &u32::MAX.to_ne_bytes()).ok();
    Ok(fd)
}

/// Fails where the loopback interface is down: bind and listen would still succeed there, and connect fail.
pub(in crate::facts) fn loopback_is_up() -> Reply<()> {
    let fd = raw::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)?;
    // UDP: nothing is sent, but a route is looked up, which an interface that is down has for as long as its address.
    let route = raw::connect(fd, &Address::loopback(9));
    let up = raw::loopback_is_up(fd);
    raw::close(fd)?;
    match up {
        Ok(false) => {
            Err(Refusal { call: "connect, the loopback interface being down,", errno: Errno::ENETDOWN })
        }
        _ => route,
    }
}

/// A TCP listener on a free loopback port, blocking; and its address.
pub(in crate::facts) fn listener(k: K, backlog: i32) -> Reply<(i32, Address)> {
    loopback_is_up()?;
    let fd = tcp(k)?;
    k.bind(fd, &Address::loopback(0))?;
    k.listen(fd, backlog)?;
    Ok((fd, k.getsockname(fd)?))
}

/// A socket that is connected to `address`, blocking.
pub(in crate::facts) fn connected(k: K, address: &Address) -> Reply<i32> {
    let fd = tcp(k)?;
    k.connect(fd, address)?;
    Ok(fd)
}

/// A TCP connection, both ends blocking: the client's, the server's. The listener is closed.
pub(in crate::facts) fn tcp_pair(k: K) -> Reply<(i32, i32)> {
    let (listener, address) = listener(k, 1)?;
    let client = connected(k, &address)?;
    let server = k.accept4(listener, SOCK_CLOEXEC)?;
    k.close(listener)?;
    Ok((client, server))
}

/// A pair of connected AF_UNIX stream sockets, blocking.
pub(in crate::facts) fn unix_pair(k: K) -> Reply<(i32, i32)> {
    let [a, b] = k.socketpair(SOCK_STREAM | SOCK_CLOEXEC)?;
    Ok((a, b))
}

/// Two UDP sockets on loopback, each connected to the other.
pub(in crate::facts) fn udp_pair(k: K) -> Reply<(i32, i32)> {
    let udp = || -> Reply<(i32, Address)> {
        let fd = k.socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)?;
        k.bind(fd, &Address::loopback(0))?;
        Ok((fd, k.getsockname(fd)?))
    };
    let ((a, at_a), (b, at_b)) = (udp()?, udp()?);
    k.connect(a, &at_b)?;
    k.connect(b, &at_a)?;
    Ok((a, b))
}

/// A loopback port at which nobody listens: it is bound by a socket of ours, so that nobody can take it.
pub(in crate::facts) fn refused_address(k: K) -> Reply<Address> {
    loopback_is_up()?;
    let fd = tcp(k)?;
    k.bind(fd, &Address::loopback(0))?;
    k.getsockname(fd)
}

/// A listener whose queue is full: whoever connects from now on stays in SYN_SENT until somebody accepts.
pub(in crate::facts) fn full_listener(k: K) -> Held<(i32, Address)> {
    let (listener, address) = listener(k, 0)?;
    connected(k, &address)?;
    until_pending(k, listener)?;
    Ok((listener, address))
}

/// Wait until a connection can be accepted from `listener`.
pub(in crate::facts) fn until_pending(k: K, listener: i32) -> Held {
    until_shows(k, listener, IN)
}

/// Wait until poll shows all of `wanted` of `fd`.
pub(in crate::facts) fn until_shows(k: K, fd: i32, wanted: Events) -> Held {
    let now = mask_with(k, fd, wanted)?;
    needs(Why::Setup, format!("poll shows {wanted}"), now.has(wanted), now)
}

/// poll comes to show all of `wanted` of `fd`: for a claim that is about them, and not about the rest of the mask.
pub(in crate::facts) fn shows(what: &str, k: K, fd: i32, wanted: Events) -> Held {
    let now = mask_with(k, fd, wanted)?;
    holds(format!("{what} shows {wanted}"), now.has(wanted), now)
}

/// recv of up to `n` bytes as soon as there is something to receive, or EAGAIN after [`bound`](super::bound).
pub(in crate::facts) fn recv_soon(k: K, fd: i32, n: usize) -> Reply<usize> {
    has_soon(k, fd, IN)?;
    k.recv(fd, &mut vec![0; n], MSG_DONTWAIT)
}

/// A client whose connection is in the queue of the listener at `address`.
pub(in crate::facts) fn queued_client(k: K, address: &Address) -> Held<i32> {
    let client = connected(k, address)?;
    until_queued(k, client)?;
    Ok(client)
}

/// Wait until a client's connection is in the queue of its listener: a byte of it is acknowledged.
pub(in crate::facts) fn until_queued(k: K, client: i32) -> Held {
    k.send(client, b"x", libc::MSG_NOSIGNAL)?;
    until("the byte of a client is acknowledged", || {
        let mut unacknowledged = 0;
        k.ioctl(client, libc::TIOCOUTQ, &mut unacknowledged)?;
        Ok((unacknowledged == 0).then_some(()))
    })
}

/// A connection whose one end, the first, can send no more: the other, whose receive buffer is small, does not read.
pub(in crate::facts) fn full_pair(k: K) -> Held<(i32, i32)> {
    let (listener, address) = listener(k, 1)?;
    set_option(k, listener, SOL_SOCKET, libc::SO_RCVBUF, 8 << 10)?;
    let ours = tcp(k)?;
    set_option(k, ours, SOL_SOCKET, libc::SO_SNDBUF, 32 << 10)?;
    k.connect(ours, &address)?;
    until_pending(k, listener)?;
    let peer = k.accept4(listener, SOCK_CLOEXEC)?;
    let fence = Fence::new(k)?;
    // What the peer takes makes room again.
    while fill(k, ours, 4096)? > 0 {
        fence.cross(k)?;
    }
    Ok((ours, peer))
}

/// A non-blocking socket that is in SYN_SENT, and stays there: the queue of the listener is full.
pub(in crate::facts) fn connecting(k: K, address: &Address) -> Reply<i32> {
    let fd = tcp_nonblocking(k)?;
    match k.connect(fd, address) {
        Err(refusal) if refusal.errno == Errno::EINPROGRESS => Ok(fd),
        other => other.map(|()| fd),
    }
}

/// Make `fd` non-blocking.
pub(in crate::facts) fn set_nonblocking(k: K, fd: i32) -> Reply<()> {
    let flags = k.fcntl(fd, libc::F_GETFL, 0)?;
    k.fcntl(fd, libc::F_SETFL, flags | libc::O_NONBLOCK).map(drop)
}

/// Set an option whose value is an int.
pub(in crate::facts) fn set_option(k: K, fd: i32, level: i32, option: i32, value: i32) -> Reply<()> {
    k.setsockopt(fd, level, option, &value.to_ne_bytes())
}

/// Read an option whose value is an int.
pub(in crate::facts) fn option(k: K, fd: i32, level: i32, option: i32) -> Reply<i32> {
    let mut value = [0; 4];
    k.getsockopt(fd, level, option, &mut value)?;
    Ok(i32::from_ne_bytes(value))
}

/// SO_ERROR, which is read and cleared; 0 is none.
pub(in crate::facts) fn so_error(k: K, fd: i32) -> Reply<Errno> {
    option(k, fd, SOL_SOCKET, libc::SO_ERROR).map(Errno::from_raw)
}

/// No error, as [`so_error`] gives it.
pub(in crate::facts) const NO_ERROR: Errno = Errno::UnknownErrno;

/// SO_RCVTIMEO or SO_SNDTIMEO, in milliseconds.
pub(in crate::facts) fn set_time_limit(k: K, fd: i32, option: i32, ms: i64) -> Reply<()> {
    let mut value = [0; 16];
    value[..8].copy_from_slice(&(ms / 1000).to_ne_bytes());
    value[8..].copy_from_slice(&(ms % 1000 * 1000).to_ne_bytes());
    k.setsockopt(fd, SOL_SOCKET, option, &value)
}

/// SO_LINGER, in seconds: close(2) waits for so long until all is delivered. With 0 it sends RST at once.
pub(in crate::facts) fn set_linger(k: K, fd: i32, seconds: i32) -> Reply<()> {
    let mut value = [0; 8];
    value[..4].copy_from_slice(&1i32.to_ne_bytes());
    value[4..].copy_from_slice(&seconds.to_ne_bytes());
    k.setsockopt(fd, SOL_SOCKET, libc::SO_LINGER, &value)
}

/// Close `fd` with an RST.
pub(in crate::facts) fn reset_connection(k: K, fd: i32) -> Reply<()> {
    set_linger(k, fd, 0)?;
    k.close(fd)
}

/// What TCP_INFO tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::facts) struct TcpInfo {
    /// The state: [`ESTABLISHED`] and so on.
    pub(in crate::facts) state: u8,
    /// Of a listener, where the kernel tells: how many connections wait to be accepted, and how many may.
    queue: Option<(u32, u32)>,
    /// How often something was sent again, where the kernel tells.
    repeated: Option<u32>,
}

impl TcpInfo {
    /// How many connections wait to be accepted.
    pub(in crate::facts) fn queued(self) -> Reply<u32> {
        self.queue.map(|queue| queue.0).ok_or(NO_QUEUE)
    }

    /// How often something was sent again.
    pub(in crate::facts) fn repeated(self) -> Reply<u32> {
        self.repeated.ok_or(NO_QUEUE)
    }

    /// How many connections may wait to be accepted.
    pub(in crate::facts) fn limit(self) -> Reply<u32> {
        self.queue.map(|queue| queue.1).ok_or(NO_QUEUE)
    }
}

/// TCP_INFO is cut off here: emulators take its value for an int.
const NO_QUEUE: Refusal =
    Refusal { call: "getsockopt(TCP_INFO), asked for more than the state,", errno: Errno::ENOSYS };

/// TCP_INFO tells the queue of a listener: one connection that waits is counted. gVisor and emulators do not.
pub(in crate::facts) fn needs_queue_in_tcp_info() -> Held {
    let (listener, address) = listener(&Linux, 1)?;
    connected(&Linux, &address)?;
    until_pending(&Linux, listener)?;
    let queued = tcp_info(&Linux, listener)?.queued()?;
    needs(Why::Oracle, "the queue in TCP_INFO of a listener with one connection is 1", queued == 1, queued)
}

pub(in crate::facts) const ESTABLISHED: u8 = 1;
pub(in crate::facts) const SYN_SENT: u8 = 2;
pub(in crate::facts) const FIN_WAIT2: u8 = 5;
pub(in crate::facts) const CLOSE: u8 = 7;
pub(in crate::facts) const CLOSE_WAIT: u8 = 8;
pub(in crate::facts) const LISTEN: u8 = 10;

/// getsockopt(TCP_INFO): tcp(7).
pub(in crate::facts) fn tcp_info(k: K, fd: i32) -> Reply<TcpInfo> {
    // The first fields of `struct tcp_info`, whose offsets the kernel promises.
    let mut info = [0; 104];
    let n = k.getsockopt(fd, IPPROTO_TCP, libc::TCP_INFO, &mut info)?;
    let word = |at: usize| u32::from_ne_bytes([info[at], info[at + 1], info[at + 2], info[at + 3]]);
    // Of a listener tcpi_unacked and tcpi_sacked are about its queue.
    let queue = (n >= 32).then(|| (word(24), word(28)));
    Ok(TcpInfo { state: info[0], queue, repeated: (n >= 104).then(|| word(100)) })
}

/// Wait until the connection of `fd` is in `state`.
pub(in crate::facts) fn until_state(k: K, fd: i32, state: u8) -> Held {
    until(&format!("TCP state {state}"), || Ok((tcp_info(k, fd)?.state == state).then_some(())))
}

/// Wait until `n` bytes can be read from `fd`, and leave them there: FIONREAD.
pub(in crate::facts) fn until_readable_bytes(k: K, fd: i32, n: i32) -> Held {
    until(&format!("{n} bytes have arrived"), || Ok((readable_bytes(k, fd)? >= n).then_some(())))
}

/// How many bytes can be read from `fd` now: FIONREAD.
pub(in crate::facts) fn readable_bytes(k: K, fd: i32) -> Reply<i32> {
    let mut n = 0;
    k.ioctl(fd, libc::FIONREAD, &mut n)?;
    Ok(n)
}

/// Write to `fd`, non-blocking for the time of the call or by its flags, until `EAGAIN`; how many bytes
/// it took. `chunk` bytes at a time.
pub(in crate::facts) fn fill(k: K, fd: i32, chunk: usize) -> Reply<usize> {
    let bytes = vec![b'x'; chunk];
    let mut total = 0;
    loop {
        match k.send(fd, &bytes, MSG_DONTWAIT | libc::MSG_NOSIGNAL) {
            Ok(n) => total += n,
            Err(refusal) if refusal.errno == Errno::EAGAIN => return Ok(total),
            Err(refusal) if refusal.errno == Errno::ENOTSOCK => return fill_pipe(k, fd, &bytes),
            Err(refusal) => return Err(refusal),
        }
    }
}

fn fill_pipe(k: K, fd: i32, bytes: &[u8]) -> Reply<usize> {
    set_nonblocking(k, fd)?;
    let mut total = 0;
    loop {
        match k.write(fd, bytes) {
            Ok(n) => total += n,
            Err(refusal) if refusal.errno == Errno::EAGAIN => return Ok(total),
            Err(refusal) => return Err(refusal),
        }
    }
}

/// A second connection over the same path as the one that an experiment watches. Loopback delivers in order: once
/// what was sent here has arrived, whatever was sent before it elsewhere has had its effect.
#[derive(Debug, Clone, Copy)]
pub(in crate::facts) struct Fence {
    /// Becomes readable when the fence is crossed; for the set of the experiment.
    pub(in crate::facts) fd: i32,
    other: i32,
}

impl Fence {
    pub(in crate::facts) fn new(k: K) -> Reply<Fence> {
        let (other, fd) = tcp_pair(k)?;
        Ok(Fence { fd, other })
    }

    /// Make [`fd`](Fence::fd) readable.
    pub(in crate::facts) fn trip(&self, k: K) -> Reply<()> {
        k.send(self.other, b"!", libc::MSG_NOSIGNAL).map(drop)
    }

    /// Make [`fd`](Fence::fd) readable, wait until it is, and take the byte: all that was sent elsewhere before has
    /// arrived.
    pub(in crate::facts) fn cross(&self, k: K) -> Held {
        self.trip(k)?;
        let mut one = entry(self.fd, IN);
        let n = k.poll(At::from(&mut one), bound_ms())?;
        needs(Why::Setup, "the byte of the fence arrives", n == 1, n)?;
        k.recv(self.fd, &mut [0], 0)?;
        Ok(())
    }
}

/// A network namespace of this process's own, with a loopback interface that is up; or skip the experiment.
pub(in crate::facts) fn own_network(k: K) -> Held {
    // Root may; others may in a user namespace of their own, where those are allowed.
    if raw::unshare(libc::CLONE_NEWNET).is_err() {
        raw::unshare(libc::CLONE_NEWUSER | libc::CLONE_NEWNET)?;
    }
    let socket = k.socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)?;
    raw::loopback_up(socket)?;
    k.close(socket)?;
    Ok(())
}

/// Set a sysctl below /proc/sys, in [`own_network`], or skip the experiment.
pub(in crate::facts) fn set_sysctl(name: &str, value: &str) -> Held {
    let file = format!("/proc/sys/{}", name.replace('.', "/"));
    match std::fs::write(&file, value) {
        Ok(()) => Ok(()),
        Err(why) => skip(Why::Setting, format!("{name} cannot be set here: {why}")),
    }
}

/// Whether `fd` has `events` (asked for alone) within the bound.
pub(in crate::facts) fn has_soon(k: K, fd: i32, events: Events) -> Reply<bool> {
    let mut one = entry(fd, events);
    Ok(k.poll(At::from(&mut one), bound_ms())? == 1)
}
