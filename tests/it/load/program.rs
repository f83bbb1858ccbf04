//! The program under test as a child process that cannot outlive its test.

use crate::support::{DEADLINE, in_the_foreground, wait_within};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};

/// `io-models` with the arguments in `line`, which are separated by blanks.
pub(crate) fn io_models(line: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_io-models"));
    command.args(line.split_whitespace());
    command
}

/// The same, by a shell that first sets both limits on open descriptors.
pub(crate) fn io_models_with_descriptors(limit: usize, line: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", &format!(r#"ulimit -n {limit} && exec "$0" "$@""#)]);
    command.arg(env!("CARGO_BIN_EXE_io-models")).args(line.split_whitespace());
    command
}

/// A running program. It is killed when the test ends before it does.
pub(crate) struct Program {
    what: String,
    child: Child,
    stderr: Option<JoinHandle<String>>,
    stdout: Option<ChildStdout>,
}

/// What a program left behind.
pub(crate) struct Ended {
    what: String,
    status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Program {
    pub(crate) fn start(line: &str) -> Program {
        Program::spawn(io_models(line))
    }

    pub(crate) fn spawn(mut command: Command) -> Program {
        in_the_foreground();
        let what = format!("{command:?}");
        // In English, whatever the language of whoever runs the tests is.
        if command.get_envs().all(|(name, _)| name != "LC_ALL") {
            command.env("LC_ALL", "C");
        }
        let (stdin, stdout) = (Stdio::null(), Stdio::piped());
        let mut child = command.stdin(stdin).stdout(stdout).stderr(Stdio::piped()).spawn().expect(&what);
        let stdout = child.stdout.take();
        let stderr = child.stderr.take().expect("stderr is a pipe");
        let stderr = Some(thread::spawn(move || all_of(stderr)));
        Program { what, child, stderr, stdout }
    }

    /// Start a program whose standard output goes to `file`, and wait for its end.
    pub(crate) fn end_with_stdout(mut command: Command, file: File) -> Ended {
        let what = format!("{command:?}");
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::from(file))
            .stderr(Stdio::piped())
            .spawn()
            .expect(&what);
        let stderr = child.stderr.take().expect("stderr is a pipe");
        let stderr = Some(thread::spawn(move || all_of(stderr)));
        Program { what, child, stderr, stdout: None }.end()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        // The child has not been waited for, so the number is still its own.
        kill(self.pid(), signal).expect("a child may be signalled");
    }

    /// Its number.
    pub(crate) fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().cast_signed())
    }

    /// Close our end of its standard output, as `head` does.
    pub(crate) fn let_go_of_stdout(&mut self) {
        self.stdout = None;
    }

    /// Wait until it has ended.
    pub(crate) fn end(self) -> Ended {
        self.end_within(1)
    }

    /// Wait until it has ended, for so many times [`DEADLINE`]: for what takes its time when all is well.
    pub(crate) fn end_within(mut self, deadlines: u32) -> Ended {
        let stdout = self.stdout.take().map(|stdout| thread::spawn(|| all_of(stdout)));
        wait_within(deadlines * DEADLINE, &format!("{} ends", self.what), || {
            self.child.try_wait().expect("a child can be waited for").is_some()
        });
        let status = self.child.wait().expect("it has ended");
        let stderr = self.stderr.take();
        let what = self.what.clone();
        // A process that it left behind would keep the pipes open.
        let (stdout, stderr) = within_deadline(&format!("everybody lets go of the output of {what}"), || {
            (stdout.map_or_else(String::new, joined), stderr.map_or_else(String::new, joined))
        });
        Ended { what, status, stdout, stderr }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

impl Ended {
    /// The exit code is this one, and nothing else killed it.
    #[track_caller]
    pub(crate) fn exits(&self, code: i32) -> &Ended {
        assert_eq!(self.status.code(), Some(code), "{self}");
        self
    }

    /// It has measured. On a busy machine a right server may miss its rate, which is exit code 3.
    #[track_caller]
    pub(crate) fn measured(&self) -> &Ended {
        let missed = self.status.code() == Some(3) && self.stderr.contains("MISSED ITS RATE");
        if missed { self } else { self.exits(0) }
    }

    /// The only line on standard error, which says all of `parts`.
    #[track_caller]
    pub(crate) fn says_one_line(&self, parts: &[&str]) -> &Ended {
        assert_eq!(self.stderr.lines().count(), 1, "{self}");
        assert!(self.stderr.starts_with("io-models: "), "{self}");
        for part in parts {
            assert!(self.stderr.contains(part), "{part:?} is missing: {self}");
        }
        self
    }

    /// Standard output, which is one JSON document and nothing else.
    #[track_caller]
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|why| panic!("{why}: {self}"))
    }
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Ended { what, status, stdout, stderr } = self;
        write!(f, "{what}\n{status}\nstandard output: {stdout:?}\nstandard error: {stderr:?}")
    }
}

fn all_of(mut from: impl Read) -> String {
    let mut bytes = Vec::new();
    from.read_to_end(&mut bytes).expect("a pipe can be read");
    String::from_utf8(bytes).expect("the program writes UTF-8")
}

fn joined(thread: JoinHandle<String>) -> String {
    thread.join().expect("the output can be read")
}

/// Do what may block, but no longer than [`DEADLINE`].
fn within_deadline<T: Send + 'static>(what: &str, work: impl FnOnce() -> T + Send + 'static) -> T {
    let (done, result) = mpsc::channel();
    thread::spawn(move || done.send(work()));
    result.recv_timeout(DEADLINE).unwrap_or_else(|_| panic!("not within {DEADLINE:?}: {what}"))
}
