//! `io-models completions SHELL`: what a shell needs to complete the command line.

use crate::failure::Failure;
use crate::output::Output;
use clap::builder::PossibleValuesParser;
use clap::{Arg, ArgGroup, Command, Id};
use clap_complete::{Shell, generate};
use io_models::facts::{self, Area};
use io_models::lab::{check, demo};
use io_models::model;
use std::process::ExitCode;

/// Print what a shell needs to complete the command line
#[derive(Debug, clap::Args)]
#[command(after_help = FILES)]
pub(crate) struct Args {
    /// The shell
    shell: Shell,
}

const FILES: &str = "\
Where shells look for it:
  bash  ~/.local/share/bash-completion/completions/io-models
  fish  ~/.config/fish/completions/io-models.fish
  zsh   the file _io-models in a folder of $fpath";

pub(crate) fn run(args: &Args, cli: &Command) -> Result<ExitCode, Failure> {
    let mut text = Vec::new();
    generate(args.shell, &mut without_hidden(cli), "io-models", &mut text);
    let text = String::from_utf8(text).expect("made of strings");
    // For bash, clap_complete 4.6 spells the hyphen of a program's name in two ways, and then completes nothing behind a
    // command (clap-rs/clap#6421).
    Output::stdout().report(&text.replace("io__subcmd__models", "io__models"))?;
    Ok(ExitCode::SUCCESS)
}

/// The command without what is hidden, which clap_complete would complete too.
fn without_hidden(command: &Command) -> Command {
    let hidden: Vec<_> =
        command.get_arguments().filter(|arg| arg.is_hide_set()).map(|arg| arg.get_id()).collect();
    let shown = |id: &Id| !hidden.contains(&id);
    let group = |group: &ArgGroup| {
        let args: Vec<_> = group.get_args().filter(|id| shown(id)).cloned().collect();
        ArgGroup::new(group.get_id()).args(args).multiple(true)
    };
    Command::new(command.get_name().to_owned())
        .about(command.get_about().cloned().unwrap_or_default())
        .args(command.get_arguments().filter(|arg| shown(arg.get_id())).map(|arg| with_names(command, arg)))
        .groups(command.get_groups().map(group))
        .subcommands(command.get_subcommands().filter(|command| !command.is_hide_set()).map(without_hidden))
}

/// With the names that may stand where the parser takes any text, to complain of a wrong name in its own words.
fn with_names(command: &Command, arg: &Arg) -> Arg {
    let facts = || facts::all().map(|fact| fact.id);
    let areas = Area::ALL.iter().map(|area| area.name());
    let names: Vec<_> = match (command.get_name(), arg.get_id().as_str()) {
        ("serve", "model") | ("trace", "servers") => model::ALL.iter().map(|model| model.name).collect(),
        ("demo", "demo") => demo::ALL.iter().map(|demo| demo.id).collect(),
        ("check", "explain") => check::all().map(|check| check.id).collect(),
        ("facts", "which") => areas.chain(facts()).collect(),
        ("facts", "explain" | "first_kernel") => facts().collect(),
        _ => return arg.clone(),
    };
    arg.clone().value_parser(PossibleValuesParser::new(names))
}
