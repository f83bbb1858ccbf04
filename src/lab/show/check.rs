//! Verdicts for people, as Markdown and as JUnit XML; and what there is to read about a check.

use super::junit::{not_ok, skipped};
use super::{DOUBTFUL, Page, Table, WRONG, code, name, paint, paint_if};
use crate::lab::check::{self, Answers, Check, Needs, said};
use crate::lab::lang::Lang;
use crate::lab::results::check::{Checked, Failure, Judged, Outcome, Verdict};
use crate::lab::units::{of, seconds};
use anstyle::Style;
use quick_junit::{NonSuccessKind, Report, SerializeError, TestCase, TestCaseStatus, TestSuite};
use std::fmt::Write;
use std::time::Duration;

impl Checked {
    /// In lines of at most `width` columns: what failed in full, what was not checked and why. `verbose` has each check. Colours
    /// are escape sequences. What a check has observed is said in English.
    #[must_use]
    pub fn page(&self, verbose: bool, width: Option<usize>, lang: Lang) -> String {
        let mut page = Page::new(width);
        if let Some(interrupted) = self.interrupted(lang) {
            page.paragraph(&format!("{}{interrupted}", lang.say("PARTIAL: ", "不完整：")));
            page.blank();
        }
        for server in &self.servers {
            if self.servers.len() > 1 {
                page.indented(0, 4, &format!("{}: {}", server.name, server.server));
                page.blank();
            }
            server.show(&mut page, verbose, lang);
        }
        if self.servers.len() > 1 {
            page.table(&self.summary(str::to_owned, lang));
            page.blank();
        }
        page.paragraph(&self.sum(lang));
        page.into_text()
    }

    /// As Markdown: a row for each server, then each check that not every server passed.
    #[must_use]
    pub fn markdown(&self) -> String {
        let mut text = String::new();
        if let Some(interrupted) = self.interrupted(Lang::En) {
            write!(text, "**PARTIAL**: {interrupted}.\n\n").ok();
        }
        text += &self.summary(name, Lang::En).markdown();
        let is_remarkable = |id: &&String| {
            let outcome = |server: &Judged| server.outcome_of(id).unwrap_or(Outcome::NotMade);
            self.servers.iter().any(|server| outcome(server) != Outcome::Passed)
        };
        let names: Vec<_> = self.servers.iter().map(|server| name(&server.name)).collect();
        let head: Vec<_> = ["check"].into_iter().chain(names.iter().map(String::as_str)).collect();
        let mut table = Table::new(&head, "what must be so");
        for id in self.plan.checks.iter().filter(is_remarkable) {
            let cells = self.servers.iter().map(|server| match server.outcome_of(id) {
                Some(Outcome::Passed) => "passed".to_owned(),
                Some(Outcome::Failed) => "**FAILED**".to_owned(),
                Some(Outcome::NotApplicable) => "n/a".to_owned(),
                Some(Outcome::NotMade) | None => "not made".to_owned(),
            });
            let claim = check::find(id).map_or("", |check| check.claim);
            table.row([code(id)].into_iter().chain(cells), claim, Style::new());
        }
        if !table.is_empty() {
            write!(text, "\n{}", table.markdown()).ok();
        }
        for (server, name) in self.servers.iter().zip(&names) {
            for Verdict { check, failure, .. } in server.failed() {
                let Some(Failure { expected, observed, .. }) = failure else { continue };
                let [check, expected, observed] = [check, expected, observed].map(|text| code(text));
                write!(text, "\n- {name}, {check}: expected {expected}; observed {observed}").ok();
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
        report.set_time(time(self.seconds));
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

    /// How far a run came that a signal ended.
    fn interrupted(&self, lang: Lang) -> Option<String> {
        let reached: usize = self.servers.iter().map(|server| server.verdicts.len()).sum();
        let asked = self.plan.checks.len() as u64;
        self.partial.then(|| match lang {
            Lang::En => format!(
                "interrupted after {}; {} chosen for each server",
                of(reached as u64, "verdict"),
                if asked == 1 { "1 check was".to_owned() } else { format!("{asked} checks were") }
            ),
            Lang::Zh => format!("得出 {reached} 个判定后被中断；为每个服务端选择了 {asked} 个检查项"),
        })
    }

    /// A row for each server, with names as `shown` writes them.
    fn summary(&self, shown: fn(&str) -> String, lang: Lang) -> Table {
        let head = lang.say(
            ["server", "passed", "failed", "n/a", "not made"],
            ["服务端", "通过", "失败", "不适用", "未进行"],
        );
        let mut table = Table::new(&head, lang.say("what it failed", "失败的检查项"));
        for server in &self.servers {
            let outcomes = [Outcome::Passed, Outcome::Failed, Outcome::NotApplicable, Outcome::NotMade];
            let numbers = outcomes.map(|outcome| server.count(outcome).to_string());
            let failed: Vec<_> = server.failed().map(|verdict| shown(&verdict.check)).collect();
            let style = if failed.is_empty() { Style::new() } else { WRONG };
            table.row([shown(&server.name)].into_iter().chain(numbers), failed.join(", "), style);
        }
        table
    }

    /// The last line.
    fn sum(&self, lang: Lang) -> String {
        let all = |outcome| self.servers.iter().map(|server| server.count(outcome)).sum::<usize>();
        let [passed, failed, not_applicable, not_made] =
            [Outcome::Passed, Outcome::Failed, Outcome::NotApplicable, Outcome::NotMade].map(all);
        // Someone who chose some knows that there are others. They need a command, as those of signals do.
        let is_asked = |id: &str| self.plan.checks.iter().any(|asked| asked == id);
        let faults = check::all().filter(|check| check.needs == Needs::Faults).count();
        let usual =
            check::all().filter(|check| check.needs != Needs::Faults && check.answers != Answers::Frames);
        let is_all = usual.map(|check| check.id).all(is_asked);
        let has_command = self.servers.iter().any(|server| {
            server
                .outcome_of("signals/stop-continue")
                .is_some_and(|outcome| outcome != Outcome::NotApplicable)
        });
        let more = match lang {
            _ if !is_all || !has_command || self.plan.faults => String::new(),
            Lang::En => format!("; --faults makes {faults} more"),
            Lang::Zh => format!("；加上 --faults 还有 {faults} 项"),
        };
        let (all, took, seed) =
            (passed + failed + not_applicable + not_made, seconds(self.seconds), self.plan.seed);
        let (failed_in_words, not_made_in_words) = match lang {
            Lang::En => (format!("{failed} failed"), format!("{not_made} not made")),
            Lang::Zh => (format!("失败 {failed} 项"), format!("未进行 {not_made} 项")),
        };
        let failed = paint_if(failed > 0, WRONG, failed_in_words);
        let not_made = paint_if(not_made > 0, DOUBTFUL, not_made_in_words);
        match lang {
            Lang::En => format!(
                "{} in {took}: {passed} passed, {failed}, {not_made}, {not_applicable} not applicable (seed {seed}){more}",
                of(all as u64, "check"),
            ),
            Lang::Zh => format!(
                "{all} 个检查项，用时 {took}：通过 {passed} 项，{failed}，{not_made}，不适用 {not_applicable} 项（种子 {seed}）{more}"
            ),
        }
    }
}

impl Judged {
    fn show(&self, page: &mut Page, verbose: bool, lang: Lang) {
        if verbose {
            let mut table = Table::new(&["", "", ""], "");
            for Verdict { check, claim, outcome, seconds: took, .. } in &self.verdicts {
                let style = if *outcome == Outcome::Failed { WRONG } else { Style::new() };
                let took = if *took > 0.0 { seconds(*took) } else { String::new() };
                let outcome = match outcome {
                    outcome if lang == Lang::En => outcome.name(),
                    Outcome::Passed => "通过",
                    Outcome::Failed => "失败",
                    Outcome::NotApplicable => "不适用",
                    Outcome::NotMade => "未进行",
                };
                table.row([check.clone(), outcome.to_owned(), took], said(claim, lang), style);
            }
            page.table(&table);
            page.blank();
        }
        for Verdict { check, claim, failure, .. } in self.failed() {
            let Some(Failure { expected, observed, cause, conversation }) = failure else { continue };
            page.indented(0, 4, &paint(WRONG, &format!("{}{check}", lang.say("FAILED: ", "失败："))));
            page.line(lang.say("must be", "要求"), said(claim, lang));
            page.line(lang.say("expected", "期望"), expected);
            page.line(lang.say("observed", "实际"), paint(WRONG, observed));
            page.line(lang.say("likely cause", "可能的原因"), said(cause, lang));
            for (i, line) in conversation.iter().enumerate() {
                if i == 0 { page.line(lang.say("conversation", "对话"), line) } else { page.more(line) }
            }
            page.line(lang.say("more", "详情"), format!("io-models check --explain {check}"));
            page.blank();
        }
        let reasons = self.reasons();
        if !reasons.is_empty() {
            page.paragraph(&paint(DOUBTFUL, lang.say("Not checked:", "没有检查：")));
            for (why, ids) in reasons {
                let is_all = ids.len() > 1 && ids.len() == self.verdicts.len();
                let ids = match lang {
                    _ if !is_all => ids.join(", "),
                    Lang::En => format!("all {} checks", ids.len()),
                    Lang::Zh => format!("全部 {} 个检查项", ids.len()),
                };
                page.indented(2, 4, &format!("{ids}: {why}"));
            }
            page.blank();
        }
        let later = |verdict: &Verdict| {
            let (check, tries) = (&verdict.check, verdict.later_try()?);
            Some(lang.say(format!("{check} (try {tries})"), format!("{check}（第 {tries} 次）")))
        };
        let later: Vec<_> = self.verdicts.iter().filter_map(later).collect();
        if !later.is_empty() {
            let heading = lang.say(
                "Passed only at a later try, because something came too late:",
                "因为有数据来得太晚，后来再试才通过：",
            );
            page.paragraph(&paint(DOUBTFUL, heading));
            page.indented(2, 4, &later.join(", "));
            page.blank();
        }
        let all_passed = !self.verdicts.is_empty() && self.count(Outcome::Passed) == self.verdicts.len();
        if all_passed {
            page.paragraph(lang.say("Everything is as it should be.", "一切正常。"));
            page.blank();
        }
    }
}

fn case(server: &str, verdict: &Verdict) -> TestCase {
    let Verdict { check, claim, outcome, seconds, failure, why, .. } = verdict;
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
    case.set_classname(format!("check.{server}")).set_time(time(*seconds));
    if let Some(tries) = verdict.later_try() {
        case.set_system_out(format!("passed at try {tries}: before, something came too late"));
    }
    case
}

/// None, if the number is no length of time: a file may say anything.
fn time(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or_default()
}

/// Checks with what they need and what must be so, group by group, in lines of at most `width` columns.
#[must_use]
pub fn list(checks: &[&Check], width: Option<usize>, lang: Lang) -> String {
    let mut page = Page::new(width);
    for group in checks.chunk_by(|one, next| one.group() == next.group()) {
        let mut table = Table::new(&["", ""], "");
        for check in group {
            let needs = match check.needs {
                Needs::Address => "",
                Needs::Process => "c",
                Needs::Faults => "f",
            };
            table.row([check.id.to_owned(), needs.to_owned()], said(check.claim, lang), Style::new());
        }
        page.table(&table);
        page.blank();
    }
    page.paragraph(lang.say(
        "c: needs the command of the server, not its address. f: needs the command, and --faults.",
        "c：需要服务端的命令，而不是地址。f：需要命令和 --faults。",
    ));
    page.into_text()
}

/// All that there is to know about a check, in lines of at most `width` columns.
#[must_use]
pub fn explain(check: &Check, width: Option<usize>, lang: Lang) -> String {
    let needs = match check.needs {
        Needs::Address => lang.say("an address, or a command", "地址或命令"),
        Needs::Process => lang.say("a command: the check starts the server", "命令：由检查项启动服务端"),
        Needs::Faults => lang.say(
            "a command and --faults: the check starts the server, and stops at its system calls",
            "命令和 --faults：由检查项启动服务端，并在它的系统调用处停下",
        ),
    };
    let after = check.after.join(", ");
    let mut page = Page::new(width);
    page.paragraph(check.id);
    for (what, said) in [
        (lang.say("What must be so", "要求"), said(check.claim, lang)),
        (lang.say("What is done", "做法"), said(check.does, lang)),
        (lang.say("Why it matters", "为什么重要"), said(check.matters, lang)),
        (lang.say("The usual cause of a failure", "失败的常见原因"), said(check.cause, lang)),
        (lang.say("Where to read more", "参考"), said(check.reference, lang)),
        (lang.say("What it takes", "需要什么"), needs),
        (
            lang.say("It says nothing unless these have passed", "以下检查项通过之后，它才有意义"),
            after.as_str(),
        ),
    ] {
        if !said.is_empty() {
            page.blank();
            page.paragraph(what);
            page.indented(2, 2, said);
        }
    }
    page.into_text()
}

#[cfg(test)]
mod tests {
    use super::super::{columns, html};
    use super::*;
    use crate::lab::env::Environment;
    use crate::lab::results::check::{Expect, Plan, SCHEMA, SCHEMA_VERSION};

    fn verdict(check: &str, failure: Option<Failure>) -> Verdict {
        Verdict {
            check: check.to_owned(),
            claim: "It answers.".to_owned(),
            outcome: if failure.is_some() { Outcome::Failed } else { Outcome::Passed },
            tries: None,
            seconds: 0.1,
            failure,
            why: None,
        }
    }

    fn failure(observed: &str) -> Failure {
        let text = str::to_owned;
        Failure {
            expected: text("\"a\""),
            observed: text(observed),
            cause: text("A cause."),
            conversation: vec![text("client 1 connects")],
        }
    }

    /// Three checks were chosen.
    fn checked(partial: bool, verdicts: Vec<Verdict>) -> Checked {
        let checks = ["echo/one-byte", "echo/nul", "end/closes"].map(str::to_owned).to_vec();
        let server = Judged { name: "mine".to_owned(), server: "./mine {port}".to_owned(), verdicts };
        Checked {
            schema: SCHEMA.to_owned(),
            schema_version: SCHEMA_VERSION,
            environment: Environment::here(),
            plan: Plan { expect: Expect::Echo, clients: 1000, faults: false, seed: 1, checks },
            seconds: 1.0,
            partial,
            servers: vec![server],
        }
    }

    #[test]
    fn what_is_explained_fits_a_terminal_in_both_languages() {
        for (check, lang) in check::all().flat_map(|check| [(check, Lang::En), (check, Lang::Zh)]) {
            for line in explain(check, Some(60), lang).lines().chain(list(&[check], Some(60), lang).lines()) {
                assert!(columns(line) <= 60, "{}: {line}", check.id);
            }
            assert!(explain(check, None, lang).contains(said(check.matters, lang)), "{}", check.id);
        }
    }

    #[test]
    fn a_page_in_chinese_has_the_texts_of_the_check_and_what_was_observed_as_it_is() {
        let one = check::find("echo/nul").expect("a check");
        let mut failed = verdict(one.id, Some(failure("\"b\"")));
        failed.claim = one.claim.to_owned();
        failed.failure.as_mut().expect("it failed").cause = one.cause.to_owned();
        let other = Verdict { tries: Some(2), ..verdict("echo/one-byte", None) };
        let page = checked(true, vec![failed, other]).page(true, None, Lang::Zh);
        for text in [said(one.claim, Lang::Zh), said(one.cause, Lang::Zh), "\"b\"", "client 1 connects"] {
            assert!(page.contains(text), "no {text:?}: {page}");
        }
        for text in ["失败", "得出 2 个判定后被中断", "通过 1 项", "echo/one-byte（第 2 次）", "It answers."]
        {
            assert!(page.contains(text), "no {text:?}: {page}");
        }
    }

    #[test]
    fn no_form_shows_an_interrupted_run_as_a_success() {
        let result = checked(true, vec![verdict("echo/one-byte", None)]);
        let said = "PARTIAL: interrupted after 1 verdict; 3 checks were chosen for each server";
        let text = result.page(false, None, Lang::En);
        assert!(text.starts_with(said), "{text}");
        let markdown = result.markdown();
        assert!(markdown.starts_with(&said.replace("PARTIAL", "**PARTIAL**")), "{markdown}");
        let row = markdown.lines().find(|line| line.starts_with("| `end/closes` ")).expect("each check");
        assert!(row.contains("not made"), "{row}");
        let page = html::check::page(&result);
        assert!(page.contains("It was interrupted before all checks were made."), "{page}");
        assert!(page.contains("end/closes"), "{page}");
        let junit = result.junit().expect("it is written into memory");
        let report = Report::deserialize_from_str(&junit).expect("what was written can be read");
        assert_eq!((report.tests, report.failures, report.errors), (3, 0, 2));
    }

    #[test]
    fn a_partial_run_without_any_verdict_is_told_from_one_that_is_right() {
        let text = checked(true, Vec::new()).page(true, None, Lang::En);
        assert!(!text.contains("Everything"), "{text}");
        assert!(!checked(false, vec![verdict("echo/nul", None)]).markdown().contains("PARTIAL"));
    }

    #[test]
    fn a_check_that_passed_at_a_later_try_is_named() {
        let late = Verdict { tries: Some(2), ..verdict("echo/nul", None) };
        let result = checked(false, vec![verdict("echo/one-byte", None), late]);
        let text = result.page(false, None, Lang::En);
        assert!(text.contains("only at a later try") && text.contains("echo/nul (try 2)"), "{text}");
        let page = html::check::page(&result);
        assert!(page.contains("echo/nul: passed at try 2"), "{page}");
        let junit = result.junit().expect("it is written into memory");
        assert!(junit.contains("passed at try 2"), "{junit}");
    }

    #[test]
    fn what_a_server_wrote_means_nothing_in_markdown() {
        let wrote = "the server wrote: \"| **a** <b> `c\n\n# d\"";
        let mut result = checked(false, vec![verdict("echo/nul", Some(failure(wrote)))]);
        result.servers[0].name = "_a_|b\nc".to_owned();
        let markdown = result.markdown();
        assert!(markdown.contains(r#"observed ``the server wrote: "| **a** <b> `c\n\n# d"``"#), "{markdown}");
        assert!(markdown.contains(r"| `_a_\|b\nc` |"), "{markdown}");
        assert!(markdown.contains(r"- `_a_|b\nc`, `echo/nul`: "), "{markdown}");
    }
}
