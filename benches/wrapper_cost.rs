//! What the wrappers of `sys` cost beside the bare call: counting, naming the error, retrying.
//!
//! Counting cannot be switched off. So there are three ways to make each call: `bare` calls libc, `uncounted` the function of nix that
//! the wrapper calls, and `sys` the wrapper. The difference between the last two is what counting and naming cost. The wrapper of
//! poll(2) calls libc itself, so it has no `uncounted`.
//!
//! `cargo bench --bench wrapper_cost` measures nanoseconds, nearly all of them in the kernel. With `--turns N CASE` the program only
//! takes so many turns of a case, such as `recv, nothing there/bare`: for callgrind, which counts the instructions outside of the
//! kernel. `scripts/bench.sh` does that for N and 2 N turns, so that in the difference only the turns are left.
#![expect(unsafe_code, reason = "bare calls, which the wrappers are compared with")]

use criterion::Criterion;
use io_models::sys::epoll::{Epoll, Events};
use io_models::sys::fcntl::set_nonblocking;
use io_models::sys::poll::{PollFlags, PollSet};
use io_models::sys::socket::{Received, Sent, recv, send};
use nix::errno::Errno;
use nix::sys::epoll::{Epoll as NixEpoll, EpollCreateFlags, EpollEvent, EpollTimeout};
use nix::sys::socket::MsgFlags;
use std::hint::black_box;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// What the cases work on. Nothing is ready.
struct Files {
    one: UnixStream,
    other: UnixStream,
    message: [u8; 64],
    buffer: [u8; 128],
    set: PollSet,
    epoll: Epoll,
    events: Events,
    nix_epoll: NixEpoll,
    nix_events: [EpollEvent; 8],
}

impl Files {
    fn new() -> Files {
        let (one, other) = UnixStream::pair().expect("two descriptors");
        set_nonblocking(&other).expect("an open socket");
        let mut set = PollSet::new();
        set.push(&other, PollFlags::POLLIN);
        Files {
            one,
            other,
            message: [7; 64],
            buffer: [0; 128],
            set,
            epoll: Epoll::new().expect("a descriptor"),
            events: Events::with_capacity(8),
            nix_epoll: NixEpoll::new(EpollCreateFlags::EPOLL_CLOEXEC).expect("a descriptor"),
            nix_events: [EpollEvent::empty(); 8],
        }
    }
}

type Turn = fn(&mut Files);

/// What is called, how, and a turn, which checks its result: by `matches!`, because to compare whole results costs as much as a wrapper.
const CASES: [(&str, &str, Turn); 11] = [
    ("recv, nothing there", "bare", |files| {
        assert_eq!(bare_recv(files.other.as_raw_fd(), black_box(&mut files.buffer)), -1);
        assert_eq!(Errno::last(), Errno::EAGAIN);
    }),
    ("recv, nothing there", "uncounted", |files| {
        let received = nix_recv(&files.other, black_box(&mut files.buffer));
        assert!(matches!(received, Err(Errno::EAGAIN)));
    }),
    ("recv, nothing there", "sys", |files| {
        assert!(matches!(recv(&files.other, black_box(&mut files.buffer)), Ok(Received::NotNow)));
    }),
    ("send and recv 64 bytes", "bare", |files| {
        assert_eq!(bare_send(files.one.as_raw_fd(), black_box(&files.message)), 64);
        assert_eq!(bare_recv(files.other.as_raw_fd(), black_box(&mut files.buffer)), 64);
    }),
    ("send and recv 64 bytes", "uncounted", |files| {
        let fd = files.one.as_raw_fd();
        assert!(matches!(
            nix::sys::socket::send(fd, black_box(&files.message), MsgFlags::MSG_NOSIGNAL),
            Ok(64)
        ));
        assert!(matches!(nix_recv(&files.other, black_box(&mut files.buffer)), Ok(64)));
    }),
    ("send and recv 64 bytes", "sys", |files| {
        assert!(matches!(send(&files.one, black_box(&files.message)), Ok(Sent::Bytes(64))));
        assert!(matches!(recv(&files.other, black_box(&mut files.buffer)), Ok(Received::Bytes(64))));
    }),
    ("epoll_wait, time limit 0", "bare", |files| {
        let epoll = files.nix_epoll.0.as_fd().as_raw_fd();
        assert_eq!(bare_epoll_wait(epoll), 0);
    }),
    ("epoll_wait, time limit 0", "uncounted", |files| {
        let found = files.nix_epoll.wait(black_box(&mut files.nix_events), EpollTimeout::ZERO);
        assert!(matches!(found, Ok(0)));
    }),
    ("epoll_wait, time limit 0", "sys", |files| {
        assert!(matches!(files.epoll.wait(black_box(&mut files.events), Some(Duration::ZERO)), Ok(0)));
    }),
    ("poll, time limit 0", "bare", |files| {
        assert_eq!(bare_poll(files.other.as_raw_fd()), 0);
    }),
    ("poll, time limit 0", "sys", |files| {
        assert!(matches!(black_box(&mut files.set).wait(Some(Duration::ZERO)), Ok(0)));
    }),
];

fn nix_recv(socket: &UnixStream, buffer: &mut [u8]) -> nix::Result<usize> {
    nix::sys::socket::recv(socket.as_raw_fd(), buffer, MsgFlags::empty())
}

fn bare_recv(fd: RawFd, buffer: &mut [u8]) -> isize {
    // SAFETY: pointer and length are those of one slice, which is exclusively borrowed.
    unsafe { libc::recv(fd, buffer.as_mut_ptr().cast(), buffer.len(), 0) }
}

fn bare_send(fd: RawFd, bytes: &[u8]) -> isize {
    // SAFETY: pointer and length are those of one slice, which the kernel only reads.
    unsafe { libc::send(fd, bytes.as_ptr().cast(), bytes.len(), libc::MSG_NOSIGNAL) }
}

fn bare_epoll_wait(epoll: RawFd) -> i32 {
    let mut events = [libc::epoll_event { events: 0, u64: 0 }; 8];
    // SAFETY: pointer and count are those of an array on this stack.
    unsafe { libc::epoll_wait(epoll, black_box(&mut events).as_mut_ptr(), 8, 0) }
}

fn bare_poll(fd: RawFd) -> i32 {
    let mut entry = libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
    // SAFETY: the pointer is that of one entry on this stack.
    unsafe { libc::poll(black_box(&raw mut entry), 1, 0) }
}

fn main() {
    let arguments: Vec<_> = std::env::args().collect();
    match &arguments[..] {
        [_, option, turns, case, ..] if option == "--turns" => take(turns, case),
        _ => measure(&mut Criterion::default().configure_from_args()),
    }
}

fn take(turns: &str, case: &str) {
    let turns: u32 = turns.parse().expect("--turns N CASE");
    let (.., turn) =
        CASES.iter().find(|(what, how, _)| case == format!("{what}/{how}")).expect("a case that exists");
    let mut files = Files::new();
    (0..turns).for_each(|_| turn(&mut files));
}

fn measure(c: &mut Criterion) {
    for (what, how, turn) in CASES {
        let mut files = Files::new();
        c.benchmark_group(format!("wrapper: {what}")).bench_function(how, |b| b.iter(|| turn(&mut files)));
    }
    c.final_summary();
}
