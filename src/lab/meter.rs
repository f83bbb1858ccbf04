//! What a server costs, measured from outside: CPU time, memory, system calls.

use crate::sys::calls::{self, Counts};
use anyhow::{Context, bail};
use procfs::process::Process;
use procfs::{CurrentSI, KernelStats};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

/// A file in memory into which a server counts its system calls while we read it.
#[derive(Debug)]
pub struct CallCounter(File);

impl CallCounter {
    /// Create a counter that is all zero.
    ///
    /// # Errors
    ///
    /// `EMFILE`, `ENOMEM`.
    pub fn new() -> anyhow::Result<CallCounter> {
        Ok(CallCounter(calls::new_file()?))
    }

    /// A copy of the file for the server, as its standard input.
    ///
    /// # Errors
    ///
    /// `EMFILE`.
    pub fn for_server(&self) -> anyhow::Result<Stdio> {
        Ok(self.0.try_clone()?.into())
    }

    /// What has been counted until now.
    ///
    /// # Errors
    ///
    /// None in practice.
    pub fn counts(&self) -> anyhow::Result<Counts> {
        Ok(Counts::read_from(&self.0)?)
    }
}

/// CPU time of everything that has run on this machine since it started: the first line of /proc/stat, without idle and
/// stolen time. `None` where /proc does not tell.
#[must_use]
pub fn machine_busy() -> Option<Duration> {
    let cpu = KernelStats::current().ok()?.total;
    let some = |ms: Option<u64>| ms.unwrap_or(0);
    let ms = cpu.user_ms() + cpu.nice_ms() + cpu.system_ms();
    Some(Duration::from_millis(ms + some(cpu.irq_ms()) + some(cpu.softirq_ms())))
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

/// The processes and threads of a server, as they were when all its clients were connected. Where /proc does not tell,
/// their cost is not known.
#[derive(Debug)]
pub struct Tree {
    pids: Vec<u32>,
    /// `/proc/PID/task/TID` of each thread.
    tasks: Vec<PathBuf>,
    /// Whether this kernel tells the CPU time of threads (`CONFIG_SCHED_INFO`).
    tells_cpu: bool,
}

impl Tree {
    /// The process `pid`, its descendants, and all their threads.
    #[must_use]
    pub fn of(pid: u32) -> Tree {
        let mut tree = Tree { pids: vec![pid], tasks: Vec::new(), tells_cpu: false };
        let mut next = 0;
        while let Some(&pid) = tree.pids.get(next) {
            next += 1;
            let tasks = Process::new(pid.cast_signed()).and_then(|process| process.tasks());
            for task in tasks.into_iter().flatten().flatten() {
                // A kernel without this file (CONFIG_PROC_CHILDREN) shows no children.
                tree.pids.extend(task.children().unwrap_or_default());
                tree.tasks.push(format!("/proc/{pid}/task/{}", task.tid).into());
            }
        }
        tree.tells_cpu = !tree.tasks.is_empty() && tree.cpu().is_ok();
        tree
    }

    /// The same, when it has so many processes. A server can answer a client before it has started all of them. Where they do not
    /// come to light (a kernel without `CONFIG_PROC_CHILDREN` shows no children), nothing is known of their cost.
    #[must_use]
    pub fn with_processes(pid: u32, processes: usize) -> Tree {
        const LONGEST: Duration = Duration::from_secs(5);
        let until = Instant::now() + LONGEST;
        loop {
            let tree = Tree::of(pid);
            if tree.pids.len() >= processes {
                return tree;
            }
            if Instant::now() > until {
                return Tree { pids: Vec::new(), tasks: Vec::new(), tells_cpu: false };
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Whether the CPU time is known.
    #[must_use]
    pub fn tells_cpu(&self) -> bool {
        self.tells_cpu
    }

    /// CPU time of all of them, user and system, since they began; `None` where the kernel does not tell.
    ///
    /// The kernel updates the time of a *running* task only at ticks (every 4 ms at 250 Hz), so two equal readings do not
    /// show that it sleeps. This waits until every task sleeps (state S), which select and poll do only after their scan,
    /// or is stopped (T), and reads the time then.
    ///
    /// # Errors
    ///
    /// When a process has ended, or does not sleep within five seconds. That is long because other programs may use the
    /// processor meanwhile.
    pub fn cpu_when_asleep(&self) -> anyhow::Result<Option<Duration>> {
        const LONGEST: Duration = Duration::from_secs(5);
        if !self.tells_cpu {
            return Ok(None);
        }
        let until = Instant::now() + LONGEST;
        loop {
            if self.sleeps()? {
                let cpu = self.cpu()?;
                // No task has woken up in between, so the readings belong together.
                if self.sleeps()? && self.cpu()? == cpu {
                    return Ok(Some(cpu));
                }
            }
            if Instant::now() > until {
                bail!("the server still runs {} s after its last answer", LONGEST.as_secs());
            }
            // The server may need the processor that we are on.
            std::thread::sleep(Duration::from_micros(50));
        }
    }

    fn sleeps(&self) -> anyhow::Result<bool> {
        for task in &self.tasks {
            // "tid (name) state …", and a name may hold anything.
            let line = read(&task.join("stat"))?;
            let state = line.rsplit_once(')').and_then(|(_, rest)| rest.trim_start().chars().next());
            if !matches!(state, Some('S' | 'T')) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn cpu(&self) -> anyhow::Result<Duration> {
        let mut nanoseconds = 0;
        for task in &self.tasks {
            // "nanoseconds-running nanoseconds-waiting timeslices", Documentation/scheduler/sched-stats.
            let line = read(&task.join("schedstat"))?;
            let running = line.split_whitespace().next().and_then(|number| number.parse::<u64>().ok());
            nanoseconds += running.with_context(|| format!("{}: no number", task.display()))?;
        }
        Ok(Duration::from_nanos(nanoseconds))
    }

    /// The peak resident memory of each process, added up. A page that several processes share counts for each of them.
    /// `None` where /proc does not tell.
    #[must_use]
    pub fn peak_rss_bytes(&self) -> Option<u64> {
        let peak_kib = |pid: u32| Process::new(pid.cast_signed()).ok()?.status().ok()?.vmhwm;
        let kib: Option<u64> = self.pids.iter().map(|&pid| peak_kib(pid)).sum();
        kib.filter(|_| !self.pids.is_empty()).map(|kib| kib * 1024)
    }
}

fn read(path: &Path) -> anyhow::Result<String> {
    fs::read_to_string(path).with_context(|| path.display().to_string())
}
