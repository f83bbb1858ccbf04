//! A server and the generator that is connected to it: two processes of this program.

use super::meter::{CallCounter, Tree};
use crate::lab::explain;
use crate::lab::load::engine::LONGEST_DRAIN;
use crate::lab::load::slices::{Order, Ready, Slice, Sum};
use crate::lab::serve::Sharing;
use crate::model::{Model, Waits};
use crate::stop::Stop;
use crate::sys::affinity;
use crate::sys::calls::Counts;
use crate::sys::fork;
use crate::sys::poll::{PollFlags, PollSet, wait_for};
use crate::sys::signal::Signal;
use anyhow::{Context, anyhow, bail};
use serde::de::DeserializeOwned;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

/// How long a server may take to listen, or a process to end.
const START_OR_END: Duration = Duration::from_secs(10);
/// How long a generator may take to open its connections.
const OPEN: Duration = Duration::from_secs(120);
/// How long a slice may take beyond its length: for its first answer, for the last answers, and for the pipe.
const SLICE_EXTRA: Duration = LONGEST_DRAIN.saturating_mul(2).saturating_add(Duration::from_secs(10));

/// Which processors the two are pinned to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Pinning {
    /// The server's.
    pub server_cpu: usize,
    /// The generator's.
    pub generator_cpu: usize,
}

impl Pinning {
    /// Two of the processors that this process may use, on different cores if possible. `None` if there is only one.
    #[must_use]
    pub fn choose() -> Option<Pinning> {
        let allowed = affinity::allowed().ok()?;
        let (&server_cpu, others) = allowed.split_first()?;
        let core = |cpu: usize| {
            std::fs::read_to_string(format!("/sys/devices/system/cpu/cpu{cpu}/topology/core_cpus_list")).ok()
        };
        let other_core = others.iter().find(|&&cpu| core(cpu) != core(server_cpu));
        let generator_cpu = *other_core.or(others.first())?;
        Some(Pinning { server_cpu, generator_cpu })
    }
}

/// Why an order was not carried out.
#[derive(Debug)]
pub enum Failed {
    /// A signal (SIGINT, SIGTERM) told us to stop.
    Interrupted,
    /// The server or the generator did not do what it should.
    Error(anyhow::Error),
}

impl<E: Into<anyhow::Error>> From<E> for Failed {
    fn from(error: E) -> Self {
        Failed::Error(error.into())
    }
}

/// What a slice gave.
#[derive(Debug)]
pub struct Measured {
    /// The generator's view.
    pub slice: Slice,
    /// CPU time of the server in the whole slice, including warm-up and last answers. `None` where it is not known.
    pub server_cpu: Option<Duration>,
    /// Its system calls in the same time. `None` where they are not counted.
    pub calls: Option<Counts>,
}

/// A server and its generator. They are connected, and sleep between slices.
#[derive(Debug)]
pub struct Pair {
    server: Process,
    /// The server would take a processor from the others while these are measured: it is stopped between slices.
    never_sleeps: bool,
    generator: Process,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
    counter: Option<CallCounter>,
    tree: Tree,
    not_known: Vec<String>,
    is_pinned: bool,
    /// Standard output of the server, where it writes its report when it ends.
    report: BufReader<ChildStdout>,
    /// There is an order whose answer has not been read, because a stop came first.
    unanswered: bool,
}

/// The load on a server.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    /// Connections that send requests.
    pub active: usize,
    /// Idle connections.
    pub idle: usize,
    /// Bytes per request.
    pub size: u32,
    /// The seed of these bytes.
    pub seed: u64,
    /// Workers of the server, if the model has some.
    pub workers: Option<usize>,
}

impl Pair {
    /// Start both, and open all connections.
    ///
    /// # Errors
    ///
    /// When one of them does not start, or a connection is lost at once.
    pub fn start(
        program: &Path,
        model: &Model,
        load: Load,
        pinning: Option<Pinning>,
        stop: &Stop,
    ) -> Result<Pair, Failed> {
        let (mut not_known, mut is_pinned) = (Vec::new(), pinning.is_some());
        let counter = CallCounter::new();
        if let Err(why) = &counter {
            not_known.push(format!("system calls are not counted: {}", explain::explain(why)));
        }
        let counter = counter.ok();
        let mut start = |mut command: Command, cpu: fn(Pinning) -> usize| {
            let Some(pinning) = pinning else { return Process::start(command) };
            match affinity::while_pinned(cpu(pinning), || Process::start_this(&mut command)) {
                Ok(started) => started,
                Err(why) => {
                    if std::mem::take(&mut is_pinned) {
                        not_known.push(format!(
                            "servers and generators are not pinned, and disturb each other more ({why}; --no-pin asks \
                             for that)"
                        ));
                    }
                    Process::start(command)
                }
            }
        };
        let mut server = Command::new(program);
        server.args(["serve", model.name, "--json", "--with-parent", &std::process::id().to_string()]);
        if let Some(workers) = load.workers {
            server.args(["--workers", &workers.to_string()]);
        }
        server.stdin(Stdio::null()).stdout(Stdio::piped());
        if let Some(counter) = &counter {
            server.arg("--count-into-stdin").stdin(counter.for_server()?);
        }
        let mut server = start(server, |pinning| pinning.server_cpu)?;
        let mut said = BufReader::new(server.stdout().context("the server has no output")?);
        let line = read_line(&mut said, START_OR_END, Some(stop), "the server to listen")?;
        let addr = line.strip_prefix("listening on ").context(format!("the server said {line:?}"))?;
        let addr: SocketAddr = addr.trim().parse()?;

        let mut generator = Command::new(program);
        let Load { active, idle, size, seed, .. } = load;
        generator.args(["load", &addr.to_string(), "--follow-orders", &idle.to_string()]);
        generator.args(["-c", &active.to_string(), "-s", &size.to_string(), "--seed", &seed.to_string()]);
        generator.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut generator = start(generator, |pinning| pinning.generator_cpu)?;
        let orders = generator.0.stdin.take().context("the generator has no input")?;
        let answers = generator.0.stdout.take().context("the generator has no output")?;
        let mut answers = BufReader::new(answers);
        let what = "the generator to open its connections";
        let ready: Ready = match read_answer(&mut answers, OPEN, Some(stop), what) {
            Err(Failed::Error(error)) => return Err(generator.last_words(error).into()),
            ready => ready?,
        };
        if ready.lost > 0 {
            let (lost, all, why) = (ready.lost, active + idle, ready.reason.unwrap_or_default());
            let what = format!("{lost} of {all} connections were lost at once; the first: {why}");
            return Err(Failed::Error(anyhow!(what)));
        }
        // Every client has been answered, so the server has started all its processes.
        let tree = Tree::of(server.0.id());
        if !tree.tells_cpu() {
            not_known.push(
                "the CPU time of servers is not measured: /proc does not tell it (schedstat)".to_owned(),
            );
        }
        if tree.peak_rss_bytes().is_none() {
            not_known.push("the memory of servers is not measured: /proc does not tell it".to_owned());
        }
        let (unanswered, never_sleeps) = (false, model.waits == Waits::Spins);
        if never_sleeps {
            server.signal(Signal::SIGSTOP)?;
        }
        Ok(Pair {
            server,
            never_sleeps,
            generator,
            orders,
            answers,
            counter,
            tree,
            not_known,
            is_pinned,
            report: said,
            unanswered,
        })
    }

    /// What cannot be measured here, a sentence each.
    #[must_use]
    pub fn not_known(&self) -> &[String] {
        &self.not_known
    }

    /// Whether server and generator are pinned as asked.
    #[must_use]
    pub fn is_pinned(&self) -> bool {
        self.is_pinned
    }

    /// Run one slice. Both sleep before and after it.
    ///
    /// # Errors
    ///
    /// When the server or the generator has ended, or does not answer.
    pub fn slice(&mut self, warmup: Duration, slice: Duration, stop: &Stop) -> Result<Measured, Failed> {
        let cpu_before = self.tree.cpu_when_asleep()?;
        let calls_before = self.calls()?;
        let us = |time: Duration| time.as_micros() as u64;
        self.let_run(true)?;
        self.order(Order::Slice { warmup_us: us(warmup), slice_us: us(slice) })?;
        let limit = warmup + slice + SLICE_EXTRA;
        self.unanswered = true;
        let slice: Slice = read_answer(&mut self.answers, limit, Some(stop), "the end of a slice")?;
        self.unanswered = false;
        self.let_run(false)?;
        let server_cpu =
            self.tree.cpu_when_asleep()?.zip(cpu_before).map(|(now, before)| now.saturating_sub(before));
        let calls = self.calls()?.zip(calls_before).map(|(now, before)| now.since(&before));
        Ok(Measured { slice, server_cpu, calls })
    }

    /// Continue a server that never sleeps, or stop it.
    fn let_run(&self, run: bool) -> anyhow::Result<()> {
        let signal = if run { Signal::SIGCONT } else { Signal::SIGSTOP };
        if self.never_sleeps { self.server.signal(signal) } else { Ok(()) }
    }

    fn calls(&self) -> anyhow::Result<Option<Counts>> {
        self.counter.as_ref().map(CallCounter::counts).transpose()
    }

    /// The sum of all slices, and the server's peak memory in bytes, if it is known.
    ///
    /// # Errors
    ///
    /// When the server or the generator has ended.
    pub fn sum(&mut self) -> anyhow::Result<(Sum, Option<u64>)> {
        Ok((self.ask_sum()?, self.tree.peak_rss_bytes()))
    }

    fn ask_sum(&mut self) -> anyhow::Result<Sum> {
        let read = |answers: &mut _, what| match read_answer(answers, SLICE_EXTRA, None, what) {
            Ok(answer) => Ok(answer),
            Err(Failed::Error(error)) => Err(error),
            Err(Failed::Interrupted) => bail!("interrupted"),
        };
        if std::mem::take(&mut self.unanswered) {
            let _cut_short: serde_json::Value = read(&mut self.answers, "the end of a slice")?;
        }
        self.order(Order::Sum)?;
        Ok(serde_json::from_value(read(&mut self.answers, "the sum of all slices")?)?)
    }

    /// Why connections were lost, and how many bytes were wrong.
    pub fn reason_of_loss(&mut self) -> String {
        match self.ask_sum() {
            Ok(Sum { lost, wrong_bytes, reason, .. }) => {
                let first = reason.unwrap_or_default();
                format!("{lost} connections lost, {wrong_bytes} wrong bytes; the first: {first}")
            }
            Err(error) => format!("connections lost, and then: {:#}", self.generator.last_words(error)),
        }
    }

    /// `error`, and the last line that the generator wrote to standard error.
    pub fn explain(&mut self, error: anyhow::Error) -> String {
        format!("{:#}", self.generator.last_words(error))
    }

    fn order(&mut self, order: Order) -> anyhow::Result<()> {
        serde_json::to_writer(&mut self.orders, &order).context("the generator has ended")?;
        self.orders.write_all(b"\n").context("the generator has ended")
    }

    /// End both. The generator ends first, so that the server sees its clients leave. Returns how the workers of the server have
    /// shared its clients.
    ///
    /// # Errors
    ///
    /// When one of them does not end within ten seconds with exit code 0.
    pub(super) fn end(mut self) -> anyhow::Result<Sharing> {
        drop(self.orders);
        self.generator.wait("the generator")?;
        self.server.signal(Signal::SIGTERM)?;
        if self.never_sleeps {
            self.server.signal(Signal::SIGCONT)?;
        }
        // Whoever writes a long report waits until it is read.
        let reports = wait_for(self.report.get_ref(), PollFlags::POLLIN, Some(START_OR_END))?;
        let mut report = String::new();
        if reports {
            self.report.read_to_string(&mut report)?;
        }
        self.server.wait("the server")?;
        serde_json::from_str(&report).context("the report of the server")
    }
}

/// A child that does not outlive this value.
#[derive(Debug)]
pub(in crate::lab) struct Process(Child);

impl Process {
    pub(in crate::lab) fn start(mut command: Command) -> anyhow::Result<Process> {
        Process::start_this(&mut command)
    }

    fn start_this(command: &mut Command) -> anyhow::Result<Process> {
        // In a process group of its own, or Ctrl-C would reach it as well. With its own name, because it is started
        // through a link in /proc.
        let child = command.process_group(0).arg0("io-models").spawn();
        Ok(Process(child.context("cannot start this program again")?))
    }

    /// `error` and the last line that the process wrote to standard error. Kills the process first.
    fn last_words(&mut self, error: anyhow::Error) -> anyhow::Error {
        self.0.kill().ok();
        self.0.wait().ok();
        let mut said = String::new();
        if let Some(mut stderr) = self.0.stderr.take() {
            stderr.read_to_string(&mut said).ok();
        }
        match said.lines().last() {
            Some(line) => {
                anyhow!("{}: {}", explain::in_words(&error), line.trim_start_matches("io-models: "))
            }
            None => error,
        }
    }

    /// Its standard output, once.
    pub(in crate::lab) fn stdout(&mut self) -> Option<ChildStdout> {
        self.0.stdout.take()
    }

    pub(in crate::lab) fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        // It has not been waited for, so no other process can have this number.
        Ok(fork::kill(fork::Pid::from_raw(self.0.id().cast_signed()), signal)?)
    }

    fn wait(&mut self, who: &str) -> anyhow::Result<()> {
        let until = Instant::now() + START_OR_END;
        loop {
            if let Some(status) = self.0.try_wait()? {
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
        // Both are harmless when the process has ended and been waited for.
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

fn read_answer<T: DeserializeOwned>(
    from: &mut BufReader<ChildStdout>,
    limit: Duration,
    stop: Option<&Stop>,
    what: &str,
) -> Result<T, Failed> {
    let line = read_line(from, limit, stop, what)?;
    Ok(serde_json::from_str(&line).with_context(|| format!("waiting for {what}: got {line:?}"))?)
}

/// Read a line within a time limit, unless a stop comes first.
fn read_line(
    from: &mut BufReader<ChildStdout>,
    limit: Duration,
    stop: Option<&Stop>,
    what: &str,
) -> Result<String, Failed> {
    let mut set = PollSet::new();
    set.push(from.get_ref().as_fd(), PollFlags::POLLIN);
    let stop = stop.map(|stop| set.push(stop, PollFlags::POLLIN));
    if set.wait(Some(limit))? == 0 {
        return Err(anyhow!("waited {} s for {what}", limit.as_secs()).into());
    }
    if stop.is_some_and(|slot| !set.revents(slot).is_empty()) {
        return Err(Failed::Interrupted);
    }
    let mut line = String::new();
    // A line is short and written at once, so if anything is readable, a whole line is.
    from.read_line(&mut line)?;
    if line.is_empty() {
        return Err(anyhow!("it ended while we waited for {what}").into());
    }
    Ok(line)
}
