//! The clients: they do what the script says, wait until the server sleeps, and read what has come back.

use super::log::{Known, Log, RawWhat};
use super::script::{Act, Bytes, Doing, Script};
use crate::lab::results::check::Expect;
use crate::lab::results::trace::{Action, Answer, Verb};
use crate::stop::Stop;
use crate::sys::Errno;
use crate::sys::socket::{self, Connected, Mode, Received, Sent, Shutdown};
use crate::sys::sockopt;
use anyhow::Context;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

/// How long a server may take until it sleeps. One that has not slept by then never does, or has a lot of work: the script goes on.
const TO_SLEEP: Duration = Duration::from_millis(400);

/// How often the state of the server is looked at.
const LOOK: Duration = Duration::from_millis(1);

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
    /// In how many steps the server did not fall asleep.
    pub(super) awake: usize,
}

/// How a run of the script ended.
#[derive(Debug)]
pub(super) struct Played {
    pub(super) answers: Vec<Answer>,
    pub(super) was_interrupted: bool,
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
        Clients { server, expect, watched, log, stop, clients, names: &script.clients, awake: 0 }
    }

    /// Do what the script says.
    pub(super) fn play(&mut self, script: &Script) -> anyhow::Result<Played> {
        let mut was_interrupted = false;
        // What the server does before it sleeps for the first time belongs to its start.
        self.settle()?;
        for (i, acts) in script.actions.iter().enumerate() {
            self.act_at_once(i, acts)?;
            if !self.settle_and_read()? {
                self.awake += 1;
            }
            if self.stop.is_set()? {
                was_interrupted = true;
                break;
            }
        }
        self.log.lock().begin_step(None);
        Ok(Played { answers: self.answers(), was_interrupted })
    }

    /// Do what is to be done at once. Whatever the server does about it comes behind it in the log.
    fn act_at_once(&mut self, step: usize, acts: &[Act]) -> anyhow::Result<()> {
        // What takes long was done before the first action, so that nobody takes the processor in between.
        std::thread::sleep(LOOK);
        let log = self.log;
        let mut log = log.lock();
        log.begin_step(Some(step));
        let mut happened = Vec::new();
        for act in acts {
            happened.extend(self.act(act, &mut log)?);
        }
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
                verb = client.hand()?.map(|n| (Verb::Sends, Some(n)));
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

    /// Until the server sleeps and the clients have read everything. `false` when it did not fall asleep.
    fn settle_and_read(&mut self) -> anyhow::Result<bool> {
        let mut has_slept = true;
        for _ in 0..ROUNDS {
            has_slept = self.settle()?;
            if !self.read_and_send()? || self.stop.is_set()? {
                break;
            }
        }
        Ok(has_slept)
    }

    /// Until the server sleeps: everything that was sent to it has arrived, or finds no room, and none of its threads has run between two
    /// looks. `false` when that takes too long.
    fn settle(&self) -> anyhow::Result<bool> {
        let until = Instant::now() + TO_SLEEP;
        let mut before = None;
        loop {
            let sleeps = self.watched.sleeps().unwrap_or(false);
            let sockets = self.clients.iter().filter_map(|client| client.socket.as_ref());
            let under_way: u64 =
                sockets.filter_map(|socket| sockopt::unsent(socket).ok()).map(u64::from).sum();
            let now = (self.watched.turns(), self.log.lock().happened, under_way);
            if sleeps && before == Some(now) {
                return Ok(true);
            }
            before = sleeps.then_some(now);
            if Instant::now() > until {
                return Ok(false);
            }
            if self.stop.wait(Some(LOOK))? {
                return Ok(false);
            }
        }
    }

    /// Each client reads what there is, and sends what it could not send before. Whether there was anything.
    fn read_and_send(&mut self) -> anyhow::Result<bool> {
        let mut any = false;
        for (i, client) in self.clients.iter_mut().enumerate() {
            let mut log = self.log.lock();
            let Some(socket) = &client.socket else { continue };
            if client.is_connecting {
                if is_established(socket)? {
                    client.is_connecting = false;
                    any = true;
                    log.push_with_fills(RawWhat::Client(Action {
                        client: i,
                        verb: Verb::Connects,
                        bytes: None,
                    }));
                }
                continue;
            }
            let (n, end) = client.read(self.expect)?;
            let mut happened = Vec::new();
            happened.extend((n > 0).then_some((Verb::Reads, Some(n))));
            happened.extend(end.map(|verb| (verb, None)));
            happened.extend(client.hand()?.map(|n| (Verb::Sends, Some(n))));
            happened.extend(client.end_if_all_sent().then_some((Verb::HalfCloses, None)));
            any |= !happened.is_empty();
            for (verb, bytes) in happened {
                log.push_with_fills(RawWhat::Client(Action { client: i, verb, bytes }));
            }
        }
        Ok(any)
    }

    fn answers(&self) -> Vec<Answer> {
        let of = |(i, client): (usize, &Client)| Answer {
            client: i,
            sent: client.sent.len() as u64,
            right: client.got as u64,
            is_wrong: client.is_wrong,
        };
        self.clients.iter().enumerate().map(of).collect()
    }
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

    /// Hand what is left to the kernel, as far as it takes it. How much that was.
    fn hand(&mut self) -> anyhow::Result<Option<u64>> {
        let Some(socket) = &self.socket else { return Ok(None) };
        let from = self.handed;
        while self.handed < self.sent.len() {
            match socket::send(socket, &self.sent[self.handed..]) {
                Ok(Sent::Bytes(n)) => self.handed += n,
                Ok(Sent::NotNow) => break,
                // The server has gone. What was not read tells.
                Err(_) => break,
            }
        }
        Ok((self.handed > from).then_some((self.handed - from) as u64))
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

    /// Read everything that there is: how many bytes, and how the stream ended, if it has.
    fn read(&mut self, expect: Expect) -> anyhow::Result<(u64, Option<Verb>)> {
        let Some(socket) = &self.socket else { return Ok((0, None)) };
        if self.has_ended {
            return Ok((0, None));
        }
        let (mut buffer, mut all) = ([0; 16 << 10], 0);
        loop {
            match socket::recv(socket, &mut buffer) {
                Ok(Received::Bytes(n)) => {
                    all += n as u64;
                    self.is_wrong |= !self.is_right(&buffer[..n], expect);
                    if !self.is_wrong {
                        self.got += n;
                    }
                }
                Ok(Received::NotNow) => return Ok((all, None)),
                Ok(Received::End) => {
                    self.has_ended = true;
                    return Ok((all, Some(Verb::ReadsEnd)));
                }
                Err(_) => {
                    self.has_ended = true;
                    return Ok((all, Some(Verb::IsReset)));
                }
            }
        }
    }
}
