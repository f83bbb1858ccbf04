//! select: the sets, the rest of the time, what makes a descriptor ready, and signals.
//!
//! The system calls are made directly: glibc copies the timeout, and hides what the kernel writes there. Where
//! there is no system call select (arm64 and others have pselect6 alone), pselect6 does for both.

mod ready;
mod sets;
mod signals;
mod timeouts;

use crate::facts::support::*;
use libc::{timespec, timeval};
use std::fmt;

pub(super) const FACTS: &[&[Fact]] = &[timeouts::FACTS, sets::FACTS, ready::FACTS, signals::FACTS];

/// A time limit that no experiment reaches.
const LONG: Duration = Duration::from_secs(60);
/// A time to wait out.
const BRIEF: Duration = Duration::from_millis(20);

/// One of the system calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Call {
    Select,
    Pselect6,
}

/// Those that this architecture has.
const CALLS: &[Call] = if raw::HAS_SELECT { &[Call::Select, Call::Pselect6] } else { &[Call::Pselect6] };

/// Look at each of the calls, for itself.
fn each_call(work: impl Fn(Call) -> Held) -> Held {
    CALLS.iter().for_each(|&call| step(call, || work(call)));
    Ok(())
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Call::Select => "select",
            Call::Pselect6 => "pselect6",
        })
    }
}

impl Call {
    /// The call; `limit` is what it is afterwards. The timeout of select is in microseconds.
    fn call(self, k: K, nfds: i32, sets: Sets<'_>, limit: &mut Duration) -> Reply<usize> {
        let mut time = of_duration(*limit);
        let reply = match self {
            Call::Select => {
                let mut coarse = timeval { tv_sec: time.tv_sec, tv_usec: time.tv_nsec / 1000 };
                let reply = k.select(nfds, sets, Some(&mut coarse));
                time = timespec { tv_sec: coarse.tv_sec, tv_nsec: coarse.tv_usec * 1000 };
                reply
            }
            Call::Pselect6 => k.pselect6(nfds, sets, Some(&mut time), Mask::NONE),
        };
        *limit = to_duration(time);
        reply
    }

    /// The call without waiting: what it gave, and what it left in the sets.
    fn now<const N: usize>(self, k: K, nfds: i32, mut sets: Three<N>) -> (Reply<usize>, Three<N>) {
        let reply = self.call(k, nfds, sets.sets(), &mut { Duration::ZERO });
        (reply, sets)
    }

    /// What it says now of `fd`, which is in all three sets.
    fn all_of(self, k: K, fd: i32) -> (Reply<usize>, Three) {
        self.now(k, fd + 1, Three::of(&[fd], &[fd], &[fd]))
    }

    /// Wait until `fd` is readable: what the call gave, what it left of `limit`, how long it took.
    fn until_readable(self, k: K, fd: i32, limit: Duration) -> (Reply<usize>, Duration, Duration) {
        let (mut sets, mut left, started) = (Three::<1>::of(&[fd], &[], &[]), limit, Instant::now());
        let reply = self.call(k, fd + 1, sets.sets(), &mut left);
        (reply, left, started.elapsed())
    }
}

/// Three sets, each `N` words of 64 descriptors long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Three<const N: usize = 1> {
    read: [u64; N],
    write: [u64; N],
    except: [u64; N],
}

impl<const N: usize> Three<N> {
    fn of(read: &[i32], write: &[i32], except: &[i32]) -> Three<N> {
        Three { read: set_of(read), write: set_of(write), except: set_of(except) }
    }

    fn sets(&mut self) -> Sets<'_> {
        let [read, write, except] = [&mut self.read, &mut self.write, &mut self.except].map(At::from);
        Sets { read, write, except }
    }
}

impl<const N: usize> Show for Three<N> {
    fn show(&self) -> String {
        let numbers = |words: &[u64]| {
            let all = (0..64 * N as i32).filter(|&fd| in_set(words, fd));
            all.map(|fd| fd.to_string()).collect::<Vec<_>>().join(" ")
        };
        let [read, write, except] = [&self.read, &self.write, &self.except].map(|words| numbers(words));
        format!("read {{{read}}} write {{{write}}} except {{{except}}}")
    }
}

fn of_duration(limit: Duration) -> timespec {
    timespec { tv_sec: limit.as_secs().cast_signed(), tv_nsec: limit.subsec_nanos().into() }
}

fn to_duration(time: timespec) -> Duration {
    Duration::new(time.tv_sec.cast_unsigned(), time.tv_nsec as u32)
}

/// A pipe with a byte in it: the reading end, the writing end.
fn pipe_with_byte(k: K) -> Reply<[i32; 2]> {
    let ends = k.pipe2(libc::O_CLOEXEC)?;
    k.write(ends[1], b"!")?;
    Ok(ends)
}

/// `left` is what remains of `limit` after a call that slept for at least `slept` and took at most `took`. select rounds
/// the rest down to microseconds.
fn is_the_rest(limit: Duration, left: Duration, slept: Duration, took: Duration) -> Held {
    let gone = limit.saturating_sub(left);
    holds("more is gone from the timeout than the call slept at least", gone > slept, gone)?;
    let most = took + Duration::from_micros(1);
    let observed = format!("{} gone, and it took {}", gone.show(), took.show());
    holds("no more is gone from the timeout than the call took", gone <= most, observed)
}
