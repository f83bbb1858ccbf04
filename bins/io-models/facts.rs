//! `io-models facts`: what this kernel does, beside what Linux does.

use crate::failure::Failure;
use crate::output::Output;
use io_models::facts::{self, Area, Fact, Mutant, Outcome, Runner};
use std::fmt::Write;
use std::process::ExitCode;

/// Check this kernel: run the facts, and tell where it differs from Linux
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Areas or ids of facts; all of them if none is given
    #[arg(value_name = "AREA|ID")]
    which: Vec<String>,

    /// A wrong kernel instead of this one
    #[arg(long, value_name = "MUTANT")]
    under: Option<String>,

    /// A command that starts the process of each fact, such as an emulator
    #[arg(long, value_name = "COMMAND")]
    launcher: Option<String>,
}

pub(crate) fn run(args: Args) -> Result<ExitCode, Failure> {
    let mut chosen: Vec<&'static Fact> = Vec::new();
    for which in &args.which {
        match (Area::ALL.iter().find(|area| area.name() == which), facts::find(which)) {
            (Some(area), _) => chosen.extend(area.facts()),
            (None, Some(fact)) => chosen.push(fact),
            (None, None) => {
                return Err(Failure::usage(format_args!("there is no fact and no area {which:?}")));
            }
        }
    }
    if chosen.is_empty() {
        chosen.extend(facts::all());
    }
    let mut runner = Runner::default();
    if let Some(name) = &args.under {
        runner.under = Some(
            Mutant::find(name).ok_or_else(|| Failure::usage(format_args!("there is no mutant {name:?}")))?,
        );
    }
    runner.launcher =
        args.launcher.iter().flat_map(|line| line.split_whitespace()).map(str::to_owned).collect();
    let runs = runner.run_all(&chosen, |_| {});
    let mut text = String::new();
    for run in &runs {
        writeln!(text, "{:40} {:8} {:6.1} ms", run.fact.id, run.outcome.name(), run.took.as_secs_f64() * 1e3)
            .ok();
        match &run.outcome {
            Outcome::Holds => {}
            Outcome::Differs { expected, observed } => {
                writeln!(text, "    expected {expected}\n    observed {observed}").ok();
            }
            Outcome::Skipped { why } => {
                writeln!(text, "    {why}").ok();
            }
        }
    }
    Output::Stdout.write(&text)?;
    Ok(ExitCode::SUCCESS)
}
