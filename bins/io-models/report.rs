//! `io-models report RESULT`: a saved comparison, drawn again.

use crate::compare::read_result;
use crate::failure::Failure;
use crate::output::{Output, Outputs, conclude};
use io_models::lab::results::compare::Comparison;
use io_models::lab::show::{csv, html};
use std::path::PathBuf;
use std::process::ExitCode;

/// Draw a saved comparison again: tables on standard output, or files
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// What `compare --json -o FILE` wrote
    #[arg(value_name = "RESULT")]
    result: PathBuf,

    #[command(flatten)]
    files: Files,
}

/// The files that a result is drawn to.
#[derive(Debug, clap::Args)]
pub(crate) struct Files {
    /// Write a page with findings, charts and all figures, which needs no network; `-` is standard output, here and below
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,

    /// Write the tables as Markdown
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,

    /// Write all figures as comma-separated values
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,

    /// Write a picture: cost against idle connections, or the ranking of the first workload
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
}

/// What a file is to contain; `None` when there is nothing to show.
type Draw = fn(&Comparison) -> Option<String>;

/// Open files, and what each of them is to contain.
pub(crate) struct Drawings(Vec<(Output, Draw)>);

impl Files {
    /// Open them, before anything is measured.
    pub(crate) fn open(self, outputs: &mut Outputs) -> Result<Drawings, Failure> {
        let files: [(_, _, Draw); 4] = [
            ("--html", self.html, |result| Some(html::page(result))),
            ("--markdown", self.markdown, |result| Some(result.text(None, false))),
            ("--csv", self.csv, |result| Some(csv::text_of(result))),
            ("--svg", self.svg, html::picture),
        ];
        let mut open = Vec::new();
        for (option, file, draw) in files {
            open.extend(outputs.optional(option, file)?.map(|output| (output, draw)));
        }
        Ok(Drawings(open))
    }
}

impl Drawings {
    /// Whether no file was asked for.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Draw the result to each of them.
    pub(crate) fn write(self, result: &Comparison) -> Vec<Result<(), Failure>> {
        let write = |(output, draw): (Output, Draw)| match draw(result) {
            Some(text) => output.write_beside(&text),
            None => {
                let name = output.name();
                Err(Failure::run(format_args!("nothing was measured that could be drawn to {name}")))
            }
        };
        self.0.into_iter().map(write).collect()
    }
}

pub(crate) fn run(args: Args) -> Result<ExitCode, Failure> {
    // Read before anything is opened for writing: one of the files may be the result itself.
    let result = read_result(&args.result)?;
    let drawings = args.files.open(&mut Outputs::default())?;
    let written = if drawings.is_empty() {
        let output = Output::stdout();
        let text = result.text(output.columns(), false);
        vec![output.report(&text)]
    } else {
        drawings.write(&result)
    };
    conclude(written, Ok(ExitCode::SUCCESS))
}
