//! Non-blocking calls and no readiness call: the course's `tcpepoll1`, gone on with.
//!
//! The loop asks the listener and every client in turn, again and again. Nearly every answer is `EAGAIN`. It answers a single
//! client sooner than any other model, because it never sleeps; it takes a whole processor also when nothing happens, and each
//! client makes all others wait for one more system call.
//!
//! System calls per request: recv and send, and one recv for each client that said nothing, in every turn.

use crate::Result;
use crate::echo::{Conn, Until, Want};
use crate::observer::Observer;
use crate::serve::{Acceptor, Job, Next, Totals, Worker, finish};
use crate::sys::fcntl::set_nonblocking;
use crate::sys::socket::Mode;

/// Serve clients until the stop.
///
/// # Errors
///
/// Those of the listener. What happens to a client ends that client only.
pub fn serve<O: Observer>(job: Job<'_, O>) -> Result<Totals> {
    let mut pump = job.pump(Worker::ONLY);
    let Job { listener, stop, max_clients, .. } = job;
    set_nonblocking(&listener)?;
    let mut acceptor = Acceptor::new(&listener, Mode::Nonblocking).within(max_clients);
    let mut conns: Vec<Conn> = Vec::new();
    while !stop.is_set()? {
        while let Next::Client(conn, peer) = acceptor.next()? {
            pump.welcome(&conn, peer);
            conns.push(conn);
        }
        // From the end, because the last client moves into a hole.
        for i in (0..conns.len()).rev() {
            if pump.pump(&mut conns[i], Until::OneRead) == Want::Close {
                conns.swap_remove(i).close();
                acceptor.client_left();
            }
        }
        if let Some(why) = acceptor.paused() {
            pump.handler.observer.paused(why);
            acceptor.resumes();
        }
    }
    let totals = acceptor.totals();
    listener.close();
    finish(pump, conns, totals)
}
