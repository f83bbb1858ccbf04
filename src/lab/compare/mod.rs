//! The main job: every model side by side under the same load.
//!
//! Noise is the difficulty. On a shared machine the same server differs by a factor of two from one
//! second to the next, so runs of seconds, one after another, compare the machine with itself. But the
//! noise is correlated over some tenths of a second. So all servers of a workload are started and
//! connected first, each with a generator of its own. Then they take turns in slices of some 40 ms, in
//! random order, while all others sleep. The baseline has a turn after every few of them. A slice is
//! compared with the baseline's slices just before and after it, which met the same noise, and the
//! median of these ratios is the result.
//!
//! The baseline runs a second time, as any other model does. The ratio of that row, A/A, would be 1.00
//! without noise; differences smaller than its own are noise.
//!
//! Only rows under the same load are compared. A model that cannot hold as many idle connections as the
//! baseline is measured, but gets no ratio.

mod figures;
pub mod pair;
mod table;

use super::Status;
use super::child::Failed;
use super::env::Environment;
use super::env::cgroup;
use super::explain;
use super::load::limits::NOT_FOR_CONNECTIONS;
use super::meter;
use super::stats::Spread;
use super::units;
use crate::model::{self, Clients, Model};
use crate::stop::Stop;
use crate::sys::limits::Nofile;
use anyhow::{Context, ensure};
use figures::{Beside, Figures, Timed};
use nix::sys::resource::{Resource, getrlimit};
use nix::time::{ClockId, clock_gettime};
use nix::unistd::geteuid;
use pair::{Load, Pair, Pinning};
use serde::{Serialize, Serializer};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// The model that the others are compared with.
pub const BASELINE: &str = "epoll-level";

/// So many others come between two slices of the baseline.
const BETWEEN_BASELINES: usize = 3;

/// Load at the start of a slice, which is not measured: it fills the caches and lets batches form.
const WARMUP: Duration = Duration::from_millis(5);

/// Most clients of a model that has a process for each. This many are enough to show what a process costs.
const MOST_PROCESSES: usize = 1000;

/// Silent connections of the workload `idle`, unless fewer are asked for or fit.
pub const MOST_IDLE: usize = 9000;

/// A load that all models get.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Workload {
    /// As on the command line.
    pub name: &'static str,
    /// One line.
    pub summary: &'static str,
    /// Connections that ask.
    pub active: usize,
    /// Connections that are silent, at most.
    pub idle: usize,
}

/// Every workload.
pub const WORKLOADS: &[Workload] = &[
    Workload { name: "ping", summary: "64 connections, all active", active: 64, idle: 0 },
    Workload { name: "single", summary: "1 connection", active: 1, idle: 0 },
    Workload {
        name: "idle",
        summary: "64 active connections beside many silent ones",
        active: 64,
        idle: MOST_IDLE,
    },
];

/// What to compare, and how long.
#[derive(Debug, Clone, Serialize)]
pub struct Plan {
    /// Loads.
    pub workloads: Vec<Workload>,
    /// Models; the baseline is run beside them in any case.
    #[serde(serialize_with = "names")]
    pub models: Vec<&'static Model>,
    /// What ratios are taken to.
    pub baseline: &'static str,
    /// Workers of each model that has some, all on the processor of the server. Where a worker has one client at a time, there are
    /// as many as clients.
    pub workers: NonZeroUsize,
    /// Slices for each model and workload.
    pub slices: usize,
    /// Length of a slice.
    pub slice_ms: u64,
    /// Bytes per request.
    pub size_bytes: u32,
    /// Of the bytes and of the order of turns.
    pub seed: u64,
    /// Processors of servers and generators.
    pub pinning: Option<Pinning>,
    /// This program, which is started again for each server and generator.
    #[serde(skip)]
    pub program: PathBuf,
}

fn names<S: Serializer>(models: &[&'static Model], to: S) -> Result<S::Ok, S::Error> {
    to.collect_seq(models.iter().map(|model| model.name))
}

/// The result.
#[derive(Debug, Clone, Serialize)]
pub struct Comparison {
    schema: &'static str,
    schema_version: u32,
    /// Interrupted before its end.
    partial: bool,
    /// Always `closed`: see [`load`](super::load).
    mode: &'static str,
    environment: Environment,
    plan: Plan,
    rows: Vec<Row>,
    /// What could not be measured here, a sentence each.
    not_known: Vec<String>,
    /// By workload: how many processors other programs kept busy while it was measured; null where that is not known.
    foreign_cpus: serde_json::Map<String, serde_json::Value>,
}

/// One model under one workload.
#[derive(Debug, Clone, Serialize)]
pub struct Row {
    workload: &'static str,
    model: &'static str,
    /// The A/A row: the baseline against itself.
    control: bool,
    status: Status,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    active: usize,
    idle: usize,
    #[serde(flatten)]
    figures: Option<Figures>,
}

/// Is told of the progress.
pub trait Watch {
    /// A workload begins: so many servers are to be started.
    fn workload(&mut self, workload: &Workload, servers: usize);
    /// Something is being done; `done` of `all` slices are.
    fn progress(&mut self, what: &str, done: usize, all: usize);
}

/// One server of a workload, and what its slices gave.
struct Entrant {
    model: &'static Model,
    control: bool,
    load: Load,
    /// What limits its connections.
    fewer: String,
    state: State,
    slices: Vec<Timed>,
}

enum State {
    Waiting,
    Running(Box<Pair>),
    Skipped(String),
    Failed(String),
}

/// Compare. A readable `stop` ends it early, with what there is until then.
///
/// # Errors
///
/// When the machine does not let us measure at all. What goes wrong with a model is in its rows.
pub fn run(mut plan: Plan, stop: &Stop, watch: &mut dyn Watch) -> anyhow::Result<Comparison> {
    let environment = Environment::here();
    let mut random = fastrand::Rng::with_seed(plan.seed);
    let (mut rows, mut partial, mut foreign_cpus) = (Vec::new(), false, serde_json::Map::new());
    let mut not_known = Vec::new();
    for workload in &plan.workloads.clone() {
        let mut entrants = entrants(&plan, workload)?;
        watch.workload(workload, entrants.iter().filter(|e| matches!(e.state, State::Waiting)).count());
        let outcome = start(&mut plan, &mut entrants, &mut not_known, stop, watch)
            .and_then(|()| take_turns(&plan, &mut entrants, &mut random, stop, watch));
        match outcome {
            Ok(foreign) => {
                if foreign.is_none() {
                    learn(
                        &mut not_known,
                        "whether other programs used the processors is not known: /proc does not tell it",
                    );
                }
                foreign_cpus.insert(workload.name.to_owned(), foreign.into());
            }
            Err(Failed::Interrupted) => partial = true,
            Err(Failed::Error(error)) => return Err(error),
        }
        for entrant in entrants.iter().filter(|entrant| entrant.was_extended()) {
            let (model, workload) = (entrant.model.name, workload.name);
            learn(
                &mut not_known,
                &format!(
                    "slices of {model} under {workload} were too short for one answer, and went on until the first: \
                     measure longer ones (--slice)"
                ),
            );
        }
        rows.extend(finish(entrants, workload));
        if partial {
            break;
        }
    }
    let (schema, schema_version) = ("io-models/compare", 1);
    Ok(Comparison {
        schema,
        schema_version,
        partial,
        mode: "closed",
        environment,
        plan,
        rows,
        not_known,
        foreign_cpus,
    })
}

impl Comparison {
    /// Whether it was interrupted before its end.
    #[must_use]
    pub fn is_partial(&self) -> bool {
        self.partial
    }

    /// What could not be measured here, a sentence each.
    #[must_use]
    pub fn not_known(&self) -> &[String] {
        &self.not_known
    }

    /// One line, when other programs disturbed the measurement.
    #[must_use]
    pub fn warning(&self) -> Option<String> {
        let parts = self.foreign_cpus.iter().map(|(workload, cpus)| (workload.as_str(), cpus.as_f64()));
        meter::disturbance(parts, self.environment.cpus())
    }

    /// One line, when no model could take a workload; `None` when each had one, or was not reached.
    #[must_use]
    pub fn unmeasured(&self) -> Option<String> {
        if self.partial {
            return None;
        }
        let of = |name: &'static str| self.rows.iter().filter(move |row| row.workload == name);
        let skipped = |workload: &&Workload| {
            of(workload.name).count() > 0 && of(workload.name).all(|row| row.status == Status::Skipped)
        };
        let first = self.plan.workloads.iter().find(skipped)?;
        let why = of(first.name).find_map(|row| row.reason.as_deref())?;
        let names: Vec<_> = self.plan.workloads.iter().filter(skipped).map(|w| w.name).collect();
        Some(format!("not measured: {}: {why}", names.join(", ")))
    }

    /// One line on the rows that failed; `None` when none did.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        if !self.partial && self.rows.iter().all(|row| row.status == Status::Skipped) {
            let why = self.rows.iter().find_map(|row| row.reason.as_deref()).unwrap_or("no workload");
            return Some(format!("nothing could be measured: {why}"));
        }
        let mut failed = self.rows.iter().filter(|row| row.status == Status::Failed);
        let first = failed.next()?;
        let why = first.reason.as_deref().unwrap_or("for no reason given");
        Some(match failed.count() {
            0 => format!("{} under {} failed: {why}", first.model, first.workload),
            more => format!("{} under {} failed: {why}; and {more} more rows", first.model, first.workload),
        })
    }
}

/// The servers of a workload: the baseline, its double, and the models that were asked for.
fn entrants(plan: &Plan, workload: &Workload) -> anyhow::Result<Vec<Entrant>> {
    let baseline = model::find(BASELINE).context("the baseline is missing from the table of models")?;
    let mut all = vec![(baseline, false), (baseline, true)];
    all.extend(plan.models.iter().filter(|model| model.name != BASELINE).map(|&model| (model, false)));
    let nofile = Nofile::raise()?;
    let of_its_kind = all.iter().filter(|(model, _)| has_one_each(model.clients)).count();
    let mut random = fastrand::Rng::with_seed(plan.seed);
    Ok(all
        .into_iter()
        .map(|(model, control)| {
            let here = (model.why_not)().map_or(Ok(()), Err);
            let (idle, state, fewer) = match here.and_then(|()| room(model, workload, nofile, of_its_kind)) {
                Ok((idle, because)) => (idle, State::Waiting, because),
                Err(why) => (0, State::Skipped(why), String::new()),
            };
            let (size, seed) = (plan.size_bytes, random.u64(..));
            let active = workload.active;
            let workers = match model.clients {
                Clients::Workers => active + idle,
                _ => plan.workers.get(),
            };
            let load = Load { active, idle, size, seed, workers: model.has_workers().then_some(workers) };
            Entrant { model, control, load, fewer, state, slices: Vec::new() }
        })
        .collect())
}

/// How many silent connections the model gets beside the active ones, and what would limit them; or why it cannot take
/// the active ones.
///
/// All servers are there at the same time, so those that have a process or a thread for each client, `of_its_kind`, share the
/// limit on processes.
fn room(
    model: &Model,
    workload: &Workload,
    nofile: Nofile,
    of_its_kind: usize,
) -> Result<(usize, String), String> {
    let descriptors = usize::try_from(nofile.soft).unwrap_or(usize::MAX).saturating_sub(NOT_FOR_CONNECTIONS);
    let mut limits = vec![(descriptors, format!("the descriptor limit: {nofile}"))];
    match model.clients {
        Clients::One => limits.push((1, "one client at a time".to_owned())),
        Clients::UpTo { most, because } => limits.push((most, because.to_owned())),
        clients if has_one_each(clients) => {
            limits.push((
                MOST_PROCESSES,
                format!("a process or thread per client, and nobody runs more than {MOST_PROCESSES}"),
            ));
            let each = |(most, limit): (usize, &str)| {
                (most / of_its_kind, format!("the limit on processes ({limit}), which the models share"))
            };
            limits.extend(processes().into_iter().map(each));
        }
        _ => {}
    }
    let (most, because) = limits.into_iter().min().unwrap_or_default();
    let wants = workload.active + usize::from(workload.idle > 0);
    if wants > most {
        let most = units::of(most as u64, "connection");
        return Err(format!(
            "takes at most {most} ({because}), and {} are needed",
            units::count(wants as u64)
        ));
    }
    Ok((workload.idle.min(most - workload.active), because))
}

/// Whether a server has a process or a thread for each of its clients.
fn has_one_each(clients: Clients) -> bool {
    matches!(clients, Clients::Processes | Clients::Threads | Clients::Workers)
}

/// How many more processes there may be, and what limits them; a few are left for others.
fn processes() -> Vec<(usize, &'static str)> {
    let in_group = || Some((cgroup::more_processes()?, "pids.max"));
    // It does not hold for root, and how much of it this user has used already is not known.
    let of_user = || {
        let (soft, _) = getrlimit(Resource::RLIMIT_NPROC).ok().filter(|_| !geteuid().is_root())?;
        Some((usize::try_from(soft).unwrap_or(usize::MAX), "ulimit -u"))
    };
    let limits = [in_group(), of_user()].into_iter().flatten();
    limits.map(|(most, limit)| (most.saturating_sub(NOT_FOR_CONNECTIONS), limit)).collect()
}

/// Say each sentence once.
fn learn(not_known: &mut Vec<String>, what: &str) {
    if !not_known.iter().any(|known| known == what) {
        not_known.push(what.to_owned());
    }
}

/// Start every server of the workload, and connect its generator.
fn start(
    plan: &mut Plan,
    entrants: &mut [Entrant],
    not_known: &mut Vec<String>,
    stop: &Stop,
    watch: &mut dyn Watch,
) -> Result<(), Failed> {
    for entrant in entrants.iter_mut().filter(|entrant| matches!(entrant.state, State::Waiting)) {
        watch.progress(&format!("starting {}", entrant.model.name), 0, 1);
        entrant.state = match Pair::start(&plan.program, entrant.model, entrant.load, plan.pinning, stop) {
            Ok(pair) => {
                pair.not_known().iter().for_each(|what| learn(not_known, what));
                // All or none: pairs that run elsewhere cannot be compared.
                plan.pinning = plan.pinning.filter(|_| pair.is_pinned());
                State::Running(Box::new(pair))
            }
            Err(Failed::Error(error)) => State::Failed(explain::explain(&error)),
            Err(Failed::Interrupted) => return Err(Failed::Interrupted),
        };
    }
    Ok(())
}

/// Measure: in each round one slice of every model, in random order, and the baseline before each
/// third of them. Returns how many processors others kept busy meanwhile, if that is known.
fn take_turns(
    plan: &Plan,
    entrants: &mut [Entrant],
    random: &mut fastrand::Rng,
    stop: &Stop,
    watch: &mut dyn Watch,
) -> Result<Option<f64>, Failed> {
    let (started, busy_before, mut ours) = (Instant::now(), meter::machine_busy(), Some(Duration::ZERO));
    let (mut turn, slice, own_before) = (0, Duration::from_millis(plan.slice_ms), own_cpu()?);
    for round in 0..plan.slices {
        watch.progress("measuring", round, plan.slices);
        let mut others: Vec<usize> = (1..entrants.len()).collect();
        random.shuffle(&mut others);
        let baseline_first = |group: &[usize]| std::iter::once(0).chain(group.to_vec());
        for i in others.chunks(BETWEEN_BASELINES).flat_map(baseline_first) {
            turn += 1;
            let cpu = entrants[i].take_turn(turn, slice, stop)?;
            ours = ours.zip(cpu).map(|(sum, cpu)| sum + cpu);
        }
    }
    // The last slices need a slice of the baseline after them as well.
    let cpu = entrants[0].take_turn(turn + 1, slice, stop)?;
    let own = own_cpu()?.saturating_sub(own_before);
    let foreign = |((busy, before), (ours, cpu)): ((Duration, Duration), (Duration, Duration))| {
        let foreign = busy.saturating_sub(before).saturating_sub(ours + cpu + own);
        (foreign.as_secs_f64() / started.elapsed().as_secs_f64() * 100.0).round() / 100.0
    };
    Ok(meter::machine_busy().zip(busy_before).zip(ours.zip(cpu)).map(foreign))
}

impl Entrant {
    fn was_extended(&self) -> bool {
        self.slices.iter().any(|slice| slice.measured.slice.extended)
    }

    /// One slice. Returns the CPU time that server and generator had for it, if it is known.
    fn take_turn(&mut self, turn: usize, slice: Duration, stop: &Stop) -> Result<Option<Duration>, Failed> {
        let State::Running(pair) = &mut self.state else { return Ok(Some(Duration::ZERO)) };
        match pair.slice(WARMUP, slice, stop) {
            Ok(measured) if measured.slice.lost == 0 => {
                let generator = Duration::from_secs_f64(measured.slice.cpu_in_all_s);
                let cpu = measured.server_cpu.map(|server| server + generator);
                self.slices.push(Timed { turn, measured });
                return Ok(cpu);
            }
            Ok(_) => self.state = State::Failed(pair.reason_of_loss()),
            Err(Failed::Error(error)) => self.state = State::Failed(pair.explain(error)),
            Err(Failed::Interrupted) => return Err(Failed::Interrupted),
        }
        Ok(Some(Duration::ZERO))
    }
}

/// CPU time of this process.
fn own_cpu() -> anyhow::Result<Duration> {
    Ok(clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID)?.into())
}

/// End all servers of a workload, and make the rows.
fn finish(entrants: Vec<Entrant>, workload: &Workload) -> Vec<Row> {
    let mut baseline: Vec<_> = entrants[0].slices.iter().map(|s| (s.turn, s.rate(), s.cpu_us())).collect();
    let fewer: Vec<_> = entrants.iter().map(|entrant| entrant.fewer.clone()).collect();
    let mut rows = Vec::new();
    for entrant in entrants {
        rows.push(entrant.finish(workload, &baseline));
        // The first row is the baseline's. If it failed, its slices from before that are no baseline.
        if rows[0].figures.is_none() {
            baseline.clear();
        }
    }
    let control = rows.iter().find(|row| row.control).and_then(|row| row.figures.clone());
    let baseline_idle = rows[0].figures.is_some().then_some(rows[0].idle);
    for (row, because) in rows.iter_mut().zip(fewer) {
        let is_baseline = row.model == BASELINE && !row.control;
        let Some(figures) = &mut row.figures else { continue };
        let Some(baseline_idle) = baseline_idle else {
            figures.verdict = "no baseline to judge by".to_owned();
            continue;
        };
        figures.verdict = match (&control, is_baseline, row.control) {
            (_, true, _) => "the baseline".to_owned(),
            (_, _, true) => "the noise".to_owned(),
            _ if baseline_idle != row.idle => {
                // Only rows under the same load are judged against each other.
                (figures.ratio, figures.cpu_ratio) = (None, None);
                let [idle, wanted] = [row.idle, baseline_idle].map(|n| units::count(n as u64));
                format!("not comparable: {idle} idle instead of {wanted} ({because})")
            }
            (Some(control), ..) => figures.verdict(control).to_owned(),
            (None, ..) => "no A/A row to judge by".to_owned(),
        };
    }
    rows
}

impl Entrant {
    fn finish(self, workload: &Workload, baseline: &[Beside]) -> Row {
        let is_baseline = self.model.name == BASELINE && !self.control;
        let Entrant { model, control, load, state, slices, .. } = self;
        let row = |status, reason, figures| Row {
            workload: workload.name,
            model: model.name,
            control,
            status,
            reason,
            active: load.active,
            idle: load.idle,
            figures,
        };
        let mut pair = match state {
            State::Running(pair) if !slices.is_empty() => pair,
            State::Running(_) | State::Waiting => {
                let why = "interrupted before its first slice".to_owned();
                return row(Status::Skipped, Some(why), None);
            }
            State::Skipped(why) => return row(Status::Skipped, Some(why), None),
            State::Failed(why) => return row(Status::Failed, Some(why), None),
        };
        let figures = pair.sum().and_then(|(sum, rss)| {
            let mut sharing = pair.end()?;
            if model.clients == Clients::Workers && load.idle > 0 {
                // Whose client is silent has nothing to do, however well the model shares.
                sharing.fairness_of_requests = None;
            }
            ensure!(
                slices.iter().any(|slice| slice.measured.slice.answered > 0),
                "no answer came while the clock ran: measure longer slices (--slice), or send less (-s)"
            );
            let mut figures = Figures::of(&slices, &sum, rss, sharing, baseline).context("no slices")?;
            if is_baseline {
                // Not measured: what it is the baseline of.
                figures.ratio = Some(Spread::ONE);
                figures.cpu_ratio = figures.server_cpu_us_per_request.map(|_| Spread::ONE);
            }
            Ok(figures)
        });
        match figures {
            Ok(figures) => row(Status::Measured, None, Some(figures)),
            Err(error) => row(Status::Failed, Some(explain::explain(&error)), None),
        }
    }
}
