//! Servers that try to fool a generator, each in its own way: for the [self-test](super::self_test).
//!
//! A thread for each client, with the blocking calls of the standard library: nothing of this crate's own servers, so that
//! a mistake in both ends of one implementation cannot hide itself.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
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
    /// It holds back an answer of client 0 for that long.
    Delays(Duration),
    /// It does not answer client 0 any more.
    Forgets,
    /// It ends the connection of client 0.
    Closes,
}

/// The request from which on a lie is told. The first is asked before the load begins.
const FIRST_LIE: u64 = 10;

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
        let next = Arc::new(Mutex::new(Instant::now()));
        let accepting = thread::Builder::new().spawn(move || {
            for (number, client) in listener.incoming().enumerate() {
                if end.load(SeqCst) {
                    return;
                }
                let Ok(client) = client else { return };
                let next = Arc::clone(&next);
                // A client that has gone ends its thread; so does one that the liar itself has closed.
                let serve = move || serve(lie, size, number, client, &next).ok();
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
        self.accepting.take().map(JoinHandle::join);
    }
}

fn serve(
    lie: Lie,
    size: usize,
    client: usize,
    mut socket: TcpStream,
    next: &Mutex<Instant>,
) -> io::Result<()> {
    socket.set_nodelay(true)?;
    let mut bytes = vec![0; size];
    for request in 0_u64.. {
        socket.read_exact(&mut bytes)?;
        let came = Instant::now();
        let lies = client == 0 && request == FIRST_LIE;
        match lie {
            Lie::After(time) => sleep_until(came + time),
            Lie::AtMost(rate) => sleep_until(turn(next, came, rate)),
            Lie::Corrupts if lies => bytes[size / 2] ^= 0x10,
            Lie::Repeats if lies => socket.write_all(&bytes)?,
            Lie::Drops if lies => {
                socket.write_all(&bytes[16..])?;
                continue;
            }
            Lie::Delays(time) if lies => sleep_until(came + time),
            Lie::Forgets if client == 0 && request >= FIRST_LIE => continue,
            Lie::Closes if lies => return Ok(()),
            _ => {}
        }
        socket.write_all(&bytes)?;
    }
    Ok(())
}

/// When it is the turn of this request.
fn turn(next: &Mutex<Instant>, came: Instant, rate: f64) -> Instant {
    let mut next = next.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let turn = (*next).max(came);
    *next = turn + Duration::from_secs_f64(1.0 / rate);
    turn
}

/// Never less.
fn sleep_until(when: Instant) {
    let left = when.saturating_duration_since(Instant::now());
    if !left.is_zero() {
        thread::sleep(left);
    }
}
