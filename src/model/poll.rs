//! poll(2): the course's `tcppoll`.
//!
//! One array holds who is watched for what. Each call copies all of it into the kernel, which looks at every socket, and the
//! loop then looks at every entry: the cost of a turn grows with the clients that are connected, not with those that talk.
//! (`io-models compare` shows it with the workload `idle`.) What a client is watched for is a field in the array, so changing it
//! costs nothing.
//!
//! The course's array has 2048 entries, indexed by descriptor, unchecked. This one grows, and is dense: the last entry moves
//! into a hole.
//!
//! System calls per request: recv, send, and one poll for all requests of a turn.

use crate::Result;
use crate::echo::{Conn, Until, Want};
use crate::observer::Observer;
use crate::serve::{Acceptor, Job, Next, Totals, Worker, finish};
use crate::sys::fcntl::set_nonblocking;
use crate::sys::poll::{PollFlags, PollSet};
use crate::sys::socket::Mode;

/// The slots of the array: two of ours, then the clients, in the order of `conns`.
const STOP: usize = 0;
const LISTENER: usize = 1;
const FIRST_CLIENT: usize = 2;

/// Serve clients until the stop.
///
/// # Errors
///
/// Those of the wait and of the listener. What happens to a client ends that client only.
pub fn serve<O: Observer>(job: Job<'_, O>) -> Result<Totals> {
    let mut pump = job.pump(Worker::ONLY);
    let Job { listener, stop, max_clients, .. } = job;
    set_nonblocking(&listener)?;
    let mut set = PollSet::new();
    set.push(stop, PollFlags::POLLIN);
    set.push(&listener, PollFlags::POLLIN);
    let mut acceptor = Acceptor::new(&listener, Mode::Nonblocking).within(max_clients);
    let mut conns: Vec<Conn> = Vec::new();
    loop {
        let mut ready = set.wait(acceptor.timeout(pump.handler.observer.idle_timeout()))?;
        if ready == 0 && !acceptor.is_paused() {
            pump.handler.observer.heard_nothing();
        }
        if !set.revents(STOP).is_empty() {
            break;
        }
        let clients = set.len() - FIRST_CLIENT;
        if !set.revents(LISTENER).is_empty() {
            ready -= 1;
            while let Next::Client(conn, peer) = acceptor.next()? {
                pump.welcome(&conn, peer);
                set.push(&conn, PollFlags::POLLIN);
                conns.push(conn);
            }
            if let Some(why) = acceptor.paused() {
                pump.handler.observer.paused(why);
                set.set_events(LISTENER, PollFlags::empty());
            }
        }
        // From the end, because the last entry moves into a hole. The entries of new clients are empty.
        for i in (0..clients).rev() {
            if ready == 0 {
                break;
            }
            let slot = FIRST_CLIENT + i;
            if set.revents(slot).is_empty() {
                continue;
            }
            ready -= 1;
            match pump.pump(&mut conns[i], Until::OneRead) {
                Want::Read | Want::ReadMore => set.set_events(slot, PollFlags::POLLIN),
                Want::Write => set.set_events(slot, PollFlags::POLLOUT),
                Want::Close => {
                    set.swap_remove(slot);
                    conns.swap_remove(i).close();
                    acceptor.client_left();
                }
            }
        }
        if acceptor.resumes() {
            set.set_events(LISTENER, PollFlags::POLLIN);
        }
    }
    let totals = acceptor.totals();
    listener.close();
    finish(pump, conns, totals)
}
