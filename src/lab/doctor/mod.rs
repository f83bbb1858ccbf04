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
use super::load::plan::Payload;
use super::results::doctor::{
    BothCalls, Diagnosed, How, Kind, Lifted, Load as Loaded, Note, SCHEMA, SCHEMA_VERSION, Seen, What,
};
use super::trace::Subject;
use crate::stop::Stop;
use crate::sys::fork::Pid;
use crate::sys::{affinity, socket, sockopt};
use anyhow::Context;
use judge::Place;
use load::{Load, median_of, ratio_of};
use std::net::IpAddr;
use std::path::PathBuf;
use std::thread;
use std::time::Instant;

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
    /// The bytes that are sent.
    pub payload: Payload,
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
/// When the server does not start, or does not answer small requests as it should: then it has no number.
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
        (self.watch)(Doing::Basics);
        self.basics(found)?;
        let server = self.start(&self.plan.subject.command)?;
        let reference = self.start(&self.plan.reference.command)?;
        for kind in Kind::ALL {
            (self.watch)(Doing::Load(kind));
            match self.both(kind, &server, &reference) {
                Ok(load) => found.loads.push(load),
                // Without the number that people compare there is nothing to explain.
                Err(Failed::Error(why)) if kind != Kind::Requests => {
                    found.notes.push(Note::LoadFailed { load: kind, why: format!("{why:#}") });
                }
                Err(failed) => return Err(failed),
            }
        }
        (self.watch)(Doing::Calls);
        match self.calls() {
            Ok(calls) => found.calls = Some(calls),
            Err(Failed::Interrupted) => return Err(Failed::Interrupted),
            Err(Failed::Error(why)) => found.notes.push(Note::CallsNotCounted { why: format!("{why:#}") }),
        }
        drop(reference);
        judge::note_doubts(found);
        let place = Place {
            here: affinity::allowed()?.len(),
            of_server: affinity::allowed_to(server.main())?.len(),
            has_more_addresses: matches!(server.addr().ip(), IpAddr::V4(ip) if ip.is_loopback()),
        };
        for what in What::ALL {
            let limiter = judge::of(what, found, place, &mut |kind, how| self.lift(kind, how, &server))?;
            found.limiters.push(limiter);
        }
        Ok(())
    }

    /// Ask a server that is not measured whether it does what each server should.
    fn basics(&self, found: &mut Diagnosed) -> Result<(), Failed> {
        let server = self.start(&self.plan.subject.command)?;
        match basics(server.addr(), CLIENTS, self.stop) {
            Err(Failed::Error(why)) => found.notes.push(Note::FailsCheck { why: format!("{why:#}") }),
            done => done?,
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
        let turns = match kind {
            // The number that people compare.
            Kind::Requests => 3,
            // This one takes seconds where the queue is full.
            Kind::Connections => 1,
            Kind::OneConnection | Kind::LargeMessages | Kind::Pipelined => 2,
        };
        for _ in 0..turns {
            ours.push(self.put(self.load(kind), server)?);
            theirs.push(self.put(self.load(kind), reference)?);
        }
        let ratio = ratio_of(&ours, &theirs);
        Ok(Loaded { kind, server: median_of(&ours), reference: median_of(&theirs), ratio })
    }

    fn load(&self, kind: Kind) -> Load {
        Load { kind, payload: self.plan.payload, with: None, is_half: false }
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
        let as_it_is = self.load(kind);
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
                (None, How::EightAtOnce) => self.put(self.load(Kind::Pipelined), server)?,
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
        Ok(Lifted { how, before: median_of(&before), after: median_of(&after), ratio })
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
