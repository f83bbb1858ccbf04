//! Gates of a load, an earlier run beside it, and both as JUnit XML.

use super::program::{Ended, Program, io_models};
use super::servers::{Answer, Server};
use super::{load, report, report_of, start_load};
use crate::support::wait_until;
use io_models::lab::load::gates::{FIGURES, not_met};
use nix::sys::signal::Signal;
use quick_junit::{NonSuccessKind, Report, TestCaseStatus};
use serde_json::{Value, json};
use std::fs;
use std::net::SocketAddr;
use std::thread;
use std::time::Duration;
use tempfile::TempDir;

const SHORT: &str = "-c 4 -d 200ms --warmup 20ms --wait sleep --quiet";

/// Gates have blanks in them, so they are arguments of their own.
fn gated(addr: SocketAddr, args: &str, gates: &[&str]) -> Ended {
    let mut command = io_models(&format!("load {addr} {SHORT} {args}"));
    command.args(gates.iter().flat_map(|gate| ["--gate", gate]));
    Program::spawn(command).end()
}

/// Nothing was asked of the server, and the line says all of `parts`.
#[track_caller]
fn is_refused(server: &Server, ended: &Ended, parts: &[&str]) {
    ended.exits(2).says_one_line(parts);
    assert_eq!((ended.stdout.as_str(), server.answers()), ("", 0), "nothing was measured: {ended}");
}

#[test]
fn a_run_that_meets_its_gates_exits_with_0_and_shows_them() {
    let server = Server::echo();
    let pid = format!("--requests-per-conn 5 --pid {}", std::process::id());
    let gates = [
        "p50 <= 20s",
        "p99.9<20s",
        "max<20s",
        "achieved>=0.1",
        "connect-p99<20s",
        "wrong<=0",
        "lost<=0",
        "unanswered<=0",
        "cpu<1s",
        "busy<=99%",
    ];
    let ended = gated(server.addr, &pid, &gates);
    ended.exits(0);
    for says in [
        "gates          p50 <= 20s is met: service time p50 (closed loop) is ",
        "cpu<1s is met: CPU time of the server per answer is ",
        "lost<=0 is met: the number of lost connections is 0\n",
    ] {
        assert!(ended.stdout.contains(says), "{says:?} is missing: {ended}");
    }
    assert_eq!(ended.stdout.matches(" is met: ").count(), gates.len(), "{ended}");
}

#[test]
fn a_gate_that_is_not_met_exits_with_3_and_names_what_was_measured() {
    let server = Server::answering(64, |request| {
        thread::sleep(Duration::from_millis(2));
        Answer::Bytes(request.bytes.clone())
    });
    let ended = gated(server.addr, "--json", &["p50<=1ms", "lost<=0", "achieved>1M"]);
    let says = [
        "2 of 3 gates not met: p50<=1ms: service time p50 (closed loop) is ",
        " ms; achieved>1M: the achieved rate",
    ];
    ended.exits(3).says_one_line(&says);
    let gates = report(&ended)["gates"].clone();
    let outcomes: Vec<_> = gates.as_array().expect("gates").iter().map(|gate| &gate["outcome"]).collect();
    assert_eq!(outcomes, ["not_met", "met", "not_met"]);
    assert_eq!((&gates[0]["limit"], &gates[0]["row"]), (&json!(1000.0), &Value::Null));
    assert!(gates[0]["measured"].as_f64().is_some_and(|us| us >= 2000.0), "{gates:#}");
}

#[test]
fn a_gate_is_on_each_rate_of_a_sweep_unless_it_names_one() {
    let server = Server::echo();
    let ended = gated(server.addr, "--sweep 200,300 --json", &["p99<=0us", "300 p99<=20s", "busy<=99%"]);
    let says = [
        "2 of 4 gates not met",
        "p99<=0us: 200 requests/s: response time p99 is ",
        "300 requests/s: response time",
    ];
    ended.exits(3).says_one_line(&says);
    let gates = report_of("open", &ended)["gates"].clone();
    let rows: Vec<_> = gates.as_array().expect("gates").iter().map(|gate| gate["row"].clone()).collect();
    assert_eq!(
        rows,
        [json!("200 requests/s"), json!("300 requests/s"), json!("300 requests/s"), Value::Null]
    );
}

#[test]
fn a_rate_that_binary_fractions_do_not_have_is_a_row_all_the_same() {
    let server = Server::echo();
    let line = format!("load {} -c 4 --warmup 20ms --wait sleep --quiet", server.addr);
    let mut command = io_models(&format!("{line} --ramp 100.3:100.4:0.1:200ms --json"));
    command.args(["--gate", "100.4 p99<=20s"]);
    let ended = Program::spawn(command).end();
    let gates = report_of("open", ended.exits(0))["gates"].clone();
    assert_eq!((gates[0]["outcome"].as_str(), gates[1].as_object()), (Some("met"), None), "{gates:#}");
}

#[test]
fn what_was_not_measured_meets_no_gate() {
    let server = Server::answering(64, |request| {
        thread::sleep(Duration::from_millis(20));
        Answer::Bytes(request.bytes.clone())
    });
    let line = format!("load {} -c 4 -R 2 -d 150ms --warmup 10ms --quiet", server.addr);
    let ended =
        Program::start(&format!("{line} --find-knee --limit max=1ms --gate p99<=1h --gate wrong<=0")).end();
    ended.exits(3).says_one_line(&[
        "no rate was shown to keep",
        "1 of 2 gates not met: p99<=1h",
        "was not measured",
    ]);
}

/// It answers fifty requests per second.
fn overloaded() -> Server {
    Server::answering(64, |request| {
        thread::sleep(Duration::from_millis(20));
        Answer::Bytes(request.bytes.clone())
    })
}

#[test]
fn requests_without_an_answer_keep_no_limit_however_short_they_waited() {
    let server = overloaded();
    let line = format!("load {} -c 1 -d 300ms --warmup 0 --wait sleep --quiet --json", server.addr);
    let gates = "--gate p50<=1h --gate p99<=1h --gate max<=1h";
    let ended = Program::start(&format!("{line} -R 500 {gates}")).end();
    ended.exits(3).says_one_line(&[
        "MISSED ITS RATE",
        "3 of 3 gates not met",
        "response time p99 is at least ",
    ]);
    // A rate of a sweep that is missed does not give exit code 3 of itself.
    let ended = Program::start(&format!("{line} --sweep 1000,500 --gate p99<=1h")).end();
    let says =
        ["2 of 2 gates not met: p99<=1h: 1,000 requests/s: response time p99 is at least ", "500 requests/s"];
    ended.exits(3).says_one_line(&says);
    assert_eq!(report_of("open", &ended)["gates"][0]["is_least"], true, "{ended}");
}

#[test]
fn a_lost_connection_is_exit_1_and_its_gate_is_not_met() {
    let server = Server::wrong_once(64, (1, 1), |_| Answer::Reset);
    let ended = gated(server.addr, "", &["lost<=0"]);
    ended.exits(1).says_one_line(&["1 of 4 connections lost"]);
    assert!(ended.stdout.contains("lost<=0 is not met: the number of lost connections is 1"), "{ended}");
}

#[test]
fn bad_gates_are_refused_before_anything_is_measured() {
    let server = Server::echo();
    for (gate, args, says) in [
        ("p98<=1ms", "", &["no figure `p98`", "the nearest: p90, p99;", "all: p50, p90"][..]),
        ("p99", "", &["has no limit: write FIGURE<=VALUE in quotes"]),
        ("p99<=1", "", &["the unit is missing: write 1us, 1ms or 1s"]),
        ("cpu<=1ms", "", &["`cpu<=1ms`", "give --pid"]),
        ("cpu<=1ms", "--pid 1 --reset 10%", &["badly behaved clients"]),
        ("connect-p99<=1ms", "", &["give --requests-per-conn"]),
        ("p99<=1.1x", "", &["give --baseline"]),
        ("20k p99<=1ms", "", &["no rows", "`20k`"]),
        ("20k p99<=1ms", "--sweep 1k,2k", &["no row `20k`", "1,000, 2,000"]),
        ("fast p99<=1ms", "-R 1k", &["a row is one of the rates"]),
        ("1k lost<=0", "-R 1k", &["lost is of the whole run"]),
        ("@/nonexistent/gates", "", &["cannot read the gates of /nonexistent/gates: No such file"]),
    ] {
        is_refused(&server, &gated(server.addr, args, &[gate]), says);
    }
}

#[test]
fn a_file_has_a_gate_in_each_line() {
    let server = Server::echo();
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("gates.txt");
    let gates = format!("@{}", file.display());
    fs::write(&file, "# what we promise\np99 <= 20s\n\nlost<=0 # none\n").expect("a file of ours");
    let ended = gated(server.addr, "", &[&gates]);
    assert_eq!(ended.exits(0).stdout.matches(" is met: ").count(), 2, "{ended}");
    fs::write(&file, "p99<=20s\np99<=1parsec\n").expect("a file of ours");
    gated(server.addr, "", &[&gates]).exits(2).says_one_line(&["gates.txt, line 2", "no such unit: parsec"]);
}

/// Interrupt a load while it is on.
fn interrupted(args: &str) -> Ended {
    let server = Server::echo();
    let load = start_load(server.addr, &format!("-c 2 -d 10m --warmup 10ms --quiet {args}"));
    wait_until("the load is on", || server.answers() > 200);
    load.signal(Signal::SIGTERM);
    load.end()
}

#[test]
fn an_interrupted_run_passes_no_gate_and_says_so() {
    let folder = tempfile::tempdir().expect("a folder");
    let junit = folder.path().join("junit.xml");
    let ended = interrupted(&format!("--gate lost<=0 --gate p99<=0us --junit {}", junit.display()));
    ended.exits(143);
    assert_eq!(ended.stdout.matches("is not judged: interrupted\n").count(), 2, "{ended}");
    let xml = fs::read_to_string(&junit).expect("a file that was written");
    let report = Report::deserialize_from_str(&xml).expect("JUnit XML");
    assert_eq!((report.tests, report.errors, report.failures), (3, 3, 0), "{xml}");
}

#[test]
fn junit_has_a_case_for_each_gate_and_one_for_the_bytes() {
    let server = Server::echo();
    let folder = tempfile::tempdir().expect("a folder");
    let junit = folder.path().join("junit.xml");
    let args = format!("-R 100 --junit {}", junit.display());
    gated(server.addr, &args, &["p99<=0us", "wrong<=0"]).exits(3);
    let xml = fs::read_to_string(&junit).expect("a file that was written");
    let report = Report::deserialize_from_str(&xml).expect("JUnit XML");
    let cases: Vec<_> = report.test_suites.iter().flat_map(|suite| &suite.test_cases).collect();
    let names: Vec<_> = cases.iter().map(|case| case.name.as_str()).collect();
    assert_eq!(
        names,
        ["every byte right, no connection lost", "the rate that was asked for", "p99<=0us", "wrong<=0"]
    );
    let TestCaseStatus::NonSuccess { kind: NonSuccessKind::Failure, message, .. } = &cases[2].status else {
        panic!("{xml}");
    };
    let message = message.as_ref().expect("what was measured");
    assert!(message.as_str().starts_with("not met: response time p99 is "), "{xml}");
    assert!(matches!(cases[0].status, TestCaseStatus::Success { .. }), "{xml}");
    assert!(matches!(cases[3].status, TestCaseStatus::Success { .. }), "{xml}");
}

#[test]
fn junit_of_a_run_that_lost_a_connection_has_a_failure() {
    let server = Server::wrong_once(64, (1, 1), |_| Answer::Reset);
    let folder = tempfile::tempdir().expect("a folder");
    let junit = folder.path().join("junit.xml");
    gated(server.addr, &format!("--junit {}", junit.display()), &[]).exits(1);
    let xml = fs::read_to_string(&junit).expect("a file that was written");
    assert_eq!(Report::deserialize_from_str(&xml).expect("JUnit XML").failures, 1, "{xml}");
    assert!(xml.contains("1 of 4 connections lost"), "{xml}");
}

/// A folder with the report of a run in `old.json`.
fn recorded(addr: SocketAddr, args: &str) -> (TempDir, String) {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("old.json").display().to_string();
    gated(addr, &format!("{args} --json -o {file}"), &[]).measured();
    (folder, file)
}

#[test]
fn an_earlier_run_is_shown_beside_this_one_with_the_ratios() {
    let server = Server::echo();
    let (_folder, old) = recorded(server.addr, "");
    let ended =
        gated(server.addr, &format!("--baseline {old} --json"), &["p99<=1000000x", "achieved>=1000000x"]);
    let says = ["1 of 2 gates not met: achieved>=1000000x: the achieved rate is ", ", and the limit is "];
    ended.exits(3).says_one_line(&says);
    let (report, before) = (report(&ended), fs::read_to_string(&old).expect("a report"));
    let before: Value = serde_json::from_str(&before).expect("one JSON document");
    let baseline = &report["baseline"];
    assert_eq!((&baseline["file"], &baseline["started_unix_s"]), (&json!(old), &before["started_unix_s"]));
    let figures = baseline["figures"].as_array().expect("figures");
    let achieved = figures.iter().find(|one| one["figure"] == "achieved").expect("a rate");
    assert_eq!((&achieved["old"], &achieved["new"]), (&before["achieved_per_s"], &report["achieved_per_s"]));
    let number = |name: &str| achieved[name].as_f64().expect("a number");
    assert!((number("ratio") - number("new") / number("old")).abs() < 1e-9, "{achieved}");

    let ended = gated(server.addr, &format!("--baseline {old}"), &[]);
    for says in ["new/old", "one run against one run has no interval", "`io-models compare`", "achieved "] {
        assert!(ended.exits(0).stdout.contains(says), "{says:?} is missing: {ended}");
    }
}

#[test]
fn each_rate_of_a_sweep_is_compared_with_itself() {
    let server = Server::echo();
    let (_folder, old) = recorded(server.addr, "--sweep 200,300");
    let ended = gated(server.addr, &format!("--sweep 200,300 --baseline {old} --json"), &["p50<=1000000x"]);
    let report = report_of("open", ended.exits(0));
    let figures = report["baseline"]["figures"].as_array().expect("figures");
    let rows: Vec<_> = figures.iter().filter(|one| one["figure"] == "p50").map(|one| &one["row"]).collect();
    assert_eq!(rows, ["200 requests/s", "300 requests/s"]);
}

#[test]
fn what_differs_between_the_machines_is_said() {
    let server = Server::echo();
    let (_folder, old) = recorded(server.addr, "");
    let text = fs::read_to_string(&old).expect("a report");
    let mut report: Value = serde_json::from_str(&text).expect("one JSON document");
    report["environment"]["kernel"] = json!("2.6.9");
    fs::write(&old, report.to_string()).expect("a file of ours");
    let ended = gated(server.addr, &format!("--baseline {old} --json"), &[]);
    let differs = self::report(ended.exits(0))["baseline"]["environment"].clone();
    let kernel = differs.as_array().into_iter().flatten().find(|one| one["key"] == "kernel");
    assert_eq!(kernel.map(|kernel| &kernel["there"]), Some(&json!("2.6.9")), "{differs:#}");
    let times = differs.as_array().into_iter().flatten().filter(|one| one["key"] == "started");
    assert_eq!(times.count(), 0, "that says nothing of the machine: {differs:#}");
    let ended = gated(server.addr, &format!("--baseline {old}"), &[]);
    assert!(ended.exits(0).stdout.contains(" here and was 2.6.9 there\n"), "{ended}");
}

#[test]
fn a_generator_that_was_the_limit_is_named_with_the_gate() {
    let server = Server::echo();
    let ended = gated(server.addr, "--json", &["p99<=0us"]);
    let mut report = io_models::lab::results::load::Report::read(ended.exits(3).stdout.as_bytes()).unwrap();
    for is_limit in [false, true] {
        report.alone.as_mut().expect("of one generator").generator_was_the_limit = is_limit;
        let line = not_met(&report).expect("a gate that was not met");
        assert_eq!(line.contains("the generator was late or busy itself"), is_limit, "{line}");
    }
}

#[test]
fn a_baseline_of_another_plan_is_refused_with_each_setting_that_differs() {
    let server = Server::echo();
    let (_folder, old) = recorded(server.addr, "");
    let quiet = Server::echo();
    let ended = gated(quiet.addr, &format!("-s 128 --depth 2 --baseline {old}"), &[]);
    let says = [
        "of another plan",
        "sizes is {\"fixed\":128} here and was {\"fixed\":64} there; depth is 2 here and was 1 there",
    ];
    is_refused(&quiet, &ended, &says);
    // Clients that behave badly are a part of the plan, and so is a limit.
    is_refused(&quiet, &gated(quiet.addr, &format!("--reset 10% --baseline {old}"), &[]), &["hostile is "]);
}

#[test]
fn what_is_no_baseline_is_refused_with_the_cause() {
    let server = Server::echo();
    let (folder, old) = recorded(server.addr, "");
    let whole: Value = serde_json::from_str(&fs::read_to_string(&old).expect("a report")).expect("JSON");
    let quiet = Server::echo();
    let refused = |text: &str, says: &[&str]| {
        let file = folder.path().join("x.json");
        fs::write(&file, text).expect("a file of ours");
        is_refused(&quiet, &gated(quiet.addr, &format!("--baseline {}", file.display()), &[]), says);
    };
    let changed = |key: &str, value: Value| {
        let mut report = whole.clone();
        report[key] = value;
        report.to_string()
    };
    refused("{}", &["x.json: it has no schema"]);
    refused(&changed("schema", json!("io-models/compare")), &["its schema is io-models/compare"]);
    refused(&changed("schema_version", json!(2)), &["its schema_version is 2, and only 3 is known here"]);
    refused(&changed("partial", json!(true)), &["did not come to its end: interrupted"]);
    refused(&changed("completed", json!(0)), &["of a run that failed: nothing was measured"]);
    refused(&changed("seconds", json!("long")), &["a damaged report"]);
    refused(&changed("littles_law", Value::Null), &["a damaged report"]);
    let missing = gated(quiet.addr, "--baseline /nonexistent/old.json", &[]);
    is_refused(&quiet, &missing, &["cannot read the baseline /nonexistent/old.json: No such file"]);
    let merged = folder.path().join("merged.json").display().to_string();
    Program::start(&format!("merge {old} --json -o {merged}")).end().exits(0);
    let merged = gated(quiet.addr, &format!("--baseline {merged}"), &[]);
    is_refused(&quiet, &merged, &["was merged of 1 run"]);
    // The earlier run did not know the server's process.
    let args = format!("--pid {} --baseline {old}", std::process::id());
    is_refused(
        &quiet,
        &gated(quiet.addr, &args, &["cpu<=2x"]),
        &["`cpu<=2x`", "old.json does not have this figure"],
    );
}

#[test]
fn gates_are_for_loads_and_not_for_self_tests() {
    let ended = load("127.0.0.1:1".parse().expect("an address"), "--self-test --gate lost<=0");
    ended.exits(2).says_one_line(&["cannot be used with"]);
}

#[test]
fn the_docs_explain_each_figure() {
    let page = include_str!("../../../docs/load.md");
    let table = page.split("| figure |").nth(1).and_then(|rest| rest.split("\n\n").next()).expect("a table");
    for figure in &FIGURES {
        assert!(
            table.contains(&format!("`{}`", figure.name)),
            "docs/load.md does not explain {}",
            figure.name
        );
    }
}
