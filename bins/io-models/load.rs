//! `io-models load ADDR`: put load on any TCP echo server, and check every byte.

use crate::failure::Failure;
use crate::output::{Output, ended};
use crate::progress::Progress;
use crate::serve::address;
use crate::units::{duration, duration_or_none};
use io_models::lab::load::{self, Order, engine::Plan, slices};
use io_models::{lab, stop};
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// Put a closed-loop load on a TCP echo server, ours or anybody's, and check every byte
///
/// Closed loop: each connection asks, waits for the whole answer, and asks again at once. One thread
/// does it all; it polls without sleeping, so give it a processor of its own.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The server
    #[arg(value_name = "ADDR:PORT", value_parser = address)]
    target: SocketAddr,

    /// Connections
    #[arg(short, long, value_name = "N", default_value_t = 64, value_parser = crate::units::count)]
    connections: usize,

    /// How long to measure: us, ms, s, m or h
    #[arg(short, long, value_name = "TIME", default_value = "5s", value_parser = duration)]
    duration: Duration,

    /// Bytes a request
    #[arg(short, long, value_name = "BYTES", default_value_t = 64, value_parser = crate::units::size)]
    size: u32,

    /// Load before the clock starts
    #[arg(long, value_name = "TIME", default_value = "500ms", value_parser = duration_or_none)]
    warmup: Duration,

    /// How long nothing may come back before connections without answer count as lost
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = duration)]
    timeout: Duration,

    /// Seed of the bytes that are sent: the same seed sends the same
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,

    /// Report as one JSON document
    #[arg(long)]
    json: bool,

    /// Write the report here instead of to standard output
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,

    /// Take orders on standard input instead, for `compare`, with so many idle connections
    #[arg(long, value_name = "IDLE", hide = true)]
    follow_orders: Option<usize>,
}

pub(crate) fn run(args: Args, quiet: bool) -> Result<ExitCode, Failure> {
    let Args { target, connections: active, size, seed, timeout: patience, .. } = args;
    if let Some(idle) = args.follow_orders {
        let plan = Plan { target, active, idle, size, seed, patience };
        slices::follow(&plan, io::stdin().lock(), io::stdout().lock()).map_err(Failure::run)?;
        return Ok(ExitCode::SUCCESS);
    }
    load::check_descriptors(active).map_err(Failure::usage)?;
    let output = Output::open(args.output)?;
    let (stopper, stop) = stop::pair().map_err(Failure::run)?;
    stopper.stop_on_signals().map_err(Failure::run)?;

    let plan = Plan { target, active, idle: 0, size, seed, patience };
    let order = Order { plan, warmup: args.warmup, duration: args.duration };
    let line = Progress::new(quiet);
    line.show(&format!("opening {active} connections to {target}"));
    let mut last = (0, Duration::ZERO);
    let report = load::run(&order, stop.as_fd(), |answered, elapsed| {
        let rate = (answered - last.0) as f64 / (elapsed - last.1).as_secs_f64().max(1e-9);
        last = (answered, elapsed);
        line.show(&format!("{:.1} s: {rate:.0} requests/s, closed loop", elapsed.as_secs_f64()));
    });
    drop(line);
    let report = report.map_err(Failure::run)?;
    if args.json {
        output.write(&format!("{}\n", lab::json(&report)))?;
    } else {
        output.write(&report.to_string())?;
    }
    if let Some(warning) = report.warning().filter(|_| !quiet) {
        crate::output::warn(&warning);
    }
    ended(report.trouble(), report.is_partial())
}
