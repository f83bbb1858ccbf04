//! A profile that was recorded earlier, or elsewhere: what changed since?

use super::{SCHEMA, SCHEMA_VERSION};
use crate::facts::{Outcome, Run, Step};
use crate::lab::results::Head;
use crate::lab::visible::visible;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;

/// The outcomes of an earlier run: what [`Document`](super::Document) wrote.
#[derive(Debug)]
pub struct Baseline {
    name: String,
    kernel: String,
    outcomes: HashMap<String, Outcome>,
}

/// A fact with another outcome than before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    /// Which.
    pub id: &'static str,
    /// The name of the outcome that it had; `null` if the profile does not know it.
    pub was: Option<&'static str>,
    /// The name of the outcome that it has.
    pub is: &'static str,
    /// What was found now, in words; nothing where it holds.
    pub found: String,
}

/// Why a text is no baseline.
#[derive(Debug, thiserror::Error)]
pub enum NotABaseline {
    /// It is no JSON, or lacks what every profile has.
    #[error("it is no profile of facts: {0}")]
    NoDocument(#[from] serde_json::Error),
    /// It is another kind of document, or of another version.
    #[error("its schema is {0} {1}, and a profile's is {SCHEMA} {SCHEMA_VERSION}")]
    OtherSchema(String, u32),
    /// A fact has an outcome that there is not.
    #[error(
        "its fact {0} has the outcome {1:?}; there are holds, in-part, differs, claims-older and skipped"
    )]
    OtherOutcome(String, String),
    /// It was interrupted, so that what it lacks means nothing.
    #[error("it is partial: the run that it records was interrupted")]
    Partial,
}

#[derive(Deserialize)]
struct Profile {
    partial: bool,
    environment: Kernel,
    facts: Vec<Recorded>,
}

#[derive(Deserialize)]
struct Kernel {
    kernel: String,
    machine: String,
}

#[derive(Deserialize)]
struct Recorded {
    id: String,
    outcome: String,
}

impl Baseline {
    /// Read one. `name` is for reports.
    ///
    /// # Errors
    ///
    /// When it is something else.
    pub fn read(name: &str, json: &str) -> Result<Baseline, NotABaseline> {
        // The head first: another document of ours should be told what it is, not what it lacks.
        let head: Head = serde_json::from_str(json)?;
        if head.schema != SCHEMA || head.schema_version != SCHEMA_VERSION {
            return Err(NotABaseline::OtherSchema(head.schema, head.schema_version));
        }
        let profile: Profile = serde_json::from_str(json)?;
        if profile.partial {
            return Err(NotABaseline::Partial);
        }
        let outcome = |Recorded { id, outcome }| match Outcome::find(&outcome) {
            Some(known) => Ok((id, known)),
            None => Err(NotABaseline::OtherOutcome(id, outcome)),
        };
        let Kernel { kernel, machine } = profile.environment;
        Ok(Baseline {
            name: name.to_owned(),
            kernel: visible(&format!("Linux {kernel} {machine}")),
            outcomes: profile.facts.into_iter().map(outcome).collect::<Result<_, _>>()?,
        })
    }

    pub(super) fn title(&self) -> String {
        format!("{} ({})", self.name, self.kernel)
    }

    /// Those of `runs` whose outcome is another.
    pub(super) fn changes(&self, runs: &[Run]) -> Vec<Change> {
        let changed = runs.iter().filter_map(|run| {
            let (was, is) = (self.outcomes.get(run.fact.id).copied(), run.outcome());
            let found: Vec<String> = run.not_held().map(Step::to_string).collect();
            let change = Change {
                id: run.fact.id,
                was: was.map(Outcome::name),
                is: is.name(),
                found: found.join("; "),
            };
            (was != Some(is)).then_some(change)
        });
        changed.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::{Found, Why};

    const PROFILE: &str = r#"{"schema": "io-models/facts", "schema_version": 2, "partial": false,
        "environment": {"kernel": "6.18.44", "machine": "x86_64"},
        "facts": [{"id": "fd-accept-emfile-keeps-connection", "outcome": "holds"}]}"#;

    fn run(found: Found) -> Vec<Run> {
        let fact = crate::facts::find("fd-accept-emfile-keeps-connection").unwrap();
        vec![Run::with(fact, vec![Step::new("accept", found)])]
    }

    #[test]
    fn only_another_outcome_is_a_change() {
        let baseline = Baseline::read("a file", PROFILE).unwrap();
        assert_eq!(baseline.changes(&run(Found::Holds)), []);
        let changes =
            baseline.changes(&run(Found::Skipped { why: Why::Network, detail: "no loopback".to_owned() }));
        assert_eq!(changes.len(), 1);
        assert_eq!((changes[0].was, changes[0].is), (Some("holds"), "skipped"));
        assert_eq!(changes[0].found, "accept: network: no loopback");
    }

    #[test]
    fn a_fact_that_the_profile_does_not_know_is_a_change() {
        let baseline = Baseline::read("a file", &PROFILE.replace("fd-accept", "fd-except")).unwrap();
        assert_eq!(baseline.changes(&run(Found::Holds))[0].was, None);
    }

    #[test]
    fn what_is_no_profile_is_told_what_it_is() {
        for (json, why) in [
            ("", "no profile of facts: EOF"),
            ("{}", "missing field `schema`"),
            (&PROFILE.replace("/facts", "/load"), "its schema is io-models/load 2"),
            (&PROFILE.replace("version\": 2", "version\": 1"), "its schema is io-models/facts 1"),
            (&PROFILE.replace("\"holds\"", "\"perhaps\""), "has the outcome \"perhaps\""),
            (&PROFILE.replace("false", "true"), "it is partial"),
        ] {
            let error = Baseline::read("a file", json).unwrap_err().to_string();
            assert!(error.contains(why), "{json}: {error}");
        }
    }
}
