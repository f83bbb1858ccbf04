//! Waiting for a state, never for a time.

use std::time::{Duration, Instant};

/// How long anything may take before a test gives up. Far more than it needs, also on a machine that
/// is busy with something else.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// How long a server may take to stop, whatever its clients do.
pub(crate) const IN_TIME: Duration = Duration::from_secs(5);

/// Wait until `cond` holds. `what` completes the sentence "not within 30 s: ...".
#[track_caller]
pub(crate) fn wait_until(what: &str, cond: impl FnMut() -> bool) {
    wait_within(DEADLINE, what, cond);
}

/// The same, with another deadline, for what takes its time when all is well.
#[track_caller]
pub(crate) fn wait_within(deadline: Duration, what: &str, mut cond: impl FnMut() -> bool) {
    let until = Instant::now() + deadline;
    while !cond() {
        assert!(Instant::now() < until, "not within {deadline:?}: {what}");
        // Only between two looks. What is waited for is the state.
        std::thread::sleep(Duration::from_millis(1));
    }
}
