//! Kernels that break a fact of `facts/uring.rs`.

use super::Mutant;

pub(super) const MUTANTS: &[Mutant] = &[];
