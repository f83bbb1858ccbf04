//! The page, the documents, the exit codes, and experiments that go wrong.

use super::{ONE, WRONG, document, facts, page};
use crate::cli::{fails, one_line};
use crate::support::{children, process, wait_until};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};
use tempfile::TempDir;

/// A launcher that does this instead of starting an experiment.
fn launcher(script: &str) -> (TempDir, String) {
    let folder = tempfile::tempdir().expect("a folder for a script");
    let file = folder.path().join("launcher");
    fs::write(&file, format!("#!/bin/sh\n{script}\n")).expect("the folder is ours");
    fs::set_permissions(&file, Permissions::from_mode(0o755)).expect("the script is ours");
    let name = file.to_str().expect("a temporary folder has a plain name").to_owned();
    (folder, name)
}

#[test]
fn a_page_counts_by_area_and_says_how_long_it_took() {
    let page = page(&[ONE], 0);
    let row: Vec<&str> =
        page.lines().find(|line| line.starts_with("limits ")).unwrap().split_whitespace().collect();
    assert_eq!(row[..4], ["limits", "1", "0", "0"], "{page}");
    assert!(page.lines().last().unwrap().starts_with("1 fact in "), "{page}");
    assert!(!page.contains("DIFFERS"), "{page}");
}

#[test]
fn a_verbose_page_has_each_fact_with_its_claim() {
    let page = page(&[ONE, "--verbose"], 0);
    assert!(
        page.lines().any(|line| line.contains(ONE) && line.contains("holds") && line.contains("EMFILE")),
        "{page}"
    );
}

#[test]
fn a_fact_that_differs_is_told_in_full_and_the_exit_code_is_3() {
    let page = page(&[ONE, "--under", WRONG], 3);
    for said in [
        &format!("DIFFERS: {ONE}"),
        "step           the listener after accept failed",
        "expected       IN",
        "observed       nothing",
        "held           1 of 3 steps",
        "reference      accept(2)",
        "breaks         A level-triggered loop",
        "under the wrong kernel",
    ] {
        assert!(page.contains(said), "no {said:?} in {page}");
    }
}

#[test]
fn the_document_has_the_schema_the_totals_and_one_entry_a_fact() {
    let holds = document(&[ONE], 0);
    assert_eq!((&holds["schema"], &holds["schema_version"]), (&"io-models/facts".into(), &2.into()));
    assert_eq!((&holds["facts"][0]["outcome"], &holds["facts"][0]["held"]), (&"holds".into(), &3.into()));
    assert!(holds["facts"][0].get("observed").is_none(), "{holds}");

    let differs = document(&[ONE, "--under", WRONG], 3);
    assert_eq!((&differs["totals"]["differs"], &differs["under"]), (&1.into(), &WRONG.into()));
    let step = serde_json::json!({
        "step": "the listener after accept failed", "expected": "IN", "observed": "nothing"
    });
    assert_eq!(differs["facts"][0]["observed"][0], step);

    let skipped = document(&[ONE, "--launcher", "prlimit --nofile=4"], 1);
    assert_eq!(skipped["facts"][0]["outcome"], "skipped");
    let step = &skipped["facts"][0]["observed"][0];
    assert_eq!(step["why"], "limits");
    assert!(step["detail"].as_str().unwrap().contains("EMFILE"), "{skipped}");
}

#[test]
fn markdown_is_tables_and_junit_a_file_that_names_failures() {
    let folder = tempfile::tempdir().unwrap();
    let junit = folder.path().join("junit.xml");
    let markdown = page(&[ONE, "--under", WRONG, "--markdown", "--junit", junit.to_str().unwrap()], 3);
    assert!(markdown.starts_with("# Kernel facts of Linux "), "{markdown}");
    assert!(
        markdown.contains(&format!("| `{ONE}` | **differs**: the listener after accept failed: expected ")),
        "{markdown}"
    );
    let xml = fs::read_to_string(junit).unwrap();
    for said in [
        r#"tests="1""#,
        r#"failures="1""#,
        &format!(r#"testcase name="{ONE}""#),
        "<failure message=\"the listener after accept failed: expected",
    ] {
        assert!(xml.contains(said), "no {said:?} in {xml}");
    }
}

#[test]
fn a_baseline_that_still_holds_ends_with_0_and_a_change_with_3_and_a_diff() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("baseline.json");
    let file = file.to_str().unwrap();
    facts(&[ONE, "--json", "--output", file]).assert().code(0);
    assert!(page(&[ONE, "--baseline", file], 0).contains("Nothing changed since"));

    let changed = page(&[ONE, "--baseline", file, "--under", WRONG], 3);
    assert!(
        changed.contains(&format!(
            "\n- {ONE}: holds\n+ {ONE}: differs: the listener after accept failed: expected "
        )),
        "{changed}"
    );
    let changes = &document(&[ONE, "--baseline", file, "--under", WRONG], 3)["changes"];
    assert_eq!((&changes[0]["was"], &changes[0]["is"]), (&"holds".into(), &"differs".into()));

    // A difference that was recorded is no change.
    facts(&[ONE, "--under", WRONG, "--json", "--output", file]).assert().code(3);
    assert!(page(&[ONE, "--under", WRONG, "--baseline", file], 0).contains("Nothing changed since"));
}

#[test]
fn the_list_and_the_explanation_run_nothing() {
    let list = page(&["limits", "--list"], 0);
    assert!(list.contains(ONE) && list.contains(WRONG), "{list}");
    let explained = page(&["--explain", ONE], 0);
    for said in ["Claim", "Reference", "Why it matters", "The experiment", "https://github.com/", "--under"] {
        assert!(explained.contains(said), "no {said:?} in {explained}");
    }
}

#[test]
fn what_does_not_exist_is_refused_with_the_nearest_that_does() {
    for (args, said) in [
        (&["fd-accept-emfile"][..], ONE),
        (&["limit"], "the nearest area: limits; "),
        (&["tpc"], "the nearest area: tcp; "),
        (&["limit"], "areas: select, poll"),
        (&["--explain", "fd-accept"], ONE),
        (&["--under", "emfile-drops"], WRONG),
        (&["--baseline", "/does/not/exist"], "record one with"),
        (&["--baseline", "Cargo.toml"], "no profile of facts"),
        (&["--deadline", "0s"], "'--deadline"),
        (&["--json", "--markdown"], "cannot be used with"),
        (&["--output", "/does/not/exist"], "--output"),
    ] {
        let args: Vec<&str> = ["facts"].iter().chain(args).copied().collect();
        let complaint = fails(&args, 2);
        assert!(complaint.contains(said), "{args:?}: no {said:?} in {complaint}");
    }
}

#[test]
fn an_experiment_that_hangs_is_an_outcome() {
    let (_folder, hangs) = launcher("exec sleep 60");
    let page = page(&[ONE, "--launcher", &hangs, "--deadline", "200ms"], 3);
    assert!(page.contains("observed       it did not end within 0.2 s"), "{page}");
}

#[test]
fn an_experiment_that_crashes_is_an_outcome_with_its_last_words() {
    let (_folder, crashes) = launcher("echo out of luck >&2; kill -SEGV $$");
    let page = page(&[ONE, "--launcher", &crashes], 3);
    assert!(page.contains("it was killed by signal 11; it said: out of luck"), "{page}");
}

#[test]
fn an_experiment_that_says_no_end_of_things_is_an_outcome_too() {
    let (_folder, talks) = launcher("exec yes");
    let page = page(&[ONE, "--launcher", &talks, "--deadline", "200ms"], 3);
    // It may be asleep in write(2) just then, which is told as well.
    assert!(page.contains("it did not end within 0.2 s"), "{page}");
    assert!(page.contains("; it said: y"), "{page}");
    assert!(page.len() < 4000, "{} bytes", page.len());
}

#[test]
fn a_launcher_that_cannot_be_started_is_an_error_at_once() {
    for args in [&[][..], &["--quiet", "--json"]] {
        let args: Vec<&str> =
            ["tcp", "--launcher", "/does/not/exist -x"].iter().chain(args).copied().collect();
        let line = one_line(&mut facts(&args), 1);
        assert!(line.contains("cannot start the launcher /does/not/exist: No such file"), "{line}");
    }
}

#[test]
fn a_run_in_which_every_fact_is_skipped_fails_with_the_reason() {
    let said = |args: &[&str]| {
        let output = facts(args).assert().code(1).get_output().clone();
        let (page, said) =
            (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
        assert!(page.contains("skipped"), "the result is written all the same: {page}");
        said
    };
    let line = said(&[ONE, "--launcher", "prlimit --nofile=4", "--quiet"]);
    assert!(line.contains(&format!("nothing was checked: {ONE} was skipped: ")), "{line}");
    assert_eq!(line.lines().count(), 1, "{line}");
    let line = said(&["fd-emfile-everywhere", ONE, "--launcher", "prlimit --nofile=4"]);
    assert!(line.contains("and 1 more were skipped"), "{line}");
    // That it was skipped before as well makes no success of it.
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("before.json");
    let file = file.to_str().unwrap();
    said(&[ONE, "--launcher", "prlimit --nofile=4", "--json"]);
    let before = document(&[ONE, "--launcher", "prlimit --nofile=4"], 1);
    fs::write(file, before.to_string()).unwrap();
    said(&[ONE, "--launcher", "prlimit --nofile=4", "--baseline", file]);
}

#[test]
fn ctrl_c_ends_the_experiments_and_reports_what_was_found_until_then() {
    let (_folder, hangs) = launcher("exec sleep 60");
    let program = Command::new(env!("CARGO_BIN_EXE_io-models"))
        .args(["facts", ONE, "--json", "--deadline", "50s", "--launcher", &hangs])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let pid = Pid::from_raw(i32::try_from(program.id()).unwrap());
    let mut sleeping = Vec::new();
    wait_until("the experiment to run", || {
        sleeping = children(&process(pid));
        !sleeping.is_empty()
    });
    kill(pid, Signal::SIGINT).unwrap();
    let output = program.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130));
    let document: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&document["partial"], &document["totals"]["skipped"]), (&true.into(), &0.into()));
    wait_until("the experiment to be gone", || {
        sleeping.iter().all(|pid| fs::metadata(format!("/proc/{pid}")).is_err())
    });
}

#[test]
fn a_partial_profile_is_no_baseline() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("partial.json");
    let text = page(&[ONE, "--json"], 0).replace("\"partial\": false", "\"partial\": true");
    fs::write(&file, text).unwrap();
    let complaint = one_line(&mut facts(&["--baseline", file.to_str().unwrap()]), 2);
    assert!(complaint.contains("it is partial"), "{complaint}");
}

#[test]
fn the_report_is_printed_though_the_file_beside_it_cannot_be_written() {
    let output = facts(&[ONE, "--json", "--junit", "/dev/full"]).assert().code(1).get_output().clone();
    let report: serde_json::Value =
        serde_json::from_slice(&output.stdout).expect("the report is one JSON document");
    assert_eq!(report["facts"].as_array().map(Vec::len), Some(1), "{report:#}");
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(complaint.contains("cannot write to /dev/full"), "{complaint}");
}
