//! A map as JSON, which this program carries with it. What holds is left out: nearly everything does.

use super::super::document::NotHeld;
use super::super::profile::{Cell, System, cell};
use super::{Known, Map};
use crate::facts::Outcome;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::LazyLock;

const SCHEMA: &str = "io-models/facts-map";
const SCHEMA_VERSION: u32 = 1;

#[derive(Deserialize)]
struct Document<'a> {
    systems: Vec<System>,
    known: Known,
    /// By the id of a fact, what was found where it does not hold.
    facts: BTreeMap<String, Vec<Found<'a>>>,
}

/// What was found on some systems, by their numbers.
#[derive(Serialize, Deserialize)]
struct Found<'a> {
    systems: Vec<usize>,
    /// `null` where the fact was not run.
    outcome: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    observed: Vec<NotHeld<'a>>,
    /// The commits that explain it, by the profile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    known: Option<String>,
}

fn json(value: &(impl Serialize + ?Sized)) -> String {
    serde_json::to_string(value).expect("strings and numbers are JSON")
}

impl Map {
    /// As one JSON document, with the explanations.
    ///
    /// # Panics
    ///
    /// Never: it has no key that is no string.
    #[must_use]
    pub fn json(&self) -> String {
        let facts = self.cells.iter().map(|(id, row)| {
            let groups = self.groups(id).into_iter().filter(|group| *group.cell != Cell::HOLDS);
            let mut found: Vec<Found<'_>> = groups
                .map(|group| Found {
                    systems: group.systems,
                    outcome: Some(group.cell.outcome.name().to_owned()),
                    observed: group.cell.steps.iter().filter_map(NotHeld::of).collect(),
                    known: group.cell.known.clone(),
                })
                .collect();
            let lacks = |(at, cell): (usize, &Option<Cell>)| cell.is_none().then_some(at);
            let lack: Vec<usize> = row.iter().enumerate().filter_map(lacks).collect();
            if !lack.is_empty() {
                found.push(Found { systems: lack, outcome: None, observed: Vec::new(), known: None });
            }
            format!("{}: {}", json(id), json(&found))
        });
        // A line each: short, and what changes is seen in a diff.
        let systems: Vec<String> = self.systems.iter().map(json).collect();
        format!(
            "{{\"schema\": \"{SCHEMA}\", \"schema_version\": {SCHEMA_VERSION},\n\"systems\": [\n{}\n],\n\"known\": {},\n\"facts\": {{\n{}\n}}}}\n",
            systems.join(",\n"),
            json(&self.known),
            facts.collect::<Vec<_>>().join(",\n")
        )
    }

    /// The map that this program was made with: that of docs/facts/.
    ///
    /// # Panics
    ///
    /// Never: a test reads it.
    #[must_use]
    pub fn recorded() -> &'static Map {
        static RECORDED: LazyLock<Map> = LazyLock::new(|| {
            Map::read(include_str!("recorded.json")).expect("the recorded map is one that this program wrote")
        });
        &RECORDED
    }

    fn read(json: &str) -> Option<Map> {
        let Document { systems, known, facts } = serde_json::from_str(json).ok()?;
        let row = |(id, found): (String, Vec<Found<'_>>)| {
            let mut row = vec![Some(Cell::HOLDS); systems.len()];
            for Found { systems, outcome, observed, known } in found {
                let cell = match outcome {
                    Some(outcome) => Some(cell(Outcome::find(&outcome)?, observed, known)?),
                    None => None,
                };
                for at in systems {
                    *row.get_mut(at)? = cell.clone();
                }
            }
            Some((id, row))
        };
        let cells = facts.into_iter().map(row).collect::<Option<_>>()?;
        Some(Map { systems, cells, known })
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{missing, profile};
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let facts = r#"{"id": "ep-create-args", "outcome": "differs", "held": 1, "observed": [
            {"step": "size 0", "expected": "EINVAL", "observed": "success"}]},
            {"id": "poll-pidfd-exit-then-hup", "outcome": "claims-older", "held": 0, "observed": [
            {"step": "exit", "expected": "HUP", "observed": "IN", "since": "Linux 6.9"}]}"#;
        let holds = r#"{"id": "ep-create-args", "outcome": "holds", "held": 2}"#;
        let profiles =
            vec![profile("old", "5.10.46", facts), profile("new", "6.18.1", holds), missing("gone")];
        let notes = "[other]\nold = \"no Linux\"\n[[note]]\nfacts = [\"ep-create-args\"]\nsystems = \"old\"\nnote = \"a thread\"";
        let map = Map::new(profiles, Known::read(notes).unwrap()).unwrap();
        let again = Map::read(&map.json()).unwrap();
        assert_eq!((&again.systems, &again.cells), (&map.systems, &map.cells));
        assert_eq!(again.json(), map.json());
        let explained = |map: &Map| map.groups("ep-create-args")[0].explained.clone();
        assert_eq!(
            (explained(&map), explained(&again)),
            (Some("a thread".to_owned()), Some("a thread".to_owned()))
        );
    }
}
