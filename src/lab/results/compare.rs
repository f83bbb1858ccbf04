//! The result of `io-models compare`: the schema `io-models/compare`.
//!
//! A *workload* is a named load, with one or more *points*: `idle` has one for each number of silent connections. All
//! *entrants* (models and foreign servers) take turns at a point; that is a *group*. Each entrant of a group is started
//! several times, and each *start* has several *slices*. Ratios are between slices of one start that were measured in one
//! *turn* together with a slice of the baseline.

use super::Head;
use super::load::{Difference, differences};
use crate::lab::env::Environment;
use crate::lab::gate;
use crate::lab::load::LatencyUs;
use crate::lab::load::plan::{EngineKind, Sizes};
use crate::lab::serve::Sharing;
use crate::lab::stats::{Estimate, Spread};
use crate::lab::visible::visible_json;
use crate::lab::{Status, SystemCalls};
use serde::de::value::SeqAccessDeserializer;
use serde::de::{self, IntoDeserializer, SeqAccess, Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::marker::PhantomData;

/// The name of the schema.
pub const SCHEMA: &str = "io-models/compare";

/// Its version.
pub const VERSION: u32 = 2;

/// The result.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// [`SCHEMA`].
    pub schema: String,
    /// [`VERSION`].
    pub schema_version: u32,
    /// Interrupted before its end.
    pub partial: bool,
    /// How long it took.
    pub seconds: f64,
    /// Where it was measured.
    pub environment: Environment,
    /// What was asked for: with the same plan it can be run again.
    pub plan: Plan,
    /// The servers, the baseline first.
    pub entrants: Vec<Entrant>,
    /// The points of all workloads, in the order in which they were measured.
    pub groups: Vec<Group>,
    /// What could not be measured here, a sentence each.
    pub not_known: Vec<String>,
    /// The gates, and what became of them.
    #[serde(default)]
    pub gates: Vec<gate::Judged>,
    /// An earlier result, and its ratios beside those of this one.
    #[serde(default)]
    pub earlier: Option<Earlier>,
}

impl Comparison {
    /// Read a document of `io-models compare --json`. Its text is made [visible](crate::lab::visible).
    ///
    /// # Errors
    ///
    /// When it is something else, of another version, or damaged.
    pub fn read(text: &str) -> Result<Comparison, String> {
        let value: serde_json::Value =
            serde_json::from_str(text).map_err(|why| format!("it is no JSON document: {why}"))?;
        let value = visible_json(value);
        let Ok(Head { schema, schema_version }) = Head::deserialize(&value) else {
            return Err(format!("it is no result: it has no schema and version, which should be {SCHEMA}"));
        };
        if schema != SCHEMA {
            return Err(format!("it is a result of {schema}, not of {SCHEMA}"));
        }
        if schema_version != VERSION {
            return Err(format!(
                "it is version {schema_version} of {SCHEMA}, and this program reads version {VERSION}: measure again"
            ));
        }
        Comparison::deserialize(value).map_err(|why| format!("it is damaged, or was edited: {why}"))
    }
}

/// What to compare, and how.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// Loads.
    pub workloads: Vec<Workload>,
    /// Names of models; the baseline is run in any case.
    pub models: Vec<String>,
    /// Foreign servers.
    pub servers: Vec<Server>,
    /// The model that the others are compared with.
    pub baseline: String,
    /// Workers of each model that has some, all on the processor of the server. Where a worker has one client at a time,
    /// there are as many as clients.
    pub workers: usize,
    /// How often each server is started afresh, at least.
    pub starts: usize,
    /// Slices of each start.
    pub slices: usize,
    /// Start again until no interval but that of p99 is wider than this share on either side.
    pub precision: Option<f64>,
    /// Of the bytes and of the order of turns.
    pub seed: u64,
    /// Processors of servers and generators; `None` when they are not pinned.
    pub pinning: Option<Pinning>,
    /// How the generator talks to the kernel.
    pub engine: EngineKind,
    /// With so few slices that intervals are wide: `--quick`.
    pub quick: bool,
}

/// Which processors servers and generators are pinned to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pinning {
    /// The servers'.
    pub server_cpu: usize,
    /// The generators'.
    pub generator_cpu: usize,
}

/// A named load, with one or more points: at most one of its numbers is a list.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Workload {
    /// As on the command line.
    pub name: String,
    /// One line.
    #[serde(default)]
    pub summary: String,
    /// Connections that send requests.
    pub connections: OneOrMore<usize>,
    /// Connections beside them that are silent.
    #[serde(default = "none_idle")]
    pub idle: OneOrMore<usize>,
    /// Bytes per request.
    #[serde(default = "small")]
    pub size: OneOrMore<u32>,
    /// Requests under way on one connection.
    #[serde(default = "one_by_one")]
    pub depth: OneOrMore<usize>,
    /// Close a connection after so many requests, and open another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests_per_connection: Option<OneOrMore<u32>>,
    /// Requests that are offered each second, in an open loop; without it the loop is closed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<OneOrMore<Rate>>,
    /// Length of a slice.
    #[serde(default = "short_slice")]
    pub slice_ms: u64,
}

fn none_idle() -> OneOrMore<usize> {
    OneOrMore::One(0)
}

fn small() -> OneOrMore<u32> {
    OneOrMore::One(SMALL)
}

fn one_by_one() -> OneOrMore<usize> {
    OneOrMore::One(1)
}

fn short_slice() -> u64 {
    SLICE_MS
}

/// Bytes per request, where a workload does not say otherwise.
pub const SMALL: u32 = 64;

/// Length of a slice, where a workload does not say otherwise.
pub const SLICE_MS: u64 = 20;

/// A number, or the points of an axis.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum OneOrMore<T> {
    /// The same at all points.
    One(T),
    /// A point each.
    More(Vec<T>),
}

impl<T: Copy> OneOrMore<T> {
    /// All of them.
    pub fn all(&self) -> &[T] {
        match self {
            OneOrMore::One(one) => std::slice::from_ref(one),
            OneOrMore::More(all) => all,
        }
    }
}

/// Not derived: that would say of a wrong number only that it matches no variant.
impl<'de, T: Deserialize<'de>> Deserialize<'de> for OneOrMore<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<OneOrMore<T>, D::Error> {
        from.deserialize_any(OneOrMoreVisitor(PhantomData))
    }
}

struct OneOrMoreVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for OneOrMoreVisitor<T> {
    type Value = OneOrMore<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number, or a list of numbers")
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<OneOrMore<T>, E> {
        T::deserialize(number.into_deserializer()).map(OneOrMore::One)
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<OneOrMore<T>, E> {
        T::deserialize(number.into_deserializer()).map(OneOrMore::One)
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<OneOrMore<T>, E> {
        T::deserialize(number.into_deserializer()).map(OneOrMore::One)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<OneOrMore<T>, E> {
        T::deserialize(text.into_deserializer()).map(OneOrMore::One)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<OneOrMore<T>, A::Error> {
        Vec::deserialize(SeqAccessDeserializer::new(list)).map(OneOrMore::More)
    }
}

/// A rate of an open loop: in TOML and JSON a number, or a share as `"50%"`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Rate {
    /// Requests a second.
    PerSecond(f64),
    /// A share of what the baseline answers in a closed loop with as many connections.
    OfBaseline(f64),
}

impl Serialize for Rate {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Rate::PerSecond(rate) => rate.serialize(to),
            Rate::OfBaseline(_) => to.collect_str(self),
        }
    }
}

impl<'de> Deserialize<'de> for Rate {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Rate, D::Error> {
        from.deserialize_any(RateVisitor)
    }
}

struct RateVisitor;

impl Visitor<'_> for RateVisitor {
    type Value = Rate;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("requests a second, such as 20000, or a share of the baseline's rate, such as \"50%\"")
    }

    fn visit_f64<E: de::Error>(self, rate: f64) -> Result<Rate, E> {
        let is_allowed = rate > 0.0 && rate.is_finite();
        is_allowed
            .then_some(Rate::PerSecond(rate))
            .ok_or_else(|| E::custom("a rate is more than 0 requests a second"))
    }

    fn visit_i64<E: de::Error>(self, rate: i64) -> Result<Rate, E> {
        self.visit_f64(rate as f64)
    }

    fn visit_u64<E: de::Error>(self, rate: u64) -> Result<Rate, E> {
        self.visit_f64(rate as f64)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Rate, E> {
        let percent = text.strip_suffix('%').and_then(|number| number.trim().parse::<f64>().ok());
        let percent = percent.ok_or_else(|| E::invalid_value(Unexpected::Str(text), &self))?;
        let is_allowed = percent > 0.0 && percent <= 1000.0;
        let sane = is_allowed.then_some(Rate::OfBaseline(percent / 100.0));
        sane.ok_or_else(|| E::custom("a share of a rate is above 0% and at most 1000%"))
    }
}

/// A share in percent, to a thousandth of one.
fn percent(share: f64) -> f64 {
    (share * 1e5).round() / 1e3
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Rate::PerSecond(rate) => write!(f, "{rate}"),
            Rate::OfBaseline(share) => write!(f, "{}%", percent(*share)),
        }
    }
}

/// A server that is no model of ours: in JSON `{"name", "command"}`, with `{port}` in the command, or
/// `{"name", "address", "pid"}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Server {
    /// What it is called in the result.
    pub name: String,
    /// How it is reached.
    #[serde(flatten)]
    pub reach: Reach,
}

impl Server {
    /// Read one as a command line has it: `NAME=COMMAND {port}`, or `NAME=ADDR:PORT[,pid=N]` for a server that runs already.
    ///
    /// # Errors
    ///
    /// What is wrong, and what to write instead.
    pub fn parse(text: &str) -> Result<Server, String> {
        let forms = "give NAME='COMMAND {port}', or NAME=ADDR:PORT[,pid=N] for a server that runs already";
        let (name, how) = text.split_once('=').ok_or_else(|| format!("{text:?} has no name: {forms}"))?;
        let is_allowed = |c: char| c.is_ascii_alphanumeric() || "-_.+".contains(c);
        if name.is_empty() || !name.chars().all(is_allowed) {
            return Err(format!("{name:?} is no name of letters, digits, `-`, `_`, `.` and `+`: {forms}"));
        }
        let reach = match how.contains("{port}") {
            true => Reach::Command { command: how.to_owned() },
            false => Reach::running(how).ok_or_else(|| {
                format!(
                    "{how:?} is neither an address nor a command with {{port}} for the port to listen on: {forms}"
                )
            })?,
        };
        Ok(Server { name: name.to_owned(), reach })
    }
}

/// How a foreign server is reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Reach {
    /// It is started by this command of sh(1), in which `{port}` stands for the port to listen on.
    Command {
        /// The command.
        command: String,
    },
    /// It runs already.
    Running {
        /// Where it listens.
        address: std::net::SocketAddr,
        /// Its process, if its cost is to be known.
        pid: Option<u32>,
    },
}

impl Reach {
    fn running(how: &str) -> Option<Reach> {
        let (address, pid) = match how.split_once(",pid=") {
            Some((address, pid)) => (address, Some(pid.parse().ok()?)),
            None => (how, None),
        };
        Some(Reach::Running { address: address.parse().ok()?, pid })
    }
}

/// A server of the comparison.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entrant {
    /// Its name.
    pub name: String,
    /// What it is, in a line.
    pub summary: String,
    /// A foreign server; otherwise a model of ours.
    pub foreign: bool,
}

/// The load of a point.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Load {
    /// Connections that send requests.
    pub active: usize,
    /// Connections that are silent.
    pub idle: usize,
    /// Bytes per request.
    pub size: u32,
    /// Requests under way on one connection.
    pub depth: usize,
    /// Close a connection after so many requests.
    pub requests_per_connection: Option<u32>,
    /// As it was asked for; `None` in a closed loop.
    pub rate: Option<Rate>,
    /// What that is here, requests a second; `None` in a closed loop, and before it is known.
    pub rate_per_s: Option<f64>,
}

impl Load {
    /// Connections in all.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.active.saturating_add(self.idle)
    }

    /// The sizes of requests, for a generator.
    #[must_use]
    pub fn sizes(&self) -> Sizes {
        Sizes::Fixed(self.size)
    }
}

/// A point of a workload, and what all entrants did there.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Group {
    /// The workload's name.
    pub workload: String,
    /// Which of its points, such as `1000` of `idle` or `50%` of `open`; `None` when it has only one.
    pub point: Option<String>,
    /// The load.
    pub load: Load,
    /// Length of a slice.
    pub slice_ms: u64,
    /// A load that no point of the workload asks for: the most that all entrants can take, because some of them cannot take
    /// more.
    pub common: bool,
    /// What else went on in the machine.
    pub machine: Machine,
    /// A row for each entrant, and one for the baseline against itself.
    pub rows: Vec<Row>,
}

impl Group {
    /// As in gates and headings: `ping`, `idle@1000`.
    #[must_use]
    pub fn id(&self) -> String {
        match &self.point {
            Some(point) => format!("{}@{point}", self.workload),
            None => self.workload.clone(),
        }
    }

    /// The row of the baseline, if it was measured.
    #[must_use]
    pub fn baseline(&self) -> Option<&Row> {
        self.rows.iter().find(|row| row.baseline)
    }

    /// The row of the baseline against itself.
    #[must_use]
    pub fn control(&self) -> Option<&Row> {
        self.rows.iter().find(|row| row.control)
    }
}

/// What else went on in the machine while a group was measured. What /proc does not tell is `None`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    /// How many processors other programs kept busy.
    pub foreign_cpus: Option<f64>,
    /// How many processors the hypervisor gave to others while we were ready to run.
    pub stolen_cpus: Option<f64>,
    /// How many processors were in software interrupts, which include most of TCP on loopback. Part of the time of processes,
    /// unless the kernel accounts interrupts apart.
    pub softirq_cpus: Option<f64>,
}

/// One entrant under the load of a group.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// The entrant's name.
    pub entrant: String,
    /// The row that ratios are taken to.
    pub baseline: bool,
    /// A second server of the baseline: A/A.
    pub control: bool,
    /// How it came about.
    pub status: Status,
    /// Why it was skipped or failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What its slices give.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub figures: Option<Figures>,
    /// What was measured.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub starts: Vec<Start>,
    /// Latencies of all slices in nanoseconds, response times in an open loop: base64 of the compressed V2 encoding of
    /// HdrHistogram.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub histogram: Option<String>,
}

/// One life of a server.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Start {
    /// In the order in which they were measured.
    pub slices: Vec<Slice>,
    /// Memory.
    pub memory: Memory,
    /// CPU time in user mode and in the kernel over all slices, in seconds; `None` when not known.
    pub user_s: Option<f64>,
    /// In the kernel.
    pub system_s: Option<f64>,
    /// Times that a thread of the server gave up the processor because it had nothing to do; `None` when not known.
    pub voluntary_switches: Option<u64>,
    /// Times that the kernel took it away.
    pub forced_switches: Option<u64>,
    /// Requests in the same time: of all slices, with warm-up and last answers.
    pub requests: u64,
    /// Bytes that came back.
    pub bytes: u64,
}

/// A short stretch of load.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Slice {
    /// Slices of one start with the same number were measured directly after each other, one of them of the baseline.
    pub turn: usize,
    /// Requests answered while it was measured.
    pub answered: u64,
    /// How long it was measured.
    pub seconds: f64,
    /// CPU time of the server per request, in microseconds, with warm-up and last answers.
    pub cpu_us: Option<f64>,
    /// Half of the latencies are below, in microseconds: response times in an open loop.
    pub p50_us: Option<f64>,
    /// 99 of 100 are below.
    pub p99_us: Option<f64>,
    /// Share of the time in which the generator had something to do.
    pub generator_busy: f64,
    /// CPU time of the generator over elapsed time.
    pub generator_cpu: f64,
    /// Requests answered on the active connection with the fewest.
    pub fewest: u64,
    /// It went on longer than asked, until its first answer.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub extended: bool,
    /// The rate was offered and not reached.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub missed: bool,
}

/// Memory of a server, in bytes: what its processes have written themselves (anonymous memory, `Pss_Anon` of smaps_rollup). A
/// page that n of them share counts as 1/n for each. Measured in the first two starts; `None` in the others, and where /proc does
/// not tell.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Memory {
    /// When it listens.
    pub listening: Option<u64>,
    /// When all clients are connected.
    pub connected: Option<u64>,
    /// After the last slice.
    pub after: Option<u64>,
    /// After the last slice, with its share of the program and the libraries (`Pss`). It depends on how many other processes
    /// run the same program.
    pub proportional: Option<u64>,
    /// What the kernel's memory grew by when all clients had connected, both ends of the connections together: slab, socket
    /// buffers, kernel stacks and page tables of the whole machine. `None` with too few connections to tell.
    pub kernel: Option<u64>,
}

/// What the slices of a row give.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Figures {
    /// How often it was started.
    pub starts: usize,
    /// Slices of all starts.
    pub slices: usize,
    /// Median and quartiles over slices.
    pub requests_per_s: Spread,
    /// CPU time of the server per request, in microseconds: median and quartiles over slices.
    pub cpu_us_per_request: Option<Spread>,
    /// Of all slices together; response times in an open loop.
    pub latency_us: LatencyUs,
    /// Requests/s to the baseline's. Less than 1 is slower. `None` in an open loop, which offers the same rate to all, and when
    /// a generator was the limit, of this row or of the baseline.
    pub rate: Option<Judged>,
    /// CPU time per request to the baseline's. Less than 1 is cheaper.
    pub cpu: Option<Judged>,
    /// In an open loop: the median latency to the baseline's. Less than 1 is faster.
    pub p50: Option<Judged>,
    /// In an open loop: the 99th percentile to the baseline's.
    pub p99: Option<Judged>,
    /// Why there is no ratio at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_judged: Option<String>,
    /// Why an interval is wider than the precision that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub imprecise: Option<String>,
    /// Share of the CPU time in user mode.
    pub user_share: Option<f64>,
    /// System calls, where they are counted: models of ours.
    pub syscalls_per_request: Option<SystemCalls<f64>>,
    /// Requests for each call that waits (poll, epoll_wait, io_uring_enter and so on).
    pub requests_per_wait: Option<f64>,
    /// Times that a thread gave up its processor because it had nothing to do, per request: each is a wake-up.
    pub voluntary_switches_per_request: Option<f64>,
    /// Times that the kernel took the processor away.
    pub forced_switches_per_request: Option<f64>,
    /// Median over the starts in which it was measured.
    pub memory: Memory,
    /// Memory of the server that each connection added, in bytes.
    pub memory_per_connection: Option<f64>,
    /// Of the kernel, both ends.
    pub kernel_memory_per_connection: Option<f64>,
    /// Bytes that were answered per second, median over slices.
    pub bytes_per_s: f64,
    /// Share of the time in which the generator had something to do; near 1 it is the limit of the rate.
    pub generator_busy_share: f64,
    /// CPU time of the generator over elapsed time. It is 1 where it busy-waits without being preempted.
    pub generator_cpu_share: f64,
    /// Slices in which a connection had no answer at all.
    pub starved_slices: usize,
    /// Slices of an open loop that missed their rate.
    pub missed_slices: usize,
    /// How the workers of a model shared the clients, in the last start.
    #[serde(flatten)]
    pub sharing: Sharing,
}

/// A ratio to the baseline, and what it shows.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Judged {
    /// The ratio and its interval.
    #[serde(flatten)]
    pub ratio: Estimate,
    /// What it shows. `None` of the baseline itself.
    pub verdict: Option<Verdict>,
}

/// What an interval shows: whether it contains 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// More requests/s, less CPU time, or a shorter latency.
    Better,
    /// Fewer requests/s, more CPU time, or a longer latency.
    Worse,
    /// The interval contains 1.
    NoDifferenceShown,
}

/// An earlier result of the same comparison.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Earlier {
    /// The file that it was read from.
    pub file: String,
    /// When it began, in seconds since 1970.
    pub started_unix_s: Option<f64>,
    /// What differs between the two environments: the machine, its settings, the program.
    pub environment: Vec<Difference>,
    /// What differs between the two plans and may: how much was measured, where, and how the foreign servers were started.
    pub plan: Vec<Difference>,
    /// Each ratio of both.
    pub figures: Vec<Compared>,
}

/// A ratio to the baseline model, in two results. The speed of the machine cancels in it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Compared {
    /// The point, such as `idle@1000`.
    pub point: String,
    /// The entrant's name.
    pub entrant: String,
    /// The ratio's name, as in a gate.
    pub figure: String,
    /// In the earlier result; `None` when it was not measured.
    pub old: Option<Estimate>,
    /// In this one.
    pub new: Option<Estimate>,
    /// The new one divided by the old one.
    pub times: Option<Estimate>,
    /// Whether the intervals of the two do not overlap; `None` when one of them is not known.
    pub changed: Option<bool>,
}

impl Plan {
    /// The settings that differ in another plan, if the two are not comparable: each that changes what the ratios are of. How
    /// often it is measured, with which seed, on which processors, and how a foreign server is reached, does not.
    #[must_use]
    pub fn conflicts(&self, other: &Plan) -> Vec<Difference> {
        let (here, there) = (self.what_is_compared(), other.what_is_compared());
        let mut conflicts = differences(&here, &there, &[]);
        for workload in &self.workloads {
            let same_name = other.workloads.iter().find(|other| other.name == workload.name);
            let differ =
                same_name.map(|other| differences(workload, other, &["summary"])).unwrap_or_default();
            conflicts.extend(differ.into_iter().map(|differ| Difference {
                key: format!("{} of the workload {}", differ.key, workload.name),
                ..differ
            }));
        }
        conflicts
    }

    /// The settings that differ in another plan and may.
    #[must_use]
    pub fn other_differences(&self, other: &Plan) -> Vec<Difference> {
        differences(self, other, &["workloads", "models", "baseline", "workers", "engine"])
    }

    fn what_is_compared(&self) -> WhatIsCompared<'_> {
        WhatIsCompared {
            workloads: sorted(self.workloads.iter().map(|workload| workload.name.as_str())),
            models: sorted(self.models.iter().map(String::as_str)),
            servers: sorted(self.servers.iter().map(|server| server.name.as_str())),
            baseline: &self.baseline,
            workers: self.workers,
            engine: self.engine,
        }
    }
}

/// The settings that two comparable plans have in common, without the numbers of the workloads.
#[derive(Serialize)]
struct WhatIsCompared<'a> {
    workloads: Vec<&'a str>,
    models: Vec<&'a str>,
    servers: Vec<&'a str>,
    baseline: &'a str,
    workers: usize,
    engine: EngineKind,
}

/// The order in which a command line names things does not matter.
fn sorted<'a>(names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut names: Vec<_> = names.collect();
    names.sort_unstable();
    names
}
