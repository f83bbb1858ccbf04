//! Kernels that break a fact of `facts/waiters/` about epoll in epoll.

use super::kinds::*;
use libc::{EPOLL_CTL_ADD, EPOLLET};

pub(super) const MUTANTS: &[Mutant] = &[
    Mutant {
        name: "nested-never-ready",
        breaks: "multi-nested-in",
        behaviour: "An epoll in an epoll is never ready, as libev's notes have it.",
        kernel: &Waited(|_, events| events.retain(|event| !is_epoll(event.u64 as i32))),
    },
    Mutant {
        name: "nested-edge-is-level",
        breaks: "multi-nested-outer-et",
        behaviour: "EPOLLET of an entry that is an epoll is ignored.",
        kernel: &Ctl(|call| if is_epoll(call.fd) { without_edge(call) } else { call.real() }),
    },
    Mutant {
        name: "inner-edge-is-level",
        breaks: "multi-nested-inner-et",
        behaviour: "EPOLLET is ignored for all but epolls.",
        kernel: &Ctl(|call| if is_epoll(call.fd) { call.real() } else { without_edge(call) }),
    },
    Mutant {
        name: "inner-epoll-outlives-close",
        breaks: "multi-nested-inner-close",
        behaviour: "An epoll that is closed stays in the others that have it.",
        kernel: &instead::close(|fd| {
            if is_epoll(fd) {
                raw::dup(fd)?;
            }
            raw::close(fd)
        }),
    },
    Mutant {
        name: "nested-three-deep",
        breaks: "multi-nested-depth-five",
        behaviour: "Epolls may be three deep and no more.",
        kernel: &Ctl(|call| at_most(3, call, Errno::ELOOP)),
    },
    Mutant {
        name: "nested-too-deep-is-einval",
        breaks: "multi-nested-depth-five",
        behaviour: "A chain that is too long is refused with EINVAL, as on Linux before 6.17.",
        kernel: &OtherErrno(Call::epoll_ctl, Errno::ELOOP, Errno::EINVAL),
    },
    Mutant {
        name: "nested-a-hundred",
        breaks: "multi-nested-path-limit",
        behaviour: "An epoll may be in a hundred others, the limit that the kernel has a level deeper.",
        kernel: &Ctl(|call| at_most(100, call, Errno::EINVAL)),
    },
];

fn is_epoll(fd: i32) -> bool {
    link_of(fd) == "anon_inode:[eventpoll]"
}

fn without_edge(call: CtlCall) -> Reply<()> {
    call.with(|events| events & !(EPOLLET as u32)).real()
}

/// Only so many epolls may be added to others.
fn at_most(most: usize, call: CtlCall, errno: Errno) -> Reply<()> {
    static NESTED: AtomicUsize = AtomicUsize::new(0);
    let too_many = call.op == EPOLL_CTL_ADD && is_epoll(call.fd) && NESTED.fetch_add(1, SeqCst) >= most;
    if too_many { no(errno) } else { call.real() }
}
