//! What the broken and the mended program of a demo did, as data.

use crate::lab::env::Environment;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What kind of document it is.
pub const SCHEMA: &str = "io-models/demo";
/// Which version of it.
pub const SCHEMA_VERSION: u32 = 1;

/// A demo that was run: two programs, measured in the same way.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Demonstration {
    /// [`SCHEMA`].
    pub schema: String,
    /// [`SCHEMA_VERSION`].
    pub schema_version: u32,
    /// The machine.
    pub environment: Environment,
    /// Its name.
    pub demo: String,
    /// What the programs are written in.
    pub language: Language,
    /// How long it took.
    pub seconds: f64,
    /// The number that the demo is about, in English.
    pub number: String,
    /// The program with the fault.
    pub broken: Run,
    /// The program without it.
    pub mended: Run,
    /// Facts about the kernel on which it rests, of `io-models facts`.
    pub facts: Vec<String>,
    /// Checks that find the fault, of `io-models check`.
    pub checks: Vec<String>,
}

/// What a program is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Language {
    /// Rust, with the wrappers of this crate.
    Rust,
    /// C++, with the C library alone.
    Cpp,
}

/// What one program did.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Run {
    /// The number that the demo is about.
    pub number: f64,
    /// Others, by their labels.
    pub figures: BTreeMap<String, f64>,
    /// What is drawn of it.
    pub drawn: Drawn,
}

/// What is drawn of a program.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Drawn {
    /// The parts of a bar, by their labels, in the order in which they are stacked.
    Parts(Vec<(String, f64)>),
    /// The points of a line over time: milliseconds, and a number.
    OverTime(Vec<(f64, f64)>),
    /// The points of a line over something that is counted.
    Points(Vec<(f64, f64)>),
    /// Pieces of a stream, as the bytes at which they begin and end: those that were sent, and those that the program took.
    Pieces {
        /// As the client sent them.
        sent: Vec<(f64, f64)>,
        /// As the program took them.
        taken: Vec<(f64, f64)>,
    },
}

impl Demonstration {
    /// The runs in the order in which people read them.
    #[must_use]
    pub fn runs(&self) -> [&Run; 2] {
        [&self.broken, &self.mended]
    }
}
