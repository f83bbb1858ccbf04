//! The two ways in which the generator talks to the kernel: epoll(7) and io_uring(7), behind one trait.
//!
//! The engine is compiled once for each, so the trait costs nothing. A generator has to be cheaper than what it
//! measures, or it is itself the limit. io_uring needs one system call for a batch of requests; epoll needs two for each
//! request and one for a batch.

pub(super) mod epoll;
#[cfg(feature = "uring")]
pub(super) mod uring;

use crate::Result;
use crate::sys::socket;
use crate::sys::sockopt;
use std::net::SocketAddr;
use std::ops::Range;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

/// What happened to the connection in a slot.
#[derive(Debug)]
pub(super) enum Event {
    /// It stands.
    Connected { slot: usize },
    /// [`Wire::bytes`] have come.
    Arrived { slot: usize },
    /// The kernel has taken so many bytes more of those that [`Wire::send`] could not finish, and can take others.
    Took { slot: usize, bytes: u64 },
    /// The server will send no more.
    Ended { slot: usize },
    /// It is broken.
    Failed { slot: usize, error: crate::Error },
    /// The stop descriptor is readable.
    Stop,
}

/// A way to talk to the kernel about connections, each in its slot.
pub(super) trait Wire: Sized {
    /// With so many slots, for sending pieces of `source`; an answer has some `answer` bytes.
    fn new(source: Arc<[u8]>, slots: usize, answer: usize, stop: Option<BorrowedFd<'_>>) -> Result<Self>;

    /// Begin a connection. [`Event::Connected`] or [`Event::Failed`] follows, unless it fails at once.
    fn connect(&mut self, slot: usize, socket: OwnedFd, target: &SocketAddr) -> Result<()>;

    /// Whether the connection in this slot is one of a socket with itself. Then closing it is a reset, so that its port,
    /// on which somebody may want to listen, is not in TIME_WAIT.
    fn is_connected_to_itself(&self, slot: usize) -> bool;

    /// Send this piece of the source. `Some` bytes are taken at once; or all of the piece is under way, and
    /// [`Event::Took`] will tell, before which nothing more may be sent.
    fn send(&mut self, slot: usize, piece: Range<usize>) -> Result<Option<usize>>;

    /// Say that no more will be sent (FIN). What comes back is still read, up to [`Event::Ended`].
    fn shutdown(&mut self, slot: usize) -> Result<()>;

    /// Close the connection. No more events come of it.
    fn close(&mut self, slot: usize);

    /// Wait until something happens, or for that long. Whether something did.
    fn wait(&mut self, timeout: Duration) -> Result<bool>;

    /// The next thing that has happened.
    fn next(&mut self) -> Option<Event>;

    /// The bytes of the [`Event::Arrived`] that came last.
    fn bytes(&self) -> &[u8];
}

/// Whether both ends are this socket, which from now on is reset when it is closed.
fn is_connected_to_itself(socket: &OwnedFd) -> bool {
    let itself = socket::is_connected_to_itself(socket).is_ok_and(|itself| itself);
    itself && sockopt::set_reset_on_close(socket).is_ok()
}
