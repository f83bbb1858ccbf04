//! The report for people: one page, or Markdown; and what there is to read about a fact.

use super::{Report, Totals};
use crate::facts::{Area, Fact, Found, Gap, Mutant, Outcome, Release, Run, Since, Step, Wait, Why};
use crate::lab::show::{DOUBTFUL, Page, Table, WRONG, paint, paint_if};
use crate::lab::units::{count, of, seconds};
use anstyle::Style;
use std::fmt::Write;

/// How many steps of a fact that do not hold are told of. An experiment may have thousands.
pub(crate) const MOST_STEPS: usize = 10;

/// What is said of those that are not told of.
pub(crate) fn more_steps(steps: &[Step]) -> Option<String> {
    let more = steps.len().saturating_sub(MOST_STEPS);
    (more > 0).then(|| format!("and {}", of(more as u64, "step more")))
}

impl Report {
    /// One page in lines of at most `width` columns: how many of each area hold, what differs in full, what was skipped
    /// and why. `verbose` has each fact. Colours are escape sequences.
    #[must_use]
    pub fn page(&self, verbose: bool, width: Option<usize>) -> String {
        let mut page = Page::new(width);
        for line in self.head(|title| format!("Kernel facts of {title}")) {
            page.paragraph(&line);
            page.blank();
        }
        if verbose {
            for (area, runs) in self.by_area() {
                let mut table = Table::new(&["", "", "steps that hold"], "");
                for run in runs {
                    let outcome = run.outcome();
                    let steps =
                        format!("{} of {}", run.steps.len() - run.not_held().count(), run.steps.len());
                    let cells = [run.fact.id.to_owned(), outcome.name().to_owned(), steps];
                    table.row(cells, run.fact.claim, style(outcome));
                }
                titled(&mut page, area, &table);
            }
        }
        page.table(&self.counts());
        page.blank();
        for run in &self.runs {
            let (title, colour) = match run.outcome() {
                Outcome::Differs => ("DIFFERS", WRONG),
                Outcome::ClaimsOlder => ("DIFFERS, CLAIMS TO BE OLDER", DOUBTFUL),
                _ => continue,
            };
            page.paragraph(&paint(colour, &format!("{title}: {}", run.fact.id)));
            different(&mut page, run, colour);
            page.blank();
        }
        let reasons = self.reasons();
        if !reasons.is_empty() {
            page.paragraph(&paint(DOUBTFUL, "Not checked:"));
            for (why, detail, ids) in reasons {
                page.indented(2, 4, &format!("{}: {}: {detail}", ids.join(", "), why.name()));
            }
            page.blank();
        }
        for &wait in Wait::ALL {
            let lack = self.runs.iter().filter(|run| run.lacks.contains(&wait)).count();
            if lack > 0 {
                let facts = of(lack as u64, "fact");
                page.paragraph(&format!(
                    "{} is missing or denied here: {facts} not looked at over it.",
                    wait.name()
                ));
                page.blank();
            }
        }
        if let Some(changes) = &self.changes {
            page.paragraph(&match changes.list.len() {
                0 => format!("Nothing changed since {}.", changes.baseline),
                n => paint(WRONG, &format!("{n} changed since {}:", changes.baseline)),
            });
            for change in &changes.list {
                let was = change.was.unwrap_or("not in it");
                page.indented(0, 2, &format!("- {}: {was}", change.id));
                let colon = if change.found.is_empty() { "" } else { ": " };
                page.indented(0, 2, &format!("+ {}: {}{colon}{}", change.id, change.is, change.found));
            }
            page.blank();
        }
        page.paragraph(&self.sum());
        page.into_text()
    }

    /// As Markdown, for an issue or a wiki.
    #[must_use]
    pub fn markdown(&self) -> String {
        let mut text = String::new();
        for line in self.head(|title| format!("# Kernel facts of {title}")) {
            write!(text, "{line}\n\n").ok();
        }
        writeln!(text, "{}", self.counts().markdown()).ok();
        for (area, runs) in self.by_area() {
            let mut table = Table::new(&["fact", "outcome"], "claim");
            for run in runs {
                let steps: Vec<String> = run.not_held().map(Step::to_string).collect();
                let outcome = match run.outcome() {
                    outcome @ Outcome::Holds => outcome.name().to_owned(),
                    outcome @ Outcome::Differs => format!("**{}**: {}", outcome.name(), steps.join("; ")),
                    outcome => format!("{}: {}", outcome.name(), steps.join("; ")),
                };
                table.row([format!("`{}`", run.fact.id), outcome], run.fact.claim, Style::new());
            }
            writeln!(text, "## {}: {}\n\n{}", area.name(), area.title(), table.markdown()).ok();
        }
        if let Some(changes) = &self.changes {
            write!(text, "## Changed since {}\n\n", changes.baseline).ok();
            for change in &changes.list {
                let was = change.was.unwrap_or("not in it");
                writeln!(text, "- `{}`: {was} → {} {}", change.id, change.is, change.found).ok();
            }
            text += if changes.list.is_empty() { "Nothing.\n\n" } else { "\n" };
        }
        text += &self.sum();
        text.push('\n');
        text
    }

    /// The first paragraphs.
    fn head(&self, heading: impl Fn(&str) -> String) -> Vec<String> {
        let mut lines = vec![heading(&self.title())];
        if self.is_partial() {
            lines.push(format!(
                "PARTIAL: interrupted after {} of {}",
                self.runs.len(),
                of(self.asked as u64, "fact")
            ));
        }
        if let Some(Mutant { breaks, behaviour, .. }) = self.under {
            lines.push(format!("A wrong kernel on purpose, to show that {breaks} can fail: {behaviour}"));
        }
        lines
    }

    /// How many of each area.
    fn counts(&self) -> Table {
        let columns = ["area", "holds", "in part", "differs", "claims older", "skipped"];
        let mut table = Table::new(&columns, "what it is about");
        let mut row = |name: &str, totals: Totals, about: &str| {
            let Totals { holds, in_part, differs, claims_older, skipped } = totals;
            let numbers = [holds, in_part, differs, claims_older, skipped].map(|n| count(n as u64));
            let style = if differs > 0 { WRONG } else { Style::new() };
            table.row([name.to_owned()].into_iter().chain(numbers), about, style);
        };
        for (area, runs) in self.by_area() {
            row(area.name(), Totals::of(runs.into_iter().map(Run::outcome)), area.title());
        }
        row("all", self.totals(), "");
        table
    }

    /// Why steps were not made, the most frequent reason first, with the ids of their facts.
    fn reasons(&self) -> Vec<(Why, &str, Vec<&str>)> {
        let mut reasons: Vec<(Why, &str, Vec<&str>)> = Vec::new();
        for run in &self.runs {
            for Step { found, .. } in &run.steps {
                let Found::Skipped { why, detail } = found else { continue };
                match reasons.iter_mut().find(|(_, known, _)| known == detail) {
                    Some((_, _, ids)) if ids.contains(&run.fact.id) => {}
                    Some((_, _, ids)) => ids.push(run.fact.id),
                    None => reasons.push((*why, detail, vec![run.fact.id])),
                }
            }
        }
        reasons.sort_by_key(|(_, _, ids)| std::cmp::Reverse(ids.len()));
        reasons
    }

    /// The last line.
    fn sum(&self) -> String {
        let totals = self.totals();
        let Totals { holds, in_part, differs, claims_older, skipped } = totals;
        let some = |n: usize, what: &str| {
            if n > 0 { format!(", {}", paint(DOUBTFUL, &format!("{n} {what}"))) } else { String::new() }
        };
        format!(
            "{} in {}: {holds} hold{}, {}{}, {}",
            of(totals.all() as u64, "fact"),
            seconds(self.took.as_secs_f64()),
            some(in_part, "in part"),
            paint_if(differs > 0, WRONG, format!("{differs} differ")),
            some(claims_older, "differ and claim to be older"),
            paint_if(skipped > 0, DOUBTFUL, format!("{skipped} skipped"))
        )
    }
}

/// A fact that differs: each step that does, and how many hold.
fn different(page: &mut Page, run: &Run, colour: Style) {
    let Fact { claim, reference, since, matters, .. } = run.fact;
    page.line("claim", claim);
    let differs = |step: &&Step| matches!(step.found, Found::Differs { .. } | Found::ClaimsOlder { .. });
    let different: Vec<Step> = run.steps.iter().filter(differs).cloned().collect();
    for Step { what, found } in different.iter().take(MOST_STEPS) {
        page.line("step", what);
        match found {
            Found::Differs { expected, observed, .. } => {
                page.line("expected", expected);
                page.line("observed", paint(colour, observed));
            }
            Found::ClaimsOlder { expected, observed, since } => {
                page.line("expected", format!("{expected} (since {since})"));
                page.line("observed", paint(colour, observed));
            }
            Found::Holds | Found::Skipped { .. } => {}
        }
    }
    if let Some(more) = more_steps(&different) {
        page.more(more);
    }
    let held = run.steps.len() - run.not_held().count();
    page.line("held", format!("{} of {}", count(held as u64), of(run.steps.len() as u64, "step")));
    if let Some(commits) = run.known() {
        page.line("known", commits);
    }
    page.line("reference", format!("{reference}{}", version(*since)));
    page.line("breaks", matters);
}

/// The colour of an outcome.
fn style(outcome: Outcome) -> Style {
    match outcome {
        Outcome::Holds => Style::new(),
        Outcome::Differs => WRONG,
        Outcome::InPart | Outcome::ClaimsOlder | Outcome::Skipped => DOUBTFUL,
    }
}

/// The title of an area, and a table.
fn titled(page: &mut Page, area: Area, table: &Table) {
    page.paragraph(&format!("{}: {}", area.name(), area.title()));
    page.blank();
    page.table(table);
    page.blank();
}

fn version(since: Since) -> String {
    match since {
        Since::ALWAYS => String::new(),
        since => format!(" (since {since})"),
    }
}

fn releases(all: &[Release]) -> String {
    let number = |Release(major, minor, patch): &Release| format!("{major}.{minor}.{patch}");
    all.iter().map(number).collect::<Vec<_>>().join(", ")
}

/// Which kernels are known to differ, in words.
pub(crate) fn gap(Gap { from, until, repaired, commits }: &Gap) -> String {
    let repaired =
        if repaired.is_empty() { String::new() } else { format!(", repaired in {}", releases(repaired)) };
    let until = until.map_or_else(|| " on".to_owned(), |until| format!(" to before {until}"));
    format!("from {from}{until}{repaired}: {commits}")
}

/// Facts with their claims, area by area, then the wrong kernels that break one of them, in lines of at most `width`
/// columns.
#[must_use]
pub fn list(facts: &[&'static Fact], width: Option<usize>) -> String {
    let mut page = Page::new(width);
    for area in Area::ALL {
        let mut table = Table::new(&[""], "");
        for fact in facts.iter().filter(|fact| fact.area() == *area) {
            table.row([fact.id.to_owned()], fact.claim, Style::new());
        }
        if !table.is_empty() {
            titled(&mut page, *area, &table);
        }
    }
    let mut table = Table::new(&["", ""], "");
    for mutant in Mutant::all().filter(|mutant| facts.iter().any(|fact| fact.id == mutant.breaks)) {
        table.row([mutant.name.to_owned(), mutant.breaks.to_owned()], mutant.behaviour, Style::new());
    }
    if !table.is_empty() {
        page.paragraph("wrong kernels, for --under, and the fact that notices:");
        page.blank();
        page.table(&table);
    }
    page.into_text()
}

/// All that there is to know about a fact, in lines of at most `width` columns.
#[must_use]
pub fn explain(fact: &Fact, width: Option<usize>) -> String {
    let Fact { id, claim, reference, since, backports, gaps, matters, experiment, wrong, .. } = fact;
    let mut page = Page::new(width);
    page.paragraph(&format!("{id} ({})", fact.area().title()));
    let mut since = match *since {
        Since::ALWAYS => "every supported kernel".to_owned(),
        since => since.to_string(),
    };
    if !backports.is_empty() {
        write!(since, ", and in older series since {}", releases(backports)).ok();
    }
    since += "; a step that is newer says so where it differs";
    for (what, said) in [
        ("Claim", *claim),
        ("Reference", *reference),
        ("Since", since.as_str()),
        ("Kernels that are known to differ", &gaps.iter().map(gap).collect::<Vec<_>>().join("; ")),
        ("Why it matters", *matters),
        ("The experiment", *experiment),
    ] {
        if said.is_empty() {
            continue;
        }
        page.blank();
        page.paragraph(what);
        page.indented(2, 2, said);
    }
    if !wrong.is_empty() {
        page.blank();
        page.paragraph("Who got it wrong, or was bitten");
        wrong.iter().for_each(|who| page.indented(2, 4, who));
    }
    let mut mutants = Mutant::all().filter(|mutant| mutant.breaks == *id).peekable();
    if mutants.peek().is_some() {
        page.blank();
        page.paragraph("See it fail");
    }
    for Mutant { name, behaviour, .. } in mutants {
        page.indented(2, 4, &format!("io-models facts {id} --under {name}"));
        page.indented(4, 4, behaviour);
    }
    page.into_text()
}
