//! What happens when a process has no descriptor left.

use super::check::{Held, is};
use super::support::*;
use super::{Area, Fact, Since};
use crate::sys::Errno;
use crate::sys::raw::{self, Reply, no};
use libc::{F_DUPFD, O_CLOEXEC, O_RDONLY};

pub(super) const FACTS: &[&[Fact]] = &[&[
    Fact {
        id: "fd-emfile-everywhere",
        area: Area::Limits,
        claim: "At the soft RLIMIT_NOFILE socket, accept, open, pipe, dup, F_DUPFD, epoll_create1, eventfd, timerfd_create and signalfd give EMFILE; dup2 and dup3 to \
                a number at or above the limit give EBADF, and F_DUPFD with such a minimum EINVAL.",
        reference: "getrlimit(2) RLIMIT_NOFILE, dup(2), fcntl(2)",
        since: Since::ALWAYS,
        matters: "Code that handles EMFILE of accept alone fails at its next open of a log file.",
        experiment: "The limit is lowered to the next free number, and each call is made.",
        wrong: &[],
        alone: false,
        run: emfile_everywhere,
    },
    Fact {
        id: "fd-accept-emfile-keeps-connection",
        area: Area::Limits,
        claim: "accept that fails with EMFILE leaves the connection in the queue: the listener stays readable, and \
                accept succeeds once a descriptor is free.",
        reference: "accept(2) ERRORS; __sys_accept4_file in net/socket.c reserves the descriptor first",
        since: Since::ALWAYS,
        matters: "A level-triggered loop that only logs the error spins at 100 % CPU until somebody else leaves.",
        experiment: "A client connects, the limit on descriptors is lowered to the next free number, accept is called, \
                     the listener polled, the limit raised, and accept called again.",
        wrong: &[
            "libuv: https://github.com/joyent/libuv/issues/690",
            "Node.js: https://github.com/nodejs/node/issues/45242",
        ],
        alone: false,
        run: accept_emfile_keeps_connection,
    },
    Fact {
        id: "fd-accept-emfile-beats-eagain",
        area: Area::Limits,
        claim: "With no free descriptor accept gives EMFILE even if the queue of a non-blocking listener is empty.",
        reference: "__sys_accept4_file in net/socket.c reserves the descriptor before it looks",
        since: Since::ALWAYS,
        matters: "The trick of closing a spare descriptor to accept and drop one client must go on until EAGAIN, which only comes with a \
                  descriptor free.",
        experiment: "A non-blocking listener without clients is accepted from at the limit, and with one descriptor free.",
        wrong: &["libuv: https://github.com/joyent/libuv/issues/315"],
        alone: false,
        run: accept_emfile_beats_eagain,
    },
    Fact {
        id: "fd-pipe-emfile-atomic",
        area: Area::Limits,
        claim: "pipe with one free descriptor gives EMFILE, leaves its array as it was and takes nothing: the next dup gets that descriptor.",
        reference: "do_pipe2 in fs/pipe.c",
        since: Since::ALWAYS,
        matters: "Nothing has to be cleaned up after a pipe that failed.",
        experiment: "The limit is set so that one descriptor is free; pipe2 is called on an array with a pattern; then dup.",
        wrong: &[],
        alone: false,
        run: pipe_emfile_atomic,
    },
    Fact {
        id: "fd-lowered-limit-keeps-open",
        area: Area::Limits,
        claim: "Lowering the limit below open numbers leaves those descriptors usable, by read, poll, select, epoll_ctl and epoll_wait.",
        reference: "setrlimit(2): the limit is one more than the highest number that can be opened",
        since: Since::ALWAYS,
        matters: "The limit is about new descriptors: a parent can hand out high numbers and then lower it.",
        experiment: "A pipe end becomes number 500, the limit 100; each call is made with it.",
        wrong: &[],
        alone: false,
        run: lowered_limit_keeps_open,
    },
    Fact {
        id: "fd-lowest-free",
        area: Area::Limits,
        claim: "A new descriptor takes the lowest free number; closing a number twice gives EBADF.",
        reference: "open(2)",
        since: Since::ALWAYS,
        matters: "A stale number is soon somebody else's: a double close closes a stranger's connection.",
        experiment: "Of three descriptors the lowest and the middle one are closed and two opened; one is closed twice.",
        wrong: &[],
        alone: false,
        run: lowest_free,
    },
    Fact {
        id: "fd-scm-rights-truncated",
        area: Area::Limits,
        claim: "Receiving two descriptors with one number free delivers one and sets MSG_CTRUNC.",
        reference: "unix(7) SCM_RIGHTS; scm_detach_fds in net/core/scm.c",
        since: Since::ALWAYS,
        matters: "A process that is at its limit loses descriptors that were passed to it, without an error.",
        experiment: "Two descriptors are sent over an AF_UNIX socket, the limit is set so that one is free, and recvmsg is called.",
        wrong: &[],
        alone: false,
        run: scm_rights_truncated,
    },
]];

/// The number that the next descriptor will have.
fn next_free(k: K) -> Reply<i32> {
    let next = k.dup(0)?;
    k.close(next)?;
    Ok(next)
}

/// From now on there is room for `n` descriptors more.
fn leave_room_for(k: K, n: i32) -> Held<i32> {
    let next = next_free(k)?;
    raw::limit_descriptors((next + n) as u64)?;
    Ok(next)
}

fn emfile_everywhere(k: K) -> Held {
    let (listener, address) = listener(k, 1)?;
    connected(k, &address)?;
    let limit = leave_room_for(k, 0)?;
    let calls: [(&str, Reply<i32>); 10] = [
        ("socket", tcp(k)),
        ("accept", k.accept(listener)),
        ("open", k.open("/", O_RDONLY | O_CLOEXEC)),
        ("pipe2", k.pipe2(O_CLOEXEC).map(|[reading, _]| reading)),
        ("dup", k.dup(0)),
        ("F_DUPFD", k.fcntl(0, F_DUPFD, 0)),
        ("epoll_create1", k.epoll_create1(0)),
        ("eventfd", k.eventfd(0, 0)),
        ("timerfd_create", k.timerfd_create(libc::CLOCK_MONOTONIC, 0)),
        ("signalfd", k.signalfd(-1, raw::bit(libc::SIGUSR1), 0)),
    ];
    for (call, reply) in calls {
        is(format!("{call} at the limit"), reply, no(Errno::EMFILE))?;
    }
    is("dup2 to the limit", k.dup2(0, limit), no(Errno::EBADF))?;
    is("dup3 to above the limit", k.dup3(0, limit + 1, 0), no(Errno::EBADF))?;
    is("F_DUPFD from the limit on", k.fcntl(0, F_DUPFD, limit), no(Errno::EINVAL))
}

fn accept_emfile_keeps_connection(k: K) -> Held {
    let (listener, address) = listener(k, 1)?;
    connected(k, &address)?;
    is("the listener, with a connection in its queue", mask_with(k, listener, IN)?, IN)?;
    let next = leave_room_for(k, 0)?;
    is("accept at the limit", k.accept(listener), no(Errno::EMFILE))?;
    is("the listener after accept failed", mask(k, listener)?, IN)?;
    leave_room_for_one(next)?;
    is("accept with a descriptor free", k.accept(listener), Ok(next))
}

/// Raise the limit again so that `next` is free.
fn leave_room_for_one(next: i32) -> Reply<()> {
    raw::limit_descriptors(next as u64 + 1)
}

fn accept_emfile_beats_eagain(k: K) -> Held {
    let (listener, _) = listener(k, 1)?;
    set_nonblocking(k, listener)?;
    let next = leave_room_for(k, 0)?;
    is("accept at the limit, with an empty queue", k.accept(listener), no(Errno::EMFILE))?;
    leave_room_for_one(next)?;
    is("accept with a descriptor free", k.accept(listener), no(Errno::EAGAIN))
}

fn pipe_emfile_atomic(k: K) -> Held {
    let next = leave_room_for(k, 1)?;
    let mut ends = [-7, -8];
    is("pipe2 with one descriptor free", k.pipe2_into(&mut ends, O_CLOEXEC), no(Errno::EMFILE))?;
    is("its array", ends, [-7, -8])?;
    is("dup after it", k.dup(0), Ok(next))
}

fn lowered_limit_keeps_open(k: K) -> Held {
    room_for_descriptor(500)?;
    let [reading, writing] = k.pipe2(O_CLOEXEC)?;
    let high = k.fcntl(reading, F_DUPFD, 500)?;
    let epoll = epoll(k)?;
    k.write(writing, b"xy")?;
    raw::limit_descriptors(100)?;
    is("read", k.read(high, &mut [0; 1]), Ok(1))?;
    is("poll", mask(k, high)?, IN)?;
    let mut words = set_of::<8>(&[high]);
    let sets = raw::Sets { read: (&mut words).into(), write: no_set(), except: no_set() };
    let mut at_once = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    is("select", k.pselect6(high + 1, sets, Some(&mut at_once), raw::Mask::NONE), Ok(1))?;
    is("epoll_ctl", add(k, epoll, high, IN), Ok(()))?;
    is("epoll_wait", ready(k, epoll)?, vec![(high, IN)])
}

fn lowest_free(k: K) -> Held {
    let fds = [k.dup(0)?, k.dup(0)?, k.dup(0)?];
    k.close(fds[1])?;
    k.close(fds[0])?;
    is("the first new descriptor", k.dup(0), Ok(fds[0]))?;
    is("the second new descriptor", k.eventfd(0, 0), Ok(fds[1]))?;
    is("the first close", k.close(fds[2]), Ok(()))?;
    is("the second close", k.close(fds[2]), no(Errno::EBADF))
}

fn scm_rights_truncated(k: K) -> Held {
    let (ours, peer) = unix_pair(k)?;
    let (one, other) = (k.eventfd(0, 0)?, k.eventfd(0, 0)?);
    is("bytes sent with two descriptors", k.send_fds(peer, &[one, other]), Ok(1))?;
    let next = leave_room_for(k, 1)?;
    let message = k.recv_fds(ours, 2)?;
    is("descriptors received with one number free", message.fds, vec![next])?;
    is("MSG_CTRUNC", message.flags & libc::MSG_CTRUNC, libc::MSG_CTRUNC)
}
