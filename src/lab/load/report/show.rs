//! The report for people.

use super::{ByClock, LittlesLaw, Report};
use crate::lab::load::limits::Ports;
use crate::lab::load::{LatencyUs, in_column};
use comfy_table::presets::NOTHING;
use comfy_table::{CellAlignment, Table};
use std::fmt;

/// For people.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.partial {
            writeln!(f, "PARTIAL: interrupted")?;
        }
        if self.missed_rate {
            writeln!(f, "{}", self.missed())?;
        }
        self.head(f)?;
        self.table(f)?;
        writeln!(f, "  requests       {} sent, {} answered{}", self.sent, self.answered, self.after())?;
        if self.mode == "open" {
            writeln!(
                f,
                "  schedule       {} due, {} late by more than {} ms ({} of them by the generator), {} unsent",
                self.due,
                self.late,
                self.late_us as f64 / 1e3,
                self.late_by_generator,
                self.unsent
            )?;
        }
        match self.offered_per_s {
            Some(offered) => {
                writeln!(
                    f,
                    "  rate           {offered:.0} requests/s offered, {:.0} achieved",
                    self.achieved_per_s
                )?;
            }
            None => writeln!(f, "  rate           {:.0} requests/s", self.achieved_per_s)?,
        }
        if let Some((least, most)) = self.least_per_connection.zip(self.most_per_connection) {
            writeln!(f, "  per connection {least} to {most} requests answered{}", self.stalls())?;
        }
        self.latencies(f)?;
        writeln!(
            f,
            "  generator      {:.3} s CPU ({:.0} % of the time; {}), busy {:.0} %, {:.0} requests a CPU-second",
            self.generator_cpu_s,
            self.generator_cpu_share * 100.0,
            self.wait.effect(),
            self.generator_busy_share * 100.0,
            self.requests_per_generator_cpu_s
        )?;
        self.checked(f)?;
        self.hostile.iter().try_for_each(|clients| write!(f, "{clients}"))
    }
}

impl Report {
    fn head(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Report { connections, target, seconds, plan, .. } = self;
        let idle = if plan.idle > 0 { format!(" and {} idle ones", plan.idle) } else { String::new() };
        let depth =
            if plan.depth > 1 { format!(", up to {} under way on each", plan.depth) } else { String::new() };
        let churn = plan.requests_per_conn.map(|n| format!(", {n} requests on each, then another"));
        writeln!(
            f,
            "{} loop: {connections} connections{idle} to {target}, {} a request{depth}{}, {seconds:.2} s",
            self.mode,
            plan.sizes,
            churn.unwrap_or_default()
        )
    }

    /// One line for each rate.
    fn table(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.rows.is_empty() {
            return Ok(());
        }
        let mut table = Table::new();
        table.load_style(NOTHING).set_header([
            "offered/s",
            "achieved/s",
            "late",
            "unsent",
            "p50 µs",
            "p90 µs",
            "p99 µs",
            "p99.9 µs",
            "max µs",
            "",
        ]);
        for row in &self.rows {
            let latency = row.response.unwrap_or(row.service);
            let note = match (row.verdict, row.missed) {
                (Some(verdict), _) => verdict.in_words(),
                (None, true) => "missed its rate",
                (None, false) => "",
            };
            let mut cells = vec![
                format!("{:.0}", row.offered_per_s.unwrap_or_default()),
                format!("{:.0}", row.achieved_per_s),
                row.late.to_string(),
                row.unsent.to_string(),
            ];
            let LatencyUs { p50, p90, p99, p99_9, max, .. } = latency;
            cells.extend([p50, p90, p99, p99_9, max].map(in_column));
            cells.push(note.to_owned());
            table.add_row(cells);
        }
        for column in table.column_iter_mut().take(9) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        writeln!(f, "{table}")?;
        if let Some(knee) = &self.knee {
            writeln!(f, "  knee           {knee}")?;
        }
        Ok(())
    }

    fn after(&self) -> String {
        let mut text = String::new();
        if self.answered_after > 0 {
            text += &format!(", {} more after the end", self.answered_after);
        }
        if self.unanswered > 0 {
            text += &format!(", {} without answer", self.unanswered);
        }
        text
    }

    fn stalls(&self) -> String {
        match self.stalled_connections {
            0 => String::new(),
            n => {
                format!("; {n} without an answer for half a second or longer ({:.1} s)", self.longest_stall_s)
            }
        }
    }

    fn latencies(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ByClock { response, service, scheduling, connect } = &self.latency_us;
        match response {
            None => {
                writeln!(f, "  latency        {service}")?;
                writeln!(
                    f,
                    "                 (closed loop: a stall of the server counts once; compare servers with it, no more)"
                )?;
            }
            Some(response) => {
                writeln!(f, "  response time  {response}")?;
                writeln!(f, "  service time   {service}")?;
                writeln!(
                    f,
                    "                 (response is from when a request was to be sent, service from when it was: the \
                     difference is waiting that users feel)"
                )?;
            }
        }
        if let Some(scheduling) = scheduling {
            writeln!(f, "  sent late by   {scheduling}")?;
        }
        if let Some(connect) = connect {
            writeln!(f, "  connect        {connect}; {} connections", self.opened)?;
        }
        if let Some(words) = self.ports.as_ref().and_then(Ports::in_words) {
            writeln!(f, "  ports          {words}")?;
        }
        let LittlesLaw { under_way, rate_times_latency, holds } = self.littles_law;
        writeln!(
            f,
            "  Little's law   {under_way:.2} under way, rate × latency {rate_times_latency:.2}{}",
            if holds { "" } else { ": DOES NOT HOLD, some had no answer in time" }
        )
    }

    fn checked(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "  checked        every byte: {} wrong, {} connections lost",
            self.wrong_bytes, self.lost_connections
        )?;
        for lost in self.lost.iter().take(5) {
            writeln!(f, "    connection {}: {}", lost.connection, lost.reason)?;
        }
        if self.lost.len() > 5 {
            writeln!(f, "    … and {} more", self.lost.len() - 5)?;
        }
        Ok(())
    }
}
