//! A server and the generator that is connected to it, for one start.

use super::entrant::{Entrant, Kind};
use crate::lab::check;
use crate::lab::child::{self, Failed, Follower, Process};
use crate::lab::explain;
use crate::lab::load::engine::LONGEST_DRAIN;
use crate::lab::load::hostile::HostileClients;
use crate::lab::load::limits;
use crate::lab::load::plan::{EngineKind, Expect, Payload, Plan, Wait};
use crate::lab::load::slices::{Job, Order, Ready, Slice, Sum};
use crate::lab::meter::cpu::Totals;
use crate::lab::meter::memory::{self, OfProcesses};
use crate::lab::meter::{CallCounter, Tree};
use crate::lab::results::compare::{Load, Memory, Pinning};
use crate::lab::serve::Sharing;
use crate::model::{Clients, Model, Runs};
use crate::stop::Stop;
use crate::sys::affinity;
use crate::sys::calls::Counts;
use crate::sys::signal::Signal;
use anyhow::{Context, anyhow};
use serde::de::DeserializeOwned;
use std::io::BufReader;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{ChildStdout, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// How long a generator may take to open its connections.
const OPEN: Duration = Duration::from_secs(120);

/// How long a foreign server may take to listen.
const TO_LISTEN: Duration = Duration::from_secs(10);

/// How long a slice may take beyond its length: for its first answer, for the last answers, and for the pipe.
const SLICE_EXTRA: Duration = LONGEST_DRAIN.saturating_mul(2).saturating_add(Duration::from_secs(10));

/// Give up on a connection after this long without an answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long to wait until a server that has just begun to listen has nothing more to do.
const TO_FALL_ASLEEP: Duration = Duration::from_millis(100);

/// How long to look at a foreign server at rest.
const AT_REST: Duration = Duration::from_millis(20);

/// With fewer connections the memory of the whole machine does not tell what one costs.
const ENOUGH_FOR_KERNEL_MEMORY: usize = 500;

/// What all pairs have in common.
#[derive(Debug)]
pub(super) struct Setup<'a> {
    /// This program, which is started again for each server and generator.
    pub(super) program: PathBuf,
    /// How generators talk to the kernel.
    pub(super) engine: EngineKind,
    /// Processors of servers and generators.
    pub(super) pinning: Option<Pinning>,
    /// Workers of each model that has some.
    pub(super) workers: usize,
    /// Interrupts.
    pub(super) stop: &'a Stop,
}

/// What a slice gave.
#[derive(Debug)]
pub(super) struct Measured {
    /// The generator's view.
    pub(super) slice: Slice,
    /// CPU time of the server in the whole slice, including warm-up and last answers. `None` where it is not known.
    pub(super) server_cpu: Option<Duration>,
}

/// What a start gave, besides its slices.
#[derive(Debug, Default)]
pub(super) struct Ending {
    pub(super) memory: Memory,
    /// CPU time and context switches of all slices.
    pub(super) totals: Option<Totals>,
    /// System calls in the same time.
    pub(super) calls: Option<Counts>,
    pub(super) sum: Option<Sum>,
    pub(super) sharing: Sharing,
}

/// A server and its generator. They are connected, and sleep between slices.
#[derive(Debug)]
pub(super) struct Pair {
    name: String,
    server: Server,
    /// The server would take a processor from the others while these are measured: it is stopped between slices.
    never_sleeps: bool,
    generator: Follower,
    counter: Option<CallCounter>,
    tree: Option<Tree>,
    not_known: Vec<String>,
    measures_memory: bool,
    memory: Memory,
    /// Since the first measured slice.
    begun: Option<(Option<Totals>, Option<Counts>)>,
    /// There is an order whose answer has not been read, because a stop came first.
    unanswered: bool,
}

#[derive(Debug)]
enum Server {
    /// A model of ours, and its standard output, where it writes its report when it ends.
    Ours(Process, BufReader<ChildStdout>),
    /// A foreign one, with the process that ends it.
    Foreign(Process),
    /// One that was there before.
    Running,
}

impl Server {
    fn last_words(&mut self, error: anyhow::Error) -> anyhow::Error {
        match self {
            Server::Ours(process, _) | Server::Foreign(process) => process.last_words(error),
            Server::Running => error,
        }
    }

    /// End it in order. Returns how the workers of a model have shared its clients.
    fn end(self) -> anyhow::Result<Sharing> {
        match self {
            Server::Ours(mut process, report) => {
                process.signal(Signal::SIGTERM)?;
                process.report(report, None).map_err(Failed::into_error)
            }
            Server::Foreign(mut process) => {
                process.end_input();
                process.wait("the server")?;
                Ok(Sharing::default())
            }
            Server::Running => Ok(Sharing::default()),
        }
    }
}

/// A server that listens.
struct Listening {
    server: Server,
    addr: SocketAddr,
    /// Its first process, if it is known.
    pid: Option<u32>,
}

impl Pair {
    /// Start both, and open all connections. `checked` is for how many clients the server has passed the basic checks before.
    /// Memory is measured if asked for.
    ///
    /// # Errors
    ///
    /// When one of them does not start, the server fails a check, or a connection is lost at once.
    pub(super) fn start(
        setup: &Setup<'_>,
        entrant: &Entrant,
        load: &Load,
        seed: u64,
        checked: usize,
        measures_memory: bool,
    ) -> Result<Pair, Failed> {
        let mut not_known = Vec::new();
        let counter = entrant.model().map(|_| CallCounter::new());
        if let Some(Err(why)) = &counter {
            not_known.push(format!("system calls are not counted: {}", explain::explain(why)));
        }
        let counter = counter.and_then(Result::ok);
        if checked < clients_to_check(load) {
            check(setup, entrant, load)?;
        }
        let Listening { mut server, addr, pid } = listening(setup, entrant, load, counter.as_ref())?;
        let workers = workers(entrant.model(), setup.workers, load);
        let listening = pid.map(|pid| tree_at_rest(pid, entrant, workers));
        let memory_of = |tree: Option<&Tree>| {
            OfProcesses::now(tree.filter(|_| measures_memory)?.pids()).map(|memory| memory.own)
        };
        let mut memory = Memory { listening: memory_of(listening.as_ref()), ..Memory::default() };
        let kernel_before = memory::of_kernel();
        let plan = plan_of(load, addr, seed)?;
        let mut generator = child::follower(&setup.program, "load");
        generator.arg("--follow-orders");
        let generator = pinned(setup.pinning.map(|pinning| pinning.generator_cpu), &mut generator)?;
        let mut generator = Follower::of(generator)?;
        generator.order(&Job { plan, engine: setup.engine })?;
        let what = "the generator to open its connections";
        let ready: Ready = match generator.answer(OPEN, Some(setup.stop), what) {
            Err(Failed::Error(error)) => {
                return Err(server.last_words(generator.last_words(error)).into());
            }
            ready => ready?,
        };
        if ready.lost > 0 {
            let (lost, all, why) = (ready.lost, load.connections(), ready.reason.unwrap_or_default());
            let what = format!("{lost} of {all} connections were lost at once; the first: {why}");
            return Err(Failed::Error(server.last_words(anyhow!(what))));
        }
        let mut tree = pid.map(|pid| tree_of(pid, entrant, load, workers));
        if load.requests_per_connection.is_some() {
            tree = tree.map(Tree::whose_processes_end);
        }
        // Connections that come and go are opened only when they are needed.
        if load.requests_per_connection.is_none() {
            memory.connected = memory_of(tree.as_ref());
            if load.connections() >= ENOUGH_FOR_KERNEL_MEMORY {
                let grown = |(before, after): (u64, u64)| after.checked_sub(before);
                memory.kernel = kernel_before.zip(memory::of_kernel()).and_then(grown);
            }
        }
        match &tree {
            None => not_known.push(format!("the cost of {} is not known: its process is not", entrant.name)),
            Some(tree) if tree.loses_cpu() => not_known.push(cpu_is_lost(&entrant.name)),
            Some(tree) if !tree.tells_cpu() => not_known.push(
                "the CPU time of servers is not measured: their processes, or the CPU clocks of these, are not to be seen"
                    .to_owned(),
            ),
            Some(_) if measures_memory && memory.listening.is_none() => not_known.push(format!(
                "the memory of {} is not known: /proc/PID/smaps_rollup does not tell it, or a process ended meanwhile",
                entrant.name
            )),
            Some(_) => {}
        }
        let mut pair = Pair {
            name: entrant.name.clone(),
            server,
            never_sleeps: entrant.never_sleeps(),
            generator,
            counter,
            tree,
            not_known,
            measures_memory,
            memory,
            begun: None,
            unanswered: false,
        };
        pair.let_run(false)?;
        Ok(pair)
    }

    /// Load after the connections have been opened, which is not measured: the server touches its memory, and TCP widens its
    /// windows. A foreign server that keeps a processor busy after that is stopped between slices, as a model of ours is that
    /// does.
    pub(super) fn warm_up(&mut self, time: Duration, stop: &Stop) -> Result<(), Failed> {
        self.let_run(true)?;
        let order =
            Order::Slice { warmup_us: 0, slice_us: time.as_micros() as u64, rate_per_s: None, counts: false };
        self.order(&order, time, stop)?;
        if let (Server::Foreign(_), Some(tree)) = (&self.server, &mut self.tree) {
            self.never_sleeps = tree.tells_cpu() && tree.is_busy(AT_REST);
        }
        Ok(self.let_run(false)?)
    }

    /// Give an order for a slice of that length, and wait for its end.
    fn order(&mut self, order: &Order, time: Duration, stop: &Stop) -> Result<Slice, Failed> {
        self.generator.order(order)?;
        self.unanswered = true;
        let slice = self.generator.answer(time + SLICE_EXTRA, Some(stop), "the end of a slice")?;
        self.unanswered = false;
        Ok(slice)
    }

    /// What cannot be measured here, a sentence each. The last slice may tell more than the first.
    pub(super) fn not_known(&self) -> &[String] {
        &self.not_known
    }

    /// Run one slice, of requests at that rate or one after the other. Both sleep before and after it. The first one that
    /// `counts` begins the totals.
    ///
    /// # Errors
    ///
    /// When the server or the generator has ended, or does not answer.
    pub(super) fn slice(
        &mut self,
        (warmup, slice): (Duration, Duration),
        rate_per_s: Option<f64>,
        counts: bool,
        stop: &Stop,
    ) -> Result<Measured, Failed> {
        let cpu_before = self.cpu_when_asleep()?;
        if counts && self.begun.is_none() {
            self.begun = Some((self.totals(), self.calls()?));
        }
        let us = |time: Duration| time.as_micros() as u64;
        self.let_run(true)?;
        let order = Order::Slice { warmup_us: us(warmup), slice_us: us(slice), rate_per_s, counts };
        let slice = self.order(&order, warmup + slice, stop)?;
        self.let_run(false)?;
        let cpu = self.cpu_when_asleep()?;
        // It is less than before when a process has ended whose CPU time no parent has: then it is not known.
        let server_cpu = cpu.zip(cpu_before).and_then(|(now, before)| now.checked_sub(before));
        if self.tree.as_ref().is_some_and(Tree::loses_cpu) {
            super::learn(&mut self.not_known, &cpu_is_lost(&self.name));
        }
        Ok(Measured { slice, server_cpu })
    }

    fn cpu_when_asleep(&mut self) -> anyhow::Result<Option<Duration>> {
        self.tree.as_mut().map_or(Ok(None), Tree::cpu_when_asleep)
    }

    fn totals(&self) -> Option<Totals> {
        self.tree.as_ref().and_then(Tree::totals)
    }

    fn calls(&self) -> anyhow::Result<Option<Counts>> {
        self.counter.as_ref().map(CallCounter::counts).transpose()
    }

    /// Continue a server that never sleeps, or stop it.
    fn let_run(&mut self, run: bool) -> anyhow::Result<()> {
        let signal = if run { Signal::SIGCONT } else { Signal::SIGSTOP };
        match &mut self.tree {
            Some(tree) if self.never_sleeps => tree.signal(signal),
            _ => Ok(()),
        }
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

    /// Why connections were lost, how many bytes were wrong, and the last words of the server if it has ended.
    pub(super) fn reason_of_loss(&mut self) -> String {
        let reason = match self.ask_sum() {
            Ok(Sum { lost, wrong_bytes, reason, .. }) => {
                let first = reason.unwrap_or_default();
                anyhow!("{lost} connections lost, {wrong_bytes} wrong bytes; the first: {first}")
            }
            Err(error) => anyhow!("connections lost, and then: {:#}", self.generator.last_words(error)),
        };
        self.with_last_words(reason)
    }

    /// `error`, and the last lines that the generator wrote to standard error, and the server if it has ended.
    pub(super) fn explain(&mut self, error: anyhow::Error) -> String {
        let error = self.generator.last_words(error);
        self.with_last_words(error)
    }

    fn with_last_words(&mut self, error: anyhow::Error) -> String {
        explain::explain(&self.server.last_words(error))
    }

    /// End both. The generator ends first, so that the server sees its clients leave.
    ///
    /// # Errors
    ///
    /// When one of them has ended before, or does not end within ten seconds with exit code 0.
    pub(super) fn end(mut self) -> anyhow::Result<Ending> {
        let sum = self.ask_sum()?;
        let tree = self.tree.as_ref().filter(|_| self.measures_memory);
        let processes = tree.and_then(|tree| OfProcesses::now(tree.pids()));
        let (memory_after, proportional) = (processes.map(|m| m.own), processes.map(|m| m.proportional));
        let memory = Memory { after: memory_after, proportional, ..self.memory };
        let begun = self.begun.take();
        let totals = begun.as_ref().and_then(|(before, _)| Some(self.totals()?.since((*before)?)));
        let calls = match begun {
            Some((_, Some(before))) => self.calls()?.map(|now| now.since(&before)),
            _ => None,
        };
        let never_sleeps = self.never_sleeps;
        if never_sleeps {
            self.let_run(true)?;
        }
        self.generator.end("the generator")?;
        let sharing = self.server.end()?;
        Ok(Ending { memory, totals, calls, sum: Some(sum), sharing })
    }
}

/// Why the CPU time of a server is not known, in a sentence.
fn cpu_is_lost(name: &str) -> String {
    format!(
        "the CPU time of {name} is not known: one of its processes ignores SIGCHLD, and the kernel forgets the time of the \
         children of such a process when they end"
    )
}

/// Clients at once that the basic checks need of a server: one, or more than one.
pub(super) fn clients_to_check(load: &Load) -> usize {
    load.connections().min(2)
}

/// Ask the server for the basics. That is done in a start of its own, because it leaves traces in memory.
fn check(setup: &Setup<'_>, entrant: &Entrant, load: &Load) -> Result<(), Failed> {
    let Listening { mut server, addr, .. } = listening(setup, entrant, load, None)?;
    match check::basics(addr, clients_to_check(load), setup.stop) {
        Ok(()) => Ok(server.end().map(drop)?),
        Err(Failed::Interrupted) => Err(Failed::Interrupted),
        Err(Failed::Error(wrong)) => {
            let wrong = explain::in_words(&wrong);
            let wrong = anyhow!("the server is not right, and is not measured: {wrong}");
            Err(server.last_words(wrong).into())
        }
    }
}

/// As many workers as a model has under this load: where each has one client at a time, as many as clients.
pub(super) fn workers(model: Option<&Model>, workers: usize, load: &Load) -> Option<usize> {
    let model = model.filter(|model| model.has_workers())?;
    Some(if model.clients == Clients::Workers { load.connections() } else { workers })
}

/// The load for a generator.
fn plan_of(load: &Load, target: SocketAddr, seed: u64) -> anyhow::Result<Plan> {
    let mut plan = Plan {
        target,
        active: load.active,
        idle: load.idle,
        sizes: load.sizes(),
        payload: Payload::Random,
        expect: Expect::Echo,
        seed,
        patience: PATIENCE,
        depth: load.depth,
        requests_per_conn: load.requests_per_connection,
        sources: Vec::new(),
        wait: Wait::Spin,
    };
    limits::check_ports(&mut plan, HostileClients::default(), load.rate_per_s, Duration::from_secs(1))?;
    Ok(plan)
}

/// The processes of a server whose clients are connected.
fn tree_of(pid: u32, entrant: &Entrant, load: &Load, workers: Option<usize>) -> Tree {
    let comes_and_goes = load.requests_per_connection.is_some();
    let processes = match entrant.model().map(|model| model.runs) {
        Some(Runs::ProcessPerClient) if !comes_and_goes => 1 + load.connections(),
        Some(Runs::WorkerProcesses) => 1 + workers.unwrap_or(0),
        Some(_) if !comes_and_goes => 1,
        None if matches!(entrant.kind, Kind::Command(_)) => return Tree::below(pid),
        _ => return Tree::of(pid, true),
    };
    Tree::with_processes(pid, processes)
}

/// The processes of a server that listens. It says so before it has started its workers.
fn tree_at_rest(pid: u32, entrant: &Entrant, workers: Option<usize>) -> Tree {
    if let Kind::Command(_) = entrant.kind {
        let mut tree = Tree::below(pid);
        tree.sleeps_within(TO_FALL_ASLEEP);
        return tree;
    }
    let processes = match entrant.model().map(|model| model.runs) {
        Some(Runs::WorkerProcesses) => 1 + workers.unwrap_or(0),
        _ => 1,
    };
    let mut tree = Tree::with_processes(pid, processes);
    tree.sleeps_within(TO_FALL_ASLEEP);
    tree
}

/// Start a server, and wait until it listens.
fn listening(
    setup: &Setup<'_>,
    entrant: &Entrant,
    load: &Load,
    counter: Option<&CallCounter>,
) -> Result<Listening, Failed> {
    let cpu = setup.pinning.map(|pinning| pinning.server_cpu);
    match &entrant.kind {
        Kind::Model(model) => {
            let workers = workers(Some(model), setup.workers, load);
            let mut command = child::serve(&setup.program, model.name, workers);
            command.stderr(Stdio::piped());
            if let Some(counter) = counter {
                command.arg("--count-into-stdin").stdin(counter.for_server()?);
            }
            let mut process = pinned(cpu, &mut command)?;
            let (report, addr) = process.listens(setup.stop)?;
            let pid = Some(process.id());
            Ok(Listening { server: Server::Ours(process, report), addr, pid })
        }
        Kind::Command(command) => {
            let port = free_port()?;
            let command = command.replace("{port}", &port.to_string());
            // The thread that reads its output runs on any processor.
            let mut process =
                pinned(cpu, &mut child::supervise(&setup.program, &command, None, child::Begins::AtOnce))?
                    .into_supervisor();
            process.supervised(setup.stop)?;
            // What its command starts may leave the shell, and never this process.
            let pid = Some(process.id());
            let addr = wait_until_it_listens(port, &mut process, setup.stop)?;
            Ok(Listening { server: Server::Foreign(process), addr, pid })
        }
        &Kind::Running { address, pid } => Ok(Listening { server: Server::Running, addr: address, pid }),
    }
}

/// Start a process on that processor.
fn pinned(cpu: Option<usize>, command: &mut Command) -> anyhow::Result<Process> {
    match cpu {
        Some(cpu) => affinity::while_pinned(cpu, || Process::start(command))?,
        None => Process::start(command),
    }
}

/// A free port. Another program may take it before the server does; then the server's error says so.
fn free_port() -> anyhow::Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no port for a server")?;
    Ok(listener.local_addr()?.port())
}

/// Connect until a server accepts, on 127.0.0.1 or ::1. The list of sockets in /proc would show it too, without a connection,
/// but takes seconds to read while other servers have many.
fn wait_until_it_listens(port: u16, server: &mut Process, stop: &Stop) -> Result<SocketAddr, Failed> {
    let until = Instant::now() + TO_LISTEN;
    let loopback = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
    loop {
        for ip in loopback {
            let addr = SocketAddr::new(ip, port);
            let met = TcpStream::connect_timeout(&addr, TO_LISTEN);
            // TCP lets a socket connect to itself when it happens to get the port that it asks for.
            if met.is_ok_and(|met| !crate::sys::socket::is_connected_to_itself(&met).unwrap_or(false)) {
                return Ok(addr);
            }
        }
        if server.has_ended() {
            let what = anyhow!("the command ended before it listened on port {port}");
            return Err(server.last_words(what).into());
        }
        if Instant::now() > until {
            let seconds = TO_LISTEN.as_secs();
            let what = anyhow!("the command did not listen on port {port} within {seconds} s");
            return Err(server.last_words(what).into());
        }
        if stop.is_set()? {
            return Err(Failed::Interrupted);
        }
        thread::sleep(Duration::from_millis(1));
    }
}
