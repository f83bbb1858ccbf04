//! What happens when a process has no descriptor left.

use crate::facts::support::*;
use libc::{EFD_CLOEXEC, F_DUPFD, O_CLOEXEC, O_RDONLY, SOCK_CLOEXEC, SOCK_STREAM};

const LIMITS: &[Fact] = &[
    Fact {
        id: "fd-emfile-everywhere",
        claim: "At the soft RLIMIT_NOFILE, socket, accept, open, pipe, dup, F_DUPFD, epoll_create1, eventfd, \
                timerfd_create and signalfd fail with EMFILE. dup2 and dup3 to a number at the limit fail \
                with EBADF, and F_DUPFD from there on with EINVAL.",
        reference: "getrlimit(2), dup(2), fcntl(2); alloc_fd and f_dupfd in fs/file.c",
        matters: "Every call that makes a descriptor can fail so, not only accept. A program that looks for \
                  EMFILE alone misses that of dup2.",
        experiment: "A client connects, the limit is lowered to the next free number, and each of the calls is made.",
        run: |k| {
            let (listener, address) = listener(k, 1)?;
            set_nonblocking(k, listener)?;
            connected(k, &address)?;
            until_pending(k, listener)?;
            let limit = room_for(0)?;
            for (call, made) in [
                ("socket", tcp(k)),
                ("socketpair", k.socketpair(SOCK_STREAM).map(|[a, _]| a)),
                ("accept", k.accept(listener)),
                ("accept4", k.accept4(listener, SOCK_CLOEXEC)),
                ("open", k.open("/", O_RDONLY)),
                ("pipe", k.pipe2(0).map(|[a, _]| a)),
                ("dup", k.dup(0)),
                ("F_DUPFD", k.fcntl(0, F_DUPFD, 0)),
                ("epoll_create1", k.epoll_create1(0)),
                ("eventfd", k.eventfd(0, EFD_CLOEXEC)),
                ("timerfd_create", k.timerfd_create(libc::CLOCK_MONOTONIC, 0)),
                ("signalfd", k.signalfd(-1, bit(libc::SIGUSR1), 0)),
            ] {
                noted(is(format!("{call} at the limit"), made, no(Errno::EMFILE)));
            }
            noted(is("dup2 to the limit", k.dup2(0, limit), no(Errno::EBADF)));
            noted(is("dup3 to the limit", k.dup3(0, limit, O_CLOEXEC), no(Errno::EBADF)));
            noted(is("dup2 to the highest number below the limit", k.dup2(0, limit - 1), Ok(limit - 1)));
            is("F_DUPFD from the limit on", k.fcntl(0, F_DUPFD, limit), no(Errno::EINVAL))
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "fd-accept-emfile-keeps-connection",
        claim: "accept that fails with EMFILE leaves the connection in the queue: the listener stays \
                readable, and accept succeeds once a descriptor is free.",
        reference: "accept(2) ERRORS; __sys_accept4_file in net/socket.c reserves the descriptor first",
        matters: "A level-triggered loop that only logs the error spins at 100 % CPU until somebody else leaves.",
        experiment: "A client connects, the limit on descriptors is lowered to the next free number, accept \
                     is called, the listener polled, the limit raised, and accept called again.",
        wrong: &[
            "libmill: https://github.com/sustrik/libmill/issues/182",
            "Bun: https://github.com/oven-sh/bun/pull/32705",
        ],
        run: |k| {
            let (listener, address) = listener(k, 1)?;
            set_nonblocking(k, listener)?;
            connected(k, &address)?;
            until_pending(k, listener)?;
            let next = room_for(0)?;
            noted(is("accept at the limit", k.accept(listener), no(Errno::EMFILE)));
            noted(is("the listener after accept failed", mask_of(k, listener, IN), Ok(IN)));
            raw::limit_descriptors(next as u64 + 1)?;
            is("accept with a descriptor free", k.accept(listener), Ok(next))
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "fd-accept-emfile-beats-eagain",
        claim: "With no descriptor free, accept fails with EMFILE even if it is non-blocking and nobody is in the queue.",
        reference: "accept(2); __sys_accept4_file in net/socket.c reserves the descriptor before it looks",
        matters: "EMFILE does not mean that there is somebody to turn away. The trick of closing a spare \
                  descriptor to accept and drop a client has to end at EAGAIN.",
        experiment: "accept on an idle non-blocking listener at the limit, and with one descriptor free.",
        wrong: &["libuv: https://github.com/joyent/libuv/issues/690"],
        run: |k| {
            let (listener, _) = listener(k, 1)?;
            set_nonblocking(k, listener)?;
            let next = room_for(0)?;
            noted(is("accept at the limit, with nobody in the queue", k.accept(listener), no(Errno::EMFILE)));
            raw::limit_descriptors(next as u64 + 1)?;
            is(
                "accept with a descriptor free, and nobody in the queue",
                k.accept(listener),
                no(Errno::EAGAIN),
            )
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "fd-pipe-emfile-atomic",
        claim: "pipe with room for one descriptor fails with EMFILE, writes nothing to the array and keeps \
                nothing: the next dup gets the free number.",
        reference: "pipe(2); do_pipe2 and __do_pipe_flags in fs/pipe.c",
        matters: "Code that cleans up after a failure must not close what it finds in the array.",
        experiment: "pipe2 into an array with marks, with one number below the limit free; then dup, twice.",
        run: |k| {
            let next = room_for(1)?;
            let mut ends = [-7, -8];
            noted(is("pipe2 with room for one descriptor", k.pipe2_into(&mut ends, 0), no(Errno::EMFILE)));
            noted(is("the array after pipe2 failed", ends, [-7, -8]));
            is("dup after pipe2 failed", k.dup(0), Ok(next))?;
            is("dup with no room left", k.dup(0), no(Errno::EMFILE))
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "fd-lowered-limit-keeps-open",
        claim: "A limit that is lowered below the numbers of open descriptors leaves them usable: read, \
                poll, select, epoll_ctl and epoll_wait work as before.",
        reference: "setrlimit(2): the limit is on new descriptors",
        matters: "A process can drop its limit after start. That no number is above the limit cannot be relied on.",
        experiment: "A pipe and an epoll instance at 500 and above, the limit at 100, a byte in the pipe, and all of those calls.",
        run: |k| {
            room_for_descriptor(520)?;
            let [reader, writer] = k.pipe2(O_CLOEXEC)?;
            let reader = k.fcntl(reader, F_DUPFD, 500)?;
            let writer = k.fcntl(writer, F_DUPFD, 500)?;
            let epoll = epoll(k)?;
            let epoll = k.fcntl(epoll, F_DUPFD, 500)?;
            raw::limit_descriptors(100)?;
            let below = k.dup(reader).map(|fd| fd < 100);
            noted(is("dup of a descriptor above the limit gives one below", below, Ok(true)));
            is("EPOLL_CTL_ADD of a descriptor above the limit", add(k, epoll, reader, IN), Ok(()))?;
            is("write to a descriptor above the limit", k.write(writer, b"x"), Ok(1))?;
            noted(is("poll of a descriptor above the limit", mask(k, reader), Ok(IN)));
            let mut set = set_of::<9>(&[reader]);
            let sets = Sets { read: At::from(&mut set), ..no_sets() };
            let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
            let selected = k.pselect6(reader + 1, sets, Some(&mut now), Mask::NONE);
            let found = (selected, in_set(&set, reader));
            noted(is("select of a descriptor above the limit, and its bit", found, (Ok(1), true)));
            noted(is("epoll_wait of an instance above the limit", ready(k, epoll), Ok(vec![(reader, IN)])));
            is("read from a descriptor above the limit", k.read(reader, &mut [0; 4]), Ok(1))
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "fd-lowest-free",
        claim: "A new descriptor has the lowest number that is free. close of one that is closed fails with EBADF.",
        reference: "open(2); alloc_fd in fs/file.c",
        matters: "A number that was closed comes back at once, for something else: whoever closes twice, or \
                  uses a stale number, meets a stranger's descriptor.",
        experiment: "Four descriptors, two of them closed, the higher first; then open, dup and eventfd.",
        run: |k| {
            let first = next_number()?;
            for expected in first..first + 4 {
                is("a new descriptor", k.open("/", O_RDONLY), Ok(expected))?;
            }
            is("close of the third", k.close(first + 2), Ok(()))?;
            is("close of the second", k.close(first + 1), Ok(()))?;
            is("close of the second again", k.close(first + 1), no(Errno::EBADF))?;
            is("open", k.open("/", O_RDONLY), Ok(first + 1))?;
            is("dup", k.dup(0), Ok(first + 2))?;
            is("eventfd", k.eventfd(0, EFD_CLOEXEC), Ok(first + 4))
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "fd-scm-rights-truncated",
        claim: "recvmsg of two descriptors with room for one, below the limit or in the buffer, gives that \
                one and sets MSG_CTRUNC; the other is closed.",
        reference: "unix(7); scm_detach_fds in net/core/scm.c",
        matters: "The call succeeds: who does not look at msg_flags loses a descriptor without a trace.",
        experiment: "The writing ends of two pipes sent over a socket pair and closed here; received with room for one in the \
                     buffer, and with one number below the limit free. The pipe whose end was lost reports HUP.",
        run: |k| {
            let (a, b) = unix_pair(k)?;
            for (room, max) in [("in the buffer", 1), ("below the limit", 2)] {
                let ([kept, kept_writer], [lost, lost_writer]) = (k.pipe2(O_CLOEXEC)?, k.pipe2(O_CLOEXEC)?);
                k.send_fds(a, &[kept_writer, lost_writer])?;
                k.close(kept_writer)?;
                k.close(lost_writer)?;
                step(format!("with room for one {room}"), || {
                    noted(is(
                        "the pipes, whose ends are on their way",
                        hung_up(k, &[kept, lost]),
                        Ok(vec![false; 2]),
                    ));
                    let next = if max == 1 { next_number()? } else { room_for(1)? };
                    let message = k.recv_fds(b, 1, max, 0);
                    let message = message.map(|got| (got.bytes, got.fds, got.flags & libc::MSG_CTRUNC));
                    let expected = Ok((1, vec![next], libc::MSG_CTRUNC));
                    noted(is("bytes, descriptors, MSG_CTRUNC in msg_flags", message, expected));
                    is(
                        "HUP of the pipe whose end was received, and of the other",
                        hung_up(k, &[kept, lost]),
                        Ok(vec![false, true]),
                    )
                });
            }
            Ok(())
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "fd-scm-barrier",
        claim: "One receive ends with the first message that has descriptors: bytes before it are taken \
                along, bytes and descriptors after it are left, however much room there is.",
        reference: "unix(7) SCM_RIGHTS; unix_stream_read_generic in net/unix/af_unix.c",
        matters: "A reader that takes a stream as bytes gets short counts, and knows which bytes the descriptors came with.",
        experiment: "Four bytes, one with a descriptor, two with a descriptor each, four bytes; recvmsg with \
                     room for 20 bytes and 8 descriptors, four times.",
        run: |k| {
            let (a, b) = unix_pair(k)?;
            k.send(a, b"head", 0)?;
            for _ in 0..3 {
                k.send_fds(a, &[a])?;
            }
            k.send(a, b"tail", 0)?;
            for (what, expected) in [
                ("the first: four bytes, and one with a descriptor", (5, 1)),
                ("the second: one byte with a descriptor", (1, 1)),
                ("the third: one byte with a descriptor", (1, 1)),
                ("the last: four bytes", (4, 0)),
            ] {
                let got = k.recv_fds(b, 20, 8, libc::MSG_DONTWAIT).map(|got| (got.bytes, got.fds.len()));
                noted(is(what, got, Ok(expected)));
                // Another call between them.
                mask(k, b)?;
            }
            Ok(())
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "fd-read-drops-fds",
        claim: "read and recv of a byte that was sent with a descriptor give the byte, and close the descriptor.",
        reference: "unix(7); unix_stream_read_generic in net/unix/af_unix.c calls scm_destroy",
        matters: "A descriptor that one part of a program sends is lost in another that reads the stream as \
                  bytes, and nothing says so.",
        experiment: "The writing end of a pipe sent over a socket pair and closed here; the byte read, or \
                     received; the pipe then reports HUP.",
        run: |k| {
            let (a, b) = unix_pair(k)?;
            for call in ["read", "recv"] {
                let [pipe, writer] = k.pipe2(O_CLOEXEC)?;
                k.send_fds(a, &[writer])?;
                k.close(writer)?;
                noted(is(format!("HUP of the pipe before {call}"), hung_up(k, &[pipe]), Ok(vec![false])));
                let mut byte = [0; 4];
                let got = if call == "read" { k.read(b, &mut byte) } else { k.recv(b, &mut byte, 0) };
                is(call, got, Ok(1))?;
                noted(is(format!("HUP of the pipe after {call}"), hung_up(k, &[pipe]), Ok(vec![true])));
            }
            Ok(())
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "fd-scm-peek-copies",
        claim: "recvmsg with MSG_PEEK gives new descriptors each time, and leaves the message as it is: the \
                recvmsg after it gives others.",
        reference: "recvmsg(2) MSG_PEEK, unix(7); unix_peek_fds in net/unix/af_unix.c",
        matters: "A program that peeks, and does not close what it finds, loses a descriptor with each look.",
        experiment: "The writing end of a pipe sent over a socket pair and closed here; recvmsg twice with \
                     MSG_PEEK, once without; the pipe reports HUP when all three that came are closed.",
        run: |k| {
            let (a, b) = unix_pair(k)?;
            let [pipe, writer] = k.pipe2(O_CLOEXEC)?;
            k.send_fds(a, &[writer])?;
            k.close(writer)?;
            let mut all = Vec::new();
            for (what, flags) in
                [("the first look", libc::MSG_PEEK), ("the second look", libc::MSG_PEEK), ("the message", 0)]
            {
                let next = next_number()?;
                let got = k.recv_fds(b, 1, 1, flags | libc::MSG_DONTWAIT).map(|got| (got.bytes, got.fds));
                noted(is(what, got, Ok((1, vec![next]))));
                all.push(next);
            }
            noted(is("HUP of the pipe, with all of them open", hung_up(k, &[pipe]), Ok(vec![false])));
            for fd in all {
                k.close(fd)?;
            }
            is("HUP of the pipe, with all of them closed", hung_up(k, &[pipe]), Ok(vec![true]))
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "fd-scm-max-253",
        claim: "A message takes 253 descriptors. With 254 sendmsg fails with EINVAL, and nothing is sent.",
        reference: "unix(7) SCM_RIGHTS; SCM_MAX_FD in include/net/scm.h",
        matters: "Whoever hands all connections to a new process has to do it in pieces.",
        experiment: "sendmsg with the same descriptor 254 times, 253 times; the bytes that have come.",
        run: |k| {
            let (a, b) = unix_pair(k)?;
            noted(is("sendmsg with 254 descriptors", k.send_fds(a, &[a; 254]), no(Errno::EINVAL)));
            noted(is("sendmsg with 253 descriptors", k.send_fds(a, &[a; 253]), Ok(1)));
            is("bytes that have come", readable_bytes(k, b), Ok(1))
        },
        ..Fact::ALWAYS
    },
];

pub(super) const FACTS: &[&[Fact]] = &[LIMITS];

/// Of each of these pipes: whether it says that nobody can write to it any more.
fn hung_up(k: K, pipes: &[i32]) -> Reply<Vec<bool>> {
    pipes.iter().map(|&pipe| Ok(mask_of(k, pipe, IN)?.has(HUP))).collect()
}

/// The number that the next descriptor will have.
fn next_number() -> Reply<i32> {
    let next = raw::dup(0)?;
    raw::close(next)?;
    Ok(next)
}

/// Leave room for `n` more descriptors; the number of the next one.
fn room_for(n: i32) -> Reply<i32> {
    let next = next_number()?;
    raw::limit_descriptors((next + n) as u64)?;
    Ok(next)
}
