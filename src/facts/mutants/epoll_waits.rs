//! Kernels that break a fact of `facts/epoll/`: of its waits, and of what can be seen of it.

use super::super::kernel::Kernel;
use super::Mutant;
use crate::sys::Errno;
use crate::sys::raw::{self, Action, At, Mask, Refusal, Reply, no};
use libc::{
    EPOLL_CTL_ADD, EPOLL_CTL_DEL, EPOLL_CTL_MOD, EPOLLET, EPOLLWAKEUP, epoll_event, pollfd, timespec,
};
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering::SeqCst};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

pub(super) const MUTANTS: &[Mutant] = &[
    Mutant {
        name: "epoll-sorts-events",
        breaks: "ep-fifo-order",
        behaviour: "Events come in the order of their descriptors' numbers, as with select.",
        kernel: &SortsEvents,
    },
    Mutant {
        name: "epoll-lowest-first",
        breaks: "ep-round-robin",
        behaviour: "A wait with little room reports the lowest numbers, each time, as a loop over select does.",
        kernel: &LowestFirst,
    },
    Mutant {
        name: "epoll-add-awaits-an-edge",
        breaks: "ep-add-ready-reports",
        behaviour: "An edge-triggered entry reports nothing before the next change, as people expect of an edge.",
        kernel: &AddAwaitsAnEdge,
    },
    Mutant {
        name: "epoll-state-of-the-wakeup",
        breaks: "ep-state-at-delivery",
        behaviour: "Each instance reports what it was woken for, also when that has gone meanwhile.",
        kernel: &StateOfTheWakeup,
    },
    Mutant {
        name: "epoll-numbers-not-reused",
        breaks: "ep-delivered-events-are-stale",
        behaviour: "A number is not given out again: an event that was delivered is never about another file.",
        kernel: &NumbersNotReused,
    },
    Mutant {
        name: "epoll-del-is-late",
        breaks: "ep-del-drops-ready-event",
        behaviour: "An event that was there before EPOLL_CTL_DEL is delivered after it.",
        kernel: &DelIsLate,
    },
    Mutant {
        name: "epoll-list-copied",
        breaks: "ep-ctl-wakes-waiter",
        behaviour: "A change of the interest list counts from the next wait on, as with poll.",
        kernel: &ListCopied,
    },
    Mutant {
        name: "epoll-undone-is-zero",
        breaks: "ep-undone-event-not-spurious",
        behaviour: "A wait that was woken for something that is gone returns 0 at once.",
        kernel: &UndoneIsZero,
    },
    Mutant {
        name: "epoll-close-ends-waits",
        breaks: "ep-close-epfd-other-thread",
        behaviour: "Closing the epoll descriptor ends the waits in it with EBADF, as people expect.",
        kernel: &CloseEndsWaits,
    },
    Mutant {
        name: "epoll-closed-is-nval",
        breaks: "ep-close-target-other-thread",
        behaviour: "A wait for a descriptor that is closed meanwhile reports NVAL, as a new call of poll does.",
        kernel: &ClosedIsNval,
    },
    Mutant {
        name: "epoll-busy-is-empty",
        breaks: "ep-concurrent-zero-timeout-no-false-empty",
        behaviour: "A wait with a timeout of 0 finds nothing while another is at the list of what is ready, as Linux may do \
                    in theory.",
        kernel: &BusyIsEmpty,
    },
    Mutant {
        name: "epoll-restarts-after-stop",
        breaks: "ep-stop-cont-eintr",
        behaviour: "epoll_wait waits on after SIGSTOP and SIGCONT, as poll does.",
        kernel: &RestartsAfterStop,
    },
    Mutant {
        name: "ignored-signals-interrupt",
        breaks: "ep-ignored-signal-no-eintr",
        behaviour: "A signal that is ignored interrupts a call, as if it had a handler that does nothing.",
        kernel: &IgnoredSignalsInterrupt,
    },
    Mutant {
        name: "epoll-pwait2-rounds-down",
        breaks: "ep-pwait2-nanoseconds",
        behaviour: "epoll_pwait2 counts in whole milliseconds: an emulation over epoll_pwait that rounds down (Bun's did) spins.",
        kernel: &Pwait2RoundsDown,
    },
    Mutant {
        name: "epoll-not-pollable",
        breaks: "ep-fd-is-pollable",
        behaviour: "poll never says anything of an epoll descriptor, as the notes of libev have it.",
        kernel: &NotPollable,
    },
    Mutant {
        name: "epoll-del-only-silences",
        breaks: "ep-fdinfo-lists-entries",
        behaviour: "EPOLL_CTL_DEL leaves an entry that asks for nothing.",
        kernel: &DelOnlySilences,
    },
    Mutant {
        name: "kcmp-compares-numbers",
        breaks: "ep-kcmp-finds-target",
        behaviour: "kcmp finds an entry by its number, and does not look at the file.",
        kernel: &KcmpComparesNumbers,
    },
    Mutant {
        name: "epoll-wakeup-refused",
        breaks: "ep-wakeup-flag-dropped",
        behaviour: "EPOLLWAKEUP without the capability is EPERM, as people expect of what is not permitted.",
        kernel: &WakeupRefused,
    },
];

/// What is on the interest lists: (instance, descriptor).
static ADDED: Mutex<Vec<(i32, i32)>> = Mutex::new(Vec::new());
/// Events that an instance will report next.
static OWED: Mutex<Vec<(i32, epoll_event)>> = Mutex::new(Vec::new());

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What an instance has now, up to 64 events.
fn ready_now(ep: i32) -> Reply<Vec<epoll_event>> {
    let mut events = [epoll_event { events: 0, u64: 0 }; 64];
    let n = raw::epoll_wait(ep, At::from(&mut events), 64, 0)?;
    Ok(events[..n].to_vec())
}

/// Answer a wait with these events, as far as there is room.
fn give(mut into: At<'_, epoll_event>, events: &[epoll_event], max: i32) -> usize {
    let At::Memory(memory) = &mut into else { return 0 };
    let n = events.len().min(usize::try_from(max).unwrap_or(0)).min(memory.len());
    memory[..n].copy_from_slice(&events[..n]);
    n
}

/// A wait made of short ones, after each of which `otherwise` may answer in its stead.
fn in_slices(
    ep: i32,
    mut events: At<'_, epoll_event>,
    max: i32,
    timeout: i32,
    otherwise: impl Fn() -> Option<epoll_event>,
) -> Reply<usize> {
    let start = Instant::now();
    loop {
        let left =
            u128::try_from(timeout).map_or(u128::MAX, |ms| ms.saturating_sub(start.elapsed().as_millis()));
        let n = raw::epoll_wait(ep, events.again(), max, left.min(20) as i32)?;
        if n == 0
            && let Some(event) = otherwise()
        {
            return Ok(give(events, &[event], max));
        }
        if n > 0 || left == 0 {
            return Ok(n);
        }
    }
}

/// All that is ready, the lowest numbers first; the facts have a descriptor's number as its data.
fn lowest_first(ep: i32, mut events: At<'_, epoll_event>, max: i32, timeout: i32) -> Reply<usize> {
    let n = raw::epoll_wait(ep, events.again(), max, timeout)?;
    if n < 2 {
        return Ok(n);
    }
    let At::Memory(memory) = &mut events else { return Ok(n) };
    memory[..n].sort_by_key(|event| event.u64);
    Ok(n)
}

struct SortsEvents;

impl Kernel for SortsEvents {
    fn epoll_wait(&self, ep: i32, events: At<'_, epoll_event>, max: i32, timeout: i32) -> Reply<usize> {
        lowest_first(ep, events, max, timeout)
    }
}

struct LowestFirst;

impl Kernel for LowestFirst {
    fn epoll_wait(&self, ep: i32, events: At<'_, epoll_event>, max: i32, timeout: i32) -> Reply<usize> {
        // With room for all, or nothing to choose from, it is as it should be.
        if !(1..64).contains(&max) || timeout != 0 {
            return raw::epoll_wait(ep, events, max, timeout);
        }
        let mut all = ready_now(ep)?;
        all.sort_by_key(|event| event.u64);
        Ok(give(events, &all, max))
    }
}

struct AddAwaitsAnEdge;

impl Kernel for AddAwaitsAnEdge {
    fn epoll_ctl(&self, ep: i32, op: i32, fd: i32, event: Option<epoll_event>) -> Reply<()> {
        raw::epoll_ctl(ep, op, fd, event)?;
        if op == EPOLL_CTL_ADD && event.is_some_and(|event| event.events & EPOLLET as u32 != 0) {
            // Only edge-triggered events are gone with this.
            ready_now(ep)?;
        }
        Ok(())
    }
}

struct StateOfTheWakeup;

impl Kernel for StateOfTheWakeup {
    fn epoll_ctl(&self, ep: i32, op: i32, fd: i32, event: Option<epoll_event>) -> Reply<()> {
        raw::epoll_ctl(ep, op, fd, event)?;
        match op {
            EPOLL_CTL_ADD => locked(&ADDED).push((ep, fd)),
            EPOLL_CTL_DEL => locked(&ADDED).retain(|entry| *entry != (ep, fd)),
            _ => {}
        }
        Ok(())
    }

    fn epoll_wait(&self, ep: i32, mut events: At<'_, epoll_event>, max: i32, timeout: i32) -> Reply<usize> {
        let n = raw::epoll_wait(ep, events.again(), max, timeout)?;
        let mut owed = locked(&OWED);
        if let Some(at) = owed.iter().position(|(whose, _)| n == 0 && *whose == ep) {
            return Ok(give(events, &[owed.remove(at).1], max));
        }
        let At::Memory(memory) = &events else { return Ok(n) };
        for event in &memory[..n] {
            // Whoever else was woken for it will report it too.
            let others = locked(&ADDED);
            let others = others.iter().filter(|(other, fd)| *other != ep && event.u64 == *fd as u64);
            owed.extend(others.map(|(other, _)| (*other, *event)));
        }
        Ok(n)
    }
}

struct NumbersNotReused;

impl Kernel for NumbersNotReused {
    fn eventfd(&self, value: u32, flags: i32) -> Reply<i32> {
        // A number that nobody had yet.
        let fd = raw::eventfd(value, flags)?;
        let higher = raw::fcntl(fd, libc::F_DUPFD_CLOEXEC, 64)?;
        raw::close(fd)?;
        Ok(higher)
    }
}

struct DelIsLate;

impl Kernel for DelIsLate {
    fn epoll_ctl(&self, ep: i32, op: i32, fd: i32, event: Option<epoll_event>) -> Reply<()> {
        if op == EPOLL_CTL_DEL {
            let its = ready_now(ep)?.into_iter().filter(|event| event.u64 == fd as u64);
            locked(&OWED).extend(its.map(|event| (ep, event)));
        }
        raw::epoll_ctl(ep, op, fd, event)
    }

    fn epoll_wait(&self, ep: i32, events: At<'_, epoll_event>, max: i32, timeout: i32) -> Reply<usize> {
        let mut owed = locked(&OWED);
        if let Some(at) = owed.iter().position(|(whose, _)| *whose == ep) {
            return Ok(give(events, &[owed.remove(at).1], max));
        }
        drop(owed);
        raw::epoll_wait(ep, events, max, timeout)
    }
}

/// A call of `epoll_ctl` that somebody made.
type Change = (i32, i32, i32, Option<epoll_event>);
/// What will be done to the interest list when the wait is over.
static CHANGES: Mutex<Vec<Change>> = Mutex::new(Vec::new());
/// Whether somebody is in a wait.
static WAITING: AtomicBool = AtomicBool::new(false);

struct ListCopied;

impl Kernel for ListCopied {
    fn epoll_ctl(&self, ep: i32, op: i32, fd: i32, event: Option<epoll_event>) -> Reply<()> {
        if WAITING.load(SeqCst) {
            locked(&CHANGES).push((ep, op, fd, event));
            return Ok(());
        }
        raw::epoll_ctl(ep, op, fd, event)
    }

    fn epoll_wait(&self, ep: i32, events: At<'_, epoll_event>, max: i32, timeout: i32) -> Reply<usize> {
        WAITING.store(timeout != 0, SeqCst);
        // Not for ever: the fact shall end.
        let reply = raw::epoll_wait(ep, events, max, if timeout < 0 { 500 } else { timeout.min(500) });
        WAITING.store(false, SeqCst);
        for (ep, op, fd, event) in locked(&CHANGES).drain(..) {
            raw::epoll_ctl(ep, op, fd, event)?;
        }
        reply
    }
}

/// How often something was written.
static WRITTEN: Mutex<u64> = Mutex::new(0);
/// Wakes who waits for that.
static WRITE: Condvar = Condvar::new();

struct UndoneIsZero;

impl Kernel for UndoneIsZero {
    fn write(&self, fd: i32, bytes: &[u8]) -> Reply<usize> {
        let n = raw::write(fd, bytes)?;
        *locked(&WRITTEN) += 1;
        WRITE.notify_all();
        Ok(n)
    }

    fn epoll_wait(&self, ep: i32, mut events: At<'_, epoll_event>, max: i32, timeout: i32) -> Reply<usize> {
        let n = raw::epoll_wait(ep, events.again(), max, 0)?;
        if n > 0 || timeout == 0 {
            return Ok(n);
        }
        let written = locked(&WRITTEN);
        let before = *written;
        let limit = Duration::from_millis(u64::try_from(timeout).unwrap_or(5000));
        drop(WRITE.wait_timeout_while(written, limit, |now| *now == before));
        // Awake: with what there is now.
        raw::epoll_wait(ep, events, max, 0)
    }
}

struct CloseEndsWaits;

impl Kernel for CloseEndsWaits {
    fn epoll_wait(&self, ep: i32, events: At<'_, epoll_event>, max: i32, timeout: i32) -> Reply<usize> {
        // Each slice looks the number up again.
        in_slices(ep, events, max, timeout, || None)
    }
}

/// The descriptor that was closed last.
static CLOSED: AtomicI32 = AtomicI32::new(-1);

struct ClosedIsNval;

impl Kernel for ClosedIsNval {
    fn close(&self, fd: i32) -> Reply<()> {
        raw::close(fd)?;
        CLOSED.store(fd, SeqCst);
        Ok(())
    }

    fn epoll_wait(&self, ep: i32, events: At<'_, epoll_event>, max: i32, timeout: i32) -> Reply<usize> {
        CLOSED.store(-1, SeqCst);
        in_slices(ep, events, max, timeout, || {
            let fd = CLOSED.load(SeqCst);
            (fd != -1).then_some(epoll_event { events: libc::POLLNVAL as u32, u64: fd as u64 })
        })
    }
}

/// Whether somebody is at the list of what is ready.
static BUSY: AtomicBool = AtomicBool::new(false);

struct BusyIsEmpty;

impl Kernel for BusyIsEmpty {
    fn epoll_wait(&self, ep: i32, events: At<'_, epoll_event>, max: i32, timeout: i32) -> Reply<usize> {
        if timeout != 0 {
            return raw::epoll_wait(ep, events, max, timeout);
        }
        if BUSY.swap(true, SeqCst) {
            return Ok(0);
        }
        let reply = raw::epoll_wait(ep, events, max, 0);
        std::thread::yield_now();
        BUSY.store(false, SeqCst);
        reply
    }
}

struct RestartsAfterStop;

impl Kernel for RestartsAfterStop {
    fn epoll_wait(&self, ep: i32, mut events: At<'_, epoll_event>, max: i32, timeout: i32) -> Reply<usize> {
        let handlers = || (1..=64).map(raw::handled).sum::<u32>();
        let (start, before) = (Instant::now(), handlers());
        let mut left = timeout;
        loop {
            let reply = raw::epoll_wait(ep, events.again(), max, left);
            if reply != no(Errno::EINTR) || handlers() != before {
                return reply;
            }
            // The deadline stays where it was.
            if timeout > 0 {
                let passed = i32::try_from(start.elapsed().as_millis()).unwrap_or(i32::MAX);
                left = timeout.saturating_sub(passed).max(0);
            }
        }
    }
}

struct IgnoredSignalsInterrupt;

impl Kernel for IgnoredSignalsInterrupt {
    fn sigaction(&self, signal: i32, action: Action, flags: i32) -> Reply<()> {
        raw::sigaction(signal, if action == Action::Ignore { Action::Count } else { action }, flags)
    }
}

struct Pwait2RoundsDown;

impl Kernel for Pwait2RoundsDown {
    fn epoll_pwait2(
        &self,
        ep: i32,
        events: At<'_, epoll_event>,
        max: i32,
        timeout: Option<&mut timespec>,
        mask: Mask,
    ) -> Reply<usize> {
        let Some(time) = timeout else { return raw::epoll_pwait2(ep, events, max, None, mask) };
        if time.tv_sec < 0 || !(0..1_000_000_000).contains(&time.tv_nsec) {
            return raw::epoll_pwait2(ep, events, max, Some(time), mask);
        }
        let ms = time.tv_sec.saturating_mul(1000).saturating_add(time.tv_nsec / 1_000_000);
        raw::epoll_pwait(ep, events, max, i32::try_from(ms).unwrap_or(i32::MAX), mask)
    }
}

struct NotPollable;

impl Kernel for NotPollable {
    fn poll(&self, mut fds: At<'_, pollfd>, timeout: i32) -> Reply<usize> {
        raw::poll(fds.again(), timeout)?;
        let At::Memory(fds) = fds else { return Ok(0) };
        for one in fds.iter_mut().filter(|one| ready_now(one.fd).is_ok()) {
            one.revents = 0;
        }
        Ok(fds.iter().filter(|one| one.revents != 0).count())
    }
}

struct DelOnlySilences;

impl Kernel for DelOnlySilences {
    fn epoll_ctl(&self, ep: i32, op: i32, fd: i32, event: Option<epoll_event>) -> Reply<()> {
        if op == EPOLL_CTL_DEL {
            return raw::epoll_ctl(ep, EPOLL_CTL_MOD, fd, Some(epoll_event { events: 0, u64: fd as u64 }));
        }
        raw::epoll_ctl(ep, op, fd, event)
    }
}

struct KcmpComparesNumbers;

impl Kernel for KcmpComparesNumbers {
    fn kcmp_epoll_target(&self, fd: i32, ep: i32, target: i32, offset: u32) -> Reply<i32> {
        raw::kcmp_epoll_target(fd, ep, target, offset)?;
        Ok(i32::from(fd != target))
    }
}

struct WakeupRefused;

impl Kernel for WakeupRefused {
    fn epoll_ctl(&self, ep: i32, op: i32, fd: i32, event: Option<epoll_event>) -> Reply<()> {
        if event.is_some_and(|event| event.events & EPOLLWAKEUP as u32 != 0) {
            return Err(Refusal { call: "epoll_ctl", errno: Errno::EPERM });
        }
        raw::epoll_ctl(ep, op, fd, event)
    }
}
