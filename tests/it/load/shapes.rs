//! Rates over time: ramps, sweeps, and the search for the highest rate that holds a limit; and hostile clients.

use super::servers::{Answer, Server};
use super::{agrees_with_itself, figure, load, report, report_of, start_load, whole};
use crate::support::wait_until;
use nix::sys::signal::Signal;
use serde_json::Value;
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

/// A load that passes: its report, and the rows of it.
#[track_caller]
fn rows(addr: SocketAddr, args: &str) -> (Value, Vec<Value>) {
    let ended = load(addr, &format!("{args} --warmup 20ms --json --quiet"));
    let report = report_of("open", ended.exits(0));
    assert_eq!(ended.stderr, "");
    assert_eq!(report["lost"], Value::Array(Vec::new()), "{report:#}");
    let rows = report["rows"].as_array().expect("rows").clone();
    (report, rows)
}

#[track_caller]
fn offered(rows: &[Value]) -> Vec<u64> {
    rows.iter().map(|row| figure(row, "/offered_per_s") as u64).collect()
}

/// Each row has what was due at its rate, and they add up to the whole.
#[track_caller]
fn add_up(report: &Value, rows: &[Value], seconds: f64) {
    agrees_with_itself(report);
    for row in rows {
        let due = whole(row, "/sent") + whole(row, "/unsent");
        let expected = (figure(row, "/offered_per_s") * seconds) as u64;
        assert!(due.abs_diff(expected) <= 1, "{expected} in {seconds} s: {row:#}");
        assert!(figure(row, "/response/p99") >= figure(row, "/response/p50"), "{row:#}");
        assert!(figure(row, "/seconds") >= seconds, "a row lasts as long as its rate: {row:#}");
    }
    for count in ["/sent", "/unsent", "/answered", "/late"] {
        let sum: u64 = rows.iter().map(|row| whole(row, count)).sum();
        assert_eq!(sum, whole(report, count), "{count}: {report:#}");
    }
    let sum: f64 = rows.iter().map(|row| figure(row, "/seconds")).sum();
    assert!((sum - figure(report, "/seconds")).abs() < 1e-6, "{sum} s: {report:#}");
}

#[test]
fn a_ramp_has_a_row_for_each_of_its_rates() {
    for threads in ["", "--threads 2"] {
        let server = Server::echo();
        let (report, rows) = rows(server.addr, &format!("-c 4 --ramp 200:600:200:150ms {threads}"));
        assert_eq!(offered(&rows), [200, 400, 600]);
        if threads.is_empty() {
            add_up(&report, &rows, 0.15);
        }
        assert!((figure(&report, "/offered_per_s") - 400.0).abs() < 40.0, "their mean: {report:#}");
    }
}

#[test]
fn a_ramp_goes_down_as_well() {
    let server = Server::echo();
    let (report, rows) = rows(server.addr, "-c 4 --ramp 400:200:100:100ms");
    assert_eq!(offered(&rows), [400, 300, 200]);
    add_up(&report, &rows, 0.1);
}

/// As on a machine where other programs have the processors.
#[test]
fn a_ramp_keeps_its_times_while_the_generator_stands_still() {
    let server = Server::echo();
    let load = start_load(server.addr, "-c 4 --ramp 400:200:100:200ms --warmup 20ms --json --quiet");
    wait_until("the load is on", || server.answers() > 20);
    load.signal(Signal::SIGSTOP);
    // Longer than a step, so that at least one begins and ends meanwhile.
    thread::sleep(Duration::from_millis(450));
    load.signal(Signal::SIGCONT);
    let ended = load.end();
    let report = report_of("open", &ended);
    let rows = report["rows"].as_array().expect("rows");
    assert_eq!(offered(rows), [400, 300, 200]);
    add_up(&report, rows, 0.2);
}

#[test]
fn a_sweep_has_a_row_for_each_of_its_rates() {
    let server = Server::echo();
    let (report, rows) = rows(server.addr, "-c 4 --sweep 400,200,800 -d 150ms");
    assert_eq!(offered(&rows), [400, 200, 800]);
    add_up(&report, &rows, 0.15);
}

#[test]
fn the_text_of_a_sweep_is_a_table_with_a_row_for_each_rate() {
    let server = Server::echo();
    let ended = load(server.addr, "-c 4 --sweep 210,430 -d 300ms --warmup 10ms --quiet");
    let lines: Vec<_> = ended.exits(0).stdout.lines().collect();
    let head = lines.iter().position(|line| line.contains("offered/s")).unwrap_or_else(|| panic!("{ended}"));
    for column in ["offered/s", "achieved/s", "late", "unsent", "p50", "p99", "p99.9", "max"] {
        assert!(lines[head].contains(column), "{column:?} is missing: {ended}");
    }
    for (line, rate) in lines[head + 1..].iter().zip(["210", "430"]) {
        assert_eq!(line.split_whitespace().next(), Some(rate), "{ended}");
        assert!(line.contains("µs") || line.contains("ms"), "latencies have units: {ended}");
    }
}

/// One request after the other, whoever asks: at most 200 a second.
fn two_hundred_a_second() -> Server {
    let turn = Mutex::new(());
    Server::answering(64, move |request| {
        let _mine = turn.lock().expect("no panic");
        thread::sleep(Duration::from_millis(5));
        Answer::Bytes(request.bytes.clone())
    })
}

#[test]
fn a_sweep_beyond_what_the_server_can_do_says_so_in_the_row_and_once_in_the_first_line() {
    let server = two_hundred_a_second();
    let ended = load(server.addr, "-c 2 --sweep 20,2000 -d 200ms --warmup 10ms");
    let text = &ended.exits(0).stdout;
    assert!(text.starts_with("MISSED ITS RATE"), "{text}");
    assert!(!ended.stderr.contains("MISSED ITS RATE"), "{ended}");
    let (_, rows) = rows(server.addr, "-c 2 --sweep 20,2000 -d 200ms");
    assert_eq!(rows[1]["missed"], true, "{rows:#?}");
    assert!(whole(&rows[1], "/unsent") > 300, "{rows:#?}");
}

#[test]
fn the_knee_is_no_higher_than_what_the_server_can_do() {
    let server = two_hundred_a_second();
    // So generous that only the rate itself can exceed it.
    let args = "-c 2 -R 150 -d 200ms --warmup 20ms --find-knee --limit p50=10s --json --quiet";
    let ended = load(server.addr, args);
    let report = report_of("open", &ended);
    let rows = report["rows"].as_array().expect("rows");
    assert_eq!(report["knee"]["limit"]["percentile"], 50.0);
    assert_eq!(report["knee"]["limit"]["at_most_us"], 10_000_000.0);
    assert_eq!(report["missed_rate"], false, "to miss rates is what a search is for: {report:#}");
    let Some(knee) = report["knee"]["rate_per_s"].as_f64() else {
        // On a busy machine it may be the generator that is late in every try. Then nothing is claimed.
        let why = report["knee"]["not_shown"].as_str().unwrap_or_else(|| panic!("no reason: {report:#}"));
        ended.exits(3).says_one_line(&[why]);
        return;
    };
    ended.exits(0);
    assert!(knee <= 200.0 * 1.2, "at most 200/s are answered: {report:#}");
    assert_eq!(report["offered_per_s"].as_f64(), Some(knee));
    agrees_with_itself(&report);
    for end in ["holds", "exceeds"] {
        assert!(
            whole(&report["knee"][end], "/held") + whole(&report["knee"][end], "/exceeded") >= 3,
            "{report:#}"
        );
    }
    let held = |row: &&Value| row["verdict"] == "holds";
    let highest = rows.iter().filter(held).map(|row| figure(row, "/offered_per_s")).reduce(f64::max);
    assert_eq!(highest, Some(knee), "{rows:#?}");
    assert!(rows.iter().any(|row| row["verdict"] == "exceeds"), "something higher was tried: {rows:#?}");
}

#[test]
fn a_limit_that_no_rate_holds_fails_in_one_line() {
    let server = Server::answering(64, |request| {
        thread::sleep(Duration::from_millis(20));
        Answer::Bytes(request.bytes.clone())
    });
    // Each answer takes twenty times as long.
    let args = "-c 4 -R 2 -d 150ms --warmup 10ms --find-knee --limit max=1ms --json --quiet";
    let ended = load(server.addr, args);
    ended.exits(3).says_one_line(&["no rate was shown to keep max ≤ 1.00 ms"]);
    let report = report_of("open", &ended);
    assert_eq!(report["knee"]["rate_per_s"], Value::Null, "{report:#}");
    let rows = report["rows"].as_array().expect("rows");
    // On a busy machine a try may show nothing.
    assert!(rows.iter().all(|row| row["verdict"] != "holds"), "{report:#}");
    assert!(offered(rows).is_sorted_by(|a, b| a >= b), "ever lower: {report:#}");
}

#[test]
fn hostile_clients_are_counted_apart() {
    let server = Server::echo();
    let args = "-c 10 --slow-reader 20% --half-close 0.2 --reset 20% -d 250ms --warmup 20ms --quiet";
    let ended = load(server.addr, &format!("{args} --json"));
    let report = report(ended.exits(0));
    agrees_with_itself(&report);
    assert_eq!(report["connections"], 4, "six of ten are hostile: {report:#}");
    assert_eq!(report["lost_connections"], 0, "{report:#}");
    for kind in ["slow_reader", "half_close", "reset"] {
        let count = |name: &str| whole(&report, &format!("/hostile/{kind}/{name}"));
        assert_eq!(count("connections"), 2, "{kind}: {report:#}");
        assert!(count("opened") >= 2, "{kind}: {report:#}");
        assert_eq!(count("wrong_bytes"), 0, "{kind}: {report:#}");
        assert_eq!(count("refused"), 0, "{kind}: {report:#}");
        let ends = count("ended_well") + count("cut_short") + count("unfinished");
        assert_eq!(ends, count("opened"), "{kind}: {report:#}");
    }
    assert!(whole(&report, "/hostile/half_close/ended_well") > 0, "{report:#}");
    assert!(whole(&report, "/hostile/reset/ended_well") > 0, "{report:#}");
    assert!(whole(&report, "/hostile/slow_reader/sent_bytes") > 0, "{report:#}");
    let text = &load(server.addr, args).exits(0).stdout.clone();
    for part in ["slow readers", "half closers", "resetters", "ended well", "cut short"] {
        assert!(text.contains(part), "{part:?} is missing:\n{text}");
    }
}

#[test]
fn a_share_however_small_is_one_connection() {
    let server = Server::echo();
    let ended = load(server.addr, "-c 3 --reset 0.1% -d 300ms --warmup 10ms --json --quiet");
    let report = report(ended.exits(0));
    assert_eq!(report["connections"], 2, "{report:#}");
    assert_eq!(report["hostile"]["reset"]["connections"], 1, "{report:#}");
    assert_eq!(report["hostile"]["half_close"]["connections"], 0, "{report:#}");
}

#[test]
fn without_hostile_shares_there_are_no_hostile_clients() {
    let server = Server::echo();
    let ended = load(server.addr, "-c 2 -d 300ms --warmup 10ms --json --quiet");
    assert_eq!(report(ended.exits(0))["hostile"], Value::Null);
}

#[test]
fn hostile_clients_that_are_cut_off_fail_no_run() {
    // The measured connections are opened before. The others are reset at once.
    let server = Server::start(|connection, mut client, _| {
        if connection >= 5 {
            return Ok(io_models::sys::sockopt::set_reset_on_close(&client)?);
        }
        io::copy(&mut client.try_clone()?, &mut client).map(drop)
    });
    let args = "-c 8 --slow-reader 10% --half-close 10% --reset 10% -d 250ms --warmup 20ms --json --quiet";
    let ended = load(server.addr, args);
    let report = report(ended.exits(0));
    assert_eq!(ended.stderr, "");
    for kind in ["slow_reader", "half_close", "reset"] {
        let count = |name: &str| whole(&report, &format!("/hostile/{kind}/{name}"));
        assert!(count("cut_short") + count("refused") > 0, "{kind}: {report:#}");
        assert_eq!((count("wrong_bytes"), count("missing_bytes")), (0, 0), "{kind}: {report:#}");
    }
}

#[test]
fn bytes_that_a_server_loses_for_slow_readers_are_missing_and_fail_the_run() {
    // It forgets what send(2) does not take. The measured connections are opened before, and are served rightly.
    let server = Server::start(|connection, mut client, _| {
        let mut buffer = [0; 4096];
        client.set_nonblocking(connection >= 3)?;
        loop {
            match client.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(n) if connection >= 3 => drop(client.write(&buffer[..n])),
                Ok(n) => client.write_all(&buffer[..n])?,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    thread::sleep(Duration::from_millis(1))
                }
                Err(error) => return Err(error),
            }
        }
    });
    let args = "-c 4 --slow-reader 25% -d 1s --warmup 20ms --quiet";
    let ended = load(server.addr, &format!("{args} --json"));
    let report = report(ended.exits(1));
    assert_eq!(report["lost_connections"], 0, "{report:#}");
    let slow = &report["hostile"]["slow_reader"];
    assert!(slow["missing_bytes"].as_u64() > Some(0), "{report:#}");
    assert_eq!(slow["missing"][0]["connection"], 0, "{report:#}");
    assert!(slow["missing"][0]["offset"].as_u64() > Some(0), "{report:#}");
    // The last one may have had no time to send more than the buffers hold.
    assert!(slow["ended_well"].as_u64() < slow["opened"].as_u64(), "{report:#}");
    ended.says_one_line(&["hostile clients", "bytes were sent and did not come back"]);
    let ended = load(server.addr, args);
    let text = &ended.exits(1).stdout;
    assert!(text.contains("bytes missing from byte"), "{text}");
}

#[test]
fn wrong_bytes_of_hostile_clients_fail_the_run() {
    // The measured connections are opened before.
    let server = Server::start(|connection, mut client, _| {
        let mut buffer = [0; 4096];
        loop {
            let n = client.read(&mut buffer)?;
            if n == 0 {
                return Ok(());
            }
            if connection >= 5 {
                buffer[..n].iter_mut().for_each(|byte| *byte ^= 1);
            }
            client.write_all(&buffer[..n])?;
        }
    });
    let args = "-c 8 --slow-reader 10% --half-close 10% --reset 10% -d 250ms --warmup 20ms --json --quiet";
    let ended = load(server.addr, args);
    let report = report(ended.exits(1));
    ended.says_one_line(&["hostile clients", "came back wrong", "byte 0 came back as 0x"]);
    assert_eq!(report["wrong_bytes"], 0, "{report:#}");
    assert_eq!(report["lost_connections"], 0, "{report:#}");
    let kinds = ["slow_reader", "half_close", "reset"];
    let sum =
        |name: &str| kinds.map(|kind| whole(&report, &format!("/hostile/{kind}/{name}"))).iter().sum::<u64>();
    assert!(sum("cut_short") > 0, "{report:#}");
    assert!(sum("wrong_bytes") > 0, "{report:#}");
    assert!(kinds.iter().any(|kind| report["hostile"][kind]["first_trouble"].is_string()), "{report:#}");
}
