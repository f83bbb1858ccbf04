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

/// The handler of `signal` runs `n` times, soon.
fn until_handled(signal: i32, n: u32) -> Held {
    comes_true(&format!("the handler has run {n} times"), || Ok(handled(signal) >= n))
}
