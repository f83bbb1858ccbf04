//! Clients do not disturb each other, whatever one of them does.

use crate::support::{
    Server, all_models_at_once, ask, children, connect, descriptors, each_model, end_writing, few,
    has_settled, is_idle, kernel_before, leaves_it_to_a_ring, models_at_once, one_at_a_time, pattern,
    peak_memory, read_to_end, reset, state, stuff, wait_until, worker_processes,
};
use io_models::model::Model;
use io_models::sys::signal::Signal;
use std::io::{Read, Write};
use std::net::TcpStream;

#[test]
fn three_hundred_clients_at_once_get_their_own_bytes() {
    const CLIENTS: usize = 300;
    each_model(|model| {
        let server = Server::start(model);
        let mut clients: Vec<_> = (0..CLIENTS).map(|_| connect(server.addr())).collect();
        let request = |i: usize| pattern(i as u64, 100 + i);
        for (i, client) in clients.iter_mut().enumerate() {
            client.write_all(&request(i)).expect("the kernel takes a small request");
        }
        let bytes: usize = (0..CLIENTS).map(|i| request(i).len()).sum();
        // In the order in which they came: the only one in which a model that serves one at a time
        // can answer. `into_iter` closes each before the next is read.
        for (i, mut client) in clients.into_iter().enumerate() {
            let mut answer = vec![0; 100 + i];
            client.read_exact(&mut answer).expect("the server answers");
            assert!(answer == request(i), "client {i} got something else");
        }
        assert_eq!(server.stop().totals(), (CLIENTS as u64, bytes as u64, bytes as u64));
    });
}

#[test]
fn a_few_clients_at_a_time_means_that_the_next_waits_and_is_not_lost() {
    models_at_once(
        |model| few(model).is_some(),
        |model| {
            let server = Server::start(model);
            let process = server.process();
            let mut first: Vec<_> = (0..few(model).unwrap_or(1)).map(|_| connect(server.addr())).collect();
            first.iter().for_each(|client| ask(client, b"first"));
            let mut next = connect(server.addr());
            next.write_all(b"next").expect("the kernel takes it for the server");
            wait_until("the server waits for its first clients", || is_idle(&process));
            next.set_nonblocking(true).expect("a look that does not wait");
            assert!(next.read(&mut [0]).is_err(), "the next client was served beside the first");
            next.set_nonblocking(false).expect("reads that wait");
            first.iter().for_each(|client| ask(client, b"still the first"));
            drop(first.pop());
            let mut answer = [0; 4];
            next.read_exact(&mut answer).expect("the next client is served when one has left");
            assert_eq!(&answer, b"next");
            drop((first, next));
            server.stop();
        },
    );
}

/// Do `meanwhile` beside `first`, or after it has left where the model serves one at a time.
fn beside_or_after(model: &Model, first: TcpStream, leave: fn(TcpStream), meanwhile: impl FnOnce()) {
    if one_at_a_time(model) {
        leave(first);
        meanwhile();
    } else {
        meanwhile();
        leave(first);
    }
}

#[test]
fn a_client_that_says_nothing_disturbs_nobody() {
    each_model(|model| {
        let server = Server::start(model);
        let silent = connect(server.addr());
        let addr = server.addr();
        beside_or_after(model, silent, drop, || {
            for i in 0..20 {
                ask(&connect(addr), &pattern(i, 1000));
            }
        });
        assert_eq!(server.stop().totals(), (21, 20_000, 20_000));
    });
}

#[test]
fn a_client_that_never_reads_disturbs_nobody_and_costs_a_bounded_amount_of_memory() {
    all_models_at_once(|model| {
        let server = Server::start(model);
        let process = server.process();
        ask(&connect(server.addr()), &pattern(1, 100_000));
        let before = peak_memory(&process);
        let greedy = connect(server.addr());
        // That this comes to an end is already the proof that the server waits for its client.
        let sent = stuff(&greedy);
        let addr = server.addr();
        beside_or_after(model, greedy, drop, || {
            let client = connect(addr);
            for i in 0..50 {
                ask(&client, &pattern(i, 1000));
            }
        });
        let grown = peak_memory(&process) - before;
        assert!(grown < 2 << 20, "{sent} bytes were sent, and the server has grown by {grown}");
        let report = server.stop();
        let child = report.number("largest_child_rss_bytes");
        assert!(child < 16 << 20, "{sent} bytes were sent, and a child has {child}");
    });
}

/// The kernel receives for such a server until it is told not to, so that one client can bring much before the server can say no.
/// Since Linux 6.17 it can be told before.
#[test]
fn clients_of_a_ring_that_never_read_cost_little_memory_each() {
    const CLIENTS: u64 = 16;
    if kernel_before(6, 17) {
        return eprintln!("skipped: before Linux 6.17 a receive of io_uring has no limit");
    }
    models_at_once(
        |model| leaves_it_to_a_ring(model.name),
        |model| {
            let server = Server::start(model);
            let process = server.process();
            ask(&connect(server.addr()), &pattern(1, 100_000));
            let before = peak_memory(&process);
            let greedy: Vec<_> = (0..CLIENTS).map(|_| connect(server.addr())).collect();
            // All send while the server sleeps, so that much is there for each when it wakes.
            let mut sent = 0;
            loop {
                server.signal(Signal::SIGSTOP);
                wait_until("the server is stopped", || state(&process) == Some('T'));
                let took: usize = greedy.iter().map(fill).sum();
                server.signal(Signal::SIGCONT);
                wait_until("the server has received all that it can", || is_idle(&process));
                sent += took;
                if took == 0 {
                    break;
                }
            }
            let grown = peak_memory(&process) - before;
            // 64 KiB of answers, the one that is being sent, and what the allocator needs; and at first some more buffers for all.
            let most = CLIENTS * (128 << 10) + (2 << 20);
            assert!(grown < most, "{sent} bytes were sent, and the server has grown by {grown}");
            drop(greedy);
            server.stop();
        },
    );
}

/// Send until the kernel has no more room, and count the bytes.
fn fill(mut client: &TcpStream) -> usize {
    client.set_nonblocking(true).expect("a socket of ours");
    let block = [1; 1 << 18];
    std::iter::from_fn(|| client.write(&block).ok()).sum()
}

#[test]
fn a_client_that_resets_with_bytes_on_the_way_ends_only_itself() {
    each_model(|model| {
        let server = Server::start(model);
        let addr = server.addr();
        let witness = (!one_at_a_time(model)).then(|| connect(addr));
        for i in 0..20 {
            let rude = connect(addr);
            (&rude).write_all(&pattern(i, 50_000)).expect("the kernel takes it");
            reset(rude);
            match &witness {
                Some(client) => ask(client, b"I was here before"),
                None => ask(&connect(addr), b"I come after"),
            }
        }
        ask(&connect(addr), b"I come at the end");
        drop(witness);
        server.stop();
    });
}

#[test]
fn a_client_that_ends_its_half_still_gets_its_answer_while_others_talk() {
    each_model(|model| {
        let server = Server::start(model);
        let addr = server.addr();
        let half = connect(addr);
        (&half).write_all(&pattern(9, 100_000)).expect("the server takes it");
        end_writing(&half);
        assert!(read_to_end(&half) == pattern(9, 100_000), "something else came back");
        // The server's end came although ours is still open: it closed the connection.
        ask(&connect(addr), b"others");
        drop(half);
        server.stop();
    });
}

#[test]
fn no_descriptor_and_no_zombie_is_left_of_a_thousand_clients() {
    all_models_at_once(|model| {
        let server = Server::start(model);
        let process = server.process();
        ask(&connect(server.addr()), b"the loop runs");
        wait_until("the server waits for clients", || has_settled(model, &process));
        let before = descriptors(&process);
        for i in 0..1000 {
            let client = connect(server.addr());
            match i % 4 {
                0 => ask(&client, b"ask and leave"),
                1 => drop(client),
                2 => {
                    (&client).write_all(b"reset").expect("the kernel takes it");
                    reset(client);
                }
                _ => {
                    (&client).write_all(b"half").expect("the kernel takes it");
                    end_writing(&client);
                    assert_eq!(read_to_end(&client), b"half");
                }
            }
        }
        let what = format!("the server has {before} descriptors again");
        wait_until(&what, || descriptors(&process) <= before);
        wait_until("no child is left", || children(&process).len() == worker_processes(model));
        let report = server.stop();
        // A client that resets in the queue may never be seen, so this is not 1001.
        assert!((751..=1001).contains(&report.number("connections")), "{report:?}");
    });
}
