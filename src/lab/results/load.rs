//! The schema `io-models/load`: what one generator found, or several together. `docs/schema/load.json` describes it.
//!
//! `load` writes it, `merge` reads and writes it, and the text is drawn from it. A merged report lacks what only one
//! generator can tell, and `null` stands for what the files that were merged did not tell.

mod read;
mod words;

pub(in crate::lab) use read::REMEDY;
pub(in crate::lab) use words::MOST_MISSED;

use crate::lab::env::Environment;
use crate::lab::gate::{Judged, Unit};
use crate::lab::load::Lost;
use crate::lab::load::crew::Opening;
use crate::lab::load::diagnosis::Diagnosis;
use crate::lab::load::engine::Ends;
use crate::lab::load::hostile::{HostileClients, Outcomes};
use crate::lab::load::knee::{Knee, Limit};
use crate::lab::load::limits::Ports;
use crate::lab::load::plan::{EngineKind, Expect, Payload, Sizes, Wait};
use crate::lab::load::processors::Processors;
use crate::lab::load::schedule::Arrivals;
use crate::lab::load::server::Server;
use crate::lab::load::shape::Row;
use crate::lab::units::latency;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::fmt;
use std::net::SocketAddr;

/// The name of the schema.
pub const SCHEMA: &str = "io-models/load";

/// Its version.
pub const VERSION: u32 = 3;

/// What one generator found, or several.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// [`SCHEMA`].
    pub schema: String,
    /// [`VERSION`].
    pub schema_version: u32,
    /// `null` for logs of other programs.
    pub mode: Option<Mode>,
    /// Interrupted before its end.
    pub partial: Option<bool>,
    /// Whether the rate that was offered was not reached; in several rows, at one of them.
    pub missed_rate: Option<bool>,
    /// What was asked for; `null` for logs of other programs.
    pub plan: Option<Plan>,
    /// The server; `null` as well when several had different ones.
    pub target: Option<SocketAddr>,
    /// Connections that sent requests.
    pub connections: Option<u64>,
    /// When the clock started, in seconds since 1970; of several the first.
    pub started_unix_s: Option<f64>,
    /// Length of what was measured; of all stages together. Of several generators, the time that any of them was on.
    pub seconds: f64,
    /// Whether several generators were on at the same time, so that their rates could be added; `null` for one.
    pub simultaneous: Option<bool>,
    /// `null` in a closed loop, which offers no rate; over several rows their mean.
    pub offered_per_s: Option<f64>,
    /// Answers per second.
    pub achieved_per_s: f64,
    /// A request that leaves more than this after its time is late.
    pub late_us: Option<u64>,
    /// How many of what.
    #[serde(flatten)]
    pub counts: Counts,
    /// Percentiles.
    pub latency_us: ByClock,
    /// Base64 of the compressed V2 encoding, as in interval logs; nanoseconds.
    pub histograms: Histograms,
    /// What only one generator can tell.
    #[serde(flatten)]
    pub alone: Option<Alone>,
    /// The gates, and what became of them.
    pub gates: Vec<Judged>,
    /// An earlier run, and its figures beside those of this one.
    pub baseline: Option<Beside>,
    /// The runs that were merged; empty in the report of one generator.
    pub merged_from: Vec<Part>,
}

/// The kind of loop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Requests had their times.
    Open,
    /// Each request waited for the answer to the one before.
    Closed,
}

/// How the load goes over time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Form {
    /// As many requests as the connections can.
    Closed,
    /// One rate.
    Rate,
    /// One rate after the other without a pause.
    Ramp,
    /// Each rate on its own.
    Sweep,
    /// A search for the highest rate that keeps a limit.
    Knee,
}

/// What was asked for: what must be the same in results that are added or compared.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// The kind of loop.
    pub mode: Mode,
    /// How the load goes over time.
    pub form: Form,
    /// The limit of a search for the knee.
    pub limit: Option<Limit>,
    /// Bytes per request.
    pub sizes: Sizes,
    /// What these bytes are.
    pub payload: Payload,
    /// What the server must answer.
    pub expect: Expect,
    /// Most requests under way on one connection.
    pub depth: usize,
    /// A connection is closed after so many requests, and another is opened.
    pub requests_per_conn: Option<u32>,
    /// Times between requests; `null` in a closed loop.
    pub arrivals: Option<Arrivals>,
    /// How the generator talks to the kernel.
    pub engine: EngineKind,
    /// How it waits.
    pub wait: Wait,
    /// Its threads.
    pub threads: usize,
    /// Connections that send requests.
    pub connections: usize,
    /// Connections that are silent.
    pub idle: usize,
    /// Badly behaved clients.
    pub hostile: HostileClients,
    /// Requests per second, of each rate; none in a closed loop and in a search for the knee.
    pub offered_per_s: Vec<f64>,
    /// Time under load before the measurement.
    pub warmup_s: f64,
    /// Time of each rate.
    pub time_s: f64,
    /// Significant digits of the histograms.
    pub digits: u8,
}

/// A setting that differs between two runs, as text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// Which.
    pub key: String,
    /// In this run.
    pub here: String,
    /// In the other run.
    pub there: String,
}

/// How many of what. `None` is not known: a log has only what was answered. What one file does not tell, their sum
/// does not tell either.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Counts {
    /// Requests that were due: `sent` and `unsent` together.
    pub due: Option<u64>,
    /// Requests that were sent.
    pub sent: Option<u64>,
    /// Requests that were not.
    pub unsent: Option<u64>,
    /// Requests that left more than `late_us` after their time.
    pub late: Option<u64>,
    /// Those of them for which a connection was free, so that the generator itself was slow.
    pub late_by_generator: Option<u64>,
    /// Measured requests that were answered while the clock ran; never more than `sent`. Of a log, all answers.
    pub answered: u64,
    /// Measured requests that were answered after that.
    pub answered_after: Option<u64>,
    /// Measured requests that were sent and have no answer.
    pub unanswered: Option<u64>,
    /// Measured requests without answer, sent or not: in the latencies they count with the time that they have waited at
    /// least.
    pub at_least: Option<u64>,
    /// All answers that came while the clock ran, also to requests of the warm-up: `achieved_per_s` is made of them.
    pub completed: u64,
    /// Latencies beyond an hour, which count as an hour.
    pub clamped: Option<u64>,
    /// Bytes that came back and were not those that had been sent.
    pub wrong_bytes: Option<u64>,
    /// Connections that were lost.
    pub lost_connections: Option<u64>,
    /// Connections that were opened while the clock ran, where they come and go.
    pub opened: Option<u64>,
    /// CPU time of the generator.
    pub generator_cpu_s: Option<f64>,
}

/// Percentiles of latencies, in microseconds. Each is `None` (`null` in JSON) when nothing was measured.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct LatencyUs {
    /// One of a hundred took at most that long.
    pub p1: Option<f64>,
    /// Half of the requests took at most that long.
    pub p50: Option<f64>,
    /// Nine of ten.
    pub p90: Option<f64>,
    /// 99 of 100.
    pub p99: Option<f64>,
    /// 999 of 1000.
    pub p99_9: Option<f64>,
    /// All.
    pub max: Option<f64>,
}

/// Latency by the clock that it is taken by, in microseconds.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ByClock {
    /// From the intended send. `null` in a closed loop, which intends nothing.
    pub response: Option<LatencyUs>,
    /// From the moment the request was given to the kernel.
    pub service: LatencyUs,
    /// From the intended send to the actual one, where a connection was free: the generator's own error.
    pub scheduling: Option<LatencyUs>,
    /// From connect(2) to the connection, where connections come and go.
    pub connect: Option<LatencyUs>,
}

/// The histograms as text.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Histograms {
    /// Response times; `null` in a closed loop.
    pub response: Option<String>,
    /// Service times.
    pub service: String,
    /// How long the requests without answer waited, which are in the others as well; `null` when a log of another
    /// program does not tell.
    pub unfinished: Option<String>,
    /// Times to connect, where connections come and go.
    pub connect: Option<String>,
}

/// What only one generator can tell.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Alone {
    /// Why a thread of the generator could not go on.
    pub failure: Option<String>,
    /// The seed of the bytes, and of random times and sizes.
    pub seed: u64,
    /// Why it sleeps although nobody asked for it.
    pub wait_why: Option<String>,
    /// How long it took to open the connections.
    pub open_s: f64,
    /// The requests before the load, one on each connection.
    pub opening: Opening,
    /// When the load was to begin, and with it the warm-up, in seconds since 1970; `null` when nobody said.
    pub start_at_unix_s: Option<f64>,
    /// By how much later it began; `null` as well when it was interrupted before.
    pub start_missed_s: Option<f64>,
    /// Why threads are not pinned, although they should be.
    pub unpinned: Option<String>,
    /// Why the kernel may end waits later than asked.
    pub coarse_timer: Option<String>,
    /// Requests answered on the connection with the fewest; `null` for several stages together.
    pub least_per_connection: Option<u64>,
    /// The most; `null` as well.
    pub most_per_connection: Option<u64>,
    /// Connections that waited for an answer for a whole slice of half a second.
    pub stalled_connections: usize,
    /// The longest such time.
    pub longest_stall_s: f64,
    /// Whether the answers account for all requests that were under way.
    pub littles_law: LittlesLaw,
    /// The connections that were lost.
    pub lost: Vec<Lost>,
    /// How the connections ended that were open at the end.
    pub ends: Ends,
    /// What is wrong with the server, from all lost connections together; the most telling first.
    pub diagnosis: Vec<Diagnosis>,
    /// Connections that were refused while the clock ran, and tried again.
    pub refused: u64,
    /// How often there was no local port for one, and it was tried again.
    pub without_port: u64,
    /// The local ports, where connections come and go.
    pub ports: Option<Ports>,
    /// What the server cost, with `--pid`.
    pub server: Option<Server>,
    /// CPU time over elapsed time: 1 for a thread that spins.
    pub generator_cpu_share: f64,
    /// Share of the time in which its busiest thread had something to do.
    pub generator_busy_share: f64,
    /// Share of the time in which its threads were ready to run and other programs had the processors; `null` where
    /// the kernel does not tell.
    pub generator_kept_waiting_share: Option<f64>,
    /// Whether the rate may be its limit, and not the server's.
    pub generator_was_the_limit: bool,
    /// Answers over CPU time.
    pub requests_per_generator_cpu_s: f64,
    /// The processors that there were.
    pub processors: Processors,
    /// One for each rate, where there are several.
    pub rows: Vec<Row>,
    /// What a search for the knee has shown.
    pub knee: Option<Knee>,
    /// What became of the badly behaved clients.
    pub hostile: Option<Outcomes>,
    /// Where it was measured.
    pub environment: Environment,
}

/// Little's law: the mean number of requests under way is the rate of the answers times their mean latency. Requests
/// that are never answered are in the one and not in the other.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct LittlesLaw {
    /// Mean over time.
    pub under_way: f64,
    /// What the answers make of it.
    pub rate_times_latency: f64,
    /// Whether they are the same.
    pub holds: bool,
}

/// One generator's run in a merged report.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Part {
    /// Where it was read from.
    pub file: String,
    /// What it was read from.
    pub format: Format,
    /// When its clock started, in seconds since 1970; `None` when a log of another program does not tell.
    pub started_unix_s: Option<f64>,
    /// How long it was on.
    pub seconds: f64,
    /// Connections; `None` when it is not known, as everything here.
    pub connections: Option<u64>,
    /// `None` in a closed loop as well.
    pub offered_per_s: Option<f64>,
    /// Answers a second.
    pub achieved_per_s: f64,
    /// Answers while the clock ran, to whatever request; of a log, all answers.
    pub answered: u64,
    /// 99 of 100 answers took at most that long: response time in an open loop. `None` when nothing was measured.
    pub p99_us: Option<f64>,
    /// Connections lost; a log does not tell.
    pub lost_connections: Option<u64>,
    /// What became of the first of them.
    pub first_lost: Option<String>,
    /// A checksum of the histograms, by which a run that is given twice is found.
    pub fingerprint: String,
}

/// What a run was read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// A report.
    Json,
    /// An interval log.
    Hlog,
}

/// An earlier run beside this one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Beside {
    /// The file that it was read from.
    pub file: String,
    /// When its clock started, in seconds since 1970.
    pub started_unix_s: Option<f64>,
    /// What differs between the two environments: the machine, its settings, the program.
    pub environment: Vec<Difference>,
    /// Each figure of both.
    pub figures: Vec<Compared>,
}

/// A figure of two runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Compared {
    /// The row that it is of; `null` for the whole run.
    pub row: Option<String>,
    /// Its name, as in a gate.
    pub figure: String,
    /// Its unit.
    pub unit: Unit,
    /// In the baseline.
    pub old: Option<f64>,
    /// In this run.
    pub new: Option<f64>,
    /// The new one divided by the old one; `null` when one of them is not known, or the old one is 0.
    pub ratio: Option<f64>,
}

impl Report {
    /// Whether it was interrupted before its end.
    #[must_use]
    pub fn is_partial(&self) -> bool {
        self.partial == Some(true)
    }

    /// The latency that users feel, or else the one that there is.
    #[must_use]
    pub fn latency(&self) -> &LatencyUs {
        self.latency_us.response.as_ref().unwrap_or(&self.latency_us.service)
    }

    /// Connections that are silent.
    pub(in crate::lab) fn idle(&self) -> u64 {
        self.plan.as_ref().map_or(0, |plan| plan.idle as u64)
    }
}

impl Plan {
    /// The settings that differ in another plan, `except` those.
    #[must_use]
    pub fn differences(&self, other: &Plan, except: &[&str]) -> Vec<Difference> {
        differences(self, other, except)
    }
}

/// Of an environment: what is another in each run, and says nothing of the machine.
pub(in crate::lab) const DIFFERS_ALWAYS: [&str; 3] = ["started", "started_unix_s", "command"];

/// The fields in which two structs differ, `except` those. A field that one of them does not have is none there.
pub(in crate::lab) fn differences<T: Serialize>(here: &T, there: &T, except: &[&str]) -> Vec<Difference> {
    let (here, there) = (fields(here), fields(there));
    let only_there = there.keys().filter(|key| !here.contains_key(*key));
    let keys = here.keys().chain(only_there).filter(|key| !except.contains(&key.as_str()));
    let text =
        |fields: &Map<String, Value>, key: &str| fields.get(key).map_or_else(|| shown(&Value::Null), shown);
    keys.filter(|key| here.get(*key) != there.get(*key))
        .map(|key| Difference { key: key.clone(), here: text(&here, key), there: text(&there, key) })
        .collect()
}

fn fields(of: &impl Serialize) -> Map<String, Value> {
    match serde_json::to_value(of) {
        Ok(Value::Object(fields)) => fields,
        _ => Map::new(),
    }
}

/// For people: `depth is 2 here and was 1 there`.
impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Difference { key, here, there } = self;
        write!(f, "{key} is {here} here and was {there} there")
    }
}

fn shown(setting: &Value) -> String {
    match setting {
        Value::Null => "none".to_owned(),
        Value::String(word) => word.clone(),
        other => other.to_string(),
    }
}

/// As in a plan: `open`.
impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Mode::Open => "open",
            Mode::Closed => "closed",
        })
    }
}

impl LatencyUs {
    /// Of a histogram in nanoseconds.
    #[must_use]
    pub fn of(histogram: &hdrhistogram::Histogram<u64>) -> LatencyUs {
        if histogram.is_empty() {
            return LatencyUs::default();
        }
        let at = |quantile| Some(histogram.value_at_quantile(quantile) as f64 / 1e3);
        LatencyUs { p1: at(0.01), p50: at(0.5), p90: at(0.9), p99: at(0.99), p99_9: at(0.999), max: at(1.0) }
    }
}

/// For people.
impl fmt::Display for LatencyUs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let LatencyUs { p50, p90, p99, p99_9, max, .. } = *self;
        let [p50, p90, p99, p99_9, max] = [p50, p90, p99, p99_9, max].map(latency);
        write!(f, "p50 {p50}, p90 {p90}, p99 {p99}, p99.9 {p99_9}, max {max}")
    }
}
