//! Kernels that break a fact of `facts/waiters.rs`.

use super::Mutant;

pub(super) const MUTANTS: &[Mutant] = &[];
