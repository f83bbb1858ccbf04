//! Every system call of a server, written down: a thread that traces it, from its first instruction to its end.

use super::decode::{self, Kind, Memory, Told};
use super::log::{Log, RawWhat};
use crate::lab::results::trace::{On, Task};
use crate::sys::Errno;
use crate::sys::fork::Pid;
use crate::sys::ptrace::{self, How, Stop};
use anyhow::{Context, anyhow};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::os::unix::fs::MetadataExt;
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};

/// A server that is traced. The thread ends when all its processes have.
#[derive(Debug)]
pub(super) struct Recorder {
    thread: JoinHandle<Vec<Task>>,
}

impl Recorder {
    /// Trace this process, which is about to execute the server: calls count from the `execs`th execve(2) that succeeds.
    pub(super) fn start(process: Pid, execs: usize, log: Arc<Log>) -> anyhow::Result<Recorder> {
        let (tell, started) = mpsc::channel();
        let traces = move || {
            let begun = ptrace::seize(process).and_then(|()| ptrace::interrupt(process));
            let has_begun = begun.is_ok();
            tell.send(begun).ok();
            let mut trace = Trace::new(&log, process, execs);
            if has_begun {
                trace.follow();
            }
            trace.tasks
        };
        let thread = thread::Builder::new().spawn(traces).context("no thread to trace the server")?;
        let begun = started.recv().context("the thread that traces the server has ended")?;
        begun.map_err(not_traced)?;
        Ok(Recorder { thread })
    }

    /// Wait until all processes of the server have ended: its tasks.
    pub(super) fn tasks(self) -> anyhow::Result<Vec<Task>> {
        self.thread.join().map_err(|_| anyhow!("the thread that traces the server has panicked"))
    }
}

/// Why a server cannot be traced, and what helps.
pub(in crate::lab) fn not_traced(why: crate::Error) -> anyhow::Error {
    match why.errno() {
        Some(Errno::EPERM) => anyhow!(
            "{why}: the server may not be traced. In a container it takes the capability SYS_PTRACE, or a seccomp profile that allows ptrace; \
             kernel.yama.ptrace_scope must be below 2; and no other debugger may trace it"
        ),
        Some(Errno::ENOSYS) => anyhow!("{why}: servers can be traced on x86-64 and aarch64 only"),
        _ => why.into(),
    }
}

/// A call that has not returned.
struct Open {
    name: &'static str,
    arguments: [u64; 6],
    /// Its number among the calls that are events, if it is one.
    call: Option<u64>,
    on: Option<On>,
}

struct Trace<'a> {
    log: &'a Log,
    main: Pid,
    /// How many execve(2) are still to come until calls count.
    execs: usize,
    tasks: Vec<Task>,
    /// The place of each thread in `tasks`.
    known: HashMap<Pid, usize>,
    open: HashMap<Pid, Open>,
    calls: u64,
    /// Threads that have made a call that cannot be read.
    unknown: HashSet<Pid>,
}

impl<'a> Trace<'a> {
    fn new(log: &'a Log, main: Pid, execs: usize) -> Trace<'a> {
        Trace {
            log,
            main,
            execs,
            tasks: Vec::new(),
            known: HashMap::new(),
            open: HashMap::new(),
            calls: 0,
            unknown: HashSet::new(),
        }
    }

    /// Until no thread is left.
    fn follow(&mut self) {
        while let Ok(Some((thread, stop))) = ptrace::wait() {
            // A thread that was killed in the meantime cannot be told anything; its end comes next.
            let _gone = match stop {
                Stop::Entry { number, arguments } => {
                    self.entry(thread, number, arguments);
                    ptrace::go_on(thread, 0)
                }
                Stop::Exit(result) => {
                    self.exit(thread, result);
                    ptrace::go_on(thread, 0)
                }
                Stop::Signal(signal) => {
                    self.signal(thread, signal);
                    ptrace::go_on(thread, signal)
                }
                Stop::Unknown(why) => {
                    if self.unknown.insert(thread) {
                        let why = format!(
                            "the kernel does not tell at which call the server stopped (Linux 5.3): {why}"
                        );
                        self.log.lock().broken.get_or_insert(why);
                    }
                    ptrace::go_on(thread, 0)
                }
                Stop::Group => ptrace::listen(thread),
                Stop::Event => ptrace::go_on(thread, 0),
                Stop::Ended(how) => {
                    self.ended(thread, how);
                    Ok(())
                }
            };
        }
    }

    /// Whether the server itself runs, and not what executes it.
    fn counts(&self) -> bool {
        self.execs == 0
    }

    fn entry(&mut self, thread: Pid, number: i64, arguments: [u64; 6]) {
        let name = decode::name(number).unwrap_or("?");
        let mut open = Open { name, arguments, call: None, on: None };
        let is_first_exec = self.execs == 1 && name == "execve";
        if self.counts() || is_first_exec {
            let task = self.task(thread);
            let kind = decode::kind(name);
            let mut log = self.log.lock();
            open.on = kind.filter(|kind| *kind != Kind::Other).and_then(|_| {
                if name.starts_with("io_uring") {
                    // It may be the number of a registered ring instead of a descriptor.
                    return Some(On::Other("io_uring".to_owned()));
                }
                // epoll_ctl(2) is about the descriptor that it registers.
                let place = if name == "epoll_ctl" { 2 } else { 0 };
                match on(&mut log, thread, arguments[place] as i32) {
                    // It has a pipe at one end.
                    Some(On::Other(_)) if name == "splice" => on(&mut log, thread, arguments[2] as i32),
                    known => known,
                }
            });
            let is_event = match (kind, &open.on) {
                // Standard output of the server is a pipe here.
                (Some(Kind::OnNoFile), Some(On::Other(what))) => !what.starts_with('/') && arguments[0] > 2,
                (Some(Kind::OnNoFile), None) | (None, _) => false,
                _ => true,
            };
            if is_event {
                let text = decode::arguments(name, &arguments, Memory(thread), None);
                let what =
                    RawWhat::Entry { call: self.calls, task, name, on: open.on.clone(), arguments: text };
                if log.push(what) {
                    open.call = Some(self.calls);
                    self.calls += 1;
                }
            } else {
                log.happened += 1;
            }
        }
        self.open.insert(thread, open);
    }

    fn exit(&mut self, thread: Pid, result: Result<i64, i32>) {
        let Some(open) = self.open.remove(&thread) else { return };
        if open.name == "execve" && result.is_ok() && self.execs > 0 {
            self.execs -= 1;
        }
        if !self.counts() {
            return;
        }
        self.task(thread);
        let mut log = self.log.lock();
        log.happened += 1;
        *log.calls.entry(open.name).or_insert(0) += 1;
        let memory = Memory(thread);
        if open.name == "listen" && result.is_ok() {
            log.listeners.extend(socket_of(thread, open.arguments[0] as i32));
        }
        let Some(call) = open.call else { return };
        // A program that was executed has another memory: its arguments are those from before.
        let text = (open.name != "execve")
            .then(|| decode::arguments(open.name, &open.arguments, memory, Some(result)));
        let told = match result {
            Ok(n @ 1..) => decode::told(open.name, &open.arguments, memory, n),
            _ => Vec::new(),
        };
        let watched = match told.first() {
            Some(Told::Data(..)) => watched(thread, open.arguments[0] as i32),
            _ => Vec::new(),
        };
        let ready = decode::ready(told, |told| {
            let known = match told {
                Told::Descriptor(fd, _) => on(&mut log, thread, *fd),
                Told::Data(data, _) => on_data(&mut log, thread, &watched, *data),
            };
            known.unwrap_or_else(|| On::Other("?".to_owned()))
        });
        let accepted = match (open.name, result) {
            ("accept" | "accept4", Ok(fd)) => match on(&mut log, thread, fd as i32) {
                Some(On::Client(client)) => Some(client),
                _ => None,
            },
            _ => None,
        };
        let what = RawWhat::Exit { call, arguments: text, result, ready, accepted };
        match open.on {
            Some(On::Client(_) | On::Listener) => log.push_with_fills(what),
            _ => drop(log.push(what)),
        }
    }

    fn signal(&mut self, thread: Pid, signal: i32) {
        if self.counts() {
            let task = self.task(thread);
            self.log.lock().push(RawWhat::Signal { task, name: decode::signal(signal) });
        }
    }

    fn ended(&mut self, thread: Pid, how: How) {
        self.open.remove(&thread);
        if let Some(task) = self.known.remove(&thread) {
            let how = match how {
                How::Exit(code) => format!("exit {code}"),
                How::Killed(signal) => decode::signal(signal),
            };
            self.log.lock().push(RawWhat::Ended { task, thread, how });
        }
    }

    /// The place of a thread among the tasks.
    fn task(&mut self, thread: Pid) -> usize {
        if let Some(known) = self.known.get(&thread) {
            return *known;
        }
        let process = if thread == self.main { thread } else { process_of(thread) };
        let place = self.tasks.len();
        self.tasks.push(Task { process: process.as_raw(), thread: thread.as_raw(), name: String::new() });
        self.known.insert(thread, place);
        name_tasks(&mut self.tasks);
        self.log.lock().push(RawWhat::Started { task: place });
        place
    }
}

/// `process 1`, and `process 1, thread 2` where it has several.
fn name_tasks(tasks: &mut [Task]) {
    let mut processes: BTreeMap<i32, (usize, usize)> = BTreeMap::new();
    for task in tasks {
        let next = processes.len() + 1;
        let (process, threads) = processes.entry(task.process).or_insert((next, 0));
        *threads += 1;
        task.name = match *threads {
            1 => format!("process {process}"),
            n => format!("process {process}, thread {n}"),
        };
    }
}

fn process_of(thread: Pid) -> Pid {
    let status = std::fs::read_to_string(format!("/proc/{thread}/status")).unwrap_or_default();
    let group = status.lines().find_map(|line| line.strip_prefix("Tgid:"));
    group.and_then(|group| group.trim().parse().ok()).map_or(thread, Pid::from_raw)
}

/// A descriptor in /proc. The thread that made the call has it, also when the first thread of its process has ended, which has none then.
fn path(thread: Pid, fd: i32) -> String {
    format!("/proc/{thread}/fd/{fd}")
}

/// The number of a socket.
fn socket_of(thread: Pid, fd: i32) -> Option<u64> {
    let link = std::fs::read_link(path(thread, fd)).ok()?;
    link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}

/// What an epoll instance watches.
#[derive(Debug, PartialEq, Eq)]
struct Watched {
    /// The number that the program gave.
    data: u64,
    /// The descriptor in the process that registered it, which may be another one than that which waits.
    fd: i32,
    /// The number of the file.
    inode: u64,
}

/// What an epoll instance watches, as the kernel tells in /proc/PID/fdinfo/FD (proc_pid_fdinfo(5); the inode: Linux 4.13).
fn watched(thread: Pid, epoll: i32) -> Vec<Watched> {
    let told = std::fs::read_to_string(format!("/proc/{thread}/fdinfo/{epoll}")).unwrap_or_default();
    let of_line = |line: &str| {
        let mut words = line.split([' ', ':']).filter(|word| !word.is_empty());
        let mut after = |name: &str| words.by_ref().skip_while(|word| *word != name).nth(1);
        Some(Watched {
            fd: after("tfd")?.parse().ok()?,
            data: u64::from_str_radix(after("data")?, 16).ok()?,
            inode: u64::from_str_radix(after("ino")?, 16).ok()?,
        })
    };
    told.lines().filter_map(of_line).collect()
}

/// What epoll_wait(2) tells of by this number. `None` when several descriptors have it that are not the same.
fn on_data(log: &mut super::log::Known, thread: Pid, watched: &[Watched], data: u64) -> Option<On> {
    let mut with_it = watched.iter().filter(|watched| watched.data == data);
    let first = with_it.next()?;
    if with_it.any(|other| other.inode != first.inode) {
        return None;
    }
    // Another process may have registered it, and this one have something else, or nothing, at that number.
    let is_here = std::fs::metadata(path(thread, first.fd)).is_ok_and(|file| file.ino() == first.inode);
    if is_here { on(log, thread, first.fd) } else { Some(log.socket(first.inode)) }
}

/// What a descriptor of a process is.
fn on(log: &mut super::log::Known, thread: Pid, fd: i32) -> Option<On> {
    if let Some(inode) = socket_of(thread, fd) {
        return Some(log.socket(inode));
    }
    let link = std::fs::read_link(path(thread, fd)).ok()?;
    let link = link.to_string_lossy().into_owned();
    Some(match link.strip_prefix("anon_inode:") {
        Some("[eventpoll]") => On::Epoll,
        Some(name) => On::Other(name.trim_matches(['[', ']']).to_owned()),
        None => On::Other(link.split(":[").next().unwrap_or(&link).to_owned()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::epoll::{Epoll, EpollFlags};
    use crate::sys::{fork::this_process, passing};
    use std::os::fd::{AsFd, AsRawFd};

    #[test]
    fn an_epoll_instance_tells_what_it_watches() {
        let epoll = Epoll::new().expect("an instance");
        let (one, _other) = passing::pair().expect("two sockets");
        epoll.add(&one, u64::MAX - 7, EpollFlags::EPOLLIN | EpollFlags::EPOLLET).expect("it is registered");
        let here = this_process();
        let inode = socket_of(here, one.as_raw_fd());
        let [watched] = watched(here, epoll.as_fd().as_raw_fd()).try_into().expect("one entry");
        assert_eq!((watched.data, watched.fd, Some(watched.inode)), (u64::MAX - 7, one.as_raw_fd(), inode));
    }

    #[test]
    fn what_is_no_epoll_instance_watches_nothing() {
        assert_eq!(watched(this_process(), 0), []);
        assert_eq!(watched(this_process(), i32::MAX), []);
    }
}
