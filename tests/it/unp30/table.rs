//! The result, as data and as text.

use super::{document, rows};
use crate::load::program::{Program, io_models};
use crate::support::{on_a_terminal, without};
use io_models::model::{ALL, Waits};
use libc::SYS_sched_setaffinity;
use serde_json::Value;

#[track_caller]
fn number(row: &Value, path: &str) -> f64 {
    row.pointer(path).and_then(Value::as_f64).unwrap_or_else(|| panic!("no number {path}: {row:#}"))
}

/// A measured row has every figure, and the figures make sense.
#[track_caller]
fn has_every_figure(row: &Value, rounds: usize) {
    assert_eq!((&row["status"], row.get("reason")), (&"measured".into(), None), "{row:#}");
    for spread in ["control_cpu_s", "server_cpu_s", "wall_s"] {
        let values = ["low", "median", "high"].map(|name| number(row, &format!("/{spread}/{name}")));
        assert!(values.is_sorted(), "{spread}: {row:#}");
    }
    let runs = row["runs"].as_array().expect("runs");
    assert_eq!(runs.len(), rounds, "{row:#}");
    for (round, run) in runs.iter().enumerate() {
        assert_eq!(run["round"], round, "{row:#}");
        assert!(number(run, "/server_cpu_s") > 0.0 && number(run, "/wall_s") > 0.0, "{row:#}");
    }
    if row["model"] == "blocking" {
        assert_eq!([number(row, "/control_cpu_s/low"), number(row, "/control_cpu_s/high")], [0.0, 0.0]);
    }
}

#[test]
fn every_model_is_measured_under_both_loads_and_the_book_s_designs_come_first() {
    let ended = Program::start("unp30 --rounds 2 --connections 4 --workers 3 --json --quiet").end_within(4);
    let document = document(ended.exits(0));
    assert_eq!(document["partial"], false);
    assert!(document["environment"]["kernel"].is_string(), "{document:#}");
    let plan = &document["plan"];
    let told = [&document["clients"], &plan["connections"], &plan["workers"], &plan["rounds"], &plan["seed"]];
    assert_eq!(told, [&5.into(), &4.into(), &3.into(), &2.into(), &Value::from(1)], "{plan:#}");
    for load in ["book", "echo"] {
        let rows: Vec<_> = rows(&document).iter().filter(|row| row["load"] == load).collect();
        assert_eq!(rows.len(), ALL.len(), "{document:#}");
        let numbers: Vec<_> = rows.iter().map_while(|row| row["design"].as_u64()).collect();
        assert!(numbers.is_sorted() && numbers[..2] == [0, 1], "{numbers:?}");
        assert_eq!((&rows[0]["model"], &rows[0]["name"]), (&"blocking".into(), &"iterative server".into()));
        for row in rows {
            let model = io_models::model::find(row["model"].as_str().expect("a name")).expect("a model");
            if row["status"] == "skipped" {
                assert!(model.waits == Waits::Spins || (model.why_not)().is_some(), "{row:#}");
                assert!(row["reason"].is_string() && row["wall_s"].is_null(), "{row:#}");
            } else {
                has_every_figure(row, 2);
            }
        }
    }
}

#[test]
fn the_markdown_has_a_table_for_each_load_and_the_environment_in_one_line() {
    let ended = Program::start("unp30 --rounds 1 --connections 4 --models fork --markdown --quiet").end();
    let text = &ended.exits(0).stdout;
    assert_eq!(text.lines().filter(|line| line.starts_with("| model (design) ")).count(), 2, "{text}");
    assert_eq!(text.lines().filter(|line| line.starts_with("| fork (1) ")).count(), 2, "{text}");
    assert_eq!(text.lines().filter(|line| line.starts_with("Linux ")).count(), 1, "{text}");
}

#[test]
fn the_text_fits_a_terminal_and_says_what_was_done() {
    let line = "unp30 --rounds 1 --connections 4 --models poll,spin,fork,poll";
    for columns in [80, 120] {
        let screen = on_a_terminal(columns, io_models(line)).fits().exits(0);
        let row = |name| screen.lines.iter().position(|line| line.starts_with(name));
        let fork_is_first = row("fork (1)") < row("poll ");
        assert!(fork_is_first, "the order of the book: {screen}");
        screen.shows(&[
            "book: each connection asks once, for 4000 bytes",
            "echo: each connection sends 64 bytes 10 times",
            "control ms",
            "wall ms",
            "one fork per client",
            "spin skipped: it never sleeps",
            "5 client processes, 4 connections each",
            "everything on CPU ",
            "1 round in random order, seed 1; every byte checked.",
            "[lowest and highest]",
        ]);
    }
}

#[test]
fn a_measurement_that_may_not_pin_goes_on_and_says_so() {
    let line = "unp30 --rounds 1 --connections 4 --models poll --json";
    let ended = without(&[SYS_sched_setaffinity], libc::EPERM, || Program::start(line)).end();
    let document = document(ended.exits(0));
    let not_known = document["not_known"][0].as_str().expect("a sentence");
    assert!(not_known.contains("not pinned") && ended.stderr.contains(not_known), "{ended}");
    assert!(rows(&document).iter().all(|row| row["status"] == "measured"), "{document:#}");
}

#[test]
fn everything_runs_on_one_processor_unless_asked_otherwise() {
    let line = "unp30 --rounds 1 --connections 4 --models poll --json --quiet";
    let pinned = document(Program::start(line).end().exits(0));
    assert!(pinned["plan"]["cpu"].is_u64(), "{pinned:#}");
    let free = document(Program::start(&format!("{line} --no-pin")).end().exits(0));
    assert!(free["plan"]["cpu"].is_null(), "{free:#}");
    assert_eq!(free["not_known"], serde_json::json!([]));
}

#[test]
fn a_result_goes_to_the_file_that_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("unp30.md");
    let line =
        format!("unp30 --rounds 1 --connections 4 --models poll --markdown --quiet -o {}", file.display());
    assert_eq!(Program::start(&line).end().exits(0).stdout, "");
    assert!(std::fs::read_to_string(file).expect("the result").contains("| poll "));
}
