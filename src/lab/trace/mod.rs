//! What a server does for its clients, call by call: the same short script of clients for each server, every system call about sockets,
//! readiness, processes and signals, and what lies in the buffers.
//!
//! The server is traced by ptrace(2) from its first instruction to its last, with all threads and processes that it starts. The clients
//! are this program. They do the actions of a step, and wait until no thread of the server runs; so what the server does in a step is the
//! same each time. For that the server and the clients share one processor while the script runs: what a client does at once, the
//! server sees at once.

mod assemble;
mod clients;
pub(super) mod decode;
mod facts;
mod log;
pub(super) mod record;
mod remarks;
mod script;

pub use script::{Script, USUAL};

use super::check::server::{Launch, Server};
use super::child::Failed;
use super::results::check::Expect;
use super::results::trace::{Answer, Recording, SCHEMA, SCHEMA_VERSION, Traced};
use super::{SystemCalls, env::Environment};
use crate::stop::Stop;
use crate::sys::affinity;
use crate::sys::fork::Pid;
use crate::sys::signal::Signal;
use crate::sys::sockopt;
use anyhow::Context;
use clients::{Clients, Played, Watched};
use log::Log;
use record::Recorder;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long a server may take to end after SIGTERM.
const TO_END: Duration = Duration::from_secs(2);

/// How often a server is traced when other programs disturb its clients.
const TRIES: usize = 10;

/// The send buffers of a server get this size, of which the kernel makes twice as much.
const ROOM: usize = 32 << 10;

/// An algorithm that every kernel has, and that does not send by the clock.
const STEADY: &str = "reno";

/// A server that is traced.
#[derive(Debug, Clone)]
pub struct Subject {
    /// What it is called.
    pub name: String,
    /// What the result says that it is.
    pub what: String,
    /// The command of sh(1) that starts it, with `{port}`.
    pub command: String,
    /// The shell executes the server itself, `exec ./server {port}`; otherwise the calls of the shell belong to it.
    pub is_one_program: bool,
}

/// What is traced, and how.
#[derive(Debug)]
pub struct Plan {
    /// This program, which supervises the servers.
    pub program: PathBuf,
    /// One, or two to compare.
    pub subjects: Vec<Subject>,
    /// What the clients do.
    pub script: Script,
    /// What the server answers.
    pub expect: Expect,
    /// The soft limit on descriptors that a server has.
    pub nofile: u64,
}

/// Trace each server in turn.
///
/// # Errors
///
/// When a server does not start, or may not be traced.
pub fn trace(plan: &Plan, stop: &Stop) -> Result<Traced, Failed> {
    let began = Instant::now();
    let (mut servers, mut partial) = (Vec::new(), false);
    for subject in &plan.subjects {
        let (recording, was_interrupted) = one(plan, subject, stop)?;
        servers.push(recording);
        partial = was_interrupted;
        if partial {
            break;
        }
    }
    if let [one, other] = servers.as_mut_slice() {
        remarks::mark_differences(one, other);
    }
    Ok(Traced {
        schema: SCHEMA.to_owned(),
        schema_version: SCHEMA_VERSION,
        environment: Environment::here(),
        script: plan.script.steps.clone(),
        expect: plan.expect,
        seconds: began.elapsed().as_secs_f64(),
        partial,
        servers,
    })
}

/// Trace one server; once more when another program has disturbed the clients. Whether a signal ended it before the script was at its end.
fn one(plan: &Plan, subject: &Subject, stop: &Stop) -> Result<(Recording, bool), Failed> {
    for _ in 1..TRIES {
        let (recording, played) = once(plan, subject, stop)?;
        if !played.was_disturbed || played.was_interrupted {
            return Ok((recording, played.was_interrupted));
        }
    }
    let (mut recording, played) = once(plan, subject, stop)?;
    if played.was_disturbed {
        recording.notes.push(
            "Other programs took the processor while clients did several things at once: the server may have seen them one by one."
                .to_owned(),
        );
    }
    Ok((recording, played.was_interrupted))
}

fn once(plan: &Plan, subject: &Subject, stop: &Stop) -> Result<(Recording, Played), Failed> {
    let mut recorded = None;
    let launch = Launch { program: &plan.program, command: &subject.command, nofile: plan.nofile };
    let execs = if subject.is_one_program { 2 } else { 1 };
    // Of one that found its port taken nothing is kept.
    let mut before = |process: Pid| {
        let log = Arc::new(Log::new());
        recorded = Some((Recorder::start(process, execs, log.clone())?, log));
        Ok(())
    };
    let server = Server::start_held(launch, &mut before, stop)?;
    let (recorder, log) = recorded.context("a server that was held before it began")?;
    log.lock().server = Some(server.addr());
    let played = play(&server, &plan.script, plan.expect, &log, stop)?;
    end(server, stop);
    let tasks = recorder.tasks()?;
    let mut known = Arc::into_inner(log).expect("the tracer has ended").into_known();
    let events = assemble::events(&mut known);
    let mut notes = Vec::new();
    notes.extend(known.broken.take());
    if let Some(why) = known.no_diag() {
        notes.push(format!("What lies in the buffers is not known: the kernel does not tell ({why})."));
    }
    let mut recording = Recording {
        name: subject.name.clone(),
        server: subject.what.clone(),
        tasks,
        clients: plan.script.clients.clone(),
        events,
        remarks: Vec::new(),
        answers: played.answers.clone(),
        calls: SystemCalls::named(&known.calls),
        left_out: known.left_out,
        notes,
    };
    recording.remarks = remarks::of(&recording, plan.expect, played.awake);
    Ok((recording, played))
}

/// Let the clients do what the script says, on the processor that the server has meanwhile.
fn play(server: &Server, script: &Script, expect: Expect, log: &Log, stop: &Stop) -> Result<Played, Failed> {
    let watched = WatchedServer(server);
    let work = || Clients::new(server.addr(), script, expect, &watched, log, stop).play(script);
    // Its clients' sockets inherit both. Otherwise how much a send buffer takes depends on how fast bytes were acknowledged before. Of a
    // process whose first thread has ended no descriptor can be copied; it is traced without.
    for listener in server.listeners().unwrap_or_default() {
        sockopt::set_send_buffer(&listener, ROOM)?;
        sockopt::set_congestion_control(&listener, STEADY).ok();
    }
    let Some(&cpu) = affinity::allowed()?.first() else { return Ok(work()?) };
    for thread in server.threads() {
        // One that has ended needs no processor.
        affinity::pin(thread, cpu).and_then(|()| affinity::set_batch(thread)).ok();
    }
    Ok(affinity::while_pinned(cpu, work)??)
}

/// The same script for a server that nobody traces: what its clients got back. So another tool can count its calls: the command
/// `strace -f -c -o FILE ./server {port}`.
///
/// # Errors
///
/// When the server does not start.
pub fn untraced(plan: &Plan, subject: &Subject, stop: &Stop) -> Result<Vec<Answer>, Failed> {
    let launch = Launch { program: &plan.program, command: &subject.command, nofile: plan.nofile };
    let mut tries = 0;
    loop {
        let server = Server::start(launch, stop)?;
        let log = Log::new();
        log.lock().server = Some(server.addr());
        let played = play(&server, &plan.script, plan.expect, &log, stop)?;
        end(server, stop);
        tries += 1;
        if !played.was_disturbed || tries == TRIES {
            return Ok(played.answers);
        }
    }
}

/// Tell the server to end, and wait until it has. What is left is killed.
fn end(mut server: Server, stop: &Stop) {
    server.signal(Signal::SIGTERM).ok();
    server.wait_for_command(TO_END, stop).ok();
}

struct WatchedServer<'a>(&'a Server);

impl Watched for WatchedServer<'_> {
    fn sleeps(&self) -> Option<bool> {
        self.0.sleeps()
    }

    fn turns(&self) -> u64 {
        self.0.waits().unwrap_or(0)
    }
}
