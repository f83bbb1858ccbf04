//! Kernels that break a fact of `facts/epoll.rs`.

use super::Mutant;

pub(super) const MUTANTS: &[Mutant] = &[];
