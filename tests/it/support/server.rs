//! `io-models serve`, as a process.

use super::process::{children, process};
use super::wait::{DEADLINE, wait_until};
use io_models::model::Model;
use io_models::sys::fork::Pid;
use io_models::sys::poll::{PollFlags, wait_for};
use io_models::sys::signal::Signal;
use nix::sys::signal::{kill, killpg};
use procfs::process::Process;
use serde_json::Value;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{ErrorKind, Read};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

/// Workers of a server, unless a test wants others.
pub(crate) const WORKERS: usize = 4;

/// A server that is ready for clients. Killed, with its children, when a test ends without
/// [`stop`](Server::stop).
#[derive(Debug)]
pub(crate) struct Server {
    /// What was started: the server, or strace with the server as its child.
    started: Child,
    pid: Pid,
    addr: SocketAddr,
    stdout: ChildStdout,
}

/// How to start one.
#[derive(Debug)]
pub(crate) struct Starter {
    before: Vec<OsString>,
    program: OsString,
    serve: Vec<OsString>,
    user: Option<u32>,
    own_group: bool,
}

impl Server {
    /// A server of that model on a free port of 127.0.0.1.
    #[track_caller]
    pub(crate) fn start(model: &Model) -> Server {
        Server::of(model).start()
    }

    /// The same, with changes.
    pub(crate) fn of(model: &Model) -> Starter {
        let starter = Starter {
            before: Vec::new(),
            program: env!("CARGO_BIN_EXE_io-models").into(),
            serve: ["serve", model.name, "--json"].map(OsString::from).to_vec(),
            user: None,
            own_group: false,
        };
        if model.has_workers() { starter.workers(WORKERS) } else { starter }
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The server in /proc.
    pub(crate) fn process(&self) -> Process {
        process(self.pid)
    }

    #[track_caller]
    pub(crate) fn signal(&self, signal: Signal) {
        kill(self.pid, signal).expect("the server is there to get a signal");
    }

    /// To the server and its children, as the terminal does at Ctrl-C. Only with
    /// [`own_group`](Starter::own_group).
    #[track_caller]
    pub(crate) fn signal_group(&self, signal: Signal) {
        killpg(self.pid, signal).expect("the server leads its process group");
    }

    /// SIGTERM, and what [`finish`](Server::finish) says.
    #[track_caller]
    pub(crate) fn stop(self) -> Report {
        self.signal(Signal::SIGTERM);
        self.finish(DEADLINE)
    }

    /// The report of a server that has been told to stop. It begins within `limit`, and the exit
    /// code is 0.
    #[track_caller]
    pub(crate) fn finish(self, limit: Duration) -> Report {
        let document = self.finish_text(limit);
        Report(serde_json::from_str(&document).expect("one JSON document after the first line"))
    }

    /// SIGTERM to a server that has had something to say on standard error.
    #[track_caller]
    pub(crate) fn stop_after_saying(self, what: &str) -> Report {
        self.signal(Signal::SIGTERM);
        let (report, complaints) = self.report_and_complaints(DEADLINE);
        assert!(complaints.contains(what), "standard error has not {what:?}, but {complaints:?}");
        report
    }

    /// The report of a server that has been told to stop, and what it said on standard error.
    #[track_caller]
    pub(crate) fn report_and_complaints(self, limit: Duration) -> (Report, String) {
        let (document, complaints) = self.last_words(limit);
        (Report(serde_json::from_str(&document).expect("one JSON document after the first line")), complaints)
    }

    /// The same, as the server printed it.
    #[track_caller]
    pub(crate) fn finish_text(self, limit: Duration) -> String {
        let (said, complaints) = self.last_words(limit);
        assert_eq!(complaints, "", "standard error of a server that did what it should");
        said
    }

    /// What it says from now on: on standard output, and on standard error.
    #[track_caller]
    fn last_words(mut self, limit: Duration) -> (String, String) {
        // The report is the last that a server does by itself, so the limit holds for its beginning.
        // How long the kernel then takes the process apart depends on others: exit_mmap waits for a
        // lock of libc.so, 4 s at times on two processors with 30 processes that wanted to run.
        let reports = wait_for(&self.stdout, PollFlags::POLLIN, Some(limit)).expect("poll of a pipe");
        assert!(reports, "not within {limit:?}: the server ends after it was told to stop");
        // Children have the same standard output, so the end of it is theirs, too.
        let said = read_until(&mut self.stdout, "the end of its standard output", |_| false);
        let mut status = None;
        wait_until("the server is gone after its last word", || {
            status = self.started.try_wait().expect("the status of a child of ours");
            status.is_some()
        });
        let mut complaints = String::new();
        let mut stderr = self.started.stderr.take().expect("standard error is a pipe");
        stderr.read_to_string(&mut complaints).expect("standard error is text");
        let status = status.expect("it has ended");
        assert_eq!(status.code(), Some(0), "exit code of the server ({status}): {complaints}");
        (String::from_utf8(said).expect("the report is text"), complaints)
    }

    /// Wait until the server has said something on standard error, which [`stop_after_saying`](Server::stop_after_saying)
    /// reads.
    #[track_caller]
    pub(crate) fn wait_for_complaint(&self) {
        let stderr = self.started.stderr.as_ref().expect("standard error is a pipe");
        let complains = wait_for(stderr, PollFlags::POLLIN, Some(DEADLINE)).expect("poll of a pipe");
        assert!(complains, "not within {DEADLINE:?}: the server says something on standard error");
    }

    /// SIGKILL to the server alone.
    #[track_caller]
    pub(crate) fn kill(&mut self) {
        self.started.kill().expect("the server is there to be killed");
        self.started.wait().expect("the status of a child of ours");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Ok(None) = self.started.try_wait() {
            let ours = Process::new(self.pid.as_raw()).map(|server| children(&server)).unwrap_or_default();
            for pid in ours.into_iter().chain([self.pid]) {
                kill(pid, Signal::SIGKILL).ok();
            }
            self.started.kill().ok();
            self.started.wait().ok();
        }
    }
}

impl Starter {
    /// One more argument.
    pub(crate) fn arg(mut self, arg: &str) -> Starter {
        self.serve.push(arg.into());
        self
    }

    /// With so many workers.
    pub(crate) fn workers(mut self, workers: usize) -> Starter {
        let old = self.serve.iter().position(|word| word == "--workers");
        old.into_iter().for_each(|at| drop(self.serve.drain(at..at + 2)));
        self.arg("--workers").arg(&workers.to_string())
    }

    /// With a report for people instead of JSON.
    pub(crate) fn for_people(mut self) -> Starter {
        self.serve.retain(|word| word != "--json");
        self
    }

    /// Run this copy of the program.
    pub(crate) fn program(mut self, path: &Path) -> Starter {
        self.program = path.into();
        self
    }

    /// With a limit, soft and hard, in the shell's words: `ulimit -n 32`.
    pub(crate) fn limited(mut self, ulimit: &str) -> Starter {
        self.before = ["sh", "-c", &format!("{ulimit}; exec \"$0\" \"$@\"")].map(OsString::from).to_vec();
        self
    }

    /// Watched by `strace -f -c`, which writes its table to `table`. With one arena glibc does not look up the number of processors.
    pub(crate) fn under_strace(mut self, table: &Path) -> Starter {
        self.before = ["strace", "-E", "MALLOC_ARENA_MAX=1", "-f", "-c", "-o"].map(OsString::from).to_vec();
        self.before.push(table.into());
        self.before.push("--".into());
        self
    }

    /// With a kernel that answers some of these calls, such as `10+5` (the tenth, and each fifth after it), with an error. It is
    /// strace(1) that does so.
    pub(crate) fn failing(mut self, call: &str, error: &str, when: &str) -> Starter {
        let inject = format!("inject={call}:error={error}:when={when}");
        self.before = ["strace", "-f", "-o", "/dev/null", "-e", &inject, "--"].map(OsString::from).to_vec();
        self
    }

    /// As the user with that number, which takes root.
    pub(crate) fn user(mut self, uid: u32) -> Starter {
        self.user = Some(uid);
        self
    }

    /// At the head of a process group of its own.
    pub(crate) fn own_group(mut self) -> Starter {
        self.own_group = true;
        self
    }

    #[track_caller]
    pub(crate) fn start(self) -> Server {
        super::in_the_foreground();
        let is_traced = self.before.first().is_some_and(|first| first == "strace");
        let mut words = self.before.into_iter().chain([self.program]).chain(self.serve);
        let mut command = Command::new(words.next().expect("the program at least"));
        command.args(words).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        if let Some(uid) = self.user {
            command.uid(uid).gid(uid);
        }
        if self.own_group {
            command.process_group(0);
        }
        let mut started = command.spawn().expect("the program starts");
        let mut stdout = started.stdout.take().expect("standard output is a pipe");
        let line = read_until(&mut stdout, "its first line", |said| said.ends_with(b"\n"));
        let line = String::from_utf8(line).expect("the first line is text");
        let addr = line.strip_prefix("listening on ").and_then(|addr| addr.trim_end().parse().ok());
        let Some(addr) = addr else {
            started.kill().ok();
            let mut complaints = String::new();
            started.stderr.take().map(|mut stderr| stderr.read_to_string(&mut complaints));
            panic!("the first line is {line:?}, and standard error says {complaints:?}");
        };
        let first = Pid::from_raw(started.id() as i32);
        let pid = if is_traced { children(&process(first))[0] } else { first };
        Server { started, pid, addr, stdout }
    }
}

/// Read until `enough`, or the end.
#[track_caller]
fn read_until(stdout: &mut ChildStdout, what: &str, enough: impl Fn(&[u8]) -> bool) -> Vec<u8> {
    let until = Instant::now() + DEADLINE;
    let mut said = Vec::new();
    while !enough(&said) {
        let left = until.saturating_duration_since(Instant::now());
        let ready = wait_for(&*stdout, PollFlags::POLLIN, Some(left)).expect("poll of a pipe");
        assert!(ready, "not within {DEADLINE:?}: the server says {what}; it said {said:?}");
        // Byte by byte, because what follows the first line belongs to the next reader.
        let mut byte = [0];
        match stdout.read(&mut byte) {
            Ok(0) => break,
            Ok(_) => said.push(byte[0]),
            Err(why) if why.kind() == ErrorKind::Interrupted => {}
            Err(why) => panic!("reading {what}: {why}"),
        }
    }
    said
}

/// What a server said at its end.
#[derive(Debug)]
pub(crate) struct Report(Value);

impl Report {
    #[track_caller]
    pub(crate) fn number(&self, field: &str) -> u64 {
        self.0[field].as_u64().unwrap_or_else(|| panic!("no number {field:?} in {:#}", self.0))
    }

    #[track_caller]
    pub(crate) fn text(&self, field: &str) -> &str {
        self.0[field].as_str().unwrap_or_else(|| panic!("no text {field:?} in {:#}", self.0))
    }

    /// How often each system call was made, as the program counted.
    pub(crate) fn calls(&self) -> BTreeMap<String, u64> {
        let counted = self.0["system_calls"]["by_name"].as_object().expect("calls by name");
        counted.iter().map(|(name, n)| (name.clone(), n.as_u64().expect("a number of calls"))).collect()
    }

    /// The connections of each worker.
    pub(crate) fn shares(&self) -> Vec<u64> {
        let workers = self.0["workers"].as_array().expect("a list of workers");
        workers.iter().map(|worker| worker["connections"].as_u64().expect("a number of clients")).collect()
    }

    /// Connections, bytes in, bytes out.
    pub(crate) fn totals(&self) -> (u64, u64, u64) {
        (self.number("connections"), self.number("bytes_in"), self.number("bytes_out"))
    }
}
