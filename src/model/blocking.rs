//! One client at a time, blocking calls: the course's `demo2` and `demo8`, the iterative server of UNP.
//!
//! The baseline. No readiness call, no table, nothing to go wrong; and while one client is being served, or just stays connected
//! and says nothing, all others wait in the queue of the listener.
//!
//! Such a server waits in accept(2) or recv(2) and looks at no stop descriptor, so another thread ends these calls when it has
//! to stop: see [`Sleepers`].
//!
//! System calls per request: recv and send.

use crate::Result;
use crate::echo::{Until, Want};
use crate::observer::Observer;
use crate::serve::Totals;
use crate::serve::{Acceptor, Job, Next, Sleepers, Worker, finish};
use crate::sys::fcntl::set_nonblocking;
use crate::sys::socket::Mode;

/// Serve one client after another until the stop.
///
/// # Errors
///
/// Those of the listener; `EAGAIN` when there is no thread to wait for the stop. What happens to a client ends that client
/// only.
pub fn serve<O: Observer>(job: Job<'_, O>) -> Result<Totals> {
    let mut pump = job.pump(Worker::ONLY);
    let Job { listener, stop, .. } = job;
    let sleepers = Sleepers::new();
    let mut acceptor = Acceptor::new(&listener, Mode::Blocking);
    let last = sleepers.watched(stop, &listener, || {
        loop {
            match acceptor.next() {
                _ if stop.is_set()? => return Ok(None),
                Ok(Next::Client(conn, peer)) => {
                    pump.welcome(&conn, peer);
                    let mut conn = sleepers.add(conn);
                    while pump.pump(&mut conn, Until::OneRead) != Want::Close && !sleepers.is_stopping() {}
                    let conn = sleepers.remove(conn);
                    if sleepers.is_stopping() {
                        return Ok(Some(conn));
                    }
                    conn.close();
                }
                Ok(Next::Paused) => {
                    acceptor.paused().into_iter().for_each(|why| pump.handler.observer.paused(why));
                    stop.wait(acceptor.timeout(None))?;
                    acceptor.resumes();
                }
                Ok(Next::Empty | Next::TurnOver) => {}
                Err(error) => return Err(error),
            }
        }
    })?;
    last.iter().try_for_each(set_nonblocking)?;
    let totals = acceptor.totals();
    listener.close();
    finish(pump, last, totals)
}
