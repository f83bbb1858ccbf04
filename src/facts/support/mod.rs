//! What experiments share: masks, waits with a bound, sockets in a known state, threads and processes that are
//! known to be asleep.
//!
//! Nothing here sleeps to let something happen. A state is waited for until [`BOUND`]; that nothing happens
//! is shown by something else happening after it ([`Fence`]), or by a waiter's own time limit.

mod masks;
mod process;
mod sockets;
mod waiter;

pub(super) use super::check::*;
pub(super) use super::{Fact, Since};
pub(super) use crate::sys::Errno;
pub(super) use crate::sys::raw::{self, Action, Address, At, Mask, Nowhere, Reply, Sets, bit, no};
pub(super) use std::time::{Duration, Instant};

pub(super) use masks::*;
pub(super) use process::*;
pub(super) use sockets::*;
pub(super) use waiter::*;

use super::kernel::Kernel;
use crate::sys::limits::Nofile;
use std::time::SystemTime;

/// The kernel of an experiment. Its threads and children have the same one.
pub(super) type K = &'static dyn Kernel;

/// How long something that should happen may take, under whatever load this machine has.
pub(super) const BOUND: Duration = Duration::from_secs(5);
/// [`BOUND`] in milliseconds, as poll and epoll_wait want it.
pub(super) const BOUND_MS: i32 = 5000;

/// Ask again and again until there is an answer. `what` is a statement that should come true.
pub(super) fn bounded<T>(what: &str, mut ask: impl FnMut() -> Reply<Option<T>>) -> Held<T> {
    let deadline = Instant::now() + BOUND;
    loop {
        if let Some(answer) = ask()? {
            return Ok(answer);
        }
        if Instant::now() > deadline {
            return differs(what, format!("not so after {} s", BOUND.as_secs()));
        }
        between_looks();
    }
}

/// Leave the processor to what is waited for, for a moment, before looking again.
pub(super) fn between_looks() {
    std::thread::sleep(Duration::from_micros(50));
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
    skip(format!("it needs descriptor {highest}, and RLIMIT_NOFILE is {}", nofile.hard))
}

/// A line of a file below /proc, after its name: `line_of("/proc/self/status", "FDSize:")`.
pub(super) fn line_of(file: &str, name: &str) -> Held<String> {
    let Ok(text) = std::fs::read_to_string(file) else { return skip(format!("{file} cannot be read here")) };
    match text.lines().find_map(|line| line.strip_prefix(name)) {
        Some(rest) => Ok(rest.trim().to_owned()),
        None => skip(format!("{file} has no line {name:?} here")),
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
        // Containers may have nothing else that can be written to.
        let folders = [std::env::temp_dir(), "/dev/shm".into()];
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
