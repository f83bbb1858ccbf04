//! Processes: fork(2), wait4(2), kill(2), prctl(2). Over `nix::unistd` and `nix::sys::wait`.
//!
//! What surprised us: a child that is forked from a process with several threads has only the
//! forking one, but the memory of all: a lock that another thread held (the allocator's, say) stays
//! locked for ever. [`fork`] therefore refuses to run in such a process, and is safe.

use super::calls::{self, Told};
use super::{Call, Errno, cvt, retry};
use crate::error::{Error, Result};
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::{ForkResult, getppid};
use std::os::linux::fs::MetadataExt;
#[cfg(feature = "uring")]
use std::sync::OnceLock;
#[cfg(feature = "uring")]
use std::sync::atomic::{AtomicU32, Ordering};

pub use nix::unistd::Pid;

/// Who we are after [`fork`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fork {
    /// The process that called, and the child's number.
    Parent(Pid),
    /// The new process.
    Child,
}

/// Split this process in two: fork(2).
///
/// # Errors
///
/// [`Error::Threads`] in a process with more than one thread. `EAGAIN` at a limit on processes
/// (`RLIMIT_NPROC`, `pids.max` of the control group, `kernel.pid_max`), and with more than 16,384 children and threads that
/// [count](super::calls); `ENOMEM`.
#[doc(alias = "clone")]
pub fn fork() -> Result<Fork> {
    fork_and_tell().map(|(who, _)| who)
}

/// The same, with numbers in memory that the child may write and the parent reads.
///
/// # Errors
///
/// As [`fork`].
pub(crate) fn fork_and_tell() -> Result<(Fork, &'static Told)> {
    let threads = threads();
    if threads != 1 {
        return Err(Error::Threads { threads });
    }
    let no_row = Error::Call { call: Call::Clone, fd: None, source: Errno::EAGAIN };
    let row = calls::ForChild::reserve().ok_or(no_row)?;
    // SAFETY: the danger of fork(2) is a child that has locks of threads that it does not have.
    // There is one thread, this one, as has just been read; only it could have started another.
    let forked = unsafe { nix::unistd::fork() };
    if let Ok(ForkResult::Child) = forked {
        return Ok((Fork::Child, row.enter()));
    }
    match cvt(Call::Clone, forked) {
        Ok(ForkResult::Parent { child }) => Ok((Fork::Parent(child), row.belongs_to(child.as_raw()))),
        Ok(ForkResult::Child) => unreachable!("the child has returned above"),
        Err(error) => {
            row.give_back();
            Err(error)
        }
    }
}

/// A mark of the process that made a thing which its forked children must not use. To look at it takes no system call.
///
/// The C library tells of forks: pthread_atfork(3). So it knows those of other crates too, but not a clone(2) around the C library.
#[cfg(feature = "uring")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Origin(u32);

#[cfg(feature = "uring")]
static FORKS: AtomicU32 = AtomicU32::new(0);

#[cfg(feature = "uring")]
impl Origin {
    /// The mark of this process.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(super) fn here() -> Result<Origin> {
        extern "C" fn forked() {
            FORKS.fetch_add(1, Ordering::Relaxed);
        }
        static ASKED: OnceLock<i32> = OnceLock::new();
        let asked = ASKED.get_or_init(|| {
            // SAFETY: the handler lives as long as the program, and only adds to an atomic number, which is allowed in a child that has
            // locks of threads that it does not have.
            unsafe { libc::pthread_atfork(None, None, Some(forked)) }
        });
        match *asked {
            0 => Ok(Origin(FORKS.load(Ordering::Relaxed))),
            errno => Err(Error::Call { call: Call::Clone, fd: None, source: Errno::from_raw(errno) }),
        }
    }

    /// Whether this is the process that made the mark.
    #[inline]
    pub(super) fn is_here(self) -> bool {
        self.0 == FORKS.load(Ordering::Relaxed)
    }
}

/// How many threads this process has.
///
/// `/proc/self/task` is a directory with a subdirectory for each thread, and its link count says
/// so: 2 + threads (`proc_task_getattr` in fs/proc/base.c). One statx(2) is cheaper than a listing;
/// where the count makes no sense (another kernel), the listing is made.
fn threads() -> u64 {
    calls::count(Call::Statx);
    let links = std::fs::metadata("/proc/self/task").map_or(0, |task| task.st_nlink());
    if links > 2 {
        return links - 2;
    }
    match std::fs::read_dir("/proc/self/task") {
        Ok(tasks) => tasks.count() as u64,
        Err(_) => threads_without_proc(),
    }
}

/// The same where there is no /proc: 1, or 0 for "several, or not known". unshare(2) with `CLONE_THREAD` does nothing in
/// a process of one thread, and is `EINVAL` in others.
fn threads_without_proc() -> u64 {
    u64::from(cvt(Call::Unshare, nix::sched::unshare(nix::sched::CloneFlags::CLONE_THREAD)).is_ok())
}

/// End a forked child at once: `_exit(2)`, without the parent's exit handlers and buffers.
pub fn exit_child(code: i32) -> ! {
    // SAFETY: `_exit` takes any number and touches no memory.
    unsafe { libc::_exit(code) }
}

/// Ask the kernel to send this process `signal` when the one that started it has died.
///
/// `parent` is the process that should be watched: when it is gone already, the answer is `false`,
/// and no signal will come. To be exact, the kernel watches the *thread* that forked.
///
/// # Errors
///
/// None in practice.
#[doc(alias = "PR_SET_PDEATHSIG")]
pub fn die_with_parent(parent: Pid, signal: Signal) -> Result<bool> {
    cvt(Call::Prctl, nix::sys::prctl::set_pdeathsig(signal))?;
    calls::count(Call::Getppid);
    Ok(getppid() == parent)
}

/// The number of this process.
#[must_use]
pub fn this_process() -> Pid {
    nix::unistd::getpid()
}

/// Send `signal` to process `pid`: kill(2). A process that is gone already is no error.
///
/// # Errors
///
/// `EPERM`.
pub fn kill(pid: Pid, signal: Signal) -> Result<()> {
    match cvt(Call::Kill, nix::sys::signal::kill(pid, signal)) {
        Err(error) if error.errno() == Some(Errno::ESRCH) => Ok(()),
        result => result,
    }
}

/// Take the status of a child that has ended, any child, without waiting: `wait4(-1, WNOHANG)`.
///
/// `None` when no child has ended, or none is left.
///
/// # Errors
///
/// None in practice.
#[doc(alias = "waitpid")]
pub fn reap() -> Result<Option<Pid>> {
    match retry(|| cvt(Call::Wait4, waitpid(None, Some(WaitPidFlag::WNOHANG)))) {
        Ok(status) => {
            let pid = status.pid();
            if let Some(pid) = pid {
                calls::child_ended(pid.as_raw());
            }
            Ok(pid)
        }
        Err(error) if error.errno() == Some(Errno::ECHILD) => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_with_several_threads_is_told_from_one_without_proc_as_well() {
        assert_eq!(threads_without_proc(), 0, "a test has a thread beside the harness's");
    }

    #[test]
    fn fork_refuses_in_a_process_with_several_threads() {
        // A test runs in a thread of its own beside the harness's, so two at least.
        let error = fork().unwrap_err();
        assert!(matches!(error, Error::Threads { threads: 2.. }), "{error}");
    }
}
