//! One connection of the generator: what it has asked, sent and got back, and what can go wrong.

use super::engine::LONGEST_DRAIN;
use super::stream::{Block, Start, Wrong};
use crate::sys::poll::{PollFlags, PollSet};
use crate::sys::socket::{self, Connected, Mode, Received, Sent};
use crate::sys::{Call, Errno};
use anyhow::{anyhow, bail};
use std::fmt;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::time::Duration;

/// How long a connection may take to be established.
const CONNECT: Duration = Duration::from_secs(10);

/// What one connection knows.
pub(super) struct Connection {
    /// `None` once it is lost.
    socket: Option<OwnedFd>,
    start: Start,
    /// Bytes of all requests that were begun; how many of them were sent; how many came back.
    asked: u64,
    sent: u64,
    received: u64,
    /// When the request under way was begun, in nanoseconds since the engine's start.
    pub(super) asked_at: Option<u64>,
    /// Whether that was while the clock ran.
    pub(super) asked_on_clock: bool,
    /// Requests answered while the clock ran.
    pub(super) answered: u64,
}

impl Connection {
    pub(super) fn new(socket: OwnedFd, start: Start) -> Connection {
        Connection {
            socket: Some(socket),
            start,
            asked: 0,
            sent: 0,
            received: 0,
            asked_at: None,
            asked_on_clock: false,
            answered: 0,
        }
    }

    /// Whether it is not lost.
    #[inline]
    pub(super) fn lives(&self) -> bool {
        self.socket.is_some()
    }

    /// Bytes of an answer that have not come.
    #[inline]
    pub(super) fn missing(&self) -> u64 {
        self.asked - self.received
    }

    /// Begin a request.
    #[inline]
    pub(super) fn ask(&mut self, block: &Block, size: u64, now: u64, on_clock: bool) -> Result<(), Trouble> {
        self.asked += size;
        self.asked_at = Some(now);
        self.asked_on_clock = on_clock;
        self.send(block)
    }

    /// Send what has been asked and not sent, as far as the kernel takes it.
    #[inline]
    pub(super) fn send(&mut self, block: &Block) -> Result<(), Trouble> {
        let Some(socket) = &self.socket else { return Ok(()) };
        while self.sent < self.asked {
            match socket::send(socket, block.piece(self.start, self.sent, self.asked - self.sent)) {
                Ok(Sent::Bytes(n)) => self.sent += n as u64,
                Ok(Sent::NotNow) => return Ok(()),
                Err(error) => return Err(Trouble::Failed(error)),
            }
        }
        Ok(())
    }

    /// Take and check what has arrived: until a read comes back short, and if `dry` until nothing is
    /// left, because no further edge would announce it.
    #[inline]
    pub(super) fn receive(&mut self, block: &Block, buffer: &mut [u8], dry: bool) -> Result<(), Trouble> {
        let Some(socket) = &self.socket else { return Ok(()) };
        loop {
            let bytes = match socket::recv(socket, buffer) {
                Ok(Received::Bytes(n)) => &buffer[..n],
                Ok(Received::NotNow) => return Ok(()),
                Ok(Received::End) => return Err(Trouble::Closed { missing: self.missing() }),
                Err(error) => return Err(Trouble::Failed(error)),
            };
            let known = (self.sent - self.received).min(bytes.len() as u64) as usize;
            if let Some(wrong) = block.differs(self.start, self.received, &bytes[..known]) {
                return Err(Trouble::Wrong(wrong));
            }
            if known < bytes.len() {
                return Err(Trouble::TooMuch { bytes: bytes.len() - known });
            }
            self.received += known as u64;
            if known < buffer.len() && !dry {
                return Ok(());
            }
        }
    }

    /// Close it for good. Whether a request was under way.
    pub(super) fn give_up(&mut self) -> bool {
        self.socket = None;
        self.asked = self.received;
        self.asked_at.take().is_some()
    }
}

/// Why a connection is lost.
#[derive(Debug)]
pub(super) enum Trouble {
    Closed { missing: u64 },
    Failed(crate::Error),
    Wrong(Wrong),
    TooMuch { bytes: usize },
    Silent { missing: u64, patience: Duration },
    Slow { missing: u64 },
    NotOpened,
}

impl Trouble {
    /// Bytes that came back and were not those that had been sent.
    pub(super) fn wrong_bytes(&self) -> u64 {
        match self {
            Trouble::Wrong(wrong) => wrong.bytes,
            Trouble::TooMuch { bytes } => *bytes as u64,
            _ => 0,
        }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Trouble::Closed { missing: 0 } => write!(f, "the server closed it between two requests"),
            Trouble::Closed { missing } => {
                write!(f, "the server closed it with {missing} bytes of an answer missing")
            }
            Trouble::Failed(error) => write!(f, "{error}"),
            Trouble::Wrong(Wrong { position, expected, got, bytes }) => write!(
                f,
                "byte {position} came back as 0x{got:02x}, 0x{expected:02x} was sent ({bytes} wrong in this \
                 piece); is it an echo server?"
            ),
            Trouble::TooMuch { bytes } => write!(f, "{bytes} bytes came back that had not been sent"),
            Trouble::Silent { missing, patience } => write!(
                f,
                "no answer within {patience:?} ({missing} bytes missing); is it too slow for --timeout, or: \
                 does the server serve several clients at once?"
            ),
            Trouble::Slow { missing } => write!(
                f,
                "not answered in full after {} s ({missing} bytes missing)",
                LONGEST_DRAIN.as_secs()
            ),
            Trouble::NotOpened => write!(f, "not used, because others had no answer"),
        }
    }
}

/// A connection that will be reset when it is closed, so that its port does not stay in TIME_WAIT;
/// `None` when `stop` became readable first.
pub(super) fn connect(target: SocketAddr, stop: Option<BorrowedFd<'_>>) -> anyhow::Result<Option<OwnedFd>> {
    let socket = socket::tcp(&target, Mode::Nonblocking)?;
    let mut result = socket::connect(&socket, &target);
    if let Ok(Connected::Pending) = result {
        let mut set = PollSet::new();
        set.push(&socket, PollFlags::POLLOUT);
        let stop = stop.map(|stop| set.push(stop, PollFlags::POLLIN));
        if set.wait(Some(CONNECT))? == 0 {
            bail!(
                "no answer within {} s; is the address right, and the server's listen queue not full?",
                CONNECT.as_secs()
            );
        }
        if stop.is_some_and(|slot| !set.revents(slot).is_empty()) {
            return Ok(None);
        }
        result = match socket::take_error(&socket)? {
            None => Ok(Connected::Yes),
            Some(source) => {
                Err(crate::Error::Call { call: Call::Connect, fd: Some(socket.as_raw_fd()), source })
            }
        };
    }
    result.map_err(|error| match error.errno() {
        Some(Errno::ECONNREFUSED) => anyhow!("{error}; nobody listens there: is the server running?"),
        Some(Errno::EADDRNOTAVAIL) => anyhow!(
            "{error}; all local ports towards it are in use: see net.ipv4.ip_local_port_range, or open fewer"
        ),
        _ => anyhow!(error),
    })?;
    socket::set_nodelay(&socket, true)?;
    socket::set_reset_on_close(&socket)?;
    Ok(Some(socket))
}
