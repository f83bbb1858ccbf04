//! select(2), as pselect(2): three bitmaps, copied in and out at each call.
//!
//! Over libc, and the raw system call for [`BigFdSet`]. What surprised us: the limit of 1024
//! descriptors (`FD_SETSIZE`) is the C library's, not the kernel's, and today's crates meet it with
//! a crash (`libc::FD_SET` panics, and across `extern "C"` that aborts; nix panics). Here
//! [`FdSet::insert`] returns an error, and [`BigFdSet`] just grows: the kernel has always read as
//! many bits as `nfds` says.
//!
//! pselect and not select, because its time limit is in nanoseconds and is not written back.

use super::{Call, cvt, retry_wait, timespec};
use crate::error::{Error, Result};
use nix::errno::Errno;
use std::os::fd::RawFd;
use std::ptr;
use std::time::Duration;

type Word = libc::c_ulong;
const BITS: usize = Word::BITS as usize;
const FD_SET_WORDS: usize = libc::FD_SETSIZE / BITS;

/// A set of descriptor numbers below 1024: the `fd_set` of select(2).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[repr(transparent)]
#[doc(alias = "fd_set")]
pub struct FdSet([Word; FD_SET_WORDS]);

const _: () = assert!(size_of::<FdSet>() == size_of::<libc::fd_set>());

impl FdSet {
    /// How many descriptors fit: numbers 0 to 1023.
    pub const CAPACITY: usize = libc::FD_SETSIZE;

    /// An empty set: `FD_ZERO`.
    #[doc(alias = "FD_ZERO")]
    #[must_use]
    pub fn new() -> FdSet {
        FdSet::default()
    }

    /// Put `fd` into the set: `FD_SET`.
    ///
    /// # Errors
    ///
    /// [`Error::BeyondFdSetSize`] for 1024 and above, where the macro of C would write past the set.
    #[doc(alias = "FD_SET")]
    pub fn insert(&mut self, fd: RawFd) -> Result<()> {
        match self.0.get_mut(word(fd)) {
            Some(w) => *w |= bit(fd),
            None => return Err(Error::BeyondFdSetSize { fd }),
        }
        Ok(())
    }

    /// Take `fd` out of the set: `FD_CLR`.
    #[doc(alias = "FD_CLR")]
    pub fn remove(&mut self, fd: RawFd) {
        clear(&mut self.0, fd);
    }

    /// Whether `fd` is in the set: `FD_ISSET`.
    #[doc(alias = "FD_ISSET")]
    #[must_use]
    pub fn contains(&self, fd: RawFd) -> bool {
        holds(&self.0, fd)
    }

    /// The members, ascending.
    pub fn iter(&self) -> Members<'_> {
        members(&self.0)
    }
}

/// Wait until a descriptor of `read` can be read or one of `write` written; both sets then hold
/// only those. Returns how many bits are set, 0 after `timeout` (`None`: wait for ever).
///
/// `int pselect(int nfds, fd_set *readfds, fd_set *writefds, …)`, man 2 select. `nfds` is worked
/// out here. A signal does not end the wait.
///
/// # Errors
///
/// `EBADF` when a member is not open, `ENOMEM`.
pub fn select(read: &mut FdSet, write: Option<&mut FdSet>, timeout: Option<Duration>) -> Result<usize> {
    let nfds = nfds(&read.0, write.as_ref().map_or(&[], |set| &set.0));
    let read = ptr::from_mut(read).cast::<libc::fd_set>();
    let write = write.map_or(ptr::null_mut(), |set| ptr::from_mut(set).cast::<libc::fd_set>());
    retry_wait(timeout, |left| {
        let limit = left.map(timespec);
        // SAFETY:
        // 1. `read`, and `write` unless null, come from exclusive borrows that last through this
        //    function, and point to as many bytes as an `fd_set` has (asserted above).
        // 2. `nfds` is at most 1024, so the kernel touches no bit beyond them.
        // 3. The limit is null or points to a `timespec` on this stack; the signal mask is null.
        let ready = unsafe {
            libc::pselect(
                nfds,
                read,
                write,
                ptr::null_mut(),
                limit.as_ref().map_or(ptr::null(), ptr::from_ref),
                ptr::null(),
            )
        };
        // On an error the sets are as they were (man 2 select), so EINTR can just be retried.
        cvt(Call::Pselect6, Errno::result(ready)).map(|n| n as usize)
    })
}

/// A set of descriptor numbers without a limit, for the raw system call.
#[derive(Debug, Default)]
pub struct BigFdSet(Vec<Word>);

/// [`clone_from`](Clone::clone_from) uses the memory again: a loop copies its sets each turn without allocating.
impl Clone for BigFdSet {
    fn clone(&self) -> BigFdSet {
        BigFdSet(self.0.clone())
    }

    fn clone_from(&mut self, other: &BigFdSet) {
        self.0.clone_from(&other.0);
    }
}

/// Sets are equal when they have the same members, however far each has grown.
impl PartialEq for BigFdSet {
    fn eq(&self, other: &BigFdSet) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for BigFdSet {}

impl BigFdSet {
    /// An empty set.
    #[must_use]
    pub fn new() -> BigFdSet {
        BigFdSet::default()
    }

    /// Put `fd` into the set, which grows as needed.
    ///
    /// # Panics
    ///
    /// For a negative number, which no descriptor has.
    pub fn insert(&mut self, fd: RawFd) {
        assert!(fd >= 0, "{fd} is no descriptor");
        if self.0.len() <= word(fd) {
            self.0.resize(word(fd) + 1, 0);
        }
        self.0[word(fd)] |= bit(fd);
    }

    /// Take `fd` out of the set.
    pub fn remove(&mut self, fd: RawFd) {
        clear(&mut self.0, fd);
    }

    /// Whether `fd` is in the set.
    #[must_use]
    pub fn contains(&self, fd: RawFd) -> bool {
        holds(&self.0, fd)
    }

    /// The members, ascending.
    pub fn iter(&self) -> Members<'_> {
        members(&self.0)
    }
}

/// As [`select`], for sets of any size.
///
/// # Errors
///
/// As [`select`].
#[doc(alias = "pselect6")]
pub fn select_big(
    read: &mut BigFdSet,
    mut write: Option<&mut BigFdSet>,
    timeout: Option<Duration>,
) -> Result<usize> {
    let nfds = nfds(&read.0, write.as_ref().map_or(&[], |set| &set.0));
    let words = (nfds as usize).div_ceil(BITS);
    read.0.resize(words.max(read.0.len()), 0);
    if let Some(set) = &mut write {
        set.0.resize(words.max(set.0.len()), 0);
    }
    let read = read.0.as_mut_ptr();
    let write = write.map_or(ptr::null_mut(), |set| set.0.as_mut_ptr());
    retry_wait(timeout, |left| {
        // The kernel writes the time that is left into this one; it is made anew for each try.
        let mut limit = left.map(timespec);
        // SAFETY:
        // 1. `read`, and `write` unless null, come from exclusive borrows that last through this
        //    function, and were resized above to hold `nfds` bits in whole words, which is how the
        //    kernel reads and writes them (FDS_BYTES in fs/select.c).
        // 2. The limit is null or points to a `timespec` on this stack. The last argument, the
        //    signal mask with its size, is null.
        let ready = unsafe {
            libc::syscall(
                libc::SYS_pselect6,
                nfds,
                read,
                write,
                ptr::null_mut::<Word>(),
                limit.as_mut().map_or(ptr::null_mut(), ptr::from_mut),
                ptr::null::<libc::c_void>(),
            )
        };
        cvt(Call::Pselect6, Errno::result(ready)).map(|n| n as usize)
    })
}

const fn word(fd: RawFd) -> usize {
    fd as usize / BITS
}

const fn bit(fd: RawFd) -> Word {
    1 << (fd as usize % BITS)
}

fn clear(words: &mut [Word], fd: RawFd) {
    if let Some(w) = words.get_mut(word(fd)) {
        *w &= !bit(fd);
    }
}

fn holds(words: &[Word], fd: RawFd) -> bool {
    words.get(word(fd)).is_some_and(|w| w & bit(fd) != 0)
}

fn highest(words: &[Word]) -> Option<RawFd> {
    let last = words.iter().rposition(|&w| w != 0)?;
    Some((last * BITS + words[last].ilog2() as usize) as RawFd)
}

/// The highest member of both sets, plus one.
fn nfds(read: &[Word], write: &[Word]) -> libc::c_int {
    highest(read).max(highest(write)).map_or(0, |fd| fd.saturating_add(1))
}

fn members(words: &[Word]) -> Members<'_> {
    Members { words, next_word: 0, left: 0 }
}

/// The members of a set, ascending.
#[derive(Debug, Clone)]
pub struct Members<'a> {
    words: &'a [Word],
    next_word: usize,
    /// What has not been visited of the word before `next_word`.
    left: Word,
}

impl Iterator for Members<'_> {
    type Item = RawFd;

    #[inline]
    fn next(&mut self) -> Option<RawFd> {
        while self.left == 0 {
            self.left = *self.words.get(self.next_word)?;
            self.next_word += 1;
        }
        let lowest = self.left.trailing_zeros() as usize;
        self.left &= self.left - 1;
        Some(((self.next_word - 1) * BITS + lowest) as RawFd)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::fcntl::{FcntlArg, fcntl};
    use proptest::prelude::*;
    use std::collections::BTreeSet;
    use std::io::Write;
    use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
    use std::os::unix::net::UnixStream;

    #[test]
    fn descriptor_1023_fits_and_1024_is_an_error_not_a_crash() {
        let mut set = FdSet::new();
        set.insert(0).unwrap();
        set.insert(1023).unwrap();
        let error = set.insert(1024).unwrap_err();
        assert_eq!(error, Error::BeyondFdSetSize { fd: 1024 });
        assert!(error.to_string().contains("1024"));
        assert_eq!(set.iter().collect::<Vec<_>>(), [0, 1023]);
        assert!(set.contains(1023) && !set.contains(1024));
        set.remove(1023);
        set.remove(5000);
        assert_eq!(set.iter().collect::<Vec<_>>(), [0]);
    }

    #[test]
    fn sets_keep_only_what_is_ready() {
        let (one, mut to_one) = UnixStream::pair().unwrap();
        let (two, _to_two) = UnixStream::pair().unwrap();
        let mut read = FdSet::new();
        read.insert(one.as_raw_fd()).unwrap();
        read.insert(two.as_raw_fd()).unwrap();
        let mut write = FdSet::new();
        write.insert(two.as_raw_fd()).unwrap();
        to_one.write_all(b"x").unwrap();
        assert_eq!(select(&mut read, Some(&mut write), None).unwrap(), 2);
        assert_eq!(read.iter().collect::<Vec<_>>(), [one.as_raw_fd()]);
        assert_eq!(write.iter().collect::<Vec<_>>(), [two.as_raw_fd()]);
        assert_eq!(select(&mut FdSet::new(), None, Some(Duration::from_micros(10))).unwrap(), 0);
    }

    #[test]
    fn the_kernel_takes_descriptor_1500_in_a_larger_bitmap() {
        let (one, mut to_one) = UnixStream::pair().unwrap();
        if crate::sys::limits::Nofile::raise().unwrap().soft <= 1500 {
            eprintln!("skipped: RLIMIT_NOFILE is 1500 or less");
            return;
        }
        let high = fcntl(&one, FcntlArg::F_DUPFD_CLOEXEC(1500)).unwrap();
        // SAFETY: fcntl has just made this descriptor, and nobody else knows of it.
        let high = unsafe { OwnedFd::from_raw_fd(high) };
        let mut read = BigFdSet::new();
        read.insert(high.as_raw_fd());
        let mut write = BigFdSet::new();
        write.insert(one.as_raw_fd());
        to_one.write_all(b"x").unwrap();
        assert_eq!(select_big(&mut read, Some(&mut write), None).unwrap(), 2);
        assert!(read.contains(high.as_raw_fd()) && write.contains(one.as_raw_fd()));
        assert_eq!(read.iter().count(), 1);
    }

    #[test]
    fn big_sets_with_the_same_members_are_equal_however_far_they_have_grown() {
        let (mut one, mut two) = (BigFdSet::new(), BigFdSet::new());
        one.insert(3);
        one.insert(5000);
        two.insert(3);
        assert_ne!(one, two);
        one.remove(5000);
        assert_eq!(one, two);
    }

    /// Put in, or take out, and which number.
    fn changes() -> impl Strategy<Value = Vec<(bool, RawFd)>> {
        let number = prop_oneof![0..70, 0..3000, Just(1023), Just(1024), Just(-1), Just(RawFd::MAX)];
        proptest::collection::vec((any::<bool>(), number), 0..60)
    }

    proptest! {
        #[test]
        fn sets_hold_what_was_put_in_and_not_taken_out(changes in changes()) {
            let (mut set, mut big) = (FdSet::new(), BigFdSet::new());
            let (mut below, mut all) = (BTreeSet::new(), BTreeSet::new());
            for (put_in, fd) in changes {
                if put_in {
                    let fits = (0..1024).contains(&fd);
                    prop_assert_eq!(set.insert(fd).is_ok(), fits);
                    below.extend(fits.then_some(fd));
                    // A bitmap up to the highest number would take 256 MiB.
                    if (0..3000).contains(&fd) {
                        big.insert(fd);
                        all.insert(fd);
                    }
                } else {
                    set.remove(fd);
                    big.remove(fd);
                    below.remove(&fd);
                    all.remove(&fd);
                }
                prop_assert_eq!((set.contains(fd), big.contains(fd)), (below.contains(&fd), all.contains(&fd)));
            }
            prop_assert!(set.iter().eq(below.iter().copied()), "{:?} instead of {:?}", set, below);
            prop_assert!(big.iter().eq(all.iter().copied()), "{:?} instead of {:?}", big, all);
            prop_assert_eq!(nfds(&set.0, &big.0), below.last().max(all.last()).map_or(0, |fd| fd + 1));
            let mut copy = BigFdSet::new();
            copy.insert(2999);
            copy.clone_from(&big);
            prop_assert_eq!(copy, big);
        }
    }
}
