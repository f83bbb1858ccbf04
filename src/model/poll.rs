//! poll(2): the course's `tcppoll`.
//!
//! One array holds who is watched for what. Each call copies all of it into the kernel, which looks
//! at every socket, and the loop then looks at every entry: the cost of a turn grows with the
//! clients that are connected, not with those that talk. (0.7 to 0.8 µs a TCP socket where this was
//! measured: with 9000 silent ones a turn takes 7 ms.) What a client is watched for is a field
//! in the array, so changing it costs nothing.
//!
//! The course's array has 2048 entries, indexed by descriptor, unchecked. This one grows, and is
//! dense: the last entry moves into a hole.
//!
//! Calls a request: recv, send, and a share of one poll.

use crate::Result;
use crate::echo::{Conn, Echo, Until, Want};
use crate::initserver::Listener;
use crate::observer::Observer;
use crate::serve::{Door, Totals};
use crate::stop::Stop;
use crate::sys::fcntl::set_nonblocking;
use crate::sys::poll::{PollFlags, PollSet};
use crate::sys::socket::Mode;

/// The slots of the array: two of ours, then the clients, in the order of `clients`.
const STOP: usize = 0;
const LISTENER: usize = 1;
const FIRST_CLIENT: usize = 2;

/// Serve clients of `listener` with `echo` until `stop`.
///
/// # Errors
///
/// Those of the wait and of the listener. What happens to a client ends that client only.
pub fn serve<O: Observer>(listener: Listener, stop: &Stop, mut echo: Echo<O>) -> Result<Totals> {
    set_nonblocking(&listener)?;
    let mut set = PollSet::new();
    set.push(stop, PollFlags::POLLIN);
    set.push(&listener, PollFlags::POLLIN);
    let mut door = Door::new(listener, Mode::Nonblocking);
    let mut clients: Vec<Conn> = Vec::new();
    loop {
        let mut ready = set.wait(door.timeout(echo.observer.patience()))?;
        if ready == 0 && !door.is_shut() {
            echo.observer.heard_nothing();
        }
        if !set.revents(STOP).is_empty() {
            return door.close(echo, clients);
        }
        ready -= usize::from(!set.revents(LISTENER).is_empty());
        // From the end: the entry that moves into a hole has been looked at already.
        for slot in (FIRST_CLIENT..set.len()).rev() {
            if ready == 0 {
                break;
            }
            if set.revents(slot).is_empty() {
                continue;
            }
            ready -= 1;
            match echo.pump(&mut clients[slot - FIRST_CLIENT], Until::OneRead) {
                Want::Read => set.set_events(slot, PollFlags::POLLIN),
                Want::Write => set.set_events(slot, PollFlags::POLLOUT),
                Want::Close => {
                    set.swap_remove(slot);
                    clients.swap_remove(slot - FIRST_CLIENT).close();
                    door.client_left();
                }
            }
        }
        // After the clients: these entries are new, and nothing is known of them yet.
        if !set.revents(LISTENER).is_empty() {
            while let Some((conn, peer)) = door.accept()? {
                echo.welcome(&conn, peer);
                set.push(&conn, PollFlags::POLLIN);
                clients.push(conn);
            }
            if door.is_shut() {
                echo.observer.full();
                set.set_events(LISTENER, PollFlags::empty());
            }
        }
        if door.reopens() {
            set.set_events(LISTENER, PollFlags::POLLIN);
        }
    }
}
