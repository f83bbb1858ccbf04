//! What is written beside the report: a line for each second, interval logs, and distributions.

use super::program::{Program, io_models};
use super::python::{intervals, is_its_distribution, is_the_same, python};
use super::servers::Server;
use super::{exits_as_it_says, figure, histogram, load, report, report_of, start_load, whole};
use crate::support::wait_until;
use io_models::lab::load::hlog;
use nix::sys::signal::Signal;
use serde_json::Value;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// Files in a folder that goes away, and the arguments that ask for them.
struct Asked {
    _folder: TempDir,
    ndjson: PathBuf,
    hlog: PathBuf,
    hgrm: PathBuf,
    report: PathBuf,
}

fn asked() -> (Asked, String) {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    let files = [at("run.ndjson"), at("run.hlog"), at("run.hgrm"), at("report.json")];
    let [ndjson, hlog, hgrm, report] = files.clone();
    let args = format!(
        "--ndjson {} --hlog {} --hgrm {} --json --output {}",
        ndjson.display(),
        hlog.display(),
        hgrm.display(),
        report.display()
    );
    (Asked { _folder: folder, ndjson, hlog, hgrm, report }, args)
}

impl Asked {
    /// One JSON object in each line of the NDJSON.
    #[track_caller]
    fn lines(&self) -> Vec<Value> {
        let text = text(&self.ndjson);
        assert!(text.ends_with('\n'), "the last line ends as well: {text:?}");
        let object = |line: &str| serde_json::from_str(line).unwrap_or_else(|why| panic!("{why}: {line}"));
        text.lines().map(object).collect()
    }

    #[track_caller]
    fn report(&self) -> Value {
        serde_json::from_str(&text(&self.report)).expect("one JSON document")
    }
}

#[track_caller]
fn text(file: &Path) -> String {
    fs::read_to_string(file).unwrap_or_else(|why| panic!("{}: {why}", file.display()))
}

/// The lines add up to the report, and each begins where the one before ended.
#[track_caller]
fn lines_follow_and_add_up(lines: &[Value], report: &Value) {
    lines_add_up(lines, report);
    let mut last = 0.0;
    for line in lines {
        assert_eq!(figure(line, "/from_s"), last, "{lines:#?}");
        last = figure(line, "/to_s");
        assert!(last > figure(line, "/from_s"), "{lines:#?}");
    }
}

/// The lines add up to the report.
#[track_caller]
fn lines_add_up(lines: &[Value], report: &Value) {
    for count in ["/sent", "/unsent", "/answered", "/late", "/opened"] {
        let sum: u64 = lines.iter().map(|line| whole(line, count)).sum();
        assert_eq!(sum, whole(report, count), "{count}: {lines:#?} {report:#}");
    }
}

#[test]
fn all_that_is_written_of_an_open_loop_says_the_same_as_its_report() {
    let server = Server::echo();
    let (files, args) = asked();
    let ended = load(server.addr, &format!("-c 4 -R 500 -d 1200ms --warmup 20ms --quiet {args}"));
    assert_eq!(ended.measured().stdout, "");
    let report = files.report();
    assert_eq!(report["mode"], "open");

    let lines = files.lines();
    assert_eq!(lines.len(), 2, "a second, and the rest: {lines:#?}");
    lines_follow_and_add_up(&lines, &report);
    assert!(lines.iter().all(|line| line["offered_per_s"] == 500.0), "{lines:#?}");
    assert!(lines.iter().all(|line| line["latency_us"]["response"]["p99"].is_number()), "{lines:#?}");
    assert!(figure(&lines[1], "/to_s") >= 1.2, "{lines:#?}");

    let log = hlog::read(text(&files.hlog).as_bytes()).expect("a log");
    assert_eq!(log.plan.as_ref(), Some(&report["plan"]));
    let tags: Vec<_> = log.histograms.iter().map(|(tag, _)| tag.as_deref()).collect();
    let unfinished = (figure(&report, "/at_least") > 0.0).then_some(Some("unfinished"));
    assert_eq!(tags, [None, Some("service")].into_iter().chain(unfinished).collect::<Vec<_>>());
    assert_eq!(log.histograms[0].1, histogram(&report, "response"));
    assert_eq!(log.histograms[1].1, histogram(&report, "service"));
}

#[test]
#[ignore = "needs a Python that can import hdrh"]
fn python_reads_what_is_written_of_an_open_loop() {
    let python = python();
    let server = Server::echo();
    let (files, args) = asked();
    load(server.addr, &format!("-c 4 -R 500 -d 1200ms --warmup 20ms --quiet {args}")).measured();
    let report = files.report();
    let read = intervals(&python, &files.hlog);
    for tag in [Value::Null, Value::from("service")] {
        let of_tag = || read.iter().filter(|interval| interval["tag"] == tag);
        assert!(of_tag().count() >= 2, "a second, and the rest: {read:#?}");
        assert_eq!(
            of_tag().map(|interval| whole(interval, "/count")).sum::<u64>(),
            histogram(&report, "service").len(),
            "{tag}"
        );
    }
    is_its_distribution(&python, &text(&files.hgrm), &histogram(&report, "response"), 1e6);
}

#[test]
fn all_that_is_written_of_a_closed_loop_is_its_service_time() {
    let server = Server::echo();
    let (files, args) = asked();
    load(server.addr, &format!("-c 4 -d 500ms --warmup 20ms --quiet {args}")).exits(0);
    let report = files.report();
    assert_eq!(report["mode"], "closed");
    let lines = files.lines();
    lines_follow_and_add_up(&lines, &report);
    assert_eq!(lines[0]["offered_per_s"], Value::Null);
    assert_eq!(lines[0]["latency_us"]["response"], Value::Null);
    let service = histogram(&report, "service");
    let log = hlog::read(text(&files.hlog).as_bytes()).expect("a log");
    assert_eq!(log.histograms, [(None, service)]);
}

#[test]
#[ignore = "needs a Python that can import hdrh"]
fn python_reads_what_is_written_of_a_closed_loop() {
    let python = python();
    let server = Server::echo();
    let (files, args) = asked();
    load(server.addr, &format!("-c 4 -d 300ms --warmup 20ms --quiet {args}")).exits(0);
    let service = histogram(&files.report(), "service");
    let read = intervals(&python, &files.hlog);
    assert_eq!(read.len(), 1, "{read:#?}");
    is_the_same(&read[0], &service);
    is_its_distribution(&python, &text(&files.hgrm), &service, 1e6);
}

#[test]
fn the_log_of_connections_that_come_and_go_has_the_time_to_connect() {
    let server = Server::echo();
    let (files, args) = asked();
    let load =
        load(server.addr, &format!("-c 2 -R 200 --requests-per-conn 1 -d 1s --warmup 20ms --quiet {args}"));
    load.measured();
    let report = files.report();
    lines_follow_and_add_up(&files.lines(), &report);
    let log = hlog::read(text(&files.hlog).as_bytes()).expect("a log");
    let connect = log.histograms.iter().find(|(tag, _)| tag.as_deref() == Some("connect"));
    assert_eq!(connect.map(|(_, histogram)| histogram), Some(&histogram(&report, "connect")));
}

#[test]
fn a_sweep_writes_a_line_for_each_rate() {
    let server = Server::echo();
    let (files, args) = asked();
    let args = format!("-c 4 --sweep 300,500 -d 150ms --warmup 20ms --quiet {args}");
    load(server.addr, &args).exits(0);
    let (lines, report) = (files.lines(), files.report());
    lines_follow_and_add_up(&lines, &report);
    let offered: Vec<_> = lines.iter().map(|line| figure(line, "/offered_per_s")).collect();
    assert_eq!(offered, [300.0, 500.0]);
}

#[test]
fn two_threads_write_one_line_for_each_second() {
    let server = Server::echo();
    let (files, args) = asked();
    let args = format!("-c 4 -R 1000 --threads 2 -d 1100ms --warmup 20ms --quiet {args}");
    load(server.addr, &args).measured();
    let (lines, report) = (files.lines(), files.report());
    lines_follow_and_add_up(&lines, &report);
    assert_eq!(lines.len(), 2, "{lines:#?}");
    let log = hlog::read(text(&files.hlog).as_bytes()).expect("a log");
    assert_eq!(log.histograms[0].1, histogram(&report, "response"));
}

#[test]
fn the_report_as_json_is_one_document_of_one_line_or_many_and_nothing_else() {
    let server = Server::echo();
    let ended = load(server.addr, "-c 2 -R 100 -d 300ms --warmup 10ms --json --quiet");
    // It would not parse if anything followed.
    let report = report_of("open", &ended);
    exits_as_it_says(&ended, &report);
    assert!(ended.stdout.ends_with("}\n"), "{ended}");
    assert!(report["environment"]["kernel"].is_string(), "{report:#}");
}

/// Press Ctrl-C in a load that is on, and see all that was asked for written.
fn interrupted(args: &str, after_answers: u64) -> (Asked, Value) {
    let server = Server::echo();
    let (files, asked) = asked();
    let load = start_load(server.addr, &format!("-c 2 --warmup 10ms --quiet {args} {asked}"));
    wait_until("the load is on", || server.answers() > after_answers);
    load.signal(Signal::SIGINT);
    let ended = load.end();
    assert_eq!(ended.exits(130).stderr, "");
    let report = files.report();
    assert_eq!(report["partial"], true, "{report:#}");
    assert_eq!(report["lost"], Value::Array(Vec::new()), "{report:#}");
    assert_eq!(report["wrong_bytes"], 0, "{report:#}");
    lines_follow_and_add_up(&files.lines(), &report);
    let log = hlog::read(text(&files.hlog).as_bytes()).expect("a log");
    assert_eq!(log.histograms[0].1, histogram(&report, "response"));
    let total = format!("Total count    = {:12}]", histogram(&report, "response").len());
    assert!(text(&files.hgrm).contains(&total), "{total}: {}", text(&files.hgrm));
    (files, report)
}

#[test]
fn ctrl_c_in_an_open_loop_leaves_complete_files_and_what_was_measured() {
    let (_files, report) = interrupted("-R 2000 -d 10m", 200);
    assert_eq!(report["mode"], "open");
    assert!(whole(&report, "/answered") > 0, "{report:#}");
    assert!(figure(&report, "/seconds") < 600.0, "{report:#}");
}

#[test]
fn ctrl_c_in_a_sweep_ends_it_at_the_rate_that_was_on() {
    // The first rate has 2010 requests.
    let (_files, report) = interrupted("--sweep 1000,2000,3000 -d 2s", 2400);
    let rows = report["rows"].as_array().expect("rows");
    assert_eq!(rows.len(), 2, "{report:#}");
    assert_eq!(rows[0]["offered_per_s"], 1000.0);
    assert_eq!(rows[1]["offered_per_s"], 2000.0);
}

#[test]
fn ctrl_c_in_a_ramp_ends_it_at_the_rate_that_was_on() {
    let (_files, report) = interrupted("--ramp 1000:3000:1000:10s", 200);
    assert_eq!(report["partial"], true);
    assert!(whole(&report, "/answered") > 0, "{report:#}");
}

#[test]
fn ctrl_c_in_a_search_leaves_what_was_tried() {
    let server = Server::echo();
    let args = "-c 2 -R 1000 -d 10m --warmup 10ms --find-knee --limit p99=1s --json --quiet";
    let load = start_load(server.addr, args);
    wait_until("the load is on", || server.answers() > 200);
    load.signal(Signal::SIGINT);
    let ended = load.end();
    let report = report_of("open", ended.exits(130));
    assert_eq!(report["partial"], true, "{report:#}");
    assert_eq!(ended.stderr, "");
}

#[test]
fn ctrl_c_in_a_closed_loop_over_io_uring_ends_it_with_130() {
    for engine in super::engines::all() {
        let server = Server::echo();
        let load = start_load(server.addr, &format!("-c 2 -d 10m --warmup 10ms --json --quiet {engine}"));
        wait_until("the load is on", || server.answers() > 200);
        load.signal(Signal::SIGINT);
        let ended = load.end();
        assert_eq!(report(ended.exits(130))["partial"], true, "{engine}: {ended}");
    }
}

/// A report of a short closed loop with these arguments, into a pipe.
fn short(args: &str) -> super::Ended {
    let server = Server::echo();
    load(server.addr, &format!("-c 2 -d 300ms --warmup 10ms --wait sleep --json {args}"))
}

#[test]
fn a_report_that_its_file_cannot_take_is_on_standard_output() {
    let ended = short("--quiet -o /dev/full");
    let parts = ["/dev/full: No space left on device", "`df`", "the report is on standard output"];
    assert!(whole(&report(ended.exits(1).says_one_line(&parts)), "/answered") > 0);
}

#[test]
fn a_file_that_cannot_be_written_takes_neither_the_report_nor_the_other_files() {
    let folder = tempfile::tempdir().expect("a folder");
    let hlog = folder.path().join("run.hlog");
    let ended = short(&format!("--ndjson /dev/full --hgrm /dev/full --hlog {}", hlog.display()));
    let report = report(ended.exits(1));
    // While the load is on; and each at the end.
    assert_eq!(ended.stderr.matches("cannot write to /dev/full").count(), 3, "{ended}");
    assert!(ended.stderr.contains("the load goes on without it"), "{ended}");
    let log = hlog::read(text(&hlog).as_bytes()).expect("a log");
    assert_eq!(log.histograms[0].1, histogram(&report, "service"));
}

#[test]
fn files_have_names_that_need_not_be_text() {
    let server = Server::echo();
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &[u8]| folder.path().join(OsStr::from_bytes(name));
    let [json, hlog, hgrm, ndjson] = [at(b"\xff.json"), at(b"\xff.hlog"), at(b"\xff.hgrm"), at(b"\xff")];
    let line = format!("load {} -c 2 -d 300ms --warmup 10ms --quiet --json", server.addr);
    let mut command = io_models(&line);
    command.arg("-o").arg(&json).arg("--hlog").arg(&hlog).arg("--hgrm").arg(&hgrm);
    let ended = Program::spawn({
        command.arg("--ndjson").arg(&ndjson);
        command
    })
    .end();
    assert_eq!(ended.exits(0).stderr, "");
    let report: Value = serde_json::from_str(&text(&json)).expect("one JSON document");
    assert!(report["environment"]["command"].as_array().is_some_and(|words| words.len() > 10), "{report:#}");
    assert!(!text(&hlog).is_empty() && !text(&hgrm).is_empty() && !text(&ndjson).is_empty());
    let merged = Program::spawn({
        let mut command = io_models("merge --json");
        command.arg(&hlog);
        command
    });
    merged.end().exits(0);
}

#[test]
fn a_program_in_a_folder_whose_name_is_no_text_starts() {
    let folder = tempfile::tempdir().expect("a folder");
    let inside = folder.path().join(OsStr::from_bytes(b"d\xff"));
    fs::create_dir(&inside).expect("a folder in it");
    let copy = inside.join("io-models");
    // By another process: see `copy_for_everybody`.
    let copied = std::process::Command::new("cp").arg(env!("CARGO_BIN_EXE_io-models")).arg(&copy).status();
    assert!(copied.is_ok_and(|status| status.success()), "a copy of the program");
    for args in [&["--version"][..], &["facts", "fd-accept-emfile-keeps-connection"]] {
        Program::spawn({
            let mut command = std::process::Command::new(&copy);
            command.args(args);
            command
        })
        .end()
        .exits(0);
    }
}

/// What is in a file that was standard output, beside a first line that was there.
fn into_a_file(args: &str) -> String {
    let server = Server::echo();
    let folder = tempfile::tempdir().expect("a folder");
    let named = folder.path().join("all");
    fs::write(&named, "first line\n").expect("a file");
    let file = fs::File::options().append(true).open(&named).expect("the file");
    let args = args.replace("FILE", &named.display().to_string());
    let line = format!("load {} -c 2 -d 300ms --warmup 10ms --wait sleep --quiet --json {args}", server.addr);
    Program::end_with_stdout(io_models(&line), file).exits(0);
    let all = text(&named);
    all.strip_prefix("first line\n").unwrap_or_else(|| panic!("the first line is lost: {all}")).to_owned()
}

#[test]
fn standard_output_is_used_as_it_is_under_each_of_its_names() {
    for name in ["-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1", "FILE"] {
        let said = into_a_file(&format!("-o {name}"));
        let report: Value = serde_json::from_str(&said).unwrap_or_else(|why| panic!("{name}: {why}: {said}"));
        assert!(whole(&report, "/answered") > 0, "{name}");
    }
}

#[test]
fn what_goes_to_standard_output_stands_there_in_the_order_of_time() {
    let said = into_a_file("--ndjson - --hgrm /dev/stdout");
    let (interval, rest) = said.split_once('\n').expect("a line");
    let interval: Value = serde_json::from_str(interval).expect("the only interval");
    assert!(whole(&interval, "/answered") > 0, "{interval}");
    let (report, distribution) = rest.split_once("\n}\n").expect("a document, then a distribution");
    serde_json::from_str::<Value>(&format!("{report}\n}}")).expect("the report");
    assert!(distribution.trim_start().starts_with("Value"), "{distribution}");
}

#[test]
fn standard_error_is_used_as_it_is() {
    let server = Server::echo();
    let folder = tempfile::tempdir().expect("a folder");
    let named = folder.path().join("log");
    fs::write(&named, "first line\n").expect("a file");
    let log = fs::File::options().append(true).open(&named).expect("the file");
    let line = format!("load {} -c 2 -d 300ms --warmup 10ms --quiet -o /dev/stderr", server.addr);
    let status = io_models(&line).stderr(log).status().expect("it starts");
    assert_eq!(status.code(), Some(0));
    assert!(text(&named).starts_with("first line\nclosed loop"), "{}", text(&named));
}

#[test]
fn two_results_in_one_file_are_bad_usage() {
    let folder = tempfile::tempdir().expect("a folder");
    let named = folder.path().join("both").display().to_string();
    let ended = short(&format!("-o {named} --hlog {named}"));
    ended.exits(2).says_one_line(&["--output and --hlog both name", &named]);
    assert!(!Path::new(&named).exists(), "nothing is left behind");
}

#[test]
fn a_link_to_nowhere_stays_and_the_file_created_behind_it_is_removed_when_no_result_comes() {
    let folder = tempfile::tempdir().expect("a folder");
    let [link, target] = ["link", "target"].map(|name| folder.path().join(name));
    symlink("target", &link).expect("a link");
    let named = link.display().to_string();
    // The second option is bad usage, after the first has created its file.
    short(&format!("-o {named} --hlog {named}")).exits(2);
    assert_eq!(fs::read_link(&link).expect("the link is there"), Path::new("target"));
    assert!(!target.exists(), "nothing is left behind");
    short(&format!("--quiet -o {named}")).exits(0);
    serde_json::from_str::<Value>(&text(&target)).expect("the report");
}

#[test]
fn a_file_beyond_the_limit_on_sizes_costs_no_report() {
    let server = Server::echo();
    let folder = tempfile::tempdir().expect("a folder");
    let [json, hlog] = ["json", "hlog"].map(|name| folder.path().join(name).display().to_string());
    let mut command = std::process::Command::new("sh");
    // The unit is 512 bytes or 1024, as the shell has it: the report is larger, the head of the log is not.
    command.args(["-c", r#"ulimit -f 1 && exec "$0" "$@""#, env!("CARGO_BIN_EXE_io-models"), "load"]);
    command.arg(server.addr.to_string());
    command.args("-c 2 -d 300ms --warmup 10ms --quiet --json".split(' ')).args(["-o", &json]);
    let ended = Program::spawn(command).end();
    ended.exits(1).says_one_line(&["File too large", "`ulimit -f`", "the report is on standard output"]);
    assert!(whole(&report(&ended), "/answered") > 0);
    assert!(!Path::new(&json).exists() && !Path::new(&hlog).exists(), "no half of a report");
}

#[test]
fn merge_prints_its_report_though_a_file_beside_it_cannot_be_written() {
    let folder = tempfile::tempdir().expect("a folder");
    let named = folder.path().join("run.json").display().to_string();
    short(&format!("--quiet -o {named}")).exits(0);
    for option in ["--hgrm", "--hlog"] {
        let ended = Program::start(&format!("merge {named} --json --quiet {option} /dev/full")).end();
        ended.exits(1).says_one_line(&["cannot write to /dev/full"]);
        assert!(whole(&ended.json(), "/answered") > 0);
    }
}
