//! accept: what it gives, what an accepted socket has from its listener, and connections that ended before it.

use crate::facts::support::*;
use libc::{IPPROTO_TCP, MSG_DONTWAIT, MSG_NOSIGNAL, O_NONBLOCK, SOCK_CLOEXEC, SOCK_NONBLOCK, SOL_SOCKET};

pub(super) const FACTS: &[Fact] = &[
    Fact {
        id: "nb-accept-eagain",
        claim: "accept on a non-blocking listener with nothing in its queue gives EAGAIN.",
        reference: "accept(2) EAGAIN",
        matters: "It is how an accept loop knows that it is done.",
        experiment: "A non-blocking listener is accepted from.",
        run: |k| {
            let (listener, _) = listener(k, 5)?;
            set_nonblocking(k, listener)?;
            is("accept with an empty queue", k.accept(listener), no(Errno::EAGAIN))
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "nb-accept-flags-not-inherited",
        claim: "An accepted socket has neither O_NONBLOCK nor FD_CLOEXEC from its listener; accept4 sets them; \
                unknown flags of accept4 give EINVAL.",
        reference: "accept(2) NOTES",
        matters: "On the BSDs O_NONBLOCK is inherited: a ported event loop blocks in its first read.",
        experiment: "A listener with both flags is accepted from with accept, accept4 and a flag that does not exist.",
        run: |k| {
            let (listener, address) = listener(k, 5)?;
            set_nonblocking(k, listener)?;
            let flags = |fd| -> Held<(bool, bool)> {
                let (status, descriptor) = (k.fcntl(fd, libc::F_GETFL, 0)?, k.fcntl(fd, libc::F_GETFD, 0)?);
                Ok((status & O_NONBLOCK != 0, descriptor & libc::FD_CLOEXEC != 0))
            };
            is("(O_NONBLOCK, FD_CLOEXEC) of the listener", flags(listener)?, (true, true))?;
            connected(k, &address)?;
            until_pending(k, listener)?;
            noted(is("(O_NONBLOCK, FD_CLOEXEC) after accept", flags(k.accept(listener)?)?, (false, false)));
            connected(k, &address)?;
            until_pending(k, listener)?;
            noted(is("accept4 with an unknown flag", k.accept4(listener, 1), no(Errno::EINVAL)));
            let with = k.accept4(listener, SOCK_NONBLOCK | SOCK_CLOEXEC)?;
            is("(O_NONBLOCK, FD_CLOEXEC) after accept4 with both", flags(with)?, (true, true))
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "nb-accept-options-inherited",
        claim: "An accepted socket has SO_KEEPALIVE, TCP_NODELAY, SO_RCVBUF, SO_RCVTIMEO and SO_REUSEADDR from its listener.",
        reference: "sk_clone_lock in net/core/sock.c",
        matters: "A server can set them once, on its listener, and save the calls for each client; and a buffer size must \
                  be set there to count for the handshake.",
        experiment: "The options are set on a listener and read from an accepted socket.",
        run: |k| {
            let (listener, address) = listener(k, 5)?;
            // The size of a buffer is doubled.
            let ints = [
                ("SO_KEEPALIVE", SOL_SOCKET, libc::SO_KEEPALIVE, 1, 1),
                ("TCP_NODELAY", IPPROTO_TCP, libc::TCP_NODELAY, 1, 1),
                ("SO_RCVBUF", SOL_SOCKET, libc::SO_RCVBUF, 20_000, 40_000),
                ("SO_REUSEADDR", SOL_SOCKET, libc::SO_REUSEADDR, 1, 1),
            ];
            if let Ok(most) = number_of("/proc/sys/net/core/rmem_max") {
                needs(Why::Setting, "net.core.rmem_max is at least 20 000", most >= 20_000, most)?;
            }
            for (_, level, name, value, _) in ints {
                set_option(k, listener, level, name, value)?;
            }
            set_time_limit(k, listener, libc::SO_RCVTIMEO, 12_000)?;
            connected(k, &address)?;
            until_pending(k, listener)?;
            let accepted = k.accept(listener)?;
            for (what, level, name, _, value) in ints {
                noted(is(what, option(k, accepted, level, name)?, value));
            }
            let mut limit = [0; 16];
            k.getsockopt(accepted, SOL_SOCKET, libc::SO_RCVTIMEO, &mut limit)?;
            is("whether SO_RCVTIMEO is 12 s", limit[..8] == 12i64.to_ne_bytes(), true)
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "nb-accept-after-rst",
        claim: "A connection that was reset before accept is still accepted: it polls IN+ERR+HUP, and recv gives \
                ECONNRESET. accept never gives ECONNABORTED.",
        reference: "accept(2) NOTES; inet_csk_accept in net/ipv4/inet_connection_sock.c",
        matters: "POSIX and the BSDs give ECONNABORTED. On Linux the first read of a new connection may fail.",
        experiment: "A client connects and closes with SO_LINGER {1, 0}; then it is accepted, polled and read from.",
        run: |k| {
            let (listener, address) = listener(k, 5)?;
            let fence = Fence::new(k)?;
            reset_connection(k, connected(k, &address)?)?;
            fence.cross(k)?;
            until_pending(k, listener)?;
            let accepted = match k.accept(listener) {
                Ok(fd) => fd,
                refused => return is("accept of a connection that was reset", refused.map(drop), Ok(())),
            };
            noted(shows("the accepted socket", k, accepted, IN | ERR | HUP));
            is("its recv", k.recv(accepted, &mut [0; 8], MSG_DONTWAIT), no(Errno::ECONNRESET))
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "nb-accept-after-fin",
        claim: "Data and FIN that came before accept are delivered after it: recv gives the data, then 0.",
        reference: "tcp(7)",
        matters: "A client that sent its request and left gets served all the same.",
        experiment: "A client connects, writes and closes; it is accepted and read from twice.",
        run: |k| {
            let fence = Fence::new(k)?;
            let (listener, address) = listener(k, 5)?;
            let client = connected(k, &address)?;
            k.send(client, b"request", MSG_NOSIGNAL)?;
            k.close(client)?;
            fence.cross(k)?;
            until_pending(k, listener)?;
            let accepted = k.accept(listener)?;
            is("the first recv", recv_soon(k, accepted, 32), Ok(7))?;
            is("the second recv", recv_soon(k, accepted, 32), Ok(0))
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "nb-accept-queue-fifo",
        claim: "Connections are accepted in the order in which they were established.",
        reference: "reqsk_queue_remove in include/net/request_sock.h",
        matters: "Under overload those who have waited longest are served first, and may have given up already.",
        experiment: "Four clients connect one after another, each as soon as the byte of the last is acknowledged; the ports of \
                     the accepted connections are compared.",
        run: |k| {
            needs_somaxconn(5)?;
            let (listener, address) = listener(k, 5)?;
            set_nonblocking(k, listener)?;
            let (mut connected_ports, mut accepted_ports) = (Vec::new(), Vec::new());
            for _ in 0..4 {
                connected_ports.push(k.getsockname(queued_client(k, &address)?)?.port());
            }
            for _ in 0..4 {
                accepted_ports.push(k.getpeername(k.accept(listener)?)?.port());
            }
            is("the ports in the order of accept", accepted_ports, connected_ports)
        },
        ..Fact::ALWAYS
    },
];
