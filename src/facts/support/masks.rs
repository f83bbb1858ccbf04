//! Readiness, as poll and epoll report it.

use super::super::kernel::Linux;
use super::{At, Errno, Held, Instant, K, Mask, Nowhere, Reply, Sets, Show, Why, bound, bound_ms};
use libc::{epoll_event, pollfd, timespec};
use std::fmt;
use std::ops::{BitOr, Sub};
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

/// Events of poll or epoll: the values are the same.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub(in crate::facts) struct Events(pub(in crate::facts) u32);

pub(in crate::facts) const NONE: Events = Events(0);
pub(in crate::facts) const IN: Events = Events(libc::EPOLLIN as u32);
pub(in crate::facts) const PRI: Events = Events(libc::EPOLLPRI as u32);
pub(in crate::facts) const OUT: Events = Events(libc::EPOLLOUT as u32);
pub(in crate::facts) const ERR: Events = Events(libc::EPOLLERR as u32);
pub(in crate::facts) const HUP: Events = Events(libc::EPOLLHUP as u32);
pub(in crate::facts) const NVAL: Events = Events(libc::POLLNVAL as u32);
pub(in crate::facts) const RDHUP: Events = Events(libc::EPOLLRDHUP as u32);
/// What a connection says that was reset. To be waited for as a whole: a processor that handles the RST sets one bit
/// after another.
pub(in crate::facts) const RESET: Events = Events(IN.0 | OUT.0 | ERR.0 | HUP.0 | RDHUP.0);
/// Flags of an entry of epoll.
pub(in crate::facts) const ET: Events = Events(libc::EPOLLET as u32);
pub(in crate::facts) const ONESHOT: Events = Events(libc::EPOLLONESHOT as u32);
pub(in crate::facts) const EXCLUSIVE: Events = Events(libc::EPOLLEXCLUSIVE as u32);
pub(in crate::facts) const WAKEUP: Events = Events(libc::EPOLLWAKEUP as u32);
/// What is asked for unless a fact says otherwise.
pub(in crate::facts) const ALL: Events = Events(IN.0 | PRI.0 | OUT.0 | RDHUP.0);

/// POLLRDNORM, POLLRDBAND, POLLWRNORM, POLLWRBAND: other names for what is said already.
const ALIASES: u32 = 0x40 | 0x80 | 0x100 | 0x200;

impl Events {
    /// Whether all of `other` are in it.
    pub(in crate::facts) const fn has(self, other: Events) -> bool {
        self.0 & other.0 == other.0
    }
}

impl BitOr for Events {
    type Output = Events;
    fn bitor(self, other: Events) -> Events {
        Events(self.0 | other.0)
    }
}

/// Without those of the other.
impl Sub for Events {
    type Output = Events;
    fn sub(self, other: Events) -> Events {
        Events(self.0 & !other.0)
    }
}

impl fmt::Display for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const NAMES: &[(Events, &str)] = &[
            (IN, "IN"),
            (PRI, "PRI"),
            (OUT, "OUT"),
            (ERR, "ERR"),
            (HUP, "HUP"),
            (NVAL, "NVAL"),
            (RDHUP, "RDHUP"),
            (EXCLUSIVE, "EXCLUSIVE"),
            (WAKEUP, "WAKEUP"),
            (ONESHOT, "ONESHOT"),
            (ET, "ET"),
        ];
        let mut names: Vec<_> =
            NAMES.iter().filter(|(bit, _)| self.has(*bit)).map(|(_, name)| (*name).to_owned()).collect();
        let rest = NAMES.iter().fold(*self, |rest, (bit, _)| rest - *bit);
        if rest != NONE {
            names.push(format!("{:#x}", rest.0));
        }
        f.write_str(&if names.is_empty() { "nothing".to_owned() } else { names.join("+") })
    }
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Show for Events {
    fn show(&self) -> String {
        self.to_string()
    }
}

/// An entry of poll, with `revents` of its own.
pub(in crate::facts) fn entry(fd: i32, events: Events) -> pollfd {
    pollfd { fd, events: events.0 as i16, revents: 0 }
}

/// What poll wrote into an entry, without aliases.
pub(in crate::facts) fn revents(entry: &pollfd) -> Events {
    Events(u32::from(entry.revents.cast_unsigned()) & !ALIASES)
}

/// What poll says of `fd` now, asked for [`ALL`].
pub(in crate::facts) fn mask(k: K, fd: i32) -> Reply<Events> {
    mask_of(k, fd, ALL)
}

/// What poll says of `fd` now, asked for `events`.
pub(in crate::facts) fn mask_of(k: K, fd: i32, events: Events) -> Reply<Events> {
    let mut one = entry(fd, events);
    k.poll(At::from(&mut one), 0)?;
    Ok(revents(&one))
}

/// What poll says of `fd`, asked for [`ALL`], once all of `wanted` are in it, or after [`bound`].
pub(in crate::facts) fn mask_with(k: K, fd: i32, wanted: Events) -> Reply<Events> {
    let deadline = Instant::now() + bound();
    loop {
        let now = mask(k, fd)?;
        if now.has(wanted) || Instant::now() > deadline {
            return Ok(now);
        }
        super::between_looks();
    }
}

/// A new epoll instance.
pub(in crate::facts) fn epoll(k: K) -> Reply<i32> {
    k.epoll_create1(libc::EPOLL_CLOEXEC)
}

/// EPOLL_CTL_ADD; the data is the descriptor's number.
pub(in crate::facts) fn add(k: K, epoll: i32, fd: i32, events: Events) -> Reply<()> {
    k.epoll_ctl(epoll, libc::EPOLL_CTL_ADD, fd, Some(event(fd, events)))
}

/// A new epoll instance with one entry.
pub(in crate::facts) fn watching(k: K, fd: i32, events: Events) -> Reply<i32> {
    let epoll = epoll(k)?;
    add(k, epoll, fd, events)?;
    Ok(epoll)
}

/// A new epoll instance, and a new pipe whose reading end is its one entry.
pub(in crate::facts) fn watched_pipe(k: K, events: Events) -> Reply<(i32, (i32, i32))> {
    let (epoll, ends) = (epoll(k)?, super::pipe(k)?);
    add(k, epoll, ends.0, events)?;
    Ok((epoll, ends))
}

/// EPOLL_CTL_MOD; the data is the descriptor's number.
pub(in crate::facts) fn modify(k: K, epoll: i32, fd: i32, events: Events) -> Reply<()> {
    k.epoll_ctl(epoll, libc::EPOLL_CTL_MOD, fd, Some(event(fd, events)))
}

/// EPOLL_CTL_DEL.
pub(in crate::facts) fn delete(k: K, epoll: i32, fd: i32) -> Reply<()> {
    k.epoll_ctl(epoll, libc::EPOLL_CTL_DEL, fd, None)
}

/// An event with a descriptor's number as its data.
pub(in crate::facts) fn event(fd: i32, events: Events) -> epoll_event {
    epoll_event { events: events.0, u64: u64::from(fd.cast_unsigned()) }
}

/// A call that waits on an epoll instance. A fact that waits by `wait` is looked at over each of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// epoll_wait(2).
    Epoll,
    /// epoll_pwait(2), without a mask.
    Pwait,
    /// epoll_pwait2(2), without a mask.
    Pwait2,
}

static CHOSEN: AtomicU8 = AtomicU8::new(Wait::Epoll as u8);
static USED: AtomicBool = AtomicBool::new(false);

impl Wait {
    /// All of them.
    pub const ALL: &[Wait] = &[Wait::Epoll, Wait::Pwait, Wait::Pwait2];

    /// The name of the call.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Wait::Epoll => "epoll_wait",
            Wait::Pwait => "epoll_pwait",
            Wait::Pwait2 => "epoll_pwait2",
        }
    }

    /// The one of that name.
    #[must_use]
    pub fn find(name: &str) -> Option<Wait> {
        Wait::ALL.iter().copied().find(|wait| wait.name() == name)
    }

    /// Wait by this one from now on, or skip the experiment where it is missing or denied.
    pub(in crate::facts) fn choose(self) -> Held {
        CHOSEN.store(self as u8, Ordering::SeqCst);
        let nobody = wait_into(&Linux, -1, At::from(&mut [NO_EVENT]), 1, 0);
        USED.store(false, Ordering::SeqCst);
        match nobody {
            Err(refusal) if matches!(refusal.errno, Errno::ENOSYS | Errno::EPERM) => Err(refusal.into()),
            _ => Ok(()),
        }
    }

    /// Whether this process has waited by [`wait_into`].
    pub(in crate::facts) fn was_used() -> bool {
        USED.load(Ordering::SeqCst)
    }
}

/// Room for an event.
const NO_EVENT: epoll_event = epoll_event { events: 0, u64: 0 };

/// epoll_wait, or the sibling of it that this experiment is made over.
pub(in crate::facts) fn wait_into(
    k: K,
    epoll: i32,
    events: At<'_, epoll_event>,
    max_events: i32,
    timeout_ms: i32,
) -> Reply<usize> {
    USED.store(true, Ordering::SeqCst);
    let chosen = CHOSEN.load(Ordering::SeqCst);
    if chosen == Wait::Pwait as u8 {
        return k.epoll_pwait(epoll, events, max_events, timeout_ms, Mask::NONE);
    }
    if chosen == Wait::Pwait2 as u8 {
        let ms = i64::from(timeout_ms);
        let mut limit = timespec { tv_sec: ms / 1000, tv_nsec: ms % 1000 * 1_000_000 };
        let limit = (timeout_ms >= 0).then_some(&mut limit);
        return k.epoll_pwait2(epoll, events, max_events, limit, Mask::NONE);
    }
    k.epoll_wait(epoll, events, max_events, timeout_ms)
}

/// What epoll_wait says, up to 64 events: the descriptor of each, as it was added, and its events.
pub(in crate::facts) fn wait(k: K, epoll: i32, timeout_ms: i32) -> Reply<Vec<(i32, Events)>> {
    let mut events = [NO_EVENT; 64];
    let n = wait_into(k, epoll, At::from(&mut events), 64, timeout_ms)?;
    Ok(events[..n].iter().map(|event| (event.u64 as i32, Events(event.events))).collect())
}

/// What epoll_wait says now: the descriptor of each event, and its events.
pub(in crate::facts) fn ready(k: K, epoll: i32) -> Reply<Vec<(i32, Events)>> {
    wait(k, epoll, 0)
}

/// What epoll_wait says as soon as there is something, or nothing after [`bound`].
pub(in crate::facts) fn ready_soon(k: K, epoll: i32) -> Reply<Vec<(i32, Events)>> {
    wait(k, epoll, bound_ms())
}

/// The entries of an instance in `/proc/self/fdinfo/EPOLL`: the descriptor of each, and its events.
pub(in crate::facts) fn entries_in_fdinfo(epoll: i32) -> Held<Vec<(i32, Events)>> {
    let file = format!("/proc/self/fdinfo/{epoll}");
    let Ok(text) = std::fs::read_to_string(&file) else {
        return super::skip(Why::Oracle, format!("{file} cannot be read here"));
    };
    let entries = text.lines().filter_map(|line| line.strip_prefix("tfd:")).filter_map(|line| {
        let mut words = line.split_whitespace();
        let number = words.next()?.parse().ok()?;
        let events = u32::from_str_radix(words.nth(1)?, 16).ok()?;
        Some((number, Events(events)))
    });
    Ok(entries.collect())
}

/// The events of the only entry of an instance, as fdinfo has them, for a step that is not about fdinfo.
pub(in crate::facts) fn events_in_fdinfo(epoll: i32) -> Held<Events> {
    match entries_in_fdinfo(epoll)?.as_slice() {
        [(_, events)] => Ok(*events),
        [] => super::skip(Why::Oracle, "fdinfo lists no entries here"),
        more => super::skip(Why::Setup, format!("there should be one entry: {}", more.show())),
    }
}

/// A set for select, as words of 64 bits, with these descriptors in it.
pub(in crate::facts) fn set_of<const N: usize>(fds: &[i32]) -> [u64; N] {
    let mut words = [0; N];
    for &fd in fds {
        words[fd as usize / 64] |= 1 << (fd % 64);
    }
    words
}

/// Whether a descriptor is in such a set.
pub(in crate::facts) fn in_set(words: &[u64], fd: i32) -> bool {
    words[fd as usize / 64] >> (fd % 64) & 1 == 1
}

/// No sets at all.
pub(in crate::facts) fn no_sets() -> Sets<'static> {
    Sets { read: no_set(), write: no_set(), except: no_set() }
}

/// One set that is not given.
pub(in crate::facts) fn no_set() -> At<'static, u64> {
    At::Nowhere(Nowhere::Null, 0)
}
