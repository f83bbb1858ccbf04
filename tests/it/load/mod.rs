//! `io-models load`: what it says of right servers, of wrong ones, and of bad input.
//!
//! The servers in [`servers`] are threads of the test and share nothing with this crate's own, so
//! that a mistake in both ends of one implementation cannot hide itself.

pub(crate) mod program;
pub(crate) mod servers;

mod ends;
mod engines;
mod gates;
mod honesty;
mod input;
mod merge;
mod open;
mod outputs;
mod overload;
mod python;
mod right;
mod schema;
mod shapes;
mod start;
mod stopped;
mod without;
mod wrong;

use hdrhistogram::Histogram;
use io_models::lab::load::hlog;
use program::{Ended, Program};
use serde_json::Value;
use std::net::SocketAddr;
use std::time::Duration;

/// Run `io-models load ADDR` with these arguments, and wait for its end.
pub(crate) fn load(addr: SocketAddr, args: &str) -> Ended {
    start_load(addr, args).end()
}

/// Start `io-models load ADDR` with these arguments.
pub(crate) fn start_load(addr: SocketAddr, args: &str) -> Program {
    Program::start(&format!("load {addr} {args}"))
}

/// The one JSON document that `load --json` prints of a closed loop.
#[track_caller]
pub(crate) fn report(ended: &Ended) -> Value {
    report_of("closed", ended)
}

/// The one JSON document that `load --json` prints, of the schema that it names and of a loop of this mode.
#[track_caller]
pub(crate) fn report_of(mode: &str, ended: &Ended) -> Value {
    let report = ended.json();
    assert_eq!(report["schema"], "io-models/load");
    assert_eq!(report["schema_version"], 3);
    assert_eq!(report["mode"], mode, "every output says which of the two loops it was");
    report
}

/// A whole number of a report, by its JSON pointer.
#[track_caller]
pub(crate) fn whole(report: &Value, pointer: &str) -> u64 {
    let number = report.pointer(pointer).and_then(Value::as_u64);
    number.unwrap_or_else(|| panic!("no whole number at {pointer}: {report:#}"))
}

/// Any number of a report, by its JSON pointer.
#[track_caller]
pub(crate) fn figure(report: &Value, pointer: &str) -> f64 {
    let number = report.pointer(pointer).and_then(Value::as_f64);
    number.unwrap_or_else(|| panic!("no number at {pointer}: {report:#}"))
}

/// A histogram of a report: `response`, `service` or `connect`.
#[track_caller]
pub(crate) fn histogram(report: &Value, name: &str) -> Histogram<u64> {
    let text = report["histograms"][name].as_str().unwrap_or_else(|| panic!("no {name}: {report:#}"));
    hlog::decoded(text).expect("a histogram as in interval logs")
}

/// How many of the latencies in a histogram are longer than that.
pub(crate) fn longer_than(histogram: &Histogram<u64>, limit: Duration) -> u64 {
    histogram.len() - histogram.count_between(0, limit.as_nanos() as u64)
}

/// A rate that was missed gives exit code 3 and one line that says so, and a rate that was kept gives neither: on a
/// busy machine a right server may miss it.
#[track_caller]
pub(crate) fn exits_as_it_says(ended: &Ended, report: &Value) {
    if report["missed_rate"] == true && report["rows"].as_array().is_some_and(Vec::is_empty) {
        ended.exits(3).says_one_line(&["MISSED ITS RATE"]);
    } else {
        ended.exits(0);
        assert_eq!(ended.stderr, "", "{ended}");
    }
}

/// What must be true of every report: the counts and the latencies do not contradict each other.
#[track_caller]
pub(crate) fn agrees_with_itself(report: &Value) {
    let whole = |pointer| whole(report, pointer);
    let (due, sent) = (whole("/due"), whole("/sent"));
    assert_eq!(due, sent + whole("/unsent"), "{report:#}");
    assert_eq!(
        sent,
        whole("/answered") + whole("/answered_after") + whole("/unanswered"),
        "each has an answer, or is counted as having none: {report:#}"
    );
    assert_eq!(whole("/at_least"), whole("/unsent") + whole("/unanswered"), "{report:#}");
    assert_eq!(whole("/at_least"), histogram(report, "unfinished").len(), "{report:#}");
    assert!(whole("/late_by_generator") <= whole("/late"), "{report:#}");
    assert!(whole("/late") <= sent, "{report:#}");
    let rate = whole("/completed") as f64 / figure(report, "/seconds");
    assert!((figure(report, "/achieved_per_s") - rate).abs() <= rate * 1e-9, "{rate} a second: {report:#}");
    let service = histogram(report, "service");
    let is_open = report["mode"] == "open";
    assert_eq!(report["latency_us"]["response"].is_object(), is_open, "{report:#}");
    assert_eq!(report["offered_per_s"].is_number(), is_open, "{report:#}");
    if is_open {
        let response = histogram(report, "response");
        assert_eq!(
            response.len(),
            due,
            "each counts with its latency, or with what it is at least: {report:#}"
        );
        // What was not sent has no service time.
        let compared = if service.len() == due { 100 } else { 0 };
        for percent in 1..=compared {
            let at = f64::from(percent) / 100.0;
            let (response, service) = (response.value_at_quantile(at), service.value_at_quantile(at));
            // They may be in different bins, each of which is a thousandth wide.
            let enough = response as f64 * 1.002 >= service as f64;
            assert!(enough, "p{percent}: response {response} ns, service {service} ns: {report:#}");
        }
    } else {
        assert_eq!(
            service.len(),
            due,
            "each counts with its latency, or with what it is at least: {report:#}"
        );
    }
}
