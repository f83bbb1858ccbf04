//! Kernels that break a fact of `facts/waiters/`.

use super::super::kernel::Kernel;
use super::Mutant;
use crate::sys::Errno;
use crate::sys::raw::{self, At, Refusal, Reply};
use libc::{EPOLL_CTL_ADD, EPOLL_CTL_MOD, EPOLLEXCLUSIVE, EPOLLONESHOT, epoll_event, pollfd};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

pub(super) const MUTANTS: &[Mutant] = &[
    Mutant {
        name: "oneshot-leaks-hup",
        breaks: "multi-oneshot-disables",
        behaviour: "A hang-up is reported through an EPOLLONESHOT entry that has fired.",
        kernel: &OneshotLeaksHup,
    },
    Mutant {
        name: "oneshot-deletes",
        breaks: "multi-oneshot-still-registered",
        behaviour: "An EPOLLONESHOT entry is gone after its event, as EV_ONESHOT of kqueue has it.",
        kernel: &OneshotDeletes,
    },
    Mutant {
        name: "level-wakes-one",
        breaks: "multi-same-epfd-lt-wakes-all",
        behaviour: "Of threads in one level-triggered epoll only one is woken, as on Linux 5.6 to 5.8 (kernel bugzilla 208943).",
        kernel: &LevelWakesOne,
    },
    Mutant {
        name: "exclusive-ignored",
        breaks: "multi-exclusive-wakes-one",
        behaviour: "EPOLLEXCLUSIVE is taken and ignored, as before Linux 4.5.",
        kernel: &ExclusiveIgnored,
    },
    Mutant {
        name: "loop-is-einval",
        breaks: "multi-nested-loop-eloop",
        behaviour: "A ring of epolls is refused with EINVAL, as in iSH (emkey1/ish-AOK#492).",
        kernel: &LoopIsEinval,
    },
    Mutant {
        name: "exclusive-can-be-modified",
        breaks: "multi-exclusive-restrictions",
        behaviour: "EPOLL_CTL_MOD of an exclusive entry is accepted, as programmers expect.",
        kernel: &ExclusiveCanBeModified,
    },
    Mutant {
        name: "epoll-in-poll-consumes",
        breaks: "multi-poll-on-epfd",
        behaviour: "poll of an epoll takes its edges.",
        kernel: &PollConsumes,
    },
];

/// Entries that were added with EPOLLONESHOT: the epoll and the descriptor.
static ONESHOT: Mutex<Vec<(i32, i32)>> = Mutex::new(Vec::new());

fn note_oneshot(epoll: i32, op: i32, fd: i32, event: Option<epoll_event>) {
    let oneshot = event.is_some_and(|event| { event.events } & EPOLLONESHOT as u32 != 0);
    if let (EPOLL_CTL_ADD, true, Ok(mut entries)) = (op, oneshot, ONESHOT.lock()) {
        entries.push((epoll, fd));
    }
}

struct OneshotLeaksHup;

impl Kernel for OneshotLeaksHup {
    fn epoll_ctl(&self, epoll: i32, op: i32, fd: i32, event: Option<epoll_event>) -> Reply<()> {
        note_oneshot(epoll, op, fd, event);
        raw::epoll_ctl(epoll, op, fd, event)
    }

    fn epoll_wait(
        &self,
        epoll: i32,
        mut events: At<'_, epoll_event>,
        max: i32,
        timeout: i32,
    ) -> Reply<usize> {
        let n = raw::epoll_wait(epoll, events.again(), max, timeout)?;
        let (0, At::Memory(events), Ok(entries)) = (n, events, ONESHOT.lock()) else { return Ok(n) };
        for &(_, fd) in entries.iter().filter(|entry| entry.0 == epoll) {
            let mut one = pollfd { fd, events: 0, revents: 0 };
            raw::poll(At::from(&mut one), 0)?;
            if one.revents & (libc::POLLHUP | libc::POLLERR) != 0 {
                events[0] = epoll_event { events: one.revents as u32, u64: fd as u64 };
                return Ok(1);
            }
        }
        Ok(0)
    }
}

struct OneshotDeletes;

impl Kernel for OneshotDeletes {
    fn epoll_ctl(&self, epoll: i32, op: i32, fd: i32, event: Option<epoll_event>) -> Reply<()> {
        note_oneshot(epoll, op, fd, event);
        raw::epoll_ctl(epoll, op, fd, event)
    }

    fn epoll_wait(
        &self,
        epoll: i32,
        mut events: At<'_, epoll_event>,
        max: i32,
        timeout: i32,
    ) -> Reply<usize> {
        let n = raw::epoll_wait(epoll, events.again(), max, timeout)?;
        if let (At::Memory(events), Ok(entries)) = (events, ONESHOT.lock()) {
            for fd in events[..n].iter().map(|event| event.u64 as i32) {
                if entries.contains(&(epoll, fd)) {
                    raw::epoll_ctl(epoll, libc::EPOLL_CTL_DEL, fd, None)?;
                }
            }
        }
        Ok(n)
    }
}

/// Whether a thread has had the event that they all wait for.
static TAKEN: AtomicBool = AtomicBool::new(false);

struct LevelWakesOne;

impl Kernel for LevelWakesOne {
    fn epoll_wait(&self, epoll: i32, events: At<'_, epoll_event>, max: i32, timeout: i32) -> Reply<usize> {
        let n = raw::epoll_wait(epoll, events, max, timeout)?;
        // The others find nothing, as if they had slept to the end of their time.
        Ok(if timeout > 0 && n > 0 && TAKEN.swap(true, SeqCst) { 0 } else { n })
    }
}

struct ExclusiveIgnored;

impl Kernel for ExclusiveIgnored {
    fn epoll_ctl(&self, epoll: i32, op: i32, fd: i32, event: Option<epoll_event>) -> Reply<()> {
        let event =
            event.map(|event| epoll_event { events: event.events & !(EPOLLEXCLUSIVE as u32), ..event });
        raw::epoll_ctl(epoll, op, fd, event)
    }
}

struct LoopIsEinval;

impl Kernel for LoopIsEinval {
    fn epoll_ctl(&self, epoll: i32, op: i32, fd: i32, event: Option<epoll_event>) -> Reply<()> {
        raw::epoll_ctl(epoll, op, fd, event).map_err(|refusal| match refusal.errno {
            Errno::ELOOP => Refusal { errno: Errno::EINVAL, ..refusal },
            _ => refusal,
        })
    }
}

struct ExclusiveCanBeModified;

impl Kernel for ExclusiveCanBeModified {
    fn epoll_ctl(&self, epoll: i32, op: i32, fd: i32, event: Option<epoll_event>) -> Reply<()> {
        let done = raw::epoll_ctl(epoll, op, fd, event);
        let exclusive = event.is_some_and(|event| { event.events } & EPOLLEXCLUSIVE as u32 != 0);
        if op == EPOLL_CTL_MOD && exclusive { Ok(()) } else { done }
    }
}

struct PollConsumes;

impl Kernel for PollConsumes {
    fn poll(&self, mut fds: At<'_, pollfd>, timeout: i32) -> Reply<usize> {
        let ready = raw::poll(fds.again(), timeout)?;
        if let At::Memory(fds) = fds {
            let mut events = [epoll_event { events: 0, u64: 0 }; 8];
            for one in fds.iter().filter(|one| one.revents != 0) {
                // A descriptor that is no epoll refuses.
                raw::epoll_wait(one.fd, At::from(&mut events), 8, 0).ok();
            }
        }
        Ok(ready)
    }
}
