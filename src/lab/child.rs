//! This program, started again: lines in and out, its last words, its end.

use super::explain;
use super::visible::visible;
use crate::stop::Stop;
use crate::sys::fork;
use crate::sys::poll::{PollFlags, PollSet};
use crate::sys::signal::Signal;
use anyhow::{Context, anyhow, bail};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long a server may take to listen, or a process to end.
const START_OR_END: Duration = Duration::from_secs(10);

/// How long to wait for the last words of a process that has ended.
const TO_SAY: Duration = Duration::from_millis(500);

/// Why an order was not carried out.
#[derive(Debug)]
pub enum Failed {
    /// A signal (SIGINT, SIGTERM) told us to stop.
    Interrupted,
    /// A process did not do what it should.
    Error(anyhow::Error),
}

impl Failed {
    /// The error, where no stop was watched.
    pub(in crate::lab) fn into_error(self) -> anyhow::Error {
        match self {
            Failed::Interrupted => anyhow!("interrupted"),
            Failed::Error(error) => error,
        }
    }
}

impl<E: Into<anyhow::Error>> From<E> for Failed {
    fn from(error: E) -> Self {
        Failed::Error(error.into())
    }
}

/// `io-models serve MODEL` of `program`, which ends when this process does, and with so many workers, if the model has some.
pub(in crate::lab) fn serve(program: &Path, model: &str, workers: Option<usize>) -> Command {
    let mut server = Command::new(program);
    server.args(["serve", model, "--json", "--with-parent", &std::process::id().to_string()]);
    if let Some(workers) = workers {
        server.args(["--workers", &workers.to_string()]);
    }
    server.stdin(Stdio::null()).stdout(Stdio::piped());
    server
}

/// When a supervised command is executed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::lab) enum Begins {
    AtOnce,
    /// At [`Process::release`].
    WhenReleased,
}

/// `io-models supervise COMMAND`, which runs a foreign server, with this soft limit on descriptors, and ends it when this process ends.
pub(in crate::lab) fn supervise(
    program: &Path,
    command: &str,
    nofile: Option<u64>,
    begins: Begins,
) -> Command {
    let mut supervisor = Command::new(program);
    supervisor.arg("supervise");
    if begins == Begins::WhenReleased {
        supervisor.arg("--hold");
    }
    if let Some(nofile) = nofile {
        supervisor.arg("--nofile").arg(nofile.to_string());
    }
    supervisor.args(["--", command]);
    supervisor.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    supervisor
}

/// A command of `program` that is to be a [`Follower`].
pub(in crate::lab) fn follower(program: &Path, command: &str) -> Command {
    let mut follower = Command::new(program);
    follower.arg(command).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    follower
}

/// A child that does not outlive this value.
#[derive(Debug)]
pub(in crate::lab) struct Process {
    child: Child,
    /// Of a supervisor, which has a server that would live on if it were killed: what the server writes.
    server: Option<Written>,
}

/// What a server writes, which is read all the time: one that writes a lot would wait when the pipe is full.
#[derive(Debug, Default)]
struct Written {
    errors: Arc<Stream>,
    output: Arc<Stream>,
}

/// How a server ended, and the last lines that it wrote.
#[derive(Debug)]
pub(in crate::lab) struct Ending {
    /// `None` for one that was told to end.
    pub(in crate::lab) how: Option<String>,
    /// Of standard error; if there are none, of standard output.
    pub(in crate::lab) words: Vec<String>,
}

impl Process {
    pub(in crate::lab) fn start(command: &mut Command) -> anyhow::Result<Process> {
        // In a process group of its own, or Ctrl-C would reach it as well. With its own name, because it is started
        // through a link in /proc.
        let child = command.process_group(0).arg0("io-models").spawn();
        Ok(Process { child: child.context("cannot start this program again")?, server: None })
    }

    /// Of a [`supervise`]: what the server writes is read from now on.
    pub(in crate::lab) fn into_supervisor(mut self) -> Process {
        let written = Written::default();
        if let Some(stderr) = self.child.stderr.take() {
            let errors = written.errors.clone();
            std::thread::spawn(move || errors.read(stderr));
        }
        self.server = Some(written);
        self
    }

    /// Put an end to it, and wait for that.
    fn end_now(&mut self) {
        if self.server.is_some() {
            // A server that has just died is told apart from one that is ended.
            let until = Instant::now() + TO_SAY;
            while !self.has_ended() && Instant::now() < until {
                std::thread::sleep(Duration::from_millis(1));
            }
            self.end_input();
            self.wait("the server").ok();
        }
        // Both are harmless when the process has ended and been waited for.
        self.child.kill().ok();
        self.child.wait().ok();
    }

    /// Wait until the server listens: its standard output, behind that line, and its address.
    pub(in crate::lab) fn listens(
        &mut self,
        stop: &Stop,
    ) -> Result<(BufReader<ChildStdout>, SocketAddr), Failed> {
        let mut said = BufReader::new(self.stdout().context("the server has no output")?);
        let line = read_line(&mut said, START_OR_END, Some(stop), "the server to listen")?;
        let addr = line.strip_prefix("listening on ").context(format!("the server said {line:?}"))?;
        Ok((said, addr.trim().parse()?))
    }

    /// Read the report of a server that has been told to end, and wait for its end.
    pub(in crate::lab) fn report<T: DeserializeOwned>(
        &mut self,
        said: BufReader<ChildStdout>,
        stop: Option<&Stop>,
    ) -> Result<T, Failed> {
        // Whoever writes a long report waits until it is read.
        let report = read_rest(said, START_OR_END, stop, "the report of the server")?;
        self.wait("the server")?;
        Ok(serde_json::from_str(&report).context("the report of the server")?)
    }

    /// Wait until it has started the command, which it says in its first line: the process of the command.
    pub(in crate::lab) fn supervised(&mut self, stop: &Stop) -> Result<i32, Failed> {
        let mut said = BufReader::new(self.stdout().context("the supervisor has no output")?);
        let line = read_line(&mut said, START_OR_END, Some(stop), "the server to start")?;
        let pid = line.trim_end().strip_prefix("started ").and_then(|pid| pid.parse().ok());
        // The rest is what the server prints.
        if let Some(written) = &self.server {
            let output = written.output.clone();
            std::thread::spawn(move || output.read(said));
        }
        Ok(pid.with_context(|| format!("the supervisor said {line:?}"))?)
    }

    /// Of a supervisor that holds its command: let it be executed.
    pub(in crate::lab) fn release(&mut self) -> anyhow::Result<()> {
        let stdin = self.child.stdin.as_mut().context("the supervisor has no input")?;
        writeln!(stdin).context("the supervisor has ended")
    }

    /// Whether it has ended.
    pub(in crate::lab) fn has_ended(&mut self) -> bool {
        self.child.try_wait().is_ok_and(|status| status.is_some())
    }

    /// Tell a process that reads standard input that it is over.
    pub(in crate::lab) fn end_input(&mut self) {
        drop(self.child.stdin.take());
    }

    pub(in crate::lab) fn id(&self) -> u32 {
        self.child.id()
    }

    /// `error` and the last line that the process wrote to standard error; of a supervisor how the server ended, and its last lines. Kills
    /// the process first.
    pub(in crate::lab) fn last_words(&mut self, error: anyhow::Error) -> anyhow::Error {
        let last = if self.server.is_some() {
            let Ending { how, mut words } = self.ending();
            words.extend(how);
            words
        } else {
            self.end_now();
            let mut said = Vec::new();
            if let Some(mut stderr) = self.child.stderr.take() {
                stderr.read_to_end(&mut said).ok();
            }
            last_lines(&said, 1)
        };
        if last.is_empty() { error } else { anyhow!("{}: {}", explain::in_words(&error), last.join("; ")) }
    }

    /// Of a supervisor: how the server ended, and what it wrote last. Kills both first.
    pub(in crate::lab) fn ending(&mut self) -> Ending {
        self.end_now();
        let Some(Written { errors, output }) = &self.server else {
            return Ending { how: None, words: Vec::new() };
        };
        // A process that left the server may keep the pipes open.
        let until = Instant::now() + TO_SAY;
        [errors, output].iter().for_each(|stream| stream.wait_for_end(until));
        let errors = errors.so_far().last.clone();
        // The supervisor speaks last, in a line of its own.
        let is_its_own =
            errors.rsplit(|byte| *byte == b'\n').nth(1).is_some_and(|line| line.starts_with(SUPERVISOR));
        let mut words = last_lines(&errors, usize::MAX);
        let how = words.pop_if(|_| is_its_own);
        if words.is_empty() {
            words = last_lines(&output.so_far().last, usize::MAX);
        }
        Ending { how, words: telling(words) }
    }

    /// Of a supervisor: how many bytes its server has written to standard error.
    pub(in crate::lab) fn written(&self) -> u64 {
        self.server.as_ref().map_or(0, |server| server.errors.so_far().bytes)
    }

    /// Of a supervisor: the last lines of what its server wrote to standard error after so many bytes.
    pub(in crate::lab) fn written_since(&self, bytes: u64) -> Vec<String> {
        let Some(server) = &self.server else { return Vec::new() };
        let so_far = server.errors.so_far();
        let new = usize::try_from(so_far.bytes.saturating_sub(bytes)).unwrap_or(usize::MAX);
        telling(last_lines(&so_far.last[so_far.last.len().saturating_sub(new)..], usize::MAX))
    }

    /// Its standard output, once.
    pub(in crate::lab) fn stdout(&mut self) -> Option<ChildStdout> {
        self.child.stdout.take()
    }

    pub(in crate::lab) fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        // It has not been waited for, so no other process can have this number.
        Ok(fork::kill(fork::Pid::from_raw(self.child.id().cast_signed()), signal)?)
    }

    /// Wait until it has ended with exit code 0.
    pub(in crate::lab) fn wait(&mut self, who: &str) -> anyhow::Result<()> {
        let until = Instant::now() + START_OR_END;
        loop {
            if let Some(status) = self.child.try_wait()? {
                if status.success() {
                    return Ok(());
                }
                bail!("{who} ended with {status}");
            }
            if Instant::now() > until {
                bail!("{who} did not end within {} s", START_OR_END.as_secs());
            }
            std::thread::sleep(Duration::from_micros(200));
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end_now();
    }
}

/// Bytes that are kept of a stream: room for an error and the stack behind it.
const KEPT: usize = 16 << 10;

/// A stream that somebody reads to its end, and the last of it.
#[derive(Debug, Default)]
struct Stream {
    so_far: Mutex<SoFar>,
    ended: Condvar,
}

#[derive(Debug, Default)]
struct SoFar {
    last: Vec<u8>,
    /// In all.
    bytes: u64,
    has_ended: bool,
}

impl Stream {
    /// Read to the end, and keep the last of it.
    fn read(&self, mut from: impl Read) {
        let mut piece = [0; KEPT];
        while let Ok(n @ 1..) = from.read(&mut piece) {
            let mut so_far = self.so_far();
            so_far.last.extend_from_slice(&piece[..n]);
            let old = so_far.last.len().saturating_sub(KEPT);
            so_far.last.drain(..old);
            so_far.bytes += n as u64;
        }
        self.so_far().has_ended = true;
        self.ended.notify_all();
    }

    fn so_far(&self) -> MutexGuard<'_, SoFar> {
        self.so_far.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait_for_end(&self, until: Instant) {
        let limit = until.saturating_duration_since(Instant::now());
        drop(self.ended.wait_timeout_while(self.so_far(), limit, |so_far| !so_far.has_ended));
    }
}

/// Of the lines of a server those that tell most: the last one that names an error, and the one behind it; or else the last two. Runtimes
/// write a stack, their version and advice behind an error, and Rust its message behind the place.
fn telling(mut lines: Vec<String>) -> Vec<String> {
    const SHOWN: usize = 2;
    const ERRORS: [&str; 6] = ["error: ", "error [", "exception: ", "panic: ", "panicked at ", "fatal: "];
    let names_one = |line: &String| {
        let line = line.to_lowercase();
        ERRORS.iter().any(|error| line.contains(error))
    };
    let from = lines.iter().rposition(names_one).unwrap_or_else(|| lines.len().saturating_sub(SHOWN));
    lines.drain(..from);
    lines.truncate(SHOWN);
    lines
}

/// How the last line of a supervisor begins, which tells how its server ended.
const SUPERVISOR: &[u8] = b"io-models: the server ";

/// The last lines that say something, made visible.
fn last_lines(said: &[u8], most: usize) -> Vec<String> {
    // The end of a line says more than its beginning.
    const COLUMNS: usize = 300;
    let cut =
        |line: &str| line.chars().skip(line.chars().count().saturating_sub(COLUMNS)).collect::<String>();
    let said = String::from_utf8_lossy(said);
    // A rule of dashes says nothing, nor does a bracket.
    let telling = said.lines().filter(|line| line.contains(char::is_alphanumeric));
    let mut last: Vec<_> = telling
        .rev()
        .take(most)
        .map(|line| cut(&visible(line.trim().trim_start_matches("io-models: "))))
        .collect();
    last.reverse();
    last
}

/// A process that follows orders: each is a line of JSON, and so is its answer. Without further orders it ends.
#[derive(Debug)]
pub(in crate::lab) struct Follower {
    process: Process,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Follower {
    /// A process that was started as [`follower`] says.
    pub(in crate::lab) fn of(mut process: Process) -> anyhow::Result<Follower> {
        let orders = process.child.stdin.take().context("the process has no input")?;
        let answers = BufReader::new(process.stdout().context("the process has no output")?);
        Ok(Follower { process, orders, answers })
    }

    /// Give it an order.
    pub(in crate::lab) fn order(&mut self, order: &impl Serialize) -> anyhow::Result<()> {
        let line = serde_json::to_string(order)? + "\n";
        self.orders.write_all(line.as_bytes()).context("the process that makes the load has ended")
    }

    /// Read its next answer within a time limit, unless a stop comes first. `what` is what it tells.
    pub(in crate::lab) fn answer<T: DeserializeOwned>(
        &mut self,
        limit: Duration,
        stop: Option<&Stop>,
        what: &str,
    ) -> Result<T, Failed> {
        let line = read_line(&mut self.answers, limit, stop, what)?;
        Ok(serde_json::from_str(&line).with_context(|| format!("waiting for {what}: got {line:?}"))?)
    }

    /// `error`, and the last line that the process wrote to standard error. Kills the process first.
    pub(in crate::lab) fn last_words(&mut self, error: anyhow::Error) -> anyhow::Error {
        self.process.last_words(error)
    }

    /// Give no more orders, and wait for its end.
    pub(in crate::lab) fn end(self, who: &str) -> anyhow::Result<()> {
        let Follower { mut process, orders, .. } = self;
        drop(orders);
        process.wait(who)
    }
}

/// Read all that is written until the end, within a time limit for each piece, unless a stop comes first.
fn read_rest(
    mut from: BufReader<ChildStdout>,
    limit: Duration,
    stop: Option<&Stop>,
    what: &str,
) -> Result<String, Failed> {
    let mut rest = Vec::new();
    loop {
        if from.buffer().is_empty() {
            wait_to_read(&from, limit, stop, what)?;
        }
        let bytes = from.fill_buf()?;
        if bytes.is_empty() {
            return Ok(String::from_utf8(rest)?);
        }
        rest.extend_from_slice(bytes);
        let n = bytes.len();
        from.consume(n);
    }
}

/// Read a line within a time limit, unless a stop comes first.
fn read_line(
    from: &mut BufReader<ChildStdout>,
    limit: Duration,
    stop: Option<&Stop>,
    what: &str,
) -> Result<String, Failed> {
    wait_to_read(from, limit, stop, what)?;
    let mut line = String::new();
    // A line is short and written at once, so if anything is readable, a whole line is.
    from.read_line(&mut line)?;
    if line.is_empty() {
        return Err(anyhow!("it ended while we waited for {what}").into());
    }
    Ok(line)
}

/// Wait until something can be read, or the end of it.
fn wait_to_read(
    from: &BufReader<ChildStdout>,
    limit: Duration,
    stop: Option<&Stop>,
    what: &str,
) -> Result<(), Failed> {
    let mut set = PollSet::new();
    set.push(from.get_ref().as_fd(), PollFlags::POLLIN);
    let stop = stop.map(|stop| set.push(stop, PollFlags::POLLIN));
    if set.wait(Some(limit))? == 0 {
        return Err(anyhow!("waited {} s for {what}", limit.as_secs()).into());
    }
    if stop.is_some_and(|slot| !set.revents(slot).is_empty()) {
        return Err(Failed::Interrupted);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::repeat;

    #[test]
    fn of_a_process_that_never_stops_talking_only_the_end_is_kept() {
        const MUCH: u64 = 10 << 20;
        let stream = Stream::default();
        stream.read(repeat(b'x').take(MUCH).chain(&b"the end"[..]));
        let SoFar { last, bytes, has_ended } = &*stream.so_far();
        assert!(last.ends_with(b"xthe end") && *has_ended);
        assert_eq!((last.len(), *bytes), (KEPT, MUCH + 7));
        assert!(last.capacity() <= 4 * KEPT, "{} bytes are held", last.capacity());
    }

    #[test]
    fn the_lines_of_a_runtime_that_tell_most_are_those_of_its_error() {
        let told = |lines: &[&str]| telling(lines.iter().map(|&line| line.to_owned()).collect());
        let rust = [
            "thread 'main' panicked at src/main.rs:4:9:",
            "no room",
            "stack backtrace:",
            "0: main",
            "note: run",
        ];
        assert_eq!(told(&rust), rust[..2]);
        let python = ["Traceback (most recent call last):", "File \"a.py\", line 3", "KeyError: 'b'"];
        assert_eq!(told(&python), python[2..]);
        let node = [
            "throw er; // Unhandled 'error' event",
            "Error: read ECONNRESET",
            "at TCP.onStreamRead",
            "Node.js v20",
        ];
        assert_eq!(told(&node), node[1..3]);
        let go = [
            "listening",
            "panic: runtime error: index out of range",
            "goroutine 7 [running]:",
            "main.main()",
        ];
        assert_eq!(told(&go), go[1..3]);
        let c = ["a client came", "a client went", "accept: Too many open files"];
        assert_eq!(told(&c), c[1..]);
        assert!(told(&[]).is_empty());
    }

    #[test]
    fn the_last_lines_are_those_that_say_something() {
        let said = b"a\n  KeyError: 'b'\n\n--------\n}\n\x1b[31mred";
        assert_eq!(last_lines(said, 2), ["KeyError: 'b'", r"\u{1b}[31mred"]);
        assert_eq!(last_lines(b"io-models: no port\n", 2), ["no port"]);
        assert!(last_lines(b"", 2).is_empty());
    }
}
