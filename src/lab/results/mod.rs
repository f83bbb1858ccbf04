//! Results as data: one structure for each schema, which is written and read, and from which everything else is drawn: text,
//! Markdown, CSV and HTML. So a report can be drawn again from a file.

pub mod check;
pub mod compare;
pub mod demo;
pub mod doctor;
pub mod load;
pub mod trace;

use super::visible::visible_json;
use serde::Deserialize;
use serde::de::DeserializeOwned;

/// What kind of document it is: the first fields of each JSON document of this program. It is read before the rest, so
/// that another document of ours is told what it is, and not what it lacks.
#[derive(Debug, Clone, Deserialize)]
pub struct Head {
    /// The name of the schema, such as `io-models/load`.
    pub schema: String,
    /// Its version.
    pub schema_version: u32,
}

/// A document of that schema and version, from text that anybody can have written. `again` says how to get a newer one.
fn read<T: DeserializeOwned>(text: &str, schema: &str, version: u32, again: &str) -> Result<T, String> {
    let value: serde_json::Value =
        serde_json::from_str(text).map_err(|why| format!("it is no JSON document: {why}"))?;
    let value = visible_json(value);
    let Ok(head) = Head::deserialize(&value) else {
        return Err(format!("it is no result: it has no schema and version, which should be {schema}"));
    };
    if head.schema != schema {
        return Err(format!("it is a result of {}, not of {schema}", head.schema));
    }
    if head.schema_version != version {
        let found = head.schema_version;
        return Err(format!(
            "it is version {found} of {schema}, and this program reads version {version}: {again}"
        ));
    }
    T::deserialize(value).map_err(|why| damaged(&why.to_string()))
}

/// What is said of a document that no program of ours can have written.
fn damaged(why: &str) -> String {
    format!("it is damaged, or was edited: {why}")
}
