//! One client at a time, blocking calls: the course's `demo2` and `demo8`, the iterative server of
//! UNP. The simplest: `one_after_another` below is all of it, and the rest of the file ends it.
//!
//! No readiness call, no table, nothing to go wrong; and while one client is being served, or just
//! stays connected and says nothing, all others wait in the queue of the listener.
//!
//! What surprised us: such a server cannot be told to stop. It sits in accept(2) or recv(2), and
//! neither looks at a descriptor beside its own; a signal that comes just before the call is made
//! does not interrupt it. What does end both calls is shutdown(2) of the socket that they wait on,
//! and it may come from another thread. So there is one, which waits for the stop.
//!
//! Calls a request: recv and send.

use crate::Result;
use crate::echo::{Conn, Echo, Until, Want};
use crate::initserver::Listener;
use crate::observer::Observer;
use crate::serve::{Door, FLUSH_GRACE, Totals};
use crate::stop::Stop;
use crate::sys::calls::{self, Counts};
use crate::sys::eventfd::EventFd;
use crate::sys::poll::{PollFlags, PollSet, wait_for};
use crate::sys::socket::{Mode, Shutdown, shutdown};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

/// The client that is being served, for the thread that waits for the stop.
type Current = Mutex<Option<Arc<OwnedFd>>>;

/// Serve clients of `listener` with `echo` until `stop`.
///
/// # Errors
///
/// Those of the listener. What happens to a client ends that client only.
pub fn serve<O: Observer>(listener: Listener, stop: &Stop, echo: Echo<O>) -> Result<Totals> {
    let door = Door::new(listener, Mode::Blocking);
    let to_wake = crate::sys::fcntl::duplicate(&door)?;
    let ended = EventFd::new()?;
    let current = Current::default();
    thread::scope(|scope| {
        let watcher = scope.spawn(|| wake_at_stop(stop, &ended, &to_wake, &current));
        let totals = one_after_another(door, stop, echo, &current);
        ended.signal()?;
        calls::absorb(&watcher.join().unwrap_or_default());
        totals
    })
}

fn one_after_another<O: Observer>(
    mut door: Door,
    stop: &Stop,
    mut echo: Echo<O>,
    current: &Current,
) -> Result<Totals> {
    loop {
        let accepted = door.accept();
        if stop.is_set()? {
            return door.close(echo, accepted.ok().flatten().map(|(conn, _)| conn));
        }
        let Some((conn, peer)) = accepted? else {
            // No descriptor for another client, and none of ours will become free. Or the client has
            // gone before it was accepted.
            if door.is_shut() {
                echo.observer.full();
                stop.wait(door.timeout(None))?;
                door.reopens();
            }
            continue;
        };
        echo.welcome(&conn, peer);
        let client = Arc::new(conn.into_socket());
        set(current, Some(Arc::clone(&client)));
        if stop.is_set()? {
            shutdown(&client, Shutdown::Read).ok(); // It was too early for the thread to do so.
        }
        let mut conn = Conn::new(client.as_fd());
        while echo.pump(&mut conn, Until::OneRead) != Want::Close {}
        set(current, None);
        if let Some(client) = Arc::into_inner(client) {
            crate::sys::close(client);
        }
    }
}

/// At the stop, end what the other thread waits in: accept and recv at once, and a send that the
/// client does not take after a while. Returns the calls that were made for it.
fn wake_at_stop(stop: &Stop, ended: &EventFd, listener: &OwnedFd, current: &Current) -> Counts {
    let mut set = PollSet::new();
    set.push(stop, PollFlags::POLLIN);
    set.push(ended, PollFlags::POLLIN);
    // Each of these can fail only because there is nothing left to wake.
    set.wait(None).ok();
    shutdown(listener, Shutdown::Read).ok();
    for how in [Shutdown::Read, Shutdown::Both] {
        if let Some(client) = current.lock().unwrap_or_else(PoisonError::into_inner).as_ref() {
            shutdown(client, how).ok();
        }
        if wait_for(ended, PollFlags::POLLIN, Some(FLUSH_GRACE)).unwrap_or(true) {
            break;
        }
    }
    calls::counts()
}

fn set(current: &Current, client: Option<Arc<OwnedFd>>) {
    *current.lock().unwrap_or_else(PoisonError::into_inner) = client;
}
