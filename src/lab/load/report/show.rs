//! The report for people.

use super::{ByClock, LittlesLaw, Report};
use crate::lab::load::LatencyUs;
use crate::lab::load::crew::Opening;
use crate::lab::load::diagnosis::Diagnosis;
use crate::lab::load::knee::Verdict;
use crate::lab::load::limits::Ports;
use crate::lab::show::{DOUBTFUL, Page, Table, WRONG, paint, paint_if};
use crate::lab::units::{count, latency, of, rate, seconds};
use anstyle::Style;

/// What a closed loop cannot show.
pub(in crate::lab::load) const CLOSED_LOOP: &str =
    "closed loop: a stall of the server counts once, so use this to compare servers only";

/// What the two clocks of an open loop mean.
const CLOCKS: &str = "response time is from when a request was due, service time from when it was sent; the difference \
                      is waiting, which users feel";

impl Report {
    /// The report for people, in lines of at most `width` columns. Colours are escape sequences.
    #[must_use]
    pub fn text(&self, width: Option<usize>) -> String {
        let mut page = Page::new(width);
        if self.partial {
            let why = self.failure.as_deref().unwrap_or("interrupted");
            page.paragraph(&paint(DOUBTFUL, &format!("PARTIAL: {why}")));
        }
        if self.missed_rate {
            page.paragraph(&paint(WRONG, &self.missed()));
        }
        page.paragraph(&self.head());
        self.rates(&mut page);
        self.requests(&mut page);
        self.latencies(&mut page);
        if let Some(server) = &self.server {
            server.show(&mut page);
        }
        self.generator(&mut page);
        self.checked(&mut page);
        if let Some(fates) = &self.hostile {
            fates.show(&mut page);
        }
        page.into_text()
    }

    fn head(&self) -> String {
        let Report { mode, connections, target, plan, .. } = self;
        let connections = of(*connections as u64, "connection");
        let idle =
            if plan.idle > 0 { format!(" and {} idle ones", count(plan.idle as u64)) } else { String::new() };
        let depth =
            if plan.depth > 1 { format!(", up to {} under way on each", plan.depth) } else { String::new() };
        let churn = match plan.requests_per_conn {
            None => String::new(),
            Some(1) => ", another connection after each request".to_owned(),
            Some(n) => format!(", another connection after {} requests", count(n.into())),
        };
        let (sizes, time) = (&plan.sizes, seconds(self.seconds));
        format!("{mode} loop: {connections}{idle} to {target}, {sizes} per request{depth}{churn}, {time}")
    }

    /// A row for each rate.
    fn rates(&self, page: &mut Page) {
        if self.rows.is_empty() {
            return;
        }
        let head = ["offered/s", "achieved/s", "unsent", "late", "p50", "p99", "p99.9", "max"];
        let mut table = Table::new(&head, "");
        for row in &self.rows {
            let LatencyUs { p50, p99, p99_9, max, .. } = row.response.unwrap_or(row.service);
            let (note, style) = match (row.verdict, row.missed) {
                (Some(verdict), _) => {
                    (verdict.in_words(), if verdict == Verdict::Holds { Style::new() } else { WRONG })
                }
                (None, true) => ("missed its rate", WRONG),
                (None, false) => ("", Style::new()),
            };
            let counts = [
                rate(row.offered_per_s.unwrap_or_default()),
                rate(row.achieved_per_s),
                count(row.unsent),
                count(row.late),
            ];
            table.row(counts.into_iter().chain([p50, p99, p99_9, max].map(latency)), note, style);
        }
        page.table(&table);
        if let Some(knee) = &self.knee {
            page.line("knee", paint_if(knee.rate_per_s.is_none(), WRONG, knee.to_string()));
        }
    }

    fn requests(&self, page: &mut Page) {
        let Opening { requests, answered } = self.opening;
        if answered < requests {
            let answered = paint(WRONG, &format!("{} answered", count(answered)));
            page.line("opening", format!("{}, one on each connection: {answered}", of(requests, "request")));
        }
        let mut requests = format!("{} sent, {} answered", count(self.sent), count(self.answered));
        if self.sent == 0 && self.lost.len() == self.connections + self.plan.idle {
            requests += ": no connection was left for the load";
        }
        if self.answered_after > 0 {
            requests += &format!(", {} more after the end", count(self.answered_after));
        }
        if self.unanswered > 0 {
            let unanswered = format!("{} without an answer", count(self.unanswered));
            requests = format!("{requests}, {}", paint(WRONG, &unanswered));
        }
        page.line("requests", requests);
        if self.mode == "open" {
            let unsent = paint_if(self.unsent > 0, WRONG, format!("{} unsent", count(self.unsent)));
            page.line(
                "schedule",
                format!(
                    "{} due, {} late by more than {} ms ({} of them by the generator), {unsent}",
                    count(self.due),
                    count(self.late),
                    self.late_us as f64 / 1e3,
                    count(self.late_by_generator)
                ),
            );
        }
        let achieved = rate(self.achieved_per_s);
        match self.offered_per_s {
            Some(offered) => {
                page.line("rate", format!("{} requests/s offered, {achieved} achieved", rate(offered)))
            }
            None => page.line("rate", format!("{achieved} requests/s")),
        }
        let stalls = match self.stalled_connections as u64 {
            0 => String::new(),
            n => {
                let longest = seconds(self.longest_stall_s);
                let n = count(n);
                format!(
                    "; {}",
                    paint(WRONG, &format!("{n} without an answer for half a second or longer ({longest})"))
                )
            }
        };
        if let Some((least, most)) = self.least_per_connection.zip(self.most_per_connection) {
            let (least, most) = (count(least), count(most));
            page.line("per connection", format!("{least} to {most} requests answered{stalls}"));
        }
    }

    fn latencies(&self, page: &mut Page) {
        let ByClock { response, service, scheduling, connect } = &self.latency_us;
        match response {
            None => {
                page.line("latency", service.to_string());
                page.more(CLOSED_LOOP);
            }
            Some(response) => {
                page.line("response time", response.to_string());
                page.line("service time", service.to_string());
                page.more(CLOCKS);
            }
        }
        if let Some(scheduling) = scheduling {
            page.line("sent late by", scheduling.to_string());
        }
        if let Some(connect) = connect {
            page.line("connect", format!("{connect}; {}", of(self.opened, "connection")));
        }
        if let Some(words) = self.ports.as_ref().and_then(Ports::in_words) {
            page.line("ports", words);
        }
        let LittlesLaw { under_way, rate_times_latency, holds } = self.littles_law;
        page.line(
            "Little's law",
            match self.never_answered() {
                _ if holds => {
                    format!("{under_way:.2} under way, rate × latency {rate_times_latency:.2}: holds")
                }
                Some(words) => paint(WRONG, &words),
                None => {
                    format!("{under_way:.2} under way, rate × latency {rate_times_latency:.2}: does not hold")
                }
            },
        );
    }

    /// What Little's law has found, if it has found something: `51 requests never got an answer`, or no local port.
    pub(super) fn never_answered(&self) -> Option<String> {
        let LittlesLaw { under_way, rate_times_latency, holds } = self.littles_law;
        if holds || (self.lost_connections == 0 && self.unanswered == 0 && self.without_port == 0) {
            return None;
        }
        // Requests without an answer are under way for a part of the time or for all of it, so this is the least.
        let missing = ((under_way - rate_times_latency + 0.5) as u64).max(self.unanswered);
        let what =
            if self.lost_connections == 0 && self.unanswered == 0 { "a local port" } else { "an answer" };
        (missing > 0).then(|| format!("{} never got {what}", of(missing, "request")))
    }

    fn generator(&self, page: &mut Page) {
        page.line(
            "generator",
            format!(
                "{} CPU, {:.0} % of the time ({}); busy for {:.0} % of the time; {} requests per CPU-second",
                seconds(self.generator_cpu_s),
                self.generator_cpu_share * 100.0,
                self.wait.effect(),
                self.generator_busy_share * 100.0,
                rate(self.requests_per_generator_cpu_s)
            ),
        );
    }

    fn checked(&self, page: &mut Page) {
        let wrong = paint_if(self.wrong_bytes > 0, WRONG, format!("{} wrong", count(self.wrong_bytes)));
        let lost = of(self.lost_connections as u64, "connection") + " lost";
        let lost = paint_if(self.lost_connections > 0, WRONG, lost);
        page.line("checked", format!("every byte: {wrong}, {lost}"));
        for lost in self.lost.iter().take(5) {
            page.item(&format!("connection {}: {}", lost.connection, lost.reason));
        }
        if self.lost.len() > 5 {
            page.item(&format!("… and {} more", count(self.lost.len() as u64 - 5)));
        }
        for (i, Diagnosis { seen, hint, .. }) in self.diagnosis.iter().enumerate() {
            page.line(if i == 0 { "diagnosis" } else { "" }, paint(WRONG, seen));
            hint.iter().for_each(|hint| page.more(hint));
        }
    }
}
