//! The time limit: what the call leaves in it, and which values it takes.

use super::*;

pub(super) const FACTS: &[Fact] = &[
    Fact {
        id: "sel-timeout-rewritten-on-ready",
        claim: "When a descriptor is ready, the call overwrites its timeout with the time that it did not sleep: 5 s \
                come back as a little less than 5 s.",
        reference: "select(2) NOTES; poll_select_finish in fs/select.c",
        matters: "A loop that sets the timeout once, before it, waits shorter each time and spins at the end. Code \
                  that counts on the rest, to go on after EINTR, works on Linux alone.",
        experiment: "select of a pipe with a byte in it and a timeout of 5 s. What is gone from the timeout must be \
                     more than nothing and no more than the call took.",
        run: |k| {
            let [read_end, _write_end] = pipe_with_byte(k)?;
            for &call in CALLS {
                let limit = Duration::from_secs(5);
                let (mut sets, mut left) = (Three::<1>::of(&[read_end], &[], &[]), limit);
                let started = Instant::now();
                let reply = call.call(k, read_end + 1, sets.sets(), &mut left);
                let took = started.elapsed();
                is(format!("{call} of a readable pipe"), reply, Ok(1))?;
                is_the_rest(format!("{call} found a descriptor ready"), limit, left, took)?;
            }
            Ok(())
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "sel-timeout-zeroed-on-expiry",
        claim: "When the call returns 0, its timeout is exactly 0.",
        reference: "select(2) NOTES; poll_select_finish in fs/select.c",
        matters: "The next call with the same variable does not wait at all: a loop that forgets to set it again \
                  uses a whole processor after its first idle moment.",
        experiment: "select of an empty pipe with a timeout of 20 ms; the timeout is looked at.",
        run: |k| {
            let [read_end, _write_end] = k.pipe2(libc::O_CLOEXEC)?;
            for &call in CALLS {
                let (mut sets, mut left) = (Three::<1>::of(&[read_end], &[], &[]), BRIEF);
                let started = Instant::now();
                let reply = call.call(k, read_end + 1, sets.sets(), &mut left);
                let took = started.elapsed();
                is(format!("{call} of an empty pipe"), reply, Ok(0))?;
                holds(format!("{call} takes at least {}", BRIEF.show()), took >= BRIEF, took)?;
                is(format!("the timeout after {call} returned 0"), left, Duration::ZERO)?;
            }
            Ok(())
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "sel-timeout-rewritten-on-eintr",
        claim: "When a signal handler interrupts the call (EINTR), its timeout holds what was not slept.",
        reference: "select(2) NOTES; poll_select_finish in fs/select.c",
        matters: "Calling again with the same variable waits for the right time on Linux. Where the timeout stays \
                  as it was, signals that come often enough make the wait endless.",
        experiment: "A thread sleeps in select for up to 60 s; a signal with a handler is sent to it. What is gone \
                     from the timeout must be no more than the call took.",
        run: |k| {
            let [read_end, _write_end] = k.pipe2(libc::O_CLOEXEC)?;
            k.sigaction(libc::SIGUSR1, Action::Count, 0)?;
            for &call in CALLS {
                let waiter = Waiter::asleep(SELECT, move || {
                    let (mut sets, mut left) = (Three::<1>::of(&[read_end], &[], &[]), LONG);
                    let started = Instant::now();
                    let reply = call.call(k, read_end + 1, sets.sets(), &mut left);
                    (reply, left, started.elapsed())
                })?;
                raw::tgkill(waiter.thread, libc::SIGUSR1)?;
                let (reply, left, took) = waiter.join()?;
                is(format!("{call} that a handler interrupted"), reply, no(Errno::EINTR))?;
                is_the_rest(format!("{call} was interrupted"), LONG, left, took)?;
            }
            Ok(())
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "sel-pselect6-rewrites-glibc-hides",
        claim: "The system calls pselect6 and ppoll overwrite their timeout as select does. The functions pselect and \
                ppoll of the C library leave the caller's as it is. epoll_pwait2 never writes to its timeout.",
        reference: "select(2) C library/kernel differences; ppoll(2); do_epoll_pwait in fs/eventpoll.c",
        since: Since(5, 11),
        matters: "Who makes the system calls directly (a runtime without libc, rustix, Go) must set the timeout \
                  again before each call; who uses the C library need not.",
        experiment: "Each call waits for 20 ms for nothing; the timeout is compared with what it was.",
        run: |k| {
            let mut limit = of_duration(BRIEF);
            is("the system call pselect6", k.pselect6(0, no_sets(), Some(&mut limit), Mask::NONE), Ok(0))?;
            is("the timeout after the system call pselect6", to_duration(limit), Duration::ZERO)?;
            let mut limit = of_duration(BRIEF);
            is("the system call ppoll", k.ppoll(nothing(), Some(&mut limit), Mask::NONE), Ok(0))?;
            is("the timeout after the system call ppoll", to_duration(limit), Duration::ZERO)?;

            let limit = of_duration(BRIEF);
            is("the function pselect", raw::pselect_of_libc(0, std::hint::black_box(&limit)), Ok(0))?;
            is("the timeout after the function pselect", to_duration(limit), BRIEF)?;
            is("the function ppoll", raw::ppoll_of_libc(std::hint::black_box(&limit)), Ok(0))?;
            is("the timeout after the function ppoll", to_duration(limit), BRIEF)?;

            let (epoll, mut limit) = (epoll(k)?, of_duration(BRIEF));
            let mut events = [event(0, NONE)];
            let reply = k.epoll_pwait2(epoll, At::from(&mut events), 1, Some(&mut limit), Mask::NONE);
            is("events of epoll_pwait2", reply?, 0)?;
            is("the timeout after epoll_pwait2", to_duration(limit), BRIEF)
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "sel-sticky-timeouts",
        claim: "With the personality STICKY_TIMEOUTS, select and pselect6 leave their timeout as it is.",
        reference: "personality(2); poll_select_finish in fs/select.c",
        matters: "It is the switch for programs from systems where the timeout is not written to, such as BSD.",
        experiment: "personality(STICKY_TIMEOUTS), then select of an empty pipe with a timeout of 20 ms.",
        run: |k| {
            /// Not in libc: linux/personality.h.
            const STICKY_TIMEOUTS: libc::c_ulong = 0x400_0000;
            let [read_end, _write_end] = k.pipe2(libc::O_CLOEXEC)?;
            let before = raw::personality(STICKY_TIMEOUTS)?;
            for &call in CALLS {
                let (mut sets, mut left) = (Three::<1>::of(&[read_end], &[], &[]), BRIEF);
                is(
                    format!("{call} of an empty pipe"),
                    call.call(k, read_end + 1, sets.sets(), &mut left),
                    Ok(0),
                )?;
                is(format!("the timeout after {call} with STICKY_TIMEOUTS"), left, BRIEF)?;
            }
            raw::personality(libc::c_ulong::from(before.cast_unsigned()))?;
            for &call in CALLS {
                let (mut sets, mut left) = (Three::<1>::of(&[read_end], &[], &[]), BRIEF);
                is(
                    format!("{call} of an empty pipe"),
                    call.call(k, read_end + 1, sets.sets(), &mut left),
                    Ok(0),
                )?;
                is(format!("the timeout after {call} without STICKY_TIMEOUTS"), left, Duration::ZERO)?;
            }
            Ok(())
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "sel-usec-overflow-normalised",
        claim: "The system call select takes a tv_usec of 1000000 and more, as so many whole seconds. A negative \
                tv_sec or tv_usec is EINVAL.",
        reference: "kern_select, poll_select_set_timeout in fs/select.c",
        matters: "A timeout in microseconds alone, which works here, is EINVAL on BSD and macOS, and for pselect6 \
                  and ppoll here.",
        experiment: "The system call select of a pipe with a byte in it and timeouts of 1000001 microseconds, of \
                     60000000 microseconds, and negative ones.",
        run: |k| {
            let [read_end, _write_end] = pipe_with_byte(k)?;
            let select = |tv_sec, tv_usec| {
                let (mut sets, mut limit) =
                    (Three::<1>::of(&[read_end], &[], &[]), timeval { tv_sec, tv_usec });
                let started = Instant::now();
                let reply = k.select(read_end + 1, sets.sets(), Some(&mut limit));
                (reply, limit, started.elapsed())
            };
            select(0, 0).0?;
            for usec in [1_000_001, 60_000_000] {
                let (reply, left, took) = select(0, usec);
                is(format!("select with {{0, {usec}}}, of a readable pipe"), reply, Ok(1))?;
                let what = format!("the tv_usec that {{0, {usec}}} leaves is below 1000000");
                holds(what, (0..1_000_000).contains(&left.tv_usec), left.tv_usec)?;
                let (limit, seconds) =
                    (Duration::from_micros(usec.cast_unsigned()), left.tv_sec.cast_unsigned());
                let left = Duration::new(seconds, left.tv_usec as u32 * 1000);
                is_the_rest(format!("select with {{0, {usec}}}"), limit, left, took)?;
            }
            for (sec, usec) in [(0, -1), (-1, 0), (1, -1)] {
                is(format!("select with {{{sec}, {usec}}}"), select(sec, usec).0, no(Errno::EINVAL))?;
            }
            Ok(())
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "sel-nsec-out-of-range-einval",
        claim: "pselect6, ppoll and epoll_pwait2 refuse a tv_nsec of 1000000000 and more, and a negative tv_sec or \
                tv_nsec, with EINVAL.",
        reference: "pselect(2), poll(2), epoll_wait(2) ERRORS; poll_select_set_timeout in fs/select.c",
        since: Since(5, 11),
        matters: "A negative timeout is no way to wait for ever, as it is for poll and epoll_wait: here that is no \
                  timeout at all. A deadline that has passed must be cut to 0 first.",
        experiment: "Each call with timeouts of {0, 1000000000}, {0, -1} and {-1, 0}.",
        run: |k| {
            // A kernel that takes such a timeout does not wait for it: something is ready.
            let [read_end, _write_end] = pipe_with_byte(k)?;
            let epoll = epoll(k)?;
            add(k, epoll, read_end, IN)?;
            let cases = [(0, 1_000_000_000), (0, -1), (-1, 0)];
            for (tv_sec, tv_nsec) in cases {
                let (mut sets, mut one) = (Three::<1>::of(&[read_end], &[], &[]), entry(read_end, IN));
                let mut limit = timespec { tv_sec, tv_nsec };
                let reply = k.pselect6(read_end + 1, sets.sets(), Some(&mut limit), Mask::NONE);
                is(format!("pselect6 with {{{tv_sec}, {tv_nsec}}}"), reply, no(Errno::EINVAL))?;
                let mut limit = timespec { tv_sec, tv_nsec };
                let reply = k.ppoll(At::from(&mut one), Some(&mut limit), Mask::NONE);
                is(format!("ppoll with {{{tv_sec}, {tv_nsec}}}"), reply, no(Errno::EINVAL))?;
            }
            let wait = |mut limit: timespec| {
                let mut events = [event(0, NONE)];
                k.epoll_pwait2(epoll, At::from(&mut events), 1, Some(&mut limit), Mask::NONE)
            };
            wait(timespec { tv_sec: 0, tv_nsec: 0 })?;
            for (tv_sec, tv_nsec) in cases {
                let what = format!("epoll_pwait2 with {{{tv_sec}, {tv_nsec}}}");
                is(what, wait(timespec { tv_sec, tv_nsec }), no(Errno::EINVAL))?;
            }
            Ok(())
        },
        ..Fact::ALWAYS
    },
];

/// A time to wait out.
const BRIEF: Duration = Duration::from_millis(20);

/// No descriptors for poll.
fn nothing() -> At<'static, libc::pollfd> {
    At::Nowhere(Nowhere::Null, 0)
}
