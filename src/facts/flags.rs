//! File status flags: O_NONBLOCK and O_ASYNC, and what they belong to.

use crate::facts::support::*;
use crate::sys::raw::F_SETSIG;
use libc::{
    F_GETFD, F_GETFL, F_SETFD, F_SETFL, F_SETOWN, FD_CLOEXEC, O_ASYNC, O_CLOEXEC, O_NONBLOCK, O_RDONLY,
    O_RDWR,
};

const FLAGS: &[Fact] = &[
    Fact {
        id: "fl-nonblock-is-per-description",
        claim: "O_NONBLOCK belongs to the open file description: set through a dup or by a forked child, it \
                is seen through every reference. FD_CLOEXEC belongs to the descriptor.",
        reference: "fcntl(2), open(2) on open file descriptions; setfl in fs/fcntl.c",
        matters: "A program that makes its standard input non-blocking does so to the shell and to everybody \
                  else who has the same terminal or pipe, and leaves it so.",
        experiment: "A pipe and a dup of its reading end; the flag set through the dup, taken back, and set \
                     by a child. FD_CLOEXEC set on the dup.",
        wrong: &[
            "Node.js: https://github.com/nodejs/node/issues/42826",
            "Flux: https://github.com/flux-framework/flux-core/issues/1803",
            "Bun: https://github.com/oven-sh/bun/pull/33560",
            "MPICH: https://github.com/pmodels/mpich/issues/1782",
            "Mitogen: https://github.com/mitogen-hq/mitogen/pull/1300",
        ],
        run: |k| {
            let [reader, _writer] = k.pipe2(0)?;
            let copy = k.dup(reader)?;
            set_nonblocking(k, copy)?;
            noted(is("O_NONBLOCK of the original, set through its dup", is_nonblocking(k, reader), Ok(true)));
            noted(is(
                "read through the original, with the flag set through its dup",
                k.read(reader, &mut [0]),
                no(Errno::EAGAIN),
            ));
            k.fcntl(reader, F_SETFL, 0)?;
            noted(is("the dup, taken back through the original", is_nonblocking(k, copy), Ok(false)));
            Forked::start(|| Ok(set_nonblocking(k, copy)?))?.join()?;
            noted(is(
                "read through the original, with the flag set by a forked child",
                k.read(reader, &mut [0]),
                no(Errno::EAGAIN),
            ));

            let copy = k.dup(reader)?;
            k.fcntl(copy, F_SETFD, FD_CLOEXEC)?;
            noted(is("F_GETFD of the dup, with FD_CLOEXEC set", k.fcntl(copy, F_GETFD, 0), Ok(FD_CLOEXEC)));
            is("F_GETFD of the original", k.fcntl(reader, F_GETFD, 0), Ok(0))
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "fl-procfd-reopen-is-new-description",
        claim: "open of /proc/self/fd/N of a pipe gives a new description of the same pipe, with an \
                O_NONBLOCK of its own. Of a socket it fails with ENXIO.",
        reference: "proc_pid_fd(5); proc_fd_link in fs/proc/fd.c, fifo_open in fs/pipe.c, sock_no_open in net/socket.c",
        matters: "It is the way to a non-blocking standard input that nobody else notices, but only where that is no socket.",
        experiment: "The reading end of a pipe opened again with O_NONBLOCK; the flags of both, a read \
                     through the new one before and after a write. Then a socket.",
        run: |k| {
            if !std::path::Path::new("/proc/self/fd/0").exists() {
                return skip(Why::Oracle, "there is no /proc/self/fd here");
            }
            let [reader, writer] = k.pipe2(O_CLOEXEC)?;
            let again = k.open(&format!("/proc/self/fd/{reader}"), O_RDONLY | O_NONBLOCK)?;
            is("O_NONBLOCK of the new description", is_nonblocking(k, again), Ok(true))?;
            noted(is("O_NONBLOCK of the original", is_nonblocking(k, reader), Ok(false)));
            is("read through the new one, of the empty pipe", k.read(again, &mut [0; 4]), no(Errno::EAGAIN))?;
            k.write(writer, b"ab")?;
            is("read through the new one, of two bytes", k.read(again, &mut [0; 4]), Ok(2))?;
            let (socket, _peer) = unix_pair(k)?;
            let link = format!("/proc/self/fd/{socket}");
            is("open of a socket's link", k.open(&link, O_RDWR), no(Errno::ENXIO))
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "fl-nonblock-does-not-wake",
        claim: "O_NONBLOCK that is set while a thread is blocked in read or recv does not wake it: the flag \
                is looked at when the call begins.",
        reference: "pipe_read in fs/pipe.c; sock_recvmsg in net/socket.c",
        matters: "A thread cannot be got out of a blocking call in this way.",
        experiment: "A thread asleep in read on a pipe and one in recv on a socket; the flag is set on both; \
                     nothing for 80 ms; then a byte for each. The next read and recv give EAGAIN.",
        run: |k| {
            let [reader, writer] = k.pipe2(O_CLOEXEC)?;
            let (a, b) = unix_pair(k)?;
            let in_read = Waiter::asleep(READ, move || k.read(reader, &mut [0; 4]))?;
            let in_recv = Waiter::asleep(RECV, move || k.recv(a, &mut [0; 4], 0))?;
            set_nonblocking(k, reader)?;
            set_nonblocking(k, a)?;
            // What the flag has woken returns EAGAIN by then.
            let early = (in_read.join_within(Duration::from_millis(80)), in_recv.join_within(Duration::ZERO));
            k.write(writer, b"x")?;
            k.write(b, b"x")?;
            noted(is("the read that was under way", early.0.map_or_else(|| in_read.join(), Ok)?, Ok(1)));
            noted(is("the recv that was under way", early.1.map_or_else(|| in_recv.join(), Ok)?, Ok(1)));
            is("the next read", k.read(reader, &mut [0]), no(Errno::EAGAIN))?;
            is("the next recv", k.recv(a, &mut [0], 0), no(Errno::EAGAIN))
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "fl-regular-file-ignores-nonblock",
        claim: "A regular file has the flag O_NONBLOCK, but no read or write of it gives EAGAIN; at the end read gives 0.",
        reference: "open(2) O_NONBLOCK",
        matters: "A read of a file blocks an event loop for as long as the disk takes. There is no way to \
                  wait for it with poll or epoll either.",
        experiment: "A file opened with O_NONBLOCK: read at its end, write, and read of what was written.",
        run: |k| {
            let scratch = Scratch::new();
            let file =
                k.open(scratch.path(), libc::O_CREAT | libc::O_EXCL | O_RDWR | O_NONBLOCK | O_CLOEXEC)?;
            let reader = k.open(scratch.path(), O_RDONLY | O_NONBLOCK | O_CLOEXEC)?;
            is("O_NONBLOCK of the file", is_nonblocking(k, file)?, true)?;
            let mut buffer = [0; 8192];
            noted(is("read of the empty file", k.read(reader, &mut buffer), Ok(0)));
            let written = k.write(file, &buffer);
            needs(Why::Limits, "RLIMIT_FSIZE allows a write", written != no(Errno::EFBIG), written)?;
            is("write of 8192 bytes", written, Ok(8192))?;
            is("read of 8192 bytes", k.read(reader, &mut buffer), Ok(8192))?;
            is("read at the end", k.read(reader, &mut buffer), Ok(0))
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "fl-setfl-ignores-access-bits",
        claim: "F_SETFL ignores the access mode and the flags for creation without an error. FIONBIO and \
                SOCK_NONBLOCK set the same bit as O_NONBLOCK.",
        reference: "fcntl(2) F_SETFL; SETFL_MASK in fs/fcntl.c; ioctl_fionbio in fs/ioctl.c",
        matters: "A program that wants to make a descriptor read-only in this way is told that it worked.",
        experiment: "F_SETFL with O_WRONLY, O_CREAT, O_EXCL, O_TRUNC, O_NOCTTY, O_CLOEXEC and O_NONBLOCK on \
                     a memfd and on a pipe, FIONBIO on a pipe, SOCK_NONBLOCK; F_GETFL after each.",
        run: |k| {
            const CREATION: i32 =
                libc::O_CREAT | libc::O_EXCL | libc::O_TRUNC | libc::O_NOCTTY | libc::O_CLOEXEC;
            let file = || k.memfd_create(0);
            let pipe = || Ok(k.pipe2(0)?[0]);
            let kinds: [(&str, &dyn Fn() -> Reply<i32>); 2] =
                [("a memfd", &file), ("the reading end of a pipe", &pipe)];
            for (name, make) in kinds {
                step(name, || {
                    let fd = make()?;
                    let before = k.fcntl(fd, F_GETFL, 0)?;
                    // Another description of the same kind, so that three calls of fcntl are not all in a row.
                    is("F_SETFL", k.fcntl(fd, F_SETFL, libc::O_WRONLY | CREATION | O_NONBLOCK), Ok(0))?;
                    make()?;
                    noted(is("F_GETFL", k.fcntl(fd, F_GETFL, 0), Ok(before | O_NONBLOCK)));
                    is("F_GETFD", k.fcntl(fd, F_GETFD, 0), Ok(0))
                });
            }
            let [_, writer] = k.pipe2(0)?;
            let before = k.fcntl(writer, F_GETFL, 0)?;
            for (value, expected) in [(1, before | O_NONBLOCK), (0, before)] {
                is(format!("ioctl FIONBIO {value}"), k.ioctl(writer, libc::FIONBIO, &mut { value }), Ok(0))?;
                noted(is(
                    format!("F_GETFL after FIONBIO {value}"),
                    k.fcntl(writer, F_GETFL, 0),
                    Ok(expected),
                ));
            }
            let before = k.fcntl(tcp(k)?, F_GETFL, 0)?;
            let nonblocking = tcp_nonblocking(k)?;
            is(
                "F_GETFL of a socket with SOCK_NONBLOCK",
                k.fcntl(nonblocking, F_GETFL, 0),
                Ok(before | O_NONBLOCK),
            )
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "fl-async-sigio-and-setsig",
        claim: "O_ASYNC with F_SETOWN sends SIGIO, whose si_code is SI_KERNEL and which names no descriptor. \
                With F_SETSIG and a real-time signal, si_fd is the descriptor, si_code POLL_IN and si_band \
                IN+RDNORM. On a regular file O_ASYNC is dropped without an error.",
        reference: "fcntl(2) F_SETOWN, F_SETSIG; send_sigio_to_task in fs/fcntl.c",
        matters: "A handler of SIGIO has to look at all descriptors. With a real-time signal it knows which, \
                  until the queue of signals is full.",
        experiment: "SIGIO and signal 40 blocked; O_ASYNC on a socket; the peer sends; sigtimedwait. The \
                     same after F_SETSIG. O_ASYNC on a memfd.",
        run: |k| {
            const SI_KERNEL: i32 = 0x80;
            const POLL_IN: i32 = 1;
            const REAL_TIME: i32 = 40;
            let me = std::process::id().cast_signed();
            k.sigprocmask(libc::SIG_BLOCK, bit(libc::SIGIO) | bit(REAL_TIME))?;
            let (socket, peer) = unix_pair(k)?;
            k.fcntl(socket, F_SETOWN, me)?;
            let flags = k.fcntl(socket, F_GETFL, 0)?;
            k.fcntl(socket, F_SETFL, flags | O_ASYNC)?;
            noted(is(
                "F_GETFL of a socket, with O_ASYNC set",
                k.fcntl(socket, F_GETFL, 0),
                Ok(flags | O_ASYNC),
            ));
            let came = |signal, limit| {
                k.sigtimedwait(bit(signal), limit).map(|came| (came.signal, came.code, came.fd, came.band))
            };
            let soon = i64::from(bound_ms());
            k.write(peer, b"x")?;
            let expected = (libc::SIGIO, SI_KERNEL, 0, 0);
            noted(is("signal, si_code, si_fd, si_band by default", came(libc::SIGIO, soon), Ok(expected)));

            let band = i64::from(libc::POLLIN | libc::POLLRDNORM);
            step("after F_SETSIG 40", || {
                can_queue(k, REAL_TIME)?;
                k.fcntl(socket, F_SETSIG, REAL_TIME)?;
                k.write(peer, b"x")?;
                let expected = (REAL_TIME, POLL_IN, socket, band);
                noted(is("signal, si_code, si_fd, si_band", came(REAL_TIME, soon), Ok(expected)));
                is("SIGIO besides", came(libc::SIGIO, 0), no(Errno::EAGAIN))
            });

            let file = k.memfd_create(0)?;
            let flags = k.fcntl(file, F_GETFL, 0)?;
            is("F_SETFL with O_ASYNC of a memfd", k.fcntl(file, F_SETFL, flags | O_ASYNC), Ok(0))?;
            is("F_GETFL of it", k.fcntl(file, F_GETFL, 0), Ok(flags))
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "fl-owner-gets-sigurg",
        claim: "With F_SETOWN alone, without O_ASYNC, urgent data of TCP sends SIGURG to the owner; without \
                an owner it sends none.",
        reference: "fcntl(2) F_SETOWN; sk_send_sigurg in net/core/sock.c",
        matters: "A program that sets the owner for some other reason gets a signal that a peer can send at \
                  will. By default SIGURG is ignored.",
        experiment: "SIGURG blocked; MSG_OOB to a socket without an owner, which gets PRI; then to one with \
                     an owner, and sigtimedwait.",
        run: |k| {
            k.sigprocmask(libc::SIG_BLOCK, bit(libc::SIGURG))?;
            let urgent = |from| k.send(from, b"!", libc::MSG_OOB | libc::MSG_NOSIGNAL);
            step("without an owner", || {
                let (client, server) = tcp_pair(k)?;
                urgent(client)?;
                let now = mask_with(k, server, PRI)?;
                needs(Why::Missing, "urgent data of TCP is PRI here", now.has(PRI), now)?;
                is("signals pending, once urgent data has come", k.sigpending(), Ok(0))
            });
            let (client, server) = tcp_pair(k)?;
            k.fcntl(server, F_SETOWN, std::process::id().cast_signed())?;
            let flags = k.fcntl(server, F_GETFL, 0).map(|flags| flags & O_ASYNC);
            noted(is("O_ASYNC of the socket with an owner", flags, Ok(0)));
            urgent(client)?;
            let came = k.sigtimedwait(bit(libc::SIGURG), bound_ms().into()).map(|came| came.signal);
            is("signal, with an owner", came, Ok(libc::SIGURG))
        },
        ..Fact::ALWAYS
    },
];

pub(super) const FACTS: &[&[Fact]] = &[FLAGS];

fn is_nonblocking(k: K, fd: i32) -> Reply<bool> {
    k.fcntl(fd, F_GETFL, 0).map(|flags| flags & O_NONBLOCK != 0)
}
