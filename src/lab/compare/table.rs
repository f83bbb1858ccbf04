//! The comparison as a table for people, which is Markdown as well.

use super::figures::Figures;
use super::{BASELINE, Comparison, Row, Status};
use crate::lab::stats::Spread;
use crate::lab::units::latency;
use comfy_table::{
    CellAlignment, Table,
    presets::{ASCII_MARKDOWN, NOTHING},
};
use std::fmt;

const HEAD: [&str; 11] = [
    "model",
    "requests/s",
    "to epoll-level",
    "server CPU µs/req",
    "to epoll-level",
    "p50 / p99 / p99.9 µs",
    "calls/req",
    "peak MiB",
    "gen. busy",
    "active + idle",
    "note",
];

/// What fits a narrow terminal.
const BRIEF: [&str; 6] = ["model", "requests/s", "ratio", "CPU µs/req", "ratio", "note"];

impl Comparison {
    /// The whole table, or if it does not fit into so many columns, the most important part of it.
    #[must_use]
    pub fn table(&self, columns: Option<usize>) -> String {
        let whole = self.to_string();
        let width = whole.lines().filter(|line| line.starts_with('|')).map(|line| line.chars().count()).max();
        if columns.is_none_or(|columns| width <= Some(columns)) {
            return whole;
        }
        let mut text = String::new();
        if self.partial {
            text += "PARTIAL: interrupted\n\n";
        }
        for workload in &self.plan.workloads {
            let mut table = Table::new();
            table.load_style(NOTHING).set_header(BRIEF);
            for row in self.rows.iter().filter(|row| row.workload == workload.name) {
                table.add_row(row.brief());
            }
            for column in table.column_iter_mut().skip(1).take(BRIEF.len() - 2) {
                column.set_cell_alignment(CellAlignment::Right);
            }
            text += &format!("{}: {}\n\n{table}\n\n", workload.name, workload.summary);
        }
        if let Some(warning) = self.warning() {
            text += &format!("Warning: {warning}.\n");
        }
        text += &format!("Ratios are to {BASELINE}, beside it in time. Closed loop. The whole table has\n");
        text +=
            &format!("{} columns: widen the terminal, or use --output FILE.\n", width.unwrap_or_default());
        text
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plan = &self.plan;
        if self.partial {
            writeln!(f, "PARTIAL: interrupted, this is what was measured until then\n")?;
        }
        for workload in &plan.workloads {
            let rows: Vec<_> = self.rows.iter().filter(|row| row.workload == workload.name).collect();
            if rows.is_empty() {
                continue;
            }
            let mut table = Table::new();
            table.load_style(ASCII_MARKDOWN).set_header(HEAD);
            for row in rows {
                table.add_row(row.cells());
            }
            for column in table.column_iter_mut().skip(1).take(HEAD.len() - 2) {
                column.set_cell_alignment(CellAlignment::Right);
            }
            writeln!(f, "{}: {}\n\n{table}\n", workload.name, workload.summary)?;
        }
        writeln!(f, "{}", self.environment.line())?;
        let pinned = plan.pinning.map_or("not pinned".to_owned(), |pinning| {
            format!("servers on CPU {}, generators on CPU {}", pinning.server_cpu, pinning.generator_cpu)
        });
        writeln!(
            f,
            "Closed loop, {} bytes a request, {} slices of {} ms a model in random turns, seed {}; {pinned}; \
             generators spin, every byte checked.",
            plan.size_bytes, plan.slices, plan.slice_ms, plan.seed
        )?;
        if let Some(warning) = self.warning() {
            writeln!(f, "Warning: {warning}.")?;
        }
        writeln!(
            f,
            "requests/s: median (quartiles). To {BASELINE}: median ratio of a slice to the {BASELINE} slices \
             beside it [95 % interval]; the A/A row is {BASELINE} against itself, and a difference is shown only \
             beyond its interval. Under 1 is better for CPU, over 1 for requests/s. Generator-bound: the \
             generator had no time left, so trust CPU and not requests/s."
        )
    }
}

impl Row {
    fn brief(&self) -> Vec<String> {
        let cells = self.cells();
        match &self.figures {
            Some(figures) => {
                let ratio =
                    |ratio: Option<Spread>| ratio.map_or("–".to_owned(), |r| format!("{:.2}", r.median));
                vec![
                    cells[0].clone(),
                    thousands(figures.requests_per_s.median),
                    ratio(figures.ratio),
                    format!("{:.2}", figures.server_cpu_us_per_request),
                    ratio(figures.cpu_ratio),
                    figures.verdict.to_owned(),
                ]
            }
            None => {
                let none = || "–".to_owned();
                let note = if self.status == Status::Failed { "FAILED" } else { "skipped" };
                vec![cells[0].clone(), none(), none(), none(), none(), note.to_owned()]
            }
        }
    }

    fn cells(&self) -> Vec<String> {
        let name = if self.control { format!("{} (A/A)", self.model) } else { self.model.to_owned() };
        let mut cells = vec![name];
        match (&self.figures, self.status) {
            (Some(figures), Status::Measured) => {
                cells.extend(figures.cells());
                cells.push(format!("{} + {}", self.active, self.idle));
                cells.push(figures.note());
            }
            (_, status) => {
                let word = if status == Status::Failed { "FAILED" } else { "skipped" };
                cells.resize(HEAD.len() - 1, "–".to_owned());
                cells.push(format!("{word}: {}", self.reason.as_deref().unwrap_or("")));
            }
        }
        cells
    }
}

impl Figures {
    fn cells(&self) -> [String; 8] {
        let Spread { median, low, high } = self.requests_per_s;
        let l = self.latency_us;
        [
            format!("{} ({}–{})", thousands(median), thousands(low), thousands(high)),
            ratio(self.ratio),
            format!("{:.2}", self.server_cpu_us_per_request),
            ratio(self.cpu_ratio),
            [l.p50, l.p99, l.p99_9].map(latency).join(" / "),
            format!("{:.2}", self.syscalls_per_request.total),
            format!("{:.1}", self.peak_rss_bytes as f64 / 1048576.0),
            format!("{:.0} %", self.generator_busy_share * 100.0),
        ]
    }

    /// What the ratios say, and what limits them.
    fn note(&self) -> String {
        let mut notes = vec![self.verdict.to_owned()];
        if self.generator_busy_share >= crate::lab::load::BUSY_LIMIT {
            notes.push("generator-bound".to_owned());
        }
        if self.slices_with_a_starved_connection > 0 {
            notes.push(format!(
                "in {} of {} slices a connection had no answer",
                self.slices_with_a_starved_connection, self.rounds
            ));
        }
        notes.join("; ")
    }
}

fn ratio(ratio: Option<Spread>) -> String {
    ratio.map_or("–".to_owned(), |r| format!("{:.2} [{:.2}–{:.2}]", r.median, r.low, r.high))
}

/// 1234567.8 as `1,234,568`.
fn thousands(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_grouped() {
        for (value, text) in [(0.4, "0"), (999.0, "999"), (1000.0, "1,000"), (1_234_567.8, "1,234,568")] {
            assert_eq!(thousands(value), text);
        }
    }
}
