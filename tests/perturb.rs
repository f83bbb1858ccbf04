//! Shows which steps of the kernel facts assert nothing: each call that an experiment makes is altered in each way
//! ([`How`]), and a step that fails under none of them is named. A late call, on the other hand, must change nothing.
//!
//! It takes long, and is ignored unless it is asked for: `cargo test --test perturb -- --include-ignored ID` for one fact
//! or an area, without an id for all.

use io_models::facts::{self, Alteration, Altered, Fact, Found, How, Outcome, Run, Runner, Wait};
use libtest_mimic::{Arguments, Failed, Trial};
use std::collections::BTreeSet;
use std::process::ExitCode;
use std::time::Duration;

/// How long an altered experiment may take: it waits for at most 0.3 s at a time for what no longer comes.
const LONG_ENOUGH: Duration = Duration::from_secs(4);

/// How many calls of an experiment are altered, if so many are needed.
const MOST_CALLS: usize = 500;
/// How many calls a forked child may make after the last of its parent, which does not know of them.
const CALLS_OF_A_CHILD: usize = 16;
/// How many of them come late: with each the experiment is whole.
const MOST_LATE: usize = 60;

fn main() -> ExitCode {
    // The process of one fact is this program, started again.
    facts::run_one_if_asked();
    let trials = facts::all().map(|fact| {
        Trial::test(fact.id, move || each_step_can_fail(fact))
            .with_kind(fact.area().name())
            .with_ignored_flag(true)
    });
    let mut arguments = Arguments::from_args();
    // Most of them sleep until a fact's time for something to happen is over.
    arguments.test_threads.get_or_insert(8);
    libtest_mimic::run(&arguments, trials.collect()).exit_code()
}

fn each_step_can_fail(fact: &'static Fact) -> Result<(), Failed> {
    let mut runner = Runner::default();
    runner.waits = &[Wait::Epoll];
    runner.deadline = LONG_ENOUGH;
    let real = runner.run(fact);
    if real.outcome() != Outcome::Holds {
        return Err(format!("it does not hold here: {}", told(&real)).into());
    }
    let mut survivors: BTreeSet<&str> = real.steps.iter().map(|step| step.what.as_str()).collect();
    let (mut late, mut end) = (Vec::new(), MOST_CALLS);
    for nth in 0..MOST_CALLS {
        if nth >= end || survivors.is_empty() && (nth >= MOST_LATE || end < MOST_CALLS) {
            break;
        }
        for &how in How::ALL {
            if if how == How::Delayed { nth >= MOST_LATE } else { survivors.is_empty() } {
                continue;
            }
            runner.altered = Some(Alteration { nth, how });
            let run = runner.run(fact);
            if run.altered == Some(Altered::NoSuchCall) {
                end = end.min(nth + CALLS_OF_A_CHILD);
            }
            if how == How::Delayed {
                if run.outcome() == Outcome::Differs {
                    late.push(format!("{}: {}", Alteration { nth, how }, told(&run)));
                }
                continue;
            }
            for step in run.steps.iter().filter(|step| matches!(step.found, Found::Differs { .. })) {
                survivors.remove(step.what.as_str());
            }
        }
    }
    let mut faults = Vec::new();
    if !survivors.is_empty() {
        let steps: Vec<_> = survivors.into_iter().collect();
        faults.push(format!("no alteration makes these steps fail:\n  {}", steps.join("\n  ")));
    }
    if !late.is_empty() {
        faults.push(format!("a call that is late makes it differ:\n  {}", late.join("\n  ")));
    }
    if faults.is_empty() { Ok(()) } else { Err(faults.join("\n").into()) }
}

fn told(run: &Run) -> String {
    run.not_held().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}
