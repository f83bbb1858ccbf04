//! What the machine did, as the first line of /proc/stat tells (man 5 proc_stat).

use procfs::{CurrentSI, KernelStats};
use std::time::Duration;

/// Time of all processors since the machine started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Times {
    /// In user mode and in the kernel, without interrupts.
    pub processes: Duration,
    /// In interrupts, hardware and software.
    pub interrupts: Duration,
    /// In software interrupts.
    pub softirq: Duration,
    /// Ready to run, while the hypervisor ran others.
    pub stolen: Duration,
}

impl Times {
    /// Now. `None` where /proc does not tell.
    #[must_use]
    pub fn now() -> Option<Times> {
        let cpu = KernelStats::current().ok()?.total;
        let some = |ms: Option<u64>| Duration::from_millis(ms.unwrap_or(0));
        let softirq = some(cpu.softirq_ms());
        Some(Times {
            processes: Duration::from_millis(cpu.user_ms() + cpu.nice_ms() + cpu.system_ms()),
            interrupts: some(cpu.irq_ms()) + softirq,
            softirq,
            stolen: some(cpu.steal_ms()),
        })
    }

    /// The difference to an earlier time.
    #[must_use]
    pub fn since(self, earlier: Times) -> Times {
        Times {
            processes: self.processes.saturating_sub(earlier.processes),
            interrupts: self.interrupts.saturating_sub(earlier.interrupts),
            softirq: self.softirq.saturating_sub(earlier.softirq),
            stolen: self.stolen.saturating_sub(earlier.stolen),
        }
    }

    /// The sum.
    #[must_use]
    pub fn plus(self, other: Times) -> Times {
        Times {
            processes: self.processes + other.processes,
            interrupts: self.interrupts + other.interrupts,
            softirq: self.softirq + other.softirq,
            stolen: self.stolen + other.stolen,
        }
    }

    /// Time in which a processor did anything.
    #[must_use]
    pub fn busy(self) -> Duration {
        self.processes + self.interrupts
    }
}

/// Other programs may keep that many processors busy before a measurement counts as disturbed.
const QUIET_CPUS: f64 = 0.2;

/// One line, when other programs disturbed a measurement on `cpus` processors. Each part of it has a name, and how many
/// processors others kept busy, if that is known.
#[must_use]
pub fn disturbance<'a>(parts: impl Iterator<Item = (&'a str, Option<f64>)>, cpus: usize) -> Option<String> {
    let noisy = parts.filter_map(|(name, busy)| Some((name, busy.filter(|&busy| busy > QUIET_CPUS)?)));
    let noisy: Vec<_> = noisy.map(|(name, busy)| format!("{busy} under {name}")).collect();
    let noisy = (!noisy.is_empty()).then(|| noisy.join(", "))?;
    Some(format!(
        "other programs kept some of {cpus} processors busy: {noisy}; measure again when it is quiet"
    ))
}
