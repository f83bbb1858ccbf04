//! Clients, on blocking sockets that give up at the deadline.

use super::wait::DEADLINE;
use io_models::sys;
use io_models::sys::socket::{Connected, Mode, tcp};
use io_models::sys::sockopt::{set_receive_buffer, set_reset_on_close};
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

/// A client that is connected, perhaps not accepted yet.
#[track_caller]
pub(crate) fn connect(addr: SocketAddr) -> TcpStream {
    let client = TcpStream::connect_timeout(&addr, DEADLINE).expect("a client connects");
    with_deadlines(&client);
    client
}

/// The same, with a receive buffer of so many bytes, which the kernel doubles. (Made smaller after the handshake, it would be smaller than
/// the window that the other end knows: what does not fit is dropped, and comes again when a timer says so, after seconds at times.)
#[track_caller]
pub(crate) fn connect_with_room(addr: SocketAddr, bytes: usize) -> TcpStream {
    let client = TcpStream::from(tcp(&addr, Mode::Blocking).expect("a socket"));
    set_receive_buffer(&client, bytes).expect("the receive buffer of a socket of ours");
    // The deadline for writing is that of connect(2) as well: socket(7).
    with_deadlines(&client);
    assert_eq!(sys::socket::connect(&client, &addr).expect("a client connects"), Connected::Yes);
    client
}

fn with_deadlines(client: &TcpStream) {
    client.set_read_timeout(Some(DEADLINE)).expect("a deadline for reading");
    client.set_write_timeout(Some(DEADLINE)).expect("a deadline for writing");
    client.set_nodelay(true).expect("each piece is sent at once");
}

/// Send `request` and read as much again, which must be the same.
#[track_caller]
pub(crate) fn ask(mut client: &TcpStream, request: &[u8]) {
    client.write_all(request).expect("the server takes a request");
    let mut answer = vec![0; request.len()];
    client.read_exact(&mut answer).expect("the server answers");
    assert!(answer == request, "the answer is not the request");
}

/// Say that no more will come: FIN.
#[track_caller]
pub(crate) fn end_writing(client: &TcpStream) {
    client.shutdown(Shutdown::Write).expect("half a close");
}

/// Everything until the server's FIN.
#[track_caller]
pub(crate) fn read_to_end(mut client: &TcpStream) -> Vec<u8> {
    let mut all = Vec::new();
    client.read_to_end(&mut all).expect("the server ends the connection in order");
    all
}

/// Read until the server ends the connection, in order or not, and count the bytes before.
#[track_caller]
pub(crate) fn wait_for_end(mut client: &TcpStream) -> u64 {
    let mut buffer = [0; 64 * 1024];
    let mut bytes = 0;
    loop {
        match client.read(&mut buffer) {
            Ok(0) => return bytes,
            Ok(n) => bytes += n as u64,
            // A server that leaves while bytes of the client wait resets the connection.
            Err(why) if why.kind() == ErrorKind::ConnectionReset => return bytes,
            Err(why) => panic!("the client does not see the end: {why}"),
        }
    }
}

/// Close with RST.
pub(crate) fn reset(client: TcpStream) {
    set_reset_on_close(&client).expect("SO_LINGER of a socket of ours");
}

/// Send without reading until nobody takes any more, and count the bytes.
#[track_caller]
pub(crate) fn stuff(mut client: &TcpStream) -> u64 {
    /// More than the buffers of any kernel on the way. A server that never waits for its client
    /// would swallow it all.
    const TOO_MUCH: u64 = 512 << 20;
    // How long nothing may move before we believe that nothing will. Too short does no harm: then
    // a little less is unsent.
    client.set_write_timeout(Some(Duration::from_millis(100))).expect("a deadline for writing");
    let block = pattern(7, 64 * 1024);
    let mut bytes = 0;
    let why = loop {
        match client.write(&block) {
            Ok(n) => bytes += n as u64,
            Err(why) => break why,
        }
        assert!(bytes < TOO_MUCH, "the server takes more and more from a client that does not read");
    };
    assert_eq!(why.kind(), ErrorKind::WouldBlock, "{why}");
    client.set_write_timeout(Some(DEADLINE)).expect("a deadline for writing");
    bytes
}

/// Bytes that look random and are the same for the same seed.
pub(crate) fn pattern(seed: u64, bytes: usize) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut pattern = vec![0; bytes];
    random.fill(&mut pattern);
    pattern
}
