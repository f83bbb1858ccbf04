//! No descriptor is left.

use super::super::client::{Client, Got};
use super::super::session::{Session, TO_ANSWER};
use super::super::sockets;
use super::super::{Check, Ended, Needs, Step};
use super::cost::idles;
use super::{ANSWERS, IN_TURN, NOTHING_MORE, USUAL};
use crate::sys::limits;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Clients that the server still has descriptors for.
const ROOM: usize = 8;

/// Clients that come. Those for which there is no descriptor wait in the queue, which with a backlog of 1 has room for two.
const CLIENTS: usize = ROOM + 2;

pub(super) static CHECKS: [Check; 2] = [
    Check {
        id: "limits/descriptors",
        claim: "A server without a free descriptor goes on, and accepts again when one is free.",
        does: "The limit on descriptors is lowered to 8 more than are open (prlimit, RLIMIT_NOFILE); 10 clients connect; those that were served leave; then a new client must be served.",
        matters: "accept(2) fails with EMFILE then, and the client stays in the queue. A server with many clients comes to its limit sooner or later.",
        cause: "EMFILE of accept(2) ends the server, or its accept is never tried again.",
        reference: "man 2 accept, EMFILE; man 2 getrlimit, RLIMIT_NOFILE",
        needs: Needs::Process,
        clients: CLIENTS,
        after: &[
            ANSWERS,
            NOTHING_MORE,
            IN_TURN,
            "clients/64",
            "end/closes",
            "edge/listener",
            "reset/in-the-middle",
            "reset/before-accept",
        ],
        run: |at| {
            let (served, others) = at_the_limit(at)?;
            at.say(format!("the {} clients that were served leave", served.len()));
            for client in &served {
                client.end()?;
            }
            for client in &served {
                client.read_to_end()?;
            }
            drop((served, others));
            at.serves_another_soon()
        },
        ..USUAL
    },
    Check {
        id: "limits/descriptors-idle",
        claim: "A server without descriptors does not keep a processor busy.",
        does: "As limits/descriptors; while clients wait that cannot be accepted, the server must sleep for most of a second.",
        matters: "The listener stays readable, so that a level-triggered wait returns at once, again and again, with nothing that can be done.",
        cause: "The server asks its wait for the listener although accept(2) has said EMFILE. Take it out until a client leaves, or close one client with a spare descriptor. asyncio (Python) calls accept(2) as often as its argument backlog says for each event, and logs each failure: with a large backlog it has no time to sleep.",
        reference: "man 2 accept, EMFILE; the section on EMFILE in libev's manual",
        needs: Needs::Process,
        clients: CLIENTS,
        after: &[ANSWERS, NOTHING_MORE, IN_TURN, "limits/descriptors", "idle/cpu"],
        run: |at| {
            let clients = at_the_limit(at)?;
            idles(at, "while it can accept nobody")?;
            drop(clients);
            Ok(())
        },
        ..USUAL
    },
];

/// Bring the server to its limit: the clients that were served, and the others.
fn at_the_limit<'a>(at: &'a Session<'a>) -> Step<(Vec<Client<'a>>, Vec<Client<'a>>)> {
    // It may open some for its first client.
    at.connect()?.ask(b"first")?;
    let server = at.server();
    let settled = || {
        let before = server.descriptors()?;
        at.pause(Duration::from_millis(20))?;
        // A thread that has not run yet may open more.
        Ok(server.descriptors()? == before && server.sleeps() != Some(false))
    };
    at.within(TO_ANSWER, settled)?;
    let open = sockets::descriptors(server.main().as_raw().cast_unsigned()).map_err(anyhow::Error::from)?;
    let number = |fd: &PathBuf| fd.file_name()?.to_str()?.parse().ok();
    let mut open: Vec<u64> = open.iter().filter_map(number).collect();
    open.sort_unstable();
    let limit = limit_for(&open);
    limits::set_soft_nofile_of(server.main(), limit)?;
    at.say(format!("the server may have {ROOM} more descriptors than it has"));
    at.say(format!("{CLIENTS} clients connect, and send a request each"));
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        let client = at.connect_unlogged()?;
        // A server without a descriptor may close it before.
        client.request(b"question").or_else(Ended::unless_late)?;
        clients.push(client);
    }
    // Until no more answers come. A server that logs each failure of accept(2) may take seconds until the first.
    let (mut answered, until) = (vec![false; CLIENTS], Instant::now() + 4 * TO_ANSWER);
    let mut more = true;
    while more || (Instant::now() < until && !answered.contains(&true)) {
        more = false;
        at.pause(Duration::from_millis(100))?;
        at.until_it_waits()?;
        if server.has_ended() {
            return Err(Ended::failed(
                "a server that goes on",
                "it has ended when it had no descriptor left",
            ));
        }
        for (client, answered) in clients.iter().zip(&mut answered) {
            if !*answered && matches!(client.read_now(&mut [0; 64])?, Some(Got::Bytes(_))) {
                (*answered, more) = (true, true);
            }
        }
    }
    let served = answered.iter().filter(|&&answered| answered).count();
    at.say(format!("{served} of them get an answer"));
    if served == 0 {
        return Err(Ended::NotMade("with its limit lowered, the server served nobody".to_owned()));
    }
    if served == CLIENTS {
        return Err(Ended::NotApplicable(format!(
            "the process that listens needs no descriptor for each client: it served {CLIENTS} with {ROOM} free"
        )));
    }
    let (mut first, mut others) = (Vec::new(), Vec::new());
    for (client, answered) in clients.into_iter().zip(answered) {
        if answered { first.push(client) } else { others.push(client) }
    }
    Ok((first, others))
}

/// The limit below which so many numbers are free: a descriptor must be smaller.
fn limit_for(open: &[u64]) -> u64 {
    (0..).filter(|number| open.binary_search(number).is_err()).nth(ROOM).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holes_in_the_numbers_count_as_room() {
        assert_eq!(limit_for(&[0, 1, 2]), 11);
        assert_eq!(limit_for(&[0, 1, 2, 9]), 12);
    }
}
