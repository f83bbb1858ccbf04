//! System calls of the server are made to fail, by ptrace(2), which works for a program in any language.
//!
//! A call fails only where the kernel could have let it fail:
//!
//! - `EINTR` comes to calls that wait: those on blocking descriptors (without `MSG_DONTWAIT`), and waits for events whose timeout is
//!   not 0.
//! - `EAGAIN` comes to non-blocking sockets. Neither it nor a short count comes to sockets that are edge-triggered or signal-driven:
//!   for those it means that nothing is left (man 7 epoll, Q9), and no further event would tell of the rest.
//! - A call on a descriptor that is not the listener or a client of the server is left alone.

use super::server::Server;
use super::{Ended, Step, sockets};
use crate::lab::meter::Tree;
use crate::sys::Errno;
use crate::sys::fcntl::{self, OFlag};
use crate::sys::fork::Pid;
use crate::sys::ptrace::{self, Stop};
use crate::sys::socket;
use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::net::SocketAddr;
use std::os::fd::RawFd;
use std::os::unix::fs::MetadataExt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// Calls that can fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Target {
    Accept,
    Receive,
    Send,
    Wait,
    /// `EPOLL_CTL_ADD` of a client.
    Register,
    /// The start of a process or a thread.
    Start,
}

/// What happens to a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    Fails(Errno),
    /// At most one byte is received or sent.
    OneByte,
}

/// Which of the calls it happens to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Often {
    /// Each, but when a call was made to fail, the thread's next one of the kind goes through: otherwise nothing would ever go on.
    Each,
    /// One in ten, by chance. After an accept(2) that failed, the next one of the thread goes through: the client that left meanwhile
    /// may have been the last for which a server waits that has no descriptor.
    OneInTen,
    /// The next one, and no further.
    Once,
    /// None: they are counted only.
    Never,
}

/// A fault that is wanted.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted {
    pub(super) target: Target,
    pub(super) fault: Fault,
    pub(super) often: Often,
    /// Only for the connection with the client at this address.
    pub(super) client: Option<SocketAddr>,
}

/// A server whose calls are stopped at. Its thread ends when the server has.
pub(super) struct Tracer {
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    now: Mutex<Now>,
    changed: Condvar,
}

#[derive(Default)]
struct Now {
    wanted: Option<Wanted>,
    /// How often it has happened; for [`Often::Never`], how often it could have.
    hits: usize,
    /// Why it did not happen to a call that was made.
    exempt: Option<&'static str>,
    /// Why nothing is known of the calls any more.
    broken: Option<String>,
    /// Whether the tracer is at work, or why it cannot be.
    started: Option<Result<(), String>>,
}

impl State {
    fn lock(&self) -> MutexGuard<'_, Now> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tracer {
    /// Stop at the calls of this server from now on.
    pub(super) fn start(server: &Server, seed: u64) -> Step<Tracer> {
        let state = Arc::new(State::default());
        let (main, addr) = (server.main().as_raw().cast_unsigned(), server.addr());
        let theirs = state.clone();
        let traces = move || {
            let mut trace = Trace::new(&theirs, addr, seed);
            let started = trace.seize(main);
            theirs.lock().started = Some(started.clone());
            theirs.changed.notify_all();
            if started.is_ok() {
                trace.follow();
            }
        };
        let spawned = thread::Builder::new().spawn(traces);
        spawned.map_err(|why| Ended::NotMade(format!("no thread to trace the server: {why}")))?;
        let tracer = Tracer { state };
        let mut now = tracer.state.lock();
        while now.started.is_none() {
            now = tracer.state.changed.wait(now).unwrap_or_else(PoisonError::into_inner);
        }
        let started = now.started.clone();
        drop(now);
        match started {
            Some(Err(why)) => Err(Ended::NotMade(why)),
            _ => Ok(tracer),
        }
    }

    /// Let this happen from now on.
    pub(super) fn want(&self, wanted: Wanted) {
        let mut now = self.state.lock();
        (now.wanted, now.hits, now.exempt) = (Some(wanted), 0, None);
    }

    /// Let nothing happen any more: how often it has.
    pub(super) fn want_nothing(&self) -> Step<usize> {
        self.state.lock().wanted = None;
        self.hits()
    }

    /// How often it has happened.
    pub(super) fn hits(&self) -> Step<usize> {
        let now = self.state.lock();
        match &now.broken {
            Some(why) => Err(Ended::NotMade(why.clone())),
            None => Ok(now.hits),
        }
    }

    /// Why it has never happened: the reason why it did not happen to the last call of the kind, if one was made.
    pub(super) fn exempt(&self) -> Option<&'static str> {
        self.state.lock().exempt
    }

    /// Wait until it has happened so often: `false` when it has not within the time.
    pub(super) fn wait_for(&self, hits: usize, limit: Duration) -> bool {
        let until = Instant::now() + limit;
        let mut now = self.state.lock();
        while now.hits < hits {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            let waited = self.state.changed.wait_timeout(now, left);
            now = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }
}

/// What the tracing thread knows.
struct Trace<'a> {
    state: &'a State,
    addr: SocketAddr,
    rng: fastrand::Rng,
    /// The process of each thread.
    process_of: HashMap<Pid, Pid>,
    /// Sockets that are registered edge-triggered, by inode: a process that was forked, and dup(2), have other descriptors for them.
    edge_triggered: HashSet<u64>,
    /// Threads whose call was skipped, and how it is to fail.
    failing: HashMap<Pid, Errno>,
    /// Threads whose next call of the kind goes through.
    spared: HashSet<Pid>,
}

impl<'a> Trace<'a> {
    fn new(state: &'a State, addr: SocketAddr, seed: u64) -> Trace<'a> {
        Trace {
            state,
            addr,
            rng: fastrand::Rng::with_seed(seed),
            process_of: HashMap::new(),
            edge_triggered: HashSet::new(),
            failing: HashMap::new(),
            spared: HashSet::new(),
        }
    }

    /// Trace all threads of the server: this process, and those that it has started.
    fn seize(&mut self, main: u32) -> Result<(), String> {
        self.may_look(main)?;
        // A thread that is not traced yet may start another.
        loop {
            let pids = Tree::of(main, true).pids().to_vec();
            let threads =
                pids.iter().flat_map(|&pid| threads_of(pid).into_iter().map(move |thread| (pid, thread)));
            let new: Vec<_> = threads.filter(|(_, thread)| !self.process_of.contains_key(thread)).collect();
            if new.is_empty() {
                break;
            }
            for (pid, thread) in new {
                self.process_of.insert(thread, Pid::from_raw(pid.cast_signed()));
                seize(thread)?;
            }
        }
        let processes: HashSet<_> = self.process_of.values().copied().collect();
        processes.into_iter().for_each(|process| self.look_for_edges(process));
        Ok(())
    }

    /// Whether the descriptors of the server can be looked at: without them no call can be told from another.
    fn may_look(&self, pid: u32) -> Result<(), String> {
        let fds = sockets::descriptors(pid).unwrap_or_default();
        let fd = fds.iter().find_map(|fd| fd.file_name()?.to_str()?.parse().ok());
        match fd.map(|fd| ptrace::copy_of(Pid::from_raw(pid.cast_signed()), fd)) {
            Some(Err(why)) if matches!(why.errno(), Some(Errno::EPERM | Errno::ENOSYS)) => Err(format!(
                "{why}: the descriptors of the server cannot be looked at; it takes Linux 5.6, and in a container CAP_SYS_PTRACE"
            )),
            _ => Ok(()),
        }
    }

    /// What was registered before: `/proc/PID/fdinfo/FD` of an epoll instance has a line for each descriptor.
    fn look_for_edges(&mut self, process: Pid) {
        let infos = std::fs::read_dir(format!("/proc/{process}/fdinfo")).into_iter().flatten().flatten();
        for info in infos {
            let text = std::fs::read_to_string(info.path()).unwrap_or_default();
            for line in text.lines().filter(|line| line.starts_with("tfd:")) {
                // "tfd:        5 events: 8000201f data: …  pos:0 ino:1f3a sdev:8"
                let mut words = line.split_ascii_whitespace();
                let events = words.nth(3).and_then(|word| u32::from_str_radix(word, 16).ok());
                let inode = words.find_map(|word| u64::from_str_radix(word.strip_prefix("ino:")?, 16).ok());
                if let (Some(inode), Some(events)) = (inode, events) {
                    self.register(inode, events);
                }
            }
        }
    }

    fn register(&mut self, inode: u64, events: u32) {
        match events & libc::EPOLLET.cast_unsigned() {
            0 => drop(self.edge_triggered.remove(&inode)),
            _ => drop(self.edge_triggered.insert(inode)),
        }
    }

    /// Until no thread is left.
    fn follow(&mut self) {
        while let Ok(Some((thread, stop))) = ptrace::wait() {
            // A thread that was killed in the meantime cannot be told anything; its end comes next.
            let _gone = match stop {
                Stop::Entry { number, arguments } => {
                    self.entry(thread, number, &arguments);
                    ptrace::go_on(thread, 0)
                }
                Stop::Exit(_) => {
                    if let Some(errno) = self.failing.remove(&thread) {
                        ptrace::set_failure(thread, errno).ok();
                    }
                    ptrace::go_on(thread, 0)
                }
                Stop::Signal(signal) => ptrace::go_on(thread, signal),
                Stop::Unknown(why) => {
                    let words = format!(
                        "the kernel does not tell at which call the server stopped (Linux 5.3): {why}"
                    );
                    self.state.lock().broken.get_or_insert(words);
                    ptrace::go_on(thread, 0)
                }
                Stop::Group => ptrace::listen(thread),
                Stop::Event => ptrace::go_on(thread, 0),
                Stop::Ended(_) => {
                    self.process_of.remove(&thread);
                    self.failing.remove(&thread);
                    self.spared.remove(&thread);
                    Ok(())
                }
            };
        }
    }

    /// A thread is about to make a call.
    fn entry(&mut self, thread: Pid, number: i64, arguments: &[u64; 6]) {
        if number == libc::SYS_epoll_ctl {
            self.note_registration(thread, arguments);
        }
        let Some(wanted) = self.state.lock().wanted else { return };
        if target_of(number) != Some(wanted.target) {
            return;
        }
        match self.may_happen(thread, wanted, number, arguments) {
            Ok(true) => {}
            Ok(false) => return,
            Err(exempt) => {
                self.state.lock().exempt = Some(exempt);
                return;
            }
        }
        let happens = match wanted.often {
            // A short transfer goes on by itself.
            Often::Each if wanted.fault == Fault::OneByte => true,
            Often::Each => !self.spared.remove(&thread),
            Often::OneInTen if wanted.target == Target::Accept && self.spared.remove(&thread) => false,
            Often::OneInTen => self.rng.u8(0..10) == 0,
            Often::Once => true,
            Often::Never => {
                self.state.lock().hits += 1;
                return;
            }
        };
        if !happens {
            return;
        }
        let done = match wanted.fault {
            Fault::OneByte => ptrace::set_third_argument(thread, 1),
            Fault::Fails(errno) => {
                self.failing.insert(thread, errno);
                self.spared.insert(thread);
                ptrace::skip_call(thread)
            }
        };
        if done.is_ok() {
            let mut now = self.state.lock();
            now.hits += 1;
            if wanted.often == Often::Once {
                now.wanted = None;
            }
            drop(now);
            self.state.changed.notify_all();
        }
    }

    fn note_registration(&mut self, thread: Pid, arguments: &[u64; 6]) {
        let [_, operation, fd, event, ..] = *arguments;
        let process = self.process(thread);
        if operation != libc::EPOLL_CTL_DEL as u64
            && let Ok(events) = ptrace::read(thread, event)
            && let Some(inode) =
                ptrace::copy_of(process, fd as RawFd).ok().and_then(|copy| inode(&copy.into()))
        {
            self.register(inode, u32::from_ne_bytes(events));
        }
    }

    /// Whether this call is one that is wanted: of the listener, or of the client. An error is why the kernel could not do this to it.
    fn may_happen(
        &mut self,
        thread: Pid,
        wanted: Wanted,
        number: i64,
        arguments: &[u64; 6],
    ) -> Result<bool, &'static str> {
        let process = self.process(thread);
        let fd = match wanted.target {
            Target::Start => return Ok(true),
            Target::Wait
                if wanted.fault == Fault::Fails(Errno::EINTR) && !takes_time(thread, number, arguments) =>
            {
                return Err("it waits with a timeout of 0, which no signal interrupts");
            }
            Target::Wait => return Ok(true),
            Target::Register if arguments[1] != libc::EPOLL_CTL_ADD as u64 => return Ok(false),
            Target::Register => arguments[2] as RawFd,
            Target::Accept | Target::Receive | Target::Send => arguments[0] as RawFd,
        };
        let Ok(copy) = ptrace::copy_of(process, fd).map(File::from) else { return Ok(false) };
        let Ok(local) = socket::local_addr(&copy) else { return Ok(false) };
        let client = socket::peer_addr(&copy).ok();
        if local.port() != self.addr.port() || client.is_some() == (wanted.target == Target::Accept) {
            return Ok(false);
        }
        // A server on an IPv6 socket has its clients at mapped addresses; the port tells them apart.
        if wanted.client.is_some_and(|only| client.is_none_or(|client| client.port() != only.port())) {
            return Ok(false);
        }
        let Ok(flags) = fcntl::status_flags(&copy) else { return Ok(false) };
        let waits =
            !flags.contains(OFlag::O_NONBLOCK) && flags_of(number, arguments) & libc::MSG_DONTWAIT == 0;
        // Signals tell of what is new as well (O_ASYNC).
        let has_edges = flags.contains(OFlag::O_ASYNC)
            || inode(&copy).is_some_and(|inode| self.edge_triggered.contains(&inode));
        match wanted.fault {
            Fault::Fails(Errno::EINTR) if !waits => {
                Err("its sockets are non-blocking: a call that does not wait is not interrupted")
            }
            Fault::Fails(Errno::EAGAIN) if waits => Err("its sockets are blocking: a call waits instead"),
            Fault::Fails(Errno::EAGAIN) | Fault::OneByte if has_edges => Err(
                "its sockets are edge-triggered or signal-driven: the call would mean that nothing is left",
            ),
            Fault::OneByte if !ONE_BUFFER.contains(&number) => {
                Err("it uses several buffers for each call (readv, writev, recvmsg, sendmsg)")
            }
            Fault::OneByte => Ok(arguments[2] > 1),
            Fault::Fails(_) => Ok(true),
        }
    }

    /// The process of a thread.
    fn process(&mut self, thread: Pid) -> Pid {
        *self.process_of.entry(thread).or_insert_with(|| {
            let status = std::fs::read_to_string(format!("/proc/{thread}/status")).unwrap_or_default();
            let group = status.lines().find_map(|line| line.strip_prefix("Tgid:"));
            group.and_then(|group| group.trim().parse().ok()).map_or(thread, Pid::from_raw)
        })
    }
}

/// Who traces this thread.
fn tracer_of(thread: Pid) -> Option<i32> {
    let status = std::fs::read_to_string(format!("/proc/{thread}/status")).ok()?;
    let tracer = status.lines().find_map(|line| line.strip_prefix("TracerPid:"))?;
    tracer.trim().parse().ok().filter(|pid| *pid != 0)
}

fn threads_of(pid: u32) -> Vec<Pid> {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    tasks.filter_map(|task| task.file_name().to_str()?.parse().ok()).map(Pid::from_raw).collect()
}

/// Begin to trace a thread, and stop it.
fn seize(thread: Pid) -> Result<(), String> {
    let Err(why) = ptrace::seize(thread).and_then(|()| ptrace::interrupt(thread)) else { return Ok(()) };
    match tracer_of(thread) {
        // It has ended meanwhile.
        _ if why.errno() == Some(Errno::ESRCH) => Ok(()),
        // One that was traced already has started it: then it is traced as well.
        Some(tracer) if tracer == nix::unistd::gettid().as_raw() => Ok(()),
        Some(tracer) => {
            Err(format!("{why}: process {tracer} traces the server already, as strace and debuggers do"))
        }
        None => Err(format!(
            "{why}: the system calls of the server cannot be stopped at; look at kernel.yama.ptrace_scope, and for a container at \
             CAP_SYS_PTRACE and its seccomp profile"
        )),
    }
}

/// The inode of a socket, which is another for each.
fn inode(socket: &File) -> Option<u64> {
    Some(socket.metadata().ok()?.ino())
}

/// Whether a call that waits for events may take time: with a timeout of 0 it only looks.
fn takes_time(thread: Pid, number: i64, arguments: &[u64; 6]) -> bool {
    let timeout = match number {
        #[cfg(target_arch = "x86_64")]
        libc::SYS_epoll_wait => return arguments[3] as i32 != 0,
        #[cfg(target_arch = "x86_64")]
        libc::SYS_poll => return arguments[2] as i32 != 0,
        libc::SYS_epoll_pwait => return arguments[3] as i32 != 0,
        libc::SYS_epoll_pwait2 => arguments[3],
        libc::SYS_ppoll => arguments[2],
        // select(2) and pselect6.
        _ => arguments[4],
    };
    // A null pointer is no timeout. Seconds and their fractions have eight bytes each.
    timeout == 0 || ptrace::read::<16>(thread, timeout).is_ok_and(|time| time != [0; 16])
}

/// The flags of recv(2) and its kind, as `MSG_DONTWAIT`.
fn flags_of(number: i64, arguments: &[u64; 6]) -> libc::c_int {
    match number {
        libc::SYS_recvfrom | libc::SYS_sendto => arguments[3] as libc::c_int,
        libc::SYS_recvmsg | libc::SYS_sendmsg => arguments[2] as libc::c_int,
        _ => 0,
    }
}

/// Calls whose third argument is the length of their only buffer.
const ONE_BUFFER: [i64; 4] = [libc::SYS_read, libc::SYS_recvfrom, libc::SYS_write, libc::SYS_sendto];

/// What a system call is for. sendfile, splice and io_uring are not among them.
fn target_of(number: i64) -> Option<Target> {
    #[cfg(target_arch = "x86_64")]
    match number {
        libc::SYS_accept => return Some(Target::Accept),
        libc::SYS_epoll_wait | libc::SYS_poll | libc::SYS_select => return Some(Target::Wait),
        libc::SYS_fork | libc::SYS_vfork => return Some(Target::Start),
        _ => {}
    }
    #[cfg(target_arch = "aarch64")]
    if number == libc::SYS_accept {
        return Some(Target::Accept);
    }
    Some(match number {
        libc::SYS_accept4 => Target::Accept,
        libc::SYS_read | libc::SYS_recvfrom | libc::SYS_readv | libc::SYS_recvmsg => Target::Receive,
        libc::SYS_write | libc::SYS_sendto | libc::SYS_writev | libc::SYS_sendmsg => Target::Send,
        libc::SYS_epoll_pwait | libc::SYS_epoll_pwait2 | libc::SYS_ppoll | libc::SYS_pselect6 => Target::Wait,
        libc::SYS_epoll_ctl => Target::Register,
        libc::SYS_clone | libc::SYS_clone3 => Target::Start,
        _ => return None,
    })
}
