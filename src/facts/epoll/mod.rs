//! epoll itself: the order of its events, waits beside other threads and under signals, and what can be seen of it.

mod order;
mod threads;
mod interrupted;
mod observing;

use super::check::{Held, Show, available, differs, holds, is, skip};
use super::support::*;
use super::{Area, Fact, Since};
use crate::sys::Errno;
use crate::sys::raw::{self, At, Mask, Reply, no};
use libc::epoll_event;

pub(super) const FACTS: &[&[Fact]] = &[order::FACTS, threads::FACTS, interrupted::FACTS, observing::FACTS];

/// A pipe with nothing in it: the reading end, the writing end.
fn pipe(k: K) -> Reply<(i32, i32)> {
    let [r, w] = k.pipe2(libc::O_CLOEXEC)?;
    Ok((r, w))
}

/// What a wait gave: the descriptor of each event, and its events.
type Found = Reply<Vec<(i32, Events)>>;
