//! Kernels that break a fact of `facts/edge/`.

use super::super::kernel::Kernel;
use super::Mutant;
use crate::sys::Errno;
use crate::sys::raw::{self, At, Refusal, Reply};
use libc::{EPOLL_CTL_DEL, EPOLL_CTL_MOD, MSG_PEEK, epoll_event};
use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, PoisonError};

pub(super) const MUTANTS: &[Mutant] = &[
    Mutant {
        name: "epoll-lt-is-et",
        breaks: "et-lt-repeats-until-drained",
        behaviour: "Every entry is edge-triggered, as some texts say of epoll.",
        kernel: &LtIsEt,
    },
    Mutant {
        name: "epoll-eof-once",
        breaks: "et-lt-eof-sticky",
        behaviour: "The end of a stream is reported once, to level-triggered entries too.",
        kernel: &EofOnce,
    },
    Mutant {
        name: "epoll-out-is-an-edge",
        breaks: "et-lt-out-spins",
        behaviour: "OUT is reported only when it becomes true, as people expect who ask for it all the time.",
        kernel: &OutIsAnEdge,
    },
    Mutant {
        name: "epollet-ignored",
        breaks: "et-once-per-edge",
        behaviour: "EPOLLET is ignored, as in F-Stack (F-Stack/f-stack#115).",
        kernel: &EpolletIgnored,
    },
    Mutant {
        name: "epoll-event-per-write",
        breaks: "et-writes-coalesce",
        behaviour: "Each write is an event of its own, as people expect who count events.",
        kernel: &EventPerWrite,
    },
    Mutant {
        name: "epoll-stale-events",
        breaks: "et-drained-before-wait",
        behaviour: "An event is noted when something arrives, and not checked when it is reported.",
        kernel: &StaleEvents,
    },
    Mutant {
        name: "epoll-mod-changes-only",
        breaks: "et-mod-rearms",
        behaviour: "EPOLL_CTL_MOD with the mask that is there already does nothing.",
        kernel: &ModChangesOnly,
    },
    Mutant {
        name: "epoll-peek-rearms",
        breaks: "et-peek-is-not-progress",
        behaviour: "recv with MSG_PEEK arms the entry again, as any other recv that leaves data.",
        kernel: &PeekRearms,
    },
    Mutant {
        name: "epoll-event-is-the-change",
        breaks: "et-mask-is-whole-state",
        behaviour: "An event of an edge-triggered entry has only the bits that it did not have before, as \
                    filters of kqueue are reported one by one.",
        kernel: &EventIsTheChange,
    },
    Mutant {
        name: "epoll-edge-only-from-empty",
        breaks: "et-new-data-without-drain",
        behaviour: "New data is an edge only when all was read before: pipes on Linux 5.5 to 5.13, AF_UNIX \
                    on WSL1 (microsoft/WSL#8923).",
        kernel: &EdgeOnlyFromEmpty,
    },
    Mutant {
        name: "epoll-read-rearms",
        breaks: "et-partial-read-silent",
        behaviour: "A read that leaves data reports the rest, as in Shadow (shadow/shadow#3274).",
        kernel: &ReadRearms,
    },
    Mutant {
        name: "epoll-fin-without-edge",
        breaks: "et-fin-is-an-edge",
        behaviour: "The end of a stream is no edge while data is unread.",
        kernel: &FinWithoutEdge,
    },
    Mutant {
        name: "epoll-edge-needs-eagain",
        breaks: "et-short-read-means-drained",
        behaviour: "An entry is armed again only by a read that gives EAGAIN, as epoll(7) can be read.",
        kernel: &EdgeNeedsEagain,
    },
    Mutant {
        name: "epoll-recv-rearms",
        breaks: "et-udp-one-of-two",
        behaviour: "recv that leaves a datagram reports the next one.",
        kernel: &RecvRearms,
    },
    Mutant {
        name: "epoll-accept-rearms",
        breaks: "et-listener-per-connection",
        behaviour: "accept that leaves a connection in the queue reports the next one.",
        kernel: &AcceptRearms,
    },
    Mutant {
        name: "epoll-write-reports-out",
        breaks: "et-out-initial",
        behaviour: "A write that leaves room reports OUT again, as an emulation that asks for the state \
                    after each call.",
        kernel: &WriteReportsOut,
    },
    Mutant {
        name: "epoll-pipe-out-on-every-read",
        breaks: "et-pipe-out-only-from-full",
        behaviour: "Any read from a pipe is an edge for its writer, much as before Linux 5.5.",
        kernel: &OutOnEveryRead,
    },
    Mutant {
        name: "epoll-out-only-from-full",
        breaks: "et-unix-out-on-every-peer-read",
        behaviour: "OUT is an edge only after EAGAIN, on AF_UNIX as on TCP.",
        kernel: &OutOnlyFromFull,
    },
    Mutant {
        name: "epoll-tcp-out-on-every-recv",
        breaks: "et-tcp-out-only-after-eagain",
        behaviour: "What the peer receives is an edge of the output, on TCP as on AF_UNIX.",
        kernel: &OutOnEveryRecv,
    },
    Mutant {
        name: "eventfd-edge-only-from-zero",
        breaks: "et-eventfd-any-op-is-an-edge",
        behaviour: "A write to an eventfd is an edge only if the counter was 0, and of 0 it is none, as in \
                    nanos before nanovms/nanos#1470.",
        kernel: &EventfdEdgeOnlyFromZero,
    },
    Mutant {
        name: "timerfd-edge-per-expiry",
        breaks: "et-timerfd-one-edge-until-read",
        behaviour: "Each expiry of a timerfd is an edge, whether it was read or not.",
        kernel: &TimerfdEdgePerExpiry,
    },
    Mutant {
        name: "epoll-edge-for-one-instance",
        breaks: "et-two-epolls-two-edges",
        behaviour: "An edge is used up by the first instance that reports it.",
        kernel: &EdgeForOneInstance,
    },
];

const IN: u32 = libc::EPOLLIN as u32;
const OUT: u32 = libc::EPOLLOUT as u32;
const RDHUP: u32 = libc::EPOLLRDHUP as u32;
const ET: u32 = libc::EPOLLET as u32;

/// An entry of an epoll instance: the instance, the descriptor, the event.
type Entry = (i32, i32, epoll_event);

/// The edge-triggered entries.
static ENTRIES: Mutex<Vec<Entry>> = Mutex::new(Vec::new());
/// What was last reported for the data of an entry of an instance.
static REPORTED: Mutex<Option<HashMap<(i32, u64), u32>>> = Mutex::new(None);
/// Descriptors, of whatever a mutant has to remember.
static NOTED: Mutex<Option<HashSet<i32>>> = Mutex::new(None);

fn with<T, R>(state: &Mutex<T>, act: impl FnOnce(&mut T) -> R) -> R {
    act(&mut state.lock().unwrap_or_else(PoisonError::into_inner))
}

fn reported<R>(act: impl FnOnce(&mut HashMap<(i32, u64), u32>) -> R) -> R {
    with(&REPORTED, |state| act(state.get_or_insert_default()))
}

fn noted<R>(act: impl FnOnce(&mut HashSet<i32>) -> R) -> R {
    with(&NOTED, |state| act(state.get_or_insert_default()))
}

/// epoll_ctl that remembers edge-triggered entries.
fn ctl(epoll: i32, op: i32, fd: i32, event: Option<epoll_event>) -> Reply<()> {
    raw::epoll_ctl(epoll, op, fd, event)?;
    with(&ENTRIES, |entries| {
        entries.retain(|(its, of, _)| (*its, *of) != (epoll, fd));
        let kept = event.filter(|event| op != EPOLL_CTL_DEL && event.events & ET != 0);
        entries.extend(kept.map(|event| (epoll, fd, event)));
    });
    Ok(())
}

/// Have the entries that `which` chooses report what is so now.
fn rearm(which: impl Fn(&Entry) -> bool) {
    with(&ENTRIES, |entries| {
        for &(epoll, fd, event) in entries.iter().filter(|entry| which(entry)) {
            // One that was closed is no entry any more.
            raw::epoll_ctl(epoll, EPOLL_CTL_MOD, fd, Some(event)).ok();
        }
    });
}

/// Whether the entry with this data is edge-triggered.
fn is_edge(epoll: i32, data: u64) -> bool {
    with(&ENTRIES, |entries| entries.iter().any(|(its, _, event)| *its == epoll && { event.u64 } == data))
}

/// epoll_wait without the events for which `keep` is false; it may change them.
fn wait(
    (epoll, mut events, max, timeout): (i32, At<'_, epoll_event>, i32, i32),
    mut keep: impl FnMut(&mut epoll_event) -> bool,
) -> Reply<usize> {
    let n = raw::epoll_wait(epoll, events.again(), max, timeout)?;
    let At::Memory(events) = events else { return Ok(n) };
    let mut kept = 0;
    for at in 0..n {
        let mut event = events[at];
        if keep(&mut event) {
            events[kept] = event;
            kept += 1;
        }
    }
    Ok(kept)
}

/// A mutant that overrides the calls named, and remembers edge-triggered entries.
macro_rules! mutant {
    ($mutant:ident: $($rest:item)*) => {
        struct $mutant;

        impl Kernel for $mutant {
            fn epoll_ctl(&self, epoll: i32, op: i32, fd: i32, event: Option<epoll_event>) -> Reply<()> {
                ctl(epoll, op, fd, event)
            }

            $($rest)*
        }
    };
}

struct LtIsEt;

impl Kernel for LtIsEt {
    fn epoll_ctl(&self, epoll: i32, op: i32, fd: i32, event: Option<epoll_event>) -> Reply<()> {
        let edge = event.map(|event| epoll_event { events: event.events | ET, ..event });
        raw::epoll_ctl(epoll, op, fd, edge)
    }
}

mutant! { EofOnce:
    fn epoll_wait(&self, epoll: i32, events: At<'_, epoll_event>, max: i32, timeout: i32) -> Reply<usize> {
        wait((epoll, events, max, timeout), |event| {
            event.events & RDHUP == 0 || reported(|all| all.insert((epoll, event.u64), RDHUP)).is_none()
        })
    }
}

struct OutIsAnEdge;

impl Kernel for OutIsAnEdge {
    fn epoll_ctl(&self, epoll: i32, op: i32, fd: i32, event: Option<epoll_event>) -> Reply<()> {
        let edge = |event: epoll_event| match event.events & OUT {
            0 => event,
            _ => epoll_event { events: event.events | ET, ..event },
        };
        raw::epoll_ctl(epoll, op, fd, event.map(edge))
    }
}

struct EpolletIgnored;

impl Kernel for EpolletIgnored {
    fn epoll_ctl(&self, epoll: i32, op: i32, fd: i32, event: Option<epoll_event>) -> Reply<()> {
        let level = event.map(|event| epoll_event { events: event.events & !ET, ..event });
        raw::epoll_ctl(epoll, op, fd, level)
    }
}

/// How many writes have not been reported yet.
static WRITES: Mutex<usize> = Mutex::new(0);

mutant! { EventPerWrite:
    fn write(&self, fd: i32, bytes: &[u8]) -> Reply<usize> {
        let n = raw::write(fd, bytes)?;
        with(&WRITES, |writes| *writes += 1);
        Ok(n)
    }

    fn epoll_wait(&self, epoll: i32, mut events: At<'_, epoll_event>, max: i32, timeout: i32) -> Reply<usize> {
        let mut n = raw::epoll_wait(epoll, events.again(), max, timeout)?;
        let left = with(&WRITES, |writes| *writes);
        if n == 0 && left > 0 {
            rearm(|(its, _, event)| *its == epoll && event.events & IN != 0);
            n = raw::epoll_wait(epoll, events, max, 0)?;
        }
        if n > 0 {
            with(&WRITES, |writes| *writes = left.saturating_sub(1));
        }
        Ok(n)
    }
}

/// Events that were noted when they came, each with its instance.
static STALE: Mutex<Vec<(i32, epoll_event)>> = Mutex::new(Vec::new());

mutant! { StaleEvents:
    fn read(&self, fd: i32, buffer: &mut [u8]) -> Reply<usize> {
        let mut instances = with(&ENTRIES, |all| all.iter().map(|(epoll, ..)| *epoll).collect::<Vec<_>>());
        instances.dedup();
        for epoll in instances {
            let mut one = epoll_event { events: 0, u64: 0 };
            if raw::epoll_wait(epoll, At::from(&mut one), 1, 0) == Ok(1) {
                with(&STALE, |stale| stale.push((epoll, one)));
            }
        }
        raw::read(fd, buffer)
    }

    fn epoll_wait(&self, epoll: i32, events: At<'_, epoll_event>, max: i32, timeout: i32) -> Reply<usize> {
        let stale = with(&STALE, |stale| {
            let at = stale.iter().position(|(its, _)| *its == epoll)?;
            Some(stale.remove(at).1)
        });
        match (stale, events) {
            (Some(event), At::Memory([first, ..])) => {
                *first = event;
                Ok(1)
            }
            (_, events) => raw::epoll_wait(epoll, events, max, timeout),
        }
    }
}

/// The last event of each entry.
static MASKS: Mutex<Vec<(i32, i32, u32)>> = Mutex::new(Vec::new());

struct ModChangesOnly;

impl Kernel for ModChangesOnly {
    fn epoll_ctl(&self, epoll: i32, op: i32, fd: i32, event: Option<epoll_event>) -> Reply<()> {
        let Some(new) = event else { return raw::epoll_ctl(epoll, op, fd, event) };
        let mask = (epoll, fd, new.events);
        if op == EPOLL_CTL_MOD && with(&MASKS, |masks| masks.contains(&mask)) {
            return Ok(());
        }
        raw::epoll_ctl(epoll, op, fd, event)?;
        with(&MASKS, |masks| {
            masks.retain(|(its, of, _)| (*its, *of) != (epoll, fd));
            masks.push(mask);
        });
        Ok(())
    }
}

mutant! { PeekRearms:
    fn recv(&self, fd: i32, buffer: &mut [u8], flags: i32) -> Reply<usize> {
        let n = raw::recv(fd, buffer, flags)?;
        if flags & MSG_PEEK != 0 {
            rearm(|(_, of, _)| *of == fd);
        }
        Ok(n)
    }
}

mutant! { EventIsTheChange:
    fn epoll_wait(&self, epoll: i32, events: At<'_, epoll_event>, max: i32, timeout: i32) -> Reply<usize> {
        wait((epoll, events, max, timeout), |event| {
            let now = event.events;
            let before = reported(|all| all.insert((epoll, event.u64), now)).unwrap_or(0);
            if is_edge(epoll, event.u64) && now & !before != 0 {
                event.events = now & !before;
            }
            true
        })
    }
}

mutant! { EdgeOnlyFromEmpty:
    fn epoll_wait(&self, epoll: i32, events: At<'_, epoll_event>, max: i32, timeout: i32) -> Reply<usize> {
        wait((epoll, events, max, timeout), |event| {
            let mask = event.events;
            let again = reported(|all| all.insert((epoll, event.u64), mask)) == Some(mask);
            !(again && mask & IN != 0 && is_edge(epoll, event.u64))
        })
    }

    fn read(&self, fd: i32, buffer: &mut [u8]) -> Reply<usize> {
        reported(|all| all.retain(|(_, data), _| *data != u64::from(fd.cast_unsigned())));
        raw::read(fd, buffer)
    }

    fn recv(&self, fd: i32, buffer: &mut [u8], flags: i32) -> Reply<usize> {
        reported(|all| all.retain(|(_, data), _| *data != u64::from(fd.cast_unsigned())));
        raw::recv(fd, buffer, flags)
    }
}

mutant! { ReadRearms:
    fn read(&self, fd: i32, buffer: &mut [u8]) -> Reply<usize> {
        let n = raw::read(fd, buffer)?;
        rearm(|(_, of, event)| *of == fd && event.events & IN != 0);
        Ok(n)
    }
}

mutant! { FinWithoutEdge:
    fn epoll_wait(&self, epoll: i32, events: At<'_, epoll_event>, max: i32, timeout: i32) -> Reply<usize> {
        wait((epoll, events, max, timeout), |event| {
            let mask = event.events;
            let before = reported(|all| all.insert((epoll, event.u64), mask)).unwrap_or(0);
            !(is_edge(epoll, event.u64) && mask & RDHUP != 0 && before == IN)
        })
    }
}

mutant! { EdgeNeedsEagain:
    fn epoll_wait(&self, epoll: i32, events: At<'_, epoll_event>, max: i32, timeout: i32) -> Reply<usize> {
        wait((epoll, events, max, timeout), |event| {
            let fd = event.u64 as i32;
            // What was read since the event, and not until EAGAIN, is noted.
            !(event.events == IN && is_edge(epoll, event.u64) && noted(|fds| fds.contains(&fd)))
        })
    }

    fn read(&self, fd: i32, buffer: &mut [u8]) -> Reply<usize> {
        let n = raw::read(fd, buffer);
        noted(|fds| if n.is_ok() { fds.insert(fd) } else { fds.remove(&fd) });
        n
    }
}

mutant! { RecvRearms:
    fn recv(&self, fd: i32, buffer: &mut [u8], flags: i32) -> Reply<usize> {
        let n = raw::recv(fd, buffer, flags)?;
        if flags & MSG_PEEK == 0 {
            rearm(|(_, of, event)| *of == fd && event.events & IN != 0);
        }
        Ok(n)
    }
}

mutant! { AcceptRearms:
    fn accept(&self, fd: i32) -> Reply<i32> {
        let accepted = raw::accept(fd)?;
        rearm(|(_, of, _)| *of == fd);
        Ok(accepted)
    }

    fn accept4(&self, fd: i32, flags: i32) -> Reply<i32> {
        let accepted = raw::accept4(fd, flags)?;
        rearm(|(_, of, _)| *of == fd);
        Ok(accepted)
    }
}

mutant! { WriteReportsOut:
    fn write(&self, fd: i32, bytes: &[u8]) -> Reply<usize> {
        let n = raw::write(fd, bytes)?;
        rearm(|(_, of, event)| *of == fd && event.events & OUT != 0);
        Ok(n)
    }
}

/// Whether the entry asks for OUT alone.
fn is_writer((_, _, event): &Entry) -> bool {
    event.events & !ET == OUT
}

mutant! { OutOnEveryRead:
    fn read(&self, fd: i32, buffer: &mut [u8]) -> Reply<usize> {
        let n = raw::read(fd, buffer)?;
        rearm(is_writer);
        Ok(n)
    }
}

mutant! { OutOnlyFromFull:
    fn epoll_wait(&self, epoll: i32, events: At<'_, epoll_event>, max: i32, timeout: i32) -> Reply<usize> {
        wait((epoll, events, max, timeout), |event| {
            let again = reported(|all| all.insert((epoll, event.u64), event.events)) == Some(OUT);
            let full = noted(|fds| fds.remove(&(event.u64 as i32)));
            !again || full || event.events != OUT || !is_edge(epoll, event.u64)
        })
    }

    fn write(&self, fd: i32, bytes: &[u8]) -> Reply<usize> {
        note_eagain(fd, raw::write(fd, bytes))
    }

    fn send(&self, fd: i32, bytes: &[u8], flags: i32) -> Reply<usize> {
        note_eagain(fd, raw::send(fd, bytes, flags))
    }
}

fn note_eagain(fd: i32, sent: Reply<usize>) -> Reply<usize> {
    if matches!(sent, Err(Refusal { errno: Errno::EAGAIN, .. })) {
        noted(|fds| fds.insert(fd));
    }
    sent
}

mutant! { OutOnEveryRecv:
    fn recv(&self, fd: i32, buffer: &mut [u8], flags: i32) -> Reply<usize> {
        let n = raw::recv(fd, buffer, flags)?;
        rearm(is_writer);
        Ok(n)
    }
}

/// The eventfds that there are.
static EVENTFDS: Mutex<Vec<i32>> = Mutex::new(Vec::new());

mutant! { EventfdEdgeOnlyFromZero:
    fn eventfd(&self, value: u32, flags: i32) -> Reply<i32> {
        let fd = raw::eventfd(value, flags)?;
        with(&EVENTFDS, |fds| fds.push(fd));
        Ok(fd)
    }

    fn write(&self, fd: i32, bytes: &[u8]) -> Reply<usize> {
        if with(&EVENTFDS, |fds| fds.contains(&fd)) {
            let mut one = libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
            let counted = raw::poll(At::from(&mut one), 0)? == 1;
            if counted || bytes.iter().all(|byte| *byte == 0) {
                noted(|fds| fds.insert(fd));
            }
        }
        raw::write(fd, bytes)
    }

    fn epoll_wait(&self, epoll: i32, events: At<'_, epoll_event>, max: i32, timeout: i32) -> Reply<usize> {
        wait((epoll, events, max, timeout), |event| {
            !(is_edge(epoll, event.u64) && noted(|fds| fds.remove(&(event.u64 as i32))))
        })
    }
}

mutant! { TimerfdEdgePerExpiry:
    fn timerfd_create(&self, clock: i32, flags: i32) -> Reply<i32> {
        let fd = raw::timerfd_create(clock, flags)?;
        noted(|fds| fds.insert(fd));
        Ok(fd)
    }

    fn epoll_wait(&self, epoll: i32, mut events: At<'_, epoll_event>, max: i32, timeout: i32) -> Reply<usize> {
        let n = raw::epoll_wait(epoll, events.again(), max, timeout)?;
        if n > 0 || timeout == 0 {
            return Ok(n);
        }
        rearm(|(_, of, _)| noted(|fds| fds.contains(of)));
        raw::epoll_wait(epoll, events, max, 0)
    }
}

mutant! { EdgeForOneInstance:
    fn epoll_wait(&self, epoll: i32, events: At<'_, epoll_event>, max: i32, timeout: i32) -> Reply<usize> {
        wait((epoll, events, max, timeout), |event| {
            let data = event.u64;
            let by_another = reported(|all| all.keys().any(|(its, of)| *its != epoll && *of == data));
            reported(|all| all.insert((epoll, data), event.events));
            !(by_another && is_edge(epoll, data))
        })
    }
}
