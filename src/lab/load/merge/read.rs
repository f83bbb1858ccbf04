//! What a generator wrote, read again: a report or a log.

use super::document::{Document, Encoded, SCHEMA, VERSION};
use super::{Counts, Format, Histograms, Merged, Part, rates, setting};
use crate::lab::load::hlog::{self, Logged, decoded};
use crate::lab::load::record::histogram;
use crate::lab::load::{LatencyUs, Lost};
use anyhow::{Context, anyhow, bail, ensure};
use hdrhistogram::Histogram;
use serde_json::{Map, Value};

/// What to do about a damaged file.
const REMEDY: &str = "give the file as `io-models load` wrote it, or run that load again";

/// Figures that every report has. The struct that is read takes what is missing for what is not known, as in merged
/// reports of logs, where it is `null`.
const FIGURES: [&str; 17] = [
    "plan",
    "connections",
    "started_unix_s",
    "offered_per_s",
    "due",
    "sent",
    "unsent",
    "late",
    "late_by_generator",
    "answered_after",
    "unanswered",
    "at_least",
    "clamped",
    "wrong_bytes",
    "lost_connections",
    "opened",
    "generator_cpu_s",
];

/// A log whose first interval is that many seconds after its start, some thirty years, counts from 1970.
const FROM_1970: f64 = 1e9;

pub(super) fn read(name: &str, bytes: &[u8]) -> anyhow::Result<Merged> {
    if bytes.trim_ascii_start().starts_with(b"{") { report(name, bytes) } else { log(name, bytes) }
}

fn report(name: &str, bytes: &[u8]) -> anyhow::Result<Merged> {
    let value: Value = serde_json::from_slice(bytes).map_err(|why| {
        if why.is_eof() {
            anyhow!("the JSON is cut off ({why}); {REMEDY}")
        } else {
            anyhow!(
                "not one JSON document ({why}); give what `io-models load` wrote with `--json -o` or `--hlog`"
            )
        }
    })?;
    check_schema(&value)?;
    for key in FIGURES {
        ensure!(value.get(key).is_some(), "a damaged report: `{key}` is missing; {REMEDY}");
    }
    let document: Document =
        serde_json::from_value(value).map_err(|why| anyhow!("a damaged report: {why}; {REMEDY}"))?;
    check(&document)?;
    let histograms = decode(&document.histograms)?;
    let parts = if document.merged_from.is_empty() {
        check_counts(&document.counts, &histograms)?;
        vec![part_of(name, &document, &histograms)]
    } else {
        document.merged_from
    };
    Ok(Merged {
        name: name.to_owned(),
        plan: document.plan,
        target: document.target,
        partial: document.partial,
        missed_rate: document.missed_rate,
        late_us: document.late_us,
        counts: document.counts,
        histograms,
        parts,
        warnings: Vec::new(),
    })
}

fn check_schema(value: &Value) -> anyhow::Result<()> {
    match value["schema"].as_str() {
        Some(SCHEMA) => {}
        Some(other) => {
            bail!("its schema is {other}, and only {SCHEMA} can be merged; give a report of `io-models load`")
        }
        None => {
            bail!(
                "it has no schema, and only {SCHEMA} can be merged; give a report of `io-models load --json`"
            )
        }
    }
    let version = &value["schema_version"];
    ensure!(
        version.as_u64() == Some(VERSION),
        "its schema_version is {version}, and only {VERSION} is known here; merge with the io-models that wrote it"
    );
    Ok(())
}

/// What the types do not say.
fn check(document: &Document) -> anyhow::Result<()> {
    let parts = &document.merged_from;
    let times = parts.iter().map(|part| part.seconds).chain([document.seconds]);
    ensure!(times.into_iter().all(|s| s >= 0.0), "a damaged report: a time below zero; {REMEDY}");
    let mode = document.plan.as_ref().map(|plan| setting(plan, "mode"));
    ensure!(
        mode.and_then(Value::as_str) == document.mode.as_deref(),
        "a damaged report: its mode is not that of its plan; {REMEDY}"
    );
    let is_open = document.mode.as_deref() == Some("open");
    ensure!(
        is_open == document.histograms.response.is_some(),
        "a damaged report: a histogram `response` is there in an open loop, and only there; {REMEDY}"
    );
    Ok(())
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

fn part_of(name: &str, document: &Document, histograms: &Histograms) -> Part {
    let first_lost = |lost: &Lost| format!("connection {}: {}", lost.connection, lost.reason);
    Part {
        file: name.to_owned(),
        format: Format::Json,
        started_unix_s: document.started_unix_s,
        seconds: document.seconds,
        connections: document.connections,
        offered_per_s: document.offered_per_s,
        achieved_per_s: document.achieved_per_s,
        answered: document.counts.completed,
        p99_us: LatencyUs::of(histograms.latency()).p99,
        lost_connections: document.counts.lost_connections,
        first_lost: document.lost.first().map(first_lost),
        fingerprint: histograms.fingerprint(),
    }
}

fn log(name: &str, bytes: &[u8]) -> anyhow::Result<Merged> {
    let mut logged = hlog::read(bytes)?;
    let (plan, parts) = plan_and_parts(logged.plan.take())?;
    let is_open = plan.as_ref().is_some_and(|plan| setting(plan, "mode") == "open");
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
            due: None,
            sent: None,
            unsent: None,
            late: None,
            late_by_generator: None,
            answered,
            answered_after: None,
            unanswered: None,
            at_least: histograms.at_least(),
            completed: answered,
            clamped: None,
            wrong_bytes: None,
            lost_connections: None,
            opened: None,
            generator_cpu_s: None,
        },
        histograms,
        parts,
        warnings,
    })
}

type PlanAndParts = (Option<Map<String, Value>>, Option<Vec<Part>>);

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
    ensure!(
        matches!(setting(&plan, "mode").as_str(), Some("open" | "closed")),
        "the plan of the run is damaged: it has no mode; {REMEDY}"
    );
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

fn part_of_log(
    name: &str,
    logged: &Logged,
    plan: Option<&Map<String, Value>>,
    histograms: &Histograms,
) -> Part {
    let seconds = (logged.to - logged.from).as_secs_f64();
    let answered = answered(histograms);
    let rates = plan.map(rates).unwrap_or_default();
    Part {
        file: name.to_owned(),
        format: Format::Hlog,
        started_unix_s: start(logged, plan),
        seconds,
        connections: plan.and_then(|plan| setting(plan, "connections").as_u64()),
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
fn start(logged: &Logged, plan: Option<&Map<String, Value>>) -> Option<f64> {
    let from = logged.from.as_secs_f64();
    if from > FROM_1970 {
        return Some(from);
    }
    let warmup = plan.and_then(|plan| setting(plan, "warmup_s").as_f64()).unwrap_or(0.0);
    Some(logged.started? + warmup + from)
}
