//! What bad input gets: one line with the cause and the remedy, and the exit code that says whose
//! mistake it was.

use super::program::{Ended, Program, io_models, io_models_with_descriptors};
use super::servers::Server;
use super::{load, start_load};
use crate::support::without;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrIn, bind, getsockname, socket};
use std::fs::File;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd};

/// A port that is taken, so that no other test gets it, and has no listener.
fn nobody_listens() -> (OwnedFd, SocketAddr) {
    let taken =
        socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).expect("a socket");
    bind(taken.as_raw_fd(), &SockaddrIn::new(127, 0, 0, 1, 0)).expect("a free port");
    let addr: SockaddrIn = getsockname(taken.as_raw_fd()).expect("its address");
    (taken, SocketAddr::V4(addr.into()))
}

/// The command line is refused before anybody is connected to.
#[track_caller]
fn refused(line: &str, says: &[&str]) {
    let ended = Program::start(line).end();
    assert_eq!(ended.exits(2).says_one_line(says).stdout, "");
}

#[test]
fn no_connections_are_refused() {
    refused("load 127.0.0.1:9 -c 0", &["--connections", "at least 1"]);
}

#[test]
fn more_connections_than_descriptors_are_refused_with_the_limit_and_how_to_raise_it() {
    let line = "load 127.0.0.1:9 -c 30000000";
    let ended = Program::spawn(io_models_with_descriptors(1000, line)).end();
    let says = ["30,000,000 connections", "1000 descriptors", "ulimit", "LimitNOFILE"];
    assert_eq!(ended.exits(2).says_one_line(&says).stdout, "");
}

#[test]
fn a_rate_at_which_nothing_would_be_due_is_refused() {
    refused("load 127.0.0.1:9 -R 4 -d 100ms", &["none is due", "--duration"]);
    refused("load 127.0.0.1:9 --sweep 100,4 -d 100ms", &["none is due", "--duration"]);
}

#[test]
fn a_file_that_cannot_be_written_is_refused_by_the_name_of_its_option() {
    for option in ["--ndjson", "--hlog", "--hgrm"] {
        refused(&format!("load 127.0.0.1:9 {option} /nonexistent/file"), &["/nonexistent/file", option]);
    }
}

#[test]
fn no_time_is_refused() {
    refused("load 127.0.0.1:9 -d 0s", &["--duration", "longer"]);
}

#[test]
fn a_time_that_is_none_is_refused_with_an_example() {
    refused("load 127.0.0.1:9 -d 5days", &["--duration", "no such unit: days", "us, ms, s, m and h"]);
    refused("load 127.0.0.1:9 -d soon", &["--duration", "no such unit"]);
    refused("load 127.0.0.1:9 -d s", &["--duration", "40ms", "in seconds"]);
}

#[test]
fn no_bytes_are_refused() {
    refused("load 127.0.0.1:9 -s 0", &["--size", "at least 1"]);
}

#[test]
fn an_address_without_port_is_refused_with_an_example() {
    refused("load 127.0.0.1", &["127.0.0.1", "ADDR:PORT", "localhost:5005"]);
    refused("load nonsense", &["nonsense", "ADDR:PORT"]);
    refused("load 127.0.0.1:65536", &["65536", "ADDR:PORT"]);
}

#[test]
fn no_address_is_refused() {
    refused("load", &["<ADDR:PORT>"]);
}

#[test]
fn an_output_file_that_cannot_be_written_is_refused_before_the_load() {
    let server = Server::echo();
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("missing/report.json");
    let ended = load(server.addr, &format!("-d 10m --output {}", file.display()));
    ended.exits(2).says_one_line(&["cannot write to", "missing/report.json", "--output"]);
    assert_eq!(server.answers(), 0);
}

#[test]
fn an_address_that_nobody_listens_on_fails_with_the_call_and_the_question() {
    let (_taken, addr) = nobody_listens();
    let ended = load(addr, "-c 3 --json --quiet");
    let says = [&addr.to_string(), "connect(", "Connection refused", "is the server running?"];
    assert_eq!(ended.exits(1).says_one_line(&says).stdout, "");
}

#[test]
fn a_full_disk_fails_with_one_line() {
    let server = Server::echo();
    let full = File::options().write(true).open("/dev/full").expect("/dev/full");
    for format in ["", "--json"] {
        let line = format!("load {} -c 1 -d 300ms --warmup 10ms --quiet {format}", server.addr);
        let out = full.try_clone().expect("a descriptor");
        let ended: Ended = Program::end_with_stdout(io_models(&line), out);
        ended.exits(1).says_one_line(&[
            "cannot write to standard output",
            "No space left",
            "is the disk full?",
        ]);
    }
}

#[test]
fn a_reader_that_has_gone_is_nothing_to_complain_of() {
    let server = Server::echo();
    let mut load = start_load(server.addr, "-c 1 -d 300ms --warmup 10ms --quiet --json");
    load.let_go_of_stdout();
    assert_eq!(load.end().stderr, "");
}

#[test]
fn a_rate_that_is_none_is_refused() {
    refused("load 127.0.0.1:9 -R 0", &["--rate", "above 0"]);
    refused("load 127.0.0.1:9 --rate=-5", &["--rate", "above 0"]);
    refused("load 127.0.0.1:9 -R many", &["--rate", "500, 50k"]);
    refused("load 127.0.0.1:9 -R nan", &["--rate"]);
    refused("load 127.0.0.1:9 -R inf", &["--rate"]);
}

#[test]
fn a_rate_that_nobody_can_send_is_refused() {
    refused("load 127.0.0.1:9 -R 20m", &["20000000 requests/s", "--threads"]);
    refused("load 127.0.0.1:9 --sweep 1k,20m", &["20000000 requests/s", "--threads"]);
    refused("load 127.0.0.1:9 --ramp 1m:3m:1m:1s", &["3000000 requests/s", "--threads"]);
    refused("load 127.0.0.1:9 -R 20m --find-knee --limit p99=1ms", &["20000000 requests/s", "--threads"]);
}

#[test]
fn a_ramp_that_is_none_is_refused_with_an_example() {
    refused("load 127.0.0.1:9 --ramp 10k", &["--ramp", "FROM:TO:STEP:TIME"]);
    refused("load 127.0.0.1:9 --ramp 1:2:3:4x", &["--ramp", "unit"]);
    refused("load 127.0.0.1:9 --ramp 1:2:0:1s", &["--ramp", "above 0"]);
    refused("load 127.0.0.1:9 --ramp 1:1m:1:1s", &["--ramp", "rates", "larger step"]);
    refused("load 127.0.0.1:9 --sweep 1,,2", &["--sweep"]);
    refused("load 127.0.0.1:9 --sweep 1,0", &["--sweep", "above 0"]);
}

#[test]
fn sizes_that_are_none_are_refused() {
    refused("load 127.0.0.1:9 -s 100-10", &["--size", "from the smaller to the larger"]);
    refused("load 127.0.0.1:9 -s 64,", &["--size"]);
    refused("load 127.0.0.1:9 -s 64,0", &["--size", "at least 1"]);
    refused("load 127.0.0.1:9 -s 2000m", &["--size", "at most"]);
    refused("load 127.0.0.1:9 --depth 0", &["--depth", "at least 1"]);
    refused("load 127.0.0.1:9 --requests-per-conn 0", &["--requests-per-conn", "at least 1"]);
}

#[test]
fn shares_that_are_none_are_refused() {
    for option in ["--slow-reader", "--half-close", "--reset"] {
        refused(&format!("load 127.0.0.1:9 {option} 100%"), &[option, "less than all"]);
        refused(&format!("load 127.0.0.1:9 {option}=-1%"), &[option, "less than all"]);
        refused(&format!("load 127.0.0.1:9 {option} some"), &[option, "10% or 0.1"]);
    }
}

#[test]
fn hostile_clients_that_leave_nobody_to_measure_is_refused() {
    refused("load 127.0.0.1:9 -c 1 --reset 1%", &["1 of 1 connections would be hostile", "-c"]);
    let line = "load 127.0.0.1:9 -c 10 --reset 50% --half-close 50%";
    refused(line, &["10 of 10 connections would be hostile", "-c"]);
    let line = "load 127.0.0.1:9 -c 10 --threads 3 --reset 80%";
    refused(line, &["8 of 10 connections would be hostile", "3 threads"]);
}

#[test]
fn limits_that_are_none_are_refused_with_an_example() {
    let with = |limit: &str| format!("load 127.0.0.1:9 --find-knee --limit {limit}");
    refused(&with("1ms"), &["--limit", "p99=1ms"]);
    refused(&with("p99"), &["--limit", "p99=1ms"]);
    refused(&with("p101=1ms"), &["--limit", "at most 100"]);
    refused(&with("p0=1ms"), &["--limit", "above 0"]);
    refused(&with("p99=5x"), &["--limit", "unit"]);
    refused(&with("p99=0s"), &["--limit", "longer"]);
    refused(&with("median=1ms"), &["--limit", "p99=1ms"]);
}

#[test]
fn own_addresses_that_are_none_are_refused() {
    refused("load 127.0.0.1:9 --sources localhost", &["--sources", "localhost", "127.0.0.2-127.0.0.9"]);
    refused("load 127.0.0.1:9 --sources 127.0.0.9-127.0.0.2", &["--sources", "lower to the higher"]);
    refused("load 127.0.0.1:9 --sources 127.0.0.2-127.1.0.2", &["--sources", "at most 4096"]);
}

#[test]
fn options_that_make_no_sense_without_another_are_refused() {
    refused("load 127.0.0.1:9 --arrivals poisson", &["--arrivals", "-R"]);
    refused("load 127.0.0.1:9 --limit p99=1ms", &["--find-knee"]);
    refused("load 127.0.0.1:9 --find-knee", &["--limit"]);
    refused("load 127.0.0.1:9 -c 2 -t 3", &["--threads 3 for 2 connections"]);
    refused("load 127.0.0.1:9 -t 0", &["--threads", "at least 1"]);
}

#[test]
fn options_that_contradict_each_other_are_refused() {
    refused("load 127.0.0.1:9 -R 10 --sweep 10,20", &["--rate", "--sweep"]);
    refused("load 127.0.0.1:9 -R 10 --ramp 1:2:1:1s", &["--rate", "--ramp"]);
    refused("load 127.0.0.1:9 --sweep 10 --find-knee --limit max=1s", &["--sweep", "--find-knee"]);
    refused("load 127.0.0.1:9 --ramp 1:2:1:1s -d 5s", &["--ramp", "--duration"]);
}

#[test]
fn words_that_an_option_does_not_know_are_refused_with_those_it_does() {
    refused("load 127.0.0.1:9 --engine select", &["--engine", "epoll", "uring"]);
    refused("load 127.0.0.1:9 --wait idle", &["--wait", "spin", "sleep"]);
    refused("load 127.0.0.1:9 -R 1 --arrivals random", &["--arrivals", "constant", "poisson"]);
}

#[test]
fn io_uring_is_refused_where_the_kernel_denies_it() {
    for errno in [libc::EPERM, libc::ENOSYS] {
        without(&[libc::SYS_io_uring_setup], errno, io_uring_is_refused);
    }
}

#[cfg(feature = "uring")]
#[test]
fn io_uring_without_locked_memory_is_refused_with_the_limit_and_how_to_raise_it() {
    let says = ["--engine uring", "limit on locked memory is", "ulimit -l", "use --engine epoll"];
    without(&[libc::SYS_io_uring_setup], libc::ENOMEM, || refused("load 127.0.0.1:9 --engine uring", &says));
}

#[track_caller]
pub(super) fn io_uring_is_refused() {
    refused("load 127.0.0.1:9 --engine uring", &["--engine uring", "use --engine epoll"]);
}

#[test]
fn more_ports_than_there_are_are_refused_with_the_arithmetic() {
    let line = "load 192.0.2.1:9 -R 500k --requests-per-conn 1 -d 1m";
    refused(line, &["local ports", "ip_local_port_range", "--sources"]);
}

#[test]
fn more_memory_than_there_is_is_refused() {
    refused("load 127.0.0.1:9 --depth 4294967295", &["MiB", "--depth"]);
    refused("load 127.0.0.1:9 --depth 4294967296", &["--depth", "at most 4,294,967,295"]);
}

#[test]
fn each_file_that_cannot_be_written_is_refused_before_the_first_connection() {
    let server = Server::echo();
    let folder = tempfile::tempdir().expect("a folder");
    for option in ["--ndjson", "--hlog", "--hgrm"] {
        let file = folder.path().join("missing/file");
        let ended = load(server.addr, &format!("-d 10m {option} {}", file.display()));
        ended.exits(2).says_one_line(&["cannot write to", "missing/file"]);
        assert_eq!(ended.stdout, "");
    }
    assert_eq!(server.answers(), 0);
}

#[test]
fn what_is_refused_leaves_no_file_behind() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name).display().to_string();
    let files = format!("--hgrm {} --output {} --json", at("a"), at("b"));
    let (_taken, addr) = nobody_listens();
    load(addr, &format!("-R 10 {files}")).exits(1);
    load(addr, &format!("-R 0 --ndjson {} --hlog {} {files}", at("c"), at("d"))).exits(2);
    let left = std::fs::read_dir(folder.path()).expect("the folder").count();
    assert_eq!(left, 0, "files left in the folder");
}
