//! Kernels that break a fact of `facts/flags.rs`.

use super::Mutant;

pub(super) const MUTANTS: &[Mutant] = &[];
