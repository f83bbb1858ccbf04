//! What each entrant can take here, and the load that all of them can take.

use super::entrant::Entrant;
use super::workload;
use crate::lab::load::limits::{NOT_FOR_CONNECTIONS, memory_here};
use crate::lab::results::compare::{Load, Workload};
use crate::lab::units::{self, bytes, count};
use crate::model::Clients;
use crate::sys::limits::Nofile;
use nix::sys::resource::{Resource, getrlimit};
use nix::unistd::geteuid;

/// Most clients of a model that has a process or a thread for each. This many are enough to show what one costs.
const MOST_PROCESSES: usize = 1000;

/// What a process or a thread for a client needs of memory, the kernel's share included; measured on Linux 6.18 with `fork` and
/// 1000 clients, rounded up.
const PROCESS_BYTES: u64 = 256 << 10;

/// What each server and its generator need without clients: two programs, histograms, buffers of io_uring(7).
const PAIR_BYTES: u64 = 32 << 20;

/// What a connection needs in the kernel, both ends on this machine, and in the generator.
const CONNECTION_BYTES: u64 = 2 * (5 << 10) + 512;

/// A point at which entrants are measured together.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Point {
    pub(super) name: Option<String>,
    pub(super) load: Load,
    /// No point of the workload: the most that all can take.
    pub(super) common: bool,
    /// For each entrant why it cannot take it, or `None`.
    pub(super) unfit: Vec<Option<String>>,
}

/// The points of a workload, with what each entrant can take. Where some cannot take the silent connections of a point, there is
/// one point more, with as many as all of these can take.
pub(super) fn points(workload: &Workload, entrants: &[Entrant]) -> anyhow::Result<Vec<Point>> {
    let nofile = Nofile::raise()?;
    let of_its_kind = entrants.iter().filter(|entrant| entrant.has_one_each()).count();
    let room = |entrant: &Entrant| room(entrant, nofile, of_its_kind);
    let limits: Vec<Room> = entrants.iter().map(room).collect();
    let mut points: Vec<Point> = Vec::new();
    for (name, load) in workload::points(workload) {
        let unfit = limits.iter().map(|limit| limit.refuses(&load)).collect();
        points.push(Point { name, load, common: false, unfit });
    }
    if let Some(common) = common(&points, &limits) {
        let at = points.iter().position(|point| point.load.idle > common.load.idle).unwrap_or(points.len());
        points.insert(at, common);
    }
    Ok(points)
}

/// The most silent connections that all entrants can take that cannot take those of some point, if there is no such point yet.
fn common(points: &[Point], limits: &[Room]) -> Option<Point> {
    // The points must differ by their silent connections, and by nothing else.
    let first = points.first()?;
    let differ = |point: &Point| Load { idle: first.load.idle, ..point.load.clone() } != first.load;
    if points.iter().any(differ) {
        return None;
    }
    let most_idle = points.iter().map(|point| point.load.idle).max().filter(|&idle| idle > 0)?;
    let largest = points.iter().find(|point| point.load.idle == most_idle)?;
    let active = largest.load.active;
    let fewest = limits
        .iter()
        .filter(|limit| limit.why_not.is_none())
        .map(|limit| limit.most.saturating_sub(active))
        .filter(|&idle| (1..most_idle).contains(&idle))
        .min()?;
    if points.iter().any(|point| point.load.idle == fewest) {
        return None;
    }
    let load = Load { idle: fewest, ..largest.load.clone() };
    let unfit = limits.iter().map(|limit| limit.refuses(&load)).collect();
    Some(Point { name: Some(fewest.to_string()), load, common: true, unfit })
}

/// How many connections an entrant can take.
struct Room {
    most: usize,
    /// What limits them.
    because: String,
    /// Why it cannot run here at all.
    why_not: Option<String>,
}

impl Room {
    fn refuses(&self, load: &Load) -> Option<String> {
        if self.why_not.is_some() {
            return self.why_not.clone();
        }
        (load.connections() > self.most).then(|| {
            let most = units::of(self.most as u64, "connection");
            let needed = count(load.connections() as u64);
            format!("takes at most {most} ({}), and {needed} are needed", self.because)
        })
    }
}

/// What limits an entrant. All servers are there at the same time, so those that have a process or a thread for each client,
/// `of_its_kind`, share the limit on processes.
fn room(entrant: &Entrant, nofile: Nofile, of_its_kind: usize) -> Room {
    let descriptors = usize::try_from(nofile.soft).unwrap_or(usize::MAX).saturating_sub(NOT_FOR_CONNECTIONS);
    let mut limits = vec![(descriptors, format!("the descriptor limit: {nofile}"))];
    let model = entrant.model();
    match model.map(|model| model.clients) {
        Some(Clients::One) => limits.push((1, "one client at a time".to_owned())),
        Some(Clients::UpTo { most, because }) => limits.push((most, because.to_owned())),
        _ if entrant.has_one_each() => {
            limits.push((
                MOST_PROCESSES,
                format!("a process or thread per client, of which at most {MOST_PROCESSES} are measured"),
            ));
            let each = |(most, limit): (usize, &str)| {
                (most / of_its_kind, format!("the limit on processes ({limit}), which the models share"))
            };
            limits.extend(processes().into_iter().map(each));
        }
        _ => {}
    }
    let (most, because) = limits.into_iter().min().unwrap_or_default();
    Room { most, because, why_not: model.and_then(|model| (model.why_not)()) }
}

/// How many more processes there may be, and what limits them; a few are left for others.
fn processes() -> Vec<(usize, &'static str)> {
    let in_group = || {
        let group = std::fs::read_to_string("/proc/self/cgroup").ok()?;
        let group = group.lines().find_map(|line| line.strip_prefix("0::"))?;
        let number = |file: &str| -> Option<usize> {
            std::fs::read_to_string(format!("/sys/fs/cgroup{group}/{file}")).ok()?.trim().parse().ok()
        };
        Some((number("pids.max")?.saturating_sub(number("pids.current")?), "pids.max"))
    };
    // It does not hold for root, and how much of it this user has used already is not known.
    let of_user = || {
        let (soft, _) = getrlimit(Resource::RLIMIT_NPROC).ok().filter(|_| !geteuid().is_root())?;
        Some((usize::try_from(soft).unwrap_or(usize::MAX), "ulimit -u"))
    };
    let limits = [in_group(), of_user()].into_iter().flatten();
    limits.map(|(most, limit)| (most.saturating_sub(NOT_FOR_CONNECTIONS), limit)).collect()
}

/// Whether the machine has the memory for all entrants of a point at once.
///
/// # Errors
///
/// When it has not: what is needed, what there is, and what to ask instead.
pub(super) fn check_memory(workload: &str, point: &Point, entrants: &[Entrant]) -> anyhow::Result<()> {
    let Some(available) = memory_here() else { return Ok(()) };
    let takes = |(entrant, unfit): (&Entrant, &Option<String>)| {
        if unfit.is_some() {
            return 0;
        }
        let connections = point.load.connections() as u64;
        let each = if entrant.has_one_each() { PROCESS_BYTES } else { 0 };
        PAIR_BYTES.saturating_add(connections.saturating_mul(CONNECTION_BYTES + each))
    };
    let needed = entrants.iter().zip(&point.unfit).map(takes).fold(0, u64::saturating_add);
    let of_point = point.name.as_ref().map_or(String::new(), |name| format!("@{name}"));
    anyhow::ensure!(
        needed <= available,
        "{workload}{of_point} needs about {} of memory for all servers together, and {} are available: name fewer models \
         with --models, leave out the workload, or give fewer connections (--idle, --plan)",
        bytes(needed),
        bytes(available)
    );
    Ok(())
}
