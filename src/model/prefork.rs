//! A fixed number of processes, each serving one client after another, blocking calls: UNP chapter 30 design 2.
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
//!
//! System calls per request: recv and send.

use crate::Result;
use crate::echo::Pump;
use crate::initserver::Listener;
use crate::observer::Observer;
use crate::serve::children::until_hang_up;
use crate::serve::workers::in_processes;
use crate::serve::{Acceptor, Job, Next, Totals, Worker, finish};
use crate::sys::fcntl::set_nonblocking;
use crate::sys::poll::PollSet;
use crate::sys::signal;
use crate::sys::socket::{Mode, Shutdown, shutdown};

/// Serve one client in each process until the stop.
///
/// # Errors
///
/// [`Error::Threads`](crate::Error::Threads) in a process with several threads; `EAGAIN` when there are not as many processes.
/// What happens to a client ends that client only.
pub fn serve<O: Observer>(job: Job<'_, O>) -> Result<Totals> {
    let observer = (job.observe)(Worker::ONLY);
    let Job { ref listener, stop, workers, .. } = job;
    let at_stop = || drop(shutdown(listener, Shutdown::Read));
    let totals = in_processes(workers, stop, observer, at_stop, |worker, traffic| {
        one_after_another(job.pump(worker).publishing_to(Some(traffic)), listener)
    })?;
    job.listener.close();
    Ok(totals)
}

/// The life of a worker.
fn one_after_another<O: Observer>(mut pump: Pump<O>, listener: &Listener) -> Result<Totals> {
    let mut acceptor = Acceptor::new(listener, Mode::Blocking);
    let mut last = None;
    while last.is_none() {
        match acceptor.next() {
            Ok(Next::Client(conn, peer)) => {
                pump.welcome(&conn, peer);
                last = until_hang_up(&mut pump, conn);
            }
            _ if signal::hung_up().is_some() => break,
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
