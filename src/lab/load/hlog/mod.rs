//! A log of histograms, one for each interval of a run (`.hlog`), in HdrHistogram's format V2.
//!
//! `hdrh` (Python), HistogramLogAnalyzer and HistogramLogProcessor (Java) and others read it. A line
//! an interval: `Tag=NAME,start,length,max,histogram`, the times in seconds, the histogram in base64.
//! What only this program understands, the plan of the run, is a comment to the others.
//!
//! Written by hand and not with the crate's writer, which borrows what it writes to and so cannot be
//! kept beside it. Its parser reads our logs in a test.

mod encoding;

pub use encoding::{decoded, encoded};

use crate::lab::visible::visible_json;
use anyhow::{Context, anyhow, bail, ensure};
use hdrhistogram::Histogram;
use hdrhistogram::serialization::interval_log::Tag;
use serde_json::Value;
use std::io::{self, Write};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// What the column of maxima is divided by: milliseconds for people, as in Java.
const MAX_DIVISOR: f64 = 1e6;

/// How the comment with the plan begins. It ends with a bracket.
const PLAN: &str = "#[io-models plan: ";

/// How the comment with the time of the start begins.
const START_TIME: &str = "#[StartTime:";

/// How the comment begins that names the format.
const VERSION: &str = "#[Histogram log format version ";

/// How the line with the names of the columns begins.
const LEGEND: &str = "\"StartTimestamp\"";

const NOT_A_LOG: &str = "this is no HdrHistogram interval log: give the .hlog file that `io-models load` or \
                         another HdrHistogram tool wrote";

/// The most bins that the histograms of all tags may have together: half a gigabyte. A tag of ours has some 30,000.
const MOST_BINS: usize = 1 << 26;

/// A log being written.
#[derive(Debug)]
pub struct Log<W> {
    out: W,
}

impl<W: Write> Log<W> {
    /// Begin a log: write its head. The times of its intervals will count from `started`.
    ///
    /// # Errors
    ///
    /// Those of writing.
    pub fn create(mut out: W, plan: &Value, started: SystemTime) -> io::Result<Log<W>> {
        // A clock before 1970 is wrong, and a log with a wrong date better than none.
        let started = started.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        let head = format!(
            "{VERSION}1.3]\n\
             {PLAN}{plan}]\n\
             {START_TIME} {started:.3} (seconds since epoch)]\n\
             #[BaseTime: {started:.3} (seconds since epoch)]\n\
             #[MaxValueDivisor: {MAX_DIVISOR:.3}]\n\
             {LEGEND},\"Interval_Length\",\"Interval_Max\",\"Interval_Compressed_Histogram\"\n"
        );
        out.write_all(head.as_bytes())?;
        out.flush()?;
        Ok(Log { out })
    }

    /// What the log is written to.
    pub fn get_ref(&self) -> &W {
        &self.out
    }

    /// Add an interval that began at `start`, counted from the start of the log, with values in
    /// nanoseconds. The line goes out whole and at once, so that the log of a killed run can be read.
    ///
    /// # Errors
    ///
    /// Those of writing; `InvalidInput` when the tag is empty or has a blank, a comma or a line break.
    pub fn write(
        &mut self,
        tag: Option<&str>,
        start: Duration,
        length: Duration,
        histogram: &Histogram<u64>,
    ) -> io::Result<()> {
        let tag = tag.map_or_else(|| Ok(String::new()), tag_column)?;
        let (start, length) = (start.as_secs_f64(), length.as_secs_f64());
        let max = histogram.max() as f64 / MAX_DIVISOR;
        let line = format!("{tag}{start:.3},{length:.3},{max:.3},{}\n", encoded(histogram));
        self.out.write_all(line.as_bytes())?;
        self.out.flush()
    }
}

fn tag_column(tag: &str) -> io::Result<String> {
    if tag.is_empty() || Tag::new(tag).is_none() {
        let why = format!("{tag:?} cannot be a tag of a histogram log: it must be one word without a comma");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
    }
    Ok(format!("Tag={tag},"))
}

/// What was read from a log.
#[derive(Debug, Clone)]
pub struct Logged {
    /// The plan of the run, if this program wrote the log.
    pub plan: Option<Value>,
    /// When the log was begun, in seconds since 1970.
    pub started: Option<f64>,
    /// All intervals added, for each tag and for those without one, in the order of their appearance.
    pub histograms: Vec<(Option<String>, Histogram<u64>)>,
    /// The earliest start of an interval, as the log has it: since the start of the log if this program
    /// wrote it.
    pub from: Duration,
    /// The latest end of an interval.
    pub to: Duration,
}

/// Read a whole log, of this program or of another.
///
/// # Errors
///
/// In one line, with the number of the line in the log, the cause, and what to do: when it is no log,
/// when an interval is damaged or cut off, when it has none, and when intervals under one tag differ in
/// precision.
pub fn read(bytes: &[u8]) -> anyhow::Result<Logged> {
    if bytes.is_empty() {
        bail!("line 1: the file is empty; {NOT_A_LOG}");
    }
    let mut reader = Reader::default();
    let mut last = 0;
    for (number, line) in (1_usize..).zip(bytes.split(|&byte| byte == b'\n')) {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() {
            continue;
        }
        reader.line(line).map_err(|error| anyhow!("line {number}: {error:#}"))?;
        last = number;
    }
    reader.end().with_context(|| format!("line {last} is the last"))
}

#[derive(Default)]
struct Reader {
    /// Something was seen that only logs have.
    is_log: bool,
    plan: Option<Value>,
    started: Option<f64>,
    histograms: Vec<(Option<String>, Histogram<u64>)>,
    span: Option<(Duration, Duration)>,
    /// Of all histograms.
    bins: usize,
}

impl Reader {
    fn line(&mut self, line: &[u8]) -> anyhow::Result<()> {
        let Ok(line) = std::str::from_utf8(line) else {
            bail!("{}", if self.is_log { "damaged: it is not text; delete the line" } else { NOT_A_LOG });
        };
        if line.starts_with('#') {
            return self.comment(line);
        }
        if line.starts_with(LEGEND) {
            self.is_log = true;
            return Ok(());
        }
        match Interval::parse(line) {
            Some(interval) => self.interval(&interval),
            None if self.is_log => {
                bail!("a damaged interval, or one cut off; delete the line to read the rest")
            }
            None => bail!("{NOT_A_LOG}"),
        }
    }

    /// Comments of others are nobody's business.
    fn comment(&mut self, line: &str) -> anyhow::Result<()> {
        self.is_log |= line.starts_with(VERSION) || line.starts_with(START_TIME);
        if let Some(rest) = line.strip_prefix(START_TIME) {
            let seconds = rest.split_whitespace().next().and_then(|seconds| seconds.parse::<f64>().ok());
            self.started = self.started.or(seconds.filter(|seconds| seconds.is_finite()));
        }
        if let Some(rest) = line.strip_prefix(PLAN) {
            self.is_log = true;
            let plan = serde_json::from_str(rest.strip_suffix(']').unwrap_or(rest)).map_err(|error| {
                anyhow!("the plan of the run is damaged ({error}); delete the line to read the rest")
            })?;
            self.plan.get_or_insert(visible_json(plan));
        }
        Ok(())
    }

    fn interval(&mut self, interval: &Interval<'_>) -> anyhow::Result<()> {
        self.is_log = true;
        let histogram = decoded(interval.histogram).map_err(|error| {
            anyhow!("a damaged histogram, or one cut off: {error:#}; delete the line to read the rest")
        })?;
        let (from, to) = self.span.unwrap_or((interval.start, interval.end));
        self.span = Some((from.min(interval.start), to.max(interval.end)));
        let known = self.histograms.iter_mut().find(|(tag, _)| tag.as_deref() == interval.tag);
        match known {
            Some((_, sum)) => {
                self.bins -= sum.distinct_values();
                add(sum, &histogram)?;
                self.bins += sum.distinct_values();
            }
            None => {
                self.bins += histogram.distinct_values();
                self.histograms.push((interval.tag.map(str::to_owned), histogram));
            }
        }
        ensure!(
            self.bins <= MOST_BINS,
            "the histograms of its tags need too much memory; split the log by tag"
        );
        Ok(())
    }

    fn end(self) -> anyhow::Result<Logged> {
        let Some((from, to)) = self.span else {
            if self.is_log {
                bail!("the log has no interval: its run ended before the first; run it again, for longer");
            }
            bail!("{NOT_A_LOG}");
        };
        let Reader { plan, started, histograms, .. } = self;
        Ok(Logged { plan, started, histograms, from, to })
    }
}

/// Add one interval to those before it.
fn add(sum: &mut Histogram<u64>, interval: &Histogram<u64>) -> anyhow::Result<()> {
    let (before, here) = (sum.sigfig(), interval.sigfig());
    if before != here {
        bail!(
            "this interval has a precision of {here} digits, and those before it of {before}: they cannot be \
             added; give a log of one precision"
        );
    }
    // More could not be encoded again.
    if sum.len().checked_add(interval.len()).is_none_or(|counts| counts > i64::MAX.cast_unsigned()) {
        bail!("with this interval there are more counts than a histogram can hold; split the log");
    }
    sum.add(interval).map_err(|error| anyhow!("this interval cannot be added: {error}; delete the line"))
}

/// A line of a log that is no comment.
struct Interval<'a> {
    tag: Option<&'a str>,
    start: Duration,
    end: Duration,
    histogram: &'a str,
}

impl<'a> Interval<'a> {
    fn parse(line: &'a str) -> Option<Interval<'a>> {
        let (tag, columns) = match line.strip_prefix("Tag=") {
            Some(rest) => rest.split_once(',').map(|(tag, columns)| (Some(tag), columns))?,
            None => (None, line),
        };
        let (start, columns) = columns.split_once(',')?;
        let (length, columns) = columns.split_once(',')?;
        // The maximum is for people. The histogram has it too, and not rounded.
        let (_max, histogram) = columns.split_once(',')?;
        let start = seconds(start)?;
        let end = start.checked_add(seconds(length)?)?;
        Some(Interval { tag, start, end, histogram })
    }
}

fn seconds(column: &str) -> Option<Duration> {
    Duration::try_from_secs_f64(column.parse().ok()?).ok()
}

#[cfg(test)]
mod tests;
