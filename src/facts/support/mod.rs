//! What experiments share: masks, waits with a bound, sockets in a known state, threads and processes that are
//! known to be asleep.
//!
//! Nothing here sleeps to let something happen. A state is waited for until [`bound`]; that nothing happens
//! is shown by something else happening after it ([`Fence`]), or by a waiter's own time limit.

mod masks;
mod process;
mod sockets;
mod waiter;

pub(super) use super::check::*;
pub(super) use super::found::Why;
pub(super) use super::{Fact, Gap, Release, Since};
pub(super) use crate::sys::Errno;
pub(super) use crate::sys::raw::{self, Action, Address, At, Mask, Nowhere, Reply, Sets, bit, no};
pub(super) use std::time::{Duration, Instant};

pub use masks::Wait;
pub(super) use masks::*;
pub(super) use process::*;
pub(super) use sockets::*;
pub(super) use waiter::*;

use super::kernel::Kernel;
use crate::sys::limits::Nofile;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

/// The kernel of an experiment. Its threads and children have the same one.
pub(super) type K = &'static dyn Kernel;

/// How long something that should happen may take, under whatever load this machine has: a third of what the experiment may
/// take in all, which is 5 s unless the user says otherwise.
pub(super) fn bound() -> Duration {
    Duration::from_millis(BOUND_MS.load(Ordering::SeqCst))
}

/// [`bound`] in milliseconds.
pub(super) fn bound_ms() -> i32 {
    ms(bound())
}

/// [`bound`] for what the kernel itself takes a second or more for, as to send something again: 5 s at least.
pub(super) fn kernel_time() -> Duration {
    bound().max(Duration::from_secs(5))
}

/// A time as poll and epoll_wait want it.
pub(super) fn ms(time: Duration) -> i32 {
    i32::try_from(time.as_millis()).unwrap_or(i32::MAX)
}

/// Before the experiment begins.
pub(super) fn set_bound(ms: u64) {
    BOUND_MS.store(ms, Ordering::SeqCst);
}

static BOUND_MS: AtomicU64 = AtomicU64::new(5000);

/// Ask again and again until there is an answer that the experiment needs, and is not about. `what` is a statement
/// that should come true; if it does not, the experiment cannot be made.
pub(super) fn until<T>(what: &str, mut ask: impl FnMut() -> Reply<Option<T>>) -> Held<T> {
    match asked(&mut ask)? {
        Some(answer) => Ok(answer),
        None => skip(Why::Setup, format!("{what}: not so after {} s", bound().as_secs())),
    }
}

/// Ask again and again until it is so: the kernel should bring it about by itself. `what` is a statement.
pub(super) fn comes_true(what: &str, mut ask: impl FnMut() -> Reply<bool>) -> Held {
    let came = asked(&mut || Ok(ask()?.then_some(())))?.is_some();
    holds(what, came, format!("not so after {} s", bound().as_secs()))
}

/// The first answer within [`bound`].
fn asked<T>(ask: &mut impl FnMut() -> Reply<Option<T>>) -> Reply<Option<T>> {
    let deadline = Instant::now() + bound();
    loop {
        match ask()? {
            None if Instant::now() <= deadline => between_looks(),
            answer => return Ok(answer),
        }
    }
}

/// Leave the processor to what is waited for, for a moment, before looking again.
pub(super) fn between_looks() {
    std::thread::sleep(Duration::from_micros(50));
}

/// A pipe with nothing in it: the reading end, the writing end.
pub(super) fn pipe(k: K) -> Reply<(i32, i32)> {
    let [reader, writer] = k.pipe2(libc::O_CLOEXEC)?;
    Ok((reader, writer))
}

/// Have room for descriptors up to and including number `highest`, or skip the experiment.
pub(super) fn room_for_descriptor(highest: u64) -> Held {
    let nofile = Nofile::current().unwrap_or(Nofile { soft: 0, hard: 0 });
    if nofile.soft > highest {
        return Ok(());
    }
    if nofile.hard > highest && raw::limit_descriptors(highest + 1).is_ok() {
        return Ok(());
    }
    skip(Why::Limits, format!("it needs descriptor {highest}, and RLIMIT_NOFILE is {}", nofile.hard))
}

/// A real-time signal, which is blocked, can be queued; or skip the experiment: RLIMIT_SIGPENDING, of all processes of
/// the user, may be used up.
pub(super) fn can_queue(k: K, signal: i32) -> Held {
    match k.sigqueue(std::process::id().cast_signed(), signal, 0) {
        Err(refusal) if refusal.errno == Errno::EAGAIN => {
            skip(Why::Limits, "sigqueue gives EAGAIN: RLIMIT_SIGPENDING of this user is used up")
        }
        queued => {
            queued?;
            k.sigtimedwait(bit(signal), 0)?;
            Ok(())
        }
    }
}

/// A line of a file below /proc, after its name: `line_of("/proc/self/status", "FDSize:")`.
pub(super) fn line_of(file: &str, name: &str) -> Held<String> {
    let Ok(text) = std::fs::read_to_string(file) else {
        return skip(Why::Oracle, format!("{file} cannot be read here"));
    };
    match text.lines().find_map(|line| line.strip_prefix(name)) {
        Some(rest) => Ok(rest.trim().to_owned()),
        None => skip(Why::Oracle, format!("{file} has no line {name:?} here")),
    }
}

/// The number that a file below /proc consists of.
pub(super) fn number_of(file: &str) -> Held<i64> {
    let text = std::fs::read_to_string(file).ok();
    match text.and_then(|text| text.trim().parse().ok()) {
        Some(number) => Ok(number),
        None => skip(Why::Oracle, format!("{file} cannot be read here, or is no number")),
    }
}

/// This host lets `n` connections wait at a listener: net.core.somaxconn.
pub(super) fn needs_somaxconn(n: i64) -> Held {
    match number_of("/proc/sys/net/core/somaxconn") {
        Ok(most) => needs(Why::Setting, format!("net.core.somaxconn is at least {n}"), most >= n, most),
        Err(_) => Ok(()),
    }
}

/// A path for a file or a FIFO of this experiment; what is there is removed when this is dropped.
#[derive(Debug)]
pub(super) struct Scratch(String);

impl Scratch {
    pub(super) fn new() -> Scratch {
        // The time as well: in a namespace of its own every experiment is process 1.
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |time| time.as_nanos());
        let name = format!("io-models-fact-{}-{now}", std::process::id());
        // The first is always in memory; the other may be a file system with rules of its own, such as FUSE.
        let folders = ["/dev/shm".into(), std::env::temp_dir()];
        let writable = folders.iter().map(|folder| folder.join(&name)).find(|file| {
            let made = std::fs::File::create_new(file).is_ok();
            made && std::fs::remove_file(file).is_ok()
        });
        Scratch(writable.unwrap_or_else(|| folders[0].join(&name)).to_string_lossy().into_owned())
    }

    pub(super) fn path(&self) -> &str {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        std::fs::remove_file(&self.0).ok();
    }
}
