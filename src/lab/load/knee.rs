//! The search for the knee: the highest rate at which the server keeps a limit on its response time.
//!
//! On a shared machine any single try may fail by chance. So no single try decides: a rate that fails is tried again, a
//! try that was spoiled by the generator itself or by other programs does not count, and the result is a bracket, with
//! the number of tries behind each of its ends. When the tries contradict each other, the search says so and names no
//! knee.

use super::record::Record;
use crate::lab::units::{self, micros, parse};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::Duration;

/// A percentile of the response time that must not be exceeded.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Limit {
    /// In percent; 100 is the maximum.
    pub percentile: f64,
    /// The limit, in microseconds.
    pub at_most_us: f64,
}

impl Limit {
    /// Read one as a command line has it: `p99=1ms`, `p99.9=5ms`, `max=50ms`.
    ///
    /// # Errors
    ///
    /// What is wrong, and what to write instead.
    pub fn parse(text: &str) -> Result<Limit, String> {
        let example = || "write a percentile and a time, such as p99=1ms, p99.9=5ms or max=50ms".to_owned();
        let (percentile, time) = text.split_once('=').ok_or_else(example)?;
        let percentile = match percentile {
            "max" => 100.0,
            _ => percentile.strip_prefix('p').and_then(|p| p.parse::<f64>().ok()).ok_or_else(example)?,
        };
        if !(percentile > 0.0 && percentile <= 100.0) {
            return Err("a percentile is above 0 and at most 100".to_owned());
        }
        Ok(Limit { percentile, at_most_us: parse::duration(time)?.as_secs_f64() * 1e6 })
    }
}

/// What one try at a rate shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The limit was kept.
    Holds,
    /// It was exceeded, and the server is the reason.
    Exceeds,
    /// It was exceeded or the rate was missed, but not without the requests that the generator itself sent late.
    GeneratorLate,
    /// It was exceeded while other programs kept the generator from its processor, or the rate was missed by no more
    /// than was due in that time.
    ProcessorTaken,
    /// No request was due: the try was too short for its rate.
    NothingDue,
    /// The try was interrupted.
    Interrupted,
}

impl Verdict {
    /// In a few words, for a table.
    #[must_use]
    pub fn in_words(self) -> &'static str {
        match self {
            Verdict::Holds => "holds",
            Verdict::Exceeds => "over the limit",
            Verdict::GeneratorLate => "undecided: generator late",
            Verdict::ProcessorTaken => "undecided: processor taken",
            Verdict::NothingDue => "undecided: no request was due",
            Verdict::Interrupted => "interrupted",
        }
    }
}

/// The tries at one rate.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Tally {
    /// Requests a second.
    pub rate_per_s: f64,
    /// Tries in which the limit was kept.
    pub held: u32,
    /// Tries in which the server exceeded it.
    pub exceeded: u32,
    /// Tries that decide nothing.
    pub undecided: u32,
}

/// What a search has shown.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Knee {
    /// The limit.
    pub limit: Limit,
    /// The highest rate that keeps it; `null` when none was shown. When `exceeds` is `null`, no higher rate was tried.
    pub rate_per_s: Option<f64>,
    /// The tries at that rate.
    pub holds: Option<Tally>,
    /// The lowest rate that was shown to exceed it.
    pub exceeds: Option<Tally>,
    /// Why no knee can be named, in words.
    pub not_shown: Option<String>,
}

/// Rates closer than this are the same knee.
const FINE_ENOUGH: f64 = 1.1;

/// A rate that is higher than the bracket by this factor must exceed the limit as well, or the tries contradict each other.
const BEYOND: f64 = 1.5;

/// Tries in a search.
const MOST_TRIES: u32 = 48;

/// Tries at one rate that may show nothing, in a row.
const MOST_UNDECIDED: u32 = 4;

/// Tries by which one of the two outcomes must lead at a rate.
const LEAD: u32 = 2;

/// The same at the ends of the bracket, which are the result.
const LEAD_AT_THE_ENDS: u32 = 3;

/// Tries at a rate, after which the majority decides.
const MOST_AT_A_RATE: u32 = 7;

/// A percentile needs this many requests beyond it. The count of N such requests varies by √N: by a third for ten.
const SAMPLES_BEYOND: f64 = 10.0;

/// A try is not longer than this, unless a longer one was asked for.
pub const LONGEST_TRY: Duration = Duration::from_secs(10);

/// A thread that was kept from its processor for more than this share of a try has shown nothing by exceeding a limit.
const MOST_KEPT_WAITING: f64 = 0.02;

impl Limit {
    /// The share of the requests that may exceed the limit.
    fn share_beyond(&self) -> f64 {
        1.0 - self.percentile / 100.0
    }

    /// Requests that the percentile needs; the maximum is that of as many as there are.
    #[must_use]
    pub fn samples(&self) -> f64 {
        if self.percentile >= 100.0 { 1.0 } else { SAMPLES_BEYOND / self.share_beyond() }
    }

    /// How long a try at that rate lasts: as long as was asked for, or as the percentile needs.
    #[must_use]
    pub fn time(&self, rate: f64, asked: Duration) -> Duration {
        let needed = Duration::try_from_secs_f64(self.samples() / rate).unwrap_or(LONGEST_TRY);
        asked.max(needed.min(LONGEST_TRY))
    }

    /// The lowest rate at which a try is long enough.
    #[must_use]
    pub fn least(&self, asked: Duration) -> f64 {
        (self.samples() / asked.max(LONGEST_TRY).as_secs_f64()).max(1.0)
    }

    /// What a try shows in which this was recorded, and in which so many requests can be under way as it ends. A request
    /// without answer exceeds the limit, and so does a rate that is missed.
    #[must_use]
    pub fn judge(&self, record: &Record, most_under_way: u64) -> Verdict {
        let counts = &record.counts;
        let limit_ns = (self.at_most_us * 1e3) as u64;
        let within = record.response.count_between(0, limit_ns);
        // A histogram counts a value with all that look like it, which are at most 0.1 % longer.
        let beyond = record.response.len().saturating_sub(within) + record.unfinished.len();
        let due = counts.due();
        let most = (self.share_beyond() * due as f64) as u64;
        // Whether the rate would be missed even if so many requests had been sent and answered in time.
        let missed_without = |excused| record.misses(most_under_way, excused);
        if due == 0 {
            return Verdict::NothingDue;
        }
        if beyond <= most && !missed_without(0) {
            return Verdict::Holds;
        }
        let late = counts.late_by_generator;
        if late > 0 && beyond.saturating_sub(late) <= most && !missed_without(late) {
            return Verdict::GeneratorLate;
        }
        let kept_waiting = counts.kept_waiting_ns as f64 / counts.elapsed_ns.max(1) as f64;
        // As many requests as are due in that time.
        let kept_back = (kept_waiting * due as f64).ceil() as u64;
        // When most of the load is beyond the limit, the server is slow, whatever else is true.
        if kept_waiting > MOST_KEPT_WAITING && beyond < due / 2 && !missed_without(late + kept_back) {
            return Verdict::ProcessorTaken;
        }
        Verdict::Exceeds
    }
}

/// For people: `p99 ≤ 1 ms`.
impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Limit { percentile, at_most_us } = self;
        if *percentile >= 100.0 {
            return write!(f, "max ≤ {}", micros(*at_most_us));
        }
        write!(f, "p{percentile} ≤ {}", micros(*at_most_us))
    }
}

/// What the tries at one rate show together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shown {
    Holds,
    Exceeds,
    /// It held once, and nothing speaks against it.
    Probably,
    Open,
    /// Too many tries decided nothing.
    Nothing,
}

impl Tally {
    fn shown(&self) -> Shown {
        let Tally { held, exceeded, undecided, .. } = *self;
        if held + exceeded >= MOST_AT_A_RATE {
            return if held > exceeded { Shown::Holds } else { Shown::Exceeds };
        }
        match (held, exceeded) {
            _ if held >= exceeded + LEAD => Shown::Holds,
            _ if exceeded >= held + LEAD => Shown::Exceeds,
            (1, 0) => Shown::Probably,
            _ if undecided >= MOST_UNDECIDED => Shown::Nothing,
            _ => Shown::Open,
        }
    }

    fn tries(&self) -> u32 {
        self.held + self.exceeded
    }
}

/// For people: `holds at 18,000 requests/s in 2 of 2 tries`.
fn in_words(what: &str, tally: &Tally, count: u32) -> String {
    let Tally { rate_per_s, .. } = tally;
    let tries = tally.tries();
    format!(
        "{what} at {} requests/s in {count} of {tries} {}",
        units::rate(*rate_per_s),
        if tries == 1 { "try" } else { "tries" }
    )
}

/// A search under way: the rates that were tried, with what the tries showed.
#[derive(Debug)]
pub struct Search {
    limit: Limit,
    /// By rate.
    tallies: Vec<Tally>,
    least: f64,
    most: f64,
    tries: u32,
    /// The verdicts that decided nothing: late generators, taken processors.
    spoiled: (u32, u32),
    /// Tries in which no request was due.
    empty: u32,
}

impl Search {
    /// A search between these rates.
    #[must_use]
    pub fn new(limit: Limit, (least, most): (f64, f64)) -> Search {
        Search { limit, tallies: Vec::new(), least, most, tries: 0, spoiled: (0, 0), empty: 0 }
    }

    /// Note what a try has shown.
    pub fn note(&mut self, rate: f64, verdict: Verdict) {
        self.tries += 1;
        let at = self.tallies.partition_point(|tally| tally.rate_per_s < rate);
        if self.tallies.get(at).is_none_or(|tally| tally.rate_per_s > rate) {
            self.tallies.insert(at, Tally { rate_per_s: rate, held: 0, exceeded: 0, undecided: 0 });
        }
        let tally = &mut self.tallies[at];
        match verdict {
            Verdict::Holds => tally.held += 1,
            Verdict::Exceeds => tally.exceeded += 1,
            Verdict::GeneratorLate => {
                (tally.undecided, self.spoiled.0) = (tally.undecided + 1, self.spoiled.0 + 1)
            }
            Verdict::ProcessorTaken => {
                (tally.undecided, self.spoiled.1) = (tally.undecided + 1, self.spoiled.1 + 1)
            }
            Verdict::NothingDue => (tally.undecided, self.empty) = (tally.undecided + 1, self.empty + 1),
            Verdict::Interrupted => tally.undecided += 1,
        }
    }

    fn of(&self, is: impl Fn(Shown) -> bool) -> impl DoubleEndedIterator<Item = &Tally> {
        self.tallies.iter().filter(move |tally| is(tally.shown()))
    }

    /// The lowest rate that exceeds the limit, and the highest below it that seems to hold.
    fn bracket(&self) -> (Option<Tally>, Option<Tally>) {
        let high = self.of(|shown| shown == Shown::Exceeds).next().copied();
        let below = |tally: &&Tally| high.is_none_or(|high| tally.rate_per_s < high.rate_per_s);
        let low = self.of(|shown| matches!(shown, Shown::Holds | Shown::Probably)).rfind(below).copied();
        (low, high)
    }

    /// A rate that holds above one that exceeds.
    fn contradiction(&self) -> Option<(Tally, Tally)> {
        let high = self.bracket().1?;
        let above =
            self.of(|shown| shown == Shown::Holds).rfind(|tally| tally.rate_per_s > high.rate_per_s)?;
        Some((high, *above))
    }

    /// The rate to try next; `None` when the search is over.
    #[must_use]
    pub fn next_rate(&self, first: f64) -> Option<f64> {
        if self.tries >= MOST_TRIES || self.of(|shown| shown == Shown::Nothing).next().is_some() {
            return None;
        }
        if let Some(open) = self.of(|shown| shown == Shown::Open).next() {
            return Some(open.rate_per_s);
        }
        if let Some((high, _)) = self.contradiction() {
            // Try the lower rate again, until the majority of many tries decides.
            return (high.tries() < MOST_AT_A_RATE).then_some(high.rate_per_s);
        }
        let between = |rate: f64| rate.clamp(self.least, self.most).ceil();
        let (low, high) = match self.bracket() {
            (None, None) => return Some(between(first)),
            (Some(low), None) if low.rate_per_s >= self.most => return self.confirmed(low),
            (Some(low), None) => return Some(between(low.rate_per_s * 2.0)),
            (None, Some(high)) if high.rate_per_s <= self.least.ceil() => return None,
            (None, Some(high)) => return Some(between(high.rate_per_s / 2.0)),
            (Some(low), Some(high)) => (low, high),
        };
        if high.rate_per_s / low.rate_per_s > FINE_ENOUGH {
            let middle = (low.rate_per_s * high.rate_per_s).sqrt().ceil();
            if middle > low.rate_per_s && middle < high.rate_per_s {
                return Some(middle);
            }
        }
        self.confirmed(low).or_else(|| self.confirmed(high)).or_else(|| {
            // Two unlucky tries at one rate look like a knee; a higher rate that holds shows that they were unlucky.
            let beyond = between(high.rate_per_s * BEYOND);
            let is_shown = self.of(|shown| shown == Shown::Exceeds).any(|tally| tally.rate_per_s >= beyond);
            let again =
                self.tallies.iter().find(|tally| tally.rate_per_s >= beyond).map(|tally| tally.rate_per_s);
            (!is_shown && beyond > high.rate_per_s).then(|| again.unwrap_or(beyond))
        })
    }

    /// The rate at an end of the bracket again, as long as few tries speak for it.
    fn confirmed(&self, end: Tally) -> Option<f64> {
        let is_clear = end.held.abs_diff(end.exceeded) >= LEAD_AT_THE_ENDS || end.tries() >= MOST_AT_A_RATE;
        (!is_clear).then_some(end.rate_per_s)
    }

    /// What the search has shown.
    #[must_use]
    pub fn knee(&self) -> Knee {
        let (low, high) = self.bracket();
        let shown = low.filter(|low| low.shown() == Shown::Holds);
        let not_shown = self.not_shown(shown.as_ref(), high.as_ref());
        let rate_per_s = shown.filter(|_| not_shown.is_none()).map(|low| low.rate_per_s);
        Knee { limit: self.limit, rate_per_s, holds: low, exceeds: high, not_shown }
    }

    /// Why no knee can be named.
    fn not_shown(&self, low: Option<&Tally>, high: Option<&Tally>) -> Option<String> {
        if let Some(nothing) = self.of(|shown| shown == Shown::Nothing).next() {
            let (late, taken) = self.spoiled;
            let why = match (late, taken) {
                (0, 0) if self.empty > 0 => "no request was due",
                (0, 0) => "the tries were interrupted",
                _ if taken > late => "other programs, or the server, took the generator's processor",
                _ => "the generator itself was late",
            };
            return Some(format!(
                "{why} in {} tries at {} requests/s",
                nothing.undecided,
                units::rate(nothing.rate_per_s)
            ));
        }
        if let Some((high, above)) = self.contradiction() {
            return Some(format!(
                "the tries contradict each other: it is {}, and {}",
                in_words("exceeded", &high, high.exceeded),
                in_words("held", &above, above.held)
            ));
        }
        let is_close = |end: &&Tally| end.held.abs_diff(end.exceeded) < LEAD;
        if let Some(close) = [low, high].into_iter().flatten().find(is_close) {
            return Some(format!(
                "the tries at {} requests/s contradict each other: {} held, {} exceeded it",
                units::rate(close.rate_per_s),
                close.held,
                close.exceeded
            ));
        }
        match (low, high) {
            (None, Some(high)) if high.rate_per_s <= self.least.ceil() => Some(format!(
                "it is {}, and lower rates need longer tries: give --duration",
                in_words("exceeded", high, high.exceeded)
            )),
            (Some(low), None) if low.rate_per_s < self.most => Some("the search was not finished".to_owned()),
            (Some(low), Some(high)) if high.rate_per_s / low.rate_per_s > FINE_ENOUGH * FINE_ENOUGH => {
                Some(format!("after {} tries it is known only to lie between these rates", self.tries))
            }
            (None, _) => Some("the search was not finished".to_owned()),
            _ => None,
        }
    }
}

/// For people, in one or two sentences.
impl fmt::Display for Knee {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Knee { limit, rate_per_s, holds, exceeds, not_shown } = self;
        match (rate_per_s, holds) {
            (Some(rate), _) if exceeds.is_none() => write!(
                f,
                "at least {} requests/s keep {limit}: no higher rate was tried",
                units::rate(*rate)
            )?,
            (Some(rate), _) => {
                write!(f, "{} requests/s is the highest rate that keeps {limit}", units::rate(*rate))?
            }
            (None, Some(_)) => write!(f, "the highest rate that keeps {limit} could not be shown here")?,
            (None, None) => write!(f, "no rate was shown to keep {limit}")?,
        }
        if let Some(why) = not_shown {
            write!(f, ": {why}")?;
        }
        let ends = [
            holds.as_ref().map(|tally| in_words("holds", tally, tally.held)),
            exceeds.as_ref().map(|tally| in_words("fails", tally, tally.exceeded)),
        ];
        let ends: Vec<_> = ends.into_iter().flatten().collect();
        if !ends.is_empty() {
            write!(f, " ({})", ends.join(", "))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
