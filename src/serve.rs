//! What the loops share: the door, the table of clients, and the end.
//!
//! This is straight work. The branches that make a model what it is stay in its own file.

use crate::Result;
use crate::echo::{Conn, Echo, Want};
use crate::initserver::Listener;
use crate::observer::Observer;
use crate::sys::Errno;
use crate::sys::poll::{PollFlags, PollSet};
use crate::sys::socket::{Accepted, Mode, accept};
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::time::{Duration, Instant};

/// What a server has done, told when it ends.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Clients accepted.
    pub connections: u64,
    /// Bytes received from them.
    pub bytes_in: u64,
    /// Bytes sent to them.
    pub bytes_out: u64,
    /// How often the door was shut because no descriptor (or process) was to be had, not counting tries
    /// that let nobody in: depends on how clients came and went.
    pub times_full: u64,
}

/// How long clients may take to collect what is unsent after the server was told to stop.
pub const FLUSH_GRACE: Duration = Duration::from_secs(1);

/// How many clients come in before those that are here have their turn.
const ACCEPTS_IN_A_ROW: u32 = 256;

/// How long the door stays shut when there is no descriptor left and none becomes free.
const SHUT_FOR: Duration = Duration::from_millis(100);

/// The listening socket, and what to do when there is no descriptor for another client.
///
/// At `EMFILE` the client stays in the queue, so a level-triggered wait would report the listener
/// again at once, for ever: the 100 % CPU bug of many servers. Instead the door is shut: the model
/// takes the listener out of its wait set until a client has left or 100 ms have passed. Those in
/// the queue wait.
#[derive(Debug)]
pub struct Door {
    listener: Listener,
    clients: Mode,
    shut_until: Option<Instant>,
    accepted: u64,
    in_a_row: u32,
    /// How many had been accepted when the door was last shut, to tell a retry from a new crowd.
    full_at: Option<u64>,
    times_full: u64,
}

impl Door {
    /// An open door. Sockets of clients that come in will have the mode `clients`.
    #[must_use]
    pub fn new(listener: Listener, clients: Mode) -> Door {
        Door { listener, clients, shut_until: None, accepted: 0, in_a_row: 0, full_at: None, times_full: 0 }
    }

    /// The next client, and where it is; `None` when none waits, when the door had to be
    /// [shut](Door::is_shut), and when it is the others' turn (a level-triggered wait will report the
    /// listener again).
    ///
    /// # Errors
    ///
    /// Those of accept(2) that are about the listener, not about one client: `EINVAL` after it was
    /// shut down, `EBADF`.
    pub fn accept(&mut self) -> Result<Option<(Conn, SocketAddr)>> {
        self.in_a_row = (self.in_a_row + 1) % (ACCEPTS_IN_A_ROW + 1);
        if self.is_shut() || self.in_a_row == 0 {
            return Ok(None);
        }
        match accept(&self.listener, self.clients) {
            Ok(Accepted::Client(socket, peer)) => {
                self.accepted += 1;
                Ok(Some((Conn::new(socket), peer)))
            }
            Ok(Accepted::Nobody) => {
                self.in_a_row = 0;
                Ok(None)
            }
            Err(error) => match error.errno() {
                Some(Errno::EMFILE | Errno::ENFILE | Errno::ENOBUFS | Errno::ENOMEM) => {
                    self.shut();
                    Ok(None)
                }
                _ => Err(error),
            },
        }
    }

    /// Let nobody in until a client has left, or for 100 ms.
    pub fn shut(&mut self) {
        let full_at = self.full_at.replace(self.accepted);
        self.times_full += u64::from(full_at != Some(self.accepted));
        self.shut_until = Some(Instant::now() + SHUT_FOR);
    }

    /// Close a client that the kernel has no memory to watch, and let nobody else in for now.
    pub fn turn_away(&mut self, conn: Conn) {
        conn.close();
        self.shut();
    }

    /// Whether nobody is let in for now.
    #[must_use]
    pub fn is_shut(&self) -> bool {
        self.shut_until.is_some()
    }

    /// A client has left, so there is a descriptor again.
    #[inline]
    pub fn client_left(&mut self) {
        if let Some(until) = &mut self.shut_until {
            *until = Instant::now();
        }
    }

    /// Open the door again if it is time: `true` once, and the listener belongs back into the wait
    /// set.
    #[inline]
    pub fn reopens(&mut self) -> bool {
        let due = self.shut_until.is_some_and(|until| Instant::now() >= until);
        if due {
            self.shut_until = None;
        }
        due
    }

    /// How long a wait may last: until the door wants to open again, while it is shut, and otherwise
    /// as long as the `patience` of the [`Observer`] (`None`: for ever).
    #[inline]
    #[must_use]
    pub fn timeout(&self, patience: Option<Duration>) -> Option<Duration> {
        match self.shut_until {
            None => patience,
            Some(until) => Some(until.saturating_duration_since(Instant::now())),
        }
    }

    /// The end of a server: close the listener, give the clients [`FLUSH_GRACE`] to collect what is
    /// unsent, close them, and say what was done.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub fn close<O: Observer>(
        self,
        mut echo: Echo<O>,
        clients: impl IntoIterator<Item = Conn>,
    ) -> Result<Totals> {
        echo.observer.stopping();
        let totals = self.leave();
        flush(&mut echo, clients)?;
        Ok(Totals { bytes_in: echo.bytes_in, bytes_out: echo.bytes_out, ..totals })
    }

    /// Close the listener, and say who came in. For a forked child, which has its client, and whose
    /// business the listener is not.
    pub fn leave(self) -> Totals {
        let Door { listener, accepted, times_full, .. } = self;
        crate::sys::close(listener.into_socket());
        Totals { connections: accepted, times_full, ..Totals::default() }
    }
}

impl AsFd for Door {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.listener.as_fd()
    }
}

fn flush<O: Observer>(echo: &mut Echo<O>, clients: impl IntoIterator<Item = Conn>) -> Result<()> {
    let (mut waiting, done): (Vec<_>, Vec<_>) = clients.into_iter().partition(Conn::has_unsent);
    done.into_iter().for_each(Conn::close);
    let until = Instant::now() + FLUSH_GRACE;
    loop {
        waiting = waiting
            .into_iter()
            .filter_map(|mut conn| match echo.flush(&mut conn) {
                Want::Write => Some(conn),
                Want::Read | Want::Close => {
                    conn.close();
                    None
                }
            })
            .collect();
        let left = until.saturating_duration_since(Instant::now());
        if waiting.is_empty() || left.is_zero() {
            waiting.into_iter().for_each(Conn::close);
            return Ok(());
        }
        let mut set = PollSet::new();
        for conn in &waiting {
            set.push(conn, PollFlags::POLLOUT);
        }
        set.wait(Some(left))?;
    }
}

/// The clients of a loop, found by descriptor number.
///
/// Numbers are small and dense, because the kernel gives out the lowest free one: an array is the
/// fastest map there is. With epoll, an event that was collected before its client left, and whose
/// number has a new owner since, finds that owner; on a non-blocking socket that costs a recv(2) that
/// says "not now", and nothing else.
#[derive(Debug, Default)]
pub struct Clients {
    by_fd: Vec<Option<Conn>>,
}

impl Clients {
    /// No clients.
    #[must_use]
    pub fn new() -> Clients {
        Clients::default()
    }

    /// Add one.
    pub fn insert(&mut self, conn: Conn) {
        let fd = conn.as_fd().as_raw_fd() as usize;
        if self.by_fd.len() <= fd {
            self.by_fd.resize_with(fd + 1, || None);
        }
        self.by_fd[fd] = Some(conn);
    }

    /// The client with that descriptor.
    #[inline]
    pub fn get(&mut self, fd: RawFd) -> Option<&mut Conn> {
        self.by_fd.get_mut(fd as usize)?.as_mut()
    }

    /// Close the client with that descriptor.
    pub fn close(&mut self, fd: RawFd) {
        if let Some(conn) = self.by_fd.get_mut(fd as usize).and_then(Option::take) {
            conn.close();
        }
    }
}

impl IntoIterator for Clients {
    type Item = Conn;
    type IntoIter = std::iter::Flatten<std::vec::IntoIter<Option<Conn>>>;

    fn into_iter(self) -> Self::IntoIter {
        self.by_fd.into_iter().flatten()
    }
}
