//! `io-models models`.

use crate::load::program::io_models;
use io_models::model::ALL;
use serde_json::Value;

#[test]
fn the_table_has_every_model_as_text_and_as_json() {
    let said = |args: &str| {
        let output = io_models(args).output().expect("it starts");
        assert_eq!(output.status.code(), Some(0));
        String::from_utf8(output.stdout).expect("the table is text")
    };
    let text = said("models");
    let document: Value = serde_json::from_str(&said("models --json")).expect("one JSON document");
    assert_eq!((&document["schema"], &document["schema_version"]), (&"io-models/models".into(), &1.into()));
    let rows = document["models"].as_array().expect("rows");
    assert_eq!(rows.len(), ALL.len());
    for (row, model) in rows.iter().zip(ALL) {
        assert!(
            text.contains(model.name) && text.contains(model.summary),
            "{} is missing: {text}",
            model.name
        );
        assert_eq!((&row["name"], &row["summary"]), (&model.name.into(), &model.summary.into()));
        assert!(row["clients"].is_string() && row["runs"].is_string(), "{row:#}");
        assert_eq!(
            row["available"],
            row["why_not"].is_null(),
            "a reason exactly where it is not available: {row:#}"
        );
    }
}

#[test]
fn the_readme_has_a_row_for_every_model() {
    let readme =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).expect("README.md");
    for model in ALL {
        assert!(readme.contains(&format!("\n| `{}` |", model.name)), "{} is not in the table", model.name);
    }
}

#[test]
fn the_page_of_the_models_has_a_row_for_every_model_and_its_section() {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/models.md"))
        .expect("docs/models.md");
    for model in ALL {
        let row = page.split_once(&format!("\n| [`{}`](#", model.name));
        let (section, _) = row
            .and_then(|(_, rest)| rest.split_once(')'))
            .unwrap_or_else(|| panic!("{} is not in the table", model.name));
        assert!(page.contains(&format!("\n## `{section}`\n")), "there is no section {section}");
    }
}
