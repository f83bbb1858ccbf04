//! What is sent comes back, all of it and nothing else.

use crate::cli::fails;
use crate::support::{
    Server, ask, connect, each_model, end_writing, pattern, read_to_end, state, wait_until,
};
use io_models::sys::signal::Signal;
use nix::sys::socket::{MsgFlags, send};
use proptest::collection::vec;
use proptest::test_runner::{Config, TestRunner};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::fd::AsRawFd;
use std::slice;

#[test]
fn one_byte_comes_back_and_another() {
    each_model(|model| {
        let server = Server::start(model);
        let client = connect(server.addr());
        ask(&client, b"a");
        ask(&client, b"b");
        drop(client);
        assert_eq!(server.stop().totals(), (1, 2, 2));
    });
}

#[test]
fn nul_bytes_are_bytes() {
    each_model(|model| {
        let server = Server::start(model);
        let client = connect(server.addr());
        for request in [&b"\0"[..], b"\0\0\0\0", b"a\0b\0", &[0; 40_000]] {
            ask(&client, request);
        }
        drop(client);
        server.stop();
    });
}

#[test]
fn two_thousand_bytes_sent_one_by_one_come_back_in_order() {
    each_model(|model| {
        let server = Server::start(model);
        let client = connect(server.addr());
        let sent = pattern(6, 2_000);
        for byte in &sent {
            (&client).write_all(slice::from_ref(byte)).expect("the server takes a byte");
        }
        end_writing(&client);
        assert!(read_to_end(&client) == sent, "what came back differs from what was sent");
        drop(client);
        assert_eq!(server.stop().totals(), (1, 2_000, 2_000));
    });
}

#[test]
fn eight_mebibytes_in_odd_pieces_come_back_before_the_end() {
    each_model(|model| {
        let server = Server::start(model);
        let client = connect(server.addr());
        let sent = pattern(1, 8 << 20);
        std::thread::scope(|scope| {
            scope.spawn(|| send_in_odd_pieces(&client, &sent));
            assert!(read_in_odd_pieces(&client) == sent, "what came back differs from what was sent");
        });
        drop(client);
        assert_eq!(server.stop().totals(), (1, 8 << 20, 8 << 20));
    });
}

fn send_in_odd_pieces(mut client: &TcpStream, mut left: &[u8]) {
    let mut random = fastrand::Rng::with_seed(2);
    while !left.is_empty() {
        let piece;
        (piece, left) = left.split_at(random.usize(1..=60_000).min(left.len()));
        client.write_all(piece).expect("the server takes a piece");
    }
    end_writing(client);
}

fn read_in_odd_pieces(mut client: &TcpStream) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(3);
    let mut all = Vec::new();
    let mut buffer = vec![0; 50_000];
    loop {
        match client.read(&mut buffer[..random.usize(1..=50_000)]).expect("the answer goes on") {
            0 => return all,
            n => all.extend_from_slice(&buffer[..n]),
        }
    }
}

#[test]
fn a_stream_may_be_cut_anywhere() {
    each_model(|model| {
        let server = Server::start(model);
        // No file of failures: the cases are few, and each failure prints its cuts.
        let config = Config { cases: 24, failure_persistence: None, ..Config::default() };
        let cuts = vec(0..40_000usize, 0..12);
        let outcome = TestRunner::new_with_rng(config, fixed_rng()).run(&cuts, |mut cuts| {
            cuts.sort_unstable();
            let sent = pattern(4, 40_000);
            let client = connect(server.addr());
            let mut from = 0;
            for cut in cuts.into_iter().chain([sent.len()]) {
                (&client).write_all(&sent[from..cut]).expect("the server takes a piece");
                from = cut;
            }
            end_writing(&client);
            assert!(read_to_end(&client) == sent, "what came back differs from what was sent");
            Ok(())
        });
        outcome.unwrap_or_else(|why| panic!("{why}"));
        server.stop();
    });
}

/// The same cuts on every machine, so that a failure can be had again.
fn fixed_rng() -> proptest::test_runner::TestRng {
    proptest::test_runner::TestRng::deterministic_rng(proptest::test_runner::RngAlgorithm::ChaCha)
}

/// The sizes lie around one read of the server (16 KiB) and around what one client may have in a row
/// (256 KiB): where a loop that stops reading too early would forget the rest, or the end.
#[test]
fn bytes_that_arrived_together_with_the_end_come_back() {
    each_model(|model| {
        let server = Server::start(model);
        let process = server.process();
        for size in [0, 1, 16_383, 16_384, 16_385, 32_768, 262_143, 262_144, 262_145, 600_000] {
            let sent = pattern(5, size);
            // The server sleeps while client, bytes and end arrive, and finds all at once.
            server.signal(Signal::SIGSTOP);
            wait_until("the server is stopped", || state(&process) == Some('T'));
            let client = connect(server.addr());
            std::thread::scope(|scope| {
                let sender = scope.spawn(|| {
                    (&client).write_all(&sent).expect("the kernel takes it for the server");
                    end_writing(&client);
                });
                // So much fits any receive window. Of more, the rest comes while the server reads.
                if size <= 60_000 {
                    sender.join().expect("the kernel has all of it");
                }
                server.signal(Signal::SIGCONT);
                assert!(read_to_end(&client) == sent, "{size} bytes: something else came back");
            });
        }
        server.stop();
    });
}

/// A read of a TCP stream stops at the urgent mark, so here a read that comes back short does not
/// mean that nothing is left (tcp(7)). A byte that is sent as urgent is not part of the stream.
#[test]
fn bytes_behind_an_urgent_one_are_not_forgotten() {
    each_model(|model| {
        let server = Server::start(model);
        let process = server.process();
        // Several times, because a ring forgot them only when a signal was pending at a certain moment.
        for _ in 0..10 {
            let mut client = connect(server.addr());
            ask(&client, b"hello");
            server.signal(Signal::SIGSTOP);
            wait_until("the server is stopped", || state(&process) == Some('T'));
            client.write_all(b"before").expect("the kernel takes it");
            let sent =
                send(client.as_raw_fd(), b"!", MsgFlags::MSG_OOB).expect("the kernel takes an urgent byte");
            assert_eq!(sent, 1);
            client.write_all(b"behind").expect("the kernel takes it");
            server.signal(Signal::SIGCONT);
            let mut answer = [0; 12];
            client.read_exact(&mut answer).expect("all bytes but the urgent one come back");
            assert_eq!(&answer, b"beforebehind");
        }
        server.stop();
    });
}

#[test]
fn reply_ok_answers_ok_to_each_piece() {
    each_model(|model| {
        let server = Server::of(model).arg("--reply").arg("ok").start();
        let mut client = connect(server.addr());
        for request in [&b"hello"[..], b"\0", &[7; 16_384]] {
            client.write_all(request).expect("the server takes a request");
            let mut answer = [0; 2];
            client.read_exact(&mut answer).expect("the server answers");
            assert_eq!(&answer, b"ok");
        }
        end_writing(&client);
        let rest = read_to_end(&client);
        // 16 KiB may arrive in several pieces, and each has its answer.
        assert_eq!(rest, b"ok".repeat(rest.len() / 2));
        let report = server.stop();
        assert_eq!(report.totals(), (1, 5 + 1 + 16_384, 6 + rest.len() as u64));
    });
}

#[test]
fn ipv6_is_served_too() {
    let has_ipv6 = std::net::TcpListener::bind("[::1]:0").is_ok();
    each_model(|model| {
        if !has_ipv6 {
            let complaint = fails(&["serve", model.name, "--listen", "[::1]:0"], 1);
            assert!(complaint.contains("cannot listen on [::1]:0"), "{complaint}");
            return;
        }
        let server = Server::of(model).arg("--listen").arg("[::1]:0").start();
        assert!(server.addr().is_ipv6());
        ask(&connect(server.addr()), b"over IPv6");
        server.stop();
    });
}
