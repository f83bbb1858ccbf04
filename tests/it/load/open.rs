//! Open loops: requests have their times whatever the server does, and what is late is counted as late. And
//! closed loops with several requests under way.

use super::servers::{Answer, Server};
use super::wrong::{flipped, losing};
use super::{
    agrees_with_itself, exits_as_it_says, figure, histogram, load, longer_than, report, report_of, whole,
};
use serde_json::Value;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, RwLock};
use std::thread;
use std::time::{Duration, Instant};

/// No request of the rates below is due just as the clock starts or stops.
const SHORT: &str = "-d 300ms --warmup 20300.3us --json --quiet";

/// Put an open loop on a server: it passes, and the report of it agrees with itself.
#[track_caller]
fn opens(addr: SocketAddr, args: &str) -> Value {
    let ended = load(addr, args);
    let report = report_of("open", &ended);
    exits_as_it_says(&ended, &report);
    assert_eq!(report["lost"], Value::Array(Vec::new()), "{report:#}");
    assert_eq!(report["wrong_bytes"], 0, "{report:#}");
    assert_eq!(report["partial"], false, "{report:#}");
    agrees_with_itself(&report);
    report
}

/// One request after the other, whoever asks, each for at least that long.
fn one_at_a_time(each: Duration) -> Server {
    let turn = Mutex::new(());
    Server::answering(64, move |request| {
        let _mine = turn.lock().expect("no panic");
        thread::sleep(each);
        Answer::Bytes(request.bytes.clone())
    })
}

#[test]
fn what_was_offered_is_due_and_what_was_due_is_accounted_for() {
    let server = Server::echo();
    let report = opens(server.addr, &format!("-c 4 -R 1000 {SHORT}"));
    assert_eq!(report["offered_per_s"], 1000.0);
    assert!(whole(&report, "/due").abs_diff(300) <= 1, "1000/s for 300 ms: {report:#}");
    for clock in ["response", "service", "scheduling"] {
        let at = |p: &str| figure(&report, &format!("/latency_us/{clock}/{p}"));
        let percentiles = ["p1", "p50", "p90", "p99", "p99_9", "max"].map(at);
        assert!(percentiles.is_sorted(), "{clock}: {report:#}");
        assert!(percentiles[5] > 0.0, "{clock}: {report:#}");
    }
    assert_eq!(report["latency_us"]["connect"], Value::Null, "connections do not come and go: {report:#}");
    assert!(figure(&report, "/seconds") >= 0.3, "{report:#}");
}

#[test]
fn a_generator_that_sleeps_offers_the_same() {
    let server = Server::echo();
    let report = opens(server.addr, &format!("-c 4 -R 500 --wait sleep {SHORT}"));
    assert!(whole(&report, "/due").abs_diff(150) <= 1, "500/s for 300 ms: {report:#}");
    assert_eq!(report["plan"]["wait"], "sleep");
}

#[test]
fn poisson_arrivals_are_those_of_the_seed_and_not_those_of_a_constant_rate() {
    let server = Server::echo();
    let due = |arrivals: &str| {
        let report = opens(server.addr, &format!("-c 4 -R 1000 {arrivals} {SHORT}"));
        (whole(&report, "/due"), report["plan"]["arrivals"].clone())
    };
    let (constant, named) = due("--seed 5");
    assert_eq!(named, "constant");
    let (poisson, named) = due("--seed 5 --arrivals poisson");
    assert_eq!(named, "poisson");
    let (again, _) = due("--seed 5 --arrivals poisson");
    let (other, _) = due("--seed 7 --arrivals poisson");
    // A time may be rounded across an end of what is measured.
    assert!(poisson.abs_diff(again) <= 1, "{poisson} and {again} with the same seed");
    assert!(poisson.abs_diff(other) > 1, "{poisson} and {other} with two seeds that were chosen for it");
    assert!(poisson.abs_diff(constant) > 1, "{poisson} and {constant}: chance has a hand in the one");
    // Seven standard deviations.
    assert!(poisson.abs_diff(300) < 7 * 18, "{poisson}");
}

#[test]
fn no_request_comes_before_its_time() {
    let period = Duration::from_millis(4);
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&seen);
    let server = Server::answering(64, move |request| {
        log.lock().expect("no panic").push((request.number, Instant::now()));
        Answer::Bytes(request.bytes.clone())
    });
    opens(server.addr, &format!("-c 2 -R 250 {SHORT}"));
    let seen = seen.lock().expect("no panic");
    // Request 0 of each connection is asked, and answered, before the first that has a time.
    let opened = seen.iter().filter(|(number, _)| *number == 0).map(|(_, at)| *at).max().expect("opened");
    let mut timed: Vec<_> = seen.iter().filter(|(number, _)| *number > 0).map(|(_, at)| *at).collect();
    timed.sort();
    // 75 where the generator has a processor. What it sends late on a busy machine is not before its time either.
    assert!(timed.len() > 2, "{} requests", timed.len());
    for (number, at) in (0..).zip(timed) {
        assert!(at >= opened + period * number, "request {number} came {:?} after the first", at - opened);
    }
}

/// All of them wait, and not only the few that were under way: that is what an open loop is for.
#[test]
fn while_the_server_stops_requests_go_on_being_due_and_their_waiting_is_in_the_response_time() {
    const STOP: Duration = Duration::from_millis(400);
    const LONG: Duration = Duration::from_millis(100);
    let gate = RwLock::new(());
    let stopped_for = Arc::new(Mutex::new(Duration::ZERO));
    let measured = Arc::clone(&stopped_for);
    let server = Server::answering(64, move |request| {
        if (request.connection, request.number) == (0, 20) {
            let _closed = gate.write().expect("no panic");
            let began = Instant::now();
            thread::sleep(STOP);
            *measured.lock().expect("no panic") = began.elapsed();
        }
        drop(gate.read().expect("no panic"));
        Answer::Bytes(request.bytes.clone())
    });
    let report = opens(server.addr, "-c 8 -R 1000 -d 1s --warmup 20300.3us --json --quiet");
    let stopped_for = *stopped_for.lock().expect("no panic");
    assert!(stopped_for >= STOP, "the server stopped while the clock ran: {stopped_for:?}");
    let late_responses = longer_than(&histogram(&report, "response"), LONG);
    let late_services = longer_than(&histogram(&report, "service"), LONG);
    // Who was due in the first 300 of the 400 ms waited for at least 100.
    assert!(late_responses >= 290, "{late_responses} of 300 waited: {report:#}");
    assert!(late_services <= 8 + late_responses / 10, "{late_services} of 8 connections: {report:#}");
    assert!(whole(&report, "/late") >= 290, "{report:#}");
    let scheduling = figure(&report, "/latency_us/scheduling/p50");
    assert!(scheduling < figure(&report, "/latency_us/response/max"), "the generator was free: {report:#}");
}

#[test]
fn a_server_that_cannot_keep_up_is_said_to_have_missed_its_rate() {
    let server = one_at_a_time(Duration::from_millis(5));
    let report = opens(server.addr, "-c 4 -R 2000 -d 1s --warmup 20300.3us --json --quiet");
    assert_eq!(report["missed_rate"], true, "{report:#}");
    assert!(whole(&report, "/due").abs_diff(2000) <= 1, "{report:#}");
    assert!(whole(&report, "/unsent") > 1600, "200 answers a second at most: {report:#}");
    // At least 5 ms each, and one that was begun before.
    assert!(whole(&report, "/answered") as f64 <= figure(&report, "/seconds") * 200.0 + 1.0, "{report:#}");
    // On a busy machine the generator may be away as the clock starts, when all connections are free.
    let by_generator = whole(&report, "/late_by_generator");
    assert!(by_generator * 2 < whole(&report, "/late"), "no connection was free: {report:#}");
}

#[test]
fn a_missed_rate_is_in_the_first_line_and_in_the_exit_code() {
    let server = one_at_a_time(Duration::from_millis(5));
    let ended = load(server.addr, "-c 4 -R 2000 -d 200ms --warmup 20ms");
    let first = ended.exits(3).stdout.lines().next().unwrap_or_default();
    assert!(first.starts_with("MISSED ITS RATE: offered 2,000 requests/s, achieved "), "{ended}");
    assert!(first.contains("were never sent"), "{ended}");
    assert!(ended.stderr.contains("io-models: MISSED ITS RATE"), "{ended}");
}

#[test]
fn a_rate_that_is_held_is_not_said_to_be_missed() {
    let server = Server::echo();
    let report = opens(server.addr, &format!("-c 16 -R 50 --wait sleep {SHORT}"));
    assert_eq!(report["missed_rate"], false, "{report:#}");
}

#[test]
fn the_text_of_an_open_loop_names_both_clocks_and_the_schedule() {
    let server = Server::echo();
    let ended = load(server.addr, "-c 2 -R 500 -d 300ms --warmup 10ms --quiet");
    let text = &ended.measured().stdout;
    for part in [
        "open loop: 2 connections",
        "due",
        "late by more than 1 ms",
        "by the generator",
        "unsent",
        "500 requests/s offered",
        "achieved",
        "response time",
        "service time",
        "sent late by",
        "0 wrong, 0 connections lost",
    ] {
        assert!(text.contains(part), "{part:?} is missing:\n{text}");
    }
}

#[test]
fn in_an_open_loop_a_wrong_byte_is_found_too() {
    let server = Server::wrong_once(64, (1, 3), |request| flipped(request, 5));
    let ended = load(server.addr, &format!("-c 2 -R 200 {SHORT}"));
    let report = report_of("open", ended.exits(1));
    agrees_with_itself(&report);
    assert_eq!(report["wrong_bytes"], 1, "{report:#}");
    assert_eq!(report["lost_connections"], 1, "{report:#}");
    assert_eq!(report["lost"][0]["connection"], 1, "{report:#}");
    assert_eq!(report["lost"][0]["kind"], "corrupted", "{report:#}");
    ended.says_one_line(&["1 of 2 connections lost"]);
}

/// Gives back what comes, and notes the most that came at once.
fn noting_the_most() -> (Server, Arc<AtomicUsize>) {
    let most = Arc::new(AtomicUsize::new(0));
    let noted = Arc::clone(&most);
    let server = Server::start(move |_, mut client, answers| {
        let mut buffer = vec![0; 1 << 16];
        loop {
            let n = match client.read(&mut buffer)? {
                0 => return Ok(()),
                n => n,
            };
            noted.fetch_max(n, SeqCst);
            client.write_all(&buffer[..n])?;
            answers.fetch_add(1, SeqCst);
        }
    });
    (server, most)
}

#[test]
fn a_closed_loop_has_as_many_requests_under_way_on_a_connection_as_it_is_told_and_no_more() {
    for engine in super::engines::all() {
        let (server, most) = noting_the_most();
        let report = report(load(server.addr, &format!("-c 3 --depth 4 {engine} {SHORT}")).exits(0));
        agrees_with_itself(&report);
        assert!(whole(&report, "/sent") <= whole(&report, "/answered") + 3 * 4, "{report:#}");
        assert_eq!(most.load(SeqCst), 4 * 64, "{engine}: bytes of all requests under way");
        assert_eq!(report["plan"]["depth"], 4);
    }
}

#[test]
fn an_open_loop_has_no_more_under_way_than_it_is_told() {
    let (server, most) = noting_the_most();
    // Far more than it can keep up with.
    let report = opens(server.addr, &format!("-c 1 --depth 3 -R 900k {SHORT}"));
    assert!(whole(&report, "/unsent") > 0, "{report:#}");
    assert!(most.load(SeqCst) <= 3 * 64, "{} bytes at once", most.load(SeqCst));
    assert!(most.load(SeqCst) > 64, "{} bytes at once", most.load(SeqCst));
}

/// As long as these tests need.
const DEEP: &str = "--depth 4 -d 300ms --warmup 20ms --json --timeout 2s --quiet";

#[test]
fn with_four_requests_under_way_a_wrong_byte_is_found_at_its_place() {
    let server = Server::wrong_once(64, (2, 5), |request| flipped(request, 7));
    let (report, reason) = losing(&server, 4, 1, DEEP);
    assert_eq!(report["lost"][0]["connection"], 2);
    assert_eq!(report["lost"][0]["kind"], "corrupted");
    assert_eq!(report["wrong_bytes"], 1);
    assert!(reason.starts_with("byte 327 came back as 0x"), "{reason}");
}

#[test]
fn with_four_requests_under_way_an_answer_that_is_left_out_is_called_dropped() {
    let server = Server::wrong_once(64, (1, 5), |_| Answer::Nothing);
    let (report, reason) = losing(&server, 2, 1, DEEP);
    assert_eq!(report["lost"][0]["kind"], "dropped", "{report:#}");
    assert!(reason.contains("64 bytes were dropped"), "{reason}");
}

#[test]
fn with_four_requests_under_way_an_answer_that_is_given_twice_is_called_repeated() {
    let server = Server::wrong_once(64, (1, 5), |request| Answer::Bytes(request.bytes.repeat(2)));
    let (report, reason) = losing(&server, 2, 1, DEEP);
    assert_eq!(report["lost"][0]["kind"], "repeated", "{report:#}");
    assert!(reason.contains("an answer was repeated"), "{reason}");
}

#[test]
fn with_four_requests_under_way_two_answers_in_the_wrong_order_are_found() {
    let kept = Mutex::new(Vec::new());
    let server = Server::answering(64, move |request| match request.number {
        5 => {
            *kept.lock().expect("no panic") = request.bytes.clone();
            Answer::Nothing
        }
        6 => Answer::Bytes([&request.bytes[..], &kept.lock().expect("no panic")[..]].concat()),
        _ => Answer::Bytes(request.bytes.clone()),
    });
    let (report, reason) = losing(&server, 1, 1, DEEP);
    assert!(whole(&report, "/wrong_bytes") > 1, "{report:#}");
    assert!(reason.starts_with("byte 320 came back as 0x"), "{reason}");
}
