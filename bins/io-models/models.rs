//! `io-models models`: the table of models.

use crate::failure::Failure;
use crate::output::Output;
use io_models::lab::{self, models::Report};
use std::process::ExitCode;

/// List the server models: how many clients each serves, where it runs, and whether this system can run it
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let (report, output) = (Report::here(), Output::stdout());
    let text = match args.json {
        true => format!("{}\n", lab::json(&report)),
        false => report.text(output.columns()),
    };
    output.report(&text)?;
    Ok(ExitCode::SUCCESS)
}
