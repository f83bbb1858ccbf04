//! Takes clients from the queue of a listener, and pauses when there is no descriptor for another, or at the limit on clients.

use super::{MaxClients, Totals};
use crate::Result;
use crate::echo::Conn;
use crate::initserver::Listener;
use crate::sys::Errno;
use crate::sys::limits::Nofile;
use crate::sys::socket::{Accepted, Mode, accept};
use std::fmt;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// How many clients are accepted before those that are connected have their turn.
const ACCEPTS_IN_A_ROW: u32 = 256;

/// How long accepting is paused when no descriptor becomes free.
const PAUSE: Duration = Duration::from_millis(100);

/// Accepts clients of a listener.
///
/// At `EMFILE` the client stays in the queue, so a level-triggered wait would report the listener again at once, for ever: the
/// 100 % CPU bug of many servers. Instead accepting is *paused*: the model takes the listener out of its wait set until a
/// client has left or 100 ms have passed. Clients wait in the queue meanwhile. At the limit on clients it is the same, and accept(2)
/// is not called.
#[derive(Debug)]
pub struct Acceptor<'a> {
    listener: &'a Listener,
    clients: Mode,
    max_clients: MaxClients,
    paused: Option<(Paused, Instant)>,
    accepted: u64,
    in_a_row: u32,
    /// How many had been accepted at the last pause, to tell a retry from a new crowd.
    full_at: Option<u64>,
    times_full: u64,
}

/// What [`Acceptor::next`] found.
#[derive(Debug)]
pub enum Next {
    /// A client, and where it is.
    Client(Conn, SocketAddr),
    /// No client waits.
    Empty,
    /// Accepting is paused: nobody is accepted until [`Acceptor::resumes`].
    Paused,
    /// Clients may wait, but it is the turn of those that are connected. A level-triggered wait reports the listener again; an
    /// edge-triggered one does not.
    TurnOver,
}

/// Why accepting is paused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Paused {
    /// There are as many clients as there may be ([`MaxClients`]).
    MaxClients,
    /// No descriptor, or no memory for a socket.
    NoDescriptor,
    /// No process for the client.
    NoProcess,
    /// No process for a worker, in the place of one that has ended.
    NoWorker,
    /// No thread for the client.
    NoThread,
    /// The model cannot watch the descriptor of the client.
    NotWatchable,
    /// accept(2) was refused, for a reason that is not about the client.
    Refused(Errno),
}

impl fmt::Display for Paused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Paused::MaxClients => f.write_str("there are as many clients as --max-clients allows"),
            Paused::NoDescriptor => {
                f.write_str("no descriptor is left for another client")?;
                Nofile::current().map_or(Ok(()), |limit| write!(f, ": {limit}"))
            }
            Paused::NoProcess => f.write_str(
                "no process is left for another client (ulimit -u, or pids.max of the control group)",
            ),
            Paused::NoWorker => f.write_str(
                "no process is left in the place of a worker that has ended (ulimit -u, or pids.max of the control group)",
            ),
            Paused::NoThread => f.write_str(
                "no thread is left for another client (ulimit -u, or pids.max of the control group)",
            ),
            Paused::NotWatchable => f.write_str("this model cannot watch more descriptors"),
            Paused::Refused(errno) => write!(f, "accept4: {}", std::io::Error::from(*errno)),
        }
    }
}

impl<'a> Acceptor<'a> {
    /// Accept clients of `listener`. Their sockets get the mode `clients`.
    #[must_use]
    pub fn new(listener: &'a Listener, clients: Mode) -> Acceptor<'a> {
        let max_clients = MaxClients::unlimited();
        Acceptor {
            listener,
            clients,
            max_clients,
            paused: None,
            accepted: 0,
            in_a_row: 0,
            full_at: None,
            times_full: 0,
        }
    }

    /// The same with a limit. The model must call [`client_left`](Acceptor::client_left) once for each client.
    #[must_use]
    pub fn within(self, max_clients: MaxClients) -> Acceptor<'a> {
        Acceptor { max_clients, ..self }
    }

    /// The next client. One that has gone while it waited in the queue is passed over.
    ///
    /// # Errors
    ///
    /// Those of accept(2) that are about the listener, not about one client: `EINVAL` after it was shut down, `EBADF`.
    #[expect(
        clippy::should_implement_trait,
        reason = "an iterator would end at the first Empty, and has no errors"
    )]
    pub fn next(&mut self) -> Result<Next> {
        loop {
            if self.is_paused() {
                return Ok(Next::Paused);
            }
            if self.in_a_row == ACCEPTS_IN_A_ROW {
                self.in_a_row = 0;
                return Ok(Next::TurnOver);
            }
            self.in_a_row += 1;
            if !self.max_clients.take() {
                self.pause(Paused::MaxClients);
                continue;
            }
            let accepted = accept(self.listener, self.clients);
            if !matches!(accepted, Ok(Accepted::Client(..))) {
                self.max_clients.give_back();
            }
            match accepted {
                Ok(Accepted::Client(socket, peer)) => {
                    self.accepted += 1;
                    return Ok(Next::Client(Conn::new(socket), peer));
                }
                Ok(Accepted::Nobody) => {
                    self.in_a_row = 0;
                    return Ok(Next::Empty);
                }
                Ok(Accepted::NotThis(Errno::ECONNABORTED)) => {}
                // It may be refused for ever, with the client still in the queue (seccomp): no reason to spin.
                Ok(Accepted::NotThis(errno)) => self.pause(Paused::Refused(errno)),
                Err(error) => match error.errno() {
                    Some(Errno::EMFILE | Errno::ENFILE | Errno::ENOBUFS | Errno::ENOMEM) => {
                        self.pause(Paused::NoDescriptor);
                    }
                    _ => return Err(error),
                },
            }
        }
    }

    /// The client that is `parked`, or else the next one; `None` when nobody can be accepted now.
    ///
    /// # Errors
    ///
    /// As [`next`](Acceptor::next).
    pub fn next_or(&mut self, parked: &mut Option<(Conn, SocketAddr)>) -> Result<Option<(Conn, SocketAddr)>> {
        if parked.is_some() {
            return Ok(parked.take());
        }
        Ok(match self.next()? {
            Next::Client(conn, peer) => Some((conn, peer)),
            Next::Empty | Next::Paused | Next::TurnOver => None,
        })
    }

    /// The model has accepted a client by itself.
    pub fn accepted(&mut self) {
        self.accepted += 1;
    }

    /// The socket whose clients are accepted.
    #[must_use]
    pub fn listener(&self) -> &'a Listener {
        self.listener
    }

    /// Accept nobody until a client has left, or for 100 ms.
    pub fn pause(&mut self, why: Paused) {
        self.in_a_row = 0;
        let full_at = self.full_at.replace(self.accepted);
        self.times_full += u64::from(full_at != Some(self.accepted));
        self.paused = Some((why, Instant::now() + PAUSE));
    }

    /// Close a client that the kernel has no memory to watch, and pause.
    pub fn turn_away(&mut self, conn: Conn) {
        conn.close();
        self.max_clients.give_back();
        self.pause(Paused::NotWatchable);
    }

    /// Whether accepting is paused.
    #[must_use]
    pub fn is_paused(&self) -> bool {
        self.paused.is_some()
    }

    /// Why accepting is paused, while it is.
    #[must_use]
    pub fn paused(&self) -> Option<Paused> {
        self.paused.map(|(why, _)| why)
    }

    /// A client has left, so there is a descriptor again.
    #[inline]
    pub fn client_left(&mut self) {
        self.max_clients.give_back();
        self.end_pause();
    }

    /// Let the pause end with the next [`resumes`](Acceptor::resumes).
    #[inline]
    pub fn end_pause(&mut self) {
        if let Some((_, until)) = &mut self.paused {
            *until = Instant::now();
        }
    }

    /// End the pause if it is time: `true` once, and the listener belongs back into the wait set.
    #[inline]
    pub fn resumes(&mut self) -> bool {
        let due = self.paused.is_some_and(|(_, until)| Instant::now() >= until);
        if due {
            self.paused = None;
        }
        due
    }

    /// How long a wait may last: to the end of the pause while there is one, and otherwise as long as the
    /// [`idle_timeout`](crate::observer::Observer::idle_timeout) of the observer says (`None`: for ever).
    #[inline]
    #[must_use]
    pub fn timeout(&self, idle: Option<Duration>) -> Option<Duration> {
        match self.paused {
            None => idle,
            Some((_, until)) => Some(until.saturating_duration_since(Instant::now())),
        }
    }

    /// Who was accepted.
    #[must_use]
    pub fn totals(&self) -> Totals {
        Totals { connections: self.accepted, times_full: self.times_full, ..Totals::default() }
    }
}
