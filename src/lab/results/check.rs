//! The verdicts of `check`, as data.

use crate::lab::env::Environment;
use crate::lab::units::of;
use serde::{Deserialize, Serialize};
use std::collections::HashSet;

/// What kind of document it is.
pub const SCHEMA: &str = "io-models/check";
/// Which version of it.
pub const SCHEMA_VERSION: u32 = 1;

/// A result that is read has no more checks and no more servers than that. A table of servers and checks has a cell for each pair, so without a
/// limit it would grow with the square of the file.
pub const MOST: usize = 500;

/// The verdicts on some servers.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Checked {
    /// [`SCHEMA`].
    pub schema: String,
    /// [`SCHEMA_VERSION`].
    pub schema_version: u32,
    /// The machine.
    pub environment: Environment,
    /// What was asked for.
    pub plan: Plan,
    /// How long it took.
    pub seconds: f64,
    /// A signal ended it before all checks were made.
    pub partial: bool,
    /// A server each, in the order in which they were named.
    pub servers: Vec<Judged>,
}

/// What was asked for.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// What the server answers.
    pub expect: Expect,
    /// How many clients it promises to serve at the same time.
    pub clients: usize,
    /// Whether its system calls were made to fail.
    pub faults: bool,
    /// What sizes, pauses and faults were drawn from.
    pub seed: u64,
    /// The checks that were chosen.
    pub checks: Vec<String>,
}

/// What a server answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Expect {
    /// The bytes that came.
    Echo,
    /// `ok`, for each piece received.
    Ok,
    /// The same frame: four bytes with the length of the body, the most significant first, and the body.
    Framed,
}

impl Expect {
    /// Whether an answer has all bytes of its request.
    #[must_use]
    pub fn has_all_bytes(self) -> bool {
        self != Expect::Ok
    }
}

/// The verdicts on one server.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Judged {
    /// Its name.
    pub name: String,
    /// The command that starts it, or its address.
    pub server: String,
    /// A verdict for each check that was chosen.
    pub verdicts: Vec<Verdict>,
}

/// What came of a check.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Verdict {
    /// The id of the check.
    pub check: String,
    /// What must be so.
    pub claim: String,
    /// What came of it.
    pub outcome: Outcome,
    /// How often it was made, when something came too late the first time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tries: Option<usize>,
    /// How long it took.
    pub seconds: f64,
    /// What was wrong, of one that failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    /// Why it does not apply, or was not made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// What came of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It is as it should be.
    Passed,
    /// It is not.
    Failed,
    /// It is not for this server.
    NotApplicable,
    /// It could not be made, or an earlier one failed without which it says nothing.
    NotMade,
}

impl Verdict {
    /// What is to be told of a check that passed: not the first time.
    #[must_use]
    pub fn later_try(&self) -> Option<usize> {
        self.tries.filter(|_| self.outcome == Outcome::Passed)
    }
}

impl Outcome {
    /// In words.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Outcome::Passed => "passed",
            Outcome::Failed => "FAILED",
            Outcome::NotApplicable => "not applicable",
            Outcome::NotMade => "not made",
        }
    }
}

/// What was wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Failure {
    /// What should have happened.
    pub expected: String,
    /// What happened.
    pub observed: String,
    /// The likely cause.
    pub cause: String,
    /// The conversation that shows it, a line each.
    pub conversation: Vec<String>,
}

impl Judged {
    /// How many of its verdicts are so.
    #[must_use]
    pub fn count(&self, outcome: Outcome) -> usize {
        self.verdicts.iter().filter(|verdict| verdict.outcome == outcome).count()
    }

    /// The checks that it failed.
    pub fn failed(&self) -> impl Iterator<Item = &Verdict> {
        self.verdicts.iter().filter(|verdict| verdict.outcome == Outcome::Failed)
    }

    /// What came of a check; `None` when the run was interrupted before it.
    #[must_use]
    pub fn outcome_of(&self, id: &str) -> Option<Outcome> {
        self.verdicts.iter().find(|verdict| verdict.check == id).map(|verdict| verdict.outcome)
    }

    /// Why checks do not apply or were not made, in order, with their ids.
    #[must_use]
    pub fn reasons(&self) -> Vec<(&str, Vec<&str>)> {
        let mut reasons: Vec<(&str, Vec<&str>)> = Vec::new();
        for verdict in &self.verdicts {
            let Some(why) = verdict.why.as_deref() else { continue };
            match reasons.iter_mut().find(|(known, _)| *known == why) {
                Some((_, ids)) => ids.push(&verdict.check),
                None => reasons.push((why, vec![&verdict.check])),
            }
        }
        reasons
    }
}

impl Checked {
    /// What `check --json` wrote.
    ///
    /// # Errors
    ///
    /// Why it is something else, or too large, in words.
    pub fn read(text: &str) -> Result<Checked, String> {
        let result: Checked = super::read(text, SCHEMA, SCHEMA_VERSION, "check again")?;
        result.possible().map_err(|why| super::damaged(&why))
    }

    /// The same, if `check` can have written it.
    fn possible(self) -> Result<Checked, String> {
        let (checks, servers) = (self.plan.checks.len(), self.servers.len());
        if checks > MOST || servers > MOST {
            let [checks, servers] = [of(checks as u64, "check"), of(servers as u64, "server")];
            return Err(format!("it has {checks} and {servers}, and at most {MOST} of each are read"));
        }
        let mut known = HashSet::new();
        if let Some(twice) = self.plan.checks.iter().find(|id| !known.insert(id.as_str())) {
            return Err(format!("its plan has the check {twice} twice"));
        }
        for Judged { name, verdicts, .. } in &self.servers {
            if verdicts.len() > checks {
                let [verdicts, checks] = [of(verdicts.len() as u64, "verdict"), of(checks as u64, "check")];
                return Err(format!("{name} has {verdicts}, and the plan has {checks}"));
            }
            let is_bare =
                |verdict: &&Verdict| verdict.outcome == Outcome::Failed && verdict.failure.is_none();
            if let Some(verdict) = verdicts.iter().find(is_bare) {
                return Err(format!("{name} failed {}, and what was wrong is missing", verdict.check));
            }
        }
        Ok(self)
    }

    /// Why the run is no success, whatever failed or not: a server of which none of the checks was made that were `asked` for is not right, and neither is one whose
    /// system calls could not be made to fail although that was asked for.
    #[must_use]
    pub fn trouble(&self, asked: &HashSet<&str>) -> Option<String> {
        if self.partial {
            return None;
        }
        self.servers.iter().find_map(|server| {
            let made = |verdict: &&Verdict| verdict.outcome != Outcome::NotMade;
            let is_fault = |verdict: &&Verdict| verdict.check.starts_with("fault/");
            let why = |verdict: Option<&Verdict>| {
                verdict.and_then(|verdict| verdict.why.clone()).unwrap_or_else(|| "none applies".to_owned())
            };
            let is_made = |verdict: &Verdict| matches!(verdict.outcome, Outcome::Passed | Outcome::Failed);
            let is_asked = |verdict: &&Verdict| asked.contains(verdict.check.as_str());
            let has_failed = server.failed().next().is_some();
            if !has_failed && !server.verdicts.iter().filter(is_asked).any(is_made) {
                let first = server.verdicts.iter().find(is_asked);
                return Some(format!("no check of {} was made: {}", server.name, why(first)));
            }
            let mut faults = server.verdicts.iter().filter(is_fault).peekable();
            let first = faults.peek().copied();
            let is_silent = first.is_some() && !faults.any(|verdict| made(&verdict)) && !has_failed;
            is_silent.then(|| format!("no fault of {} was made: {}", server.name, why(first)))
        })
    }

    /// Whether a server failed a check.
    #[must_use]
    pub fn has_failures(&self) -> bool {
        self.servers.iter().any(|server| server.failed().next().is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// That many checks and servers, without verdicts.
    fn of_size(checks: usize, servers: usize) -> Checked {
        let expect = Expect::Echo;
        let checks = (0..checks).map(|n| format!("check/{n}")).collect();
        let server =
            |n| Judged { name: format!("s{n}"), server: "./s {port}".to_owned(), verdicts: Vec::new() };
        Checked {
            schema: SCHEMA.to_owned(),
            schema_version: SCHEMA_VERSION,
            environment: Environment::here(),
            plan: Plan { expect, clients: 1000, faults: false, seed: 1, checks },
            seconds: 1.0,
            partial: true,
            servers: (0..servers).map(server).collect(),
        }
    }

    /// What is said of such a document.
    fn read(result: &Checked) -> Result<Checked, String> {
        Checked::read(&serde_json::to_string(result).expect("a document"))
    }

    #[test]
    fn a_result_with_more_checks_or_servers_than_a_table_can_have_is_refused_with_their_number() {
        assert_eq!(read(&of_size(MOST, MOST)).expect("it is read").servers.len(), MOST);
        for (checks, servers) in [(MOST + 1, 1), (1, MOST + 1)] {
            let why = read(&of_size(checks, servers)).expect_err("it is too large");
            let [checks, servers] = [of(checks as u64, "check"), of(servers as u64, "server")];
            let said = format!("it has {checks} and {servers}, and at most 500 of each are read");
            assert!(why.ends_with(&said), "{why}");
        }
    }

    #[test]
    fn a_result_that_no_check_can_have_written_is_refused() {
        let refused = |result: &Checked, said: &str| {
            let why = read(result).expect_err("it is refused");
            assert!(why.ends_with(said), "{why}");
        };
        let mut result = of_size(3, 1);
        result.plan.checks[2] = "check/0".to_owned();
        refused(&result, "its plan has the check check/0 twice");

        let mut result = of_size(1, 1);
        let verdict = Verdict {
            check: "check/0".to_owned(),
            claim: "It answers.".to_owned(),
            outcome: Outcome::Failed,
            tries: None,
            seconds: 0.1,
            failure: None,
            why: None,
        };
        result.servers[0].verdicts = vec![verdict.clone()];
        refused(&result, "s0 failed check/0, and what was wrong is missing");
        result.servers[0].verdicts = vec![Verdict { outcome: Outcome::Passed, ..verdict }; 2];
        refused(&result, "s0 has 2 verdicts, and the plan has 1 check");
    }
}
