//! select(2) without the limit of 1024: the raw system call, with bitmaps that grow.
//!
//! The limit of select is the C library's type `fd_set`, not the kernel's, which reads as many bits as `nfds` says. What stays is
//! the cost: each turn copies the bitmaps, and the kernel looks at every socket in them.
//!
//! Beside `select.rs`: the type of the sets, copies that keep their memory, and nobody has to be parked.
//!
//! System calls per request: recv, send, and one pselect6 for all requests of a turn.

use crate::Result;
use crate::echo::{Until, Want};
use crate::observer::Observer;
use crate::serve::{Acceptor, ByFd, Job, Next, Totals, Worker, finish};
use crate::sys::fcntl::set_nonblocking;
use crate::sys::select::{BigFdSet, select_big};
use crate::sys::socket::Mode;
use std::os::fd::{AsFd, AsRawFd, RawFd};

/// Serve clients until the stop.
///
/// # Errors
///
/// Those of the wait and of the listener. What happens to a client ends that client only.
pub fn serve<O: Observer>(job: Job<'_, O>) -> Result<Totals> {
    let mut pump = job.pump(Worker::ONLY);
    let Job { listener, stop, max_clients, .. } = job;
    set_nonblocking(&listener)?;
    let (stop, listener_fd) = (stop.as_fd().as_raw_fd(), listener.as_fd().as_raw_fd());
    let mut watched = Watched::reading([stop, listener_fd]);
    let (mut readable, mut writable) = (BigFdSet::new(), BigFdSet::new());
    let mut acceptor = Acceptor::new(&listener, Mode::Nonblocking).within(max_clients);
    let mut conns = ByFd::new();
    loop {
        readable.clone_from(&watched.reading);
        writable.clone_from(&watched.writing);
        let timeout = acceptor.timeout(pump.handler.observer.idle_timeout());
        let ready = select_big(&mut readable, (watched.writers > 0).then_some(&mut writable), timeout)?;
        if ready == 0 && !acceptor.is_paused() {
            pump.handler.observer.heard_nothing();
        }
        if readable.contains(stop) {
            break;
        }
        if readable.contains(listener_fd) {
            while let Next::Client(conn, peer) = acceptor.next()? {
                pump.welcome(&conn, peer);
                watched.reading.insert(conn.as_fd().as_raw_fd());
                conns.insert(conn);
            }
            if let Some(why) = acceptor.paused() {
                pump.handler.observer.paused(why);
                watched.reading.remove(listener_fd);
            }
        }
        for fd in readable.iter().chain(writable.iter()) {
            let Some(conn) = conns.get(fd) else { continue };
            match pump.pump(conn, Until::OneRead) {
                Want::Read | Want::ReadMore => watched.for_reading(fd),
                Want::Write => watched.for_writing(fd),
                Want::Close => {
                    watched.remove(fd);
                    conns.close(fd);
                    acceptor.client_left();
                }
            }
        }
        if acceptor.resumes() {
            watched.reading.insert(listener_fd);
        }
    }
    let totals = acceptor.totals();
    listener.close();
    finish(pump, conns, totals)
}

/// Who is watched for what.
#[derive(Default)]
struct Watched {
    reading: BigFdSet,
    writing: BigFdSet,
    /// How many are watched for writing. Usually none: then the kernel gets no such set, which costs nothing.
    writers: usize,
}

impl Watched {
    fn reading(fds: [RawFd; 2]) -> Watched {
        let mut watched = Watched::default();
        fds.into_iter().for_each(|fd| watched.reading.insert(fd));
        watched
    }

    /// Watch a client for reading again, if it was watched for writing.
    fn for_reading(&mut self, fd: RawFd) {
        if self.writing.contains(fd) {
            self.remove(fd);
            self.reading.insert(fd);
        }
    }

    /// Watch a client for writing, and not for reading meanwhile.
    fn for_writing(&mut self, fd: RawFd) {
        self.remove(fd);
        self.writers += 1;
        self.writing.insert(fd);
    }

    fn remove(&mut self, fd: RawFd) {
        self.writers -= usize::from(self.writing.contains(fd));
        self.writing.remove(fd);
        self.reading.remove(fd);
    }
}
