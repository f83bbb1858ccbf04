//! Shows that the kernel facts can fail: each wrong kernel ([`Mutant`]) is noticed by the fact that it breaks, through
//! that fact's own comparison and not by a hang or a crash.
//!
//! `cargo test --test mutants NAME` runs one; `cargo test --test mutants epoll` those that break a fact of an area.

use io_models::facts::{self, Area, Mutant, Outcome, Run, Runner, Step, Wait};
use libtest_mimic::{Arguments, Completion, Failed, Trial};
use std::process::ExitCode;

fn main() -> ExitCode {
    // The process of one fact is this program, started again.
    facts::run_one_if_asked();
    let mut trials: Vec<Trial> = Mutant::all()
        .map(|mutant| {
            let area = area(mutant).map_or("unknown", Area::name);
            Trial::ignorable_test(mutant.name, move || is_noticed(mutant)).with_kind(area)
        })
        .collect();
    trials.push(Trial::test("each fact has a mutant", each_fact_has_a_mutant).with_kind("all"));
    let mut arguments = Arguments::from_args();
    // Most of them sleep until a fact's time for something to happen is over.
    arguments.test_threads.get_or_insert(8);
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// The area of the fact that it breaks.
fn area(mutant: &Mutant) -> Option<Area> {
    facts::find(mutant.breaks).map(|fact| fact.area())
}

fn each_fact_has_a_mutant() -> Result<(), Failed> {
    let without = facts::all().filter(|fact| !Mutant::all().any(|mutant| mutant.breaks == fact.id));
    let without: Vec<_> = without.map(|fact| fact.id).collect();
    if without.is_empty() { Ok(()) } else { Err(format!("none breaks {}", without.join(", ")).into()) }
}

fn is_noticed(mutant: &'static Mutant) -> Result<Completion, Failed> {
    let fact = facts::find(mutant.breaks).ok_or_else(|| format!("there is no fact {}", mutant.breaks))?;
    let mut runner = Runner::default();
    // The wrong kernel is wrong in one call, and most often in the first.
    runner.waits = &[Wait::Epoll];
    let run = runner.run(fact);
    let why: Vec<String> = run.not_held().map(Step::to_string).collect();
    match run.outcome() {
        Outcome::Holds | Outcome::InPart => {}
        Outcome::Skipped => return Ok(Completion::ignored_with(why.join("; "))),
        Outcome::Differs | Outcome::ClaimsOlder => {
            return Err(format!("{} differs on this kernel already: {}", fact.id, why.join("; ")).into());
        }
    }
    runner.under = Some(mutant);
    killed_by(&runner.run(fact))?;
    Ok(Completion::Completed)
}

/// That the fact noticed the mutant through its own comparison; if not, why that does not count.
fn killed_by(run: &Run) -> Result<(), Failed> {
    let id = run.fact.id;
    let steps: Vec<String> = run.not_held().map(Step::to_string).collect();
    match run.outcome() {
        Outcome::Holds => Err(format!("it survives: {id} holds").into()),
        Outcome::InPart | Outcome::Skipped => {
            Err(format!("it survives: steps of {id} were not made: {}", steps.join("; ")).into())
        }
        Outcome::Differs if !run.ended => {
            Err(format!("{id} broke instead of telling a difference: {}", steps.join("; ")).into())
        }
        Outcome::Differs | Outcome::ClaimsOlder => Ok(()),
    }
}
