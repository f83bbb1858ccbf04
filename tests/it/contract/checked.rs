//! Every model passes the checks of `io-models check`, all of them, with system calls that fail.

use crate::support::{WORKERS, Which, each_model, few, judged, seed};
use io_models::lab::results::check::{Expect, Outcome};
use io_models::model::{Model, Waits};

/// What a model fails on purpose.
fn on_purpose(model: &Model) -> &'static [&'static str] {
    match model.waits {
        // It shows what it costs to ask again and again.
        Waits::Spins => &["idle/cpu"],
        _ => &[],
    }
}

#[test]
fn every_model_passes_every_quick_check() {
    every_model_passes(Which::Quick);
}

#[test]
#[ignore = "takes minutes: `cargo test --test it checked -- --ignored`"]
fn every_model_passes_every_check_and_every_fault() {
    every_model_passes(Which::All);
}

fn every_model_passes(which: Which) {
    let seed = seed();
    each_model(|model| {
        let program = env!("CARGO_BIN_EXE_io-models");
        let workers = if model.has_workers() { format!(" --workers {WORKERS}") } else { String::new() };
        let command = format!("exec '{program}' serve {}{workers} --listen 127.0.0.1:{{port}}", model.name);
        let clients = few(model).unwrap_or(1000);
        let judged = judged((model.name, &command), Expect::Echo, clients, which, seed);
        let failed: Vec<_> = judged.failed().map(|verdict| verdict.check.as_str()).collect();
        assert_eq!(
            failed,
            on_purpose(model),
            "IO_MODELS_SEED={seed}: {:#?}",
            judged.failed().collect::<Vec<_>>()
        );
        for verdict in judged.verdicts.iter().filter(|verdict| verdict.outcome == Outcome::NotMade) {
            let why = verdict.why.as_deref().unwrap_or_default();
            let follows = on_purpose(model).iter().any(|id| why.starts_with(id));
            assert!(follows, "{}: {} was not made: {why}", model.name, verdict.check);
        }
    });
}
