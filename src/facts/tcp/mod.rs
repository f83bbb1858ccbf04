//! TCP from listen to TIME_WAIT: the queue of a listener, half closes, resets, and ports that are used again.

mod backlog;
mod sending;
mod closing;
mod listeners;
mod ports;
mod resets;

use crate::facts::support::*;

pub(super) const FACTS: &[&[Fact]] =
    &[backlog::FACTS, sending::FACTS, listeners::FACTS, closing::FACTS, resets::FACTS, ports::FACTS];
