//! Kernels that break a fact of `facts/poll/` about special descriptors, or about how full is full.

use super::kinds::*;
use libc::{AF_INET, AF_UNIX, POLLHUP, POLLIN, POLLOUT, SOCK_STREAM, SOL_SOCKET};

pub(super) const MUTANTS: &[Mutant] = &[
    Mutant {
        name: "eventfd-always-writable",
        breaks: "poll-eventfd-mask",
        behaviour: "An eventfd always has OUT, also where every write would give EAGAIN.",
        kernel: &Gains(POLLOUT, |one| link_of(one.fd).contains("eventfd")),
    },
    Mutant {
        name: "timerfd-keeps-expiry",
        breaks: "poll-timerfd-rearm-clears",
        behaviour: "An expiry stays until it is read, whatever time is set, as people expect of an event.",
        kernel: &instead::timerfd_settime(|fd, first_ns, period_ns| match polled(fd, POLLIN, 0) {
            0 => raw::timerfd_settime(fd, first_ns, period_ns),
            _ => Ok(()),
        }),
    },
    Mutant {
        name: "signalfd-is-makers",
        breaks: "poll-signalfd-is-callers",
        behaviour: "poll of a signalfd answers for the process that made it, as for any other descriptor.",
        kernel: &Table {
            signalfd: |fd, signals, flags| {
                MAKER.store(me(), SeqCst);
                raw::signalfd(fd, signals, flags).inspect(|fd| mark(*fd))
            },
            poll: |fds, timeout| {
                let is_makers = |one: &pollfd| {
                    // What is pending in the maker is in its status; only that there is something matters.
                    let maker = MAKER.load(SeqCst);
                    maker != me() && is_marked(one.fd) && pending_in(maker)
                };
                Gains(POLLIN, is_makers).poll(fds, timeout)
            },
            ..Table::LINUX
        },
    },
    Mutant {
        name: "pidfd-no-hup",
        breaks: "poll-pidfd-exit-then-hup",
        behaviour: "A pidfd has IN and no HUP once its process was waited for, as before Linux 6.9.",
        kernel: &Loses(POLLHUP, |one| link_of(one.fd).contains("pidfd")),
    },
    Mutant {
        name: "pty-end-is-readable",
        breaks: "poll-pty-hup",
        behaviour: "The master of a pseudoterminal has IN with HUP when the slave is closed, as sockets have.",
        kernel: &Gains(POLLIN, |one| {
            one.revents & POLLHUP != 0 && raw::ioctl(one.fd, libc::TIOCGPTN, &mut 0).is_ok()
        }),
    },
    Mutant {
        name: "poll-answers-for-the-file",
        breaks: "poll-close-other-thread-nval",
        behaviour: "poll that sleeps answers for the file that it began with, not for what its number means now.",
        kernel: &instead::poll(|fds, timeout| {
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
            let plain = polled(one.fd, POLLIN | POLLOUT, 0);
            let also = |bit, norm| if plain & bit != 0 { asked(one, norm) } else { 0 };
            one.revents |= also(POLLIN, libc::POLLRDNORM) | also(POLLOUT, libc::POLLWRNORM);
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
        kernel: &Gains(POLLOUT, |one| has_room(one.fd, AF_INET)),
    },
    Mutant {
        name: "unix-out-until-eagain",
        breaks: "poll-unix-out-quarter-rule",
        behaviour: "An AF_UNIX stream has OUT as long as send would take a byte, as people expect.",
        kernel: &Gains(POLLOUT, |one| has_room(one.fd, AF_UNIX)),
    },
];

/// The process that made a signalfd.
static MAKER: AtomicI32 = AtomicI32::new(0);

/// Whether a signal is pending in that process: proc_pid_status(5).
fn pending_in(pid: i32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let pending = status.lines().filter_map(|line| {
        line.strip_prefix("ShdPnd:").or_else(|| line.strip_prefix("SigPnd:")).map(str::trim)
    });
    pending.filter_map(|set| u64::from_str_radix(set, 16).ok()).any(|set| set != 0)
}

/// Whether there are fewer bytes in the buffer of a connected socket of this family than fit.
fn has_room(fd: i32, domain: i32) -> bool {
    let (mut used, size) = (0, option(fd, SOL_SOCKET, libc::SO_SNDBUF));
    let open = is_socket(fd, domain, SOCK_STREAM) && raw::getpeername(fd).is_ok();
    open && raw::ioctl(fd, libc::TIOCOUTQ, &mut used).is_ok() && used < size
}
