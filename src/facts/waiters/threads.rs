//! Many threads in epoll_wait or accept: how many are woken, and which.

use crate::facts::support::*;
use libc::O_CLOEXEC;

pub(super) const FACTS: &[Fact] = &[
    Fact {
        id: "multi-same-epfd-lt-wakes-all",
        claim: "When one level-triggered descriptor becomes ready and nobody reads, all N threads that wait in the epoll return: each that returns wakes the \
                next.",
        reference: "ep_send_events in fs/eventpoll.c; selftests epoll9 and epoll64",
        matters: "Sharing a level-triggered epoll among threads is a thundering herd.",
        experiment: "Four threads are asleep in epoll_wait, one byte is written, and all are joined.",
        wrong: &["Linux 5.6 to 5.8: https://bugzilla.kernel.org/show_bug.cgi?id=208943"],
        run: |k| {
            let epoll = epoll(k)?;
            let [reading, writing] = k.pipe2(O_CLOEXEC)?;
            add(k, epoll, reading, IN)?;
            let waiters: Held<Vec<_>> = (0..4)
                .map(|_| {
                    Waiter::asleep(EPOLL, move || wait(k, epoll, bound_ms() / 2).map(|events| events.len()))
                })
                .collect();
            let waiters = waiters?;
            k.write(writing, b"x")?;
            let seen: Held<Vec<Seen>> = waiters.into_iter().map(Waiter::join).collect();
            let woken = seen?.into_iter().filter(|seen| *seen == Ok(1)).count();
            is("of four threads in one level-triggered epoll, those woken by one byte", woken, 4)
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "multi-same-epfd-et-wakes-one",
        claim: "With EPOLLET or EPOLLONESHOT exactly one of N threads that wait in one epoll returns for an edge.",
        reference: "epoll(7) on EPOLLET; selftests epoll10, epoll12 and epoll60",
        matters: "It is why multi-threaded servers use edge-triggered or oneshot entries.",
        experiment: "Four threads are asleep in epoll_wait, one byte is written; one returns, and three are still asleep.",
        run: |k| {
            for (how, events) in [("EPOLLET", IN | ET), ("EPOLLONESHOT", IN | ONESHOT)] {
                let epoll = epoll(k)?;
                let [reading, writing] = k.pipe2(O_CLOEXEC)?;
                add(k, epoll, reading, events)?;
                let mut waiters = waiters(k, epoll, 4)?;
                k.write(writing, b"x")?;
                first_woken(&mut waiters)?;
                is(
                    format!("of four threads in one epoll with {how}, those asleep after one byte"),
                    asleep(&waiters),
                    3,
                )?;
            }
            Ok(())
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "multi-et-two-edges-two-threads",
        claim: "With EPOLLET a second write before the first thread has read wakes a second thread for the same descriptor; EPOLLONESHOT prevents it.",
        reference: "epoll(7), Level-triggered and edge-triggered, on EPOLLONESHOT",
        matters: "Two threads in one connection: the answers of one client get mixed. EPOLLET alone is not enough.",
        experiment: "Two threads are asleep; a byte is written, one returns; another byte is written before anybody read.",
        run: |k| {
            for (how, events, expected) in
                [("EPOLLET", IN | ET, 0), ("EPOLLET and EPOLLONESHOT", IN | ET | ONESHOT, 1)]
            {
                let epoll = epoll(k)?;
                let [reading, writing] = k.pipe2(O_CLOEXEC)?;
                add(k, epoll, reading, events)?;
                let mut waiters = waiters(k, epoll, 2)?;
                k.write(writing, b"x")?;
                // The first has its event before the second byte comes: two bytes at once would be one edge.
                first_woken(&mut waiters)?;
                k.write(writing, b"x")?;
                is(
                    format!("threads that a second byte leaves asleep, with {how}"),
                    asleep(&waiters),
                    expected,
                )?;
            }
            Ok(())
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "multi-waiters-are-lifo",
        claim: "Of threads that are blocked in one epoll the one that was blocked last is woken first. This is an observation; nothing promises it.",
        reference: "ep_poll in fs/eventpoll.c: __add_wait_queue_exclusive puts a waiter at the head",
        matters: "Load is not spread: one thread does most of the work until it is saturated.",
        experiment: "Four threads fall asleep in epoll_wait in turn, one edge comes, and the one that returns is noted; ten rounds.",
        wrong: &["PowerDNS: https://github.com/PowerDNS/pdns/issues/10446"],
        run: |k| {
            let epoll = epoll(k)?;
            let [reading, writing] = k.pipe2(O_CLOEXEC)?;
            add(k, epoll, reading, IN | ET)?;
            let mut waiters = waiters(k, epoll, 4)?;
            for round in 0..10 {
                k.write(writing, b"x")?;
                let first = first_woken(&mut waiters)?;
                is(format!("of threads blocked as 0, 1, 2, 3 the one woken, in round {round}"), first, 3)?;
                is(format!("those asleep after it, in round {round}"), asleep(&waiters), 3)?;
                k.read(reading, &mut [0; 8])?;
                waiters.push(waiter(k, epoll)?);
            }
            Ok(())
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "multi-accept-waiters-fifo",
        claim: "Threads that are blocked in accept on one listener are served in the order in which they blocked, one connection each.",
        reference: "inet_csk_wait_for_connect in net/ipv4/inet_connection_sock.c: prepare_to_wait_exclusive",
        matters: "Prefork servers spread their load in turn and have no herd, unlike those on epoll.",
        experiment: "Four threads fall asleep in accept in turn, four clients connect one after another, and after each the thread that returned is noted.",
        run: |k| {
            let (listener, address) = listener(k, 5)?;
            let mut waiters = Vec::new();
            for _ in 0..4 {
                waiters.push(Waiter::asleep(ACCEPT, move || k.accept(listener).map(drop))?);
            }
            for turn in 0..4 {
                connected(k, &address)?;
                let mut served = None;
                comes_true("one of the threads in accept returns", || {
                    served = (0..4).find(|&n| waiters[n].join_within(Duration::ZERO) == Some(Ok(())));
                    Ok(served.is_some())
                })?;
                is(
                    format!("the thread that has connection {turn}, of those blocked as 0, 1, 2, 3"),
                    served,
                    Some(turn),
                )?;
                let still = waiters[turn + 1..].iter().filter(|waiter| waiter.is_asleep()).count();
                is("threads that are still asleep", still, 3 - turn)?;
            }
            Ok(())
        },
        ..Fact::ALWAYS
    },
];

/// What a thread saw: how many events, or why none.
type Seen = Reply<usize>;

/// A thread that is asleep in `epoll`, for as long as it takes.
fn waiter(k: K, epoll: i32) -> Held<Waiter<Seen>> {
    Waiter::asleep(EPOLL, move || wait(k, epoll, -1).map(|events| events.len()))
}

fn waiters(k: K, epoll: i32, n: usize) -> Held<Vec<Waiter<Seen>>> {
    (0..n).map(|_| waiter(k, epoll)).collect()
}

/// Wait until one of the threads returns, take it out, and tell which it was.
fn first_woken(waiters: &mut Vec<Waiter<Seen>>) -> Held<usize> {
    let (n, seen) = until("one of the threads returns", || {
        let mut returned = waiters.iter().map(|waiter| waiter.join_within(Duration::ZERO)).enumerate();
        Ok(returned.find_map(|(n, seen)| Some((n, seen?))))
    })?;
    waiters.remove(n);
    is("events that it saw", seen, Ok(1))?;
    Ok(n)
}

/// How many of the threads are asleep. A write to a pipe wakes all that it wakes before it returns.
fn asleep(waiters: &[Waiter<Seen>]) -> usize {
    waiters.iter().filter(|waiter| waiter.is_asleep()).count()
}
