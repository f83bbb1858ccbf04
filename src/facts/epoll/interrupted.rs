//! Signals during a wait.

use super::*;
use libc::{SIGCHLD, SIGCONT, SIGSTOP, SIGUSR1, SIGUSR2};

pub(super) const FACTS: &[Fact] = &[
    Fact {
        id: "ep-stop-cont-eintr",
        claim: "epoll_wait and its siblings fail with EINTR after SIGSTOP and SIGCONT, although no handler \
                ran; poll and select wait on.",
        reference: "signal(7), Interruption of system calls and library functions by stop signals; ep_poll \
                    in fs/eventpoll.c gives EINTR where fs/select.c gives ERESTARTNOHAND",
        matters: "A program without a single handler gets EINTR when it is stopped in a shell, attached to \
                  by a debugger, or frozen. Every loop over epoll must expect it.",
        experiment: "A child waits, is stopped, continued, and then its pipe is written to.",
        wrong: &[
            "keepalived: https://github.com/acassen/keepalived/issues/1883",
            "keepalived: https://github.com/acassen/keepalived/issues/1947",
            "futures-rs: https://github.com/rust-lang/futures-rs/issues/2",
            "CRIU: https://github.com/checkpoint-restore/criu/issues/611",
            "ljsyscall: https://github.com/justincormack/ljsyscall/issues/166",
            "PureSpice: https://github.com/gnif/PureSpice/issues/11",
        ],
        run: |k| {
            let (ep, (_r, w)) = watched_pipe(k, IN)?;
            let child = Forked::start(|| {
                is("a wait that was stopped and continued", wait(k, ep, bound_ms()), no(Errno::EINTR))
            })?;
            child.until_asleep(EPOLL)?;
            raw::kill(child.pid, SIGSTOP)?;
            let (_, status) = raw::waitpid(child.pid, libc::WUNTRACED)?;
            needs(Why::Setup, "the child is stopped", libc::WIFSTOPPED(status), status)?;
            raw::kill(child.pid, SIGCONT)?;
            until_waiting_or_over(&child)?;
            // It wakes the call only if that waits on.
            raw::write(w, b"x")?;
            child.join()
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "ep-ignored-signal-no-eintr",
        claim: "A signal that is ignored, that does nothing by default (SIGCHLD), or that is blocked does \
                not interrupt epoll_wait.",
        reference: "signal(7); sig_ignored in kernel/signal.c",
        matters: "EINTR tells that a handler has run, or that the process was stopped; not that some signal \
                  came. To be woken by SIGCHLD takes a handler or a signalfd.",
        experiment: "A child waits; it gets a signal of each kind; then its pipe is written to.",
        run: |k| {
            let (ep, (r, w)) = watched_pipe(k, IN)?;
            k.sigaction(SIGUSR1, Action::Ignore, 0)?;
            k.sigprocmask(libc::SIG_BLOCK, bit(SIGUSR2))?;
            let child = Forked::start(|| {
                is("a wait, with signals that do nothing", wait(k, ep, bound_ms()), Ok(vec![(r, IN)]))?;
                is("signals that are pending, as a set", k.sigpending()?, bit(SIGUSR2))
            })?;
            child.until_asleep(EPOLL)?;
            for signal in [SIGUSR1, SIGCHLD, SIGUSR2] {
                k.kill(child.pid, signal)?;
                until_waiting_or_over(&child)?;
            }
            k.write(w, b"x")?;
            child.join()
        },
        ..Fact::ALWAYS
    },
];

/// Whom a signal wakes is awake when kill returns: wait until the child is asleep again, or has come to its end.
fn until_waiting_or_over(child: &Forked) -> Held {
    sleep_is_told()?;
    let directory = format!("/proc/{}", child.pid);
    until("the child waits on or ends", || {
        let stat = std::fs::read_to_string(format!("{directory}/stat")).unwrap_or_default();
        Ok((asleep_in(&directory, EPOLL) || state_of(&stat) == Some('Z')).then_some(()))
    })
}
