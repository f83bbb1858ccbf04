//! Signals: what interrupts a wait, what does not, and the mask that pselect6, ppoll and epoll_pwait take.

use super::*;

pub(super) const FACTS: &[Fact] = &[
    Fact {
        id: "sel-eintr-despite-sa-restart",
        claim: "A handler makes select, pselect6, poll, ppoll, epoll_wait and epoll_pwait fail with EINTR, also if it \
                was installed with SA_RESTART.",
        reference: "signal(7) Interruption of system calls and library functions by signal handlers",
        matters: "SA_RESTART makes read and accept go on, and so hides signals there; a loop must still expect EINTR \
                  where it waits.",
        experiment: "A thread sleeps in each of the calls in turn; a signal with a handler and SA_RESTART is sent to it.",
        run: |k| {
            k.sigaction(libc::SIGUSR1, Action::Count, libc::SA_RESTART)?;
            for wait in Blocking::ALL.into_iter().filter(|wait| wait.exists()) {
                step(wait, || {
                    let [read_end, _write_end] = k.pipe2(libc::O_CLOEXEC)?;
                    let before = raw::handled(libc::SIGUSR1);
                    let waiter = Waiter::asleep(wait.asleep(), move || {
                        wait.until_readable(k, read_end, LONG, Mask::NONE).0
                    })?;
                    raw::tgkill(waiter.thread, libc::SIGUSR1)?;
                    let answer = (waiter.join()?, raw::handled(libc::SIGUSR1) - before);
                    is("interrupted by a handler, and runs of it", answer, (no(Errno::EINTR), 1))
                });
            }
            Ok(())
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "sel-stop-cont-restarts-transparently",
        claim: "SIGSTOP and SIGCONT, without a handler, interrupt none of select, pselect6, poll and ppoll: they go \
                on. For the system call poll the time for which the process was stopped counts. For select, pselect6 \
                and ppoll it does not: they wait for the rest that they had when they were stopped.",
        reference: "signal(7); do_restart_poll and poll_select_finish (ERESTARTNOHAND) in fs/select.c",
        matters: "A debugger or a shell's job control goes unnoticed, but a deadline in ppoll or select moves by the \
                  time that it took. So does one in the C library's poll where there is no system call poll (arm64): \
                  it is made of ppoll. epoll_wait fails with EINTR.",
        experiment: "A child sleeps in each call, is stopped and continued. From select, pselect6 and ppoll, which overwrite \
                     their timeout, a byte wakes it: the time that is gone from the timeout must not contain the time for which \
                     it was stopped. poll waits for its timeout while the child is stopped: it must take less than both together.",
        run: |k| {
            for wait in [Blocking::select, Blocking::pselect6, Blocking::ppoll] {
                if wait.exists() {
                    step(wait, || stopped_time_does_not_count(k, wait));
                }
            }
            stopped_time_counts_for_poll(k)
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "sel-timeout-read-only",
        claim: "A timeout in memory that cannot be written to is no error: pselect6 succeeds, and the rest of the \
                time is told nowhere. But then SIGSTOP and SIGCONT, without a handler, make it fail with EINTR.",
        reference: "poll_select_finish in fs/select.c, and its comment on applications that put the timeout there",
        matters: "A constant timeout works for years, and fails when somebody attaches a debugger or stops the program from a \
                  shell. An emulator that copies the rest back itself, and reports that it cannot, breaks it.",
        experiment: "The timeout lies in a page that is then made read-only. pselect6 of a readable pipe; then of an \
                     empty one in a child, which is stopped and continued.",
        run: |k| {
            let Some(limit) = raw::ReadOnly::new(of_duration(LONG)) else {
                return skip(Why::Limits, "there is no page for the timeout");
            };
            let limit = &limit;
            let ask = |fd: i32| {
                let mut sets = Three::<1>::of(&[fd], &[], &[]);
                k.pselect6_read_only(fd + 1, sets.sets(), limit, Mask::NONE)
            };
            is("a readable pipe", ask(pipe_with_byte(k)?[0]), Ok(1))?;
            let [empty, _write_end] = k.pipe2(libc::O_CLOEXEC)?;
            let child = Forked::start(|| {
                is("in a process that was stopped and continued", ask(empty), no(Errno::EINTR))
            })?;
            child.until_asleep(SELECT)?;
            if let Some(stopped_at) = stop(&child)? {
                go_on(&child, stopped_at, Duration::ZERO)?;
            }
            child.join()
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "sel-ready-fd-beats-pending-signal",
        claim: "When a descriptor is ready and a signal is pending that only the mask of the call lets through, pselect6, ppoll \
                and epoll_pwait return the number of ready descriptors; the handler does not run, and the signal stays pending.",
        reference: "pselect(2); restore_saved_sigmask_unless in kernel/signal.c; commit 97abc889ee29",
        gaps: &[Gap {
            from: Since(5, 0),
            until: Some(Since(5, 2)),
            repaired: &[],
            commits: "commit 854a6ed56839 (5.0) ran the handler although the call succeeded, 97abc889ee29 (5.2) ended it",
        }],
        matters: "A loop that handles signals through the mask learns of one only when it is idle: under load it must \
                  look for signals by other means.",
        experiment: "SIGUSR1 is blocked and raised, a pipe has a byte in it; each call with an empty mask; then the \
                     number of handler runs, and sigpending.",
        wrong: &["Linux 5.0 and 5.1: the handler ran although the call succeeded (commit 854a6ed56839)"],
        run: |k| {
            let read_end = pipe_with_byte(k)?[0];
            for wait in WITH_MASK {
                step(wait, || is(ANSWER, with_pending(k, wait, read_end, bound())?, (Ok(1), 0, USR1)));
            }
            Ok(())
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "sel-pending-signal-is-atomic",
        claim: "When nothing is ready and a signal is pending that the mask of the call lets through, pselect6, ppoll \
                and epoll_pwait do not wait: they fail with EINTR, and the handler has run exactly once.",
        reference: "pselect(2), epoll_wait(2); set_user_sigmask in kernel/signal.c",
        matters: "It is what these calls are for: a signal that comes between the look at a flag and the wait is not \
                  slept through.",
        experiment: "SIGUSR1 is blocked and raised, a pipe is empty; each call with an empty mask and a timeout of 5 \
                     s, at whose end it would give 0.",
        run: |k| {
            let [read_end, _write_end] = k.pipe2(libc::O_CLOEXEC)?;
            for wait in WITH_MASK {
                let expected = (no(Errno::EINTR), 1, 0);
                step(wait, || is(ANSWER, with_pending(k, wait, read_end, bound())?, expected));
            }
            Ok(())
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "sel-zero-timeout-pending-asymmetry",
        claim: "The same with a timeout of 0: pselect6 and ppoll fail with EINTR, and the handler runs; epoll_pwait \
                returns 0, and leaves the signal pending.",
        reference: "do_select, do_poll in fs/select.c, which look for signals before they look at the time; ep_poll \
                    in fs/eventpoll.c, which returns before it does",
        matters: "A loop that calls epoll_pwait only with a timeout of 0, as a busy server does, never runs its handlers.",
        experiment: "SIGUSR1 is blocked and raised, a pipe is empty; each call with an empty mask and a timeout of 0.",
        run: |k| {
            let [read_end, _write_end] = k.pipe2(libc::O_CLOEXEC)?;
            for wait in WITH_MASK {
                let looks = wait != Blocking::epoll_pwait;
                let expected = if looks { (no(Errno::EINTR), 1, 0) } else { (Ok(0), 0, USR1) };
                step(wait, || is(ANSWER, with_pending(k, wait, read_end, Duration::ZERO)?, expected));
            }
            Ok(())
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "sel-sigsetsize-checked",
        claim: "A mask whose size is said to be other than 8 bytes is EINVAL for pselect6, ppoll and epoll_pwait. \
                Without a mask the size is ignored.",
        reference: "pselect(2) C library/kernel differences; set_user_sigmask in kernel/signal.c",
        matters: "Code that makes the system call directly must pass the kernel's size, not that of the C library's \
                  sigset_t, which is 128.",
        experiment: "Each call with a mask and the sizes 4 and 0, and without a mask and the sizes 4, 0 and 128.",
        run: |k| {
            for (signals, size, expected) in [
                (Some(0), 8, Ok(1)),
                (Some(0), 4, no(Errno::EINVAL)),
                (Some(0), 0, no(Errno::EINVAL)),
                (None, 4, Ok(1)),
                (None, 0, Ok(1)),
                (None, 128, Ok(1)),
            ] {
                let read_end = pipe_with_byte(k)?[0];
                for wait in WITH_MASK {
                    let reply = wait.until_readable(k, read_end, Duration::ZERO, Mask { signals, size }).0;
                    let mask = if signals.is_some() { "a" } else { "no" };
                    noted(is(format!("{wait} with {mask} mask, a size of {size} bytes"), reply, expected));
                }
            }
            Ok(())
        },
        ..Fact::ALWAYS
    },
];

/// A call that waits.
#[expect(non_camel_case_types, reason = "the names of the calls, as everybody writes them")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Blocking {
    select,
    pselect6,
    poll,
    ppoll,
    epoll_wait,
    epoll_pwait,
}

/// Those that take a mask.
const WITH_MASK: [Blocking; 3] = [Blocking::pselect6, Blocking::ppoll, Blocking::epoll_pwait];

impl fmt::Display for Blocking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

impl Blocking {
    const ALL: [Blocking; 6] =
        [Self::select, Self::pselect6, Self::poll, Self::ppoll, Self::epoll_wait, Self::epoll_pwait];

    /// Whether this architecture has it.
    fn exists(self) -> bool {
        self != Blocking::select || CALLS.contains(&Call::Select)
    }

    /// Where a thread is asleep that has called it.
    fn asleep(self) -> In {
        match self {
            Blocking::select | Blocking::pselect6 => SELECT,
            Blocking::poll | Blocking::ppoll => POLL,
            Blocking::epoll_wait | Blocking::epoll_pwait => EPOLL,
        }
    }

    /// Wait until `fd` is readable: what the call gave, and what it left of its limit. The mask is for those that take one.
    fn until_readable(self, k: K, fd: i32, limit: Duration, mask: Mask) -> (Reply<usize>, Duration) {
        let mut time = of_duration(limit);
        let ms = i32::try_from(limit.as_millis()).unwrap_or(i32::MAX);
        let mut sets = Three::<1>::of(&[fd], &[], &[]);
        let mut one = entry(fd, IN);
        let mut events = [event(0, NONE)];
        let reply = match self {
            Blocking::select => {
                let (reply, left, _) = Call::Select.until_readable(k, fd, limit);
                return (reply, left);
            }
            Blocking::pselect6 => k.pselect6(fd + 1, sets.sets(), Some(&mut time), mask),
            Blocking::poll => k.poll(At::from(&mut one), ms),
            Blocking::ppoll => k.ppoll(At::from(&mut one), Some(&mut time), mask),
            Blocking::epoll_wait => {
                watching(k, fd, IN).and_then(|epoll| k.epoll_wait(epoll, At::from(&mut events), 1, ms))
            }
            Blocking::epoll_pwait => {
                watching(k, fd, IN).and_then(|epoll| k.epoll_pwait(epoll, At::from(&mut events), 1, ms, mask))
            }
        };
        (reply, to_duration(time))
    }
}

/// For `wait`, which overwrites its timeout.
fn stopped_time_does_not_count(k: K, wait: Blocking) -> Held {
    let [read_end, write_end] = raw::pipe2(libc::O_CLOEXEC)?;
    let child = Forked::start(|| {
        let started = Instant::now();
        let (reply, left) = wait.until_readable(k, read_end, LONG, Mask::NONE);
        let took = started.elapsed();
        is("in a process that was stopped and continued", reply, Ok(1))?;
        let (gone, stopped) = (LONG.saturating_sub(left), receive(read_end)?);
        let most = took.saturating_sub(stopped) + Duration::from_micros(1);
        let observed =
            format!("{} gone, and it took {}, {} of them stopped", gone.show(), took.show(), stopped.show());
        holds(
            "no more is gone from the timeout than the time that it was not stopped",
            gone <= most,
            observed,
        )
    })?;
    child.until_asleep(wait.asleep())?;
    // If it has ended instead it reports why.
    if let Some(stopped_at) = stop(&child)? {
        send(write_end, go_on(&child, stopped_at, BRIEF)?)?;
    }
    child.join()
}

/// poll has ended soon after its deadline if its process was stopped at that time. That is a bound on time, which a busy
/// machine can break; where stopped time does not count no attempt can keep to it. So one that does is enough.
fn stopped_time_counts_for_poll(k: K) -> Held {
    // The others make poll of ppoll.
    let counts = raw::HAS_SELECT;
    let (mut last, mut made) = (String::new(), false);
    for limit in [150, 300, 600, 1200].map(Duration::from_millis) {
        let [read_end, _write_end] = raw::pipe2(libc::O_CLOEXEC)?;
        let [result, report] = raw::pipe2(libc::O_CLOEXEC)?;
        let forked = Instant::now();
        let child = Forked::start(|| {
            let started = Instant::now();
            let (reply, _) = Blocking::poll.until_readable(k, read_end, limit, Mask::NONE);
            let took = started.elapsed();
            is("poll in a process that was stopped and continued", reply, Ok(0))?;
            holds("poll does not end before its timeout", took >= limit, took)?;
            Ok(send(report, took)?)
        })?;
        sleep_is_told()?;
        let directory = format!("/proc/{}", child.pid);
        let mut asleep = false;
        while !asleep && forked.elapsed() < limit {
            asleep = asleep_in(&directory, POLL);
        }
        let stopped_at = if asleep { stop(&child)? } else { None };
        // Only if it was stopped before its deadline was it stopped in poll.
        let in_time = stopped_at.is_some_and(|at| at - forked < limit);
        let stopped = stopped_at.map_or(Ok(Duration::ZERO), |at| go_on(&child, at, limit))?;
        child.join()?;
        let took = receive(result)?;
        if in_time && (took < limit + stopped || !counts) {
            return Ok(());
        }
        made |= in_time;
        last = format!("{} with a timeout of {}, stopped for {}", took.show(), limit.show(), stopped.show());
    }
    if !made {
        return skip(Why::Moment, "the process was never stopped before poll's time was over");
    }
    differs("poll, stopped for as long as its timeout, takes less than both together", "so", last)
}

/// Stop a child: when it was stopped at the latest, or `None` if it has ended instead.
fn stop(child: &Forked) -> Held<Option<Instant>> {
    raw::kill(child.pid, libc::SIGSTOP)?;
    let (_, status) = raw::waitpid(child.pid, libc::WUNTRACED)?;
    Ok(libc::WIFSTOPPED(status).then(Instant::now))
}

/// Continue a stopped child, once it was stopped for `time`: for how long it was at least.
fn go_on(child: &Forked, stopped_at: Instant, time: Duration) -> Reply<Duration> {
    std::thread::sleep(time.saturating_sub(stopped_at.elapsed()));
    let stopped = stopped_at.elapsed();
    raw::kill(child.pid, libc::SIGCONT)?;
    Ok(stopped)
}

/// A duration through a pipe.
fn send(fd: i32, time: Duration) -> Reply<()> {
    raw::write(fd, &(time.as_nanos() as u64).to_ne_bytes()).map(drop)
}

/// The other side of [`send`].
fn receive(fd: i32) -> Reply<Duration> {
    let mut bytes = [0; 8];
    raw::read(fd, &mut bytes)?;
    Ok(Duration::from_nanos(u64::from_ne_bytes(bytes)))
}

const USR1: u64 = raw::bit(libc::SIGUSR1);
/// The mask that lets all signals through.
const EMPTY: Mask = Mask::of(0);

/// What [`with_pending`] tells.
const ANSWER: &str = "the call, runs of the handler, pending signals as a set";

/// `wait` with SIGUSR1 pending, which only the mask of the call lets through: what it gave, how often the handler ran
/// meanwhile, and which signals are pending afterwards.
fn with_pending(k: K, wait: Blocking, fd: i32, limit: Duration) -> Held<(Reply<usize>, u32, u64)> {
    k.sigaction(libc::SIGUSR1, Action::Count, 0)?;
    k.sigprocmask(libc::SIG_BLOCK, USR1)?;
    raw::tgkill(raw::gettid(), libc::SIGUSR1)?;
    let pending = k.sigpending()?;
    needs(Why::Setup, "SIGUSR1 is pending", pending == USR1, pending)?;
    let before = raw::handled(libc::SIGUSR1);
    let (reply, _) = wait.until_readable(k, fd, limit, EMPTY);
    Ok((reply, raw::handled(libc::SIGUSR1) - before, k.sigpending()?))
}
