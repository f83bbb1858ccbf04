//! Why the number of a server is lower than it could be.
//!
//! The server and a model of ours have the same loads in turn, and their system calls are counted. What was seen points to what may limit
//! the server. That is then taken away from outside, as far as it can be: on copies of its sockets, at the generator, by where its threads
//! may run. The same load on the server with and without it, in turn, shows what became of the number.

mod calls;
mod judge;
mod load;

use super::check::basics;
use super::check::server::{Launch, Server};
use super::child::Failed;
use super::env::Environment;
use super::results::doctor::{
    BothCalls, Diagnosed, How, Kind, Lifted, Load as Loaded, Note, SCHEMA, SCHEMA_VERSION, Seen, What,
};
use super::trace::Subject;
use crate::stop::Stop;
use crate::sys::fork::Pid;
use crate::sys::{affinity, socket, sockopt};
use anyhow::Context;
use load::{Load, median_of, ratio_of};
use std::path::PathBuf;
use std::thread;
use std::time::Instant;

/// Turns of the load with the number that people compare, and of the others.
const TURNS: usize = 3;
const TURNS_OF_OTHERS: usize = 2;

/// Turns with something taken away, and without.
const TURNS_LIFTED: usize = 2;

/// The queue of a listening socket, where it is made longer.
const LONG_QUEUE: i32 = 4096;

/// Socket buffers, where they are made larger.
const LARGE_BUFFER: usize = 1 << 20;

/// Clients at the same time for which the server must be fit.
const CLIENTS: usize = 256;

/// What is examined, and how.
#[derive(Debug)]
pub struct Plan {
    /// This program, which supervises the servers.
    pub program: PathBuf,
    /// The server.
    pub subject: Subject,
    /// The model that it is compared with.
    pub reference: Subject,
    /// The soft limit on descriptors that a server has.
    pub nofile: u64,
}

/// What is done at the moment, for people who wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Doing {
    /// The checks that each server must pass.
    Basics,
    /// Both servers have this load in turn.
    Load(Kind),
    /// System calls are counted.
    Calls,
    /// Something is taken away.
    Lifting,
}

/// Find out what limits a server.
///
/// # Errors
///
/// When the server does not start, or does not answer as it should: then its number says nothing.
pub fn examine(plan: &Plan, stop: &Stop, watch: &dyn Fn(Doing)) -> Result<Diagnosed, Failed> {
    let began = Instant::now();
    let mut found = Diagnosed {
        schema: SCHEMA.to_owned(),
        schema_version: SCHEMA_VERSION,
        environment: Environment::here(),
        name: plan.subject.name.clone(),
        server: plan.subject.what.clone(),
        reference: plan.reference.name.clone(),
        seconds: 0.0,
        partial: false,
        loads: Vec::new(),
        calls: None,
        limiters: Vec::new(),
        notes: Vec::new(),
    };
    let examination = Examination { plan, stop, watch };
    match examination.go(&mut found) {
        Ok(()) => {}
        // What was measured is worth something.
        Err(Failed::Interrupted) if !found.loads.is_empty() => found.partial = true,
        Err(why) => return Err(why),
    }
    found.seconds = began.elapsed().as_secs_f64();
    Ok(found)
}

struct Examination<'a> {
    plan: &'a Plan,
    stop: &'a Stop,
    watch: &'a dyn Fn(Doing),
}

impl Examination<'_> {
    fn go(&self, found: &mut Diagnosed) -> Result<(), Failed> {
        let server = self.start(&self.plan.subject.command)?;
        (self.watch)(Doing::Basics);
        basics(server.addr(), CLIENTS, self.stop)?;
        let reference = self.start(&self.plan.reference.command)?;
        for kind in
            [Kind::Requests, Kind::OneConnection, Kind::Connections, Kind::LargeMessages, Kind::Pipelined]
        {
            (self.watch)(Doing::Load(kind));
            found.loads.push(self.both(kind, &server, &reference)?);
        }
        (self.watch)(Doing::Calls);
        match self.calls() {
            Ok(calls) => found.calls = Some(calls),
            Err(Failed::Interrupted) => return Err(Failed::Interrupted),
            Err(Failed::Error(why)) => found.notes.push(Note::CallsNotCounted { why: format!("{why:#}") }),
        }
        drop(reference);
        judge::note_doubts(found);
        for what in What::ALL {
            let limiter = judge::of(what, found, &server, &mut |kind, how| self.lift(kind, how, &server))?;
            found.limiters.push(limiter);
        }
        Ok(())
    }

    fn start(&self, command: &str) -> Result<Server, Failed> {
        Server::start(self.launch(command), self.stop)
    }

    fn launch<'a>(&'a self, command: &'a str) -> Launch<'a> {
        Launch { program: &self.plan.program, command, nofile: self.plan.nofile }
    }

    /// Both servers have this load in turn.
    fn both(&self, kind: Kind, server: &Server, reference: &Server) -> Result<Loaded, Failed> {
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        let turns = if kind == Kind::Requests { TURNS } else { TURNS_OF_OTHERS };
        for _ in 0..turns {
            ours.push(self.put(Load::of(kind), server)?);
            theirs.push(self.put(Load::of(kind), reference)?);
        }
        let ratio = ratio_of(&ours, &theirs);
        Ok(Loaded { kind, server: median_of(&ours), reference: median_of(&theirs), ratio })
    }

    fn put(&self, load: Load, server: &Server) -> Result<Seen, Failed> {
        load.put(server, &|| Ok(()), self.stop)
    }

    fn calls(&self) -> Result<BothCalls, Failed> {
        Ok(BothCalls {
            server: calls::count(self.launch(&self.plan.subject.command), self.stop)?,
            reference: calls::count(self.launch(&self.plan.reference.command), self.stop)?,
        })
    }

    /// The number under this load without something, and with it.
    fn lift(&self, kind: Kind, how: How, server: &Server) -> Result<Lifted, Failed> {
        (self.watch)(Doing::Lifting);
        let as_it_is = Load::of(kind);
        let (mut before, mut after) = (Vec::new(), Vec::new());
        // A server of its own where something is changed that stays.
        let command = match how {
            How::NoOutput => format!("{{ {}\n}} >/dev/null 2>&1", self.plan.subject.command),
            _ => self.plan.subject.command.clone(),
        };
        let changed = match how {
            How::TwoGeneratorThreads | How::MoreAddresses | How::EightAtOnce => None,
            _ => Some(self.start(&command)?),
        };
        for _ in 0..TURNS_LIFTED {
            before.push(self.put(as_it_is, server)?);
            after.push(match (&changed, how) {
                (None, How::EightAtOnce) => self.put(Load::of(Kind::Pipelined), server)?,
                (None, _) => self.put(Load { with: Some(how), ..as_it_is }, server)?,
                (Some(other), How::SecondCopy) => self.put_on_both(as_it_is, server, other)?,
                (Some(changed), _) => {
                    // Sockets of clients are changed when they are there; all others before.
                    change(how, changed)?;
                    as_it_is.put(changed, &|| change(how, changed), self.stop)?
                }
            });
        }
        let ratio = ratio_of(&after, &before);
        let (before, after) = (median_of(&before), median_of(&after));
        Ok(Lifted { how, before_per_s: before.per_s, after_per_s: after.per_s, ratio })
    }

    /// Half of a load on each of two servers at the same time.
    fn put_on_both(&self, load: Load, one: &Server, other: &Server) -> Result<Seen, Failed> {
        let half = Load { is_half: true, ..load };
        let (ours, theirs) = thread::scope(|scope| {
            let theirs = scope.spawn(|| half.put(other, &|| Ok(()), self.stop));
            (half.put(one, &|| Ok(()), self.stop), theirs.join().expect("a load does not panic"))
        });
        let (ours, theirs) = (ours?, theirs?);
        Ok(Seen { per_s: ours.per_s + theirs.per_s, ..ours })
    }
}

/// Change a server from outside.
fn change(how: How, server: &Server) -> anyhow::Result<()> {
    match how {
        How::LongerQueue => {
            for listener in server.listeners()? {
                socket::listen(&listener, LONG_QUEUE)?;
            }
        }
        How::NoDelay => server.sockets()?.iter().for_each(|socket| {
            // Some may be of another kind.
            sockopt::set_nodelay(socket, true).ok();
        }),
        How::LargerBuffers => server.sockets()?.iter().for_each(|socket| {
            sockopt::set_send_buffer(socket, LARGE_BUFFER).ok();
            sockopt::set_receive_buffer(socket, LARGE_BUFFER).ok();
        }),
        How::AllProcessors => allow(server, &affinity::allowed()?),
        How::OneProcessor => {
            let first = affinity::allowed()?.first().copied().context("a process has a processor")?;
            allow(server, &[first]);
        }
        How::NoOutput
        | How::SecondCopy
        | How::TwoGeneratorThreads
        | How::MoreAddresses
        | How::EightAtOnce => {}
    }
    Ok(())
}

/// Let all its threads run on these processors.
fn allow(server: &Server, cpus: &[usize]) {
    for task in server.tasks() {
        let thread = task.file_name().and_then(|name| name.to_str()?.parse().ok());
        if let Some(thread) = thread.map(Pid::from_raw) {
            // One that has ended needs no processor.
            affinity::allow(thread, cpus).ok();
        }
    }
}
