//! How a command fails: one line on standard error, and an exit code.

use anstyle::{AnsiColor, Style};
use clap::error::ErrorKind;
use io_models::lab::explain::explain;
use io_models::lab::visible::visible;
use io_models::remedy;
use io_models::sys::Errno;
use std::fmt;
use std::io;
use std::process::ExitCode;

const RED: Style = AnsiColor::Red.on_default().bold();

/// The run failed: a lost connection, wrong bytes, a server that cannot start.
const FAILED: u8 = 1;
/// It is done, and something differs or was not met: a fact, a baseline, a rate, a limit.
pub(crate) const DIFFERS: u8 = 3;
/// The command line makes no sense here.
const USAGE: u8 = 2;

/// Why a command did not do what was asked, in one line: the cause, and what to do about it.
#[derive(Debug)]
pub(crate) struct Failure {
    code: u8,
    line: String,
}

impl Failure {
    /// The run failed: the error, its causes, and what to do about it where that is known.
    pub(crate) fn of(error: impl Into<anyhow::Error>) -> Failure {
        Failure::run(explain(&error.into()))
    }

    /// The run failed.
    pub(crate) fn run(why: impl fmt::Display) -> Failure {
        Failure { code: FAILED, line: one_line(&format!("{why:#}")) }
    }

    /// It is done, and a gate, a rate or a limit was not met.
    pub(crate) fn not_met(why: impl fmt::Display) -> Failure {
        Failure { code: DIFFERS, line: one_line(&format!("{why:#}")) }
    }

    /// What was asked for makes no sense, or cannot be had on this machine.
    pub(crate) fn usage(why: impl fmt::Display) -> Failure {
        Failure { code: USAGE, line: one_line(&format!("{why:#}")) }
    }

    /// A report could not be written to the file `name`, and went to standard output.
    pub(crate) fn report_elsewhere(name: &str, why: &io::Error) -> Failure {
        let failure = Failure::output(name, why);
        Failure::run(format_args!("{failure}; the report is on standard output"))
    }

    /// Results could not be written to `target`. A reader that has gone, such as `head`, is nothing to
    /// complain of.
    pub(crate) fn output(target: &str, why: &io::Error) -> Failure {
        let line = match why.kind() {
            io::ErrorKind::BrokenPipe => String::new(),
            _ => Failure::of_file("write to", target, why, "is the disk full, or the file protected?"),
        };
        Failure { code: FAILED, line }
    }

    /// What went wrong with a file, and what to do about it: what the error says of that, or else `remedy`.
    pub(crate) fn of_file(doing: &str, name: &str, why: &io::Error, remedy: &str) -> String {
        let known = why.raw_os_error().and_then(|errno| remedy::of(None, Errno::from_raw(errno)));
        format!("cannot {doing} {name}: {why}; {}", known.as_deref().unwrap_or(remedy))
    }

    /// clap's message, which has several lines, as one.
    pub(crate) fn of_clap(error: &clap::Error) -> Failure {
        if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
            return Failure::usage(
                "say what to do: compare, report, unp30, serve, load, check, trace, doctor, merge, models, facts, demo, man or completions; --help tells more",
            );
        }
        let text = error.to_string();
        Failure::usage(text.strip_prefix("error: ").unwrap_or(&text))
    }

    /// Whether there is nothing to say: the reader of the results has gone.
    pub(crate) fn is_silent(&self) -> bool {
        self.line.is_empty()
    }

    /// Print the line, and return the exit code.
    pub(crate) fn tell(self) -> ExitCode {
        if !self.line.is_empty() {
            crate::output::tell(&format!("{RED}io-models:{RED:#} {}", self.line));
        }
        ExitCode::from(self.code)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.line)
    }
}

/// Join lines and drop empty ones. What it quotes may come from a file or a server.
fn one_line(text: &str) -> String {
    let lines: Vec<_> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    visible(&lines.join("; ").replace(":;", ":"))
}
