//! What happens to those who wait when a listener goes.

use crate::facts::support::*;

pub(super) const FACTS: &[Fact] = &[
    Fact {
        id: "tcp-listener-close-resets-queue",
        claim: "Closing a listener resets the connections in its queue: the client polls ERR and HUP, and recv gives \
                ECONNRESET; new connects get ECONNREFUSED.",
        reference: "inet_csk_listen_stop in net/ipv4/inet_connection_sock.c",
        matters: "A restart that closes the listener first loses clients that believe to be connected.",
        experiment: "A client connects, the listener is closed, the client is polled and reads; then another one connects.",
        run: |k| {
            let (listener, address) = listener(k, 5)?;
            let client = connected(k, &address)?;
            until_pending(k, listener)?;
            k.close(listener)?;
            noted(shows("the client", k, client, ERR | HUP));
            noted(is("its recv", recv_soon(k, client, 8), no(Errno::ECONNRESET)));
            is("a new connect", k.connect(tcp(k)?, &address), no(Errno::ECONNREFUSED))
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "tcp-listener-shut-rd",
        claim: "shutdown(SHUT_RD) on a TCP listener puts it into CLOSE: it polls OUT+HUP, accept gives EINVAL, an accept that was \
                blocked wakes with EINVAL, and queued clients are reset; SHUT_WR alone changes nothing. An AF_UNIX \
                listener after SHUT_RDWR still hands out what was queued.",
        reference: "inet_shutdown in net/ipv4/af_inet.c, case TCP_LISTEN",
        matters: "It is the way to end a thread that is blocked in accept; and it loses the queue of a TCP listener.",
        experiment: "A listener with a client in its queue is shut for writing, then for reading, and polled and accepted from after \
                     each; another has a thread blocked in accept; the AF_UNIX form accepts after the shutdown.",
        run: |k| {
            step("a listener with a client in its queue", || {
                let (listening, address) = listener(k, 5)?;
                set_nonblocking(k, listening)?;
                let client = connected(k, &address)?;
                until_pending(k, listening)?;
                k.shutdown(listening, libc::SHUT_WR)?;
                noted(is("its mask after SHUT_WR", mask(k, listening)?, IN));
                noted(is("its state", tcp_info(k, listening)?.state, LISTEN));
                k.shutdown(listening, libc::SHUT_RD)?;
                noted(is("its state after SHUT_RD", tcp_info(k, listening)?.state, CLOSE));
                noted(is("its mask after SHUT_RD", mask(k, listening)?, OUT | HUP));
                noted(is("accept after SHUT_RD", k.accept(listening), no(Errno::EINVAL)));
                shows("the queued client", k, client, ERR | HUP)
            });
            step("a listener with a thread in accept", || {
                let (listening, _) = listener(k, 5)?;
                let accepting = Waiter::asleep(ACCEPT, move || k.accept(listening))?;
                k.shutdown(listening, libc::SHUT_RD)?;
                is("the blocked accept", accepting.join()?, no(Errno::EINVAL))
            });

            let listening = k.socket(libc::AF_UNIX, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0)?;
            k.bind(listening, &Address::any_unix())?;
            k.listen(listening, 5)?;
            set_nonblocking(k, listening)?;
            let client = k.socket(libc::AF_UNIX, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0)?;
            k.connect(client, &k.getsockname(listening)?)?;
            k.shutdown(listening, libc::SHUT_RDWR)?;
            is("accept of an AF_UNIX listener after SHUT_RDWR", k.accept(listening).map(drop), Ok(()))
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "tcp-listener-close-does-not-wake-accept",
        claim: "Closing a listener in another thread leaves a blocked accept asleep; the port still takes one more \
                connection, and that accept succeeds.",
        reference: "accept(2); the call holds a reference to the file",
        matters: "close is no way to stop an accept loop: the thread stays, and serves one client more.",
        experiment: "A thread blocks in accept and the listener is closed; 60 ms later a client connects, which accept gives.",
        run: |k| {
            let (listener, address) = listener(k, 5)?;
            let accepting = Waiter::asleep(ACCEPT, move || k.accept(listener).map(drop))?;
            k.close(listener)?;
            // A kernel that wakes it may do so a moment later.
            let woken = accepting.join_within(Duration::from_millis(60));
            noted(is("a connect to the port", k.connect(tcp(k)?, &address), Ok(())));
            is("the blocked accept", woken.map_or_else(|| accepting.join(), Ok)?, Ok(()))
        },
        ..Fact::ALWAYS
    },
];
