//! Wrong kernels that treat timeouts, masks and signals differently.

use super::super::super::kernel::Kernel;
use crate::sys::Errno;
use crate::sys::raw::{self, Action, At, Mask, Reply, Sets, no};
use libc::{epoll_event, pollfd, timespec, timeval};
use std::time::Instant;

/// select and pselect6, with another timeout on the way out: it is told the reply, and the timeout before and after.
pub(super) struct Rest(pub(super) fn(&Reply<usize>, Time, Time) -> Time);

/// Seconds, and micro- or nanoseconds.
pub(super) type Time = (i64, i64);

impl Kernel for Rest {
    fn select(&self, nfds: i32, sets: Sets<'_>, timeout: Option<&mut timeval>) -> Reply<usize> {
        let Some(time) = timeout else { return raw::select(nfds, sets, None) };
        let before = (time.tv_sec, time.tv_usec);
        let reply = raw::select(nfds, sets, Some(time));
        (time.tv_sec, time.tv_usec) = (self.0)(&reply, before, (time.tv_sec, time.tv_usec));
        reply
    }

    fn pselect6(
        &self,
        nfds: i32,
        sets: Sets<'_>,
        timeout: Option<&mut timespec>,
        mask: Mask,
    ) -> Reply<usize> {
        let Some(time) = timeout else { return raw::pselect6(nfds, sets, None, mask) };
        let before = (time.tv_sec, time.tv_nsec);
        let reply = raw::pselect6(nfds, sets, Some(time), mask);
        (time.tv_sec, time.tv_nsec) = (self.0)(&reply, before, (time.tv_sec, time.tv_nsec));
        reply
    }
}

pub(super) struct Pwait2Rewrites;

impl Kernel for Pwait2Rewrites {
    fn epoll_pwait2(
        &self,
        epoll: i32,
        events: At<'_, epoll_event>,
        max_events: i32,
        mut timeout: Option<&mut timespec>,
        mask: Mask,
    ) -> Reply<usize> {
        let reply = raw::epoll_pwait2(epoll, events, max_events, timeout.as_deref_mut(), mask);
        if let (Some(timeout), Ok(0)) = (timeout, &reply) {
            *timeout = timespec { tv_sec: 0, tv_nsec: 0 };
        }
        reply
    }
}

pub(super) struct UsecStrict;

impl Kernel for UsecStrict {
    fn select(&self, nfds: i32, sets: Sets<'_>, timeout: Option<&mut timeval>) -> Reply<usize> {
        match timeout {
            Some(timeout) if timeout.tv_usec >= 1_000_000 => no(Errno::EINVAL),
            timeout => raw::select(nfds, sets, timeout),
        }
    }
}

pub(super) struct NsecNormalised;

impl Kernel for NsecNormalised {
    fn pselect6(
        &self,
        nfds: i32,
        sets: Sets<'_>,
        mut timeout: Option<&mut timespec>,
        mask: Mask,
    ) -> Reply<usize> {
        if let Some(timeout) = &mut timeout
            && timeout.tv_nsec >= 1_000_000_000
        {
            timeout.tv_sec += timeout.tv_nsec / 1_000_000_000;
            timeout.tv_nsec %= 1_000_000_000;
        }
        raw::pselect6(nfds, sets, timeout, mask)
    }
}

pub(super) struct PwaitRestarts;

impl Kernel for PwaitRestarts {
    fn epoll_pwait(
        &self,
        epoll: i32,
        mut events: At<'_, epoll_event>,
        max_events: i32,
        timeout: i32,
        mask: Mask,
    ) -> Reply<usize> {
        match raw::epoll_pwait(epoll, events.again(), max_events, timeout, mask) {
            // For a while: nobody shall wait here for ever.
            Err(refusal) if refusal.errno == Errno::EINTR && mask == Mask::NONE => {
                raw::epoll_pwait(epoll, events, max_events, timeout.clamp(0, 20), mask)
            }
            reply => reply,
        }
    }
}

pub(super) struct EintrAfterStop;

impl Kernel for EintrAfterStop {
    fn poll(&self, fds: At<'_, pollfd>, timeout: i32) -> Reply<usize> {
        // With a handler, SIGCONT interrupts.
        raw::sigaction(libc::SIGCONT, Action::Count, 0)?;
        let reply = raw::poll(fds, timeout);
        raw::sigaction(libc::SIGCONT, Action::Default, 0)?;
        reply
    }
}

pub(super) struct StoppedTimeCounts;

impl Kernel for StoppedTimeCounts {
    fn ppoll(&self, fds: At<'_, pollfd>, timeout: Option<&mut timespec>, mask: Mask) -> Reply<usize> {
        let Some(time) = timeout else { return raw::ppoll(fds, None, mask) };
        let nanoseconds = |time: &timespec| time.tv_sec * 1_000_000_000 + time.tv_nsec;
        let (started, before) = (Instant::now(), nanoseconds(time));
        let reply = raw::ppoll(fds, Some(time), mask)?;
        let left = (before - started.elapsed().as_nanos() as i64).max(0);
        *time = timespec { tv_sec: left / 1_000_000_000, tv_nsec: left % 1_000_000_000 };
        Ok(reply)
    }
}

/// The calls that take a mask, with another one on the way in, and the reply changed on the way out.
pub(super) struct OnMask(pub(super) fn(Mask, AskMask<'_>) -> Reply<usize>);

/// The real call, with its timeout or, if that is what is asked for, no longer than 20 ms: a fact under a wrong kernel
/// tells a difference, and does not hang.
pub(super) type AskMask<'a> = &'a mut dyn FnMut(Mask, bool) -> Reply<usize>;

/// Let pending signals through as `mask` does, if the call has found something.
pub(super) fn deliver(reply: Reply<usize>, mask: Mask) -> Reply<usize> {
    if let (Ok(1..), Some(signals)) = (&reply, mask.signals) {
        let blocked = raw::sigprocmask(libc::SIG_SETMASK, signals)?;
        raw::sigprocmask(libc::SIG_SETMASK, blocked)?;
    }
    reply
}

/// Set the mask, wait without one, set it back.
pub(super) fn in_three_steps(mask: Mask, ask: AskMask<'_>) -> Reply<usize> {
    let (Some(signals), 8) = (mask.signals, mask.size) else { return ask(mask, false) };
    let blocked = raw::sigprocmask(libc::SIG_SETMASK, signals)?;
    let reply = ask(Mask::NONE, true);
    raw::sigprocmask(libc::SIG_SETMASK, blocked)?;
    reply
}

/// 20 ms, or less if that is what the timeout is.
fn brief(timeout: Option<&timespec>) -> timespec {
    const BRIEF: timespec = timespec { tv_sec: 0, tv_nsec: 20_000_000 };
    match timeout {
        Some(time) if time.tv_sec == 0 && time.tv_nsec < BRIEF.tv_nsec => *time,
        _ => BRIEF,
    }
}

impl Kernel for OnMask {
    fn pselect6(
        &self,
        nfds: i32,
        mut sets: Sets<'_>,
        mut timeout: Option<&mut timespec>,
        mask: Mask,
    ) -> Reply<usize> {
        (self.0)(mask, &mut |mask, briefly| {
            let mut brief = brief(timeout.as_deref());
            let timeout = if briefly { Some(&mut brief) } else { timeout.as_deref_mut() };
            raw::pselect6(nfds, sets.again(), timeout, mask)
        })
    }

    fn ppoll(&self, mut fds: At<'_, pollfd>, mut timeout: Option<&mut timespec>, mask: Mask) -> Reply<usize> {
        (self.0)(mask, &mut |mask, briefly| {
            let mut brief = brief(timeout.as_deref());
            let timeout = if briefly { Some(&mut brief) } else { timeout.as_deref_mut() };
            raw::ppoll(fds.again(), timeout, mask)
        })
    }

    fn epoll_pwait(
        &self,
        epoll: i32,
        mut events: At<'_, epoll_event>,
        max_events: i32,
        timeout: i32,
        mask: Mask,
    ) -> Reply<usize> {
        (self.0)(mask, &mut |mask, briefly| {
            let timeout = if briefly { timeout.clamp(0, 20) } else { timeout };
            raw::epoll_pwait(epoll, events.again(), max_events, timeout, mask)
        })
    }
}

pub(super) struct PwaitZeroEintr;

impl Kernel for PwaitZeroEintr {
    fn epoll_pwait(
        &self,
        epoll: i32,
        events: At<'_, epoll_event>,
        max_events: i32,
        timeout: i32,
        mask: Mask,
    ) -> Reply<usize> {
        let let_through = mask.signals.map_or(0, |blocked| !blocked);
        // Any other timeout looks at signals before it waits.
        let pending = timeout == 0 && raw::sigpending()? & let_through != 0;
        raw::epoll_pwait(epoll, events, max_events, if pending { 1 } else { timeout }, mask)
    }
}
