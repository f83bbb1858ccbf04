//! Where a measurement was made: a number without it cannot be compared with another.

use super::units;
use crate::sys::affinity;
use crate::sys::limits::Nofile;
use serde::Serialize;
use std::fs;

/// The machine, its settings, and this program.
#[derive(Debug, Clone, Serialize)]
pub struct Environment {
    kernel: String,
    machine: String,
    cpu_model: String,
    cpus: usize,
    cpus_allowed: Vec<usize>,
    /// `None` where /proc does not tell.
    memory_bytes: Option<u64>,
    mitigations: Vec<String>,
    rlimit_nofile_soft: u64,
    rlimit_nofile_hard: u64,
    sysctls: serde_json::Map<String, serde_json::Value>,
    io_uring: String,
    program_version: &'static str,
    commit: &'static str,
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
    /// This machine, now. What cannot be read is left empty.
    #[must_use]
    pub fn here() -> Environment {
        let uname = nix::sys::utsname::uname();
        let uname = |field: fn(&nix::sys::utsname::UtsName) -> &std::ffi::OsStr| -> String {
            uname.as_ref().map_or_else(|_| String::new(), |u| field(u).to_string_lossy().into_owned())
        };
        let nofile = Nofile::current().unwrap_or(Nofile { soft: 0, hard: 0 });
        let sysctls = SYSCTLS
            .iter()
            .filter_map(|&name| {
                let value = fs::read_to_string(format!("/proc/sys/{}", name.replace('.', "/"))).ok()?;
                Some((name.to_owned(), value.split_whitespace().collect::<Vec<_>>().join(" ").into()))
            })
            .collect();
        Environment {
            kernel: uname(|u| u.release()),
            machine: uname(|u| u.machine()),
            cpu_model: line_of("/proc/cpuinfo", "model name")
                .unwrap_or_else(|| "CPU model unknown".to_owned()),
            cpus: std::thread::available_parallelism().map_or(0, usize::from),
            cpus_allowed: affinity::allowed().unwrap_or_default(),
            memory_bytes: line_of("/proc/meminfo", "MemTotal")
                .and_then(|kib| kib.trim_end_matches("kB").trim().parse::<u64>().ok())
                .map(|kib| kib * 1024),
            mitigations: mitigations(),
            rlimit_nofile_soft: nofile.soft,
            rlimit_nofile_hard: nofile.hard,
            sysctls,
            io_uring: io_uring(),
            program_version: env!("CARGO_PKG_VERSION"),
            commit: env!("IO_MODELS_COMMIT"),
            // Arguments are bytes; what is no text in them cannot be in JSON.
            command: std::env::args_os().map(|arg| arg.to_string_lossy().into_owned()).collect(),
        }
    }

    /// How many processors this process may use.
    #[must_use]
    pub fn cpus(&self) -> usize {
        self.cpus_allowed.len()
    }

    /// The kernel and the machine, as in "Linux 6.18.0, x86_64".
    #[must_use]
    pub fn system(&self) -> String {
        format!("Linux {}, {}", self.kernel, self.machine)
    }

    /// One line for the head of a table.
    #[must_use]
    pub fn line(&self) -> String {
        format!(
            "Linux {} {}, {}, {}, at most {} descriptors, TCP congestion control {}, commit {}",
            self.kernel,
            self.machine,
            self.cpu_model,
            units::of(self.cpus_allowed.len() as u64, "CPU"),
            units::count(self.rlimit_nofile_soft),
            self.sysctls
                .get("net.ipv4.tcp_congestion_control")
                .and_then(|value| value.as_str())
                .unwrap_or("unknown"),
            self.commit
        )
    }
}

fn line_of(file: &str, key: &str) -> Option<String> {
    let text = fs::read_to_string(file).ok()?;
    let line = text.lines().find(|line| line.starts_with(key))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

/// What slows system calls down here, by vulnerability.
fn mitigations() -> Vec<String> {
    let Ok(files) = fs::read_dir("/sys/devices/system/cpu/vulnerabilities") else { return Vec::new() };
    let mut all: Vec<_> = files
        .flatten()
        .filter_map(|file| {
            let state = fs::read_to_string(file.path()).ok()?;
            let state = state.trim();
            (state != "Not affected").then(|| format!("{}: {state}", file.file_name().to_string_lossy()))
        })
        .collect();
    all.sort();
    all
}

#[cfg(feature = "uring")]
fn io_uring() -> String {
    crate::sys::uring::unavailable().unwrap_or_else(|| "available".to_owned())
}

#[cfg(not(feature = "uring"))]
fn io_uring() -> String {
    "not asked: built without the feature uring".to_owned()
}
