//! The main job: every model, and any other server, side by side under the same load.
//!
//! Noise is the difficulty. On a shared machine the same server differs by a factor of two from one second to the next, so
//! runs of seconds, one after another, show how the machine changed, and not how the servers differ. But the noise is
//! correlated over some tenths of a second. So all servers are started and connected first, each with a generator of its own.
//! Then they take turns in slices of some 20 ms, in random order, while all others sleep. Each group of three also has one slice
//! of the baseline, at a random place, and each of the three is compared with it.
//!
//! One pair of processes is one draw: where the memory of a process lies makes a difference that lasts as long as the process.
//! So all of them are started afresh several times, in random order, and the interval of a ratio is over these starts.
//!
//! The baseline runs a second time, as any other entrant does. The ratio of that row, A/A, would be 1.00 without noise.
//!
//! Each ratio is of one slice to one slice. The mean of two slices of the baseline, before and after, would be less noisy, but
//! biased: noise makes slices slower and never faster, so the median of a mean of two lies on the slow side of the median of
//! one, and the ratio of a server to itself would not be 1.
//!
//! Only rows under the same load are compared. Where an entrant cannot take a load, its row says so, and all entrants are
//! measured once more at the load that they can all take.

mod entrant;
mod figures;
mod fit;
pub mod gates;
mod pair;
mod turns;
pub mod workload;

use super::Status;
use super::child::Failed;
use super::env::Environment;
use super::load::plan::EngineKind;
use super::meter::machine::disturbance;
use super::results::compare::{Comparison, Group, Pinning, Plan, Row, SCHEMA, VERSION, Workload};
use super::units;
use crate::stop::Stop;
use crate::sys::affinity;
use anyhow::{Context, bail, ensure};
use entrant::Entrant;
use fit::Point;
use pair::Setup;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use turns::Field;

/// The model that the others are compared with.
pub const BASELINE: &str = "epoll-level";

/// How often a server is started at least, for intervals as narrow as was asked for: the ratios of two or three starts may be close
/// to each other by chance.
pub const FEWEST_STARTS: usize = 5;

/// How often a server is started at most, for intervals as narrow as was asked for.
pub const MOST_STARTS: usize = 60;

/// Shows the progress.
pub trait Watch {
    /// A point begins, such as `idle@1000`: with so many servers, each of so many slices.
    fn group(&mut self, id: &str, load: &str, servers: usize, slices: usize);
    /// Something is being done; so many rounds of slices are done.
    fn progress(&mut self, what: &str, done: usize);
}

/// Two of the processors that this process may use, on different cores if possible: one for servers, one for generators. `None`
/// if there is only one.
#[must_use]
pub fn pinning() -> Option<Pinning> {
    let allowed = affinity::allowed().ok()?;
    let (&server_cpu, others) = allowed.split_first()?;
    let core = |cpu: usize| {
        std::fs::read_to_string(format!("/sys/devices/system/cpu/cpu{cpu}/topology/core_cpus_list")).ok()
    };
    let other_core = others.iter().find(|&&cpu| core(cpu) != core(server_cpu));
    let generator_cpu = *other_core.or(others.first())?;
    Some(Pinning { server_cpu, generator_cpu })
}

/// How generators talk to the kernel here: with io_uring where it is available, because the generator is then less often the
/// limit.
#[must_use]
pub fn engine() -> EngineKind {
    if no_uring().is_none() { EngineKind::Uring } else { EngineKind::Epoll }
}

/// Why generators cannot use io_uring.
fn no_uring() -> Option<String> {
    #[cfg(feature = "uring")]
    return crate::sys::uring::unavailable();
    #[cfg(not(feature = "uring"))]
    Some("this program was built without io_uring (feature `uring`)".to_owned())
}

/// Check that a plan can be run by this program, before anything is started. A plan may come from a file.
///
/// # Errors
///
/// In one line, with what to do.
pub fn check(plan: &Plan) -> anyhow::Result<()> {
    let counts = [("starts", plan.starts), ("slices", plan.slices), ("workers", plan.workers)];
    for (name, count) in counts {
        ensure!(count > 0, "{name} is 0: it is at least 1");
    }
    if let Some(precision) = plan.precision {
        ensure!(precision > 0.0 && precision.is_finite(), "the precision {precision} is not more than 0");
    }
    ensure!(!plan.workloads.is_empty(), "there is no workload");
    workload::check_all(&plan.workloads).map_err(anyhow::Error::msg)?;
    Entrant::all(plan)?;
    if let Some(why) = no_uring().filter(|_| plan.engine == EngineKind::Uring) {
        bail!(
            "its generators used io_uring, and a comparison with another engine is another one: {why}; give the options of that \
             comparison instead of --rerun"
        );
    }
    Ok(())
}

/// A point of a workload that is to be measured.
struct Stage<'a> {
    workload: &'a Workload,
    point: Point,
}

/// Compare by a plan that has passed [`check`]. A readable `stop` ends it early, with what there is until then. `program` is this
/// program, which is started again for each server and generator.
///
/// # Errors
///
/// When the machine does not let us measure at all, before anything is started. What goes wrong with an entrant is in its rows.
pub fn run(
    mut plan: Plan,
    program: PathBuf,
    stop: &Stop,
    watch: &mut dyn Watch,
) -> anyhow::Result<Comparison> {
    let (began, environment) = (Instant::now(), Environment::here());
    let entrants = Entrant::all(&plan)?;
    let mut not_known = Vec::new();
    if let Some(why) = why_not_pinned(plan.pinning) {
        plan.pinning = None;
        not_known.push(format!(
            "servers and generators are not pinned, and disturb each other more ({why}; --no-pin asks for that)"
        ));
    }
    for entrant in entrants.iter().filter(|entrant| matches!(entrant.kind, entrant::Kind::Running { .. })) {
        not_known.push(format!("{} runs already: it is neither pinned nor started afresh", entrant.name));
    }
    let stages = stages(&plan, &entrants)?;
    let setup = Setup { program, engine: plan.engine, pinning: plan.pinning, workers: plan.workers, stop };
    let mut random = fastrand::Rng::with_seed(plan.seed);
    let (mut groups, mut partial) = (Vec::new(), false);
    let mut checked = vec![0; entrants.len()];
    for Stage { workload, point } in stages {
        let mut group = group_of(workload, &point);
        let servers = point.unfit.iter().filter(|unfit| unfit.is_none()).count();
        let rounds = plan.starts.saturating_mul(plan.slices);
        watch.group(&group.id(), &workload::describe(&point.load), servers, rounds);
        let slice = Duration::from_millis(workload.slice_ms);
        let mut field = Field::new(&setup, &plan, &entrants, point, slice);
        match field.run(&mut checked, &mut random, &mut not_known, watch) {
            Ok(()) => {}
            Err(Failed::Interrupted) => partial = true,
            Err(Failed::Error(error)) => return Err(error),
        }
        group.machine = field.machine(environment.irq_time_accounting() == Some(true));
        let foreign_is_known = group.machine.foreign_cpus.is_some() || !field.has_measured() || partial;
        for what in unknown_of(&field, &group.id(), foreign_is_known) {
            learn(&mut not_known, &what);
        }
        group.load = field.load.clone();
        group.rows = field.rows();
        groups.push(group);
        if partial {
            break;
        }
    }
    Ok(Comparison {
        schema: SCHEMA.to_owned(),
        schema_version: VERSION,
        partial,
        seconds: began.elapsed().as_secs_f64(),
        environment,
        entrants: entrants.iter().filter(|entrant| !entrant.control).map(Entrant::described).collect(),
        plan,
        groups,
        not_known,
        gates: Vec::new(),
        earlier: None,
    })
}

/// What a point leaves unknown, a sentence each.
fn unknown_of(field: &Field<'_>, id: &str, foreign_is_known: bool) -> Vec<String> {
    let mut unknown = Vec::new();
    let extended: Vec<_> = field.extended().collect();
    if !extended.is_empty() {
        let servers = extended.join(", ");
        unknown.push(format!(
            "some slices under {id} were too short for one answer, and went on until the first ({servers}): measure longer ones \
             (--slice)"
        ));
    }
    if !foreign_is_known {
        unknown.push(
            "whether other programs used the processors is not known: /proc does not tell it, or the CPU time of some server is \
             not known"
                .to_owned(),
        );
    }
    unknown
}

/// The points of a plan and their rows as they are before anything is measured.
fn outline(plan: &Plan) -> anyhow::Result<Vec<Group>> {
    let entrants = Entrant::all(plan)?;
    let rows = |point: &Point| {
        let row = |(entrant, unfit): (&Entrant, &Option<String>)| entrant.row(Status::Skipped, unfit.clone());
        entrants.iter().zip(&point.unfit).map(row).collect()
    };
    let stages = stages(plan, &entrants)?;
    let group =
        |Stage { workload, point }: &Stage<'_>| Group { rows: rows(point), ..group_of(workload, point) };
    Ok(stages.iter().map(group).collect())
}

/// A point without rows.
fn group_of(workload: &Workload, point: &Point) -> Group {
    Group {
        workload: workload.name.clone(),
        point: point.name.clone(),
        load: point.load.clone(),
        slice_ms: workload.slice_ms,
        common: point.common,
        machine: Default::default(),
        rows: Vec::new(),
    }
}

/// All points that are to be measured, one after the other. What cannot be done is an error here, before the first start.
fn stages<'a>(plan: &'a Plan, entrants: &[Entrant]) -> anyhow::Result<Vec<Stage<'a>>> {
    let mut stages = Vec::new();
    for workload in &plan.workloads {
        for point in fit::points(workload, entrants)? {
            fit::check_memory(&workload.name, &point, entrants)?;
            stages.push(Stage { workload, point });
        }
    }
    let baseline =
        entrants.iter().position(|entrant| entrant.baseline).context("a plan without a baseline")?;
    let can_be = |stage: &&Stage<'_>| stage.point.unfit[baseline].is_none();
    let first = stages.first().context("a plan without a workload")?;
    let why = first.point.unfit[baseline].clone();
    ensure!(
        stages.iter().any(|stage| can_be(&stage)),
        "nothing can be measured here: {}",
        why.unwrap_or_default()
    );
    Ok(stages)
}

/// Why processes cannot be pinned as asked.
fn why_not_pinned(pinning: Option<Pinning>) -> Option<String> {
    let Pinning { server_cpu, generator_cpu } = pinning?;
    let try_out = |cpu| affinity::while_pinned(cpu, || ()).err();
    try_out(server_cpu).or_else(|| try_out(generator_cpu)).map(|why| why.to_string())
}

/// Say each sentence once.
fn learn(not_known: &mut Vec<String>, what: &str) {
    if !not_known.iter().any(|known| known == what) {
        not_known.push(what.to_owned());
    }
}

impl Comparison {
    /// One line, when other programs disturbed the measurement.
    #[must_use]
    pub fn warning(&self) -> Option<String> {
        let ids: Vec<_> = self.groups.iter().map(|group| (group.id(), group.machine.foreign_cpus)).collect();
        disturbance(ids.iter().map(|(id, cpus)| (id.as_str(), *cpus)), self.environment.cpus())
    }

    /// Every row, with the group it is of.
    pub fn rows(&self) -> impl Iterator<Item = (&Group, &Row)> {
        self.groups.iter().flat_map(|group| group.rows.iter().map(move |row| (group, row)))
    }

    /// One line, when no entrant could take a workload; `None` when each had one, or was not reached.
    #[must_use]
    pub fn unmeasured(&self) -> Option<String> {
        if self.partial {
            return None;
        }
        let skipped = |group: &&Group| group.rows.iter().all(|row| row.status == Status::Skipped);
        let first = self.groups.iter().find(skipped)?;
        let why = first.rows.iter().find_map(|row| row.reason.as_deref())?;
        let ids: Vec<_> = self.groups.iter().filter(skipped).map(Group::id).collect();
        Some(format!("not measured: {}: {why}", ids.join(", ")))
    }

    /// One line on the rows that failed; `None` when none did.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        if !self.partial && self.rows().all(|(_, row)| row.status == Status::Skipped) {
            let why = self.rows().find_map(|(_, row)| row.reason.as_deref()).unwrap_or("no workload");
            return Some(format!("nothing could be measured: {why}"));
        }
        let mut failed = self.rows().filter(|(_, row)| row.status == Status::Failed);
        let (group, first) = failed.next()?;
        let why = first.reason.as_deref().unwrap_or("for no reason given");
        let (name, id) = (&first.entrant, group.id());
        Some(match failed.count() {
            0 => format!("{name} under {id} failed: {why}"),
            more => {
                format!("{name} under {id} failed: {why}; and {}", units::of(more as u64, "more row"))
            }
        })
    }
}
