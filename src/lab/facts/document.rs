//! The report as JSON, which is also what a [`Baseline`](super::Baseline) is read from.

use super::{Change, Report, Totals};
use crate::facts::{Outcome, Run};
use crate::lab::env::Environment;
use serde::Serialize;

/// What kind of document it is.
pub const SCHEMA: &str = "io-models/facts";
/// Which version of it.
pub const SCHEMA_VERSION: u32 = 1;

/// All of a report but the times: the `facts` of two runs on one kernel are equal where they hold, so that a recorded
/// profile changes when the kernel does.
#[derive(Debug, Serialize)]
pub struct Document<'a> {
    schema: &'static str,
    schema_version: u32,
    environment: &'a Environment,
    /// What started the processes of the experiments; `null` if they were started directly.
    launcher: Option<String>,
    /// The wrong kernel, if it was not the real one.
    under: Option<&'static str>,
    partial: bool,
    totals: Totals,
    facts: Vec<Entry<'a>>,
    /// What changed since the baseline; `null` if there was none.
    changes: Option<&'a [Change]>,
}

#[derive(Debug, Serialize)]
struct Entry<'a> {
    id: &'static str,
    area: &'static str,
    outcome: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    expected: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    observed: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<&'a str>,
    claim: &'static str,
    reference: &'static str,
}

impl<'a> Entry<'a> {
    fn of(Run { fact, outcome, .. }: &'a Run) -> Entry<'a> {
        let (expected, observed, why) = match outcome {
            Outcome::Holds => (None, None, None),
            Outcome::Differs { expected, observed } => {
                (Some(expected.as_str()), Some(observed.as_str()), None)
            }
            Outcome::Skipped { why } => (None, None, Some(why.as_str())),
        };
        Entry {
            id: fact.id,
            area: fact.area().name(),
            outcome: outcome.name(),
            expected,
            observed,
            why,
            claim: fact.claim,
            reference: fact.reference,
        }
    }
}

impl<'a> Document<'a> {
    /// Of that report.
    #[must_use]
    pub fn of(report: &'a Report) -> Document<'a> {
        Document {
            schema: SCHEMA,
            schema_version: SCHEMA_VERSION,
            environment: &report.environment,
            launcher: (!report.launcher.is_empty()).then(|| report.launcher.join(" ")),
            under: report.under.map(|mutant| mutant.name),
            partial: report.is_partial(),
            totals: report.totals(),
            facts: report.runs.iter().map(Entry::of).collect(),
            changes: report.changes.as_ref().map(|changes| changes.list.as_slice()),
        }
    }
}
