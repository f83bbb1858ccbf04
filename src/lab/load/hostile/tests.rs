//! Hostile clients beside right servers and wrong ones.

use super::super::plan::{Expect, Payload, Wait};
use super::*;
use crate::echo::Reply;
use crate::initserver::initserver;
use crate::model::epoll_level;
use crate::observer::Observer;
use crate::serve::Job;
use crate::stop;
use procfs::net::{TcpNetEntries, TcpState};
use procfs::{FromReadSI, current_system_info};
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, RawFd};
use std::sync::mpsc;
use std::thread;

/// How long anything may take before a test gives up.
const DEADLINE: Duration = Duration::from_secs(30);

const SIZE: u32 = 1000;

fn of(slow_readers: usize, half_closers: usize, resetters: usize) -> HostileClients {
    HostileClients { slow_readers, half_closers, resetters }
}

fn plan(target: SocketAddr, size: u32) -> Plan {
    Plan {
        target,
        active: 0,
        idle: 0,
        sizes: Sizes::Fixed(size),
        payload: Payload::Random,
        expect: Expect::Echo,
        seed: 7,
        patience: DEADLINE,
        depth: 1,
        requests_per_conn: None,
        sources: Vec::new(),
        wait: Wait::Sleep,
    }
}

fn runner(target: SocketAddr, clients: HostileClients, size: u32) -> Runner {
    Runner::new(plan(target, size), clients).unwrap()
}

fn runner_from(target: SocketAddr, sources: &[IpAddr], clients: HostileClients) -> Runner {
    Runner::new(Plan { sources: sources.to_vec(), ..plan(target, SIZE) }, clients).unwrap()
}

/// Let them run until `enough`.
#[track_caller]
fn until(runner: &mut Runner, what: &str, enough: impl Fn([&Outcome; 3]) -> bool) {
    let end = Instant::now() + DEADLINE;
    while !enough(runner.groups.each_ref().map(|group| &group.outcome)) {
        assert!(Instant::now() < end, "not within {DEADLINE:?}: {what}: {:#?}", runner.groups);
        assert!(runner.turn().unwrap());
    }
}

/// End, and check that no connection was forgotten.
#[track_caller]
fn leave(runner: Runner) -> [Outcome; 3] {
    let outcomes = runner.end().unwrap();
    for outcome in &outcomes {
        assert_eq!(
            outcome.opened,
            outcome.ended_well + outcome.cut_short + outcome.unfinished,
            "{outcome:#?}"
        );
    }
    outcomes
}

/// Tells which clients were accepted.
struct Accepted(mpsc::Sender<SocketAddr>);

impl Observer for Accepted {
    fn accepted(&mut self, _: RawFd, peer: Option<SocketAddr>) {
        peer.map(|peer| self.0.send(peer).ok());
    }
}

/// This crate's own server in a thread; it ends with the process of the tests.
fn echo() -> (SocketAddr, mpsc::Receiver<SocketAddr>) {
    let listener = initserver("127.0.0.1:0".parse().unwrap()).unwrap();
    let (addr, (sender, clients_seen)) = (listener.addr(), mpsc::channel());
    thread::spawn(move || {
        let (_stopper, stop) = stop::pair().unwrap();
        epoll_level::serve(Job::new(listener, &stop, Reply::Echo).observed(&|_| Accepted(sender.clone())))
    });
    (addr, clients_seen)
}

/// A server with a thread for each client; it ends with the process of the tests.
fn wrong(serve: impl Fn(TcpStream) -> io::Result<()> + Send + Copy + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            thread::spawn(move || serve(client));
        }
    });
    addr
}

/// How many connections from here to `target` are in a state that is `wanted`.
fn count(target: SocketAddr, wanted: impl Fn(&TcpState) -> bool) -> usize {
    let sockets = TcpNetEntries::from_file("/proc/thread-self/net/tcp", current_system_info()).unwrap();
    sockets.0.iter().filter(|socket| socket.remote_address == target && wanted(&socket.state)).count()
}

#[test]
fn every_kind_ends_well_with_a_right_server_again_and_again() {
    let (addr, _clients_seen) = echo();
    for size in [1, SIZE, 300_000] {
        let mut runner = runner(addr, of(3, 3, 3), size);
        until(&mut runner, "ten rounds and an answer for the slow", |[slow, half, reset]| {
            slow.checked_bytes > 0 && half.ended_well >= 10 && reset.ended_well >= 10
        });
        let [slow, half, reset] = leave(runner);
        for outcome in [&slow, &half, &reset] {
            assert_eq!((outcome.connections, outcome.refused), (3, 0), "{outcome:#?}");
            assert_eq!((outcome.cut_short, outcome.wrong_bytes), (0, 0), "{outcome:#?}");
            assert_eq!(outcome.first_trouble, None, "{outcome:#?}");
        }
        assert!(half.checked_bytes >= half.ended_well * u64::from(size), "{half:#?}");
        assert!(reset.checked_bytes <= reset.opened * u64::from(size / 2), "{reset:#?}");
    }
}

#[test]
fn a_slow_reader_fills_the_buffers_until_the_server_takes_no_more_and_reads_all_of_it_back_at_the_end() {
    let (addr, _clients_seen) = echo();
    let mut runner = runner(addr, of(1, 0, 0), SIZE);
    // The server no longer reads, so what is sent is held back by what is read.
    let full =
        |sent_before: u64, outcome: &Outcome| outcome.sent_bytes == sent_before && sent_before > 100_000;
    let (end, mut sent_before) = (Instant::now() + DEADLINE, 0);
    while !full(sent_before, &runner.groups[0].outcome) {
        assert!(Instant::now() < end, "{:#?}", runner.groups[0]);
        sent_before = runner.groups[0].outcome.sent_bytes;
        for _ in 0..5 {
            assert!(runner.turn().unwrap());
        }
    }
    let read = runner.groups[0].outcome.checked_bytes;
    until(&mut runner, "it is served on", |[slow, ..]| slow.checked_bytes > read + 50_000);
    let [slow, ..] = leave(runner);
    assert_eq!(slow.sent_bytes, slow.checked_bytes, "{slow:#?}");
    assert_eq!(slow.sent_bytes % u64::from(SIZE), 0, "the last request is whole: {slow:#?}");
    assert_eq!((slow.opened, slow.ended_well, slow.wrong_bytes), (1, 1, 0), "{slow:#?}");
    assert_eq!((slow.missing_bytes, slow.first_trouble), (0, None));
}

#[test]
fn of_a_thousand_no_more_than_four_of_a_kind_connect_in_10_ms() {
    let (addr, _clients_seen) = echo();
    let mut runner = runner(addr, of(0, 1000, 1000), SIZE);
    let start = Instant::now();
    until(&mut runner, "a hundred each", |[_, half, reset]| half.opened >= 100 && reset.opened >= 100);
    assert!(start.elapsed() >= 24 * TICK, "100 connections, 4 a tick: {:?}", start.elapsed());
    leave(runner);
}

#[test]
fn a_half_closer_that_gets_the_end_and_no_answer_is_cut_short() {
    let addr = wrong(|mut client| client.read_exact(&mut [0; SIZE as usize]));
    let mut runner = runner(addr, of(0, 2, 0), SIZE);
    until(&mut runner, "three rounds", |[_, half, _]| half.cut_short >= 3);
    let [_, half, _] = leave(runner);
    assert_eq!((half.ended_well, half.checked_bytes, half.wrong_bytes), (0, 0, 0), "{half:#?}");
    let trouble = half.first_trouble.unwrap();
    assert_eq!(trouble, "the server closed it with 1000 bytes of an answer missing, from byte 0 on");
    assert_eq!(half.missing_bytes, half.cut_short * u64::from(SIZE));
    assert_eq!(half.missing[0].offset, 0);
}

#[test]
fn a_server_that_resets_cuts_every_kind_short() {
    let addr = wrong(|mut client| {
        client.read_exact(&mut [0; 1])?;
        sockopt::set_reset_on_close(&client).map_err(io::Error::from)
    });
    let mut runner = runner(addr, of(1, 1, 1), SIZE);
    until(&mut runner, "all are cut short", |outcomes| outcomes.iter().all(|outcome| outcome.cut_short > 0));
    for outcome in leave(runner) {
        let trouble = outcome.first_trouble.unwrap();
        let known = ["(os error 104)", "(os error 32)", "(os error 107)"]; // Reset, pipe, not connected.
        assert!(known.iter().any(|known| trouble.contains(known)), "{trouble}");
        assert_eq!(outcome.wrong_bytes, 0);
    }
}

#[test]
fn a_changed_byte_is_counted_for_each_kind() {
    let addr = wrong(|mut client| {
        let mut bytes = [0; SIZE as usize];
        loop {
            client.read_exact(&mut bytes)?;
            bytes[0] ^= 1;
            client.write_all(&bytes)?;
        }
    });
    let mut runner = runner(addr, of(1, 1, 1), SIZE);
    until(&mut runner, "all have seen it", |outcomes| outcomes.iter().all(|outcome| outcome.wrong_bytes > 0));
    for outcome in leave(runner) {
        let trouble = outcome.first_trouble.unwrap();
        assert!(trouble.starts_with("byte 0 came back as 0x"), "{trouble}");
    }
}

#[test]
fn bytes_that_were_not_sent_are_wrong() {
    let addr = wrong(|mut client| {
        let mut bytes = [0; SIZE as usize];
        client.read_exact(&mut bytes)?;
        client.write_all(&bytes)?;
        client.write_all(b"and more")
    });
    let mut runner = runner(addr, of(0, 1, 0), SIZE);
    until(&mut runner, "it is seen", |[_, half, _]| half.cut_short > 0);
    let [_, half, _] = leave(runner);
    assert!(half.wrong_bytes >= 8, "{half:#?}");
    assert_eq!(half.first_trouble.unwrap(), "8 bytes came back that had not been sent");
}

#[test]
fn who_is_refused_tries_again_no_sooner_than_after_100_ms() {
    let any = "127.0.0.1:0".parse().unwrap();
    // Bound but not listening: nobody else can get the port, and it refuses.
    let holder = socket::tcp(&any, Mode::Blocking).unwrap();
    socket::bind(&holder, &any).unwrap();
    let mut runner = runner(socket::local_addr(&holder).unwrap(), of(1, 1, 1), SIZE);
    let start = Instant::now();
    until(&mut runner, "three attempts each", |outcomes| outcomes.iter().all(|outcome| outcome.refused >= 3));
    assert!(start.elapsed() >= 2 * RETRY, "{:?}", start.elapsed());
    for outcome in leave(runner) {
        assert_eq!((outcome.opened, outcome.cut_short, outcome.sent_bytes), (0, 0, 0), "{outcome:#?}");
        let trouble = outcome.first_trouble.unwrap();
        assert!(trouble.starts_with("connect(fd "), "{trouble}");
        assert!(trouble.ends_with("Connection refused (os error 111)"), "{trouble}");
    }
}

#[test]
fn an_attempt_that_fails_at_once_is_counted_and_made_again() {
    let (addr, _clients_seen) = echo();
    // For documentation: nobody has this address.
    let nowhere = ["192.0.2.1".parse().unwrap()];
    let mut runner = runner_from(addr, &nowhere, of(0, 1, 0));
    until(&mut runner, "two attempts", |[_, half, _]| half.refused >= 2);
    let [_, half, _] = leave(runner);
    let trouble = half.first_trouble.unwrap();
    assert!(trouble.starts_with("from 192.0.2.1: bind(fd "), "{trouble}");
}

#[test]
fn connections_come_from_the_sources_in_turn() {
    let (addr, clients_seen) = echo();
    let sources: [IpAddr; 3] = ["127.0.0.2", "127.0.0.3", "127.0.0.4"].map(|ip| ip.parse().unwrap());
    let mut runner = runner_from(addr, &sources, of(3, 1, 1));
    until(&mut runner, "a round or two", |[slow, half, reset]| {
        slow.opened == 3 && half.ended_well >= 2 && reset.ended_well >= 2
    });
    leave(runner);
    let mut seen: Vec<_> = (0..7).map(|_| clients_seen.recv_timeout(DEADLINE).unwrap().ip()).collect();
    seen.sort();
    seen.dedup();
    assert_eq!(seen, sources);
}

#[test]
fn only_resetters_leave_no_time_wait() {
    let (addr, _clients_seen) = echo();
    let mut one = runner(addr, of(0, 0, 2), SIZE);
    until(&mut one, "rounds", |[.., reset]| reset.ended_well >= 4);
    leave(one);
    assert_eq!(count(addr, |state| *state == TcpState::TimeWait), 0);
    let mut two = runner(addr, of(0, 1, 0), SIZE);
    until(&mut two, "a round", |[_, half, _]| half.ended_well >= 1);
    leave(two);
    let waiting = count(addr, |state| *state == TcpState::TimeWait);
    assert_ne!(waiting, 0, "has Linux learnt to do without?");
}

/// A listener that accepts nobody: connections stand, and what is sent stays in the kernel.
fn hanging() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    (listener, addr)
}

/// Six clients of a server that hangs; what came of them when all were connected and `over` was done.
fn beside_a_server_that_hangs(patience: Duration, over: impl Fn(&stop::Stopper, &stop::Stopper)) -> Outcomes {
    let (_listener, addr) = hanging();
    let ((end, ends), (stop, stops)) = (stop::pair().unwrap(), stop::pair().unwrap());
    let (sender, left) = mpsc::channel();
    let plan = Plan { patience, ..plan(addr, 1 << 20) };
    thread::spawn(move || sender.send(run(&plan, of(2, 2, 2), ends.as_fd(), stops.as_fd())).ok());
    let deadline = Instant::now() + DEADLINE;
    while count(addr, |state| *state != TcpState::SynSent) < 6 {
        assert!(Instant::now() < deadline, "not within {DEADLINE:?}: six connections stand");
        thread::sleep(Duration::from_millis(1)); // Between two looks. What is waited for is the state.
    }
    over(&end, &stop);
    left.recv_timeout(DEADLINE).expect("it ends").unwrap()
}

#[test]
fn what_a_server_that_hangs_has_not_sent_back_is_missing() {
    let outcomes = beside_a_server_that_hangs(Duration::from_millis(200), |end, _| end.stop().unwrap());
    for outcome in [&outcomes.slow_reader, &outcomes.half_close] {
        assert_eq!(
            (outcome.ended_well, outcome.unfinished, outcome.checked_bytes),
            (0, 0, 0),
            "{outcome:#?}"
        );
        assert!(outcome.missing_bytes > 0, "{outcome:#?}");
        assert_eq!(outcome.missing[0].offset, 0, "{outcome:#?}");
    }
    let reset = outcomes.reset;
    assert_eq!((reset.ended_well, reset.checked_bytes), (0, 0), "{reset:#?}");
}

#[test]
fn after_a_stop_nobody_waits_for_a_server_that_hangs() {
    let outcomes = beside_a_server_that_hangs(10 * DEADLINE, |end, stop| {
        stop.stop().unwrap();
        end.stop().unwrap();
    });
    for outcome in [&outcomes.slow_reader, &outcomes.half_close, &outcomes.reset] {
        assert_eq!((outcome.ended_well, outcome.cut_short, outcome.missing_bytes), (0, 0, 0), "{outcome:#?}");
    }
}

/// Give back what comes, a piece at a time, and forget what send(2) does not take: the fault of `inputs/buggy_short`.
fn forgets_what_does_not_fit(client: TcpStream) -> io::Result<()> {
    client.set_nonblocking(true)?;
    let mut buffer = [0; 4096];
    loop {
        match (&client).read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(n) => drop((&client).write(&buffer[..n])),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                thread::sleep(Duration::from_millis(1))
            }
            Err(error) => return Err(error),
        }
    }
}

#[test]
fn bytes_that_a_server_forgets_are_missing_for_a_slow_reader() {
    let addr = wrong(forgets_what_does_not_fit);
    let mut runner = runner(addr, of(1, 0, 0), SIZE);
    until(&mut runner, "more is sent than fits", |[slow, ..]| slow.sent_bytes > 1_000_000);
    let [slow, ..] = leave(runner);
    assert!(slow.missing_bytes > 0, "{slow:#?}");
    let Loss { connection, offset, bytes } = slow.missing[0];
    assert_eq!(connection, 0);
    assert!(offset > 0 && bytes > 0, "{slow:#?}");
    let trouble = slow.first_trouble.unwrap();
    assert!(trouble.contains("bytes did not come back; the first that is missing is byte"), "{trouble}");
}

#[test]
fn without_clients_it_waits_for_the_end_only() {
    let (end, ends) = stop::pair().unwrap();
    let (_stop, stops) = stop::pair().unwrap();
    end.stop().unwrap();
    let nowhere = "127.0.0.1:1".parse().unwrap();
    let outcomes = run(&plan(nowhere, SIZE), HostileClients::default(), ends.as_fd(), stops.as_fd()).unwrap();
    assert_eq!(Outcomes { cpu_s: 0.0, ..outcomes.clone() }, Outcomes::default());
    let mut page = Page::new(None);
    outcomes.show(&mut page);
    assert_eq!(page.into_text(), "", "there is nothing to say");
}
