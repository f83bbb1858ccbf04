//! The report as JSON, which is also what a [`Profile`](super::Profile) is read from.

use super::{Change, Report, Totals};
use crate::facts::{Found, Outcome, Run, Since, Step, Why};
use crate::lab::env::Environment;
use crate::lab::visible::visible;
use nix::sys::utsname::uname;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;

/// What kind of document it is.
pub const SCHEMA: &str = "io-models/facts";
/// Which version of it.
pub const SCHEMA_VERSION: u32 = 2;

/// All of a report but the times: the `facts` of two runs on one kernel are equal where they hold, so that a recorded
/// profile changes when the kernel does.
#[derive(Debug, Serialize)]
pub struct Document<'a> {
    schema: &'static str,
    schema_version: u32,
    environment: &'a Environment,
    /// What uname(2) says of the build of the kernel: distributions name the exact release there.
    kernel_build: Option<String>,
    /// What started the processes of the experiments; `null` if they were started directly.
    launcher: Option<String>,
    /// The wrong kernel, if it was not the real one.
    under: Option<&'static str>,
    /// The version of Linux that the kernel was judged as; `null` if it was judged as what it says it is.
    judged_as: Option<String>,
    partial: bool,
    totals: Totals,
    facts: Vec<Entry<'a>>,
    /// What changed since the baseline; `null` if there was none.
    changes: Option<&'a [Change]>,
}

#[derive(Debug, Serialize)]
struct Entry<'a> {
    id: &'static str,
    outcome: &'static str,
    /// How many steps hold.
    held: usize,
    /// The others.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    observed: Vec<NotHeld<'a>>,
    /// The commits that explain a difference of this kernel, where it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    known: Option<&'static str>,
}

/// A step that does not hold: what was expected and observed, or why it was not made.
#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub(super) enum NotHeld<'a> {
    Differs {
        step: Cow<'a, str>,
        expected: Cow<'a, str>,
        observed: Cow<'a, str>,
        /// Of a kernel that says it is older.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        since: Option<String>,
    },
    Skipped {
        step: Cow<'a, str>,
        why: Cow<'a, str>,
        detail: Cow<'a, str>,
    },
}

impl<'a> NotHeld<'a> {
    pub(super) fn of(Step { what, found, .. }: &'a Step) -> Option<NotHeld<'a>> {
        let step = Cow::from(what);
        match found {
            Found::Holds => None,
            Found::Differs { expected, observed, .. } => Some(NotHeld::Differs {
                step,
                expected: expected.into(),
                observed: observed.into(),
                since: None,
            }),
            Found::ClaimsOlder { expected, observed, since } => {
                let since = Some(since.to_string());
                Some(NotHeld::Differs { step, expected: expected.into(), observed: observed.into(), since })
            }
            Found::Skipped { why, detail } => {
                Some(NotHeld::Skipped { step, why: why.name().into(), detail: detail.into() })
            }
        }
    }

    /// The step again, each of its texts in a line; `None` if it has a reason or a version that there is not.
    pub(super) fn step(self) -> Option<Step> {
        Some(match self {
            NotHeld::Differs { step, expected, observed, since } => {
                let (expected, observed) = (visible(&expected), visible(&observed));
                let found = match since {
                    Some(since) => {
                        let since = Since::parse(since.strip_prefix("Linux ").unwrap_or(&since))?;
                        Found::ClaimsOlder { expected, observed, since }
                    }
                    // A profile does not tell since when what differs would be so.
                    None => Found::Differs { expected, observed, since: Since::ALWAYS },
                };
                Step::new(visible(&step), found)
            }
            NotHeld::Skipped { step, why, detail } => {
                let found = Found::Skipped { why: Why::find(&why)?, detail: visible(&detail) };
                Step::new(visible(&step), found)
            }
        })
    }
}

impl<'a> Entry<'a> {
    fn of(run: &'a Run) -> Entry<'a> {
        let outcome = run.outcome();
        Entry {
            id: run.fact.id,
            outcome: outcome.name(),
            held: run.steps.len() - run.not_held().count(),
            observed: run.steps.iter().filter_map(NotHeld::of).collect(),
            known: run.known().filter(|_| outcome == Outcome::Differs),
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
            kernel_build: uname().ok().map(|name| name.version().to_string_lossy().into_owned()),
            launcher: (!report.launcher.is_empty()).then(|| report.launcher.join(" ")),
            under: report.under.map(|mutant| mutant.name),
            judged_as: report.judged_as.map(|version| version.to_string()),
            partial: report.is_partial(),
            totals: report.totals(),
            facts: report.runs.iter().map(Entry::of).collect(),
            changes: report.changes.as_ref().map(|changes| changes.list.as_slice()),
        }
    }
}
