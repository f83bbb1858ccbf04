//! Many threads in epoll_wait or accept: how many are woken, and which.

use super::*;

pub(super) const FACTS: &[Fact] = &[
    Fact {
        id: "multi-same-epfd-lt-wakes-all",
        claim: "When one level-triggered descriptor becomes ready and nobody reads, all N threads that wait \
                in the epoll return: each that returns wakes the next.",
        reference: "ep_send_events in fs/eventpoll.c; selftests epoll9 and epoll64",
        matters: "Sharing a level-triggered epoll among threads is a thundering herd.",
        experiment: "Three threads are asleep in epoll_wait, one byte is written, and all come back.",
        wrong: &["Linux 5.6 to 5.8: https://bugzilla.kernel.org/show_bug.cgi?id=208943"],
        run: |k| {
            let (epoll, (_reading, writing)) = watched_pipe(k, IN)?;
            let mut threads = Thread::several(k, epoll, 3)?;
            k.write(writing, b"x")?;
            let expected = vec![(0, Ok(1)), (1, Ok(1)), (2, Ok(1))];
            is("threads in one level-triggered epoll that one byte wakes", woken(&mut threads, 3)?, expected)
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "multi-same-epfd-et-wakes-one",
        claim: "With EPOLLET or EPOLLONESHOT exactly one of N threads that wait in one epoll returns for an edge.",
        reference: "epoll(7) on EPOLLET; selftests epoll10, epoll12 and epoll60",
        matters: "It is why multi-threaded servers use edge-triggered or oneshot entries.",
        experiment: "Three threads are asleep in epoll_wait, one byte is written; one comes back, and two are still asleep.",
        run: |k| {
            for (how, events) in [("EPOLLET", IN | ET), ("EPOLLONESHOT", IN | ONESHOT)] {
                let (epoll, (_reading, writing)) = watched_pipe(k, events)?;
                let mut threads = Thread::several(k, epoll, 3)?;
                k.write(writing, b"x")?;
                let seen: Vec<Seen> = woken(&mut threads, 1)?.into_iter().map(|(_, seen)| seen).collect();
                noted(is(format!("what threads in one epoll saw, with {how}"), seen, vec![Ok(1)]));
            }
            Ok(())
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "multi-et-two-edges-two-threads",
        claim: "With EPOLLET a second write before the first thread has read wakes a second thread for the \
                same descriptor; EPOLLONESHOT prevents it.",
        reference: "epoll(7), Level-triggered and edge-triggered, on EPOLLONESHOT",
        gaps: &[PIPES_ONLY_FROM_EMPTY],
        matters: "Two threads in one connection: the answers of one client get mixed. EPOLLET alone is not enough.",
        experiment: "Two threads are asleep; something is written to a pipe, and to an eventfd, and one \
                     comes back; it is written to again before anybody read.",
        run: |k| {
            for (how, flags) in [("EPOLLET", ET), ("EPOLLET and EPOLLONESHOT", ET | ONESHOT)] {
                for kind in ["a pipe", "an eventfd"] {
                    step(format!("{kind} with {how}"), || {
                        let (reading, writing) = match kind {
                            "a pipe" => pipe(k)?,
                            _ => k.eventfd(0, libc::EFD_CLOEXEC).map(|fd| (fd, fd))?,
                        };
                        let epoll = watching(k, reading, IN | flags)?;
                        let mut threads = Thread::several(k, epoll, 2)?;
                        k.write(writing, &1u64.to_ne_bytes())?;
                        // The first has its event before the second write: two at once would be one edge.
                        let first = woken(&mut threads, 1)?.len();
                        k.write(writing, &1u64.to_ne_bytes())?;
                        let expected = usize::from(flags == ET);
                        let second = woken(&mut threads, expected)?.len();
                        is("threads that the first and the second write wake", (first, second), (1, expected))
                    });
                }
            }
            Ok(())
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "multi-waiters-are-lifo",
        claim: "Of threads that are blocked in one epoll the one that was blocked last is woken first. This \
                is an observation; nothing promises it.",
        reference: "ep_poll in fs/eventpoll.c: __add_wait_queue_exclusive puts a waiter at the head",
        matters: "Load is not spread: one thread does most of the work until it is saturated.",
        experiment: "Three threads fall asleep in epoll_wait in turn, one edge comes, and the one that \
                     returns is noted and replaced; four rounds.",
        wrong: &["PowerDNS: https://github.com/PowerDNS/pdns/issues/10446"],
        run: |k| {
            let (epoll, (reading, writing)) = watched_pipe(k, IN | ET)?;
            let mut threads = Thread::several(k, epoll, 3)?;
            for round in 1..=4 {
                k.write(writing, b"x")?;
                let what = format!("of threads blocked as 0, 1, 2 those that wake, in round {round}");
                is(what, woken(&mut threads, 1)?, vec![(2, Ok(1))])?;
                k.read(reading, &mut [0; 8])?;
                threads[2] = Thread::in_epoll(k, epoll)?;
            }
            Ok(())
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "multi-accept-waiters-fifo",
        claim: "Threads that are blocked in accept on one listener are served in the order in which they \
                blocked, one connection each.",
        reference: "inet_csk_wait_for_connect in net/ipv4/inet_connection_sock.c: prepare_to_wait_exclusive",
        matters: "Prefork servers spread their load in turn and have no herd, unlike those on epoll.",
        experiment: "Three threads fall asleep in accept in turn, three clients connect one after another, \
                     and after each the thread that returned is noted.",
        run: |k| {
            let (listener, address) = listener(k, 5)?;
            let in_accept = |_| Thread::in_call(ACCEPT, move || k.accept(listener).map(|_| 1));
            let mut threads = (0..3).map(in_accept).collect::<Held<Vec<Thread>>>()?;
            for turn in 0..3 {
                connected(k, &address)?;
                let what = format!("of threads blocked as 0, 1, 2 those that return for connection {turn}");
                noted(is(what, woken(&mut threads, 1)?, vec![(turn, Ok(1))]));
            }
            Ok(())
        },
        ..Fact::ALWAYS
    },
];
