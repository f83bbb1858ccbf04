//! No descriptor, or no process, for another client, or no room for a signal: nobody is refused, and nothing spins.

use crate::support::{
    DEADLINE, Server, Starter, all_models_at_once, ask, connect, copy_for_everybody, few, has_settled,
    is_idle, is_root, leaves_it_to_a_ring, lowest_free_descriptor, models_at_once, room_for_descriptors,
    state, stuff, wait_for_end, wait_until, waits_cheaply, without, without_threads,
};
use io_models::model::{Clients, Model, Runs, Waits, find};
use io_models::sys::calls::Call;
use io_models::sys::signal::Signal;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::thread;

/// `blocking` has one client and never needs another descriptor, and a worker of `prefork` neither; the parent of `fork` hands
/// each to a child and closes its copy, so that for `fork` the limit on processes is the one that is met.
fn keeps_its_clients(model: &Model) -> bool {
    few(model).is_none() && model.runs != Runs::ProcessPerClient
}

/// Each process has as many descriptors as the limit says, and several would together have enough.
fn of_one_process(model: &Model) -> Starter {
    let server = Server::of(model);
    if model.runs == Runs::WorkerProcesses { server.workers(1) } else { server }
}

#[test]
fn without_a_descriptor_for_them_clients_wait_and_all_are_served() {
    models_at_once(keeps_its_clients, |model| {
        let server = of_one_process(model).limited("ulimit -n 32").start();
        crowd_is_served_and_nothing_spins(model, server, 100, "no descriptor is left");
    });
}

/// A ring gives each client a descriptor only at the end, so it must not have more clients than there are descriptors for.
#[test]
fn clients_of_a_ring_get_their_answers_at_the_end_though_others_use_some_descriptors() {
    // `uring-reuseport` needs more descriptors for itself.
    let ring = |model: &Model| model.name == "uring";
    models_at_once(ring, |model| {
        // sh knows no numbers of two digits.
        let opens = "exec 15<&0 16<&0 17<&0 18<&0 19<&0; ulimit -n 20; exec \"$0\" \"$@\"";
        let server = Server::of(model).limited(&format!("exec bash -c '{opens}' \"$0\" \"$@\"")).start();
        let process = server.process();
        let clients: Vec<_> = (0..16).map(|_| connect(server.addr())).collect();
        let settled = || wait_until("the server has done what it can", || is_idle(&process));
        server.wait_for_complaint();
        settled();
        // Nobody reads, so that the server has answers that it could not send.
        let sent: Vec<u64> = clients.iter().map(stuff).collect();
        settled();
        server.signal(Signal::SIGTERM);
        let got: u64 = thread::scope(|scope| {
            let readers: Vec<_> = clients.iter().map(|client| scope.spawn(|| wait_for_end(client))).collect();
            readers.into_iter().map(|reader| reader.join().expect("it reads until the end")).sum()
        });
        let (report, _) = server.report_and_complaints(DEADLINE);
        let (connections, received, answered) = report.totals();
        assert!((1..16).contains(&connections), "{connections} of 16 clients were served");
        assert_eq!((answered, got), (received, received), "of {sent:?}");
    });
}

/// io_uring_enter(2): "The application should wait for some completions and try again."
#[test]
#[ignore = "needs strace(1), and permission to trace"]
fn a_ring_for_which_the_kernel_has_no_memory_at_times_serves_everybody() {
    let has_a_ring = |model: &Model| model.name.starts_with("uring");
    models_at_once(has_a_ring, |model| {
        let server = Server::of(model).failing("io_uring_enter", "EAGAIN", "10+5").start();
        let clients: Vec<_> = (0..20).map(|_| connect(server.addr())).collect();
        for _ in 0..20 {
            clients.iter().for_each(|client| ask(client, b"hello"));
        }
        drop(clients);
        assert_eq!(server.stop().totals(), (20, 2_000, 2_000));
    });
}

/// Whether each client has a process or a thread.
fn has_one_each(model: &Model) -> bool {
    matches!(model.runs, Runs::ProcessPerClient | Runs::ThreadPerClient)
}

/// RLIMIT_NPROC counts the processes of a user, so the server runs as a user who has no others.
#[test]
#[ignore = "needs root, to start a server as another user"]
fn without_a_process_for_them_clients_wait_and_all_are_served() {
    assert!(is_root(), "only root can start a server as another user");
    let (_folder, program) = copy_for_everybody();
    models_at_once(has_one_each, |model| {
        // dash calls it -p, everybody else -u. The number is one that nobody has, and another for
        // each run, so that two runs at the same time do not count each other's processes.
        let user = 200_000 + std::process::id();
        let server = Server::of(model).program(&program).user(user);
        let server = server.limited("ulimit -u 20 2>/dev/null || ulimit -p 20").start();
        crowd_is_served_and_nothing_spins(model, server, 100, "is left for another client (ulimit -u");
    });
}

#[test]
fn beyond_the_clients_that_a_model_can_watch_others_wait_and_all_are_served() {
    room_for_descriptors(4096);
    models_at_once(watches_so_many, |model| {
        let Clients::UpTo { most, .. } = model.clients else { return };
        crowd_is_served_and_nothing_spins(model, Server::start(model), most + 100, "cannot watch");
    });
}

fn watches_so_many(model: &Model) -> bool {
    matches!(model.clients, Clients::UpTo { .. }) && model.runs == Runs::InThread
}

/// The queue of signals has room for one, so the kernel cannot say which clients have asked.
#[test]
fn without_room_for_signals_everybody_is_answered() {
    const CLIENTS: usize = 300;
    let model = find("sigio").expect("the model is in the table");
    // dash knows no -i.
    let server =
        Server::of(model).limited("ulimit -i 1 2>/dev/null || prlimit --sigpending=1 --pid $$").start();
    let process = server.process();
    let mut clients: Vec<_> = (0..CLIENTS).map(|_| connect(server.addr())).collect();
    clients.iter().for_each(|client| ask(client, b"first"));
    // All ask while the server cannot take a signal.
    server.signal(Signal::SIGSTOP);
    wait_until("the server is stopped", || state(&process) == Some('T'));
    clients.iter_mut().for_each(|client| client.write_all(b"hello").expect("the kernel takes it"));
    server.signal(Signal::SIGCONT);
    for client in &mut clients {
        let mut answer = [0; 5];
        client.read_exact(&mut answer).expect("the server answers");
        assert_eq!(&answer, b"hello");
    }
    wait_until("the server waits for signals", || has_settled(model, &process));
    waits_cheaply(&process);
    let bytes = 10 * CLIENTS as u64;
    assert_eq!(server.stop().totals(), (CLIENTS as u64, bytes, bytes));
}

/// `EPERM` leaves the client in the queue, so that the listener stays readable. (No filter of system calls sees what a ring does.)
#[test]
fn while_accept_is_refused_clients_wait_and_nothing_spins() {
    models_at_once(
        |model| !leaves_it_to_a_ring(model.name),
        |model| {
            let server = without(&[libc::SYS_accept4], libc::EPERM, || Server::start(model));
            let _client = connect(server.addr());
            server.wait_for_complaint();
            if model.waits == Waits::Sleeps {
                waits_cheaply(&server.process());
            }
            assert_eq!(server.stop_after_saying("accept4").number("connections"), 0);
        },
    );
}

#[test]
fn a_server_that_has_a_descriptor_for_nobody_says_so() {
    all_models_at_once(|model| {
        let server = Server::start(model);
        let process = server.process();
        wait_until("the server waits for clients", || has_settled(model, &process));
        let needed = lowest_free_descriptor(&process);
        server.stop();
        let server = Server::of(model).limited(&format!("ulimit -n {needed}")).start();
        let _client = connect(server.addr());
        server.wait_for_complaint();
        assert_eq!(server.stop_after_saying("no descriptor is left").number("connections"), 0);
    });
}

#[test]
fn without_a_thread_to_wait_for_the_stop_a_blocking_server_ends_and_says_why() {
    let mut serve = Command::new("timeout");
    serve.args(["30", env!("CARGO_BIN_EXE_io-models"), "serve", "blocking"]);
    let ended = without_threads(|| serve.output()).expect("a process may be started");
    let complaint = String::from_utf8(ended.stderr).expect("standard error is text");
    assert_eq!(ended.status.code(), Some(1), "{complaint}");
    assert_eq!(complaint.matches('\n').count(), 1, "not one line: {complaint:?}");
    assert!(complaint.contains(Call::Clone3.name()), "{complaint:?}");
}

fn crowd_is_served_and_nothing_spins(model: &Model, server: Server, crowd: usize, note: &str) {
    let process = server.process();
    let clients: Vec<_> = (0..crowd).map(|_| connect(server.addr())).collect();
    server.wait_for_complaint();
    wait_until("the server has let in as many as it can", || has_settled(model, &process));

    if model.waits == Waits::Sleeps {
        waits_cheaply(&process);
    }

    // All at once: with a queue for each worker they are not let in in the order in which they came.
    thread::scope(|scope| {
        for (i, client) in clients.into_iter().enumerate() {
            scope.spawn(move || serve_and_leave(client, i));
        }
    });
    let report = server.stop_after_saying(note);
    assert_eq!(report.number("connections"), crowd as u64);
    assert!(report.number("times_full") >= 1, "accepting was never paused: {report:?}");
}

/// Each that leaves makes room for one more.
fn serve_and_leave(client: TcpStream, i: usize) {
    ask(&client, format!("client {i}").as_bytes());
}
