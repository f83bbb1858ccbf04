//! Kernels that break a fact of `facts/signals/`.

use super::super::kernel::Kernel;
use super::Mutant;
use crate::sys::Errno;
use crate::sys::raw::{self, At, Refusal, Reply};
use libc::{EPOLL_CTL_ADD, MSG_NOSIGNAL, POLLIN, SIG_UNBLOCK, SIGCHLD, epoll_event, pollfd};
use std::sync::Mutex;

pub(super) const MUTANTS: &[Mutant] = &[
    Mutant {
        name: "eintr-retried",
        breaks: "sig-restart-matrix",
        behaviour: "nanosleep is called again when a signal interrupts it, as language runtimes do, and ends well.",
        also: &[],
        kernel: &EintrRetried,
    },
    Mutant {
        name: "handler-per-child",
        breaks: "sig-sigchld-coalesces",
        behaviour: "The handler of SIGCHLD runs once for each child.",
        also: &[],
        kernel: &HandlerPerChild,
    },
    Mutant {
        name: "signalfd-follows-reader",
        breaks: "sig-signalfd-epoll-registrar",
        behaviour: "A signalfd in epoll is ready for whoever asks.",
        also: &[],
        kernel: &SignalfdFollowsReader,
    },
    Mutant {
        name: "sigpipe-never",
        breaks: "sig-sigpipe-rules",
        behaviour: "send raises no SIGPIPE, as with SO_NOSIGPIPE of the BSDs.",
        also: &[],
        kernel: &SigpipeNever,
    },
    Mutant {
        name: "exit-status-16-bits",
        breaks: "sig-exit-status-8-bits",
        behaviour: "waitpid tells another exit status than the low 8 bits.",
        also: &[],
        kernel: &ExitStatusAbove,
    },
    Mutant {
        name: "short-signalfd-read",
        breaks: "sig-signalfd-consumes",
        behaviour: "A signalfd gives as much of its record as fits.",
        also: &[],
        kernel: &ShortSignalfdRead,
    },
    Mutant {
        name: "zombie-is-gone",
        breaks: "sig-sigchld-default-keeps-zombie",
        behaviour: "kill finds no process that has ended, as its name suggests.",
        also: &[],
        kernel: &ZombieIsGone,
    },
];

struct EintrRetried;

impl Kernel for EintrRetried {
    fn nanosleep(&self, seconds: i64, nanoseconds: i64) -> Reply<()> {
        match raw::nanosleep(seconds, nanoseconds) {
            // Not for its whole minute: the experiment should see what became of it.
            Err(refusal) if refusal.errno == Errno::EINTR => raw::nanosleep(0, 100_000_000),
            done => done,
        }
    }
}

struct HandlerPerChild;

impl Kernel for HandlerPerChild {
    fn sigprocmask(&self, how: i32, signals: u64) -> Reply<u64> {
        let old = raw::sigprocmask(how, signals)?;
        if how == SIG_UNBLOCK && signals == raw::bit(SIGCHLD) {
            for _ in 0..4 {
                raw::kill(std::process::id().cast_signed(), SIGCHLD)?;
            }
        }
        Ok(old)
    }
}

/// What was added to any epoll.
static ADDED: Mutex<Vec<(i32, i32)>> = Mutex::new(Vec::new());

struct SignalfdFollowsReader;

impl Kernel for SignalfdFollowsReader {
    fn epoll_ctl(&self, epoll: i32, op: i32, fd: i32, event: Option<epoll_event>) -> Reply<()> {
        if let (EPOLL_CTL_ADD, Ok(mut added)) = (op, ADDED.lock()) {
            added.push((epoll, fd));
        }
        raw::epoll_ctl(epoll, op, fd, event)
    }

    fn epoll_wait(
        &self,
        epoll: i32,
        mut events: At<'_, epoll_event>,
        max: i32,
        timeout: i32,
    ) -> Reply<usize> {
        let n = raw::epoll_wait(epoll, events.again(), max, timeout)?;
        let (0, At::Memory(events), Ok(added)) = (n, events, ADDED.lock()) else { return Ok(n) };
        for &(_, fd) in added.iter().filter(|entry| entry.0 == epoll && is_signalfd(entry.1)) {
            let mut one = pollfd { fd, events: POLLIN, revents: 0 };
            if raw::poll(At::from(&mut one), 0)? == 1 {
                events[0] = epoll_event { events: one.revents as u32, u64: fd as u64 };
                return Ok(1);
            }
        }
        Ok(0)
    }
}

fn is_signalfd(fd: i32) -> bool {
    let link = std::fs::read_link(format!("/proc/self/fd/{fd}"));
    link.is_ok_and(|link| link.as_os_str() == "anon_inode:[signalfd]")
}

struct SigpipeNever;

impl Kernel for SigpipeNever {
    fn send(&self, fd: i32, bytes: &[u8], flags: i32) -> Reply<usize> {
        raw::send(fd, bytes, flags | MSG_NOSIGNAL)
    }
}

struct ExitStatusAbove;

impl Kernel for ExitStatusAbove {
    fn waitpid(&self, pid: i32, options: i32) -> Reply<(i32, i32)> {
        let (pid, status) = raw::waitpid(pid, options)?;
        // A code that is not 0 loses another bit.
        Ok((pid, if libc::WIFEXITED(status) { status & !0x0400 } else { status }))
    }
}

struct ShortSignalfdRead;

impl Kernel for ShortSignalfdRead {
    fn read(&self, fd: i32, buffer: &mut [u8]) -> Reply<usize> {
        match raw::read(fd, buffer) {
            Err(Refusal { errno: Errno::EINVAL, .. }) if is_signalfd(fd) => {
                let mut record = [0; 128];
                raw::read(fd, &mut record)?;
                let n = buffer.len().min(record.len());
                buffer[..n].copy_from_slice(&record[..n]);
                Ok(n)
            }
            done => done,
        }
    }
}

struct ZombieIsGone;

impl Kernel for ZombieIsGone {
    fn kill(&self, pid: i32, signal: i32) -> Reply<()> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        if stat.contains(") Z ") {
            return Err(Refusal { call: "kill", errno: Errno::ESRCH });
        }
        raw::kill(pid, signal)
    }
}
