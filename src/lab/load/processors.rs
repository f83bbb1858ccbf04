//! The processors that a generator can use, and how it should wait because of that.
//!
//! A generator that spins needs a processor of its own. Otherwise it takes time from the server that it measures, and other
//! programs take time from it. Where no processor is free, it sleeps.

use super::plan::Wait;
use crate::sys::affinity;
use serde::{Deserialize, Serialize};
use std::fs;
use std::net::{SocketAddr, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

/// How long to measure how many processors are idle.
const LOOK: Duration = Duration::from_millis(50);

/// The generator still spins when this much of a processor is missing.
const TOLERANCE: f64 = 0.5;

/// The processors that there are for the generator.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Processors {
    /// Those that this process may use, by its affinity and the quota of its control group.
    pub allowed: usize,
    /// Processors among those that this process may run on which had no work just before the load; `null` where
    /// /proc/stat does not tell.
    pub idle: Option<f64>,
    /// Whether the server is on this machine and needs one as well.
    pub server_is_here: bool,
    /// Why the generator sleeps although `--wait` does not say so.
    pub why_sleep: Option<String>,
}

impl Processors {
    /// Look at the processors of this machine, for 50 ms.
    #[must_use]
    pub fn look(target: &SocketAddr) -> Processors {
        let allowed = thread::available_parallelism().map_or(1, usize::from);
        Processors { allowed, idle: idle(), server_is_here: is_here(target), why_sleep: None }
    }

    /// How a generator of so many threads should wait.
    pub fn choose_wait(&mut self, threads: usize) -> Wait {
        let needed = threads + usize::from(self.server_is_here);
        let free = self.idle.map_or(self.allowed as f64, |idle| idle.min(self.allowed as f64));
        if free + TOLERANCE >= needed as f64 {
            return Wait::Spin;
        }
        let server = if self.server_is_here { " and the server" } else { "" };
        let (plural, these) = if threads == 1 { ("", "thread") } else { ("s", "threads") };
        self.why_sleep = Some(if needed > self.allowed {
            format!(
                "the generator sleeps between requests, because {threads} {these}{server} need {needed} processors and \
                 there {} {}; its own wake-ups are part of the latencies",
                if self.allowed == 1 { "is" } else { "are" },
                self.allowed
            )
        } else {
            format!(
                "the generator sleeps between requests, because other programs are running: {free:.1} processors are \
                 free, and its thread{plural}{server} need {needed}; its own wake-ups are part of the latencies"
            )
        });
        Wait::Sleep
    }

    /// What helps a generator of so many threads that is too slow or too late on this machine.
    #[must_use]
    pub fn remedy(&self, threads: usize, wait: Wait) -> String {
        let needed = threads + usize::from(self.server_is_here);
        if self.allowed > needed {
            return format!(
                "--threads {} would use more of the {} processors here",
                threads + 1,
                self.allowed
            );
        }
        match wait {
            Wait::Spin
                if self.allowed < needed
                    || self.idle.is_some_and(|idle| idle + TOLERANCE < needed as f64) =>
            {
                "--wait sleep is better where no processor is free".to_owned()
            }
            _ => "end other programs, offer less, or run the generator on another machine".to_owned(),
        }
    }
}

/// How many of the processors that this process may run on were idle.
fn idle() -> Option<f64> {
    let allowed = affinity::allowed().ok()?;
    let ticks = || idle_ticks(&fs::read_to_string("/proc/stat").ok()?, &allowed);
    let (before, began) = (ticks()?, Instant::now());
    // The time to measure, not a wait for something.
    thread::sleep(LOOK);
    let (after, took) = (ticks()?, began.elapsed());
    let idle = after.saturating_sub(before) as f64 / procfs::ticks_per_second() as f64;
    Some(idle / took.as_secs_f64())
}

/// The idle time of these processors in /proc/stat (man 5 proc_stat), in ticks: `cpuN user nice system idle iowait …`. Read
/// here, because procfs drops the N, and processors that are offline have no line.
fn idle_ticks(stat: &str, allowed: &[usize]) -> Option<u64> {
    let of = |line: &str| {
        // The line of all together has no number.
        let (cpu, ticks) = line.strip_prefix("cpu")?.split_once(' ')?;
        let is_allowed = allowed.contains(&cpu.parse().ok()?);
        let idle = ticks.split_whitespace().skip(3).take(2).filter_map(|ticks| ticks.parse::<u64>().ok());
        is_allowed.then(|| idle.sum::<u64>())
    };
    stat.lines().filter_map(of).reduce(|sum, ticks| sum + ticks)
}

/// Whether an address is one of this machine: then it is also the one from which it would be reached.
fn is_here(target: &SocketAddr) -> bool {
    if target.ip().is_loopback() {
        return true;
    }
    let any: SocketAddr = if target.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { ([0; 8], 0).into() };
    // connect(2) of a datagram socket sends nothing: it only looks up the route.
    let route =
        UdpSocket::bind(any).and_then(|socket| socket.connect(target).and_then(|()| socket.local_addr()));
    route.is_ok_and(|local| local.ip() == target.ip())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(allowed: usize, idle: Option<f64>, server_is_here: bool) -> Processors {
        Processors { allowed, idle, server_is_here, why_sleep: None }
    }

    #[test]
    fn it_spins_only_where_a_processor_is_free_for_each_thread_and_the_server() {
        for (processors, threads, wait) in [
            (with(2, Some(2.0), true), 1, Wait::Spin),
            (with(2, Some(1.7), true), 1, Wait::Spin),
            (with(2, None, true), 1, Wait::Spin),
            (with(2, Some(1.0), true), 1, Wait::Sleep),
            (with(2, Some(1.0), false), 1, Wait::Spin),
            (with(1, Some(1.0), true), 1, Wait::Sleep),
            (with(1, Some(8.0), true), 1, Wait::Sleep),
            (with(2, Some(2.0), true), 2, Wait::Sleep),
            (with(8, Some(7.9), true), 4, Wait::Spin),
        ] {
            let mut chosen = processors.clone();
            assert_eq!(chosen.choose_wait(threads), wait, "{processors:?}, {threads} threads");
            assert_eq!(chosen.why_sleep.is_some(), wait == Wait::Sleep);
        }
    }

    #[test]
    fn the_advice_fits_the_machine() {
        assert!(with(8, Some(8.0), true).remedy(1, Wait::Spin).contains("--threads 2"));
        assert!(with(2, Some(0.5), true).remedy(1, Wait::Spin).contains("--wait sleep"));
        assert!(with(2, Some(0.5), true).remedy(1, Wait::Sleep).contains("another machine"));
    }

    #[test]
    fn only_processors_that_this_process_may_run_on_count_as_idle() {
        let stat =
            "cpu  9 9 9 1111 1111 9\ncpu0 1 0 1 100 1 0\ncpu2 1 0 1 200 2 0\ncpu3 1 0 1 400 4 0\nintr 7\n";
        assert_eq!(idle_ticks(stat, &[0, 2]), Some(303));
        assert_eq!(idle_ticks(stat, &[1, 3]), Some(404), "1 is offline");
        assert_eq!(idle_ticks(stat, &[7]), None);
        assert_eq!(idle_ticks("", &[0]), None);
    }

    #[test]
    fn loopback_is_here_and_a_documentation_address_is_not() {
        assert!(is_here(&"127.0.0.9:1".parse().unwrap()));
        assert!(is_here(&"[::1]:1".parse().unwrap()));
        assert!(!is_here(&"192.0.2.1:1".parse().unwrap()));
    }
}
