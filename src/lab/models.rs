//! The table of models: `io-models models`.

use super::show::Page;
use crate::model::{self, Clients, Model, Runs, Waits};
use serde::Serialize;

/// The table, as data.
#[derive(Debug, Serialize)]
pub struct Report {
    schema: &'static str,
    schema_version: u32,
    models: Vec<Row>,
}

#[derive(Debug, Serialize)]
struct Row {
    name: &'static str,
    summary: &'static str,
    /// How many clients it serves at the same time: a sentence.
    clients: String,
    /// The number, where it is a constant of the model.
    most_clients: Option<usize>,
    runs: &'static str,
    /// Whether it sleeps while nothing happens.
    sleeps: bool,
    /// What the kernel must have, beyond what every model needs.
    needs: Option<&'static str>,
    available: bool,
    why_not: Option<String>,
}

impl Report {
    /// The models of this program on this system.
    #[must_use]
    pub fn here() -> Report {
        let models = model::ALL.iter().map(Row::of).collect();
        Report { schema: "io-models/models", schema_version: 1, models }
    }

    /// The table for people, in lines of at most `width` columns.
    #[must_use]
    pub fn text(&self, width: Option<usize>) -> String {
        let mut page = Page::new(width);
        for row in &self.models {
            page.indented(0, 4, &format!("{}: {}", row.name, row.summary));
            page.indented(4, 4, &format!("{}, {}", row.clients, row.runs));
            if !row.sleeps {
                page.indented(4, 4, "never sleeps: it keeps a processor busy");
            }
            if let Some(why) = &row.why_not {
                page.indented(4, 4, &format!("not available here: {why}"));
            }
        }
        page.into_text()
    }
}

impl Row {
    fn of(model: &Model) -> Row {
        let why_not = (model.why_not)();
        Row {
            name: model.name,
            summary: model.summary,
            clients: clients(model.clients),
            most_clients: match model.clients {
                Clients::One => Some(1),
                Clients::UpTo { most, .. } => Some(most),
                _ => None,
            },
            runs: match model.runs {
                Runs::InThread => "in one thread",
                Runs::ThreadPerClient => "in a thread for each client",
                Runs::ProcessPerClient => "in a process for each client",
                Runs::WorkerThreads => "in worker threads (--workers)",
                Runs::WorkerProcesses => "in worker processes (--workers)",
            },
            sleeps: model.waits == Waits::Sleeps,
            needs: model.needs,
            available: why_not.is_none(),
            why_not,
        }
    }
}

fn clients(clients: Clients) -> String {
    match clients {
        Clients::One => "one client at a time".to_owned(),
        Clients::UpTo { most, because } => format!("about {most} clients, because {because}"),
        Clients::Processes => "as many clients as processes (ulimit -u)".to_owned(),
        Clients::Threads => "as many clients as threads (ulimit -u)".to_owned(),
        Clients::Workers => "as many clients as workers (--workers)".to_owned(),
        Clients::Descriptors => "as many clients as descriptors (ulimit -n)".to_owned(),
    }
}
