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

/// A pipe that held something already woke nobody when more was written to it. That broke Android's realm-core.
pub(super) const PIPES_ONLY_FROM_EMPTY: Gap = Gap {
    from: Since(5, 5),
    until: Some(Since(5, 14)),
    repaired: &[Release(5, 10, 56), Release(5, 13, 8)],
    commits: "1b6b26ae7053 (5.5) wakes the readers of a pipe only if it was empty; 3a34b13a88ca (5.14, 5.13.8, 5.10.56) \
              undoes it",
};
