//! Which processors a process may use: sched_setaffinity(2). Over `nix::sched`.

use super::{Call, cvt};
use crate::Result;
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

/// The processors that this process may use, in ascending order.
///
/// A container or taskset(1) may have left fewer than the machine has; pinning must choose among
/// these.
///
/// # Errors
///
/// `EINVAL` on a kernel with more processors than a `cpu_set_t` has bits (1024).
#[doc(alias = "sched_getaffinity")]
pub fn allowed() -> Result<Vec<usize>> {
    let set = cvt(Call::SchedGetaffinity, sched_getaffinity(Pid::from_raw(0)))?;
    Ok((0..CpuSet::count()).filter(|&cpu| set.is_set(cpu).unwrap_or(false)).collect())
}

/// Let process `pid` (its only thread, if it has just started) run on `cpu` alone.
///
/// # Errors
///
/// `EINVAL` when the processor does not exist or is not allowed, `ESRCH` when the process is gone.
#[doc(alias = "sched_setaffinity")]
pub fn pin(pid: u32, cpu: usize) -> Result<()> {
    let mut set = CpuSet::new();
    let pid = Pid::from_raw(pid.cast_signed());
    cvt(Call::SchedSetaffinity, set.set(cpu).and_then(|()| sched_setaffinity(pid, &set)))
}
