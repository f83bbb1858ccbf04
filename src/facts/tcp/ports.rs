//! Ports that are used again: TIME_WAIT and SO_REUSEADDR.

use crate::facts::support::*;
use libc::{MSG_NOSIGNAL, SO_REUSEADDR, SOL_SOCKET};

pub(super) const FACTS: &[Fact] = &[
    Fact {
        id: "tcp-linger-zero-no-timewait",
        claim: "close with SO_LINGER {1, 0} sends an RST and leaves no TIME_WAIT: bind to the same port without SO_REUSEADDR works at \
                once.",
        reference: "socket(7) SO_LINGER",
        matters: "It is how load generators avoid running out of ports; and it loses what was not yet delivered.",
        experiment: "A server closes its connection first, with that option, and its listener; its port is bound again.",
        run: |k| {
            let (listener, address) = own_listener(k, false)?;
            let client = connected(k, &address)?;
            let server = k.accept(listener)?;
            k.close(listener)?;
            reset_connection(k, server)?;
            noted(shows("the client", k, client, ERR));
            is("bind to the server's port", bind_again(k, &address, false), Ok(()))
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "tcp-timewait-blocks-bind",
        claim: "After the server closed first, bind to its port gives EADDRINUSE without SO_REUSEADDR and works with it; after the client \
                closed first both work.",
        reference: "tcp(7); inet_csk_bind_conflict in net/ipv4/inet_connection_sock.c",
        matters: "It is why a server cannot be restarted for a minute. Who closes first decides, not who is the server.",
        experiment: "A server with SO_REUSEADDR and its client close in one order, then in the other; TCP_INFO shows when the second FIN has \
                     been dealt with; then the port is bound without and with the option.",
        run: |k| {
            for (what, first, expected) in [
                ("the server closed first", First::Server, no(Errno::EADDRINUSE)),
                ("the client closed first", First::Client, Ok(())),
            ] {
                step(what, || {
                    let address = used_port(k, true, first)?;
                    noted(is("bind without SO_REUSEADDR", bind_again(k, &address, false), expected));
                    is("bind with it", bind_again(k, &address, true), Ok(()))
                });
            }
            Ok(())
        },
        gaps: &[Gap {
            from: Since(6, 1),
            until: Some(Since(6, 2)),
            repaired: &[Release(6, 1, 5)],
            commits: "28044fc1d495 left TIME_WAIT out of a new table; 936a192f9740 put it in",
        }],
        ..Fact::ALWAYS
    },
    Fact {
        id: "tcp-reuseaddr-needed-on-old-socket",
        claim: "SO_REUSEADDR on the new socket alone is not enough: if the socket that is in TIME_WAIT did not have it, bind still gives \
                EADDRINUSE.",
        reference: "inet_csk_bind_conflict in net/ipv4/inet_connection_sock.c tests sk_reuse of both",
        matters: "Adding the option to a server helps from the second restart on, not from the first: the connections of the old one do \
                  not have it.",
        experiment: "The TIME_WAIT of a listener with and of one without the option, which accept inherits; the port is bound with it.",
        wrong: &["most texts on SO_REUSEADDR, which describe it as a property of the new socket"],
        run: |k| {
            for (what, had, expected) in [
                ("which the old socket had", true, Ok(())),
                ("which it did not have", false, no(Errno::EADDRINUSE)),
            ] {
                let address = used_port(k, had, First::Server)?;
                noted(is(format!("bind with SO_REUSEADDR, {what}"), bind_again(k, &address, true), expected));
            }
            Ok(())
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "tcp-reuseaddr-no-two-listeners",
        claim: "SO_REUSEADDR never allows two listeners on one address: bind fails if one listens; two bound sockets are fine, but the \
                second listen gives EADDRINUSE; the wildcard address conflicts with a specific one too.",
        reference: "socket(7) SO_REUSEADDR; inet_csk_bind_conflict",
        matters: "It is not SO_REUSEPORT: two servers cannot share a port by accident. On Windows the option of that name allows it.",
        experiment: "A second socket with the option binds while the first listens, and while it is only bound, then listens; then the \
                     wildcard address is bound beside a listener.",
        run: |k| {
            let reusing = || -> Reply<i32> {
                let fd = tcp(k)?;
                set_option(k, fd, SOL_SOCKET, SO_REUSEADDR, 1)?;
                Ok(fd)
            };
            let (_, address) = own_listener(k, true)?;
            noted(is("bind where another listens", k.bind(reusing()?, &address), no(Errno::EADDRINUSE)));
            let everywhere = k.bind(reusing()?, &Address::v4([0, 0, 0, 0], address.port()));
            noted(is("bind to all addresses where another listens", everywhere, no(Errno::EADDRINUSE)));

            let (one, other) = (reusing()?, reusing()?);
            k.bind(one, &own_address())?;
            let address = k.getsockname(one)?;
            is("bind where another is bound", k.bind(other, &address), Ok(()))?;
            is("the first listen", k.listen(one, 5), Ok(()))?;
            is("the second listen", k.listen(other, 5), no(Errno::EADDRINUSE))
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "tcp-self-connect",
        claim: "A socket that is bound to a port and connects to that port connects to itself, blocking with 0, non-blocking with EINPROGRESS and then \
                ESTABLISHED, and reads its own data.",
        reference: "simultaneous open, RFC 9293 section 3.5",
        matters: "A client that retries a local port of the ephemeral range can connect to itself, and keeps its own server from \
                  binding.",
        experiment: "A socket binds and connects to its own address, writes and reads; both forms.",
        run: |k| {
            loopback_is_up()?;
            for (how, fd, expected) in
                [("blocking", tcp(k)?, Ok(())), ("non-blocking", tcp_nonblocking(k)?, no(Errno::EINPROGRESS))]
            {
                step(how, || {
                    k.bind(fd, &own_address())?;
                    let address = k.getsockname(fd)?;
                    is("connect to itself", k.connect(fd, &address), expected)?;
                    until_state(k, fd, ESTABLISHED)?;
                    noted(is("whether its peer is itself", k.getpeername(fd)? == address, true));
                    k.send(fd, b"echo", MSG_NOSIGNAL)?;
                    is("recv of its own data", recv_soon(k, fd, 8), Ok(4))
                });
            }
            Ok(())
        },
        ..Fact::ALWAYS
    },
];

/// An address of this process's own: on 127.0.0.1 another process could be given the port in between.
fn own_address() -> Address {
    let [a, b, c, _] = std::process::id().to_le_bytes();
    Address::v4([127, 64 | c & 63, b, a], 0)
}

/// A listener at such an address, with SO_REUSEADDR or without; and its address.
fn own_listener(k: K, reuse: bool) -> Reply<(i32, Address)> {
    let listener = tcp(k)?;
    set_option(k, listener, SOL_SOCKET, SO_REUSEADDR, reuse.into())?;
    k.bind(listener, &own_address())?;
    k.listen(listener, 5)?;
    Ok((listener, k.getsockname(listener)?))
}

/// Bind a new socket there, with SO_REUSEADDR or without, and close it again.
fn bind_again(k: K, address: &Address, reuse: bool) -> Reply<()> {
    let fd = tcp(k)?;
    set_option(k, fd, SOL_SOCKET, SO_REUSEADDR, reuse.into())?;
    let bound = k.bind(fd, address);
    k.close(fd)?;
    bound
}

/// Who closes first.
#[derive(Clone, Copy, PartialEq)]
enum First {
    Server,
    Client,
}

/// A server's port after one connection that was closed in order, and the listener closed.
fn used_port(k: K, reuse: bool, first: First) -> Held<Address> {
    if let Ok(most) = number_of("/proc/sys/net/ipv4/tcp_max_tw_buckets") {
        needs(Why::Setting, "net.ipv4.tcp_max_tw_buckets is not 0", most > 0, most)?;
    }
    let (listener, address) = own_listener(k, reuse)?;
    let client = connected(k, &address)?;
    let server = k.accept(listener)?;
    k.close(listener)?;
    let (one, other) = if first == First::Server { (server, client) } else { (client, server) };
    k.shutdown(one, libc::SHUT_WR)?;
    until_state(k, other, CLOSE_WAIT)?;
    k.shutdown(other, libc::SHUT_WR)?;
    // CLOSE at both ends: one has had its last ACK, the other is in TIME_WAIT, which its socket calls CLOSE.
    until_state(k, one, CLOSE)?;
    until_state(k, other, CLOSE)?;
    k.close(one)?;
    k.close(other)?;
    Ok(address)
}
