//! Verdicts for people, as Markdown and as JUnit XML; and what there is to read about a check.

use super::junit::{not_ok, skipped};
use super::{DOUBTFUL, Page, Table, WRONG, paint, paint_if};
use crate::lab::check::{self, Check, Needs};
use crate::lab::results::check::{Checked, Failure, Judged, Outcome, Verdict};
use crate::lab::units::{of, seconds};
use anstyle::Style;
use quick_junit::{NonSuccessKind, Report, SerializeError, TestCase, TestCaseStatus, TestSuite};
use std::fmt::Write;
use std::time::Duration;

impl Checked {
    /// In lines of at most `width` columns: what failed in full, what was not checked and why. `verbose` has each check. Colours
    /// are escape sequences.
    #[must_use]
    pub fn page(&self, verbose: bool, width: Option<usize>) -> String {
        let mut page = Page::new(width);
        if self.partial {
            let reached: usize = self.servers.iter().map(|server| server.verdicts.len()).sum();
            let asked = self.plan.checks.len();
            page.paragraph(&format!(
                "PARTIAL: interrupted after {reached} verdicts; {asked} checks were chosen for each server"
            ));
            page.blank();
        }
        for server in &self.servers {
            if self.servers.len() > 1 {
                page.paragraph(&format!("{}: {}", server.name, server.server));
                page.blank();
            }
            server.show(&mut page, verbose);
            page.blank();
        }
        if self.servers.len() > 1 {
            page.table(&self.summary());
            page.blank();
        }
        page.paragraph(&self.sum());
        page.into_text()
    }

    /// As Markdown: a row for each server, then each check that not every server passed.
    #[must_use]
    pub fn markdown(&self) -> String {
        let mut text = self.summary().markdown();
        let is_remarkable = |id: &&String| {
            let outcome = |server: &Judged| server.outcome_of(id).unwrap_or(Outcome::NotMade);
            self.servers.iter().any(|server| outcome(server) != Outcome::Passed)
        };
        let names: Vec<_> =
            ["check"].into_iter().chain(self.servers.iter().map(|server| server.name.as_str())).collect();
        let mut table = Table::new(&names, "what must be so");
        for id in self.plan.checks.iter().filter(is_remarkable) {
            let cells = self.servers.iter().map(|server| match server.outcome_of(id) {
                Some(Outcome::Passed) => "passed".to_owned(),
                Some(Outcome::Failed) => "**FAILED**".to_owned(),
                Some(Outcome::NotApplicable) => "n/a".to_owned(),
                Some(Outcome::NotMade) | None => "not made".to_owned(),
            });
            let claim = check::find(id).map_or("", |check| check.claim);
            table.row([format!("`{id}`")].into_iter().chain(cells), claim, Style::new());
        }
        if !table.is_empty() {
            write!(text, "\n{}", table.markdown()).ok();
        }
        for server in &self.servers {
            for Verdict { check, failure, .. } in server.failed() {
                let Some(Failure { expected, observed, .. }) = failure else { continue };
                write!(text, "\n- {}, `{check}`: expected {expected}; observed {observed}", server.name).ok();
            }
        }
        if self.has_failures() {
            text.push('\n');
        }
        text
    }

    /// As JUnit XML: a suite for each server, a case for each check.
    ///
    /// # Errors
    ///
    /// None in practice: it is written into memory.
    pub fn junit(&self) -> Result<String, SerializeError> {
        let mut report = Report::new("io-models check");
        report.set_time(Duration::from_secs_f64(self.seconds));
        for server in &self.servers {
            let mut suite = TestSuite::new(server.name.as_str());
            suite.add_test_cases(server.verdicts.iter().map(|verdict| case(&server.name, verdict)));
            // What a signal came before is no success, and must not be missing either.
            let missing = self.plan.checks.iter().filter(|id| server.outcome_of(id).is_none());
            suite.add_test_cases(missing.map(|id| {
                let why = "not made: the run was interrupted";
                let mut case =
                    TestCase::new(id.as_str(), not_ok(NonSuccessKind::Error, "not made", why, why));
                case.set_classname(format!("check.{}", server.name));
                case
            }));
            report.add_test_suite(suite);
        }
        report.to_string()
    }

    fn summary(&self) -> Table {
        let mut table = Table::new(&["server", "passed", "failed", "n/a", "not made"], "what it failed");
        for server in &self.servers {
            let outcomes = [Outcome::Passed, Outcome::Failed, Outcome::NotApplicable, Outcome::NotMade];
            let numbers = outcomes.map(|outcome| server.count(outcome).to_string());
            let failed: Vec<_> = server.failed().map(|verdict| verdict.check.as_str()).collect();
            let style = if failed.is_empty() { Style::new() } else { WRONG };
            table.row([server.name.clone()].into_iter().chain(numbers), failed.join(", "), style);
        }
        table
    }

    /// The last line.
    fn sum(&self) -> String {
        let all = |outcome| self.servers.iter().map(|server| server.count(outcome)).sum::<usize>();
        let [passed, failed, not_applicable, not_made] =
            [Outcome::Passed, Outcome::Failed, Outcome::NotApplicable, Outcome::NotMade].map(all);
        // Who chose some knows that there are others.
        let faults = check::all().filter(|check| check.needs == Needs::Faults).count();
        let is_all = self.plan.checks.len() + faults + 2 >= check::all().count();
        let more = if is_all && !self.plan.faults {
            format!("; --faults makes {faults} more")
        } else {
            String::new()
        };
        format!(
            "{} in {}: {passed} passed, {}, {}, {not_applicable} not applicable (seed {}){more}",
            of((passed + failed + not_applicable + not_made) as u64, "check"),
            seconds(self.seconds),
            paint_if(failed > 0, WRONG, format!("{failed} failed")),
            paint_if(not_made > 0, DOUBTFUL, format!("{not_made} not made")),
            self.plan.seed
        )
    }
}

impl Judged {
    fn outcome_of(&self, id: &str) -> Option<Outcome> {
        self.verdicts.iter().find(|verdict| verdict.check == id).map(|verdict| verdict.outcome)
    }

    fn show(&self, page: &mut Page, verbose: bool) {
        if verbose {
            let mut table = Table::new(&["", "", ""], "");
            for Verdict { check, claim, outcome, seconds: took, .. } in &self.verdicts {
                let style = if *outcome == Outcome::Failed { WRONG } else { Style::new() };
                let took = if *took > 0.0 { seconds(*took) } else { String::new() };
                table.row([check.clone(), outcome.name().to_owned(), took], claim.as_str(), style);
            }
            page.table(&table);
            page.blank();
        }
        for Verdict { check, claim, failure, .. } in self.failed() {
            let Some(Failure { expected, observed, cause, conversation }) = failure else { continue };
            page.paragraph(&paint(WRONG, &format!("FAILED: {check}")));
            page.line("must be", claim);
            page.line("expected", expected);
            page.line("observed", paint(WRONG, observed));
            page.line("likely cause", cause);
            for (i, line) in conversation.iter().enumerate() {
                if i == 0 { page.line("conversation", line) } else { page.more(line) }
            }
            page.line("more", format!("io-models check --explain {check}"));
            page.blank();
        }
        let reasons = self.reasons();
        if !reasons.is_empty() {
            page.paragraph(&paint(DOUBTFUL, "Not checked:"));
            reasons.iter().for_each(|(why, ids)| page.indented(2, 4, &format!("{}: {why}", ids.join(", "))));
        }
        let all_passed = !self.verdicts.is_empty() && self.count(Outcome::Passed) == self.verdicts.len();
        if all_passed {
            page.paragraph("Everything is as it should be.");
        }
    }
}

fn case(server: &str, Verdict { check, claim, outcome, seconds, failure, why }: &Verdict) -> TestCase {
    let why = why.as_deref().unwrap_or_default();
    let status = match (outcome, failure) {
        (Outcome::Passed, _) => TestCaseStatus::success(),
        (Outcome::NotApplicable, _) => skipped(why),
        (Outcome::NotMade, _) => not_ok(NonSuccessKind::Error, "not made", why, why),
        (Outcome::Failed, failure) => {
            let Failure { expected, observed, cause, conversation } =
                failure.clone().unwrap_or_else(|| unreachable!("what failed has a failure"));
            let line = format!("expected {expected}; observed {observed}");
            let all = format!(
                "{claim}\nexpected      {expected}\nobserved      {observed}\nlikely cause  {cause}\n{}",
                conversation.join("\n")
            );
            not_ok(NonSuccessKind::Failure, "failed", &line, &all)
        }
    };
    let mut case = TestCase::new(check.as_str(), status);
    case.set_classname(format!("check.{server}")).set_time(Duration::from_secs_f64(*seconds));
    case
}

/// Checks with what must be so, group by group, in lines of at most `width` columns.
#[must_use]
pub fn list(checks: &[&Check], width: Option<usize>) -> String {
    let mut page = Page::new(width);
    let mut table = Table::new(&[""], "");
    let mut group = "";
    for check in checks {
        if check.group() != group && !table.is_empty() {
            page.table(&table);
            page.blank();
            table = Table::new(&[""], "");
        }
        group = check.group();
        table.row([check.id.to_owned()], check.claim, Style::new());
    }
    page.table(&table);
    page.into_text()
}

/// All that there is to know about a check, in lines of at most `width` columns.
#[must_use]
pub fn explain(check: &Check, width: Option<usize>) -> String {
    let needs = match check.needs {
        Needs::Address => "an address, or a command",
        Needs::Process => "a command: the check starts the server",
        Needs::Faults => "a command and --faults: the check starts the server, and stops at its system calls",
    };
    let after = check.after.join(", ");
    let mut page = Page::new(width);
    page.paragraph(check.id);
    for (what, said) in [
        ("What must be so", check.claim),
        ("What is done", check.does),
        ("Why it matters", check.matters),
        ("The usual cause of a failure", check.cause),
        ("Where to read more", check.reference),
        ("What it takes", needs),
        ("It says nothing unless these have passed", after.as_str()),
    ] {
        if !said.is_empty() {
            page.blank();
            page.paragraph(what);
            page.indented(2, 2, said);
        }
    }
    page.into_text()
}
