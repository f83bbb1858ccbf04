//! From numbers to places on an axis, and the numbers that are written on it.

use crate::lab::units;

/// The share of a logarithmic axis that is kept for 0, which has no logarithm.
const ZERO_SHARE: f64 = 0.12;

/// How far a logarithmic axis goes on beyond the data on both sides, as a share of its length.
const MARGIN: f64 = 0.04;

/// An axis whose data are all the same goes from that divided by this to that times this.
const ALONE: f64 = 1.25;

/// What the numbers of an axis are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// A number of things: `20k`.
    Count,
    /// A time in microseconds: `20 ms`.
    Micros,
    /// Bytes: `64 KiB`.
    Bytes,
    /// A ratio: `0.5×`.
    Ratio,
    /// One of so many: 1/(1−q) for the quantile q, written in percent as `99.9 %`.
    OneIn,
}

/// Where the numbers of an axis are: 0 at its start, 1 at its end.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Scale {
    /// Equal differences are equally long.
    Linear {
        /// At the start.
        from: f64,
        /// At the end.
        to: f64,
    },
    /// Equal ratios are equally long.
    Log {
        /// At the start, or after the place of 0.
        from: f64,
        /// At the end.
        to: f64,
        /// Whether 0 has a place, before the others.
        zero: bool,
    },
}

impl Scale {
    /// From 0 to a round number that is not below any of `values`.
    #[must_use]
    pub fn from_zero(values: impl IntoIterator<Item = f64>) -> Scale {
        let most = finite(values).fold(0.0, f64::max);
        let to = if most > 0.0 { (most / step(most)).ceil() * step(most) } else { 1.0 };
        Scale::Linear { from: 0.0, to }
    }

    /// Around all of `values` that are above 0. If one is 0, it has a place of its own.
    #[must_use]
    pub fn log(values: impl IntoIterator<Item = f64>) -> Scale {
        let (mut from, mut to, mut zero) = (f64::INFINITY, 0.0, false);
        for value in finite(values) {
            zero |= value == 0.0;
            if value > 0.0 {
                (from, to) = (value.min(from), value.max(to));
            }
        }
        if to == 0.0 {
            (from, to) = (1.0, 1.0);
        }
        if from == to {
            (from, to) = (from / ALONE, to * ALONE);
        }
        let margin = (to / from).powf(MARGIN);
        Scale::Log { from: if zero { from } else { from / margin }, to: to * margin, zero }
    }

    /// Where `value` is, from 0 to 1. What lies outside is put at the end that is nearer.
    #[must_use]
    pub fn at(&self, value: f64) -> f64 {
        let at = match *self {
            Scale::Linear { from, to } => (value - from) / (to - from),
            Scale::Log { zero: true, .. } if value <= 0.0 => 0.0,
            Scale::Log { from, to, zero } => {
                let share = (value / from).log10() / (to / from).log10();
                if zero { ZERO_SHARE + (1.0 - ZERO_SHARE) * share } else { share }
            }
        };
        at.clamp(0.0, 1.0)
    }

    /// Round numbers to write on the axis, each with its text: the most for which `fits` says that there is room.
    pub fn ticks(&self, unit: Unit, fits: impl Fn(&[(f64, String)]) -> bool) -> Vec<(f64, String)> {
        let sets = self.candidates(unit).into_iter();
        let labelled = sets.map(|set| set.into_iter().map(|v| (v, unit.text(v))).collect::<Vec<_>>());
        let mut last = Vec::new();
        for ticks in labelled {
            if !ticks.is_empty() && fits(&ticks) {
                return ticks;
            }
            if !ticks.is_empty() {
                last = ticks;
            }
        }
        // Not even the fewest fit: one of them does.
        last.truncate(1);
        last
    }

    /// Sets of round numbers on the axis, from many to few.
    fn candidates(&self, unit: Unit) -> Vec<Vec<f64>> {
        match *self {
            Scale::Linear { from, to } => {
                let steps = [1.0, 2.0, 4.0].map(|more| step((to - from) * more));
                steps.map(|step| multiples(from, to, step)).to_vec()
            }
            Scale::Log { from, to, zero } => {
                let inside = |values: Vec<f64>| -> Vec<f64> {
                    let within = values.into_iter().filter(|&v| v >= from * 0.999 && v <= to * 1.001);
                    zero.then_some(0.0).into_iter().chain(within).collect()
                };
                let base = if unit == Unit::Bytes { 2.0 } else { 10.0 };
                if to / from < if unit == Unit::Bytes { 4.0 } else { 10.0 } {
                    // There are not enough powers: equal steps are round numbers as well.
                    let steps = [1.0, 2.0, 4.0, 8.0].map(|more| match unit {
                        Unit::Bytes => ((to - from) * more / 5.0).log2().floor().exp2(),
                        _ => step((to - from) * more),
                    });
                    let mut sets = steps.map(|step| inside(multiples(from, to, step))).to_vec();
                    sets.insert(2, inside(powers(from, to, 2.0, 1, &[1.0])));
                    return sets;
                }
                let sets: &[&[f64]] = match unit {
                    Unit::Bytes | Unit::OneIn => &[&[1.0]],
                    _ => &[&[1.0, 2.0, 5.0], &[1.0, 3.0], &[1.0]],
                };
                let dense = sets.iter().map(|&set| inside(powers(from, to, base, 1, set)));
                let sparse = [2, 3, 4, 6, 10].map(|every| inside(powers(from, to, base, every, &[1.0])));
                dense.chain(sparse).collect()
            }
        }
    }
}

impl Unit {
    /// A number of an axis, as short as it can be.
    #[must_use]
    pub fn text(self, value: f64) -> String {
        match self {
            Unit::Count => si(value),
            Unit::Ratio => format!("{}×", short(value)),
            Unit::OneIn => format!("{} %", short((1.0 - 1.0 / value) * 100.0)),
            Unit::Bytes if value < 1024.0 => format!("{} B", short(value)),
            Unit::Bytes => spaced(value, 1024.0, &["B", "KiB", "MiB", "GiB", "TiB"]),
            Unit::Micros if value < 1.0 && value > 0.0 => format!("{} ns", short(value * 1e3)),
            Unit::Micros => spaced(value, 1e3, &["µs", "ms", "s"]),
        }
    }
}

/// A value beside the chart, with the digits that it has.
#[must_use]
pub fn measured(unit: Unit, value: f64) -> String {
    match unit {
        Unit::Micros => units::micros(value),
        Unit::Bytes => units::bytes(value.round().max(0.0) as u64),
        Unit::Ratio => format!("{value:.2}"),
        Unit::Count | Unit::OneIn => units::rate(value),
    }
}

/// A number with an SI prefix: `0.5`, `20`, `1.5k`, `2M`.
fn si(value: f64) -> String {
    scaled(value, 1e3, &["", "k", "M", "G", "T"])
}

fn spaced(value: f64, base: f64, units: &[&str]) -> String {
    let text = scaled(value, base, units);
    let at = text.find(|c: char| c.is_alphabetic()).unwrap_or(text.len());
    format!("{} {}", &text[..at], &text[at..])
}

fn scaled(mut value: f64, base: f64, units: &[&str]) -> String {
    let mut units = units.iter();
    let mut unit = units.next().copied().unwrap_or_default();
    while value.abs() >= base * 0.999_95 {
        let Some(next) = units.next() else { break };
        (value, unit) = (value / base, next);
    }
    format!("{}{unit}", short(value))
}

/// At most five digits, without zeros at the end.
fn short(value: f64) -> String {
    let text = match value.abs() {
        ..1.0 => format!("{value:.4}"),
        ..10.0 => format!("{value:.3}"),
        _ => format!("{value:.4}"),
    };
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// The largest of 1, 2 and 5 times a power of ten that goes at least five times into `length`.
fn step(length: f64) -> f64 {
    let power = 10f64.powf((length / 5.0).log10().floor());
    let most = length / 5.0 / power * 1.000_01;
    let digit = [5.0, 2.0].into_iter().find(|&digit| digit <= most).unwrap_or(1.0);
    digit * power
}

fn multiples(from: f64, to: f64, step: f64) -> Vec<f64> {
    let (first, last) = ((from / step - 1e-6).ceil() as i64, (to / step + 1e-6).floor() as i64);
    (first..=last).map(|i| i as f64 * step).collect()
}

/// Each of `digits` times every so manieth power of `base`.
fn powers(from: f64, to: f64, base: f64, every: i32, digits: &[f64]) -> Vec<f64> {
    let exponent = |value: f64| (value.log10() / base.log10()).floor() as i32;
    let exponents = (exponent(from)..=exponent(to) + 1).filter(|e| e.rem_euclid(every) == 0);
    exponents.flat_map(|e| digits.iter().map(move |digit| digit * base.powi(e))).collect()
}

fn finite(values: impl IntoIterator<Item = f64>) -> impl Iterator<Item = f64> {
    values.into_iter().filter(|value| value.is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(scale: Scale, unit: Unit, most: usize) -> Vec<String> {
        scale.ticks(unit, |ticks| ticks.len() <= most).into_iter().map(|(_, text)| text).collect()
    }

    #[test]
    fn a_linear_scale_begins_at_0_and_ends_at_a_round_number() {
        assert_eq!(Scale::from_zero([238_000.0, 3.0]), Scale::Linear { from: 0.0, to: 240_000.0 });
        assert_eq!(Scale::from_zero([]), Scale::Linear { from: 0.0, to: 1.0 });
        assert_eq!(Scale::from_zero([f64::NAN, 5.0]), Scale::Linear { from: 0.0, to: 5.0 });
        assert_eq!(Scale::from_zero([10.0]).at(5.0), 0.5);
    }

    #[test]
    fn a_logarithmic_scale_gives_each_decade_the_same_length() {
        let scale = Scale::Log { from: 1.0, to: 1000.0, zero: false };
        for (value, at) in [(1.0, 0.0), (10.0, 1.0 / 3.0), (100.0, 2.0 / 3.0), (1000.0, 1.0)] {
            assert!((scale.at(value) - at).abs() < 1e-9, "{value}");
        }
    }

    #[test]
    fn zero_has_a_place_before_the_others_on_a_logarithmic_scale() {
        let scale = Scale::log([0.0, 100.0, 9000.0]);
        assert_eq!(scale.at(0.0), 0.0);
        assert!((scale.at(100.0) - ZERO_SHARE).abs() < 1e-9);
        assert!(scale.at(9000.0) > 0.9);
        assert_eq!(texts(scale, Unit::Count, 5), ["0", "100", "1k", "10k"]);
    }

    #[test]
    fn every_scale_has_a_place_for_what_it_was_made_of() {
        for values in [&[1.0][..], &[0.0], &[], &[1e-9, 1e9], &[0.999, 1.001], &[f64::INFINITY, 2.0]] {
            for scale in [Scale::log(values.iter().copied()), Scale::from_zero(values.iter().copied())] {
                for &value in values {
                    assert!((0.0..=1.0).contains(&scale.at(value)), "{value} on {scale:?}");
                }
                for unit in [Unit::Count, Unit::Micros, Unit::Bytes, Unit::Ratio, Unit::OneIn] {
                    let ticks = scale.ticks(unit, |ticks| ticks.len() <= 12);
                    assert!(
                        ticks.iter().all(|(v, text)| v.is_finite() && !text.contains("NaN")),
                        "{scale:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn ticks_are_round_numbers() {
        let rate = Scale::from_zero([240_000.0]);
        assert_eq!(texts(rate, Unit::Count, 9), ["0", "50k", "100k", "150k", "200k"]);
        let ratio = Scale::Log { from: 0.5, to: 2.1, zero: false };
        assert_eq!(texts(ratio, Unit::Ratio, 4), ["0.5×", "1×", "1.5×", "2×"]);
        let skewed = Scale::Log { from: 0.24, to: 1.6, zero: false };
        let apart = |ticks: &[(f64, String)]| {
            ticks.windows(2).all(|pair| skewed.at(pair[1].0) - skewed.at(pair[0].0) > 0.25)
        };
        let ticks = skewed.ticks(Unit::Ratio, apart);
        assert_eq!(ticks.iter().map(|tick| tick.1.as_str()).collect::<Vec<_>>(), ["0.25×", "0.5×", "1×"]);
        let latency = Scale::Log { from: 10.0, to: 40_000.0, zero: false };
        assert_eq!(texts(latency, Unit::Micros, 5), ["10 µs", "100 µs", "1 ms", "10 ms"]);
        let memory = Scale::Log { from: 1024.0, to: 4194304.0, zero: false };
        assert_eq!(texts(memory, Unit::Bytes, 5), ["4 KiB", "32 KiB", "256 KiB", "2 MiB"]);
        let close = Scale::Log { from: 4200.0, to: 4700.0, zero: false };
        assert_eq!(texts(close, Unit::Bytes, 5), ["4.125 KiB", "4.25 KiB", "4.375 KiB", "4.5 KiB"]);
        let quantiles = Scale::Log { from: 1.0, to: 10_000.0, zero: false };
        assert_eq!(texts(quantiles, Unit::OneIn, 9), ["0 %", "90 %", "99 %", "99.9 %", "99.99 %"]);
    }

    #[test]
    fn there_are_never_more_ticks_than_fit() {
        for most in 1..20 {
            for scale in [Scale::from_zero([77.0]), Scale::log([0.0, 3.0, 8e6]), Scale::log([0.97, 1.02])] {
                assert!(texts(scale, Unit::Count, most).len() <= most, "{scale:?}, {most}");
            }
        }
    }

    #[test]
    fn numbers_have_si_prefixes() {
        for (value, text) in
            [(0.0, "0"), (0.5, "0.5"), (20.0, "20"), (1500.0, "1.5k"), (2e6, "2M"), (0.0625, "0.0625")]
        {
            assert_eq!(si(value), text);
        }
        assert_eq!(Unit::Micros.text(0.2), "200 ns");
        assert_eq!(Unit::Bytes.text(512.0), "512 B");
    }
}
