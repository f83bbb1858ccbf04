//! A TCP connection as poll sees it: refused, half closed, closed, reset, with urgent data.
//!
//! HUP needs both directions to be shut. One FIN, from whichever side, never gives it.

use super::*;
use libc::{MSG_DONTWAIT, MSG_NOSIGNAL, MSG_OOB, SHUT_RD, SHUT_WR, SOL_SOCKET};

pub(super) const FACTS: &[Fact] = &[
    Fact {
        id: "poll-tcp-refused-mask",
        claim: "After a refused connect poll says exactly IN, OUT, ERR, HUP and RDHUP; asked for OUT alone it says \
                OUT, ERR and HUP.",
        reference: "connect(2) EINPROGRESS; tcp_reset and tcp_poll in net/ipv4",
        matters: "OUT after connect does not mean that it worked. Code that looks at OUT first, and not at SO_ERROR, \
                  takes a refused connection for an established one.",
        experiment: "A non-blocking connect to a port that is bound but not listened at; poll until there are OUT and \
                     RDHUP, then asked for OUT alone.",
        wrong: &[
            "mio: https://github.com/tokio-rs/mio/pull/1565",
            "libp2p: https://github.com/libp2p/rust-libp2p/pull/2458",
        ],
        run: |k| {
            let nobody = refused_address(k)?;
            let fd = tcp_nonblocking(k)?;
            is("connect to a port at which nobody listens", k.connect(fd, &nobody), no(Errno::EINPROGRESS))?;
            // poll looks without a lock, and the shut directions are what tcp_reset sets last.
            is("after the refused connect", mask_with(k, fd, OUT | RDHUP)?, FAILED)?;
            is("after the refused connect, asked for OUT alone", mask_of(k, fd, OUT)?, OUT | ERR | HUP)
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "poll-tcp-peer-fin",
        claim: "When the peer has sent its FIN and we have not, poll says exactly IN, OUT and RDHUP, without HUP. The \
                connection is in CLOSE_WAIT.",
        reference: "poll(2) POLLRDHUP; the comment on EPOLLHUP in tcp_poll, net/ipv4/tcp.c",
        since: Since(2, 6),
        matters: "The peer may still wait for our answer. Code that takes RDHUP for HUP closes too early, and cuts \
                  the answer off.",
        experiment: "The peer calls shutdown(SHUT_WR); poll until there is RDHUP; TCP_INFO; recv, and a send that the \
                     peer receives.",
        wrong: &[
            "mio: https://github.com/tokio-rs/mio/pull/939",
            "Gramine: https://github.com/gramineproject/gramine/pull/1073",
        ],
        run: |k| {
            let (ours, peer) = tcp_pair(k)?;
            is("before the FIN", mask(k, ours)?, OUT)?;
            k.shutdown(peer, SHUT_WR)?;
            is("after the peer's FIN", mask_with(k, ours, RDHUP)?, IN | OUT | RDHUP)?;
            is("our state", tcp_info(k, ours)?.state, CLOSE_WAIT)?;
            is("recv", k.recv(ours, &mut [0], MSG_DONTWAIT), Ok(0))?;
            is("after recv has told the end", mask(k, ours)?, IN | OUT | RDHUP)?;
            is("send after the peer's FIN", k.send(ours, b"late", MSG_NOSIGNAL), Ok(4))?;
            until_readable_bytes(k, peer, 4)
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "poll-tcp-own-shutwr-stays-out",
        claim: "After our own shutdown(SHUT_WR) poll says exactly OUT, though every write fails with EPIPE.",
        reference: "tcp_poll in net/ipv4/tcp.c: SEND_SHUTDOWN gives EPOLLOUT",
        matters: "A loop that goes on asking for OUT after it has shut its side down never sleeps again.",
        experiment: "shutdown(SHUT_WR) on one end; poll at once and once the FIN is acknowledged (FIN_WAIT2); send.",
        run: |k| {
            let (ours, _peer) = tcp_pair(k)?;
            k.shutdown(ours, SHUT_WR)?;
            is("after our SHUT_WR", mask(k, ours)?, OUT)?;
            is("send after our SHUT_WR", k.send(ours, b"x", MSG_NOSIGNAL), no(Errno::EPIPE))?;
            until_state(k, ours, FIN_WAIT2)?;
            is("once our FIN is acknowledged", mask(k, ours)?, OUT)
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "poll-tcp-both-fins-hup",
        claim: "When both directions are shut, poll says exactly IN, OUT, HUP and RDHUP on both sides.",
        reference: "poll(2) POLLHUP; tcp_poll in net/ipv4/tcp.c: shutdown == SHUTDOWN_MASK",
        matters: "HUP cannot be masked. A socket that is kept in the set after both FINs makes every poll return at once.",
        experiment: "shutdown(SHUT_WR) on both ends of a connection; poll until there is HUP.",
        run: |k| {
            let (first, second) = tcp_pair(k)?;
            k.shutdown(first, SHUT_WR)?;
            is("the second end after the first's FIN", mask_with(k, second, RDHUP)?, IN | OUT | RDHUP)?;
            k.shutdown(second, SHUT_WR)?;
            is("the second end after both SHUT_WR", mask(k, second)?, SHUT)?;
            is("the first end after both FINs", mask_with(k, first, RDHUP)?, SHUT)
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "poll-tcp-local-shut-rd",
        claim: "shutdown(SHUT_RD) alone gives IN, OUT and RDHUP at once, and the peer is told nothing: it has OUT, \
                and its state stays ESTABLISHED.",
        reference: "shutdown(2); tcp_poll in net/ipv4/tcp.c uses sk_shutdown; inet_shutdown",
        matters: "RDHUP does not prove that the peer has closed: it may be our own doing. And the peer goes on sending.",
        experiment: "shutdown(SHUT_RD) on one end; poll there; a fence over the same path; poll at the other end.",
        run: |k| {
            let fence = Fence::new(k)?;
            let (ours, peer) = tcp_pair(k)?;
            k.shutdown(ours, SHUT_RD)?;
            is("at once after our SHUT_RD", mask(k, ours)?, IN | OUT | RDHUP)?;
            is("recv after our SHUT_RD", k.recv(ours, &mut [0], MSG_DONTWAIT), Ok(0))?;
            fence.cross(k)?;
            is("the peer after our SHUT_RD", mask(k, peer)?, OUT)?;
            is("the peer's state after our SHUT_RD", tcp_info(k, peer)?.state, ESTABLISHED)
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "poll-tcp-rst-mask",
        claim: "After a received RST poll says exactly IN, OUT, ERR, HUP and RDHUP; the state is CLOSE.",
        reference: "tcp_reset in net/ipv4/tcp_input.c",
        matters: "All bits are set at once. Code that tests HUP before IN loses data that came before the RST, and \
                  code that tests IN alone finds the error with recv.",
        experiment: "The peer closes with SO_LINGER of 0 seconds; poll until there is RDHUP; TCP_INFO.",
        run: |k| {
            let ours = reset(k)?;
            is("after the peer's RST", mask(k, ours)?, FAILED)?;
            is("our state", tcp_info(k, ours)?.state, CLOSE)
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "poll-soerror-clears-err-only",
        claim: "The SO_ERROR, recv or send that delivers the error takes ERR away. IN, OUT, HUP and RDHUP stay for good.",
        reference: "socket(7) SO_ERROR; sock_error in include/net/sock.h; tcp_poll",
        matters: "The error can be read once. A poll for ERR after another part of the program has looked at SO_ERROR \
                  does not find it.",
        experiment: "Three connections are reset by the peer. SO_ERROR on one, recv on one, send on one, each \
                     followed by poll; then SO_ERROR and recv again.",
        run: |k| {
            step("by SO_ERROR", || {
                let fd = reset(k)?;
                is("SO_ERROR", so_error(k, fd)?, Errno::ECONNRESET)?;
                is("after SO_ERROR", mask(k, fd)?, SHUT)?;
                is("SO_ERROR again", so_error(k, fd)?, NO_ERROR)
            });
            step("by recv", || {
                let fd = reset(k)?;
                is("recv", k.recv(fd, &mut [0], MSG_DONTWAIT), no(Errno::ECONNRESET))?;
                is("after recv", mask(k, fd)?, SHUT)?;
                is("recv again", k.recv(fd, &mut [0], MSG_DONTWAIT), Ok(0))?;
                is("after the second recv", mask(k, fd)?, SHUT)
            });
            step("by send", || {
                let fd = reset(k)?;
                is("send", k.send(fd, b"x", MSG_NOSIGNAL), no(Errno::ECONNRESET))?;
                is("after send", mask(k, fd)?, SHUT)?;
                is("send again", k.send(fd, b"x", MSG_NOSIGNAL), no(Errno::EPIPE))?;
                is("after the second send", mask(k, fd)?, SHUT)
            });
            Ok(())
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "poll-oob-pri",
        claim: "Urgent data of TCP gives PRI. recv(MSG_OOB) returns the urgent byte once, and then EINVAL; PRI is \
                gone with it, while IN for the bytes before it stays.",
        reference: "tcp(7) SIOCATMARK; recv(2) MSG_OOB; tcp_recv_urg and tcp_poll in net/ipv4/tcp.c",
        matters: "Only the last byte of a send with MSG_OOB is urgent. A server that asks for PRI and never reads \
                  with MSG_OOB spins.",
        experiment: "send of two bytes with MSG_OOB; poll until there is PRI; recv(MSG_OOB) twice, poll, recv, poll.",
        run: |k| {
            let (ours, peer) = tcp_pair(k)?;
            is("send of two bytes with MSG_OOB", k.send(peer, b"ab", MSG_OOB), Ok(2))?;
            is("with urgent data", mask_with(k, ours, IN | PRI)?, IN | PRI | OUT)?;
            let mut byte = [0; 2];
            is("recv with MSG_OOB", k.recv(ours, &mut byte, MSG_OOB), Ok(1))?;
            is("the urgent byte", char::from(byte[0]).to_string(), "b".to_owned())?;
            is("recv with MSG_OOB again", k.recv(ours, &mut byte, MSG_OOB), no(Errno::EINVAL))?;
            is("after the urgent byte", mask(k, ours)?, IN | OUT)?;
            is("recv", k.recv(ours, &mut byte, MSG_DONTWAIT), Ok(1))?;
            is("the byte before it", char::from(byte[0]).to_string(), "a".to_owned())?;
            is("after all bytes", mask(k, ours)?, OUT)
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "poll-errqueue-is-err",
        claim: "The notice that the kernel has done with the memory of a send with MSG_ZEROCOPY is ERR, though \
                nothing failed: SO_ERROR is 0 and does not take it away. recv with MSG_ERRQUEUE does.",
        reference: "Documentation/networking/msg_zerocopy.rst Notification Reception; tcp_poll in net/ipv4/tcp.c \
                    looks at sk_error_queue",
        since: Since(4, 14),
        matters: "A loop that closes on ERR loses a healthy connection. One that only asks SO_ERROR finds nothing, \
                  and spins on an ERR that stays. Time stamps and ICMP errors (IP_RECVERR) come the same way.",
        experiment: "A byte is sent with MSG_ZEROCOPY; poll until there is ERR; SO_ERROR, poll, recv with \
                     MSG_ERRQUEUE twice, poll.",
        wrong: &["gRPC: https://github.com/grpc/grpc/pull/30669"],
        run: |k| {
            let (ours, peer) = tcp_pair(k)?;
            set_option(k, ours, SOL_SOCKET, libc::SO_ZEROCOPY, 1)?;
            k.send(ours, b"x", libc::MSG_ZEROCOPY | MSG_NOSIGNAL)?;
            until_readable_bytes(k, peer, 1)?;
            is("with the notice", mask_with(k, ours, ERR)?, OUT | ERR)?;
            is("SO_ERROR", so_error(k, ours)?, NO_ERROR)?;
            is("after SO_ERROR", mask(k, ours)?, OUT | ERR)?;
            let notice = || k.recv(ours, &mut [0; 8], libc::MSG_ERRQUEUE | MSG_DONTWAIT);
            is("recv with MSG_ERRQUEUE", notice(), Ok(0))?;
            is("recv with MSG_ERRQUEUE again", notice(), no(Errno::EAGAIN))?;
            is("after the notice was read", mask(k, ours)?, OUT)
        },
        ..Fact::ALWAYS
    },
];

/// What a socket has that is shut in both directions.
const SHUT: Events = Events(IN.0 | OUT.0 | HUP.0 | RDHUP.0);
/// The same with an error that nobody has read yet.
const FAILED: Events = Events(SHUT.0 | ERR.0);

/// An end of a connection that the peer has reset, with the error still to be read.
fn reset(k: K) -> Held<i32> {
    let (ours, peer) = tcp_pair(k)?;
    reset_connection(k, peer)?;
    // poll looks without a lock, and the shut directions are what tcp_reset sets last.
    mask_with(k, ours, ERR | RDHUP)?;
    Ok(ours)
}
