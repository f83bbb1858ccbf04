//! Which calls go on after a handler, and which give EINTR.

use super::super::check::{Held, is};
use super::super::support::*;
use super::super::{Area, Fact, Since};
use crate::sys::Errno;
use crate::sys::raw::{self, Action, At, Reply, Sets, no};
use libc::{MSG_NOSIGNAL, O_CLOEXEC, O_RDONLY, O_WRONLY, SA_RESTART, SIGUSR1};
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};

pub(super) const FACTS: &[Fact] = &[
    Fact {
        id: "sig-restart-matrix",
        area: Area::Signals,
        claim: "With SA_RESTART these go on after a handler: read of a pipe, an eventfd, a timerfd and a signalfd, write to a pipe, recv, accept, open of \
                a FIFO, waitpid. These never do: select, poll, epoll_wait, pause, nanosleep, sigtimedwait, and socket calls with SO_RCVTIMEO. \
                Without SA_RESTART all give EINTR.",
        reference: "signal(7), Interruption of system calls and library functions by signal handlers",
        since: Since::ALWAYS,
        matters: "SA_RESTART does not free a program from EINTR: the calls that wait for many descriptors give it all the same.",
        experiment: "For each of 16 calls, with and without SA_RESTART: a thread is asleep in it and gets the signal. It must give EINTR, or be asleep \
                     again once the handler has run, and return when what it waits for happens.",
        wrong: &[],
        alone: false,
        run: restart_matrix,
    },
    Fact {
        id: "sig-handler-before-eintr",
        area: Area::Signals,
        claim: "When a call gives EINTR its handler has run to the end: what it set can be seen.",
        reference: "signal(7)",
        since: Since::ALWAYS,
        matters: "A loop may look at a flag of its handler right after EINTR; it will not miss the signal.",
        experiment: "A thread is asleep in poll, gets a signal, and reads the handler's counter right after EINTR; 20 times.",
        wrong: &[],
        alone: false,
        run: handler_before_eintr,
    },
];

/// A call that waits, and what ends its wait.
struct Cell {
    name: &'static str,
    call: In,
    restarts: bool,
    wait: Box<dyn FnOnce() -> Reply<()> + Send>,
    end: Box<dyn FnOnce() -> Reply<()>>,
}

fn cell(
    name: &'static str,
    call: In,
    restarts: bool,
    wait: impl FnOnce() -> Reply<()> + Send + 'static,
    end: impl FnOnce() -> Reply<()> + 'static,
) -> Cell {
    Cell { name, call, restarts, wait: Box::new(wait), end: Box::new(end) }
}

/// How often each descriptor's name was used, so that each FIFO has one of its own.
static FIFOS: AtomicU32 = AtomicU32::new(0);

fn cells(k: K, children: &[Forked; 2], with: usize) -> Held<Vec<Cell>> {
    let pipe = || k.pipe2(O_CLOEXEC);
    let never = || Ok(());
    let mut cells = Vec::new();

    let [reading, writing] = pipe()?;
    let write_one = move || k.write(writing, b"x").map(drop);
    cells.push(cell("read of a pipe", READ, true, move || k.read(reading, &mut [0; 8]).map(drop), write_one));
    let event = k.eventfd(0, libc::EFD_CLOEXEC)?;
    let add_one = move || k.write(event, &1u64.to_ne_bytes()).map(drop);
    cells.push(cell("read of an eventfd", READ, true, move || k.read(event, &mut [0; 8]).map(drop), add_one));
    let timer = k.timerfd_create(libc::CLOCK_MONOTONIC, libc::TFD_CLOEXEC)?;
    let expire = move || k.timerfd_settime(timer, 1, 0);
    cells.push(cell("read of a timerfd", READ, true, move || k.read(timer, &mut [0; 8]).map(drop), expire));
    let signals = k.signalfd(-1, raw::bit(libc::SIGUSR2), libc::SFD_CLOEXEC)?;
    let raise = || k.kill(std::process::id().cast_signed(), libc::SIGUSR2);
    cells.push(cell(
        "read of a signalfd",
        READ,
        true,
        move || k.read(signals, &mut [0; 128]).map(drop),
        raise,
    ));
    let [reading, writing] = pipe()?;
    while k.write(writing, &[0; 4096]).is_ok_and(|_| !is_full(k, writing)) {}
    let drain = move || k.read(reading, &mut [0; 8192]).map(drop);
    cells.push(cell("write to a pipe", WRITE, true, move || k.write(writing, &[0; 4096]).map(drop), drain));
    let (ours, peer) = unix_pair(k)?;
    let send = move || k.send(peer, b"x", MSG_NOSIGNAL).map(drop);
    cells.push(cell("recv", RECV, true, move || k.recv(ours, &mut [0; 8], 0).map(drop), send));
    let (listening, address) = listener(k, 5)?;
    let connect = move || connected(k, &address).map(drop);
    cells.push(cell("accept", ACCEPT, true, move || k.accept(listening).map(drop), connect));
    let path = format!("{}-{}", Scratch::new().path(), FIFOS.fetch_add(1, SeqCst));
    raw::mkfifo(&path)?;
    let fifo = path.clone();
    let open = move || {
        let opened = k.open(&path, O_WRONLY | O_CLOEXEC | libc::O_NONBLOCK).map(drop);
        std::fs::remove_file(&path).ok();
        opened
    };
    cells.push(cell(
        "open of a FIFO",
        OPEN,
        true,
        move || k.open(&fifo, O_RDONLY | O_CLOEXEC).map(drop),
        open,
    ));
    let pid = children[with].pid;
    let kill = move || raw::kill(pid, libc::SIGKILL);
    cells.push(cell("waitpid", WAIT4, true, move || k.waitpid(pid, 0).map(drop), kill));

    let [reading, _] = pipe()?;
    let select = move || {
        let mut words = set_of::<16>(&[reading]);
        let sets = Sets { read: (&mut words).into(), write: no_set(), except: no_set() };
        k.pselect6(reading + 1, sets, None, raw::Mask::NONE).map(drop)
    };
    cells.push(cell("select", SELECT, false, select, never));
    let poll = move || k.poll(At::from(&mut entry(reading, IN)), -1).map(drop);
    cells.push(cell("poll", POLL, false, poll, never));
    let waited = epoll(k)?;
    cells.push(cell("epoll_wait", EPOLL, false, move || wait(k, waited, -1).map(drop), never));
    cells.push(cell("pause", PAUSE, false, move || k.pause(), never));
    cells.push(cell("nanosleep", NANOSLEEP, false, move || k.nanosleep(60, 0), never));
    let wait_for = raw::bit(libc::SIGUSR2);
    cells.push(cell(
        "sigtimedwait",
        SIGTIMEDWAIT,
        false,
        move || k.sigtimedwait(wait_for, 60_000).map(drop),
        never,
    ));
    let (ours, _peer) = unix_pair(k)?;
    set_time_limit(k, ours, libc::SO_RCVTIMEO, 60_000)?;
    cells.push(cell(
        "recv with SO_RCVTIMEO",
        RECV,
        false,
        move || k.recv(ours, &mut [0; 8], 0).map(drop),
        never,
    ));
    Ok(cells)
}

fn is_full(k: K, writing: i32) -> bool {
    mask(k, writing).is_ok_and(|mask| !mask.has(OUT))
}

fn restart_matrix(k: K) -> Held {
    // SIGUSR2 is for the signalfd and sigtimedwait, in all threads.
    k.sigprocmask(libc::SIG_BLOCK, raw::bit(libc::SIGUSR2))?;
    let children = [Forked::start(|| Ok(raw::pause()?))?, Forked::start(|| Ok(raw::pause()?))?];
    for (with, flags) in [(0, 0), (1, SA_RESTART)] {
        k.sigaction(SIGUSR1, Action::Count, flags)?;
        for Cell { name, call, restarts, wait, end } in cells(k, &children, with)? {
            let how = if flags == 0 { "without SA_RESTART" } else { "with SA_RESTART" };
            let before = raw::handled(SIGUSR1);
            let waiter = Waiter::asleep(call, wait)?;
            raw::tgkill(waiter.thread, SIGUSR1)?;
            bounded("the handler has run", || Ok((raw::handled(SIGUSR1) > before).then_some(())))?;
            if !(restarts && flags == SA_RESTART) {
                is(format!("{name}, {how}"), waiter.join()?, no(Errno::EINTR))?;
                continue;
            }
            // Asleep again: in the call, or in what the kernel restarts it through.
            let mut returned = None;
            bounded("the call returns or is asleep again", || {
                returned = waiter.join_within(std::time::Duration::ZERO);
                Ok((returned.is_some() || waiter.is_asleep()).then_some(()))
            })?;
            if let Some(returned) = returned {
                return is(format!("{name}, {how}, which should be asleep again"), returned, Ok(()));
            }
            end()?;
            is(format!("{name}, {how}, once it has what it waits for"), waiter.join()?, Ok(()))?;
        }
    }
    Ok(())
}

fn handler_before_eintr(k: K) -> Held {
    k.sigaction(SIGUSR1, Action::Count, 0)?;
    let [reading, _writing] = k.pipe2(O_CLOEXEC)?;
    for n in 1..=20 {
        let waiter = Waiter::asleep(POLL, move || {
            let polled = k.poll(At::from(&mut entry(reading, IN)), -1);
            (polled, raw::handled(SIGUSR1))
        })?;
        raw::tgkill(waiter.thread, SIGUSR1)?;
        is("(poll, times that the handler had run when it returned)", waiter.join()?, (no(Errno::EINTR), n))?;
    }
    Ok(())
}
