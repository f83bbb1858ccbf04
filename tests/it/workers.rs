//! Workers: one that ends is replaced and takes only its own clients with it, all end together, and what cannot be started is
//! told.

use crate::support::{
    DEADLINE, IN_TIME, Server, WORKERS, ask, children, connect, copy_for_everybody, each_model, is_full,
    is_idle, is_root, lowest_free_descriptor, models_at_once, process, read_to_end, room_for_descriptors,
    state, wait_for_end, wait_until, waits_cheaply, without_threads,
};
use io_models::model::{ALL, Clients, Model, Runs};
use io_models::sys::fork::Pid;
use io_models::sys::signal::Signal;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::signal::kill;
use procfs::process::{FDTarget, Process, all_processes};
use std::collections::HashSet;
use std::io::{PipeReader, PipeWriter, Write};
use std::net::TcpStream;
use std::os::unix::process::CommandExt;
use std::process::{Command, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// A worker process is not replaced sooner than this after it was started.
const RESTART: Duration = Duration::from_millis(100);

fn has_processes(model: &Model) -> bool {
    model.runs == Runs::WorkerProcesses
}

fn has_threads(model: &Model) -> bool {
    model.runs == Runs::WorkerThreads
}

/// The sockets of a server and its workers, each with who has it. (`/proc/net/tcp` tells more, but takes long on a busy machine.)
fn sockets(server: &Process) -> Vec<(Pid, u64)> {
    let mut all = Vec::new();
    for pid in children(server).into_iter().chain([Pid::from_raw(server.pid)]) {
        let open = Process::new(pid.as_raw()).and_then(|process| process.fd());
        all.extend(open.into_iter().flatten().flatten().filter_map(|open| match open.target {
            FDTarget::Socket(inode) => Some((pid, inode)),
            _ => None,
        }));
    }
    all
}

/// A client that has been answered `hello`, and its worker.
#[track_caller]
fn client_and_worker(server: &Server) -> (TcpStream, Pid) {
    let before: HashSet<_> = sockets(&server.process()).into_iter().map(|(_, inode)| inode).collect();
    let client = connect(server.addr());
    ask(&client, b"hello");
    let its = sockets(&server.process()).into_iter().find(|(_, inode)| !before.contains(inode));
    (client, its.expect("one of the workers has the connection").0)
}

/// Such clients, at least one for each worker. What is new among the sockets is a client's only when the workers have theirs.
#[track_caller]
fn clients_of_all_workers(server: &Server) -> Vec<(TcpStream, Pid)> {
    wait_for_workers(&server.process());
    let (mut clients, mut workers) = (Vec::new(), HashSet::new());
    wait_until("each worker has a client", || {
        let (client, worker) = client_and_worker(server);
        workers.insert(worker);
        clients.push((client, worker));
        workers.len() == WORKERS
    });
    clients
}

/// Wait until there are as many workers as before, and none of these.
#[track_caller]
fn wait_for_others(server: &Process, gone: &[Pid]) {
    wait_until("other processes have taken the places", || {
        let now = children(server);
        now.len() == WORKERS && gone.iter().all(|pid| !now.contains(pid))
    });
}

#[track_caller]
fn wait_for_workers(server: &Process) {
    wait_until("all workers are there and wait", || children(server).len() == WORKERS && is_idle(server));
}

#[test]
fn a_worker_that_is_killed_takes_only_its_clients_with_it_and_is_replaced() {
    models_at_once(has_processes, |model| {
        let server = Server::start(model);
        let process = server.process();
        let clients = clients_of_all_workers(&server);
        // A worker counts a request just after its answer.
        wait_until("the workers wait", || is_idle(&process));
        let victim = clients[0].1;
        kill(victim, Signal::SIGKILL).expect("the worker is there");
        let (lost, others): (Vec<_>, Vec<_>) = clients.iter().partition(|(_, worker)| *worker == victim);
        lost.iter().for_each(|(client, _)| assert_eq!(wait_for_end(client), 0));
        others.iter().for_each(|(client, _)| ask(client, b"undisturbed"));
        wait_for_others(&process, &[victim]);
        let (first, undisturbed) = (clients.len(), others.len());
        drop(clients);
        let all = first + clients_of_all_workers(&server).len();
        let report = server.stop_after_saying("has ended before the server");
        assert_eq!(report.number("replaced"), 1);
        let bytes = (5 * all + 11 * undisturbed) as u64;
        assert_eq!(report.totals(), (all as u64, bytes, bytes));
    });
}

#[test]
fn a_worker_that_is_told_to_end_answers_its_clients_first_and_is_replaced() {
    models_at_once(has_processes, |model| {
        let server = Server::start(model);
        let process = server.process();
        let clients = clients_of_all_workers(&server);
        let worker = clients[0].1;
        kill(worker, Signal::SIGSTOP).expect("the worker is there");
        wait_until("the worker is stopped", || state(&self::process(worker)) == Some('T'));
        (&clients[0].0).write_all(b"last words").expect("the kernel takes it");
        for signal in [Signal::SIGTERM, Signal::SIGCONT] {
            kill(worker, signal).expect("the worker is there");
        }
        assert_eq!(read_to_end(&clients[0].0), b"last words");
        for (client, its) in &clients[1..] {
            if *its == worker {
                assert_eq!(read_to_end(client), b"");
            } else {
                ask(client, b"undisturbed");
            }
        }
        wait_for_others(&process, &[worker]);
        drop(clients);
        clients_of_all_workers(&server);
        assert_eq!(server.stop_after_saying("has ended before the server").number("replaced"), 1);
    });
}

/// One that waits for a lock ends when it is its turn, so all are told.
#[test]
fn workers_without_a_client_that_are_told_to_end_end_and_take_no_client_with_them() {
    models_at_once(has_processes, |model| {
        let server = Server::start(model);
        let process = server.process();
        wait_for_workers(&process);
        let workers = children(&process);
        workers.iter().for_each(|&pid| kill(pid, Signal::SIGTERM).expect("the worker is there"));
        wait_for_others(&process, &workers);
        let clients = clients_of_all_workers(&server).len() as u64;
        let report = server.stop_after_saying("has ended before the server");
        assert_eq!((report.number("replaced"), report.number("connections")), (WORKERS as u64, clients));
    });
}

#[test]
fn a_worker_that_dies_again_and_again_is_replaced_after_a_pause_each_time() {
    models_at_once(has_processes, |model| {
        let server = Server::start(model);
        let process = server.process();
        let started = Instant::now();
        // What is counted is how often workers are started, so this is a stretch of time.
        while started.elapsed() < Duration::from_secs(1) {
            children(&process).into_iter().for_each(|pid| kill(pid, Signal::SIGKILL).unwrap_or(()));
            sleep(Duration::from_millis(1));
        }
        wait_for_workers(&process);
        ask(&connect(server.addr()), b"hello");
        let report = server.stop_after_saying("has ended before the server");
        let replaced = report.number("replaced");
        let most = WORKERS as u128 * (started.elapsed().as_millis() / RESTART.as_millis() + 1);
        assert!(replaced > WORKERS as u64, "{replaced} replaced");
        assert!(u128::from(replaced) <= most, "{replaced} replaced, at most {most}");
    });
}

/// The parent has descriptors enough, and its workers have not: the next would fail as well.
#[test]
fn a_worker_that_fails_before_it_has_served_anybody_ends_the_server_with_its_error() {
    let serve = "ulimit -n 10; exec \"$0\" serve reuseport-processes --workers 1";
    let mut command = Command::new("timeout");
    command.args(["30", "sh", "-c", serve, env!("CARGO_BIN_EXE_io-models")]);
    let ended = command.output().expect("it starts");
    let complaint = String::from_utf8(ended.stderr).expect("standard error is text");
    assert_eq!(ended.status.code(), Some(1), "{complaint}");
    assert!(complaint.contains("Too many open files"), "{complaint}");
    assert_eq!(complaint.matches('\n').count(), 1, "not one line: {complaint}");
}

/// At the stop they find the listener shut down, perhaps before SIGTERM comes.
#[test]
fn workers_that_wait_for_a_client_at_the_stop_have_told_what_they_did() {
    models_at_once(
        |model| has_processes(model) && model.clients == Clients::Workers && model.name != "prefork-passing",
        |model| {
            let open = Server::start(model);
            wait_for_workers(&open.process());
            let worker = process(children(&open.process())[0]);
            let needed = lowest_free_descriptor(&worker);
            open.stop();
            // None is left for a client, which each worker finds out by itself, and says.
            let server = Server::of(model).limited(&format!("ulimit -n {needed}")).start();
            server.wait_for_complaint();
            server.signal(Signal::SIGTERM);
            let (report, complaints) = server.report_and_complaints(DEADLINE);
            let told = complaints.matches("no descriptor is left").count() as u64;
            // One may find it out just when it is told to stop, and says nothing then.
            let times_full = report.number("times_full");
            assert!((told..=WORKERS as u64).contains(&times_full), "{times_full} times, and {told} told");
        },
    );
}

#[test]
fn a_standard_error_that_nobody_reads_stops_no_server() {
    let (_reader, writer) = full_pipe();
    let mut serve = Command::new(env!("CARGO_BIN_EXE_io-models"));
    serve.args(["serve", "prefork", "--workers", "2"]).stdout(Stdio::null()).stderr(writer);
    let mut server = serve.spawn().expect("it starts");
    let parent = process(Pid::from_raw(server.id() as i32));
    wait_until("the workers are there", || children(&parent).len() == 2 && is_idle(&parent));
    let first = children(&parent);
    first.iter().for_each(|&pid| kill(pid, Signal::SIGKILL).expect("the worker is there"));
    wait_until("others have taken the places", || {
        let now = children(&parent);
        now.len() == 2 && now.iter().all(|pid| !first.contains(pid))
    });
    kill(Pid::from_raw(server.id() as i32), Signal::SIGTERM).expect("the server is there");
    let mut status = None;
    wait_until("the server has ended", || {
        status = server.try_wait().expect("the status of a child of ours");
        status.is_some()
    });
    assert!(status.is_some_and(|status| status.success()), "{status:?}");
}

/// A pipe whose writers wait.
fn full_pipe() -> (PipeReader, PipeWriter) {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    let set = |flags| fcntl(&writer, FcntlArg::F_SETFL(flags)).expect("the flags of a pipe");
    set(OFlag::O_NONBLOCK);
    while (&writer).write(&[b'.'; 4096]).is_ok() {}
    set(OFlag::empty());
    assert!(is_full(&writer), "the pipe has room");
    (reader, writer)
}

/// Workers, and clients that are connected at the same time.
fn crowd(model: &Model) -> (usize, usize) {
    match (model.clients, model.runs) {
        (Clients::Workers, Runs::WorkerProcesses) => (200, 200),
        (Clients::Workers, _) => (1000, 1000),
        _ => (WORKERS, 1000),
    }
}

#[test]
fn a_thousand_clients_of_workers_see_an_orderly_end() {
    room_for_descriptors(2048);
    each_model(|model| {
        if !model.has_workers() {
            return;
        }
        let (workers, clients) = crowd(model);
        let server = Server::of(model).workers(workers).start();
        let clients: Vec<_> = (0..clients).map(|_| connect(server.addr())).collect();
        clients.iter().for_each(|client| ask(client, b"hello"));
        let told = Instant::now();
        server.signal(Signal::SIGTERM);
        clients.iter().for_each(|client| assert_eq!(read_to_end(client), b""));
        let seen = told.elapsed();
        let report = server.finish(IN_TIME);
        println!(
            "{}: {} clients saw the end after {seen:.1?}, all of {workers} workers had ended after {:.1?}",
            model.name,
            clients.len(),
            told.elapsed()
        );
        assert_eq!(report.number("connections"), clients.len() as u64);
    });
}

/// One line that says why it cannot start, and what to do.
#[track_caller]
fn assert_says_why(ended: &Output) {
    let complaint = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(1), "{complaint}");
    assert_eq!(complaint.matches('\n').count(), 1, "not one line: {complaint:?}");
    assert!(complaint.contains("clone") && complaint.contains("raise `ulimit -u`"), "{complaint:?}");
}

#[test]
fn without_threads_for_its_workers_a_server_ends_and_says_why() {
    models_at_once(has_threads, |model| {
        let mut serve = Command::new("timeout");
        serve.args(["30", env!("CARGO_BIN_EXE_io-models"), "serve", model.name, "--workers", "3"]);
        assert_says_why(&without_threads(|| serve.output()).expect("a process may be started"));
    });
}

/// A user who has no processes, and is another one for each run, test and model: `RLIMIT_NPROC` counts those of a user.
fn nobody_else(test: u32, model: &Model) -> u32 {
    let row = ALL.iter().position(|row| row.name == model.name).expect("a row of the table");
    300_000 + 128 * std::process::id() + 64 * test + row as u32
}

#[test]
#[ignore = "needs root, to start a server as another user"]
fn without_processes_for_its_workers_a_server_ends_says_why_and_leaves_none() {
    assert!(is_root(), "only root can start a server as another user");
    let (_folder, program) = copy_for_everybody();
    models_at_once(Model::has_workers, |model| {
        let user = nobody_else(0, model);
        let limited = "ulimit -u 20 2>/dev/null || ulimit -p 20; exec \"$0\" \"$@\"";
        let mut serve = Command::new("timeout");
        serve.args(["30", "sh", "-c", limited]).arg(&program).args(["serve", model.name, "--workers", "50"]);
        assert_says_why(&serve.uid(user).gid(user).output().expect("it starts"));
        let left = all_processes()
            .expect("/proc")
            .flatten()
            .filter(|process| process.uid().is_ok_and(|uid| uid == user));
        let left: Vec<_> = left.map(|process| process.pid).collect();
        assert!(left.is_empty(), "processes that are left: {left:?}");
    });
}

/// Let the server of that user have so many processes from now on. The hard limit stays.
#[track_caller]
fn limit_processes(server: &Process, user: u32, most: u32) {
    let mut prlimit = Command::new("prlimit");
    prlimit.args([format!("--pid={}", server.pid), format!("--nproc={most}:")]).uid(user).gid(user);
    assert!(prlimit.status().is_ok_and(|status| status.success()), "prlimit(1) sets a limit");
}

#[test]
#[ignore = "needs root, to start a server as another user"]
fn a_worker_that_cannot_be_replaced_is_tried_again_told_once_and_costs_nothing_meanwhile() {
    assert!(is_root(), "only root can start a server as another user");
    let (_folder, program) = copy_for_everybody();
    models_at_once(has_processes, |model| {
        let user = nobody_else(1, model);
        let server = Server::of(model).program(&program).user(user).start();
        let process = server.process();
        wait_for_workers(&process);
        limit_processes(&process, user, 1);
        kill(children(&process)[0], Signal::SIGKILL).expect("the worker is there");
        wait_until("the worker is collected", || children(&process).len() == WORKERS - 1);
        waits_cheaply(&process);
        assert_eq!(children(&process).len(), WORKERS - 1, "the limit holds");
        limit_processes(&process, user, 1000);
        wait_for_workers(&process);
        drop(clients_of_all_workers(&server));
        server.signal(Signal::SIGTERM);
        let (report, complaints) = server.report_and_complaints(DEADLINE);
        assert_eq!(report.number("replaced"), 1);
        assert_eq!(
            complaints.matches("no process is left in the place of a worker").count(),
            1,
            "{complaints}"
        );
    });
}
