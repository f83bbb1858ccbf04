//! Blocking TCP, made convenient: the course's two classes, `ctcpclient` and `ctcpserver`.
//!
//! A [`TcpClient`] has one connection; a [`TcpServer`] has a listener and one client at a time. Both
//! close what they have when they are dropped. What an object cannot do in its state (send before it is
//! connected) is an error, and calls nothing.
//!
//! TCP has no messages: what is sent at once may arrive in pieces, and what is sent in pieces at once.
//! Programs that answer each piece, as the course's do, work because both sides wait for each other.

use crate::error::{Error, Result};
use crate::initserver::{Listener, initserver};
use crate::sys::poll::{PollFlags, wait_for};
use crate::sys::socket::{self, Accepted, Connected, Mode, Received, Sent};
use crate::sys::{Call, Errno};
use std::net::{Ipv4Addr, SocketAddr, ToSocketAddrs};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

/// One connection to a server: the course's `ctcpclient`.
///
/// # Examples
///
/// ```
/// use io_models::tcp::{TcpClient, TcpServer};
///
/// let mut server = TcpServer::new();
/// let port = server.initserver(0)?.port();
/// let mut client = TcpClient::new();
/// client.connect("localhost", port)?;
/// server.accept()?;
///
/// client.send(b"hello")?;
/// let mut buffer = [0; 1024];
/// assert_eq!(server.recv(&mut buffer)?, 5);
/// server.send(b"ok")?;
/// assert_eq!(client.recv(&mut buffer)?, 2);
/// client.close();
/// assert_eq!(server.recv(&mut buffer)?, 0, "the end");
/// # Ok::<(), io_models::Error>(())
/// ```
#[derive(Debug, Default)]
pub struct TcpClient {
    socket: Option<OwnedFd>,
}

const NOT_CONNECTED: Error = Error::Misuse("not connected");

impl TcpClient {
    /// Not connected yet.
    #[must_use]
    pub fn new() -> TcpClient {
        TcpClient::default()
    }

    /// Connect to `host`, a name or an address, trying each address that a name has.
    ///
    /// # Errors
    ///
    /// [`Error::Misuse`] when it is connected already; as [`resolve`] and [`connect`].
    pub fn connect(&mut self, host: &str, port: u16) -> Result<()> {
        if self.socket.is_some() {
            return Err(Error::Misuse("connected already"));
        }
        self.socket = Some(connect(&resolve(host, port)?, |_, _| Ok(()))?);
        Ok(())
    }

    /// Send all of `bytes`.
    ///
    /// # Errors
    ///
    /// [`Error::Misuse`] when it is not connected; as [`send_all`].
    pub fn send(&self, bytes: &[u8]) -> Result<()> {
        send_all(self.socket.as_ref().ok_or(NOT_CONNECTED)?, bytes)
    }

    /// Wait until something arrives and take it, as much as `buffer` holds at most: the number of
    /// bytes, 0 when no more will come.
    ///
    /// # Errors
    ///
    /// [`Error::Misuse`] when it is not connected; as [`recv_some`].
    pub fn recv(&self, buffer: &mut [u8]) -> Result<usize> {
        recv_some(self.socket.as_ref().ok_or(NOT_CONNECTED)?, buffer)
    }

    /// End the connection; `false` when there is none.
    pub fn close(&mut self) -> bool {
        self.socket.take().map(crate::sys::close).is_some()
    }
}

/// A listener and one client at a time: the course's `ctcpserver`.
#[derive(Debug, Default)]
pub struct TcpServer {
    listener: Option<Listener>,
    client: Option<(OwnedFd, SocketAddr)>,
}

const NO_CLIENT: Error = Error::Misuse("no client");

impl TcpServer {
    /// Not listening yet.
    #[must_use]
    pub fn new() -> TcpServer {
        TcpServer::default()
    }

    /// Listen on `port` of all IPv4 addresses, and return the address; port 0 lets the kernel choose.
    ///
    /// # Errors
    ///
    /// [`Error::Misuse`] when it listens already; as [`initserver`].
    pub fn initserver(&mut self, port: u16) -> Result<SocketAddr> {
        if self.listener.is_some() {
            return Err(Error::Misuse("listening already"));
        }
        let listener = initserver((Ipv4Addr::UNSPECIFIED, port).into())?;
        Ok(self.listener.insert(listener).addr())
    }

    /// Wait for the next client. One that was there before is closed.
    ///
    /// # Errors
    ///
    /// [`Error::Misuse`] before [`initserver`](TcpServer::initserver); as [`socket::accept`].
    pub fn accept(&mut self) -> Result<()> {
        let listener = self.listener.as_ref().ok_or(Error::Misuse("not listening"))?;
        loop {
            match socket::accept(listener, Mode::Blocking)? {
                Accepted::Client(client, peer) => {
                    self.client = Some((client, peer));
                    return Ok(());
                }
                // A client that has gone before it was accepted is nobody.
                Accepted::Nobody | Accepted::NotThis(Errno::ECONNABORTED) => {}
                Accepted::NotThis(source) => {
                    let fd = Some(listener.as_fd().as_raw_fd());
                    return Err(Error::Call { call: Call::Accept4, fd, source });
                }
            }
        }
    }

    /// Where the client is.
    #[must_use]
    pub fn client_addr(&self) -> Option<SocketAddr> {
        self.client.as_ref().map(|&(_, peer)| peer)
    }

    /// Send all of `bytes` to the client.
    ///
    /// # Errors
    ///
    /// [`Error::Misuse`] without a client; as [`send_all`].
    pub fn send(&self, bytes: &[u8]) -> Result<()> {
        send_all(&self.client.as_ref().ok_or(NO_CLIENT)?.0, bytes)
    }

    /// Wait until something arrives from the client and take it, as much as `buffer` holds at most: the
    /// number of bytes, 0 when no more will come.
    ///
    /// # Errors
    ///
    /// [`Error::Misuse`] without a client; as [`recv_some`].
    pub fn recv(&self, buffer: &mut [u8]) -> Result<usize> {
        recv_some(&self.client.as_ref().ok_or(NO_CLIENT)?.0, buffer)
    }

    /// Let nobody else in; `false` when it does not listen.
    pub fn close_listener(&mut self) -> bool {
        self.listener.take().map(|listener| crate::sys::close(listener.into_socket())).is_some()
    }

    /// End the client's connection; `false` when there is none.
    pub fn close_client(&mut self) -> bool {
        self.client.take().map(|(client, _)| crate::sys::close(client)).is_some()
    }
}

/// The addresses of `host`, a name or an address: getaddrinfo(3). IPv4 first, because that is what the
/// course's servers listen on; there is at least one.
///
/// # Errors
///
/// [`Error::NoAddress`].
#[doc(alias = "gethostbyname")]
#[doc(alias = "getaddrinfo")]
pub fn resolve(host: &str, port: u16) -> Result<Vec<SocketAddr>> {
    let no_address = |why: &str| Error::NoAddress {
        host: host.to_owned(),
        why: why.trim_start_matches("failed to lookup address information: ").to_owned(),
    };
    let found = (host, port).to_socket_addrs().map_err(|why| no_address(&why.to_string()))?;
    let mut found: Vec<_> = found.collect();
    found.sort_by_key(SocketAddr::is_ipv6);
    if found.is_empty() { Err(no_address("the resolver found none")) } else { Ok(found) }
}

/// A blocking connection to the first of `addrs` that takes one. Each socket is given to `prepare` first.
///
/// # Errors
///
/// As [`socket::tcp`], `prepare` and [`socket::connect`], of the last address tried.
pub fn connect(
    addrs: &[SocketAddr],
    prepare: impl Fn(&OwnedFd, &SocketAddr) -> Result<()>,
) -> Result<OwnedFd> {
    let mut result = Err(Error::Misuse("no address to connect to"));
    for addr in addrs {
        result = socket::tcp(addr, Mode::Blocking).and_then(|socket| {
            prepare(&socket, addr)?;
            match socket::connect(&socket, addr)? {
                Connected::Yes => Ok(socket),
                // `prepare` has given it a time limit (SO_SNDTIMEO), which has passed.
                Connected::Pending => {
                    let (call, fd) = (Call::Connect, Some(socket.as_raw_fd()));
                    Err(Error::Call { call, fd, source: Errno::ETIMEDOUT })
                }
            }
        });
        if result.is_ok() {
            break;
        }
    }
    result
}

/// Send all of `bytes`, however many send(2) that takes. Waits on a non-blocking socket, too.
///
/// # Errors
///
/// As [`socket::send`].
pub fn send_all(fd: impl AsFd, mut bytes: &[u8]) -> Result<()> {
    while !bytes.is_empty() {
        match socket::send(&fd, bytes)? {
            Sent::Bytes(n) => bytes = &bytes[n..],
            Sent::NotNow => drop(wait_for(&fd, PollFlags::POLLOUT, None)?),
        }
    }
    Ok(())
}

/// Wait until something arrives and take it, as much as `buffer` holds at most: the number of bytes, 0
/// when no more will come. Waits on a non-blocking socket, too.
///
/// # Errors
///
/// As [`socket::recv`].
pub fn recv_some(fd: impl AsFd, buffer: &mut [u8]) -> Result<usize> {
    loop {
        match socket::recv(&fd, buffer)? {
            Received::Bytes(n) => return Ok(n),
            Received::End => return Ok(0),
            Received::NotNow => drop(wait_for(&fd, PollFlags::POLLIN, None)?),
        }
    }
}

/// Fill `buffer`, however many pieces that takes: its length, or less when no more will come.
///
/// # Errors
///
/// As [`recv_some`].
pub fn recv_full(fd: impl AsFd, buffer: &mut [u8]) -> Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match recv_some(&fd, &mut buffer[filled..])? {
            0 => break,
            n => filled += n,
        }
    }
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::Errno;
    use std::io::Write;
    use std::os::unix::net::UnixStream;

    #[test]
    fn what_the_state_rules_out_is_an_error_and_no_call() {
        let before = crate::sys::calls::of_this_thread();
        let mut client = TcpClient::new();
        assert_eq!(client.send(b"x"), Err(Error::Misuse("not connected")));
        assert_eq!(client.recv(&mut [0]), Err(Error::Misuse("not connected")));
        assert!(!client.close());
        let mut server = TcpServer::new();
        assert_eq!(server.accept(), Err(Error::Misuse("not listening")));
        assert_eq!(server.send(b"x"), Err(Error::Misuse("no client")));
        assert_eq!(server.recv(&mut [0]), Err(Error::Misuse("no client")));
        assert!(!server.close_client() && !server.close_listener());
        assert_eq!(server.client_addr(), None);
        assert_eq!(crate::sys::calls::of_this_thread().since(&before).total(), 0);

        let port = server.initserver(0).unwrap().port();
        assert_eq!(server.initserver(0), Err(Error::Misuse("listening already")));
        client.connect("127.0.0.1", port).unwrap();
        assert_eq!(client.connect("127.0.0.1", port), Err(Error::Misuse("connected already")));
        assert!(client.close());
        assert_eq!(client.send(b"x"), Err(Error::Misuse("not connected")), "after close as before");
    }

    #[test]
    fn a_dropped_server_closes_its_client_and_its_port() {
        let mut server = TcpServer::new();
        let port = server.initserver(0).unwrap().port();
        let mut client = TcpClient::new();
        client.connect("127.0.0.1", port).unwrap();
        server.accept().unwrap();
        assert_eq!(server.client_addr().unwrap().ip(), Ipv4Addr::LOCALHOST);
        drop(server);
        assert_eq!(client.recv(&mut [0]).unwrap(), 0);
        let refused = TcpClient::new().connect("127.0.0.1", port).unwrap_err();
        assert_eq!(refused.errno(), Some(Errno::ECONNREFUSED), "{refused}");
    }

    #[test]
    fn the_next_client_replaces_the_one_before() {
        let mut server = TcpServer::new();
        let port = server.initserver(0).unwrap().port();
        let mut clients = [TcpClient::new(), TcpClient::new()];
        for client in &mut clients {
            client.connect("127.0.0.1", port).unwrap();
            server.accept().unwrap();
        }
        assert_eq!(clients[0].recv(&mut [0]).unwrap(), 0);
        clients[1].send(b"hello").unwrap();
        assert_eq!(server.recv(&mut [0; 8]).unwrap(), 5);
    }

    #[test]
    fn a_name_without_an_address_is_named() {
        let error = TcpClient::new().connect("no.such.host.invalid", 5005).unwrap_err();
        assert!(matches!(&error, Error::NoAddress { host, .. } if host == "no.such.host.invalid"), "{error}");
    }

    #[test]
    fn all_is_sent_and_filled_whatever_the_pieces() {
        for nonblocking in [false, true] {
            let (one, other) = UnixStream::pair().unwrap();
            one.set_nonblocking(nonblocking).unwrap();
            other.set_nonblocking(nonblocking).unwrap();
            let bytes: Vec<u8> = (0..3_000_000_u32).map(|i| (i % 251) as u8).collect();
            std::thread::scope(|scope| {
                scope.spawn(|| send_all(&one, &bytes).unwrap());
                let mut got = vec![0; bytes.len()];
                assert_eq!(recv_full(&other, &mut got).unwrap(), bytes.len());
                assert!(got == bytes);
            });
            (&one).write_all(b"last").unwrap();
            drop(one);
            assert_eq!(recv_full(&other, &mut [0; 8]).unwrap(), 4, "the end comes first");
        }
    }
}
