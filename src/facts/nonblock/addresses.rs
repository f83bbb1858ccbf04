//! Addresses: ports that run out, and one socket for both versions of IP.

use crate::facts::support::*;
use libc::{AF_INET6, IPPROTO_IP, IPPROTO_IPV6, IPV6_V6ONLY, SOCK_CLOEXEC, SOCK_STREAM};

pub(super) const FACTS: &[Fact] = &[
    Fact {
        id: "nb-ports-exhausted",
        claim: "With no local port left connect gives EADDRNOTAVAIL, for this destination alone: to another one \
                the same port connects. bind to port 0 gives EADDRINUSE.",
        reference: "ip(7) IP_LOCAL_PORT_RANGE; __inet_hash_connect in net/ipv4/inet_hashtables.c; commit 91d0b78c5177",
        since: Since(6, 3),
        backports: &[Release(6, 1, 32)],
        matters: "A proxy runs out of ports at 28 232 connections to one backend, not in all; and one that binds \
                  before it connects runs out sooner.",
        experiment: "Sockets with IP_LOCAL_PORT_RANGE of one port connect to a listener, to it again, and to another one; then one \
                     is bound to port 0.",
        run: |k| {
            let ((_, here), (_, there)) = (listener(k, 5)?, listener(k, 5)?);
            let with = |port: u16| -> Reply<i32> {
                let fd = tcp(k)?;
                let range = u32::from(port) << 16 | u32::from(port);
                k.setsockopt(fd, IPPROTO_IP, raw::IP_LOCAL_PORT_RANGE, &range.to_ne_bytes())?;
                Ok(fd)
            };
            // A port that is free now may be somebody else's a moment later.
            let port = until("a free port is found", || {
                let free = tcp(k)?;
                k.bind(free, &Address::loopback(0))?;
                let port = k.getsockname(free)?.port();
                k.close(free)?;
                Ok(k.connect(with(port)?, &here).is_ok().then_some(port))
            })?;
            noted(is(
                "connect to the same listener",
                k.connect(with(port)?, &here),
                no(Errno::EADDRNOTAVAIL),
            ));
            let second = with(port)?;
            noted(is("connect to another listener", k.connect(second, &there), Ok(())));
            noted(is("whether its port is the same", k.getsockname(second)?.port() == port, true));
            is("bind to port 0", k.bind(with(port)?, &Address::loopback(0)), no(Errno::EADDRINUSE))
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "nb-dual-stack",
        claim: "A socket on [::] takes the port of 0.0.0.0 too, unless it has IPV6_V6ONLY, and its IPv4 clients have addresses \
                ::ffff:a.b.c.d of AF_INET6.",
        reference: "ipv6(7) IPV6_V6ONLY; ipv6_rcv_saddr_equal in net/ipv4/inet_connection_sock.c",
        matters: "A server that binds both families gets EADDRINUSE for the second, and a list of allowed IPv4 addresses \
                  matches no client of the first.",
        experiment: "A socket is bound to 0.0.0.0, and another one to [::] and its port, without the option and with it. An IPv4 client \
                     connects to a listener on [::], and getpeername is called.",
        run: |k| {
            let v6 = |only, port| -> Reply<i32> {
                let fd = k.socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0)?;
                set_option(k, fd, IPPROTO_IPV6, IPV6_V6ONLY, only)?;
                k.bind(fd, &Address::v6([0; 16], port)).map(|()| fd)
            };
            // Without IPv6 there is nothing to look at.
            k.close(v6(0, 0)?)?;
            let v4 = tcp(k)?;
            k.bind(v4, &Address::v4([0; 4], 0))?;
            let port = k.getsockname(v4)?.port();
            noted(is("bind of [::] to the port of 0.0.0.0", v6(0, port).map(drop), no(Errno::EADDRINUSE)));
            noted(is("the same with IPV6_V6ONLY", v6(1, port).map(drop), Ok(())));

            loopback_is_up()?;
            let (listener, client) = (v6(0, 0)?, tcp(k)?);
            k.listen(listener, 5)?;
            let to = Address::loopback(k.getsockname(listener)?.port());
            is("connect of an IPv4 client to [::]", k.connect(client, &to), Ok(()))?;
            until_pending(k, listener)?;
            let peer = k.getpeername(k.accept(listener)?)?;
            let mapped = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 127, 0, 0, 1];
            let expected = Address::v6(mapped, k.getsockname(client)?.port());
            is("whether its peer is ::ffff:127.0.0.1", peer == expected, true)
        },
        ..Fact::ALWAYS
    },
];
