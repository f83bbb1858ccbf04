//! From slices to figures: medians, ratios to the neighbouring slices of the baseline, and verdicts.

use super::BETWEEN_BASELINES;
use super::pair::Measured;
use crate::lab::SystemCalls;
use crate::lab::load::slices::Sum;
use crate::lab::load::{BUSY_LIMIT, LatencyUs};
use crate::lab::serve::Sharing;
use crate::lab::stats::Spread;
use crate::sys::calls::Counts;
use serde::Serialize;

/// With fewer slices the interval of a median covers less than 95 %.
const SLICES_FOR_A_VERDICT: usize = 6;

/// A slice, and the number of its turn.
pub(super) struct Timed {
    pub(super) turn: usize,
    pub(super) measured: Measured,
}

impl Timed {
    /// Requests/s.
    pub(super) fn rate(&self) -> f64 {
        self.measured.slice.answered as f64 / self.measured.slice.seconds
    }

    /// Server CPU per request, in microseconds, if it is known.
    pub(super) fn cpu_us(&self) -> Option<f64> {
        let requests = self.measured.slice.answered_in_all as f64;
        self.measured.server_cpu.map(|cpu| cpu.as_secs_f64() * 1e6 / requests)
    }
}

/// A slice of the baseline: its turn, its rate, and its CPU a request.
pub(super) type Beside = (usize, f64, Option<f64>);

/// What was measured.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Figures {
    /// Slices.
    pub(super) rounds: usize,
    /// Median and quartiles over slices.
    pub(super) requests_per_s: Spread,
    /// Requests/s to the baseline's: median and its 95 % interval, over pairs of slices.
    pub(super) ratio: Option<Spread>,
    /// The same of server CPU per request; under 1 is better.
    pub(super) cpu_ratio: Option<Spread>,
    /// What the two ratios show, in words.
    pub(super) verdict: String,
    /// Of all slices together. The loop is closed: compare within a workload only.
    pub(super) latency_us: LatencyUs,
    /// Median over slices.
    pub(super) server_cpu_us_per_request: Option<f64>,
    /// CPU time of the generator over elapsed time. It is 1 where the generator spins without being preempted.
    pub(super) generator_cpu_share: f64,
    /// Share of the time in which it had something to do.
    pub(super) generator_busy_share: f64,
    pub(super) syscalls_per_request: Option<SystemCalls<f64>>,
    pub(super) peak_rss_bytes: Option<u64>,
    /// Slices in which a connection had no answer at all.
    pub(super) slices_with_a_starved_connection: usize,
    pub(super) wrong_bytes: u64,
    pub(super) lost_connections: usize,
    #[serde(flatten)]
    pub(super) sharing: Sharing,
}

impl Figures {
    /// The verdict on a model. A difference is shown when the interval of its ratio does not overlap that of the A/A row,
    /// which is widened to contain 1. Two processes of the same program differ a little as well, for example by where
    /// their memory is placed.
    pub(super) fn verdict(&self, control: &Figures) -> &'static str {
        if self.rounds.min(control.rounds) < SLICES_FOR_A_VERDICT {
            return "too few slices for a verdict";
        }
        let differs = |ratio: Option<Spread>, noise: Option<Spread>| match (ratio, noise) {
            (Some(ratio), Some(noise)) if ratio.low > noise.high.max(1.0) => Some(true),
            (Some(ratio), Some(noise)) if ratio.high < noise.low.min(1.0) => Some(false),
            _ => None,
        };
        // Where the generator is the limit, its server could have been faster. So this server is not shown to be slower,
        // and the other one is not shown to be faster.
        let bound = |figures: &Figures| figures.generator_busy_share >= BUSY_LIMIT;
        let rate =
            differs(self.ratio, control.ratio).filter(|&faster| !bound(if faster { control } else { self }));
        match (rate, differs(self.cpu_ratio, control.cpu_ratio)) {
            (None, None) => "no difference shown",
            (Some(true), None) => "faster",
            (Some(false), None) => "slower",
            (None, Some(true)) => "more CPU",
            (None, Some(false)) => "less CPU",
            (Some(true), Some(true)) => "faster, more CPU",
            (Some(true), Some(false)) => "faster, less CPU",
            (Some(false), Some(true)) => "slower, more CPU",
            (Some(false), Some(false)) => "slower, less CPU",
        }
    }

    /// The figures of one server, from its slices and the baseline's.
    pub(super) fn of(
        slices: &[Timed],
        sum: &Sum,
        peak_rss_bytes: Option<u64>,
        sharing: Sharing,
        baseline: &[Beside],
    ) -> Option<Figures> {
        let of = |value: fn(&Timed) -> Option<f64>| slices.iter().filter_map(value).collect::<Vec<_>>();
        let rate = |slice: &Timed| Some(slice.rate());
        // Each ratio is to the baseline's slices just before and just after.
        let paired = |value: fn(&Timed) -> Option<f64>, baseline_value: fn(&Beside) -> Option<f64>| {
            let ratios = slices.iter().filter_map(|slice| {
                let after = baseline.partition_point(|&(turn, ..)| turn < slice.turn);
                let beside = &baseline[after.saturating_sub(1)..baseline.len().min(after + 1)];
                let mut near = beside
                    .iter()
                    .filter(|(turn, ..)| turn.abs_diff(slice.turn) <= BETWEEN_BASELINES + 1)
                    .filter_map(baseline_value);
                let before = near.next()?;
                // The geometric mean, because noise raises the arithmetic mean, and so lowers the ratios to it.
                let mean = near.next().map_or(before, |after| (before * after).sqrt());
                value(slice).filter(|_| mean.is_normal()).map(|value| value / mean)
            });
            Spread::of_median(&ratios.collect::<Vec<_>>())
        };
        let (ratio, cpu_ratio) =
            (paired(rate, |&(_, rate, _)| Some(rate)), paired(Timed::cpu_us, |&(.., cpu)| cpu));
        let (mut calls, mut requests) = (Some(Counts::default()), 0);
        let (mut seconds, mut busy, mut cpu) = (0.0, 0.0, 0.0);
        for Measured { slice, calls: more, .. } in slices.iter().map(|slice| &slice.measured) {
            calls = calls.zip(more.as_ref()).map(|(mut sum, more)| {
                sum.add(more);
                sum
            });
            requests += slice.answered_in_all;
            seconds += slice.seconds;
            busy += slice.busy_s;
            cpu += slice.cpu_s;
        }
        Some(Figures {
            rounds: slices.len(),
            requests_per_s: Spread::quartiles(&of(rate))?,
            ratio,
            cpu_ratio,
            verdict: String::new(),
            latency_us: sum.latency_us,
            server_cpu_us_per_request: Spread::quartiles(&of(Timed::cpu_us)).map(|cpu| cpu.median),
            generator_cpu_share: cpu / seconds,
            generator_busy_share: busy / seconds,
            syscalls_per_request: calls.map(|calls| SystemCalls::per_request(&calls, requests)),
            peak_rss_bytes,
            slices_with_a_starved_connection: slices.iter().filter(|s| s.measured.slice.fewest == 0).count(),
            wrong_bytes: sum.wrong_bytes,
            lost_connections: sum.lost,
            sharing,
        })
    }
}
