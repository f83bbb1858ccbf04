//! Where less is allowed: nothing crashes, nothing seems to differ that does not, and what cannot be checked
//! says why.

use crate::support::{copy_for_everybody, is_root, without};
use serde_json::Value;
use std::collections::HashMap;
use std::time::Duration;

/// Longer than all facts take one after another on a busy machine.
const ALL_FACTS: Duration = Duration::from_secs(240);

/// Run all facts with `command`, and return what became of each: its outcome, and why if it was skipped.
///
/// None may differ: an experiment that cannot be made must not look like one that failed.
#[track_caller]
fn outcomes(command: &mut assert_cmd::Command) -> HashMap<String, (String, String)> {
    let output = command.timeout(ALL_FACTS).output().expect("the facts are run within their time");
    let said = String::from_utf8_lossy(&output.stderr);
    let document: Value =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|why| panic!("{why}: {said}"));
    let mut all = HashMap::new();
    for fact in document["facts"].as_array().expect("the document has facts") {
        let text = |key: &str| fact[key].as_str().unwrap_or_default().to_owned();
        let steps = fact["observed"].as_array().map_or(&[][..], Vec::as_slice);
        assert!(steps.iter().all(|step| step["why"].is_string() && step["why"] != "set-up"), "{fact:#}");
        let why: Vec<_> = steps.iter().filter_map(|step| step["detail"].as_str()).collect();
        all.insert(text("id"), (text("outcome"), why.join("; ")));
    }
    assert_eq!(output.status.code(), Some(0), "{said}");
    all
}

fn facts() -> assert_cmd::Command {
    super::facts(&["--json"])
}

#[track_caller]
fn holds(outcomes: &HashMap<String, (String, String)>, ids: &[&str]) {
    for id in ids {
        assert_eq!(outcomes[*id].0, "holds", "{id}: {}", outcomes[*id].1);
    }
}

#[track_caller]
fn skipped(outcomes: &HashMap<String, (String, String)>, ids: &[&str], why: &str) {
    for id in ids {
        let (outcome, reason) = &outcomes[*id];
        assert!(outcome == "skipped" && reason.contains(why), "{id}: {outcome} {reason}");
    }
}

/// Without root, tests/kernel_facts.rs shows the same.
#[test]
#[ignore = "needs root, to give it up"]
fn without_privileges() {
    assert!(is_root(), "only root can become another user");
    let (_folder, program) = copy_for_everybody();
    let mut command = assert_cmd::Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--no-new-privs", "--inh-caps=-all"]);
    let outcomes = outcomes(command.arg(program).args(["facts", "--json"]));
    holds(&outcomes, &["ep-create-args", "poll-tcp-rst-mask", "sig-restart-matrix", "tcp-backlog-plus-one"]);
}

#[test]
#[ignore = "needs unshare(1), and permission to have a network namespace"]
fn in_a_network_namespace_without_a_network() {
    let mut command = assert_cmd::Command::new("unshare");
    let program = env!("CARGO_BIN_EXE_io-models");
    let outcomes = outcomes(command.args(["--map-root-user", "--net", program, "facts", "--json"]));
    holds(&outcomes, &["ep-create-args", "poll-unix-peer-close-unread-err", "poll-tcp-fresh-out-hup"]);
    skipped(&outcomes, &["poll-tcp-rst-mask", "nb-accept-eagain"], "no loopback network");
}

/// As in an empty folder that chroot(8) made the root.
#[test]
#[ignore = "needs unshare(1), and permission to have a mount namespace"]
fn without_proc_and_dev() {
    let mut command = assert_cmd::Command::new("unshare");
    let mounts = "mount -t tmpfs none /dev && mount -t tmpfs none /proc && exec \"$0\" facts --json";
    let program = env!("CARGO_BIN_EXE_io-models");
    let outcomes = outcomes(command.args(["--map-root-user", "--mount", "sh", "-c", mounts, program]));
    holds(&outcomes, &["ep-create-args", "tcp-plain-rst-is-econnreset", "fd-lowest-free"]);
    skipped(
        &outcomes,
        &["sig-restart-matrix", "multi-waiters-are-lifo"],
        "there is /proc, which tells who sleeps",
    );
    skipped(&outcomes, &["ep-eperm-before-enoent"], "the file is not here");
}

#[test]
fn with_io_uring_denied() {
    for errno in [libc::EPERM, libc::ENOSYS] {
        let outcomes = without(&[libc::SYS_io_uring_setup], errno, || outcomes(&mut facts()));
        holds(&outcomes, &["ep-create-args", "sel-negative-nfds-einval"]);
        skipped(&outcomes, &["ur-poll-add-oneshot", "ur-close-does-not-cancel"], "io_uring_setup");
    }
}

#[test]
fn with_epoll_pwait2_denied() {
    for errno in [libc::EPERM, libc::ENOSYS] {
        let outcomes = without(&[libc::SYS_epoll_pwait2], errno, || outcomes(&mut facts()));
        holds(&outcomes, &["ep-create-args", "poll-never-early"]);
        skipped(&outcomes, &["ep-pwait2-nanoseconds"], "epoll_pwait2");
    }
}

#[test]
fn with_64_descriptors() {
    let mut command = assert_cmd::Command::new("prlimit");
    let program = env!("CARGO_BIN_EXE_io-models");
    let outcomes = outcomes(command.args(["--nofile=64", program, "facts", "--json"]));
    holds(&outcomes, &["ep-create-args", "fd-emfile-everywhere", "poll-nfds-over-rlimit-einval"]);
    skipped(&outcomes, &["sel-raw-bitmap-above-1024", "multi-nested-path-limit"], "RLIMIT_NOFILE is 64");
}
