//! x
use super::*;
pub(super) const FACTS: &[Fact] = &[];
