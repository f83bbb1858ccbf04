//! What bad input gets: one line with the cause and the remedy, before anything is started.

use super::compare;
use crate::load::program::{Program, io_models};
use std::fs::File;

#[track_caller]
fn refused(args: &str, says: &[&str]) {
    let ended = compare(args);
    assert_eq!(ended.exits(2).says_one_line(says).stdout, "");
}

#[test]
fn an_unknown_model_is_refused_with_the_nearest_names() {
    refused("--models epol-edge", &["epol-edge", "the nearest: epoll-edge", "all: blocking"]);
    refused("--models poll,selct", &["selct", "the nearest: select"]);
}

#[test]
fn an_unknown_workload_is_refused_with_those_that_there_are() {
    refused("--workloads pong", &["pong", "ping", "single", "idle"]);
}

#[test]
fn silent_connections_without_the_workload_idle_are_refused() {
    refused("--idle 5 --workloads ping", &["--idle is for the workload `idle`", "--workloads"]);
}

#[test]
fn no_slices_and_slices_of_no_time_are_refused() {
    refused("--starts 0", &["--starts", "at least 1"]);
    refused("--slices 0", &["--slices", "at least 1"]);
    refused("--slice 0ms", &["--slice", "longer than that"]);
}

#[test]
fn an_output_file_that_cannot_be_written_is_refused_before_anything_is_started() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("missing/table.md");
    refused(&format!("--output {}", file.display()), &["cannot write to", "missing/table.md", "--output"]);
}

#[test]
fn a_full_disk_fails_with_one_line() {
    let line = "compare --starts 1 --slices 1 --slice 1s --workloads single --models epoll-level --quiet";
    let full = File::options().write(true).open("/dev/full").expect("/dev/full");
    let ended = Program::end_with_stdout(io_models(line), full);
    ended.exits(1).says_one_line(&["cannot write to standard output", "No space left", "is the disk full?"]);
}
