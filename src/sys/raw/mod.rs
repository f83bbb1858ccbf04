//! System calls as the kernel has them, for the experiments of [`facts`](crate::facts).
//!
//! The other modules of `sys` make mistakes hard; here a mistake is the point: descriptors are numbers
//! and may be closed, flags may be unknown, a pointer may lead nowhere. What is kept is the safety of memory:
//! the kernel is only ever shown memory of ours that is as long as it is told, or an [address](At::Nowhere)
//! at which nothing of ours can be. Nothing is retried, and no failure is turned into an answer.
//!
//! Over libc, and libc::syscall(2) where glibc does something of its own on the way: it copies
//! the timeouts of select and ppoll, for one. A descriptor that an experiment closes is a number that it
//! got here itself; no owner of the rest of the crate lives in its process.

mod files;
mod network;
mod process;
mod pty_pair;
mod signals;
mod uring;
mod waits;

pub(crate) use files::*;
pub(crate) use network::*;
pub(crate) use process::*;
pub(crate) use pty_pair::*;
pub(crate) use signals::*;
pub(crate) use uring::*;
pub(crate) use waits::*;

use super::Errno;
use std::fmt;

/// What a call gave.
pub(crate) type Reply<T> = Result<T, Refusal>;

/// A call that the kernel refused. Two are equal when the errno is.
#[derive(Clone, Copy, Eq)]
pub(crate) struct Refusal {
    /// Which call; a fact that only names the errno it expects leaves it empty.
    pub(crate) call: &'static str,
    /// Why.
    pub(crate) errno: Errno,
}

impl PartialEq for Refusal {
    fn eq(&self, other: &Refusal) -> bool {
        self.errno == other.errno
    }
}

impl fmt::Debug for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {:?}", self.call, self.errno)
    }
}

/// The refusal that an experiment expects.
pub(crate) const fn no<T>(errno: Errno) -> Reply<T> {
    Err(Refusal { call: "", errno })
}

/// Memory that the kernel reads or writes.
#[derive(Debug)]
pub(crate) enum At<'a, T> {
    /// Ours.
    Memory(&'a mut [T]),
    /// None, but it is told that there is room for so many.
    Nowhere(Nowhere, usize),
}

/// An address at which a process has nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Nowhere {
    /// 0.
    Null,
    /// 8, in the page that is never mapped (`vm.mmap_min_addr`).
    Low,
    /// The kernel's half of the addresses.
    Kernel,
}

impl Nowhere {
    const fn address(self) -> usize {
        match self {
            Nowhere::Null => 0,
            Nowhere::Low => 8,
            Nowhere::Kernel => usize::MAX - 0xffff,
        }
    }
}

impl<T> At<'_, T> {
    pub(crate) fn pointer(&mut self) -> *mut T {
        match self {
            At::Memory(memory) => memory.as_mut_ptr(),
            At::Nowhere(nowhere, _) => std::ptr::without_provenance_mut(nowhere.address()),
        }
    }

    pub(crate) fn len(&self) -> usize {
        match self {
            At::Memory(memory) => memory.len(),
            At::Nowhere(_, len) => *len,
        }
    }

    /// The same memory, for one more call.
    pub(crate) fn again(&mut self) -> At<'_, T> {
        match self {
            At::Memory(memory) => At::Memory(memory),
            At::Nowhere(nowhere, len) => At::Nowhere(*nowhere, *len),
        }
    }
}

impl<'a, T> From<&'a mut [T]> for At<'a, T> {
    fn from(memory: &'a mut [T]) -> Self {
        At::Memory(memory)
    }
}

impl<'a, T, const N: usize> From<&'a mut [T; N]> for At<'a, T> {
    fn from(memory: &'a mut [T; N]) -> Self {
        At::Memory(memory)
    }
}

impl<'a, T> From<&'a mut T> for At<'a, T> {
    fn from(one: &'a mut T) -> Self {
        At::Memory(std::slice::from_mut(one))
    }
}

/// The result of a call of libc: -1 is a refusal, with the reason in `errno`.
fn reply<N: Into<i64>>(call: &'static str, result: N) -> Reply<i64> {
    match result.into() {
        -1 => Err(Refusal { call, errno: Errno::last() }),
        n => Ok(n),
    }
}

/// [`reply`] as a count.
fn count<N: Into<i64>>(call: &'static str, result: N) -> Reply<usize> {
    reply(call, result).map(|n| usize::try_from(n).unwrap_or(usize::MAX))
}

/// [`reply`] as a descriptor, a process or flags.
fn number<N: Into<i64>>(call: &'static str, result: N) -> Reply<i32> {
    reply(call, result).map(|n| i32::try_from(n).unwrap_or(i32::MAX))
}

/// [`reply`] of a call that gives nothing.
fn done<N: Into<i64>>(call: &'static str, result: N) -> Reply<()> {
    reply(call, result).map(drop)
}
