//! Kernels that break a fact of `facts/waiters/` about who is woken.

use super::super::kernel::Kernel;
use super::Mutant;
use crate::sys::raw::{self, At, Reply};
use libc::{EPOLL_CTL_ADD, EPOLL_CTL_DEL, EPOLL_CTL_MOD, EPOLLET, EPOLLEXCLUSIVE, EPOLLONESHOT, epoll_event};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

pub(super) const MUTANTS: &[Mutant] = &[
    Mutant {
        name: "oneshot-rearm-silent",
        breaks: "multi-oneshot-rearm-reports",
        behaviour: "EPOLL_CTL_MOD of an EPOLLONESHOT entry does not look whether it is ready.",
        kernel: &RearmSilent,
    },
    Mutant {
        name: "edge-wakes-all",
        breaks: "multi-same-epfd-et-wakes-one",
        behaviour: "An edge wakes all threads that wait in an epoll: EPOLLET and EPOLLONESHOT are ignored.",
        kernel: &EdgeWakesAll,
    },
    Mutant {
        name: "edge-is-oneshot",
        breaks: "multi-et-two-edges-two-threads",
        behaviour: "EPOLLET keeps a second thread away until the first has come back, as programmers hope.",
        kernel: &EdgeIsOneshot,
    },
    Mutant {
        name: "last-waiter-passed-over",
        breaks: "multi-waiters-are-lifo",
        behaviour: "The thread that fell asleep last is not the one that is woken.",
        kernel: &LastPassedOver,
    },
    Mutant {
        name: "accept-takes-two",
        breaks: "multi-accept-waiters-fifo",
        behaviour: "A thread in accept takes two connections before it returns.",
        kernel: &AcceptTakesTwo,
    },
    Mutant {
        name: "one-epoll-is-woken",
        breaks: "multi-many-epolls-wake-all",
        behaviour: "Of epolls on one descriptor one is woken, as if all had EPOLLEXCLUSIVE.",
        kernel: &AllExclusive,
    },
    Mutant {
        name: "exclusive-for-all",
        breaks: "multi-exclusive-mixed",
        behaviour: "One exclusive epoll makes all others on the descriptor exclusive.",
        kernel: &AllExclusive,
    },
    Mutant {
        name: "exclusive-last-registered-wins",
        breaks: "multi-exclusive-first-registered-wins",
        behaviour: "Of exclusive epolls the last registered is woken.",
        kernel: &LastRegisteredWins,
    },
    Mutant {
        name: "exclusive-idle-not-marked",
        breaks: "multi-exclusive-skips-idle-epoll",
        behaviour: "An exclusive epoll without a waiter hears nothing.",
        kernel: &IdleNotMarked,
    },
];

fn has(event: Option<epoll_event>, flag: i32) -> bool {
    event.is_some_and(|event| event.events & flag as u32 != 0)
}

struct RearmSilent;

impl Kernel for RearmSilent {
    fn epoll_ctl(&self, epoll: i32, op: i32, fd: i32, event: Option<epoll_event>) -> Reply<()> {
        if op == EPOLL_CTL_MOD && has(event, EPOLLONESHOT) {
            Ok(())
        } else {
            raw::epoll_ctl(epoll, op, fd, event)
        }
    }
}

struct EdgeWakesAll;

impl Kernel for EdgeWakesAll {
    fn epoll_ctl(&self, epoll: i32, op: i32, fd: i32, event: Option<epoll_event>) -> Reply<()> {
        let ignored = (EPOLLET | EPOLLONESHOT) as u32;
        let event = event.map(|event| epoll_event { events: event.events & !ignored, ..event });
        raw::epoll_ctl(epoll, op, fd, event)
    }
}

struct EdgeIsOneshot;

impl Kernel for EdgeIsOneshot {
    fn epoll_ctl(&self, epoll: i32, op: i32, fd: i32, event: Option<epoll_event>) -> Reply<()> {
        let oneshot = if has(event, EPOLLET) { EPOLLONESHOT as u32 } else { 0 };
        let event = event.map(|event| epoll_event { events: event.events | oneshot, ..event });
        raw::epoll_ctl(epoll, op, fd, event)
    }
}

/// How many threads have gone to sleep without a limit.
static ASLEEP: AtomicUsize = AtomicUsize::new(0);

struct LastPassedOver;

impl Kernel for LastPassedOver {
    fn epoll_wait(&self, epoll: i32, events: At<'_, epoll_event>, max: i32, timeout: i32) -> Reply<usize> {
        // The fourth sleeps in an epoll that has nothing.
        let fourth = timeout == -1 && ASLEEP.fetch_add(1, SeqCst) == 3;
        raw::epoll_wait(if fourth { raw::epoll_create1(0)? } else { epoll }, events, max, timeout)
    }
}

struct AcceptTakesTwo;

impl Kernel for AcceptTakesTwo {
    fn accept(&self, fd: i32) -> Reply<i32> {
        // Of threads beside the first one only, so that little else goes wrong.
        if raw::gettid() != std::process::id().cast_signed() {
            raw::accept(fd)?;
        }
        raw::accept(fd)
    }
}

struct AllExclusive;

impl Kernel for AllExclusive {
    fn epoll_ctl(&self, epoll: i32, op: i32, fd: i32, event: Option<epoll_event>) -> Reply<()> {
        let exclusive = if op == EPOLL_CTL_ADD { EPOLLEXCLUSIVE as u32 } else { 0 };
        let event = event.map(|event| epoll_event { events: event.events | exclusive, ..event });
        raw::epoll_ctl(epoll, op, fd, event)
    }
}

/// The exclusive entries in the order in which they were added.
static ADDED: Mutex<Vec<(i32, i32, u32)>> = Mutex::new(Vec::new());

struct LastRegisteredWins;

impl Kernel for LastRegisteredWins {
    fn epoll_ctl(&self, epoll: i32, op: i32, fd: i32, event: Option<epoll_event>) -> Reply<()> {
        raw::epoll_ctl(epoll, op, fd, event)?;
        let (true, Some(event), Ok(mut added)) = (has(event, EPOLLEXCLUSIVE), event, ADDED.lock()) else {
            return Ok(());
        };
        added.push((epoll, fd, event.events));
        // All of them anew, the last one first.
        for &(epoll, fd, _) in added.iter() {
            raw::epoll_ctl(epoll, EPOLL_CTL_DEL, fd, None)?;
        }
        for &(epoll, fd, events) in added.iter().rev() {
            raw::epoll_ctl(epoll, EPOLL_CTL_ADD, fd, Some(epoll_event { events, u64: fd as u64 }))?;
        }
        Ok(())
    }
}

struct IdleNotMarked;

impl Kernel for IdleNotMarked {
    fn epoll_ctl(&self, epoll: i32, op: i32, fd: i32, event: Option<epoll_event>) -> Reply<()> {
        if let (true, Ok(mut added)) = (has(event, EPOLLEXCLUSIVE), ADDED.lock()) {
            added.push((epoll, fd, 0));
        }
        raw::epoll_ctl(epoll, op, fd, event)
    }

    fn epoll_wait(&self, epoll: i32, events: At<'_, epoll_event>, max: i32, timeout: i32) -> Reply<usize> {
        let n = raw::epoll_wait(epoll, events, max, timeout)?;
        // Whoever asks without waiting was idle until then.
        let exclusive = ADDED.lock().is_ok_and(|added| added.iter().any(|entry| entry.0 == epoll));
        Ok(if timeout == 0 && exclusive { 0 } else { n })
    }
}
