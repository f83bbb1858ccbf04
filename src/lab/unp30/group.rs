//! All servers under one load: their turns.

use super::Load;
use super::bench::Bench;
use super::row::{Row, Run};
use crate::lab::child::Failed;
use crate::lab::{Status, explain, meter};
use crate::model::{Model, Waits};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::{TimeVal, TimeValLike};
use std::time::{Duration, Instant};

/// The servers under one load.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) load: Load,
    entrants: Vec<Entrant>,
    /// Time in which servers had their turns.
    elapsed: Duration,
    /// CPU time of other programs meanwhile; `None` where that is not known.
    foreign: Option<Duration>,
}

#[derive(Debug)]
struct Entrant {
    model: &'static Model,
    state: State,
    runs: Vec<Run>,
}

#[derive(Debug)]
enum State {
    Measured,
    Skipped(String),
    Failed(String),
}

impl Group {
    /// The iterative model is the first of `models`.
    pub(super) fn new(load: Load, models: &[&'static Model]) -> Group {
        let entrant = |&model| Entrant { model, state: State::of(model), runs: Vec::new() };
        let entrants = models.iter().map(entrant).collect();
        Group { load, entrants, elapsed: Duration::ZERO, foreign: Some(Duration::ZERO) }
    }

    /// How many servers have turns.
    pub(super) fn len(&self) -> usize {
        self.entrants.iter().filter(|entrant| matches!(entrant.state, State::Measured)).count()
    }

    /// One run of each server, in random order.
    pub(super) fn take_turns(
        &mut self,
        round: usize,
        bench: &mut Bench<'_>,
        random: &mut fastrand::Rng,
        mut tell: impl FnMut(&Model),
    ) -> Result<(), Failed> {
        let (began, busy_before, ours_before) =
            (Instant::now(), meter::machine::Times::now().map(meter::machine::Times::busy), ours()?);
        let mut clients = Duration::ZERO;
        let mut order: Vec<_> = (0..self.entrants.len()).collect();
        random.shuffle(&mut order);
        for i in order {
            let entrant = &mut self.entrants[i];
            if matches!(entrant.state, State::Measured) {
                tell(entrant.model);
                clients += entrant.take_turn(round, self.load, bench)?;
            }
        }
        self.elapsed += began.elapsed();
        let ours = ours()? - ours_before + clients;
        let busy = meter::machine::Times::now()
            .map(meter::machine::Times::busy)
            .zip(busy_before)
            .map(|(now, before)| now.saturating_sub(before));
        self.foreign = self.foreign.zip(busy).map(|(sum, busy)| sum + busy.saturating_sub(ours));
        Ok(())
    }

    /// How many processors other programs kept busy.
    pub(super) fn foreign_cpus(&self) -> Option<f64> {
        let foreign = self.foreign.filter(|_| !self.elapsed.is_zero())?;
        Some((foreign.as_secs_f64() / self.elapsed.as_secs_f64() * 100.0).round() / 100.0)
    }

    /// The rows.
    pub(super) fn rows(self) -> Vec<Row> {
        let baseline = self.entrants[0].runs.clone();
        let row = |entrant: Entrant| {
            let Entrant { model, state, runs } = entrant;
            let (status, reason) = match state {
                State::Measured if runs.is_empty() => {
                    (Status::Skipped, Some("interrupted before its first turn".to_owned()))
                }
                State::Measured => (Status::Measured, None),
                State::Skipped(why) => (Status::Skipped, Some(why)),
                State::Failed(why) => (Status::Failed, Some(why)),
            };
            let row = Row::new(self.load, model, status, reason);
            if status == Status::Measured { row.with_figures(runs, &baseline) } else { row }
        };
        self.entrants.into_iter().map(row).collect()
    }
}

impl Entrant {
    /// One run. Returns the CPU time of the clients.
    fn take_turn(&mut self, round: usize, load: Load, bench: &mut Bench<'_>) -> Result<Duration, Failed> {
        match bench.measure(self.model, load) {
            Ok((server_cpu_s, took)) => {
                self.runs.push(Run { round, server_cpu_s, wall_s: took.wall.as_secs_f64() });
                return Ok(took.cpu);
            }
            Err(Failed::Interrupted) => return Err(Failed::Interrupted),
            Err(Failed::Error(error)) => self.state = State::Failed(explain::explain(&error)),
        }
        Ok(Duration::ZERO)
    }
}

impl State {
    /// Whether `model` can be measured here.
    fn of(model: &Model) -> State {
        match (model.waits, (model.why_not)()) {
            (_, Some(why)) => State::Skipped(why),
            (Waits::Spins, None) => State::Skipped(
                "it never sleeps, so its CPU time shows how long the load took, and not what it cost"
                    .to_owned(),
            ),
            (Waits::Sleeps, None) => State::Measured,
        }
    }
}

/// CPU time of this process and of the servers that have ended.
fn ours() -> anyhow::Result<Duration> {
    let time = |time: TimeVal| Duration::from_micros(time.num_microseconds().unsigned_abs());
    let of = |who| getrusage(who).map(|usage| time(usage.user_time()) + time(usage.system_time()));
    Ok(of(UsageWho::RUSAGE_SELF)? + of(UsageWho::RUSAGE_CHILDREN)?)
}
