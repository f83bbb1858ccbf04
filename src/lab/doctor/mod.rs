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
use super::load::limits;
use super::load::plan::{Payload, Wait};
use super::load::processors::Processors;
use super::meter::Tree;
use super::results::doctor::{
    BothCalls, Diagnosed, How, Kind, Lifted, Load as Loaded, Note, SCHEMA, SCHEMA_VERSION, Seen, What,
};
use super::trace::Subject;
use crate::stop::Stop;
use crate::sys::signal::Signal;
use crate::sys::{affinity, socket, sockopt};
use anyhow::Context;
use judge::Place;
use load::{Load, median_of};
use std::cell::Cell;
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

/// Turns of the load whose number people compare, and turns of it where the first ones differ.
const TURNS: usize = 3;
const TURNS_THAT_DIFFER: usize = 9;

/// Turns with something taken away, and without.
const TURNS_LIFTED: usize = 2;

/// The queue of a listening socket, where it is made longer.
const LONG_QUEUE: i32 = 4096;

/// Socket buffers, where they are made larger.
const LARGE_BUFFER: usize = 1 << 20;

/// Clients at the same time for which the server must be fit.
const CLIENTS: usize = 256;

/// How long to look whether a server sleeps.
const AT_REST: Duration = Duration::from_millis(20);

/// What is done when all connections of a load are open.
type Change<'a> = dyn Fn() -> anyhow::Result<()> + Sync + 'a;

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
    limits::check_descriptors(CLIENTS)?;
    let examination = Examination { plan, stop, watch, wait: wait_of(1), never_sleeps: Cell::new(false) };
    match examination.go(&mut found) {
        Ok(()) => {}
        // What was measured is worth something.
        Err(Failed::Interrupted) if !found.loads.is_empty() => found.partial = true,
        Err(why) => return Err(why),
    }
    found.seconds = began.elapsed().as_secs_f64();
    Ok(found)
}

/// What a generator of so many threads does while there is nothing to do.
fn wait_of(threads: usize) -> Wait {
    Processors::look(&(Ipv4Addr::LOCALHOST, 0).into()).choose_wait(threads)
}

struct Examination<'a> {
    plan: &'a Plan,
    stop: &'a Stop,
    watch: &'a dyn Fn(Doing),
    wait: Wait,
    /// The server runs while nothing is asked of it: it is stopped while it has no load, or it would take the processor of others.
    never_sleeps: Cell<bool>,
}

impl Examination<'_> {
    fn go(&self, found: &mut Diagnosed) -> Result<(), Failed> {
        (self.watch)(Doing::Basics);
        self.basics(found)?;
        let mut server = self.start(&self.plan.subject.command)?;
        let reference = self.start(&self.plan.reference.command)?;
        for kind in Kind::ALL {
            (self.watch)(Doing::Load(kind));
            self.start_if_ended(&mut server)?;
            match self.both(kind, &server, &reference) {
                Ok(load) => found.loads.push(load),
                // Without the number that people compare there is nothing to explain.
                Err(Failed::Error(why)) if kind != Kind::Requests => {
                    let mut why = format!("{why:#}");
                    if server.has_ended() {
                        let next = self.start(&self.plan.subject.command)?;
                        why = format!("{why}; {}", std::mem::replace(&mut server, next).ending());
                    }
                    found.notes.push(Note::LoadFailed { load: kind, why });
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
        self.start_if_ended(&mut server)?;
        let of_server: BTreeSet<_> = server
            .threads()
            .into_iter()
            .filter_map(|thread| affinity::allowed_to(thread).ok())
            .flatten()
            .collect();
        let place = Place {
            here: affinity::allowed()?.len(),
            of_server: of_server.len(),
            never_sleeps: self.never_sleeps.get(),
            has_more_addresses: matches!(server.addr().ip(), IpAddr::V4(ip) if ip.is_loopback()),
        };
        judge::note_doubts(found, place);
        for what in What::ALL {
            let mut lift = |kind, how| {
                self.start_if_ended(&mut server)?;
                self.lift(kind, how, &server)
            };
            let limiter = judge::of(what, found, place, &mut lift)?;
            found.limiters.push(limiter);
        }
        judge::note_what_is_left(found);
        Ok(())
    }

    /// Ask a server that is not measured whether it does what each server should.
    fn basics(&self, found: &mut Diagnosed) -> Result<(), Failed> {
        let server = self.start(&self.plan.subject.command)?;
        let is_busy = Tree::of(server.main().as_raw().cast_unsigned(), true).is_busy(AT_REST);
        self.never_sleeps.set(is_busy);
        match basics(server.addr(), CLIENTS, self.stop) {
            Err(Failed::Error(why)) => found.notes.push(Note::FailsCheck { why: format!("{why:#}") }),
            done => done?,
        }
        Ok(())
    }

    fn start(&self, command: &str) -> Result<Server, Failed> {
        let server = Server::start(self.launch(command), self.stop)?;
        self.let_run(&server, false)?;
        Ok(server)
    }

    /// A load may have ended it.
    fn start_if_ended(&self, server: &mut Server) -> Result<(), Failed> {
        if server.has_ended() {
            *server = self.start(&self.plan.subject.command)?;
        }
        Ok(())
    }

    /// Stop a server that never sleeps, or let it go on.
    fn let_run(&self, server: &Server, runs: bool) -> crate::Result<()> {
        match self.never_sleeps.get() {
            true => server.signal_all(if runs { Signal::SIGCONT } else { Signal::SIGSTOP }),
            false => Ok(()),
        }
    }

    fn launch<'a>(&'a self, command: &'a str) -> Launch<'a> {
        Launch { program: &self.plan.program, command, nofile: self.plan.nofile }
    }

    /// Both servers have this load in turn.
    fn both(&self, kind: Kind, server: &Server, reference: &Server) -> Result<Loaded, Failed> {
        let (mut ours, mut theirs, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
        let mut turns = match kind {
            Kind::Requests => TURNS,
            // This one takes seconds where the queue is full.
            Kind::Connections => 1,
            Kind::OneConnection | Kind::LargeMessages | Kind::Pipelined => 2,
        };
        while ratios.len() < turns {
            let one = self.put(self.load(kind), server, &|| Ok(()))?;
            let other = self.put(self.load(kind), reference, &|| Ok(()))?;
            ratios.push(one.per_s / other.per_s);
            ours.push(one);
            theirs.push(other);
            // The median of three is wrong where something came between in two of them.
            if kind == Kind::Requests && judge::differ(&ratios).is_some() {
                turns = TURNS_THAT_DIFFER;
            }
        }
        let (server, reference) = (median_of(&ours), median_of(&theirs));
        Ok(Loaded { kind, server, reference, ratio: server.per_s / reference.per_s, ratios })
    }

    fn load(&self, kind: Kind) -> Load {
        Load { kind, payload: self.plan.payload, wait: self.wait, with: None, is_half: false }
    }

    fn put(&self, load: Load, server: &Server, lift: &Change<'_>) -> Result<Seen, Failed> {
        self.let_run(server, true)?;
        let seen = load.put(server, lift, self.stop);
        self.let_run(server, false)?;
        seen
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
        // Where two threads of the generator are compared with one, both wait in the same way.
        let wait = match how {
            How::TwoGeneratorThreads | How::SecondCopy => wait_of(2),
            _ => self.wait,
        };
        let as_it_is = Load { wait, ..self.load(kind) };
        let other_load = Load { with: Some(how), ..as_it_is };
        let nothing: &Change<'_> = &|| Ok(());
        // A server of its own where something is changed that stays.
        let command = match how {
            How::NoOutput => format!("{{ {}\n}} >/dev/null 2>&1", self.plan.subject.command),
            _ => self.plan.subject.command.clone(),
        };
        let is_of_the_generator = matches!(how, How::TwoGeneratorThreads | How::MoreAddresses);
        let other = if is_of_the_generator { None } else { Some(self.start(&command)?) };
        let (mut before, mut after) = (Vec::new(), Vec::new());
        for _ in 0..TURNS_LIFTED {
            before.push(match how {
                // By two generators as well: the number of servers alone differs.
                How::SecondCopy => self.put_on_both(as_it_is, server, server)?,
                _ => self.put(as_it_is, server, nothing)?,
            });
            after.push(match &other {
                None => self.put(other_load, server, nothing)?,
                Some(other) if how == How::SecondCopy => self.put_on_both(as_it_is, server, other)?,
                Some(other) => {
                    // Sockets of clients are changed when they are there; all others before.
                    change(how, other)?;
                    self.put(as_it_is, other, &|| change(how, other))?
                }
            });
        }
        let ratios = before.iter().zip(&after).map(|(before, after)| after.per_s / before.per_s);
        let least_ratio = ratios.fold(f64::INFINITY, f64::min);
        let (before, after) = (median_of(&before), median_of(&after));
        Ok(Lifted { how, before, after, ratio: after.per_s / before.per_s, least_ratio })
    }

    /// Half of a load on each of two servers at the same time, which may be the same server.
    fn put_on_both(&self, load: Load, one: &Server, other: &Server) -> Result<Seen, Failed> {
        let half = Load { is_half: true, ..load };
        self.let_run(one, true)?;
        self.let_run(other, true)?;
        let nothing: &Change<'_> = &|| Ok(());
        let (ours, theirs) = thread::scope(|scope| {
            let theirs = scope.spawn(|| half.put(other, nothing, self.stop));
            (half.put(one, nothing, self.stop), theirs.join().expect("a load does not panic"))
        });
        self.let_run(one, false)?;
        self.let_run(other, false)?;
        let (ours, theirs) = (ours?, theirs?);
        let are_two = one.main() != other.main();
        Ok(Seen {
            per_s: ours.per_s + theirs.per_s,
            generator_busy: ours.generator_busy.max(theirs.generator_busy),
            processors: match (ours.processors, theirs.processors) {
                (Some(ours), Some(theirs)) if are_two => Some(ours + theirs),
                (ours, _) => ours,
            },
            lost: ours.lost + theirs.lost,
            without_port: ours.without_port + theirs.without_port,
            ..ours
        })
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
    for thread in server.threads() {
        // One that has ended needs no processor.
        affinity::allow(thread, cpus).ok();
    }
}
