//! Load in short slices, ordered by another process over a pipe.
//!
//! A line of JSON comes in ([`Job`], then [`Order`]s), a line goes out. Between two orders nothing is under way and
//! this process sleeps, so that many generators, each connected to its server, can take turns within
//! a fraction of a second.

use super::Lost;
use super::engine::{ALONE, Engine, LONGEST_DRAIN, Pace};
use super::hlog::encoded;
use super::plan::{EngineKind, Plan};
use super::record::Record;
use super::schedule::{Arrivals, Schedule};
use super::wire::Wire;
use super::wire::epoll::EpollWire;
use crate::sys::clock::thread_cpu;
use anyhow::{Context, bail};
use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::io::{BufRead, Write};
use std::time::Duration;

/// The first line that comes in.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Job {
    /// What load to put on whom.
    pub plan: Plan,
    /// How to talk to the kernel.
    pub engine: EngineKind,
}

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
        /// Requests offered each second, in an open loop. Without it each answer is followed by the next request.
        rate_per_s: Option<f64>,
        /// Whether its latencies are among those of [`Order::Sum`].
        counts: bool,
    },
    /// Say what all slices gave together.
    Sum,
}

/// The first line that goes out: all connections are open, or what could be opened is.
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
    /// The rate was offered and not reached.
    pub missed: bool,
    /// Half of the latencies are below, in microseconds. In an open loop these are response times.
    pub p50_us: Option<f64>,
    /// 99 of 100 are below.
    pub p99_us: Option<f64>,
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
    /// Latencies of all measured requests of slices that count, as in interval logs; in an open loop response times.
    pub histogram: String,
    /// Bytes that came back wrong.
    pub wrong_bytes: u64,
    /// Connections lost.
    pub lost: usize,
    /// Why the first was.
    pub reason: Option<String>,
}

/// Read what is to be done, open the connections, say so, and follow orders until the input ends.
///
/// # Errors
///
/// When the connections cannot be opened, or the other process writes what is no order.
pub fn follow(mut orders: impl BufRead, answers: impl Write) -> anyhow::Result<()> {
    let mut line = String::new();
    orders.read_line(&mut line)?;
    let Job { plan, engine } = serde_json::from_str(&line).context("the first line is no plan of a load")?;
    match engine {
        EngineKind::Epoll => Follower::<EpollWire, _>::open(plan, answers)?.follow(orders),
        #[cfg(feature = "uring")]
        EngineKind::Uring => {
            Follower::<super::wire::uring::UringWire, _>::open(plan, answers)?.follow(orders)
        }
        #[cfg(not(feature = "uring"))]
        EngineKind::Uring => bail!("this program was built without io_uring (feature `uring`)"),
    }
}

struct Follower<W, A> {
    plan: Plan,
    engine: Engine<W>,
    answers: A,
    /// CPU time at the end of the slice before.
    cpu: Duration,
    /// What was recorded in all slices.
    latencies: Histogram<u64>,
    /// What one slice recorded, to be used again.
    spare: Record,
    slices: u64,
}

impl<W: Wire, A: Write> Follower<W, A> {
    fn open(plan: Plan, answers: A) -> anyhow::Result<Follower<W, A>> {
        super::limits::check_descriptors(plan.connections())?;
        let engine = Engine::open(&plan, ALONE, None)?;
        let spare = Record::default();
        let latencies = spare.service.clone();
        let mut follower = Follower { plan, engine, answers, cpu: thread_cpu(), latencies, spare, slices: 0 };
        follower.answer(&Ready {
            open_s: follower.engine.open_time().as_secs_f64(),
            lost: follower.engine.lost().len(),
            reason: follower.reason(),
        })?;
        Ok(follower)
    }

    fn follow(mut self, orders: impl BufRead) -> anyhow::Result<()> {
        for line in orders.lines() {
            match serde_json::from_str(&line?)? {
                Order::Slice { warmup_us, slice_us, rate_per_s, counts } => {
                    let slice = self.slice(warmup_us * 1000, slice_us * 1000, rate_per_s, counts)?;
                    self.answer(&slice)?;
                }
                Order::Sum => {
                    let sum = Sum {
                        histogram: encoded(&self.latencies),
                        wrong_bytes: self.engine.wrong_bytes(),
                        lost: self.engine.lost().len(),
                        reason: self.reason(),
                    };
                    self.answer(&sum)?;
                }
            }
        }
        // Not before: the memory of a server is read while its clients are there.
        let lost = self.engine.lost().len();
        self.engine.end()?;
        match self.engine.lost().get(lost) {
            Some(Lost { connection, reason, .. }) => bail!("connection {connection}, at the end: {reason}"),
            None => Ok(()),
        }
    }

    fn slice(
        &mut self,
        warmup_ns: u64,
        slice_ns: u64,
        rate_per_s: Option<f64>,
        counts: bool,
    ) -> anyhow::Result<Slice> {
        let engine = &mut self.engine;
        let began = engine.now();
        engine.begin(match rate_per_s {
            None => Pace::Closed,
            Some(rate) => {
                let seed = self.plan.seed.wrapping_add(self.slices);
                Pace::Open(Schedule::new(began, &[(rate, Duration::MAX)], Arrivals::Poisson, (0, 1), seed))
            }
        });
        self.slices += 1;
        engine.run(began + warmup_ns)?;
        let began = engine.start_clock(engine.now());
        engine.run(began + slice_ns)?;
        let extended = engine.record().counts.completed == 0;
        run_until_an_answer(engine, slice_ns)?;
        engine.stop_clock(engine.now());
        engine.drain()?;
        engine.account_for_the_rest();
        let (fewest, lost, answered_in_all) =
            (engine.fewest_and_most().0, engine.lost().len(), engine.answered_in_all());
        let spare = std::mem::take(&mut self.spare);
        let (_, mut record) = engine.take_records(spare).pop().expect("the last window is always there");
        engine.forget_windows();
        let latencies =
            if rate_per_s.is_some() { record.response_of_all() } else { Cow::Borrowed(&record.service) };
        let at = |quantile: f64| {
            (!latencies.is_empty()).then(|| latencies.value_at_quantile(quantile) as f64 / 1e3)
        };
        let (p50_us, p99_us) = (at(0.5), at(0.99));
        if counts {
            self.latencies.add(&*latencies).context("histograms do not add up")?;
        }
        let counts = record.counts;
        let most_under_way = (self.plan.active * self.plan.depth) as u64;
        let missed = rate_per_s.is_some() && record.misses(most_under_way, 0);
        record.clear();
        self.spare = record;
        let seconds = |nanoseconds| Duration::from_nanos(nanoseconds).as_secs_f64();
        let cpu_before = std::mem::replace(&mut self.cpu, thread_cpu());
        Ok(Slice {
            answered: counts.completed,
            answered_in_all,
            seconds: seconds(counts.elapsed_ns),
            extended,
            missed,
            p50_us,
            p99_us,
            busy_s: seconds(counts.busy_ns),
            cpu_s: seconds(counts.cpu_ns),
            cpu_in_all_s: (self.cpu - cpu_before).as_secs_f64(),
            fewest,
            lost,
        })
    }

    fn reason(&self) -> Option<String> {
        let first = self.engine.lost().first();
        first.map(|lost| format!("connection {}: {}", lost.connection, lost.reason))
    }

    fn answer(&mut self, answer: &impl Serialize) -> anyhow::Result<()> {
        serde_json::to_writer(&mut self.answers, answer)?;
        self.answers.write_all(b"\n")?;
        Ok(self.answers.flush()?)
    }
}

/// A slice without an answer says nothing about the server: it may be too short, or other programs may have had the
/// processors all the time.
fn run_until_an_answer<W: Wire>(engine: &mut Engine<W>, step_ns: u64) -> crate::Result<()> {
    let until = engine.now() + LONGEST_DRAIN.as_nanos() as u64;
    while engine.record().counts.completed == 0 && engine.can_go_on() && engine.now() < until {
        engine.run(engine.now() + step_ns)?;
    }
    Ok(())
}
