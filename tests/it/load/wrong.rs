//! A server that does anything but echo is found out: exit code 1, the reason in one line, and in
//! the report by connection.

use super::servers::{Answer, Request, Server};
use super::{load, report};
use serde_json::Value;
use std::sync::{Arc, Barrier, Mutex};

const SIZE: usize = 64;

/// As long as these tests need: one request of each connection is asked in any case.
const SHORT: &str = "-d 300ms --warmup 50ms --json --timeout 2s --quiet";

/// The same, for the tests that look at answers which came while the clock ran: on a busy machine that takes longer.
const WITH_ANSWERS: &str = "-d 1s --warmup 50ms --json --timeout 2s --quiet";

/// Longer than any test: the load ends because no connection is left.
const UNTIL_ALL_ARE_LOST: &str = "-d 10m --warmup 50ms --json --timeout 2s --quiet";

/// Put load on `server`, which loses `lost` of `connections`; the report, and the reason of the first.
#[track_caller]
pub(super) fn losing(server: &Server, connections: usize, lost: usize, args: &str) -> (Value, String) {
    let ended = load(server.addr, &format!("-c {connections} {args}"));
    let report = report(ended.exits(1));
    assert_eq!(report["connections"], connections, "{report:#}");
    assert_eq!(report["lost_connections"], lost, "{report:#}");
    assert_eq!(report["lost"].as_array().map(Vec::len), Some(lost), "{report:#}");
    assert_eq!(report["partial"], false, "{report:#}");
    let reason = report["lost"][0]["reason"].as_str().expect("a reason").to_owned();
    ended.says_one_line(&[&format!("{lost} of {connections} connections lost"), &reason]);
    (report, reason)
}

/// What the report says is wrong with the server, if that is one thing, seen on so many connections.
#[track_caller]
fn diagnosed<'r>(report: &'r Value, kind: &str, connections: usize) -> &'r Value {
    let diagnosis = report["diagnosis"].as_array().expect("a list");
    assert_eq!(diagnosis.len(), 1, "{report:#}");
    assert_eq!(diagnosis[0]["kind"], kind, "{report:#}");
    assert_eq!(diagnosis[0]["connections"], connections, "{report:#}");
    &diagnosis[0]
}

/// The usual cause, of a lost connection or a diagnosis.
#[track_caller]
fn hint_of(what: &Value) -> &str {
    what["hint"].as_str().unwrap_or_else(|| panic!("no hint: {what:#}"))
}

pub(super) fn flipped(request: &Request, at: usize) -> Answer {
    let mut bytes = request.bytes.clone();
    bytes[at] ^= 0x10;
    Answer::Bytes(bytes)
}

#[test]
fn one_changed_byte_is_found_at_its_place_and_the_other_connections_go_on() {
    let server = Server::wrong_once(SIZE, (2, 1), |request| flipped(request, 40));
    let (report, reason) = losing(&server, 4, 1, WITH_ANSWERS);
    assert_eq!(report["lost"][0]["connection"], 2);
    assert_eq!(report["wrong_bytes"], 1);
    assert!(reason.starts_with("byte 104 came back as 0x"), "{reason}");
    assert!(report["answered"].as_u64() > Some(0), "{report:#}");
}

#[test]
fn a_byte_changed_after_a_thousand_requests_is_found() {
    let server = Server::wrong_once(SIZE, (0, 1000), |request| flipped(request, SIZE - 1));
    let (report, reason) = losing(&server, 1, 1, UNTIL_ALL_ARE_LOST);
    assert_eq!(report["wrong_bytes"], 1);
    assert!(reason.starts_with("byte 64063 came back as 0x"), "{reason}");
}

#[test]
fn a_byte_changed_in_the_very_first_answer_is_found() {
    let server = Server::wrong_once(SIZE, (0, 0), |request| flipped(request, 0));
    let (report, reason) = losing(&server, 1, 1, SHORT);
    assert_eq!(report["wrong_bytes"], 1);
    assert!(reason.starts_with("byte 0 came back as 0x"), "{reason}");
    assert_eq!(report["answered"], 0);
}

#[test]
fn two_swapped_bytes_are_found() {
    let server = Server::wrong_once(SIZE, (1, 1), |request| {
        let mut bytes = request.bytes.clone();
        let at = bytes.windows(2).position(|pair| pair[0] != pair[1]).expect("bytes that differ");
        bytes.swap(at, at + 1);
        Answer::Bytes(bytes)
    });
    let (report, reason) = losing(&server, 2, 1, SHORT);
    assert_eq!(report["wrong_bytes"], 2);
    assert!(reason.contains("came back as"), "{reason}");
}

#[test]
fn two_swapped_halves_of_a_large_answer_are_found() {
    let size = 100_000;
    let server = Server::wrong_once(size, (0, 1), move |request| {
        let mut bytes = request.bytes.clone();
        bytes.rotate_left(size / 2);
        Answer::Bytes(bytes)
    });
    let (report, reason) = losing(&server, 1, 1, &format!("-s {size} {UNTIL_ALL_ARE_LOST}"));
    assert!(report["wrong_bytes"].as_u64() > Some(1), "{report:#}");
    assert!(reason.contains("came back as"), "{reason}");
}

#[test]
fn the_answer_to_the_request_before_is_no_answer_to_this_one() {
    let before = Mutex::new(Vec::new());
    let server = Server::answering(SIZE, move |request| {
        let before = std::mem::replace(&mut *before.lock().expect("no panic"), request.bytes.clone());
        Answer::Bytes(if request.number == 1 { before } else { request.bytes.clone() })
    });
    let (report, reason) = losing(&server, 1, 1, UNTIL_ALL_ARE_LOST);
    assert!(report["wrong_bytes"].as_u64() > Some(1), "{report:#}");
    assert!(reason.contains("came back as"), "{reason}");
}

#[test]
fn answers_of_two_connections_that_are_crossed_are_found_on_both() {
    let meet = Arc::new(Barrier::new(2));
    let given = Arc::new(Mutex::new([Vec::new(), Vec::new()]));
    let server = Server::answering(SIZE, move |request| {
        if request.number != 1 {
            return Answer::Bytes(request.bytes.clone());
        }
        given.lock().expect("no panic")[request.connection] = request.bytes.clone();
        meet.wait();
        Answer::Bytes(given.lock().expect("no panic")[1 - request.connection].clone())
    });
    let (report, reason) = losing(&server, 2, 2, UNTIL_ALL_ARE_LOST);
    assert!(report["wrong_bytes"].as_u64() > Some(2), "{report:#}");
    assert!(reason.ends_with("; these are bytes of connection 1"), "{reason}");
    let diagnosis = diagnosed(&report, "foreign", 2);
    assert!(hint_of(diagnosis).starts_with("do several clients share one buffer"), "{diagnosis:#}");
}

#[test]
fn an_answer_given_twice_is_found() {
    let server = Server::wrong_once(SIZE, (0, 1), |request| Answer::Bytes(request.bytes.repeat(2)));
    let (report, reason) = losing(&server, 1, 1, UNTIL_ALL_ARE_LOST);
    assert_eq!(report["wrong_bytes"], SIZE);
    assert_eq!(reason, "64 bytes came back that had not been sent: an answer was repeated");
    assert_eq!(report["lost"][0]["kind"], "repeated");
}

#[test]
fn a_server_that_speaks_first_is_no_echo_server() {
    let server = Server::greeting(b"220 mail.example ESMTP\r\n");
    let (report, reason) = losing(&server, 1, 1, SHORT);
    assert!(report["wrong_bytes"].as_u64() > Some(0), "{report:#}");
    // As it comes before or after the first request has been sent.
    assert!(reason.contains("had not been sent") || reason.starts_with("byte 0 came back as"), "{reason}");
}

#[test]
fn an_answer_that_is_cut_short_is_reported_with_what_is_missing() {
    let server = Server::wrong_once(SIZE, (3, 1), |request| Answer::Last(request.bytes[..40].to_vec()));
    let (report, reason) = losing(&server, 4, 1, SHORT);
    assert_eq!(report["lost"][0]["connection"], 3);
    assert_eq!(report["wrong_bytes"], 0);
    assert_eq!(reason, "the server closed it after 1 answer and 40 of 64 bytes of the next");
}

#[test]
fn a_large_answer_that_is_cut_short_is_reported_with_what_is_missing() {
    let size = 1_000_000;
    let server = Server::wrong_once(size, (0, 1), |request| Answer::Last(request.bytes[..999_999].to_vec()));
    let (report, reason) = losing(&server, 1, 1, &format!("-s {size} {UNTIL_ALL_ARE_LOST}"));
    assert_eq!(report["wrong_bytes"], 0);
    assert_eq!(reason, "the server closed it after 1 answer and 999999 of 1000000 bytes of the next");
}

#[test]
fn a_connection_that_is_closed_instead_of_answered_is_reported() {
    let server = Server::wrong_once(SIZE, (0, 500), |_| Answer::Last(Vec::new()));
    let (report, reason) = losing(&server, 1, 1, UNTIL_ALL_ARE_LOST);
    assert_eq!(report["wrong_bytes"], 0);
    assert_eq!(reason, "the server closed it after 500 answers, and left a request without answer");
}

#[test]
fn connections_that_are_closed_after_so_many_answers_are_reported() {
    let server = Server::answering(SIZE, |request| match request.number {
        100 => Answer::Last(request.bytes.clone()),
        _ => Answer::Bytes(request.bytes.clone()),
    });
    let (report, reason) = losing(&server, 3, 3, UNTIL_ALL_ARE_LOST);
    assert_eq!(report["wrong_bytes"], 0);
    // As the end comes before the next request, beside it, or after it.
    let reasons = [
        "the server closed it after 101 answers",
        "the server closed it after 101 answers, and left a request without answer",
        "reset by peer (os error 104), after 101 answers",
        "Broken pipe (os error 32), after 101 answers",
    ];
    assert!(reasons.iter().any(|known| reason.ends_with(known)), "{reason}");
    let diagnosis = diagnosed(&report, "closes_after", 3);
    assert_eq!(diagnosis["seen"], "3 connections ended after 101 answers each");
    assert!(hint_of(diagnosis).ends_with("use --requests-per-conn 101"), "{diagnosis:#}");
}

#[test]
fn a_reset_connection_is_reported_with_the_errno() {
    let server = Server::wrong_once(SIZE, (1, 1), |_| Answer::Reset);
    let (report, reason) = losing(&server, 2, 1, SHORT);
    assert_eq!(report["lost"][0]["connection"], 1);
    assert_eq!(report["wrong_bytes"], 0);
    assert!(reason.contains("Connection reset by peer (os error 104)"), "{reason}");
}

#[test]
fn an_answer_that_never_comes_is_reported_after_the_patience_of_the_generator() {
    let server = Server::wrong_once(SIZE, (2, 1), |_| Answer::Nothing);
    let (report, reason) = losing(&server, 4, 1, WITH_ANSWERS);
    assert_eq!(report["lost"][0]["connection"], 2);
    assert_eq!(report["wrong_bytes"], 0);
    assert_eq!(report["least_per_connection"], 0);
    assert_eq!(reason, "no byte came back for 2 s after 1 answer");
    assert_eq!(report["lost"][0]["kind"], "silent");
    assert!(report["answered"].as_u64() > Some(0), "{report:#}");
}

#[test]
fn a_server_that_answers_only_its_first_client_is_reported() {
    let server = Server::answering(SIZE, |request| match request.connection {
        0 => Answer::Bytes(request.bytes.clone()),
        _ => Answer::Nothing,
    });
    let (report, reason) = losing(&server, 4, 3, WITH_ANSWERS);
    assert_eq!(report["lost"][0]["connection"], 1);
    assert_eq!(report["wrong_bytes"], 0);
    assert_eq!(reason, "no byte came back for 3.5 s");
    let diagnosis = diagnosed(&report, "one_at_a_time", 3);
    assert_eq!(diagnosis["seen"], "1 connection was answered, 3 never got a byte");
    assert!(hint_of(diagnosis).starts_with("does the server serve one client at a time?"), "{diagnosis:#}");
    assert!(report["answered"].as_u64() > Some(0), "the first was served: {report:#}");
}

#[test]
fn of_many_connections_that_get_no_answer_only_the_first_are_waited_for() {
    let server = Server::silent();
    let (report, reason) = losing(&server, 300, 300, SHORT);
    assert_eq!(reason, "no byte came back for 2 s");
    assert_eq!(report["lost"][299]["reason"], "not used, because others had no answer");
    assert_eq!(report["answered"], 0);
}

#[test]
fn an_answer_that_stops_at_a_zero_byte_is_recognised_and_text_passes() {
    let until_zero = |request: &Request| {
        let end = request.bytes.iter().position(|&byte| byte == 0).unwrap_or(SIZE);
        Answer::Bytes(request.bytes[..end].to_vec())
    };
    let server = Server::answering(SIZE, until_zero);
    let ended = load(server.addr, &format!("-c 8 {SHORT}"));
    let report = report(ended.exits(1));
    for lost in report["lost"].as_array().expect("a list") {
        let reason = lost["reason"].as_str().expect("a reason");
        let partial = reason.contains(" of 64 bytes came back, then nothing for 2 s; the next byte is 0x00");
        assert!(partial || reason.ends_with("; the request begins with 0x00"), "{lost:#}");
        assert_eq!(lost["kind"], if partial { "partial" } else { "silent" });
    }
    let diagnosis = diagnosed(&report, "stops_at_zero", 8);
    assert!(hint_of(diagnosis).starts_with("does the server use strlen, printf or %s?"), "{diagnosis:#}");
    ended.says_one_line(&["--payload text sends no zero bytes"]);
    let server = Server::answering(SIZE, until_zero);
    load(server.addr, &format!("-c 8 --payload text {SHORT}")).exits(0);
}

#[test]
fn half_an_answer_and_then_nothing_is_one_read_an_event() {
    let server = Server::answering(SIZE, |request| Answer::Bytes(request.bytes[..SIZE / 2].to_vec()));
    let (report, reason) = losing(&server, 3, 3, "-d 300ms --json --timeout 1s --payload text --quiet");
    let next = reason.strip_prefix("32 of 64 bytes came back, then nothing for 1 s; the next byte is 0x");
    assert!(next.is_some_and(|next| next.len() == 2), "{reason}");
    let diagnosis = diagnosed(&report, "partial", 3);
    assert_eq!(diagnosis["seen"], "3 of 3 connections got a part of an answer, then nothing");
    assert!(hint_of(diagnosis).contains("With EPOLLET, recv until EAGAIN"), "{diagnosis:#}");
}

#[test]
fn a_server_that_misses_clients_at_accept_is_not_called_one_at_a_time() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let addr = listener.local_addr().expect("it has an address");
    // It accepts three clients, as a server may do that calls accept once for each event.
    let server = std::thread::spawn(move || {
        let clients = [(); 3].map(|()| listener.accept().expect("a client").0);
        let echoes = clients.map(|client| {
            std::thread::spawn(move || std::io::copy(&mut &client, &mut &client).expect("an echo"))
        });
        for echo in echoes {
            echo.join().expect("no panic");
        }
    });
    let ended = load(addr, "-c 10 -d 300ms --json --timeout 1s --quiet");
    server.join().expect("no panic");
    let report = report(ended.exits(1));
    assert_eq!(report["lost"][0]["reason"], "no byte came back for 3.5 s");
    let diagnosis = diagnosed(&report, "some_never_answered", 7);
    let seen = "3 connections were answered, 7 never got a byte; the server has not accepted 7 connections";
    assert_eq!(diagnosis["seen"], seen);
    assert!(hint_of(diagnosis).contains("Accept until EAGAIN"), "{diagnosis:#}");
    assert_eq!(report["opening"]["requests"], 10);
    assert_eq!(report["opening"]["answered"], 3);
    ended.says_one_line(&["7 of 10 connections lost", "Accept until EAGAIN"]);
}

#[test]
fn a_server_that_answers_ok_is_told_apart_and_expected_when_asked_for() {
    let server = Server::answering(SIZE, |_| Answer::Bytes(b"ok".to_vec()));
    let (report, reason) = losing(&server, 2, 2, SHORT);
    assert!(reason.ends_with("; the server answered `ok`"), "{reason}");
    let diagnosis = diagnosed(&report, "wrong_answer", 2);
    assert!(hint_of(diagnosis).ends_with("use --expect ok"), "{diagnosis:#}");
    let ended = load(server.addr, &format!("-c 2 --expect ok {SHORT}"));
    let report = super::report(ended.exits(0));
    assert!(report["answered"].as_u64() > Some(0), "{report:#}");
    assert_eq!(report["plan"]["expect"], "ok");
}

#[test]
fn an_echo_is_wrong_where_ok_is_expected() {
    let server = Server::echo();
    let (report, _) = losing(&server, 2, 2, &format!("--expect ok {SHORT}"));
    let diagnosis = diagnosed(&report, "wrong_answer", 2);
    assert!(hint_of(diagnosis).ends_with("Then leave out --expect ok"), "{diagnosis:#}");
}

#[test]
fn ok_is_expected_once_for_each_request() {
    let ok = |request: &Request| Answer::Bytes(if request.number == 1 { "okok" } else { "ok" }.into());
    let server = Server::answering(SIZE, ok);
    let (report, reason) = losing(&server, 1, 1, &format!("--expect ok {UNTIL_ALL_ARE_LOST}"));
    assert_eq!(reason, "2 bytes came back that had not been sent; the server answered \"ok\"");
    assert_eq!(report["lost"][0]["kind"], "unasked");
}

#[test]
fn a_server_that_sends_its_whole_buffer_is_recognised() {
    let server = Server::answering(SIZE, |request| {
        let mut bytes = request.bytes.clone();
        bytes.resize(1024, 0);
        Answer::Bytes(bytes)
    });
    let (report, reason) = losing(&server, 1, 1, SHORT);
    assert_eq!(reason, "960 bytes came back that had not been sent; all bytes are 0x00");
    assert!(hint_of(diagnosed(&report, "unasked", 1)).contains("its whole buffer"), "{report:#}");
}

#[test]
fn another_protocol_is_quoted() {
    let server = Server::answering(SIZE, |_| Answer::Last(b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec()));
    let (report, reason) = losing(&server, 1, 1, SHORT);
    assert!(reason.ends_with("; the server answered \"HTTP/1.1 400 Bad Request\""), "{reason}");
    assert!(hint_of(diagnosed(&report, "wrong_answer", 1)).ends_with("is the port right?"), "{report:#}");
}

#[test]
fn a_server_that_ends_is_gone_and_what_was_wrong_before_comes_first() {
    // Like the course's demo2: it answers one client, and stops listening when that client has left.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let addr = listener.local_addr().expect("it has an address");
    let server = std::thread::spawn(move || {
        let (mut client, _) = listener.accept().expect("a client");
        let mut request = [0; SIZE];
        std::io::Read::read_exact(&mut client, &mut request).expect("a request");
        std::io::Write::write_all(&mut client, b"ok").expect("it can be sent");
        std::io::Read::read(&mut client, &mut request).ok();
    });
    let ended = load(addr, &format!("-c 4 {SHORT}"));
    server.join().expect("no panic");
    let report = report(ended.exits(1));
    let kinds: Vec<_> = report["diagnosis"].as_array().expect("a list").iter().map(|d| &d["kind"]).collect();
    assert_eq!(kinds, ["wrong_answer", "gone"], "{report:#}");
    ended.says_one_line(&["4 of 4 connections lost", "use --expect ok"]);
}

/// What `--pid` says of this test's own process, in which the servers run.
#[test]
fn the_cpu_time_of_the_server_is_in_the_report_and_one_that_never_sleeps_is_found() {
    let server = Server::start(|_, mut client, _| {
        client.set_nonblocking(true)?;
        let mut buffer = [0; SIZE];
        // Asks again and again, as a server does that leaves EPOLLOUT on.
        loop {
            match std::io::Read::read(&mut client, &mut buffer) {
                Ok(0) => return Ok(()),
                Ok(n) => std::io::Write::write_all(&mut client, &buffer[..n])?,
                Err(why) if why.kind() == std::io::ErrorKind::WouldBlock => {}
                Err(why) => return Err(why),
            }
        }
    });
    let pid = std::process::id();
    let ended = load(server.addr, &format!("-c 1 --pid {pid} -d 1s --warmup 50ms --json"));
    let report = report(ended.exits(0));
    let cost = &report["server"];
    assert_eq!(cost["pid"], pid);
    assert!(cost["rest_before"]["cpu_share"].as_f64() > Some(0.0), "{cost:#}");
    assert!(cost["load_answers"].as_u64() >= report["answered"].as_u64(), "{report:#}");
    assert_eq!(cost["not_known"], Value::Null, "{cost:#}");
    assert!(hint_of(cost).starts_with("the server does not sleep: "), "{cost:#}");
    assert!(ended.stderr.contains("warning: the server does not sleep: "), "{}", ended.stderr);
}

#[test]
fn a_process_that_is_not_there_is_refused_before_the_first_connection() {
    let mut child = std::process::Command::new("true").spawn().expect("a process");
    let pid = child.id();
    child.wait().expect("it ends");
    let server = Server::answering(SIZE, |_| panic!("nothing is asked"));
    load(server.addr, &format!("--pid {pid} -d 1s"))
        .exits(2)
        .says_one_line(&[&format!("--pid: there is no process {pid}")]);
}
