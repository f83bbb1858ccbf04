//! `io-models load ADDR`: put load on any TCP echo server, and check every byte.

mod args;
mod files;
mod self_test;

use crate::failure::Failure;
use crate::output::{Outputs, conclude, ended, warn};
use crate::progress::Progress;
pub(crate) use args::{Addresses, Args, PayloadArg};
use files::Files;
use io_models::lab::load::crew::{Interval, Order};
use io_models::lab::load::gates;
use io_models::lab::load::hostile::HostileClients;
use io_models::lab::load::limits::{self, Ports};
use io_models::lab::load::plan::EngineKind;
use io_models::lab::load::processors::Processors;
use io_models::lab::load::report::{self, addresses};
use io_models::lab::load::server::Watch;
use io_models::lab::load::shape::Shape;
use io_models::lab::load::{self, LatencyUs, slices};
use io_models::lab::units::{count, latency, of, rate};
use io_models::{lab, stop};
use std::io;
use std::os::fd::AsFd;
use std::process::ExitCode;
use std::time::Duration;

/// What is shorter is not shown while the load is on: a rate of so little time says nothing.
const SHORTEST_SHOWN: Duration = Duration::from_millis(100);

pub(crate) fn run(args: Args, quiet: bool) -> Result<ExitCode, Failure> {
    if args.self_test {
        return self_test::run(&args, quiet);
    }
    if args.follow_orders {
        slices::follow(io::stdin().lock(), io::stdout().lock()).map_err(Failure::of)?;
        return Ok(ExitCode::SUCCESS);
    }
    let asked = args.gates()?;
    let target = args.target()?;
    let shape = args.shape()?;
    let hostile = args.hostile_clients()?;
    let mut order = Order {
        plan: args.plan(target, args.connections - hostile.connections(), args.idle),
        engine: args.engine(),
        threads: args.threads,
        pin: args.pin,
        arrivals: args.arrivals(),
    };
    let times = args.times();
    let server =
        args.pid.map(Watch::new).transpose().map_err(|why| Failure::usage(format_args!("--pid: {why}")))?;
    let mut processors = Processors::look(&target);
    if args.wait().is_none() {
        order.plan.wait = processors.choose_wait(order.threads);
    }
    let plan = report::plan(&order, &shape, hostile, times);
    asked.check(&plan, args.pid.is_some()).map_err(Failure::usage)?;
    let ports = check(&mut order, &shape, hostile, times)?;
    if let Some(words) = ports.in_words().filter(|_| !quiet) {
        crate::output::note(&format!("{words}, from {}", addresses(&order.plan.sources)));
    }
    let mut outputs = Outputs::default();
    let output = outputs.report(args.output.clone())?;
    let mut files = Files::open(&mut outputs, &args, &plan)?;
    let junit = outputs.optional("--junit", args.junit.clone())?;
    let (stopper, stop) = stop::pair().map_err(Failure::of)?;
    stopper.stop_on_signals().map_err(Failure::of)?;

    let line = Progress::new(quiet);
    let then = args.start_at.map_or("", |_| ", then waiting for --start-at");
    line.show(&format!("opening {} to {target}{then}", of(order.plan.connections() as u64, "connection")));
    let load = load::Run {
        order: &order,
        shape: &shape,
        times,
        ports,
        hostile,
        processors,
        server,
        start_at: args.start_at,
    };
    let found = load::run(load, stop.as_fd(), |interval| {
        // The end of a run is a short interval, in which nothing may have been answered.
        if interval.to.saturating_sub(interval.from) >= SHORTEST_SHOWN {
            line.show(&live(interval));
        }
        files.interval(interval);
    });
    drop(line);
    let found = found.map_err(Failure::of)?;
    let distribution = files.distribution(&found.result.total, &shape);
    let mut report = report::report(found);
    asked.judge(&mut report);
    let text = match args.json {
        true => format!("{}\n", lab::json(&report)),
        false => report.text(output.columns()),
    };
    // The report first: nothing that fails may take it away.
    let mut written = vec![output.report(&text)];
    written.extend(files.finish(distribution));
    written.extend(junit.map(|file| file.write_beside(&gates::junit(&report).map_err(Failure::of)?)));
    if !quiet {
        report.warnings().iter().for_each(|warning| warn(warning));
    }
    let trouble = report.trouble();
    let not_met: Vec<_> = [report.not_met(), gates::not_met(&report)].into_iter().flatten().collect();
    if trouble.is_none() && !not_met.is_empty() {
        return conclude(written, Err(Failure::not_met(not_met.join("; "))));
    }
    conclude(written, ended(trouble, report.is_partial()))
}

/// Whether this machine can do it: before the first connection.
fn check(
    order: &mut Order,
    shape: &Shape,
    hostile: HostileClients,
    times: (Duration, Duration),
) -> Result<Ports, Failure> {
    if let Some(why) = uring_missing().filter(|_| order.engine == EngineKind::Uring) {
        return Err(Failure::usage(format_args!("--engine uring: {why}; use --engine epoll")));
    }
    let most = limits::most_requests(order.threads);
    if let Some(rate) = shape.highest().filter(|&rate| rate > most) {
        return Err(Failure::usage(format_args!(
            "{rate:.0} requests/s are more than --threads {} can send, at most {most:.0}: ask for less, or give more \
             threads",
            order.threads
        )));
    }
    if let Some(rate) = shape.lowest().filter(|&rate| rate < limits::fewest_requests(times.1)) {
        return Err(Failure::usage(format_args!(
            "at {rate} requests/s none is due within {:?}: measure for longer with --duration, or ask for more",
            times.1
        )));
    }
    let connections = order.plan.connections().saturating_add(hostile.connections());
    limits::check_descriptors(connections).map_err(Failure::usage)?;
    limits::check_sources(&order.plan).map_err(Failure::usage)?;
    let ports = limits::check_ports(&mut order.plan, hostile, shape.highest(), shape.longest(times))
        .map_err(Failure::usage)?;
    limits::check_memory(order, hostile, shape.steps()).map_err(Failure::usage)?;
    Ok(ports)
}

#[cfg(feature = "uring")]
fn uring_missing() -> Option<String> {
    io_models::sys::uring::unavailable()
}

#[cfg(not(feature = "uring"))]
fn uring_missing() -> Option<String> {
    Some("this program was built without io_uring (feature `uring`)".to_owned())
}

/// A second of the load, in a line.
fn live(interval: &Interval) -> String {
    let Interval { from, to, offered, record, lost } = interval;
    let seconds = to.saturating_sub(*from).as_secs_f64().max(1e-9);
    let achieved = rate(record.counts.completed as f64 / seconds);
    let (offered, histogram) = match offered {
        Some(offered) => (format!(" of {} offered", rate(*offered)), &record.response),
        None => (", closed loop".to_owned(), &record.service),
    };
    let LatencyUs { p50, p99, .. } = LatencyUs::of(histogram);
    format!(
        "{:.0} s: {achieved} requests/s{offered}, {lost} lost, p99 {}, p50 {}, {} late",
        to.as_secs_f64(),
        latency(p99),
        latency(p50),
        count(record.counts.late)
    )
}
