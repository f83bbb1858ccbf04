//! A merged report, for people.

use super::load::CLOSED_LOOP;
use super::{Page, Table, WRONG, paint, paint_if};
use crate::lab::results::load::{ByClock, Counts, Mode, Report};
use crate::lab::units::{count, latency, of, rate, seconds};
use anstyle::Style;

/// What a log does not tell is not zero.
const UNKNOWN: &str = "not in the log";

pub(super) fn show(report: &Report, page: &mut Page) {
    page.paragraph(&head(report));
    requests(report, page);
    page.line("rate", report.rate());
    latencies(report, page);
    let cpu = report.counts.generator_cpu_s;
    page.line("generators", cpu.map_or_else(|| format!("CPU time: {UNKNOWN}"), |cpu| seconds(cpu) + " CPU"));
    checked(report, page);
    page.table(&generators(report));
}

fn head(report: &Report) -> String {
    let mode =
        report.mode.map_or_else(|| "logs of another program".to_owned(), |mode| format!("{mode} loop"));
    let generators = of(report.merged_from.len() as u64, "generator");
    let connections = report.connections.map_or_else(String::new, |n| format!(", {}", of(n, "connection")));
    let idle =
        if report.idle() > 0 { format!(" and {} idle ones", count(report.idle())) } else { String::new() };
    let target = report.target.map_or_else(String::new, |target| format!(" to {target}"));
    let sizes = report.plan.as_ref().map_or_else(String::new, |plan| format!(", {} per request", plan.sizes));
    let how = if report.simultaneous == Some(false) { ", not at the same time" } else { "" };
    format!("{mode}: {generators}{connections}{idle}{target}{sizes}, {}{how}", seconds(report.seconds))
}

fn requests(report: &Report, page: &mut Page) {
    let Counts { due, sent, unsent, late, late_by_generator, answered, answered_after, unanswered, .. } =
        report.counts;
    let requests = match sent {
        None => format!("{} answered; sent: {UNKNOWN}", count(answered)),
        Some(sent) => {
            let mut text = format!("{} sent, {} answered", count(sent), count(answered));
            if let Some(after) = answered_after.filter(|&n| n > 0) {
                text += &format!(", {} more after the end", count(after));
            }
            if let Some(without) = unanswered.filter(|&n| n > 0) {
                let without = format!("{} without an answer", count(without));
                text = format!("{text}, {}", paint(WRONG, &without));
            }
            text
        }
    };
    page.line("requests", requests);
    if report.mode == Some(Mode::Closed) {
        return;
    }
    let (Some(due), Some(late), Some(by_us), Some(unsent)) = (due, late, late_by_generator, unsent) else {
        return page.line("schedule", format!("due, late and unsent: {UNKNOWN}"));
    };
    let late_ms =
        report.late_us.map_or_else(String::new, |us| format!(" by more than {} ms", us as f64 / 1e3));
    let unsent = paint_if(unsent > 0, WRONG, format!("{} unsent", count(unsent)));
    let (due, late, by_us) = (count(due), count(late), count(by_us));
    page.line(
        "schedule",
        format!("{due} due, {late} late{late_ms} ({by_us} of them by the generators), {unsent}"),
    );
}

fn latencies(report: &Report, page: &mut Page) {
    if report.latency().max.is_none() {
        return page.line("latency", "– (no answer came)");
    }
    let ByClock { response, service, connect, .. } = &report.latency_us;
    match response {
        Some(response) => {
            page.line("response time", response.to_string());
            page.line("service time", service.to_string());
        }
        None => page.line("latency", service.to_string()),
    }
    if report.mode == Some(Mode::Closed) {
        page.more(CLOSED_LOOP);
    }
    if let Some(connect) = connect {
        page.line("connect", connect.to_string());
    }
}

fn checked(report: &Report, page: &mut Page) {
    let Counts { wrong_bytes, lost_connections, .. } = report.counts;
    let lost = |n: u64| paint_if(n > 0, WRONG, of(n, "connection") + " lost");
    page.line(
        "checked",
        match (wrong_bytes.zip(lost_connections), report.known_lost()) {
            (Some((wrong, n)), _) => {
                let wrong = paint_if(wrong > 0, WRONG, format!("{} wrong", count(wrong)));
                format!("every byte: {wrong}, {}", lost(n))
            }
            (None, 0) => UNKNOWN.to_owned(),
            (None, n) => format!("{UNKNOWN}; {} in the others", lost(n)),
        },
    );
}

/// A row for each generator.
fn generators(report: &Report) -> Table {
    let mut table = Table::new(&["from", "connections", "requests/s", "p99", "lost"], "");
    for part in &report.merged_from {
        let number = |n: Option<u64>| n.map_or_else(|| UNKNOWN.to_owned(), count);
        let cells = [
            part.file.clone(),
            number(part.connections),
            rate(part.achieved_per_s),
            latency(part.p99_us),
            number(part.lost_connections),
        ];
        table.row(cells, "", Style::new());
    }
    table
}
