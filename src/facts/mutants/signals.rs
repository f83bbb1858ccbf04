//! Kernels that break a fact of `facts/signals/`.

use super::kinds::*;
use crate::sys::raw::{Action, bit};
use libc::{MSG_NOSIGNAL, POLLHUP, POLLIN, SIG_BLOCK, SIG_SETMASK, SIG_UNBLOCK, SIGCHLD, SIGPIPE, SIGUSR1};
use std::sync::atomic::AtomicU64;

pub(super) const MUTANTS: &[Mutant] = &[
    Mutant {
        name: "eintr-retried",
        breaks: "sig-restart-matrix",
        behaviour: "read never gives EINTR: it is retried inside, as runtimes of languages do it.",
        kernel: &instead::read(|fd, buffer| {
            loop {
                match raw::read(fd, buffer) {
                    Err(refusal) if refusal.errno == Errno::EINTR => {}
                    read => return read,
                }
            }
        }),
    },
    Mutant {
        name: "ignored-children-are-zombies",
        breaks: "sig-sigchld-ign-autoreaps",
        behaviour: "waitpid brings the status of a child though SIGCHLD is ignored, as old BSDs had it and \
                    as people expect who ignore it because they wait anyway.",
        kernel: &instead::sigaction(|signal, action, flags| {
            let ignored_child = signal == SIGCHLD && action == Action::Ignore;
            raw::sigaction(signal, if ignored_child { Action::Default } else { action }, flags)
        }),
    },
    Mutant {
        name: "no-zombies",
        breaks: "sig-sigchld-default-keeps-zombie",
        behaviour: "A child that has ended is gone, and kill does not find it, as people expect who ask with \
                    kill whether a child lives.",
        kernel: &instead::kill(
            |pid, signal| if is_zombie(pid) { no(Errno::ESRCH) } else { raw::kill(pid, signal) },
        ),
    },
    Mutant {
        name: "sigchld-for-each",
        breaks: "sig-sigchld-coalesces",
        behaviour: "SIGCHLD queues: the handler runs once for each child, as people expect.",
        kernel: &Table {
            waitid: |pid, options| {
                raw::waitid(pid, options)?;
                ENDED.fetch_add(1, SeqCst);
                Ok(())
            },
            sigprocmask: |how, signals| {
                let pending = raw::sigpending()? & bit(SIGCHLD) != 0;
                let old = raw::sigprocmask(how, signals)?;
                if pending && how == SIG_UNBLOCK && signals & bit(SIGCHLD) != 0 {
                    (1..ENDED.load(SeqCst)).try_for_each(|_| raw::kill(me(), SIGCHLD))?;
                }
                Ok(old)
            },
            ..Table::LINUX
        },
    },
    Mutant {
        name: "fork-copies-pending",
        breaks: "sig-fork-mask-not-pending",
        behaviour: "A forked child has its parent's pending signals, as it has its mask.",
        kernel: &Table {
            kill: |pid, signal| {
                raw::kill(pid, signal)?;
                SENT.fetch_or(bit(signal), SeqCst);
                Ok(())
            },
            sigpending: || Ok(raw::sigpending()? | SENT.load(SeqCst) & raw::sigprocmask(SIG_BLOCK, 0)?),
            ..Table::LINUX
        },
    },
    Mutant {
        name: "exec-ignores-handled",
        breaks: "sig-exec-ignored-stays",
        behaviour: "A signal with a handler is ignored after execve, instead of at its default.",
        kernel: &instead::sigaction(|signal, action, flags| {
            raw::sigaction(signal, if action == Action::Count { Action::Ignore } else { action }, flags)
        }),
    },
    Mutant {
        name: "killed-is-exit-128",
        breaks: "sig-exit-status-8-bits",
        behaviour: "A child that was killed is seen as one that exited with 128 and the signal's number, as shells tell it.",
        kernel: &instead::waitpid(|pid, options| {
            let (pid, status) = raw::waitpid(pid, options)?;
            let killed = pid != 0 && libc::WIFSIGNALED(status);
            Ok((pid, if killed { (128 + libc::WTERMSIG(status)) << 8 } else { status }))
        }),
    },
    Mutant {
        name: "real-time-coalesces",
        breaks: "sig-rt-queue-order",
        behaviour: "A real-time signal that is pending already is not queued again, as a standard one is not.",
        kernel: &instead::sigqueue(|pid, signal, value| {
            if raw::sigpending()? & bit(signal) != 0 { Ok(()) } else { raw::sigqueue(pid, signal, value) }
        }),
    },
    Mutant {
        name: "nosignal-ignored",
        breaks: "sig-sigpipe-rules",
        behaviour: "MSG_NOSIGNAL does nothing, as on systems that have SO_NOSIGPIPE instead.",
        kernel: &instead::send(|fd, bytes, flags| raw::send(fd, bytes, flags & !MSG_NOSIGNAL)),
    },
    Mutant {
        name: "sigpipe-on-econnreset",
        breaks: "sig-no-sigpipe-on-econnreset",
        behaviour: "A send that fails with ECONNRESET raises SIGPIPE too, as people expect of every broken connection.",
        kernel: &instead::send(|fd, bytes, flags| {
            let sent = raw::send(fd, bytes, flags);
            if sent == no(Errno::ECONNRESET) && flags & MSG_NOSIGNAL == 0 {
                raw::kill(me(), SIGPIPE)?;
            }
            sent
        }),
    },
    Mutant {
        name: "kill-means-main-thread",
        breaks: "sig-process-signal-one-thread",
        behaviour: "A signal to the process is one to its first thread, blocked there or not, as with \
                    LinuxThreads, before Linux 2.6.",
        kernel: &instead::kill(
            |pid, signal| {
                if pid == me() { raw::tgkill(pid, signal) } else { raw::kill(pid, signal) }
            },
        ),
    },
    Mutant {
        name: "signalfd-keeps-signal",
        breaks: "sig-signalfd-consumes",
        behaviour: "read of a signalfd tells of the signal and leaves it pending, so that the handler runs \
                    all the same: a signalfd of its kind is a view, as kqueue's EVFILT_SIGNAL is.",
        kernel: &Table {
            read: |fd, buffer| {
                let n = raw::read(fd, buffer)?;
                if is_marked(fd) {
                    let signal = i32::from_ne_bytes([buffer[0], buffer[1], buffer[2], buffer[3]]);
                    raw::kill(me(), signal)?;
                }
                Ok(n)
            },
            ..MARKS_SIGNALFDS
        },
    },
    Mutant {
        name: "signalfd-follows-reader",
        breaks: "sig-signalfd-epoll-registrar",
        behaviour: "epoll_wait finds the signals of the process that calls it, as read and poll of a signalfd do.",
        kernel: &Table {
            epoll_ctl: |epoll, op, fd, event| CtlCall { epoll, op, fd, event }.remembered(),
            epoll_wait: |epoll, events, max, timeout| {
                let readable = |epoll: i32, events: &mut Vec<epoll_event>| {
                    let entries = entries();
                    let signalfd = |entry: &&CtlCall| entry.epoll == epoll && is_marked(entry.fd);
                    let its = entries.iter().find(signalfd).filter(|_| events.is_empty());
                    let its = its.filter(|entry| polled(entry.fd, POLLIN, 0) != 0);
                    events.extend(its.map(|entry| epoll_event { events: POLLIN as u32, u64: entry.data() }));
                };
                Waited(readable).epoll_wait(epoll, events, max, timeout)
            },
            ..MARKS_SIGNALFDS
        },
    },
    Mutant {
        name: "signalfd-sees-unblocked",
        breaks: "sig-signalfd-needs-blocking",
        behaviour: "A signalfd is told of a signal that is not blocked too, besides the handler, as kqueue's EVFILT_SIGNAL is.",
        kernel: &Table {
            kill: |pid, signal| {
                raw::kill(pid, signal)?;
                if !marked().is_empty() {
                    // Once more, for the signalfd: pending, and out of the handler's reach.
                    let old = raw::sigprocmask(SIG_BLOCK, bit(signal))?;
                    if old & bit(signal) != 0 {
                        return raw::sigprocmask(SIG_SETMASK, old).map(drop);
                    }
                    raw::kill(pid, signal)?;
                }
                Ok(())
            },
            ..MARKS_SIGNALFDS
        },
    },
    Mutant {
        name: "eintr-before-handler",
        breaks: "sig-handler-before-eintr",
        behaviour: "poll gives EINTR while the handler has yet to run.",
        kernel: &instead::poll(|fds, timeout| {
            let fds: &mut [pollfd] = match fds {
                At::Memory(fds) => fds,
                At::Nowhere(_, 0) => &mut [],
                nowhere => return raw::poll(nowhere, timeout),
            };
            // A signal that is blocked and waited for has come, and has not been handled.
            raw::sigprocmask(SIG_BLOCK, bit(SIGUSR1))?;
            let signals = raw::signalfd(-1, bit(SIGUSR1), libc::SFD_CLOEXEC)?;
            let mut all = fds.to_vec();
            all.push(pollfd { fd: signals, events: POLLIN, revents: 0 });
            let ready = raw::poll(At::from(all.as_mut_slice()), timeout)?;
            if all[fds.len()].revents != 0 {
                return no(Errno::EINTR);
            }
            fds.copy_from_slice(&all[..fds.len()]);
            Ok(ready)
        }),
    },
    Mutant {
        name: "pipe-eof-by-process",
        breaks: "sig-pipe-eof-needs-all-writers",
        behaviour: "A pipe is at its end when this process has closed its writing end, as one is led to believe.",
        kernel: &Table {
            close: |fd| {
                locked(&CLOSED).push(link_of(fd));
                raw::close(fd)
            },
            poll: |fds, timeout| {
                let is_over = |one: &pollfd| {
                    let link = link_of(one.fd);
                    one.revents == 0 && link.starts_with("pipe:") && locked(&CLOSED).contains(&link)
                };
                Gains(POLLHUP, is_over).poll(fds, timeout)
            },
            ..Table::LINUX
        },
    },
    Mutant {
        name: "sendfile-without-sigpipe",
        breaks: "sig-sendfile-sigpipe",
        behaviour: "sendfile raises no SIGPIPE, as if it had MSG_NOSIGNAL.",
        kernel: &instead::sendfile(|to, from, offset, n| {
            let ignored = raw::sigaction(SIGPIPE, Action::Ignore, 0);
            let sent = raw::sendfile(to, from, offset, n);
            ignored.and_then(|()| raw::sigaction(SIGPIPE, Action::Count, 0))?;
            sent
        }),
    },
    Mutant {
        name: "pidfd-nonblock-ignored",
        breaks: "sig-pidfd-nonblock",
        behaviour: "waitid for a pidfd is a look: it gives 0 though no child has ended, as with WNOHANG.",
        kernel: &instead::waitid_pidfd(|pidfd, options| raw::waitid_pidfd(pidfd, options | libc::WNOHANG)),
    },
];

fn is_zombie(pid: i32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| stat.contains(") Z "))
}

/// How often waitid has seen a child end.
static ENDED: AtomicU64 = AtomicU64::new(0);

/// What was sent; a forked child has a copy of it.
static SENT: AtomicU64 = AtomicU64::new(0);

/// The pipes of which an end was closed, as /proc names them.
static CLOSED: Mutex<Vec<String>> = Mutex::new(Vec::new());

const MARKS_SIGNALFDS: Table = Table {
    signalfd: |fd, signals, flags| raw::signalfd(fd, signals, flags).inspect(|fd| mark(*fd)),
    ..Table::LINUX
};
