//! The server designs of UNP, volume 1, chapter 30, under the load of the book, with the models of today beside them.
//!
//! The book measures *process control*: the CPU time that a design needs to create, schedule, wake and lock its processes
//! or threads. It is the CPU time of the server with its children under a load, less that of the iterative server under the
//! same load, which has no process control. Five client processes open 500 connections each, one after another, and in each
//! of them they ask for 4000 bytes.
//!
//! CPU time is what getrusage(2) tells in the server itself when it ends, with the children that it has collected. Linux
//! measures the sum of user and system time to the nanosecond; only how it is divided among the two is a matter of ticks. So
//! the sum is used. It includes the start of the server, as in the book: the creation of all its workers.
//!
//! Everything runs on one processor. What a design pays for switching between its processes is then what is seen. On several processors the CPU time of a server depends far more on whether a wake-up crosses from one
//! to another, and finds that one asleep, which is chance.
//!
//! All figures of a round belong together: in each round every server runs once, started afresh, in random order, the
//! iterative one at a random place among them, and its CPU time is taken from that of the others *of this round*.

mod answer;
mod bench;
mod client;
mod crew;
pub mod designs;
mod group;
mod row;
mod text;

pub use answer::as_many_bytes;
pub use client::follow;

use super::Status;
use super::child::Failed;
use super::env::Environment;
use super::load::limits;
use super::meter;
use super::units::{count, of};
use crate::model::{self, Model};
use crate::stop::Stop;
use crate::sys::affinity;
use anyhow::{Context, ensure};
use bench::Bench;
use designs::BASELINE;
use group::Group;
use row::Row;
use serde::{Deserialize, Serialize, Serializer};
use std::num::NonZeroUsize;
use std::path::PathBuf;

/// Client processes, as in the book.
pub const CLIENTS: usize = 5;

/// Workers, as in the book.
pub const WORKERS: NonZeroUsize = NonZeroUsize::new(15).unwrap();

/// What the clients do in each connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Load {
    /// Ask once, for 4000 bytes.
    Book,
    /// Send a message and wait for its echo, 10 times.
    Echo,
}

impl Load {
    /// Every load.
    pub const ALL: [Load; 2] = [Load::Book, Load::Echo];
    /// Bytes of the answer under [`Load::Book`].
    const ANSWER: usize = 4000;
    /// Messages in each connection under [`Load::Echo`]: enough that serving a connection costs more than opening it.
    const MESSAGES: usize = 10;
    /// Bytes of each of them.
    const MESSAGE: usize = 64;

    /// As in the result.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Load::Book => "book",
            Load::Echo => "echo",
        }
    }

    /// One line.
    fn summary(self) -> String {
        match self {
            Load::Book => format!("each connection asks once, for {} bytes", Load::ANSWER),
            Load::Echo => {
                format!(
                    "each connection sends {} bytes {} times, and gets them back",
                    Load::MESSAGE,
                    Load::MESSAGES
                )
            }
        }
    }

    /// How a server must answer: the value of `--reply`.
    fn reply(self) -> &'static str {
        match self {
            Load::Book => "bytes",
            Load::Echo => "echo",
        }
    }

    /// Bytes that a server sends in each connection.
    fn bytes_out(self) -> usize {
        match self {
            Load::Book => Load::ANSWER,
            Load::Echo => Load::MESSAGE * Load::MESSAGES,
        }
    }
}

/// What to measure.
#[derive(Debug, Clone, Serialize)]
pub struct Plan {
    /// Models. The iterative one is run beside them in any case.
    #[serde(serialize_with = "names")]
    pub models: Vec<&'static Model>,
    /// How often each is measured under each load.
    pub rounds: usize,
    /// Connections of each client.
    pub connections: usize,
    /// Processes or threads of the models that have workers.
    pub workers: NonZeroUsize,
    /// The processor that everything runs on; `None` for any.
    pub cpu: Option<usize>,
    /// Of the order of turns, and of the bytes of messages.
    pub seed: u64,
    /// This program, which is started again for each server and client.
    #[serde(skip)]
    pub program: PathBuf,
}

fn names<S: Serializer>(models: &[&'static Model], to: S) -> Result<S::Ok, S::Error> {
    to.collect_seq(models.iter().map(|model| model.name))
}

/// The result.
#[derive(Debug, Clone, Serialize)]
pub struct Chapter30 {
    schema: &'static str,
    schema_version: u32,
    /// Interrupted before its end.
    partial: bool,
    environment: Environment,
    clients: usize,
    plan: Plan,
    rows: Vec<Row>,
    /// What could not be measured here, a sentence each.
    not_known: Vec<String>,
    /// By load: how many processors other programs kept busy meanwhile; null where that is not known.
    foreign_cpus: serde_json::Map<String, serde_json::Value>,
}

/// Is told of the progress: `done` of `all` runs are done, and a model is being measured under a load.
pub trait Watch {
    /// Before each run.
    fn progress(&mut self, load: Load, model: &Model, done: usize, all: usize);
}

/// Check that this machine has enough ports for the plan.
///
/// # Errors
///
/// When it has not: with the arithmetic and the remedy.
pub fn check_ports(plan: &Plan) -> anyhow::Result<()> {
    let ports = limits::local_ports();
    ensure!(
        plan.connections <= ports,
        "a client that opens {} needs as many local ports, because each is in TIME_WAIT afterwards, and its address has {} \
         (net.ipv4.ip_local_port_range): ask for fewer, or give a wider range",
        of(plan.connections as u64, "connection"),
        count(ports as u64)
    );
    Ok(())
}

/// Measure. A readable `stop` ends it early, with what there is until then.
///
/// # Errors
///
/// When the machine does not let us measure at all. What goes wrong with a model is in its rows.
pub fn run(plan: Plan, stop: &Stop, watch: &mut dyn Watch) -> anyhow::Result<Chapter30> {
    let environment = Environment::here();
    let baseline =
        model::find(BASELINE).context("the iterative model is missing from the table of models")?;
    let others = plan.models.iter().copied().filter(|model| model.name != BASELINE);
    let models: Vec<_> = std::iter::once(baseline).chain(others).collect();
    let mut groups = Load::ALL.map(|load| Group::new(load, &models));
    let mut measure = || take_rounds(&mut Bench::new(&plan, stop), &mut groups, watch);
    let (outcome, not_known) = match plan.cpu.map(|cpu| affinity::while_pinned(cpu, &mut measure)) {
        Some(Ok(outcome)) => (outcome, None),
        Some(Err(why)) => (measure(), Some(not_pinned(&why))),
        None => (measure(), None),
    };
    let partial = match outcome {
        Ok(()) => false,
        Err(Failed::Interrupted) => true,
        Err(Failed::Error(error)) => return Err(error),
    };
    let (schema, schema_version) = ("io-models/unp30", 1);
    let foreign_cpus = groups.iter().map(|group| (group.load.name().to_owned(), group.foreign_cpus().into()));
    Ok(Chapter30 {
        schema,
        schema_version,
        partial,
        environment,
        clients: CLIENTS,
        not_known: not_known.into_iter().collect(),
        foreign_cpus: foreign_cpus.collect(),
        rows: groups.into_iter().flat_map(Group::rows).collect(),
        plan,
    })
}

fn not_pinned(why: &crate::Error) -> String {
    format!(
        "servers and clients are not pinned to one processor, so CPU times vary more ({why}; --no-pin asks for that)"
    )
}

/// The processor to measure on: the last that this process may use, because interrupts tend to come to the first.
#[must_use]
pub fn choose_cpu() -> Option<usize> {
    affinity::allowed().ok()?.last().copied()
}

fn take_rounds(bench: &mut Bench<'_>, groups: &mut [Group], watch: &mut dyn Watch) -> Result<(), Failed> {
    let mut random = fastrand::Rng::with_seed(bench.plan.seed);
    let all = bench.plan.rounds * groups.iter().map(Group::len).sum::<usize>();
    let mut done = 0..;
    for round in 0..bench.plan.rounds {
        for group in &mut *groups {
            let load = group.load;
            let tell = |model: &Model| watch.progress(load, model, done.next().unwrap_or(all), all);
            group.take_turns(round, bench, &mut random, tell)?;
        }
    }
    Ok(())
}

impl Chapter30 {
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
        let parts = self.foreign_cpus.iter().map(|(load, cpus)| (load.as_str(), cpus.as_f64()));
        meter::machine::disturbance(parts, self.environment.cpus())
    }

    /// One line on the rows that failed; `None` when none did.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        let mut failed = self.rows.iter().filter(|row| row.status == Status::Failed);
        let first = failed.next()?;
        let why = first.reason.as_deref().unwrap_or("for no reason given");
        let (model, load) = (first.model, first.load.name());
        Some(match failed.count() {
            0 => format!("{model} under {load} failed: {why}"),
            more => format!("{model} under {load} failed: {why}; and {more} more rows"),
        })
    }
}
