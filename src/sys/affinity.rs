//! Which processors a process may use, and whether it takes them from others: sched_setaffinity(2), sched_setscheduler(2). Over
//! `nix::sched` and `libc`.

use super::{Call, Errno, cvt};
use crate::error::{Error, Result};
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
    allowed_to(Pid::from_raw(0))
}

/// The processors that a thread of any process may use, in ascending order.
///
/// # Errors
///
/// As [`allowed`]; `ESRCH`.
#[doc(alias = "sched_getaffinity")]
pub fn allowed_to(thread: Pid) -> Result<Vec<usize>> {
    let set = cvt(Call::SchedGetaffinity, sched_getaffinity(thread))?;
    Ok((0..CpuSet::count()).filter(|&cpu| set.is_set(cpu).unwrap_or(false)).collect())
}

/// Do `work` while the calling thread, and what it starts meanwhile, may run on `cpu` alone. A process that is started so has
/// no other processor from its first instruction to its last, and neither have its threads.
///
/// # Errors
///
/// `EINVAL` when the processor does not exist or is not allowed: then `work` was not done.
pub fn while_pinned<T>(cpu: usize, work: impl FnOnce() -> T) -> Result<T> {
    let before = cvt(Call::SchedGetaffinity, sched_getaffinity(Pid::from_raw(0)))?;
    pin_this_thread(cpu)?;
    let done = work();
    cvt(Call::SchedSetaffinity, sched_setaffinity(Pid::from_raw(0), &before))?;
    Ok(done)
}

/// Let the calling thread run on `cpu` alone. Threads that it starts later inherit that.
///
/// # Errors
///
/// `EINVAL` when the processor does not exist or is not allowed.
pub fn pin_this_thread(cpu: usize) -> Result<()> {
    pin(Pid::from_raw(0), cpu)
}

/// Let a thread of any process run on `cpu` alone. Threads and processes that it starts later inherit that.
///
/// # Errors
///
/// `EINVAL` when the processor does not exist or is not allowed; `EPERM` when it is a thread of another user; `ESRCH`.
#[doc(alias = "sched_setaffinity")]
pub fn pin(thread: Pid, cpu: usize) -> Result<()> {
    allow(thread, &[cpu])
}

/// Let a thread of any process run on these processors. Threads and processes that it starts later inherit that.
///
/// # Errors
///
/// `EINVAL` when the thread may use none of them; otherwise as [`pin`].
#[doc(alias = "sched_setaffinity")]
pub fn allow(thread: Pid, cpus: &[usize]) -> Result<()> {
    let mut set = CpuSet::new();
    for &cpu in cpus {
        // A number that the set has no bit for: the kernel is not asked, so nothing is counted.
        set.set(cpu).map_err(|source| Error::Call { call: Call::SchedSetaffinity, fd: None, source })?;
    }
    cvt(Call::SchedSetaffinity, sched_setaffinity(thread, &set))
}

/// A thread that becomes runnable does not take the processor from a thread that runs, until that sleeps or its time is over: `SCHED_BATCH`,
/// sched(7). Threads and processes that it starts later inherit that.
///
/// # Errors
///
/// `EPERM` when it is a thread of another user; `ESRCH`.
#[doc(alias = "sched_setscheduler")]
pub fn set_batch(thread: Pid) -> Result<()> {
    // `struct sched_param` of the kernel. The function of musl does nothing, because the kernel sets a thread and POSIX means a process.
    let priority: libc::c_int = 0;
    // SAFETY: sched_setscheduler takes two numbers, and reads one `int` from `priority`, which is ours and lives until the call returns.
    let set = unsafe {
        libc::syscall(libc::SYS_sched_setscheduler, thread.as_raw(), libc::SCHED_BATCH, &raw const priority)
    };
    cvt(Call::SchedSetscheduler, Errno::result(set)).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::Errno;
    use crate::sys::calls::of_this_thread;

    #[test]
    fn a_pinned_thread_has_one_processor_and_the_others_keep_theirs() {
        let before = allowed().unwrap();
        let last = before[before.len() - 1];
        let pinned = std::thread::spawn(move || {
            pin_this_thread(last).unwrap();
            allowed().unwrap()
        });
        assert_eq!(pinned.join().unwrap(), [last]);
        assert_eq!(allowed().unwrap(), before);
    }

    #[test]
    fn a_thread_gets_its_processors_back() {
        let all = allowed().unwrap();
        std::thread::spawn(move || {
            let this = nix::unistd::gettid();
            pin(this, all[0]).unwrap();
            assert_eq!(allowed_to(this).unwrap(), all[..1]);
            allow(this, &all).unwrap();
            assert_eq!(allowed_to(this).unwrap(), all);
        })
        .join()
        .unwrap();
    }

    #[test]
    fn what_is_started_meanwhile_is_pinned_and_the_thread_is_not_any_more() {
        let before = allowed().unwrap();
        let last = before[before.len() - 1];
        let started = while_pinned(last, || std::thread::spawn(allowed)).unwrap();
        assert_eq!(started.join().unwrap().unwrap(), [last]);
        assert_eq!(allowed().unwrap(), before);
    }

    #[test]
    fn a_processor_that_no_set_has_is_an_error_and_no_call() {
        allowed().unwrap(); // The thread has its row of counts.
        let before = of_this_thread();
        let error = pin_this_thread(1 << 20).unwrap_err();
        assert_eq!(error.errno(), Some(Errno::EINVAL));
        assert_eq!(of_this_thread().since(&before).total(), 0);
    }
}
