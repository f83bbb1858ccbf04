//! What the kernel says about TCP connections, in the network namespace of this thread.

use crate::support::wait_until;
use procfs::net::{TcpNetEntries, TcpNetEntry, TcpState};
use procfs::{FromReadSI, current_system_info};
use std::net::{SocketAddr, TcpStream};

/// All sockets: tcp(7).
fn sockets() -> Vec<TcpNetEntry> {
    let all = TcpNetEntries::from_file("/proc/thread-self/net/tcp", current_system_info());
    all.expect("/proc/thread-self/net/tcp").0
}

/// Whether a socket with that port is in that state.
pub(super) fn has(port: u16, state: &TcpState) -> bool {
    sockets().iter().any(|socket| socket.local_address.port() == port && socket.state == *state)
}

/// Whether somebody asks for a connection to that port, and has no answer.
pub(super) fn is_asked(port: u16) -> bool {
    let asks =
        |socket: &TcpNetEntry| socket.remote_address.port() == port && socket.state == TcpState::SynSent;
    sockets().iter().any(asks)
}

/// The end of a connection at `local`; `None` when there is no such.
fn end(local: SocketAddr, remote: SocketAddr) -> Option<TcpNetEntry> {
    sockets().into_iter().find(|socket| socket.local_address == local && socket.remote_address == remote)
}

/// The state of the end of a connection at `local`; `None` when there is no such.
pub(super) fn state(local: SocketAddr, remote: SocketAddr) -> Option<TcpState> {
    end(local, remote).map(|socket| socket.state)
}

/// Wait until as many bytes have arrived at the other end, which does not read.
#[track_caller]
pub(super) fn wait_until_arrived(client: &TcpStream, bytes: usize) {
    let ours = client.local_addr().expect("where the client is");
    let theirs = client.peer_addr().expect("where its server is");
    wait_until(&format!("{bytes} bytes arrive"), || {
        end(theirs, ours).is_some_and(|socket| socket.rx_queue == bytes as u32)
    });
}

/// Wait until as many clients wait to be accepted.
#[track_caller]
pub(super) fn wait_until_queued(listener: SocketAddr, clients: u32) {
    // The queue of a socket that listens is one of connections.
    let waits = |socket: &TcpNetEntry| {
        socket.local_address == listener && socket.state == TcpState::Listen && socket.rx_queue == clients
    };
    wait_until(&format!("{clients} wait to be accepted"), || sockets().iter().any(waits));
}
