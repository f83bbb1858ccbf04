//! A comparison that does not come to its end leaves its figures, and no process.

use super::processes::Family;
use super::{comparison, figures, row, rows};
use crate::load::program::Program;
use crate::support::{DEADLINE, wait_until};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use procfs::process::Process;
use std::thread;
use std::time::{Duration, Instant};

/// The baseline twice, fork and poll, and more slices than any test waits for.
const ENDLESS: &str = "compare --workloads ping --models fork,poll --starts 1 --slices 100000 --slice 40ms";

/// Start a comparison, and wait until all of its servers have had turns.
pub(super) fn in_the_middle(args: &str) -> (Family, Program) {
    let (family, mut program) = Family::start(&format!("{ENDLESS} {args}"));
    // A server each, and a process for each client of fork.
    let all_run = || family.started_with("serve").len() == 4 + 64 && family.started_with("load").len() == 4;
    program = wait_for(program, "all servers and generators run", all_run);
    program = wait_for_turns(&family, program, 4);
    (family, program)
}

/// Wait until each of so many servers has had a turn.
pub(super) fn wait_for_turns(family: &Family, mut program: Program, servers: usize) -> Program {
    // A generator sleeps after each of its turns, and spins while it is on.
    let sleeps = || family.started_with("load").iter().filter_map(times_asleep).collect::<Vec<_>>();
    let had_turns =
        |before: &[u64]| sleeps().iter().zip(before).filter(|&(now, before)| *now >= before + 2).count();
    let before = sleeps();
    // Not only one, which could be the last to open its connections.
    program = wait_for(program, "servers take turns", || had_turns(&before) >= 2);
    let before = sleeps();
    wait_for(program, "each server has had a turn", || had_turns(&before) == servers)
}

/// Wait for a state of `program`, and if it does not come, have it say why.
#[track_caller]
fn wait_for(program: Program, what: &str, mut condition: impl FnMut() -> bool) -> Program {
    let until = Instant::now() + DEADLINE;
    while !condition() {
        if Instant::now() > until {
            program.signal(Signal::SIGINT);
            panic!("not within {DEADLINE:?}: {what}; instead: {}", program.end());
        }
        thread::sleep(Duration::from_millis(1));
    }
    program
}

fn times_asleep(process: &Process) -> Option<u64> {
    process.status().ok()?.voluntary_ctxt_switches
}

#[test]
fn ctrl_c_in_the_middle_gives_130_and_what_was_measured_and_leaves_no_process() {
    let (family, program) = in_the_middle("--json");
    program.signal(Signal::SIGINT);
    let ended = program.end();
    let comparison = comparison(ended.exits(130));
    assert_eq!(comparison["partial"], true);
    assert_eq!(rows(&comparison).len(), 4, "{comparison:#}");
    for row in rows(&comparison) {
        assert!(figures(row)["slices"].as_u64() >= Some(1), "{row:#}");
    }
    family.ends();
}

#[test]
fn sigterm_in_the_middle_gives_143_and_a_partial_table_and_leaves_no_process() {
    let (family, program) = in_the_middle("");
    program.signal(Signal::SIGTERM);
    let ended = program.end();
    assert!(ended.exits(143).stdout.starts_with("PARTIAL"), "{}", ended.stdout);
    assert!(ended.stdout.contains("| epoll-level (A/A) "), "{}", ended.stdout);
    family.ends();
}

#[test]
fn ctrl_c_while_servers_are_started_gives_130_and_rows_that_say_so_and_leaves_no_process() {
    let (family, program) = Family::start(&format!("{ENDLESS} --json"));
    wait_until("the first server runs", || !family.started_with("serve").is_empty());
    program.signal(Signal::SIGINT);
    let ended = program.end();
    let comparison = comparison(ended.exits(130));
    assert_eq!(comparison["partial"], true);
    assert_eq!(rows(&comparison).len(), 4, "{comparison:#}");
    for row in rows(&comparison) {
        assert!(row["status"] == "measured" || row["reason"].is_string(), "{row:#}");
    }
    family.ends();
}

#[test]
fn servers_and_generators_end_by_themselves_when_the_comparison_is_killed() {
    let (family, program) = in_the_middle("");
    program.signal(Signal::SIGKILL);
    drop(program);
    family.ends();
}

#[test]
fn a_server_that_is_killed_in_the_middle_fails_its_own_row_and_no_other() {
    let (family, program) = in_the_middle("--json --quiet");
    kill_one(&family.started_with("poll")[0]);
    wait_until("the comparison ends the generator too", || family.started_with("load").len() == 3);
    let (failed, reason) = the_row_that_failed(&family, program);
    assert!(failed.starts_with("poll"), "{failed}: {reason}");
}

#[test]
fn a_generator_that_is_killed_in_the_middle_fails_its_own_row_and_no_other() {
    let (family, program) = in_the_middle("--json --quiet");
    kill_one(&family.started_with("load")[0]);
    wait_until("the comparison ends the server too", || family.started_with("serve").len() < 4 + 64);
    let (_, reason) = the_row_that_failed(&family, program);
    assert!(reason.contains("ended"), "{reason}");
}

#[test]
fn a_baseline_that_is_killed_in_the_middle_leaves_no_ratio_and_no_verdict() {
    let (family, program) = in_the_middle("--json --quiet");
    // They are started in random order, so both servers of the baseline are killed.
    let servers = family.started_with("epoll-level");
    servers.iter().for_each(kill_one);
    wait_until("the comparison ends their generators too", || family.started_with("load").len() == 2);
    program.signal(Signal::SIGINT);
    let comparison = comparison(program.end().exits(1));
    assert_eq!(row(&comparison, "ping", "epoll-level", false)["status"], "failed", "{comparison:#}");
    for row in rows(&comparison).into_iter().filter(|row| row["status"] != "failed") {
        let figures = figures(row);
        assert!(figures["rate"].is_null() && figures["cpu"].is_null(), "{row:#}");
        assert_eq!(figures["not_judged"], "no baseline to judge by", "{row:#}");
    }
    family.ends();
}

fn kill_one(process: &Process) {
    kill(Pid::from_raw(process.pid), Signal::SIGKILL).expect("a process of ours");
}

/// Press Ctrl-C, and see which model failed and why, and that the others were measured.
#[track_caller]
fn the_row_that_failed(family: &Family, program: Program) -> (String, String) {
    program.signal(Signal::SIGINT);
    let ended = program.end();
    let comparison = comparison(ended.exits(1));
    let (failed, others): (Vec<_>, Vec<_>) =
        rows(&comparison).into_iter().partition(|r| r["status"] == "failed");
    assert_eq!((failed.len(), others.len()), (1, 3), "{comparison:#}");
    assert!(others.iter().all(|row| row["status"] == "measured"), "{comparison:#}");
    let text = |name: &str| failed[0][name].as_str().expect(name).to_owned();
    let (model, reason) = (text("entrant"), text("reason"));
    ended.says_one_line(&[&format!("{model} under ping failed: {reason}")]);
    family.ends();
    (model, reason)
}

#[test]
fn a_comparison_that_is_done_leaves_no_process() {
    let (family, program) =
        Family::start("compare --starts 2 --slices 1 --slice 300ms --workloads ping --models fork");
    program.end().exits(0);
    assert!(family.members().is_empty(), "{:?}", family.members());
}
