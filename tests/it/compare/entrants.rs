//! Foreign servers beside the models.

use super::processes::Family;
use super::stopped::wait_for_turns;
use super::{comparison, figures, row};
use crate::load::program::{Ended, Program, io_models};
use crate::support::{DEADLINE, Server, wait_until, wait_within};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

const SHORT: &str = "--starts 2 --slices 2 --slice 60ms --workloads ping --models poll";

/// `io-models compare` with these arguments, and this foreign server.
fn with_server(server: &str, args: &str) -> Ended {
    let mut command = io_models(&format!("compare {args}"));
    command.args(["--server", server]);
    Program::spawn(command).end()
}

/// A model of ours as if it were foreign.
fn as_foreign(model: &str) -> String {
    format!("{} serve {model} --listen 127.0.0.1:{{port}}", env!("CARGO_BIN_EXE_io-models"))
}

#[test]
fn a_command_takes_part_as_a_model_does() {
    let ended = with_server(&format!("mine={}", as_foreign("epoll-edge")), &format!("{SHORT} --json"));
    let comparison = comparison(ended.exits(0));
    let figures = figures(row(&comparison, "ping", "mine", false));
    assert!(figures["cpu"]["low"].is_number(), "{figures:#}");
    assert!(figures["memory"]["after"].as_u64() > Some(50_000), "{figures:#}");
    assert_eq!(figures["syscalls_per_request"], Value::Null, "they are not counted: {figures:#}");
    let entrants = comparison["entrants"].as_array().expect("entrants");
    let mine = entrants.iter().find(|entrant| entrant["name"] == "mine").expect("an entrant");
    assert_eq!(mine["foreign"], true);
}

#[test]
fn a_server_with_processes_that_come_and_go_is_measured_with_all_of_them() {
    let server = format!("forks={}", as_foreign("fork"));
    let args = "--starts 1 --slices 2 --slice 300ms --workloads churn --models fork --json";
    let comparison = comparison(with_server(&server, args).exits(0));
    // Each client is a process, which has ended when its cost is asked for.
    let cpu = |entrant: &str| {
        figures(row(&comparison, "churn@1", entrant, false))["cpu_us_per_request"]["median"].as_f64()
    };
    let (mine, theirs) = (cpu("fork").expect("known"), cpu("forks").expect("known"));
    assert!(mine > 2.0 * cpu("epoll-level").expect("known"), "{comparison:#}");
    assert!(theirs > mine / 3.0 && theirs < mine * 3.0, "{mine} and {theirs} µs: {comparison:#}");
}

#[test]
fn a_server_that_runs_already_takes_part_with_and_without_its_process() {
    let server = Server::start(io_models::model::find("epoll-edge").expect("a model"));
    let addr = server.addr();
    let with_pid = format!("known={addr},pid={}", server.process().pid);
    let mut command = io_models(&format!("compare {SHORT} --json"));
    command.args(["--server", &with_pid, "--server", &format!("unknown={addr}")]);
    let ended = Program::spawn(command).end();
    let comparison = comparison(ended.exits(0));
    let known = figures(row(&comparison, "ping", "known", false));
    assert!(known["cpu"]["low"].is_number(), "{known:#}");
    let unknown = figures(row(&comparison, "ping", "unknown", false));
    assert_eq!((&unknown["cpu"], &unknown["memory"]["after"]), (&Value::Null, &Value::Null), "{unknown:#}");
    assert!(unknown["requests_per_s"]["median"].is_number(), "{unknown:#}");
    assert!(ended.stderr.contains("the cost of unknown is not known"), "{ended}");
    server.stop();
}

#[test]
fn what_is_neither_a_command_nor_an_address_is_refused_with_both_forms() {
    for (server, says) in [
        ("cat", "has no name"),
        ("a b=cat {port}", "is no name"),
        ("a=cat", "neither an address nor a command with {port}"),
        ("a=127.0.0.1:99999", "neither an address"),
        ("a=127.0.0.1:80,pid=x", "neither an address"),
    ] {
        let ended = with_server(server, SHORT);
        ended.exits(2).says_one_line(&[says, "NAME=ADDR:PORT[,pid=N]"]);
    }
}

#[test]
fn two_servers_of_one_name_are_refused_before_anything_is_started() {
    // One of these names is a model's, one is the baseline's, and one is given twice.
    for name in ["poll", "epoll-level", "mine"] {
        let mut command = io_models(&format!("compare {SHORT}"));
        command.args(["--server", "mine=127.0.0.1:1", "--server", &format!("{name}={}", as_foreign("poll"))]);
        let ended = Program::spawn(command).end();
        ended.exits(2).says_one_line(&[&format!("two servers are called {name:?}")]);
        assert_eq!(ended.stdout, "", "{ended}");
    }
}

/// The row of a server that is not right fails with a reason, and the others are measured.
#[track_caller]
fn fails_alone(server: &str, says: &[&str]) {
    let ended = with_server(server, &format!("{SHORT} --json --quiet"));
    let comparison = comparison(ended.exits(1));
    let name = server.split_once('=').expect("a name").0;
    let failed = row(&comparison, "ping", name, false);
    assert_eq!(failed["status"], "failed", "{failed:#}");
    let reason = failed["reason"].as_str().expect("a reason");
    assert!(says.iter().all(|says| reason.contains(says)), "{reason:?} does not say {says:?}");
    figures(row(&comparison, "ping", "poll", false));
}

/// A server may leave the process group, and its parent.
#[test]
fn a_foreign_server_that_becomes_a_daemon_is_measured_and_ended() {
    let server = format!("daemon=setsid sh -c '{} & exit' & sleep 1000", as_foreign("epoll-edge"));
    let (family, program) = Family::start_with(&format!("compare {SHORT} --json"), &["--server", &server]);
    let ended = program.end();
    let comparison = comparison(ended.exits(0));
    let figures = figures(row(&comparison, "ping", "daemon", false));
    assert!(figures["cpu_us_per_request"]["median"].as_f64() > Some(0.5), "{figures:#}");
    assert!(family.members().is_empty(), "{:?}", family.members());
}

/// A server that writes without end, and one that ignores SIGTERM, do not hold up the comparison.
#[test]
fn a_foreign_server_that_writes_without_end_or_ignores_sigterm_is_measured_and_ended() {
    let foreign = as_foreign("epoll-edge");
    let server = format!("writes=trap '' TERM; (while echo words; do :; done) & {foreign}");
    let (family, program) = Family::start_with(&format!("compare {SHORT} --json"), &["--server", &server]);
    let ended = program.end_within(2);
    let comparison = comparison(ended.exits(0));
    figures(row(&comparison, "ping", "writes", false));
    assert!(family.members().is_empty(), "{:?}", family.members());
}

/// All that a foreign server has started ends with it, also when it failed a check.
#[test]
fn a_foreign_server_that_fails_leaves_no_process() {
    let server = format!("bad=sleep 1000 & {} --reply ok", as_foreign("epoll-level"));
    let (family, program) = Family::start_with(&format!("compare {SHORT}"), &["--server", &server]);
    program.end().exits(1);
    assert!(family.members().is_empty(), "{:?}", family.members());
}

#[test]
fn a_command_that_does_not_listen_fails_its_row_with_its_last_words() {
    fails_alone(
        "broken=echo I am not a server: {port} >&2; exit 3",
        &["ended before it listened on port", "I am not a server", "exit code 3"],
    );
    // A terminal would obey an escape sequence.
    fails_alone(
        "red=printf '\\033[31mred\\a words\\n' >&2; exit 3 # {port}",
        &[r"\u{1b}[31mred\u{7} words", "exit code 3"],
    );
    fails_alone(
        "missing=no-such-program {port}",
        &["ended before it listened", "no-such-program", "exit code 127"],
    );
}

#[test]
fn a_server_that_is_no_echo_server_is_not_measured() {
    let ok = format!("{} --reply ok", as_foreign("epoll-level"));
    fails_alone(
        &format!("ok={ok}"),
        &["the server is not right, and is not measured", "is it an echo server?"],
    );
}

#[test]
fn a_server_that_serves_one_client_at_a_time_is_not_measured_where_more_are_needed() {
    let one = as_foreign("blocking");
    fails_alone(&format!("one={one}"), &["A silent client keeps no other waiting", "the second client"]);
}

/// Start a comparison with a foreign server, which gets this signal when all have had turns, and then end it. The row of the
/// foreign server.
#[track_caller]
fn row_after(signal: Signal) -> Value {
    let server = format!("mine=exec {}", as_foreign("epoll-edge"));
    let line =
        "compare --starts 1 --slices 100000 --slice 40ms --workloads ping --models poll --json --quiet";
    let (family, program) = Family::start_with(line, &["--server", &server]);
    wait_until("all generators run", || family.started_with("load").len() == 4);
    let program = wait_for_turns(&family, program, 4);
    let foreign = family.started_with("epoll-edge");
    kill(Pid::from_raw(foreign[0].pid), signal).expect("a process of ours");
    // A server that hangs has 10 s to answer, and then 2 s to end: about half of the usual deadline on an idle machine.
    let ends = || family.started_with("load").len() == 3;
    wait_within(3 * DEADLINE, "the comparison ends the generator too", ends);
    program.signal(Signal::SIGINT);
    let comparison = comparison(program.end().exits(1));
    figures(row(&comparison, "ping", "poll", false));
    family.ends();
    row(&comparison, "ping", "mine", false).clone()
}

#[test]
fn a_foreign_server_that_is_killed_in_the_middle_fails_its_own_row() {
    let failed = row_after(Signal::SIGKILL);
    assert_eq!(failed["status"], "failed", "{failed:#}");
    assert!(failed["reason"].as_str().is_some_and(|why| why.contains("killed by signal 9")), "{failed:#}");
}

#[test]
fn a_foreign_server_that_hangs_in_the_middle_fails_its_own_row_and_is_ended() {
    let failed = row_after(Signal::SIGSTOP);
    assert_eq!(failed["status"], "failed", "{failed:#}");
    assert!(
        failed["reason"].as_str().is_some_and(|why| why.contains("no byte came back for 10 s")),
        "{failed:#}"
    );
}

#[test]
fn a_foreign_server_and_its_children_end_when_the_comparison_is_killed() {
    let server = format!("mine=sleep 1000 & {}", as_foreign("reuseport-processes"));
    let line = "compare --starts 1 --slices 100000 --slice 40ms --workloads ping --models poll";
    let (family, program) = Family::start_with(line, &["--server", &server]);
    wait_until("all generators run", || family.started_with("load").len() == 4);
    program.signal(Signal::SIGKILL);
    drop(program);
    family.ends();
}

/// The kernel forgets the CPU time of children that no process waits for, so a number would be too small.
#[test]
fn the_cpu_time_is_not_known_where_connections_come_and_go_and_a_process_ignores_sigchld() {
    let server = format!("ignores=env --ignore-signal=CHLD sleep 1000 & exec {}", as_foreign("epoll-edge"));
    let args = "--starts 1 --slices 1 --slice 60ms --workloads ping,churn --models poll --json";
    let ended = with_server(&server, args);
    let comparison = comparison(ended.exits(0));
    let of = |point| figures(row(&comparison, point, "ignores", false));
    assert!(of("ping")["cpu_us_per_request"].is_object(), "its processes stay: {comparison:#}");
    assert_eq!(of("churn@1")["cpu_us_per_request"], Value::Null, "{comparison:#}");
    assert!(of("churn@1")["user_share"].is_null() && of("churn@1")["cpu"].is_null(), "{comparison:#}");
    assert!(ended.stderr.contains("the CPU time of ignores is not known"), "{ended}");
}
