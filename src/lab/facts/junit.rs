//! The report as CI servers read it.

use super::Report;
use crate::facts::{Outcome, Run, Step};
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

fn case(run: &Run) -> TestCase {
    let Run { fact, ended, took, .. } = run;
    let steps: Vec<String> = run.not_held().map(Step::to_string).collect();
    let status = match run.outcome() {
        Outcome::Holds | Outcome::InPart => TestCaseStatus::success(),
        Outcome::Differs => {
            // An experiment that did not come to its end is an error to JUnit, not a failure.
            let kind = if *ended { NonSuccessKind::Failure } else { NonSuccessKind::Error };
            let all = format!(
                "{}\n{}\nreference  {}\nbreaks     {}",
                fact.claim,
                steps.join("\n"),
                fact.reference,
                fact.matters
            );
            not_ok(kind, "differs", &steps.join("; "), &all)
        }
        Outcome::ClaimsOlder | Outcome::Skipped => skipped(&steps.join("; ")),
    };
    let mut case = TestCase::new(fact.id, status);
    case.set_classname(format!("facts.{}", fact.area().name())).set_time(*took);
    case
}
