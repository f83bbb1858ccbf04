//! What a run of one generator found, as a [`Report`].

use super::crew::{Opening, Order};
use super::diagnosis::Diagnosis;
use super::engine::{Ends, LATE_NS, SLICE};
use super::hlog::encoded;
use super::hostile::{HostileClients, Outcomes};
use super::limits::Ports;
use super::processors::Processors;
use super::record::{self, Record};
use super::server::Server;
use super::shape::{Row, Shape};
use super::{BUSY_LIMIT, LatencyUs, shape};
use crate::lab::env::Environment;
use crate::lab::results::load::{
    Alone, ByClock, Counts, Form, Histograms, LittlesLaw, Mode, Plan, Report, SCHEMA, VERSION,
};
use std::net::IpAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A mean number under way and what the latencies make of it may differ by this share: one connection of two hundred
/// without answers is seen.
const LITTLE_TOLERANCE: f64 = 0.005;

/// What a run was asked for and what it gave: all that a report is made of.
#[derive(Debug)]
pub struct Found<'a> {
    /// What load was put on whom.
    pub order: &'a Order,
    /// Over time.
    pub shape: &'a Shape,
    /// The badly behaved clients beside it.
    pub clients: HostileClients,
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
    /// When the load was to begin.
    pub start_at: Option<SystemTime>,
    /// Where and when it was measured.
    pub environment: Environment,
}

/// What is asked for, before it begins.
#[must_use]
pub fn plan(order: &Order, shape: &Shape, clients: HostileClients, times: (Duration, Duration)) -> Plan {
    let plan = &order.plan;
    Plan {
        mode: if shape.is_open() { Mode::Open } else { Mode::Closed },
        form: match shape {
            Shape::Closed => Form::Closed,
            Shape::Rate(_) => Form::Rate,
            Shape::Ramp(_) => Form::Ramp,
            Shape::Sweep(_) => Form::Sweep,
            Shape::Knee(..) => Form::Knee,
        },
        limit: match shape {
            Shape::Knee(limit, _) => Some(*limit),
            _ => None,
        },
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
        hostile: clients,
        offered_per_s: match shape {
            Shape::Closed | Shape::Knee(..) => Vec::new(),
            Shape::Rate(rate) => vec![*rate],
            Shape::Ramp(rates) | Shape::Sweep(rates) => rates.clone(),
        },
        warmup_s: times.0.as_secs_f64(),
        time_s: times.1.as_secs_f64(),
        digits: record::DIGITS,
    }
}

/// The report of a run.
#[must_use]
pub fn report(found: Found<'_>) -> Report {
    let Found { order, shape, clients, times, ref result, .. } = found;
    let (total, last) = (&result.total, &result.last);
    let seconds = found.seconds();
    let plan = plan(order, shape, clients, times);
    Report {
        schema: SCHEMA.to_owned(),
        schema_version: VERSION,
        mode: Some(plan.mode),
        partial: Some(last.partial || last.failure.is_some()),
        missed_rate: Some(result.rows.iter().any(|row| row.missed) && !is_search(shape)),
        plan: Some(plan),
        target: Some(order.plan.target),
        connections: Some(order.plan.active as u64),
        started_unix_s: Some(unix_seconds(result.started)),
        seconds,
        simultaneous: None,
        offered_per_s: found.offered(),
        achieved_per_s: if seconds > 0.0 { total.counts.completed as f64 / seconds } else { 0.0 },
        late_us: Some(LATE_NS / 1000),
        counts: found.counts(),
        latency_us: found.latency_us(),
        histograms: found.histograms(),
        alone: Some(found.alone(seconds)),
        gates: Vec::new(),
        baseline: None,
        merged_from: Vec::new(),
    }
}

fn is_search(shape: &Shape) -> bool {
    matches!(shape, Shape::Knee(..))
}

impl Found<'_> {
    fn comes_and_goes(&self) -> bool {
        self.order.plan.requests_per_conn.is_some()
    }

    /// Length of what was measured. The threads work side by side; the stages of a search for the knee are not all in the
    /// total.
    fn seconds(&self) -> f64 {
        self.result.total.counts.elapsed_ns as f64 / 1e9 / self.order.threads as f64
    }

    /// The rate that was offered; the mean of several.
    fn offered(&self) -> Option<f64> {
        let rows = &self.result.rows;
        // A generator that stood still at the end of a rate did not offer it for longer.
        let lasted = |row: &Row| row.seconds.min(self.times.1.as_secs_f64());
        let offered = rows.iter().filter_map(|row| Some(row.offered_per_s? * lasted(row))).sum::<f64>();
        let timed = rows.iter().map(lasted).sum::<f64>();
        match self.shape {
            Shape::Knee(..) => self.result.knee.as_ref().and_then(|knee| knee.rate_per_s),
            Shape::Closed => None,
            _ if timed > 0.0 => Some(offered / timed),
            _ => self.shape.highest(),
        }
    }

    fn counts(&self) -> Counts {
        let (counts, last) = (self.result.total.counts, &self.result.last);
        Counts {
            due: Some(counts.due()),
            sent: Some(counts.sent),
            unsent: Some(counts.unsent),
            late: Some(counts.late),
            late_by_generator: Some(counts.late_by_generator),
            answered: counts.answered,
            answered_after: Some(counts.answered_after),
            unanswered: Some(counts.unanswered),
            at_least: Some(counts.at_least()),
            completed: counts.completed,
            clamped: Some(counts.clamped),
            wrong_bytes: Some(last.wrong_bytes),
            lost_connections: Some(last.lost.len() as u64),
            opened: Some(counts.opened),
            generator_cpu_s: Some(counts.cpu_ns as f64 / 1e9),
        }
    }

    fn latency_us(&self) -> ByClock {
        let total = &self.result.total;
        ByClock {
            response: self.shape.is_open().then(|| LatencyUs::of(&total.response_of_all())),
            service: LatencyUs::of(&total.service),
            scheduling: (!total.scheduling.is_empty()).then(|| LatencyUs::of(&total.scheduling)),
            connect: self.comes_and_goes().then(|| LatencyUs::of(&total.connect)),
        }
    }

    fn histograms(&self) -> Histograms {
        let total = &self.result.total;
        Histograms {
            response: self.shape.is_open().then(|| encoded(&total.response_of_all())),
            service: encoded(&total.service),
            unfinished: Some(encoded(&total.unfinished)),
            connect: self.comes_and_goes().then(|| encoded(&total.connect)),
        }
    }

    fn alone(self, seconds: f64) -> Alone {
        let comes_and_goes = self.comes_and_goes();
        let shape::Result { rows, total, fewest_and_most, stalled, busiest, last, started, knee } =
            self.result;
        let counts = total.counts;
        let cpu_s = counts.cpu_ns as f64 / 1e9;
        let share = |ns: u64| if counts.elapsed_ns == 0 { 0.0 } else { ns as f64 / counts.elapsed_ns as f64 };
        // The clock started after the warm-up.
        let missed = self.start_at.and_then(|at| started.duration_since(at + self.times.0).ok());
        let is_late = self.shape.is_open() && counts.late_by_generator * 100 > counts.due();
        Alone {
            failure: last.failure,
            seed: self.order.plan.seed,
            wait_why: self.processors.why_sleep.clone(),
            open_s: self.open_time.as_secs_f64(),
            opening: self.opening,
            start_at_unix_s: self.start_at.map(unix_seconds),
            start_missed_s: missed.map(|missed| missed.as_secs_f64()),
            unpinned: self.unpinned,
            coarse_timer: self.coarse_timer,
            least_per_connection: fewest_and_most.map(|(fewest, most)| fewest.min(most)),
            most_per_connection: fewest_and_most.map(|(_, most)| most),
            stalled_connections: stalled.0,
            longest_stall_s: f64::from(stalled.1) * SLICE.as_secs_f64(),
            littles_law: littles_law(&total, seconds),
            lost: last.lost,
            ends: self.ends,
            diagnosis: self.diagnosis,
            refused: counts.refused,
            without_port: counts.without_port,
            ports: comes_and_goes.then_some(self.ports),
            server: self.server,
            generator_cpu_share: share(counts.cpu_ns),
            generator_busy_share: busiest,
            generator_kept_waiting_share: (counts.unwatched_ns == 0).then(|| share(counts.kept_waiting_ns)),
            generator_was_the_limit: busiest >= BUSY_LIMIT || is_late,
            requests_per_generator_cpu_s: if cpu_s > 0.0 { counts.completed as f64 / cpu_s } else { 0.0 },
            processors: self.processors,
            rows: if rows.len() > 1 || is_search(self.shape) { rows } else { Vec::new() },
            knee,
            hostile: self.hostile,
            environment: self.environment,
        }
    }
}

fn littles_law(total: &Record, seconds: f64) -> LittlesLaw {
    let counts = total.counts;
    let ns = seconds * 1e9;
    if ns <= 0.0 {
        return LittlesLaw { under_way: 0.0, rate_times_latency: 0.0, holds: true };
    }
    let (under_way, rate_times_latency) = (counts.under_way_ns as f64 / ns, counts.answered_ns as f64 / ns);
    let holds = (under_way - rate_times_latency).abs() <= under_way * LITTLE_TOLERANCE;
    LittlesLaw { under_way, rate_times_latency, holds }
}

fn unix_seconds(time: SystemTime) -> f64 {
    time.duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
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
