//! Descriptors of all kinds but sockets: what makes them, reads them, writes them, copies them, closes them.

use super::{Refusal, Reply, count, done, number};
use crate::sys::Errno;
use libc::{c_int, c_long, itimerspec, timespec};
use std::ffi::CString;
use std::ptr::null_mut;

fn path_of(path: &str, call: &'static str) -> Reply<CString> {
    CString::new(path).map_err(|_| Refusal { call, errno: Errno::EINVAL })
}

/// pipe2: the reading end, the writing end.
pub(crate) fn pipe2(flags: i32) -> Reply<[i32; 2]> {
    let mut ends = [-1; 2];
    pipe2_into(&mut ends, flags).map(|()| ends)
}

/// pipe2 into an array of the caller's, who may want to know what a failure leaves there.
pub(crate) fn pipe2_into(ends: &mut [i32; 2], flags: i32) -> Reply<()> {
    // SAFETY: a live array of two, which is what the kernel writes.
    done("pipe2", unsafe { libc::pipe2(ends.as_mut_ptr(), flags) })
}

/// read.
pub(crate) fn read(fd: i32, buffer: &mut [u8]) -> Reply<usize> {
    // SAFETY: the pointer and the length are those of one live slice.
    count("read", unsafe { libc::read(fd, buffer.as_mut_ptr().cast(), buffer.len()) } as i64)
}

/// write.
pub(crate) fn write(fd: i32, bytes: &[u8]) -> Reply<usize> {
    // SAFETY: the pointer and the length are those of one live slice.
    count("write", unsafe { libc::write(fd, bytes.as_ptr().cast(), bytes.len()) } as i64)
}

/// open; new files belong to the user alone.
pub(crate) fn open(path: &str, flags: i32) -> Reply<i32> {
    let path = path_of(path, "open")?;
    // SAFETY: the path ends with a zero.
    number("open", unsafe { libc::open(path.as_ptr(), flags, 0o600) })
}

/// close.
pub(crate) fn close(fd: i32) -> Reply<()> {
    // SAFETY: in the process of an experiment no other code owns a descriptor that it could lose.
    done("close", unsafe { libc::close(fd) })
}

/// dup.
pub(crate) fn dup(fd: i32) -> Reply<i32> {
    // SAFETY: a number.
    number("dup", unsafe { libc::dup(fd) })
}

/// dup2.
pub(crate) fn dup2(fd: i32, to: i32) -> Reply<i32> {
    // SAFETY: numbers; what `to` was is the experiment's own, see `close`.
    number("dup2", unsafe { libc::dup2(fd, to) })
}

/// dup3.
pub(crate) fn dup3(fd: i32, to: i32, flags: i32) -> Reply<i32> {
    // SAFETY: as `dup2`.
    number("dup3", unsafe { libc::dup3(fd, to, flags) })
}

/// sendfile, from an offset that the kernel moves.
pub(crate) fn sendfile(to: i32, from: i32, offset: &mut i64, n: usize) -> Reply<usize> {
    // SAFETY: the offset is live, and an `off_t` is 64 bits wide.
    count("sendfile", unsafe { libc::sendfile(to, from, std::ptr::from_mut(offset), n) } as i64)
}

/// The command that names the signal of O_ASYNC; not in libc.
pub(crate) const F_SETSIG: i32 = 10;
/// The command that tells it.
pub(crate) const F_GETSIG: i32 = 11;

/// fcntl, for the commands whose argument is a number.
pub(crate) fn fcntl(fd: i32, command: i32, argument: i32) -> Reply<i32> {
    const NUMBERS: &[c_int] = &[
        libc::F_DUPFD,
        libc::F_DUPFD_CLOEXEC,
        libc::F_GETFD,
        libc::F_SETFD,
        libc::F_GETFL,
        libc::F_SETFL,
        libc::F_GETOWN,
        libc::F_SETOWN,
        F_GETSIG,
        F_SETSIG,
        libc::F_GETPIPE_SZ,
        libc::F_SETPIPE_SZ,
    ];
    assert!(NUMBERS.contains(&command), "fcntl command {command} is not known to take a number");
    // SAFETY: these commands take a number, or ignore it.
    number("fcntl", unsafe { libc::fcntl(fd, command, argument) })
}

/// ioctl, for the requests whose argument is one int that is read or written.
pub(crate) fn ioctl(fd: i32, request: libc::Ioctl, value: &mut i32) -> Reply<i32> {
    const INTS: &[libc::Ioctl] = &[
        libc::FIONREAD,
        libc::FIONBIO,
        libc::FIOASYNC,
        libc::TIOCOUTQ,
        SIOCATMARK,
        libc::TIOCSPTLCK,
        libc::TIOCGPTN,
        SIOCOUTQNSD,
    ];
    assert!(INTS.contains(&request), "ioctl request {request:#x} is not known to take an int");
    // SAFETY: these requests read or write one int, and the pointer is that of a live one.
    number("ioctl", unsafe { libc::ioctl(fd, request, std::ptr::from_mut(value)) })
}

/// Whether the next byte is the urgent one; not in libc for all architectures.
pub(crate) const SIOCATMARK: libc::Ioctl = 0x8905;
/// How many bytes TCP has taken and not sent yet; not in libc.
pub(crate) const SIOCOUTQNSD: libc::Ioctl = 0x894b;

/// mkfifo.
pub(crate) fn mkfifo(path: &str) -> Reply<()> {
    let path = path_of(path, "mkfifo")?;
    // SAFETY: the path ends with a zero.
    done("mkfifo", unsafe { libc::mkfifo(path.as_ptr(), 0o600) })
}

/// memfd_create.
pub(crate) fn memfd_create(flags: u32) -> Reply<i32> {
    // SAFETY: the name ends with a zero.
    number("memfd_create", unsafe { libc::memfd_create(c"io-models-fact".as_ptr(), flags) })
}

/// eventfd.
pub(crate) fn eventfd(value: u32, flags: i32) -> Reply<i32> {
    // SAFETY: numbers.
    number("eventfd2", unsafe { libc::eventfd(value, flags) })
}

/// timerfd_create.
pub(crate) fn timerfd_create(clock: i32, flags: i32) -> Reply<i32> {
    // SAFETY: numbers.
    number("timerfd_create", unsafe { libc::timerfd_create(clock, flags) })
}

/// timerfd_settime: the first expiry from now and the period, in nanoseconds; 0 is never.
pub(crate) fn timerfd_settime(fd: i32, first_ns: i64, period_ns: i64) -> Reply<()> {
    let of = |ns: i64| timespec { tv_sec: ns / 1_000_000_000, tv_nsec: ns % 1_000_000_000 };
    let value = itimerspec { it_interval: of(period_ns), it_value: of(first_ns) };
    // SAFETY: a live value, and nowhere for the old one.
    done("timerfd_settime", unsafe { libc::timerfd_settime(fd, 0, &raw const value, null_mut()) })
}

/// inotify_init1.
pub(crate) fn inotify_init1(flags: i32) -> Reply<i32> {
    // SAFETY: a number.
    number("inotify_init1", unsafe { libc::inotify_init1(flags) })
}

/// inotify_add_watch.
pub(crate) fn inotify_add_watch(fd: i32, path: &str, mask: u32) -> Reply<i32> {
    let path = path_of(path, "inotify_add_watch")?;
    // SAFETY: the path ends with a zero.
    number("inotify_add_watch", unsafe { libc::inotify_add_watch(fd, path.as_ptr(), mask) })
}

/// pidfd_open.
pub(crate) fn pidfd_open(pid: i32, flags: u32) -> Reply<i32> {
    // SAFETY: numbers.
    number("pidfd_open", unsafe { libc::syscall(libc::SYS_pidfd_open, c_long::from(pid), flags) })
}

/// kcmp with KCMP_EPOLL_TFD, of this process: whether `fd` is what the epoll instance has for the
/// number `target`, the `offset`th of that number. 0 is equal.
pub(crate) fn kcmp_epoll_target(fd: i32, epoll: i32, target: i32, offset: u32) -> Reply<i32> {
    const KCMP_EPOLL_TFD: c_long = 7;
    let slot: [u32; 3] = [epoll.cast_unsigned(), target.cast_unsigned(), offset];
    let me = c_long::from(std::process::id().cast_signed());
    // SAFETY: the last argument is a live `struct kcmp_epoll_slot`, three words long.
    let order =
        unsafe { libc::syscall(libc::SYS_kcmp, me, me, KCMP_EPOLL_TFD, c_long::from(fd), slot.as_ptr()) };
    number("kcmp", order)
}

/// Close all descriptors from `first` on.
pub(crate) fn close_from(first: u32) -> Reply<()> {
    // SAFETY: as `close`.
    done("close_range", unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, 0) })
}

/// Memory for `n` values of which all-zero bytes are one, from fresh pages that are not touched: gigabytes
/// cost nothing until they are written. `None` if there is no room for it.
pub(crate) fn fresh_pages<T: AllZero>(n: usize) -> Option<&'static mut [T]> {
    let bytes = n.checked_mul(size_of::<T>())?;
    let (protection, flags) =
        (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE);
    // SAFETY: a mapping at an address of the kernel's choice replaces nothing that exists.
    let pages = unsafe { libc::mmap(null_mut(), bytes, protection, flags, -1, 0) };
    if pages == libc::MAP_FAILED {
        return None;
    }
    // SAFETY: the pages are new, zero, never unmapped and nobody else's; `T` says that zeros are a value of it, and
    // pages are aligned for it.
    Some(unsafe { std::slice::from_raw_parts_mut(pages.cast::<T>(), n) })
}

/// A type of which all-zero bytes are a value, and that a page is aligned for.
///
/// # Safety
///
/// Both must be true: [`fresh_pages`] makes references of it.
pub(crate) unsafe trait AllZero: Copy {}

// SAFETY: an event consists of numbers.
unsafe impl AllZero for libc::epoll_event {}
// SAFETY: a number.
unsafe impl AllZero for u64 {}
// SAFETY: two numbers.
unsafe impl AllZero for timespec {}

/// A value in a page of its own, which nobody can write to: not this process, nor the kernel for it.
#[derive(Debug)]
pub(crate) struct ReadOnly<T: 'static>(&'static T);

impl<T: AllZero> ReadOnly<T> {
    /// `None` if there is no page for it.
    pub(crate) fn new(value: T) -> Option<ReadOnly<T>> {
        let page = fresh_pages::<T>(1)?;
        page[0] = value;
        let value: &'static T = &page[0];
        let page = std::ptr::from_ref(value).cast_mut().cast();
        // SAFETY: the page is ours, holds nothing else, and is only read from here on.
        let protected = unsafe { libc::mprotect(page, size_of::<T>(), libc::PROT_READ) };
        (protected == 0).then_some(ReadOnly(value))
    }

    pub(super) fn pointer(&self) -> *const T {
        self.0
    }
}
