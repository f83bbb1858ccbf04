//! The gates of a load, and an earlier run beside it.

use super::hostile::Outcomes;
use super::shape::Row;
use crate::lab::gate::{self, Figure, Gate, Judged, Measured, Unit};
use crate::lab::results::load::{
    Alone, Beside, Compared, DIFFERS_ALWAYS, Form, LatencyUs, Mode, Plan, Report, differences,
};
use crate::lab::show::junit::{self, Check};
use crate::lab::units::{self, of, parse};
use anyhow::{Context, anyhow, bail, ensure};
use std::time::Duration;

/// The figures that a gate may name.
pub static FIGURES: [Figure; 12] = [
    figure("p50", Unit::Microseconds, "median of the response time; of the service time in a closed loop"),
    figure("p90", Unit::Microseconds, "the same, 90 % of the requests"),
    figure("p99", Unit::Microseconds, "the same, 99 %"),
    figure("p99.9", Unit::Microseconds, "the same, 99.9 %"),
    figure("max", Unit::Microseconds, "the same, all requests"),
    figure("achieved", Unit::PerSecond, "answers per second"),
    figure("unanswered", Unit::Count, "requests that were sent and never answered"),
    figure("connect-p99", Unit::Microseconds, "time to connect, 99 %; with --requests-per-conn"),
    figure("wrong", Unit::Count, "bytes that came back wrong"),
    figure("lost", Unit::Count, "lost connections"),
    figure("cpu", Unit::Microseconds, "CPU time of the server per answer; with --pid"),
    figure("busy", Unit::Share, "share of the time in which the generator had something to do"),
];

/// How many of [`FIGURES`] each rate has, where there are several. The others are of the whole run.
const OF_A_RATE: usize = 7;

const fn figure(name: &'static str, unit: Unit, meaning: &'static str) -> Figure {
    Figure { name, unit, meaning }
}

fn is_of_a_rate(figure: &Figure) -> bool {
    FIGURES[..OF_A_RATE].iter().any(|known| known.name == figure.name)
}

/// The gates of a run, and the run that it is compared with.
#[derive(Debug)]
pub struct Gates {
    gates: Vec<Gate>,
    baseline: Option<Baseline>,
}

/// An earlier run.
#[derive(Debug)]
struct Baseline {
    file: String,
    report: Report,
}

impl Gates {
    /// Gates as [`gate::read`](crate::lab::gate::read) gave them, and the file of an earlier run.
    ///
    /// # Errors
    ///
    /// In one line, with what to do: when the file cannot be read, or is no report of one run that came to its end.
    pub fn new(gates: Vec<Gate>, baseline: Option<&str>) -> anyhow::Result<Gates> {
        let baseline = baseline.map(Baseline::read).transpose()?;
        Ok(Gates { gates, baseline })
    }

    /// Check that a run of `plan` can have the figures that the gates name, and that the baseline was a run of it.
    ///
    /// # Errors
    ///
    /// In one line, with what to do: when it cannot, or was another.
    pub fn check(&self, plan: &Plan, has_pid: bool) -> anyhow::Result<()> {
        if let Some(baseline) = &self.baseline {
            baseline.check_plan(plan)?;
        }
        for gate in &self.gates {
            self.check_gate(gate, plan, has_pid)
                .map_err(|why| anyhow!("the gate `{}`: {why:#}", gate.text()))?;
        }
        Ok(())
    }

    fn check_gate(&self, gate: &Gate, plan: &Plan, has_pid: bool) -> anyhow::Result<()> {
        match gate.figure().name {
            "connect-p99" => ensure!(
                plan.requests_per_conn.is_some(),
                "connections do not come and go in this run: give --requests-per-conn"
            ),
            "cpu" => {
                ensure!(has_pid, "the server's process is not known: give --pid");
                ensure!(
                    plan.hostile.connections() == 0,
                    "CPU time per answer is not known beside badly behaved clients, for which the server works as well"
                );
            }
            _ => {}
        }
        if let Some(row) = gate.row() {
            check_row(row, gate.figure(), plan)?;
        }
        if gate.is_relative() {
            let baseline = self.baseline.as_ref();
            let baseline = baseline.context("a multiple is of an earlier run: give --baseline FILE")?;
            let has_it =
                rows(plan, gate).into_iter().all(|row| row.value(&baseline.report, gate.figure()).is_some());
            ensure!(has_it, "{} does not have this figure", baseline.file);
        }
        Ok(())
    }

    /// Judge a run that is over, and put its figures beside those of the baseline. A run that did not come to its end is
    /// not judged.
    pub fn judge(&self, report: &mut Report) {
        report.baseline = self.baseline.as_ref().map(|baseline| baseline.beside(report));
        let interrupted = interrupted(report);
        report.gates = match (&report.plan, interrupted) {
            (Some(plan), None) => {
                self.gates.iter().flat_map(|gate| self.judged(gate, plan, report)).collect()
            }
            (_, why) => self.gates.iter().map(|gate| gate.not_judged(why.unwrap_or_default())).collect(),
        };
    }

    fn judged(&self, gate: &Gate, plan: &Plan, report: &Report) -> Vec<Judged> {
        let figure = gate.figure();
        let judged = |row: At| {
            let baseline = self.baseline.as_ref().and_then(|baseline| row.value(&baseline.report, figure));
            let (value, is_least) = (row.value(report, figure), row.is_least(report, figure));
            let measured = Measured::new(row.in_words(), in_words(figure, plan), value);
            gate.judge(Measured { is_least, baseline, ..measured })
        };
        rows(plan, gate).into_iter().map(judged).collect()
    }
}

/// Why a run did not come to its end, in a few words.
fn interrupted(report: &Report) -> Option<&'static str> {
    let failed = report.alone.as_ref().is_some_and(|alone| alone.failure.is_some());
    report.is_partial().then_some(if failed { "the generator failed" } else { "interrupted" })
}

/// A figure in words, which say what kind of latency it is.
fn in_words(figure: &Figure, plan: &Plan) -> String {
    let name = figure.name;
    match (name, plan.mode) {
        ("p50" | "p90" | "p99" | "p99.9" | "max", Mode::Open) => format!("response time {name}"),
        ("p50" | "p90" | "p99" | "p99.9" | "max", Mode::Closed) => {
            format!("service time {name} (closed loop)")
        }
        ("cpu", _) => "CPU time of the server per answer".to_owned(),
        ("busy", _) => "the generator's busy share".to_owned(),
        ("achieved", _) => "the achieved rate".to_owned(),
        ("connect-p99", _) => "time to connect p99".to_owned(),
        ("wrong", _) => "the number of wrong bytes".to_owned(),
        ("lost", _) => "the number of lost connections".to_owned(),
        _ => "the number of unanswered requests".to_owned(),
    }
}

/// Whole run, or a rate of several.
#[derive(Debug, Clone, Copy)]
enum At {
    Run,
    /// This rate, which stands so many times before this place.
    Rate(f64, usize),
}

/// What a gate is on: each rate, if there are several and it does not name one.
fn rows(plan: &Plan, gate: &Gate) -> Vec<At> {
    let named = gate.row().and_then(|row| parse::rate(row).ok());
    let all = rates(plan).filter(|rate| match rate {
        At::Rate(rate, _) => named.is_none_or(|named| is_same_rate(named, *rate)),
        At::Run => true,
    });
    if is_of_a_rate(gate.figure()) { all.collect() } else { vec![At::Run] }
}

/// The rates of a plan that has several; or else the run.
fn rates(plan: &Plan) -> impl Iterator<Item = At> {
    let rates = &plan.offered_per_s[..];
    let several = rates.iter().enumerate().filter(|_| rates.len() > 1);
    let several =
        several.map(|(i, rate)| At::Rate(*rate, rates[..i].iter().filter(|other| *other == rate).count()));
    let one = (rates.len() < 2).then_some(At::Run);
    one.into_iter().chain(several)
}

/// The rates of a ramp are sums, which may differ from what is written in their last digits.
fn is_same_rate(named: f64, rate: f64) -> bool {
    (named - rate).abs() <= rate * 1e-9
}

fn check_row(row: &str, figure: &Figure, plan: &Plan) -> anyhow::Result<()> {
    let rates = &plan.offered_per_s;
    ensure!(is_of_a_rate(figure), "{} is of the whole run: leave out the row `{row}`", figure.name);
    ensure!(!rates.is_empty(), "this run has no rows, which are rates: leave out `{row}`");
    let named = parse::rate(row).map_err(|why| anyhow!("a row is one of the rates: {why}"))?;
    if !rates.iter().any(|&rate| is_same_rate(named, rate)) {
        let rates: Vec<_> = rates.iter().copied().map(units::rate).collect();
        bail!("there is no row `{row}`; the rates of this run: {}", rates.join(", "));
    }
    Ok(())
}

impl At {
    fn in_words(self) -> Option<String> {
        match self {
            At::Run => None,
            At::Rate(rate, _) => Some(format!("{} requests/s", units::rate(rate))),
        }
    }

    /// What was measured; `None` when it was not.
    fn value(self, report: &Report, figure: &Figure) -> Option<f64> {
        match self {
            At::Run => of_the_run(report, figure),
            At::Rate(rate, before) => of_a_row(row(report, rate, before)?, figure),
        }
    }

    /// Whether a latency may be longer than what was measured: so many requests had no answer that some of them, which
    /// count with the time that they waited, are among those that the percentile leaves out.
    fn is_least(self, report: &Report, figure: &Figure) -> bool {
        let beyond = match figure.name {
            "p50" => 0.5,
            "p90" => 0.1,
            "p99" => 0.01,
            "p99.9" => 0.001,
            "max" => 0.0,
            _ => return false,
        };
        let counts = match self {
            At::Run => report.counts.at_least.zip(report.counts.due),
            At::Rate(rate, before) => {
                row(report, rate, before).map(|row| (row.at_least, row.sent + row.unsent))
            }
        };
        counts.is_some_and(|(at_least, due)| at_least as f64 > beyond * due as f64)
    }
}

/// What was seen at this rate, which stands so many times before it.
fn row(report: &Report, rate: f64, before: usize) -> Option<&Row> {
    let rows = report.alone.iter().flat_map(|alone| &alone.rows);
    rows.filter(|row| row.offered_per_s == Some(rate)).nth(before)
}

fn of_a_row(row: &Row, figure: &Figure) -> Option<f64> {
    match figure.name {
        "achieved" => Some(row.achieved_per_s),
        "unanswered" => Some(row.at_least.saturating_sub(row.unsent) as f64),
        name => percentile(&row.response.unwrap_or(row.service), name),
    }
}

fn of_the_run(report: &Report, figure: &Figure) -> Option<f64> {
    let alone = report.alone.as_ref()?;
    let is_search = report.plan.as_ref().is_some_and(|plan| plan.form == Form::Knee);
    if is_search && is_of_a_rate(figure) {
        // What is reported is the last try at the knee, if there is one.
        alone.knee.as_ref()?.rate_per_s?;
    }
    match figure.name {
        "achieved" => (report.seconds > 0.0).then_some(report.achieved_per_s),
        "unanswered" => report.counts.unanswered.map(|n| n as f64),
        "connect-p99" => report.latency_us.connect?.p99,
        "wrong" => Some(
            (report.counts.wrong_bytes? + alone.hostile.as_ref().map_or(0, Outcomes::wrong_bytes)) as f64,
        ),
        "lost" => report.counts.lost_connections.map(|n| n as f64),
        "cpu" => alone.server.as_ref()?.us_per_request,
        "busy" => Some(alone.generator_busy_share),
        name => percentile(report.latency(), name),
    }
}

fn percentile(latency: &LatencyUs, name: &str) -> Option<f64> {
    match name {
        "p50" => latency.p50,
        "p90" => latency.p90,
        "p99" => latency.p99,
        "p99.9" => latency.p99_9,
        _ => latency.max,
    }
}

impl Baseline {
    fn read(file: &str) -> anyhow::Result<Baseline> {
        let bytes = std::fs::read(file).map_err(|why| anyhow!("cannot read the baseline {file}: {why}"))?;
        let report = Report::read(&bytes).map_err(|why| anyhow!("the baseline {file}: {why:#}"))?;
        let another = "give the report of one run that came to its end";
        if let Some(why) = interrupted(&report) {
            bail!("the baseline {file} is of a run that did not come to its end: {why}; {another}");
        }
        if !report.merged_from.is_empty() {
            let runs = of(report.merged_from.len() as u64, "run");
            bail!("the baseline {file} was merged of {runs}; {another}");
        }
        if let Some(trouble) = report.trouble() {
            bail!("the baseline {file} is of a run that failed: {trouble}; {another}");
        }
        Ok(Baseline { file: file.to_owned(), report })
    }

    /// It must be of the same plan, and every setting that differs is named.
    fn check_plan(&self, plan: &Plan) -> anyhow::Result<()> {
        let old = self.report.plan.as_ref().context("a report without a plan")?;
        let words: Vec<_> = plan.differences(old, &[]).iter().map(ToString::to_string).collect();
        ensure!(
            words.is_empty(),
            "the baseline {} is of another plan, and cannot be compared: {}; give the options of that run",
            self.file,
            words.join("; ")
        );
        Ok(())
    }

    fn beside(&self, report: &Report) -> Beside {
        let several = report.plan.iter().flat_map(rates);
        let (of_a_rate, of_the_run) = FIGURES.split_at(OF_A_RATE);
        let of_rates = several.flat_map(|at| of_a_rate.iter().map(move |figure| (at, figure)));
        let all = of_rates.chain(of_the_run.iter().map(|figure| (At::Run, figure)));
        let figures = all.filter_map(|(at, figure)| {
            let (old, new) = (at.value(&self.report, figure), at.value(report, figure));
            old.or(new)?;
            let ratio = old.zip(new).filter(|(old, _)| *old != 0.0).map(|(old, new)| new / old);
            Some(Compared {
                row: at.in_words(),
                figure: figure.name.to_owned(),
                unit: figure.unit,
                old,
                new,
                ratio,
            })
        });
        let differ =
            |(new, old): (&Alone, &Alone)| differences(&new.environment, &old.environment, &DIFFERS_ALWAYS);
        let environment =
            report.alone.as_ref().zip(self.report.alone.as_ref()).map(differ).unwrap_or_default();
        Beside {
            environment,
            file: self.file.clone(),
            started_unix_s: self.report.started_unix_s,
            figures: figures.collect(),
        }
    }
}

/// One line on the gates that were not met; `None` when all were met or were not judged.
#[must_use]
pub fn not_met(report: &Report) -> Option<String> {
    let line = gate::not_met(&report.gates)?;
    let limited = report.alone.as_ref().is_some_and(|alone| alone.generator_was_the_limit);
    let part = "; the generator was late or busy itself, which is a part of these figures";
    Some(line + if limited { part } else { "" })
}

/// The run as JUnit XML: a case for each gate, one for the bytes and the connections, and one for the rate.
///
/// # Errors
///
/// None in practice: it is written into memory.
pub fn junit(report: &Report) -> Result<String, quick_junit::SerializeError> {
    let mut checks = vec![Check {
        name: "every byte right, no connection lost".to_owned(),
        found: report.trouble().into(),
    }];
    if report.mode == Some(Mode::Open) {
        checks.push(Check { name: "the rate that was asked for".to_owned(), found: report.not_met().into() });
    }
    let target = report.target.map_or_else(String::new, |target| target.to_string());
    let took = Duration::try_from_secs_f64(report.seconds).unwrap_or_default();
    junit::of_run(("load", &format!("load of {target}"), took), interrupted(report), &checks, &report.gates)
}
