//! Pairs of descriptors of all kinds, one end written and the other read.

use crate::facts::support::*;
use libc::{O_CLOEXEC, O_DIRECT, SOCK_CLOEXEC, SOCK_DGRAM, SOCK_SEQPACKET, SOCK_STREAM};

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

/// All kinds of links.
pub(super) const KINDS: &[&str] = &[
    "a pipe",
    "a pipe with O_DIRECT",
    "AF_UNIX, stream",
    "AF_UNIX, datagrams",
    "AF_UNIX, packets",
    "TCP",
    "UDP",
    "a pty, from the master to the slave",
    "a pty, from the slave to the master",
];

/// A step for a link of each of these kinds. What one of them does, or that it cannot be had, says nothing of the others.
pub(super) fn each_of(k: K, kinds: &[&'static str], mut work: impl FnMut(Link) -> Held) -> Held {
    kinds.iter().for_each(|kind| step(kind, || work(link(k, kind)?)));
    Ok(())
}

/// A link of one kind.
pub(super) fn link(k: K, name: &'static str) -> Held<Link> {
    let missing = |refusal| skip(Why::Missing, format!("there is none here: {refusal:?}"));
    let network = name == "TCP" || name == "UDP";
    let [reader, writer] = match name {
        "a pipe" => k.pipe2(O_CLOEXEC)?,
        "a pipe with O_DIRECT" => k.pipe2(O_CLOEXEC | O_DIRECT).or_else(missing)?,
        "AF_UNIX, stream" => k.socketpair(SOCK_STREAM | SOCK_CLOEXEC)?,
        "AF_UNIX, datagrams" => k.socketpair(SOCK_DGRAM | SOCK_CLOEXEC)?,
        "AF_UNIX, packets" => k.socketpair(SOCK_SEQPACKET | SOCK_CLOEXEC)?,
        "TCP" => tcp_pair(k)?.into(),
        "UDP" => udp_pair(k)?.into(),
        "a pty, from the slave to the master" => raw::pty_pair().or_else(missing)?,
        _ => {
            let [master, slave] = raw::pty_pair().or_else(missing)?;
            [slave, master]
        }
    };
    let messages = matches!(name, "a pipe with O_DIRECT" | "AF_UNIX, datagrams" | "AF_UNIX, packets" | "UDP");
    let fence = if network { Some(Fence::new(k)?) } else { None };
    Ok(Link { name, reader, writer, messages, fence })
}

/// What an epoll instance says now, as a list of events alone: of one entry.
pub(super) fn events(k: K, epoll: i32) -> Reply<Vec<Events>> {
    Ok(ready(k, epoll)?.into_iter().map(|(_, events)| events).collect())
}

/// As [`events`], as soon as there are any, or none after [`bound`].
pub(super) fn events_soon(k: K, epoll: i32) -> Reply<Vec<Events>> {
    Ok(ready_soon(k, epoll)?.into_iter().map(|(_, events)| events).collect())
}

/// As [`events_soon`] if some are expected, and as [`events`] if none are.
pub(super) fn events_when(expected: &[Events], k: K, epoll: i32) -> Reply<Vec<Events>> {
    if expected.is_empty() { events(k, epoll) } else { events_soon(k, epoll) }
}

/// Nothing, as [`events`] gives it.
pub(super) const SILENT: Vec<Events> = Vec::new();
