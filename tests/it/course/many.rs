//! Several clients of the multiplexed servers at the same time.

use super::{multiplexed, server};
use crate::support::{ask, connect, end_writing, pattern, read_to_end, reset};
use io_models::sys::signal::Signal;
use std::io::Write;

#[test]
fn the_number_of_a_client_that_has_left_goes_to_the_next() {
    multiplexed(|name, args, first| {
        let server = server(name, args);
        let (second, third) = (first + 1, first + 2);
        let mut session = "listensock=3\n".to_owned();
        let mut says = |line: String| {
            session += &line;
            server.says(&session);
        };
        let a = connect(server.addr());
        says(format!("accept client(socket={first}) ok.\n"));
        let b = connect(server.addr());
        says(format!("accept client(socket={second}) ok.\n"));
        let c = connect(server.addr());
        says(format!("accept client(socket={third}) ok.\n"));
        ask(&b, b"from b");
        says(format!("recv(eventfd={second}):from b\n"));
        drop(a);
        says(format!("client(eventfd={first}) disconnected.\n"));
        let d = connect(server.addr());
        says(format!("accept client(socket={first}) ok.\n"));
        ask(&d, b"from d");
        says(format!("recv(eventfd={first}):from d\n"));
        drop(c);
        says(format!("client(eventfd={third}) disconnected.\n"));
        drop(b);
        says(format!("client(eventfd={second}) disconnected.\n"));
        let _e = connect(server.addr());
        says(format!("accept client(socket={second}) ok.\n"));
        ask(&d, b"from d again");
        says(format!("recv(eventfd={first}):from d again\n"));
    });
}

#[test]
fn a_client_that_ends_its_half_still_gets_its_echo() {
    multiplexed(|name, args, fd| {
        let server = server(name, args);
        let client = connect(server.addr());
        (&client).write_all(b"last words").expect("the server takes them");
        end_writing(&client);
        assert_eq!(read_to_end(&client), b"last words");
        server.says(format!(
            "\
listensock=3
accept client(socket={fd}) ok.
recv(eventfd={fd}):last words
client(eventfd={fd}) disconnected.
"
        ));
    });
}

#[test]
fn a_client_that_resets_its_connection_has_left_and_the_others_stay() {
    multiplexed(|name, args, first| {
        let server = server(name, args);
        let second = first + 1;
        let breaks = connect(server.addr());
        ask(&breaks, b"hello");
        let stays = connect(server.addr());
        ask(&stays, b"hello");
        reset(breaks);
        let session = format!(
            "\
listensock=3
accept client(socket={first}) ok.
recv(eventfd={first}):hello
accept client(socket={second}) ok.
recv(eventfd={second}):hello
client(eventfd={first}) disconnected.
"
        );
        server.says(&session);
        ask(&stays, b"still here");
        server.says(format!("{session}recv(eventfd={second}):still here\n"));
    });
}

#[test]
fn fifty_clients_talk_at_the_same_time_and_each_gets_its_own() {
    multiplexed(|name, args, _| {
        let server = server(name, args);
        std::thread::scope(|scope| {
            for i in 0..50 {
                let server = &server;
                scope.spawn(move || {
                    let client = connect(server.addr());
                    for round in 0..20 {
                        ask(&client, &pattern(i * 100 + round, 2000));
                    }
                });
            }
        });
        // What the clients say is no text, and may look like anything; how they come and leave is.
        let said = server.says_until("all have left", |said| said.matches(") disconnected.\n").count() == 50);
        assert_eq!(said.matches("accept client(socket=").count(), 50);
    });
}

#[test]
fn a_signal_to_stop_ends_a_server_with_clients_in_order() {
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        multiplexed(|name, args, fd| {
            let server = server(name, args);
            let client = connect(server.addr());
            ask(&client, b"hello");
            server.signal(signal);
            assert_eq!(read_to_end(&client), b"");
            let session = format!("listensock=3\naccept client(socket={fd}) ok.\nrecv(eventfd={fd}):hello\n");
            server.ends(0, session, "");
        });
    }
}
