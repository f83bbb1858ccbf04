//! The command line, the documents, and what a reader is told to look at.

use crate::cli::fails;
use crate::demo::has_compiler;
use crate::load::program::{Ended, Program, io_models};
use serde_json::Value;
use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::LazyLock;

fn program() -> &'static str {
    env!("CARGO_BIN_EXE_io-models")
}

/// Trace these servers, with these options before them.
fn traced(options: &str, servers: &[&str]) -> Ended {
    let mut command = io_models(&format!("trace {options}"));
    command.args(servers);
    Program::spawn(command).end_within(3)
}

/// One of the programs of a demo, as a foreign server.
fn demo(name: &str, which: &str) -> String {
    format!("{} demo {name} --run {which} {{port}}", program())
}

/// What was remarked of the only server: what, and the client.
fn remarks(ended: &Ended) -> Vec<(String, Option<u64>)> {
    ended.exits(0);
    let result = ended.json();
    let remarks = result["servers"][0]["remarks"].as_array().expect("a list").clone();
    let of =
        |remark: &Value| (remark["what"].as_str().expect("a word").to_owned(), remark["client"].as_u64());
    remarks.iter().map(of).collect()
}

/// Wrong usage: exit code 2, and one line with these words.
fn refused(line: &str, part: &str) {
    let complaint = fails(&line.split(' ').collect::<Vec<_>>(), 2);
    assert!(complaint.contains(part), "{complaint}");
}

/// What happened at this server of tests/servers/traced, which is right. `None` where there is no compiler.
fn events_of(what: &str) -> Option<Vec<Value>> {
    static BUILT: LazyLock<Option<PathBuf>> = LazyLock::new(|| {
        has_compiler().then(|| {
            let to = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("traced");
            let from = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/servers/traced/traced.cpp");
            let options = ["-std=c++17", "-O2", "-Wall", "-Wextra", "-pthread", "-o"];
            let built = Command::new("c++").args(options).arg(&to).arg(from).status();
            assert!(built.expect("c++ was there").success(), "{from} is compiled");
            to
        })
    });
    let program = BUILT.as_ref()?;
    let ended = traced("--json", &[&format!("{} {what} {{port}}", program.display())]);
    assert_eq!(remarks(&ended), [], "{ended}");
    let events = ended.json()["servers"][0]["events"].as_array().expect("a list").clone();
    Some(events.into_iter().map(|mut event| event["what"].take()).collect())
}

#[test]
fn what_epoll_wait_tells_of_is_looked_up_in_the_instance_that_was_waited_for() {
    let Some(events) = events_of("own-epolls") else { return };
    let mut waited: HashMap<u64, HashSet<String>> = HashMap::new();
    for call in events.iter().filter(|what| what["name"] == "epoll_wait") {
        for ready in call["ready"].as_array().into_iter().flatten() {
            let task = call["task"].as_u64().expect("a number");
            waited.entry(task).or_default().insert(ready["on"].to_string());
        }
    }
    // Four clients, each of which has a process that waits for it alone.
    assert_eq!(waited.len(), 4, "{waited:?}");
    assert!(waited.values().all(|clients| clients.len() == 1), "{waited:?}");
    let clients: HashSet<_> = waited.values().flatten().collect();
    assert_eq!(clients.len(), 4, "{waited:?}");
    assert!(clients.iter().all(|on| on.contains("client")), "{waited:?}");
}

#[test]
fn calls_are_followed_when_the_first_thread_has_ended() {
    let Some(events) = events_of("first-thread-ends") else { return };
    for client in 0..4 {
        let is_answer = |what: &&Value| what["name"] == "sendto" && what["on"]["client"] == client;
        assert!(events.iter().any(|what| is_answer(&what)), "client {client}: {events:?}");
    }
}

/// What happened at the only server.
fn events(ended: &Ended) -> Vec<Value> {
    ended.exits(0);
    let mut result = ended.json();
    let events = result["servers"][0]["events"].as_array_mut().expect("a list").iter_mut();
    events.map(|event| event["what"].take()).collect()
}

#[test]
fn a_wait_for_room_ends_when_the_client_reads() {
    for (model, call) in [("epoll-level", "epoll_wait"), ("blocking", "sendto")] {
        let ended = traced("--json", &[model]);
        let events = events(&ended);
        let is_room = |what: &&Value| what["ready"].is_null() || what["ready"][0]["events"] == "EPOLLOUT";
        let mut woken = 0;
        for what in events.iter().filter(|what| what["name"] == call).filter(is_room) {
            let Some(cause) = what["woken_by"].as_u64() else { continue };
            assert_eq!(events[cause as usize]["does"], "reads", "{model}: {what}: {ended}");
            woken += 1;
        }
        assert!(woken > 0, "{model} waited for room: {ended}");
    }
}

#[test]
fn an_accept_is_woken_by_the_connection_that_it_takes() {
    let ended = traced("--json", &["prethread"]);
    let events = events(&ended);
    let accepted: Vec<_> = events.iter().filter(|what| !what["accepted"].is_null()).collect();
    assert_eq!(accepted.len(), 4, "{ended}");
    for what in accepted {
        let Some(cause) = what["woken_by"].as_u64() else { continue };
        let cause = &events[cause as usize];
        assert_eq!((&cause["does"], &cause["client"]), (&"connects".into(), &what["accepted"]), "{ended}");
    }
}

#[test]
fn a_copy_that_is_closed_resets_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let script = folder.path().join("script");
    fs::write(&script, "both: A connect, A send 64\n").expect("a file");
    // The parent closes its copy before the child has read.
    let ended = traced(&format!("--json --script {}", script.display()), &["fork"]);
    assert_eq!(remarks(&ended), [], "{ended}");
    let fact = "tcp-close-with-unread-sends-rst";
    assert!(events(&ended).iter().all(|what| what["fact"] != fact), "{ended}");
}

#[test]
fn a_server_that_answers_ok_has_no_missing_answers() {
    let folder = tempfile::tempdir().expect("a folder");
    let script = folder.path().join("script");
    fs::write(&script, "connect: A connect\nask: A send 64\n").expect("a file");
    let ended = traced(&format!("--expect ok --script {}", script.display()), &["epoll-level"]);
    // It echoes, and that is not ok.
    ended.exits(0);
    assert!(ended.stdout.contains("other bytes came back"), "{ended}");
    assert!(!ended.stdout.contains("every client got"), "{ended}");
}

#[test]
fn a_right_server_gets_no_remark() {
    for model in ["epoll-level", "epoll-edge", "fork", "thread", "reuseport", "uring-poll"] {
        let ended = traced("--json", &[model]);
        if model == "uring-poll" && ended.stderr.contains("io_uring") {
            eprintln!("skipped: this system has no io_uring: {}", ended.stderr);
            continue;
        }
        assert_eq!(remarks(&ended), [], "{model}: {ended}");
        let server = &ended.json()["servers"][0];
        for answer in server["answers"].as_array().expect("a list") {
            assert_eq!((&answer["right"], &answer["is_wrong"]), (&answer["sent"], &false.into()), "{ended}");
        }
        assert_eq!(server["left_out"], 0, "{ended}");
        // When the last client has left, no buffer is left either.
        let events = server["events"].as_array().expect("a list");
        let fills = events.iter().rev().find_map(|event| event["fills"].as_array());
        let of_clients = fills.expect("the kernel tells what lies in the buffers");
        assert!(
            of_clients.iter().all(|fill| fill["received"].is_null() && fill["unread"].is_null()),
            "{ended}"
        );
    }
}

#[test]
fn what_an_edge_triggered_server_forgets_is_told_with_the_event() {
    let broken = demo("one-read-per-edge", "broken");
    let ended = traced("--json", &[&broken]);
    let unread = ("unread_while_waiting".to_owned(), Some(0));
    assert!(remarks(&ended).contains(&unread), "{ended}");
    let result = ended.json();
    let server = &result["servers"][0];
    let remark = &server["remarks"][0];
    let event = &server["events"][remark["event"].as_u64().expect("an index") as usize];
    let what = &event["what"];
    assert_eq!((&what["kind"], &what["name"]), (&"begins".into(), &"epoll_wait".into()), "{event}");
    assert!(remark["count"].as_u64().is_some_and(|bytes| bytes > 0), "{remark}");
    let mended = traced("--json", &[&demo("one-read-per-edge", "mended")]);
    assert!(!remarks(&mended).contains(&unread), "{mended}");
}

#[test]
fn connections_that_wait_for_accept_are_told() {
    let ended = traced("--json", &[&demo("one-accept-per-edge", "broken")]);
    assert!(remarks(&ended).contains(&("unaccepted_while_waiting".to_owned(), None)), "{ended}");
}

#[test]
fn a_server_that_never_sleeps_is_told_and_its_trace_stays_small() {
    let ended = traced("--json", &["spin"]);
    assert!(remarks(&ended).contains(&("never_sleeps".to_owned(), None)), "{ended}");
    let server = &ended.json()["servers"][0];
    let events = server["events"].as_array().expect("a list").len();
    let left_out = server["left_out"].as_u64().expect("a count");
    // On a busy machine it may get so little of a processor that nothing has to be left out.
    assert!(events < 20_000 && (left_out > 0 || events < 15_000), "{events} events, {left_out} left out");
}

#[test]
fn one_client_at_a_time_is_no_lost_event() {
    let found = remarks(&traced("--json", &["blocking"]));
    assert!(found.iter().any(|(what, _)| what == "busy_with_another"), "{found:?}");
    assert!(found.iter().all(|(what, _)| what != "unread_while_waiting"), "{found:?}");
}

#[test]
fn a_server_that_answers_ok_is_right_if_it_is_said() {
    let command = format!("{} serve poll --reply ok --listen 127.0.0.1:{{port}}", program());
    assert_eq!(remarks(&traced("--json --expect ok", &[&command])), []);
    let ended = traced("", &[&command]);
    ended.exits(0);
    assert!(ended.stdout.contains("--expect ok"), "{ended}");
}

#[test]
fn two_servers_make_a_page_and_a_trace_event_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (page, events) = (path("page.html"), path("events.json"));
    let broken = demo("one-read-per-edge", "broken");
    let options = format!("-o {page} --events {events}");
    traced(&options, &["epoll-level", &broken]).exits(0);
    let html = fs::read_to_string(&page).expect("the page that was asked for");
    assert!(html.len() <= 300_000, "{} bytes", html.len());
    assert!(html.contains("epoll-level") && html.contains("unread in the receive buffer"), "{html}");
    let events: Value = serde_json::from_str(&fs::read_to_string(&events).expect("the file")).expect("JSON");
    assert!(events["traceEvents"].as_array().is_some_and(|events| events.len() > 100), "{events}");
}

#[test]
fn a_script_says_what_the_clients_do() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("script");
    fs::write(&file, "# Two clients.\nhello: x connect, x send \"hello\\n\"\nbye: x close\n").expect("room");
    let ended = traced(&format!("--json --script {}", file.display()), &["poll"]);
    assert_eq!(remarks(&ended), []);
    let result = ended.json();
    assert_eq!(result["script"][0]["name"], "hello");
    assert_eq!(
        (&result["servers"][0]["clients"], result["script"].as_array().map(Vec::len)),
        (&serde_json::json!(["x"]), Some(2))
    );
    fs::write(&file, "hello: x send 1\n").expect("room");
    refused(&format!("trace --script {} poll", file.display()), "line 1: x has not connected yet");
}

#[test]
fn what_cannot_be_traced_is_told_with_a_remedy() {
    refused("trace", "no server is named");
    refused("trace epol-level", "the nearest: epoll-level");
    refused("trace ./my_server", "it lacks {port}");
    refused("trace poll select -- ./a {port}", "two servers at most, not 3");
    refused("trace -- ./my_server 5005", "io-models trace -- ./my_server {port}");
    refused("trace --script /no/such/file poll", "cannot read /no/such/file");
    let ended = traced("", &["/no/such/server {port}"]);
    ended.exits(1);
    assert!(ended.stderr.contains("ended before it listened"), "{ended}");
}
