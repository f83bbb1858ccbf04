//! A thread for each client, blocking calls: UNP chapter 30 design 6.
//!
//! The thread is the blocking server at its simplest, for one client. It is cheaper to make than a process, and shares memory
//! with the others: what one of them breaks, all have broken. The first thread only accepts.
//!
//! A thread that waits in recv(2) or send(2) sees no stop descriptor. So the sockets on which threads wait are in a table, and at
//! the stop the first thread shuts them down: see [`Sleepers`].
//!
//! System calls per request: recv and send.

use crate::Result;
use crate::echo::{Conn, Pump, Until, Want};
use crate::observer::Observer;
use crate::serve::{Acceptor, FLUSH_GRACE, Job, MaxClients, Paused, Sleepers, Totals, Worker, finish};
use crate::stop::Stop;
use crate::sys::Errno;
use crate::sys::eventfd::EventFd;
use crate::sys::fcntl::set_nonblocking;
use crate::sys::poll::{PollFlags, PollSet};
use crate::sys::socket::Mode;
use crate::sys::thread::spawn_scoped;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

const STOP: usize = 0;
const LISTENER: usize = 1;
const ROOM: usize = 2;

/// Serve each client in a thread until the stop.
///
/// # Errors
///
/// Those of the wait and of the listener; `EMFILE`. What happens to a client ends that client only.
pub fn serve<O: Observer>(job: Job<'_, O>) -> Result<Totals> {
    let mut observer = (job.observe)(Worker::ONLY);
    let Job { listener, stop, reply, piece, max_clients, observe, .. } = job;
    set_nonblocking(&listener)?;
    let clients = Clients::new(max_clients)?;
    let mut totals = thread::scope(|scope| {
        // However the lines below end, the threads have to end before the scope does.
        let _end = AtEnd(&clients);
        let mut acceptor = Acceptor::new(&listener, Mode::Blocking).within(clients.max.clone());
        accept(&mut acceptor, stop, &clients.has_room, &mut observer, |conn, peer| {
            let fd = conn.as_fd().as_raw_fd();
            let conn = clients.sleepers.add(conn);
            let clients = &clients;
            let work = move || clients.serve(conn, peer, Pump::new(reply, piece, observe(Worker::ONLY)));
            clients.count().threads += 1;
            match spawn_scoped(scope, work) {
                Ok(_) => Ok(None),
                Err(error) => {
                    clients.count().threads -= 1;
                    // The socket was in the closure, and is still in the table.
                    let conn = clients.sleepers.take(fd);
                    if error.errno() == Some(Errno::EAGAIN) { Ok(conn) } else { Err(error) }
                }
            }
        })?;
        observer.stopping();
        let totals = acceptor.totals();
        // Before the threads end, which can take a while: clients that come are refused at once.
        listener.close();
        Result::Ok(totals)
    })?;
    totals += clients.count.into_inner().unwrap_or_else(PoisonError::into_inner).totals;
    Ok(totals)
}

/// Accept clients until the stop, and `start` a thread for each. A client for which there is no thread comes back, and waits
/// as one without descriptor does.
fn accept(
    acceptor: &mut Acceptor<'_>,
    stop: &Stop,
    has_room: &EventFd,
    observer: &mut impl Observer,
    mut start: impl FnMut(Conn, SocketAddr) -> Result<Option<Conn>>,
) -> Result<()> {
    let mut set = PollSet::new();
    set.push(stop, PollFlags::POLLIN);
    set.push(acceptor.listener(), PollFlags::POLLIN);
    set.push(has_room, PollFlags::POLLIN);
    let mut parked = None;
    loop {
        set.wait(acceptor.timeout(None))?;
        if !set.revents(STOP).is_empty() {
            return Ok(());
        }
        if !set.revents(ROOM).is_empty() {
            has_room.take()?;
            acceptor.end_pause();
        }
        if acceptor.resumes() || !set.revents(LISTENER).is_empty() {
            while let Some((conn, peer)) = acceptor.next_or(&mut parked)? {
                if let Some(conn) = start(conn, peer)? {
                    parked = Some((conn, peer));
                    acceptor.pause(Paused::NoThread);
                    break;
                }
            }
            let is_watched = if acceptor.is_paused() { PollFlags::empty() } else { PollFlags::POLLIN };
            set.set_events(LISTENER, is_watched);
            acceptor.paused().into_iter().for_each(|why| observer.paused(why));
        }
    }
}

/// The clients that have threads.
struct Clients {
    sleepers: Sleepers<'static>,
    max: MaxClients,
    /// Readable when a client has left, and there were as many as there may be.
    has_room: EventFd,
    count: Mutex<Count>,
    thread_ended: Condvar,
}

#[derive(Default)]
struct Count {
    threads: usize,
    /// Of the clients that have left.
    totals: Totals,
}

impl Clients {
    fn new(max: MaxClients) -> Result<Clients> {
        let (sleepers, count, thread_ended) = (Sleepers::new(), Mutex::default(), Condvar::new());
        Ok(Clients { sleepers, max, has_room: EventFd::new()?, count, thread_ended })
    }

    fn count(&self) -> MutexGuard<'_, Count> {
        self.count.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The life of a thread.
    fn serve<O: Observer>(&self, mut conn: Conn<Arc<OwnedFd>>, peer: SocketAddr, mut pump: Pump<O>) {
        let mut ending = Ending { clients: self, totals: Totals::default() };
        pump.welcome(&conn, peer);
        while pump.pump(&mut conn, Until::OneRead) != Want::Close && !self.sleepers.is_stopping() {}
        let conn = self.sleepers.remove(conn);
        if self.sleepers.is_stopping() && set_nonblocking(&conn).is_ok() {
            ending.totals = finish(pump, [conn], Totals::default()).unwrap_or_default();
        } else {
            conn.close();
            ending.totals = pump.handler.totals();
        }
    }
}

/// A thread that ends, also by a panic.
struct Ending<'a> {
    clients: &'a Clients,
    totals: Totals,
}

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        if self.clients.max.give_back() {
            self.clients.has_room.signal().ok(); // It cannot fail: see there.
        }
        let mut count = self.clients.count();
        count.threads -= 1;
        count.totals += std::mem::take(&mut self.totals);
        self.clients.thread_ended.notify_one();
    }
}

/// Tells the threads to end. A send that a client does not take is ended after [`FLUSH_GRACE`].
struct AtEnd<'a>(&'a Clients);

impl Drop for AtEnd<'_> {
    fn drop(&mut self) {
        let AtEnd(clients) = self;
        clients.sleepers.wake();
        let some_run = |count: &mut Count| count.threads > 0;
        let ended = clients.thread_ended.wait_timeout_while(clients.count(), FLUSH_GRACE, some_run);
        drop(ended);
        clients.sleepers.give_up();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::echo::Reply;
    use crate::initserver::initserver;
    use crate::stop;
    use std::io::{ErrorKind, Write};
    use std::net::TcpStream;
    use std::os::fd::RawFd;
    use std::sync::mpsc::{Sender, channel};
    use std::time::{Duration, Instant};

    const DEADLINE: Duration = Duration::from_secs(10);

    /// Keeps the thread of a client busy for as long as the gate is locked.
    struct Busy<'a>(Sender<()>, &'a Mutex<()>);

    impl Observer for Busy<'_> {
        fn received(&mut self, _: RawFd, _: &[u8]) {
            self.0.send(()).ok();
            drop(self.1.lock());
        }
    }

    #[test]
    fn after_the_stop_nobody_can_connect_while_a_thread_still_serves() {
        let listener = initserver("127.0.0.1:0".parse().unwrap()).unwrap();
        let addr = listener.addr();
        let (stopper, stop) = stop::pair().unwrap();
        let (serving, serves) = channel();
        let gate = Mutex::new(());
        let observe = |_| Busy(serving.clone(), &gate);
        thread::scope(|scope| {
            let closed = gate.lock().unwrap();
            let server = scope.spawn(|| serve(Job::new(listener, &stop, Reply::Echo).observed(&observe)));
            TcpStream::connect(addr).unwrap().write_all(b"hello").unwrap();
            serves.recv_timeout(DEADLINE).expect("not within 10 s: a thread serves the client");
            stopper.stop().unwrap();
            let until = Instant::now() + DEADLINE;
            let is_refused = || {
                let client = TcpStream::connect_timeout(&addr, DEADLINE);
                client.is_err_and(|why| why.kind() == ErrorKind::ConnectionRefused)
            };
            while !is_refused() {
                assert!(Instant::now() < until, "not within 10 s: nobody can connect any more");
                thread::sleep(Duration::from_millis(1));
            }
            drop(closed);
            assert_eq!(server.join().unwrap().unwrap().bytes_in, 5);
        });
    }
}
