//! What is recorded of a window: a time in which the load is measured.

use anyhow::anyhow;
use hdrhistogram::Histogram;
use std::borrow::Cow;

/// The longest latency that is distinguished from a longer one: an hour. Longer ones count as an hour, and
/// [`Counts::clamped`] says how many they were.
pub const LONGEST_NS: u64 = 3_600_000_000_000;

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

/// What happened in a window: to all requests that were due in it, and what else went on meanwhile.
#[derive(Debug, Clone)]
pub struct Record {
    /// From the intended send to the whole answer. Empty in a closed loop, which intends nothing.
    pub response: Histogram<u64>,
    /// Requests without answer: how long each had waited when the load was over, from its intended send; in a closed
    /// loop, from the moment it was begun. Their latency is at least that.
    pub unfinished: Histogram<u64>,
    /// From the actual send to the whole answer; for a request without answer, until the load was over.
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
    /// Requests that were due in this window and were sent.
    pub sent: u64,
    /// Requests that were due in it and were never sent.
    pub unsent: u64,
    /// Requests of this window that were answered in it, completely and rightly.
    pub answered: u64,
    /// Requests of this window that were answered after it.
    pub answered_after: u64,
    /// Requests of this window that were sent and never answered.
    pub unanswered: u64,
    /// All answers that came in this window, also to requests from before it: what the server did in this time.
    pub completed: u64,
    /// Latencies above [`LONGEST_NS`].
    pub clamped: u64,
    /// Requests sent more than [`LATE_NS`](super::engine::LATE_NS) after their time.
    pub late: u64,
    /// Those of them for which a connection was free: the generator was slow, and not the server.
    pub late_by_generator: u64,
    /// Connections that were opened.
    pub opened: u64,
    /// Attempts at one that were refused, and made again.
    pub refused: u64,
    /// Attempts at one for which there was no local port, and which were made again.
    pub without_port: u64,
    /// Time in which the generator's threads were kept from a processor, in nanoseconds.
    pub kept_waiting_ns: u64,
    /// Time for which that is not known.
    pub unwatched_ns: u64,
    /// Sum of the time from the beginning of a request to its answer, over the answered ones, in nanoseconds.
    pub answered_ns: u64,
    /// Sum over time of the requests under way, in request-nanoseconds.
    pub under_way_ns: u64,
    /// Length of the window, in nanoseconds.
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
            unfinished: histogram(),
            service: histogram(),
            scheduling: histogram(),
            connect: histogram(),
            counts,
        }
    }
}

impl Record {
    /// Add what another thread recorded in the same window, or this one in another window.
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

    /// Response times of all requests that were due, those without answer with the time that they waited at least.
    ///
    /// # Panics
    ///
    /// Never: both histograms have the same bounds.
    #[must_use]
    pub fn response_of_all(&self) -> Cow<'_, Histogram<u64>> {
        if self.unfinished.is_empty() {
            return Cow::Borrowed(&self.response);
        }
        let mut all = self.response.clone();
        all.add(&self.unfinished).expect("histograms of the same bounds");
        Cow::Owned(all)
    }

    /// Whether the rate was missed: of the requests that were due, more than a thousandth was never sent, or more than a
    /// hundredth not answered, or not in this time. `most_under_way` requests can be under way as it ends, and what the
    /// generator itself sent late may be answered after it. `excused` requests count as sent and answered in time.
    #[must_use]
    pub fn misses(&self, most_under_way: u64, excused: u64) -> bool {
        let counts = &self.counts;
        let due = counts.due() as f64;
        let unsent = counts.unsent.saturating_sub(excused) as f64;
        let answered = (counts.answered + counts.answered_after + excused) as f64;
        // The requests that the generator sent late may be among the excused.
        let in_time = (counts.completed + most_under_way + counts.late_by_generator.max(excused)) as f64;
        unsent > due / 1000.0 + 1.0 || answered < due * 0.99 || in_time < due * 0.99
    }

    /// Write down the latency of an answered request: service time, and response time where there is one.
    #[inline]
    pub(super) fn answered(&mut self, service: u64, response: Option<u64>) {
        record(&mut self.service, service, &mut self.counts);
        if let Some(response) = response {
            record(&mut self.response, response, &mut self.counts);
        }
    }

    /// Write down how long a request without answer has waited: since it was sent, if it was, and in all.
    pub(super) fn not_answered(&mut self, service: Option<u64>, waited: u64) {
        if let Some(service) = service {
            record(&mut self.service, service, &mut self.counts);
        }
        record(&mut self.unfinished, waited, &mut self.counts);
    }

    /// Record `count` requests that were never sent. All of them waited for `waited`, to the precision of a histogram.
    pub(super) fn not_sent(&mut self, waited: u64, count: u64) {
        self.counts.unsent += count;
        self.counts.clamped += if waited > LONGEST_NS { count } else { 0 };
        self.unfinished.saturating_record_n(waited.min(LONGEST_NS), count);
    }

    /// The shortest latency that a histogram does not distinguish from this one.
    pub(super) fn shortest_alike(&self, latency: u64) -> u64 {
        if latency > LONGEST_NS { LONGEST_NS + 1 } else { self.unfinished.lowest_equivalent(latency) }
    }

    fn histograms(&self) -> [&Histogram<u64>; 5] {
        [&self.response, &self.unfinished, &self.service, &self.scheduling, &self.connect]
    }

    fn histograms_mut(&mut self) -> [&mut Histogram<u64>; 5] {
        [&mut self.response, &mut self.unfinished, &mut self.service, &mut self.scheduling, &mut self.connect]
    }
}

#[inline]
fn record(histogram: &mut Histogram<u64>, latency: u64, counts: &mut Counts) {
    counts.clamped += u64::from(latency > LONGEST_NS);
    histogram.saturating_record(latency.min(LONGEST_NS));
}

impl Counts {
    /// Requests that were due in this window.
    #[must_use]
    pub fn due(&self) -> u64 {
        self.sent + self.unsent
    }

    /// Requests without answer: their latency is at least the time that they waited.
    #[must_use]
    pub fn at_least(&self) -> u64 {
        self.unsent + self.unanswered
    }

    /// Add the counts of another window.
    pub fn add(&mut self, other: &Counts) {
        self.sent += other.sent;
        self.unsent += other.unsent;
        self.answered += other.answered;
        self.answered_after += other.answered_after;
        self.unanswered += other.unanswered;
        self.completed += other.completed;
        self.clamped += other.clamped;
        self.late += other.late;
        self.late_by_generator += other.late_by_generator;
        self.opened += other.opened;
        self.refused += other.refused;
        self.without_port += other.without_port;
        self.kept_waiting_ns += other.kept_waiting_ns;
        self.unwatched_ns += other.unwatched_ns;
        self.answered_ns += other.answered_ns;
        self.under_way_ns += other.under_way_ns;
        self.elapsed_ns += other.elapsed_ns;
        self.busy_ns += other.busy_ns;
        self.cpu_ns += other.cpu_ns;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_latency_beyond_an_hour_counts_as_an_hour_and_is_counted() {
        let mut record = Record::default();
        record.answered(LONGEST_NS + 1, Some(2 * LONGEST_NS));
        record.answered(LONGEST_NS, None);
        record.answered(75_000_000_000, Some(75_000_000_000));
        record.not_answered(None, u64::MAX);
        assert_eq!(record.counts.clamped, 3);
        // A value is told from others by a thousandth of it.
        let an_hour = LONGEST_NS..LONGEST_NS + LONGEST_NS / 1000;
        for histogram in [&record.response, &record.service, &record.unfinished] {
            assert!(an_hour.contains(&histogram.max()), "{}", histogram.max());
        }
        let shorter = record.response.value_at_quantile(0.5);
        assert!((75_000_000_000..75_100_000_000).contains(&shorter), "75 s are 75 s: {shorter}");
    }
}
