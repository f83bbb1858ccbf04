//! The blocking programs with each other, and with peers that do what the others never do.

use super::{accept, client, expect, listen, server};
use crate::support::{connect, read_to_end, reset};
use io_models::sys::signal::Signal;
use std::io::Write;
use std::time::{Duration, Instant};

const DEMO1: &str = "\
发送：这是第1个超级女生，编号001。
接收：ok
发送：这是第2个超级女生，编号002。
接收：ok
发送：这是第3个超级女生，编号003。
接收：ok
";

const DEMO2: &str = "\
客户端已连接。
接收：这是第1个超级女生，编号001。
发送：ok
接收：这是第2个超级女生，编号002。
发送：ok
接收：这是第3个超级女生，编号003。
发送：ok
iret=0
";

const DEMO7: &str = "\
发送：这是第1个超级女生，编号1。
接收：ok
发送：这是第2个超级女生，编号2。
接收：ok
发送：这是第3个超级女生，编号3。
接收：ok
发送：这是第4个超级女生，编号4。
接收：ok
发送：这是第5个超级女生，编号5。
接收：ok
发送：这是第6个超级女生，编号6。
接收：ok
发送：这是第7个超级女生，编号7。
接收：ok
发送：这是第8个超级女生，编号8。
接收：ok
发送：这是第9个超级女生，编号9。
接收：ok
发送：这是第10个超级女生，编号10。
接收：ok
";

const DEMO8: &str = "\
客户端已连接(127.0.0.1)。
接收：这是第1个超级女生，编号1。
发送：ok
接收：这是第2个超级女生，编号2。
发送：ok
接收：这是第3个超级女生，编号3。
发送：ok
接收：这是第4个超级女生，编号4。
发送：ok
接收：这是第5个超级女生，编号5。
发送：ok
接收：这是第6个超级女生，编号6。
发送：ok
接收：这是第7个超级女生，编号7。
发送：ok
接收：这是第8个超级女生，编号8。
发送：ok
接收：这是第9个超级女生，编号9。
发送：ok
接收：这是第10个超级女生，编号10。
发送：ok
";

#[test]
fn demo1_and_demo2_say_what_the_originals_say() {
    let server = server("demo2-server", &[]);
    let client = client("demo1-client", server.addr(), &[]);
    client.ends(0, DEMO1, "");
    server.ends(0, DEMO2, "");
}

#[test]
fn demo7_talks_to_demo8_and_to_demo10_ten_times_in_ten_seconds() {
    // Both at the same time, because they mostly sleep.
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let server = server("demo8-server", &[]);
            let started = Instant::now();
            client("demo7-client", server.addr(), &[]).ends(0, DEMO7, "");
            assert!(started.elapsed() >= Duration::from_secs(10), "a second after each answer");
            server.ends(0, DEMO8, "recv(): Success\n");
        });
        scope.spawn(|| {
            let server = server("demo10-fork-server", &[]);
            client("demo7-client", server.addr(), &[]).ends(0, DEMO7, "");
            server.complains("recv(): Invalid argument\n");
            server.signal(Signal::SIGTERM);
            server.ends(0, format!("{DEMO8}父进程退出，sig=15\n"), "recv(): Invalid argument\n");
        });
    });
}

#[test]
fn demo1_sends_three_requests_of_text_without_anything_around_it() {
    let (listener, addr) = listen();
    let demo1 = client("demo1-client", addr, &[]);
    let peer = accept(&listener);
    for request in
        ["这是第1个超级女生，编号001。", "这是第2个超级女生，编号002。", "这是第3个超级女生，编号003。"]
    {
        expect(&peer, request.as_bytes());
        (&peer).write_all(b"ok").expect("the client takes an answer");
    }
    assert_eq!(read_to_end(&peer), b"");
    demo1.ends(0, DEMO1, "");
}

#[test]
fn demo7_sends_ten_requests_without_leading_zeros() {
    let (listener, addr) = listen();
    let _demo7 = client("demo7-client", addr, &[]);
    let peer = accept(&listener);
    // The rest is in the sessions above; it would take ten seconds more.
    for request in ["这是第1个超级女生，编号1。", "这是第2个超级女生，编号2。"] {
        expect(&peer, request.as_bytes());
        (&peer).write_all(b"ok").expect("the client takes an answer");
    }
}

#[test]
fn demo1_is_connected_for_a_while_before_it_talks() {
    let (listener, addr) = listen();
    let started = Instant::now();
    let demo1 = client("demo1-client", addr, &["--pause-before-talk", "1"]);
    let peer = accept(&listener);
    expect(&peer, "这是第1个超级女生，编号001。".as_bytes());
    assert!(started.elapsed() >= Duration::from_secs(1), "the pause is a second");
    drop(peer);
    demo1.ends(255, "发送：这是第1个超级女生，编号001。\niret=0\n", "");
}

#[test]
fn demo1_ends_when_the_server_has_closed() {
    let (listener, addr) = listen();
    let demo1 = client("demo1-client", addr, &[]);
    let peer = accept(&listener);
    expect(&peer, "这是第1个超级女生，编号001。".as_bytes());
    drop(peer);
    demo1.ends(255, "发送：这是第1个超级女生，编号001。\niret=0\n", "");
}

#[test]
fn demo1_says_why_when_the_connection_breaks() {
    let (listener, addr) = listen();
    let demo1 = client("demo1-client", addr, &[]);
    let peer = accept(&listener);
    expect(&peer, "这是第1个超级女生，编号001。".as_bytes());
    reset(peer);
    let session = "发送：这是第1个超级女生，编号001。\niret=-1\n";
    demo1.ends(255, session, "recv: Connection reset by peer\n");
}

#[test]
fn demo7_says_how_the_stream_ended() {
    for (in_order, complaint) in [(true, "recv(): Success\n"), (false, "recv(): Connection reset by peer\n")]
    {
        let (listener, addr) = listen();
        let demo7 = client("demo7-client", addr, &[]);
        let peer = accept(&listener);
        expect(&peer, "这是第1个超级女生，编号1。".as_bytes());
        if in_order {
            drop(peer)
        } else {
            reset(peer)
        }
        demo7.ends(255, "发送：这是第1个超级女生，编号1。\n", complaint);
    }
}

#[test]
fn demo2_says_why_when_the_connection_breaks() {
    let server = server("demo2-server", &[]);
    let peer = connect(server.addr());
    server.says("客户端已连接。\n");
    reset(peer);
    server.ends(255, "客户端已连接。\niret=-1\n", "recv: Connection reset by peer\n");
}
