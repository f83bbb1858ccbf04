//! `io-models man [DIR]`: the manual pages.

use crate::failure::Failure;
use crate::output::Output;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::{fs, io};

/// Write the manual pages, one of io-models and one of each command, to a folder; without one, print the first
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The folder, which is made if it is missing
    #[arg(value_name = "DIR")]
    folder: Option<PathBuf>,
}

pub(crate) fn run(args: Args, cli: clap::Command) -> Result<ExitCode, Failure> {
    // There is a page for each command, and none that says so once more.
    let mut cli = cli.disable_help_subcommand(true);
    cli.build();
    match args.folder {
        Some(folder) => write(&cli, &folder).map_err(|(file, why)| {
            Failure::run(Failure::of_file("write to", &file, &why, "choose a folder that you may write"))
        })?,
        None => Output::stdout().report(&page(&cli).1)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Write the page of a command and those of its own commands; on failure the file and why.
fn write(command: &clap::Command, folder: &Path) -> Result<(), (String, io::Error)> {
    let (name, text) = page(command);
    let path = folder.join(name);
    let failed = |why| (path.display().to_string(), why);
    fs::create_dir_all(folder).and_then(|()| fs::write(&path, text)).map_err(failed)?;
    command
        .get_subcommands()
        .filter(|command| !command.is_hide_set())
        .try_for_each(|command| write(command, folder))
}

/// The file name of the page of a command, and its text.
fn page(command: &clap::Command) -> (String, String) {
    let notes = command.get_after_help().map(|text| notes(&text.to_string()));
    let source = concat!("io-models ", env!("CARGO_PKG_VERSION"));
    // clap_mangen leaves an empty date out, and the source would take its place.
    let date = option_env!("IO_MODELS_DATE").unwrap_or(" ");
    // clap_mangen fills the lines of the notes, so that tables lose their columns.
    let man = Man::new(command.clone().after_help(None)).date(date).source(source).manual("io-models");
    let mut text = Vec::new();
    man.render(&mut text).expect("a vector takes every byte");
    let text = String::from_utf8(text).expect("made of strings");
    // A break on either side of an empty line breaks nothing, and mandoc(1) warns of it.
    let text = text.replace("\n.br\n\n.br\n", "\n.sp\n");
    (man.get_filename(), text + &notes.unwrap_or_default())
}

/// What stands below the options in --help: paragraphs, and tables of names and what they mean.
fn notes(text: &str) -> String {
    let mut roff = Roff::new();
    roff.control("SH", ["NOTES"]);
    for line in text.lines() {
        if line.is_empty() {
            roff.control("PP", []);
            continue;
        }
        let mut words = line.trim_start();
        // A row begins with a name. What it means stands behind at least two spaces, and may go on in more lines.
        if line.starts_with("  ") && !line.starts_with("   ") {
            let (name, meaning) = words.split_once("  ").unwrap_or((words, ""));
            roff.control("TP", []).text([bold(name)]);
            words = meaning.trim_start();
        }
        if !words.is_empty() {
            roff.text([roman(words)]);
        }
    }
    roff.render()
}
