//! A trace as a score: which thread waits, what lies in the buffers, and which events of two servers belong beside each other.

use super::words::{Buffer, Part};
use crate::lab::results::trace::{Event, Fill, On, Recording, Traced, Verb, What};
use std::ops::Range;

/// Beyond so many pairs of events, those of two servers are put beside each other by their order alone.
const MOST_PAIRS: usize = 1 << 20;

/// What a thread does after an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::lab::show) enum Thread {
    /// It was not there yet.
    Absent,
    /// It runs.
    Runs,
    /// It waits in the call that began at that event.
    Waits(usize),
    /// It has ended.
    Ended,
}

/// How things are after an event.
#[derive(Debug, Clone)]
pub(in crate::lab::show) struct State<'a> {
    recording: &'a Recording,
    /// The next event to happen.
    next: usize,
    /// What each thread does.
    pub(in crate::lab::show) threads: Vec<Thread>,
    /// What lies in the buffers of each client.
    fills: Vec<Option<Fill>>,
    /// How many connections wait in the accept queue.
    pub(in crate::lab::show) queue: u32,
}

impl<'a> State<'a> {
    /// Before anything has happened.
    pub(in crate::lab::show) fn new(recording: &'a Recording) -> State<'a> {
        State {
            recording,
            next: 0,
            threads: vec![Thread::Absent; recording.tasks.len()],
            fills: vec![None; recording.clients.len()],
            queue: 0,
        }
    }

    /// After all events before that one.
    pub(in crate::lab::show) fn before(recording: &'a Recording, event: usize) -> State<'a> {
        let mut state = State::new(recording);
        while state.next < event {
            state.go_on();
        }
        state
    }

    /// Let the next event happen.
    pub(in crate::lab::show) fn go_on(&mut self) {
        let Some(Event { what, fills, accept_queue, .. }) = self.recording.events.get(self.next) else {
            return;
        };
        let (task, does) = match what {
            What::Client(_) => (None, Thread::Runs),
            What::Begins(call) => (Some(call.task), Thread::Waits(self.next)),
            What::Call(call) => (Some(call.task), Thread::Runs),
            What::Started { task } => (Some(*task), Thread::Runs),
            What::Ended { task, .. } => (Some(*task), Thread::Ended),
            // A signal does not end a call: the call itself tells that it has returned.
            What::Signal { .. } => (None, Thread::Runs),
        };
        if let Some(thread) = task.and_then(|task| self.threads.get_mut(task)) {
            *thread = does;
        }
        if !fills.is_empty() {
            self.fills.fill(None);
            for fill in fills {
                if let Some(slot) = self.fills.get_mut(fill.client) {
                    *slot = Some(fill.clone());
                }
            }
        }
        self.queue = accept_queue.unwrap_or(self.queue);
        self.next += 1;
    }

    /// How many bytes lie in a buffer of a client. `None` if that is not known, or it is not connected.
    pub(in crate::lab::show) fn bytes(&self, client: usize, buffer: Buffer) -> Option<u64> {
        let fill = self.fills.get(client)?.as_ref()?;
        match buffer {
            Buffer::Received => fill.received,
            Buffer::Unsent => fill.unsent,
            Buffer::Unread => fill.unread,
        }
    }
}

/// A line of the score.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::lab::show) enum Lane {
    /// What the clients do.
    Clients,
    /// A buffer of the connection of a client.
    Buffer(Buffer, usize),
    /// The queue of the listener.
    Queue,
    /// A thread.
    Thread(usize),
}

/// The lanes of some events.
#[derive(Debug)]
pub(in crate::lab::show) struct Lanes {
    /// Those that are not empty, from the clients down to the threads.
    pub(in crate::lab::show) all: Vec<Lane>,
    /// Threads that have no lane: they wait in a call from the first event to the last.
    pub(in crate::lab::show) waiting: usize,
    /// Threads that have no lane although something happens in them: there are too many.
    pub(in crate::lab::show) left_out: usize,
    /// The most that lay in a buffer.
    pub(in crate::lab::show) most_bytes: u64,
}

/// A thread that waits all the time has a lane of its own where there are no more than so many.
const FEW_THREADS: usize = 4;

/// And no more than so many threads, and as many buffers, have one.
const MOST_THREADS: usize = 12;

impl Lanes {
    /// Of these events of a recording.
    pub(in crate::lab::show) fn of(before: &State, events: &Range<usize>) -> Lanes {
        let recording = before.recording;
        let (clients, tasks) = (recording.clients.len(), recording.tasks.len());
        let kinds = [Buffer::Unread, Buffer::Unsent, Buffer::Received];
        let mut filled = vec![false; clients * kinds.len()];
        let (mut queued, mut most_bytes) = (false, 0);
        let mut look = |state: &State| {
            for (at, filled) in filled.iter_mut().enumerate() {
                let bytes = state.bytes(at % clients, kinds[at / clients]).unwrap_or(0);
                *filled |= bytes > 0;
                most_bytes = bytes.max(most_bytes);
            }
            queued |= state.queue > 0;
        };
        let mut state = before.clone();
        look(&state);
        let mut busy = vec![false; tasks];
        for event in &recording.events[events.clone()] {
            state.go_on();
            look(&state);
            if let Some(busy) = event.task().and_then(|task| busy.get_mut(task)) {
                *busy = true;
            }
        }
        let buffers = filled.iter().enumerate().filter(|&(_, &is)| is);
        let buffers =
            buffers.map(|(at, _)| Lane::Buffer(kinds[at / clients], at % clients)).take(MOST_THREADS);
        let waits = |task: &usize| matches!(before.threads[*task], Thread::Waits(_)) && !busy[*task];
        let waiting: Vec<usize> = (0..tasks).filter(waits).collect();
        let runs = (0..tasks).filter(|&task| busy[task]).count();
        let shows_waiting = runs + waiting.len() <= FEW_THREADS;
        let shown = |task: &usize| busy[*task] || (shows_waiting && waiting.contains(task));
        let threads = (0..tasks).filter(shown).take(MOST_THREADS).map(Lane::Thread);
        let queue = queued.then_some(Lane::Queue);
        Lanes {
            all: [Lane::Clients].into_iter().chain(buffers).chain(queue).chain(threads).collect(),
            waiting: if shows_waiting { 0 } else { waiting.len() },
            left_out: runs.saturating_sub(MOST_THREADS),
            most_bytes,
        }
    }
}

impl Event {
    /// The thread that it is of.
    pub(in crate::lab::show) fn task(&self) -> Option<usize> {
        match &self.what {
            What::Client(_) => None,
            What::Begins(call) | What::Call(call) => Some(call.task),
            What::Signal { task, .. } | What::Started { task } | What::Ended { task, .. } => Some(*task),
        }
    }
}

impl Traced {
    /// The parts of a trace, in their order.
    pub(in crate::lab::show) fn parts(&self) -> impl Iterator<Item = Part> {
        let steps = (0..self.script.len()).map(Part::Step);
        [Part::Start].into_iter().chain(steps).chain([Part::End])
    }
}

impl Recording {
    /// The events of a part.
    pub(in crate::lab::show) fn events_of(&self, part: Part) -> Range<usize> {
        let all = self.events.len();
        let first = self.events.iter().position(|event| event.step.is_some()).unwrap_or(all);
        let end = self.events.iter().rposition(|event| event.step.is_some()).map_or(all, |last| last + 1);
        match part {
            Part::Start => 0..first,
            Part::End => end..all,
            Part::Step(step) => {
                let steps = &self.events[first..end];
                let from = steps.partition_point(|event| event.step < Some(step));
                let to = steps.partition_point(|event| event.step <= Some(step));
                first + from..first + to
            }
        }
    }
}

/// What stands at one place of the score: an event of each server, or of one of them.
pub(in crate::lab::show) type Column = [Option<usize>; 2];

/// Events of one server, one after the other.
pub(in crate::lab::show) fn alone(events: Range<usize>) -> Vec<Column> {
    events.map(|event| [Some(event), None]).collect()
}

/// Events of two servers beside each other: those that are alike in one column, as many as can be.
pub(in crate::lab::show) fn beside(servers: [&Recording; 2], ranges: [Range<usize>; 2]) -> Vec<Column> {
    // What the clients do of their own accord comes in the same order for both servers, so it divides the events of each.
    let divided = [0, 1].map(|side| divide(servers[side], ranges[side].clone()));
    let stretches = divided[0].len().max(divided[1].len());
    let mut columns = Vec::new();
    for stretch in 0..stretches {
        let at = |side: usize| divided[side].get(stretch).cloned().unwrap_or(0..0);
        align(servers, [at(0), at(1)], &mut columns);
    }
    columns
}

/// Divides events before each one with which a client starts something.
fn divide(server: &Recording, range: Range<usize>) -> Vec<Range<usize>> {
    let is_start = |&index: &usize| match &server.events[index].what {
        What::Client(action) => !matches!(action.verb, Verb::Reads | Verb::ReadsEnd | Verb::IsReset),
        _ => false,
    };
    let starts: Vec<usize> = range.clone().filter(is_start).collect();
    let from = [range.start].into_iter().chain(starts.iter().copied());
    let to = starts.iter().copied().chain([range.end]);
    from.zip(to).map(|(from, to)| from..to).collect()
}

/// What must be the same of two events that are alike.
#[derive(Debug, PartialEq)]
enum Key<'a> {
    Client(usize, Verb),
    Begins(&'a str, Option<&'a On>),
    Call(&'a str, Option<&'a On>, std::cmp::Ordering),
    Signal(&'a str),
    Started,
    Ended,
}

impl<'a> Key<'a> {
    fn of(event: &'a Event) -> Key<'a> {
        match &event.what {
            What::Client(action) => Key::Client(action.client, action.verb),
            What::Begins(call) => Key::Begins(&call.name, call.on.as_ref()),
            What::Call(call) => {
                let result = if call.errno.is_some() { -1 } else { call.result.unwrap_or(0) };
                // Some bytes are like other bytes, but not like the end of a stream or an error.
                Key::Call(&call.name, call.on.as_ref(), result.cmp(&0))
            }
            What::Signal { name, .. } => Key::Signal(name),
            What::Started { .. } => Key::Started,
            What::Ended { .. } => Key::Ended,
        }
    }
}

/// The longest common subsequence. What is alike in neither stands beside each other by its order.
fn align(servers: [&Recording; 2], ranges: [Range<usize>; 2], columns: &mut Vec<Column>) {
    let [first, second] = ranges;
    let keys = |side: usize, range: &Range<usize>| -> Vec<Key> {
        servers[side].events[range.clone()].iter().map(Key::of).collect()
    };
    let (a, b) = (keys(0, &first), keys(1, &second));
    let width = b.len() + 1;
    let mut pairs = Vec::new();
    if (a.len() + 1).saturating_mul(width) <= MOST_PAIRS {
        // How many are alike at most from there on.
        let mut longest = vec![0u32; (a.len() + 1) * width];
        for i in (0..a.len()).rev() {
            for j in (0..b.len()).rev() {
                longest[i * width + j] = if a[i] == b[j] {
                    longest[(i + 1) * width + j + 1] + 1
                } else {
                    longest[(i + 1) * width + j].max(longest[i * width + j + 1])
                };
            }
        }
        let (mut i, mut j) = (0, 0);
        while i < a.len() && j < b.len() {
            if a[i] == b[j] {
                pairs.push((i, j));
                (i, j) = (i + 1, j + 1);
            } else if longest[(i + 1) * width + j] >= longest[i * width + j + 1] {
                i += 1;
            } else {
                j += 1;
            }
        }
    }
    pairs.push((a.len(), b.len()));
    let (mut i, mut j) = (0, 0);
    for (to_i, to_j) in pairs {
        while i < to_i || j < to_j {
            columns.push([(i < to_i).then_some(first.start + i), (j < to_j).then_some(second.start + j)]);
            (i, j) = ((i + 1).min(to_i), (j + 1).min(to_j));
        }
        if to_i < a.len() {
            columns.push([Some(first.start + to_i), Some(second.start + to_j)]);
            (i, j) = (to_i + 1, to_j + 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::SystemCalls;
    use crate::lab::results::trace::{Action, Call};
    use proptest::prelude::*;

    fn event(step: Option<usize>, what: What) -> Event {
        Event { at_us: 0.0, step, what, fills: Vec::new(), accept_queue: None, only_here: false }
    }

    fn call(name: &str, result: i64) -> What {
        let (name, arguments) = (name.to_owned(), String::new());
        let (ready, result) = (Vec::new(), Some(result));
        What::Call(Call {
            task: 0,
            name,
            on: None,
            arguments,
            result,
            errno: None,
            took_us: None,
            ready,
            woken_by: None,
            times: 1,
            fact: None,
        })
    }

    fn sends() -> What {
        What::Client(Action { client: 0, verb: Verb::Sends, bytes: Some(64) })
    }

    fn recording(events: Vec<Event>) -> Recording {
        Recording {
            name: String::new(),
            server: String::new(),
            tasks: Vec::new(),
            clients: vec!["A".to_owned()],
            events,
            remarks: Vec::new(),
            answers: Vec::new(),
            calls: SystemCalls { total: 0, by_name: serde_json::Map::new() },
            left_out: 0,
            notes: Vec::new(),
        }
    }

    fn of(calls: &[(&str, i64)]) -> Recording {
        recording(calls.iter().map(|&(name, result)| event(Some(0), call(name, result))).collect())
    }

    #[test]
    fn what_is_alike_stands_in_one_column_and_what_is_not_beside_nothing() {
        let level = of(&[("wait", 1), ("recv", 64), ("send", 64), ("wait", 1)]);
        let edge = of(&[("wait", 1), ("recv", 32), ("recv", 32), ("recv", -1), ("send", 64), ("wait", 1)]);
        let columns = beside([&level, &edge], [0..4, 0..6]);
        let some = |a, b| [Some(a), Some(b)];
        let expected = [some(0, 0), some(1, 1), [None, Some(2)], [None, Some(3)], some(2, 4), some(3, 5)];
        assert_eq!(columns, expected);
    }

    #[test]
    fn what_a_client_starts_stands_in_one_column_whatever_comes_before_it() {
        let events = |n: usize| {
            let calls = (0..n).map(|_| event(Some(0), call("poll", 0)));
            recording(calls.chain([event(Some(0), sends()), event(Some(0), call("recv", 64))]).collect())
        };
        let (few, many) = (events(1), events(3));
        let columns = beside([&few, &many], [0..3, 0..5]);
        assert!(
            columns.contains(&[Some(1), Some(3)]) && columns.contains(&[Some(2), Some(4)]),
            "{columns:?}"
        );
    }

    #[test]
    fn the_parts_have_all_events() {
        let steps = [None, None, Some(0), Some(0), Some(2), None];
        let all = recording(steps.iter().map(|&step| event(step, sends())).collect());
        let parts = [Part::Start, Part::Step(0), Part::Step(1), Part::Step(2), Part::End];
        assert_eq!(parts.map(|part| all.events_of(part)), [0..2, 2..4, 4..4, 4..5, 5..6]);
        let start = recording(vec![event(None, sends())]);
        assert_eq!(
            [Part::Start, Part::Step(0), Part::End].map(|part| start.events_of(part)),
            [0..1, 1..1, 1..1]
        );
    }

    proptest! {
        #[test]
        fn each_event_stands_in_one_column_and_in_its_order(a in "[wrsc]{0,30}", b in "[wrsc]{0,30}") {
            let of = |names: &str| {
                let what = |c| if c == 'c' { sends() } else { call(&format!("{c}"), 1) };
                recording(names.chars().map(|c| event(Some(0), what(c))).collect())
            };
            let columns = beside([&of(&a), &of(&b)], [0..a.len(), 0..b.len()]);
            for (side, length) in [a.len(), b.len()].into_iter().enumerate() {
                let events: Vec<usize> = columns.iter().filter_map(|column| column[side]).collect();
                prop_assert_eq!(events, (0..length).collect::<Vec<_>>());
            }
            prop_assert!(columns.iter().all(|column| column.iter().any(Option::is_some)));
        }
    }
}
