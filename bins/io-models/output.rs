//! Where results go, and what is said beside them.

use crate::failure::Failure;
use anstream::adapter::strip_str;
use io_models::lab::show::{DOUBTFUL, paint, wrap};
use io_models::sys::signal::{self, Signal};
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::ExitCode;
use terminal_size::{Width, terminal_size_of};

/// Standard output, or the file of an option.
#[derive(Debug)]
pub(crate) enum Output {
    Stdout,
    File { name: PathBuf, file: File, is_new: bool },
}

impl Output {
    /// Open it before anything is measured: a file that cannot be written should not cost a run.
    /// `option` is the one that names it.
    pub(crate) fn open(option: &str, file: Option<PathBuf>) -> Result<Output, Failure> {
        let Some(name) = file else { return Ok(Output::Stdout) };
        let is_new = !name.exists();
        // What is there stays until there is a result.
        match File::options().write(true).create(true).truncate(false).open(&name) {
            Ok(file) => Ok(Output::File { name, file, is_new }),
            Err(why) => Err(Failure::usage(format_args!(
                "cannot write to {}: {why}; choose a file that you may write with {option}",
                name.display()
            ))),
        }
    }

    /// How wide a line may be: the terminal's width, or as wide as it likes in a file and for another program.
    pub(crate) fn columns(&self) -> Option<usize> {
        match self {
            Output::Stdout => columns(io::stdout()),
            Output::File { .. } => None,
        }
    }

    /// Write the result.
    pub(crate) fn write(mut self, text: &str) -> Result<(), Failure> {
        match &mut self {
            Output::Stdout => {
                let mut out = anstream::stdout();
                let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
                written.map_err(|why| Failure::output("standard output", &why))
            }
            Output::File { name, file, is_new } => {
                *is_new = false;
                // A device cannot be cut to nothing, and need not be.
                file.set_len(0).ok();
                // No colours in a file.
                write!(file, "{}", strip_str(text))
                    .map_err(|why| Failure::output(&name.display().to_string(), &why))
            }
        }
    }
}

impl Output {
    /// The file, emptied, for what is written bit by bit; and its name.
    pub(crate) fn into_file(mut self) -> Result<(String, File), Failure> {
        let Output::File { name, file, is_new } = &mut self else {
            unreachable!("standard output was not asked for")
        };
        *is_new = false;
        // A device cannot be cut to nothing, and need not be.
        file.set_len(0).ok();
        let name = name.display().to_string();
        let file = file.try_clone().map_err(|why| Failure::output(&name, &why))?;
        Ok((name, file))
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        // Made for a result that did not come.
        if let Output::File { name, is_new: true, .. } = self {
            std::fs::remove_file(name).ok();
        }
    }
}

/// The width of a terminal; `None` for what is none.
pub(crate) fn columns(stream: impl AsFd) -> Option<usize> {
    terminal_size_of(stream).map(|(Width(columns), _)| columns.into())
}

/// One line on standard error that is no warning.
pub(crate) fn note(line: &str) {
    tell(&format!("io-models: {line}"));
}

/// One line on standard error.
pub(crate) fn warn(line: &str) {
    tell(&format!("io-models: {} {line}", paint(DOUBTFUL, "warning:")));
}

/// One line on standard error, which wraps at words on a terminal.
pub(crate) fn tell(line: &str) {
    // If standard error cannot be written to, nobody is left to tell.
    writeln!(anstream::stderr(), "{}", wrap(line, columns(io::stderr()), 0, 2)).ok();
}

/// How a measurement ends that has been written out: trouble is a failure; Ctrl-C gives 130 and SIGTERM
/// 143, which is 128 and the signal's number, as in shells.
pub(crate) fn ended(trouble: Option<String>, partial: bool) -> Result<ExitCode, Failure> {
    if let Some(trouble) = trouble {
        return Err(Failure::run(trouble));
    }
    if !partial {
        return Ok(ExitCode::SUCCESS);
    }
    let signal = signal::first().unwrap_or(Signal::SIGINT);
    Ok(ExitCode::from(128 + signal as u8))
}
