//! Kernels that break a fact of `facts/poll/` about special descriptors, or about how full is full.

use super::super::kernel::Kernel;
use super::Mutant;
use super::kinds::OptionIgnored;
use super::poll_sockets::{Marked, asked, is_socket, poll_changed};
use crate::sys::Errno;
use crate::sys::raw::{self, At, Reply, no};
use libc::{AF_INET, AF_UNIX, POLLHUP, POLLIN, POLLOUT, SOCK_STREAM, SOL_SOCKET, pollfd};
use std::sync::atomic::{AtomicI32, Ordering::SeqCst};

pub(super) const MUTANTS: &[Mutant] = &[
    Mutant {
        name: "eventfd-always-writable",
        breaks: "poll-eventfd-mask",
        behaviour: "An eventfd always has OUT, also where every write would give EAGAIN.",
        kernel: &EventfdAlwaysWritable,
    },
    Mutant {
        name: "timerfd-keeps-expiry",
        breaks: "poll-timerfd-rearm-clears",
        behaviour: "An expiry stays until it is read, whatever time is set, as people expect of an event.",
        kernel: &TimerfdKeepsExpiry,
    },
    Mutant {
        name: "signalfd-is-makers",
        breaks: "poll-signalfd-is-callers",
        behaviour: "poll of a signalfd answers for the process that made it, as for any other descriptor.",
        kernel: &SignalfdIsMakers,
    },
    Mutant {
        name: "pidfd-no-hup",
        breaks: "poll-pidfd-exit-then-hup",
        behaviour: "A pidfd has IN and no HUP once its process was waited for, as before Linux 6.9.",
        kernel: &PidfdNoHup,
    },
    Mutant {
        name: "pty-end-is-readable",
        breaks: "poll-pty-hup",
        behaviour: "The master of a pseudoterminal has IN with HUP when the slave is closed, as sockets have.",
        kernel: &PtyEndIsReadable,
    },
    Mutant {
        name: "poll-answers-for-the-file",
        breaks: "poll-close-other-thread-nval",
        behaviour: "poll that sleeps answers for the file that it began with, not for what its number means now.",
        kernel: &PollAnswersForTheFile,
    },
    Mutant {
        name: "rcvlowat-ignored",
        breaks: "poll-rcvlowat-gates-in",
        behaviour: "SO_RCVLOWAT is taken and has no effect on poll, as before Linux 2.6.28.",
        kernel: &OptionIgnored(SOL_SOCKET, libc::SO_RCVLOWAT),
    },
    Mutant {
        name: "notsent-lowat-ignored",
        breaks: "poll-notsent-lowat-gates-out",
        behaviour: "TCP_NOTSENT_LOWAT is taken and has no effect.",
        kernel: &OptionIgnored(libc::IPPROTO_TCP, libc::TCP_NOTSENT_LOWAT),
    },
    Mutant {
        name: "tcp-out-until-eagain",
        breaks: "poll-tcp-out-hysteresis",
        behaviour: "A TCP socket has OUT as long as send would take a byte, as people expect.",
        kernel: &OutUntilEagain(AF_INET),
    },
    Mutant {
        name: "unix-out-until-eagain",
        breaks: "poll-unix-out-quarter-rule",
        behaviour: "An AF_UNIX stream has OUT as long as send would take a byte, as people expect.",
        kernel: &OutUntilEagain(AF_UNIX),
    },
];

struct EventfdAlwaysWritable;

static EVENTFD: Marked = Marked::new();

impl Kernel for EventfdAlwaysWritable {
    fn eventfd(&self, value: u32, flags: i32) -> Reply<i32> {
        let fd = raw::eventfd(value, flags)?;
        EVENTFD.add(fd);
        Ok(fd)
    }

    fn poll(&self, fds: At<'_, pollfd>, timeout: i32) -> Reply<usize> {
        poll_changed(fds, timeout, |one| {
            one.revents | if EVENTFD.has(one.fd) { asked(one, POLLOUT) } else { 0 }
        })
    }
}

struct TimerfdKeepsExpiry;

/// Timers that were set again after they had expired.
static EXPIRED: Marked = Marked::new();

impl Kernel for TimerfdKeepsExpiry {
    fn timerfd_settime(&self, fd: i32, first_ns: i64, period_ns: i64) -> Reply<()> {
        let mut one = pollfd { fd, events: POLLIN, revents: 0 };
        if raw::poll(At::from(&mut one), 0)? == 1 {
            EXPIRED.add(fd);
        }
        raw::timerfd_settime(fd, first_ns, period_ns)
    }

    fn poll(&self, fds: At<'_, pollfd>, timeout: i32) -> Reply<usize> {
        poll_changed(fds, timeout, |one| {
            one.revents | if EXPIRED.has(one.fd) { asked(one, POLLIN) } else { 0 }
        })
    }
}

struct SignalfdIsMakers;

static SIGNALFD: AtomicI32 = AtomicI32::new(-1);
static MAKER: AtomicI32 = AtomicI32::new(0);

impl Kernel for SignalfdIsMakers {
    fn signalfd(&self, fd: i32, signals: u64, flags: i32) -> Reply<i32> {
        let fd = raw::signalfd(fd, signals, flags)?;
        SIGNALFD.store(fd, SeqCst);
        MAKER.store(std::process::id().cast_signed(), SeqCst);
        Ok(fd)
    }

    fn poll(&self, fds: At<'_, pollfd>, timeout: i32) -> Reply<usize> {
        poll_changed(fds, timeout, |one| {
            // What is pending in the maker is in its status; only that there is something matters.
            let elsewhere = std::process::id().cast_signed() != MAKER.load(SeqCst);
            let asks = elsewhere && one.fd == SIGNALFD.load(SeqCst);
            one.revents | if asks && pending_in(MAKER.load(SeqCst)) { asked(one, POLLIN) } else { 0 }
        })
    }
}

/// Whether a signal is pending in that process: proc_pid_status(5).
fn pending_in(pid: i32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let pending = status.lines().filter_map(|line| {
        line.strip_prefix("ShdPnd:").or_else(|| line.strip_prefix("SigPnd:")).map(str::trim)
    });
    pending.filter_map(|set| u64::from_str_radix(set, 16).ok()).any(|set| set != 0)
}

struct PidfdNoHup;

static PIDFD: Marked = Marked::new();

impl Kernel for PidfdNoHup {
    fn pidfd_open(&self, pid: i32, flags: u32) -> Reply<i32> {
        let fd = raw::pidfd_open(pid, flags)?;
        PIDFD.add(fd);
        Ok(fd)
    }

    fn poll(&self, fds: At<'_, pollfd>, timeout: i32) -> Reply<usize> {
        poll_changed(fds, timeout, |one| one.revents & if PIDFD.has(one.fd) { !POLLHUP } else { !0 })
    }
}

struct PtyEndIsReadable;

impl Kernel for PtyEndIsReadable {
    fn poll(&self, fds: At<'_, pollfd>, timeout: i32) -> Reply<usize> {
        poll_changed(fds, timeout, |one| {
            let end = one.revents & POLLHUP != 0 && raw::ioctl(one.fd, libc::TIOCGPTN, &mut 0).is_ok();
            one.revents | if end { asked(one, POLLIN) } else { 0 }
        })
    }
}

struct PollAnswersForTheFile;

impl Kernel for PollAnswersForTheFile {
    fn poll(&self, fds: At<'_, pollfd>, timeout: i32) -> Reply<usize> {
        // A file that the numbers cannot lose, for as long as the call takes.
        let At::Memory(entries) = fds else { return raw::poll(fds, timeout) };
        let kept: Vec<_> = entries.iter().map(|one| raw::dup(one.fd).unwrap_or(one.fd)).collect();
        let mut through = entries.to_vec();
        for (one, fd) in through.iter_mut().zip(&kept) {
            one.fd = *fd;
        }
        let ready = raw::poll(At::from(through.as_mut_slice()), timeout);
        for (one, other) in entries.iter_mut().zip(&through) {
            one.revents = other.revents;
            if one.fd != other.fd {
                raw::close(other.fd)?;
            }
        }
        ready
    }
}

/// Of sockets of this family.
struct OutUntilEagain(i32);

/// Sockets whose last send gave EAGAIN.
static FULL: Marked = Marked::new();

impl Kernel for OutUntilEagain {
    fn send(&self, fd: i32, bytes: &[u8], flags: i32) -> Reply<usize> {
        let sent = raw::send(fd, bytes, flags);
        FULL.remove(fd);
        if sent == no(Errno::EAGAIN) {
            FULL.add(fd);
        }
        sent
    }

    fn poll(&self, fds: At<'_, pollfd>, timeout: i32) -> Reply<usize> {
        poll_changed(fds, timeout, |one| {
            let open = is_socket(one.fd, self.0, SOCK_STREAM) && raw::getpeername(one.fd).is_ok();
            one.revents | if open && !FULL.has(one.fd) { asked(one, POLLOUT) } else { 0 }
        })
    }
}
