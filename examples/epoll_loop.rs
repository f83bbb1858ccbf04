//! An echo server in one epoll loop, over the wrappers of `io_models::sys` alone.
//!
//! `cargo run --example epoll_loop --no-default-features`
//!
//! It serves four clients of its own, each of which sends a mebibyte and checks that the same bytes come back.
//! Then it ends. `io_models::model::epoll_level` is this loop with more care: it pauses accepting when descriptors
//! run out, calls epoll_ctl(2) only when the interest changes, and answers what has arrived before it stops.

use io_models::sys::epoll::{Epoll, EpollFlags, Event, Events};
use io_models::sys::eventfd::EventFd;
use io_models::sys::socket::{self, Accepted, Mode, Received, Sent};
use io_models::sys::sockopt::set_send_buffer;
use std::collections::HashMap;
use std::error::Error;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::fd::{AsRawFd, OwnedFd};
use std::thread;
use std::time::Duration;

const CLIENTS: usize = 4;

/// For the reads and writes of a client.
const LIMIT: Duration = Duration::from_secs(10);

/// Tokens: a client's is its descriptor, so these are numbers that no descriptor has.
const STOP: u64 = u64::MAX;
const LISTENER: u64 = u64::MAX - 1;

type Outcome = Result<(), Box<dyn Error + Send + Sync>>;

/// A client of the server.
struct Client {
    socket: OwnedFd,
    /// The part of its answer that the socket did not take yet. While there is any, the server does not read.
    unsent: Vec<u8>,
}

/// Serve clients until `stop` is readable. Returns how many there were.
fn serve(listener: &OwnedFd, stop: &EventFd) -> io_models::Result<usize> {
    let epoll = Epoll::new()?;
    epoll.add(stop, STOP, EpollFlags::EPOLLIN)?;
    epoll.add(listener, LISTENER, EpollFlags::EPOLLIN)?;
    let mut clients = HashMap::new();
    let mut served = 0;
    let mut events = Events::with_capacity(64);
    loop {
        epoll.wait(&mut events, None)?;
        for Event { token, .. } in &events {
            match token {
                STOP => return Ok(served),
                LISTENER => {
                    while let Accepted::Client(socket, _) = socket::accept(listener, Mode::Nonblocking)? {
                        let token = socket.as_raw_fd() as u64;
                        epoll.add(&socket, token, EpollFlags::EPOLLIN)?;
                        clients.insert(token, Client { socket, unsent: Vec::new() });
                        served += 1;
                    }
                }
                token => {
                    let Some(client) = clients.get_mut(&token) else { continue };
                    match echo(client) {
                        Ok(Some(interest)) => epoll.modify(&client.socket, token, interest)?,
                        // The client has finished, or its connection failed. To close a descriptor
                        // without copies takes it out of the epoll set as well.
                        Ok(None) | Err(_) => drop(clients.remove(&token)),
                    }
                }
            }
        }
    }
}

/// Read once, unless an answer is unfinished, and send what can be sent. Returns what to wait for, or
/// `None` at the end of the stream.
fn echo(client: &mut Client) -> io_models::Result<Option<EpollFlags>> {
    if client.unsent.is_empty() {
        let mut buffer = [0; 16 * 1024];
        match socket::recv(&client.socket, &mut buffer)? {
            Received::Bytes(n) => client.unsent.extend_from_slice(&buffer[..n]),
            Received::End => return Ok(None),
            Received::NotNow => {}
        }
    }
    if let Sent::Bytes(n) = socket::send(&client.socket, &client.unsent)? {
        client.unsent.drain(..n);
    }
    // An idle socket is always writable, so wait for that only while something is unsent.
    Ok(Some(if client.unsent.is_empty() { EpollFlags::EPOLLIN } else { EpollFlags::EPOLLOUT }))
}

/// Send a mebibyte while another thread reads, and check that the same bytes come back.
fn talk(addr: SocketAddr) -> Outcome {
    let message: Vec<u8> = (0..1 << 20).map(|i: u32| i.to_le_bytes()[1]).collect();
    let mut stream = TcpStream::connect(addr)?;
    stream.set_read_timeout(Some(LIMIT))?;
    stream.set_write_timeout(Some(LIMIT))?;
    let mut reader = stream.try_clone()?;
    let answer = thread::spawn(move || {
        let mut answer = Vec::new();
        reader.read_to_end(&mut answer).map(|_| answer)
    });
    stream.write_all(&message)?;
    stream.shutdown(Shutdown::Write)?;
    let answer = answer.join().expect("the reader does not panic")?;
    if answer == message { Ok(()) } else { Err("other bytes came back than were sent".into()) }
}

/// Run all clients, and stop the server when they have ended, well or not.
fn talk_all(addr: SocketAddr, stop: &EventFd) -> Outcome {
    let clients: Vec<_> = (0..CLIENTS).map(|_| thread::spawn(move || talk(addr))).collect();
    let outcomes: Vec<_> =
        clients.into_iter().map(|client| client.join().expect("no client panics")).collect();
    stop.signal()?;
    outcomes.into_iter().collect()
}

fn main() -> Outcome {
    let any = "127.0.0.1:0".parse()?;
    let listener = socket::tcp(&any, Mode::Nonblocking)?;
    // Accepted sockets inherit this. It is so small that an answer does not fit at once, and EPOLLOUT is needed.
    set_send_buffer(&listener, 4096)?;
    socket::bind(&listener, &any)?;
    socket::listen(&listener, 128)?;
    let addr = socket::local_addr(&listener)?;
    let stop = EventFd::new()?;
    thread::scope(|scope| {
        let clients = scope.spawn(|| talk_all(addr, &stop));
        let served = serve(&listener, &stop)?;
        clients.join().expect("no client panics")?;
        assert_eq!(served, CLIENTS);
        println!("{served} clients got back a mebibyte each, every byte as it was sent");
        Ok(())
    })
}
