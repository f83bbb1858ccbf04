//! What the model does on kernels that lack something, and with few buffers.

use super::*;
use crate::echo::Reply;
use crate::initserver::initserver;
use crate::stop;
use crate::sys::sockopt::{set_receive_buffer, unsent};
use crate::sys::uring::unavailable;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// Before Linux 6.12: a buffer for each piece.
const EIGHT: Plan = Plan { size: 1024, first: 8, most: 8, is_incremental: false };

const DEADLINE: Duration = Duration::from_secs(20);

/// Serve while `clients` are there. Returns what the server has done, if there is io_uring.
fn serving(direct: bool, buffers: Plan, clients: impl FnOnce(SocketAddr)) -> Option<Totals> {
    if let Some(why) = unavailable() {
        eprintln!("skipped: {why}");
        return None;
    }
    let listener = initserver("127.0.0.1:0".parse().unwrap()).unwrap();
    let addr = listener.addr();
    let (stopper, stop) = stop::pair().unwrap();
    let server =
        thread::spawn(move || serve_with(Job::new(listener, &stop, Reply::Echo), 100, direct, vec![buffers]));
    clients(addr);
    stopper.stop().unwrap();
    Some(server.join().unwrap().unwrap())
}

fn connect(addr: SocketAddr) -> TcpStream {
    let client = TcpStream::connect(addr).unwrap();
    client.set_read_timeout(Some(DEADLINE)).unwrap();
    client
}

/// Send all of this, end, and read all of the answer.
fn echoes(mut client: TcpStream, bytes: &[u8]) {
    let mut reader = client.try_clone().unwrap();
    let answer = thread::scope(|scope| {
        let answer = scope.spawn(move || {
            let mut answer = Vec::new();
            reader.read_to_end(&mut answer).map(|_| answer)
        });
        client.write_all(bytes).unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        answer.join().unwrap().expect("the answer within 20 s")
    });
    assert!(answer == bytes, "{} bytes came back for {}", answer.len(), bytes.len());
}

fn pattern(seed: usize, len: usize) -> Vec<u8> {
    (0..len).map(|i| (i * 31 + seed * 17 + i / 251) as u8).collect()
}

#[test]
fn many_clients_share_eight_buffers() {
    const CLIENTS: usize = 40;
    let totals = serving(true, EIGHT, |addr| {
        let clients: Vec<_> = (0..CLIENTS).map(|_| connect(addr)).collect();
        thread::scope(|scope| {
            for (i, client) in clients.into_iter().enumerate() {
                scope.spawn(move || echoes(client, &pattern(i, 100_000)));
            }
        });
    });
    let bytes = 100_000 * CLIENTS as u64;
    assert!(totals.is_none_or(|totals| (totals.bytes_in, totals.bytes_out) == (bytes, bytes)));
}

#[test]
fn clients_that_do_not_read_leave_the_eight_buffers_to_the_others() {
    serving(true, EIGHT, |addr| {
        // One after another, so that each could get all buffers.
        let greedy: Vec<_> = (0..3).map(|_| connect(addr)).collect();
        for client in &greedy {
            // Until neither side takes more.
            client.set_write_timeout(Some(Duration::from_millis(200))).unwrap();
            while (&*client).write(&[1; 65_536]).is_ok() {}
        }
        for i in 0..20 {
            echoes(connect(addr), &pattern(i, 10_000));
        }
    });
}

#[test]
fn without_direct_descriptors_clients_are_served_and_get_what_was_answered_before_the_end() {
    let mut late = None;
    let totals = serving(false, SMALL, |addr| {
        for i in 0..10 {
            echoes(connect(addr), &pattern(i, 50_000));
        }
        let mut client = connect(addr);
        client.write_all(b"hello").unwrap();
        client.read_exact(&mut [0; 5]).unwrap();
        client.write_all(&pattern(1, 1000)).unwrap();
        late = Some(client);
    });
    let Some(totals) = totals else { return };
    assert_eq!(totals.connections, 11);
    let mut rest = Vec::new();
    late.unwrap().read_to_end(&mut rest).expect("an orderly end");
    assert_eq!(rest, pattern(1, 1000)[..rest.len()]);
    assert_eq!(totals.bytes_out, 500_005 + rest.len() as u64);
}

/// In one of the rounds the server can send all but a part of its last answer. The client sends nothing more, so that no other event
/// comes.
#[test]
fn the_rest_of_an_answer_for_which_there_was_no_room_comes_when_there_is() {
    const PIECE: usize = 16 << 10;
    const RECEIVES: usize = 64 << 10;
    let Ok(limits) = std::fs::read_to_string("/proc/sys/net/ipv4/tcp_wmem") else {
        return eprintln!("skipped: without /proc the size of a send buffer is not known");
    };
    let most: usize = limits.split_whitespace().last().unwrap().parse().unwrap();
    let buffers = Plan { size: PIECE as u32, first: 16, most: 16, is_incremental: true };
    serving(true, buffers, |addr| {
        for pieces in most / PIECE..most / PIECE + 10 {
            let client = connect(addr);
            set_receive_buffer(&client, RECEIVES).unwrap();
            client.set_nonblocking(true).unwrap();
            let mut sent = 0;
            for _ in 0..pieces {
                sent += (&client).write(&[1; PIECE]).unwrap_or(0);
                // Until the server has it, or takes no more.
                (0..1000).take_while(|_| unsent(&client).unwrap() > 0).for_each(|_| thread::yield_now());
            }
            client.set_nonblocking(false).unwrap();
            let mut answer = vec![0; sent];
            (&client).read_exact(&mut answer).expect("the answer within 20 s");
        }
    });
}

/// Pieces that lie one after another in a buffer that is smaller than all of them.
const SMALL: Plan = Plan { size: 1000, first: 1, most: 4, is_incremental: true };

#[test]
fn one_small_buffer_for_many_pieces_is_enough() {
    serving(true, SMALL, |addr| {
        let clients: Vec<_> = (0..30).map(|_| connect(addr)).collect();
        thread::scope(|scope| {
            for (i, client) in clients.into_iter().enumerate() {
                scope.spawn(move || echoes(client, &pattern(i, 30_000)));
            }
        });
    });
}

#[test]
fn a_client_that_is_accepted_when_the_stop_is_seen_does_not_hold_it_up() {
    if let Some(why) = unavailable() {
        return eprintln!("skipped: {why}");
    }
    let listener = initserver("127.0.0.1:0".parse().unwrap()).unwrap();
    let mut client = connect(listener.addr());
    client.write_all(b"hello").unwrap();
    let (stopper, stop) = stop::pair().unwrap();
    stopper.stop().unwrap();
    let (ended, end) = mpsc::channel();
    thread::spawn(move || {
        ended.send(serve_with(Job::new(listener, &stop, Reply::Echo), 100, true, vec![SMALL]))
    });
    let totals = end.recv_timeout(DEADLINE).expect("the server ends within 20 s").unwrap();
    assert_eq!((totals.connections, totals.bytes_out), (1, 5));
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).unwrap();
    assert_eq!(answer, b"hello");
}
