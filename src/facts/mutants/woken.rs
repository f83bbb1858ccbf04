//! Kernels that break a fact of `facts/waiters/` about who is woken.

use super::kinds::*;
use crate::sys::raw::Action;
use libc::{EPOLL_CTL_ADD, EPOLL_CTL_DEL, EPOLL_CTL_MOD, EPOLLET, EPOLLEXCLUSIVE, EPOLLIN, EPOLLONESHOT};

pub(super) const MUTANTS: &[Mutant] = &[
    Mutant {
        name: "oneshot-rearm-silent",
        breaks: "multi-oneshot-rearm-reports",
        behaviour: "EPOLL_CTL_MOD of an EPOLLONESHOT entry does not look whether it is ready.",
        kernel: &Ctl(
            |call| if call.op == EPOLL_CTL_MOD && call.has(EPOLLONESHOT) { Ok(()) } else { call.real() },
        ),
    },
    Mutant {
        name: "oneshot-edge-lost",
        breaks: "multi-oneshot-et-rearm",
        behaviour: "What arrives while an EPOLLONESHOT entry with EPOLLET is disabled is lost, as in Shadow once.",
        kernel: &Ctl(|call| {
            call.real()?;
            if call.op == EPOLL_CTL_MOD {
                ready_now(call.epoll)?;
            }
            Ok(())
        }),
    },
    Mutant {
        name: "edge-wakes-all",
        breaks: "multi-same-epfd-et-wakes-one",
        behaviour: "An edge wakes all threads that wait in an epoll: EPOLLET and EPOLLONESHOT are ignored.",
        kernel: &Ctl(|call| call.with(|events| events & !((EPOLLET | EPOLLONESHOT) as u32)).real()),
    },
    Mutant {
        name: "edge-is-oneshot",
        breaks: "multi-et-two-edges-two-threads",
        behaviour: "EPOLLET keeps a second thread away until the first has come back, as programmers hope.",
        kernel: &Ctl(|call| match call.has(EPOLLET) {
            true => call.with(|events| events | EPOLLONESHOT as u32).real(),
            false => call.real(),
        }),
    },
    Mutant {
        name: "waiters-are-fifo",
        breaks: "multi-waiters-are-lifo",
        behaviour: "The thread that fell asleep first is woken first, as in accept.",
        kernel: &Table {
            epoll_ctl: |epoll, op, fd, event| CtlCall { epoll, op, fd, event }.remembered(),
            epoll_wait: |epoll, events, max, timeout| {
                // Of exclusive instances the first is woken: each thread waits in one of its own.
                let own = raw::epoll_create1(0)?;
                for entry in entries().iter().filter(|entry| entry.epoll == epoll) {
                    let exclusive = (EPOLLIN | EPOLLET | EPOLLEXCLUSIVE) as u32;
                    CtlCall { epoll: own, ..*entry }.with(|_| exclusive).real()?;
                }
                let waited = raw::epoll_wait(own, events, max, timeout);
                raw::close(own)?;
                waited
            },
            ..Table::LINUX
        },
    },
    Mutant {
        name: "accept-waiters-are-lifo",
        breaks: "multi-accept-waiters-fifo",
        behaviour: "The thread that fell asleep last in accept is served first, as in epoll.",
        kernel: &instead::accept(|fd| {
            static WAITING: Mutex<Vec<i32>> = Mutex::new(Vec::new());
            static HANDED_ON: Mutex<Vec<i32>> = Mutex::new(Vec::new());
            raw::sigaction(libc::SIGUSR2, Action::Count, 0)?;
            locked(&WAITING).push(raw::gettid());
            loop {
                let accepted = raw::accept(fd);
                if accepted == no(Errno::EINTR)
                    && let Some(connection) = locked(&HANDED_ON).pop()
                {
                    return Ok(connection);
                }
                let last = locked(&WAITING).pop().unwrap_or(0);
                if accepted.is_err() || last == raw::gettid() {
                    return accepted;
                }
                // Whoever is served first hands the connection on, with a signal, and waits again.
                locked(&HANDED_ON).push(accepted?);
                raw::tgkill(last, libc::SIGUSR2)?;
            }
        }),
    },
    Mutant {
        name: "one-epoll-is-woken",
        breaks: "multi-many-epolls-wake-all",
        behaviour: "Of epolls on one descriptor one is woken, as if all had EPOLLEXCLUSIVE.",
        kernel: &Ctl(all_exclusive),
    },
    Mutant {
        name: "exclusive-for-all",
        breaks: "multi-exclusive-mixed",
        behaviour: "One exclusive epoll makes all others on the descriptor exclusive.",
        kernel: &Ctl(all_exclusive),
    },
    Mutant {
        name: "exclusive-last-registered-wins",
        breaks: "multi-exclusive-first-registered-wins",
        behaviour: "Of exclusive epolls the last registered is woken.",
        kernel: &Ctl(|call| {
            call.remembered()?;
            // All of them anew, the last one first.
            for entry in entries().iter() {
                CtlCall { op: EPOLL_CTL_DEL, ..*entry }.real()?;
            }
            entries().iter().rev().try_for_each(|entry| entry.real())
        }),
    },
    Mutant {
        name: "exclusive-idle-not-marked",
        breaks: "multi-exclusive-skips-idle-epoll",
        behaviour: "An exclusive epoll without a waiter hears nothing.",
        // Whoever asks without waiting was idle until then.
        kernel: &instead::epoll_wait(|epoll, events, max, timeout| match timeout {
            0 => Ok(0),
            _ => raw::epoll_wait(epoll, events, max, timeout),
        }),
    },
];

fn all_exclusive(call: CtlCall) -> Reply<()> {
    match call.op {
        EPOLL_CTL_ADD => call.with(|events| events | EPOLLEXCLUSIVE as u32).real(),
        _ => call.real(),
    }
}
