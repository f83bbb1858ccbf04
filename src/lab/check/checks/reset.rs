//! Clients that end their connection at a bad moment, and many of them at once.

use super::super::client::{Client, in_words, no_connection};
use super::super::session::{Session, TO_ANSWER};
use super::super::sockets;
use super::super::{Answers, Check, Ended, Needs, Step};
use super::{ANSWERS, IN_TURN, NOTHING_MORE, USUAL};
use crate::sys::poll::PollFlags;
use crate::sys::signal::Signal;
use crate::sys::socket::{self, Connected, Mode};
use crate::sys::sockopt;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

/// How many clients come at once.
const STORM: usize = 400;

pub(super) static CHECKS: [Check; 7] = [
    Check {
        id: "reset/in-the-middle",
        claim: "After a client that resets its connection with bytes under way, others are served.",
        does: "Six times a client gets an answer and resets its connection (RST), three times directly after another request; others are then served.",
        matters: "A client whose process dies, or whose network does, ends like this.",
        cause: "The server ends when recv(2) fails with ECONNRESET, or does not close that connection and spins.",
        reference: "man 2 recv, ECONNRESET; man 7 socket, SO_LINGER",
        after: &[ANSWERS, NOTHING_MORE, IN_TURN],
        run: |at| {
            for i in 0..6 {
                let client = at.connect()?;
                client.ask(b"first")?;
                // So short that it is answered with one send: the next one would raise SIGPIPE, which is another check.
                if i % 2 == 0 {
                    client.request(b"question")?;
                }
                client.reset()?;
                at.serves_another()?;
            }
            Ok(())
        },
        ..USUAL
    },
    Check {
        id: "reset/before-accept",
        claim: "After clients that are gone before they were accepted, others are served.",
        does: "While the server is stopped (SIGSTOP), two clients connect and reset their connections; after SIGCONT another is served.",
        matters: "accept(2) then gives a connection that is dead already, or says ECONNABORTED.",
        cause: "The server ends when accept(2), getpeername(2) or the first recv(2) of a client fails.",
        reference: "man 2 accept, ECONNABORTED; UNP 5.11",
        needs: Needs::Process,
        after: &[
            ANSWERS,
            NOTHING_MORE,
            IN_TURN,
            "reset/in-the-middle",
            "edge/listener",
            "signals/stop-continue",
        ],
        run: |at| {
            at.while_stopped(Signal::SIGSTOP, || {
                (0..2).try_for_each(|_| {
                    let client = at.connect()?;
                    let addr = client.addr()?;
                    // Until the server's kernel has done its part, it is not in the queue, or not reset.
                    let is_there = |is: bool| {
                        let within =
                            at.within(TO_ANSWER, || Ok(sockets::established(at.addr, addr)?.is_some() == is));
                        within.map(drop)
                    };
                    is_there(true)?;
                    client.reset()?;
                    is_there(false)
                })
            })?;
            at.serves_another()
        },
        ..USUAL
    },
    Check {
        id: "reset/while-answering",
        claim: "A client that leaves while it is answered does not end the server.",
        does: "Ten times a client sends up to 60 KiB and closes before it is answered, so that the server sends, gets RST, and sends again; another is then served. A server that was started for this is stopped (SIGSTOP) meanwhile.",
        matters: "The second send(2) on such a connection raises SIGPIPE, which ends a process that does not ignore it.",
        cause: "SIGPIPE is neither ignored (signal(SIGPIPE, SIG_IGN)) nor avoided (MSG_NOSIGNAL), or EPIPE ends the loop.",
        reference: "man 7 signal, SIGPIPE; man 2 send, MSG_NOSIGNAL and EPIPE; UNP 5.13",
        after: &[ANSWERS, NOTHING_MORE, IN_TURN, "reset/in-the-middle", "signals/stop-continue"],
        run: while_answering,
        ..USUAL
    },
    Check {
        id: "storm/connect-close",
        claim: "After 400 clients that connect and close at once, others are served.",
        does: "400 clients connect and close, as many at once as there is room for in the queue; another is then served.",
        matters: "A restart of the clients, or a port scanner, looks like this.",
        cause: "A table grows with each client and is never cleaned, or the loop ends at an error of accept(2).",
        reference: "man 2 accept",
        after: &[ANSWERS, NOTHING_MORE, IN_TURN, "end/without-a-word", "edge/listener"],
        run: |at| {
            let _room = at.room_for(STORM)?;
            storm(at, |_| Ok(()))?;
            at.say("and close at once");
            at.until_it_waits()?;
            at.serves_another()
        },
        ..USUAL
    },
    Check {
        id: "storm/reset",
        claim: "After 400 clients that connect and reset at once, others are served.",
        does: "400 clients connect, as many at once as there is room for in the queue, send a byte and reset; another is then served.",
        matters: "Load balancers end their health checks with a reset.",
        cause: "As reset/in-the-middle and reset/before-accept.",
        reference: "man 2 accept, ECONNABORTED",
        after: &[
            ANSWERS,
            NOTHING_MORE,
            IN_TURN,
            "reset/in-the-middle",
            "reset/before-accept",
            "edge/listener",
        ],
        run: |at| {
            let _room = at.room_for(STORM)?;
            storm(at, |socket| {
                // The server may have gone.
                socket::send(socket, b"x").ok();
                Ok(sockopt::set_reset_on_close(socket)?)
            })?;
            at.say("send a byte, and reset");
            at.until_it_waits()?;
            at.serves_another()
        },
        ..USUAL
    },
    Check {
        id: "backlog/200",
        claim: "200 clients that connect at the same moment find room in the queue, and all are served.",
        does: "While the server is stopped (SIGSTOP), 200 sockets connect: none may be refused or have to try again. After SIGCONT each sends a request and must get its answer. A server that runs already is not stopped.",
        matters: "After a restart all clients come back at once. A client that finds no room tries again after a second.",
        cause: "The second argument of listen(2) is small: 5, 10, 128. Use SOMAXCONN or 4096; the kernel cuts it to net.core.somaxconn.",
        reference: "man 2 listen, NOTES on the backlog; /proc/sys/net/core/somaxconn",
        clients: 200,
        after: &[ANSWERS, NOTHING_MORE, IN_TURN, "clients/64", "edge/listener", "signals/stop-continue"],
        run: backlog,
        ..USUAL
    },
    Check {
        id: "urgent/data",
        claim: "After a byte of urgent data, its connection and others are served as before.",
        does: "A client sends text, a byte of urgent data (MSG_OOB) and text; all of the text must come back, with or without the urgent byte. Another client is then served.",
        matters: "Anybody can send urgent data. poll says POLLPRI for it, select an exceptional condition, and recv(2) stops at its mark.",
        cause: "The server takes POLLPRI or the set of exceptional conditions for an error, or an edge-triggered one stops reading at the mark. Go's net.TCPConn does so inside io.Copy (splice): copy through a buffer of your own.",
        reference: "man 7 tcp, SO_OOBINLINE; man 2 select, exceptfds; man 2 sockatmark",
        answers: Answers::Bytes,
        run: urgent,
        ..USUAL
    },
];

fn while_answering(at: &Session<'_>) -> Step {
    let leaves = || {
        let client = at.connect()?;
        // What the server's kernel takes while the server does not read. More than most servers read at once, so that it sends
        // more than once.
        let sent = client.send_some(&client.on_the_wire(&at.text(60_000)))?;
        at.say(format!("it sends {sent} bytes"));
        client.is_acknowledged_within(Duration::from_secs(1))?;
        client.close();
        Ok(())
    };
    for _ in 0..10 {
        match at.started {
            Some(_) => at.while_stopped(Signal::SIGSTOP, leaves)?,
            None => leaves()?,
        }
        at.serves_another()?;
    }
    Ok(())
}

/// Many clients begin to connect, without waiting.
pub(super) fn connecting(at: &Session<'_>, clients: usize) -> Step<Vec<(OwnedFd, crate::Result<Connected>)>> {
    let one = || {
        let socket = socket::tcp(&at.addr, Mode::Nonblocking)?;
        let connected = socket::connect(&socket, &at.addr);
        Ok((socket, connected))
    };
    let all = (0..clients).map(|_| one()).collect::<Step<Vec<_>>>()?;
    // What is wrong on this side, as no free port, says nothing of the server.
    let ours = |(_, connected): &(OwnedFd, crate::Result<Connected>)| {
        let why = no_connection(connected.as_ref().err()?, String::new());
        matches!(why, Ended::NotMade(_)).then_some(why)
    };
    match all.iter().find_map(ours) {
        Some(why) => Err(why),
        None => Ok(all),
    }
}

/// Clients connect without waiting for each other, do something each, and close. Where the queue of the server has no room for all of
/// them, the others come again: a client whose SYN was dropped has never been there.
fn storm(at: &Session<'_>, each: impl Fn(&OwnedFd) -> Step) -> Step {
    at.say(format!("{STORM} clients connect at once"));
    let (mut came, until) = (0, Instant::now() + 4 * TO_ANSWER);
    while came < STORM {
        let sockets = connecting(at, STORM - came)?;
        // Over loopback a connection is there at once, if the queue has room for it.
        let soon = Instant::now() + Duration::from_millis(20);
        for (socket, connected) in sockets {
            let wait =
                || at.ready(&socket, PollFlags::POLLOUT, soon.saturating_duration_since(Instant::now()));
            let is_there = match connected {
                Ok(Connected::Yes) => true,
                Ok(Connected::Pending) => wait()? && sockopt::take_error(&socket)?.is_none(),
                // A server that has gone is found out afterwards.
                Err(_) => true,
            };
            if is_there {
                each(&socket)?;
                came += 1;
            }
        }
        if came < STORM && Instant::now() > until {
            let seconds = (4 * TO_ANSWER).as_secs();
            return Err(Ended::late(
                format!("{STORM} clients connect, one after another where the queue has no room for more"),
                format!("{came} were connected in {seconds} s"),
            ));
        }
    }
    Ok(())
}

fn backlog(at: &Session<'_>) -> Step {
    const CLIENTS: usize = 200;
    let most: usize = std::fs::read_to_string("/proc/sys/net/core/somaxconn")
        .ok()
        .and_then(|text| text.trim().parse().ok())
        .unwrap_or(CLIENTS);
    if most < CLIENTS {
        return Err(Ended::NotMade(format!(
            "this system has queues for {most} clients at most: raise net.core.somaxconn"
        )));
    }
    let _room = at.room_for(CLIENTS)?;
    let at_once = format!("{CLIENTS} clients connect at once");
    let mut sockets = Vec::new();
    if at.started.is_some() {
        at.while_stopped(Signal::SIGSTOP, || {
            at.say(&at_once);
            sockets = connecting(at, CLIENTS)?;
            // Over loopback a connection is there at once, if the queue has room for it. No room becomes free while the server is
            // stopped, so that this can wait for a busy machine.
            let (mut waiting, until) = (0, Instant::now() + Duration::from_secs(2));
            for (socket, connected) in &sockets {
                let is_there = matches!(connected, Ok(Connected::Yes))
                    || at.ready(
                        socket,
                        PollFlags::POLLOUT,
                        until.saturating_duration_since(Instant::now()),
                    )?;
                waiting += usize::from(!is_there);
            }
            if waiting == 0 {
                return Ok(());
            }
            Err(Ended::failed(
                format!(
                    "{CLIENTS} clients that connect at the same moment find room in the queue of listen(2)"
                ),
                format!(
                    "{} did; the kernel sends the SYN of the others again after a second, and after two more",
                    CLIENTS - waiting
                ),
            ))
        })?;
    } else {
        at.say(at_once);
        sockets = connecting(at, CLIENTS)?;
    }
    let number = |i: usize| format!("client {} of {CLIENTS}", i + 1);
    let mut clients = Vec::new();
    for (i, (socket, connected)) in sockets.into_iter().enumerate() {
        let expected = || format!("{CLIENTS} connections to {}", at.addr);
        let refused = match connected {
            Ok(Connected::Yes) => None,
            // A SYN that found no room in the queue is sent again after a second, then after two more.
            Ok(Connected::Pending) if at.ready(&socket, PollFlags::POLLOUT, TO_ANSWER * 2)? => {
                sockopt::take_error(&socket)?
            }
            Ok(Connected::Pending) => {
                return Err(Ended::late(expected(), format!("{} is not connected within 10 s", number(i))));
            }
            Err(why) => return Err(no_connection(&why, expected())),
        };
        if let Some(why) = refused {
            return Err(Ended::failed(expected(), format!("{}: {}", number(i), in_words(why))));
        }
        clients.push(Client::of(at, socket));
    }
    for (i, client) in clients.iter().enumerate() {
        client.request(b"question").map_err(|ended| ended.at(&number(i)))?;
    }
    for (i, client) in clients.iter().enumerate() {
        client.answer(b"question").map_err(|ended| ended.at(&number(i)))?;
    }
    Ok(())
}

fn urgent(at: &Session<'_>) -> Step {
    let client = at.connect()?;
    let before = client.on_the_wire(b"before");
    client.send(&before)?;
    client.expect(&before)?;
    // One that has not come to its wait yet would find all of it there.
    at.until_it_waits()?;
    client.send_urgent(b'!')?;
    let after = client.on_the_wire(b"after");
    client.send(&after)?;
    // With SO_OOBINLINE the urgent byte is part of the stream; it may come back then.
    client.expect_with_or_without(b'!', &after)?;
    client.close();
    at.serves_another()
}
