//! AF_UNIX streams as poll sees them: what happens at one end shows at the other at once.

use super::*;
use libc::{AF_UNIX, MSG_DONTWAIT, MSG_NOSIGNAL, SHUT_WR, SOCK_CLOEXEC, SOCK_STREAM};

pub(super) const FACTS: &[Fact] = &[
    Fact {
        id: "poll-unix-peer-close-hup",
        claim: "When the peer of an AF_UNIX stream closes, poll says IN, OUT, HUP and RDHUP at once. A TCP socket \
                whose peer closes has no HUP.",
        reference: "unix_release_sock in net/unix/af_unix.c sets both shutdown bits of the peer; unix_poll",
        matters: "Tests over socket pairs see HUP, and the same program over TCP does not. Both must be handled.",
        experiment: "A socket pair; one end is closed; poll of the other, recv and send there.",
        wrong: &["gVisor: https://github.com/google/gvisor/issues/7331"],
        run: |k| {
            let (ours, peer) = unix_pair(k)?;
            is("before the close", mask(k, ours)?, OUT)?;
            k.close(peer)?;
            is("at once after the peer's close", mask(k, ours)?, IN | OUT | HUP | RDHUP)?;
            is("recv", k.recv(ours, &mut [0], MSG_DONTWAIT), Ok(0))?;
            is("send", k.send(ours, b"x", MSG_NOSIGNAL), no(Errno::EPIPE))?;
            let (ours, peer) = tcp_pair(k)?;
            k.close(peer)?;
            is("a TCP socket after its peer's close", mask_with(k, ours, RDHUP)?, IN | OUT | RDHUP)
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "poll-unix-peer-close-unread-err",
        claim: "If the peer of an AF_UNIX stream closes with bytes of ours unread, there is ERR as well. The first \
                recv gives ECONNRESET, the second gives 0.",
        reference: "unix_release_sock in net/unix/af_unix.c sets sk_err of the peer",
        matters: "It is the RST of a local socket: what we sent last was not read. A client that takes the 0 of the \
                  second recv for a clean end does not know.",
        experiment: "A byte is sent over a socket pair and not read; that end is closed; poll and recv at the other, twice.",
        wrong: &["gVisor: https://github.com/google/gvisor/issues/735"],
        run: |k| {
            let (ours, peer) = unix_pair(k)?;
            is("send", k.send(ours, b"x", MSG_NOSIGNAL), Ok(1))?;
            k.close(peer)?;
            is("at once after the peer's close", mask(k, ours)?, IN | OUT | ERR | HUP | RDHUP)?;
            is("the first recv", k.recv(ours, &mut [0], MSG_DONTWAIT), no(Errno::ECONNRESET))?;
            is("after the first recv", mask(k, ours)?, IN | OUT | HUP | RDHUP)?;
            is("the second recv", k.recv(ours, &mut [0], MSG_DONTWAIT), Ok(0))
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "poll-unix-peer-shutwr",
        claim: "shutdown(SHUT_WR) at the peer of an AF_UNIX stream gives IN, OUT and RDHUP here, and OUT alone there; \
                neither has HUP.",
        reference: "unix_shutdown and unix_poll in net/unix/af_unix.c",
        matters: "A half close works over local sockets as over TCP: the request may end before the answer begins.",
        experiment: "shutdown(SHUT_WR) on one end of a socket pair; poll of both.",
        run: |k| {
            let (ours, peer) = unix_pair(k)?;
            k.shutdown(peer, SHUT_WR)?;
            is("the other end", mask(k, ours)?, IN | OUT | RDHUP)?;
            is("the end that was shut", mask(k, peer)?, OUT)
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "poll-unix-listener-close-err",
        claim: "When an AF_UNIX listener is closed with our connection in its queue, poll says IN, OUT, ERR, HUP and \
                RDHUP, and recv gives ECONNRESET.",
        reference: "unix_release_sock in net/unix/af_unix.c on the sockets in the queue",
        matters: "connect to a local socket succeeds before anybody accepts. That the server went away is only seen \
                  afterwards, and must not look like a clean end.",
        experiment: "A listener, a client that connects, close of the listener; poll and recv of the client.",
        wrong: &[
            "gVisor: https://github.com/google/gvisor/issues/12576",
            "gVisor: https://github.com/google/gvisor/pull/12577",
        ],
        run: |k| {
            let stream = || k.socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
            let (listener, client) = (stream()?, stream()?);
            k.bind(listener, &Address::any_unix())?;
            k.listen(listener, 1)?;
            k.connect(client, &k.getsockname(listener)?)?;
            is("in the queue of the listener", mask(k, client)?, OUT)?;
            k.close(listener)?;
            is("after the listener's close", mask(k, client)?, IN | OUT | ERR | HUP | RDHUP)?;
            is("recv", k.recv(client, &mut [0], MSG_DONTWAIT), no(Errno::ECONNRESET))
        },
        ..Fact::ALWAYS
    },
];
