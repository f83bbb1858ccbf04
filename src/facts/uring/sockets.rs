//! Operations on sockets, and what O_NONBLOCK and close(2) have to do with them.

use super::*;
use libc::{MSG_DONTWAIT, O_NONBLOCK, SHUT_RDWR};

pub(super) const FACTS: &[Fact] = &[
    Fact {
        id: "ur-close-does-not-cancel",
        claim: "close of the descriptor leaves a POLL_ADD and a RECV that are under way alive, since they hold the \
                file: no completion comes, the peer sees no end, and what it sends is received.",
        reference: "io_uring(7); io_file_get_normal in io_uring/io_uring.c takes a reference of the file",
        since: Since(5, 6),
        matters: "A server that only closes a client leaves the connection up, and its buffer in use. It has to \
                  cancel first, or shut down.",
        experiment: "POLL_ADD and RECV on one end each of two socket pairs, close of both ends; then the other \
                     ends send.",
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
            silent(k, ring, "after the descriptors were closed")?;
            is("the peer of the POLL_ADD after the close", mask(k, peer_of_polled)?, OUT)?;
            is("the peer of the RECV after the close", mask(k, peer_of_received)?, OUT)?;
            is("send to the POLL_ADD", k.send(peer_of_polled, b"a", libc::MSG_NOSIGNAL), Ok(1))?;
            is("send to the RECV", k.send(peer_of_received, b"late", libc::MSG_NOSIGNAL), Ok(4))?;
            let both = vec![done("POLL_ADD", Ok(1)), done("RECV", Ok(4))];
            is("after the peers have sent", soon(k, ring, 2)?, both)?;
            is("the bytes of the RECV", raw::uring_received(ring, "RECV", 4)?, b"late".to_vec())
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "ur-nonblock-flag-ignored",
        claim: "RECV, READ and ACCEPT wait on a socket or a pipe that has O_NONBLOCK, instead of failing. Only \
                MSG_DONTWAIT, or IORING_ACCEPT_DONTWAIT, makes them give EAGAIN.",
        reference: "io_arm_poll_handler in io_uring/poll.c; io_uring_enter(2)",
        since: Since(6, 10),
        matters: "It varies: around Linux 5.9 READ gave EAGAIN. Code that keeps O_NONBLOCK for both its epoll and \
                  its io_uring engine must expect either.",
        experiment: "RECV on a non-blocking socket, READ on another and on a non-blocking pipe, ACCEPT on a \
                     non-blocking listener: nothing for 60 ms, then all that they wait for. The same with the flags.",
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
            let (for_read, peer_of_read) = nonblocking_pair()?;
            let [pipe, write_end] = k.pipe2(libc::O_CLOEXEC | O_NONBLOCK)?;
            let (listener, address) = listener(k, 2)?;
            set_nonblocking(k, listener)?;

            let accept = |dont_wait| Op::Accept { fd: listener, multi: false, dont_wait };
            submit(
                k,
                ring,
                &[Op::Recv { fd: for_recv, flags: MSG_DONTWAIT }.named("RECV with MSG_DONTWAIT")],
            )?;
            let refused = vec![done("RECV with MSG_DONTWAIT", no(Errno::EAGAIN))];
            is("an empty socket", soon(k, ring, 1)?, refused)?;
            submit(k, ring, &[accept(true).named("ACCEPT with DONTWAIT")])?;
            let refused = vec![done("ACCEPT with DONTWAIT", no(Errno::EAGAIN))];
            is("a listener without a client", soon(k, ring, 1)?, refused)?;

            let recv = Op::Recv { fd: for_recv, flags: 0 }.named("RECV");
            let read = Op::Read { fd: for_read }.named("READ of the socket");
            let read_pipe = Op::Read { fd: pipe }.named("READ of the pipe");
            submit(k, ring, &[recv, read, read_pipe, accept(false).named("ACCEPT")])?;
            silent_for_a_while(k, ring, "on non-blocking descriptors with nothing to be had")?;

            k.send(peer_of_recv, b"1", 0)?;
            is("after a send", soon(k, ring, 1)?, vec![done("RECV", Ok(1))])?;
            k.send(peer_of_read, b"22", 0)?;
            is("after another send", soon(k, ring, 1)?, vec![done("READ of the socket", Ok(2))])?;
            k.write(write_end, b"333")?;
            is("after a write", soon(k, ring, 1)?, vec![done("READ of the pipe", Ok(3))])?;
            let client = connected(k, &address)?;
            let accepted = accepted(k, ring, "ACCEPT", client, false)?;
            is("the accepted socket's flag O_NONBLOCK", k.fcntl(accepted, libc::F_GETFL, 0)? & O_NONBLOCK, 0)
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "ur-accept-multishot",
        claim: "A multishot ACCEPT gives one descriptor for each connection, and says that it goes on; \
                ASYNC_CANCEL ends it with ECANCELED. A single ACCEPT that waits gives EINVAL when the listener is \
                shut down.",
        reference: "io_uring_enter(2) IORING_OP_ACCEPT, IORING_ACCEPT_MULTISHOT; io_accept in io_uring/net.c",
        since: Since(5, 19),
        matters: "One submission serves all clients, but the last completion means that it has to be armed again.",
        experiment: "A multishot ACCEPT and three clients, one after the other; ASYNC_CANCEL; a single ACCEPT, and \
                     shutdown of the listener.",
        run: |k| {
            let ring = ring(k)?;
            let (listener, address) = listener(k, 8)?;
            submit(k, ring, &[Op::Accept { fd: listener, multi: true, dont_wait: false }.named("ACCEPT")])?;
            silent(k, ring, "before the first client")?;
            for _ in 0..3 {
                let client = connected(k, &address)?;
                accepted(k, ring, "ACCEPT", client, true)?;
            }
            submit(k, ring, &[Op::Cancel { name: "ACCEPT" }.named("ASYNC_CANCEL")])?;
            let both = vec![done("ACCEPT", no(Errno::ECANCELED)), done("ASYNC_CANCEL", Ok(0))];
            is("after the cancellation", soon(k, ring, 2)?, both)?;
            submit(k, ring, &[Op::Accept { fd: listener, multi: false, dont_wait: false }.named("ACCEPT")])?;
            silent(k, ring, "before the listener is shut down")?;
            k.shutdown(listener, SHUT_RDWR)?;
            is("after the listener was shut down", soon(k, ring, 1)?, vec![done("ACCEPT", no(Errno::EINVAL))])
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "ur-connect-errno-direct",
        claim: "CONNECT completes with 0 or ECONNREFUSED, never with EINPROGRESS, on blocking and on non-blocking \
                sockets.",
        reference: "io_uring_enter(2) IORING_OP_CONNECT; io_connect in io_uring/net.c",
        since: Since(5, 5),
        matters: "The wait for OUT and the look at SO_ERROR, which a non-blocking connect needs, go away.",
        experiment: "CONNECT of a blocking and a non-blocking socket to a listener, and of one each to a port at \
                     which nobody listens.",
        run: |k| {
            let ring = ring(k)?;
            let (_, address) = listener(k, 4)?;
            let nobody = refused_address(k)?;
            for (name, fd) in [("blocking", tcp(k)?), ("non-blocking", tcp_nonblocking(k)?)] {
                submit(k, ring, &[Op::Connect { fd, to: address }.named("CONNECT")])?;
                let connected = soon(k, ring, 1)?;
                is(format!("a {name} socket to a listener"), connected, vec![done("CONNECT", Ok(0))])?;
                is(format!("the state of the {name} socket"), tcp_info(k, fd)?.state, ESTABLISHED)?;
            }
            for (name, fd) in [("blocking", tcp(k)?), ("non-blocking", tcp_nonblocking(k)?)] {
                submit(k, ring, &[Op::Connect { fd, to: nobody }.named("CONNECT")])?;
                let refused = vec![done("CONNECT", no(Errno::ECONNREFUSED))];
                is(format!("a {name} socket to nobody"), soon(k, ring, 1)?, refused)?;
            }
            Ok(())
        },
        ..Fact::ALWAYS
    },
];

/// The descriptor that an ACCEPT gives for this client.
fn accepted(k: K, ring: i32, name: &'static str, client: i32, more: bool) -> Held<i32> {
    let all = soon(k, ring, 1)?;
    let fd = all.first().and_then(|completion| completion.result.ok()).unwrap_or(-1);
    is("after a client connected", all, vec![Completion { name, result: Ok(fd.max(3)), more }])?;
    let port = k.getsockname(client)?.port();
    is("the port of the accepted socket's peer", k.getpeername(fd)?.port(), port)?;
    Ok(fd)
}
