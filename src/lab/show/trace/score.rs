//! A trace as a score: which thread waits, what lies in the buffers, and which events of two servers belong beside each other.

use super::words::{Buffer, Part};
use crate::lab::results::trace::{Event, Fill, On, Recording, Remark, Remarkable, Traced, Verb, What};
use std::collections::{BTreeSet, HashMap};
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

    /// The most that lies in a buffer.
    fn most_bytes(&self) -> u64 {
        let all = self.fills.iter().flatten().flat_map(|fill| [fill.received, fill.unsent, fill.unread]);
        all.flatten().max().unwrap_or(0)
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

/// Which lanes a part has at most.
#[derive(Debug)]
pub(in crate::lab::show) struct Lanes {
    /// Threads that have a lane wherever they wait or something happens in them.
    threads: Vec<usize>,
    /// Threads that have no lane: they wait in a call from the first event to the last.
    pub(in crate::lab::show) waiting: usize,
    /// Threads that have no lane although something happens in them: there are too many.
    pub(in crate::lab::show) left_out: usize,
    /// The most that lay in a buffer.
    pub(in crate::lab::show) most_bytes: u64,
}

/// A thread that waits all the time has a lane of its own where there are no more than so many.
const FEW_THREADS: usize = 4;

/// And no more than so many threads have one.
const MOST_THREADS: usize = 12;

/// And no more than so many buffers.
const MOST_BUFFERS: usize = 12;

/// From the clients down to the server.
const KINDS: [Buffer; 3] = [Buffer::Unread, Buffer::Unsent, Buffer::Received];

impl Lanes {
    /// Of these events of a recording.
    pub(in crate::lab::show) fn of(before: &State, events: &Range<usize>) -> Lanes {
        let recording = before.recording;
        let mut state = before.clone();
        let mut most_bytes = state.most_bytes();
        let mut busy = vec![false; recording.tasks.len()];
        for event in &recording.events[events.clone()] {
            state.go_on();
            most_bytes = state.most_bytes().max(most_bytes);
            if let Some(busy) = event.task().and_then(|task| busy.get_mut(task)) {
                *busy = true;
            }
        }
        let waits = |&task: &usize| matches!(before.threads[task], Thread::Waits(_)) && !busy[task];
        let waiting = (0..busy.len()).filter(waits).count();
        let runs = busy.iter().filter(|&&busy| busy).count();
        let shows_waiting = runs + waiting <= FEW_THREADS;
        let shown = |task: &usize| busy[*task] || (shows_waiting && waits(task));
        Lanes {
            threads: (0..busy.len()).filter(shown).take(MOST_THREADS).collect(),
            waiting: if shows_waiting { 0 } else { waiting },
            left_out: runs.saturating_sub(MOST_THREADS),
            most_bytes,
        }
    }

    /// Those of a line: the ones that are not empty in it. A line without an event has none.
    pub(in crate::lab::show) fn in_line(&self, before: &State, events: Range<usize>) -> Vec<Lane> {
        let recording = before.recording;
        let events = events.start.max(before.next)..events.end.max(before.next);
        if events.is_empty() {
            return Vec::new();
        }
        let mut state = before.clone();
        while state.next < events.start {
            state.go_on();
        }
        let (mut buffers, mut threads) = (BTreeSet::new(), BTreeSet::new());
        let (mut has_clients, mut has_queue) = (false, state.queue > 0);
        let mut look = |state: &State| {
            for client in 0..recording.clients.len() {
                let filled = |kind: &&Buffer| state.bytes(client, **kind).is_some_and(|bytes| bytes > 0);
                buffers.extend(KINDS.iter().filter(filled).map(|kind| (*kind, client)));
            }
            let waits = |&&task: &&usize| matches!(state.threads.get(task), Some(Thread::Waits(_)));
            threads.extend(self.threads.iter().filter(waits));
        };
        look(&state);
        for _ in events.clone() {
            state.go_on();
            look(&state);
        }
        for event in &recording.events[events] {
            has_clients |= matches!(event.what, What::Client(_));
            has_queue |= event.accept_queue.is_some_and(|queue| queue > 0);
            threads.extend(event.task().filter(|task| self.threads.contains(task)));
        }
        let clients = has_clients.then_some(Lane::Clients);
        let buffers = buffers.into_iter().take(MOST_BUFFERS).map(|(kind, client)| Lane::Buffer(kind, client));
        let queue = has_queue.then_some(Lane::Queue);
        clients.into_iter().chain(buffers).chain(queue).chain(threads.into_iter().map(Lane::Thread)).collect()
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

impl Recording {
    /// The event at which a reader sees what a remark says. A remark on a wait is at its beginning, and what lies unread meanwhile may come later.
    pub(in crate::lab::show) fn shows_at(&self, remark: &Remark) -> usize {
        use Remarkable::{BusyWithAnother, UnacceptedWhileWaiting, UnreadWhileWaiting};
        let lies = |state: &State| match (remark.what, remark.client) {
            (UnreadWhileWaiting | BusyWithAnother, Some(client)) => {
                state.bytes(client, Buffer::Received) == Some(remark.count)
            }
            (UnacceptedWhileWaiting | BusyWithAnother, None) => u64::from(state.queue) == remark.count,
            _ => true,
        };
        let mut state = State::before(self, remark.event);
        let mut events = remark.event..self.events.len();
        let shows = events.find(|_| {
            state.go_on();
            lies(&state)
        });
        shows.unwrap_or(remark.event)
    }
}

/// What stands at one place of the score: an event of each server, or of one of them.
pub(in crate::lab::show) type Column = [Option<usize>; 2];

/// Events of one server, one after the other.
pub(in crate::lab::show) fn alone(events: Range<usize>) -> Vec<Column> {
    events.map(|event| [Some(event), None]).collect()
}

/// Events of two servers beside each other: those that are alike in one column, as many as can be.
fn beside(servers: [&Recording; 2], ranges: [Range<usize>; 2]) -> Vec<Column> {
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
#[derive(Debug, Clone, PartialEq)]
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
            What::Begins(call) => Key::Begins(family(&call.name), call.on.as_ref()),
            What::Call(call) => {
                let result = if call.errno.is_some() { -1 } else { call.result.unwrap_or(0) };
                // Some bytes are like other bytes, but not like the end of a stream or an error.
                Key::Call(family(&call.name), call.on.as_ref(), result.cmp(&0))
            }
            What::Signal { name, .. } => Key::Signal(name),
            What::Started { .. } => Key::Started,
            What::Ended { .. } => Key::Ended,
        }
    }
}

/// Calls that do the same have one name.
fn family(name: &str) -> &str {
    match name {
        "accept4" => "accept",
        "read" | "readv" | "recv" | "recvmsg" => "recvfrom",
        "write" | "writev" | "send" | "sendmsg" => "sendto",
        "epoll_pwait" | "epoll_pwait2" => "epoll_wait",
        "pselect6" => "select",
        "ppoll" => "poll",
        other => other,
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

/// How an event differs from those of the other server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::lab::show) enum Unlike {
    /// The other server makes the same call, with another result.
    Differs,
    /// The other server does nothing like it.
    Only,
}

impl Unlike {
    /// Its sign.
    pub(in crate::lab::show) fn sign(self) -> &'static str {
        match self {
            Unlike::Differs => "≠",
            Unlike::Only => "◆",
        }
    }
}

impl Traced {
    /// The columns of a part.
    pub(in crate::lab::show) fn columns(&self, part: Part) -> Vec<Column> {
        match self.servers.as_slice() {
            [one, other] => beside([one, other], [one.events_of(part), other.events_of(part)]),
            [one] => alone(one.events_of(part)),
            _ => Vec::new(),
        }
    }

    /// How the events in these columns differ that are not like those of the other server: of each server, by event.
    pub(in crate::lab::show) fn unlike(&self, columns: &[Column]) -> [HashMap<usize, Unlike>; 2] {
        let mut unlike = [HashMap::new(), HashMap::new()];
        for column in columns {
            let event = |side: usize| self.servers.get(side)?.events.get(column[side]?);
            let pair = event(0).zip(event(1));
            let is_same_call = pair.is_some_and(|(one, other)| Key::of(one) == Key::of(other));
            let how = if is_same_call { Unlike::Differs } else { Unlike::Only };
            for (side, unlike) in unlike.iter_mut().enumerate() {
                if let (Some(true), Some(index)) = (event(side).map(|event| event.only_here), column[side]) {
                    unlike.insert(index, how);
                }
            }
        }
        unlike
    }
}

/// A piece of the score.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::lab::show) enum Piece {
    /// What is drawn.
    Column(Column),
    /// What is left out.
    Gap {
        /// So many events of each server.
        events: [usize; 2],
        /// They are the events before it, so many of them, so many more times. `None` if they are others.
        same: Option<(usize, usize)>,
    },
}

/// Events that repeat are looked for with up to so many of them.
const LONGEST_PERIOD: usize = 12;

/// What repeats at least so often is left out but for the first time and the last.
const MANY_TIMES: usize = 4;

/// The columns, without those that repeat the ones before them again and again. Those that `stay` are never left out.
pub(in crate::lab::show) fn folded(
    servers: &[&Recording],
    columns: &[Column],
    stay: impl Fn(&Column) -> bool,
) -> Vec<Piece> {
    type Kind<'a> = Option<(Option<usize>, Key<'a>)>;
    let kind = |column: &Column| -> [Kind; 2] {
        [0, 1].map(|side| {
            let event = servers.get(side)?.events.get(column[side]?)?;
            Some((event.task(), Key::of(event)))
        })
    };
    let kinds: Vec<[Kind; 2]> = columns.iter().map(kind).collect();
    let mut pieces = Vec::new();
    let mut at = 0;
    for part in columns.chunk_by(|one, next| !stay(one) && !stay(next)) {
        let end = at + part.len();
        while at < end {
            // How often the columns of a period from here on come one after the other.
            let times = |period: usize| {
                let again = kinds[at..end].iter().zip(kinds[at..end].iter().skip(period));
                again.take_while(|(before, after)| before == after).count() / period + 1
            };
            let periods = (1..=LONGEST_PERIOD).map(|period| (period, times(period)));
            let periods = periods.filter(|&(_, times)| times >= MANY_TIMES);
            // The one that leaves out most, and of those that leave out the same the shortest.
            let longest = periods.max_by_key(|&(period, times)| (period * times, std::cmp::Reverse(period)));
            let Some((period, times)) = longest else {
                pieces.push(Piece::Column(columns[at]));
                at += 1;
                continue;
            };
            let (inner, next) = (at + period..at + period * (times - 1), at + period * times);
            pieces.extend(columns[at..inner.start].iter().copied().map(Piece::Column));
            let count =
                |side: usize| columns[inner.clone()].iter().filter(|column| column[side].is_some()).count();
            pieces.push(Piece::Gap { events: [0, 1].map(count), same: Some((period, times - 2)) });
            pieces.extend(columns[inner.end..next].iter().copied().map(Piece::Column));
            at = next;
        }
    }
    pieces
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
            accepted: None,
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

    #[test]
    fn what_repeats_is_left_out_but_for_the_first_time_and_the_last() {
        let cycle = [("wait", 1), ("recv", 64), ("send", 64)];
        let calls: Vec<_> = [("bind", 0)].into_iter().chain(cycle.into_iter().cycle().take(30)).collect();
        let recording = of(&calls);
        let columns = alone(0..31);
        let pieces = folded(&[&recording], &columns, |_| false);
        let column = |at: usize| Piece::Column([Some(at), None]);
        let gap = Piece::Gap { events: [24, 0], same: Some((3, 8)) };
        let expected = [column(0), column(1), column(2), column(3), gap, column(28), column(29), column(30)];
        assert_eq!(pieces, expected);
        let pieces = folded(&[&recording], &columns, |column| column[0] == Some(15));
        assert!(pieces.contains(&column(15)), "{pieces:?}");
    }

    #[test]
    fn a_remark_on_a_wait_shows_where_what_it_says_has_come() {
        let mut recording = of(&[("recv", 1), ("recv", 1), ("recv", 1)]);
        recording.events[1].accept_queue = Some(1);
        recording.events[2].accept_queue = Some(3);
        let remark = |event, what, count| Remark { event, what, client: None, count };
        assert_eq!(recording.shows_at(&remark(0, Remarkable::BusyWithAnother, 3)), 2);
        assert_eq!(recording.shows_at(&remark(2, Remarkable::UnacceptedWhileWaiting, 3)), 2);
        assert_eq!(recording.shows_at(&remark(0, Remarkable::UnacceptedWhileWaiting, 9)), 0);
        assert_eq!(recording.shows_at(&remark(1, Remarkable::NeverSleeps, 9)), 1);
    }

    proptest! {
        #[test]
        fn each_event_is_drawn_or_counted_as_left_out(names in "[wrsc]{0,60}") {
            let what = |c| if c == 'c' { sends() } else { call(&format!("{c}"), 1) };
            let recording = recording(names.chars().map(|c| event(Some(0), what(c))).collect());
            let mut next = 0;
            for piece in folded(&[&recording], &alone(0..names.len()), |_| false) {
                match piece {
                    Piece::Column(column) => {
                        prop_assert_eq!(column, [Some(next), None]);
                        next += 1;
                    }
                    Piece::Gap { events, .. } => next += events[0],
                }
            }
            prop_assert_eq!(next, names.len());
        }

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
