//! How long poll waits; epoll_wait does the same.

use super::*;

pub(super) const FACTS: &[Fact] = &[
    Fact {
        id: "poll-negative-timeout-infinite",
        claim: "Any negative timeout of poll waits without limit, not only -1; that of epoll_wait too.",
        reference: "poll(2) timeout, epoll_wait(2) timeout; do_sys_poll in fs/select.c, ep_timeout_to_timespec in fs/eventpoll.c",
        matters: "A deadline that has passed must be turned into 0. A program that passes the negative rest of a time \
                  waits for ever.",
        experiment: "poll and epoll_wait of a pipe with a byte, with -1, -5 and the lowest number. Then threads sleep \
                     in the same calls with the pipe empty; 60 ms later they are asleep still, and a byte wakes them.",
        run: |k| {
            let [reader, writer] = k.pipe2(libc::O_CLOEXEC)?;
            let epoll = watching(k, reader, IN)?;
            const TIMEOUTS: [i32; 3] = [-1, -5, i32::MIN];
            let by_poll = move |timeout| k.poll(At::from(&mut entry(reader, IN)), timeout);
            let by_epoll = move |timeout| Ok(wait(k, epoll, timeout)?.len());
            for timeout in TIMEOUTS {
                k.write(writer, b"1")?;
                let polling = Waiter::started(POLL, move || by_poll(timeout))?.join()?;
                is(format!("poll of a ready pipe with {timeout}"), polling, Ok(1))?;
                let waiting = Waiter::started(EPOLL, move || by_epoll(timeout))?.join()?;
                is(format!("epoll_wait of a ready pipe with {timeout}"), waiting, Ok(1))?;
                k.read(reader, &mut [0])?;
            }
            let mut waiters = Vec::new();
            for timeout in TIMEOUTS {
                let polling = Waiter::asleep(POLL, move || by_poll(timeout))?;
                let waiting = Waiter::asleep(EPOLL, move || by_epoll(timeout))?;
                waiters.push((format!("poll with {timeout}, once a byte is written"), polling));
                waiters.push((format!("epoll_wait with {timeout}, once a byte is written"), waiting));
            }
            let end = Instant::now() + Duration::from_millis(60);
            for (_, waiter) in &waiters {
                waiter.sleeps_on(end.saturating_duration_since(Instant::now()))?;
            }
            k.write(writer, b"1")?;
            for (what, waiter) in waiters {
                is(what, waiter.join()?, Ok(1))?;
            }
            Ok(())
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "poll-never-early",
        claim: "poll and epoll_wait with a timeout of N ms never give 0 before N ms of CLOCK_MONOTONIC have passed.",
        reference: "poll(2) NOTES; poll_select_set_timeout and select_estimate_accuracy in fs/select.c, which only add slack",
        matters: "A timer that is due in N ms is due when poll returns. Where the rest of the time is rounded down to \
                  whole milliseconds, the last one becomes a loop of calls with a timeout of 0.",
        experiment: "50 times poll, and 50 times epoll_wait, of nothing with 1 ms, and once each with 20 ms; the \
                     shortest of each is looked at.",
        wrong: &[
            "Mio: https://github.com/tokio-rs/mio/issues/1615",
            "calloop: https://github.com/Smithay/calloop/issues/142",
            "Bun: https://github.com/oven-sh/bun/issues/34780",
            "Graphene: https://github.com/gramineproject/graphene/issues/651",
        ],
        run: |k| {
            let [reader, _writer] = k.pipe2(libc::O_CLOEXEC)?;
            let epoll = watching(k, reader, IN)?;
            let shortest = |samples, ask: &dyn Fn() -> Reply<usize>| -> Held<Duration> {
                let mut shortest = Duration::MAX;
                for _ in 0..samples {
                    let start = Instant::now();
                    if ask()? == 0 {
                        shortest = shortest.min(start.elapsed());
                    }
                }
                Ok(shortest)
            };
            for (ms, samples) in [(1, 50), (20, 1)] {
                let poll = shortest(samples, &|| k.poll(At::from(&mut entry(reader, IN)), ms))?;
                let epoll_wait = shortest(samples, &|| wait(k, epoll, ms).map(|all| all.len()))?;
                for (call, took) in [("poll", poll), ("epoll_wait", epoll_wait)] {
                    let what = format!(
                        "the shortest {call} with a timeout of {ms} ms, which gives 0, takes that long"
                    );
                    let in_time = took >= Duration::from_millis(ms as u64) && took != Duration::MAX;
                    noted(holds(what, in_time, took));
                }
            }
            Ok(())
        },
        ..Fact::ALWAYS
    },
];
