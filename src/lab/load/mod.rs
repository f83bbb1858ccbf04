//! The load generator: many connections, every byte checked.
//!
//! In an *open* loop requests are sent at times that were decided before ([`schedule`]), and the latency is the
//! response time, from the intended send: a server that stalls for a second has all requests of that second wait, and
//! they are counted as waiting. In a *closed* loop each connection sends a request, waits for the whole answer, and
//! sends the next one at once. Such a load adapts to the server: while the server stalls, no request is sent, and the
//! stall is counted once instead of once for each request that real users would have sent. So its latency compares
//! servers under the same load; it does not predict what users would see. Every output says which of the two it was.
//!
//! [`plan`] is what load to put on whom, [`stream`] is what is sent; an [`engine`] sends and checks it, by epoll or by
//! io_uring; a [`crew`] is several engines, each on its own thread; a [`shape`] is how the load changes over time. With
//! [`slices`] another process orders short slices of load, for the comparison.

pub mod hostile;
mod connection;
pub mod crew;
pub mod diagnosis;
pub mod engine;
pub mod gates;
pub mod hgrm;
pub mod hlog;
pub mod knee;
pub mod liars;
pub mod limits;
pub mod merge;
pub mod plan;
pub mod processors;
pub mod record;
pub mod report;
pub mod schedule;
pub mod self_test;
pub mod server;
pub mod shape;
pub mod slices;
pub mod stream;
mod trouble;
mod wire;

use super::env::Environment;
use super::explain::explain;
pub use super::results::load::LatencyUs;
use crate::stop;
use anyhow::Context;
use crew::{Crew, Interval, Order};
use hostile::HostileClients;
use limits::Ports;
use processors::Processors;
use report::Found;
use shape::Shape;
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::thread;
use std::time::{Duration, SystemTime};
pub use trouble::{Kind, Lost};

/// All that a run is made of.
#[derive(Debug)]
pub struct Run<'a> {
    /// What load to put on whom.
    pub order: &'a Order,
    /// Over time.
    pub shape: &'a Shape,
    /// Warm-up, and time of each rate.
    pub times: (Duration, Duration),
    /// The ports that there are.
    pub ports: Ports,
    /// The hostile clients beside it.
    pub hostile: HostileClients,
    /// The processors that there are.
    pub processors: Processors,
    /// The server's process, if somebody wants to know what it costs.
    pub server: Option<server::Watch>,
    /// When the load is to begin, so that others begin with it; `None`: at once.
    pub start_at: Option<SystemTime>,
}

/// Open the connections, put the load on them when its time has come, and hand over each second of it. A readable `stop`
/// ends it early.
///
/// # Errors
///
/// When no connection can be opened. What happens to connections later is in what was found, and so is why a thread of the
/// generator could not go on.
///
/// # Panics
///
/// When the thread of the hostile clients panics, which would be a mistake in it.
pub fn run<'a>(
    run: Run<'a>,
    stop: BorrowedFd<'_>,
    watch: impl FnMut(&Interval),
) -> anyhow::Result<Found<'a>> {
    let Run { order, shape, times, ports, hostile, processors, server, start_at } = run;
    let (end_hostile, hostile_ends) = stop::pair()?;
    let (plan, asked) = (&order.plan, hostile);
    let overflows = diagnosis::listen_overflows();
    let environment = Environment::here();
    thread::scope(|scope| {
        let mut crew = Crew::open(order, stop, scope)?;
        let (open_time, opening) = (crew.open_time, crew.opening);
        let (unpinned, coarse_timer) = (crew.unpinned.take(), crew.coarse_timer.take());
        if let (Some(at), Some(_)) = (start_at, server) {
            // What the server uses while we wait is not what the load costs.
            crew.wait_for(at - 2 * server::REST, stop)?;
        }
        let mut server = server.map(|watch| server::Observed::before(watch, stop));
        if let Some(at) = start_at {
            crew.wait_for(at, stop)?;
        }
        let is_hostile = hostile.connections() > 0;
        let clients = is_hostile.then(|| {
            let ends = hostile_ends.as_fd();
            let work = move || hostile::run(plan, hostile, ends, stop);
            thread::Builder::new().name("hostile".to_owned()).spawn_scoped(scope, work)
        });
        let clients =
            clients.transpose().context("cannot start the thread of the hostile clients: pthread_create")?;
        let result = shape.run(&mut crew, times, limits::most_requests(order.threads), watch);
        server.iter_mut().for_each(server::Observed::answered);
        end_hostile.stop()?;
        // What was measured is reported, whatever became of the hostile clients.
        let (hostile, hostile_failure) = match clients.map(|thread| thread.join().expect("it does not panic"))
        {
            Some(Ok(outcomes)) => (Some(outcomes), None),
            Some(Err(why)) => (None, Some(format!("the hostile clients ended early: {}", explain(&why)))),
            None => (None, None),
        };
        // A server that does not sleep may do so only as long as it has connections.
        let server = server.map(|server| server.after(crew.answered_in_all, is_hostile, stop));
        let is_lossy = result.as_ref().is_ok_and(|result| !result.last.lost.is_empty());
        let not_accepted = if is_lossy { diagnosis::not_accepted(plan.target) } else { None };
        let ending = crew.end();
        let mut result = result?;
        // The end of the connections is checked as well: what comes after the last answer was not asked for.
        (result.last.lost, result.last.wrong_bytes) = (ending.lost, ending.wrong_bytes);
        result.last.failure = result.last.failure.or(ending.failure).or(hostile_failure);
        let run = diagnosis::Run {
            connections: plan.connections(),
            comes_and_goes: plan.requests_per_conn.is_some(),
            gone: is_gone(plan.target, &result.last.lost),
            not_accepted,
            listen_overflows: diagnosis::listen_overflows()
                .zip(overflows)
                .map_or(0, |(after, before)| after.saturating_sub(before)),
        };
        let diagnosis = diagnosis::of(&mut result.last.lost, run);
        let ends = ending.ends;
        Ok(Found {
            order,
            shape,
            clients: asked,
            processors,
            times,
            open_time,
            opening,
            unpinned,
            coarse_timer,
            ports,
            result,
            ends,
            diagnosis,
            hostile,
            server,
            start_at,
            environment,
        })
    })
}

/// Whether the server, after it ended connections, refuses new ones.
fn is_gone(target: SocketAddr, lost: &[Lost]) -> bool {
    let ended = lost.iter().any(|lost| matches!(lost.kind, Kind::Closed | Kind::Reset | Kind::Refused));
    let refuses = || {
        TcpStream::connect_timeout(&target, Duration::from_secs(1))
            .is_err_and(|why| why.kind() == io::ErrorKind::ConnectionRefused)
    };
    ended && refuses()
}

/// A generator that works less than this share of the time is not what limits the rate.
pub const BUSY_LIMIT: f64 = 0.95;
