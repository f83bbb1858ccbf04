//! What `io-models load` writes beside its report, while the load is on: `--ndjson`, `--hlog`; and after: `--hgrm`.

use super::Args;
use crate::failure::Failure;
use crate::output::{Output, Outputs, warn};
use io_models::lab::load::crew::Interval;
use io_models::lab::load::hlog::Log;
use io_models::lab::load::record::Record;
use io_models::lab::load::shape::Shape;
use io_models::lab::load::{LatencyUs, hgrm};
use io_models::lab::results::load::{Mode, Plan};
use serde_json::json;
use std::io::{self, Write};
use std::time::{Duration, SystemTime};

/// The files that were asked for.
pub(super) struct Files {
    ndjson: Option<Output>,
    hlog: Option<Log<Output>>,
    hgrm: Option<Output>,
    open_loop: bool,
    /// Intervals of the stages before this one.
    before: Duration,
    last: Duration,
    broken: Vec<Failure>,
}

impl Files {
    /// Open them before anything is measured.
    pub(super) fn open(outputs: &mut Outputs, args: &Args, plan: &Plan) -> Result<Files, Failure> {
        let ndjson = outputs.optional("--ndjson", args.ndjson.clone())?;
        let hgrm = outputs.optional("--hgrm", args.hgrm.clone())?;
        let hlog = match outputs.optional("--hlog", args.hlog.clone())? {
            None => None,
            Some(file) => {
                let name = file.name().to_owned();
                let log = Log::create(file, &json!(plan), args.start_at.unwrap_or_else(SystemTime::now));
                Some(log.map_err(|why| Failure::output(&name, &why))?)
            }
        };
        let zero = Duration::ZERO;
        let open_loop = plan.mode == Mode::Open;
        Ok(Files { ndjson, hlog, hgrm, open_loop, before: zero, last: zero, broken: Vec::new() })
    }

    /// Write what a second gave. A file that cannot be written ends neither the load nor the other file; it is told now
    /// and at the end.
    pub(super) fn interval(&mut self, interval: &Interval) {
        if interval.from < self.last {
            // Another stage, whose clock began anew.
            self.before += self.last;
        }
        self.last = interval.to;
        let before = self.before;
        if let Some(file) = &mut self.ndjson {
            let written = file.write_all(format!("{}\n", object(interval, before)).as_bytes());
            let name = file.name().to_owned();
            self.broken.extend(keep_if_whole(&mut self.ndjson, &name, written));
        }
        if let Some(log) = &mut self.hlog {
            let written = write_log(log, interval, before, self.open_loop);
            let name = log.get_ref().name().to_owned();
            self.broken.extend(keep_if_whole(&mut self.hlog, &name, written));
        }
    }

    /// The distribution of all of it, if it was asked for.
    pub(super) fn distribution(&self, total: &Record, shape: &Shape) -> Option<String> {
        self.hgrm.as_ref()?;
        let response = total.response_of_all();
        Some(hgrm::text(if shape.is_open() { &response } else { &total.service }, 1e6))
    }

    /// Write the distribution. Returns what became of it, and what went wrong before.
    pub(super) fn finish(self, distribution: Option<String>) -> Vec<Result<(), Failure>> {
        let hgrm = self.hgrm.zip(distribution).map(|(hgrm, text)| hgrm.write_beside(&text));
        self.broken.into_iter().map(Err).chain(hgrm).collect()
    }
}

/// Give up a file that could not be written, and tell why.
fn keep_if_whole<T>(file: &mut Option<T>, name: &str, written: io::Result<()>) -> Option<Failure> {
    let failure = Failure::output(name, &written.err()?);
    *file = None;
    if !failure.is_silent() {
        warn(&format!("{failure}; the load goes on without it"));
    }
    Some(failure)
}

fn write_log(
    log: &mut Log<Output>,
    interval: &Interval,
    before: Duration,
    open_loop: bool,
) -> io::Result<()> {
    let Interval { from, to, record, .. } = interval;
    let (from, length) = (before + *from, to.saturating_sub(*from));
    let response = record.response_of_all();
    let mut write = |tag, histogram| log.write(tag, from, length, histogram);
    if open_loop {
        write(None, &response)?;
        write(Some("service"), &record.service)?;
    } else {
        write(None, &record.service)?;
    }
    if !record.unfinished.is_empty() {
        write(Some("unfinished"), &record.unfinished)?;
    }
    if !record.connect.is_empty() {
        write(Some("connect"), &record.connect)?;
    }
    Ok(())
}

/// A second as a JSON object.
fn object(interval: &Interval, before: Duration) -> serde_json::Value {
    let Interval { from, to, offered, record, lost } = interval;
    let seconds = (to.saturating_sub(*from)).as_secs_f64();
    let counts = record.counts;
    json!({
        "from_s": (before + *from).as_secs_f64(),
        "to_s": (before + *to).as_secs_f64(),
        "offered_per_s": offered,
        "achieved_per_s": if seconds > 0.0 { counts.completed as f64 / seconds } else { 0.0 },
        "sent": counts.sent,
        "unsent": counts.unsent,
        "late": counts.late,
        "answered": counts.answered,
        "completed": counts.completed,
        "at_least": counts.at_least(),
        "latency_us": {
            "response": offered.map(|_| LatencyUs::of(&record.response_of_all())),
            "service": LatencyUs::of(&record.service),
        },
        "opened": counts.opened,
        "lost_connections": lost,
    })
}
