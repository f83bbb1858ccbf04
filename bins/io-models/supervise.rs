//! `io-models supervise -- COMMAND`: run a foreign server, and end it with everything that it has started, when our own
//! parent ends. For `compare` and `check`, which may be killed and then could not do it themselves.

use crate::failure::Failure;
use io_models::sys::fork::{Pid, kill, reap, this_process};
use io_models::sys::limits;
use io_models::sys::signal::{self, Signal};
use std::io::{self, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, ExitCode, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// How long the server may take to end in order.
const TO_END: Duration = Duration::from_secs(2);

/// Run a command of sh(1) until standard input ends
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The soft limit on descriptors of the server; without it, that of this process
    #[arg(long, value_name = "COUNT")]
    nofile: Option<u64>,

    /// Wait for a line on standard input before the command is executed
    #[arg(long)]
    hold: bool,

    /// The command
    command: String,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode, Failure> {
    // Whoever leaves the server becomes a child of this process, and is ended with it.
    nix::sys::prctl::set_child_subreaper(true).map_err(Failure::of)?;
    // A script starts its background jobs with SIGINT ignored, which the server would inherit.
    for ignored in [Signal::SIGINT, Signal::SIGQUIT, Signal::SIGTERM, Signal::SIGHUP] {
        signal::default(ignored).map_err(Failure::of)?;
    }
    if let Some(nofile) = args.nofile {
        limits::set_soft_nofile_of(this_process(), nofile).map_err(Failure::of)?;
    }
    // The command waits for the end of its input, so that our first line comes before all that it prints.
    const WAITS: &str = r#"read -r nothing; exec /bin/sh -c "$0" </dev/null"#;
    let mut command = Command::new("/bin/sh");
    command.args(["-c", WAITS, &args.command]).stdin(Stdio::piped()).process_group(0);
    let mut server =
        command.spawn().map_err(|why| Failure::run(format_args!("cannot run /bin/sh: {why}")))?;
    let group = Pid::from_raw(-server.id().cast_signed());
    let is_told = Arc::new(AtomicBool::new(false));
    let told = is_told.clone();
    // If nobody reads it, standard input has ended as well.
    writeln!(io::stdout(), "started {}", server.id()).ok();
    if args.hold {
        // An input that ends tells to end, which is seen below.
        io::stdin().read_line(&mut String::new()).ok();
    }
    thread::spawn(move || end_when_told(group, &told));
    // Which ends its input.
    let status = server.wait().map_err(Failure::of)?;
    let is_daemon = status.success() && !children_of(this_process()).is_empty();
    end_descendants();
    if is_told.load(Ordering::SeqCst) {
        return Ok(ExitCode::SUCCESS);
    }
    // The last line of the server may have no end.
    writeln!(io::stderr()).ok();
    let hint = if is_daemon {
        ", but a process that it started still ran: it must stay in the foreground, and not become a daemon"
    } else {
        ""
    };
    Err(Failure::run(ending(status) + hint))
}

/// Wait until standard input ends, and then end the server.
fn end_when_told(group: Pid, told: &AtomicBool) {
    io::copy(&mut io::stdin(), &mut io::sink()).ok();
    told.store(true, Ordering::SeqCst);
    kill(group, Signal::SIGTERM).ok();
    thread::sleep(TO_END);
    kill(group, Signal::SIGKILL).ok();
}

/// End all that is left of what the server has started. Each that ends makes its children ours.
fn end_descendants() {
    let until = Instant::now() + TO_END;
    loop {
        let children = children_of(this_process());
        if children.is_empty() || Instant::now() > until {
            return;
        }
        children.into_iter().for_each(|child| drop(kill(child, Signal::SIGKILL)));
        while let Ok(Some(_)) = reap() {}
        thread::sleep(Duration::from_millis(1));
    }
}

fn children_of(parent: Pid) -> Vec<Pid> {
    let tasks = procfs::process::Process::new(parent.as_raw()).and_then(|process| process.tasks());
    let children = tasks.into_iter().flatten().flatten().flat_map(|task| task.children().unwrap_or_default());
    children.map(|child| Pid::from_raw(child.cast_signed())).collect()
}

fn ending(status: ExitStatus) -> String {
    // A shell between us and the server tells of a signal by adding this number.
    const BY_SIGNAL: i32 = 128;
    let name = |signal: i32| Signal::try_from(signal).ok();
    match (status.code(), status.signal()) {
        (Some(code), _) => match name(code - BY_SIGNAL) {
            Some(name) => {
                format!("the server ended with exit code {code}, which is how a shell tells of {name}")
            }
            None => format!("the server ended with exit code {code}"),
        },
        (None, Some(signal)) => match name(signal) {
            Some(name) => format!("the server was killed by signal {signal} ({name})"),
            None => format!("the server was killed by signal {signal}"),
        },
        _ => format!("the server ended with {status}"),
    }
}
