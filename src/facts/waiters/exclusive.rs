//! Many epolls on one descriptor: the herd, and EPOLLEXCLUSIVE.

use crate::facts::support::*;
use libc::O_CLOEXEC;

pub(super) const FACTS: &[Fact] = &[
    Fact {
        id: "multi-many-epolls-wake-all",
        claim: "Where N epolls watch one descriptor without EPOLLEXCLUSIVE, one event wakes all N, level-triggered and edge-triggered alike.",
        reference: "epoll_ctl(2) EPOLLEXCLUSIVE, which describes what it avoids",
        matters: "Workers that each have an epoll with the listener in it all wake for one client, and all but one find nothing.",
        experiment: "Four threads, each asleep in an epoll of its own on one pipe; one byte is written; all are joined.",
        wrong: &[
            "gevent: https://github.com/gevent/gevent/issues/1536",
            "gunicorn: https://github.com/benoitc/gunicorn/issues/792",
            "uWSGI: https://github.com/unbit/uwsgi/issues/1224",
        ],
        run: |k| {
            for (how, events) in [("level-triggered", IN), ("edge-triggered", IN | ET)] {
                is(format!("which of four {how} epolls one byte woke"), woken(k, [events; 4])?, [true; 4])?;
            }
            Ok(())
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "multi-exclusive-wakes-one",
        claim: "With EPOLLEXCLUSIVE in all N epolls, and a waiter blocked in each, one write wakes exactly one. The manual page promises one or more.",
        reference: "epoll_ctl(2) EPOLLEXCLUSIVE; ep_poll_callback in fs/eventpoll.c",
        since: Since(4, 5),
        matters: "It is what a herd of workers is cured with.",
        experiment: "Four threads, each asleep in an epoll of its own on one pipe; one byte is written; one returns, and three are still asleep; ten rounds.",
        wrong: &["puma: https://github.com/puma/puma/issues/3934"],
        run: |k| {
            for _ in 0..10 {
                let woken = woken(k, [IN | EXCLUSIVE; 4])?.into_iter().filter(|woken| *woken).count();
                is("of four epolls with EPOLLEXCLUSIVE, those woken by one byte", woken, 1)?;
            }
            Ok(())
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "multi-exclusive-first-registered-wins",
        claim: "The one that EPOLLEXCLUSIVE wakes is the first registered epoll that has a blocked waiter. This is an observation; nothing promises it.",
        reference: "ep_ptable_queue_proc in fs/eventpoll.c: add_wait_queue_exclusive appends",
        since: Since(4, 5),
        matters: "Load is not spread: the first worker gets each connection for as long as it is idle.",
        experiment: "Four threads, each asleep in an epoll of its own on one pipe; one byte is written, and the one that returns is noted; ten rounds.",
        wrong: &["asio: https://github.com/chriskohlhoff/asio/issues/902"],
        run: |k| {
            let (epolls, [reading, writing]) = epolls(k, [IN | EXCLUSIVE; 4])?;
            // Blocked in another order than registered: it is the registration that counts.
            let mut waiters = [None, None, None, None];
            for n in [2, 0, 3, 1] {
                waiters[n] = Some(waiter(k, epolls[n])?);
            }
            for round in 0..10 {
                k.write(writing, b"x")?;
                let asleep = |waiter: &Option<Waiter<Seen>>| waiter.as_ref().is_some_and(Waiter::is_asleep);
                let woken: Vec<usize> = (0..4).filter(|&n| !asleep(&waiters[n])).collect();
                is(
                    format!("the epolls that are woken, by order of registration, in round {round}"),
                    woken,
                    vec![0],
                )?;
                // It has its event before the byte goes: an event that is undone would send it back to sleep.
                let seen = waiters[0].take().map(Waiter::join).transpose()?;
                is("events that it saw", seen, Some(Ok(1)))?;
                k.read(reading, &mut [0; 8])?;
                // Marked by a wake that it did not get, an epoll is emptied before it is slept in again.
                ready(k, epolls[0])?;
                waiters[0] = Some(waiter(k, epolls[0])?);
            }
            Ok(())
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "multi-exclusive-skips-idle-epoll",
        claim: "An exclusive epoll without a blocked waiter is marked ready but does not take the wake-up: the next one is woken too.",
        reference: "ep_poll_callback in fs/eventpoll.c returns ewake",
        since: Since(4, 5),
        matters: "A worker that is busy does not swallow events; but it finds them later, taken by another.",
        experiment: "The first of two exclusive epolls has no waiter, the second has one; a byte is written: the second's returns, and the first is ready as \
                     well.",
        run: |k| {
            let ([idle, waited], [reading, writing]) = epolls(k, [IN | EXCLUSIVE; 2])?;
            let waiter = Waiter::asleep(EPOLL, move || wait(k, waited, bound_ms() / 2))?;
            k.write(writing, b"x")?;
            is("the epoll with a waiter, registered second", waiter.join()?, Ok(vec![(reading, IN)]))?;
            is("the epoll without one, registered first", ready(k, idle)?, vec![(reading, IN)])
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "multi-exclusive-mixed",
        claim: "Of two plain and two exclusive epolls on one descriptor both plain ones and exactly one exclusive one return.",
        reference: "epoll_ctl(2) EPOLLEXCLUSIVE",
        since: Since(4, 5),
        matters: "One library in the process that does not use the flag brings a part of the herd back.",
        experiment: "Four threads, each asleep in an epoll of its own, two of them exclusive; one byte is written.",
        run: |k| {
            let woken = woken(k, [IN, IN | EXCLUSIVE, IN, IN | EXCLUSIVE])?;
            is("whether the plain epolls were woken", (woken[0], woken[2]), (true, true))?;
            is("whether one of the exclusive epolls was woken, and not both", woken[1] != woken[3], true)
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "multi-exclusive-restrictions",
        claim: "EPOLLEXCLUSIVE: MOD to it or of it gives EINVAL; with EPOLLONESHOT, RDHUP, PRI or RDNORM, and on an epoll, ADD gives EINVAL; with IN, OUT, ERR, HUP, EPOLLET \
                and EPOLLWAKEUP it is allowed.",
        reference: "epoll_ctl(2) EPOLLEXCLUSIVE; EPOLLEXCLUSIVE_OK_BITS in fs/eventpoll.c",
        since: Since(4, 5),
        matters: "A listener with the flag cannot be paused with MOD at EMFILE; it must be removed and added.",
        experiment: "Entries are added with each of those events, and modified, and the answers compared with a table.",
        wrong: &["pjproject: https://github.com/pjsip/pjproject/issues/2604"],
        run: |k| {
            const RDNORM: Events = Events(libc::EPOLLRDNORM as u32);
            let epoll = epoll(k)?;
            for allowed in [IN, OUT, ERR, HUP, ET, WAKEUP, IN | OUT | ERR | HUP | ET | WAKEUP] {
                let fd = k.eventfd(0, libc::EFD_CLOEXEC)?;
                is(
                    format!("ADD with EPOLLEXCLUSIVE and {allowed}"),
                    add(k, epoll, fd, allowed | EXCLUSIVE),
                    Ok(()),
                )?;
            }
            for refused in [ONESHOT, RDHUP, PRI, RDNORM] {
                let fd = k.eventfd(0, libc::EFD_CLOEXEC)?;
                let added = add(k, epoll, fd, IN | refused | EXCLUSIVE);
                is(format!("ADD with EPOLLEXCLUSIVE and {refused}"), added, no(Errno::EINVAL))?;
            }
            let (plain, exclusive) = (k.eventfd(0, libc::EFD_CLOEXEC)?, k.eventfd(0, libc::EFD_CLOEXEC)?);
            add(k, epoll, plain, IN)?;
            add(k, epoll, exclusive, IN | EXCLUSIVE)?;
            is("MOD to EPOLLEXCLUSIVE", modify(k, epoll, plain, IN | EXCLUSIVE), no(Errno::EINVAL))?;
            is("MOD of an exclusive entry", modify(k, epoll, exclusive, IN), no(Errno::EINVAL))?;
            let inner = super::super::support::epoll(k)?;
            is("ADD of an epoll with EPOLLEXCLUSIVE", add(k, epoll, inner, IN | EXCLUSIVE), no(Errno::EINVAL))
        },
        ..Fact::ALWAYS
    },
];

/// A pipe, and an epoll for each of `events` with the reading end in it; the writing end.
fn epolls<const N: usize>(k: K, events: [Events; N]) -> Held<([i32; N], [i32; 2])> {
    let ends @ [reading, _] = k.pipe2(O_CLOEXEC)?;
    let mut epolls = [-1; N];
    for (place, events) in epolls.iter_mut().zip(events) {
        *place = epoll(k)?;
        add(k, *place, reading, events)?;
    }
    Ok((epolls, ends))
}

/// What a thread saw: how many events, or why none.
type Seen = Reply<usize>;

/// A thread that is asleep in `epoll`, for as long as it takes.
fn waiter(k: K, epoll: i32) -> Held<Waiter<Seen>> {
    Waiter::asleep(EPOLL, move || wait(k, epoll, -1).map(|events| events.len()))
}

/// Have a thread wait in each of them, write one byte, and tell which returned. The others are asleep: a write to a
/// pipe wakes all that it wakes before it returns.
fn woken<const N: usize>(k: K, events: [Events; N]) -> Held<[bool; N]> {
    let (epolls, [_, writing]) = epolls(k, events)?;
    let waiters: Held<Vec<_>> = epolls.into_iter().map(|epoll| waiter(k, epoll)).collect();
    let waiters = waiters?;
    k.write(writing, b"x")?;
    let mut woken = [false; N];
    for (woken, waiter) in woken.iter_mut().zip(waiters) {
        if !waiter.is_asleep() {
            is("events that a thread saw which was woken", waiter.join()?, Ok(1))?;
            *woken = true;
        }
    }
    Ok(woken)
}
