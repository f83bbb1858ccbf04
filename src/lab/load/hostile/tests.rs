//! The company beside right servers and wrong ones.

use super::*;
use crate::echo::{Echo, Reply, SCRATCH_BYTES};
use crate::initserver::initserver;
use crate::model::epoll_level;
use crate::observer::Observer;
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

fn host(target: SocketAddr, clients: HostileClients, size: u32) -> Host<'static> {
    Host::new(target, &[], clients, size, 7).unwrap()
}

/// Keep company until `enough`.
#[track_caller]
fn until(host: &mut Host<'_>, what: &str, enough: impl Fn([&Fate; 3]) -> bool) {
    let end = Instant::now() + DEADLINE;
    while !enough(host.groups.each_ref().map(|group| &group.fate)) {
        assert!(Instant::now() < end, "not within {DEADLINE:?}: {what}: {:#?}", host.groups);
        assert!(host.turn().unwrap());
    }
}

/// Leave, and check that no connection was forgotten.
#[track_caller]
fn leave(host: Host<'_>) -> [Fate; 3] {
    let fates = host.farewell();
    for fate in &fates {
        assert_eq!(fate.opened, fate.ended_well + fate.cut_short + fate.unfinished, "{fate:#?}");
    }
    fates
}

/// Tells who has come.
struct Guests(mpsc::Sender<SocketAddr>);

impl Observer for Guests {
    fn accepted(&mut self, _: RawFd, peer: SocketAddr) {
        self.0.send(peer).ok();
    }
}

/// This crate's own server in a thread; it ends with the process of the tests.
fn echo() -> (SocketAddr, mpsc::Receiver<SocketAddr>) {
    let listener = initserver("127.0.0.1:0".parse().unwrap()).unwrap();
    let (addr, (sender, guests)) = (listener.addr(), mpsc::channel());
    thread::spawn(move || {
        let (_stopper, stop) = stop::pair().unwrap();
        epoll_level::serve(listener, &stop, Echo::observed(Reply::Echo, SCRATCH_BYTES, Guests(sender)))
    });
    (addr, guests)
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
    let (addr, _guests) = echo();
    for size in [1, SIZE, 300_000] {
        let mut host = host(addr, of(3, 3, 3), size);
        until(&mut host, "ten rounds and an answer for the slow", |[slow, half, reset]| {
            slow.checked_bytes > 0 && half.ended_well >= 10 && reset.ended_well >= 10
        });
        let [slow, half, reset] = leave(host);
        for fate in [&slow, &half, &reset] {
            assert_eq!((fate.connections, fate.refused), (3, 0), "{fate:#?}");
            assert_eq!((fate.cut_short, fate.wrong_bytes), (0, 0), "{fate:#?}");
            assert_eq!(fate.first_trouble, None, "{fate:#?}");
        }
        assert!(half.checked_bytes >= half.ended_well * u64::from(size), "{half:#?}");
        assert!(reset.checked_bytes <= reset.opened * u64::from(size / 2), "{reset:#?}");
    }
}

#[test]
fn a_slow_reader_fills_the_buffers_until_the_server_takes_no_more() {
    let (addr, _guests) = echo();
    let mut host = host(addr, of(1, 0, 0), SIZE);
    // The server no longer reads, so what is sent is held back by what is read.
    let full = |sent_before: u64, fate: &Fate| fate.sent_bytes == sent_before && sent_before > 500_000;
    let (end, mut sent_before) = (Instant::now() + DEADLINE, 0);
    while !full(sent_before, &host.groups[0].fate) {
        assert!(Instant::now() < end, "{:#?}", host.groups[0]);
        sent_before = host.groups[0].fate.sent_bytes;
        for _ in 0..5 {
            assert!(host.turn().unwrap());
        }
    }
    let read = host.groups[0].fate.checked_bytes;
    until(&mut host, "it is served on", |[slow, ..]| slow.checked_bytes > read + 50_000);
    let [slow, ..] = leave(host);
    assert!(slow.sent_bytes > slow.checked_bytes + 400_000, "{slow:#?}");
    assert_eq!((slow.opened, slow.ended_well, slow.wrong_bytes), (1, 1, 0), "{slow:#?}");
}

#[test]
fn of_a_thousand_no_more_than_four_of_a_kind_connect_in_10_ms() {
    let (addr, _guests) = echo();
    let mut host = host(addr, of(0, 1000, 1000), SIZE);
    let start = Instant::now();
    until(&mut host, "a hundred each", |[_, half, reset]| half.opened >= 100 && reset.opened >= 100);
    assert!(start.elapsed() >= 24 * TICK, "100 connections, 4 a tick: {:?}", start.elapsed());
    leave(host);
}

#[test]
fn a_half_closer_that_gets_the_end_and_no_answer_is_cut_short() {
    let addr = wrong(|mut client| client.read_exact(&mut [0; SIZE as usize]));
    let mut host = host(addr, of(0, 2, 0), SIZE);
    until(&mut host, "three rounds", |[_, half, _]| half.cut_short >= 3);
    let [_, half, _] = leave(host);
    assert_eq!((half.ended_well, half.checked_bytes, half.wrong_bytes), (0, 0, 0), "{half:#?}");
    let trouble = half.first_trouble.unwrap();
    assert_eq!(trouble, "the server closed it with 1000 bytes of an answer missing");
}

#[test]
fn a_server_that_resets_cuts_every_kind_short() {
    let addr = wrong(|mut client| {
        client.read_exact(&mut [0; 1])?;
        socket::set_reset_on_close(&client).map_err(io::Error::from)
    });
    let mut host = host(addr, of(1, 1, 1), SIZE);
    until(&mut host, "all are cut short", |fates| fates.iter().all(|fate| fate.cut_short > 0));
    for fate in leave(host) {
        let trouble = fate.first_trouble.unwrap();
        let known = ["(os error 104)", "(os error 32)", "(os error 107)"]; // Reset, pipe, not connected.
        assert!(known.iter().any(|known| trouble.contains(known)), "{trouble}");
        assert_eq!(fate.wrong_bytes, 0);
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
    let mut host = host(addr, of(1, 1, 1), SIZE);
    until(&mut host, "all have seen it", |fates| fates.iter().all(|fate| fate.wrong_bytes > 0));
    for fate in leave(host) {
        let trouble = fate.first_trouble.unwrap();
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
    let mut host = host(addr, of(0, 1, 0), SIZE);
    until(&mut host, "it is seen", |[_, half, _]| half.cut_short > 0);
    let [_, half, _] = leave(host);
    assert!(half.wrong_bytes >= 8, "{half:#?}");
    assert_eq!(half.first_trouble.unwrap(), "8 bytes came back that had not been sent");
}

#[test]
fn who_is_refused_tries_again_no_sooner_than_after_100_ms() {
    let any = "127.0.0.1:0".parse().unwrap();
    // Bound but not listening: nobody else can get the port, and it refuses.
    let holder = socket::tcp(&any, Mode::Blocking).unwrap();
    socket::bind(&holder, &any).unwrap();
    let mut host = host(socket::local_addr(&holder).unwrap(), of(1, 1, 1), SIZE);
    let start = Instant::now();
    until(&mut host, "three attempts each", |fates| fates.iter().all(|fate| fate.refused >= 3));
    assert!(start.elapsed() >= 2 * RETRY, "{:?}", start.elapsed());
    for fate in leave(host) {
        assert_eq!((fate.opened, fate.cut_short, fate.sent_bytes), (0, 0, 0), "{fate:#?}");
        let trouble = fate.first_trouble.unwrap();
        assert!(trouble.starts_with("connect(fd "), "{trouble}");
        assert!(trouble.ends_with("Connection refused (os error 111)"), "{trouble}");
    }
}

#[test]
fn an_attempt_that_fails_at_once_is_counted_and_made_again() {
    let (addr, _guests) = echo();
    // For documentation: nobody has this address.
    let nowhere = ["192.0.2.1".parse().unwrap()];
    let mut host = Host::new(addr, &nowhere, of(0, 1, 0), SIZE, 7).unwrap();
    until(&mut host, "two attempts", |[_, half, _]| half.refused >= 2);
    let [_, half, _] = leave(host);
    let trouble = half.first_trouble.unwrap();
    assert!(trouble.starts_with("from 192.0.2.1: bind(fd "), "{trouble}");
}

#[test]
fn connections_come_from_the_sources_in_turn() {
    let (addr, guests) = echo();
    let sources: [IpAddr; 3] = ["127.0.0.2", "127.0.0.3", "127.0.0.4"].map(|ip| ip.parse().unwrap());
    let mut host = Host::new(addr, &sources, of(3, 1, 1), SIZE, 7).unwrap();
    until(&mut host, "a round or two", |[slow, half, reset]| {
        slow.opened == 3 && half.ended_well >= 2 && reset.ended_well >= 2
    });
    leave(host);
    let mut seen: Vec<_> = (0..7).map(|_| guests.recv_timeout(DEADLINE).unwrap().ip()).collect();
    seen.sort();
    seen.dedup();
    assert_eq!(seen, sources);
}

#[test]
fn only_the_half_closer_leaves_time_wait_and_no_reset_on_close_avoids_it() {
    let (addr, _guests) = echo();
    let mut one = host(addr, of(2, 0, 2), SIZE);
    until(&mut one, "rounds", |[slow, _, reset]| slow.checked_bytes > 0 && reset.ended_well >= 4);
    leave(one);
    assert_eq!(count(addr, |state| *state == TcpState::TimeWait), 0);
    let mut two = host(addr, of(0, 1, 0), SIZE);
    until(&mut two, "a round", |[_, half, _]| half.ended_well >= 1);
    leave(two);
    let waiting = count(addr, |state| *state == TcpState::TimeWait);
    assert_ne!(waiting, 0, "has Linux learnt to do without?");
}

#[test]
fn a_server_that_hangs_does_not_keep_the_company_from_leaving() {
    // It listens, so that connections stand, and accepts none.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let (stopper, stop) = stop::pair().unwrap();
    let (sender, left) = mpsc::channel();
    thread::spawn(move || sender.send(run(addr, &[], of(2, 2, 2), 1 << 20, 7, stop.as_fd())).ok());
    let end = Instant::now() + DEADLINE;
    while count(addr, |state| *state != TcpState::SynSent) < 6 {
        assert!(Instant::now() < end, "not within {DEADLINE:?}: six connections stand");
        thread::sleep(Duration::from_millis(1)); // Between two looks. What is waited for is the state.
    }
    stopper.stop().unwrap();
    // Long before its patience with the server is at an end.
    let fates = left.recv_timeout(PATIENCE / 2).expect("it leaves").unwrap();
    for fate in [&fates.slow_reader, &fates.half_close, &fates.reset] {
        assert_eq!((fate.ended_well, fate.cut_short, fate.checked_bytes), (0, 0, 0), "{fate:#?}");
    }
}

#[test]
fn nobody_is_company_too_and_waits_for_the_end_only() {
    let (stopper, stop) = stop::pair().unwrap();
    stopper.stop().unwrap();
    let nowhere = "127.0.0.1:1".parse().unwrap();
    let fates = run(nowhere, &[], HostileClients::default(), SIZE, 7, stop.as_fd()).unwrap();
    assert_eq!(Fates { cpu_s: 0.0, ..fates.clone() }, Fates::default());
    let mut page = Page::new(None);
    fates.show(&mut page);
    assert_eq!(page.into_text(), "", "there is nothing to say");
}
