//! A trace has as many calls of each name as `strace -f -c` counts for the same clients.

use crate::support::number;
use io_models::lab::results::check::Expect;
use io_models::lab::trace::{Plan, Script, Subject, trace, untraced};
use io_models::stop;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// How often each server is compared. `IO_MODELS_TRACE_RUNS=20` for a long run.
const RUNS: u64 = 1;

fn plan(subject: Subject) -> Plan {
    Plan {
        program: env!("CARGO_BIN_EXE_io-models").into(),
        subjects: vec![subject],
        script: Script::usual(),
        expect: Expect::Echo,
        nofile: 1024,
    }
}

fn ours(model: &str) -> String {
    format!("'{}' serve {model} --listen 127.0.0.1:{{port}}", env!("CARGO_BIN_EXE_io-models"))
}

/// What `strace -c` printed: the calls by name.
fn counted(file: &Path) -> BTreeMap<String, u64> {
    let text =
        fs::read_to_string(file).unwrap_or_else(|why| panic!("strace has written {}: {why}", file.display()));
    // "% time seconds usecs/call calls errors syscall", where the errors may be missing.
    let line = |line: &str| {
        let words: Vec<_> = line.split_whitespace().collect();
        words.first()?.parse::<f64>().ok()?;
        let name = (*words.last()?).to_owned();
        (name != "total").then_some((name, words.get(3)?.parse().ok()?))
    };
    let counts: BTreeMap<_, _> = text.lines().filter_map(line).collect();
    assert!(counts.len() > 10, "{text}");
    counts
}

/// The calls of a server by the trace, and by strace.
fn both(command: &str) -> [BTreeMap<String, u64>; 2] {
    let (_stopper, stop) = stop::pair().expect("a pipe");
    let of = |command: String| Subject {
        name: "server".to_owned(),
        what: String::new(),
        command,
        is_one_program: true,
    };
    let ours = plan(of(format!("exec {command}")));
    // On a busy machine it may take several runs until nobody has disturbed the clients.
    let until = Instant::now() + Duration::from_secs(120);
    let server = loop {
        let traced = trace(&ours, &stop).unwrap_or_else(|why| panic!("{command}: {why:?}"));
        let [server] = traced.servers.try_into().expect("one server");
        if server.notes.is_empty() {
            break server;
        }
        assert!(
            Instant::now() < until,
            "{command}: no run within 120 s that nobody has disturbed: {:?}",
            server.notes
        );
    };
    // `blocking` serves B, and not C and D, when A has left.
    for answer in server.answers.iter().filter(|answer| answer.client < 2 || !command.contains("blocking")) {
        assert_eq!((answer.right, answer.is_wrong), (answer.sent, false), "{command}: {answer:?}");
    }
    let by_name = server.calls.by_name.iter();
    let by_trace = by_name.map(|(name, n)| (name.clone(), n.as_u64().expect("a count"))).collect();
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("counts");
    let strace = of(format!("exec strace -f -c -o '{}' {command}", file.display()));
    let answers = untraced(&ours, &strace, &stop).unwrap_or_else(|why| panic!("strace {command}: {why:?}"));
    assert_eq!(answers, server.answers);
    [by_trace, counted(&file)]
}

/// Calls of threads that wait for each other or end, of which there are more or fewer as time goes: also two runs of strace differ in them.
const OF_THREADS: [&str; 6] =
    ["futex", "madvise", "munmap", "rt_sigprocmask", "sigaltstack", "restart_syscall"];

/// What differs in a run of each.
fn differences(command: &str, has_threads: bool) -> Vec<String> {
    let [by_trace, by_strace] = both(command);
    let names: BTreeSet<_> = by_trace.keys().chain(by_strace.keys()).collect();
    let differs = |name: &&String| {
        let is_chance = has_threads && OF_THREADS.contains(&name.as_str());
        !is_chance && by_trace.get(*name) != by_strace.get(*name)
    };
    let shown = |name: &String| format!("{name}: {:?}, strace {:?}", by_trace.get(name), by_strace.get(name));
    names.into_iter().filter(differs).map(shown).collect()
}

/// The runs are two, of which each has to send a large answer. On a busy machine the kernel may take that in other pieces once, so that a
/// server makes another call. A count that is wrong is so each time.
fn equal(command: &str, has_threads: bool) {
    const TRIES: usize = 4;
    let strict = number("IO_MODELS_TRACE_RUNS");
    for run in 0..strict.unwrap_or(RUNS) {
        let tries = if strict.is_some() { 1 } else { TRIES };
        let mut differ = Vec::new();
        let is_equal = (0..tries).any(|_| {
            differ.push(differences(command, has_threads));
            differ.last().is_some_and(Vec::is_empty)
        });
        assert!(is_equal, "{command}, run {run}: {differ:?}");
    }
}

fn has_strace() -> bool {
    let has = Command::new("strace").arg("-V").output().is_ok();
    assert!(has || std::env::var_os("CI").is_none(), "CI needs strace");
    if !has {
        eprintln!("skipped: there is no strace (Debian: strace)");
    }
    has
}

#[test]
fn calls_are_those_that_strace_counts() {
    if !has_strace() {
        return;
    }
    for name in ["fork", "select", "poll", "sigio", "epoll-level", "epoll-edge"] {
        equal(&ours(name), false);
    }
    // With several workers it is chance which of them a client comes to.
    for name in ["blocking", "thread", "reuseport --workers 1"] {
        equal(&ours(name), true);
    }
}
