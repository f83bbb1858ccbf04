//! Completion: one io_uring_enter(2) for a batch of receives and sends.

use super::{Event, Wire};
use crate::sys::socket::{self, Shutdown};
use crate::sys::sockopt;
use crate::sys::uring::{Completion, Ring};
use crate::sys::{Call, Errno, close};
use crate::{Error, Result};
use std::net::SocketAddr;
use std::ops::Range;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

/// Buffers of all sockets together, at most: their number, and their bytes.
const BUFFERS: usize = 4096;
const BUFFER_BYTES: usize = 16 << 20;

pub(in super::super) struct UringWire {
    ring: Ring,
    slots: Vec<Slot>,
    /// How often the kernel was told of what is queued.
    entered: u64,
}

#[derive(Default)]
struct Slot {
    socket: Option<OwnedFd>,
    /// How often it was used: completions of an earlier use are not of this one.
    uses: u32,
    sending: bool,
    /// `entered` when an operation on the slot was last queued.
    queued_at: u64,
}

/// What an operation was for; the rest of its token is the use of the slot, and the slot.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Receive = 0,
    Send = 1,
    Connect = 2,
    Stop = 3,
}

const USES: u32 = (1 << 29) - 1;

fn token(kind: Kind, uses: u32, slot: usize) -> u64 {
    (kind as u64) << 62 | u64::from(uses & USES) << 32 | slot as u64
}

impl Wire for UringWire {
    fn new(source: Arc<[u8]>, slots: usize, answer: usize, stop: Option<BorrowedFd<'_>>) -> Result<Self> {
        let size = answer.next_power_of_two().clamp(256, 16_384);
        let buffers = (BUFFER_BYTES / size).min(BUFFERS);
        let mut ring = Ring::new(slots as u32, source, buffers as u16, size as u32)?;
        if let Some(stop) = stop {
            ring.poll(stop, libc::POLLIN, token(Kind::Stop, 0, 0))?;
        }
        Ok(UringWire { ring, slots: (0..slots).map(|_| Slot::default()).collect(), entered: 1 })
    }

    fn connect(&mut self, slot: usize, socket: OwnedFd, target: &SocketAddr) -> Result<()> {
        let uses = self.slots[slot].uses.wrapping_add(1);
        socket::connect(&socket, target)?;
        if self.slots[slot].queued_at == self.entered {
            // What is queued for the last connection is about whatever the slot holds when the kernel hears of it.
            self.ring.enter(0, None)?;
            self.entered += 1;
        }
        self.ring.set_slot(slot as u32, Some(socket.as_fd()))?;
        if let Err(error) = self.ring.poll(&socket, libc::POLLOUT, token(Kind::Connect, uses, slot)) {
            // Or the ring would keep the socket open.
            self.ring.set_slot(slot as u32, None)?;
            return Err(error);
        }
        self.slots[slot] = Slot { socket: Some(socket), uses, sending: false, queued_at: 0 };
        Ok(())
    }

    fn is_connected_to_itself(&self, slot: usize) -> bool {
        self.slots[slot].socket.as_ref().is_some_and(super::is_connected_to_itself)
    }

    #[inline]
    fn send(&mut self, slot: usize, piece: Range<usize>) -> Result<Option<usize>> {
        let Slot { uses, sending, queued_at, .. } = &mut self.slots[slot];
        (*sending, *queued_at) = (true, self.entered);
        self.ring.send(slot as u32, piece, token(Kind::Send, *uses, slot))?;
        Ok(None)
    }

    fn shutdown(&mut self, slot: usize) -> Result<()> {
        let Some(socket) = &self.slots[slot].socket else { return Ok(()) };
        socket::shutdown(socket, Shutdown::Write)
    }

    fn close(&mut self, slot: usize) {
        let Slot { socket, uses, sending, .. } = &mut self.slots[slot];
        let Some(socket) = socket.take() else { return };
        let ended = [Kind::Receive, Kind::Connect, Kind::Send];
        // What cannot be cancelled ends by itself, later: its completions are of a use that is over.
        for kind in &ended[..if *sending { 3 } else { 2 }] {
            self.ring.cancel(token(*kind, *uses, slot)).ok();
        }
        self.ring.set_slot(slot as u32, None).ok();
        *uses = uses.wrapping_add(1);
        close(socket);
    }

    #[inline]
    fn wait(&mut self, timeout: Duration) -> Result<bool> {
        self.entered += 1;
        if timeout.is_zero() {
            self.ring.enter(0, None)?;
        } else {
            self.ring.enter(1, Some(timeout))?;
        }
        Ok(self.ring.ready() > 0)
    }

    #[inline]
    fn next(&mut self) -> Option<Event> {
        loop {
            let completion = self.ring.next()?;
            let slot = completion.token as u32 as usize;
            if completion.token >> 62 == Kind::Stop as u64 {
                return Some(Event::Stop);
            }
            let uses = (completion.token >> 32) as u32 & USES;
            if uses != self.slots[slot].uses & USES {
                continue;
            }
            match self.event(slot, completion) {
                Ok(Some(event)) => return Some(event),
                Ok(None) => {}
                Err(error) => return Some(Event::Failed { slot, error }),
            }
        }
    }

    #[inline]
    fn bytes(&self) -> &[u8] {
        self.ring.received()
    }
}

impl UringWire {
    #[inline]
    fn receive(&mut self, slot: usize, token: u64) -> Result<()> {
        self.slots[slot].queued_at = self.entered;
        self.ring.receive(slot as u32, token)
    }

    #[inline]
    fn event(
        &mut self,
        slot: usize,
        Completion { token: done, result, more }: Completion,
    ) -> Result<Option<Event>> {
        let failed = |call, source| Err(Error::Call { call, fd: None, source });
        let uses = self.slots[slot].uses;
        let receive = token(Kind::Receive, uses, slot);
        if done >> 62 == Kind::Receive as u64 {
            match result {
                Ok(0) => Ok(Some(Event::Ended { slot })),
                Ok(_) if more => Ok(Some(Event::Arrived { slot })),
                Ok(_) => self.receive(slot, receive).map(|()| Some(Event::Arrived { slot })),
                // All buffers are with us; they are given back before the kernel hears of this.
                Err(Errno::ENOBUFS) => self.receive(slot, receive).map(|()| None),
                Err(source) => failed(Call::Recvfrom, source),
            }
        } else if done >> 62 == Kind::Send as u64 {
            self.slots[slot].sending = false;
            match result {
                Ok(bytes) => Ok(Some(Event::Took { slot, bytes: bytes.into() })),
                Err(source) => failed(Call::Sendto, source),
            }
        } else {
            let Some(socket) = &self.slots[slot].socket else { return Ok(None) };
            if let Some(source) = sockopt::take_error(socket)? {
                return Err(Error::Call { call: Call::Connect, fd: Some(socket.as_raw_fd()), source });
            }
            self.receive(slot, receive)?;
            Ok(Some(Event::Connected { slot }))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::socket::Mode;
    use std::io::Read;
    use std::net::TcpListener;

    #[test]
    fn what_was_queued_for_a_connection_that_is_closed_is_not_sent_on_the_next_one_in_its_slot() {
        if let Some(why) = crate::sys::uring::unavailable() {
            return println!("skipped: {why}");
        }
        let listeners = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
        let source: Arc<[u8]> = b"firstsecond".to_vec().into();
        let mut wire = UringWire::new(source, 1, 64, None).unwrap();
        for (listener, piece) in listeners.iter().zip([0..5, 5..11]) {
            let target = listener.local_addr().unwrap();
            wire.connect(0, socket::tcp(&target, Mode::Nonblocking).unwrap(), &target).unwrap();
            while !matches!(wire.next(), Some(Event::Connected { slot: 0 })) {
                wire.wait(Duration::from_secs(1)).unwrap();
            }
            wire.send(0, piece).unwrap();
            if listener.local_addr().unwrap() == listeners[0].local_addr().unwrap() {
                wire.close(0); // Before the kernel has heard of the send.
            }
        }
        wire.wait(Duration::ZERO).unwrap();
        let mut got = [0; 6];
        listeners[1].accept().unwrap().0.read_exact(&mut got).unwrap();
        assert_eq!(&got, b"second");
    }
}
