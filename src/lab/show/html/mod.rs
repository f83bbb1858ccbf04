//! A comparison as a page: one file that needs no other, no script and no network.
//!
//! Findings come first, then a ranking for each workload, then what explains them, then all figures. Everything that comes
//! from the result is escaped: names of servers are their users'. A Content-Security-Policy forbids whatever is not the
//! page's own style, so that even a fault in the escaping could load and run nothing.

mod charts;
pub mod check;
pub mod facts;
mod findings;
mod gates;
mod table;
pub mod trace;

use super::svg::{self, Chart, embedded};
use crate::lab::Status;
use crate::lab::lang::Lang;
use crate::lab::results::compare::{Comparison, Group, Judged, Row};
use crate::lab::units;
use charts::Looks;
use maud::{DOCTYPE, Markup, PreEscaped, html};

const STYLE: &str = include_str!("page.css");

/// Only the page's own style: no script, no image, no font, no request.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'";

/// A workload with more points than that has a ranking for the last one only; its charts have all.
const MOST_RANKINGS: usize = 2;

/// The page.
#[must_use]
pub fn page(result: &Comparison) -> String {
    let looks = Looks::of(result);
    let title = format!("Servers compared with {}", result.plan.baseline);
    let after = [
        rankings(result),
        against(result, &looks),
        latency(result, &looks),
        offered(result, &looks),
        calls(result),
        memory(result),
        figures(result),
        environment(result),
        how_to_read(result),
        repeat(result),
    ];
    let sections: Vec<Section> =
        [findings(result)].into_iter().chain(gates::sections(result)).chain(after).collect();
    let warnings = warnings(result);
    let intro = html! {
        p.soft { (summary(result)) }
        @if !warnings.is_empty() { ul.warning { @for warning in warnings { li { (warning) } } } }
    };
    document(Lang::En, &title, "", &intro, &sections)
}

/// A page of these sections in a language, with an introduction before them, and with a style that only this kind of page needs.
fn document(lang: Lang, title: &str, style: &str, intro: &Markup, sections: &[Section]) -> String {
    let page = html! {
        (DOCTYPE)
        html lang=(lang.tag()) {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(POLICY);
                meta name="viewport" content="width=device-width,initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) }
                style { (PreEscaped(svg::STYLE)) (PreEscaped(STYLE)) (PreEscaped(style)) }
            }
            body {
                header { h1 { (title) } (intro) }
                nav aria-label=(lang.say("On this page", "本页内容")) {
                    ul { @for Section { id, heading, .. } in sections { li { a href={ "#" (id) } { (heading) } } } }
                }
                main {
                    @for Section { id, heading, content } in sections {
                        section id=(id) { h2 { (heading) } (content) }
                    }
                }
            }
        }
    };
    svg::clean(&page.into_string())
}

/// The chart that says most, as a file of its own: CPU time per request against idle connections, or else the ranking of the
/// first workload. `None` when nothing was measured.
#[must_use]
pub fn picture(result: &Comparison) -> Option<String> {
    let looks = Looks::of(result);
    let workloads = result.plan.workloads.iter();
    let idle = workloads.flat_map(|workload| charts::against(result, &workload.name, &looks)).next();
    let ranking = || result.groups.iter().flat_map(|group| charts::rankings(result, group)).next();
    let chart = idle.map(|lines| Box::new(lines) as Box<dyn Chart>).or_else(|| Some(Box::new(ranking()?)))?;
    Some(svg::standalone(&*chart, svg::WIDE))
}

struct Section {
    id: &'static str,
    heading: &'static str,
    content: Markup,
}

/// How many of something.
fn count(n: usize, one: &str) -> String {
    units::of(n as u64, one)
}

/// How a row came about that has no place in the ranking.
fn word(row: &Row) -> &'static str {
    match row.status {
        Status::Measured | Status::Skipped => "not comparable",
        Status::Failed => "failed",
    }
}

/// A ratio with its interval.
fn ratio(judged: &Judged) -> String {
    let ratio = judged.ratio;
    match (judged.verdict, ratio.low.zip(ratio.high)) {
        (Some(_), Some((low, high))) => {
            format!("{} [{}–{}]", factor(ratio.ratio), factor(low), factor(high))
        }
        _ => factor(ratio.ratio),
    }
}

/// A ratio with the digits that matter: `0.004`, `0.96`, `13.0`, `271`.
fn factor(ratio: f64) -> String {
    match ratio {
        ..0.0005 => "<0.001".to_owned(),
        ..0.0995 => format!("{ratio:.3}"),
        ..9.995 => format!("{ratio:.2}"),
        ..99.95 => format!("{ratio:.1}"),
        _ => units::count(ratio.round() as u64),
    }
}

fn summary(result: &Comparison) -> Markup {
    let workloads: Vec<_> = result.plan.workloads.iter().map(|workload| workload.name.as_str()).collect();
    html! {
        (count(result.entrants.len(), "server")) " under " (count(workloads.len(), "workload")) " ("
        (workloads.join(", ")) "), measured side by side in " span.r { (units::seconds(result.seconds)) } ". "
        (result.environment.line()) "."
    }
}

fn warnings(result: &Comparison) -> Vec<String> {
    let partial = result.partial.then(|| "This result is partial: the run was interrupted.".to_owned());
    let quick = result
        .plan
        .quick
        .then(|| "This was a quick run: fewer starts and slices than reliable intervals need.".to_owned());
    let not_known = result.not_known.iter().map(|what| sentence(what));
    partial.into_iter().chain(quick).chain(not_known).collect()
}

/// How many points the workload of a group has.
fn points(result: &Comparison, group: &Group) -> usize {
    result.groups.iter().filter(|other| other.workload == group.workload && !other.common).count()
}

/// Words as a sentence: with a capital letter and a full stop.
fn sentence(words: &str) -> String {
    let mut chars = words.chars();
    let first = chars.next().map(char::to_uppercase);
    format!("{}{}.", first.map(String::from_iter).unwrap_or_default(), chars.as_str())
}

/// The groups that have a ranking.
fn ranked_groups(result: &Comparison) -> Vec<&Group> {
    let mut chosen = Vec::new();
    for workload in &result.plan.workloads {
        let groups = result.groups.iter().filter(|group| group.workload == workload.name);
        let (common, points): (Vec<_>, Vec<_>) = groups.partition(|group| group.common);
        let skipped = if points.len() > MOST_RANKINGS { points.len() - 1 } else { 0 };
        chosen.extend(points.into_iter().skip(skipped).chain(common));
    }
    chosen
}

/// What the load of a group is.
fn load(group: &Group) -> String {
    let load = &group.load;
    let mut parts = vec![count(load.active, "active connection")];
    if load.idle > 0 {
        parts.push(count(load.idle, "idle connection"));
    }
    parts.push(format!("{} per request", units::bytes(u64::from(load.size))));
    if load.depth > 1 {
        parts.push(format!("{} requests under way on each", load.depth));
    }
    if let Some(requests) = load.requests_per_connection {
        parts.push(format!("a new connection after {}", count(requests as usize, "request")));
    }
    if let Some(rate) = load.rate_per_s {
        parts.push(format!("{} requests/s offered", units::rate(rate)));
    }
    let mut text = parts.join(", ");
    if group.common {
        text += "; the most that all of these servers can take";
    }
    text
}

fn figure(chart: &dyn Chart) -> Markup {
    html! { figure { (embedded(chart)) } }
}

/// What a section says when it has nothing to show.
fn nothing(what: &str) -> Markup {
    html! { p.soft { (what) } }
}

fn findings(result: &Comparison) -> Section {
    let by_idle: Vec<_> =
        result.plan.workloads.iter().flat_map(|workload| findings::idle(result, &workload.name)).collect();
    let groups = ranked_groups(result);
    let content = html! {
        @for group in &groups {
            @let sentences = findings::of_group(group);
            @if !sentences.is_empty() {
                div.finding {
                    p { b { (group.id()) } br; span.soft { (load(group)) } }
                    ul { @for sentence in sentences { li { (sentence) } } }
                }
            }
        }
        @if !by_idle.is_empty() {
            h3 { "As silent connections are added" }
            ul { @for sentence in by_idle { li { (sentence) } } }
        }
        @if let Some(noise) = findings::noise(&groups) { h3 { "How small a difference can be told" } p { (noise) } }
        @if groups.is_empty() { (nothing("Nothing was measured.")) }
    };
    Section { id: "findings", heading: "Findings", content }
}

fn rankings(result: &Comparison) -> Section {
    let content = html! {
        p.soft {
            "The cheapest server is on top. A triangle that points up is better than the baseline, one that points down is "
            "worse, and a ring is a difference that was not shown. The line through a marker is the interval of the ratio, "
            "the grey band the interval of the baseline against itself (A/A). An interval that reaches the end of the axis goes on."
        }
        @for group in ranked_groups(result) {
            h3 { (group.id()) }
            p.soft { (load(group)) "." }
            div.beside { @for chart in charts::rankings(result, group) { figure { (svg::narrow(&chart)) } } }
            @let reasons = findings::reasons(group);
            @if !reasons.is_empty() {
                ul.reasons { @for (name, word, why) in reasons { li { code { (name) } " " b { (word) } ": " (why) } } }
            }
        }
    };
    Section { id: "ranking", heading: "Ranking", content }
}

fn against(result: &Comparison, looks: &Looks) -> Section {
    let charts: Vec<_> = result
        .plan
        .workloads
        .iter()
        .flat_map(|workload| charts::against(result, &workload.name, looks))
        .collect();
    let content = html! {
        @if charts.is_empty() {
            (nothing("No workload was measured with several numbers of connections. With --workloads idle this chart is filled."))
        } @else {
            p.soft { "Both axes are logarithmic. The bars are the middle half of the slices." }
        }
        @for chart in &charts { (figure(chart)) }
    };
    Section { id: "connections", heading: "Cost and rate by load", content }
}

fn latency(result: &Comparison, looks: &Looks) -> Section {
    let groups = ranked_groups(result);
    let open =
        || groups.iter().filter(|group| group.load.rate.is_some() && points(result, group) <= MOST_RANKINGS);
    // Latencies are compared where the load is the same for all. Without such a group, a closed loop shows their shape.
    let has_open = open().any(|group| charts::percentiles(group, looks).is_some());
    let shown: Vec<_> = if has_open { open().collect() } else { groups.iter().take(MOST_RANKINGS).collect() };
    let charts: Vec<_> = shown.into_iter().filter_map(|group| charts::percentiles(group, looks)).collect();
    let content = html! {
        @if charts.is_empty() {
            (nothing("No latencies were recorded. With --workloads open this chart is filled."))
        } @else if !has_open {
            p.soft {
                "In a closed loop a slow server gets fewer requests, so these curves show a shape and are no basis for a "
                "comparison. The workload open offers all servers the same rate."
            }
        } @else {
            p.soft { "Response times, from when a request was due to its answer, at the same rate for all servers." }
        }
        @for chart in &charts { (figure(chart)) }
    };
    Section { id: "latency", heading: "Latency by percentile", content }
}

fn offered(result: &Comparison, looks: &Looks) -> Section {
    let workloads = result.plan.workloads.iter();
    let charts: Vec<_> =
        workloads.filter_map(|workload| charts::offered(result, &workload.name, looks)).collect();
    let content = html! {
        @if charts.is_empty() {
            (nothing("No rate was offered at several levels. With --workloads sweep this chart is filled."))
        }
        @for chart in &charts { (figure(chart)) }
    };
    Section { id: "offered", heading: "Latency against offered load", content }
}

fn calls(result: &Comparison) -> Section {
    let groups = ranked_groups(result);
    let most_idle = groups.iter().filter(|group| group.load.idle > 0).max_by_key(|group| group.load.idle);
    let charts: Vec<_> =
        groups.first().into_iter().chain(most_idle).filter_map(|group| charts::calls(group)).collect();
    let content = html! {
        @if charts.is_empty() {
            (nothing("No system calls were counted. Those of models are, under any workload; those of foreign servers are not."))
        }
        @for chart in &charts { (figure(chart)) }
    };
    Section { id: "calls", heading: "System calls per request", content }
}

fn memory(result: &Comparison) -> Section {
    let groups = result.groups.iter().filter(|group| !group.common);
    let group = groups.max_by_key(|group| group.load.connections());
    let charts = group.map(charts::memory).unwrap_or_default();
    let content = html! {
        @if charts.is_empty() {
            (nothing("No memory was measured. Any workload fills this chart where /proc tells the memory of processes."))
        } @else {
            p.soft {
                "What the processes of a server have written themselves; a page that several of them share counts for each in "
                "part. The kernel's share is of both ends of a connection. The axes are logarithmic."
            }
            div.beside { @for chart in &charts { figure { (svg::narrow(chart)) } } }
        }
    };
    Section { id: "memory", heading: "Memory", content }
}

fn figures(result: &Comparison) -> Section {
    let content = html! {
        p.soft { "– is what was not measured or is not known. Ratios are to the baseline." }
        @for group in &result.groups {
            h3 { (group.id()) }
            p.soft { (load(group)) ", slices of " (group.slice_ms) " ms." }
            (table::figures(group))
        }
    };
    Section { id: "figures", heading: "All figures", content }
}

fn environment(result: &Comparison) -> Section {
    Section { id: "environment", heading: "Environment", content: table::environment(result) }
}

fn how_to_read(result: &Comparison) -> Section {
    let baseline = &result.plan.baseline;
    let content = html! {
        dl {
            dt { "Ratio" }
            dd {
                "A figure divided by that of " code { (baseline) } ", the baseline, measured in the same turn. For requests/s more "
                "than 1 is faster. For CPU time and latency less than 1 is better."
            }
            dt { "Interval" }
            dd {
                "In brackets: each server was started afresh several times, and the interval says how far the ratio may be off "
                "because starts differ. It holds the true ratio in 99 of 100 such runs on this machine."
            }
            dt { "Verdict" }
            dd {
                "Better or worse when the interval does not contain 1. Otherwise no difference was shown: there may be one that "
                "is too small for this run."
            }
            dt { "A/A" }
            dd { "The baseline against a second server of its own. It differs by nothing but noise, so its ratio should be 1." }
            dt { "Not comparable" }
            dd { "The server cannot take this load or does not run here, so there is no ratio. The reason is beside it." }
            dt { "Generator-bound" }
            dd {
                "The load generator was busy nearly all the time, so the server could have been faster. There is no ratio of the "
                "rates; CPU time per request still counts."
            }
            dt { "CPU time per request" }
            dd {
                "User and system time of all processes of the server, divided by the requests that it answered."
                @if result.environment.irq_time_accounting() == Some(true) {
                    " This kernel counts the time of interrupts apart (CONFIG_IRQ_TIME_ACCOUNTING), so a large part of the work of "
                    "TCP on loopback is in no process."
                }
            }
            dt { "Wake-ups per request" }
            dd { "How often a thread of the server had nothing to do, slept, and was woken." }
        }
    };
    Section { id: "reading", heading: "How to read it", content }
}

fn repeat(result: &Comparison) -> Section {
    let command: Vec<_> = result.environment.command().iter().map(|word| quoted(word)).collect();
    let content = html! {
        p { "This result was measured by:" }
        pre { code { (command.join(" ")) } }
    };
    Section { id: "repeat", heading: "Repeat it", content }
}

/// A word of a command as sh(1) takes it.
fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,@%+".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}
