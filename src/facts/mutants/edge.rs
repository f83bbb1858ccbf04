//! Kernels that break a fact of `facts/edge/`.

use super::kinds::*;
use libc::EPOLL_CTL_MOD;
use std::collections::HashMap;

pub(super) const MUTANTS: &[Mutant] = &[
    Mutant {
        name: "epoll-lt-is-et",
        breaks: "et-lt-repeats-until-drained",
        behaviour: "Every entry is edge-triggered, as some texts say of epoll.",
        kernel: &Ctl(|call| call.with(|events| events | ET).real()),
    },
    Mutant {
        name: "epoll-eof-once",
        breaks: "et-lt-eof-sticky",
        behaviour: "The end of a stream is reported once, to level-triggered entries too.",
        kernel: &Waited(|epoll, events| {
            events.retain(|event| event.events & RDHUP == 0 || report(epoll, event).is_none());
        }),
    },
    Mutant {
        name: "epoll-out-is-an-edge",
        breaks: "et-lt-out-spins",
        behaviour: "OUT is reported only when it becomes true, as people expect who ask for it all the time.",
        kernel: &Ctl(|call| call.with(|events| if events & OUT != 0 { events | ET } else { events }).real()),
    },
    Mutant {
        name: "epollet-ignored",
        breaks: "et-once-per-edge",
        behaviour: "EPOLLET is ignored, as in F-Stack (F-Stack/f-stack#115).",
        kernel: &Ctl(|call| call.with(|events| events & !ET).real()),
    },
    Mutant {
        name: "epoll-event-per-write",
        breaks: "et-writes-coalesce",
        behaviour: "Each write is an event of its own, as people expect who count events.",
        kernel: &Edges {
            after: |call, _, _| *locked(&WRITES) += usize::from(call == Call::write),
            waited: |epoll, events| {
                let mut left = locked(&WRITES);
                if events.is_empty() && *left > 0 {
                    rearm(|entry| entry.epoll == epoll && entry.has(libc::EPOLLIN));
                    events.extend(ready_now(epoll).unwrap_or_default());
                }
                *left = left.saturating_sub(events.len());
            },
            ..Edges::NONE
        },
    },
    Mutant {
        name: "epoll-stale-events",
        breaks: "et-drained-before-wait",
        behaviour: "An event is noted when something arrives, and not checked when it is reported.",
        kernel: &Edges {
            after: |call, _, _| {
                if call == Call::write {
                    let mut instances: Vec<i32> = entries().iter().map(|entry| entry.epoll).collect();
                    instances.dedup();
                    let noted = |epoll| {
                        ready_now(epoll).unwrap_or_default().into_iter().map(move |event| (epoll, event))
                    };
                    owed().extend(instances.into_iter().flat_map(noted));
                }
            },
            waited: |epoll, events| events.extend(take_owed(epoll)),
            ..Edges::NONE
        },
    },
    Mutant {
        name: "epoll-mod-changes-only",
        breaks: "et-mod-rearms",
        behaviour: "EPOLL_CTL_MOD with the mask that is there already does nothing, as in Shadow once.",
        kernel: &Ctl(|call| {
            let there = call.entry().is_some_and(|entry| entry.events() == call.events());
            if call.op == EPOLL_CTL_MOD && there { Ok(()) } else { call.remembered() }
        }),
    },
    Mutant {
        name: "epoll-peek-rearms",
        breaks: "et-peek-is-not-progress",
        behaviour: "recv with MSG_PEEK arms the entry again, as any other recv that leaves data.",
        kernel: &Edges { after: |call, fd, _| rearm_if(call == Call::recv, fd, ALL), ..Edges::NONE },
    },
    Mutant {
        name: "epoll-event-is-the-change",
        breaks: "et-mask-is-whole-state",
        behaviour: "An event of an edge-triggered entry has only the bits that it did not have before, as \
                    filters of kqueue are reported one by one.",
        kernel: &Edges {
            waited: |epoll, events| {
                for event in events.iter_mut().filter(|event| is_edge(epoll, event)) {
                    let now = event.events;
                    let gained = now & !report(epoll, event).unwrap_or(0);
                    event.events = if gained == 0 { now } else { gained };
                }
            },
            ..Edges::NONE
        },
    },
    Mutant {
        name: "epoll-edge-only-from-empty",
        breaks: "et-new-data-without-drain",
        behaviour: "New data is an edge only when all was read before: pipes on Linux 5.5 to 5.13, AF_UNIX \
                    on WSL1 (microsoft/WSL#8923).",
        kernel: &Edges {
            after: |call, fd, _| {
                if call == Call::read || call == Call::recv {
                    reported(|all| all.retain(|(_, data), _| *data != fd as u64));
                }
            },
            loses: |epoll, event| report(epoll, event) == Some(event.events) && event.events & IN != 0,
            ..Edges::NONE
        },
    },
    Mutant {
        name: "epoll-read-rearms",
        breaks: "et-partial-read-silent",
        behaviour: "A read that leaves data reports the rest, as in Shadow (shadow/shadow#3274).",
        kernel: &READ_REARMS,
    },
    Mutant {
        name: "epoll-fin-without-edge",
        breaks: "et-fin-is-an-edge",
        behaviour: "The end of a stream is no edge while data is unread.",
        kernel: &Edges {
            loses: |epoll, event| report(epoll, event) == Some(IN) && event.events & RDHUP != 0,
            ..Edges::NONE
        },
    },
    Mutant {
        name: "epoll-second-shutdown-is-an-edge",
        breaks: "et-second-shutdown",
        behaviour: "Each shutdown of a peer is an edge, on TCP as on AF_UNIX.",
        kernel: &Edges {
            after: |call, _, _| {
                if call == Call::shutdown {
                    rearm(|_| true);
                }
            },
            ..Edges::NONE
        },
    },
    Mutant {
        name: "epoll-edge-needs-eagain",
        breaks: "et-short-read-means-drained",
        behaviour: "An entry is armed again only by a read that gives EAGAIN, as epoll(7) can be read.",
        kernel: &Edges {
            after: |call, fd, reply| {
                if call == Call::read {
                    let mut fds = marked();
                    if reply.is_ok() {
                        fds.insert(fd)
                    } else {
                        fds.remove(&fd)
                    };
                }
            },
            // What was read since the event, and not until EAGAIN, is marked.
            loses: |_, event| event.events == IN && is_marked(event.u64 as i32),
            ..Edges::NONE
        },
    },
    Mutant {
        name: "epoll-recv-rearms",
        breaks: "et-udp-one-of-two",
        behaviour: "recv that leaves a datagram reports the next one.",
        kernel: &Edges { after: |call, fd, _| rearm_if(call == Call::recv, fd, IN), ..Edges::NONE },
    },
    Mutant {
        name: "epoll-accept-rearms",
        breaks: "et-listener-per-connection",
        behaviour: "accept that leaves a connection in the queue reports the next one.",
        kernel: &Edges { after: |call, fd, _| rearm_if(call == Call::accept, fd, ALL), ..Edges::NONE },
    },
    Mutant {
        name: "epoll-write-reports-out",
        breaks: "et-out-initial",
        behaviour: "A write that leaves room reports OUT again, as an emulation that asks for the state after each call.",
        kernel: &Edges { after: |call, fd, _| rearm_if(call == Call::write, fd, OUT), ..Edges::NONE },
    },
    Mutant {
        name: "epoll-pipe-out-on-every-read",
        breaks: "et-pipe-out-only-from-full",
        behaviour: "Any read from a pipe is an edge for its writer, much as before Linux 5.5.",
        kernel: &Edges { after: |call, _, _| rearm_writers_if(call == Call::read), ..Edges::NONE },
    },
    Mutant {
        name: "epoll-out-only-from-full",
        breaks: "et-unix-out-on-every-peer-read",
        behaviour: "OUT is an edge only after EAGAIN, on AF_UNIX as on TCP.",
        kernel: &Edges {
            after: |call, fd, reply| {
                let full = matches!(reply, Err(Refusal { errno: Errno::EAGAIN, .. }));
                if full && (call == Call::write || call == Call::send) {
                    mark(fd);
                }
            },
            loses: |epoll, event| {
                let again = report(epoll, event) == Some(OUT);
                let full = marked().remove(&(event.u64 as i32));
                again && !full && event.events == OUT
            },
            ..Edges::NONE
        },
    },
    Mutant {
        name: "epoll-tcp-out-on-every-recv",
        breaks: "et-tcp-out-only-after-eagain",
        behaviour: "What the peer receives is an edge of the output, on TCP as on AF_UNIX.",
        kernel: &Edges { after: |call, _, _| rearm_writers_if(call == Call::recv), ..Edges::NONE },
    },
    Mutant {
        name: "eventfd-edge-only-from-zero",
        breaks: "et-eventfd-any-op-is-an-edge",
        behaviour: "A write to an eventfd is an edge only if the counter was 0, as in nanos before nanovms/nanos#1470.",
        kernel: &Edges {
            loses: |epoll, event| {
                let counted = |mask: u32| mask & IN != 0;
                report(epoll, event).is_some_and(counted) && counted(event.events)
            },
            ..Edges::NONE
        },
    },
    Mutant {
        name: "eventfd-semaphore-reports-the-rest",
        breaks: "et-eventfd-semaphore-rest-is-silent",
        behaviour: "A read of a semaphore that leaves something reports the rest.",
        kernel: &READ_REARMS,
    },
    Mutant {
        name: "timerfd-edge-per-expiry",
        breaks: "et-timerfd-one-edge-until-read",
        behaviour: "Each expiry of a timerfd is an edge, whether it was read or not.",
        kernel: &Edges {
            // One that has not expired since it was read has nothing to say.
            waited: |epoll, events| {
                if events.is_empty() {
                    rearm(|entry| entry.epoll == epoll);
                    events.extend(ready_now(epoll).unwrap_or_default());
                }
            },
            ..Edges::NONE
        },
    },
    Mutant {
        name: "epoll-edge-for-one-instance",
        breaks: "et-two-epolls-two-edges",
        behaviour: "An edge is used up by the first instance that reports it.",
        kernel: &Edges {
            loses: |epoll, event| {
                report(epoll, event);
                reported(|all| all.keys().any(|(its, of)| *its != epoll && *of == event.u64))
            },
            ..Edges::NONE
        },
    },
    Mutant {
        name: "epoll-error-once",
        breaks: "et-udp-error-is-an-edge",
        behaviour: "An error that is like the last one is no edge, whether that was taken or not.",
        kernel: &Waited(|epoll, events| events.retain(|event| report(epoll, event) != Some(event.events))),
    },
];

const IN: u32 = libc::EPOLLIN as u32;
const OUT: u32 = libc::EPOLLOUT as u32;
const RDHUP: u32 = libc::EPOLLRDHUP as u32;
const ET: u32 = libc::EPOLLET as u32;
const ALL: u32 = !0;

/// Edge-triggered entries are remembered.
struct Edges {
    /// This is done after each call on a descriptor, with its reply.
    after: fn(Call, i32, &Reply<usize>),
    /// What waits report is changed.
    waited: fn(i32, &mut Vec<epoll_event>),
    /// Events of edge-triggered entries that are so are not reported.
    loses: fn(i32, &epoll_event) -> bool,
}

impl Edges {
    const NONE: Edges = Edges { after: |_, _, _| {}, waited: |_, _| {}, loses: |_, _| false };

    fn then<T>(&self, call: Call, fd: i32, reply: Reply<T>) -> Reply<T> {
        (self.after)(call, fd, &reply.as_ref().map(|_| 0).map_err(|refusal| *refusal));
        reply
    }
}

/// A read that leaves something reports it.
const READ_REARMS: Edges = Edges { after: |call, fd, _| rearm_if(call == Call::read, fd, IN), ..Edges::NONE };

impl Kernel for Edges {
    fn epoll_ctl(&self, epoll: i32, op: i32, fd: i32, event: Option<epoll_event>) -> Reply<()> {
        let call = CtlCall { epoll, op, fd, event };
        if call.events() & ET != 0 { call.remembered() } else { call.real() }
    }

    fn epoll_wait(&self, epoll: i32, events: At<'_, epoll_event>, max: i32, timeout: i32) -> Reply<usize> {
        let change = |events: &mut Vec<epoll_event>| {
            (self.waited)(epoll, events);
            events.retain(|event| !((self.loses)(epoll, event) && is_edge(epoll, event)));
        };
        changed(events, change, |events| raw::epoll_wait(epoll, events, max, timeout))
    }

    fn read(&self, fd: i32, buffer: &mut [u8]) -> Reply<usize> {
        self.then(Call::read, fd, raw::read(fd, buffer))
    }

    fn write(&self, fd: i32, bytes: &[u8]) -> Reply<usize> {
        self.then(Call::write, fd, raw::write(fd, bytes))
    }

    fn recv(&self, fd: i32, buffer: &mut [u8], flags: i32) -> Reply<usize> {
        let reply = raw::recv(fd, buffer, flags);
        self.then(Call::recv, fd, reply)
    }

    fn send(&self, fd: i32, bytes: &[u8], flags: i32) -> Reply<usize> {
        self.then(Call::send, fd, raw::send(fd, bytes, flags))
    }

    fn accept(&self, fd: i32) -> Reply<i32> {
        self.then(Call::accept, fd, raw::accept(fd))
    }

    fn shutdown(&self, fd: i32, how: i32) -> Reply<()> {
        self.then(Call::shutdown, fd, raw::shutdown(fd, how))
    }
}

/// What was last reported for the data of an entry of an instance.
static REPORTED: Mutex<Option<HashMap<(i32, u64), u32>>> = Mutex::new(None);
/// How many writes have not been reported yet.
static WRITES: Mutex<usize> = Mutex::new(0);

fn reported<R>(act: impl FnOnce(&mut HashMap<(i32, u64), u32>) -> R) -> R {
    act(locked(&REPORTED).get_or_insert_default())
}

/// The event is reported now; what was before.
fn report(epoll: i32, event: &epoll_event) -> Option<u32> {
    let (data, mask) = (event.u64, event.events);
    reported(|all| all.insert((epoll, data), mask))
}

/// Have the entries that `which` chooses report what is so now.
fn rearm(which: impl Fn(&CtlCall) -> bool) {
    for entry in entries().iter().filter(|entry| which(entry)) {
        // One that was closed is no entry any more.
        CtlCall { op: EPOLL_CTL_MOD, ..*entry }.real().ok();
    }
}

/// The same for those of a descriptor that ask for any of these events.
fn rearm_if(due: bool, fd: i32, events: u32) {
    if due {
        rearm(|entry| entry.fd == fd && entry.events() & events != 0);
    }
}

/// The same for those that ask for OUT alone.
fn rearm_writers_if(due: bool) {
    if due {
        rearm(|entry| entry.events() & !ET == OUT);
    }
}

/// Whether the entry with this data is edge-triggered.
fn is_edge(epoll: i32, event: &epoll_event) -> bool {
    let data = event.u64;
    entries().iter().any(|entry| (entry.epoll, entry.data()) == (epoll, data))
}
