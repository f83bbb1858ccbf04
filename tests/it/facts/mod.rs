//! `io-models facts` from outside. The facts themselves are tests of their own: tests/kernel_facts.rs, and
//! tests/mutants.rs shows that they can fail.

mod elsewhere;
mod map;
mod program;
mod schema;
mod settings;
mod upstream;

use assert_cmd::Command;
use serde_json::Value;

/// A fact that holds on any Linux that runs these tests, and takes milliseconds.
pub(crate) const ONE: &str = "fd-accept-emfile-keeps-connection";
/// A wrong kernel that it notices.
pub(crate) const WRONG: &str = "emfile-drops-connection";

/// The program with `facts` and these arguments.
pub(crate) fn facts(args: &[&str]) -> Command {
    let mut command = crate::cli::io_models();
    command.arg("facts").args(args);
    command
}

/// What it prints, with that exit code.
#[track_caller]
pub(crate) fn page(args: &[&str], code: i32) -> String {
    let output = facts(args).assert().code(code).get_output().clone();
    String::from_utf8(output.stdout).expect("the report is text")
}

/// The document that it prints, with that exit code.
#[track_caller]
pub(crate) fn document(args: &[&str], code: i32) -> Value {
    let all: Vec<&str> = args.iter().copied().chain(["--json"]).collect();
    serde_json::from_str(&page(&all, code)).expect("the report is one JSON document")
}
