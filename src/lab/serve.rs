//! What a server did and cost: the report of `io-models serve`.

use super::SystemCalls;
use crate::serve::Totals;
use crate::sys::calls;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::{TimeVal, TimeValLike};
use serde::Serialize;
use std::fmt;
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
    bytes_in: u64,
    bytes_out: u64,
    /// How often clients had to wait because no descriptor or process was left.
    times_full: u64,
    system_calls: SystemCalls<u64>,
    /// Of this process and of the children that it has collected.
    user_cpu_s: f64,
    system_cpu_s: f64,
    /// `VmHWM` of this process, and the largest of a child (0 without children).
    peak_rss_bytes: u64,
    largest_child_rss_bytes: u64,
}

impl Report {
    /// What this process has cost until now.
    ///
    /// # Errors
    ///
    /// When /proc cannot be read.
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
        // Where /proc does not tell (some sandboxes), it is 0: no reason to lose the rest.
        let status = procfs::process::Process::myself().and_then(|process| process.status());
        let peak_kib = status.ok().and_then(|status| status.vmhwm).unwrap_or(0);
        Ok(Report {
            schema: "io-models/serve",
            schema_version: 1,
            model,
            address,
            seconds: ran.as_secs_f64(),
            connections: totals.connections,
            bytes_in: totals.bytes_in,
            bytes_out: totals.bytes_out,
            times_full: totals.times_full,
            system_calls,
            user_cpu_s: seconds(own.user_time()) + seconds(children.user_time()),
            system_cpu_s: seconds(own.system_time()) + seconds(children.system_time()),
            peak_rss_bytes: peak_kib * 1024,
            largest_child_rss_bytes: children.max_rss().unsigned_abs() * 1024,
        })
    }
}

/// For people.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Report { connections, bytes_in, bytes_out, .. } = self;
        writeln!(f, "{}: stopped after {:.1} s", self.model, self.seconds)?;
        writeln!(f, "  connections    {connections}")?;
        writeln!(f, "  bytes          {bytes_in} in, {bytes_out} out")?;
        if self.times_full > 0 {
            writeln!(f, "  full           clients had to wait for a descriptor, {} times", self.times_full)?;
        }
        writeln!(f, "  CPU            {:.3} s user, {:.3} s system", self.user_cpu_s, self.system_cpu_s)?;
        write!(f, "  peak memory    {:.1} MiB", self.peak_rss_bytes as f64 / 1048576.0)?;
        if self.largest_child_rss_bytes > 0 {
            let child = self.largest_child_rss_bytes as f64 / 1048576.0;
            write!(f, " here, {child:.1} MiB in the largest child")?;
        }
        writeln!(f, "\n  system calls   {}", self.system_calls.total)?;
        for (name, n) in &self.system_calls.by_name {
            writeln!(f, "    {name:<18} {n}")?;
        }
        Ok(())
    }
}
