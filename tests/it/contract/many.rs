//! A server keeps nothing of the clients that it has had.

use crate::support::{
    Server, ask, children, connect, each_model, end_writing, forks, has_settled, read_to_end, reset,
    wait_until,
};
use procfs::process::Process;
use std::io::Write;
use std::net::{SocketAddr, TcpStream};

/// Clients at the same time.
const GROUP: usize = 8;

/// Half of the clients.
const HALF: usize = 5_000;

/// Memory may grow by so much in the second half, which is 200 bytes a client. With one thread it does not grow at all. The C
/// library gives threads arenas and stacks, and makes more when more threads happen to run at the same time.
const SLACK: u64 = 1 << 20;

/// Compared is what the server holds after each half: the first half also makes what a server makes once. Ports cannot run out:
/// each server has a port of its own, to which one address has 28,000 ports, and five of eight clients leave no TIME_WAIT.
#[test]
fn nothing_is_left_of_ten_thousand_clients() {
    each_model(|model| {
        let server = Server::start(model);
        let process = server.process();
        come_and_leave(HALF, server.addr());
        wait_until("the server waits for clients", || has_settled(model, &process));
        wait_until("no child is left", || !forks(model) || children(&process).is_empty());
        let half = Held::by(&process);
        assert!(half.memory > 0, "the memory of the server is not known");
        come_and_leave(HALF, server.addr());
        let what = format!("the server has no more descriptors, threads and children than {half:?}");
        wait_until(&what, || Held::by(&process).is_within(&half));
        let grown = Held::by(&process).memory.saturating_sub(half.memory);
        assert!(grown < SLACK, "{HALF} more clients came and left, and the server has grown by {grown}");
        // A client that resets in the queue may never be seen.
        let connections = server.stop().number("connections") as usize;
        assert!((2 * HALF - 2 * HALF / GROUP..=2 * HALF).contains(&connections), "{connections} were seen");
    });
}

fn come_and_leave(clients: usize, addr: SocketAddr) {
    for _ in 0..clients / GROUP {
        let group: Vec<_> = (0..GROUP).map(|_| connect(addr)).collect();
        group.into_iter().enumerate().for_each(|(i, client)| leave(i, client));
    }
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

/// What a server and its children have of the system.
#[derive(Debug)]
struct Held {
    children: usize,
    threads: usize,
    descriptors: usize,
    memory: u64,
}

impl Held {
    /// A child that ends meanwhile holds nothing.
    fn by(server: &Process) -> Held {
        let children: Vec<_> = children(server).into_iter().map(|pid| Process::new(pid.as_raw())).collect();
        let family = || children.iter().flatten().chain([server]);
        Held {
            children: children.len(),
            threads: family().filter_map(|one| Some(one.tasks().ok()?.count())).sum(),
            descriptors: family().filter_map(|one| one.fd_count().ok()).sum(),
            memory: family().filter_map(anonymous_memory).sum(),
        }
    }

    fn is_within(&self, earlier: &Held) -> bool {
        self.children <= earlier.children
            && self.threads <= earlier.threads
            && self.descriptors <= earlier.descriptors
    }
}

/// The memory that a process has for itself, such as heap and stacks, in bytes. The kernel looks at each page for this sum.
fn anonymous_memory(process: &Process) -> Option<u64> {
    let rollup = process.smaps_rollup().ok()?;
    rollup.memory_map_rollup.0[0].extension.map.get("Anonymous").copied()
}
