//! Workloads: those that there are, those of a file, and those of an earlier result.

use super::{compare, comparison, figures, group, ids, row};
use crate::load::program::{Ended, Program};
use serde_json::{Value, json};
use std::fs;

/// Run a comparison of these workloads from a TOML file.
fn with_plan(toml: &str, args: &str) -> Ended {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("plan.toml");
    fs::write(&file, toml).expect("a file");
    compare(&format!("--plan {} {args}", file.display()))
}

#[test]
fn each_of_our_own_workloads_can_be_measured() {
    let all = "ping,single,churn,bulk,depth,open";
    let line =
        format!("compare --starts 1 --slices 1 --workloads {all} --models fork,epoll-edge,thread --json");
    let ended = Program::start(&line).end_within(6);
    let comparison = comparison(ended.exits(0));
    let all = ["ping", "single", "churn@1", "churn@100", "bulk", "depth", "open@50%", "open@80%"];
    assert_eq!(ids(&comparison), all);
    for point in all {
        for entrant in ["fork", "epoll-edge", "thread", "epoll-level"] {
            let figures = figures(row(&comparison, point, entrant, false));
            assert!(figures["requests_per_s"]["median"].as_f64() > Some(0.0), "{point}: {figures:#}");
            assert!(figures["cpu_us_per_request"]["median"].as_f64() > Some(0.0), "{point}: {figures:#}");
        }
    }
}

#[test]
fn a_rate_that_is_offered_is_a_share_of_the_rate_of_the_baseline_and_compares_latency() {
    let ended = compare("--starts 2 --slices 2 --workloads open --models poll --json");
    let comparison = comparison(ended.exits(0));
    let rate = |point| group(&comparison, point)["load"]["rate_per_s"].as_f64().expect("a rate");
    assert!(rate("open@50%") > 0.0 && rate("open@80%") > 0.0, "{comparison:#}");
    let figures = figures(row(&comparison, "open@50%", "poll", false));
    // On a busy machine the baseline may miss the rate, or the generator be the limit.
    if figures["p50"].is_object() {
        assert!(figures["p50"]["ratio"].is_number() && figures["p99"]["ratio"].is_number(), "{figures:#}");
    }
    assert!(figures["latency_us"]["p50"].as_f64() > Some(0.0), "{figures:#}");
    assert_eq!(figures["rate"], Value::Null, "the rate is the same for all: {figures:#}");
}

#[test]
fn a_file_of_workloads_is_run_and_is_in_the_result_which_can_be_run_again() {
    let plan = "[[workload]]\nname = 'chat'\nsummary = 'many who are silent'\nconnections = 8\nidle = [0, 20]\nsize = 100\n\
                slice_ms = 60";
    let ended = with_plan(plan, "--starts 1 --slices 1 --models poll --seed 7 --json");
    let first = comparison(ended.exits(0));
    assert_eq!(ids(&first), ["chat@0", "chat@20"]);
    assert_eq!(group(&first, "chat@20")["load"]["size"], 100);

    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("result.json");
    fs::write(&file, &ended.stdout).expect("a file");
    let again = compare(&format!("--rerun {} --json", file.display()));
    let again = comparison(again.exits(0));
    assert_eq!(again["plan"], first["plan"], "the same plan and seed");
    assert_eq!(ids(&again), ids(&first));
}

#[test]
fn a_plan_that_cannot_be_is_refused_before_anything_is_started() {
    for (plan, says) in [
        ("[[workload]]\nname = 'a'\nconnection = 3", "unknown field `connection`"),
        ("nonsense", "the plan"),
        ("[[workload]]\nname = 'a'\nconnections = 0", "connections is at least 1"),
    ] {
        let ended = with_plan(plan, "");
        assert!(ended.exits(2).stderr.contains(says), "{ended}");
        assert_eq!(ended.stdout, "");
    }
    compare("--plan /nowhere.toml").exits(2).says_one_line(&["cannot read the plan /nowhere.toml"]);
}

#[test]
fn what_is_no_result_of_a_comparison_is_not_run_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("result.json");
    for (text, says) in [
        ("", "it is no JSON document"),
        ("{}", "it has no schema"),
        (r#"{"schema":"io-models/load","schema_version":2}"#, "it is a result of io-models/load"),
        (r#"{"schema":"io-models/compare","schema_version":1}"#, "it is version 1 of io-models/compare"),
        (
            r#"{"schema":"io-models/compare","schema_version":2}"#,
            "it is damaged, or was edited: missing field",
        ),
    ] {
        fs::write(&file, text).expect("a file");
        compare(&format!("--rerun {}", file.display())).exits(2).says_one_line(&[says]);
    }
}

/// A result may come from another machine, or from an editor.
#[test]
fn a_result_whose_plan_cannot_be_run_here_is_refused_before_anything_is_started() {
    let line = "--starts 1 --slices 1 --slice 1ms --workloads single --models epoll-level --json";
    let result = comparison(compare(line).exits(0));
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("result.json");
    for (path, value, says) in [
        ("/starts", json!(0), "starts is 0"),
        ("/slices", json!(0), "slices is 0"),
        ("/workers", json!(0), "workers is 0"),
        ("/precision", json!(-1.0), "the precision -1"),
        ("/models", json!(["epoll-edge", "nobody"]), "there is no model nobody"),
        ("/workloads", json!([]), "there is no workload"),
        ("/workloads/0/connections", json!(0), "connections is at least 1"),
        ("/servers", json!([{"name": "mine", "command": "cat"}]), "the command of mine does not say {port}"),
    ] {
        let mut edited = result.clone();
        *edited["plan"].pointer_mut(path).expect(path) = value;
        fs::write(&file, edited.to_string()).expect("a file");
        let ended = compare(&format!("--rerun {}", file.display()));
        ended.exits(2).says_one_line(&["result.json: its plan cannot be run again here", says]);
    }
}

#[test]
fn a_result_of_processors_that_do_not_exist_here_is_run_again_without_pinning() {
    let line = "--starts 1 --slices 1 --slice 60ms --workloads single --models epoll-level --json";
    let mut result = comparison(compare(line).exits(0));
    result["plan"]["pinning"] = json!({"server_cpu": 1023, "generator_cpu": 99_999});
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("result.json");
    fs::write(&file, result.to_string()).expect("a file");
    let ended = compare(&format!("--rerun {} --json", file.display()));
    let again = comparison(ended.exits(0));
    assert_eq!(again["plan"]["pinning"], Value::Null);
    assert!(ended.stderr.contains("servers and generators are not pinned"), "{ended}");
}

#[test]
fn a_size_of_the_command_line_is_for_workloads_that_give_none() {
    let plan =
        "[[workload]]\nname = 'a'\nconnections = 1\n[[workload]]\nname = 'b'\nconnections = 1\nsize = 64";
    let ended = with_plan(plan, "-s 100 --starts 1 --slices 1 --slice 60ms --models epoll-level --json");
    let comparison = comparison(ended.exits(0));
    let size = |point| &group(&comparison, point)["load"]["size"];
    assert_eq!((size("a"), size("b")), (&json!(100), &json!(64)));
}

#[test]
fn a_precision_starts_the_servers_again_until_it_is_reached() {
    let line =
        "compare --starts 3 --slices 1 --slice 60ms --precision 90% --workloads single --models poll --json";
    let ended = Program::start(line).end_within(6);
    let comparison = comparison(ended.exits(0));
    for row in super::rows(&comparison).into_iter().filter(|row| row["baseline"] == false) {
        let figures = figures(row);
        let end = |name: &str| figures["cpu"][name].as_f64().expect("a number");
        let is_precise = end("high") / end("ratio") <= 1.901;
        assert!(is_precise || figures["imprecise"].is_string(), "{figures:#}");
        assert!(figures["starts"].as_u64() >= Some(5), "{figures:#}");
    }
}
