//! `demo10`: what the parent and its children say when they are told to end, and whom they tell.

use super::{Program, ask_ok, program, server};
use crate::support::{children, connect, process, read_to_end, state, wait_until};
use io_models::sys::fork::{Pid, kill};
use io_models::sys::signal::Signal;
use procfs::process::Process;
use std::collections::BTreeSet;
use std::net::TcpStream;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

const CONNECTED: &str = "客户端已连接(127.0.0.1)。\n";

/// Clients that have been welcomed, so that each has its process, and these processes.
#[track_caller]
fn clients_and_processes(server: &Program, clients: usize) -> (Vec<TcpStream>, Vec<Process>) {
    let clients: Vec<_> = (0..clients).map(|_| connect(server.addr())).collect();
    server.says(CONNECTED.repeat(clients.len()));
    let processes: Vec<_> = children(&server.process()).into_iter().map(process).collect();
    assert_eq!(processes.len(), clients.len(), "a process for each client");
    (clients, processes)
}

/// The last words: first the parent's, then those of each child, in any order. Nothing and nobody is left.
#[track_caller]
fn all_say_goodbye(server: Program, signal: Signal, clients: &[TcpStream], processes: &[Process]) {
    let ended = server.finish();
    assert_eq!(ended.code, Some(0));
    assert_eq!(ended.complaints, "");
    let last = ended.said.strip_prefix(&CONNECTED.repeat(clients.len()));
    let last = last.unwrap_or_else(|| panic!("the clients come first: {}", ended.said));
    let mut lines = last.lines();
    assert_eq!(lines.next(), Some(format!("父进程退出，sig={}", signal as i32).as_str()), "{last}");
    let expected: BTreeSet<_> =
        processes.iter().map(|child| format!("子进程{}退出，sig=15", child.pid)).collect();
    let lines: Vec<_> = lines.map(str::to_owned).collect();
    assert_eq!(lines.len(), processes.len(), "{last}");
    assert_eq!(lines.into_iter().collect::<BTreeSet<_>>(), expected);
    for child in processes {
        assert_eq!(state(child), None, "child {} has ended and was collected", child.pid);
    }
    clients.iter().for_each(|client| assert_eq!(read_to_end(client), b""));
}

#[test]
fn sigterm_and_sigint_end_the_parent_and_its_three_children_and_all_say_so() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let server = server("demo10-fork-server", &[]);
        let (clients, processes) = clients_and_processes(&server, 3);
        server.signal(signal);
        all_say_goodbye(server, signal, &clients, &processes);
    }
}

#[test]
fn without_clients_only_the_parent_says_goodbye() {
    let server = server("demo10-fork-server", &[]);
    server.signal(Signal::SIGINT);
    server.ends(0, "父进程退出，sig=2\n", "");
}

/// A process that is asleep for good, so that a signal to it can be seen: it stays pending. Killed when a
/// test ends.
struct Neighbour(Child);

impl Neighbour {
    /// At the head of a process group of its own.
    #[track_caller]
    fn start() -> Neighbour {
        let mut command = Command::new("sleep");
        let started = command.arg("1000").process_group(0).stdin(Stdio::null()).spawn();
        let neighbour = Neighbour(started.expect("sleep starts"));
        kill(neighbour.pid(), Signal::SIGSTOP).expect("the neighbour is there");
        let process = process(neighbour.pid());
        wait_until("the neighbour is stopped", || state(&process) == Some('T'));
        neighbour
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(self.0.id() as i32)
    }

    /// The signals that it has been sent.
    fn pending(&self) -> u64 {
        process(self.pid()).status().expect("/proc/PID/status").shdpnd
    }
}

impl Drop for Neighbour {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// The original tells everybody in its process group to end: the rest of a pipeline, and a script that
/// started it.
#[test]
fn processes_of_the_same_group_that_are_not_its_children_hear_nothing() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let neighbour = Neighbour::start();
        let server = program("demo10-fork-server").args(&["0"]).group(neighbour.pid()).start_server();
        assert_eq!(server.process().stat().expect("/proc/PID/stat").pgrp, neighbour.pid().as_raw());
        let (clients, processes) = clients_and_processes(&server, 3);
        server.signal(signal);
        all_say_goodbye(server, signal, &clients, &processes);
        assert_eq!(neighbour.pending(), 0, "signals to the neighbour");
        assert_eq!(state(&process(neighbour.pid())), Some('T'));
    }
}

#[test]
fn a_signal_to_a_neighbour_would_be_seen() {
    let neighbour = Neighbour::start();
    kill(neighbour.pid(), Signal::SIGTERM).expect("the neighbour is there");
    assert_ne!(neighbour.pending(), 0);
}

/// What Ctrl-C at a terminal does.
#[test]
fn sigint_to_the_whole_group_is_one_goodbye_of_each() {
    let group = Neighbour::start();
    let server = program("demo10-fork-server").args(&["0"]).group(group.pid()).start_server();
    let (clients, processes) = clients_and_processes(&server, 3);
    nix::sys::signal::killpg(group.pid(), Signal::SIGINT).expect("the group is there");
    all_say_goodbye(server, Signal::SIGINT, &clients, &processes);
}

#[test]
fn a_child_that_is_told_to_end_says_so_and_only_its_client_is_gone() {
    let server = server("demo10-fork-server", &[]);
    let first = connect(server.addr());
    server.says(CONNECTED);
    let child = children(&server.process())[0];
    let second = connect(server.addr());
    server.says(CONNECTED.repeat(2));
    kill(child, Signal::SIGTERM).expect("the child is there");
    assert_eq!(read_to_end(&first), b"");
    let session = format!("{}子进程{child}退出，sig=15\n", CONNECTED.repeat(2));
    server.says(&session);
    let process = server.process();
    wait_until("the child is collected", || children(&process).len() == 1);
    ask_ok(&second, b"still here");
    let session = format!("{session}接收：still here\n发送：ok\n");
    server.says(&session);
    ask_ok(&connect(server.addr()), b"new");
    server.says(format!("{session}{CONNECTED}接收：new\n发送：ok\n"));
}

#[test]
fn a_client_that_has_ended_is_an_invalid_argument_as_the_course_says() {
    let server = server("demo10-fork-server", &[]);
    let process = server.process();
    for i in 1..=3 {
        ask_ok(&connect(server.addr()), b"hello");
        server.complains(&"recv(): Invalid argument\n".repeat(i));
        wait_until("the child is collected", || children(&process).is_empty());
    }
    let session = format!("{CONNECTED}接收：hello\n发送：ok\n").repeat(3);
    server.says(&session);
    server.signal(Signal::SIGTERM);
    server.ends(0, session + "父进程退出，sig=15\n", &"recv(): Invalid argument\n".repeat(3));
}

#[test]
fn a_connection_that_breaks_is_told_by_its_name() {
    let server = server("demo10-fork-server", &[]);
    let client = connect(server.addr());
    server.says(CONNECTED);
    crate::support::reset(client);
    server.complains("recv(): Connection reset by peer\n");
}
