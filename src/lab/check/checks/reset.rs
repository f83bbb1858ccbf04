//! Clients that break off, and crowds of them.

use super::super::session::Session;
use super::super::{Answers, Check, Ended, Needs, Step};
use super::{ANSWERS, USUAL};
use crate::sys::signal::Signal;
use crate::sys::socket::{self, Connected, Mode};
use crate::sys::sockopt;

pub(super) static CHECKS: [Check; 7] = [
    Check {
        id: "reset/in-the-middle",
        claim: "A client that resets its connection with bytes under way disturbs nobody.",
        does: "Five times a client sends a request and resets its connection (RST) at once; others are then served.",
        matters: "A client whose process dies, or whose network does, ends like this.",
        cause: "The server ends when recv(2) fails with ECONNRESET, or does not close that connection and spins.",
        reference: "man 2 recv, ECONNRESET; man 7 socket, SO_LINGER",
        run: |at| {
            for _ in 0..5 {
                let client = at.connect()?;
                client.ask(b"first")?;
                client.request(&at.text(5000))?;
                client.reset()?;
                at.serves_another()?;
            }
            Ok(())
        },
        ..USUAL
    },
    Check {
        id: "reset/before-accept",
        claim: "A client that is gone before it was accepted disturbs nobody.",
        does: "While the server is stopped (SIGSTOP), three clients connect and reset their connections; after SIGCONT another is served.",
        matters: "accept(2) then gives a connection that is dead already, or says ECONNABORTED.",
        cause: "The server ends when accept(2), getpeername(2) or the first recv(2) of a client fails.",
        reference: "man 2 accept, ECONNABORTED; UNP 5.11",
        needs: Needs::Process,
        after: &[ANSWERS, "reset/in-the-middle", "signals/stop-continue"],
        run: |at| {
            at.while_stopped(Signal::SIGSTOP, || (0..3).try_for_each(|_| at.connect()?.reset()))?;
            at.serves_another()
        },
        ..USUAL
    },
    Check {
        id: "reset/while-answering",
        claim: "A client that leaves while it is answered does not end the server.",
        does: "Five times a client sends 64 KiB and closes without reading, so that the server sends to a connection that is gone; another is then served.",
        matters: "The second send(2) on such a connection raises SIGPIPE, which ends a process that does not ignore it.",
        cause: "SIGPIPE is neither ignored (signal(SIGPIPE, SIG_IGN)) nor avoided (MSG_NOSIGNAL), or EPIPE ends the loop.",
        reference: "man 7 signal, SIGPIPE; man 2 send, MSG_NOSIGNAL and EPIPE; UNP 5.13",
        after: &[ANSWERS, "reset/in-the-middle"],
        run: while_answering,
        ..USUAL
    },
    Check {
        id: "storm/connect-close",
        claim: "A server goes on after 500 clients that connect and close at once.",
        does: "500 clients connect and close; another is then served.",
        matters: "A restart of the clients, or a port scanner, looks like this.",
        cause: "A table grows with each client and is never cleaned, or the loop ends at an error of accept(2).",
        reference: "man 2 accept",
        after: &[ANSWERS, "end/without-a-word"],
        run: |at| {
            at.say("500 clients connect and close");
            (0..500).try_for_each(|_| at.connect_unheard().map(drop))?;
            at.serves_another()
        },
        ..USUAL
    },
    Check {
        id: "storm/reset",
        claim: "A server goes on after 500 clients that connect and reset at once.",
        does: "500 clients connect, send a byte and reset; another is then served.",
        matters: "Load balancers end their health checks with a reset.",
        cause: "As reset/in-the-middle and reset/before-accept.",
        reference: "man 2 accept, ECONNABORTED",
        after: &[ANSWERS, "reset/in-the-middle"],
        run: |at| {
            at.say("500 clients connect, send a byte and reset");
            (0..500).try_for_each(|_| {
                let client = at.connect_unheard()?;
                // The server may have closed it.
                client.send(b"x").ok();
                client.reset()
            })?;
            at.serves_another()
        },
        ..USUAL
    },
    Check {
        id: "backlog/200",
        claim: "200 clients that connect at the same moment are all accepted and served.",
        does: "200 sockets begin to connect without waiting; then each sends a request and must get its answer.",
        matters: "After a restart all clients come back at once.",
        cause: "The server closes its listener while it is busy, refuses what is too much for it, or loses clients that wait in the queue.",
        reference: "man 2 listen, NOTES on the backlog; /proc/sys/net/core/somaxconn",
        clients: 200,
        after: &[ANSWERS, "clients/64"],
        run: backlog,
        ..USUAL
    },
    Check {
        id: "urgent/data",
        claim: "A byte of urgent data disturbs neither its connection nor others.",
        does: "A client sends text, a byte of urgent data (MSG_OOB) and text; all of the text must come back, with or without the urgent byte. Another client is then served.",
        matters: "Anybody can send urgent data. poll says POLLPRI for it, select an exceptional condition, and recv(2) stops at its mark.",
        cause: "The server takes POLLPRI or the set of exceptional conditions for an error, or an edge-triggered one stops to read at the mark.",
        reference: "man 7 tcp, SO_OOBINLINE; man 2 select, exceptfds; man 2 sockatmark",
        answers: Answers::Bytes,
        run: urgent,
        ..USUAL
    },
];

fn while_answering(at: &Session<'_>) -> Step {
    for _ in 0..5 {
        let client = at.connect()?;
        // So small that most of the answer waits in the server when the client closes.
        client.request(&at.text(64 << 10))?;
        client.close();
        // A second send is needed: the first one is answered with RST.
        at.serves_another()?;
    }
    Ok(())
}

fn backlog(at: &Session<'_>) -> Step {
    use crate::sys::poll::PollFlags;
    const CLIENTS: usize = 200;
    at.say(format!("{CLIENTS} clients connect at once"));
    let expected = format!("{CLIENTS} connections to {}", at.addr);
    let sockets: Result<Vec<_>, crate::Error> = (0..CLIENTS)
        .map(|_| {
            let socket = socket::tcp(&at.addr, Mode::Nonblocking)?;
            let connected = socket::connect(&socket, &at.addr);
            Ok((socket, connected))
        })
        .collect();
    let mut clients = Vec::new();
    for (i, (socket, connected)) in sockets?.into_iter().enumerate() {
        let refused = match connected {
            Ok(Connected::Yes) => None,
            // A SYN that found no room in the queue is sent again after a second, then after two more.
            Ok(Connected::Pending)
                if at.ready(&socket, PollFlags::POLLOUT, super::super::session::TO_ANSWER * 2)? =>
            {
                sockopt::take_error(&socket)?
            }
            Ok(Connected::Pending) => {
                return Err(Ended::late(expected, format!("client {} is not connected within 10 s", i + 1)));
            }
            Err(why) => Some(why.errno().ok_or(why)?),
        };
        if let Some(why) = refused {
            let why = super::super::client::in_words(why);
            return Err(Ended::failed(expected, format!("client {} of {CLIENTS}: {why}", i + 1)));
        }
        clients.push(super::super::client::Client::of(at, socket));
    }
    let number = |i: usize| format!("client {} of {CLIENTS}", i + 1);
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
    client.send_urgent(b'!')?;
    let after = client.on_the_wire(b"after");
    client.send(&after)?;
    // With SO_OOBINLINE the urgent byte is part of the stream; it may come back then.
    client.expect_with_or_without(b'!', &after)?;
    at.serves_another()
}
