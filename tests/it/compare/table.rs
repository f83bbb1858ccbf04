//! The result, as data and as text.

use super::{compare, comparison, row, rows};
use crate::load::program::{Program, io_models_with_descriptors};
use crate::support::leaves_it_to_a_ring;
use serde_json::Value;

/// For tests that look at figures: on a busy machine a server may get no processor for tens of
/// milliseconds, and a shorter slice has no answer in it.
const LONG: &str = "--slices 3 --slice 120ms";

const SHORT: &str = "--slices 3 --slice 40ms";

/// A row without trouble.
#[track_caller]
fn is_measured(row: &Value) {
    assert_eq!(row["status"], "measured", "{row:#}");
    assert_eq!(row.get("reason"), None, "{row:#}");
    assert!(row["rounds"].as_u64() >= Some(3), "{row:#}");
    assert_eq!((&row["lost_connections"], &row["wrong_bytes"]), (&0.into(), &0.into()), "{row:#}");
}

/// A measured row has every figure, and the figures make sense.
#[track_caller]
fn has_every_figure(row: &Value) {
    is_measured(row);
    let number = |path: &str| {
        let value = row.pointer(path).and_then(Value::as_f64);
        value.unwrap_or_else(|| panic!("no number {path}: {row:#}"))
    };
    let in_order = |path: &str, names: &[&str]| {
        let values: Vec<_> = names.iter().map(|name| number(&format!("{path}/{name}"))).collect();
        assert!(values.is_sorted() && values[0] >= 0.0, "{path} is {values:?}: {row:#}");
        values[0]
    };
    in_order("/requests_per_s", &["low", "median", "high"]);
    assert!(number("/requests_per_s/high") > 0.0, "{row:#}");
    in_order("/ratio", &["low", "median", "high"]);
    in_order("/cpu_ratio", &["low", "median", "high"]);
    assert!(in_order("/latency_us", &["p50", "p90", "p99", "p99_9", "max"]) > 0.0, "{row:#}");
    assert!(number("/server_cpu_us_per_request") > 0.0, "{row:#}");
    assert!(number("/generator_cpu_share") > 0.0, "{row:#}");
    assert!((0.0..=1.0).contains(&number("/generator_busy_share")), "{row:#}");
    // A recv and a send each, a wait that several may share, and where the client is armed again an epoll_ctl. With a ring that
    // receives and sends there is only the wait.
    let calls = number("/syscalls_per_request/total");
    assert!(
        if leaves_it_to_a_ring(row["model"].as_str().expect("a name")) { calls > 0.0 } else { calls >= 1.9 },
        "{row:#}"
    );
    let asks_in_vain = ["spin", "sigio"].contains(&row["model"].as_str().expect("a name"));
    assert!(calls < 4.5 || asks_in_vain, "only these models ask in vain: {row:#}");
    let by_name = row["syscalls_per_request"]["by_name"].as_object().expect("names of calls");
    let sum: f64 = by_name.values().filter_map(Value::as_f64).sum();
    assert!((sum - calls).abs() < 0.01, "{sum} in all: {row:#}");
    // Between what no process is smaller than and what none of these servers needs.
    assert!((100e3..1e9).contains(&number("/peak_rss_bytes")), "{row:#}");
    assert!(number("/active") >= 1.0, "{row:#}");
    number("/idle");
}

#[test]
fn the_json_has_every_row_and_every_figure() {
    let ended = compare(&format!("{LONG} --workloads ping,single --models poll,blocking --json"));
    let comparison = comparison(ended.exits(0));
    assert_eq!(comparison["partial"], false);
    let environment = &comparison["environment"];
    for name in [
        "started",
        "started_unix_s",
        "kernel",
        "machine",
        "cpus_allowed",
        "rlimit_nofile_soft",
        "sysctls",
        "commit",
        "compiler",
        "command",
    ] {
        assert!(!environment[name].is_null(), "{name}: {environment:#}");
    }
    let plan = &comparison["plan"];
    assert_eq!((&plan["slices"], &plan["slice_ms"]), (&3.into(), &120.into()), "{plan:#}");
    assert_eq!(plan["baseline"], "epoll-level", "{plan:#}");
    assert_eq!(plan["models"], serde_json::json!(["poll", "blocking"]), "{plan:#}");
    assert_eq!(plan["workloads"][0]["name"], "ping", "{plan:#}");
    assert_eq!(plan["workloads"][1]["name"], "single", "{plan:#}");

    assert_eq!(rows(&comparison).len(), 8, "baseline, control and two models each: {comparison:#}");
    for workload in ["ping", "single"] {
        let baseline = row(&comparison, workload, "epoll-level", false);
        has_every_figure(baseline);
        assert_eq!(baseline["ratio"], serde_json::json!({"median": 1.0, "low": 1.0, "high": 1.0}));
        has_every_figure(row(&comparison, workload, "epoll-level", true));
        has_every_figure(row(&comparison, workload, "poll", false));
    }
    has_every_figure(row(&comparison, "single", "blocking", false));
    for (workload, active) in [("ping", 64), ("single", 1)] {
        let poll = row(&comparison, workload, "poll", false);
        assert_eq!((&poll["active"], &poll["idle"]), (&active.into(), &0.into()), "{poll:#}");
    }
}

#[test]
fn a_model_that_cannot_take_a_workload_is_skipped_and_says_why() {
    let ended = compare(&format!("{SHORT} --workloads ping --models blocking --json"));
    let comparison = comparison(ended.exits(0));
    let blocking = row(&comparison, "ping", "blocking", false);
    assert_eq!(blocking["status"], "skipped");
    let reason = blocking["reason"].as_str().expect("a reason");
    assert!(reason.contains("one client at a time") && reason.contains("64"), "{reason}");
    assert_eq!(blocking.get("requests_per_s"), None, "nothing was measured: {blocking:#}");
}

#[test]
fn every_model_is_measured_where_it_can_be() {
    let ended = compare(&format!("{LONG} --workloads single --json"));
    let comparison = comparison(ended.exits(0));
    for model in io_models::model::ALL {
        has_every_figure(row(&comparison, "single", model.name, false));
    }
    assert_eq!(rows(&comparison).len(), io_models::model::ALL.len() + 1);
}

#[test]
fn silent_connections_are_as_many_as_the_descriptors_allow() {
    let line = format!("compare {SHORT} --workloads idle --models epoll-edge,fork --json");
    let ended = Program::spawn(io_models_with_descriptors(256, &line)).end();
    let comparison = comparison(ended.exits(0));
    assert_eq!(comparison["environment"]["rlimit_nofile_soft"], 256);
    for row in rows(&comparison) {
        is_measured(row);
        assert_eq!(row["active"], 64, "{row:#}");
        let idle = row["idle"].as_u64().expect("a number");
        assert!((100..256 - 64).contains(&idle), "{row:#}");
    }
    assert_eq!(rows(&comparison).len(), 4);
}

#[cfg(feature = "uring")]
#[test]
fn a_model_that_cannot_run_here_is_skipped_and_its_row_says_why() {
    let line = format!("{SHORT} --workloads single --models epoll-level,uring --json");
    let denied = crate::support::without;
    let comparison = denied(&[libc::SYS_io_uring_setup], libc::EPERM, || comparison(compare(&line).exits(0)));
    let uring = row(&comparison, "single", "uring", false);
    assert_eq!(uring["status"], "skipped", "{uring:#}");
    assert!(uring["reason"].as_str().is_some_and(|why| why.contains("io_uring is forbidden")), "{uring:#}");
    is_measured(row(&comparison, "single", "epoll-level", false));
}

/// A set of `select` ends at descriptor 1023, so it cannot have the load of the baseline.
#[test]
fn rows_under_different_loads_are_not_judged_against_each_other() {
    let ended = compare(&format!("{SHORT} --workloads idle --idle 1200 --models select,poll --json"));
    let comparison = comparison(ended.exits(0));
    let select = row(&comparison, "idle", "select", false);
    let idle = select["idle"].as_u64().expect("a number");
    assert!((900..1000).contains(&idle), "{select:#}");
    let verdict = select["verdict"].as_str().expect("words");
    assert!(verdict.starts_with(&format!("not comparable: {idle} idle instead of 1,200 (")), "{verdict}");
    assert_eq!((&select["ratio"], &select["cpu_ratio"]), (&Value::Null, &Value::Null), "{select:#}");
    assert!(
        select["requests_per_s"]["median"].as_f64() > Some(0.0),
        "it is measured all the same: {select:#}"
    );
    let poll = row(&comparison, "idle", "poll", false);
    assert_eq!(poll["idle"], 1200, "{poll:#}");
    assert!(poll["ratio"].is_object(), "{poll:#}");
}

#[test]
fn with_fewer_descriptors_than_active_connections_rows_are_skipped_and_say_why() {
    let line = format!("compare {SHORT} --workloads ping,single --models poll --json");
    let ended = Program::spawn(io_models_with_descriptors(64, &line)).end();
    let comparison = comparison(ended.exits(0));
    for (model, control) in [("epoll-level", false), ("epoll-level", true), ("poll", false)] {
        let ping = row(&comparison, "ping", model, control);
        assert_eq!(ping["status"], "skipped", "{ping:#}");
        assert!(ping["reason"].as_str().is_some_and(|why| why.contains("descriptor limit")), "{ping:#}");
        is_measured(row(&comparison, "single", model, control));
    }
}

#[test]
fn without_pinning_it_works_and_says_so() {
    let ended = compare(&format!("{SHORT} --workloads single --models epoll-level --no-pin --json"));
    let comparison = comparison(ended.exits(0));
    assert_eq!(comparison["plan"]["pinning"], Value::Null);
    is_measured(row(&comparison, "single", "epoll-level", false));
    assert_eq!(rows(&comparison).len(), 2, "the baseline is not run a third time");
}

#[test]
fn the_text_is_a_markdown_table_for_each_workload_with_the_baseline_against_itself() {
    let ended = compare(&format!("{SHORT} --workloads ping,single --models blocking"));
    let text = &ended.exits(0).stdout;
    assert!(!text.contains('\x1b'), "{text:?}");
    let lines: Vec<_> = text.lines().collect();
    for workload in ["ping: ", "single: "] {
        let title = lines.iter().position(|line| line.starts_with(workload)).expect(workload);
        let table: Vec<_> =
            lines[title + 1..].iter().skip_while(|l| l.is_empty()).take_while(|l| !l.is_empty()).collect();
        assert_eq!(table.len(), 5, "head, rule, baseline, A/A, blocking: {text}");
        let columns = |line: &str| line.matches('|').count();
        assert!(table.iter().all(|line| line.starts_with('|') && line.ends_with('|')), "{text}");
        assert!(table.iter().all(|line| columns(line) == columns(table[0])), "{text}");
        assert!(table[1].chars().all(|c| "|-: ".contains(c)), "{text}");
        assert!(table[0].contains("requests/s") && table[0].contains("µs"), "{text}");
        assert!(table[2].starts_with("| epoll-level ") && table[2].contains("the baseline"), "{text}");
        assert!(table[3].starts_with("| epoll-level (A/A) "), "{text}");
        assert!(table[4].starts_with("| blocking "), "{text}");
    }
    assert!(
        text.contains("skipped: takes at most 1 connection (one client at a time), and 64 are needed"),
        "{text}"
    );
    assert!(text.contains("Closed loop, 64 bytes per request, 3 slices of 40 ms"), "{text}");
    assert!(text.contains("Linux "), "the environment: {text}");

    // And on standard error one plain line for each workload, nothing animated.
    assert!(!ended.stderr.contains('\x1b'), "{:?}", ended.stderr);
    let progress: Vec<_> = ended.stderr.lines().filter(|line| !line.contains("warning: ")).collect();
    assert_eq!(progress.len(), 2, "{progress:?}");
    assert!(progress[0].starts_with("ping: ") && progress[1].starts_with("single: "), "{progress:?}");
}

#[test]
fn quiet_means_that_standard_error_is_empty() {
    let ended = compare(&format!("{LONG} --workloads single --models epoll-level --quiet"));
    assert_eq!(ended.exits(0).stderr, "");
    assert!(ended.stdout.contains("| epoll-level (A/A) "), "{}", ended.stdout);
}

#[test]
fn one_slice_is_enough_for_a_row() {
    let ended = compare("--slices 1 --slice 1s --workloads single --models poll --json");
    let comparison = comparison(ended.exits(0));
    assert_eq!(row(&comparison, "single", "poll", false)["rounds"], 1);
}

#[test]
fn a_slice_that_is_too_short_for_one_answer_goes_on_until_the_first() {
    // Far more bytes than a millisecond is enough for.
    let ended = compare("--slices 1 --slice 1ms --workloads single --models poll -s 100000000 --json");
    let comparison = comparison(ended.exits(0));
    let poll = row(&comparison, "single", "poll", false);
    assert_eq!((&poll["status"], &poll["rounds"]), (&"measured".into(), &1.into()), "{poll:#}");
    let rate = poll["requests_per_s"]["median"].as_f64().expect("a rate");
    assert!(rate > 0.0 && rate < 1000.0, "by the time that it took: {poll:#}");
    let sentence = "slices of poll under single were too short for one answer, and went on until the first";
    assert!(comparison["not_known"].to_string().contains(sentence), "{comparison:#}");
    assert!(ended.stderr.contains(sentence), "{ended}");
}

#[test]
fn large_requests_are_measured_too() {
    let ended = compare(&format!("{SHORT} --workloads single --models select -s 100000 --json"));
    let comparison = comparison(ended.exits(0));
    assert_eq!(comparison["plan"]["size_bytes"], 100_000);
    let select = row(&comparison, "single", "select", false);
    assert_eq!((&select["status"], &select["wrong_bytes"]), (&"measured".into(), &0.into()), "{select:#}");
}

#[test]
fn workers_share_the_requests_and_the_row_says_how_evenly() {
    let line = "--workloads ping --models prethread,reuseport-processes --workers 3";
    let ended = compare(&format!("{LONG} {line} --json"));
    let comparison = comparison(ended.exits(0));
    assert_eq!(comparison["plan"]["workers"], 3);
    // Where each worker has one client at a time, there are as many as clients.
    for (model, workers) in [("prethread", 64), ("reuseport-processes", 3), ("epoll-level", 0)] {
        let row = row(&comparison, "ping", model, false);
        is_measured(row);
        let shares = row["workers"].as_array().expect("a share for each worker");
        assert_eq!(shares.len(), workers, "{row:#}");
        let of = |name: &str| shares.iter().filter_map(|share| share[name].as_u64()).sum::<u64>();
        assert_eq!(of("connections"), if workers > 0 { 64 } else { 0 }, "{row:#}");
        let fairness = row["fairness_of_requests"].as_f64();
        assert_eq!(fairness.is_some(), workers > 0, "{row:#}");
        assert!(fairness.is_none_or(|index| index >= 1.0 / workers as f64 && index <= 1.000_001), "{row:#}");
    }
}
