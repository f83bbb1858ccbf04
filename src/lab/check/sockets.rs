//! Sockets of others, from /proc/net/tcp: who listens, without a connection, which would be a client of the server; and what waits in
//! the queues of a connection.

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

/// What waits at the server's end of a connection, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::lab) struct Queues {
    /// Sent by the server, and not acknowledged by the client.
    pub(in crate::lab) to_send: u32,
    /// Received, and not read by the server.
    pub(in crate::lab) unread: u32,
}

/// The queues at `server`'s end of its connection with `client`. `None` when no such connection is established.
///
/// # Errors
///
/// Where /proc/net/tcp cannot be read.
pub(in crate::lab) fn queues(server: SocketAddr, client: SocketAddr) -> anyhow::Result<Option<Queues>> {
    let all = procfs::net::tcp()?.into_iter().chain(procfs::net::tcp6().unwrap_or_default());
    let canonical = |addr: SocketAddr| SocketAddr::new(addr.ip().to_canonical(), addr.port());
    let is_it = |entry: &procfs::net::TcpNetEntry| {
        entry.state == TcpState::Established
            && canonical(entry.local_address) == canonical(server)
            && canonical(entry.remote_address) == canonical(client)
    };
    Ok(all.into_iter().find(is_it).map(|entry| Queues { to_send: entry.tx_queue, unread: entry.rx_queue }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

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
