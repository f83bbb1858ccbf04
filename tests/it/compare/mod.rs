//! `io-models compare`: what it prints, how it adapts, and that it leaves nobody behind.

mod input;
pub(crate) mod processes;
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
    assert_eq!(comparison["schema_version"], 1);
    assert_eq!(comparison["mode"], "closed", "a load that waits for answers says so");
    comparison
}

fn rows(comparison: &Value) -> &[Value] {
    comparison["rows"].as_array().expect("rows")
}

/// The row of `model` under `workload`; for `control`, the second one of the baseline.
#[track_caller]
fn row<'a>(comparison: &'a Value, workload: &str, model: &str, control: bool) -> &'a Value {
    let mut found = rows(comparison).iter().filter(|row| {
        row["workload"] == workload && row["model"] == model && row["control"] == Value::Bool(control)
    });
    let row = found.next().unwrap_or_else(|| panic!("no row {model} under {workload}: {comparison:#}"));
    assert!(found.next().is_none(), "two rows {model} under {workload}: {comparison:#}");
    row
}
