//! Sockets of others: who listens, from /proc/net/tcp, without a connection, which would be a client of the server; and the state and the
//! queues of a connection, from sock_diag(7).

use crate::sys::diag::{Diag, Socket};
use procfs::net::{TcpNetEntries, TcpState};
use procfs::{FromBufReadSI, current_system_info};
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

/// A socket that listens.
#[derive(Debug, Clone, Copy)]
pub(in crate::lab) struct Listener {
    /// Where a client on this machine reaches it.
    pub(in crate::lab) addr: SocketAddr,
    pub(in crate::lab) inode: u64,
}

/// The socket that listens on this port of TCP.
///
/// # Errors
///
/// Where /proc/net/tcp cannot be read.
pub(in crate::lab) fn listener_on(port: u16) -> anyhow::Result<Option<Listener>> {
    Ok(listeners()?.find(|listener| listener.addr.port() == port))
}

/// All sockets of TCP that listen.
///
/// # Errors
///
/// Where /proc/net/tcp cannot be read.
pub(super) fn listeners() -> anyhow::Result<impl Iterator<Item = Listener>> {
    // Without IPv6 the second file is missing.
    Ok(listening("/proc/net/tcp")?.into_iter().chain(listening("/proc/net/tcp6").unwrap_or_default()))
}

/// The kernel shows sockets that listen before all others, of which there may be thousands.
fn listening(file: &str) -> anyhow::Result<Vec<Listener>> {
    // "sl local_address rem_address st …", where 0A is LISTEN.
    const STATE: usize = 3;
    let mut listening = String::new();
    for (i, line) in BufReader::new(File::open(file)?).lines().enumerate() {
        let line = line?;
        if i > 0 && line.split_ascii_whitespace().nth(STATE) != Some("0A") {
            break;
        }
        listening += &line;
        listening.push('\n');
    }
    let entries = TcpNetEntries::from_buf_read(listening.as_bytes(), current_system_info())?;
    let of = |entry: procfs::net::TcpNetEntry| {
        let ip = match entry.local_address.ip() {
            IpAddr::V4(Ipv4Addr::UNSPECIFIED) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(Ipv6Addr::UNSPECIFIED) if has_ipv6() => Ipv6Addr::LOCALHOST.into(),
            // Such a socket takes clients of IPv4 as well.
            IpAddr::V6(Ipv6Addr::UNSPECIFIED) => Ipv4Addr::LOCALHOST.into(),
            ip => ip,
        };
        Listener { addr: SocketAddr::new(ip, entry.local_address.port()), inode: entry.inode }
    };
    Ok(entries.0.into_iter().filter(|entry| entry.state == TcpState::Listen).map(of).collect())
}

/// Whether ::1 can be reached: containers often are without it.
fn has_ipv6() -> bool {
    std::net::UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)).is_ok()
}

/// The first of these processes that has the socket open.
pub(super) fn owner(inode: u64, pids: &[u32]) -> Option<u32> {
    let name = format!("socket:[{inode}]");
    let is_it = |fd: &PathBuf| fs::read_link(fd).is_ok_and(|target| target.as_os_str() == name.as_str());
    pids.iter().find(|&&pid| descriptors(pid).is_ok_and(|fds| fds.iter().any(is_it))).copied()
}

/// The files in /proc that stand for the open descriptors of a process.
///
/// # Errors
///
/// Where /proc does not show them, and when the process has ended.
pub(in crate::lab) fn descriptors(pid: u32) -> io::Result<Vec<PathBuf>> {
    let of =
        |folder: PathBuf| -> io::Result<Vec<_>> { fs::read_dir(folder)?.map(|fd| Ok(fd?.path())).collect() };
    let fds = of(format!("/proc/{pid}/fd").into())?;
    if !fds.is_empty() {
        return Ok(fds);
    }
    // A first thread that has ended before the others shows none.
    let tasks = fs::read_dir(format!("/proc/{pid}/task"))?.flatten();
    Ok(tasks.filter_map(|task| of(task.path().join("fd")).ok()).max_by_key(Vec::len).unwrap_or_default())
}

/// One end of a connection, with what waits there, in bytes.
#[derive(Debug, Clone)]
pub(in crate::lab) struct End {
    pub(in crate::lab) state: TcpState,
    /// Sent, and not acknowledged by the other end.
    pub(in crate::lab) to_send: u32,
    /// Received, and not read.
    pub(in crate::lab) unread: u32,
}

/// The end of a connection that has the address `own`. `None` when the kernel has no such connection.
///
/// # Errors
///
/// Where the kernel has no sock_diag(7), and /proc/net/tcp cannot be read.
pub(in crate::lab) fn end(own: SocketAddr, peer: SocketAddr) -> anyhow::Result<Option<End>> {
    match Diag::new().and_then(|diag| diag.find(own, peer)) {
        Ok(found) => {
            let of = |socket: Socket| {
                let state = TcpState::from_u8(socket.state)?;
                // Without a connection, the kernel finds the socket that listens there.
                let end = End { state, to_send: socket.unsent, unread: socket.received };
                (end.state != TcpState::Listen).then_some(end)
            };
            Ok(found.and_then(of))
        }
        Err(_) => end_among_all(own, peer),
    }
}

/// The same from /proc/net/tcp, which shows all sockets: with tens of thousands in TIME_WAIT, a look takes a tenth of a second.
fn end_among_all(own: SocketAddr, peer: SocketAddr) -> anyhow::Result<Option<End>> {
    let all = procfs::net::tcp()?.into_iter().chain(procfs::net::tcp6().unwrap_or_default());
    let canonical = |addr: SocketAddr| SocketAddr::new(addr.ip().to_canonical(), addr.port());
    let is_it = |entry: &procfs::net::TcpNetEntry| {
        canonical(entry.local_address) == canonical(own) && canonical(entry.remote_address) == canonical(peer)
    };
    let of = |entry: procfs::net::TcpNetEntry| End {
        state: entry.state,
        to_send: entry.tx_queue,
        unread: entry.rx_queue,
    };
    Ok(all.into_iter().find(is_it).map(of))
}

/// The `server`'s end of its connection with `client`. `None` when no such connection is established.
///
/// # Errors
///
/// Those of [`end`].
pub(in crate::lab) fn established(server: SocketAddr, client: SocketAddr) -> anyhow::Result<Option<End>> {
    Ok(end(server, client)?.filter(|end| end.state == TcpState::Established))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::net::{TcpListener, TcpStream};
    use std::time::{Duration, Instant};

    /// Wait until something is so.
    fn until(what: &str, is_so: impl Fn() -> bool) {
        let began = Instant::now();
        while !is_so() {
            assert!(began.elapsed() < Duration::from_secs(30), "not within 30 s: {what}");
            std::thread::yield_now();
        }
    }

    #[test]
    fn both_ends_of_a_connection_until_nothing_is_left_of_it() {
        for find in [end, end_among_all] {
            let state = |own, peer| find(own, peer).unwrap().map(|end| end.state);
            // Clients of IPv4 reach a socket of IPv6 as well.
            for listens in ["127.0.0.1:0", "[::]:0"] {
                let Ok(listener) = TcpListener::bind(listens) else { continue };
                let server = SocketAddr::from((Ipv4Addr::LOCALHOST, listener.local_addr().unwrap().port()));
                let mut ours = TcpStream::connect(server).unwrap();
                let client = ours.local_addr().unwrap();
                let (theirs, _) = listener.accept().unwrap();
                ours.write_all(b"four").unwrap();
                until("the bytes have arrived", || {
                    find(client, server).unwrap().expect("it is open").to_send == 0
                });
                assert_eq!(find(server, client).unwrap().expect("it is open").unread, 4);
                assert_eq!(state(client, server), Some(TcpState::Established));
                drop(theirs);
                // What was not read makes a reset of the end.
                until("the client is reset", || {
                    state(client, server).is_none_or(|state| state == TcpState::Close)
                });
                assert_eq!(state(server, client), None, "{listens}");
                // In order, the one that closes first is left in TIME_WAIT.
                let ours = TcpStream::connect(server).unwrap();
                let client = ours.local_addr().unwrap();
                let (theirs, _) = listener.accept().unwrap();
                drop(theirs);
                until("the server has closed", || state(client, server) == Some(TcpState::CloseWait));
                drop(ours);
                until("the client has closed", || state(server, client) == Some(TcpState::TimeWait));
                assert_eq!(state(client, server), None, "{listens}");
            }
        }
    }

    #[test]
    fn a_socket_that_listens_is_found_with_its_owner() {
        let ours = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = ours.local_addr().unwrap();
        let found = listener_on(addr.port()).unwrap().expect("it listens");
        assert_eq!(found.addr, addr);
        assert_eq!(owner(found.inode, &[1, std::process::id()]), Some(std::process::id()));
        drop(ours);
        assert!(listener_on(addr.port()).unwrap().is_none());
    }

    #[test]
    fn a_socket_on_all_addresses_is_reached_on_loopback() {
        let ours = TcpListener::bind("0.0.0.0:0").unwrap();
        let port = ours.local_addr().unwrap().port();
        let found = listener_on(port).unwrap().expect("it listens");
        assert_eq!(found.addr, SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port));
    }
}
