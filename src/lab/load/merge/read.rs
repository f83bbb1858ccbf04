//! What a generator wrote, read again: a report or a log.

use super::{Histograms, Merged};
use crate::lab::load::hlog::{self, Logged, decoded};
use crate::lab::load::record::histogram;
use crate::lab::load::{LatencyUs, Lost};
use crate::lab::results::load::{Counts, Format, Histograms as Encoded, Mode, Part, Plan, REMEDY, Report};
use anyhow::{Context, anyhow, bail, ensure};
use hdrhistogram::Histogram;
use serde_json::Value;

/// A log whose first interval is that many seconds after its start, some thirty years, counts from 1970.
const FROM_1970: f64 = 1e9;

pub(super) fn read(name: &str, bytes: &[u8]) -> anyhow::Result<Merged> {
    if bytes.trim_ascii_start().starts_with(b"{") { report(name, bytes) } else { log(name, bytes) }
}

fn report(name: &str, bytes: &[u8]) -> anyhow::Result<Merged> {
    let report = Report::read(bytes)?;
    let histograms = decode(&report.histograms)?;
    let parts = if report.merged_from.is_empty() {
        check_counts(&report.counts, &histograms)?;
        vec![part_of(name, &report, &histograms)]
    } else {
        report.merged_from
    };
    Ok(Merged {
        name: name.to_owned(),
        plan: report.plan,
        target: report.target,
        partial: report.partial,
        missed_rate: report.missed_rate,
        late_us: report.late_us,
        counts: report.counts,
        histograms,
        parts,
        warnings: Vec::new(),
    })
}

/// Each request that was due is in the histogram of latencies, and each without answer in that of the unfinished.
fn check_counts(counts: &Counts, histograms: &Histograms) -> anyhow::Result<()> {
    let requests = histograms.latency().len();
    let sent = histograms.service.len();
    let answers = counts.answered.saturating_add(counts.answered_after.unwrap_or_default());
    ensure!(
        sent >= answers && Some(sent) <= counts.sent,
        "a damaged report: {sent} requests in its histogram of service times do not fit {answers} answers and {} sent; \
         {REMEDY}",
        counts.sent.unwrap_or_default()
    );
    ensure!(
        counts.due == Some(requests) && counts.at_least == histograms.at_least(),
        "a damaged report: {requests} requests in its histogram, {} of them without answer, do not fit {} that were due \
         and {} without answer; {REMEDY}",
        histograms.at_least().unwrap_or_default(),
        counts.due.unwrap_or_default(),
        counts.at_least.unwrap_or_default()
    );
    Ok(())
}

fn decode(encoded: &Encoded) -> anyhow::Result<Histograms> {
    let one = |name: &str, text: &str| {
        decoded(text)
            .map_err(|why| anyhow!("the histogram `{name}` is damaged or cut off: {why:#}; {REMEDY}"))
    };
    Ok(Histograms {
        response: encoded.response.as_deref().map(|text| one("response", text)).transpose()?,
        service: one("service", &encoded.service)?,
        unfinished: encoded.unfinished.as_deref().map(|text| one("unfinished", text)).transpose()?,
        connect: encoded.connect.as_deref().map(|text| one("connect", text)).transpose()?,
    })
}

fn part_of(name: &str, report: &Report, histograms: &Histograms) -> Part {
    let first_lost = |lost: &Lost| format!("connection {}: {}", lost.connection, lost.reason);
    Part {
        file: name.to_owned(),
        format: Format::Json,
        started_unix_s: report.started_unix_s,
        seconds: report.seconds,
        connections: report.connections,
        offered_per_s: report.offered_per_s,
        achieved_per_s: report.achieved_per_s,
        answered: report.counts.completed,
        p99_us: LatencyUs::of(histograms.latency()).p99,
        lost_connections: report.counts.lost_connections,
        first_lost: report.alone.as_ref().and_then(|alone| alone.lost.first()).map(first_lost),
        fingerprint: histograms.fingerprint(),
    }
}

fn log(name: &str, bytes: &[u8]) -> anyhow::Result<Merged> {
    let mut logged = hlog::read(bytes)?;
    let (plan, parts) = plan_and_parts(logged.plan.take())?;
    let is_open = plan.as_ref().is_some_and(|plan| plan.mode == Mode::Open);
    let (histograms, warnings) = histograms_of(name, &mut logged, is_open, plan.is_some())?;
    let answered = answered(&histograms);
    let parts = match parts {
        Some(parts) => parts,
        None => vec![part_of_log(name, &logged, plan.as_ref(), &histograms)],
    };
    Ok(Merged {
        name: name.to_owned(),
        plan,
        target: None,
        partial: None,
        missed_rate: None,
        late_us: None,
        counts: Counts {
            answered,
            at_least: histograms.at_least(),
            completed: answered,
            ..Counts::default()
        },
        histograms,
        parts,
        warnings,
    })
}

type PlanAndParts = (Option<Plan>, Option<Vec<Part>>);

/// The plan of a log, and of what it was merged, if it was.
fn plan_and_parts(plan: Option<Value>) -> anyhow::Result<PlanAndParts> {
    let mut plan = match plan {
        None => return Ok((None, None)),
        Some(Value::Object(plan)) => plan,
        Some(_) => bail!("the plan of the run is damaged: it is no object; {REMEDY}"),
    };
    let parts = plan.remove("merged_from").map(serde_json::from_value).transpose();
    let parts = parts.map_err(|why| anyhow!("the plan of the run is damaged: {why}; {REMEDY}"))?;
    let is_merged = parts.as_ref().is_some_and(|parts: &Vec<Part>| !parts.is_empty());
    if plan.is_empty() && is_merged {
        // Merged of logs of other programs.
        return Ok((None, parts));
    }
    let plan = serde_json::from_value(Value::Object(plan))
        .map_err(|why| anyhow!("the plan of the run is damaged, or of another version: {why}; {REMEDY}"))?;
    Ok((Some(plan), parts.filter(|_| is_merged)))
}

fn histograms_of(
    name: &str,
    logged: &mut Logged,
    is_open: bool,
    is_ours: bool,
) -> anyhow::Result<(Histograms, Vec<String>)> {
    let mut take = |tag: Option<&str>| {
        let at = logged.histograms.iter().position(|(known, _)| known.as_deref() == tag)?;
        Some(logged.histograms.remove(at).1)
    };
    let Some(untagged) = take(None) else {
        let tags: Vec<_> = logged.histograms.iter().filter_map(|(tag, _)| tag.as_deref()).collect();
        let (all, first) = (tags.join(", "), tags.first().copied().unwrap_or_default());
        bail!(
            "the log has only intervals with tags ({all}), and `merge` adds those without; to merge those of {first}, \
             take the tag away: sed '/^Tag=/s/^Tag={first},//;/^Tag=/d' {name} > {first}.hlog"
        );
    };
    let unfinished = if is_ours { Some(take(Some("unfinished")).unwrap_or_else(histogram)) } else { None };
    let histograms = if is_open {
        let service = take(Some("service"))
            .with_context(|| format!("a damaged log: no interval has the tag `service`; {REMEDY}"))?;
        Histograms { response: Some(untagged), service, unfinished, connect: take(Some("connect")) }
    } else {
        // What another program has measured is not known: service time promises less.
        let connect = if is_ours { take(Some("connect")) } else { None };
        Histograms { response: None, service: untagged, unfinished, connect }
    };
    let left: Vec<_> = logged.histograms.iter().filter_map(|(tag, _)| tag.as_deref()).collect();
    let mut warnings = Vec::new();
    if !left.is_empty() {
        warnings.push(format!("{name}: intervals with the tag {} are not merged", left.join(", ")));
    }
    check_one_precision(&histograms)?;
    Ok((histograms, warnings))
}

/// Answers: what is in the histogram of latencies without the requests that have none.
fn answered(histograms: &Histograms) -> u64 {
    histograms.latency().len().saturating_sub(histograms.at_least().unwrap_or(0))
}

fn check_one_precision(histograms: &Histograms) -> anyhow::Result<()> {
    let digits = histograms.service.sigfig();
    let differs = |histogram: &Histogram<u64>| histogram.sigfig() != digits;
    let others = [&histograms.response, &histograms.connect];
    ensure!(
        !others.into_iter().flatten().any(differs),
        "a damaged log: its histograms differ in precision; {REMEDY}"
    );
    Ok(())
}

fn part_of_log(name: &str, logged: &Logged, plan: Option<&Plan>, histograms: &Histograms) -> Part {
    let seconds = (logged.to - logged.from).as_secs_f64();
    let answered = answered(histograms);
    let rates = plan.map_or(&[][..], |plan| &plan.offered_per_s);
    Part {
        file: name.to_owned(),
        format: Format::Hlog,
        started_unix_s: start(logged, plan),
        seconds,
        connections: plan.map(|plan| plan.connections as u64),
        // Each rate was offered for the same time.
        offered_per_s: (!rates.is_empty()).then(|| rates.iter().sum::<f64>() / rates.len() as f64),
        achieved_per_s: if seconds > 0.0 { answered as f64 / seconds } else { 0.0 },
        answered,
        p99_us: LatencyUs::of(histograms.latency()).p99,
        lost_connections: None,
        first_lost: None,
        fingerprint: histograms.fingerprint(),
    }
}

/// When the clock of a log started. Ours are begun before the warm-up.
fn start(logged: &Logged, plan: Option<&Plan>) -> Option<f64> {
    let from = logged.from.as_secs_f64();
    if from > FROM_1970 {
        return Some(from);
    }
    let warmup = plan.map_or(0.0, |plan| plan.warmup_s);
    Some(logged.started? + warmup + from)
}
