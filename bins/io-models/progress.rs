//! One line on standard error that shows the progress: on a terminal, and nowhere else.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// The line. It goes away with the value.
#[derive(Debug)]
pub(crate) struct Progress(ProgressBar);

impl Progress {
    /// None of it if `quiet`, or off a terminal.
    pub(crate) fn new(quiet: bool) -> Progress {
        let target = if quiet { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
        // As much of the text as fits: a line that wraps could not be redrawn. What decides stands first in it.
        let style = ProgressStyle::with_template("{wide_msg}").expect("a template that was tried");
        Progress(ProgressBar::with_draw_target(None, target).with_style(style))
    }

    /// Whether anybody sees it.
    pub(crate) fn is_live(&self) -> bool {
        !self.0.is_hidden()
    }

    /// Write `text` where the line was.
    pub(crate) fn show(&self, text: &str) {
        self.0.set_message(text.to_owned());
    }

    /// The same with a bar: `done` of `all` parts of what has that name are done, and `now` is being done.
    pub(crate) fn bar(&self, name: &str, done: usize, all: usize, now: &str) {
        // Not the bar of the library: beside it a text that is too long for the terminal would wrap.
        let bar: String = (0..20).map(|i| if i * all < done * 20 { '#' } else { '.' }).collect();
        self.show(&format!("{name:<6} [{bar}] {done}/{all} {now}"));
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
