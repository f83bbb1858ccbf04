//! Tests the generator on servers that try to fool it.
//!
//! Each experiment states what must be seen, and shows the figures. It compares counts, and where it can, times with
//! lower bounds only: on a busy machine everything may take longer.

use super::crew::Order;
use super::diagnosis::Cause;
use super::hostile::HostileClients;
use super::liars::{Liar, Lie};
use super::limits;
use super::plan::{EngineKind, Expect, Payload, Plan, Sizes, Wait};
use super::processors::Processors;
use super::report::Found;
use super::schedule::Arrivals;
use super::shape::Shape;
use super::{Kind, LatencyUs, Run, run};
use crate::lab::child::Process;
use crate::lab::units::latency;
use crate::stop::Stop;
use crate::sys::signal::Signal;
use anyhow::Context;
use serde::Serialize;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

const SIZE: u32 = 64;

/// Load before the clock starts.
const WARMUP: Duration = Duration::from_millis(100);

/// How long the stopped server stands still.
const STOP: Duration = Duration::from_secs(1);

/// Answers that took longer waited for a server that stood still, and for nothing else.
const STALLED_NS: u64 = 50_000_000;

/// How the machine under test is loaded, and by which generator.
#[derive(Debug, Clone, Copy)]
pub struct Setup {
    /// How the generator talks to the kernel.
    pub engine: EngineKind,
    /// How it waits.
    pub wait: Wait,
    /// Of bytes and times.
    pub seed: u64,
}

/// What an experiment showed.
#[derive(Debug, Clone, Serialize)]
pub struct Finding {
    /// Its name.
    pub name: &'static str,
    /// What must be seen.
    pub claim: &'static str,
    /// Whether it was.
    pub seen: bool,
    /// The figures.
    pub figures: String,
}

/// What an experiment is asked: how the load is to be, and on whom.
struct Load {
    target: SocketAddr,
    rate: Option<f64>,
    connections: usize,
    depth: usize,
    time: Duration,
    patience: Duration,
}

impl Load {
    /// A closed loop of 8 connections for 3 s.
    fn on(target: SocketAddr) -> Load {
        let (time, patience) = (Duration::from_secs(3), Duration::from_secs(10));
        Load { target, rate: None, connections: 8, depth: 1, time, patience }
    }
}

type Experiment = fn(Setup, &Stop) -> anyhow::Result<(bool, String)>;

/// Name, claim, experiment.
const EXPERIMENTS: &[(&str, &str, Experiment)] = &[
    (
        "stopped server",
        "a second's stop makes about a second's worth of requests wait between 0 and 1 s in an open loop; a closed loop \
         hides it",
        stopped,
    ),
    ("exactly 10 ms", "a server that answers after 10 ms reads 10 ms at p1 and p50, and never less", ten_ms),
    (
        "limited server",
        "a server of 500 requests/s that is offered 1000 reads as overload, not as 500 with fine latency",
        limited,
    ),
    ("corrupts", "a changed bit is found and called corrupted", |s, stop| {
        liar(s, stop, Lie::Corrupts, Kind::Corrupted)
    }),
    ("repeats", "an answer given twice is found and called repeated", |s, stop| {
        liar(s, stop, Lie::Repeats, Kind::Repeated)
    }),
    ("drops", "16 bytes left out are found and called dropped", |s, stop| {
        liar(s, stop, Lie::Drops, Kind::Dropped)
    }),
    ("closes", "a connection that the server ends is found and called closed", |s, stop| {
        liar(s, stop, Lie::Closes, Kind::Closed)
    }),
    ("crosses", "bytes of another connection are found, and it is named", crosses),
    ("stops at zero", "answers that end before a zero byte are called so", |s, stop| {
        diagnosed(s, stop, Lie::StopsAtZero, Cause::StopsAtZero)
    }),
    (
        "misses clients",
        "2 of 8 connections that are answered, and 6 that never are, are told apart",
        |s, stop| diagnosed(s, stop, Lie::Misses(2), Cause::SomeNeverAnswered),
    ),
    ("says ok", "`ok` instead of an echo is called a wrong answer", |s, stop| {
        diagnosed(s, stop, Lie::SaysOk, Cause::Each(Kind::WrongAnswer))
    }),
    ("delays", "one answer held back for 2 s on one of 8 connections is reported as a stall", delays),
    (
        "forgets",
        "a connection that is not answered any more is reported as a stall, as silent, and by Little's law",
        forgets,
    ),
];

/// Do all experiments, and tell each as it ends. A readable `stop` ends it early.
///
/// # Errors
///
/// When a server cannot be started, or a connection not be opened.
pub fn all(setup: Setup, stop: &Stop, mut tell: impl FnMut(&Finding)) -> anyhow::Result<Vec<Finding>> {
    let mut findings = Vec::new();
    for &(name, claim, experiment) in EXPERIMENTS {
        let (seen, figures) = experiment(setup, stop).context(name)?;
        if stop.is_set()? {
            break;
        }
        let finding = Finding { name, claim, seen, figures };
        tell(&finding);
        findings.push(finding);
    }
    Ok(findings)
}

/// Put a load on a server, call `watch` after each second of it, and do something with what was found.
fn measure<T>(
    setup: Setup,
    stop: &Stop,
    load: &Load,
    mut watch: impl FnMut(),
    look: impl FnOnce(&Found<'_>) -> T,
) -> anyhow::Result<T> {
    let &Load { target, rate, connections, depth, time, patience } = load;
    let mut plan = Plan {
        target,
        active: connections,
        idle: 0,
        sizes: Sizes::Fixed(SIZE),
        payload: Payload::Random,
        expect: Expect::Echo,
        seed: setup.seed,
        patience,
        depth,
        requests_per_conn: None,
        sources: Vec::new(),
        wait: setup.wait,
    };
    let ports = limits::check_ports(&mut plan, HostileClients::default(), rate, time)?;
    let order = Order { plan, engine: setup.engine, threads: 1, pin: false, arrivals: Arrivals::Constant };
    let shape = rate.map_or(Shape::Closed, Shape::Rate);
    let times = (WARMUP, time);
    let processors = Processors::look(&target);
    let hostile = HostileClients::default();
    let load =
        Run { order: &order, shape: &shape, times, ports, hostile, processors, server: None, start_at: None };
    let found = run(load, stop.as_fd(), |_| watch())?;
    Ok(look(&found))
}

/// A right server in a process of its own, which is stopped for a second when `measure` calls its second argument: after
/// the first second of the load, so that all of the stop is in the measured time. Returns how long the server stood still,
/// 0 if `measure` never called.
fn with_stopped_server<T>(
    measure: impl FnOnce(SocketAddr, Box<dyn FnMut()>) -> anyhow::Result<T>,
) -> anyhow::Result<(T, Duration)> {
    let mut command = Command::new("/proc/self/exe");
    command.args(["serve", "epoll-level", "--with-parent", &std::process::id().to_string()]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut server = Process::start(&mut command)?;
    let mut line = String::new();
    BufReader::new(server.stdout().context("the server has no output")?).read_line(&mut line)?;
    let addr = line.trim().strip_prefix("listening on ").context("the server did not start")?.parse()?;
    let (second, seconds) = mpsc::channel();
    thread::scope(|scope| {
        let server = &server;
        let stopping = scope.spawn(move || -> anyhow::Result<Duration> {
            let Ok(()) = seconds.recv() else { return Ok(Duration::ZERO) };
            server.signal(Signal::SIGSTOP)?;
            let stopped = Instant::now();
            thread::sleep(STOP);
            server.signal(Signal::SIGCONT)?;
            Ok(stopped.elapsed())
        });
        // Nobody listens any more after the first second.
        let measured = measure(addr, Box::new(move || second.send(()).unwrap_or_default()));
        let stopped = stopping.join().expect("it does not panic")?;
        Ok((measured?, stopped))
    })
}

fn stopped(setup: Setup, stop: &Stop) -> anyhow::Result<(bool, String)> {
    const RATE: f64 = 1000.0;
    let load = |target, rate, seconds| Load {
        rate,
        connections: 64,
        time: Duration::from_secs(seconds),
        ..Load::on(target)
    };
    let stalled = |histogram: &hdrhistogram::Histogram<u64>| histogram.count_between(STALLED_NS, u64::MAX);
    let (open, stood_still) = with_stopped_server(|addr, watch| {
        measure(setup, stop, &load(addr, Some(RATE), 4), watch, |found| {
            let response = &found.result.total.response;
            (stalled(response), response.len(), response.max(), stalled(&found.result.total.service))
        })
    })?;
    let (closed, stood_still_closed) = with_stopped_server(|addr, watch| {
        measure(setup, stop, &load(addr, None, 3), watch, |found| {
            let service = &found.result.total.service;
            (stalled(service), service.len(), LatencyUs::of(service).p99)
        })
    })?;
    let (waited, of, max, in_service) = open;
    // Those that were to be sent in the last moments before it went on waited less than what counts as a stall.
    let expected = RATE * (stood_still.as_secs_f64() - STALLED_NS as f64 / 1e9);
    let seen = stood_still.min(stood_still_closed) >= STOP
        && waited as f64 >= expected * 0.9
        && max as f64 >= 0.95 * stood_still.as_nanos() as f64
        // In shares, because a closed loop asks more the faster the server is.
        && 5 * closed.0 * of <= waited * closed.1;
    let figures = format!(
        "stopped for {:.3} s: {waited} of {of} requests waited for more than {} ms (expected: some {expected:.0}), the \
         longest {:.3} s; by service time {in_service}. The closed loop beside it: {} of {}, p99 {}",
        stood_still.as_secs_f64(),
        STALLED_NS / 1_000_000,
        max as f64 / 1e9,
        closed.0,
        closed.1,
        latency(closed.2)
    );
    Ok((seen, figures))
}

/// A load on a liar.
fn on_liar<T>(
    (setup, stop): (Setup, &Stop),
    lie: Lie,
    load: impl FnOnce(SocketAddr) -> Load,
    look: impl FnOnce(&Found<'_>) -> T,
) -> anyhow::Result<T> {
    let liar = Liar::start(lie, SIZE as usize)?;
    measure(setup, stop, &load(liar.addr()), || {}, look)
}

fn ten_ms(setup: Setup, stop: &Stop) -> anyhow::Result<(bool, String)> {
    let load = |rate| move |target| Load { rate, time: Duration::from_secs(1), ..Load::on(target) };
    let lie = Lie::After(Duration::from_millis(10));
    let open = on_liar((setup, stop), lie, load(Some(400.0)), |found| {
        (LatencyUs::of(&found.result.total.response), found.result.total.response.min())
    })?;
    let closed = on_liar((setup, stop), lie, load(None), |found| {
        (LatencyUs::of(&found.result.total.service), found.result.total.service.min())
    })?;
    // A bucket of the histogram is 0.1 % wide. Above 10 ms a busy machine may do anything, but not to all of them.
    let ten_ms = |(latency, least): (LatencyUs, u64)| {
        (9_990_000..15_000_000).contains(&least) && latency.p1 >= Some(10_000.0) && latency.p50 >= latency.p1
    };
    let seen = ten_ms(open) && ten_ms(closed);
    let figures = format!(
        "open loop p1 {}, p50 {}; closed loop p1 {}, p50 {}",
        latency(open.0.p1),
        latency(open.0.p50),
        latency(closed.0.p1),
        latency(closed.0.p50)
    );
    Ok((seen, figures))
}

fn limited(setup: Setup, stop: &Stop) -> anyhow::Result<(bool, String)> {
    let load = |target| Load { rate: Some(1000.0), connections: 16, ..Load::on(target) };
    on_liar((setup, stop), Lie::AtMost(500.0), load, |found| {
        let row = &found.result.rows[0];
        let (response, service) = (row.response.unwrap_or_default(), row.service);
        // Half of 3 s worth of requests are not sent; the others wait for up to half of the time.
        let seen =
            row.missed && row.achieved_per_s < 600.0 && row.unsent > 1000 && response.p50 > Some(500_000.0);
        let figures = format!(
            "achieved {:.0} of 1000 requests/s, {} unsent; response time p50 {}, service time p50 {}",
            row.achieved_per_s,
            row.unsent,
            latency(response.p50),
            latency(service.p50)
        );
        (seen, figures)
    })
}

/// The lie must be found, on connection 0, and have this name.
fn liar(setup: Setup, stop: &Stop, lie: Lie, kind: Kind) -> anyhow::Result<(bool, String)> {
    let load = |target| Load {
        // A connection with unread requests is reset when it is closed; only without them does it end.
        depth: if lie == Lie::Closes { 1 } else { 4 },
        time: Duration::from_millis(500),
        ..Load::on(target)
    };
    on_liar((setup, stop), lie, load, |found| {
        let lost = &found.result.last.lost;
        let seen = lost.len() == 1 && lost[0].connection == 0 && lost[0].kind == kind;
        let figures: Vec<_> = lost
            .iter()
            .map(|lost| format!("connection {} {}: {}", lost.connection, lost.kind, lost.reason))
            .collect();
        (seen, if figures.is_empty() { "no connection was lost".to_owned() } else { figures.join("; ") })
    })
}

/// Bytes of one client that the other gets. They are two, as the server may accept clients in another order than the one
/// in which we connect.
fn crosses(setup: Setup, stop: &Stop) -> anyhow::Result<(bool, String)> {
    let load = |target| Load { connections: 2, time: Duration::from_millis(500), ..Load::on(target) };
    on_liar((setup, stop), Lie::Crosses, load, |found| {
        let [lost] = &found.result.last.lost[..] else {
            return (false, format!("{} connections were lost", found.result.last.lost.len()));
        };
        let whose = format!("these are bytes of connection {}", 1 - lost.connection);
        let seen = lost.kind == Kind::Foreign && lost.reason.ends_with(&whose);
        (seen, format!("connection {} {}: {}", lost.connection, lost.kind, lost.reason))
    })
}

/// The lie must be what is wrong with the server, and nothing else.
fn diagnosed(setup: Setup, stop: &Stop, lie: Lie, cause: Cause) -> anyhow::Result<(bool, String)> {
    let (time, patience) = (Duration::from_millis(500), Duration::from_millis(500));
    on_liar(
        (setup, stop),
        lie,
        |target| Load { time, patience, ..Load::on(target) },
        |found| {
            let seen: Vec<_> = found.diagnosis.iter().map(|diagnosis| diagnosis.seen.as_str()).collect();
            let kinds: Vec<_> = found.diagnosis.iter().map(|diagnosis| diagnosis.kind).collect();
            let none = "nothing was wrong".to_owned();
            (kinds == [cause], if seen.is_empty() { none } else { seen.join("; ") })
        },
    )
}

/// How long an answer is held back. Of any such time, one slice at least is without an answer, also if the generator is
/// late by as much as a slice.
const DELAY: Duration = Duration::from_secs(2);

fn delays(setup: Setup, stop: &Stop) -> anyhow::Result<(bool, String)> {
    on_liar((setup, stop), Lie::Delays { after: 5 * WARMUP, by: DELAY }, Load::on, |found| {
        let (stalled, slices) = found.result.last.stalled;
        let service = &found.result.total.service;
        let lost = found.result.last.lost.len();
        let seen = stall_is_seen(lost, stalled, Duration::from_nanos(service.max()));
        let figures = format!(
            "{stalled} of 8 connections without an answer for half a second or longer ({slices} slices), max {}, p99 {}, \
             {lost} lost",
            latency(LatencyUs::of(service).max),
            latency(LatencyUs::of(service).p99)
        );
        (seen, figures)
    })
}

/// A stall must be found as one, and be in the latency. Each alone is not enough.
fn stall_is_seen(lost: usize, stalled: usize, longest: Duration) -> bool {
    lost == 0 && stalled >= 1 && longest >= DELAY
}

fn forgets(setup: Setup, stop: &Stop) -> anyhow::Result<(bool, String)> {
    // Longer than the load, so that the connection counts as under way for all of it.
    let (time, patience) = (Duration::from_secs(2), Duration::from_millis(2500));
    let load = |target| Load { time, patience, ..Load::on(target) };
    on_liar((setup, stop), Lie::Forgets, load, |found| {
        let last = &found.result.last;
        let (stalled, slices) = last.stalled;
        let counts = found.result.total.counts;
        let ratio = counts.answered_ns as f64 / counts.under_way_ns.max(1) as f64;
        let named = last.lost.iter().any(|lost| lost.connection == 0 && lost.kind == Kind::Silent);
        // Of 8 connections 7 are answered.
        let seen = named && stalled >= 1 && ratio < 0.95;
        let figures = format!(
            "{stalled} of 8 connections without an answer for {slices} half seconds, silent: {named}; p99 is {} \
             all the same; the answers account for {:.0} % of the requests under way",
            latency(LatencyUs::of(&found.result.total.service).p99),
            ratio * 100.0
        );
        (seen, figures)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stall_is_seen_only_if_it_is_found_and_in_the_latency() {
        assert!(stall_is_seen(0, 1, DELAY));
        assert!(!stall_is_seen(0, 0, DELAY), "without stall detection");
        assert!(!stall_is_seen(0, 1, DELAY / 2), "without the latency");
        assert!(!stall_is_seen(1, 1, DELAY), "not by giving the connection up");
    }
}
