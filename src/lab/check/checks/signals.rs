//! Signals that should change nothing, and what they do to a wait.

use super::super::session::Session;
use super::super::{Answers, Check, Needs, Step};
use super::{ANSWERS, LARGE, NOTHING_MORE, USUAL};
use crate::sys::signal::Signal;

pub(super) static CHECKS: [Check; 4] = [
    Check {
        id: "signals/stop-continue",
        claim: "A server that was stopped and continued goes on.",
        does: "The server gets SIGSTOP and SIGCONT, while it waits with a client connected; the client is then served.",
        matters: "epoll_wait and some other calls fail with EINTR then, although no handler ran. Debuggers, `kill -STOP` and batch systems do this.",
        cause: "EINTR of epoll_wait, poll, select, accept or recv ends the loop. Call it again.",
        reference: "man 7 signal, 'Interruption of system calls and library functions by stop signals'",
        needs: Needs::Process,
        after: &[ANSWERS, NOTHING_MORE],
        run: |at| stopped_and_continued(at, Signal::SIGSTOP),
        ..USUAL
    },
    Check {
        id: "signals/terminal-stop",
        claim: "Ctrl-Z and `fg` do not end the server.",
        does: "The server gets SIGTSTP and SIGCONT, as from a terminal; the client that it had is then served.",
        matters: "It is what a learner does first, with a server in a terminal.",
        cause: "EINTR ends the loop, or a handler of SIGTSTP does not stop the process.",
        reference: "man 7 signal, SIGTSTP; docs/differences.md",
        needs: Needs::Process,
        after: &[ANSWERS, NOTHING_MORE, "signals/stop-continue"],
        run: |at| stopped_and_continued(at, Signal::SIGTSTP),
        ..USUAL
    },
    Check {
        id: "signals/window-size",
        claim: "A terminal whose window changes its size does not end the server or its connections.",
        does: "The server gets SIGWINCH three times while it waits; its client is then served.",
        matters: "Every process of a terminal gets this signal when somebody resizes the window.",
        cause: "A handler of SIGWINCH, from a library for terminals or of the server's own, lets the wait fail with EINTR, and the loop ends.",
        reference: "man 7 signal, SIGWINCH",
        needs: Needs::Process,
        after: &[ANSWERS, NOTHING_MORE, "signals/stop-continue"],
        run: |at| {
            let client = at.connect()?;
            client.ask(b"before")?;
            for _ in 0..3 {
                at.until_it_waits()?;
                at.signal(Signal::SIGWINCH)?;
            }
            client.ask(b"after")
        },
        ..USUAL
    },
    Check {
        id: "signals/interrupted-often",
        claim: "1 MiB comes back although the server is interrupted 50 times.",
        does: "A client sends 1 MiB in pieces; between them the server gets SIGSTOP and SIGCONT, 50 times; every byte must come back.",
        matters: "Each call of the server can be interrupted, not only its wait.",
        cause: "EINTR of recv(2) or send(2) is taken for the end of the connection, or the bytes of an interrupted send are sent twice.",
        reference: "man 7 signal; man 2 send, EINTR",
        needs: Needs::Process,
        answers: Answers::Bytes,
        after: &[ANSWERS, NOTHING_MORE, LARGE, "signals/stop-continue"],
        run: interrupted_often,
        ..USUAL
    },
];

fn stopped_and_continued(at: &Session<'_>, with: Signal) -> Step {
    let client = at.connect()?;
    // More than once: the signal has to come while the server waits.
    for _ in 0..3 {
        client.ask(b"before")?;
        at.while_stopped(with, || Ok(()))?;
        client.ask(b"after")?;
    }
    Ok(())
}

fn interrupted_often(at: &Session<'_>) -> Step {
    const TIMES: usize = 50;
    let client = at.connect()?;
    at.say(format!("client 1 sends 1 MiB in {TIMES} pieces; the server is stopped and continued in each"));
    for piece in 0..TIMES {
        let bytes = client.on_the_wire(&at.text((1 << 20) / TIMES));
        client.send(&bytes)?;
        at.server().stop_with(Signal::SIGSTOP)?;
        at.server().signal_all(Signal::SIGCONT)?;
        client.expect(&bytes).map_err(|ended| ended.at(&format!("piece {piece}")))?;
    }
    Ok(())
}
