//! What whoever runs the tests asks for.

use std::env;

/// The number in that environment variable.
#[track_caller]
pub(crate) fn number(variable: &str) -> Option<u64> {
    let value = env::var(variable).ok()?;
    Some(value.parse().unwrap_or_else(|_| panic!("{variable} is a whole number, not {value:?}")))
}
