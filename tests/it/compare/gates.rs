//! Gates of a comparison, an earlier result beside it, and both as JUnit XML.

use super::stopped::in_the_middle;
use super::{comparison, ids};
use crate::load::program::{Ended, Program, io_models};
use crate::report::sample;
use io_models::lab::compare::gates::{FIGURES, Gates, junit};
use io_models::lab::gate::{self, Outcome};
use io_models::lab::results::compare::{Comparison, OneOrMore, Plan, Row};
use nix::sys::signal::Signal;
use quick_junit::{NonSuccessKind, Report, TestCaseStatus};
use serde_json::{Value, json};
use std::fs;
use tempfile::TempDir;

/// With three starts an interval is wide, and no gate here is near to a figure.
const SHORT: &str = "--starts 3 --slices 1 --slice 60ms --models poll --quiet";

/// Gates have blanks in them, so they are arguments of their own.
fn gated(args: &str, gates: &[&str]) -> Ended {
    let mut command = io_models(&format!("compare {SHORT} {args}"));
    command.args(gates.iter().flat_map(|gate| ["--gate", gate]));
    Program::spawn(command).end()
}

/// Nothing was started, and the line says all of `parts`.
#[track_caller]
fn is_refused(ended: &Ended, parts: &[&str]) {
    assert_eq!(ended.exits(2).says_one_line(parts).stdout, "", "{ended}");
}

/// Gates as a command line has them, and an earlier result.
fn gates_of(texts: &[&str], earlier: Option<Comparison>) -> Gates {
    let texts: Vec<_> = texts.iter().map(|&text| text.to_owned()).collect();
    let gates = gate::read(&texts, &FIGURES).expect("gates");
    Gates::new(gates, earlier.map(|comparison| ("old.json".to_owned(), comparison)))
}

/// What becomes of a gate on `poll` in a result that was made up, after `change` of its row.
fn judged(workload: &str, gate: &str, change: impl FnOnce(&mut Row)) -> gate::Judged {
    let mut comparison = sample::of(&[workload], &[sample::BASELINE, "poll"]);
    let mut rows = comparison.groups.iter_mut().flat_map(|group| &mut group.rows);
    change(rows.rfind(|row| row.entrant == "poll").expect("a row"));
    gates_of(&[gate], None).judge(&mut comparison);
    comparison.gates.pop().expect("a gate that was judged")
}

#[test]
fn a_comparison_that_meets_its_gates_exits_with_0_and_shows_them() {
    let gates = [
        "single/poll cpu<=1000000",
        "single rate >= 0.000000000000000000000000000001",
        "requests>0.1",
        "cpu-time<1s",
        "single/epoll-level p99<1h",
        "memory<=1000MiB",
        "calls>=1.9",
    ];
    let ended = gated("--workloads single", &gates);
    ended.exits(0);
    for says in [
        "| single/poll cpu<=1000000 ",
        "| met: single/poll: CPU ratio is ",
        "| met: single/epoll-level: service time (closed loop) p99 is ",
        "the number of system calls per request is ",
    ] {
        assert!(ended.stdout.contains(says), "{says:?} is missing: {ended}");
    }
    assert_eq!(ended.stdout.matches("| met: ").count(), gates.len(), "{ended}");
}

#[test]
fn a_gate_that_is_not_met_exits_with_3_and_names_the_row_with_its_figures() {
    let ended = gated("--workloads ping,single --json", &["cpu<=0.0001", "ping/poll memory>=1KiB"]);
    let says = [
        "2 of 3 gates not met: cpu<=0.0001: ping/poll: CPU ratio is ",
        "; cpu<=0.0001: single/poll: CPU ratio is ",
        "–",
    ];
    ended.exits(3).says_one_line(&says);
    let comparison = comparison(&ended);
    let gates = comparison["gates"].as_array().expect("gates");
    let outcomes: Vec<_> = gates.iter().map(|gate| (&gate["row"], &gate["outcome"])).collect();
    let [ping, single] = [json!("ping/poll"), json!("single/poll")];
    let [met, not_met] = [json!("met"), json!("not_met")];
    assert_eq!(outcomes, [(&ping, &not_met), (&single, &not_met), (&ping, &met)]);
    let cpu = &super::row(&comparison, "ping", "poll", false)["figures"]["cpu"];
    let interval = &gates[0]["interval"];
    assert_eq!((&interval["low"], &interval["high"]), (&cpu["low"], &cpu["high"]), "{gates:#?}");
}

#[test]
fn a_workload_stands_for_all_of_its_points() {
    let ended =
        gated("--workloads idle --idle 0,20 --json", &["idle/poll cpu<=1000000", "idle@20 memory<=1000MiB"]);
    let comparison = comparison(ended.exits(0));
    assert_eq!(ids(&comparison), ["idle@0", "idle@20"]);
    let rows: Vec<_> =
        comparison["gates"].as_array().into_iter().flatten().map(|gate| gate["row"].clone()).collect();
    assert_eq!(rows, ["idle@0/poll", "idle@20/poll", "idle@20/poll"]);
}

#[test]
fn a_row_that_was_skipped_meets_no_gate_and_says_why() {
    let ended = gated("--workloads ping --models blocking", &["ping/blocking cpu<=1000000"]);
    let says =
        ["1 of 1 gate not met", "CPU ratio was not measured: the row was skipped: takes at most 1 conn"];
    ended.exits(3).says_one_line(&says);
}

#[test]
fn a_row_that_failed_is_exit_1_and_meets_no_gate() {
    let line =
        format!("compare {SHORT} --workloads single --json --gate memory<=1000MiB --gate memory>=1KiB");
    let mut command = io_models(&line);
    command.args(["--server", "mine=exit 3 # {port}"]);
    let ended = Program::spawn(command).end();
    ended.exits(1).says_one_line(&["mine under single failed"]);
    let comparison = comparison(&ended);
    let mine: Vec<_> = comparison["gates"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|gate| gate["row"] == "single/mine")
        .collect();
    assert!(mine.len() == 2 && mine.iter().all(|gate| gate["outcome"] == "not_met"), "{mine:#?}");
    assert!(mine[0]["why"].as_str().is_some_and(|why| why.contains("exit code 3")), "{mine:#?}");
}

/// An estimate that is wide enough to be on both sides of a limit shows nothing.
#[test]
fn the_end_of_the_interval_that_is_nearer_to_the_limit_must_keep_it() {
    let narrow = |row: &mut Row| {
        let cpu = row.figures.as_mut().and_then(|figures| figures.cpu.as_mut()).expect("a ratio");
        (cpu.ratio.ratio, cpu.ratio.low, cpu.ratio.high) = (1.0, Some(0.98), Some(1.02));
    };
    for (gate, outcome) in [
        ("ping/poll cpu<=1.02", Outcome::Met),
        ("ping/poll cpu<=1.01", Outcome::NotMet),
        ("ping/poll cpu>=0.98", Outcome::Met),
        ("ping/poll cpu>=0.99", Outcome::NotMet),
    ] {
        let judged = judged("ping", gate, narrow);
        assert_eq!(judged.outcome, outcome, "{judged:?}");
    }
    let words = judged("ping", "ping/poll cpu<=1.01", narrow).in_words();
    assert!(words.contains("CPU ratio is 1.00 [0.98–1.02]; the interval contains the limit"), "{words}");
}

#[test]
fn what_is_the_limit_of_the_generator_is_no_figure_of_the_server() {
    let is_bound = |row: &mut Row| row.figures.as_mut().expect("figures").generator_busy_share = 0.99;
    for gate in ["ping/poll rate>=0.001", "ping/poll requests>=0.1", "ping/poll p99<=1h"] {
        let judged = judged("ping", gate, is_bound);
        assert_eq!((judged.outcome, judged.measured), (Outcome::NotMet, None), "{judged:?}");
        assert!(judged.why.as_ref().is_some_and(|why| why.contains("generator was the limit")), "{judged:?}");
    }
    assert_eq!(judged("ping", "ping/poll cpu<=1000", is_bound).outcome, Outcome::Met, "CPU time counts");
    assert_eq!(judged("ping", "ping/poll rate>=0.001", |_| {}).outcome, Outcome::Met);
}

#[test]
fn a_latency_at_a_rate_that_was_missed_keeps_no_limit() {
    let missed = |row: &mut Row| {
        let figures = row.figures.as_mut().expect("figures");
        figures.missed_slices = figures.slices;
    };
    for gate in ["open/poll p50<=1h", "open/poll p99<=1h", "open/poll p50-ratio<=1000"] {
        let judged = judged("open", gate, missed);
        assert_eq!(judged.outcome, Outcome::NotMet, "{judged:?}");
        assert!(judged.why.as_ref().is_some_and(|why| why.contains("the rate was missed in")), "{judged:?}");
    }
    // One slice of many does not move a median.
    let one = |row: &mut Row| row.figures.as_mut().expect("figures").missed_slices = 1;
    assert_eq!(judged("open", "open/poll p50<=1h", one).outcome, Outcome::Met);
    assert_eq!(judged("open", "open/poll p99<=1h", one).outcome, Outcome::NotMet);
}

#[test]
fn bad_gates_are_refused_before_anything_is_measured() {
    let known = "--models poll --workloads ping,idle --idle 0,20";
    let theirs = "--models poll --workloads ping --server theirs=127.0.0.1:9";
    for (gate, args, says) in [
        (
            "pnig/poll cpu<=1",
            known,
            &["no point `pnig`", "the nearest: ping", "all: ping, idle@0, idle@20"][..],
        ),
        ("idle@30 cpu<=1", known, &["no point `idle@30`", "the nearest: idle@"]),
        ("ping/pol cpu<=1", known, &["no server `pol`", "the nearest: poll", "all: epoll-level, poll"]),
        ("ping/poll cup<=1", known, &["no figure `cup`", "the nearest: cpu", "all: cpu, rate"]),
        ("ping/poll cpu", known, &["has no limit"]),
        ("ping/poll cpu<=fast", known, &["write a number, such as 1.03"]),
        ("ping/poll memory<=1s", known, &["such as 4KiB or 1.5MiB"]),
        ("ping/epoll-level cpu<=1", known, &["it is the baseline"]),
        ("ping/poll p99-ratio<=1", known, &["where a rate is offered"]),
        (
            "open/poll rate>=1",
            "--models poll --workloads open",
            &["open@50%/poll", "the same rate is offered to all"],
        ),
        ("cpu<=1.02x", known, &["give --baseline FILE"]),
        ("p99<=1.02x", known, &["a multiple is of a ratio"]),
        ("cpu<=1", "--models poll --workloads ping --starts 1", &["give --starts 2 or more"]),
        ("cpu<=1", "--models epoll-level --workloads ping", &["no server beside the baseline"]),
        ("theirs cpu<=1", theirs, &["no point `theirs`"]),
        ("ping/theirs cpu<=1", theirs, &["add `,pid=N` to its --server"]),
        ("ping/theirs calls<=1", theirs, &["not in other servers"]),
        ("@/nonexistent/gates", known, &["cannot read the gates of /nonexistent/gates: No such file"]),
    ] {
        let mut command = io_models(&format!("compare {args}"));
        command.args(["--gate", gate]);
        is_refused(&Program::spawn(command).end(), says);
    }
}

#[test]
fn a_file_has_a_gate_in_each_line() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("gates.txt");
    fs::write(&file, "# what we promise\nsingle/poll cpu <= 1000000\n\nmemory<=1000MiB # of each\n")
        .expect("a file of ours");
    let ended = gated("--workloads single", &[&format!("@{}", file.display())]);
    assert_eq!(ended.exits(0).stdout.matches("| met: ").count(), 2, "{ended}");
}

#[test]
fn an_interrupted_comparison_passes_no_gate_and_no_case() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("junit.xml");
    // The endless comparison has one start, so a ratio is no figure for it.
    let (family, program) = in_the_middle(&format!(
        "--gate memory<=1000MiB --gate cpu-time<=0us --junit {} --quiet",
        file.display()
    ));
    program.signal(Signal::SIGTERM);
    let ended = program.end();
    assert_eq!(ended.exits(143).stdout.matches("| not judged: interrupted").count(), 2, "{ended}");
    let xml = fs::read_to_string(&file).expect("a file that was written");
    let report = Report::deserialize_from_str(&xml).expect("JUnit XML");
    assert_eq!((report.tests, report.errors), (6, 6), "no success: {xml}");
    family.ends();
}

#[test]
fn junit_has_a_case_for_each_row_and_each_gate() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("junit.xml");
    let args = format!("--workloads ping --models blocking --junit {}", file.display());
    gated(&args, &["ping/poll cpu<=0.0001", "ping/poll memory<=1000MiB"]).exits(3);
    let xml = fs::read_to_string(&file).expect("a file that was written");
    let report = Report::deserialize_from_str(&xml).expect("JUnit XML");
    let cases: Vec<_> = report.test_suites.iter().flat_map(|suite| &suite.test_cases).collect();
    let names: Vec<_> = cases.iter().map(|case| case.name.as_str()).collect();
    assert_eq!(
        names,
        [
            "ping/epoll-level: every byte right, no connection lost",
            "ping/epoll-level (A/A): every byte right, no connection lost",
            "ping/poll: every byte right, no connection lost",
            "ping/blocking: every byte right, no connection lost",
            "ping/poll cpu<=0.0001 [ping/poll]",
            "ping/poll memory<=1000MiB [ping/poll]",
        ]
    );
    let TestCaseStatus::Skipped { message: Some(why), .. } = &cases[3].status else { panic!("{xml}") };
    assert!(why.as_str().starts_with("takes at most 1 connection"), "{xml}");
    let TestCaseStatus::NonSuccess { kind: NonSuccessKind::Failure, message, .. } = &cases[4].status else {
        panic!("{xml}");
    };
    assert!(message.as_ref().is_some_and(|words| words.as_str().contains("CPU ratio is ")), "{xml}");
    assert!(matches!(cases[2].status, TestCaseStatus::Success { .. }), "{xml}");
    assert!(matches!(cases[5].status, TestCaseStatus::Success { .. }), "{xml}");
}

#[test]
fn junit_of_a_comparison_that_measured_nothing_is_no_success() {
    let mut comparison = sample::of(&["ping"], &[sample::BASELINE, "poll"]);
    for row in comparison.groups.iter_mut().flat_map(|group| &mut group.rows) {
        row.status = io_models::lab::Status::Skipped;
        row.reason = Some("too few descriptors".to_owned());
    }
    let xml = junit(&comparison).expect("it is written into memory");
    assert_eq!(Report::deserialize_from_str(&xml).expect("JUnit XML").failures, 1, "{xml}");
}

/// A folder with a result in `old.json`.
fn recorded(args: &str) -> (TempDir, String) {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("old.json").display().to_string();
    gated(&format!("{args} --json -o {file}"), &[]).exits(0);
    (folder, file)
}

#[test]
fn an_earlier_result_is_shown_beside_this_one_and_a_gate_may_be_a_multiple_of_it() {
    let (_folder, old) = recorded("--workloads single");
    // How much is measured may differ, and the seed.
    let args = format!("--workloads single --seed 7 --baseline {old}");
    let ended = gated(&format!("{args} --json"), &["single/poll cpu<=1000000x", "cpu<=0.000001x"]);
    let says = ["1 of 2 gates not met: cpu<=0.000001x: single/poll: CPU ratio over that of ", "old.json is "];
    ended.exits(3).says_one_line(&says);
    let comparison = comparison(&ended);
    let earlier = &comparison["earlier"];
    assert_eq!(earlier["plan"], json!([{"key": "seed", "here": "7", "there": "1"}]), "{earlier:#}");
    let figures = earlier["figures"].as_array().expect("figures");
    let cpu = figures.iter().find(|one| one["figure"] == "cpu").expect("a CPU ratio");
    assert_eq!((&cpu["point"], &cpu["entrant"]), (&json!("single"), &json!("poll")));
    let before: Value = serde_json::from_str(&fs::read_to_string(&old).expect("a result")).expect("JSON");
    let of = |result: &Value, end: &str| {
        super::row(result, "single", "poll", false)["figures"]["cpu"][end].clone()
    };
    for end in ["ratio", "low", "high"] {
        assert_eq!((&cpu["old"][end], &cpu["new"][end]), (&of(&before, end), &of(&comparison, end)));
    }
    let measured = comparison["gates"][0]["measured"].as_f64();
    assert_eq!(measured, cpu["times"]["ratio"].as_f64(), "{cpu:#}");

    let ended = gated(&args, &[]);
    for says in [" new/old ", "| single/poll | cpu ", "Differs: seed is 7 here and was 1 there."] {
        assert!(ended.exits(0).stdout.contains(says), "{says:?} is missing: {ended}");
    }
}

#[test]
fn a_ratio_has_changed_when_its_two_intervals_do_not_overlap() {
    let old = sample::of(&["ping"], &[sample::BASELINE, "poll"]);
    let changed = |times: f64| {
        let mut new = old.clone();
        let rows = new.groups.iter_mut().flat_map(|group| &mut group.rows);
        for figures in rows.filter(|row| row.entrant == "poll").filter_map(|row| row.figures.as_mut()) {
            let cpu = &mut figures.cpu.as_mut().expect("a ratio").ratio;
            cpu.ratio *= times;
            cpu.low = cpu.low.map(|low| low * times);
            cpu.high = cpu.high.map(|high| high * times);
        }
        gates_of(&["ping/poll cpu<=1.5x"], Some(old.clone())).judge(&mut new);
        let gate = new.gates.pop().expect("a gate").outcome;
        let earlier = new.earlier.expect("an earlier result").figures;
        let cpu = earlier.iter().find(|one| one.figure == "cpu").expect("a CPU ratio");
        (cpu.changed, gate)
    };
    assert_eq!(changed(1.0), (Some(false), Outcome::Met));
    assert_eq!(changed(1.3), (Some(true), Outcome::Met));
    assert_eq!(changed(2.0), (Some(true), Outcome::NotMet));
}

#[test]
fn a_baseline_of_another_plan_is_refused_with_each_setting_that_differs() {
    let plan = |change: fn(&mut Plan)| {
        let mut plan = sample::of(&["ping", "open"], &[sample::BASELINE, "poll"]).plan;
        change(&mut plan);
        plan
    };
    let old = || Some(sample::of(&["ping", "open"], &[sample::BASELINE, "poll"]));
    let conflicts = |change| match gates_of(&[], old()).check(&plan(change)) {
        Ok(()) => String::new(),
        Err(why) => why.to_string(),
    };
    for (change, says) in [
        (
            (|plan| plan.workloads[0].size = OneOrMore::One(128)) as fn(&mut Plan),
            "size of the workload ping is 128 here and was 64",
        ),
        (|plan| plan.workloads[1].rate = None, "rate of the workload open is none here and was ["),
        (|plan| drop(plan.workloads.pop()), r#"workloads is ["ping"] here and was ["open","ping"] there"#),
        (|plan| plan.models.push("fork".to_owned()), "models is ["),
        (|plan| plan.workers = 9, "workers is 9 here"),
    ] {
        let why = conflicts(change);
        assert!(why.contains("old.json is of another plan") && why.contains(says), "{says:?}: {why}");
    }
    let allowed = |plan: &mut Plan| {
        plan.models.reverse();
        (plan.seed, plan.starts, plan.slices, plan.precision, plan.pinning) = (7, 9, 9, Some(0.01), None);
    };
    assert_eq!(conflicts(allowed), "");
}

#[test]
fn what_is_no_baseline_is_refused_with_the_cause() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("x.json");
    let refused = |text: &str, says: &[&str]| {
        fs::write(&file, text).expect("a file of ours");
        is_refused(&gated(&format!("--workloads ping --baseline {}", file.display()), &[]), says);
    };
    refused("{}", &["x.json: it is no result: it has no schema"]);
    refused(r#"{"schema": "io-models/load", "schema_version": 3}"#, &["a result of io-models/load"]);
    let mut partial = sample::of(&["ping"], &[sample::BASELINE, "poll"]);
    partial.partial = true;
    refused(&json!(partial).to_string(), &["x.json is of a comparison that was interrupted"]);
    // A row that is not in the earlier result has nothing to be a multiple of.
    let mut old = sample::of(&["ping"], &[sample::BASELINE, "poll"]);
    let plan = old.plan.clone();
    old.groups[0].rows.retain(|row| row.entrant != "poll");
    let why = gates_of(&["cpu<=2x"], Some(old)).check(&plan).expect_err("no such row");
    assert!(why.to_string().contains("old.json does not have it: it has no such row"), "{why}");
    is_refused(&gated("--workloads ping --baseline /nonexistent", &[]), &["cannot read /nonexistent"]);
}

#[test]
fn the_docs_explain_each_figure() {
    let page = include_str!("../../../docs/compare.md");
    let table = page.split("| figure |").nth(1).and_then(|rest| rest.split("\n\n").next()).expect("a table");
    for figure in &FIGURES {
        let name = figure.name;
        assert!(table.contains(&format!("`{name}`")), "docs/compare.md does not explain {name}");
    }
}
