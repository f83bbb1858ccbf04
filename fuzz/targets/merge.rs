//! What `io-models merge` reads: reports and logs, its own and those of others.
#![no_main]

use io_models::lab::load::gates::junit;
use io_models::lab::load::hlog;
use io_models::lab::load::merge::Merged;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(mut merged) = Merged::read("one", bytes) else { return };
    let mut log = Vec::new();
    merged.log(&mut log).expect("memory takes everything");
    hlog::read(&log).expect("our own log");
    let report = merged.report();
    let text = report.text(Some(80));
    assert!(
        !without_colours(&text).contains(|c: char| c.is_control() && !matches!(c, '\n' | '\t')),
        "{text:?}"
    );
    junit(&report).expect("a document");
    drop(merged.hgrm());
    // The same run, or a log that may be of another one.
    let again = Merged::read("two", bytes).expect("it was read before");
    if merged.add(again).is_ok() {
        drop(merged.report().text(None));
    }
});

fn without_colours(text: &str) -> String {
    ["\x1b[0m", "\x1b[31m", "\x1b[33m"].iter().fold(text.to_owned(), |text, colour| text.replace(colour, ""))
}
