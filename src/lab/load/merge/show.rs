//! A merged result for people.

use super::{Counts, Histograms, Merged, Rates, Timing};
use crate::lab::load::LatencyUs;
use crate::lab::load::report::CLOSED_LOOP;
use crate::lab::show::{DOUBTFUL, Page, Table, WRONG, paint, paint_if};
use crate::lab::units::{count, latency, of, rate, seconds};
use anstyle::Style;

/// What a log does not tell is not zero.
pub(super) const UNKNOWN: &str = "not in the log";

impl Merged {
    /// The result for people, in lines of at most `width` columns. Colours are escape sequences.
    #[must_use]
    pub fn text(&self, width: Option<usize>) -> String {
        let mut page = Page::new(width);
        if self.partial == Some(true) {
            page.paragraph(&paint(DOUBTFUL, "PARTIAL: a generator was interrupted"));
        }
        if self.missed_rate == Some(true) {
            page.paragraph(&paint(WRONG, &self.missed()));
        }
        page.paragraph(&self.head());
        self.requests(&mut page);
        let Rates { offered, achieved } = self.rates();
        let achieved = rate(achieved);
        match offered {
            Some(offered) => {
                page.line("rate", format!("{} requests/s offered, {achieved} achieved", rate(offered)))
            }
            None => page.line("rate", format!("{achieved} requests/s")),
        }
        self.latencies(&mut page);
        let cpu = self.counts.generator_cpu_s;
        page.line(
            "generators",
            cpu.map_or_else(|| format!("CPU time: {UNKNOWN}"), |cpu| seconds(cpu) + " CPU"),
        );
        self.checked(&mut page);
        page.table(&self.generators());
        page.into_text()
    }

    fn head(&self) -> String {
        let Timing { simultaneous, seconds: time, .. } = self.timing();
        let mode =
            self.mode().map_or_else(|| "logs of another program".to_owned(), |mode| format!("{mode} loop"));
        let generators = of(self.parts.len() as u64, "generator");
        let connections =
            self.connections().map_or_else(String::new, |n| format!(", {}", of(n, "connection")));
        let idle =
            if self.idle() > 0 { format!(" and {} idle ones", count(self.idle())) } else { String::new() };
        let target = self.target.as_deref().map_or_else(String::new, |target| format!(" to {target}"));
        let sizes = self.sizes().map_or_else(String::new, |sizes| format!(", {sizes} per request"));
        let how = if simultaneous { "" } else { ", not at the same time" };
        format!("{mode}: {generators}{connections}{idle}{target}{sizes}, {}{how}", seconds(time))
    }

    fn requests(&self, page: &mut Page) {
        let Counts {
            due, sent, unsent, late, late_by_generator, answered, answered_after, unanswered, ..
        } = self.counts;
        let requests = match sent {
            None => format!("{} answered; sent: {UNKNOWN}", count(answered)),
            Some(sent) => {
                let mut text = format!("{} sent, {} answered", count(sent), count(answered));
                if let Some(after) = answered_after.filter(|&n| n > 0) {
                    text += &format!(", {} more after the end", count(after));
                }
                if let Some(without) = unanswered.filter(|&n| n > 0) {
                    let without = format!("{} without an answer", count(without));
                    text = format!("{text}, {}", paint(WRONG, &without));
                }
                text
            }
        };
        page.line("requests", requests);
        if self.mode() == Some("closed") {
            return;
        }
        let (Some(due), Some(late), Some(by_us), Some(unsent)) = (due, late, late_by_generator, unsent)
        else {
            return page.line("schedule", format!("due, late and unsent: {UNKNOWN}"));
        };
        let late_ms =
            self.late_us.map_or_else(String::new, |us| format!(" by more than {} ms", us as f64 / 1e3));
        let unsent = paint_if(unsent > 0, WRONG, format!("{} unsent", count(unsent)));
        let (due, late, by_us) = (count(due), count(late), count(by_us));
        page.line(
            "schedule",
            format!("{due} due, {late} late{late_ms} ({by_us} of them by the generators), {unsent}"),
        );
    }

    fn latencies(&self, page: &mut Page) {
        if self.latency().is_empty() {
            return page.line("latency", "– (no answer came)");
        }
        let Histograms { response, service, connect, .. } = &self.histograms;
        let service = LatencyUs::of(service).to_string();
        match response {
            Some(response) => {
                page.line("response time", LatencyUs::of(response).to_string());
                page.line("service time", service);
            }
            None => page.line("latency", service),
        }
        if self.mode() == Some("closed") {
            page.more(CLOSED_LOOP);
        }
        if let Some(connect) = connect {
            page.line("connect", LatencyUs::of(connect).to_string());
        }
    }

    fn checked(&self, page: &mut Page) {
        let Counts { wrong_bytes, lost_connections, .. } = self.counts;
        let lost = |n: u64| paint_if(n > 0, WRONG, of(n, "connection") + " lost");
        page.line(
            "checked",
            match (wrong_bytes.zip(lost_connections), self.known_lost()) {
                (Some((wrong, n)), _) => {
                    let wrong = paint_if(wrong > 0, WRONG, format!("{} wrong", count(wrong)));
                    format!("every byte: {wrong}, {}", lost(n))
                }
                (None, 0) => UNKNOWN.to_owned(),
                (None, n) => format!("{UNKNOWN}; {} in the others", lost(n)),
            },
        );
    }

    /// A row for each generator.
    fn generators(&self) -> Table {
        let mut table = Table::new(&["from", "connections", "requests/s", "p99", "lost"], "");
        for part in &self.parts {
            let number = |n: Option<u64>| n.map_or_else(|| UNKNOWN.to_owned(), count);
            let cells = [
                part.file.clone(),
                number(part.connections),
                rate(part.achieved_per_s),
                latency(part.p99_us),
                number(part.lost_connections),
            ];
            table.row(cells, "", Style::new());
        }
        table
    }
}
