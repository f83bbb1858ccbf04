//! The published schema of a report, `docs/schema/load.json`: it has all that the program writes, and nothing else.

use super::program::{Ended, Program};
use super::servers::{Answer, Server};
use super::{load, start_load};
use crate::support::wait_until;
use io_models::lab::results::load::Report;
use jsonschema::Validator;
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use std::sync::LazyLock;
use std::thread;
use std::time::Duration;

static SCHEMA: LazyLock<Value> = LazyLock::new(|| {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/schema/load.json");
    let text = std::fs::read_to_string(file).expect("the schema that is published");
    serde_json::from_str(&text).expect("one JSON document")
});

static VALIDATOR: LazyLock<Validator> =
    LazyLock::new(|| jsonschema::draft202012::new(&SCHEMA).expect("a schema"));

/// A report is what the schema says, and is read again as it was written.
#[track_caller]
fn is_valid(ended: &Ended) -> Value {
    let report = ended.json();
    let wrong: Vec<_> =
        VALIDATOR.iter_errors(&report).map(|why| format!("{}: {why}", why.instance_path())).collect();
    assert!(wrong.is_empty(), "{wrong:#?}\n{ended}");
    let read = Report::read(ended.stdout.as_bytes()).unwrap_or_else(|why| panic!("{why:#}: {ended}"));
    assert_eq!(json!(read), report, "it is written as it was read");
    assert!(!read.text(Some(80)).is_empty());
    report
}

#[test]
fn the_schema_is_one_and_says_what_each_field_is() {
    jsonschema::draft202012::meta::validate(&SCHEMA).expect("a JSON Schema");
    let mut structs = vec![&*SCHEMA];
    structs.extend(SCHEMA["$defs"].as_object().expect("definitions").values());
    for one in structs.into_iter().filter(|one| one.get("properties").is_some()) {
        assert_eq!(one["additionalProperties"], false, "{one:#}");
        for (name, field) in one["properties"].as_object().expect("fields") {
            assert!(field["description"].is_string(), "{name} has no description: {one:#}");
        }
    }
}

#[test]
fn a_closed_loop_is_valid_with_all_that_it_may_have() {
    let server = Server::echo();
    let args =
        "-c 8 -s 64-1k --idle 1 --slow-reader 10% --reset 10% --pin -d 200ms --warmup 20ms --json --quiet";
    let own = format!("--pid {} --gate busy<=99% --gate lost<=0", std::process::id());
    let report = is_valid(load(server.addr, &format!("{args} {own}")).exits(0));
    assert_eq!((&report["mode"], &report["plan"]["form"]), (&json!("closed"), &json!("closed")));
    assert_eq!(report["plan"]["hostile"]["slow_readers"], 1);
    assert!(report["server"].is_object() && report["hostile"].is_object(), "{report:#}");
    assert_eq!(report["gates"].as_array().map(Vec::len), Some(2));
}

#[test]
fn an_open_loop_is_valid_also_with_a_baseline_and_connections_that_come_and_go() {
    let server = Server::echo();
    let folder = tempfile::tempdir().expect("a folder");
    let old = folder.path().join("old.json").display().to_string();
    let args =
        "-c 2 -R 100 --requests-per-conn 2 -s 64,512 -d 300ms --warmup 20ms --wait sleep --json --quiet";
    load(server.addr, &format!("{args} -o {old}")).measured();
    let report =
        is_valid(load(server.addr, &format!("{args} --baseline {old} --gate connect-p99<=9000x")).measured());
    assert_eq!((&report["mode"], &report["plan"]["form"]), (&json!("open"), &json!("rate")));
    assert!(report["ports"].is_object(), "{report:#}");
    assert!(report["baseline"]["figures"].as_array().is_some_and(|figures| figures.len() > 5), "{report:#}");
}

#[test]
fn a_ramp_a_sweep_and_a_search_for_the_knee_are_valid() {
    let server = Server::echo();
    let always = "-c 2 --warmup 20ms --wait sleep --json --quiet";
    for (form, args) in [
        ("ramp", "--ramp 100:200:100:300ms"),
        ("sweep", "--sweep 100,200 -d 300ms --gate p99<=20s"),
        ("knee", "--find-knee --limit max=20s -R 100 -d 100ms"),
    ] {
        let ended = start_load(server.addr, &format!("{args} {always}")).end_within(3);
        // On a busy machine a search may show no knee, which is exit code 3.
        let ended = if form == "knee" { &ended } else { ended.exits(0) };
        let report = is_valid(ended);
        assert_eq!(report["plan"]["form"], form, "{report:#}");
        assert!(report["rows"].as_array().is_some_and(|rows| rows.len() > 1), "{report:#}");
        assert_eq!(report["knee"].is_object(), form == "knee", "{report:#}");
    }
}

#[test]
fn a_failed_run_is_valid() {
    let server = Server::wrong_once(64, (1, 1), |request| {
        let mut bytes = request.bytes.clone();
        bytes[5] ^= 1;
        Answer::Bytes(bytes)
    });
    let report = is_valid(load(server.addr, "-c 3 -d 300ms --json --quiet --gate lost<=0").exits(1));
    assert_eq!(report["lost"][0]["kind"], "corrupted", "{report:#}");
    assert!(report["diagnosis"].as_array().is_some_and(|all| !all.is_empty()), "{report:#}");
    assert_eq!(report["gates"][0]["outcome"], "not_met", "{report:#}");
}

#[test]
fn a_run_without_an_answer_is_valid() {
    let server = Server::start(|_, _, _| {
        thread::sleep(Duration::from_millis(1));
        Ok(())
    });
    is_valid(load(server.addr, "-c 1 -d 50ms --timeout 50ms --json --quiet").exits(1));
}

#[test]
fn an_interrupted_run_is_valid() {
    let server = Server::echo();
    let load = start_load(server.addr, "-c 2 -d 10m --warmup 10ms --json --quiet --gate lost<=0");
    wait_until("the load is on", || server.answers() > 200);
    load.signal(Signal::SIGINT);
    let report = is_valid(load.end().exits(130));
    assert_eq!((&report["partial"], &report["gates"][0]["outcome"]), (&json!(true), &json!("not_judged")));
}

#[test]
fn a_merged_report_is_valid_also_of_logs_that_do_not_tell_all() {
    let server = Server::echo();
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name).display().to_string();
    let (a, b, log) = (at("a.json"), at("b.json"), at("c.hlog"));
    let always = "-d 200ms --warmup 20ms --wait sleep --json --quiet";
    load(server.addr, &format!("-c 2 {always} -o {a}")).exits(0);
    load(server.addr, &format!("-c 3 {always} -o {b} --hlog {log}")).exits(0);
    for files in [format!("{a} {b}"), format!("{a} {log}"), log.clone()] {
        let merged = is_valid(Program::start(&format!("merge --json --quiet {files}")).end().exits(0));
        assert_eq!(merged.get("littles_law"), None, "only one generator can tell: {merged:#}");
    }
    // As another program writes it.
    let text = std::fs::read_to_string(&log).expect("a log");
    let without_plan: Vec<_> = text.lines().filter(|line| !line.contains("plan: ")).collect();
    std::fs::write(&log, without_plan.join("\n")).expect("a file of ours");
    let merged = is_valid(Program::start(&format!("merge --json --quiet {log}")).end().exits(0));
    assert_eq!((&merged["mode"], &merged["plan"]), (&Value::Null, &Value::Null));
}

/// The places of all objects in a document.
fn objects(value: &Value, at: String, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            found.push(at.clone());
            fields.iter().for_each(|(name, field)| objects(field, format!("{at}/{name}"), found));
        }
        Value::Array(all) => {
            all.iter().enumerate().for_each(|(i, one)| objects(one, format!("{at}/{i}"), found));
        }
        _ => {}
    }
}

#[test]
fn a_field_too_many_or_too_few_is_not_valid() {
    let server = Server::echo();
    let args = "-c 8 --slow-reader 10% --sweep 100,200 -d 200ms --warmup 20ms --json --quiet --gate p99<=20s";
    let own = format!("--pid {}", std::process::id());
    let report = is_valid(load(server.addr, &format!("{args} {own}")).exits(0));
    let mut places = Vec::new();
    objects(&report, String::new(), &mut places);
    // Whatever settings there are.
    places.retain(|place| place != "/environment/sysctls");
    assert!(places.len() > 20, "{places:?}");
    for place in places {
        let mut more = report.clone();
        let object = more.pointer_mut(&place).and_then(Value::as_object_mut).expect("an object");
        let fields: Vec<_> = object.keys().cloned().collect();
        object.insert("of_another_version".to_owned(), json!(1));
        assert!(!VALIDATOR.is_valid(&more), "one field more at {place:?}");
        for field in fields {
            let mut less = report.clone();
            less.pointer_mut(&place).and_then(Value::as_object_mut).expect("an object").remove(&field);
            assert!(!VALIDATOR.is_valid(&less), "without {field} at {place:?}");
        }
    }
}
