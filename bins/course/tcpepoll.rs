//! The course's `tcpepoll`: the model `epoll-level`, with something to say.

use clap::Parser;
use io_models::course::{self, Printer};
use io_models::model::epoll_level;
use std::process::ExitCode;

/// An echo server on epoll(7), level-triggered
#[derive(Debug, Parser)]
struct Args {
    /// Where to listen, on all addresses
    #[arg(value_parser = course::listening_port)]
    port: u16,
}

fn main() -> ExitCode {
    let args: Args = course::arguments("usage: ./tcpepoll port\n");
    let printer = Printer::new("epoll", None, course::NO_DESCRIPTOR);
    course::multiplexed(args.port, printer, epoll_level::serve)
}
