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
                schedule.change_rate();
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
        self.change_rate();
    }

    /// Go on to the rate that holds when the next request is due.
    #[inline]
    fn change_rate(&mut self) {
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
    // proptest has a trait of that name.
    use fastrand::Rng;
    use proptest::prelude::*;

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
    fn a_thread_whose_first_request_is_due_after_the_first_rate_has_ended_goes_by_the_next_rate() {
        let steps = [(1.0, Duration::from_millis(100)), (1000.0, LONG)];
        let of = |thread| times(Schedule::new(0, &steps, Arrivals::Constant, (thread, 4), 1), 2);
        // A tenth of a request is due at the first rate. So the first of thread 1 comes nine tenths of a millisecond later.
        assert_eq!([of(0), of(1)], [[0, 103_900_000], [100_900_000, 104_900_000]]);
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

    /// Up to four rates a second, each for so many milliseconds.
    fn steps() -> impl Strategy<Value = Vec<(f64, Duration)>> {
        let step = (prop_oneof![0.5..5.0, 0.5..3000.0], 1..1500_u64)
            .prop_map(|(rate, ms)| (rate, Duration::from_millis(ms)));
        proptest::collection::vec(step, 1..5)
    }

    fn one_of_threads() -> impl Strategy<Value = (usize, usize)> {
        (1..6_usize).prop_flat_map(|threads| (0..threads, Just(threads)))
    }

    proptest! {
        /// To a nanosecond: a time since the machine was started has no more digits as a 64-bit float.
        #[test]
        fn no_request_of_a_constant_rate_is_early_or_late(
            start in 0..1_u64 << 50,
            rate in 1..5_000_000_u32,
            (thread, threads) in one_of_threads(),
        ) {
            let steps = [(f64::from(rate), LONG)];
            let schedule = Schedule::new(start, &steps, Arrivals::Constant, (thread, threads), 1);
            for (i, due) in times(schedule, 1000).into_iter().enumerate() {
                // The threads take turns.
                let number = (i * threads + thread) as u128;
                let (due, exact) = (u128::from(due - start) * u128::from(rate), number * 1_000_000_000);
                prop_assert!(due.abs_diff(exact) <= 2 * u128::from(rate), "request {}: {} and not {}", i, due, exact);
            }
        }

        #[test]
        fn no_request_is_lost_or_added_where_the_rate_changes(
            steps in steps(),
            start in 0..1_u64 << 50,
            (thread, threads) in one_of_threads(),
        ) {
            let mut schedule = Schedule::new(start, &steps, Arrivals::Constant, (thread, threads), 1);
            let (mut end, mut count) = (start, 0);
            // Of all threads, since the start.
            let mut requests = 0.0;
            for (rate, time) in steps {
                end += time.as_nanos() as u64;
                requests += rate * time.as_secs_f64();
                while schedule.next() < end {
                    count += 1;
                    schedule.advance();
                }
                let of_this_thread = ((requests - thread as f64) / threads as f64).max(0.0);
                prop_assert!(
                    (f64::from(count) - of_this_thread).abs() < 1.001,
                    "{} requests and not {}, {} ns after the start", count, of_this_thread, end - start
                );
            }
        }

        #[test]
        fn a_skip_leaves_out_what_a_walk_passes(
            steps in steps(),
            poisson: bool,
            (thread, threads) in one_of_threads(),
            seed: u64,
            times_to in proptest::collection::vec(0..3_000_000_000_u64, 1..4),
        ) {
            let arrivals = if poisson { Arrivals::Poisson } else { Arrivals::Constant };
            let mut walked = Schedule::new(0, &steps, arrivals, (thread, threads), seed);
            let mut skipped = walked.clone();
            for time in times_to {
                let mut count = 0;
                while walked.next() < time {
                    let before = walked.next();
                    walked.advance();
                    prop_assert!(walked.next() >= before, "times never go back");
                    count += 1;
                }
                prop_assert_eq!(skipped.skip_to(time), count);
                prop_assert!(skipped.next() >= time);
                prop_assert_eq!(times(skipped.clone(), 10), times(walked.clone(), 10));
            }
        }
    }
}
