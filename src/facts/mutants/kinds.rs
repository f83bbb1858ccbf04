//! The kinds of wrong kernels: most are wrong in one of these ways, and say only in what.

use super::super::hook::{Fill, Given, Hook};
use super::super::kernel::{Call, Kernel};
use crate::sys::Errno;
use crate::sys::raw::{self, Action, Address, At, Completion, Mask, Message, Refusal, Reply};
use libc::{EPOLL_CTL_DEL, epoll_event, pollfd, timespec};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

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

impl Waited {
    fn changed(
        &self,
        epoll: i32,
        mut events: At<'_, epoll_event>,
        wait: impl FnOnce(At<'_, epoll_event>) -> Reply<usize>,
    ) -> Reply<usize> {
        let n = wait(events.again())?;
        let At::Memory(events) = events else { return Ok(n) };
        let mut reported = events[..n].to_vec();
        self.0(epoll, &mut reported);
        reported.truncate(events.len());
        events[..reported.len()].copy_from_slice(&reported);
        Ok(reported.len())
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

/// This is done instead of epoll_wait.
pub(super) struct EpollWait(pub(super) fn(i32, At<'_, epoll_event>, i32, i32) -> Reply<usize>);

impl Kernel for EpollWait {
    fn epoll_wait(&self, epoll: i32, events: At<'_, epoll_event>, max: i32, timeout: i32) -> Reply<usize> {
        (self.0)(epoll, events, max, timeout)
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
pub(super) struct Changed(pub(super) fn(&mut pollfd));

impl Changed {
    fn changed(&self, reply: Reply<usize>, fds: At<'_, pollfd>) -> Reply<usize> {
        let n = reply?;
        let At::Memory(entries) = fds else { return Ok(n) };
        entries.iter_mut().for_each(self.0);
        Ok(ready(entries))
    }
}

impl Kernel for Changed {
    fn poll(&self, mut fds: At<'_, pollfd>, timeout: i32) -> Reply<usize> {
        self.changed(raw::poll(fds.again(), timeout), fds)
    }

    fn ppoll(&self, mut fds: At<'_, pollfd>, timeout: Option<&mut timespec>, mask: Mask) -> Reply<usize> {
        self.changed(raw::ppoll(fds.again(), timeout, mask), fds)
    }
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

macro_rules! instead {
    ($($kind:ident = $call:ident($($argument:ident: $type:ty),*) -> $reply:ty;)*) => { $(
        #[doc = concat!("This is done instead of ", stringify!($call), ".")]
        pub(super) struct $kind(pub(super) fn($($type),*) -> Reply<$reply>);

        impl Kernel for $kind {
            fn $call(&self, $($argument: $type),*) -> Reply<$reply> {
                (self.0)($($argument),*)
            }
        }
    )* };
}
instead! {
    Accept = accept(fd: i32) -> i32;
    Bind = bind(fd: i32, address: &Address) -> ();
    Close = close(fd: i32) -> ();
    Connect = connect(fd: i32, address: &Address) -> ();
    Dup2 = dup2(fd: i32, to: i32) -> i32;
    Fcntl = fcntl(fd: i32, command: i32, argument: i32) -> i32;
    GetOption = getsockopt(fd: i32, level: i32, option: i32, value: &mut [u8]) -> usize;
    Kill = kill(pid: i32, signal: i32) -> ();
    Listen = listen(fd: i32, backlog: i32) -> ();
    Open = open(path: &str, flags: i32) -> i32;
    PipeInto = pipe2_into(ends: &mut [i32; 2], flags: i32) -> ();
    Poll = poll(fds: At<'_, pollfd>, timeout: i32) -> usize;
    Read = read(fd: i32, buffer: &mut [u8]) -> usize;
    Recv = recv(fd: i32, buffer: &mut [u8], flags: i32) -> usize;
    RecvFds = recv_fds(fd: i32, room: usize, max: usize, flags: i32) -> Message;
    Send = send(fd: i32, bytes: &[u8], flags: i32) -> usize;
    SendFds = send_fds(fd: i32, fds: &[i32]) -> usize;
    Sendfile = sendfile(to: i32, from: i32, offset: &mut i64, n: usize) -> usize;
    SetOption = setsockopt(fd: i32, level: i32, option: i32, value: &[u8]) -> ();
    Shutdown = shutdown(fd: i32, how: i32) -> ();
    Sigaction = sigaction(signal: i32, action: Action, flags: i32) -> ();
    Sigqueue = sigqueue(pid: i32, signal: i32, value: i32) -> ();
    UringNext = uring_next(ring: i32) -> Option<Completion>;
    UringSetup = uring_setup(entries: u32, completions: u32, flags: u32) -> i32;
    UringWait = uring_wait(ring: i32, want: usize, limit: Option<Duration>) -> ();
    WaitidPidfd = waitid_pidfd(pidfd: i32, options: i32) -> ();
    Waitpid = waitpid(pid: i32, options: i32) -> (i32, i32);
}

/// setsockopt of one option does nothing, and says that it succeeded: the level, the option.
pub(super) struct OptionIgnored(pub(super) i32, pub(super) i32);

impl Kernel for OptionIgnored {
    fn setsockopt(&self, fd: i32, level: i32, option: i32, value: &[u8]) -> Reply<()> {
        if (level, option) == (self.0, self.1) { Ok(()) } else { raw::setsockopt(fd, level, option, value) }
    }
}

/// What poll says of `fd` now, or after at most so many milliseconds.
pub(super) fn polled(fd: i32, events: i16, limit_ms: i32) -> i16 {
    let mut one = pollfd { fd, events, revents: 0 };
    raw::poll(At::from(&mut one), limit_ms).map_or(0, |_| one.revents)
}

/// Whether `fd` has O_NONBLOCK.
pub(super) fn is_nonblocking(fd: i32) -> bool {
    raw::fcntl(fd, libc::F_GETFL, 0).is_ok_and(|flags| flags & libc::O_NONBLOCK != 0)
}

/// An option whose value is an int; 0 where there is none.
pub(super) fn option(fd: i32, level: i32, option: i32) -> i32 {
    let mut value = [0; 4];
    raw::getsockopt(fd, level, option, &mut value).map_or(0, |_| i32::from_ne_bytes(value))
}

/// Whether `fd` listens.
pub(super) fn is_listener(fd: i32) -> bool {
    option(fd, libc::SOL_SOCKET, libc::SO_ACCEPTCONN) == 1
}

/// Whether `fd` is a TCP socket whose connection is being made.
pub(super) fn is_syn_sent(fd: i32) -> bool {
    const SYN_SENT: u8 = 2;
    let mut info = [0; 104];
    raw::getsockopt(fd, libc::IPPROTO_TCP, libc::TCP_INFO, &mut info).is_ok() && info[0] == SYN_SENT
}
