//! The server that is checked, as a process: started by its command, watched in /proc, ended.

use super::sockets::{self, Listener};
use super::{Ended, Step};
use crate::lab::child::{self, Ending, Failed, Process};
use crate::lab::meter::Tree;
use crate::lab::meter::cpu::state_of;
use crate::lab::meter::memory::OfProcesses;
use crate::stop::Stop;
use crate::sys::fork::{Pid, kill};
use crate::sys::signal::Signal;
use anyhow::{Context, anyhow};
use procfs::process::Process as Proc;
use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
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
pub(super) struct Launch<'a> {
    /// This program, which supervises it.
    pub(super) program: &'a Path,
    /// The command of sh(1), with `{port}`.
    pub(super) command: &'a str,
    /// The soft limit on descriptors that it has.
    pub(super) nofile: u64,
}

/// How long a server may take until each of its threads is stopped. On a busy machine, each has to get a processor for that.
const TO_STOP: Duration = Duration::from_secs(5);

/// How often the state of processes is looked at.
const LOOK: Duration = Duration::from_millis(1);

/// A server that was started, with all that it has started. It ends when this is dropped.
#[derive(Debug)]
pub(super) struct Server {
    supervisor: Process,
    /// The process group of the command.
    group: Pid,
    /// The process that listens; of several, the one that started the others.
    main: Pid,
    addr: SocketAddr,
    /// How much it had written to standard error when it listened.
    written: u64,
}

/// Since when a server's tasks have run or wanted to run.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ran {
    at: Instant,
    ran: Duration,
    waited: Duration,
}

impl Server {
    /// Start `command`, with `{port}` replaced, and wait until it listens.
    pub(super) fn start(launch: Launch<'_>, stop: &Stop) -> Result<Server, Failed> {
        for _ in 1..TRIES {
            match Server::start_on(launch, free_port()?, stop) {
                // It may be that another program has taken the port.
                Err(Failed::Error(why)) if !why.is::<NotInTime>() => {}
                started => return started,
            }
        }
        Server::start_on(launch, free_port()?, stop)
    }

    /// The same on this port.
    pub(super) fn start_on(launch: Launch<'_>, port: u16, stop: &Stop) -> Result<Server, Failed> {
        let command = launch.command.replace("{port}", &port.to_string());
        let mut command = child::supervise(launch.program, &command, Some(launch.nofile));
        let mut supervisor = Process::start(&mut command)?.into_supervisor();
        let group = Pid::from_raw(supervisor.supervised(stop)?);
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

    pub(super) fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The process that listens.
    pub(super) fn main(&self) -> Pid {
        self.main
    }

    /// To the process that listens.
    pub(super) fn signal(&self, signal: Signal) -> crate::Result<()> {
        kill(self.main, signal)
    }

    /// To each process of the server, as a terminal does.
    pub(super) fn signal_all(&self, signal: Signal) -> crate::Result<()> {
        self.signal_others(signal, &mut BTreeSet::new())
    }

    /// To each process of the server that has not got it.
    fn signal_others(&self, signal: Signal, have: &mut BTreeSet<u32>) -> crate::Result<()> {
        let others: Vec<_> = self.pids().into_iter().filter(|&pid| have.insert(pid)).collect();
        others.into_iter().try_for_each(|pid| kill(Pid::from_raw(pid.cast_signed()), signal))
    }

    /// Its processes: the one that listens, and what that has started.
    pub(super) fn pids(&self) -> Vec<u32> {
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
    pub(super) fn waits(&self) -> Step<u64> {
        let tasks =
            self.pids().into_iter().map(|pid| Proc::new(pid.cast_signed()).and_then(|one| one.tasks()));
        let of = |task: procfs::process::Task| task.status().ok()?.voluntary_ctxt_switches;
        let waits = tasks.flatten().flatten().flatten().filter_map(of).reduce(|sum, one| sum + one);
        waits.ok_or_else(|| Ended::NotMade("/proc does not tell how often the server waited".to_owned()))
    }

    /// The folders of its threads in /proc.
    fn tasks(&self) -> Vec<PathBuf> {
        self.pids().into_iter().flat_map(tasks_of).collect()
    }

    /// How long its tasks have run, and how long they have waited for a processor, until now. Where other programs keep the
    /// processors busy, a task that never sleeps waits for one most of the time.
    pub(super) fn ran(&self) -> Step<Ran> {
        let mut ran = Ran { at: Instant::now(), ran: Duration::ZERO, waited: Duration::ZERO };
        for task in self.tasks() {
            let Ok(line) = std::fs::read_to_string(task.join("schedstat")) else { continue };
            let mut numbers = line.split_ascii_whitespace().map_while(|word| word.parse().ok());
            let (Some(running), Some(waiting)) = (numbers.next(), numbers.next()) else {
                return Err(Ended::NotMade("/proc does not tell how long the server ran".to_owned()));
            };
            ran.ran += Duration::from_nanos(running);
            ran.waited += Duration::from_nanos(waiting);
        }
        if ran.ran.is_zero() {
            // Where the kernel keeps no such statistics the file is missing, or has zeros.
            return Err(Ended::NotMade("/proc does not tell how long the server ran".to_owned()));
        }
        Ok(ran)
    }

    /// Whether none of its tasks runs or wants to. `None` where /proc does not tell.
    pub(super) fn sleeps(&self) -> Option<bool> {
        let states: Vec<_> = self.tasks().iter().filter_map(|task| state(task)).collect();
        (!states.is_empty())
            .then(|| states.iter().all(|state| matches!(state, b'S' | b'T' | b't' | b'Z' | b'X')))
    }

    /// Whether all of its processes are stopped.
    fn is_stopped(&self) -> bool {
        self.tasks().iter().all(|task| matches!(state(task), Some(b'T' | b't' | b'Z' | b'X') | None))
    }

    /// Stop it with this signal, and wait until it is. `false` when it does not within five seconds: it handles the signal.
    pub(super) fn stop_with(&self, signal: Signal) -> Step<bool> {
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
    pub(super) fn has_ended(&self) -> bool {
        let tasks = tasks_of(self.main.as_raw().cast_unsigned());
        tasks.iter().all(|task| matches!(state(task), Some(b'Z' | b'X') | None))
    }

    /// Wait until the process that listens has ended: how long it took, or `None` when it takes longer than that.
    pub(super) fn wait_for_end(&self, limit: Duration, stop: &Stop) -> Step<Option<Duration>> {
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

    /// How it ended, and the last that it wrote.
    pub(super) fn ending(mut self) -> String {
        // A shell that waits for the server tells how that ended, and ends a moment later.
        if !self.has_ended() {
            self.kill();
        }
        let Ending { how, words } = self.supervisor.ending();
        how.unwrap_or_else(|| "the server ended".to_owned()) + &said("; the last that it wrote: ", &words)
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

/// What the tasks of a server did in some time, in seconds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Work {
    pub(super) wall: f64,
    pub(super) ran: f64,
    /// They wanted to run, and got no processor.
    pub(super) waited: f64,
}

impl Ran {
    pub(super) fn since(self, earlier: Ran) -> Work {
        Work {
            wall: self.at.duration_since(earlier.at).as_secs_f64(),
            ran: self.ran.saturating_sub(earlier.ran).as_secs_f64(),
            waited: self.waited.saturating_sub(earlier.waited).as_secs_f64(),
        }
    }
}

impl Work {
    /// Neither ran nor wanted to.
    pub(super) fn slept(self) -> f64 {
        (self.wall - self.ran - self.waited).max(0.0)
    }

    /// They ran for no longer than they slept. The time for which they waited for a processor tells of other programs.
    pub(super) fn is_rest(self) -> bool {
        self.ran <= self.slept()
    }

    /// They ran for longer than they slept, in three seconds, or, where other programs had the processors, in as many as three would be.
    pub(super) fn is_busy(self) -> bool {
        const SECONDS: f64 = 3.0;
        !self.is_rest() && self.wall >= SECONDS && self.ran >= SECONDS / 2.0
    }
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

    #[test]
    fn a_server_that_never_sleeps_is_told_from_one_that_gets_no_processor_by_how_long_it_slept() {
        let work = |wall, ran, waited| Work { wall, ran, waited };
        for rests in [work(1.0, 0.001, 0.0), work(1.0, 0.5, 0.0), work(3.0, 0.1, 2.8), work(14.0, 1.5, 10.2)]
        {
            assert!(rests.is_rest() && !rests.is_busy());
        }
        for never_sleeps in [work(3.0, 1.6, 0.0), work(15.0, 1.5, 13.4), work(3.0, 5.8, 6.0)] {
            assert!(!never_sleeps.is_rest() && never_sleeps.is_busy());
        }
        for is_not_known in [work(1.0, 0.9, 0.0), work(1.0, 0.04, 0.95), work(10.0, 0.4, 9.5)] {
            assert!(!is_not_known.is_rest() && !is_not_known.is_busy());
        }
    }
}
