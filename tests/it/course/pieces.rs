//! TCP has no messages: what is sent at once is received in pieces of at most 1024 bytes.

use super::kernel::wait_until_arrived;
use super::{Program, expect, multiplexed, server};
use crate::support::{children, connect, end_writing, pattern, process, read_to_end, state, wait_until};
use io_models::sys::fork::{Pid, kill};
use io_models::sys::signal::Signal;
use std::io::Write;
use std::net::TcpStream;

/// Send all of `bytes` to the process that serves this client, and wake it when all have arrived: so that
/// the pieces in which it takes them are as large as it likes.
#[track_caller]
fn send_to_a_sleeper(mut client: &TcpStream, sleeper: Pid, bytes: &[u8]) {
    put_to_sleep(sleeper);
    client.write_all(bytes).expect("the kernel takes it for the server");
    wait_until_arrived(client, bytes.len());
    kill(sleeper, Signal::SIGCONT).expect("the server is there to be woken");
}

#[track_caller]
fn put_to_sleep(pid: Pid) {
    let process = process(pid);
    kill(pid, Signal::SIGSTOP).expect("the server is there to be stopped");
    wait_until("the server is stopped", || state(&process) == Some('T'));
}

/// Three pieces that cannot be mistaken for each other.
fn three_pieces() -> [String; 3] {
    ["a".repeat(1024), "b".repeat(1024), "c".repeat(952)]
}

fn session_of_three_pieces() -> String {
    let [a, b, c] = three_pieces();
    format!("客户端已连接(127.0.0.1)。\n接收：{a}\n发送：ok\n接收：{b}\n发送：ok\n接收：{c}\n发送：ok\n")
}

#[test]
fn demo8_answers_each_piece_of_1024_bytes() {
    let server = server("demo8-server", &[]);
    let client = connect(server.addr());
    server.says("客户端已连接(127.0.0.1)。\n");
    send_to_a_sleeper(&client, server.pid(), three_pieces().concat().as_bytes());
    expect(&client, b"okokok");
    end_writing(&client);
    assert_eq!(read_to_end(&client), b"", "three answers and no more");
    server.ends(0, session_of_three_pieces(), "recv(): Success\n");
}

#[test]
fn demo10_answers_each_piece_of_1024_bytes() {
    let server = server("demo10-fork-server", &[]);
    let client = connect(server.addr());
    server.says("客户端已连接(127.0.0.1)。\n");
    let child = children(&server.process())[0];
    send_to_a_sleeper(&client, child, three_pieces().concat().as_bytes());
    expect(&client, b"okokok");
    end_writing(&client);
    assert_eq!(read_to_end(&client), b"", "three answers and no more");
    server.says(session_of_three_pieces());
    server.complains("recv(): Invalid argument\n");
}

/// What a multiplexed server says of a client on `fd` from whom it received these pieces.
fn received(fd: i32, pieces: impl IntoIterator<Item = impl AsRef<[u8]>>) -> Vec<u8> {
    let mut session = format!("listensock=3\naccept client(socket={fd}) ok.\n").into_bytes();
    for piece in pieces {
        session.extend_from_slice(format!("recv(eventfd={fd}):").as_bytes());
        session.extend_from_slice(piece.as_ref());
        session.push(b'\n');
    }
    session
}

/// A multiplexed server and a client that it has accepted, on `fd`.
#[track_caller]
fn accepted(name: &str, args: &[&str], fd: i32) -> (Program, TcpStream) {
    let server = server(name, args);
    let client = connect(server.addr());
    server.says(received(fd, [b""; 0]));
    (server, client)
}

#[test]
fn a_message_of_5000_bytes_is_echoed_in_five_pieces() {
    multiplexed(|name, args, fd| {
        let (server, client) = accepted(name, args, fd);
        let message = ["1", "2", "3", "4"].map(|digit| digit.repeat(1024)).concat() + &"5".repeat(904);
        send_to_a_sleeper(&client, server.pid(), message.as_bytes());
        expect(&client, message.as_bytes());
        server.says(received(fd, message.as_bytes().chunks(1024)));
    });
}

/// The originals stop at a NUL, because they take what came for a C string.
#[test]
fn nul_bytes_are_echoed_and_shown_like_all_others() {
    multiplexed(|name, args, fd| {
        let (server, client) = accepted(name, args, fd);
        let pieces: [&[u8]; 3] = [b"\0", b"before\0behind", &[0; 1000]];
        for piece in pieces {
            (&client).write_all(piece).expect("the server takes a piece");
            expect(&client, piece);
        }
        server.says(received(fd, pieces));
    });
}

#[test]
fn bytes_that_are_no_text_are_echoed_and_shown_as_they_are() {
    multiplexed(|name, args, fd| {
        let (server, client) = accepted(name, args, fd);
        let bytes = pattern(11, 5000);
        assert!(bytes.contains(&0) && bytes.contains(&b'\n') && bytes.contains(&0xff));
        send_to_a_sleeper(&client, server.pid(), &bytes);
        end_writing(&client);
        assert!(read_to_end(&client) == bytes, "something else came back");
        let left = format!("client(eventfd={fd}) disconnected.\n");
        server.says([received(fd, bytes.chunks(1024)), left.into_bytes()].concat());
    });
}
