//! Durations, counts, sizes, rates and lists as people write them.

use crate::load::Addresses;
use chrono::DateTime;
use io_models::lab::load::plan::Sizes;
use io_models::lab::units;
pub(crate) use io_models::lab::units::parse::{
    count, count_or_none, duration, duration_or_none, rate, share, size, small_count,
};
use std::collections::HashSet;
use std::net::IpAddr;
use std::num::NonZeroUsize;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

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

/// A number of workers.
pub(crate) fn workers(text: &str) -> Result<NonZeroUsize, String> {
    /// Each is a thread or a process.
    const MOST: usize = 10_000;
    let at_most = || format!("at most {}", units::count(MOST as u64));
    let number = count(text).map_err(|why| if why.starts_with("at most") { at_most() } else { why })?;
    NonZeroUsize::new(number).filter(|_| number <= MOST).ok_or_else(at_most)
}

/// A number of clients.
pub(crate) fn clients(text: &str) -> Result<NonZeroUsize, String> {
    NonZeroUsize::new(count(text)?).ok_or_else(|| "at least one".to_owned())
}

/// How often to look for an event before sleeping.
pub(crate) fn spin(text: &str) -> Result<u32, String> {
    u32::try_from(count_or_none(text)?).map_err(|_| format!("at most {}", u32::MAX))
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

/// The time of a start: RFC 3339, seconds since 1970, or `+30s` from now; at most a day ahead.
pub(crate) fn start_at(text: &str) -> Result<SystemTime, String> {
    const FORMS: &str = "write 2026-11-29T17:00:00Z, seconds since 1970, or +30s";
    let now = SystemTime::now();
    if let Some(after) = text.strip_prefix('+') {
        return duration(after).map(|after| now + after);
    }
    let at = match text.parse::<f64>() {
        Ok(seconds) => {
            Duration::try_from_secs_f64(seconds).ok().and_then(|since| UNIX_EPOCH.checked_add(since))
        }
        Err(_) => DateTime::parse_from_rfc3339(text).ok().map(SystemTime::from),
    };
    let at = at.ok_or(FORMS)?;
    match at.duration_since(now) {
        Ok(ahead) if ahead > Duration::from_secs(24 * 3600) => {
            Err(format!("that is {} ahead, and at most a day is waited for; {FORMS}", roughly(ahead)))
        }
        Ok(_) => Ok(at),
        Err(late) => Err(format!(
            "that time passed {} ago; give a later one, which leaves time to open the connections",
            roughly(late.duration())
        )),
    }
}

/// In the unit of which there is more than one.
fn roughly(time: Duration) -> String {
    let parts = [(86_400, "day"), (3600, "hour"), (60, "minute")];
    match parts.into_iter().find(|(unit, _)| time.as_secs() >= 2 * unit) {
        Some((unit, name)) => units::of(time.as_secs() / unit, name),
        None => units::seconds(time.as_secs_f64()),
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
    fn a_slice_is_of_whole_milliseconds() {
        assert_eq!(slice("40ms"), Ok(Duration::from_millis(40)));
        assert_eq!(slice("1"), Ok(Duration::from_secs(1)));
        for bad in ["0", "500us", "1.5ms", "61s", "ms"] {
            assert!(slice(bad).is_err(), "{bad}");
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
