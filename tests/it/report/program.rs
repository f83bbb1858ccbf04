//! The command itself: what it draws, and what it refuses.

use super::sample::{BASELINE, EVIL, checked, of};
use crate::load::program::{Ended, Program};
use io_models::lab::results::compare::Comparison;
use io_models::lab::show::{csv, html};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// A folder with a saved result of a foreign server, of poll and of the baseline.
fn saved() -> (TempDir, PathBuf) {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("result.json");
    let result = of(&["ping", "idle"], &[BASELINE, "poll", EVIL]);
    fs::write(&file, serde_json::to_string(&result).unwrap()).unwrap();
    (folder, file)
}

fn report(file: &Path, options: &str) -> Ended {
    Program::start(&format!("report {} {options}", file.display())).end()
}

#[test]
fn a_saved_result_is_drawn_as_tables_on_standard_output() {
    let (_folder, file) = saved();
    let ended = report(&file, "");
    ended.exits(0);
    // Off a terminal they are Markdown.
    for name in [BASELINE, "poll", &EVIL.replace('<', "\\<")] {
        assert!(ended.stdout.contains(name), "{ended}");
    }
}

#[test]
fn a_result_that_comes_through_a_pipe_is_drawn() {
    let (folder, comparison) = saved();
    let verdicts = folder.path().join("verdicts.json");
    fs::write(&verdicts, serde_json::to_string(&checked(&["mine"], "text")).unwrap()).unwrap();
    for (file, shown) in [(comparison, "poll"), (verdicts, "echo/nul")] {
        let mut piped = Command::new("sh");
        piped
            .args(["-c", r#"cat "$1" | "$0" report /dev/stdin"#, env!("CARGO_BIN_EXE_io-models")])
            .arg(&file);
        let ended = Program::spawn(piped).end();
        ended.exits(0);
        assert_eq!(ended.stdout, report(&file, "").stdout, "as from a file");
        assert!(ended.stdout.contains(shown), "{ended}");
    }
}

#[test]
fn a_saved_result_is_drawn_to_files_as_from_memory() {
    let (folder, file) = saved();
    let path = |name: &str| folder.path().join(name);
    let options = ["html", "csv", "svg", "markdown"].map(|kind| format!("--{kind} {}", path(kind).display()));
    let ended = report(&file, &options.join(" "));
    ended.exits(0);
    assert_eq!(ended.stdout, "", "{ended}");
    let read = |name: &str| fs::read_to_string(path(name)).unwrap();
    let result = Comparison::read(&read("result.json")).unwrap();
    assert_eq!(read("html"), html::page(&result));
    assert_eq!(read("csv"), csv::text_of(&result));
    assert_eq!(Some(read("svg")), html::picture(&result));
    assert!(read("markdown").contains("| poll"), "{}", read("markdown"));
}

#[test]
fn the_picture_without_idle_connections_is_the_ranking() {
    let idle = html::picture(&of(&["ping", "idle"], &[BASELINE, "poll"])).unwrap();
    assert!(idle.contains("<title>CPU time per request against idle connections: idle</title>"), "{idle}");
    let ping = html::picture(&of(&["ping"], &[BASELINE, "poll", EVIL])).unwrap();
    assert!(ping.contains("<title>ping: CPU time per request</title>"), "{ping}");
    for picture in [idle, ping] {
        roxmltree::Document::parse(&picture).expect("it is XML");
    }
}

#[test]
fn there_is_no_picture_of_nothing() {
    let (folder, file) = saved();
    let mut result = of(&["ping"], &[BASELINE, "poll"]);
    result.groups.clear();
    fs::write(&file, serde_json::to_string(&result).unwrap()).unwrap();
    let picture = folder.path().join("picture.svg");
    let ended = report(&file, &format!("--svg {}", picture.display()));
    ended.exits(1).says_one_line(&["nothing was measured that could be drawn to ", "picture.svg"]);
    assert!(!picture.exists(), "an empty file is no picture");
}

#[test]
fn what_is_no_such_result_is_refused_with_a_sentence() {
    let (folder, file) = saved();
    let text = fs::read_to_string(&file).unwrap();
    let cases = [
        ("{", "it is no JSON document"),
        ("[1]", "it is no"),
        ("{}", "schema"),
        (r#"{"schema": "io-models/load", "schema_version": 3}"#, "io-models/load"),
        (r#"{"schema": "io-models/compare", "schema_version": 1}"#, "version 1"),
        (&text.replace("\"groups\"", "\"grups\""), "damaged"),
        (r#"{"schema": "io-models/check", "schema_version": 9}"#, "version 9"),
    ];
    for (text, said) in cases {
        fs::write(&file, text).unwrap();
        let ended = report(&file, "--html -");
        ended.exits(2).says_one_line(&[said]);
        assert_eq!(ended.stdout, "", "{ended}");
    }
    let ended = report(&folder.path().join("missing.json"), "");
    ended.exits(2).says_one_line(&["cannot read ", "missing.json: No such file"]);
}

#[test]
fn two_outputs_in_one_file_are_refused_and_the_file_stays() {
    let (folder, file) = saved();
    let page = folder.path().join("page");
    fs::write(&page, "old").unwrap();
    let ended = report(&file, &format!("--html {0} --csv {0}", page.display()));
    ended.exits(2).says_one_line(&["--html and --csv both name"]);
    assert_eq!(fs::read_to_string(&page).unwrap(), "old");
}

#[test]
fn what_compare_draws_report_draws_again() {
    let folder = TempDir::new().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let run = format!(
        "compare --models poll --workloads single --starts 2 --slices 2 --json --output {} --html {} --csv {}",
        path("result.json"),
        path("page.html"),
        path("list.csv")
    );
    Program::start(&run).end_within(3).exits(0);
    let again = format!("--html {} --csv {}", path("again.html"), path("again.csv"));
    report(&folder.path().join("result.json"), &again).exits(0);
    let read = |name: &str| fs::read_to_string(path(name)).unwrap();
    assert_eq!(read("page.html"), read("again.html"));
    assert_eq!(read("list.csv"), read("again.csv"));
    assert!(read("page.html").contains("<title>single: CPU time per request</title>"), "it is a real one");
}
