//! A fixed number of processes, each serving one client after another, blocking calls: UNP chapter 30 design 2, and with a
//! lock around accept, designs 3 and 4.
//!
//! No process is made for a client: the price of `fork` is paid once, before the first client comes. All of them wait in accept(2)
//! on the listener that they have inherited, and the kernel wakes one for each client. There are never more clients than
//! processes: the others wait in the queue of the listener.
//!
//! What must be right, and is wrong in most examples:
//!
//! - A worker that dies takes its one client with it, and nobody else. The parent, which serves nobody, starts another.
//! - The workers wait in accept(2) or recv(2) at the stop. The parent shuts the listener down, which ends every accept, also one
//!   that has not begun; SIGTERM shuts the reading side of the client's socket.
//! - SIGTERM to a single worker ends that worker, and the others accept as before: see
//!   [`hang_up_replaces`](crate::sys::signal::hang_up_replaces).
//!
//! [`serve_with_record_lock`] and [`serve_with_mutex`] let only one worker wait in accept(2), designs 3 and 4: the others wait for a
//! lock. The book does so because accept fails with several waiters on some systems of its time. Linux needs no lock, so these rows
//! show what one costs: a record lock is taken and released by a system call each time, a mutex that nobody waits for by none. A
//! worker holds the lock around accept only, not while it serves. When it dies meanwhile, the kernel gives the lock to another one:
//! that is so with record locks, and with a mutex only when it is robust. At the stop the workers that wait for the lock get it in
//! turn, because each of them finds the listener shut down.
//!
//! System calls per request: recv and send.

use crate::Result;
use crate::echo::Pump;
use crate::initserver::Listener;
use crate::observer::Observer;
use crate::serve::children::until_hang_up;
use crate::serve::workers::in_processes;
use crate::serve::{Acceptor, Job, Next, Totals, Worker, finish};
use crate::sys::Errno;
use crate::sys::fcntl::set_nonblocking;
use crate::sys::lock::{Held, RecordLock, SharedMutex};
use crate::sys::poll::PollSet;
use crate::sys::signal;
use crate::sys::socket::{Mode, Shutdown, shutdown};
use std::os::fd::AsFd;

/// Serve one client in each process until the stop.
///
/// # Errors
///
/// [`Error::Threads`](crate::Error::Threads) in a process with several threads; `EAGAIN` when there are not as many processes.
/// What happens to a client ends that client only.
pub fn serve<O: Observer>(job: Job<'_, O>) -> Result<Totals> {
    serve_in_turns(job, || Ok(None))
}

/// The same with a record lock around accept: fcntl(2) `F_SETLKW`, UNP design 3.
///
/// # Errors
///
/// As [`serve`], and as [`RecordLock::new`].
pub fn serve_with_record_lock<O: Observer>(job: Job<'_, O>) -> Result<Totals> {
    let lock = RecordLock::new()?;
    serve_in_turns(job, || lock.lock().map(Some))
}

/// The same with a robust mutex in shared memory around accept: pthread_mutex_lock(3), UNP design 4.
///
/// # Errors
///
/// As [`serve`], and as [`SharedMutex::new`].
pub fn serve_with_mutex<O: Observer>(job: Job<'_, O>) -> Result<Totals> {
    let mutex = SharedMutex::new()?;
    serve_in_turns(job, || mutex.lock().map(Some))
}

/// `turn` waits until a worker may accept, which it may until it drops what it got.
fn serve_in_turns<'lock, O: Observer>(
    job: Job<'_, O>,
    turn: impl Fn() -> Result<Option<Held<'lock>>>,
) -> Result<Totals> {
    let observer = (job.observe)(Worker::ONLY);
    let Job { ref listener, stop, workers, .. } = job;
    let at_stop = || drop(shutdown(listener, Shutdown::Read));
    let totals = in_processes(workers, stop, observer, at_stop, |worker, traffic| {
        one_after_another(job.pump(worker).publishing_to(Some(traffic)), listener, turn)
    })?;
    job.listener.close();
    Ok(totals)
}

/// The life of a worker.
fn one_after_another<'lock, O: Observer>(
    mut pump: Pump<O>,
    listener: &Listener,
    turn: impl Fn() -> Result<Option<Held<'lock>>>,
) -> Result<Totals> {
    let mut acceptor = Acceptor::new(listener, Mode::Blocking);
    let mut last = None;
    signal::hang_up_replaces(listener.as_fd());
    while last.is_none() && signal::hung_up().is_none() {
        let held = turn()?;
        let next = acceptor.next();
        drop(held);
        match next {
            Ok(Next::Client(conn, peer)) => {
                pump.welcome(&conn, peer);
                last = until_hang_up(&mut pump, conn);
            }
            _ if signal::hung_up().is_some() => break,
            // The parent has shut the listener down, and SIGTERM is on its way.
            Err(error) if error.errno() == Some(Errno::EINVAL) => break,
            Ok(Next::Paused) => {
                acceptor.paused().into_iter().for_each(|why| pump.handler.observer.paused(why));
                PollSet::new().wait(acceptor.timeout(None))?;
                acceptor.resumes();
            }
            Ok(Next::Empty | Next::TurnOver) => {}
            Err(error) => return Err(error),
        }
    }
    last.iter().try_for_each(set_nonblocking)?;
    finish(pump, last, acceptor.totals())
}
