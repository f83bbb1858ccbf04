//! Signals that are waited for instead of handled: a blocked signal stays pending until rt_sigtimedwait(2) takes it.
//! With `O_ASYNC` the kernel sends one when something can be done with a descriptor: signal-driven I/O, man 7 signal.
//!
//! Over libc: nix has no real-time signals, and does not give the siginfo. rt_sigtimedwait(2) is the raw system call: after
//! each signal that a handler handled, musl begins the wait again with the whole limit (src/signal/sigtimedwait.c, 1.2.5).

use super::{Call, answer, cvt, cvt_on, retry_wait, timespec};
use crate::Result;
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::signal::Signal;
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::ptr;
use std::time::Duration;

/// The set of signals of the kernel, which has 64: the beginning of a `sigset_t`, which has room for more.
const KERNEL_SET_BYTES: usize = 8;
const _: () = assert!(KERNEL_SET_BYTES <= size_of::<libc::sigset_t>());

/// The number of a signal, which may be a real-time one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Number(libc::c_int);

impl Number {
    /// `SIGRTMIN + offset`; `None` beyond `SIGRTMAX`. The C library keeps the first real-time signals for itself, so
    /// `SIGRTMIN` is not the same number everywhere.
    #[doc(alias = "SIGRTMIN")]
    #[must_use]
    pub fn real_time(offset: u8) -> Option<Number> {
        let number = libc::SIGRTMIN() + libc::c_int::from(offset);
        (number <= libc::SIGRTMAX()).then_some(Number(number))
    }

    /// The number itself.
    #[must_use]
    pub fn get(self) -> i32 {
        self.0
    }
}

impl From<Signal> for Number {
    fn from(signal: Signal) -> Number {
        Number(signal as libc::c_int)
    }
}

/// What came with a signal that [`Blocked::wait`] took: the members of `siginfo_t` that signal-driven I/O uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Came {
    /// `si_signo`.
    pub signal: Number,
    /// `si_code`: positive when the kernel sent the signal, such as `POLL_IN`, and `SI_KERNEL` for a SIGIO that replaces
    /// signals for which the queue had no room.
    pub code: i32,
    /// `si_fd`, the descriptor that was given to [`deliver_to_this_thread`]. Another file may have this number by now.
    /// Without meaning when a process sent the signal, and for that SIGIO.
    pub fd: RawFd,
    /// `si_band`: the events, as bits of poll(2). Without meaning where `fd` has none.
    pub band: i64,
}

/// Signals that this thread has blocked, until this is dropped.
#[derive(Debug)]
pub struct Blocked {
    signals: libc::sigset_t,
    old: libc::sigset_t,
    /// The mask belongs to the thread, so this must not go to another.
    stays: PhantomData<*const ()>,
}

impl Blocked {
    /// Block `signals` for this thread: rt_sigprocmask(2). Threads and processes that it starts inherit the mask.
    ///
    /// # Errors
    ///
    /// None in practice.
    #[doc(alias = "sigprocmask")]
    #[doc(alias = "pthread_sigmask")]
    pub fn new(signals: &[Number]) -> Result<Blocked> {
        let signals = set_of(signals);
        let mut old = set_of(&[]);
        // SAFETY: both sets are initialised, on this stack, and live until the call returns.
        let set = unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &raw const signals, &raw mut old) };
        cvt(Call::RtSigprocmask, answer(set))?;
        Ok(Blocked { signals, old, stays: PhantomData })
    }

    /// Take one of the signals that is pending for this thread or process, or wait for one; `None` after `timeout`
    /// (`None`: wait for ever).
    ///
    /// `int sigtimedwait(const sigset_t *set, siginfo_t *info, const struct timespec *timeout)`, man 2 sigtimedwait.
    /// Of several the lowest number comes first. Another signal, which a handler handled, does not end the wait.
    ///
    /// # Errors
    ///
    /// None in practice.
    #[doc(alias = "sigtimedwait")]
    pub fn wait(&self, timeout: Option<Duration>) -> Result<Option<Came>> {
        match retry_wait(timeout, |left| self.wait_once(left)) {
            Ok(came) => Ok(Some(came)),
            Err(error) if error.errno() == Some(Errno::EAGAIN) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn wait_once(&self, limit: Option<Duration>) -> Result<Came> {
        let limit = limit.map(timespec);
        let limit = limit.as_ref().map_or(ptr::null(), ptr::from_ref);
        let mut info = MaybeUninit::<libc::siginfo_t>::zeroed();
        // SAFETY:
        // 1. The set is initialised, and longer than the `KERNEL_SET_BYTES` that the kernel reads.
        // 2. The limit is null or a `timespec` on this stack, which on 64 bits is the kernel's.
        // 3. `info` has room for a `siginfo_t`, and only the kernel writes to it during the call.
        let signal = unsafe {
            libc::syscall(
                libc::SYS_rt_sigtimedwait,
                &raw const self.signals,
                info.as_mut_ptr(),
                limit,
                KERNEL_SET_BYTES,
            )
        };
        cvt(Call::RtSigtimedwait, Errno::result(signal))?;
        // SAFETY: it was zeroed, and a `siginfo_t` is numbers alone, so every byte of it has a value.
        Ok(came(&unsafe { info.assume_init() }))
    }
}

impl Drop for Blocked {
    /// Give the thread its old mask back. Signals that are pending then take effect.
    fn drop(&mut self) {
        // SAFETY: the set is initialised and lives until the call returns; the old mask is not asked for.
        let set = unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const self.old, ptr::null_mut()) };
        cvt(Call::RtSigprocmask, answer(set)).ok();
    }
}

/// From now on send `signal` to this thread when something can be done with `fd`: fcntl(2) `F_SETOWN_EX` with
/// `F_OWNER_TID`, `F_SETSIG`, and `O_ASYNC`.
///
/// It tells of changes only, as edge-triggered epoll does: look once at what is there already. The flag and the
/// owner belong to the open file description. Real-time signals queue; when there are `RLIMIT_SIGPENDING` of them, a
/// SIGIO comes instead, so block SIGIO as well.
///
/// # Errors
///
/// `EINVAL` for a file that cannot do it.
#[doc(alias = "F_SETSIG")]
#[doc(alias = "F_SETOWN_EX")]
#[doc(alias = "O_ASYNC")]
pub fn deliver_to_this_thread(fd: impl AsFd, signal: Number) -> Result<()> {
    let fd = fd.as_fd();
    let owner = FOwnerEx { kind: F_OWNER_TID, tid: nix::unistd::gettid().as_raw() };
    // SAFETY: F_SETOWN_EX reads one `f_owner_ex`, two ints; `owner` is that, and lives until the call returns.
    let owned = unsafe { libc::fcntl(fd.as_raw_fd(), F_SETOWN_EX, &raw const owner) };
    cvt_on(Call::Fcntl, fd, Errno::result(owned))?;
    // SAFETY: F_SETSIG takes a number, and no pointer.
    let set = unsafe { libc::fcntl(fd.as_raw_fd(), F_SETSIG, signal.0) };
    cvt_on(Call::Fcntl, fd, Errno::result(set))?;
    change_flags(fd, |flags| flags | OFlag::O_ASYNC)
}

/// Undo [`deliver_to_this_thread`]: take `O_ASYNC` back. Signals that are pending stay so.
///
/// # Errors
///
/// None in practice.
pub fn deliver_no_more(fd: impl AsFd) -> Result<()> {
    change_flags(fd.as_fd(), |flags| flags - OFlag::O_ASYNC)
}

fn change_flags(fd: BorrowedFd<'_>, change: impl FnOnce(OFlag) -> OFlag) -> Result<()> {
    let flags = cvt_on(Call::Fcntl, fd, fcntl(fd, FcntlArg::F_GETFL))?;
    let flags = change(OFlag::from_bits_retain(flags));
    cvt_on(Call::Fcntl, fd, fcntl(fd, FcntlArg::F_SETFL(flags))).map(drop)
}

/// `struct f_owner_ex` and its constants, which libc lacks: include/uapi/asm-generic/fcntl.h.
#[repr(C)]
struct FOwnerEx {
    kind: libc::c_int,
    tid: libc::pid_t,
}
const F_SETSIG: libc::c_int = 10;
const F_SETOWN_EX: libc::c_int = 15;
const F_OWNER_TID: libc::c_int = 0;

fn set_of(signals: &[Number]) -> libc::sigset_t {
    let mut set = MaybeUninit::<libc::sigset_t>::zeroed();
    // SAFETY: the pointer is to memory of a `sigset_t`, which the call initialises.
    unsafe { libc::sigemptyset(set.as_mut_ptr()) };
    for signal in signals {
        // SAFETY: the set was initialised above.
        unsafe { libc::sigaddset(set.as_mut_ptr(), signal.0) };
    }
    // SAFETY: the call above has initialised it.
    unsafe { set.assume_init() }
}

/// `si_band` is a long and `si_fd` an int right behind it, in the union that begins at byte 16 on 64 bits. libc has no
/// names for them.
fn came(info: &libc::siginfo_t) -> Came {
    #[repr(C)]
    struct Poll {
        start: [libc::c_int; 4],
        band: libc::c_long,
        fd: libc::c_int,
    }
    const { assert!(size_of::<Poll>() <= size_of::<libc::siginfo_t>()) };
    const { assert!(align_of::<Poll>() <= align_of::<libc::siginfo_t>()) };
    // SAFETY: the pointer comes from a live borrow of a `siginfo_t`, which is at least as long and as aligned as
    // `Poll`; every byte of it is initialised, and any bytes are numbers.
    let poll = unsafe { &*ptr::from_ref(info).cast::<Poll>() };
    Came { signal: Number(info.si_signo), code: info.si_code, fd: poll.fd, band: poll.band }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, sigaction};
    use std::io::Write;
    use std::os::unix::net::UnixStream;
    use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
    use std::thread;
    use std::time::Instant;

    #[test]
    fn data_on_a_socket_queues_the_signal_with_its_descriptor_and_events() {
        let signal = Number::real_time(1).unwrap();
        let blocked = Blocked::new(&[signal]).unwrap();
        let (one, mut other) = UnixStream::pair().unwrap();
        deliver_to_this_thread(&one, signal).unwrap();
        other.write_all(b"x").unwrap();
        let came = blocked.wait(Some(Duration::from_secs(10))).unwrap().expect("a signal within 10 s");
        assert_eq!((came.signal, came.fd), (signal, one.as_raw_fd()));
        assert_ne!(came.band & i64::from(libc::POLLIN), 0, "{came:?}");
        // What is still pending when the mask comes back would end this process.
        drop((other, one));
        while blocked.wait(Some(Duration::ZERO)).unwrap().is_some() {}
    }

    #[test]
    fn after_deliver_no_more_there_is_no_signal() {
        let signal = Number::real_time(4).unwrap();
        let blocked = Blocked::new(&[signal]).unwrap();
        let (one, mut other) = UnixStream::pair().unwrap();
        deliver_to_this_thread(&one, signal).unwrap();
        deliver_no_more(&one).unwrap();
        other.write_all(b"x").unwrap();
        assert_eq!(blocked.wait(Some(Duration::ZERO)).unwrap(), None);
    }

    #[test]
    fn the_wait_is_never_early() {
        let blocked = Blocked::new(&[Number::real_time(2).unwrap()]).unwrap();
        for limit in [Duration::ZERO, Duration::from_micros(300), Duration::from_millis(5)] {
            let started = Instant::now();
            assert_eq!(blocked.wait(Some(limit)).unwrap(), None);
            assert!(started.elapsed() >= limit, "{:?} < {limit:?}", started.elapsed());
        }
    }

    #[test]
    fn signals_that_are_handled_do_not_make_the_wait_longer() {
        extern "C" fn nothing(_: libc::c_int) {}
        let action = SigAction::new(SigHandler::Handler(nothing), SaFlags::empty(), SigSet::empty());
        // SAFETY: the handler does nothing, and no other test is about this signal.
        unsafe { sigaction(Signal::SIGUSR2, &action) }.unwrap();
        let blocked = Blocked::new(&[Number::real_time(4).unwrap()]).unwrap();
        let (process, waiting) = (nix::unistd::getpid().as_raw(), nix::unistd::gettid().as_raw());
        let over = AtomicBool::new(false);
        thread::scope(|scope| {
            let sender = scope.spawn(|| {
                let until = Instant::now() + Duration::from_secs(10);
                while !over.load(Relaxed) && Instant::now() < until {
                    // SAFETY: tgkill(2) takes three numbers; the thread that waits outlives this one.
                    let sent = unsafe { libc::syscall(libc::SYS_tgkill, process, waiting, libc::SIGUSR2) };
                    assert_eq!(sent, 0);
                    thread::sleep(Duration::from_millis(1));
                }
                over.load(Relaxed)
            });
            assert_eq!(blocked.wait(Some(Duration::from_millis(100))).unwrap(), None);
            over.store(true, Relaxed);
            assert!(sender.join().unwrap(), "the wait ended only when no more signals came, after 10 s");
        });
    }

    #[test]
    fn the_old_mask_comes_back() {
        let signal = Number::real_time(3).unwrap();
        let is_blocked = || {
            let now = Blocked::new(&[]).unwrap().old;
            // SAFETY: the kernel has initialised this set, and it lives until the call returns.
            unsafe { libc::sigismember(&raw const now, signal.0) == 1 }
        };
        let blocked = Blocked::new(&[signal]).unwrap();
        assert!(is_blocked());
        drop(blocked);
        assert!(!is_blocked());
        assert_eq!(Number::real_time(200), None);
    }
}
