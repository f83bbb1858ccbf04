//! Signals as descriptors: sigaction(2) with handlers that do one thing. Over
//! `nix::sys::signal`.
//!
//! A handler may run between any two instructions, so it may call only what signal-safety(7) lists.
//! Ours make write(2), shutdown(2) or dup2(2), note which signal it was, and leave `errno` as it
//! was. Everything else happens in the loop that sees the descriptor become readable (the "self-pipe
//! trick").
//!
//! All handlers are installed with `SA_RESTART`. What signal(7) lists as never restarted (select,
//! poll, epoll_wait) is restarted by `sys::retry_wait`.
//!
//! A signal that gets a handler here is unblocked as well: the mask survives execve(2), so whoever started this
//! process may have blocked it.

use super::{Call, calls::count_in_handler, cvt, eventfd::EventFd};
use crate::Result;
use nix::errno::Errno;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, SigmaskHow, sigaction};
use nix::time::{ClockId, clock_gettime};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, IntoRawFd, OwnedFd, RawFd};
use std::ptr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering::Relaxed};

pub use nix::sys::signal::Signal;

/// What the handlers write to or shut down: -1 while there is none.
static STOP: AtomicI32 = AtomicI32::new(-1);
static CONNECTION: AtomicI32 = AtomicI32::new(-1);
/// The listener that the handler of [`On::hang_up`] takes away from this process: -1 while there is none.
static LISTENER: AtomicI32 = AtomicI32::new(-1);
/// What the handler of SIGCHLD writes to.
static CHILDREN: OnceLock<EventFd> = OnceLock::new();

/// What came first, and when ([`Came`]): 0 while nothing has. Two threads may handle signals at once, so both are in one
/// word: whoever sees the signal sees its time as well.
static FIRST: AtomicU64 = AtomicU64::new(0);
/// The signal of [`On::hang_up`]: 0 while it has not come.
static HUNG_UP: AtomicI32 = AtomicI32::new(0);

/// A SIGINT this long after the first signal, or later, ends the process. One that comes sooner is the same Ctrl-C: the
/// terminal sends it to every process in the foreground, and some of these (timeout(1), cargo) pass it to their children.
const IMPATIENT_MS: u64 = 500;

/// What to do on these signals.
#[derive(Debug, Clone, Copy)]
pub struct On<'a>(&'a [Signal]);

/// On these `signals`, do what the next method says: sigaction(2).
#[must_use]
#[doc(alias = "sigaction")]
pub fn on(signals: &[Signal]) -> On<'_> {
    On(signals)
}

impl On<'_> {
    /// Write a byte to `pipe` instead of ending the process; [`first`] tells which signal came. `pipe` should be non-blocking:
    /// when it is full, a reader has enough to know.
    ///
    /// A second SIGINT (Ctrl-C), half a second or more after the first signal, ends the process at once: the user does not
    /// want to wait for an orderly end.
    ///
    /// The pipe of an earlier call is no longer written to.
    ///
    /// # Errors
    ///
    /// `EINVAL` for SIGKILL and SIGSTOP.
    pub fn write_to(self, pipe: OwnedFd) -> Result<()> {
        keep(&STOP, pipe);
        self.0.iter().try_for_each(|&signal| handle(signal, on_stop))
    }

    /// Shut down the reading side of the socket that [`hang_up_shuts`] has named last, so that a recv(2) that waits for its
    /// peer returns what has arrived, then end of stream; [`hung_up`] tells that it came.
    ///
    /// For a process that blocks in recv(2) and could not see a descriptor become readable.
    ///
    /// # Errors
    ///
    /// `EINVAL` for SIGKILL and SIGSTOP.
    pub fn hang_up(self) -> Result<()> {
        self.0.iter().try_for_each(|&signal| handle(signal, on_hang_up))
    }
}

/// Let the handler of [`On::hang_up`] shut down this socket from now on, or none. Take it back before the socket is closed: its
/// number may belong to another afterwards.
///
/// A signal that came before finds no socket: look at [`hung_up`] after this call.
pub fn hang_up_shuts(socket: Option<BorrowedFd<'_>>) {
    CONNECTION.store(socket.map_or(-1, |socket| socket.as_raw_fd()), Relaxed);
}

/// Let the handler of [`On::hang_up`] put the descriptor of [`children`], which is no socket, in the place of this listener, in this
/// process only. An accept(2) that waits there is interrupted, begins anew with the same number, and fails: `ENOTSOCK`. So does
/// each that comes. Other processes accept clients there as before, which they would not after a shutdown(2).
///
/// A signal that came before finds no listener: look at [`hung_up`] after this call. Nothing is done before [`children`] was called
/// once, here or in the parent.
#[doc(alias = "dup2")]
pub fn hang_up_replaces(listener: BorrowedFd<'_>) {
    LISTENER.store(listener.as_raw_fd(), Relaxed);
}

/// A descriptor that becomes readable when a child of this process has ended, or stopped. There is one for the process.
///
/// # Errors
///
/// As [`EventFd::new`].
#[doc(alias = "SIGCHLD")]
pub fn children() -> Result<&'static EventFd> {
    let event = match CHILDREN.get() {
        Some(event) => event,
        None => {
            let event = EventFd::new()?;
            CHILDREN.get_or_init(|| event)
        }
    };
    handle(Signal::SIGCHLD, on_child)?;
    Ok(event)
}

/// Signals that this thread does not get until this is dropped.
#[derive(Debug)]
pub struct Blocked(SigSet);

/// Let `signals` wait: pthread_sigmask(3). A child that is forked meanwhile has them blocked as well.
///
/// # Errors
///
/// None in practice.
#[doc(alias = "pthread_sigmask")]
pub fn block(signals: &[Signal]) -> Result<Blocked> {
    let set: SigSet = signals.iter().copied().collect();
    cvt(Call::RtSigprocmask, set.thread_swap_mask(SigmaskHow::SIG_BLOCK)).map(Blocked)
}

impl Drop for Blocked {
    fn drop(&mut self) {
        cvt(Call::RtSigprocmask, self.0.thread_set_mask()).ok();
    }
}

/// Have `signal` ignored.
///
/// # Errors
///
/// `EINVAL` for SIGKILL and SIGSTOP.
#[doc(alias = "SIG_IGN")]
pub fn ignore(signal: Signal) -> Result<()> {
    install(signal, SigHandler::SigIgn)
}

/// Have `signal` do what it does by default.
///
/// # Errors
///
/// `EINVAL` for SIGKILL and SIGSTOP.
#[doc(alias = "SIG_DFL")]
pub fn default(signal: Signal) -> Result<()> {
    install(signal, SigHandler::SigDfl)
}

/// The first signal of [`On::write_to`] that came, if one did.
#[must_use]
pub fn first() -> Option<Signal> {
    Came::unpack(FIRST.load(Relaxed))?.signal()
}

/// The signal of [`On::hang_up`], if it came.
#[must_use]
pub fn hung_up() -> Option<Signal> {
    // 0, where none came, is no signal.
    Signal::try_from(HUNG_UP.load(Relaxed)).ok()
}

/// Whether `signal` is ignored now. A process inherits that from whoever started it.
///
/// # Errors
///
/// `EINVAL` for the signals that libc keeps for itself.
#[doc(alias = "sigaction")]
pub fn is_ignored(signal: Signal) -> Result<bool> {
    // SAFETY: all-zero bytes are a `sigaction`: numbers, and an `Option` of a function.
    let mut now: libc::sigaction = unsafe { std::mem::zeroed() };
    // SAFETY: without a new action the call changes nothing; it writes the present one to `now`, which is live.
    let asked = unsafe { libc::sigaction(signal as i32, ptr::null(), &raw mut now) };
    cvt(Call::RtSigaction, Errno::result(asked))?;
    Ok(now.sa_sigaction == libc::SIG_IGN)
}

/// Let every signal through to this thread, and to the threads that it will start.
///
/// # Errors
///
/// None in practice.
#[doc(alias = "pthread_sigmask")]
pub fn unblock_all() -> Result<()> {
    cvt(Call::RtSigprocmask, SigSet::empty().thread_set_mask())
}

/// A signal, and when it came, in milliseconds of the monotonic clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Came {
    number: u8,
    at_ms: u64,
}

impl Came {
    fn now(signal: libc::c_int) -> Came {
        let now = clock_gettime(ClockId::CLOCK_MONOTONIC);
        let at_ms = now.map_or(0, |now| now.tv_sec() * 1000 + now.tv_nsec() / 1_000_000);
        Came { number: signal as u8, at_ms: at_ms as u64 }
    }

    /// In one word. It is not 0, because no signal has the number 0; the greatest is 64.
    fn pack(self) -> u64 {
        self.at_ms << 8 | u64::from(self.number)
    }

    fn unpack(word: u64) -> Option<Came> {
        (word != 0).then_some(Came { number: word as u8, at_ms: word >> 8 })
    }

    fn signal(self) -> Option<Signal> {
        Signal::try_from(libc::c_int::from(self.number)).ok()
    }
}

/// Install a handler, and let the signal through.
fn handle(signal: Signal, handler: extern "C" fn(libc::c_int)) -> Result<()> {
    install(signal, SigHandler::Handler(handler))?;
    let mut set = SigSet::empty();
    set.add(signal);
    cvt(Call::RtSigprocmask, set.thread_unblock())
}

fn install(signal: Signal, handler: SigHandler) -> Result<()> {
    let action = SigAction::new(handler, SaFlags::SA_RESTART, SigSet::empty());
    // SAFETY: the handlers of this file are the only ones that come here. They make calls that
    // signal-safety(7) allows, on descriptors that are never closed (see `keep`), and restore `errno`.
    let old = unsafe { sigaction(signal, &action) };
    cvt(Call::RtSigaction, old).map(drop)
}

extern "C" fn on_stop(signal: libc::c_int) {
    let errno = Errno::last_raw();
    let now = Came::now(signal);
    let first = FIRST.compare_exchange(0, now.pack(), Relaxed, Relaxed).err().and_then(Came::unpack);
    let is_impatient = first.is_some_and(|first| now.at_ms.saturating_sub(first.at_ms) >= IMPATIENT_MS);
    if signal == libc::SIGINT && is_impatient {
        end_by(signal);
    }
    Errno::set_raw(errno);
    write_one(STOP.load(Relaxed), &[0]);
}

/// Let this process end of the signal that is being handled, as if there had been no handler. The signal is blocked
/// while its handler runs: it takes effect when the handler returns.
fn end_by(signal: libc::c_int) {
    // SAFETY: signal(2) takes a number and SIG_DFL, which is no pointer to code, and touches no memory of ours. A handler
    // may call it: signal-safety(7) lists it.
    unsafe { libc::signal(signal, libc::SIG_DFL) };
    // SAFETY: raise(3) takes a number and touches no memory of ours. A handler may call it: signal-safety(7) lists it.
    unsafe { libc::raise(signal) };
}

extern "C" fn on_child(_: libc::c_int) {
    let fd = CHILDREN.get().map_or(-1, |event| event.as_fd().as_raw_fd());
    write_one(fd, &1u64.to_ne_bytes());
}

extern "C" fn on_hang_up(signal: libc::c_int) {
    HUNG_UP.store(signal, Relaxed);
    let errno = Errno::last_raw();
    let socket = CONNECTION.load(Relaxed);
    if socket >= 0 {
        count_in_handler(Call::Shutdown);
        // SAFETY: shutdown takes numbers only; one that is no socket gets an error, which is ignored.
        unsafe { libc::shutdown(socket, libc::SHUT_RD) };
    }
    let listener = LISTENER.load(Relaxed);
    if let Some(no_socket) = CHILDREN.get().filter(|_| listener >= 0) {
        count_in_handler(Call::Dup2);
        // SAFETY: dup2 takes numbers only, and signal-safety(7) lists it. Whoever owns `listener` finds an open descriptor under its
        // number afterwards, too.
        unsafe { libc::dup2(no_socket.as_fd().as_raw_fd(), listener) };
    }
    Errno::set_raw(errno);
}

fn write_one(fd: RawFd, bytes: &[u8]) {
    let errno = Errno::last_raw();
    count_in_handler(Call::Write);
    // SAFETY: the pointer and the length are those of one live slice. A full pipe or a missing
    // descriptor gives an error, which is ignored: what matters is that a full pipe is readable. A pipe that does not block is
    // never interrupted (EINTR).
    unsafe { libc::write(fd, bytes.as_ptr().cast(), bytes.len()) };
    Errno::set_raw(errno);
}

/// Give a handler a descriptor, for the life of the process: a handler may run at any time, in any
/// thread, so no descriptor that one has known is ever closed.
fn keep(place: &AtomicI32, fd: OwnedFd) {
    place.store(fd.into_raw_fd(), Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_word_holds_a_signal_and_its_time() {
        assert_eq!(Came::unpack(0), None);
        for (number, at_ms) in [(2, 0), (15, 1), (64, 1 << 55)] {
            let came = Came { number, at_ms };
            assert_eq!(Came::unpack(came.pack()), Some(came));
        }
        assert_eq!(Came { number: 15, at_ms: 700 }.signal(), Some(Signal::SIGTERM));
        let now = Came::now(libc::SIGINT);
        assert!(now.at_ms > 0 && now.signal() == Some(Signal::SIGINT), "{now:?}");
    }
}
