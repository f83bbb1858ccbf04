//! The verdicts of `check`, as data.

use super::Head;
use crate::lab::env::Environment;
use crate::lab::visible::visible_json;
use serde::{Deserialize, Serialize};
use std::collections::HashSet;

/// What kind of document it is.
pub const SCHEMA: &str = "io-models/check";
/// Which version of it.
pub const SCHEMA_VERSION: u32 = 1;

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
    /// Why it is something else, in words.
    pub fn read(text: &str) -> Result<Checked, String> {
        let value: serde_json::Value =
            serde_json::from_str(text).map_err(|why| format!("it is no JSON document: {why}"))?;
        let value = visible_json(value);
        let Ok(Head { schema, schema_version }) = Head::deserialize(&value) else {
            return Err(format!("it is no result: it has no schema and version, which should be {SCHEMA}"));
        };
        if schema != SCHEMA {
            return Err(format!("it is a result of {schema}, not of {SCHEMA}"));
        }
        if schema_version != SCHEMA_VERSION {
            return Err(format!(
                "it is version {schema_version} of {SCHEMA}, and this program reads version {SCHEMA_VERSION}: check again"
            ));
        }
        Checked::deserialize(value).map_err(|why| format!("it is damaged, or was edited: {why}"))
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
