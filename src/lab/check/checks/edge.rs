//! What edge-triggered and signal-driven servers lose: bytes and clients that no further event tells of.

use super::super::session::Session;
use super::super::{Answers, Check, Ended, Needs, Step};
use super::{ANSWERS, IN_TURN, NOTHING_MORE, PIPELINED, USUAL};
use crate::sys::signal::Signal;
use std::time::{Duration, Instant};

pub(super) static CHECKS: [Check; 3] = [
    Check {
        id: "edge/listener",
        claim: "Clients that wait together are all accepted.",
        does: "While the server is stopped (SIGSTOP), four clients connect and send a request each; after SIGCONT each must get its answer.",
        matters: "An edge-triggered listener reports once that clients wait, not once for each.",
        cause: "The server calls accept(2) once for each event of an edge-triggered listener. Call it until EAGAIN, on a non-blocking listener.",
        reference: "man 7 epoll, 'Level-triggered and edge-triggered'; tcpepoll2 of the course",
        needs: Needs::Process,
        clients: 4,
        after: &[ANSWERS, NOTHING_MORE, IN_TURN, "clients/silent-beside", "signals/stop-continue"],
        run: listener,
        ..USUAL
    },
    Check {
        id: "edge/partial-read",
        claim: "A request that is there at once is answered wholly, although no more bytes come.",
        does: "A client sends 32 KiB; a server that was started for this is stopped (SIGSTOP) meanwhile. When not all of it comes back, the client sends one byte more: the check fails if the rest comes then. Otherwise the bytes are lost, for which there are other checks.",
        matters: "An edge-triggered socket reports once that bytes arrived, however many a read leaves.",
        cause: "The server calls recv(2) once for each event of an edge-triggered socket. Call it until EAGAIN.",
        reference: "man 7 epoll, 'Level-triggered and edge-triggered'; tcpepoll2 of the course",
        answers: Answers::Bytes,
        after: &[ANSWERS, NOTHING_MORE, "signals/stop-continue"],
        run: partial_read,
        ..USUAL
    },
    Check {
        id: "edge/during-the-turn",
        claim: "Bytes that arrive while the server works on earlier ones are not lost.",
        does: "2000 times a client sends a request in two pieces, with a pause of 0 to 50 µs between them, and reads both answers.",
        matters: "Between the read and the next wait of the server there is a moment in which bytes can arrive.",
        cause: "A flag, a signal or an edge that tells of bytes is cleared after the read, and not before it.",
        reference: "man 7 epoll, Q9; man 7 signal, on signals that are pending once",
        answers: Answers::Bytes,
        after: &[ANSWERS, NOTHING_MORE, PIPELINED, "edge/partial-read"],
        run: during_the_turn,
        ..USUAL
    },
];

fn listener(at: &Session<'_>) -> Step {
    const CLIENTS: usize = 4;
    let mut clients = Vec::new();
    at.while_stopped(Signal::SIGSTOP, || {
        at.say(format!("{CLIENTS} clients connect, and send a request each"));
        while clients.len() < CLIENTS {
            let client = match at.connect_unlogged() {
                Err(Ended::Failed(fault)) if fault.is_late && clients.len() == 1 => {
                    return Err(Ended::failed(
                        "clients that connect together find room in the queue of listen(2)",
                        "one did; the kernel sends the SYN of the next one again after a second, and after two more",
                    )
                    .because("The second argument of listen(2) is 0. Use SOMAXCONN or 4096."));
                }
                // With a backlog of 1 the queue has room for two, which is enough here: backlog/200 is the check for that.
                Err(Ended::Failed(fault)) if fault.is_late && clients.len() > 1 => {
                    at.say(format!("only {} of them find room in the queue", clients.len()));
                    break;
                }
                client => client?,
            };
            client.request(b"question")?;
            // Until the server's kernel has it, the client may not be in the queue.
            client.is_acknowledged()?;
            clients.push(client);
        }
        Ok(())
    })?;
    for (i, client) in clients.iter().enumerate() {
        client
            .answer(b"question")
            .map_err(|ended| ended.at(&format!("client {} of {}", i + 1, clients.len())))?;
    }
    at.say("each gets its answer");
    Ok(())
}

fn partial_read(at: &Session<'_>) -> Step {
    let client = at.connect()?;
    let first = client.on_the_wire(b"first");
    client.send(&first)?;
    client.expect(&first)?;
    let request = client.on_the_wire(&at.text(32 << 10));
    // What the kernel of a stopped server takes; the rest is sent afterwards.
    let mut sent = 0;
    let sends = || {
        sent = client.send_some(&request)?;
        at.say(format!("client 1 sends {sent} bytes"));
        // One byte that arrives later would be a further event.
        client.is_acknowledged_within(Duration::from_secs(1)).map(drop)
    };
    match at.started {
        Some(_) => at.while_stopped(Signal::SIGSTOP, sends)?,
        None => {
            let mut sends = sends;
            sends()?
        }
    }
    client.send_rest_and_expect(&request, sent).map_err(|ended| match ended {
        Ended::OneReadForEachEdge => Ended::late(
            "all of the answer without another byte",
            "the answer stopped before its end, and went on when one more byte was sent",
        ),
        Ended::Failed(_) => Ended::NotMade(
            "the answer is wrong, but not because an event was lost: see echo/large and the checks echo/buffer"
                .to_owned(),
        ),
        ended => ended,
    })
}

fn during_the_turn(at: &Session<'_>) -> Step {
    const ROUNDS: usize = 2000;
    let client = at.connect_unlogged()?;
    at.say("client 1 connects");
    at.say(
        "client 1 sends two pieces with a short pause between them, and reads both answers, again and again",
    );
    for round in 1..=ROUNDS {
        let (first, second) = (client.on_the_wire(b"first"), client.on_the_wire(b"second"));
        client.send(&first)?;
        let until = Instant::now() + Duration::from_micros(at.chance(0..50) as u64);
        while Instant::now() < until {
            std::hint::spin_loop();
        }
        client.send(&second)?;
        client.expect(&[first, second].concat()).map_err(|ended| {
            match ended {
                Ended::OneReadForEachEdge => Ended::late(
                    "both answers",
                    "not all of the second one came before another byte was sent: its event was lost",
                ),
                ended => ended,
            }
            .at(&format!("round {round}"))
        })?;
    }
    Ok(())
}
