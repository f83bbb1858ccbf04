//! Reports of the kernel's [facts](crate::facts): for people, for programs, for CI.

mod baseline;
mod differs;
mod document;
mod junit;
mod map;
mod profile;
mod text;

pub use baseline::Change;
pub use differs::Pair;
pub use document::{Document, SCHEMA, SCHEMA_VERSION};
pub(crate) use map::{Bound, Group, Verdict, bounds, place};
pub use map::{Known, Map, first_kernel};
pub(crate) use profile::Cell;
pub use profile::{NotAProfile, Profile, System};
pub(crate) use text::{MOST_STEPS, more_steps};
pub use text::{explain, list};

use super::env::Environment;
use crate::facts::{Area, Fact, Mutant, Outcome, Run, Runner, Since, Step};
use serde::Serialize;
use std::time::Duration;

/// What was found.
#[derive(Debug)]
pub struct Report {
    environment: Environment,
    launcher: Vec<String>,
    under: Option<&'static Mutant>,
    judged_as: Option<Since>,
    asked: usize,
    runs: Vec<Run>,
    took: Duration,
    changes: Option<Changes>,
}

/// What differs from a profile that was recorded earlier.
#[derive(Debug)]
struct Changes {
    /// Its name and its kernel.
    baseline: String,
    list: Vec<Change>,
}

/// How many facts of each outcome.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Totals {
    /// The kernel does what the claim says.
    pub holds: usize,
    /// The same, but some steps could not be made.
    pub in_part: usize,
    /// It does something else.
    pub differs: usize,
    /// It does something else in what is newer than it says it is.
    pub claims_older: usize,
    /// The experiment could not be made.
    pub skipped: usize,
}

impl Totals {
    fn of(outcomes: impl Iterator<Item = Outcome>) -> Totals {
        let mut totals = Totals::default();
        for outcome in outcomes {
            match outcome {
                Outcome::Holds => totals.holds += 1,
                Outcome::InPart => totals.in_part += 1,
                Outcome::Differs => totals.differs += 1,
                Outcome::ClaimsOlder => totals.claims_older += 1,
                Outcome::Skipped => totals.skipped += 1,
            }
        }
        totals
    }

    /// All of them.
    #[must_use]
    pub fn all(self) -> usize {
        self.holds + self.in_part + self.differs + self.claims_older + self.skipped
    }
}

impl Report {
    /// Of `runs`, which `runner` made of `asked` in `took`. Fewer runs than were asked for is a partial report.
    #[must_use]
    pub fn new(runner: &Runner, asked: &[&'static Fact], runs: Vec<Run>, took: Duration) -> Report {
        Report {
            environment: Environment::here(),
            launcher: runner.launcher.clone(),
            under: runner.under,
            judged_as: runner.judge_as,
            asked: asked.len(),
            runs,
            took,
            changes: None,
        }
    }

    /// Compare with a profile, whose facts that were not run now do not count.
    pub fn compare(&mut self, baseline: &Profile) {
        self.changes =
            Some(Changes { baseline: baseline.title(), list: baseline::changes(baseline, &self.runs) });
    }

    /// How many facts of each outcome.
    #[must_use]
    pub fn totals(&self) -> Totals {
        Totals::of(self.runs.iter().map(Run::outcome))
    }

    /// Whether it was interrupted.
    #[must_use]
    pub fn is_partial(&self) -> bool {
        self.runs.len() < self.asked
    }

    /// Whether there is something to look at: beside a baseline whatever changed, without one whatever
    /// differs.
    #[must_use]
    pub fn is_remarkable(&self) -> bool {
        match &self.changes {
            Some(changes) => !changes.list.is_empty(),
            None => self.totals().differs > 0,
        }
    }

    /// One line on a run that checked nothing; `None` when at least one fact was not skipped, or when the run was
    /// interrupted.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        if self.is_partial() || self.totals().skipped < self.totals().all() {
            return None;
        }
        let (first, more) = self.runs.split_first()?;
        let why = first.not_held().next().map(Step::to_string)?;
        Some(match (first.fact.id, more.len()) {
            (id, 0) => format!("nothing was checked: {id} was skipped: {why}"),
            (id, more) => format!("nothing was checked: {id} and {more} more were skipped: {why}"),
        })
    }

    /// The areas of which there are facts in this report, with them.
    fn by_area(&self) -> impl Iterator<Item = (Area, Vec<&Run>)> {
        Area::ALL.iter().filter_map(|&area| {
            let runs: Vec<_> = self.runs.iter().filter(|run| run.fact.area() == area).collect();
            (!runs.is_empty()).then_some((area, runs))
        })
    }

    /// What ran the experiments, in a line.
    fn title(&self) -> String {
        let through = match self.launcher.as_slice() {
            [] => String::new(),
            launcher => format!(", through `{}`", launcher.join(" ")),
        };
        let under =
            self.under.map_or(String::new(), |mutant| format!(", under the wrong kernel `{}`", mutant.name));
        let judged = self.judged_as.map_or(String::new(), |version| format!(", judged as {version}"));
        format!("{}{through}{under}{judged}", self.environment.system())
    }
}

impl Outcome {
    /// Its name for people.
    pub(crate) const fn words(self) -> &'static str {
        match self {
            Outcome::Holds => "holds",
            Outcome::InPart => "in part",
            Outcome::Differs => "differs",
            Outcome::ClaimsOlder => "claims older",
            Outcome::Skipped => "skipped",
        }
    }
}
