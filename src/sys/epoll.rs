//! epoll(7): interest kept in the kernel, only what is ready comes back.
//!
//! Over `nix::sys::epoll`; epoll_pwait2(2), with its limit in nanoseconds, is the raw system call.

use super::{Call, cvt, cvt_on, millis_up, retry_wait, timespec};
use crate::Result;
use nix::errno::Errno;
use nix::sys::epoll::{Epoll as Inner, EpollCreateFlags, EpollEvent, EpollTimeout};
use std::fmt;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::ptr;
use std::slice;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

pub use nix::sys::epoll::EpollFlags;

/// An epoll instance.
///
/// It knows descriptors by the open file *description* behind them: closing a descriptor removes
/// it only when no copy (dup, fork) is left.
#[derive(Debug)]
pub struct Epoll {
    inner: Inner,
    spin: u32,
}

impl Epoll {
    /// Make one, closed on exec: epoll_create1(2).
    ///
    /// # Errors
    ///
    /// `EMFILE`, `ENFILE`, `ENOMEM`.
    #[doc(alias = "epoll_create1")]
    pub fn new() -> Result<Epoll> {
        cvt(Call::EpollCreate1, Inner::new(EpollCreateFlags::EPOLL_CLOEXEC))
            .map(|inner| Epoll { inner, spin: 0 })
    }

    /// The same, whose waits look so often for an event, with a time limit of 0, before they sleep. That takes processor time, and in
    /// return an event that comes meanwhile need not wake the thread. The time that it takes is part of the time limit of the wait.
    #[must_use]
    pub fn spinning(self, spin: u32) -> Epoll {
        Epoll { spin, ..self }
    }

    /// Watch `fd` for `events`; they come back with `token`. `EPOLL_CTL_ADD`.
    ///
    /// `events` may hold the modes `EPOLLET` (edge-triggered), `EPOLLONESHOT` and
    /// `EPOLLEXCLUSIVE`. Errors and hang-ups are reported in any case.
    ///
    /// # Errors
    ///
    /// `EEXIST` when it is watched already, `EPERM` for files that cannot be waited for (regular
    /// files, directories), `ENOSPC` at `fs.epoll.max_user_watches`, `ENOMEM`.
    #[doc(alias = "epoll_ctl")]
    #[doc(alias = "EPOLL_CTL_ADD")]
    pub fn add(&self, fd: impl AsFd, token: u64, events: EpollFlags) -> Result<()> {
        let fd = fd.as_fd();
        cvt_on(Call::EpollCtl, fd, self.inner.add(fd, EpollEvent::new(events, token)))
    }

    /// Watch `fd` for other `events`, or arm a one-shot again: `EPOLL_CTL_MOD`.
    ///
    /// # Errors
    ///
    /// `ENOENT` when it is not watched, `EINVAL` for `EPOLLEXCLUSIVE`, `ENOMEM`.
    #[doc(alias = "EPOLL_CTL_MOD")]
    pub fn modify(&self, fd: impl AsFd, token: u64, events: EpollFlags) -> Result<()> {
        let fd = fd.as_fd();
        cvt_on(Call::EpollCtl, fd, self.inner.modify(fd, &mut EpollEvent::new(events, token)))
    }

    /// Stop watching `fd`: `EPOLL_CTL_DEL`.
    ///
    /// # Errors
    ///
    /// `ENOENT` when it is not watched.
    #[doc(alias = "EPOLL_CTL_DEL")]
    pub fn delete(&self, fd: impl AsFd) -> Result<()> {
        let fd = fd.as_fd();
        cvt_on(Call::EpollCtl, fd, self.inner.delete(fd))
    }

    /// Wait until something happens and take what did, as many events as `events` has room for.
    /// Returns how many; 0 after `timeout` (`None`: wait for ever).
    ///
    /// Whole milliseconds, and no limit, go to epoll_wait(2); anything finer to epoll_pwait2(2)
    /// (Linux 5.11), and where that is missing or forbidden to epoll_wait(2), rounded up. A signal
    /// does not end the wait.
    ///
    /// # Errors
    ///
    /// None in practice.
    #[doc(alias = "epoll_wait")]
    #[doc(alias = "epoll_pwait2")]
    #[inline]
    pub fn wait(&self, events: &mut Events, timeout: Option<Duration>) -> Result<usize> {
        let mut left = timeout;
        if self.spin > 0 && timeout.is_none_or(|limit| !limit.is_zero()) {
            // The clock is read only when there is a limit.
            let started = timeout.map(|_| Instant::now());
            for _ in 0..self.spin {
                events.ready = retry_wait(None, |_| self.wait_ms(events, Some(Duration::ZERO)))?;
                if events.ready > 0 {
                    return Ok(events.ready);
                }
            }
            left = timeout.zip(started).map(|(limit, started)| limit.saturating_sub(started.elapsed()));
        }
        events.ready = retry_wait(left, |left| match left {
            Some(limit) if limit.subsec_nanos() % 1_000_000 != 0 && !NO_PWAIT2.load(Relaxed) => {
                match self.pwait2(events, limit) {
                    // Before 5.11, or a seccomp filter older than the call.
                    Err(error) if matches!(error.errno(), Some(Errno::ENOSYS | Errno::EPERM)) => {
                        NO_PWAIT2.store(true, Relaxed);
                        self.wait_ms(events, left)
                    }
                    result => result,
                }
            }
            _ => self.wait_ms(events, left),
        })?;
        Ok(events.ready)
    }

    #[inline]
    fn wait_ms(&self, events: &mut Events, limit: Option<Duration>) -> Result<usize> {
        let limit = EpollTimeout::try_from(millis_up(limit)).unwrap_or(EpollTimeout::MAX);
        cvt_on(Call::EpollWait, self.inner.0.as_fd(), self.inner.wait(&mut events.buffer, limit))
    }

    fn pwait2(&self, events: &mut Events, limit: Duration) -> Result<usize> {
        let limit = timespec(limit);
        let room = libc::c_int::try_from(events.buffer.len()).unwrap_or(libc::c_int::MAX);
        // SAFETY:
        // 1. The buffer is exclusively borrowed, and `EpollEvent` is a transparent wrapper of
        //    `struct epoll_event`; the kernel writes at most `room` of them.
        // 2. The limit points to a `timespec` on this stack; the signal mask is null, with which
        //    its size is ignored.
        let ready = unsafe {
            libc::syscall(
                libc::SYS_epoll_pwait2,
                self.inner.0.as_raw_fd(),
                events.buffer.as_mut_ptr(),
                room,
                &raw const limit,
                ptr::null::<libc::sigset_t>(),
                size_of::<u64>(),
            )
        };
        cvt_on(Call::EpollPwait2, self.inner.0.as_fd(), Errno::result(ready)).map(|n| n as usize)
    }
}

/// An epoll instance is a descriptor too, and readable while it has events: another one can watch it, or poll(2).
impl AsFd for Epoll {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inner.0.as_fd()
    }
}

/// Whether epoll_pwait2 was refused once.
static NO_PWAIT2: AtomicBool = AtomicBool::new(false);

/// Room for events, and those that the last wait found.
pub struct Events {
    buffer: Box<[EpollEvent]>,
    ready: usize,
}

impl Events {
    /// Room for `capacity` events. More that are ready come with the next wait: none is lost.
    ///
    /// # Panics
    ///
    /// With a capacity of 0, which epoll_wait(2) refuses.
    #[must_use]
    pub fn with_capacity(capacity: usize) -> Events {
        assert!(capacity > 0, "epoll_wait needs room for at least one event");
        Events { buffer: vec![EpollEvent::empty(); capacity].into(), ready: 0 }
    }

    /// The events of the last wait.
    #[inline]
    pub fn iter(&self) -> Iter<'_> {
        Iter(self.buffer[..self.ready].iter())
    }

    /// How many the last wait found.
    #[inline]
    #[must_use]
    pub fn len(&self) -> usize {
        self.ready
    }

    /// Whether it found none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ready == 0
    }

    /// Event `i` of the last wait, for loops that cannot lend the events out.
    ///
    /// # Panics
    ///
    /// When `i` is not below [`len`](Events::len).
    #[inline]
    #[must_use]
    pub fn get(&self, i: usize) -> Event {
        Event::from(&self.buffer[..self.ready][i])
    }
}

impl<'a> IntoIterator for &'a Events {
    type Item = Event;
    type IntoIter = Iter<'a>;

    #[inline]
    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

/// The events of a wait, in the order of the kernel.
#[derive(Debug, Clone)]
pub struct Iter<'a>(slice::Iter<'a, EpollEvent>);

impl Iterator for Iter<'_> {
    type Item = Event;

    #[inline]
    fn next(&mut self) -> Option<Event> {
        self.0.next().map(Event::from)
    }
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// Something happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event {
    /// What was given to [`Epoll::add`].
    pub token: u64,
    /// What is the case now.
    pub flags: EpollFlags,
}

impl From<&EpollEvent> for Event {
    #[inline]
    fn from(event: &EpollEvent) -> Event {
        Event { token: event.data(), flags: event.events() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;

    fn now(epoll: &Epoll) -> Vec<Event> {
        let mut events = Events::with_capacity(8);
        epoll.wait(&mut events, Some(Duration::ZERO)).unwrap();
        events.iter().collect()
    }

    #[test]
    fn level_repeats_edge_does_not_oneshot_waits_to_be_armed() {
        for (mode, again) in
            [(EpollFlags::empty(), 1), (EpollFlags::EPOLLET, 0), (EpollFlags::EPOLLONESHOT, 0)]
        {
            let epoll = Epoll::new().unwrap();
            let (one, mut to_one) = UnixStream::pair().unwrap();
            epoll.add(&one, 42, EpollFlags::EPOLLIN | mode).unwrap();
            assert_eq!(now(&epoll), []);
            to_one.write_all(b"x").unwrap();
            assert_eq!(now(&epoll), [Event { token: 42, flags: EpollFlags::EPOLLIN }], "{mode:?}");
            assert_eq!(now(&epoll).len(), again, "{mode:?}");
            epoll.modify(&one, 43, EpollFlags::EPOLLIN | mode).unwrap();
            assert_eq!(now(&epoll), [Event { token: 43, flags: EpollFlags::EPOLLIN }], "{mode:?}");
            epoll.delete(&one).unwrap();
            assert_eq!(now(&epoll), []);
        }
    }

    #[test]
    fn an_epoll_instance_is_readable_while_it_has_events() {
        let (outer, inner) = (Epoll::new().unwrap(), Epoll::new().unwrap());
        let (one, mut to_one) = UnixStream::pair().unwrap();
        inner.add(&one, 1, EpollFlags::EPOLLIN).unwrap();
        outer.add(&inner, 2, EpollFlags::EPOLLIN).unwrap();
        assert_eq!(now(&outer), []);
        to_one.write_all(b"x").unwrap();
        assert_eq!(now(&outer), [Event { token: 2, flags: EpollFlags::EPOLLIN }]);
    }

    #[test]
    fn errors_name_the_call_and_the_descriptor() {
        let epoll = Epoll::new().unwrap();
        let (one, _other) = UnixStream::pair().unwrap();
        let error = epoll.modify(&one, 0, EpollFlags::EPOLLIN).unwrap_err();
        assert_eq!(error.errno(), Some(Errno::ENOENT));
        assert!(error.to_string().starts_with(&format!("epoll_ctl(fd {})", one.as_raw_fd())), "{error}");
    }

    #[test]
    fn time_limits_finer_than_a_millisecond_are_never_early() {
        let epoll = Epoll::new().unwrap();
        let mut events = Events::with_capacity(1);
        for (limit, call) in
            [(Duration::from_micros(1500), Call::EpollPwait2), (Duration::from_millis(2), Call::EpollWait)]
        {
            let before = crate::sys::calls::of_this_thread();
            let start = Instant::now();
            assert_eq!(epoll.wait(&mut events, Some(limit)).unwrap(), 0);
            assert!(start.elapsed() >= limit, "{:?} < {limit:?}", start.elapsed());
            let call = if NO_PWAIT2.load(Relaxed) { Call::EpollWait } else { call };
            assert!(crate::sys::calls::of_this_thread().since(&before).of(call) >= 1);
        }
    }

    #[test]
    fn the_time_of_spinning_is_part_of_the_time_limit() {
        let epoll = Epoll::new().unwrap().spinning(1000);
        let mut events = Events::with_capacity(1);
        let before = crate::sys::calls::of_this_thread();
        // A thousand calls take longer than the limit. Nothing is left of it for a wait in nanoseconds.
        assert_eq!(epoll.wait(&mut events, Some(Duration::from_micros(1))).unwrap(), 0);
        let calls = crate::sys::calls::of_this_thread().since(&before);
        assert!(calls.of(Call::EpollWait) > 1000 && calls.of(Call::EpollPwait2) == 0);
        // What is left is waited for.
        let (limit, start) = (Duration::from_millis(5), Instant::now());
        assert_eq!(epoll.wait(&mut events, Some(limit)).unwrap(), 0);
        assert!(start.elapsed() >= limit, "{:?} < {limit:?}", start.elapsed());
    }

    #[test]
    fn more_events_than_room_come_with_the_next_wait() {
        let epoll = Epoll::new().unwrap();
        let pairs: Vec<_> = (0..5).map(|_| UnixStream::pair().unwrap()).collect();
        for (token, (one, other)) in pairs.iter().enumerate() {
            epoll.add(one, token as u64, EpollFlags::EPOLLIN | EpollFlags::EPOLLET).unwrap();
            (&*other).write_all(b"x").unwrap();
        }
        let mut events = Events::with_capacity(2);
        let mut seen = Vec::new();
        while epoll.wait(&mut events, Some(Duration::ZERO)).unwrap() > 0 {
            seen.extend(events.iter().map(|e| e.token));
        }
        assert_eq!(seen, [0, 1, 2, 3, 4]);
        (&pairs[0].0).read_exact(&mut [0]).unwrap();
    }
}
