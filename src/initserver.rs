//! From an address to a listening socket: the course's `initserver`.

use crate::Result;
use crate::sys::socket::{self, Mode};
use crate::sys::sockopt;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

/// How many clients may wait to be accepted. The kernel cuts it to `net.core.somaxconn`.
///
/// The course has 5, with which a crowd of clients would wait a second for a second SYN.
pub const BACKLOG: i32 = 4096;

/// When the kernel asks a silent client whether it is still there, how often it repeats that, and how many times.
///
/// A client whose host has vanished (its cable, its power, its network) never ends its connection, and would keep its descriptor
/// for ever. With these it is closed after seven minutes: `ETIMEDOUT`. A client that lives answers by its kernel, and sees
/// nothing of it. The kernel's own first probe would come after two hours, if it was asked for at all.
const KEEPALIVE: (Duration, Duration, u32) = (Duration::from_secs(300), Duration::from_secs(30), 4);

/// A listening socket and the address that it got.
#[derive(Debug)]
pub struct Listener {
    socket: OwnedFd,
    addr: SocketAddr,
}

/// Listen on `addr`; port 0 lets the kernel choose a free one (see [`Listener::addr`]).
///
/// As in the course: socket, `SO_REUSEADDR`, bind, listen; the socket blocks. `TCP_NODELAY` and keepalive (a first probe after
/// five minutes of silence) are set too, because accepted clients inherit them, which saves calls for each.
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
    listen(addr, false)
}

/// The same for several listeners on one port (`SO_REUSEPORT`): [`Listener::another`] makes more. The kernel spreads the clients
/// over them by a hash of the addresses and ports. Any program of this user may open one more.
///
/// # Errors
///
/// As [`initserver`]; `EADDRINUSE` when a listener has the port that does not share it.
#[doc(alias = "SO_REUSEPORT")]
pub fn initserver_shared(addr: SocketAddr) -> Result<Listener> {
    listen(addr, true)
}

fn listen(addr: SocketAddr, shared: bool) -> Result<Listener> {
    let socket = socket::tcp(&addr, Mode::Blocking)?;
    sockopt::set_reuse_addr(&socket, true)?;
    if shared {
        sockopt::set_reuse_port(&socket, true)?;
    }
    sockopt::set_nodelay(&socket, true)?;
    let (idle, interval, probes) = KEEPALIVE;
    // A system that lacks these options is served all the same.
    sockopt::set_keepalive(&socket, idle, interval, probes).ok();
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

    /// One more listener on the same address and port.
    ///
    /// # Errors
    ///
    /// `EADDRINUSE` when this one is not from [`initserver_shared`]; `EMFILE`.
    pub fn another(&self) -> Result<Listener> {
        initserver_shared(self.addr)
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

/// A listener of the standard library or of a service manager, with the options that it has. Only [`initserver`] sets
/// `TCP_NODELAY` and keepalive. The models that wait in accept(2) need one that blocks, as [`TcpListener::bind`] makes it.
///
/// The error is `EAFNOSUPPORT` when the descriptor behind it is no internet socket: getsockname(2).
impl TryFrom<TcpListener> for Listener {
    type Error = crate::Error;

    fn try_from(listener: TcpListener) -> Result<Listener> {
        let addr = socket::local_addr(&listener)?;
        Ok(Listener { socket: listener.into(), addr })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::socket::{Accepted, accept};
    use nix::sys::socket::{getsockopt, sockopt};

    #[test]
    fn a_listener_of_the_standard_library_keeps_its_address_and_another_socket_is_refused() {
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = tcp.local_addr().unwrap();
        assert_eq!(Listener::try_from(tcp).unwrap().addr(), addr);
        let (unix, _other) = std::os::unix::net::UnixStream::pair().unwrap();
        let error = Listener::try_from(TcpListener::from(OwnedFd::from(unix))).unwrap_err();
        assert_eq!(error.errno(), Some(nix::errno::Errno::EAFNOSUPPORT));
    }

    #[test]
    fn only_a_shared_port_has_several_listeners() {
        let any = "127.0.0.1:0".parse().unwrap();
        let first = initserver_shared(any).unwrap();
        assert_eq!(first.another().unwrap().addr(), first.addr());
        let error = initserver(any).unwrap().another().unwrap_err();
        assert_eq!(error.errno(), Some(nix::errno::Errno::EADDRINUSE));
    }

    #[test]
    fn an_accepted_client_is_asked_whether_it_is_still_there() {
        let listener = initserver("127.0.0.1:0".parse().unwrap()).unwrap();
        let _client = std::net::TcpStream::connect(listener.addr()).unwrap();
        let Ok(Accepted::Client(socket, _)) = accept(&listener, Mode::Blocking) else {
            panic!("a client waits")
        };
        assert!(getsockopt(&socket, sockopt::KeepAlive).unwrap());
        assert_eq!(u64::from(getsockopt(&socket, sockopt::TcpKeepIdle).unwrap()), KEEPALIVE.0.as_secs());
        assert_eq!(getsockopt(&socket, sockopt::TcpKeepCount).unwrap(), KEEPALIVE.2);
    }
}
