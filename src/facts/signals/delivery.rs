//! Which signal comes, when, where, and what for.

use super::super::check::{Held, is};
use super::super::support::*;
use super::super::{Area, Fact, Since};
use crate::sys::Errno;
use crate::sys::raw::{self, Action, no};
use libc::{MSG_NOSIGNAL, O_CLOEXEC, SIG_BLOCK, SIG_UNBLOCK, SIGPIPE, SIGUSR1};

pub(super) const FACTS: &[Fact] = &[
    Fact {
        id: "sig-rt-queue-order",
        area: Area::Signals,
        claim: "Real-time signals queue: the lowest number first, and within a number in the order in which they were sent; sigtimedwait with a timeout of 0 \
                ends with EAGAIN.",
        reference: "signal(7), Real-time signals",
        since: Since::ALWAYS,
        matters: "They can carry events without loss, up to a limit, which standard signals cannot.",
        experiment: "Three of a higher and two of a lower number are queued with values while blocked, and taken one by one.",
        wrong: &[],
        alone: false,
        run: rt_queue_order,
    },
    Fact {
        id: "sig-sigpipe-rules",
        area: Area::Signals,
        claim: "A write to a pipe without readers or to a stream that was shut raises SIGPIPE and gives EPIPE; MSG_NOSIGNAL suppresses the signal only; by default it \
                kills.",
        reference: "send(2) MSG_NOSIGNAL, pipe(7)",
        since: Since::ALWAYS,
        matters: "A server that writes to a client that left dies without a word; and for pipes there is no MSG_NOSIGNAL.",
        experiment: "Writes to a broken pipe and to a shut socket, with and without the flag, with a handler that counts; then in a child with the \
                     default action.",
        wrong: &[
            "hiredis: https://github.com/redis/hiredis/issues/1229",
            "Rust: https://github.com/rust-lang/rust/issues/13158",
        ],
        alone: false,
        run: sigpipe_rules,
    },
    Fact {
        id: "sig-no-sigpipe-on-econnreset",
        area: Area::Signals,
        claim: "The first send after an RST gives ECONNRESET and raises no SIGPIPE; the next one gives EPIPE and does.",
        reference: "sk_stream_error in net/core/stream.c",
        since: Since::ALWAYS,
        matters: "A test that sends once does not find the missing SIG_IGN.",
        experiment: "The peer closes with SO_LINGER {1, 0}; two sends follow, and a handler counts.",
        wrong: &[],
        alone: false,
        run: no_sigpipe_on_econnreset,
    },
    Fact {
        id: "sig-process-signal-one-thread",
        area: Area::Signals,
        claim: "A signal to the process runs its handler in a thread that does not block it: with one such thread it gets all of them.",
        reference: "signal(7), Signal mask and pending signals",
        since: Since::ALWAYS,
        matters: "Blocking signals in all threads but one is how to have them handled in a place of one's choice.",
        experiment: "The main thread blocks a signal, another one does not and is asleep in poll; of 20 signals to the process each handler notes its \
                     thread.",
        wrong: &[],
        alone: false,
        run: process_signal_one_thread,
    },
];

fn rt_queue_order(k: K) -> Held {
    let (low, high) = (libc::SIGRTMIN(), libc::SIGRTMIN() + 1);
    let both = raw::bit(low) | raw::bit(high);
    k.sigprocmask(SIG_BLOCK, both)?;
    let me = std::process::id().cast_signed();
    for (signal, value) in [(high, 1), (high, 2), (low, 3), (high, 4), (low, 5)] {
        k.sigqueue(me, signal, value)?;
    }
    let mut came = Vec::new();
    let end = loop {
        match k.sigtimedwait(both, 0) {
            Ok(one) => came.push((one.signal - low, one.value)),
            Err(refusal) => break Err(refusal),
        }
    };
    is(
        "(number above SIGRTMIN, value) in the order of delivery",
        came,
        vec![(0, 3), (0, 5), (1, 1), (1, 2), (1, 4)],
    )?;
    is("sigtimedwait when nothing is left", end, no::<()>(Errno::EAGAIN))
}

fn sigpipe_rules(k: K) -> Held {
    let child = Forked::start(|| {
        let [reading, writing] = k.pipe2(O_CLOEXEC)?;
        k.close(reading)?;
        k.write(writing, b"x")?;
        Ok(())
    })?;
    let (_, status) = k.waitpid(child.pid, 0)?;
    let died = (libc::WIFSIGNALED(status), libc::WTERMSIG(status));
    is("(WIFSIGNALED, WTERMSIG) of a child that wrote to a broken pipe", died, (true, SIGPIPE))?;

    k.sigaction(SIGPIPE, Action::Count, 0)?;
    let [reading, writing] = k.pipe2(O_CLOEXEC)?;
    k.close(reading)?;
    is("write to a pipe without readers", k.write(writing, b"x"), no(Errno::EPIPE))?;
    is("SIGPIPEs after it", raw::handled(SIGPIPE), 1)?;
    let (ours, _peer) = unix_pair(k)?;
    k.shutdown(ours, libc::SHUT_WR)?;
    is("send on a stream that was shut", k.send(ours, b"x", 0), no(Errno::EPIPE))?;
    is("SIGPIPEs after it", raw::handled(SIGPIPE), 2)?;
    is("send with MSG_NOSIGNAL", k.send(ours, b"x", MSG_NOSIGNAL), no(Errno::EPIPE))?;
    is("SIGPIPEs after it", raw::handled(SIGPIPE), 2)?;
    is("write on a stream that was shut", k.write(ours, b"x"), no(Errno::EPIPE))?;
    is("SIGPIPEs after it", raw::handled(SIGPIPE), 3)
}

fn no_sigpipe_on_econnreset(k: K) -> Held {
    k.sigaction(SIGPIPE, Action::Count, 0)?;
    let (ours, peer) = tcp_pair(k)?;
    reset_connection(k, peer)?;
    mask_with(k, ours, ERR)?;
    is("the first send", k.send(ours, b"x", 0), no(Errno::ECONNRESET))?;
    is("SIGPIPEs after it", raw::handled(SIGPIPE), 0)?;
    is("the second send", k.send(ours, b"x", 0), no(Errno::EPIPE))?;
    is("SIGPIPEs after it", raw::handled(SIGPIPE), 1)
}

fn process_signal_one_thread(k: K) -> Held {
    k.sigaction(SIGUSR1, Action::Count, 0)?;
    k.sigprocmask(SIG_BLOCK, raw::bit(SIGUSR1))?;
    let [reading, writing] = k.pipe2(O_CLOEXEC)?;
    let waiter = Waiter::asleep(POLL, move || {
        raw::sigprocmask(SIG_UNBLOCK, raw::bit(SIGUSR1)).ok();
        // Until there is something to read; each signal ends one poll.
        while k.poll(raw::At::from(&mut entry(reading, IN)), -1).is_err() {}
    })?;
    for n in 1..=20 {
        k.kill(std::process::id().cast_signed(), SIGUSR1)?;
        bounded("the handler has run once more", || Ok((raw::handled(SIGUSR1) == n).then_some(())))?;
        is("the thread in which it ran", raw::handled_in(SIGUSR1), waiter.thread)?;
    }
    k.write(writing, b"x")?;
    waiter.join()
}
