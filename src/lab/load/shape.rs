//! How a load goes over time: one rate, a ramp, a sweep of rates, or the search for the knee.

use super::LatencyUs;
use super::crew::{Crew, Interval, Outcome, Stage};
use super::knee::{Knee, Limit, Search, Verdict};
use super::record::Record;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// How a load goes over time.
#[derive(Debug, Clone, PartialEq)]
pub enum Shape {
    /// Each connection sends its next request as soon as it was answered.
    Closed,
    /// Requests a second.
    Rate(f64),
    /// One rate after the other without a pause: the next rate inherits the backlog of the one before.
    Ramp(Vec<f64>),
    /// Each rate on its own: the last answers to one are awaited before the next.
    Sweep(Vec<f64>),
    /// A search for the highest rate that keeps the limit, and the rate to try first.
    Knee(Limit, f64),
}

/// What was seen at one offered rate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// Requests a second; `None` in a closed loop.
    pub offered_per_s: Option<f64>,
    /// Answers a second.
    pub achieved_per_s: f64,
    /// Length, in seconds.
    pub seconds: f64,
    /// Requests sent.
    pub sent: u64,
    /// Those of them that were answered in this time.
    pub answered: u64,
    /// Requests sent more than a millisecond after their time.
    pub late: u64,
    /// Requests never sent.
    pub unsent: u64,
    /// Requests without answer, sent or not: they count with the time that they have waited at least.
    pub at_least: u64,
    /// Latency from the intended send; `None` in a closed loop.
    pub response: Option<LatencyUs>,
    /// Latency from the actual send.
    pub service: LatencyUs,
    /// Whether the rate was missed.
    pub missed: bool,
    /// In a search for the knee: what the try shows.
    pub verdict: Option<Verdict>,
}

/// What a load gave.
#[derive(Debug)]
pub struct Result {
    /// The stages, each with what it offered.
    pub rows: Vec<Row>,
    /// All of what was measured; in a search for the knee, the last try at the highest rate that kept the limit, or
    /// else the first try.
    pub total: Record,
    /// Of what is in the total: requests answered on the active connection with the fewest, and on the one with the
    /// most; `None` when the total is of several stages.
    pub fewest_and_most: Option<(u64, u64)>,
    /// Of what is in the total: active connections that waited for an answer for a whole slice of half a second, and
    /// the most such slices of one; of several stages the most of each.
    pub stalled: (usize, u32),
    /// Of what is in the total: the share of the time in which the busiest thread had something to do.
    pub busiest: f64,
    /// The last stage, for what is counted over all of them.
    pub last: Outcome,
    /// The first one's start.
    pub started: std::time::SystemTime,
    /// What a search for the knee has shown.
    pub knee: Option<Knee>,
}

impl Shape {
    /// Whether requests have their times.
    #[must_use]
    pub fn is_open(&self) -> bool {
        *self != Shape::Closed
    }

    /// The lowest rate that is known beforehand. A search measures each rate for as long as it needs.
    #[must_use]
    pub fn lowest(&self) -> Option<f64> {
        match self {
            Shape::Knee(..) => None,
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

    /// How many rates there are one after the other, as far as is known beforehand.
    #[must_use]
    pub fn steps(&self) -> usize {
        match self {
            Shape::Ramp(rates) | Shape::Sweep(rates) => rates.len(),
            Shape::Closed | Shape::Rate(_) | Shape::Knee(..) => 1,
        }
    }

    /// How long it takes at most, with so long a warm-up and so long a time for each rate; [`Duration::MAX`] when nobody
    /// knows.
    #[must_use]
    pub fn longest(&self, (warmup, time): (Duration, Duration)) -> Duration {
        let all = |each: Duration, rates: &[f64]| {
            each.saturating_mul(u32::try_from(rates.len()).unwrap_or(u32::MAX))
        };
        match self {
            Shape::Closed | Shape::Rate(_) => warmup.saturating_add(time),
            Shape::Ramp(rates) => warmup.saturating_add(all(time, rates)),
            Shape::Sweep(rates) => all(warmup.saturating_add(time), rates),
            Shape::Knee(..) => Duration::MAX,
        }
    }

    /// Put this load on the server; each rate for `time`, after a warm-up. No more than `most` requests a second are
    /// tried in a search.
    ///
    /// # Errors
    ///
    /// When a thread of the generator has ended without a message.
    pub fn run(
        &self,
        crew: &mut Crew,
        (warmup, time): (Duration, Duration),
        most: f64,
        mut watch: impl FnMut(&Interval),
    ) -> anyhow::Result<Result> {
        let mut stage = |crew: &mut Crew, steps: Vec<Option<f64>>, time| {
            let steps: Vec<_> = steps.into_iter().map(|rate| (rate, time)).collect();
            let rates = steps.iter().map(|(rate, _)| *rate).collect();
            Result::of(rates, crew.run(&Stage { warmup, steps }, &mut watch)?)
        };
        match self {
            Shape::Closed => stage(crew, vec![None], time),
            Shape::Rate(rate) => stage(crew, vec![Some(*rate)], time),
            Shape::Ramp(rates) => stage(crew, rates.iter().copied().map(Some).collect(), time),
            Shape::Sweep(rates) => {
                let mut result: Option<Result> = None;
                for &rate in rates {
                    let next = stage(crew, vec![Some(rate)], time)?;
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
            Shape::Knee(limit, first) => find_knee(*limit, *first, (limit.least(time), most), |rate| {
                stage(crew, vec![Some(rate)], limit.time(rate, time))
            }),
        }
    }
}

/// Try rates until the search has what it needs.
fn find_knee(
    limit: Limit,
    first: f64,
    bounds: (f64, f64),
    mut at: impl FnMut(f64) -> anyhow::Result<Result>,
) -> anyhow::Result<Result> {
    let mut search = Search::new(limit, bounds);
    let mut result: Option<Result> = None;
    // The rate of which the total is, once one has kept the limit.
    let mut kept = 0.0;
    while let Some(rate) = search.next_rate(first) {
        let mut tried = at(rate)?;
        let verdict = if tried.last.partial {
            Verdict::Interrupted
        } else {
            limit.judge(&tried.total, tried.last.most_under_way)
        };
        search.note(rate, verdict);
        tried.rows.iter_mut().for_each(|row| row.verdict = Some(verdict));
        let ends = tried.must_end();
        result = Some(match result {
            None => tried,
            Some(mut before) => {
                before.rows.append(&mut tried.rows);
                if verdict == Verdict::Holds && rate >= kept {
                    Result { rows: before.rows, started: before.started, ..tried }
                } else {
                    Result { last: tried.last, ..before }
                }
            }
        });
        if verdict == Verdict::Holds && rate >= kept {
            kept = rate;
        }
        if ends {
            break;
        }
    }
    let mut result = result.ok_or_else(|| anyhow::anyhow!("no rate was tried"))?;
    result.knee = Some(search.knee());
    Ok(result)
}

impl Row {
    /// Of what was written down at that rate.
    #[must_use]
    pub fn of(offered_per_s: Option<f64>, record: &Record, seconds: f64, most_under_way: u64) -> Row {
        let counts = &record.counts;
        let per_s = |n: u64| if seconds > 0.0 { n as f64 / seconds } else { 0.0 };
        Row {
            offered_per_s,
            achieved_per_s: per_s(counts.completed),
            seconds,
            sent: counts.sent,
            answered: counts.answered,
            late: counts.late,
            unsent: counts.unsent,
            at_least: counts.at_least(),
            response: offered_per_s.map(|_| LatencyUs::of(&record.response_of_all())),
            service: LatencyUs::of(&record.service),
            missed: offered_per_s.is_some() && record.misses(most_under_way, 0),
            verdict: None,
        }
    }
}

impl Result {
    fn of(rates: Vec<Option<f64>>, outcome: Outcome) -> anyhow::Result<Result> {
        let threads = outcome.threads as f64;
        let row = |(rate, record): (Option<f64>, &Record)| {
            Row::of(rate, record, record.counts.elapsed_ns as f64 / 1e9 / threads, outcome.most_under_way)
        };
        let rows = rates
            .into_iter()
            .zip(&outcome.records)
            .map(row)
            .filter(|row| row.seconds > 0.0 || row.unsent > 0)
            .collect();
        Ok(Result {
            rows,
            total: outcome.total()?,
            fewest_and_most: Some(outcome.fewest_and_most),
            stalled: outcome.stalled,
            busiest: outcome.busiest,
            started: outcome.started,
            last: outcome,
            knee: None,
        })
    }

    fn add(&mut self, mut next: Result) -> anyhow::Result<()> {
        self.rows.append(&mut next.rows);
        self.total.add(&next.total)?;
        self.fewest_and_most = None;
        self.stalled = (self.stalled.0.max(next.stalled.0), self.stalled.1.max(next.stalled.1));
        self.busiest = self.busiest.max(next.busiest);
        self.last = next.last;
        Ok(())
    }

    /// Whether there is no use in another stage.
    fn must_end(&self) -> bool {
        self.last.partial || self.last.all_lost || self.last.failure.is_some()
    }
}
