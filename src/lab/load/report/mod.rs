//! What a load found, as data and for people.

mod show;

pub(super) use show::CLOSED_LOOP;

use super::crew::{Opening, Order};
use super::diagnosis::Diagnosis;
use super::engine::Ends;
use super::hostile::Outcomes;
use super::knee::Knee;
use super::limits::Ports;
use super::plan::{EngineKind, Expect, Payload, Sizes, Wait};
use super::processors::Processors;
use super::record::Record;
use super::schedule::Arrivals;
use super::server::Server;
use super::shape::{Row, Shape};
use super::{BUSY_LIMIT, LatencyUs, Lost, shape};
use crate::lab::env::Environment;
use crate::lab::units::{count, of, rate, seconds};
use serde::Serialize;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, UNIX_EPOCH};

/// A mean number under way and what the latencies make of it may differ by this share: one connection of two hundred
/// without answers is seen.
const LITTLE_TOLERANCE: f64 = 0.005;

/// A generator that was kept from its processor for more than this share of the time has measured that as well.
const MOST_KEPT_WAITING: f64 = 0.02;

/// What a run of the generator found.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    schema: &'static str,
    schema_version: u32,
    /// `open`: requests had their times; `closed`: each waited for the answer to the one before.
    mode: &'static str,
    /// Interrupted before its time.
    partial: bool,
    /// Why a thread of the generator could not go on.
    failure: Option<String>,
    /// Whether the rate that was offered was not reached; in several rows, at one of them.
    missed_rate: bool,
    plan: PlanReport,
    target: SocketAddr,
    connections: usize,
    size_bytes: serde_json::Value,
    seed: u64,
    /// How the generator waits.
    wait: Wait,
    /// Why it sleeps although nobody asked for it.
    wait_why: Option<String>,
    /// When the clock started, in seconds since 1970.
    started_unix_s: f64,
    open_s: f64,
    /// The requests before the load, one on each connection.
    opening: Opening,
    /// Why threads are not pinned, although they should be.
    unpinned: Option<String>,
    /// Why the kernel may end waits later than asked.
    coarse_timer: Option<String>,
    /// Length of what was measured; of all stages together.
    seconds: f64,
    /// `null` in a closed loop, which offers no rate; over several rows their mean.
    offered_per_s: Option<f64>,
    achieved_per_s: f64,
    /// Requests that were due: `sent` and `unsent` together.
    due: u64,
    sent: u64,
    unsent: u64,
    /// Requests that left more than `late_us` after their time; those of them for which a connection was free, so that
    /// the generator itself was slow.
    late: u64,
    late_by_generator: u64,
    late_us: u64,
    /// Measured requests that were answered while the clock ran; never more than `sent`.
    answered: u64,
    /// Measured requests that were answered after that.
    answered_after: u64,
    /// Measured requests that were sent and have no answer.
    unanswered: u64,
    /// Measured requests without answer, sent or not: in `latency_us.response` they count with the time that they have
    /// waited at least.
    at_least: u64,
    /// All answers that came while the clock ran, also to requests of the warm-up: `achieved_per_s` is made of them.
    completed: u64,
    latency_us: ByClock,
    /// Latencies beyond an hour, which count as an hour.
    clamped: u64,
    /// Requests answered on the connection with the fewest and the most; `null` for several stages together.
    least_per_connection: Option<u64>,
    most_per_connection: Option<u64>,
    /// Connections that waited for an answer for a whole slice of half a second, and the longest such time.
    stalled_connections: usize,
    longest_stall_s: f64,
    littles_law: LittlesLaw,
    wrong_bytes: u64,
    lost_connections: usize,
    lost: Vec<Lost>,
    /// How the connections ended that were open at the end.
    ends: Ends,
    /// What is wrong with the server, from all lost connections together; the most telling first.
    diagnosis: Vec<Diagnosis>,
    /// Connections that were opened while the clock ran, where they come and go.
    opened: u64,
    /// Connections that were refused meanwhile, and tried again.
    refused: u64,
    /// How often there was no local port for one, and it was tried again.
    without_port: u64,
    ports: Option<Ports>,
    /// What the server cost, with `--pid`.
    server: Option<Server>,
    generator_cpu_s: f64,
    /// CPU time over elapsed time: 1 for a thread that spins.
    generator_cpu_share: f64,
    /// Share of the time in which its busiest thread had something to do.
    generator_busy_share: f64,
    /// Share of the time in which its threads were ready to run and other programs had the processors; `null` where
    /// the kernel does not tell.
    generator_kept_waiting_share: Option<f64>,
    generator_was_the_limit: bool,
    processors: Processors,
    /// Answers over CPU time.
    requests_per_generator_cpu_s: f64,
    /// One for each rate, where there are several.
    rows: Vec<Row>,
    knee: Option<Knee>,
    #[serde(rename = "company")]
    hostile: Option<Outcomes>,
    /// Base64 of the compressed V2 encoding, as in interval logs; nanoseconds.
    histograms: Histograms,
    environment: Environment,
}

/// What must be the same in results that are to be added.
#[derive(Debug, Clone, Serialize)]
struct PlanReport {
    mode: &'static str,
    sizes: Sizes,
    payload: Payload,
    expect: Expect,
    depth: usize,
    requests_per_conn: Option<u32>,
    arrivals: Option<Arrivals>,
    engine: EngineKind,
    wait: Wait,
    threads: usize,
    connections: usize,
    idle: usize,
    offered_per_s: Vec<f64>,
    warmup_s: f64,
    time_s: f64,
    digits: u8,
}

/// Latency by the clock that it is taken by, in microseconds.
#[derive(Debug, Clone, Serialize)]
struct ByClock {
    /// From the intended send. `null` in a closed loop, which intends nothing.
    response: Option<LatencyUs>,
    /// From the moment the request was given to the kernel.
    service: LatencyUs,
    /// From the intended send to the actual one, where a connection was free: the generator's own error.
    scheduling: Option<LatencyUs>,
    /// From connect(2) to the connection, where connections come and go.
    connect: Option<LatencyUs>,
}

#[derive(Debug, Clone, Serialize)]
struct Histograms {
    response: Option<String>,
    service: String,
    unfinished: String,
    connect: Option<String>,
}

/// Little's law: the mean number of requests under way is the rate of the answers times their mean latency. Requests
/// that are never answered are in the one and not in the other.
#[derive(Debug, Clone, Copy, Serialize)]
struct LittlesLaw {
    /// Mean over time.
    under_way: f64,
    /// What the answers make of it.
    rate_times_latency: f64,
    holds: bool,
}

/// What a run was asked for and what it gave: all that a report is made of.
#[derive(Debug)]
pub struct Found<'a> {
    /// What load was put on whom.
    pub order: &'a Order,
    /// Over time.
    pub shape: &'a Shape,
    /// The processors that there are for the generator.
    pub processors: Processors,
    /// Warm-up, and time of each stage.
    pub times: (Duration, Duration),
    /// How long it took to open the connections.
    pub open_time: Duration,
    /// What was asked before the load, and answered.
    pub opening: Opening,
    /// Why threads are not pinned, although they should be.
    pub unpinned: Option<String>,
    /// Why the kernel may end waits later than asked.
    pub coarse_timer: Option<String>,
    /// The ports that there were.
    pub ports: Ports,
    /// What it gave.
    pub result: shape::Result,
    /// How the connections ended.
    pub ends: Ends,
    /// What is wrong with the server.
    pub diagnosis: Vec<Diagnosis>,
    /// What it cost.
    pub server: Option<Server>,
    /// What became of the hostile clients.
    pub hostile: Option<Outcomes>,
    /// Where and when it was measured.
    pub environment: Environment,
}

impl PlanReport {
    fn of(order: &Order, shape: &Shape, (warmup, time): (Duration, Duration)) -> PlanReport {
        let plan = &order.plan;
        PlanReport {
            mode: if shape.is_open() { "open" } else { "closed" },
            sizes: plan.sizes.clone(),
            payload: plan.payload,
            expect: plan.expect,
            depth: plan.depth,
            requests_per_conn: plan.requests_per_conn,
            arrivals: shape.is_open().then_some(order.arrivals),
            engine: order.engine,
            wait: plan.wait,
            threads: order.threads,
            connections: plan.active,
            idle: plan.idle,
            offered_per_s: match shape {
                Shape::Closed | Shape::Knee(..) => Vec::new(),
                Shape::Rate(rate) => vec![*rate],
                Shape::Ramp(rates) | Shape::Sweep(rates) => rates.clone(),
            },
            warmup_s: warmup.as_secs_f64(),
            time_s: time.as_secs_f64(),
            digits: super::record::DIGITS,
        }
    }
}

impl Report {
    /// The report of a run.
    #[must_use]
    pub fn of(found: Found<'_>) -> Report {
        let Found {
            order,
            shape,
            processors,
            times,
            open_time,
            opening,
            unpinned,
            coarse_timer,
            ports,
            result,
            ends,
            diagnosis,
            server,
            hostile,
            environment,
        } = found;
        let shape::Result { rows, total, fewest_and_most, stalled, busiest, last, started, knee } = result;
        let plan = &order.plan;
        let counts = total.counts;
        // The threads work side by side; the stages of a search for the knee are not all in the total.
        let seconds = counts.elapsed_ns as f64 / 1e9 / order.threads as f64;
        let share = |ns: u64| if counts.elapsed_ns == 0 { 0.0 } else { ns as f64 / counts.elapsed_ns as f64 };
        let is_open = shape.is_open();
        // A generator that stood still at the end of a rate did not offer it for longer.
        let lasted = |row: &Row| row.seconds.min(times.1.as_secs_f64());
        let offered = rows.iter().filter_map(|row| Some(row.offered_per_s? * lasted(row))).sum::<f64>();
        let timed = rows.iter().map(lasted).sum::<f64>();
        let cpu_s = counts.cpu_ns as f64 / 1e9;
        let comes_and_goes = plan.requests_per_conn.is_some();
        let encoded = super::hlog::encoded;
        Report {
            schema: "io-models/load",
            schema_version: 2,
            mode: if is_open { "open" } else { "closed" },
            partial: last.partial || last.failure.is_some(),
            failure: last.failure,
            missed_rate: rows.iter().any(|row| row.missed) && !matches!(shape, Shape::Knee(..)),
            plan: PlanReport::of(order, shape, times),
            target: plan.target,
            connections: plan.active,
            size_bytes: match &plan.sizes {
                Sizes::Fixed(size) => (*size).into(),
                sizes => serde_json::to_value(sizes).unwrap_or_default(),
            },
            seed: plan.seed,
            wait: plan.wait,
            wait_why: processors.why_sleep.clone(),
            started_unix_s: started.duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64()),
            open_s: open_time.as_secs_f64(),
            opening,
            unpinned,
            coarse_timer,
            seconds,
            offered_per_s: match shape {
                Shape::Knee(..) => knee.as_ref().and_then(|knee| knee.rate_per_s),
                Shape::Closed => None,
                _ if timed > 0.0 => Some(offered / timed),
                _ => shape.highest(),
            },
            achieved_per_s: if seconds > 0.0 { counts.completed as f64 / seconds } else { 0.0 },
            due: counts.due(),
            sent: counts.sent,
            unsent: counts.unsent,
            late: counts.late,
            late_by_generator: counts.late_by_generator,
            late_us: super::engine::LATE_NS / 1000,
            answered: counts.answered,
            answered_after: counts.answered_after,
            unanswered: counts.unanswered,
            at_least: counts.at_least(),
            completed: counts.completed,
            latency_us: ByClock {
                response: is_open.then(|| LatencyUs::of(&total.response_of_all())),
                service: LatencyUs::of(&total.service),
                scheduling: (!total.scheduling.is_empty()).then(|| LatencyUs::of(&total.scheduling)),
                connect: comes_and_goes.then(|| LatencyUs::of(&total.connect)),
            },
            clamped: counts.clamped,
            least_per_connection: fewest_and_most.map(|(fewest, most)| fewest.min(most)),
            most_per_connection: fewest_and_most.map(|(_, most)| most),
            stalled_connections: stalled.0,
            longest_stall_s: f64::from(stalled.1) * super::engine::SLICE.as_secs_f64(),
            littles_law: LittlesLaw::of(&total, seconds),
            wrong_bytes: last.wrong_bytes,
            lost_connections: last.lost.len(),
            lost: last.lost,
            ends,
            diagnosis,
            opened: counts.opened,
            refused: counts.refused,
            without_port: counts.without_port,
            ports: comes_and_goes.then_some(ports),
            server,
            generator_cpu_s: cpu_s,
            generator_cpu_share: share(counts.cpu_ns),
            generator_busy_share: busiest,
            generator_kept_waiting_share: (counts.unwatched_ns == 0).then(|| share(counts.kept_waiting_ns)),
            generator_was_the_limit: busiest >= BUSY_LIMIT
                || (is_open && counts.late_by_generator * 100 > counts.due()),
            processors,
            requests_per_generator_cpu_s: if cpu_s > 0.0 { counts.completed as f64 / cpu_s } else { 0.0 },
            rows: if rows.len() > 1 || matches!(shape, Shape::Knee(..)) { rows } else { Vec::new() },
            knee,
            hostile,
            histograms: Histograms {
                response: is_open.then(|| encoded(&total.response_of_all())),
                service: encoded(&total.service),
                unfinished: encoded(&total.unfinished),
                connect: comes_and_goes.then(|| encoded(&total.connect)),
            },
            environment,
        }
    }

    /// Whether it was interrupted before its time.
    #[must_use]
    pub fn is_partial(&self) -> bool {
        self.partial
    }

    /// One line on why the run failed: a generator that could not go on, a lost connection, or nothing measured.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        if let Some(why) = &self.failure {
            return Some(format!("the generator failed; {} were measured: {why}", seconds(self.seconds)));
        }
        if let Some(first) = self.lost.first() {
            let (lost, all) = (self.lost.len(), self.connections + self.plan.idle);
            let hint = self.diagnosis.first().and_then(|diagnosis| diagnosis.hint.as_ref());
            return Some(format!(
                "{lost} of {all} connections lost, {} wrong bytes; the first: connection {}: {}{}",
                self.wrong_bytes,
                first.connection,
                first.reason,
                hint.map(|hint| format!("; {hint}")).unwrap_or_default()
            ));
        }
        if let Some(trouble) = self.hostile.as_ref().and_then(Outcomes::trouble) {
            return Some(trouble);
        }
        if self.completed == 0 && self.without_port > 0 {
            return Some(
                "nothing was measured, because there was no local port for a connection: those of \
                 net.ipv4.ip_local_port_range are in use or in TIME_WAIT; give more --sources, or wait a minute"
                    .to_owned(),
            );
        }
        (self.completed == 0 && !self.partial).then(|| {
            "nothing was measured, because no answer came while the clock ran: measure for longer with --duration"
                .to_owned()
        })
    }

    /// One line on what was asked for and not met: the rate, or a limit that no rate was shown to keep.
    #[must_use]
    pub fn not_met(&self) -> Option<String> {
        if self.partial {
            return None;
        }
        match &self.knee {
            Some(knee) => knee.rate_per_s.is_none().then(|| knee.to_string()),
            None => (self.missed_rate && self.rows.is_empty()).then(|| self.missed()),
        }
    }

    /// What makes the numbers doubtful, a line each. The first line of the text says it when a rate was missed.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        warnings.extend(self.server.as_ref().and_then(|server| server.hint.clone()));
        warnings.extend(self.wait_why.clone());
        if self.generator_was_the_limit {
            warnings.push(if self.generator_busy_share >= BUSY_LIMIT {
                format!(
                    "the generator was busy {:.0} % of the time: the rate may be its limit, not the server's; {}",
                    self.generator_busy_share * 100.0,
                    self.processors.remedy(self.plan.threads, self.wait)
                )
            } else {
                format!(
                    "the generator sent {} late although a connection was free: {}",
                    of(self.late_by_generator, "request"),
                    self.processors.remedy(self.plan.threads, self.wait)
                )
            });
        }
        if let Some(share) = self.generator_kept_waiting_share.filter(|&share| share > MOST_KEPT_WAITING) {
            warnings.push(format!(
                "other programs, or the server, kept the generator from its processor for {:.0} % of the time, which is \
                 part of the latencies; {}",
                share * 100.0,
                self.processors.remedy(self.plan.threads, self.wait)
            ));
        }
        if self.clamped > 0 {
            warnings
                .push(format!("{} latencies were longer than an hour and count as an hour", self.clamped));
        }
        if self.stalled_connections > 0 {
            warnings.push(format!(
                "{} waited for an answer for half a second or longer, one for {}",
                of(self.stalled_connections as u64, "connection"),
                seconds(self.longest_stall_s)
            ));
        }
        if let Some(why) = &self.unpinned {
            warnings.push(format!("the threads are not bound to processors: {why}"));
        }
        if let Some(why) = &self.coarse_timer {
            // The default of timer slack: man 2 PR_SET_TIMERSLACK.
            warnings.push(format!("requests may be sent 50 µs late: the kernel may end waits later: {why}"));
        }
        if self.refused > 0 {
            warnings.push(format!(
                "{} connections were refused, and tried again: the server was away",
                self.refused
            ));
        }
        if self.without_port > 0 {
            warnings.push(format!(
                "for a connection there was no local port, {} times, and it had to wait: the rate is that of the ports; \
                 give more --sources",
                self.without_port
            ));
        }
        warnings.extend(self.ends.warnings(self.partial));
        if !self.littles_law.holds {
            let LittlesLaw { under_way, rate_times_latency, .. } = self.littles_law;
            warnings.push(self.never_answered().unwrap_or_else(|| {
                format!(
                    "Little's law does not hold: {under_way:.2} requests were under way, and the answers account for \
                     {rate_times_latency:.2}"
                )
            }));
        }
        warnings
    }

    fn missed(&self) -> String {
        format!(
            "MISSED ITS RATE: offered {} requests/s, achieved {}; {} of {} requests were never sent, {} not \
             answered; they count with the time that they waited",
            rate(self.offered_per_s.unwrap_or_default()),
            rate(self.achieved_per_s),
            count(self.unsent),
            count(self.due),
            count(self.unanswered)
        )
    }
}

impl LittlesLaw {
    fn of(total: &Record, seconds: f64) -> LittlesLaw {
        let counts = total.counts;
        let ns = seconds * 1e9;
        if ns <= 0.0 {
            return LittlesLaw { under_way: 0.0, rate_times_latency: 0.0, holds: true };
        }
        let (under_way, rate_times_latency) =
            (counts.under_way_ns as f64 / ns, counts.answered_ns as f64 / ns);
        let holds = (under_way - rate_times_latency).abs() <= under_way * LITTLE_TOLERANCE;
        LittlesLaw { under_way, rate_times_latency, holds }
    }
}

/// What must be the same in results that are to be added, for the head of an interval log.
#[must_use]
pub fn plan_json(order: &Order, shape: &Shape, times: (Duration, Duration)) -> serde_json::Value {
    serde_json::to_value(PlanReport::of(order, shape, times)).unwrap_or_default()
}

/// Own addresses, for people: `127.0.0.2 to 127.0.0.9`.
#[must_use]
pub fn addresses(sources: &[IpAddr]) -> String {
    match sources {
        [] => "the address that the kernel chooses".to_owned(),
        [one] => one.to_string(),
        [first, .., last] => format!("{first} to {last}"),
    }
}
