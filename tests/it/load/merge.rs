//! `io-models merge`: several results become one, or are refused with the cause.

use super::program::{Ended, Program};
use super::servers::{Answer, Server};
use hdrhistogram::Histogram;
use io_models::lab::load::LatencyUs;
use io_models::lab::load::hgrm;
use io_models::lab::load::hlog::{self, decoded, encoded};
use io_models::lab::load::merge::Merged;
use proptest::prelude::*;
use serde_json::{Value, json};
use std::sync::LazyLock;
use tempfile::TempDir;

/// A report and a log of one run.
struct Run {
    json: Value,
    hlog: String,
}

/// Three generators at the same time on one server, in an open loop.
static OPEN: LazyLock<[Run; 3]> = LazyLock::new(|| {
    runs(["-R 500 -c 4", "-R 700 -c 2", "-R 500 -c 3"].map(|args| format!("{args} -d 1500ms")))
});

/// Two in a closed loop.
static CLOSED: LazyLock<[Run; 2]> =
    LazyLock::new(|| runs(["-c 2", "-c 3"].map(|args| format!("{args} -d 300ms"))));

fn runs<const N: usize>(args: [String; N]) -> [Run; N] {
    let server = Server::echo();
    let folder = Folder::new();
    let running: Vec<_> = (0..N)
        .map(|i| {
            let (json, hlog) = (folder.path(&format!("{i}.json")), folder.path(&format!("{i}.hlog")));
            let always = "--warmup 50ms --wait sleep --quiet --json";
            Program::start(&format!("load {} {} {always} -o {json} --hlog {hlog}", server.addr, args[i]))
        })
        .collect();
    for run in running {
        run.end().measured();
    }
    let mut runs = std::array::from_fn(|i| Run {
        json: folder.json(&format!("{i}.json")),
        hlog: folder.text(&format!("{i}.hlog")),
    });
    on_together(&mut runs);
    runs
}

/// Say that all were on when the first was, the logs as well. On a busy machine one may begin after the others have
/// ended, or end long after its time.
fn on_together(runs: &mut [Run]) {
    let (started, seconds) = (runs[0].json["started_unix_s"].clone(), runs[0].json["plan"]["time_s"].clone());
    let (from, length) = (started.as_f64().expect("a time"), seconds.as_f64().expect("a number of seconds"));
    for run in runs {
        (run.json["started_unix_s"], run.json["seconds"]) = (started.clone(), seconds.clone());
        let lines = run.hlog.lines().map(|line| {
            if let Some((name, _)) = line.split_once("Time: ") {
                return format!("{name}Time: {from:.3} (seconds since epoch)]\n");
            }
            let mut fields: Vec<_> = line.split(',').map(str::to_owned).collect();
            let at = usize::from(line.starts_with("Tag="));
            if let [Ok(start), Ok(lasts)] =
                [at, at + 1].map(|at| fields.get(at).map_or("", |f| f).parse::<f64>())
            {
                fields[at + 1] = format!("{:.3}", lasts.min(length - start));
            }
            format!("{}\n", fields.join(","))
        });
        run.hlog = lines.collect();
    }
}

/// Files to merge, which go away with the test.
struct Folder(TempDir);

impl Folder {
    fn new() -> Folder {
        Folder(tempfile::tempdir().expect("a folder"))
    }

    /// With these files in it.
    fn of(files: &[(&str, &str)]) -> Folder {
        let folder = Folder::new();
        files.iter().for_each(|(name, text)| folder.put(name, text));
        folder
    }

    fn put(&self, name: &str, text: &str) {
        std::fs::write(self.0.path().join(name), text).expect("a file in a folder of ours");
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).display().to_string()
    }

    fn text(&self, name: &str) -> String {
        std::fs::read_to_string(self.0.path().join(name)).expect("a file that was written")
    }

    fn json(&self, name: &str) -> Value {
        serde_json::from_str(&self.text(name)).expect("a JSON document")
    }

    /// `io-models merge` with these arguments, those with a dot being files of the folder.
    fn merge(&self, args: &str) -> Ended {
        let of = |word: &str| if word.contains('.') { self.path(word) } else { word.to_owned() };
        let args: Vec<_> = args.split_whitespace().map(of).collect();
        Program::start(&format!("merge {}", args.join(" "))).end()
    }

    /// The merged document.
    #[track_caller]
    fn merged(&self, args: &str) -> Value {
        self.merge(&format!("--json --quiet {args}")).exits(0).json()
    }

    #[track_caller]
    fn refused(&self, args: &str, parts: &[&str]) {
        let ended = self.merge(args);
        ended.exits(1).says_one_line(parts);
        assert_eq!(ended.stdout, "", "nothing is merged");
    }
}

/// `a.json`, `b.json`, `c.json` and the logs, in an open loop.
fn open_loop() -> Folder {
    let folder = Folder::new();
    for (name, run) in ["a", "b", "c"].iter().zip(&*OPEN) {
        folder.put(&format!("{name}.json"), &run.json.to_string());
        folder.put(&format!("{name}.hlog"), &run.hlog);
    }
    folder
}

/// A report after a change.
fn changed(report: &Value, change: impl FnOnce(&mut Value)) -> String {
    let mut report = report.clone();
    change(&mut report);
    report.to_string()
}

fn histogram(report: &Value, name: &str) -> Histogram<u64> {
    let text = report["histograms"][name].as_str().unwrap_or_else(|| panic!("{name}: {report:#}"));
    decoded(text).expect("a histogram that was written")
}

fn added(reports: &[&Value], name: &str) -> Histogram<u64> {
    let mut sum = histogram(reports[0], name);
    reports[1..].iter().for_each(|report| sum.add(histogram(report, name)).expect("of one precision"));
    sum
}

fn close(a: &Value, b: f64) -> bool {
    a.as_f64().is_some_and(|a| (a - b).abs() <= 1e-9 * b.abs())
}

fn sum(reports: &[&Value], name: &str) -> f64 {
    reports.iter().map(|report| report[name].as_f64().unwrap_or_else(|| panic!("{name}: {report:#}"))).sum()
}

#[test]
fn counts_and_rates_of_reports_add_up() {
    let merged = open_loop().merged("a.json b.json c.json");
    let parts: Vec<_> = OPEN.iter().map(|run| &run.json).collect();
    assert_eq!((&merged["schema"], &merged["schema_version"]), (&json!("io-models/load"), &json!(3)));
    assert_eq!(merged["simultaneous"], true, "{merged:#}");
    for name in [
        "connections",
        "due",
        "sent",
        "unsent",
        "late",
        "late_by_generator",
        "answered",
        "answered_after",
        "unanswered",
        "wrong_bytes",
        "lost_connections",
        "opened",
        "generator_cpu_s",
        "offered_per_s",
        "achieved_per_s",
    ] {
        assert!(close(&merged[name], sum(&parts, name)), "{name}: {merged:#}");
    }
    assert_eq!(merged["plan"]["connections"], 9);
    assert_eq!(merged["plan"]["offered_per_s"], json!([1700.0]), "rates may differ, and are summed");
    assert_eq!(merged["merged_from"].as_array().map(Vec::len), Some(3));
    assert_eq!(merged["merged_from"][1]["connections"], 2);
    assert_eq!(merged["target"], OPEN[0].json["target"]);
}

#[test]
fn percentiles_are_those_of_the_added_histograms() {
    let merged = open_loop().merged("a.json b.json c.json");
    let parts: Vec<_> = OPEN.iter().map(|run| &run.json).collect();
    for name in ["response", "service"] {
        let all = added(&parts, name);
        assert_eq!(histogram(&merged, name), all);
        assert_eq!(merged["latency_us"][name], json!(LatencyUs::of(&all)));
    }
}

#[test]
fn logs_give_the_same_latency_as_reports_and_nothing_that_they_do_not_have() {
    let folder = open_loop();
    let (of_logs, of_reports) = (folder.merged("a.hlog b.hlog"), folder.merged("a.json b.json"));
    assert_eq!(of_logs["latency_us"], of_reports["latency_us"]);
    assert_eq!(of_logs["plan"], of_reports["plan"]);
    assert_eq!(of_logs["simultaneous"], true);
    assert_eq!(of_logs["offered_per_s"], 1200.0);
    assert_eq!(of_logs["answered"], histogram(&of_reports, "response").len());
    for name in
        ["due", "sent", "unsent", "late", "wrong_bytes", "lost_connections", "generator_cpu_s", "partial"]
    {
        assert_eq!(of_logs[name], Value::Null, "{name}");
    }
    let ended = folder.merge("a.hlog b.hlog");
    assert!(ended.exits(0).stdout.contains("sent: not in the log"), "{ended}");
    assert!(ended.stdout.contains("checked        not in the log"), "{ended}");
}

#[test]
fn a_log_and_a_report_merge_and_what_one_does_not_know_stays_unknown() {
    let merged = open_loop().merged("a.json b.hlog");
    assert_eq!((&merged["sent"], &merged["connections"]), (&Value::Null, &json!(6)));
    let all = added(&[&OPEN[0].json, &OPEN[1].json], "response");
    assert_eq!(histogram(&merged, "response"), all);
    assert_eq!(merged["simultaneous"], true, "{merged:#}");
}

#[test]
fn merged_reports_merge_again_to_the_same() {
    let folder = open_loop();
    let at_once = folder.merged("a.json b.json c.json");
    for (first, then) in [("a.json b.json", "ab.json c.json"), ("b.json c.json", "a.json ab.json")] {
        folder.merge(&format!("{first} --json -o ab.json")).exits(0);
        let mut stepwise = folder.merged(then);
        // Sums of fractions depend on the order in the last digit.
        assert!(close(&stepwise["generator_cpu_s"], sum(&[&at_once], "generator_cpu_s")), "{stepwise:#}");
        stepwise["generator_cpu_s"] = at_once["generator_cpu_s"].clone();
        assert_eq!(stepwise, at_once);
    }
}

#[test]
fn merged_logs_merge_again_to_the_same() {
    let folder = open_loop();
    folder.merge("a.hlog b.hlog --hlog ab.hlog -o unused.txt").exits(0);
    assert_eq!(folder.merged("ab.hlog c.hlog"), folder.merged("a.hlog b.hlog c.hlog"));
    let log = hlog::read(folder.text("ab.hlog").as_bytes()).expect("a log");
    assert_eq!(log.histograms[0].1, added(&[&OPEN[0].json, &OPEN[1].json], "response"));
}

#[test]
fn a_closed_loop_merges_and_says_what_it_is() {
    let [a, b] = &*CLOSED;
    let folder = Folder::of(&[("a.json", &a.json.to_string()), ("b.json", &b.json.to_string())]);
    let merged = folder.merged("a.json b.json");
    assert_eq!((&merged["mode"], &merged["offered_per_s"]), (&json!("closed"), &Value::Null));
    assert_eq!(merged["histograms"]["response"], Value::Null);
    let ended = folder.merge("a.json b.json");
    assert!(ended.exits(0).stdout.starts_with("closed loop: 2 generators, 5 connections to "), "{ended}");
    assert!(ended.stdout.contains("a stall of the server counts once"), "{ended}");
}

#[test]
fn one_file_is_shown() {
    let folder = open_loop();
    let ended = folder.merge("a.json --quiet");
    assert!(ended.exits(0).stdout.starts_with("open loop: 1 generator, 4 connections to "), "{ended}");
    let merged = folder.merged("a.json");
    for name in ["sent", "answered", "achieved_per_s", "latency_us.service", "plan"] {
        let of = |report: &Value| report.pointer(&format!("/{}", name.replace('.', "/"))).cloned();
        assert_eq!(of(&merged), of(&OPEN[0].json), "{name}");
    }
}

#[test]
fn no_files_are_refused() {
    Folder::new().merge("").exits(2).says_one_line(&["FILE"]);
}

#[test]
fn the_distribution_is_that_of_the_added_histogram() {
    let folder = open_loop();
    folder.merge("a.json b.json --hgrm ab.hgrm -o report.txt").exits(0);
    let all = added(&[&OPEN[0].json, &OPEN[1].json], "response");
    assert_eq!(folder.text("ab.hgrm"), hgrm::text(&all, 1e6));
    assert!(folder.text("report.txt").starts_with("open loop: 2 generators"));
}

#[test]
fn runs_that_were_not_on_together_have_the_rate_over_their_time_and_a_warning() {
    let folder = open_loop();
    let later = |by: f64| {
        changed(&OPEN[1].json, |report| {
            report["started_unix_s"] = json!(OPEN[0].json["started_unix_s"].as_f64().unwrap() + by);
        })
    };
    folder.put("later.json", &later(1000.0));
    let merged = folder.merged("a.json later.json");
    assert_eq!(merged["simultaneous"], false);
    let parts = [&OPEN[0].json, &OPEN[1].json];
    assert!(
        (sum(&[&merged], "seconds") - sum(&parts, "seconds")).abs() < 1e-3,
        "the gap does not count: {merged:#}"
    );
    let rate = sum(&parts, "completed") / sum(&[&merged], "seconds");
    assert!(close(&merged["achieved_per_s"], rate), "{merged:#}");
    let ended = folder.merge("a.json later.json");
    assert!(ended.exits(0).stderr.contains("did not run at the same time"), "{ended}");
    // Nine tenths are together, eight are not.
    folder.put("little.json", &later(0.1));
    assert_eq!(folder.merged("a.json little.json")["simultaneous"], true);
    folder.put("more.json", &later(0.3));
    assert_eq!(folder.merged("a.json more.json")["simultaneous"], false);
}

#[test]
fn runs_without_a_single_answer_are_a_failure() {
    let server = Server::silent();
    let folder = Folder::new();
    let silent = folder.path("silent.json");
    let line = format!("load {} -c 1 -d 50ms --timeout 50ms --json --quiet -o {silent}", server.addr);
    Program::start(&line).end().exits(1);
    // As an interrupted run leaves it.
    let nothing = changed(&folder.json("silent.json"), |report| {
        (report["lost_connections"], report["lost"]) = (json!(0), json!([]));
    });
    folder.put("nothing.json", &nothing);
    let ended = folder.merge("nothing.json");
    ended.exits(1).says_one_line(&["nothing was measured"]);
    assert!(ended.stdout.contains("0 answered"), "the report is written all the same: {ended}");
}

#[test]
fn a_lost_connection_in_one_of_them_is_a_failure() {
    let server = Server::wrong_once(64, (1, 1), |_| Answer::Reset);
    let folder = Folder::of(&[("a.json", &CLOSED[0].json.to_string())]);
    let bad = folder.path("bad.json");
    let args =
        format!("load {} -c 3 -d 300ms --warmup 50ms --wait sleep --quiet --json -o {bad}", server.addr);
    Program::start(&args).end().exits(1);
    let ended = folder.merge("a.json bad.json --quiet");
    ended.exits(1).says_one_line(&["1 of 5 connections lost", "bad.json: connection 1"]);
    assert!(ended.stdout.contains("0 wrong, 1 connection lost"), "{ended}");
    // Of a run that is not as long, and merged once more.
    folder.merge("a.json bad.json --quiet --json -o all.json").exits(1);
    folder.merge("all.json --quiet").exits(1).says_one_line(&["1 of 5 connections lost"]);
}

#[test]
fn different_plans_are_refused_with_both_settings() {
    let folder = open_loop();
    for (key, value, ours) in [
        ("sizes", json!({ "fixed": 512 }), "{\"fixed\":64}"),
        ("depth", json!(8), "1"),
        ("requests_per_conn", json!(10), "none"),
        ("arrivals", json!("poisson"), "constant"),
        ("engine", json!("uring"), "epoll"),
        ("wait", json!("spin"), "sleep"),
        ("warmup_s", json!(2.5), "0.05"),
        ("time_s", json!(60.0), "1.5"),
        ("digits", json!(2), "3"),
    ] {
        folder.put("b.json", &changed(&OPEN[1].json, |report| report["plan"][key] = value.clone()));
        let theirs = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let says = [&format!("a.json has {key} {ours}"), &format!("b.json has {key} {theirs}")];
        folder.refused("a.json b.json", &says.map(String::as_str));
    }
    folder
        .put("b.json", &changed(&OPEN[1].json, |report| report["plan"]["offered_per_s"] = json!([1.0, 2.0])));
    folder.refused("a.json b.json", &["a.json has offered_per_s of 1 rates", "b.json of 2"]);
}

#[test]
fn an_open_and_a_closed_loop_are_refused() {
    let folder = open_loop();
    folder.put("closed.json", &CLOSED[0].json.to_string());
    folder.refused("a.json closed.json", &["a.json has mode open", "closed.json has mode closed"]);
}

#[test]
fn different_precisions_are_refused_with_both() {
    let folder = open_loop();
    let rough = |name| {
        let mut rough = Histogram::<u64>::new(2).expect("two digits");
        histogram(&OPEN[1].json, name).iter_recorded().for_each(|bin| {
            rough.record_n(bin.value_iterated_to(), bin.count_at_value()).expect("it grows");
        });
        encoded(&rough)
    };
    let text = changed(&OPEN[1].json, |report| {
        ["response", "service"].iter().for_each(|&name| report["histograms"][name] = json!(rough(name)));
    });
    folder.put("rough.json", &text);
    let says = ["a.json has histograms of 3 significant digits", "rough.json of 2", "one precision"];
    folder.refused("a.json rough.json", &says);
}

#[test]
fn a_run_given_twice_is_refused() {
    let folder = open_loop();
    folder.put("copy.json", &OPEN[0].json.to_string());
    let twice = "counted twice";
    folder.refused("a.json a.json", &["a.json is of the same run as", twice]);
    folder.refused("a.json b.json copy.json", &["copy.json is of the same run as", "a.json", twice]);
    folder.refused("a.hlog a.hlog", &["a.hlog is of the same run as", twice]);
    folder.refused("a.json b.json a.hlog", &["a.hlog is of the same run as", "a.json", twice]);
    folder.merge("a.json b.json --json -o all.json").exits(0);
    folder.refused("all.json b.json", &["b.json is of the same run as", twice]);
    folder.refused("b.json all.json", &["b.json in ", "all.json is of the same run as", twice]);
}

#[test]
fn logs_of_other_programs_merge_with_each_other_only() {
    let without_plan = |run: &Run| {
        run.hlog
            .lines()
            .filter(|line| !line.contains("plan: "))
            .fold(String::new(), |all, line| all + line + "\n")
    };
    let folder = open_loop();
    folder.put("x.hlog", &without_plan(&OPEN[0]));
    folder.put("y.hlog", &without_plan(&OPEN[1]));
    let merged = folder.merged("x.hlog y.hlog");
    assert_eq!((&merged["mode"], &merged["plan"]), (&Value::Null, &Value::Null));
    assert_eq!(histogram(&merged, "service"), added(&[&OPEN[0].json, &OPEN[1].json], "response"));
    let says = ["c.hlog has a plan (mode open", "x.hlog has none"];
    folder.refused("x.hlog c.hlog", &says);
    folder.refused("c.hlog x.hlog", &says);
    let ended = folder.merge("x.hlog y.hlog");
    assert!(ended.exits(0).stdout.starts_with("logs of another program: 2 generators"), "{ended}");
    assert!(ended.stderr.contains("tag service are not merged"), "{ended}");
    folder.merge("x.hlog y.hlog --hlog xy.hlog --quiet").exits(0);
    folder.merge("x.hlog y.hlog --json -o xy.json --quiet").exits(0);
    assert_eq!(folder.merged("xy.hlog")["latency_us"], merged["latency_us"]);
    assert_eq!(folder.merged("xy.json"), merged);
}

#[test]
fn other_schemas_and_versions_are_refused() {
    let folder = Folder::new();
    let refused = |change: fn(&mut Value), says: &[&str]| {
        folder.put("x.json", &changed(&CLOSED[0].json, change));
        folder.refused("x.json", &[&["x.json: "], says].concat());
    };
    refused(
        |report| report["schema"] = json!("io-models/compare"),
        &["io-models/compare", "only io-models/load"],
    );
    refused(|report| report["schema_version"] = json!(1), &["schema_version is 1", "only 3"]);
    refused(|report| *report = json!({ "from_s": 0.0 }), &["no schema", "io-models load --json"]);
}

#[test]
fn files_that_cannot_be_read_are_named_with_the_remedy() {
    let folder = Folder::of(&[("empty.json", ""), ("words.txt", "listening on 127.0.0.1:1\n")]);
    folder.refused("missing.json", &["missing.json: No such file", "--hlog, or --json -o"]);
    folder.refused("./.", &["Is a directory"]);
    folder.refused("empty.json", &["empty.json: line 1: the file is empty"]);
    folder.refused("words.txt", &["words.txt: line 1: this is no HdrHistogram interval log"]);
    folder.put("two.json", "{}\n{}\n");
    folder.refused("two.json", &["two.json: not one JSON document", "--json -o"]);
}

#[test]
fn damaged_reports_are_refused_with_the_cause() {
    let folder = Folder::new();
    let refused = |text: &str, says: &[&str]| {
        folder.put("x.json", text);
        folder.refused("x.json", &[&["x.json: ", "run that load again"], says].concat());
    };
    let report = &OPEN[0].json;
    let whole = report.to_string();
    refused(&whole[..whole.len() / 2], &["the JSON is cut off"]);
    let histogram = report["histograms"]["service"].as_str().expect("base64").to_owned();
    let with = |text: &str| changed(report, |report| report["histograms"]["service"] = json!(text));
    refused(&with(&histogram[..histogram.len() / 2]), &["`service` is damaged or cut off"]);
    refused(&with("!"), &["`service` is damaged", "not base64"]);
    refused(
        &with(&encoded(&Histogram::new(3).expect("three digits"))),
        &["0 requests in its histogram of service times do not fit"],
    );
    for key in ["sent", "plan", "wrong_bytes", "started_unix_s"] {
        let without = changed(report, |report| drop(report.as_object_mut().unwrap().remove(key)));
        refused(&without, &[&format!("`{key}` is missing")]);
    }
    refused(&changed(report, |report| report["sent"] = json!(-1)), &["a damaged report", "-1"]);
    refused(&changed(report, |report| report["seconds"] = json!(-1.0)), &["a time below zero"]);
    refused(
        &changed(report, |report| report["mode"] = json!("closed")),
        &["its mode is not that of its plan"],
    );
    refused(&changed(report, |report| report["histograms"]["response"] = Value::Null), &["`response`"]);
}

#[test]
fn damaged_logs_are_refused_with_the_line() {
    let folder = Folder::new();
    let log = &OPEN[0].hlog;
    folder.put("x.hlog", &log[..log.len() - 20]);
    folder.refused("x.hlog", &["x.hlog: line ", "cut off", "delete the line"]);
    folder.put("x.hlog", &log.replace("\"mode\":\"open\"", "\"mode\":\"ajar\""));
    folder.refused("x.hlog", &["x.hlog: the plan of the run is damaged"]);
    folder
        .put("x.hlog", &log.lines().filter(|line| !line.starts_with("Tag=")).collect::<Vec<_>>().join("\n"));
    folder.refused("x.hlog", &["x.hlog: a damaged log", "`service`"]);
}

#[test]
fn a_log_with_tags_only_is_refused_with_the_command_that_takes_one_away() {
    let folder = Folder::new();
    let is_without_tag = |line: &&str| line.starts_with(|c: char| c.is_ascii_digit());
    let tagged: Vec<_> = CLOSED[0].hlog.lines().filter(|line| !line.contains("plan:")).collect();
    let tagged = tagged.iter().map(|line| match is_without_tag(line) {
        true => format!("Tag=A,{line}\nTag=B,{line}\n"),
        false => format!("{line}\n"),
    });
    folder.put("x.hlog", &tagged.collect::<String>());
    let ended = folder.merge("x.hlog");
    let command = ended.stderr.split("away: ").nth(1).unwrap_or_else(|| panic!("no command: {ended}"));
    assert!(ended.exits(1).stderr.contains("intervals with tags (A, B)"), "{ended}");
    let shell = std::process::Command::new("sh").current_dir(folder.path("")).args(["-c", command]).status();
    assert!(shell.is_ok_and(|status| status.success()), "{command}");
    folder.merge("A.hlog").exits(0);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever a disk makes of a file, it is read or refused.
    #[test]
    fn no_damage_makes_it_panic(at: prop::sample::Index, byte: u8, json: bool) {
        let run = &OPEN[0];
        let mut bytes = if json { run.json.to_string() } else { run.hlog.clone() }.into_bytes();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        for bytes in [&bytes[..], &bytes[..at]] {
            if let Ok(mut merged) = Merged::read("x", bytes) {
                merged.add(Merged::read("y", OPEN[1].hlog.as_bytes()).expect("a log")).ok();
                let mut log = Vec::new();
                merged.log(&mut log).expect("memory takes everything");
                prop_assert!(hlog::read(&log).is_ok());
                prop_assert!(!merged.report().text(Some(80)).is_empty());
            }
        }
    }
}
