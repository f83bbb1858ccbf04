//! Durations, counts, sizes, rates and lists as people write them.

use crate::load::Addresses;
use io_models::lab::load::plan::Sizes;
use io_models::lab::units;
use std::collections::HashSet;
use std::net::IpAddr;
use std::num::NonZeroUsize;
use std::time::Duration;

/// `40ms`, `1.5s`, `2m`, `30`: a number and a unit, us ms s m or h, or a number of seconds; more than nothing.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    match duration_or_none(text)? {
        Duration::ZERO => Err("it must be longer than that".to_owned()),
        duration => Ok(duration),
    }
}

/// The same, and 0.
pub(crate) fn duration_or_none(text: &str) -> Result<Duration, String> {
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

/// Length of a slice of a comparison: whole milliseconds, at most a minute.
pub(crate) fn slice(text: &str) -> Result<Duration, String> {
    let slice = duration(text)?;
    let whole = Duration::from_millis(slice.as_millis() as u64);
    match slice {
        _ if slice != whole => Err("write whole milliseconds, such as 40ms".to_owned()),
        _ if slice > Duration::from_secs(60) => Err("at most a minute".to_owned()),
        _ => Ok(slice),
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
pub(crate) fn count(text: &str) -> Result<usize, String> {
    match count_or_none(text)? {
        0 => Err("it must be at least 1".to_owned()),
        number => Ok(number),
    }
}

/// A number of workers.
pub(crate) fn workers(text: &str) -> Result<NonZeroUsize, String> {
    /// Each is a thread or a process.
    const MOST: usize = 10_000;
    let at_most = || format!("at most {}", units::count(MOST as u64));
    let number = count(text).map_err(|why| if why.starts_with("at most") { at_most() } else { why })?;
    NonZeroUsize::new(number).filter(|_| number <= MOST).ok_or_else(at_most)
}

/// How often to look for an event before sleeping.
pub(crate) fn spin(text: &str) -> Result<u32, String> {
    u32::try_from(count_or_none(text)?).map_err(|_| format!("at most {}", u32::MAX))
}

/// A number, which may be 0.
pub(crate) fn count_or_none(text: &str) -> Result<usize, String> {
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
    product.filter(|&product| product <= MOST).ok_or_else(|| format!("at most {}", units::count(MOST)))
}

/// At least 1, and not too many for 32 bits.
pub(crate) fn small_count(text: &str) -> Result<u32, String> {
    u32::try_from(count(text)?).map_err(|_| format!("at most {}", u32::MAX))
}

/// The largest request.
const MOST_BYTES: u64 = 1 << 30;

/// Bytes of a request: `64`, `4k` (4000), `4KiB` (4096); at most 1 GiB.
pub(crate) fn size(text: &str) -> Result<u32, String> {
    let (number, times) = scaled(text, BINARY.iter().chain(THOUSANDS));
    match whole(number, times, "write a number of bytes, such as 64, 4k (4000) or 4KiB (4096)")? {
        0 => Err("it must be at least 1".to_owned()),
        size if size <= MOST_BYTES => Ok(size as u32),
        _ => Err(format!("at most {} bytes (1 GiB)", units::count(MOST_BYTES))),
    }
}

/// Bytes of requests: `64`, a range `64-4KiB`, or a list `64,512,4k`.
pub(crate) fn sizes(text: &str) -> Result<Sizes, String> {
    if let Some((from, to)) = text.split_once('-') {
        return match (size(from)?, size(to)?) {
            (from, to) if from < to => Ok(Sizes::Range(from, to)),
            (from, to) => {
                Err(format!("a range goes from the smaller to the larger, and {from}-{to} does not"))
            }
        };
    }
    match text.split(',').map(size).collect::<Result<Vec<_>, _>>()?[..] {
        [one] => Ok(Sizes::Fixed(one)),
        ref several => Ok(Sizes::List(several.to_vec())),
    }
}

/// Requests per second: `500`, `50k`, `1.5M`, `0.5`; more than nothing.
pub(crate) fn rate(text: &str) -> Result<f64, String> {
    let (number, times) = scaled(text, THOUSANDS);
    match number.parse::<f64>() {
        Ok(number) if number > 0.0 && number.is_finite() => Ok(number * times as f64),
        Ok(_) => Err("a rate must be above 0".to_owned()),
        Err(_) => Err("write requests per second, such as 500, 50k or 1.5M".to_owned()),
    }
}

/// Steps of a ramp, at most.
const MOST_STEPS: f64 = 1000.0;

/// `10k:50k:10k:2s`: from, to, step, and the time of each; downwards as well.
pub(crate) fn ramp(text: &str) -> Result<(Vec<f64>, Duration), String> {
    let [from, to, step, time] = text.split(':').collect::<Vec<_>>()[..] else {
        return Err("write FROM:TO:STEP:TIME, such as 10k:50k:10k:2s".to_owned());
    };
    let (from, to, step) = (rate(from)?, rate(to)?, rate(step)?);
    let steps = ((to - from).abs() / step + 1e-9).floor();
    if steps >= MOST_STEPS {
        return Err(format!("that is {:.0} rates; at most {MOST_STEPS:.0}: take a larger step", steps + 1.0));
    }
    let sign = if to < from { -1.0 } else { 1.0 };
    let rates = (0..=steps as u32).map(|i| from + sign * step * f64::from(i)).collect();
    Ok((rates, duration(time)?))
}

/// `10%` or `0.1`: from 0 to less than all.
pub(crate) fn share(text: &str) -> Result<f64, String> {
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

/// Own addresses, at most.
const MOST_SOURCES: u32 = 4096;

/// `127.0.0.2-127.0.0.9`, or a list of addresses.
pub(crate) fn sources(text: &str) -> Result<Addresses, String> {
    let one = |text: &str| {
        text.parse::<IpAddr>().map_err(|_| {
            format!("{text} is no address; write 127.0.0.2-127.0.0.9, or addresses separated by commas")
        })
    };
    let Some((from, to)) = text.split_once('-') else {
        return text.split(',').map(one).collect::<Result<_, _>>().map(Addresses);
    };
    match (one(from)?, one(to)?) {
        (IpAddr::V4(from), IpAddr::V4(to)) if from <= to => {
            let (from, to) = (u32::from(from), u32::from(to));
            if to - from >= MOST_SOURCES {
                return Err(format!("that is {} addresses; at most {MOST_SOURCES}", to - from + 1));
            }
            Ok(Addresses((from..=to).map(|addr| IpAddr::V4(addr.into())).collect()))
        }
        (IpAddr::V4(_), IpAddr::V4(_)) => Err("a range goes from the lower to the higher address".to_owned()),
        _ => Err("ranges are for IPv4; write IPv6 addresses separated by commas".to_owned()),
    }
}

/// What was asked for, without repetitions, in that order; `None` when nothing was.
pub(crate) fn once_each<T>(mut asked: Vec<T>, name: fn(&T) -> &'static str) -> Option<Vec<T>> {
    let mut seen = HashSet::new();
    asked.retain(|one| seen.insert(name(one)));
    (!asked.is_empty()).then_some(asked)
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
    fn a_slice_is_of_whole_milliseconds() {
        assert_eq!(slice("40ms"), Ok(Duration::from_millis(40)));
        assert_eq!(slice("1"), Ok(Duration::from_secs(1)));
        for bad in ["0", "500us", "1.5ms", "61s", "ms"] {
            assert!(slice(bad).is_err(), "{bad}");
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
    fn sizes_are_one_a_range_or_a_list() {
        assert_eq!(sizes("64"), Ok(Sizes::Fixed(64)));
        assert_eq!(sizes("64-1k"), Ok(Sizes::Range(64, 1000)));
        assert_eq!(sizes("64-4KiB"), Ok(Sizes::Range(64, 4096)));
        assert_eq!(sizes("64,512,4k"), Ok(Sizes::List(vec![64, 512, 4000])));
        for bad in ["", "0", "64-", "-64", "64-64", "100-10", "64,", "64,0", "64-128-256", "2000m"] {
            assert!(sizes(bad).is_err(), "{bad}");
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
    fn ramps_go_up_and_down_and_include_their_end() {
        let second = Duration::from_secs(1);
        assert_eq!(ramp("10:30:10:1s"), Ok((vec![10.0, 20.0, 30.0], second)));
        assert_eq!(ramp("30:10:10:1s"), Ok((vec![30.0, 20.0, 10.0], second)));
        assert_eq!(ramp("10:35:10:1s").map(|(rates, _)| rates.len()), Ok(3));
        assert_eq!(ramp("0.1:0.3:0.1:1s").map(|(rates, _)| rates.len()), Ok(3));
        assert_eq!(ramp("10:10:1:2"), Ok((vec![10.0], 2 * second)), "a bare number is seconds");
        for bad in ["", "1:2:3", "1:2:3:s", "1:2:0:1s", "0:2:1:1s", "1:2:1:0s", "1:1m:1:1s", "1:2:1:1s:"] {
            assert!(ramp(bad).is_err(), "{bad}");
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

    #[test]
    fn own_addresses_are_a_range_or_a_list() {
        let count = |text| sources(text).map(|Addresses(all)| all.len());
        assert_eq!(count("127.0.0.2-127.0.0.9"), Ok(8));
        assert_eq!(count("127.0.0.2,127.0.0.9"), Ok(2));
        assert_eq!(count("::1"), Ok(1));
        for bad in ["", "localhost", "127.0.0.9-127.0.0.2", "::1-::2", "127.0.0.2-", "127.0.0.2-127.1.0.2"] {
            assert!(count(bad).is_err(), "{bad}");
        }
    }
}
