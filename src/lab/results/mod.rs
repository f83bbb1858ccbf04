//! Results as data: one structure for each schema, which is written and read, and from which everything else is drawn: text,
//! Markdown, CSV and HTML. So a report can be drawn again from a file.

pub mod check;
pub mod compare;
pub mod load;
pub mod trace;

use serde::Deserialize;

/// What kind of document it is: the first fields of each JSON document of this program. It is read before the rest, so
/// that another document of ours is told what it is, and not what it lacks.
#[derive(Debug, Clone, Deserialize)]
pub struct Head {
    /// The name of the schema, such as `io-models/load`.
    pub schema: String,
    /// Its version.
    pub schema_version: u32,
}
