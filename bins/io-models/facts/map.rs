//! `io-models facts map FILES…`: what was found on many systems, side by side.

use super::profile;
use crate::failure::{DIFFERS, Failure};
use crate::output::{Output, Outputs, conclude};
use io_models::lab::facts::{Known, Map};
use io_models::lab::show::html;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Draw profiles of several systems side by side: on standard output, or files
#[derive(Debug, clap::Args)]
#[command(
    after_help = "A file is what `facts --json -o NAME.json` wrote, and NAME is the name of the system; or it says why there is no \
                  profile: {\"schema\": \"io-models/facts\", \"schema_version\": 2, \"name\": NAME, \"missing\": REASON}.\n\nThe exit \
                  code is 0 if no fact differs on any system and 3 if one does."
)]
pub(super) struct Args {
    /// A profile of each system
    #[arg(value_name = "FILES", required = true)]
    files: Vec<PathBuf>,

    /// Explanations of what differs, and which systems are not Linux: a TOML file, described in docs/facts.md
    #[arg(long, value_name = "FILE")]
    known: Option<PathBuf>,

    /// Write a page, which needs no network; `-` is standard output, here and below
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,

    /// Write tables as Markdown
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,

    /// Write one JSON document, which has what does not hold and what explains it
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// What a file is to contain.
type Draw = fn(&Map) -> String;

pub(super) fn run(args: Args) -> Result<ExitCode, Failure> {
    // Read before anything is opened for writing: one of the files may be a profile.
    let profiles = args.files.iter().map(|file| profile(&stem(file), file)).collect::<Result<_, _>>()?;
    let known = args.known.as_deref().map_or(Ok(Known::default()), known)?;
    let map = Map::new(profiles, known).map_err(Failure::usage)?;
    let mut outputs = Outputs::default();
    let draw: [(_, _, Draw); 3] = [
        ("--html", args.html, html::facts::page),
        ("--markdown", args.markdown, Map::markdown),
        ("--json", args.json, Map::json),
    ];
    let mut open = Vec::new();
    for (option, file, draw) in draw {
        open.extend(outputs.optional(option, file)?.map(|output| (output, draw)));
    }
    let written = if open.is_empty() {
        let output = Output::stdout();
        let text = map.page(output.columns());
        vec![output.report(&text)]
    } else {
        open.into_iter().map(|(output, draw)| output.write_beside(&draw(&map))).collect()
    };
    conclude(written, Ok(if map.is_remarkable() { ExitCode::from(DIFFERS) } else { ExitCode::SUCCESS }))
}

/// The name of a system.
fn stem(file: &Path) -> String {
    file.file_stem().unwrap_or(file.as_os_str()).to_string_lossy().into_owned()
}

fn known(file: &Path) -> Result<Known, Failure> {
    let name = file.display();
    let text =
        fs::read_to_string(file).map_err(|why| Failure::usage(format_args!("cannot read {name}: {why}")))?;
    Known::read(&text).map_err(|why| Failure::usage(format_args!("{name}: {why}")))
}
