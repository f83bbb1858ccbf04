//! Durations and counts as people write them.

use crate::load::Addresses;
use io_models::lab::load::plan::Sizes;
use std::net::IpAddr;
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

/// At least 1, and not too many for 32 bits.
pub(crate) fn small_count(text: &str) -> Result<u32, String> {
    u32::try_from(count(text)?).map_err(|_| format!("at most {}", u32::MAX))
}

/// Bytes of a request: `64`, `16k`, at most 1 GiB.
pub(crate) fn size(text: &str) -> Result<u32, String> {
    match count(text)? {
        size if size <= 1 << 30 => Ok(size as u32),
        _ => Err(format!("at most {} bytes", 1 << 30)),
    }
}

/// Bytes of requests: `64`, a range `64-1k`, or a list `64,512,4k`.
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

/// Requests a second: `500`, `50k`, `1.5m`, `0.5`; more than nothing.
pub(crate) fn rate(text: &str) -> Result<f64, String> {
    let (number, times) = match text.strip_suffix(['k', 'm']) {
        Some(number) if text.ends_with('k') => (number, 1e3),
        Some(number) => (number, 1e6),
        None => (text, 1.0),
    };
    match number.parse::<f64>() {
        Ok(number) if number > 0.0 && number.is_finite() => Ok(number * times),
        Ok(_) => Err("a rate must be above 0".to_owned()),
        Err(_) => Err("write requests a second, such as 500, 50k or 1.5m".to_owned()),
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
    #[test]
    fn sizes_are_one_a_range_or_a_list() {
        assert_eq!(sizes("64"), Ok(Sizes::Fixed(64)));
        assert_eq!(sizes("64-1k"), Ok(Sizes::Range(64, 1000)));
        assert_eq!(sizes("64,512,4k"), Ok(Sizes::List(vec![64, 512, 4000])));
        for bad in ["", "0", "64-", "-64", "64-64", "100-10", "64,", "64,0", "64-128-256", "2000m"] {
            assert!(sizes(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn rates_are_above_nothing() {
        assert_eq!(rate("50k"), Ok(50_000.0));
        assert_eq!(rate("1.5m"), Ok(1_500_000.0));
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
        for bad in ["", "1:2:3", "1:2:3:4", "1:2:0:1s", "0:2:1:1s", "1:2:1:0s", "1:1m:1:1s", "1:2:1:1s:"] {
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
