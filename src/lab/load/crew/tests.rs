//! A thread on a wire that breaks: no sockets, no clock, no luck.

use super::super::plan::{Expect, Payload, Sizes, Wait};
use super::super::wire::Event;
use super::*;
use crate::sys::{Call, Errno};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::sync::Arc;

/// Looks after which the wire breaks.
const LOOKS: usize = 2000;

/// A wire with a right server at its other end, until it breaks.
struct Breaking {
    source: Arc<[u8]>,
    looks: usize,
    events: VecDeque<(usize, Option<Range<usize>>)>,
    /// Those of them that the last look has found.
    found: usize,
    arrived: Range<usize>,
}

impl Wire for Breaking {
    fn new(source: Arc<[u8]>, _: usize, _: usize, _: Option<BorrowedFd<'_>>) -> crate::Result<Breaking> {
        Ok(Breaking { source, looks: 0, events: VecDeque::new(), found: 0, arrived: 0..0 })
    }

    fn connect(&mut self, slot: usize, _: OwnedFd, _: &SocketAddr) -> crate::Result<()> {
        self.events.push_back((slot, None));
        Ok(())
    }

    fn is_connected_to_itself(&self, _: usize) -> bool {
        false
    }

    fn send(&mut self, slot: usize, piece: Range<usize>) -> crate::Result<Option<usize>> {
        let length = piece.len();
        self.events.push_back((slot, Some(piece)));
        Ok(Some(length))
    }

    fn shutdown(&mut self, _: usize) -> crate::Result<()> {
        Ok(())
    }

    fn close(&mut self, _: usize) {}

    fn wait(&mut self, _: Duration) -> crate::Result<bool> {
        self.looks += 1;
        if self.looks > LOOKS {
            return Err(crate::Error::Call { call: Call::EpollWait, fd: None, source: Errno::EBADF });
        }
        self.found = self.events.len();
        Ok(self.found > 0)
    }

    fn next(&mut self) -> Option<Event> {
        self.found = self.found.checked_sub(1)?;
        let (slot, piece) = self.events.pop_front()?;
        Some(match piece {
            None => Event::Connected { slot },
            Some(piece) => {
                self.arrived = piece;
                Event::Arrived { slot }
            }
        })
    }

    fn bytes(&self) -> &[u8] {
        &self.source[self.arrived.clone()]
    }
}

/// One connection to a server on this wire.
fn order() -> Order {
    let plan = Plan {
        // A socket is made for it, and never connected.
        target: ([127, 0, 0, 1], 9).into(),
        active: 1,
        idle: 0,
        sizes: Sizes::Fixed(64),
        payload: Payload::Random,
        expect: Expect::Echo,
        seed: 1,
        patience: Duration::from_secs(10),
        depth: 1,
        requests_per_conn: None,
        sources: Vec::new(),
        wait: Wait::Spin,
    };
    Order { plan, engine: EngineKind::Epoll, threads: 1, pin: false, arrivals: Arrivals::Constant }
}

#[test]
fn a_thread_that_fails_hands_over_what_it_has_measured_and_ends_the_stage() {
    let order = order();
    let (out, messages) = channel();
    let ((_stages, orders), (_spares, empty)) = (channel(), channel());
    let shared = Arc::new(Shared { with_connections: AtomicUsize::new(2), failed: AtomicBool::new(false) });
    let part = Part { thread: 0, threads: 1 };
    let desk =
        Desk { order: &order, part, orders, empty, out, shared: shared.clone(), lives: Cell::new(true) };
    let mut engine = Engine::<Breaking>::open(&order.plan, part, None).expect("the wire is not broken yet");
    let stage = Stage { warmup: Duration::ZERO, steps: vec![(None, Duration::from_secs(600))] };
    let done = desk.stage(&mut engine, &stage, Instant::now());
    assert!(done.failure.is_some_and(|why| why.contains(Call::EpollWait.name())));
    assert!(shared.is_over(), "the other threads are to end as well");
    let Ok(Message::Interval(0, share)) = messages.recv() else { panic!("nothing was handed over") };
    let (_, record) = &share.records[0];
    assert!(record.counts.answered > 100, "{:?}", record.counts);
    assert_eq!(record.counts.sent, record.service.len(), "the last one counts as not answered");
    assert_eq!(record.counts.unanswered, record.unfinished.len());
}
