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
use crate::echo::{Conn, Pump, Until, Want};
use crate::initserver::Listener;
use crate::observer::Observer;
use crate::serve::{Acceptor, Job, Next, Sleepers, Totals, Worker, finish};
use crate::stop::Stop;
use crate::sys::fcntl::set_nonblocking;
use crate::sys::socket::Mode;

/// Serve one client after another until the stop.
///
/// # Errors
///
/// Those of the listener; `EAGAIN` when there is no thread to wait for the stop. What happens to a client ends that client
/// only.
pub fn serve<O: Observer>(job: Job<'_, O>) -> Result<Totals> {
    let pump = job.pump(Worker::ONLY);
    let Job { listener, stop, .. } = job;
    let sleepers = Sleepers::with_those_at(&listener);
    let (pump, last, totals) =
        sleepers.watched(stop, || one_after_another(pump, &listener, stop, &sleepers))?;
    listener.close();
    finish(pump, last, totals)
}

/// The loop. At the stop it returns the client that it was serving.
pub(super) fn one_after_another<O: Observer>(
    mut pump: Pump<O>,
    listener: &Listener,
    stop: &Stop,
    sleepers: &Sleepers<'_>,
) -> Result<(Pump<O>, Option<Conn>, Totals)> {
    let mut acceptor = Acceptor::new(listener, Mode::Blocking);
    let last = loop {
        match acceptor.next() {
            Ok(Next::Client(conn, peer)) => {
                pump.welcome(&conn, peer);
                if let Some(conn) = until_stop(&mut pump, conn, sleepers)? {
                    break Some(conn);
                }
            }
            _ if stop.is_set()? => break None,
            Ok(Next::Paused) => {
                acceptor.paused().into_iter().for_each(|why| pump.handler.observer.paused(why));
                stop.wait(acceptor.timeout(None))?;
                acceptor.resumes();
            }
            Ok(Next::Empty | Next::TurnOver) => {}
            Err(error) => return Err(error),
        }
    };
    Ok((pump, last, acceptor.totals()))
}

/// Serve this client until it leaves. At the stop it comes back instead, to be [finished](finish).
pub(super) fn until_stop<O: Observer>(
    pump: &mut Pump<O>,
    conn: Conn,
    sleepers: &Sleepers<'_>,
) -> Result<Option<Conn>> {
    let mut conn = sleepers.add(conn);
    while pump.pump(&mut conn, Until::OneRead) != Want::Close && !sleepers.is_stopping() {}
    let conn = sleepers.remove(conn);
    if sleepers.is_stopping() {
        set_nonblocking(&conn)?;
        return Ok(Some(conn));
    }
    conn.close();
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::echo::Reply;
    use crate::initserver::initserver;
    use crate::model::prethread;
    use crate::stop;
    use std::io::{Read, Write};
    use std::net::TcpStream;

    /// Whether the client is accepted before the listener is shut down is a matter of luck.
    #[test]
    fn a_client_that_was_accepted_at_the_stop_is_answered() {
        let models: [fn(Job<'_>) -> Result<Totals>; 2] = [serve, prethread::serve];
        for model in models.into_iter().cycle().take(100) {
            let listener = initserver("127.0.0.1:0".parse().unwrap()).unwrap();
            let mut client = TcpStream::connect(listener.addr()).unwrap();
            client.write_all(b"hello").unwrap();
            let (stopper, stop) = stop::pair().unwrap();
            stopper.stop().unwrap();
            let totals = model(Job::new(listener, &stop, Reply::Echo)).unwrap();
            let mut answer = Vec::new();
            let end = client.read_to_end(&mut answer);
            if totals.connections > 0 {
                assert!(end.is_ok() && answer == b"hello", "{end:?} after {answer:?}: {totals:?}");
            }
        }
    }
}
