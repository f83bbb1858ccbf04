//! `course-client`: words from standard input, with each of the multiplexed servers and with none.

use super::kernel::state;
use super::{Program, accept, expect, listen, multiplexed, program, server};
use crate::support::{reset, wait_until};
use io_models::sys::signal::Signal;
use std::io::Write;
use std::net::SocketAddr;

#[track_caller]
fn course_client(addr: SocketAddr) -> Program {
    program("course-client").args(&["127.0.0.1", &addr.port().to_string()]).typed().start()
}

#[test]
fn words_go_to_each_of_the_servers_and_come_back() {
    multiplexed(|name, args, fd| {
        let server = server(name, args);
        let mut client = course_client(server.addr());
        client.types("hello\n世界 last");
        client.ends_input();
        let session = "\
connect ok.
please input:recv:hello
please input:recv:世界
please input:recv:last
please input:write() failed.
";
        client.ends(255, session, "");
        let session = format!(
            "\
listensock=3
accept client(socket={fd}) ok.
recv(eventfd={fd}):hello
recv(eventfd={fd}):世界
recv(eventfd={fd}):last
client(eventfd={fd}) disconnected.
"
        );
        server.says(&session);
        server.signal(Signal::SIGTERM);
        server.ends(0, session, "");
    });
}

#[test]
fn two_course_clients_talk_in_turn() {
    multiplexed(|name, args, fd| {
        let (server, next) = (server(name, args), fd + 1);
        let mut first = course_client(server.addr());
        server.says(format!("listensock=3\naccept client(socket={fd}) ok.\n"));
        let mut second = course_client(server.addr());
        server.says(format!(
            "listensock=3\naccept client(socket={fd}) ok.\naccept client(socket={next}) ok.\n"
        ));
        first.types("one\n");
        first.says("connect ok.\nplease input:recv:one\nplease input:");
        second.types("two\n");
        second.says("connect ok.\nplease input:recv:two\nplease input:");
        first.ends_input();
        first.ends(255, "connect ok.\nplease input:recv:one\nplease input:write() failed.\n", "");
        second.types("three\n");
        second.says("connect ok.\nplease input:recv:two\nplease input:recv:three\nplease input:");
        // Which it leaves to the system.
        second.signal(Signal::SIGTERM);
        assert_eq!(second.finish().code, None);
        server.says(format!(
            "\
listensock=3
accept client(socket={fd}) ok.
accept client(socket={next}) ok.
recv(eventfd={fd}):one
recv(eventfd={next}):two
client(eventfd={fd}) disconnected.
recv(eventfd={next}):three
client(eventfd={next}) disconnected.
"
        ));
    });
}

#[test]
fn the_prompt_and_each_answer_are_there_when_they_are_said() {
    let server = server("tcpepoll", &[]);
    let mut client = course_client(server.addr());
    // Into a pipe, where the original's would wait in a buffer.
    client.says("connect ok.\nplease input:");
    client.types("word ");
    client.says("connect ok.\nplease input:recv:word\nplease input:");
    client.ends_input();
    client.ends(255, "connect ok.\nplease input:recv:word\nplease input:write() failed.\n", "");
}

#[test]
fn words_are_what_stands_between_whitespace_of_any_kind() {
    let server = server("tcppoll", &[]);
    let mut client = course_client(server.addr());
    client.types("  a\tb\r\n\n\x0bc\x0cd\0e \n");
    client.ends_input();
    let session = "\
connect ok.
please input:recv:a
please input:recv:b
please input:recv:c
please input:recv:d\0e
please input:write() failed.
";
    client.ends(255, session, "");
}

#[test]
fn a_word_is_sent_when_it_ends_and_not_before() {
    let (listener, addr) = listen();
    let mut client = course_client(addr);
    let peer = accept(&listener);
    client.types("first-");
    client.types("half\nsecond");
    expect(&peer, b"first-half");
    (&peer).write_all(b"an answer of its own").expect("the client takes an answer");
    client.says("connect ok.\nplease input:recv:an answer of its own\nplease input:");
    client.ends_input();
    expect(&peer, b"second");
}

#[test]
fn of_a_word_longer_than_1023_bytes_the_rest_is_the_next_word() {
    multiplexed(|name, args, fd| {
        let server = server(name, args);
        let mut client = course_client(server.addr());
        let (a, b, c) = ("a".repeat(1023), "b".repeat(1023), "c".repeat(454));
        client.types(format!("{a}{b}{c} {a} end"));
        client.ends_input();
        let words = [&a, &b, &c, &a, "end"];
        let answers = words.map(|word| format!("please input:recv:{word}\n")).concat();
        client.ends(255, format!("connect ok.\n{answers}please input:write() failed.\n"), "");
        let received = words.map(|word| format!("recv(eventfd={fd}):{word}\n")).concat();
        server.says(format!(
            "listensock=3\naccept client(socket={fd}) ok.\n{received}client(eventfd={fd}) disconnected.\n"
        ));
    });
}

#[test]
fn a_server_that_closes_instead_of_answering_is_a_failed_read() {
    let (listener, addr) = listen();
    let mut client = course_client(addr);
    let peer = accept(&listener);
    client.types("word\n");
    expect(&peer, b"word");
    drop(peer);
    client.ends(
        255,
        "connect ok.\nplease input:read() failed.\n",
        "read: the server has closed the connection\n",
    );
}

#[test]
fn a_connection_that_breaks_before_the_answer_is_a_failed_read() {
    let (listener, addr) = listen();
    let mut client = course_client(addr);
    let peer = accept(&listener);
    client.types("word\n");
    expect(&peer, b"word");
    reset(peer);
    client.ends(255, "connect ok.\nplease input:read() failed.\n", "read: Connection reset by peer\n");
}

#[test]
fn a_connection_that_broke_before_the_word_is_a_failed_write() {
    let (listener, addr) = listen();
    let mut client = course_client(addr);
    let peer = accept(&listener);
    let its_end = peer.peer_addr().expect("where the client is");
    client.says("connect ok.\nplease input:");
    reset(peer);
    wait_until("the client's end is broken", || state(its_end, addr).is_none());
    client.types("word\n");
    client.ends(255, "connect ok.\nplease input:write() failed.\n", "write: Connection reset by peer\n");
}

#[test]
fn a_server_that_is_killed_is_a_failed_read_for_its_client() {
    multiplexed(|name, args, _| {
        let server = server(name, args);
        let mut client = course_client(server.addr());
        client.types("word\n");
        client.says("connect ok.\nplease input:recv:word\nplease input:");
        server.signal(Signal::SIGKILL);
        assert_eq!(server.finish().code, None);
        client.types("word\n");
        let session = "connect ok.\nplease input:recv:word\nplease input:read() failed.\n";
        client.ends(255, session, "read: the server has closed the connection\n");
    });
}
