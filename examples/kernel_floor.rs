//! The CPU time of one recv(2) and one send(2) of 64 bytes over loopback: about the least for a server that makes both calls for each
//! request.
//!
//! Both ends are in one thread, and nothing ever waits, so a round trip is two sends and two recvs and nothing else. What is printed is
//! half of it, in nanoseconds: the median of many batches, and the quartiles. A server has cold caches beside that, because
//! its client is on another processor. `cargo run --release --example kernel_floor`; `scripts/performance.sh` runs it.

use io_models::sys::clock::thread_cpu;
use std::error::Error;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

const BATCHES: usize = 101;

/// A batch takes some milliseconds: long beside the reading of the clock, and short beside the turns of other programs.
const ROUND_TRIPS: u32 = 1000;

fn main() -> Result<(), Box<dyn Error>> {
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    let mut client = TcpStream::connect(listener.local_addr()?)?;
    let (mut server, _) = listener.accept()?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let mut costs = Vec::new();
    for _ in 0..BATCHES {
        let began = thread_cpu();
        for round in 0..ROUND_TRIPS {
            let request = [round as u8; 64];
            send(&mut client, &request)?;
            let received = receive(&mut server)?;
            send(&mut server, &received)?;
            assert_eq!(receive(&mut client)?, request);
        }
        let cost = thread_cpu().saturating_sub(began).as_nanos() / u128::from(2 * ROUND_TRIPS);
        costs.push(cost);
    }
    costs.sort_unstable();
    let [low, median, high] = [BATCHES / 4, BATCHES / 2, BATCHES * 3 / 4].map(|at| costs[at]);
    println!(r#"{{"median": {median}, "low": {low}, "high": {high}}}"#);
    Ok(())
}

/// One call: a second one would cost more than what is measured.
fn send(socket: &mut TcpStream, bytes: &[u8; 64]) -> Result<(), Box<dyn Error>> {
    match socket.write(bytes)? {
        64 => Ok(()),
        sent => Err(format!("send took {sent} of 64 bytes").into()),
    }
}

fn receive(socket: &mut TcpStream) -> Result<[u8; 64], Box<dyn Error>> {
    let mut bytes = [0; 64];
    match socket.read(&mut bytes)? {
        64 => Ok(bytes),
        received => Err(format!("recv gave {received} of 64 bytes").into()),
    }
}
