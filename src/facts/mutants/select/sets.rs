//! Wrong kernels that treat the sets of select differently.

use super::super::kinds::*;
use crate::sys::raw::Sets;
use libc::timeval;

/// select and pselect6, with the number and the sets changed on the way in, and the sets and the reply on the way out.
pub(super) struct OnSets(pub(super) fn(i32, Sets<'_>, Ask<'_>) -> Reply<usize>);

/// The real call.
pub(super) type Ask<'a> = &'a mut dyn FnMut(i32, Sets<'_>) -> Reply<usize>;

impl Kernel for OnSets {
    fn select(&self, nfds: i32, sets: Sets<'_>, mut timeout: Option<&mut timeval>) -> Reply<usize> {
        (self.0)(nfds, sets, &mut |nfds, sets| raw::select(nfds, sets, timeout.as_deref_mut()))
    }

    fn pselect6(
        &self,
        nfds: i32,
        sets: Sets<'_>,
        mut timeout: Option<&mut timespec>,
        mask: Mask,
    ) -> Reply<usize> {
        (self.0)(nfds, sets, &mut |nfds, sets| raw::pselect6(nfds, sets, timeout.as_deref_mut(), mask))
    }
}

/// The real call, which leaves out what is ready and `left_out`: a descriptor, and the name of the set that it is in.
pub(super) fn fewer(
    nfds: i32,
    mut sets: Sets<'_>,
    ask: Ask<'_>,
    left_out: impl Fn(i32, &str) -> bool,
) -> Reply<usize> {
    let reply = ask(nfds, sets.again())?;
    let ready = asked(&sets, nfds);
    for (name, set) in [("read", &mut sets.read), ("write", &mut sets.write), ("except", &mut sets.except)] {
        if let At::Memory(words) = set {
            ready.iter().filter(|&&fd| left_out(fd, name)).for_each(|&fd| put(words, fd, false));
        }
    }
    Ok(reply.min(bits(&mut sets)))
}

pub(super) fn has(words: &[u64], fd: i32) -> bool {
    words.get(fd as usize / 64).is_some_and(|word| word >> (fd % 64) & 1 == 1)
}

pub(super) fn put(words: &mut [u64], fd: i32, set: bool) {
    if let Some(word) = words.get_mut(fd as usize / 64) {
        *word = *word & !(1 << (fd % 64)) | u64::from(set) << (fd % 64);
    }
}

pub(super) fn each(sets: &mut Sets<'_>, mut work: impl FnMut(&mut [u64])) {
    for set in [&mut sets.read, &mut sets.write, &mut sets.except] {
        if let At::Memory(words) = set {
            work(words);
        }
    }
}

pub(super) fn each_with(sets: &mut Sets<'_>, before: &[Vec<u64>; 3], work: impl Fn(&mut [u64], &[u64])) {
    for (set, before) in [&mut sets.read, &mut sets.write, &mut sets.except].into_iter().zip(before) {
        if let At::Memory(words) = set {
            work(words, before);
        }
    }
}

pub(super) fn copy(sets: &Sets<'_>) -> [Vec<u64>; 3] {
    [&sets.read, &sets.write, &sets.except].map(|set| match set {
        At::Memory(words) => words.to_vec(),
        At::Nowhere(..) => Vec::new(),
    })
}

/// How many bits are set.
pub(super) fn bits(sets: &mut Sets<'_>) -> usize {
    let mut n = 0;
    each(sets, |words| n += words.iter().map(|word| word.count_ones() as usize).sum::<usize>());
    n
}

/// The descriptors below `nfds` that are in any set.
pub(super) fn asked(sets: &Sets<'_>, nfds: i32) -> Vec<i32> {
    let words = copy(sets);
    let longest = words.iter().map(Vec::len).max().unwrap_or(0) as i32 * 64;
    (0..nfds.min(longest)).filter(|&fd| words.iter().any(|words| has(words, fd))).collect()
}

pub(super) fn is_closed(fd: i32) -> bool {
    raw::fcntl(fd, libc::F_GETFD, 0).is_err()
}
