//! A run that does not come to its end: somebody presses Ctrl-C, or the server goes away.

use super::program::Ended;
use super::servers::Server;
use super::{report, start_load};
use crate::support::{self, cpu_time, wait_until};
use io_models::sys::socket::{self, Mode};
use nix::sys::signal::Signal;
use nix::sys::socket::Backlog;
use procfs::net::TcpState;
use serde_json::Value;
use std::io::Read;
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

/// Longer than any test.
const ENDLESS: &str = "-d 10m --warmup 10ms --quiet";

/// Start a load of two connections on a right server, send `signal` while it is on, and see it end.
fn interrupted_by(signal: Signal, args: &str) -> Ended {
    let server = Server::echo();
    let load = start_load(server.addr, &format!("-c 2 {ENDLESS} {args}"));
    wait_until("the load is on", || server.answers() > 200);
    load.signal(signal);
    load.end()
}

fn is_a_clean_part(ended: &Ended) {
    let report = report(ended);
    assert_eq!(report["partial"], true, "{report:#}");
    assert_eq!(report["lost"], Value::Array(Vec::new()), "nobody was lost: {report:#}");
    assert_eq!(report["wrong_bytes"], 0, "{report:#}");
    assert_eq!(ended.stderr, "");
}

#[test]
fn ctrl_c_ends_a_load_with_130_and_what_was_measured() {
    let ended = interrupted_by(Signal::SIGINT, "--json");
    is_a_clean_part(ended.exits(130));
}

#[test]
fn sigterm_ends_a_load_with_143_and_what_was_measured() {
    let ended = interrupted_by(Signal::SIGTERM, "--json");
    is_a_clean_part(ended.exits(143));
}

#[test]
fn the_text_of_an_interrupted_load_begins_with_partial() {
    let ended = interrupted_by(Signal::SIGINT, "");
    assert!(ended.exits(130).stdout.starts_with("PARTIAL"), "{}", ended.stdout);
}

/// With more connections than are opened at once, so that some are not opened yet.
#[test]
fn ctrl_c_while_the_first_answers_are_awaited_ends_a_load_with_130_and_nobody_is_lost() {
    // The listener is ours, so that the test knows when a request has come.
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let addr = listener.local_addr().expect("its address");
    let load = start_load(addr, &format!("-c 300 {ENDLESS} --json"));
    let (mut client, _) = listener.accept().expect("a client");
    client.read_exact(&mut [0; 64]).expect("its request");
    load.signal(Signal::SIGINT);
    let ended = load.end();
    is_a_clean_part(ended.exits(130));
    assert_eq!(report(&ended)["answered"], 0, "{}", ended.stdout);
}

/// A blocking connect would not notice the signal for two minutes.
#[test]
fn ctrl_c_while_a_connection_is_being_opened_ends_a_load_with_130() {
    let listener = short_queue();
    let addr = listener.local_addr().expect("its address");
    let mut waiting = Vec::new();
    while connecting_to(addr) == 0 {
        let socket = socket::tcp(&addr, Mode::Nonblocking).expect("a socket");
        socket::connect(&socket, &addr).expect("a connection that is begun");
        waiting.push(socket);
    }
    let in_the_queue = connecting_to(addr);
    let load = start_load(addr, &format!("-c 1 {ENDLESS} --json"));
    wait_until("the load opens its connection", || connecting_to(addr) > in_the_queue);
    load.signal(Signal::SIGINT);
    load.end().exits(130);
}

/// A listener with the shortest queue that there is.
fn short_queue() -> TcpListener {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    // A second listen(2) sets the length of the queue anew.
    nix::sys::socket::listen(&listener, Backlog::new(0).expect("a length")).expect("it listens");
    listener
}

/// How many connections towards `addr` have not been answered by the kernel.
fn connecting_to(addr: SocketAddr) -> usize {
    let sockets = procfs::net::tcp().expect("/proc/net/tcp");
    sockets.iter().filter(|s| s.remote_address == addr && s.state == TcpState::SynSent).count()
}

#[test]
fn a_server_that_is_killed_in_the_middle_fails_the_load_in_one_line() {
    let model = io_models::model::find("epoll-level").expect("a model that the tests rely on");
    let mut server = support::Server::start(model);
    let load = start_load(server.addr(), &format!("-c 4 {ENDLESS} --json"));
    let process = server.process();
    wait_until("the load is on", || cpu_time(&process) > Duration::from_millis(50));
    server.kill();
    let ended = load.end();
    let report = report(ended.exits(1));
    assert_eq!(report["lost_connections"], 4, "{report:#}");
    assert_eq!(report["wrong_bytes"], 0, "{report:#}");
    assert!(report["answered"].as_u64() > Some(0), "{report:#}");
    let reason = report["lost"][0]["reason"].as_str().expect("a reason");
    assert!(reason.contains("closed") || reason.contains("reset"), "{reason}");
    ended.says_one_line(&["4 of 4 connections lost", reason]);
}
