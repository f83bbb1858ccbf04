//! The kinds of wrong kernels: most are wrong in one of these ways, and say only in what.

use super::super::hook::{Fill, Given, Hook};
use super::super::kernel::{Call, Kernel};
use crate::sys::Errno;
use crate::sys::raw::{self, At, Mask, Refusal, Reply};
use libc::{epoll_event, pollfd, timespec};

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

/// setsockopt of one option does nothing, and says that it succeeded: the level, the option.
pub(super) struct OptionIgnored(pub(super) i32, pub(super) i32);

impl Kernel for OptionIgnored {
    fn setsockopt(&self, fd: i32, level: i32, option: i32, value: &[u8]) -> Reply<()> {
        if (level, option) == (self.0, self.1) { Ok(()) } else { raw::setsockopt(fd, level, option, value) }
    }
}
