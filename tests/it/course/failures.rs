//! What cannot be done is said, and the exit code is 255: no server, no such name, no port, no output.

use super::program::PATHS;
use super::{CLIENTS, accept, arguments, ask_ok, assert_one_line, bound, listen, program};
use crate::support::connect;
use std::fs::File;
use std::net::TcpListener;

const NO_NAME: &str = "no.such.host.invalid";

/// Outputs that take nothing.
fn full() -> File {
    File::options().write(true).open("/dev/full").expect("/dev/full")
}

const NO_SPACE: &str = "cannot write to standard output: No space left on device (os error 28)\n";

#[test]
fn clients_of_a_port_where_nobody_listens_say_that_it_was_refused() {
    let (_socket, addr) = bound();
    for (name, said, complaint) in [
        ("demo1-client", String::new(), "connect: Connection refused\n"),
        ("demo7-client", String::new(), "connect(): Connection refused\n"),
        ("course-client", format!("connect({addr}) failed.\n"), "connect: Connection refused\n"),
        ("demo11-send-file", String::new(), "connect(): Connection refused\n"),
        // Of `client1-connect`, which may have two words for it, see `connecting`.
    ] {
        let args = arguments(name, "127.0.0.1", &addr.port().to_string());
        program(name).args(&args).start().ends(255, said, complaint);
    }
}

#[test]
fn a_name_without_an_address_is_named() {
    for (name, said, complaint) in [
        ("demo1-client", "gethostbyname failed.\n\n", "gethostbyname: no address for"),
        ("demo7-client", "", "connect(): no address for"),
        ("demo11-send-file", "", "connect(): no address for"),
        ("course-client", "connect(no.such.host.invalid:5005) failed.\n", "connect: no address for"),
        ("client1-connect", "connect(no.such.host.invalid:5005) failed.\n", "connect: no address for"),
    ] {
        let ended = program(name).args(&arguments(name, NO_NAME, "5005")).start().finish();
        assert_eq!(ended.said, said, "{name}");
        // Why depends on the resolver.
        assert_one_line(name, &ended, &[&format!("{complaint} {NO_NAME:?}: ")]);
    }
}

#[test]
fn a_name_is_as_good_as_an_address() {
    for name in CLIENTS {
        let (listener, addr) = listen();
        let args = arguments(name, "localhost", &addr.port().to_string());
        let _client = program(name).args(&args).start();
        accept(&listener);
    }
}

#[test]
fn a_port_that_is_in_use_is_said_in_the_words_of_each_server() {
    let holder = TcpListener::bind("0.0.0.0:0").expect("a free port");
    let port = holder.local_addr().expect("its address").port().to_string();
    for name in PATHS.iter().map(|(name, _)| *name).filter(|name| !CLIENTS.contains(name)) {
        let (said, complaint) = match name {
            "demo2-server" => ("", "bind: Address already in use\n"),
            "demo8-server" | "demo10-fork-server" | "demo12-receive-file" => {
                ("", "initserver(): Address already in use\n")
            }
            _ => ("listensock=-1\ninitserver() failed.\n", "bind() failed: Address already in use\n"),
        };
        program(name).args(&arguments(name, "", &port)).start().ends(255, said, complaint);
    }
    let flags = ["--mode", "echo"];
    let said = "listensock=-1\ninitserver() failed.\n";
    let echo = program("tcpepoll2-edge").args(&[&port]).args(&flags).start();
    echo.ends(255, said, "bind() failed: Address already in use\n");
}

#[test]
fn a_full_disk_is_a_failure_and_not_a_panic() {
    for (name, _) in PATHS {
        // The usage.
        program(name).stdout(full()).start().ends(255, "", NO_SPACE);
    }
    for name in ["tcpselect", "tcppoll", "tcpepoll", "tcpepoll2-edge", "tcpepoll1-accept"] {
        program(name).args(&["0"]).stdout(full()).start().ends(255, "", NO_SPACE);
    }
}

#[test]
fn a_full_disk_ends_a_client_at_its_first_word() {
    for name in CLIENTS {
        let (listener, addr) = listen();
        let args = arguments(name, "127.0.0.1", &addr.port().to_string());
        let full = program(name).args(&args).stdout(full()).start();
        let _peer = accept(&listener);
        full.ends(255, "", NO_SPACE);
    }
}

#[test]
fn a_full_disk_ends_a_server_at_its_first_client() {
    for name in ["demo2-server", "demo8-server"] {
        let server = program(name).args(&["0"]).stdout(full()).start_server();
        let _client = connect(server.addr());
        server.ends(255, "", NO_SPACE);
    }
}

#[test]
fn with_a_process_for_each_client_a_full_disk_is_said_and_the_clients_are_served() {
    let server = program("demo10-fork-server").args(&["0"]).stdout(full()).start_server();
    for times in 1..=2 {
        let client = connect(server.addr());
        ask_ok(&client, b"hello");
        ask_ok(&client, b"hello");
        // Once in each process, whatever it would have said.
        server.complains(&format!("{}{NO_SPACE}", format!("{NO_SPACE}{AT_THE_END}").repeat(times - 1)));
        drop(client);
        server.complains(&format!("{NO_SPACE}{AT_THE_END}").repeat(times));
    }
    let folder = tempfile::tempdir().expect("a folder for files");
    let folder = folder.path().to_str().expect("our folders have names of text");
    let server = program("demo12-receive-file").args(&["0", folder]).stdout(full()).start_server();
    let sender = program("demo11-send-file").args(&arguments(
        "demo11-send-file",
        "127.0.0.1",
        &server.addr().port().to_string(),
    ));
    assert_eq!(sender.start().finish().code, Some(0));
    server.complains(NO_SPACE);
}

/// What demo10 complains of when a client has ended.
const AT_THE_END: &str = "recv(): Invalid argument\n";

/// Such as `head`, which has read enough.
#[test]
fn an_output_that_nobody_reads_any_more_is_no_reason_to_complain() {
    for (name, _) in PATHS {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        program(name).stdout(writer).start().ends(255, "", "");
    }
}
