//! Kernels that break a fact of `facts/waiters/`.

use super::kinds::*;
use libc::{EPOLL_CTL_DEL, EPOLL_CTL_MOD, EPOLLEXCLUSIVE, EPOLLONESHOT};

pub(super) const MUTANTS: &[Mutant] = &[
    Mutant {
        name: "oneshot-leaks-hup",
        breaks: "multi-oneshot-disables",
        behaviour: "A hang-up is reported through an EPOLLONESHOT entry that has fired.",
        kernel: &CtlAndWaited(CtlCall::remembered, |epoll, events| {
            for entry in entries().iter().filter(|entry| entry.epoll == epoll && entry.has(EPOLLONESHOT)) {
                // Asked for nothing, it has HUP and ERR alone.
                let hung_up = polled(entry.fd, 0, 0);
                if events.is_empty() && hung_up != 0 {
                    events.push(epoll_event { events: hung_up as u32, u64: entry.data() });
                }
            }
        }),
    },
    Mutant {
        name: "oneshot-deletes",
        breaks: "multi-oneshot-still-registered",
        behaviour: "An EPOLLONESHOT entry is gone after its event, as EV_ONESHOT of kqueue has it.",
        kernel: &CtlAndWaited(CtlCall::remembered, |epoll, events| {
            for entry in entries().iter().filter(|entry| entry.epoll == epoll && entry.has(EPOLLONESHOT)) {
                if events.iter().any(|event| event.u64 == entry.data()) {
                    raw::epoll_ctl(epoll, EPOLL_CTL_DEL, entry.fd, None).ok();
                }
            }
        }),
    },
    Mutant {
        name: "level-wakes-one",
        breaks: "multi-same-epfd-lt-wakes-all",
        behaviour: "Of threads in one level-triggered epoll only one is woken, as on Linux 5.6 to 5.8 (kernel bugzilla 208943).",
        kernel: &instead::epoll_wait(|epoll, mut events, max, timeout| {
            static TAKEN: AtomicBool = AtomicBool::new(false);
            let n = raw::epoll_wait(epoll, events.again(), max, timeout)?;
            if timeout >= 0 || !TAKEN.swap(true, SeqCst) {
                return Ok(n);
            }
            // The others sleep on, in an instance that has nothing.
            raw::epoll_wait(raw::epoll_create1(0)?, events, max, timeout)
        }),
    },
    Mutant {
        name: "exclusive-ignored",
        breaks: "multi-exclusive-wakes-one",
        behaviour: "EPOLLEXCLUSIVE is taken and ignored, as before Linux 4.5.",
        kernel: &Ctl(|call| call.with(|events| events & !(EPOLLEXCLUSIVE as u32)).real()),
    },
    Mutant {
        name: "loop-is-einval",
        breaks: "multi-nested-loop-eloop",
        behaviour: "A ring of epolls is refused with EINVAL, as in iSH (emkey1/ish-AOK#492).",
        kernel: &OtherErrno(Call::epoll_ctl, Errno::ELOOP, Errno::EINVAL),
    },
    Mutant {
        name: "exclusive-can-be-modified",
        breaks: "multi-exclusive-restrictions",
        behaviour: "EPOLL_CTL_MOD of an exclusive entry is accepted, as programmers expect.",
        kernel: &Ctl(|call| match call.real() {
            Err(_) if call.op == EPOLL_CTL_MOD && call.has(EPOLLEXCLUSIVE) => Ok(()),
            done => done,
        }),
    },
    Mutant {
        name: "epoll-in-poll-consumes",
        breaks: "multi-poll-on-epfd",
        behaviour: "poll of an epoll takes its edges.",
        // A descriptor that is no epoll refuses.
        kernel: &Changed(|entry| drop(ready_now(entry.fd))),
    },
];
