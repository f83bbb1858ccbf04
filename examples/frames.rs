//! A server with messages: each has its length in front, and poll(2) waits for all clients.
//!
//! `cargo run --example frames --no-default-features`
//!
//! TCP carries a stream of bytes. One recv(2) finds a part of a message, or several messages and a part of the next. So what came is
//! kept until a message is complete ([`Frames`]), and a length is not believed: a client that announces more than [`LONGEST`] bytes is
//! closed.
//!
//! A message is four bytes with the length of its body, the most significant first, and the body. The answer is the body reversed.
//! The client here sends two messages one byte at a time, and then three messages at once.

use io_models::echo::{Frames, framed};
use io_models::initserver::{Listener, initserver};
use io_models::stop::{self, Stop};
use io_models::sys::fcntl::set_nonblocking;
use io_models::sys::poll::{PollFlags, PollSet};
use io_models::sys::socket::{self, Accepted, Mode, Received, Sent};
use std::error::Error;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::thread;
use std::time::Duration;

/// The longest body that a client may announce.
const LONGEST: usize = 64 * 1024;
/// The bytes of a length.
const HEAD: usize = 4;

/// For the reads of the client.
const LIMIT: Duration = Duration::from_secs(10);

/// The slots of the set: two of ours, then the clients, in their order.
const STOP: usize = 0;
const LISTENER: usize = 1;
const FIRST_CLIENT: usize = 2;

struct Client {
    socket: OwnedFd,
    heard: Frames,
    /// Answers that the socket did not take yet. While there are any, the server does not read.
    unsent: Vec<u8>,
}

impl Client {
    /// Read once, answer each whole message, and send what can be sent. Returns what to wait for, or `None` at the end of the stream.
    fn turn(&mut self) -> io_models::Result<Option<PollFlags>> {
        if self.unsent.is_empty() {
            let mut buffer = [0; 16 * 1024];
            match socket::recv(&self.socket, &mut buffer)? {
                Received::Bytes(n) => self.heard.heard(&buffer[..n]),
                Received::End => return Ok(None),
                Received::NotNow => {}
            }
            while let Some(mut body) = self.heard.next()? {
                body.reverse();
                self.unsent.extend(framed(&body));
            }
        }
        if let Sent::Bytes(n) = socket::send(&self.socket, &self.unsent)? {
            self.unsent.drain(..n);
        }
        Ok(Some(if self.unsent.is_empty() { PollFlags::POLLIN } else { PollFlags::POLLOUT }))
    }
}

fn serve(listener: &Listener, stop: &Stop) -> io_models::Result<()> {
    set_nonblocking(listener)?;
    let mut set = PollSet::new();
    set.push(stop, PollFlags::POLLIN);
    set.push(listener, PollFlags::POLLIN);
    let mut clients: Vec<Client> = Vec::new();
    loop {
        set.wait(None)?;
        if !set.revents(STOP).is_empty() {
            return Ok(());
        }
        // From the end, because the last client moves into a hole.
        for at in (0..clients.len()).rev() {
            let slot = FIRST_CLIENT + at;
            if set.revents(slot).is_empty() {
                continue;
            }
            match clients[at].turn() {
                Ok(Some(events)) => set.set_events(slot, events),
                // It has finished, announced too much, or its connection failed.
                Ok(None) | Err(_) => {
                    set.swap_remove(slot);
                    clients.swap_remove(at);
                }
            }
        }
        if !set.revents(LISTENER).is_empty() {
            while let Accepted::Client(socket, _) = socket::accept(listener, Mode::Nonblocking)? {
                set.push(&socket, PollFlags::POLLIN);
                clients.push(Client { socket, heard: Frames::new(LONGEST), unsent: Vec::new() });
            }
        }
    }
}

fn read_answer(client: &mut TcpStream) -> io::Result<String> {
    let mut head = [0; HEAD];
    client.read_exact(&mut head)?;
    let mut body = vec![0; u32::from_be_bytes(head) as usize];
    client.read_exact(&mut body)?;
    String::from_utf8(body).map_err(io::Error::other)
}

fn talk(addr: SocketAddr) -> Result<Vec<String>, Box<dyn Error>> {
    let mut client = TcpStream::connect(addr)?;
    client.set_read_timeout(Some(LIMIT))?;
    client.set_nodelay(true)?;
    for byte in [framed(b"stop"), framed(b"")].concat() {
        client.write_all(&[byte])?;
    }
    client.write_all(&[framed(b"desserts"), framed(b"drawer"), framed(b"a")].concat())?;
    let answers = (0..5).map(|_| read_answer(&mut client)).collect::<Result<_, _>>()?;
    // A client that announces four gigabytes is closed.
    client.write_all(&[0xff; HEAD])?;
    assert_eq!(client.read(&mut [0])?, 0);
    Ok(answers)
}

fn main() -> Result<(), Box<dyn Error>> {
    let listener = initserver("127.0.0.1:0".parse()?)?;
    let addr = listener.addr();
    let (stopper, stop) = stop::pair()?;
    let server = thread::spawn(move || serve(&listener, &stop));
    let answers = talk(addr);
    stopper.stop()?;
    server.join().expect("the server did not panic")?;
    let answers = answers?;
    assert_eq!(answers, ["pots", "", "stressed", "reward", "a"]);
    println!("answers: {answers:?}");
    Ok(())
}
