//! A right server passes, and the figures agree with each other.

use super::program::Program;
use super::servers::{Answer, Server};
use super::{load, report};
use crate::support;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

const SHORT: &str = "-d 300ms --warmup 50ms --json --quiet";

/// Nothing was lost or wrong, something was answered, and the figures do not contradict each other.
#[track_caller]
fn passes(addr: SocketAddr, args: &str) -> Value {
    let ended = load(addr, args);
    let report = report(ended.exits(0));
    assert_eq!(ended.stderr, "");
    assert_eq!(report["wrong_bytes"], 0, "{report:#}");
    assert_eq!(report["lost_connections"], 0, "{report:#}");
    assert_eq!(report["lost"], Value::Array(Vec::new()), "{report:#}");
    assert_eq!(report["partial"], false, "{report:#}");
    let whole = |name: &str| report[name].as_u64().unwrap_or_else(|| panic!("{name}: {report:#}"));
    let figure = |name: &str| report[name].as_f64().unwrap_or_else(|| panic!("{name}: {report:#}"));
    assert!(whole("answered") > 0, "{report:#}");
    assert!(whole("sent") >= whole("answered"), "{report:#}");
    assert!(whole("sent") <= whole("answered") + whole("connections"), "one under way each: {report:#}");
    assert!(whole("least_per_connection") >= 1, "{report:#}");
    assert!(whole("least_per_connection") <= whole("most_per_connection"), "{report:#}");
    let rate = whole("completed") as f64 / figure("seconds");
    assert!((figure("achieved_per_s") / rate - 1.0).abs() < 1e-9, "{rate} a second: {report:#}");
    assert!(figure("generator_cpu_s") > 0.0, "{report:#}");
    assert!(figure("generator_cpu_share") > 0.0, "{report:#}");
    assert!((0.0..=1.0).contains(&figure("generator_busy_share")), "{report:#}");
    let latency = &report["latency_us"]["service"];
    let percentiles = ["p50", "p90", "p99", "p99_9", "max"].map(|name| latency[name].as_f64());
    assert!(percentiles[0] > Some(0.0), "{report:#}");
    assert!(percentiles.is_sorted(), "{report:#}");
    report
}

/// One of this crate's servers.
fn ours(model: &str) -> support::Server {
    support::Server::start(io_models::model::find(model).expect("a model that the tests rely on"))
}

#[test]
fn a_server_with_a_thread_for_each_client_passes() {
    let server = Server::echo();
    let report = passes(server.addr, &format!("-c 8 {SHORT}"));
    assert_eq!(report["connections"], 8);
    assert!(report["seconds"].as_f64() >= Some(0.3), "{report:#}");
}

#[test]
fn a_server_with_a_name_passes_whichever_of_the_addresses_it_listens_on() {
    let server = Server::echo();
    let line = format!("load localhost:{} -c 2 {SHORT}", server.addr.port());
    let report = report(Program::start(&line).end().exits(0));
    assert_eq!(report["target"], server.addr.to_string(), "{report:#}");
}

#[test]
fn our_own_server_passes() {
    let server = ours("epoll-level");
    passes(server.addr(), &format!("-c 64 {SHORT}"));
}

#[test]
fn three_hundred_connections_pass() {
    let server = ours("epoll-edge");
    let report = passes(server.addr(), &format!("-c 300 {SHORT}"));
    assert_eq!(report["connections"], 300);
}

#[test]
fn requests_of_one_byte_pass() {
    let server = Server::echo();
    assert_eq!(passes(server.addr, &format!("-c 4 -s 1 {SHORT}"))["plan"]["sizes"], json!({"fixed": 1}));
}

#[test]
fn requests_of_a_hundred_thousand_bytes_pass() {
    let server = Server::echo();
    assert_eq!(
        passes(server.addr, &format!("-c 4 -s 100000 {SHORT}"))["plan"]["sizes"],
        json!({"fixed": 100_000})
    );
}

#[test]
fn requests_of_a_million_bytes_pass() {
    let server = ours("epoll-level");
    passes(server.addr(), &format!("-c 3 -s 1000000 {SHORT}"));
    let server = Server::echo();
    passes(server.addr, &format!("-c 3 -s 1000000 {SHORT}"));
}

#[test]
fn the_latency_of_a_server_that_takes_ten_milliseconds_is_at_least_that() {
    let server = Server::answering(64, |request| {
        thread::sleep(Duration::from_millis(10));
        Answer::Bytes(request.bytes.clone())
    });
    let report = passes(server.addr, &format!("-c 4 {SHORT}"));
    let p50 = report["latency_us"]["service"]["p50"].as_f64();
    assert!(p50 >= Some(10_000.0), "{report:#}");
}

#[test]
fn the_seed_decides_the_bytes_that_are_sent() {
    let first_requests = |seed: u64| {
        let (seen, first) = std::sync::mpsc::channel();
        let server = Server::wrong_once(64, (0, 0), move |request| {
            seen.send(request.bytes.clone()).ok();
            Answer::Bytes(request.bytes.clone())
        });
        load(server.addr, &format!("-c 1 --seed {seed} -d 300ms --warmup 10ms")).exits(0);
        first.recv().expect("the load has ended")
    };
    assert_eq!(first_requests(7), first_requests(7));
    assert_ne!(first_requests(7), first_requests(8));
}

#[test]
fn the_text_names_the_loop_the_units_and_what_was_checked() {
    let server = Server::echo();
    let ended = load(server.addr, "-c 2 -d 300ms --warmup 10ms --quiet");
    let text = &ended.exits(0).stdout;
    for part in [
        "closed loop: 2 connections",
        "64 bytes per request",
        "requests/s",
        "p50",
        "p90",
        "p99.9",
        "max",
        "µs",
        "s CPU, ",
        "0 wrong, 0 connections lost",
    ] {
        assert!(text.contains(part), "{part:?} is missing:\n{text}");
    }
    assert!(!text.contains('\x1b'), "{text:?}");
}

#[test]
fn off_a_terminal_standard_error_has_nothing_but_warnings() {
    let server = Server::echo();
    let ended = load(server.addr, "-c 2 -d 300ms --warmup 10ms");
    ended.exits(0);
    assert!(!ended.stderr.contains('\x1b'), "{:?}", ended.stderr);
    assert!(ended.stderr.lines().all(|line| line.starts_with("io-models: warning: ")), "{}", ended.stderr);
}

#[test]
fn output_goes_to_the_file_that_is_asked_for() {
    let server = Server::echo();
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("report.json");
    let ended = load(server.addr, &format!("-c 1 -d 300ms --warmup 10ms --json --output {}", file.display()));
    assert_eq!(ended.exits(0).stdout, "");
    let text = std::fs::read_to_string(file).expect("the report");
    let report: Value = serde_json::from_str(&text).expect("a JSON document");
    assert_eq!(report["schema"], "io-models/load");
}

/// The labels of a report, which stand before its seventeenth column.
fn labels(report: &str) -> BTreeSet<String> {
    let lines = report.lines().filter(|line| line.starts_with("  "));
    let labels = lines.map(|line| line.chars().take(17).collect::<String>().trim().to_owned());
    labels.filter(|label| !label.is_empty()).collect()
}

#[test]
fn the_sample_report_in_the_docs_has_the_lines_of_a_report_and_explains_them() {
    let page = include_str!("../../../docs/load.md");
    let sample =
        page.split("<!-- sample: ").nth(1).and_then(|text| text.split("```").nth(1)).expect("a sample");
    let server = Server::echo();
    let ended = load(server.addr, "-c 2 -R 100 -d 200ms --warmup 20ms --quiet");
    assert_eq!(labels(sample), labels(&ended.stdout), "run scripts/sample-report.sh: {ended}");
    for label in labels(sample) {
        assert!(
            page.contains(&format!("\n| `{label}` |")),
            "docs/load.md does not explain the line {label:?}"
        );
    }
}
