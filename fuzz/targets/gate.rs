//! Gates, of both commands that have some.
#![no_main]

use io_models::lab::gate::{Gate, Interval, Measured};
use io_models::lab::{compare, load};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    for figures in [&load::gates::FIGURES[..], &compare::gates::FIGURES[..]] {
        let Ok(gate) = Gate::parse(text, figures) else { continue };
        let shown = gate.text();
        assert!(!shown.contains(char::is_control), "{shown:?}");
        assert_eq!(Gate::parse(shown, figures).expect("as it was written"), gate);
        for value in [None, Some(0.0), Some(1.5), Some(1e300)] {
            let interval = value.map(|value| Interval { low: value / 2.0, high: value * 2.0 });
            let measured = Measured::new(gate.row().map(str::to_owned), "a figure".to_owned(), value);
            drop(gate.judge(Measured { interval, baseline: value, ..measured.clone() }).in_words());
            drop(gate.judge(Measured { is_least: true, ..measured }).in_words());
        }
        drop(gate.not_judged("it was interrupted").in_words());
    }
});
