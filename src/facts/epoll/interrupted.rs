//! Signals during a wait, and waits shorter than a millisecond.

use super::*;
use libc::{SIGCHLD, SIGCONT, SIGSTOP, SIGUSR1, SIGUSR2, timespec};

pub(super) const FACTS: &[Fact] = &[
    Fact {
        id: "ep-stop-cont-eintr",
        claim: "epoll_wait and epoll_pwait fail with EINTR after SIGSTOP and SIGCONT, although no handler ran; poll, ppoll, \
                select and pselect6 wait on.",
        reference: "signal(7), Interruption of system calls and library functions by stop signals; ep_poll in fs/eventpoll.c \
                    gives EINTR where fs/select.c gives ERESTARTNOHAND",
        matters: "A program without a single handler gets EINTR when it is stopped in a shell, attached to by a debugger, \
                  or frozen. Every loop over epoll must expect it.",
        experiment: "A child waits, is stopped, continued, and then its pipe is written to; once for each call.",
        wrong: &[
            "keepalived: https://github.com/acassen/keepalived/issues/1883",
            "keepalived: https://github.com/acassen/keepalived/issues/1947",
            "futures-rs: https://github.com/rust-lang/futures-rs/issues/2",
            "CRIU: https://github.com/checkpoint-restore/criu/issues/611",
            "ljsyscall: https://github.com/justincormack/ljsyscall/issues/166",
            "PureSpice: https://github.com/gnif/PureSpice/issues/11",
        ],
        run: |k| {
            let calls: [(&str, In, bool, Call); 6] = [
                ("epoll_wait", EPOLL, true, by_epoll_wait),
                ("epoll_pwait", EPOLL, true, by_epoll_pwait),
                ("poll", POLL, false, by_poll),
                ("ppoll", POLL, false, by_ppoll),
                ("select", SELECT, false, by_select),
                ("pselect6", SELECT, false, by_pselect6),
            ];
            for (name, asleep_in, interrupted, call) in calls {
                let (r, w) = pipe(k)?;
                let ep = epoll(k)?;
                add(k, ep, r, IN)?;
                let child = Forked::start(|| {
                    let expected = if interrupted { no(Errno::EINTR) } else { Ok(vec![(r, IN)]) };
                    let found = call(k, ep, r);
                    is(format!("{name}, stopped and continued, then with something to read"), found, expected)
                })?;
                child.until_asleep(asleep_in)?;
                raw::kill(child.pid, SIGSTOP)?;
                let (_, status) = raw::waitpid(child.pid, libc::WUNTRACED)?;
                is("the child is stopped", libc::WIFSTOPPED(status), true)?;
                raw::kill(child.pid, SIGCONT)?;
                // What becomes of the call was decided when it was stopped: this wakes it only if it waits on.
                k.write(w, b"x")?;
                child.join()?;
            }
            Ok(())
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "ep-ignored-signal-no-eintr",
        claim: "A signal that is ignored, that does nothing by default (SIGCHLD), or that is blocked does not interrupt \
                epoll_wait.",
        reference: "signal(7); sig_ignored in kernel/signal.c",
        matters: "EINTR tells that a handler has run, or that the process was stopped; not that some signal came. To be woken \
                  by SIGCHLD takes a handler or a signalfd.",
        experiment: "A child waits; it gets a signal of each kind; then its pipe is written to.",
        run: |k| {
            let (r, w) = pipe(k)?;
            let ep = epoll(k)?;
            add(k, ep, r, IN)?;
            k.sigaction(SIGUSR1, raw::Action::Ignore, 0)?;
            k.sigprocmask(libc::SIG_BLOCK, raw::bit(SIGUSR2))?;
            let child = Forked::start(|| {
                is("epoll_wait, with signals that do nothing", wait(k, ep, bound_ms()), Ok(vec![(r, IN)]))?;
                is("SIGUSR2, which is blocked, is pending", k.sigpending()? & raw::bit(SIGUSR2) != 0, true)
            })?;
            child.until_asleep(EPOLL)?;
            for signal in [SIGUSR1, SIGCHLD, SIGUSR2] {
                k.kill(child.pid, signal)?;
                // Whom a signal wakes is awake when kill returns: so that it is asleep again, or has come to its end.
                let directory = format!("/proc/{}", child.pid);
                until("the child waits on or ends", || {
                    let stat = std::fs::read_to_string(format!("{directory}/stat")).unwrap_or_default();
                    Ok((asleep_in(&directory, EPOLL) || state_of(&stat) == Some('Z')).then_some(()))
                })?;
            }
            k.write(w, b"x")?;
            child.join()
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "ep-pwait2-nanoseconds",
        claim: "epoll_pwait2 counts in nanoseconds: 1 ns returns in less than 1 ms, 500 us last 500 us at least. Without a \
                timeout it waits for ever. A negative time, or 10^9 ns and more, is EINVAL.",
        reference: "epoll_wait(2); commit 58169a52ebc9",
        since: Since(5, 11),
        matters: "With epoll_wait a timer of 500 us is rounded: down, and the loop spins; up, and it is late.",
        experiment: "An empty instance is waited for with each of the times, the shortest again and again; a thread waits for \
                     a pipe without a timeout.",
        wrong: &[
            "mio: https://github.com/tokio-rs/mio/issues/1615",
            "Bun: https://github.com/oven-sh/bun/issues/34780",
            "zio: https://github.com/lalinsky/zio/issues/500",
            "Go: https://github.com/golang/go/issues/79872",
        ],
        run: |k| {
            let ep = epoll(k)?;
            let wait2 = move |timeout: Option<timespec>| -> Found {
                let mut event = epoll_event { events: 0, u64: 0 };
                let mut timeout = timeout;
                let n = k.epoll_pwait2(ep, At::from(&mut event), 1, timeout.as_mut(), Mask::NONE)?;
                Ok([(event.u64 as i32, Events(event.events))][..n].to_vec())
            };
            let after = |ns| timespec { tv_sec: 0, tv_nsec: ns };
            is("a wait of 0 ns", wait2(Some(after(0)))?, vec![])?;

            // Again and again, for one that no other program disturbs.
            until("a wait of 1 ns is over in less than 1 ms", || {
                let start = Instant::now();
                wait2(Some(after(1)))?;
                Ok((start.elapsed() < Duration::from_millis(1)).then_some(()))
            })?;

            let start = Instant::now();
            is("a wait of 500 us", wait2(Some(after(500_000))), Ok(vec![]))?;
            let waited = start.elapsed();
            holds("a wait of 500 us lasts 0.5 ms at least", waited >= Duration::from_micros(500), waited)?;

            for (what, time) in
                [("-1 s", seconds(-1)), ("-1 ns", after(-1)), ("10^9 ns", after(1_000_000_000))]
            {
                is(format!("a wait of {what}"), wait2(Some(time)), no(Errno::EINVAL))?;
            }

            let (r, w) = pipe(k)?;
            add(k, ep, r, IN)?;
            let waiter = Waiter::asleep(EPOLL, move || wait2(None))?;
            is(
                "what a wait without a timeout gave at once",
                waiter.join_within(Duration::from_millis(60)),
                None,
            )?;
            k.write(w, b"x")?;
            is("a wait without a timeout, with something to read", waiter.join()?, Ok(vec![(r, IN)]))
        },
        ..Fact::ALWAYS
    },
];

/// A call that a child waits with, until `r` is readable.
type Call = fn(K, i32, i32) -> Found;

fn by_epoll_wait(k: K, ep: i32, _: i32) -> Found {
    wait(k, ep, bound_ms())
}

fn by_epoll_pwait(k: K, ep: i32, _: i32) -> Found {
    let mut event = epoll_event { events: 0, u64: 0 };
    let n = k.epoll_pwait(ep, At::from(&mut event), 1, bound_ms(), Mask::of(0))?;
    Ok([(event.u64 as i32, Events(event.events))][..n].to_vec())
}

fn by_poll(k: K, _: i32, r: i32) -> Found {
    let mut one = entry(r, IN);
    let n = k.poll(At::from(&mut one), bound_ms())?;
    Ok([(r, revents(&one))][..n].to_vec())
}

fn by_ppoll(k: K, _: i32, r: i32) -> Found {
    let mut one = entry(r, IN);
    let n = k.ppoll(At::from(&mut one), Some(&mut seconds(5)), Mask::of(0))?;
    Ok([(r, revents(&one))][..n].to_vec())
}

fn by_pselect6(k: K, _: i32, r: i32) -> Found {
    let mut set = set_of::<16>(&[r]);
    let sets = raw::Sets { read: At::from(&mut set), write: no_set(), except: no_set() };
    let n = k.pselect6(r + 1, sets, Some(&mut seconds(5)), Mask::of(0))?;
    Ok([(r, IN)][..n].to_vec())
}

fn by_select(k: K, ep: i32, r: i32) -> Found {
    if cfg!(not(target_arch = "x86_64")) {
        // The function is made of this call there.
        return by_pselect6(k, ep, r);
    }
    let mut set = set_of::<16>(&[r]);
    let sets = raw::Sets { read: At::from(&mut set), write: no_set(), except: no_set() };
    let n = k.select(r + 1, sets, Some(&mut libc::timeval { tv_sec: 5, tv_usec: 0 }))?;
    Ok([(r, IN)][..n].to_vec())
}

fn seconds(n: i64) -> timespec {
    timespec { tv_sec: n, tv_nsec: 0 }
}
