//! Workers that take turns in accept(2): one waits there, the others wait for a lock.

use crate::support::{Server, WORKERS, ask, children, connect, models_at_once, wait_until};
use io_models::model::Model;
use io_models::sys::fork::Pid;
use io_models::sys::signal::Signal;
use nix::libc::{SYS_accept4, SYS_fcntl, SYS_futex};
use nix::sys::signal::kill;
use std::fs::read_to_string;

/// The call in which the others wait.
fn waits_in(model: &Model) -> Option<i64> {
    match model.name {
        "prefork-flock" => Some(SYS_fcntl),
        "prefork-mutex" => Some(SYS_futex),
        _ => None,
    }
}

fn has_lock(model: &Model) -> bool {
    waits_in(model).is_some()
}

/// The system call in which the process waits: /proc/PID/syscall, which begins with its number.
fn call_of(pid: Pid) -> Option<i64> {
    let call = read_to_string(format!("/proc/{pid}/syscall")).ok()?;
    call.split_whitespace().next()?.parse().ok()
}

/// Wait until all workers are there, one of them in accept, the others in their lock. Returns the one.
#[track_caller]
fn holder(server: &Server, model: &Model) -> Pid {
    let process = server.process();
    let mut holder = None;
    wait_until("one worker waits in accept, and the others wait for the lock", || {
        let calls: Vec<_> = children(&process).into_iter().map(|pid| (pid, call_of(pid))).collect();
        let (in_accept, others): (Vec<_>, Vec<_>) =
            calls.into_iter().partition(|&(_, call)| call == Some(SYS_accept4));
        holder = in_accept.first().map(|&(pid, _)| pid);
        in_accept.len() == 1
            && others.len() == WORKERS - 1
            && others.iter().all(|&(_, call)| call == waits_in(model))
    });
    holder.expect("the wait has found it")
}

#[test]
fn the_accept_lock_is_released_when_its_holder_dies() {
    models_at_once(has_lock, |model| {
        let server = Server::start(model);
        for _ in 0..2 * WORKERS {
            let holder = holder(&server, model);
            kill(holder, Signal::SIGKILL).expect("the worker is there");
            // Before that it could still accept a client, and take it with it.
            wait_until("the worker is gone", || !children(&server.process()).contains(&holder));
            ask(&connect(server.addr()), b"hello");
        }
        holder(&server, model);
        let report = server.stop_after_saying("has ended before the server");
        assert_eq!(report.number("replaced"), 2 * WORKERS as u64);
    });
}

#[test]
fn a_worker_that_dies_while_it_waits_for_the_lock_takes_nobody_with_it() {
    models_at_once(has_lock, |model| {
        let server = Server::start(model);
        let holder_before = holder(&server, model);
        let workers = children(&server.process());
        for pid in workers.into_iter().filter(|&pid| pid != holder_before) {
            kill(pid, Signal::SIGKILL).expect("the worker is there");
        }
        assert_eq!(holder(&server, model), holder_before);
        let clients: Vec<_> = (0..WORKERS).map(|_| connect(server.addr())).collect();
        clients.iter().for_each(|client| ask(client, b"hello"));
        drop(clients);
        server.stop_after_saying("has ended before the server");
    });
}

#[test]
fn workers_that_wait_for_the_lock_end_in_turn_at_a_stop() {
    models_at_once(has_lock, |model| {
        let server = Server::start(model);
        holder(&server, model);
        let report = server.stop();
        // SIGTERM to each; SIGKILL would be more.
        assert_eq!(report.calls().get("kill"), Some(&(WORKERS as u64)), "calls of kill(2)");
    });
}
