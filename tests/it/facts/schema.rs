//! The published schema of a profile, `docs/schema/facts.json`: it has all that the program writes, and nothing else.

use super::{ONE, WRONG, document};
use io_models::facts::{Outcome, Why};
use jsonschema::Validator;
use serde_json::{Value, json};
use std::sync::LazyLock;

static SCHEMA: LazyLock<Value> = LazyLock::new(|| {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/schema/facts.json");
    let text = std::fs::read_to_string(file).expect("the schema that is published");
    serde_json::from_str(&text).expect("one JSON document")
});

static VALIDATOR: LazyLock<Validator> =
    LazyLock::new(|| jsonschema::draft202012::new(&SCHEMA).expect("a schema"));

#[track_caller]
fn is_valid(document: &Value) {
    let wrong: Vec<_> =
        VALIDATOR.iter_errors(document).map(|why| format!("{}: {why}", why.instance_path())).collect();
    assert!(wrong.is_empty(), "{wrong:#?}\n{document:#}");
}

#[test]
fn what_is_written_is_valid() {
    jsonschema::draft202012::meta::validate(&SCHEMA).expect("a JSON Schema");
    is_valid(&document(&[ONE], 0));
    is_valid(&document(&[ONE, "--under", WRONG, "--judge-as", "7.0"], 3));
    is_valid(&document(&[ONE, "--launcher", "prlimit --nofile=4"], 1));
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("before.json");
    std::fs::write(&file, document(&[ONE], 0).to_string()).expect("the folder is ours");
    let file = file.to_str().expect("a temporary folder has a plain name");
    is_valid(&document(&[ONE, "--under", WRONG, "--baseline", file], 3));
    is_valid(
        &json!({ "schema": "io-models/facts", "schema_version": 2, "name": "a", "missing": "no package" }),
    );
}

#[test]
fn another_field_is_not_valid() {
    let mut other = document(&[ONE], 0);
    other["facts"][0]["claim"] = "another".into();
    assert!(!VALIDATOR.is_valid(&other));
}

#[test]
fn the_lists_are_those_of_the_program() {
    let list = |at: &str| SCHEMA.pointer(at).expect(at).as_array().expect(at).clone();
    let outcomes: Vec<_> = Outcome::ALL.iter().map(|outcome| Value::from(outcome.name())).collect();
    assert_eq!(list("/$defs/fact/properties/outcome/enum"), outcomes);
    let reasons: Vec<_> = Why::ALL.iter().map(|why| Value::from(why.name())).collect();
    assert_eq!(list("/$defs/skipped/properties/why/enum"), reasons);
}

/// docs/facts.md has each reason with what it means.
#[test]
fn the_guide_has_each_reason() {
    let guide = include_str!("../../../docs/facts.md");
    for why in Why::ALL {
        let row = format!("| {} | {} |", why.name(), why.meaning());
        assert!(guide.contains(&row), "docs/facts.md lacks: {row}");
    }
}
