//! The number before and after, in Rust and in C++.

use super::{languages, shown};
use io_models::lab::results::demo::{Demonstration, Drawn, Run};

/// The demo in each language in which it has programs.
#[track_caller]
fn holds(id: &str, check: impl Fn(&Demonstration)) {
    for language in languages(id) {
        if let Some(shown) = shown(id, language) {
            eprintln!("{id}, {language:?}: {} before, {} after", shown.broken.number, shown.mended.number);
            check(&shown);
        }
    }
}

fn parts(run: &Run) -> Vec<f64> {
    let Drawn::Parts(parts) = &run.drawn else { panic!("{run:?}") };
    parts.iter().map(|(_, value)| *value).collect()
}

#[test]
fn one_read_for_each_edge_answers_one_buffer_of_a_request() {
    holds("one-read-per-edge", |shown| {
        assert_eq!((parts(&shown.broken), parts(&shown.mended)), (vec![1024.0, 7168.0], vec![8192.0, 0.0]));
    });
}

#[test]
fn with_epollout_left_on_a_silent_client_keeps_the_server_awake() {
    holds("epollout-left-on", |shown| {
        assert!(shown.broken.number > 1000.0, "{:?}", shown.broken);
        assert_eq!(shown.mended.number, 0.0, "{:?}", shown.mended);
    });
}
