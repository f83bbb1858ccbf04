//! The ways to wait for many sockets behind one trait, so that `wait_cost` and `register_cost` do the same work with each of them.
//! (The models of the library have no such trait, because it would hide how they differ.)
//!
//! A token is the index of a socket in [`Pairs`], as a server would look up its client.

#[cfg(feature = "uring")]
mod ring;

use io_models::sys::epoll::{self, EpollFlags, Events};
use io_models::sys::fcntl::{duplicate_from, set_nonblocking};
use io_models::sys::limits::Nofile;
use io_models::sys::poll::{PollFlags, PollSet};
use io_models::sys::select::{BigFdSet, FdSet, select, select_big};
use io_models::sys::socket::{Received, Sent, recv, send};
use mio::unix::SourceFd;
use mio::{Interest, Token};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;

#[cfg(feature = "uring")]
pub(crate) use ring::Uring;

/// Events that a wait takes at a time: more than any bench makes ready.
const ROOM: usize = 128;

/// Connected sockets: those that are watched, and their other ends.
pub(crate) struct Pairs {
    /// Non-blocking, and with low numbers, because an `fd_set` ends at 1023.
    pub(crate) ours: Vec<UnixStream>,
    theirs: Vec<OwnedFd>,
}

impl Pairs {
    /// So many, or why not.
    pub(crate) fn new(many: usize) -> Result<Pairs, String> {
        let limit = Nofile::raise().expect("the limit can be read").soft;
        let others = 50;
        if limit < (2 * many + 2 * others) as u64 {
            return Err(format!("{many} pairs of sockets are more than {limit} descriptors"));
        }
        let mut pairs = Pairs { ours: Vec::new(), theirs: Vec::new() };
        for _ in 0..many {
            let (ours, theirs) = UnixStream::pair().expect("two descriptors");
            set_nonblocking(&ours).expect("an open socket");
            pairs.theirs.push(duplicate_from(theirs, (many + others) as RawFd).expect("the limit allows it"));
            pairs.ours.push(ours);
        }
        Ok(pairs)
    }

    /// Make the socket readable.
    pub(crate) fn write(&self, i: usize) {
        assert_eq!(send(&self.theirs[i], b"x"), Ok(Sent::Bytes(1)));
    }

    /// Take what was written. It fails when nothing was, or when it was taken before.
    pub(crate) fn read(&self, i: usize) {
        assert_eq!(recv(&self.ours[i], &mut [0; 16]), Ok(Received::Bytes(1)));
    }
}

/// A way to wait for sockets.
pub(crate) trait Watch {
    /// Watch for something to read.
    fn add(&mut self, socket: &UnixStream, token: usize);

    /// Watch for room to write too.
    fn add_writing(&mut self, socket: &UnixStream, token: usize);

    /// Watch no longer.
    fn remove(&mut self, socket: &UnixStream, token: usize);

    /// After a report, watch for something to read again, if the way is one that reports once.
    fn again(&mut self, _: &UnixStream, _: usize) {}

    /// Tell the kernel what was only queued, if the way is one that queues.
    fn hand_over(&mut self) {}

    /// Wait, and append the tokens of the sockets that are ready.
    fn wait(&mut self, ready: &mut Vec<usize>);
}

/// What a bench measures: make the active sockets readable, wait, and read what is ready. That fails unless exactly these are
/// reported: it reads a byte of each, and there is one in each active socket and none in the others.
pub(crate) fn turn(watch: &mut impl Watch, pairs: &Pairs, active: &[usize], ready: &mut Vec<usize>) {
    active.iter().for_each(|&i| pairs.write(i));
    ready.clear();
    wait_for_all(watch, active.len(), ready);
    for &i in &*ready {
        pairs.read(i);
        watch.again(&pairs.ours[i], i);
    }
}

/// Wait until so many sockets are reported. One wait is enough, but with a ring, of which the kernel may leave a part to the next one.
pub(crate) fn wait_for_all(watch: &mut impl Watch, many: usize, ready: &mut Vec<usize>) {
    while ready.len() < many {
        watch.wait(ready);
    }
    assert_eq!(ready.len(), many);
}

/// The tokens of sockets by descriptor.
#[derive(Default)]
struct ByFd(Vec<usize>);

impl ByFd {
    fn set(&mut self, fd: RawFd, token: usize) {
        if self.0.len() <= fd as usize {
            self.0.resize(fd as usize + 1, usize::MAX);
        }
        self.0[fd as usize] = token;
    }

    fn tokens(&self, fds: impl Iterator<Item = RawFd>) -> impl Iterator<Item = usize> {
        fds.map(|fd| self.0[fd as usize])
    }
}

/// select(2) with an `fd_set`.
#[derive(Default)]
pub(crate) struct Select {
    read: FdSet,
    write: Option<FdSet>,
    by_fd: ByFd,
}

impl Select {
    pub(crate) fn new(pairs: &Pairs) -> Result<Select, String> {
        let highest = pairs.ours.iter().map(AsRawFd::as_raw_fd).max();
        match highest.filter(|&fd| fd as usize >= FdSet::CAPACITY) {
            Some(fd) => Err(format!("an fd_set ends at descriptor 1023, and this needs {fd}")),
            None => Ok(Select::default()),
        }
    }
}

impl Watch for Select {
    fn add(&mut self, socket: &UnixStream, token: usize) {
        self.by_fd.set(socket.as_raw_fd(), token);
        self.read.insert(socket.as_raw_fd()).expect("it was checked");
    }

    fn add_writing(&mut self, socket: &UnixStream, _: usize) {
        self.write.get_or_insert_default().insert(socket.as_raw_fd()).expect("it was checked");
    }

    fn remove(&mut self, socket: &UnixStream, _: usize) {
        self.read.remove(socket.as_raw_fd());
        self.write.iter_mut().for_each(|set| set.remove(socket.as_raw_fd()));
    }

    fn wait(&mut self, ready: &mut Vec<usize>) {
        let (mut read, mut write) = (self.read, self.write);
        select(&mut read, write.as_mut(), None).expect("all are open");
        ready.extend(self.by_fd.tokens(read.iter()));
        ready.extend(self.by_fd.tokens(write.iter().flat_map(FdSet::iter)));
    }
}

/// select(2) as the raw call, with bitmaps that grow.
#[derive(Default)]
pub(crate) struct SelectBig {
    read: BigFdSet,
    write: Option<BigFdSet>,
    readable: BigFdSet,
    by_fd: ByFd,
}

impl Watch for SelectBig {
    fn add(&mut self, socket: &UnixStream, token: usize) {
        self.by_fd.set(socket.as_raw_fd(), token);
        self.read.insert(socket.as_raw_fd());
    }

    fn add_writing(&mut self, socket: &UnixStream, _: usize) {
        self.write.get_or_insert_default().insert(socket.as_raw_fd());
    }

    fn remove(&mut self, socket: &UnixStream, _: usize) {
        self.read.remove(socket.as_raw_fd());
        self.write.iter_mut().for_each(|set| set.remove(socket.as_raw_fd()));
    }

    fn wait(&mut self, ready: &mut Vec<usize>) {
        self.readable.clone_from(&self.read);
        let mut write = self.write.clone();
        select_big(&mut self.readable, write.as_mut(), None).expect("all are open");
        ready.extend(self.by_fd.tokens(self.readable.iter()));
        ready.extend(self.by_fd.tokens(write.iter().flat_map(BigFdSet::iter)));
    }
}

/// poll(2).
#[derive(Default)]
pub(crate) struct Poll {
    set: PollSet,
    tokens: Vec<usize>,
    slots: Vec<usize>,
}

impl Watch for Poll {
    fn add(&mut self, socket: &UnixStream, token: usize) {
        let slot = self.set.push(socket, PollFlags::POLLIN);
        self.tokens.push(token);
        self.slots.resize(self.slots.len().max(token + 1), usize::MAX);
        self.slots[token] = slot;
    }

    fn add_writing(&mut self, _: &UnixStream, token: usize) {
        self.set.set_events(self.slots[token], PollFlags::POLLIN | PollFlags::POLLOUT);
    }

    fn remove(&mut self, _: &UnixStream, token: usize) {
        let slot = self.slots[token];
        self.set.swap_remove(slot);
        self.tokens.swap_remove(slot);
        if let Some(&moved) = self.tokens.get(slot) {
            self.slots[moved] = slot;
        }
    }

    fn wait(&mut self, ready: &mut Vec<usize>) {
        let found = self.set.wait(None).expect("all are open");
        let slots = (0..self.set.len()).filter(|&slot| !self.set.revents(slot).is_empty());
        ready.extend(slots.take(found).map(|slot| self.tokens[slot]));
    }
}

/// epoll(7), in the mode of these flags.
pub(crate) struct Epoll {
    epoll: epoll::Epoll,
    events: Events,
    mode: EpollFlags,
}

impl Epoll {
    pub(crate) fn new(mode: EpollFlags) -> Epoll {
        let epoll = epoll::Epoll::new().expect("a descriptor");
        Epoll { epoll, events: Events::with_capacity(ROOM), mode }
    }
}

impl Watch for Epoll {
    fn add(&mut self, socket: &UnixStream, token: usize) {
        self.epoll.add(socket, token as u64, EpollFlags::EPOLLIN | self.mode).expect("it is not watched");
    }

    fn add_writing(&mut self, socket: &UnixStream, token: usize) {
        let events = EpollFlags::EPOLLIN | EpollFlags::EPOLLOUT | self.mode;
        self.epoll.modify(socket, token as u64, events).expect("it is watched");
    }

    fn remove(&mut self, socket: &UnixStream, _: usize) {
        self.epoll.delete(socket).expect("it is watched");
    }

    fn wait(&mut self, ready: &mut Vec<usize>) {
        self.epoll.wait(&mut self.events, None).expect("the epoll is open");
        ready.extend(self.events.iter().map(|event| event.token as usize));
    }
}

/// The crate mio: an epoll, edge-triggered.
pub(crate) struct Mio {
    poll: mio::Poll,
    events: mio::Events,
}

impl Mio {
    pub(crate) fn new() -> Mio {
        Mio { poll: mio::Poll::new().expect("a descriptor"), events: mio::Events::with_capacity(ROOM) }
    }
}

impl Watch for Mio {
    fn add(&mut self, socket: &UnixStream, token: usize) {
        let registered = self.poll.registry().register(
            &mut SourceFd(&socket.as_raw_fd()),
            Token(token),
            Interest::READABLE,
        );
        registered.expect("it is not watched");
    }

    fn add_writing(&mut self, socket: &UnixStream, token: usize) {
        let both = Interest::READABLE | Interest::WRITABLE;
        let changed = self.poll.registry().reregister(&mut SourceFd(&socket.as_raw_fd()), Token(token), both);
        changed.expect("it is watched");
    }

    fn remove(&mut self, socket: &UnixStream, _: usize) {
        self.poll.registry().deregister(&mut SourceFd(&socket.as_raw_fd())).expect("it is watched");
    }

    fn wait(&mut self, ready: &mut Vec<usize>) {
        self.poll.poll(&mut self.events, None).expect("no signal comes");
        ready.extend(self.events.iter().map(|event| event.token().0));
    }
}

/// The crate polling: an epoll that reports each socket once, as is its default (`EPOLLONESHOT`).
pub(crate) struct Polling {
    poller: polling::Poller,
    events: polling::Events,
}

impl Polling {
    pub(crate) fn new() -> Polling {
        Polling { poller: polling::Poller::new().expect("descriptors"), events: polling::Events::new() }
    }
}

impl Watch for Polling {
    fn add(&mut self, socket: &UnixStream, token: usize) {
        // SAFETY: a socket must not be closed while the poller watches it. The sockets are those of `Pairs`, which both benches lend
        // to the function that owns the poller.
        #[expect(unsafe_code, reason = "polling's own way to add a socket")]
        let added = unsafe { self.poller.add(socket, polling::Event::readable(token)) };
        added.expect("it is not watched");
    }

    fn add_writing(&mut self, socket: &UnixStream, token: usize) {
        self.poller.modify(socket, polling::Event::all(token)).expect("it is watched");
    }

    fn remove(&mut self, socket: &UnixStream, _: usize) {
        self.poller.delete(socket).expect("it is watched");
    }

    fn again(&mut self, socket: &UnixStream, token: usize) {
        self.poller.modify(socket, polling::Event::readable(token)).expect("it is watched");
    }

    fn wait(&mut self, ready: &mut Vec<usize>) {
        self.events.clear();
        self.poller.wait(&mut self.events, None).expect("no signal comes");
        ready.extend(self.events.iter().map(|event| event.key));
    }
}
