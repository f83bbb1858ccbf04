//! What bad input gets: one line with the cause and the remedy, and the exit code that says whose
//! mistake it was.

use super::program::{Ended, Program, io_models, io_models_with_descriptors};
use super::servers::Server;
use super::{load, start_load};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrIn, bind, getsockname, socket};
use std::fs::File;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd};

/// A port that is taken, so that no other test gets it, and has no listener.
fn nobody_listens() -> (OwnedFd, SocketAddr) {
    let taken =
        socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).expect("a socket");
    bind(taken.as_raw_fd(), &SockaddrIn::new(127, 0, 0, 1, 0)).expect("a free port");
    let addr: SockaddrIn = getsockname(taken.as_raw_fd()).expect("its address");
    (taken, SocketAddr::V4(addr.into()))
}

/// The command line is refused before anybody is connected to.
#[track_caller]
fn refused(line: &str, says: &[&str]) {
    let ended = Program::start(line).end();
    assert_eq!(ended.exits(2).says_one_line(says).stdout, "");
}

#[test]
fn no_connections_are_refused() {
    refused("load 127.0.0.1:9 -c 0", &["--connections", "at least 1"]);
}

#[test]
fn more_connections_than_descriptors_are_refused_with_the_limit_and_how_to_raise_it() {
    let line = "load 127.0.0.1:9 -c 30000000";
    let ended = Program::spawn(io_models_with_descriptors(1000, line)).end();
    let says = ["30000000 connections", "1000 descriptors", "ulimit", "LimitNOFILE"];
    assert_eq!(ended.exits(2).says_one_line(&says).stdout, "");
}

#[test]
fn no_time_is_refused() {
    refused("load 127.0.0.1:9 -d 0s", &["--duration", "longer"]);
}

#[test]
fn a_time_without_unit_is_refused_with_an_example() {
    refused("load 127.0.0.1:9 -d 5", &["--duration", "unit", "5s"]);
}

#[test]
fn no_bytes_are_refused() {
    refused("load 127.0.0.1:9 -s 0", &["--size", "at least 1"]);
}

#[test]
fn an_address_without_port_is_refused_with_an_example() {
    refused("load 127.0.0.1", &["127.0.0.1", "ADDR:PORT", "localhost:5005"]);
    refused("load nonsense", &["nonsense", "ADDR:PORT"]);
    refused("load 127.0.0.1:65536", &["65536", "ADDR:PORT"]);
}

#[test]
fn no_address_is_refused() {
    refused("load", &["<ADDR:PORT>"]);
}

#[test]
fn an_output_file_that_cannot_be_written_is_refused_before_the_load() {
    let server = Server::echo();
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("missing/report.json");
    let ended = load(server.addr, &format!("-d 10m --output {}", file.display()));
    ended.exits(2).says_one_line(&["cannot write to", "missing/report.json", "--output"]);
    assert_eq!(server.answers(), 0);
}

#[test]
fn an_address_that_nobody_listens_on_fails_with_the_call_and_the_question() {
    let (_taken, addr) = nobody_listens();
    let ended = load(addr, "-c 3 --json --quiet");
    let says = [&addr.to_string(), "connect(", "Connection refused", "is the server running?"];
    assert_eq!(ended.exits(1).says_one_line(&says).stdout, "");
}

#[test]
fn a_full_disk_fails_with_one_line() {
    let server = Server::echo();
    let full = File::options().write(true).open("/dev/full").expect("/dev/full");
    for format in ["", "--json"] {
        let line = format!("load {} -c 1 -d 10ms --warmup 1ms --quiet {format}", server.addr);
        let out = full.try_clone().expect("a descriptor");
        let ended: Ended = Program::end_with_stdout(io_models(&line), out);
        ended.exits(1).says_one_line(&["cannot write to standard output", "No space left", "disk full"]);
    }
}

#[test]
fn a_reader_that_has_gone_is_nothing_to_complain_of() {
    let server = Server::echo();
    let mut load = start_load(server.addr, "-c 1 -d 10ms --warmup 1ms --quiet --json");
    load.let_go_of_stdout();
    assert_eq!(load.end().stderr, "");
}
