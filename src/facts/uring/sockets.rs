//! Operations on sockets, and what O_NONBLOCK and close(2) have to do with them.

use super::*;
use libc::{MSG_DONTWAIT, O_NONBLOCK, SHUT_RDWR};

pub(super) const FACTS: &[Fact] = &[
    Fact {
        id: "ur-close-does-not-cancel",
        claim: "close of the descriptor leaves a POLL_ADD and a RECV that are under way alive, since they \
                hold the file: no completion comes, the peer sees no end, and what it sends is received.",
        reference: "io_uring(7); io_file_get_normal in io_uring/io_uring.c takes a reference of the file",
        since: Since(5, 6),
        matters: "A server that only closes a client leaves the connection up, and its buffer in use. It has \
                  to cancel first, or shut down.",
        experiment: "POLL_ADD and RECV on one end each of two socket pairs, close of both ends; then the other ends send.",
        wrong: &[
            "liburing: https://github.com/axboe/liburing/issues/568",
            "liburing: https://github.com/axboe/liburing/issues/932",
            "Crystal: https://github.com/crystal-lang/crystal/pull/15634",
        ],
        run: |k| {
            let ring = ring(k)?;
            let ((polled, peer_of_polled), (received, peer_of_received)) = (unix_pair(k)?, unix_pair(k)?);
            let poll = poll_once(polled, IN).named("POLL_ADD");
            submit(k, ring, &[poll, Op::Recv { fd: received, flags: 0 }.named("RECV")])?;
            k.close(polled)?;
            k.close(received)?;
            noted(silent(k, ring, "after the descriptors were closed"));
            let open = |fd| mask(k, fd).map(|events| events.has(OUT) && !events.has(HUP));
            noted(is(
                "the peer of the POLL_ADD is connected after the close",
                open(peer_of_polled),
                Ok(true),
            ));
            noted(is("the peer of the RECV is connected after the close", open(peer_of_received), Ok(true)));
            is("send to the POLL_ADD", k.send(peer_of_polled, b"a", libc::MSG_NOSIGNAL), Ok(1))?;
            is("send to the RECV", k.send(peer_of_received, b"late", libc::MSG_NOSIGNAL), Ok(4))?;
            let both = (Ok(vec![done("POLL_ADD", Ok(1)), done("RECV", Ok(4))]), Ok(b"late".to_vec()));
            let came = (soon(k, ring, 2), raw::uring_received(ring, "RECV", 4));
            is("after the peers have sent, and the bytes of the RECV", came, both)
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "ur-nonblock-flag-ignored",
        claim: "RECV, READ and ACCEPT wait on a socket or a pipe that has O_NONBLOCK, instead of failing. \
                Only MSG_DONTWAIT, or IORING_ACCEPT_DONTWAIT, makes them give EAGAIN.",
        reference: "io_arm_poll_handler in io_uring/poll.c; io_uring_enter(2)",
        since: Since(5, 6),
        matters: "It varies: READ of a socket gave EAGAIN around Linux 5.9, ACCEPT before 5.18 and READ of a pipe before 6.4. \
                  Code that keeps O_NONBLOCK for both its epoll and its io_uring engine must expect either.",
        experiment: "RECV on a non-blocking socket, READ on another and on a non-blocking pipe, ACCEPT on a non-blocking \
                     listener: nothing for 60 ms, then what it waits for. RECV and ACCEPT with the flags.",
        wrong: &[
            "liburing: https://github.com/axboe/liburing/issues/274",
            "liburing: https://github.com/axboe/liburing/issues/364",
            "liburing: https://github.com/axboe/liburing/issues/1286",
            "Seastar: https://github.com/scylladb/seastar/pull/3479",
        ],
        run: |k| {
            let ring = ring(k)?;
            let nonblocking_pair = || -> Held<(i32, i32)> {
                let (ours, theirs) = unix_pair(k)?;
                set_nonblocking(k, ours)?;
                Ok((ours, theirs))
            };
            let (for_recv, peer_of_recv) = nonblocking_pair()?;
            submit(k, ring, &[Op::Recv { fd: for_recv, flags: MSG_DONTWAIT }.named("RECV")])?;
            noted(come(k, ring, "with MSG_DONTWAIT", &[done("RECV", no(Errno::EAGAIN))]));
            submit(k, ring, &[Op::Recv { fd: for_recv, flags: 0 }.named("RECV")])?;
            noted(silent_for_a_while(k, ring, "of RECV on an empty socket"));
            k.send(peer_of_recv, b"1", 0)?;
            noted(come(k, ring, "RECV after a send", &[done("RECV", Ok(1))]));

            since(Since(5, 15), || {
                let (ours, theirs) = nonblocking_pair()?;
                submit(k, ring, &[Op::Read { fd: ours }.named("READ")])?;
                noted(silent_for_a_while(k, ring, "of READ of an empty socket"));
                k.send(theirs, b"22", 0)?;
                come(k, ring, "READ of the socket after a send", &[done("READ", Ok(2))])
            });
            since(Since(6, 4), || {
                let [pipe, write_end] = k.pipe2(libc::O_CLOEXEC | O_NONBLOCK)?;
                submit(k, ring, &[Op::Read { fd: pipe }.named("READ")])?;
                noted(silent_for_a_while(k, ring, "of READ of an empty pipe"));
                k.write(write_end, b"333")?;
                come(k, ring, "READ of the pipe after a write", &[done("READ", Ok(3))])
            });
            let (listener, address) = listener(k, 2)?;
            set_nonblocking(k, listener)?;
            let accept = |dont_wait| Op::Accept { fd: listener, multi: false, dont_wait }.named("ACCEPT");
            since(Since(6, 10), || {
                submit(k, ring, &[accept(true)])?;
                come(k, ring, "with IORING_ACCEPT_DONTWAIT", &[done("ACCEPT", no(Errno::EAGAIN))])
            });
            since(Since(5, 18), || {
                submit(k, ring, &[accept(false)])?;
                noted(silent_for_a_while(k, ring, "of ACCEPT on an idle listener"));
                let accepted = accepted(k, ring, connected(k, &address)?, false)?;
                let flag = k.fcntl(accepted, libc::F_GETFL, 0).map(|flags| flags & O_NONBLOCK);
                is("the accepted socket's flag O_NONBLOCK", flag, Ok(0))
            });
            Ok(())
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "ur-accept-multishot",
        claim: "A multishot ACCEPT gives one descriptor for each connection, and says that it goes on; ASYNC_CANCEL ends it with \
                ECANCELED. A single ACCEPT that waits gives EINVAL when the listener is shut down.",
        reference: "io_uring_enter(2) IORING_OP_ACCEPT, IORING_ACCEPT_MULTISHOT; io_accept in io_uring/net.c",
        since: Since(5, 19),
        matters: "One submission serves all clients, but the last completion means that it has to be armed again.",
        experiment: "A multishot ACCEPT and three clients, one after the other; ASYNC_CANCEL; a single \
                     ACCEPT, and shutdown of the listener.",
        run: |k| {
            let ring = ring(k)?;
            let (listener, address) = listener(k, 8)?;
            submit(k, ring, &[Op::Accept { fd: listener, multi: true, dont_wait: false }.named("ACCEPT")])?;
            silent(k, ring, "before the first client")?;
            for _ in 0..3 {
                let client = connected(k, &address)?;
                accepted(k, ring, client, true)?;
            }
            submit(k, ring, &[Op::Cancel { name: "ACCEPT" }.named("ASYNC_CANCEL")])?;
            let both = [done("ACCEPT", no(Errno::ECANCELED)), done("ASYNC_CANCEL", Ok(0))];
            noted(come(k, ring, "after the cancellation", &both));
            submit(k, ring, &[Op::Accept { fd: listener, multi: false, dont_wait: false }.named("ACCEPT")])?;
            silent(k, ring, "before the listener is shut down")?;
            k.shutdown(listener, SHUT_RDWR)?;
            come(k, ring, "after the listener was shut down", &[done("ACCEPT", no(Errno::EINVAL))])
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "ur-connect-errno-direct",
        claim: "CONNECT completes with 0 or ECONNREFUSED, never with EINPROGRESS, on blocking and on non-blocking sockets.",
        reference: "io_uring_enter(2) IORING_OP_CONNECT; io_connect in io_uring/net.c",
        since: Since(5, 5),
        matters: "The wait for OUT and the look at SO_ERROR, which a non-blocking connect needs, go away.",
        experiment: "CONNECT of a blocking and a non-blocking socket to a listener, and of one each to a \
                     port at which nobody listens.",
        run: |k| {
            let ring = ring(k)?;
            let (_, address) = listener(k, 4)?;
            let nobody = refused_address(k)?;
            for (name, fd) in [("blocking", tcp(k)?), ("non-blocking", tcp_nonblocking(k)?)] {
                submit(k, ring, &[Op::Connect { fd, to: address }.named("CONNECT")])?;
                noted(come(k, ring, format!("a {name} socket to a listener"), &[done("CONNECT", Ok(0))]));
                noted(is(
                    format!("getpeername of the {name} socket"),
                    k.getpeername(fd).map(|to| to.port()),
                    Ok(address.port()),
                ));
            }
            for (name, fd) in [("blocking", tcp(k)?), ("non-blocking", tcp_nonblocking(k)?)] {
                submit(k, ring, &[Op::Connect { fd, to: nobody }.named("CONNECT")])?;
                let refused = [done("CONNECT", no(Errno::ECONNREFUSED))];
                noted(come(k, ring, format!("a {name} socket to nobody"), &refused));
            }
            Ok(())
        },
        ..Fact::ALWAYS
    },
];

/// The descriptor that an ACCEPT gives for this client.
fn accepted(k: K, ring: i32, client: i32, more: bool) -> Held<i32> {
    let all = soon(k, ring, 1)?;
    let fd = all.first().and_then(|completion| completion.result.ok()).unwrap_or(-1);
    is("after a client connected", all, vec![Completion { more, ..done("ACCEPT", Ok(fd.max(3))) }])?;
    let port = k.getsockname(client)?.port();
    is("the port of the accepted socket's peer", k.getpeername(fd).map(|peer| peer.port()), Ok(port))?;
    Ok(fd)
}
