//! The report for people: one page, or Markdown; and what there is to read about a fact.

use super::{Report, Totals};
use crate::facts::{Area, Fact, Mutant, Outcome, Run, Since};
use comfy_table::{
    CellAlignment, Table,
    presets::{ASCII_MARKDOWN, NOTHING},
};
use std::fmt::Write;

impl Report {
    /// One page: how many of each area hold, what differs in full, what was skipped and why. `verbose`
    /// has each fact on a line.
    #[must_use]
    pub fn page(&self, verbose: bool) -> String {
        let mut text = self.head(|title| format!("Kernel facts of {title}"));
        if verbose {
            for (area, runs) in self.by_area() {
                let mut table = Table::new();
                table.load_style(NOTHING);
                for run in runs {
                    table.add_row([run.fact.id, run.outcome.name(), run.fact.claim]);
                }
                write!(text, "{}: {}\n\n{}\n\n", area.name(), area.title(), trimmed(&table)).ok();
            }
        }
        let mut table = self.counts();
        table.load_style(NOTHING);
        write!(text, "{}\n\n", trimmed(&table)).ok();
        for run in &self.runs {
            if let Outcome::Differs { expected, observed } = &run.outcome {
                let Fact { id, claim, reference, since, matters, .. } = run.fact;
                writeln!(text, "DIFFERS: {id}\n  claim      {claim}").ok();
                writeln!(text, "  expected   {expected}\n  observed   {observed}").ok();
                writeln!(text, "  reference  {reference}{}\n  breaks     {matters}\n", version(*since)).ok();
            }
        }
        let reasons = self.reasons();
        if !reasons.is_empty() {
            text += "Not checked:\n";
            for (why, ids) in reasons {
                writeln!(text, "  {}: {why}", ids.join(", ")).ok();
            }
            text.push('\n');
        }
        if let Some(changes) = &self.changes {
            text += &match changes.list.len() {
                0 => format!("Nothing changed since {}.\n", changes.baseline),
                n => format!("{n} changed since {}:\n", changes.baseline),
            };
            for change in &changes.list {
                let was = change.was.as_deref().unwrap_or("not in it");
                writeln!(text, "- {}: {was}", change.id).ok();
                let colon = if change.found.is_empty() { "" } else { ": " };
                writeln!(text, "+ {}: {}{colon}{}", change.id, change.is, change.found).ok();
            }
            text.push('\n');
        }
        text += &self.sum();
        text
    }

    /// As Markdown, for an issue or a wiki.
    #[must_use]
    pub fn markdown(&self) -> String {
        let mut text = self.head(|title| format!("# Kernel facts of {title}"));
        let mut table = self.counts();
        table.load_style(ASCII_MARKDOWN);
        write!(text, "{table}\n\n").ok();
        for (area, runs) in self.by_area() {
            let mut table = Table::new();
            table.load_style(ASCII_MARKDOWN).set_header(["fact", "outcome", "claim"]);
            for Run { fact, outcome, .. } in runs {
                let outcome = match outcome {
                    Outcome::Holds => "holds".to_owned(),
                    Outcome::Differs { expected, observed } => {
                        format!("**differs**: expected {expected}; observed {observed}")
                    }
                    Outcome::Skipped { why } => format!("skipped: {why}"),
                };
                let cell = |text: &str| text.replace('|', "\\|");
                table.add_row([format!("`{}`", fact.id), cell(&outcome), cell(fact.claim)]);
            }
            write!(text, "## {}: {}\n\n{table}\n\n", area.name(), area.title()).ok();
        }
        if let Some(changes) = &self.changes {
            write!(text, "## Changed since {}\n\n", changes.baseline).ok();
            for change in &changes.list {
                let was = change.was.as_deref().unwrap_or("not in it");
                writeln!(text, "- `{}`: {was} → {} {}", change.id, change.is, change.found).ok();
            }
            text += if changes.list.is_empty() { "Nothing.\n\n" } else { "\n" };
        }
        text += &self.sum();
        text
    }

    fn head(&self, heading: impl Fn(&str) -> String) -> String {
        let mut text = format!("{}\n\n", heading(&self.title()));
        if self.is_partial() {
            let (runs, asked) = (self.runs.len(), self.asked);
            write!(text, "PARTIAL: interrupted after {runs} of {asked} facts\n\n").ok();
        }
        if let Some(Mutant { breaks, behaviour, .. }) = self.under {
            write!(text, "A wrong kernel on purpose, to show that {breaks} can fail: {behaviour}\n\n").ok();
        }
        text
    }

    /// How many of each area.
    fn counts(&self) -> Table {
        let mut table = Table::new();
        table.set_header(["area", "holds", "differs", "skipped", "what it is about"]);
        let mut row = |name: &str, Totals { holds, differs, skipped }, about: &str| {
            table.add_row([name, &holds.to_string(), &differs.to_string(), &skipped.to_string(), about]);
        };
        for (area, runs) in self.by_area() {
            row(area.name(), Totals::of(runs.into_iter()), area.title());
        }
        row("all", self.totals(), "");
        for column in table.column_iter_mut().skip(1).take(3) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        table
    }

    /// Why facts were skipped, the most frequent reason first, with their ids.
    fn reasons(&self) -> Vec<(&str, Vec<&str>)> {
        let mut reasons: Vec<(&str, Vec<&str>)> = Vec::new();
        for run in &self.runs {
            if let Outcome::Skipped { why } = &run.outcome {
                match reasons.iter_mut().find(|(known, _)| known == why) {
                    Some((_, ids)) => ids.push(run.fact.id),
                    None => reasons.push((why, vec![run.fact.id])),
                }
            }
        }
        reasons.sort_by_key(|(_, ids)| std::cmp::Reverse(ids.len()));
        reasons
    }

    /// The last line.
    fn sum(&self) -> String {
        let totals = self.totals();
        let Totals { holds, differs, skipped } = totals;
        let seconds = self.took.as_millis() / 100;
        format!(
            "{} in {}.{} s: {holds} hold, {differs} differ, {skipped} skipped\n",
            match totals.all() {
                1 => "1 fact".to_owned(),
                n => format!("{n} facts"),
            },
            seconds / 10,
            seconds % 10
        )
    }
}

/// A table without the spaces that fill its last column.
fn trimmed(table: &Table) -> String {
    table.to_string().lines().map(str::trim_end).collect::<Vec<_>>().join("\n")
}

fn version(since: Since) -> String {
    match since {
        Since::ALWAYS => String::new(),
        since => format!(" (since {since})"),
    }
}

/// Facts with their claims, area by area, then the wrong kernels that break one of them.
#[must_use]
pub fn list(facts: &[&'static Fact]) -> String {
    let mut text = String::new();
    for area in Area::ALL {
        let mut table = Table::new();
        table.load_style(NOTHING);
        for fact in facts.iter().filter(|fact| fact.area == *area) {
            table.add_row([fact.id, fact.claim]);
        }
        if table.row_count() > 0 {
            write!(text, "{}: {}\n\n{}\n\n", area.name(), area.title(), trimmed(&table)).ok();
        }
    }
    let mut table = Table::new();
    table.load_style(NOTHING);
    for mutant in Mutant::all().filter(|mutant| facts.iter().any(|fact| fact.id == mutant.breaks)) {
        table.add_row([mutant.name, mutant.breaks, mutant.behaviour]);
    }
    if table.row_count() > 0 {
        write!(text, "wrong kernels, for --under, and the fact that notices:\n\n{}\n", trimmed(&table)).ok();
    }
    text
}

/// All that there is to know about a fact.
#[must_use]
pub fn explain(fact: &Fact) -> String {
    let Fact { id, area, claim, reference, since, matters, experiment, wrong, .. } = fact;
    let mut text = format!("{id} ({}: {})\n\n", area.name(), area.title());
    let since = match *since {
        Since::ALWAYS => "as long as anybody remembers".to_owned(),
        since => since.to_string(),
    };
    for (what, said) in [
        ("Claim", *claim),
        ("Reference", *reference),
        ("Since", since.as_str()),
        ("Why it matters", *matters),
        ("The experiment", *experiment),
    ] {
        write!(text, "{what}\n  {said}\n\n").ok();
    }
    if !wrong.is_empty() {
        text += "Who got it wrong, or was bitten\n";
        wrong.iter().for_each(|who| text += &format!("  {who}\n"));
        text.push('\n');
    }
    let mutants: Vec<_> = Mutant::all().filter(|mutant| mutant.breaks == *id).collect();
    if !mutants.is_empty() {
        text += "See it fail\n";
        for Mutant { name, behaviour, .. } in mutants {
            write!(text, "  io-models facts {id} --under {name}\n    {behaviour}\n").ok();
        }
        text.push('\n');
    }
    text.pop();
    text
}
