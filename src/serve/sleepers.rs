//! Threads that wait in accept(2), recv(2) or send(2), and how they are told to stop.
//!
//! What surprised us: such a thread cannot be told. It looks at no descriptor but its own, and a signal that comes just before
//! the call does not interrupt it. What does end these calls is shutdown(2) of the socket that they wait on, and it may come
//! from another thread.

use super::FLUSH_GRACE;
use crate::Result;
use crate::echo::Conn;
use crate::initserver::Listener;
use crate::stop::Stop;
use crate::sys::eventfd::EventFd;
use crate::sys::poll::{PollFlags, PollSet, wait_for};
use crate::sys::socket::{Shutdown, shutdown};
use crate::sys::thread::spawn_scoped;
use std::collections::HashMap;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

/// The sockets that threads wait on.
#[derive(Debug, Default)]
pub struct Sleepers<'a> {
    is_stopping: AtomicBool,
    listener: Option<&'a Listener>,
    sockets: Mutex<HashMap<RawFd, Arc<OwnedFd>>>,
}

impl<'a> Sleepers<'a> {
    /// No sockets.
    #[must_use]
    pub fn new() -> Sleepers<'a> {
        Sleepers::default()
    }

    /// Threads wait in accept(2) for clients of `listener`, and for these clients.
    #[must_use]
    pub fn with_those_at(listener: &'a Listener) -> Sleepers<'a> {
        Sleepers { listener: Some(listener), ..Sleepers::default() }
    }

    /// A thread is about to wait on the socket of this client.
    #[must_use]
    pub fn add(&self, conn: Conn) -> Conn<Arc<OwnedFd>> {
        let socket = Arc::new(conn.into_socket());
        self.lock().insert(socket.as_raw_fd(), Arc::clone(&socket));
        if self.is_stopping() {
            // Perhaps `wake` came too early for this one.
            shutdown(&socket, Shutdown::Read).ok();
        }
        Conn::new(socket)
    }

    /// No thread waits on the socket of this client any more.
    ///
    /// # Panics
    ///
    /// When the connection is not from [`add`](Sleepers::add).
    #[must_use]
    pub fn remove(&self, conn: Conn<Arc<OwnedFd>>) -> Conn {
        self.lock().remove(&conn.as_fd().as_raw_fd());
        conn.map(|socket| Arc::into_inner(socket).expect("only the table had another reference"))
    }

    /// Take back the client with that descriptor, on whose socket no thread waits, and which nobody else has.
    pub(crate) fn take(&self, fd: RawFd) -> Option<Conn> {
        let socket = self.lock().remove(&fd)?;
        Arc::into_inner(socket).map(Conn::new)
    }

    /// Whether the threads have been told to end. After [`shutdown`] Linux still queues what a client sends, so a thread may
    /// never see the end of the stream.
    #[inline]
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        self.is_stopping.load(Relaxed)
    }

    /// End every recv(2) that waits, after what has arrived, and each that comes; and every accept(2), with `EINVAL`.
    pub fn wake(&self) {
        self.is_stopping.store(true, Relaxed);
        self.shut(Shutdown::Read);
        if let Some(listener) = self.listener {
            shutdown(listener, Shutdown::Read).ok();
        }
    }

    /// End every send(2) that waits as well.
    pub fn give_up(&self) {
        self.shut(Shutdown::Both);
    }

    fn shut(&self, how: Shutdown) {
        for socket in self.lock().values() {
            shutdown(socket, how).ok(); // It fails when the client has gone: then nobody waits.
        }
    }

    /// Run `work`, which waits on the sockets of this table, and end these waits when `stop` comes: accept and recv at once, and
    /// a send that the client does not take after [`FLUSH_GRACE`].
    ///
    /// # Errors
    ///
    /// What `work` returns; `EAGAIN` when no thread can be started to wait for the stop.
    pub fn watched<T>(&self, stop: &Stop, work: impl FnOnce() -> Result<T>) -> Result<T> {
        let ended = EventFd::new()?;
        thread::scope(|scope| {
            spawn_scoped(scope, || self.wake_at(stop, &ended))?;
            // The scope waits for the thread, also when `work` panics.
            let _ended = OnDrop(&ended);
            work()
        })
    }

    fn wake_at(&self, stop: &Stop, ended: &EventFd) {
        let mut set = PollSet::new();
        set.push(stop, PollFlags::POLLIN);
        set.push(ended, PollFlags::POLLIN);
        // Each of these can fail only because there is nothing left to wake.
        set.wait(None).ok();
        self.wake();
        if !wait_for(ended, PollFlags::POLLIN, Some(FLUSH_GRACE)).unwrap_or(true) {
            self.give_up();
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<RawFd, Arc<OwnedFd>>> {
        self.sockets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct OnDrop<'a>(&'a EventFd);

impl Drop for OnDrop<'_> {
    fn drop(&mut self) {
        self.0.signal().ok();
    }
}
