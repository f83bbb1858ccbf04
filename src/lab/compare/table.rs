//! The comparison as a table for people, which is Markdown in a file.

use super::figures::Figures;
use super::{BASELINE, Comparison, Row, Status, Workload};
use crate::lab::load::BUSY_LIMIT;
use crate::lab::show::{DOUBTFUL, Page, Table, WRONG, paint};
use crate::lab::stats::Spread;
use crate::lab::units::{UNKNOWN, bytes, count, latency, rate};
use anstyle::Style;

/// The columns, the ones that decide first: on a narrow terminal the last ones stand under their row.
const HEAD: [&str; 13] = [
    "model",
    "requests/s",
    "rate ratio",
    "CPU µs/req",
    "CPU ratio",
    "p50",
    "p99",
    "memory",
    "active + idle",
    "p99.9",
    "calls/req",
    "generator busy",
    "rate quartiles",
];

impl Comparison {
    /// The tables and how to read them: for a terminal of `width` columns, or without a width as Markdown, whose lines
    /// are as long as they are. With `calls`, also a table of the system calls per request. Colours are escape
    /// sequences.
    #[must_use]
    pub fn text(&self, width: Option<usize>, calls: bool) -> String {
        let mut page = Page::new(width);
        if self.partial {
            page.paragraph(&paint(DOUBTFUL, "PARTIAL: interrupted, this is what was measured until then"));
            page.blank();
        }
        let show = |page: &mut Page, table: &Table| match width {
            Some(_) => page.table(table),
            None => page.push(&table.markdown()),
        };
        for workload in &self.plan.workloads {
            if self.rows_of(workload).count() == 0 {
                continue;
            }
            page.paragraph(&format!("{}: {}", workload.name, workload.summary));
            page.blank();
            show(&mut page, &self.figures_of(workload));
            page.blank();
            if calls {
                page.paragraph(&format!("System calls per request under {}:", workload.name));
                page.blank();
                show(&mut page, &self.calls_of(workload));
                page.blank();
            }
        }
        page.paragraph(&self.environment.line());
        page.paragraph(&self.setting());
        if let Some(warning) = self.warning() {
            page.paragraph(&format!("{} {warning}.", paint(DOUBTFUL, "Warning:")));
        }
        for what in &self.not_known {
            page.paragraph(&format!("{} {what}.", paint(DOUBTFUL, "Warning:")));
        }
        for line in self.how_to_read() {
            page.paragraph(&line);
        }
        page.into_text()
    }

    fn rows_of(&self, workload: &Workload) -> impl Iterator<Item = &Row> {
        self.rows.iter().filter(|row| row.workload == workload.name)
    }

    fn figures_of(&self, workload: &Workload) -> Table {
        let mut table = Table::new(&HEAD, "note");
        for row in self.rows_of(workload) {
            let name = row.name();
            match (&row.figures, row.status) {
                (Some(figures), Status::Measured) => {
                    let clients = format!("{} + {}", count(row.active as u64), count(row.idle as u64));
                    let (note, style) = figures.note();
                    table.row([name].into_iter().chain(figures.cells(clients)), note, style);
                }
                (_, status) => {
                    let why = row.reason.as_deref().unwrap_or("no reason was given");
                    let (word, style) = match status {
                        Status::Failed => ("FAILED", WRONG),
                        Status::Skipped | Status::Measured => ("skipped", DOUBTFUL),
                    };
                    table.row([name], format!("{word}: {why}"), style);
                }
            }
        }
        table
    }

    /// Each system call that a server made, the most frequent of the first row first.
    fn calls_of<'a>(&'a self, workload: &Workload) -> Table {
        let calls = |row: &'a Row| row.figures.as_ref()?.syscalls_per_request.as_ref();
        let counted = || self.rows_of(workload).filter_map(|row| Some((row, calls(row)?)));
        let mut names: Vec<&str> = Vec::new();
        for (_, calls) in counted() {
            let unknown = calls.by_name.keys().filter(|name| !names.contains(&name.as_str()));
            names.extend(unknown.map(String::as_str).collect::<Vec<_>>());
        }
        let mut table = Table::new(&[&["model", "all"], names.as_slice()].concat(), "");
        for (row, calls) in counted() {
            let of = |name: &&str| calls.by_name.get(*name).and_then(|n| n.as_f64()).unwrap_or(0.0);
            let numbers = [calls.total].into_iter().chain(names.iter().map(of));
            table.row([row.name()].into_iter().chain(numbers.map(|n| format!("{n:.2}"))), "", Style::new());
        }
        table
    }

    /// What was done, in a sentence.
    fn setting(&self) -> String {
        let plan = &self.plan;
        let pinned = plan.pinning.map_or("not pinned".to_owned(), |pinning| {
            format!("servers on CPU {}, generators on CPU {}", pinning.server_cpu, pinning.generator_cpu)
        });
        format!(
            "Closed loop, {} bytes per request, {} slices of {} ms per model in random turns, seed {}; {pinned}; \
             generators busy-wait, every byte checked.",
            plan.size_bytes, plan.slices, plan.slice_ms, plan.seed
        )
    }

    fn how_to_read(&self) -> Vec<String> {
        let has_workers = |row: &Row| row.figures.as_ref().is_some_and(|f| f.sharing.workers.len() > 1);
        let mut lines = vec![
            "requests/s: the median of the slices. Rate ratio, CPU ratio: a slice over the baseline slices next to it, \
             median [95 % interval]; more than 1 is faster, less than 1 is cheaper."
                .to_owned(),
            format!(
                "A/A: {BASELINE}, the baseline, against itself; smaller differences are noise. Not comparable: the load \
                 was not that of the baseline, so there is no ratio and no verdict."
            ),
            "Generator-bound: requests/s and latency are the generator's limit; compare CPU.".to_owned(),
        ];
        if self.rows.iter().any(has_workers) {
            lines.push(
                "Fairness: Jain's index of the requests that each worker had: 1 when all had as many, 1/n when one of n \
                 had all. All workers of a server share its processor."
                    .to_owned(),
            );
        }
        lines
    }
}

impl Row {
    fn name(&self) -> String {
        if self.control { format!("{} (A/A)", self.model) } else { self.model.to_owned() }
    }
}

impl Figures {
    fn cells(&self, clients: String) -> [String; 12] {
        let Spread { median, low, high } = self.requests_per_s;
        let l = self.latency_us;
        [
            rate(median),
            ratio(self.ratio),
            known(self.server_cpu_us_per_request.map(|us| format!("{us:.2}"))),
            ratio(self.cpu_ratio),
            latency(l.p50),
            latency(l.p99),
            known(self.peak_rss_bytes.map(bytes)),
            clients,
            latency(l.p99_9),
            known(self.syscalls_per_request.as_ref().map(|calls| format!("{:.2}", calls.total))),
            format!("{:.0} %", self.generator_busy_share * 100.0),
            format!("{}–{}", rate(low), rate(high)),
        ]
    }

    /// What the ratios say, and what limits them; and its colour.
    fn note(&self) -> (String, Style) {
        let mut notes = vec![self.verdict.clone()];
        if self.generator_busy_share >= BUSY_LIMIT {
            notes.push("generator-bound".to_owned());
        }
        let starved = self.slices_with_a_starved_connection;
        if starved > 0 {
            notes.push(format!("in {starved} of {} slices a connection had no answer", self.rounds));
        }
        let workers = self.sharing.workers.len() as u64;
        if let Some(index) = self.sharing.fairness_of_requests.filter(|_| workers > 1) {
            notes.push(format!("{} workers, fairness {index:.2}", count(workers)));
        }
        let style = if starved > 0 { WRONG } else { Style::new() };
        (notes.join("; "), style)
    }
}

/// What was not measured is no 0.
fn known(cell: Option<String>) -> String {
    cell.unwrap_or_else(|| UNKNOWN.to_owned())
}

fn ratio(ratio: Option<Spread>) -> String {
    ratio.map_or(UNKNOWN.to_owned(), |r| format!("{:.2} [{:.2}–{:.2}]", r.median, r.low, r.high))
}
