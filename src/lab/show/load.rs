//! The report of a load, for people.

use super::{DOUBTFUL, Page, Table, WRONG, merged, paint, paint_if};
use crate::lab::gate::Outcome;
use crate::lab::load::crew::Opening;
use crate::lab::load::diagnosis::Diagnosis;
use crate::lab::load::knee::Verdict;
use crate::lab::load::limits::Ports;
use crate::lab::results::load::{
    Alone, Beside, ByClock, Compared, Counts, LatencyUs, LittlesLaw, MOST_MISSED, Mode, Plan, Report,
};
use crate::lab::units::{UNKNOWN, count, latency, of, rate, seconds};
use anstyle::Style;
use chrono::DateTime;

/// What a closed loop cannot show.
pub(super) const CLOSED_LOOP: &str =
    "closed loop: a stall of the server counts once, so use this to compare servers only";

/// What the two clocks of an open loop mean.
const CLOCKS: &str = "response time is from when a request was due, service time from when it was sent; the difference \
                      is waiting, which users feel";

/// What an earlier run cannot show.
const ONE_AGAINST_ONE: &str = "one run against one run has no interval, and the machine may have changed between them; \
                               `io-models compare` measures both in turn and gives a verdict";

impl Report {
    /// The report for people, in lines of at most `width` columns. Colours are escape sequences.
    #[must_use]
    pub fn text(&self, width: Option<usize>) -> String {
        let mut page = Page::new(width);
        if self.is_partial() {
            let failure = self.alone.as_ref().and_then(|alone| alone.failure.as_deref());
            let why = match self.merged_from[..] {
                [] => failure.unwrap_or("interrupted"),
                _ => "a generator was interrupted",
            };
            page.paragraph(&paint(DOUBTFUL, &format!("PARTIAL: {why}")));
        }
        if self.missed_rate == Some(true) {
            page.paragraph(&paint(WRONG, &self.missed()));
        }
        match self.alone.as_ref().zip(self.plan.as_ref()) {
            Some((alone, plan)) => OfOne { report: self, alone, plan }.show(&mut page),
            None => merged::show(self, &mut page),
        }
        self.show_gates(&mut page);
        if let Some(beside) = &self.baseline {
            show_beside(beside, &mut page);
        }
        page.into_text()
    }

    fn show_gates(&self, page: &mut Page) {
        for (i, judged) in self.gates.iter().enumerate() {
            let words = format!("{} is {}", judged.gate, judged.in_words());
            let style = match judged.outcome {
                Outcome::Met => Style::new(),
                Outcome::NotMet => WRONG,
                Outcome::NotJudged => DOUBTFUL,
            };
            page.line(if i == 0 { "gates" } else { "" }, paint(style, &words));
        }
    }

    /// The line of the rates.
    pub(super) fn rate(&self) -> String {
        let achieved = rate(self.achieved_per_s);
        match self.offered_per_s {
            Some(offered) => format!("{} requests/s offered, {achieved} achieved", rate(offered)),
            None => format!("{achieved} requests/s"),
        }
    }
}

/// The figures of an earlier run beside those of this one.
fn show_beside(beside: &Beside, page: &mut Page) {
    let Beside { file, started_unix_s, environment, figures } = beside;
    let date = started_unix_s.and_then(|s| DateTime::from_timestamp(s as i64, 0));
    let date = date.map_or_else(String::new, |date| format!(", {}", date.format("%Y-%m-%d %H:%M UTC")));
    page.line("baseline", format!("{file}{date}"));
    environment.iter().for_each(|difference| page.more(paint(DOUBTFUL, &difference.to_string())));
    page.more(ONE_AGAINST_ONE);
    let mut table = Table::new(&["figure", "old", "new", "new/old"], "");
    for Compared { row, figure, unit, old, new, ratio } in figures {
        let name = row.as_ref().map_or_else(|| figure.clone(), |row| format!("{figure} at {row}"));
        let value = |value: &Option<f64>| value.map_or_else(|| UNKNOWN.to_owned(), |value| unit.show(value));
        let ratio = ratio.map_or_else(|| UNKNOWN.to_owned(), |ratio| format!("{ratio:.2}"));
        table.row([name, value(old), value(new), ratio], "", Style::new());
    }
    page.table(&table);
}

/// The report of one generator.
struct OfOne<'a> {
    report: &'a Report,
    alone: &'a Alone,
    plan: &'a Plan,
}

impl OfOne<'_> {
    fn show(&self, page: &mut Page) {
        page.paragraph(&self.head());
        if let Some(missed) = self.alone.start_missed_s {
            let late = paint_if(missed > MOST_MISSED, DOUBTFUL, format!("{} late", seconds(missed)));
            page.line("start", format!("{late}, by the clock of this machine"));
        }
        self.rates(page);
        self.requests(page);
        self.latencies(page);
        if let Some(server) = &self.alone.server {
            server.show(page);
        }
        self.generator(page);
        self.checked(page);
        if let Some(fates) = &self.alone.hostile {
            fates.show(page);
        }
    }

    fn head(&self) -> String {
        let Report { connections, target, .. } = self.report;
        let plan = self.plan;
        let connections = of(connections.unwrap_or_default(), "connection");
        let idle =
            if plan.idle > 0 { format!(" and {} idle ones", count(plan.idle as u64)) } else { String::new() };
        let to = target.map_or_else(String::new, |target| format!(" to {target}"));
        let depth =
            if plan.depth > 1 { format!(", up to {} under way on each", plan.depth) } else { String::new() };
        let churn = match plan.requests_per_conn {
            None => String::new(),
            Some(1) => ", another connection after each request".to_owned(),
            Some(n) => format!(", another connection after {} requests", count(n.into())),
        };
        let (mode, sizes, time) = (plan.mode, &plan.sizes, seconds(self.report.seconds));
        format!("{mode} loop: {connections}{idle}{to}, {sizes} per request{depth}{churn}, {time}")
    }

    /// A row for each rate.
    fn rates(&self, page: &mut Page) {
        if self.alone.rows.is_empty() {
            return;
        }
        let head = ["offered/s", "achieved/s", "unsent", "late", "p50", "p99", "p99.9", "max"];
        let mut table = Table::new(&head, "");
        for row in &self.alone.rows {
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
        if let Some(knee) = &self.alone.knee {
            page.line("knee", paint_if(knee.rate_per_s.is_none(), WRONG, knee.to_string()));
        }
    }

    fn requests(&self, page: &mut Page) {
        let Opening { requests, answered } = self.alone.opening;
        if answered < requests {
            let answered = paint(WRONG, &format!("{} answered", count(answered)));
            page.line("opening", format!("{}, one on each connection: {answered}", of(requests, "request")));
        }
        let Counts { sent, answered, answered_after, unanswered, .. } = self.report.counts;
        let mut requests = format!("{} sent, {} answered", count(sent.unwrap_or_default()), count(answered));
        if sent == Some(0) && self.alone.lost.len() == self.plan.connections + self.plan.idle {
            requests += ": no connection was left for the load";
        }
        if let Some(after) = answered_after.filter(|&n| n > 0) {
            requests += &format!(", {} more after the end", count(after));
        }
        if let Some(without) = unanswered.filter(|&n| n > 0) {
            let without = format!("{} without an answer", count(without));
            requests = format!("{requests}, {}", paint(WRONG, &without));
        }
        page.line("requests", requests);
        if self.plan.mode == Mode::Open {
            page.line("schedule", self.schedule());
        }
        page.line("rate", self.report.rate());
        self.per_connection(page);
    }

    fn schedule(&self) -> String {
        let Counts { due, late, late_by_generator, unsent, .. } = self.report.counts;
        let [due, late, by_generator, unsent] =
            [due, late, late_by_generator, unsent].map(Option::unwrap_or_default);
        format!(
            "{} due, {} late by more than {} ms ({} of them by the generator), {}",
            count(due),
            count(late),
            self.report.late_us.unwrap_or_default() as f64 / 1e3,
            count(by_generator),
            paint_if(unsent > 0, WRONG, format!("{} unsent", count(unsent)))
        )
    }

    fn per_connection(&self, page: &mut Page) {
        let alone = self.alone;
        let stalls = match alone.stalled_connections as u64 {
            0 => String::new(),
            n => {
                let (n, longest) = (count(n), seconds(alone.longest_stall_s));
                let stalls = format!("{n} without an answer for half a second or longer ({longest})");
                format!("; {}", paint(WRONG, &stalls))
            }
        };
        if let Some((least, most)) = alone.least_per_connection.zip(alone.most_per_connection) {
            let (least, most) = (count(least), count(most));
            page.line("per connection", format!("{least} to {most} requests answered{stalls}"));
        }
    }

    fn latencies(&self, page: &mut Page) {
        let ByClock { response, service, scheduling, connect } = &self.report.latency_us;
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
            let opened = self.report.counts.opened.unwrap_or_default();
            page.line("connect", format!("{connect}; {}", of(opened, "connection")));
        }
        if let Some(words) = self.alone.ports.as_ref().and_then(Ports::in_words) {
            page.line("ports", words);
        }
        let LittlesLaw { under_way, rate_times_latency, holds } = self.alone.littles_law;
        page.line(
            "Little's law",
            match self.report.never_answered() {
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

    fn generator(&self, page: &mut Page) {
        let alone = self.alone;
        page.line(
            "generator",
            format!(
                "{} CPU, {:.0} % of the time ({}); busy for {:.0} % of the time; {} requests per CPU-second",
                seconds(self.report.counts.generator_cpu_s.unwrap_or_default()),
                alone.generator_cpu_share * 100.0,
                self.plan.wait.effect(),
                alone.generator_busy_share * 100.0,
                rate(alone.requests_per_generator_cpu_s)
            ),
        );
    }

    fn checked(&self, page: &mut Page) {
        let Alone { lost, diagnosis, .. } = self.alone;
        let wrong = self.report.counts.wrong_bytes.unwrap_or_default();
        let wrong = paint_if(wrong > 0, WRONG, format!("{} wrong", count(wrong)));
        let n_lost = of(lost.len() as u64, "connection") + " lost";
        page.line("checked", format!("every byte: {wrong}, {}", paint_if(!lost.is_empty(), WRONG, n_lost)));
        for lost in lost.iter().take(5) {
            page.item(&format!("connection {}: {}", lost.connection, lost.reason));
        }
        if lost.len() > 5 {
            page.item(&format!("… and {} more", count(lost.len() as u64 - 5)));
        }
        for (i, Diagnosis { seen, hint, .. }) in diagnosis.iter().enumerate() {
            page.line(if i == 0 { "diagnosis" } else { "" }, paint(WRONG, seen));
            hint.iter().for_each(|hint| page.more(hint));
        }
        if let (false, Some(target)) = (diagnosis.is_empty(), self.report.target) {
            page.more(format!("what else it does wrong: io-models check {target}"));
        }
    }
}
