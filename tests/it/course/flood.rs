//! `tcpepoll2-edge --mode flood`: when a socket becomes writable, edge- and level-triggered.

use super::{Program, expect, server};
use crate::support::{connect, is_idle, reset, wait_until};
use io_models::sys::signal::Signal;
use std::io::Read;
use std::net::TcpStream;

const TRIGGERED: &str = "触发了写件事。\n";
const FILLED: &str = "发送缓冲区已填懣。\n";
const LETTERS: &[u8] = b"aaaaaaaaaaaaaaaaaaaaaaaaaaabbb";

/// How often it was told that there is room, and how often it has filled that.
fn cycles(said: &str) -> (usize, usize) {
    (said.matches(TRIGGERED).count(), said.matches(FILLED).count())
}

/// Wait until the server has filled all that a client that does not read has room for, for the
/// `times`th time or later, and sleeps. Returns what it has said by then. (It may take several times: the
/// kernel enlarges the buffers while they fill.)
#[track_caller]
fn wait_until_full(server: &Program, times: usize) -> String {
    let mut before = server.says_until("the buffer is full", |said| cycles(said).1 >= times);
    let (process, mut looks) = (server.process(), 0);
    wait_until("the server hears no more of a client that does not read", || {
        let now = server.said();
        looks = if now == before && is_idle(&process) { looks + 1 } else { 0 };
        before = now;
        looks == 20
    });
    before
}

/// Read until the server is told that there is room again, which it was `times` times before. (A client
/// that goes on reading would leave it no time to fill anything.)
#[track_caller]
fn read_until_triggered(server: &Program, mut client: &TcpStream, times: usize) {
    let mut buffer = vec![0; 64 * 1024];
    wait_until("the server is told that there is room again", || {
        let n = client.read(&mut buffer).expect("there is something to read");
        assert_ne!(n, 0, "the server does not end");
        cycles(&server.said()).0 > times
    });
}

/// What it says of one client is a cycle each time: told, filled. Returns how often.
#[track_caller]
fn assert_cycles(said: &str) -> usize {
    let (_, times) = cycles(said);
    let cycle = format!("{TRIGGERED}{FILLED}");
    assert_eq!(said, format!("listensock=3\naccept client(socket=5) ok.\n{}", cycle.repeat(times)));
    times
}

#[test]
fn an_edge_comes_once_when_there_is_room_and_again_after_a_full_buffer_was_drained() {
    let server = server("tcpepoll2-edge", &[]);
    let client = connect(server.addr());
    let mut times = assert_cycles(&wait_until_full(&server, 1));
    for _ in 0..2 {
        read_until_triggered(&server, &client, times);
        times = assert_cycles(&wait_until_full(&server, times + 1));
    }
}

#[test]
fn the_flood_is_the_same_letters_over_and_over() {
    let server = server("tcpepoll2-edge", &["--sends", "10"]);
    let client = connect(server.addr());
    expect(&client, &LETTERS.repeat(10));
    server.says(format!("listensock=3\naccept client(socket=5) ok.\n{TRIGGERED}"));
}

#[test]
fn level_triggered_a_full_buffer_is_quiet_too() {
    let server = server("tcpepoll2-edge", &["--trigger", "level"]);
    let client = connect(server.addr());
    let times = assert_cycles(&wait_until_full(&server, 1));
    read_until_triggered(&server, &client, times);
    assert_cycles(&wait_until_full(&server, times + 1));
}

#[test]
fn after_one_send_there_is_no_second_edge_for_the_same_client() {
    let server = server("tcpepoll2-edge", &["--sends", "1", "--trigger", "edge"]);
    let process = server.process();
    let first = connect(server.addr());
    expect(&first, LETTERS);
    let session = format!("listensock=3\naccept client(socket=5) ok.\n{TRIGGERED}");
    server.says(&session);
    wait_until("the server sleeps", || is_idle(&process));
    // Would there be a second, it came before what follows.
    let second = connect(server.addr());
    expect(&second, LETTERS);
    server.says(format!("{session}accept client(socket=6) ok.\n{TRIGGERED}"));
    wait_until("the server sleeps", || is_idle(&process));
    server.says(format!("{session}accept client(socket=6) ok.\n{TRIGGERED}"));
}

#[test]
fn after_one_send_a_level_is_told_again_and_again() {
    let server = server("tcpepoll2-edge", &["--sends", "1", "--trigger", "level"]);
    let client = connect(server.addr());
    let said = server.says_until("a hundred times", |said| cycles(said).0 >= 100);
    assert!(said.starts_with("listensock=3\naccept client(socket=5) ok.\n"), "{said}");
    expect(&client, &LETTERS.repeat(100));
}

#[test]
fn a_client_that_leaves_is_told_also_when_nothing_is_sent() {
    for trigger in ["edge", "level"] {
        let server = server("tcpepoll2-edge", &["--sends", "0", "--trigger", trigger]);
        let client = connect(server.addr());
        server.says_until("the client can be written to", |said| said.contains("触发了写件事。\n"));
        drop(client);
        server.says_until("the client has left", |said| said.ends_with("client(eventfd=5) disconnected.\n"));
        let running = server.process();
        wait_until("it waits for the next", || is_idle(&running));
    }
}

#[test]
fn a_client_that_leaves_is_told_and_the_next_is_flooded() {
    let server = server("tcpepoll2-edge", &[]);
    reset(connect(server.addr()));
    let gone = "client(eventfd=5) disconnected.\n";
    server.says_until("the client has left", |said| said.ends_with(gone));
    // With all that it has not read, which is a reset, too.
    let filled = cycles(&server.said()).1;
    let client = connect(server.addr());
    server.says_until("the next is flooded", |said| cycles(said).1 > filled);
    drop(client);
    server.says_until("the next has left", |said| said.matches(gone).count() == 2);
    assert_eq!(server.said().matches("accept client(socket=5) ok.\n").count(), 2);
    expect(&connect(server.addr()), LETTERS);
    // It leaves a signal to the system.
    server.signal(Signal::SIGTERM);
    assert_eq!(server.finish().code, None);
}
