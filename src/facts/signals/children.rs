//! Children: how they end, and what they inherit.

use super::interrupted::child_to_release;
use super::*;
use crate::sys::fork::exit_child;
use libc::{SA_NOCLDWAIT, SA_RESTART, SIGKILL, SIGTERM, WEXITED, WNOHANG, WNOWAIT};

pub(super) const FACTS: &[Fact] = &[
    Fact {
        id: "sig-sigchld-ign-autoreaps",
        claim: "While SIGCHLD is ignored, waitpid blocks until the child ends, and then fails with ECHILD. \
                SA_NOCLDWAIT with a handler does the same, but the handler runs, once.",
        reference: "wait(2) NOTES, sigaction(2) SA_NOCLDWAIT; do_notify_parent in kernel/signal.c",
        matters: "A process that inherits an ignored SIGCHLD loses the status of every child that it starts.",
        experiment: "A thread asleep in waitpid for a child that then ends, with SIG_IGN; the same with \
                     SA_NOCLDWAIT and a handler.",
        wrong: &[
            "Mimiker: https://github.com/cahirwpz/mimiker/pull/695",
            "util-linux: https://github.com/util-linux/util-linux/pull/4014",
            "gdnsd: https://github.com/gdnsd/gdnsd/pull/243",
            "Perl: https://github.com/Perl/perl5/issues/6898",
        ],
        run: |k| {
            let children = [child_to_release()?, child_to_release()?];
            let cases = [
                ("SIG_IGN", Action::Ignore, SA_RESTART),
                ("SA_NOCLDWAIT", Action::Count, SA_RESTART | SA_NOCLDWAIT),
            ];
            for ((child, release), (name, action, flags)) in children.iter().zip(cases) {
                k.sigaction(SIGCHLD, action, flags)?;
                let pid = child.pid;
                let waiter = Waiter::asleep(WAIT4, move || {
                    // The handler runs elsewhere, and does not interrupt this.
                    raw::sigprocmask(SIG_BLOCK, bit(SIGCHLD))?;
                    k.waitpid(pid, 0)
                })?;
                raw::write(*release, b"x")?;
                is(format!("waitpid, with {name}, of a child that ends"), waiter.join()?, no(Errno::ECHILD))?;
                // waitpid can be a little faster than the end of the child.
                until(&format!("with {name}, the child is gone"), || {
                    Ok((raw::kill(pid, 0) == no(Errno::ESRCH)).then_some(()))
                })?;
            }
            is("runs of the handler with SA_NOCLDWAIT", handled_soon(SIGCHLD, 1), 1)
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "sig-sigchld-default-keeps-zombie",
        claim: "With SIGCHLD at its default a child that has ended stays a zombie, to which kill with signal 0 succeeds, until \
                it is waited for. From then on kill fails with ESRCH and waitpid with ECHILD.",
        reference: "wait(2) NOTES, kill(2)",
        matters: "kill with 0 does not tell whether a child is alive. A server that never waits fills the table of processes.",
        experiment: "A child that ends; waitid with WNOWAIT until it has; kill with 0, waitpid, and both again.",
        run: |k| {
            let child = Forked::start(|| Ok(()))?;
            is("waitid with WEXITED and WNOWAIT", k.waitid(child.pid, WEXITED | WNOWAIT), Ok(()))?;
            noted(is("kill with 0 of a child that has ended", k.kill(child.pid, 0), Ok(())));
            is("waitpid", k.waitpid(child.pid, 0), Ok((child.pid, 0)))?;
            noted(is("kill with 0 after waitpid", k.kill(child.pid, 0), no(Errno::ESRCH)));
            is("waitpid again", k.waitpid(child.pid, 0), no(Errno::ECHILD))
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "sig-sigchld-coalesces",
        claim: "Five children that end while SIGCHLD is blocked give one run of the handler. A loop over \
                waitpid with WNOHANG gets all five, and then ECHILD.",
        reference: "signal(7), queueing and delivery semantics for standard signals; wait(2)",
        matters: "A handler that waits once for each signal leaves zombies behind under load.",
        experiment: "SIGCHLD blocked, five children, waitid with WNOWAIT for each, then SIGCHLD unblocked.",
        wrong: &[
            "systemd: https://github.com/systemd/systemd/pull/2961",
            "tcpdump: https://github.com/the-tcpdump-group/tcpdump/pull/972",
        ],
        run: |k| {
            k.sigaction(SIGCHLD, Action::Count, 0)?;
            k.sigprocmask(SIG_BLOCK, bit(SIGCHLD))?;
            let children = (0..5).map(|_| Forked::start(|| Ok(()))).collect::<Held<Vec<_>>>()?;
            for child in &children {
                k.waitid(child.pid, WEXITED | WNOWAIT)?;
            }
            k.sigprocmask(SIG_UNBLOCK, bit(SIGCHLD))?;
            noted(is("runs of the handler for five children", handled(SIGCHLD), 1));
            let mut reaped =
                (0..5).map(|_| k.waitpid(-1, WNOHANG).map(|(pid, _)| pid)).collect::<Reply<Vec<i32>>>()?;
            reaped.sort_unstable();
            let mut pids: Vec<i32> = children.iter().map(|child| child.pid).collect();
            pids.sort_unstable();
            is("children waited for in a loop", reaped, pids.clone())?;
            noted(is("kill with 0 of one of them", k.kill(pids[0], 0), no(Errno::ESRCH)));
            is("waitpid after all five", k.waitpid(-1, WNOHANG), no(Errno::ECHILD))
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "sig-fork-mask-not-pending",
        claim: "A forked child inherits the mask of blocked signals, but no pending signal and no interval timer.",
        reference: "fork(2)",
        matters: "A child started while signals are blocked goes through life with them blocked, deaf to SIGTERM.",
        experiment: "SIGUSR1 blocked and pending, an alarm set, fork; mask, pending signals and alarm in the \
                     child and in the parent.",
        run: |k| {
            k.sigprocmask(SIG_BLOCK, bit(SIGUSR1))?;
            k.kill(me(), SIGUSR1)?;
            raw::set_alarm(100_000)?;
            let child = Forked::start(|| {
                noted(is("blocked signals in the child", k.sigprocmask(SIG_BLOCK, 0), Ok(bit(SIGUSR1))));
                noted(is("pending signals in the child", k.sigpending(), Ok(0)));
                is("whether an alarm is set in the child", k.alarm_left().map(|ms| ms > 0), Ok(false))
            })?;
            noted(child.join());
            noted(is(
                "pending signals in the parent",
                k.sigpending().map(|all| all & bit(SIGUSR1)),
                Ok(bit(SIGUSR1)),
            ));
            is("whether an alarm is set in the parent", k.alarm_left().map(|ms| ms > 0), Ok(true))
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "sig-exec-ignored-stays",
        claim: "Across execve ignored signals stay ignored and the mask stays as it is; handlers become the default.",
        reference: "execve(2), signal(7); flush_signal_handlers in kernel/signal.c",
        matters: "A program started with SIGPIPE or SIGCHLD ignored behaves differently, and cannot see why.",
        experiment: "A child ignores SIGUSR1, has a handler for SIGUSR2, blocks SIGTERM, and becomes this \
                     program again, which looks at SigIgn, SigCgt and SigBlk in /proc/self/status.",
        wrong: &[
            "bspwm: https://github.com/baskerville/bspwm/pull/1534",
            "util-linux: https://github.com/util-linux/util-linux/pull/4014",
        ],
        run: |k| {
            Forked::exec("what-exec-keeps", &[], || {
                k.sigaction(SIGUSR1, Action::Ignore, 0)?;
                k.sigaction(SIGUSR2, Action::Count, 0)?;
                k.sigprocmask(SIG_BLOCK, bit(SIGTERM))?;
                Ok(())
            })?
            .join()
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "sig-pipe-eof-needs-all-writers",
        claim: "A pipe does not end for its reader while a forked process has a copy of the writing end; it \
                does when that process dies.",
        reference: "pipe(7), fork(2)",
        matters: "A program that reads the output of a child until its end waits for every grandchild that inherited it.",
        experiment: "A child that has the writing end too; the end closed here; poll and read; the child \
                     killed; poll and read again.",
        run: |k| {
            let [reader, writer] = k.pipe2(O_CLOEXEC)?;
            set_nonblocking(k, reader)?;
            let child = Forked::start(|| Ok(raw::pause()?))?;
            k.close(writer)?;
            noted(is("poll, while a child has the writing end", mask(k, reader), Ok(NONE)));
            noted(is("read, while a child has the writing end", k.read(reader, &mut [0]), no(Errno::EAGAIN)));
            k.kill(child.pid, SIGKILL)?;
            k.waitpid(child.pid, 0)?;
            noted(is("HUP, after the child died", mask(k, reader).map(|events| events.has(HUP)), Ok(true)));
            is("read, after the child died", k.read(reader, &mut [0]), Ok(0))
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "sig-exit-status-8-bits",
        claim: "exit with 263 is seen as 7 by wait. A child that a signal killed has WIFSIGNALED and the signal's number.",
        reference: "_exit(2), wait(2)",
        matters: "256 errors, returned as they are, mean success.",
        experiment: "A child that exits with 263, one that exits with 256, and one that is killed.",
        run: |k| {
            for (exit, expected) in [(263, 7), (256, 0)] {
                let child = Forked::start(|| exit_child(exit))?;
                let ended = k.waitpid(child.pid, 0).map(|(_, s)| (libc::WIFEXITED(s), libc::WEXITSTATUS(s)));
                noted(is(
                    format!("WIFEXITED and WEXITSTATUS after exit({exit})"),
                    ended,
                    Ok((true, expected)),
                ));
            }
            let child = Forked::start(|| Ok(raw::pause()?))?;
            k.kill(child.pid, SIGKILL)?;
            let killed = k.waitpid(child.pid, 0).map(|(_, s)| (libc::WIFSIGNALED(s), libc::WTERMSIG(s)));
            is("WIFSIGNALED and WTERMSIG of a child that was killed", killed, Ok((true, SIGKILL)))
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "sig-pidfd-nonblock",
        claim: "waitid for a non-blocking pidfd fails with EAGAIN while the child runs. pidfd_send_signal with 0 succeeds for a \
                zombie, and fails with ESRCH once it was waited for; waitid then fails with ECHILD.",
        reference: "pidfd_open(2) PIDFD_NONBLOCK, pidfd_send_signal(2); kernel_waitid in kernel/exit.c",
        since: Since(5, 10),
        matters: "An event loop can wait for a child that it started as for a socket. That a signal can be \
                  sent does not mean that the child lives.",
        experiment: "A child that sleeps, and a pidfd of it; waitid; SIGKILL through the pidfd; waitid and \
                     pidfd_send_signal before and after it was waited for.",
        run: |k| {
            let child = Forked::start(|| Ok(raw::pause()?))?;
            let pidfd = match k.pidfd_open(child.pid, libc::O_NONBLOCK.cast_unsigned()) {
                Err(refusal) if refusal.errno == Errno::EINVAL => {
                    return skip(Why::Missing, "pidfd_open does not know PIDFD_NONBLOCK here");
                }
                opened => opened?,
            };
            noted(is("waitid while the child runs", k.waitid_pidfd(pidfd, WEXITED), no(Errno::EAGAIN)));
            is("SIGKILL through the pidfd", k.pidfd_send_signal(pidfd, SIGKILL), Ok(()))?;
            let now = mask_with(k, pidfd, IN)?;
            needs(Why::Setup, "the pidfd of a child that has ended is readable", now.has(IN), now)?;
            noted(is("pidfd_send_signal with 0 of the zombie", k.pidfd_send_signal(pidfd, 0), Ok(())));
            is("waitid of the zombie", k.waitid_pidfd(pidfd, WEXITED), Ok(()))?;
            noted(is("pidfd_send_signal with 0 after that", k.pidfd_send_signal(pidfd, 0), no(Errno::ESRCH)));
            is("waitid after that", k.waitid_pidfd(pidfd, WEXITED), no(Errno::ECHILD))
        },
        ..Fact::ALWAYS
    },
];

/// The helper of `sig-exec-ignored-stays`.
pub(in crate::facts) fn what_exec_keeps(_: &[i32]) -> Held {
    let signals = |name| -> Held<u64> {
        let hexadecimal = line_of("/proc/self/status", name)?;
        Ok(u64::from_str_radix(&hexadecimal, 16).unwrap_or(0))
    };
    let (ignored, caught, blocked) = (signals("SigIgn:")?, signals("SigCgt:")?, signals("SigBlk:")?);
    is(
        "after execve: SIGUSR1, which was ignored, is; SIGUSR2, which had a handler, is ignored, is caught; SIGTERM, which was blocked, is",
        (
            ignored & bit(SIGUSR1) != 0,
            ignored & bit(SIGUSR2) != 0,
            caught & bit(SIGUSR2) != 0,
            blocked & bit(SIGTERM) != 0,
        ),
        (true, false, false, true),
    )
}
