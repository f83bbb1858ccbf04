//! A test for every row of the table.

use super::process::is_idle;
use super::server::WORKERS;
use io_models::model::{ALL, Clients, Model, Runs, Waits};
use procfs::process::Process;
use std::thread::{Builder, Scope, ScopedJoinHandle, scope};

/// Run `test` for each model in turn.
pub(crate) fn each_model(test: impl Fn(&'static Model) + Sync) {
    for model in ALL {
        scope(|scope| finish(start(scope, model, &test)));
    }
}

/// Run `test` for all models at the same time: for tests that mostly wait.
pub(crate) fn all_models_at_once(test: impl Fn(&'static Model) + Sync) {
    models_at_once(|_| true, test);
}

/// The same for the models that are `picked`.
pub(crate) fn models_at_once(picked: impl Fn(&Model) -> bool, test: impl Fn(&'static Model) + Sync) {
    scope(|scope| {
        let picked = ALL.iter().filter(|model| picked(model));
        let running: Vec<_> = picked.map(|model| start(scope, model, &test)).collect();
        running.into_iter().for_each(finish);
    });
}

/// Whether the server has nothing to do, as far as that can be seen: one that never sleeps always may have.
pub(crate) fn has_settled(model: &Model, process: &Process) -> bool {
    model.waits == Waits::Spins || is_idle(process)
}

/// How many clients a server of [`Server::start`](super::Server::start) has at a time, where that is only a few. The others wait.
pub(crate) fn few(model: &Model) -> Option<usize> {
    match model.clients {
        Clients::One => Some(1),
        Clients::Workers => Some(WORKERS),
        _ => None,
    }
}

/// Whether others wait while one client is served.
pub(crate) fn one_at_a_time(model: &Model) -> bool {
    few(model) == Some(1)
}

/// The processes beside the first that are there while a server has no clients.
pub(crate) fn worker_processes(model: &Model) -> usize {
    if model.runs == Runs::WorkerProcesses { WORKERS } else { 0 }
}

/// Whether it has a process for each client.
pub(crate) fn forks(model: &Model) -> bool {
    model.runs == Runs::ProcessPerClient
}

/// The thread has the model's name, and so has the message when it panics.
fn start<'scope>(
    scope: &'scope Scope<'scope, '_>,
    model: &'static Model,
    test: &'scope (impl Fn(&'static Model) + Sync),
) -> ScopedJoinHandle<'scope, ()> {
    let thread = Builder::new().name(format!("model {}", model.name));
    thread.spawn_scoped(scope, move || test(model)).expect("a thread for the test of a model")
}

fn finish(running: ScopedJoinHandle<'_, ()>) {
    let name = running.thread().name().unwrap_or_default().to_owned();
    assert!(running.join().is_ok(), "{name}: failed, see above");
}

/// Whether a ring accepts, receives and sends, so that a request makes no system calls of its own.
pub(crate) fn leaves_it_to_a_ring(model: &str) -> bool {
    matches!(model, "uring" | "uring-reuseport")
}
