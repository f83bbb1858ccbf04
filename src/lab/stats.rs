//! The few statistics that a comparison needs: order statistics only, because noise of machines has
//! long tails that means and standard deviations do not survive.

use serde::Serialize;

/// A median and what lies around it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Spread {
    /// Half of the values are below.
    pub median: f64,
    /// See the function that made it.
    pub low: f64,
    /// See the function that made it.
    pub high: f64,
}

impl Spread {
    /// Of something to itself.
    pub const ONE: Spread = Spread { median: 1.0, low: 1.0, high: 1.0 };

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

    fn to(n: usize) -> Vec<f64> {
        (1..=n).rev().map(|i| i as f64).collect()
    }

    #[test]
    fn quartiles_of_one_to_nine_are_three_five_seven() {
        assert_eq!(Spread::quartiles(&to(9)), Some(Spread { median: 5.0, low: 3.0, high: 7.0 }));
        assert_eq!(Spread::quartiles(&to(4)), Some(Spread { median: 2.5, low: 1.75, high: 3.25 }));
        assert_eq!(Spread::quartiles(&[]), None);
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
}
