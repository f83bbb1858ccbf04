//! Kernels that break a fact of `facts/edge.rs`.

use super::Mutant;

pub(super) const MUTANTS: &[Mutant] = &[];
