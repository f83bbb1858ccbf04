//! The turns: how the entrants of a point are started, measured in short slices, and started again.

use super::entrant::Entrant;
use super::figures::{Measurements, judge, set_as_baseline, slice_of, widest};
use super::fit::Point;
use super::pair::{Measured, Pair, Setup, clients_to_check};
use super::{FEWEST_STARTS, MOST_STARTS, Watch};
use crate::lab::Status;
use crate::lab::child::Failed;
use crate::lab::explain;
use crate::lab::meter::cpu;
use crate::lab::meter::machine::Times;
use crate::lab::results::compare::{Load, Machine, Plan, Rate, Row, Slice};
use crate::lab::stats::Spread;
use std::time::{Duration, Instant};

/// So many entrants are measured beside one slice of the baseline.
const BESIDE_BASELINE: usize = 3;

/// Load at the start of a slice, which is not measured: it fills the caches and lets batches form.
const WARMUP: Duration = Duration::from_millis(5);

/// Load after the connections have been opened, which is not measured: the server touches its memory, and TCP widens its
/// windows.
const FIRST: Duration = Duration::from_millis(10);

/// Memory is measured in the first starts. It hardly differs from one to the next, and takes long to read where a server has
/// a process for each client.
const STARTS_FOR_MEMORY: usize = 2;

/// Slices of the baseline in a closed loop, from which shares of its rate are taken.
const TO_CALIBRATE: usize = 5;

/// All entrants at one point.
#[derive(Debug)]
pub(super) struct Field<'a> {
    setup: &'a Setup<'a>,
    plan: &'a Plan,
    entrants: &'a [Entrant],
    pub(super) load: Load,
    slice: Duration,
    lanes: Vec<Lane>,
    /// CPU time of servers, generators and this process while slices were measured; `None` when it is not known.
    ours: Option<Duration>,
    machine: Option<Times>,
    elapsed: Duration,
}

/// One entrant at this point.
#[derive(Debug)]
struct Lane {
    state: State,
    measured: Measurements,
    /// Why it is not started again although its intervals are not as narrow as was asked for.
    imprecise: Option<String>,
}

#[derive(Debug)]
enum State {
    /// It takes part in the next start.
    Runs,
    /// It is not started again: its intervals are as narrow as was asked for, or will not be.
    Done,
    Skipped(String),
    Failed(String),
}

/// An entrant of one start.
struct Running {
    index: usize,
    pair: Pair,
    slices: Vec<Slice>,
    requests: u64,
}

impl<'a> Field<'a> {
    pub(super) fn new(
        setup: &'a Setup<'a>,
        plan: &'a Plan,
        entrants: &'a [Entrant],
        point: Point,
        slice: Duration,
    ) -> Field<'a> {
        let lane = |unfit: Option<String>| Lane {
            state: unfit.map_or(State::Runs, State::Skipped),
            measured: Measurements::default(),
            imprecise: None,
        };
        let lanes = point.unfit.into_iter().map(lane).collect();
        let ours = Some(Duration::ZERO);
        let (machine, elapsed) = (Some(Times::default()), Duration::ZERO);
        Field { setup, plan, entrants, load: point.load, slice, lanes, ours, machine, elapsed }
    }

    /// Start all entrants and measure them, as often as the plan says, or as the precision that was asked for needs.
    ///
    /// # Errors
    ///
    /// [`Failed::Interrupted`] when a stop came. What was measured until then stays.
    pub(super) fn run(
        &mut self,
        checked: &mut [usize],
        random: &mut fastrand::Rng,
        not_known: &mut Vec<String>,
        watch: &mut dyn Watch,
    ) -> Result<(), Failed> {
        for start in 0.. {
            if start >= self.plan.starts && !self.needs_another(start) {
                break;
            }
            // Without a baseline there are no ratios, and more starts would give none.
            let runs = |lane: &Lane| matches!(lane.state, State::Runs);
            let is_baseline = |i: &usize| self.entrants[*i].baseline;
            let baseline_runs = (0..self.lanes.len()).find(is_baseline).is_some_and(|i| runs(&self.lanes[i]));
            if start > 0 && !baseline_runs || !self.lanes.iter().any(runs) {
                break;
            }
            let mut running = Vec::new();
            let outcome = self
                .start_all(&mut running, checked, random, not_known, watch, start)
                .and_then(|()| self.calibrate(&mut running))
                .and_then(|()| self.measure(&mut running, random, watch, start));
            self.end_all(running, not_known);
            outcome?;
        }
        Ok(())
    }

    /// Whether some intervals are wider than was asked for, and another start may narrow them. Entrants whose intervals are
    /// narrow take no part in it; the baseline always does.
    fn needs_another(&mut self, starts: usize) -> bool {
        let Some(precision) = self.plan.precision else { return false };
        let widths: Vec<_> = self.rows().iter().map(|row| row.figures.as_ref().and_then(widest)).collect();
        let mut is_needed = false;
        for ((lane, entrant), width) in self.lanes.iter_mut().zip(self.entrants).zip(widths) {
            if !matches!(lane.state, State::Runs) || entrant.baseline {
                continue;
            }
            match need(width, starts, precision) {
                Need::Another => is_needed = true,
                Need::Nothing => lane.state = State::Done,
                Need::GiveUp(why) => (lane.state, lane.imprecise) = (State::Done, Some(why)),
            }
        }
        is_needed
    }

    /// Start all entrants in random order: what is started first may get better memory.
    fn start_all(
        &mut self,
        running: &mut Vec<Running>,
        checked: &mut [usize],
        random: &mut fastrand::Rng,
        not_known: &mut Vec<String>,
        watch: &mut dyn Watch,
        start: usize,
    ) -> Result<(), Failed> {
        let mut order: Vec<usize> = (0..self.lanes.len()).collect();
        random.shuffle(&mut order);
        for index in order {
            let (lane, entrant) = (&mut self.lanes[index], &self.entrants[index]);
            if !matches!(lane.state, State::Runs) {
                continue;
            }
            watch.progress(&format!("starting {}", entrant.label()), start * self.plan.slices);
            let seed = random.u64(..);
            let mut begin = || {
                let measures_memory = start < STARTS_FOR_MEMORY;
                let mut pair =
                    Pair::start(self.setup, entrant, &self.load, seed, checked[index], measures_memory)?;
                checked[index] = checked[index].max(clients_to_check(&self.load));
                pair.warm_up(FIRST, self.setup.stop)?;
                Ok(pair)
            };
            // Try once more: another program may have taken its port. In the first start an error is most likely that of
            // the server, and waiting for one that hangs would take twice as long.
            let begun = match begin() {
                Err(Failed::Error(_)) if start > 0 => begin(),
                begun => begun,
            };
            match begun {
                Ok(pair) => {
                    pair.not_known().iter().for_each(|what| super::learn(not_known, what));
                    running.push(Running { index, pair, slices: Vec::new(), requests: 0 });
                }
                Err(Failed::Error(error)) => lane.state = State::Failed(explain::explain(&error)),
                Err(Failed::Interrupted) => return Err(Failed::Interrupted),
            }
        }
        Ok(())
    }

    /// Measure what a share of the baseline's rate is, the first time.
    fn calibrate(&mut self, running: &mut Vec<Running>) -> Result<(), Failed> {
        let share = match self.load.rate {
            Some(Rate::OfBaseline(share)) if self.load.rate_per_s.is_none() => share,
            Some(Rate::PerSecond(rate)) => {
                self.load.rate_per_s = Some(rate);
                return Ok(());
            }
            _ => return Ok(()),
        };
        let Some(at) = running.iter().position(|entry| self.entrants[entry.index].baseline) else {
            return Ok(());
        };
        let mut rates = Vec::new();
        for _ in 0..TO_CALIBRATE {
            let pair = &mut running[at].pair;
            let why = match pair.slice((WARMUP, self.slice), None, false, self.setup.stop) {
                Ok(Measured { slice, .. }) if slice.lost == 0 => {
                    rates.push(slice.answered as f64 / slice.seconds);
                    continue;
                }
                Ok(_) => pair.reason_of_loss(),
                Err(Failed::Error(error)) => pair.explain(error),
                Err(Failed::Interrupted) => return Err(Failed::Interrupted),
            };
            self.lanes[running[at].index].state = State::Failed(why);
            running.swap_remove(at);
            return Ok(());
        }
        self.load.rate_per_s = Spread::quartiles(&rates).map(|rates| rates.median * share);
        Ok(())
    }

    /// Take turns, and account for what the machine did meanwhile, also when that ends early.
    fn measure(
        &mut self,
        running: &mut Vec<Running>,
        random: &mut fastrand::Rng,
        watch: &mut dyn Watch,
        start: usize,
    ) -> Result<(), Failed> {
        if self.load.rate.is_some() && self.load.rate_per_s.is_none() {
            for lane in self.lanes.iter_mut().filter(|lane| matches!(lane.state, State::Runs)) {
                lane.state =
                    State::Failed("the rate of the baseline is not known, because it failed".to_owned());
            }
            return Ok(());
        }
        let (began, machine, own) = (Instant::now(), Times::now(), cpu::own()?);
        let outcome = self.take_turns(running, random, watch, start);
        let own = cpu::own()?.saturating_sub(own);
        // What the pair used whose slice was interrupted is not known.
        self.ours = self.ours.filter(|_| outcome.is_ok()).map(|ours| ours + own);
        self.elapsed += began.elapsed();
        let machine = machine.zip(Times::now()).map(|(before, now)| now.since(before));
        self.machine = self.machine.zip(machine).map(|(sum, machine)| sum.plus(machine));
        outcome
    }

    /// In each round one slice of every entrant, in random order, and one of the baseline among each three of them, at a random
    /// place.
    fn take_turns(
        &mut self,
        running: &mut Vec<Running>,
        random: &mut fastrand::Rng,
        watch: &mut dyn Watch,
        start: usize,
    ) -> Result<(), Failed> {
        let mut turn = 0;
        for round in 0..self.plan.slices {
            watch.progress("measuring", start * self.plan.slices + round);
            let is_baseline = |entry: &Running| self.entrants[entry.index].baseline;
            let baseline = running.iter().find(|entry| is_baseline(entry)).map(|entry| entry.index);
            let mut others: Vec<usize> =
                running.iter().filter(|entry| !is_baseline(entry)).map(|entry| entry.index).collect();
            random.shuffle(&mut others);
            for group in others.chunks(BESIDE_BASELINE) {
                turn += 1;
                let mut group: Vec<usize> = group.iter().copied().chain(baseline).collect();
                random.shuffle(&mut group);
                for index in group {
                    self.take_turn(running, index, turn)?;
                }
            }
        }
        Ok(())
    }

    /// One slice of the entrant with that number, if it still runs.
    fn take_turn(&mut self, running: &mut Vec<Running>, index: usize, turn: usize) -> Result<(), Failed> {
        let Some(at) = running.iter().position(|entry| entry.index == index) else { return Ok(()) };
        let Running { pair, slices, requests, .. } = &mut running[at];
        let times = (WARMUP, self.slice);
        let why = match pair.slice(times, self.load.rate_per_s, true, self.setup.stop) {
            Ok(Measured { slice, server_cpu }) if slice.lost == 0 => {
                let generator = Duration::from_secs_f64(slice.cpu_in_all_s);
                self.ours = self.ours.zip(server_cpu).map(|(sum, server)| sum + server + generator);
                *requests += slice.answered_in_all;
                slices.push(slice_of(turn, &slice, server_cpu));
                return Ok(());
            }
            Ok(_) => pair.reason_of_loss(),
            Err(Failed::Error(error)) => pair.explain(error),
            Err(Failed::Interrupted) => return Err(Failed::Interrupted),
        };
        // What its processes used is not known.
        self.ours = None;
        self.lanes[index].state = State::Failed(why);
        running.swap_remove(at);
        Ok(())
    }

    /// Whether slices were measured.
    pub(super) fn has_measured(&self) -> bool {
        !self.elapsed.is_zero()
    }

    fn end_all(&mut self, running: Vec<Running>, not_known: &mut Vec<String>) {
        for Running { index, pair, slices, requests } in running {
            pair.not_known().iter().for_each(|what| super::learn(not_known, what));
            let lane = &mut self.lanes[index];
            let ended = pair.end().and_then(|ending| {
                if slices.is_empty() {
                    return Ok(()); // Interrupted before its first turn.
                }
                anyhow::ensure!(
                    slices.iter().any(|slice| slice.answered > 0),
                    "no answer came while the clock ran: measure longer slices (--slice), or send less (-s)"
                );
                lane.measured.add(slices, requests, &self.load, ending)
            });
            if let Err(error) = ended {
                lane.state = State::Failed(explain::explain(&error));
            }
        }
    }

    /// What else went on in the machine.
    pub(super) fn machine(&self, interrupts_apart: bool) -> Machine {
        let cpus = |time: Duration| {
            let seconds = self.elapsed.as_secs_f64();
            (seconds > 0.0).then(|| (time.as_secs_f64() / seconds * 100.0).round() / 100.0)
        };
        let foreign = self.machine.zip(self.ours).and_then(|(machine, ours)| {
            // Where the kernel accounts interrupts apart, those of our load are not in the time of our processes.
            let busy = if interrupts_apart { machine.processes } else { machine.busy() };
            cpus(busy.saturating_sub(ours))
        });
        Machine {
            foreign_cpus: foreign,
            stolen_cpus: self.machine.and_then(|machine| cpus(machine.stolen)),
            softirq_cpus: self.machine.and_then(|machine| cpus(machine.softirq)),
        }
    }

    /// The entrants of which some slices were longer than asked, until their first answer.
    pub(super) fn extended(&self) -> impl Iterator<Item = String> {
        let was = |(lane, _): &(&Lane, &Entrant)| {
            lane.measured.starts.iter().flat_map(|start| &start.slices).any(|slice| slice.extended)
        };
        self.lanes.iter().zip(self.entrants).filter(was).map(|(_, entrant)| entrant.label())
    }

    /// The rows, judged.
    pub(super) fn rows(&self) -> Vec<Row> {
        let figures: Vec<_> = self.lanes.iter().map(|lane| lane.measured.figures(&self.load)).collect();
        let baseline = self
            .entrants
            .iter()
            .position(|entrant| entrant.baseline)
            // A baseline that failed is none: what it did before that was not in order either.
            .filter(|&i| !matches!(self.lanes[i].state, State::Failed(_)))
            .and_then(|i| Some((figures[i].clone()?, &self.lanes[i].measured.starts)));
        let row = |(i, (lane, entrant)): (usize, (&Lane, &Entrant))| {
            let row = |status, reason| entrant.row(status, reason);
            let mut figures = match (&lane.state, figures[i].clone()) {
                (State::Failed(why), _) => {
                    let starts = lane.measured.starts.clone();
                    return Row { starts, ..row(Status::Failed, Some(why.clone())) };
                }
                (State::Skipped(why), _) => return row(Status::Skipped, Some(why.clone())),
                (_, None) => {
                    return row(Status::Skipped, Some("interrupted before its first slice".to_owned()));
                }
                (_, Some(figures)) => figures,
            };
            match &baseline {
                _ if entrant.baseline => set_as_baseline(&mut figures, &self.load),
                None => figures.not_judged = Some("no baseline to judge by".to_owned()),
                Some((of_baseline, starts)) => {
                    judge((&mut figures, &lane.measured.starts), (of_baseline, starts), &self.load);
                }
            }
            figures.imprecise = lane.imprecise.clone();
            Row {
                figures: Some(figures),
                starts: lane.measured.starts.clone(),
                histogram: lane.measured.histogram(),
                ..row(Status::Measured, None)
            }
        };
        self.lanes.iter().zip(self.entrants).enumerate().map(row).collect()
    }
}

/// What an entrant needs for the precision that was asked for.
#[derive(Debug, PartialEq)]
enum Need {
    /// Another start.
    Another,
    /// It has it.
    Nothing,
    /// It will not have it.
    GiveUp(String),
}

/// What is needed after so many starts; `width` is that of its widest interval, if it has any.
fn need(width: Option<f64>, starts: usize, precision: f64) -> Need {
    match width {
        _ if starts < FEWEST_STARTS => Need::Another,
        Some(width) if width <= precision => Need::Nothing,
        Some(width) if starts >= MOST_STARTS => Need::GiveUp(format!(
            "after {starts} starts the interval is still {:.1} % wide on one side, and {:.1} % was asked for: the machine is too \
             noisy, or the server differs from start to start",
            width * 100.0,
            precision * 100.0
        )),
        Some(_) => Need::Another,
        None => Need::GiveUp(format!(
            "after {starts} starts there is no interval to be narrow: the CPU time is not known, and the rate or the latency is \
             not compared"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_narrow_interval_of_few_starts_is_not_enough() {
        assert_eq!(need(Some(0.001), FEWEST_STARTS - 1, 0.01), Need::Another);
        assert_eq!(need(None, FEWEST_STARTS - 1, 0.01), Need::Another);
        assert_eq!(need(Some(0.001), FEWEST_STARTS, 0.01), Need::Nothing);
    }

    #[test]
    fn a_wide_interval_needs_another_start_until_there_were_too_many() {
        assert_eq!(need(Some(0.02), FEWEST_STARTS, 0.01), Need::Another);
        assert_eq!(need(Some(0.02), MOST_STARTS - 1, 0.01), Need::Another);
        let Need::GiveUp(why) = need(Some(0.02), MOST_STARTS, 0.01) else { panic!("it goes on") };
        assert!(
            why.contains("after 60 starts the interval is still 2.0 % wide on one side, and 1.0 %"),
            "{why}"
        );
        assert_eq!(need(Some(0.01), MOST_STARTS, 0.01), Need::Nothing, "as narrow as was asked for");
    }

    #[test]
    fn a_row_without_any_interval_says_so() {
        let Need::GiveUp(why) = need(None, FEWEST_STARTS, 0.01) else { panic!("it counts as precise") };
        assert!(why.contains("no interval to be narrow"), "{why}");
    }
}
