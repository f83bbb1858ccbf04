//! The calls that the program counts are the calls that strace(1) sees.
//!
//! strace also sees what the loader, the runtime and the C library do, which is not counted. That
//! does not depend on requests: so the difference must be the same with many requests as with few.

use crate::support::{
    Report, Server, all_models_at_once, ask, children, connect, end_writing, few, has_settled, read_to_end,
    wait_until, worker_processes,
};
use io_models::model::{Model, Runs};
use io_models::sys::calls::Call;
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

const CLIENTS: usize = 20;
const REQUESTS: usize = 25;

type Counts = BTreeMap<String, u64>;

#[test]
#[ignore = "needs strace(1), and permission to trace"]
fn counted_calls_are_those_that_strace_sees() {
    strace_works();
    let folder = tempfile::tempdir().expect("a folder for tables");
    all_models_at_once(|model| {
        // With as many clients, because the runtime does more for the first thread than for the others.
        let (quiet, _) = uncounted(model, &folder.path().join(format!("{}-quiet", model.name)), |server| {
            let clients: Vec<_> = (0..CLIENTS).map(|_| connect(server.addr())).collect();
            if few(model).is_none() {
                clients.iter().for_each(|client| ask(client, b"hello"));
            }
            for client in clients {
                ask(&client, b"hello");
                end_writing(&client);
                assert_eq!(read_to_end(&client), b"");
            }
        });
        let (busy, report) =
            uncounted(model, &folder.path().join(format!("{}-busy", model.name)), |server| {
                talk(model, server)
            });
        let bytes = (CLIENTS * REQUESTS * 5) as u64;
        assert_eq!(report.totals(), (CLIENTS as u64, bytes, bytes));
        let differences: Vec<_> = quiet
            .iter()
            .map(|(&name, &quiet)| (name, quiet, busy[name]))
            .filter(|(name, quiet, busy)| quiet != busy && !is_for_a_thread(model, name))
            .filter(|(name, ..)| !is_interrupted_at_the_stop(model, name))
            .collect();
        assert!(differences.is_empty(), "(call, uncounted with few requests, with many): {differences:?}");
        // Of fcntl, see below, less than nothing may be left.
        let not_made = busy.iter().filter(|&(&name, &uncounted)| uncounted < 0 && name != "fcntl");
        let not_made: Vec<_> = not_made.collect();
        assert!(not_made.is_empty(), "counted, but strace has not seen them: {not_made:?}");
    });
}

/// Calls that the C library and the standard library make when a thread starts and ends: its stack, its signal mask.
fn is_for_a_thread(model: &Model, call: &str) -> bool {
    let has_threads = matches!(model.runs, Runs::ThreadPerClient | Runs::WorkerThreads);
    has_threads && ["mmap", "rt_sigprocmask", "sched_getaffinity"].contains(&call)
}

/// A wait for a record lock begins again when SIGTERM interrupts it, and strace counts it twice.
fn is_interrupted_at_the_stop(model: &Model, call: &str) -> bool {
    model.name == "prefork-flock" && call == "fcntl"
}

fn strace_works() {
    let tried =
        Command::new("strace").args(["-c", "-o", "/dev/null", "true"]).output().expect("strace is installed");
    assert!(tried.status.success(), "strace may not trace here: {}", String::from_utf8_lossy(&tried.stderr));
}

/// For each call that is counted: how many more strace saw.
fn uncounted(
    model: &Model,
    table: &Path,
    clients: impl Fn(&Server),
) -> (BTreeMap<&'static str, i64>, Report) {
    let server = Server::of(model).under_strace(table).start();
    clients(&server);
    // A signal that interrupts the server at work could make it repeat a call, and one that
    // interrupts a wait always does: so the stop comes in a wait.
    let process = server.process();
    wait_until("the server waits", || has_settled(model, &process));
    let report = server.stop();
    let (seen, counted) = (read_table(table), report.calls());
    let of = |counts: &Counts, name| counts.get(name).map_or(0, |&n| n as i64);
    let more = |call: &Call| (call.name(), of(&seen, call.name()) - of(&counted, call.name()));
    // Those of futex(2) are the C library's.
    let mut uncounted: BTreeMap<_, _> =
        Call::ALL.iter().filter(|&&call| call != Call::Futex).map(more).collect();
    if cfg!(debug_assertions) {
        // Before each close of an `OwnedFd`, the standard library asserts by fcntl(F_GETFD) that it
        // is open: a call of debug builds only, and as many as there are closes.
        *uncounted.entry(Call::Fcntl.name()).or_default() -= of(&seen, Call::Close.name());
    }
    (uncounted, report)
}

fn talk(model: &Model, server: &Server) {
    let process = server.process();
    let clients: Vec<_> = (0..CLIENTS).map(|_| connect(server.addr())).collect();
    let all_at_once = few(model).is_none();
    if all_at_once {
        // With a process for each client, all are there before the first ends: a SIGCHLD in the
        // middle of a fork makes the kernel begin that call anew, which strace counts twice.
        clients.iter().for_each(|client| ask(client, b"hello"));
    }
    for client in clients {
        for _ in usize::from(all_at_once)..REQUESTS {
            ask(&client, b"hello");
        }
        end_writing(&client);
        assert_eq!(read_to_end(&client), b"");
    }
    wait_until("all children are collected", || children(&process).len() == worker_processes(model));
}

/// strace's table: the number of calls is the fourth column, the name the last; between them may be
/// a number of errors.
fn read_table(table: &Path) -> Counts {
    let table = std::fs::read_to_string(table).expect("strace wrote its table");
    let rows = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let calls = rows.filter_map(|row| Some(((*row.last()?).to_owned(), row.get(3)?.parse().ok()?)));
    calls.filter(|(name, _)| name != "total").collect()
}
