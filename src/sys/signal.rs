//! Signals as descriptors: sigaction(2) with handlers that do one thing. Over
//! `nix::sys::signal`.
//!
//! A handler may run between any two instructions, so it may call only what signal-safety(7) lists.
//! Ours make one call each, write(2) or shutdown(2), note which signal it was, and leave `errno` as it
//! was. Everything else happens in the loop that sees the descriptor become readable (the "self-pipe
//! trick").
//!
//! All handlers are installed with `SA_RESTART`. What signal(7) lists as never restarted (select,
//! poll, epoll_wait) is restarted by `sys::retry_wait`.
//!
//! A signal that gets a handler here is unblocked as well: the mask survives execve(2), so whoever started this
//! process may have blocked it.

use super::{Call, calls::count, cvt, eventfd::EventFd, fcntl::duplicate};
use crate::Result;
use nix::errno::Errno;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, sigaction};
use nix::time::{ClockId, clock_gettime};
use std::os::fd::{BorrowedFd, IntoRawFd, OwnedFd};
use std::ptr;
use std::sync::atomic::{AtomicI32, AtomicI64, Ordering::Relaxed};

pub use nix::sys::signal::Signal;

/// What the handlers write to or shut down: -1 while there is none.
static STOP: AtomicI32 = AtomicI32::new(-1);
static CHILDREN: AtomicI32 = AtomicI32::new(-1);
static CONNECTION: AtomicI32 = AtomicI32::new(-1);

/// What came: 0 while nothing has.
static FIRST: AtomicI32 = AtomicI32::new(0);
/// When it came, in milliseconds of the monotonic clock.
static FIRST_AT_MS: AtomicI64 = AtomicI64::new(0);
static HUNG_UP: AtomicI32 = AtomicI32::new(0);

/// A SIGINT this long after the first signal, or later, ends the process. One that comes sooner is the same Ctrl-C: the
/// terminal sends it to every process in the foreground, and some of these (timeout(1), cargo) pass it to their children.
const IMPATIENT_MS: i64 = 500;

/// From now on each of `signals` writes a byte to `pipe` instead of ending the process, and [`first`]
/// tells which came. `pipe` should be non-blocking: when it is full, a reader has enough to know.
///
/// A second SIGINT (Ctrl-C), half a second or more after the first signal, ends the process at once: the user does not
/// want to wait for an orderly end.
///
/// The pipe of an earlier call is no longer written to.
///
/// # Errors
///
/// `EINVAL` for SIGKILL and SIGSTOP.
#[doc(alias = "sigaction")]
pub fn write_to(pipe: OwnedFd, signals: &[Signal]) -> Result<()> {
    keep(&STOP, pipe);
    signals.iter().try_for_each(|&signal| handle(signal, on_stop))
}

/// A descriptor that becomes readable when a child of this process has ended, or stopped. The one of
/// an earlier call is no longer told.
///
/// # Errors
///
/// As [`EventFd::new`].
#[doc(alias = "SIGCHLD")]
pub fn children() -> Result<EventFd> {
    let event = EventFd::new()?;
    keep(&CHILDREN, duplicate(&event)?);
    handle(Signal::SIGCHLD, on_child)?;
    Ok(event)
}

/// From now on `signal` shuts the reading side of `socket` down: a recv(2) that waits for its peer
/// returns what has arrived, then end of stream.
///
/// For a process that blocks in recv(2) and could not see a descriptor become readable, and that has
/// this connection for the rest of its life: the handler keeps a copy of the socket.
///
/// # Errors
///
/// `EINVAL` for SIGKILL and SIGSTOP, `EMFILE`.
#[doc(alias = "SHUT_RD")]
pub fn shut_down(socket: BorrowedFd<'_>, signal: Signal) -> Result<()> {
    keep(&CONNECTION, duplicate(socket)?);
    handle(signal, on_hang_up)
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

/// The first signal of [`write_to`] that came, if one did.
#[must_use]
pub fn first() -> Option<Signal> {
    came(&FIRST)
}

/// The signal of [`shut_down`], if it came.
#[must_use]
pub fn hung_up() -> Option<Signal> {
    came(&HUNG_UP)
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

fn came(place: &AtomicI32) -> Option<Signal> {
    // 0, where none came, is no signal.
    Signal::try_from(place.load(Relaxed)).ok()
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
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC);
    let now_ms = now.map_or(0, |now| now.tv_sec() * 1000 + now.tv_nsec() / 1_000_000);
    if FIRST.compare_exchange(0, signal, Relaxed, Relaxed).is_ok() {
        FIRST_AT_MS.store(now_ms, Relaxed);
    } else if signal == libc::SIGINT && now_ms - FIRST_AT_MS.load(Relaxed) >= IMPATIENT_MS {
        end_by(signal);
    }
    Errno::set_raw(errno);
    write_one(&STOP, &[0]);
}

/// Let this process end of the signal that is being handled, as if there had been no handler. The signal is blocked
/// while its handler runs: it takes effect when the handler returns.
fn end_by(signal: libc::c_int) {
    // SAFETY: the default action runs no code of ours.
    unsafe { libc::signal(signal, libc::SIG_DFL) };
    // SAFETY: a number; signal-safety(7) lists the call.
    unsafe { libc::raise(signal) };
}

extern "C" fn on_child(_: libc::c_int) {
    write_one(&CHILDREN, &1u64.to_ne_bytes());
}

extern "C" fn on_hang_up(signal: libc::c_int) {
    HUNG_UP.store(signal, Relaxed);
    let errno = Errno::last_raw();
    count(Call::Shutdown);
    // SAFETY: shutdown takes numbers only; one that is no socket gets an error, which is ignored.
    unsafe { libc::shutdown(CONNECTION.load(Relaxed), libc::SHUT_RD) };
    Errno::set_raw(errno);
}

fn write_one(fd: &AtomicI32, bytes: &[u8]) {
    let errno = Errno::last_raw();
    count(Call::Write);
    // SAFETY: the pointer and the length are those of one live slice. A full pipe or a missing
    // descriptor gives an error, which is ignored: what matters is that a full pipe is readable.
    unsafe { libc::write(fd.load(Relaxed), bytes.as_ptr().cast(), bytes.len()) };
    Errno::set_raw(errno);
}

/// Give a handler a descriptor, for the life of the process: a handler may run at any time, in any
/// thread, so no descriptor that one has known is ever closed.
fn keep(place: &AtomicI32, fd: OwnedFd) {
    place.store(fd.into_raw_fd(), Relaxed);
}
