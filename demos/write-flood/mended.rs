//! An echo server that keeps what send(2) has not taken, and sends it when there is room.

use io_models::initserver::initserver;
use io_models::sys::epoll::{Epoll, EpollFlags, Events};
use io_models::sys::socket::{Accepted, Mode, Received, Sent, accept, recv, send};
use std::collections::HashMap;
use std::os::fd::AsRawFd;

pub fn serve(port: u16) -> io_models::Result<()> {
    let listener = initserver(([127, 0, 0, 1], port).into())?;
    let (epoll, mut events, mut clients) = (Epoll::new()?, Events::with_capacity(64), HashMap::new());
    epoll.add(&listener, 0, EpollFlags::EPOLLIN)?;
    let mut buffer = [0; 16 * 1024];
    loop {
        epoll.wait(&mut events, None)?;
        for event in &events {
            if event.token == 0 {
                if let Accepted::Client(client, _) = accept(&listener, Mode::Nonblocking)? {
                    let token = client.as_raw_fd() as u64;
                    epoll.add(&client, token, EpollFlags::EPOLLIN)?;
                    clients.insert(token, (client, Vec::new()));
                }
                continue;
            }
            let Some((client, unsent)) = clients.get_mut(&event.token) else { continue };
            let got = if unsent.is_empty() { recv(&*client, &mut buffer) } else { Ok(Received::NotNow) };
            if let Ok(Received::Bytes(n)) = got {
                unsent.extend_from_slice(&buffer[..n]);
            }
            if let Ok(Sent::Bytes(n)) = send(&*client, unsent) {
                unsent.drain(..n);
            }
            let more = if unsent.is_empty() { EpollFlags::EPOLLIN } else { EpollFlags::EPOLLOUT };
            epoll.modify(&*client, event.token, more)?;
            let is_over = matches!(got, Ok(Received::End) | Err(_));
            is_over.then(|| clients.remove(&event.token));
        }
    }
}
