//! From slices to figures: medians, ratios to the slices of the baseline in the same turn, and verdicts.

use super::pair::Ending;
use crate::lab::SystemCalls;
use crate::lab::load::hlog::{decoded, encoded};
use crate::lab::load::slices::Sum;
use crate::lab::load::{BUSY_LIMIT, LatencyUs};
use crate::lab::results::compare::{Figures, Judged, Load, Memory, Slice, Start, Verdict};
use crate::lab::serve::Sharing;
use crate::lab::stats::{Estimate, Spread};
use crate::lab::units::of;
use crate::sys::calls::Counts;
use anyhow::{Context, ensure};
use hdrhistogram::Histogram;
use std::cmp::Ordering;
use std::time::Duration;

/// Calls in which a server waits for something to happen.
const WAITS: [&str; 9] = [
    "epoll_pwait",
    "epoll_pwait2",
    "epoll_wait",
    "io_uring_enter",
    "poll",
    "ppoll",
    "pselect6",
    "rt_sigtimedwait",
    "select",
];

/// Memory comes in pages, so that of a few connections does not tell what one costs.
const ENOUGH_FOR_MEMORY: usize = 50;

/// What was measured of one entrant in all of its starts.
#[derive(Debug, Default)]
pub(super) struct Measurements {
    pub(super) starts: Vec<Start>,
    /// System calls; `None` when those of a start are not known.
    calls: Option<Counts>,
    latencies: Option<Histogram<u64>>,
    sharing: Sharing,
}

impl Measurements {
    /// Add a start that has come to its end.
    pub(super) fn add(
        &mut self,
        slices: Vec<Slice>,
        requests: u64,
        load: &Load,
        ending: Ending,
    ) -> anyhow::Result<()> {
        let Ending { memory, totals, calls, sum, sharing } = ending;
        if let Some(Sum { histogram, wrong_bytes, lost, reason }) = sum {
            // A slice that a stop has cut short is not read, so that only the sum tells what it lost.
            ensure!(
                lost == 0 && wrong_bytes == 0,
                "{} lost, {} wrong; the first: {}",
                of(lost as u64, "connection"),
                of(wrong_bytes, "byte"),
                reason.unwrap_or_default()
            );
            let latencies = decoded(&histogram).context("the latencies of a start")?;
            match &mut self.latencies {
                None => self.latencies = Some(latencies),
                Some(all) => all.add(latencies).context("histograms do not add up")?,
            }
        }
        self.calls = match (self.calls.take(), calls) {
            (None, calls) if self.starts.is_empty() => calls,
            (Some(mut sum), Some(calls)) => {
                sum.add(&calls);
                Some(sum)
            }
            _ => None,
        };
        // The kernel does not count the switches of threads that have ended.
        let switches = totals.filter(|_| load.requests_per_connection.is_none());
        self.sharing = sharing;
        self.starts.push(Start {
            slices,
            memory,
            user_s: totals.map(|totals| totals.user.as_secs_f64()),
            system_s: totals.map(|totals| totals.system.as_secs_f64()),
            voluntary_switches: switches.map(|totals| totals.voluntary),
            forced_switches: switches.map(|totals| totals.forced),
            requests,
            bytes: requests * u64::from(load.size),
        });
        Ok(())
    }

    /// The latencies of all starts, for the result.
    pub(super) fn histogram(&self) -> Option<String> {
        self.latencies.as_ref().map(encoded)
    }

    /// The figures, without ratios. `None` without slices.
    pub(super) fn figures(&self, load: &Load) -> Option<Figures> {
        let slices: Vec<&Slice> = self.starts.iter().flat_map(|start| &start.slices).collect();
        let spread = |value: fn(&Slice) -> Option<f64>| {
            Spread::quartiles(&slices.iter().filter_map(|slice| value(slice)).collect::<Vec<_>>())
        };
        let requests_per_s = spread(|slice| Some(slice.rate()))?;
        let seconds: f64 = slices.iter().map(|slice| slice.seconds).sum();
        let share =
            |value: fn(&Slice) -> f64| slices.iter().map(|s| value(s) * s.seconds).sum::<f64>() / seconds;
        let requests: u64 = self.starts.iter().map(|start| start.requests).sum();
        let per_request = |count: fn(&Start) -> Option<u64>| {
            let sum: Option<u64> = self.starts.iter().map(count).sum();
            sum.filter(|_| requests > 0).map(|sum| sum as f64 / requests as f64)
        };
        let calls = self.calls.as_ref().map(|calls| SystemCalls::per_request(calls, requests));
        let memory = self.memory();
        let connections = load.connections() as f64;
        let each = |bytes: Option<u64>| bytes.map(|bytes| bytes as f64 / connections);
        let grown =
            memory.connected.zip(memory.listening).and_then(|(after, before)| after.checked_sub(before));
        let grown = grown.filter(|_| load.connections() >= ENOUGH_FOR_MEMORY);
        Some(Figures {
            starts: self.starts.len(),
            slices: slices.len(),
            requests_per_s,
            cpu_us_per_request: spread(|slice| slice.cpu_us),
            latency_us: self.latencies.as_ref().map(LatencyUs::of).unwrap_or_default(),
            rate: None,
            cpu: None,
            p50: None,
            p99: None,
            not_judged: None,
            imprecise: None,
            user_share: self.user_share(),
            requests_per_wait: calls.as_ref().and_then(requests_per_wait),
            syscalls_per_request: calls,
            voluntary_switches_per_request: per_request(|start| start.voluntary_switches),
            forced_switches_per_request: per_request(|start| start.forced_switches),
            memory,
            memory_per_connection: each(grown),
            kernel_memory_per_connection: each(memory.kernel),
            bytes_per_s: requests_per_s.median * f64::from(load.size),
            generator_busy_share: share(|slice| slice.generator_busy),
            generator_cpu_share: share(|slice| slice.generator_cpu),
            starved_slices: slices.iter().filter(|slice| slice.fewest == 0).count(),
            missed_slices: slices.iter().filter(|slice| slice.missed).count(),
            sharing: self.sharing.clone(),
        })
    }

    /// The medians over those starts in which it was measured.
    fn memory(&self) -> Memory {
        let median = |bytes: fn(&Memory) -> Option<u64>| {
            let all: Vec<f64> =
                self.starts.iter().filter_map(|start| Some(bytes(&start.memory)? as f64)).collect();
            Spread::quartiles(&all).map(|spread| spread.median.round() as u64)
        };
        Memory {
            listening: median(|memory| memory.listening),
            connected: median(|memory| memory.connected),
            after: median(|memory| memory.after),
            proportional: median(|memory| memory.proportional),
            kernel: median(|memory| memory.kernel),
        }
    }

    /// The kernel divides the CPU time by what it finds running at each tick, every 4 or 10 ms, so a few of them say nothing.
    fn user_share(&self) -> Option<f64> {
        const ENOUGH: f64 = 0.5;
        let sum = |seconds: fn(&Start) -> Option<f64>| self.starts.iter().map(seconds).sum::<Option<f64>>();
        let (user, system) = (sum(|start| start.user_s)?, sum(|start| start.system_s)?);
        (user + system >= ENOUGH).then(|| user / (user + system))
    }
}

/// Requests for each call that waits.
fn requests_per_wait(calls: &SystemCalls<f64>) -> Option<f64> {
    let waits: f64 = WAITS.iter().filter_map(|name| calls.by_name.get(*name)?.as_f64()).sum();
    (waits > 0.0).then(|| 1.0 / waits)
}

impl Slice {
    /// Requests/s.
    #[must_use]
    pub fn rate(&self) -> f64 {
        self.answered as f64 / self.seconds
    }
}

/// The ratios of `starts` to the slices of the baseline in the same turns, by start.
fn ratios(starts: &[Start], baseline: &[Start], value: impl Fn(&Slice) -> Option<f64>) -> Vec<Vec<f64>> {
    let of_start = |(start, baseline): (&Start, &Start)| {
        let ratio = |slice: &Slice| {
            let beside = baseline.slices.iter().find(|other| other.turn == slice.turn)?;
            let ratio = value(slice)? / value(beside)?;
            (ratio.is_finite() && ratio > 0.0).then_some(ratio)
        };
        start.slices.iter().filter_map(ratio).collect()
    };
    starts.iter().zip(baseline).map(of_start).collect()
}

/// Judge an entrant by the baseline: fill in the ratios of `figures`, and what they show.
pub(super) fn judge(
    (figures, starts): (&mut Figures, &[Start]),
    (baseline, baseline_starts): (&Figures, &[Start]),
    load: &Load,
) {
    let estimate =
        |value: fn(&Slice) -> Option<f64>| Estimate::over_starts(&ratios(starts, baseline_starts, value));
    let judged = |ratio: Option<Estimate>, more: Verdict, less: Verdict| {
        let verdict = |ratio: Estimate| {
            ratio.differs_from_one().map(|side| match side {
                Ordering::Greater => more,
                Ordering::Less => less,
                Ordering::Equal => Verdict::NoDifferenceShown,
            })
        };
        ratio.map(|ratio| Judged { ratio, verdict: verdict(ratio) })
    };
    figures.cpu = judged(estimate(|slice| slice.cpu_us), Verdict::Worse, Verdict::Better);
    // Where a generator is the limit, or misses the rate, rate and latency are not those of the server.
    let is_limit = |figures: &Figures| figures.generator_busy_share >= BUSY_LIMIT;
    if is_limit(figures) || is_limit(baseline) {
        return;
    }
    if load.rate.is_some() {
        if baseline.missed_slices > 0 {
            return;
        }
        figures.p50 = judged(estimate(|slice| slice.p50_us), Verdict::Worse, Verdict::Better);
        figures.p99 = judged(estimate(|slice| slice.p99_us), Verdict::Worse, Verdict::Better);
        return;
    }
    figures.rate = judged(estimate(|slice| Some(slice.rate())), Verdict::Better, Verdict::Worse);
}

/// The figures of the baseline itself.
pub(super) fn set_as_baseline(figures: &mut Figures, load: &Load) {
    let one = |is_known: bool| is_known.then_some(Judged { ratio: Estimate::ONE, verdict: None });
    figures.cpu = one(figures.cpu_us_per_request.is_some());
    if load.rate.is_some() {
        figures.p50 = one(figures.latency_us.p50.is_some());
        figures.p99 = one(figures.latency_us.p99.is_some());
    } else {
        figures.rate = one(true);
    }
}

/// The widest interval of a row that is judged, as a share of its ratio; `None` when it has none. That of p99 does not count: a
/// few latencies of each slice decide it, so it stays wide in any number of starts that a user would wait for.
pub(super) fn widest(figures: &Figures) -> Option<f64> {
    let judged = [figures.rate, figures.cpu, figures.p50];
    judged.into_iter().flatten().filter_map(|judged| judged.ratio.half_width()).reduce(f64::max)
}

/// A slice as it goes into the result.
pub(super) fn slice_of(turn: usize, slice: &crate::lab::load::slices::Slice, cpu: Option<Duration>) -> Slice {
    let requests = slice.answered_in_all as f64;
    let share = |seconds: f64| rounded(if slice.seconds > 0.0 { seconds / slice.seconds } else { 0.0 }, 1e4);
    Slice {
        turn,
        answered: slice.answered,
        seconds: rounded(slice.seconds, 1e6),
        cpu_us: cpu
            .filter(|cpu| requests > 0.0 && !cpu.is_zero())
            .map(|cpu| rounded(cpu.as_secs_f64() * 1e6 / requests, 1e4)),
        p50_us: slice.p50_us.map(|us| rounded(us, 1e2)),
        p99_us: slice.p99_us.map(|us| rounded(us, 1e2)),
        generator_busy: share(slice.busy_s),
        generator_cpu: share(slice.cpu_s),
        fewest: slice.fewest,
        extended: slice.extended,
        missed: slice.missed,
    }
}

/// To so many parts of one: a result file has thousands of slices.
fn rounded(value: f64, parts: f64) -> f64 {
    (value * parts).round() / parts
}
