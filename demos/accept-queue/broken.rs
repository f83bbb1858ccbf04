//! An echo server whose accept queue has room for a few clients.

use io_models::sys::epoll::{Epoll, EpollFlags, Events};
use io_models::sys::socket::{self, Accepted, Mode, Received, accept, recv, send};
use std::collections::HashMap;
use std::os::fd::AsRawFd;

pub fn serve(port: u16) -> io_models::Result<()> {
    let addr = ([127, 0, 0, 1], port).into();
    let listener = socket::tcp(&addr, Mode::Blocking)?;
    socket::bind(&listener, &addr)?;
    socket::listen(&listener, 5)?;
    let (epoll, mut events, mut clients) = (Epoll::new()?, Events::with_capacity(64), HashMap::new());
    epoll.add(&listener, 0, EpollFlags::EPOLLIN)?;
    let mut buffer = [0; 1024];
    loop {
        epoll.wait(&mut events, None)?;
        for event in &events {
            if event.token == 0 {
                if let Accepted::Client(client, _) = accept(&listener, Mode::Nonblocking)? {
                    let token = client.as_raw_fd() as u64;
                    epoll.add(&client, token, EpollFlags::EPOLLIN)?;
                    clients.insert(token, client);
                }
                continue;
            }
            let client = &clients[&event.token];
            match recv(client, &mut buffer) {
                Ok(Received::Bytes(n)) => drop(send(client, &buffer[..n])),
                Ok(Received::NotNow) => {}
                Ok(Received::End) | Err(_) => drop(clients.remove(&event.token)),
            }
        }
    }
}
