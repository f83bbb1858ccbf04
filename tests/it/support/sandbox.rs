//! A sandbox like those of containers, which denies system calls.

use seccompiler::{BpfProgram, SeccompAction, SeccompFilter};
use std::collections::BTreeMap;

/// Do `work` in a thread for which the kernel denies `calls` with `errno`. The processes that it starts inherit that.
#[track_caller]
pub(crate) fn without<T: Send>(calls: &[i64], errno: i32, work: impl FnOnce() -> T + Send) -> T {
    let rules: BTreeMap<i64, _> = calls.iter().map(|call| (*call, Vec::new())).collect();
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
