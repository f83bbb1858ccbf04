//! `io-models merge FILES…`: what several generators found, added up.

use crate::failure::Failure;
use crate::output::{Outputs, conclude, ended, warn};
use io_models::lab;
use io_models::lab::load::merge::Merged;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// What stands below the options.
const HELP: &str = "\
Counts and histograms are added, so percentiles are those of all requests. All runs must have the same plan. Rates are added \
if the runs were on at the same time. A merged result can be merged again.";

/// Add up the results of several generators: JSON reports and .hlog logs of `load`
#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub(crate) struct Args {
    /// What `load --json -o FILE` or `load --hlog FILE` wrote, one file per run
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,

    /// Print one JSON document, as `load` does
    #[arg(long)]
    json: bool,

    /// Write the report to this file; `-` is standard output, here and for the other files
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,

    /// Write the latency distribution for the HdrHistogram plotter, in milliseconds
    #[arg(long, value_name = "FILE")]
    hgrm: Option<PathBuf>,

    /// Write all of it as an HdrHistogram log with one interval, in nanoseconds
    #[arg(long, value_name = "FILE")]
    hlog: Option<PathBuf>,
}

pub(crate) fn run(args: Args, quiet: bool) -> Result<ExitCode, Failure> {
    // Read before anything is opened for writing: a file may be merged into itself.
    let merged = merged(&args.files)?;
    let mut outputs = Outputs::default();
    let output = outputs.report(args.output)?;
    let hgrm = outputs.optional("--hgrm", args.hgrm)?;
    let hlog = outputs.optional("--hlog", args.hlog)?;
    let report = merged.report();
    let text = match args.json {
        true => format!("{}\n", lab::json(&report)),
        false => report.text(output.columns()),
    };
    // The report first: nothing that fails may take it away.
    let mut written = vec![output.report(&text)];
    written.extend(hgrm.map(|hgrm| hgrm.write_beside(&merged.hgrm())));
    written.extend(hlog.map(|mut hlog| {
        let logged = merged.log(&mut hlog);
        logged.map_err(|why| Failure::output(hlog.name(), &why))
    }));
    if !quiet {
        merged.warnings().iter().for_each(|warning| warn(warning));
    }
    conclude(written, ended(report.trouble(), false))
}

fn merged(files: &[PathBuf]) -> Result<Merged, Failure> {
    let mut all: Option<Merged> = None;
    for file in files {
        let one = read(file)?;
        match &mut all {
            None => all = Some(one),
            Some(all) => all.add(one).map_err(Failure::of)?,
        }
    }
    all.ok_or_else(|| Failure::usage("say what to merge: the files that `io-models load` wrote"))
}

fn read(file: &Path) -> Result<Merged, Failure> {
    let name = file.display().to_string();
    let bytes = std::fs::read(file).map_err(|why| {
        Failure::run(format_args!(
            "cannot read {name}: {why}; give files that `io-models load` wrote with --hlog, or --json -o"
        ))
    })?;
    Merged::read(&name, &bytes).map_err(Failure::run)
}
