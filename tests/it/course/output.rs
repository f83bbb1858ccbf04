//! Standard output that is slow, non-blocking or never read, and what else a program of the course may inherit.

use super::{MULTIPLEXED, expect, listen, multiplexed, program, server};
use crate::support::{
    ask, blocked, children, connect, is_full, nonblocking_pipe, process, read_to_end, wait_until,
};
use io_models::sys::signal::Signal;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::OpenOptionsExt;

/// More than a pipe holds.
const REQUESTS: usize = 200;

#[test]
fn a_slow_reader_of_a_non_blocking_standard_output_ends_no_server() {
    for &(name, args, fd) in MULTIPLEXED {
        let (mut reader, writer) = nonblocking_pipe();
        let ours = writer.try_clone().expect("a copy of a descriptor");
        let server = program(name).args(&["0"]).args(args).stdout(writer).start_server();
        std::thread::scope(|scope| {
            let asking = scope.spawn(|| {
                let client = connect(server.addr());
                (0..REQUESTS).for_each(|_| ask(&client, &[b'x'; 1000]));
            });
            wait_until("the pipe is full", || is_full(&ours));
            drop(ours);
            // The last word is that of the client's end.
            let last = format!("client(eventfd={fd}) disconnected.\n");
            let (mut said, mut buffer) = (Vec::new(), [0; 4096]);
            while !said.ends_with(last.as_bytes()) {
                let n = reader.read(&mut buffer).expect("a pipe of ours can be read");
                assert_ne!(n, 0, "{name} does not end");
                said.extend_from_slice(&buffer[..n]);
            }
            asking.join().expect("every request is answered");
            let heard = [format!("recv(eventfd={fd}):").as_bytes(), &[b'x'; 1000], b"\n"].concat();
            let times = said.windows(heard.len()).filter(|&line| line == heard).count();
            assert_eq!(times, REQUESTS, "{name} says all of it");
        });
        server.signal(Signal::SIGTERM);
        assert_eq!(server.finish().code, Some(0));
    }
}

#[test]
fn a_server_whose_standard_output_nobody_reads_can_be_stopped() {
    // At the same time, because each waits for a second for somebody to read.
    std::thread::scope(|scope| {
        for &(name, args, _) in MULTIPLEXED {
            for nonblocking in [false, true] {
                for errors in [Errors::Heard, Errors::Unread] {
                    scope.spawn(move || can_be_stopped_unread(name, args, nonblocking, errors));
                }
            }
        }
    });
}

/// Where standard error goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Errors {
    /// To the test.
    Heard,
    /// Into the pipe that standard output is, as with `2>&1`.
    Unread,
}

fn can_be_stopped_unread(name: &'static str, args: &[&str], nonblocking: bool, errors: Errors) {
    let (reader, writer) = if nonblocking { nonblocking_pipe() } else { io::pipe().expect("a pipe") };
    let ours = writer.try_clone().expect("a copy of a descriptor");
    let server = program(name).args(&["0"]).args(args);
    let (server, addr) = match errors {
        Errors::Heard => {
            let server = server.stdout(writer).start_server();
            let addr = server.addr();
            (server, addr)
        }
        Errors::Unread => {
            let same = writer.try_clone().expect("a copy of a descriptor");
            (server.stdout(writer).stderr(same).start(), told_addr(&reader))
        }
    };
    let client = connect(addr);
    std::thread::scope(|scope| {
        let asking = scope.spawn(|| {
            let request = [b'x'; 1000];
            // Until the server cannot say any more.
            while io::Write::write_all(&mut &client, &request).is_ok()
                && (&client).read_exact(&mut [0; 1000]).is_ok()
            {}
        });
        wait_until("the pipe is full", || is_full(&ours));
        if errors == Errors::Unread {
            fill_last_page(&ours);
        }
        drop(ours);
        server.signal(Signal::SIGTERM);
        let ended = server.finish();
        assert_eq!(ended.code, Some(0), "{name} ({errors:?}): {}", ended.complaints);
        asking.join().expect("a client that is left");
    });
    drop(reader);
}

/// Poll calls a pipe full when each of its pages is in use, but what fits the last page is still taken. Fill that too, as
/// another program with the same output may do.
fn fill_last_page(pipe: &io::PipeWriter) {
    // Opened again, so that the flag is not the server's.
    let again = format!("/proc/self/fd/{}", pipe.as_raw_fd());
    let pipe =
        File::options().write(true).custom_flags(libc::O_NONBLOCK).open(again).expect("a pipe of ours");
    while io::Write::write(&mut &pipe, b"x").is_ok() {}
}

/// Read a server's output until it tells where it listens.
fn told_addr(output: &io::PipeReader) -> SocketAddr {
    let mut lines = BufReader::new(output).lines().map(|line| line.expect("text in a pipe of ours"));
    let port = lines.find_map(|line| line.strip_prefix("listening on 0.0.0.0:")?.parse().ok());
    (Ipv4Addr::LOCALHOST, port.expect("a server that chooses its port tells it")).into()
}

#[test]
fn a_forking_server_whose_standard_output_nobody_reads_can_be_stopped() {
    let (reader, writer) = io::pipe().expect("a pipe");
    let ours = writer.try_clone().expect("a copy of a descriptor");
    let server = program("demo10-fork-server").args(&["0"]).stdout(writer).start_server();
    let client = connect(server.addr());
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while io::Write::write_all(&mut &client, &[b'x'; 1000]).is_ok()
                && (&client).read_exact(&mut [0; 2]).is_ok()
            {}
        });
        wait_until("the pipe is full", || is_full(&ours));
        drop(ours);
        server.signal(Signal::SIGTERM);
        assert_eq!(server.finish().code, Some(0));
    });
    drop(reader);
}

#[test]
fn every_server_hears_a_signal_that_it_inherits_blocked() {
    let stops = [Signal::SIGTERM, Signal::SIGINT];
    multiplexed(|name, args, _| {
        for signal in stops {
            let server = blocked(&stops, || server(name, args));
            ask(&connect(server.addr()), b"hello");
            server.signal(signal);
            assert_eq!(server.finish().code, Some(0), "{name}");
        }
    });
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path().to_str().expect("text");
    for (name, args, code) in [
        ("demo10-fork-server", &[][..], Some(0)),
        ("demo12-receive-file", &[folder], Some(0)),
        // These leave signals to the system.
        ("demo2-server", &[], None),
        ("demo8-server", &[], None),
        ("tcpepoll2-edge", &[], None),
    ] {
        let server = blocked(&stops, || server(name, args));
        server.signal(Signal::SIGTERM);
        assert_eq!(server.finish().code, code, "{name}");
    }
}

#[test]
fn the_forking_server_collects_its_children_though_sigchld_was_blocked() {
    let server = blocked(&[Signal::SIGCHLD], || server("demo10-fork-server", &[]));
    let parent = process(server.pid());
    for _ in 0..20 {
        let client = connect(server.addr());
        super::ask_ok(&client, b"hello");
        crate::support::end_writing(&client);
        assert_eq!(read_to_end(&client), b"");
    }
    wait_until("the server has collected its children", || children(&parent).is_empty());
}

#[test]
fn a_client_waits_for_words_on_a_non_blocking_standard_input() {
    let (listener, addr) = listen();
    let (words, mut keyboard) = io::pipe().expect("a pipe");
    io_models::sys::fcntl::set_nonblocking(words.as_fd()).expect("the flags of a pipe");
    let (host, port) = (addr.ip().to_string(), addr.port().to_string());
    let client = program("course-client").args(&[host, port]).stdin(words).start();
    let mut peer = super::accept(&listener);
    client.says("connect ok.\nplease input:");
    io::Write::write_all(&mut keyboard, b"hello\n").expect("a pipe of ours");
    expect(&peer, b"hello");
    io::Write::write_all(&mut peer, b"hello").expect("the client takes an answer");
    drop(keyboard);
    client.ends(255, "connect ok.\nplease input:recv:hello\nplease input:write() failed.\n", "");
}
