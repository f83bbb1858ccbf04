//! Numbers as people read them: `152,056`, `45.3 µs`, `133 ms`, `3.0 MiB`, `1 connection`.

pub mod parse;

/// What stands for a number that nobody has measured.
pub const UNKNOWN: &str = "–";

/// A count: `152,056`.
#[must_use]
pub fn count(n: u64) -> String {
    grouped(&n.to_string())
}

/// How many of something: `1 connection`, `64 connections`, `2 addresses`.
#[must_use]
pub fn of(n: u64, one: &str) -> String {
    format!("{} {}", count(n), plural(n, one))
}

/// The word for so many, without the number.
#[must_use]
pub fn plural(n: u64, one: &str) -> String {
    match n {
        1 => one.to_owned(),
        _ if one.ends_with('s') => format!("{one}es"),
        _ => format!("{one}s"),
    }
}

/// A rate per second, without the words: `152,056`; small rates have decimals, `0.4`.
#[must_use]
pub fn rate(per_s: f64) -> String {
    // More than a tenth of a percent is written.
    let text = if per_s < 9.995 { format!("{per_s:.2}") } else { format!("{per_s:.0}") };
    match text.split_once('.') {
        Some(_) => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        None => grouped(&text),
    }
}

/// A time in microseconds, with three digits and the unit that fits: `45.3 µs`, `133 ms`, `1.20 s`.
#[must_use]
pub fn micros(us: f64) -> String {
    if us == 0.0 {
        return "0 µs".to_owned();
    }
    let (value, unit) = match us {
        ..999.5 => (us, "µs"),
        ..999_500.0 => (us / 1e3, "ms"),
        _ => (us / 1e6, "s"),
    };
    format!("{} {unit}", three_digits(value))
}

/// A time in seconds: as [`micros`].
#[must_use]
pub fn seconds(s: f64) -> String {
    micros(s * 1e6)
}

/// A latency in microseconds, as [`micros`]; [`UNKNOWN`] when nothing was measured.
#[must_use]
pub fn latency(us: Option<f64>) -> String {
    us.map_or_else(|| UNKNOWN.to_owned(), micros)
}

/// An amount of memory or data: `512 B`, `60.4 KiB`, `3.0 MiB`.
#[must_use]
pub fn bytes(n: u64) -> String {
    let value = n as f64;
    let (value, unit) = match n {
        ..1024 => return format!("{n} B"),
        _ if value < 1023.95 * 1024.0 => (value / 1024.0, "KiB"),
        _ if value < 1023.95 * 1048576.0 => (value / 1048576.0, "MiB"),
        _ => (value / 1073741824.0, "GiB"),
    };
    let text = format!("{value:.1}");
    match text.split_once('.') {
        Some((whole, tenth)) => format!("{}.{tenth} {unit}", grouped(whole)),
        None => format!("{text} {unit}"),
    }
}

fn three_digits(value: f64) -> String {
    match value {
        ..9.995 => format!("{value:.2}"),
        ..99.95 => format!("{value:.1}"),
        _ => grouped(&format!("{value:.0}")),
    }
}

/// A comma after each third digit from the right.
fn grouped(digits: &str) -> String {
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_grouped_by_thousands() {
        for (n, text) in [(0, "0"), (999, "999"), (1000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(count(n), text);
        }
    }

    #[test]
    fn there_is_one_of_one() {
        assert_eq!(of(1, "connection"), "1 connection");
        assert_eq!(of(0, "connection"), "0 connections");
        assert_eq!(of(2000, "address"), "2,000 addresses");
    }

    #[test]
    fn small_rates_have_decimals() {
        for (rate_per_s, text) in
            [(0.0, "0"), (0.4, "0.4"), (0.001, "0"), (9.99, "9.99"), (10.0, "10"), (152_056.4, "152,056")]
        {
            assert_eq!(rate(rate_per_s), text);
        }
    }

    #[test]
    fn times_have_three_digits_and_the_unit_that_fits() {
        for (us, text) in [
            (0.0, "0 µs"),
            (0.05, "0.05 µs"),
            (45.34, "45.3 µs"),
            (416.0, "416 µs"),
            (999.4, "999 µs"),
            (999.6, "1.00 ms"),
            (4764.0, "4.76 ms"),
            (133_038.1, "133 ms"),
            (999_600.0, "1.00 s"),
            (1_200_000.0, "1.20 s"),
            (68_690_000.0, "68.7 s"),
            (3_600_000_000.0, "3,600 s"),
        ] {
            assert_eq!(micros(us), text);
        }
        assert_eq!(seconds(0.0015), "1.50 ms");
        assert_eq!(latency(None), "–");
    }

    #[test]
    fn memory_is_in_powers_of_1024() {
        for (n, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (61_850, "60.4 KiB"),
            (3 << 20, "3.0 MiB"),
            ((1 << 30) - 1, "1.0 GiB"),
            (5000 << 30, "5,000.0 GiB"),
        ] {
            assert_eq!(bytes(n), text);
        }
    }
}
