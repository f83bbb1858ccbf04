//! One run: a server, started afresh, under a load.

use super::client::Order;
use super::crew::{Crew, Took};
use super::{CLIENTS, Load, Plan};
use crate::lab::child::{self, Failed, Process};
use crate::model::Model;
use crate::stop::Stop;
use crate::sys::signal::Signal;
use anyhow::ensure;
use serde::Deserialize;

/// Where servers are measured.
#[derive(Debug)]
pub(super) struct Bench<'a> {
    pub(super) plan: &'a Plan,
    stop: &'a Stop,
    /// `None` before the first run, and after one that failed: its clients may still be busy with it.
    crew: Option<Crew>,
    /// Orders that the clients have had.
    orders: u32,
}

/// What a server says of itself when it ends: the part of its report that is needed here.
#[derive(Debug, Clone, Copy, Deserialize)]
struct Report {
    connections: u64,
    bytes_out: u64,
    user_cpu_s: f64,
    system_cpu_s: f64,
}

impl<'a> Bench<'a> {
    pub(super) fn new(plan: &'a Plan, stop: &'a Stop) -> Bench<'a> {
        Bench { plan, stop, crew: None, orders: 0 }
    }

    /// Start a server of `model`, put the load on it, and end it. Returns its CPU time in seconds, and what the load took.
    pub(super) fn measure(&mut self, model: &Model, load: Load) -> Result<(f64, Took), Failed> {
        let Plan { ref program, connections, workers, seed, .. } = *self.plan;
        let mut command = child::serve(program, model.name, model.has_workers().then_some(workers.get()));
        command.args(["--reply", load.reply()]);
        let mut process = Process::start(&mut command)?;
        let (said, server) = process.listens(self.stop)?;
        let mut crew = self.crew.take().map_or_else(|| Crew::start(program), Ok)?;
        let order = Order { server, source: server.ip(), connections, load, seed };
        self.orders += 1;
        let took = crew.carry_out(self.orders, order, self.stop)?;
        self.crew = Some(crew);
        process.signal(Signal::SIGTERM)?;
        let report: Report = process.report(said, Some(self.stop))?;
        report.check(CLIENTS * connections, load)?;
        Ok((report.user_cpu_s + report.system_cpu_s, took))
    }
}

impl Report {
    /// The clients have seen every byte. The server must know of them, or its CPU time does not include them either.
    fn check(&self, connections: usize, load: Load) -> anyhow::Result<()> {
        let expected = (connections as u64, (connections * load.bytes_out()) as u64);
        let told = (self.connections, self.bytes_out);
        ensure!(
            told == expected,
            "the server tells of {} connections and {} bytes, but there were {} and {}",
            told.0,
            told.1,
            expected.0,
            expected.1
        );
        Ok(())
    }
}
