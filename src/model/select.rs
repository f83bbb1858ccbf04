//! select(2): the course's `tcpselect`.
//!
//! Two bitmaps say who is watched for reading and who for writing. The kernel overwrites them with its answer, so each turn
//! works on copies; and it looks at every socket in them, so that the cost of a turn grows with the clients that are connected.
//!
//! The bitmaps end at descriptor 1023. The course's `FD_SET` beyond that writes into whatever lies behind; here the client that
//! does not fit waits in `Parked` until a lower number is free, and meanwhile accepting is paused.
//!
//! System calls per request: recv, send, and one pselect6 for all requests of a turn.

use crate::Result;
use crate::echo::{Conn, Until, Want};
use crate::observer::Observer;
use crate::serve::{Acceptor, ByFd, Job, Next, Paused, Totals, Worker, finish};
use crate::sys::fcntl::set_nonblocking;
use crate::sys::select::{FdSet, select};
use crate::sys::socket::Mode;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, RawFd};

/// Serve clients until the stop.
///
/// # Errors
///
/// [`Error::BeyondFdSetSize`](crate::Error::BeyondFdSetSize) when the listener or the stop is above 1023; those of the wait and
/// of the listener. What happens to a client ends that client only.
pub fn serve<O: Observer>(job: Job<'_, O>) -> Result<Totals> {
    let mut pump = job.pump(Worker::ONLY);
    let Job { listener, stop, max_clients, .. } = job;
    set_nonblocking(&listener)?;
    let (stop, listener_fd) = (stop.as_fd().as_raw_fd(), listener.as_fd().as_raw_fd());
    let mut watched = Watched::reading([stop, listener_fd])?;
    let mut acceptor = Acceptor::new(&listener, Mode::Nonblocking).within(max_clients);
    let mut conns = ByFd::new();
    let mut parked = Parked(None);
    loop {
        let Watched { reading: mut readable, writing: mut writable, writers } = watched;
        let timeout = acceptor.timeout(pump.handler.observer.idle_timeout());
        let ready = select(&mut readable, (writers > 0).then_some(&mut writable), timeout)?;
        if ready == 0 && !acceptor.is_paused() {
            pump.handler.observer.heard_nothing();
        }
        if readable.contains(stop) {
            break;
        }
        if readable.contains(listener_fd) {
            while let Next::Client(conn, peer) = acceptor.next()? {
                if let Some(conn) = parked.unless_watched(conn, peer, &mut watched.reading) {
                    pump.welcome(&conn, peer);
                    conns.insert(conn);
                } else {
                    acceptor.pause(Paused::NotWatchable);
                }
            }
            if let Some(why) = acceptor.paused() {
                pump.handler.observer.paused(why);
                watched.reading.remove(listener_fd);
            }
        }
        for fd in readable.iter().chain(writable.iter()) {
            let Some(conn) = conns.get(fd) else { continue };
            match pump.pump(conn, Until::OneRead) {
                Want::Read | Want::ReadMore => watched.for_reading(fd)?,
                Want::Write => watched.for_writing(fd)?,
                Want::Close => {
                    watched.remove(fd);
                    conns.close(fd);
                    acceptor.client_left();
                }
            }
        }
        if acceptor.resumes() {
            if let Some((conn, peer)) = parked.try_again(&mut watched.reading) {
                pump.welcome(&conn, peer);
                conns.insert(conn);
            }
            match parked.0 {
                None => watched.reading.insert(listener_fd)?,
                Some(_) => acceptor.pause(Paused::NotWatchable),
            }
        }
    }
    let totals = acceptor.totals();
    listener.close();
    finish(pump, conns.into_iter().chain(parked.0.map(|(conn, _)| conn)), totals)
}

/// Who is watched for what.
#[derive(Default, Clone, Copy)]
struct Watched {
    reading: FdSet,
    writing: FdSet,
    /// How many are watched for writing. Usually none: then the kernel gets no such set, which costs nothing.
    writers: usize,
}

impl Watched {
    fn reading(fds: [RawFd; 2]) -> Result<Watched> {
        let mut watched = Watched::default();
        fds.into_iter().try_for_each(|fd| watched.reading.insert(fd))?;
        Ok(watched)
    }

    /// Watch a client for reading again, if it was watched for writing.
    fn for_reading(&mut self, fd: RawFd) -> Result<()> {
        if !self.writing.contains(fd) {
            return Ok(());
        }
        self.remove(fd);
        self.reading.insert(fd)
    }

    /// Watch a client for writing, and not for reading meanwhile.
    fn for_writing(&mut self, fd: RawFd) -> Result<()> {
        self.remove(fd);
        self.writers += 1;
        self.writing.insert(fd)
    }

    fn remove(&mut self, fd: RawFd) {
        self.writers -= usize::from(self.writing.contains(fd));
        self.writing.remove(fd);
        self.reading.remove(fd);
    }
}

/// The client whose descriptor does not fit an `fd_set`, if there is one.
struct Parked(Option<(Conn, SocketAddr)>);

impl Parked {
    /// Watch the client for reading and give it back; or park it.
    fn unless_watched(&mut self, conn: Conn, peer: SocketAddr, reading: &mut FdSet) -> Option<Conn> {
        if reading.insert(conn.as_fd().as_raw_fd()).is_ok() {
            return Some(conn);
        }
        self.0 = Some((conn, peer));
        None
    }

    /// A number below 1024 may have become free: move the client there, and watch it.
    fn try_again(&mut self, reading: &mut FdSet) -> Option<(Conn, SocketAddr)> {
        let (mut conn, peer) = self.0.take()?;
        conn.renumber().ok(); // Without a free number it stays where it is.
        self.unless_watched(conn, peer, reading).map(|conn| (conn, peer))
    }
}
