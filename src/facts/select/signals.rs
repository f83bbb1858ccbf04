//! Signals: what interrupts a wait, what does not, and the mask that pselect6, ppoll and epoll_pwait take.

use super::*;

pub(super) const FACTS: &[Fact] = &[
    Fact {
        id: "sel-eintr-despite-sa-restart",
        claim: "A handler makes select, pselect6, poll, ppoll, epoll_wait and epoll_pwait fail with EINTR, also if it \
                was installed with SA_RESTART.",
        reference: "signal(7) Interruption of system calls and library functions by signal handlers",
        matters: "SA_RESTART makes read and accept go on, and so hides signals there; a loop must still expect \
                  EINTR where it waits.",
        experiment: "A thread sleeps in each of the calls in turn; a signal with a handler and SA_RESTART is sent to \
                     it.",
        run: |k| {
            let [read_end, _write_end] = k.pipe2(libc::O_CLOEXEC)?;
            k.sigaction(libc::SIGUSR1, Action::Count, libc::SA_RESTART)?;
            let mut runs = 0;
            for wait in [
                Blocking::Select,
                Blocking::Pselect6,
                Blocking::Poll,
                Blocking::Ppoll,
                Blocking::EpollWait,
                Blocking::EpollPwait,
            ] {
                if !wait.exists() {
                    continue;
                }
                let waiter = Waiter::asleep(wait.asleep(), move || {
                    wait.until_readable(k, read_end, LONG, Mask::NONE).0
                })?;
                raw::tgkill(waiter.thread, libc::SIGUSR1)?;
                is(
                    format!("{wait} that a handler with SA_RESTART interrupted"),
                    waiter.join()?,
                    no(Errno::EINTR),
                )?;
                runs += 1;
                is(format!("runs of the handler after {wait}"), raw::handled(libc::SIGUSR1), runs)?;
            }
            Ok(())
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "sel-stop-cont-restarts-transparently",
        claim: "SIGSTOP and SIGCONT, without a handler, interrupt none of select, pselect6, poll and ppoll: they go on. \
                For the system call poll the time for which the process was stopped counts. For select, pselect6 and \
                ppoll it does not: they wait for the rest that they had when they were stopped.",
        reference: "signal(7); do_restart_poll and poll_select_finish (ERESTARTNOHAND) in fs/select.c",
        matters: "A debugger or a shell's job control goes unnoticed, but a deadline in ppoll or select moves by the \
                  time that it took. So does one in the C library's poll where there is no system call poll (arm64): \
                  it is made of ppoll. epoll_wait fails with EINTR.",
        experiment: "A child sleeps in each call, is stopped and continued. From select, pselect6 and ppoll, which \
                     overwrite their timeout, a byte wakes it: the time that is gone from the timeout must not \
                     contain the time for which it was stopped. poll waits for its timeout while the child is stopped: \
                     it must take less than both together.",
        run: |k| {
            for wait in [Blocking::Select, Blocking::Pselect6, Blocking::Ppoll] {
                if wait.exists() {
                    stopped_time_does_not_count(k, wait)?;
                }
            }
            stopped_time_counts_for_poll(k)
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "sel-ready-fd-beats-pending-signal",
        claim: "When a descriptor is ready and a signal is pending that only the mask of the call lets through, \
                pselect6, ppoll and epoll_pwait return the number of ready descriptors; the handler does not run, and \
                the signal stays pending.",
        reference: "pselect(2); restore_saved_sigmask_unless in kernel/signal.c; commit 97abc889ee29",
        since: Since(5, 2),
        matters: "A loop that handles signals through the mask learns of one only when it is idle: under load it must \
                  look for signals by other means.",
        experiment: "SIGUSR1 is blocked and raised, a pipe has a byte in it; each call with an empty mask; then the \
                     number of handler runs, and sigpending.",
        wrong: &["Linux 5.0 and 5.1: the handler ran although the call succeeded (commit 854a6ed56839)"],
        run: |k| {
            let [read_end, _write_end] = pipe_with_byte(k)?;
            pending_signal(k)?;
            for wait in WITH_MASK {
                let (reply, _) = wait.until_readable(k, read_end, LONG, EMPTY);
                is(format!("{wait} of a readable pipe, with a signal pending"), reply, Ok(1))?;
                is(format!("runs of the handler after {wait}"), raw::handled(libc::SIGUSR1), 0)?;
                is(format!("pending signals after {wait}, as a set"), k.sigpending()?, USR1)?;
            }
            Ok(())
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "sel-pending-signal-is-atomic",
        claim: "When nothing is ready and a signal is pending that the mask of the call lets through, pselect6, ppoll \
                and epoll_pwait fail with EINTR at once, and the handler has run exactly once.",
        reference: "pselect(2), epoll_wait(2); set_user_sigmask in kernel/signal.c",
        matters: "It is what these calls are for: a signal that comes between the look at a flag and the wait is not \
                  slept through.",
        experiment: "SIGUSR1 is blocked and raised, a pipe is empty; each call with an empty mask and a timeout of \
                     60 s.",
        run: |k| {
            let [read_end, _write_end] = k.pipe2(libc::O_CLOEXEC)?;
            for (wait, runs) in WITH_MASK.into_iter().zip(1..) {
                pending_signal(k)?;
                let started = Instant::now();
                let (reply, _) = wait.until_readable(k, read_end, LONG, EMPTY);
                let took = started.elapsed();
                is(format!("{wait} of an empty pipe, with a signal pending"), reply, no(Errno::EINTR))?;
                holds(format!("{wait} returns at once"), took < bound(), took)?;
                is(format!("runs of the handler after {wait}"), raw::handled(libc::SIGUSR1), runs)?;
                is(format!("pending signals after {wait}, as a set"), k.sigpending()?, 0)?;
            }
            Ok(())
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "sel-zero-timeout-pending-asymmetry",
        claim: "The same with a timeout of 0: pselect6 and ppoll fail with EINTR, and the handler runs; epoll_pwait \
                returns 0, and leaves the signal pending.",
        reference: "do_select, do_poll in fs/select.c, which look for signals before they look at the time; ep_poll in \
                    fs/eventpoll.c, which returns before it does",
        matters: "A loop that only ever polls with epoll_pwait and 0, as a busy server does, never runs its handlers.",
        experiment: "SIGUSR1 is blocked and raised, a pipe is empty; each call with an empty mask and a timeout of 0.",
        run: |k| {
            let [read_end, _write_end] = k.pipe2(libc::O_CLOEXEC)?;
            for (wait, runs) in [Blocking::Pselect6, Blocking::Ppoll].into_iter().zip(1..) {
                pending_signal(k)?;
                let (reply, _) = wait.until_readable(k, read_end, Duration::ZERO, EMPTY);
                is(format!("{wait} with a timeout of 0 and a signal pending"), reply, no(Errno::EINTR))?;
                is(format!("runs of the handler after {wait}"), raw::handled(libc::SIGUSR1), runs)?;
                is(format!("pending signals after {wait}, as a set"), k.sigpending()?, 0)?;
            }
            pending_signal(k)?;
            let (reply, _) = Blocking::EpollPwait.until_readable(k, read_end, Duration::ZERO, EMPTY);
            is("epoll_pwait with a timeout of 0 and a signal pending", reply, Ok(0))?;
            is("runs of the handler after epoll_pwait", raw::handled(libc::SIGUSR1), 2)?;
            is("pending signals after epoll_pwait, as a set", k.sigpending()?, USR1)
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "sel-sigsetsize-checked",
        claim: "A mask whose size is said to be other than 8 bytes is EINVAL for pselect6, ppoll and epoll_pwait. \
                Without a mask the size is ignored.",
        reference: "pselect(2) C library/kernel differences; set_user_sigmask in kernel/signal.c",
        matters: "Who makes the system call directly must pass the kernel's size, not that of the C library's \
                  sigset_t, which is 128.",
        experiment: "Each call with a mask and the sizes 4 and 0, and without a mask and the sizes 4, 0 and 128.",
        run: |k| {
            let [read_end, _write_end] = pipe_with_byte(k)?;
            for wait in WITH_MASK {
                let ask = |mask| wait.until_readable(k, read_end, Duration::ZERO, mask).0;
                is(format!("{wait} with a mask of 8 bytes"), ask(EMPTY), Ok(1))?;
                for size in [4, 0] {
                    let reply = ask(Mask { signals: Some(0), size });
                    is(format!("{wait} with a mask of {size} bytes"), reply, no(Errno::EINVAL))?;
                }
                for size in [4, 0, 128] {
                    let reply = ask(Mask { signals: None, size });
                    is(format!("{wait} with a size of {size} bytes and no mask"), reply, Ok(1))?;
                }
            }
            Ok(())
        },
        ..Fact::ALWAYS
    },
];

/// A call that waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Blocking {
    Select,
    Pselect6,
    Poll,
    Ppoll,
    EpollWait,
    EpollPwait,
}

/// Those that take a mask.
const WITH_MASK: [Blocking; 3] = [Blocking::Pselect6, Blocking::Ppoll, Blocking::EpollPwait];

impl fmt::Display for Blocking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Blocking::Select => "select",
            Blocking::Pselect6 => "pselect6",
            Blocking::Poll => "poll",
            Blocking::Ppoll => "ppoll",
            Blocking::EpollWait => "epoll_wait",
            Blocking::EpollPwait => "epoll_pwait",
        })
    }
}

impl Blocking {
    /// Whether this architecture has it.
    fn exists(self) -> bool {
        self != Blocking::Select || CALLS.contains(&Call::Select)
    }

    /// Where a thread is asleep that has called it.
    fn asleep(self) -> In {
        match self {
            Blocking::Select | Blocking::Pselect6 => SELECT,
            Blocking::Poll | Blocking::Ppoll => POLL,
            Blocking::EpollWait | Blocking::EpollPwait => EPOLL,
        }
    }

    /// Blocking until `fd` is readable: what the call gave, and what it left of its limit. The mask is for those that take
    /// one.
    fn until_readable(self, k: K, fd: i32, limit: Duration, mask: Mask) -> (Reply<usize>, Duration) {
        let (mut left, mut time) = (limit, of_duration(limit));
        let ms = i32::try_from(limit.as_millis()).unwrap_or(i32::MAX);
        let mut sets = Three::<1>::of(&[fd], &[], &[]);
        let mut one = entry(fd, IN);
        let reply = match self {
            Blocking::Select => Call::Select.call(k, fd + 1, sets.sets(), &mut left),
            Blocking::Pselect6 => k.pselect6(fd + 1, sets.sets(), Some(&mut time), mask),
            Blocking::Poll => k.poll(At::from(&mut one), ms),
            Blocking::Ppoll => k.ppoll(At::from(&mut one), Some(&mut time), mask),
            Blocking::EpollWait | Blocking::EpollPwait => self.epoll(k, fd, ms, mask),
        };
        let left = if self == Blocking::Select { left } else { to_duration(time) };
        (reply, left)
    }

    fn epoll(self, k: K, fd: i32, ms: i32, mask: Mask) -> Reply<usize> {
        let epoll = epoll(k)?;
        add(k, epoll, fd, IN)?;
        let mut events = [event(0, NONE)];
        match self {
            Blocking::EpollPwait => k.epoll_pwait(epoll, At::from(&mut events), 1, ms, mask),
            _ => k.epoll_wait(epoll, At::from(&mut events), 1, ms),
        }
    }
}

/// For `wait`, which overwrites its timeout.
fn stopped_time_does_not_count(k: K, wait: Blocking) -> Held {
    let [read_end, write_end] = raw::pipe2(libc::O_CLOEXEC)?;
    let child = Forked::start(|| {
        let started = Instant::now();
        let (reply, left) = wait.until_readable(k, read_end, LONG, Mask::NONE);
        let took = started.elapsed();
        is(format!("{wait} in a process that was stopped and continued"), reply, Ok(1))?;
        let (gone, stopped) = (LONG.saturating_sub(left), receive(read_end)?);
        let most = took.saturating_sub(stopped) + Duration::from_micros(1);
        let what = format!(
            "{wait}, which took {} with {} of them stopped, takes at most {} from its timeout",
            took.show(),
            stopped.show(),
            most.show()
        );
        holds(what, gone <= most, gone)
    })?;
    child.until_asleep(wait.asleep())?;
    let Some(stopped_at) = stop(k, &child)? else {
        // It reports why.
        child.join()?;
        return skip(Why::Setup, "the child that should be stopped had ended");
    };
    let stopped = go_on(&child, stopped_at, Duration::from_millis(20))?;
    send(write_end, stopped)?;
    child.join()
}

/// poll has ended soon after its deadline if its process was stopped at that time. That is a bound on time, which a busy
/// machine can break; where stopped time does not count no attempt can keep to it. So one that does is enough.
fn stopped_time_counts_for_poll(k: K) -> Held {
    // The others make poll of ppoll.
    let counts = cfg!(target_arch = "x86_64");
    let mut limit = Duration::from_millis(150);
    let (mut last, mut made) = (Duration::ZERO, false);
    for _ in 0..4 {
        let [read_end, _write_end] = raw::pipe2(libc::O_CLOEXEC)?;
        let [result, report] = raw::pipe2(libc::O_CLOEXEC)?;
        let forked = Instant::now();
        let child = Forked::start(|| {
            let started = Instant::now();
            let (reply, _) = Blocking::Poll.until_readable(k, read_end, limit, Mask::NONE);
            let took = started.elapsed();
            is("poll in a process that was stopped and continued", reply, Ok(0))?;
            holds(format!("poll takes at least {}", limit.show()), took >= limit, took)?;
            Ok(send(report, took)?)
        })?;
        let directory = format!("/proc/{}", child.pid);
        let mut asleep = false;
        while !asleep && forked.elapsed() < limit {
            asleep = asleep_in(&directory, POLL);
        }
        let stopped_at = if asleep { stop(k, &child)? } else { None };
        // Only if it was stopped before its deadline was it stopped in poll.
        let in_time = stopped_at.is_some_and(|at| at - forked < limit);
        let stopped = stopped_at.map_or(Ok(Duration::ZERO), |at| go_on(&child, at, limit))?;
        child.join()?;
        last = receive(result)?;
        if in_time && (last < limit + stopped || !counts) {
            return Ok(());
        }
        made |= in_time;
        limit *= 2;
    }
    let limit = limit / 2;
    if !made {
        return skip(Why::Moment, "the process was never stopped before poll's time was over");
    }
    let what = format!("poll with {}, stopped for as long, ends before {}", limit.show(), (limit * 2).show());
    differs(what, "so", last.show())
}

/// Stop a child: when it was stopped at the latest, or `None` if it has ended instead.
fn stop(k: K, child: &Forked) -> Held<Option<Instant>> {
    raw::kill(child.pid, libc::SIGSTOP)?;
    let (_, status) = k.waitpid(child.pid, libc::WUNTRACED)?;
    Ok(libc::WIFSTOPPED(status).then(Instant::now))
}

/// Continue a stopped child, once it was stopped for `time`: for how long it was at least.
fn go_on(child: &Forked, stopped_at: Instant, time: Duration) -> Reply<Duration> {
    while stopped_at.elapsed() < time {
        std::thread::sleep(time.saturating_sub(stopped_at.elapsed()));
    }
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

/// SIGUSR1 has a handler, is blocked, and is pending.
fn pending_signal(k: K) -> Held {
    k.sigaction(libc::SIGUSR1, Action::Count, 0)?;
    k.sigprocmask(libc::SIG_BLOCK, USR1)?;
    raw::tgkill(raw::gettid(), libc::SIGUSR1)?;
    is("pending signals, as a set", k.sigpending()?, USR1)
}
