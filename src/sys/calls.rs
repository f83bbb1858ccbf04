//! Which system calls were made, and how often: what `strace -c -f` would print, for free.
//!
//! Counted is what happens for a connection or a request, and most of what happens once. Not counted
//! are the calls of the standard library at start and end, and the close(2) of descriptors that live
//! as long as the server. A test compares the two for each model.
//!
//! Each thread counts in a row of its own with plain additions. A process that forks, or that
//! another process wants to watch, counts in shared memory instead: in one row the process itself,
//! in another its forked children, all of them, and so with atomic additions.

use super::shared::SharedCounters;
use crate::Result;
use std::cell::Cell;
use std::fmt;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

macro_rules! calls {
    ($($variant:ident = $name:literal,)*) => {
        /// A system call, under the name that strace(1) prints on x86-64.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[non_exhaustive]
        pub enum Call { $(#[doc = concat!("`", $name, "`, man 2 ", $name)] $variant,)* }

        impl Call {
            /// All calls that are counted, in the order of the enum.
            pub const ALL: &[Call] = &[$(Call::$variant,)*];

            /// The name that strace(1) prints, such as `recvfrom`.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Call::$variant => $name,)* }
            }
        }
    };
}

calls! {
    Accept4 = "accept4",
    Bind = "bind",
    Clone = "clone",
    Close = "close",
    Connect = "connect",
    EpollCreate1 = "epoll_create1",
    EpollCtl = "epoll_ctl",
    EpollPwait2 = "epoll_pwait2",
    EpollWait = "epoll_wait",
    Eventfd2 = "eventfd2",
    Fcntl = "fcntl",
    Ftruncate = "ftruncate",
    Getppid = "getppid",
    Getpeername = "getpeername",
    Getsockname = "getsockname",
    Getsockopt = "getsockopt",
    IoUringEnter = "io_uring_enter",
    IoUringRegister = "io_uring_register",
    IoUringSetup = "io_uring_setup",
    Ioctl = "ioctl",
    Kill = "kill",
    Listen = "listen",
    MemfdCreate = "memfd_create",
    Mmap = "mmap",
    Pipe2 = "pipe2",
    Poll = "poll",
    Prctl = "prctl",
    Prlimit64 = "prlimit64",
    Pselect6 = "pselect6",
    Read = "read",
    Recvfrom = "recvfrom",
    Recvmsg = "recvmsg",
    RtSigaction = "rt_sigaction",
    RtSigprocmask = "rt_sigprocmask",
    RtSigtimedwait = "rt_sigtimedwait",
    SchedGetaffinity = "sched_getaffinity",
    SchedSetaffinity = "sched_setaffinity",
    Sendfile = "sendfile",
    Sendmsg = "sendmsg",
    Sendto = "sendto",
    Setsockopt = "setsockopt",
    Shutdown = "shutdown",
    Socket = "socket",
    Splice = "splice",
    Statx = "statx",
    Unshare = "unshare",
    Wait4 = "wait4",
    Write = "write",
}

const CALLS: usize = Call::ALL.len();

/// One counter a call.
type Row = [AtomicU64; CALLS];

/// One more, by the only writer of this row: a load and a store, no locked instruction.
#[inline]
fn bump(row: &Row, call: Call) {
    let counter = &row[call as usize];
    counter.store(counter.load(Relaxed).wrapping_add(1), Relaxed);
}

/// Two rows in shared memory: the first is written by the process that made the page, the second by
/// its forked children, all of them.
type Page = SharedCounters<{ 2 * CALLS }>;

fn rows(page: Page) -> (&'static Row, &'static Row) {
    let (own, children) = page.counters().split_at(CALLS);
    let row = |half: &'static [AtomicU64]| half.first_chunk().expect("a half of the page is a row");
    (row(own), row(children))
}

/// Where this thread counts.
#[derive(Clone, Copy)]
enum Sink {
    /// In a row of its own.
    Thread,
    /// In the first row of a page.
    Own(Page),
    /// In the second row: this is a forked child.
    Child(Page),
}

thread_local! {
    static ROW: Row = const { [const { AtomicU64::new(0) }; CALLS] };
    static SINK: Cell<Sink> = const { Cell::new(Sink::Thread) };
}

/// Count one call of this thread. A signal handler may do so, too: nothing here allocates, locks or has
/// a destructor.
#[inline]
pub(crate) fn count(call: Call) {
    match SINK.get() {
        Sink::Thread => ROW.with(|row| bump(row, call)),
        Sink::Own(page) => bump(rows(page).0, call),
        Sink::Child(page) => {
            rows(page).1[call as usize].fetch_add(1, Relaxed);
        }
    }
}

/// What this thread, and the children that it forked after [`share`], have called so far.
#[must_use]
pub fn counts() -> Counts {
    let mut counts = Counts::default();
    ROW.with(|row| counts.add_row(row));
    if let Sink::Own(page) | Sink::Child(page) = SINK.get() {
        counts.add_row(rows(page).0);
        counts.add_row(rows(page).1);
    }
    counts
}

/// Count as this thread's what a thread that has ended counted.
pub fn absorb(counts: &Counts) {
    ROW.with(|row| {
        for (counter, n) in row.iter().zip(counts.0) {
            counter.store(counter.load(Relaxed).wrapping_add(n), Relaxed);
        }
    });
}

/// Let children that are forked from now on count where this thread can read it.
///
/// Does nothing when this thread's counts are shared already.
///
/// # Errors
///
/// `ENOMEM` when there is no page left.
pub fn share() -> Result<()> {
    if let Sink::Thread = SINK.get() {
        SINK.set(Sink::Own(Page::new()?));
    }
    Ok(())
}

/// A file in memory for [`share_through`], and for [`Counts::read_from`] in another process.
///
/// # Errors
///
/// As [`SharedCounters::new_file`].
pub fn new_file() -> Result<File> {
    Page::new_file()
}

/// Count into a file from [`new_file`] from now on, where another process watches. What was counted
/// so far stays with this thread.
///
/// # Errors
///
/// As [`SharedCounters::in_file`].
pub fn share_through(file: &File) -> Result<()> {
    SINK.set(Sink::Own(Page::in_file(file)?));
    Ok(())
}

/// In a forked child: count in the row of the children. Its copy of the parent's counts is dropped.
pub(crate) fn after_fork_in_child() {
    ROW.with(|row| row.iter().for_each(|counter| counter.store(0, Relaxed)));
    if let Sink::Own(page) = SINK.get() {
        SINK.set(Sink::Child(page));
    }
}

/// Numbers of calls, by call.
#[derive(Clone, PartialEq, Eq)]
pub struct Counts([u64; CALLS]);

impl Default for Counts {
    fn default() -> Self {
        Counts([0; CALLS])
    }
}

impl Counts {
    fn add_row(&mut self, row: &Row) {
        for (sum, counter) in self.0.iter_mut().zip(row) {
            *sum += counter.load(Relaxed);
        }
    }

    /// What a process that called [`share_through`] on this file, and its children, have counted.
    ///
    /// # Errors
    ///
    /// As pread(2); `UnexpectedEof` when it is another file, and too short.
    pub fn read_from(file: &File) -> std::io::Result<Counts> {
        let mut bytes = [0; size_of::<[Row; 2]>()];
        file.read_exact_at(&mut bytes, 0)?;
        let mut counts = Counts::default();
        for (i, word) in bytes.as_chunks::<8>().0.iter().enumerate() {
            counts.0[i % CALLS] += u64::from_ne_bytes(*word);
        }
        Ok(counts)
    }

    /// How often `call` was made.
    #[must_use]
    pub fn of(&self, call: Call) -> u64 {
        self.0[call as usize]
    }

    /// All calls together.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    /// The calls that were made at all, the most frequent first.
    #[must_use]
    pub fn by_name(&self) -> Vec<(&'static str, u64)> {
        let mut made: Vec<_> =
            Call::ALL.iter().map(|&call| (call.name(), self.of(call))).filter(|&(_, n)| n > 0).collect();
        made.sort_by_key(|&(name, n)| (std::cmp::Reverse(n), name));
        made
    }

    /// Add the counts of another stretch.
    pub fn add(&mut self, other: &Counts) {
        for (sum, n) in self.0.iter_mut().zip(other.0) {
            *sum += n;
        }
    }

    /// What was counted since `earlier`.
    #[must_use]
    pub fn since(&self, earlier: &Counts) -> Counts {
        let mut counts = self.clone();
        for (n, before) in counts.0.iter_mut().zip(earlier.0) {
            *n = n.saturating_sub(before);
        }
        counts
    }
}

impl fmt::Debug for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.by_name()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_what_is_called_and_nothing_else() {
        let before = counts();
        let fd = crate::sys::eventfd::EventFd::new().unwrap();
        assert!(!fd.take().unwrap());
        fd.signal().unwrap();
        assert!(fd.take().unwrap());
        let made = counts().since(&before);
        assert_eq!(made.by_name(), [("read", 2), ("eventfd2", 1), ("write", 1)]);
        assert_eq!(made.total(), 4);
    }

    #[test]
    fn another_process_could_read_the_counts_from_the_file() {
        let file = new_file().unwrap();
        // In a thread of its own: the sink is per thread, and this test must not redirect others.
        std::thread::scope(|scope| {
            scope.spawn(|| {
                share_through(&file).unwrap();
                let fd = crate::sys::eventfd::EventFd::new().unwrap();
                fd.signal().unwrap();
                fd.signal().unwrap();
                drop(fd);
                assert_eq!(Counts::read_from(&file).unwrap().of(Call::Write), 2);
                assert_eq!(counts().of(Call::Write), 2);
                assert_eq!(counts().of(Call::Mmap), 1, "counted before the page was there");
            });
        });
    }
}
