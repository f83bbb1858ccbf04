//! The figures of one server under one load.

use super::Load;
use super::designs::{self, BASELINE};
use crate::lab::Status;
use crate::lab::stats::Spread;
use crate::model::Model;
use serde::Serialize;

/// One server under one load.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Row {
    pub(super) load: Load,
    /// The number of the design in the book, and its name there; null for models of today.
    pub(super) design: Option<u8>,
    pub(super) name: Option<&'static str>,
    pub(super) model: &'static str,
    pub(super) status: Status,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) reason: Option<String>,
    /// CPU time of the server less that of the iterative server in the same round, in seconds.
    pub(super) control_cpu_s: Option<Spread>,
    /// CPU time of the server, in seconds.
    pub(super) server_cpu_s: Option<Spread>,
    /// From the first connect(2) of a client to the last close(2) of one, in seconds.
    pub(super) wall_s: Option<Spread>,
    /// Each run.
    runs: Vec<Run>,
}

/// One run of a server.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(super) struct Run {
    pub(super) round: usize,
    pub(super) server_cpu_s: f64,
    pub(super) wall_s: f64,
}

impl Row {
    /// A row without figures.
    pub(super) fn new(load: Load, model: &Model, status: Status, reason: Option<String>) -> Row {
        let design = designs::of(model);
        Row {
            load,
            design: design.map(|design| design.number),
            name: design.map(|design| design.name),
            model: model.name,
            status,
            reason,
            control_cpu_s: None,
            server_cpu_s: None,
            wall_s: None,
            runs: Vec::new(),
        }
    }

    /// The same with what its runs gave.
    pub(super) fn with_figures(self, runs: Vec<Run>, baseline: &[Run]) -> Row {
        let spread = |value: fn(&Run) -> f64| Spread::of_median(&runs.iter().map(value).collect::<Vec<_>>());
        Row {
            control_cpu_s: Spread::of_median(&control(&runs, baseline)),
            server_cpu_s: spread(|run| run.server_cpu_s),
            wall_s: spread(|run| run.wall_s),
            runs,
            ..self
        }
    }

    /// Whether the others are measured by it.
    pub(super) fn is_baseline(&self) -> bool {
        self.model == BASELINE
    }
}

/// The process control of each run whose round also has a run of the baseline.
fn control(runs: &[Run], baseline: &[Run]) -> Vec<f64> {
    let same_round = |run: &Run| baseline.iter().find(|other| other.round == run.round);
    runs.iter().filter_map(|run| Some(run.server_cpu_s - same_round(run)?.server_cpu_s)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model;

    fn runs(cpu: &[(usize, f64)]) -> Vec<Run> {
        cpu.iter().map(|&(round, server_cpu_s)| Run { round, server_cpu_s, wall_s: 2.0 }).collect()
    }

    fn row(own: &[(usize, f64)], baseline: &[(usize, f64)]) -> Row {
        let fork = model::find("fork").unwrap();
        Row::new(Load::Book, fork, Status::Measured, None).with_figures(runs(own), &runs(baseline))
    }

    #[test]
    fn process_control_is_the_difference_to_the_baseline_of_the_same_round() {
        let row = row(&[(0, 5.0), (1, 9.0), (2, 7.0)], &[(0, 1.0), (1, 2.0), (2, 7.5)]);
        assert_eq!(row.control_cpu_s, Some(Spread { median: 4.0, low: -0.5, high: 7.0 }));
        assert_eq!(row.server_cpu_s.map(|cpu| cpu.median), Some(7.0));
        assert_eq!((row.design, row.name), (Some(1), Some("one fork per client")));
    }

    #[test]
    fn a_round_without_the_baseline_has_no_process_control() {
        assert_eq!(row(&[(0, 5.0), (1, 9.0)], &[(1, 2.0)]).control_cpu_s.map(|cpu| cpu.median), Some(7.0));
        assert_eq!(row(&[(0, 5.0)], &[]).control_cpu_s, None);
    }
}
