//! Signals, interrupted calls, and children.

mod children;
mod delivery;
mod interrupted;
mod signalfds;

pub(in crate::facts) use children::what_exec_keeps;

use crate::facts::support::*;
use crate::sys::raw::handled;
use libc::{O_CLOEXEC, SIG_BLOCK, SIG_UNBLOCK, SIGCHLD, SIGPIPE, SIGUSR1, SIGUSR2};

pub(super) const FACTS: &[&[Fact]] =
    &[interrupted::FACTS, children::FACTS, delivery::FACTS, signalfds::FACTS];

/// This process.
fn me() -> i32 {
    std::process::id().cast_signed()
}

/// How often the handler of `signal` has run, once that is `n` times, or after the bound.
fn handled_soon(signal: i32, n: u32) -> u32 {
    let deadline = Instant::now() + bound();
    while handled(signal) < n && Instant::now() < deadline {
        between_looks();
    }
    handled(signal)
}
