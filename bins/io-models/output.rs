//! Where results go, and the messages beside them.
//!
//! A result must not get lost. What was measured is printed before anything else can fail. A report whose file cannot be
//! written goes to standard output. A stream that is already open is used as it is, and not opened a second time: a second
//! open file description has its own offset, and truncating it would destroy what others have written there.

use crate::failure::Failure;
use anstream::adapter::strip_str;
use anstream::{AutoStream, ColorChoice};
use anstyle::Style;
use io_models::lab::show::{DOUBTFUL, Table, paint, wrap};
use io_models::lab::visible::visible;
use io_models::sys::poll::{PollFlags, wait_for};
use io_models::sys::signal::{self, Signal};
use io_models::sys::stdio::{self, Stream};
use nix::sys::stat::fstat;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd, RawFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;
use terminal_size::{Width, terminal_size_of};

/// Opens the files that the options of a command name, before anything is measured: a file that cannot be written should
/// not cost a run.
#[derive(Debug, Default)]
pub(crate) struct Outputs {
    /// Device and inode of each file, and the option that named it.
    open: Vec<(u64, u64, &'static str)>,
}

impl Outputs {
    /// The report, which goes to standard output unless `--output` names a file.
    pub(crate) fn report(&mut self, file: Option<PathBuf>) -> Result<Output, Failure> {
        file.map_or(Ok(Output::stdout()), |file| self.file("--output", file))
    }

    /// The file that `option` names, if it was given.
    pub(crate) fn optional(
        &mut self,
        option: &'static str,
        file: Option<PathBuf>,
    ) -> Result<Option<Output>, Failure> {
        file.map(|file| self.file(option, file)).transpose()
    }

    /// The file that `option` names. `-` is standard output.
    fn file(&mut self, option: &'static str, path: PathBuf) -> Result<Output, Failure> {
        let name = path.display().to_string();
        let failed = |why: &io::Error| {
            let remedy = format!("choose a file that you may write with {option}");
            Failure::usage(Failure::of_file("write to", &name, why, &remedy))
        };
        if let Some(target) = open_already(&path).map_err(|why| failed(&why))? {
            return Ok(Output { name, target });
        }
        let is_new = !path.exists();
        // The old contents stay until there is a result.
        let file = File::options().write(true).create(true).truncate(false).open(&path);
        let file = file.map_err(|why| failed(&why))?;
        // Where `path` is a link to nowhere, the new file is at its target: the file is ours to remove, the link is not.
        let created = if is_new { fs::canonicalize(&path).ok() } else { None };
        let target = Target::File { file, created, is_begun: false };
        let output = Output { name, target };
        self.is_named_once(option, &output)?;
        Ok(output)
    }

    /// Two results in one file would destroy each other.
    fn is_named_once(&mut self, option: &'static str, output: &Output) -> Result<(), Failure> {
        let Target::File { file, .. } = &output.target else { return Ok(()) };
        let Some(file) = file.metadata().ok().filter(|file| file.is_file()) else { return Ok(()) };
        let (device, inode) = (file.dev(), file.ino());
        if let Some((.., other)) = self.open.iter().find(|open| (open.0, open.1) == (device, inode)) {
            let name = &output.name;
            return Err(Failure::usage(format_args!(
                "{other} and {option} both name {name}: give each its own file"
            )));
        }
        self.open.push((device, inode, option));
        Ok(())
    }
}

/// Where a result goes. As a [`Write`], for what is written bit by bit.
#[derive(Debug)]
pub(crate) struct Output {
    name: String,
    target: Target,
}

#[derive(Debug)]
enum Target {
    Stdout,
    /// Another descriptor that whoever started us has opened: `/dev/stderr`, `/dev/fd/5`.
    Inherited(OwnedFd),
    File {
        file: File,
        /// Where we created it; `None` if it was there before.
        created: Option<PathBuf>,
        is_begun: bool,
    },
}

impl Output {
    pub(crate) fn stdout() -> Output {
        Output { name: "standard output".to_owned(), target: Target::Stdout }
    }

    /// What it is called in a message.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The width of the terminal. `None` in a file and for another program, where lines do not wrap.
    pub(crate) fn columns(&self) -> Option<usize> {
        match self.target {
            Target::Stdout => columns(io::stdout()),
            Target::Inherited(_) | Target::File { .. } => None,
        }
    }

    /// Write the report of the command. If its file cannot be written, it goes to standard output, and the failure is
    /// returned all the same.
    pub(crate) fn report(mut self, text: &str) -> Result<(), Failure> {
        let Err(why) = self.text(text) else { return Ok(()) };
        if let Target::Stdout = self.target {
            return Err(Failure::output("standard output", &why));
        }
        self.give_up();
        Output::stdout().text(text).map_err(|why| Failure::output("standard output", &why))?;
        Err(Failure::report_elsewhere(&self.name, &why))
    }

    /// Write something that stands beside the report.
    pub(crate) fn write_beside(mut self, text: &str) -> Result<(), Failure> {
        self.text(text).map_err(|why| Failure::output(&self.name, &why))
    }

    /// Write a text, in colours on a terminal only.
    fn text(&mut self, text: &str) -> io::Result<()> {
        if matches!(self.target, Target::Stdout) && AutoStream::choice(&io::stdout()) != ColorChoice::Never {
            return self.write_all(text.as_bytes());
        }
        self.write_all(strip_str(text).to_string().as_bytes())
    }

    /// Remove what was written of a report that is not complete.
    fn give_up(&mut self) {
        if let Target::File { file, created, is_begun } = &mut self.target {
            file.set_len(0).ok();
            *is_begun = created.is_none();
        }
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.target {
            Target::Stdout => Stream(io::stdout()).write(bytes),
            Target::Inherited(fd) => Stream(fd).write(bytes),
            Target::File { file, is_begun, .. } => {
                if !std::mem::replace(is_begun, true) {
                    // A device cannot be truncated, and need not be.
                    file.set_len(0).ok();
                }
                Stream(file).write(bytes)
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        // The file was created for a result that did not come.
        if let Target::File { created: Some(path), is_begun: false, .. } = &self.target {
            fs::remove_file(path).ok();
        }
    }
}

/// The stream behind `path`, if whoever started us has opened it already.
fn open_already(path: &Path) -> io::Result<Option<Target>> {
    if path.as_os_str() == "-" {
        return Ok(Some(Target::Stdout));
    }
    match number_of(path) {
        Some(1) => return Ok(Some(Target::Stdout)),
        Some(number) => return Ok(Some(Target::Inherited(stdio::duplicate_number(number)?))),
        None => {}
    }
    // The file that standard output was redirected to.
    let (Ok(named), Ok(stdout)) = (path.metadata(), fstat(io::stdout())) else { return Ok(None) };
    let is_stdout = (named.dev(), named.ino()) == (stdout.st_dev, stdout.st_ino);
    Ok(is_stdout.then_some(Target::Stdout))
}

/// The descriptor that `path` names: /dev/stdout, /dev/fd/5, /proc/self/fd/5.
fn number_of(path: &Path) -> Option<RawFd> {
    /// More links than lead to any descriptor.
    const LINKS: usize = 8;
    // Known by their names where there is no /proc.
    match path.to_str() {
        Some("/dev/stdout") => return Some(1),
        Some("/dev/stderr") => return Some(2),
        _ => {}
    }
    let ours = fs::canonicalize("/proc/self/fd").ok()?;
    let mut path = path.to_owned();
    for _ in 0..LINKS {
        let folder = fs::canonicalize(path.parent()?).ok()?;
        if folder == ours {
            return path.file_name()?.to_str()?.parse().ok();
        }
        path = folder.join(fs::read_link(&path).ok()?);
    }
    None
}

/// Help texts are not wider than this.
pub(crate) const HELP_WIDTH: usize = 100;

/// The width of a terminal; `None` for what is none.
pub(crate) fn columns(stream: impl AsFd) -> Option<usize> {
    terminal_size_of(stream).map(|(Width(columns), _)| columns.into())
}

/// Names and what they mean, for the end of a help text.
pub(crate) fn help_table(rows: impl Iterator<Item = (String, String)>) -> String {
    const MARGIN: &str = "  ";
    let mut table = Table::new(&[""], "");
    rows.for_each(|(name, meaning)| table.row([name], meaning, Style::new()));
    let width = columns(io::stdout()).unwrap_or(HELP_WIDTH).min(HELP_WIDTH) - MARGIN.len();
    table.stacked(Some(width)).lines().map(|line| format!("{MARGIN}{line}\n")).collect()
}

/// One line on standard error that is no warning, from a server that is at work. It must not wait: when nobody reads and the pipe is
/// full, the line is dropped.
pub(crate) fn note(line: &str) {
    // A pipe is writable while it has room for 4096 bytes (PIPE_BUF), and a line is shorter.
    if wait_for(io::stderr(), PollFlags::POLLOUT, Some(Duration::ZERO)).unwrap_or(false) {
        tell(&format!("io-models: {line}"));
    }
}

/// One line on standard error. What it quotes may come from a file or a server.
pub(crate) fn warn(line: &str) {
    tell(&format!("io-models: {} {}", paint(DOUBTFUL, "warning:"), visible(line)));
}

/// One line on standard error, which wraps at words on a terminal.
pub(crate) fn tell(line: &str) {
    let mut text = format!("{}\n", wrap(line, columns(io::stderr()), 0, 2));
    if AutoStream::choice(&io::stderr()) == ColorChoice::Never {
        text = strip_str(&text).to_string();
    }
    // If standard error cannot be written to, nobody is left to tell.
    stdio::write_all(io::stderr(), text.as_bytes()).ok();
}

/// How a command ends that has `written` its results: each failure is told, and one of writing gives exit code 1. Without
/// one it ends as `ended` says.
pub(crate) fn conclude(
    written: impl IntoIterator<Item = Result<(), Failure>>,
    ended: Result<ExitCode, Failure>,
) -> Result<ExitCode, Failure> {
    let failures: Vec<_> = written.into_iter().filter_map(Result::err).collect();
    if failures.is_empty() {
        return ended;
    }
    let codes: Vec<_> = failures.into_iter().chain(ended.err()).map(Failure::tell).collect();
    Ok(codes[0])
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
