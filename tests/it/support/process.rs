//! What /proc says about a process.

use io_models::sys::fork::Pid;
use io_models::sys::limits::Nofile;
use procfs::process::{Process, Task};
use std::time::{Duration, Instant};

/// The process with that number, which must be there. The handle stays with this process, and does
/// not follow its number to another one.
pub(crate) fn process(pid: Pid) -> Process {
    Process::new(pid.as_raw()).unwrap_or_else(|why| panic!("process {pid}: {why}"))
}

/// `S` sleeping, `R` running, `T` stopped, `Z` ended and not collected; `None` when it is gone.
pub(crate) fn state(process: &Process) -> Option<char> {
    process.stat().ok().map(|stat| stat.state)
}

/// Children, those that have ended and are not collected included.
pub(crate) fn children(process: &Process) -> Vec<Pid> {
    let Ok(threads) = process.tasks() else { return Vec::new() };
    let children = threads.flatten().filter_map(|thread| thread.children().ok()).flatten();
    children.map(|pid| Pid::from_raw(pid as i32)).collect()
}

/// Let this process have as many descriptors, and what it starts.
#[track_caller]
pub(crate) fn room_for_descriptors(needed: u64) {
    let nofile = Nofile::raise().expect("our own limit");
    assert!(
        nofile.soft >= needed,
        "this test needs {needed} descriptors, and may have {nofile}: see `ulimit -Hn`"
    );
}

/// What the next call that opens one returns. Descriptors that were inherited may have higher numbers.
pub(crate) fn lowest_free_descriptor(process: &Process) -> i32 {
    let open = process.fd().expect("the descriptors of a process of ours").flatten();
    let open: Vec<_> = open.map(|descriptor| descriptor.fd).collect();
    (0..).find(|fd| !open.contains(fd)).expect("not all are open")
}

/// How many descriptors it and its children have open.
pub(crate) fn descriptors(process: &Process) -> usize {
    let own = process.fd_count().expect("the descriptors of a process of ours can be counted");
    let of_child = |pid: Pid| Process::new(pid.as_raw()).and_then(|child| child.fd_count()).unwrap_or(0);
    own + children(process).into_iter().map(of_child).sum::<usize>()
}

/// The threads of it and of its children.
fn threads(process: &Process) -> Vec<Task> {
    let mut all: Vec<_> =
        process.tasks().expect("the threads of a process of ours").filter_map(Result::ok).collect();
    for pid in children(process) {
        let child = Process::new(pid.as_raw()).and_then(|child| child.tasks());
        all.extend(child.into_iter().flatten().filter_map(Result::ok));
    }
    all
}

/// The processor time of it and of its children that have not ended, exact to the nanosecond.
pub(crate) fn cpu_time(process: &Process) -> Duration {
    let of = |thread: Task| thread.schedstat().map_or(0, |stat| stat.sum_exec_runtime);
    Duration::from_nanos(threads(process).into_iter().map(of).sum())
}

/// How long its threads, and those of its children, have run or waited for a processor. A thread that never sleeps has all of
/// the time, also on a busy machine.
pub(crate) fn time_awake(process: &Process) -> Duration {
    let of = |thread: Task| thread.schedstat().map_or(0, |stat| stat.sum_exec_runtime + stat.run_delay);
    Duration::from_nanos(threads(process).into_iter().map(of).sum())
}

/// Nothing moves now. What is measured is how much a wait costs, so this is a stretch of time, in which
/// the server tries ten times or so what it cannot do.
#[track_caller]
pub(crate) fn waits_cheaply(process: &Process) {
    let (started, before) = (Instant::now(), cpu_time(process));
    std::thread::sleep(Duration::from_secs(1));
    let spent = cpu_time(process) - before;
    assert!(spent < started.elapsed() / 5, "{spent:?} of processor time for waiting");
}

/// The most memory that it has ever had resident, in bytes.
pub(crate) fn peak_memory(process: &Process) -> u64 {
    let status = process.status().expect("/proc/PID/status");
    status.vmhwm.expect("VmHWM, which every process with memory has") * 1024
}

/// Whether all threads of it and of its children sleep, and none has been woken between two looks.
pub(crate) fn is_idle(process: &Process) -> bool {
    let look = || {
        let look_at = |thread: Task| {
            let status = thread.status().ok()?;
            let switches = (status.voluntary_ctxt_switches, status.nonvoluntary_ctxt_switches);
            status.state.starts_with('S').then_some((thread.tid, switches))
        };
        threads(process).into_iter().map(look_at).collect::<Option<Vec<_>>>()
    };
    let before = look();
    std::thread::sleep(Duration::from_millis(2));
    before.is_some() && before == look()
}

/// How often its threads were woken, and have gone to sleep again.
pub(crate) fn wake_ups(process: &Process) -> u64 {
    let of = |thread: Task| thread.status().ok()?.voluntary_ctxt_switches;
    threads(process).into_iter().filter_map(of).sum()
}

/// Whether the kernel is older than this version.
pub(crate) fn kernel_before(major: u8, minor: u8) -> bool {
    let kernel = procfs::sys::kernel::Version::current().expect("the kernel has a version");
    (kernel.major, kernel.minor) < (major, minor)
}
