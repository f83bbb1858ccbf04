//! `io-models unp30`: the server designs of UNP chapter 30 under the load of the book.

use crate::failure::Failure;
use crate::output::{Outputs, conclude, ended, help_table, warn};
use crate::progress::Progress;
use io_models::lab::unp30::{self, Load, Plan, Watch, designs};
use io_models::model::Model;
use io_models::{lab, startup, stop};
use std::io;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::process::ExitCode;

/// Measure the server designs of UNP, chapter 30: the CPU time that process control costs
#[derive(Debug, clap::Args)]
#[command(after_help = book())]
pub(crate) struct Args {
    /// Models, separated by commas; blocking is always run beside them [default: all]
    #[arg(long, value_name = "A,B", value_delimiter = ',', value_parser = crate::serve::model)]
    models: Vec<&'static Model>,

    /// How often each model is measured under each load
    #[arg(long, value_name = "N", default_value_t = 6, value_parser = crate::units::count)]
    rounds: usize,

    /// Connections of each of the five clients
    #[arg(long, value_name = "N", default_value_t = 500, value_parser = crate::units::count)]
    connections: usize,

    /// Workers of each server, for models that have some
    #[arg(long, value_name = "N", default_value_t = unp30::WORKERS, value_parser = crate::units::workers)]
    workers: NonZeroUsize,

    /// Let servers and clients run on any processor: the wall time is that of this machine then, and CPU times vary more
    #[arg(long)]
    no_pin: bool,

    /// Seed of the order of turns, and of the bytes that are sent
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,

    /// Print one JSON document instead of the tables
    #[arg(long, group = "form")]
    json: bool,

    /// Print Markdown
    #[arg(long, group = "form")]
    markdown: bool,

    /// Write the result to this file; `-` is standard output
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,

    /// Be a client: take orders on standard input
    #[arg(long, hide = true)]
    follow_orders: bool,
}

pub(crate) fn run(args: Args, quiet: bool) -> Result<ExitCode, Failure> {
    if args.follow_orders {
        unp30::follow(io::stdin().lock(), io::stdout().lock()).map_err(Failure::of)?;
        return Ok(ExitCode::SUCCESS);
    }
    let plan = Plan {
        models: in_the_order_of_the_book(&args.models),
        rounds: args.rounds,
        connections: args.connections,
        workers: args.workers,
        cpu: if args.no_pin { None } else { unp30::choose_cpu() },
        seed: args.seed,
        program: startup::this_program(),
    };
    unp30::check_ports(&plan).map_err(Failure::usage)?;
    let elsewhere = args.json || args.output.is_some();
    let output = Outputs::default().report(args.output)?;
    let (stopper, stop) = stop::pair().map_err(Failure::of)?;
    stopper.stop_on_signals().map_err(Failure::of)?;
    let mut teller = Teller(Progress::new(quiet));
    let result = unp30::run(plan, &stop, &mut teller);
    drop(teller);
    let result = result.map_err(Failure::of)?;
    let text = match (args.json, args.markdown) {
        (true, _) => format!("{}\n", lab::json(&result)),
        (_, true) => result.markdown(),
        _ => result.text(output.columns()),
    };
    let written = output.report(&text);
    // The table has it too, if it is what is on the screen.
    if let Some(warning) = result.warning().filter(|_| !quiet && elsewhere) {
        warn(&warning);
    }
    if elsewhere && !quiet {
        result.not_known().iter().for_each(|what| warn(what));
    }
    conclude([written], ended(result.trouble(), result.is_partial()))
}

/// Each model that was asked for, or every one.
fn in_the_order_of_the_book(asked: &[&Model]) -> Vec<&'static Model> {
    let is_asked = |model: &&Model| asked.is_empty() || asked.iter().any(|asked| asked.name == model.name);
    designs::all().into_iter().filter(is_asked).collect()
}

/// How far it is.
struct Teller(Progress);

impl Watch for Teller {
    fn progress(&mut self, load: Load, model: &Model, done: usize, all: usize) {
        self.0.bar(load.name(), done, all, model.name);
    }
}

fn book() -> String {
    let about =
        |design: &designs::Design| (design.model.to_owned(), format!("{} {}", design.number, design.name));
    format!("The designs of the book, by their models:\n{}", help_table(designs::BOOK.iter().map(about)))
}
