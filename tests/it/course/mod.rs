//! The course's programs: what they say, byte for byte, and what they do for peers of our own.
//!
//! The sessions that are expected are written out. They have numbers of descriptors in them, so each
//! program starts with the three standard ones and no other.

mod heard;
mod program;
mod kernel;

mod sessions;
mod pieces;
mod typed;
mod many;
mod silence;
mod output;
mod children;
mod crowd;
mod connecting;
mod flood;
mod time_wait;
mod input;
mod files;
mod broken;
mod failures;

use crate::support::DEADLINE;
use io_models::sys::poll::{PollFlags, wait_for};
use io_models::sys::socket::{self, Mode};
use program::{Ended, Program, client, program, server};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;

/// The programs that take the address of a server.
const CLIENTS: &[&str] =
    &["demo1-client", "demo7-client", "course-client", "client1-connect", "demo11-send-file"];

/// Enough arguments for any of the programs: its port, the host of a client, a file, a folder.
fn arguments(name: &str, host: &str, port: &str) -> Vec<String> {
    let host = CLIENTS.contains(&name).then_some(host);
    let behind = match name {
        "demo11-send-file" => Some("Cargo.toml"),
        "demo12-receive-file" => Some("."),
        _ => None,
    };
    host.into_iter().chain([port]).chain(behind).map(str::to_owned).collect()
}

/// The multiplexed servers that echo: name, arguments behind the port, the descriptor of the first client.
/// (It is 5 where epoll has 4.)
const MULTIPLEXED: &[(&str, &[&str], i32)] = &[
    ("tcpselect", &[], 4),
    ("tcppoll", &[], 4),
    ("tcpepoll", &[], 5),
    ("tcpepoll2-edge", &["--mode", "echo"], 5),
    ("tcpepoll2-edge", &["--mode", "echo", "--trigger", "level"], 5),
];

/// Run `test` for each of the multiplexed servers.
fn multiplexed(test: impl Fn(&str, &[&str], i32)) {
    for &(name, args, first) in MULTIPLEXED {
        // Shown when the test fails.
        println!("{name} {args:?}");
        test(name, args, first);
    }
}

/// A server that the test itself is.
#[track_caller]
fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let addr = listener.local_addr().expect("the address of a listener");
    (listener, addr)
}

/// A socket that has an address and does not listen: so nobody does there.
#[track_caller]
fn bound() -> (OwnedFd, SocketAddr) {
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let socket = socket::tcp(&any, Mode::Blocking).expect("a socket");
    socket::bind(&socket, &any).expect("a free port");
    let addr = socket::local_addr(&socket).expect("its address");
    (socket, addr)
}

/// The next client of a server that the test itself is.
#[track_caller]
fn accept(listener: &TcpListener) -> TcpStream {
    let came = wait_for(listener, PollFlags::POLLIN, Some(DEADLINE)).expect("poll of a listener");
    assert!(came, "not within {DEADLINE:?}: a client comes");
    let (client, _) = listener.accept().expect("a client waits");
    client.set_read_timeout(Some(DEADLINE)).expect("a deadline for reading");
    client.set_write_timeout(Some(DEADLINE)).expect("a deadline for writing");
    client
}

/// Read as many bytes as `expected` has, which must be these.
#[track_caller]
fn expect(mut peer: &TcpStream, expected: &[u8]) {
    let mut got = vec![0; expected.len()];
    peer.read_exact(&mut got).expect("the program sends as much");
    assert_eq!(String::from_utf8_lossy(&got), String::from_utf8_lossy(expected));
    assert!(got == expected, "the same text, but not the same bytes");
}

/// Send a request to a server that says `ok`.
#[track_caller]
fn ask_ok(mut peer: &TcpStream, request: &[u8]) {
    peer.write_all(request).expect("the server takes a request");
    expect(peer, b"ok");
}

/// The program has failed, and standard error is one line in which all of these words are.
#[track_caller]
fn assert_one_line(name: &str, ended: &Ended, words: &[&str]) {
    let complaints = &ended.complaints;
    assert_eq!(ended.code, Some(255), "{name}: {complaints}");
    let is_line = complaints.ends_with('\n') && complaints.matches('\n').count() == 1;
    assert!(is_line, "{name}: not one line: {complaints:?}");
    for word in words {
        assert!(complaints.contains(word), "{name}: no {word:?} in {complaints:?}");
    }
}
