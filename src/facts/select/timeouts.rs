//! The time limit: what the call leaves in it, and which values it takes.

use super::*;

pub(super) const FACTS: &[Fact] = &[
    Fact {
        id: "sel-timeout-rewritten-on-ready",
        claim: "When a descriptor is ready, the call overwrites its timeout with the time that it did not sleep: 5 s \
                come back as a little less than 5 s.",
        reference: "select(2) NOTES; poll_select_finish in fs/select.c",
        matters: "A loop that sets the timeout once, before it, waits less each time, then spins. Code that counts on \
                  the rest, to go on after EINTR, works on Linux alone.",
        experiment: "select of a pipe with a byte in it and a timeout of 5 s. What is gone from the timeout must be \
                     more than nothing and no more than the call took.",
        run: |k| {
            each_call(|call| {
                let [read_end, _write_end] = pipe_with_byte(k)?;
                let limit = Duration::from_secs(5);
                let (reply, left, took) = call.until_readable(k, read_end, limit);
                is("a readable pipe", reply, Ok(1))?;
                is_the_rest(limit, left, Duration::ZERO, took)
            })
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "sel-timeout-zeroed-on-expiry",
        claim: "When the call returns 0, its timeout is exactly 0.",
        reference: "select(2) NOTES; poll_select_finish in fs/select.c",
        matters: "The next call with the same variable does not wait at all: a loop that forgets to set it again uses \
                  a whole processor after its first idle moment.",
        experiment: "select of an empty pipe with a timeout of 20 ms; the timeout is looked at.",
        run: |k| {
            each_call(|call| {
                let [read_end, _write_end] = k.pipe2(libc::O_CLOEXEC)?;
                let (reply, left, took) = call.until_readable(k, read_end, BRIEF);
                is("an empty pipe", reply, Ok(0))?;
                holds(format!("it takes at least {}", BRIEF.show()), took >= BRIEF, took)?;
                is("the timeout after 0", left, Duration::ZERO)
            })
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "sel-timeout-rewritten-on-eintr",
        claim: "When a signal handler interrupts the call (EINTR), its timeout holds what was not slept.",
        reference: "select(2) NOTES; poll_select_finish in fs/select.c",
        matters: "Calling again with the same variable waits for the right time on Linux. Where the timeout stays as \
                  it was, signals that come often enough make the wait endless.",
        experiment: "A thread sleeps in select with a limit of 60 s; after 20 ms a signal with a handler is sent to \
                     it. What is gone from the timeout must be more than 20 ms, and no more than the call took.",
        run: |k| {
            k.sigaction(libc::SIGUSR1, Action::Count, 0)?;
            each_call(|call| {
                let [read_end, _write_end] = k.pipe2(libc::O_CLOEXEC)?;
                let waiter = Waiter::asleep(SELECT, move || call.until_readable(k, read_end, LONG))?;
                let slept = waiter.sleeps_on(BRIEF)?;
                raw::tgkill(waiter.thread, libc::SIGUSR1)?;
                let (reply, left, took) = waiter.join()?;
                is("interrupted by a handler", reply, no(Errno::EINTR))?;
                is_the_rest(LONG, left, slept, took)
            })
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "sel-pselect6-rewrites-glibc-hides",
        claim: "The system calls pselect6 and ppoll overwrite their timeout as select does. The functions pselect and ppoll of \
                the C library leave the caller's as it is. epoll_pwait2 (Linux 5.11) never writes to its own.",
        reference: "select(2) C library/kernel differences; ppoll(2); do_epoll_pwait in fs/eventpoll.c",
        matters: "Code that makes the system calls directly (a runtime without libc, rustix, Go) must set the timeout \
                  again before each call; code that uses the C library need not.",
        experiment: "Each call waits for 20 ms for nothing; the timeout is compared with what it was.",
        run: |k| {
            let kept = of_duration(BRIEF);
            let after = |limit: timespec| (to_duration(limit), to_duration(kept));
            step("pselect6, the system call and the function", || {
                let mut limit = of_duration(BRIEF);
                let reply = k.pselect6(0, no_sets(), Some(&mut limit), Mask::NONE);
                let of_libc = raw::pselect_of_libc(0, std::hint::black_box(&kept));
                is("what they give", (reply, of_libc), (Ok(0), Ok(0)))?;
                is("the timeouts after them", after(limit), (Duration::ZERO, BRIEF))
            });
            step("ppoll, the system call and the function", || {
                let mut limit = of_duration(BRIEF);
                let reply = k.ppoll(At::Nowhere(Nowhere::Null, 0), Some(&mut limit), Mask::NONE);
                let of_libc = raw::ppoll_of_libc(std::hint::black_box(&kept));
                is("what they give", (reply, of_libc), (Ok(0), Ok(0)))?;
                is("the timeouts after them", after(limit), (Duration::ZERO, BRIEF))
            });
            since(Since(5, 11), || {
                let (epoll, mut limit) = (epoll(k)?, of_duration(BRIEF));
                let mut events = [event(0, NONE)];
                let n = k.epoll_pwait2(epoll, At::from(&mut events), 1, Some(&mut limit), Mask::NONE)?;
                is("epoll_pwait2, and the timeout after it", (n, to_duration(limit)), (0, BRIEF))
            });
            Ok(())
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
            let before = libc::c_ulong::from(raw::personality(STICKY_TIMEOUTS)?.cast_unsigned());
            let set = raw::personality(STICKY_TIMEOUTS)?.cast_unsigned();
            needs(Why::Oracle, "a personality is kept", libc::c_ulong::from(set) == STICKY_TIMEOUTS, set)?;
            each_call(|call| {
                let [read_end, _write_end] = k.pipe2(libc::O_CLOEXEC)?;
                for (personality, expected) in [(STICKY_TIMEOUTS, BRIEF), (before, Duration::ZERO)] {
                    raw::personality(personality)?;
                    let (reply, left, _) = call.until_readable(k, read_end, BRIEF);
                    let name = if personality == before { "without" } else { "with" };
                    is(format!("{name} STICKY_TIMEOUTS, and the timeout"), (reply, left), (Ok(0), expected))?;
                }
                Ok(())
            })
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "sel-usec-overflow-normalised",
        claim: "The system call select takes a tv_usec of 1000000 and more, as so many whole seconds. A negative \
                tv_sec or tv_usec is EINVAL.",
        reference: "kern_select, poll_select_set_timeout in fs/select.c",
        matters: "A timeout in microseconds alone, which works here, is EINVAL on BSD and macOS, and for pselect6 and ppoll here.",
        experiment: "The system call select of a pipe with a byte in it and timeouts of 1000001 microseconds, of \
                     60000000 microseconds, and negative ones.",
        run: |k| {
            if !CALLS.contains(&Call::Select) {
                return skip(Why::Missing, "this architecture has no system call select");
            }
            let select = |tv_sec, tv_usec| -> Held<_> {
                let [read_end, _write_end] = pipe_with_byte(k)?;
                let (mut sets, mut limit) =
                    (Three::<1>::of(&[read_end], &[], &[]), timeval { tv_sec, tv_usec });
                let started = Instant::now();
                let reply = k.select(read_end + 1, sets.sets(), Some(&mut limit));
                Ok((reply, limit, started.elapsed()))
            };
            for usec in [1_000_001, 60_000_000] {
                step(format!("{{0, {usec}}}, of a readable pipe"), || {
                    let (reply, left, took) = select(0, usec)?;
                    is("select", reply, Ok(1))?;
                    let micros = Duration::from_micros(left.tv_usec.cast_unsigned());
                    let left = Duration::from_secs(left.tv_sec.cast_unsigned()) + micros;
                    is_the_rest(Duration::from_micros(usec.cast_unsigned()), left, Duration::ZERO, took)
                });
            }
            for (sec, usec) in [(0, -1), (-1, 0), (1, -1)] {
                noted(is(format!("select with {{{sec}, {usec}}}"), select(sec, usec)?.0, no(Errno::EINVAL)));
            }
            Ok(())
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "sel-nsec-out-of-range-einval",
        claim: "pselect6, ppoll and epoll_pwait2 (Linux 5.11) refuse a tv_nsec of 1000000000 and more, and a negative \
                tv_sec or tv_nsec, with EINVAL.",
        reference: "pselect(2), poll(2), epoll_wait(2) ERRORS; poll_select_set_timeout in fs/select.c",
        matters: "A negative timeout is no way to wait for ever, as it is for poll and epoll_wait: here that is no \
                  timeout at all. A deadline that has passed must be cut to 0 first.",
        experiment: "Each call with timeouts of {0, 1000000000}, {0, -1} and {-1, 0}.",
        run: |k| {
            // A kernel that takes such a timeout does not wait for it: something is ready.
            let [read_end, _write_end] = pipe_with_byte(k)?;
            let epoll = watching(k, read_end, IN)?;
            let pwait2 = |mut limit: timespec| {
                let mut events = [event(0, NONE)];
                k.epoll_pwait2(epoll, At::from(&mut events), 1, Some(&mut limit), Mask::NONE)
            };
            let has_pwait2 = pwait2(of_duration(Duration::ZERO));
            for (tv_sec, tv_nsec) in [(0, 1_000_000_000), (0, -1), (-1, 0)] {
                step(format!("with {{{tv_sec}, {tv_nsec}}}"), || {
                    let (mut sets, mut one) = (Three::<1>::of(&[read_end], &[], &[]), entry(read_end, IN));
                    let limit = || timespec { tv_sec, tv_nsec };
                    let reply = k.pselect6(read_end + 1, sets.sets(), Some(&mut limit()), Mask::NONE);
                    noted(is("pselect6", reply, no(Errno::EINVAL)));
                    let reply = k.ppoll(At::from(&mut one), Some(&mut limit()), Mask::NONE);
                    noted(is("ppoll", reply, no(Errno::EINVAL)));
                    since(Since(5, 11), || {
                        has_pwait2?;
                        is("epoll_pwait2", pwait2(limit()), no(Errno::EINVAL))
                    });
                    Ok(())
                });
            }
            Ok(())
        },
        ..Fact::ALWAYS
    },
];
