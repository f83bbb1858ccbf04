//! What accept hands out: in which order, with which flags and options, and in which state.

use super::super::check::{Held, holds, is};
use super::super::support::*;
use super::super::{Area, Fact, Since};
use crate::sys::Errno;
use crate::sys::raw::{Reply, no};
use libc::{
    F_GETFD, F_GETFL, FD_CLOEXEC, IPPROTO_TCP, MSG_NOSIGNAL, O_NONBLOCK, O_RDWR, SO_KEEPALIVE, SO_RCVBUF,
    SO_RCVTIMEO, SO_REUSEADDR, SOCK_CLOEXEC, SOCK_NONBLOCK, SOL_SOCKET, TCP_NODELAY,
};

pub(super) const FACTS: &[Fact] = &[
    Fact {
        id: "nb-accept-eagain",
        area: Area::Nonblock,
        claim: "accept and accept4 on a non-blocking listener with an empty queue give EAGAIN.",
        reference: "accept(2) EAGAIN; inet_csk_accept in net/ipv4/inet_connection_sock.c",
        since: Since::ALWAYS,
        matters: "It is how a loop that accepts all there is comes to its end, and how one of several that \
                  were woken for one connection learns that another was quicker.",
        experiment: "A non-blocking listener without clients accepts; then one client connects, and it \
                     accepts twice.",
        wrong: &[],
        alone: false,
        run: accept_eagain,
    },
    Fact {
        id: "nb-accept-flags-not-inherited",
        area: Area::Nonblock,
        claim: "An accepted socket has neither O_NONBLOCK nor FD_CLOEXEC from the listener; accept4 sets \
                them; flags of accept4 that do not exist give EINVAL.",
        reference: "accept(2) NOTES; __sys_accept4 in net/socket.c",
        since: Since::ALWAYS,
        matters: "On the BSDs O_NONBLOCK is inherited: a server from there blocks in its first recv, and so \
                  do all its clients.",
        experiment: "A listener with both flags accepts with accept and with accept4; F_GETFL and F_GETFD \
                     tell the flags.",
        wrong: &[],
        alone: false,
        run: accept_flags_not_inherited,
    },
    Fact {
        id: "nb-accept-options-inherited",
        area: Area::Nonblock,
        claim: "An accepted socket does have SO_KEEPALIVE, TCP_NODELAY, SO_RCVBUF, SO_RCVTIMEO and \
                SO_REUSEADDR from the listener.",
        reference: "sk_clone_lock in net/core/sock.c; socket(7)",
        since: Since::ALWAYS,
        matters: "Options can be set once, on the listener. SO_RCVBUF must be: the window scale is settled \
                  by the handshake.",
        experiment: "A listener is given each of them, a client connects, and they are read from the \
                     accepted socket and from a new one.",
        wrong: &[],
        alone: false,
        run: accept_options_inherited,
    },
    Fact {
        id: "nb-accept-after-rst",
        area: Area::Nonblock,
        claim: "A connection that was reset before accept is still handed out by accept, which never gives \
                ECONNABORTED for it; it polls IN+OUT+ERR+HUP+RDHUP, and recv gives ECONNRESET.",
        reference: "accept(2) NOTES; inet_csk_accept in net/ipv4/inet_connection_sock.c",
        since: Since::ALWAYS,
        matters: "Many systems drop such a connection or give ECONNABORTED; here a dead one is accepted like \
                  any other, and getpeername of it fails.",
        experiment: "A client connects and closes with an RST; the listener is polled, accepts, and the new \
                     socket is polled and read.",
        wrong: &[],
        alone: false,
        run: accept_after_rst,
    },
    Fact {
        id: "nb-accept-after-fin",
        area: Area::Nonblock,
        claim: "What a client sent before accept is there after it, and so is its FIN: recv gives the data, \
                then 0.",
        reference: "tcp(7); accept(2)",
        since: Since::ALWAYS,
        matters: "A client can connect, ask and half close before the server has looked at it; no server may \
                  take the end for an error.",
        experiment: "A client connects, sends and closes; then accept, and recv twice.",
        wrong: &[],
        alone: false,
        run: accept_after_fin,
    },
    Fact {
        id: "nb-accept-queue-fifo",
        area: Area::Nonblock,
        claim: "Connections are accepted in the order in which they were established.",
        reference: "reqsk_queue_remove in include/net/request_sock.h",
        since: Since::ALWAYS,
        matters: "Who waits longest is served first: a server that falls behind makes all its clients wait \
                  alike.",
        experiment: "Five clients connect, each when the one before is in the queue; the ports of the \
                     accepted peers are compared with theirs.",
        wrong: &[],
        alone: false,
        run: accept_queue_fifo,
    },
];

fn accept_eagain(k: K) -> Held {
    let (listener, address) = listener(k, 5)?;
    set_nonblocking(k, listener)?;
    is("accept with nothing queued", k.accept(listener), no(Errno::EAGAIN))?;
    is("accept4 with nothing queued", k.accept4(listener, SOCK_CLOEXEC), no(Errno::EAGAIN))?;
    connected(k, &address)?;
    is("the listener with one connection", mask_with(k, listener, IN)?, IN)?;
    is("accept of it", k.accept(listener).map(drop), Ok(()))?;
    is("accept after it", k.accept(listener), no(Errno::EAGAIN))
}

fn accept_flags_not_inherited(k: K) -> Held {
    let (listener, address) = listener(k, 5)?;
    set_nonblocking(k, listener)?;
    let flags = |fd| -> Reply<(i32, i32)> { Ok((k.fcntl(fd, F_GETFL, 0)?, k.fcntl(fd, F_GETFD, 0)?)) };
    let both = (O_RDWR | O_NONBLOCK, FD_CLOEXEC);
    is("(F_GETFL, F_GETFD) of the listener", flags(listener)?, both)?;

    let next = || -> Held {
        connected(k, &address)?;
        is("the listener", mask_with(k, listener, IN)?, IN)
    };
    next()?;
    is("(F_GETFL, F_GETFD) after accept", flags(k.accept(listener)?)?, (O_RDWR, 0))?;
    next()?;
    is("(F_GETFL, F_GETFD) after accept4 without flags", flags(k.accept4(listener, 0)?)?, (O_RDWR, 0))?;
    next()?;
    is("accept4 with flag 1", k.accept4(listener, 1), no(Errno::EINVAL))?;
    is("accept4 with O_APPEND", k.accept4(listener, libc::O_APPEND), no(Errno::EINVAL))?;
    let asked = k.accept4(listener, SOCK_NONBLOCK | SOCK_CLOEXEC)?;
    is("(F_GETFL, F_GETFD) after accept4 with both flags", flags(asked)?, both)
}

fn accept_options_inherited(k: K) -> Held {
    let (listener, address) = listener(k, 5)?;
    let options = [
        ("SO_KEEPALIVE", SOL_SOCKET, SO_KEEPALIVE, 1),
        ("TCP_NODELAY", IPPROTO_TCP, TCP_NODELAY, 1),
        ("SO_RCVBUF", SOL_SOCKET, SO_RCVBUF, 20_000),
        ("SO_REUSEADDR", SOL_SOCKET, SO_REUSEADDR, 1),
    ];
    for (_, level, name, value) in options {
        set_option(k, listener, level, name, value)?;
    }
    set_time_limit(k, listener, SO_RCVTIMEO, 3000)?;
    connected(k, &address)?;
    let (accepted, fresh) = (k.accept(listener)?, tcp(k)?);
    for (what, level, name, _) in options {
        let of = |fd| option(k, fd, level, name);
        let wanted = of(listener)?;
        holds(
            format!("{what} of the listener differs from that of a new socket"),
            wanted != of(fresh)?,
            wanted,
        )?;
        is(format!("{what} of the accepted socket"), of(accepted)?, wanted)?;
    }
    let mut limit = [0; 16];
    k.getsockopt(accepted, SOL_SOCKET, SO_RCVTIMEO, &mut limit)?;
    let mut wanted = [0; 16];
    wanted[..8].copy_from_slice(&3i64.to_ne_bytes());
    is("SO_RCVTIMEO of the accepted socket, 3 s", limit, wanted)
}

fn accept_after_rst(k: K) -> Held {
    let fence = Fence::new(k)?;
    let (listener, address) = listener(k, 5)?;
    let client = connected(k, &address)?;
    is("the listener with a connection", mask_with(k, listener, IN)?, IN)?;
    reset_connection(k, client)?;
    fence.cross(k)?;
    is("the listener after the connection was reset", mask(k, listener)?, IN)?;
    set_nonblocking(k, listener)?;
    let accepted = k.accept(listener);
    is("accept of a connection that was reset", accepted.map(drop), Ok(()))?;
    let accepted = accepted?;
    is("the accepted socket", mask_with(k, accepted, ERR)?, IN | OUT | ERR | HUP | RDHUP)?;
    is("its recv", k.recv(accepted, &mut [0; 8], 0), no(Errno::ECONNRESET))
}

fn accept_after_fin(k: K) -> Held {
    let fence = Fence::new(k)?;
    let (listener, address) = listener(k, 5)?;
    let client = connected(k, &address)?;
    k.send(client, b"data", MSG_NOSIGNAL)?;
    k.close(client)?;
    fence.cross(k)?;
    let accepted = k.accept(listener)?;
    let mut bytes = [0; 8];
    is("the first recv", k.recv(accepted, &mut bytes, 0), Ok(4))?;
    is("its bytes", &bytes[..4], b"data")?;
    is("the second recv", k.recv(accepted, &mut bytes, 0), Ok(0))
}

fn accept_queue_fifo(k: K) -> Held {
    let (listener, address) = listener(k, 8)?;
    let mut clients = Vec::new();
    for n in 1..=5 {
        let client = connected(k, &address)?;
        clients.push(k.getsockname(client)?.port());
        bounded(
            "the connection is in the queue",
            || Ok((tcp_info(k, listener)?.unacked == n).then_some(())),
        )?;
    }
    let mut accepted = Vec::new();
    for _ in &clients {
        let server = k.accept(listener)?;
        accepted.push(k.getpeername(server)?.port());
    }
    is("the ports of the peers, as they were accepted", accepted, clients)
}
