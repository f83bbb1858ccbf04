//! Descriptors that are neither files nor sockets: eventfd, timerfd, signalfd, pidfd, terminals; one that is closed
//! while poll sleeps on it; and events with a second name.

use super::*;
use libc::{CLOCK_MONOTONIC, O_NONBLOCK, SIGKILL, SIGUSR1};

pub(super) const FACTS: &[Fact] = &[
    Fact {
        id: "poll-eventfd-mask",
        claim: "An eventfd has OUT at 0, IN and OUT above it, and exactly IN at 2^64-2, the highest value: no write \
                can make it 2^64-1.",
        reference: "eventfd(2); eventfd_poll and eventfd_write in fs/eventfd.c",
        matters: "A waker that ignores EAGAIN is right: the counter is not lost, and IN is there already.",
        experiment: "poll of a non-blocking eventfd at 0, at 1 and at 2^64-2; writes that would go beyond; a read.",
        run: |k| {
            let fd = k.eventfd(0, O_NONBLOCK | libc::EFD_CLOEXEC)?;
            let add = |value: u64| k.write(fd, &value.to_ne_bytes());
            is("at 0", mask(k, fd)?, OUT)?;
            is("write of 2^64-1", add(u64::MAX), no(Errno::EINVAL))?;
            is("write of 1", add(1), Ok(8))?;
            is("at 1", mask(k, fd)?, IN | OUT)?;
            is("write of 2^64-2 at 1", add(HIGHEST), no(Errno::EAGAIN))?;
            is("write of 2^64-4 at 1", add(HIGHEST - 2), Ok(8))?;
            is("at 2^64-3", mask(k, fd)?, IN | OUT)?;
            is("write of 1 at 2^64-3", add(1), Ok(8))?;
            is("at 2^64-2", mask(k, fd)?, IN)?;
            is("write of 1 at 2^64-2", add(1), no(Errno::EAGAIN))?;
            let mut value = [0; 8];
            is("read", k.read(fd, &mut value), Ok(8))?;
            is("the value", u64::from_ne_bytes(value), HIGHEST)?;
            is("after the read", mask(k, fd)?, OUT)
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "poll-timerfd-rearm-clears",
        claim: "A timerfd has nothing before it expires and IN afterwards. timerfd_settime takes IN away without a \
                read, whether it sets another time or none.",
        reference: "timerfd_create(2); timerfd_setup in fs/timerfd.c sets ticks to 0",
        matters: "A deadline that is moved may be moved after it passed: the read that follows an earlier IN then \
                  gives EAGAIN, or blocks.",
        experiment: "A timer of 100 s, poll; one of 1 ns, poll until there is IN; 100 s again, poll; 1 ns, poll until \
                     there is IN, no time, poll, read.",
        run: |k| {
            const LATER: i64 = 100_000_000_000;
            let fd = k.timerfd_create(CLOCK_MONOTONIC, libc::TFD_NONBLOCK | libc::TFD_CLOEXEC)?;
            is("a timer without a time", mask(k, fd)?, NONE)?;
            k.timerfd_settime(fd, LATER, 0)?;
            is("100 s before it expires", mask(k, fd)?, NONE)?;
            k.timerfd_settime(fd, 1, 0)?;
            is("after it expired", mask_with(k, fd, IN)?, IN)?;
            k.timerfd_settime(fd, LATER, 0)?;
            is("after another time was set", mask(k, fd)?, NONE)?;
            k.timerfd_settime(fd, 1, 0)?;
            is("after it expired again", mask_with(k, fd, IN)?, IN)?;
            k.timerfd_settime(fd, 0, 0)?;
            is("after it was disarmed", mask(k, fd)?, NONE)?;
            is("read after it was disarmed", k.read(fd, &mut [0; 8]), no(Errno::EAGAIN))
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "poll-signalfd-is-callers",
        claim: "poll of a signalfd answers for the process that calls it. With a signal pending in the parent, a \
                forked child sees nothing and its read gives EAGAIN, while the parent has IN.",
        reference: "signalfd(2) fork(2) semantics; signalfd_poll in fs/signalfd.c uses current",
        matters: "A descriptor that is passed on or inherited does not pass the signals on.",
        experiment: "SIGUSR1 is blocked and sent to the process itself; a child polls and reads the signalfd, sends \
                     SIGUSR1 to itself and polls again; the parent polls.",
        run: |k| {
            let usr1 = raw::bit(SIGUSR1);
            let send_to_oneself = || raw::kill(std::process::id().cast_signed(), SIGUSR1);
            raw::sigprocmask(libc::SIG_BLOCK, usr1)?;
            let fd = k.signalfd(-1, usr1, libc::SFD_NONBLOCK | libc::SFD_CLOEXEC)?;
            is("without a signal", mask(k, fd)?, NONE)?;
            send_to_oneself()?;
            is("with a signal pending", mask(k, fd)?, IN)?;
            let child = Forked::start(|| {
                is("in the child, with a signal pending in the parent", mask(k, fd)?, NONE)?;
                is("read in the child", k.read(fd, &mut [0; 128]), no(Errno::EAGAIN))?;
                send_to_oneself()?;
                is("in the child, with a signal of its own", mask(k, fd)?, IN)?;
                is("read in the child with a signal of its own", k.read(fd, &mut [0; 128]), Ok(128))?;
                is("in the child after the read", mask(k, fd)?, NONE)
            })?;
            noted(child.join());
            is("in the parent after the child has ended", mask(k, fd)?, IN)?;
            is("read in the parent", k.read(fd, &mut [0; 128]), Ok(128))?;
            is("in the parent after the read", mask(k, fd)?, NONE)
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "poll-pidfd-exit-then-hup",
        claim: "A pidfd has nothing while the process runs, IN when it has ended and not been waited for, and IN and, \
                since Linux 6.9, HUP once it has been waited for.",
        reference: "pidfd_open(2); pidfd_poll; commit 43f0df54c96f",
        since: Since(5, 3),
        matters: "Before Linux 6.9 there is no HUP. IN stays for good, so that a level-triggered loop has to take the \
                  descriptor out.",
        experiment: "pidfd_open of a sleeping child; SIGKILL; poll until there is IN; waitpid; poll.",
        run: |k| {
            let child = Forked::start(|| {
                raw::pause()?;
                Ok(())
            })?;
            let fd = k.pidfd_open(child.pid, 0)?;
            is("of a process that runs", mask(k, fd)?, NONE)?;
            raw::kill(child.pid, SIGKILL)?;
            has_soon(k, fd, IN)?;
            is("of a process that has ended", mask(k, fd)?, IN)?;
            k.waitpid(child.pid, 0)?;
            let now = mask(k, fd)?;
            noted(is("of a process that was waited for, but for HUP", now - HUP, IN));
            since(Since(6, 9), || is("of a process that was waited for", now, IN | HUP));
            Ok(())
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "poll-pty-hup",
        claim: "When the slave of a pseudoterminal is closed, the master has exactly OUT and HUP, and its read fails \
                with EIO. When the master is closed, the slave has IN, OUT, ERR and HUP, and its read gives 0.",
        reference: "pty(7); n_tty_poll in drivers/tty/n_tty.c, hung_up_tty_poll in drivers/tty/tty_io.c",
        matters: "A terminal emulator has to take EIO for the end. One that only reads on IN never notices that the \
                  shell has ended.",
        experiment: "Two pseudoterminals; the slave of one and the master of the other are closed; poll and read of \
                     the other ends.",
        run: |k| {
            let [master, slave] = pty(k)?;
            is("the master", mask(k, master)?, OUT)?;
            is("the slave", mask(k, slave)?, OUT)?;
            k.close(slave)?;
            is("the master after the slave's close", mask(k, master)?, OUT | HUP)?;
            is("read from the master", k.read(master, &mut [0]), no(Errno::EIO))?;
            let [master, slave] = pty(k)?;
            k.close(master)?;
            is("the slave after the master's close", mask(k, slave)?, IN | OUT | ERR | HUP)?;
            is("read from the slave", k.read(slave, &mut [0]), Ok(0))
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "poll-close-other-thread-nval",
        claim: "A descriptor that another thread closes while poll sleeps on it does not wake poll. The next wake-up, \
                by data or by timeout, reports NVAL, and not IN or 0.",
        reference: "do_poll in fs/select.c looks the number up again after each wake-up; close(2) NOTES",
        matters: "close is no way to stop a thread that sleeps in poll. And if the number has been given out again, \
                  poll answers for the new file.",
        experiment: "A thread sleeps in poll on the reading end of a pipe, which is closed; for 60 ms it sleeps on; a \
                     byte is written. The same with a poll of 100 ms, and no byte.",
        run: |k| {
            const ANSWER: &str = "ready entries of poll, and revents of the closed one";
            step("woken by data", || {
                let Some((waiter, writing)) = closed_during_poll(k, bound_ms())? else { return too_late() };
                waiter.sleeps_on(Duration::from_millis(60))?;
                k.write(writing, b"x")?;
                is(ANSWER, waiter.join()?, Ok((1, NVAL)))
            });
            step("woken by the end of its time", || {
                for timeout in [100, 1000, 4000] {
                    if let Some((waiter, _)) = closed_during_poll(k, timeout)? {
                        return is(ANSWER, waiter.join()?, Ok((1, NVAL)));
                    }
                }
                too_late()
            });
            Ok(())
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "poll-rdnorm-not-everywhere",
        claim: "RDNORM and WRNORM are told beside or instead of IN and OUT, as asked, by pipes, sockets and files. eventfd, \
                timerfd and signalfd only know IN and OUT: asked for RDNORM alone they never report anything.",
        reference: "poll(2) POLLRDNORM, which says that it is the same as POLLIN; eventfd_poll in fs/eventfd.c, \
                    timerfd_poll in fs/timerfd.c",
        matters: "A loop from another Unix that asks for RDNORM works over sockets, and sleeps for ever once it is \
                  given an eventfd. A kernel that adds RDNORM to every IN, or to none, breaks others.",
        experiment: "A pipe and a socket with a byte, a regular file, an eventfd at 1 and a timerfd that has expired, \
                     each asked for RDNORM and WRNORM, and for both names of both.",
        wrong: &[
            "gVisor: https://github.com/google/gvisor/issues/1659",
            "StarryOS: https://github.com/rcore-os/tgoskits/pull/1925",
        ],
        run: |k| {
            const RDNORM: u32 = libc::POLLRDNORM as u32;
            const WRNORM: u32 = libc::POLLWRNORM as u32;
            let look = |name: &str, fd, plain, norm| {
                let ask = |events| {
                    let mut one = entry(fd, events);
                    k.poll(At::from(&mut one), 0)?;
                    Ok(Events(u32::from(one.revents.cast_unsigned())))
                };
                let (norms, expected) = (Events(RDNORM | WRNORM), Events(norm));
                noted(is(format!("{name} asked for RDNORM and WRNORM"), ask(norms), Ok(expected)));
                let all = ask(IN | OUT | norms);
                noted(is(format!("{name} asked for IN and OUT too"), all, Ok(plain | expected)));
            };
            let [pipe, writer] = k.pipe2(libc::O_CLOEXEC)?;
            k.write(writer, b"1")?;
            look("a pipe", pipe, IN, RDNORM);
            let (socket, peer) = unix_pair(k)?;
            k.write(peer, b"1")?;
            look("a socket", socket, IN | OUT, RDNORM | WRNORM);
            let scratch = Scratch::new();
            let file = k.open(scratch.path(), libc::O_CREAT | libc::O_RDWR | libc::O_CLOEXEC)?;
            look("a regular file", file, IN | OUT, RDNORM | WRNORM);
            look("an eventfd", k.eventfd(1, libc::EFD_CLOEXEC)?, IN | OUT, 0);
            let timerfd = k.timerfd_create(CLOCK_MONOTONIC, libc::TFD_CLOEXEC)?;
            k.timerfd_settime(timerfd, 1, 0)?;
            has_soon(k, timerfd, IN)?;
            look("a timerfd", timerfd, IN, 0);
            Ok(())
        },
        ..Fact::ALWAYS
    },
];

/// The highest value of an eventfd.
const HIGHEST: u64 = u64::MAX - 1;

/// A pseudoterminal, both ends non-blocking, or skip the experiment.
fn pty(k: K) -> Held<[i32; 2]> {
    let missing = [Errno::ENOENT, Errno::ENXIO, Errno::EINVAL, Errno::ENOTTY];
    match raw::pty_pair() {
        Err(refusal) if missing.contains(&refusal.errno) => {
            skip(Why::Missing, format!("there are no pseudoterminals here: {refusal:?}"))
        }
        ends => {
            ends?.into_iter().try_for_each(|end| set_nonblocking(k, end))?;
            Ok(ends?)
        }
    }
}

/// A thread in poll, which brings back how many entries have something, and what the first has.
type InPoll = Waiter<Reply<(usize, Events)>>;

/// A thread that sleeps in poll on the reading end of a pipe, for that long, while this one closes it; and the
/// writing end. `None` if the time was over before.
fn closed_during_poll(k: K, timeout: i32) -> Held<Option<(InPoll, i32)>> {
    let [reading, writing] = k.pipe2(libc::O_CLOEXEC)?;
    // What this thread opens in /proc to see the other asleep gets low numbers: it must not be mistaken for
    // the pipe.
    let polled = k.fcntl(reading, libc::F_DUPFD_CLOEXEC, 40)?;
    k.close(reading)?;
    sleep_is_told()?;
    let waiter = Waiter::started(POLL, move || {
        let mut one = entry(polled, ALL);
        k.poll(At::from(&mut one), timeout).map(|n| (n, revents(&one)))
    })?;
    until("a thread is asleep in poll, or has been", || {
        Ok((waiter.is_asleep() || waiter.join_within(Duration::ZERO).is_some()).then_some(()))
    })?;
    k.close(polled)?;
    Ok(waiter.is_asleep().then_some((waiter, writing)))
}

fn too_late() -> Held {
    skip(Why::Moment, "no thread could be caught asleep in poll")
}
