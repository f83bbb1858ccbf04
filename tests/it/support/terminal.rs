//! A program on a terminal, and what the terminal shows.

use super::DEADLINE;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::pty::{PtyMaster, grantpt, posix_openpt, ptsname_r, unlockpt};
use nix::unistd::read;
use std::fs::{File, OpenOptions};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::process::{Command, Stdio};
use std::time::Instant;

/// What a terminal shows when a program has ended on it.
pub(crate) struct Screen {
    what: String,
    /// Exit code.
    pub(crate) code: Option<i32>,
    /// Line by line, without the blanks at their ends.
    pub(crate) lines: Vec<String>,
    /// All that the program has written.
    pub(crate) raw: String,
    /// Lines that were too long for the terminal, as it broke them.
    broken: Vec<String>,
}

/// Run the program on a terminal of so many columns, until it ends.
#[track_caller]
pub(crate) fn on_a_terminal(columns: u16, mut command: Command) -> Screen {
    let what = format!("{command:?} on {columns} columns");
    let (master, terminal) = pseudo_terminal(columns);
    let stream = || Stdio::from(terminal.try_clone().expect("a descriptor"));
    command.env("TERM", "xterm").env("LC_ALL", "C").env_remove("NO_COLOR").env_remove("CLICOLOR");
    let mut child = command.stdin(Stdio::null()).stdout(stream()).stderr(stream()).spawn().expect(&what);
    // The command holds the terminal open, too.
    drop((command, terminal));
    let (mut bytes, mut buffer, until) = (Vec::new(), [0; 4096], Instant::now() + DEADLINE);
    loop {
        let rest = until.saturating_duration_since(Instant::now());
        let timeout = PollTimeout::try_from(rest).expect("a deadline of seconds");
        let mut wait = [PollFd::new(master.as_fd(), PollFlags::POLLIN)];
        match poll(&mut wait, timeout) {
            Ok(0) => {
                child.kill().ok();
                child.wait().ok();
                panic!("{what} did not end within {DEADLINE:?}: {}", String::from_utf8_lossy(&bytes));
            }
            Err(Errno::EINTR) => continue,
            other => other.expect("poll"),
        };
        match read(&master, &mut buffer) {
            // EIO: the last program that had the terminal has ended.
            Ok(0) | Err(Errno::EIO) => break,
            Ok(n) => bytes.extend(&buffer[..n]),
            Err(why) => panic!("{what}: {why}"),
        }
    }
    let code = child.wait().expect("it has ended").code();
    let raw = String::from_utf8(bytes).expect("its output is text");
    let (lines, broken) = shown(&raw, columns.into());
    Screen { what, code, lines, raw, broken }
}

/// A pseudo terminal of so many columns. Unlike those of `openpty`, its descriptors are not inherited by what other
/// tests start meanwhile: with them the terminal would be open until those have ended.
fn pseudo_terminal(columns: u16) -> (PtyMaster, File) {
    let master = posix_openpt(OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC).expect("a pseudo terminal");
    grantpt(&master).and_then(|()| unlockpt(&master)).expect("a pseudo terminal of ours");
    let name = ptsname_r(&master).expect("the name of a terminal");
    let flags = OFlag::O_NOCTTY.bits();
    let terminal =
        OpenOptions::new().read(true).write(true).custom_flags(flags).open(name).expect("a terminal");
    let size = ["rows", "50", "columns", &columns.to_string()];
    let stdin = terminal.try_clone().expect("a descriptor");
    let set = Command::new("stty").args(size).stdin(stdin).status().expect("stty, of coreutils");
    assert!(set.success(), "the size of a terminal");
    (master, terminal)
}

/// What a terminal of so many columns makes of it: its lines, and those that it had to break.
fn shown(raw: &str, columns: usize) -> (Vec<String>, Vec<String>) {
    let (mut lines, mut broken) = (vec![Vec::new()], Vec::new());
    let mut column = 0;
    let mut chars = raw.chars();
    while let Some(c) = chars.next() {
        let last = lines.len() - 1;
        match c {
            '\r' => column = 0,
            '\n' => lines.push(Vec::new()),
            // ESC [ K clears to the end of the line; ESC [ … m is a colour.
            '\x1b' => match chars.find(char::is_ascii_alphabetic) {
                Some('K') => lines[last].truncate(column),
                Some('m') => {}
                other => panic!("a terminal that knows this: ESC … {other:?}"),
            },
            _ if column == columns => {
                broken.push(lines[last].iter().collect());
                lines.push(vec![c]);
                column = 1;
            }
            _ => {
                let line = &mut lines[last];
                line.resize(line.len().max(column + 1), ' ');
                line[column] = c;
                column += 1;
            }
        }
    }
    let line = |line: Vec<char>| line.into_iter().collect::<String>().trim_end().to_owned();
    (lines.into_iter().map(line).collect(), broken)
}

impl Screen {
    /// No line was longer than the terminal is wide.
    #[track_caller]
    pub(crate) fn fits(self) -> Screen {
        assert!(self.broken.is_empty(), "too long: {:#?}\n{self}", self.broken);
        self
    }

    /// It ended with this exit code.
    #[track_caller]
    pub(crate) fn exits(self, code: i32) -> Screen {
        assert_eq!(self.code, Some(code), "{self}");
        self
    }

    /// It shows all of these, if what was wrapped is put together again.
    #[track_caller]
    pub(crate) fn shows(self, parts: &[&str]) -> Screen {
        let words = self.lines.iter().flat_map(|line| line.split_whitespace()).collect::<Vec<_>>().join(" ");
        for part in parts {
            assert!(words.contains(part), "{part:?} is missing: {self}");
        }
        self
    }
}

impl std::fmt::Display for Screen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}\nexit code {:?}\n{}", self.what, self.code, self.lines.join("\n"))
    }
}
