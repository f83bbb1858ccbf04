//! What was seen points to what may limit a server; whether it does is shown by taking it away.

use crate::lab::check::server::Server;
use crate::lab::child::Failed;
use crate::lab::load::BUSY_LIMIT;
use crate::lab::results::doctor::{Diagnosed, How, Kind, Lifted, Limiter, Load, Note, Verdict, What, WhyNot};
use crate::sys::affinity;
use std::net::IpAddr;

/// What is taken away limits a server when the number rises at least so much without it.
const GAIN: f64 = 1.15;

/// A thread that runs for this share of the time can hardly do more.
const FULL: f64 = 0.9;

/// A thread that runs for less than this share of the time waits for others.
const IDLE: f64 = 0.7;

/// A server whose threads wait at least so often for each answer is woken for most of its requests, and the reference is not.
const WAITS: f64 = 0.25;
const MORE_THAN_THE_REFERENCE: f64 = 4.0;

/// A server that makes so many times the calls of the reference makes more than it needs.
const MORE_CALLS: f64 = 1.3;

/// The part of the reference's number from which on nothing is missing.
const AS_GOOD: f64 = 0.9;

/// A client delays an acknowledgement for 40 ms at least (`TCP_DELACK_MIN`). What takes a quarter of that on loopback waits for something.
const SLOW_US: f64 = 10_000.0;

/// Calls of futex(2) for each request from which on threads may wait for each other.
const FUTEX: f64 = 0.1;

/// A connection that took so long was tried again: a SYN is sent again after a second (RFC 6298).
const SECOND_TRY_MS: f64 = 900.0;

/// A buffer of a program that is smaller makes many calls of a large message.
const SMALL: f64 = 4096.0;

/// Measures the number under a load with something taken away, and without.
pub(super) type Lift<'a> = dyn FnMut(Kind, How) -> Result<Lifted, Failed> + 'a;

/// Judge one of them, when the loads have been measured and those before it have been judged.
pub(super) fn of(
    what: What,
    found: &Diagnosed,
    server: &Server,
    lift: &mut Lift<'_>,
) -> Result<Limiter, Failed> {
    let mut case = Case { found, server, lift, lifted: Vec::new(), why_not: None };
    let (load, verdict) = match what {
        What::Generator => (Kind::Requests, case.generator()?),
        What::Backlog => (Kind::Connections, case.backlog()?),
        What::Ports => (Kind::Connections, case.ports()?),
        What::OneProcessor => (Kind::Requests, case.one_processor()?),
        What::WakeUps => (Kind::Requests, case.wake_ups()?),
        What::CallsPerRequest => (Kind::Requests, case.calls_per_request()?),
        What::Nagle => (Kind::OneConnection, case.nagle()?),
        What::Lock => (Kind::Requests, case.lock()?),
        What::SmallBuffers => (Kind::LargeMessages, case.small_buffers()?),
    };
    let Case { lifted, why_not, .. } = case;
    Ok(Limiter { what, verdict: verdict.unwrap_or(Verdict::NotKnown), load, lifted, why_not })
}

/// What makes the figures doubtful.
pub(super) fn note_doubts(found: &mut Diagnosed) {
    const MOST: f64 = 0.2;
    // The reference has one thread: nothing keeps it from a processor but other programs.
    let kept = found.load(Kind::Requests).and_then(|load| load.reference.kept_waiting).unwrap_or_default();
    if kept > MOST {
        found.notes.push(Note::OtherPrograms { share: kept });
    }
    let lost = found.loads.iter().map(|load| load.server.lost).max().unwrap_or_default();
    if lost > 0 {
        found.notes.push(Note::Lost { connections: lost });
    }
}

struct Case<'a, 'b> {
    found: &'a Diagnosed,
    server: &'a Server,
    lift: &'a mut Lift<'b>,
    lifted: Vec<Lifted>,
    why_not: Option<WhyNot>,
}

/// `None`: it is not known.
type Judged = Result<Option<Verdict>, Failed>;

fn limits(it_does: bool) -> Option<Verdict> {
    Some(if it_does { Verdict::Limits } else { Verdict::DoesNotLimit })
}

impl Case<'_, '_> {
    fn load(&self, kind: Kind) -> &Load {
        self.found.load(kind).expect("all loads were measured before")
    }

    /// How many times the number rises when this is taken away. `None` where that cannot be done here.
    fn gain(&mut self, kind: Kind, how: How) -> Result<Option<f64>, Failed> {
        // It may have been measured for another one.
        let known =
            self.found.limiters.iter().flat_map(|limiter| &limiter.lifted).find(|lifted| lifted.how == how);
        let lifted = match known {
            Some(lifted) => Ok(lifted.clone()),
            None => (self.lift)(kind, how),
        };
        match lifted {
            Ok(lifted) => {
                let ratio = lifted.ratio;
                self.lifted.push(lifted);
                Ok(Some(ratio))
            }
            Err(Failed::Interrupted) => Err(Failed::Interrupted),
            Err(Failed::Error(why)) => {
                self.why_not = Some(WhyNot::Refused { why: format!("{why:#}") });
                Ok(None)
            }
        }
    }

    /// Whether neither the server nor the generator has work for all of its time: then each waits for the other.
    fn nobody_is_busy(&self) -> bool {
        let seen = self.load(Kind::Requests).server;
        let server = seen.processors.unwrap_or(1.0);
        seen.generator_busy < BUSY_LIMIT && server < IDLE
    }

    fn generator(&mut self) -> Judged {
        let seen = self.load(Kind::Requests).server;
        let here = affinity::allowed()?.len();
        let Some(all) = seen.processors else { return Ok(None) };
        // One thread at its limit, or all processors that the generator leaves.
        let server_is_full = seen.busiest_thread.is_some_and(|busiest| busiest >= FULL)
            || all >= FULL * here.saturating_sub(1).max(1) as f64;
        if seen.generator_busy < BUSY_LIMIT || server_is_full {
            return Ok(limits(false));
        }
        self.needs_processors(3, here);
        self.gain(Kind::Requests, How::TwoGeneratorThreads)?;
        Ok(limits(true))
    }

    fn needs_processors(&mut self, needed: usize, here: usize) {
        if here < needed {
            self.why_not = Some(WhyNot::FewProcessors { needed, here });
        }
    }

    fn backlog(&mut self) -> Judged {
        let Load { server, reference, .. } = self.load(Kind::Connections);
        let Some(slowest) = server.slowest_connection_ms else { return Ok(None) };
        let was_full = server.queue_full.is_some_and(|times| times > 0);
        // A SYN can be lost for another reason, which the reference meets as well.
        let was_slow =
            slowest >= SECOND_TRY_MS && reference.slowest_connection_ms.is_some_and(|ms| ms < SECOND_TRY_MS);
        if !was_full && !was_slow {
            return Ok(limits(false));
        }
        Ok(self.gain(Kind::Connections, How::LongerQueue)?.and_then(|gain| limits(gain >= GAIN)))
    }

    fn ports(&mut self) -> Judged {
        if self.load(Kind::Connections).server.without_port == 0 {
            return Ok(limits(false));
        }
        match self.server.addr().ip() {
            IpAddr::V4(ip) if ip.is_loopback() => {
                self.gain(Kind::Connections, How::MoreAddresses)?;
            }
            _ => self.why_not = Some(WhyNot::OneOwnAddress),
        }
        Ok(limits(true))
    }

    fn one_processor(&mut self) -> Judged {
        let seen = self.load(Kind::Requests).server;
        let Some(all) = seen.processors else { return Ok(None) };
        let (here, theirs) = (affinity::allowed()?, affinity::allowed_to(self.server.main())?);
        let is_restricted = theirs.len() == 1 && here.len() > 1;
        let is_full = match seen.busiest_thread {
            Some(busiest) => busiest >= FULL,
            None => all >= FULL,
        };
        // Threads that together never use more than one processor, although the generator leaves them two: an interpreter lets one run.
        let takes_turns = (FULL..1.1).contains(&all) && here.len() > 2;
        if !is_full && !takes_turns && !(is_restricted && all >= FULL) {
            return Ok(limits(false));
        }
        if is_restricted {
            self.gain(Kind::Requests, How::AllProcessors)?;
        } else {
            self.needs_processors(4, here.len());
            self.gain(Kind::Requests, How::SecondCopy)?;
        }
        Ok(limits(true))
    }

    fn wake_ups(&mut self) -> Judged {
        let (requests, pipelined) = (self.load(Kind::Requests).clone(), self.load(Kind::Pipelined).clone());
        let waits = requests.server.waits_per_answer.zip(requests.reference.waits_per_answer);
        let Some((ours, reference)) = waits else { return Ok(None) };
        if ours < WAITS || ours < reference * MORE_THAN_THE_REFERENCE {
            return Ok(limits(false));
        }
        // A wake-up that finds eight requests costs each of them less. It is worth more to this server than to the reference.
        let found_together = pipelined.ratio / requests.ratio;
        let (before, after) = (requests.server.per_s, pipelined.server.per_s);
        self.lifted.push(Lifted {
            how: How::EightAtOnce,
            before_per_s: before,
            after_per_s: after,
            ratio: after / before,
        });
        let waits_for_others = self.nobody_is_busy();
        let takes_locks = self.takes_locks().unwrap_or(false);
        let on_one = self.gain(Kind::Requests, How::OneProcessor)?;
        let is_better_on_one = on_one.is_some_and(|gain| gain >= GAIN) && !takes_locks;
        Ok(limits(found_together >= GAIN || is_better_on_one || waits_for_others))
    }

    fn calls_per_request(&mut self) -> Judged {
        let Some(calls) = &self.found.calls else { return Ok(None) };
        let (ours, reference) = (calls.server.all(), calls.reference.all());
        let ratio = self.load(Kind::Requests).ratio;
        if calls.server.prints_per_request >= 0.5 {
            let gain = self.gain(Kind::Requests, How::NoOutput)?;
            if gain.is_some_and(|gain| gain >= GAIN) {
                return Ok(limits(true));
            }
        }
        let makes_more = ours >= reference * MORE_CALLS;
        if makes_more && ratio < AS_GOOD && self.lifted.is_empty() {
            self.why_not = Some(WhyNot::InTheProgram);
        }
        Ok(limits(makes_more && ratio < AS_GOOD))
    }

    fn nagle(&mut self) -> Judged {
        let Some(p50) = self.load(Kind::OneConnection).server.p50_us else { return Ok(None) };
        if p50 < SLOW_US {
            return Ok(limits(false));
        }
        Ok(self.gain(Kind::OneConnection, How::NoDelay)?.and_then(|gain| limits(gain >= GAIN)))
    }

    /// Whether its threads make calls of futex(2) when several clients ask. `None` where calls were not counted.
    fn takes_locks(&self) -> Option<bool> {
        let calls = self.found.calls.as_ref()?;
        Some(calls.server.threads > 1 && calls.server.futex_per_request >= FUTEX)
    }

    fn lock(&mut self) -> Judged {
        match self.takes_locks() {
            None => return Ok(None),
            Some(false) => return Ok(limits(false)),
            Some(true) => {}
        }
        // Threads on one processor hardly ever find a lock taken.
        let gain = self.gain(Kind::Requests, How::OneProcessor)?;
        Ok(limits(gain.is_some_and(|gain| gain >= GAIN) || self.nobody_is_busy()))
    }

    fn small_buffers(&mut self) -> Judged {
        const ENOUGH: i32 = 64 << 10;
        let ratio = self.load(Kind::LargeMessages).ratio;
        let calls = self.found.calls.as_ref().map(|calls| &calls.server);
        let is_set = calls.is_some_and(|calls| {
            [calls.send_buffer, calls.receive_buffer].into_iter().flatten().any(|bytes| bytes < ENOUGH)
        });
        if ratio >= AS_GOOD && !is_set {
            return Ok(limits(false));
        }
        let gain = self.gain(Kind::LargeMessages, How::LargerBuffers)?;
        if gain.is_some_and(|gain| gain >= GAIN) {
            return Ok(limits(true));
        }
        let Some(calls) = calls else { return Ok(None) };
        let reads_little = calls.bytes_per_receive.is_some_and(|bytes| bytes <= SMALL) && ratio < AS_GOOD;
        if reads_little {
            self.why_not = Some(WhyNot::InTheProgram);
        }
        Ok(limits(reads_little))
    }
}
