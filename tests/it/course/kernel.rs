//! What the kernel says about TCP connections, in the network namespace of this thread.

use crate::support::{at_the_server, end, queued, tcp_state, wait_until};
use procfs::net::{TcpNetEntries, TcpNetEntry, TcpState};
use procfs::{FromReadSI, current_system_info};
use std::net::{SocketAddr, TcpStream};

/// Whether somebody asks for a connection to that port, and has no answer.
pub(super) fn is_asked(port: u16) -> bool {
    let all = TcpNetEntries::from_file("/proc/thread-self/net/tcp", current_system_info());
    let asks =
        |socket: &TcpNetEntry| socket.remote_address.port() == port && socket.state == TcpState::SynSent;
    all.expect("/proc/thread-self/net/tcp").0.iter().any(asks)
}

/// The state of the end of a connection at `local`; `None` when there is no such.
pub(super) fn state(local: SocketAddr, remote: SocketAddr) -> Option<TcpState> {
    end(local, remote).as_ref().map(tcp_state)
}

/// Wait until as many bytes have arrived at the other end, which does not read.
#[track_caller]
pub(super) fn wait_until_arrived(client: &TcpStream, bytes: usize) {
    wait_until(&format!("{bytes} bytes arrive"), || at_the_server(client).received == bytes as u32);
}

/// Wait until as many clients wait to be accepted.
#[track_caller]
pub(super) fn wait_until_queued(listener: SocketAddr, clients: u32) {
    wait_until(&format!("{clients} wait to be accepted"), || queued(listener) == clients);
}
