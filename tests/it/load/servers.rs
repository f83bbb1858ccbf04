//! Small servers for the generator to be tried on: right, slow, and wrong in one way each.
//!
//! A thread for each client, blocking reads and writes; a thread ends when its client has gone.

use io_models::sys::sockopt::set_reset_on_close;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::thread::{self, JoinHandle};

/// A server on a free port of 127.0.0.1. Dropped, it takes no more clients.
pub(crate) struct Server {
    pub(crate) addr: SocketAddr,
    answers: Arc<AtomicU64>,
    over: Arc<AtomicBool>,
    accepting: Option<JoinHandle<()>>,
}

/// A request: all bytes of it have arrived.
pub(crate) struct Request {
    /// Number of the client, from 0, in the order of their coming. The generator connects to them
    /// one after another, so that its numbers are the same.
    pub(crate) connection: usize,
    /// Number of the request on this connection, from 0. Request 0 is asked before the load begins,
    /// request 1 in any case, and others for as long as the load is on.
    pub(crate) number: usize,
    pub(crate) bytes: Vec<u8>,
}

/// What a client gets.
pub(crate) enum Answer {
    Bytes(Vec<u8>),
    /// Not a byte, and the next request is read.
    Nothing,
    /// These bytes, and the end of the stream.
    Last(Vec<u8>),
    Reset,
}

impl Server {
    /// Give back what comes.
    pub(crate) fn echo() -> Server {
        Server::start(|_, mut client, answers| {
            let mut buffer = vec![0; 1 << 16];
            loop {
                match client.read(&mut buffer)? {
                    0 => return Ok(()),
                    n => client.write_all(&buffer[..n])?,
                }
                answers.fetch_add(1, SeqCst);
            }
        })
    }

    /// Take clients, and never say a word.
    pub(crate) fn silent() -> Server {
        Server::start(|_, mut client, _| io::copy(&mut client, &mut io::sink()).map(drop))
    }

    /// Say something to each client that comes, before it has asked.
    pub(crate) fn greeting(words: &'static [u8]) -> Server {
        Server::start(move |_, mut client, _| {
            client.write_all(words)?;
            io::copy(&mut client, &mut io::sink()).map(drop)
        })
    }

    /// Read requests of `size` bytes, and let `answer` decide.
    pub(crate) fn answering(
        size: usize,
        answer: impl Fn(&Request) -> Answer + Send + Sync + 'static,
    ) -> Server {
        Server::start(move |connection, mut client, answers| {
            for number in 0.. {
                let mut bytes = vec![0; size];
                client.read_exact(&mut bytes)?;
                match answer(&Request { connection, number, bytes }) {
                    Answer::Bytes(bytes) => client.write_all(&bytes)?,
                    Answer::Nothing => {}
                    Answer::Last(bytes) => return client.write_all(&bytes),
                    Answer::Reset => {
                        set_reset_on_close(&client).expect("SO_LINGER can be set");
                        return Ok(());
                    }
                }
                answers.fetch_add(1, SeqCst);
            }
            Ok(())
        })
    }

    /// Answer rightly, but for one request of one connection: that gets what `fault` makes of it.
    pub(crate) fn wrong_once(
        size: usize,
        (connection, number): (usize, usize),
        fault: impl Fn(&Request) -> Answer + Send + Sync + 'static,
    ) -> Server {
        Server::answering(size, move |request| {
            if (request.connection, request.number) == (connection, number) {
                fault(request)
            } else {
                Answer::Bytes(request.bytes.clone())
            }
        })
    }

    /// How many answers it has given.
    pub(crate) fn answers(&self) -> u64 {
        self.answers.load(SeqCst)
    }

    /// Do with each client, given its number, whatever `serve` does; the counter is that of the answers.
    pub(crate) fn start(
        serve: impl Fn(usize, TcpStream, &AtomicU64) -> io::Result<()> + Send + Sync + 'static,
    ) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let addr = listener.local_addr().expect("it has an address");
        let (answers, over) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let (counter, end) = (Arc::clone(&answers), Arc::clone(&over));
        let serve = Arc::new(serve);
        let accepting = thread::spawn(move || {
            for (connection, client) in listener.incoming().enumerate() {
                if end.load(SeqCst) {
                    break;
                }
                let client = client.expect("a client can be accepted");
                client.set_nodelay(true).expect("TCP_NODELAY can be set");
                let (serve, counter) = (Arc::clone(&serve), Arc::clone(&counter));
                // An error means that the client has gone, which is how it ends.
                thread::spawn(move || serve(connection, client, &counter).ok());
            }
        });
        Server { addr, answers, over, accepting: Some(accepting) }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.over.store(true, SeqCst);
        // To wake it from accept.
        let woken = TcpStream::connect(self.addr);
        if let (Some(accepting), true) = (self.accepting.take(), woken.is_ok()) {
            accepting.join().ok();
        }
    }
}
