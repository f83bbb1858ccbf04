//! Kernels that break a fact of `facts/flags.rs`.

use super::kinds::*;
use crate::sys::raw::F_SETSIG;
use libc::{F_GETFL, F_SETFL, F_SETOWN, O_ACCMODE, O_ASYNC, O_NONBLOCK};

pub(super) const MUTANTS: &[Mutant] = &[
    Mutant {
        name: "nonblock-per-descriptor",
        breaks: "fl-nonblock-is-per-description",
        behaviour: "O_NONBLOCK belongs to the descriptor, as FD_CLOEXEC does and as people expect who set it \
                    on their standard input.",
        kernel: &instead::fcntl(|fd, command, argument| {
            let reply = raw::fcntl(fd, command, argument)?;
            // Marked is a descriptor through which the flag was set.
            if command == F_SETFL {
                marked().remove(&fd);
                marked().extend((argument & O_NONBLOCK != 0).then_some(fd));
            }
            let seen = command != F_GETFL || is_marked(fd);
            Ok(if seen { reply } else { reply & !O_NONBLOCK })
        }),
    },
    Mutant {
        name: "procfd-open-is-dup",
        breaks: "fl-procfd-reopen-is-new-description",
        behaviour: "open of /proc/self/fd/N is a dup, as that of /dev/fd/N is on the BSDs and on macOS.",
        kernel: &instead::open(|path, flags| {
            match path.strip_prefix("/proc/self/fd/").and_then(|number| number.parse().ok()) {
                Some(fd) => raw::dup(fd),
                None => raw::open(path, flags),
            }
        }),
    },
    Mutant {
        name: "setfl-nonblock-wakes",
        breaks: "fl-nonblock-does-not-wake",
        behaviour: "A read that is under way gives EAGAIN as soon as O_NONBLOCK is set, as where a call \
                    looks at the flag whenever it wakes.",
        kernel: &Table {
            read: |fd, buffer| {
                // What sleeps in it must seem to sleep in read: a real one, of an eventfd that a setting wakes.
                while polled(fd, libc::POLLIN, 0) == 0 && !is_nonblocking(fd) {
                    raw::read(waker(), &mut [0; 8])?;
                }
                raw::read(fd, buffer)
            },
            write: |fd, bytes| raw::write(fd, bytes).inspect(|_| wake()),
            fcntl: |fd, command, argument| {
                let reply = raw::fcntl(fd, command, argument)?;
                if command == F_SETFL {
                    wake();
                }
                Ok(reply)
            },
            ..Table::LINUX
        },
    },
    Mutant {
        name: "nonblock-file-eagain",
        breaks: "fl-regular-file-ignores-nonblock",
        behaviour: "read at the end of a non-blocking file gives EAGAIN, as that of an empty pipe does and \
                    as people expect of a file that grows.",
        kernel: &instead::read(|fd, buffer| match raw::read(fd, buffer)? {
            0 if is_nonblocking(fd) && is_file(fd) => no(Errno::EAGAIN),
            n => Ok(n),
        }),
    },
    Mutant {
        name: "setfl-refuses-access-bits",
        breaks: "fl-setfl-ignores-access-bits",
        behaviour: "F_SETFL with an access mode that is not that of the description gives EINVAL, as people expect.",
        kernel: &instead::fcntl(|fd, command, argument| {
            let mode = argument & O_ACCMODE;
            if command == F_SETFL && mode != 0 && mode != flags(fd) & O_ACCMODE {
                return no(Errno::EINVAL);
            }
            raw::fcntl(fd, command, argument)
        }),
    },
    Mutant {
        name: "setsig-ignored",
        breaks: "fl-async-sigio-and-setsig",
        behaviour: "F_SETSIG does nothing: it is always SIGIO, as on systems that do not have it.",
        kernel: &instead::fcntl(
            |fd, command, argument| {
                if command == F_SETSIG { Ok(0) } else { raw::fcntl(fd, command, argument) }
            },
        ),
    },
    Mutant {
        name: "sigurg-wants-async",
        breaks: "fl-owner-gets-sigurg",
        behaviour: "An owner without O_ASYNC gets no signal at all, as people expect.",
        kernel: &instead::fcntl(|fd, command, argument| {
            /// The owner that was asked for.
            static OWNER: AtomicI32 = AtomicI32::new(0);
            if command == F_SETOWN {
                OWNER.store(argument, SeqCst);
                return Ok(0);
            }
            if command == F_SETFL && argument & O_ASYNC != 0 {
                raw::fcntl(fd, F_SETOWN, OWNER.load(SeqCst))?;
            }
            raw::fcntl(fd, command, argument)
        }),
    },
];

/// An eventfd, -1 until the first read.
static WAKER: AtomicI32 = AtomicI32::new(-1);

fn waker() -> i32 {
    if WAKER.load(SeqCst) == -1 {
        WAKER.store(raw::eventfd(0, 0).unwrap_or(-1), SeqCst);
    }
    WAKER.load(SeqCst)
}

fn wake() {
    if WAKER.load(SeqCst) != -1 {
        raw::write(waker(), &1u64.to_ne_bytes()).ok();
    }
}

fn is_file(fd: i32) -> bool {
    std::fs::metadata(format!("/proc/self/fd/{fd}")).is_ok_and(|metadata| metadata.is_file())
}
