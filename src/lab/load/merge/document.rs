//! A merged result as a JSON document: a report of `io-models load` with what several files can tell together.

use super::{Counts, Merged, Part, Rates, Timing};
use crate::lab::load::LatencyUs;
use crate::lab::load::hlog::encoded;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The name of the schema, which is that of `io-models load`.
pub(super) const SCHEMA: &str = "io-models/load";

/// Its version.
pub(super) const VERSION: u64 = 2;

/// The JSON document.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Document {
    schema: String,
    schema_version: u64,
    /// `null` for logs of other programs.
    pub(super) mode: Option<String>,
    /// `null` when a log does not tell, as everything here.
    pub(super) partial: Option<bool>,
    pub(super) missed_rate: Option<bool>,
    pub(super) plan: Option<Map<String, Value>>,
    /// `null` as well when they had different ones.
    pub(super) target: Option<String>,
    pub(super) connections: Option<u64>,
    /// When the first clock started.
    pub(super) started_unix_s: Option<f64>,
    /// How long any of the generators was on.
    pub(super) seconds: f64,
    /// Whether they were on at the same time, so that their rates could be added.
    #[serde(default)]
    simultaneous: bool,
    pub(super) offered_per_s: Option<f64>,
    pub(super) achieved_per_s: f64,
    pub(super) late_us: Option<u64>,
    #[serde(flatten)]
    pub(super) counts: Counts,
    /// Of the histograms, and so not read again.
    #[serde(skip_deserializing)]
    latency_us: ByClock,
    pub(super) histograms: Encoded,
    /// In the report of one generator only.
    #[serde(default, skip_serializing)]
    pub(super) lost: Vec<crate::lab::load::Lost>,
    /// In a merged report only.
    #[serde(default)]
    pub(super) merged_from: Vec<Part>,
}

/// Latency by the clock that it is taken by, in microseconds.
#[derive(Debug, Clone, Default, Serialize)]
pub(super) struct ByClock {
    pub(super) response: Option<LatencyUs>,
    pub(super) service: LatencyUs,
    pub(super) connect: Option<LatencyUs>,
}

/// The histograms in base64.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Encoded {
    pub(super) response: Option<String>,
    pub(super) service: String,
    pub(super) unfinished: Option<String>,
    pub(super) connect: Option<String>,
}

impl Document {
    /// The document of a merged result.
    #[must_use]
    pub fn of(merged: &Merged) -> Document {
        let Timing { simultaneous, seconds, span } = merged.timing();
        let Rates { offered, achieved } = merged.rates();
        let histograms = &merged.histograms;
        Document {
            schema: SCHEMA.to_owned(),
            schema_version: VERSION,
            mode: merged.mode().map(str::to_owned),
            partial: merged.partial,
            missed_rate: merged.missed_rate,
            plan: merged.plan.clone(),
            target: merged.target.clone(),
            connections: merged.connections(),
            started_unix_s: span.map(|(start, _)| start),
            seconds,
            simultaneous,
            offered_per_s: offered,
            achieved_per_s: achieved,
            late_us: merged.late_us,
            counts: merged.counts,
            latency_us: histograms.latency_us(),
            histograms: Encoded {
                response: histograms.response.as_ref().map(encoded),
                service: encoded(&histograms.service),
                unfinished: histograms.unfinished.as_ref().map(encoded),
                connect: histograms.connect.as_ref().map(encoded),
            },
            lost: Vec::new(),
            merged_from: merged.parts.clone(),
        }
    }
}
