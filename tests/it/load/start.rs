//! `--start-at`: loads of several machines that begin together.

use super::program::Program;
use super::servers::{Answer, Server};
use super::{agrees_with_itself, figure, load, report, report_of, start_load, whole};
use crate::support::wait_until;
use chrono::{DateTime, SecondsFormat, Utc};
use io_models::model;
use nix::sys::signal::Signal;
use serde_json::Value;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const ARGS: &str = "-R 200 -d 1s --warmup 100ms --wait sleep --quiet --json";

/// The whole second after that time.
fn seconds_from_now(seconds: u64) -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970").as_secs() + 1 + seconds
}

/// It began when it should, or later, and says how much later.
#[track_caller]
fn began_at(at: u64, report: &Value) {
    assert_eq!(report["start_at_unix_s"].as_f64(), Some(at as f64), "{report:#}");
    let missed = figure(report, "/start_missed_s");
    assert!(missed >= 0.0, "{report:#}");
    let clock_started = figure(report, "/started_unix_s");
    // Seconds since 1970 leave a quarter of a microsecond.
    assert!((clock_started - (at as f64 + 0.1 + missed)).abs() < 1e-5, "after the warm-up: {report:#}");
    agrees_with_itself(report);
}

/// The second is started when the first has opened its connections, and both begin at the time that they were told.
#[test]
fn loads_that_are_started_one_after_the_other_begin_together_and_add_up() {
    // On a busy machine one may begin much later, and says so.
    const TRIES: usize = 3;
    for _ in 0..TRIES {
        let (server, folder) = (Server::echo(), tempfile::tempdir().expect("a folder"));
        let file = |name: &str| folder.path().join(name).display().to_string();
        let at = seconds_from_now(1);
        let start = |time: &str, name: &str| {
            let files =
                format!("-o {} --hlog {}", file(&format!("{name}.json")), file(&format!("{name}.hlog")));
            start_load(server.addr, &format!("-c 2 --start-at {time} {ARGS} {files}"))
        };
        let a = start(&at.to_string(), "a");
        wait_until("the first has its connections", || server.answers() == 2);
        let time = DateTime::<Utc>::from(UNIX_EPOCH + Duration::from_secs(at));
        let b = start(&time.to_rfc3339_opts(SecondsFormat::Secs, true), "b");
        a.end().measured();
        b.end().measured();
        let read = |name: &str| std::fs::read_to_string(file(name)).expect("a file that was written");
        let reports: [Value; 2] =
            ["a.json", "b.json"].map(|name| serde_json::from_str(&read(name)).expect("a report"));
        reports.iter().for_each(|report| began_at(at, report));
        for log in ["a.hlog", "b.hlog"] {
            assert!(read(log).contains(&format!("#[StartTime: {at}.000 ")), "{}", read(log));
        }
        if reports.iter().any(|report| figure(report, "/start_missed_s") > 0.05) {
            continue;
        }
        for form in ["json", "hlog"] {
            let files = format!("{} {}", file(&format!("a.{form}")), file(&format!("b.{form}")));
            let merged = Program::start(&format!("merge --json --quiet {files}")).end().exits(0).json();
            assert_eq!(merged["simultaneous"], true, "{merged:#}");
            assert_eq!(merged["offered_per_s"], 400.0, "{merged:#}");
        }
        return;
    }
    panic!("a load began later than 50 ms after its time, in each of {TRIES} tries");
}

#[test]
fn a_load_waits_with_open_connections_until_its_time() {
    let server = Server::echo();
    let ended = load(server.addr, "-c 3 --start-at +1s -d 100ms --warmup 0 --wait sleep --quiet --json");
    let report = report(ended.measured());
    let opened = figure(&report, "/environment/started_unix_s");
    let began = figure(&report, "/started_unix_s");
    assert!(began >= figure(&report, "/start_at_unix_s"), "{report:#}");
    assert!(began > opened, "{report:#}");
    assert_eq!(report["opening"]["answered"], 3, "{report:#}");
}

#[test]
fn a_time_that_passes_while_the_connections_are_opened_is_missed_and_the_report_says_by_how_much() {
    let server = Server::echo();
    let args = "-c 2 --start-at +1us -d 100ms --warmup 0 --wait sleep --quiet";
    let report = report(load(server.addr, &format!("{args} --json")).measured());
    assert!(figure(&report, "/start_missed_s") > 0.0, "{report:#}");
    let text = load(server.addr, args).exits(0).stdout.clone();
    let line =
        text.lines().find(|line| line.trim_start().starts_with("start ")).expect("a line on the start");
    assert!(line.ends_with("late, by the clock of this machine") && !line.contains(" 0 "), "{text}");
}

#[test]
fn a_late_start_is_warned_of() {
    let server = Server::answering(64, |request| {
        if request.number == 0 {
            // A slow server: the load can begin only when it has answered.
            std::thread::sleep(Duration::from_millis(20));
        }
        Answer::Bytes(request.bytes.clone())
    });
    let ended = load(server.addr, "-c 1 --start-at +1ms -d 100ms --warmup 0 --wait sleep");
    assert!(ended.stderr.contains("after --start-at"), "{ended}");
}

/// A server that never sleeps uses its processor while the load waits, which is none of what the load cost.
#[test]
fn the_cpu_time_of_a_server_does_not_include_the_wait() {
    let server = crate::support::Server::start(model::find("spin").expect("a model"));
    let args = format!("-c 1 -d 100ms --warmup 0 --wait sleep --quiet --json --pid {}", server.process().pid);
    let report = report(load(server.addr(), &format!("{args} --start-at +5s")).measured());
    // It has as much of a processor at any time as it had in the half second before.
    let time = figure(&report, "/server/load_cpu_s") / figure(&report, "/server/rest_before/cpu_share");
    let most = figure(&report, "/seconds") + figure(&report, "/start_missed_s") + 2.0;
    assert!(time < most, "{time} s are more than there were since shortly before the load: {report:#}");
}

#[test]
fn ctrl_c_ends_the_wait_with_130() {
    let server = Server::echo();
    let load = start_load(server.addr, "-c 2 --start-at +1h --wait sleep -R 100 --quiet --json");
    wait_until("the connections are open", || server.answers() == 2);
    load.signal(Signal::SIGINT);
    let ended = load.end();
    let report = report_of("open", ended.exits(130));
    assert_eq!((&report["partial"], whole(&report, "/sent")), (&Value::Bool(true), 0), "{report:#}");
    assert_eq!(report["start_missed_s"], Value::Null, "{report:#}");
    assert_eq!(ended.stderr, "");
}

#[test]
fn a_time_that_has_passed_is_refused_with_how_late_it_is() {
    let addr = "127.0.0.1:9".parse().unwrap();
    // Told in minutes until it is two hours: far from both ends, whatever a busy machine takes.
    let earlier = seconds_from_now(0) - 5400;
    for (time, late) in
        [("2020-02-29T12:00:00Z".to_owned(), "days ago"), (earlier.to_string(), "minutes ago")]
    {
        let ended = load(addr, &format!("--start-at {time}"));
        ended.exits(2).says_one_line(&["--start-at", "that time passed ", late, "give a later one"]);
    }
}

#[test]
fn what_is_no_time_of_a_start_is_refused() {
    let addr = "127.0.0.1:9".parse().unwrap();
    for (time, why) in [
        ("30s", "write 2026-11-29T17:00:00Z, seconds since 1970, or +30s"),
        ("17:00", "seconds since 1970"),
        ("2026-11-29T17:00:00", "write 2026-11-29T17:00:00Z"),
        ("2026-02-30T17:00:00Z", "seconds since 1970"),
        ("nan", "seconds since 1970"),
        ("1e300", "seconds since 1970"),
        ("4000000000000", "at most a day"),
        ("2999-01-01T00:00:00+01:00", "at most a day"),
        ("+", "write a number and a unit"),
        ("+25h", "at most a day"),
    ] {
        load(addr, &format!("--start-at {time}")).exits(2).says_one_line(&["--start-at", why]);
    }
}
