//! Makes the checks, side by side where that is possible, and judges.

use super::log::Log;
use super::server::{Launch, Server};
use super::session::{ALL, Session, Shared, Started};
use super::sockets::{self, Listener};
use super::{Check, EDGE, Ended, Fault, Needs, checks};
use crate::lab::child::Failed;
use crate::lab::results::check as results;
use crate::lab::results::check::{Expect, Failure, Judged, Outcome, Verdict};
use crate::stop::Stop;
use anyhow::anyhow;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::{Condvar, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// How long a server that runs may take to accept a first connection.
const TO_CONNECT: Duration = Duration::from_secs(10);

/// How often a check is made that failed because something did not come in time.
const TRIES: usize = 3;

/// What to check, and how.
#[derive(Debug, Clone)]
pub struct Plan {
    /// This program, which supervises a server that is started.
    pub program: PathBuf,
    /// The checks, in the order of the report.
    pub checks: Vec<&'static Check>,
    /// What the server answers.
    pub expect: Expect,
    /// How many clients it serves at the same time, at least.
    pub clients: usize,
    /// What is drawn by chance is drawn from this.
    pub seed: u64,
    /// The soft limit on descriptors that a server is started with: that of whoever asks, which this program raises for itself.
    pub nofile: u64,
    /// How many checks of a server that is started for each of them are made at the same time.
    pub side_by_side: usize,
}

impl Plan {
    fn launch<'a>(&'a self, command: &'a str) -> Launch<'a> {
        Launch { program: &self.program, command, nofile: self.nofile }
    }

    /// For the result.
    #[must_use]
    pub fn described(&self, faults: bool) -> results::Plan {
        results::Plan {
            expect: self.expect,
            clients: self.clients,
            faults,
            seed: self.seed,
            checks: self.checks.iter().map(|check| check.id.to_owned()).collect(),
        }
    }
}

/// A server to judge.
#[derive(Debug, Clone)]
pub struct Subject {
    /// Its name in the report.
    pub name: String,
    /// How it is reached.
    pub reach: Reach,
}

/// How a server is reached.
#[derive(Debug, Clone)]
pub enum Reach {
    /// It runs, at one of these addresses: the first that accepts a connection is taken.
    Running(Vec<SocketAddr>),
    /// This command of sh(1) starts it, on the port that `{port}` stands for.
    Command(String),
}

impl Reach {
    fn in_words(&self) -> String {
        match self {
            Reach::Running(addrs) => addrs.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
            Reach::Command(command) => command.clone(),
        }
    }
}

/// A server that can be reached.
#[derive(Debug, Clone, Copy)]
enum Reached<'a> {
    At(SocketAddr),
    By(&'a str),
}

/// Receives each verdict.
pub trait Watch: Sync {
    /// A verdict was reached: `done` of `all`.
    fn verdict(&self, server: &str, verdict: &Verdict, done: usize, all: usize);
}

/// Make the checks of a server: the verdicts, and whether a signal came before all of them.
///
/// # Errors
///
/// A server that does not start.
pub fn judge(
    plan: &Plan,
    subject: &Subject,
    stop: &Stop,
    watch: &dyn Watch,
) -> anyhow::Result<(Judged, bool)> {
    if stop.is_set()? {
        let server = subject.reach.in_words();
        return Ok((Judged { name: subject.name.clone(), server, verdicts: Vec::new() }, true));
    }
    // What is wrong with the command or the address is said once.
    let reached = match &subject.reach {
        Reach::Command(command) => {
            if let Err(Failed::Error(why)) = Server::start(plan.launch(command), stop) {
                return Err(why);
            }
            Reached::By(command)
        }
        Reach::Running(addrs) => Reached::At(accepting(addrs)?),
    };
    let (at_once, server) = match reached {
        // What one check does to a server that runs must not spoil another.
        Reached::At(addr) => (1, addr.to_string()),
        Reached::By(command) => (plan.side_by_side.max(1), command.to_owned()),
    };
    let work = Work {
        plan,
        name: &subject.name,
        reached,
        stop,
        watch,
        state: Mutex::new(State {
            open: plan.checks.clone(),
            verdicts: HashMap::new(),
            gone: None,
            interrupted: false,
        }),
        changed: Condvar::new(),
        shared: Shared::default(),
    };
    thread::scope(|scope| {
        for _ in 0..at_once {
            scope.spawn(|| work.go());
        }
    });
    let state = work.state.into_inner().unwrap_or_else(PoisonError::into_inner);
    let mut verdicts = state.verdicts;
    let in_order = plan.checks.iter().filter_map(|check| verdicts.remove(check.id)).collect();
    Ok((Judged { name: subject.name.clone(), server, verdicts: in_order }, state.interrupted))
}

/// Whether somebody listens there, as far as this machine tells without a connection: that would be a client of the server.
fn listens_here(addr: SocketAddr) -> bool {
    let is_it = |listener: Listener| {
        let ip = listener.addr.ip().to_canonical();
        listener.addr.port() == addr.port() && ip == addr.ip()
    };
    sockets::listeners().is_ok_and(|mut listeners| listeners.any(is_it))
}

/// The first of these addresses that accepts a connection.
fn accepting(addrs: &[SocketAddr]) -> anyhow::Result<SocketAddr> {
    if let Some(addr) = addrs.iter().find(|addr| listens_here(**addr)) {
        return Ok(*addr);
    }
    let mut refused = Vec::new();
    for addr in addrs {
        match TcpStream::connect_timeout(addr, TO_CONNECT) {
            Ok(_) => return Ok(*addr),
            Err(why) => refused.push(anyhow::Error::new(why).context(format!("no server at {addr}"))),
        }
    }
    match refused.len() {
        0 | 1 => Err(refused.pop().unwrap_or_else(|| anyhow!("no address of the server is known"))),
        _ => {
            let all: Vec<_> = refused.iter().map(crate::lab::explain::explain).collect();
            Err(anyhow!("{}", all.join("; ")))
        }
    }
}

/// The verdicts on a server that did not start, or could not be reached: no check was made.
#[must_use]
pub fn not_started(plan: &Plan, subject: &Subject, why: &str) -> Judged {
    let of = |check: &&'static Check| Verdict {
        check: check.id.to_owned(),
        claim: check.claim.to_owned(),
        outcome: Outcome::NotMade,
        tries: None,
        seconds: 0.0,
        failure: None,
        why: Some(why.to_owned()),
    };
    let verdicts = plan.checks.iter().map(of).collect();
    Judged { name: subject.name.clone(), server: subject.reach.in_words(), verdicts }
}

/// The checks of one server.
struct Work<'a> {
    plan: &'a Plan,
    name: &'a str,
    reached: Reached<'a>,
    stop: &'a Stop,
    watch: &'a dyn Watch,
    state: Mutex<State>,
    changed: Condvar,
    shared: Shared,
}

struct State {
    /// The checks that nobody has taken.
    open: Vec<&'static Check>,
    verdicts: HashMap<&'static str, Verdict>,
    /// Why nothing can be asked of a server that ran already: it has ended.
    gone: Option<String>,
    interrupted: bool,
}

impl Work<'_> {
    /// Take one check after another.
    fn go(&self) {
        loop {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            let (check, missing) = loop {
                if state.interrupted || state.open.is_empty() {
                    return;
                }
                // The first of which everything that it depends on is decided.
                let is_decided = |id: &str| !self.is_chosen(id) || state.verdicts.contains_key(id);
                if let Some(next) =
                    state.open.iter().position(|check| check.after.iter().all(|id| is_decided(id)))
                {
                    let check = state.open.remove(next);
                    let missing = check.after.iter().find_map(|id| why_missing(state.verdicts.get(*id)?));
                    break (check, state.gone.clone().or(missing));
                }
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            };
            drop(state);
            let began = Instant::now();
            let (made, tries) = match (self.does_not_apply(check), missing) {
                (Some(why), _) => (Err((Ended::NotApplicable(why), Vec::new())), 1),
                (None, Some(why)) => (Err((Ended::NotMade(why), Vec::new())), 1),
                // A check that panics must not keep the others waiting for its verdict, where a panic does not end the program at once.
                (None, None) => catch_unwind(AssertUnwindSafe(|| self.make(check))).unwrap_or_else(|_| {
                    (Err((Ended::NotMade("the check itself failed: a bug".to_owned()), Vec::new())), 1)
                }),
            };
            let gone = if matches!(made, Err((Ended::Failed(_), _))) { self.why_gone(check) } else { None };
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            let made = made.map_err(|(ended, log)| (state.told_of_edges(ended), log));
            state.gone = state.gone.take().or(gone);
            match verdict(check, made, tries, began) {
                Some(verdict) => {
                    let done = state.verdicts.len() + 1;
                    self.watch.verdict(self.name, &verdict, done, self.plan.checks.len());
                    state.verdicts.insert(check.id, verdict);
                }
                None => state.interrupted = true,
            }
            self.changed.notify_all();
        }
    }

    /// Whether an answer that stops may be put down to [`EDGE`]: not by what that depends on, nor where it is not made.
    fn blames_edges(&self, check: &Check) -> bool {
        let is_before = checks::find(EDGE).is_some_and(|edge| edge.after.contains(&check.id));
        self.plan.expect.has_all_bytes() && !is_before && self.is_chosen(EDGE)
    }

    fn is_chosen(&self, id: &str) -> bool {
        self.plan.checks.iter().any(|check| check.id == id)
    }

    /// Make a check, again if something came too late: what came of it, and how often it was made.
    fn make(&self, check: &Check) -> (Made, usize) {
        let mut tries = 1;
        loop {
            match self.try_once(check, tries) {
                Err((Ended::Failed(Fault { is_late: true, .. }), _)) if tries < TRIES => tries += 1,
                // Of a server that ran already, it is not known whether it slept.
                Err((Ended::OneReadForEachEdge, _))
                    if tries < TRIES && matches!(self.reached, Reached::At(_)) =>
                {
                    tries += 1;
                }
                made => return (made, tries),
            }
        }
    }

    /// Whether a server that ran already has ended, after a check that failed.
    fn why_gone(&self, check: &Check) -> Option<String> {
        let Reached::At(addr) = self.reached else { return None };
        if listens_here(addr) {
            return None;
        }
        let why = TcpStream::connect_timeout(&addr, TO_CONNECT).err()?;
        (why.kind() == ErrorKind::ConnectionRefused)
            .then(|| format!("nobody listens at {addr} any more: the server ended in {}", check.id))
    }

    fn does_not_apply(&self, check: &Check) -> Option<String> {
        if check.needs != Needs::Address && matches!(self.reached, Reached::At(_)) {
            return Some("it needs the process of the server: give a command, and not an address".to_owned());
        }
        if check.clients > self.plan.clients {
            let (needed, promised) = (check.clients, self.plan.clients);
            return Some(format!("it has {needed} clients at the same time, and --clients says {promised}"));
        }
        (!check.answers.include(self.plan.expect)).then(|| match self.plan.expect {
            Expect::Ok => "the answer `ok` does not show which bytes arrived".to_owned(),
            Expect::Echo | Expect::Framed => "it is for servers of frames: --expect framed".to_owned(),
        })
    }

    fn try_once(&self, check: &Check, tries: usize) -> Made {
        let nothing_said = |failed: Failed| (Ended::from(failed), Vec::new());
        let (server, addr) = match self.reached {
            Reached::At(addr) => (None, addr),
            Reached::By(command) => {
                let server = Server::start(self.plan.launch(command), self.stop).map_err(nothing_said)?;
                let addr = server.addr();
                (Some((server, self.plan.launch(command))), addr)
            }
        };
        // Each check draws its own, whichever others are chosen.
        let own = check
            .id
            .bytes()
            .fold(self.plan.seed, |seed, byte| (seed ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
        let session = Session {
            addr,
            started: server.as_ref().map(|(server, launch)| Started { server, launch: *launch }),
            expect: self.plan.expect,
            at_once: self.plan.clients,
            stop: self.stop,
            shared: &self.shared,
            until: Cell::new(Instant::now() + ALL),
            limit: ALL,
            tries_another_byte: self.blames_edges(check),
            rng: RefCell::new(fastrand::Rng::with_seed(own.wrapping_add(tries as u64))),
            log: RefCell::new(Log::default()),
            clients: Cell::new(0),
        };
        let should_run = !check.id.starts_with("stop/") && !check.id.starts_with("restart/");
        let mut made = (check.run)(&session);
        // It may end when it closes the last connection.
        if made.is_ok() && should_run && session.started.is_some() {
            session.until_it_waits().ok();
        }
        let log = session.log.into_inner().into_lines();
        let Some((server, _)) = server else { return made.map_err(|ended| (ended, log)) };
        // A server that dies often says why.
        match &mut made {
            Err(Ended::Failed(fault))
                if should_run && server.wait_for_end(DIES, self.stop).is_ok_and(|end| end.is_some()) =>
            {
                fault.observed = format!("{}; {}", fault.observed, server.ending());
                fault.is_late = false;
            }
            // One that lives may say it as well.
            Err(Ended::Failed(fault)) => fault.observed += &server.wrote(),
            Ok(()) if should_run && server.wait_for_end(ENDS, self.stop).is_ok_and(|end| end.is_some()) => {
                let words = server.ending();
                // One that serves a single client may end after it: there is a check for that.
                if check.after.contains(&checks::IN_TURN) || words.contains("was killed by signal") {
                    made = Err(Ended::failed("a server that goes on", words));
                }
            }
            _ => {}
        }
        made.map_err(|ended| (ended, log))
    }
}

/// What came of a check: nothing to complain of, or why it ended before, and the conversation until then.
type Made = Result<(), (Ended, Vec<String>)>;

/// Why a check that depends on this verdict is not made: the first that failed, whatever stands between them.
fn why_missing(verdict: &Verdict) -> Option<String> {
    match verdict.outcome {
        Outcome::Failed => Some(format!("{} failed", verdict.check)),
        Outcome::NotMade => Some(verdict.why.clone().unwrap_or_default()),
        Outcome::Passed | Outcome::NotApplicable => None,
    }
}

/// How long to wait whether a server that did everything right ends: it may crash when it closes the connection.
const ENDS: Duration = Duration::from_millis(30);

/// How long to wait whether a server that did something wrong ends.
const DIES: Duration = Duration::from_millis(100);

impl State {
    /// A server that reads once for each event can pass [`EDGE`]: with a large buffer. Then the check that has seen it fails.
    fn told_of_edges(&self, ended: Ended) -> Ended {
        let has_passed = self.verdicts.get(EDGE).is_some_and(|verdict| verdict.outcome == Outcome::Passed);
        match (ended, checks::find(EDGE)) {
            (Ended::OneReadForEachEdge, Some(edge)) if has_passed => Ended::failed(
                "all of the answer without another byte",
                "the answer stopped before its end, and went on when one more byte was sent",
            )
            .because(edge.cause),
            (ended, _) => ended,
        }
    }
}

/// The verdict on what came of a check; `None` when a stop came.
fn verdict(check: &Check, made: Made, tries: usize, began: Instant) -> Option<Verdict> {
    let (outcome, failure, why) = match made {
        Ok(()) => (Outcome::Passed, None, None),
        Err((Ended::Interrupted, _)) => return None,
        Err((Ended::NotApplicable(why), _)) => (Outcome::NotApplicable, None, Some(why)),
        Err((Ended::NotMade(why), _)) => (Outcome::NotMade, None, Some(why)),
        Err((Ended::OneReadForEachEdge, _)) => (
            Outcome::NotMade,
            None,
            Some(format!("the answer went on when one more byte was sent: see {EDGE}")),
        ),
        Err((Ended::Failed(Fault { expected, observed, cause, .. }), conversation)) => {
            let cause = cause.unwrap_or(check.cause).to_owned();
            let observed = if tries > 1 { format!("{observed} ({tries} tries)") } else { observed };
            (Outcome::Failed, Some(Failure { expected, observed, cause, conversation }), None)
        }
    };
    Some(Verdict {
        check: check.id.to_owned(),
        claim: check.claim.to_owned(),
        outcome,
        tries: (tries > 1).then_some(tries),
        seconds: began.elapsed().as_secs_f64(),
        failure,
        why,
    })
}

/// What every echo server does.
const BASIC: [&str; 5] =
    ["echo/nul", "echo/all-bytes", "clients/silent-beside", "clients/slow-reader", "end/closes"];

/// How long the basics may take together.
const BASICS: Duration = Duration::from_secs(30);

/// Ask a server for the basics, before it is measured: what every echo server does, with so many clients at once. A server that
/// fails them can be fast for no good reason, for example because it answers half of a request.
///
/// # Errors
///
/// What it does wrong, or [`Failed::Interrupted`] when `stop` comes first.
pub(in crate::lab) fn basics(addr: SocketAddr, clients: usize, stop: &Stop) -> Result<(), Failed> {
    basics_within(BASICS, addr, clients, stop)
}

fn basics_within(limit: Duration, addr: SocketAddr, clients: usize, stop: &Stop) -> Result<(), Failed> {
    let (until, shared) = (Instant::now() + limit, Shared::default());
    let basic = BASIC.map(|id| checks::find(id).expect("the basic checks are among the checks"));
    for check in basic.into_iter().filter(|check| check.clients <= clients) {
        let session = Session {
            addr,
            started: None,
            expect: Expect::Echo,
            at_once: clients,
            stop,
            shared: &shared,
            until: Cell::new(until),
            limit,
            tries_another_byte: false,
            rng: RefCell::new(fastrand::Rng::with_seed(0)),
            log: RefCell::new(Log::default()),
            clients: Cell::new(0),
        };
        (check.run)(&session).map_err(|ended| match ended {
            Ended::Interrupted => Failed::Interrupted,
            Ended::Failed(Fault { expected, observed, .. }) => Failed::Error(anyhow!(
                "{}: expected {expected}; observed {observed}; is it an echo server? `io-models check` tells more of it, \
                 `io-models check --explain {}` of this",
                check.claim.trim_end_matches('.'),
                check.id
            )),
            Ended::OneReadForEachEdge => Failed::Error(anyhow!(
                "{}: the answer goes on when one more byte is sent: it reads once for each event of an edge-triggered socket",
                check.id
            )),
            Ended::NotApplicable(why) | Ended::NotMade(why) => Failed::Error(anyhow!("{}: {why}", check.id)),
        })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn the_first_address_that_accepts_is_taken_and_each_that_refuses_is_named() {
        let listener = || TcpListener::bind("127.0.0.1:0").expect("a free port");
        let addr = |listener: &TcpListener| listener.local_addr().expect("its address");
        // A socket that is bound and does not listen keeps its port from others, and refuses.
        let refuses = || {
            let socket = nix::sys::socket::socket(
                nix::sys::socket::AddressFamily::Inet,
                nix::sys::socket::SockType::Stream,
                nix::sys::socket::SockFlag::SOCK_CLOEXEC,
                None,
            )
            .expect("a socket");
            let any = nix::sys::socket::SockaddrIn::new(127, 0, 0, 1, 0);
            nix::sys::socket::bind(std::os::fd::AsRawFd::as_raw_fd(&socket), &any).expect("a free port");
            TcpListener::from(socket)
        };
        let (closed, open, other) = (refuses(), listener(), refuses());
        assert_eq!(accepting(&[addr(&closed), addr(&open)]).expect("one accepts"), addr(&open));
        let why = accepting(&[addr(&closed), addr(&other)]).expect_err("none accepts").to_string();
        for refused in [&closed, &other] {
            let part = format!("no server at {}: Connection refused", addr(refused));
            assert!(why.contains(&part), "{why}");
        }
    }

    struct Nobody;

    impl Watch for Nobody {
        fn verdict(&self, _server: &str, _verdict: &Verdict, _done: usize, _all: usize) {}
    }

    #[test]
    fn a_check_that_panics_is_not_made_and_keeps_no_other_waiting() {
        const PASSES: Check = Check {
            id: "test/passes",
            claim: "",
            does: "",
            matters: "",
            cause: "",
            reference: "",
            needs: Needs::Address,
            clients: 1,
            answers: super::super::Answers::Any,
            after: &[],
            run: |at| at.connect().map(drop),
        };
        static CHECKS: [Check; 3] = [
            Check { id: "test/panics", run: |_| panic!("as a check with a bug does"), ..PASSES },
            Check { id: "test/depends-on-it", after: &["test/panics"], ..PASSES },
            PASSES,
        ];
        let server = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let plan = Plan {
            nofile: 1024,
            program: PathBuf::new(),
            checks: CHECKS.iter().collect(),
            expect: Expect::Echo,
            clients: 1,
            seed: 0,
            side_by_side: 1,
        };
        let reach = Reach::Running(vec![server.local_addr().expect("its address")]);
        let subject = Subject { name: "server".to_owned(), reach };
        let (_stopper, stop) = crate::stop::pair().expect("a pipe");
        let (judged, interrupted) = judge(&plan, &subject, &stop, &Nobody).expect("it accepts connections");
        let told: Vec<_> = judged.verdicts.iter().map(|v| (v.outcome, v.why.as_deref())).collect();
        let bug = Some("the check itself failed: a bug");
        let expected = [(Outcome::NotMade, bug), (Outcome::NotMade, bug), (Outcome::Passed, None)];
        assert_eq!((told.as_slice(), interrupted), (&expected[..], false));
    }
}
