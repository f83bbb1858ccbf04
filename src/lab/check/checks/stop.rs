//! The end of the server, and its next start.

use super::super::client::{Client, Got, in_words};
use super::super::server::Server;
use super::super::session::{Session, TO_ANSWER};
use super::super::sockets;
use super::super::{Answers, Check, Ended, Needs, Step};
use super::reset::connecting;
use super::{ANSWERS, LARGE, NOTHING_MORE, USUAL};
use crate::lab::child::Failed;
use crate::lab::units;
use crate::sys::signal::Signal;
use crate::sys::sockopt;
use std::time::{Duration, Instant};

/// Clients that connect before the server is told to end.
const CLIENTS: usize = 5;

/// How long a server may take to end.
const TO_END: Duration = Duration::from_secs(1);

pub(super) static CHECKS: [Check; 4] = [
    Check {
        id: "stop/in-time",
        claim: "SIGTERM ends the server within a second, with five clients connected.",
        does: "Five clients connect, and one of them gets an answer; all stay; the server gets SIGTERM.",
        matters: "systemd, Docker and Kubernetes send SIGTERM, and kill what does not end; what was under way is lost then.",
        cause: "SIGTERM is ignored or blocked, its handler only sets a flag that the wait never sees, or the server waits until all clients have left.",
        reference: "man 7 signal, SIGTERM; man 5 systemd.kill",
        needs: Needs::Process,
        after: &[ANSWERS, NOTHING_MORE],
        run: |at| ends(at, Signal::SIGTERM),
        ..USUAL
    },
    Check {
        id: "stop/ctrl-c",
        claim: "SIGINT, as from Ctrl-C, ends the server within a second.",
        does: "As stop/in-time, with SIGINT, which is not ignored when the server starts.",
        matters: "It is how everybody ends a program in a terminal.",
        cause: "SIGINT is ignored or handled without an end, or threads that still serve clients keep the process alive (Python: use daemon=True).",
        reference: "man 7 signal, SIGINT",
        needs: Needs::Process,
        after: &[ANSWERS, NOTHING_MORE],
        run: |at| ends(at, Signal::SIGINT),
        ..USUAL
    },
    Check {
        id: "stop/answers-arrive",
        claim: "Answers that were sent before SIGTERM still reach the client, and the connection ends in order.",
        does: "A client that reads nothing yet has 12 KiB of answers in the buffers of the kernel, more than its own receive buffer has room for; the server gets SIGTERM; then the client reads: all of them, and the end (FIN).",
        matters: "The server counts these answers as given. A reset (RST) destroys what is still under way.",
        cause: "The server ends with SO_LINGER of 0 seconds, or closes while bytes wait that it has not read; both send RST.",
        reference: "man 7 socket, SO_LINGER; RFC 1122, 4.2.2.13",
        needs: Needs::Process,
        answers: Answers::Bytes,
        after: &[ANSWERS, NOTHING_MORE, LARGE, "stop/in-time"],
        run: answers_arrive,
        ..USUAL
    },
    Check {
        id: "restart/same-port",
        claim: "The server can be started again on the same port at once.",
        does: "A client is connected when the server gets SIGTERM, so that the server closes first and its end of the connection stays in TIME_WAIT; then the command is started again on the same port.",
        matters: "Without SO_REUSEADDR a server cannot listen again for a minute after a restart: EADDRINUSE.",
        cause: "SO_REUSEADDR is missing before bind(2).",
        reference: "man 7 socket, SO_REUSEADDR; demo2 of the course and its notes on TIME_WAIT",
        needs: Needs::Process,
        after: &[ANSWERS, NOTHING_MORE, "stop/in-time"],
        run: restart,
        ..USUAL
    },
];

fn ends(at: &Session<'_>, with: Signal) -> Step {
    // One is served. The others are not waited for: a server that has one client at a time may have no room for them in its queue.
    let first = at.connect()?;
    first.ask(b"question")?;
    at.say(format!("{} clients more connect", CLIENTS - 1));
    let _others = connecting(at, CLIENTS - 1)?;
    at.until_it_waits()?;
    at.signal(with)?;
    let expected = || format!("the server ends within {} s of {with}", TO_END.as_secs());
    let (began, before) = (Instant::now(), at.server().waited());
    let mut waited = before;
    let has_ended = at.within(TO_ANSWER, || {
        let has_ended = at.server().has_ended();
        if !has_ended {
            waited = at.server().waited();
        }
        Ok(has_ended)
    })?;
    if !has_ended {
        return Err(Ended::late(expected(), format!("it still runs after {} s", TO_ANSWER.as_secs())));
    }
    // While other programs have the processors, it cannot end.
    let took = began.elapsed().saturating_sub(waited.saturating_sub(before));
    if took > TO_END {
        return Err(Ended::late(expected(), format!("it took {}", units::seconds(took.as_secs_f64()))));
    }
    at.say("the server ends");
    Ok(())
}

fn answers_arrive(at: &Session<'_>) -> Step {
    /// So few that they fit the smallest usual send buffer.
    const ANSWERS: usize = 12 << 10;
    let client = Client::connect(at, |socket| sockopt::set_receive_buffer(socket, 4096), true)?;
    let request = client.on_the_wire(&at.text(ANSWERS));
    client.send(&request)?;
    client.is_acknowledged()?;
    // All of the answer is in a buffer of the kernel: the server's end has sent it, or this end has it.
    let mut last = None;
    let is_sent = || {
        last = sockets::established(at.addr, client.addr()?)?;
        let here = client.unread()?;
        Ok(last.as_ref().is_some_and(|end| end.unread == 0 && (end.to_send + here) as usize == request.len()))
    };
    if !at.within(4 * TO_ANSWER, is_sent)? {
        return Err(Ended::NotMade(format!(
            "the buffers of the server's kernel do not take all of the answer: {last:?}"
        )));
    }
    at.say("the server has answered all of it");
    at.signal(Signal::SIGTERM)?;
    let (got, how) = client.read_to_end()?;
    let expected = format!("all {} bytes, then the end (FIN)", request.len());
    match how {
        Some(Got::End) if got == request => Ok(()),
        Some(Got::Broken(why)) => {
            Err(Ended::failed(expected, format!("{} bytes, then {}", got.len(), in_words(why))))
        }
        None => Err(Ended::late(expected, format!("{} bytes, then nothing", got.len()))),
        _ => Err(Ended::failed(expected, format!("{} bytes, then the end", got.len()))),
    }
}

fn restart(at: &Session<'_>) -> Step {
    let started = at.started();
    let client = at.connect()?;
    client.ask(b"question")?;
    at.signal(Signal::SIGTERM)?;
    if at.server().wait_for_end(TO_ANSWER, at.stop)?.is_none() {
        return Err(Ended::NotMade("the server does not end".to_owned()));
    }
    at.say("the server ends, and closes the connection first");
    client.expect_end().ok();
    client.close();
    // A process of the server may end a moment later.
    let is_free = || Ok(sockets::listener_on(at.addr.port())?.is_none());
    if !at.within(TO_ANSWER, is_free)? {
        return Err(Ended::NotMade("another process of the server still listens".to_owned()));
    }
    at.say("the command is started again on the same port");
    match Server::start_on(started.launch, at.addr.port(), at.stop) {
        Ok(again) => {
            at.say("it listens");
            drop(again);
            Ok(())
        }
        Err(Failed::Interrupted) => Err(Ended::Interrupted),
        Err(Failed::Error(why)) => Err(Ended::failed(
            format!("the server listens on port {} again", at.addr.port()),
            crate::lab::explain::in_words(&why),
        )
        // A command that builds its program first may take too long.
        .that_is_late()),
    }
}
