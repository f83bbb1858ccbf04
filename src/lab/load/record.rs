//! What is written down of a stretch of load.

use anyhow::anyhow;
use hdrhistogram::Histogram;

/// The longest latency that is told from a longer one: a minute.
pub const LONGEST_NS: u64 = 60_000_000_000;

/// Significant decimal digits of a latency: it reads at most 0.1 % too long, never too short.
pub const DIGITS: u8 = 3;

/// A histogram of latencies in nanoseconds.
///
/// # Panics
///
/// Never: the bounds are constants that it accepts.
#[must_use]
pub fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LONGEST_NS, DIGITS).expect("constants that it accepts")
}

/// What happened in a stretch: to all requests that were to begin in it, and what else went on meanwhile.
#[derive(Debug, Clone)]
pub struct Record {
    /// From the intended send to the whole answer. Empty in a closed loop, which intends nothing.
    pub response: Histogram<u64>,
    /// From the actual send to the whole answer.
    pub service: Histogram<u64>,
    /// From the intended send to the actual one, where a connection was free: what the generator itself was
    /// late, its scheduling error.
    pub scheduling: Histogram<u64>,
    /// From connect(2) until the connection stood, where connections come and go.
    pub connect: Histogram<u64>,
    /// How many of what.
    pub counts: Counts,
}

/// How many of what.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Requests that were to begin in this stretch, and were sent.
    pub sent: u64,
    /// Requests that were to begin in it, and were never sent.
    pub unsent: u64,
    /// Answers that came in this stretch, complete and right.
    pub answered: u64,
    /// Answers to its requests that came after it.
    pub answered_after: u64,
    /// Requests sent more than [`LATE_NS`](super::engine::LATE_NS) after their time.
    pub late: u64,
    /// Those of them for which a connection was free: the generator was slow, and not the server.
    pub late_by_generator: u64,
    /// Connections that were opened.
    pub opened: u64,
    /// Sum of the time from the beginning of a request to its answer, over the answered ones, in nanoseconds.
    pub answered_ns: u64,
    /// Sum over time of the requests under way, in request-nanoseconds.
    pub under_way_ns: u64,
    /// Time of the stretch, in nanoseconds.
    pub elapsed_ns: u64,
    /// Time of it in which there was something to do.
    pub busy_ns: u64,
    /// CPU time of the thread.
    pub cpu_ns: u64,
}

impl Default for Record {
    fn default() -> Record {
        let counts = Counts::default();
        Record {
            response: histogram(),
            service: histogram(),
            scheduling: histogram(),
            connect: histogram(),
            counts,
        }
    }
}

impl Record {
    /// Add what another thread saw in the same stretch, or this one in another.
    ///
    /// # Errors
    ///
    /// When a histogram does not fit into the other.
    pub fn add(&mut self, other: &Record) -> anyhow::Result<()> {
        self.counts.add(&other.counts);
        for (all, part) in self.histograms_mut().into_iter().zip(other.histograms()) {
            if !part.is_empty() {
                all.add(part).map_err(|why| anyhow!("histograms do not add up: {why}"))?;
            }
        }
        Ok(())
    }

    /// Forget everything.
    pub fn clear(&mut self) {
        self.counts = Counts::default();
        // What is empty is left alone: its pages are not even there yet.
        self.histograms_mut().into_iter().filter(|h| !h.is_empty()).for_each(Histogram::reset);
    }

    fn histograms(&self) -> [&Histogram<u64>; 4] {
        [&self.response, &self.service, &self.scheduling, &self.connect]
    }

    fn histograms_mut(&mut self) -> [&mut Histogram<u64>; 4] {
        [&mut self.response, &mut self.service, &mut self.scheduling, &mut self.connect]
    }
}

impl Counts {
    /// Requests that were to begin in this stretch.
    #[must_use]
    pub fn due(&self) -> u64 {
        self.sent + self.unsent
    }

    /// Add the counts of another stretch.
    pub fn add(&mut self, other: &Counts) {
        self.sent += other.sent;
        self.unsent += other.unsent;
        self.answered += other.answered;
        self.answered_after += other.answered_after;
        self.late += other.late;
        self.late_by_generator += other.late_by_generator;
        self.opened += other.opened;
        self.answered_ns += other.answered_ns;
        self.under_way_ns += other.under_way_ns;
        self.elapsed_ns += other.elapsed_ns;
        self.busy_ns += other.busy_ns;
        self.cpu_ns += other.cpu_ns;
    }
}
