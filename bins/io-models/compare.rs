//! `io-models compare`: every model side by side under the same load.

use crate::failure::Failure;
use crate::output::{Outputs, conclude, ended, help_table, tell};
use crate::progress::Progress;
use crate::units::once_each;
use io_models::lab::compare::{self, BASELINE, Plan, WORKLOADS, Watch, Workload, pair::Pinning};
use io_models::model::{self, Model};
use io_models::{lab, startup, stop};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// Compare the models side by side under the same load, in short turns
#[derive(Debug, clap::Args)]
#[command(after_help = workloads())]
pub(crate) struct Args {
    /// Models, separated by commas; epoll-level is always run beside them [default: all]
    #[arg(long, value_name = "A,B", value_delimiter = ',', value_parser = crate::serve::model)]
    models: Vec<&'static Model>,

    /// Workloads, separated by commas [default: all]
    #[arg(long, value_name = "A,B", value_delimiter = ',', value_parser = workload)]
    workloads: Vec<Workload>,

    /// Most idle connections of the workload `idle`
    #[arg(long, value_name = "N", default_value_t = compare::MOST_IDLE, value_parser = crate::units::count_or_none)]
    idle: usize,

    /// Workers of each model that has some; where each serves one client at a time, there are as many as clients
    /// [default: as many as processors are allowed]
    #[arg(long, value_name = "N", value_parser = crate::units::workers)]
    workers: Option<NonZeroUsize>,

    /// Slices per model and workload
    #[arg(long, value_name = "N", default_value_t = 40, value_parser = crate::units::count)]
    slices: usize,

    /// Length of a slice
    #[arg(long, value_name = "TIME", default_value = "40ms", value_parser = crate::units::slice)]
    slice: Duration,

    /// Bytes per request
    #[arg(short, long, value_name = "BYTES", default_value_t = 64, value_parser = crate::units::size)]
    size: u32,

    /// Seed of the payload and of the order of turns
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,

    /// Let servers and generators run on any processor
    #[arg(long)]
    no_pin: bool,

    /// Also print the system calls of each model, per request
    #[arg(long, conflicts_with = "json")]
    calls: bool,

    /// Print one JSON document instead of the table
    #[arg(long)]
    json: bool,

    /// Write the result to this file; `-` is standard output
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

pub(crate) fn run(args: Args, quiet: bool) -> Result<ExitCode, Failure> {
    let all_models = || model::ALL.iter().collect();
    let models = once_each(args.models, |model| model.name).unwrap_or_else(all_models);
    let workloads = once_each(args.workloads, |workload| workload.name).unwrap_or(WORKLOADS.to_vec());
    let fewer_idle = |workload: Workload| Workload { idle: workload.idle.min(args.idle), ..workload };
    let plan = Plan {
        models,
        workloads: workloads.into_iter().map(fewer_idle).collect(),
        baseline: BASELINE,
        workers: args.workers.unwrap_or_else(crate::serve::one_each_processor),
        slices: args.slices,
        slice_ms: args.slice.as_millis() as u64,
        size_bytes: args.size,
        seed: args.seed,
        pinning: if args.no_pin { None } else { Pinning::choose() },
        program: startup::this_program(),
    };
    let elsewhere = args.json || args.output.is_some();
    let output = Outputs::default().report(args.output)?;
    let (stopper, stop) = stop::pair().map_err(Failure::of)?;
    stopper.stop_on_signals().map_err(Failure::of)?;
    let line = Progress::new(quiet);
    let mut teller = Teller { plain: !quiet && !line.is_live(), line, workload: "" };
    if plan.pinning.is_none() && !args.no_pin && !quiet {
        crate::output::warn("only one CPU is allowed: server and generator share it, and disturb each other");
    }
    let result = compare::run(plan, &stop, &mut teller);
    drop(teller);
    let comparison = result.map_err(Failure::of)?;
    let text = match args.json {
        true => format!("{}\n", lab::json(&comparison)),
        false => comparison.text(output.columns(), args.calls),
    };
    let written = output.report(&text);
    // The table has it too, if it is what is on the screen.
    if let Some(warning) = comparison.warning().filter(|_| !quiet && elsewhere) {
        crate::output::warn(&warning);
    }
    if elsewhere && !quiet {
        comparison.not_known().iter().for_each(|what| crate::output::warn(what));
    }
    let trouble = comparison.trouble();
    if let Some(warning) = comparison.unmeasured().filter(|_| !quiet && trouble.is_none()) {
        crate::output::warn(&warning);
    }
    conclude([written], ended(trouble, comparison.is_partial()))
}

/// How far it is: live on a terminal, a line for each workload elsewhere, nothing if quiet.
struct Teller {
    line: Progress,
    plain: bool,
    workload: &'static str,
}

impl Watch for Teller {
    fn workload(&mut self, workload: &Workload, servers: usize) {
        self.workload = workload.name;
        if self.plain {
            let Workload { name, summary, .. } = workload;
            tell(&format!("{name}: {summary}; {servers} servers"));
        }
    }

    fn progress(&mut self, what: &str, done: usize, all: usize) {
        self.line.bar(self.workload, done, all, what);
    }
}

/// clap's parser for the name of a workload.
fn workload(name: &str) -> Result<Workload, String> {
    WORKLOADS.iter().find(|workload| workload.name == name).copied().ok_or_else(|| {
        let names: Vec<_> = WORKLOADS.iter().map(|workload| workload.name).collect();
        format!("no such workload; there are: {}", names.join(", "))
    })
}

fn workloads() -> String {
    let about = |workload: &Workload| (workload.name.to_owned(), workload.summary.to_owned());
    format!("Workloads:\n{}", help_table(WORKLOADS.iter().map(about)))
}
