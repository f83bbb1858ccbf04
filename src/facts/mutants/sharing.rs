//! Kernels that break a fact of `facts/sharing.rs`.

use super::Mutant;

pub(super) const MUTANTS: &[Mutant] = &[];
