//! Kernels that break a fact of `facts/waiters/` about epoll in epoll.

use super::super::kernel::Kernel;
use super::Mutant;
use crate::sys::Errno;
use crate::sys::raw::{self, At, Refusal, Reply};
use libc::{EPOLL_CTL_ADD, EPOLLET, epoll_event};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

pub(super) const MUTANTS: &[Mutant] = &[
    Mutant {
        name: "nested-never-ready",
        breaks: "multi-nested-in",
        behaviour: "An epoll in an epoll is never ready, as libev's notes have it.",
        kernel: &NestedNeverReady,
    },
    Mutant {
        name: "nested-edge-is-level",
        breaks: "multi-nested-outer-et",
        behaviour: "EPOLLET of an entry that is an epoll is ignored.",
        kernel: &NestedEdgeIsLevel,
    },
    Mutant {
        name: "inner-edge-is-level",
        breaks: "multi-nested-inner-et",
        behaviour: "EPOLLET is ignored for all but epolls.",
        kernel: &InnerEdgeIsLevel,
    },
    Mutant {
        name: "inner-epoll-outlives-close",
        breaks: "multi-nested-inner-close",
        behaviour: "An epoll that is closed stays in the others that have it.",
        kernel: &InnerOutlivesClose,
    },
    Mutant {
        name: "nested-three-deep",
        breaks: "multi-nested-depth-five",
        behaviour: "Epolls may be three deep and no more.",
        kernel: &NestedAtMost(3, Errno::ELOOP),
    },
    Mutant {
        name: "nested-a-hundred",
        breaks: "multi-nested-path-limit",
        behaviour: "An epoll may be in a hundred others, the limit that the kernel has a level deeper.",
        kernel: &NestedAtMost(100, Errno::EINVAL),
    },
];

fn is_epoll(fd: i32) -> bool {
    let link = std::fs::read_link(format!("/proc/self/fd/{fd}"));
    link.is_ok_and(|link| link.as_os_str() == "anon_inode:[eventpoll]")
}

fn without_edge(event: Option<epoll_event>) -> Option<epoll_event> {
    event.map(|event| epoll_event { events: event.events & !(EPOLLET as u32), ..event })
}

struct NestedNeverReady;

impl Kernel for NestedNeverReady {
    fn epoll_wait(
        &self,
        epoll: i32,
        mut events: At<'_, epoll_event>,
        max: i32,
        timeout: i32,
    ) -> Reply<usize> {
        let n = raw::epoll_wait(epoll, events.again(), max, timeout)?;
        let At::Memory(events) = events else { return Ok(n) };
        let others: Vec<_> =
            events[..n].iter().copied().filter(|event| !is_epoll(event.u64 as i32)).collect();
        events[..others.len()].copy_from_slice(&others);
        Ok(others.len())
    }
}

struct NestedEdgeIsLevel;

impl Kernel for NestedEdgeIsLevel {
    fn epoll_ctl(&self, epoll: i32, op: i32, fd: i32, event: Option<epoll_event>) -> Reply<()> {
        raw::epoll_ctl(epoll, op, fd, if is_epoll(fd) { without_edge(event) } else { event })
    }
}

struct InnerEdgeIsLevel;

impl Kernel for InnerEdgeIsLevel {
    fn epoll_ctl(&self, epoll: i32, op: i32, fd: i32, event: Option<epoll_event>) -> Reply<()> {
        raw::epoll_ctl(epoll, op, fd, if is_epoll(fd) { event } else { without_edge(event) })
    }
}

struct InnerOutlivesClose;

impl Kernel for InnerOutlivesClose {
    fn close(&self, fd: i32) -> Reply<()> {
        if is_epoll(fd) {
            raw::dup(fd)?;
        }
        raw::close(fd)
    }
}

/// How many epolls have been added to others.
static NESTED: AtomicUsize = AtomicUsize::new(0);

struct NestedAtMost(usize, Errno);

impl Kernel for NestedAtMost {
    fn epoll_ctl(&self, epoll: i32, op: i32, fd: i32, event: Option<epoll_event>) -> Reply<()> {
        if op == EPOLL_CTL_ADD && is_epoll(fd) && NESTED.fetch_add(1, SeqCst) >= self.0 {
            return Err(Refusal { call: "epoll_ctl", errno: self.1 });
        }
        raw::epoll_ctl(epoll, op, fd, event)
    }
}
