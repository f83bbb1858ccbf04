//! The server that is checked, as a process: started by its command, watched in /proc, ended.

use super::sockets::{self, Listener};
use super::{Ended, Step};
use crate::lab::child::{self, Begins, Ending, Failed, Process};
use crate::lab::meter::Tree;
use crate::lab::meter::cpu::state_of;
use crate::lab::meter::memory::OfProcesses;
use crate::stop::Stop;
use crate::sys::Errno;
use crate::sys::fork::{Pid, kill};
use crate::sys::ptrace;
use crate::sys::signal::Signal;
use anyhow::{Context, anyhow};
use procfs::process::Process as Proc;
use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// How long a command may take until it listens. Some build their program first.
const TO_LISTEN: Duration = Duration::from_secs(20);

/// How often a command is started on another port, when somebody else has taken the port in the meantime.
const TRIES: usize = 3;

/// A command did not listen in time: another try would take as long.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct NotInTime(String);

/// How a server is started.
#[derive(Debug, Clone, Copy)]
pub(in crate::lab) struct Launch<'a> {
    /// This program, which supervises it.
    pub(in crate::lab) program: &'a Path,
    /// The command of sh(1), with `{port}`.
    pub(in crate::lab) command: &'a str,
    /// The soft limit on descriptors that it has.
    pub(in crate::lab) nofile: u64,
}

/// What is done with a process before it executes the command.
pub(in crate::lab) type Before<'a> = dyn FnMut(Pid) -> anyhow::Result<()> + 'a;

/// How long a server may take until each of its threads is stopped. On a busy machine, each has to get a processor for that.
const TO_STOP: Duration = Duration::from_secs(5);

/// How often the state of processes is looked at.
const LOOK: Duration = Duration::from_millis(1);

/// A server that was started, with all that it has started. It ends when this is dropped.
#[derive(Debug)]
pub(in crate::lab) struct Server {
    supervisor: Process,
    /// The process group of the command.
    group: Pid,
    /// The process that listens; of several, the one that started the others.
    main: Pid,
    addr: SocketAddr,
    /// How much it had written to standard error when it listened.
    written: u64,
}

/// What the tasks of a server did since it was first looked at.
#[derive(Debug)]
pub(super) struct Watched {
    began: Instant,
    /// The last look.
    last: Instant,
    /// How long all looks count for.
    looked: Duration,
    tasks: BTreeMap<PathBuf, Task>,
}

/// What a task did meanwhile. The rest of the time it waited for a processor, which tells of other programs.
#[derive(Debug, Clone, Copy, Default)]
struct Task {
    /// How long it had run before.
    before: Duration,
    ran: Duration,
    slept: Duration,
    /// For how long it was there.
    seen: Duration,
}

impl Server {
    /// Start `command`, with `{port}` replaced, and wait until it listens.
    pub(in crate::lab) fn start(launch: Launch<'_>, stop: &Stop) -> Result<Server, Failed> {
        Server::start_somewhere(launch, None, stop)
    }

    /// The same on this port.
    pub(in crate::lab) fn start_on(launch: Launch<'_>, port: u16, stop: &Stop) -> Result<Server, Failed> {
        Server::start_held_on(launch, port, None, stop)
    }

    /// The same as [`Server::start`], and do this with each process that is tried, before it executes the command.
    pub(in crate::lab) fn start_held(
        launch: Launch<'_>,
        before: &mut Before<'_>,
        stop: &Stop,
    ) -> Result<Server, Failed> {
        Server::start_somewhere(launch, Some(before), stop)
    }

    fn start_somewhere(
        launch: Launch<'_>,
        mut before: Option<&mut Before<'_>>,
        stop: &Stop,
    ) -> Result<Server, Failed> {
        for _ in 1..TRIES {
            match Server::start_held_on(launch, free_port()?, before.as_deref_mut(), stop) {
                // It may be that another program has taken the port.
                Err(Failed::Error(why)) if !why.is::<NotInTime>() => {}
                started => return started,
            }
        }
        Server::start_held_on(launch, free_port()?, before, stop)
    }

    fn start_held_on(
        launch: Launch<'_>,
        port: u16,
        before: Option<&mut Before<'_>>,
        stop: &Stop,
    ) -> Result<Server, Failed> {
        let command = launch.command.replace("{port}", &port.to_string());
        let begins = if before.is_some() { Begins::WhenReleased } else { Begins::AtOnce };
        let mut command = child::supervise(launch.program, &command, Some(launch.nofile), begins);
        let mut supervisor = Process::start(&mut command)?.into_supervisor();
        let group = Pid::from_raw(supervisor.supervised(stop)?);
        if let Some(before) = before {
            before(group)?;
            supervisor.release()?;
        }
        let until = Instant::now() + TO_LISTEN;
        loop {
            let listeners: Vec<_> =
                sockets::listeners()?.filter(|listener| listener.addr.port() == port).collect();
            if let Some(Listener { addr, .. }) = listeners.first() {
                let tree = Tree::of(group.as_raw().cast_unsigned(), true);
                // A socket of somebody else may have this port.
                let owner = |listener: &Listener| sockets::owner(listener.inode, tree.pids());
                let owners: BTreeSet<_> = listeners.iter().filter_map(owner).collect();
                if let Some(main) = common_ancestor(tree.pids(), &owners) {
                    let (addr, written) = (*addr, supervisor.written());
                    return Ok(Server { supervisor, group, main, addr, written });
                }
            }
            if supervisor.has_ended() {
                let what = anyhow!("the command ended before it listened on port {port}");
                return Err(supervisor.last_words(what).into());
            }
            if Instant::now() > until {
                let instead = instead_of(port, Tree::of(group.as_raw().cast_unsigned(), true).pids());
                kill(Pid::from_raw(-group.as_raw()), Signal::SIGKILL).ok();
                let words = said(": ", &supervisor.ending().words);
                let seconds = TO_LISTEN.as_secs();
                let why =
                    format!("the command did not listen on port {port} within {seconds} s{instead}{words}");
                return Err(anyhow!(NotInTime(why)).into());
            }
            if stop.wait(Some(LOOK))? {
                return Err(Failed::Interrupted);
            }
        }
    }

    pub(in crate::lab) fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The process that listens.
    pub(in crate::lab) fn main(&self) -> Pid {
        self.main
    }

    /// Copies of the descriptors of its listening sockets.
    ///
    /// # Errors
    ///
    /// When they may not be copied.
    pub(in crate::lab) fn listeners(&self) -> anyhow::Result<Vec<OwnedFd>> {
        let ours = sockets::listeners()?.filter(|listener| listener.addr.port() == self.addr.port());
        let names: BTreeSet<_> = ours.map(|listener| format!("socket:[{}]", listener.inode)).collect();
        self.copies(|link| names.contains(link))
    }

    /// Copies of the descriptors of all its sockets, those of its clients included.
    ///
    /// # Errors
    ///
    /// When they may not be copied; `EMFILE`.
    pub(in crate::lab) fn sockets(&self) -> anyhow::Result<Vec<OwnedFd>> {
        self.copies(|link| link.starts_with("socket:["))
    }

    /// Copies of descriptors, by what their links in /proc say, one of each file.
    fn copies(&self, is_wanted: impl Fn(&str) -> bool) -> anyhow::Result<Vec<OwnedFd>> {
        let (mut seen, mut copies) = (BTreeSet::new(), Vec::new());
        for pid in self.pids() {
            for fd in sockets::descriptors(pid).unwrap_or_default() {
                let link = std::fs::read_link(&fd).unwrap_or_default();
                let number = fd.file_name().and_then(|name| name.to_str()?.parse().ok());
                if let (Some(link), Some(number)) = (link.to_str(), number)
                    && is_wanted(link)
                    && seen.insert(link.to_owned())
                {
                    match ptrace::copy_of(Pid::from_raw(pid.cast_signed()), number) {
                        Ok(copy) => copies.push(copy),
                        // It was closed meanwhile.
                        Err(why) if why.errno() == Some(Errno::EBADF) => {}
                        Err(why) => return Err(why.into()),
                    }
                }
            }
        }
        Ok(copies)
    }

    /// To the process that listens.
    pub(in crate::lab) fn signal(&self, signal: Signal) -> crate::Result<()> {
        kill(self.main, signal)
    }

    /// To each process of the server, as a terminal does.
    pub(in crate::lab) fn signal_all(&self, signal: Signal) -> crate::Result<()> {
        self.signal_others(signal, &mut BTreeSet::new())
    }

    /// To each process of the server that has not got it.
    fn signal_others(&self, signal: Signal, have: &mut BTreeSet<u32>) -> crate::Result<()> {
        let others: Vec<_> = self.pids().into_iter().filter(|&pid| have.insert(pid)).collect();
        others.into_iter().try_for_each(|pid| kill(Pid::from_raw(pid.cast_signed()), signal))
    }

    /// Its processes: the one that listens, and what that has started.
    pub(in crate::lab) fn pids(&self) -> Vec<u32> {
        Tree::of(self.main.as_raw().cast_unsigned(), true).pids().to_vec()
    }

    /// Memory that its processes have written themselves.
    pub(super) fn memory(&self) -> Step<u64> {
        // A process may end while it is looked at.
        let until = Instant::now() + Duration::from_secs(2);
        loop {
            if let Some(memory) = OfProcesses::now(&self.pids()) {
                return Ok(memory.own);
            }
            if Instant::now() > until {
                return Err(Ended::NotMade("/proc does not tell the memory of the server".to_owned()));
            }
            thread::sleep(LOOK);
        }
    }

    /// Its open descriptors, in all processes.
    pub(super) fn descriptors(&self) -> Step<usize> {
        let of = |&pid: &u32| match sockets::descriptors(pid) {
            Ok(fds) => Ok(fds.len()),
            // It has ended meanwhile.
            Err(why) if why.kind() == ErrorKind::NotFound => Ok(0),
            Err(why) => {
                Err(Ended::NotMade(format!("/proc does not show the descriptors of the server: {why}")))
            }
        };
        self.pids().iter().map(of).sum()
    }

    /// How often its threads have begun to wait, those that have ended not counted.
    pub(in crate::lab) fn waits(&self) -> Step<u64> {
        let tasks =
            self.pids().into_iter().map(|pid| Proc::new(pid.cast_signed()).and_then(|one| one.tasks()));
        let of = |task: procfs::process::Task| task.status().ok()?.voluntary_ctxt_switches;
        let waits = tasks.flatten().flatten().flatten().filter_map(of).reduce(|sum, one| sum + one);
        waits.ok_or_else(|| Ended::NotMade("/proc does not tell how often the server waited".to_owned()))
    }

    /// The folders of its threads in /proc.
    pub(in crate::lab) fn tasks(&self) -> Vec<PathBuf> {
        self.pids().into_iter().flat_map(tasks_of).collect()
    }

    /// Its threads.
    pub(in crate::lab) fn threads(&self) -> Vec<Pid> {
        let number = |task: &PathBuf| task.file_name()?.to_str()?.parse().ok();
        self.tasks().iter().filter_map(number).map(Pid::from_raw).collect()
    }

    /// How long its tasks have run until now. `None` where the kernel keeps no such statistics: the file is missing, or has zeros.
    pub(in crate::lab) fn ran(&self) -> Option<Duration> {
        let ran: Duration = self.tasks().iter().filter_map(|task| schedstat(task)).map(|[ran, _]| ran).sum();
        (!ran.is_zero()).then_some(ran)
    }

    /// How long each of its tasks has run until now, as far as the kernel tells.
    pub(in crate::lab) fn ran_each(&self) -> BTreeMap<PathBuf, Duration> {
        self.tasks()
            .into_iter()
            .filter_map(|task| Some((schedstat(&task)?[0], task)))
            .map(|(ran, task)| (task, ran))
            .collect()
    }

    /// How long its tasks have waited for a processor until now, as far as the kernel tells.
    pub(in crate::lab) fn waited(&self) -> Duration {
        self.tasks().iter().filter_map(|task| schedstat(task)).map(|[_, waited]| waited).sum()
    }

    /// Begin to look at what its tasks do.
    pub(super) fn watch(&self) -> Step<Watched> {
        let now = Instant::now();
        let mut watched = Watched { began: now, last: now, looked: Duration::ZERO, tasks: BTreeMap::new() };
        watched.look(self);
        for task in watched.tasks.values_mut() {
            task.before = task.ran;
        }
        match watched.tasks.values().any(|task| !task.ran.is_zero()) {
            true => Ok(watched),
            false => Err(Ended::NotMade("/proc does not tell how long the server ran".to_owned())),
        }
    }

    /// Whether none of its tasks runs or wants to. `None` where /proc does not tell.
    pub(in crate::lab) fn sleeps(&self) -> Option<bool> {
        let states: Vec<_> = self.tasks().iter().filter_map(|task| state(task)).collect();
        (!states.is_empty()).then(|| states.iter().copied().all(is_sleep))
    }

    /// Whether all of its processes are stopped.
    fn is_stopped(&self) -> bool {
        self.tasks().iter().all(|task| matches!(state(task), Some(b'T' | b't' | b'Z' | b'X') | None))
    }

    /// Stop it with this signal, and wait until it is. `false` when it does not within five seconds: it handles the signal.
    pub(in crate::lab) fn stop_with(&self, signal: Signal) -> Step<bool> {
        let (mut have, until) = (BTreeSet::new(), Instant::now() + TO_STOP);
        loop {
            // One that was started in the meantime must get it as well.
            self.signal_others(signal, &mut have)?;
            if self.is_stopped() {
                return Ok(true);
            }
            if Instant::now() > until {
                return match signal {
                    // No program can handle it.
                    Signal::SIGSTOP => Err(Ended::NotMade(format!(
                        "the server was not stopped within {} s of SIGSTOP",
                        TO_STOP.as_secs()
                    ))),
                    _ => Ok(false),
                };
            }
            thread::sleep(LOOK);
        }
    }

    /// Whether the process that listens has ended: all of its threads. The first of them may end before the others.
    pub(in crate::lab) fn has_ended(&self) -> bool {
        let tasks = tasks_of(self.main.as_raw().cast_unsigned());
        tasks.iter().all(|task| matches!(state(task), Some(b'Z' | b'X') | None))
    }

    /// Wait until the process that listens has ended: how long it took, or `None` when it takes longer than that.
    pub(in crate::lab) fn wait_for_end(&self, limit: Duration, stop: &Stop) -> Step<Option<Duration>> {
        let began = Instant::now();
        loop {
            if self.has_ended() {
                return Ok(Some(began.elapsed()));
            }
            if began.elapsed() > limit {
                return Ok(None);
            }
            if stop.wait(Some(LOOK))? {
                return Err(Ended::Interrupted);
            }
        }
    }

    /// Wait until the whole command has ended, and not only the process that listens. `false` when it takes longer than that.
    pub(in crate::lab) fn wait_for_command(&mut self, limit: Duration, stop: &Stop) -> Step<bool> {
        let until = Instant::now() + limit;
        while !self.supervisor.has_ended() {
            if Instant::now() > until {
                return Ok(false);
            }
            if stop.wait(Some(LOOK))? {
                return Err(Ended::Interrupted);
            }
        }
        Ok(true)
    }

    /// How it ended, and the last that it wrote.
    pub(in crate::lab) fn ending(mut self) -> String {
        // A shell that waits for the server tells how that ended, and ends a moment later.
        if !self.has_ended() {
            self.kill();
        }
        let Ending { how, words } = self.supervisor.ending();
        how.unwrap_or_else(|| "the server ended".to_owned()) + &said("; the last that it wrote: ", &words)
    }

    /// Wait until it waits. One that never does gets as much time as it takes to do what it has to do: `false`.
    pub(in crate::lab) fn until_it_waits(&self, stop: &Stop) -> Step<bool> {
        /// So much time of a processor.
        const RUNS: Duration = Duration::from_millis(200);
        const LONGEST: Duration = Duration::from_secs(20);
        let (began, before) = (Instant::now(), self.ran());
        while self.sleeps() == Some(false) {
            let ran = || Some(self.ran()?.saturating_sub(before?));
            // Where the kernel does not tell how long it ran, it is given a second.
            if ran().map_or_else(|| began.elapsed() > Duration::from_secs(1), |ran| ran > RUNS) {
                return Ok(false);
            }
            if began.elapsed() > LONGEST {
                return Err(Ended::NotMade(format!(
                    "the machine is so busy that the server got a processor for less than {} s in {} s",
                    RUNS.as_secs_f64(),
                    LONGEST.as_secs()
                )));
            }
            if stop.wait(Some(LOOK))? {
                return Err(Ended::Interrupted);
            }
        }
        Ok(true)
    }

    /// How many bytes it has written to standard error since it listened.
    pub(in crate::lab) fn written(&self) -> u64 {
        self.supervisor.written().saturating_sub(self.written)
    }

    /// What it has written to standard error since it listened: "; the server wrote: …", or nothing.
    pub(super) fn wrote(&self) -> String {
        said("; the server wrote: ", &self.supervisor.written_since(self.written))
    }
}

/// The process that listens; where several do, each on a socket of its own (SO_REUSEPORT), the one that has started all of them.
fn common_ancestor(pids: &[u32], owners: &BTreeSet<u32>) -> Option<Pid> {
    let has_started_all = |pid: &u32| {
        let tree = Tree::of(*pid, true);
        owners.iter().all(|owner| tree.pids().contains(owner))
    };
    let pid = match owners.len() {
        0 => None,
        1 => owners.first().copied(),
        // Those that start others come before them.
        _ => pids.iter().rev().copied().find(has_started_all),
    };
    pid.map(|pid| Pid::from_raw(pid.cast_signed()))
}

/// Lines that a server wrote, quoted, behind `before`; nothing if there are none.
fn said(before: &str, lines: &[String]) -> String {
    if lines.is_empty() { String::new() } else { format!("{before}\"{}\"", lines.join("; ")) }
}

/// What may be seen of a command whose processes do not listen on `port`, for a message.
fn instead_of(port: u16, pids: &[u32]) -> String {
    let is_hidden =
        |pid: &&u32| sockets::descriptors(**pid).is_err_and(|why| why.kind() == ErrorKind::PermissionDenied);
    let Ok(listeners) = sockets::listeners() else { return String::new() };
    let listeners: Vec<_> = listeners.collect();
    let ours = listeners.iter().filter(|listener| sockets::owner(listener.inode, pids).is_some());
    let ports: BTreeSet<_> = ours.map(|listener| listener.addr.port()).collect();
    if !ports.is_empty() {
        let ports = ports.iter().map(u16::to_string).collect::<Vec<_>>().join(", ");
        return format!(", but on port {ports} (does it use {{port}}?)");
    }
    if let Some(pid) = pids.iter().find(is_hidden) {
        return format!(
            ", as far as can be seen (/proc does not show us the descriptors of its process {pid}: does it run as another user?)"
        );
    }
    if listeners.iter().any(|listener| listener.addr.port() == port) {
        return " (the process that listens on it was not started by the command, or this kernel does not show it as its child: is it in a container?)".to_owned();
    }
    String::new()
}

impl Server {
    /// End it at once: one that does not end by itself would take seconds. The supervisor ends what has left the group. When that has
    /// ended, no process of the group is left, and another may have its number.
    fn kill(&mut self) {
        if !self.supervisor.has_ended() {
            kill(Pid::from_raw(-self.group.as_raw()), Signal::SIGKILL).ok();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Watched {
    /// Look again. What a task does between two looks is not known: a look counts for as long as there was none before, but for no longer
    /// than a tenth of a second, because this program may have had no processor either.
    pub(super) fn look(&mut self, server: &Server) {
        const MOST: Duration = Duration::from_millis(100);
        let now = Instant::now();
        let passed = now.duration_since(self.last).min(MOST);
        self.last = now;
        self.looked += passed;
        for path in server.tasks() {
            let (Some([ran, _]), Some(state)) = (schedstat(&path), state(&path)) else { continue };
            let task = self.tasks.entry(path.clone()).or_default();
            task.ran = ran;
            task.seen += passed;
            // One that writes more to standard error than this program reads has to wait for this program.
            let is_held_up =
                || task.ran > task.before && waits_in(&path).is_some_and(|call| call.ends_with("pipe_write"));
            if is_sleep(state) && !is_held_up() {
                task.slept += passed;
            }
        }
    }

    pub(super) fn elapsed(&self) -> Duration {
        self.last.duration_since(self.began)
    }

    fn ran(&self) -> Duration {
        self.tasks.values().map(|task| task.ran - task.before).sum()
    }

    /// How many processors it would keep busy if it never had to wait for one.
    pub(super) fn processors(&self) -> f64 {
        let looked = self.looked.as_secs_f64();
        self.tasks.values().map(|task| task.share() * task.seen.as_secs_f64() / looked).sum()
    }

    /// It would keep most of a processor busy, for three seconds or, where other programs have the processors, for as long as it would run
    /// in these.
    pub(super) fn is_busy(&self) -> bool {
        const SECONDS: Duration = Duration::from_secs(3);
        self.processors() > REST && self.elapsed() >= SECONDS && self.ran() >= SECONDS.mul_f64(REST)
    }

    /// It sleeps for most of the time.
    pub(super) fn is_rest(&self) -> bool {
        self.processors() <= REST
    }

    pub(super) fn in_words(&self) -> String {
        format!(
            "in {:.1} s its threads ran for {:.2} s; with no other program running they would keep {:.0} % of a processor busy",
            self.elapsed().as_secs_f64(),
            self.ran().as_secs_f64(),
            self.processors() * 100.0
        )
    }
}

/// A server that keeps no more than so much of a processor busy sleeps.
const REST: f64 = 0.5;

impl Task {
    /// How much of a processor it would keep busy while it was there, if it never had to wait for one. One that was never seen asleep has
    /// only waited for one.
    fn share(&self) -> f64 {
        let (ran, slept) = ((self.ran - self.before).as_secs_f64(), self.slept.as_secs_f64());
        if slept == 0.0 { 1.0 } else { ran / (ran + slept) }
    }
}

/// How long a task has run, and has waited for a processor (`/proc/PID/task/TID/schedstat`).
fn schedstat(task: &Path) -> Option<[Duration; 2]> {
    let line = std::fs::read_to_string(task.join("schedstat")).ok()?;
    let mut numbers = line.split_ascii_whitespace().map_while(|word| word.parse().ok());
    Some([Duration::from_nanos(numbers.next()?), Duration::from_nanos(numbers.next()?)])
}

/// The function of the kernel in which a task sleeps.
fn waits_in(task: &Path) -> Option<String> {
    std::fs::read_to_string(task.join("wchan")).ok()
}

/// Whether a task in this state neither runs nor wants to. One that is stopped for our tracer (`t`) does.
fn is_sleep(state: u8) -> bool {
    matches!(state, b'S' | b'T' | b'Z' | b'X')
}

/// The folders of the threads of a process in /proc: none when it has been waited for.
fn tasks_of(pid: u32) -> Vec<PathBuf> {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    tasks.map(|task| task.path()).collect()
}

/// The state of a task: `S` for one that sleeps. `None` when it has ended.
fn state(task: &Path) -> Option<u8> {
    state_of(&task.join("stat")).ok()?
}

/// A free port, which no other server of this run gets. Another program may take it before the server does.
fn free_port() -> anyhow::Result<u16> {
    static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());
    loop {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no port for a server")?;
        let port = listener.local_addr()?.port();
        let mut given = GIVEN.lock().unwrap_or_else(PoisonError::into_inner);
        // When the kernel has no others, they begin again.
        if given.len() > MANY {
            given.clear();
        }
        if given.insert(port) {
            return Ok(port);
        }
    }
}

/// So many ports are given before they begin again. The kernel has 28 232 for this purpose, unless it was told otherwise.
const MANY: usize = 4000;

#[cfg(test)]
mod tests {
    use super::*;

    /// A server that was watched so long, with tasks that ran, slept and were there so long, in seconds.
    fn watched<const N: usize>(seconds: f64, tasks: [(f64, f64, f64); N]) -> Watched {
        let began = Instant::now();
        let task = |(i, &(ran, slept, seen)): (usize, &(f64, f64, f64))| {
            let [ran, slept, seen] = [ran, slept, seen].map(Duration::from_secs_f64);
            (PathBuf::from(i.to_string()), Task { before: Duration::ZERO, ran, slept, seen })
        };
        let looked = Duration::from_secs_f64(seconds);
        Watched { began, last: began + looked, looked, tasks: tasks.iter().enumerate().map(task).collect() }
    }

    #[test]
    fn a_server_that_never_sleeps_is_told_from_one_that_gets_no_processor() {
        let rests = [
            watched(1.0, [(0.001, 0.9, 1.0)]),
            watched(1.0, [(0.49, 0.5, 1.0)]),
            // It has worked for a moment, or has a timer, and waits for a processor nearly all the time.
            watched(1.0, [(0.02, 0.05, 1.0)]),
            watched(14.0, [(1.6, 2.0, 14.0)]),
            // Threads that do something for a moment and end were never seen asleep.
            watched(3.0, [(0.01, 0.0, 0.02); 60]),
        ];
        for server in rests {
            assert!(server.is_rest() && !server.is_busy(), "{}", server.in_words());
        }
        let many_with_a_timer = watched(3.0, [(0.005, 2.0, 3.0); 90]);
        assert!(many_with_a_timer.is_rest(), "{}", many_with_a_timer.in_words());
        let busy = [
            watched(3.0, [(2.9, 0.0, 3.0)]),
            watched(3.0, [(1.6, 1.3, 3.0)]),
            // It gets a tenth of a processor.
            watched(15.0, [(1.5, 0.0, 15.0), (0.0, 14.0, 15.0)]),
            watched(3.0, [(1.0, 1.5, 3.0), (1.0, 1.5, 3.0)]),
        ];
        for server in busy {
            assert!(!server.is_rest() && server.is_busy(), "{}", server.in_words());
        }
        let not_known = [
            watched(1.0, [(0.9, 0.0, 1.0)]),
            watched(1.0, [(0.0, 0.0, 1.0)]),
            watched(10.0, [(0.4, 0.1, 10.0)]),
        ];
        for server in not_known {
            assert!(!server.is_rest() && !server.is_busy(), "{}", server.in_words());
        }
    }
}
