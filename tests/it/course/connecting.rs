//! What does not wait in connect(2) or accept(2): `client1-connect` and `tcpepoll1-accept`.

use super::kernel::{is_asked, wait_until_queued};
use super::{accept, bound, client, listen, server};
use crate::support::{connect, cpu_time, is_idle, wait_until};
use io_models::sys::socket;
use nix::sched::{CloneFlags, unshare};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::time::Duration;

/// A listener with room for one client, who is there: the SYNs of others get no answer.
#[track_caller]
fn full_listener() -> (TcpListener, SocketAddr, TcpStream) {
    let (socket, addr) = bound();
    socket::listen(&socket, 0).expect("listen");
    let inside = connect(addr);
    wait_until_queued(addr, 1);
    (socket.into(), addr, inside)
}

#[test]
fn client1_is_connected_when_somebody_listens() {
    let (listener, addr) = listen();
    let client1 = client("client1-connect", addr, &[]);
    accept(&listener);
    client1.ends(0, "connect ok.\n", "");
}

#[test]
fn client1_is_connected_before_anybody_has_accepted() {
    let (_listener, addr) = listen();
    client("client1-connect", addr, &[]).ends(0, "connect ok.\n", "");
}

#[test]
fn client1_says_that_nobody_listens() {
    // Bound and not listening: so the port is nobody else's.
    let (_socket, addr) = bound();
    let ended = client("client1-connect", addr, &[]).finish();
    // connect(2) may know at once, or not yet.
    let words = ["connect failed.\n".to_owned(), format!("connect({addr}) failed.\n")];
    assert!(words.contains(&ended.said), "{:?}", ended.said);
    assert_eq!(ended.complaints, "connect: Connection refused\n");
    assert_eq!(ended.code, Some(255));
}

#[test]
fn client1_waits_while_nobody_answers_and_is_connected_when_somebody_does() {
    let (listener, addr, inside) = full_listener();
    let client1 = client("client1-connect", addr, &[]);
    let process = client1.process();
    wait_until("it has asked for a connection", || is_asked(addr.port()));
    wait_until("it waits for an answer", || is_idle(&process));
    assert_eq!(client1.said(), "", "it has nothing to say yet");
    // It asks again after a second, and now there is room.
    drop((accept(&listener), inside));
    client1.ends(0, "connect ok.\n", "");
}

#[test]
#[ignore = "needs root and ip(8), for a network in which SYNs are repeated once"]
fn client1_gives_up_when_the_kernel_does() {
    // The namespace is the thread's, and of the processes that it starts, and ends with them.
    let gives_up = || {
        unshare(CloneFlags::CLONE_NEWNET).expect("root may have a network of its own");
        let up = Command::new("ip").args(["link", "set", "lo", "up"]).status();
        assert!(up.is_ok_and(|status| status.success()), "the loopback interface of our own network");
        // Else it takes two minutes.
        std::fs::write("/proc/sys/net/ipv4/tcp_syn_retries", "1").expect("root may set the number of SYNs");
        let (_listener, addr, _inside) = full_listener();
        let client1 = client("client1-connect", addr, &[]);
        wait_until("it has asked for a connection", || is_asked(addr.port()));
        client1.ends(255, "connect failed.\n", "connect: Connection timed out\n");
    };
    std::thread::scope(|scope| scope.spawn(gives_up).join()).expect("see above");
}

#[test]
fn tcpepoll1_asks_again_and_again_until_a_client_is_there() {
    let server = server("tcpepoll1-accept", &[]);
    server.says("listensock=3\n");
    let process = server.process();
    let before = cpu_time(&process);
    // That is thousands of calls.
    wait_until("it has asked for a while", || cpu_time(&process) > before + Duration::from_millis(10));
    assert_eq!(server.said(), "listensock=3\n");
    let _client = connect(server.addr());
    let ended = server.finish();
    assert_eq!((ended.code, ended.said.as_str()), (Some(0), "listensock=3\n客户端已连接。\n"));
    let times = ended.complaints.strip_prefix("accept() answered EAGAIN ");
    let times =
        times.and_then(|rest| rest.strip_suffix(" times before the client came\n")?.parse::<u64>().ok());
    assert!(times.is_some_and(|times| times >= 1), "{:?}", ended.complaints);
}
