//! The gates of a comparison, and an earlier result beside it.
//!
//! A gate is on rows: `POINT/ENTRANT FIGURE<=VALUE`. Each row that it is on must meet it. A ratio has an interval, and the end of
//! the interval that is nearer to the limit must keep it.

use crate::lab::Status;
use crate::lab::explain::nearest;
use crate::lab::gate::{Figure, Gate, Interval, Judged, Measured, Unit};
use crate::lab::load::BUSY_LIMIT;
use crate::lab::results::compare::{Compared, Comparison, Earlier, Figures, Group, Plan, Reach, Row};
use crate::lab::results::load::{DIFFERS_ALWAYS, differences};
use crate::lab::show::junit::{self, Check, Found};
use crate::lab::stats::Estimate;
use crate::lab::units::of;
use anyhow::{Context, anyhow, bail, ensure};
use std::time::Duration;

/// The figures that a gate may name.
pub static FIGURES: [Figure; 11] = [
    figure("cpu", Unit::Ratio, "CPU time of the server per request, to the baseline's"),
    figure("rate", Unit::Ratio, "requests per second, to the baseline's; in a closed loop"),
    figure("p50-ratio", Unit::Ratio, "median of the response time, to the baseline's; in an open loop"),
    figure("p99-ratio", Unit::Ratio, "the same, 99 % of the requests"),
    figure("requests", Unit::PerSecond, "requests per second"),
    figure("cpu-time", Unit::Microseconds, "CPU time of the server per request"),
    figure("p50", Unit::Microseconds, "median of the response time; of the service time in a closed loop"),
    figure("p99", Unit::Microseconds, "the same, 99 % of the requests"),
    figure("memory", Unit::Bytes, "memory of the server with all clients connected"),
    figure("memory-per-conn", Unit::Bytes, "what each connection added to it"),
    figure("calls", Unit::Ratio, "system calls of a model per request"),
];

/// How many of [`FIGURES`] are ratios to the baseline.
const RATIOS: usize = 4;

const fn figure(name: &'static str, unit: Unit, meaning: &'static str) -> Figure {
    Figure { name, unit, meaning }
}

fn is_ratio(figure: &Figure) -> bool {
    FIGURES[..RATIOS].iter().any(|known| known.name == figure.name)
}

/// The gates of a comparison, and the result that it is compared with.
#[derive(Debug)]
pub struct Gates {
    gates: Vec<Gate>,
    earlier: Option<Old>,
}

/// An earlier result.
#[derive(Debug)]
struct Old {
    file: String,
    comparison: Comparison,
}

/// A row, and the point that it is of.
type At<'a> = (&'a Group, &'a Row);

impl Gates {
    /// Gates as [`gate::read`](crate::lab::gate::read) gave them, and an earlier result with the name of its file.
    #[must_use]
    pub fn new(gates: Vec<Gate>, earlier: Option<(String, Comparison)>) -> Gates {
        Gates { gates, earlier: earlier.map(|(file, comparison)| Old { file, comparison }) }
    }

    /// Check that a comparison by `plan` can have the figures that the gates name, and that the earlier result was made by it.
    ///
    /// # Errors
    ///
    /// In one line, with what to do: when it cannot, or was made by another.
    pub fn check(&self, plan: &Plan) -> anyhow::Result<()> {
        if let Some(old) = &self.earlier {
            old.check(plan)?;
        }
        if self.gates.is_empty() {
            return Ok(());
        }
        let groups = super::outline(plan)?;
        for gate in &self.gates {
            self.check_gate(gate, plan, &groups)
                .map_err(|why| anyhow!("the gate `{}`: {why:#}", gate.text()))?;
        }
        Ok(())
    }

    fn check_gate(&self, gate: &Gate, plan: &Plan, groups: &[Group]) -> anyhow::Result<()> {
        let figure = gate.figure();
        ensure!(
            plan.starts > 1 || plan.precision.is_some() || !is_ratio(figure),
            "a ratio needs an interval, which one start does not have: give --starts 2 or more"
        );
        ensure!(
            is_ratio(figure) || !gate.is_relative(),
            "a multiple is of a ratio, in which the speed of the machine cancels: {}",
            names(&FIGURES[..RATIOS])
        );
        for at in rows(gate, groups)? {
            check_row(figure, at, plan).with_context(|| name(at))?;
            if gate.is_relative() {
                let old = self.earlier.as_ref();
                let old = old.context("a multiple is of an earlier result: give --baseline FILE")?;
                old.ratio(figure, at).map_err(|why| anyhow!("{} does not have it: {why}", old.file))?;
            }
        }
        Ok(())
    }

    /// Judge a comparison that is over, and put its ratios beside those of the earlier result. One that did not come to its end
    /// is not judged.
    pub fn judge(&self, comparison: &mut Comparison) {
        comparison.earlier = self.earlier.as_ref().map(|old| old.beside(comparison));
        comparison.gates = match interrupted(comparison) {
            Some(why) => self.gates.iter().map(|gate| gate.not_judged(why)).collect(),
            None => self.gates.iter().flat_map(|gate| self.judged(gate, comparison)).collect(),
        };
    }

    fn judged(&self, gate: &Gate, comparison: &Comparison) -> Vec<Judged> {
        match rows(gate, &comparison.groups) {
            Ok(rows) => rows.into_iter().map(|at| gate.judge(self.measured(gate, at))).collect(),
            Err(why) => {
                let measured = Measured::new(None, gate.figure().meaning.to_owned(), None);
                vec![gate.judge(Measured { why: Some(why.to_string()), ..measured })]
            }
        }
    }

    fn measured(&self, gate: &Gate, at: At<'_>) -> Measured {
        let figure = gate.figure();
        let old = self.earlier.as_ref().filter(|_| gate.is_relative());
        let (what, value) = match old {
            Some(old) => {
                let what = format!("{} over that of {}", in_words(figure, at.0), old.file);
                (what, old.times(figure, at).and_then(with_interval))
            }
            None if is_ratio(figure) => (in_words(figure, at.0), ratio(figure, at).and_then(with_interval)),
            None => (in_words(figure, at.0), absolute(figure, at).map(|value| (value, None))),
        };
        let (value, interval, why) = match value {
            Ok((value, interval)) => (Some(value), interval, None),
            Err(why) => (None, None, Some(why)),
        };
        // The earlier ratio is a part of the value already.
        let baseline = old.map(|_| 1.0);
        Measured { interval, why, baseline, ..Measured::new(Some(name(at)), what, value) }
    }
}

/// Why a comparison did not come to its end, in a word.
fn interrupted(comparison: &Comparison) -> Option<&'static str> {
    comparison.partial.then_some("interrupted")
}

/// As in a gate: `idle@1000/poll`.
fn name((group, row): At<'_>) -> String {
    format!("{}/{}", group.id(), row.name())
}

fn names(figures: &[Figure]) -> String {
    figures.iter().map(|figure| figure.name).collect::<Vec<_>>().join(", ")
}

/// The rows that a gate is on: of the point or workload that it names, or of all, the entrant that it names, or each one but
/// the baseline.
fn rows<'a>(gate: &Gate, groups: &'a [Group]) -> anyhow::Result<Vec<At<'a>>> {
    let named =
        gate.row().map(|row| row.split_once('/').map_or((row, None), |(point, one)| (point, Some(one))));
    let (point, entrant) = named.map_or((None, None), |(point, entrant)| (Some(point), entrant));
    let is_named = |group: &&Group| point.is_none_or(|name| group.id() == name || group.workload == name);
    let groups: Vec<&Group> = match groups.iter().filter(is_named).collect::<Vec<_>>() {
        named if named.is_empty() => {
            bail!(unknown("point", point.unwrap_or_default(), groups.iter().map(Group::id)))
        }
        named => named,
    };
    let is_meant = |row: &Row| match entrant {
        Some(name) => row.entrant == name && !row.control,
        None => !row.baseline && !row.control,
    };
    let rows = groups.iter().flat_map(|group| group.rows.iter().map(|row| (*group, row)));
    let rows: Vec<_> = rows.filter(|(_, row)| is_meant(row)).collect();
    match entrant.filter(|_| rows.is_empty()) {
        Some(name) => bail!(unknown("server", name, groups[0].rows.iter().map(|row| row.entrant.clone()))),
        None if rows.is_empty() => {
            bail!("there is no server beside the baseline: name one with --models or --server")
        }
        None => Ok(rows),
    }
}

fn unknown(what: &str, name: &str, all: impl Iterator<Item = String>) -> String {
    let mut known: Vec<String> = Vec::new();
    all.for_each(|one| {
        if !known.contains(&one) {
            known.push(one)
        }
    });
    let nearest = nearest(name, 2, known.iter().map(String::as_str));
    format!(
        "there is no {what} `{name}` in this comparison; the nearest: {nearest}; all: {}",
        known.join(", ")
    )
}

/// Whether a row can have a figure at all.
fn check_row(figure: &Figure, (group, row): At<'_>, plan: &Plan) -> anyhow::Result<()> {
    let is_open = group.load.rate.is_some();
    match figure.name {
        "rate" => {
            ensure!(!is_open, "the same rate is offered to all; gate `cpu`, `p50-ratio` or `p99-ratio`")
        }
        "p50-ratio" | "p99-ratio" => {
            ensure!(is_open, "latency is compared where a rate is offered: the workloads `open` and `sweep`");
        }
        _ => {}
    }
    ensure!(!(row.baseline && is_ratio(figure)), "it is the baseline, so its ratio is always 1");
    let server = plan.servers.iter().find(|server| server.name == row.entrant);
    ensure!(
        server.is_none() || figure.name != "calls",
        "system calls are counted in models of ours, and not in other servers"
    );
    let is_unknown = server.is_some_and(|server| matches!(server.reach, Reach::Running { pid: None, .. }));
    let is_of_a_process = ["cpu", "cpu-time", "memory", "memory-per-conn"].contains(&figure.name);
    ensure!(!(is_unknown && is_of_a_process), "its process is not known: add `,pid=N` to its --server");
    Ok(())
}

/// A figure in words, which say what kind of latency it is.
fn in_words(figure: &Figure, group: &Group) -> String {
    let clock = if group.load.rate.is_some() { "response time" } else { "service time (closed loop)" };
    match figure.name {
        "cpu" => "CPU ratio".to_owned(),
        "rate" => "rate ratio".to_owned(),
        "p50-ratio" => "p50 ratio".to_owned(),
        "p99-ratio" => "p99 ratio".to_owned(),
        "requests" => "the rate".to_owned(),
        "cpu-time" => "CPU time per request".to_owned(),
        "p50" | "p99" => format!("{clock} {}", figure.name),
        "memory" => "memory".to_owned(),
        "memory-per-conn" => "memory per connection".to_owned(),
        _ => "the number of system calls per request".to_owned(),
    }
}

/// What was measured of a row, or why nothing was.
fn figures(row: &Row) -> Result<&Figures, String> {
    let reason = row.reason.as_deref().unwrap_or("no reason was given");
    let what = if row.status == Status::Failed { "the row failed" } else { "the row was skipped" };
    row.figures.as_ref().ok_or_else(|| format!("{what}: {reason}"))
}

/// A ratio to the baseline, or why there is none.
fn ratio(figure: &Figure, (group, row): At<'_>) -> Result<Estimate, String> {
    let of_row = figures(row)?;
    if let Some(why) = &of_row.not_judged {
        return Err(why.clone());
    }
    let baseline = group.baseline().and_then(|row| row.figures.as_ref());
    is_its_own(figure, of_row)?;
    if let Some(baseline) = baseline {
        is_its_own(figure, baseline).map_err(|why| format!("of the baseline, {why}"))?;
    }
    let judged = match figure.name {
        "cpu" => of_row.cpu,
        "rate" => of_row.rate,
        "p50-ratio" => of_row.p50,
        _ => of_row.p99,
    };
    judged.map(|judged| judged.ratio).ok_or_else(|| "it is not known here".to_owned())
}

/// A gate on a ratio needs its interval.
fn with_interval(ratio: Estimate) -> Result<(f64, Option<Interval>), String> {
    let interval = ratio.low.zip(ratio.high).map(|(low, high)| Interval { low, high });
    let interval = interval.ok_or_else(|| "a single start has no interval".to_owned())?;
    Ok((ratio.ratio, Some(interval)))
}

fn absolute(figure: &Figure, (_, row): At<'_>) -> Result<f64, String> {
    let figures = figures(row)?;
    is_its_own(figure, figures)?;
    let value = match figure.name {
        "requests" => Some(figures.requests_per_s.median),
        "cpu-time" => figures.cpu_us_per_request.map(|us| us.median),
        "p50" => figures.latency_us.p50,
        "p99" => figures.latency_us.p99,
        "memory" => figures.memory.connected.map(|bytes| bytes as f64),
        "memory-per-conn" => figures.memory_per_connection,
        _ => figures.syscalls_per_request.as_ref().map(|calls| calls.total),
    };
    value.ok_or_else(|| "it is not known here".to_owned())
}

/// Whether a rate or a latency is the server's, and not its generator's, and whether the latency is of all requests that were
/// due.
fn is_its_own(figure: &Figure, figures: &Figures) -> Result<(), String> {
    let Figures { generator_busy_share: busy, missed_slices: missed, slices, .. } = *figures;
    let is_latency = figure.name.starts_with('p');
    if busy >= BUSY_LIMIT && (is_latency || ["rate", "requests"].contains(&figure.name)) {
        return Err(format!("the generator was the limit, busy {:.0} % of the time", busy * 100.0));
    }
    // A few slices do not move a median, but a percentile of all requests.
    let too_many = if figure.name == "p99" { missed > 0 } else { missed * 2 > slices };
    if is_latency && too_many {
        return Err(format!("the rate was missed in {missed} of {}", of(slices as u64, "slice")));
    }
    Ok(())
}

impl Old {
    /// It must have come to its end, and be of a comparable plan. Every setting that conflicts is named.
    fn check(&self, plan: &Plan) -> anyhow::Result<()> {
        let file = &self.file;
        ensure!(
            !self.comparison.partial,
            "the baseline {file} is of a comparison that was interrupted: give one that came to its end"
        );
        let conflicts = plan.conflicts(&self.comparison.plan);
        let words: Vec<_> = conflicts.iter().map(ToString::to_string).collect();
        ensure!(
            words.is_empty(),
            "the baseline {file} is of another plan, and cannot be compared: {}; give the options of that comparison, or \
             --rerun {file}",
            words.join("; ")
        );
        Ok(())
    }

    /// The ratio of the same row.
    fn ratio(&self, figure: &Figure, (group, row): At<'_>) -> Result<Estimate, String> {
        let is_same = |(there, other): &At<'_>| {
            there.id() == group.id() && other.entrant == row.entrant && other.control == row.control
        };
        let at = self.comparison.rows().find(is_same).ok_or("it has no such row")?;
        ratio(figure, at)
    }

    /// How many times the earlier ratio this one is.
    fn times(&self, figure: &Figure, at: At<'_>) -> Result<Estimate, String> {
        let old = self.ratio(figure, at).map_err(|why| format!("{why} in {}", self.file))?;
        Ok(ratio(figure, at)?.over(&old))
    }

    fn beside(&self, comparison: &Comparison) -> Earlier {
        let rows = comparison.rows().filter(|(_, row)| !row.baseline && !row.control);
        let all = rows.flat_map(|at| FIGURES[..RATIOS].iter().map(move |figure| (at, figure)));
        Earlier {
            file: self.file.clone(),
            started_unix_s: self.comparison.environment.started_unix_s(),
            environment: differences(&comparison.environment, &self.comparison.environment, &DIFFERS_ALWAYS),
            plan: comparison.plan.other_differences(&self.comparison.plan),
            figures: all.filter_map(|(at, figure)| self.compared(figure, at)).collect(),
        }
    }

    /// Both ratios of a row; `None` when neither was measured.
    fn compared(&self, figure: &Figure, at: At<'_>) -> Option<Compared> {
        let (old, new) = (self.ratio(figure, at).ok(), ratio(figure, at).ok());
        old.or(new)?;
        let both = new.zip(old);
        Some(Compared {
            point: at.0.id(),
            entrant: at.1.entrant.clone(),
            figure: figure.name.to_owned(),
            old,
            new,
            times: both.map(|(new, old)| new.over(&old)),
            changed: both.and_then(|(new, old)| new.is_apart_from(&old)),
        })
    }
}

/// The comparison as JUnit XML: a case for each gate, and one for each row.
///
/// # Errors
///
/// None in practice: it is written into memory.
pub fn junit(comparison: &Comparison) -> Result<String, quick_junit::SerializeError> {
    let mut checks: Vec<_> = comparison.rows().map(check).collect();
    if comparison.rows().all(|(_, row)| row.status == Status::Skipped) {
        // Skipped cases alone would look like a success.
        checks.push(Check { name: "something was measured".to_owned(), found: comparison.trouble().into() });
    }
    let title = format!("comparison of {}", of(comparison.entrants.len() as u64, "server"));
    let took = Duration::try_from_secs_f64(comparison.seconds).unwrap_or_default();
    junit::of_run(("compare", &title, took), interrupted(comparison), &checks, &comparison.gates)
}

fn check(at: At<'_>) -> Check {
    let reason = at.1.reason.clone().unwrap_or_default();
    let found = match at.1.status {
        Status::Measured => Found::Right,
        Status::Skipped => Found::Skipped(reason),
        Status::Failed => Found::Wrong(reason),
    };
    Check { name: format!("{}: every byte right, no connection lost", name(at)), found }
}
