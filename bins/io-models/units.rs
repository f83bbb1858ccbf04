//! Durations and counts as people write them.

use std::time::Duration;

/// `40ms`, `1.5s`, `2m`: a number and a unit, us ms s m or h; more than nothing.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    match duration_or_none(text)? {
        Duration::ZERO => Err("it must be longer than that".to_owned()),
        duration => Ok(duration),
    }
}

/// The same, and `0s`.
pub(crate) fn duration_or_none(text: &str) -> Result<Duration, String> {
    let split = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let seconds = match unit {
        "us" => 1e-6,
        "ms" => 1e-3,
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        "" => return Err("the unit is missing: write 40ms, 5s or 2m".to_owned()),
        _ => return Err(format!("no such unit: {unit}; there are us, ms, s, m and h")),
    };
    let number: f64 = number.parse().map_err(|_| "write a number and a unit, such as 40ms".to_owned())?;
    match Duration::try_from_secs_f64(number * seconds) {
        Ok(duration) if duration <= Duration::from_secs(24 * 3600) => Ok(duration),
        _ => Err("at most a day".to_owned()),
    }
}

/// `64`, `10k`, `1m`: at least 1.
pub(crate) fn count(text: &str) -> Result<usize, String> {
    match count_or_none(text)? {
        0 => Err("it must be at least 1".to_owned()),
        number => Ok(number),
    }
}

/// The same, and 0.
pub(crate) fn count_or_none(text: &str) -> Result<usize, String> {
    let (number, times) = match text.strip_suffix(['k', 'm']) {
        Some(number) if text.ends_with('k') => (number, 1_000),
        Some(number) => (number, 1_000_000),
        None => (text, 1),
    };
    match number.parse::<usize>().ok().and_then(|number| number.checked_mul(times)) {
        Some(number) => Ok(number),
        None => Err("write a whole number, such as 64 or 10k".to_owned()),
    }
}

/// Bytes of a request: `64`, `16k`, at most 1 GiB.
pub(crate) fn size(text: &str) -> Result<u32, String> {
    match count(text)? {
        size if size <= 1 << 30 => Ok(size as u32),
        _ => Err(format!("at most {} bytes", 1 << 30)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_units_and_are_neither_nothing_nor_endless() {
        assert_eq!(duration("40ms"), Ok(Duration::from_millis(40)));
        assert_eq!(duration("1.5s"), Ok(Duration::from_millis(1500)));
        assert_eq!(duration("250us"), Ok(Duration::from_micros(250)));
        assert_eq!(duration("2m"), Ok(Duration::from_secs(120)));
        for bad in ["", "5", "s", "-1s", "0s", "5 s", "1e9h", "25h", "3days", "1.2.3s"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn counts_take_k_and_m_and_start_at_one() {
        assert_eq!(count("64"), Ok(64));
        assert_eq!(count("10k"), Ok(10_000));
        assert_eq!(count("2m"), Ok(2_000_000));
        for bad in ["0", "0k", "", "k", "-1", "1.5", "99999999999999999999", "99999999999999999m"] {
            assert!(count(bad).is_err(), "{bad}");
        }
    }
}
