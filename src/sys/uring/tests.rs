//! Each on a socket pair, in a ring of its own.

use super::ring::ENTRIES;
use super::*;
use crate::sys::fork::exit_child;
use crate::sys::{Errno, close};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::ForkResult;
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

const DEADLINE: Duration = Duration::from_secs(10);

/// A ring of two buffers, with one socket in slot 0, and the other end of it; `None` where there is no io_uring.
fn ring_with(buffers: Plan) -> Option<(Ring, Socket, UnixStream)> {
    if let Some(why) = unavailable() {
        eprintln!("skipped: {why}");
        return None;
    }
    let mut ring = Ring::new(Setup {
        slots: 4,
        direct: true,
        source: (0..=255).collect(),
        buffers: vec![buffers],
        ..Setup::default()
    })
    .unwrap();
    let (ours, theirs) = UnixStream::pair().unwrap();
    let socket = ring.put(0, &ours).unwrap();
    Some((ring, socket, theirs))
}

fn ring() -> Option<(Ring, Socket, UnixStream)> {
    ring_with(Plan { size: 8, first: 2, most: 2, is_incremental: false })
}

fn one(ring: &mut Ring) -> Completion {
    let started = Instant::now();
    loop {
        if let Some(completion) = ring.next() {
            return completion;
        }
        let left = DEADLINE.checked_sub(started.elapsed()).expect("a completion within 10 s");
        ring.enter(1, Some(left)).unwrap();
    }
}

/// The next one is that these bytes came, with that token; whether the receive goes on.
fn receives(ring: &mut Ring, token: u64, bytes: &[u8]) -> bool {
    let completion = one(ring);
    assert_eq!(completion.token, token);
    let Event::Received(Ok(lease)) = completion.event else { panic!("{completion:?}") };
    assert_eq!(ring.bytes(&lease), bytes);
    ring.give(lease);
    completion.more
}

/// The next one is that a send has sent so many bytes.
fn has_sent(ring: &mut Ring, bytes: usize) -> Piece {
    let completion = one(ring);
    let Event::Sent(piece, sent) = completion.event else { panic!("{completion:?}") };
    assert_eq!(sent, Ok(bytes));
    piece
}

#[test]
fn a_send_of_each_kind_of_piece_arrives_and_hands_the_piece_back() {
    for manner in [Manner::Now, Manner::Quietly, Manner::Waiting] {
        let Some((mut ring, socket, mut theirs)) = ring() else { return };
        theirs.write_all(b"echo").unwrap();
        ring.receive(&socket, 1).unwrap();
        let Event::Received(Ok(lease)) = one(&mut ring).event else { panic!("nothing was received") };
        for (piece, bytes) in [
            (Piece::Received(lease), &b"echo"[..]),
            (Piece::Source(65..68), b"ABC"),
            (Piece::Owned(Box::new(*b"own")), b"own"),
        ] {
            ring.send(&socket, piece, manner, 7).unwrap();
            ring.enter(0, None).unwrap();
            let piece = has_sent(&mut ring, bytes.len());
            assert_eq!(ring.bytes_of(&piece), bytes);
            ring.give_back(piece);
            let mut got = vec![0; bytes.len()];
            theirs.read_exact(&mut got).unwrap();
            assert_eq!(got, bytes);
        }
    }
}

#[test]
fn a_receive_goes_on_until_the_end_and_its_buffers_come_back() {
    let Some((mut ring, socket, mut theirs)) = ring() else { return };
    ring.receive(&socket, 1).unwrap();
    for round in 0..10 {
        theirs.write_all(&[round; 8]).unwrap();
        assert!(receives(&mut ring, 1, &[round; 8]), "the receive ended in round {round}");
    }
    drop(theirs);
    let end = one(&mut ring);
    assert!(matches!(end, Completion { token: 1, event: Event::Ended, more: false, .. }), "{end:?}");
    assert!(!ring.is_busy());
}

#[test]
fn without_a_buffer_a_receive_says_so_and_nothing_is_lost() {
    let Some((mut ring, socket, mut theirs)) = ring() else { return };
    theirs.write_all(&(0..24).collect::<Vec<_>>()).unwrap();
    ring.receive(&socket, 1).unwrap();
    let (mut got, mut lent, mut starved) = (Vec::new(), Vec::new(), 0);
    while got.len() < 24 {
        match one(&mut ring) {
            Completion { event: Event::Received(Ok(lease)), .. } => {
                got.extend_from_slice(ring.bytes(&lease));
                lent.push(lease);
            }
            Completion { event: Event::Received(Err(Errno::ENOBUFS)), more: false, .. } => {
                starved += 1;
                lent.drain(..).for_each(|lease| ring.give(lease));
                ring.receive(&socket, 1).unwrap();
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(got, (0..24).collect::<Vec<_>>());
    assert!(starved > 0);
}

#[test]
fn a_ring_that_starves_gets_more_buffers() {
    let Some((mut ring, socket, mut theirs)) =
        ring_with(Plan { size: 8, first: 1, most: 4, is_incremental: false })
    else {
        return;
    };
    theirs.write_all(&[1; 32]).unwrap();
    let (mut lent, mut starved) = (Vec::new(), 0);
    ring.receive(&socket, 1).unwrap();
    while lent.len() < 4 {
        match one(&mut ring).event {
            Event::Received(Ok(lease)) => lent.push(lease),
            Event::Received(Err(Errno::ENOBUFS)) => {
                starved += 1;
                assert!(starved <= 2, "one buffer, then two, then four");
                ring.add_buffers();
                ring.receive(&socket, 1).unwrap();
            }
            other => panic!("{other:?}"),
        }
    }
}

/// Fill the way to the other end, which does not read.
fn fill(ring: &mut Ring, socket: &Socket) -> usize {
    let mut sent = 0;
    loop {
        ring.send(socket, Piece::Owned(vec![7; 100_000].into()), Manner::Now, 1).unwrap();
        let completion = one(ring);
        let Event::Sent(piece, Ok(bytes)) = completion.event else { panic!("{completion:?}") };
        assert_eq!(ring.bytes_of(&piece).len(), 100_000);
        sent += bytes;
        if bytes < 100_000 {
            return sent;
        }
    }
}

#[test]
fn what_there_is_no_room_for_can_wait() {
    let Some((mut ring, socket, mut theirs)) = ring() else { return };
    let before = fill(&mut ring, &socket);
    ring.send(&socket, Piece::Source(0..256), Manner::Now, 2).unwrap();
    has_sent(&mut ring, 0);
    ring.send(&socket, Piece::Source(0..256), Manner::Waiting, 3).unwrap();
    ring.enter(0, None).unwrap();
    assert!(ring.next().is_none(), "there is no room");
    let mut got = vec![0; before + 256];
    let reader = std::thread::spawn(move || {
        theirs.read_exact(&mut got).unwrap();
        got
    });
    has_sent(&mut ring, 256);
    assert_eq!(reader.join().unwrap()[before..], (0..=255).collect::<Vec<u8>>());
}

#[test]
fn a_send_that_waits_when_the_ring_goes_is_ended_first() {
    let Some((mut ring, socket, mut theirs)) = ring() else { return };
    fill(&mut ring, &socket);
    ring.send(&socket, Piece::Owned(vec![1; 100_000].into()), Manner::Waiting, 3).unwrap();
    ring.receive(&socket, 4).unwrap();
    ring.enter(0, None).unwrap();
    assert!(ring.is_busy());
    drop(ring);
    theirs.set_read_timeout(Some(DEADLINE)).unwrap();
    let end = theirs.read_to_end(&mut Vec::new());
    assert!(end.is_ok(), "the slot still holds the socket: {end:?}");
}

#[test]
fn a_failed_send_says_why() {
    let Some((mut ring, socket, theirs)) = ring() else { return };
    drop(theirs);
    for manner in [Manner::Now, Manner::Quietly, Manner::Waiting] {
        ring.send(&socket, Piece::Source(0..1), manner, 1).unwrap();
        let completion = one(&mut ring);
        assert!(matches!(completion.event, Event::Sent(_, Err(Errno::EPIPE))), "{completion:?}");
    }
    assert!(!ring.is_busy());
}

#[test]
fn a_wait_without_events_ends_in_time_and_not_before() {
    let Some((mut ring, socket, theirs)) = ring() else { return };
    ring.poll(&socket, libc::POLLIN, 3).unwrap();
    let (started, limit) = (Instant::now(), Duration::from_micros(1500));
    ring.enter(1, Some(limit)).unwrap();
    assert!(started.elapsed() >= limit);
    assert!(ring.next().is_none());
    ring.cancel_all().unwrap();
    let end = one(&mut ring);
    assert!(matches!(
        end,
        Completion { token: 3, event: Event::Ready(Err(Errno::ECANCELED)), more: false, .. }
    ));
    drop(theirs);
}

#[test]
fn what_was_queued_for_a_socket_does_not_meet_the_next_one_in_its_slot() {
    let Some((mut ring, socket, mut first)) = ring() else { return };
    ring.receive(&socket, 1).unwrap();
    ring.send(&socket, Piece::Source(1..2), Manner::Now, 2).unwrap();
    ring.abort(socket).unwrap();
    let (ours, mut second) = UnixStream::pair().unwrap();
    let socket = ring.put(0, &ours).unwrap();
    ring.send(&socket, Piece::Source(9..10), Manner::Now, 3).unwrap();
    ring.enter(0, None).unwrap();
    let mut got = [0; 2];
    assert_eq!((first.read(&mut got).unwrap(), got[0]), (1, 1));
    assert_eq!((second.read(&mut got).unwrap(), got[0]), (1, 9));
    assert_eq!(first.read(&mut got).unwrap(), 0, "it was closed");
}

#[test]
fn more_operations_than_the_queue_has_room_for_are_all_done() {
    let Some((mut ring, socket, theirs)) = ring() else { return };
    let many = 3 * ENTRIES as usize;
    theirs.set_nonblocking(true).unwrap();
    (0..many).for_each(|i| ring.poll(&socket, libc::POLLOUT, i as u64).unwrap());
    let mut seen: Vec<_> = (0..many).map(|_| one(&mut ring).token as usize).collect();
    seen.sort_unstable();
    assert_eq!(seen, (0..many).collect::<Vec<_>>());
}

#[test]
fn a_send_for_which_the_queue_has_no_room_is_done_when_the_kernel_hears_of_it() {
    if let Some(why) = unavailable() {
        return eprintln!("skipped: {why}");
    }
    let setup = Setup { slots: 1, source: (0..=255).collect(), ..Setup::default() };
    let mut ring = Ring::with_queues(setup, 4, 8).unwrap();
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    let socket = ring.put(0, &ours).unwrap();
    theirs.set_nonblocking(true).unwrap();
    for piece in [Piece::Source(1..2), Piece::Owned(Box::new([1]))] {
        while !ring.is_queue_full() {
            ring.poll(&socket, libc::POLLIN, 5).unwrap();
        }
        ring.send(&socket, piece, Manner::Now, 6).unwrap();
        assert_eq!(theirs.read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
        assert!(ring.next().is_none(), "nothing was sent yet");
        ring.enter(0, None).unwrap();
        let piece = has_sent(&mut ring, 1);
        assert_eq!(ring.bytes_of(&piece), [1]);
        assert_eq!(theirs.read(&mut [0]).unwrap(), 1);
    }
    // The same without room in the socket: the kernel says that nothing was sent.
    fill(&mut ring, &socket);
    while !ring.is_queue_full() {
        ring.poll(&socket, libc::POLLIN, 5).unwrap();
    }
    ring.send(&socket, Piece::Owned(Box::new([1])), Manner::Now, 6).unwrap();
    assert!(ring.next().is_none(), "nothing was sent yet");
    has_sent(&mut ring, 0);
}

/// The kernel keeps what the queue of completions has no room for.
#[test]
fn more_completions_than_the_queue_has_room_for_all_come() {
    const POLLS: usize = 400;
    if let Some(why) = unavailable() {
        return eprintln!("skipped: {why}");
    }
    let setup = Setup { slots: 1, source: (0..=255).collect(), ..Setup::default() };
    let mut ring = Ring::with_queues(setup, 4, 4).unwrap();
    let (full, _never_reads) = UnixStream::pair().unwrap();
    let full = ring.put(0, &full).unwrap();
    fill(&mut ring, &full);
    let (ready, mut other) = UnixStream::pair().unwrap();
    (0..POLLS).for_each(|_| ring.poll_fd(&ready, libc::POLLIN, 5).unwrap());
    ring.enter(0, None).unwrap();
    other.write_all(b"x").unwrap();
    // All are ready, and the queue has room for 4.
    ring.enter(1, None).unwrap();
    ring.send(&full, Piece::Source(0..9), Manner::Now, 6).unwrap();
    let (mut polls, mut sends) = (0, 0);
    while ring.is_busy() {
        match one(&mut ring) {
            Completion { token: 5, event: Event::Ready(Ok(_)), .. } => polls += 1,
            Completion { token: 6, event: Event::Sent(_, sent), .. } => {
                assert_eq!(sent, Ok(0), "there was no room");
                sends += 1;
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((polls, sends), (POLLS, 1));
}

#[test]
fn clients_are_accepted_while_there_are_slots_and_each_slot_is_used_again() {
    if let Some(why) = unavailable() {
        return eprintln!("skipped: {why}");
    }
    let mut ring = Ring::new(Setup { slots: 3, direct: true, ..Setup::default() }).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let ours = ring.put(2, &listener).unwrap();
    for _ in 0..4 {
        let _clients = [(); 2].map(|()| TcpStream::connect(addr).unwrap());
        let waits = TcpStream::connect(addr).unwrap();
        let sockets = [(); 2].map(|()| {
            ring.accept(&ours, 1).unwrap();
            match one(&mut ring) {
                Completion { token: 1, event: Event::Accepted(Ok(socket)), more: false, .. } => socket,
                other => panic!("{other:?}"),
            }
        });
        assert!(!ring.has_room());
        assert_eq!(ring.accept(&ours, 1).unwrap_err().errno(), Some(Errno::ENFILE));
        waits.set_nonblocking(true).unwrap();
        assert_eq!((&waits).read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock, "it was closed");
        sockets.into_iter().for_each(|socket| ring.close(socket).unwrap());
        // The third one, whom nobody has accepted yet.
        ring.accept(&ours, 1).unwrap();
        match one(&mut ring).event {
            Event::Accepted(Ok(socket)) => ring.close(socket).unwrap(),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_socket_that_is_taken_out_of_the_ring_outlives_it_with_what_was_queued_for_it() {
    let Some((mut ring, socket, mut theirs)) = ring() else { return };
    ring.send(&socket, Piece::Source(65..67), Manner::Now, 9).unwrap();
    let mut ours = UnixStream::from(ring.take_out(socket).unwrap());
    drop(ring);
    ours.write_all(b"C").unwrap();
    let mut got = [0; 3];
    theirs.read_exact(&mut got).unwrap();
    assert_eq!(&got, b"ABC");
    close(ours.into());
}

#[test]
fn an_ordinary_descriptor_is_taken_out_after_what_was_queued_for_it() {
    if let Some(why) = unavailable() {
        return eprintln!("skipped: {why}");
    }
    let setup = Setup { slots: 2, source: (0..=255).collect(), ..Setup::default() };
    let mut ring = Ring::new(setup).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let listener = ring.put(0, &listener).unwrap();
    ring.accept(&listener, 1).unwrap();
    let Event::Accepted(Ok(socket)) = one(&mut ring).event else { panic!("nobody was accepted") };
    ring.send(&socket, Piece::Source(65..66), Manner::Now, 2).unwrap();
    close(ring.take_out(socket).unwrap());
    let mut got = Vec::new();
    client.read_to_end(&mut got).unwrap();
    assert_eq!(got, b"A");
}

#[test]
fn a_quiet_send_ends_the_wait_only_when_something_was_not_sent() {
    const PAUSE: Duration = Duration::from_millis(20);
    const MORE_THAN_THERE_IS_ROOM_FOR: usize = 4 << 20;
    for spin in [0, 10] {
        if let Some(why) = unavailable() {
            return eprintln!("skipped: {why}");
        }
        let mut ring = Ring::new(Setup { slots: 1, spin, ..Setup::default() }).unwrap();
        let (ours, theirs) = UnixStream::pair().unwrap();
        let socket = ring.put(0, &ours).unwrap();
        let started = Instant::now();
        ring.send(&socket, Piece::Owned(Box::new([1])), Manner::Quietly, 1).unwrap();
        assert_eq!(ring.enter(1, Some(PAUSE)), Ok(true), "nothing else came");
        assert!(started.elapsed() >= PAUSE, "it has waited");
        assert!(ring.is_ready(), "the completion is there all the same");
        has_sent(&mut ring, 1);
        let large = Piece::Owned(vec![1; MORE_THAN_THERE_IS_ROOM_FOR].into());
        ring.send(&socket, large, Manner::Quietly, 2).unwrap();
        assert_eq!(ring.enter(1, Some(DEADLINE)), Ok(false), "the wait ends within 10 s");
        let Event::Sent(_, Ok(sent)) = one(&mut ring).event else { panic!("a part was sent") };
        assert!((1..MORE_THAN_THERE_IS_ROOM_FOR).contains(&sent), "{sent}");
        ring.send(&socket, Piece::Owned(Box::new([1])), Manner::Quietly, 3).unwrap();
        assert_eq!(ring.enter(1, Some(DEADLINE)), Ok(false), "the wait ends within 10 s");
        has_sent(&mut ring, 0);
        drop(theirs);
    }
}

#[test]
fn a_ring_that_spins_finds_what_comes() {
    if let Some(why) = unavailable() {
        return eprintln!("skipped: {why}");
    }
    let setup = Setup { slots: 1, spin: 1000, ..Setup::default() };
    let mut ring = Ring::new(setup).unwrap();
    let (ours, theirs) = UnixStream::pair().unwrap();
    let ours = ring.put(0, ours.as_fd()).unwrap();
    ring.poll(&ours, libc::POLLIN, 1).unwrap();
    let writer = std::thread::spawn(move || (&theirs).write_all(b"x").map(|()| theirs));
    assert!(matches!(one(&mut ring).event, Event::Ready(Ok(_))));
    drop(writer.join().unwrap());
}

#[test]
fn a_receive_with_a_limit_ends_when_so_many_bytes_have_come() {
    if let Some(why) = unavailable() {
        return eprintln!("skipped: {why}");
    }
    let buffers = vec![Plan { size: 8, first: 4, most: 4, is_incremental: false }];
    let mut ring = Ring::new(Setup { slots: 1, buffers, limit: 20, ..Setup::default() }).unwrap();
    if ring.limit == 0 {
        return eprintln!("skipped: before Linux 6.17 a receive has no limit");
    }
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    let socket = ring.put(0, &ours).unwrap();
    let bytes: Vec<u8> = (0..72).collect();
    theirs.write_all(&bytes).unwrap();
    // Each ends with the third buffer, in which the limit is.
    for part in bytes.chunks(24) {
        ring.receive(&socket, 1).unwrap();
        for (piece, goes_on) in part.chunks(8).zip([true, true, false]) {
            assert_eq!(receives(&mut ring, 1, piece), goes_on);
        }
        assert!(!ring.is_busy());
    }
}

#[test]
fn a_slot_that_is_in_use_is_not_given_to_another_socket() {
    let Some((mut ring, socket, _theirs)) = ring() else { return };
    let (other, _theirs) = UnixStream::pair().unwrap();
    assert_eq!(ring.put(0, &other).unwrap_err().errno(), Some(Errno::EBUSY));
    ring.close(socket).unwrap();
    assert_eq!(ring.put(0, &other).unwrap().number(), 0);
    assert_eq!(ring.put(4, &other).unwrap_err().errno(), Some(Errno::EINVAL), "it has four slots");
}

#[test]
#[should_panic(expected = "a socket of another ring")]
fn a_socket_of_another_ring_is_refused() {
    let (Some((_ring, socket, _theirs)), Some((mut other, ..))) = (ring(), ring()) else {
        panic!("a socket of another ring: not tested without io_uring");
    };
    other.receive(&socket, 1).ok();
}

#[test]
fn a_plan_of_buffers_that_cannot_be_is_refused() {
    if let Some(why) = unavailable() {
        return eprintln!("skipped: {why}");
    }
    for (size, first, most) in [(0, 1, 1), (1, 0, 1), (1, 2, 1), (1, 1, 3), (1 << 22, 1, 1 << 10)] {
        let buffers = vec![Plan { size, first, most, is_incremental: false }];
        let refused = Ring::new(Setup { buffers, ..Setup::default() }).unwrap_err();
        assert_eq!(refused.errno(), Some(Errno::EINVAL), "{size} {first} {most}");
    }
}

#[test]
fn a_poll_is_ended_by_its_token_and_others_go_on() {
    let Some((mut ring, socket, mut theirs)) = ring() else { return };
    [3, 4].into_iter().for_each(|token| ring.poll(&socket, libc::POLLIN, token).unwrap());
    ring.cancel_poll(3).unwrap();
    let end = one(&mut ring);
    assert!(matches!(
        end,
        Completion { token: 3, event: Event::Ready(Err(Errno::ECANCELED)), more: false, .. }
    ));
    theirs.write_all(b"x").unwrap();
    let ready = one(&mut ring);
    assert!(matches!(ready, Completion { token: 4, event: Event::Ready(Ok(_)), .. }), "{ready:?}");
}

#[test]
fn a_wait_that_finds_something_says_that_the_time_was_not_up() {
    let Some((mut ring, socket, mut theirs)) = ring() else { return };
    ring.poll(&socket, libc::POLLIN, 3).unwrap();
    assert!(ring.enter(1, Some(Duration::from_millis(1))).unwrap(), "nothing has come");
    theirs.write_all(b"x").unwrap();
    assert!(!ring.enter(1, Some(DEADLINE)).unwrap());
    assert_eq!(ring.next().map(|ready| ready.token), Some(3));
}

/// The memory of the queues is shared with a child: what it queues, the kernel would do with the memory of the parent.
#[test]
fn a_forked_child_can_neither_use_the_ring_of_its_parent_nor_end_its_operations() {
    let Some((mut ring, socket, mut theirs)) = ring() else { return };
    ring.receive(&socket, 1).unwrap();
    ring.poll_fd(&theirs, libc::POLLOUT, 2).unwrap();
    ring.enter(0, None).unwrap();
    ring.next().expect("the other end has room");
    theirs.write_all(b"first").unwrap();
    // A completion that nobody has taken: it comes with a call that hands over something.
    ring.poll_fd(&theirs, libc::POLLOUT, 2).unwrap();
    // SAFETY: the child allocates nothing, and takes no lock: it tries to use the ring, drops it, and ends.
    let child = match unsafe { nix::unistd::fork() }.unwrap() {
        ForkResult::Child => {
            let is_refused =
                |result: crate::Result<()>| result.is_err_and(|error| error.errno() == Some(Errno::EEXIST));
            let sends = is_refused(ring.send(&socket, Piece::Source(65..66), Manner::Now, 3));
            let enters = is_refused(ring.enter(1, None).map(drop));
            let takes_out = is_refused(ring.take_out(socket).map(drop));
            drop(ring);
            exit_child(i32::from(!(sends && enters && takes_out)));
        }
        ForkResult::Parent { child } => child,
    };
    assert_eq!(waitpid(child, None), Ok(WaitStatus::Exited(child, 0)), "1: an operation was not refused");
    let mut seen = [one(&mut ring), one(&mut ring)].map(|completion| completion.token);
    seen.sort_unstable();
    assert_eq!(seen, [1, 2], "both operations of the parent have their completions");
}

#[test]
fn what_was_taken_before_is_not_waited_for() {
    if let Some(why) = unavailable() {
        return eprintln!("skipped: {why}");
    }
    let mut ring = Ring::with_queues(Setup::default(), 4, 8).unwrap();
    let (ours, _theirs) = UnixStream::pair().unwrap();
    // The fifth has no room, so that the kernel hears of the others, which are ready.
    (0..4).for_each(|_| ring.poll_fd(&ours, libc::POLLOUT, 1).unwrap());
    ring.poll_fd(&ours, libc::POLLIN, 2).unwrap();
    assert!(ring.is_ready());
    ring.enter(1, None).unwrap();
    assert_eq!(std::iter::from_fn(|| ring.next()).count(), 4);
}
