//! io_uring, where it does what the other areas are about: it waits for readiness, accepts, connects, receives.
//!
//! Completions of what this thread did itself are there when the call that caused them returns: the kernel posts
//! them on its way out. So a NOP, which completes at once, is the fence behind which nothing can still be under
//! way.

mod buffers;
mod polls;
mod rings;
mod sockets;

use crate::facts::support::*;
use crate::sys::raw::{Completion, Op, Submission};
use std::fmt;

pub(super) const FACTS: &[&[Fact]] = &[polls::FACTS, sockets::FACTS, buffers::FACTS, rings::FACTS];

/// A ring, or skip the experiment.
fn ring(k: K) -> Held<i32> {
    ring_of(k, 16, 32, 0)
}

/// A ring with room for so many operations and completions, and with these flags.
fn ring_of(k: K, entries: u32, completions: u32, flags: u32) -> Held<i32> {
    if !raw::HAS_URING {
        return skip(Why::Missing, "this program was built without io_uring");
    }
    let ring = known(k.uring_setup(entries, completions, flags))?;
    if !raw::uring_has_limits(ring)? {
        return skip(
            Why::Missing,
            "the experiments wait with a limit, which io_uring_enter has since Linux 5.11",
        );
    }
    Ok(ring)
}

/// A flag or a request that io_uring_setup or io_uring_register does not know is missing here.
fn known<T>(reply: Reply<T>) -> Held<T> {
    match reply {
        Err(refusal) if refusal.errno == Errno::EINVAL => skip(
            Why::Missing,
            format!("{} gives EINVAL: this kernel does not know what is asked", refusal.call),
        ),
        reply => Ok(reply?),
    }
}

/// Submit these; all are taken.
fn submit(k: K, ring: i32, operations: &[Submission]) -> Held {
    is("operations that io_uring_enter takes", k.uring_submit(ring, operations), Ok(operations.len()))
}

/// These completions come, and no others before them; sorted by name.
fn come(k: K, ring: i32, what: impl fmt::Display, expected: &[Completion]) -> Held {
    is(what, soon(k, ring, expected.len()), Ok(expected.to_vec()))
}

/// The completions that are there now, sorted by name.
fn now(k: K, ring: i32) -> Reply<Vec<Completion>> {
    let mut all = Vec::new();
    while let Some(completion) = k.uring_next(ring)? {
        all.push(completion);
    }
    all.sort_by_key(|completion| completion.name);
    Ok(all)
}

/// The next `n` completions, sorted by name; fewer if they do not come within the bound.
fn soon(k: K, ring: i32, n: usize) -> Reply<Vec<Completion>> {
    within(k, ring, n, bound())
}

/// The next `n` completions, sorted by name, or those that come within `limit`.
fn within(k: K, ring: i32, n: usize, limit: Duration) -> Reply<Vec<Completion>> {
    let deadline = Instant::now() + limit;
    let mut all = Vec::new();
    while all.len() < n {
        match k.uring_next(ring)? {
            Some(completion) => all.push(completion),
            None => match k.uring_wait(ring, 1, Some(deadline.saturating_duration_since(Instant::now()))) {
                Err(refusal) if refusal.errno == Errno::ETIME => break,
                waited => waited?,
            },
        }
    }
    all.sort_by_key(|completion| completion.name);
    Ok(all)
}

/// Nothing has completed, up to a NOP that is submitted now.
fn silent(k: K, ring: i32, what: &str) -> Held {
    submit(k, ring, &[Op::Nop.named("the fence")])?;
    let mut all = Vec::new();
    while let Some(&next) = soon(k, ring, 1)?.first() {
        all.push(next);
        if next.name == "the fence" {
            break;
        }
    }
    is(format!("completions {what}"), all, vec![done("the fence", Ok(0))])
}

/// Nothing completes for 60 ms, by other threads of the kernel either.
fn silent_for_a_while(k: K, ring: i32, what: &str) -> Held {
    let all = within(k, ring, 1, Duration::from_millis(60));
    is(format!("completions within 60 ms {what}"), all, Ok(Vec::new()))
}

/// The last completion of an operation.
fn done(name: &'static str, result: Reply<i32>) -> Completion {
    Completion { name, result, more: false, notice: false }
}

/// A completion of an operation that goes on.
fn goes_on(name: &'static str, result: i32) -> Completion {
    Completion { more: true, ..done(name, Ok(result)) }
}

/// POLL_ADD, once.
const fn poll_once(fd: i32, events: Events) -> Op {
    Op::PollAdd { fd, events: events.0, multi: false }
}

/// Events as the result of a completion.
const fn result(events: Events) -> i32 {
    events.0.cast_signed()
}

impl Show for Completion {
    fn show(&self) -> String {
        let more = if self.more { " and goes on" } else { "" };
        let notice = if self.notice { " as a notice" } else { "" };
        format!("{} gives {}{notice}{more}", self.name, self.result.show())
    }
}
