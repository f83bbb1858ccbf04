//! Shows that the kernel facts can fail: each wrong kernel ([`Mutant`]) is noticed by the fact that it breaks, through
//! that fact's own comparison and not by a hang or a crash, and by no fact of another area unless it says so.
//!
//! `cargo test --test mutants NAME` runs one; `cargo test --test mutants epoll` those that break a fact of an area.
//! Every mutant under the facts of the other areas takes minutes, and is ignored unless it is asked for:
//! `cargo test --test mutants -- --include-ignored`.

use io_models::facts::{self, Area, Fact, Mutant, Outcome, Run, Runner};
use io_models::stop;
use libtest_mimic::{Arguments, Completion, Failed, Trial};
use std::process::ExitCode;
use std::sync::OnceLock;
use std::time::Duration;

/// A fact that takes longer on the real kernel is only run under the mutants that name it.
const QUICK: Duration = Duration::from_millis(60);

/// How long a quick fact may take under a wrong kernel that it is not about.
const LONG_ENOUGH: Duration = Duration::from_secs(2);

/// Facts about who is woken: they notice every wrong kernel that sleeps in pieces, whatever is wrong with it.
const WHO_IS_WOKEN: &[&str] = &[
    "multi-accept-waiters-fifo",
    "multi-et-two-edges-two-threads",
    "multi-exclusive-first-registered-wins",
    "multi-exclusive-mixed",
    "multi-exclusive-skips-idle-epoll",
    "multi-exclusive-wakes-one",
    "multi-many-epolls-wake-all",
    "multi-same-epfd-et-wakes-one",
    "multi-same-epfd-lt-wakes-all",
    "multi-waiters-are-lifo",
];

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
    trials.extend(Area::ALL.iter().map(|&area| {
        let name = format!("no other area notices a mutant of {}", area.name());
        Trial::test(name, move || no_other_area_notices(area))
            .with_kind("takes minutes")
            .with_ignored_flag(true)
    }));
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
    match Runner::default().run(fact).outcome {
        Outcome::Holds => {}
        Outcome::Skipped { why } => return Ok(Completion::ignored_with(why)),
        Outcome::Differs { expected, observed } => {
            return Err(format!(
                "{} differs on this kernel already: expected {expected}; observed {observed}",
                fact.id
            )
            .into());
        }
    }
    killed_by(&under(mutant).run(fact))?;
    Ok(Completion::Completed)
}

fn under(mutant: &'static Mutant) -> Runner {
    let mut runner = Runner::default();
    runner.under = Some(mutant);
    runner
}

/// That the fact noticed the mutant through its own comparison; if not, why that does not count.
fn killed_by(Run { fact, outcome, ended, .. }: &Run) -> Result<(), Failed> {
    match outcome {
        Outcome::Holds => Err(format!("it survives: {} holds", fact.id).into()),
        Outcome::Skipped { why } => {
            Err(format!("it survives: {} is skipped under it: {why}", fact.id).into())
        }
        Outcome::Differs { observed, .. } if !ended => {
            Err(format!("{} broke instead of telling a difference: {observed}", fact.id).into())
        }
        Outcome::Differs { expected, observed } => {
            if expected.is_empty() || observed.is_empty() || expected == observed {
                let found = format!("killed by {}: expected {expected:?}; observed {observed:?}", fact.id);
                return Err(format!("{found}: that explains nothing").into());
            }
            Ok(())
        }
    }
}

/// That each mutant of the area is noticed only by facts of that area and by those that it names.
///
/// Those that it names may notice it or not: a wrong kernel can depend on which of two threads was faster. One that
/// waits in vain for something to happen has not found a difference, and does not count.
fn no_other_area_notices(mutants_of: Area) -> Result<(), Failed> {
    let mut wrong = Vec::new();
    for mutant in Mutant::all().filter(|mutant| area(mutant) == Some(mutants_of)) {
        let named = |id| mutant.also.contains(&id) || WHO_IS_WOKEN.contains(&id);
        let others = quick().iter().copied().filter(|fact| fact.area() != mutants_of && !named(fact.id));
        let mut runner = under(mutant);
        runner.deadline = LONG_ENOUGH;
        for run in others.map(|fact| runner.run(fact)).filter(|run| run.ended) {
            if let Outcome::Differs { expected, observed } = run.outcome {
                let (name, id) = (mutant.name, run.fact.id);
                wrong.push(format!("{name} is noticed by {id}: expected {expected}; observed {observed}"));
            }
        }
    }
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n").into()) }
}

/// The facts that hold on the real kernel, and quickly.
fn quick() -> &'static [&'static Fact] {
    static QUICK_FACTS: OnceLock<Vec<&'static Fact>> = OnceLock::new();
    QUICK_FACTS.get_or_init(|| {
        let candidates: Vec<_> = facts::all().collect();
        let (_stopper, stop) = stop::pair().expect("a pipe");
        let runs = Runner::default().run_all(&candidates, &stop, |_| {});
        let quick = runs.iter().filter(|run| run.outcome == Outcome::Holds && run.took < QUICK);
        let quick: Vec<_> = quick.map(|run| run.fact).collect();
        let held = runs.iter().filter(|run| run.outcome == Outcome::Holds).count();
        assert!(quick.len() * 2 > held, "too busy here: only {} of {held} facts were quick", quick.len());
        quick
    })
}
