//! Servers of tests/servers: those with one planted fault fail exactly that check, and right ones pass all.

use crate::support::{Which, judged, seed};
use io_models::lab::results::check::{Expect, Judged, Outcome};
use serde::Deserialize;
use std::collections::HashMap;
use std::path::Path;
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

/// The servers that can be built or run here, with their commands. What is missing is said on standard error.
pub(super) static COMMANDS: LazyLock<HashMap<String, String>> = LazyLock::new(|| {
    let servers = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/servers");
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("servers");
    let built = Command::new(servers.join("build.sh")).arg(&folder).output().expect("bash is there");
    eprint!("{}", String::from_utf8_lossy(&built.stderr));
    assert!(built.status.success(), "tests/servers/build.sh: {}", String::from_utf8_lossy(&built.stderr));
    let commands = String::from_utf8(built.stdout).expect("the commands are text");
    let split =
        |line: &str| line.split_once(' ').map(|(name, command)| (name.to_owned(), command.to_owned()));
    commands.lines().filter_map(split).collect()
});

fn planted() -> Vec<Planted> {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/servers/faults.toml");
    let text = std::fs::read_to_string(file).expect("the list of servers");
    toml::from_str::<Faults>(&text).expect("it is a list of servers").server
}

/// Judge the servers of which this is so: what went wrong.
fn wrong(is_chosen: impl Fn(&Planted) -> bool) -> Vec<String> {
    let (mut wrong, mut made, seed) = (Vec::new(), 0, seed());
    for server in planted().iter().filter(|server| is_chosen(server)) {
        let Some(command) = COMMANDS.get(&server.file) else { continue };
        made += 1;
        let judged = server.judged(command, seed);
        let is_its_own = |id: &&str| !server.runtime.iter().any(|known| known == id);
        let failed: Vec<_> =
            judged.failed().map(|verdict| verdict.check.as_str()).filter(is_its_own).collect();
        let expected: Vec<_> = Some(server.fails.as_str()).filter(|id| !id.is_empty()).into_iter().collect();
        if failed != expected {
            let why: Vec<_> = judged.failed().map(|verdict| format!("{:#?}", verdict.failure)).collect();
            wrong.push(format!(
                "{}: fails {failed:?}, not {expected:?} (IO_MODELS_SEED={seed}): {}",
                server.file,
                why.join("\n")
            ));
        }
    }
    assert!(made > 0, "no compiler and no interpreter is here: no server was judged");
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
    let wrong = wrong(|server| FEW.contains(&server.file.as_str()));
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

/// Servers of learners, each said to have one fault. They have others, which they share: they ignore what send says it took, do not
/// ignore SIGPIPE, listen with 128, and ask accept again and again.
#[test]
fn servers_of_learners_fail_the_checks_of_their_faults() {
    let of: [(&str, &[&str]); 5] = [
        ("accept", &["edge/listener"]),
        ("et", &["edge/partial-read"]),
        ("out", &["idle/cpu"]),
        ("short", &["clients/slow-reader"]),
        ("strlen", &["echo/nul", "echo/buffer-1024"]),
    ];
    for (name, own) in of {
        let Some(command) = COMMANDS.get(&format!("found/buggy_{name}.cpp")) else { continue };
        let judged = judged((name, command), Expect::Echo, 1000, Which::Quick, seed());
        let failed: Vec<_> = judged.failed().map(|verdict| verdict.check.as_str()).collect();
        for id in own {
            assert!(failed.contains(id), "{name} passes {id}: {failed:?}");
        }
    }
}

/// It changes a byte in one of a thousand receives: several checks see one.
#[test]
fn a_server_that_changes_a_byte_now_and_then_is_caught_with_the_byte() {
    let Some(command) = COMMANDS.get("found/buggy_corrupt.cpp") else { return };
    let judged = judged(("corrupt", command), Expect::Echo, 1000, Which::Quick, seed());
    let seen = |verdict: &&io_models::lab::results::check::Verdict| {
        verdict.failure.as_ref().is_some_and(|failure| failure.observed.contains("it is 0x"))
    };
    assert!(judged.failed().filter(seen).count() >= 1, "{:#?}", judged.failed().collect::<Vec<_>>());
    assert!(judged.count(Outcome::Passed) > 0);
}
