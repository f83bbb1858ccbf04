//! Kernels that break a fact of `facts/nonblock.rs`.

use super::Mutant;

pub(super) const MUTANTS: &[Mutant] = &[];
