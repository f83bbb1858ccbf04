//! Clocks and timers: clock_gettime(2), prctl(2). Over `nix`.

use super::{Call, cvt};
use crate::Result;
use nix::time::{ClockId, clock_gettime};
use std::time::Duration;

/// CPU time of this thread, exact, unlike that of getrusage(2), which is brought up to date at ticks.
#[must_use]
#[doc(alias = "CLOCK_THREAD_CPUTIME_ID")]
pub fn thread_cpu() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map_or(Duration::ZERO, Duration::from)
}

/// Time since an arbitrary moment, the same in all processes: what they measure can be put together.
#[must_use]
#[doc(alias = "CLOCK_MONOTONIC")]
pub fn monotonic() -> Duration {
    clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(Duration::ZERO, Duration::from)
}

/// How long this thread has been ready to run while other threads had the processors: the second number of
/// `/proc/thread-self/schedstat`, in nanoseconds. `None` where the kernel does not tell (`CONFIG_SCHED_INFO` is off,
/// or there is no /proc).
#[must_use]
pub fn thread_run_delay() -> Option<Duration> {
    let line = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    let nanoseconds = line.split_ascii_whitespace().nth(1)?.parse().ok()?;
    Some(Duration::from_nanos(nanoseconds))
}

/// Let the kernel end a wait of this thread so much later than asked, at most, to save wake-ups:
/// `PR_SET_TIMERSLACK`. It is 50 µs for a new process; the least is a nanosecond.
///
/// # Errors
///
/// None in practice.
#[doc(alias = "PR_SET_TIMERSLACK")]
pub fn set_timer_slack(slack: Duration) -> Result<()> {
    // 0 would mean the default of the process.
    let nanoseconds = u64::try_from(slack.as_nanos()).unwrap_or(u64::MAX).max(1);
    cvt(Call::Prctl, nix::sys::prctl::set_timerslack(nanoseconds))
}
