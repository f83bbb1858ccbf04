//! The few statistics that a comparison needs.
//!
//! Within one start of a server the slices vary with the noise of the machine, which has long tails: a median does not depend
//! on them. From one start to the next the server itself varies, by where its memory is placed for example, and more slices
//! of one start do not show that. So each start gives one number, and the interval is of these numbers.

use serde::{Deserialize, Serialize};
use std::cmp::Ordering;

/// A median and what lies around it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    /// Half of the values are below.
    pub median: f64,
    /// See the function that made it.
    pub low: f64,
    /// See the function that made it.
    pub high: f64,
}

impl Spread {
    /// The median and the quartiles: where the middle half of the values lies. `None` without values.
    #[must_use]
    pub fn quartiles(values: &[f64]) -> Option<Spread> {
        let sorted = sorted(values)?;
        Some(Spread { median: median(&sorted), low: quantile(&sorted, 0.25), high: quantile(&sorted, 0.75) })
    }

    /// The median and an interval that holds the true median in 95 of 100 experiments, whatever the
    /// distribution: the order statistics that a fair coin would put it between (the sign test turned
    /// round; Conover, Practical Nonparametric Statistics, section 3.2). With fewer than six values it
    /// is their whole range, and holds less. `None` without values.
    #[must_use]
    pub fn of_median(values: &[f64]) -> Option<Spread> {
        let sorted = sorted(values)?;
        let outer = outer(sorted.len());
        let (low, high) = (sorted[outer], sorted[sorted.len() - 1 - outer]);
        Some(Spread { median: median(&sorted), low, high })
    }
}

/// A ratio, and the interval that holds the true one in 99 of 100 experiments.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// The best guess.
    pub ratio: f64,
    /// The lower end of the interval; `None` with a single start, which cannot show how starts differ.
    pub low: Option<f64>,
    /// The upper end.
    pub high: Option<f64>,
}

impl Estimate {
    /// Of something to itself.
    pub const ONE: Estimate = Estimate { ratio: 1.0, low: Some(1.0), high: Some(1.0) };

    /// From the ratios of slices, by start: the mean over starts of the median over slices, both of logarithms, so that a
    /// ratio and its inverse weigh the same. The interval is Student's, with a degree of freedom less than there are starts.
    ///
    /// A bootstrap over starts and then slices is often used for such data (T. Kalibera, R. Jones, "Rigorous Benchmarking
    /// in Reasonable Time", 2013). With as few starts as there are here it holds the true ratio too rarely when starts differ: a
    /// test shows that. `None` without ratios.
    #[must_use]
    pub fn over_starts(starts: &[Vec<f64>]) -> Option<Estimate> {
        let logs = |start: &Vec<f64>| sorted(&start.iter().map(|ratio| ratio.ln()).collect::<Vec<_>>());
        let medians: Vec<f64> = starts.iter().filter_map(logs).map(|start| median(&start)).collect();
        let (mean, error) = mean_and_error(&medians)?;
        let at =
            |offset: f64| error.map(|error| (mean + offset * student_99(medians.len() - 1) * error).exp());
        Some(Estimate { ratio: mean.exp(), low: at(-1.0), high: at(1.0) })
    }

    /// Whether the interval does not contain 1, and on which side of it it lies.
    #[must_use]
    pub fn differs_from_one(&self) -> Option<Ordering> {
        match (self.low?, self.high?) {
            (low, _) if low > 1.0 => Some(Ordering::Greater),
            (_, high) if high < 1.0 => Some(Ordering::Less),
            _ => Some(Ordering::Equal),
        }
    }

    /// How many times another estimate of an independent experiment this one is. The ends of an interval are as far from the ratio
    /// in logarithms as its error, and errors of independent experiments add as squares.
    #[must_use]
    pub fn over(&self, other: &Estimate) -> Estimate {
        let ratio = self.ratio / other.ratio;
        let error = |estimate: &Estimate| {
            let (low, high) = (estimate.low?, estimate.high?);
            Some((high / low).ln() / 2.0)
        };
        let error = error(self).zip(error(other)).map(|(a, b)| a.hypot(b).exp());
        Estimate { ratio, low: error.map(|error| ratio / error), high: error.map(|error| ratio * error) }
    }

    /// Whether the interval of another estimate has no value in common with this one; `None` when one of them has no interval.
    #[must_use]
    pub fn is_apart_from(&self, other: &Estimate) -> Option<bool> {
        let (above, below) = (self.low? > other.high?, self.high? < other.low?);
        Some(above || below)
    }

    /// How far the ends of the interval are from the ratio, as a share of it: the larger one.
    #[must_use]
    pub fn half_width(&self) -> Option<f64> {
        Some((self.high? / self.ratio - 1.0).max(1.0 - self.low? / self.ratio))
    }
}

/// The mean, and its standard error if there is more than one value.
fn mean_and_error(values: &[f64]) -> Option<(f64, Option<f64>)> {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    match values.len() {
        0 => None,
        1 => Some((mean, None)),
        _ => Some((mean, Some((squares / (n - 1.0) / n).sqrt()))),
    }
}

/// The 99.5 % quantile of Student's distribution with this many degrees of freedom: within so many standard errors on either
/// side lie 99 of 100. The first ten are from published tables; the others by the expansion of Cornish and Fisher, which is
/// exact to a thousandth there (Abramowitz and Stegun, 26.7.5).
fn student_99(freedom: usize) -> f64 {
    const FEW: [f64; 10] = [63.657, 9.925, 5.841, 4.604, 4.032, 3.707, 3.499, 3.355, 3.250, 3.169];
    let (z, n) = (2.575_829_f64, freedom as f64);
    let many = || {
        let terms = [
            (z.powi(3) + z) / 4.0,
            (5.0 * z.powi(5) + 16.0 * z.powi(3) + 3.0 * z) / 96.0,
            (3.0 * z.powi(7) + 19.0 * z.powi(5) + 17.0 * z.powi(3) - 15.0 * z) / 384.0,
        ];
        z + terms[0] / n + terms[1] / n.powi(2) + terms[2] / n.powi(3)
    };
    freedom.checked_sub(1).and_then(|i| FEW.get(i)).copied().unwrap_or_else(many)
}

/// How many values to leave out at either end, so that at most 2.5 % of experiments have the true median
/// below the first that is left: by the binomial distribution of n and 1/2.
fn outer(n: usize) -> usize {
    if n > 1000 {
        // Where binomial coefficients leave the range of f64, the normal distribution is exact enough.
        return (n as f64 / 2.0 - 0.98 * (n as f64).sqrt()) as usize - 1;
    }
    // The coefficients n over i, each from the one before, and their sum, 2 to the power of n.
    let coefficients = (0..n).scan(1.0, |c, i| {
        let this = *c;
        *c *= (n - i) as f64 / (i + 1) as f64;
        Some(this)
    });
    let all = (0..n).fold(1.0, |power, _| power * 2.0);
    let below = coefficients.scan(0.0, |sum, c| {
        *sum += c / all;
        Some(*sum)
    });
    below.take_while(|&p| p <= 0.025).count().saturating_sub(1)
}

fn sorted(values: &[f64]) -> Option<Vec<f64>> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    (!sorted.is_empty()).then_some(sorted)
}

fn median(sorted: &[f64]) -> f64 {
    quantile(sorted, 0.5)
}

/// Linear between the two values beside it.
fn quantile(sorted: &[f64], q: f64) -> f64 {
    let at = q * (sorted.len() - 1) as f64;
    let (below, above) = (sorted[at.floor() as usize], sorted[at.ceil() as usize]);
    below + (above - below) * at.fract()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn to(n: usize) -> Vec<f64> {
        (1..=n).rev().map(|i| i as f64).collect()
    }

    #[test]
    fn quartiles_of_one_to_nine_are_three_five_seven() {
        assert_eq!(Spread::quartiles(&to(9)), Some(Spread { median: 5.0, low: 3.0, high: 7.0 }));
        assert_eq!(Spread::quartiles(&to(4)), Some(Spread { median: 2.5, low: 1.75, high: 3.25 }));
        assert_eq!(Spread::quartiles(&[]), None);
    }

    #[test]
    fn quantiles_of_student_agree_with_the_tables() {
        for (freedom, quantile) in
            [(1, 63.657), (4, 4.604), (10, 3.169), (11, 3.106), (15, 2.947), (30, 2.750), (120, 2.617)]
        {
            assert!((student_99(freedom) - quantile).abs() < 0.0015, "{freedom}: {}", student_99(freedom));
        }
    }

    #[test]
    fn an_estimate_is_the_mean_over_starts_of_the_median_of_slices() {
        let starts = [vec![0.5, 0.5, 100.0], vec![0.5], vec![0.5, 0.5]];
        assert_eq!(
            Estimate::over_starts(&starts),
            Some(Estimate { ratio: 0.5, low: Some(0.5), high: Some(0.5) })
        );
        let inverse = Estimate::over_starts(&[vec![2.0], vec![0.5]]).unwrap();
        assert!((inverse.ratio - 1.0).abs() < 1e-12, "a ratio and its inverse weigh the same: {inverse:?}");
        assert_eq!(inverse.differs_from_one(), Some(Ordering::Equal));
        let one_start = Estimate::over_starts(&[vec![2.0, 2.1]]).unwrap();
        assert_eq!((one_start.low, one_start.high, one_start.differs_from_one()), (None, None, None));
        assert_eq!(Estimate::over_starts(&[vec![], vec![]]), None);
    }

    #[test]
    fn errors_of_two_experiments_add_as_squares() {
        let estimate = |ratio: f64, error: f64| Estimate {
            ratio,
            low: Some(ratio / error.exp()),
            high: Some(ratio * error.exp()),
        };
        let times = estimate(1.2, 0.03).over(&estimate(1.0, 0.04));
        assert!(
            (times.ratio - 1.2).abs() < 1e-9 && (times.high.unwrap() / 1.2 - 0.05_f64.exp()).abs() < 1e-9
        );
        let one_start = Estimate { low: None, high: None, ..Estimate::ONE };
        assert_eq!(estimate(1.2, 0.03).over(&one_start).high, None);
    }

    #[test]
    fn intervals_that_touch_are_not_apart() {
        let interval = |low, high| Estimate { ratio: 1.0, low: Some(low), high: Some(high) };
        assert_eq!(interval(0.9, 1.0).is_apart_from(&interval(1.0, 1.1)), Some(false));
        assert_eq!(interval(0.9, 0.99).is_apart_from(&interval(1.0, 1.1)), Some(true));
        assert_eq!(interval(1.2, 1.3).is_apart_from(&interval(1.0, 1.1)), Some(true));
        let one_start = Estimate { low: None, ..Estimate::ONE };
        assert_eq!(one_start.is_apart_from(&Estimate::ONE), None);
    }

    /// A normal variate, by the sum of twelve.
    fn normal(random: &mut fastrand::Rng) -> f64 {
        (0..12).map(|_| random.f64()).sum::<f64>() - 6.0
    }

    /// How many of 1000 experiments, in which the true ratio is 1, have an interval that contains 1. Each has so many starts
    /// of so many slices; `within` a start slices vary by that much, one of ten by five times as much, and starts by
    /// `between`.
    fn covered(starts: usize, slices: usize, within: f64, between: f64) -> usize {
        let mut random = fastrand::Rng::with_seed(7);
        let mut start = || {
            let own = between * normal(&mut random);
            let slice = |random: &mut fastrand::Rng| {
                let scale = if random.u8(..10) == 0 { 5.0 } else { 1.0 };
                (own + within * scale * normal(random)).exp()
            };
            (0..slices).map(|_| slice(&mut random)).collect::<Vec<_>>()
        };
        let mut experiment = || (0..starts).map(|_| start()).collect::<Vec<_>>();
        let contains_one = |starts: &[Vec<f64>]| {
            Estimate::over_starts(starts).unwrap().differs_from_one() == Some(Ordering::Equal)
        };
        (0..1000).filter(|_| contains_one(&experiment())).count()
    }

    /// The seed is fixed, so this is no matter of luck. Of 1000 experiments 990 are expected, give or take 9 (three standard
    /// deviations).
    #[test]
    fn the_interval_holds_the_truth_in_99_of_100_experiments_wherever_the_noise_comes_from() {
        for (starts, slices) in [(5, 5), (8, 3), (20, 3)] {
            for (within, between) in [(0.03, 0.0), (0.03, 0.01), (0.01, 0.01), (0.001, 0.01)] {
                let n = covered(starts, slices, within, between);
                assert!(
                    n >= 981,
                    "{n} of 1000 with {starts} starts, {within} within, {between} between them"
                );
            }
        }
    }

    /// Why the interval is not that of a bootstrap: with eight starts that differ, it holds the truth in fewer than 98 of 100
    /// experiments, where it should in 99.
    #[test]
    fn a_bootstrap_over_starts_and_slices_holds_the_truth_too_rarely_when_starts_differ() {
        let mut random = fastrand::Rng::with_seed(7);
        let mut experiment = || {
            let starts: Vec<Vec<f64>> = (0..8)
                .map(|_| {
                    let own = 0.01 * normal(&mut random);
                    (0..3).map(|_| own + 0.001 * normal(&mut random)).collect()
                })
                .collect();
            let mut resampled = || {
                let mut sum = 0.0;
                for _ in 0..starts.len() {
                    let start = &starts[random.usize(..starts.len())];
                    let slices: Vec<_> =
                        (0..start.len()).map(|_| start[random.usize(..start.len())]).collect();
                    sum += median(&sorted(&slices).unwrap());
                }
                sum
            };
            let means = sorted(&(0..400).map(|_| resampled()).collect::<Vec<_>>()).unwrap();
            quantile(&means, 0.005) <= 0.0 && quantile(&means, 0.995) >= 0.0
        };
        let covered = (0..1000).filter(|_| experiment()).count();
        assert!(covered < 980, "{covered} of 1000");
    }

    /// Starting again until the interval is narrow looks at the data, and could end by luck. With eight starts before the
    /// first look it does not do much harm.
    #[test]
    fn an_interval_that_was_narrowed_by_more_starts_still_holds_the_truth() {
        let mut random = fastrand::Rng::with_seed(7);
        let mut holds = || {
            let mut start = || vec![(0.012 * normal(&mut random)).exp()];
            let mut starts: Vec<_> = (0..8).map(|_| start()).collect();
            let estimate = |starts: &[Vec<f64>]| Estimate::over_starts(starts).unwrap();
            while starts.len() < 60 && estimate(&starts).half_width().unwrap() > 0.01 {
                starts.push(start());
            }
            estimate(&starts).differs_from_one() == Some(Ordering::Equal)
        };
        let covered = (0..1000).filter(|_| holds()).count();
        assert!(covered >= 975, "{covered} of 1000");
    }

    /// From published tables of binomial confidence limits for the median.
    #[test]
    fn the_interval_of_the_median_agrees_with_the_tables() {
        for (n, low, high) in [(6, 1, 6), (10, 2, 9), (20, 6, 15), (40, 14, 27), (100, 40, 61)] {
            let spread = Spread::of_median(&to(n)).unwrap();
            assert_eq!((spread.low, spread.high), (f64::from(low), f64::from(high)), "n = {n}");
        }
        assert_eq!(Spread::of_median(&[7.0]), Some(Spread { median: 7.0, low: 7.0, high: 7.0 }));
        assert_eq!(outer(1000), (500.0 - 0.98 * 1000f64.sqrt()) as usize - 1, "the two ways meet");
        assert!(
            Spread::of_median(&to(5000))
                .is_some_and(|s| s.low > 2400.0 && s.low <= 2500.5 && s.high >= 2500.5)
        );
    }

    fn ratios() -> impl Strategy<Value = Vec<Vec<f64>>> {
        proptest::collection::vec(proptest::collection::vec(0.01..100.0, 0..6), 0..8)
    }

    /// Equal, but for what sums in another order change.
    fn is_near(a: Option<f64>, b: Option<f64>) -> bool {
        a.zip(b).map_or(a == b, |(a, b)| (a / b - 1.0).abs() < 1e-9)
    }

    proptest! {
        #[test]
        fn an_interval_contains_its_median_and_lies_within_the_values(
            values in proptest::collection::vec(-1e9..1e9, 1..60),
        ) {
            let sorted = sorted(&values).unwrap();
            for spread in [Spread::quartiles(&values).unwrap(), Spread::of_median(&values).unwrap()] {
                let all = [sorted[0], spread.low, spread.median, spread.high, sorted[sorted.len() - 1]];
                prop_assert!(all.is_sorted(), "{:?}", all);
            }
            prop_assert_eq!(Spread::of_median(&values), Spread::of_median(&sorted), "the order does not matter");
        }

        #[test]
        fn an_interval_contains_its_ratio_and_turns_round_with_it(starts in ratios()) {
            let estimate = Estimate::over_starts(&starts);
            let measured = starts.iter().filter(|start| !start.is_empty()).count();
            prop_assert_eq!(estimate.is_some(), measured > 0);
            let Some(estimate) = estimate else { return Ok(()) };
            prop_assert_eq!(estimate.low.is_some(), measured > 1, "one start has no interval");
            let (low, high) = (estimate.low.unwrap_or(0.0), estimate.high.unwrap_or(f64::INFINITY));
            prop_assert!(low <= estimate.ratio && estimate.ratio <= high, "{:?}", estimate);
            let all = || starts.iter().flatten().copied();
            let (least, most) = (all().fold(f64::INFINITY, f64::min), all().fold(0.0, f64::max));
            prop_assert!(least * 0.999 <= estimate.ratio && estimate.ratio <= most * 1.001, "{:?}", estimate);

            // The same data give the same, in any order; the inverse ratios give the inverse.
            prop_assert_eq!(Estimate::over_starts(&starts), Some(estimate));
            let turned: Vec<Vec<f64>> =
                starts.iter().rev().map(|start| start.iter().rev().copied().collect()).collect();
            let turned = Estimate::over_starts(&turned).unwrap();
            let inverse: Vec<Vec<f64>> =
                starts.iter().map(|start| start.iter().map(|ratio| 1.0 / ratio).collect()).collect();
            let inverse = Estimate::over_starts(&inverse).unwrap();
            for (one, other) in [
                (Some(turned.ratio), Some(estimate.ratio)),
                (turned.low, estimate.low),
                (turned.high, estimate.high),
                (Some(1.0 / inverse.ratio), Some(estimate.ratio)),
                (inverse.high.map(f64::recip), estimate.low),
                (inverse.low.map(f64::recip), estimate.high),
            ] {
                prop_assert!(is_near(one, other), "{:?} and {:?}", one, other);
            }

            // One over the other contains its ratio as well, and is not apart from itself.
            let over = estimate.over(&turned);
            prop_assert!(is_near(Some(over.ratio), Some(1.0)));
            prop_assert!(over.low.unwrap_or(0.0) <= over.ratio && over.ratio <= over.high.unwrap_or(f64::INFINITY));
            prop_assert_eq!(estimate.is_apart_from(&estimate), estimate.low.map(|_| false));
        }
    }
}
