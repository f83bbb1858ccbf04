//! What is wrong with a run, or doubtful, in sentences.

use super::{Alone, Counts, LittlesLaw, Part, Plan, Report};
use crate::lab::load::BUSY_LIMIT;
use crate::lab::load::hostile::Outcomes;
use crate::lab::units::{UNKNOWN, count, of, rate, seconds};

/// A generator that was kept from its processor for more than this share of the time has measured that as well.
const MOST_KEPT_WAITING: f64 = 0.02;

/// A start that was missed by more seconds than that is warned of.
pub(in crate::lab) const MOST_MISSED: f64 = 0.01;

impl Report {
    /// One line on why the run failed: a generator that could not go on, a lost connection, or nothing measured.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        match &self.alone {
            Some(alone) => self.trouble_of_one(alone),
            None => self.trouble_of_several(),
        }
    }

    fn trouble_of_one(&self, alone: &Alone) -> Option<String> {
        if let Some(why) = &alone.failure {
            return Some(format!("the generator failed; {} were measured: {why}", seconds(self.seconds)));
        }
        if let Some(first) = alone.lost.first() {
            let (lost, all) = (alone.lost.len(), self.connections.unwrap_or_default() + self.idle());
            let hint = alone.diagnosis.first().and_then(|diagnosis| diagnosis.hint.as_ref());
            return Some(format!(
                "{lost} of {all} connections lost, {} wrong bytes; the first: connection {}: {}{}",
                self.counts.wrong_bytes.unwrap_or_default(),
                first.connection,
                first.reason,
                hint.map(|hint| format!("; {hint}")).unwrap_or_default()
            ));
        }
        if let Some(trouble) = alone.hostile.as_ref().and_then(Outcomes::trouble) {
            return Some(trouble);
        }
        if self.counts.completed == 0 && alone.without_port > 0 {
            return Some(
                "nothing was measured, because there was no local port for a connection: those of \
                 net.ipv4.ip_local_port_range are in use or in TIME_WAIT; give more --sources, or wait a minute"
                    .to_owned(),
            );
        }
        (self.counts.completed == 0 && !self.is_partial()).then(|| {
            "nothing was measured, because no answer came while the clock ran: measure for longer with --duration"
                .to_owned()
        })
    }

    fn trouble_of_several(&self) -> Option<String> {
        let is_lossy = |part: &&Part| part.lost_connections.is_some_and(|lost| lost > 0);
        let Some(first) = self.merged_from.iter().find(is_lossy) else {
            return (self.counts.completed == 0)
                .then(|| "nothing was measured: no request was answered in any of these runs".to_owned());
        };
        let all = self.connections.map(|n| format!(" of {}", n.saturating_add(self.idle())));
        let wrong = self.counts.wrong_bytes.map(|n| format!(", {n} wrong bytes"));
        Some(format!(
            "{}{} connections lost{}; the first, in {}: {}",
            self.known_lost(),
            all.unwrap_or_default(),
            wrong.unwrap_or_default(),
            first.file,
            first.first_lost.as_deref().unwrap_or("it does not say why")
        ))
    }

    /// Connections of several runs of which it is known that they were lost: a log does not tell.
    pub(in crate::lab) fn known_lost(&self) -> u64 {
        self.merged_from.iter().filter_map(|part| part.lost_connections).fold(0, u64::saturating_add)
    }

    /// One line on what was asked for and not met: the rate, or a limit that no rate was shown to keep.
    #[must_use]
    pub fn not_met(&self) -> Option<String> {
        let alone = self.alone.as_ref().filter(|_| !self.is_partial())?;
        match &alone.knee {
            Some(knee) => knee.rate_per_s.is_none().then(|| knee.to_string()),
            None => (self.missed_rate == Some(true) && alone.rows.is_empty()).then(|| self.missed()),
        }
    }

    /// The first line of a text about a rate that was missed.
    pub(in crate::lab) fn missed(&self) -> String {
        let Counts { due, unsent, unanswered, .. } = self.counts;
        let never_sent = match unsent.zip(due) {
            Some((unsent, due)) => format!("; {} of {} requests were never sent", count(unsent), count(due)),
            None => String::new(),
        };
        let not_answered = match unanswered {
            Some(n) => format!(", {} not answered; they count with the time that they waited", count(n)),
            None => String::new(),
        };
        format!(
            "MISSED ITS RATE: offered {} requests/s, achieved {}{never_sent}{not_answered}",
            self.offered_per_s.map_or_else(|| UNKNOWN.to_owned(), rate),
            rate(self.achieved_per_s)
        )
    }

    /// What makes the numbers of one generator doubtful, a line each. The first line of the text says it when a rate was
    /// missed.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        let Some((alone, plan)) = self.alone.as_ref().zip(self.plan.as_ref()) else { return Vec::new() };
        let mut warnings = Vec::new();
        warnings.extend(alone.server.as_ref().and_then(|server| server.hint.clone()));
        warnings.extend(alone.wait_why.clone());
        warnings.extend(alone.limited(plan, self.counts.late_by_generator.unwrap_or_default()));
        if let Some(n) = self.counts.clamped.filter(|&n| n > 0) {
            warnings.push(format!("{n} latencies were longer than an hour and count as an hour"));
        }
        warnings.extend(alone.obstacles());
        warnings.extend(alone.ends.warnings(self.is_partial()));
        let LittlesLaw { under_way, rate_times_latency, holds } = alone.littles_law;
        if !holds {
            warnings.push(self.never_answered().unwrap_or_else(|| {
                format!(
                    "Little's law does not hold: {under_way:.2} requests were under way, and the answers account for \
                     {rate_times_latency:.2}"
                )
            }));
        }
        warnings
    }

    /// What Little's law has found, if it has found something: `51 requests never got an answer`, or no local port.
    pub(in crate::lab) fn never_answered(&self) -> Option<String> {
        let alone = self.alone.as_ref()?;
        let LittlesLaw { under_way, rate_times_latency, holds } = alone.littles_law;
        let unanswered = self.counts.unanswered.unwrap_or_default();
        let all_answered = alone.lost.is_empty() && unanswered == 0;
        if holds || (all_answered && alone.without_port == 0) {
            return None;
        }
        // Requests without an answer are under way for a part of the time or for all of it, so this is the least.
        let missing = ((under_way - rate_times_latency + 0.5) as u64).max(unanswered);
        let what = if all_answered { "a local port" } else { "an answer" };
        (missing > 0).then(|| format!("{} never got {what}", of(missing, "request")))
    }
}

impl Alone {
    /// Warnings about a generator that may be what was measured.
    fn limited(&self, plan: &Plan, late: u64) -> Vec<String> {
        let remedy = self.processors.remedy(plan.threads, plan.wait);
        let mut warnings = Vec::new();
        if self.generator_was_the_limit && self.generator_busy_share >= BUSY_LIMIT {
            warnings.push(format!(
                "the generator was busy {:.0} % of the time: the rate may be its limit, not the server's; {remedy}",
                self.generator_busy_share * 100.0
            ));
        } else if self.generator_was_the_limit {
            warnings.push(format!(
                "the generator sent {} late although a connection was free: {remedy}",
                of(late, "request")
            ));
        }
        if let Some(share) = self.generator_kept_waiting_share.filter(|&share| share > MOST_KEPT_WAITING) {
            warnings.push(format!(
                "other programs, or the server, kept the generator from its processor for {:.0} % of the time, which is \
                 part of the latencies; {remedy}",
                share * 100.0
            ));
        }
        warnings
    }

    /// Warnings about what the load met.
    fn obstacles(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if let Some(missed) = self.start_missed_s.filter(|&missed| missed > MOST_MISSED) {
            warnings.push(format!(
                "the load began {} after --start-at, and others may have begun without it: the connections were not open \
                 before, or this machine is busy; give a later time, or end other programs",
                seconds(missed)
            ));
        }
        if self.stalled_connections > 0 {
            warnings.push(format!(
                "{} waited for an answer for half a second or longer, one for {}",
                of(self.stalled_connections as u64, "connection"),
                seconds(self.longest_stall_s)
            ));
        }
        if let Some(why) = &self.unpinned {
            warnings.push(format!("the threads are not bound to processors: {why}"));
        }
        if let Some(why) = &self.coarse_timer {
            // The default of timer slack: man 2 PR_SET_TIMERSLACK.
            warnings.push(format!("requests may be sent 50 µs late: the kernel may end waits later: {why}"));
        }
        if self.refused > 0 {
            let refused = self.refused;
            warnings
                .push(format!("{refused} connections were refused, and tried again: the server was away"));
        }
        if self.without_port > 0 {
            warnings.push(format!(
                "for a connection there was no local port, {} times, and it had to wait: the rate is that of the ports; \
                 give more --sources",
                self.without_port
            ));
        }
        warnings
    }
}
