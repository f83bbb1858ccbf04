//! What the kernel says of one TCP socket of this network namespace: sock_diag(7). Reading `/proc/net/tcp` shows all of them, and takes a
//! quarter of a second where other tests have left tens of thousands in TIME_WAIT.

use io_models::sys::diag::{Diag, Socket};
use procfs::net::TcpState;
use std::net::{SocketAddr, TcpStream};

/// The socket with these addresses: its own one and that of its peer.
#[track_caller]
fn find(own: SocketAddr, peer: SocketAddr) -> Option<Socket> {
    Diag::new().and_then(|diag| diag.find(own, peer)).expect("this test needs a kernel with sock_diag(7)")
}

/// The end of a connection that has the address `own`. `None` when there is no such connection.
#[track_caller]
pub(crate) fn end(own: SocketAddr, peer: SocketAddr) -> Option<Socket> {
    // Without a connection, the kernel finds the socket that listens there.
    find(own, peer).filter(|socket| state(socket) != TcpState::Listen)
}

/// The other end of a connection with a server on this machine.
#[track_caller]
pub(crate) fn at_the_server(client: &TcpStream) -> Socket {
    let (ours, its) = (client.local_addr().expect("our address"), client.peer_addr().expect("its address"));
    end(its, ours).expect("the connection is there")
}

fn listener(addr: SocketAddr) -> Option<Socket> {
    let nobody = SocketAddr::new(addr.ip(), 0);
    find(addr, nobody).filter(|socket| state(socket) == TcpState::Listen)
}

/// Whether somebody listens there.
#[track_caller]
pub(crate) fn listens(addr: SocketAddr) -> bool {
    listener(addr).is_some()
}

/// How many clients wait to be accepted there.
#[track_caller]
pub(crate) fn queued(addr: SocketAddr) -> u32 {
    listener(addr).expect("somebody listens there").received
}

#[track_caller]
pub(crate) fn state(socket: &Socket) -> TcpState {
    TcpState::from_u8(socket.state).expect("a state of tcp(7)")
}
