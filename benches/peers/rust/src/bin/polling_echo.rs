//! polling: readiness that is asked for again after each event, a table of clients by key.

use io_models_peers::{BUFFER, listener};
use polling::{Event, Events, Poller};
use std::collections::HashMap;
use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;

const LISTENER: usize = 0;

struct Client {
    stream: TcpStream,
    /// What could not be sent. While there is some, nothing is read.
    unsent: Vec<u8>,
}

impl Client {
    /// Send what is unsent, or read and answer. `false` when the client has left.
    fn serve(&mut self, buffer: &mut [u8]) -> io::Result<bool> {
        if self.unsent.is_empty() {
            match self.stream.read(buffer) {
                Ok(0) => return Ok(false),
                Ok(n) => self.unsent.extend_from_slice(&buffer[..n]),
                Err(why) if why.kind() == ErrorKind::WouldBlock => return Ok(true),
                Err(why) => return Err(why),
            }
        }
        match self.stream.write(&self.unsent) {
            Ok(n) => drop(self.unsent.drain(..n)),
            Err(why) if why.kind() == ErrorKind::WouldBlock => {}
            Err(why) => return Err(why),
        }
        Ok(true)
    }

    /// What to wait for.
    fn interest(&self, key: usize) -> Event {
        if self.unsent.is_empty() { Event::readable(key) } else { Event::writable(key) }
    }
}

fn main() -> io::Result<()> {
    let poller = Poller::new()?;
    let listener = listener();
    // SAFETY: the listener lives as long as the poller.
    unsafe { poller.add(&listener, Event::readable(LISTENER))? };
    let (mut events, mut clients, mut next) = (Events::new(), HashMap::<usize, Client>::new(), 1);
    let mut buffer = vec![0; BUFFER];
    loop {
        events.clear();
        poller.wait(&mut events, None)?;
        for event in events.iter() {
            if event.key == LISTENER {
                while let Ok((stream, _)) = listener.accept() {
                    stream.set_nonblocking(true)?;
                    stream.set_nodelay(true)?;
                    // SAFETY: the client is deleted from the poller before it is closed.
                    unsafe { poller.add(&stream, Event::readable(next))? };
                    clients.insert(next, Client { stream, unsent: Vec::new() });
                    next += 1;
                }
                poller.modify(&listener, Event::readable(LISTENER))?;
            } else if let Some(client) = clients.get_mut(&event.key) {
                if client.serve(&mut buffer).unwrap_or(false) {
                    poller.modify(&client.stream, client.interest(event.key))?;
                } else {
                    poller.delete(&client.stream)?;
                    clients.remove(&event.key);
                }
            }
        }
    }
}
