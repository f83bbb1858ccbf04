//! A merged result for people.

use super::{Counts, Histograms, Merged, Rates, Timing};
use crate::lab::load::{LatencyUs, in_column};
use comfy_table::presets::NOTHING;
use comfy_table::{CellAlignment, Table};
use std::fmt;

/// What a log does not tell is not zero.
pub(super) const UNKNOWN: &str = "not in the log";

impl fmt::Display for Merged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.partial == Some(true) {
            writeln!(f, "PARTIAL: a generator was interrupted")?;
        }
        if self.missed_rate == Some(true) {
            writeln!(f, "{}", self.missed())?;
        }
        self.head(f)?;
        self.requests(f)?;
        self.rate(f)?;
        self.latencies(f)?;
        match self.counts.generator_cpu_s {
            Some(cpu_s) => writeln!(f, "  generators     {cpu_s:.3} s CPU")?,
            None => writeln!(f, "  generators     CPU time: {UNKNOWN}")?,
        }
        self.checked(f)?;
        self.table(f)
    }
}

impl Merged {
    fn head(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Timing { simultaneous, seconds, .. } = self.timing();
        let mode =
            self.mode().map_or_else(|| "logs of another program".to_owned(), |mode| format!("{mode} loop"));
        let generators = match self.parts.len() {
            1 => "1 generator".to_owned(),
            n => format!("{n} generators"),
        };
        let connections = self.connections().map_or_else(String::new, |n| format!(", {n} connections"));
        let idle = if self.idle() > 0 { format!(" and {} idle ones", self.idle()) } else { String::new() };
        let target = self.target.as_deref().map_or_else(String::new, |target| format!(" to {target}"));
        let sizes = self.sizes().map_or_else(String::new, |sizes| format!(", {sizes} a request"));
        let how = if simultaneous { "" } else { ", not at the same time" };
        writeln!(f, "{mode}: {generators}{connections}{idle}{target}{sizes}, {seconds:.2} s{how}")
    }

    fn requests(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Counts {
            due, sent, unsent, late, late_by_generator, answered, answered_after, unanswered, ..
        } = self.counts;
        match (sent, answered_after, unanswered) {
            (Some(sent), after, without) => {
                write!(f, "  requests       {sent} sent, {answered} answered")?;
                if let Some(after) = after.filter(|&n| n > 0) {
                    write!(f, ", {after} more after the end")?;
                }
                if let Some(without) = without.filter(|&n| n > 0) {
                    write!(f, ", {without} without answer")?;
                }
                writeln!(f)?;
            }
            (None, ..) => writeln!(f, "  requests       {answered} answered; sent: {UNKNOWN}")?,
        }
        if self.mode() == Some("closed") {
            return Ok(());
        }
        let (Some(due), Some(late), Some(by_us), Some(unsent)) = (due, late, late_by_generator, unsent)
        else {
            return writeln!(f, "  schedule       due, late and unsent: {UNKNOWN}");
        };
        let late_ms =
            self.late_us.map_or_else(String::new, |us| format!(" by more than {} ms", us as f64 / 1e3));
        writeln!(
            f,
            "  schedule       {due} due, {late} late{late_ms} ({by_us} of them by the generators), {unsent} unsent"
        )
    }

    fn rate(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Rates { offered, achieved } = self.rates();
        match offered {
            Some(offered) => {
                writeln!(f, "  rate           {offered:.0} requests/s offered, {achieved:.0} achieved")
            }
            None => writeln!(f, "  rate           {achieved:.0} requests/s"),
        }
    }

    fn latencies(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.latency().is_empty() {
            return writeln!(f, "  latency        – (no answer came)");
        }
        let Histograms { response, service, connect, .. } = &self.histograms;
        let service = LatencyUs::of(service);
        match response {
            Some(response) => {
                writeln!(f, "  response time  {}", LatencyUs::of(response))?;
                writeln!(f, "  service time   {service}")?;
            }
            None => writeln!(f, "  latency        {service}")?,
        }
        if self.mode() == Some("closed") {
            writeln!(
                f,
                "                 (closed loop: a stall of the server counts once; compare servers with it, no more)"
            )?;
        }
        match connect {
            Some(connect) => writeln!(f, "  connect        {}", LatencyUs::of(connect)),
            None => Ok(()),
        }
    }

    fn checked(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Counts { wrong_bytes, lost_connections, .. } = self.counts;
        match wrong_bytes.zip(lost_connections) {
            Some((wrong, lost)) => {
                writeln!(f, "  checked        every byte: {wrong} wrong, {lost} connections lost")
            }
            None if self.known_lost() > 0 => {
                writeln!(
                    f,
                    "  checked        {UNKNOWN}; {} connections lost in the others",
                    self.known_lost()
                )
            }
            None => writeln!(f, "  checked        {UNKNOWN}"),
        }
    }

    /// One line for each generator.
    fn table(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = Table::new();
        table.load_style(NOTHING).set_header(["from", "connections", "requests/s", "p99 µs", "lost"]);
        for part in &self.parts {
            let number = |n: Option<u64>| n.map_or_else(|| UNKNOWN.to_owned(), |n| n.to_string());
            table.add_row([
                part.file.clone(),
                number(part.connections),
                format!("{:.0}", part.achieved_per_s),
                in_column(part.p99_us),
                number(part.lost_connections),
            ]);
        }
        for column in table.column_iter_mut().skip(1) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        writeln!(f, "{table}")
    }
}
