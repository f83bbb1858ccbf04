//! An echo server with 16 threads that wait for clients, one of which wakes up for each.

use io_models::initserver::initserver;
use io_models::sys::epoll::{Epoll, EpollFlags, Events};
use io_models::sys::fcntl::set_nonblocking;
use io_models::sys::socket::{Accepted, Mode, Received, accept, recv, send};
use std::collections::HashMap;
use std::os::fd::{AsFd, AsRawFd};
use std::thread;

fn work(listener: impl AsFd) -> io_models::Result<()> {
    let (epoll, mut events) = (Epoll::new()?, Events::with_capacity(64));
    epoll.add(&listener, 0, EpollFlags::EPOLLIN | EpollFlags::EPOLLEXCLUSIVE)?;
    let (mut clients, mut buffer) = (HashMap::new(), [0; 1024]);
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
            match recv(&clients[&event.token], &mut buffer) {
                Ok(Received::Bytes(n)) => drop(send(&clients[&event.token], &buffer[..n])),
                _ => drop(clients.remove(&event.token)),
            }
        }
    }
}

pub fn serve(port: u16) -> io_models::Result<()> {
    let listener = initserver(([127, 0, 0, 1], port).into())?;
    set_nonblocking(&listener)?;
    thread::scope(|scope| (0..16).for_each(|_| drop(scope.spawn(|| work(&listener)))));
    Ok(())
}
