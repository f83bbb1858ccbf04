//! Which system calls were made, and how often: what `strace -c -f` would print, for free.
//!
//! Counted is what happens for a connection or a request, and most of what happens once. Not counted are the calls of the
//! standard library and the C library when a process or a thread starts and ends (such as the mmap(2) of a stack), their
//! futex(2), and the close(2) of descriptors that live as long as the server. A test compares the two for each model.
//! ([`Call::Futex`] is there to name a mutex's error.)
//!
//! All counts of a process, its threads and its forked children are in one page of shared memory. Each thread and each child
//! has a row of it for itself, so that counting is one plain addition. Another process can watch when the page is in a file
//! ([`share_through`]).

use super::shared::{self, Row, Shareable};
use crate::Result;
use std::cell::Cell;
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::mem::offset_of;
use std::os::unix::fs::FileExt;
use std::ptr;
use std::sync::OnceLock;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicPtr, AtomicU32};

/// musl makes other calls than glibc for some functions, and so do both on architectures that are newer than x86-64 and lack
/// its older calls. This is from the sources of musl 1.2.5: src/process/_Fork.c, src/thread/pthread_create.c, src/linux/epoll.c,
/// src/select/poll.c, src/stat/fstatat.c. Around fork(2) and clone(2) musl also sets the signal mask, which is not counted.
const MUSL: bool = cfg!(target_env = "musl");
const X86_64: bool = cfg!(target_arch = "x86_64");

macro_rules! calls {
    ($($variant:ident = $name:literal $(| $here:expr => $other:literal)*,)*) => {
        /// A system call, under the name that strace(1) prints. Where the C library makes another call for the same function,
        /// it is named so: `epoll_pwait` for `epoll_wait` with musl, and on architectures that have no `epoll_wait`.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[non_exhaustive]
        pub enum Call { $(#[doc = concat!("`", $name, "`, man 2 ", $name)] $variant,)* }

        impl Call {
            /// All calls, in the order of the enum.
            pub const ALL: &[Call] = &[$(Call::$variant,)*];

            /// The name that strace(1) prints, such as `recvfrom`. Two calls can have the same name.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Call::$variant => {
                    let name = $name;
                    $(let name = if $here { $other } else { name };)*
                    name
                })* }
            }
        }
    };
}

calls! {
    Accept4 = "accept4",
    Bind = "bind",
    Clone = "clone" | MUSL && X86_64 => "fork",
    Clone3 = "clone3" | MUSL => "clone",
    Close = "close",
    Connect = "connect",
    Dup2 = "dup2" | !X86_64 => "dup3",
    EpollCreate1 = "epoll_create1",
    EpollCtl = "epoll_ctl",
    EpollPwait2 = "epoll_pwait2",
    EpollWait = "epoll_wait" | MUSL || !X86_64 => "epoll_pwait",
    Eventfd2 = "eventfd2",
    Fcntl = "fcntl",
    Ftruncate = "ftruncate",
    Futex = "futex",
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
    PidfdGetfd = "pidfd_getfd",
    PidfdOpen = "pidfd_open",
    Pipe2 = "pipe2",
    Poll = "poll" | !X86_64 => "ppoll",
    Prctl = "prctl",
    Prlimit64 = "prlimit64",
    ProcessVmReadv = "process_vm_readv",
    Pselect6 = "pselect6",
    Ptrace = "ptrace",
    Read = "read",
    Recvfrom = "recvfrom",
    Recvmsg = "recvmsg",
    RtSigaction = "rt_sigaction",
    RtSigprocmask = "rt_sigprocmask",
    RtSigtimedwait = "rt_sigtimedwait",
    SchedGetaffinity = "sched_getaffinity",
    SchedSetaffinity = "sched_setaffinity",
    SchedSetscheduler = "sched_setscheduler",
    Sendfile = "sendfile",
    Sendmsg = "sendmsg",
    Sendto = "sendto",
    Setsockopt = "setsockopt",
    Shutdown = "shutdown",
    Socket = "socket",
    Socketpair = "socketpair",
    Splice = "splice",
    Statx = "statx" | MUSL && X86_64 => "stat" | MUSL && !X86_64 => "newfstatat",
    Unshare = "unshare",
    Wait4 = "wait4",
    Write = "write",
}

const CALLS: usize = Call::ALL.len();

/// One counter a call.
type CallRow = Row<CALLS>;

/// Numbers that a child tells its parent, for whatever they agree on.
pub(crate) type Told = Row<6>;

/// What one thread or child writes. It lies within one page of memory, because a process that has just been switched to pays for
/// each page that it touches (`compare --models fork`).
#[derive(Debug)]
#[repr(C, align(1024))]
struct OwnRow {
    calls: CallRow,
    told: Told,
}

/// Threads and children that may count at the same time in rows of their own. A thread that comes later shares a row.
const ROWS: usize = 16_384;

/// In `owners`: the row is free.
const FREE: u32 = 0;
/// In `owners`: the row is for a child that is about to be forked.
const RESERVED: u32 = u32::MAX;

/// The counts of a process, its threads, and its children.
#[repr(C)]
struct Page {
    /// So many rows, from the first, have had an owner.
    used: AtomicU32,
    /// Rows below this one are taken, as far as is known.
    free_from: AtomicU32,
    /// The process that counts in the row. Several threads of a process have a row each.
    owners: [AtomicU32; ROWS],
    /// For signal handlers, which may interrupt an addition to a row, and for threads beyond the number of rows.
    common: CallRow,
    /// A row keeps its counts when it changes hands.
    rows: [OwnRow; ROWS],
}

// SAFETY: atomic numbers and rows of them, aligned to 1024 bytes.
unsafe impl Shareable for Page {}

impl Page {
    /// Take a free row for `owner`.
    fn claim(&self, owner: u32) -> Option<usize> {
        let from = self.free_from.load(Relaxed) as usize;
        let i =
            (from..ROWS).find(|&i| self.owners[i].compare_exchange(FREE, owner, AcqRel, Relaxed).is_ok())?;
        self.free_from.store(i as u32 + 1, Relaxed);
        self.used.fetch_max(i as u32 + 1, Release);
        Some(i)
    }

    fn give_back(&self, i: usize) {
        self.owners[i].store(FREE, Release);
        self.free_from.fetch_min(i as u32, Relaxed);
    }

    /// All rows that have counted.
    fn counted(&self) -> impl Iterator<Item = &CallRow> {
        let used = self.used.load(Acquire) as usize;
        self.rows[..used].iter().map(|row| &row.calls).chain([&self.common])
    }
}

/// Where this process counts. Null until something was counted.
static PAGE: AtomicPtr<Page> = AtomicPtr::new(ptr::null_mut());

/// For a process that has no memory for a page.
static WITHOUT_PAGE: CallRow = CallRow::new();

fn page() -> Option<&'static Page> {
    // SAFETY: it is null, or comes from `use_page`, whose pages are never unmapped, and consist of atomic numbers.
    unsafe { PAGE.load(Acquire).as_ref() }
}

fn use_page(page: &'static Page) {
    PAGE.store(ptr::from_ref(page).cast_mut(), Release);
}

/// The page of this process, which is made when it is first asked for.
fn page_or_new() -> Option<&'static Page> {
    static FIRST: OnceLock<Option<&'static Page>> = OnceLock::new();
    page().or_else(|| {
        *FIRST.get_or_init(|| {
            let page = shared::uncounted::<Page>().ok()?;
            page.common.add_with_others(Call::Mmap as usize, 1);
            use_page(page);
            Some(page)
        })
    })
}

fn common() -> &'static CallRow {
    page().map_or(&WITHOUT_PAGE, |page| &page.common)
}

/// A row that its thread gives back when it ends.
struct Claimed(Cell<Option<(&'static Page, usize)>>);

impl Drop for Claimed {
    fn drop(&mut self) {
        ROW.set(None);
        if let Some((page, i)) = self.0.take() {
            page.give_back(i);
        }
    }
}

thread_local! {
    /// Where this thread counts: its own row, once it has one.
    static ROW: Cell<Option<&'static CallRow>> = const { Cell::new(None) };
    static CLAIMED: Claimed = const { Claimed(Cell::new(None)) };
}

/// Count one call of this thread.
#[inline]
pub(crate) fn count(call: Call) {
    match ROW.get() {
        Some(row) => row.add(call as usize, 1),
        None => count_first(call),
    }
}

/// Count one call of a signal handler. Nothing here allocates, locks, or waits.
pub(crate) fn count_in_handler(call: Call) {
    common().add_with_others(call as usize, 1);
}

#[cold]
fn count_first(call: Call) {
    match claim_for_this_thread() {
        Some(row) => row.add(call as usize, 1),
        None => common().add_with_others(call as usize, 1),
    }
}

/// A row for this thread. `None` without memory or without a free row, and at the end of a thread, when it has given back
/// its row already.
fn claim_for_this_thread() -> Option<&'static CallRow> {
    CLAIMED
        .try_with(|claimed| {
            let page = page_or_new()?;
            if ROW.get().is_none() {
                let i = page.claim(std::process::id())?;
                claimed.0.set(Some((page, i)));
                ROW.set(Some(&page.rows[i].calls));
            }
            ROW.get()
        })
        .ok()?
}

/// A row for a child that is about to be forked.
#[derive(Debug)]
pub(crate) struct ForChild {
    page: &'static Page,
    i: usize,
}

impl fmt::Debug for Page {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Page").field("used", &self.used).finish_non_exhaustive()
    }
}

impl ForChild {
    /// Before fork(2). `None` without memory or without a free row.
    pub(crate) fn reserve() -> Option<ForChild> {
        let page = page_or_new()?;
        let i = page.claim(RESERVED)?;
        page.rows[i].told.set([0; 6]);
        Some(ForChild { page, i })
    }

    /// In the child: count there from now on. The parent gives the row back. Returns what the parent is told by.
    pub(crate) fn enter(self) -> &'static Told {
        let row = &self.page.rows[self.i];
        CLAIMED.with(|claimed| claimed.0.set(None));
        ROW.set(Some(&row.calls));
        &row.told
    }

    /// In the parent: it belongs to that child until [`child_ended`]. Returns what the child tells.
    pub(crate) fn belongs_to(self, pid: i32) -> &'static Told {
        self.page.owners[self.i].store(pid.cast_unsigned(), Release);
        &self.page.rows[self.i].told
    }

    /// There is no child.
    pub(crate) fn give_back(self) {
        self.page.give_back(self.i);
    }
}

/// The rows of a child that has ended are free.
pub(crate) fn child_ended(pid: i32) {
    let Some(page) = page() else { return };
    let used = page.used.load(Acquire) as usize;
    for i in (0..used).filter(|&i| page.owners[i].load(Relaxed) == pid.cast_unsigned()) {
        page.give_back(i);
    }
}

/// What this process, with all its threads, and the children that it forked have called so far.
#[must_use]
pub fn counts() -> Counts {
    let mut counts = Counts::default();
    counts.add_row(&WITHOUT_PAGE.values());
    for row in page().into_iter().flat_map(Page::counted) {
        counts.add_row(&row.values());
    }
    counts
}

/// What this thread has called. Only differences mean something: the row may have had another owner before.
#[cfg(test)]
pub(crate) fn of_this_thread() -> Counts {
    let mut counts = Counts::default();
    counts.add_row(&ROW.get().map_or([0; CALLS], CallRow::values));
    counts
}

/// A file in memory for [`share_through`], and for [`Counts::read_from`] in another process.
///
/// # Errors
///
/// `EMFILE`, `ENFILE`, `ENOMEM`; `EFBIG` beyond `RLIMIT_FSIZE`.
#[doc(hidden)]
pub fn new_file() -> Result<File> {
    shared::new_file::<Page>()
}

/// Count into a file from [`new_file`] from now on, where another process watches. What was counted so far is counted there
/// as well. Call it while this process has one thread: what others count afterwards is lost.
///
/// # Errors
///
/// [`Error::Misuse`](crate::Error::Misuse) when it is another file; `ENOMEM`.
#[doc(hidden)]
pub fn share_through(file: &File) -> Result<()> {
    let page = shared::in_file::<Page>(file)?;
    let so_far = counts();
    use_page(page);
    ROW.set(None);
    for (i, n) in so_far.0.into_iter().enumerate() {
        page.common.add_with_others(i, n);
    }
    Ok(())
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
    fn add_row(&mut self, row: &[u64; CALLS]) {
        for (sum, n) in self.0.iter_mut().zip(row) {
            *sum += n;
        }
    }

    /// What a process that called [`share_through`] on this file, and its children, have counted.
    ///
    /// # Errors
    ///
    /// As pread(2); `UnexpectedEof` when it is another file, and too short.
    #[doc(hidden)]
    pub fn read_from(file: &File) -> std::io::Result<Counts> {
        let mut used = [0; size_of::<u32>()];
        file.read_exact_at(&mut used, offset_of!(Page, used) as u64)?;
        let used = (u32::from_ne_bytes(used) as usize).min(ROWS);
        let mut common = [0; size_of::<CallRow>()];
        file.read_exact_at(&mut common, offset_of!(Page, common) as u64)?;
        let mut rows = vec![0; used * size_of::<OwnRow>()];
        file.read_exact_at(&mut rows, offset_of!(Page, rows) as u64)?;
        // The counts are the first that a row has.
        const { assert!(offset_of!(OwnRow, calls) == 0) };
        let mut counts = Counts::default();
        for row in rows.chunks_exact(size_of::<OwnRow>()).chain([&common[..]]) {
            let words = row.as_chunks::<8>().0;
            counts.add_row(&std::array::from_fn(|i| u64::from_ne_bytes(words[i])));
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
        let mut sums = BTreeMap::new();
        for &call in Call::ALL {
            *sums.entry(call.name()).or_default() += self.of(call);
        }
        let mut made: Vec<_> = sums.into_iter().filter(|&(_, n)| n > 0).collect();
        made.sort_by_key(|&(name, n)| (Reverse(n), name));
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
        count(Call::Getppid); // The thread has its row.
        let before = of_this_thread();
        let fd = crate::sys::eventfd::EventFd::new().unwrap();
        assert!(!fd.take().unwrap());
        fd.signal().unwrap();
        assert!(fd.take().unwrap());
        let made = of_this_thread().since(&before);
        assert_eq!(made.by_name(), [("read", 2), ("eventfd2", 1), ("write", 1)]);
        assert_eq!(made.total(), 4);
    }

    #[test]
    fn the_counts_of_threads_that_have_ended_stay_and_their_rows_are_used_again() {
        let before = counts().of(Call::Splice);
        let row = || {
            count(Call::Splice);
            ptr::from_ref(ROW.get().expect("a thread that has counted has a row")) as usize
        };
        let rows: Vec<_> = (0..100).map(|_| std::thread::spawn(row).join().unwrap()).collect();
        assert!(counts().of(Call::Splice) >= before + 100);
        let mut distinct = rows.clone();
        distinct.sort_unstable();
        distinct.dedup();
        // Other tests come and go meanwhile, and take some of the rows.
        assert!(distinct.len() < 100, "each of {} threads had a new row", rows.len());
    }

    #[test]
    fn without_a_free_row_a_thread_counts_in_the_common_one() {
        let page = shared::with_children::<Page>().unwrap();
        for owner in &page.owners {
            owner.store(RESERVED, Relaxed);
        }
        assert_eq!(page.claim(7), None);
        page.give_back(9);
        assert_eq!((page.claim(7), page.claim(7)), (Some(9), None));
    }

    #[test]
    fn another_process_can_read_the_counts_from_the_file() {
        let file = new_file().unwrap();
        let page = shared::in_file::<Page>(&file).unwrap();
        let rows = [page.claim(1), page.claim(2)].map(|row| row.unwrap());
        page.rows[rows[0]].calls.add(Call::Write as usize, 2);
        page.rows[rows[1]].calls.add(Call::Write as usize, 3);
        page.common.add_with_others(Call::Shutdown as usize, 1);
        let counts = Counts::read_from(&file).unwrap();
        assert_eq!((counts.of(Call::Write), counts.of(Call::Shutdown), counts.total()), (5, 1, 6));
    }
}
