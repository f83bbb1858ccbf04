//! What the echo servers of this package share.

use std::net::{Ipv4Addr, TcpListener};

/// Bytes that one recv takes at most, as in io-models.
pub const BUFFER: usize = 64 * 1024;

/// Listen on the port that the command line names, with the queue that io-models has. The descriptor does not block.
pub fn listener() -> TcpListener {
    let port = std::env::args().nth(1).and_then(|port| port.parse().ok()).expect("usage: NAME PORT");
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).expect("listen");
    listener.set_nonblocking(true).expect("set_nonblocking");
    listener
}
