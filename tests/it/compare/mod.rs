//! `io-models compare`: what it prints, how it adapts, and that it leaves no process behind.

mod entrants;
mod gates;
mod input;
mod plans;
pub(crate) mod processes;
mod schema;
mod stopped;
mod table;
mod without;

use crate::load::program::{Ended, Program};
use serde_json::Value;

/// Run `io-models compare` with these arguments, and wait for its end.
fn compare(args: &str) -> Ended {
    Program::start(&format!("compare {args}")).end()
}

/// The one JSON document that `compare --json` prints, of the schema that it names.
#[track_caller]
fn comparison(ended: &Ended) -> Value {
    let comparison = ended.json();
    assert_eq!(comparison["schema"], "io-models/compare");
    assert_eq!(comparison["schema_version"], 2);
    comparison
}

/// All rows of all points.
fn rows(comparison: &Value) -> Vec<&Value> {
    let groups = comparison["groups"].as_array().expect("groups");
    groups.iter().flat_map(|group| group["rows"].as_array().expect("rows")).collect()
}

/// The points, as in `idle@1000`.
fn ids(comparison: &Value) -> Vec<String> {
    let groups = comparison["groups"].as_array().expect("groups");
    groups.iter().map(id).collect()
}

fn id(group: &Value) -> String {
    let workload = group["workload"].as_str().expect("a name").to_owned();
    group["point"].as_str().map_or(workload.clone(), |point| format!("{workload}@{point}"))
}

/// The point with that name.
#[track_caller]
fn group<'a>(comparison: &'a Value, name: &str) -> &'a Value {
    let groups = comparison["groups"].as_array().expect("groups");
    groups
        .iter()
        .find(|group| id(group) == name)
        .unwrap_or_else(|| panic!("no {name}: {:?}", ids(comparison)))
}

/// The row of `entrant` at that point; for `control`, the second one of the baseline.
#[track_caller]
fn row<'a>(comparison: &'a Value, point: &str, entrant: &str, control: bool) -> &'a Value {
    let rows = group(comparison, point)["rows"].as_array().expect("rows");
    let mut found =
        rows.iter().filter(|row| row["entrant"] == entrant && row["control"] == Value::Bool(control));
    let row = found.next().unwrap_or_else(|| panic!("no row {entrant} under {point}: {comparison:#}"));
    assert!(found.next().is_none(), "two rows {entrant} under {point}: {comparison:#}");
    row
}

/// The figures of a row without trouble.
#[track_caller]
fn figures(row: &Value) -> &Value {
    assert_eq!(row["status"], "measured", "{row:#}");
    assert_eq!(row.get("reason"), None, "{row:#}");
    &row["figures"]
}
