//! A comparison as comma-separated values (RFC 4180): a line for each server under each load. What was not measured is
//! empty.

use crate::lab::results::compare::{Comparison, Figures, Group, Judged, Row, Verdict};
use crate::lab::stats::Spread;
use serde_json::json;

/// The name of a column, and its cell.
type Column = (&'static str, fn(&Group, &Row) -> Option<String>);

/// The same, of a row that was measured.
type Figure = (&'static str, fn(&Figures) -> Option<String>);

const LOAD: [Column; 14] = [
    ("workload", |group, _| Some(group.workload.clone())),
    ("point", |group, _| group.point.clone()),
    ("common", |group, _| Some(group.common.to_string())),
    ("active", |group, _| Some(group.load.active.to_string())),
    ("idle", |group, _| Some(group.load.idle.to_string())),
    ("size_bytes", |group, _| Some(group.load.size.to_string())),
    ("depth", |group, _| Some(group.load.depth.to_string())),
    ("requests_per_connection", |group, _| text(group.load.requests_per_connection)),
    ("offered_per_s", |group, _| number(group.load.rate_per_s)),
    ("server", |_, row| Some(row.entrant.clone())),
    ("baseline", |_, row| Some(row.baseline.to_string())),
    ("control", |_, row| Some(row.control.to_string())),
    ("status", |_, row| json!(row.status).as_str().map(str::to_owned)),
    ("reason", |_, row| row.reason.clone()),
];

const FIGURES: [Figure; 40] = [
    ("starts", |f| Some(f.starts.to_string())),
    ("slices", |f| Some(f.slices.to_string())),
    ("requests_per_s", |f| number(Some(f.requests_per_s.median))),
    ("requests_per_s_low", |f| number(Some(f.requests_per_s.low))),
    ("requests_per_s_high", |f| number(Some(f.requests_per_s.high))),
    ("cpu_us_per_request", |f| spread(f.cpu_us_per_request, |cpu| cpu.median)),
    ("cpu_us_per_request_low", |f| spread(f.cpu_us_per_request, |cpu| cpu.low)),
    ("cpu_us_per_request_high", |f| spread(f.cpu_us_per_request, |cpu| cpu.high)),
    ("rate_ratio", |f| number(f.rate.map(|rate| rate.ratio.ratio))),
    ("rate_ratio_low", |f| number(f.rate.and_then(|rate| rate.ratio.low))),
    ("rate_ratio_high", |f| number(f.rate.and_then(|rate| rate.ratio.high))),
    ("rate_verdict", |f| verdict(f.rate)),
    ("cpu_ratio", |f| number(f.cpu.map(|cpu| cpu.ratio.ratio))),
    ("cpu_ratio_low", |f| number(f.cpu.and_then(|cpu| cpu.ratio.low))),
    ("cpu_ratio_high", |f| number(f.cpu.and_then(|cpu| cpu.ratio.high))),
    ("cpu_verdict", |f| verdict(f.cpu)),
    ("p50_ratio", |f| number(f.p50.map(|p50| p50.ratio.ratio))),
    ("p50_ratio_low", |f| number(f.p50.and_then(|p50| p50.ratio.low))),
    ("p50_ratio_high", |f| number(f.p50.and_then(|p50| p50.ratio.high))),
    ("p50_verdict", |f| verdict(f.p50)),
    ("p99_ratio", |f| number(f.p99.map(|p99| p99.ratio.ratio))),
    ("p99_ratio_low", |f| number(f.p99.and_then(|p99| p99.ratio.low))),
    ("p99_ratio_high", |f| number(f.p99.and_then(|p99| p99.ratio.high))),
    ("p99_verdict", |f| verdict(f.p99)),
    ("p50_us", |f| number(f.latency_us.p50)),
    ("p90_us", |f| number(f.latency_us.p90)),
    ("p99_us", |f| number(f.latency_us.p99)),
    ("p99_9_us", |f| number(f.latency_us.p99_9)),
    ("max_us", |f| number(f.latency_us.max)),
    ("syscalls_per_request", |f| number(f.syscalls_per_request.as_ref().map(|calls| calls.total))),
    ("requests_per_wait", |f| number(f.requests_per_wait)),
    ("voluntary_switches_per_request", |f| number(f.voluntary_switches_per_request)),
    ("forced_switches_per_request", |f| number(f.forced_switches_per_request)),
    ("memory_listening_bytes", |f| text(f.memory.listening)),
    ("memory_per_connection_bytes", |f| number(f.memory_per_connection)),
    ("kernel_memory_per_connection_bytes", |f| number(f.kernel_memory_per_connection)),
    ("generator_busy_share", |f| number(Some(f.generator_busy_share))),
    ("starved_slices", |f| Some(f.starved_slices.to_string())),
    ("missed_slices", |f| Some(f.missed_slices.to_string())),
    ("not_judged", |f| f.not_judged.clone()),
];

/// The text, with a line of column names first.
#[must_use]
pub fn text_of(result: &Comparison) -> String {
    let names = LOAD.iter().map(|column| column.0).chain(FIGURES.iter().map(|column| column.0));
    let mut text = line(names.map(str::to_owned));
    for group in &result.groups {
        for row in &group.rows {
            let load = LOAD.iter().map(|(_, cell)| cell(group, row));
            let figures = FIGURES.iter().map(|(_, cell)| row.figures.as_ref().and_then(cell));
            text += &line(load.chain(figures).map(Option::unwrap_or_default));
        }
    }
    text
}

fn text(value: Option<impl ToString>) -> Option<String> {
    value.map(|value| value.to_string())
}

/// With six digits that matter: no figure is known better.
fn number(value: Option<f64>) -> Option<String> {
    let rounded = format!("{:.5e}", value?).parse::<f64>();
    Some(rounded.expect("what Rust has written it reads").to_string())
}

fn spread(spread: Option<Spread>, of: fn(&Spread) -> f64) -> Option<String> {
    number(spread.as_ref().map(of))
}

fn verdict(judged: Option<Judged>) -> Option<String> {
    let word = match judged?.verdict? {
        Verdict::Better => "better",
        Verdict::Worse => "worse",
        Verdict::NoDifferenceShown => "no_difference_shown",
    };
    Some(word.to_owned())
}

fn line(cells: impl Iterator<Item = String>) -> String {
    cells.map(|cell| quoted(&cell)).collect::<Vec<_>>().join(",") + "\r\n"
}

/// Quoted where it must be. A spreadsheet would run text that begins as a formula does: it gets an apostrophe before it.
fn quoted(cell: &str) -> String {
    let is_formula = cell.starts_with(['=', '+', '-', '@', '\t', '\n']) && cell.parse::<f64>().is_err();
    let cell = &if is_formula { format!("'{cell}") } else { cell.to_owned() };
    if cell.contains(['"', ',', '\r', '\n']) {
        format!("\"{}\"", cell.replace('"', "\"\""))
    } else {
        cell.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_that_begins_as_a_formula_is_text() {
        for formula in ["=1+2", "+A1", "-A1", "@sum(A1)", "\t=1"] {
            assert_eq!(quoted(formula), format!("'{formula}"));
        }
        assert_eq!(quoted("=a(\"b\",1)"), "\"'=a(\"\"b\"\",1)\"");
        for other in ["-1.5", "+2", "-1e-9", "a=b", "", "–"] {
            assert_eq!(quoted(other), other);
        }
    }
}
