//! Several generators, one result: what runs on several machines found, added up.
//!
//! Counts and histograms are added; a percentile of several machines cannot be had from their percentiles. Only runs
//! of one plan add up, and rates only of runs that were on at the same time.
//!
//! A result of one generator is a merge of one, so that results can be merged again, in any order. What depends on
//! when the runs were on is worked out from all of them each time, and never from what an earlier merge
//! made of it.

mod read;

use super::hlog::{Log, encoded};
use super::{LatencyUs, hgrm};
use crate::lab::results::load::{
    ByClock, Counts, Difference, Histograms as Encoded, Part, Plan, Report, SCHEMA, VERSION,
};
use crate::lab::visible::visible;
use anyhow::{anyhow, bail, ensure};
use hdrhistogram::Histogram;
use serde_json::{Map, Value, json};
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, UNIX_EPOCH};

/// What need not be the same in runs that are added: what is summed, and rates, because machines of different strength may
/// offer different ones.
const MAY_DIFFER: [&str; 5] = ["connections", "idle", "threads", "hostile", "offered_per_s"];

/// Runs were on at the same time if all of them were for this share of each.
const SHARED: f64 = 0.9;

/// A log and a report of so many equal latencies are of one run. With fewer it may be chance.
const ENOUGH_TO_TELL: u64 = 100;

/// What one generator found, or several.
#[derive(Debug, Clone)]
pub struct Merged {
    /// The file that was read first.
    name: String,
    /// `None` for logs of other programs.
    plan: Option<Plan>,
    /// `None` when it is not known, or not the same.
    target: Option<SocketAddr>,
    partial: Option<bool>,
    missed_rate: Option<bool>,
    late_us: Option<u64>,
    counts: Counts,
    histograms: Histograms,
    parts: Vec<Part>,
    warnings: Vec<String>,
}

#[derive(Debug, Clone)]
struct Histograms {
    /// In an open loop.
    response: Option<Histogram<u64>>,
    service: Histogram<u64>,
    /// How long the requests without answer waited, which are in the others as well; `None` in the logs of other
    /// programs, which do not tell.
    unfinished: Option<Histogram<u64>>,
    /// Where connections come and go.
    connect: Option<Histogram<u64>>,
}

/// When runs were on.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Timing {
    simultaneous: bool,
    /// How long any of them was on.
    seconds: f64,
    /// When the first started, and the last ended.
    span: Option<(f64, f64)>,
}

impl Merged {
    /// Read a report or a log. `name` is for messages, and for the table of generators.
    ///
    /// # Errors
    ///
    /// In one line, with the name, the cause, and what to do: when it is neither, of another version, or damaged.
    pub fn read(name: &str, bytes: &[u8]) -> anyhow::Result<Merged> {
        let name = visible(name);
        read::read(&name, bytes).map_err(|why| anyhow!("{name}: {why:#}"))
    }

    /// Add what others found.
    ///
    /// # Errors
    ///
    /// In one line, with both settings, when they were not made by one plan; and when a run would be counted twice.
    pub fn add(&mut self, other: Merged) -> anyhow::Result<()> {
        self.check_precision(&other)?;
        self.check_plan(&other)?;
        self.check_twice(&other)?;
        self.histograms.add(&other.histograms).map_err(|why| anyhow!("{}: {why}", other.name))?;
        self.counts = sum_of(&self.counts, &other.counts);
        if let (Some(plan), Some(more)) = (&mut self.plan, &other.plan) {
            add_plan(plan, more);
        }
        if self.target != other.target {
            self.target = None;
        }
        self.partial = any(self.partial, other.partial);
        self.missed_rate = any(self.missed_rate, other.missed_rate);
        self.late_us = self.late_us.filter(|late| other.late_us == Some(*late));
        self.parts.extend(other.parts);
        self.warnings.extend(other.warnings);
        Ok(())
    }

    fn check_precision(&self, other: &Merged) -> anyhow::Result<()> {
        let (ours, theirs) = (self.histograms.service.sigfig(), other.histograms.service.sigfig());
        ensure!(
            ours == theirs,
            "{} has histograms of {ours} significant digits and {} of {theirs}: they cannot be added; give results of \
             one precision",
            self.name,
            other.name
        );
        Ok(())
    }

    fn check_plan(&self, other: &Merged) -> anyhow::Result<()> {
        let (a, b) = (&self.name, &other.name);
        let (ours, theirs) = match (&self.plan, &other.plan) {
            (None, None) => return Ok(()),
            (Some(ours), Some(theirs)) => (ours, theirs),
            (Some(plan), None) => bail!("{}", no_plan(a, plan, b)),
            (None, Some(plan)) => bail!("{}", no_plan(b, plan, a)),
        };
        if let Some(Difference { key, here, there }) = ours.differences(theirs, &MAY_DIFFER).first() {
            bail!(
                "{a} has {key} {here} and {b} has {key} {there}: only runs of one plan add up; run one of them again with \
                 the setting of the other"
            );
        }
        let (ours, theirs) = (ours.offered_per_s.len(), theirs.offered_per_s.len());
        ensure!(
            ours == theirs,
            "{a} has offered_per_s of {ours} rates and {b} of {theirs}: only runs of one plan add up; run one of them \
             again as the other"
        );
        Ok(())
    }

    fn check_twice(&self, other: &Merged) -> anyhow::Result<()> {
        for theirs in &other.parts {
            if let Some(ours) = self.parts.iter().find(|ours| is_same_run(ours, theirs)) {
                bail!(
                    "{} is of the same run as {}, which would be counted twice: give each run once",
                    if theirs.file == other.name || other.parts.len() == 1 {
                        other.name.clone()
                    } else {
                        format!("{} in {}", theirs.file, other.name)
                    },
                    ours.file
                );
            }
        }
        Ok(())
    }

    /// What latency is: response time in an open loop, service time in a closed one.
    #[must_use]
    pub fn latency(&self) -> &Histogram<u64> {
        self.histograms.latency()
    }

    /// The distribution of [`latency`](Self::latency), in milliseconds.
    #[must_use]
    pub fn hgrm(&self) -> String {
        hgrm::text(self.latency(), 1e6)
    }

    /// Write it as a log of one interval.
    ///
    /// # Errors
    ///
    /// Those of writing.
    pub fn log(&self, out: impl io::Write) -> io::Result<()> {
        let mut plan = match json!(self.plan) {
            Value::Object(plan) => plan,
            _ => Map::new(),
        };
        // So that the log can be merged again: of other readers nobody looks at it.
        plan.insert("merged_from".to_owned(), json!(self.parts));
        let timing = self.timing();
        let (from, to) = timing.span.unwrap_or((0.0, timing.seconds));
        let duration = |seconds| Duration::try_from_secs_f64(seconds).unwrap_or_default();
        let (started, length) =
            (UNIX_EPOCH.checked_add(duration(from)).unwrap_or(UNIX_EPOCH), duration(to - from));
        let mut log = Log::create(out, &Value::Object(plan), started)?;
        let Histograms { response, service, unfinished, connect } = &self.histograms;
        match response {
            Some(response) => {
                log.write(None, Duration::ZERO, length, response)?;
                log.write(Some("service"), Duration::ZERO, length, service)?;
            }
            None => log.write(None, Duration::ZERO, length, service)?,
        }
        if let Some(unfinished) = unfinished.as_ref().filter(|unfinished| !unfinished.is_empty()) {
            log.write(Some("unfinished"), Duration::ZERO, length, unfinished)?;
        }
        connect.as_ref().map_or(Ok(()), |connect| log.write(Some("connect"), Duration::ZERO, length, connect))
    }

    /// What they found together.
    #[must_use]
    pub fn report(&self) -> Report {
        let Timing { simultaneous, seconds, span } = self.timing();
        let Rates { offered, achieved } = Rates::of(&self.parts);
        Report {
            schema: SCHEMA.to_owned(),
            schema_version: VERSION,
            mode: self.plan.as_ref().map(|plan| plan.mode),
            partial: self.partial,
            missed_rate: self.missed_rate,
            plan: self.plan.clone(),
            target: self.target,
            connections: self.connections(),
            started_unix_s: span.map(|(start, _)| start),
            seconds,
            simultaneous: Some(simultaneous),
            offered_per_s: offered,
            achieved_per_s: achieved,
            late_us: self.late_us,
            counts: self.counts,
            latency_us: self.histograms.latency_us(),
            histograms: self.histograms.encoded(),
            alone: None,
            gates: Vec::new(),
            baseline: None,
            merged_from: self.parts.clone(),
        }
    }

    /// What makes the numbers doubtful, a line each.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = self.warnings.clone();
        let Timing { simultaneous, span, .. } = self.timing();
        if !simultaneous {
            let taken = match span {
                Some(_) => "the rate is of all answers over the time that any of them was on",
                None => {
                    "not all of them say when they were on, and the rate is as if one had followed the other"
                }
            };
            warnings.push(format!(
                "the generators did not run at the same time: {taken}; start them together for the rate of all"
            ));
        }
        warnings
    }

    fn timing(&self) -> Timing {
        Timing::of(&self.parts)
    }

    fn connections(&self) -> Option<u64> {
        self.parts.iter().map(|part| part.connections).try_fold(0, |sum: u64, n| Some(sum.saturating_add(n?)))
    }
}

/// Whether two are the same run, from the same file or from another: the log beside the report.
fn is_same_run(a: &Part, b: &Part) -> bool {
    if a.fingerprint != b.fingerprint {
        return false;
    }
    // A log starts a little before its run, when the connections were not open yet.
    let in_two_formats = a.format != b.format && a.answered.min(b.answered) >= ENOUGH_TO_TELL;
    in_two_formats || a.started_unix_s == b.started_unix_s
}

impl Timing {
    fn of(parts: &[Part]) -> Timing {
        let times = parts.iter().map(|part| part.started_unix_s.map(|start| (start, start + part.seconds)));
        let Some(mut times) = times.collect::<Option<Vec<_>>>() else {
            let seconds = parts.iter().map(|part| part.seconds).sum();
            return Timing { simultaneous: parts.len() < 2, seconds, span: None };
        };
        times.sort_by(|a, b| a.0.total_cmp(&b.0));
        let first = times.first().map_or(0.0, |time| time.0);
        let (mut seconds, mut end) = (0.0, first);
        for &(from, to) in &times {
            seconds += (to - end.max(from)).max(0.0);
            end = end.max(to);
        }
        // Seconds since 1970 leave a quarter of a microsecond: what is finer depends on the order of the files.
        let seconds = (seconds * 1e5).round() / 1e5;
        let last_start = times.last().map_or(0.0, |time| time.0);
        let first_end = times.iter().map(|time| time.1).fold(f64::INFINITY, f64::min);
        let common = first_end - last_start;
        let simultaneous = parts.len() < 2 || parts.iter().all(|part| common >= SHARED * part.seconds);
        Timing { simultaneous, seconds, span: Some((first, end)) }
    }
}

struct Rates {
    offered: Option<f64>,
    achieved: f64,
}

impl Rates {
    fn of(parts: &[Part]) -> Rates {
        let Timing { simultaneous, seconds, .. } = Timing::of(parts);
        let offered = |part: &Part| part.offered_per_s;
        if simultaneous {
            return Rates {
                offered: parts.iter().map(offered).sum(),
                achieved: parts.iter().map(|part| part.achieved_per_s).sum(),
            };
        }
        let per_s = |sum: f64| if seconds > 0.0 { sum / seconds } else { 0.0 };
        let due: Option<f64> = parts.iter().map(|part| Some(offered(part)? * part.seconds)).sum();
        let answered = parts.iter().map(|part| part.answered as f64).sum();
        Rates { offered: due.map(per_s), achieved: per_s(answered) }
    }
}

fn sum_of(a: &Counts, b: &Counts) -> Counts {
    let sum = |a: Option<u64>, b: Option<u64>| Some(a?.saturating_add(b?));
    Counts {
        due: sum(a.due, b.due),
        sent: sum(a.sent, b.sent),
        unsent: sum(a.unsent, b.unsent),
        late: sum(a.late, b.late),
        late_by_generator: sum(a.late_by_generator, b.late_by_generator),
        answered: a.answered.saturating_add(b.answered),
        answered_after: sum(a.answered_after, b.answered_after),
        unanswered: sum(a.unanswered, b.unanswered),
        at_least: sum(a.at_least, b.at_least),
        completed: a.completed.saturating_add(b.completed),
        clamped: sum(a.clamped, b.clamped),
        wrong_bytes: sum(a.wrong_bytes, b.wrong_bytes),
        lost_connections: sum(a.lost_connections, b.lost_connections),
        opened: sum(a.opened, b.opened),
        generator_cpu_s: a.generator_cpu_s.zip(b.generator_cpu_s).map(|(a, b)| a + b),
    }
}

impl Histograms {
    /// Requests without answer; `None` when it is not known.
    fn at_least(&self) -> Option<u64> {
        self.unfinished.as_ref().map(Histogram::len)
    }

    fn latency(&self) -> &Histogram<u64> {
        self.response.as_ref().unwrap_or(&self.service)
    }

    fn add(&mut self, other: &Histograms) -> anyhow::Result<()> {
        add(&mut self.service, &other.service)?;
        match (&mut self.response, &other.response) {
            (Some(sum), Some(part)) => add(sum, part)?,
            (None, None) => {}
            _ => bail!("a response time is in one file and not in the other; give files of one kind of loop"),
        }
        self.unfinished = match (self.unfinished.take(), &other.unfinished) {
            (Some(mut sum), Some(part)) => {
                add(&mut sum, part)?;
                Some(sum)
            }
            _ => None,
        };
        match (&mut self.connect, &other.connect) {
            (Some(sum), Some(part)) => add(sum, part),
            // A log has none for a run in which no connection was opened.
            (sum, part) => {
                *sum = sum.take().or_else(|| part.clone());
                Ok(())
            }
        }
    }

    /// A checksum over all bins (FNV-1a): it tells runs apart, and resists nobody.
    fn fingerprint(&self) -> String {
        let mut hash = 0xcbf2_9ce4_8422_2325_u64;
        for histogram in [self.latency(), &self.service] {
            let bins = histogram.iter_recorded();
            let bytes = bins.flat_map(|bin| {
                bin.value_iterated_to().to_le_bytes().into_iter().chain(bin.count_at_value().to_le_bytes())
            });
            for byte in bytes {
                hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
            }
        }
        format!("{hash:016x}")
    }

    fn latency_us(&self) -> ByClock {
        ByClock {
            response: self.response.as_ref().map(LatencyUs::of),
            service: LatencyUs::of(&self.service),
            scheduling: None,
            connect: self.connect.as_ref().map(LatencyUs::of),
        }
    }

    fn encoded(&self) -> Encoded {
        Encoded {
            response: self.response.as_ref().map(encoded),
            service: encoded(&self.service),
            unfinished: self.unfinished.as_ref().map(encoded),
            connect: self.connect.as_ref().map(encoded),
        }
    }
}

fn add(sum: &mut Histogram<u64>, part: &Histogram<u64>) -> anyhow::Result<()> {
    let all = sum.len().checked_add(part.len()).filter(|&all| all <= i64::MAX.cast_unsigned());
    ensure!(all.is_some(), "with it there are more counts than a histogram can hold; merge fewer files");
    ensure!(
        sum.sigfig() == part.sigfig(),
        "its histograms differ in precision; give the file as it was written"
    );
    sum.add(part).map_err(|why| anyhow!("its histogram cannot be added: {why}; give files of one program"))
}

/// Connections, threads and rates are summed.
fn add_plan(plan: &mut Plan, more: &Plan) {
    plan.connections = plan.connections.saturating_add(more.connections);
    plan.idle = plan.idle.saturating_add(more.idle);
    plan.threads = plan.threads.saturating_add(more.threads);
    plan.hostile.slow_readers = plan.hostile.slow_readers.saturating_add(more.hostile.slow_readers);
    plan.hostile.half_closers = plan.hostile.half_closers.saturating_add(more.hostile.half_closers);
    plan.hostile.resetters = plan.hostile.resetters.saturating_add(more.hostile.resetters);
    plan.offered_per_s.iter_mut().zip(&more.offered_per_s).for_each(|(sum, rate)| *sum += rate);
}

fn no_plan(with: &str, plan: &Plan, without: &str) -> String {
    format!(
        "{with} has a plan (mode {}, {} per request) and {without} has none, another program wrote it: whether they add up \
         cannot be told; merge them apart",
        plan.mode, plan.sizes
    )
}

/// Whether it is so in any. If one does not tell, only a yes is an answer.
fn any(a: Option<bool>, b: Option<bool>) -> Option<bool> {
    match (a, b) {
        (Some(true), _) | (_, Some(true)) => Some(true),
        (Some(false), Some(false)) => Some(false),
        _ => None,
    }
}
