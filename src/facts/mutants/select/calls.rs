//! Wrong kernels that treat timeouts, masks and signals differently.

use super::super::kinds::*;
use crate::sys::raw::Sets;
use libc::timeval;

/// The calls that take a timeout as seconds and micro- or nanoseconds, with the timeout changed on the way in or out.
pub(super) struct OnTime(pub(super) fn(Call, &mut Time, AskTime<'_>) -> Reply<usize>);

/// Seconds, and micro- or nanoseconds.
pub(super) type Time = (i64, i64);

/// The real call.
pub(super) type AskTime<'a> = &'a mut dyn FnMut(&mut Time) -> Reply<usize>;

/// The call, with the time that `left` says on the way out: it is told the reply, and the time before and after.
pub(super) fn rest(
    time: &mut Time,
    ask: AskTime<'_>,
    left: fn(&Reply<usize>, Time, Time) -> Time,
) -> Reply<usize> {
    let before = *time;
    let reply = ask(time);
    *time = left(&reply, before, *time);
    reply
}

impl OnTime {
    fn on(
        &self,
        call: Call,
        timeout: Option<&mut timespec>,
        mut ask: impl FnMut(Option<&mut timespec>) -> Reply<usize>,
    ) -> Reply<usize> {
        let Some(timeout) = timeout else { return ask(None) };
        let mut time = (timeout.tv_sec, timeout.tv_nsec);
        let reply = (self.0)(call, &mut time, &mut |time| {
            let mut timeout = timespec { tv_sec: time.0, tv_nsec: time.1 };
            let reply = ask(Some(&mut timeout));
            *time = (timeout.tv_sec, timeout.tv_nsec);
            reply
        });
        (timeout.tv_sec, timeout.tv_nsec) = time;
        reply
    }
}

impl Kernel for OnTime {
    fn select(&self, nfds: i32, mut sets: Sets<'_>, timeout: Option<&mut timeval>) -> Reply<usize> {
        let Some(time) = timeout else { return raw::select(nfds, sets, None) };
        let mut as_is = timespec { tv_sec: time.tv_sec, tv_nsec: time.tv_usec };
        let reply = self.on(Call::select, Some(&mut as_is), |timeout| {
            let Some(timeout) = timeout else { return raw::select(nfds, sets.again(), None) };
            let mut time = timeval { tv_sec: timeout.tv_sec, tv_usec: timeout.tv_nsec };
            let reply = raw::select(nfds, sets.again(), Some(&mut time));
            *timeout = timespec { tv_sec: time.tv_sec, tv_nsec: time.tv_usec };
            reply
        });
        *time = timeval { tv_sec: as_is.tv_sec, tv_usec: as_is.tv_nsec };
        reply
    }

    fn pselect6(
        &self,
        nfds: i32,
        mut sets: Sets<'_>,
        timeout: Option<&mut timespec>,
        mask: Mask,
    ) -> Reply<usize> {
        self.on(Call::pselect6, timeout, |timeout| raw::pselect6(nfds, sets.again(), timeout, mask))
    }

    fn ppoll(&self, mut fds: At<'_, pollfd>, timeout: Option<&mut timespec>, mask: Mask) -> Reply<usize> {
        self.on(Call::ppoll, timeout, |timeout| raw::ppoll(fds.again(), timeout, mask))
    }

    fn epoll_pwait2(
        &self,
        epoll: i32,
        mut events: At<'_, epoll_event>,
        max: i32,
        timeout: Option<&mut timespec>,
        mask: Mask,
    ) -> Reply<usize> {
        self.on(Call::epoll_pwait2, timeout, |timeout| {
            raw::epoll_pwait2(epoll, events.again(), max, timeout, mask)
        })
    }
}

/// The calls that take a mask, with another one on the way in, and the reply changed on the way out.
pub(super) struct OnMask(pub(super) fn(Call, Mask, AskMask<'_>) -> Reply<usize>);

/// The real call, with its timeout or, if that is what is asked for, no longer than 20 ms: a fact under a wrong kernel
/// tells a difference, and does not hang.
pub(super) type AskMask<'a> = &'a mut dyn FnMut(Mask, bool) -> Reply<usize>;

/// Let pending signals through as `mask` does; whether there were any.
pub(super) fn deliver(mask: Mask) -> bool {
    let Some(signals) = mask.signals else { return false };
    let any = raw::sigpending().is_ok_and(|pending| pending & !signals != 0);
    if let Ok(blocked) = raw::sigprocmask(libc::SIG_SETMASK, signals) {
        raw::sigprocmask(libc::SIG_SETMASK, blocked).ok();
    }
    any
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
        (self.0)(Call::pselect6, mask, &mut |mask, briefly| {
            let mut brief = brief(timeout.as_deref());
            let timeout = if briefly { Some(&mut brief) } else { timeout.as_deref_mut() };
            raw::pselect6(nfds, sets.again(), timeout, mask)
        })
    }

    fn ppoll(&self, mut fds: At<'_, pollfd>, mut timeout: Option<&mut timespec>, mask: Mask) -> Reply<usize> {
        (self.0)(Call::ppoll, mask, &mut |mask, briefly| {
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
        (self.0)(Call::epoll_pwait, mask, &mut |mask, briefly| {
            let timeout = if briefly { timeout.clamp(0, 20) } else { timeout };
            raw::epoll_pwait(epoll, events.again(), max_events, timeout, mask)
        })
    }
}
