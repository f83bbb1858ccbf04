//! What people see: nothing is wider than their terminal, nothing that they need is left out, and what is wrong has a
//! colour.

use crate::load::program::io_models;
use crate::load::servers::Server;
use crate::support::{Screen, on_a_terminal};
use io_models::sys::calls::Call;
use std::collections::HashSet;
use std::process::Command;

/// A terminal as it opens, one beside another window, and a wide one.
const WIDTHS: [u16; 3] = [80, 100, 120];

const RED: &str = "\x1b[31m";

/// Clears the line: before the progress is drawn again, and at its end.
const CLEAR: &str = "\x1b[2K";

/// With the arguments in `line`, of which none has a blank.
#[track_caller]
fn run(columns: u16, line: &str) -> Screen {
    on_a_terminal(columns, io_models(line))
}

#[test]
fn a_comparison_shows_all_that_a_decision_needs() {
    for columns in WIDTHS {
        let screen = run(
            columns,
            "compare --starts 2 --slices 2 --slice 60ms --workloads ping --models blocking,poll",
        );
        let screen = screen.fits().exits(0);
        let screen = screen.shows(&[
            "requests/s",
            "rate ratio",
            "CPU µs/req",
            "CPU ratio",
            "1.00 [1.00–1.00]",
            "p50",
            "p99",
            "memory",
            "iB",
            "per conn",
            "calls/req",
            "wake-ups/req",
            "not comparable: takes at most 1 connection (one client at a time), and 64 are needed",
            "the baseline",
            "closed loop",
        ]);
        let heads = screen.lines.iter().filter(|line| line.starts_with("server "));
        for head in heads {
            let names: Vec<_> = head.split("  ").map(str::trim).filter(|name| !name.is_empty()).collect();
            let different: HashSet<_> = names.iter().collect();
            assert_eq!(different.len(), names.len(), "two columns with one name: {screen}");
        }
    }
}

#[test]
fn the_system_calls_of_the_models_stand_side_by_side_on_request() {
    let screen = run(80, "compare --starts 1 --slices 1 --slice 1s --workloads single --models poll --calls");
    screen.fits().exits(0).shows(&[
        "System calls per request under single:",
        Call::EpollWait.name(),
        "recvfrom",
        "sendto",
    ]);
}

#[test]
fn gates_and_an_earlier_run_fit() {
    let server = Server::echo();
    let folder = tempfile::tempdir().expect("a folder");
    let old = folder.path().join("old.json").display().to_string();
    let line = format!("load {} -c 4 -d 200ms --warmup 20ms --wait sleep", server.addr);
    run(80, &format!("{line} --json -o {old}")).exits(0);
    let screen = run(80, &format!("{line} --gate achieved>=0.1 --gate p99<=0us --baseline {old}"));
    let says = ["achieved>=0.1 is met", "p99<=0us is not met", "new/old", "1 of 2 gates not met"];
    screen.fits().exits(3).shows(&says);
}

#[test]
fn a_report_of_the_load_fits() {
    let server = Server::echo();
    for columns in WIDTHS {
        let line = format!("load {} -c 4 -d 200ms --warmup 20ms --wait sleep", server.addr);
        let screen = run(columns, &line).fits().exits(0);
        screen.shows(&[
            "closed loop: 4 connections",
            "requests/s",
            "p99.9",
            "Little's law",
            "0 connections lost",
        ]);
    }
}

#[test]
fn a_sweep_shows_the_latencies_of_each_rate() {
    let server = Server::echo();
    for columns in WIDTHS {
        let line = format!("load {} -c 4 --sweep 200,400 -d 200ms --warmup 20ms --wait sleep", server.addr);
        let screen = run(columns, &line).fits();
        screen.shows(&["offered/s", "achieved/s", "unsent", "late", "p50", "p99", "p99.9", "max", "checked"]);
    }
}

#[test]
fn facts_and_their_explanations_fit() {
    for columns in WIDTHS {
        run(columns, "facts limits --verbose").fits().exits(0).shows(&["fd-accept-emfile-keeps-connection"]);
        run(columns, "facts --list").fits().exits(0).shows(&["wrong kernels, for --under"]);
        run(columns, "facts --explain ep-fork-keeps-registration").fits().exits(0).shows(&["Why it matters"]);
    }
}

#[test]
fn facts_of_many_systems_and_of_two_fit() {
    let folder = tempfile::tempdir().expect("a folder");
    let profile = |name: &str, fact: &str| {
        let file = folder.path().join(name).display().to_string();
        let environment = r#""environment": {"kernel": "6.12.1", "machine": "x86_64"}"#;
        let text = format!(
            r#"{{"schema": "io-models/facts", "schema_version": 2, "partial": false, {environment}, "facts": [{fact}]}}"#
        );
        std::fs::write(&file, text).expect("the folder is ours");
        file
    };
    let holds = profile("a.json", r#"{"id": "ep-create-args", "outcome": "holds", "held": 4}"#);
    let observed = "a mask that has several bits, and more words than fit into the line of a terminal";
    let differs = profile(
        "b.json",
        &format!(
            r#"{{"id": "ep-create-args", "outcome": "differs", "held": 3, "observed": [
            {{"step": "size 0", "expected": "EINVAL", "observed": "{observed}"}}]}}"#
        ),
    );
    for columns in WIDTHS {
        let screen = run(columns, &format!("facts map {holds} {differs}")).fits().exits(3);
        screen.shows(&["DIFFERS: ep-create-args", "claims older", "explained by"]);
        let screen = run(columns, &format!("facts --differs {holds} {differs}")).fits().exits(3);
        screen.shows(&["A holds", "Of 1 fact, 1 differs"]);
        run(columns, "facts --first-kernel poll-pidfd-exit-then-hup").fits().exits(0).shows(&["Linux 6.9"]);
    }
}

#[test]
fn help_fits() {
    for columns in [80, 120] {
        for command in ["", "compare", "unp30", "serve", "load", "merge", "facts", "facts map"] {
            run(columns, &format!("{command} --help")).fits().exits(0).shows(&["Usage: io-models"]);
        }
    }
}

#[test]
fn messages_wrap_at_words() {
    run(60, "serve poll --listen 192.0.2.1:1").fits().exits(1).shows(&["is not an address of this machine"]);
}

/// The line is redrawn in its place: afterwards nothing is left of it.
#[test]
fn the_progress_line_of_the_load_fits_and_leaves_nothing() {
    let server = Server::echo();
    for columns in [40, 80] {
        let line = format!("load {} -c 4 -d 2100ms -R 200 --warmup 20ms --wait sleep", server.addr);
        let screen = run(columns, &line).fits();
        let progress = |text: &&str| text.contains("requests/s of 200");
        let drawn: Vec<_> = screen.raw.split('\r').filter(progress).collect();
        assert!(drawn.len() >= 2, "one for each second: {screen}\n{:?}", screen.raw);
        assert!(!drawn.iter().any(|text| text.contains(": 0 requests/s")), "{drawn:?}");
        assert!(!screen.lines.iter().any(|line| progress(&line.as_str())), "{screen}");
    }
}

#[test]
fn the_progress_lines_of_the_others_fit_and_leave_nothing() {
    for line in
        ["compare --starts 1 --slices 2 --slice 60ms --workloads single --models poll", "facts limits"]
    {
        let screen = run(40, line).fits();
        let quiet = run(40, &format!("{line} --quiet"));
        assert!(!quiet.raw.contains(CLEAR), "{:?}", quiet.raw);
        let drawn = screen.raw.matches(CLEAR).count();
        assert!(drawn >= 2, "a line that is redrawn, and its end: {:?}", screen.raw);
        let left =
            |line: &String| line.contains("[#") || line.contains("measuring") || line.starts_with("1/");
        assert!(!screen.lines.iter().any(left), "{screen}");
    }
}

#[test]
fn what_is_wrong_is_red() {
    let differs = "facts fd-accept-emfile-keeps-connection --under emfile-drops-connection";
    let screen = run(80, differs).exits(3).shows(&["DIFFERS: fd-accept-emfile-keeps-connection"]);
    assert!(screen.raw.contains(&format!("{RED}DIFFERS")), "{:?}", screen.raw);

    let server = Server::silent();
    let screen =
        run(80, &format!("load {} -c 2 -d 100ms --warmup 0 --timeout 200ms", server.addr)).fits().exits(1);
    assert!(screen.raw.contains(&format!("{RED}2 connections lost")), "{:?}", screen.raw);
}

/// Whether there is an escape sequence other than that of the progress line.
fn coloured(screen: &Screen) -> bool {
    screen.raw.replace(CLEAR, "").contains('\x1b')
}

#[test]
fn nothing_has_a_colour_where_nobody_wants_one() {
    let differs = "facts fd-accept-emfile-keeps-connection --under emfile-drops-connection";
    let mut command: Command = io_models(&format!("{differs} --color never"));
    assert!(!coloured(&on_a_terminal(80, command).exits(3)), "--color never");
    command = Command::new("sh");
    command.args(["-c", r#"NO_COLOR=1 exec "$0" "$@""#, env!("CARGO_BIN_EXE_io-models")]);
    command.args(differs.split_whitespace());
    let screen = on_a_terminal(80, command).exits(3);
    assert!(!coloured(&screen), "NO_COLOR: {:?}", screen.raw);

    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("page.txt");
    run(80, &format!("{differs} --color always -o {}", file.display())).exits(3);
    let page = std::fs::read_to_string(file).expect("the report");
    assert!(page.contains("DIFFERS") && !page.contains('\x1b'), "{page:?}");
}
