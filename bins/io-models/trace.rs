//! `io-models trace`: what one server does for its clients, or two, call by call.

use crate::check::{ExpectArg, PORT, quoted, with_port};
use crate::failure::Failure;
use crate::output::{Outputs, conclude, ended};
use io_models::lab::child::Failed;
use io_models::lab::explain::nearest;
use io_models::lab::lang::Lang;
use io_models::lab::show::html;
use io_models::lab::trace::{Plan, Script, Subject, USUAL, trace};
use io_models::sys::limits::Nofile;
use io_models::{lab, model, startup, stop};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Show what a server does for its clients, call by call, and what lies in the buffers; or what two servers do differently
#[derive(Debug, clap::Args)]
#[command(after_help = after())]
pub(crate) struct Args {
    /// One server or two, which have the same clients: a model of `io-models models`, or a command with `{port}` in quotes
    #[arg(value_name = "SERVER", num_args = 0..=2)]
    servers: Vec<String>,

    /// Another server: `{port}` is the port that it must listen on
    #[arg(last = true, value_name = "COMMAND {port}")]
    command: Vec<String>,

    /// What the clients do, one step a line; without it the script below
    #[arg(long, value_name = "FILE")]
    script: Option<PathBuf>,

    /// What the servers answer
    #[arg(long, value_enum, default_value_t = ExpectArg::Echo)]
    expect: ExpectArg,

    /// Print one JSON document
    #[arg(long)]
    json: bool,

    /// Also write a Trace Event file, for Perfetto (ui.perfetto.dev) and chrome://tracing
    #[arg(long, value_name = "FILE")]
    events: Option<PathBuf>,

    /// Write to this file: a page if its name ends in .html, the JSON document if it ends in .json, and text otherwise
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

fn after() -> String {
    format!(
        "Examples:\n  io-models trace epoll-level epoll-edge -o page.html\n  io-models trace epoll-level -- ./my_server {{port}}\n  \
         io-models trace './my_server {{port}}' 'python3 server.py {{port}}'\n\nThe script, if --script names no other:\n{}\n\
         The actions of a step are done at once. Then the clients wait until the server sleeps, send the rest of what is large, and read. There are \
         connect, send BYTES, send \"TEXT\", half-close (shutdown(2) with SHUT_WR), close, and reset (RST).",
        USUAL.lines().fold(String::new(), |all, line| all + "  " + line + "\n")
    )
}

/// The forms of the report.
#[derive(Debug, Clone, Copy)]
enum Form {
    Text,
    Json,
    Page,
}

pub(crate) fn run(args: Args, lang: Lang) -> Result<ExitCode, Failure> {
    let subjects = distinct(subjects("trace", &args.servers, &args.command)?)?;
    let script = args.script.as_deref().map_or_else(|| Ok(Script::usual()), script)?;
    let form = match args.output.as_deref().and_then(|path| path.extension()?.to_str()) {
        _ if args.json => Form::Json,
        Some("html" | "htm") => Form::Page,
        Some("json") => Form::Json,
        _ => Form::Text,
    };
    let mut outputs = Outputs::default();
    let output = outputs.report(args.output)?;
    let events = outputs.optional("--events", args.events)?;
    let (stopper, stop) = stop::pair().map_err(Failure::of)?;
    stopper.stop_on_signals().map_err(Failure::of)?;
    let plan = Plan {
        program: startup::this_program(),
        subjects,
        script,
        expect: args.expect.into(),
        nofile: Nofile::current().map_err(Failure::of)?.soft,
    };
    let result = match trace(&plan, &stop) {
        Ok(result) => result,
        Err(Failed::Error(why)) => return Err(Failure::of(why)),
        Err(Failed::Interrupted) => return ended(None, true),
    };
    let text = match form {
        Form::Text => result.text(output.columns(), lang),
        Form::Json => lab::json(&result) + "\n",
        Form::Page => html::trace::page(&result, lang),
    };
    // The report first: nothing that fails may take it away.
    let mut written = vec![output.report(&text)];
    written.extend(events.map(|file| file.write_beside(&result.trace_events())));
    conclude(written, ended(None, result.partial))
}

fn script(path: &Path) -> Result<Script, Failure> {
    let name = path.display().to_string();
    let text = std::fs::read_to_string(path).map_err(|why| {
        Failure::usage(Failure::of_file("read", &name, &why, "name a script with --script"))
    })?;
    Script::parse(&text)
        .map_err(|why| Failure::usage(format_args!("{name}: {why}; `io-models trace --help` has an example")))
}

/// The servers of a command line: those named, and the command behind `--`.
pub(crate) fn subjects(tool: &str, servers: &[String], command: &[String]) -> Result<Vec<Subject>, Failure> {
    let mut subjects = servers.iter().map(|server| subject(tool, server)).collect::<Result<Vec<_>, _>>()?;
    if let [one] = command {
        subjects.push(of_command(tool, one)?);
    } else if !command.is_empty() {
        let words: Vec<_> = command.iter().map(|word| quoted(word)).collect();
        subjects.push(with_a_port(tool, format!("exec {}", words.join(" ")), command, true)?);
    }
    Ok(subjects)
}

/// One or two, each with a name of its own.
fn distinct(mut subjects: Vec<Subject>) -> Result<Vec<Subject>, Failure> {
    match subjects.as_mut_slice() {
        [] => Err(Failure::usage(
            "no server is named: io-models trace epoll-level, or io-models trace -- ./my_server {port}",
        )),
        [_] => Ok(subjects),
        [one, other] => {
            if one.name == other.name {
                other.name += " (2)";
            }
            Ok(subjects)
        }
        more => Err(Failure::usage(format_args!("two servers at most, not {}", more.len()))),
    }
}

/// A model, or a command.
fn subject(tool: &str, server: &str) -> Result<Subject, Failure> {
    if let Some(model) = model::find(server) {
        let arguments = format!("serve {} --listen 127.0.0.1:{PORT}", model.name);
        return Ok(Subject {
            name: model.name.to_owned(),
            what: format!("io-models {arguments}"),
            // This program, wherever its file is now.
            command: format!("exec /proc/{}/exe {arguments}", std::process::id()),
            is_one_program: true,
        });
    }
    if server.contains(PORT) {
        return of_command(tool, server);
    }
    if server.contains(['/', ' ', '.']) {
        let words: Vec<_> = server.split_whitespace().collect();
        return Err(Failure::usage(format_args!(
            "{server:?} is no model, and as a command it lacks {{port}}: io-models {tool} '{}'",
            with_port(&words)
        )));
    }
    let near = nearest(server, 3, model::ALL.iter().map(|model| model.name));
    Err(Failure::usage(format_args!(
        "there is no model {server:?}; the nearest: {near}; `io-models models` has them all. A command needs {{port}}: \
         io-models {tool} './{server} {{port}}'"
    )))
}

/// A command in one argument. A simple one is executed by the shell in its own place, so that no call of the shell is in the trace.
fn of_command(tool: &str, command: &str) -> Result<Subject, Failure> {
    let is_simple = !command.contains(['&', '|', ';', '<', '>', '(', ')', '`', '$', '\n', '='])
        && !command.starts_with("cd ");
    let words: Vec<_> = command.split_whitespace().map(str::to_owned).collect();
    let line = if is_simple { format!("exec {command}") } else { command.to_owned() };
    with_a_port(tool, line, &words, is_simple)
}

fn with_a_port(
    tool: &str,
    command: String,
    words: &[String],
    is_one_program: bool,
) -> Result<Subject, Failure> {
    let words: Vec<_> = words.iter().map(String::as_str).collect();
    if !command.contains(PORT) {
        return Err(Failure::usage(format_args!(
            "the command does not say {{port}}, for the port to listen on: io-models {tool} -- {}",
            with_port(&words)
        )));
    }
    Ok(Subject { name: name_of(&words), what: words.join(" "), command, is_one_program })
}

/// The name of a program: for `python3 server.py` that of the file.
fn name_of(words: &[&str]) -> String {
    const INTERPRETERS: [&str; 8] = ["exec", "env", "python3", "python", "node", "ruby", "perl", "sh"];
    fn name(word: &str) -> &str {
        Path::new(word).file_name().and_then(|name| name.to_str()).unwrap_or(word)
    }
    let found = words
        .iter()
        .find(|word| !INTERPRETERS.contains(&name(word)) && !word.starts_with('-') && !word.contains('='));
    found.map_or("server", |word| name(word)).to_owned()
}
