//! EPOLLONESHOT, EPOLLEXCLUSIVE, epoll in epoll, and who is woken when many wait.
//!
//! The order in which waiters are woken is what Linux 6.18 does; no manual page promises it.

mod exclusive;
mod nested;
mod oneshot;
mod threads;

use crate::facts::support::*;

pub(super) const FACTS: &[&[Fact]] = &[oneshot::FACTS, threads::FACTS, exclusive::FACTS, nested::FACTS];
