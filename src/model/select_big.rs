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
    let Job { listener, stop, .. } = job;
    set_nonblocking(&listener)?;
    let (stop, listener_fd) = (stop.as_fd().as_raw_fd(), listener.as_fd().as_raw_fd());
    let mut watched = Watched::default();
    let (mut readable, mut writable) = (BigFdSet::new(), BigFdSet::new());
    watched.reading.insert(stop);
    watched.reading.insert(listener_fd);
    let mut acceptor = Acceptor::new(&listener, Mode::Nonblocking);
    let mut conns = ByFd::new();
    loop {
        readable.clone_from(&watched.reading);
        writable.clone_from(&watched.writing);
        // A null set costs the kernel nothing, and usually nobody waits to write; then `writable` is empty, and stays so.
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
            let was_writing = conn.has_unsent();
            match pump.pump(conn, Until::OneRead) {
                Want::Close => {
                    watched.remove(fd, was_writing);
                    conns.close(fd);
                    acceptor.client_left();
                }
                want => watched.change(fd, was_writing, want == Want::Write),
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

/// Who is watched for what, and how many for writing.
#[derive(Default)]
struct Watched {
    reading: BigFdSet,
    writing: BigFdSet,
    writers: usize,
}

impl Watched {
    /// Watch a client for reading, or for writing instead, where that changes.
    fn change(&mut self, fd: RawFd, was_writing: bool, writes: bool) {
        if was_writing == writes {
            return;
        }
        self.remove(fd, was_writing);
        self.writers += usize::from(writes);
        let set = if writes { &mut self.writing } else { &mut self.reading };
        set.insert(fd);
    }

    fn remove(&mut self, fd: RawFd, was_writing: bool) {
        self.reading.remove(fd);
        self.writing.remove(fd);
        self.writers -= usize::from(was_writing);
    }
}
