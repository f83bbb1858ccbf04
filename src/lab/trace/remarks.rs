//! What a reader should look at: found in the events, and the differences of two servers.

use super::decode;
use crate::lab::results::check::Expect;
use crate::lab::results::trace::{
    Action, Answer, Call, Event, Fill, On, Recording, Remark, Remarkable, Verb, What,
};
use std::collections::{HashMap, HashSet};

/// A server that was woken as often as that for nothing has a fault.
const IN_VAIN: u64 = 20;

/// What is remarkable in a recording.
pub(super) fn of(recording: &Recording, expect: Expect) -> Vec<Remark> {
    let mut remarks = Vec::new();
    let steps = recording.events.iter().filter_map(|event| event.step).max().map_or(0, |last| last + 1);
    let mut state = State::default();
    let mut reported: HashSet<(Remarkable, Option<usize>)> = HashSet::new();
    for step in 0..steps {
        let of_step = recording.events.iter().enumerate().filter(|(_, event)| event.step == Some(step));
        let mut vain = HashMap::new();
        for (i, event) in of_step {
            remarks.extend(closed_unread(i, event, &state));
            state.see(i, event);
            if let What::Call(call) = &event.what
                && is_woken(call)
            {
                let (first, times) = vain.entry(call.task).or_insert((i, 0));
                *times += call.times;
                if is_work(recording.events.get(i + 1)) {
                    (*first, *times) = (i, 0);
                }
                if *times >= IN_VAIN && reported.insert((Remarkable::WokenInVain, None)) {
                    let client = call.ready.iter().find_map(|ready| match ready.on {
                        On::Client(client) => Some(client),
                        _ => None,
                    });
                    remarks.push(Remark {
                        event: *first,
                        what: Remarkable::WokenInVain,
                        client,
                        count: *times,
                    });
                }
            }
        }
        let at_the_end = state.remarks_of_waiting();
        remarks.extend(at_the_end.into_iter().filter(|remark| reported.insert((remark.what, remark.client))));
    }
    if expect != Expect::Ok {
        // What lies unread explains what is missing.
        let is_explained = |client| {
            [Remarkable::UnreadWhileWaiting, Remarkable::BusyWithAnother]
                .iter()
                .any(|what| reported.contains(&(*what, Some(client))))
        };
        let answers = recording.answers.iter();
        let answers = answers.filter(|answer| answer.is_wrong || !is_explained(answer.client));
        remarks.extend(answers.filter_map(|answer| of_answer(recording, answer)));
    }
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
}

impl State {
    fn see(&mut self, i: usize, event: &Event) {
        if !event.fills.is_empty() {
            self.fills.clone_from(&event.fills);
        }
        self.queue = event.accept_queue.unwrap_or(self.queue);
        match &event.what {
            What::Begins(call) => drop(self.waits.insert(call.task, (i, call.clone()))),
            What::Call(call) => {
                self.waits.remove(&call.task);
                if let Some(On::Client(client)) = call.on {
                    self.accepted.insert(client);
                }
            }
            What::Ended { task, .. } => drop(self.waits.remove(task)),
            _ => {}
        }
    }

    /// What lies unread while every thread waits.
    fn remarks_of_waiting(&self) -> Vec<Remark> {
        // The event to look at: a thread that waits for readiness, or any other.
        let mut waits: Vec<_> = self.waits.values().collect();
        waits.sort_by_key(|(i, call)| (!decode::is_readiness(&call.name), *i));
        let Some((event, call)) = waits.first() else { return Vec::new() };
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
            remarks.push(Remark { event: *event, what, client: Some(fill.client), count });
        }
        if self.queue > 0 {
            let what = if waits_for_readiness {
                Remarkable::UnacceptedWhileWaiting
            } else {
                Remarkable::BusyWithAnother
            };
            remarks.push(Remark { event: *event, what, client: None, count: self.queue.into() });
        }
        remarks
    }
}

/// A wait that has told of something.
fn is_woken(call: &Call) -> bool {
    decode::is_readiness(&call.name) && !call.ready.is_empty()
}

/// Whether a server that was woken does something about it: anything but to wait again.
fn is_work(next: Option<&Event>) -> bool {
    match next.map(|event| &event.what) {
        Some(What::Call(call) | What::Begins(call)) => !decode::is_readiness(&call.name),
        _ => false,
    }
}

/// A close with unread bytes: the kernel sends RST.
fn closed_unread(i: usize, event: &Event, state: &State) -> Option<Remark> {
    let What::Call(call) = &event.what else { return None };
    let Some(On::Client(client)) = call.on else { return None };
    let unread = state.fills.iter().find(|fill| fill.client == client)?.received?;
    let is_close = call.name == "close" && unread > 0;
    is_close.then_some(Remark {
        event: i,
        what: Remarkable::ClosedUnread,
        client: Some(client),
        count: unread,
    })
}

/// An answer that is not what was sent: where the client read the first wrong byte, or at the last that it did.
fn of_answer(recording: &Recording, answer: &Answer) -> Option<Remark> {
    let actions = recording.events.iter().enumerate().filter_map(|(i, event)| match &event.what {
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
    let counts = [Verb::Sends, Verb::Reads, Verb::ReadsEnd, Verb::IsReset];
    let (event, _) = actions.filter(|(_, action)| counts.contains(&action.verb)).last()?;
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
