//! A program of the course, as a process.

use super::heard::{Heard, text};
use crate::support::{children, in_the_foreground, process, wait_until};
use io_models::sys::fork::Pid;
use io_models::sys::signal::Signal;
use nix::sys::signal::kill;
use procfs::process::Process;
use std::ffi::{OsStr, OsString};
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, Command, Stdio};

/// Where each program is.
macro_rules! paths {
    ($($name:literal)*) => {
        pub(super) const PATHS: &[(&str, &str)] = &[$(($name, env!(concat!("CARGO_BIN_EXE_", $name)))),*];
    };
}

paths! {
    "demo1-client" "demo2-server" "demo7-client" "demo8-server" "demo10-fork-server" "course-client"
    "tcpselect" "tcppoll" "tcpepoll" "client1-connect" "tcpepoll1-accept" "tcpepoll2-edge" "demo11-send-file" "demo12-receive-file"
}

/// Whoever started the tests may have left descriptors open, such as cargo's job server, and a program has
/// what it inherits. (bash, because other shells know no numbers above 9.)
const CLOSE_ALL: &str =
    r#"for fd in /proc/self/fd/*; do fd=${fd##*/}; [ "$fd" -le 2 ] || eval "exec $fd>&-"; done"#;

/// A program that runs. Killed, with its children, when a test ends without [`ends`](Program::ends).
#[derive(Debug)]
pub(super) struct Program {
    name: String,
    child: Child,
    stdin: Option<ChildStdin>,
    said: Heard,
    complained: Heard,
    /// Of a server: where it listens, and how long the line is in which it said so.
    port: u16,
    readiness: usize,
}

/// How to start one.
#[derive(Debug)]
pub(super) struct Starter {
    name: String,
    args: Vec<OsString>,
    before: String,
    group: Option<Pid>,
    stdout: Option<Stdio>,
    stderr: Option<Stdio>,
    stdin: Option<Stdio>,
    typed: bool,
}

/// The program with that name, without arguments yet.
pub(super) fn program(name: &str) -> Starter {
    let name = name.to_owned();
    Starter {
        name,
        args: Vec::new(),
        before: String::new(),
        group: None,
        stdout: None,
        stderr: None,
        stdin: None,
        typed: false,
    }
}

/// A client of the server at `addr`, with these arguments behind its address.
#[track_caller]
pub(super) fn client(name: &str, addr: SocketAddr, args: &[&str]) -> Program {
    program(name).args(&[&addr.ip().to_string(), &addr.port().to_string()]).args(args).start()
}

/// A server that is ready for clients on a free port, with these arguments behind it.
#[track_caller]
pub(super) fn server(name: &str, args: &[&str]) -> Program {
    program(name).args(&["0"]).args(args).start_server()
}

impl Starter {
    pub(super) fn args(mut self, args: &[impl AsRef<OsStr>]) -> Starter {
        self.args.extend(args.iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    /// An argument that need not be text.
    pub(super) fn arg(mut self, arg: OsString) -> Starter {
        self.args.push(arg);
        self
    }

    /// In the process group of that process.
    pub(super) fn group(mut self, leader: Pid) -> Starter {
        self.group = Some(leader);
        self
    }

    /// With another standard output. Then nothing is heard of it.
    pub(super) fn stdout(mut self, stdout: impl Into<Stdio>) -> Starter {
        self.stdout = Some(stdout.into());
        self
    }

    /// With another standard error. Then nothing is heard of it.
    pub(super) fn stderr(mut self, stderr: impl Into<Stdio>) -> Starter {
        self.stderr = Some(stderr.into());
        self
    }

    /// With another standard input.
    pub(super) fn stdin(mut self, stdin: impl Into<Stdio>) -> Starter {
        self.stdin = Some(stdin.into());
        self
    }

    /// With a standard input to [type](Program::types) into.
    pub(super) fn typed(mut self) -> Starter {
        self.typed = true;
        self
    }

    /// With a limit, in the shell's words.
    pub(super) fn limited(mut self, ulimit: &str) -> Starter {
        self.before = format!("{ulimit}; ");
        self
    }

    #[track_caller]
    pub(super) fn start(self) -> Program {
        in_the_foreground();
        let path = PATHS.iter().find(|(name, _)| *name == self.name).expect("one of the fourteen programs").1;
        let mut command = Command::new("bash");
        command.arg("-c").arg(format!("{CLOSE_ALL}; {}exec \"$0\" \"$@\"", self.before));
        command.arg(path).args(self.args);
        let is_heard = self.stdout.is_none();
        let stdin = self.stdin.unwrap_or_else(if self.typed { Stdio::piped } else { Stdio::null });
        command.stdin(stdin);
        let errors_are_heard = self.stderr.is_none();
        command.stdout(self.stdout.unwrap_or_else(Stdio::piped));
        command.stderr(self.stderr.unwrap_or_else(Stdio::piped));
        if let Some(leader) = self.group {
            command.process_group(leader.as_raw());
        }
        let mut child = command.spawn().expect("the program starts");
        // What it was given of ours is its own now, and nobody else's.
        drop(command);
        let said = if is_heard { Heard::of(child.stdout.take()) } else { Heard::nothing() };
        let complained = if errors_are_heard { Heard::of(child.stderr.take()) } else { Heard::nothing() };
        let stdin = child.stdin.take();
        Program { name: self.name, child, stdin, said, complained, port: 0, readiness: 0 }
    }

    /// Start a server that chooses its port, and wait for the line that says which.
    #[track_caller]
    pub(super) fn start_server(self) -> Program {
        let mut server = self.start();
        let what = format!("{} says on which port it listens", server.name);
        let line = server.complained.wait(&what, |heard| heard.contains(&b'\n'));
        let line = String::from_utf8(line).expect("the line is text");
        let port = line.strip_prefix("listening on 0.0.0.0:").and_then(|rest| rest.trim_end().parse().ok());
        server.port = port.unwrap_or_else(|| panic!("{what}: it said {line:?}"));
        server.readiness = line.len();
        server
    }
}

impl Program {
    /// Where a server listens.
    pub(super) fn addr(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    /// In /proc.
    pub(super) fn process(&self) -> Process {
        process(self.pid())
    }

    pub(super) fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id() as i32)
    }

    #[track_caller]
    pub(super) fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).expect("the program is there to get a signal");
    }

    #[track_caller]
    pub(super) fn types(&mut self, text: impl AsRef<[u8]>) {
        let stdin = self.stdin.as_mut().expect("its input has not ended");
        stdin.write_all(text.as_ref()).expect("the program, or the pipe, takes what is typed");
    }

    /// Ctrl-D.
    pub(super) fn ends_input(&mut self) {
        self.stdin = None;
    }

    /// What it has said so far.
    pub(super) fn said(&self) -> String {
        text(&self.said.so_far())
    }

    /// Wait until it has said as much as `session`, which must be this and no more.
    #[track_caller]
    pub(super) fn says(&self, session: impl AsRef<[u8]>) {
        let session = session.as_ref();
        let what = format!("{} says {:?}", self.name, text(session));
        let said = self.said.wait(&what, |said| said.len() >= session.len());
        assert_eq!(text(&said), text(session), "what {} says", self.name);
        assert!(said == session, "the same text, but not the same bytes");
    }

    /// Wait until what it has said is `enough`.
    #[track_caller]
    pub(super) fn says_until(&self, what: &str, enough: impl Fn(&str) -> bool) -> String {
        let said = text(&self.said.wait(&format!("{}: {what}", self.name), |said| enough(&text(said))));
        assert!(enough(&said), "{}: not before its end: {what}; it has said {said:?}", self.name);
        said
    }

    /// The same for complaints, without the line that tells a server's port.
    #[track_caller]
    pub(super) fn complains(&self, complaints: &str) {
        let what = format!("{} complains {complaints:?}", self.name);
        let enough = self.readiness + complaints.len();
        let complained = self.complained.wait(&what, |complained| complained.len() >= enough);
        assert_eq!(text(&complained[self.readiness..]), complaints, "what {} complains of", self.name);
    }

    /// Wait until it has ended, with this exit code, having said this, and complained so.
    #[track_caller]
    pub(super) fn ends(self, code: i32, session: impl AsRef<[u8]>, complaints: &str) {
        let name = self.name.clone();
        let ended = self.finish();
        assert_eq!(ended.said, text(session.as_ref()), "what {name} says; complaints: {}", ended.complaints);
        assert_eq!(ended.complaints, complaints, "what {name} complains of");
        assert_eq!(ended.code, Some(code), "exit code of {name}");
    }

    /// Wait until it has ended, whatever it says.
    #[track_caller]
    pub(super) fn finish(mut self) -> Ended {
        let mut status = None;
        wait_until(&format!("{} ends; it has said {:?}", self.name, self.said()), || {
            status = self.child.try_wait().expect("the status of a child of ours");
            status.is_some()
        });
        // Children have the same pipes, so the end of these is theirs, too.
        let said = self.said.wait_for_end(&format!("nobody has the standard output of {}", self.name));
        let what = format!("nobody has the standard error of {}", self.name);
        let complained = self.complained.wait_for_end(&what);
        Ended {
            code: status.and_then(|status| status.code()),
            said: text(&said),
            complaints: text(&complained[self.readiness..]),
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            let ours = Process::new(self.pid().as_raw()).map(|it| children(&it)).unwrap_or_default();
            for pid in ours {
                kill(pid, Signal::SIGKILL).ok();
            }
            self.child.kill().ok();
            self.child.wait().ok();
        }
    }
}

/// A program that has ended.
#[derive(Debug)]
pub(super) struct Ended {
    /// `None` after a signal.
    pub(super) code: Option<i32>,
    /// Standard output.
    pub(super) said: String,
    /// Standard error, without the line that tells a server's port.
    pub(super) complaints: String,
}
