//! Kernels that break a fact of `facts/poll/` about special descriptors, or about how full is full.

use super::super::kernel::Kernel;
use super::Mutant;
use super::kinds::{Changed, OptionIgnored, Poll};
use super::poll_sockets::{asked, int_option, is_socket};
use crate::sys::raw::{self, At, Reply};
use libc::{AF_INET, AF_UNIX, POLLHUP, POLLIN, POLLOUT, SOCK_STREAM, SOL_SOCKET, pollfd};
use std::sync::atomic::{AtomicI32, Ordering::SeqCst};

pub(super) const MUTANTS: &[Mutant] = &[
    Mutant {
        name: "eventfd-always-writable",
        breaks: "poll-eventfd-mask",
        behaviour: "An eventfd always has OUT, also where every write would give EAGAIN.",
        kernel: &Changed(|one| {
            one.revents |= if is_called(one.fd, "eventfd") { asked(one, POLLOUT) } else { 0 };
        }),
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
        kernel: &Changed(|one| one.revents &= if is_called(one.fd, "pidfd") { !POLLHUP } else { !0 }),
    },
    Mutant {
        name: "pty-end-is-readable",
        breaks: "poll-pty-hup",
        behaviour: "The master of a pseudoterminal has IN with HUP when the slave is closed, as sockets have.",
        kernel: &Changed(|one| {
            let end = one.revents & POLLHUP != 0 && raw::ioctl(one.fd, libc::TIOCGPTN, &mut 0).is_ok();
            one.revents |= if end { asked(one, POLLIN) } else { 0 };
        }),
    },
    Mutant {
        name: "poll-answers-for-the-file",
        breaks: "poll-close-other-thread-nval",
        behaviour: "poll that sleeps answers for the file that it began with, not for what its number means now.",
        kernel: &Poll(|fds, timeout| {
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
        }),
    },
    Mutant {
        name: "poll-adds-rdnorm",
        breaks: "poll-rdnorm-not-everywhere",
        behaviour: "RDNORM and WRNORM are told with every IN and OUT that were asked for by these names, as StarryOS had it.",
        kernel: &Changed(|one| {
            let mut plain = pollfd { events: POLLIN | POLLOUT, ..*one };
            if raw::poll(At::from(&mut plain), 0).is_ok() {
                let also = |bit, norm| if plain.revents & bit != 0 { asked(one, norm) } else { 0 };
                one.revents |= also(POLLIN, libc::POLLRDNORM) | also(POLLOUT, libc::POLLWRNORM);
            }
        }),
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
        kernel: &Changed(|one| out_until_eagain(one, AF_INET)),
    },
    Mutant {
        name: "unix-out-until-eagain",
        breaks: "poll-unix-out-quarter-rule",
        behaviour: "An AF_UNIX stream has OUT as long as send would take a byte, as people expect.",
        kernel: &Changed(|one| out_until_eagain(one, AF_UNIX)),
    },
];

struct TimerfdKeepsExpiry;

impl Kernel for TimerfdKeepsExpiry {
    fn timerfd_settime(&self, fd: i32, first_ns: i64, period_ns: i64) -> Reply<()> {
        let mut one = pollfd { fd, events: POLLIN, revents: 0 };
        if raw::poll(At::from(&mut one), 0)? == 1 {
            Ok(())
        } else {
            raw::timerfd_settime(fd, first_ns, period_ns)
        }
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
        Changed(|one| {
            // What is pending in the maker is in its status; only that there is something matters.
            let elsewhere = std::process::id().cast_signed() != MAKER.load(SeqCst);
            let asks = elsewhere && one.fd == SIGNALFD.load(SeqCst);
            one.revents |= if asks && pending_in(MAKER.load(SeqCst)) { asked(one, POLLIN) } else { 0 };
        })
        .poll(fds, timeout)
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

/// OUT while there are fewer bytes in the buffer of a connected socket of this family than fit.
fn out_until_eagain(one: &mut pollfd, domain: i32) {
    let (mut used, size) = (0, int_option(one.fd, libc::SO_SNDBUF));
    let open = is_socket(one.fd, domain, SOCK_STREAM) && raw::getpeername(one.fd).is_ok();
    if open && raw::ioctl(one.fd, libc::TIOCOUTQ, &mut used).is_ok() && size.is_ok_and(|size| used < size) {
        one.revents |= asked(one, POLLOUT);
    }
}

/// Whether what /proc calls a descriptor has this in it, as in `anon_inode:[eventfd]`.
fn is_called(fd: i32, name: &str) -> bool {
    let link = std::fs::read_link(format!("/proc/self/fd/{fd}"));
    link.is_ok_and(|link| link.to_string_lossy().contains(name))
}
