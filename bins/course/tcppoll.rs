//! The course's `tcppoll`: the model `poll`, with something to say. It wakes after 10 seconds of silence.

use clap::Parser;
use io_models::course::{self, Printer};
use io_models::model::poll;
use std::process::ExitCode;
use std::time::Duration;

const TIMEOUT: Duration = Duration::from_secs(10);

/// An echo server on poll(2)
#[derive(Debug, Parser)]
struct Args {
    /// Where to listen, on all addresses
    #[arg(value_parser = course::listening_port)]
    port: u16,
}

fn main() -> ExitCode {
    let args: Args = course::arguments("usage: ./tcppoll port\n");
    let printer = Printer::new("poll", Some(TIMEOUT), course::NO_DESCRIPTOR);
    course::multiplexed(args.port, printer, poll::serve)
}
