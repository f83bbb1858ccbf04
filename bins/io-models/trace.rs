//! `io-models trace`: what a server does for its clients, call by call.

use crate::failure::Failure;
use crate::output::Output;
use io_models::lab::results::check::Expect;
use io_models::lab::trace::{Plan, Script, Subject, trace};
use io_models::lab::{self};
use io_models::sys::limits::Nofile;
use io_models::{startup, stop};
use std::process::ExitCode;

/// Show what a server does for its clients, call by call
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Start this server
    #[arg(last = true, value_name = "COMMAND {port}")]
    command: Vec<String>,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let (stopper, stop) = stop::pair().map_err(Failure::of)?;
    stopper.stop_on_signals().map_err(Failure::of)?;
    let plan = Plan {
        program: startup::this_program(),
        subjects: vec![Subject {
            name: "server".to_owned(),
            command: format!("exec {}", args.command.join(" ")),
            is_one_program: true,
        }],
        script: Script::usual(),
        expect: Expect::Echo,
        nofile: Nofile::current().map_err(Failure::of)?.soft,
    };
    let result = trace(&plan, &stop).map_err(|why| match why {
        lab::child::Failed::Interrupted => Failure::run("interrupted"),
        lab::child::Failed::Error(why) => Failure::of(why),
    })?;
    Output::stdout().report(&(lab::json(&result) + "\n"))?;
    Ok(ExitCode::SUCCESS)
}
