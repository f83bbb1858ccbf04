//! The course's `tcpselect`: the model `select`, with something to say.

use clap::Parser;
use io_models::course::{self, Printer};
use io_models::model::select;
use std::process::ExitCode;
use std::time::Duration;

/// An echo server on select(2), which watches descriptors below 1024
#[derive(Debug, Parser)]
struct Args {
    /// Where to listen, on all addresses
    #[arg(value_parser = course::listening_port)]
    port: u16,
    /// Say so after as many seconds in which nothing happened
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=86400))]
    timeout: Option<u64>,
}

fn main() -> ExitCode {
    let args: Args = course::arguments("usage: ./tcpselect port\n");
    let full = "all 1024 descriptors that select can watch (FD_SETSIZE) are in use";
    let printer = Printer::new("select", args.timeout.map(Duration::from_secs), full);
    course::multiplexed(args.port, printer, select::serve)
}
