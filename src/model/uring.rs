//! io_uring(7): the kernel does the work and tells when it is done. There is no readiness, and no call for a request.
//!
//! The program queues operations in memory that it shares with the kernel, and one io_uring_enter(2) hands over all that are queued
//! and brings what has ended meanwhile. What makes it cheap:
//!
//! - A client is accepted, and received from, by one operation that goes on (*multishot*).
//! - The kernel receives into a buffer of the ring, which it chooses when bytes come. A quiet client has no buffer.
//! - The answer is sent out of that buffer, without a copy. A send that has sent everything posts no completion.
//! - Sockets are in a table of the ring (*direct descriptors*), not in that of the process.
//! - The kernel does its part of the work when this thread enters it, and interrupts it at no other time (*deferred task work*).
//!
//! A client has one send under way at a time, because the kernel could do two of them in the wrong order. What comes meanwhile waits
//! `behind` it. A client that does not take its answer gets a copy of it that waits, so that it keeps no buffer from the others; and
//! when it says more, it is not received from until it has taken everything.
//!
//! System calls per request: one io_uring_enter for all requests of a turn.

use crate::Result;
use crate::echo::{Conn, Handler, Pump};
use crate::error::Error;
use crate::observer::Observer;
use crate::serve::{Acceptor, Job, Paused, Totals, Worker, finish};
use crate::stop::Stop;
use crate::sys::fcntl::duplicate;
use crate::sys::limits::Nofile;
use crate::sys::socket::{Mode, is_about_one_client};
use crate::sys::uring::{Completion, Event, Lease, Manner, Piece, Plan, Ring, Setup, Socket};
use crate::sys::{self, Call, Errno};
use std::collections::VecDeque;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::Arc;
use std::{mem, ptr};

/// Tokens: a client's is the number of its socket, which has 32 bits.
const STOP: u64 = 1 << 32;
const LISTENER: u64 = STOP + 1;

/// As many slots for sockets as io_uring_register(2) allows, and those of our own: the stop and the listener.
const MOST_SLOTS: u32 = 1 << 20;
const OUR_SLOTS: u32 = 2;

/// How many buffers there are, at first and at most. Since Linux 6.12 the kernel fills a buffer with one piece after another, so that
/// a piece lies beside the one before, in the cache, and a few buffers do for many clients.
const SHARED: Plan = Plan { size: 0, first: 16, most: 1024, is_incremental: true };
const ONE_EACH: Plan = Plan { first: 64, is_incremental: false, ..SHARED };

/// How many buffers a client that does not take its answers may keep from the others.
const MOST_BEHIND: usize = 4;

/// Serve clients until the stop.
///
/// # Errors
///
/// Those of [`Ring::new`], of the wait, and of the listener. What happens to a client ends that client only.
pub fn serve<O: Observer>(job: Job<'_, O>) -> Result<Totals> {
    let Job { listener, stop, reply, piece, spin, observe, .. } = job;
    let buffers = [SHARED, ONE_EACH].map(|plan| Plan { size: piece as u32, ..plan }).into();
    let slots = slots(stop)?;
    let mut ring = Ring::new(Setup { slots, source: Arc::new([]), buffers, spin })?;
    let stop = ring.put(slots - 1, stop)?;
    ring.poll(&stop, libc::POLLIN, STOP)?;
    let mut server = Server {
        listener: Some(ring.put(slots - 2, &listener)?),
        ring,
        handler: Handler::new(reply, observe(Worker::ONLY)),
        acceptor: Acceptor::new(&listener, Mode::Nonblocking),
        clients: Vec::new(),
        must_not_wait: false,
    };
    server.accept()?;
    'serving: loop {
        let timeout = server.acceptor.timeout(server.handler.observer.idle_timeout());
        let want = usize::from(!mem::take(&mut server.must_not_wait));
        server.ring.enter(want, timeout)?;
        if want > 0 && !server.ring.is_ready() && !server.acceptor.is_paused() {
            server.handler.observer.heard_nothing();
        }
        while let Some(completion) = server.ring.next() {
            match completion.token {
                STOP => break 'serving,
                LISTENER => server.clients_came(completion)?,
                _ => server.turn(completion)?,
            }
        }
        if server.acceptor.resumes() {
            server.accept()?;
        }
    }
    let (handler, conns, totals) = server.end()?;
    listener.close();
    finish(Pump::over(handler, piece), conns, totals)
}

/// As many slots as there are descriptors left, because each client gets one at the end.
fn slots(stop: &Stop) -> Result<u32> {
    let copy = duplicate(stop)?;
    // The ring will have this number, which is the lowest free one, and clients those above it.
    let ring = copy.as_raw_fd() as u64;
    sys::close(copy);
    let left = Nofile::current()?.soft.saturating_sub(ring + 1);
    Ok(u32::try_from(left).unwrap_or(u32::MAX).min(MOST_SLOTS - OUR_SLOTS) + OUR_SLOTS)
}

struct Server<'a, O> {
    ring: Ring,
    /// `None` when the server stops.
    listener: Option<Socket>,
    handler: Handler<O>,
    acceptor: Acceptor<'a>,
    /// By the number of the socket.
    clients: Vec<Option<Client>>,
    /// Something waits for the end of a send that posts no completion.
    must_not_wait: bool,
}

struct Client {
    socket: Socket,
    is_receiving: bool,
    is_sending: bool,
    /// The send that is under way waits until the client has made room.
    lacks_room: bool,
    leaves: Leaves,
    /// Answers behind the one that is under way.
    behind: VecDeque<Piece>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Leaves {
    No,
    /// It has ended its stream, and still gets its answers.
    Ended,
    Failed,
}

impl<O: Observer> Server<'_, O> {
    /// Accept clients; or, without a slot for one, learn that one waits.
    fn accept(&mut self) -> Result<()> {
        match &self.listener {
            None => Ok(()),
            Some(listener) if self.ring.free_slots() > 0 => self.ring.accept(listener, LISTENER),
            Some(listener) => self.ring.poll(listener, libc::POLLIN, LISTENER),
        }
    }

    fn clients_came(&mut self, Completion { event, more, .. }: Completion) -> Result<()> {
        match event {
            Event::Accepted(Ok(socket)) => self.welcome(socket)?,
            Event::Accepted(Err(Errno::EMFILE | Errno::ENFILE | Errno::ENOBUFS | Errno::ENOMEM)) => {
                self.acceptor.pause(Paused::NoDescriptor);
            }
            Event::Accepted(Err(errno)) if errno != Errno::ECANCELED && !is_about_one_client(errno) => {
                return Err(Error::Call { call: Call::Accept4, fd: None, source: errno });
            }
            Event::Ready(Ok(_)) if self.ring.free_slots() == 0 => self.acceptor.pause(Paused::NoDescriptor),
            _ => {}
        }
        match self.acceptor.paused() {
            Some(why) => self.handler.observer.paused(why),
            None if !more => self.accept()?,
            None => {}
        }
        Ok(())
    }

    fn welcome(&mut self, socket: Socket) -> Result<()> {
        let number = socket.number();
        self.acceptor.accepted();
        self.handler.observer.accepted(number as RawFd, None);
        if self.clients.len() <= number as usize {
            self.clients.resize_with(number as usize + 1, || None);
        }
        self.clients[number as usize] = Some(Client {
            socket,
            is_receiving: false,
            is_sending: false,
            lacks_room: false,
            leaves: Leaves::No,
            behind: VecDeque::new(),
        });
        self.go_on(number)
    }

    /// Something has happened to a client.
    #[inline]
    fn turn(&mut self, Completion { token, event, more }: Completion) -> Result<()> {
        let number = token as u32;
        match event {
            Event::Sent(piece, result) => return self.sent(number, piece, result),
            Event::Received(Ok(lease)) => self.heard(number, lease)?,
            Event::Received(Err(Errno::ENOBUFS)) => self.starves(number),
            Event::Received(Err(Errno::ECANCELED)) => {}
            Event::Received(Err(errno)) => self.leaves(number, Err((Call::Recvfrom, errno)))?,
            Event::Ended => self.leaves(number, Ok(()))?,
            Event::Accepted(_) | Event::Ready(_) | Event::Installed(_) => {}
        }
        if more {
            return Ok(());
        }
        if let Some(client) = &mut self.clients[number as usize] {
            client.is_receiving = false;
        }
        self.go_on(number)
    }

    /// Answer a piece: at once, or behind what is under way.
    #[inline]
    fn heard(&mut self, number: u32, lease: Lease) -> Result<()> {
        let Server { ring, handler, clients, listener, must_not_wait, .. } = self;
        let Some(client) = clients[number as usize].as_mut().filter(|client| client.leaves != Leaves::Failed)
        else {
            ring.give(lease);
            return Ok(());
        };
        let heard = ring.bytes(&lease);
        let answer = handler.heard(number as RawFd, heard);
        let other = (!ptr::eq(answer, heard)).then(|| Piece::Owned(answer.into()));
        handler.answered(number as RawFd, heard);
        let answer = match other {
            None => Piece::Received(lease),
            Some(answer) => {
                ring.give(lease);
                answer
            }
        };
        let is_stopping = listener.is_none();
        if !client.is_sending && !is_stopping {
            client.is_sending = true;
            return ring.send(&client.socket, answer, Manner::Now, number.into());
        }
        client.behind.push_back(answer);
        *must_not_wait = true;
        if client.lacks_room || client.behind.len() > MOST_BEHIND {
            client.falls_behind(ring, number)?;
        }
        Ok(())
    }

    /// No buffer was there for a client.
    fn starves(&mut self, number: u32) {
        let client = &self.clients[number as usize];
        // One that has them itself will soon give them back.
        if client.as_ref().is_some_and(|client| !client.is_sending) {
            self.ring.add_buffers();
        }
    }

    /// A send has ended.
    #[inline]
    fn sent(&mut self, number: u32, piece: Piece, result: core::result::Result<usize, Errno>) -> Result<()> {
        let Server { ring, handler, clients, .. } = self;
        let Some(client) = &mut clients[number as usize] else { return Ok(()) };
        client.is_sending = false;
        client.lacks_room = false;
        match result {
            Ok(sent) => {
                handler.took(sent);
                let rest = &ring.bytes_of(&piece)[sent..];
                if !rest.is_empty() {
                    client.behind.push_front(Piece::Owned(rest.into()));
                    client.lacks_room = true;
                    client.falls_behind(ring, number)?;
                }
                ring.give_back(piece);
            }
            Err(Errno::ECANCELED) => client.behind.push_front(piece),
            Err(errno) => {
                ring.give_back(piece);
                self.leaves(number, Err((Call::Sendto, errno)))?;
            }
        }
        self.go_on(number)
    }

    fn leaves(&mut self, number: u32, how: core::result::Result<(), (Call, Errno)>) -> Result<()> {
        let Server { ring, handler, clients, .. } = self;
        let Some(client) = &mut clients[number as usize] else { return Ok(()) };
        let had_left = client.leaves != Leaves::No;
        client.leaves = if how.is_ok() { Leaves::Ended } else { Leaves::Failed };
        if !had_left {
            let how = how.map_err(|(call, source)| Error::Call { call, fd: Some(number as RawFd), source });
            handler.left(number as RawFd, how);
        }
        if client.leaves == Leaves::Failed {
            client.behind.drain(..).for_each(|piece| ring.give_back(piece));
            // So that what is under way ends.
            ring.shutdown(&client.socket)?;
        }
        Ok(())
    }

    /// Begin what a client needs next.
    #[inline]
    fn go_on(&mut self, number: u32) -> Result<()> {
        let Server { ring, clients, must_not_wait, listener, .. } = self;
        let Some(client) = clients[number as usize].as_mut().filter(|_| listener.is_some()) else {
            return Ok(());
        };
        if !client.is_sending
            && let Some(answer) = client.behind.pop_front()
        {
            let manner = if client.lacks_room { Manner::Waiting } else { Manner::Now };
            client.is_sending = true;
            ring.send(&client.socket, answer, manner, number.into())?;
        }
        let stays = client.leaves == Leaves::No;
        *must_not_wait |= client.is_sending && !client.lacks_room && !(stays && client.behind.is_empty());
        if stays && !client.is_receiving && client.behind.is_empty() && !client.lacks_room {
            client.is_receiving = true;
            ring.receive(&client.socket, number.into())?;
        }
        if !stays && !client.is_receiving && !client.is_sending {
            if let Some(client) = clients[number as usize].take() {
                ring.close(client.socket)?;
            }
            self.acceptor.client_left();
        }
        Ok(())
    }

    /// End what is under way, and take the clients out of the ring, with what they were not sent yet.
    fn end(mut self) -> Result<(Handler<O>, Vec<Conn>, Totals)> {
        if let Some(listener) = self.listener.take() {
            self.ring.close(listener)?;
        }
        self.ring.cancel_all()?;
        // Sends that post no completion have ended after the first look.
        let mut want = 0;
        while self.ring.is_busy() {
            self.ring.enter(mem::replace(&mut want, 1), None)?;
            while let Some(completion) = self.ring.next() {
                match completion.token {
                    STOP => {}
                    LISTENER => self.clients_came(completion)?,
                    _ => self.turn(completion)?,
                }
            }
        }
        let mut unsent = Vec::new();
        for client in mem::take(&mut self.clients).into_iter().flatten() {
            if client.leaves == Leaves::Failed {
                self.ring.close(client.socket)?;
                continue;
            }
            self.ring.install(client.socket, unsent.len() as u64)?;
            unsent.push(client.behind.iter().flat_map(|piece| self.ring.bytes_of(piece)).copied().collect());
        }
        let mut conns = Vec::new();
        self.ring.enter(0, None)?;
        while let Some(Completion { token, event, .. }) = self.ring.next() {
            if let Event::Installed(Ok(socket)) = event {
                conns.push(Conn::with_unsent(socket, mem::take(&mut unsent[token as usize])));
            }
        }
        Ok((self.handler, conns, self.acceptor.totals()))
    }
}

impl Client {
    /// The client does not take its answers as fast as it asks. So those that wait must not keep more buffers, and it is not received
    /// from until it has taken them.
    fn falls_behind(&mut self, ring: &mut Ring, number: u32) -> Result<()> {
        let keeps = if self.lacks_room { 0 } else { MOST_BEHIND };
        for piece in self.behind.iter_mut().skip(keeps) {
            if let Piece::Received(lease) = piece {
                let copy = Piece::Owned(ring.bytes(lease).into());
                ring.give_back(mem::replace(piece, copy));
            }
        }
        if self.is_receiving { ring.cancel_receive(number.into()) } else { Ok(()) }
    }
}
