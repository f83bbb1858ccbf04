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
use std::os::fd::{AsFd, AsRawFd};

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
    let (mut reading, mut writing) = (BigFdSet::new(), BigFdSet::new());
    let (mut readable, mut writable) = (BigFdSet::new(), BigFdSet::new());
    reading.insert(stop);
    reading.insert(listener_fd);
    let mut acceptor = Acceptor::new(&listener, Mode::Nonblocking);
    let mut conns = ByFd::new();
    let mut writers = 0;
    loop {
        readable.clone_from(&reading);
        writable.clone_from(&writing);
        // A null set costs the kernel nothing, and usually nobody waits to write; then `writable` is empty, and stays so.
        let timeout = acceptor.timeout(pump.handler.observer.idle_timeout());
        let ready = select_big(&mut readable, (writers > 0).then_some(&mut writable), timeout)?;
        if ready == 0 && !acceptor.is_paused() {
            pump.handler.observer.heard_nothing();
        }
        if readable.contains(stop) {
            break;
        }
        if readable.contains(listener_fd) {
            while let Next::Client(conn, peer) = acceptor.next()? {
                pump.welcome(&conn, peer);
                reading.insert(conn.as_fd().as_raw_fd());
                conns.insert(conn);
            }
            if let Some(why) = acceptor.paused() {
                pump.handler.observer.paused(why);
                reading.remove(listener_fd);
            }
        }
        for fd in readable.iter().chain(writable.iter()) {
            let Some(conn) = conns.get(fd) else { continue };
            let was_writing = conn.has_unsent();
            match pump.pump(conn, Until::OneRead) {
                Want::Read | Want::ReadMore if was_writing => {
                    writing.remove(fd);
                    writers -= 1;
                    reading.insert(fd);
                }
                Want::Write if !was_writing => {
                    reading.remove(fd);
                    writing.insert(fd);
                    writers += 1;
                }
                Want::Read | Want::ReadMore | Want::Write => {}
                Want::Close => {
                    reading.remove(fd);
                    writing.remove(fd);
                    writers -= usize::from(was_writing);
                    conns.close(fd);
                    acceptor.client_left();
                }
            }
        }
        if acceptor.resumes() {
            reading.insert(listener_fd);
        }
    }
    let totals = acceptor.totals();
    listener.close();
    finish(pump, conns, totals)
}
