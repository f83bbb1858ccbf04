//! A histogram as the text that HdrHistogram's plotter draws (`.hgrm`): value, percentile, count.
//!
//! Line for line and digit for digit what Java's `AbstractHistogram.outputPercentileDistribution`
//! prints with five ticks a half-distance, so that files of this program and of others go into one
//! plot: <https://hdrhistogram.github.io/HdrHistogram/plotFiles.html>.
//!
//! The crate's `iter_quantiles` walks the same percentiles, but counts from 0 to 1 in steps that a double cannot hold. Three
//! steps of 0.1 are a little more than 0.3, and it names the fourth of ten values as their 30th percentile. Steps of
//! 100 / 10, 100 / 20 and so on are exact.

use hdrhistogram::Histogram;
use std::fmt::Write;

/// Rows in each half of the distance that is left to 100 %.
const TICKS_PER_HALF_DISTANCE: u64 = 5;

/// Write the percentile distribution of a histogram in nanoseconds, its values in units of `unit_ns`:
/// 1000 gives microseconds.
#[must_use]
pub fn text(histogram: &Histogram<u64>, unit_ns: f64) -> String {
    let places = usize::from(histogram.sigfig());
    let scaled = |value: f64| fixed(value / unit_ns, places);
    let mut out =
        format!("{:>12} {:>14} {:>10} {:>14}\n\n", "Value", "Percentile", "TotalCount", "1/(1-Percentile)");
    for Row { value, level, count } in rows(histogram) {
        let share = level / 100.0;
        let row = format!("{:>12} {} {count:>10}", scaled(value as f64), fixed(share, 12));
        if level < 100.0 {
            line(&mut out, format_args!("{row} {:>14}", fixed(1.0 / (1.0 - share), 2)));
        } else {
            line(&mut out, format_args!("{row}"));
        }
    }
    let (mean, deviation) = mean_and_deviation(histogram);
    let (mean, deviation, max) = (scaled(mean), scaled(deviation), scaled(histogram.max() as f64));
    line(&mut out, format_args!("#[Mean    = {mean:>12}, StdDeviation   = {deviation:>12}]"));
    line(&mut out, format_args!("#[Max     = {max:>12}, Total count    = {:>12}]", histogram.len()));
    let (buckets, sub_buckets) = (histogram.buckets(), sub_buckets(histogram));
    line(&mut out, format_args!("#[Buckets = {buckets:>12}, SubBuckets     = {sub_buckets:>12}]"));
    out
}

fn line(out: &mut String, text: std::fmt::Arguments<'_>) {
    writeln!(out, "{text}").expect("a String takes everything");
}

struct Row {
    value: u64,
    /// The percentile that was looked for; that of the value may be higher.
    level: f64,
    /// Of this value and all below.
    count: u64,
}

fn rows(histogram: &Histogram<u64>) -> Vec<Row> {
    let mut rows = Vec::new();
    let (mut level, mut count) = (0.0, 0_u64);
    for bin in histogram.iter_recorded() {
        count = count.saturating_add(bin.count_at_value());
        let value = bin.value_iterated_to();
        if count == histogram.len() {
            // One row at the level where the others stopped, and the last: Java skips the endless
            // levels between, which all have the same value.
            if level < 100.0 {
                rows.push(Row { value, level, count });
            }
            rows.push(Row { value, level: 100.0, count });
            break;
        }
        let reached = 100.0 * count as f64 / histogram.len() as f64;
        // With more than 2^53 counts, `reached` is rounded to 100 before the last value.
        while level <= reached && level < 100.0 {
            rows.push(Row { value, level, count });
            level = next(level);
        }
    }
    rows
}

/// The next percentile to look for. `level` is below 100, and the step to the next may be too small to
/// be seen so near to 100. Java would never end there.
fn next(level: f64) -> f64 {
    let halvings = (100.0 / (100.0 - level)).log2() as u64;
    let ticks = TICKS_PER_HALF_DISTANCE << (halvings + 1);
    let next = level + 100.0 / ticks as f64;
    if next > level { next } else { 100.0 }
}

/// Both over the middles of the bins, as Java does.
fn mean_and_deviation(histogram: &Histogram<u64>) -> (f64, f64) {
    if histogram.is_empty() {
        return (0.0, 0.0);
    }
    let all = histogram.len() as f64;
    let bins = || {
        histogram.iter_recorded().map(|bin| {
            (histogram.median_equivalent(bin.value_iterated_to()) as f64, bin.count_at_value() as f64)
        })
    };
    let mean = bins().map(|(value, count)| value * count).sum::<f64>() / all;
    let squares = bins().map(|(value, count)| (value - mean) * (value - mean) * count).sum::<f64>();
    (mean, (squares / all).sqrt())
}

/// Values that the lowest bucket tells apart. Each other bucket has half of them, its upper half.
fn sub_buckets(histogram: &Histogram<u64>) -> usize {
    2 * histogram.distinct_values() / (usize::from(histogram.buckets()) + 1)
}

/// With so many decimals, rounded as Java does: what looks halfway in decimal goes up. Rust and C look at
/// the binary number: 1.2345 is stored a little below and would become 1.234, and 0.125 would become 0.12.
fn fixed(number: f64, places: usize) -> String {
    let shortest = number.to_string();
    let halfway = shortest
        .strip_suffix('5')
        .filter(|up_to_it| up_to_it.split_once('.').is_some_and(|(_, decimals)| decimals.len() == places));
    let number = halfway.and_then(|up_to_it| format!("{up_to_it}6").parse().ok()).unwrap_or(number);
    format!("{number:.places$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn histogram(values: impl IntoIterator<Item = u64>) -> Histogram<u64> {
        let mut histogram = Histogram::<u64>::new_with_bounds(1, 60_000_000_000, 3).unwrap();
        values.into_iter().for_each(|value| histogram.record(value).unwrap());
        histogram
    }

    #[test]
    fn a_small_histogram_is_printed_as_java_prints_it() {
        let text = text(&histogram((1..=10).map(|n| n * 100)), 1000.0);
        let expected = "       Value     Percentile TotalCount 1/(1-Percentile)

       0.100 0.000000000000          1           1.00
       0.100 0.100000000000          1           1.11
       0.200 0.200000000000          2           1.25
       0.300 0.300000000000          3           1.43
       0.400 0.400000000000          4           1.67
       0.500 0.500000000000          5           2.00
       0.600 0.550000000000          6           2.22
       0.600 0.600000000000          6           2.50
       0.700 0.650000000000          7           2.86
       0.700 0.700000000000          7           3.33
       0.800 0.750000000000          8           4.00
       0.800 0.775000000000          8           4.44
       0.800 0.800000000000          8           5.00
       0.900 0.825000000000          9           5.71
       0.900 0.850000000000          9           6.67
       0.900 0.875000000000          9           8.00
       0.900 0.887500000000          9           8.89
       0.900 0.900000000000          9          10.00
       1.000 0.912500000000         10          11.43
       1.000 1.000000000000         10
#[Mean    =        0.550, StdDeviation   =        0.287]
#[Max     =        1.000, Total count    =           10]
#[Buckets =           26, SubBuckets     =         2048]
";
        assert_eq!(text, expected);
    }

    #[test]
    fn an_empty_histogram_has_a_head_and_a_foot() {
        let expected = "       Value     Percentile TotalCount 1/(1-Percentile)

#[Mean    =        0.000, StdDeviation   =        0.000]
#[Max     =        0.000, Total count    =            0]
#[Buckets =           26, SubBuckets     =         2048]
";
        assert_eq!(text(&histogram([]), 1e3), expected);
    }

    #[test]
    fn decimals_follow_the_precision() {
        let mut histogram = Histogram::<u64>::new_with_bounds(1, 1_000_000, 2).unwrap();
        histogram.record(77).unwrap();
        let text = text(&histogram, 1.0);
        assert!(text.contains("       77.00 1.000000000000          1\n"), "{text}");
        assert!(text.ends_with("SubBuckets     =          256]\n"), "{text}");
    }

    #[test]
    fn levels_are_those_of_the_crates_iterator() {
        let histogram = histogram((0..100_000_u64).map(|n| n * n * 7 % 900_001 + n % 13 * 1_000_000));
        let theirs: Vec<f64> = histogram.iter_quantiles(5).map(|it| it.quantile_iterated_to()).collect();
        let ours: Vec<f64> = rows(&histogram).iter().map(|row| row.level / 100.0).collect();
        assert_eq!(ours.len(), theirs.len());
        assert!(ours.iter().zip(&theirs).all(|(a, b)| (a - b).abs() < 1e-12), "{ours:?} {theirs:?}");
    }

    #[test]
    fn counts_beyond_what_a_double_tells_apart_end_too() {
        let mut histogram = histogram([5000]);
        histogram.record_n(100, 1 << 60).unwrap();
        let rows = rows(&histogram);
        assert!(rows.len() < 500, "{}", rows.len());
        assert!(rows.is_sorted_by(|a, b| a.level < b.level));
        assert_eq!(rows.last().map(|row| row.count), Some((1 << 60) + 1));
    }

    #[test]
    fn halfway_goes_up() {
        assert_eq!(fixed(0.125, 2), "0.13", "C rounds to even: 0.12");
        assert_eq!(fixed(1.2345, 3), "1.235", "stored as 1.23449999…");
        assert_eq!(fixed(1.23449, 3), "1.234");
        assert_eq!(fixed(99.995, 2), "100.00");
        assert_eq!(fixed(5.0, 0), "5", "no decimals, and nothing to round");
        assert_eq!(fixed(45.0, 1), "45.0");
    }
}
