//! From what was written down to what is shown: calls that waited in two events, equal calls as one, and what woke whom.

use super::decode;
use super::facts::{self, Around};
use super::log::{Known, Raw, RawWhat};
use crate::lab::results::trace::{Action, Call, Event, Fill, On, Verb, What};
use std::collections::{HashMap, HashSet};

/// The events.
pub(super) fn events(known: &mut Known) -> Vec<Event> {
    let raw = std::mem::take(&mut known.events);
    let waits = which_wait(&raw);
    let mut assembly = Assembly {
        events: Vec::new(),
        begun: HashMap::new(),
        fills: Vec::new(),
        queue: None,
        edges: HashSet::new(),
        connects: HashMap::new(),
        ends: HashMap::new(),
    };
    for (i, raw) in raw.into_iter().enumerate() {
        assembly.add(raw, waits[i]);
    }
    assembly.events
}

/// Of each event whether it is the beginning of a call during which something else happened, or which never returned.
fn which_wait(raw: &[Raw]) -> Vec<bool> {
    let mut waits = vec![false; raw.len()];
    let mut open: HashMap<u64, usize> = HashMap::new();
    for (i, event) in raw.iter().enumerate() {
        match &event.what {
            RawWhat::Entry { call, name, .. } if decode::waits(name) => drop(open.insert(*call, i)),
            RawWhat::Exit { call, .. } => {
                if let Some(begun) = open.remove(call) {
                    // A call that returns at once has nothing in between, or only what other threads do.
                    let meanwhile = &raw[begun + 1..i];
                    let is_cause = |raw: &Raw| {
                        matches!(
                            raw.what,
                            RawWhat::Client(_) | RawWhat::Signal { .. } | RawWhat::Ended { .. }
                        )
                    };
                    waits[begun] = meanwhile.iter().any(is_cause) || meanwhile.len() > FEW;
                }
            }
            _ => {}
        }
    }
    for begun in open.into_values() {
        waits[begun] = true;
    }
    waits
}

/// While a call runs that does not wait, other threads do no more than that.
const FEW: usize = 8;

struct Assembly {
    events: Vec<Event>,
    /// Calls that have not returned: the event, if it is one of its own, and what is known of the call.
    begun: HashMap<u64, (Option<usize>, f64, Call)>,
    /// The buffers after the last event.
    fills: Vec<Fill>,
    queue: Option<u32>,
    /// What epoll tells the edges of alone.
    edges: HashSet<On>,
    /// The connection of each client: the event.
    connects: HashMap<usize, usize>,
    /// The end of each thread, by its number in the kernel: the event.
    ends: HashMap<i64, usize>,
}

impl Assembly {
    fn add(&mut self, raw: Raw, waits: bool) {
        let at_us = raw.at.as_secs_f64() * 1e6;
        let (step, fills, queue) = (raw.step, raw.fills, raw.accept_queue);
        let what = match raw.what {
            RawWhat::Client(action) => {
                if action.verb == Verb::Connects {
                    self.connects.insert(action.client, self.events.len());
                }
                What::Client(action)
            }
            RawWhat::Signal { task, name } => What::Signal { task, name },
            RawWhat::Started { task } => What::Started { task },
            RawWhat::Ended { task, thread, how } => {
                self.ends.insert(thread.as_raw().into(), self.events.len());
                What::Ended { task, how }
            }
            RawWhat::Entry { call, task, name, on, arguments } => {
                let begun = Call {
                    task,
                    name: name.to_owned(),
                    on,
                    arguments,
                    result: None,
                    errno: None,
                    took_us: None,
                    ready: Vec::new(),
                    accepted: None,
                    woken_by: None,
                    times: 1,
                    fact: None,
                };
                let place = waits.then_some(self.events.len());
                self.begun.insert(call, (place, at_us, begun.clone()));
                if !waits {
                    return;
                }
                What::Begins(begun)
            }
            RawWhat::Exit { call, arguments, result, ready, accepted } => {
                let Some((place, began, mut call)) = self.begun.remove(&call) else { return };
                call.arguments = arguments.unwrap_or(call.arguments);
                (call.result, call.errno) = match result {
                    Ok(n) => (Some(n), None),
                    Err(errno) => (Some(-1), Some(decode::errno(errno))),
                };
                call.took_us = Some(at_us - began);
                (call.ready, call.accepted) = (ready, accepted);
                let waited = place.and_then(|place| self.cause(place, &call));
                let is_meanwhile = |cause: &usize| place.is_some_and(|place| *cause > place);
                call.woken_by = match &*call.name {
                    // A connection that it did not take has woken another thread.
                    "accept" | "accept4" if call.errno.is_none() => {
                        accepted.and_then(|client| self.connects.get(&client).copied()).filter(is_meanwhile)
                    }
                    // The number is that of the child.
                    "wait4" => match call.result.and_then(|child| self.ends.get(&child)) {
                        Some(end) => Some(*end).filter(is_meanwhile),
                        None => waited,
                    },
                    _ => waited,
                };
                if place.is_none() && self.is_repeated(&call, fills.as_ref()) {
                    return;
                }
                What::Call(call)
            }
        };
        let mut what = what;
        if let What::Call(call) = &mut what {
            self.note_registration(call);
            let after = fills.as_ref().unwrap_or(&self.fills);
            let around = Around { edges: &self.edges, before: &self.fills, after };
            call.fact = facts::of(call, &around).map(str::to_owned);
        }
        let fills =
            fills.filter(|fills| *fills != self.fills).map_or_else(Vec::new, |fills| self.changed(fills));
        let accept_queue = queue.filter(|_| queue != self.queue);
        self.queue = queue.or(self.queue);
        self.events.push(Event { at_us, step, what, fills, accept_queue, only_here: false });
    }

    /// These fills are other ones than before. When the last client has left there are none, which would mean that nothing has changed: then
    /// each client is told that had some.
    fn changed(&mut self, fills: Vec<Fill>) -> Vec<Fill> {
        let before = std::mem::replace(&mut self.fills, fills);
        let gone = |fill: Fill| Fill { received: None, unsent: None, unread: None, ..fill };
        match self.fills.as_slice() {
            [] => before.into_iter().map(gone).collect(),
            now => now.to_vec(),
        }
    }

    /// Whether epoll tells of edges alone from now on.
    fn note_registration(&mut self, call: &Call) {
        if let ("epoll_ctl", Some(on), None) = (&*call.name, &call.on, &call.errno) {
            match call.arguments.contains("EPOLLET") {
                true => self.edges.insert(on.clone()),
                false => self.edges.remove(on),
            };
        }
    }

    /// Whether the last event is the same call with the same result, and nothing has changed; then it counts once more.
    fn is_repeated(&mut self, call: &Call, fills: Option<&Vec<Fill>>) -> bool {
        if fills.is_some_and(|fills| *fills != self.fills) {
            return false;
        }
        let Some(Event { what: What::Call(last), .. }) = self.events.last_mut() else { return false };
        let is_same = last.task == call.task
            && last.name == call.name
            && last.arguments == call.arguments
            && last.result == call.result
            && last.errno == call.errno
            && last.ready == call.ready
            && last.on == call.on;
        if is_same {
            last.times += 1;
            let around = Around { edges: &self.edges, before: &self.fills, after: &self.fills };
            last.fact = facts::of(last, &around).map(str::to_owned);
        }
        is_same
    }

    /// The event that ended a wait: what clients did last about what the wait has told of; of a wait for a child, its end; and else
    /// a signal to the thread.
    fn cause(&self, place: usize, call: &Call) -> Option<usize> {
        // A call on one socket that returns bytes has read them, or has found room for them.
        let moved = match &*call.name {
            "sendto" | "sendmsg" | "sendmmsg" | "write" | "writev" | "sendfile" => "OUT",
            // It may wait for either.
            "splice" => "IN OUT",
            _ => "IN",
        };
        let about: Vec<(&On, &str)> = match call.ready.as_slice() {
            [] => call.on.iter().map(|on| (on, moved)).collect(),
            ready => ready.iter().map(|one| (&one.on, &*one.events)).collect(),
        };
        // Bytes that were read make room to send, and that only.
        let is_about = |action: &Action, has_room: bool| {
            about.iter().any(|(on, events)| match on {
                On::Client(client) if *client == action.client => match action.verb {
                    Verb::Reads => has_room && (events.contains("OUT") || *events == "writable"),
                    Verb::Connects | Verb::ReadsEnd | Verb::IsReset => false,
                    Verb::Sends | Verb::HalfCloses => {
                        let tells = ["IN", "HUP", "readable"];
                        !has_room && tells.iter().any(|tells| events.contains(tells))
                    }
                    // Whoever waits is told of it.
                    Verb::Closes | Verb::Resets => !has_room,
                },
                On::Listener => !has_room && action.verb == Verb::Connects,
                _ => false,
            })
        };
        let is_cause = |event: &Event, has_room: bool| match &event.what {
            What::Client(action) => is_about(action, has_room),
            What::Ended { task, .. } => matches!(&*call.name, "wait4" | "waitid") && *task != call.task,
            What::Signal { task, .. } => *task == call.task && call.errno.is_some(),
            _ => false,
        };
        let meanwhile = &self.events[place + 1..];
        // What came earlier may have been served by another thread. Of what clients did at once, the first has woken it.
        let found = [false, true].iter().find_map(|has_room| {
            let is_it = |event: &Event| is_cause(event, *has_room);
            let last = meanwhile.iter().rposition(is_it)?;
            let is_client = |event: &&Event| matches!(event.what, What::Client(_));
            let first = last - meanwhile[..last].iter().rev().take_while(is_client).count();
            meanwhile[first..].iter().position(is_it).map(|after| first + after)
        });
        found.map(|after| place + 1 + after)
    }
}
