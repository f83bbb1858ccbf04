//! File status flags: what belongs to the descriptor, what to the open file, and who notices a change.

use super::check::{Held, is};
use super::support::*;
use super::{Area, Fact, Since};
use crate::sys::Errno;
use crate::sys::raw::{self, Action, F_SETSIG, no};
use libc::{
    F_GETFD, F_GETFL, F_SETFL, F_SETOWN, O_APPEND, O_ASYNC, O_CLOEXEC, O_CREAT, O_NONBLOCK, O_RDONLY, O_RDWR,
    O_TRUNC,
};

pub(super) const FACTS: &[&[Fact]] = &[&[
    Fact {
        id: "fl-nonblock-is-per-description",
        area: Area::Flags,
        claim: "O_NONBLOCK that is set through a dup or by a forked child is seen through every reference to the open file; \
                FD_CLOEXEC belongs to one descriptor.",
        reference: "fcntl(2) F_SETFL; open(2) on open file descriptions",
        since: Since::ALWAYS,
        matters: "A program that makes its standard input non-blocking breaks the shell, and whatever else shares the terminal.",
        experiment: "The flag is set through a dup, cleared by a forked child, and read through the original each time; FD_CLOEXEC is set \
                     on one of two.",
        wrong: &[
            "Node.js: https://github.com/nodejs/node/issues/42826",
            "Twisted: https://github.com/twisted/twisted/issues/3442",
            "MPICH: https://github.com/pmodels/mpich/issues/1782",
        ],
        alone: false,
        run: nonblock_is_per_description,
    },
    Fact {
        id: "fl-procfd-reopen-is-new-description",
        area: Area::Flags,
        claim: "Opening /proc/self/fd/N of a pipe gives a new open file with an O_NONBLOCK of its own; of a socket it gives ENXIO.",
        reference: "proc_pid_fd(5)",
        since: Since::ALWAYS,
        matters: "It is how to have a standard input that is non-blocking for oneself alone.",
        experiment: "A pipe is opened so with O_NONBLOCK, and the flags of the original are read; then a socket is.",
        wrong: &[],
        alone: false,
        run: procfd_reopen_is_new_description,
    },
    Fact {
        id: "fl-nonblock-does-not-wake",
        area: Area::Flags,
        claim: "Setting O_NONBLOCK while another thread is blocked in read does not wake it: the flag is looked at when a call begins.",
        reference: "anon_pipe_read in fs/pipe.c",
        since: Since::ALWAYS,
        matters: "It is no way to get a thread out of a read.",
        experiment: "A thread blocks in read of a pipe, the flag is set, the thread is still asleep; then a byte is written.",
        wrong: &[],
        alone: false,
        run: nonblock_does_not_wake,
    },
    Fact {
        id: "fl-regular-file-ignores-nonblock",
        area: Area::Flags,
        claim: "O_NONBLOCK on a regular file never gives EAGAIN.",
        reference: "open(2) O_NONBLOCK",
        since: Since::ALWAYS,
        matters: "An event loop that reads files so blocks on the disk, and epoll would not have helped.",
        experiment: "A file that was opened with the flag is written, read, and read at its end.",
        wrong: &[],
        alone: false,
        run: regular_file_ignores_nonblock,
    },
    Fact {
        id: "fl-setfl-ignores-access-bits",
        area: Area::Flags,
        claim: "F_SETFL ignores the access mode and creation flags without an error; FIONBIO and SOCK_NONBLOCK set the same bit as \
                O_NONBLOCK.",
        reference: "fcntl(2) F_SETFL, ioctl(2), socket(2)",
        since: Since::ALWAYS,
        matters: "A descriptor cannot be made writable, and asking for it looks like success.",
        experiment: "F_SETFL with O_RDWR, O_CREAT, O_TRUNC and O_APPEND on a file that is open for reading; FIONBIO and SOCK_NONBLOCK on \
                     sockets; F_GETFL after each.",
        wrong: &[],
        alone: false,
        run: setfl_ignores_access_bits,
    },
    Fact {
        id: "fl-async-sigio-and-setsig",
        area: Area::Flags,
        claim: "O_ASYNC with F_SETOWN sends SIGIO without saying for which descriptor (si_code SI_KERNEL); F_SETSIG with a real-time signal adds \
                si_fd, si_code POLL_IN and si_band IN+RDNORM; a regular file drops O_ASYNC without an error.",
        reference: "fcntl(2) F_SETSIG",
        since: Since::ALWAYS,
        matters: "Signal-driven I/O with SIGIO cannot tell which descriptor is ready.",
        experiment: "A pipe end gets a byte in both forms, and sigtimedwait takes the signal; a file is given O_ASYNC.",
        wrong: &[],
        alone: false,
        run: async_sigio_and_setsig,
    },
    Fact {
        id: "fl-owner-gets-sigurg",
        area: Area::Flags,
        claim: "F_SETOWN alone, without O_ASYNC, makes urgent data of TCP send SIGURG.",
        reference: "fcntl(2) F_SETOWN",
        since: Since::ALWAYS,
        matters: "A signal that nobody asked for, if one only wanted to be owner for SIGIO.",
        experiment: "SIGURG is blocked, the socket given an owner, a byte sent with MSG_OOB, and sigtimedwait takes the signal.",
        wrong: &[],
        alone: false,
        run: owner_gets_sigurg,
    },
]];

fn is_nonblocking(k: K, fd: i32) -> Held<bool> {
    Ok(k.fcntl(fd, F_GETFL, 0)? & O_NONBLOCK != 0)
}

fn nonblock_is_per_description(k: K) -> Held {
    let [reading, _writing] = k.pipe2(0)?;
    let other = k.dup(reading)?;
    k.fcntl(other, F_SETFL, O_NONBLOCK)?;
    is("O_NONBLOCK of the original, set through a dup", is_nonblocking(k, reading)?, true)?;
    Forked::start(|| Ok(k.fcntl(reading, F_SETFL, 0).map(drop)?))?.join()?;
    is("O_NONBLOCK, cleared by a forked child", is_nonblocking(k, other)?, false)?;
    k.fcntl(other, libc::F_SETFD, libc::FD_CLOEXEC)?;
    let flags = (k.fcntl(reading, F_GETFD, 0)?, k.fcntl(other, F_GETFD, 0)?);
    is("descriptor flags of the original and of the dup with FD_CLOEXEC", flags, (0, libc::FD_CLOEXEC))
}

fn procfd_reopen_is_new_description(k: K) -> Held {
    let [reading, writing] = k.pipe2(O_CLOEXEC)?;
    let path = format!("/proc/self/fd/{reading}");
    let again = match k.open(&path, O_RDONLY | O_NONBLOCK | O_CLOEXEC) {
        Err(refusal) if refusal.errno == Errno::ENOENT => {
            return super::check::skip("/proc is not mounted here");
        }
        opened => opened?,
    };
    is("O_NONBLOCK of the new one", is_nonblocking(k, again)?, true)?;
    is("O_NONBLOCK of the original", is_nonblocking(k, reading)?, false)?;
    k.write(writing, b"x")?;
    is("read through the new one", k.read(again, &mut [0; 8]), Ok(1))?;
    let (socket, _peer) = unix_pair(k)?;
    is(
        "open of a socket so",
        k.open(&format!("/proc/self/fd/{socket}"), O_RDWR | O_CLOEXEC),
        no(Errno::ENXIO),
    )
}

fn nonblock_does_not_wake(k: K) -> Held {
    let [reading, writing] = k.pipe2(O_CLOEXEC)?;
    let waiter = Waiter::asleep(READ, move || k.read(reading, &mut [0; 8]))?;
    k.fcntl(reading, F_SETFL, O_NONBLOCK)?;
    is(
        "the read 60 ms after O_NONBLOCK was set",
        waiter.join_within(std::time::Duration::from_millis(60)),
        None,
    )?;
    is("whether its thread is asleep", waiter.is_asleep(), true)?;
    k.write(writing, b"x")?;
    is("the read after a byte was written", waiter.join()?, Ok(1))?;
    is("a new read", k.read(reading, &mut [0; 8]), no(Errno::EAGAIN))
}

fn regular_file_ignores_nonblock(k: K) -> Held {
    let file = Scratch::new();
    let fd = k.open(file.path(), O_RDWR | O_CREAT | O_CLOEXEC | O_NONBLOCK)?;
    is("write", k.write(fd, b"data"), Ok(4))?;
    is("read at the end", k.read(fd, &mut [0; 8]), Ok(0))?;
    let again = k.open(file.path(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)?;
    is("read of what was written", k.read(again, &mut [0; 8]), Ok(4))?;
    is("whether the flag is set", is_nonblocking(k, again)?, true)
}

fn setfl_ignores_access_bits(k: K) -> Held {
    let file = Scratch::new();
    let writing = k.open(file.path(), O_RDWR | O_CREAT | O_CLOEXEC)?;
    k.write(writing, b"data")?;
    let fd = k.open(file.path(), O_RDONLY | O_CLOEXEC)?;
    let before = k.fcntl(fd, F_GETFL, 0)?;
    is("F_SETFL with O_RDWR, O_CREAT and O_TRUNC", k.fcntl(fd, F_SETFL, O_RDWR | O_CREAT | O_TRUNC), Ok(0))?;
    is("F_GETFL after it", k.fcntl(fd, F_GETFL, 0)?, before)?;
    is("write to what was opened for reading", k.write(fd, b"x"), no(Errno::EBADF))?;
    is("read of what O_TRUNC did not cut", k.read(fd, &mut [0; 8]), Ok(4))?;
    k.fcntl(fd, F_SETFL, O_RDWR | O_APPEND)?;
    is("F_GETFL after O_APPEND", k.fcntl(fd, F_GETFL, 0)?, before | O_APPEND)?;

    let socket = tcp(k)?;
    k.ioctl(socket, libc::FIONBIO, &mut 1)?;
    is("O_NONBLOCK after FIONBIO of 1", is_nonblocking(k, socket)?, true)?;
    k.ioctl(socket, libc::FIONBIO, &mut 0)?;
    is("O_NONBLOCK after FIONBIO of 0", is_nonblocking(k, socket)?, false)?;
    is("O_NONBLOCK after SOCK_NONBLOCK", is_nonblocking(k, tcp_nonblocking(k)?)?, true)
}

fn async_sigio_and_setsig(k: K) -> Held {
    const SI_KERNEL: i32 = 0x80;
    const POLL_IN: i32 = 1;
    /// POLLIN | POLLRDNORM
    const BAND: i64 = 0x41;
    let real_time = libc::SIGRTMIN();
    k.sigprocmask(libc::SIG_BLOCK, raw::bit(libc::SIGIO) | raw::bit(real_time))?;
    let me = std::process::id().cast_signed();
    let [reading, writing] = k.pipe2(O_CLOEXEC)?;
    k.fcntl(reading, F_SETOWN, me)?;
    k.fcntl(reading, F_SETFL, O_ASYNC)?;
    k.write(writing, b"x")?;
    let came = k.sigtimedwait(raw::bit(libc::SIGIO), i64::from(BOUND_MS))?;
    is("si_code of SIGIO", came.code, SI_KERNEL)?;

    k.fcntl(reading, F_SETSIG, real_time)?;
    k.read(reading, &mut [0; 8])?;
    k.write(writing, b"x")?;
    let came = k.sigtimedwait(raw::bit(real_time), i64::from(BOUND_MS))?;
    is("si_code of the real-time signal", came.code, POLL_IN)?;
    is("its si_fd", came.fd, reading)?;
    is("its si_band", came.band, BAND)?;

    let file = Scratch::new();
    let fd = k.open(file.path(), O_RDWR | O_CREAT | O_CLOEXEC)?;
    is("F_SETFL with O_ASYNC on a regular file", k.fcntl(fd, F_SETFL, O_ASYNC), Ok(0))?;
    is("O_ASYNC after it", k.fcntl(fd, F_GETFL, 0)? & O_ASYNC, 0)
}

fn owner_gets_sigurg(k: K) -> Held {
    // By default SIGURG does nothing, and what does nothing is not kept even while blocked.
    k.sigaction(libc::SIGURG, Action::Count, 0)?;
    k.sigprocmask(libc::SIG_BLOCK, raw::bit(libc::SIGURG))?;
    let (ours, peer) = tcp_pair(k)?;
    k.fcntl(ours, F_SETOWN, std::process::id().cast_signed())?;
    is("O_ASYNC of the socket", k.fcntl(ours, F_GETFL, 0)? & O_ASYNC, 0)?;
    k.send(peer, b"!", libc::MSG_OOB)?;
    let came = k.sigtimedwait(raw::bit(libc::SIGURG), i64::from(BOUND_MS)).map(|came| came.signal);
    is("the signal that came", came, Ok(libc::SIGURG))
}
