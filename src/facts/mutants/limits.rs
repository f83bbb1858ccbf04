//! Kernels that break a fact of `facts/limits.rs`.

use super::kinds::*;
use crate::sys::limits::Nofile;

pub(super) const MUTANTS: &[Mutant] = &[
    Mutant {
        name: "dup2-emfile",
        breaks: "fd-emfile-everywhere",
        behaviour: "dup2 to a number at the limit fails with EMFILE, as the other calls do.",
        kernel: &instead::dup2(|fd, to| if cut_off(to) { no(Errno::EMFILE) } else { raw::dup2(fd, to) }),
    },
    Mutant {
        name: "emfile-drops-connection",
        breaks: "fd-accept-emfile-keeps-connection",
        behaviour: "accept that fails with EMFILE takes the connection out of the queue and closes it.",
        kernel: &instead::accept(|fd| {
            let accepted = raw::accept(fd);
            if accepted == no(Errno::EMFILE) {
                // Room for one more, for as long as it takes to lose the connection.
                let soft = soft_limit();
                raw::limit_descriptors(soft + 1)?;
                raw::close(raw::accept(fd)?)?;
                raw::limit_descriptors(soft)?;
            }
            accepted
        }),
    },
    Mutant {
        name: "eagain-before-emfile",
        breaks: "fd-accept-emfile-beats-eagain",
        behaviour: "accept on an idle non-blocking listener gives EAGAIN, whether there is a descriptor free \
                    or not, as people expect.",
        kernel: &instead::accept(|fd| {
            let idle = polled(fd, libc::POLLIN, 0) == 0;
            if is_nonblocking(fd) && idle { no(Errno::EAGAIN) } else { raw::accept(fd) }
        }),
    },
    Mutant {
        name: "pipe-half-made",
        breaks: "fd-pipe-emfile-atomic",
        behaviour: "pipe that fails with EMFILE leaves the descriptor that it did get open, and in the array.",
        kernel: &instead::pipe2_into(|ends, flags| {
            let made = raw::pipe2_into(ends, flags);
            if made == no(Errno::EMFILE) {
                ends[0] = raw::eventfd(0, 0)?;
            }
            made
        }),
    },
    Mutant {
        name: "limit-cuts-off",
        breaks: "fd-lowered-limit-keeps-open",
        behaviour: "Descriptors whose numbers are not below the limit are as good as closed, as people expect.",
        kernel: &instead::read(
            |fd, buffer| if cut_off(fd) { no(Errno::EBADF) } else { raw::read(fd, buffer) },
        ),
    },
    Mutant {
        name: "next-not-lowest",
        breaks: "fd-lowest-free",
        behaviour: "open gives a number above all that it gave before, as people hope for who use one after close.",
        kernel: &instead::open(|path, flags| {
            /// The highest number that open gave.
            static HIGHEST: AtomicI32 = AtomicI32::new(-1);
            let lowest = raw::open(path, flags)?;
            let fd = raw::fcntl(lowest, libc::F_DUPFD, HIGHEST.load(SeqCst) + 1)?;
            raw::close(lowest)?;
            HIGHEST.store(fd, SeqCst);
            Ok(fd)
        }),
    },
    Mutant {
        name: "scm-rights-all-or-nothing",
        breaks: "fd-scm-rights-truncated",
        behaviour: "If there is no room for all descriptors of a message, none of them is received.",
        kernel: &instead::recv_fds(|fd, room, max, flags| {
            let mut message = raw::recv_fds(fd, room, max, flags)?;
            if message.flags & libc::MSG_CTRUNC != 0 {
                message.fds.drain(..).try_for_each(raw::close)?;
            }
            Ok(message)
        }),
    },
    Mutant {
        name: "scm-no-barrier",
        breaks: "fd-scm-barrier",
        behaviour: "recvmsg takes all bytes that are there, with the descriptors of all messages, as people expect of a stream.",
        kernel: &instead::recv_fds(|fd, room, max, flags| {
            let mut message = raw::recv_fds(fd, room, max, flags)?;
            while message.bytes < room
                && let Ok(next) = raw::recv_fds(fd, room - message.bytes, max, libc::MSG_DONTWAIT)
            {
                message.bytes += next.bytes;
                message.fds.extend(next.fds);
            }
            Ok(message)
        }),
    },
    Mutant {
        name: "scm-read-keeps-fds",
        breaks: "fd-read-drops-fds",
        behaviour: "read takes the byte and leaves its descriptor open, for whoever asks next.",
        kernel: &instead::read(|fd, buffer| {
            raw::recv_fds(fd, buffer.len(), 8, 0).map(|message| message.bytes)
        }),
    },
    Mutant {
        name: "scm-peek-without-fds",
        breaks: "fd-scm-peek-copies",
        behaviour: "recvmsg with MSG_PEEK gives no descriptors: they come once, with the message.",
        kernel: &instead::recv_fds(|fd, room, max, flags| {
            let max = if flags & libc::MSG_PEEK == 0 { max } else { 0 };
            raw::recv_fds(fd, room, max, flags)
        }),
    },
    Mutant {
        name: "scm-sends-first-253",
        breaks: "fd-scm-max-253",
        behaviour: "Of more than 253 descriptors sendmsg sends the first 253, as people expect of a call \
                    that can give a short count.",
        kernel: &instead::send_fds(|fd, fds| raw::send_fds(fd, &fds[..fds.len().min(253)])),
    },
];

fn soft_limit() -> u64 {
    Nofile::current().map_or(0, |nofile| nofile.soft)
}

fn cut_off(fd: i32) -> bool {
    fd >= 0 && fd as u64 >= soft_limit()
}
