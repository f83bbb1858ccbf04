//! Answers requests of 64 bytes, and leaves half of one in the receive buffer. Edge-triggered.

use io_models::initserver::initserver;
use io_models::sys::epoll::{Epoll, EpollFlags, Events};
use io_models::sys::socket::{Accepted, Mode, Received, accept, recv, send};
use io_models::sys::sockopt::unread;
use std::collections::HashMap;
use std::os::fd::AsRawFd;

pub fn serve(port: u16) -> io_models::Result<()> {
    let listener = initserver(([127, 0, 0, 1], port).into())?;
    let (epoll, mut events, mut clients) = (Epoll::new()?, Events::with_capacity(64), HashMap::new());
    epoll.add(&listener, 0, EpollFlags::EPOLLIN)?;
    loop {
        epoll.wait(&mut events, None)?;
        for event in &events {
            if event.token == 0 {
                if let Accepted::Client(client, _) = accept(&listener, Mode::Nonblocking)? {
                    let token = client.as_raw_fd() as u64;
                    epoll.add(&client, token, EpollFlags::EPOLLIN | EpollFlags::EPOLLET)?;
                    clients.insert(token, client);
                }
                continue;
            }
            let mut request = [0; 64];
            while let Some(client) = clients.get(&event.token) {
                if matches!(unread(client), Ok(1..64)) {
                    break; // The rest of the request is to come.
                }
                match recv(client, &mut request) {
                    Ok(Received::Bytes(n)) => drop(send(client, &request[..n])),
                    Ok(Received::NotNow) => break,
                    Ok(Received::End) | Err(_) => drop(clients.remove(&event.token)),
                }
            }
        }
    }
}
