//! From an address to a listening socket: the course's `initserver`.

use crate::Result;
use crate::sys::socket::{self, Mode};
use crate::sys::sockopt;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// How many clients may wait to be accepted. The kernel cuts it to `net.core.somaxconn`.
///
/// The course has 5, with which a crowd of clients would wait a second for a second SYN.
pub const BACKLOG: i32 = 4096;

/// A listening socket and the address that it got.
#[derive(Debug)]
pub struct Listener {
    socket: OwnedFd,
    addr: SocketAddr,
}

/// Listen on `addr`; port 0 lets the kernel choose a free one (see [`Listener::addr`]).
///
/// As in the course: socket, `SO_REUSEADDR`, bind, listen; the socket blocks. `TCP_NODELAY` is set
/// too, because accepted clients inherit it, which saves a call for each.
///
/// # Errors
///
/// `EADDRINUSE`: another server has the port. `EACCES`: a port below
/// `net.ipv4.ip_unprivileged_port_start` (1024). `EADDRNOTAVAIL`: not an address of this machine.
///
/// # Examples
///
/// ```
/// use io_models::initserver::initserver;
///
/// let listener = initserver("127.0.0.1:0".parse()?)?;
/// assert_ne!(listener.addr().port(), 0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn initserver(addr: SocketAddr) -> Result<Listener> {
    let socket = socket::tcp(&addr, Mode::Blocking)?;
    sockopt::set_reuse_addr(&socket, true)?;
    sockopt::set_nodelay(&socket, true)?;
    socket::bind(&socket, &addr)?;
    socket::listen(&socket, BACKLOG)?;
    let addr = socket::local_addr(&socket)?;
    Ok(Listener { socket, addr })
}

impl Listener {
    /// The address that the socket is bound to, with the port that the kernel chose.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The socket alone.
    #[must_use]
    pub fn into_socket(self) -> OwnedFd {
        self.socket
    }

    /// Close the socket: close(2), counted. Clients that were not accepted are reset.
    pub fn close(self) {
        crate::sys::close(self.socket);
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
