//! What a server has of the system, to compare it before and after its clients.

use super::process::children;
use io_models::sys::fork::Pid;
use procfs::process::{Process, Task};

/// What a server and its children have of the system.
#[derive(Debug)]
pub(crate) struct Held {
    children: usize,
    threads: usize,
    descriptors: usize,
}

impl Held {
    /// A child that ends meanwhile holds nothing.
    pub(crate) fn by(server: &Process) -> Held {
        let family = family(server);
        Held {
            children: family.len() - 1,
            threads: family.iter().map(threads).sum(),
            descriptors: family.iter().filter_map(|one| one.fd_count().ok()).sum(),
        }
    }

    /// Whether these are no more children, threads and descriptors. A child that has ended and was not collected is one.
    pub(crate) fn is_within(&self, earlier: &Held) -> bool {
        self.children <= earlier.children
            && self.threads <= earlier.threads
            && self.descriptors <= earlier.descriptors
    }
}

/// A worker thread of the kernel does not count, which has run what a ring could not at once: the kernel keeps one.
fn threads(process: &Process) -> usize {
    let is_ours = |thread: &Task| thread.status().is_ok_and(|status| !status.name.starts_with("iou-wrk"));
    process.tasks().map_or(0, |threads| threads.flatten().filter(is_ours).count())
}

/// The memory that a server and its children have for themselves, such as heap and stacks, in bytes. The kernel looks at each page
/// for this sum.
#[track_caller]
pub(crate) fn own_memory(server: &Process) -> u64 {
    let of = |process: &Process| {
        let rollup = process.smaps_rollup().ok()?;
        rollup.memory_map_rollup.0[0].extension.map.get("Anonymous").copied()
    };
    let bytes = family(server).iter().filter_map(of).sum();
    assert!(bytes > 0, "the memory of the server is not known");
    bytes
}

/// A server and its children.
fn family(server: &Process) -> Vec<Process> {
    let ours = children(server).into_iter().map(Pid::as_raw).chain([server.pid]);
    ours.filter_map(|pid| Process::new(pid).ok()).collect()
}
