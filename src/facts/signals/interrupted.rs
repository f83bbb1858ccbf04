//! What a signal does to a call that waits.

use super::*;
use libc::{SA_RESTART, SO_RCVTIMEO, SO_SNDTIMEO};

pub(super) const FACTS: &[Fact] = &[
    Fact {
        id: "sig-restart-matrix",
        claim: "After a handler with SA_RESTART these calls go on: read of a pipe, an eventfd, a timerfd and \
                a signalfd, write to a pipe, recv, accept, open of a FIFO, waitpid. These give EINTR all the \
                same: select, poll, epoll_wait, pause, nanosleep, sigtimedwait, and recv, send and accept \
                with SO_RCVTIMEO or SO_SNDTIMEO. Without SA_RESTART all give EINTR.",
        reference: "signal(7), interruption of system calls by signal handlers; sock_intr_errno in include/net/sock.h",
        matters: "SA_RESTART is no cure for EINTR: an event loop has to expect it in any case. A time limit \
                  on a socket brings EINTR to code that never saw it.",
        experiment: "For each of the calls, with and without the flag: a thread asleep in it, a signal to \
                     the thread, and, where it should go on, what it waits for.",
        run: |k| {
            let children = [child_to_release()?, child_to_release()?];
            // For signalfd and sigtimedwait, in all threads.
            k.sigprocmask(SIG_BLOCK, bit(SIGUSR2))?;
            let (mut runs, mut limit) = (0, bound());
            for (flags, (child, release)) in [0, SA_RESTART].into_iter().zip(children) {
                k.sigaction(SIGUSR1, Action::Count, flags)?;
                // It stays until all calls of this round have returned: an open that goes on looks its path up again.
                let fifo = Scratch::new();
                raw::mkfifo(fifo.path())?;
                let mut cells = cells_of_files(k, fifo.path())?;
                cells.extend(cells_of_sockets(k)?);
                cells.extend(cells_of_waits(k)?);
                let pid = child.pid;
                cells.push(cell(
                    ("waitpid", WAIT4, true),
                    move || k.waitpid(pid, 0).map(drop),
                    move || Ok(raw::write(release, b"x").map(drop)?),
                ));
                for Cell { name, call, goes_on, work, release } in cells {
                    let how = if flags == 0 { "without SA_RESTART" } else { "with SA_RESTART" };
                    step(format!("{name}, {how}"), || {
                        let waiter = Waiter::asleep(call, work)?;
                        raw::tgkill(waiter.thread, SIGUSR1)?;
                        runs += 1;
                        let ran = handled_soon(SIGUSR1, runs);
                        needs(Why::Setup, "the handler has run", ran == runs, ran)?;
                        let restarts = flags != 0 && goes_on;
                        if restarts {
                            release()?;
                        }
                        let expected = if restarts { Ok(()) } else { no(Errno::EINTR) };
                        let got = waiter.join_within(limit);
                        if got.is_none() {
                            // Others will hang too: they get less time, so that all can be told.
                            limit = Duration::from_millis(300);
                        }
                        is("what it gives after a signal", got, Some(expected))
                    });
                }
            }
            Ok(())
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "sig-handler-before-eintr",
        claim: "When a waiting call returns EINTR, the handler has run to its end: what it wrote is there.",
        reference: "signal(7), execution of signal handlers",
        matters: "A loop may look at a flag that the handler sets right after EINTR, and need not wait for it. Where the handler \
                  runs on the way back to the program, as in Linux, it cannot be otherwise.",
        experiment: "A thread asleep in each of read, poll, epoll_wait and nanosleep; a signal; how often \
                     the handler had run when the call returned.",
        run: |k| {
            k.sigaction(SIGUSR1, Action::Count, 0)?;
            let [reader, _writer] = k.pipe2(O_CLOEXEC)?;
            let instance = epoll(k)?;
            let calls: [(&str, In, Work); 4] = [
                ("read", READ, Box::new(move || k.read(reader, &mut [0]).map(drop))),
                ("poll", POLL, Box::new(move || k.poll(At::Nowhere(Nowhere::Null, 0), -1).map(drop))),
                ("epoll_wait", EPOLL, Box::new(move || wait(k, instance, -1).map(drop))),
                ("nanosleep", NANOSLEEP, Box::new(move || k.nanosleep(20, 0))),
            ];
            for (runs, (name, call, work)) in (1..).zip(calls) {
                let waiter = Waiter::asleep(call, move || (work(), handled(SIGUSR1)))?;
                raw::tgkill(waiter.thread, SIGUSR1)?;
                let expected = (no(Errno::EINTR), runs);
                is(
                    format!("{name} after a signal, and how often the handler had run"),
                    waiter.join()?,
                    expected,
                )?;
            }
            Ok(())
        },
        ..Fact::ALWAYS
    },
];

/// Makes a call that waits, and tells what it gave.
type Work = Box<dyn FnOnce() -> Reply<()> + Send>;
/// Brings what the call waits for.
type Release = Box<dyn FnOnce() -> Held>;

/// A call of the matrix, ready to be made.
struct Cell {
    name: &'static str,
    call: In,
    /// Whether it goes on after a handler with SA_RESTART.
    goes_on: bool,
    work: Work,
    release: Release,
}

fn cell(
    (name, call, goes_on): (&'static str, In, bool),
    work: impl FnOnce() -> Reply<()> + Send + 'static,
    release: impl FnOnce() -> Held + 'static,
) -> Cell {
    Cell { name, call, goes_on, work: Box::new(work), release: Box::new(release) }
}

/// What it waits for does not come.
fn never() -> Held {
    Ok(())
}

/// A child that ends when a byte is written to the descriptor.
pub(super) fn child_to_release() -> Held<(Forked, i32)> {
    let [wait, release] = raw::pipe2(O_CLOEXEC)?;
    let child = Forked::start(|| Ok(raw::read(wait, &mut [0]).map(drop)?))?;
    Ok((child, release))
}

fn cells_of_files(k: K, fifo: &str) -> Held<Vec<Cell>> {
    let read = move |fd| move || k.read(fd, &mut [0; 128]).map(drop);
    let [reader, writer] = k.pipe2(O_CLOEXEC)?;
    let [full_reader, full_writer] = k.pipe2(O_CLOEXEC)?;
    fill(k, full_writer, 4096)?;
    k.fcntl(full_writer, libc::F_SETFL, 0)?;
    let event = k.eventfd(0, 0)?;
    let timer = k.timerfd_create(libc::CLOCK_MONOTONIC, 0)?;
    k.timerfd_settime(timer, 1_000_000_000_000, 0)?;
    let signal = k.signalfd(-1, bit(SIGUSR2), 0)?;
    let [path, same_path] = [fifo.to_owned(), fifo.to_owned()];
    Ok(vec![
        cell(("read of a pipe", READ, true), read(reader), move || Ok(k.write(writer, b"x").map(drop)?)),
        cell(("read of an eventfd", READ, true), read(event), move || {
            Ok(k.write(event, &1u64.to_ne_bytes()).map(drop)?)
        }),
        cell(("read of a timerfd", READ, true), read(timer), move || Ok(k.timerfd_settime(timer, 1, 0)?)),
        cell(
            ("write to a pipe", WRITE, true),
            move || k.write(full_writer, b"x").map(drop),
            move || Ok(k.read(full_reader, &mut vec![0; 1 << 16]).map(drop)?),
        ),
        // Opened for both, a FIFO has a writer, and this open does not wait.
        cell(
            ("open of a FIFO", OPEN, true),
            move || k.open(&path, libc::O_RDONLY).map(drop),
            move || Ok(raw::open(&same_path, libc::O_RDWR).map(drop)?),
        ),
        cell(("read of a signalfd", READ, true), read(signal), move || Ok(k.kill(me(), SIGUSR2)?)),
    ])
}

fn cells_of_sockets(k: K) -> Held<Vec<Cell>> {
    const LIMIT_MS: i64 = 20_000;
    let (a, a_peer) = unix_pair(k)?;
    let (b, _) = unix_pair(k)?;
    set_time_limit(k, b, SO_RCVTIMEO, LIMIT_MS)?;
    let (c, _) = unix_pair(k)?;
    fill(k, c, 4096)?;
    set_time_limit(k, c, SO_SNDTIMEO, LIMIT_MS)?;
    let (listener_d, address) = listener(k, 1)?;
    let (listener_e, _) = listener(k, 1)?;
    set_time_limit(k, listener_e, SO_RCVTIMEO, LIMIT_MS)?;
    let recv = move |fd| move || k.recv(fd, &mut [0], 0).map(drop);
    Ok(vec![
        cell(("recv", RECV, true), recv(a), move || Ok(k.write(a_peer, b"x").map(drop)?)),
        cell(("recv with SO_RCVTIMEO", RECV, false), recv(b), never),
        cell(
            ("send with SO_SNDTIMEO", SEND, false),
            move || k.send(c, &[0; 4096], libc::MSG_NOSIGNAL).map(drop),
            never,
        ),
        cell(
            ("accept", ACCEPT, true),
            move || k.accept(listener_d).map(drop),
            move || Ok(connected(k, &address).map(drop)?),
        ),
        cell(("accept with SO_RCVTIMEO", ACCEPT, false), move || k.accept(listener_e).map(drop), never),
    ])
}

fn cells_of_waits(k: K) -> Held<Vec<Cell>> {
    let instance = epoll(k)?;
    let select = move || {
        if raw::HAS_SELECT {
            k.select(0, no_sets(), None).map(drop)
        } else {
            k.pselect6(0, no_sets(), None, raw::Mask::NONE).map(drop)
        }
    };
    Ok(vec![
        cell(("select", SELECT, false), select, never),
        cell(("poll", POLL, false), move || k.poll(At::Nowhere(Nowhere::Null, 0), -1).map(drop), never),
        cell(("epoll_wait", EPOLL, false), move || wait(k, instance, -1).map(drop), never),
        cell(("pause", PAUSE, false), move || k.pause(), never),
        cell(("nanosleep", NANOSLEEP, false), move || k.nanosleep(20, 0), never),
        cell(
            ("sigtimedwait", SIGTIMEDWAIT, false),
            move || k.sigtimedwait(bit(SIGUSR2), 20_000).map(drop),
            never,
        ),
    ])
}
