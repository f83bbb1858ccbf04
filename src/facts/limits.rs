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
        experiment: "A client connects, the limit is lowered to the next free number, and each of the calls \
                     is made.",
        run: |k| {
            let (listener, address) = listener(k, 1)?;
            connected(k, &address)?;
            mask_with(k, listener, IN)?;
            let limit = room_for(0)?;
            let full = || no(Errno::EMFILE);
            noted(is("socket at the limit", tcp(k), full()));
            noted(is("socketpair at the limit", k.socketpair(SOCK_STREAM).map(drop), no(Errno::EMFILE)));
            noted(is("accept at the limit", k.accept(listener), full()));
            noted(is("accept4 at the limit", k.accept4(listener, SOCK_CLOEXEC), full()));
            noted(is("open at the limit", k.open("/dev/null", O_RDONLY), full()));
            noted(is("pipe at the limit", k.pipe2(0).map(drop), no(Errno::EMFILE)));
            noted(is("dup at the limit", k.dup(0), full()));
            noted(is("F_DUPFD at the limit", k.fcntl(0, F_DUPFD, 0), full()));
            noted(is("epoll_create1 at the limit", k.epoll_create1(0), full()));
            noted(is("eventfd at the limit", k.eventfd(0, EFD_CLOEXEC), full()));
            noted(is("timerfd_create at the limit", k.timerfd_create(libc::CLOCK_MONOTONIC, 0), full()));
            noted(is("signalfd at the limit", k.signalfd(-1, bit(libc::SIGUSR1), 0), full()));
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
        matters: "A level-triggered loop that only logs the error spins at 100 % CPU until somebody else \
                  leaves.",
        experiment: "A client connects, the limit on descriptors is lowered to the next free number, accept \
                     is called, the listener polled, the limit raised, and accept called again.",
        wrong: &[
            "libmill: https://github.com/sustrik/libmill/issues/182",
            "Bun: https://github.com/oven-sh/bun/pull/32705",
        ],
        run: |k| {
            let (listener, address) = listener(k, 1)?;
            connected(k, &address)?;
            is("the listener, with a connection in its queue", mask_with(k, listener, IN)?, IN)?;
            let next = k.dup(0)?;
            k.close(next)?;
            raw::limit_descriptors(next as u64)?;
            is("accept at the limit", k.accept(listener), no(Errno::EMFILE))?;
            is("the listener after accept failed", mask(k, listener)?, IN)?;
            raw::limit_descriptors(next as u64 + 1)?;
            is("accept with a descriptor free", k.accept(listener), Ok(next))
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "fd-accept-emfile-beats-eagain",
        claim: "With no descriptor free, accept fails with EMFILE even if it is non-blocking and nobody is \
                in the queue.",
        reference: "accept(2); __sys_accept4_file in net/socket.c reserves the descriptor before it looks",
        matters: "EMFILE does not mean that there is somebody to turn away. The trick of closing a spare \
                  descriptor to accept and drop a client has to end at EAGAIN.",
        experiment: "accept on an idle non-blocking listener at the limit, and with one descriptor free.",
        wrong: &["libuv: https://github.com/joyent/libuv/issues/690"],
        run: |k| {
            let (listener, _) = listener(k, 1)?;
            set_nonblocking(k, listener)?;
            let next = room_for(0)?;
            is("accept at the limit, with nobody in the queue", k.accept(listener), no(Errno::EMFILE))?;
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
            is("pipe2 with room for one descriptor", k.pipe2_into(&mut ends, 0), no(Errno::EMFILE))?;
            is("the array after pipe2 failed", ends, [-7, -8])?;
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
        matters: "A process can drop its limit after start. That no number is above the limit cannot be \
                  relied on.",
        experiment: "A pipe and an epoll instance at 500 and above, the limit at 100, a byte in the pipe, \
                     and all of those calls.",
        run: |k| {
            room_for_descriptor(520)?;
            let [reader, writer] = k.pipe2(O_CLOEXEC)?;
            let reader = k.fcntl(reader, F_DUPFD, 500)?;
            let writer = k.fcntl(writer, F_DUPFD, 500)?;
            let epoll = epoll(k)?;
            let epoll = k.fcntl(epoll, F_DUPFD, 500)?;
            raw::limit_descriptors(100)?;
            is(
                "dup of a descriptor above the limit, to one below",
                k.dup(reader).map(|fd| fd < 100),
                Ok(true),
            )?;
            is("EPOLL_CTL_ADD of a descriptor above the limit", add(k, epoll, reader, IN), Ok(()))?;
            is("write to a descriptor above the limit", k.write(writer, b"x"), Ok(1))?;
            is("poll of a descriptor above the limit", mask(k, reader), Ok(IN))?;
            let mut set = set_of::<9>(&[reader]);
            let sets = Sets { read: At::from(&mut set), ..no_sets() };
            let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
            let ready = k.pselect6(reader + 1, sets, Some(&mut now), Mask::NONE);
            is("select of a descriptor above the limit", ready, Ok(1))?;
            is("its bit after select", in_set(&set, reader), true)?;
            is("epoll_wait of an instance above the limit", self::ready(k, epoll), Ok(vec![(reader, IN)]))?;
            is("read from a descriptor above the limit", k.read(reader, &mut [0; 4]), Ok(1))
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "fd-lowest-free",
        claim: "A new descriptor has the lowest number that is free. close of one that is closed fails with \
                EBADF.",
        reference: "open(2); alloc_fd in fs/file.c",
        matters: "A number that was closed comes back at once, for something else: whoever closes twice, or \
                  uses a stale number, meets a stranger's descriptor.",
        experiment: "Four descriptors, two of them closed, the higher first; then open, dup and eventfd.",
        run: |k| {
            let first = next_number()?;
            for expected in first..first + 4 {
                is("a new descriptor", k.open("/dev/null", O_RDONLY), Ok(expected))?;
            }
            is("close of the third", k.close(first + 2), Ok(()))?;
            is("close of the second", k.close(first + 1), Ok(()))?;
            is("close of the second again", k.close(first + 1), no(Errno::EBADF))?;
            is("open", k.open("/dev/null", O_RDONLY), Ok(first + 1))?;
            is("dup", k.dup(0), Ok(first + 2))?;
            is("eventfd", k.eventfd(0, EFD_CLOEXEC), Ok(first + 4))
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "fd-scm-rights-truncated",
        claim: "recvmsg of two descriptors with room for one gives that one and sets MSG_CTRUNC; the other \
                is closed.",
        reference: "unix(7); scm_detach_fds in net/core/scm.c",
        matters: "The call succeeds: who does not look at msg_flags loses a descriptor without a trace.",
        experiment: "The writing ends of two pipes sent over a socket pair and closed here; received with \
                     one number below the limit free. The pipe whose end was lost reports HUP.",
        run: |k| {
            let (a, b) = unix_pair(k)?;
            let ([kept, kept_writer], [lost, lost_writer]) = (k.pipe2(O_CLOEXEC)?, k.pipe2(O_CLOEXEC)?);
            is("sendmsg with two descriptors", k.send_fds(a, &[kept_writer, lost_writer]), Ok(1))?;
            k.close(kept_writer)?;
            k.close(lost_writer)?;
            is(
                "poll of both pipes, whose ends are on their way",
                (mask(k, kept)?, mask(k, lost)?),
                (NONE, NONE),
            )?;
            let next = room_for(1)?;
            let message = k.recv_fds(b, 2)?;
            is("bytes received", message.bytes, 1)?;
            is("descriptors received with room for one", message.fds, vec![next])?;
            is("MSG_CTRUNC in msg_flags", message.flags & libc::MSG_CTRUNC, libc::MSG_CTRUNC)?;
            is("poll of the pipe whose end was lost", mask(k, lost)?, HUP)?;
            is("poll of the pipe whose end was received", mask(k, kept)?, NONE)
        },
        ..Fact::ALWAYS
    },
];

pub(super) const FACTS: &[&[Fact]] = &[LIMITS];

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
