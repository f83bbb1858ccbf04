//! Kernels that break a fact of `facts/limits.rs`.

use super::super::kernel::Kernel;
use super::Mutant;
use crate::sys::Errno;
use crate::sys::limits::Nofile;
use crate::sys::raw::{self, At, Message, Refusal, Reply, no};
use std::sync::atomic::{AtomicI32, Ordering::SeqCst};

pub(super) const MUTANTS: &[Mutant] = &[
    Mutant {
        name: "dup2-emfile",
        breaks: "fd-emfile-everywhere",
        behaviour: "dup2 to a number at the limit fails with EMFILE, as the other calls do.",
        kernel: &Dup2Emfile,
    },
    Mutant {
        name: "emfile-drops-connection",
        breaks: "fd-accept-emfile-keeps-connection",
        behaviour: "accept that fails with EMFILE takes the connection out of the queue and closes it.",
        kernel: &EmfileDropsConnection,
    },
    Mutant {
        name: "eagain-before-emfile",
        breaks: "fd-accept-emfile-beats-eagain",
        behaviour: "accept on an idle non-blocking listener gives EAGAIN, whether there is a descriptor free \
                    or not, as people expect.",
        kernel: &EagainBeforeEmfile,
    },
    Mutant {
        name: "pipe-half-made",
        breaks: "fd-pipe-emfile-atomic",
        behaviour: "pipe that fails with EMFILE leaves the descriptor that it did get open, and in the \
                    array.",
        kernel: &PipeHalfMade,
    },
    Mutant {
        name: "limit-cuts-off",
        breaks: "fd-lowered-limit-keeps-open",
        behaviour: "Descriptors whose numbers are not below the limit are as good as closed, as people \
                    expect.",
        kernel: &LimitCutsOff,
    },
    Mutant {
        name: "next-not-lowest",
        breaks: "fd-lowest-free",
        behaviour: "open gives a number above all that it gave before, as people hope for who use one after \
                    close.",
        kernel: &NextNotLowest,
    },
    Mutant {
        name: "scm-rights-all-or-nothing",
        breaks: "fd-scm-rights-truncated",
        behaviour: "If there is no room for all descriptors of a message, none of them is received.",
        kernel: &ScmRightsAllOrNothing,
    },
];

fn soft_limit() -> u64 {
    Nofile::current().map_or(0, |nofile| nofile.soft)
}

fn cut_off(fd: i32) -> bool {
    fd >= 0 && fd as u64 >= soft_limit()
}

struct Dup2Emfile;

impl Kernel for Dup2Emfile {
    fn dup2(&self, fd: i32, to: i32) -> Reply<i32> {
        if cut_off(to) { no(Errno::EMFILE) } else { raw::dup2(fd, to) }
    }
}

struct EmfileDropsConnection;

impl Kernel for EmfileDropsConnection {
    fn accept(&self, fd: i32) -> Reply<i32> {
        let accepted = raw::accept(fd);
        if !matches!(accepted, Err(Refusal { errno: Errno::EMFILE, .. })) {
            return accepted;
        }
        // Room for one more, for as long as it takes to lose the connection.
        let soft = soft_limit();
        raw::limit_descriptors(soft + 1)?;
        raw::close(raw::accept(fd)?)?;
        raw::limit_descriptors(soft)?;
        accepted
    }
}

struct EagainBeforeEmfile;

impl Kernel for EagainBeforeEmfile {
    fn accept(&self, fd: i32) -> Reply<i32> {
        let mut entry = libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
        let nonblocking = raw::fcntl(fd, libc::F_GETFL, 0)? & libc::O_NONBLOCK != 0;
        if nonblocking && raw::poll(At::from(&mut entry), 0)? == 0 {
            return no(Errno::EAGAIN);
        }
        raw::accept(fd)
    }
}

struct PipeHalfMade;

impl Kernel for PipeHalfMade {
    fn pipe2_into(&self, ends: &mut [i32; 2], flags: i32) -> Reply<()> {
        let made = raw::pipe2_into(ends, flags);
        if made == no(Errno::EMFILE)
            && let Ok(fd) = raw::eventfd(0, 0)
        {
            ends[0] = fd;
        }
        made
    }
}

struct LimitCutsOff;

impl Kernel for LimitCutsOff {
    fn read(&self, fd: i32, buffer: &mut [u8]) -> Reply<usize> {
        if cut_off(fd) { no(Errno::EBADF) } else { raw::read(fd, buffer) }
    }

    fn write(&self, fd: i32, bytes: &[u8]) -> Reply<usize> {
        if cut_off(fd) { no(Errno::EBADF) } else { raw::write(fd, bytes) }
    }
}

struct NextNotLowest;

/// The highest number that open gave.
static HIGHEST: AtomicI32 = AtomicI32::new(-1);

impl Kernel for NextNotLowest {
    fn open(&self, path: &str, flags: i32) -> Reply<i32> {
        let mut fd = raw::open(path, flags)?;
        let highest = HIGHEST.load(SeqCst);
        if fd < highest {
            let higher = raw::fcntl(fd, libc::F_DUPFD, highest + 1)?;
            raw::close(fd)?;
            fd = higher;
        }
        HIGHEST.store(fd, SeqCst);
        Ok(fd)
    }
}

struct ScmRightsAllOrNothing;

impl Kernel for ScmRightsAllOrNothing {
    fn recv_fds(&self, fd: i32, max: usize) -> Reply<Message> {
        let mut message = raw::recv_fds(fd, max)?;
        if message.flags & libc::MSG_CTRUNC != 0 {
            for fd in message.fds.drain(..) {
                raw::close(fd)?;
            }
        }
        Ok(message)
    }
}
