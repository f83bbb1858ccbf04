//! Who takes part: our models, and servers of others.

use crate::lab::Status;
use crate::lab::results::compare::{self as results, Plan, Reach, Row};
use crate::model::{self, Clients, Model, Waits};
use anyhow::{Context, ensure};
use std::net::SocketAddr;

/// A server that takes part in the comparison.
#[derive(Debug, Clone)]
pub(super) struct Entrant {
    pub(super) name: String,
    pub(super) kind: Kind,
    /// What ratios are taken to.
    pub(super) baseline: bool,
    /// The baseline a second time: A/A.
    pub(super) control: bool,
}

/// How it is started.
#[derive(Debug, Clone)]
pub(super) enum Kind {
    /// A model of ours.
    Model(&'static Model),
    /// By this command of sh(1).
    Command(String),
    /// It runs already.
    Running { address: SocketAddr, pid: Option<u32> },
}

impl Entrant {
    /// All that a plan names: the baseline first, then the baseline a second time.
    pub(super) fn all(plan: &Plan) -> anyhow::Result<Vec<Entrant>> {
        let find = |name: &str| model::find(name).with_context(|| format!("there is no model {name}"));
        let baseline = find(&plan.baseline)?;
        let of = |model: &'static Model, baseline, control| Entrant {
            name: model.name.to_owned(),
            kind: Kind::Model(model),
            baseline,
            control,
        };
        let mut all = vec![of(baseline, true, false), of(baseline, false, true)];
        for name in plan.models.iter().filter(|name| **name != plan.baseline) {
            ensure!(!all.iter().any(|entrant| entrant.name == *name), "the model {name} is named twice");
            all.push(of(find(name)?, false, false));
        }
        for server in &plan.servers {
            let is_taken = all.iter().any(|entrant| entrant.name == server.name);
            ensure!(!is_taken, "two servers are called {:?}: give the foreign one another name", server.name);
            if let Reach::Command { command } = &server.reach {
                let name = &server.name;
                ensure!(
                    command.contains("{port}"),
                    "the command of {name} does not say {{port}}, for the port to listen on"
                );
            }
            let kind = match &server.reach {
                Reach::Command { command } => Kind::Command(command.clone()),
                &Reach::Running { address, pid } => Kind::Running { address, pid },
            };
            all.push(Entrant { name: server.name.clone(), kind, baseline: false, control: false });
        }
        Ok(all)
    }

    /// What it is, for the result.
    pub(super) fn described(&self) -> results::Entrant {
        let summary = match &self.kind {
            Kind::Model(model) => model.summary.to_owned(),
            Kind::Command(command) => command.clone(),
            Kind::Running { address, pid: Some(pid) } => format!("process {pid}, which listens on {address}"),
            Kind::Running { address, pid: None } => format!("a server that listens on {address}"),
        };
        results::Entrant { name: self.name.clone(), summary, foreign: self.model().is_none() }
    }

    /// Its row without figures.
    pub(super) fn row(&self, status: Status, reason: Option<String>) -> Row {
        Row {
            entrant: self.name.clone(),
            baseline: self.baseline,
            control: self.control,
            status,
            reason,
            figures: None,
            starts: Vec::new(),
            histogram: None,
        }
    }

    pub(super) fn model(&self) -> Option<&'static Model> {
        match self.kind {
            Kind::Model(model) => Some(model),
            _ => None,
        }
    }

    /// Whether it keeps a processor busy while nothing is asked of it, as far as is known beforehand.
    pub(super) fn never_sleeps(&self) -> bool {
        self.model().is_some_and(|model| model.waits == Waits::Spins)
    }

    /// Whether it has a process or a thread for each of its clients.
    pub(super) fn has_one_each(&self) -> bool {
        let has = |clients| matches!(clients, Clients::Processes | Clients::Threads | Clients::Workers);
        self.model().is_some_and(|model| has(model.clients))
    }

    /// For progress and failures.
    pub(super) fn label(&self) -> String {
        if self.control { format!("{} (A/A)", self.name) } else { self.name.clone() }
    }
}
