//! A profile that was recorded earlier, or elsewhere: what changed since?

use super::Profile;
use crate::facts::{Outcome, Run, Step};
use serde::Serialize;

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

/// Those of `runs` whose outcome is another than in the profile.
pub(super) fn changes(before: &Profile, runs: &[Run]) -> Vec<Change> {
    let changed = runs.iter().filter_map(|run| {
        let (was, is) = (before.facts.get(run.fact.id).map(|cell| cell.outcome), run.outcome());
        let found: Vec<String> = run.not_held().map(Step::to_string).collect();
        let change =
            Change { id: run.fact.id, was: was.map(Outcome::name), is: is.name(), found: found.join("; ") };
        (was != Some(is)).then_some(change)
    });
    changed.collect()
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
        let baseline = Profile::read("a file", PROFILE).unwrap();
        assert_eq!(changes(&baseline, &run(Found::Holds)), []);
        let changes =
            changes(&baseline, &run(Found::Skipped { why: Why::Network, detail: "no loopback".to_owned() }));
        assert_eq!(changes.len(), 1);
        assert_eq!((changes[0].was, changes[0].is), (Some("holds"), "skipped"));
        assert_eq!(changes[0].found, "accept: network: no loopback");
    }

    #[test]
    fn a_fact_that_the_profile_does_not_know_is_a_change() {
        let baseline = Profile::read("a file", &PROFILE.replace("fd-accept", "fd-except")).unwrap();
        assert_eq!(changes(&baseline, &run(Found::Holds))[0].was, None);
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
            let error = Profile::read("a file", json).unwrap_err().to_string();
            assert!(error.contains(why), "{json}: {error}");
        }
    }
}
