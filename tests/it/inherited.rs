//! What whoever started a program left to it decides nothing: blocked and ignored signals, closed and non-blocking
//! streams.

use crate::load::program::{Program, io_models};
use crate::load::servers;
use crate::support::{
    DEADLINE, Server, all_models_at_once, ask, blocked, children, connect, forks, is_full, models_at_once,
    nonblocking_pipe, wait_until,
};
use io_models::sys::signal::Signal;
use nix::sys::signal::kill;
use nix::unistd::Pid;
use std::fs;
use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::process::Stdio;
use std::time::{Duration, Instant};

const STOPS: [Signal; 2] = [Signal::SIGTERM, Signal::SIGINT];

#[test]
fn a_server_that_inherits_blocked_signals_hears_them() {
    all_models_at_once(|model| {
        for signal in STOPS {
            let server = blocked(&STOPS, || Server::start(model));
            ask(&connect(server.addr()), b"hello");
            server.signal(signal);
            server.finish(DEADLINE);
        }
    });
}

#[test]
fn a_server_with_processes_collects_them_though_sigchld_was_blocked_or_ignored() {
    models_at_once(forks, |model| {
        let with_blocked = blocked(&[Signal::SIGCHLD], || Server::start(model));
        let with_ignored = Server::of(model).limited("trap '' CHLD").start();
        for server in [with_blocked, with_ignored] {
            let process = server.process();
            for _ in 0..20 {
                ask(&connect(server.addr()), b"hello");
            }
            wait_until("the server has collected its children", || children(&process).is_empty());
            server.stop();
        }
    });
}

#[test]
fn an_ignored_sigint_or_sighup_is_not_for_a_server_and_sigterm_is() {
    all_models_at_once(|model| {
        let server = Server::of(model).limited("trap '' INT HUP TERM").start();
        for signal in [Signal::SIGINT, Signal::SIGHUP] {
            server.signal(signal);
            ask(&connect(server.addr()), b"still here");
        }
        server.stop();
    });
}

#[test]
fn closed_standard_streams_are_the_null_device_and_no_socket() {
    all_models_at_once(|model| {
        let server = Server::of(model).limited("exec <&- 2>&-").start();
        ask(&connect(server.addr()), b"hello");
        for number in [0, 2] {
            let link = fs::read_link(format!("/proc/{}/fd/{number}", server.process().pid()));
            assert_eq!(link.expect("the descriptor is open").to_str(), Some("/dev/null"));
        }
        server.stop();
    });
}

#[test]
fn the_load_generator_hears_a_signal_that_it_inherits_blocked() {
    for signal in STOPS {
        let server = servers::Server::echo();
        let args = format!("load {} -c 2 -d 10m --warmup 10ms --json --quiet", server.addr);
        let load = blocked(&STOPS, || Program::start(&args));
        wait_until("the load is on", || server.answers() > 100);
        load.signal(signal);
        assert_eq!(load.end().exits(128 + signal as i32).json()["partial"], true);
    }
}

#[test]
fn facts_end_with_a_signal_that_they_inherit_blocked() {
    // All of them, which take seconds.
    let facts = blocked(&STOPS, || Program::start("facts --quiet --json"));
    wait_until("the first experiment runs", || !children(&crate::support::process(facts.pid())).is_empty());
    facts.signal(Signal::SIGTERM);
    assert_eq!(facts.end().exits(143).json()["partial"], true);
}

#[test]
fn output_into_a_non_blocking_pipe_is_whole_however_late_it_is_read() {
    let whole = Program::start("facts --list").end();
    let (mut reader, writer) = nonblocking_pipe();
    let ours = writer.try_clone().expect("a copy of a descriptor");
    let mut child = io_models("facts --list").stdout(writer).spawn().expect("it starts");
    assert!(whole.exits(0).stdout.len() > 65536, "more than a pipe holds");
    wait_until("the pipe is full", || is_full(&ours));
    drop(ours);
    let mut said = String::new();
    reader.read_to_string(&mut said).expect("a pipe of ours can be read");
    assert_eq!(child.wait().expect("a child of ours").code(), Some(0));
    assert!(said == whole.stdout, "{} of {} bytes", said.len(), whole.stdout.len());
}

/// Nobody reads the report, so that the load cannot end.
#[test]
fn a_second_ctrl_c_ends_a_program_that_cannot_end_in_order_and_the_same_one_twice_does_not() {
    let server = servers::Server::echo();
    let (mut reader, writer) = nonblocking_pipe();
    while !is_full(&writer) {
        io_models::sys::stdio::write_some(&writer, &[0; 4096]).expect("a pipe of ours can be written");
    }
    let args = format!("load {} -c 2 -d 10m --warmup 10ms --json --quiet --wait sleep", server.addr);
    let mut load = io_models(&args).stdout(writer).stderr(Stdio::null()).spawn().expect("it starts");
    let pid = Pid::from_raw(load.id().cast_signed());
    wait_until("the load is on", || server.answers() > 100);
    let since = Instant::now();
    let mut status = None;
    wait_until("the load is ended by Ctrl-C", || {
        kill(pid, Signal::SIGINT).expect("a child that was not waited for");
        status = load.try_wait().expect("a child of ours");
        status.is_some()
    });
    assert!(since.elapsed() >= Duration::from_millis(500), "one Ctrl-C may arrive several times");
    assert_eq!(status.and_then(|status| status.signal()), Some(Signal::SIGINT as i32));
    let mut said = Vec::new();
    reader.read_to_end(&mut said).expect("a pipe of ours can be read");
    assert!(said.iter().all(|&byte| byte == 0), "there was no room for a report");
}
