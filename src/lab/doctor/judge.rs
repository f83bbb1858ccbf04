//! What was seen points to what may limit a server. Whether it does is shown by taking it away and measuring again.

use crate::lab::child::Failed;
use crate::lab::load::BUSY_LIMIT;
use crate::lab::results::doctor::{Diagnosed, How, Kind, Lifted, Limiter, Load, Note, Verdict, What, WhyNot};

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

/// The reference has one thread. When it waits for a processor for a larger share of the time, the machine was busy.
const KEPT_WAITING: f64 = 0.2;

/// When one turn has more than so many times the ratio of another, they cannot be taken for repetitions of one measurement.
const FAR_APART: f64 = 1.5;

/// Calls of futex(2) for each request from which on threads may wait for each other.
const FUTEX: f64 = 0.1;

/// A connection that took so long was tried again: a SYN is sent again after a second (RFC 6298).
const SECOND_TRY_MS: f64 = 900.0;

/// A buffer of a program that is smaller makes many calls of a large message.
const SMALL: f64 = 4096.0;

/// Measures the number under a load with something taken away, and without.
pub(super) type Lift<'a> = dyn FnMut(Kind, How) -> Result<Lifted, Failed> + 'a;

/// Where the server runs.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    /// Processors that this program may use.
    pub(super) here: usize,
    /// Processors that its threads may use, together; 0 when that is not known.
    pub(super) of_server: usize,
    /// The server runs while nothing is asked of it.
    pub(super) never_sleeps: bool,
    /// The server is reached at 127.0.0.0/8, where this machine has many addresses.
    pub(super) has_more_addresses: bool,
}

/// Judge one of them, when the loads have been measured and those before it have been judged.
pub(super) fn of(
    what: What,
    found: &Diagnosed,
    place: Place,
    lift: &mut Lift<'_>,
) -> Result<Limiter, Failed> {
    let mut case = Case { found, place, lift, lifted: Vec::new(), why_not: None, by: None };
    let load = match what {
        What::Backlog | What::Ports => Kind::Connections,
        What::Nagle => Kind::OneConnection,
        What::SmallBuffers => Kind::LargeMessages,
        _ => Kind::Requests,
    };
    let verdict = match what {
        // The server failed under it.
        _ if found.load(load).is_none() => None,
        What::Generator => case.generator()?,
        What::Backlog => case.backlog()?,
        What::Ports => case.ports()?,
        What::OneProcessor => case.one_processor()?,
        What::WakeUps => case.wake_ups()?,
        What::CallsPerRequest => case.calls_per_request()?,
        What::Nagle => case.nagle()?,
        What::Lock => case.lock()?,
        What::SmallBuffers => case.small_buffers()?,
    };
    let Case { lifted, why_not, by, .. } = case;
    let load = by.unwrap_or(load);
    // On a busy machine, that a number did not rise shows nothing.
    let is_hidden = !lifted.is_empty() && kept_waiting(found) > KEPT_WAITING;
    let verdict = verdict.filter(|verdict| *verdict == Verdict::Limits || !is_hidden);
    Ok(Limiter { what, verdict: verdict.unwrap_or(Verdict::NotKnown), load, lifted, why_not })
}

/// What makes the figures doubtful.
pub(super) fn note_doubts(found: &mut Diagnosed, place: Place) {
    let kept = kept_waiting(found);
    if place.here == 1 {
        found.notes.push(Note::OneProcessorHere);
    } else if kept > KEPT_WAITING {
        found.notes.push(Note::OtherPrograms { share: kept });
    }
    if let Some(load) = found.load(Kind::Requests)
        && let Some((least, most)) = differ(&load.ratios)
    {
        found.notes.push(Note::TurnsDiffer { turns: load.ratios.len(), least, most });
    }
    if place.never_sleeps {
        found.notes.push(Note::NeverSleeps);
    }
    for load in &found.loads {
        // Those for which there was no room in the queue are told of there.
        let had_no_room = load.server.queue_full.is_some_and(|times| times > 0);
        if load.server.lost > 0 && !had_no_room {
            found.notes.push(Note::Lost { load: load.kind, connections: load.server.lost });
        }
    }
}

/// The least and the greatest of the ratios of the turns, where they are far apart.
pub(super) fn differ(ratios: &[f64]) -> Option<(f64, f64)> {
    let least = ratios.iter().copied().reduce(f64::min)?;
    let most = ratios.iter().copied().reduce(f64::max)?;
    (most > least * FAR_APART).then_some((least, most))
}

/// How long the reference waited for a processor under the first load, as a share of the time.
fn kept_waiting(found: &Diagnosed) -> f64 {
    found.load(Kind::Requests).and_then(|load| load.reference.kept_waiting).unwrap_or_default()
}

/// When all have been judged: what none of them explains.
pub(super) fn note_what_is_left(found: &mut Diagnosed) {
    const LONG: f64 = 10.0;
    const HALF: f64 = 0.5;
    let explains = |limiter: &Limiter| matches!(limiter.load, Kind::Requests | Kind::OneConnection);
    let (Some(requests), Some(alone)) = (found.load(Kind::Requests), found.load(Kind::OneConnection)) else {
        return;
    };
    let (Some(ours), Some(theirs)) = (alone.server.p50_us, alone.reference.p50_us) else { return };
    let waits = ours >= theirs * LONG && requests.ratio < HALF && requests.server.generator_busy < HALF;
    if waits && !found.limits().any(explains) {
        found.notes.push(Note::WaitsItself { p50_us: ours });
    }
}

struct Case<'a, 'b> {
    found: &'a Diagnosed,
    place: Place,
    lift: &'a mut Lift<'b>,
    lifted: Vec<Lifted>,
    why_not: Option<WhyNot>,
    /// Another load than usual by which it was judged.
    by: Option<Kind>,
}

/// `None`: it is not known.
type Judged = Result<Option<Verdict>, Failed>;

fn limits(it_does: bool) -> Option<Verdict> {
    Some(if it_does { Verdict::Limits } else { Verdict::DoesNotLimit })
}

impl Case<'_, '_> {
    fn load(&self, kind: Kind) -> &Load {
        self.found.load(kind).expect("what is judged by a load was measured under it")
    }

    /// How many times the number rises at least when this is taken away. `None` where that cannot be done here.
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
                let least = lifted.least_ratio;
                self.lifted.push(lifted);
                Ok(Some(least))
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
        // One that waits for a processor has work.
        let server = seen.processors.unwrap_or(1.0) + seen.kept_waiting.unwrap_or_default();
        seen.generator_busy < BUSY_LIMIT && server < IDLE
    }

    /// Whether already one client alone waits long: then it is not other clients and threads that it waits for.
    fn one_client_waits(&self) -> bool {
        let load = self.found.load(Kind::OneConnection);
        load.and_then(|load| load.server.p50_us).is_some_and(|us| us >= SLOW_US)
    }

    fn generator(&mut self) -> Judged {
        let seen = self.load(Kind::Requests).server;
        let here = self.place.here;
        let Some(all) = seen.processors else { return Ok(None) };
        // One thread at its limit, or all processors that the generator leaves.
        let server_is_full = seen.busiest_thread.is_some_and(|busiest| busiest >= FULL)
            || all >= FULL * here.saturating_sub(1).max(1) as f64;
        // One that asks the reference for more can ask for more.
        let can_more = self.load(Kind::Requests).ratio < AS_GOOD;
        if seen.generator_busy < BUSY_LIMIT || server_is_full || can_more {
            return Ok(limits(false));
        }
        let gain = self.gain(Kind::Requests, How::TwoGeneratorThreads)?;
        self.needs_processors(3, here);
        // Where there are too few of them, what was seen decides.
        Ok(limits(here < 3 || gain.is_none_or(|gain| gain >= GAIN)))
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
        let was_late = slowest >= SECOND_TRY_MS || server.lost > 0;
        // A SYN can be lost for another reason, which the reference meets as well.
        let reference_was_not = reference.slowest_connection_ms.is_some_and(|ms| ms < SECOND_TRY_MS);
        let points_to_it = was_full || was_late && reference_was_not;
        if !points_to_it {
            return Ok(limits(false));
        }
        let gain = self.gain(Kind::Connections, How::LongerQueue)?;
        // Those that come late cost little of the number where others come instead.
        if was_full && was_late {
            return Ok(limits(true));
        }
        let has_cause = was_full || slowest >= SECOND_TRY_MS;
        Ok(gain.and_then(|gain| limits(has_cause && gain >= GAIN)))
    }

    fn ports(&mut self) -> Judged {
        if self.load(Kind::Connections).server.without_port == 0 {
            return Ok(limits(false));
        }
        if !self.place.has_more_addresses {
            self.why_not = Some(WhyNot::OneOwnAddress);
            return Ok(limits(true));
        }
        let gain = self.gain(Kind::Connections, How::MoreAddresses)?;
        Ok(limits(gain.is_none_or(|gain| gain >= GAIN)))
    }

    fn one_processor(&mut self) -> Judged {
        let seen = self.load(Kind::Requests).server;
        // One that never sleeps uses a processor whether it has work or not.
        let Some(all) = seen.processors.filter(|_| !self.place.never_sleeps) else { return Ok(None) };
        let Place { here, of_server, .. } = self.place;
        let is_restricted = of_server == 1 && here > 1;
        let is_full = match seen.busiest_thread {
            Some(busiest) => busiest >= FULL,
            None => all >= FULL,
        };
        // Threads that together never use more than one processor, although the generator leaves them two: an interpreter lets one run.
        let takes_turns = (FULL..1.1).contains(&all) && here > 2;
        if is_restricted {
            let gain = self.gain(Kind::Requests, How::AllProcessors)?;
            return Ok(if all >= FULL { limits(true) } else { gain.and_then(|gain| limits(gain >= GAIN)) });
        }
        if !is_full && !takes_turns {
            // On a busy machine no thread gets all of a processor.
            let is_known = kept_waiting(self.found) <= KEPT_WAITING;
            return Ok(limits(false).filter(|_| is_known));
        }
        let gain = self.gain(Kind::Requests, How::SecondCopy)?;
        self.needs_processors(4, here);
        Ok(limits(here < 4 || gain.is_none_or(|gain| gain >= GAIN)))
    }

    fn wake_ups(&mut self) -> Judged {
        let requests = self.load(Kind::Requests).clone();
        let waits = requests.server.waits_per_answer.zip(requests.reference.waits_per_answer);
        let Some((ours, reference)) = waits else { return Ok(None) };
        if ours < WAITS || ours < reference * MORE_THAN_THE_REFERENCE {
            return Ok(limits(false));
        }
        // A wake-up that finds eight requests costs each of them less. It is worth more to this server than to the reference.
        let mut found_together = 1.0;
        if let Some(pipelined) = self.found.load(Kind::Pipelined) {
            found_together = pipelined.ratio / requests.ratio;
            let (before, after) = (requests.server, pipelined.server);
            let ratio = after.per_s / before.per_s;
            self.lifted.push(Lifted { how: How::EightAtOnce, before, after, ratio, least_ratio: ratio });
        }
        let on_one = self.gain(Kind::Requests, How::OneProcessor)?;
        // Of threads that take locks, that is what they wait for.
        let takes_locks = self.takes_locks().unwrap_or(false);
        let is_better_on_one = on_one.is_some_and(|gain| gain >= GAIN);
        let waits_for_others = self.nobody_is_busy() && !self.one_client_waits();
        // Wake-ups cost time of processors: not of a server that hardly uses one.
        let costs = found_together >= GAIN && !self.nobody_is_busy();
        if costs || !takes_locks && (is_better_on_one || waits_for_others) {
            return Ok(limits(true));
        }
        Ok(on_one.and_then(|_| limits(false)))
    }

    fn calls_per_request(&mut self) -> Judged {
        let Some(calls) = &self.found.calls else { return Ok(None) };
        let (ours, reference) = (calls.server.all(), calls.reference.all());
        let load = self.load(Kind::Requests);
        // One that sleeps, or computes, is not slow because of its calls.
        let is_in_the_kernel = load.server.in_kernel.is_none_or(|share| share >= 0.5);
        let makes_more = ours >= reference * MORE_CALLS && load.ratio < AS_GOOD;
        let it_does = makes_more && is_in_the_kernel && !self.nobody_is_busy();
        if calls.server.prints_per_request >= 0.5 {
            let gain = self.gain(Kind::Requests, How::NoOutput)?;
            return Ok(if it_does { limits(true) } else { gain.and_then(|gain| limits(gain >= GAIN)) });
        }
        if it_does {
            self.why_not = Some(WhyNot::InTheProgram);
        }
        Ok(limits(it_does))
    }

    fn nagle(&mut self) -> Judged {
        if self.load(Kind::OneConnection).server.p50_us.is_none() {
            return Ok(None);
        }
        if self.one_client_waits() {
            return Ok(self.gain(Kind::OneConnection, How::NoDelay)?.and_then(|gain| limits(gain >= GAIN)));
        }
        // The end of a large answer waits as well.
        let waits = |load: &Load| load.server.p50_us >= Some(2.0 * SLOW_US) && load.ratio < AS_GOOD;
        if self.found.load(Kind::LargeMessages).is_some_and(waits) {
            self.by = Some(Kind::LargeMessages);
            return Ok(self.gain(Kind::LargeMessages, How::NoDelay)?.and_then(|gain| limits(gain >= GAIN)));
        }
        Ok(limits(false))
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
        if self.nobody_is_busy() && !self.one_client_waits() {
            return Ok(limits(true));
        }
        Ok(gain.and_then(|gain| limits(gain >= GAIN)))
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
        // What waits for acknowledgements waits less often with larger buffers.
        let is_nagle = |limiter: &Limiter| limiter.what == What::Nagle && limiter.load == Kind::LargeMessages;
        let is_explained = self.found.limits().any(is_nagle);
        if !is_explained && gain.is_some_and(|gain| gain >= GAIN) {
            return Ok(limits(true));
        }
        let Some(calls) = calls else { return Ok(None) };
        if calls.bytes_per_receive.is_some_and(|bytes| bytes <= SMALL) && ratio < AS_GOOD {
            self.why_not = Some(WhyNot::InTheProgram);
            return Ok(limits(true));
        }
        Ok(gain.and_then(|_| limits(false)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::env::Environment;
    use crate::lab::results::doctor::{BothCalls, Calls, SCHEMA, SCHEMA_VERSION, Seen};

    const PLACE: Place = Place { here: 8, of_server: 8, never_sleeps: false, has_more_addresses: true };

    /// What was seen of a server that is as good as the reference, with one thread and room left.
    fn as_good() -> Diagnosed {
        let kinds =
            [Kind::Requests, Kind::OneConnection, Kind::Connections, Kind::LargeMessages, Kind::Pipelined];
        let seen = Seen {
            per_s: 1000.0,
            p50_us: Some(30.0),
            generator_busy: 0.8,
            processors: Some(0.8),
            busiest_thread: Some(0.8),
            waits_per_answer: Some(0.05),
            kept_waiting: Some(0.0),
            queue_full: Some(0),
            slowest_connection_ms: Some(20.0),
            ..Seen::default()
        };
        let calls = Calls {
            per_request: [("recvfrom", 1.0), ("sendto", 1.0), ("epoll_wait", 1.0)]
                .map(|(name, n)| (name.to_owned(), n))
                .into(),
            bytes_per_receive: Some(65_536.0),
            threads: 1,
            ..Calls::default()
        };
        Diagnosed {
            schema: SCHEMA.to_owned(),
            schema_version: SCHEMA_VERSION,
            environment: Environment::here(),
            name: "a".to_owned(),
            server: "./a {port}".to_owned(),
            reference: "epoll-level".to_owned(),
            seconds: 0.0,
            partial: false,
            loads: kinds
                .map(|kind| Load { kind, server: seen, reference: seen, ratio: 1.0, ratios: vec![1.0; 2] })
                .into(),
            calls: Some(BothCalls { server: calls.clone(), reference: calls }),
            limiters: Vec::new(),
            notes: Vec::new(),
        }
    }

    fn load(found: &mut Diagnosed, kind: Kind) -> &mut Load {
        found.loads.iter_mut().find(|load| load.kind == kind).expect("each load was measured")
    }

    fn calls(found: &mut Diagnosed) -> &mut Calls {
        &mut found.calls.as_mut().expect("they were counted").server
    }

    /// Judge all of them, where each number rises so much when something is taken away: what limits the server, and what was taken away.
    fn judged(mut found: Diagnosed, place: Place, gain: f64) -> (Vec<What>, Vec<How>) {
        let mut lifted = Vec::new();
        for what in What::ALL {
            let limiter = of(what, &found, place, &mut |_, how| {
                lifted.push(how);
                Ok(Lifted {
                    how,
                    before: Seen::default(),
                    after: Seen::default(),
                    ratio: gain,
                    least_ratio: gain,
                })
            });
            found.limiters.push(limiter.expect("nothing fails"));
        }
        (found.limits().map(|limiter| limiter.what).collect(), lifted)
    }

    #[test]
    fn nothing_limits_a_server_that_is_as_good_as_the_reference() {
        assert_eq!(judged(as_good(), PLACE, 2.0), (vec![], vec![]));
    }

    #[test]
    fn each_limiter_is_seen_and_taken_away() {
        type Plant = fn(&mut Diagnosed);
        let cases: [(What, Plant, &[How]); 10] = [
            (
                What::Generator,
                |found| load(found, Kind::Requests).server.generator_busy = 1.0,
                &[How::TwoGeneratorThreads],
            ),
            (
                What::Backlog,
                |found| load(found, Kind::Connections).server.queue_full = Some(9),
                &[How::LongerQueue],
            ),
            (
                What::Backlog,
                |found| load(found, Kind::Connections).server.slowest_connection_ms = Some(1010.0),
                &[How::LongerQueue],
            ),
            (
                What::Ports,
                |found| load(found, Kind::Connections).server.without_port = 5,
                &[How::MoreAddresses],
            ),
            (
                What::OneProcessor,
                |found| load(found, Kind::Requests).server.busiest_thread = Some(0.98),
                &[How::SecondCopy],
            ),
            (
                What::WakeUps,
                |found| {
                    load(found, Kind::Requests).server.waits_per_answer = Some(1.0);
                    load(found, Kind::Requests).ratio = 0.5;
                },
                &[How::OneProcessor],
            ),
            (
                What::CallsPerRequest,
                |found| {
                    calls(found).per_request.insert("write".to_owned(), 1.0);
                    calls(found).prints_per_request = 1.0;
                },
                &[How::NoOutput],
            ),
            (
                What::Nagle,
                |found| load(found, Kind::OneConnection).server.p50_us = Some(44_000.0),
                &[How::NoDelay],
            ),
            (
                What::Lock,
                |found| {
                    calls(found).threads = 4;
                    calls(found).futex_per_request = 0.5;
                },
                &[How::OneProcessor],
            ),
            (What::SmallBuffers, |found| calls(found).send_buffer = Some(2048), &[How::LargerBuffers]),
        ];
        for (what, plant, hows) in cases {
            let mut found = as_good();
            plant(&mut found);
            assert_eq!(judged(found, PLACE, 2.0), (vec![what], hows.to_vec()), "{what:?}");
        }
    }

    #[test]
    fn what_brings_nothing_when_it_is_taken_away_does_not_limit() {
        let mut found = as_good();
        load(&mut found, Kind::Requests).server.busiest_thread = Some(0.98);
        load(&mut found, Kind::Connections).server.without_port = 3;
        load(&mut found, Kind::Connections).server.queue_full = Some(9);
        // Nobody came late.
        load(&mut found, Kind::OneConnection).server.p50_us = Some(44_000.0);
        load(&mut found, Kind::Requests).server.waits_per_answer = Some(1.0);
        calls(&mut found).threads = 4;
        calls(&mut found).futex_per_request = 0.5;
        calls(&mut found).send_buffer = Some(2048);
        let (limits, lifted) = judged(found, PLACE, 1.02);
        assert_eq!(limits, []);
        let all = [
            How::LongerQueue,
            How::MoreAddresses,
            How::SecondCopy,
            How::OneProcessor,
            How::NoDelay,
            How::LargerBuffers,
        ];
        assert_eq!(lifted, all);
    }

    #[test]
    fn what_a_program_does_itself_limits_although_it_cannot_be_taken_away() {
        let mut found = as_good();
        calls(&mut found).per_request.insert("epoll_ctl".to_owned(), 2.0);
        load(&mut found, Kind::Requests).ratio = 0.6;
        // Both are worth as much to it as to the reference.
        load(&mut found, Kind::Pipelined).ratio = 0.6;
        assert_eq!(judged(found.clone(), PLACE, 1.0), (vec![What::CallsPerRequest], vec![]));
        // One that is idle all the same is not limited by it.
        load(&mut found, Kind::Requests).server.processors = Some(0.02);
        assert_eq!(judged(found, PLACE, 1.0), (vec![], vec![]));
        let mut found = as_good();
        calls(&mut found).bytes_per_receive = Some(1024.0);
        load(&mut found, Kind::LargeMessages).ratio = 0.2;
        assert_eq!(judged(found, PLACE, 1.0), (vec![What::SmallBuffers], vec![How::LargerBuffers]));
    }

    #[test]
    fn a_generator_that_gets_more_from_the_reference_does_not_limit() {
        let mut found = as_good();
        load(&mut found, Kind::Requests).server.generator_busy = 1.0;
        load(&mut found, Kind::Requests).ratio = 0.5;
        load(&mut found, Kind::Pipelined).ratio = 0.5;
        assert_eq!(judged(found, PLACE, 2.0), (vec![], vec![]));
    }

    #[test]
    fn a_server_on_one_processor_gets_all_of_them() {
        let mut found = as_good();
        load(&mut found, Kind::Requests).server.processors = Some(0.97);
        load(&mut found, Kind::Requests).server.busiest_thread = Some(0.3);
        let restricted = Place { of_server: 1, ..PLACE };
        assert_eq!(judged(found, restricted, 2.0), (vec![What::OneProcessor], vec![How::AllProcessors]));
    }

    #[test]
    fn on_few_processors_it_says_that_the_number_says_little() {
        let mut found = as_good();
        load(&mut found, Kind::Requests).server.busiest_thread = Some(0.98);
        let place = Place { here: 2, of_server: 2, ..PLACE };
        let limiter = of(What::OneProcessor, &found, place, &mut |_, how| {
            Ok(Lifted { how, before: Seen::default(), after: Seen::default(), ratio: 1.0, least_ratio: 1.0 })
        });
        let limiter = limiter.expect("nothing fails");
        assert_eq!(
            (limiter.verdict, limiter.why_not),
            (Verdict::Limits, Some(WhyNot::FewProcessors { needed: 4, here: 2 }))
        );
    }

    #[test]
    fn what_the_kernel_does_not_tell_is_not_known() {
        let mut found = as_good();
        for load in &mut found.loads {
            load.server = Seen { per_s: 1000.0, ..Seen::default() };
        }
        found.calls = None;
        let verdict = |what| {
            of(what, &found, PLACE, &mut |_, _| panic!("nothing points to it"))
                .expect("nothing fails")
                .verdict
        };
        let known: Vec<_> =
            What::ALL.into_iter().filter(|what| verdict(*what) != Verdict::NotKnown).collect();
        assert_eq!(
            known,
            [What::Ports, What::SmallBuffers],
            "these are judged by the generator's figures alone"
        );
    }

    #[test]
    fn a_program_that_computes_is_not_slow_because_of_its_calls() {
        let mut found = as_good();
        calls(&mut found).per_request.insert("clock_gettime".to_owned(), 1.0);
        load(&mut found, Kind::Requests).ratio = 0.2;
        load(&mut found, Kind::Pipelined).ratio = 0.2;
        assert_eq!(judged(found.clone(), PLACE, 1.0).0, [What::CallsPerRequest]);
        load(&mut found, Kind::Requests).server.in_kernel = Some(0.1);
        assert_eq!(judged(found, PLACE, 1.0).0, []);
    }

    #[test]
    fn of_a_server_that_never_sleeps_nobody_knows_whether_it_is_full() {
        let mut found = as_good();
        load(&mut found, Kind::Requests).server.busiest_thread = Some(1.0);
        let place = Place { never_sleeps: true, ..PLACE };
        note_doubts(&mut found, place);
        assert_eq!(found.notes, [Note::NeverSleeps]);
        let limiter = of(What::OneProcessor, &found, place, &mut |_, _| panic!("nothing points to it"));
        assert_eq!(limiter.expect("nothing fails").verdict, Verdict::NotKnown);
    }

    #[test]
    fn what_is_refused_is_not_known_where_nothing_else_tells() {
        let mut found = as_good();
        load(&mut found, Kind::OneConnection).server.p50_us = Some(44_000.0);
        calls(&mut found).send_buffer = Some(2048);
        calls(&mut found).threads = 4;
        calls(&mut found).futex_per_request = 0.5;
        calls(&mut found).prints_per_request = 1.0;
        for what in [What::CallsPerRequest, What::Nagle, What::Lock, What::SmallBuffers] {
            let limiter = of(what, &found, PLACE, &mut |_, _| Err(Failed::Error(anyhow::anyhow!("EPERM"))));
            assert_eq!(limiter.expect("it goes on").verdict, Verdict::NotKnown, "{what:?}");
        }
    }

    #[test]
    fn large_answers_whose_end_waits_are_judged_by_their_load() {
        let mut found = as_good();
        load(&mut found, Kind::LargeMessages).server.p50_us = Some(44_000.0);
        load(&mut found, Kind::LargeMessages).ratio = 0.1;
        assert_eq!(judged(found, PLACE, 2.0), (vec![What::Nagle], vec![How::NoDelay, How::LargerBuffers]));
    }

    #[test]
    fn a_gain_that_was_not_in_each_turn_does_not_count() {
        let mut found = as_good();
        calls(&mut found).send_buffer = Some(2048);
        let limiter = of(What::SmallBuffers, &found, PLACE, &mut |_, how| {
            Ok(Lifted { how, before: Seen::default(), after: Seen::default(), ratio: 1.3, least_ratio: 0.9 })
        });
        assert_eq!(limiter.expect("nothing fails").verdict, Verdict::DoesNotLimit);
    }

    #[test]
    fn on_a_busy_machine_a_number_that_does_not_rise_shows_nothing() {
        let mut found = as_good();
        load(&mut found, Kind::Requests).reference.kept_waiting = Some(0.4);
        calls(&mut found).send_buffer = Some(2048);
        let verdict = |gain: f64| {
            let limiter = of(What::SmallBuffers, &found, PLACE, &mut |_, how| {
                let (before, after) = (Seen::default(), Seen::default());
                Ok(Lifted { how, before, after, ratio: gain, least_ratio: gain })
            });
            limiter.expect("nothing fails").verdict
        };
        assert_eq!((verdict(1.0), verdict(20.0)), (Verdict::NotKnown, Verdict::Limits));
    }

    #[test]
    fn wake_ups_cost_nothing_of_a_server_that_hardly_works_and_waits_for_locks() {
        let mut found = as_good();
        load(&mut found, Kind::Requests).server.waits_per_answer = Some(2.0);
        load(&mut found, Kind::Requests).server.processors = Some(0.2);
        load(&mut found, Kind::Requests).ratio = 0.05;
        load(&mut found, Kind::Pipelined).ratio = 0.07;
        calls(&mut found).threads = 4;
        calls(&mut found).futex_per_request = 1.9;
        assert_eq!(judged(found, PLACE, 1.0).0, [What::Lock]);
    }

    #[test]
    fn what_no_limiter_explains_is_told() {
        let mut found = as_good();
        load(&mut found, Kind::OneConnection).server.p50_us = Some(1300.0);
        load(&mut found, Kind::Requests).ratio = 0.1;
        load(&mut found, Kind::Requests).server.generator_busy = 0.1;
        note_what_is_left(&mut found);
        assert_eq!(found.notes, [Note::WaitsItself { p50_us: 1300.0 }]);
    }

    #[test]
    fn turns_that_are_far_apart_are_told() {
        let mut found = as_good();
        load(&mut found, Kind::Requests).ratios = vec![1.0, 1.4, 1.1];
        note_doubts(&mut found, PLACE);
        assert_eq!(found.notes, []);
        load(&mut found, Kind::Requests).ratios = vec![1.0, 0.4, 1.1];
        note_doubts(&mut found, PLACE);
        assert_eq!(found.notes, [Note::TurnsDiffer { turns: 3, least: 0.4, most: 1.1 }]);
    }

    #[test]
    fn on_a_busy_machine_nobody_knows_whether_a_thread_could_do_more() {
        let mut found = as_good();
        load(&mut found, Kind::Requests).reference.kept_waiting = Some(0.4);
        let limiter = of(What::OneProcessor, &found, PLACE, &mut |_, _| panic!("nothing points to it"));
        assert_eq!(limiter.expect("nothing fails").verdict, Verdict::NotKnown);
    }

    #[test]
    fn a_refusal_of_the_system_is_told() {
        let judged = |lost| {
            let mut found = as_good();
            load(&mut found, Kind::Connections).server.queue_full = Some(9);
            load(&mut found, Kind::Connections).server.lost = lost;
            let refuses = &mut |_, _| Err(Failed::Error(anyhow::anyhow!("EPERM")));
            let limiter = of(What::Backlog, &found, PLACE, refuses).expect("it goes on");
            assert_eq!(limiter.why_not, Some(WhyNot::Refused { why: "EPERM".to_owned() }));
            limiter.verdict
        };
        assert_eq!(judged(0), Verdict::NotKnown);
        // What was seen is enough.
        assert_eq!(judged(3), Verdict::Limits);
    }
}
