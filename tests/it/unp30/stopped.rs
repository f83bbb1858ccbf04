//! A measurement that does not come to its end leaves its figures, and no process.

use super::{document, rows};
use crate::compare::processes::Family;
use crate::load::program::Program;
use crate::support::wait_until;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::collections::HashSet;

/// The iterative server and poll, and more rounds than any test waits for.
const ENDLESS: &str = "unp30 --rounds 100000 --connections 20 --models poll --json --quiet";

/// The turns of a round: two servers under two loads.
const ROUND: usize = 4;

/// Start a measurement, and wait until it has begun with its third round.
fn in_the_middle() -> (Family, Program) {
    let (family, program) = Family::start(ENDLESS);
    let mut servers = HashSet::new();
    wait_until("two rounds are over", || {
        servers.extend(family.started_with("serve").iter().map(|server| server.pid));
        servers.len() > 2 * ROUND
    });
    (family, program)
}

#[test]
fn ctrl_c_in_the_middle_gives_130_and_what_was_measured_and_leaves_no_process() {
    let (family, program) = in_the_middle();
    program.signal(Signal::SIGINT);
    let ended = program.end();
    let document = document(ended.exits(130));
    assert_eq!(document["partial"], true);
    assert_eq!(rows(&document).len(), ROUND, "{document:#}");
    for row in rows(&document) {
        assert_eq!(row["status"], "measured", "{row:#}");
        assert!(row["runs"].as_array().is_some_and(|runs| runs.len() >= 2), "{row:#}");
        assert!(row["control_cpu_s"]["median"].is_number(), "{row:#}");
    }
    family.ends();
}

#[test]
fn ctrl_c_before_the_first_run_gives_130_and_rows_that_say_so() {
    let (family, program) = Family::start(&ENDLESS.replace("--connections 20", "--connections 20000"));
    wait_until("the first server runs", || !family.started_with("serve").is_empty());
    program.signal(Signal::SIGINT);
    let document = document(program.end().exits(130));
    assert!(rows(&document).iter().all(|row| row["status"] == "measured" || row["reason"].is_string()));
    family.ends();
}

#[test]
fn servers_and_clients_end_by_themselves_when_the_measurement_is_killed() {
    let (family, program) = in_the_middle();
    program.signal(Signal::SIGKILL);
    drop(program);
    family.ends();
}

#[test]
fn a_server_that_is_killed_fails_its_own_row_and_no_other() {
    let (family, program) = in_the_middle();
    wait_until("a server of poll is killed", || {
        family.started_with("poll").iter().any(|server| {
            server.cmdline().is_ok_and(|line| line.contains(&"serve".to_owned()))
                && kill(Pid::from_raw(server.pid), Signal::SIGKILL).is_ok()
        })
    });
    fails_one_row_of(&["poll"], &family, program);
}

#[test]
fn a_client_that_is_killed_fails_one_row_and_the_others_go_on_with_new_clients() {
    let (family, program) = in_the_middle();
    let clients = family.started_with("--follow-orders");
    assert_eq!(clients.len(), 5, "{clients:?}");
    for client in &clients {
        let allowed = client.status().expect("/proc/PID/status").cpus_allowed_list.expect("processors");
        assert!(matches!(allowed[..], [(first, last)] if first == last), "pinned to one: {allowed:?}");
    }
    kill(Pid::from_raw(clients[2].pid), Signal::SIGKILL).expect("a process of ours");
    fails_one_row_of(&["poll", "blocking"], &family, program);
}

/// Wait until two more rounds are over, press Ctrl-C, and see that one row has failed, of one of these models.
#[track_caller]
fn fails_one_row_of(models: &[&str], family: &Family, program: Program) {
    let mut servers = HashSet::new();
    wait_until("two more rounds are over", || {
        servers.extend(family.started_with("serve").iter().map(|server| server.pid));
        servers.len() > 2 * ROUND
    });
    program.signal(Signal::SIGINT);
    let ended = program.end();
    let document = document(ended.exits(1));
    let (failed, others): (Vec<_>, Vec<_>) =
        rows(&document).iter().partition(|row| row["status"] == "failed");
    assert_eq!((failed.len(), others.len()), (1, ROUND - 1), "{document:#}");
    assert!(others.iter().all(|row| row["status"] == "measured"), "{document:#}");
    let [model, load, reason] = ["model", "load", "reason"].map(|name| failed[0][name].as_str().expect(name));
    assert!(models.contains(&model), "{model}: {reason}");
    ended.says_one_line(&[&format!("{model} under {load} failed: {reason}")]);
    family.ends();
}
