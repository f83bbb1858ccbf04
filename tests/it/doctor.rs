//! `io-models doctor`: what limits a server is named, and taken away.

use crate::cli::fails;
use crate::demo::has_compiler;
use crate::load::program::{Ended, Program, io_models};
use crate::support::{children, descriptors, on_a_terminal, process, wait_within};
use io_models::lab::lang::Lang;
use io_models::lab::results::doctor::{Diagnosed, How, Kind, Note, Seen, Verdict, What};
use io_models::sys::signal::Signal;
use nix::unistd::Pid;
use procfs::process::Process;
use serde_json::Value;
use std::path::PathBuf;
use std::process::Command;
use std::sync::LazyLock;
use std::time::Duration;

/// How long an examination may take on a busy machine, in deadlines.
const LONG: u32 = 10;

/// tests/servers/limited, compiled. `None` where there is no compiler.
fn limited() -> Option<&'static PathBuf> {
    static BUILT: LazyLock<Option<PathBuf>> = LazyLock::new(|| {
        has_compiler().then(|| {
            let to = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("limited");
            let from = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/servers/limited/limited.cpp");
            let options = ["-std=c++17", "-O2", "-Wall", "-Wextra", "-pthread", "-o"];
            let built = Command::new("c++").args(options).arg(&to).arg(from).status();
            assert!(built.expect("c++ was there").success(), "{from} is compiled");
            to
        })
    });
    BUILT.as_ref()
}

/// Examine the server with this planted limiter.
fn examined(what: &str, options: &str) -> Option<Ended> {
    let server = limited()?;
    let mut command = io_models(&format!("doctor --json {options} --"));
    command.arg(server).args([what, "{port}"]);
    Some(Program::spawn(command).end_within(LONG))
}

fn found(ended: &Ended) -> Diagnosed {
    ended.exits(0);
    Diagnosed::read(&ended.stdout).unwrap_or_else(|why| panic!("{why}: {ended}"))
}

/// An examination of the server with this planted limiter finds that it limits the server: what was seen without `how`, and with it.
fn limits(name: &str, what: What, how: How) -> Option<(Seen, Seen)> {
    let ended = examined(name, "")?;
    let found = found(&ended);
    let limiter = found.limiters.iter().find(|limiter| limiter.what == what).expect("each is judged");
    assert_eq!(limiter.verdict, Verdict::Limits, "{ended}");
    let lifted = limiter.lifted.iter().find(|lifted| lifted.how == how).unwrap_or_else(|| panic!("{ended}"));
    Some((lifted.before, lifted.after))
}

/// One examination for several tests: of a server whose answers wait for delayed acknowledgements.
fn nagle() -> Option<&'static Ended> {
    static ENDED: LazyLock<Option<Ended>> = LazyLock::new(|| examined("nagle", ""));
    ENDED.as_ref()
}

#[test]
fn answers_that_wait_for_acknowledgements_are_told_and_do_not_wait_with_tcp_nodelay() {
    let Some(ended) = nagle() else { return };
    let found = found(ended);
    assert_eq!(found.limits().map(|limiter| limiter.what).collect::<Vec<_>>(), [What::Nagle], "{ended}");
    let limiter = found.limits().next().expect("there is one");
    let lifted = limiter.lifted.first().expect("it was taken away");
    assert_eq!(lifted.how, How::NoDelay);
    assert!(lifted.ratio > 2.0, "{ended}");
    assert_eq!(found.limiters.iter().map(|limiter| limiter.what).collect::<Vec<_>>(), What::ALL);
    assert_eq!(found.loads.iter().map(|load| load.kind).collect::<Vec<_>>(), Kind::ALL);
    let alone = found.load(Kind::OneConnection).expect("it was measured").server;
    assert!(alone.p50_us.is_some_and(|us| us > 30_000.0), "{ended}");
}

#[test]
fn each_call_is_counted() {
    let Some(ended) = nagle() else { return };
    let found = found(ended);
    let Some(calls) = found.calls else {
        let why = found.notes.iter().find(|note| matches!(note, Note::CallsNotCounted { .. }));
        panic!("calls are counted where servers may be traced: {why:?}");
    };
    let counted = |calls: &io_models::lab::results::doctor::Calls| -> Vec<(String, f64)> {
        calls.per_request.clone().into_iter().collect()
    };
    let named = |calls: &[(&str, f64)]| -> Vec<_> {
        calls.iter().map(|(name, n)| ((*name).to_owned(), *n)).collect()
    };
    let once = [("epoll_wait", 1.0), ("recvfrom", 1.0), ("sendto", 1.0)];
    assert_eq!(counted(&calls.reference), named(&once));
    assert_eq!(counted(&calls.server), named(&[once[0], once[1], ("sendto", 2.0)]));
    assert_eq!(
        (calls.server.backlog, calls.server.threads, calls.server.sets_nodelay),
        (Some(4096), 1, false)
    );
}

#[test]
fn the_document_is_what_its_schema_says() {
    let Some(ended) = nagle() else { return };
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/schema/doctor.json");
    let schema: Value = serde_json::from_str(&std::fs::read_to_string(file).expect(file)).expect("JSON");
    jsonschema::draft202012::meta::validate(&schema).expect("a JSON Schema");
    let validator = jsonschema::draft202012::new(&schema).expect("a schema");
    let document = ended.json();
    let wrong: Vec<_> =
        validator.iter_errors(&document).map(|why| format!("{}: {why}", why.instance_path())).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
    let mut other = document;
    other["limiters"][0]["other"] = 1.into();
    assert!(!validator.is_valid(&other));
}

#[test]
fn a_saved_diagnosis_is_shown_again_on_any_terminal_in_both_languages() {
    let Some(ended) = nagle() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("found.json");
    std::fs::write(&file, &ended.stdout).expect("a file");
    for columns in [80, 120] {
        let screen = on_a_terminal(columns, io_models(&format!("report {}", file.display())));
        screen.fits().exits(0).shows(&[
            "Nagle",
            "limits it.",
            "With TCP_NODELAY on its sockets",
            "epoll-level",
        ]);
    }
    let screen = on_a_terminal(80, io_models(&format!("report {} --lang zh", file.display())));
    screen.fits().exits(0).shows(&["是限制因素", "设置 TCP_NODELAY"]);
    let line = format!("report {} --html {}", file.display(), folder.path().join("page.html").display());
    assert!(fails(&line.split(' ').collect::<Vec<_>>(), 2).contains("text alone"));
}

/// Its numbers, each of which can be replaced.
fn numbers<'a>(value: &'a mut Value, all: &mut Vec<&'a mut Value>) {
    match value {
        Value::Number(_) => all.push(value),
        Value::Array(values) => values.iter_mut().for_each(|value| numbers(value, all)),
        Value::Object(fields) => fields.values_mut().for_each(|value| numbers(value, all)),
        _ => {}
    }
}

#[test]
fn no_number_in_a_saved_diagnosis_makes_it_panic() {
    let seed = include_str!("../../fuzz/seeds/result/doctor.json");
    let mut document: Value = serde_json::from_str(seed).expect("JSON");
    Diagnosed::read(seed).expect("a seed is a document");
    let environment = document["environment"].take();
    let count = {
        let mut all = Vec::new();
        numbers(&mut document, &mut all);
        all.len()
    };
    for at in 0..count {
        for with in [0.into(), 1e300.into(), (-1).into(), u64::MAX.into(), Value::Null] {
            let mut changed = document.clone();
            let mut all = Vec::new();
            numbers(&mut changed, &mut all);
            *all[at] = with;
            changed["environment"] = environment.clone();
            if let Ok(found) = Diagnosed::read(&changed.to_string()) {
                drop((found.text(Some(80), Lang::En), found.text(None, Lang::Zh)));
            }
        }
    }
}

#[test]
fn bad_usage_is_told_with_the_remedy() {
    let refused = |line: &[&str], part: &str| {
        let complaint = fails(line, 2);
        assert!(complaint.contains(part), "{complaint}");
    };
    refused(&["doctor"], "io-models doctor -- ./my_server {port}");
    refused(&["doctor", "--", "./my_server"], "does not say {port}");
    refused(&["doctor", "./my_server"], "io-models doctor './my_server {port}'");
    refused(&["doctor", "epol-level"], "the nearest: epoll-level");
    let ended = Program::spawn(io_models("doctor -- false {port}")).end();
    ended.exits(1).says_one_line(&["ended before it listened"]);
}

/// The process below `process` that was started with these words.
fn below(process: &Process, words: &str) -> Option<Process> {
    let of = |pid: Pid| Process::new(pid.as_raw()).ok();
    let is_it = |child: &Process| child.cmdline().is_ok_and(|line| line.join(" ").contains(words));
    let below = children(process).into_iter().filter_map(of);
    below.into_iter().find_map(|child| below_or_itself(child, words, &is_it))
}

fn below_or_itself(child: Process, words: &str, is_it: &dyn Fn(&Process) -> bool) -> Option<Process> {
    // A supervisor has the words of its server as well.
    let is_supervisor = child.cmdline().is_ok_and(|line| line.iter().any(|word| word == "supervise"));
    if !is_supervisor && is_it(&child) { Some(child) } else { below(&child, words) }
}

#[test]
fn ctrl_c_prints_what_was_measured() {
    let program = Program::spawn(io_models("doctor --json poll"));
    let ours = process(program.pid());
    let mut reference = None;
    // Each of its turns under the first load has 64 clients. How many of these there are depends on how much they differ.
    wait_within(Duration::from_secs(90), "64 clients of the reference", || {
        reference = below(&ours, "serve epoll-level");
        reference.as_ref().is_some_and(|reference| descriptors(reference) >= 64)
    });
    let reference = reference.expect("it has clients");
    // Under the next load it works for one client. While 64 come or leave there is one for a moment, for which it does little.
    let ran = || Duration::from_nanos(reference.schedstat().expect("it runs").sum_exec_runtime);
    let (mut fewest, mut began) = (usize::MAX, None);
    wait_within(Duration::from_secs(90), "one client of the reference alone", || {
        let open = descriptors(&reference);
        fewest = fewest.min(open);
        if open != fewest + 1 || open >= 64 {
            began = None;
            return false;
        }
        let now = ran();
        now - *began.get_or_insert(now) >= Duration::from_millis(5)
    });
    program.signal(Signal::SIGINT);
    let ended = program.end_within(1);
    ended.exits(130);
    let found = Diagnosed::read(&ended.stdout).expect("a document");
    assert!(found.partial, "{ended}");
    assert_eq!(found.loads.first().map(|load| load.kind), Some(Kind::Requests), "{ended}");
}

#[test]
fn a_server_that_fails_under_other_loads_still_has_a_number() {
    let Some(ended) = examined("cuts", "--payload text") else { return };
    let found = found(&ended);
    assert!(found.load(Kind::Requests).is_some() && found.load(Kind::LargeMessages).is_none(), "{ended}");
    let is_told = |is_it: &dyn Fn(&Note) -> bool| assert!(found.notes.iter().any(is_it), "{ended}");
    is_told(&|note| matches!(note, Note::FailsCheck { .. }));
    is_told(&|note| matches!(note, Note::LoadFailed { load: Kind::LargeMessages, .. }));
    let buffers = found.limiters.iter().find(|limiter| limiter.what == What::SmallBuffers);
    assert_eq!(buffers.map(|limiter| limiter.verdict), Some(Verdict::NotKnown), "{ended}");
}

#[test]
fn turns_that_differ_are_told_and_measured_more_often() {
    let Some(ended) = examined("second-turn", "") else { return };
    let found = found(&ended);
    let load = found.load(Kind::Requests).expect("it was measured");
    assert!(load.ratios.len() > 3 && load.ratios.iter().any(|ratio| *ratio < 0.4), "{ended}");
    assert!(found.notes.iter().any(|note| matches!(note, Note::TurnsDiffer { .. })), "{ended}");
}

#[test]
fn a_server_that_a_load_ends_is_started_again() {
    let Some(ended) = examined("crashes", "") else { return };
    let found = found(&ended);
    let is_large = |note: &Note| matches!(note, Note::LoadFailed { load: Kind::LargeMessages, .. });
    assert!(found.notes.iter().any(is_large), "{ended}");
    assert!(found.load(Kind::Pipelined).is_some(), "{ended}");
    assert_eq!(found.limiters.len(), What::ALL.len(), "{ended}");
}

#[test]
fn a_server_that_answers_wrongly_has_no_number() {
    let program = env!("CARGO_BIN_EXE_io-models");
    let mut command = io_models("doctor");
    command.arg(format!("{program} serve epoll-level --reply ok --listen 127.0.0.1:{{port}}"));
    Program::spawn(command).end_within(2).exits(1).says_one_line(&["failed under the load"]);
}

#[test]
#[ignore = "takes minutes: `cargo test --test it doctor -- --ignored`"]
fn what_was_planted_in_a_server_is_named() {
    // Connections that come late hardly change the number: others come instead.
    if let Some((before, after)) = limits("backlog", What::Backlog, How::LongerQueue) {
        assert!(before.slowest_connection_ms >= Some(900.0) && after.lost == 0, "{before:?} {after:?}");
    }
    if let Some((before, after)) = limits("buffers", What::SmallBuffers, How::LargerBuffers) {
        assert!(after.per_s > before.per_s, "{before:?} {after:?}");
    }
    // What these cost is a matter of times, which a busy machine hides. That it was looked at is not.
    let looked_at = |name: &str, what: What, how: How, is_seen: &dyn Fn(&Diagnosed) -> bool| {
        let Some(ended) = examined(name, "") else { return };
        let found = found(&ended);
        assert!(is_seen(&found), "{ended}");
        let limiter = found.limiters.iter().find(|limiter| limiter.what == what).expect("each is judged");
        assert!(limiter.lifted.iter().any(|lifted| lifted.how == how), "{ended}");
    };
    looked_at("prints", What::CallsPerRequest, How::NoOutput, &|found| {
        found.calls.as_ref().is_some_and(|calls| calls.server.prints_per_request >= 0.99)
    });
    looked_at("wake-ups", What::WakeUps, How::EightAtOnce, &|found| {
        found.load(Kind::Requests).and_then(|load| load.server.waits_per_answer) >= Some(0.5)
    });
    // Of a model beside itself, nothing points to these.
    let ended = Program::spawn(io_models("doctor --json epoll-level")).end_within(LONG);
    let never = [What::Backlog, What::Ports, What::WakeUps, What::CallsPerRequest, What::Nagle, What::Lock];
    assert!(found(&ended).limits().all(|limiter| !never.contains(&limiter.what)), "{ended}");
    // A lock that one thread holds while it waits: nobody is busy, and threads wait for each other.
    looked_at("lock", What::Lock, How::OneProcessor, &|found| {
        found.calls.as_ref().is_some_and(|calls| calls.server.futex_per_request >= 0.5)
    });
}
