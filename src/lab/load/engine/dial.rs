//! How connections are begun, and what happens when one cannot be, or breaks.
//!
//! Connections that stay ([`Plan::requests_per_conn`](crate::lab::load::plan::Plan) is `None`) are opened before the load
//! begins: what cannot be opened ends the run, what breaks is lost. Connections that come and go are opened again all the
//! time. So when one of them is refused because the server restarts, or finds no free local port, it is tried again a
//! little later; its requests wait meanwhile, and their latency says so.

use super::{Engine, Pace, record_of};
use crate::lab::load::connection::State;
use crate::lab::load::trouble::Trouble;
use crate::lab::load::wire::Wire;
use crate::sys::socket::{self, Mode};
use crate::sys::sockopt;
use crate::sys::{Call, Errno};
use crate::{Error, Result};
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::time::Duration;

/// How long after a failed connect(2) the next is tried.
const RETRY: Duration = Duration::from_millis(10);

/// A slot is lost after this many broken connections in a row, without one in between that served all its requests. A
/// server that restarts does not break so many.
const MOST_BROKEN: u32 = 10;

#[expect(private_bounds, reason = "the two wires are all there are")]
impl<W: Wire> Engine<W> {
    /// Begin a connection.
    pub(super) fn dial(&mut self, slot: usize, now: u64) {
        self.connections[slot].begin();
        self.connections[slot].connect_began = now;
        for attempt in 1.. {
            let begun = self.socket().and_then(|socket| self.wire.connect(slot, socket, &self.plan.target));
            let Err(error) = begun else { return };
            // No port of this address is left; another one may have some.
            if !is_out_of_ports(&error) || attempt >= self.plan.sources.len() {
                return self.not_connected(slot, error);
            }
        }
    }

    /// A socket for the next connection, with its own address.
    fn socket(&mut self) -> Result<OwnedFd> {
        let socket = socket::tcp(&self.plan.target, Mode::Nonblocking)?;
        let sources = &self.plan.sources;
        self.dialled += 1;
        if !sources.is_empty() {
            let source = SocketAddr::new(sources[self.dialled % sources.len()], 0);
            sockopt::set_bind_address_no_port(&socket, true)?;
            socket::bind(&socket, &source)?;
        }
        sockopt::set_nodelay(&socket, true)?;
        Ok(socket)
    }

    /// The connection is established: its requests can be sent.
    pub(super) fn connected(&mut self, slot: usize) {
        if self.may_meet_itself && self.wire.is_connected_to_itself(slot) {
            // Nobody listens. What we sent would come back from ourselves, and every byte of it would be right.
            self.wire.close(slot);
            let refused = Error::Call { call: Call::Connect, fd: None, source: Errno::ECONNREFUSED };
            return self.not_connected(slot, refused);
        }
        let now = self.now();
        self.has_connected = true;
        let connection = &mut self.connections[slot];
        for intended in connection.established(now) {
            if let Some(record) = record_of(&self.window, &mut self.record, &mut self.older, intended) {
                record.counts.sent += 1;
            }
        }
        if self.clock.is_some() {
            self.record.counts.opened += 1;
            self.record.connect.saturating_record(now - self.connections[slot].connect_began);
        }
        self.send(slot);
    }

    fn comes_and_goes(&self, slot: usize) -> bool {
        self.plan.requests_per_conn.is_some() && self.active.contains(&slot) && !self.stopped
    }

    /// A connection could not be opened. It is tried again where connections come and go, unless there never was one.
    pub(super) fn not_connected(&mut self, slot: usize, error: Error) {
        let port = is_out_of_ports(&error);
        let refused = self.has_connected && is_refusal(&error);
        if !self.comes_and_goes(slot) || !(port || refused) {
            return self.lose(slot, &Trouble::NotConnected(error));
        }
        self.wait_to_dial(slot, port);
    }

    /// Try a connection again in a moment. Its requests stay.
    fn wait_to_dial(&mut self, slot: usize, port: bool) {
        if self.clock.is_some() {
            self.record.counts.refused += u64::from(!port);
            self.record.counts.without_port += u64::from(port);
        }
        self.wire.close(slot);
        self.connections[slot].send_again(State::Waiting { port });
        self.waiting.push_back((self.after(RETRY), slot));
    }

    /// Try the connections again whose time has come.
    #[cold]
    pub(super) fn dial_again(&mut self, now: u64) {
        while let Some(&(due, slot)) = self.waiting.front()
            && due <= now
        {
            self.waiting.pop_front();
            if matches!(self.connections[slot].state, State::Waiting { .. }) {
                self.dial(slot, now);
            }
        }
    }

    /// The load is over: stop waiting for local ports. The requests that waited for one were not sent.
    pub(super) fn wait_for_no_port(&mut self) {
        for slot in self.active.clone() {
            if self.connections[slot].state == (State::Waiting { port: true }) {
                self.give_up(slot, State::Closed);
            }
        }
    }

    /// The server has closed or reset a connection, or its socket has failed.
    pub(super) fn broken(&mut self, slot: usize, trouble: &Trouble) {
        if !self.comes_and_goes(slot) || self.connections[slot].broken >= MOST_BROKEN {
            return self.lose(slot, trouble);
        }
        self.connections[slot].broken += 1;
        // A server that ends resets the connections that it has not accepted yet.
        let is_reset = matches!(trouble, Trouble::Failed(error) if error.errno() == Some(Errno::ECONNRESET));
        if is_reset && self.connections[slot].has_had_nothing() {
            return self.wait_to_dial(slot, false);
        }
        if !std::mem::replace(&mut self.connections[slot].reported, true) {
            self.report_lost(slot, trouble);
        }
        self.give_up(slot, State::Closed);
        self.connections[slot].left = self.plan.requests_per_conn.map_or(u64::MAX, u64::from);
        match self.pace {
            Pace::Closed => self.ask_again(slot, self.plan.depth, self.now()),
            Pace::Open(_) => self.set_free(slot),
            Pace::Still => {}
        }
    }
}

/// Whether connect(2) found no local port. bind(2) gives the same errno for an address that is not ours.
fn is_out_of_ports(error: &Error) -> bool {
    matches!(error, Error::Call { call: Call::Connect, source: Errno::EADDRNOTAVAIL, .. })
}

/// Whether nobody took the connection, which may be different a moment later.
fn is_refusal(error: &Error) -> bool {
    matches!(
        error.errno(),
        Some(Errno::ECONNREFUSED | Errno::ECONNRESET | Errno::ECONNABORTED | Errno::ETIMEDOUT)
    )
}

#[cfg(test)]
mod tests {
    use super::super::ALONE;
    use super::*;
    use crate::lab::load::plan::{Expect, Payload, Plan, Sizes, Wait};
    use crate::lab::load::trouble::Kind;
    use crate::lab::load::wire::epoll::EpollWire;
    use std::io::{ErrorKind, Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
    use std::thread::{self, JoinHandle};
    use std::time::Instant;

    /// How long anything may take before a test gives up.
    const DEADLINE: Duration = Duration::from_secs(30);

    /// An echo server with one client at a time.
    struct Server {
        addr: SocketAddr,
        over: Arc<AtomicBool>,
        thread: Option<JoinHandle<()>>,
    }

    impl Server {
        fn start(addr: SocketAddr) -> Server {
            let listener = TcpListener::bind(addr).unwrap();
            let (addr, over) = (listener.local_addr().unwrap(), Arc::new(AtomicBool::new(false)));
            let end = Arc::clone(&over);
            let thread = thread::spawn(move || {
                for client in listener.incoming() {
                    let mut client = client.unwrap();
                    let mut buffer = [0; 1024];
                    // So that the end does not have to wait for a client.
                    client.set_read_timeout(Some(Duration::from_millis(10))).unwrap();
                    while !end.load(SeqCst) {
                        match client.read(&mut buffer) {
                            Ok(n @ 1..) if client.write_all(&buffer[..n]).is_ok() => {}
                            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                            _ => break,
                        }
                    }
                    if end.load(SeqCst) {
                        return;
                    }
                }
            });
            Server { addr, over, thread: Some(thread) }
        }

        fn end(mut self) {
            self.over.store(true, SeqCst);
            TcpStream::connect(self.addr).ok(); // To wake it from accept.
            self.thread.take().into_iter().for_each(|thread| thread.join().unwrap());
        }
    }

    fn plan(target: SocketAddr) -> Plan {
        Plan {
            target,
            active: 2,
            idle: 0,
            sizes: Sizes::Fixed(64),
            payload: Payload::Random,
            expect: Expect::Echo,
            seed: 1,
            patience: DEADLINE,
            depth: 1,
            requests_per_conn: Some(1),
            sources: Vec::new(),
            wait: Wait::Sleep,
        }
    }

    #[track_caller]
    fn until<W: Wire>(engine: &mut Engine<W>, what: &str, enough: impl Fn(&Engine<W>) -> bool) {
        let end = Instant::now() + DEADLINE;
        while !enough(engine) {
            assert!(Instant::now() < end, "not within {DEADLINE:?}: {what}: {engine:?}, {:?}", engine.lost());
            engine.run(engine.now() + 10_000_000).unwrap();
        }
    }

    fn goes_on_when_the_server_is_back<W: Wire>() {
        let server = Server::start("127.0.0.1:0".parse().unwrap());
        let addr = server.addr;
        let mut engine = Engine::<W>::open(&plan(addr), ALONE, None).unwrap();
        engine.begin(Pace::Closed);
        engine.start_clock(engine.now());
        until(&mut engine, "some answers", |engine| engine.record().counts.answered > 10);
        server.end();
        until(&mut engine, "refusals", |engine| engine.record().counts.refused > 2);
        let server = Server::start(addr);
        let before = engine.record().counts.answered;
        until(&mut engine, "answers again", |engine| engine.record().counts.answered > before + 10);
        engine.stop_clock(engine.now());
        engine.drain().unwrap();
        engine.end().unwrap();
        assert_eq!(engine.wrong_bytes(), 0);
        assert_eq!(engine.under_way(), 0);
        assert!(engine.lost().iter().all(|lost| lost.kind != Kind::Refused), "{:?}", engine.lost());
        server.end();
    }

    #[test]
    fn connections_that_come_and_go_go_on_when_the_server_is_back() {
        goes_on_when_the_server_is_back::<EpollWire>();
    }

    #[cfg(feature = "uring")]
    #[test]
    fn over_io_uring_as_well() {
        if let Some(why) = crate::sys::uring::unavailable() {
            return println!("skipped: {why}");
        }
        goes_on_when_the_server_is_back::<crate::lab::load::wire::uring::UringWire>();
    }

    #[test]
    fn where_there_never_was_a_server_nothing_is_tried_again() {
        let server = Server::start("127.0.0.1:0".parse().unwrap());
        let addr = server.addr;
        server.end();
        let mut engine = Engine::<EpollWire>::open(&plan(addr), ALONE, None).unwrap();
        engine.begin(Pace::Closed);
        until(&mut engine, "both are lost", |engine| engine.lost().len() == 2);
        assert!(!engine.can_go_on());
    }
}
