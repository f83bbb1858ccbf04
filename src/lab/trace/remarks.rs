//! What a reader should look at: found in the events, and the differences of two servers.

use super::decode;
use super::facts::SHORT_SEND;
use crate::lab::results::check::Expect;
use crate::lab::results::trace::{
    Action, Answer, Call, Event, Fill, On, Recording, Remark, Remarkable, Verb, What,
};
use std::collections::{HashMap, HashSet};

/// A server that was woken as often as that for nothing has a fault.
const IN_VAIN: u64 = 20;

/// What is remarkable in a recording. `awake` is the first step in which the server did not fall asleep, if there is one.
pub(super) fn of(recording: &Recording, expect: Expect, awake: Option<usize>) -> Vec<Remark> {
    let mut remarks = Vec::new();
    let steps = recording.events.iter().filter_map(|event| event.step).max().map_or(0, |last| last + 1);
    let mut state = State::default();
    let mut reported: HashSet<(Remarkable, Option<usize>)> = HashSet::new();
    for step in 0..steps {
        let of_step = recording.events.iter().enumerate().filter(|(_, event)| event.step == Some(step));
        state.vain = None;
        for (i, event) in of_step {
            remarks.extend(closed_unread(i, event, &state));
            state.see(i, event);
            if let Some(remark) = state.woken_in_vain() {
                // It goes on, and so does the count.
                match remarks.iter_mut().find(|known: &&mut Remark| known.what == remark.what) {
                    Some(known) if known.event == remark.event => *known = remark,
                    Some(_) => {}
                    None => remarks.push(remark),
                }
            }
        }
        if awake == Some(step) {
            let event = state.last;
            remarks.push(Remark { event, what: Remarkable::NeverSleeps, client: None, count: 1 });
        }
        let at_the_end = state.remarks_of_waiting(recording, step);
        remarks.extend(at_the_end.into_iter().filter(|remark| reported.insert((remark.what, remark.client))));
    }
    // What lies unread, or was never accepted, explains what is missing.
    let is_explained = |client: usize| {
        let unread = [Remarkable::UnreadWhileWaiting, Remarkable::BusyWithAnother];
        unread.iter().any(|what| reported.contains(&(*what, Some(client))))
            || !state.accepted.contains(&client)
                && reported.contains(&(Remarkable::UnacceptedWhileWaiting, None))
    };
    let answers = recording.answers.iter();
    // With `ok` nobody knows how many answers there should be.
    let is_told = |answer: &Answer| answer.is_wrong || expect != Expect::Ok && !is_explained(answer.client);
    let answers = answers.filter(|answer| is_told(answer));
    remarks.extend(answers.filter_map(|answer| of_answer(recording, answer)));
    remarks.sort_by_key(|remark| remark.event);
    remarks
}

/// What the server and its clients are at.
#[derive(Default)]
struct State {
    fills: Vec<Fill>,
    queue: u32,
    /// The call in which each thread waits: the event, and whether it is one that waits for readiness.
    waits: HashMap<usize, (usize, Call)>,
    /// Clients that were accepted.
    accepted: HashSet<usize>,
    /// The last event.
    last: usize,
    /// The first wake-up since anything was done, what it told of, and how many there were.
    vain: Option<(usize, Option<usize>, u64)>,
}

impl State {
    fn see(&mut self, i: usize, event: &Event) {
        if !event.fills.is_empty() {
            self.fills.clone_from(&event.fills);
        }
        self.queue = event.accept_queue.unwrap_or(self.queue);
        self.last = i;
        self.note_wake_up(i, event);
        match &event.what {
            What::Begins(call) => drop(self.waits.insert(call.task, (i, call.clone()))),
            What::Call(call) => {
                self.waits.remove(&call.task);
                self.accepted.extend(call.accepted);
                if let Some(On::Client(client)) = call.on {
                    self.accepted.insert(client);
                }
            }
            What::Ended { task, .. } => drop(self.waits.remove(task)),
            _ => {}
        }
    }

    /// Count wake-ups about which nothing is done: a call that fails, or that only waits again, does nothing.
    fn note_wake_up(&mut self, i: usize, event: &Event) {
        match &event.what {
            What::Call(call) if is_woken(call) => {
                let client = call.ready.iter().find_map(|ready| match ready.on {
                    On::Client(client) => Some(client),
                    _ => None,
                });
                let (_, _, times) = self.vain.get_or_insert((i, client, 0));
                *times += call.times;
            }
            What::Call(call) if call.errno.is_some() || decode::is_readiness(&call.name) => {}
            What::Begins(_) => {}
            _ => self.vain = None,
        }
    }

    fn woken_in_vain(&self) -> Option<Remark> {
        let (event, client, count) = self.vain.filter(|(_, _, times)| *times >= IN_VAIN)?;
        Some(Remark { event, what: Remarkable::WokenInVain, client, count })
    }

    /// What lies unread while every thread waits.
    fn remarks_of_waiting(&self, recording: &Recording, step: usize) -> Vec<Remark> {
        // The event to look at: a thread that waits for readiness, or any other.
        let mut waits: Vec<_> = self.waits.values().collect();
        waits.sort_by_key(|(i, call)| (!decode::is_readiness(&call.name), *i));
        let Some((event, call)) = waits.first() else { return Vec::new() };
        // A wait that began earlier goes on.
        let event = if recording.events[*event].step == Some(step) { *event } else { self.last };
        let waits_for_readiness = decode::is_readiness(&call.name);
        let mut remarks = Vec::new();
        let waiting = self.fills.iter().filter(|fill| fill.received.is_some_and(|bytes| bytes > 0));
        for fill in waiting {
            if !self.accepted.contains(&fill.client) {
                continue;
            }
            let what = if waits_for_readiness {
                Remarkable::UnreadWhileWaiting
            } else {
                Remarkable::BusyWithAnother
            };
            let count = fill.received.unwrap_or(0);
            remarks.push(Remark { event, what, client: Some(fill.client), count });
        }
        if self.queue > 0 {
            let what = if waits_for_readiness {
                Remarkable::UnacceptedWhileWaiting
            } else {
                Remarkable::BusyWithAnother
            };
            remarks.push(Remark { event, what, client: None, count: self.queue.into() });
        }
        remarks
    }
}

/// A wait that has told of something.
fn is_woken(call: &Call) -> bool {
    decode::is_readiness(&call.name) && !call.ready.is_empty()
}

/// A close with unread bytes: the kernel sends RST. While another process has the socket open, nothing happens.
fn closed_unread(i: usize, event: &Event, state: &State) -> Option<Remark> {
    let What::Call(call) = &event.what else { return None };
    let Some(On::Client(client)) = call.on else { return None };
    let unread = state.fills.iter().find(|fill| fill.client == client)?.received?;
    let is_open = |fill: &Fill| fill.client == client && fill.received.is_some();
    let is_gone = !event.fills.is_empty() && !event.fills.iter().any(is_open);
    let is_close = call.name == "close" && unread > 0;
    (is_close && is_gone).then_some(Remark {
        event: i,
        what: Remarkable::ClosedUnread,
        client: Some(client),
        count: unread,
    })
}

/// An answer that is not what was sent: where the client read the first wrong byte, or at the last that it did.
fn of_answer(recording: &Recording, answer: &Answer) -> Option<Remark> {
    let mut actions = recording.events.iter().enumerate().filter_map(|(i, event)| match &event.what {
        What::Client(action) if action.client == answer.client => Some((i, action)),
        _ => None,
    });
    let mut read = 0;
    let is_wrong_here = |(_, action): &(usize, &Action)| {
        read += action.bytes.filter(|_| action.verb == Verb::Reads).unwrap_or(0);
        read > answer.right
    };
    if answer.is_wrong {
        let (event, _) = actions.clone().find(is_wrong_here)?;
        let what = Remarkable::AnswerWrong;
        return Some(Remark { event, what, client: Some(answer.client), count: answer.right });
    }
    // A send that was cut short may be the reason.
    let is_short = |event: &Event| matches!(&event.what, What::Call(call) if call.on == Some(On::Client(answer.client)) && call.fact.as_deref() == Some(SHORT_SEND));
    let counts = [Verb::Sends, Verb::Reads, Verb::ReadsEnd, Verb::IsReset];
    let last = actions.rfind(|(_, action)| counts.contains(&action.verb)).map(|(i, _)| i);
    let event = recording.events.iter().position(is_short).or(last)?;
    let missing = answer.sent.checked_sub(answer.right).filter(|missing| *missing > 0)?;
    Some(Remark { event, what: Remarkable::AnswerMissing, client: Some(answer.client), count: missing })
}

/// Mark what only one of two servers does, step by step: what is in the longest common row of calls is the same.
pub(super) fn mark_differences(one: &mut Recording, other: &mut Recording) {
    let steps =
        [&*one, &*other].into_iter().flat_map(|server| &server.events).filter_map(|event| event.step).max();
    for step in 0..steps.map_or(0, |last| last + 1) {
        let of = |recording: &Recording| {
            let is_its = |(_, event): &(usize, &Event)| event.step == Some(step);
            let all = recording.events.iter().enumerate().filter(is_its);
            all.filter_map(|(i, event)| Some((i, signature(event)?))).collect::<Vec<_>>()
        };
        let (ours, theirs) = (of(one), of(other));
        let common = longest_common(&ours, &theirs);
        let (in_ours, in_theirs): (HashSet<_>, HashSet<_>) = common.into_iter().unzip();
        let mark = |recording: &mut Recording, all: &[(usize, String)], common: &HashSet<usize>| {
            for (i, _) in all.iter().filter(|(i, _)| !common.contains(i)) {
                recording.events[*i].only_here = true;
            }
        };
        mark(one, &ours, &in_ours);
        mark(other, &theirs, &in_theirs);
    }
}

/// What makes two events alike: what is called, on what, and how it went. Descriptors, threads and times differ from server to server.
fn signature(event: &Event) -> Option<String> {
    match &event.what {
        What::Call(call) => {
            let result = match (&call.errno, call.result) {
                (Some(errno), _) => errno.clone(),
                // What it counts matters for what moves bytes and tells events.
                (None, Some(n)) if moves_bytes(&call.name) || decode::is_readiness(&call.name) => {
                    n.to_string()
                }
                _ => String::new(),
            };
            let ready: Vec<_> = call.ready.iter().map(|ready| format!("{:?}", ready.on)).collect();
            Some(format!("{} {:?} {result} {}", family(&call.name), call.on, ready.join(" ")))
        }
        What::Client(action) => Some(format!("{:?} {} {:?}", action.verb, action.client, action.bytes)),
        What::Signal { name, .. } => Some(name.clone()),
        What::Started { .. } => Some("started".to_owned()),
        What::Ended { how, .. } => Some(format!("ended {how}")),
        What::Begins(_) => None,
    }
}

fn moves_bytes(name: &str) -> bool {
    matches!(
        name,
        "recvfrom"
            | "recvmsg"
            | "read"
            | "readv"
            | "sendto"
            | "sendmsg"
            | "write"
            | "writev"
            | "splice"
            | "sendfile"
    )
}

/// Calls that do the same under several names.
fn family(name: &str) -> &str {
    match name {
        "accept4" => "accept",
        "read" | "readv" | "recvmsg" => "recvfrom",
        "write" | "writev" | "sendmsg" => "sendto",
        "epoll_pwait" | "epoll_pwait2" => "epoll_wait",
        "pselect6" => "select",
        "ppoll" => "poll",
        other => other,
    }
}

/// The longest common row of two lists, as pairs of places. A step has a few hundred events at most.
fn longest_common(ours: &[(usize, String)], theirs: &[(usize, String)]) -> Vec<(usize, usize)> {
    let mut lengths = vec![vec![0_u32; theirs.len() + 1]; ours.len() + 1];
    for i in (0..ours.len()).rev() {
        for j in (0..theirs.len()).rev() {
            lengths[i][j] = match ours[i].1 == theirs[j].1 {
                true => lengths[i + 1][j + 1] + 1,
                false => lengths[i + 1][j].max(lengths[i][j + 1]),
            };
        }
    }
    let (mut i, mut j, mut common) = (0, 0, Vec::new());
    while i < ours.len() && j < theirs.len() {
        if ours[i].1 == theirs[j].1 {
            common.push((ours[i].0, theirs[j].0));
            (i, j) = (i + 1, j + 1);
        } else if lengths[i + 1][j] >= lengths[i][j + 1] {
            i += 1;
        } else {
            j += 1;
        }
    }
    common
}
