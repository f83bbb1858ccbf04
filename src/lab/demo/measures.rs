//! How the programs of each demo are measured.

use super::bench::{At, Running};
use crate::lab::check::Step;
use crate::lab::results::demo::{Drawn, Run};
use std::io::Write;
use std::time::Duration;

/// A run with a bar of these parts.
fn bar<const N: usize>(number: f64, parts: [(&str, f64); N]) -> Run {
    let parts = parts.map(|(label, value)| (label.to_owned(), value)).to_vec();
    Run { number, figures: [].into(), drawn: Drawn::Parts(parts) }
}

/// A run with a line over time, whose number is that of its last point.
fn over_time(points: Vec<(f64, f64)>) -> Run {
    let number = points.last().map_or(0.0, |&(_, y)| y);
    Run { number, figures: [].into(), drawn: Drawn::OverTime(points) }
}

impl Run {
    /// The same with one figure more.
    fn with(mut self, label: &str, value: f64) -> Run {
        self.figures.insert(label.to_owned(), value);
        self
    }
}

/// For so long nothing is asked of a server that should sleep.
const SECOND: Duration = Duration::from_secs(1);

/// How often the server was woken while nothing was asked of it, for a second.
fn waits_while_idle(server: &Running<'_>) -> Step<Run> {
    server.until_it_waits()?;
    let (before, cpu) = (server.calls()?.waits, server.cpu_ms());
    let points = server.watch(SECOND, || Ok((server.calls()?.waits - before) as f64))?;
    Ok(over_time(points).with("cpu", server.cpu_ms() - cpu))
}

/// Bytes that come back of a request that is there at once.
pub(super) fn one_read(at: &At<'_>) -> Step<Run> {
    const REQUEST: [u8; 8192] = [b'x'; 8192];
    let server = at.start()?;
    let mut client = server.connect_and_ask()?;
    server.while_stopped(|| {
        client.write_all(&REQUEST)?;
        server.until_acknowledged(&client)
    })?;
    let answered = server.all_that_comes(&mut client)?.len() as f64;
    let left = f64::from(server.unread(&client)?);
    Ok(bar(answered, [("answered", answered), ("left", left)]))
}

/// How often a wait returns while a client is silent.
pub(super) fn epollout(at: &At<'_>) -> Step<Run> {
    let server = at.start()?;
    let _silent = server.connect_and_ask()?;
    waits_while_idle(&server)
}
