//! The result, as data and as text.

use super::{compare, comparison, figures, group, ids, row, rows};
use crate::load::program::{Program, io_models_with_descriptors};
use crate::support::leaves_it_to_a_ring;
use serde_json::Value;

/// For tests that look at figures: on a busy machine a server may get no processor for tens of
/// milliseconds, and a shorter slice has no answer in it.
const LONG: &str = "--starts 2 --slices 2 --slice 120ms";

const SHORT: &str = "--starts 2 --slices 2 --slice 40ms";

/// A measured row has every figure, and the figures make sense.
#[track_caller]
fn has_every_figure(row: &Value) {
    let figures = figures(row);
    let number = |path: &str| {
        let value = figures.pointer(path).and_then(Value::as_f64);
        value.unwrap_or_else(|| panic!("no number {path}: {row:#}"))
    };
    let in_order = |path: &str, names: &[&str]| {
        let values: Vec<_> = names.iter().map(|name| number(&format!("{path}/{name}"))).collect();
        assert!(values.is_sorted() && values[0] >= 0.0, "{path} is {values:?}: {row:#}");
        values[0]
    };
    in_order("/requests_per_s", &["low", "median", "high"]);
    assert!(number("/requests_per_s/high") > 0.0, "{row:#}");
    in_order("/cpu_us_per_request", &["low", "median", "high"]);
    assert!(number("/cpu_us_per_request/median") > 0.0, "{row:#}");
    // Where a generator is the limit, the rate is not the server's.
    if figures["rate"].is_object() {
        in_order("/rate", &["low", "ratio", "high"]);
    }
    in_order("/cpu", &["low", "ratio", "high"]);
    assert!(in_order("/latency_us", &["p50", "p90", "p99", "p99_9", "max"]) > 0.0, "{row:#}");
    assert!(number("/generator_cpu_share") > 0.0, "{row:#}");
    assert!((0.0..=1.0).contains(&number("/generator_busy_share")), "{row:#}");
    assert!(number("/voluntary_switches_per_request") >= 0.0, "{row:#}");
    // A recv and a send each, a wait that several may share, and where the client is armed again an epoll_ctl. With a ring that
    // receives and sends there is only the wait.
    let entrant = row["entrant"].as_str().expect("a name");
    let calls = number("/syscalls_per_request/total");
    assert!(if leaves_it_to_a_ring(entrant) { calls > 0.0 } else { calls >= 1.9 }, "{row:#}");
    let asks_in_vain = ["spin", "sigio"].contains(&entrant);
    assert!(calls < 4.5 || asks_in_vain, "only these models ask in vain: {row:#}");
    let by_name = figures["syscalls_per_request"]["by_name"].as_object().expect("names of calls");
    let sum: f64 = by_name.values().filter_map(Value::as_f64).sum();
    assert!((sum - calls).abs() < 0.01, "{sum} in all: {row:#}");
    // Between what no process is smaller than and what none of these servers needs.
    for memory in ["listening", "connected", "after"] {
        assert!((50e3..1e9).contains(&number(&format!("/memory/{memory}"))), "{row:#}");
    }
    assert!(number("/memory/proportional") >= number("/memory/after"), "{row:#}");
}

#[test]
fn the_json_has_every_row_and_every_figure() {
    let ended = compare(&format!("{LONG} --workloads ping,single --models poll,blocking --json"));
    let comparison = comparison(ended.exits(0));
    assert_eq!(comparison["partial"], false);
    let environment = &comparison["environment"];
    for name in ["kernel", "machine", "cpus_allowed", "rlimit_nofile_soft", "sysctls", "commit", "command"] {
        assert!(!environment[name].is_null(), "{name}: {environment:#}");
    }
    let plan = &comparison["plan"];
    assert_eq!((&plan["starts"], &plan["slices"]), (&2.into(), &2.into()), "{plan:#}");
    assert_eq!(plan["baseline"], "epoll-level", "{plan:#}");
    assert_eq!(plan["models"], serde_json::json!(["poll", "blocking"]), "{plan:#}");
    assert_eq!(plan["workloads"][0]["name"], "ping", "{plan:#}");
    assert_eq!(plan["workloads"][1]["slice_ms"], 120, "{plan:#}");

    assert_eq!(rows(&comparison).len(), 8, "baseline, control and two models each: {comparison:#}");
    for point in ["ping", "single"] {
        let baseline = row(&comparison, point, "epoll-level", false);
        has_every_figure(baseline);
        let one = serde_json::json!({"ratio": 1.0, "low": 1.0, "high": 1.0, "verdict": null});
        assert_eq!(baseline["figures"]["cpu"], one, "{baseline:#}");
        has_every_figure(row(&comparison, point, "epoll-level", true));
        has_every_figure(row(&comparison, point, "poll", false));
    }
    has_every_figure(row(&comparison, "single", "blocking", false));
    for (point, active) in [("ping", 64), ("single", 1)] {
        let load = &group(&comparison, point)["load"];
        assert_eq!((&load["active"], &load["idle"]), (&active.into(), &0.into()), "{load:#}");
    }
}

/// The slices are in the result, so that anybody can compute the ratios again.
#[test]
fn each_slice_is_in_the_result_with_the_slice_of_the_baseline_in_its_turn() {
    let ended = compare(&format!("{LONG} --workloads ping --models poll,fork,select,epoll-edge --json"));
    let comparison = comparison(ended.exits(0));
    let baseline = row(&comparison, "ping", "epoll-level", false);
    for row in rows(&comparison) {
        let starts = row["starts"].as_array().expect("starts");
        assert_eq!(starts.len(), 2, "{row:#}");
        assert!(row["histogram"].as_str().is_some_and(|text| text.starts_with("HIST")), "{row:#}");
        for (i, start) in starts.iter().enumerate() {
            let slices = start["slices"].as_array().expect("slices");
            // Five others make two turns a round, each with a slice of the baseline.
            assert_eq!(slices.len(), if row["baseline"] == true { 4 } else { 2 }, "{row:#}");
            let has_turn = |slices: &[Value], turn: &Value| slices.iter().any(|slice| slice["turn"] == *turn);
            let beside = baseline["starts"][i]["slices"].as_array().expect("slices");
            assert!(slices.iter().all(|slice| has_turn(beside, &slice["turn"])), "{row:#}");
            let answered = slices.iter().filter_map(|slice| slice["answered"].as_u64()).sum::<u64>();
            assert!(start["requests"].as_u64() >= Some(answered), "{row:#}");
        }
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
    assert_eq!(blocking.get("figures"), None, "nothing was measured: {blocking:#}");
}

#[test]
fn every_model_is_measured_where_it_can_be() {
    let ended = Program::start(&format!("compare {LONG} --workloads single --json")).end_within(6);
    let comparison = comparison(ended.exits(0));
    for model in io_models::model::ALL {
        has_every_figure(row(&comparison, "single", model.name, false));
    }
    assert_eq!(rows(&comparison).len(), io_models::model::ALL.len() + 1);
}

/// A set of `select` ends at descriptor 1023, so it cannot have the load of the baseline. Only equal loads are compared.
#[test]
fn where_a_model_cannot_take_a_load_all_are_measured_at_the_load_that_it_can_take() {
    let ended = compare(&format!("{SHORT} --workloads idle --idle 0,1200 --models select,poll --json"));
    let comparison = comparison(ended.exits(0));
    let common = group(&comparison, "idle@951");
    assert_eq!((&common["common"], &common["load"]["idle"]), (&true.into(), &951.into()), "{common:#}");
    assert_eq!(ids(&comparison), ["idle@0", "idle@951", "idle@1200"]);
    for entrant in ["select", "poll", "epoll-level"] {
        assert!(figures(row(&comparison, "idle@951", entrant, false))["cpu"].is_object());
    }
    let select = row(&comparison, "idle@1200", "select", false);
    assert_eq!(select["status"], "skipped", "{select:#}");
    let reason = select["reason"].as_str().expect("words");
    assert!(reason.starts_with("takes at most 1,015 connections (an fd_set"), "{reason}");
    assert!(figures(row(&comparison, "idle@1200", "poll", false))["cpu"].is_object());
}

#[test]
fn the_memory_of_the_kernel_for_each_connection_is_told_where_there_are_many() {
    // It is of the whole machine, so other tests that give memory back meanwhile can hide it: then it is not known.
    let measure = || {
        comparison(
            compare(&format!("{SHORT} --workloads idle --idle 2000 --models epoll-edge --json")).exits(0),
        )
    };
    let known = |comparison: &Value| {
        let figures = figures(row(comparison, "idle", "epoll-edge", false));
        figures["kernel_memory_per_connection"].is_number()
    };
    let comparison = (0..5).map(|_| measure()).find(known).expect("known in one of five comparisons");
    let figures = figures(row(&comparison, "idle", "epoll-edge", false));
    let each = figures["kernel_memory_per_connection"].as_f64().expect("bytes");
    // Two sockets with their files and inodes.
    assert!((0.0..100_000.0).contains(&each), "{figures:#}");
    let own = figures["memory_per_connection"].as_f64().expect("bytes");
    assert!(own < 10_000.0, "{figures:#}");
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
    figures(row(&comparison, "single", "epoll-level", false));
    assert_eq!(comparison["plan"]["engine"], "epoll", "the generator does without as well");
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
        figures(row(&comparison, "single", model, control));
    }
    assert!(ended.stderr.contains("not measured: ping: takes at most"), "{ended}");
}

#[test]
fn where_nothing_can_be_measured_it_is_said_before_anything_is_started() {
    let line = format!("compare {SHORT} --workloads ping --models poll");
    let ended = Program::spawn(io_models_with_descriptors(64, &line)).end();
    ended.exits(1).says_one_line(&["nothing can be measured here", "takes at most", "descriptor limit"]);
    assert_eq!(ended.stdout, "");
}

#[test]
fn without_pinning_it_works_and_says_so() {
    let ended = compare(&format!("{SHORT} --workloads single --models epoll-level --no-pin --json"));
    let comparison = comparison(ended.exits(0));
    assert_eq!(comparison["plan"]["pinning"], Value::Null);
    figures(row(&comparison, "single", "epoll-level", false));
    assert_eq!(rows(&comparison).len(), 2, "the baseline is not run a third time");
}

#[test]
fn the_text_is_a_markdown_table_for_each_point_with_the_baseline_against_itself() {
    let ended = compare(&format!("{SHORT} --workloads ping,single --models blocking"));
    let text = &ended.exits(0).stdout;
    assert!(!text.contains('\x1b'), "{text:?}");
    let lines: Vec<_> = text.lines().collect();
    for point in ["ping: 64 clients", "single: 1 client"] {
        let title = lines.iter().position(|line| line.starts_with(point)).expect(point);
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
        text.contains("not comparable: takes at most 1 connection (one client at a time), and 64 are needed"),
        "{text}"
    );
    assert!(text.contains("Each server was started 2 times, with 2 slices each time"), "{text}");
    assert!(text.contains("Linux "), "the environment: {text}");

    // And on standard error one plain line for each point, nothing animated.
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
fn a_single_start_has_ratios_and_no_intervals_and_no_verdicts() {
    let ended = compare("--starts 1 --slices 1 --slice 1s --workloads single --models poll --json");
    let comparison = comparison(ended.exits(0));
    let figures = figures(row(&comparison, "single", "poll", false));
    assert_eq!((&figures["starts"], &figures["slices"]), (&1.into(), &1.into()), "{figures:#}");
    let cpu = &figures["cpu"];
    assert!(cpu["ratio"].is_number(), "{figures:#}");
    assert_eq!((&cpu["low"], &cpu["verdict"]), (&Value::Null, &Value::Null), "{figures:#}");
}

#[test]
fn a_slice_that_is_too_short_for_one_answer_goes_on_until_the_first() {
    // Far more bytes than a millisecond is enough for.
    let ended =
        compare("--starts 1 --slices 1 --slice 1ms --workloads single --models poll -s 100000000 --json");
    let comparison = comparison(ended.exits(0));
    let figures = figures(row(&comparison, "single", "poll", false));
    let rate = figures["requests_per_s"]["median"].as_f64().expect("a rate");
    assert!(rate > 0.0 && rate < 1000.0, "by the time that it took: {figures:#}");
    let sentence = "some slices under single were too short for one answer, and went on until the first";
    assert!(comparison["not_known"].to_string().contains(sentence), "{comparison:#}");
    assert!(ended.stderr.contains(sentence), "{ended}");
}

#[test]
fn large_requests_are_measured_too() {
    let ended = compare(&format!("{SHORT} --workloads single --models select -s 100000 --json"));
    let comparison = comparison(ended.exits(0));
    assert_eq!(group(&comparison, "single")["load"]["size"], 100_000);
    figures(row(&comparison, "single", "select", false));
}

#[test]
fn workers_share_the_requests_and_the_row_says_how_evenly() {
    let line = "--workloads ping --models prethread,reuseport-processes --workers 3";
    let ended = compare(&format!("{LONG} {line} --json"));
    let comparison = comparison(ended.exits(0));
    assert_eq!(comparison["plan"]["workers"], 3);
    // Where each worker has one client at a time, there are as many as clients.
    for (model, workers) in [("prethread", 64), ("reuseport-processes", 3), ("epoll-level", 0)] {
        let figures = figures(row(&comparison, "ping", model, false));
        let shares = figures["workers"].as_array().expect("a share for each worker");
        assert_eq!(shares.len(), workers, "{figures:#}");
        let of = |name: &str| shares.iter().filter_map(|share| share[name].as_u64()).sum::<u64>();
        assert_eq!(of("connections"), if workers > 0 { 64 } else { 0 }, "{figures:#}");
        let fairness = figures["fairness_of_requests"].as_f64();
        assert_eq!(fairness.is_some(), workers > 0, "{figures:#}");
        assert!(
            fairness.is_none_or(|index| index >= 1.0 / workers as f64 && index <= 1.000_001),
            "{figures:#}"
        );
    }
}
