//! A server and the generator that is connected to it: two processes of this program.

use crate::lab::child::{self, Failed, Follower, Process};
use crate::lab::explain;
use crate::lab::load::engine::LONGEST_DRAIN;
use crate::lab::load::slices::{Order, Ready, Slice, Sum};
use crate::lab::meter::{CallCounter, Tree};
use crate::lab::serve::Sharing;
use crate::model::{Model, Runs, Waits};
use crate::stop::Stop;
use crate::sys::affinity;
use crate::sys::calls::Counts;
use crate::sys::signal::Signal;
use anyhow::anyhow;
use serde::de::DeserializeOwned;
use std::io::BufReader;
use std::path::Path;
use std::process::Stdio;
use std::process::{ChildStdout, Command};
use std::time::Duration;

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
    generator: Follower,
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
        let mut server = child::serve(program, model.name, load.workers);
        server.stderr(Stdio::piped());
        if let Some(counter) = &counter {
            server.arg("--count-into-stdin").stdin(counter.for_server()?);
        }
        let mut server = start(server, |pinning| pinning.server_cpu)?;
        let (report, addr) = server.listens(stop)?;

        let Load { active, idle, size, seed, .. } = load;
        let mut generator = child::follower(program, "load");
        generator.args([&addr.to_string(), "--follow-orders", &idle.to_string()]);
        generator.args(["-c", &active.to_string(), "-s", &size.to_string(), "--seed", &seed.to_string()]);
        let mut generator = Follower::of(start(generator, |pinning| pinning.generator_cpu)?)?;
        let what = "the generator to open its connections";
        let ready: Ready = match generator.answer(OPEN, Some(stop), what) {
            Err(Failed::Error(error)) => return Err(server.last_words(generator.last_words(error)).into()),
            ready => ready?,
        };
        if ready.lost > 0 {
            let (lost, all, why) = (ready.lost, active + idle, ready.reason.unwrap_or_default());
            let what = format!("{lost} of {all} connections were lost at once; the first: {why}");
            return Err(Failed::Error(server.last_words(anyhow!(what))));
        }
        let processes = match model.runs {
            Runs::ProcessPerClient => 1 + active + idle,
            Runs::WorkerProcesses => 1 + load.workers.unwrap_or(0),
            _ => 1,
        };
        let tree = Tree::with_processes(server.id(), processes);
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
        Ok(Pair { server, never_sleeps, generator, counter, tree, not_known, is_pinned, report, unanswered })
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
        self.generator.order(&Order::Slice { warmup_us: us(warmup), slice_us: us(slice) })?;
        let limit = warmup + slice + SLICE_EXTRA;
        self.unanswered = true;
        let slice: Slice = self.generator.answer(limit, Some(stop), "the end of a slice")?;
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
        if std::mem::take(&mut self.unanswered) {
            let _cut_short: serde_json::Value = self.answer("the end of a slice")?;
        }
        self.generator.order(&Order::Sum)?;
        self.answer("the sum of all slices")
    }

    /// An answer that no stop takes away.
    fn answer<T: DeserializeOwned>(&mut self, what: &str) -> anyhow::Result<T> {
        self.generator.answer(SLICE_EXTRA, None, what).map_err(Failed::into_error)
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

    /// End both. The generator ends first, so that the server sees its clients leave. Returns how the workers of the server have
    /// shared its clients.
    ///
    /// # Errors
    ///
    /// When one of them does not end within ten seconds with exit code 0.
    pub(super) fn end(mut self) -> anyhow::Result<Sharing> {
        self.generator.end("the generator")?;
        self.server.signal(Signal::SIGTERM)?;
        if self.never_sleeps {
            self.server.signal(Signal::SIGCONT)?;
        }
        self.server.report(self.report, None).map_err(Failed::into_error)
    }
}
