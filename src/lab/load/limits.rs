//! What a load needs of this machine, computed before the first connection: descriptors, ports, memory.

use super::crew::Order;
use super::hostile::HostileClients;
use super::plan::{EngineKind, Plan};
use crate::lab::units::{self, count, of};
use crate::sys::Errno;
use crate::sys::limits::Nofile;
use crate::sys::socket::{self, Mode};
use anyhow::{anyhow, bail};
use procfs::Current;
use serde::{Deserialize, Serialize};
use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

/// Descriptors that a generator needs besides its connections: the three standard streams, epoll, stop, and
/// what the caller may have left open.
pub const NOT_FOR_CONNECTIONS: usize = 16;

/// New connections a second in a closed loop, which has no rate, for the arithmetic. One machine made some 30 000.
const MOST_NEW: f64 = 100_000.0;

/// How long a port stays in TIME_WAIT: `TCP_TIMEWAIT_LEN`.
const TIME_WAIT: f64 = 60.0;

/// How soon a port in TIME_WAIT is used again where the kernel may: `net.ipv4.tcp_tw_reuse`.
const TIME_WAIT_REUSED: f64 = 1.0;

/// What the kernel needs for an idle connection of ours, and on loopback for the server's end as well; measured on
/// Linux 6.18, rounded up.
const KERNEL_BYTES: u64 = 5 << 10;

/// What the engine keeps of a request under way.
const REQUEST_BYTES: u64 = 32;

/// The histograms of a step, when all of their pages are in use.
const RECORD_BYTES: u64 = 1 << 20;

/// The buffers of an io_uring(7).
const URING_BYTES: u64 = 17 << 20;

/// The local ports for a load, and for how many connections they are enough.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ports {
    /// `net.ipv4.ip_local_port_range`.
    pub of_one_address: usize,
    /// How many own addresses there are.
    pub addresses: usize,
    /// How long a port cannot be used after its connection, in seconds.
    pub held_s: f64,
    /// Ports that the connections need at once.
    pub at_once: usize,
    /// Ports that earlier runs still hold, where that matters.
    pub in_time_wait: usize,
    /// Whether connections come and go.
    pub comes_and_goes: bool,
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
        bail!(
            "{} are too many: at most {} here, because {limit}",
            of(connections as u64, "connection"),
            count(most as u64)
        );
    }
    Ok(())
}

/// Check that there are enough ports for `plan` and the hostile clients, at this rate of requests, if it is known, and for
/// this time in all. On loopback, own addresses are added when one is not enough.
///
/// # Errors
///
/// When there are not enough: with the arithmetic and the remedy.
pub fn check_ports(
    plan: &mut Plan,
    hostile: HostileClients,
    rate: Option<f64>,
    time: Duration,
) -> anyhow::Result<Ports> {
    let of_one_address = local_ports();
    let held_s = time_wait(plan.target.ip());
    // Each connection that is open has a port, and each that our side has ended keeps its port for a while.
    let per_conn = plan.requests_per_conn.map(f64::from);
    let new = per_conn.map_or(0.0, |n| rate.unwrap_or(MOST_NEW) / n) + hostile.ended_per_s();
    let ended = (new * held_s.min(time.as_secs_f64())).ceil() as usize;
    let at_once = plan.connections().saturating_add(hostile.connections());
    let needed = at_once.saturating_add(ended);
    let addresses = needed.div_ceil(of_one_address);
    let can_add = plan.sources.is_empty() && matches!(plan.target.ip(), IpAddr::V4(v4) if v4.is_loopback());
    if addresses > 1 && can_add {
        let last = addresses.min(250) as u8;
        plan.sources = (1..=last).map(|i| IpAddr::V4(Ipv4Addr::new(127, 0, 0, 1 + i))).collect();
    }
    let addresses = plan.sources.len().max(1);
    // After a second the kernel gives them out again.
    let in_time_wait = if held_s > TIME_WAIT_REUSED { in_time_wait(plan.target) } else { 0 };
    let comes_and_goes = per_conn.is_some();
    let ports = Ports { of_one_address, addresses, held_s, at_once, in_time_wait, comes_and_goes };
    // In a closed loop a connection waits for its port, and the loop slows down by itself.
    let needed = if comes_and_goes && rate.is_none() { at_once } else { needed };
    let all = of_one_address * addresses;
    if needed > all.saturating_sub(in_time_wait) {
        let why = match ended {
            _ if comes_and_goes && rate.is_none() => String::new(),
            0 => String::new(),
            _ => format!(", because {} connections/s each hold their port for {held_s} s", units::rate(new)),
        };
        let taken = match in_time_wait {
            0 => String::new(),
            n => format!(
                ", of which {} {} in TIME_WAIT since earlier runs, for {held_s} s at most",
                count(n as u64),
                if n == 1 { "is" } else { "are" }
            ),
        };
        bail!(
            "this needs {}{why}; there are {} (net.ipv4.ip_local_port_range) for each of {}{taken}: give more --sources, \
             such as 127.0.0.2-127.0.0.9 for a server on loopback, a wider range, or a lower rate",
            of(needed as u64, "local port"),
            count(of_one_address as u64),
            of(addresses as u64, "own address")
        );
    }
    Ok(ports)
}

impl Ports {
    /// The arithmetic, in a line; `None` where there are plenty of ports.
    #[must_use]
    pub fn in_words(&self) -> Option<String> {
        let Ports { of_one_address, addresses, held_s, at_once, in_time_wait, comes_and_goes } = *self;
        let all = of_one_address * addresses;
        let own = format!("{} × {}", of(of_one_address as u64, "port"), of(addresses as u64, "own address"));
        if comes_and_goes {
            return Some(format!(
                "{own}, each held for {held_s} s after its connection (TIME_WAIT): {} connections/s at most",
                units::rate(all as f64 / held_s)
            ));
        }
        // Few connections leave enough ports for the next run. Many do so as well where the kernel soon gives out a port again.
        let taken = at_once.saturating_add(in_time_wait);
        (held_s > TIME_WAIT_REUSED && taken > all / 10).then(|| {
            let before = match in_time_wait {
                0 => String::new(),
                n => format!(", and earlier runs still hold {}", count(n as u64)),
            };
            format!(
                "{own}; this run takes {}{before}; each is held for {held_s} s after it (TIME_WAIT)",
                count(at_once as u64)
            )
        })
    }
}

/// How many ports towards `target` connections hold that have ended.
fn in_time_wait(target: SocketAddr) -> usize {
    let entries = if target.is_ipv4() { procfs::net::tcp() } else { procfs::net::tcp6() };
    let held = |entry: &procfs::net::TcpNetEntry| {
        entry.remote_address == target && entry.state == procfs::net::TcpState::TimeWait
    };
    entries.map_or(0, |entries| entries.iter().filter(|entry| held(entry)).count())
}

/// Check that the own addresses of `plan` are addresses of this machine, of the same family as the server's address.
///
/// # Errors
///
/// When one is not.
pub fn check_sources(plan: &Plan) -> anyhow::Result<()> {
    for source in &plan.sources {
        if source.is_ipv4() != plan.target.is_ipv4() {
            let of = |is_ipv4| if is_ipv4 { "IPv4" } else { "IPv6" };
            bail!(
                "--sources {source} is an {} address, and the server's is an {} address: give addresses of its kind",
                of(source.is_ipv4()),
                of(plan.target.is_ipv4())
            );
        }
        let addr = SocketAddr::new(*source, 0);
        let bound = socket::tcp(&addr, Mode::Nonblocking).and_then(|socket| socket::bind(&socket, &addr));
        match bound {
            Err(error) if error.errno() == Some(Errno::EADDRNOTAVAIL) => {
                bail!("--sources {source} is not an address of this machine: see `ip addr`, or add it")
            }
            bound => bound.map_err(|error| anyhow!("--sources {source}: {error}"))?,
        }
    }
    Ok(())
}

/// Check that there is memory for this load, which has `steps` rates one after the other.
///
/// # Errors
///
/// When there is not.
pub fn check_memory(order: &Order, hostile: HostileClients, steps: usize) -> anyhow::Result<()> {
    let Some(available) = memory_here() else { return Ok(()) };
    let needed = memory_of(&order.plan, hostile, order.threads, steps, order.engine);
    if needed > available {
        bail!(
            "this needs some {} MiB of memory, and {} MiB are available: open fewer connections, or lower --depth or \
             --size",
            count(needed >> 20),
            count(available >> 20)
        );
    }
    Ok(())
}

/// The bytes of memory that are available; `None` where /proc does not tell.
pub(in crate::lab) fn memory_here() -> Option<u64> {
    let memory = procfs::Meminfo::current().ok()?;
    Some(memory.mem_available.unwrap_or(memory.mem_free))
}

/// The bytes that a load needs, those of the kernel included. Absurd numbers give an absurd sum, and no overflow.
fn memory_of(plan: &Plan, hostile: HostileClients, threads: usize, steps: usize, engine: EngineKind) -> u64 {
    let ends = if plan.target.ip().is_loopback() { 2 } else { 1 };
    let requests = (plan.active as u64).saturating_mul(plan.depth as u64);
    // Requests under way wait in socket buffers, which have limits (4 and 6 MiB, tcp(7)).
    let a_request = u64::from(plan.sizes.largest());
    let most_in_buffers = (plan.active as u64).saturating_mul(ends * (10 << 20));
    let in_buffers = requests.saturating_mul(a_request).min(most_in_buffers);
    // The queue of a connection doubles as it grows.
    let of_requests = requests.saturating_mul(2 * REQUEST_BYTES);
    let connections = (plan.connections() as u64).saturating_add(hostile.connections() as u64);
    let of_connections = connections.saturating_mul(KERNEL_BYTES * ends + 512);
    let of_a_thread = (steps as u64).saturating_add(1).saturating_mul(RECORD_BYTES);
    let of_buffers = if engine == EngineKind::Uring { URING_BYTES } else { 0 };
    let of_threads = (threads as u64).saturating_mul(of_a_thread.saturating_add(of_buffers));
    [in_buffers, of_requests, of_connections, of_threads].into_iter().fold(0, u64::saturating_add)
}

/// Whether connect(2) may choose this port as the local one.
#[must_use]
pub fn is_local_port(port: u16) -> bool {
    let (from, to) = port_range();
    (from..=to).contains(&usize::from(port))
}

/// How many ports the kernel chooses from.
pub(in crate::lab) fn local_ports() -> usize {
    let (from, to) = port_range();
    to - from + 1
}

/// The first and the last of them.
fn port_range() -> (usize, usize) {
    let range = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    let mut ends = range.split_whitespace().filter_map(|end| end.parse::<usize>().ok());
    match (ends.next(), ends.next()) {
        (Some(from), Some(to)) if from <= to => (from, to),
        _ => (32_768, 60_999), // The kernel's default.
    }
}

/// How long the kernel does not give out a port towards `target` after its connection, in seconds.
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
    use super::super::schedule::Arrivals;
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
    const NOBODY: HostileClients = HostileClients { slow_readers: 0, half_closers: 0, resetters: 0 };

    fn memory(plan: Plan) -> anyhow::Result<()> {
        let order =
            Order { plan, engine: EngineKind::Epoll, threads: 1, pin: false, arrivals: Arrivals::Constant };
        check_memory(&order, NOBODY, 1)
    }

    #[test]
    fn few_connections_need_no_address_of_their_own() {
        let mut plan = plan(64, None);
        let ports = check_ports(&mut plan, NOBODY, Some(1e6), SECOND).unwrap();
        assert!(plan.sources.is_empty());
        assert_eq!(ports.in_words(), None, "a rate needs no ports, only connections do");
    }

    #[test]
    fn more_connections_than_ports_get_several_addresses_on_loopback_and_elsewhere_a_refusal() {
        let ports = local_ports();
        let mut many = plan(3 * ports, None);
        assert_eq!(check_ports(&mut many, NOBODY, None, SECOND).unwrap().addresses, 3);
        assert_eq!(many.sources[0], IpAddr::from([127, 0, 0, 2]));
        let mut elsewhere = Plan { target: "192.0.2.1:9".parse().unwrap(), ..plan(3 * ports, None) };
        let why = check_ports(&mut elsewhere, NOBODY, None, SECOND).unwrap_err().to_string();
        assert!(why.contains("--sources") && why.contains(&of(3 * ports as u64, "local port")), "{why}");
    }

    #[test]
    fn ports_in_time_wait_are_counted() {
        let mut elsewhere = Plan { target: "192.0.2.1:9".parse().unwrap(), ..plan(64, Some(1)) };
        let held = time_wait(elsewhere.target.ip());
        let most = local_ports() as f64 / held;
        assert!(check_ports(&mut elsewhere, NOBODY, Some(most * 0.9), 2 * Duration::from_secs(60)).is_ok());
        let why =
            check_ports(&mut elsewhere, NOBODY, Some(most * 1.1), 2 * Duration::from_secs(60)).unwrap_err();
        assert!(why.to_string().contains("hold their port for"), "{why}");
        elsewhere.requests_per_conn = Some(2);
        let ports =
            check_ports(&mut elsewhere, NOBODY, Some(most * 1.1), 2 * Duration::from_secs(60)).unwrap();
        assert!(ports.in_words().is_some_and(|words| words.contains("connections/s at most")));
    }

    #[test]
    fn more_memory_than_there_is_is_refused() {
        assert!(memory(plan(64, None)).is_ok());
        let why = memory(Plan { depth: usize::MAX / 100, ..plan(64, None) }).unwrap_err();
        assert!(why.to_string().contains("MiB are available"), "{why}");
    }

    #[test]
    fn absurd_numbers_are_refused_and_overflow_nothing() {
        for (active, idle) in [(usize::MAX, 1), (1, usize::MAX), (usize::MAX, usize::MAX)] {
            let mut absurd = Plan { active, idle, depth: usize::MAX, ..plan(1, Some(1)) };
            assert_eq!(absurd.connections(), usize::MAX);
            assert!(check_descriptors(absurd.connections()).is_err());
            assert!(check_ports(&mut absurd, NOBODY, Some(1e300), Duration::MAX).is_err());
            assert!(memory(absurd).is_err());
        }
        let all =
            HostileClients { slow_readers: usize::MAX, half_closers: usize::MAX, resetters: usize::MAX };
        assert_eq!(all.connections(), usize::MAX);
    }

    #[test]
    fn a_source_that_is_not_ours_or_of_the_other_kind_is_named() {
        let from = |source: &str| Plan { sources: vec![source.parse().unwrap()], ..plan(1, None) };
        assert!(check_sources(&from("127.0.0.2")).is_ok());
        let why = check_sources(&from("192.0.2.1")).unwrap_err().to_string();
        assert!(why.contains("192.0.2.1 is not an address of this machine"), "{why}");
        let why = check_sources(&from("::1")).unwrap_err().to_string();
        assert!(why.contains("::1 is an IPv6 address, and the server's is an IPv4 address"), "{why}");
    }
}
