//! Kernels that break a fact of `facts/poll.rs`.

use super::Mutant;

pub(super) const MUTANTS: &[Mutant] = &[];
