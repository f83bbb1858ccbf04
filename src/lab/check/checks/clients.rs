//! Several clients: none waits for another, none gets the bytes of another.

use super::super::client::Client;
use super::super::session::Session;
use super::super::{Answers, Check, Ended, Needs, Step};
use super::{ANSWERS, IN_TURN, LARGE, NOTHING_MORE, PIPELINED, USUAL};
use crate::lab::results::check::Expect;
use crate::lab::units;
use crate::sys::sockopt;

/// Clients beside each other take at least two.
const BESIDE: &str = "clients/silent-beside";

/// The receive buffer of a client that reads slowly.
const SMALL_BUFFER: usize = 64 << 10;

pub(super) static CHECKS: [Check; 9] = [
    Check {
        id: "clients/one-after-another",
        claim: "100 clients that come one after another are all served.",
        does: "A client connects, gets an answer and closes; 100 times.",
        matters: "A server is there for more than one client. Every check with a second client depends on this one.",
        cause: "The loop around accept(2) is missing, or a slot of a table is not given back.",
        reference: "man 2 accept; demo2 of the course serves one client and ends",
        after: &[ANSWERS, NOTHING_MORE],
        run: |at| {
            for i in 1..=100 {
                let served = at.connect_unlogged().and_then(|client| client.ask(b"question"));
                served.map_err(|ended| ended.at(&format!("client {i}")))?;
            }
            Ok(())
        },
        ..USUAL
    },
    Check {
        id: "clients/silent-beside",
        claim: "A silent client keeps no other waiting.",
        does: "A client gets an answer and is silent; a second one connects and gets its answer; then the first one gets another.",
        matters: "A server that serves one client at a time can be stopped by any client that says nothing.",
        cause: "The server reads from its first client until that ends, before it accepts the next. It needs a process or a thread for each client, or select, poll or epoll.",
        reference: "demo8 of the course (one at a time), demo10 (a process each), tcpselect, tcppoll, tcpepoll",
        clients: 2,
        run: |at| {
            // Served before the second one connects: edge/listener asks whether several may wait together.
            let first = at.connect()?;
            first.ask(b"first")?;
            at.connect()?.ask(b"second").map_err(|ended| ended.at("the second client"))?;
            first.ask(b"first").map_err(|ended| ended.at("the first client"))
        },
        ..USUAL
    },
    Check {
        id: "clients/64",
        claim: "64 clients are served at the same time.",
        does: "64 clients connect; each sends a request; each then reads its own answer; three rounds.",
        matters: "Tables with fixed sizes and pools of threads have a largest number of clients.",
        cause: "A table or a pool of the server is smaller.",
        reference: "man 2 select; the course's table of client sockets",
        clients: 64,
        after: &[ANSWERS, NOTHING_MORE, IN_TURN, BESIDE, "edge/listener"],
        run: |at| at_once(at, 64),
        ..USUAL
    },
    Check {
        id: "clients/1000",
        claim: "1000 clients are served at the same time.",
        does: "As clients/64, with 1000 clients.",
        matters: "1024 is the size of many tables: FD_SETSIZE of select(2), the usual limit on descriptors.",
        cause: "A table is smaller, select(2) ends at descriptor 1023, or the limit on descriptors (`ulimit -n`) is lower.",
        reference: "man 2 select, BUGS; man 2 getrlimit, RLIMIT_NOFILE",
        clients: 1000,
        after: &[ANSWERS, NOTHING_MORE, IN_TURN, BESIDE, "clients/64", "edge/listener"],
        run: |at| {
            let _room = at.room_for(1000)?;
            at_once(at, 1000)
        },
        ..USUAL
    },
    Check {
        id: "clients/never-mixed",
        claim: "No client gets bytes of another.",
        does: "50 clients send their own bytes in small pieces, in random turns, without waiting; each must get just its own back.",
        matters: "A client that gets the answer of another sees what it must not see, and acts on it.",
        cause: "Clients share a buffer or a length; or a descriptor was closed and its number used again while its old client is still in a table.",
        reference: "man 2 close, NOTES on reuse of descriptors; man 7 epoll, Q6",
        clients: 50,
        answers: Answers::Bytes,
        // Where an event is lost between two pieces, an answer stops, and nothing is known of mixing.
        after: &[
            ANSWERS,
            NOTHING_MORE,
            IN_TURN,
            BESIDE,
            LARGE,
            PIPELINED,
            "edge/listener",
            "edge/during-the-turn",
        ],
        run: never_mixed,
        ..USUAL
    },
    Check {
        id: "clients/slow-reader",
        claim: "A client that reads late gets every byte.",
        does: "A client with a small receive buffer sends up to 8 MiB without reading, until the server takes no more; then it reads everything and sends the rest.",
        matters: "When the client does not read, send(2) takes a part, or nothing (EAGAIN). What it did not take must be kept and sent later.",
        cause: "The server ignores what send(2) returns: bytes that it did not take are lost. Keep them, wait until the client is writable (POLLOUT, EPOLLOUT), and go on.",
        reference: "man 2 send, RETURN VALUE and EAGAIN; the course's epoll servers ignore it",
        answers: Answers::Bytes,
        after: &[ANSWERS, NOTHING_MORE, LARGE, "edge/partial-read"],
        run: slow_reader,
        ..USUAL
    },
    Check {
        id: "clients/never-reads",
        claim: "A client that sends without end and never reads keeps no other waiting.",
        does: "A client sends without reading until the server takes no more; another client is then served.",
        matters: "One such client, by malice or by a fault, must not stop the server for all.",
        cause: "The server waits in send(2) on a blocking socket inside its event loop, or waits until one client has room.",
        reference: "man 2 send, EAGAIN; man 2 fcntl, O_NONBLOCK",
        clients: 2,
        answers: Answers::Bytes,
        // It leaves while it is answered.
        after: &[ANSWERS, NOTHING_MORE, IN_TURN, BESIDE, LARGE, "edge/listener", "reset/while-answering"],
        run: |at| {
            let greedy = slow(at)?;
            greedy.send_until_it_stalls(&greedy.on_the_wire(&at.text(64 << 10)), 16 << 20)?;
            at.connect()?.ask(b"beside it").map_err(|ended| ended.at("a client beside it"))
        },
        ..USUAL
    },
    Check {
        id: "clients/never-reads-memory",
        claim: "A client that sends without end and never reads costs little memory.",
        does: "A client sends up to 128 MiB without reading; the memory of the server must grow by less than 32 MiB.",
        matters: "Otherwise a few such clients end the server, or the machine.",
        cause: "The server reads on while it cannot send, and keeps all answers in a queue without a limit. Do not read from a client whose answers wait.",
        reference: "man 7 tcp (flow control); the water marks of libuv, Netty, Node's `pause()` and `drain`",
        needs: Needs::Process,
        answers: Answers::Bytes,
        after: &[ANSWERS, NOTHING_MORE, LARGE, "reset/while-answering"],
        run: never_reads_memory,
        ..USUAL
    },
    Check {
        id: "clients/slow-sender",
        claim: "A client that sends its request slowly keeps no other waiting.",
        does: "A client sends a request in 10 pieces; between them another client is served each time.",
        matters: "This is what a bad network does, and what Slowloris does on purpose.",
        cause: "The server waits in recv(2) for the rest of a request (MSG_WAITALL, a loop around recv) inside its event loop.",
        reference: "man 2 recv, MSG_WAITALL",
        clients: 2,
        after: &[ANSWERS, NOTHING_MORE, IN_TURN, BESIDE, "edge/listener"],
        run: slow_sender,
        ..USUAL
    },
];

fn at_once(at: &Session<'_>, many: usize) -> Step {
    let clients = at.crowd(many)?;
    let mut rounds = (0..3).map(|_| at.text(12));
    rounds.try_for_each(|text| {
        let request = |i: usize| [format!("{i:04}").as_bytes(), &text].concat();
        for (i, client) in clients.iter().enumerate() {
            client.request(&request(i)).map_err(|ended| ended.at(&format!("client {} of {many}", i + 1)))?;
        }
        for (i, client) in clients.iter().enumerate() {
            client.answer(&request(i)).map_err(|ended| ended.at(&format!("client {} of {many}", i + 1)))?;
        }
        at.say(format!("each of {many} clients sends a request and gets its answer"));
        Ok(())
    })
}

fn never_mixed(at: &Session<'_>) -> Step {
    const CLIENTS: usize = 50;
    const PIECES: usize = 20;
    let clients = at.crowd(CLIENTS)?;
    at.say(format!("each sends {PIECES} pieces that begin with its number, in random turns"));
    let mut sent = vec![Vec::new(); CLIENTS];
    for _ in 0..CLIENTS * PIECES {
        let i = at.chance(0..CLIENTS);
        let text = at.text(at.chance(1..200));
        let piece = clients[i].on_the_wire(&[format!("<{i:02}>").as_bytes(), &text].concat());
        clients[i].send(&piece)?;
        sent[i].extend(piece);
    }
    for (i, client) in clients.iter().enumerate() {
        client.expect(&sent[i]).map_err(|ended| ended.at(&format!("client {i}")))?;
    }
    Ok(())
}

/// A client that offers the server little room for answers.
fn slow<'a>(at: &'a Session<'a>) -> Step<Client<'a>> {
    Client::connect(at, |socket| sockopt::set_receive_buffer(socket, SMALL_BUFFER), true)
}

fn slow_reader(at: &Session<'_>) -> Step {
    const ALL: usize = 8 << 20;
    let client = slow(at)?;
    // Without a length in front: a frame of 8 MiB would have to be read before it is answered.
    let block = client.on_the_wire(&at.text(1000));
    let most = ALL / block.len() * block.len();
    let sent = client.send_until_it_stalls(&block, most)?;
    let all: Vec<u8> = block.iter().copied().cycle().take(sent.next_multiple_of(block.len())).collect();
    client.send_rest_and_expect(&all, sent)
}

fn never_reads_memory(at: &Session<'_>) -> Step {
    const OFFERED: usize = 128 << 20;
    const MOST: u64 = 32 << 20;
    let greedy = slow(at)?;
    let first = greedy.on_the_wire(b"first");
    greedy.send(&first)?;
    greedy.expect(&first)?;
    let before = at.server().memory()?;
    let sent = greedy.send_until_it_stalls(&greedy.on_the_wire(&at.text(64 << 10)), OFFERED)?;
    let grown = at.server().memory()?.saturating_sub(before);
    if grown >= MOST {
        return Err(Ended::failed(
            format!("the memory of the server grows by less than {}", units::bytes(MOST)),
            format!(
                "it grew by {}, when the client had sent {}",
                units::bytes(grown),
                units::bytes(sent as u64)
            ),
        ));
    }
    at.say(format!("the memory of the server has grown by {}", units::bytes(grown)));
    Ok(())
}

fn slow_sender(at: &Session<'_>) -> Step {
    let slow = at.connect()?;
    let other = at.connect()?;
    let request = slow.on_the_wire(&at.text(10));
    for byte in &request {
        slow.send(&[*byte])?;
        slow.is_acknowledged()?;
        other.ask(b"beside it").map_err(|ended| ended.at("a client beside it"))?;
    }
    match at.expect {
        Expect::Ok => slow.expect_some_ok(),
        _ => slow.expect(&request),
    }
}
