//! A trace in the Trace Event Format, which Perfetto (<https://ui.perfetto.dev>) and chrome://tracing open.
//!
//! A call is a complete event (`X`) on the track of its thread, an action of a client an instant (`i`) on the track of the client, what lies
//! in a buffer a counter (`C`), and what woke a wait a flow (`s` to `f`). Times are in microseconds. Perfetto binds a flow to the event that
//! began last on its track, so the start of a flow follows its instant and its end lies within the call.

use super::BUFFERS;
use super::score::State;
use super::words;
use crate::lab::json_line;
use crate::lab::lang::Lang;
use crate::lab::results::trace::{Call, Event, Recording, Traced, What};
use serde_json::{Value, json};
use std::collections::{HashMap, HashSet};

/// What is said in data is English.
const LANG: Lang = Lang::En;

impl Traced {
    /// In the Trace Event Format.
    #[must_use]
    pub fn trace_events(&self) -> String {
        let mut tracks = Tracks::default();
        let mut all = Vec::new();
        for (recording, name) in self.servers.iter().zip(self.names(LANG)) {
            let mut events = Writer::new(recording, &name, &mut tracks);
            events.write();
            all.append(&mut events.written);
        }
        // Metadata first, then by time. Events of the same time keep their order.
        all.sort_by(|a, b| a.0.total_cmp(&b.0));
        let events: Vec<Value> = all.into_iter().map(|(_, event)| event).collect();
        let document = json!({
            "traceEvents": events,
            "displayTimeUnit": "ns",
            "otherData": { "program": "io-models trace", "system": self.environment.system() },
        });
        json_line(&document)
    }
}

/// The numbers of processes and threads in the document, which must differ between the servers, and those of flows.
#[derive(Debug, Default)]
struct Tracks {
    taken: HashSet<i64>,
    flows: u64,
}

impl Tracks {
    /// That number, or the next one that is free.
    fn number(&mut self, wanted: i32) -> i64 {
        let mut free = i64::from(wanted);
        while !self.taken.insert(free) {
            free += 1;
        }
        free
    }
}

/// Writes the events of one server.
struct Writer<'a> {
    recording: &'a Recording,
    tracks: &'a mut Tracks,
    /// The process and thread of each task.
    tasks: Vec<(i64, i64)>,
    /// The process that stands for the clients, and a thread of it for each.
    clients: Vec<(i64, i64)>,
    /// With the time of each.
    written: Vec<(f64, Value)>,
}

impl<'a> Writer<'a> {
    fn new(recording: &'a Recording, server: &str, tracks: &'a mut Tracks) -> Writer<'a> {
        let mut processes: HashMap<i32, i64> = HashMap::new();
        let mut written = Vec::new();
        let mut name = |what: &str, process: i64, thread: i64, name: &str| {
            let event =
                json!({ "ph": "M", "name": what, "pid": process, "tid": thread, "args": { "name": name } });
            written.push((f64::NEG_INFINITY, event));
        };
        let mut tasks = Vec::new();
        for task in &recording.tasks {
            let process = *processes.entry(task.process).or_insert_with(|| {
                let process = tracks.number(task.process);
                let first = task.name.split(',').next().unwrap_or_default();
                name("process_name", process, process, &format!("{server}: {first}"));
                process
            });
            // The first thread of a process has the number of the process.
            let thread = if task.thread == task.process { process } else { tracks.number(task.thread) };
            name("thread_name", process, thread, &task.name);
            tasks.push((process, thread));
        }
        let process = tracks.number(1);
        name("process_name", process, process, &format!("{server}: clients"));
        let mut client = |index| {
            let thread = tracks.number(1);
            name(
                "thread_name",
                process,
                thread,
                &format!("client {}", words::client(LANG, recording, index)),
            );
            (process, thread)
        };
        let clients = (0..recording.clients.len()).map(&mut client).collect();
        Writer { recording, tracks, tasks, clients, written }
    }

    fn write(&mut self) {
        let recording = self.recording;
        let mut state = State::new(recording);
        // Where the call of each thread began that has not returned.
        let mut begun: Vec<Option<usize>> = vec![None; recording.tasks.len()];
        for (index, event) in recording.events.iter().enumerate() {
            let before = state.clone();
            state.go_on();
            match &event.what {
                What::Client(action) => {
                    let name = words::action(LANG, recording, action);
                    self.instant(event, self.clients[action.client], &name);
                }
                What::Begins(call) => begun[call.task] = Some(index),
                What::Call(call) => {
                    let began = begun[call.task].take().map(|began| recording.events[began].at_us);
                    self.call(event, call, began);
                }
                What::Signal { task, name } => self.instant(event, self.tasks[*task], name),
                What::Started { task } => self.instant(event, self.tasks[*task], "starts"),
                What::Ended { task, how } => self.instant(event, self.tasks[*task], &format!("ends: {how}")),
            }
            self.counters(event, &before, &state);
        }
        // What never returned lasts until the end.
        let end = recording.events.last().map_or(0.0, |last| last.at_us);
        for event in begun.into_iter().flatten().map(|began| &recording.events[began]) {
            if let What::Begins(call) = &event.what {
                self.complete(call, event.at_us, end);
            }
        }
    }

    /// Something without a length, on the track of a thread.
    fn instant(&mut self, event: &Event, (process, thread): (i64, i64), name: &str) {
        let at = event.at_us;
        self.written.push((
            at,
            json!({ "ph": "i", "s": "t", "name": name, "ts": at, "pid": process, "tid": thread }),
        ));
    }

    /// A call that returned, and what woke it.
    fn call(&mut self, event: &Event, call: &Call, began: Option<f64>) {
        let from = began.unwrap_or(event.at_us - call.took_us.unwrap_or(0.0)).min(event.at_us);
        self.complete(call, from, event.at_us);
        let Some(cause) = call.woken_by.and_then(|cause| self.recording.events.get(cause)) else { return };
        let source = match (&cause.what, cause.task()) {
            (What::Client(action), _) => self.clients[action.client],
            (_, Some(task)) => self.tasks[task],
            _ => return,
        };
        self.tracks.flows += 1;
        let id = self.tracks.flows;
        let mut end = |ph: &str, at: f64, (process, thread): (i64, i64)| {
            let mut event = json!({ "ph": ph, "cat": "wakes", "name": "wakes", "id": id, "ts": at, "pid": process, "tid": thread });
            if ph == "f" {
                event["bp"] = "e".into();
            }
            self.written.push((at, event));
        };
        end("s", cause.at_us, source);
        end("f", cause.at_us.clamp(from, event.at_us), self.tasks[call.task]);
    }

    /// A call from its beginning to its end.
    fn complete(&mut self, call: &Call, from: f64, to: f64) {
        let (process, thread) = self.tasks[call.task];
        let ready: Vec<String> =
            call.ready.iter().map(|ready| words::ready(LANG, self.recording, ready)).collect();
        let mut arguments = json!({ "call": words::call_in_full(LANG, call) });
        if !ready.is_empty() {
            arguments["ready"] = ready.into();
        }
        if call.times > 1 {
            arguments["times"] = call.times.into();
        }
        if let Some(fact) = &call.fact {
            arguments["fact"] = fact.as_str().into();
        }
        let event = json!({
            "ph": "X", "cat": "call", "name": words::call_name(LANG, self.recording, call), "ts": from, "dur": to - from,
            "pid": process, "tid": thread, "args": arguments,
        });
        self.written.push((from, event));
    }

    /// What lies in the buffers, where it changed.
    fn counters(&mut self, event: &Event, before: &State, after: &State) {
        let Some(&(process, _)) = self.clients.first() else { return };
        let mut counter = |name: String, n: u64| {
            let event = json!({ "ph": "C", "name": name, "ts": event.at_us, "pid": process, "tid": process, "args": { "n": n } });
            self.written.push((event["ts"].as_f64().unwrap_or_default(), event));
        };
        for client in 0..self.recording.clients.len() {
            for buffer in BUFFERS {
                let (from, to) = (before.bytes(client, buffer), after.bytes(client, buffer));
                if let Some(bytes) = to.filter(|_| from != to) {
                    let name = words::client(LANG, self.recording, client);
                    counter(format!("{name}: {} (bytes)", words::buffer(LANG, buffer)), bytes);
                }
            }
        }
        if before.queue != after.queue {
            counter("accept queue (connections)".to_owned(), u64::from(after.queue));
        }
    }
}
