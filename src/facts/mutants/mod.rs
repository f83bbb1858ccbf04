//! Wrong kernels: each does one thing that a real system has done, or that people believe Linux does.
//!
//! A fact that no mutant can make fail would be a check that cannot fail. `io-models facts --under NAME`
//! shows a mutant at work; tests/mutants.rs shows that its fact notices.

mod kinds;

mod select;
mod poll;
mod poll_sockets;
mod poll_special;
mod epoll;
mod epoll_waits;
mod edge;
mod waiters;
mod woken;
mod nested;
mod nonblock;
mod tcp;
mod flags;
mod signals;
mod limits;
mod sharing;
mod uring;

use super::kernel::Kernel;
use std::fmt;

/// A kernel with one call that does the wrong thing.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct Mutant {
    /// Its name on the command line.
    pub name: &'static str,
    /// The id of the fact that it breaks.
    pub breaks: &'static str,
    /// What it does instead, and which system does so.
    pub behaviour: &'static str,
    pub(super) kernel: &'static dyn Kernel,
}

impl fmt::Debug for Mutant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mutant")
            .field("name", &self.name)
            .field("breaks", &self.breaks)
            .finish_non_exhaustive()
    }
}

const AREAS: &[&[Mutant]] = &[
    select::MUTANTS,
    poll::MUTANTS,
    poll_sockets::MUTANTS,
    poll_special::MUTANTS,
    epoll::MUTANTS,
    epoll_waits::MUTANTS,
    edge::MUTANTS,
    waiters::MUTANTS,
    woken::MUTANTS,
    nested::MUTANTS,
    nonblock::MUTANTS,
    tcp::MUTANTS,
    flags::MUTANTS,
    signals::MUTANTS,
    limits::MUTANTS,
    sharing::MUTANTS,
    uring::MUTANTS,
];

impl Mutant {
    /// All of them, by the area of the fact that they break.
    pub fn all() -> impl Iterator<Item = &'static Mutant> {
        AREAS.iter().copied().flatten()
    }

    /// The mutant of that name.
    #[must_use]
    pub fn find(name: &str) -> Option<&'static Mutant> {
        Mutant::all().find(|mutant| mutant.name == name)
    }
}
