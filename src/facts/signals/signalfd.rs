//! Signals that are read from a descriptor.

use super::super::check::{Held, is};
use super::super::support::*;
use super::super::{Area, Fact, Since};
use crate::sys::Errno;
use crate::sys::raw::{self, Action, no};
use libc::{SFD_CLOEXEC, SFD_NONBLOCK, SIG_BLOCK, SIG_UNBLOCK, SIGUSR1};

pub(super) const FACTS: &[Fact] = &[
    Fact {
        id: "sig-signalfd-consumes",
        area: Area::Signals,
        claim: "Reading a signalfd takes the pending signal: no handler runs once it is unblocked. A standard signal that was raised twice gives one record; buffers of \
                less than 128 bytes give EINVAL.",
        reference: "signalfd(2)",
        since: Since::ALWAYS,
        matters: "A signalfd can lose a count as handlers do: two children that end may be one record.",
        experiment: "A blocked signal is raised twice and read; the next read is EAGAIN; it is unblocked, and its handler has not run.",
        wrong: &[],
        alone: false,
        run: signalfd_consumes,
    },
    Fact {
        id: "sig-signalfd-epoll-registrar",
        area: Area::Signals,
        claim: "A signalfd in epoll wakes for the process that did EPOLL_CTL_ADD: a forked child with a signal of its own pending gets nothing from the inherited epoll, but \
                IN from poll, and from an epoll that it made itself.",
        reference: "signalfd(2), epoll(7) semantics",
        since: Since::ALWAYS,
        matters: "A forked worker that keeps its parent's epoll never hears of its own signals.",
        experiment: "The parent adds a signalfd to epoll and forks; the child raises the signal at itself and asks all three.",
        wrong: &[],
        alone: false,
        run: signalfd_epoll_registrar,
    },
    Fact {
        id: "sig-signalfd-needs-blocking",
        area: Area::Signals,
        claim: "A signal that is not blocked goes to its handler, and the signalfd stays unreadable.",
        reference: "signalfd(2)",
        since: Since::ALWAYS,
        matters: "A signalfd without sigprocmask, in one thread of many, loses signals.",
        experiment: "An unblocked signal with a handler is raised, and the signalfd polled.",
        wrong: &[],
        alone: false,
        run: signalfd_needs_blocking,
    },
];

fn raise(k: K) -> Held {
    Ok(k.kill(std::process::id().cast_signed(), SIGUSR1)?)
}

fn signalfd_consumes(k: K) -> Held {
    k.sigaction(SIGUSR1, Action::Count, 0)?;
    k.sigprocmask(SIG_BLOCK, raw::bit(SIGUSR1))?;
    let fd = k.signalfd(-1, raw::bit(SIGUSR1), SFD_CLOEXEC | SFD_NONBLOCK)?;
    raise(k)?;
    raise(k)?;
    is("read into 127 bytes", k.read(fd, &mut [0; 127]), no(Errno::EINVAL))?;
    let mut records = [0; 256];
    is("bytes of all records", k.read(fd, &mut records), Ok(128))?;
    is("the signal", records[0], SIGUSR1 as u8)?;
    is("read again", k.read(fd, &mut records), no(Errno::EAGAIN))?;
    k.sigprocmask(SIG_UNBLOCK, raw::bit(SIGUSR1))?;
    is("runs of the handler", raw::handled(SIGUSR1), 0)
}

fn signalfd_epoll_registrar(k: K) -> Held {
    k.sigprocmask(SIG_BLOCK, raw::bit(SIGUSR1))?;
    let fd = k.signalfd(-1, raw::bit(SIGUSR1), SFD_CLOEXEC | SFD_NONBLOCK)?;
    let inherited = epoll(k)?;
    add(k, inherited, fd, IN)?;
    let child = Forked::start(|| {
        raise(k)?;
        is("the inherited epoll of a child with a signal pending", ready(k, inherited)?, vec![])?;
        is("poll in that child", mask(k, fd)?, IN)?;
        let own = epoll(k)?;
        add(k, own, fd, IN)?;
        is("an epoll that the child made", ready(k, own)?, vec![(fd, IN)])
    })?;
    child.join()?;
    is("the parent's epoll", ready(k, inherited)?, vec![])?;
    raise(k)?;
    is("the parent's epoll with a signal of its own", ready(k, inherited)?, vec![(fd, IN)])
}

fn signalfd_needs_blocking(k: K) -> Held {
    k.sigaction(SIGUSR1, Action::Count, 0)?;
    let fd = k.signalfd(-1, raw::bit(SIGUSR1), SFD_CLOEXEC | SFD_NONBLOCK)?;
    raise(k)?;
    bounded("the handler has run", || Ok((raw::handled(SIGUSR1) == 1).then_some(())))?;
    is("the signalfd", mask(k, fd)?, NONE)?;
    is("read of it", k.read(fd, &mut [0; 128]), no(Errno::EAGAIN))
}
