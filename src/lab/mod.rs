//! The measuring tools: what a server cost, the load generator, the comparison.
//!
//! Behind the feature `lab`, because a program that wants the models has no use for them.

pub mod env;
pub mod child;
pub mod meter;
pub mod explain;
pub mod load;
pub mod check;
pub mod compare;
pub mod demo;
pub mod doctor;
pub mod results;
pub mod trace;
pub mod unp30;
pub mod facts;
pub mod gate;
pub mod lang;
pub mod models;
pub mod serve;
pub mod show;
pub mod stats;
pub mod units;
pub mod visible;

use serde::{Deserialize, Serialize};
use std::cmp::Reverse;
use std::collections::BTreeMap;

/// A result as a JSON document, indented, for people to read as well.
///
/// # Panics
///
/// Never: the results of this crate have string keys and no foreign serializers.
#[must_use]
pub fn json(result: &impl Serialize) -> String {
    serde_json::to_string_pretty(result).expect("plain structs always serialize")
}

/// A result as a JSON document in one line: for results with so many raw numbers that nobody reads them.
///
/// # Panics
///
/// Never, as [`json`].
#[must_use]
pub fn json_line(result: &impl Serialize) -> String {
    serde_json::to_string(result).expect("plain structs always serialize")
}

/// How a row of a table came about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// With all its connections, every byte right.
    Measured,
    /// Not for this model, or not on this machine.
    Skipped,
    /// The server or a connection failed.
    Failed,
}

/// System calls of a stretch of work, for reports.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SystemCalls<N> {
    /// All together.
    pub total: N,
    /// By the name that strace(1) prints, the most frequent first.
    pub by_name: serde_json::Map<String, serde_json::Value>,
}

impl SystemCalls<u64> {
    /// Counted by name.
    #[must_use]
    pub fn named(counts: &BTreeMap<&'static str, u64>) -> SystemCalls<u64> {
        let mut counts: Vec<_> = counts.iter().collect();
        counts.sort_by_key(|(_, n)| Reverse(**n));
        let by_name = counts.iter().map(|(name, n)| ((**name).to_owned(), (**n).into())).collect();
        SystemCalls { total: counts.iter().map(|(_, n)| **n).sum(), by_name }
    }

    /// As they were counted.
    #[must_use]
    pub fn of(counts: &crate::sys::calls::Counts) -> SystemCalls<u64> {
        let by_name = counts.by_name().into_iter().map(|(name, n)| (name.to_owned(), n.into())).collect();
        SystemCalls { total: counts.total(), by_name }
    }
}

impl SystemCalls<f64> {
    /// Divided by the number of requests, rounded to four places.
    #[must_use]
    pub fn per_request(counts: &crate::sys::calls::Counts, requests: u64) -> SystemCalls<f64> {
        let per = |n: u64| if requests == 0 { 0.0 } else { (n as f64 / requests as f64 * 1e4).round() / 1e4 };
        let by_name =
            counts.by_name().into_iter().map(|(name, n)| (name.to_owned(), per(n).into())).collect();
        SystemCalls { total: per(counts.total()), by_name }
    }
}
