//! Signal-driven I/O: `O_ASYNC`, `F_SETSIG` and sigtimedwait(2), man 7 signal. From the C10K list.
//!
//! Each socket is armed once. From then on the kernel sends a real-time signal when something changes on it, and `si_fd` is
//! its descriptor. The signals are blocked, so they wait in a queue, and the loop takes one after the other: there is no signal
//! handler, and no set of descriptors is given to the kernel. What surprised us:
//!
//! - A signal tells of a change, as edge-triggered epoll does, so the loop reads until `EAGAIN`, keeps a list of the clients
//!   that are `unfinished`, and looks once at whatever it has just armed. A short read would not prove enough: the end of the
//!   stream has the `si_band` of ordinary bytes.
//! - Every change has a signal of its own, also when the loop has already read the bytes. epoll reports both as one event.
//! - A signal may be stale: the descriptor that it names was closed meanwhile, and the number belongs to another client. So a
//!   signal is only a reason to look. No call here waits, so a look too many does no harm.
//! - The queue has room for `RLIMIT_SIGPENDING` signals. When it is full, the kernel sends SIGIO instead, which names no
//!   descriptor: then the loop looks at everything.
//! - `O_ASYNC` and the receiver of the signals belong to the open file description, which others may share. So the stop pipe is
//!   opened a second time, and the flag is taken back at the end.
//!
//! Beside `epoll_edge.rs`: one signal for each wait where the other has many events, `Look::Everywhere`, and the end, where a
//! signal that is still pending would kill the process.
//!
//! System calls per request: rt_sigtimedwait, recv, send, and a recv that answers `EAGAIN`.

use crate::Result;
use crate::echo::{Conn, Pump, Until, Want};
use crate::observer::Observer;
use crate::serve::{Acceptor, ByFd, Job, Next, Totals, Worker, finish};
use crate::stop::Stop;
use crate::sys::fcntl::set_nonblocking;
use crate::sys::signal::Signal;
use crate::sys::signal_wait::{Blocked, Number, deliver_no_more, deliver_to_this_thread};
use crate::sys::socket::Mode;
use std::collections::VecDeque;
use std::fs::File;
use std::mem;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::time::Duration;

/// Signals taken before the clients that are unfinished have their next turn.
const SIGNALS_IN_A_ROW: u32 = 512;

/// Serve clients until the stop.
///
/// # Errors
///
/// Those of the wait and of the listener. What happens to a client ends that client only.
pub fn serve<O: Observer>(job: Job<'_, O>) -> Result<Totals> {
    // First here, so that it is dropped last: after everything that sends signals.
    let signals = Signals::new()?;
    let pump = job.pump(Worker::ONLY);
    let Job { listener, stop, max_clients, .. } = job;
    set_nonblocking(&listener)?;
    let own_stop = opened_again(stop);
    let own_stop = own_stop.as_ref().map_or(stop.as_fd(), AsFd::as_fd);
    let armed = [Armed::new(own_stop)?, Armed::new(listener.as_fd())?];
    let [stop_fd, listener_fd] = [own_stop.as_raw_fd(), listener.as_fd().as_raw_fd()];
    let acceptor = Acceptor::new(&listener, Mode::Nonblocking).within(max_clients);
    let mut clients = Clients::new(pump, acceptor);
    // No signal tells of what was there before.
    let mut look = Look::Everywhere;
    let mut in_a_row = 0;
    loop {
        match look {
            Look::Everywhere => {
                if stop.is_set()? {
                    break;
                }
                clients.accept()?;
                clients.turn_of_all();
            }
            Look::At(fd) if fd == stop_fd => {
                if stop.is_set()? {
                    break;
                }
            }
            Look::At(fd) if fd == listener_fd => clients.accept()?,
            Look::At(fd) => clients.turn_of(fd),
            Look::Nowhere if clients.has_more() || clients.acceptor.is_paused() => {}
            Look::Nowhere => clients.pump.handler.observer.heard_nothing(),
        }
        in_a_row += 1;
        if look == Look::Nowhere || in_a_row == SIGNALS_IN_A_ROW {
            in_a_row = 0;
            clients.go_on()?;
        }
        let idle = clients.acceptor.timeout(clients.pump.handler.observer.idle_timeout());
        look = signals.wait(if clients.has_more() { Some(Duration::ZERO) } else { idle })?;
    }
    let Clients { pump, acceptor, conns, .. } = clients;
    let totals = acceptor.totals();
    drop(armed);
    listener.close();
    finish(pump, conns, totals)
}

/// Where something may have changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Look {
    At(RawFd),
    Everywhere,
    Nowhere,
}

/// The clients, and what the loop still has to do for them without a signal.
struct Clients<'a, O> {
    pump: Pump<O>,
    acceptor: Acceptor<'a>,
    conns: ByFd,
    unfinished: VecDeque<RawFd>,
    /// Whether the turn of the acceptor ended before its queue was empty.
    is_turn_over: bool,
}

impl<'a, O: Observer> Clients<'a, O> {
    fn new(pump: Pump<O>, acceptor: Acceptor<'a>) -> Clients<'a, O> {
        Clients { pump, acceptor, conns: ByFd::new(), unfinished: VecDeque::new(), is_turn_over: false }
    }

    /// Whether there is something to do of which no signal tells.
    fn has_more(&self) -> bool {
        self.is_turn_over || !self.unfinished.is_empty()
    }

    /// Do that.
    fn go_on(&mut self) -> Result<()> {
        for _ in 0..self.unfinished.len() {
            if let Some(fd) = self.unfinished.pop_front() {
                self.pump(fd);
            }
        }
        // Clients that came during the pause have sent their signals already.
        if self.acceptor.resumes() || mem::take(&mut self.is_turn_over) { self.accept() } else { Ok(()) }
    }

    /// Accept those who wait, except in a pause, during which signals of the listener still come.
    fn accept(&mut self) -> Result<()> {
        if self.acceptor.is_paused() {
            return Ok(());
        }
        loop {
            match self.acceptor.next()? {
                Next::Client(conn, peer) => self.welcome(conn, peer),
                Next::Empty | Next::Paused => break,
                Next::TurnOver => {
                    self.is_turn_over = true;
                    break;
                }
            }
        }
        if let Some(why) = self.acceptor.paused() {
            self.pump.handler.observer.paused(why);
        }
        Ok(())
    }

    fn welcome(&mut self, conn: Conn, peer: SocketAddr) {
        if deliver_to_this_thread(&conn, real_time()).is_err() {
            return self.acceptor.turn_away(conn);
        }
        self.pump.welcome(&conn, peer);
        let fd = conn.as_fd().as_raw_fd();
        self.conns.insert(conn);
        // Its bytes may have come before it was armed.
        self.pump(fd);
    }

    /// The turn of a client, unless it is unfinished: then it has one in `go_on`.
    fn turn_of(&mut self, fd: RawFd) {
        if self.conns.get(fd).is_some_and(|conn| !conn.is_unfinished) {
            self.pump(fd);
        }
    }

    fn turn_of_all(&mut self) {
        self.conns.numbers().for_each(|fd| self.turn_of(fd));
    }

    fn pump(&mut self, fd: RawFd) {
        let Some(conn) = self.conns.get(fd) else { return };
        let want = self.pump.pump(conn, Until::Dry);
        conn.is_unfinished = want == Want::ReadMore;
        match want {
            Want::Read | Want::Write => {}
            Want::ReadMore => self.unfinished.push_back(fd),
            Want::Close => {
                self.conns.close(fd);
                self.acceptor.client_left();
            }
        }
    }
}

/// The signals of this model. They stay blocked until this is dropped, and those that are still pending then are taken: each would
/// kill the process when the old signal mask comes back.
struct Signals(Blocked);

impl Signals {
    fn new() -> Result<Signals> {
        Blocked::new(&[real_time(), Signal::SIGIO.into()]).map(Signals)
    }

    /// Where to look after the next signal, or after `timeout`.
    fn wait(&self, timeout: Option<Duration>) -> Result<Look> {
        Ok(match self.0.wait(timeout)? {
            None => Look::Nowhere,
            Some(came) if came.signal == real_time() => Look::At(came.fd),
            Some(_) => Look::Everywhere,
        })
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        while let Ok(Some(_)) = self.0.wait(Some(Duration::ZERO)) {}
    }
}

/// A descriptor that sends signals until this is dropped. Closing would not do here: others may have a copy.
struct Armed<'a>(BorrowedFd<'a>);

impl<'a> Armed<'a> {
    fn new(fd: BorrowedFd<'a>) -> Result<Armed<'a>> {
        deliver_to_this_thread(fd, real_time())?;
        Ok(Armed(fd))
    }
}

impl Drop for Armed<'_> {
    fn drop(&mut self) {
        deliver_no_more(self.0).ok();
    }
}

/// The same pipe, with an open file description of its own. `None` without /proc: then, of several loops with one stop, only
/// the last that was started is told.
fn opened_again(stop: &Stop) -> Option<File> {
    File::open(format!("/proc/self/fd/{}", stop.as_fd().as_raw_fd())).ok()
}

fn real_time() -> Number {
    Number::real_time(0).expect("SIGRTMIN is a real-time signal")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::echo::Reply;
    use crate::initserver::{Listener, initserver};
    use crate::observer::Notices;
    use crate::stop::{self, Stopper};
    use crate::sys::fcntl::duplicate;
    use crate::sys::socket::{Shutdown, shutdown};
    use nix::fcntl::{FcntlArg, OFlag, fcntl};
    use std::io::{Read, Write};
    use std::net::TcpStream;
    use std::os::fd::OwnedFd;
    use std::sync::Arc;
    use std::sync::mpsc::{self, Receiver};
    use std::thread;

    fn listener() -> Listener {
        initserver("127.0.0.1:0".parse().unwrap()).unwrap()
    }

    /// What the loop returns, which runs in a thread of its own.
    fn started(run: impl FnOnce() -> Result<Totals> + Send + 'static) -> Receiver<Result<Totals>> {
        let (returned, returns) = mpsc::channel();
        thread::spawn(move || returned.send(run()));
        returns
    }

    fn ended(returns: &Receiver<Result<Totals>>) -> Result<Totals> {
        returns.recv_timeout(Duration::from_secs(10)).expect("the loop ends within 10 s")
    }

    fn sends_signals(fd: impl AsFd) -> bool {
        OFlag::from_bits_retain(fcntl(fd, FcntlArg::F_GETFL).unwrap()).contains(OFlag::O_ASYNC)
    }

    #[test]
    fn two_loops_with_one_stop_both_serve_and_both_end() {
        let (stopper, stop) = stop::pair().unwrap();
        let stop = Arc::new(stop);
        let loops = [listener(), listener()].map(|listener| {
            let (stop, addr) = (Arc::clone(&stop), listener.addr());
            let returns = started(move || serve(Job::new(listener, &stop, Reply::Echo)));
            let mut client = TcpStream::connect(addr).unwrap();
            client.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
            client.write_all(b"hello").unwrap();
            client.read_exact(&mut [0; 5]).expect("an answer within 10 s");
            returns
        });
        stopper.stop().unwrap();
        for returns in loops {
            assert_eq!(ended(&returns).unwrap().connections, 1);
        }
    }

    /// More than the acceptor takes in a row, and no signal tells of any of them.
    #[test]
    fn clients_that_came_before_the_loop_began_are_all_served() {
        let (stopper, stop) = stop::pair().unwrap();
        let listener = listener();
        let mut clients: Vec<_> = (0..260).map(|_| TcpStream::connect(listener.addr()).unwrap()).collect();
        let returns = started(move || serve(Job::new(listener, &stop, Reply::Echo)));
        for client in &mut clients {
            client.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
            client.write_all(b"hello").unwrap();
            client.read_exact(&mut [0; 5]).expect("an answer within 10 s");
        }
        stopper.stop().unwrap();
        assert_eq!(ended(&returns).unwrap().connections, 260);
    }

    #[test]
    fn a_stop_that_came_before_and_one_by_dropping_the_stopper_end_the_loop() {
        for end in [|stopper: Stopper| stopper.stop().unwrap(), drop] {
            let (stopper, stop) = stop::pair().unwrap();
            end(stopper);
            let returns = started(move || serve(Job::new(listener(), &stop, Reply::Echo)));
            assert_eq!(ended(&returns).unwrap().connections, 0);
        }
    }

    #[test]
    fn nothing_that_others_have_a_copy_of_sends_signals_afterwards() {
        let (stopper, stop) = stop::pair().unwrap();
        let listener = listener();
        let copies = [duplicate(&listener).unwrap(), duplicate(&stop).unwrap()];
        stopper.stop().unwrap();
        ended(&started(move || serve(Job::new(listener, &stop, Reply::Echo)))).unwrap();
        assert!(copies.iter().all(|copy| !sends_signals(copy)));
    }

    /// When a client comes, it talks at once, and the listener is shut down, so that the loop fails while a signal is pending.
    struct Failure {
        client: TcpStream,
        listener: OwnedFd,
    }

    impl Observer for &Failure {
        fn accepted(&mut self, _: RawFd, _: Option<SocketAddr>) {
            (&self.client).write_all(b"hello").unwrap();
            shutdown(&self.listener, Shutdown::Read).unwrap();
        }
    }

    #[test]
    fn a_signal_that_is_pending_when_the_loop_fails_does_not_kill_the_process() {
        let (_stopper, stop) = stop::pair().unwrap();
        let listener = listener();
        let client = TcpStream::connect(listener.addr()).unwrap();
        let failure = Failure { client, listener: duplicate(&listener).unwrap() };
        let returns = started(move || {
            let job: Job<'_, Notices> = Job::new(listener, &stop, Reply::Echo);
            serve(job.observed(&|_| &failure))
        });
        assert!(ended(&returns).is_err());
    }
}
