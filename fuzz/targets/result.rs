//! A result of `compare`, which `report` draws in all forms, and a profile of `facts`.
#![no_main]

use io_models::lab::compare::{self, gates, workload};
use io_models::lab::facts::Baseline;
use io_models::lab::results::compare::Comparison;
use io_models::lab::show::{csv, html};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    Baseline::read("profile", text).ok();
    let Ok(result) = Comparison::read(text) else { return };
    for width in [None, Some(80)] {
        let text = result.text(width, true);
        assert!(
            !without_colours(&text).contains(|c: char| c.is_control() && !matches!(c, '\n' | '\t')),
            "{text:?}"
        );
    }
    drop((csv::text_of(&result), html::page(&result), html::picture(&result)));
    gates::junit(&result).expect("a document");
    // What `compare --rerun` looks at before it starts anything.
    workload::check_all(&result.plan.workloads).ok();
    compare::check(&result.plan).ok();
});

fn without_colours(text: &str) -> String {
    ["\x1b[0m", "\x1b[31m", "\x1b[33m"].iter().fold(text.to_owned(), |text, colour| text.replace(colour, ""))
}
