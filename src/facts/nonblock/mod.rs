//! Non-blocking calls: a connect that goes on by itself or fails, what accept hands out, and recv and send
//! that do not wait.

mod accepting;
mod connecting;
mod failing;
mod transfers;

use super::Fact;

pub(super) const FACTS: &[&[Fact]] = &[connecting::FACTS, failing::FACTS, accepting::FACTS, transfers::FACTS];
