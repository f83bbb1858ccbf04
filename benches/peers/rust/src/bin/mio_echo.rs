//! mio: edge-triggered readiness, a table of clients by token.

use io_models_peers::{BUFFER, listener};
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use std::collections::HashMap;
use std::io::{self, ErrorKind, Read, Write};

const LISTENER: Token = Token(0);

struct Client {
    stream: TcpStream,
    /// What could not be sent. While there is some, nothing is read.
    unsent: Vec<u8>,
}

impl Client {
    /// Read and answer until there is no more, or it cannot be sent. `false` when the client has left.
    fn serve(&mut self, buffer: &mut [u8]) -> io::Result<bool> {
        loop {
            while !self.unsent.is_empty() {
                match self.stream.write(&self.unsent) {
                    Ok(n) => drop(self.unsent.drain(..n)),
                    Err(why) if why.kind() == ErrorKind::WouldBlock => return Ok(true),
                    Err(why) => return Err(why),
                }
            }
            match self.stream.read(buffer) {
                Ok(0) => return Ok(false),
                Ok(n) => match self.stream.write(&buffer[..n]) {
                    Ok(sent) => self.unsent.extend_from_slice(&buffer[sent..n]),
                    Err(why) if why.kind() == ErrorKind::WouldBlock => {
                        self.unsent.extend_from_slice(&buffer[..n])
                    }
                    Err(why) => return Err(why),
                },
                Err(why) if why.kind() == ErrorKind::WouldBlock => return Ok(true),
                Err(why) => return Err(why),
            }
        }
    }
}

fn main() -> io::Result<()> {
    let mut poll = Poll::new()?;
    let mut listener = TcpListener::from_std(listener());
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    let (mut events, mut clients, mut next) = (Events::with_capacity(1024), HashMap::new(), 1);
    let mut buffer = vec![0; BUFFER];
    loop {
        poll.poll(&mut events, None)?;
        for event in &events {
            if event.token() == LISTENER {
                while let Ok((mut stream, _)) = listener.accept() {
                    stream.set_nodelay(true)?;
                    let token = Token(next);
                    next += 1;
                    poll.registry().register(&mut stream, token, Interest::READABLE | Interest::WRITABLE)?;
                    clients.insert(token, Client { stream, unsent: Vec::new() });
                }
            } else if let Some(client) = clients.get_mut(&event.token())
                && !client.serve(&mut buffer).unwrap_or(false) {
                    // Dropping a socket takes it out of the epoll as well.
                    clients.remove(&event.token());
                }
        }
    }
}
