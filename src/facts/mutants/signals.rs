//! Kernels that break a fact of `facts/signals/`.

use super::super::kernel::Kernel;
use super::Mutant;
use super::kinds::{Kill, Read, Send, Sendfile, Sigaction, Sigqueue, WaitidPidfd, Waitpid};
use crate::sys::Errno;
use crate::sys::raw::{self, Action, At, Refusal, Reply, bit, no};
use libc::{
    MSG_NOSIGNAL, SIG_BLOCK, SIG_SETMASK, SIG_UNBLOCK, SIGCHLD, SIGPIPE, SIGUSR1, epoll_event, pollfd,
};
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering::SeqCst};

pub(super) const MUTANTS: &[Mutant] = &[
    Mutant {
        name: "eintr-retried",
        breaks: "sig-restart-matrix",
        behaviour: "read never gives EINTR: it is retried inside, as runtimes of languages do it.",
        kernel: &Read(|fd, buffer| {
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
        kernel: &Sigaction(|signal, action, flags| {
            let ignored_child = signal == SIGCHLD && action == Action::Ignore;
            raw::sigaction(signal, if ignored_child { Action::Default } else { action }, flags)
        }),
    },
    Mutant {
        name: "no-zombies",
        breaks: "sig-sigchld-default-keeps-zombie",
        behaviour: "A child that has ended is gone, and kill does not find it, as people expect who ask with \
                    kill whether a child lives.",
        kernel: &Kill(|pid, signal| if is_zombie(pid) { no(Errno::ESRCH) } else { raw::kill(pid, signal) }),
    },
    Mutant {
        name: "sigchld-for-each",
        breaks: "sig-sigchld-coalesces",
        behaviour: "SIGCHLD queues: the handler runs once for each child, as people expect.",
        kernel: &SigchldForEach,
    },
    Mutant {
        name: "fork-copies-pending",
        breaks: "sig-fork-mask-not-pending",
        behaviour: "A forked child has its parent's pending signals, as it has its mask.",
        kernel: &ForkCopiesPending,
    },
    Mutant {
        name: "exec-ignores-handled",
        breaks: "sig-exec-ignored-stays",
        behaviour: "A signal with a handler is ignored after execve, instead of at its default.",
        kernel: &Sigaction(|signal, action, flags| {
            raw::sigaction(signal, if action == Action::Count { Action::Ignore } else { action }, flags)
        }),
    },
    Mutant {
        name: "killed-is-exit-128",
        breaks: "sig-exit-status-8-bits",
        behaviour: "A child that was killed is seen as one that exited with 128 and the signal's number, as shells tell it.",
        kernel: &Waitpid(|pid, options| {
            let (pid, status) = raw::waitpid(pid, options)?;
            let killed = pid != 0 && libc::WIFSIGNALED(status);
            Ok((pid, if killed { (128 + libc::WTERMSIG(status)) << 8 } else { status }))
        }),
    },
    Mutant {
        name: "real-time-coalesces",
        breaks: "sig-rt-queue-order",
        behaviour: "A real-time signal that is pending already is not queued again, as a standard one is not.",
        kernel: &Sigqueue(|pid, signal, value| {
            if raw::sigpending()? & bit(signal) != 0 { Ok(()) } else { raw::sigqueue(pid, signal, value) }
        }),
    },
    Mutant {
        name: "nosignal-ignored",
        breaks: "sig-sigpipe-rules",
        behaviour: "MSG_NOSIGNAL does nothing, as on systems that have SO_NOSIGPIPE instead.",
        kernel: &Send(|fd, bytes, flags| raw::send(fd, bytes, flags & !MSG_NOSIGNAL)),
    },
    Mutant {
        name: "sigpipe-on-econnreset",
        breaks: "sig-no-sigpipe-on-econnreset",
        behaviour: "A send that fails with ECONNRESET raises SIGPIPE too, as people expect of every broken connection.",
        kernel: &Send(|fd, bytes, flags| {
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
        kernel: &Kill(
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
        kernel: &SignalfdKeepsSignal,
    },
    Mutant {
        name: "signalfd-follows-reader",
        breaks: "sig-signalfd-epoll-registrar",
        behaviour: "epoll_wait finds the signals of the process that calls it, as read and poll of a signalfd do.",
        kernel: &SignalfdFollowsReader,
    },
    Mutant {
        name: "signalfd-sees-unblocked",
        breaks: "sig-signalfd-needs-blocking",
        behaviour: "A signalfd is told of a signal that is not blocked too, besides the handler, as kqueue's EVFILT_SIGNAL is.",
        kernel: &SignalfdSeesUnblocked,
    },
    Mutant {
        name: "eintr-before-handler",
        breaks: "sig-handler-before-eintr",
        behaviour: "poll gives EINTR while the handler has yet to run.",
        kernel: &EintrBeforeHandler,
    },
    Mutant {
        name: "pipe-eof-by-process",
        breaks: "sig-pipe-eof-needs-all-writers",
        behaviour: "A pipe is at its end when this process has closed its writing end, as one is led to believe.",
        kernel: &PipeEofByProcess,
    },
    Mutant {
        name: "sendfile-without-sigpipe",
        breaks: "sig-sendfile-sigpipe",
        behaviour: "sendfile raises no SIGPIPE, as if it had MSG_NOSIGNAL.",
        kernel: &Sendfile(|to, from, offset, n| {
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
        kernel: &WaitidPidfd(|pidfd, options| raw::waitid_pidfd(pidfd, options | libc::WNOHANG)),
    },
];

fn me() -> i32 {
    std::process::id().cast_signed()
}

fn is_zombie(pid: i32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| stat.contains(") Z "))
}

struct SigchldForEach;

/// How often waitid has seen a child end.
static ENDED: AtomicU64 = AtomicU64::new(0);

impl Kernel for SigchldForEach {
    fn waitid(&self, pid: i32, options: i32) -> Reply<()> {
        raw::waitid(pid, options)?;
        ENDED.fetch_add(1, SeqCst);
        Ok(())
    }

    fn sigprocmask(&self, how: i32, signals: u64) -> Reply<u64> {
        let pending = raw::sigpending()? & bit(SIGCHLD) != 0;
        let old = raw::sigprocmask(how, signals)?;
        if pending && how == SIG_UNBLOCK && signals & bit(SIGCHLD) != 0 {
            for _ in 1..ENDED.load(SeqCst) {
                raw::kill(me(), SIGCHLD)?;
            }
        }
        Ok(old)
    }
}

struct ForkCopiesPending;

/// What was sent; a forked child has a copy of it.
static SENT: AtomicU64 = AtomicU64::new(0);

impl Kernel for ForkCopiesPending {
    fn kill(&self, pid: i32, signal: i32) -> Reply<()> {
        raw::kill(pid, signal)?;
        SENT.fetch_or(bit(signal), SeqCst);
        Ok(())
    }

    fn sigpending(&self) -> Reply<u64> {
        Ok(raw::sigpending()? | SENT.load(SeqCst) & raw::sigprocmask(libc::SIG_BLOCK, 0)?)
    }
}

struct SignalfdKeepsSignal;

/// The signalfd of the process.
static SIGNALFD: AtomicI32 = AtomicI32::new(-1);

impl Kernel for SignalfdKeepsSignal {
    fn signalfd(&self, fd: i32, signals: u64, flags: i32) -> Reply<i32> {
        let fd = raw::signalfd(fd, signals, flags)?;
        SIGNALFD.store(fd, SeqCst);
        Ok(fd)
    }

    fn read(&self, fd: i32, buffer: &mut [u8]) -> Reply<usize> {
        let n = raw::read(fd, buffer)?;
        if fd == SIGNALFD.load(SeqCst) {
            let signal = i32::from_ne_bytes([buffer[0], buffer[1], buffer[2], buffer[3]]);
            raw::kill(me(), signal)?;
        }
        Ok(n)
    }
}

struct SignalfdFollowsReader;

/// The last entry that was added: the instance, the descriptor, its data.
static ADDED: Mutex<Option<(i32, i32, u64)>> = Mutex::new(None);

impl Kernel for SignalfdFollowsReader {
    fn signalfd(&self, fd: i32, signals: u64, flags: i32) -> Reply<i32> {
        SignalfdKeepsSignal.signalfd(fd, signals, flags)
    }

    fn epoll_ctl(&self, epoll: i32, op: i32, fd: i32, event: Option<epoll_event>) -> Reply<()> {
        if let Some(event) = event
            && fd == SIGNALFD.load(SeqCst)
        {
            *ADDED.lock().unwrap_or_else(PoisonError::into_inner) = Some((epoll, fd, event.u64));
        }
        raw::epoll_ctl(epoll, op, fd, event)
    }

    fn epoll_wait(
        &self,
        epoll: i32,
        mut events: At<'_, epoll_event>,
        max_events: i32,
        timeout: i32,
    ) -> Reply<usize> {
        let ready = raw::epoll_wait(epoll, events.again(), max_events, timeout)?;
        let added = *ADDED.lock().unwrap_or_else(PoisonError::into_inner);
        if ready == 0
            && let (Some((instance, fd, data)), At::Memory(events)) = (added, events)
            && instance == epoll
        {
            let mut entry = pollfd { fd, events: libc::POLLIN, revents: 0 };
            if raw::poll(At::from(&mut entry), 0)? == 1 {
                events[0] = epoll_event { events: libc::EPOLLIN as u32, u64: data };
                return Ok(1);
            }
        }
        Ok(ready)
    }
}

struct SignalfdSeesUnblocked;

impl Kernel for SignalfdSeesUnblocked {
    fn signalfd(&self, fd: i32, signals: u64, flags: i32) -> Reply<i32> {
        SignalfdKeepsSignal.signalfd(fd, signals, flags)
    }

    fn kill(&self, pid: i32, signal: i32) -> Reply<()> {
        raw::kill(pid, signal)?;
        if SIGNALFD.load(SeqCst) != -1 {
            // Once more, for the signalfd: pending, and out of the handler's reach.
            let old = raw::sigprocmask(libc::SIG_BLOCK, bit(signal))?;
            if old & bit(signal) != 0 {
                return raw::sigprocmask(SIG_SETMASK, old).map(drop);
            }
            raw::kill(pid, signal)?;
        }
        Ok(())
    }
}

struct EintrBeforeHandler;

impl Kernel for EintrBeforeHandler {
    fn poll(&self, fds: At<'_, pollfd>, timeout: i32) -> Reply<usize> {
        let fds: &mut [pollfd] = match fds {
            At::Memory(fds) => fds,
            At::Nowhere(_, 0) => &mut [],
            nowhere => return raw::poll(nowhere, timeout),
        };
        // A signal that is blocked and waited for has come, and has not been handled.
        raw::sigprocmask(SIG_BLOCK, bit(SIGUSR1))?;
        let signals = raw::signalfd(-1, bit(SIGUSR1), libc::SFD_CLOEXEC)?;
        let mut all = fds.to_vec();
        all.push(pollfd { fd: signals, events: libc::POLLIN, revents: 0 });
        let ready = raw::poll(At::from(all.as_mut_slice()), timeout)?;
        if all[fds.len()].revents != 0 {
            return Err(Refusal { call: "poll", errno: Errno::EINTR });
        }
        fds.copy_from_slice(&all[..fds.len()]);
        Ok(ready)
    }
}

/// Of the pipes of which an end was closed.
static CLOSED: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

fn pipe_of(fd: i32) -> Option<PathBuf> {
    let link = std::fs::read_link(format!("/proc/self/fd/{fd}")).ok()?;
    link.to_string_lossy().starts_with("pipe:").then_some(link)
}

struct PipeEofByProcess;

impl Kernel for PipeEofByProcess {
    fn close(&self, fd: i32) -> Reply<()> {
        if let (Some(pipe), Ok(mut closed)) = (pipe_of(fd), CLOSED.lock()) {
            closed.push(pipe);
        }
        raw::close(fd)
    }

    fn poll(&self, mut fds: At<'_, pollfd>, timeout: i32) -> Reply<usize> {
        let ready = raw::poll(fds.again(), timeout)?;
        let (At::Memory(fds), Ok(closed)) = (fds, CLOSED.lock()) else { return Ok(ready) };
        let over = |one: &&mut pollfd| {
            one.revents == 0 && pipe_of(one.fd).is_some_and(|pipe| closed.contains(&pipe))
        };
        Ok(ready + fds.iter_mut().filter(over).map(|one| one.revents = libc::POLLHUP).count())
    }
}
