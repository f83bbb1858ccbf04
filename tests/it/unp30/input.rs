//! What bad input gets: one line with the cause and the remedy, before anything is started.

use crate::load::program::Program;

#[track_caller]
fn refused(args: &str, says: &[&str]) {
    let ended = Program::start(&format!("unp30 {args}")).end();
    assert_eq!(ended.exits(2).says_one_line(says).stdout, "");
}

#[test]
fn an_unknown_model_is_refused_with_the_nearest_names() {
    refused("--models thred", &["thred", "the nearest: thread"]);
}

#[test]
fn nothing_to_measure_is_refused() {
    refused("--rounds 0", &["--rounds", "at least 1"]);
    refused("--connections 0", &["--connections", "at least 1"]);
    refused("--workers 0", &["--workers", "at least 1"]);
}

#[test]
fn more_connections_than_ports_are_refused_with_the_arithmetic() {
    refused("--connections 100k", &["100,000 connections", "ip_local_port_range", "ask for fewer"]);
}

#[test]
fn more_workers_than_anybody_needs_are_refused() {
    refused("--workers 1m", &["--workers", "at most"]);
}

#[test]
fn two_forms_at_once_are_refused() {
    refused("--json --markdown", &["--json", "--markdown"]);
}

#[test]
fn an_output_file_that_cannot_be_written_is_refused_before_anything_is_started() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("missing/table.md");
    refused(&format!("--output {}", file.display()), &["cannot write to", "missing/table.md", "--output"]);
}
