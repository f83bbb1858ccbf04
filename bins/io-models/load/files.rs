//! What `io-models load` writes beside its report, while the load is on: `--ndjson`, `--hlog`; and after: `--hgrm`.

use super::Args;
use crate::failure::Failure;
use crate::output::{Output, warn};
use io_models::lab::load::crew::{Interval, Order};
use io_models::lab::load::hlog::Log;
use io_models::lab::load::record::Record;
use io_models::lab::load::report::plan_json;
use io_models::lab::load::shape::Shape;
use io_models::lab::load::{LatencyUs, hgrm};
use serde_json::json;
use std::fs::File;
use std::io::{self, Write};
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

/// The files that were asked for.
pub(super) struct Files {
    ndjson: Option<(String, File)>,
    hlog: Option<(String, Log<File>)>,
    hgrm: Option<Output>,
    open_loop: bool,
    /// Intervals of the stages before this one.
    before: Duration,
    last: Duration,
    broken: Option<Failure>,
}

impl Files {
    /// Open them before anything is measured.
    pub(super) fn open(
        args: &Args,
        order: &Order,
        shape: &Shape,
        times: (Duration, Duration),
    ) -> Result<Files, Failure> {
        let file = |option, name: &Option<PathBuf>| {
            name.clone().map(|name| Output::open(option, Some(name))).transpose()
        };
        let ndjson = file("--ndjson", &args.ndjson)?.map(Output::into_file).transpose()?;
        let hlog = match file("--hlog", &args.hlog)?.map(Output::into_file).transpose()? {
            None => None,
            Some((name, file)) => {
                let log = Log::create(file, &plan_json(order, shape, times), SystemTime::now());
                Some((name.clone(), log.map_err(|why| Failure::output(&name, &why))?))
            }
        };
        let hgrm = file("--hgrm", &args.hgrm)?;
        let zero = Duration::ZERO;
        Ok(Files { ndjson, hlog, hgrm, open_loop: shape.is_open(), before: zero, last: zero, broken: None })
    }

    /// Write what a second gave. A file that cannot be written ends no load: it is told at the end.
    pub(super) fn interval(&mut self, interval: &Interval) {
        if interval.from < self.last {
            // Another stage, whose clock began anew.
            self.before += self.last;
        }
        self.last = interval.to;
        if let Err((name, why)) = self.write(interval) {
            (self.ndjson, self.hlog) = (None, None);
            let failure = Failure::output(&name, &why);
            warn(&format!("{failure}; the load goes on without"));
            self.broken = Some(failure);
        }
    }

    fn write(&mut self, interval: &Interval) -> Result<(), (String, io::Error)> {
        let Interval { from, to, record, .. } = interval;
        if let Some((name, file)) = &mut self.ndjson {
            let line = format!("{}\n", object(interval, self.before));
            file.write_all(line.as_bytes()).map_err(|why| (name.clone(), why))?;
        }
        if let Some((name, log)) = &mut self.hlog {
            let (from, length) = (self.before + *from, to.saturating_sub(*from));
            let response = record.response_of_all();
            let mut write =
                |tag, histogram| log.write(tag, from, length, histogram).map_err(|why| (name.clone(), why));
            if self.open_loop {
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
        }
        Ok(())
    }

    /// Write what all of it gave.
    pub(super) fn finish(self, total: &Record, shape: &Shape) -> Result<(), Failure> {
        if let Some(output) = self.hgrm {
            let response = total.response_of_all();
            let histogram = if shape.is_open() { &response } else { &total.service };
            output.write(&hgrm::text(histogram, 1e6))?;
        }
        self.broken.map_or(Ok(()), Err)
    }
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
