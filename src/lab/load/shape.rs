//! How a load goes over time: one rate, a ramp, a sweep of rates, or the search for the knee.

use super::LatencyUs;
use super::crew::{Crew, Interval, Outcome, Stage};
use super::limits;
use super::record::Record;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::Duration;

/// How a load goes over time.
#[derive(Debug, Clone, PartialEq)]
pub enum Shape {
    /// Each connection again, as soon as it was answered.
    Closed,
    /// Requests a second.
    Rate(f64),
    /// One rate after the other without a pause: what one leaves undone burdens the next.
    Ramp(Vec<f64>),
    /// Each rate on its own: the last answers are awaited in between.
    Sweep(Vec<f64>),
    /// The highest rate that holds the limit; the first rate to be tried.
    Knee(Limit, f64),
}

/// A latency that must not be exceeded: a percentile of the response time.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Limit {
    /// In percent; 100 is the maximum.
    pub percentile: f64,
    /// The limit, in microseconds.
    pub at_most_us: f64,
}

/// What was seen at one offered rate.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Row {
    /// Requests a second; `None` in a closed loop.
    pub offered_per_s: Option<f64>,
    /// Answers a second.
    pub achieved_per_s: f64,
    /// Length, in seconds.
    pub seconds: f64,
    /// Requests sent.
    pub sent: u64,
    /// Answers that came meanwhile.
    pub answered: u64,
    /// Requests sent more than a millisecond after their time.
    pub late: u64,
    /// Requests never sent.
    pub unsent: u64,
    /// Latency from the intended send; `None` in a closed loop.
    pub response: Option<LatencyUs>,
    /// Latency from the actual send.
    pub service: LatencyUs,
    /// Whether the rate was missed.
    pub missed: bool,
    /// Whether the limit was held, in a search for the knee.
    pub held: Option<bool>,
}

/// What a load gave.
#[derive(Debug)]
pub struct Result {
    /// The stages, each with what it offered.
    pub rows: Vec<Row>,
    /// All of what was measured; in a search for the knee, the last rate that held the limit.
    pub total: Record,
    /// The last stage, for what is counted over all of them.
    pub last: Outcome,
    /// The first one's start.
    pub started: std::time::SystemTime,
    /// The highest rate that held the limit.
    pub knee: Option<f64>,
}

/// Rates closer than this are the same knee.
const FINE_ENOUGH: f64 = 1.05;

/// Rates that are tried in a search.
const MOST_TRIES: usize = 24;

impl Shape {
    /// Whether requests have their times.
    #[must_use]
    pub fn is_open(&self) -> bool {
        *self != Shape::Closed
    }

    /// The lowest rate that is known beforehand.
    #[must_use]
    pub fn lowest(&self) -> Option<f64> {
        match self {
            Shape::Ramp(rates) | Shape::Sweep(rates) => rates.iter().copied().reduce(f64::min),
            _ => self.highest(),
        }
    }

    /// The highest rate that is known beforehand.
    #[must_use]
    pub fn highest(&self) -> Option<f64> {
        match self {
            Shape::Closed => None,
            Shape::Rate(rate) | Shape::Knee(_, rate) => Some(*rate),
            Shape::Ramp(rates) | Shape::Sweep(rates) => rates.iter().copied().reduce(f64::max),
        }
    }

    /// Put this load on the server; each rate for `time`, after a warm-up.
    ///
    /// # Errors
    ///
    /// Those of the waits of the threads.
    pub fn run(
        &self,
        crew: &mut Crew,
        (warmup, time): (Duration, Duration),
        most: f64,
        mut watch: impl FnMut(&Interval),
    ) -> anyhow::Result<Result> {
        let mut stage = |crew: &mut Crew, steps: Vec<Option<f64>>| {
            let steps = steps.into_iter().map(|rate| (rate, time)).collect();
            crew.run(&Stage { warmup, steps }, &mut watch)
        };
        match self {
            Shape::Closed => Result::of(vec![None], stage(crew, vec![None])?),
            Shape::Rate(rate) => Result::of(vec![Some(*rate)], stage(crew, vec![Some(*rate)])?),
            Shape::Ramp(rates) => {
                let rates: Vec<_> = rates.iter().copied().map(Some).collect();
                Result::of(rates.clone(), stage(crew, rates)?)
            }
            Shape::Sweep(rates) => {
                let mut result: Option<Result> = None;
                for &rate in rates {
                    let next = Result::of(vec![Some(rate)], stage(crew, vec![Some(rate)])?)?;
                    match &mut result {
                        None => result = Some(next),
                        Some(result) => result.add(next)?,
                    }
                    if result.as_ref().is_some_and(Result::must_end) {
                        break;
                    }
                }
                result.ok_or_else(|| anyhow::anyhow!("a sweep without rates"))
            }
            Shape::Knee(limit, first) => {
                let least = limits::fewest_requests(time).max(1.0);
                find_knee(*limit, *first, (least, most), |rate| {
                    Result::of(vec![Some(rate)], stage(crew, vec![Some(rate)])?)
                })
            }
        }
    }
}

/// Double the rate until the limit is exceeded, or halve it until it is held; then narrow the interval.
fn find_knee(
    limit: Limit,
    first: f64,
    (least, most): (f64, f64),
    mut at: impl FnMut(f64) -> anyhow::Result<Result>,
) -> anyhow::Result<Result> {
    let (mut holds, mut exceeds): (Option<f64>, Option<f64>) = (None, None);
    let mut rate = first.min(most);
    let mut result: Option<Result> = None;
    for _ in 0..MOST_TRIES {
        let mut tried = at(rate)?;
        let ends = tried.must_end();
        // Who is interrupted before the clock has started has tried nothing.
        let held = limit.is_held(&tried.total) && tried.rows.iter().all(|row| !row.missed);
        tried.rows.iter_mut().for_each(|row| row.held = Some(held));
        if tried.last.partial {
            tried.rows.iter_mut().for_each(|row| row.held = None);
        } else if held {
            holds = Some(rate);
        } else {
            exceeds = Some(rate);
        }
        match &mut result {
            None => result = Some(tried),
            Some(result) => {
                result.rows.append(&mut tried.rows);
                result.last = tried.last;
                if held && !result.last.partial {
                    result.total = tried.total;
                }
            }
        }
        rate = match (holds, exceeds) {
            (Some(low), Some(high)) if high / low <= FINE_ENOUGH => break,
            (Some(low), Some(high)) => (low * high).sqrt(),
            (Some(low), None) if low >= most => break,
            (Some(low), None) => (low * 2.0).min(most),
            (None, Some(high)) if high <= least => break,
            (None, Some(high)) => (high / 2.0).max(least),
            (None, None) => break,
        };
        rate = rate.ceil();
        if ends || Some(rate) == holds || Some(rate) == exceeds {
            break;
        }
    }
    let mut result = result.ok_or_else(|| anyhow::anyhow!("no rate was tried"))?;
    result.knee = holds;
    Ok(result)
}

impl Limit {
    /// Whether the response times stay within it.
    #[must_use]
    pub fn is_held(&self, record: &Record) -> bool {
        let at = record.response.value_at_quantile(self.percentile / 100.0) as f64 / 1e3;
        !record.response.is_empty() && at <= self.at_most_us
    }
}

/// For people: `p99 ≤ 1000 µs`.
impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.percentile >= 100.0 {
            return write!(f, "max ≤ {} µs", self.at_most_us);
        }
        write!(f, "p{} ≤ {} µs", self.percentile, self.at_most_us)
    }
}

impl Row {
    /// Of what was written down at that rate.
    #[must_use]
    pub fn of(offered_per_s: Option<f64>, record: &Record, seconds: f64, most_under_way: u64) -> Row {
        let counts = &record.counts;
        let per_s = |n: u64| if seconds > 0.0 { n as f64 / seconds } else { 0.0 };
        Row {
            offered_per_s,
            achieved_per_s: per_s(counts.answered),
            seconds,
            sent: counts.sent,
            answered: counts.answered,
            late: counts.late,
            unsent: counts.unsent,
            response: offered_per_s.map(|_| LatencyUs::of(&record.response)),
            service: LatencyUs::of(&record.service),
            missed: offered_per_s.is_some() && misses(record, most_under_way),
            held: None,
        }
    }
}

/// A rate is missed when of the requests that were due more than a thousandth was never sent, or more than a hundredth
/// not answered, or not in this time; but for what can be under way as it ends.
fn misses(record: &Record, most_under_way: u64) -> bool {
    let due = record.counts.due() as f64;
    let in_time = (record.counts.answered + most_under_way) as f64;
    record.counts.unsent as f64 > due / 1000.0 + 1.0
        || (record.service.len() as f64) < due * 0.99
        || in_time < due * 0.99
}

impl Result {
    fn of(rates: Vec<Option<f64>>, outcome: Outcome) -> anyhow::Result<Result> {
        let threads = outcome.threads as f64;
        let row = |(rate, record): (Option<f64>, &Record)| {
            Row::of(rate, record, record.counts.elapsed_ns as f64 / 1e9 / threads, outcome.most_under_way)
        };
        let rows = rates.into_iter().zip(&outcome.records).map(row).filter(|row| row.seconds > 0.0).collect();
        Ok(Result { rows, total: outcome.total()?, started: outcome.started, last: outcome, knee: None })
    }

    fn add(&mut self, mut next: Result) -> anyhow::Result<()> {
        self.rows.append(&mut next.rows);
        self.total.add(&next.total)?;
        self.last = next.last;
        Ok(())
    }

    /// Whether there is no use in another stage.
    fn must_end(&self) -> bool {
        self.last.partial || self.last.all_lost
    }
}
