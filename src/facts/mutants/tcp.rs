//! Kernels that break a fact of `facts/tcp.rs`.

use super::Mutant;

pub(super) const MUTANTS: &[Mutant] = &[];
