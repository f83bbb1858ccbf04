//! `io-models facts`: what this kernel does, beside what Linux does.

mod map;

use crate::failure::{DIFFERS, Failure};
use crate::output::{Output, Outputs, conclude, ended, help_table};
use crate::progress::Progress;
use io_models::facts::{self, Area, Fact, Mutant, Runner, Since};
use io_models::lab::explain::nearest;
use io_models::lab::facts::{Document, Map, Pair, Profile, Report, explain, first_kernel, list};
use io_models::{lab, stop};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Check this kernel: run the facts, and print where it differs from Linux
#[derive(Debug, clap::Args)]
#[command(after_help = areas(), args_conflicts_with_subcommands = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Option<Command>,

    /// Areas, or ids of facts [default: all]
    #[arg(value_name = "AREA|ID")]
    which: Vec<String>,

    /// Print each fact with its claim, not only those that differ
    #[arg(long)]
    verbose: bool,

    /// Print one JSON document
    #[arg(long, group = "form")]
    json: bool,

    /// Print Markdown
    #[arg(long, group = "form", conflicts_with = "verbose")]
    markdown: bool,

    /// Print the facts and the wrong kernels, and run nothing
    #[arg(long, group = "form")]
    list: bool,

    /// Print everything about one fact, and run nothing
    #[arg(long, group = "form", value_name = "ID", value_parser = fact)]
    explain: Option<&'static Fact>,

    /// Print since which kernel one fact is so, by the systems that were looked at, and run nothing
    #[arg(long, group = "form", value_name = "ID", value_parser = fact)]
    first_kernel: Option<&'static Fact>,

    /// Print what differs between two systems, and run nothing: each a profile, or a system of the map
    #[arg(long, group = "form", value_names = ["A", "B"], num_args = 2)]
    differs: Option<Vec<String>>,

    /// Compare with a profile that --json wrote
    #[arg(long, value_name = "FILE")]
    baseline: Option<PathBuf>,

    /// Also write JUnit XML to this file
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,

    /// Write the result to this file; `-` is standard output
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,

    /// Run under a kernel that is wrong on purpose, to see a fact fail; --list names them
    #[arg(long, value_name = "MUTANT", value_parser = mutant)]
    under: Option<&'static Mutant>,

    /// Start each experiment through this command, such as `qemu-x86_64` or `unshare --net`
    #[arg(long, value_name = "COMMAND")]
    launcher: Option<String>,

    /// Judge the kernel as this version of Linux, whatever it says it is: then what is newer than it says differs too
    #[arg(long, value_name = "VERSION", value_parser = version)]
    judge_as: Option<Since>,

    /// Longest time for one experiment, which waits for one thing for up to a third of it
    #[arg(long, value_name = "TIME", default_value = "15s", value_parser = crate::units::duration)]
    deadline: Duration,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    Map(map::Args),
}

pub(crate) fn run(args: Args, quiet: bool) -> Result<ExitCode, Failure> {
    if let Some(Command::Map(args)) = args.command {
        return map::run(args);
    }
    let mut outputs = Outputs::default();
    let output = outputs.report(args.output)?;
    if let Some(fact) = args.explain {
        let text = explain(fact, output.columns());
        output.report(&text)?;
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(fact) = args.first_kernel {
        let text = first_kernel(Map::recorded(), fact, output.columns());
        output.report(&text)?;
        return Ok(ExitCode::SUCCESS);
    }
    if let Some([one, other]) = args.differs.as_deref() {
        return differs(one, other, output);
    }
    let chosen = choose(&args.which)?;
    if args.list {
        let text = list(&chosen, output.columns());
        output.report(&text)?;
        return Ok(ExitCode::SUCCESS);
    }
    let baseline = args.baseline.as_deref().map(read).transpose()?;
    let junit = outputs.optional("--junit", args.junit)?;
    let mut runner = Runner::default();
    runner.under = args.under;
    runner.judge_as = args.judge_as;
    runner.deadline = args.deadline;
    runner.launcher =
        args.launcher.iter().flat_map(|line| line.split_whitespace()).map(str::to_owned).collect();

    let (stopper, stop) = stop::pair().map_err(Failure::of)?;
    stopper.stop_on_signals().map_err(Failure::of)?;
    if let Some(launcher) = runner.launcher.first() {
        let cannot = |why| Failure::run(format_args!("cannot start the launcher {launcher}: {why}"));
        runner.try_launcher().map_err(cannot)?;
    }
    let started = Instant::now();
    let line = Progress::new(quiet);
    let mut done = 0;
    let runs = runner.run_all(&chosen, &stop, |run| {
        done += 1;
        line.show(&format!("{done}/{} {}", chosen.len(), run.fact.id));
    });
    drop(line);
    let mut report = Report::new(&runner, &chosen, runs, started.elapsed());
    if let Some(baseline) = &baseline {
        report.compare(baseline);
    }
    let text = match (args.json, args.markdown) {
        (true, _) => format!("{}\n", lab::json(&Document::of(&report))),
        (_, true) => report.markdown(),
        _ => report.page(args.verbose, output.columns()),
    };
    // The report first: nothing that fails may take it away.
    let mut written = vec![output.report(&text)];
    written.extend(junit.map(|junit| junit.write_beside(&report.junit().map_err(Failure::of)?)));
    let trouble = report.trouble();
    if trouble.is_none() && report.is_remarkable() && !report.is_partial() {
        return conclude(written, Ok(ExitCode::from(DIFFERS)));
    }
    conclude(written, ended(trouble, report.is_partial()))
}

/// The facts that were asked for, each once, in the order of the report.
fn choose(which: &[String]) -> Result<Vec<&'static Fact>, Failure> {
    for name in which {
        if area(name).is_none() && facts::find(name).is_none() {
            let areas = Area::ALL.iter().map(|area| area.name());
            let [area, facts] = [nearest(name, 1, areas), nearest(name, 3, facts::all().map(|fact| fact.id))];
            return Err(Failure::usage(format_args!(
                "there is no area or fact {name:?}; the nearest area: {area}; the nearest facts: {facts}; areas: {}",
                area_names()
            )));
        }
    }
    let asked = |fact: &Fact| which.iter().any(|name| name == fact.id || name == fact.area().name());
    Ok(facts::all().filter(|fact| which.is_empty() || asked(fact)).collect())
}

fn read(file: &Path) -> Result<Profile, Failure> {
    profile(&file.display().to_string(), file)
}

/// The profile in a file, for a system of that name.
fn profile(name: &str, file: &Path) -> Result<Profile, Failure> {
    const RECORD: &str = "record one with `facts --json --output FILE`";
    let path = file.display();
    let json = std::fs::read_to_string(file)
        .map_err(|why| Failure::usage(format_args!("cannot read {path}: {why}; {RECORD}")))?;
    Profile::read(name, &json)
        .map_err(|why| Failure::usage(format_args!("cannot compare with {path}: {why}; {RECORD}")))
}

/// What differs between two systems, each a file or a system of the recorded map.
fn differs(one: &str, other: &str, output: Output) -> Result<ExitCode, Failure> {
    let recorded = Map::recorded();
    let profile = |name: &str| match recorded.profile(name) {
        Some(profile) => Ok(profile),
        None if Path::new(name).exists() => read(Path::new(name)),
        None => {
            let systems = nearest(name, 3, recorded.all_names());
            let line = format!("{name} is no file and no system of the map; the nearest systems: {systems}");
            Err(Failure::usage(line))
        }
    };
    let (one, other) = (profile(one)?, profile(other)?);
    let pair = Pair::of(&one, &other);
    let text = pair.page(output.columns());
    let written = [output.report(&text)];
    let ended = match pair.trouble() {
        Some(trouble) => Err(Failure::run(trouble)),
        None if pair.is_remarkable() => Ok(ExitCode::from(DIFFERS)),
        None => Ok(ExitCode::SUCCESS),
    };
    conclude(written, ended)
}

fn area(name: &str) -> Option<Area> {
    Area::ALL.iter().copied().find(|area| area.name() == name)
}

fn area_names() -> String {
    Area::ALL.iter().map(|area| area.name()).collect::<Vec<_>>().join(", ")
}

/// clap's parser for the id of a fact.
fn fact(id: &str) -> Result<&'static Fact, String> {
    facts::find(id).ok_or_else(|| {
        format!("there is no fact {id:?}; the nearest: {}", nearest(id, 3, facts::all().map(|fact| fact.id)))
    })
}

/// clap's parser for a version of Linux.
fn version(text: &str) -> Result<Since, String> {
    Since::parse(text).ok_or_else(|| "it is no version of Linux such as 6.12".to_owned())
}

/// clap's parser for the name of a wrong kernel.
fn mutant(name: &str) -> Result<&'static Mutant, String> {
    Mutant::find(name).ok_or_else(|| {
        let names = nearest(name, 3, Mutant::all().map(|mutant| mutant.name));
        format!("there is no such wrong kernel; the nearest: {names}; `facts --list` has them all")
    })
}

fn areas() -> String {
    let about = |area: &Area| {
        let facts = area.facts().count();
        (format!("{:<8} {facts:>2}", area.name()), area.title().to_owned())
    };
    format!(
        "Each fact is an experiment in a process of its own. The exit code is 0 if no fact differs and 3 if one does; with \
         --baseline it is 0 if nothing changed. It is 1 if every fact was skipped.\n\nAreas, with the number of their \
         facts:\n{}",
        help_table(Area::ALL.iter().map(about))
    )
}
