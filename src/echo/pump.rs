//! Between a handler and a socket: receive, answer, send.

use super::conn::{Conn, Unsent};
use super::{Handler, Reply, Until, Want};
use crate::Result;
use crate::observer::{Notices, Observer};
use crate::serve::Totals;
use crate::sys::calls::Told;
use crate::sys::socket::{Received, Sent, recv, send};
use std::mem;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd};

/// The size of the shared buffer. Large enough that common messages take one recv(2), small enough to stay in the
/// processor's nearer caches.
pub const SCRATCH_BYTES: usize = 16 * 1024;

/// How many reads one client may have in a row before it is the others' turn: 256 KiB.
pub(super) const READS_IN_A_ROW: usize = 16;

/// What a process that serves a part of the clients writes for its parent to read: see [`Totals::publish`].
pub(crate) type Traffic = Told;

/// Moves the bytes of clients, one client at a time.
#[derive(Debug)]
pub struct Pump<O = Notices> {
    /// What gives the answers.
    pub handler: Handler<O>,
    scratch: Box<[u8]>,
    clients: u64,
    traffic: Option<&'static Traffic>,
}

impl<O: Observer> Pump<O> {
    /// A pump that answers with `reply`, tells `observer`, and receives at most `piece` bytes at a time.
    ///
    /// # Panics
    ///
    /// With a piece of 0 bytes, which could not be told from the end of the stream.
    #[must_use]
    pub fn new(reply: Reply, piece: usize, observer: O) -> Pump<O> {
        Pump::over(Handler::new(reply, observer), piece)
    }

    /// The same with a handler that exists already.
    ///
    /// # Panics
    ///
    /// As [`new`](Pump::new).
    #[must_use]
    pub fn over(handler: Handler<O>, piece: usize) -> Pump<O> {
        assert!(piece > 0, "a piece has at least one byte");
        Pump { handler, scratch: vec![0; piece].into(), clients: 0, traffic: None }
    }

    /// The same, which also writes what it has done to shared memory, after each turn of a client: if this process is killed, its
    /// parent knows what was done.
    pub(crate) fn publishing_to(mut self, traffic: Option<&'static Traffic>) -> Pump<O> {
        self.traffic = traffic;
        self
    }

    /// Tell that a client is served from now on.
    #[inline]
    pub fn welcome<S: AsFd>(&mut self, conn: &Conn<S>, peer: SocketAddr) {
        self.clients += 1;
        self.publish();
        self.handler.observer.accepted(conn.as_fd().as_raw_fd(), Some(peer));
    }

    #[inline]
    fn publish(&self) {
        if let Some(traffic) = self.traffic {
            Totals { connections: self.clients, ..self.handler.totals() }.publish(traffic);
        }
    }

    /// Send what is unsent, then receive and answer until `until`.
    ///
    /// A failure of the connection (reset, broken pipe) is [`Want::Close`]: it concerns this client alone. On a blocking socket
    /// this waits for the client.
    #[inline]
    pub fn pump<S: AsFd>(&mut self, conn: &mut Conn<S>, until: Until) -> Want {
        let want = self.turn(conn, until);
        self.publish();
        want
    }

    #[inline]
    fn turn<S: AsFd>(&mut self, conn: &mut Conn<S>, until: Until) -> Want {
        if conn.has_left && !conn.has_unsent() {
            return Want::Close;
        }
        if conn.has_unsent() {
            match self.flush(conn) {
                // The kernel will tell a level-triggered loop whether there is something to read.
                Want::Read if until != Until::OneRead => {}
                want => return want,
            }
        }
        for _ in 0..READS_IN_A_ROW {
            let n = match recv(&conn.socket, &mut self.scratch) {
                Ok(Received::Bytes(n)) => n,
                Ok(Received::NotNow) => return Want::Read,
                Ok(Received::End) => return self.leaves(conn, Ok(())),
                Err(error) => return self.leaves(conn, Err(error)),
            };
            match self.answer(conn, n) {
                Want::Read => {}
                want => return want,
            }
            match until {
                Until::OneRead => return Want::Read,
                Until::ShortRead if n < self.scratch.len() => return Want::Read,
                Until::ShortRead | Until::Dry => {}
            }
        }
        Want::ReadMore
    }

    /// Answer the first `n` bytes of the buffer.
    #[inline]
    fn answer<S: AsFd>(&mut self, conn: &mut Conn<S>, n: usize) -> Want {
        let (fd, heard) = (conn.socket.as_fd().as_raw_fd(), &self.scratch[..n]);
        let answer = self.handler.heard(fd, heard);
        if answer.is_empty() {
            return Want::Read;
        }
        let sent = match send(&conn.socket, answer) {
            Ok(Sent::Bytes(sent)) => sent,
            Ok(Sent::NotNow) => 0,
            Err(error) => return self.leaves(conn, Err(error)),
        };
        if sent < answer.len() {
            conn.unsent = Some(Box::new(Unsent { bytes: answer[sent..].into(), sent: 0 }));
        }
        self.handler.took(sent);
        self.handler.answered(fd, heard);
        if conn.has_unsent() { Want::Write } else { Want::Read }
    }

    /// Send what is unsent, as far as the client has room: [`Want::Read`] when nothing is left.
    fn flush<S: AsFd>(&mut self, conn: &mut Conn<S>) -> Want {
        while let Some(unsent) = &mut conn.unsent {
            match send(&conn.socket, &unsent.bytes[unsent.sent..]) {
                Ok(Sent::Bytes(n)) => {
                    self.handler.took(n);
                    unsent.sent += n;
                    if unsent.sent == unsent.bytes.len() {
                        conn.unsent = None;
                    }
                }
                Ok(Sent::NotNow) => return Want::Write,
                Err(error) => return self.leaves(conn, Err(error)),
            }
        }
        Want::Read
    }

    #[inline]
    fn leaves<S: AsFd>(&mut self, conn: &mut Conn<S>, how: Result<()>) -> Want {
        conn.unsent = None;
        if !mem::replace(&mut conn.has_left, true) {
            self.handler.left(conn.socket.as_fd().as_raw_fd(), how);
        }
        Want::Close
    }
}
