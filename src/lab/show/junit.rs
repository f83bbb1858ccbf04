//! JUnit XML, which CI servers read.

use crate::lab::gate::{Judged, Outcome};
use quick_junit::{NonSuccessKind, Report, SerializeError, TestCase, TestCaseStatus, TestSuite};
use std::time::Duration;

/// Something that is checked in each run, gates or not.
#[derive(Debug)]
pub struct Check {
    /// What must be so.
    pub name: String,
    /// What was found.
    pub found: Found,
}

/// What a check found.
#[derive(Debug)]
pub enum Found {
    /// It is so.
    Right,
    /// What is so instead.
    Wrong(String),
    /// Why it was not looked at.
    Skipped(String),
}

impl From<Option<String>> for Found {
    fn from(failure: Option<String>) -> Found {
        failure.map_or(Found::Right, Found::Wrong)
    }
}

/// A run as a suite: a case for each check and each gate. `interrupted` says why the run did not come to its end; then no
/// case is a success.
///
/// # Errors
///
/// None in practice: it is written into memory.
pub fn of_run(
    (suite, title, took): (&str, &str, Duration),
    interrupted: Option<&str>,
    checks: &[Check],
    gates: &[Judged],
) -> Result<String, SerializeError> {
    let mut cases = TestSuite::new(suite);
    cases.set_time(took);
    cases.add_test_cases(checks.iter().map(|check| of_check(suite, check, interrupted)));
    cases.add_test_cases(gates.iter().map(|gate| of_gate(suite, gate)));
    let mut report = Report::new(title);
    report.set_time(took);
    report.add_test_suite(cases);
    report.to_string()
}

fn of_check(suite: &str, Check { name, found }: &Check, interrupted: Option<&str>) -> TestCase {
    let status = match (found, interrupted) {
        (Found::Wrong(why), _) => not_ok(NonSuccessKind::Failure, "failed", why, why),
        (_, Some(why)) => not_judged(why),
        (Found::Skipped(why), None) => skipped(why),
        (Found::Right, None) => TestCaseStatus::success(),
    };
    named(&format!("{suite}.checks"), name, status)
}

fn of_gate(suite: &str, judged: &Judged) -> TestCase {
    let words = judged.in_words();
    let status = match judged.outcome {
        Outcome::Met => TestCaseStatus::success(),
        Outcome::NotMet => not_ok(NonSuccessKind::Failure, "gate", &words, &words),
        Outcome::NotJudged => not_judged(judged.why.as_deref().unwrap_or_default()),
    };
    // Two cases of one name would be one to some readers.
    let row = judged.row.as_ref().map_or_else(String::new, |row| format!(" [{row}]"));
    named(&format!("{suite}.gates"), &format!("{}{row}", judged.gate), status)
}

fn named(class: &str, name: &str, status: TestCaseStatus) -> TestCase {
    let mut case = TestCase::new(name, status);
    case.set_classname(class);
    case
}

/// An error to JUnit, and no failure: the gate was not judged.
fn not_judged(why: &str) -> TestCaseStatus {
    let words = format!("not judged: {why}");
    not_ok(NonSuccessKind::Error, "not judged", &words, &words)
}

/// A case that was left out.
pub(in crate::lab) fn skipped(why: &str) -> TestCaseStatus {
    let mut status = TestCaseStatus::skipped();
    status.set_message(why);
    status
}

/// A case that is no success: its type, one line on it, and all of it.
pub(in crate::lab) fn not_ok(kind: NonSuccessKind, what: &str, line: &str, all: &str) -> TestCaseStatus {
    let mut status = TestCaseStatus::non_success(kind);
    status.set_type(what).set_message(line).set_description(all);
    status
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::gate::Unit;

    fn judged(outcome: Outcome) -> Judged {
        Judged {
            gate: "p99<=1ms".to_owned(),
            row: Some("20k".to_owned()),
            what: "p99".to_owned(),
            unit: Unit::Microseconds,
            measured: Some(2000.0),
            is_least: false,
            interval: None,
            limit: Some(1000.0),
            outcome,
            why: Some("interrupted".to_owned()),
        }
    }

    fn counts(interrupted: Option<&str>, failure: Option<&str>, outcome: Outcome) -> (usize, usize, usize) {
        let found = Found::from(failure.map(str::to_owned));
        let checks = [Check { name: "bytes".to_owned(), found }];
        let head = ("load", "a load", Duration::ZERO);
        let xml = of_run(head, interrupted, &checks, &[judged(outcome)]).expect("it is written into memory");
        let report = Report::deserialize_from_str(&xml).expect("what was written can be read");
        (report.tests, report.failures, report.errors)
    }

    #[test]
    fn a_gate_that_is_not_met_is_a_failure_and_one_that_was_not_judged_is_an_error() {
        assert_eq!(counts(None, None, Outcome::Met), (2, 0, 0));
        assert_eq!(counts(None, None, Outcome::NotMet), (2, 1, 0));
        assert_eq!(counts(None, Some("3 lost"), Outcome::Met), (2, 1, 0));
        assert_eq!(counts(Some("interrupted"), None, Outcome::NotJudged), (2, 0, 2), "nothing is a success");
    }

    #[test]
    fn what_was_skipped_is_a_skipped_case_and_of_an_interrupted_run_an_error() {
        let check = || Check { name: "ping".to_owned(), found: Found::Skipped("one client".to_owned()) };
        let case = |interrupted| of_check("compare", &check(), interrupted).status;
        assert!(
            matches!(case(None), TestCaseStatus::Skipped { message: Some(why), .. } if why.as_str() == "one client")
        );
        assert!(matches!(
            case(Some("interrupted")),
            TestCaseStatus::NonSuccess { kind: NonSuccessKind::Error, .. }
        ));
    }
}
