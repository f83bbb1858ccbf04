//! CPU time of a server: of all its processes and threads, those that have ended included.

use crate::sys::fork;
use anyhow::{Context, bail};
use nix::sys::signal::Signal;
use nix::time::{ClockId, clock_getcpuclockid, clock_gettime};
use nix::unistd::Pid;
use procfs::process::Process;
use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long a server may take to have nothing to do. That is long because other programs may use its processor meanwhile.
const LONGEST: Duration = Duration::from_secs(5);

/// The processes of a server.
#[derive(Debug)]
pub struct Tree {
    root: u32,
    /// The first process is not one of the server: it supervises it.
    without_root: bool,
    /// Processes come and go: they are looked up again each time.
    changes: bool,
    pids: Vec<u32>,
    /// Their CPU clocks; an error when one of them had ended by then.
    clocks: nix::Result<Vec<ClockId>>,
    /// `/proc/PID/task/TID/stat` of each thread.
    stats: Vec<PathBuf>,
    tells_cpu: bool,
    /// One of them ignores SIGCHLD.
    ignores_sigchld: bool,
    /// Processes of the server end while it is measured: some have, or the load has them end.
    processes_may_end: bool,
}

/// What threads of a server have done, and cost in sum.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Totals {
    /// CPU time in user mode.
    pub user: Duration,
    /// CPU time in the kernel.
    pub system: Duration,
    /// Times that a thread gave up its processor because it had nothing to do.
    pub voluntary: u64,
    /// Times that the kernel took it away.
    pub forced: u64,
}

impl Totals {
    /// The difference to an earlier time.
    #[must_use]
    pub fn since(self, earlier: Totals) -> Totals {
        Totals {
            user: self.user.saturating_sub(earlier.user),
            system: self.system.saturating_sub(earlier.system),
            voluntary: self.voluntary.saturating_sub(earlier.voluntary),
            forced: self.forced.saturating_sub(earlier.forced),
        }
    }
}

impl Tree {
    /// The process `root` and its descendants, which stay as they are, or come and go.
    #[must_use]
    pub fn of(root: u32, changes: bool) -> Tree {
        Tree::unknown(root, changes).looked()
    }

    /// No process has been looked up.
    fn unknown(root: u32, changes: bool) -> Tree {
        Tree {
            root,
            changes,
            without_root: false,
            pids: Vec::new(),
            clocks: Ok(Vec::new()),
            stats: Vec::new(),
            tells_cpu: false,
            ignores_sigchld: false,
            processes_may_end: false,
        }
    }

    /// All descendants of `root`, which come and go, without itself.
    #[must_use]
    pub fn below(root: u32) -> Tree {
        Tree { without_root: true, ..Tree::of(root, true) }.looked()
    }

    fn looked(mut self) -> Tree {
        self.look();
        self.tells_cpu = !self.stats.is_empty() && self.cpu().is_ok();
        self
    }

    /// The same, when it has so many processes. A server can answer a client before it has started all of them. Where they
    /// are not shown (a kernel without `CONFIG_PROC_CHILDREN` shows no children), nothing is known of their cost.
    #[must_use]
    pub fn with_processes(root: u32, processes: usize) -> Tree {
        let until = Instant::now() + LONGEST;
        // All of them are children of the first, which is one file to read, and not some for each process.
        let has_all = || children(root).is_some_and(|children| 1 + children >= processes);
        while processes > 1 && !has_all() {
            if Instant::now() > until {
                return Tree::unknown(root, false);
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Tree::of(root, false)
    }

    /// The same for a load under which a server may start processes that end too soon to be seen here.
    #[must_use]
    pub fn whose_processes_end(mut self) -> Tree {
        self.processes_may_end = true;
        self.ignores_sigchld = self.pids.iter().any(ignores_sigchld);
        self
    }

    fn look(&mut self) {
        let known = std::mem::replace(&mut self.pids, vec![self.root]);
        self.stats.clear();
        let mut next = 0;
        while let Some(&pid) = self.pids.get(next) {
            next += 1;
            let tasks = Process::new(pid.cast_signed()).and_then(|process| process.tasks());
            for task in tasks.into_iter().flatten().flatten() {
                // A kernel without this file (CONFIG_PROC_CHILDREN) shows no children.
                self.pids.extend(task.children().unwrap_or_default());
                self.stats.push(format!("/proc/{pid}/task/{}/stat", task.tid).into());
            }
            if self.without_root && next == 1 {
                self.stats.clear();
            }
        }
        if self.without_root {
            self.pids.remove(0);
        }
        let clock = |&pid: &u32| clock_getcpuclockid(Pid::from_raw(pid.cast_signed()));
        self.clocks = self.pids.iter().map(clock).collect();
        if self.changes {
            self.look_for_losses(&known.into_iter().collect());
        }
    }

    /// When a process ends whose parent ignores SIGCHLD, no process waits for it, and the kernel forgets its CPU time: man 2 wait.
    /// The same holds for a parent that handles SIGCHLD with `SA_NOCLDWAIT`, but /proc does not show that flag.
    fn look_for_losses(&mut self, known: &HashSet<u32>) {
        let now: HashSet<u32> = self.pids.iter().copied().collect();
        if self.processes_may_end {
            self.ignores_sigchld = self.ignores_sigchld || now.difference(known).any(ignores_sigchld);
        } else if known.difference(&now).any(|pid| *pid != self.root) {
            self.processes_may_end = true;
            self.ignores_sigchld = now.iter().any(ignores_sigchld);
        }
    }

    /// Its processes.
    #[must_use]
    pub fn pids(&self) -> &[u32] {
        &self.pids
    }

    /// Whether the CPU time is known.
    #[must_use]
    pub fn tells_cpu(&self) -> bool {
        self.tells_cpu && !self.loses_cpu()
    }

    /// Whether the CPU time of processes that have ended is lost, because one of the server's processes ignores SIGCHLD.
    #[must_use]
    pub fn loses_cpu(&self) -> bool {
        self.ignores_sigchld && self.processes_may_end
    }

    /// CPU time of all of them, user and system, since they began; `None` where the kernel does not tell, and when that of
    /// processes that have ended is lost.
    ///
    /// The kernel updates the time of a *running* task only at ticks (every 4 ms at 250 Hz), so two equal readings do not
    /// show that it sleeps. This waits until every task sleeps (state S), which select and poll do only after their scan, or
    /// is stopped (T), or has ended (Z), and reads the time then.
    ///
    /// # Errors
    ///
    /// When the server has ended, or does not sleep within five seconds.
    pub fn cpu_when_asleep(&mut self) -> anyhow::Result<Option<Duration>> {
        let until = Instant::now() + LONGEST;
        loop {
            if self.changes && self.tells_cpu {
                self.look();
            }
            if !self.tells_cpu() {
                return Ok(None);
            }
            match self.cpu_if_asleep() {
                Ok(Some(cpu)) => return Ok(Some(cpu)),
                Ok(None) => {}
                // One of its processes has ended, which is expected only where they come and go.
                Err(why) if !self.changes || Process::new(self.root.cast_signed()).is_err() => {
                    return Err(why.context("the server has ended, or a process of it"));
                }
                Err(_) => {}
            }
            if Instant::now() > until {
                bail!("the server still runs {} s after its last answer", LONGEST.as_secs());
            }
            // The server may need the processor that we are on.
            std::thread::sleep(Duration::from_micros(50));
        }
    }

    /// A task that is seen asleep could be woken by another that is looked at later. That other task must run after the first
    /// reading. When it sleeps again, the kernel has added that time, so the two readings differ.
    fn cpu_if_asleep(&self) -> anyhow::Result<Option<Duration>> {
        let cpu = self.cpu()?;
        Ok((self.sleeps()? && self.cpu()? == cpu).then_some(cpu))
    }

    /// Whether it sleeps within this time, as most servers do when nothing is asked of them.
    pub fn sleeps_within(&mut self, limit: Duration) -> bool {
        let until = Instant::now() + limit;
        while self.tells_cpu && Instant::now() < until {
            self.look();
            if self.sleeps().unwrap_or(false) {
                return true;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        false
    }

    fn sleeps(&self) -> anyhow::Result<bool> {
        for stat in &self.stats {
            let state = state_of(stat).with_context(|| stat.display().to_string())?;
            if !matches!(state, Some(b'S' | b'T' | b'Z')) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The CPU clock of a process has all its threads, those that have ended as well. What a process has inherited from
    /// children that it waited for is in ticks of 10 ms, and is asked for only where processes come and go.
    fn cpu(&self) -> anyhow::Result<Duration> {
        let mut cpu = Duration::ZERO;
        let clocks = self.clocks.as_ref().map_err(|&why| why).context("the CPU clock of a process")?;
        for (&pid, &clock) in self.pids.iter().zip(clocks) {
            let time = clock_gettime(clock).with_context(|| format!("the CPU clock of process {pid}"))?;
            cpu += Duration::from(time);
            if self.changes {
                let stat = Process::new(pid.cast_signed())?.stat()?;
                cpu += ticks((stat.cutime + stat.cstime).max(0).cast_unsigned());
            }
        }
        Ok(cpu)
    }

    /// What all of them have done since they began. `None` where /proc does not tell, and when the CPU time of processes that have
    /// ended is lost.
    #[must_use]
    pub fn totals(&self) -> Option<Totals> {
        if self.loses_cpu() {
            return None;
        }
        let mut totals = Totals::default();
        for &pid in &self.pids {
            let process = Process::new(pid.cast_signed()).ok()?;
            let stat = process.stat().ok()?;
            totals.user += ticks(stat.utime + stat.cutime.max(0).cast_unsigned());
            totals.system += ticks(stat.stime + stat.cstime.max(0).cast_unsigned());
            for task in process.tasks().ok()?.flatten() {
                let status = task.status().ok()?;
                totals.voluntary += status.voluntary_ctxt_switches?;
                totals.forced += status.nonvoluntary_ctxt_switches?;
            }
        }
        (!self.pids.is_empty()).then_some(totals)
    }

    /// Whether they go on to use a processor, which no server at rest does: more than a tenth of each period of this length,
    /// until it is more work than a server can have left from its start or its last requests. On a busy machine the same work
    /// takes more CPU time, and a server that never sleeps may get no processor for a whole period, so one that still wants to
    /// run is looked at again.
    pub fn is_busy(&mut self, period: Duration) -> bool {
        const MOST: f64 = 0.1;
        const WORK_LEFT: Duration = Duration::from_millis(200);
        let until = Instant::now() + LONGEST;
        let mut worked = Duration::ZERO;
        loop {
            let mut cpu = || {
                self.look();
                self.cpu().ok()
            };
            let before = cpu();
            std::thread::sleep(period);
            let Some(used) = before.zip(cpu()).and_then(|(before, after)| after.checked_sub(before)) else {
                return false;
            };
            worked += used;
            if used <= period.mul_f64(MOST) && self.sleeps().unwrap_or(true) {
                return false;
            }
            if worked > WORK_LEFT || Instant::now() > until {
                return true;
            }
        }
    }

    /// Stop all of them, or let them continue. Those that have ended meanwhile are no error.
    ///
    /// # Errors
    ///
    /// `EPERM`.
    pub fn signal(&mut self, signal: Signal) -> anyhow::Result<()> {
        if self.changes {
            self.look();
        }
        for &pid in &self.pids {
            fork::kill(Pid::from_raw(pid.cast_signed()), signal)?;
        }
        Ok(())
    }
}

/// The state of a task, as `S` for one that sleeps, from its file `stat` in /proc (man 5 proc_pid_stat).
///
/// # Errors
///
/// When the task has ended, and its parent has waited for it.
pub(in crate::lab) fn state_of(stat: &Path) -> io::Result<Option<u8>> {
    // More than a line has. One read is enough: there may be thousands of these files.
    let mut line = [0; 1024];
    let read = File::open(stat)?.read(&mut line)?;
    let line = &line[..read];
    // "tid (name) state …", and a name may hold anything.
    let after_name = line.iter().rposition(|&byte| byte == b')').map_or(0, |at| at + 1);
    Ok(line[after_name..].trim_ascii_start().first().copied())
}

/// How many children the first thread of a process has. A kernel without `CONFIG_PROC_CHILDREN` does not tell.
fn children(pid: u32) -> Option<usize> {
    let list = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).ok()?;
    Some(list.split_whitespace().count())
}

/// Whether the kernel collects the children of a process, because it ignores their end.
fn ignores_sigchld(pid: &u32) -> bool {
    const SIGCHLD: u64 = 1 << (Signal::SIGCHLD as u64 - 1);
    let status = Process::new(pid.cast_signed()).and_then(|process| process.status());
    status.is_ok_and(|status| status.sigign & SIGCHLD != 0)
}

/// CPU time of this process.
///
/// # Errors
///
/// None in practice.
pub fn own() -> anyhow::Result<Duration> {
    Ok(clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID)?.into())
}

fn ticks(ticks: u64) -> Duration {
    Duration::from_secs_f64(ticks as f64 / procfs::ticks_per_second() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::affinity;
    use std::process::{Child, Command, Stdio};

    /// A shell with two children, one of which may ignore SIGCHLD. It waits for both.
    struct Server(Child);

    impl Server {
        fn start(first: &str) -> (Server, Tree) {
            let command = format!("{first} sleep 1000 & sleep 1000 & wait");
            let server = Server(Command::new("sh").args(["-c", &command]).spawn().expect("a shell"));
            let mut tree = Tree::of(server.0.id(), true);
            let is_sleep = |pid: &u32| {
                let stat = Process::new(pid.cast_signed()).and_then(|process| process.stat());
                stat.is_ok_and(|stat| stat.comm == "sleep")
            };
            wait_until("both children are sleep(1)", || {
                tree.look();
                tree.pids.len() == 3 && tree.pids[1..].iter().all(is_sleep)
            });
            (server, tree)
        }
    }

    impl Drop for Server {
        fn drop(&mut self) {
            let family = Tree::of(self.0.id(), true);
            family.pids.iter().rev().for_each(kill);
            self.0.wait().ok();
        }
    }

    fn kill(pid: &u32) {
        fork::kill(Pid::from_raw(pid.cast_signed()), Signal::SIGKILL).ok();
    }

    fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
        let until = Instant::now() + Duration::from_secs(30);
        while !condition() {
            assert!(Instant::now() < until, "not within 30 s: {what}");
            std::thread::yield_now();
        }
    }

    /// End the second child, and see that.
    fn end_one(tree: &mut Tree) {
        kill(&tree.pids[2]);
        wait_until("a child has ended", || {
            tree.look();
            tree.pids.len() == 2
        });
    }

    #[test]
    fn a_server_that_never_sleeps_is_busy_also_where_another_program_has_its_processor() {
        let cpu = affinity::allowed().expect("our own processors")[0];
        let spins = |nice: &str| {
            let mut command = Command::new("nice");
            command.args(["-n", nice, "sh", "-c", "while :; do :; done"]);
            let started = affinity::while_pinned(cpu, || command.spawn());
            Server(started.expect("a processor that we may use").expect("a shell"))
        };
        // The one gets almost nothing of the processor, because the other takes all that it can.
        let (server, _other) = (spins("19"), spins("0"));
        assert!(Tree::of(server.0.id(), true).is_busy(Duration::from_millis(20)));
    }

    #[test]
    fn a_server_that_sleeps_is_not_busy_also_where_it_has_some_work_left() {
        let (_server, mut tree) = Server::start("");
        assert!(!tree.is_busy(Duration::from_millis(20)));
        // It works for 20 ms of CPU time, on a machine of any speed.
        let script =
            "while read ran rest < /proc/$$/schedstat && [ $ran -lt 20000000 ]; do :; done; read line";
        let mut command = Command::new("sh");
        let command = command.args(["-c", script]).stdin(Stdio::piped());
        let server = Server(command.spawn().expect("a shell"));
        let mut tree = Tree::of(server.0.id(), true);
        assert!(!tree.is_busy(Duration::from_millis(5)));
        assert!(tree.cpu().unwrap() >= Duration::from_millis(20), "it was asked when the work was done");
    }

    const IGNORE: &str = "env --ignore-signal=CHLD";

    #[test]
    fn the_cpu_time_is_not_known_when_processes_end_and_one_ignores_sigchld() {
        let (_server, mut tree) = Server::start(IGNORE);
        assert!(tree.cpu_when_asleep().unwrap().is_some(), "no process has ended yet");
        end_one(&mut tree);
        assert_eq!((tree.cpu_when_asleep().unwrap(), tree.totals()), (None, None));
        assert!(tree.loses_cpu() && !tree.tells_cpu());
    }

    #[test]
    fn the_cpu_time_is_known_when_processes_end_that_are_waited_for() {
        let (_server, mut tree) = Server::start("");
        end_one(&mut tree);
        assert!(tree.cpu_when_asleep().unwrap().is_some());
        assert!(tree.totals().is_some() && !tree.loses_cpu());
    }

    #[test]
    fn the_cpu_time_is_not_known_under_a_load_that_ends_processes_when_one_ignores_sigchld() {
        let (server, tree) = Server::start(IGNORE);
        assert!(!tree.loses_cpu(), "its processes stay");
        assert!(Tree::of(server.0.id(), true).whose_processes_end().loses_cpu());
    }
}
