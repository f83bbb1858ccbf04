//! Servers of tests/servers: those with one planted fault fail exactly that check, and right ones pass all.

use crate::support::{Which, judged, seed};
use io_models::lab::results::check::{Expect, Judged, Outcome, Verdict};
use serde::Deserialize;
use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

/// tests/servers/faults.toml.
#[derive(Debug, Deserialize)]
struct Faults {
    server: Vec<Planted>,
}

#[derive(Debug, Deserialize)]
struct Planted {
    file: String,
    /// The check that its fault fails, or "" for a right server.
    fails: String,
    #[serde(default)]
    options: Vec<String>,
    /// The checks that its runtime fails, whatever the server does.
    #[serde(default)]
    runtime: Vec<String>,
}

impl Planted {
    fn expect(&self) -> Expect {
        let named = |name: &str| self.options.iter().any(|option| option == name);
        match (named("ok"), named("framed")) {
            (true, _) => Expect::Ok,
            (_, true) => Expect::Framed,
            _ => Expect::Echo,
        }
    }

    fn judged(&self, command: &str, seed: u64) -> Judged {
        let faults = self.fails.is_empty() || self.options.iter().any(|option| option == "--faults");
        let which = if faults { Which::All } else { Which::WithoutFaults };
        judged((&self.file, command), self.expect(), 1000, which, seed)
    }
}

/// What tests/servers/build.sh made of the servers.
struct Built {
    /// By file, for those that can be built and run here.
    commands: HashMap<String, String>,
    /// Why the others are missing.
    left_out: String,
}

static BUILT: LazyLock<Built> = LazyLock::new(|| {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("servers");
    let built = Command::new(servers().join("build.sh")).arg(&folder).output().expect("bash is there");
    let said = String::from_utf8(built.stderr).expect("compilers write text");
    assert!(built.status.success(), "tests/servers/build.sh: {said}");
    let left_out: Vec<_> = said.lines().filter(|line| line.contains("left out")).collect();
    let commands = String::from_utf8(built.stdout).expect("the commands are text");
    let split =
        |line: &str| line.split_once(' ').map(|(name, command)| (name.to_owned(), command.to_owned()));
    Built { commands: commands.lines().filter_map(split).collect(), left_out: left_out.join("\n") }
});

fn servers() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/servers")
}

/// The command of a server, or `None` where its compiler or interpreter is missing. In CI there must be all.
pub(super) fn command_of(file: &str) -> Option<&'static str> {
    assert!(servers().join(file).is_file(), "there is no tests/servers/{file}");
    let command = BUILT.commands.get(file).map(String::as_str);
    if command.is_none() {
        let why = &BUILT.left_out;
        assert!(!why.is_empty(), "tests/servers/build.sh left out {file}, and did not say why");
        assert!(std::env::var_os("CI").is_none(), "CI needs all servers, and has no {file}: {why}");
        eprintln!("skipped: {file}: {why}");
    }
    command
}

fn planted() -> Vec<Planted> {
    let text = std::fs::read_to_string(servers().join("faults.toml")).expect("the list of servers");
    toml::from_str::<Faults>(&text).expect("it is a list of servers").server
}

/// What to say of a server that does not fail exactly these checks.
pub(super) fn difference(name: &str, judged: &Judged, expected: &[&str], seed: u64) -> Option<String> {
    let failed: BTreeSet<_> = judged.failed().map(|verdict| verdict.check.as_str()).collect();
    let expected: BTreeSet<_> = expected.iter().copied().collect();
    let is_told =
        |verdict: &&Verdict| verdict.outcome == Outcome::Failed || expected.contains(verdict.check.as_str());
    let told: Vec<_> = judged.verdicts.iter().filter(is_told).collect();
    (failed != expected)
        .then(|| format!("{name}: fails {failed:?}, not {expected:?} (IO_MODELS_SEED={seed}): {told:#?}"))
}

/// Judge the servers of which this is so: what went wrong.
fn wrong(is_chosen: impl Fn(&Planted) -> bool) -> Vec<String> {
    let (mut wrong, seed) = (Vec::new(), seed());
    let servers: Vec<_> = planted().into_iter().filter(is_chosen).collect();
    assert!(!servers.is_empty(), "faults.toml has no such server");
    for server in servers {
        let Some(command) = command_of(&server.file) else { continue };
        let judged = server.judged(command, seed);
        let failed: Vec<_> = judged.failed().map(|verdict| verdict.check.as_str()).collect();
        let of_its_runtime = server.runtime.iter().map(String::as_str).filter(|id| failed.contains(id));
        let own = Some(server.fails.as_str()).filter(|id| !id.is_empty());
        let expected: Vec<_> = of_its_runtime.chain(own).collect();
        wrong.extend(difference(&server.file, &judged, &expected, seed));
    }
    wrong
}

/// A few of those below.
#[test]
fn faults_in_five_languages_are_found_and_right_servers_pass() {
    const FEW: [&str; 7] = [
        "c/nul_strlen.c",
        "cpp/utf_8_split.cpp",
        "python/right_selectors.py",
        "go/in_order.go",
        "go/right.go",
        "node/new_line.js",
        "c/right_epoll_edge.c",
    ];
    let wrong: Vec<_> = FEW.into_iter().flat_map(|file| wrong(|server| server.file == file)).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
#[ignore = "takes minutes: `cargo test --test it planted -- --ignored`"]
fn each_server_with_a_planted_fault_fails_exactly_that_check() {
    let wrong = wrong(|server| !server.fails.is_empty());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
#[ignore = "takes minutes: `cargo test --test it planted -- --ignored`"]
fn right_servers_in_five_languages_fail_nothing() {
    let wrong = wrong(|server| server.fails.is_empty());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn there_are_thirty_planted_faults_in_five_languages() {
    let planted = planted();
    let faulty: Vec<_> = planted.iter().filter(|server| !server.fails.is_empty()).collect();
    assert!(faulty.len() >= 30, "{} servers have a planted fault", faulty.len());
    for folder in ["c/", "cpp/", "python/", "go/", "node/"] {
        assert!(faulty.iter().any(|server| server.file.starts_with(folder)), "none in {folder}");
    }
}

/// Servers of learners, each said to have one fault, which comes first in its list. The others are those of all five:
///
/// - They do not look at what send(2) took. What it did not take is lost.
/// - They do not ignore SIGPIPE, which ends them at the second send to a client that has left.
/// - They listen with a queue of 128, and the kernel completes 129 connections.
/// - When accept(2) fails for lack of a descriptor, they call it again at once: a level-triggered listener stays readable.
///
/// Where one of these is missing, another fault keeps it from being seen.
#[test]
fn servers_of_learners_fail_the_checks_of_their_faults() {
    const LOSES: &str = "clients/slow-reader";
    const DIES: &str = "reset/while-answering";
    const QUEUE: &str = "backlog/200";
    const SPINS: &str = "limits/descriptors-idle";
    let all: [(&str, &[&str]); 5] = [
        // With a listener that accepts once for each event, nothing is asked of many clients: neither backlog/200 nor limits.
        ("accept", &["edge/listener", LOSES, DIES]),
        // It receives 32 bytes of a large request, and no more of it, so that it never has to send much.
        ("et", &["edge/partial-read", DIES, QUEUE, SPINS]),
        // It is busy with a silent client as well, so that its limit shows nothing.
        ("out", &["idle/cpu", LOSES, DIES, QUEUE]),
        ("short", &[LOSES, DIES, QUEUE, SPINS]),
        // Of a large request it echoes another number of bytes than it received, so that nothing is asked with large ones.
        ("strlen", &["echo/nul", "echo/buffer-1024", DIES, QUEUE, SPINS]),
    ];
    let (mut wrong, seed) = (Vec::new(), seed());
    for (name, expected) in all {
        let Some(command) = command_of(&format!("found/buggy_{name}.cpp")) else { continue };
        let judged = judged((name, command), Expect::Echo, 1000, Which::Quick, seed);
        wrong.extend(difference(name, &judged, expected, seed));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// It changes a byte in one of a thousand receives: several checks see one.
#[test]
fn a_server_that_changes_a_byte_now_and_then_is_caught_with_the_byte() {
    let Some(command) = command_of("found/buggy_corrupt.cpp") else { return };
    let judged = judged(("corrupt", command), Expect::Echo, 1000, Which::Quick, seed());
    let seen = |verdict: &&Verdict| {
        verdict.failure.as_ref().is_some_and(|failure| failure.observed.contains("it is 0x"))
    };
    assert!(judged.failed().filter(seen).count() >= 1, "{:#?}", judged.failed().collect::<Vec<_>>());
    assert!(judged.count(Outcome::Passed) > 0);
}
