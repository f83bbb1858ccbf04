//! One line on standard error that shows the progress: on a terminal, and nowhere else.
//!
//! It is written by hand because a library for this (indicatif) links the mathematical library, which would take memory
//! in each server that we measure. `.ci/nightly` checks that the program does not need it.

use crate::output::columns;
use io_models::lab::show::cut;
use std::io::{self, IsTerminal, Write};

/// The line. It goes away with the value.
#[derive(Debug)]
pub(crate) struct Progress {
    live: bool,
}

impl Progress {
    /// None of it if `quiet`, or off a terminal.
    pub(crate) fn new(quiet: bool) -> Progress {
        Progress { live: !quiet && io::stderr().is_terminal() }
    }

    /// Whether anybody sees it.
    pub(crate) fn is_live(&self) -> bool {
        self.live
    }

    /// Write `text` where the line was, or as much of it as fits: a line that wraps could not be redrawn. What decides
    /// stands first in it.
    pub(crate) fn show(&self, text: &str) {
        if self.live {
            // The last column stays free: a cursor behind it is in the next line on some terminals.
            let width = columns(io::stderr()).map_or(usize::MAX, |columns| columns.saturating_sub(1));
            // "\x1b[K" clears what a longer text has left. If it cannot be written, nobody looks.
            write!(io::stderr(), "\r{}\x1b[K", cut(text, width)).ok();
        }
    }

    /// The same with a bar: `done` of `all` parts of what has that name are done, and `now` is being done.
    pub(crate) fn bar(&self, name: &str, done: usize, all: usize, now: &str) {
        let bar: String = (0..20).map(|i| if i * all < done * 20 { '#' } else { '.' }).collect();
        self.show(&format!("{name:<6} [{bar}] {done}/{all} {now}"));
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.show("");
    }
}
