//! Kernels that break a fact of `facts/select.rs`.

use super::Mutant;

pub(super) const MUTANTS: &[Mutant] = &[];
