//! Signals. Handlers count, and note in which thread they ran; they do nothing else.

use super::{Reply, done, number};

use libc::{c_int, c_long, c_void, siginfo_t, timespec};
use std::ptr::{null, null_mut};
use std::sync::atomic::{AtomicI32, AtomicU32, Ordering::SeqCst};

const SIGNALS: usize = 65;

static HANDLED: [AtomicU32; SIGNALS] = [const { AtomicU32::new(0) }; SIGNALS];
static THREAD: [AtomicI32; SIGNALS] = [const { AtomicI32::new(0) }; SIGNALS];

/// What a signal should do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    /// What it does by default.
    Default,
    /// Nothing.
    Ignore,
    /// Run the handler, which counts: [`handled`].
    Count,
}

/// What came with a signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Came {
    pub(crate) signal: i32,
    /// `si_code`.
    pub(crate) code: i32,
    /// `si_value`, as of sigqueue.
    pub(crate) value: i32,
    /// `si_fd`, of signals about descriptors.
    pub(crate) fd: i32,
    /// `si_band`, likewise.
    pub(crate) band: i64,
}

/// A signal as a bit of a set.
pub(crate) const fn bit(signal: i32) -> u64 {
    1 << (signal - 1)
}

/// sigaction; `flags` such as `SA_RESTART`.
pub(crate) fn sigaction(signal: i32, action: Action, flags: i32) -> Reply<()> {
    let handler = match action {
        Action::Default => libc::SIG_DFL,
        Action::Ignore => libc::SIG_IGN,
        Action::Count => note as extern "C" fn(c_int) as usize,
    };
    // SAFETY: all-zero bytes are a value of `sigaction`: the default action, an empty mask.
    let mut new: libc::sigaction = unsafe { std::mem::zeroed() };
    new.sa_sigaction = handler;
    new.sa_flags = flags;
    // SAFETY: the only handler is `note`, which may run at any time: it touches atomics alone.
    done("rt_sigaction", unsafe { libc::sigaction(signal, &raw const new, null_mut()) })
}

extern "C" fn note(signal: c_int) {
    let at = signal as usize % SIGNALS;
    THREAD[at].store(super::gettid(), SeqCst);
    HANDLED[at].fetch_add(1, SeqCst);
}

/// The siginfo as the kernel lays it out on 64 bits: three ints, four bytes of padding, then a union.
fn came(info: &siginfo_t) -> Came {
    // SAFETY: a siginfo consists of 128 bytes of numbers, all of them initialised by the kernel.
    let words: &[i32; 32] = unsafe { &*std::ptr::from_ref(info).cast() };
    let long = |at: usize| {
        let [a, b, c, d] = words[at].to_ne_bytes();
        let [e, f, g, h] = words[at + 1].to_ne_bytes();
        i64::from_ne_bytes([a, b, c, d, e, f, g, h])
    };
    // si_band and si_fd of SIGPOLL; si_pid, si_uid and si_value of sigqueue.
    Came { signal: words[0], code: words[2], value: words[6], fd: words[6], band: long(4) }
}

/// How often the handler has run for `signal` in this process.
pub(crate) fn handled(signal: i32) -> u32 {
    HANDLED[signal as usize].load(SeqCst)
}

/// In which thread the handler ran last.
pub(crate) fn handled_in(signal: i32) -> i32 {
    THREAD[signal as usize].load(SeqCst)
}

/// sigprocmask of the calling thread; the old mask.
pub(crate) fn sigprocmask(how: i32, signals: u64) -> Reply<u64> {
    let mut old = 0u64;
    let (new, old_at) = (&raw const signals, &raw mut old);
    // SAFETY: both masks are live and eight bytes long, as is said.
    let set = unsafe { libc::syscall(libc::SYS_rt_sigprocmask, c_long::from(how), new, old_at, 8usize) };
    done("rt_sigprocmask", set).map(|()| old)
}

/// sigpending.
pub(crate) fn sigpending() -> Reply<u64> {
    let mut pending = 0u64;
    // SAFETY: the mask is live and eight bytes long, as is said.
    let got = unsafe { libc::syscall(libc::SYS_rt_sigpending, &raw mut pending, 8usize) };
    done("rt_sigpending", got).map(|()| pending)
}

/// sigtimedwait, in milliseconds.
pub(crate) fn sigtimedwait(signals: u64, timeout_ms: i64) -> Reply<Came> {
    let limit = timespec { tv_sec: timeout_ms / 1000, tv_nsec: timeout_ms % 1000 * 1_000_000 };
    // SAFETY: all-zero bytes are a value of `siginfo_t`, which consists of numbers.
    let mut info: siginfo_t = unsafe { std::mem::zeroed() };
    let (set, into, limit) = (&raw const signals, &raw mut info, &raw const limit);
    // SAFETY: the set, the information and the limit are live, and the set is eight bytes long, as is said.
    let got = unsafe { libc::syscall(libc::SYS_rt_sigtimedwait, set, into, limit, 8usize) };
    number("rt_sigtimedwait", got)?;
    Ok(came(&info))
}

/// sigqueue.
pub(crate) fn sigqueue(pid: i32, signal: i32, value: i32) -> Reply<()> {
    // `union sigval` has the number in its first bytes, which are the upper ones of the pointer where the byte order is big-endian.
    let mut union = [0; size_of::<usize>()];
    union[..size_of::<i32>()].copy_from_slice(&value.to_ne_bytes());
    let value = libc::sigval { sival_ptr: std::ptr::without_provenance_mut(usize::from_ne_bytes(union)) };
    // SAFETY: the value is a number for the receiver, which is an experiment.
    done("rt_sigqueueinfo", unsafe { libc::sigqueue(pid, signal, value) })
}

/// signalfd; -1 makes a new one.
pub(crate) fn signalfd(fd: i32, signals: u64, flags: i32) -> Reply<i32> {
    let (fd, flags) = (c_long::from(fd), c_long::from(flags));
    // SAFETY: the mask is live and eight bytes long, as is said.
    number("signalfd4", unsafe { libc::syscall(libc::SYS_signalfd4, fd, &raw const signals, 8usize, flags) })
}

/// pause: it returns after a handler.
pub(crate) fn pause() -> Reply<()> {
    // SAFETY: takes nothing.
    done("pause", unsafe { libc::pause() })
}

/// nanosleep.
pub(crate) fn nanosleep(seconds: i64, nanoseconds: i64) -> Reply<()> {
    let time = timespec { tv_sec: seconds, tv_nsec: nanoseconds };
    // SAFETY: the time is live, and there is nowhere for the rest.
    done("clock_nanosleep", unsafe { libc::nanosleep(&raw const time, null_mut()) })
}

/// setitimer(ITIMER_REAL): one SIGALRM after so many milliseconds; 0 is never.
pub(crate) fn set_alarm(ms: i64) -> Reply<()> {
    let once = libc::timeval { tv_sec: ms / 1000, tv_usec: ms % 1000 * 1000 };
    let timer = libc::itimerval { it_interval: libc::timeval { tv_sec: 0, tv_usec: 0 }, it_value: once };
    // SAFETY: the timer is live, and there is nowhere for the old one.
    let set = unsafe {
        libc::syscall(
            libc::SYS_setitimer,
            c_long::from(libc::ITIMER_REAL),
            &raw const timer,
            null::<c_void>(),
        )
    };
    done("setitimer", set)
}

/// getitimer(ITIMER_REAL): how many milliseconds are left; 0 if no alarm is set.
pub(crate) fn alarm_left() -> Reply<i32> {
    let zero = libc::timeval { tv_sec: 0, tv_usec: 0 };
    let mut timer = libc::itimerval { it_interval: zero, it_value: zero };
    // SAFETY: the timer is live.
    let got = unsafe { libc::syscall(libc::SYS_getitimer, c_long::from(libc::ITIMER_REAL), &raw mut timer) };
    done("getitimer", got)?;
    Ok((timer.it_value.tv_sec * 1000 + timer.it_value.tv_usec.div_euclid(1000)) as i32)
}
