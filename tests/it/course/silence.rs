//! A server that waits with a timeout says when nothing has happened.

use super::server;
use crate::support::{ask, connect};
use std::time::{Duration, Instant};

/// Nothing happens, with a client or without, for as long as `patience`, and the server says so each time.
fn says_that_it_heard_nothing(name: &str, args: &[&str], patience: Duration, words: &str) {
    let started = Instant::now();
    let server = server(name, args);
    let says = |times: usize, said: &str| said.matches(words).count() >= times;
    server.says_until("it has heard nothing", |said| says(1, said));
    assert!(started.elapsed() >= patience, "it says so after {patience:?}, and not before");

    let client = connect(server.addr());
    ask(&client, b"still here");
    let answered = "recv(eventfd=4):still here\n";
    let session = server.says_until("it still serves", |said| said.contains(answered));
    assert!(session.starts_with(&format!("listensock=3\n{words}")), "{session}");
    assert!(session.contains("accept client(socket=4) ok.\n"), "{session}");
}

#[test]
fn tcppoll_after_ten_seconds_and_tcpselect_after_as_many_as_it_was_told() {
    // At the same time, because they only wait.
    std::thread::scope(|scope| {
        scope.spawn(|| {
            says_that_it_heard_nothing("tcppoll", &[], Duration::from_secs(10), "poll() timeout.\n");
        });
        scope.spawn(|| {
            let (args, second) = (["--timeout", "1"], Duration::from_secs(1));
            says_that_it_heard_nothing("tcpselect", &args, second, "select() timeout.\n");
        });
    });
}

#[test]
fn tcpselect_says_so_each_time_and_what_happens_begins_the_wait_anew() {
    let server = server("tcpselect", &["--timeout", "1"]);
    let client = connect(server.addr());
    let since = Instant::now();
    ask(&client, b"hello");
    let twice = "recv(eventfd=4):hello\nselect() timeout.\nselect() timeout.\n";
    server.says_until("it has heard nothing twice", |said| said.contains(twice));
    assert!(since.elapsed() >= Duration::from_secs(2), "two waits of a second");
}
