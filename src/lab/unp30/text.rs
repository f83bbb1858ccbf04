//! The result as tables, for people.

use super::row::Row;
use super::{CLIENTS, Chapter30, Load};
use crate::lab::Status;
use crate::lab::show::{DOUBTFUL, Page, Table, WRONG, paint};
use crate::lab::stats::Spread;
use crate::lab::units::{UNKNOWN, count, of};
use anstyle::Style;

const HEAD: [&str; 4] = ["model (design)", "control ms", "wall ms", "CPU ms"];

/// With fewer values, what [`Spread::of_median`] gives is their whole range.
const ROUNDS_FOR_AN_INTERVAL: usize = 6;

impl Chapter30 {
    /// The tables and how to read them, for a terminal of `width` columns. Without a width lines are as long as they are.
    /// Colours are escape sequences.
    #[must_use]
    pub fn text(&self, width: Option<usize>) -> String {
        self.page(Page::new(width), Page::table)
    }

    /// The same as Markdown.
    #[must_use]
    pub fn markdown(&self) -> String {
        self.page(Page::new(None), |page, table| page.push(&table.markdown()))
    }

    fn page(&self, mut page: Page, show: fn(&mut Page, &Table)) -> String {
        if self.partial {
            page.paragraph(&paint(DOUBTFUL, "PARTIAL: interrupted, this is what was measured until then"));
            page.blank();
        }
        for load in Load::ALL {
            page.paragraph(&format!("{}: {}", load.name(), load.summary()));
            page.blank();
            show(&mut page, &self.table(load));
            page.blank();
        }
        page.paragraph(&self.environment.line());
        page.paragraph(&self.setting());
        if let Some(warning) = self.warning() {
            page.paragraph(&format!("{} {warning}.", paint(DOUBTFUL, "Warning:")));
        }
        for what in &self.not_known {
            page.paragraph(&format!("{} {what}.", paint(DOUBTFUL, "Warning:")));
        }
        page.paragraph(&self.how_to_read());
        page.into_text()
    }

    fn table(&self, load: Load) -> Table {
        let mut table = Table::new(&HEAD, "design in the book");
        for row in self.rows.iter().filter(|row| row.load == load) {
            let name =
                [row.design.map_or(row.model.to_owned(), |number| format!("{} ({number})", row.model))];
            let (word, style) = match row.status {
                Status::Measured => {
                    let cells = name.into_iter().chain(row.cells());
                    table.row(cells, row.name.unwrap_or_default(), Style::new());
                    continue;
                }
                Status::Failed => ("FAILED", WRONG),
                Status::Skipped => ("skipped", DOUBTFUL),
            };
            let why = row.reason.as_deref().unwrap_or("no reason was given");
            table.row(name, format!("{word}: {why}"), style);
        }
        table
    }

    /// What was done, in a sentence.
    fn setting(&self) -> String {
        let plan = &self.plan;
        let place = match plan.cpu {
            Some(cpu) if self.not_known.is_empty() => format!("everything on CPU {cpu}"),
            _ => "not pinned".to_owned(),
        };
        format!(
            "{CLIENTS} client processes, {} each, one after another; {} where a design has workers; {place}; {} in random \
             order, seed {}; every byte checked.",
            of(plan.connections as u64, "connection"),
            of(plan.workers.get() as u64, "worker"),
            of(plan.rounds as u64, "round"),
            plan.seed
        )
    }

    fn how_to_read(&self) -> String {
        let interval = match self.plan.rounds {
            ROUNDS_FOR_AN_INTERVAL.. => "95 % interval",
            _ => "lowest and highest",
        };
        format!(
            "CPU: CPU time of the server and its children for all connections, its start included. Control: the same, less \
             that of the iterative server in the same round, which controls no processes; below 0 the server needs less, or \
             it is noise. Wall: from the first connect to the last close. Median [{interval}] of the rounds."
        )
    }
}

impl Row {
    fn cells(&self) -> [String; 3] {
        let control = if self.is_baseline() { "0".to_owned() } else { interval(self.control_cpu_s) };
        let server = self.server_cpu_s.map_or(UNKNOWN.to_owned(), |cpu| ms(cpu.median));
        [control, interval(self.wall_s), server]
    }
}

/// Milliseconds with their interval.
fn interval(seconds: Option<Spread>) -> String {
    let in_words = |s: Spread| format!("{} [{} to {}]", ms(s.median), ms(s.low), ms(s.high));
    seconds.map_or(UNKNOWN.to_owned(), in_words)
}

/// Seconds in milliseconds, with a decimal where it says something.
fn ms(seconds: f64) -> String {
    let ms = seconds * 1e3;
    match ms.abs() {
        ..99.95 => format!("{ms:.1}"),
        _ => format!("{}{}", if ms < 0.0 { "-" } else { "" }, count(ms.abs().round() as u64)),
    }
}
