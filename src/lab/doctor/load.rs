//! A load on a server, and what was seen of both meanwhile.

use crate::lab::check::server::Server;
use crate::lab::child::Failed;
use crate::lab::load::crew::{Crew, Order, Stage};
use crate::lab::load::diagnosis::listen_overflows;
use crate::lab::load::plan::{EngineKind, Expect, Payload, Plan, Sizes, Wait};
use crate::lab::load::schedule::Arrivals;
use crate::lab::meter::Tree;
use crate::lab::meter::cpu::Totals;
use crate::lab::results::doctor::{How, Kind, Seen};
use crate::lab::stats::Spread;
use crate::stop::Stop;
use anyhow::{Context, anyhow};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

/// Load before the clock starts.
const WARM_UP: Duration = Duration::from_millis(100);

/// How long a load is measured.
const TIME: Duration = Duration::from_millis(500);

/// The same where connections come and go: one that finds the queue full comes a second later.
const TIME_OF_CONNECTIONS: Duration = Duration::from_millis(1200);

/// How long a connection may take to be there, and a request to be answered. Where some are not, a load ends later than that.
const PATIENCE: Duration = Duration::from_secs(5);

/// CPU time that is many ticks of 10 ms.
const ENOUGH: Duration = Duration::from_millis(100);

/// What load is put on whom.
#[derive(Debug, Clone, Copy)]
pub(super) struct Load {
    pub(super) kind: Kind,
    /// The bytes that are sent.
    pub(super) payload: Payload,
    /// What the generator does while there is nothing to do: the same for whatever is compared.
    pub(super) wait: Wait,
    /// What is changed at the generator.
    pub(super) with: Option<How>,
    /// Only half of the connections.
    pub(super) is_half: bool,
}

impl Load {
    fn threads(self) -> usize {
        if self.with == Some(How::TwoGeneratorThreads) { 2 } else { 1 }
    }

    fn order(self, server: &Server) -> Order {
        let (connections, size, depth) = match self.kind {
            Kind::Requests => (64, 64, 1),
            Kind::OneConnection => (1, 64, 1),
            Kind::Connections => (256, 64, 1),
            Kind::LargeMessages => (4, 256 << 10, 1),
            Kind::Pipelined => (64, 64, 8),
        };
        let sources = match self.with {
            Some(How::MoreAddresses) => (2..10).map(|i| IpAddr::V4(Ipv4Addr::new(127, 0, 0, i))).collect(),
            _ => Vec::new(),
        };
        let plan = Plan {
            target: server.addr(),
            active: if self.is_half { connections / 2 } else { connections },
            idle: 0,
            sizes: Sizes::Fixed(size),
            payload: self.payload,
            expect: Expect::Echo,
            seed: 1,
            patience: PATIENCE,
            depth,
            requests_per_conn: (self.kind == Kind::Connections).then_some(1),
            sources,
            wait: self.wait,
        };
        let threads = self.threads();
        Order { plan, engine: EngineKind::Epoll, threads, pin: false, arrivals: Arrivals::Constant }
    }

    /// Put it on this server. When all connections are open, and have been answered once, `lift` is called.
    pub(super) fn put(
        self,
        server: &Server,
        lift: &(dyn Fn() -> anyhow::Result<()> + Sync),
        stop: &Stop,
    ) -> Result<Seen, Failed> {
        let order = self.order(server);
        let time = if self.kind == Kind::Connections { TIME_OF_CONNECTIONS } else { TIME };
        let stage = Stage { warmup: WARM_UP, steps: vec![(None, time)] };
        let (mut looks, mut answers) = (Vec::new(), 0);
        let put = thread::scope(|scope| -> anyhow::Result<_> {
            let mut crew = Crew::open(&order, stop.as_fd(), scope)?;
            lift()?;
            looks.push(Look::at(server));
            let outcome = crew.run(&stage, |_| ())?;
            looks.push(Look::at(server));
            answers = crew.answered_in_all;
            Ok((outcome, crew.end().lost))
        });
        // Whatever a signal interrupted is no failure of the server.
        if stop.is_set()? {
            return Err(Failed::Interrupted);
        }
        let (outcome, lost) = put?;
        if let Some(why) = outcome.failure {
            return Err(anyhow!("the load generator could not go on: {why}").into());
        }
        if outcome.wrong_bytes > 0 || outcome.all_lost {
            let why = lost.first().map_or("", |lost| lost.reason.as_str());
            let hint = lost
                .iter()
                .find_map(|lost| lost.hint.as_deref())
                .map_or_else(String::new, |hint| format!("; {hint}"));
            return Err(anyhow!("the server failed under the load: {why}{hint}").into());
        }
        let record = outcome.records.into_iter().next().context("the load has one step")?;
        if record.counts.completed == 0 {
            return Err(anyhow!("no request was answered within {} ms", time.as_millis()).into());
        }
        let [before, after] = looks.as_slice() else { return Err(anyhow!("a load has two ends").into()) };
        let seconds = record.counts.elapsed_ns as f64 / 1e9 / order.threads as f64;
        let of = |histogram: &hdrhistogram::Histogram<u64>, quantile| {
            (!histogram.is_empty()).then(|| histogram.value_at_quantile(quantile) as f64)
        };
        let mut seen = Seen {
            per_s: record.counts.completed as f64 / seconds,
            p50_us: of(&record.service, 0.5).map(|ns| ns / 1e3),
            generator_busy: outcome.busiest,
            without_port: record.counts.without_port,
            queue_full: after
                .queue_full
                .zip(before.queue_full)
                .map(|(after, before)| after.saturating_sub(before)),
            slowest_connection_ms: of(&record.connect, 1.0).map(|ns| ns / 1e6),
            lost: lost.len() as u64,
            ..Seen::default()
        };
        after.since(before, answers, &mut seen);
        Ok(seen)
    }
}

/// What the kernel tells at a moment.
struct Look {
    at: Instant,
    totals: Option<Totals>,
    ran: BTreeMap<PathBuf, Duration>,
    waited: Duration,
    queue_full: Option<u64>,
}

impl Look {
    fn at(server: &Server) -> Look {
        Look {
            at: Instant::now(),
            totals: Tree::of(server.main().as_raw().cast_unsigned(), true).totals(),
            ran: server.ran_each(),
            waited: server.waited(),
            queue_full: listen_overflows(),
        }
    }

    fn since(&self, before: &Look, answers: u64, seen: &mut Seen) {
        let time = self.at.duration_since(before.at).as_secs_f64();
        let share = |spent: Duration| spent.as_secs_f64() / time;
        let of_one = |(task, ran): (&PathBuf, &Duration)| {
            ran.saturating_sub(before.ran.get(task).copied().unwrap_or_default())
        };
        let of_each: Vec<_> = self.ran.iter().map(of_one).collect();
        seen.busiest_thread = of_each.iter().max().copied().map(share);
        if let Some((after, before)) = self.totals.zip(before.totals) {
            let totals = after.since(before);
            let all = totals.user + totals.system;
            // One counts in ticks, of which each of many processes loses a part; the other does not know threads that have ended.
            seen.processors = Some(share(all.max(of_each.iter().sum())));
            seen.in_kernel = (all >= ENOUGH).then(|| totals.system.as_secs_f64() / all.as_secs_f64());
            seen.waits_per_answer = (answers > 0).then(|| totals.voluntary as f64 / answers as f64);
        }
        // With such statistics each thread that runs has some time.
        if !self.ran.is_empty() {
            seen.kept_waiting = Some(share(self.waited.saturating_sub(before.waited)));
        }
    }
}

/// The median of each figure.
pub(super) fn median_of(turns: &[Seen]) -> Seen {
    let of_known = |figure: fn(&Seen) -> Option<f64>| {
        Spread::quartiles(&turns.iter().filter_map(figure).collect::<Vec<_>>()).map(|known| known.median)
    };
    Seen {
        per_s: of_known(|seen| Some(seen.per_s)).unwrap_or_default(),
        p50_us: of_known(|seen| seen.p50_us),
        generator_busy: of_known(|seen| Some(seen.generator_busy)).unwrap_or_default(),
        processors: of_known(|seen| seen.processors),
        busiest_thread: of_known(|seen| seen.busiest_thread),
        in_kernel: of_known(|seen| seen.in_kernel),
        waits_per_answer: of_known(|seen| seen.waits_per_answer),
        kept_waiting: of_known(|seen| seen.kept_waiting),
        without_port: turns.iter().map(|seen| seen.without_port).max().unwrap_or_default(),
        queue_full: turns.iter().filter_map(|seen| seen.queue_full).max(),
        slowest_connection_ms: turns.iter().filter_map(|seen| seen.slowest_connection_ms).reduce(f64::max),
        lost: turns.iter().map(|seen| seen.lost).max().unwrap_or_default(),
    }
}
