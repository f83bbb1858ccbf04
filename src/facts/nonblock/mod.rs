//! Calls that would wait and are told not to: connect, accept, recv, send.

mod accepting;
mod connecting;
mod failing;
mod transfer;

use crate::facts::support::*;

pub(super) const FACTS: &[&[Fact]] = &[connecting::FACTS, failing::FACTS, accepting::FACTS, transfer::FACTS];
