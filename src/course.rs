//! What the course's programs have in common: how they take arguments, speak, and fail.
//!
//! The programs are under `bins/course/`. What they say on standard output is what the C++ originals
//! say, byte for byte, and each line is written when it is said, also into a pipe. Their exit code for
//! every failure is the originals' `return -1`, which a shell sees as 255.

use crate::Error;
use crate::echo::Reply;
use crate::initserver::{Listener, initserver};
use crate::observer::Observer;
use crate::serve::{FLUSH_GRACE, Job, Paused, Totals};
use crate::startup;
use crate::stop::{self, Stop};
use crate::sys::calls::Call;
use crate::sys::fork::this_process;
use crate::sys::limits::Nofile;
use crate::sys::poll::{PollFlags, PollSet, wait_for};
use crate::sys::{signal, stdio};
use crate::transfer;
use clap::error::ErrorKind;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::process::ExitCode;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

/// How many bytes the course's programs receive at a time.
pub const PIECE: usize = 1024;

/// Why a server may have to let clients wait.
pub const NO_DESCRIPTOR: &str = "no descriptor is left for another client (RLIMIT_NOFILE)";

/// Exit code of a program that failed: `return -1` from `main`.
pub const FAILED: u8 = 255;

/// The arguments of this program. First it handles what the process has inherited ([`startup::prepare`]). With wrong
/// arguments the process ends here: with the original's `usage` on standard output, or, when a single argument makes no
/// sense, with a line about it on standard error.
#[must_use]
pub fn arguments<A: clap::Parser>(usage: &str) -> A {
    startup::prepare();
    A::try_parse().unwrap_or_else(|error| {
        match error.kind() {
            ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => error.exit(),
            ErrorKind::ValueValidation | ErrorKind::InvalidValue | ErrorKind::InvalidUtf8 => {}
            _ => write(usage.as_bytes()),
        }
        // Missing and superfluous arguments are what the usage is about; the rest needs a word.
        if error.kind() != ErrorKind::MissingRequiredArgument {
            let text = error.to_string();
            complain(text.lines().next().unwrap_or_default().trim_start_matches("error: "));
        }
        std::process::exit(FAILED.into())
    })
}

/// clap's parser for the port of a server to connect to. (`atoi` would take anything, and make 0 or a
/// wrong port of it.)
///
/// # Errors
///
/// What is wrong, for people.
pub fn port(text: &str) -> Result<u16, String> {
    match listening_port(text)? {
        0 => Err("nobody listens on port 0; ports are 1 to 65535".to_owned()),
        port => Ok(port),
    }
}

/// clap's parser for the port of a server, which may be 0: then the kernel chooses.
///
/// # Errors
///
/// What is wrong, for people.
pub fn listening_port(text: &str) -> Result<u16, String> {
    text.parse().map_err(|_| "a port is a whole number, at most 65535".to_owned())
}

/// Write a line to standard output at once. If that fails, the process ends. After a stop, a line that nobody reads is
/// left out instead.
pub fn say(line: impl AsRef<[u8]>) {
    write(&[line.as_ref(), b"\n"].concat());
}

/// Write bytes to standard output at once. If that fails, the process ends. After a stop, bytes that nobody reads are left
/// out instead.
pub fn write(bytes: &[u8]) {
    if let Err(why) = try_write(io::stdout(), bytes) {
        complain_of_output(&why);
        if why.kind() != io::ErrorKind::TimedOut {
            std::process::exit(FAILED.into());
        }
    }
}

/// The same for servers that have a process for each client: what cannot be said is said on standard
/// error, once in each process, and the client is served all the same.
pub fn tell(line: impl AsRef<[u8]>) {
    if let Err(why) = try_write(io::stdout(), &[line.as_ref(), b"\n"].concat()) {
        complain_of_output(&why);
    }
}

/// What tells this program to stop, if it is one that stops in order.
static STOP: OnceLock<Stop> = OnceLock::new();

/// Write to a standard stream, and wait for a reader that is slow. After a stop the wait is at most [`FLUSH_GRACE`], so
/// that the program can be stopped although nobody reads its output.
fn try_write(out: impl AsFd, mut bytes: &[u8]) -> io::Result<()> {
    let Some(stop) = STOP.get() else { return Ok(stdio::write_all(&out, bytes)?) };
    while !bytes.is_empty() {
        if !has_room(&out, stop)? {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "nobody reads it"));
        }
        // A pipe that is ready takes so much at once, also a blocking one, unless another process fills it first. Then
        // write(2) waits for a reader, and a stop does not end that: `O_NONBLOCK` would, but the other processes share it.
        let piece = &bytes[..bytes.len().min(libc::PIPE_BUF)];
        bytes = &bytes[stdio::write_some(&out, piece)?.unwrap_or(0)..];
    }
    Ok(())
}

/// Wait until `out` takes more. `false` when a stop has come and `out` still takes nothing.
fn has_room(out: impl AsFd, stop: &Stop) -> io::Result<bool> {
    // For both streams, which are often the same pipe.
    static GAVE_UP: AtomicBool = AtomicBool::new(false);
    let mut set = PollSet::new();
    let slot = set.push(&out, PollFlags::POLLOUT);
    set.push(stop, PollFlags::POLLIN);
    set.wait(None)?;
    if !set.revents(slot).is_empty() {
        return Ok(true);
    }
    let grace = if GAVE_UP.load(Relaxed) { Duration::ZERO } else { FLUSH_GRACE };
    let ready = wait_for(&out, PollFlags::POLLOUT, Some(grace))?;
    GAVE_UP.store(!ready, Relaxed);
    Ok(ready)
}

/// Say once in each process why standard output cannot be written to.
fn complain_of_output(why: &io::Error) {
    static TOLD: AtomicBool = AtomicBool::new(false);
    // A reader that has gone, such as `head`, is nothing to complain of.
    if why.kind() != io::ErrorKind::BrokenPipe && !TOLD.swap(true, Relaxed) {
        complain(&format!("cannot write to standard output: {why}"));
    }
}

/// A line on standard error, in one piece, since several processes may complain at once. If it cannot be written, or if a
/// stop has come and nobody reads it, nobody is left to tell.
pub fn complain(line: &str) {
    try_write(io::stderr(), format!("{line}\n").as_bytes()).ok();
}

/// Say what went wrong with `what`: perror(3).
///
/// Returns the exit code of a program that ends with this.
#[doc(alias = "strerror")]
pub fn perror(what: &str, error: &Error) -> ExitCode {
    complain(&format!("{what}: {}", strerror(error)));
    FAILED.into()
}

/// Say why a transfer failed: as [`perror`] when it was the connection, otherwise in its own words.
pub fn perror_of(what: &str, error: &transfer::Error) -> ExitCode {
    match error {
        transfer::Error::Connection(error) => perror(what, error),
        error => {
            complain(&format!("{what}: {error}"));
            FAILED.into()
        }
    }
}

/// strerror(3) of an error that has an errno, and what others say.
fn strerror(error: &Error) -> String {
    match error.errno() {
        Some(errno) => {
            // The standard library's text is strerror(3)'s with the number behind it.
            let text = io::Error::from(errno).to_string();
            text.split(" (os error").next().unwrap_or_default().to_owned()
        }
        None => error.to_string(),
    }
}

/// Say that `what` found the end of the stream: perror(3) of no error, as the original does.
pub fn ended(what: &str) -> ExitCode {
    complain(&format!("{what}: Success"));
    FAILED.into()
}

/// A socket that listens on `port` of all addresses, as the multiplexed servers say it.
///
/// # Errors
///
/// The exit code, after everything has been said.
pub fn listensock(port: u16) -> Result<Listener, ExitCode> {
    match initserver((Ipv4Addr::UNSPECIFIED, port).into()) {
        Ok(listener) => {
            say(format!("listensock={}", listener.as_fd().as_raw_fd()));
            tell_chosen_port(port, listener.addr());
            Ok(listener)
        }
        Err(error) => {
            let call = match &error {
                Error::Call { call, .. } => *call,
                _ => Call::Socket,
            };
            perror(&format!("{}() failed", call.name()), &error);
            say("listensock=-1");
            say("initserver() failed.");
            Err(FAILED.into())
        }
    }
}

/// Tell where a server listens that was to take any port: nobody could know.
pub fn tell_chosen_port(asked: u16, addr: SocketAddr) {
    if asked == 0 {
        complain(&format!("listening on {addr}"));
    }
}

/// Run one of the course's multiplexed servers until SIGINT or SIGTERM: `serve`, a model's, with a
/// `printer`.
pub fn multiplexed(
    port: u16,
    printer: Printer,
    serve: impl FnOnce(Job<'_, Printer>) -> crate::Result<Totals>,
) -> ExitCode {
    let stop = match stop_on_signals() {
        Ok(stop) => stop,
        Err(error) => return perror("pipe", &error),
    };
    let listener = match listensock(port) {
        Ok(listener) => listener,
        Err(code) => return code,
    };
    let failure = format!("{}() failed", printer.call);
    match serve(Job::new(listener, stop, Reply::Echo).in_pieces(PIECE).observed(&|_| printer.clone())) {
        Ok(_) => ExitCode::SUCCESS,
        Err(error) => perror(&failure, &error),
    }
}

/// What stops a server at SIGINT and SIGTERM. It leaves the low descriptor numbers to the listener and
/// the clients, which then have those that they have in the originals. Raises the limit on descriptors.
///
/// There is one for the whole program: it also ends a wait for standard output.
///
/// # Errors
///
/// `EMFILE`.
pub fn stop_on_signals() -> crate::Result<&'static Stop> {
    Nofile::raise()?;
    let (stopper, stop) = stop::pair_high()?;
    stopper.stop_on_signals()?;
    Ok(STOP.get_or_init(|| stop))
}

/// Say that a forked server ends because its parent told it to; `false` when that did not happen.
pub fn child_ends() -> bool {
    let signal = signal::hung_up();
    if let Some(signal) = signal {
        tell(format!("子进程{}退出，sig={}", this_process(), signal as i32));
    }
    signal.is_some()
}

/// Prints what the multiplexed servers print.
#[derive(Debug, Clone)]
pub struct Printer {
    call: &'static str,
    idle_timeout: Option<Duration>,
    full: Full,
}

impl Printer {
    /// For the server that waits in `call`. After `idle_timeout` without an event it says so.
    #[must_use]
    pub fn new(call: &'static str, idle_timeout: Option<Duration>, full: &'static str) -> Printer {
        Printer { call, idle_timeout, full: Full::new(full) }
    }
}

impl Observer for Printer {
    fn accepted(&mut self, fd: RawFd, _: Option<SocketAddr>) {
        say(format!("accept client(socket={fd}) ok."));
    }

    fn received(&mut self, fd: RawFd, bytes: &[u8]) {
        say([format!("recv(eventfd={fd}):").as_bytes(), bytes].concat());
    }

    fn left(&mut self, fd: RawFd, _: crate::Result<()>) {
        say(format!("client(eventfd={fd}) disconnected."));
    }

    fn paused(&mut self, why: Paused) {
        self.full.tell(why);
    }

    fn idle_timeout(&self) -> Option<Duration> {
        self.idle_timeout
    }

    fn heard_nothing(&mut self) {
        say(format!("{}() timeout.", self.call));
    }
}

/// Says what the parent of a server with a process for each client says.
#[derive(Debug, Clone)]
pub struct Parent {
    full: Full,
}

impl Parent {
    /// Nothing has been said yet.
    #[must_use]
    pub fn new() -> Parent {
        Parent { full: Full::new("no process, or no descriptor, is left for another client") }
    }
}

impl Default for Parent {
    fn default() -> Parent {
        Parent::new()
    }
}

impl Observer for Parent {
    fn paused(&mut self, why: Paused) {
        self.full.tell(why);
    }

    fn stopping(&mut self) {
        if let Some(signal) = signal::first() {
            tell(format!("父进程退出，sig={}", signal as i32));
        }
    }

    fn killed(&mut self, processes: usize) {
        let grace = FLUSH_GRACE.as_secs();
        complain(&format!(
            "killed {processes} child(ren) that did not end within {grace} s of being told to"
        ));
    }
}

/// Says once, on standard error, that more clients want to come than can be served.
#[derive(Debug, Clone)]
pub struct Full {
    why: &'static str,
    told: bool,
}

impl Full {
    /// With the reason.
    #[must_use]
    pub fn new(why: &'static str) -> Full {
        Full { why, told: false }
    }

    /// Say it, the first time. Where accept(2) is refused for another reason, that is said instead.
    pub fn tell(&mut self, why: Paused) {
        if std::mem::replace(&mut self.told, true) {
            return;
        }
        match why {
            Paused::Refused(_) => {
                complain(&format!("{why}; clients wait, and accepting is tried again every 100 ms"))
            }
            _ => complain(&format!("{}; clients beyond that wait until others have left", self.why)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_numbers_and_only_a_server_may_ask_for_any() {
        assert_eq!((port("5005"), listening_port("0")), (Ok(5005), Ok(0)));
        for bad in ["", "http", "65536", "-1", "5005x", "0x50", " 80"] {
            assert!(listening_port(bad).is_err(), "{bad:?}");
        }
        assert!(port("0").is_err());
    }
}
