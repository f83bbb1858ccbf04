//! `io-models compare`: every model, and any other server, side by side under the same load.

use crate::failure::Failure;
use crate::output::{Outputs, conclude, ended, help_table, tell};
use crate::progress::Progress;
use crate::report::Files;
use crate::units::once_each;
use io_models::lab::compare::gates::{self, Gates};
use io_models::lab::compare::{self, BASELINE, Watch, workload};
use io_models::lab::explain::nearest;
use io_models::lab::gate;
use io_models::lab::results::compare::{Comparison, OneOrMore, Plan, Server, Workload};
use io_models::model::{self, Model};
use io_models::{lab, startup, stop};
use std::fs;
use std::num::NonZeroUsize;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

/// How often each server is started: seldom where there are many, so that it does not take longer, and often where there are
/// few, because that makes intervals narrow.
const STARTS: RangeInclusive<usize> = 8..=20;

/// Starts of all servers in sum, within these bounds.
const STARTS_IN_ALL: usize = 160;

/// Slices of each start.
const SLICES: usize = 3;

/// The same with --quick.
const QUICK_STARTS: usize = 5;
const QUICK_SLICES: usize = 1;

const GATES: &str = "\
A gate is POINT/SERVER FIGURE<=VALUE, with <=, <, >= or >. POINT is a point, such as ping or idle@1000, or a workload: each of \
its points. Without SERVER it is on each server but epoll-level. Figures:";

/// Compare servers side by side under the same load, in short turns
#[derive(Debug, clap::Args)]
#[command(after_help = help())]
pub(crate) struct Args {
    /// Models, separated by commas; epoll-level is always run beside them [default: all]
    #[arg(long, value_name = "A,B", value_delimiter = ',', value_parser = crate::serve::model)]
    models: Vec<&'static Model>,

    /// A server of yours: 'NAME=COMMAND', where {port} in the command is the port to listen on, or
    /// 'NAME=ADDR:PORT[,pid=N]' for one that runs already
    #[arg(long, value_name = "NAME=…", value_parser = Server::parse)]
    server: Vec<Server>,

    /// Workloads, separated by commas, from the table below [default: ping, single, and idle with 400 silent ones]
    #[arg(long, value_name = "A,B", value_delimiter = ',')]
    workloads: Vec<String>,

    /// Workloads of your own, in a TOML file
    #[arg(long, value_name = "FILE")]
    plan: Option<PathBuf>,

    /// Run again what this result of `compare --json` was made with
    #[arg(long, value_name = "RESULT", conflicts_with_all = ["models", "server", "workloads", "plan", "idle", "workers", "starts", "slices", "slice", "size", "seed", "no_pin", "precision", "quick"])]
    rerun: Option<PathBuf>,

    /// Silent connections of the workload `idle`, separated by commas
    #[arg(long, value_name = "N,N", value_delimiter = ',', value_parser = crate::units::count_or_none)]
    idle: Vec<usize>,

    /// Workers of each model that has some; where each serves one client at a time, there are as many as clients
    /// [default: as many as processors are allowed]
    #[arg(long, value_name = "N", value_parser = crate::units::workers)]
    workers: Option<NonZeroUsize>,

    /// How often each server is started afresh [default: 20 with up to 8 rows, the baseline and A/A included; fewer
    /// with more, down to 8]
    #[arg(long, value_name = "N", value_parser = crate::units::count)]
    starts: Option<usize>,

    /// Slices of each start [default: 3]
    #[arg(long, value_name = "N", value_parser = crate::units::count)]
    slices: Option<usize>,

    /// Length of a slice [default: 20ms, and 100ms where latency is compared]
    #[arg(long, value_name = "TIME", value_parser = crate::units::slice)]
    slice: Option<Duration>,

    /// Bytes per request, for workloads that do not say otherwise [default: 64]
    #[arg(short, long, value_name = "BYTES", value_parser = crate::units::size)]
    size: Option<u32>,

    /// Start the servers 5 to 60 times, until no interval but that of p99 is wider than this on either side, such as 1%
    #[arg(long, value_name = "SHARE", value_parser = crate::units::share, conflicts_with = "quick")]
    precision: Option<f64>,

    /// Done in half a minute: 5 starts of one slice, and 100 silent connections. Intervals are wide, and small differences are
    /// not shown
    #[arg(long)]
    quick: bool,

    /// Seed of the payload and of the order of turns
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,

    /// Let servers and generators run on any processor
    #[arg(long)]
    no_pin: bool,

    /// Also print the system calls of each model, per request
    #[arg(long, conflicts_with = "json")]
    calls: bool,

    /// Exit with 3 unless a row keeps this limit, such as 'idle@1000/epoll-edge cpu<=1.03'; in quotes. @FILE has a gate in
    /// each line. May be repeated
    #[arg(long, value_name = "GATE")]
    gate: Vec<String>,

    /// Show the ratios of an earlier result (--json -o FILE) beside these; then a gate may be 'ping/poll cpu<=1.02x', 1.02
    /// times the earlier ratio
    #[arg(long, value_name = "FILE")]
    baseline: Option<PathBuf>,

    /// Also write JUnit XML: a case for each gate, one for each row
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,

    /// Print one JSON document instead of the table
    #[arg(long)]
    json: bool,

    /// Write the result to this file; `-` is standard output
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,

    #[command(flatten)]
    files: Files,
}

pub(crate) fn run(args: Args, quiet: bool) -> Result<ExitCode, Failure> {
    let plan = plan(&args)?;
    let gates = gates(&args)?;
    gates.check(&plan).map_err(Failure::usage)?;
    let elsewhere = args.json || args.output.is_some();
    let mut outputs = Outputs::default();
    let output = outputs.report(args.output)?;
    let drawings = args.files.open(&mut outputs)?;
    let junit = outputs.optional("--junit", args.junit)?;
    let (stopper, stop) = stop::pair().map_err(Failure::of)?;
    stopper.stop_on_signals().map_err(Failure::of)?;
    let line = Progress::new(quiet);
    let mut teller = Teller { plain: !quiet && !line.is_live(), line, group: String::new(), slices: 0 };
    if plan.pinning.is_none() && !args.no_pin && args.rerun.is_none() && !quiet {
        crate::output::warn("only one CPU is allowed: server and generator share it, and disturb each other");
    }
    let result = compare::run(plan, startup::this_program(), &stop, &mut teller);
    drop(teller);
    let mut comparison = result.map_err(Failure::of)?;
    gates.judge(&mut comparison);
    let text = match args.json {
        true => format!("{}\n", lab::json_line(&comparison)),
        false => comparison.text(output.columns(), args.calls),
    };
    // The report first: nothing that fails may take it away.
    let mut written = vec![output.report(&text)];
    written.extend(drawings.write(&comparison));
    written.extend(junit.map(|file| file.write_beside(&gates::junit(&comparison).map_err(Failure::of)?)));
    // The table has it too, if it is what is on the screen.
    if let Some(warning) = comparison.warning().filter(|_| !quiet && elsewhere) {
        crate::output::warn(&warning);
    }
    if elsewhere && !quiet {
        comparison.not_known.iter().for_each(|what| crate::output::warn(what));
    }
    let trouble = comparison.trouble();
    if let Some(warning) = comparison.unmeasured().filter(|_| !quiet && trouble.is_none()) {
        crate::output::warn(&warning);
    }
    if let Some(line) = gate::not_met(&comparison.gates).filter(|_| trouble.is_none()) {
        return conclude(written, Err(Failure::not_met(line)));
    }
    conclude(written, ended(trouble, comparison.partial))
}

/// The gates, and the earlier result beside which this one is shown.
fn gates(args: &Args) -> Result<Gates, Failure> {
    let gates = gate::read(&args.gate, &gates::FIGURES).map_err(Failure::usage)?;
    let earlier = args.baseline.as_deref().map(|file| Ok((file.display().to_string(), read_result(file)?)));
    Ok(Gates::new(gates, earlier.transpose()?))
}

/// What to compare, from the command line.
fn plan(args: &Args) -> Result<Plan, Failure> {
    if let Some(file) = &args.rerun {
        let plan = read_result(file)?.plan;
        let why_not = |why| {
            Failure::usage(format_args!("{}: its plan cannot be run again here: {why:#}", file.display()))
        };
        compare::check(&plan).map_err(why_not)?;
        return Ok(plan);
    }
    let models =
        once_each(args.models.clone(), |model| model.name).unwrap_or_else(|| model::ALL.iter().collect());
    // The baseline runs twice.
    let others = models.iter().filter(|model| model.name != BASELINE).count() + args.server.len();
    let starts = (STARTS_IN_ALL / (2 + others)).clamp(*STARTS.start(), *STARTS.end());
    let (starts, slices) = match args.precision {
        _ if args.quick => (QUICK_STARTS, QUICK_SLICES),
        // It goes on as long as it must.
        Some(_) => (compare::FEWEST_STARTS, SLICES),
        None => (starts, SLICES),
    };
    let plan = Plan {
        workloads: chosen_workloads(args)?,
        models: models.into_iter().map(|model| model.name.to_owned()).collect(),
        servers: args.server.clone(),
        baseline: BASELINE.to_owned(),
        workers: args.workers.unwrap_or_else(crate::serve::one_each_processor).get(),
        starts: args.starts.unwrap_or(starts),
        slices: args.slices.unwrap_or(slices),
        precision: args.precision,
        seed: args.seed,
        pinning: if args.no_pin { None } else { compare::pinning() },
        engine: compare::engine(),
        quick: args.quick,
    };
    compare::check(&plan).map_err(Failure::usage)?;
    Ok(plan)
}

/// The workloads that were asked for, with the numbers that were.
fn chosen_workloads(args: &Args) -> Result<Vec<Workload>, Failure> {
    let own = args.plan.as_deref().map(|file| read_plan(file, args.size)).transpose()?;
    let is_default = args.workloads.is_empty() && own.is_none();
    let names = match &own {
        _ if !args.workloads.is_empty() => args.workloads.clone(),
        Some(own) => own.iter().map(|workload| workload.name.clone()).collect(),
        None => workload::DEFAULT.iter().map(|&name| name.to_owned()).collect(),
    };
    let mut known = own.unwrap_or_default();
    known.extend(workload::of_size(args.size));
    let mut chosen = named(&names, &known)?;
    if !args.idle.is_empty() && !chosen.iter().any(is_idle) {
        return Err(Failure::usage(
            "--idle is for the workload `idle`, which is not chosen: add it to --workloads, or give `idle` in the plan",
        ));
    }
    for workload in &mut chosen {
        if let Some(slice) = args.slice {
            workload.slice_ms = slice.as_millis() as u64;
        }
        match args.idle.as_slice() {
            _ if !is_idle(workload) => {}
            [] if is_default => {
                let idle = if args.quick { workload::QUICK_IDLE } else { workload::DEFAULT_IDLE };
                workload.idle = OneOrMore::One(idle);
            }
            [] => {}
            [idle] => workload.idle = OneOrMore::One(*idle),
            idle => workload.idle = OneOrMore::More(idle.to_vec()),
        }
    }
    Ok(chosen)
}

fn is_idle(workload: &Workload) -> bool {
    workload.name == "idle"
}

/// The workloads with these names, each once.
fn named(names: &[String], known: &[Workload]) -> Result<Vec<Workload>, Failure> {
    let mut named: Vec<Workload> = Vec::new();
    for name in names {
        let Some(workload) = known.iter().find(|workload| workload.name == *name) else {
            let all: Vec<_> = known.iter().map(|workload| workload.name.as_str()).collect();
            return Err(Failure::usage(format_args!(
                "no such workload: {name}; the nearest: {}; all: {}",
                nearest(name, 2, all.iter().copied()),
                all.join(", ")
            )));
        };
        if !named.contains(workload) {
            named.push(workload.clone());
        }
    }
    Ok(named)
}

fn read_plan(file: &Path, size: Option<u32>) -> Result<Vec<Workload>, Failure> {
    let name = file.display();
    let text = fs::read_to_string(file)
        .map_err(|why| Failure::usage(format_args!("cannot read the plan {name}: {why}")))?;
    workload::read(&text, size).map_err(|why| Failure::usage(format_args!("the plan {name}: {why}")))
}

/// A result of `compare --json` from a file.
fn read_result(file: &Path) -> Result<Comparison, Failure> {
    Comparison::read(&text_of(file)?).map_err(|why| Failure::usage(format_args!("{}: {why}", file.display())))
}

/// What is in a file that is to be read as a result.
pub(crate) fn text_of(file: &Path) -> Result<String, Failure> {
    let failed = |why| Failure::usage(format_args!("cannot read {}: {why}", file.display()));
    fs::read_to_string(file).map_err(failed)
}

/// How far it is: live on a terminal, a line for each point elsewhere, nothing if quiet.
struct Teller {
    line: Progress,
    plain: bool,
    group: String,
    slices: usize,
}

impl Watch for Teller {
    fn group(&mut self, id: &str, load: &str, servers: usize, slices: usize) {
        (self.group, self.slices) = (id.to_owned(), slices);
        if self.plain {
            tell(&format!("{id}: {load}; {servers} servers"));
        }
    }

    fn progress(&mut self, what: &str, done: usize) {
        self.line.bar(&self.group, done, self.slices, what);
    }
}

fn help() -> String {
    let about = |workload: &Workload| (workload.name.clone(), workload.summary.clone());
    let workloads = help_table(workload::all().iter().map(about));
    let figure = |figure: &gate::Figure| (figure.name.to_owned(), figure.meaning.to_owned());
    let figures = help_table(gates::FIGURES.iter().map(figure));
    format!("Workloads:\n{workloads}\n{GATES}\n{figures}")
}
