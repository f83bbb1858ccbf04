//! How many workers wake for a new client, and which of them gets it. `-- --nocapture` prints the figures.

use crate::support::{Report, Server, WORKERS, connect, is_idle, models_at_once, wait_until, wake_ups};
use io_models::model::Model;

const CLIENTS: usize = 100;

/// The clients come one at a time, when all workers sleep, and stay. How often a thread of the server was woken, and its report.
fn come_one_at_a_time(model: &Model) -> (usize, Report) {
    let server = Server::start(model);
    let process = server.process();
    let descriptors = || process.fd_count().expect("the descriptors of a process of ours");
    wait_until("all workers sleep", || process.stat().is_ok_and(|stat| stat.num_threads as usize > WORKERS));
    wait_until("all workers sleep", || is_idle(&process));
    let (before, none) = (wake_ups(&process), descriptors());
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        clients.push(connect(server.addr()));
        wait_until("the client is accepted", || descriptors() == none + clients.len());
        wait_until("all workers sleep again", || is_idle(&process));
    }
    let woken = wake_ups(&process) - before;
    drop(clients);
    (woken as usize, server.stop())
}

#[test]
fn the_thundering_herd_is_shown() {
    models_at_once(
        |model| ["epoll-exclusive", "epoll-herd", "reuseport"].contains(&model.name),
        |model| {
            let (woken, report) = come_one_at_a_time(model);
            let shares = report.shares();
            let each = woken as f64 / CLIENTS as f64;
            println!("{}, {WORKERS} workers: {each:.2} wake-ups per client; {shares:?} clients", model.name);
            assert_eq!(shares.iter().sum::<u64>(), CLIENTS as u64);
            let is_herd = model.name == "epoll-herd";
            assert!(!is_herd || woken * 10 >= WORKERS * CLIENTS * 9, "not all were woken for each client");
            assert!(is_herd || woken * 5 < WORKERS * CLIENTS * 2, "too many were woken: {woken}");
            let most = shares.into_iter().max().unwrap_or(0) as usize * 2;
            assert!(model.name != "epoll-exclusive" || most > CLIENTS, "no worker got most of the clients");
            assert!(model.name != "reuseport" || most < CLIENTS, "one worker got most of the clients");
        },
    );
}
