//! Counters that several processes see: mmap(2) with `MAP_SHARED`. Over `nix::sys::mman`, whose
//! calls are unsafe because nix cannot know what happens to the mapping; here it is never undone.

use super::{Call, Errno, cvt, cvt_on};
use crate::Result;
use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::mman::{MapFlags, ProtFlags, mmap, mmap_anonymous};
use std::fs::File;
use std::num::NonZeroUsize;
use std::os::fd::AsFd;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// `N` counters, zero at first, that this process shares with children that it forks later, or with
/// everybody who has the file. They take a page of memory for the life of the process.
#[derive(Debug, Clone, Copy)]
pub struct SharedCounters<const N: usize>(&'static [AtomicU64; N]);

impl<const N: usize> SharedCounters<N> {
    const BYTES: NonZeroUsize = NonZeroUsize::new(size_of::<[AtomicU64; N]>()).expect("at least one counter");
    const ACCESS: ProtFlags = ProtFlags::PROT_READ.union(ProtFlags::PROT_WRITE);

    /// Counters for this process and its future children.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub fn new() -> Result<SharedCounters<N>> {
        // SAFETY: a mapping at an address of the kernel's choice replaces nothing that exists.
        let page = unsafe { mmap_anonymous(None, Self::BYTES, Self::ACCESS, MapFlags::MAP_SHARED) };
        cvt(Call::Mmap, page).map(Self::at)
    }

    /// A new file in memory for such counters, zero at first: memfd_create(2). It cannot shrink.
    ///
    /// # Errors
    ///
    /// `EMFILE`, `ENFILE`, `ENOMEM`.
    #[doc(alias = "memfd_create")]
    pub fn new_file() -> Result<File> {
        let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
        let file = File::from(cvt(Call::MemfdCreate, memfd_create(c"io-models-counters", flags))?);
        let bytes = i64::try_from(Self::BYTES.get()).unwrap_or(i64::MAX);
        cvt_on(Call::Ftruncate, file.as_fd(), nix::unistd::ftruncate(&file, bytes))?;
        let seal = FcntlArg::F_ADD_SEALS(SealFlag::F_SEAL_SHRINK);
        cvt_on(Call::Fcntl, file.as_fd(), fcntl(&file, seal))?;
        Ok(file)
    }

    /// The counters in a file from [`new_file`](SharedCounters::new_file), perhaps another process's.
    ///
    /// # Errors
    ///
    /// `EINVAL` when it is another file: shorter, or one that could be made so.
    pub fn in_file(file: &File) -> Result<SharedCounters<N>> {
        // Writing to a mapping beyond the end of its file is SIGBUS, not an error.
        let seals = cvt_on(Call::Fcntl, file.as_fd(), fcntl(file, FcntlArg::F_GET_SEALS))?;
        let sealed = SealFlag::from_bits_retain(seals).contains(SealFlag::F_SEAL_SHRINK);
        let long_enough = file.metadata().is_ok_and(|meta| meta.len() >= Self::BYTES.get() as u64);
        let page = if sealed && long_enough {
            // SAFETY: as in `new`. The file has all the bytes that are mapped, and keeps them: it is
            // sealed. That others write to them is what the atomics are for.
            unsafe { mmap(None, Self::BYTES, Self::ACCESS, MapFlags::MAP_SHARED, file, 0) }
        } else {
            Err(Errno::EINVAL)
        };
        cvt_on(Call::Mmap, file.as_fd(), page).map(Self::at)
    }

    fn at(page: NonNull<libc::c_void>) -> SharedCounters<N> {
        // SAFETY:
        // 1. `page` starts a mapping of `BYTES` bytes, so it is large enough, page-aligned,
        //    readable and writable: both callers have just made it so.
        // 2. It is never unmapped, so `'static` holds.
        // 3. Any bytes are valid `AtomicU64`s, and these may be written by others at any time.
        SharedCounters(unsafe { page.cast::<[AtomicU64; N]>().as_ref() })
    }

    /// The counters themselves.
    #[must_use]
    pub fn counters(&self) -> &'static [AtomicU64; N] {
        self.0
    }

    /// Add to each.
    pub fn add(&self, more: [u64; N]) {
        for (counter, more) in self.0.iter().zip(more) {
            counter.fetch_add(more, Relaxed);
        }
    }

    /// What they hold now.
    #[must_use]
    pub fn values(&self) -> [u64; N] {
        std::array::from_fn(|i| self.0[i].load(Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_mappings_of_a_file_are_the_same_counters() {
        let file = SharedCounters::<3>::new_file().unwrap();
        let one = SharedCounters::<3>::in_file(&file).unwrap();
        let two = SharedCounters::<3>::in_file(&file).unwrap();
        one.add([1, 2, 3]);
        two.add([10, 20, 30]);
        assert_eq!(one.values(), [11, 22, 33]);
    }

    #[test]
    fn a_file_that_is_shorter_or_could_become_so_is_refused() {
        let short = SharedCounters::<1>::new_file().unwrap();
        let error = SharedCounters::<1024>::in_file(&short).unwrap_err();
        assert_eq!(error.errno(), Some(Errno::EINVAL), "instead of SIGBUS");
        let unsealed = File::from(memfd_create(c"test", MFdFlags::MFD_ALLOW_SEALING).unwrap());
        unsealed.set_len(4096).unwrap();
        let error = SharedCounters::<1>::in_file(&unsealed).unwrap_err();
        assert_eq!(error.errno(), Some(Errno::EINVAL));
        short.set_len(0).unwrap_err();
    }
}
