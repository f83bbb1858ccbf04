//! Where a measurement was made: a number without it cannot be compared with another.

pub mod cgroup;

use super::units;
use crate::sys::affinity;
use crate::sys::limits::Nofile;
use chrono::{DateTime, SecondsFormat, Utc};
use nix::sys::utsname::{UtsName, uname};
use procfs::{ConfigSetting, CpuInfo, Current, KernelConfig, Meminfo};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

/// The machine, its settings, and this program. What is not known is `None`, and `null` in JSON.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Environment {
    /// When the measurement began: RFC 3339, in UTC.
    started: Option<String>,
    /// The same, in seconds since 1970.
    started_unix_s: Option<f64>,
    kernel: Option<String>,
    machine: Option<String>,
    cpu_model: Option<String>,
    /// How many processors this process may use, by its affinity and the quota of its control group.
    cpus: Option<usize>,
    cpus_allowed: Option<Vec<usize>>,
    /// The processors of each core. Two in one core share its execution units.
    cpu_cores: Option<Vec<Vec<usize>>>,
    /// How the frequency of the allowed processors is chosen, such as `performance` or `powersave`.
    cpu_governor: Option<String>,
    /// How many processors' time a second the control group may use. `None` also when there is no quota.
    cpu_quota: Option<f64>,
    /// `CONFIG_IRQ_TIME_ACCOUNTING`: the time of interrupts, and so most of the work of loopback TCP, is then not in
    /// the CPU time of any process.
    irq_time_accounting: Option<bool>,
    memory_bytes: Option<u64>,
    mitigations: Option<Vec<String>>,
    rlimit_nofile_soft: Option<u64>,
    rlimit_nofile_hard: Option<u64>,
    sysctls: BTreeMap<String, Option<String>>,
    io_uring: String,
    program_version: String,
    commit: Option<String>,
    /// What compiled this program.
    compiler: Option<String>,
    command: Vec<String>,
}

/// Settings that the numbers depend on, below /proc/sys.
const SYSCTLS: &[&str] = &[
    "net.core.somaxconn",
    "net.core.busy_poll",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.tcp_congestion_control",
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_wmem",
    "net.ipv4.tcp_max_syn_backlog",
    "fs.file-max",
    "kernel.pid_max",
];

impl Environment {
    /// This machine, now, when a measurement begins.
    #[must_use]
    pub fn here() -> Environment {
        let now = SystemTime::now();
        let uname = uname().ok();
        let uname =
            |field: fn(&UtsName) -> &OsStr| Some(field(uname.as_ref()?).to_string_lossy().into_owned());
        let nofile = Nofile::current().ok();
        let allowed = affinity::allowed().ok();
        Environment {
            started: Some(DateTime::<Utc>::from(now).to_rfc3339_opts(SecondsFormat::Millis, true)),
            // The same digits: the text has milliseconds.
            started_unix_s: now.duration_since(UNIX_EPOCH).ok().map(|since| since.as_millis() as f64 / 1e3),
            kernel: uname(|u| u.release()),
            machine: uname(|u| u.machine()),
            cpu_model: CpuInfo::current().ok().and_then(|cpus| cpus.model_name(0).map(str::to_owned)),
            cpus: std::thread::available_parallelism().ok().map(usize::from),
            cpu_cores: cores(),
            cpu_governor: allowed.as_deref().and_then(governor),
            cpus_allowed: allowed,
            cpu_quota: cgroup::cpu_quota(),
            irq_time_accounting: KernelConfig::current().ok().as_ref().map(accounts_irq_time),
            memory_bytes: Meminfo::current().ok().map(|memory| memory.mem_total),
            mitigations: mitigations(),
            rlimit_nofile_soft: nofile.as_ref().map(|limit| limit.soft),
            rlimit_nofile_hard: nofile.as_ref().map(|limit| limit.hard),
            sysctls: SYSCTLS.iter().map(|&name| (name.to_owned(), sysctl(name))).collect(),
            io_uring: io_uring(),
            program_version: env!("CARGO_PKG_VERSION").to_owned(),
            commit: option_env!("IO_MODELS_COMMIT").map(str::to_owned),
            compiler: option_env!("IO_MODELS_COMPILER").map(str::to_owned),
            // Arguments are bytes; what is no text in them cannot be in JSON.
            command: std::env::args_os().map(|arg| arg.to_string_lossy().into_owned()).collect(),
        }
    }

    /// When the measurement began, in seconds since 1970.
    #[must_use]
    pub fn started_unix_s(&self) -> Option<f64> {
        self.started_unix_s
    }

    /// How many processors this process may run on; 0 when that is not known.
    #[must_use]
    pub fn cpus(&self) -> usize {
        self.cpus_allowed.as_ref().map_or(0, Vec::len)
    }

    /// Whether the time of interrupts is not part of the time of the process that was interrupted
    /// (`CONFIG_IRQ_TIME_ACCOUNTING`); `None` where that is not known.
    #[must_use]
    pub fn irq_time_accounting(&self) -> Option<bool> {
        self.irq_time_accounting
    }

    /// How this program was started.
    #[must_use]
    pub fn command(&self) -> &[String] {
        &self.command
    }

    /// The kernel and the machine, as in "Linux 6.18.0, x86_64".
    #[must_use]
    pub fn system(&self) -> String {
        format!("Linux {}, {}", known(&self.kernel), known(&self.machine))
    }

    /// One line for the head of a table.
    #[must_use]
    pub fn line(&self) -> String {
        let mut parts = vec![
            format!("Linux {} {}", known(&self.kernel), known(&self.machine)),
            self.cpu_model.clone().unwrap_or_else(|| "CPU model unknown".to_owned()),
            units::of(self.cpus() as u64, "CPU"),
        ];
        parts.extend(self.cpu_quota.map(|quota| format!("a quota of {quota:.2} CPUs")));
        parts.extend(self.cpu_governor.as_ref().map(|governor| format!("CPU governor {governor}")));
        parts.extend(
            self.rlimit_nofile_soft.map(|most| format!("at most {} descriptors", units::count(most))),
        );
        let congestion_control = self.sysctls.get("net.ipv4.tcp_congestion_control").unwrap_or(&None);
        parts.push(format!("TCP congestion control {}", known(congestion_control)));
        parts.push(format!("commit {}", known(&self.commit)));
        parts.join(", ")
    }
}

fn known(value: &Option<String>) -> &str {
    value.as_deref().unwrap_or("unknown")
}

/// A file of one line, without the line's end.
fn line_of(file: &str) -> Option<String> {
    fs::read_to_string(file).ok().map(|text| text.trim().to_owned())
}

/// A setting by its dotted name: sysctl(8).
fn sysctl(name: &str) -> Option<String> {
    let value = line_of(&format!("/proc/sys/{}", name.replace('.', "/")))?;
    Some(value.split_whitespace().collect::<Vec<_>>().join(" "))
}

/// The processors of each core: Documentation/admin-guide/cputopology.rst. Those that are offline have none.
fn cores() -> Option<Vec<Vec<usize>>> {
    let online = list(&line_of("/sys/devices/system/cpu/online")?)?;
    let core = |cpu: usize| {
        // Its older name, which kernels before 5.3 have as well.
        list(&line_of(&format!("/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list"))?)
    };
    let cores: Option<BTreeSet<_>> = online.into_iter().map(core).collect();
    cores.map(|cores| cores.into_iter().collect())
}

/// A list of processors as the kernel writes it: `0-3,8`.
fn list(text: &str) -> Option<Vec<usize>> {
    let range = |part: &str| {
        let (from, to) = part.split_once('-').unwrap_or((part, part));
        Some(from.parse().ok()?..=to.parse().ok()?)
    };
    let ranges: Option<Vec<_>> = text.split(',').map(range).collect();
    ranges.map(|ranges| ranges.into_iter().flatten().collect())
}

/// The governor of these processors; several, when they differ.
fn governor(cpus: &[usize]) -> Option<String> {
    let of = |cpu: &usize| line_of(&format!("/sys/devices/system/cpu/cpu{cpu}/cpufreq/scaling_governor"));
    let all: Option<BTreeSet<_>> = cpus.iter().map(of).collect();
    Some(all?.into_iter().collect::<Vec<_>>().join(", ")).filter(|names| !names.is_empty())
}

fn accounts_irq_time(config: &KernelConfig) -> bool {
    config.0.get("CONFIG_IRQ_TIME_ACCOUNTING") == Some(&ConfigSetting::Yes)
}

/// What slows system calls down here, by vulnerability.
fn mitigations() -> Option<Vec<String>> {
    let files = fs::read_dir("/sys/devices/system/cpu/vulnerabilities").ok()?;
    let mut all: Vec<_> = files
        .flatten()
        .filter_map(|file| {
            let state = fs::read_to_string(file.path()).ok()?;
            let state = state.trim();
            (state != "Not affected").then(|| format!("{}: {state}", file.file_name().to_string_lossy()))
        })
        .collect();
    all.sort();
    Some(all)
}

#[cfg(feature = "uring")]
fn io_uring() -> String {
    crate::sys::uring::unavailable().unwrap_or_else(|| "available".to_owned())
}

#[cfg(not(feature = "uring"))]
fn io_uring() -> String {
    "not asked: built without the feature uring".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use procfs::FromBufRead;

    #[test]
    fn an_environment_is_read_again_as_it_was_written() {
        let here = Environment::here();
        let text = serde_json::to_string(&here).unwrap();
        assert_eq!(serde_json::from_str::<Environment>(&text).unwrap(), here, "{text}");
    }

    #[test]
    fn what_an_older_result_does_not_have_is_not_known() {
        let old = r#"{"sysctls": {}, "io_uring": "available", "program_version": "0.1.0", "command": []}"#;
        let old: Environment = serde_json::from_str(old).unwrap();
        assert_eq!(old.compiler, None);
        assert_eq!(
            old.line(),
            "Linux unknown unknown, CPU model unknown, 0 CPUs, TCP congestion control unknown, commit unknown"
        );
    }

    #[test]
    fn both_times_are_the_same_moment() {
        let here = Environment::here();
        let text = DateTime::parse_from_rfc3339(&here.started.unwrap()).unwrap();
        assert_eq!(text.timestamp_millis(), (here.started_unix_s.unwrap() * 1e3) as i64);
    }

    #[test]
    fn lists_of_processors_are_read_as_the_kernel_writes_them() {
        assert_eq!(list("0"), Some(vec![0]));
        assert_eq!(list("0-2,8,10-11"), Some(vec![0, 1, 2, 8, 10, 11]));
        assert_eq!(list(""), None);
    }

    #[test]
    fn every_allowed_processor_is_in_one_core() {
        let here = Environment::here();
        let Some(cores) = here.cpu_cores else { return eprintln!("skipped: this kernel shows no topology") };
        for cpu in here.cpus_allowed.unwrap() {
            assert_eq!(cores.iter().flatten().filter(|&&other| other == cpu).count(), 1, "{cpu}: {cores:?}");
        }
    }

    #[test]
    fn irq_time_is_accounted_when_the_kernel_was_configured_so() {
        let config = |text: &str| KernelConfig::from_buf_read(text.as_bytes()).unwrap();
        assert!(accounts_irq_time(&config("CONFIG_A=m\nCONFIG_IRQ_TIME_ACCOUNTING=y\n")));
        assert!(!accounts_irq_time(&config("# CONFIG_IRQ_TIME_ACCOUNTING is not set\n")));
    }
}
