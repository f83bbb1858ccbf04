//! `io-models`: serve with one model, put load on a server, compare the models, merge results, check the kernel.

mod check;
mod compare;
mod completions;
mod demo;
mod doctor;
mod facts;
mod failure;
mod load;
mod man;
mod merge;
mod models;
mod output;
mod progress;
mod report;
mod serve;
mod supervise;
mod trace;
mod units;
mod unp30;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use failure::Failure;
use io_models::lab::lang::Lang;
use output::Output;
use std::process::ExitCode;

/// Linux network I/O models, side by side, measured under a verified load
#[derive(Debug, Parser)]
#[command(name = "io-models", version, max_term_width = output::HELP_WIDTH, after_help = EXIT_CODES)]
struct Cli {
    #[command(subcommand)]
    command: Command,

    /// No progress and no warnings on standard error
    #[arg(long, global = true, display_order = 100)]
    quiet: bool,

    /// Colours: auto means on a terminal, unless NO_COLOR is set
    #[arg(long, global = true, display_order = 101, value_name = "WHEN", default_value = "auto")]
    color: clap::ColorChoice,

    /// The language of what is explained; without it, that of LC_ALL, LC_MESSAGES or LANG
    #[arg(long, global = true, display_order = 102, value_name = "LANGUAGE")]
    lang: Option<Lang>,
}

#[derive(Debug, Subcommand)]
enum Command {
    Compare(Box<compare::Args>),
    Report(report::Args),
    Unp30(unp30::Args),
    Serve(serve::Args),
    Load(Box<load::Args>),
    Check(Box<check::Args>),
    Trace(trace::Args),
    Doctor(doctor::Args),
    Merge(merge::Args),
    Models(models::Args),
    Facts(facts::Args),
    Demo(demo::Args),
    Man(man::Args),
    Completions(completions::Args),
    #[command(hide = true)]
    Supervise(supervise::Args),
}

const EXIT_CODES: &str = "\
Exit codes:
  0    it is done
  1    it failed: a lost connection, a wrong byte, a server that did not start
  2    the command line makes no sense here
  3    it is done, and something differs or was not met: a fact, a check, a gate, a rate
  130  after SIGINT (Ctrl-C); the results so far were printed
  143  after SIGTERM, likewise";

fn main() -> ExitCode {
    // The process of one fact is this program, started again.
    io_models::facts::run_one_if_asked();
    io_models::startup::prepare();
    let result = match parse() {
        Ok(Some(cli)) => run(cli),
        Ok(None) => Ok(ExitCode::SUCCESS),
        Err(failure) => Err(failure),
    };
    result.unwrap_or_else(Failure::tell)
}

fn run(cli: Cli) -> Result<ExitCode, Failure> {
    let choice = match cli.color {
        clap::ColorChoice::Auto => anstream::ColorChoice::Auto,
        clap::ColorChoice::Always => anstream::ColorChoice::Always,
        clap::ColorChoice::Never => anstream::ColorChoice::Never,
    };
    choice.write_global();
    let lang = cli.lang.unwrap_or_else(Lang::of_environment);
    match cli.command {
        Command::Compare(args) => compare::run(*args, cli.quiet),
        Command::Report(args) => report::run(args, lang),
        Command::Unp30(args) => unp30::run(args, cli.quiet),
        Command::Serve(args) => serve::run(args),
        Command::Check(args) => check::run(*args, cli.quiet, lang),
        Command::Trace(args) => trace::run(args, lang),
        Command::Doctor(args) => doctor::run(args, cli.quiet, lang),
        Command::Load(args) => load::run(*args, cli.quiet),
        Command::Merge(args) => merge::run(args, cli.quiet),
        Command::Models(args) => models::run(&args),
        Command::Facts(args) => facts::run(args, cli.quiet),
        Command::Man(args) => man::run(args, Cli::command()),
        Command::Completions(args) => completions::run(&args, &Cli::command()),
        Command::Demo(args) => demo::run(args, lang),
        Command::Supervise(args) => supervise::run(&args),
    }
}

/// The command line; `None` when it asked for help or the version, which have been printed then.
fn parse() -> Result<Option<Cli>, Failure> {
    let parsed = Cli::command().try_get_matches().and_then(|matches| Cli::from_arg_matches(&matches));
    match parsed {
        Ok(cli) => Ok(Some(cli)),
        Err(error) if error.use_stderr() => Err(Failure::of_clap(&error)),
        Err(help) => {
            Output::stdout().report(&help.render().ansi().to_string())?;
            Ok(None)
        }
    }
}
