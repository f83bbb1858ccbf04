//! An echo server that leaves its listener alone when it has no descriptor left.

use io_models::initserver::initserver;
use io_models::sys::epoll::{Epoll, EpollFlags, Events};
use io_models::sys::socket::{Accepted, Mode, Received, accept, recv, send};
use std::collections::HashMap;
use std::os::fd::AsRawFd;

pub fn serve(port: u16) -> io_models::Result<()> {
    let listener = initserver(([127, 0, 0, 1], port).into())?;
    let (epoll, mut events, mut clients) = (Epoll::new()?, Events::with_capacity(64), HashMap::new());
    epoll.add(&listener, 0, EpollFlags::EPOLLIN)?;
    let mut buffer = [0; 1024];
    loop {
        epoll.wait(&mut events, None)?;
        for event in &events {
            if event.token == 0 {
                match accept(&listener, Mode::Nonblocking) {
                    Ok(Accepted::Client(client, _)) => {
                        epoll.add(&client, client.as_raw_fd() as u64, EpollFlags::EPOLLIN)?;
                        clients.insert(client.as_raw_fd() as u64, client);
                    }
                    Ok(_) => {}
                    Err(_) => epoll.modify(&listener, 0, EpollFlags::empty())?,
                }
                continue;
            }
            let client = &clients[&event.token];
            match recv(client, &mut buffer) {
                Ok(Received::Bytes(n)) => drop(send(client, &buffer[..n])),
                Ok(Received::NotNow) => {}
                Ok(Received::End) | Err(_) => {
                    clients.remove(&event.token); // This descriptor is free now.
                    epoll.modify(&listener, 0, EpollFlags::EPOLLIN)?;
                }
            }
        }
    }
}
