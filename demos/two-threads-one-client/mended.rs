//! An echo server with two threads on one epoll instance, one of which serves a client.

use io_models::initserver::initserver;
use io_models::sys::epoll::{Epoll, EpollFlags, Events};
use io_models::sys::socket::{Accepted, Mode, Received, accept, recv, send};
use std::{os::fd::OwnedFd, sync::RwLock, thread, time::Duration};

static CLIENTS: RwLock<Vec<OwnedFd>> = RwLock::new(Vec::new());
const INTEREST: EpollFlags = EpollFlags::EPOLLIN.union(EpollFlags::EPOLLONESHOT);

fn work(epoll: &Epoll) -> io_models::Result<()> {
    let (mut events, mut request) = (Events::with_capacity(1), [0; 2]);
    loop {
        epoll.wait(&mut events, None)?;
        let (token, clients) = (events.get(0).token, CLIENTS.read().expect("no panic"));
        let client = &clients[token as usize];
        match recv(client, &mut request) {
            Ok(Received::Bytes(n)) => {
                thread::sleep(Duration::from_millis(if request[0] == 255 { 20 } else { 0 })); // Work.
                send(client, &request[..n]).ok();
                epoll.modify(client, token, INTEREST)?;
            }
            Ok(Received::End | Received::NotNow) | Err(_) => drop(epoll.delete(client)),
        }
    }
}

pub fn serve(port: u16) -> io_models::Result<()> {
    let (listener, epoll) = (initserver(([127, 0, 0, 1], port).into())?, Epoll::new()?);
    thread::scope(|scope| {
        (0..2).for_each(|_| drop(scope.spawn(|| work(&epoll))));
        loop {
            let Accepted::Client(client, _) = accept(&listener, Mode::Nonblocking)? else { continue };
            let mut clients = CLIENTS.write().expect("no panic");
            epoll.add(&client, clients.len() as u64, INTEREST)?;
            clients.push(client);
        }
    })
}
