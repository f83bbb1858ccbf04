//! `io-models supervise -- COMMAND`: run a foreign server, and end it with everything that it has started, when our own
//! parent ends. For `compare`, which may be killed and then could not do it itself.

use crate::failure::Failure;
use io_models::sys::fork::{Pid, kill};
use io_models::sys::signal::Signal;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, ExitCode, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

/// How long the server may take to end in order.
const TO_END: Duration = Duration::from_secs(2);

/// Run a command of sh(1) until standard input ends
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The command
    command: String,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let said = io::stderr().as_fd().try_clone_to_owned().map_err(Failure::of)?;
    let mut command = Command::new("/bin/sh");
    command.arg("-c").arg(&args.command).stdin(Stdio::null()).stdout(said);
    // A group of its own, so that all of it can be ended at once.
    command.process_group(0);
    let mut server =
        command.spawn().map_err(|why| Failure::run(format_args!("cannot run /bin/sh: {why}")))?;
    let group = Pid::from_raw(-server.id().cast_signed());
    writeln!(io::stdout(), "{}", server.id()).map_err(Failure::of)?;
    let is_told = Arc::new(AtomicBool::new(false));
    let told = is_told.clone();
    thread::spawn(move || end_when_told(group, &told));
    let status = server.wait().map_err(Failure::of)?;
    // What it has started may live on.
    end(group, Signal::SIGKILL);
    match is_told.load(Ordering::SeqCst) {
        true => Ok(ExitCode::SUCCESS),
        false => Err(Failure::run(ending(status))),
    }
}

/// Wait until standard input ends, and then end the server.
fn end_when_told(group: Pid, told: &AtomicBool) {
    io::copy(&mut io::stdin(), &mut io::sink()).ok();
    told.store(true, Ordering::SeqCst);
    end(group, Signal::SIGTERM);
    thread::sleep(TO_END);
    end(group, Signal::SIGKILL);
}

/// Send a signal to all of a group, if there is anybody in it.
fn end(group: Pid, signal: Signal) {
    kill(group, signal).ok();
}

fn ending(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("the server ended with exit code {code}"),
        (None, Some(signal)) => format!("the server was killed by signal {signal}"),
        _ => format!("the server ended with {status}"),
    }
}
