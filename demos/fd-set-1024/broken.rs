//! An echo server over select(2), whose fd_set has room for the descriptors 0 to 1023.

use io_models::initserver::initserver;
use io_models::sys::fcntl::duplicate;
use io_models::sys::select::{FdSet, select};
use io_models::sys::socket::{Accepted, Mode, Received, accept, recv, send};
use std::iter::once;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

pub fn serve(port: u16) -> io_models::Result<()> {
    let listener = initserver(([127, 0, 0, 1], port).into())?;
    // As many descriptors as a server with 1024 clients has.
    let others: io_models::Result<Vec<_>> = (0..1024).map(|_| duplicate(&listener)).collect();
    let (_others, mut clients, mut buffer) = (others?, Vec::<OwnedFd>::new(), [0; 1024]);
    loop {
        let mut set = FdSet::new();
        for fd in once(listener.as_fd()).chain(clients.iter().map(AsFd::as_fd)) {
            set.insert(fd.as_raw_fd())?; // FD_SET in C checks nothing, and writes beyond the set.
        }
        select(&mut set, None, None)?;
        clients.retain(|client| {
            let is_ready = set.contains(client.as_raw_fd());
            let received = if is_ready { recv(client, &mut buffer) } else { Ok(Received::NotNow) };
            match received {
                Ok(Received::Bytes(n)) => send(client, &buffer[..n]).is_ok(),
                other => matches!(other, Ok(Received::NotNow)),
            }
        });
        if set.contains(listener.as_fd().as_raw_fd())
            && let Accepted::Client(client, _) = accept(&listener, Mode::Nonblocking)?
        {
            clients.push(client);
        }
    }
}
