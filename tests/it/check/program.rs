//! The command line, the documents, the exit codes.

use crate::cli::fails;
use crate::load::program::{Ended, Program, io_models};
use crate::support::{Server, wait_until};
use io_models::lab::check;
use io_models::model;
use io_models::sys::signal::Signal;
use quick_junit::Report;
use serde_json::Value;
use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

/// A model as a foreign server.
fn ours(model: &str) -> String {
    format!("'{}' serve {model} --listen 127.0.0.1:{{port}}", env!("CARGO_BIN_EXE_io-models"))
}

/// Check a server that is started, with these options.
fn checked(options: &str, server: &str) -> Ended {
    let mut command = io_models(&format!("check {options}"));
    command.args(["--server", &format!("mine={server}")]);
    Program::spawn(command).end_within(3)
}

const QUICK: &str = "--only echo/one-byte,echo/nul,clients/one-after-another,clients/silent-beside";

/// Serves one client, and answers up to the first NUL.
const FAULTY: &str = "exec python3 -c 'import socket, sys\n\
    s = socket.create_server((\"127.0.0.1\", {port}), backlog=200)\n\
    while True:\n  c, _ = s.accept()\n  while True:\n    b = c.recv(1000)\n    if not b: break\n    c.sendall(b.split(b\"\\0\")[0])\n  c.close()'";

#[test]
fn a_failure_is_explained_in_chinese_and_what_was_observed_in_english() {
    let ended = checked(&format!("{QUICK} --lang zh"), FAULTY);
    ended.exits(3);
    for said in [
        "失败：echo/nul",
        "  要求           值为 0 的字节与其他字节一样原样返回。",
        "  可能的原因     服务端把",
        "strlen",
    ] {
        assert!(ended.stdout.contains(said), "no {said:?}: {ended}");
    }
    for said in [
        "失败：clients/silent-beside",
        "  实际           the second client: 0 of 6 bytes",
        "5 个检查项，用时 ",
        "失败 2 项",
    ] {
        assert!(ended.stdout.contains(said), "no {said:?}: {ended}");
    }
    assert!(!ended.stdout.contains("must be"), "{ended}");
    // Data stays English.
    let document = checked(&format!("{QUICK} --lang zh --json"), FAULTY).json().to_string();
    assert!(document.contains("strlen, printf") && !document.contains('。'), "{document}");
}

#[test]
fn the_language_is_that_of_the_option_or_of_the_environment() {
    let list = |options: &str, locale: &str| {
        let mut command = io_models(&format!("check --list {options}"));
        command.env("LC_ALL", locale);
        let ended = Program::spawn(command).end();
        ended.exits(0);
        ended.stdout
    };
    let (english, chinese) = (list("", "C"), list("--lang zh", "C"));
    assert_eq!(list("", "zh_CN.UTF-8"), chinese);
    assert_eq!(list("--lang en", "zh_CN.UTF-8"), english);
    let ids = |text: &str| -> Vec<String> {
        let ids = text.lines().filter_map(|line| line.split_whitespace().next());
        ids.filter(|id| id.contains('/')).map(str::to_owned).collect()
    };
    assert_eq!(ids(&english), ids(&chinese));
    assert!(chinese.contains("空闲的客户端不会让其他客户端等待。") && !english.contains('。'), "{chinese}");
}

#[test]
fn a_right_server_passes_and_the_exit_code_is_0() {
    let mut command = io_models("check --verbose --only echo,clients/silent-beside --");
    command.args([env!("CARGO_BIN_EXE_io-models"), "serve", "poll", "--listen", "127.0.0.1:{port}"]);
    let ended = Program::spawn(command).end_within(3);
    ended.exits(0);
    assert!(ended.stdout.contains("0 failed, 0 not made, 0 not applicable"), "{ended}");
    assert!(
        ended.stdout.lines().any(|line| line.starts_with("echo/nul ") && line.contains(" passed ")),
        "{ended}"
    );
}

#[test]
fn a_failure_is_told_in_full_and_the_exit_code_is_3() {
    let ended = checked(QUICK, FAULTY);
    ended.exits(3);
    for part in [
        "FAILED: echo/nul",
        "expected       \"ab\\x00cd\"",
        "FAILED: clients/silent-beside",
        "likely cause   The server treats what it received as a C string",
        "client 1 sends \"ab\\x00cd\"",
        "io-models check --explain echo/nul",
        "5 checks in ",
        "3 passed, 2 failed, 0 not made, 0 not applicable (seed ",
    ] {
        assert!(ended.stdout.contains(part), "{part:?} is missing: {ended}");
    }
}

#[test]
fn documents_say_the_same() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (junit, html) = (path("junit.xml"), path("checks.html"));
    let ended = checked(&format!("{QUICK} --json --seed 7 --junit {junit} --html {html}"), FAULTY);
    ended.exits(3);
    let result = ended.json();
    assert_eq!((&result["schema"], &result["plan"]["seed"]), (&"io-models/check".into(), &7.into()));
    let verdicts = result["servers"][0]["verdicts"].as_array().expect("a list");
    let outcome = |id: &str| &verdicts.iter().find(|one| one["check"] == id).expect(id)["outcome"];
    assert_eq!((outcome("echo/nul"), outcome("echo/one-byte")), (&"failed".into(), &"passed".into()));
    valid(&result);
    let xml = fs::read_to_string(&junit).expect("the file that was asked for");
    let report = Report::deserialize_from_str(&xml).expect("JUnit XML");
    assert_eq!((report.tests, report.failures, report.errors), (5, 2, 0));
    let page = fs::read_to_string(&html).expect("the file that was asked for");
    assert!(page.contains("echo/nul") && page.contains("FAILED"), "{page}");
    assert!(!page.contains("<script"), "{page}");
}

/// It is what the published schema says, and nothing else.
#[track_caller]
fn valid(result: &Value) {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/schema/check.json");
    let schema: Value =
        serde_json::from_str(&fs::read_to_string(file).expect("the schema that is published")).expect("JSON");
    jsonschema::draft202012::meta::validate(&schema).expect("a JSON Schema");
    let validator = jsonschema::draft202012::new(&schema).expect("a schema");
    let wrong: Vec<_> =
        validator.iter_errors(result).map(|why| format!("{}: {why}", why.instance_path())).collect();
    assert!(wrong.is_empty(), "{wrong:#?}\n{result:#}");
}

#[test]
fn several_servers_are_a_matrix() {
    let mut command = io_models("check --markdown");
    command.args(["--only", "echo/one-byte,echo/nul"]);
    command.args(["--server", &format!("right={}", ours("thread")), "--server", &format!("faulty={FAULTY}")]);
    let ended = Program::spawn(command).end_within(3);
    ended.exits(3);
    let row = |name: &str| {
        let line = ended.stdout.lines().find(|line| line.starts_with(&format!("| {name} "))).expect(name);
        line.split('|').map(str::trim).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(row("right")[1..6], ["right", "3", "0", "0", "0"]);
    assert_eq!(row("faulty")[1..7], ["faulty", "2", "1", "0", "0", "echo/nul"]);
    assert_eq!(row("`echo/nul`")[1..4], ["`echo/nul`", "passed", "**FAILED**"]);
}

#[test]
fn of_a_server_that_runs_what_needs_its_process_is_not_applicable() {
    let server = Server::start(model::find("epoll-level").expect("a model"));
    let ended = Program::start(&format!("check {} --skip leak,clients/1000", server.addr())).end_within(3);
    ended.exits(0);
    assert!(ended.stdout.contains("stop/in-time"), "{ended}");
    assert!(ended.stdout.contains("it needs the process of the server: give a command"), "{ended}");
    server.stop();
}

#[test]
fn a_server_that_serves_one_client_at_a_time_is_judged_by_that() {
    let ended = checked("--clients 1 --skip leak", &format!("exec {}", ours("blocking")));
    ended.exits(0);
    assert!(
        ended.stdout.contains("clients/64: it has 64 clients at the same time, and --clients says 1"),
        "{ended}"
    );
}

#[test]
fn a_frame_is_waited_for() {
    let server = "exec python3 -c 'import socket, threading\n\
        def all(c, n):\n  b = b\"\"\n  while len(b) < n:\n    p = c.recv(n - len(b))\n    if not p: raise SystemExit\n    b += p\n  return b\n\
        def serve(c):\n  while True:\n    h = all(c, 4)\n    c.sendall(h + all(c, int.from_bytes(h, \"big\")))\n\
        s = socket.create_server((\"127.0.0.1\", {port}), backlog=200)\n\
        while True: threading.Thread(target=serve, args=(s.accept()[0],), daemon=True).start()'";
    let ended = checked("--expect framed --only frame,echo/one-byte,echo/large,echo/pipelined", server);
    ended.exits(0);
    assert!(ended.stdout.contains("0 failed, 0 not made, 0 not applicable"), "{ended}");
    let echo = checked("--expect framed --only frame/split", &ours("poll"));
    echo.exits(3);
    assert!(echo.stdout.contains("expected       nothing"), "{echo}");
}

#[test]
fn no_check_is_an_error_and_so_is_an_unknown_one() {
    let none = fails(&["check", "127.0.0.1:1", "--only", "echo", "--skip", "echo"], 2);
    assert!(none.contains("leave no check"), "{none}");
    let unknown = fails(&["check", "127.0.0.1:1", "--only", "echo/nil"], 2);
    assert!(unknown.contains("echo/nul"), "{unknown}");
    let faults = fails(&["check", "127.0.0.1:1", "--only", "fault"], 2);
    assert!(faults.contains("--faults"), "{faults}");
}

#[test]
fn checks_that_cannot_be_made_are_no_success() {
    let server = Server::start(model::find("poll").expect("a model"));
    let ended = Program::start(&format!("check {} --only stop", server.addr())).end();
    ended.exits(1).says_one_line(&["no check of server was made"]);
    server.stop();
}

#[test]
fn a_command_without_a_port_and_one_that_does_not_listen_are_named() {
    let line = fails(&["check", "--", "true"], 2);
    assert!(line.contains("{port}"), "{line}");
    let line = fails(&["check"], 2);
    assert!(line.contains("no server is named"), "{line}");
    for (words, hint) in [
        (&["--", "./x", "-p", "5000"][..], "io-models check -- ./x -p {port};"),
        (&["./x", "5000"], "io-models check -- ./x {port}"),
        (&["./x"], "io-models check -- ./x {port}"),
        (&["5000"], "io-models check :5000"),
        (&["127.0.0.1:5000", "127.0.0.1:5001"], "--server NAME=ADDR:PORT"),
        (&["--server", "a=./x 5000"], "lacks {port}: a='./x {port}'"),
    ] {
        let line = fails(&[&["check"], words].concat(), 2);
        assert!(line.contains(hint), "{words:?}: {line}");
    }
    let mut command = io_models("check --");
    command.args(["sh", "-c", "exit 3", "{port}"]);
    let ended = Program::spawn(command).end();
    ended.exits(1);
    assert!(ended.stderr.contains("ended before it listened"), "{ended}");
}

/// A server of Python: it has a socket `s` that listens on `port`, and a client `c` after the other.
fn python(port: &str, for_each_client: &str) -> String {
    let script = format!(
        "import os, socket, sys\ns = socket.create_server((\"127.0.0.1\", {port}), backlog=200)\n{for_each_client}"
    );
    format!("exec python3 -c '{script}'")
}

#[test]
fn a_server_that_listens_on_another_port_hears_which() {
    // It takes any, and waits for its end.
    let ended = checked("--only echo", &python("0", "s.accept()  # {port}"));
    ended.exits(1);
    assert!(ended.stderr.contains(" within 20 s, but on port "), "{ended}");
    assert!(ended.stderr.contains("(does it use {port}?)"), "{ended}");
}

#[test]
fn a_server_that_goes_into_the_background_hears_that_it_must_not() {
    // Before it listens, or it would be known for a moment.
    let daemon = python("{port}", "s.accept()").replace("s = ", "os.fork() and os._exit(0)\ns = ");
    let ended = checked("--only echo", &daemon);
    ended.exits(1);
    assert!(ended.stderr.contains("it must stay in the foreground"), "{ended}");
}

#[test]
fn where_loopback_is_down_the_remedy_is_named() {
    let alone = |program: &str| {
        let mut command = std::process::Command::new("unshare");
        command.args(["--user", "--map-root-user", "--net", program]);
        command
    };
    if !alone("true").output().is_ok_and(|output| output.status.success()) {
        println!("skipped: a network namespace is not permitted here, or there is no unshare(1)");
        return;
    }
    let mut command = alone(env!("CARGO_BIN_EXE_io-models"));
    command.args(["check", "127.0.0.1:1", "--only", "echo/one-byte"]);
    let ended = Program::spawn(command).end();
    ended.exits(1).says_one_line(&["Network is unreachable", "ip link set lo up"]);
}

/// Echoes, and does `at_a_nul` when a NUL comes.
fn python_echo(at_a_nul: &str) -> String {
    let script = format!(
        "def echo(c):\n  b = c.recv(1000)\n  while b:\n    if b\"\\0\" in b: {at_a_nul}\n    c.sendall(b)\n    b = c.recv(1000)\n\
         import threading\nwhile True: threading.Thread(target=echo, args=(s.accept()[0],), daemon=True).start()"
    );
    python("{port}", &script)
}

#[test]
fn the_last_words_of_a_server_stay_apart_and_command_no_terminal() {
    let dies = "print(end=\"ready\", flush=True); os.write(2, b\"\\33[2Jno \\342\\200\\256end\"); os.abort()";
    let file = tempfile::NamedTempFile::new().expect("a file");
    let options = format!("--only echo/nul --color always --html {}", file.path().display());
    let ended = checked(&options, &python_echo(dies));
    ended.exits(3);
    let words =
        r#"the server was killed by signal 6 (SIGABRT); the last that it wrote: "\u{1b}[2Jno \u{202e}end""#;
    assert!(ended.stdout.contains(words), "{ended}");
    let page = fs::read_to_string(file.path()).expect("the file that was asked for");
    for text in [&ended.stdout, &ended.stderr, &page] {
        assert!(!text.contains("\x1b[2J") && !text.contains('\u{202e}'), "{ended}");
    }
}

#[test]
fn what_a_server_says_that_lives_on_is_shown() {
    let ended = checked("--only echo/nul", &python_echo("raise KeyError(\"no NUL\")"));
    ended.exits(3);
    let observed = ended.stdout.lines().find(|line| line.starts_with("  observed")).expect("a failure");
    assert!(observed.contains("; the server wrote: ") && observed.contains("KeyError: "), "{observed}");
}

#[test]
fn of_a_server_that_says_nothing_wrong_only_its_output_is_left() {
    let ended =
        checked("--only echo/nul", &python_echo("print(\"out of luck\"); sys.stdout.flush(); os._exit(7)"));
    ended.exits(3);
    let words = r#"the server ended with exit code 7; the last that it wrote: "out of luck""#;
    assert!(ended.stdout.contains(words), "{ended}");
}

#[test]
fn nobody_listens_at_an_address() {
    let free =
        std::net::TcpListener::bind("127.0.0.1:0").expect("a free port").local_addr().expect("its address");
    let ended = Program::start(&format!("check {free} --only echo")).end();
    ended.exits(1);
    assert!(ended.stderr.contains("Connection refused"), "{ended}");
}

/// A server that runs already cannot be started again.
#[test]
fn after_the_end_of_a_server_that_ran_no_check_is_made() {
    let script = "import socket, sys\n\
        s = socket.create_server((\"127.0.0.1\", 0), backlog=200)\n\
        print(s.getsockname()[1], flush=True)\n\
        while True:\n  c, _ = s.accept()\n  b = c.recv(1000)\n  while b:\n    if b\"\\0\" in b: sys.exit()\n    c.sendall(b)\n    b = c.recv(1000)";
    let mut server = Command::new("python3")
        .args(["-c", script])
        .stdout(Stdio::piped())
        .spawn()
        .expect("python3 is there");
    let mut port = String::new();
    BufReader::new(server.stdout.take().expect("it is piped")).read_line(&mut port).expect("its port");
    let only = "--only echo/one-byte,echo/nul,echo/all-bytes,echo/byte-by-byte";
    let ended = Program::start(&format!("check 127.0.0.1:{} {only} --json", port.trim())).end_within(3);
    server.wait().expect("it has ended by itself");
    ended.exits(3);
    let result = ended.json();
    let verdicts = result["servers"][0]["verdicts"].as_array().expect("a list");
    let outcomes: Vec<_> =
        verdicts.iter().map(|one| (one["check"].as_str().expect("an id"), one["outcome"].as_str())).collect();
    let at = outcomes.iter().position(|one| *one == ("echo/nul", Some("failed"))).expect("it fails");
    assert!(outcomes[at + 1..].contains(&("echo/byte-by-byte", Some("not_made"))), "{outcomes:?}");
    assert!(ended.stdout.contains("the server ended in echo/nul"), "{ended}");
}

/// A thread for each client, with this backlog.
fn with_backlog(backlog: usize) -> String {
    format!(
        "exec python3 -c 'import socket, threading\n\
        def serve(c):\n  try:\n    while b := c.recv(65536): c.sendall(b)\n  except OSError: pass\n  c.close()\n\
        s = socket.create_server((\"127.0.0.1\", {{port}}), backlog={backlog})\n\
        while True: threading.Thread(target=serve, args=(s.accept()[0],), daemon=True).start()'"
    )
}

#[test]
fn a_short_queue_is_told_once_as_what_it_is() {
    let without = "--json --skip leak,clients/1000,idle,limits";
    for (backlog, id, says) in [
        (1, "backlog/200", "find room in the queue"),
        (0, "edge/listener", "The second argument of listen(2) is 0"),
    ] {
        let ended = checked(without, &with_backlog(backlog));
        ended.exits(3);
        let result = ended.json();
        let verdicts = result["servers"][0]["verdicts"].as_array().expect("a list");
        let failed: Vec<_> = verdicts.iter().filter(|one| one["outcome"] == "failed").collect();
        assert_eq!(failed.iter().map(|one| &one["check"]).collect::<Vec<_>>(), [id], "{failed:#?}");
        assert!(ended.stdout.contains(says), "{ended}");
    }
}

#[test]
fn a_server_that_does_not_start_takes_no_verdicts_from_others() {
    let mut command = io_models("check --json --only echo/one-byte");
    command.args([
        "--server",
        &format!("right={}", ours("poll")),
        "--server",
        "broken=no-such-program {port}",
    ]);
    let ended = Program::spawn(command).end_within(3);
    ended.exits(1);
    assert!(ended.stderr.contains("no check of broken was made"), "{ended}");
    let result = ended.json();
    let outcome = |server: usize| &result["servers"][server]["verdicts"][0]["outcome"];
    assert_eq!((outcome(0), outcome(1)), (&"passed".into(), &"not_made".into()));
}

#[test]
fn a_command_in_one_word_is_one_of_the_shell() {
    let mut command = io_models("check --only echo/one-byte --");
    command.arg(format!("MODEL=poll; {}", ours("\"$MODEL\"")));
    Program::spawn(command).end_within(3).exits(0);
}

#[test]
fn a_port_alone_is_one_of_this_machine() {
    let server = Server::start(model::find("poll").expect("a model"));
    let port = server.addr().port();
    Program::start(&format!("check :{port} --only echo/one-byte")).end().exits(0);
    server.stop();
}

/// As a shell starts its background jobs.
#[test]
fn a_server_gets_no_ignored_sigint_from_us() {
    let program = env!("CARGO_BIN_EXE_io-models");
    let mut command = std::process::Command::new("sh");
    let server = "exec python3 -c 'import socket, time\ns = socket.create_server((\"127.0.0.1\", {port}))\nwhile True:\n  c, _ = s.accept()\n  b = c.recv(99)\n  while b:\n    c.sendall(b)\n    b = c.recv(99)'";
    command.args([
        "-c",
        "trap '' INT; exec \"$0\" check --only stop/ctrl-c --server \"mine=$1\"",
        program,
        server,
    ]);
    Program::spawn(command).end_within(3).exits(0);
}

#[test]
fn every_check_is_listed_and_explained() {
    let list = Program::start("check --list").end();
    list.exits(0);
    for check in check::all() {
        assert!(list.stdout.contains(check.id), "{} is not in {list}", check.id);
    }
    for (id, mark) in [("echo/nul", None), ("leak/memory", Some("c")), ("fault/recv-eintr", Some("f"))] {
        let line = list.stdout.lines().find(|line| line.starts_with(&format!("{id} "))).expect(id);
        let second = line.split_whitespace().nth(1).filter(|word| word.len() == 1);
        assert_eq!(second, mark, "{line}");
    }
    assert!(list.stdout.contains("f: needs the command, and --faults."), "{list}");
    let mut only = Program::start("check --list --json --only stop").end().exits(0).json();
    let json = only.as_array_mut().expect("a list").remove(0);
    let stop = check::find("stop/in-time").expect("it is listed");
    assert_eq!((&json["id"], &json["claim"]), (&stop.id.into(), &stop.claim.into()));
    assert_eq!(
        (&json["needs"], &json["clients"], &json["answers"]),
        (&"process".into(), &stop.clients.into(), &"any".into())
    );
    assert_eq!(json["after"].as_array().map(Vec::len), Some(stop.after.len()));
    for text in ["does", "matters", "cause", "reference"] {
        assert!(json[text].is_string(), "{json:#}");
    }
    let explained = Program::start("check --explain echo/nul").end();
    explained.exits(0);
    for part in ["What is done", "Why it matters", "The usual cause", "strlen"] {
        assert!(explained.stdout.contains(part), "{part:?} is missing: {explained}");
    }
    let group = fails(&["check", "--explain", "storm"], 2);
    assert!(
        group.contains("storm is a group") && group.contains("storm/connect-close, storm/reset"),
        "{group}"
    );
    let unknown = fails(&["check", "--explain", "echo/nil"], 2);
    assert!(unknown.contains("echo/nul"), "{unknown}");
}

#[test]
fn ctrl_c_ends_it_with_what_is_known_and_leaves_no_server() {
    let file = tempfile::NamedTempFile::new().expect("a file");
    let name = file.path().display();
    // It tells who it is, and answers nothing.
    let server = format!(
        "echo $$ >>{name}; exec python3 -c 'import socket, time\n\
        s = socket.create_server((\"127.0.0.1\", {{port}}))\nwhile True: time.sleep(1)'"
    );
    let mut command = io_models("check --json");
    command.args(["--server", &format!("mute={server}"), "--server", "later=false {port}"]);
    let program = Program::spawn(command);
    wait_until("the server of a check runs", || {
        fs::read_to_string(file.path()).is_ok_and(|pids| pids.lines().count() >= 2)
    });
    program.signal(Signal::SIGINT);
    let ended = program.end();
    ended.exits(130);
    let result = ended.json();
    assert_eq!(
        (&result["partial"], &result["servers"][1]["verdicts"]),
        (&true.into(), &Value::Array(Vec::new()))
    );
    valid(&result);
    for pid in fs::read_to_string(file.path()).expect("the file is ours").lines() {
        wait_until("no server is left", || !fs::exists(format!("/proc/{pid}")).unwrap_or(true));
    }
}
