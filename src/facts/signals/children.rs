//! Children that ended: zombies, SIGCHLD, exit codes.

use super::super::check::{Held, is};
use super::super::support::*;
use super::super::{Area, Fact, Since};
use crate::sys::Errno;
use crate::sys::fork::exit_child;
use crate::sys::raw::{self, Action, no};
use libc::{SIGCHLD, WEXITED, WNOHANG, WNOWAIT};

pub(super) const FACTS: &[Fact] = &[
    Fact {
        id: "sig-sigchld-ign-autoreaps",
        area: Area::Signals,
        claim: "With SIGCHLD ignored waitpid blocks until the child has ended and then gives ECHILD; SA_NOCLDWAIT with a handler does the same, but \
                the handler runs once.",
        reference: "wait(2) NOTES; sigaction(2) SA_NOCLDWAIT",
        since: Since::ALWAYS,
        matters: "A program that was started with SIGCHLD ignored, as some service managers do, gets ECHILD from its own children.",
        experiment: "A child ends while SIGCHLD is ignored, and while it has a handler with SA_NOCLDWAIT; waitpid is called for each.",
        wrong: &[
            "util-linux: https://github.com/util-linux/util-linux/issues/4014",
            "gdnsd: https://github.com/gdnsd/gdnsd/issues/243",
        ],
        alone: false,
        run: sigchld_ign_autoreaps,
    },
    Fact {
        id: "sig-sigchld-default-keeps-zombie",
        area: Area::Signals,
        claim: "With SIGCHLD at its default a child stays a zombie, which kill(pid, 0) finds, until it is waited for; then kill gives ESRCH and waitpid \
                ECHILD.",
        reference: "wait(2) NOTES",
        since: Since::ALWAYS,
        matters: "kill(pid, 0) does not tell whether a child is alive; and the number of a zombie is not given to another process.",
        experiment: "A child ends, waitid with WNOWAIT sees it, kill is called, waitpid, kill and waitpid again.",
        wrong: &[],
        alone: false,
        run: sigchld_default_keeps_zombie,
    },
    Fact {
        id: "sig-sigchld-coalesces",
        area: Area::Signals,
        claim: "Five children that end while SIGCHLD is blocked give one run of the handler; only a loop of waitpid with WNOHANG takes all five, and it ends with \
                ECHILD.",
        reference: "signal(7), Queueing and delivery semantics; wait(2)",
        since: Since::ALWAYS,
        matters: "A handler that calls waitpid once leaves zombies.",
        experiment: "SIGCHLD is blocked, five children end, which waitid with WNOWAIT sees; it is unblocked, the runs of the handler are counted, and \
                     waitpid is called until it fails.",
        wrong: &["tcpdump: https://github.com/the-tcpdump-group/tcpdump/issues/972"],
        alone: false,
        run: sigchld_coalesces,
    },
    Fact {
        id: "sig-exit-status-8-bits",
        area: Area::Signals,
        claim: "exit(263) is seen as 7 by wait; a death by signal is WIFSIGNALED.",
        reference: "wait(2), _exit(2)",
        since: Since::ALWAYS,
        matters: "An exit code of 256 looks like success.",
        experiment: "A child ends with 263, another one is killed, and waitpid tells.",
        wrong: &[],
        alone: false,
        run: exit_status_8_bits,
    },
];

fn ended(code: i32) -> Held<Forked> {
    Forked::start(move || exit_child(code))
}

fn sigchld_ign_autoreaps(k: K) -> Held {
    k.sigaction(SIGCHLD, Action::Ignore, 0)?;
    let child = ended(0)?;
    is("waitpid with SIGCHLD ignored", k.waitpid(child.pid, 0), no(Errno::ECHILD))?;
    is("kill(pid, 0) of that child", k.kill(child.pid, 0), no(Errno::ESRCH))?;
    k.sigaction(SIGCHLD, Action::Count, libc::SA_NOCLDWAIT | libc::SA_RESTART)?;
    let child = ended(0)?;
    is("waitpid with SA_NOCLDWAIT", k.waitpid(child.pid, 0), no(Errno::ECHILD))?;
    bounded("the handler has run", || Ok((raw::handled(SIGCHLD) > 0).then_some(())))?;
    is("runs of the handler", raw::handled(SIGCHLD), 1)
}

fn sigchld_default_keeps_zombie(k: K) -> Held {
    let child = ended(0)?;
    k.waitid(child.pid, WEXITED | WNOWAIT)?;
    is("kill(pid, 0) of a zombie", k.kill(child.pid, 0), Ok(()))?;
    is("waitpid", k.waitpid(child.pid, 0), Ok((child.pid, 0)))?;
    is("kill(pid, 0) after it", k.kill(child.pid, 0), no(Errno::ESRCH))?;
    is("waitpid after it", k.waitpid(child.pid, 0), no(Errno::ECHILD))
}

fn sigchld_coalesces(k: K) -> Held {
    k.sigaction(SIGCHLD, Action::Count, 0)?;
    k.sigprocmask(libc::SIG_BLOCK, raw::bit(SIGCHLD))?;
    let mut children = Vec::new();
    for _ in 0..5 {
        children.push(ended(0)?);
    }
    for child in &children {
        k.waitid(child.pid, WEXITED | WNOWAIT)?;
    }
    is("runs of the handler while SIGCHLD is blocked", raw::handled(SIGCHLD), 0)?;
    k.sigprocmask(libc::SIG_UNBLOCK, raw::bit(SIGCHLD))?;
    is("runs of the handler for five children", raw::handled(SIGCHLD), 1)?;
    let mut taken = 0;
    let refused = loop {
        match k.waitpid(-1, WNOHANG) {
            Ok((0, _)) => break Ok(()),
            Ok(_) => taken += 1,
            Err(refusal) => break Err(refusal),
        }
    };
    is("children that waitpid took", taken, 5)?;
    is("the end of the loop", refused, no(Errno::ECHILD))
}

fn exit_status_8_bits(k: K) -> Held {
    let (_, status) = k.waitpid(ended(263)?.pid, 0)?;
    is(
        "(WIFEXITED, WEXITSTATUS) of exit(263)",
        (libc::WIFEXITED(status), libc::WEXITSTATUS(status)),
        (true, 7),
    )?;
    let child = Forked::start(|| Ok(raw::pause()?))?;
    k.kill(child.pid, libc::SIGTERM)?;
    let (_, status) = k.waitpid(child.pid, 0)?;
    let signalled = (libc::WIFEXITED(status), libc::WIFSIGNALED(status), libc::WTERMSIG(status));
    is("(WIFEXITED, WIFSIGNALED, WTERMSIG) of a killed child", signalled, (false, true, libc::SIGTERM))
}
