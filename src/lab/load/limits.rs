//! What a load needs of this machine, computed before the first connection: descriptors, ports, memory.

use super::plan::Plan;
use crate::sys::limits::Nofile;
use anyhow::bail;
use procfs::Current;
use serde::Serialize;
use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

/// Descriptors that a generator needs beside its connections: the standard three, epoll, stop, and
/// what a caller may have left open.
pub const NOT_FOR_CONNECTIONS: usize = 16;

/// More new connections a second than one machine has been seen to make (some 30 000), for the arithmetic of a
/// closed loop, which has no rate.
const MOST_NEW: f64 = 100_000.0;

/// How long a port stays in TIME_WAIT: `TCP_TIMEWAIT_LEN`.
const TIME_WAIT: f64 = 60.0;

/// How soon a port in TIME_WAIT is used again where the kernel may: `net.ipv4.tcp_tw_reuse`.
const TIME_WAIT_REUSED: f64 = 1.0;

/// What the kernel needs for an idle connection of ours, and on loopback for the server's end as well; measured on
/// Linux 6.18, rounded up.
const KERNEL_BYTES: u64 = 5 << 10;

/// The ports that there are for a load, and what they suffice for.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Ports {
    /// `net.ipv4.ip_local_port_range`.
    pub of_one_address: usize,
    /// Own addresses.
    pub addresses: usize,
    /// How long a port is not to be had after its connection, in seconds, where connections come and go.
    pub held_s: f64,
}

/// Check that this process can hold that many connections.
///
/// # Errors
///
/// When it cannot: with the limit, and how to raise it.
pub fn check_descriptors(connections: usize) -> anyhow::Result<()> {
    let limit = Nofile::raise()?;
    let most = usize::try_from(limit.soft).unwrap_or(usize::MAX).saturating_sub(NOT_FOR_CONNECTIONS);
    if connections > most {
        bail!("{connections} connections are too many: at most {most} here, because {limit}");
    }
    Ok(())
}

/// Check that there are enough ports for `plan`, at so many requests a second, if that is known, for that long; where
/// own addresses can be added, as on loopback, they are.
///
/// # Errors
///
/// When they do not suffice: with the arithmetic and the remedy.
pub fn check_ports(plan: &mut Plan, rate: Option<f64>, time: Duration) -> anyhow::Result<Ports> {
    let of_one_address = local_ports();
    let held_s = if plan.requests_per_conn.is_some() { time_wait(plan.target.ip()) } else { 0.0 };
    // Each connection that ends keeps its port for a while, and each that is open has one.
    let new = rate.unwrap_or(MOST_NEW) / f64::from(plan.requests_per_conn.unwrap_or(1));
    let ended = if held_s > 0.0 { new * held_s.min(time.as_secs_f64()) } else { 0.0 };
    let needed = plan.connections() + ended.ceil() as usize;
    let addresses = needed.div_ceil(of_one_address);
    let can_add = plan.sources.is_empty() && matches!(plan.target.ip(), IpAddr::V4(v4) if v4.is_loopback());
    if addresses > 1 && can_add {
        let last = addresses.min(250) as u8;
        plan.sources = (1..=last).map(|i| IpAddr::V4(Ipv4Addr::new(127, 0, 0, 1 + i))).collect();
    }
    let ports = Ports { of_one_address, addresses: plan.sources.len().max(1), held_s };
    // Without a rate nobody knows: a closed loop slows down by itself.
    if needed > of_one_address * ports.addresses && (rate.is_some() || ended == 0.0) {
        let why = if ended > 0.0 {
            format!(", because {new:.0} connections/s each hold their port for {held_s} s")
        } else {
            String::new()
        };
        bail!(
            "this needs {needed} local ports{why}; there are {of_one_address} (net.ipv4.ip_local_port_range) for each \
             of {} own addresses: give more --sources, such as 127.0.0.2-127.0.0.9 for a server on loopback, \
             a wider range, or a lower rate",
            ports.addresses
        );
    }
    Ok(ports)
}

impl Ports {
    /// The arithmetic, in a line; `None` where connections do not come and go.
    #[must_use]
    pub fn in_words(&self) -> Option<String> {
        let Ports { of_one_address, addresses, held_s } = *self;
        (held_s > 0.0).then(|| {
            format!(
                "{of_one_address} ports × {addresses} own address{}, each held for {held_s} s after its connection \
                 (TIME_WAIT): {:.0} connections/s at most",
                if addresses == 1 { "" } else { "es" },
                (of_one_address * addresses) as f64 / held_s
            )
        })
    }
}

/// Check that there is memory for `plan` on so many threads.
///
/// # Errors
///
/// When there is not.
pub fn check_memory(plan: &Plan) -> anyhow::Result<()> {
    let Ok(memory) = procfs::Meminfo::current() else { return Ok(()) };
    let available = memory.mem_available.unwrap_or(memory.mem_free);
    let needed = memory_of(plan);
    if needed > available {
        bail!(
            "this needs some {} MiB of memory, of which {} MiB are available: open fewer connections, or lower --depth \
             or --size",
            needed >> 20,
            available >> 20
        );
    }
    Ok(())
}

/// Bytes, with the kernel's.
fn memory_of(plan: &Plan) -> u64 {
    let ends = if plan.target.ip().is_loopback() { 2 } else { 1 };
    let requests = (plan.active as u64).saturating_mul(plan.depth as u64);
    // What is under way waits in socket buffers, which have limits (4 and 6 MiB, tcp(7)).
    let a_request = u64::from(plan.sizes.largest());
    let in_buffers = requests.saturating_mul(a_request).min(plan.active as u64 * ends * (10 << 20));
    let of_requests = requests.saturating_mul(24);
    let of_connections = plan.connections() as u64 * (KERNEL_BYTES * ends + 512);
    of_connections.saturating_add(of_requests).saturating_add(in_buffers)
}

/// Ports that the kernel chooses from.
fn local_ports() -> usize {
    let range = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    let mut ends = range.split_whitespace().filter_map(|end| end.parse::<usize>().ok());
    match (ends.next(), ends.next()) {
        (Some(from), Some(to)) if from <= to => to - from + 1,
        _ => 28_232, // The kernel's default: 32768 to 60999.
    }
}

/// How long a port towards `target` is not to be had after its connection, in seconds.
fn time_wait(target: IpAddr) -> f64 {
    let setting = |name: &str| fs::read_to_string(format!("/proc/sys/net/ipv4/{name}")).unwrap_or_default();
    let reused = match setting("tcp_tw_reuse").trim() {
        "1" => true,
        "2" => target.is_loopback(),
        _ => false,
    };
    // Only timestamps can tell an old segment from a new one.
    if reused && setting("tcp_timestamps").trim() != "0" { TIME_WAIT_REUSED } else { TIME_WAIT }
}

/// The most requests a second that `threads` can send: no system call ends within a microsecond.
#[must_use]
pub fn most_requests(threads: usize) -> f64 {
    threads as f64 * 1e6
}

/// The fewest requests a second of which one is due within `time`.
#[must_use]
pub fn fewest_requests(time: Duration) -> f64 {
    1.0 / time.as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::super::plan::{Expect, Payload, Sizes, Wait};
    use super::*;

    fn plan(connections: usize, requests_per_conn: Option<u32>) -> Plan {
        Plan {
            target: "127.0.0.1:9".parse().unwrap(),
            active: connections,
            idle: 0,
            sizes: Sizes::Fixed(64),
            payload: Payload::Random,
            expect: Expect::Echo,
            seed: 1,
            patience: Duration::from_secs(10),
            depth: 1,
            requests_per_conn,
            sources: Vec::new(),
            wait: Wait::Spin,
        }
    }

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn few_connections_need_no_address_of_their_own() {
        let mut plan = plan(64, None);
        let ports = check_ports(&mut plan, Some(1e6), SECOND).unwrap();
        assert!(plan.sources.is_empty());
        assert_eq!(ports.in_words(), None, "a rate needs no ports, only connections do");
    }

    #[test]
    fn more_connections_than_ports_get_several_addresses_on_loopback_and_elsewhere_a_refusal() {
        let ports = local_ports();
        let mut many = plan(3 * ports, None);
        assert_eq!(check_ports(&mut many, None, SECOND).unwrap().addresses, 3);
        assert_eq!(many.sources[0], IpAddr::from([127, 0, 0, 2]));
        let mut elsewhere = Plan { target: "192.0.2.1:9".parse().unwrap(), ..plan(3 * ports, None) };
        let why = check_ports(&mut elsewhere, None, SECOND).unwrap_err().to_string();
        assert!(why.contains("--sources") && why.contains(&(3 * ports).to_string()), "{why}");
    }

    #[test]
    fn ports_in_time_wait_are_counted() {
        let mut elsewhere = Plan { target: "192.0.2.1:9".parse().unwrap(), ..plan(64, Some(1)) };
        let held = time_wait(elsewhere.target.ip());
        let most = local_ports() as f64 / held;
        assert!(check_ports(&mut elsewhere, Some(most * 0.9), 2 * Duration::from_secs(60)).is_ok());
        let why = check_ports(&mut elsewhere, Some(most * 1.1), 2 * Duration::from_secs(60)).unwrap_err();
        assert!(why.to_string().contains("hold their port for"), "{why}");
        elsewhere.requests_per_conn = Some(2);
        let ports = check_ports(&mut elsewhere, Some(most * 1.1), 2 * Duration::from_secs(60)).unwrap();
        assert!(ports.in_words().is_some_and(|words| words.contains("connections/s at most")));
    }

    #[test]
    fn more_memory_than_there_is_is_refused() {
        assert!(check_memory(&plan(64, None)).is_ok());
        let why = check_memory(&Plan { depth: usize::MAX / 100, ..plan(64, None) }).unwrap_err();
        assert!(why.to_string().contains("MiB are available"), "{why}");
    }
}
