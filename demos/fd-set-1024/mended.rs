//! An echo server over poll(2), whose array has room for any descriptor.

use io_models::initserver::initserver;
use io_models::sys::fcntl::duplicate;
use io_models::sys::poll::{PollFlags, PollSet};
use io_models::sys::socket::{Accepted, Mode, Received, accept, recv, send};
use std::iter::once;
use std::os::fd::{AsFd, OwnedFd};

pub fn serve(port: u16) -> io_models::Result<()> {
    let listener = initserver(([127, 0, 0, 1], port).into())?;
    // As many descriptors as a server with 1024 clients has.
    let others: io_models::Result<Vec<_>> = (0..1024).map(|_| duplicate(&listener)).collect();
    let (_others, mut clients, mut buffer) = (others?, Vec::<OwnedFd>::new(), [0; 1024]);
    loop {
        let mut set = PollSet::new();
        for fd in once(listener.as_fd()).chain(clients.iter().map(AsFd::as_fd)) {
            set.push(fd, PollFlags::POLLIN);
        }
        set.wait(None)?;
        let mut slots = 1..;
        clients.retain(|client| {
            let is_ready = slots.next().is_some_and(|slot| !set.revents(slot).is_empty());
            let received = if is_ready { recv(client, &mut buffer) } else { Ok(Received::NotNow) };
            match received {
                Ok(Received::Bytes(n)) => send(client, &buffer[..n]).is_ok(),
                other => matches!(other, Ok(Received::NotNow)),
            }
        });
        if !set.revents(0).is_empty()
            && let Accepted::Client(client, _) = accept(&listener, Mode::Nonblocking)?
        {
            clients.push(client);
        }
    }
}
