//! A comparison as tables for people, which are Markdown in a file.

use super::{DOUBTFUL, Page, Table, WRONG, paint, plain};
use crate::lab::Status;
use crate::lab::compare::workload;
use crate::lab::gate::Outcome;
use crate::lab::load::BUSY_LIMIT;
use crate::lab::results::compare::{Compared, Comparison, Earlier, Figures, Group, Judged, Row, Verdict};
use crate::lab::stats::{Estimate, Spread};
use crate::lab::units::{UNKNOWN, bytes, count, latency, of, rate};
use anstyle::Style;
use chrono::DateTime;

/// The columns, the ones that decide first: on a narrow terminal the last ones stand under their row.
const HEAD: [&str; 16] = [
    "server",
    "requests/s",
    "rate ratio",
    "CPU µs/req",
    "CPU ratio",
    "p50",
    "p99",
    "memory",
    "per conn",
    "kernel per conn",
    "calls/req",
    "requests/wait",
    "wake-ups/req",
    "user CPU",
    "generator busy",
    "rate quartiles",
];

/// The same where a rate is offered, and latency is what differs.
const HEAD_OPEN: [&str; 16] = [
    "server",
    "p50",
    "p50 ratio",
    "p99",
    "p99 ratio",
    "CPU µs/req",
    "CPU ratio",
    "memory",
    "per conn",
    "kernel per conn",
    "calls/req",
    "requests/wait",
    "wake-ups/req",
    "user CPU",
    "generator busy",
    "requests/s",
];

impl Comparison {
    /// The tables and how to read them: for a terminal of `width` columns, or without a width as Markdown, whose lines are as
    /// long as they are. With `calls`, also a table of the system calls per request. Colours are escape sequences.
    #[must_use]
    pub fn text(&self, width: Option<usize>, calls: bool) -> String {
        let mut page = Page::new(width);
        if self.partial {
            page.paragraph(&paint(DOUBTFUL, "PARTIAL: interrupted, this is what was measured until then"));
            page.blank();
        }
        let show = |page: &mut Page, table: &Table| match width {
            Some(_) => page.table(table),
            None => page.push(&table.plain().markdown()),
        };
        // What was written by others must mean nothing in Markdown.
        let say = |page: &mut Page, text: &str| match width {
            Some(_) => page.paragraph(text),
            None => page.paragraph(&plain(text)),
        };
        for group in &self.groups {
            say(&mut page, &heading(group));
            page.blank();
            show(&mut page, &figures_of(group));
            page.blank();
            if calls {
                say(&mut page, &format!("System calls per request under {}:", group.id()));
                page.blank();
                show(&mut page, &calls_of(group));
                page.blank();
            }
        }
        self.show_gates(&mut page, show);
        if let Some(earlier) = &self.earlier {
            show_earlier(earlier, &mut page, show, say);
        }
        say(&mut page, &self.environment.line());
        page.paragraph(&self.setting());
        for warning in self.warning().iter().chain(&self.not_known) {
            say(&mut page, &format!("{} {warning}.", paint(DOUBTFUL, "Warning:")));
        }
        self.how_to_read().iter().for_each(|line| say(&mut page, line));
        page.into_text()
    }

    fn show_gates(&self, page: &mut Page, show: impl Fn(&mut Page, &Table)) {
        if self.gates.is_empty() {
            return;
        }
        let mut table = Table::new(&["gate"], "what became of it");
        for judged in &self.gates {
            let style = match judged.outcome {
                Outcome::Met => Style::new(),
                Outcome::NotMet => WRONG,
                Outcome::NotJudged => DOUBTFUL,
            };
            table.row([judged.gate.clone()], judged.in_words(), style);
        }
        page.paragraph("Gates: the end of an interval that is nearer to the limit must keep it.");
        page.blank();
        show(page, &table);
        page.blank();
    }

    /// What was done, in a sentence.
    fn setting(&self) -> String {
        let plan = &self.plan;
        let pinned = plan.pinning.map_or("not pinned".to_owned(), |pinning| {
            format!("servers on CPU {}, generators on CPU {}", pinning.server_cpu, pinning.generator_cpu)
        });
        let quick = if plan.quick {
            " --quick: few starts, so intervals are wide and small differences are not shown."
        } else {
            ""
        };
        format!(
            "{}, in random turns; seed {}; {pinned}; generators busy-wait, and every byte is checked. It took {:.0} s.{quick}",
            self.starts(),
            plan.seed,
            self.seconds
        )
    }

    /// How often the servers were started, which `--precision`, an interrupt or a failure may change.
    fn starts(&self) -> String {
        let starts = || self.rows().filter_map(|(_, row)| row.figures.as_ref()).map(|figures| figures.starts);
        let slices = of(self.plan.slices as u64, "slice");
        let most = if self.partial { "at most " } else { "" };
        match (starts().min(), starts().max()) {
            (Some(1), Some(1)) => format!("Each server was started once, with {most}{slices}"),
            (Some(least), Some(more)) if least == more => {
                format!("Each server was started {more} times, with {most}{slices} each time")
            }
            (Some(least), Some(more)) => {
                format!("Each server was started {least} to {more} times, with {most}{slices} each time")
            }
            _ => "No server was measured".to_owned(),
        }
    }

    fn how_to_read(&self) -> Vec<String> {
        let any = |is: fn(&Figures) -> bool| self.rows().any(|(_, row)| row.figures.as_ref().is_some_and(is));
        let baseline = &self.plan.baseline;
        let mut lines = vec![
            format!(
                "Ratios are to {baseline}, slice by slice in the same turn: [99 % interval over the starts]. A rate ratio above 1 \
                 is faster; a CPU or latency ratio below 1 is cheaper or faster. A verdict needs an interval that does not \
                 contain 1.",
            ),
            format!("A/A: {baseline} against itself. Its true ratio is 1, so its interval shows the noise of this run."),
            "memory: what the server has written, with all clients connected; per conn: what each client added to it; kernel per \
             conn: what each connection added to the kernel's memory, both ends."
                .to_owned(),
        ];
        if any(|figures| figures.generator_busy_share >= BUSY_LIMIT) {
            lines.push(
                "Generator-bound: requests/s and latency are the generator's limit; compare CPU.".to_owned(),
            );
        }
        if any(|figures| figures.sharing.workers.len() > 1) {
            lines.push(
                "Fairness: Jain's index of the requests that each worker had: 1 when all had as many, 1/n when one of n \
                 had all. All workers of a server share its processor."
                    .to_owned(),
            );
        }
        lines
    }
}

/// The ratios of an earlier result beside those of this one.
fn show_earlier(
    earlier: &Earlier,
    page: &mut Page,
    show: impl Fn(&mut Page, &Table),
    say: impl Fn(&mut Page, &str),
) {
    let Earlier { file, started_unix_s, environment, plan, figures } = earlier;
    let date = started_unix_s.and_then(|s| DateTime::from_timestamp(s as i64, 0));
    let date = date.map_or_else(String::new, |date| format!(" of {}", date.format("%Y-%m-%d %H:%M UTC")));
    say(
        page,
        &format!(
            "Beside {file}{date}: ratios to the baseline model, in which the speed of the machine cancels. A ratio has changed when          its two intervals do not overlap."
        ),
    );
    page.blank();
    let mut table = Table::new(&["row", "ratio", "old", "new", "new/old"], "verdict");
    for Compared { point, entrant, figure, old, new, times, changed } in figures {
        let [old, new, times] = [old, new, times].map(|ratio| known(ratio.map(estimate)));
        let verdict = match changed {
            Some(true) => "changed",
            Some(false) => "no change shown",
            None => "no verdict",
        };
        let style = if *changed == Some(true) { DOUBTFUL } else { Style::new() };
        table.row([format!("{point}/{entrant}"), figure.clone(), old, new, times], verdict, style);
    }
    show(page, &table);
    page.blank();
    for difference in environment.iter().chain(plan) {
        say(page, &format!("{} {difference}.", paint(DOUBTFUL, "Differs:")));
    }
}

fn heading(group: &Group) -> String {
    let common =
        if group.common { " (the most that all servers can take: some cannot take more)" } else { "" };
    format!("{}: {}{common}", group.id(), workload::describe(&group.load))
}

fn figures_of(group: &Group) -> Table {
    let is_open = group.load.rate.is_some();
    let mut table = Table::new(if is_open { &HEAD_OPEN } else { &HEAD }, "verdict");
    for row in &group.rows {
        match (&row.figures, row.status) {
            (Some(figures), Status::Measured) => {
                let (note, style) = note(group, row, figures);
                let cells = if is_open { open_cells(figures) } else { cells(figures) };
                table.row([row.name()].into_iter().chain(cells), note, style);
            }
            (_, status) => {
                let why = row.reason.as_deref().unwrap_or("no reason was given");
                let (word, style) = match status {
                    Status::Failed => ("FAILED", WRONG),
                    Status::Skipped | Status::Measured => ("not comparable", DOUBTFUL),
                };
                table.row([row.name()], format!("{word}: {why}"), style);
            }
        }
    }
    table
}

/// Each system call that a server made, the most frequent of the first row first.
fn calls_of(group: &Group) -> Table {
    let counted = || {
        group.rows.iter().filter_map(|row| Some((row, row.figures.as_ref()?.syscalls_per_request.as_ref()?)))
    };
    let mut names: Vec<&str> = Vec::new();
    for (_, calls) in counted() {
        let unknown = calls.by_name.keys().filter(|name| !names.contains(&name.as_str()));
        names.extend(unknown.map(String::as_str).collect::<Vec<_>>());
    }
    let mut table = Table::new(&[&["server", "all"], names.as_slice()].concat(), "");
    for (row, calls) in counted() {
        let of = |name: &&str| calls.by_name.get(*name).and_then(serde_json::Value::as_f64).unwrap_or(0.0);
        let numbers = [calls.total].into_iter().chain(names.iter().map(of));
        table.row([row.name()].into_iter().chain(numbers.map(|n| format!("{n:.2}"))), "", Style::new());
    }
    table
}

impl Row {
    /// For people: `epoll-level (A/A)`.
    #[must_use]
    pub fn name(&self) -> String {
        if self.control { format!("{} (A/A)", self.entrant) } else { self.entrant.clone() }
    }
}

fn cells(figures: &Figures) -> [String; 15] {
    let Spread { median, low, high } = figures.requests_per_s;
    let l = figures.latency_us;
    let [memory, per_conn, kernel, calls, waits, wakes, user, busy] = causes(figures);
    [
        rate(median),
        ratio(figures.rate),
        cpu(figures),
        ratio(figures.cpu),
        latency(l.p50),
        latency(l.p99),
        memory,
        per_conn,
        kernel,
        calls,
        waits,
        wakes,
        user,
        busy,
        format!("{}–{}", rate(low), rate(high)),
    ]
}

fn open_cells(figures: &Figures) -> [String; 15] {
    let l = figures.latency_us;
    let [memory, per_conn, kernel, calls, waits, wakes, user, busy] = causes(figures);
    [
        latency(l.p50),
        ratio(figures.p50),
        latency(l.p99),
        ratio(figures.p99),
        cpu(figures),
        ratio(figures.cpu),
        memory,
        per_conn,
        kernel,
        calls,
        waits,
        wakes,
        user,
        busy,
        rate(figures.requests_per_s.median),
    ]
}

fn cpu(figures: &Figures) -> String {
    known(figures.cpu_us_per_request.map(|us| format!("{:.2}", us.median)))
}

/// Where time and memory go.
fn causes(figures: &Figures) -> [String; 8] {
    let whole = |bytes_each: f64| bytes(bytes_each.round() as u64);
    [
        known(figures.memory.connected.map(bytes)),
        known(figures.memory_per_connection.map(whole)),
        known(figures.kernel_memory_per_connection.map(whole)),
        known(figures.syscalls_per_request.as_ref().map(|calls| format!("{:.2}", calls.total))),
        known(figures.requests_per_wait.map(|n| format!("{n:.1}"))),
        known(figures.voluntary_switches_per_request.map(|n| format!("{n:.3}"))),
        known(user_share(figures)),
        format!("{:.0} %", figures.generator_busy_share * 100.0),
    ]
}

/// What the ratios show, and what limits them; and its colour.
pub(super) fn note(group: &Group, row: &Row, figures: &Figures) -> (String, Style) {
    let mut notes = vec![verdict(row, figures)];
    notes.extend(figures.imprecise.clone());
    if figures.generator_busy_share >= BUSY_LIMIT {
        notes.push("generator-bound".to_owned());
    }
    let starved = figures.starved_slices;
    if starved > 0 && group.load.rate.is_none() {
        notes.push(format!("in {starved} of {} slices a connection had no answer", figures.slices));
    }
    if figures.missed_slices > 0 {
        notes.push(format!("missed the rate in {} of {} slices", figures.missed_slices, figures.slices));
    }
    let workers = figures.sharing.workers.len() as u64;
    if let Some(index) = figures.sharing.fairness_of_requests.filter(|_| workers > 1) {
        notes.push(format!("{} workers, fairness {index:.2}", count(workers)));
    }
    let is_wrong = starved > 0 && group.load.rate.is_none() || figures.missed_slices > 0;
    (notes.join("; "), if is_wrong { WRONG } else { Style::new() })
}

/// What a row shows, in words: `faster, less CPU`.
#[must_use]
pub fn verdict(row: &Row, figures: &Figures) -> String {
    if row.baseline {
        return "the baseline".to_owned();
    }
    if let Some(why) = &figures.not_judged {
        return why.clone();
    }
    let said = |judged: Option<Judged>, better: &'static str, worse: &'static str| match judged?.verdict? {
        Verdict::Better => Some(better),
        Verdict::Worse => Some(worse),
        Verdict::NoDifferenceShown => None,
    };
    let words = [
        said(figures.rate, "faster", "slower"),
        said(figures.p50, "faster", "slower"),
        said(figures.p99, "shorter tail", "longer tail"),
        said(figures.cpu, "less CPU", "more CPU"),
    ];
    let words: Vec<_> = words.into_iter().flatten().collect();
    let judged = [figures.rate, figures.p50, figures.cpu].into_iter().flatten();
    match words.as_slice() {
        [] if judged.clone().all(|judged| judged.verdict.is_none()) => {
            "no verdict: a single start has no interval".to_owned()
        }
        [] => "no difference shown".to_owned(),
        words => words.join(", "),
    }
}

/// What was not measured is no 0.
/// The share of user mode. It comes from ticks, some dozens of them, which do not tell a small one from none.
pub(super) fn user_share(figures: &Figures) -> Option<String> {
    const LEAST: f64 = 0.02;
    let text = |share| if share < LEAST { "< 2 %".to_owned() } else { format!("{:.0} %", share * 100.0) };
    figures.user_share.map(text)
}

fn known(cell: Option<String>) -> String {
    cell.unwrap_or_else(|| UNKNOWN.to_owned())
}

/// `0.98 [0.97–0.99]`.
fn ratio(judged: Option<Judged>) -> String {
    known(judged.map(|judged| estimate(judged.ratio)))
}

fn estimate(Estimate { ratio, low, high }: Estimate) -> String {
    match (low, high) {
        (Some(low), Some(high)) => format!("{ratio:.2} [{low:.2}–{high:.2}]"),
        _ => format!("{ratio:.2}"),
    }
}
