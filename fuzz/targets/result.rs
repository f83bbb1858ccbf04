//! Results of `compare`, `check`, `trace` and `doctor`, which `report` draws in all forms, and a profile of `facts`.
#![no_main]

use io_models::lab::compare::{self, gates, workload};
use io_models::lab::facts::Profile;
use io_models::lab::lang::Lang;
use io_models::lab::results::check::Checked;
use io_models::lab::results::compare::Comparison;
use io_models::lab::results::doctor::Diagnosed;
use io_models::lab::results::trace::Traced;
use io_models::lab::show::{csv, html};
use libfuzzer_sys::fuzz_target;

/// A file, and a terminal.
const WIDTHS: [Option<usize>; 2] = [None, Some(80)];

fuzz_target!(|text: &str| {
    Profile::read("profile", text).ok();
    if let Ok(result) = Comparison::read(text) {
        for width in WIDTHS {
            is_harmless(&result.text(width, true));
        }
        drop((csv::text_of(&result), html::page(&result), html::picture(&result)));
        gates::junit(&result).expect("a document");
        // What `compare --rerun` looks at before it starts anything.
        workload::check_all(&result.plan.workloads).ok();
        compare::check(&result.plan).ok();
    }
    if let Ok(result) = Checked::read(text) {
        for lang in [Lang::En, Lang::Zh] {
            for width in WIDTHS {
                is_harmless(&result.page(true, width, lang));
            }
        }
        is_harmless(&result.markdown());
        let page = html::check::page(&result);
        is_harmless(&page);
        assert!(!page.to_ascii_lowercase().contains("<script"), "{page:?}");
        result.junit().expect("a document");
    }
    if let Ok(result) = Traced::read(text) {
        for lang in [Lang::En, Lang::Zh] {
            for width in WIDTHS {
                is_harmless(&result.text(width, lang));
            }
            let page = html::trace::page(&result, lang);
            is_harmless(&page);
            assert!(!page.to_ascii_lowercase().contains("<script"), "{page:?}");
        }
        is_harmless(&result.trace_events());
    }
    if let Ok(result) = Diagnosed::read(text) {
        for lang in [Lang::En, Lang::Zh] {
            for width in WIDTHS {
                is_harmless(&result.text(width, lang));
            }
        }
    }
});

/// A terminal obeys nothing of it but the colours.
fn is_harmless(text: &str) {
    let plain = ["\x1b[0m", "\x1b[31m", "\x1b[33m"]
        .iter()
        .fold(text.to_owned(), |text, colour| text.replace(colour, ""));
    assert!(!plain.contains(|c: char| c.is_control() && !matches!(c, '\n' | '\t')), "{text:?}");
}
