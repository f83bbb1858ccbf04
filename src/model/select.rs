//! select(2): the course's `tcpselect`.
//!
//! Two bitmaps say who is watched for reading and who for writing. The kernel overwrites them with
//! its answer, so each turn works on copies; and it looks at every socket in them, so that the cost
//! of a turn grows with the clients that are connected.
//!
//! The bitmaps end at descriptor 1023. The course's `FD_SET` beyond that writes into whatever lies
//! behind; here the client that does not fit waits, with its socket in `parked`, until a lower
//! number is free, and meanwhile the door is shut.
//!
//! Calls a request: recv, send, and a share of one pselect6.

use crate::Result;
use crate::echo::{Conn, Echo, Until, Want};
use crate::initserver::Listener;
use crate::observer::Observer;
use crate::serve::{Clients, Door, Totals};
use crate::stop::Stop;
use crate::sys::fcntl::set_nonblocking;
use crate::sys::select::{FdSet, select};
use crate::sys::socket::Mode;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd};

/// Serve clients of `listener` with `echo` until `stop`.
///
/// # Errors
///
/// [`Error::BeyondFdSetSize`](crate::Error::BeyondFdSetSize) when `listener` or `stop` is above
/// 1023; those of the wait and of the listener. What happens to a client ends that client only.
pub fn serve<O: Observer>(listener: Listener, stop: &Stop, mut echo: Echo<O>) -> Result<Totals> {
    set_nonblocking(&listener)?;
    let (stop, listener_fd) = (stop.as_fd().as_raw_fd(), listener.as_fd().as_raw_fd());
    let mut reading = FdSet::new();
    let mut writing = FdSet::new();
    reading.insert(stop)?;
    reading.insert(listener_fd)?;
    let mut door = Door::new(listener, Mode::Nonblocking);
    let mut clients = Clients::new();
    let mut parked: Option<(Conn, SocketAddr)> = None;
    let mut writers = 0;
    loop {
        let (mut readable, mut writable) = (reading, writing);
        // A null set costs the kernel nothing, and usually nobody waits to write; then `writable` is
        // empty, and stays so.
        let timeout = door.timeout(echo.observer.patience());
        let ready = select(&mut readable, (writers > 0).then_some(&mut writable), timeout)?;
        if ready == 0 && !door.is_shut() {
            echo.observer.heard_nothing();
        }
        if readable.contains(stop) {
            return door.close(echo, clients.into_iter().chain(parked.map(|(conn, _)| conn)));
        }
        if readable.contains(listener_fd) {
            while let Some((conn, peer)) = door.accept()? {
                match reading.insert(conn.as_fd().as_raw_fd()) {
                    Ok(()) => {
                        echo.welcome(&conn, peer);
                        clients.insert(conn);
                    }
                    Err(_) => {
                        parked = Some((conn, peer));
                        door.shut();
                    }
                }
            }
            if door.is_shut() {
                echo.observer.full();
                reading.remove(listener_fd);
            }
        }
        for fd in readable.iter().chain(writable.iter()) {
            let Some(conn) = clients.get(fd) else { continue };
            let was_writing = conn.has_unsent();
            match echo.pump(conn, Until::OneRead) {
                Want::Read if was_writing => {
                    writing.remove(fd);
                    writers -= 1;
                    reading.insert(fd)?;
                }
                Want::Write if !was_writing => {
                    reading.remove(fd);
                    writing.insert(fd)?;
                    writers += 1;
                }
                Want::Read | Want::Write => {}
                Want::Close => {
                    reading.remove(fd);
                    writing.remove(fd);
                    writers -= usize::from(was_writing);
                    clients.close(fd);
                    door.client_left();
                }
            }
        }
        if door.reopens() {
            // Only a number that has become free below 1024 lets the parked client in.
            if let Some((mut conn, peer)) = parked.take() {
                let fits = conn.renumber().and_then(|()| reading.insert(conn.as_fd().as_raw_fd()));
                match fits {
                    Ok(()) => {
                        echo.welcome(&conn, peer);
                        clients.insert(conn);
                    }
                    Err(_) => parked = Some((conn, peer)),
                }
            }
            match parked {
                None => reading.insert(listener_fd)?,
                Some(_) => door.shut(),
            }
        }
    }
}
