//! io_uring(7): the kernel does the work and tells when it is done. There is no readiness, and no call for a request.
//!
//! The program queues operations in memory that it shares with the kernel, and one io_uring_enter(2) hands over all that are queued
//! and brings what has ended meanwhile. What makes it cheap:
//!
//! - A client is accepted, and received from, by one operation that goes on (*multishot*).
//! - The kernel receives into a buffer of the ring, which it chooses when bytes come. A quiet client has no buffer.
//! - The answer is sent out of that buffer, without a copy.
//! - Sockets are in a table of the ring (*direct descriptors*), not in that of the process.
//! - The kernel does its part of the work when this thread enters it, and interrupts it at no other time (*deferred task work*).
//!
//! What is done for a client when one of its operations has ended is in `echo/ring_client.rs`, as that of the other models is in
//! `echo/pump.rs`.
//!
//! System calls per request: two io_uring_enter for all requests of a turn, one that hands over the answers and one that waits. They
//! are one when the answer is all that the turn has to hand over ([`Manner::Quietly`](crate::sys::uring::Manner::Quietly)).

use crate::Result;
use crate::echo::{Conn, Handler, MOST_RECEIVED, Next, Pump, RingClient};
use crate::error::Error;
use crate::observer::Observer;
use crate::serve::{Acceptor, Job, Paused, Totals, Worker, finish};
use crate::sys::limits::Nofile;
use crate::sys::socket::{Mode, is_about_one_client};
use crate::sys::uring::{Completion, Event, Plan, Ring, Setup, Socket};
use crate::sys::{Call, Errno};
use std::num::NonZeroUsize;
use std::os::fd::RawFd;

/// Tokens: a client's is the number of its socket, which has 32 bits.
const STOP: u64 = 1 << 32;
const LISTENER: u64 = STOP + 1;

/// Slots for sockets: those of our own, which are the stop and the listener, and as many for clients as io_uring_register(2) allows.
const OUR_SLOTS: u32 = 2;
const MOST_SLOTS: usize = (1 << 20) - OUR_SLOTS as usize;

/// How many buffers there are, at first and at most. Since Linux 6.12 the kernel fills a buffer with one piece after another, so that
/// a piece lies beside the one before, in the cache, and a few buffers do for many clients.
const SHARED: Plan = Plan { size: 0, first: 16, most: 1024, is_incremental: true };
const ONE_EACH: Plan = Plan { first: 64, is_incremental: false, ..SHARED };
const LARGEST_BUFFER: usize = 1 << 20;

/// Serve clients until the stop.
///
/// # Errors
///
/// Those of [`Ring::new`], of the wait, and of the listener. What happens to a client ends that client only.
pub fn serve<O: Observer>(job: Job<'_, O>) -> Result<Totals> {
    serve_as_one_of(NonZeroUsize::MIN, job)
}

/// The same as one of several rings of this process, which share its descriptors.
pub(super) fn serve_as_one_of<O: Observer>(rings: NonZeroUsize, job: Job<'_, O>) -> Result<Totals> {
    let size = job.piece.min(LARGEST_BUFFER) as u32;
    let buffers = [SHARED, ONE_EACH].map(|plan| Plan { size, ..plan });
    let slots = slots(rings)?;
    serve_with(job, slots, true, buffers.into())
}

/// The same with direct descriptors, where the kernel can make ordinary ones of them at the end, or with ordinary ones; and with
/// buffers after the first of these plans that it can follow.
fn serve_with<O: Observer>(
    job: Job<'_, O>,
    slots: usize,
    direct: bool,
    buffers: Vec<Plan>,
) -> Result<Totals> {
    let Job { listener, stop, reply, piece, max_clients, spin, observe, .. } = job;
    let (slots, no_slot) = match max_clients.most() {
        Some(most) if most.get() <= slots => (most.get(), Paused::MaxClients),
        _ => (slots, Paused::NoDescriptor),
    };
    let slots = slots.min(MOST_SLOTS) as u32 + OUR_SLOTS;
    let limit = MOST_RECEIVED;
    let mut ring = Ring::new(Setup { slots, direct, buffers, limit, spin, ..Setup::default() })?;
    let stop = ring.put(slots - 1, stop)?;
    ring.poll(&stop, libc::POLLIN, STOP)?;
    let mut server = Server {
        listener: ring.put(slots - 2, &listener)?,
        ring,
        handler: Handler::new(reply, observe(Worker::ONLY)),
        acceptor: Acceptor::new(&listener, Mode::Nonblocking),
        no_slot,
        clients: Vec::new(),
        with_rest: Vec::new(),
    };
    server.accept()?;
    'serving: loop {
        let timeout = server.acceptor.timeout(server.handler.observer.idle_timeout());
        let is_time_up = server.ring.enter(1, timeout)?;
        if is_time_up && !server.acceptor.is_paused() {
            server.handler.observer.heard_nothing();
        }
        while let Some(completion) = server.ring.next() {
            match completion.token {
                STOP => break 'serving,
                LISTENER => server.clients_came(completion)?,
                _ => server.turn(completion)?,
            }
        }
        server.look_again()?;
        if server.acceptor.resumes() {
            server.accept()?;
        }
    }
    let (handler, conns, totals) = server.end()?;
    listener.close();
    finish(Pump::over(handler, piece), conns, totals)
}

/// How many slots for clients each of these rings can have: as many as there are descriptors left, because each client gets one at
/// the end.
fn slots(rings: NonZeroUsize) -> Result<usize> {
    let left = Nofile::current()?.left()? as usize;
    // The ring itself needs one.
    Ok((left / rings).saturating_sub(1))
}

struct Server<'a, O> {
    ring: Ring,
    listener: Socket,
    handler: Handler<O>,
    acceptor: Acceptor<'a>,
    /// Why a client has to wait for whom there is no slot.
    no_slot: Paused,
    /// By the number of the socket. The kernel gives out all numbers in turn, so that the table comes to have a place for each, and it
    /// would be ten times as large with the clients in it.
    clients: Vec<Option<Box<RingClient>>>,
    /// Clients of which the kernel has not received everything in this turn.
    with_rest: Vec<usize>,
}

impl<O: Observer> Server<'_, O> {
    /// Accept clients; or, without a slot for one, learn that one waits.
    fn accept(&mut self) -> Result<()> {
        if self.ring.is_ending() {
            Ok(())
        } else if self.ring.has_room() {
            self.ring.accept(&self.listener, LISTENER)
        } else {
            self.ring.poll(&self.listener, libc::POLLIN, LISTENER)
        }
    }

    fn clients_came(&mut self, Completion { event, more, .. }: Completion) -> Result<()> {
        match event {
            Event::Accepted(Ok(socket)) => self.welcome(socket)?,
            Event::Accepted(Err(Errno::EMFILE | Errno::ENFILE | Errno::ENOBUFS | Errno::ENOMEM)) => {
                self.acceptor.pause(Paused::NoDescriptor);
            }
            Event::Accepted(Err(errno @ Errno::EPERM)) => self.acceptor.pause(Paused::Refused(errno)),
            Event::Accepted(Err(errno)) if errno != Errno::ECANCELED && !is_about_one_client(errno) => {
                return Err(Error::Call { call: Call::Accept4, fd: None, source: errno });
            }
            Event::Ready(Ok(_)) if !self.ring.has_room() => self.acceptor.pause(self.no_slot),
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
        let number = socket.number() as usize;
        self.acceptor.accepted();
        self.handler.observer.accepted(number as RawFd, None);
        if self.clients.len() <= number {
            self.clients.resize_with(number + 1, || None);
        }
        self.clients[number] = Some(Box::new(RingClient::welcome(socket, &mut self.ring)?));
        Ok(())
    }

    #[inline]
    fn turn(&mut self, completion: Completion) -> Result<()> {
        let number = completion.token as usize;
        if completion.has_rest {
            self.with_rest.push(number);
        }
        let place = &mut self.clients[number];
        let Some(client) = place else { return Ok(()) };
        match client.turn(completion, &mut self.ring, &mut self.handler)? {
            Next::Nothing => {}
            Next::Close => {
                if let Some(client) = place.take() {
                    self.ring.close(client.into_socket())?;
                }
                self.acceptor.client_left();
            }
        }
        Ok(())
    }

    fn look_again(&mut self) -> Result<()> {
        for number in self.with_rest.drain(..) {
            if let Some(client) = &mut self.clients[number] {
                client.look_again(&mut self.ring)?;
            }
        }
        Ok(())
    }

    /// End what is under way, and take the clients out of the ring, with what they were not sent yet.
    fn end(mut self) -> Result<(Handler<O>, Vec<Conn>, Totals)> {
        self.ring.end()?;
        loop {
            while let Some(completion) = self.ring.next() {
                match completion.token {
                    STOP => {}
                    LISTENER => self.clients_came(completion)?,
                    _ => self.turn(completion)?,
                }
            }
            if !self.ring.is_busy() {
                break;
            }
            self.ring.enter(1, None)?;
        }
        self.ring.close(self.listener)?;
        let mut conns = Vec::new();
        for client in self.clients.into_iter().flatten() {
            conns.extend(client.end(&mut self.ring, &mut self.handler)?);
        }
        self.ring.enter(0, None)?;
        Ok((self.handler, conns, self.acceptor.totals()))
    }
}

#[cfg(test)]
#[path = "uring_tests.rs"]
mod tests;
