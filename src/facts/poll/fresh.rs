//! Sockets before there is a connection: fresh ones, listeners, those that connect.

use super::*;
use libc::{AF_INET, AF_UNIX, SOCK_CLOEXEC, SOCK_DGRAM, SOCK_STREAM};

pub(super) const FACTS: &[Fact] = &[
    Fact {
        id: "poll-tcp-fresh-out-hup",
        claim: "A TCP socket that is new, or only bound, is exactly OUT+HUP at once.",
        reference: "tcp_poll in net/ipv4/tcp.c: the state is TCP_CLOSE",
        matters: "A socket that is added to epoll before connect or listen is called writable and hung up. An \
                  edge-triggered loop then takes this OUT for the connection.",
        experiment: "A TCP socket is made and polled with a timeout of 0, and once more after bind.",
        wrong: &["Tokio: https://github.com/tokio-rs/tokio/issues/4549"],
        run: |k| {
            let fd = tcp(k)?;
            is("a fresh TCP socket", mask(k, fd)?, OUT | HUP)?;
            k.bind(fd, &Address::loopback(0))?;
            is("a bound TCP socket", mask(k, fd)?, OUT | HUP)
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "poll-unix-fresh-out-hup",
        claim: "A new AF_UNIX stream socket is exactly OUT+HUP; new datagram sockets, AF_UNIX or UDP, are exactly OUT.",
        reference: "unix_poll and unix_dgram_poll in net/unix/af_unix.c, datagram_poll in net/core/datagram.c",
        matters: "HUP tells a stream that has no peer from one that has. A datagram socket never needs one, and can send at once.",
        experiment: "A stream and a datagram socket of AF_UNIX and a UDP socket are made and polled with a timeout of 0.",
        run: |k| {
            let of = |domain, kind| k.socket(domain, kind | SOCK_CLOEXEC, 0);
            noted(is("a fresh AF_UNIX stream socket", mask(k, of(AF_UNIX, SOCK_STREAM)?)?, OUT | HUP));
            noted(is("a fresh AF_UNIX datagram socket", mask(k, of(AF_UNIX, SOCK_DGRAM)?)?, OUT));
            is("a fresh UDP socket", mask(k, of(AF_INET, SOCK_DGRAM)?)?, OUT)
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "poll-listener-idle-zero",
        claim: "A listener without a connection in its queue, TCP or AF_UNIX, has nothing to report: never OUT, never HUP.",
        reference: "inet_csk_listen_poll in include/net/inet_connection_sock.h; unix_poll in net/unix/af_unix.c",
        matters: "The OUT+HUP of the socket before listen goes away. Readiness that was noted before listen is wrong afterwards.",
        experiment: "A TCP and an AF_UNIX listener are polled with a timeout of 0.",
        wrong: &[
            "Tokio: https://github.com/tokio-rs/tokio/issues/4549",
            "epoll-shim: https://github.com/jiixyj/epoll-shim/issues/3",
        ],
        run: |k| {
            noted(is("a TCP listener without connections", mask(k, listener(k, 4)?.0)?, NONE));
            is("an AF_UNIX listener without connections", mask(k, unix_listener(k)?.0)?, NONE)
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "poll-listener-pending-in",
        claim: "A listener with a connection in its queue, TCP or AF_UNIX, is exactly IN, until the last one has been accepted.",
        reference: "inet_csk_listen_poll in include/net/inet_connection_sock.h; unix_poll in net/unix/af_unix.c",
        matters: "IN says that accept will not wait, not how many connections there are: a loop that accepts one at a \
                  time is told again.",
        experiment: "Two clients connect to a TCP and to an AF_UNIX listener; poll, and once more after each accept.",
        run: |k| {
            let (tcp_listener, tcp_address) = listener(k, 4)?;
            let (unix_listener, unix_address) = unix_listener(k)?;
            for (name, domain, fd, address) in [
                ("TCP", AF_INET, tcp_listener, tcp_address),
                ("AF_UNIX", AF_UNIX, unix_listener, unix_address),
            ] {
                step(format!("the {name} listener"), || {
                    for _ in 0..2 {
                        k.connect(k.socket(domain, SOCK_STREAM | SOCK_CLOEXEC, 0)?, &address)?;
                    }
                    is("with two connections in its queue", mask_with(k, fd, IN)?, IN)?;
                    k.accept4(fd, SOCK_CLOEXEC)?;
                    // The second one may still be on its way.
                    is("with one connection left", mask_with(k, fd, IN)?, IN)?;
                    k.accept4(fd, SOCK_CLOEXEC)?;
                    is("with none left", mask(k, fd)?, NONE)
                });
            }
            Ok(())
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "poll-tcp-connecting-zero",
        claim: "A TCP socket in SYN_SENT has nothing to report: not OUT, not HUP.",
        reference: "tcp_poll in net/ipv4/tcp.c",
        matters: "It is what makes OUT mean that connect has come to its end, well or not. The OUT+HUP of the fresh \
                  socket is gone from the moment connect is called.",
        experiment: "A non-blocking socket connects to a listener whose queue is full, so that it stays in SYN_SENT; \
                     it is polled with a timeout of 0.",
        run: |k| {
            let (_listener, address) = full_listener(k)?;
            let fd = connecting(k, &address)?;
            is("a socket in SYN_SENT", mask(k, fd)?, NONE)?;
            let state = tcp_info(k, fd)?.state;
            needs(Why::Setup, "its state after poll is SYN_SENT (2)", state == SYN_SENT, state)
        },
        ..Fact::ALWAYS
    },
];

/// An AF_UNIX stream listener, and its address.
fn unix_listener(k: K) -> Held<(i32, Address)> {
    let fd = k.socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)?;
    k.bind(fd, &Address::any_unix())?;
    k.listen(fd, 4)?;
    Ok((fd, k.getsockname(fd)?))
}
