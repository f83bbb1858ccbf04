//! `io-models facts`: what this kernel does, beside what Linux does.

use crate::failure::{DIFFERS, Failure};
use crate::output::{Outputs, conclude, ended, help_table};
use crate::progress::Progress;
use io_models::facts::{self, Area, Fact, Mutant, Runner};
use io_models::lab::explain::nearest;
use io_models::lab::facts::{Baseline, Document, Report, explain, list};
use io_models::{lab, stop};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Check this kernel: run the facts, and print where it differs from Linux
#[derive(Debug, clap::Args)]
#[command(after_help = areas())]
pub(crate) struct Args {
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

    /// Longest time for one experiment
    #[arg(long, value_name = "TIME", default_value = "15s", value_parser = crate::units::duration)]
    deadline: Duration,
}

pub(crate) fn run(args: Args, quiet: bool) -> Result<ExitCode, Failure> {
    let mut outputs = Outputs::default();
    let output = outputs.report(args.output)?;
    if let Some(fact) = args.explain {
        let text = explain(fact, output.columns());
        output.report(&text)?;
        return Ok(ExitCode::SUCCESS);
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

fn read(file: &Path) -> Result<Baseline, Failure> {
    let name = file.display().to_string();
    let json = std::fs::read_to_string(file).map_err(|why| {
        Failure::usage(format_args!(
            "cannot read {name}: {why}; record one with `facts --json --output FILE`"
        ))
    })?;
    Baseline::read(&name, &json).map_err(|why| {
        Failure::usage(format_args!(
            "cannot compare with {name}: {why}; record one with `facts --json --output FILE`"
        ))
    })
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
