//! What level-triggered and edge-triggered entries report, and when: how often, after which reads and
//! writes, on which kinds of descriptors.

mod levels;
mod edges;
mod input;
mod output;
mod others;
mod links;

use crate::facts::support::*;

pub(super) const FACTS: &[&[Fact]] =
    &[levels::FACTS, edges::FACTS, input::FACTS, output::FACTS, others::FACTS];
