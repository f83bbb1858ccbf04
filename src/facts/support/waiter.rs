//! Threads that are known to be asleep in a call.

use super::{Duration, Held, Instant, Why, bound, differs, needs, raw, skip};
use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};

/// A call to be asleep in, by the numbers of the system calls that implement it here or under an emulator.
#[derive(Debug, Clone, Copy)]
pub(in crate::facts) struct In(pub(in crate::facts) &'static [libc::c_long]);

/// Architectures that have the older calls: their C library makes these.
#[cfg(any(target_arch = "x86_64", target_arch = "s390x"))]
mod calls {
    use super::In;
    pub(in crate::facts) const SELECT: In = In(&[libc::SYS_select, libc::SYS_pselect6]);
    pub(in crate::facts) const POLL: In = In(&[libc::SYS_poll, libc::SYS_ppoll]);
    pub(in crate::facts) const EPOLL: In =
        In(&[libc::SYS_epoll_wait, libc::SYS_epoll_pwait, libc::SYS_epoll_pwait2]);
    pub(in crate::facts) const PAUSE: In = In(&[libc::SYS_pause, libc::SYS_ppoll]);
    pub(in crate::facts) const OPEN: In = In(&[libc::SYS_open, libc::SYS_openat]);
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "s390x")))]
mod calls {
    use super::In;
    pub(in crate::facts) const SELECT: In = In(&[libc::SYS_pselect6]);
    pub(in crate::facts) const POLL: In = In(&[libc::SYS_ppoll]);
    pub(in crate::facts) const EPOLL: In = In(&[libc::SYS_epoll_pwait, libc::SYS_epoll_pwait2]);
    pub(in crate::facts) const PAUSE: In = In(&[libc::SYS_ppoll]);
    pub(in crate::facts) const OPEN: In = In(&[libc::SYS_openat]);
}

#[cfg(not(target_arch = "s390x"))]
mod socket_calls {
    use super::In;
    pub(in crate::facts) const RECV: In = In(&[libc::SYS_recvfrom, libc::SYS_recvmsg]);
    pub(in crate::facts) const SEND: In = In(&[libc::SYS_sendto, libc::SYS_sendmsg]);
    pub(in crate::facts) const ACCEPT: In = In(&[libc::SYS_accept, libc::SYS_accept4]);
    pub(in crate::facts) const CONNECT: In = In(&[libc::SYS_connect]);
}

/// Here the C library makes socketcall(2) of all of them, and there is no system call accept.
#[cfg(target_arch = "s390x")]
mod socket_calls {
    use super::In;
    pub(in crate::facts) const RECV: In = In(&[libc::SYS_recvfrom, libc::SYS_recvmsg, libc::SYS_socketcall]);
    pub(in crate::facts) const SEND: In = In(&[libc::SYS_sendto, libc::SYS_sendmsg, libc::SYS_socketcall]);
    pub(in crate::facts) const ACCEPT: In = In(&[libc::SYS_accept4, libc::SYS_socketcall]);
    pub(in crate::facts) const CONNECT: In = In(&[libc::SYS_connect, libc::SYS_socketcall]);
}

pub(in crate::facts) use calls::*;
pub(in crate::facts) use socket_calls::*;
pub(in crate::facts) const READ: In = In(&[libc::SYS_read]);
pub(in crate::facts) const WRITE: In = In(&[libc::SYS_write]);
pub(in crate::facts) const WAIT4: In = In(&[libc::SYS_wait4]);
pub(in crate::facts) const NANOSLEEP: In = In(&[libc::SYS_nanosleep, libc::SYS_clock_nanosleep]);
pub(in crate::facts) const SIGTIMEDWAIT: In = In(&[libc::SYS_rt_sigtimedwait]);
pub(in crate::facts) const IO_URING_ENTER: In = In(&[libc::SYS_io_uring_enter]);

/// A thread that makes one call, in which it sleeps, and brings back what the call gave.
#[derive(Debug)]
pub(in crate::facts) struct Waiter<T> {
    /// The thread's number.
    pub(in crate::facts) thread: i32,
    call: In,
    result: Receiver<T>,
}

impl<T: Send + 'static> Waiter<T> {
    /// Start a thread that does `work`, and return when it is asleep in `call`.
    pub(in crate::facts) fn asleep(call: In, work: impl FnOnce() -> T + Send + 'static) -> Held<Waiter<T>> {
        sleep_is_told()?;
        let waiter = Waiter::started(call, work)?;
        let deadline = Instant::now() + bound();
        while !waiter.is_asleep() {
            if Instant::now() > deadline {
                let what = waiter.what_it_does();
                return match waiter.result.try_recv() {
                    Ok(_) => differs("a call waits", "it does", "it returned"),
                    Err(_) => skip(Why::Oracle, format!("a thread should be asleep in its call, and {what}")),
                };
            }
            super::between_looks();
        }
        Ok(waiter)
    }

    /// Start a thread that does `work`, and return when it is asleep in `call` or over: that it sleeps may be the claim.
    pub(in crate::facts) fn asleep_or_over(
        call: In,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Held<Waiter<T>> {
        sleep_is_told()?;
        let waiter = Waiter::started(call, work)?;
        super::until("a thread is asleep in its call, or over", || {
            Ok((waiter.is_asleep() || waiter.is_over()).then_some(()))
        })?;
        Ok(waiter)
    }

    /// Start a thread that does `work`, and do not wait for it to fall asleep.
    pub(in crate::facts) fn started(call: In, work: impl FnOnce() -> T + Send + 'static) -> Held<Waiter<T>> {
        let (send_thread, thread) = channel();
        let (send, result) = channel();
        let started = std::thread::Builder::new().spawn(move || {
            send_thread.send(raw::gettid()).ok();
            send.send(work()).ok();
        });
        match (started, thread.recv()) {
            (Ok(_), Ok(thread)) => Ok(Waiter { thread, call, result }),
            (Err(why), _) => skip(Why::Limits, format!("no thread can be started here: {why}")),
            (_, Err(_)) => skip(Why::Setup, "a new thread ended at once"),
        }
    }

    /// Whether the thread is asleep in its call now.
    pub(in crate::facts) fn is_asleep(&self) -> bool {
        asleep_in(&format!("/proc/self/task/{}", self.thread), self.call)
    }

    /// Whether the thread has ended.
    pub(in crate::facts) fn is_over(&self) -> bool {
        !std::fs::exists(format!("/proc/self/task/{}", self.thread)).unwrap_or(true)
    }

    /// What /proc says of it, for a report.
    fn what_it_does(&self) -> String {
        let read = |name| std::fs::read_to_string(format!("/proc/self/task/{}/{name}", self.thread));
        let state = read("stat").ok().and_then(|stat| state_of(&stat)).unwrap_or('?');
        let call = read("syscall").unwrap_or_else(|_| "unknown".to_owned());
        format!("its state is {state}, its call {}", call.trim())
    }

    /// What its call gave. It should have returned by now, or be about to.
    pub(in crate::facts) fn join(self) -> Held<T> {
        match self.result.recv_timeout(bound()) {
            Ok(result) => Ok(result),
            Err(RecvTimeoutError::Timeout) => {
                differs("a blocked call returns", "it does", format!("it did not; {}", self.what_it_does()))
            }
            Err(RecvTimeoutError::Disconnected) => {
                differs("a blocked call returns", "it does", "its thread panicked")
            }
        }
    }

    /// Its call does not return for so long, and the thread is asleep in it then; for how long it has slept at least.
    pub(in crate::facts) fn sleeps_on(&self, time: Duration) -> Held<Duration> {
        sleep_is_told()?;
        let since = Instant::now();
        if self.join_within(time).is_some() {
            return differs("a call waits", "it does", "it returned");
        }
        super::until("a thread is asleep in its call", || Ok(self.is_asleep().then_some(since.elapsed())))
    }

    /// What its call gave, if it returns within `limit`.
    pub(in crate::facts) fn join_within(&self, limit: Duration) -> Option<T> {
        self.result.recv_timeout(limit).ok()
    }
}

/// Without /proc nothing tells whether a thread or a process is asleep.
pub(in crate::facts) fn sleep_is_told() -> Held {
    needs(
        Why::Oracle,
        "there is /proc, which tells who sleeps",
        Path::new("/proc/self/stat").exists(),
        "none",
    )
}

/// Whether a thread (`/proc/self/task/TID`) or a process (`/proc/PID`) is asleep in `call`.
///
/// To read `syscall` the kernel waits until the thread is off its processor, so that this never sees one
/// that is about to fall asleep, or has just been woken. Where it is not readable, the state must do.
pub(in crate::facts) fn asleep_in(directory: &str, In(calls): In) -> bool {
    let Ok(stat) = std::fs::read_to_string(format!("{directory}/stat")) else { return false };
    if state_of(&stat) != Some('S') {
        return false;
    }
    match std::fs::read_to_string(format!("{directory}/syscall")) {
        Ok(syscall) => {
            let number = syscall.split_whitespace().next().and_then(|word| word.parse().ok());
            number.is_some_and(|number| calls.contains(&number))
        }
        Err(_) => true,
    }
}

/// The letter after the name, which may have spaces and brackets of its own: proc_pid_stat(5).
pub(in crate::facts) fn state_of(stat: &str) -> Option<char> {
    stat.rsplit_once(") ")?.1.chars().next()
}

/// The name of the call that a thread (`/proc/PID/task/TID`) sleeps in; `None` where it is awake, or is not told.
pub(in crate::facts) fn calls_of(directory: &str) -> Option<String> {
    let syscall = std::fs::read_to_string(format!("{directory}/syscall")).ok()?;
    let number: libc::c_long = syscall.split_whitespace().next()?.parse().ok()?;
    let known = NAMES.iter().find(|(_, In(numbers))| numbers.contains(&number));
    Some(known.map_or_else(|| format!("system call {number}"), |(name, _)| (*name).to_owned()))
}

/// The calls that an experiment may sleep in for ever.
const NAMES: &[(&str, In)] = &[
    ("select", SELECT),
    ("poll", POLL),
    ("epoll_wait", EPOLL),
    ("pause", PAUSE),
    ("open", OPEN),
    ("read", READ),
    ("write", WRITE),
    ("recv", RECV),
    ("send", SEND),
    ("accept", ACCEPT),
    ("connect", CONNECT),
    ("wait4", WAIT4),
    ("nanosleep", NANOSLEEP),
    ("sigtimedwait", SIGTIMEDWAIT),
    ("io_uring_enter", IO_URING_ENTER),
];
