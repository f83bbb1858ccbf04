//! Calls that would wait and are told not to: connect, accept, recv, send.

mod connecting;
mod failing;
mod addresses;
mod accepting;
mod transfer;

use crate::facts::support::*;

pub(super) const FACTS: &[&[Fact]] =
    &[connecting::FACTS, failing::FACTS, addresses::FACTS, accepting::FACTS, transfer::FACTS];
