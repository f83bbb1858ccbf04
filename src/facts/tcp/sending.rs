//! Data that waits to be sent: for a peer that does not read, for a handshake, for more of it.

use crate::facts::support::*;
use libc::{IPPROTO_TCP, MSG_NOSIGNAL};

pub(super) const FACTS: &[Fact] = &[
    Fact {
        id: "tcp-user-timeout-zero-window",
        claim: "TCP_USER_TIMEOUT ends a connection whose peer is alive and acknowledges everything, but does not read: ERR, \
                and SO_ERROR is ETIMEDOUT.",
        reference: "tcp(7) TCP_USER_TIMEOUT; tcp_probe_timer in net/ipv4/tcp_timer.c; \
                    https://blog.cloudflare.com/when-tcp-sockets-refuse-to-die",
        since: Since(3, 18),
        matters: "The option is set against peers that have gone, and cuts off those that are slow: a paused download ends.",
        experiment: "A connection whose buffers are full, and whose peer does not read, gets a time of 300 ms; it is polled for ERR, and \
                     SO_ERROR is read.",
        run: |k| {
            let (ours, _peer) = full_pair(k)?;
            set_option(k, ours, IPPROTO_TCP, libc::TCP_USER_TIMEOUT, 300)?;
            let mut one = entry(ours, NONE);
            is("sockets with an error after a while", k.poll(At::from(&mut one), ms(kernel_time()))?, 1)?;
            is("its SO_ERROR", so_error(k, ours)?, Errno::ETIMEDOUT)
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "tcp-fastopen-connect-lazy",
        claim: "With TCP_FASTOPEN_CONNECT connect to a closed port gives 0 without sending anything, and poll shows OUT; the \
                first send gives ECONNREFUSED.",
        reference: "tcp(7) TCP_FASTOPEN_CONNECT; tcp_fastopen_defer_connect in net/ipv4/tcp_fastopen.c",
        since: Since(4, 15),
        matters: "A client that tries one address after the other takes the first that connects, although nobody is there; and a \
                  protocol whose server speaks first never begins.",
        experiment: "A blocking socket with the option, and with TCP_FASTOPEN_NO_COOKIE, connects to a port that nobody listens at, \
                     is polled, and sends.",
        run: |k| {
            if let Ok(allowed) = number_of("/proc/sys/net/ipv4/tcp_fastopen") {
                needs(Why::Setting, "net.ipv4.tcp_fastopen allows clients", allowed & 1 == 1, allowed)?;
            }
            let address = refused_address(k)?;
            let fd = tcp(k)?;
            set_option(k, fd, IPPROTO_TCP, libc::TCP_FASTOPEN_CONNECT, 1)?;
            set_option(k, fd, IPPROTO_TCP, raw::TCP_FASTOPEN_NO_COOKIE, 1)?;
            is("connect to a closed port", k.connect(fd, &address), Ok(()))?;
            noted(is("the mask after it", mask(k, fd)?, OUT));
            noted(is("getpeername after it", k.getpeername(fd).map(drop), no(Errno::ENOTCONN)));
            is("the first send", k.send(fd, b"x", MSG_NOSIGNAL), no(Errno::ECONNREFUSED))
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "tcp-cork-holds-back",
        claim: "With TCP_CORK less than a segment is not sent; taking the option off sends it at once.",
        reference: "tcp(7) TCP_CORK, which holds data back for at most 200 ms",
        matters: "A server that corks a header for the file that follows, and forgets to uncork, delays the end of each answer by \
                  200 ms.",
        experiment: "10 bytes are sent with the option. A second connection over the same path shows that they would have been seen: \
                     nothing has arrived. Without the option all 10 arrive.",
        run: |k| {
            let cork = |fd, on| set_option(k, fd, IPPROTO_TCP, libc::TCP_CORK, on);
            let fence = Fence::new(k)?;
            // The kernel gives up holding back after 200 ms: an attempt that took too long shows nothing.
            for _ in 0..20 {
                let (ours, peer) = tcp_pair(k)?;
                cork(ours, 1)?;
                let begun = Instant::now();
                k.send(ours, b"0123456789", MSG_NOSIGNAL)?;
                fence.cross(k)?;
                let arrived = readable_bytes(k, peer)?;
                if begun.elapsed() < Duration::from_millis(150) {
                    is("bytes that arrived with TCP_CORK", arrived, 0)?;
                    cork(ours, 0)?;
                    return is("recv without it", recv_soon(k, peer, 16), Ok(10));
                }
            }
            skip(Why::Moment, "the machine is too busy: no byte crosses the fence within 150 ms")
        },
        ..Fact::ALWAYS
    },
];
