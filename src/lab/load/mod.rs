//! The load generator: many connections, one thread, every byte checked.
//!
//! Closed loop: each active connection asks, waits for the whole answer, and asks again at once.
//! Such a load adapts to the server: while the server stalls, nothing is asked, and the stall is
//! counted once instead of once for each request that a real crowd would have sent. So its latency
//! compares servers under the same load; it does not predict what users would see. Every output says
//! that the loop is closed.
//!
//! [`stream`] is what is sent, [`engine`] sends and checks it, [`slices`] lets another process order
//! short stretches of load, for the comparison.

mod connection;
pub mod engine;
pub mod slices;
pub mod stream;

use crate::sys::limits::Nofile;
use anyhow::bail;
use engine::{Engine, Plan, Stretch};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::SocketAddr;
use std::os::fd::BorrowedFd;
use std::time::Duration;

/// Descriptors that a generator needs beside its connections: the standard three, epoll, stop, and
/// what a caller may have left open.
pub const NOT_FOR_CONNECTIONS: usize = 16;

/// A generator that works less than this share of the time is not what limits the rate.
pub const BUSY_LIMIT: f64 = 0.95;

/// What is worth knowing of a distribution of latencies, in microseconds.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub struct LatencyUs {
    /// Half of the requests took at most that long.
    pub p50: f64,
    /// Nine of ten.
    pub p90: f64,
    /// 99 of 100.
    pub p99: f64,
    /// 999 of 1000.
    pub p99_9: f64,
    /// All.
    pub max: f64,
}

impl LatencyUs {
    /// Of a histogram in nanoseconds.
    #[must_use]
    pub fn of(histogram: &hdrhistogram::Histogram<u64>) -> LatencyUs {
        let at = |quantile| histogram.value_at_quantile(quantile) as f64 / 1e3;
        LatencyUs {
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p99_9: at(0.999),
            max: histogram.max() as f64 / 1e3,
        }
    }
}

/// A connection that could not be used to the end.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Lost {
    /// Its number, from 0, in the order of opening.
    pub connection: usize,
    /// What happened.
    pub reason: String,
}

/// What a run of the generator found.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    schema: &'static str,
    schema_version: u32,
    /// Always `closed`: see the head of this module.
    mode: &'static str,
    /// Interrupted before its time.
    partial: bool,
    target: SocketAddr,
    connections: usize,
    size_bytes: u32,
    seed: u64,
    /// How the generator waits: `spin`, it polls and never sleeps while load is on.
    wait: &'static str,
    open_s: f64,
    seconds: f64,
    sent: u64,
    answered: u64,
    achieved_per_s: f64,
    latency_us: ByClock,
    /// Requests answered on the connection with the fewest and the most.
    least_per_connection: u64,
    most_per_connection: u64,
    wrong_bytes: u64,
    lost_connections: usize,
    lost: Vec<Lost>,
    generator_cpu_s: f64,
    /// CPU time over elapsed time: 1 for a generator that spins.
    generator_cpu_share: f64,
    /// Share of the time in which it had something to do.
    generator_busy_share: f64,
    generator_was_the_limit: bool,
    environment: super::env::Environment,
}

#[derive(Debug, Clone, Serialize)]
struct ByClock {
    /// From the moment the request was given to the kernel.
    service: LatencyUs,
}

/// What to do, and for how long.
#[derive(Debug, Clone)]
pub struct Order {
    /// Connections, size, seed.
    pub plan: Plan,
    /// Load before the clock starts.
    pub warmup: Duration,
    /// Load while it runs.
    pub duration: Duration,
}

/// Check that this process can hold that many connections.
///
/// # Errors
///
/// When it cannot: with the limit, and how to raise it.
pub fn check_descriptors(connections: usize) -> anyhow::Result<()> {
    let limit = Nofile::raise()?;
    let most = usize::try_from(limit.soft).unwrap_or(usize::MAX).saturating_sub(NOT_FOR_CONNECTIONS);
    if connections > most {
        bail!("{connections} connections are too many: at most {most} here, because {limit}");
    }
    Ok(())
}

/// Open the connections, put load on them, and report. `progress` is called several times a second
/// with the requests answered so far and the time since the clock started; a readable `stop` ends the
/// run early.
///
/// # Errors
///
/// When no connection can be opened. What happens to connections later is in the report.
pub fn run(
    order: &Order,
    stop: BorrowedFd<'_>,
    mut progress: impl FnMut(u64, Duration),
) -> anyhow::Result<Report> {
    check_descriptors(order.plan.active)?;
    let mut engine = Engine::open(&order.plan, Some(stop))?;
    engine.begin();
    engine.run(order.warmup)?;
    engine.start_clock();
    // Nothing left, or less than nothing: the clock runs on between two looks at it.
    let mut left = order.duration;
    while !left.is_zero() && engine.can_go_on() {
        engine.run(left.min(Duration::from_millis(200)))?;
        let Stretch { answered, elapsed, .. } = engine.stretch();
        progress(answered, elapsed);
        left = order.duration.saturating_sub(elapsed);
    }
    let partial = engine.was_stopped();
    engine.stop_clock();
    engine.drain()?;
    engine.sweep()?;
    let Stretch { sent, answered, elapsed, busy, cpu } = engine.stretch();
    let seconds = elapsed.as_secs_f64();
    let share = |part: Duration| if seconds > 0.0 { part.as_secs_f64() / seconds } else { 0.0 };
    let (least_per_connection, most_per_connection) = engine.fewest_and_most();
    Ok(Report {
        schema: "io-models/load",
        schema_version: 1,
        mode: "closed",
        partial,
        target: order.plan.target,
        connections: order.plan.active,
        size_bytes: order.plan.size,
        seed: order.plan.seed,
        wait: "spin",
        open_s: engine.open_time().as_secs_f64(),
        seconds,
        sent,
        answered,
        achieved_per_s: if seconds > 0.0 { answered as f64 / seconds } else { 0.0 },
        latency_us: ByClock { service: LatencyUs::of(engine.latencies()) },
        least_per_connection,
        most_per_connection,
        wrong_bytes: engine.wrong_bytes(),
        lost_connections: engine.lost().len(),
        lost: engine.lost().to_vec(),
        generator_cpu_s: cpu.as_secs_f64(),
        generator_cpu_share: share(cpu),
        generator_busy_share: share(busy),
        generator_was_the_limit: share(busy) >= BUSY_LIMIT,
        environment: super::env::Environment::here(),
    })
}

impl Report {
    /// Whether it was interrupted before its time.
    #[must_use]
    pub fn is_partial(&self) -> bool {
        self.partial
    }

    /// One line on what was lost, and why; `None` when nothing was.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        let first = self.lost.first()?;
        let (lost, all) = (self.lost.len(), self.connections);
        Some(format!(
            "{lost} of {all} connections lost, {} wrong bytes; the first: connection {}: {}",
            self.wrong_bytes, first.connection, first.reason
        ))
    }

    /// One line, when the generator itself was the bottleneck.
    #[must_use]
    pub fn warning(&self) -> Option<String> {
        self.generator_was_the_limit.then(|| {
            format!(
                "the generator was busy {:.0} % of the time: the rate may be its limit, not the server's",
                self.generator_busy_share * 100.0
            )
        })
    }
}

/// For people.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Report { connections, size_bytes, target, seconds, .. } = self;
        if self.partial {
            writeln!(f, "PARTIAL: interrupted")?;
        }
        writeln!(
            f,
            "closed loop: {connections} connections to {target}, {size_bytes} bytes a request, {seconds:.2} s"
        )?;
        writeln!(f, "  requests       {} sent, {} answered", self.sent, self.answered)?;
        writeln!(f, "  rate           {:.0} requests/s", self.achieved_per_s)?;
        writeln!(
            f,
            "  per connection {} to {} requests answered",
            self.least_per_connection, self.most_per_connection
        )?;
        let l = self.latency_us.service;
        if self.answered == 0 {
            return self.nothing_measured(f);
        }
        writeln!(
            f,
            "  latency        p50 {:.1} µs, p90 {:.1} µs, p99 {:.1} µs, p99.9 {:.1} µs, max {:.1} µs",
            l.p50, l.p90, l.p99, l.p99_9, l.max
        )?;
        writeln!(
            f,
            "                 (closed loop: a stall of the server counts once; compare servers with it, no more)"
        )?;
        writeln!(
            f,
            "  generator      {:.3} s CPU ({:.0} % of the time; it spins), busy {:.0} %",
            self.generator_cpu_s,
            self.generator_cpu_share * 100.0,
            self.generator_busy_share * 100.0
        )?;
        self.checked(f)
    }
}

impl Report {
    fn nothing_measured(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "  latency        – (no answer came while the clock ran)")?;
        self.checked(f)
    }

    fn checked(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "  checked        every byte: {} wrong, {} connections lost",
            self.wrong_bytes, self.lost_connections
        )?;
        for lost in self.lost.iter().take(5) {
            writeln!(f, "    connection {}: {}", lost.connection, lost.reason)?;
        }
        if self.lost.len() > 5 {
            writeln!(f, "    … and {} more", self.lost.len() - 5)?;
        }
        Ok(())
    }
}
