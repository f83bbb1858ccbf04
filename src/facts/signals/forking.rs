//! What a forked child has, and a program after execve.

use super::super::check::{Held, is};
use super::super::support::*;
use super::super::{Area, Fact, Since};
use crate::sys::raw::{self, Action};
use libc::{O_CLOEXEC, SIG_BLOCK, SIGUSR1, SIGUSR2};

pub(super) const FACTS: &[Fact] = &[
    Fact {
        id: "sig-fork-mask-not-pending",
        area: Area::Signals,
        claim: "A forked child has the mask of blocked signals of its parent, but none of its pending ones, and no interval timers.",
        reference: "fork(2)",
        since: Since::ALWAYS,
        matters: "A child that expects the default mask never hears SIGTERM; one that expects the parent's alarm waits for ever.",
        experiment: "A blocked signal is raised and an alarm set; a forked child asks for its mask, its pending signals and its timer.",
        wrong: &[],
        alone: false,
        run: fork_mask_not_pending,
    },
    Fact {
        id: "sig-exec-ignored-stays",
        area: Area::Signals,
        claim: "Across execve ignored signals stay ignored and the mask of blocked ones stays; handlers become the default.",
        reference: "execve(2); signal(7)",
        since: Since::ALWAYS,
        matters: "A program inherits what its starter ignored: nohup lives by it, and servers that count on SIGCHLD or SIGPIPE suffer from it.",
        experiment: "A child ignores one signal, blocks another, has a handler for a third, and becomes this program again, which reads SigIgn, SigBlk and \
                     SigCgt of /proc/self/status.",
        wrong: &["Perl: https://github.com/Perl/perl5/issues/6898"],
        alone: false,
        run: exec_ignored_stays,
    },
    Fact {
        id: "sig-pipe-eof-needs-all-writers",
        area: Area::Signals,
        claim: "The reader of a pipe sees no end of file while any forked copy of the writing end is open; it comes when that process dies.",
        reference: "pipe(7)",
        since: Since::ALWAYS,
        matters: "A forgotten copy in a child is why a reader waits for ever.",
        experiment: "A child keeps the writing end, the parent closes its own and polls: nothing. The child is killed and waited for: HUP.",
        wrong: &[],
        alone: false,
        run: pipe_eof_needs_all_writers,
    },
];

fn fork_mask_not_pending(k: K) -> Held {
    k.sigprocmask(SIG_BLOCK, raw::bit(SIGUSR1))?;
    k.kill(std::process::id().cast_signed(), SIGUSR1)?;
    raw::set_alarm(60_000)?;
    is("the parent's pending signals", k.sigpending()?, raw::bit(SIGUSR1))?;
    let child = Forked::start(|| {
        is("the child's blocked signals", k.sigprocmask(SIG_BLOCK, 0)?, raw::bit(SIGUSR1))?;
        is("the child's pending signals", k.sigpending()?, 0)?;
        is("whether the child has an interval timer", raw::alarm_is_set()?, false)
    })?;
    child.join()?;
    is("whether the parent has its timer", raw::alarm_is_set()?, true)
}

fn exec_ignored_stays(k: K) -> Held {
    let child = Forked::exec("tell-of-signals", &[SIGUSR1, SIGUSR2, libc::SIGTERM], || {
        k.sigaction(SIGUSR1, Action::Ignore, 0)?;
        k.sigprocmask(SIG_BLOCK, raw::bit(SIGUSR2))?;
        k.sigaction(libc::SIGTERM, Action::Count, 0)?;
        Ok(())
    })?;
    child.join()
}

/// What a program finds after execve: the helper of [`exec_ignored_stays`].
pub(in crate::facts) fn tell_of_signals(signals: &[i32]) -> Held {
    let [ignored, blocked, caught] = signals else {
        return super::super::check::skip("three signals are missing");
    };
    let set = |name: &str| -> Held<u64> {
        let line = line_of("/proc/self/status", name)?;
        u64::from_str_radix(&line, 16)
            .or_else(|_| super::super::check::skip(format!("{name} is {line:?} here")))
    };
    is("whether the ignored signal is in SigIgn", set("SigIgn:")? & raw::bit(*ignored) != 0, true)?;
    is("whether the blocked signal is in SigBlk", set("SigBlk:")? & raw::bit(*blocked) != 0, true)?;
    is("whether the caught signal is in SigCgt", set("SigCgt:")? & raw::bit(*caught) != 0, false)
}

fn pipe_eof_needs_all_writers(k: K) -> Held {
    let [reading, writing] = k.pipe2(O_CLOEXEC)?;
    let child = Forked::start(|| Ok(k.pause()?))?;
    k.close(writing)?;
    is("the reader while a child has the writing end", mask(k, reading)?, NONE)?;
    child.kill()?;
    is("the reader once the child is gone", mask(k, reading)?, HUP)?;
    is("its read", k.read(reading, &mut [0; 8]), Ok(0))
}
