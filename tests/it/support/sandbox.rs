//! A sandbox like those of containers, which denies system calls.

use libc::{CLONE_THREAD, SYS_clone, SYS_clone3};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
};
use std::collections::BTreeMap;

/// Do `work` in a thread for which the kernel denies `calls` with `errno`. The processes that it starts inherit that.
#[track_caller]
pub(crate) fn without<T: Send>(calls: &[i64], errno: i32, work: impl FnOnce() -> T + Send) -> T {
    filtered(calls.iter().map(|call| (*call, Vec::new())).collect(), errno, work)
}

/// Do `work` in a thread for which, and for whose processes, the kernel starts no other thread: `EAGAIN`, as beyond
/// `RLIMIT_NPROC`, which does not bind root.
#[track_caller]
pub(crate) fn without_threads<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    let flag = CLONE_THREAD as u64;
    let flags = SeccompCondition::new(0, SeccompCmpArgLen::Dword, SeccompCmpOp::MaskedEq(flag), flag);
    let rule = flags.and_then(|flags| SeccompRule::new(vec![flags])).expect("a rule about a number");
    // The flags of clone3(2) are in memory, where no filter can see them; without it glibc calls clone(2).
    without(&[SYS_clone3], libc::ENOSYS, || {
        filtered(BTreeMap::from([(SYS_clone, vec![rule])]), libc::EAGAIN, work)
    })
}

#[track_caller]
fn filtered<T: Send>(
    rules: BTreeMap<i64, Vec<SeccompRule>>,
    errno: i32,
    work: impl FnOnce() -> T + Send,
) -> T {
    let arch = std::env::consts::ARCH.try_into().expect("seccompiler knows this architecture");
    let (pass, deny) = (SeccompAction::Allow, SeccompAction::Errno(errno as u32));
    let filter: BpfProgram =
        SeccompFilter::new(rules, pass, deny, arch).and_then(TryInto::try_into).expect("a filter of numbers");
    let sandboxed = || {
        seccompiler::apply_filter(&filter).expect("a process may filter itself");
        work()
    };
    let done = std::thread::scope(|scope| scope.spawn(sandboxed).join());
    done.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}
