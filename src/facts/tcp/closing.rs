//! Half closes, the last reference, and what a connection in TIME_WAIT looks like from its socket.

use crate::facts::support::*;
use libc::{MSG_DONTWAIT, MSG_NOSIGNAL, SHUT_RD, SHUT_WR};

pub(super) const FACTS: &[Fact] = &[
    Fact {
        id: "tcp-close-vs-shutdown-wake-recv",
        claim: "close in another thread does not wake a blocked recv; shutdown does, and recv returns 0.",
        reference: "shutdown(2); the call holds a reference to the file",
        matters: "Whoever ends a reader thread by closing its socket leaves the thread, and the connection, behind.",
        experiment: "A thread blocks in recv; the socket is closed; 60 ms later the peer sends a byte, which recv gives. Another one \
                     blocks; the socket is shut for reading; recv returns 0.",
        run: |k| {
            let (reading, peer) = tcp_pair(k)?;
            let waiter = Waiter::asleep(RECV, move || k.recv(reading, &mut [0; 8], 0))?;
            k.close(reading)?;
            // A kernel that wakes it may do so a moment later.
            let woken = waiter.join_within(Duration::from_millis(60));
            k.send(peer, b"x", MSG_NOSIGNAL)?;
            let reply = woken.map_or_else(|| waiter.join(), Ok)?;
            noted(is("a blocked recv whose socket was closed, once the peer has sent a byte", reply, Ok(1)));

            let (reading, _peer) = tcp_pair(k)?;
            let waiter = Waiter::asleep(RECV, move || k.recv(reading, &mut [0; 8], 0))?;
            k.shutdown(reading, SHUT_RD)?;
            is("a blocked recv whose socket was shut for reading", waiter.join()?, Ok(0))
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "tcp-half-close-keeps-other-way",
        claim: "After SHUT_WR the peer reads end of stream and can still send, and our recv gets what it sends.",
        reference: "shutdown(2); RFC 9293 section 3.6",
        matters: "A server that closes at end of stream cuts off clients that said all they have to say and wait for the answer.",
        experiment: "One end is shut for writing; the other reads 0, then sends; the first receives it.",
        run: |k| {
            let (ours, peer) = tcp_pair(k)?;
            k.shutdown(ours, SHUT_WR)?;
            is("the peer's recv", recv_soon(k, peer, 8), Ok(0))?;
            is("the peer's send", k.send(peer, b"late", MSG_NOSIGNAL), Ok(4))?;
            is("our recv", recv_soon(k, ours, 8), Ok(4))
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "tcp-shut-rd-does-not-block-arrivals",
        claim: "After SHUT_RD recv returns 0, but data that arrives later is accepted and recv returns it; AF_UNIX fails the \
                peer's write with EPIPE instead.",
        reference: "shutdown(2); tcp_recvmsg_locked in net/ipv4/tcp.c",
        matters: "SHUT_RD is no filter: a peer may go on to fill the receive buffer, and nobody is told.",
        experiment: "A TCP end is shut for reading and reads 0; the peer writes; once FIONREAD has it, recv returns it. The AF_UNIX form \
                     writes at the peer.",
        run: |k| {
            let (ours, peer) = tcp_pair(k)?;
            k.shutdown(ours, SHUT_RD)?;
            step("TCP", || {
                let recv = || k.recv(ours, &mut [0; 8], MSG_DONTWAIT);
                is("recv after SHUT_RD", recv(), Ok(0))?;
                is("the peer's send", k.send(peer, b"late", MSG_NOSIGNAL), Ok(4))?;
                until_readable_bytes(k, ours, 4)?;
                is("recv once it has arrived", recv(), Ok(4))?;
                is("recv when it is empty again", recv(), Ok(0))
            });

            let (ours, peer) = unix_pair(k)?;
            k.shutdown(ours, SHUT_RD)?;
            is("the peer's send to an AF_UNIX socket", k.send(peer, b"late", MSG_NOSIGNAL), no(Errno::EPIPE))
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "tcp-fin-needs-last-reference",
        claim: "close of one of two references to a connection, from dup or fork, sends no FIN; shutdown sends it regardless.",
        reference: "close(2), shutdown(2)",
        matters: "A forking server whose parent forgets to close its copy leaves clients waiting for an end of stream that does not \
                  come.",
        experiment: "A duplicate is closed, and a second connection over the same path shows that a FIN would have been seen; then shutdown \
                     is called. The same with a copy in a forked child, which is killed instead.",
        run: |k| {
            let fence = Fence::new(k)?;
            let (ours, peer) = tcp_pair(k)?;
            let other = k.dup(ours)?;
            k.close(ours)?;
            fence.cross(k)?;
            let end = |peer| mask_of(k, peer, IN | RDHUP);
            noted(is("the peer after one of two references was closed", end(peer)?, NONE));
            k.shutdown(other, SHUT_WR)?;
            noted(shows("the peer after shutdown", k, peer, IN | RDHUP));

            let (ours, peer) = tcp_pair(k)?;
            let child = Forked::start(|| k.pause().map_err(Into::into))?;
            k.close(ours)?;
            fence.cross(k)?;
            noted(is("the peer while a forked child has the other reference", end(peer)?, NONE));
            child.kill()?;
            shows("the peer once the child is gone", k, peer, IN | RDHUP)
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "tcp-linger-blocks-nonblock",
        claim: "close with SO_LINGER {1, 1} waits for what was not delivered, for up to a second, although the socket is \
                O_NONBLOCK.",
        reference: "socket(7) SO_LINGER; inet_release in net/ipv4/af_inet.c, which looks at no flag of the file",
        matters: "One client that does not read stops an event loop for as long as the option says, at each close.",
        experiment: "A non-blocking socket whose buffer is full, and whose peer does not read, is closed by a thread, which is asleep in \
                     close and comes back with 0.",
        run: |k| {
            let (ours, _peer) = full_pair(k)?;
            set_nonblocking(k, ours)?;
            set_linger(k, ours, 1)?;
            let waiter = Waiter::asleep(In(&[libc::SYS_close]), move || k.close(ours))?;
            is("the close", waiter.join_within(kernel_time()), Some(Ok(())))
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "tcp-timewait-reads-as-close",
        claim: "A socket whose connection went to TIME_WAIT reports the state CLOSE, polls HUP, and getpeername gives ENOTCONN.",
        reference: "tcp_time_wait in net/ipv4/tcp_minisocks.c hands over to a small socket of its own",
        matters: "TCP_INFO never says TIME_WAIT: to see it one needs ss or /proc/net/tcp.",
        experiment: "Both ends are shut for writing, the first one's socket is polled until HUP, and asked for its state and its peer.",
        run: |k| {
            let fence = Fence::new(k)?;
            let (first, second) = tcp_pair(k)?;
            k.shutdown(first, SHUT_WR)?;
            until_state(k, second, CLOSE_WAIT)?;
            k.shutdown(second, SHUT_WR)?;
            noted(shows("the end that closed first", k, first, IN | HUP | RDHUP));
            // HUP is there as soon as the second FIN is; that it is dealt with may take a moment more.
            fence.cross(k)?;
            noted(is("its state", tcp_info(k, first)?.state, CLOSE));
            is("its getpeername", k.getpeername(first).map(drop), no(Errno::ENOTCONN))
        },
        ..Fact::ALWAYS
    },
];
