//! Each kernel fact as a test: `cargo test --test kernel_facts epoll` runs those of an area, and
//! `cargo test --test kernel_facts ep-create-args` one.
//!
//! What cannot be shown here (an old kernel, a sandbox) is ignored, with the reason. tests/mutants.rs shows
//! that these tests can fail.

use io_models::facts::{self, Fact, Outcome, Runner, Step};
use libtest_mimic::{Arguments, Completion, Failed, Trial};
use std::process::ExitCode;

fn main() -> ExitCode {
    // The process of one fact is this program, started again.
    facts::run_one_if_asked();
    let trials = facts::all()
        .map(|fact| Trial::ignorable_test(fact.id, move || test(fact)).with_kind(fact.area().name()))
        .collect();
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

fn test(fact: &'static Fact) -> Result<Completion, Failed> {
    let run = Runner::default().run(fact);
    let steps: Vec<String> = run.not_held().map(Step::to_string).collect();
    match run.outcome() {
        Outcome::Holds => Ok(Completion::Completed),
        Outcome::InPart | Outcome::ClaimsOlder | Outcome::Skipped => {
            Ok(Completion::ignored_with(steps.join("; ")))
        }
        Outcome::Differs => Err(Failed::from(format!(
            "{}\n  {}\n  reference  {}\n  matters    {}\n  experiment {}",
            fact.claim,
            steps.join("\n  "),
            fact.reference,
            fact.matters,
            fact.experiment
        ))),
    }
}
