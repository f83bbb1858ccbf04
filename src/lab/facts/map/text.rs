//! A map for a terminal, and as Markdown.

use super::{Bound, Group, Map, Verdict, bounds, place};
use crate::facts::{Fact, Found, Outcome, Step};
use crate::lab::facts::Totals;
use crate::lab::facts::text::{MOST_STEPS, more_steps};
use crate::lab::show::{DOUBTFUL, Page, Table, WRONG, code, name, paint, plain};
use crate::lab::units::{count, of};
use anstyle::Style;
use std::fmt::Write;

impl Map {
    /// In lines of at most `width` columns: how many facts of each outcome each system has, then what differs in full. Colours
    /// are escape sequences.
    #[must_use]
    pub fn page(&self, width: Option<usize>) -> String {
        let mut page = Page::new(width);
        page.table(&self.counts(str::to_owned, str::to_owned));
        page.blank();
        for fact in self.all().filter(|fact| self.differs(fact.id)) {
            page.paragraph(&paint(WRONG, &format!("DIFFERS: {}", fact.id)));
            page.line("claim", fact.claim);
            for group in self.groups(fact.id) {
                if group.cell.outcome == Outcome::Differs {
                    self.show(&group, &mut page);
                }
            }
            page.blank();
        }
        let (shown, others): (Vec<Bound>, Vec<Bound>) =
            bounds(self).into_iter().partition(|bound| bound.verdict == Verdict::Shown);
        for bound in others.iter().filter(|bound| matches!(bound.verdict, Verdict::Contradicted { .. })) {
            let text = format!("{} since {}: {}", bound.fact.id, bound.since, bound.verdict(self));
            page.indented(0, 2, &paint(DOUBTFUL, &text));
        }
        page.paragraph(&format!(
            "{} on {}; of {} that are bound to a version, {} are shown by a flip",
            of(self.all().count() as u64, "fact"),
            of(self.systems.len() as u64, "system"),
            shown.len() + others.len(),
            shown.len()
        ));
        page.into_text()
    }

    fn show(&self, group: &Group<'_>, page: &mut Page) {
        page.line("systems", self.names(&group.systems).join(", "));
        for step in group.cell.steps.iter().take(MOST_STEPS) {
            if let Found::Differs { expected, observed, .. } = &step.found {
                page.line("step", &step.what);
                page.line("expected", expected);
                page.line("observed", paint(WRONG, observed));
            }
        }
        if let Some(more) = more_steps(&group.cell.steps) {
            page.more(more);
        }
        if let Some(explained) = &group.explained {
            page.line("explained by", explained);
        }
    }

    /// As Markdown: the systems, what differs as a table of facts and systems, then in full, and since which kernel.
    #[must_use]
    pub fn markdown(&self) -> String {
        let mut text = "# Kernel facts by system\n\n".to_owned();
        writeln!(text, "{}", self.counts(name, plain).markdown()).ok();
        let unknown = self.unknown().len();
        if unknown > 0 {
            let facts = of(unknown as u64, "fact");
            write!(text, "This program does not know {facts} of the profiles, which are left out.\n\n").ok();
        }
        text += "## What differs\n\n";
        if !self.is_remarkable() {
            text += "Nothing.\n\n";
        } else {
            writeln!(text, "{}", self.matrix()).ok();
        }
        for fact in self.all().filter(|fact| self.differs(fact.id)) {
            self.write(&mut text, fact);
        }
        text += "## Since which kernel\n\n";
        let (outside, told): (Vec<Bound>, Vec<Bound>) =
            bounds(self).into_iter().partition(|bound| bound.verdict == Verdict::Outside);
        let mut table = Table::new(&["fact", "since", "does not hold on", "holds on"], "by the map");
        for bound in told {
            let [not, holds] = [bound.not, bound.holds].map(|at| plain(&place(self, at)));
            let step = bound.step.as_ref().map_or(String::new(), |step| format!(", {}", code(step)));
            let cells = [format!("{}{step}", code(bound.fact.id)), bound.since.to_string(), not, holds];
            table.row(cells, plain(&bound.verdict(self)), Style::new());
        }
        if !table.is_empty() {
            writeln!(text, "{}", table.markdown()).ok();
        }
        let outside: Vec<String> =
            outside.iter().map(|bound| format!("{} ({})", code(bound.fact.id), bound.since)).collect();
        if !outside.is_empty() {
            writeln!(text, "No system is older, or none is newer: {}.", outside.join(", ")).ok();
        }
        text
    }

    /// A row for each fact that differs somewhere, a column for each system on which something does.
    fn matrix(&self) -> String {
        let differs = |at: &usize| self.totals(*at).differs > 0;
        let systems: Vec<usize> = (0..self.systems.len()).filter(differs).collect();
        let names: Vec<String> = self.names(&systems).into_iter().map(name).collect();
        let head: Vec<&str> = ["fact"].into_iter().chain(names.iter().map(String::as_str)).collect();
        let mut table = Table::new(&head, "claim");
        for fact in self.all().filter(|fact| self.differs(fact.id)) {
            let row = self.row(fact.id);
            let cells = systems.iter().map(|&at| match &row[at] {
                Some(cell) if cell.outcome == Outcome::Differs => "**differs**".to_owned(),
                Some(cell) => cell.outcome.words().to_owned(),
                None => "–".to_owned(),
            });
            table.row([code(fact.id)].into_iter().chain(cells), fact.claim, Style::new());
        }
        table.markdown()
    }

    /// A fact that differs, in full.
    fn write(&self, text: &mut String, fact: &Fact) {
        write!(text, "### {}\n\n{}\n\n", code(fact.id), plain(fact.claim)).ok();
        for group in self.groups(fact.id) {
            let what = match (group.cell.outcome, &group.explained) {
                (Outcome::Holds, None) => continue,
                (outcome, _) => outcome.words(),
            };
            let names: Vec<String> = self.names(&group.systems).into_iter().map(name).collect();
            let explained =
                group.explained.as_ref().map_or(String::new(), |why| format!(" ({})", plain(why)));
            writeln!(text, "- {}: {what}{explained}", names.join(", ")).ok();
            for Step { what, found } in group.cell.steps.iter().take(MOST_STEPS) {
                let what = if what.is_empty() { String::new() } else { format!("{}: ", code(what)) };
                let found = match found {
                    Found::Holds => continue,
                    Found::Differs { expected, observed, .. } => {
                        format!("expected {}, observed {}", code(expected), code(observed))
                    }
                    Found::ClaimsOlder { expected, observed, since } => {
                        format!("expected {} since {since}, observed {}", code(expected), code(observed))
                    }
                    Found::Skipped { why, detail } => format!("{}, {}", why.name(), code(detail)),
                };
                writeln!(text, "  - {what}{found}").ok();
            }
            if let Some(more) = more_steps(&group.cell.steps) {
                writeln!(text, "  - {more}").ok();
            }
        }
        text.push('\n');
    }

    /// A row for each system, with its name and what it is as these write them.
    fn counts(&self, shown: fn(&str) -> String, text: fn(&str) -> String) -> Table {
        let head = ["system", "holds", "in part", "differs", "claims older", "skipped"];
        let mut table = Table::new(&head, "what it is");
        for (at, system) in self.systems.iter().enumerate() {
            let (name, about) = (shown(&system.name), text(&system.about()));
            if system.missing.is_some() {
                table.row([name], about, DOUBTFUL);
                continue;
            }
            let Totals { holds, in_part, differs, claims_older, skipped } = self.totals(at);
            let numbers = [holds, in_part, differs, claims_older, skipped].map(|n| count(n as u64));
            let style = if differs > 0 { WRONG } else { Style::new() };
            table.row([name].into_iter().chain(numbers), about, style);
        }
        table
    }
}
