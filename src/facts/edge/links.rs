//! Pairs of descriptors of all kinds, one end written and the other read.

use super::super::check::{Held, differs};
use super::super::support::*;
use crate::sys::raw::{self, Reply};
use libc::{O_CLOEXEC, O_DIRECT, SOCK_CLOEXEC, SOCK_DGRAM, SOCK_SEQPACKET};

/// Two descriptors: what is written to one can be read from the other.
#[derive(Debug, Clone, Copy)]
pub(super) struct Link {
    pub(super) name: &'static str,
    pub(super) reader: i32,
    pub(super) writer: i32,
    /// Whether a read takes a message, and what does not fit is lost.
    pub(super) messages: bool,
    /// Of those that go over the loopback network.
    fence: Option<Fence>,
}

impl Link {
    /// Write to it.
    pub(super) fn write(&self, k: K, bytes: &[u8]) -> Reply<()> {
        k.write(self.writer, bytes).map(drop)
    }

    /// Read one byte, or one message of one byte.
    pub(super) fn read_one(&self, k: K) -> Reply<u8> {
        let mut byte = [0];
        k.read(self.reader, &mut byte)?;
        Ok(byte[0])
    }

    /// Have what was written so far arrive.
    pub(super) fn settle(&self, k: K) -> Held {
        match self.fence {
            Some(fence) => fence.cross(k),
            None => Ok(()),
        }
    }
}

/// A link of each kind. A pty is there only where there are any.
pub(super) fn links(k: K) -> Held<Vec<Link>> {
    let local =
        |name, [reader, writer]: [i32; 2], messages| Link { name, reader, writer, messages, fence: None };
    let network = |name, (reader, writer), messages| -> Reply<Link> {
        Ok(Link { name, reader, writer, messages, fence: Some(Fence::new(k)?) })
    };
    let (unix_a, unix_b) = unix_pair(k)?;
    let mut links = vec![
        local("a pipe", k.pipe2(O_CLOEXEC)?, false),
        local("a pipe with O_DIRECT", k.pipe2(O_CLOEXEC | O_DIRECT)?, true),
        local("AF_UNIX, stream", [unix_a, unix_b], false),
        local("AF_UNIX, datagrams", k.socketpair(SOCK_DGRAM | SOCK_CLOEXEC)?, true),
        local("AF_UNIX, packets", k.socketpair(SOCK_SEQPACKET | SOCK_CLOEXEC)?, true),
        network("TCP", tcp_pair(k)?, false)?,
        network("UDP", udp_pair(k)?, true)?,
    ];
    if let Ok([master, slave]) = raw::pty_pair() {
        links.push(local("a pty, from the master to the slave", [slave, master], false));
    }
    if let Ok([master, slave]) = raw::pty_pair() {
        links.push(local("a pty, from the slave to the master", [master, slave], false));
    }
    Ok(links)
}

/// The link of that name.
pub(super) fn link(k: K, name: &str) -> Held<Link> {
    match links(k)?.into_iter().find(|link| link.name == name) {
        Some(link) => Ok(link),
        None => differs(format!("there is {name}"), "there is none"),
    }
}

/// What an epoll instance says now, as a list of events alone: of one entry.
pub(super) fn events(k: K, epoll: i32) -> Reply<Vec<Events>> {
    Ok(ready(k, epoll)?.into_iter().map(|(_, events)| events).collect())
}

/// As [`events`], as soon as there are any, or none after [`BOUND`].
pub(super) fn events_soon(k: K, epoll: i32) -> Reply<Vec<Events>> {
    Ok(ready_soon(k, epoll)?.into_iter().map(|(_, events)| events).collect())
}

/// A new epoll instance with one entry.
pub(super) fn watching(k: K, fd: i32, events: Events) -> Reply<i32> {
    let epoll = epoll(k)?;
    add(k, epoll, fd, events)?;
    Ok(epoll)
}

/// Nothing, as [`events`] gives it.
pub(super) const SILENT: Vec<Events> = Vec::new();
