//! What the server costs: CPU time of its process, at rest and under load.
//!
//! `/proc/PID/stat` (man 5 proc) has the CPU time of all threads of a process, and of the children that it has waited for.
//! The children that still run are added here. The unit is a tick of 10 ms, which is enough to tell a server that sleeps
//! from one that does not.

use crate::lab::show::{Page, WRONG, paint};
use crate::lab::units::{self, UNKNOWN, micros};
use crate::sys::poll::{PollFlags, wait_for};
use anyhow::{Context, ensure};
use procfs::process::{Process, Stat, all_processes};
use serde::{Deserialize, Serialize};
use std::fs;
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

/// How long to look at a server at rest.
pub(super) const REST: Duration = Duration::from_millis(500);

/// A server that is ready to run for more than this share of the time at rest does not sleep.
const REST_LIMIT: f64 = 0.5;

/// A server that has given this many answers must have used at least one tick of CPU time.
const ENOUGH: u64 = 20_000;

/// The server works for the hostile clients as well, and their answers are not among those of the load.
const HOSTILE_PART: &str = "CPU time per request, because the hostile clients have a part in it";

/// CPU time of a server's process and its descendants. What is not known is `null`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Server {
    /// Its process id.
    pub pid: u32,
    /// While no request was under way, before the load.
    pub rest_before: Option<Rest>,
    /// The same after the last answer, with all connections open.
    pub rest_after: Option<Rest>,
    /// CPU time under load, in seconds: from the warm-up to the last answer.
    pub load_cpu_s: Option<f64>,
    /// Answers in that time.
    pub load_answers: u64,
    /// CPU time per answer, in microseconds.
    pub us_per_request: Option<f64>,
    /// Why something is not known.
    pub not_known: Option<String>,
    /// What is wrong, and the usual cause.
    pub hint: Option<String>,
}

/// What a server does while nothing is asked of it. Shares are of elapsed time; 1 is a whole processor.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Rest {
    /// CPU time.
    pub cpu_share: f64,
    /// Time in which its threads were ready to run, CPU time included. On a busy machine it is more than that. `null` on a
    /// kernel without /proc/PID/schedstat.
    pub ready_share: Option<f64>,
}

/// Looks at the process of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Watch {
    pid: u32,
}

impl Watch {
    /// The process with this id.
    ///
    /// # Errors
    ///
    /// When there is no such process, or it has ended. Where /proc cannot be read, this is found out later.
    pub fn new(pid: u32) -> anyhow::Result<Watch> {
        if Process::myself().is_err() {
            return Ok(Watch { pid });
        }
        let process = i32::try_from(pid).ok().and_then(|pid| Process::new(pid).ok());
        let process =
            process.with_context(|| format!("there is no process {pid}: `pgrep -a NAME` lists some"))?;
        // Z: it has ended, and its parent has not waited for it.
        let ended = process.stat().is_ok_and(|stat| stat.state == 'Z');
        ensure!(!ended, "process {pid} has ended");
        Ok(Watch { pid })
    }

    /// The process and its descendants; without this generator, which may be one of them.
    fn family(self) -> anyhow::Result<Vec<Stat>> {
        let pid = self.pid.cast_signed();
        let (mut family, mut others): (Vec<Stat>, Vec<Stat>) = all_processes()
            .context("/proc")?
            .filter_map(|process| process.ok()?.stat().ok())
            .filter(|stat| stat.pid.cast_unsigned() != std::process::id())
            .partition(|stat| stat.pid == pid && stat.state != 'Z');
        ensure!(!family.is_empty(), "process {pid} has ended, or /proc hides it");
        let mut next = 0;
        while let Some(parent) = family.get(next).map(|stat| stat.pid) {
            next += 1;
            let is_child = |stat: &mut Stat| stat.ppid == parent;
            family.extend(others.extract_if(.., is_child));
        }
        Ok(family)
    }

    /// CPU time of the process and its descendants.
    fn cpu(self) -> anyhow::Result<Duration> {
        let ticks =
            |stat: &Stat| stat.utime + stat.stime + (stat.cutime + stat.cstime).max(0).cast_unsigned();
        let ticks: u64 = self.family()?.iter().map(ticks).sum();
        Ok(Duration::from_secs_f64(ticks as f64 / procfs::ticks_per_second() as f64))
    }

    /// How long the threads have run, and waited for a processor.
    fn ready(self) -> Option<Duration> {
        let mut ns = 0;
        for stat in self.family().ok()? {
            for task in fs::read_dir(format!("/proc/{}/task", stat.pid)).ok()?.flatten() {
                // "nanoseconds-running nanoseconds-waiting timeslices", Documentation/scheduler/sched-stats.
                let line = fs::read_to_string(task.path().join("schedstat")).ok()?;
                ns += line.split_whitespace().take(2).filter_map(|ns| ns.parse::<u64>().ok()).sum::<u64>();
            }
        }
        Some(Duration::from_nanos(ns))
    }

    /// What it does while nothing is asked of it. `None` when a readable `stop` ended it.
    fn rest(self, stop: BorrowedFd<'_>) -> anyhow::Result<Option<Rest>> {
        let (began, cpu, ready) = (Instant::now(), self.cpu()?, self.ready());
        if wait_for(stop, PollFlags::POLLIN, Some(REST))? {
            return Ok(None);
        }
        let (elapsed, cpu_after, ready_after) = (began.elapsed(), self.cpu()?, self.ready());
        let share = |time: Duration| time.as_secs_f64() / elapsed.as_secs_f64();
        Ok(Some(Rest {
            cpu_share: share(cpu_after.saturating_sub(cpu)),
            ready_share: ready.zip(ready_after).map(|(before, after)| share(after.saturating_sub(before))),
        }))
    }
}

/// Observations of a run, in their order.
#[derive(Debug)]
pub(super) struct Observed {
    watch: Watch,
    rest_before: anyhow::Result<Option<Rest>>,
    cpu_before: anyhow::Result<Duration>,
    load_cpu: Option<anyhow::Result<Duration>>,
}

impl Observed {
    /// Look at the server before the load.
    pub(super) fn before(watch: Watch, stop: BorrowedFd<'_>) -> Observed {
        let rest_before = watch.rest(stop);
        Observed { watch, rest_before, cpu_before: watch.cpu(), load_cpu: None }
    }

    /// The last answer has come.
    pub(super) fn answered(&mut self) {
        self.load_cpu = Some(self.watch.cpu());
    }

    /// Look at the server after the load, in which it has given so many answers, and `hostile` clients were there or not.
    pub(super) fn after(self, answers: u64, hostile: bool, stop: BorrowedFd<'_>) -> Server {
        let Observed { watch, rest_before, cpu_before, load_cpu } = self;
        let rest_after = watch.rest(stop);
        let load_cpu = cpu_before.and_then(|before| {
            let after = load_cpu.context("the load did not end")??;
            after.checked_sub(before).context("children ended that the server did not wait for")
        });
        let not_known = [&rest_before, &rest_after]
            .into_iter()
            .find_map(|rest| rest.as_ref().err())
            .or(load_cpu.as_ref().err())
            .map(|why| format!("{why:#}"))
            .or_else(|| hostile.then(|| HOSTILE_PART.to_owned()));
        let load_cpu_s = load_cpu.ok().map(|cpu| cpu.as_secs_f64());
        let mut server = Server {
            pid: watch.pid,
            rest_before: rest_before.ok().flatten(),
            rest_after: rest_after.ok().flatten(),
            load_cpu_s,
            load_answers: answers,
            // Less than a tick is not known.
            us_per_request: load_cpu_s
                .filter(|&s| answers > 0 && s > 0.0 && !hostile)
                .map(|s| s * 1e6 / answers as f64),
            not_known,
            hint: None,
        };
        server.hint = server.find_fault();
        server
    }
}

impl Server {
    fn find_fault(&self) -> Option<String> {
        let most = |rest: Rest| rest.ready_share.unwrap_or(0.0).max(rest.cpu_share);
        let rest = [self.rest_before, self.rest_after].into_iter().flatten().map(most).reduce(f64::max);
        if let Some(rest) = rest.filter(|&rest| rest > REST_LIMIT) {
            return Some(format!(
                "the server does not sleep: {:.0} % of the time it runs, or is ready to, while no request is under way; does \
                 it leave EPOLLOUT on, or poll without a timeout?",
                rest.min(1.0) * 100.0
            ));
        }
        (self.load_cpu_s == Some(0.0) && self.load_answers >= ENOUGH).then(|| {
            format!(
                "process {} used no CPU time while {} came: is it the server?",
                self.pid,
                units::of(self.load_answers, "answer")
            )
        })
    }

    /// For people.
    pub(in crate::lab) fn show(&self, page: &mut Page) {
        let share = |rest: Option<Rest>| {
            rest.map_or_else(|| UNKNOWN.to_owned(), |rest| format!("{:.0} %", rest.cpu_share * 100.0))
        };
        let (before, after) = (share(self.rest_before), share(self.rest_after));
        let rest = format!("{before} of a processor before the load, {after} after it");
        let cpu = self.load_cpu_s.map_or_else(|| UNKNOWN.to_owned(), units::seconds);
        let each = self.us_per_request.map_or_else(|| UNKNOWN.to_owned(), micros);
        page.line(
            "server",
            format!("process {}: {cpu} CPU under load, {each} per request; at rest {rest}", self.pid),
        );
        if let Some(hint) = &self.hint {
            page.more(paint(WRONG, hint));
        }
        if let Some(why) = &self.not_known {
            page.more(format!("not known: {why}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Child, Command, Stdio};
    use std::{io, thread};

    /// A shell that runs until its standard input ends, and then is gone with all of its children.
    struct Shell(Child);

    impl Shell {
        fn run(script: &str) -> Shell {
            let mut command = Command::new("sh");
            command.args(["-c", script]).stdin(Stdio::piped()).stdout(Stdio::piped());
            let mut shell = Shell(command.spawn().unwrap());
            // It says that it has begun.
            io::Read::read_exact(shell.0.stdout.as_mut().unwrap(), &mut [0]).unwrap();
            shell
        }
    }

    impl Drop for Shell {
        fn drop(&mut self) {
            drop(self.0.stdin.take());
            self.0.wait().unwrap();
        }
    }

    #[test]
    fn a_process_at_rest_uses_no_processor() {
        let shell = Shell::run("echo; read line");
        let (_stopper, stop) = crate::stop::pair().unwrap();
        let rest = Watch::new(shell.0.id()).unwrap().rest(std::os::fd::AsFd::as_fd(&stop)).unwrap();
        assert!(rest.is_some_and(|rest| rest.cpu_share < REST_LIMIT), "{rest:?}");
    }

    #[test]
    fn cpu_time_per_request_is_not_known_beside_hostile_clients() {
        let shell = Shell::run("echo; read line");
        let (_stopper, stop) = crate::stop::pair().unwrap();
        let after = |hostile| {
            let observed = Observed {
                watch: Watch::new(shell.0.id()).unwrap(),
                rest_before: Ok(None),
                cpu_before: Ok(Duration::ZERO),
                load_cpu: Some(Ok(Duration::from_secs(1))),
            };
            observed.after(1000, hostile, std::os::fd::AsFd::as_fd(&stop))
        };
        assert_eq!(after(false).us_per_request, Some(1000.0));
        let server = after(true);
        assert_eq!((server.load_cpu_s, server.us_per_request), (Some(1.0), None));
        assert!(server.not_known.is_some_and(|why| why.contains("the hostile clients have a part in it")));
    }

    #[test]
    fn the_children_of_a_process_count() {
        let shell = Shell::run("(while :; do :; done) & echo; read line; kill $!; wait");
        let watch = Watch::new(shell.0.id()).unwrap();
        let deadline = Instant::now() + Duration::from_secs(30);
        while watch.cpu().unwrap() < Duration::from_millis(100) {
            assert!(Instant::now() < deadline, "no CPU time of a child that never sleeps");
            thread::sleep(Duration::from_millis(5));
        }
    }

    #[test]
    fn a_process_that_has_ended_is_not_watched() {
        let mut child = Command::new("true").spawn().unwrap();
        let pid = child.id();
        child.wait().unwrap();
        let why = Watch::new(pid).unwrap_err();
        assert!(why.to_string().starts_with(&format!("there is no process {pid}")), "{why}");
    }

    #[test]
    fn a_server_that_does_not_sleep_has_a_hint() {
        let server = |rest_after: Option<f64>, load_cpu_s, load_answers| Server {
            pid: 1,
            rest_before: Some(Rest { cpu_share: 0.0, ready_share: Some(0.0) }),
            rest_after: rest_after.map(|ready| Rest { cpu_share: 0.02, ready_share: Some(ready) }),
            load_cpu_s,
            load_answers,
            us_per_request: None,
            not_known: None,
            hint: None,
        };
        assert_eq!(server(Some(0.02), Some(1.0), 50_000).find_fault(), None);
        assert_eq!(server(None, None, 50_000).find_fault(), None, "what is not known is no fault");
        let hint = server(Some(0.98), Some(1.0), 50_000).find_fault().unwrap();
        assert!(hint.starts_with("the server does not sleep: 98 % of the time"), "{hint}");
        let hint = server(Some(0.0), Some(0.0), 50_000).find_fault().unwrap();
        assert_eq!(hint, "process 1 used no CPU time while 50,000 answers came: is it the server?");
    }
}
