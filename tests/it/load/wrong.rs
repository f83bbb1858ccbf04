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
    assert!(reason.contains("came back as"), "{reason}");
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
    assert_eq!(reason, "the server closed it with 24 bytes of an answer missing");
}

#[test]
fn a_large_answer_that_is_cut_short_is_reported_with_what_is_missing() {
    let size = 1_000_000;
    let server = Server::wrong_once(size, (0, 1), |request| Answer::Last(request.bytes[..999_999].to_vec()));
    let (report, reason) = losing(&server, 1, 1, &format!("-s {size} {UNTIL_ALL_ARE_LOST}"));
    assert_eq!(report["wrong_bytes"], 0);
    assert_eq!(reason, "the server closed it with 1 bytes of an answer missing");
}

#[test]
fn a_connection_that_is_closed_instead_of_answered_is_reported() {
    let server = Server::wrong_once(SIZE, (0, 500), |_| Answer::Last(Vec::new()));
    let (report, reason) = losing(&server, 1, 1, UNTIL_ALL_ARE_LOST);
    assert_eq!(report["wrong_bytes"], 0);
    assert_eq!(reason, "the server closed it with 64 bytes of an answer missing");
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
    let reasons = ["closed it between two requests", "with 64 bytes of an answer missing", "reset by peer"];
    assert!(reasons.iter().any(|known| reason.contains(known)), "{reason}");
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
    assert!(reason.starts_with("no answer within 2s (64 bytes missing)"), "{reason}");
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
    assert!(reason.contains("does the server serve several clients at once?"), "{reason}");
    assert!(report["answered"].as_u64() > Some(0), "the first was served: {report:#}");
}

#[test]
fn of_many_connections_that_get_no_answer_only_the_first_are_waited_for() {
    let server = Server::silent();
    let (report, reason) = losing(&server, 300, 300, SHORT);
    assert!(reason.starts_with("no answer within 2s"), "{reason}");
    assert_eq!(report["lost"][299]["reason"], "not used, because others had no answer");
    assert_eq!(report["answered"], 0);
}
