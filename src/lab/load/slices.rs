//! Load in short slices, ordered by another process over a pipe.
//!
//! A line of JSON comes in ([`Order`]), a line goes out. Between two orders nothing is under way and
//! this process sleeps, so that many generators, each connected to its server, can take turns within
//! a fraction of a second.

use super::engine::{ALONE, Engine, LONGEST_DRAIN, Pace};
use super::plan::Plan;
use super::wire::epoll::EpollWire;
use super::{LatencyUs, Lost};
use crate::sys::clock::thread_cpu;
use anyhow::bail;
use serde::{Deserialize, Serialize};
use std::io::{BufRead, Write};
use std::time::Duration;

/// What the other process orders.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// Put load on the server: first unmeasured, then measured; then wait for the last answers.
    Slice {
        /// Microseconds before the measurement.
        warmup_us: u64,
        /// Microseconds of it.
        slice_us: u64,
    },
    /// Say what all slices gave together.
    Sum,
}

/// The first line: all connections are open, or what could be opened is.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Ready {
    /// How long it took.
    pub open_s: f64,
    /// Connections that failed already, and why the first did.
    pub lost: usize,
    /// Why.
    pub reason: Option<String>,
}

/// The answer to [`Order::Slice`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Slice {
    /// Requests answered in the measured part.
    pub answered: u64,
    /// Requests answered in all, with warm-up and the last answers.
    pub answered_in_all: u64,
    /// Length of the measured part.
    pub seconds: f64,
    /// The measured part is longer than ordered, because no answer had come by then.
    pub extended: bool,
    /// Time of it in which the generator had something to do.
    pub busy_s: f64,
    /// CPU time of the generator in it.
    pub cpu_s: f64,
    /// CPU time of the generator since the slice before.
    pub cpu_in_all_s: f64,
    /// Requests answered in the measured part on the active connection with the fewest.
    pub fewest: u64,
    /// Connections lost until now.
    pub lost: usize,
}

/// The answer to [`Order::Sum`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Sum {
    /// Of all measured requests.
    pub latency_us: LatencyUs,
    /// Bytes that came back wrong.
    pub wrong_bytes: u64,
    /// Connections lost.
    pub lost: usize,
    /// Why the first was.
    pub reason: Option<String>,
}

/// Open the connections of `plan`, say so, and follow orders until the input ends.
///
/// # Errors
///
/// When the connections cannot be opened, or the other process writes what is no order.
pub fn follow(plan: &Plan, orders: impl BufRead, mut answers: impl Write) -> anyhow::Result<()> {
    super::limits::check_descriptors(plan.connections())?;
    let mut engine = Engine::<EpollWire>::open(plan, ALONE, None)?;
    let ready = Ready {
        open_s: engine.open_time().as_secs_f64(),
        lost: engine.lost().len(),
        reason: reason(&engine),
    };
    answer(&mut answers, &ready)?;
    let mut cpu = thread_cpu();
    for line in orders.lines() {
        match serde_json::from_str(&line?)? {
            Order::Slice { warmup_us, slice_us } => {
                engine.begin(Pace::Closed);
                engine.run(engine.now() + warmup_us * 1000)?;
                engine.start_clock(engine.now());
                engine.run(engine.now() + slice_us * 1000)?;
                let extended = engine.record().counts.completed == 0;
                run_until_an_answer(&mut engine, slice_us * 1000)?;
                engine.stop_clock(engine.now());
                engine.drain()?;
                let counts = engine.record().counts;
                let seconds = |nanoseconds| Duration::from_nanos(nanoseconds).as_secs_f64();
                let cpu_before = std::mem::replace(&mut cpu, thread_cpu());
                let slice = Slice {
                    answered: counts.completed,
                    answered_in_all: engine.answered_in_all(),
                    seconds: seconds(counts.elapsed_ns),
                    extended,
                    busy_s: seconds(counts.busy_ns),
                    cpu_s: seconds(counts.cpu_ns),
                    cpu_in_all_s: (cpu - cpu_before).as_secs_f64(),
                    fewest: engine.fewest_and_most().0,
                    lost: engine.lost().len(),
                };
                answer(&mut answers, &slice)?;
            }
            Order::Sum => {
                let sum = Sum {
                    latency_us: LatencyUs::of(&engine.record().service),
                    wrong_bytes: engine.wrong_bytes(),
                    lost: engine.lost().len(),
                    reason: reason(&engine),
                };
                answer(&mut answers, &sum)?;
            }
        }
    }
    // Not before: the memory of a server is read while its clients are there.
    let lost = engine.lost().len();
    engine.end()?;
    match engine.lost().get(lost) {
        Some(Lost { connection, reason, .. }) => bail!("connection {connection}, at the end: {reason}"),
        None => Ok(()),
    }
}

/// A slice without an answer says nothing about the server: it may be too short, or other programs may have had the
/// processors all the time.
fn run_until_an_answer(engine: &mut Engine<EpollWire>, step_ns: u64) -> crate::Result<()> {
    let until = engine.now() + LONGEST_DRAIN.as_nanos() as u64;
    while engine.record().counts.completed == 0 && engine.can_go_on() && engine.now() < until {
        engine.run(engine.now() + step_ns)?;
    }
    Ok(())
}

fn reason(engine: &Engine<EpollWire>) -> Option<String> {
    engine.lost().first().map(|lost| format!("connection {}: {}", lost.connection, lost.reason))
}

fn answer(out: &mut impl Write, answer: &impl Serialize) -> anyhow::Result<()> {
    serde_json::to_writer(&mut *out, answer)?;
    out.write_all(b"\n")?;
    Ok(out.flush()?)
}
