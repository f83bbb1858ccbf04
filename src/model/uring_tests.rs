//! What the model does on kernels that lack something, and with few buffers.

use super::*;
use crate::echo::Reply;
use crate::initserver::{Listener, initserver};
use crate::stop;
use crate::sys::sockopt::{set_send_buffer, unsent};
use crate::sys::uring::unavailable;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

/// Before Linux 6.12: a buffer for each piece.
const EIGHT: Plan = Plan { size: 1024, first: 8, most: 8, is_incremental: false };

const DEADLINE: Duration = Duration::from_secs(20);

fn listen() -> Listener {
    initserver("127.0.0.1:0".parse().unwrap()).unwrap()
}

/// Its clients have them too.
fn with_small_send_buffers() -> Listener {
    let listener = listen();
    set_send_buffer(&listener, 4096).unwrap();
    listener
}

/// Serve while `clients` are there. Returns what the server has done, if there is io_uring.
fn serving(direct: bool, buffers: Plan, clients: impl FnOnce(SocketAddr)) -> Option<Totals> {
    serving_at(listen(), direct, buffers, clients)
}

fn serving_at(
    listener: Listener,
    direct: bool,
    buffers: Plan,
    clients: impl FnOnce(SocketAddr),
) -> Option<Totals> {
    if let Some(why) = unavailable() {
        eprintln!("skipped: {why}");
        return None;
    }
    let addr = listener.addr();
    let (stopper, stop) = stop::pair().unwrap();
    // With as many as there are, ordinary ones are accepted by one operation for all.
    let slots = if direct { 100 } else { slots(NonZeroUsize::MIN).unwrap() };
    let server = thread::spawn(move || {
        serve_with(Job::new(listener, &stop, Reply::Echo), slots, direct, vec![buffers])
    });
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

/// A client whose window is full: it was answered so many bytes, and reads none.
fn with_full_window(addr: SocketAddr) -> (TcpStream, Vec<u8>) {
    let mut client = connect(addr);
    let bytes = pattern(1, 60_000);
    client.write_all(&bytes).unwrap();
    // A signal to this process may end a peek.
    let mut room = vec![0; bytes.len()];
    wait_until("the answer comes", || client.peek(&mut room).is_ok_and(|n| n == bytes.len()));
    (client, bytes)
}

#[track_caller]
fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !is_so() {
        assert!(Instant::now() < deadline, "{what} within 20 s");
        thread::yield_now();
    }
}

/// The server can send a part of an answer only, and has nothing else to do: no event comes but that there is room.
#[test]
fn the_rest_of_an_answer_for_which_there_was_no_room_comes_when_there_is() {
    let listener = with_small_send_buffers();
    let buffers = Plan { size: 1 << 16, first: 16, most: 16, is_incremental: true };
    serving_at(listener, true, buffers, |addr| {
        for _ in 0..10 {
            let (mut client, bytes) = with_full_window(addr);
            client.write_all(&bytes).unwrap();
            wait_until("the server has the bytes", || unsent(&client).unwrap() == 0);
            let mut answers = vec![0; 2 * bytes.len()];
            client.read_exact(&mut answers).expect("the answers within 20 s");
            assert!(answers == bytes.repeat(2));
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
    let listener = listen();
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

/// Answers `x` only when the test says so, and counts who leaves.
struct Gate {
    opened: mpsc::Receiver<()>,
    left: Arc<AtomicUsize>,
}

impl Observer for Gate {
    fn received(&mut self, _: RawFd, bytes: &[u8]) {
        if bytes == b"x" {
            self.opened.recv_timeout(DEADLINE).expect("the gate opens within 20 s");
        }
    }

    fn left(&mut self, _: RawFd, how: Result<()>) {
        how.unwrap();
        self.left.fetch_add(1, Ordering::Relaxed);
    }
}

/// The end comes in the same turn as bytes whose answer has no room, because an earlier one fills the client's window.
#[test]
fn a_client_that_ends_and_does_not_take_its_answer_before_the_stop_leaves_once() {
    if let Some(why) = unavailable() {
        return eprintln!("skipped: {why}");
    }
    let listener = with_small_send_buffers();
    let addr = listener.addr();
    let first = connect(addr);
    let (stopper, stop) = stop::pair().unwrap();
    let (open, opened) = mpsc::channel();
    let (opened, left) = (Mutex::new(Some(opened)), Arc::new(AtomicUsize::new(0)));
    let observe =
        |_| Gate { opened: opened.lock().unwrap().take().expect("one observer"), left: Arc::clone(&left) };
    let say = |message: &[u8]| (&first).write_all(message).unwrap();
    let is_answered = |message: &[u8]| (&first).read_exact(&mut vec![0; message.len()]).unwrap();
    thread::scope(|scope| {
        let server = scope.spawn(|| serve(Job::new(listener, &stop, Reply::Echo).observed(&observe)));
        let (mut slow, bytes) = with_full_window(addr);
        say(b"x");
        slow.write_all(&bytes).unwrap();
        slow.shutdown(Shutdown::Write).unwrap();
        wait_until("the server has the bytes and the end", || unsent(&slow).unwrap() == 0);
        open.send(()).unwrap();
        is_answered(b"x");
        // The next turn is that in which it hears the other client, and then come others.
        for message in [b"one", b"two"] {
            say(message);
            is_answered(message);
        }
        assert_eq!(left.load(Ordering::Relaxed), 1, "it has heard of the end");
        stopper.stop().unwrap();
        let mut answer = Vec::new();
        slow.read_to_end(&mut answer).expect("the answer within 20 s");
        assert!(answer == bytes.repeat(2), "{} bytes came back for {}", answer.len(), 2 * bytes.len());
        server.join().unwrap().unwrap();
    });
    assert_eq!(left.load(Ordering::Relaxed), 1);
}

/// Tells why clients have to wait.
struct WhyWaiting(mpsc::Sender<Paused>);

impl Observer for WhyWaiting {
    fn paused(&mut self, why: Paused) {
        self.0.send(why).ok();
    }
}

#[test]
fn a_limit_on_clients_holds_for_direct_descriptors_and_for_ordinary_ones() {
    if let Some(why) = unavailable() {
        return eprintln!("skipped: {why}");
    }
    for direct in [true, false] {
        let listener = listen();
        let addr = listener.addr();
        let (stopper, stop) = stop::pair().unwrap();
        let (tell, told) = mpsc::channel();
        let observe = move |_| WhyWaiting(tell.clone());
        thread::scope(|scope| {
            let server = scope.spawn(|| {
                let job = Job::new(listener, &stop, Reply::Echo).observed(&observe);
                serve_with(job.with_max_clients(NonZeroUsize::MIN), 100, direct, vec![EIGHT])
            });
            for _ in 0..3 {
                let (first, mut next) = (connect(addr), connect(addr));
                next.write_all(b"next").unwrap();
                let why = told.recv_timeout(DEADLINE).expect("the server pauses within 20 s");
                assert_eq!(why, Paused::MaxClients);
                echoes(first, b"first");
                next.read_exact(&mut [0; 4]).expect("an answer within 20 s");
            }
            stopper.stop().unwrap();
            assert_eq!(server.join().unwrap().unwrap().connections, 6);
        });
    }
}
