//! Readiness: an epoll_wait(2) for a batch, a recv(2) and a send(2) for each request.

use super::{Event, Wire};
use crate::sys::epoll::{Epoll, EpollFlags, Events};
use crate::sys::socket::{self, Received, Sent, Shutdown};
use crate::sys::sockopt;
use crate::sys::{Call, close};
use crate::{Error, Result};
use std::net::SocketAddr;
use std::ops::Range;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

/// Events that are taken at once.
const EVENTS: usize = 512;
/// Bytes that are taken at once.
const BUFFER: usize = 65_536;
const STOP: u64 = u64::MAX;
/// After these a short read does not prove that nothing is left.
const NOT_JUST_BYTES: EpollFlags =
    EpollFlags::EPOLLRDHUP.union(EpollFlags::EPOLLHUP).union(EpollFlags::EPOLLERR);

pub(in super::super) struct EpollWire {
    epoll: Epoll,
    events: Events,
    /// Events that have been looked at.
    seen: usize,
    slots: Vec<Slot>,
    source: Arc<[u8]>,
    buffer: Box<[u8]>,
    /// Bytes in it.
    length: usize,
    /// A slot that is being read, and whether until nothing is left.
    reading: Option<(usize, bool)>,
    /// A slot that is to be told that it can send, after that.
    writable: Option<usize>,
}

#[derive(Default)]
struct Slot {
    socket: Option<OwnedFd>,
    /// How often it was used: events of an earlier use are not of this one.
    uses: u32,
    connecting: bool,
    /// A send fell short.
    short: bool,
}

impl Wire for EpollWire {
    fn new(source: Arc<[u8]>, slots: usize, _answer: usize, stop: Option<BorrowedFd<'_>>) -> Result<Self> {
        let epoll = Epoll::new()?;
        if let Some(stop) = stop {
            // Edge-triggered: to be told once is enough, and it stays readable.
            epoll.add(stop, STOP, EpollFlags::EPOLLIN | EpollFlags::EPOLLET)?;
        }
        Ok(EpollWire {
            epoll,
            events: Events::with_capacity(EVENTS),
            seen: 0,
            slots: (0..slots).map(|_| Slot::default()).collect(),
            source,
            buffer: vec![0; BUFFER].into(),
            length: 0,
            reading: None,
            writable: None,
        })
    }

    fn connect(&mut self, slot: usize, socket: OwnedFd, target: &SocketAddr) -> Result<()> {
        let uses = self.slots[slot].uses.wrapping_add(1);
        // Registered once for everything, edge-triggered: no call is needed when a send falls short. After
        // connect, or the edge that says "not connected yet" would be reported first.
        socket::connect(&socket, target)?;
        let flags = EpollFlags::EPOLLIN | EpollFlags::EPOLLOUT | EpollFlags::EPOLLRDHUP | EpollFlags::EPOLLET;
        self.epoll.add(&socket, u64::from(uses) << 32 | slot as u64, flags)?;
        self.slots[slot] = Slot { socket: Some(socket), uses, connecting: true, short: false };
        Ok(())
    }

    fn is_connected_to_itself(&self, slot: usize) -> bool {
        self.slots[slot].socket.as_ref().is_some_and(super::is_connected_to_itself)
    }

    #[inline]
    fn send(&mut self, slot: usize, piece: Range<usize>) -> Result<Option<usize>> {
        let slot = &mut self.slots[slot];
        let Some(socket) = &slot.socket else { return Ok(None) };
        match socket::send(socket, &self.source[piece])? {
            Sent::Bytes(n) => Ok(Some(n)),
            Sent::NotNow => {
                slot.short = true;
                Ok(None)
            }
        }
    }

    fn shutdown(&mut self, slot: usize) -> Result<()> {
        let Some(socket) = &self.slots[slot].socket else { return Ok(()) };
        socket::shutdown(socket, Shutdown::Write)
    }

    fn close(&mut self, slot: usize) {
        self.reading = self.reading.filter(|&(reading, _)| reading != slot);
        self.writable = self.writable.filter(|&writable| writable != slot);
        let slot = &mut self.slots[slot];
        slot.uses = slot.uses.wrapping_add(1);
        if let Some(socket) = slot.socket.take() {
            close(socket);
        }
    }

    #[inline]
    fn wait(&mut self, timeout: Duration) -> Result<bool> {
        self.seen = 0;
        Ok(self.epoll.wait(&mut self.events, Some(timeout))? > 0)
    }

    #[inline]
    fn next(&mut self) -> Option<Event> {
        loop {
            if let Some((slot, dry)) = self.reading
                && let Some(event) = self.read(slot, dry)
            {
                return Some(event);
            }
            if let Some(slot) = self.writable.take()
                && std::mem::take(&mut self.slots[slot].short)
            {
                return Some(Event::Took { slot, bytes: 0 });
            }
            if self.seen == self.events.len() {
                return None;
            }
            let event = self.events.get(self.seen);
            self.seen += 1;
            if event.token == STOP {
                return Some(Event::Stop);
            }
            let slot = event.token as u32 as usize;
            if u64::from(self.slots[slot].uses) != event.token >> 32 {
                continue;
            }
            self.reading = Some((slot, event.flags.intersects(NOT_JUST_BYTES)));
            self.writable = event.flags.contains(EpollFlags::EPOLLOUT).then_some(slot);
            if self.slots[slot].connecting {
                return Some(self.connected(slot));
            }
        }
    }

    #[inline]
    fn bytes(&self) -> &[u8] {
        &self.buffer[..self.length]
    }
}

impl EpollWire {
    #[inline]
    fn read(&mut self, slot: usize, dry: bool) -> Option<Event> {
        let received = match &self.slots[slot].socket {
            Some(socket) => socket::recv(socket, &mut self.buffer),
            None => Ok(Received::NotNow), // Closed since.
        };
        let event = match received {
            Ok(Received::Bytes(n)) => {
                self.length = n;
                if n < self.buffer.len() && !dry {
                    self.reading = None;
                }
                return Some(Event::Arrived { slot });
            }
            Ok(Received::NotNow) => None,
            Ok(Received::End) => Some(Event::Ended { slot }),
            Err(error) => Some(Event::Failed { slot, error }),
        };
        self.reading = None;
        event
    }

    fn connected(&mut self, slot: usize) -> Event {
        self.slots[slot].connecting = false;
        let Some(socket) = &self.slots[slot].socket else { unreachable!("a slot in use has a socket") };
        let error = match sockopt::take_error(socket) {
            Ok(None) => return Event::Connected { slot },
            Ok(Some(source)) => Error::Call { call: Call::Connect, fd: Some(socket.as_raw_fd()), source },
            Err(error) => error,
        };
        (self.reading, self.writable) = (None, None);
        Event::Failed { slot, error }
    }
}
