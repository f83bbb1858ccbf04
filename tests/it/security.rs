//! What docs/security.md promises of files and servers that are hostile, as far as no other test shows it.

use crate::load::program::{Ended, Program, io_models};
use crate::load::servers::Server;
use crate::report::sample;
use io_models::lab::results::compare::Reach;
use serde_json::{Value, json};
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Command;
use tempfile::TempDir;

/// Clears the screen, sets the title, goes back to the start of the line, colours by a control character beyond ASCII.
const COMMANDS: &str = "evil\x1b[2J\x1b]0;title\x07\r\u{9b}31m\x7f";

/// The same where it is shown.
const SHOWN: &str = r"evil\u{1b}[2J\u{1b}]0;title\u{7}\r\u{9b}31m\u{7f}";

/// A folder with a file of that name and content, and the path of the file.
fn file(name: &str, content: impl AsRef<[u8]>) -> (TempDir, String) {
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join(name);
    fs::write(&path, content).expect("a file");
    let path = path.display().to_string();
    (folder, path)
}

/// Run the program with colours, as on a terminal, and make sure that no control character is in what it says but line
/// breaks and its own colours.
#[track_caller]
fn obeys_nothing(args: &[&str]) -> Ended {
    let mut command = io_models("--color=always");
    command.args(args);
    let ended = Program::spawn(command).end();
    for text in [&ended.stdout, &ended.stderr] {
        // Lines of CSV end so.
        let text = text.replace("\r\n", "\n");
        let mut rest = text.as_str();
        while let Some(at) = rest.find(|c: char| c.is_control() && c != '\n') {
            let colour = rest[at..].strip_prefix("\x1b[").and_then(|rest| {
                let (number, rest) = rest.split_once('m')?;
                ["0", "1", "31", "33"].contains(&number).then_some(rest)
            });
            rest = colour.unwrap_or_else(|| panic!("a control character: {ended}"));
        }
    }
    ended
}

#[test]
fn control_characters_of_a_comparison_do_not_reach_the_terminal() {
    let mut result = sample::of(&["ping", "idle"], &[sample::BASELINE, "poll", COMMANDS]);
    result.not_known.push(COMMANDS.to_owned());
    let mut result = serde_json::to_value(&result).expect("a result");
    result["environment"]["kernel"] = json!(COMMANDS);
    let (_folder, result) = file("result.json", result.to_string());
    for options in [&[][..], &["--csv", "-"], &["--markdown", "-"], &["--html", "-"], &["--svg", "-"]] {
        let ended = obeys_nothing(&[&["report", &result], options].concat());
        assert!(ended.exits(0).stdout.contains("poll"), "{ended}");
    }
    assert!(obeys_nothing(&["report", &result]).stdout.contains(SHOWN));
}

/// A tag that runs a script, in a page that took it for one.
const TAG: &str = "<img src=x onerror=alert(1)>";

/// Commands, characters that end a line or change the order of others, words that would be a line of their own, and a tag.
fn hostile() -> String {
    format!("{COMMANDS} \u{202e}a\u{2028}FORGED\nFORGED 1\n{TAG}")
}

/// Names of servers that are as hostile as that, the last one by its length.
fn hostile_names() -> [String; 5] {
    [
        COMMANDS.to_owned(),
        hostile(),
        TAG.to_owned(),
        "mine\u{2067}\u{ad}\nFORGED 2".to_owned(),
        "x".repeat(70_000),
    ]
}

/// Draw a result in this form, with names and texts of [`hostile`].
#[track_caller]
fn drawn_harmlessly(result: &str, form: &[&str]) -> String {
    let ended = obeys_nothing(&[&["report", result], form].concat());
    let text = &ended.exits(0).stdout;
    let unseen = ['\u{202e}', '\u{2067}', '\u{2028}', '\u{ad}'];
    assert!(!text.contains(unseen), "a character that nobody sees: {ended}");
    // A chart shortens names.
    let has_all = text.contains("alert(1)") && text.contains(&"x".repeat(70_000));
    let has_all = has_all || form.contains(&"--svg");
    assert!(has_all, "something is missing: {ended}");
    let is_markup = form.iter().any(|option| ["--html", "--svg"].contains(option));
    if is_markup {
        assert!(!text.contains("<img") && !text.contains("<script"), "a tag: {ended}");
    }
    // In markup a line break is a space but in a conversation, and in a cell of CSV it is a part of the cell.
    let lines: String = match form {
        [] | ["--markdown", ..] => text.clone(),
        ["--html", ..] => {
            text.split("<pre>").skip(1).filter_map(|rest| rest.split("</pre>").next()).collect()
        }
        _ => String::new(),
    };
    assert!(!lines.lines().any(|line| line.trim_start().starts_with("FORGED")), "a forged line: {ended}");
    text.clone()
}

#[test]
fn a_hostile_result_of_check_is_drawn_and_means_nothing() {
    let names = hostile_names();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let mut result = sample::checked(&names, &hostile());
    result.plan.checks[1] = hostile();
    result.servers.iter_mut().for_each(|server| server.verdicts[1].check = hostile());
    let mut result = serde_json::to_value(&result).expect("a result");
    result["environment"]["kernel"] = json!(hostile());
    let (_folder, result) = file("verdicts.json", result.to_string());
    for form in [&[][..], &["--html", "-"]] {
        drawn_harmlessly(&result, form);
    }
    let markdown = drawn_harmlessly(&result, &["--markdown", "-"]);
    for (at, _) in markdown.match_indices(TAG) {
        let line = markdown[..at].rsplit('\n').next().unwrap_or_default();
        assert!(line.matches('`').count() % 2 == 1, "a tag is no code: {line}");
    }
}

#[test]
fn a_hostile_comparison_is_drawn_and_means_nothing() {
    let names = hostile_names();
    let names: Vec<_> =
        [sample::BASELINE, "poll"].into_iter().chain(names.iter().map(String::as_str)).collect();
    let mut result = sample::of(&["ping"], &names);
    result.not_known.push(hostile());
    let mut result = serde_json::to_value(&result).expect("a result");
    result["environment"]["kernel"] = json!(hostile());
    let (_folder, result) = file("result.json", result.to_string());
    for form in [&[][..], &["--csv", "-"], &["--html", "-"], &["--svg", "-"]] {
        drawn_harmlessly(&result, form);
    }
    let markdown = drawn_harmlessly(&result, &["--markdown", "-"]);
    for (at, _) in markdown.match_indices(TAG) {
        assert!(markdown[..at].ends_with('\\'), "a tag: {}", &markdown[..at]);
    }
}

#[test]
fn control_characters_of_a_server_do_not_reach_the_terminal() {
    let server = Server::greeting(COMMANDS.as_bytes());
    let load =
        ["load", &server.addr.to_string(), "-c", "1", "-d", "50ms", "--warmup", "0", "--wait", "sleep"];
    obeys_nothing(&load).exits(1);
}

#[test]
fn a_command_of_several_lines_survives_in_a_result() {
    let mut result = sample::of(&["ping"], &[sample::BASELINE, "poll"]);
    let command = "set -e\n\texec server {port}".to_owned();
    let server = json!({ "name": "mine", "command": command });
    result.plan.servers.push(serde_json::from_value(server).expect("a server"));
    let text = serde_json::to_string(&result).expect("a result");
    let read = io_models::lab::results::compare::Comparison::read(&text).expect("a result");
    assert_eq!(read.plan.servers[0].reach, Reach::Command { command });
}

#[test]
fn control_characters_of_a_report_or_a_log_do_not_reach_the_terminal() {
    let server = Server::echo();
    let folder = TempDir::new().expect("a folder");
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (json, log) = (path("run.json"), path("run.hlog"));
    let line = format!("load {} -c 2 -d 100ms --warmup 20ms --wait sleep --quiet", server.addr);
    let ended = Program::start(&format!("{line} --json -o {json} --hlog {log}")).end();
    ended.exits(0);
    let report: Value = serde_json::from_slice(&fs::read(&json).expect("a report")).expect("JSON");

    // The name of the file, and what is read from it.
    let named = path(&format!("{COMMANDS}.json"));
    fs::copy(&json, &named).expect("a copy");
    assert!(obeys_nothing(&["merge", &named]).exits(0).stdout.contains(SHOWN));
    let mut lost = report.clone();
    (lost["lost_connections"], lost["lost"]) =
        (json!(1), json!([{ "connection": 0, "kind": "reset", "answers": 0, "reason": COMMANDS }]));
    fs::write(&json, lost.to_string()).expect("a report");
    let ended = obeys_nothing(&["merge", &json]);
    assert!(ended.exits(1).stderr.contains(SHOWN), "{ended}");
    for key in ["schema", "mode", "wait"] {
        let mut damaged = report.clone();
        (damaged[key], damaged["plan"][key]) = (json!(COMMANDS), json!(COMMANDS));
        fs::write(&json, damaged.to_string()).expect("a report");
        obeys_nothing(&["merge", &json]).exits(1);
    }

    let text = fs::read_to_string(&log).expect("a log");
    let tagged = text.lines().filter(|line| line.starts_with(|c: char| c.is_ascii_digit()));
    let tagged: String = tagged.map(|line| format!("Tag={COMMANDS},{line}\n")).collect();
    fs::write(&log, text + &tagged).expect("a log");
    assert!(obeys_nothing(&["merge", &log]).exits(0).stderr.contains(SHOWN));
    fs::write(&log, tagged).expect("a log");
    assert!(obeys_nothing(&["merge", &log]).exits(1).stderr.contains(SHOWN));
}

#[test]
fn control_characters_of_plans_gates_and_baselines_do_not_reach_the_terminal() {
    let plan = format!("[[workload]]\nname = 'x'\nconnections = 1\n{COMMANDS} = 1\n");
    let (_folder, plan) = file("plan.toml", plan);
    assert!(obeys_nothing(&["compare", "--plan", &plan]).exits(2).stderr.contains("evil"));
    for gate in [format!("{COMMANDS} p99<=1ms"), format!("{COMMANDS}<=1ms"), format!("p99<={COMMANDS}")] {
        let (_folder, gates) = file("gates", gate);
        obeys_nothing(&["load", "127.0.0.1:1", "--gate", &format!("@{gates}")]).exits(2);
        obeys_nothing(&["compare", "--gate", &format!("@{gates}")]).exits(2);
    }
    let fact = "fd-accept-emfile-keeps-connection";
    for (kernel, outcome, code) in [(COMMANDS, "holds", 0), ("6.18", COMMANDS, 2)] {
        let profile = json!({
            "schema": "io-models/facts", "schema_version": 2, "partial": false,
            "environment": { "kernel": kernel, "machine": COMMANDS },
            "facts": [{ "id": fact, "outcome": outcome }],
        });
        let (_folder, profile) = file("profile.json", profile.to_string());
        obeys_nothing(&["facts", fact, "--baseline", &profile]).exits(code);
        obeys_nothing(&["facts", "map", &profile]).exits(code);
        obeys_nothing(&["facts", "--differs", &profile, &profile]).exits(code);
    }
}

/// `io-models`, which may have no more memory than that.
fn with_memory(kib: usize, line: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", &format!(r#"ulimit -v {kib} && exec "$0" "$@""#)]);
    command.arg(env!("CARGO_BIN_EXE_io-models")).args(line.split_whitespace());
    command
}

/// Memory for all that a small load needs. A server that is believed brings that much in less than a second.
const LITTLE_KIB: usize = 512 << 10;

#[test]
fn a_server_that_never_stops_talking_is_wrong_and_costs_the_generator_no_memory() {
    let server = Server::start(|_, mut client, _| {
        let words = [b'x'; 1 << 16];
        loop {
            client.write_all(&words)?;
        }
    });
    let line = format!("load {} -c 8 -d 500ms --warmup 0 --wait sleep", server.addr);
    for hostile in ["", "--slow-reader 20% --half-close 20% --reset 20%"] {
        let ended = Program::spawn(with_memory(LITTLE_KIB, &format!("{line} {hostile}"))).end();
        ended.exits(1);
        assert!(ended.stderr.contains("connections lost"), "{ended}");
    }
    let line = format!("compare --starts 1 --slices 1 --workloads ping --server talks={}", server.addr);
    let ended = Program::spawn(with_memory(LITTLE_KIB, &format!("{line} --models poll --quiet"))).end();
    ended.exits(1);
    assert!(ended.stdout.contains("the server is not right"), "{ended}");
}

#[test]
fn every_test_that_the_page_of_promises_names_exists() {
    let page = include_str!("../../docs/security.md");
    let mut parts = page.split('`').skip(1);
    let mut named = 0;
    while let (Some(code), Some(after)) = (parts.next(), parts.next()) {
        let (folder, name) = code.strip_prefix("lib: ").map_or(("tests/it", code), |name| ("src", name));
        let Some((modules, function)) = name.rsplit_once("::").filter(|_| !name.contains('…')) else {
            continue;
        };
        named += 1;
        let source = source_of(folder, modules);
        let head = source.split_once(&format!("fn {function}(")).map(|(before, _)| before);
        let head = head.and_then(|before| before.rsplit("\n\n").next()).unwrap_or_default();
        assert!(head.contains("#[test]"), "docs/security.md names {name}, which does not exist");
        let is_marked = after.starts_with(" (ignored");
        assert_eq!(
            is_marked,
            head.contains("#[ignore"),
            "docs/security.md: is {name} marked as ignored, as it is?"
        );
    }
    assert!(named > 20, "{named}");
}

/// The file of a module. It may hold a module `tests` itself.
fn source_of(folder: &str, modules: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder).join(modules.replace("::", "/"));
    let files = [path.with_extension("rs"), path.join("mod.rs")];
    let source = files.iter().find_map(|file| fs::read_to_string(file).ok());
    source.unwrap_or_else(|| match modules.strip_suffix("::tests") {
        Some(outer) => source_of(folder, outer),
        None => String::new(),
    })
}
