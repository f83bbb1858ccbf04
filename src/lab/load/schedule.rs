//! When requests are due: decided before anything is known of the server.

use fastrand::Rng;
use std::time::Duration;

/// Requests of a Poisson schedule that are left out one by one. The count of N of them varies by √N: by 1 % for 10,000.
const MOST_WALKED: f64 = 10_000.0;

/// How requests follow each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Arrivals {
    /// At equal distances.
    Constant,
    /// Each on its own, as of a large crowd: the distances are distributed exponentially.
    Poisson,
}

/// The times at which one thread is to send, in nanoseconds, without end.
#[derive(Debug, Clone)]
pub struct Schedule {
    /// The rates that follow, the next one last: when each ends, and the mean distance between its requests.
    rates: Vec<(f64, f64)>,
    /// When the present rate ends.
    until: f64,
    /// The mean distance in it.
    gap: f64,
    /// A time from which equal distances are counted, and how many were: a sum of them would drift.
    origin: (f64, f64),
    next: f64,
    arrivals: Arrivals,
    random: Rng,
}

impl Schedule {
    /// Thread `thread` of `threads` together offer these rates a second, each for that long, from `start` on; the
    /// last one without end.
    ///
    /// # Panics
    ///
    /// Without any rate.
    #[must_use]
    pub fn new(
        start: u64,
        steps: &[(f64, Duration)],
        arrivals: Arrivals,
        (thread, threads): (usize, usize),
        seed: u64,
    ) -> Schedule {
        let mut until = start as f64;
        let mut rates: Vec<_> = steps
            .iter()
            .map(|&(rate, time)| {
                until += time.as_nanos() as f64;
                (until, threads as f64 * 1e9 / rate)
            })
            .collect();
        rates.last_mut().expect("a rate").0 = f64::INFINITY;
        rates.reverse();
        let (until, gap) = rates.pop().expect("a rate");
        let random = Rng::with_seed(seed ^ (thread as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let mut schedule =
            Schedule { rates, until, gap, next: start as f64, origin: (start as f64, 0.0), arrivals, random };
        match arrivals {
            // The threads take turns.
            Arrivals::Constant => {
                schedule.next += gap * thread as f64 / threads as f64;
                schedule.origin.0 = schedule.next;
            }
            Arrivals::Poisson => schedule.advance(),
        }
        schedule
    }

    /// When the next request is to be sent. Rounded up: never early.
    #[inline]
    #[must_use]
    pub fn next(&self) -> u64 {
        self.next.ceil() as u64
    }

    /// Go on to the request after it.
    #[inline]
    pub fn advance(&mut self) {
        match self.arrivals {
            Arrivals::Constant => {
                self.origin.1 += 1.0;
                self.next = self.origin.0 + self.origin.1 * self.gap;
            }
            Arrivals::Poisson => self.next += self.gap * exponential(&mut self.random),
        }
        while self.next >= self.until {
            let Some((until, gap)) = self.rates.pop() else { return };
            // What of the distance lies beyond the end passes at the new rate.
            self.next = self.until + (self.next - self.until) * gap / self.gap;
            (self.until, self.gap, self.origin) = (until, gap, (self.next, 0.0));
        }
    }

    /// Leave out the requests before `time`, and return how many these are. The next request is then due at `time` or
    /// later. With equal distances their number is computed. A Poisson schedule is walked request by request up to
    /// 10,000 of them; more than that count with their mean, because a walk over a day of a high rate takes an hour.
    pub fn skip_to(&mut self, time: u64) -> u64 {
        let mut skipped = 0;
        while self.next() < time {
            skipped += self.leap(time) + 1;
            self.advance();
        }
        skipped
    }

    /// Leave out all but the last few requests before `time`, or before the rate ends, without a walk over them. Returns
    /// how many were left out.
    fn leap(&mut self, time: u64) -> u64 {
        let left = self.until.min(time as f64) - self.next;
        // Two are left to be walked, so that rounding decides nothing.
        let count = (left / self.gap - 2.0).floor().max(0.0);
        match self.arrivals {
            Arrivals::Constant => {
                self.origin.1 += count;
                self.next = self.origin.0 + self.origin.1 * self.gap;
            }
            Arrivals::Poisson if count < MOST_WALKED => return 0,
            // What follows a time does not depend on what came before it, so the walk can go on from any time.
            Arrivals::Poisson => self.next += count * self.gap,
        }
        count as u64
    }
}

/// An exponentially distributed number with mean 1.
fn exponential(random: &mut Rng) -> f64 {
    // The random number is below 1 and may be 0, whose logarithm is infinite.
    -(1.0 - random.f64()).ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(1000);

    fn times(mut schedule: Schedule, count: usize) -> Vec<u64> {
        (0..count)
            .map(|_| {
                let next = schedule.next();
                schedule.advance();
                next
            })
            .collect()
    }

    #[test]
    fn a_constant_rate_is_spread_evenly_over_the_threads() {
        let of = |thread| times(Schedule::new(1000, &[(1e6, LONG)], Arrivals::Constant, (thread, 2), 1), 3);
        assert_eq!(of(0), [1000, 3000, 5000]);
        assert_eq!(of(1), [2000, 4000, 6000]);
    }

    #[test]
    fn after_a_day_the_constant_rate_has_not_drifted() {
        let mut schedule = Schedule::new(0, &[(3.0, LONG)], Arrivals::Constant, (0, 1), 1);
        (0..3 * 86_400).for_each(|_| schedule.advance());
        assert!(schedule.next().abs_diff(86_400_000_000_000) <= 1, "{}", schedule.next());
    }

    #[test]
    fn what_is_skipped_does_not_move_what_follows() {
        for arrivals in [Arrivals::Constant, Arrivals::Poisson] {
            let whole = Schedule::new(0, &[(1000.0, LONG)], arrivals, (0, 1), 1);
            let mut skipped = whole.clone();
            let count = skipped.skip_to(1_000_000_000);
            let all = times(whole, 1500);
            let first =
                all.iter().position(|&t| t >= 1_000_000_000).expect("1500 of them last longer than a second");
            assert_eq!(count, first as u64);
            assert_eq!(times(skipped, 100), all[first..first + 100]);
        }
    }

    #[test]
    fn a_skip_over_several_rates_counts_what_a_walk_counts() {
        let steps = [(1000.0, Duration::from_secs(1)), (0.7, Duration::from_secs(2)), (3333.0, LONG)];
        let whole = Schedule::new(7, &steps, Arrivals::Constant, (1, 3), 1);
        for time in
            [0, 1, 7, 1_000_000, 999_999_999, 1_000_000_007, 2_500_000_000, 3_000_000_007, 9_876_543_210]
        {
            let (mut walked, mut skipped, mut count) = (whole.clone(), whole.clone(), 0);
            while walked.next() < time {
                walked.advance();
                count += 1;
            }
            assert_eq!(skipped.skip_to(time), count, "{time}");
            assert_eq!(times(skipped, 10), times(walked, 10), "{time}");
        }
    }

    /// A walk over so many requests takes an hour.
    #[test]
    fn a_day_of_a_high_rate_is_skipped_without_a_walk() {
        const DAY: u64 = 86_400_000_000_000;
        for (arrivals, within) in [(Arrivals::Constant, 0), (Arrivals::Poisson, 20)] {
            let mut schedule = Schedule::new(0, &[(1e6, LONG)], arrivals, (0, 1), 1);
            assert!(schedule.skip_to(DAY).abs_diff(86_400_000_000) <= within);
            assert!((DAY..DAY + 20_000).contains(&schedule.next()), "{arrivals:?}: {}", schedule.next());
        }
    }

    #[test]
    fn a_poisson_skip_over_several_rates_counts_the_mean_of_each() {
        let second = Duration::from_secs(1);
        let steps = [(1e6, second), (10.0, second), (4e6, LONG)];
        let mut schedule = Schedule::new(0, &steps, Arrivals::Poisson, (0, 1), 1);
        assert!(schedule.skip_to(3_000_000_000).abs_diff(5_000_010) <= 50);
        // The next distances are random again.
        let distances: Vec<_> = times(schedule, 10).windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert!(distances.iter().any(|distance| *distance != distances[0]), "{distances:?}");
    }

    #[test]
    fn the_rate_changes_on_time_and_nothing_is_left_out() {
        let steps = [(1000.0, Duration::from_secs(1)), (4000.0, Duration::from_secs(2)), (10.0, LONG)];
        for (arrivals, within) in [(Arrivals::Constant, 1), (Arrivals::Poisson, 400)] {
            let all = times(Schedule::new(0, &steps, arrivals, (0, 1), 1), 9100);
            let before = |end: u64| all.iter().filter(|&&t| t < end).count();
            assert!(before(1_000_000_000).abs_diff(1000) <= within);
            assert!(before(3_000_000_000).abs_diff(9000) <= within);
            assert!(all.is_sorted());
        }
    }

    #[test]
    fn poisson_distances_have_the_mean_and_the_spread_of_an_exponential_distribution() {
        let mut random = Rng::with_seed(7);
        let count = 200_000;
        let all: Vec<_> = (0..count).map(|_| exponential(&mut random)).collect();
        let mean = all.iter().sum::<f64>() / f64::from(count);
        let variance = all.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / f64::from(count);
        assert!((mean - 1.0).abs() < 0.01, "{mean}");
        assert!((variance - 1.0).abs() < 0.03, "{variance}");
        // exp(-2) of them are longer than twice the mean.
        let long = all.iter().filter(|&&x| x > 2.0).count() as f64 / f64::from(count);
        assert!((long - 0.1353).abs() < 0.005, "{long}");
    }

    #[test]
    fn the_same_seed_gives_the_same_times_and_another_thread_others() {
        let of =
            |thread, seed| times(Schedule::new(0, &[(1e6, LONG)], Arrivals::Poisson, (thread, 2), seed), 10);
        assert_eq!(of(0, 1), of(0, 1));
        assert_ne!(of(0, 1), of(1, 1));
        assert_ne!(of(0, 1), of(0, 2));
    }
}
