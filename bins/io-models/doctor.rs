//! `io-models doctor`: why the number of a server is lower than it could be.

use crate::failure::Failure;
use crate::load::PayloadArg;
use crate::output::{Outputs, conclude, ended};
use crate::progress::Progress;
use crate::trace::subjects;
use io_models::lab::child::Failed;
use io_models::lab::doctor::{Doing, Plan, examine};
use io_models::lab::lang::Lang;
use io_models::lab::results::doctor::Kind;
use io_models::sys::limits::Nofile;
use io_models::{lab, startup, stop};
use std::path::PathBuf;
use std::process::ExitCode;

/// How it is called.
const TOOL: &str = "doctor";

/// The model that a server is compared with.
const REFERENCE: &str = "epoll-level";

/// Find out why the number of a server is lower than it could be: what limits it, and the number without that
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER)]
pub(crate) struct Args {
    /// A model of `io-models models`, or a command with `{port}` in quotes
    #[arg(value_name = "SERVER", conflicts_with = "command")]
    server: Option<String>,

    /// The server, which must echo: `{port}` is the port that it must listen on
    #[arg(last = true, value_name = "COMMAND {port}")]
    command: Vec<String>,

    /// The bytes to send: random, zero bytes included; or text (letters and digits), for servers that use strlen or printf
    #[arg(long, value_enum, default_value_t = PayloadArg::Random)]
    payload: PayloadArg,

    /// Print one JSON document
    #[arg(long)]
    json: bool,

    /// Write to this file: the JSON document if its name ends in .json, and text otherwise
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

const AFTER: &str = "\
Examples:
  io-models doctor -- ./my_server {port}
  io-models doctor 'python3 server.py {port}' -o doctor.json
  io-models doctor thread

The server and epoll-level have the same loads in turn: many small requests, one client alone, clients that come and go, large messages, \
and several requests at once. Their system calls are counted by ptrace(2) in another run. What may limit the server is looked at in this \
order: the generator, the queue of listen(2), local ports, one processor, wake-ups, system calls, Nagle's algorithm, locks, small buffers. \
What points to one of them is taken away from outside, where that is possible, and the number is measured without it and with it, in turn. \
It takes less than a minute for a server that answers at once. The exit code is 0 whatever limits the server.";

pub(crate) fn run(args: Args, quiet: bool, lang: Lang) -> Result<ExitCode, Failure> {
    let servers: Vec<_> = args.server.into_iter().collect();
    let subject = match subjects(TOOL, &servers, &args.command)?.into_iter().next() {
        Some(subject) => subject,
        None => {
            return Err(Failure::usage("no server is named: io-models doctor -- ./my_server {port}"));
        }
    };
    let reference = subjects(TOOL, &[REFERENCE.to_owned()], &[])?.remove(0);
    let is_json = args.json
        || args.output.as_deref().and_then(|path| path.extension()).is_some_and(|suffix| suffix == "json");
    let mut outputs = Outputs::default();
    let output = outputs.report(args.output)?;
    let limit = Nofile::raise().map_err(Failure::of)?;
    let (stopper, stop) = stop::pair().map_err(Failure::of)?;
    stopper.stop_on_signals().map_err(Failure::of)?;
    let payload = args.payload.into();
    let plan = Plan { program: startup::this_program(), subject, reference, payload, nofile: limit.soft };
    let line = Progress::new(quiet);
    let result = examine(&plan, &stop, &|doing| line.show(in_words(doing)));
    drop(line);
    let result = match result {
        Ok(result) => result,
        Err(Failed::Error(why)) => return Err(Failure::of(why)),
        Err(Failed::Interrupted) => return ended(None, true),
    };
    let text = match is_json {
        true => lab::json(&result) + "\n",
        false => result.text(output.columns(), lang),
    };
    conclude(vec![output.report(&text)], ended(None, result.partial))
}

fn in_words(doing: Doing) -> &'static str {
    match doing {
        Doing::Basics => "checking the basics",
        Doing::Load(Kind::Requests) => "64 clients with small requests",
        Doing::Load(Kind::OneConnection) => "one client alone",
        Doing::Load(Kind::Connections) => "clients that come and go",
        Doing::Load(Kind::LargeMessages) => "large messages",
        Doing::Load(Kind::Pipelined) => "several requests at once on each connection",
        Doing::Calls => "counting system calls",
        Doing::Lifting => "measuring with and without what may limit it",
    }
}
