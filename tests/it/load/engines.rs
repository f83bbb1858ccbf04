//! Both ways to talk to the kernel find the same; and connections that come and go, are idle, come from several
//! addresses, or belong to several threads.

use super::servers::{Answer, Request, Server};
use super::wrong::{flipped, losing};
use super::{
    agrees_with_itself, exits_as_it_says, figure, histogram, load, report, report_of, start_load, whole,
};
use crate::support::{self, wait_until};
use nix::sys::signal::Signal;
use procfs::process::Process;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

/// No request of the rates below is due just as the clock starts or stops.
const SHORT: &str = "-d 300ms --warmup 20300.3us --json --quiet";

/// The engines that there are here, as arguments. In CI it must be both.
pub(super) fn all() -> Vec<&'static str> {
    let missing = missing();
    assert!(missing.is_none() || std::env::var_os("CI").is_none(), "no io_uring in CI: {missing:?}");
    let all = ["--engine epoll", "--engine uring"];
    all[..if missing.is_none() { 2 } else { 1 }].to_vec()
}

/// Only io_uring, where the tests of epoll are elsewhere. Without io_uring the program must refuse it.
#[track_caller]
fn uring() -> Option<&'static str> {
    let uring = all().get(1).copied();
    if uring.is_none() {
        super::input::io_uring_is_refused();
    }
    uring
}

#[cfg(feature = "uring")]
fn missing() -> Option<String> {
    io_models::sys::uring::unavailable()
}

#[cfg(not(feature = "uring"))]
fn missing() -> Option<String> {
    Some("built without it".to_owned())
}

/// A load that passes, and whose report agrees with itself.
#[track_caller]
fn passes(addr: SocketAddr, mode: &str, args: &str) -> Value {
    let ended = load(addr, args);
    let report = report_of(mode, &ended);
    exits_as_it_says(&ended, &report);
    assert_eq!(report["lost"], Value::Array(Vec::new()), "{report:#}");
    assert_eq!(report["wrong_bytes"], 0, "{report:#}");
    assert!(whole(&report, "/answered") > 0, "{report:#}");
    agrees_with_itself(&report);
    report
}

/// What a server has seen of its clients.
#[derive(Default)]
struct Seen {
    peers: Mutex<Vec<IpAddr>>,
    /// Bytes of each client that has gone, in the order of their going.
    bytes: Mutex<Vec<usize>>,
    /// The sizes of what came at once.
    pieces: Mutex<BTreeSet<usize>>,
    accepted: AtomicU64,
    /// The end of the stream was seen, or something else.
    in_order: AtomicU64,
    otherwise: AtomicU64,
}

/// Gives back what comes, and notes who came and how they went.
fn noting() -> (Server, Arc<Seen>) {
    let seen = Arc::new(Seen::default());
    let noted = Arc::clone(&seen);
    let server = Server::start(move |_, mut client, answers| {
        noted.peers.lock().expect("no panic").push(client.peer_addr()?.ip());
        noted.accepted.fetch_add(1, SeqCst);
        let (mut buffer, mut bytes) = (vec![0; 1 << 16], 0);
        let mut give_back = || {
            let n = client.read(&mut buffer)?;
            client.write_all(&buffer[..n])?;
            Ok::<usize, std::io::Error>(n)
        };
        let end = loop {
            match give_back() {
                Ok(0) => break &noted.in_order,
                Ok(n) => {
                    bytes += n;
                    noted.pieces.lock().expect("no panic").insert(n);
                    answers.fetch_add(1, SeqCst);
                }
                Err(_) => break &noted.otherwise,
            }
        };
        noted.bytes.lock().expect("no panic").push(bytes);
        end.fetch_add(1, SeqCst);
        Ok(())
    });
    (server, seen)
}

impl Seen {
    /// Wait until all have gone: those in order, and the others.
    fn gone(&self) -> (u64, u64) {
        let ends = || (self.in_order.load(SeqCst), self.otherwise.load(SeqCst));
        wait_until("every client has gone", || ends().0 + ends().1 == self.accepted.load(SeqCst));
        ends()
    }
}

#[test]
fn over_io_uring_a_right_server_passes_with_requests_of_all_sizes() {
    let Some(uring) = uring() else { return };
    for size in ["1", "64", "100000", "1-5000", "64,512,70000"] {
        let server = Server::echo();
        let report = passes(server.addr, "closed", &format!("-c 4 -s {size} {uring} {SHORT}"));
        assert_eq!(report["plan"]["engine"], "uring");
    }
}

#[test]
fn over_io_uring_our_own_servers_pass_and_three_hundred_connections_do() {
    let Some(uring) = uring() else { return };
    let model = io_models::model::find("epoll-level").expect("a model that the tests rely on");
    let server = support::Server::start(model);
    let report = passes(server.addr(), "closed", &format!("-c 300 {uring} {SHORT}"));
    assert_eq!(report["connections"], 300);
}

#[test]
fn over_io_uring_an_open_loop_is_accounted_for() {
    let Some(uring) = uring() else { return };
    for wait in ["spin", "sleep"] {
        let server = Server::echo();
        let report = passes(server.addr, "open", &format!("-c 4 -R 1000 --wait {wait} {uring} {SHORT}"));
        assert!(whole(&report, "/due").abs_diff(300) <= 1, "1000/s for 300 ms, {wait}: {report:#}");
    }
}

/// What one wrong server does, by request; and how it is to be called.
type Fault = (fn(&Request) -> Answer, &'static str, &'static str);

#[test]
fn over_io_uring_every_wrong_server_is_found() {
    let Some(uring) = uring() else { return };
    let faults: [Fault; 7] = [
        (|request| flipped(request, 40), "corrupted", "byte 104 came back as 0x"),
        (|request| flipped(request, 0), "corrupted", "byte 64 came back as 0x"),
        (|request| Answer::Bytes(request.bytes.repeat(2)), "repeated", "an answer was repeated"),
        (|request| Answer::Bytes([&request.bytes[..], b"?"].concat()), "unasked", "had not been sent"),
        (
            |request| Answer::Last(request.bytes[..40].to_vec()),
            "closed",
            "after 1 answer and 40 of 64 bytes of the next",
        ),
        (|_| Answer::Reset, "reset", "Connection reset by peer"),
        (|_| Answer::Nothing, "silent", "no byte came back for 500 ms after 1 answer"),
    ];
    for (fault, kind, says) in faults {
        let server = Server::wrong_once(64, (2, 1), fault);
        let args = format!("{uring} -d 300ms --warmup 10ms --json --timeout 500ms --quiet");
        let (report, reason) = losing(&server, 4, 1, &args);
        assert_eq!(report["lost"][0]["connection"], 2, "{kind}: {report:#}");
        assert_eq!(report["lost"][0]["kind"], kind, "{report:#}");
        assert!(reason.contains(says), "{kind}: {reason}");
        assert!(whole(&report, "/answered") > 0, "the others go on, {kind}: {report:#}");
    }
}

#[test]
fn over_io_uring_a_server_that_speaks_first_or_never_is_no_echo_server() {
    let Some(uring) = uring() else { return };
    let args = format!("{uring} -d 50ms --warmup 10ms --json --timeout 500ms --quiet");
    let (report, _) = losing(&Server::greeting(b"220 mail.example ESMTP\r\n"), 1, 1, &args);
    assert!(whole(&report, "/wrong_bytes") > 0, "{report:#}");
    let (report, reason) = losing(&Server::silent(), 300, 300, &args);
    assert!(reason == "no byte came back for 500 ms", "{reason}");
    assert_eq!(report["answered"], 0);
}

#[test]
fn over_io_uring_a_large_answer_with_swapped_halves_is_found() {
    let Some(uring) = uring() else { return };
    let size = 100_000;
    let server = Server::wrong_once(size, (0, 1), move |request| {
        let mut bytes = request.bytes.clone();
        bytes.rotate_left(size / 2);
        Answer::Bytes(bytes)
    });
    let args = format!("-s {size} {uring} -d 10m --warmup 10ms --json --timeout 500ms --quiet");
    let (report, _) = losing(&server, 1, 1, &args);
    assert!(whole(&report, "/wrong_bytes") > 1, "{report:#}");
}

#[test]
fn over_io_uring_four_requests_under_way_are_checked() {
    let Some(uring) = uring() else { return };
    let args = format!("--depth 4 {uring} -d 50ms --warmup 10ms --json --timeout 500ms --quiet");
    let faults: [Fault; 3] = [
        (|request| flipped(request, 7), "corrupted", "byte 327 came back as 0x"),
        (|_| Answer::Nothing, "dropped", "64 bytes were dropped"),
        (|request| Answer::Bytes(request.bytes.repeat(2)), "repeated", "an answer was repeated"),
    ];
    for (fault, kind, says) in faults {
        let server = Server::wrong_once(64, (1, 5), fault);
        let (report, reason) = losing(&server, 2, 1, &args);
        assert_eq!(report["lost"][0]["kind"], kind, "{report:#}");
        assert!(reason.contains(says), "{kind}: {reason}");
    }
}

#[test]
fn a_connection_is_closed_in_order_after_its_requests_and_another_is_opened() {
    for engine in all() {
        for requests in [1, 3] {
            let (server, seen) = noting();
            let args = format!("-c 4 --requests-per-conn {requests} {engine} {SHORT}");
            let report = passes(server.addr, "closed", &args);
            let (in_order, otherwise) = seen.gone();
            assert_eq!(otherwise, 0, "{engine}: of {in_order} connections, some were reset");
            let opened = whole(&report, "/opened");
            assert!(opened > 4, "they come and go, {engine}: {report:#}");
            assert!(in_order >= opened, "{in_order} accepted, {engine}: {report:#}");
            let bytes = seen.bytes.lock().expect("no panic");
            let full = bytes.iter().filter(|&&bytes| bytes == 64 * requests).count();
            let most = bytes.iter().max();
            assert_eq!(most, Some(&(64 * requests)), "{engine}: nobody asked more");
            // The last of each is closed where it stands.
            assert!(full + 4 >= bytes.len(), "{engine}: {full} of {} were used to the end", bytes.len());
            assert!(whole(&report, "/answered") <= (bytes.iter().sum::<usize>() / 64) as u64, "{report:#}");
            assert!(figure(&report, "/latency_us/connect/p50") > 0.0, "{report:#}");
            assert_eq!(histogram(&report, "connect").len(), opened, "{report:#}");
            assert_eq!(report["plan"]["requests_per_conn"], requests, "{report:#}");
            assert!(whole(&report, "/ports/of_one_address") > 0, "{report:#}");
        }
    }
}

#[test]
fn in_an_open_loop_connections_come_and_go_as_well() {
    for engine in all() {
        let (server, seen) = noting();
        let args = format!("-c 4 -R 200 --requests-per-conn 1 {engine} {SHORT}");
        let report = passes(server.addr, "open", &args);
        assert!(whole(&report, "/due").abs_diff(60) <= 1, "{report:#}");
        assert_eq!(seen.gone().1, 0, "{engine}: some were reset");
        let bytes = seen.bytes.lock().expect("no panic");
        assert!(bytes.iter().all(|&bytes| bytes == 64), "{engine}: one request each: {bytes:?}");
        assert!(bytes.len() as u64 >= whole(&report, "/sent"), "{engine}: {report:#}");
    }
}

#[test]
fn the_ports_that_there_are_for_connections_that_come_and_go_are_told_unless_it_is_to_be_quiet() {
    let server = Server::echo();
    let args = "-c 2 -R 50 --requests-per-conn 1 -d 300ms --warmup 10ms";
    let ended = load(server.addr, args);
    let first = ended.measured().stderr.lines().next().unwrap_or_default();
    for part in ["io-models: ", " ports × ", "own address", "TIME_WAIT", "connections/s at most"] {
        assert!(first.contains(part), "{part:?} is missing: {ended}");
    }
    for part in ["another connection after each request", "  connect  ", "  ports  "] {
        assert!(ended.stdout.contains(part), "{part:?} is missing: {ended}");
    }
    let ended = load(server.addr, &format!("{args} --quiet"));
    assert!(!ended.measured().stderr.contains("ports"), "{ended}");
}

#[test]
fn a_wrong_byte_on_a_later_connection_is_found() {
    for engine in all() {
        let server = Server::wrong_once(64, (9, 0), |request| flipped(request, 3));
        let args = format!("--requests-per-conn 1 --timeout 2s {engine} {SHORT}");
        let (report, _) = losing(&server, 1, 1, &args);
        assert_eq!(report["lost"][0]["kind"], "corrupted", "{engine}: {report:#}");
        assert_eq!(report["wrong_bytes"], 1, "{engine}: {report:#}");
    }
}

#[test]
fn idle_connections_ask_once_and_stay_beside_those_that_work() {
    for engine in all() {
        let (server, seen) = noting();
        let report = passes(
            server.addr,
            "closed",
            &format!("-c 3 --idle 20 {engine} --wait sleep -d 300ms --warmup 20ms --json --quiet"),
        );
        seen.gone();
        let bytes = seen.bytes.lock().expect("no panic");
        assert_eq!(bytes.len(), 23, "{engine}: all of them were opened, and none twice");
        assert_eq!(bytes.iter().filter(|&&bytes| bytes == 64).count(), 20, "{engine}: {bytes:?}");
        assert_eq!(report["connections"], 3);
        assert_eq!(report["plan"]["idle"], 20);
        assert!(whole(&report, "/least_per_connection") >= 1, "the idle ones do not count: {report:#}");
    }
}

#[test]
fn the_text_counts_idle_connections_apart() {
    let server = Server::echo();
    let ended = load(server.addr, "-c 2 --idle 5 -d 300ms --warmup 10ms --quiet");
    assert!(ended.exits(0).stdout.contains("2 connections and 5 idle ones"), "{ended}");
}

#[test]
fn two_threads_share_the_connections_and_their_counts_are_added() {
    for engine in all() {
        let (server, seen) = noting();
        let args = format!("-c 5 --idle 3 -R 1000 --threads 2 {engine} {SHORT}");
        let report = passes(server.addr, "open", &args);
        assert!(whole(&report, "/due").abs_diff(300) <= 2, "1000/s of both together: {report:#}");
        assert!(figure(&report, "/seconds") >= 0.3, "{report:#}");
        seen.gone();
        let bytes = seen.bytes.lock().expect("no panic");
        assert_eq!(bytes.len(), 8, "{engine}");
        let all = (bytes.iter().sum::<usize>() / 64) as u64;
        assert!(all >= whole(&report, "/sent") + 8, "each was asked once before: {report:#}");
        assert_eq!(report["plan"]["threads"], 2);
    }
}

#[test]
fn no_two_threads_send_the_same_bytes_and_a_lost_connection_has_one_number_among_all() {
    let first = Arc::new(Mutex::new(BTreeSet::new()));
    let seen = Arc::clone(&first);
    let server = Server::answering(64, move |request| match request.number {
        0 => {
            seen.lock().expect("no panic").insert(request.bytes.clone());
            Answer::Bytes(request.bytes.clone())
        }
        _ => flipped(request, 1),
    });
    let args = "--threads 2 -d 10m --warmup 10ms --json --quiet --timeout 2s";
    let (report, _) = losing(&server, 5, 5, args);
    let lost = report["lost"].as_array().expect("a list").iter();
    let numbers: Vec<_> = lost.map(|lost| lost["connection"].as_u64()).collect();
    assert_eq!(numbers, (0..5).map(Some).collect::<Vec<_>>(), "{report:#}");
    assert_eq!(report["wrong_bytes"], 5, "{report:#}");
    assert_eq!(first.lock().expect("no panic").len(), 5, "the first requests differ");
}

#[test]
fn sizes_are_random_within_their_range_and_those_of_a_list_are_the_only_ones() {
    let (server, seen) = noting();
    let report = passes(server.addr, "closed", &format!("-c 2 -s 1-5000 {SHORT}"));
    assert_eq!(report["plan"]["sizes"], json!({"range": [1, 5000]}));
    let pieces = seen.pieces.lock().expect("no panic").clone();
    assert!(pieces.iter().all(|&size| size <= 5000), "{pieces:?}");
    assert!(pieces.len() > 20, "they vary: {pieces:?}");
    let (server, seen) = noting();
    let report = passes(server.addr, "closed", &format!("-c 2 -s 64,512,4k {SHORT}"));
    assert_eq!(report["plan"]["sizes"], json!({"list": [64, 512, 4000]}));
    let pieces = seen.pieces.lock().expect("no panic").clone();
    assert_eq!(pieces, BTreeSet::from([64, 512, 4000]));
}

#[test]
fn connections_come_from_the_addresses_that_are_given_in_turn() {
    for engine in all() {
        let (server, seen) = noting();
        let args = format!("-c 6 --sources 127.0.0.2-127.0.0.4 {engine} {SHORT}");
        passes(server.addr, "closed", &args);
        seen.gone();
        let peers = seen.peers.lock().expect("no panic");
        // They are noted by threads that may overtake each other.
        for host in 2..=4 {
            let from = peers.iter().filter(|&&peer| peer == Ipv4Addr::new(127, 0, 0, host)).count();
            assert_eq!(from, 2, "{engine}: 127.0.0.{host} of {peers:?}");
        }
    }
}

#[test]
fn pinned_threads_may_run_on_one_processor_each() {
    let allowed = io_models::sys::affinity::allowed().expect("the processors of this test");
    let server = Server::echo();
    let load = start_load(server.addr, "-c 2 --threads 2 --pin -d 10m --quiet --json --wait sleep");
    wait_until("the load is on", || server.answers() > 100);
    let process = Process::new(load.pid().as_raw()).expect("a child of ours");
    let threads = process.tasks().expect("its threads").flatten().map(|task| {
        let status = task.status().expect("it runs");
        (status.name.clone(), status.cpus_allowed_list.unwrap_or_default())
    });
    let mut pinned: Vec<_> = threads.filter(|(name, _)| name.starts_with("load ")).collect();
    pinned.sort();
    load.signal(Signal::SIGINT);
    report(load.end().exits(130));
    for (thread, (name, cpus)) in pinned.iter().enumerate() {
        let cpu = allowed[(allowed.len() * 2 - 1 - thread) % allowed.len()] as u32;
        assert_eq!(*cpus, [(cpu, cpu)], "{name}: {pinned:?}");
    }
    assert_eq!(pinned.len(), 2, "{pinned:?}");
}
