//! `io-models report RESULT`: a saved comparison, saved verdicts, a saved trace, or what limits a server, drawn again.

use crate::compare::text_of;
use crate::failure::Failure;
use crate::output::{Output, Outputs, conclude};
use io_models::lab::lang::Lang;
use io_models::lab::results::Head;
use io_models::lab::results::check::{self, Checked};
use io_models::lab::results::compare::Comparison;
use io_models::lab::results::doctor::{self, Diagnosed};
use io_models::lab::results::trace::{self, Traced};
use io_models::lab::show::{csv, html};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Draw a saved comparison, saved verdicts, a saved trace, or a saved diagnosis again: on standard output, or to files
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// What `compare`, `check`, `trace` or `doctor` wrote with `--json -o FILE`
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

pub(crate) fn run(args: Args, lang: Lang) -> Result<ExitCode, Failure> {
    // Read before anything is opened for writing: one of the files may be the result itself.
    let result = match read(&args.result)? {
        Kind::Comparison(result) => result,
        Kind::Checked(checked) => return draw_verdicts(&checked, args.files, lang),
        Kind::Traced(traced) => return draw_trace(&traced, args.files, lang),
        Kind::Diagnosed(found) => return print_diagnosis(&found, args.files, lang),
    };
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

/// What a file holds.
enum Kind {
    Comparison(Box<Comparison>),
    Checked(Box<Checked>),
    Traced(Box<Traced>),
    Diagnosed(Box<Diagnosed>),
}

/// Reads once: the file may be a pipe.
fn read(file: &Path) -> Result<Kind, Failure> {
    let text = text_of(file)?;
    let schema = serde_json::from_str::<Head>(&text).map(|head| head.schema).unwrap_or_default();
    let result = match schema.as_str() {
        check::SCHEMA => Checked::read(&text).map(|result| Kind::Checked(Box::new(result))),
        trace::SCHEMA => Traced::read(&text).map(|result| Kind::Traced(Box::new(result))),
        doctor::SCHEMA => Diagnosed::read(&text).map(|result| Kind::Diagnosed(Box::new(result))),
        _ => Comparison::read(&text).map(|result| Kind::Comparison(Box::new(result))),
    };
    result.map_err(|why| Failure::usage(format_args!("{}: {why}", file.display())))
}

/// The verdicts of `check --json` again.
fn draw_verdicts(result: &Checked, files: Files, lang: Lang) -> Result<ExitCode, Failure> {
    if files.csv.is_some() || files.svg.is_some() {
        return Err(Failure::usage("verdicts have no figures: --html and --markdown draw them"));
    }
    let mut outputs = Outputs::default();
    let page = outputs.optional("--html", files.html)?;
    let markdown = outputs.optional("--markdown", files.markdown)?;
    let mut written = Vec::new();
    if page.is_none() && markdown.is_none() {
        let output = Output::stdout();
        let text = result.page(true, output.columns(), lang);
        written.push(output.report(&text));
    }
    written.extend(page.map(|file| file.write_beside(&html::check::page(result))));
    written.extend(markdown.map(|file| file.write_beside(&result.markdown())));
    conclude(written, Ok(ExitCode::SUCCESS))
}

/// The trace of `trace --json` again.
fn draw_trace(result: &Traced, files: Files, lang: Lang) -> Result<ExitCode, Failure> {
    if files.csv.is_some() || files.svg.is_some() || files.markdown.is_some() {
        return Err(Failure::usage("a trace has no figures: --html draws it"));
    }
    let written = match Outputs::default().optional("--html", files.html)? {
        Some(page) => page.write_beside(&html::trace::page(result, lang)),
        None => {
            let output = Output::stdout();
            let text = result.text(output.columns(), lang);
            output.report(&text)
        }
    };
    conclude(vec![written], Ok(ExitCode::SUCCESS))
}

/// What `doctor --json` found again.
fn print_diagnosis(result: &Diagnosed, files: Files, lang: Lang) -> Result<ExitCode, Failure> {
    let Files { html, markdown, csv, svg } = files;
    if [html, markdown, csv, svg].iter().any(Option::is_some) {
        return Err(Failure::usage("a diagnosis is text alone: leave the files out"));
    }
    let output = Output::stdout();
    let text = result.text(output.columns(), lang);
    conclude(vec![output.report(&text)], Ok(ExitCode::SUCCESS))
}
