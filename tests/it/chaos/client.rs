//! One client: what it sends and reads, when it pauses, and how it leaves.

use crate::support::{connect, end_writing, pattern, read_to_end, reset};
use fastrand::Rng;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::ops::Add;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

/// What a client does, in words, and in a function that leaves the ways of leaving that it allows.
type Kind = (&'static str, fn(&Talk, &mut Rng) -> &'static [Leaves]);

/// Each is as likely as the others.
const KINDS: &[Kind] = &[
    ("that waits for each answer", asks),
    ("that sends a lot and reads meanwhile", bursts),
    ("that sends byte by byte", drips),
    ("that ends its side at once", ends_at_once),
    ("that reads late", reads_late),
    ("that never reads", never_reads),
    ("that says nothing", says_nothing),
    ("that breaks off", breaks_off),
];

/// How a client leaves.
#[derive(Debug, Clone, Copy)]
enum Leaves {
    /// It ends its side, and reads what is left until the server ends the other.
    InOrder,
    Closes,
    Resets,
}

use Leaves::{Closes, InOrder, Resets};

/// A client that will come.
pub(super) struct Client {
    kind: Kind,
    random: Rng,
}

/// What clients did.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Did {
    pub(super) connected: u64,
    /// Those that know that they were served.
    pub(super) served: u64,
    pub(super) sent: u64,
    pub(super) received: u64,
}

impl Client {
    /// The clients of that seed, of which more begin with the same ones.
    pub(super) fn population(seed: u64, clients: usize) -> Vec<Client> {
        let mut random = Rng::with_seed(seed);
        let mut client = || Client { kind: KINDS[random.usize(..KINDS.len())], random: random.fork() };
        (0..clients).map(|_| client()).collect()
    }

    /// What it does, in words.
    pub(super) fn kind(&self) -> &'static str {
        self.kind.0
    }

    pub(super) fn come_and_leave(&self, addr: SocketAddr) -> Did {
        let mut random = self.random.clone();
        let talk = Talk {
            socket: connect(addr),
            from: random.usize(..STREAM.len()),
            sent: AtomicU64::new(0),
            received: AtomicU64::new(0),
        };
        let ways = (self.kind.1)(&talk, &mut random);
        talk.leave(ways[random.usize(..ways.len())])
    }
}

impl Add for Did {
    type Output = Did;

    fn add(self, other: Did) -> Did {
        Did {
            connected: self.connected + other.connected,
            served: self.served + other.served,
            sent: self.sent + other.sent,
            received: self.received + other.received,
        }
    }
}

fn asks(talk: &Talk, random: &mut Rng) -> &'static [Leaves] {
    for _ in 0..random.usize(1..=5) {
        let size = random.usize(1..=20_000);
        talk.send(size);
        talk.receive(size);
        pause(random);
    }
    &[InOrder, Closes, Resets]
}

fn bursts(talk: &Talk, random: &mut Rng) -> &'static [Leaves] {
    let size = random.usize(1..=1 << 20);
    thread::scope(|scope| {
        scope.spawn(|| talk.send(size));
        talk.receive(size);
    });
    &[InOrder, Closes, Resets]
}

fn drips(talk: &Talk, random: &mut Rng) -> &'static [Leaves] {
    for _ in 0..random.usize(10..=40) {
        talk.send(1);
        pause(random);
    }
    &[InOrder, Closes, Resets]
}

/// So much fits the buffers on the way, so that it need not read meanwhile.
fn ends_at_once(talk: &Talk, random: &mut Rng) -> &'static [Leaves] {
    talk.send(random.usize(1..=60_000));
    &[InOrder]
}

fn reads_late(talk: &Talk, random: &mut Rng) -> &'static [Leaves] {
    talk.send_without_reading(random);
    pause(random);
    &[InOrder]
}

fn never_reads(talk: &Talk, random: &mut Rng) -> &'static [Leaves] {
    talk.send_without_reading(random);
    &[Closes, Resets]
}

fn says_nothing(_: &Talk, random: &mut Rng) -> &'static [Leaves] {
    if random.bool() {
        pause(random);
    }
    &[InOrder, Closes, Resets]
}

fn breaks_off(talk: &Talk, random: &mut Rng) -> &'static [Leaves] {
    let size = random.usize(1..=60_000);
    talk.send(size);
    talk.receive(random.usize(..size));
    &[Closes, Resets]
}

/// What a client does between two steps, in milliseconds at most.
fn pause(random: &mut Rng) {
    const LONGEST_MS: u64 = 3;
    thread::sleep(Duration::from_millis(random.u64(..=LONGEST_MS)));
}

/// What all clients send, again and again, each from a place of its own: an answer to another client is a wrong one. The length is a
/// prime number, so that a piece that is lost, or comes twice, does not go unnoticed.
static STREAM: LazyLock<Vec<u8>> = LazyLock::new(|| pattern(1, 65_521));

/// A connection, and how far it is.
struct Talk {
    socket: TcpStream,
    from: usize,
    sent: AtomicU64,
    received: AtomicU64,
}

impl Talk {
    /// The stream from that byte on, as far as it lies in one piece, but no more than so many bytes.
    fn piece(&self, at: u64, most: usize) -> &'static [u8] {
        let begin = (self.from + at as usize) % STREAM.len();
        &STREAM[begin..STREAM.len().min(begin + most)]
    }

    fn send(&self, bytes: usize) {
        let mut left = bytes;
        while left > 0 {
            left -= self.send_some(left).expect("the server takes what is sent");
        }
    }

    fn send_some(&self, most: usize) -> std::io::Result<usize> {
        let sent = (&self.socket).write(self.piece(self.sent.load(Relaxed), most))?;
        self.sent.fetch_add(sent as u64, Relaxed);
        Ok(sent)
    }

    /// Send up to some megabytes, until nobody takes any more.
    fn send_without_reading(&self, random: &mut Rng) {
        /// Too short does no harm: then a little less is under way.
        const NOBODY_TAKES_MORE: Duration = Duration::from_millis(20);
        let deadline = self.socket.write_timeout().expect("the deadline of a socket of ours");
        self.socket.set_write_timeout(Some(NOBODY_TAKES_MORE)).expect("a deadline for writing");
        let mut left = random.usize(1..=4 << 20);
        while left > 0 {
            match self.send_some(left) {
                Ok(sent) => left -= sent,
                Err(why) if why.kind() == ErrorKind::WouldBlock => break,
                Err(why) => panic!("the server does not take what is sent: {why}"),
            }
        }
        self.socket.set_write_timeout(deadline).expect("a deadline for writing");
    }

    /// The next so many bytes come back, and are right.
    fn receive(&self, bytes: usize) {
        let (mut buffer, mut left) = (vec![0; bytes.min(1 << 16)], bytes);
        while left > 0 {
            let most = left.min(buffer.len());
            let got = (&self.socket).read(&mut buffer[..most]).expect("the server answers");
            assert!(got > 0, "the server ended the connection, and {left} bytes have not come back");
            let at = self.received.fetch_add(got as u64, Relaxed);
            self.is_right(at, &buffer[..got]);
            left -= got;
        }
    }

    fn is_right(&self, mut at: u64, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let piece = self.piece(at, bytes.len());
            let (now, rest) = bytes.split_at(piece.len());
            assert!(now == piece, "of {} bytes from byte {at} on, some are wrong", now.len());
            (at, bytes) = (at + piece.len() as u64, rest);
        }
    }

    fn leave(self, how: Leaves) -> Did {
        let (sent, received) = (self.sent.load(Relaxed), self.received.load(Relaxed));
        let mut did = Did { connected: 1, served: u64::from(received > 0), sent, received };
        match how {
            InOrder => {
                end_writing(&self.socket);
                self.receive((sent - received) as usize);
                assert!(read_to_end(&self.socket).is_empty(), "more came back than was sent");
                did = Did { served: 1, received: sent, ..did };
            }
            Closes => drop(self.socket),
            Resets => reset(self.socket),
        }
        did
    }
}
