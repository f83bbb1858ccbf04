//! Durations, counts, sizes, rates and shares, read as people write them. A message says what to write instead.

use std::time::Duration;

/// `40ms`, `1.5s`, `2m`, `30`: a number and a unit, us ms s m or h, or a number of seconds; more than nothing.
///
/// # Errors
///
/// When it is no such number, 0, or longer than a day.
pub fn duration(text: &str) -> Result<Duration, String> {
    match duration_or_none(text)? {
        Duration::ZERO => Err("it must be longer than that".to_owned()),
        duration => Ok(duration),
    }
}

/// The same, and 0.
///
/// # Errors
///
/// When it is no such number, or longer than a day.
pub fn duration_or_none(text: &str) -> Result<Duration, String> {
    let split = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let seconds = match unit {
        "us" | "µs" => 1e-6,
        "ms" => 1e-3,
        "s" | "" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return Err(format!("no such unit: {unit}; there are us, ms, s, m and h")),
    };
    let number: f64 = number
        .parse()
        .map_err(|_| "write a number and a unit, such as 40ms; without a unit it is in seconds".to_owned())?;
    match Duration::try_from_secs_f64(number * seconds) {
        Ok(duration) if duration <= Duration::from_secs(24 * 3600) => Ok(duration),
        _ => Err("at most a day".to_owned()),
    }
}

/// Multiples of counts and rates.
const THOUSANDS: &[(&str, u64)] = &[("k", 1_000), ("K", 1_000), ("m", 1_000_000), ("M", 1_000_000)];

/// Further multiples of bytes.
const BINARY: &[(&str, u64)] = &[("KiB", 1 << 10), ("MiB", 1 << 20)];

/// The number before the unit, and what the unit multiplies it by.
fn scaled<'a>(text: &'a str, units: impl IntoIterator<Item = &'a (&'a str, u64)>) -> (&'a str, u64) {
    let found = units.into_iter().find_map(|&(unit, times)| Some((text.strip_suffix(unit)?, times)));
    found.unwrap_or((text, 1))
}

/// More than any count can be: sums of a few of them fit 64 bits, and messages about memory and descriptors tell the
/// rest.
const MOST: u64 = u32::MAX as u64;

/// `64`, `10k`, `1M`: at least 1.
///
/// # Errors
///
/// When it is no whole number, 0, or does not fit 32 bits.
pub fn count(text: &str) -> Result<usize, String> {
    match count_or_none(text)? {
        0 => Err("it must be at least 1".to_owned()),
        number => Ok(number),
    }
}

/// A number, which may be 0.
///
/// # Errors
///
/// When it is no whole number, or does not fit 32 bits.
pub fn count_or_none(text: &str) -> Result<usize, String> {
    let (number, times) = scaled(text, THOUSANDS);
    Ok(whole(number, times, "write a whole number, such as 64, 10k or 1M")? as usize)
}

fn whole(number: &str, times: u64, example: &str) -> Result<u64, String> {
    // "+1" is a number to Rust.
    if number.is_empty() || number.contains(|c: char| !c.is_ascii_digit()) {
        return Err(example.to_owned());
    }
    // What does not fit 64 bits has too many digits.
    let product = number.parse::<u64>().ok().and_then(|number| number.checked_mul(times));
    product.filter(|&product| product <= MOST).ok_or_else(|| format!("at most {}", super::count(MOST)))
}

/// At least 1, and not too many for 32 bits.
///
/// # Errors
///
/// When it is no whole number, 0, or does not fit 32 bits.
pub fn small_count(text: &str) -> Result<u32, String> {
    u32::try_from(count(text)?).map_err(|_| format!("at most {}", u32::MAX))
}

/// The largest request.
const MOST_BYTES: u64 = 1 << 30;

/// Bytes of a request: `64`, `4k` (4000), `4KiB` (4096); at most 1 GiB.
///
/// # Errors
///
/// When it is no whole number, 0, or more than 1 GiB.
pub fn size(text: &str) -> Result<u32, String> {
    let (number, times) = scaled(text, BINARY.iter().chain(THOUSANDS));
    match whole(number, times, "write a number of bytes, such as 64, 4k (4000) or 4KiB (4096)")? {
        0 => Err("it must be at least 1".to_owned()),
        size if size <= MOST_BYTES => Ok(size as u32),
        _ => Err(format!("at most {} bytes (1 GiB)", super::count(MOST_BYTES))),
    }
}

/// An amount of memory: `0`, `64`, `4KiB`, `1.5MiB`, and `k` and `M` for thousands.
///
/// # Errors
///
/// When it is no number, or below 0.
pub fn bytes(text: &str) -> Result<f64, String> {
    let (number, times) = scaled(text, BINARY.iter().chain(THOUSANDS));
    let bytes = number.parse::<f64>().ok().filter(|number| *number >= 0.0 && number.is_finite());
    let bytes = bytes.ok_or_else(|| "write a number of bytes, such as 4KiB or 1.5MiB".to_owned())?;
    Ok(bytes * times as f64)
}

/// Requests per second: `500`, `50k`, `1.5M`, `0.5`; more than nothing.
///
/// # Errors
///
/// When it is no number, or not above 0.
pub fn rate(text: &str) -> Result<f64, String> {
    let (number, times) = scaled(text, THOUSANDS);
    match number.parse::<f64>() {
        Ok(number) if number > 0.0 && number.is_finite() => Ok(number * times as f64),
        Ok(_) => Err("a rate must be above 0".to_owned()),
        Err(_) => Err("write requests per second, such as 500, 50k or 1.5M".to_owned()),
    }
}

/// `10%` or `0.1`: from 0 to less than all.
///
/// # Errors
///
/// When it is no number, below 0, or 1 and more.
pub fn share(text: &str) -> Result<f64, String> {
    let (number, of) = match text.strip_suffix('%') {
        Some(number) => (number, 100.0),
        None => (text, 1.0),
    };
    match number.parse::<f64>() {
        Ok(number) if (0.0..1.0).contains(&(number / of)) => Ok(number / of),
        Ok(_) => Err("a share is from 0 to less than all: 10% or 0.1".to_owned()),
        Err(_) => Err("write a share, such as 10% or 0.1".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_units_or_are_seconds_and_are_neither_nothing_nor_endless() {
        assert_eq!(duration("40ms"), Ok(Duration::from_millis(40)));
        assert_eq!(duration("1.5s"), Ok(Duration::from_millis(1500)));
        assert_eq!(duration("250us"), Ok(Duration::from_micros(250)));
        assert_eq!(duration("250µs"), Ok(Duration::from_micros(250)));
        assert_eq!(duration("2m"), Ok(Duration::from_secs(120)));
        assert_eq!(duration("30"), Ok(Duration::from_secs(30)), "as in wrk2");
        assert_eq!(duration("0.5"), Ok(Duration::from_millis(500)));
        for bad in ["", ".", "0", "s", "-1s", "0s", "5 s", "1e9h", "25h", "3days", "1.2.3s"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn counts_take_k_and_m_in_either_case_and_start_at_one() {
        assert_eq!(count("64"), Ok(64));
        assert_eq!(count("10k"), Ok(10_000));
        assert_eq!(count("10K"), Ok(10_000));
        assert_eq!(count("2m"), Ok(2_000_000));
        assert_eq!(count("2M"), Ok(2_000_000));
        for bad in ["0", "0k", "", "k", "-1", "+1", "1.5", "4KiB", "1kk"] {
            assert!(count(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn counts_have_a_bound_so_that_sums_of_them_do_not_wrap() {
        assert_eq!(count("4294967295"), Ok(u32::MAX as usize));
        for bad in ["4294967296", "18446744073709551615", "99999999999999999999", "99999999999999999m"] {
            assert_eq!(count(bad), Err("at most 4,294,967,295".to_owned()), "{bad}");
        }
    }

    #[test]
    fn a_k_of_bytes_is_a_thousand_and_a_kib_is_1024() {
        assert_eq!(size("4k"), Ok(4000));
        assert_eq!(size("4KiB"), Ok(4096));
        assert_eq!(size("1MiB"), Ok(1 << 20));
        assert_eq!(size("1M"), Ok(1_000_000));
        assert_eq!(size("1024MiB"), Ok(1 << 30));
        for bad in ["", "0", "0KiB", "KiB", "4KB", "4kib", "1025MiB", "-1"] {
            assert!(size(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn rates_are_above_nothing() {
        assert_eq!(rate("50k"), Ok(50_000.0));
        assert_eq!(rate("1.5m"), Ok(1_500_000.0));
        assert_eq!(rate("1.5M"), Ok(1_500_000.0));
        assert_eq!(rate("0.5"), Ok(0.5));
        for bad in ["", "0", "0k", "-1", "k", "nan", "inf", "1e400", "10/s"] {
            assert!(rate(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn shares_are_less_than_all() {
        assert_eq!(share("10%"), Ok(0.1));
        assert_eq!(share("0.1"), Ok(0.1));
        assert_eq!(share("0"), Ok(0.0));
        for bad in ["", "%", "100%", "1", "-1%", "nan", "a tenth"] {
            assert!(share(bad).is_err(), "{bad}");
        }
    }
}
