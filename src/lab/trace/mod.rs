//! What a server does for its clients, call by call: the same short script of clients for each server, every system call about sockets,
//! readiness, processes and signals, and what lies in the buffers.
//!
//! The server is traced by ptrace(2) from its first instruction to its last, with all threads and processes that it starts. The clients
//! are this program. They do the actions of a step, and wait until no thread of the server runs; so what the server does in a step is the
//! same each time. For that the server and the clients share one processor while the script runs: what a client does at once, the
//! server sees at once.

mod assemble;
mod clients;
mod decode;
mod log;
mod record;
mod remarks;
mod script;

pub use script::{Script, USUAL};

use super::check::server::{Launch, Server};
use super::child::Failed;
use super::results::check::Expect;
use super::results::trace::{Recording, SCHEMA, SCHEMA_VERSION, Traced};
use super::{SystemCalls, env::Environment};
use crate::stop::Stop;
use crate::sys::affinity;
use crate::sys::fork::Pid;
use crate::sys::signal::Signal;
use clients::{Clients, Played, Watched};
use log::Log;
use record::Recorder;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long a server may take to end after SIGTERM.
const TO_END: Duration = Duration::from_secs(2);

/// A server that is traced.
#[derive(Debug, Clone)]
pub struct Subject {
    /// What it is called.
    pub name: String,
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

/// Trace one server. Whether a signal ended it before the script was at its end.
fn one(plan: &Plan, subject: &Subject, stop: &Stop) -> Result<(Recording, bool), Failed> {
    let log = Arc::new(Log::new());
    let mut recorder = None;
    let launch = Launch { program: &plan.program, command: &subject.command, nofile: plan.nofile };
    let execs = if subject.is_one_program { 2 } else { 1 };
    let mut before = |process: Pid| {
        recorder = Some(Recorder::start(process, execs, log.clone())?);
        Ok(())
    };
    let server = Server::start_held(launch, &mut before, stop)?;
    log.lock().server = Some(server.addr());
    let played = play(&server, &plan.script, plan.expect, &log, stop)?;
    end(server, stop)?;
    let tasks = recorder.map(Recorder::tasks).transpose()?.unwrap_or_default();
    let mut known = Arc::into_inner(log).expect("the tracer has ended").into_known();
    let events = assemble::events(&mut known);
    let mut notes = Vec::new();
    notes.extend(known.broken.take());
    if let Some(why) = known.no_diag() {
        notes.push(format!("What lies in the buffers is not known: the kernel does not tell ({why})."));
    }
    let mut recording = Recording {
        name: subject.name.clone(),
        server: subject.command.clone(),
        tasks,
        clients: plan.script.clients.clone(),
        events,
        remarks: Vec::new(),
        answers: played.answers,
        calls: SystemCalls::named(&known.calls),
        left_out: known.left_out,
        notes,
    };
    recording.remarks = remarks::of(&recording, plan.expect);
    Ok((recording, played.was_interrupted))
}

/// Let the clients do what the script says, on the processor that the server has meanwhile.
fn play(server: &Server, script: &Script, expect: Expect, log: &Log, stop: &Stop) -> Result<Played, Failed> {
    let watched = WatchedServer(server);
    let work = || Clients::new(server.addr(), script, expect, &watched, log, stop).play(script);
    let Some(&cpu) = affinity::allowed()?.first() else { return Ok(work()?) };
    for task in server.tasks() {
        let thread = task.file_name().and_then(|name| name.to_str()?.parse().ok());
        // One that has ended needs no processor.
        if let Some(thread) = thread.map(Pid::from_raw) {
            affinity::pin(thread, cpu).and_then(|()| affinity::set_batch(thread)).ok();
        }
    }
    Ok(affinity::while_pinned(cpu, work)??)
}

/// Tell the server to end, and wait until it has.
fn end(server: Server, stop: &Stop) -> Result<(), Failed> {
    server.signal(Signal::SIGTERM).ok();
    server.wait_for_end(TO_END, stop).ok();
    // Kills what is left.
    drop(server);
    Ok(())
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
