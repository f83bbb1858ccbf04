//! Kernels that break a fact of `facts/epoll/`: of its waits, and of what can be seen of it.

use super::kinds::*;
use crate::sys::raw::Action;
use libc::{EPOLL_CTL_ADD, EPOLL_CTL_DEL, EPOLL_CTL_MOD, EPOLLET, EPOLLWAKEUP};
use std::sync::Condvar;
use std::time::{Duration, Instant};

pub(super) const MUTANTS: &[Mutant] = &[
    Mutant {
        name: "epoll-sorts-events",
        breaks: "ep-fifo-order",
        behaviour: "Events come in the order of their descriptors' numbers, as with select.",
        kernel: &Waited(|_, events| events.sort_by_key(|event| event.u64)),
    },
    Mutant {
        name: "epoll-lowest-first",
        breaks: "ep-round-robin",
        behaviour: "A wait with little room reports the lowest numbers, each time, as a loop over select does.",
        kernel: &instead::epoll_wait(|epoll, events, max, timeout| {
            // With room for all it is as it should be.
            if max >= 64 || timeout != 0 {
                return raw::epoll_wait(epoll, events, max, timeout);
            }
            let mut all = ready_now(epoll)?;
            all.sort_by_key(|event| event.u64);
            Ok(give(events, &all))
        }),
    },
    Mutant {
        name: "epoll-add-awaits-an-edge",
        breaks: "ep-add-ready-reports",
        behaviour: "An edge-triggered entry reports nothing before the next change, as people expect of an edge.",
        kernel: &Ctl(|call| {
            call.real()?;
            if call.op == EPOLL_CTL_ADD && call.has(EPOLLET) {
                ready_now(call.epoll)?;
            }
            Ok(())
        }),
    },
    Mutant {
        name: "epoll-state-of-the-wakeup",
        breaks: "ep-state-at-delivery",
        behaviour: "Each instance reports what it was woken for, also when that has gone meanwhile.",
        kernel: &CtlAndWaited(CtlCall::remembered, |epoll, events| {
            let its = take_owed(epoll);
            if events.is_empty() {
                return events.extend(its);
            }
            for event in events {
                // Whoever else was woken for it will report it too.
                let entries = entries();
                let others = entries.iter().filter(|entry| entry.epoll != epoll && entry.data() == event.u64);
                owed().extend(others.map(|entry| (entry.epoll, *event)));
            }
        }),
    },
    Mutant {
        name: "epoll-numbers-not-reused",
        breaks: "ep-delivered-events-are-stale",
        behaviour: "A number is not given out again: an event that was delivered is never about another file.",
        kernel: &instead::eventfd(|value, flags| {
            // A number that nobody had yet.
            let fd = raw::eventfd(value, flags)?;
            let higher = raw::fcntl(fd, libc::F_DUPFD_CLOEXEC, 64)?;
            raw::close(fd)?;
            Ok(higher)
        }),
    },
    Mutant {
        name: "epoll-del-is-late",
        breaks: "ep-del-drops-ready-event",
        behaviour: "An event that was there before EPOLL_CTL_DEL is delivered after it.",
        kernel: &CtlAndWaited(
            |call| {
                if call.op == EPOLL_CTL_DEL {
                    let its = ready_now(call.epoll)?.into_iter().filter(|event| event.u64 == call.fd as u64);
                    owed().extend(its.map(|event| (call.epoll, event)));
                }
                call.real()
            },
            |epoll, events| events.extend(take_owed(epoll)),
        ),
    },
    Mutant {
        name: "epoll-list-copied",
        breaks: "ep-ctl-wakes-waiter",
        behaviour: "A change of the interest list counts from the next wait on, as with poll.",
        kernel: &Table {
            epoll_ctl: |epoll, op, fd, event| {
                let call = CtlCall { epoll, op, fd, event };
                if !WAITING.load(SeqCst) {
                    return call.real();
                }
                locked(&CHANGES).push(call);
                Ok(())
            },
            epoll_wait: |epoll, events, max, timeout| {
                WAITING.store(timeout != 0, SeqCst);
                // Not for ever: the fact shall end.
                let limit = if timeout < 0 { 500 } else { timeout.min(500) };
                let reply = raw::epoll_wait(epoll, events, max, limit);
                WAITING.store(false, SeqCst);
                locked(&CHANGES).drain(..).try_for_each(CtlCall::real)?;
                reply
            },
            ..Table::LINUX
        },
    },
    Mutant {
        name: "epoll-undone-is-zero",
        breaks: "ep-undone-event-not-spurious",
        behaviour: "A wait that was woken for something that is gone returns 0 at once.",
        kernel: &Table {
            write: |fd, bytes| {
                let n = raw::write(fd, bytes)?;
                *locked(&WRITTEN) += 1;
                WRITE.notify_all();
                Ok(n)
            },
            epoll_wait: |epoll, mut events, max, timeout| {
                let n = raw::epoll_wait(epoll, events.again(), max, 0)?;
                if n > 0 || timeout == 0 {
                    return Ok(n);
                }
                let written = locked(&WRITTEN);
                let before = *written;
                let limit = Duration::from_millis(u64::try_from(timeout).unwrap_or(5000));
                drop(WRITE.wait_timeout_while(written, limit, |now| *now == before));
                // Awake: with what there is now.
                raw::epoll_wait(epoll, events, max, 0)
            },
            ..Table::LINUX
        },
    },
    Mutant {
        name: "epoll-close-ends-waits",
        breaks: "ep-close-epfd-other-thread",
        behaviour: "Closing the epoll descriptor ends the waits in it with EBADF, as people expect.",
        // Each slice looks the number up again.
        kernel: &instead::epoll_wait(|epoll, events, max, timeout| {
            in_slices(epoll, events, max, timeout, || None)
        }),
    },
    Mutant {
        name: "epoll-closed-is-nval",
        breaks: "ep-close-target-other-thread",
        behaviour: "A wait for a descriptor that is closed meanwhile reports NVAL, as a new call of poll does.",
        kernel: &Table {
            close: |fd| {
                raw::close(fd)?;
                CLOSED.store(fd, SeqCst);
                Ok(())
            },
            epoll_wait: |epoll, events, max, timeout| {
                CLOSED.store(-1, SeqCst);
                in_slices(epoll, events, max, timeout, || {
                    let fd = CLOSED.load(SeqCst);
                    (fd != -1).then_some(epoll_event { events: libc::POLLNVAL as u32, u64: fd as u64 })
                })
            },
            ..Table::LINUX
        },
    },
    Mutant {
        name: "epoll-busy-is-empty",
        breaks: "ep-concurrent-zero-timeout-no-false-empty",
        behaviour: "A wait with a timeout of 0 finds nothing while another is at the list of what is ready.",
        kernel: &instead::epoll_wait(|epoll, events, max, timeout| {
            static BUSY: AtomicBool = AtomicBool::new(false);
            if BUSY.swap(true, SeqCst) {
                return Ok(0);
            }
            let reply = raw::epoll_wait(epoll, events, max, timeout);
            std::thread::yield_now();
            BUSY.store(false, SeqCst);
            reply
        }),
    },
    Mutant {
        name: "epoll-restarts-after-stop",
        breaks: "ep-stop-cont-eintr",
        behaviour: "epoll_wait waits on after SIGSTOP and SIGCONT, as poll does.",
        kernel: &instead::epoll_wait(|epoll, mut events, max, timeout| {
            loop {
                let reply = raw::epoll_wait(epoll, events.again(), max, timeout);
                if reply != no(Errno::EINTR) {
                    return reply;
                }
            }
        }),
    },
    Mutant {
        name: "ignored-signals-interrupt",
        breaks: "ep-ignored-signal-no-eintr",
        behaviour: "A signal that is ignored interrupts a call, as if it had a handler that does nothing.",
        kernel: &instead::sigaction(|signal, action, flags| {
            raw::sigaction(signal, if action == Action::Ignore { Action::Count } else { action }, flags)
        }),
    },
    Mutant {
        name: "epoll-only-minus-one-is-for-ever",
        breaks: "ep-timeout-extremes",
        behaviour: "A timeout below -1 is over at once, as in the LX zones of illumos once.",
        kernel: &instead::epoll_wait(|epoll, events, max, timeout| {
            raw::epoll_wait(epoll, events, max, if timeout < -1 { 0 } else { timeout })
        }),
    },
    Mutant {
        name: "epoll-pwait2-rounds-down",
        breaks: "ep-pwait2-nanoseconds",
        behaviour: "epoll_pwait2 counts in whole milliseconds: an emulation over epoll_pwait that rounds down (Bun's did) spins.",
        kernel: &Pwait2(|time, _| time.tv_nsec -= time.tv_nsec % 1_000_000),
    },
    Mutant {
        name: "epoll-pwait2-rounds-up",
        breaks: "ep-pwait2-nanoseconds",
        behaviour: "epoll_pwait2 rounds up to whole milliseconds, as in OSv.",
        kernel: &Pwait2(|time, _| {
            if (1..=999_000_000).contains(&time.tv_nsec) {
                time.tv_nsec = (time.tv_nsec - 1) / 1_000_000 * 1_000_000 + 1_000_000;
            }
        }),
    },
    Mutant {
        name: "epoll-pwait2-any-mask-size",
        breaks: "ep-pwait2-mask",
        behaviour: "epoll_pwait2 does not look at the size of the mask, as in Asterinas once.",
        kernel: &Pwait2(|_, mask| mask.size = 8),
    },
    Mutant {
        name: "epoll-pwait2-no-mask",
        breaks: "ep-pwait2-mask",
        behaviour: "epoll_pwait2 waits with the signals blocked that are, whatever its mask says.",
        kernel: &Pwait2(|_, mask| mask.signals = mask.signals.filter(|_| mask.size != 8)),
    },
    Mutant {
        name: "epoll-not-pollable",
        breaks: "ep-fd-is-pollable",
        behaviour: "poll never says anything of an epoll descriptor, as the notes of libev have it.",
        kernel: &Loses(!0, |entry| ready_now(entry.fd).is_ok()),
    },
    Mutant {
        name: "epoll-del-only-silences",
        breaks: "ep-fdinfo-lists-entries",
        behaviour: "EPOLL_CTL_DEL leaves an entry that asks for nothing.",
        kernel: &Ctl(|call| match call.op {
            EPOLL_CTL_DEL => {
                let nothing = Some(epoll_event { events: 0, u64: 0 });
                CtlCall { op: EPOLL_CTL_MOD, event: nothing, ..call }.real()
            }
            _ => call.real(),
        }),
    },
    Mutant {
        name: "kcmp-compares-numbers",
        breaks: "ep-kcmp-finds-target",
        behaviour: "kcmp finds an entry by its number, and does not look at the file.",
        kernel: &instead::kcmp_epoll_target(|fd, epoll, target, offset| {
            raw::kcmp_epoll_target(fd, epoll, target, offset)?;
            Ok(i32::from(fd != target))
        }),
    },
    Mutant {
        name: "epoll-wakeup-refused",
        breaks: "ep-wakeup-flag-dropped",
        behaviour: "EPOLLWAKEUP without the capability is EPERM, as people expect of what is not permitted.",
        kernel: &Ctl(|call| if call.has(EPOLLWAKEUP) { no(Errno::EPERM) } else { call.real() }),
    },
    Mutant {
        name: "epoll-params-not-kept",
        breaks: "ep-busy-poll-params",
        behaviour: "EPIOCSPARAMS succeeds and sets nothing, as where nothing can be polled.",
        kernel: &Ignored(Call::set_epoll_params),
    },
];

/// Answer a wait with these events, as far as there is room.
fn give(into: At<'_, epoll_event>, events: &[epoll_event]) -> usize {
    let At::Memory(memory) = into else { return 0 };
    let n = events.len().min(memory.len());
    memory[..n].copy_from_slice(&events[..n]);
    n
}

/// A wait made of short ones, after each of which `otherwise` may answer in its stead.
fn in_slices(
    epoll: i32,
    mut events: At<'_, epoll_event>,
    max: i32,
    timeout: i32,
    otherwise: impl Fn() -> Option<epoll_event>,
) -> Reply<usize> {
    let start = Instant::now();
    loop {
        let left =
            u128::try_from(timeout).map_or(u128::MAX, |ms| ms.saturating_sub(start.elapsed().as_millis()));
        let n = raw::epoll_wait(epoll, events.again(), max, left.min(20) as i32)?;
        match otherwise() {
            Some(event) if n == 0 => return Ok(give(events, &[event])),
            _ if n > 0 || left == 0 => return Ok(n),
            _ => {}
        }
    }
}

/// What will be done to the interest list when the wait is over.
static CHANGES: Mutex<Vec<CtlCall>> = Mutex::new(Vec::new());
/// Whether somebody is in a wait.
static WAITING: AtomicBool = AtomicBool::new(false);

/// How often something was written.
static WRITTEN: Mutex<u64> = Mutex::new(0);
/// Wakes who waits for that.
static WRITE: Condvar = Condvar::new();

/// The descriptor that was closed last.
static CLOSED: AtomicI32 = AtomicI32::new(-1);

/// epoll_pwait2 with a timeout takes its arguments for others.
struct Pwait2(fn(&mut timespec, &mut Mask));

impl Kernel for Pwait2 {
    fn epoll_pwait2(
        &self,
        epoll: i32,
        events: At<'_, epoll_event>,
        max: i32,
        timeout: Option<&mut timespec>,
        mut mask: Mask,
    ) -> Reply<usize> {
        let Some(mut time) = timeout.copied() else {
            return raw::epoll_pwait2(epoll, events, max, None, mask);
        };
        (self.0)(&mut time, &mut mask);
        raw::epoll_pwait2(epoll, events, max, Some(&mut time), mask)
    }
}
