//! What a ring can be asked to do. Each operation is queued, and the kernel hears of it with the next [`enter`](Ring::enter).
//!
//! All of them begin in the order in which they were queued. What surprised us: `IORING_OP_SHUTDOWN` does not. A worker thread of the
//! kernel does it, later, and looks for the socket only then, so that it can meet another one that has got the slot meanwhile. It is
//! not among these operations; to end what is under way on a socket, cancel it.

use super::buffers::Lease;
use super::ring::{GROUP, Kind, Ring};
use crate::error::{Error, Result};
use crate::sys::{Call, Errno};
use io_uring::types::{CancelBuilder, DestinationSlot, Fd, Fixed};
use io_uring::{opcode, squeue};
use std::ops::Range;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::ptr;

/// A socket that operations of a ring work on: in a slot of the ring (a *direct descriptor*), or an ordinary descriptor.
///
/// Only [`Ring::close`], [`Ring::abort`] and [`Ring::take_out`] end it, and only after what was queued before: so no operation can meet
/// another socket under the same number. Dropping it closes nothing. Every method that takes one panics when it is of another ring.
#[derive(Debug, PartialEq, Eq)]
pub struct Socket {
    pub(super) number: u32,
    pub(super) is_direct: bool,
    /// The ring that it is a socket of.
    pub(super) ring: u32,
}

impl Socket {
    /// The number of the slot, or of the descriptor. No other socket of the ring has it.
    #[inline]
    #[must_use]
    pub fn number(&self) -> u32 {
        self.number
    }

    #[inline]
    fn fd(&self) -> Fd {
        Fd(self.number as RawFd)
    }
}

/// A receive that ends with the piece that brings it to so many bytes: `optlen` of a multishot receive, since Linux 6.17.
pub(super) fn limited(mut receive: squeue::Entry, bytes: u32) -> squeue::Entry {
    /// `offsetof(struct io_uring_sqe, optlen)`
    const OPTLEN: usize = 44;
    const { assert!(size_of::<squeue::Entry>() == 64, "an entry is a struct io_uring_sqe") };
    let optlen = (&raw mut receive).wrapping_byte_add(OPTLEN).cast::<u32>();
    // SAFETY: the field is within the entry, which is a `struct io_uring_sqe` because the crate copies it into the queue as it is. It is
    // aligned, at a multiple of 4 in a structure that is aligned to 8, and any number may stand there.
    unsafe { optlen.write(bytes) };
    receive
}

/// What can be sent. The ring owns it until the send has completed.
#[derive(Debug)]
pub enum Piece {
    /// What was received, without a copy.
    Received(Lease),
    /// This part of the ring's [source](super::Setup::source).
    Source(Range<usize>),
    /// Bytes of its own.
    Owned(Box<[u8]>),
}

/// What a send does when the kernel has no room for all of its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// It ends as soon as the kernel hears of it, having sent what there was room for.
    Now,
    /// The same, but when all was sent its completion does not end the [wait](Ring::enter) that follows: it comes together with what does.
    /// For an answer after which there is nothing to do. It takes a second operation, which the kernel cancels when something was not sent.
    Quietly,
    /// It waits for room, until all is sent or the connection ends.
    Waiting,
}

impl Ring {
    /// An operation on this socket.
    #[inline]
    fn on(&self, socket: &Socket, operation: squeue::Entry) -> squeue::Entry {
        self.check(socket);
        if socket.is_direct { operation.flags(squeue::Flags::FIXED_FILE) } else { operation }
    }

    /// Accept clients of the listener; their sockets are non-blocking. [`Event::Accepted`] comes for each; after one without
    /// [`more`](super::Completion::more) it has to be asked for again.
    ///
    /// With many free slots it is one operation for all clients (*multishot*). The kernel closes a client for whom there is no slot,
    /// so with few free slots it is one operation for each client. Without an ordinary descriptor, where it makes those, clients stay in
    /// the queue (`EMFILE`).
    ///
    /// [`Event::Accepted`]: super::Event::Accepted
    ///
    /// # Errors
    ///
    /// `ENFILE` without [room](Ring::has_room); as [`enter`](Ring::enter), when the queue is full.
    pub fn accept(&mut self, listener: &Socket, token: u64) -> Result<()> {
        if !self.has_room() {
            return Err(Error::Call { call: Call::IoUringEnter, fd: None, source: Errno::ENFILE });
        }
        let fd = listener.fd();
        if !self.direct {
            let flags = libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
            let accept = if self.has_many_slots() {
                opcode::AcceptMulti::new(fd).flags(flags).build()
            } else {
                opcode::Accept::new(fd, ptr::null_mut(), ptr::null_mut()).flags(flags).build()
            };
            return self.begin(Kind::AcceptOrdinary, token, self.on(listener, accept));
        }
        self.accepts = true;
        let flags = libc::SOCK_NONBLOCK;
        let accept = if self.has_many_slots() {
            opcode::AcceptMulti::new(fd).allocate_file_index(true).flags(flags).build()
        } else {
            let any = Some(DestinationSlot::auto_target());
            opcode::Accept::new(fd, ptr::null_mut(), ptr::null_mut()).file_index(any).flags(flags).build()
        };
        let accept = self.on(listener, accept);
        self.begin(Kind::Accept, token, accept)
    }

    /// Receive for as long as something comes, each time into a buffer of the ring, up to the [limit](super::Setup::limit).
    /// [`Event::Received`] comes each time; [`Event::Ended`] and an error end it. After any without [`more`](super::Completion::more) it
    /// has to be asked for again, such as after `ENOBUFS`, which means that all buffers were lent or full.
    ///
    /// What surprised us: it can stop at an urgent byte. The kernel tries to receive what is behind it, fails (`EAGAIN`) because a signal or
    /// its own work is pending for the thread, and then waits for new bytes. A completion that says [`has_rest`](super::Completion::has_rest)
    /// and is the last of its socket after an [`enter`](Ring::enter) is the sign of it. Then [end](Ring::cancel_receive) the receive, and begin it
    /// again.
    ///
    /// [`Event::Received`]: super::Event::Received
    /// [`Event::Ended`]: super::Event::Ended
    ///
    /// # Errors
    ///
    /// As [`enter`](Ring::enter), when the queue is full.
    #[inline]
    pub fn receive(&mut self, socket: &Socket, token: u64) -> Result<()> {
        let receive = limited(opcode::RecvMulti::new(socket.fd(), GROUP).build(), self.limit);
        self.begin(Kind::Receive, token, self.on(socket, receive))
    }

    /// Send a piece. [`Event::Sent`](super::Event::Sent) brings it back.
    ///
    /// # Errors
    ///
    /// As [`enter`](Ring::enter), when the queue is full.
    ///
    /// # Panics
    ///
    /// When the source has no such bytes; with a lease of another ring.
    #[inline]
    pub fn send(&mut self, socket: &Socket, piece: Piece, manner: Manner, token: u64) -> Result<()> {
        let flags = match manner {
            Manner::Now => libc::MSG_DONTWAIT,
            // So a send that was cut short counts as failed, and the kernel cancels the operation that is linked to it.
            Manner::Quietly => libc::MSG_DONTWAIT | libc::MSG_WAITALL,
            Manner::Waiting => libc::MSG_WAITALL,
        };
        let (start, len) = match &piece {
            // Only what `add` makes of it stays where it is.
            Piece::Owned(bytes) => (ptr::null(), bytes.len()),
            piece => (self.bytes_of(piece).as_ptr(), self.bytes_of(piece).len()),
        };
        let len = len as u32;
        self.check(socket);
        // Before the send is noted, because it may fail.
        self.make_room(2)?;
        let (index, owned) = self.kept.sends.add(token, piece);
        let start = owned.map_or(start, |owned| owned.cast_const());
        let send = opcode::Send::new(socket.fd(), start, len).flags(libc::MSG_NOSIGNAL | flags).build();
        let send = self.on(socket, send);
        if manner != Manner::Quietly {
            return self.begin(Kind::Send, u64::from(index), send);
        }
        self.begin(Kind::Send, u64::from(index), send.flags(squeue::Flags::IO_LINK))?;
        self.quiet_send()
    }

    /// Wait until the socket has one of these poll(2) `events`. [`Event::Ready`](super::Event::Ready) tells which.
    ///
    /// # Errors
    ///
    /// As [`enter`](Ring::enter), when the queue is full.
    #[inline]
    pub fn poll(&mut self, socket: &Socket, events: i16, token: u64) -> Result<()> {
        let events = u32::from(events.cast_unsigned());
        let poll = self.on(socket, opcode::PollAdd::new(socket.fd(), events).build());
        self.begin(Kind::Poll, token, poll)
    }

    /// The same for a descriptor that is in no slot. It must stay open until the completion comes: the kernel looks for it by number
    /// when it hears of the operation.
    ///
    /// # Errors
    ///
    /// As [`enter`](Ring::enter), when the queue is full.
    #[inline]
    pub fn poll_fd(&mut self, fd: impl AsFd, events: i16, token: u64) -> Result<()> {
        let (fd, events) = (Fd(fd.as_fd().as_raw_fd()), u32::from(events.cast_unsigned()));
        self.begin(Kind::Poll, token, opcode::PollAdd::new(fd, events).build())
    }

    /// End the receive with this token. It still has its last completion, with `ECANCELED` unless it has ended before.
    ///
    /// # Errors
    ///
    /// As [`enter`](Ring::enter), when the queue is full.
    pub fn cancel_receive(&mut self, token: u64) -> Result<()> {
        self.cancel(CancelBuilder::user_data(Kind::Receive.tag(token)).all())
    }

    /// End all operations. Each still has its last completion.
    ///
    /// # Errors
    ///
    /// As [`enter`](Ring::enter), when the queue is full.
    pub fn cancel_all(&mut self) -> Result<()> {
        self.cancel(CancelBuilder::any())
    }

    pub(super) fn cancel(&mut self, which: CancelBuilder) -> Result<()> {
        self.push_for_nobody(opcode::AsyncCancel2::new(which).build())
    }

    /// Close a socket on which no operation is under way. What was queued for it comes first.
    ///
    /// # Errors
    ///
    /// As [`enter`](Ring::enter), when the queue is full.
    pub fn close(&mut self, socket: Socket) -> Result<()> {
        self.check(&socket);
        let close = match socket.is_direct {
            true => opcode::Close::new(Fixed(socket.number)).build(),
            false => opcode::Close::new(socket.fd()).build(),
        };
        self.push_for_nobody(close)?;
        self.slot_closes(&socket);
        Ok(())
    }

    /// End the operations on a socket. Each still has its last completion.
    ///
    /// # Errors
    ///
    /// As [`enter`](Ring::enter), when the queue is full.
    pub fn cancel_on(&mut self, socket: &Socket) -> Result<()> {
        self.check(socket);
        let which = if socket.is_direct {
            CancelBuilder::fd(Fixed(socket.number))
        } else {
            CancelBuilder::fd(socket.fd())
        };
        self.cancel(which.all())
    }

    /// End the operations on a socket, and close it. The operations still have their last completions.
    ///
    /// # Errors
    ///
    /// As [`enter`](Ring::enter), when the queue is full.
    pub fn abort(&mut self, socket: Socket) -> Result<()> {
        self.cancel_on(&socket)?;
        self.close(socket)
    }

    /// End the poll with this token. It still has its last completion, with `ECANCELED` unless it has ended before.
    ///
    /// # Errors
    ///
    /// As [`enter`](Ring::enter), when the queue is full.
    pub fn cancel_poll(&mut self, token: u64) -> Result<()> {
        self.cancel(CancelBuilder::user_data(Kind::Poll.tag(token)))
    }
}

/// The sends that are under way, with what they send.
#[derive(Default)]
pub(super) struct Sends {
    all: Vec<Option<Sending>>,
    free: Vec<u32>,
}

struct Sending {
    token: u64,
    piece: Held,
}

/// A [`Piece`] whose memory the kernel uses.
enum Held {
    Received(Lease),
    Source(Range<usize>),
    /// From `Box::into_raw`, because moving a box would claim that nobody else uses its memory.
    Owned(*mut [u8]),
}

impl Sends {
    /// The number of a new send, and where its bytes are when it owns them.
    #[inline]
    fn add(&mut self, token: u64, piece: Piece) -> (u32, Option<*mut u8>) {
        let (piece, owned) = match piece {
            Piece::Received(lease) => (Held::Received(lease), None),
            Piece::Source(range) => (Held::Source(range), None),
            Piece::Owned(bytes) => {
                let bytes = Box::into_raw(bytes);
                (Held::Owned(bytes), Some(bytes.cast()))
            }
        };
        let sending = Some(Sending { token, piece });
        let index = match self.free.pop() {
            Some(index) => {
                self.all[index as usize] = sending;
                index
            }
            None => {
                self.all.push(sending);
                self.all.len() as u32 - 1
            }
        };
        (index, owned)
    }

    /// The token and the piece of the send with this number, which has ended.
    #[inline]
    pub(super) fn take(&mut self, index: u32) -> Option<(u64, Piece)> {
        let Sending { token, piece } = self.all.get_mut(index as usize)?.take()?;
        self.free.push(index);
        let piece = match piece {
            Held::Received(lease) => Piece::Received(lease),
            Held::Source(range) => Piece::Source(range),
            // SAFETY: it comes from `Box::into_raw`, only this takes it back, and the kernel has ended with it.
            Held::Owned(bytes) => Piece::Owned(unsafe { Box::from_raw(bytes) }),
        };
        Some((token, piece))
    }
}
