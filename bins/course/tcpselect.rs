//! The course's `tcpselect`: the model `select`, with something to say.

use clap::Parser;
use io_models::course::{self, Printer};
use io_models::model::select;
use io_models::sys::limits::Nofile;
use io_models::sys::select::FdSet;
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
    // Beyond those 1024 it takes one for the client that does not fit and one for the signal handler. With a
    // lower limit it is that which clients meet.
    let full = match Nofile::raise() {
        Ok(limit) if limit.soft < FdSet::CAPACITY as u64 + 2 => course::NO_DESCRIPTOR,
        _ => "all 1024 descriptors that select can watch (FD_SETSIZE) are in use",
    };
    let printer = Printer::new("select", args.timeout.map(Duration::from_secs), full);
    course::multiplexed(args.port, printer, select::serve)
}
