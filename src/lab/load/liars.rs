//! Servers that try to fool a generator, each in its own way: for the [self-test](super::self_test).
//!
//! A thread for each client, with the blocking calls of the standard library: nothing of this crate's own servers, so that
//! a mistake in both ends of one implementation cannot hide itself.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// What a server does beside echoing.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Lie {
    /// It answers so long after it has the request.
    After(Duration),
    /// It answers at most so many requests a second, of all clients together.
    AtMost(f64),
    /// From the 10th request on: it changes a bit of an answer of client 0.
    Corrupts,
    /// It gives an answer of client 0 twice.
    Repeats,
    /// It leaves out 16 bytes of an answer of client 0.
    Drops,
    /// It holds back an answer of client 0 once, when the load has been on for some time: what a request of the warm-up
    /// suffers is not measured.
    Delays {
        /// How long the load has been on.
        after: Duration,
        /// How long the answer is held back.
        by: Duration,
    },
    /// It does not answer client 0 any more.
    Forgets,
    /// It ends the connection of client 0.
    Closes,
    /// It gives client 0 the last request of client 1 as an answer.
    Crosses,
    /// It answers up to the first zero byte, as a server with strlen does.
    StopsAtZero,
    /// It accepts only so many clients.
    Misses(usize),
    /// It answers `ok` to everything.
    SaysOk,
}

/// The request from which on a lie is told. The first is asked before the load begins.
const FIRST_LIE: u64 = 10;

/// What the threads of the clients have in common.
struct Shared {
    /// When the next request may be answered.
    next: Mutex<Instant>,
    /// The last request of client 1.
    other: Mutex<Vec<u8>>,
}

/// A server that runs until it is dropped.
#[derive(Debug)]
pub struct Liar {
    addr: SocketAddr,
    over: Arc<AtomicBool>,
    accepting: Option<JoinHandle<()>>,
}

impl Liar {
    /// On a free port of 127.0.0.1, for requests of `size` bytes.
    ///
    /// # Errors
    ///
    /// When there is no port or thread.
    pub fn start(lie: Lie, size: usize) -> io::Result<Liar> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let addr = listener.local_addr()?;
        let over = Arc::new(AtomicBool::new(false));
        let end = Arc::clone(&over);
        let shared = Arc::new(Shared { next: Mutex::new(Instant::now()), other: Mutex::default() });
        let accepting = thread::Builder::new().spawn(move || {
            for number in 0.. {
                if lie == Lie::Misses(number) {
                    // Until the liar is dropped.
                    return thread::park();
                }
                let client = listener.accept().map(|(client, _)| client);
                if end.load(SeqCst) {
                    return;
                }
                let Ok(client) = client else { return };
                let shared = Arc::clone(&shared);
                // A client that has gone ends its thread; so does one that the liar itself has closed.
                let serve = move || serve(lie, size, number, client, &shared).ok();
                if thread::Builder::new().spawn(serve).is_err() {
                    return;
                }
            }
        })?;
        Ok(Liar { addr, over, accepting: Some(accepting) })
    }

    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }
}

impl Drop for Liar {
    fn drop(&mut self) {
        self.over.store(true, SeqCst);
        // So that accept returns.
        drop(TcpStream::connect(self.addr));
        if let Some(accepting) = self.accepting.take() {
            accepting.thread().unpark();
            accepting.join().ok();
        }
    }
}

fn serve(lie: Lie, size: usize, client: usize, mut socket: TcpStream, shared: &Shared) -> io::Result<()> {
    socket.set_nodelay(true)?;
    let mut bytes = vec![0; size];
    let (mut load_began, mut delayed) = (None, false);
    for request in 0_u64.. {
        socket.read_exact(&mut bytes)?;
        let came = Instant::now();
        let lies = client == 0 && request == FIRST_LIE;
        match lie {
            Lie::After(time) => sleep_until(came + time),
            Lie::AtMost(rate) => sleep_until(turn(&shared.next, came, rate)),
            Lie::Corrupts if lies => bytes[size / 2] ^= 0x10,
            Lie::Repeats if lies => socket.write_all(&bytes)?,
            Lie::Drops if lies => {
                socket.write_all(&bytes[16..])?;
                continue;
            }
            Lie::Delays { after, by } if client == 0 && request > 0 && !delayed => {
                let began = *load_began.get_or_insert(came);
                delayed = came >= began + after;
                if delayed {
                    sleep_until(came + by);
                }
            }
            Lie::Forgets if client == 0 && request >= FIRST_LIE => continue,
            Lie::Closes if lies => return Ok(()),
            Lie::Crosses if client == 1 => *locked(&shared.other) = bytes.clone(),
            Lie::Crosses if lies => {
                // Client 1 cannot go on meanwhile, so that its bytes are those under way, or the last ones.
                let other = locked(&shared.other);
                socket.write_all(&other)?;
                continue;
            }
            Lie::StopsAtZero => {
                let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(size);
                socket.write_all(&bytes[..end])?;
                continue;
            }
            Lie::SaysOk => {
                socket.write_all(b"ok")?;
                continue;
            }
            _ => {}
        }
        socket.write_all(&bytes)?;
    }
    Ok(())
}

/// When it is the turn of this request.
fn turn(next: &Mutex<Instant>, came: Instant, rate: f64) -> Instant {
    let mut next = locked(next);
    let turn = (*next).max(came);
    *next = turn + Duration::from_secs_f64(1.0 / rate);
    turn
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// Never less.
fn sleep_until(when: Instant) {
    let left = when.saturating_duration_since(Instant::now());
    if !left.is_zero() {
        thread::sleep(left);
    }
}
