//! What the files of wrong kernels share: the kinds of wrong kernels, of which most are one and say only in what they are
//! wrong, and what they look at and remember.

pub(super) use super::super::kernel::{Call, Kernel, Table, instead};
pub(super) use super::Mutant;
pub(super) use crate::sys::Errno;
pub(super) use crate::sys::raw::{self, At, Mask, Refusal, Reply, no};
pub(super) use libc::{epoll_event, pollfd, timespec};
pub(super) use std::sync::Mutex;
pub(super) use std::sync::atomic::{AtomicBool, AtomicI32, AtomicUsize, Ordering::SeqCst};

pub(super) use Polled::{Changed, Gains, Loses};

use super::super::hook::{Fill, Given, Hook};
use libc::{EPOLL_CTL_DEL, O_NONBLOCK, POLLERR, POLLHUP, POLLIN, POLLNVAL, SOL_SOCKET};
use std::collections::BTreeSet;
use std::sync::{MutexGuard, PoisonError};

/// epoll_ctl does something else.
pub(super) struct Ctl(pub(super) fn(CtlCall) -> Reply<()>);

/// A call of epoll_ctl.
#[derive(Clone, Copy)]
pub(super) struct CtlCall {
    pub(super) epoll: i32,
    pub(super) op: i32,
    pub(super) fd: i32,
    pub(super) event: Option<epoll_event>,
}

impl CtlCall {
    /// What the real kernel does.
    pub(super) fn real(self) -> Reply<()> {
        raw::epoll_ctl(self.epoll, self.op, self.fd, self.event)
    }

    /// The same with these events; a call without an event stays so.
    pub(super) fn with(mut self, change: impl FnOnce(u32) -> u32) -> CtlCall {
        if let Some(event) = &mut self.event {
            event.events = change(event.events);
        }
        self
    }

    /// The events that it asks for.
    pub(super) fn events(self) -> u32 {
        self.event.map_or(0, |event| event.events)
    }

    /// Whether it asks for any of these events or flags.
    pub(super) fn has(self, flags: i32) -> bool {
        self.events() & flags.cast_unsigned() != 0
    }

    /// The data of the entry.
    pub(super) fn data(self) -> u64 {
        self.event.map_or(0, |event| event.u64)
    }

    /// The one of the [`entries`] that it is about.
    pub(super) fn entry(self) -> Option<CtlCall> {
        entries().iter().find(|entry| (entry.epoll, entry.fd) == (self.epoll, self.fd)).copied()
    }

    /// What the real kernel does; the entry is one of the [`entries`] from then on, or is none any more.
    pub(super) fn remembered(self) -> Reply<()> {
        self.real()?;
        let mut entries = entries();
        entries.retain(|entry| (entry.epoll, entry.fd) != (self.epoll, self.fd));
        entries.extend((self.op != EPOLL_CTL_DEL).then_some(self));
        Ok(())
    }
}

/// The entries that a wrong kernel remembers, as they were last added or modified. A process has only one kernel.
pub(super) fn entries() -> MutexGuard<'static, Vec<CtlCall>> {
    static ENTRIES: Mutex<Vec<CtlCall>> = Mutex::new(Vec::new());
    locked(&ENTRIES)
}

/// Events that instances report next, each with its instance.
pub(super) fn owed() -> MutexGuard<'static, Vec<(i32, epoll_event)>> {
    static OWED: Mutex<Vec<(i32, epoll_event)>> = Mutex::new(Vec::new());
    locked(&OWED)
}

/// Those of an instance, which are not owed any more.
pub(super) fn take_owed(epoll: i32) -> Vec<epoll_event> {
    owed().extract_if(.., |(whose, _)| *whose == epoll).map(|(_, event)| event).collect()
}

/// The descriptors that a wrong kernel wants to know again.
pub(super) fn marked() -> MutexGuard<'static, BTreeSet<i32>> {
    static MARKED: Mutex<BTreeSet<i32>> = Mutex::new(BTreeSet::new());
    locked(&MARKED)
}

pub(super) fn mark(fd: i32) {
    marked().insert(fd);
}

pub(super) fn is_marked(fd: i32) -> bool {
    marked().contains(&fd)
}

/// What a wrong kernel remembers.
pub(super) fn locked<T>(state: &Mutex<T>) -> MutexGuard<'_, T> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Kernel for Ctl {
    fn epoll_ctl(&self, epoll: i32, op: i32, fd: i32, event: Option<epoll_event>) -> Reply<()> {
        self.0(CtlCall { epoll, op, fd, event })
    }
}

/// What epoll_wait and its siblings report is changed: the instance, and the events, some of which may be taken away.
pub(super) struct Waited(pub(super) fn(i32, &mut Vec<epoll_event>));

/// What a wait reports is changed.
pub(super) fn changed(
    mut events: At<'_, epoll_event>,
    change: impl FnOnce(&mut Vec<epoll_event>),
    wait: impl FnOnce(At<'_, epoll_event>) -> Reply<usize>,
) -> Reply<usize> {
    let n = wait(events.again())?;
    let At::Memory(events) = events else { return Ok(n) };
    let mut reported = events[..n].to_vec();
    change(&mut reported);
    reported.truncate(events.len());
    events[..reported.len()].copy_from_slice(&reported);
    Ok(reported.len())
}

impl Waited {
    fn changed(
        &self,
        epoll: i32,
        events: At<'_, epoll_event>,
        wait: impl FnOnce(At<'_, epoll_event>) -> Reply<usize>,
    ) -> Reply<usize> {
        changed(events, |events| self.0(epoll, events), wait)
    }
}

impl Kernel for Waited {
    fn epoll_wait(&self, epoll: i32, events: At<'_, epoll_event>, max: i32, timeout: i32) -> Reply<usize> {
        self.changed(epoll, events, |events| raw::epoll_wait(epoll, events, max, timeout))
    }

    fn epoll_pwait(
        &self,
        epoll: i32,
        events: At<'_, epoll_event>,
        max: i32,
        timeout: i32,
        mask: Mask,
    ) -> Reply<usize> {
        self.changed(epoll, events, |events| raw::epoll_pwait(epoll, events, max, timeout, mask))
    }

    fn epoll_pwait2(
        &self,
        epoll: i32,
        events: At<'_, epoll_event>,
        max: i32,
        timeout: Option<&mut timespec>,
        mask: Mask,
    ) -> Reply<usize> {
        self.changed(epoll, events, |events| raw::epoll_pwait2(epoll, events, max, timeout, mask))
    }
}

/// What an instance has now, up to 64 events; those of edge-triggered entries are taken.
pub(super) fn ready_now(epoll: i32) -> Reply<Vec<epoll_event>> {
    let mut events = [epoll_event { events: 0, u64: 0 }; 64];
    let n = raw::epoll_wait(epoll, At::from(&mut events), 64, 0)?;
    Ok(events[..n].to_vec())
}

/// Both of epoll_ctl and what the waits report.
pub(super) struct CtlAndWaited(
    pub(super) fn(CtlCall) -> Reply<()>,
    pub(super) fn(i32, &mut Vec<epoll_event>),
);

impl Kernel for CtlAndWaited {
    fn epoll_ctl(&self, epoll: i32, op: i32, fd: i32, event: Option<epoll_event>) -> Reply<()> {
        Ctl(self.0).epoll_ctl(epoll, op, fd, event)
    }

    fn epoll_wait(&self, epoll: i32, events: At<'_, epoll_event>, max: i32, timeout: i32) -> Reply<usize> {
        Waited(self.1).epoll_wait(epoll, events, max, timeout)
    }
}

/// Each entry of poll and ppoll is changed after the call; those that are ready are counted again.
pub(super) enum Polled {
    /// In this way.
    Changed(fn(&mut pollfd)),
    /// Those that are so lose these bits.
    Loses(i16, fn(&pollfd) -> bool),
    /// Those that are so have these bits too, as far as they ask for them.
    Gains(i16, fn(&pollfd) -> bool),
}

impl Polled {
    fn changed(&self, reply: Reply<usize>, fds: At<'_, pollfd>) -> Reply<usize> {
        let n = reply?;
        let At::Memory(entries) = fds else { return Ok(n) };
        for entry in entries.iter_mut() {
            match *self {
                Changed(change) => change(entry),
                Loses(bits, is_so) => entry.revents &= if is_so(entry) { !bits } else { !0 },
                Gains(bits, is_so) => entry.revents |= if is_so(entry) { asked(entry, bits) } else { 0 },
            }
        }
        Ok(ready(entries))
    }
}

impl Kernel for Polled {
    fn poll(&self, mut fds: At<'_, pollfd>, timeout: i32) -> Reply<usize> {
        self.changed(raw::poll(fds.again(), timeout), fds)
    }

    fn ppoll(&self, mut fds: At<'_, pollfd>, timeout: Option<&mut timespec>, mask: Mask) -> Reply<usize> {
        self.changed(raw::ppoll(fds.again(), timeout, mask), fds)
    }
}

/// Without the bits that nobody asked for and that poll does not add by itself.
pub(super) fn asked(entry: &pollfd, bits: i16) -> i16 {
    bits & (entry.events | POLLERR | POLLHUP | POLLNVAL)
}

/// How many entries have something to report.
pub(super) fn ready(entries: &[pollfd]) -> usize {
    entries.iter().filter(|entry| entry.revents != 0).count()
}

/// A call that fails with the first errno fails with the second instead.
pub(super) struct OtherErrno(pub(super) Call, pub(super) Errno, pub(super) Errno);

impl Hook for OtherErrno {
    fn after<T: Given>(&self, call: Call, reply: Reply<T>, _: &mut [&mut dyn Fill]) -> Reply<T> {
        let OtherErrno(wrong, from, to) = *self;
        reply.map_err(|refusal| match refusal.errno == from && call == wrong {
            true => Refusal { errno: to, ..refusal },
            false => refusal,
        })
    }
}

/// A call does nothing, and says that it succeeded.
pub(super) struct Ignored(pub(super) Call);

impl Hook for Ignored {
    fn instead<T: Given>(&self, call: Call) -> Option<Reply<T>> {
        (call == self.0).then(|| Ok(T::nothing()))
    }

    fn after<T: Given>(&self, _: Call, reply: Reply<T>, _: &mut [&mut dyn Fill]) -> Reply<T> {
        reply
    }
}

/// setsockopt of one option does nothing, and says that it succeeded: the level, the option.
pub(super) struct OptionIgnored(pub(super) i32, pub(super) i32);

impl Kernel for OptionIgnored {
    fn setsockopt(&self, fd: i32, level: i32, option: i32, value: &[u8]) -> Reply<()> {
        if (level, option) == (self.0, self.1) { Ok(()) } else { raw::setsockopt(fd, level, option, value) }
    }
}

/// What getsockopt of one option gives is changed: the level, the option, the change of the value of a socket.
pub(super) struct OptionChanged(pub(super) i32, pub(super) i32, pub(super) fn(i32, &mut [u8]));

impl Kernel for OptionChanged {
    fn getsockopt(&self, fd: i32, level: i32, option: i32, value: &mut [u8]) -> Reply<usize> {
        let n = raw::getsockopt(fd, level, option, value)?;
        if (level, option) == (self.0, self.1) {
            self.2(fd, &mut value[..n]);
        }
        Ok(n)
    }
}

/// What poll says of `fd` now, or after at most so many milliseconds.
pub(super) fn polled(fd: i32, events: i16, limit_ms: i32) -> i16 {
    let mut one = pollfd { fd, events, revents: 0 };
    raw::poll(At::from(&mut one), limit_ms).map_or(0, |_| one.revents)
}

/// The file status flags of `fd`; 0 where it is not open.
pub(super) fn flags(fd: i32) -> i32 {
    raw::fcntl(fd, libc::F_GETFL, 0).unwrap_or(0)
}

/// Whether `fd` has O_NONBLOCK.
pub(super) fn is_nonblocking(fd: i32) -> bool {
    flags(fd) & O_NONBLOCK != 0
}

/// `fd` has O_NONBLOCK from now on.
pub(super) fn set_nonblocking(fd: i32) -> Reply<()> {
    raw::fcntl(fd, libc::F_SETFL, flags(fd) | O_NONBLOCK).map(drop)
}

/// What /proc says that `fd` is, as in `anon_inode:[eventfd]`.
pub(super) fn link_of(fd: i32) -> String {
    let link = std::fs::read_link(format!("/proc/self/fd/{fd}"));
    link.map_or_else(|_| String::new(), |link| link.to_string_lossy().into_owned())
}

/// Whether epoll refuses `fd`, as it does a regular file.
pub(super) fn is_unpollable(fd: i32) -> bool {
    let Ok(epoll) = raw::epoll_create1(libc::EPOLL_CLOEXEC) else { return false };
    let event = epoll_event { events: 0, u64: 0 };
    let refused = raw::epoll_ctl(epoll, libc::EPOLL_CTL_ADD, fd, Some(event)) == no(Errno::EPERM);
    raw::close(epoll).ok();
    refused
}

/// An option whose value is an int; 0 where there is none.
pub(super) fn option(fd: i32, level: i32, option: i32) -> i32 {
    let mut value = [0; 4];
    raw::getsockopt(fd, level, option, &mut value).map_or(0, |_| i32::from_ne_bytes(value))
}

/// SO_ERROR, which is cleared.
pub(super) fn so_error(fd: i32) -> i32 {
    option(fd, SOL_SOCKET, libc::SO_ERROR)
}

/// Whether `fd` is a socket of this family and kind.
pub(super) fn is_socket(fd: i32, domain: i32, kind: i32) -> bool {
    option(fd, SOL_SOCKET, libc::SO_DOMAIN) == domain && option(fd, SOL_SOCKET, libc::SO_TYPE) == kind
}

/// Whether `fd` listens.
pub(super) fn is_listener(fd: i32) -> bool {
    option(fd, SOL_SOCKET, libc::SO_ACCEPTCONN) == 1
}

/// Whether a connection can be accepted from `fd`.
pub(super) fn is_pending(fd: i32) -> bool {
    is_listener(fd) && polled(fd, POLLIN, 0) != 0
}

/// All that `fd` has received is read, and lost.
pub(super) fn drain(fd: i32) {
    while raw::recv(fd, &mut [0; 4096], libc::MSG_DONTWAIT).is_ok_and(|n| n > 0) {}
}

/// The first byte of TCP_INFO; of anything else there is none.
pub(super) fn tcp_state(fd: i32) -> Option<u8> {
    let mut state = [0];
    raw::getsockopt(fd, libc::IPPROTO_TCP, libc::TCP_INFO, &mut state).ok()?;
    Some(state[0])
}

/// Whether `fd` is a TCP socket whose connection is being made.
pub(super) fn is_syn_sent(fd: i32) -> bool {
    const SYN_SENT: u8 = 2;
    tcp_state(fd) == Some(SYN_SENT)
}

/// The number of this process.
pub(super) fn me() -> i32 {
    std::process::id().cast_signed()
}
