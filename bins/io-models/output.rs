//! Where results go, and what is said beside them.

use crate::failure::Failure;
use io_models::stop::Stop;
use io_models::sys::signal::Signal;
use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

/// Standard output, or the file of `--output`.
pub(crate) struct Output {
    name: String,
    to: To,
}

enum To {
    Stdout,
    File(File),
}

impl Output {
    /// Open it before anything is measured: a file that cannot be written should not cost a run.
    pub(crate) fn open(file: Option<PathBuf>) -> Result<Output, Failure> {
        let Some(path) = file else {
            return Ok(Output { name: "standard output".to_owned(), to: To::Stdout });
        };
        let name = path.display().to_string();
        // What is there stays until there is something better.
        match File::options().write(true).create(true).truncate(false).open(&path) {
            Ok(file) => Ok(Output { name, to: To::File(file) }),
            Err(why) => Err(Failure::usage(format_args!(
                "cannot write to {name}: {why}; choose a file that you may write with --output"
            ))),
        }
    }

    /// Write the result.
    pub(crate) fn write(self, text: &str) -> Result<(), Failure> {
        let written = match self.to {
            To::Stdout => {
                let mut out = anstream::stdout();
                out.write_all(text.as_bytes()).and_then(|()| out.flush())
            }
            To::File(mut file) => file.set_len(0).and_then(|()| file.write_all(text.as_bytes())),
        };
        written.map_err(|why| Failure::output(&self.name, &why))
    }
}

/// One line on standard error.
pub(crate) fn warn(line: &str) {
    // If standard error cannot be written to, nobody is left to tell.
    writeln!(anstream::stderr(), "io-models: warning: {line}").ok();
}

/// The exit code after Ctrl-C (130) or SIGTERM (143): 128 and the signal's number, as shells do.
pub(crate) fn interrupted(stop: Stop) -> Result<ExitCode, Failure> {
    let signal = stop.into_signal().map_err(Failure::run)?.unwrap_or(Signal::SIGINT);
    Ok(ExitCode::from(128 + signal as u8))
}
