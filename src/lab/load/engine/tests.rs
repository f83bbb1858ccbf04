//! What becomes of requests that are never sent.

use super::super::plan::{Payload, Sizes, Wait};
use super::super::record::LONGEST_NS;
use super::super::schedule::Arrivals;
use super::super::wire::Event;
use super::*;
use crate::sys::{Call, Errno};
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;

/// A machine on which all local ports are in use.
struct NoPorts;

impl Wire for NoPorts {
    fn new(_: Arc<[u8]>, _: usize, _: usize, _: Option<BorrowedFd<'_>>) -> crate::Result<NoPorts> {
        Ok(NoPorts)
    }

    fn connect(&mut self, _: usize, _: OwnedFd, _: &SocketAddr) -> crate::Result<()> {
        Err(crate::Error::Call { call: Call::Connect, fd: None, source: Errno::EADDRNOTAVAIL })
    }

    fn is_connected_to_itself(&self, _: usize) -> bool {
        false
    }

    fn send(&mut self, _: usize, _: Range<usize>) -> crate::Result<Option<usize>> {
        unreachable!("there is no connection")
    }

    fn shutdown(&mut self, _: usize) -> crate::Result<()> {
        Ok(())
    }

    fn close(&mut self, _: usize) {}

    fn wait(&mut self, timeout: Duration) -> crate::Result<bool> {
        std::thread::sleep(timeout);
        Ok(false)
    }

    fn next(&mut self) -> Option<Event> {
        None
    }

    fn bytes(&self) -> &[u8] {
        &[]
    }
}

/// Connections that come and go, so that none is opened beforehand.
fn engine() -> Engine<NoPorts> {
    let plan = Plan {
        target: ([127, 0, 0, 1], 9).into(),
        active: 3,
        idle: 0,
        sizes: Sizes::Fixed(64),
        payload: Payload::Random,
        expect: Expect::Echo,
        seed: 1,
        patience: Duration::from_secs(10),
        depth: 1,
        requests_per_conn: Some(1),
        sources: Vec::new(),
        wait: Wait::Sleep,
    };
    Engine::open(&plan, ALONE, None).expect("no connection is opened yet")
}

fn schedule(rate: f64, arrivals: Arrivals) -> Schedule {
    Schedule::new(0, &[(rate, Duration::from_secs(1))], arrivals, (0, 1), 1)
}

#[test]
fn requests_that_never_got_a_local_port_are_unsent() {
    for pace in [Pace::Closed, Pace::Open(schedule(1000.0, Arrivals::Constant))] {
        let mut engine = engine();
        let has_times = matches!(pace, Pace::Open(_));
        // A closed loop measures what it begins while the clock runs.
        let start = match pace {
            Pace::Open(_) => {
                engine.begin(pace);
                engine.start_clock(engine.now())
            }
            pace => {
                let start = engine.start_clock(engine.now());
                engine.begin(pace);
                start
            }
        };
        engine.run(start + 50_000_000).expect("nothing fails");
        engine.stop_clock(start + 50_000_000);
        engine.drain().expect("nothing fails");
        engine.account_for_the_rest();
        let Record { counts, unfinished, .. } = engine.record();
        assert!(counts.without_port > 0, "{counts:?}");
        assert_eq!((counts.sent, counts.unanswered), (0, 0), "{counts:?}");
        assert_eq!(counts.unsent, unfinished.len(), "{counts:?}");
        assert_eq!(counts.unsent > 3, has_times, "in a closed loop nothing is due: {counts:?}");
        assert_eq!(engine.under_way(), 0);
    }
}

/// All that was due in two windows and was never sent, written down.
fn backlog(schedule: Schedule, (first, last): (u64, u64)) -> [Record; 2] {
    let mut engine = engine();
    engine.older.push((0..first, Record::default()));
    engine.window = first..last;
    engine.unsent = Some((schedule, last));
    engine.account_for_the_rest();
    let (_, older) = engine.older.remove(0);
    [older, std::mem::take(&mut engine.record)]
}

#[test]
fn a_backlog_is_written_down_as_if_each_request_were() {
    for arrivals in [Arrivals::Constant, Arrivals::Poisson] {
        let (first, last) = (1_234_567_891, 3_000_000_001);
        let mut each = [Record::default(), Record::default()];
        let mut walked = schedule(30_000.0, arrivals);
        while walked.next() < last {
            let record = &mut each[usize::from(walked.next() >= first)];
            record.counts.unsent += 1;
            record.not_answered(None, last - walked.next());
            walked.advance();
        }
        for (together, each) in backlog(schedule(30_000.0, arrivals), (first, last)).iter().zip(&each) {
            assert_eq!(together.counts, each.counts);
            assert_eq!(together.unfinished, each.unfinished);
        }
    }
}

/// A million requests a second for a day. One after the other would take an hour.
#[test]
fn a_backlog_of_a_day_is_recorded_without_a_walk_over_it() {
    let (all_but_an_hour, an_hour) = (23 * 3_600_000_000, 3_600_000_000);
    for arrivals in [Arrivals::Constant, Arrivals::Poisson] {
        // The requests of the last seconds are walked, and vary.
        let within = if arrivals == Arrivals::Constant { 0 } else { 30_000 };
        let [first, last] = backlog(schedule(1e6, arrivals), (23 * LONGEST_NS, 24 * LONGEST_NS));
        for (record, count) in [(&first, all_but_an_hour), (&last, an_hour)] {
            assert!(record.counts.unsent.abs_diff(count) <= within, "{arrivals:?}: {:?}", record.counts);
            assert_eq!(record.unfinished.len(), record.counts.unsent);
        }
        assert_eq!((first.counts.clamped, last.counts.clamped), (first.counts.unsent, 0));
    }
}
