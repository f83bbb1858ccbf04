//! The clients: they do what the script says, wait until the server sleeps, and read what has come back.

use super::STEADY;
use super::log::{Known, Log, RawWhat};
use super::script::{Act, Bytes, Doing, Script};
use crate::lab::results::check::Expect;
use crate::lab::results::trace::{Action, Answer, Verb};
use crate::stop::Stop;
use crate::sys::Errno;
use crate::sys::socket::{self, Connected, Mode, Received, Sent, Shutdown};
use crate::sys::sockopt;
use anyhow::Context;
use nix::sys::resource::{UsageWho, getrusage};
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

/// How long a server may take until it sleeps. One that has not slept by then never does, or has a lot of work: the script goes on.
const TO_SLEEP: Duration = Duration::from_millis(400);

/// How long such a server has afterwards for what it does about its clients.
const TO_ANSWER: Duration = Duration::from_millis(50);

/// How often the state of the server is looked at.
const LOOK: Duration = Duration::from_millis(1);

/// So many bytes are read with one call.
const BUFFER: usize = 16 << 10;

/// What is large is sent in pieces of so many bytes.
const PIECE: usize = 16 << 10;

/// Bytes of a segment, as over Ethernet.
const ETHERNET: u32 = 1448;

/// The receive buffer of a client, of which the kernel makes twice as much.
const ROOM: usize = 4 << 10;

/// What the clients read in turn: as many rounds as that at most, in one step.
const ROUNDS: usize = 2000;

/// A server, looked at from outside.
pub(super) trait Watched {
    /// Whether none of its threads runs or wants to. `None` where the system does not tell.
    fn sleeps(&self) -> Option<bool>;
    /// A number that changes when a thread of it has run.
    fn turns(&self) -> u64;
}

/// A client.
#[derive(Debug, Default)]
struct Client {
    socket: Option<OwnedFd>,
    /// A connection that does not stand yet.
    is_connecting: bool,
    /// What it sends or has sent.
    sent: Vec<u8>,
    /// So much of it is with the kernel.
    handed: usize,
    /// So many bytes came back.
    got: usize,
    is_wrong: bool,
    half_closes: bool,
    has_ended: bool,
}

/// The clients of one server.
pub(super) struct Clients<'a> {
    server: SocketAddr,
    expect: Expect,
    watched: &'a dyn Watched,
    log: &'a Log,
    stop: &'a Stop,
    clients: Vec<Client>,
    names: &'a [String],
    /// The first step in which the server did not fall asleep.
    awake: Option<usize>,
    was_disturbed: bool,
}

/// How a run of the script ended.
#[derive(Debug)]
pub(super) struct Played {
    pub(super) answers: Vec<Answer>,
    pub(super) was_interrupted: bool,
    /// Another program took the processor while clients did something at once: the server may have seen it in pieces.
    pub(super) was_disturbed: bool,
    /// The first step in which the server did not fall asleep.
    pub(super) awake: Option<usize>,
}

impl<'a> Clients<'a> {
    pub(super) fn new(
        server: SocketAddr,
        script: &'a Script,
        expect: Expect,
        watched: &'a dyn Watched,
        log: &'a Log,
        stop: &'a Stop,
    ) -> Clients<'a> {
        let clients = script.clients.iter().map(|_| Client::default()).collect();
        Clients {
            server,
            expect,
            watched,
            log,
            stop,
            clients,
            names: &script.clients,
            awake: None,
            was_disturbed: false,
        }
    }

    /// Do what the script says.
    pub(super) fn play(&mut self, script: &Script) -> anyhow::Result<Played> {
        let mut was_interrupted = false;
        // What the server does before it sleeps for the first time belongs to its start.
        self.settle()?;
        for (i, acts) in script.actions.iter().enumerate() {
            self.act_at_once(i, acts)?;
            if !self.settle_and_read()? && self.awake.is_none() {
                self.awake = Some(i);
            }
            if self.stop.is_set()? {
                was_interrupted = true;
                break;
            }
        }
        self.log.lock().begin_step(None);
        Ok(Played {
            answers: self.answers(),
            was_interrupted,
            was_disturbed: self.was_disturbed,
            awake: self.awake,
        })
    }

    /// Do what is to be done at once. Whatever the server does about it comes behind it in the log.
    fn act_at_once(&mut self, step: usize, acts: &[Act]) -> anyhow::Result<()> {
        // What takes long was done before the first action, so that nobody takes the processor in between.
        std::thread::sleep(LOOK);
        let log = self.log;
        let mut log = log.lock();
        log.begin_step(Some(step));
        let mut happened = Vec::new();
        let before = preemptions();
        for act in acts {
            happened.extend(self.act(act, &mut log)?);
        }
        self.was_disturbed |= acts.len() > 1 && preemptions() != before;
        for action in happened {
            log.push_with_fills(RawWhat::Client(action));
        }
        Ok(())
    }

    fn act(&mut self, act: &Act, log: &mut Known) -> anyhow::Result<Option<Action>> {
        let client = &mut self.clients[act.client];
        let mut verb = None;
        match (&act.what, &client.socket) {
            (Doing::Connect, _) => {
                let socket = socket::tcp(&self.server, Mode::Nonblocking)?;
                sockopt::set_nodelay(&socket, true)?;
                // Others send by the clock, and then the server does not find the same bytes each time.
                sockopt::set_congestion_control(&socket, STEADY).ok();
                // As over Ethernet, and with little room, so that a large answer fills the buffers: the segments of loopback have 64 KiB.
                sockopt::set_max_segment(&socket, ETHERNET)?;
                sockopt::set_receive_buffer(&socket, ROOM)?;
                let connected = socket::connect(&socket, &self.server).with_context(|| {
                    format!("client {} cannot connect to {}", self.names[act.client], self.server)
                })?;
                log.connected(act.client, socket::local_addr(&socket)?);
                // On loopback the three packets are usually through by now.
                client.is_connecting = connected != Connected::Yes && !is_established(&socket)?;
                verb = (!client.is_connecting).then_some((Verb::Connects, None));
                client.socket = Some(socket);
            }
            (_, None) => {}
            (Doing::Send(bytes), Some(_)) => {
                client.queue(bytes, &self.names[act.client], self.expect);
                verb = client.hand().map(|n| (Verb::Sends, Some(n)));
            }
            (Doing::HalfClose, Some(_)) => {
                client.half_closes = true;
                verb = client.end_if_all_sent().then_some((Verb::HalfCloses, None));
            }
            (Doing::Close, Some(_)) => {
                client.socket = None;
                verb = Some((Verb::Closes, None));
            }
            (Doing::Reset, Some(socket)) => {
                sockopt::set_reset_on_close(socket)?;
                client.socket = None;
                verb = Some((Verb::Resets, None));
            }
        }
        Ok(verb.map(|(verb, bytes)| Action { client: act.client, verb, bytes }))
    }

    /// Until the server sleeps and the clients have sent and read everything. What is large is sent in pieces, and read when the server takes
    /// no more. `false` when the server did not fall asleep.
    fn settle_and_read(&mut self) -> anyhow::Result<bool> {
        let mut has_slept = true;
        for _ in 0..ROUNDS {
            has_slept = self.settle()?;
            if self.stop.is_set()?
                || !(self.for_each(Client::send_more)? || self.for_each(Client::read_all)?)
            {
                break;
            }
        }
        Ok(has_slept)
    }

    /// Until the server sleeps: everything that was sent to it has arrived, or finds no room, and none of its threads has run between two
    /// looks; or for a long time. `false` when it makes calls then.
    fn settle(&self) -> anyhow::Result<bool> {
        // One that never sleeps has had its time.
        let time = if self.awake.is_none() { TO_SLEEP } else { TO_ANSWER };
        let (until, half) = (Instant::now() + time, Instant::now() + time / 2);
        let (mut before, mut at_half) = (None, None);
        loop {
            // An acknowledgement that comes late makes room in a send buffer late.
            self.clients.iter().filter_map(|client| client.socket.as_ref()).for_each(|socket| {
                sockopt::set_quickack(socket, true).ok();
            });
            let sleeps = self.watched.sleeps().unwrap_or(false);
            let sockets = self.clients.iter().filter_map(|client| client.socket.as_ref());
            let under_way: u64 =
                sockets.filter_map(|socket| sockopt::unsent(socket).ok()).map(u64::from).sum();
            let now = (
                self.watched.turns(),
                self.log.lock().happened,
                under_way,
                self.sum(|socket| sockopt::unread(socket)),
            );
            if sleeps && before == Some(now) {
                self.log.lock().settled();
                return Ok(true);
            }
            before = sleeps.then_some(now);
            let (_, happened, ..) = now;
            if Instant::now() > half {
                at_half.get_or_insert(happened);
            }
            if Instant::now() > until {
                // One that makes no call computes, or is stopped.
                return Ok(at_half == Some(happened));
            }
            if self.stop.wait(Some(LOOK))? {
                return Ok(false);
            }
        }
    }

    /// Of the bytes of all clients in one of the queues.
    fn sum(&self, of: impl Fn(&OwnedFd) -> crate::Result<u32>) -> u64 {
        let sockets = self.clients.iter().filter_map(|client| client.socket.as_ref());
        sockets.filter_map(|socket| of(socket).ok()).map(u64::from).sum()
    }

    /// Let each client do something. Whether any of them did.
    fn for_each(
        &mut self,
        mut does: impl FnMut(&mut Client, Expect, Option<bool>) -> anyhow::Result<Vec<(Verb, Option<u64>)>>,
    ) -> anyhow::Result<bool> {
        let (mut any, mut read, before) = (false, 0, preemptions());
        for (i, client) in self.clients.iter_mut().enumerate() {
            let mut log = self.log.lock();
            let is_all_read = log.has_read_all(i);
            for (verb, bytes) in does(client, self.expect, is_all_read)? {
                any = true;
                read += bytes.filter(|_| verb == Verb::Reads).unwrap_or(0);
                log.push_with_fills(RawWhat::Client(Action { client: i, verb, bytes }));
            }
        }
        // What takes several calls is not read at once then.
        self.was_disturbed |= read > BUFFER as u64 && preemptions() != before;
        Ok(any)
    }

    fn answers(&self) -> Vec<Answer> {
        let of = |(i, client): (usize, &Client)| Answer {
            client: i,
            // What was to be sent behind it was never taken.
            sent: client.handed as u64,
            right: client.got as u64,
            is_wrong: client.is_wrong,
        };
        self.clients.iter().enumerate().map(of).collect()
    }
}

/// How often another thread has taken the processor from this one.
fn preemptions() -> i64 {
    getrusage(UsageWho::RUSAGE_THREAD).map_or(0, |usage| usage.involuntary_context_switches())
}

fn is_established(socket: &OwnedFd) -> anyhow::Result<bool> {
    match socket::peer_addr(socket) {
        Ok(_) => Ok(true),
        Err(why) if why.errno() == Some(Errno::ENOTCONN) => match sockopt::take_error(socket)? {
            None => Ok(false),
            Some(why) => Err(anyhow::anyhow!("a client cannot connect: {why}")),
        },
        Err(why) => Err(why.into()),
    }
}

impl Client {
    /// A request. Bytes of our choice can be read, and differ from place to place, so that a lost one shows: `A0000 A0001 …`.
    fn queue(&mut self, bytes: &Bytes, name: &str, expect: Expect) {
        let body = match bytes {
            Bytes::These(these) => these.clone(),
            Bytes::Some(n) => {
                let mut text: Vec<u8> = Vec::with_capacity(n + 16);
                let mut word = self.sent.len();
                while text.len() < *n {
                    text.extend(format!("{name}{word} ").bytes());
                    word += 1;
                }
                text.truncate(*n);
                // For servers of lines.
                text.pop();
                text.push(b'\n');
                text
            }
        };
        if expect == Expect::Framed {
            self.sent.extend((body.len() as u32).to_be_bytes());
        }
        self.sent.extend(body);
    }

    /// Hand the next piece of what is left to the kernel, as far as it takes it. How much that was.
    fn hand(&mut self) -> Option<u64> {
        let socket = self.socket.as_ref().filter(|_| !self.is_connecting)?;
        let end = self.sent.len().min(self.handed + PIECE);
        match socket::send(socket, &self.sent[self.handed..end]) {
            Ok(Sent::Bytes(n @ 1..)) => {
                self.handed += n;
                Some(n as u64)
            }
            // The server has gone, if it is an error. What comes back tells.
            Ok(Sent::Bytes(0) | Sent::NotNow) | Err(_) => None,
        }
    }

    /// Send the next piece when the server has read the last one; and the end behind the last.
    fn send_more(
        &mut self,
        _: Expect,
        is_all_read: Option<bool>,
    ) -> anyhow::Result<Vec<(Verb, Option<u64>)>> {
        let Some(socket) = &self.socket else { return Ok(Vec::new()) };
        if self.is_connecting {
            self.is_connecting = !is_established(socket)?;
            return Ok(if self.is_connecting { Vec::new() } else { vec![(Verb::Connects, None)] });
        }
        // Where the kernel does not tell, what was acknowledged is in the receive buffer at least. That may take it 40 ms.
        let is_next = is_all_read.unwrap_or_else(|| sockopt::unsent(socket).is_ok_and(|bytes| bytes == 0));
        if self.handed < self.sent.len() && is_next {
            return Ok(self.hand().map(|n| (Verb::Sends, Some(n))).into_iter().collect());
        }
        Ok(self.end_if_all_sent().then_some((Verb::HalfCloses, None)).into_iter().collect())
    }

    /// Say that no more comes, when everything is on its way. Whether that was now.
    fn end_if_all_sent(&mut self) -> bool {
        let Some(socket) = &self.socket else { return false };
        if !self.half_closes || self.handed < self.sent.len() {
            return false;
        }
        self.half_closes = false;
        socket::shutdown(socket, Shutdown::Write).is_ok()
    }

    /// Whether these bytes are those that had to come next.
    fn is_right(&self, bytes: &[u8], expect: Expect) -> bool {
        match expect {
            Expect::Echo | Expect::Framed => self.sent.get(self.got..self.got + bytes.len()) == Some(bytes),
            Expect::Ok => {
                let expected = b"ok".iter().cycle().skip(self.got % 2);
                bytes.iter().zip(expected).all(|(byte, expected)| byte == expected)
            }
        }
    }

    /// Read everything that there is, and the end of the stream.
    fn read_all(&mut self, expect: Expect, _: Option<bool>) -> anyhow::Result<Vec<(Verb, Option<u64>)>> {
        let Some(socket) = self.socket.as_ref().filter(|_| !self.has_ended && !self.is_connecting) else {
            return Ok(Vec::new());
        };
        let (mut buffer, mut all, mut end) = ([0; BUFFER], 0, None);
        loop {
            match socket::recv(socket, &mut buffer) {
                Ok(Received::Bytes(n)) => {
                    all += n as u64;
                    self.is_wrong |= !self.is_right(&buffer[..n], expect);
                    if !self.is_wrong {
                        self.got += n;
                    }
                    continue;
                }
                Ok(Received::NotNow) => {}
                Ok(Received::End) => end = Some(Verb::ReadsEnd),
                Err(_) => end = Some(Verb::IsReset),
            }
            break;
        }
        self.has_ended = end.is_some();
        let read = (all > 0).then_some((Verb::Reads, Some(all)));
        Ok(read.into_iter().chain(end.map(|end| (end, None))).collect())
    }
}
