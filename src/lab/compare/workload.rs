//! The workloads: a table of named loads, and the points that each of them has.

use crate::lab::results::compare::{Load, OneOrMore, Rate, SLICE_MS, SMALL, Workload};
use crate::lab::units::{count, of};
use serde::Deserialize;

/// Clients that send requests, where nothing else is said: enough that a server always has work.
const ACTIVE: usize = 64;

/// Length of a slice that has enough requests for a 99th percentile.
const LONG_SLICE_MS: u64 = 100;

/// The names of the workloads that run when none is named.
pub const DEFAULT: [&str; 3] = ["ping", "single", "idle"];

/// Silent connections of `idle` when no workload is named: one point, which each model with more than one client can take, and
/// with which a model that has a process for each of them can still be started often.
pub const DEFAULT_IDLE: usize = 400;

/// The same with `--quick`.
pub const QUICK_IDLE: usize = 100;

/// Every workload of our own.
#[must_use]
pub fn all() -> Vec<Workload> {
    let shares = |percent: &[u32]| {
        Some(OneOrMore::More(percent.iter().map(|&p| Rate::OfBaseline(f64::from(p) / 100.0)).collect()))
    };
    vec![
        of_name("ping", "64 clients, one request at a time each"),
        Workload { connections: OneOrMore::One(1), ..of_name("single", "1 client") },
        Workload {
            idle: OneOrMore::More(vec![0, 100, 1000, 9000]),
            ..of_name("idle", "64 clients beside silent ones")
        },
        Workload {
            requests_per_connection: Some(OneOrMore::More(vec![1, 100])),
            slice_ms: LONG_SLICE_MS,
            ..of_name("churn", "64 clients that connect again after 1 and after 100 requests")
        },
        Workload { size: OneOrMore::One(64 << 10), ..of_name("bulk", "64 clients, 64 KiB per request") },
        Workload {
            depth: OneOrMore::One(16),
            ..of_name("depth", "64 clients, 16 requests under way on each connection")
        },
        Workload {
            rate: shares(&[50, 80]),
            slice_ms: LONG_SLICE_MS,
            ..of_name("open", "64 clients at 50 % and 80 % of the rate of the baseline: compares latency")
        },
        Workload {
            rate: shares(&[10, 25, 50, 70, 80, 90, 100]),
            slice_ms: LONG_SLICE_MS,
            ..of_name("sweep", "64 clients at rates up to that of the baseline: latency against load")
        },
    ]
}

/// The same, with so many bytes per request where a workload has no other size of its own.
#[must_use]
pub fn of_size(size: Option<u32>) -> Vec<Workload> {
    let mut all = all();
    if let Some(size) = size {
        let small = OneOrMore::One(SMALL);
        all.iter_mut().filter(|workload| workload.size == small).for_each(|w| w.size = OneOrMore::One(size));
    }
    all
}

fn of_name(name: &str, summary: &str) -> Workload {
    Workload {
        name: name.to_owned(),
        summary: summary.to_owned(),
        connections: OneOrMore::One(ACTIVE),
        idle: OneOrMore::One(0),
        size: OneOrMore::One(SMALL),
        depth: OneOrMore::One(1),
        requests_per_connection: None,
        rate: None,
        slice_ms: SLICE_MS,
    }
}

/// A file of workloads, in TOML: `[[workload]]` for each.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    workload: Vec<Workload>,
}

/// Of the same file, which workloads give a size.
#[derive(Deserialize)]
struct Sizes {
    workload: Vec<Size>,
}

#[derive(Deserialize)]
struct Size {
    size: Option<OneOrMore<u32>>,
}

/// Read workloads from the text of a TOML file. Those without a size get this one, if there is one.
///
/// # Errors
///
/// What is wrong, with the line, and for an unknown key those that there are.
pub fn read(text: &str, size: Option<u32>) -> Result<Vec<Workload>, String> {
    let wrong = |why: toml::de::Error| why.to_string().trim_end().to_owned();
    let mut file: File = toml::from_str(text).map_err(wrong)?;
    let sizes: Sizes = toml::from_str(text).map_err(wrong)?;
    for (workload, Size { size: own }) in file.workload.iter_mut().zip(sizes.workload) {
        if let Some(size) = size.filter(|_| own.is_none()) {
            workload.size = OneOrMore::One(size);
        }
    }
    if file.workload.is_empty() {
        return Err("it has no [[workload]]".to_owned());
    }
    check_all(&file.workload)?;
    Ok(file.workload)
}

/// Whether workloads can be run, and have names of their own.
///
/// # Errors
///
/// Why not.
pub fn check_all(workloads: &[Workload]) -> Result<(), String> {
    for (i, workload) in workloads.iter().enumerate() {
        check(workload)?;
        if workloads[..i].iter().any(|other| other.name == workload.name) {
            return Err(format!("there are two workloads {:?}", workload.name));
        }
    }
    Ok(())
}

/// Whether a workload can be run at all.
///
/// # Errors
///
/// Why not.
fn check(workload: &Workload) -> Result<(), String> {
    let wrong = |what: &str| Err(format!("workload {:?}: {what}", workload.name));
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if workload.name.is_empty() || !workload.name.chars().all(allowed) {
        return wrong("a name is made of letters, digits, `-`, `_` and `.`");
    }
    let lists = [
        ("connections", workload.connections.all().len()),
        ("idle", workload.idle.all().len()),
        ("size", workload.size.all().len()),
        ("depth", workload.depth.all().len()),
        ("requests_per_connection", workload.requests_per_connection.as_ref().map_or(1, |n| n.all().len())),
        ("rate", workload.rate.as_ref().map_or(1, |rate| rate.all().len())),
    ];
    if let Some((name, _)) = lists.iter().find(|(_, n)| *n == 0) {
        return wrong(&format!("{name} is an empty list"));
    }
    let several: Vec<_> = lists.iter().filter(|(_, n)| *n > 1).map(|(name, _)| *name).collect();
    if several.len() > 1 {
        return wrong(&format!(
            "only one of {} can be a list: its numbers are the points",
            several.join(" and ")
        ));
    }
    if workload.connections.all().contains(&0) {
        return wrong("connections is at least 1");
    }
    if workload.depth.all().contains(&0) || workload.size.all().contains(&0) {
        return wrong("size and depth are at least 1");
    }
    if workload.requests_per_connection.as_ref().is_some_and(|n| n.all().contains(&0)) {
        return wrong("requests_per_connection is at least 1");
    }
    if !(1..=10_000).contains(&workload.slice_ms) {
        return wrong("slice_ms is from 1 to 10000");
    }
    let points = points(workload);
    if points.iter().enumerate().any(|(i, point)| points[..i].contains(point)) {
        return wrong("two of its points are the same");
    }
    Ok(())
}

/// The points of a workload: what it is called, and the load.
#[must_use]
pub fn points(workload: &Workload) -> Vec<(Option<String>, Load)> {
    let mut points = Vec::new();
    let rates =
        workload.rate.as_ref().map_or(vec![None], |rates| rates.all().iter().copied().map(Some).collect());
    let per_connection = workload
        .requests_per_connection
        .as_ref()
        .map_or(vec![None], |all| all.all().iter().copied().map(Some).collect::<Vec<_>>());
    for &active in workload.connections.all() {
        for &idle in workload.idle.all() {
            for &size in workload.size.all() {
                for &depth in workload.depth.all() {
                    for &requests_per_connection in &per_connection {
                        for &rate in &rates {
                            let load = Load {
                                active,
                                idle,
                                size,
                                depth,
                                requests_per_connection,
                                rate,
                                rate_per_s: None,
                            };
                            points.push((name_of(workload, &load), load));
                        }
                    }
                }
            }
        }
    }
    points
}

/// What tells a point from the others of its workload: its number in the list.
fn name_of(workload: &Workload, load: &Load) -> Option<String> {
    let is_list = |n: usize| n > 1;
    if is_list(workload.connections.all().len()) {
        return Some(load.active.to_string());
    }
    if is_list(workload.idle.all().len()) {
        return Some(load.idle.to_string());
    }
    if is_list(workload.size.all().len()) {
        return Some(load.size.to_string());
    }
    if is_list(workload.depth.all().len()) {
        return Some(load.depth.to_string());
    }
    if workload.requests_per_connection.as_ref().is_some_and(|n| is_list(n.all().len())) {
        return load.requests_per_connection.map(|n| n.to_string());
    }
    load.rate
        .filter(|_| workload.rate.as_ref().is_some_and(|rate| is_list(rate.all().len())))
        .map(|rate| rate.to_string())
}

/// A load, for people: `64 clients beside 1,000 silent ones, 64 bytes per request`.
#[must_use]
pub fn describe(load: &Load) -> String {
    let mut text = of(load.active as u64, "client");
    if load.idle > 0 {
        text += &format!(" beside {} silent ones", count(load.idle as u64));
    }
    text += &format!(", {} per request", crate::lab::units::bytes(load.size.into()));
    if load.depth > 1 {
        text += &format!(", {} under way on each connection", of(load.depth as u64, "request"));
    }
    if let Some(n) = load.requests_per_connection {
        text += &format!(", a new connection after {}", of(n.into(), "request"));
    }
    match (load.rate, load.rate_per_s) {
        (None, _) => text += ", closed loop",
        (Some(Rate::OfBaseline(_)), Some(rate)) => {
            let share = load.rate.map(|rate| rate.to_string()).unwrap_or_default();
            text += &format!(
                ", {} requests/s offered ({share} of the baseline's rate)",
                crate::lab::units::rate(rate)
            );
        }
        (Some(share @ Rate::OfBaseline(_)), None) => {
            text += &format!(", {share} of the baseline's rate offered");
        }
        (Some(rate), _) => text += &format!(", {rate} requests/s offered"),
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_workloads_can_be_run_and_read_back() {
        for workload in all() {
            assert_eq!(check(&workload), Ok(()), "{}", workload.name);
            let text = toml::to_string(&workload).unwrap();
            assert_eq!(toml::from_str::<Workload>(&text).unwrap(), workload, "{text}");
        }
        assert!(DEFAULT.iter().all(|name| all().iter().any(|workload| workload.name == *name)));
    }

    #[test]
    fn a_list_makes_a_point_of_each_of_its_numbers() {
        let idle = all().into_iter().find(|workload| workload.name == "idle").unwrap();
        let names: Vec<_> =
            points(&idle).into_iter().map(|(name, load)| (name.unwrap(), load.idle)).collect();
        let expected = [0, 100, 1000, 9000].map(|n| (n.to_string(), n));
        assert_eq!(names, expected);
        let ping = all().remove(0);
        assert_eq!(points(&ping).into_iter().map(|(name, _)| name).collect::<Vec<_>>(), [None]);
    }

    #[test]
    fn a_file_of_workloads_says_what_is_wrong_with_it() {
        let good = "[[workload]]\nname = 'chat'\nconnections = 100\nidle = [0, 500]\nrate = '50%'\n";
        let read_back = read(good, None).unwrap();
        assert_eq!(points(&read_back[0])[1].1.rate, Some(Rate::OfBaseline(0.5)));
        for (text, says) in [
            ("", "missing field `workload`"),
            ("workload = []", "no [[workload]]"),
            (
                "[[workload]]\nname = 'a'\nconnections = 1\nsizes = 3",
                "unknown field `sizes`, expected one of",
            ),
            ("[[workload]]\nname = 'a'", "missing field `connections`"),
            ("[[workload]]\nname = 'a b'\nconnections = 1", "a name is made of letters"),
            ("[[workload]]\nname = 'a'\nconnections = 0", "connections is at least 1"),
            ("[[workload]]\nname = 'a'\nconnections = []", "connections is an empty list"),
            (
                "[[workload]]\nname = 'a'\nconnections = [1,2]\nidle = [0,1]",
                "only one of connections and idle",
            ),
            ("[[workload]]\nname = 'a'\nconnections = [1,1]", "two of its points are the same"),
            (
                "[[workload]]\nname = 'a'\nconnections = 1\nrate = '50'",
                "expected requests a second, such as 20000, or a share",
            ),
            (
                "[[workload]]\nname = 'a'\nconnections = 1\nrate = 0",
                "a rate is more than 0 requests a second",
            ),
            (
                "[[workload]]\nname = 'a'\nconnections = 1\n[[workload]]\nname = 'a'\nconnections = 1",
                "two workloads",
            ),
        ] {
            let why = read(text, None).unwrap_err();
            assert!(why.contains(says), "{text:?}: {why:?} does not say {says:?}");
        }
    }

    #[test]
    fn a_size_is_for_workloads_that_give_none() {
        let text =
            "[[workload]]\nname = 'a'\nconnections = 1\n[[workload]]\nname = 'b'\nconnections = 1\nsize = 64";
        let sizes = |size| read(text, size).unwrap().into_iter().map(|w| w.size).collect::<Vec<_>>();
        assert_eq!(sizes(Some(100)), [OneOrMore::One(100), OneOrMore::One(64)]);
        assert_eq!(sizes(None), [OneOrMore::One(SMALL), OneOrMore::One(64)]);
        let of_name = |name| of_size(Some(100)).into_iter().find(|workload| workload.name == name).unwrap();
        assert_eq!(of_name("ping").size, OneOrMore::One(100));
        assert_eq!(of_name("bulk").size, OneOrMore::One(64 << 10), "it has a size of its own");
    }

    #[test]
    fn a_load_is_told_in_words() {
        let open = all().into_iter().find(|workload| workload.name == "open").unwrap();
        let (_, mut load) = points(&open).remove(0);
        load.rate_per_s = Some(60_000.0);
        assert_eq!(
            describe(&load),
            "64 clients, 64 B per request, 60,000 requests/s offered (50% of the baseline's rate)"
        );
    }
}
