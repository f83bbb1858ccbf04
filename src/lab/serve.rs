//! What a server did and cost: the report of `io-models serve`.

use super::show::{Page, Table};
use super::{SystemCalls, units};
use crate::serve::{self, Totals};
use crate::sys::calls;
use anstyle::Style;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::{TimeVal, TimeValLike};
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::time::Duration;

/// The report.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    schema: &'static str,
    schema_version: u32,
    model: &'static str,
    address: SocketAddr,
    seconds: f64,
    connections: u64,
    /// Pieces that were received and answered.
    requests: u64,
    bytes_in: u64,
    bytes_out: u64,
    /// How often clients had to wait because no descriptor, thread or process was left, or at the limit on clients.
    times_full: u64,
    /// The worker processes that ended before the server did, and were replaced.
    replaced: u64,
    /// The processes that did not end when they were told to, and were killed.
    killed: u64,
    #[serde(flatten)]
    sharing: Sharing,
    system_calls: SystemCalls<u64>,
    /// Of this process and of the children that it has collected.
    user_cpu_s: f64,
    system_cpu_s: f64,
    /// `VmHWM` of this process; null where /proc does not tell. And the largest of a child (0 without children).
    peak_rss_bytes: Option<u64>,
    largest_child_rss_bytes: u64,
}

/// How the workers of a server shared its clients.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Sharing {
    /// What each worker did; empty for a model without workers.
    pub workers: Vec<Share>,
    /// Jain's index; `None` without workers, and when there was nothing to share.
    pub fairness_of_connections: Option<f64>,
    /// The same of requests.
    pub fairness_of_requests: Option<f64>,
}

/// What one worker did.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Share {
    /// Clients that it accepted.
    pub connections: u64,
    /// Pieces that it answered.
    pub requests: u64,
}

impl Sharing {
    fn of(workers: &[serve::Share]) -> Sharing {
        let fairness = |of: fn(&serve::Share) -> u64| jain(&workers.iter().map(of).collect::<Vec<_>>());
        let share =
            |worker: &serve::Share| Share { connections: worker.connections, requests: worker.requests };
        Sharing {
            fairness_of_connections: fairness(|worker| worker.connections),
            fairness_of_requests: fairness(|worker| worker.requests),
            workers: workers.iter().map(share).collect(),
        }
    }
}

impl Report {
    /// What this process has cost until now.
    ///
    /// # Errors
    ///
    /// Those of getrusage(2): none in practice.
    pub fn new(
        model: &'static str,
        address: SocketAddr,
        totals: Totals,
        ran: Duration,
    ) -> anyhow::Result<Report> {
        let system_calls = SystemCalls::of(&calls::counts());
        let own = getrusage(UsageWho::RUSAGE_SELF)?;
        let children = getrusage(UsageWho::RUSAGE_CHILDREN)?;
        let seconds = |time: TimeVal| time.num_microseconds() as f64 / 1e6;
        // ru_maxrss of a process also holds what its starter had before exec; VmHWM does not.
        let status = procfs::process::Process::myself().and_then(|process| process.status());
        let peak_kib = status.ok().and_then(|status| status.vmhwm);
        Ok(Report {
            schema: "io-models/serve",
            schema_version: 1,
            model,
            address,
            seconds: ran.as_secs_f64(),
            connections: totals.connections,
            requests: totals.requests,
            bytes_in: totals.bytes_in,
            bytes_out: totals.bytes_out,
            times_full: totals.times_full,
            replaced: totals.replaced,
            killed: totals.killed,
            sharing: Sharing::of(&totals.workers),
            system_calls,
            user_cpu_s: seconds(own.user_time()) + seconds(children.user_time()),
            system_cpu_s: seconds(own.system_time()) + seconds(children.system_time()),
            peak_rss_bytes: peak_kib.map(|kib| kib * 1024),
            largest_child_rss_bytes: children.max_rss().unsigned_abs() * 1024,
        })
    }
}

impl Report {
    /// The report for people, in lines of at most `width` columns.
    #[must_use]
    pub fn text(&self, width: Option<usize>) -> String {
        let mut page = Page::new(width);
        page.paragraph(&format!("{}: stopped after {}", self.model, units::seconds(self.seconds)));
        page.line("connections", units::count(self.connections));
        page.line("requests", units::count(self.requests));
        let [bytes_in, bytes_out] = [self.bytes_in, self.bytes_out].map(units::count);
        page.line("bytes", format!("{bytes_in} in, {bytes_out} out"));
        if self.times_full > 0 {
            let times = units::of(self.times_full, "time");
            page.line(
                "full",
                format!("accepting was paused for lack of a descriptor, a thread or a process, or at --max-clients, {times}"),
            );
        }
        self.show_workers(&mut page);
        let [user, system] = [self.user_cpu_s, self.system_cpu_s].map(units::seconds);
        page.line("CPU", format!("{user} user, {system} system"));
        let mut memory = self.peak_rss_bytes.map_or("–".to_owned(), units::bytes);
        if self.largest_child_rss_bytes > 0 {
            memory += &format!(" here, {} in the largest child", units::bytes(self.largest_child_rss_bytes));
        }
        page.line("peak memory", memory);
        page.line("system calls", units::count(self.system_calls.total));
        let mut calls = Table::new(&["", ""], "");
        for (name, n) in &self.system_calls.by_name {
            let n = n.as_u64().map_or_else(|| n.to_string(), units::count);
            calls.row([format!("    {name}"), n], "", Style::new());
        }
        page.table(&calls);
        page.into_text()
    }

    fn show_workers(&self, page: &mut Page) {
        if self.killed > 0 {
            let processes = units::of(self.killed, "process");
            page.line("killed", format!("{processes} that did not end when told to"));
        }
        if self.replaced > 0 {
            let processes = units::of(self.replaced, "process");
            page.line("replaced", format!("{processes} that ended before the server did"));
        }
        let workers = &self.sharing.workers;
        if workers.is_empty() {
            return;
        }
        page.line("workers", units::count(workers.len() as u64));
        if workers.len() == 1 {
            return;
        }
        let Sharing { fairness_of_connections, fairness_of_requests, .. } = self.sharing;
        let range = |of: fn(&Share) -> u64, fairness: Option<f64>| {
            let (least, most) = (workers.iter().map(of).min(), workers.iter().map(of).max());
            let [least, most] = [least, most].map(|n| units::count(n.unwrap_or(0)));
            let fairness = fairness.map_or("–".to_owned(), |index| format!("{index:.2}"));
            let each = if least == most { most } else { format!("{least} to {most}") };
            format!("{each} each, fairness {fairness}")
        };
        page.more(format!("connections: {}", range(|worker| worker.connections, fairness_of_connections)));
        page.more(format!("requests: {}", range(|worker| worker.requests, fairness_of_requests)));
        page.more("fairness: Jain's index, 1 when all did as much as each other");
        if workers.len() <= MOST_SHOWN {
            let mut table = Table::new(&["    worker", "connections", "requests"], "");
            for (i, Share { connections, requests }) in workers.iter().enumerate() {
                let counts = [connections, requests].map(|&n| units::count(n));
                table.row([format!("    {i}")].into_iter().chain(counts), "", Style::new());
            }
            page.table(&table);
        }
    }
}

/// Workers that the report for people lists one by one, at most.
const MOST_SHOWN: usize = 16;

/// Jain's fairness index: 1 when all parts are equal, 1/n when one has everything. R. Jain, D. Chiu, W. Hawe, "A Quantitative
/// Measure of Fairness and Discrimination for Resource Allocation in Shared Computer Systems", DEC-TR-301, 1984. `None` when
/// there is nothing to share.
#[must_use]
pub fn jain(parts: &[u64]) -> Option<f64> {
    let sum: f64 = parts.iter().map(|&part| part as f64).sum();
    let squares: f64 = parts.iter().map(|&part| (part as f64).powi(2)).sum();
    (sum > 0.0).then(|| sum * sum / (parts.len() as f64 * squares))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fairness_is_one_for_equal_parts_and_one_nth_when_one_has_all() {
        assert_eq!(jain(&[7, 7, 7]), Some(1.0));
        assert_eq!(jain(&[9, 0, 0, 0]), Some(0.25));
        assert_eq!((jain(&[]), jain(&[0, 0])), (None, None));
    }
}
