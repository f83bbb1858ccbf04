//! epoll itself: the interest list, what a wait gives, and what other threads, processes and signals do to it.
//!
//! An entry of the list is an open file and the number under which it was added. Most surprises come from that:
//! the number may be closed, or belong to another file by now, and the entry stays until the file itself is gone.

mod arguments;
mod copying;
mod masks;
mod identity;
mod order;
mod threads;
mod interrupted;
mod observing;

pub(super) use identity::help_after_exec;

use super::kernel::Linux;
use crate::facts::support::*;
use libc::epoll_event;

pub(super) const FACTS: &[&[Fact]] = &[
    arguments::FACTS,
    copying::FACTS,
    masks::FACTS,
    identity::FACTS,
    order::FACTS,
    threads::FACTS,
    interrupted::FACTS,
    observing::FACTS,
];

/// What a wait gave: the descriptor of each event, and its events.
type Found = Reply<Vec<(i32, Events)>>;

/// A pipe with nothing in it: the reading end, the writing end.
fn pipe(k: K) -> Reply<(i32, i32)> {
    let [r, w] = k.pipe2(libc::O_CLOEXEC)?;
    Ok((r, w))
}

/// A number at which nothing is open.
fn closed_number(k: K) -> Reply<i32> {
    let fd = k.eventfd(0, libc::EFD_CLOEXEC)?;
    k.close(fd)?;
    Ok(fd)
}
