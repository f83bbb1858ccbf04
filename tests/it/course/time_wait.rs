//! Who closes first has the connection in TIME_WAIT, and cannot have its port again unless it asks.

use super::kernel::state;
use super::{ask_ok, program, server};
use crate::support::{connect, end_writing, listens, read_to_end, wait_until};
use procfs::net::TcpState;
use std::net::SocketAddr;

/// A port of which a connection is in TIME_WAIT, because `demo2-server`, with these arguments, has closed
/// first.
#[track_caller]
fn port_in_time_wait(args: &[&str]) -> SocketAddr {
    let server = server("demo2-server", &[&["--close-first"], args].concat());
    let addr = server.addr();
    let client = connect(addr);
    assert_eq!(read_to_end(&client), b"", "the server has closed");
    let ours = client.local_addr().expect("where the client is");
    drop(client);
    server.ends(0, "客户端已连接。\n", "");
    wait_until("the connection is in TIME_WAIT", || state(addr, ours) == Some(TcpState::TimeWait));
    addr
}

const IN_USE: &str = "bind: Address already in use\n";

#[test]
fn a_port_with_a_connection_in_time_wait_is_in_use() {
    for before in [&[][..], &["--reuse-addr"]] {
        let port = port_in_time_wait(before).port().to_string();
        program("demo2-server").args(&[&port]).start().ends(255, "", IN_USE);
    }
}

#[test]
fn a_server_that_asks_gets_the_port_of_one_that_had_asked() {
    let addr = port_in_time_wait(&["--reuse-addr"]);
    let server = program("demo2-server").args(&[&addr.port().to_string(), "--reuse-addr"]).start();
    wait_until("the server listens", || listens(addr));
    let client = connect(addr);
    ask_ok(&client, b"hello");
    end_writing(&client);
    assert_eq!(read_to_end(&client), b"");
    server.ends(0, "客户端已连接。\n接收：hello\n发送：ok\niret=0\n", "");
}

/// The connection in TIME_WAIT remembers whether its server had asked, and Linux wants it of both.
#[test]
fn asking_is_of_no_use_when_the_server_before_had_not() {
    let port = port_in_time_wait(&[]).port().to_string();
    program("demo2-server").args(&[&port, "--reuse-addr"]).start().ends(255, "", IN_USE);
}

#[test]
fn a_port_whose_clients_closed_first_is_free_again() {
    let first = server("demo2-server", &[]);
    let addr = first.addr();
    let client = connect(addr);
    ask_ok(&client, b"hello");
    let ours = client.local_addr().expect("where the client is");
    drop(client);
    first.ends(0, "客户端已连接。\n接收：hello\n发送：ok\niret=0\n", "");
    wait_until("the client's end is in TIME_WAIT", || state(ours, addr) == Some(TcpState::TimeWait));
    let again = program("demo2-server").args(&[&addr.port().to_string()]).start();
    wait_until("the server listens", || listens(addr));
    ask_ok(&connect(addr), b"again");
    again.ends(0, "客户端已连接。\n接收：again\n发送：ok\niret=0\n", "");
}

/// So it does not matter how servers end that call `initserver`.
#[test]
fn initserver_asks() {
    let port = port_in_time_wait(&["--reuse-addr"]).port().to_string();
    for name in ["tcpselect", "tcppoll", "tcpepoll", "tcpepoll2-edge", "tcpepoll1-accept"] {
        let server = program(name).args(&[&port]).start();
        server.says("listensock=3\n");
    }
}
