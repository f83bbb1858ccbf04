//! Memory that several processes see: mmap(2) with `MAP_SHARED`. Over `nix::sys::mman`, whose calls are unsafe because
//! nix cannot know what happens to the mapping. Here it is never undone.

use super::{Call, cvt, cvt_on};
use crate::Result;
use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::mman::{MapFlags, ProtFlags, mmap, mmap_anonymous};
use std::fs::File;
use std::num::NonZeroUsize;
use std::os::fd::AsFd;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// What may lie in shared memory.
///
/// # Safety
///
/// Zero bytes must be a valid value, and so must whatever another process writes at any time: the type consists of atomic
/// numbers, or of bytes behind an `UnsafeCell` to which there are no references. It is not of size 0, and a page (4096 bytes)
/// is aligned well enough for it.
pub(crate) unsafe trait Shareable: Sync {}

// SAFETY: an array of atomic numbers, aligned to 128 bytes.
unsafe impl<const N: usize> Shareable for Row<N> {}
// SAFETY: rows one after another; an array is aligned as its elements are.
unsafe impl<T: Shareable, const N: usize> Shareable for [T; N] {}

/// `N` counters that one thread writes and others read. Two rows never share a cache line, or the adjacent one that
/// processors fetch with it, so that writers do not disturb each other.
#[derive(Debug)]
#[repr(C, align(128))]
pub struct Row<const N: usize>([AtomicU64; N]);

impl<const N: usize> Row<N> {
    /// A row of zeros.
    #[must_use]
    pub(crate) const fn new() -> Row<N> {
        Row([const { AtomicU64::new(0) }; N])
    }

    /// Add to counter `i`, as the only writer of this row: a load and a store, no locked instruction.
    #[inline]
    pub(crate) fn add(&self, i: usize, more: u64) {
        self.0[i].store(self.0[i].load(Relaxed).wrapping_add(more), Relaxed);
    }

    /// Add to counter `i` of a row that several threads or processes write.
    pub(crate) fn add_with_others(&self, i: usize, more: u64) {
        self.0[i].fetch_add(more, Relaxed);
    }

    /// Write all counters, as the only writer of this row.
    #[inline]
    pub(crate) fn set(&self, values: [u64; N]) {
        for (counter, value) in self.0.iter().zip(values) {
            counter.store(value, Relaxed);
        }
    }

    /// Write counter `i`, as the only writer of this row.
    pub(crate) fn put(&self, i: usize, value: u64) {
        self.0[i].store(value, Relaxed);
    }

    /// What the counters hold now.
    #[must_use]
    pub(crate) fn values(&self) -> [u64; N] {
        std::array::from_fn(|i| self.0[i].load(Relaxed))
    }
}

const ACCESS: ProtFlags = ProtFlags::PROT_READ.union(ProtFlags::PROT_WRITE);

fn bytes<T: Shareable>() -> NonZeroUsize {
    const { NonZeroUsize::new(size_of::<T>()).expect("something to share") }
}

/// Zeros that this process shares with the children that it forks later. Memory is taken page by page, when it is first
/// written to, and for the life of the process.
///
/// # Errors
///
/// `ENOMEM`.
pub(crate) fn with_children<T: Shareable>() -> Result<&'static T> {
    cvt(Call::Mmap, uncounted())
}

/// The same for the page of the counts, whose mmap(2) cannot be counted before it is there.
pub(super) fn uncounted<T: Shareable>() -> nix::Result<&'static T> {
    let flags = MapFlags::MAP_SHARED | MapFlags::MAP_NORESERVE;
    // SAFETY: a mapping at an address of the kernel's choice replaces nothing that exists.
    unsafe { mmap_anonymous(None, bytes::<T>(), ACCESS, flags) }.map(at)
}

/// A new file in memory with room for a `T`, all zero: memfd_create(2). It cannot shrink.
///
/// # Errors
///
/// `EMFILE`, `ENFILE`, `ENOMEM`; `EFBIG` beyond `RLIMIT_FSIZE`.
pub(crate) fn new_file<T: Shareable>() -> Result<File> {
    let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
    let file = File::from(cvt(Call::MemfdCreate, memfd_create(c"io-models-counters", flags))?);
    let bytes = i64::try_from(bytes::<T>().get()).unwrap_or(i64::MAX);
    cvt_on(Call::Ftruncate, file.as_fd(), nix::unistd::ftruncate(&file, bytes))?;
    let seal = FcntlArg::F_ADD_SEALS(SealFlag::F_SEAL_SHRINK);
    cvt_on(Call::Fcntl, file.as_fd(), fcntl(&file, seal))?;
    Ok(file)
}

/// The `T` in a file from [`new_file`], perhaps another process's.
///
/// # Errors
///
/// `EINVAL` when it is another file: shorter, or one that could be made so.
pub(crate) fn in_file<T: Shareable>(file: &File) -> Result<&'static T> {
    // Writing to a mapping beyond the end of its file is SIGBUS, not an error.
    let seals = cvt_on(Call::Fcntl, file.as_fd(), fcntl(file, FcntlArg::F_GET_SEALS))?;
    let sealed = SealFlag::from_bits_retain(seals).contains(SealFlag::F_SEAL_SHRINK);
    let long_enough = file.metadata().is_ok_and(|meta| meta.len() >= bytes::<T>().get() as u64);
    if !sealed || !long_enough {
        return Err(crate::Error::Misuse("the file for shared counters is not one that was made for them"));
    }
    // SAFETY: as in `uncounted`. The file has all the bytes that are mapped, and keeps them, because it is sealed.
    // That others write to them is what the atomic numbers are for.
    let page = unsafe { mmap(None, bytes::<T>(), ACCESS, MapFlags::MAP_SHARED, file, 0) };
    cvt_on(Call::Mmap, file.as_fd(), page).map(at)
}

fn at<T: Shareable>(page: NonNull<libc::c_void>) -> &'static T {
    const { assert!(align_of::<T>() <= 4096, "a page is aligned to its size") };
    // SAFETY:
    // 1. `page` starts a mapping of `size_of::<T>()` bytes, readable and writable: both callers have just made it so. It is
    //    aligned to a page, and `T` to no more, as is asserted above.
    // 2. It is never unmapped, so `'static` holds.
    // 3. A `T` may hold any bytes, and others may write to it at any time: that is what `Shareable` promises.
    unsafe { page.cast::<T>().as_ref() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_mappings_of_a_file_are_the_same_counters() {
        let file = new_file::<Row<3>>().unwrap();
        let one = in_file::<Row<3>>(&file).unwrap();
        let two = in_file::<Row<3>>(&file).unwrap();
        one.set([1, 2, 3]);
        two.add(0, 10);
        two.add_with_others(2, 30);
        assert_eq!(one.values(), [11, 2, 33]);
    }

    #[test]
    fn a_file_that_is_shorter_or_could_become_so_is_refused() {
        let short = new_file::<Row<1>>().unwrap();
        in_file::<[Row<1>; 64]>(&short).expect_err("instead of SIGBUS");
        let unsealed = File::from(memfd_create(c"test", MFdFlags::MFD_ALLOW_SEALING).unwrap());
        unsealed.set_len(4096).unwrap();
        in_file::<Row<1>>(&unsealed).expect_err("it could be made shorter");
        short.set_len(0).unwrap_err();
    }
}
