//! Kernels that break a fact of `facts/flags.rs`.

use super::super::kernel::Kernel;
use super::Mutant;
use super::kinds::{Fcntl, Open, Read, is_nonblocking};
use crate::sys::Errno;
use crate::sys::raw::{self, F_SETSIG, Reply, no};
use libc::{F_GETFL, F_SETFL, F_SETOWN, O_ASYNC, O_NONBLOCK};
use std::sync::atomic::{AtomicI32, Ordering::SeqCst};
use std::sync::{Mutex, PoisonError};

pub(super) const MUTANTS: &[Mutant] = &[
    Mutant {
        name: "nonblock-per-descriptor",
        breaks: "fl-nonblock-is-per-description",
        behaviour: "O_NONBLOCK belongs to the descriptor, as FD_CLOEXEC does and as people expect who set it \
                    on their standard input.",
        kernel: &Fcntl(|fd, command, argument| {
            /// The descriptors through which the flag was set.
            static SET_THROUGH: Mutex<Vec<i32>> = Mutex::new(Vec::new());
            let mut set_through = SET_THROUGH.lock().unwrap_or_else(PoisonError::into_inner);
            let reply = raw::fcntl(fd, command, argument)?;
            if command == F_SETFL {
                set_through.retain(|&other| other != fd);
                if argument & O_NONBLOCK != 0 {
                    set_through.push(fd);
                }
            }
            let seen = command != F_GETFL || set_through.contains(&fd);
            Ok(if seen { reply } else { reply & !O_NONBLOCK })
        }),
    },
    Mutant {
        name: "procfd-open-is-dup",
        breaks: "fl-procfd-reopen-is-new-description",
        behaviour: "open of /proc/self/fd/N is a dup, as that of /dev/fd/N is on the BSDs and on macOS.",
        kernel: &Open(|path, flags| {
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
        kernel: &SetflNonblockWakes,
    },
    Mutant {
        name: "nonblock-file-eagain",
        breaks: "fl-regular-file-ignores-nonblock",
        behaviour: "read at the end of a non-blocking file gives EAGAIN, as that of an empty pipe does and \
                    as people expect of a file that grows.",
        kernel: &Read(|fd, buffer| match raw::read(fd, buffer)? {
            0 if is_nonblocking(fd) && is_file(fd) => no(Errno::EAGAIN),
            n => Ok(n),
        }),
    },
    Mutant {
        name: "setfl-refuses-access-bits",
        breaks: "fl-setfl-ignores-access-bits",
        behaviour: "F_SETFL with an access mode that is not that of the description gives EINVAL, as people expect.",
        kernel: &Fcntl(|fd, command, argument| {
            let mode = argument & libc::O_ACCMODE;
            if command == F_SETFL && mode != 0 && mode != raw::fcntl(fd, F_GETFL, 0)? & libc::O_ACCMODE {
                return no(Errno::EINVAL);
            }
            raw::fcntl(fd, command, argument)
        }),
    },
    Mutant {
        name: "setsig-ignored",
        breaks: "fl-async-sigio-and-setsig",
        behaviour: "F_SETSIG does nothing: it is always SIGIO, as on systems that do not have it.",
        kernel: &Fcntl(
            |fd, command, argument| {
                if command == F_SETSIG { Ok(0) } else { raw::fcntl(fd, command, argument) }
            },
        ),
    },
    Mutant {
        name: "sigurg-wants-async",
        breaks: "fl-owner-gets-sigurg",
        behaviour: "An owner without O_ASYNC gets no signal at all, as people expect.",
        kernel: &Fcntl(|fd, command, argument| {
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

struct SetflNonblockWakes;

impl Kernel for SetflNonblockWakes {
    fn read(&self, fd: i32, buffer: &mut [u8]) -> Reply<usize> {
        loop {
            let mut entry = libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
            // What sleeps in it must seem to sleep in read: a real one, of an eventfd that a setting wakes.
            if raw::poll(raw::At::from(&mut entry), 0)? > 0 || is_nonblocking(fd) {
                return raw::read(fd, buffer);
            }
            raw::read(waker(), &mut [0; 8])?;
        }
    }

    fn write(&self, fd: i32, bytes: &[u8]) -> Reply<usize> {
        let written = raw::write(fd, bytes)?;
        wake();
        Ok(written)
    }

    fn fcntl(&self, fd: i32, command: i32, argument: i32) -> Reply<i32> {
        let reply = raw::fcntl(fd, command, argument)?;
        if command == F_SETFL {
            wake();
        }
        Ok(reply)
    }
}

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
