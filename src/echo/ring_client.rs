//! One client of a model that lets a ring receive and send: what is under way for it, and what comes next.
//!
//! It has one send under way at a time, because the kernel could do two of them in the wrong order. What comes meanwhile waits
//! *behind* it. A client that does not take its answers as fast as it asks must not keep the buffers of the ring from the others: what
//! waits for it is copied aside, and it is not received from until it has taken everything. So it costs at most one answer that is
//! being sent, and what one receive brings: [`MOST_RECEIVED`] and less than one buffer more. Before Linux 6.17 a receive has no limit,
//! and brings up to 32 full buffers at a time.

use super::{Conn, Handler};
use crate::error::{Error, Result};
use crate::observer::Observer;
use crate::sys::uring::{Completion, Event, Lease, Manner, Piece, Ring, Socket};
use crate::sys::{Call, Errno};
use std::collections::VecDeque;
use std::os::fd::RawFd;
use std::{mem, ptr};

/// How many answers keep their buffers while they wait behind another.
const MOST_BEHIND: usize = 4;

/// The [limit](crate::sys::uring::Setup::limit) of a receive. With small requests it is reached after a thousand of them.
pub(crate) const MOST_RECEIVED: u32 = 1 << 16;

/// A client, and what is under way for it.
#[derive(Debug)]
pub(crate) struct RingClient {
    socket: Socket,
    is_receiving: bool,
    /// The receive that is under way was told to end.
    is_stopping: bool,
    /// More bytes had come than were received last.
    has_rest: bool,
    is_sending: bool,
    /// The send that is under way waits until the client has made room.
    lacks_room: bool,
    leaves: Leaves,
    /// Answers behind the one that is under way.
    behind: VecDeque<Piece>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Leaves {
    No,
    /// It has ended its stream, and still gets its answers.
    Ended,
    Failed,
}

/// What the loop has to do after the turn of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    Nothing,
    /// To close the client, for which nothing is under way.
    Close,
}

impl RingClient {
    /// A client that was just accepted.
    pub(crate) fn welcome(socket: Socket, ring: &mut Ring) -> Result<RingClient> {
        let mut client = RingClient {
            socket,
            is_receiving: false,
            is_stopping: false,
            has_rest: false,
            is_sending: false,
            lacks_room: false,
            leaves: Leaves::No,
            behind: VecDeque::new(),
        };
        client.go_on(ring)?;
        Ok(client)
    }

    /// Something has happened.
    #[inline]
    pub(crate) fn turn<O: Observer>(
        &mut self,
        Completion { event, more, has_rest, .. }: Completion,
        ring: &mut Ring,
        handler: &mut Handler<O>,
    ) -> Result<Next> {
        match event {
            Event::Received(Ok(lease)) => {
                self.is_receiving = more;
                self.has_rest = has_rest;
                self.heard(lease, ring, handler)?;
            }
            Event::Sent(piece, result) => self.sent(piece, result, ring, handler)?,
            Event::Received(Err(errno)) => {
                self.is_receiving = false;
                match errno {
                    // A client that holds buffers itself will soon give them back.
                    Errno::ENOBUFS if !self.is_sending => ring.add_buffers(),
                    Errno::ENOBUFS | Errno::ECANCELED => {}
                    errno => self.fails(Call::Recvfrom, errno, ring, handler)?,
                }
            }
            Event::Ended => {
                self.is_receiving = false;
                if self.leaves == Leaves::No {
                    self.leaves = Leaves::Ended;
                    handler.left(self.fd(), Ok(()));
                }
            }
            Event::Accepted(_) | Event::Ready(_) => {}
        }
        self.go_on(ring)
    }

    /// Receive anew, if the kernel has left something and does not go on: see [`Ring::receive`].
    pub(crate) fn look_again(&mut self, ring: &mut Ring) -> Result<()> {
        if mem::take(&mut self.has_rest) { self.stop_receiving(ring) } else { Ok(()) }
    }

    fn stop_receiving(&mut self, ring: &mut Ring) -> Result<()> {
        let goes_on = self.is_receiving && !mem::replace(&mut self.is_stopping, true);
        if goes_on { ring.cancel_receive(self.token()) } else { Ok(()) }
    }

    /// Answer a piece: at once, or behind what is under way.
    #[inline]
    fn heard<O: Observer>(&mut self, lease: Lease, ring: &mut Ring, handler: &mut Handler<O>) -> Result<()> {
        if self.leaves == Leaves::Failed {
            ring.give(lease);
            return Ok(());
        }
        let heard = ring.bytes(&lease);
        let answer = handler.heard(self.fd(), heard);
        let other = (!ptr::eq(answer, heard)).then(|| Piece::Owned(answer.into()));
        handler.answered(self.fd(), heard);
        let answer = match other {
            None => Piece::Received(lease),
            Some(answer) => {
                ring.give(lease);
                answer
            }
        };
        if !self.is_sending && !ring.is_ending() {
            // When nothing else was done in this turn, its completion would often be all that the next turn has. It can come later.
            let manner = if ring.is_at_rest() { Manner::Quietly } else { Manner::Now };
            return self.send(answer, manner, ring);
        }
        self.behind.push_back(answer);
        if self.lacks_room || self.behind.len() > MOST_BEHIND { self.falls_behind(ring) } else { Ok(()) }
    }

    /// A send has ended.
    #[inline]
    fn sent<O: Observer>(
        &mut self,
        piece: Piece,
        result: core::result::Result<usize, Errno>,
        ring: &mut Ring,
        handler: &mut Handler<O>,
    ) -> Result<()> {
        self.is_sending = false;
        self.lacks_room = false;
        match result {
            Ok(sent) => {
                handler.took(sent);
                let rest = &ring.bytes_of(&piece)[sent..];
                if !rest.is_empty() && self.leaves != Leaves::Failed {
                    self.behind.push_front(Piece::Owned(rest.into()));
                    self.lacks_room = true;
                    self.falls_behind(ring)?;
                }
                ring.give_back(piece);
            }
            Err(Errno::ECANCELED) if self.leaves != Leaves::Failed => self.behind.push_front(piece),
            Err(errno) => {
                ring.give_back(piece);
                if errno != Errno::ECANCELED {
                    self.fails(Call::Sendto, errno, ring, handler)?;
                }
            }
        }
        Ok(())
    }

    /// What waits must not keep more buffers, and nothing more is received until the client has taken it.
    fn falls_behind(&mut self, ring: &mut Ring) -> Result<()> {
        let keeps = if self.lacks_room { 0 } else { MOST_BEHIND };
        for piece in self.behind.iter_mut().skip(keeps) {
            if let Piece::Received(lease) = piece {
                let copy = Piece::Owned(ring.bytes(lease).into());
                ring.give_back(mem::replace(piece, copy));
            }
        }
        self.stop_receiving(ring)
    }

    fn fails<O: Observer>(
        &mut self,
        call: Call,
        source: Errno,
        ring: &mut Ring,
        handler: &mut Handler<O>,
    ) -> Result<()> {
        if mem::replace(&mut self.leaves, Leaves::Failed) == Leaves::No {
            handler.left(self.fd(), Err(Error::Call { call, fd: Some(self.fd()), source }));
        }
        self.behind.drain(..).for_each(|piece| ring.give_back(piece));
        if self.is_receiving || self.is_sending { ring.cancel_on(&self.socket) } else { Ok(()) }
    }

    /// Begin what the client needs next.
    #[inline]
    fn go_on(&mut self, ring: &mut Ring) -> Result<Next> {
        if ring.is_ending() {
            return Ok(Next::Nothing);
        }
        if !self.is_sending
            && let Some(answer) = self.behind.pop_front()
        {
            let manner = if self.lacks_room { Manner::Waiting } else { Manner::Now };
            self.send(answer, manner, ring)?;
        }
        let stays = self.leaves == Leaves::No;
        if stays && !self.is_receiving && !self.lacks_room && self.behind.is_empty() {
            (self.is_receiving, self.is_stopping, self.has_rest) = (true, false, false);
            ring.receive(&self.socket, self.token())?;
        }
        let is_over = !stays && !self.is_sending && !self.is_receiving;
        Ok(if is_over { Next::Close } else { Next::Nothing })
    }

    #[inline]
    fn send(&mut self, answer: Piece, manner: Manner, ring: &mut Ring) -> Result<()> {
        self.is_sending = true;
        ring.send(&self.socket, answer, manner, self.token())
    }

    /// The number of the socket, under which the observer knows the client.
    #[inline]
    pub(crate) fn fd(&self) -> RawFd {
        self.socket.number() as RawFd
    }

    #[inline]
    fn token(&self) -> u64 {
        self.socket.number().into()
    }

    /// The socket, to be closed.
    pub(crate) fn into_socket(self) -> Socket {
        self.socket
    }

    /// End the client of a ring that has ended: take it out of the ring, with the bytes that it was not sent yet. `None` for one that
    /// has failed, which is closed.
    pub(crate) fn end<O: Observer>(self, ring: &mut Ring, handler: &mut Handler<O>) -> Result<Option<Conn>> {
        let fd = self.fd();
        let RingClient { socket, leaves, behind, .. } = self;
        if leaves == Leaves::Failed {
            ring.close(socket)?;
            return Ok(None);
        }
        let unsent = behind.iter().flat_map(|piece| ring.bytes_of(piece)).copied().collect();
        let has_left = leaves == Leaves::Ended;
        Ok(match ring.take_out(socket) {
            Ok(socket) => Some(Conn::with_unsent(socket, unsent, has_left)),
            Err(why) => {
                if !has_left {
                    handler.left(fd, Err(why));
                }
                None
            }
        })
    }
}
