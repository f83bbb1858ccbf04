//! `io-models check`: judge any server.

use crate::failure::{DIFFERS, Failure};
use crate::output::{Outputs, conclude, ended};
use crate::progress::Progress;
use io_models::lab::check::{self, Answers, Check, Needs, Plan, Reach, Subject, Watch};
use io_models::lab::env::Environment;
use io_models::lab::explain::nearest;
use io_models::lab::lang::Lang;
use io_models::lab::results::check::{Checked, Expect, MOST, SCHEMA, SCHEMA_VERSION, Verdict};
use io_models::lab::show::check::{explain, list};
use io_models::lab::show::html;
use io_models::sys::limits::Nofile;
use io_models::{lab, startup, stop};
use std::collections::{BTreeSet, HashSet};
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

/// Judge a server, in any language: does it do what a TCP server must?
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER)]
pub(crate) struct Args {
    /// A server that runs already; `:PORT` is one on this machine
    #[arg(value_name = "ADDR:PORT", conflicts_with = "command")]
    address: Option<String>,

    /// More words are a command without `--` before it, and get a hint.
    #[arg(hide = true, conflicts_with = "command")]
    more: Vec<String>,

    /// Start this server for each check; `{port}` is the port that it must listen on. A single argument with spaces is run by sh(1)
    #[arg(last = true, value_name = "COMMAND {port}")]
    command: Vec<String>,

    /// Another server: 'NAME=COMMAND {port}' or 'NAME=ADDR:PORT'; may be repeated
    #[arg(long, value_name = "NAME=SERVER", value_parser = server)]
    server: Vec<Subject>,

    /// Make only these checks, and those that they depend on: ids or groups, separated by commas
    #[arg(long, value_name = "ID|GROUP", value_delimiter = ',')]
    only: Vec<String>,

    /// Leave out these checks: ids or groups, separated by commas
    #[arg(long, value_name = "ID|GROUP", value_delimiter = ',')]
    skip: Vec<String>,

    /// Make system calls of the server fail, as the kernel may
    #[arg(long)]
    faults: bool,

    /// What the server answers
    #[arg(long, value_enum, default_value_t = ExpectArg::Echo)]
    expect: ExpectArg,

    /// How many clients the server promises to serve at the same time; 1 for one that serves them in turn
    #[arg(long, value_name = "COUNT", default_value = "1000", value_parser = crate::units::count)]
    clients: usize,

    /// Seed for random sizes, pauses and faults, to repeat a run
    #[arg(long, value_name = "NUMBER")]
    seed: Option<u64>,

    /// Print each check with its verdict, not only those that failed
    #[arg(long)]
    verbose: bool,

    /// Print one JSON document; with --list the checks
    #[arg(long, group = "form", conflicts_with = "verbose")]
    json: bool,

    /// Print Markdown
    #[arg(long, group = "form", conflicts_with = "verbose")]
    markdown: bool,

    /// Print the checks, and make none
    #[arg(long, conflicts_with_all = ["markdown", "explain"])]
    list: bool,

    /// Print everything about one check, and make none
    #[arg(long, group = "form", value_name = "ID", value_parser = one)]
    explain: Option<&'static Check>,

    /// Also write JUnit XML to this file
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,

    /// Also write a page to this file: a matrix of checks and servers, and each failure
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,

    /// Write the report to this file
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
pub(crate) enum ExpectArg {
    /// The bytes that came
    Echo,
    /// `ok` for each piece received
    Ok,
    /// The same frame: four bytes with the length of the body, the most significant first, and the body
    Framed,
}

impl From<ExpectArg> for Expect {
    fn from(arg: ExpectArg) -> Expect {
        match arg {
            ExpectArg::Echo => Expect::Echo,
            ExpectArg::Ok => Expect::Ok,
            ExpectArg::Framed => Expect::Framed,
        }
    }
}

const AFTER: &str = "Examples:\n  io-models check -- ./my_server {port}\n  io-models check --server c='./echo_c {port}' --server go='./echo_go {port}'\n  \
                     io-models check 127.0.0.1:5005 --clients 1\n\nThe exit code is 0 if every check that was made has passed, 3 if one failed, 1 if none could be made of a server, 2 if none was chosen, and 130 or 143 after a signal.";

/// What is called so when it has no other name.
const UNNAMED: &str = "server";

pub(crate) fn run(args: Args, quiet: bool, lang: Lang) -> Result<ExitCode, Failure> {
    let mut outputs = Outputs::default();
    let output = outputs.report(args.output.clone())?;
    if let Some(check) = args.explain {
        let text = explain(check, output.columns(), lang);
        output.report(&text)?;
        return Ok(ExitCode::SUCCESS);
    }
    let (checks, asked) = chosen(&args)?;
    if args.list {
        let text = if args.json { lab::json(&checks) + "\n" } else { list(&checks, output.columns(), lang) };
        output.report(&text)?;
        return Ok(ExitCode::SUCCESS);
    }
    let subjects = subjects(&args)?;
    let junit = outputs.optional("--junit", args.junit)?;
    let page = outputs.optional("--html", args.html)?;
    let plan = Plan {
        nofile: Nofile::current().map_err(Failure::of)?.soft,
        program: startup::this_program(),
        checks,
        expect: args.expect.into(),
        clients: args.clients,
        seed: args.seed.unwrap_or_else(|| fastrand::u64(1..1_000_000)),
        side_by_side: SIDE_BY_SIDE,
    };
    // Each client takes a descriptor.
    Nofile::raise().map_err(Failure::of)?;
    let (stopper, stop) = stop::pair().map_err(Failure::of)?;
    stopper.stop_on_signals().map_err(Failure::of)?;
    let began = Instant::now();
    let teller = Teller { line: Progress::new(quiet) };
    let (mut servers, mut partial) = (Vec::new(), false);
    for subject in &subjects {
        let (judged, was_interrupted) = check::judge(&plan, subject, &stop, &teller)
            .unwrap_or_else(|why| (check::not_started(&plan, subject, &lab::explain::explain(&why)), false));
        servers.push(judged);
        // The servers behind it are in the report as well, without verdicts.
        partial |= was_interrupted;
    }
    drop(teller);
    let result = Checked {
        schema: SCHEMA.to_owned(),
        schema_version: SCHEMA_VERSION,
        environment: Environment::here(),
        plan: plan.described(args.faults),
        seconds: began.elapsed().as_secs_f64(),
        partial,
        servers,
    };
    let text = match (args.json, args.markdown) {
        (true, _) => format!("{}\n", lab::json(&result)),
        (_, true) => result.markdown(),
        _ => result.page(args.verbose, output.columns(), lang),
    };
    // The report first: nothing that fails may take it away.
    let mut written = vec![output.report(&text)];
    written.extend(junit.map(|file| file.write_beside(&result.junit().map_err(Failure::of)?)));
    written.extend(page.map(|file| file.write_beside(&html::check::page(&result))));
    let trouble = result.trouble(&asked);
    if trouble.is_none() && result.has_failures() && !partial {
        return conclude(written, Ok(ExitCode::from(DIFFERS)));
    }
    conclude(written, ended(trouble, partial))
}

/// Checks of one server that are made at the same time. Most of them wait for most of their time.
const SIDE_BY_SIDE: usize = 6;

/// The checks that were asked for with those that they depend on, in the order of the report; and which were asked for.
fn chosen(args: &Args) -> Result<(Vec<&'static Check>, HashSet<&'static str>), Failure> {
    for name in args.only.iter().chain(&args.skip) {
        if !check::all().any(|check| is_named(check, name)) {
            let known = check::all().flat_map(|check| [check.group(), check.id]);
            let known: BTreeSet<_> = known.collect();
            let near = nearest(name, 3, known.into_iter());
            return Err(Failure::usage(format_args!(
                "there is no check or group {name:?}; the nearest: {near}; `io-models check --list` has them all"
            )));
        }
    }
    let is_skipped = |check: &Check| args.skip.iter().any(|name| is_named(check, name));
    let is_asked = |check: &Check| args.only.iter().any(|name| is_named(check, name));
    // Frames are for servers of frames, faults for whoever asks for them.
    let is_usual = |check: &Check| {
        let is_possible =
            check.answers != Answers::Frames || matches!(args.expect, ExpectArg::Framed) || args.list;
        is_possible && (check.needs != Needs::Faults || args.faults || args.list)
    };
    let mut chosen: Vec<&Check> = check::all()
        .filter(|check| if args.only.is_empty() { is_usual(check) } else { is_asked(check) })
        .filter(|check| !is_skipped(check))
        .collect();
    if chosen.is_empty() {
        return Err(Failure::usage("--only and --skip leave no check: a run without checks says nothing"));
    }
    if !args.faults && !args.list && chosen.iter().any(|check| check.needs == Needs::Faults) {
        return Err(Failure::usage("checks of the group `fault` need --faults"));
    }
    let asked = chosen.iter().map(|check| check.id).collect();
    // A check says nothing without those that it depends on.
    let mut next = 0;
    while let Some(check) = chosen.get(next).filter(|_| !args.list) {
        let missing = check.after.iter().filter_map(|id| check::find(id));
        let missing: Vec<_> =
            missing.filter(|one| !is_skipped(one) && chosen.iter().all(|known| known.id != one.id)).collect();
        chosen.extend(missing);
        next += 1;
    }
    Ok((check::all().filter(|check| chosen.iter().any(|one| one.id == check.id)).collect(), asked))
}

fn is_named(check: &Check, name: &str) -> bool {
    check.id == name || check.group() == name
}

/// The servers to judge.
fn subjects(args: &Args) -> Result<Vec<Subject>, Failure> {
    let mut subjects = Vec::new();
    if let Some(address) = &args.address {
        if !args.more.is_empty() && is_like_address(address) {
            return Err(Failure::usage(
                "one address at a time; for several servers: --server NAME=ADDR:PORT",
            ));
        }
        let words: Vec<_> = [address].into_iter().chain(&args.more).map(String::as_str).collect();
        let reach = resolved(address).map_err(|why| Failure::usage(why + &meant(&words)))?;
        subjects.push(Subject { name: UNNAMED.to_owned(), reach: Reach::Running(reach) });
    }
    if !args.command.is_empty() {
        let command = match args.command.as_slice() {
            [one] if one.contains(' ') => one.clone(),
            words => format!("exec {}", words.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" ")),
        };
        if !command.contains(PORT) {
            let words: Vec<_> = args.command.iter().map(String::as_str).collect();
            return Err(Failure::usage(format_args!(
                "the command does not say {{port}}, for the port to listen on: io-models check -- {}; or start the server yourself, \
                 and give its address",
                with_port(&words)
            )));
        }
        subjects.push(Subject { name: UNNAMED.to_owned(), reach: Reach::Command(command) });
    }
    for subject in &args.server {
        if subjects.iter().any(|known| known.name == subject.name) {
            return Err(Failure::usage(format_args!("two servers are called {:?}", subject.name)));
        }
        subjects.push(subject.clone());
    }
    if subjects.is_empty() {
        return Err(Failure::usage(
            "no server is named: io-models check -- ./my_server {port}, or io-models check ADDR:PORT",
        ));
    }
    if subjects.len() > MOST {
        return Err(Failure::usage(format_args!("{MOST} servers at a time at most, not {}", subjects.len())));
    }
    Ok(subjects)
}

pub(crate) const PORT: &str = "{port}";

/// A word of a command as sh(1) reads it.
pub(crate) fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// All addresses of `localhost:5005` and the like: often ::1 and 127.0.0.1, and a server may have one of them only.
fn resolved(address: &str) -> Result<Vec<SocketAddr>, String> {
    let cannot = |why: &dyn std::fmt::Display| format!("{address:?} is no address ADDR:PORT: {why}");
    let host = if address.starts_with(':') { "localhost" } else { "" };
    let all: Vec<_> = format!("{host}{address}").to_socket_addrs().map_err(|why| cannot(&why))?.collect();
    if all.is_empty() { Err(cannot(&"the name has none")) } else { Ok(all) }
}

fn is_port(word: &str) -> bool {
    word.parse::<u16>().is_ok()
}

fn is_like_address(word: &str) -> bool {
    word.rsplit_once(':').is_some_and(|(_, port)| is_port(port))
}

/// What somebody may have meant by words that are no address: a hint.
fn meant(words: &[&str]) -> String {
    match words {
        [port] if is_port(port) => format!("; a server on this machine: io-models check :{port}"),
        [one] if is_like_address(one) => String::new(),
        words => format!("; to start a program: io-models check -- {}", with_port(words)),
    }
}

/// These words of a command with `{port}`: in the place of the last number, or else behind them.
pub(crate) fn with_port(words: &[&str]) -> String {
    let mut words = words.to_vec();
    if !words.iter().any(|word| word.contains(PORT)) {
        match words.iter().rposition(|word| is_port(word)) {
            Some(last) => words[last] = PORT,
            None => words.push(PORT),
        }
    }
    words.join(" ")
}

/// clap's parser for a named server.
fn server(text: &str) -> Result<Subject, String> {
    let forms = "give NAME='COMMAND {port}', or NAME=ADDR:PORT for a server that runs already";
    let (name, how) = text.split_once('=').ok_or_else(|| format!("{text:?} has no name: {forms}"))?;
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || "-_.+".contains(c);
    if name.is_empty() || !name.chars().all(is_allowed) {
        return Err(format!("{name:?} is no name of letters, digits, `-`, `_`, `.` and `+`: {forms}"));
    }
    let reach = match how.contains(PORT) {
        true => Reach::Command(how.to_owned()),
        false if is_like_address(how) => Reach::Running(resolved(how)?),
        false => {
            let words: Vec<_> = how.split_whitespace().collect();
            let command = with_port(&words);
            return Err(format!(
                "{how:?} is no address ADDR:PORT, and as a command it lacks {{port}}: {name}='{command}'"
            ));
        }
    };
    Ok(Subject { name: name.to_owned(), reach })
}

/// clap's parser for the id of a check.
fn one(id: &str) -> Result<&'static Check, String> {
    check::find(id).ok_or_else(|| {
        let of_group: Vec<_> =
            check::all().filter(|check| check.group() == id).map(|check| check.id).collect();
        if of_group.is_empty() {
            let near = nearest(id, 3, check::all().map(|check| check.id));
            return format!("there is no check {id:?}; the nearest: {near}");
        }
        format!("{id} is a group: name one of its checks, {}", of_group.join(", "))
    })
}

/// How far it is, on a terminal.
struct Teller {
    line: Progress,
}

impl Watch for Teller {
    fn verdict(&self, server: &str, verdict: &Verdict, done: usize, all: usize) {
        self.line.bar(server, done, all, &verdict.check);
    }
}
