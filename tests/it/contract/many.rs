//! A server keeps nothing of the clients that it has had.

use crate::support::{
    Held, Server, ask, children, connect, each_model, end_writing, forks, has_settled, number, own_memory,
    read_to_end, reset, wait_until,
};
use io_models::model::Model;
use std::io::Write;
use std::net::{SocketAddr, TcpStream};

/// Clients at the same time.
const GROUP: usize = 16;

/// Clients before the first look, and after it unless `IO_MODELS_CHURN` says another number. Of those a model that forks has a tenth.
const FEW: usize = 5_000;

/// Memory may grow by so much after the first look, which is 200 bytes for each of 5,000 clients. With one thread it does not grow at
/// all. The C library gives threads arenas and stacks, and makes more when more threads happen to run at the same time.
const SLACK: u64 = 1 << 20;

/// What the server holds is compared after the first clients and after the others: the first also make what a server makes once. Ports
/// do not run out, also with 100,000 clients: each server has a port of its own, to which one address has 28,000 ports, and thirteen of
/// sixteen clients leave no TIME_WAIT.
#[test]
fn nothing_is_left_of_thousands_of_clients() {
    each_model(|model| {
        let server = Server::start(model);
        let process = server.process();
        let mut clients = come_and_leave(FEW, server.addr());
        wait_until("the server waits for clients", || has_settled(model, &process));
        wait_until("no child is left", || !forks(model) || children(&process).is_empty());
        let (held, memory) = (Held::by(&process), own_memory(&process));
        clients += come_and_leave(others(model), server.addr());
        let what = format!("the server has no more descriptors, threads and children than {held:?}");
        wait_until(&what, || Held::by(&process).is_within(&held));
        let at_last = own_memory(&process);
        println!("{}: memory {memory} after {FEW} clients, {at_last} after {clients}", model.name);
        assert!(at_last.saturating_sub(memory) < SLACK, "the server has grown from {memory} to {at_last}");
        // A client that resets in the queue may never be seen.
        let connections = server.stop().number("connections") as usize;
        assert!((clients - clients / GROUP..=clients).contains(&connections), "{connections} were seen");
    });
}

fn others(model: &Model) -> usize {
    match number("IO_MODELS_CHURN").map(|clients| clients as usize) {
        None => FEW,
        Some(clients) if forks(model) => clients / 10,
        Some(clients) => clients,
    }
}

/// Returns how many they were.
fn come_and_leave(clients: usize, addr: SocketAddr) -> usize {
    for _ in 0..clients / GROUP {
        let group: Vec<_> = (0..GROUP).map(|_| connect(addr)).collect();
        group.into_iter().enumerate().for_each(|(i, client)| leave(i, client));
    }
    clients / GROUP * GROUP
}

fn leave(i: usize, client: TcpStream) {
    match i {
        0 => drop(client),
        1 => ask(&client, b"ask and leave"),
        2 => {
            (&client).write_all(b"reset").expect("the kernel takes it");
            reset(client);
        }
        3 => {
            (&client).write_all(b"half").expect("the kernel takes it");
            end_writing(&client);
            assert_eq!(read_to_end(&client), b"half");
        }
        _ => {
            ask(&client, b"ask and reset");
            reset(client);
        }
    }
}
