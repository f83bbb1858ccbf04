//! The report as CI servers read it.

use super::Report;
use crate::facts::{Outcome, Run};
use crate::lab::show::junit::{not_ok, skipped};
use quick_junit::{NonSuccessKind, Report as JUnit, TestCase, TestCaseStatus, TestSuite};

impl Report {
    /// As JUnit XML: a suite for each area, a case for each fact.
    ///
    /// # Errors
    ///
    /// None in practice: it is written into memory.
    pub fn junit(&self) -> Result<String, quick_junit::SerializeError> {
        let mut report = JUnit::new(format!("kernel facts: {}", self.title()));
        report.set_time(self.took);
        for (area, runs) in self.by_area() {
            let mut suite = TestSuite::new(area.name());
            suite.set_time(runs.iter().map(|run| run.took).sum());
            suite.add_test_cases(runs.into_iter().map(case));
            report.add_test_suite(suite);
        }
        report.to_string()
    }
}

fn case(Run { fact, outcome, ended, took }: &Run) -> TestCase {
    let status = match outcome {
        Outcome::Holds => TestCaseStatus::success(),
        Outcome::Differs { expected, observed } => {
            // An experiment that did not come to its end is an error to JUnit, not a failure.
            let kind = if *ended { NonSuccessKind::Failure } else { NonSuccessKind::Error };
            let line = format!("expected {expected}; observed {observed}");
            let all = format!(
                "{}\nexpected   {expected}\nobserved   {observed}\nreference  {}\nbreaks     {}",
                fact.claim, fact.reference, fact.matters
            );
            not_ok(kind, "differs", &line, &all)
        }
        Outcome::Skipped { why } => skipped(why),
    };
    let mut case = TestCase::new(fact.id, status);
    case.set_classname(format!("facts.{}", fact.area().name())).set_time(*took);
    case
}
