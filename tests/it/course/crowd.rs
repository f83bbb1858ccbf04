//! More clients than usual, and more than there is room for.

use super::{Program, ask_ok, expect, program, server};
use crate::support::{ask, children, connect, is_idle, is_root, room_for_descriptors, wait_until};
use io_models::sys::signal::Signal;
use nix::sys::resource::{Resource, getrlimit};
use std::net::TcpStream;

#[test]
fn demo10_serves_a_thousand_clients_at_the_same_time() {
    room_for_descriptors(4096);
    let (most, _) = getrlimit(Resource::RLIMIT_NPROC).expect("our own limit");
    // For root it does not hold.
    assert!(most >= 4096 || is_root(), "a thousand children need more processes: `ulimit -u` is {most}");
    let server = server("demo10-fork-server", &[]);
    let clients: Vec<_> = (0..1000).map(|_| connect(server.addr())).collect();
    clients.iter().for_each(|client| ask_ok(client, b"first"));
    assert_eq!(children(&server.process()).len(), 1000, "a process for each client");
    clients.iter().for_each(|client| ask_ok(client, b"second"));
    drop(clients);
    let process = server.process();
    wait_until("all children are collected", || children(&process).is_empty());
    server.signal(Signal::SIGTERM);
    let ended = server.finish();
    let times = |line: &str| ended.said.lines().filter(|said| *said == line).count();
    assert_eq!(times("客户端已连接(127.0.0.1)。"), 1000);
    assert_eq!((times("接收：first"), times("接收：second"), times("发送：ok")), (1000, 1000, 2000));
    assert_eq!(times("父进程退出，sig=15"), 1);
    assert_eq!(ended.complaints, "recv(): Invalid argument\n".repeat(1000));
}

const NO_DESCRIPTOR: &str = "no descriptor is left for another client (RLIMIT_NOFILE); \
                             clients beyond that wait until others have left\n";

fn accepted(fds: &[i32]) -> String {
    fds.iter().map(|fd| format!("accept client(socket={fd}) ok.\n")).collect()
}

/// Connect a crowd, of which as many are served as there are descriptors `fds`; the others wait until one
/// of those leaves.
#[track_caller]
fn the_rest_waits(server: Program, crowd: usize, fds: &[i32], complaint: &str) {
    let process = server.process();
    let clients: Vec<_> = (0..crowd).map(|_| connect(server.addr())).collect();
    server.says(format!("listensock=3\n{}", accepted(fds)));
    server.complains(complaint);
    wait_until("the server has let in as many as it can", || is_idle(&process));

    // Clients are let in in the order in which they came, and each that leaves makes room for one more.
    clients[..fds.len()].iter().for_each(|client| ask(client, b"hello"));
    assert_eq!(server.said().matches("accept client").count(), fds.len(), "nobody else is in");
    clients.into_iter().enumerate().for_each(|(i, client)| serve_and_leave(client, i));
    let said = server.says_until("all have left", |said| said.matches("disconnected.").count() == crowd);
    assert_eq!(said.matches("accept client").count(), crowd);
    server.signal(Signal::SIGTERM);
    assert_eq!(server.finish().complaints, complaint, "it says so once");
}

fn serve_and_leave(client: TcpStream, i: usize) {
    ask(&client, format!("client {i}").as_bytes());
}

#[test]
fn tcpselect_serves_1019_clients_and_the_others_wait_until_some_leave() {
    room_for_descriptors(4096);
    let complaint = "all 1024 descriptors that select can watch (FD_SETSIZE) are in use; \
                     clients beyond that wait until others have left\n";
    // 0 to 2 are the standard ones, 3 is the listener, and at 1023 it is told to stop.
    let fds: Vec<_> = (4..1023).collect();
    assert_eq!(fds.len(), 1019);
    the_rest_waits(server("tcpselect", &[]), 1100, &fds, complaint);
}

#[test]
fn without_a_descriptor_for_them_clients_of_each_server_wait_and_are_served() {
    super::multiplexed(|name, args, first| {
        let server = program(name).args(&["0"]).args(args).limited("ulimit -n 64").start_server();
        // At 61 it is told to stop, and a signal writes to 63.
        let fds: Vec<_> = (first..61).chain([62]).collect();
        the_rest_waits(server, 100, &fds, NO_DESCRIPTOR);
    });
}

#[test]
fn without_a_descriptor_for_them_clients_wait_for_the_flood_too() {
    let args = ["0", "--sends", "1"];
    let server = program("tcpepoll2-edge").args(&args).limited("ulimit -n 32").start_server();
    let clients: Vec<_> = (0..100).map(|_| connect(server.addr())).collect();
    server.complains(NO_DESCRIPTOR);
    let said = server.says_until("it is full", |said| said.matches("accept client").count() >= 27);
    let (fds, said) = ((5..32).collect::<Vec<_>>(), said.replace("触发了写件事。\n", ""));
    assert!(said.starts_with(&format!("listensock=3\n{}", accepted(&fds))), "{said}");
    for client in clients {
        expect(&client, b"aaaaaaaaaaaaaaaaaaaaaaaaaaabbb");
    }
    server.says_until("all have left", |said| said.matches("disconnected.").count() == 100);
    server.complains(NO_DESCRIPTOR);
}
