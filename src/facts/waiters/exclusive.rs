//! Many epolls on one descriptor: the herd, and EPOLLEXCLUSIVE.

use super::*;

pub(super) const FACTS: &[Fact] = &[
    Fact {
        id: "multi-many-epolls-wake-all",
        claim: "Where N epolls watch one descriptor without EPOLLEXCLUSIVE, one event wakes all N, \
                level-triggered and edge-triggered alike.",
        reference: "epoll_ctl(2) EPOLLEXCLUSIVE, which describes what it avoids",
        matters: "Workers that each have an epoll with the listener in it all wake for one client, and all but one find nothing.",
        experiment: "Three threads, each asleep in an epoll of its own on one pipe; one byte is written; all come back.",
        wrong: &[
            "gevent: https://github.com/gevent/gevent/issues/1536",
            "gunicorn: https://github.com/benoitc/gunicorn/issues/792",
            "uWSGI: https://github.com/unbit/uwsgi/issues/1224",
        ],
        run: |k| {
            for (how, events) in [("level-triggered", IN), ("edge-triggered", IN | ET)] {
                let expected = vec![(0, Ok(1)), (1, Ok(1)), (2, Ok(1))];
                noted(is(
                    format!("{how} epolls that one byte wakes"),
                    woken_by_a_byte(k, [events; 3], 3)?,
                    expected,
                ));
            }
            Ok(())
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "multi-exclusive-wakes-one",
        claim: "With EPOLLEXCLUSIVE in all N epolls, and a waiter blocked in each, one write wakes exactly \
                one. The manual page promises one or more.",
        reference: "epoll_ctl(2) EPOLLEXCLUSIVE; ep_poll_callback in fs/eventpoll.c",
        since: Since(4, 5),
        matters: "It is what a herd of workers is cured with.",
        experiment: "Three threads, each asleep in an epoll of its own on one pipe; one byte is written; one \
                     comes back, and two are still asleep.",
        wrong: &["puma: https://github.com/puma/puma/issues/3934"],
        run: |k| {
            let woken = woken_by_a_byte(k, [IN | EXCLUSIVE; 3], 1)?;
            let seen: Vec<Seen> = woken.into_iter().map(|(_, seen)| seen).collect();
            is("what threads in three epolls with EPOLLEXCLUSIVE saw of one byte", seen, vec![Ok(1)])
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "multi-exclusive-first-registered-wins",
        claim: "The one that EPOLLEXCLUSIVE wakes is the first registered epoll that has a blocked waiter. \
                This is an observation; nothing promises it.",
        reference: "ep_ptable_queue_proc in fs/eventpoll.c: add_wait_queue_exclusive appends",
        since: Since(4, 5),
        matters: "Load is not spread: the first worker gets each connection for as long as it is idle.",
        experiment: "Three threads, each asleep in an epoll of its own on one pipe; one byte is written, and \
                     the one that returns is noted; four rounds.",
        wrong: &["asio: https://github.com/chriskohlhoff/asio/issues/902"],
        run: |k| {
            let (epolls, (reading, writing)) = epolls(k, [IN | EXCLUSIVE; 3])?;
            // Blocked in another order than registered: it is the registration that counts.
            let (last, middle) = (Thread::in_epoll(k, epolls[2])?, Thread::in_epoll(k, epolls[1])?);
            let mut threads = [Thread::in_epoll(k, epolls[0])?, middle, last];
            for round in 1..=4 {
                k.write(writing, b"x")?;
                let what = format!("the epolls that are woken, by order of registration, in round {round}");
                is(what, woken(&mut threads, 1)?, vec![(0, Ok(1))])?;
                k.read(reading, &mut [0; 8])?;
                // Marked by the write that it has seen already, the epoll is emptied before it is slept in again.
                ready(k, epolls[0])?;
                threads[0] = Thread::in_epoll(k, epolls[0])?;
            }
            Ok(())
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "multi-exclusive-skips-idle-epoll",
        claim: "An exclusive epoll without a blocked waiter is marked ready but does not take the wake-up: \
                the next one is woken too.",
        reference: "ep_poll_callback in fs/eventpoll.c returns ewake",
        since: Since(4, 5),
        matters: "A worker that is busy does not swallow events; but it finds them later, taken by another.",
        experiment: "The first of two exclusive epolls has no waiter, the second has one; a byte is written: \
                     the second's returns, and the first is ready as well.",
        run: |k| {
            let ([idle, waited], (reading, writing)) = epolls(k, [IN | EXCLUSIVE; 2])?;
            let mut threads = [Thread::in_epoll(k, waited)?];
            k.write(writing, b"x")?;
            is("the epoll with a waiter, registered second", woken(&mut threads, 1)?, vec![(0, Ok(1))])?;
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
            let woken = woken_by_a_byte(k, [IN, IN | EXCLUSIVE, IN, IN | EXCLUSIVE], 3)?;
            let (exclusive, plain): (Vec<_>, Vec<_>) = woken.into_iter().partition(|(n, _)| n % 2 == 1);
            is("the plain epolls that are woken", plain, vec![(0, Ok(1)), (2, Ok(1))])?;
            is("how many of the exclusive epolls are woken", exclusive.len(), 1)
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "multi-exclusive-restrictions",
        claim: "EPOLLEXCLUSIVE: MOD to it or of it gives EINVAL; with EPOLLONESHOT, RDHUP, PRI or RDNORM, and on an epoll, ADD \
                gives EINVAL; with IN, OUT, ERR, HUP, EPOLLET and EPOLLWAKEUP it is allowed.",
        reference: "epoll_ctl(2) EPOLLEXCLUSIVE; EPOLLEXCLUSIVE_OK_BITS in fs/eventpoll.c",
        since: Since(4, 5),
        matters: "A listener with the flag cannot be paused with MOD at EMFILE; it must be removed and added.",
        experiment: "Entries are added with each of those events, and modified, and the answers compared with a table.",
        wrong: &[
            "pjproject: https://github.com/pjsip/pjproject/issues/2604",
            "tgoskits, in review: https://github.com/rcore-os/tgoskits/pull/1018",
        ],
        run: |k| {
            const RDNORM: Events = Events(libc::EPOLLRDNORM as u32);
            let outer = epoll(k)?;
            let with =
                |events| -> Reply<()> { add(k, outer, k.eventfd(0, libc::EFD_CLOEXEC)?, events | EXCLUSIVE) };
            for allowed in [IN, OUT, ERR, HUP, ET, WAKEUP, IN | OUT | ERR | HUP | ET | WAKEUP] {
                noted(is(format!("ADD with EPOLLEXCLUSIVE and {allowed}"), with(allowed), Ok(())));
            }
            for refused in [ONESHOT, RDHUP, PRI, RDNORM] {
                let what = format!("ADD with EPOLLEXCLUSIVE and {refused}");
                noted(is(what, with(IN | refused), no(Errno::EINVAL)));
            }
            let (plain, exclusive) = (k.eventfd(0, libc::EFD_CLOEXEC)?, k.eventfd(0, libc::EFD_CLOEXEC)?);
            add(k, outer, plain, IN)?;
            noted(is("MOD to EPOLLEXCLUSIVE", modify(k, outer, plain, IN | EXCLUSIVE), no(Errno::EINVAL)));
            add(k, outer, exclusive, IN | EXCLUSIVE)?;
            noted(is("MOD of an exclusive entry", modify(k, outer, exclusive, IN), no(Errno::EINVAL)));
            let inner = epoll(k)?;
            is("ADD of an epoll with EPOLLEXCLUSIVE", add(k, outer, inner, IN | EXCLUSIVE), no(Errno::EINVAL))
        },
        ..Fact::ALWAYS
    },
];

/// An epoll for each of `events` with the reading end of one pipe in it, and the pipe.
fn epolls<const N: usize>(k: K, events: [Events; N]) -> Held<([i32; N], (i32, i32))> {
    let ends @ (reading, _) = pipe(k)?;
    let mut epolls = [-1; N];
    for (place, events) in epolls.iter_mut().zip(events) {
        *place = epoll(k)?;
        add(k, *place, reading, events)?;
    }
    Ok((epolls, ends))
}

/// Have a thread wait in each of them, write one byte, and tell which came back, when `expected` of them should.
fn woken_by_a_byte<const N: usize>(k: K, events: [Events; N], expected: usize) -> Held<Vec<(usize, Seen)>> {
    let (epolls, (_, writing)) = epolls(k, events)?;
    let threads: Held<Vec<Thread>> = epolls.into_iter().map(|epoll| Thread::in_epoll(k, epoll)).collect();
    k.write(writing, b"x")?;
    woken(&mut threads?, expected)
}
