//! What is due and not answered counts: an overloaded, silent or dripping server never reads as fast, and bounds the run.

use super::servers::{Answer, Server};
use super::{agrees_with_itself, figure, histogram, load, longer_than, report_of, whole};
use std::io::{self, Read, Write};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

/// 200 answers a second at most, however many connections there are.
fn two_hundred_a_second() -> Server {
    let turn = Mutex::new(());
    Server::answering(64, move |request| {
        let _mine = turn.lock().expect("no panic");
        thread::sleep(Duration::from_millis(5));
        Answer::Bytes(request.bytes.clone())
    })
}

#[test]
fn requests_that_were_never_sent_count_with_the_time_that_they_have_waited() {
    let server = two_hundred_a_second();
    let ended = load(server.addr, "-c 4 -R 10k -d 1s --warmup 200ms --json --quiet");
    ended.exits(3).says_one_line(&["MISSED ITS RATE", "they count with the time that they waited"]);
    let report = report_of("open", &ended);
    agrees_with_itself(&report);
    assert!(whole(&report, "/answered") <= whole(&report, "/sent"), "{report:#}");
    assert!(whole(&report, "/sent") > 0, "the backlog of the warm-up is not the window's: {report:#}");
    assert!(whole(&report, "/at_least") > 9_000, "of 10 000 some 200 are answered: {report:#}");
    // The requests are due evenly, and nearly none is answered: half of them wait for longer than half of the time.
    assert!(figure(&report, "/latency_us/response/p50") >= 450_000.0, "{report:#}");
    assert!(figure(&report, "/latency_us/response/max") >= 950_000.0, "{report:#}");
}

#[test]
fn rows_of_a_sweep_and_of_a_ramp_say_so_as_well() {
    let server = two_hundred_a_second();
    for args in ["--sweep 50,10k -d 500ms", "--ramp 50:10050:10k:500ms"] {
        let ended = load(server.addr, &format!("-c 4 {args} --warmup 100ms --json --quiet"));
        let report = report_of("open", ended.exits(0));
        agrees_with_itself(&report);
        let row = &report["rows"][1];
        assert_eq!(row["missed"], true, "{report:#}");
        assert!(whole(row, "/answered") <= whole(row, "/sent"), "{report:#}");
        assert!(whole(row, "/at_least") > 4_000, "{report:#}");
        assert!(figure(row, "/response/p50") >= 200_000.0, "{report:#}");
    }
}

#[test]
fn a_percentile_of_nothing_is_null_and_a_dash() {
    // Only the question of the opening is answered. The next one is asked in the warm-up, and no other follows.
    let server = Server::answering(64, |request| match request.number {
        0 => Answer::Bytes(request.bytes.clone()),
        _ => Answer::Nothing,
    });
    let args = "-c 1 -d 50ms --warmup 50ms --timeout 300ms --quiet";
    let report = report_of("closed", load(server.addr, &format!("{args} --json")).exits(1));
    agrees_with_itself(&report);
    for percentile in ["p1", "p50", "p90", "p99", "p99_9", "max"] {
        assert!(report["latency_us"]["service"][percentile].is_null(), "{report:#}");
    }
    let ended = load(server.addr, args);
    assert!(ended.exits(1).stdout.contains("p50 –, p90 –, p99 –, p99.9 –, max –"), "{ended}");
}

/// Gives each client its answers until the generator's clock runs, some more, and then none.
///
/// The clock starts 5 ms after the threads of the generator are told of the load, when the one that is concerned next
/// looks at the time; the first request of the load, which is number 1, follows the order. No number of requests would
/// do instead: several hundred are answered in these 5 ms, or more when the generator is kept waiting for a processor.
fn silent_once_the_clock_runs() -> Server {
    Server::start(|_, mut client, _| {
        let mut bytes = [0; 64];
        for _ in 0..2 {
            client.read_exact(&mut bytes)?;
            client.write_all(&bytes)?;
        }
        let told = Instant::now();
        let mut more = 10;
        while more > 0 {
            client.read_exact(&mut bytes)?;
            client.write_all(&bytes)?;
            if told.elapsed() >= Duration::from_millis(50) {
                more -= 1;
            }
        }
        io::copy(&mut client, &mut io::sink()).map(drop)
    })
}

#[test]
fn a_connection_without_an_answer_is_given_up_while_the_load_is_on() {
    // Ten minutes, of which nobody would wait for the end.
    for (args, mode) in [("", "closed"), ("-R 1000", "open")] {
        let server = silent_once_the_clock_runs();
        let ended =
            load(server.addr, &format!("-c 2 {args} -d 10m --timeout 300ms --warmup 0s --json --quiet"));
        let report = report_of(mode, ended.exits(1));
        agrees_with_itself(&report);
        assert_eq!(report["lost_connections"], 2, "{report:#}");
        assert_eq!(report["lost"][0]["kind"], "silent", "{report:#}");
        let waited = figure(
            &report,
            &format!("/latency_us/{}/max", if mode == "open" { "response" } else { "service" }),
        );
        assert!(waited >= 300_000.0, "{report:#}");
        if mode == "open" {
            // The schedule is accounted for to its end.
            assert!(whole(&report, "/due").abs_diff(600_000) <= 1, "{report:#}");
            assert_eq!(report["missed_rate"], true, "{report:#}");
            assert!(
                longer_than(&histogram(&report, "response"), Duration::from_secs(300)) > 200_000,
                "{report:#}"
            );
        }
    }
}

#[test]
fn the_others_go_on_when_one_connection_is_given_up() {
    let server = Server::answering(64, |request| match (request.connection, request.number) {
        (1, 3..) => Answer::Nothing,
        _ => Answer::Bytes(request.bytes.clone()),
    });
    let ended = load(server.addr, "-c 3 -d 2s --timeout 300ms --warmup 0s --json --quiet");
    let report = report_of("closed", ended.exits(1));
    agrees_with_itself(&report);
    assert_eq!(report["lost_connections"], 1, "{report:#}");
    assert_eq!((&report["lost"][0]["connection"], &report["lost"][0]["kind"]), (&1.into(), &"silent".into()));
    assert!(figure(&report, "/seconds") >= 2.0, "the load went on: {report:#}");
}

#[test]
fn of_two_threads_one_without_connections_goes_on_accounting_for_its_part() {
    // The first thread has connection 0, the second connection 1.
    let server = Server::answering(64, |request| match (request.connection, request.number) {
        (0, 3..) => Answer::Reset,
        _ => Answer::Bytes(request.bytes.clone()),
    });
    let ended = load(server.addr, "-c 2 --threads 2 -R 200 -d 1s --warmup 0s --json --quiet");
    let report = report_of("open", ended.exits(1));
    agrees_with_itself(&report);
    assert_eq!(report["lost_connections"], 1, "{report:#}");
    assert!(whole(&report, "/due").abs_diff(200) <= 2, "{report:#}");
    assert!(whole(&report, "/at_least") >= 90, "the half of one thread: {report:#}");
    assert_eq!(report["missed_rate"], true, "{report:#}");
}

#[test]
fn a_server_that_drips_does_not_bound_the_run() {
    let server = Server::start(|_, mut client, _| {
        let mut bytes = [0; 64];
        client.read_exact(&mut bytes)?;
        client.write_all(&bytes)?;
        loop {
            client.read_exact(&mut bytes)?;
            for byte in bytes {
                client.write_all(&[byte])?;
                // A whole answer takes 6.4 s, which is more than the timeout. From byte to byte it is much less.
                thread::sleep(Duration::from_millis(100));
            }
        }
    });
    let ended = load(server.addr, "-c 2 -d 200ms --timeout 2s --warmup 0s --json --quiet");
    let report = report_of("closed", ended.exits(1));
    agrees_with_itself(&report);
    assert_eq!(report["lost_connections"], 2, "{report:#}");
    assert_eq!(report["lost"][0]["kind"], "partial", "{report:#}");
    let reason = report["lost"][0]["reason"].as_str();
    assert!(reason.is_some_and(|reason| reason.contains(" of 64 bytes came back in 2 s;")), "{report:#}");
}

#[test]
fn a_load_without_an_answer_while_the_clock_ran_has_measured_nothing() {
    let server = Server::answering(64, |request| {
        if request.number > 0 {
            thread::sleep(Duration::from_millis(500));
        }
        Answer::Bytes(request.bytes.clone())
    });
    let ended = load(server.addr, "-c 1 -d 1ms --warmup 0s --quiet");
    ended.exits(1).says_one_line(&["nothing was measured", "--duration"]);
}
