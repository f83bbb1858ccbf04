//! How long a wait lasts: negative times, the longest, and those shorter than a millisecond.

use super::*;
use libc::timespec;

pub(super) const FACTS: &[Fact] = &[
    Fact {
        id: "ep-timeout-extremes",
        claim: "Any negative timeout makes epoll_wait wait for ever, not -1 alone. The largest, i32::MAX ms, \
                is waited for as well: it does not overflow.",
        reference: "ep_timeout_to_timespec in fs/eventpoll.c: timeout < 0",
        matters: "A deadline that has just passed gives -3 when it is subtracted from the clock: the loop \
                  sleeps for ever instead of not at all.",
        experiment: "A thread waits with each of -1, -2, i32::MIN and i32::MAX: it sleeps for 60 ms at \
                     least, and ends when its pipe is written to.",
        wrong: &[
            "illumos LX zones: https://github.com/TritonDataCenter/illumos-joyent/issues/136",
            "bpftime: https://github.com/eunomia-bpf/bpftime/issues/441",
        ],
        run: |k| {
            for timeout in [-1, -2, i32::MIN, i32::MAX] {
                step(format!("{timeout} ms"), || {
                    let (ep, (r, w)) = watched_pipe(k, IN)?;
                    let waiter = Waiter::asleep_or_over(EPOLL, move || wait(k, ep, timeout))?;
                    is("what the wait gave within 60 ms", waiter.join_within(AWHILE), None)?;
                    k.write(w, b"x")?;
                    is("the wait, with something to read", waiter.join()?, Ok(vec![(r, IN)]))
                });
            }
            Ok(())
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "ep-pwait2-nanoseconds",
        claim: "epoll_pwait2 counts in nanoseconds: 1 ns returns in less than 1 ms, 500 us last 500 us at least. Without a \
                timeout, and with the longest, it waits for ever. A negative time, or 10^9 ns and more, is EINVAL.",
        reference: "epoll_wait(2); commit 58169a52ebc9",
        since: Since(5, 11),
        matters: "With epoll_wait a timer of 500 us is rounded: down, and the loop spins; up, and it is late.",
        experiment: "An empty pipe is waited for with each of the times, the shortest again and again; it is \
                     written to during the longest.",
        wrong: &[
            "mio: https://github.com/tokio-rs/mio/issues/1615",
            "Bun: https://github.com/oven-sh/bun/issues/34780",
            "zio: https://github.com/lalinsky/zio/issues/500",
            "Go: https://github.com/golang/go/issues/79872",
        ],
        run: |k| {
            let time = |tv_sec, tv_nsec| Some(timespec { tv_sec, tv_nsec });
            let (ep, (r, w)) = watched_pipe(k, IN)?;
            // What it gave, and how long it took; in a thread, because a kernel that rounds wrongly may wait for ever.
            let wait2 = move |timeout: Option<timespec>| {
                let (mut timeout, mut one, start) = (timeout, event(0, NONE), Instant::now());
                let n = k.epoll_pwait2(ep, At::from(&mut one), 1, timeout.as_mut(), Mask::NONE);
                (n.map(|n| [(one.u64 as i32, Events(one.events))][..n].to_vec()), start.elapsed())
            };
            let in_thread = |timeout| {
                is("nothing is ready", ready(k, ep)?, vec![])?;
                Waiter::started(EPOLL, move || wait2(timeout))?.join()
            };
            // Where the call is missing or denied there is nothing to look at.
            wait2(time(0, 0)).0?;
            noted(is("a wait of 0 ns", in_thread(time(0, 0))?.0, Ok(vec![])));
            // Again and again, until there is one that no other program disturbs.
            const SHORT: Duration = Duration::from_millis(1);
            let is_short = move |_| wait2(time(0, 1)).1 < SHORT;
            let one_is = Waiter::started(EPOLL, move || (0..500).any(is_short))?.join()?;
            noted(holds("one of up to 500 waits of 1 ns takes less than 1 ms", one_is, "none"));
            let (found, took) = in_thread(time(0, 500_000))?;
            noted(is("a wait of 500 us", found, Ok(vec![])));
            noted(holds("a wait of 500 us lasts 0.5 ms at least", took >= Duration::from_micros(500), took));
            for (what, timeout) in
                [("-1 s", time(-1, 0)), ("-1 ns", time(0, -1)), ("10^9 ns", time(0, 1_000_000_000))]
            {
                noted(is(format!("a wait of {what}"), in_thread(timeout)?.0, no(Errno::EINVAL)));
            }
            for (what, timeout) in [("without a timeout", None), ("of i64::MAX s", time(i64::MAX, 0))] {
                let waiter = Waiter::asleep_or_over(EPOLL, move || wait2(timeout).0)?;
                is(format!("what a wait {what} gave within 60 ms"), waiter.join_within(AWHILE), None)?;
                k.write(w, b"x")?;
                is(format!("a wait {what}, with something to read"), waiter.join()?, Ok(vec![(r, IN)]))?;
                k.read(r, &mut [0])?;
            }
            Ok(())
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "ep-pwait2-mask",
        claim: "The mask of epoll_pwait2 is that of epoll_pwait: a size other than 8 bytes is EINVAL, and is \
                ignored without a mask; a pending signal that it lets through gives EINTR at once, its \
                handler having run, but nothing with a timeout of 0.",
        reference: "epoll_wait(2); do_epoll_pwait2 and set_user_sigmask",
        since: Since(5, 11),
        matters: "A layer that makes epoll_pwait2 of other calls often drops the last two arguments, and \
                  signals are slept through.",
        experiment: "Waits with masks of 8, 4 and 0 bytes, and without one, on a readable pipe; then SIGUSR1 is blocked and \
                     raised, and an empty pipe waited for with an empty mask: for 0 s, and for 5 s.",
        wrong: &["Asterinas: https://github.com/asterinas/asterinas/pull/3384"],
        run: |k| {
            let (ep, (r, w)) = watched_pipe(k, IN)?;
            let wait2 = |limit: Duration, mask| {
                let (tv_sec, tv_nsec) = (limit.as_secs() as i64, i64::from(limit.subsec_nanos()));
                let mut limit = timespec { tv_sec, tv_nsec };
                k.epoll_pwait2(ep, At::from(&mut event(0, NONE)), 1, Some(&mut limit), mask)
            };
            // Where the call is missing or denied there is nothing to look at.
            wait2(Duration::ZERO, Mask::NONE)?;
            k.write(w, b"x")?;
            for (signals, size, answer) in [
                (Some(0), 8, Ok(1)),
                (Some(0), 4, no(Errno::EINVAL)),
                (Some(0), 0, no(Errno::EINVAL)),
                (None, 4, Ok(1)),
                (None, 128, Ok(1)),
            ] {
                let what = if signals.is_some() { "a mask" } else { "no mask" };
                let reply = wait2(Duration::ZERO, Mask { signals, size });
                noted(is(format!("{what}, of {size} bytes"), reply, answer));
                is("the pipe as poll sees it", mask_of(k, r, IN)?, IN)?;
            }
            k.read(r, &mut [0])?;
            k.sigaction(libc::SIGUSR1, Action::Count, 0)?;
            k.sigprocmask(libc::SIG_BLOCK, bit(libc::SIGUSR1))?;
            k.kill(std::process::id().cast_signed(), libc::SIGUSR1)?;
            let lets_through = Mask::of(0);
            noted(is(
                "a wait of 0 s that lets the signal through",
                wait2(Duration::ZERO, lets_through),
                Ok(0),
            ));
            noted(is("runs of the handler then", raw::handled(libc::SIGUSR1), 0));
            noted(is(
                "a longer wait that lets the signal through",
                wait2(bound(), lets_through),
                no(Errno::EINTR),
            ));
            is("runs of the handler after that", raw::handled(libc::SIGUSR1), 1)
        },
        ..Fact::ALWAYS
    },
];
