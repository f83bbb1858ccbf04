//! select, poll, epoll.

use super::{At, ReadOnly, Reply, count, done, number};
use libc::{c_int, c_long, epoll_event, pollfd, timespec, timeval};
use std::ptr::{null, null_mut};

/// The three sets of select, as words of 64 descriptors each; a set that is not given is null.
#[derive(Debug)]
pub(crate) struct Sets<'a> {
    pub(crate) read: At<'a, u64>,
    pub(crate) write: At<'a, u64>,
    pub(crate) except: At<'a, u64>,
}

impl<'a> Sets<'a> {
    /// The pointers, if the kernel may look at `nfds` bits of each.
    fn pointers(&mut self, nfds: i32) -> [*mut u64; 3] {
        let nfds = usize::try_from(nfds).unwrap_or(0);
        [&mut self.read, &mut self.write, &mut self.except].map(|set| {
            if let At::Memory(words) = set {
                assert!(nfds <= words.len() * 64, "a set of {} words has no {nfds} bits", words.len());
            }
            set.pointer()
        })
    }

    /// The same sets, for one more call.
    pub(crate) fn again(&mut self) -> Sets<'_> {
        Sets { read: self.read.again(), write: self.write.again(), except: self.except.again() }
    }
}

/// A signal mask for the time of a call, as the kernel is shown it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mask {
    /// Bit n - 1 is signal n; null if there is none.
    pub(crate) signals: Option<u64>,
    /// What the kernel is told of its size: 8 is right.
    pub(crate) size: usize,
}

impl Mask {
    /// No mask.
    pub(crate) const NONE: Mask = Mask { signals: None, size: 8 };

    /// The signals that are blocked for the time of the call.
    pub(crate) const fn of(signals: u64) -> Mask {
        Mask { signals: Some(signals), size: 8 }
    }

    fn pointer(&self) -> *const u64 {
        assert!(self.size <= 8 || self.signals.is_none(), "the kernel would read {} of 8 bytes", self.size);
        self.signals.as_ref().map_or(null(), std::ptr::from_ref)
    }
}

/// Whether this architecture has the older system calls: select, poll, pause, open. Others have their successors alone.
pub(crate) const HAS_SELECT: bool = cfg!(any(target_arch = "x86_64", target_arch = "s390x"));

/// The system call select, not glibc's function: it writes the rest of the time back.
#[cfg(any(target_arch = "x86_64", target_arch = "s390x"))]
pub(crate) fn select(nfds: i32, mut sets: Sets<'_>, timeout: Option<&mut timeval>) -> Reply<usize> {
    let [read, write, except] = sets.pointers(nfds);
    let timeout = timeout.map_or(null_mut(), std::ptr::from_mut);
    // SAFETY: each set is null, unmapped, or a live array of at least `nfds` bits, which is as far as the kernel
    // reads and writes in whole longs; the timeout is null or a live `timeval`.
    let ready = unsafe { libc::syscall(libc::SYS_select, c_long::from(nfds), read, write, except, timeout) };
    count("select", ready)
}

/// There is no system call select on this architecture.
#[cfg(not(any(target_arch = "x86_64", target_arch = "s390x")))]
pub(crate) fn select(_: i32, _: Sets<'_>, _: Option<&mut timeval>) -> Reply<usize> {
    Err(super::Refusal { call: "select", errno: super::Errno::ENOSYS })
}

/// What the last argument of pselect6 points to.
#[repr(C)]
struct PackedMask(*const u64, usize);

/// The system call pselect6: it writes the rest of the time back.
pub(crate) fn pselect6(
    nfds: i32,
    mut sets: Sets<'_>,
    timeout: Option<&mut timespec>,
    mask: Mask,
) -> Reply<usize> {
    let [read, write, except] = sets.pointers(nfds);
    let timeout = timeout.map_or(null_mut(), std::ptr::from_mut);
    let packed = PackedMask(mask.pointer(), mask.size);
    let packed = &raw const packed;
    // SAFETY: the sets and the timeout are as in `select`; the last argument is a live pair of a pointer and a
    // size, and the pointer is null or that of a live mask of at least that size.
    let ready = unsafe {
        libc::syscall(libc::SYS_pselect6, c_long::from(nfds), read, write, except, timeout, packed)
    };
    count("pselect6", ready)
}

/// The system call pselect6 with a timeout that it cannot write to.
pub(crate) fn pselect6_read_only(
    nfds: i32,
    mut sets: Sets<'_>,
    timeout: &ReadOnly<timespec>,
    mask: Mask,
) -> Reply<usize> {
    let [read, write, except] = sets.pointers(nfds);
    let timeout = timeout.pointer();
    let packed = PackedMask(mask.pointer(), mask.size);
    let packed = &raw const packed;
    // SAFETY: as in `pselect6`; the kernel's attempt to write to the timeout fails, since its page is read-only.
    let ready = unsafe {
        libc::syscall(libc::SYS_pselect6, c_long::from(nfds), read, write, except, timeout, packed)
    };
    count("pselect6", ready)
}

/// glibc's function pselect: the caller's timeout stays as it is.
pub(crate) fn pselect_of_libc(nfds: i32, timeout: &timespec) -> Reply<usize> {
    // SAFETY: no sets and no mask; the timeout is live.
    let ready = unsafe { libc::pselect(nfds, null_mut(), null_mut(), null_mut(), timeout, null()) };
    count("pselect", ready)
}

/// poll, in milliseconds; -1 is for ever.
pub(crate) fn poll(mut fds: At<'_, pollfd>, timeout: i32) -> Reply<usize> {
    let (pointer, n) = (fds.pointer(), fds.len() as libc::nfds_t);
    // SAFETY: the pointer and the count are those of one live array, or nothing is at the pointer.
    count("poll", unsafe { libc::poll(pointer, n, timeout) })
}

/// The system call ppoll, not glibc's function: it writes the rest of the time back.
pub(crate) fn ppoll(mut fds: At<'_, pollfd>, timeout: Option<&mut timespec>, mask: Mask) -> Reply<usize> {
    let (pointer, n) = (fds.pointer(), fds.len());
    let timeout = timeout.map_or(null_mut(), std::ptr::from_mut);
    let (signals, size) = (mask.pointer(), mask.size);
    // SAFETY: the array is as in `poll`; the timeout is null or live; the mask is null or live, and not
    // shorter than its size says.
    count("ppoll", unsafe { libc::syscall(libc::SYS_ppoll, pointer, n, timeout, signals, size) })
}

/// glibc's function ppoll without descriptors: the caller's timeout stays as it is.
pub(crate) fn ppoll_of_libc(timeout: &timespec) -> Reply<usize> {
    // SAFETY: no descriptors and no mask; the timeout is live.
    count("ppoll", unsafe { libc::ppoll(null_mut(), 0, timeout, null()) })
}

/// epoll_create, whose argument was a size once.
pub(crate) fn epoll_create(size: i32) -> Reply<i32> {
    // SAFETY: a number.
    number("epoll_create", unsafe { libc::epoll_create(size) })
}

/// epoll_create1.
pub(crate) fn epoll_create1(flags: i32) -> Reply<i32> {
    // SAFETY: a number.
    number("epoll_create1", unsafe { libc::epoll_create1(flags) })
}

/// epoll_ctl; without an event the pointer is null.
pub(crate) fn epoll_ctl(epoll: i32, op: i32, fd: i32, event: Option<epoll_event>) -> Reply<()> {
    let mut event = event;
    let pointer = event.as_mut().map_or(null_mut(), std::ptr::from_mut);
    // SAFETY: the pointer is null or that of a live event, which the kernel reads.
    done("epoll_ctl", unsafe { libc::epoll_ctl(epoll, op, fd, pointer) })
}

/// epoll_wait, in milliseconds; -1 is for ever. `max_events` is at most the length of the memory.
pub(crate) fn epoll_wait(
    epoll: i32,
    events: At<'_, epoll_event>,
    max_events: i32,
    timeout: i32,
) -> Reply<usize> {
    let pointer = room(events, max_events);
    // SAFETY: at the pointer is a live array of at least `max_events` entries, or nothing.
    count("epoll_wait", unsafe { libc::epoll_wait(epoll, pointer, max_events, timeout) })
}

/// The system call epoll_pwait.
pub(crate) fn epoll_pwait(
    epoll: i32,
    events: At<'_, epoll_event>,
    max_events: i32,
    timeout: i32,
    mask: Mask,
) -> Reply<usize> {
    let pointer = room(events, max_events);
    let (signals, size) = (mask.pointer(), mask.size);
    let (epoll, max, timeout) = (c_long::from(epoll), c_long::from(max_events), c_long::from(timeout));
    // SAFETY: the array is as in `epoll_wait`; the mask is null or live, and not shorter than its size says.
    let ready = unsafe { libc::syscall(libc::SYS_epoll_pwait, epoll, pointer, max, timeout, signals, size) };
    count("epoll_pwait", ready)
}

/// The system call epoll_pwait2; without a timeout it waits for ever.
pub(crate) fn epoll_pwait2(
    epoll: i32,
    events: At<'_, epoll_event>,
    max_events: i32,
    timeout: Option<&mut timespec>,
    mask: Mask,
) -> Reply<usize> {
    let pointer = room(events, max_events);
    let timeout = timeout.map_or(null_mut(), std::ptr::from_mut);
    let (signals, size) = (mask.pointer(), mask.size);
    let (epoll, max) = (c_long::from(epoll), c_long::from(max_events));
    // SAFETY: as in `epoll_pwait`; the timeout is null or live.
    let ready = unsafe { libc::syscall(libc::SYS_epoll_pwait2, epoll, pointer, max, timeout, signals, size) };
    count("epoll_pwait2", ready)
}

/// ioctl with EPIOCGPARAMS: `struct epoll_params`, 8 bytes.
pub(crate) fn epoll_params(epoll: i32, params: &mut [u8]) -> Reply<()> {
    assert_eq!(params.len(), size_of::<libc::epoll_params>(), "the kernel would write all of it");
    // SAFETY: the request writes one `epoll_params`, which consists of numbers, and the slice has its size.
    done("ioctl(EPIOCGPARAMS)", unsafe { libc::ioctl(epoll, libc::EPIOCGPARAMS, params.as_mut_ptr()) })
}

/// ioctl with EPIOCSPARAMS.
pub(crate) fn set_epoll_params(epoll: i32, params: &[u8]) -> Reply<()> {
    assert_eq!(params.len(), size_of::<libc::epoll_params>(), "the kernel would read all of it");
    // SAFETY: the request reads one `epoll_params`, and the slice has its size.
    done("ioctl(EPIOCSPARAMS)", unsafe { libc::ioctl(epoll, libc::EPIOCSPARAMS, params.as_ptr()) })
}

fn room(mut events: At<'_, epoll_event>, max_events: c_int) -> *mut epoll_event {
    if let At::Memory(memory) = &events {
        assert!(
            usize::try_from(max_events).unwrap_or(0) <= memory.len(),
            "there is no room for {max_events} events"
        );
    }
    events.pointer()
}
