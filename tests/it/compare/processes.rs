//! All processes that a program has started, directly or not, also those whose parent has ended.
//!
//! Descendants inherit the environment, so a variable of its own in the program's marks them all.
//! A walk from parent to child would lose a process with its parent.

use crate::load::program::{Program, io_models};
use crate::support::wait_until;
use procfs::process::{Process, all_processes};
use std::ffi::{OsStr, OsString};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

const MARK: &str = "IO_MODELS_TEST_FAMILY";

/// A program, and everybody who comes from it.
pub(crate) struct Family(OsString);

impl Family {
    /// Start `io-models` as the first of a family.
    pub(crate) fn start(line: &str) -> (Family, Program) {
        Family::start_with(line, &[])
    }

    /// The same with arguments that may have blanks.
    pub(crate) fn start_with(line: &str, args: &[&str]) -> (Family, Program) {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let mark = format!("{}-{}", std::process::id(), NEXT.fetch_add(1, Relaxed));
        let mut command = io_models(line);
        command.args(args).env(MARK, &mark);
        (Family(mark.into()), Program::spawn(command))
    }

    /// Those who live. A process that has ended and was not waited for has no environment.
    pub(crate) fn members(&self) -> Vec<Process> {
        let mark = |process: &Process| process.environ().ok()?.remove(OsStr::new(MARK));
        let is_one = |process: &Process| mark(process).as_ref() == Some(&self.0);
        all_processes().expect("/proc").flatten().filter(is_one).collect()
    }

    /// Those who were started with `word` on their command line, and processes that they forked.
    pub(crate) fn started_with(&self, word: &str) -> Vec<Process> {
        let has_word = |process: &Process| process.cmdline().is_ok_and(|line| line.iter().any(|w| w == word));
        self.members().into_iter().filter(has_word).collect()
    }

    /// Wait until every one has ended by itself.
    pub(crate) fn ends(&self) {
        wait_until("the last descendant of the program ends", || self.members().is_empty());
    }
}
