//! What `io-models load` says where a sandbox or a limit denies what it needs, and what it does without.

use super::program::io_models;
use super::servers::Server;
use super::{agrees_with_itself, report, report_of, start_load, whole};
use crate::support::{without, without_threads};
use libc::{SYS_epoll_create1, SYS_prctl, SYS_sched_setaffinity};
use serde_json::Value;
use std::process::Stdio;

#[test]
fn threads_that_may_not_be_pinned_measure_all_the_same_and_it_is_said() {
    let server = Server::echo();
    let start = || start_load(server.addr, "-c 2 --pin -d 300ms --warmup 10ms --json");
    let ended = without(&[SYS_sched_setaffinity], libc::EPERM, start).end();
    let report = report(ended.exits(0));
    assert!(whole(&report, "/answered") > 0, "{report:#}");
    assert!(report["unpinned"].as_str().is_some_and(|why| why.contains("sched_setaffinity")), "{report:#}");
    assert!(ended.stderr.contains("the threads are not bound to processors: sched_setaffinity"), "{ended}");
}

#[test]
fn without_a_finer_timer_a_generator_that_sleeps_measures_all_the_same_and_it_is_said() {
    let server = Server::echo();
    let start = || start_load(server.addr, "-c 2 -R 100 --wait sleep -d 300ms --warmup 10ms --json");
    let ended = without(&[SYS_prctl], libc::EPERM, start).end();
    let report = report_of("open", &ended);
    assert!(whole(&report, "/answered") > 0, "{report:#}");
    assert!(report["coarse_timer"].as_str().is_some_and(|why| why.contains("prctl")), "{report:#}");
    assert!(ended.stderr.contains("requests may be sent 50 µs late"), "{ended}");
}

#[test]
fn a_thread_that_may_not_be_started_is_named_with_the_limit_to_raise() {
    let server = Server::echo();
    let mut load = io_models(&format!("load {} -c 1 -d 300ms --warmup 10ms", server.addr));
    // Not as a `Program`, which has threads of its own.
    let ended = without_threads(|| load.stdin(Stdio::null()).output()).expect("a process may be started");
    let told = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(1), "{told}");
    for part in ["cannot start thread 1 of 1", "(os error 11)", "ulimit -u"] {
        assert!(told.contains(part), "{part:?} is missing: {told}");
    }
    assert_eq!(server.answers(), 0);
}

#[test]
fn hostile_clients_that_cannot_be_run_fail_the_run_and_what_was_measured_is_reported() {
    // Without epoll(7) only they have nothing to wait with.
    let Some(uring) = super::engines::all().get(1).copied() else {
        return eprintln!("skipped: there is no io_uring here");
    };
    let server = Server::echo();
    let args = format!("-c 3 --reset 10% {uring} -d 300ms --warmup 10ms --json --quiet");
    let start = || start_load(server.addr, &args);
    let ended = without(&[SYS_epoll_create1], libc::EMFILE, start).end();
    let report = report(ended.exits(1));
    let says = ["hostile clients", "epoll_create1", "Too many open files", "ulimit -n"];
    ended.says_one_line(&says);
    assert!(whole(&report, "/answered") > 0, "{report:#}");
    assert_eq!(report["hostile"], Value::Null, "{report:#}");
    assert!(report["failure"].as_str().is_some_and(|why| why.contains("epoll_create1")), "{report:#}");
    agrees_with_itself(&report);
}
