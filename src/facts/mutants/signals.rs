//! Kernels that break a fact of `facts/signals.rs`.

use super::Mutant;

pub(super) const MUTANTS: &[Mutant] = &[];
