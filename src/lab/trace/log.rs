//! What happened, in order: the clients and the tracer write to one log.
//!
//! A client holds the log while it does something, so that what the server does about it comes behind it.

use crate::lab::results::trace::{Action, Fill, On, Ready};
use crate::sys::diag::{Diag, Socket};
use crate::sys::fork::Pid;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// So many events are kept, of one server; later ones are counted only.
const MOST_EVENTS: usize = 20_000;

/// And so many of one step, so that a server that never sleeps leaves room for the steps behind it.
const MOST_OF_A_STEP: usize = 1500;

/// Something that happened.
#[derive(Debug)]
pub(super) struct Raw {
    pub(super) at: Duration,
    pub(super) step: Option<usize>,
    pub(super) what: RawWhat,
    /// What lay in the buffers after it, if it could have changed.
    pub(super) fills: Option<Vec<Fill>>,
    pub(super) accept_queue: Option<u32>,
}

/// What happened.
#[derive(Debug)]
pub(super) enum RawWhat {
    Client(Action),
    /// A call began: the number is that of its end, if it has one.
    Entry {
        call: u64,
        task: usize,
        name: &'static str,
        on: Option<On>,
        arguments: String,
    },
    /// It returned.
    Exit {
        call: u64,
        /// Those that the kernel writes are known by now. `None`: as before.
        arguments: Option<String>,
        result: Result<i64, i32>,
        ready: Vec<Ready>,
        /// The client whose connection accept(2) returned.
        accepted: Option<usize>,
    },
    Signal {
        task: usize,
        name: String,
    },
    Started {
        task: usize,
    },
    Ended {
        task: usize,
        thread: Pid,
        how: String,
    },
}

/// What is known.
#[derive(Debug)]
pub(super) struct Known {
    began: Instant,
    pub(super) step: Option<usize>,
    of_step: usize,
    pub(super) events: Vec<Raw>,
    pub(super) left_out: u64,
    /// Calls by name, from the start of the server.
    pub(super) calls: BTreeMap<&'static str, u64>,
    /// How often anything happened, events that are left out included.
    pub(super) happened: u64,
    /// Where the server listens, once it does.
    pub(super) server: Option<SocketAddr>,
    /// The own addresses of the clients that have connected.
    addrs: BTreeMap<usize, SocketAddr>,
    /// Which client the socket with this number belongs to, at the server's end.
    inodes: HashMap<u64, usize>,
    /// The sockets that listen.
    pub(super) listeners: HashSet<u64>,
    diag: Result<Diag, String>,
    pub(super) broken: Option<String>,
}

/// The log.
#[derive(Debug)]
pub(super) struct Log(Mutex<Known>);

impl Log {
    pub(super) fn new() -> Log {
        Log(Mutex::new(Known {
            began: Instant::now(),
            step: None,
            of_step: 0,
            events: Vec::new(),
            left_out: 0,
            calls: BTreeMap::new(),
            happened: 0,
            server: None,
            addrs: BTreeMap::new(),
            inodes: HashMap::new(),
            listeners: HashSet::new(),
            diag: Diag::new().map_err(|why| why.to_string()),
            broken: None,
        }))
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn into_known(self) -> Known {
        self.0.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    /// The next events belong to this step, or to none.
    pub(super) fn begin_step(&mut self, step: Option<usize>) {
        (self.step, self.of_step) = (step, 0);
    }

    /// Something happened that changed no buffer. Returns whether it is kept.
    pub(super) fn push(&mut self, what: RawWhat) -> bool {
        self.happened += 1;
        // What a client does, and what ends, is kept always: the script bounds how much that is.
        let is_call = matches!(what, RawWhat::Entry { .. } | RawWhat::Signal { .. });
        if is_call && (self.events.len() >= MOST_EVENTS || self.of_step >= MOST_OF_A_STEP) {
            self.left_out += 1;
            return false;
        }
        self.of_step += 1;
        self.events.push(Raw {
            at: self.began.elapsed(),
            step: self.step,
            what,
            fills: None,
            accept_queue: None,
        });
        true
    }

    /// Something happened that may have changed the buffers.
    pub(super) fn push_with_fills(&mut self, what: RawWhat) {
        if self.push(what) {
            let (fills, queue) = (self.fills(), self.accept_queue());
            let event = self.events.last_mut().expect("it was pushed");
            (event.fills, event.accept_queue) = (fills, queue);
        }
    }

    /// Nothing happens any more in this step: what lies in the buffers now lies there after its last event. Operations of io_uring are no
    /// calls, and change it as well.
    pub(super) fn settled(&mut self) {
        let (fills, queue) = (self.fills(), self.accept_queue());
        if let Some(event) = self.events.last_mut().filter(|event| event.step == self.step) {
            (event.fills, event.accept_queue) = (fills, queue);
        }
    }

    /// This client has connected from this address.
    pub(super) fn connected(&mut self, client: usize, addr: SocketAddr) {
        self.addrs.insert(client, addr);
    }

    /// Why the kernel does not tell of buffers.
    pub(super) fn no_diag(&self) -> Option<&str> {
        self.diag.as_ref().err().map(String::as_str)
    }

    /// What lies in the buffers of the clients that are connected.
    fn fills(&mut self) -> Option<Vec<Fill>> {
        let server = self.server?;
        let diag = self.diag.as_ref().ok()?;
        let mut fills = Vec::new();
        for (&client, &addr) in &self.addrs {
            let find = |own, peer| match diag.find(own, peer) {
                // Of a connection that is no more the kernel finds what is in its place: its TIME_WAIT, or the listener.
                Ok(socket) => {
                    Ok(socket.filter(|socket| ![TIME_WAIT, CLOSED, LISTEN].contains(&socket.state)))
                }
                Err(why) => Err(why.to_string()),
            };
            let (ours, theirs) = match (find(server, addr), find(addr, server)) {
                (Ok(ours), Ok(theirs)) => (ours, theirs),
                (Err(why), _) | (_, Err(why)) => {
                    self.diag = Err(why);
                    return None;
                }
            };
            if let Some(socket) = ours.filter(|socket| socket.inode != 0) {
                self.inodes.insert(u64::from(socket.inode), client);
            }
            // One that no process has open any more has no receive buffer that anybody could read.
            let closed = ours.is_some_and(|socket| socket.inode == 0)
                && self.inodes.values().any(|known| *known == client);
            let unread = theirs.map(bytes);
            let unsent = ours.and_then(|socket| socket.handed).zip(theirs.and_then(|socket| socket.arrived));
            let fill = Fill {
                client,
                received: ours.filter(|_| !closed).map(bytes),
                unsent: unsent.map(|(handed, arrived)| handed.saturating_sub(arrived)),
                unread,
            };
            if fill.received.is_some() || fill.unread.is_some() {
                fills.push(fill);
            }
        }
        Some(fills)
    }

    /// Whether the server has read all that this client has sent. `None` where the kernel does not tell.
    pub(super) fn has_read_all(&self, client: usize) -> Option<bool> {
        let (server, addr) = (self.server?, *self.addrs.get(&client)?);
        let diag = self.diag.as_ref().ok()?;
        let (ours, theirs) = (diag.find(server, addr).ok()??, diag.find(addr, server).ok()??);
        Some(ours.received == 0 && ours.arrived? >= theirs.handed?)
    }

    /// How many connections wait in the queue of the listener; not known if there are several listeners.
    fn accept_queue(&self) -> Option<u32> {
        let server = self.server.filter(|_| self.listeners.len() <= 1)?;
        let any = match server {
            SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
            SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
        };
        let found = self.diag.as_ref().ok()?.find(server, any).ok()??;
        (found.state == LISTEN).then_some(found.received)
    }

    /// What a socket with this number is.
    pub(super) fn socket(&mut self, inode: u64) -> On {
        if self.listeners.contains(&inode) {
            return On::Listener;
        }
        if !self.inodes.contains_key(&inode) {
            // The one of a client that has just been accepted gets its number then.
            self.fills();
        }
        self.inodes.get(&inode).map_or_else(|| On::Other("socket".to_owned()), |&client| On::Client(client))
    }
}

/// Bytes in a receive buffer, in which a FIN counts as one.
fn bytes(socket: Socket) -> u64 {
    let has_fin = matches!(socket.state, CLOSE_WAIT | LAST_ACK);
    u64::from(socket.received.saturating_sub(has_fin.into()))
}

/// Of netinet/tcp.h.
const CLOSE_WAIT: u8 = 8;
const LAST_ACK: u8 = 9;
const TIME_WAIT: u8 = 6;
const CLOSED: u8 = 7;
const LISTEN: u8 = 10;
