//! A server that answers wrong bytes is found, and only its row fails.

use io_models::lab::unp30::{self, Load, Plan, Watch};
use io_models::model::{Model, find};
use io_models::stop;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

struct Nobody;

impl Watch for Nobody {
    fn progress(&mut self, _: Load, _: &Model, _: usize, _: usize) {}
}

/// A program that is `io-models`, except that `serve poll` answers `ok`, whatever it should answer.
fn a_program_with_a_wrong_server(folder: &Path) -> PathBuf {
    let program = folder.join("io-models");
    let script = format!(
        "#!/bin/sh\n[ \"$1 $2\" = 'serve poll' ] && exec {0} serve poll --with-parent $PPID --json --reply ok\nexec {0} \"$@\"\n",
        env!("CARGO_BIN_EXE_io-models")
    );
    // By another process: a test that forks while this one has the script open for writing would hand the descriptor to
    // its child, and the script could not be run (ETXTBSY) until that child's exec.
    let mut install = Command::new("install")
        .args(["-m", "755", "/dev/stdin"])
        .arg(&program)
        .stdin(Stdio::piped())
        .spawn()
        .expect("install, of coreutils");
    let mut stdin = install.stdin.take().expect("a pipe");
    std::io::Write::write_all(&mut stdin, script.as_bytes()).expect("a script");
    drop(stdin);
    assert!(install.wait().is_ok_and(|status| status.success()), "a script that can be run");
    program
}

#[test]
fn a_server_that_answers_wrong_bytes_fails_its_rows_and_no_other() {
    let folder = tempfile::tempdir().expect("a folder");
    let plan = Plan {
        models: ["poll", "fork"].map(|name| find(name).expect("a model")).to_vec(),
        rounds: 2,
        connections: 2,
        workers: 2.try_into().expect("not 0"),
        cpu: None,
        seed: 1,
        program: a_program_with_a_wrong_server(folder.path()),
    };
    let (_stopper, stop) = stop::pair().expect("a pipe");
    let result = unp30::run(plan, &stop, &mut Nobody).expect("the machine lets us measure");
    let document: Value = serde_json::from_str(&io_models::lab::json(&result)).expect("JSON");
    for row in super::rows(&document) {
        if row["model"] == "poll" {
            assert_eq!(row["status"], "failed", "{row:#}");
            let reason = row["reason"].as_str().expect("a reason");
            assert!(reason.contains("connection 0: byte 0 of the answer is 111 instead of"), "{reason}");
        } else {
            assert_eq!((&row["status"], row["runs"].as_array().map(Vec::len)), (&"measured".into(), Some(2)));
        }
    }
    let trouble = result.trouble().expect("two rows have failed");
    assert!(trouble.starts_with("poll under book failed: client ") && trouble.ends_with("and 1 more rows"));
    assert!(result.text(Some(80)).contains("FAILED: client"), "{}", result.text(Some(80)));
}
