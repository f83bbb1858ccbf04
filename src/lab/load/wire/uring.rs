//! Completion: one io_uring_enter(2) for a batch of receives and sends.

use super::{Event, Wire};
use crate::sys::socket::{self, Shutdown};
use crate::sys::sockopt;
use crate::sys::uring::{self, Completion, Lease, Manner, Piece, Plan, Ring, Setup, Socket};
use crate::sys::{Call, Errno, close};
use crate::{Error, Result};
use std::net::SocketAddr;
use std::ops::Range;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

/// How many bytes the buffers of all connections have together, at most, and how many buffers there are at most and at first.
const BUFFER_BYTES: usize = 16 << 20;
const BUFFERS: usize = 4096;
const FIRST_BUFFERS: u16 = 64;

pub(in super::super) struct UringWire {
    ring: Ring,
    slots: Vec<Slot>,
    /// What came with the event that [`next`](Wire::next) gave last.
    current: Option<Lease>,
}

#[derive(Default)]
struct Slot {
    socket: Option<(OwnedFd, Socket)>,
    /// How often it was used: completions of an earlier use are not of this one.
    uses: u32,
}

const USES: u32 = (1 << 24) - 1;

fn token(uses: u32, slot: usize) -> u64 {
    u64::from(uses & USES) << 32 | slot as u64
}

impl Wire for UringWire {
    fn new(source: Arc<[u8]>, slots: usize, answer: usize, stop: Option<BorrowedFd<'_>>) -> Result<Self> {
        let size = answer.next_power_of_two().clamp(256, 16_384);
        let most = (BUFFER_BYTES / size).min(BUFFERS) as u16;
        let buffers = vec![Plan { size: size as u32, first: FIRST_BUFFERS, most, is_incremental: false }];
        // The last slot is for the stop.
        let mut ring = Ring::new(Setup { slots: slots as u32 + 1, source, buffers, ..Setup::default() })?;
        if let Some(stop) = stop {
            let stop = ring.put(slots as u32, stop)?;
            ring.poll(&stop, libc::POLLIN, token(0, slots))?;
        }
        let slots = (0..slots).map(|_| Slot::default()).collect();
        Ok(UringWire { ring, slots, current: None })
    }

    fn connect(&mut self, slot: usize, socket: OwnedFd, target: &SocketAddr) -> Result<()> {
        socket::connect(&socket, target)?;
        let direct = self.ring.put(slot as u32, &socket)?;
        let Slot { socket: place, uses } = &mut self.slots[slot];
        *uses = uses.wrapping_add(1);
        let polled = self.ring.poll(&direct, libc::POLLOUT, token(*uses, slot));
        *place = Some((socket, direct));
        polled
    }

    fn is_connected_to_itself(&self, slot: usize) -> bool {
        self.slots[slot].socket.as_ref().is_some_and(|(socket, _)| super::is_connected_to_itself(socket))
    }

    #[inline]
    fn send(&mut self, slot: usize, piece: Range<usize>) -> Result<Option<usize>> {
        let Slot { socket, uses } = &self.slots[slot];
        if let Some((_, socket)) = socket {
            self.ring.send(socket, Piece::Source(piece), Manner::Waiting, token(*uses, slot))?;
        }
        Ok(None)
    }

    fn shutdown(&mut self, slot: usize) -> Result<()> {
        let Some((socket, _)) = &self.slots[slot].socket else { return Ok(()) };
        socket::shutdown(socket, Shutdown::Write)
    }

    fn close(&mut self, slot: usize) {
        let Slot { socket, uses } = &mut self.slots[slot];
        let Some((socket, direct)) = socket.take() else { return };
        *uses = uses.wrapping_add(1);
        // What cannot be queued ends with the ring.
        self.ring.abort(direct).ok();
        close(socket);
    }

    #[inline]
    fn wait(&mut self, timeout: Duration) -> Result<bool> {
        if timeout.is_zero() {
            self.ring.enter(0, None)?;
        } else {
            self.ring.enter(1, Some(timeout))?;
        }
        Ok(self.ring.is_ready())
    }

    #[inline]
    fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(lease) = self.current.take() {
                self.ring.give(lease);
            }
            let completion = self.ring.next()?;
            let slot = completion.token as u32 as usize;
            if slot == self.slots.len() {
                return Some(Event::Stop);
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
        self.current.as_ref().map_or(&[], |lease| self.ring.bytes(lease))
    }
}

impl UringWire {
    /// What a completion means for the connection in a slot, if it is of that connection.
    #[inline]
    fn event(&mut self, slot: usize, completion: Completion) -> Result<Option<Event>> {
        let Completion { token, event, more, .. } = completion;
        let failed = |call, source| Err(Error::Call { call, fd: None, source });
        let Slot { socket, uses } = &self.slots[slot];
        let socket = socket.as_ref().filter(|_| token == self::token(*uses, slot));
        match event {
            uring::Event::Received(Ok(lease)) => {
                self.current = Some(lease);
                let Some((_, direct)) = socket else { return Ok(None) };
                if !more {
                    self.ring.receive(direct, token)?;
                }
                Ok(Some(Event::Arrived { slot }))
            }
            uring::Event::Received(Err(source)) => match socket {
                // All buffers are lent; they are given back before the kernel hears of this.
                Some((_, direct)) if source == Errno::ENOBUFS => {
                    self.ring.add_buffers();
                    self.ring.receive(direct, token).map(|()| None)
                }
                Some(_) => failed(Call::Recvfrom, source),
                None => Ok(None),
            },
            uring::Event::Ended => Ok(socket.map(|_| Event::Ended { slot })),
            uring::Event::Sent(_, result) => match (socket, result) {
                (None, _) => Ok(None),
                (Some(_), Ok(bytes)) => Ok(Some(Event::Took { slot, bytes: bytes as u64 })),
                (Some(_), Err(source)) => failed(Call::Sendto, source),
            },
            uring::Event::Ready(_) => {
                let Some((socket, direct)) = socket else { return Ok(None) };
                if let Some(source) = sockopt::take_error(socket)? {
                    return Err(Error::Call { call: Call::Connect, fd: Some(socket.as_raw_fd()), source });
                }
                self.ring.receive(direct, token)?;
                Ok(Some(Event::Connected { slot }))
            }
            uring::Event::Accepted(_) => Ok(None),
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
