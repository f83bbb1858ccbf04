//! `io-models unp30`: what it prints, what it finds, and that it leaves nobody behind.

mod input;
mod stopped;
mod table;
mod wrong;

use crate::load::program::Ended;
use serde_json::Value;

/// The one JSON document that `unp30 --json` prints, of the schema that it names.
#[track_caller]
fn document(ended: &Ended) -> Value {
    let document = ended.json();
    assert_eq!(document["schema"], "io-models/unp30");
    assert_eq!(document["schema_version"], 1);
    document
}

fn rows(document: &Value) -> &[Value] {
    document["rows"].as_array().expect("rows")
}
