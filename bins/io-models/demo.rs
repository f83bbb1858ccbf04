//! `io-models demo`: a broken program and a mended one, side by side.

#[expect(unreachable_pub, reason = "whoever copies one of these files has it in a module of their own")]
mod programs;

use crate::failure::Failure;
use crate::output::{Outputs, conclude};
use io_models::lab::child::Failed;
use io_models::lab::demo::{self, Demo, Which};
use io_models::lab::explain::nearest;
use io_models::lab::lang::Lang;
use io_models::lab::results::demo::Language;
use io_models::lab::show::demo::list;
use io_models::lab::show::svg::WIDE;
use io_models::sys::calls;
use io_models::sys::limits::Nofile;
use io_models::sys::signal::{self, Signal};
use io_models::{lab, startup, stop};
use std::fs::File;
use std::path::PathBuf;
use std::process::ExitCode;

/// Show a classic fault of a server: a broken program and a mended one are run, measured and compared
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The demo, one of --list
    #[arg(value_name = "NAME", required_unless_present = "list", value_parser = named)]
    demo: Option<&'static Demo>,

    /// Print the demos, and run none
    #[arg(long, conflicts_with_all = ["demo", "cpp", "json", "picture", "run", "source"])]
    list: bool,

    /// Measure the programs in C++, which are compiled first
    #[arg(long)]
    cpp: bool,

    /// Print one JSON document
    #[arg(long)]
    json: bool,

    /// Also write the picture to this file, as SVG
    #[arg(short = 'o', long, value_name = "FILE.svg")]
    picture: Option<PathBuf>,

    /// Print one of the programs, and run none: broken or mended
    #[arg(long, value_name = "PROGRAM", conflicts_with_all = ["json", "picture", "run"])]
    source: Option<Which>,

    /// Run one of the programs in Rust alone, until Ctrl-C: broken or mended, and the port to listen on
    #[arg(long, num_args = 2, value_names = ["PROGRAM", "PORT"], conflicts_with_all = ["cpp", "json", "picture"])]
    run: Option<Vec<String>>,

    /// Count system calls into this file, where the measurement reads them
    #[arg(long, hide = true, requires = "run")]
    count_into: Option<PathBuf>,
}

fn named(name: &str) -> Result<&'static Demo, String> {
    demo::find(name).ok_or_else(|| {
        let near = nearest(name, 3, demo::ALL.iter().map(|demo| demo.id));
        format!("there is no such demo; the nearest: {near}; `io-models demo --list` has them all")
    })
}

pub(crate) fn run(args: Args, lang: Lang) -> Result<ExitCode, Failure> {
    let mut outputs = Outputs::default();
    let output = outputs.report(None)?;
    let Some(demo) = args.demo else {
        let text = list(lang, output.columns());
        output.report(&text)?;
        return Ok(ExitCode::SUCCESS);
    };
    if let Some(words) = &args.run {
        return run_one(demo, words, args.count_into);
    }
    let language = if args.cpp { Language::Cpp } else { Language::Rust };
    let Some(sources) = demo.sources(language) else {
        let id = demo.id;
        return Err(Failure::usage(format_args!("{id} has no programs in C++: leave --cpp out")));
    };
    if let Some(which) = args.source {
        output.report(sources.of(which))?;
        return Ok(ExitCode::SUCCESS);
    }
    let picture = outputs.optional("--picture", args.picture)?;
    Nofile::raise().map_err(Failure::of)?;
    let (stopper, stop) = stop::pair().map_err(Failure::of)?;
    stopper.stop_on_signals().map_err(Failure::of)?;
    let result = match demo.run(language, &startup::this_program(), &stop) {
        Ok(result) => result,
        Err(Failed::Error(why)) => return Err(Failure::of(why)),
        Err(Failed::Interrupted) => {
            let signal = signal::first().unwrap_or(Signal::SIGINT);
            return Ok(ExitCode::from(128 + signal as u8));
        }
    };
    let text = match args.json {
        true => format!("{}\n", lab::json(&result)),
        false => result.page(demo, lang, output.columns()),
    };
    let mut written = vec![output.report(&text)];
    written.extend(picture.map(|file| file.write_beside(&result.picture(&demo.text(lang), WIDE))));
    conclude(written, Ok(ExitCode::SUCCESS))
}

/// One of the programs, as a process of its own.
fn run_one(demo: &Demo, words: &[String], count_into: Option<PathBuf>) -> Result<ExitCode, Failure> {
    let [program, port] = words else { unreachable!("clap takes two words") };
    let which = Which::ALL.into_iter().find(|which| which.name() == program);
    let which =
        which.ok_or_else(|| Failure::usage(format_args!("{program:?} is neither broken nor mended")))?;
    let port = port.parse().map_err(|_| Failure::usage(format_args!("{port:?} is no port: 0 to 65535")))?;
    if let Some(path) = count_into {
        let file = File::options().read(true).write(true).open(path).map_err(Failure::of)?;
        calls::share_through(&file).map_err(Failure::of)?;
    }
    let serve = programs::find(demo.id, which);
    serve(port).map_err(Failure::of)?;
    Ok(ExitCode::SUCCESS)
}
