//! Memory of processes, and of the kernel for them.

use procfs::process::Process;
use procfs::{Current, Meminfo};

/// Memory of some processes, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct OfProcesses {
    /// What they have written themselves: anonymous memory (`Pss_Anon`, since Linux 5.4). A page that n processes share, as
    /// after fork(2), counts as 1/n for each, so that the sum is the memory that there is.
    pub own: u64,
    /// The same with their share of files that are mapped, the program and its libraries above all (`Pss`). It depends on how
    /// many others run the same program.
    pub proportional: u64,
}

impl OfProcesses {
    /// As `/proc/PID/smaps_rollup` tells it (man 5 proc_pid_smaps). `None` when it does not, for any of them.
    #[must_use]
    pub fn now(pids: &[u32]) -> Option<OfProcesses> {
        let all: Option<Vec<_>> = pids.iter().map(|&pid| OfProcesses::of(pid)).collect();
        let sum = |sum: OfProcesses, one: OfProcesses| OfProcesses {
            own: sum.own + one.own,
            proportional: sum.proportional + one.proportional,
        };
        all?.into_iter().reduce(sum)
    }

    fn of(pid: u32) -> Option<OfProcesses> {
        let rollup = Process::new(pid.cast_signed()).ok()?.smaps_rollup().ok()?;
        let map = rollup.memory_map_rollup.0.into_iter().next()?;
        let field = |name: &str| map.extension.map.get(name).copied();
        Some(OfProcesses { own: field("Pss_Anon")?, proportional: field("Pss")? })
    }
}

/// Memory in which the kernel keeps what belongs to sockets and processes, of the whole machine, in bytes: slab, kernel stacks,
/// page tables, and buffers of sockets. `None` where /proc does not tell.
#[must_use]
pub fn of_kernel() -> Option<u64> {
    let info = Meminfo::current().ok()?;
    let sockets = std::fs::read_to_string("/proc/net/sockstat").ok()?;
    // "TCP: inuse 5 orphan 0 tw 0 alloc 7 mem 1", in pages.
    let tcp = sockets.lines().find_map(|line| line.strip_prefix("TCP:"))?;
    let pages: u64 = tcp.split_whitespace().skip_while(|&word| word != "mem").nth(1)?.parse().ok()?;
    let parts = [Some(info.slab), info.kernel_stack, info.page_tables];
    Some(parts.into_iter().flatten().sum::<u64>() + pages * procfs::page_size())
}
