//! All figures, and where they were measured.

use super::{ratio, word};
use crate::lab::results::compare::{Comparison, Figures, Group, Row};
use crate::lab::show::compare::note;
use crate::lab::show::compare::user_share;
use crate::lab::units::{self, UNKNOWN, micros};
use maud::{Markup, PreEscaped, html};
use serde_json::Value;

/// A column, and its cell.
type Column = (&'static str, fn(&Figures) -> Option<String>);

const CLOSED: [Column; 3] = [
    ("rate ratio", |f| f.rate.as_ref().map(ratio)),
    ("CPU per request", |f| f.cpu_us_per_request.map(|cpu| micros(cpu.median))),
    ("CPU ratio", |f| f.cpu.as_ref().map(ratio)),
];

const OPEN: [Column; 4] = [
    ("p50 ratio", |f| f.p50.as_ref().map(ratio)),
    ("p99 ratio", |f| f.p99.as_ref().map(ratio)),
    ("CPU per request", |f| f.cpu_us_per_request.map(|cpu| micros(cpu.median))),
    ("CPU ratio", |f| f.cpu.as_ref().map(ratio)),
];

const ALWAYS: [Column; 13] = [
    ("p50", |f| f.latency_us.p50.map(micros)),
    ("p99", |f| f.latency_us.p99.map(micros)),
    ("p99.9", |f| f.latency_us.p99_9.map(micros)),
    ("max", |f| f.latency_us.max.map(micros)),
    ("calls / request", |f| f.syscalls_per_request.as_ref().map(|calls| format!("{:.2}", calls.total))),
    ("requests / wait", |f| f.requests_per_wait.map(|n| format!("{n:.1}"))),
    ("wake-ups / request", |f| f.voluntary_switches_per_request.map(|n| format!("{n:.3}"))),
    ("user CPU", user_share),
    ("listening", |f| f.memory.listening.map(units::bytes)),
    ("per connection", |f| f.memory_per_connection.map(bytes)),
    ("kernel per conn.", |f| f.kernel_memory_per_connection.map(bytes)),
    ("generator busy", |f| Some(format!("{:.0} %", f.generator_busy_share * 100.0))),
    ("starts × slices", |f| Some(format!("{} × {}", f.starts, f.slices / f.starts.max(1)))),
];

fn bytes(n: f64) -> String {
    units::bytes(n.round().max(0.0) as u64)
}

/// The table of a group, in a box of its own that scrolls.
pub(super) fn figures(group: &Group) -> Markup {
    let judged: &[Column] = if group.load.rate.is_some() { &OPEN } else { &CLOSED };
    let columns: Vec<&Column> =
        judged.iter().chain(&ALWAYS).filter(|column| is_known(group, column)).collect();
    let table = html! {
        div.scroll tabindex="0" role="region" aria-label={ "All figures of " (group.id()) } {
            table {
                thead {
                    tr { th { "server" } th { "requests/s" } @for (name, _) in &columns { th { (name) } } th.note { "note" } }
                }
                tbody { @for row in &group.rows { (line(group, row, &columns)) } }
            }
        }
    };
    // HTML does not need the ends of cells and rows, which are a quarter of a large table.
    PreEscaped(
        ["</td>", "</th>", "</tr>"].iter().fold(table.into_string(), |text, end| text.replace(end, "")),
    )
}

/// A column in which no server has a figure would only make the table wider.
fn is_known(group: &Group, column: &Column) -> bool {
    group.rows.iter().any(|row| row.figures.as_ref().is_some_and(|figures| (column.1)(figures).is_some()))
}

fn line(group: &Group, row: &Row, columns: &[&Column]) -> Markup {
    let Some(figures) = &row.figures else {
        let why = row.reason.as_deref().unwrap_or("no reason was given");
        return html! {
            tr { th { (row.name()) } td.note colspan=(columns.len() + 2) { b { (word(row)) } ": " (why) } }
        };
    };
    html! {
        tr {
            th { (row.name()) }
            td { (units::rate(figures.requests_per_s.median)) }
            @for (_, cell) in columns { td { (cell(figures).as_deref().unwrap_or(UNKNOWN)) } }
            td.note { (note(group, row, figures).0) }
        }
    }
}

/// The machine, the plan, and what else went on.
pub(super) fn environment(result: &Comparison) -> Markup {
    let machine = serde_json::to_value(&result.environment).unwrap_or_default();
    let mut rows: Vec<(String, String)> = Vec::new();
    flatten("", &machine, &mut rows);
    // The command has a section of its own, and the time is there as text.
    rows.retain(|(key, _)| key != "command" && key != "started unix s");
    let plan = &result.plan;
    let pinned = plan.pinning.map_or("not pinned".to_owned(), |pinning| {
        format!("servers on CPU {}, generators on CPU {}", pinning.server_cpu, pinning.generator_cpu)
    });
    rows.extend([
        ("processors".to_owned(), pinned),
        ("workers".to_owned(), plan.workers.to_string()),
        ("starts".to_owned(), format!("at least {}", plan.starts)),
        ("slices per start".to_owned(), plan.slices.to_string()),
        ("seed".to_owned(), plan.seed.to_string()),
    ]);
    let cpus = |n: Option<f64>| n.map_or_else(|| UNKNOWN.to_owned(), |n| format!("{n:.2}"));
    html! {
        div.scroll tabindex="0" role="region" aria-label="Environment" {
            table.pairs { tbody { @for (key, value) in rows { tr { th { (key) } td { (value) } } } } }
        }
        h3 { "What else went on" }
        p.soft { "Processors that were busy with other programs, stolen by the hypervisor, and in software interrupts." }
        div.scroll tabindex="0" role="region" aria-label="What else went on" {
            table {
                thead { tr { th { "workload" } th { "other programs" } th { "stolen" } th { "software interrupts" } } }
                tbody {
                    @for group in &result.groups {
                        @let machine = group.machine;
                        tr {
                            th { (group.id()) }
                            td { (cpus(machine.foreign_cpus)) } td { (cpus(machine.stolen_cpus)) } td { (cpus(machine.softirq_cpus)) }
                        }
                    }
                }
            }
        }
    }
}

/// Each value of a JSON document with its path.
fn flatten(path: &str, value: &Value, rows: &mut Vec<(String, String)>) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                let path = if path.is_empty() { key.replace('_', " ") } else { key.clone() };
                flatten(&path, value, rows);
            }
        }
        Value::Null => rows.push((path.to_owned(), UNKNOWN.to_owned())),
        Value::String(text) => rows.push((path.to_owned(), text.clone())),
        Value::Array(all) => {
            let texts = all.iter().map(|one| one.as_str().map_or_else(|| one.to_string(), str::to_owned));
            rows.push((path.to_owned(), texts.collect::<Vec<_>>().join(", ")));
        }
        other => rows.push((path.to_owned(), other.to_string())),
    }
}
