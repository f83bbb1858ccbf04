//! An echo server that keeps a copy of each client's descriptor, and only closes its own.

use io_models::initserver::initserver;
use io_models::sys::epoll::{Epoll, EpollFlags, Events};
use io_models::sys::fcntl::duplicate;
use io_models::sys::socket::{Accepted, Mode, Received, accept, recv, send};
use std::collections::HashMap;
use std::os::fd::AsRawFd;

pub fn serve(port: u16) -> io_models::Result<()> {
    let listener = initserver(([127, 0, 0, 1], port).into())?;
    let (epoll, mut events, mut clients) = (Epoll::new()?, Events::with_capacity(64), HashMap::new());
    epoll.add(&listener, 0, EpollFlags::EPOLLIN)?;
    let (mut copies, mut buffer) = (Vec::new(), [0; 1024]);
    loop {
        epoll.wait(&mut events, None)?;
        for event in &events {
            if event.token == 0 {
                if let Accepted::Client(client, _) = accept(&listener, Mode::Nonblocking)? {
                    let token = client.as_raw_fd() as u64;
                    epoll.add(&client, token, EpollFlags::EPOLLIN)?;
                    copies.push(duplicate(&client)?); // For another part of the program.
                    clients.insert(token, client);
                }
                continue;
            }
            let Some(client) = clients.get(&event.token) else { continue };
            match recv(client, &mut buffer) {
                Ok(Received::Bytes(n)) => drop(send(client, &buffer[..n])),
                Ok(Received::NotNow) => {}
                Ok(Received::End) | Err(_) => drop(clients.remove(&event.token)),
            }
        }
    }
}
