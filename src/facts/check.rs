//! What an experiment says on its way: it goes on, or it ends with what differs or why it was not made.

use super::Since;
use super::found::{Found, Record, Step, Why, tell};
use crate::sys::Errno;
use crate::sys::raw::{Refusal, Reply};
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// `Ok` for as long as the kernel does what it should; an experiment that comes to its end with it holds.
pub(super) type Held<T = ()> = Result<T, Not>;

/// Why an experiment, or one [`step`] of it, ended early.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Not {
    /// This is not as the claim says, or could not be made.
    Step(Step),
    /// Something that has been told already, by a child of the experiment.
    Told,
}

/// A call that only prepares the experiment failed: that is no difference, for nothing was looked at yet. What an
/// experiment is about is compared with [`is`].
impl From<Refusal> for Not {
    fn from(refusal: Refusal) -> Not {
        let Refusal { call, errno } = refusal;
        let (why, meaning) = match errno {
            Errno::ENOSYS => (Why::Missing, "this kernel does not have it, or a filter denies it"),
            Errno::EPERM | Errno::EACCES if MAY_BE_DENIED.contains(&call) => {
                (Why::Denied, "not permitted here")
            }
            Errno::EMFILE | Errno::ENFILE => (Why::Limits, "too few descriptors here for the experiment"),
            Errno::EFBIG => (Why::Limits, "RLIMIT_FSIZE does not allow it here"),
            Errno::ENOMEM | Errno::ENOSPC => (Why::Limits, "too little memory or room here"),
            Errno::EAFNOSUPPORT
            | Errno::EPROTONOSUPPORT
            | Errno::ESOCKTNOSUPPORT
            | Errno::ENOPROTOOPT
            | Errno::EOPNOTSUPP => (Why::Missing, "not supported here"),
            Errno::ENETUNREACH | Errno::EADDRNOTAVAIL | Errno::ENETDOWN => {
                (Why::Network, "there is no loopback network here")
            }
            Errno::EADDRINUSE if call == "bind" => {
                (Why::Setting, "no port of net.ipv4.ip_local_port_range is free")
            }
            Errno::ENOENT if call == "open" => (Why::Missing, "the file is not here"),
            Errno::EROFS => (Why::Denied, "nothing can be written to here"),
            _ => (Why::Setup, "it only prepares the experiment"),
        };
        Not::skipped(why, format!("{call} gives {errno:?}: {meaning}"))
    }
}

/// The calls that filters, containers and missing privilege are known to deny with EPERM or EACCES.
const MAY_BE_DENIED: &[&str] = &[
    "epoll_pwait2",
    "fcntl",
    "io_uring_setup",
    "kcmp",
    "memfd_create",
    "mkfifo",
    "open",
    "personality",
    "pidfd_open",
    "setsockopt",
    "socket",
    "unshare",
];

impl Not {
    fn skipped(why: Why, detail: impl Into<String>) -> Not {
        Not::Step(Step { what: String::new(), found: Found::Skipped { why, detail: detail.into() } })
    }

    /// Tell it.
    pub(super) fn told(self) {
        if let Not::Step(step) = self {
            tell_step(step);
        }
    }
}

/// The experiment, or this step of it, cannot be made here.
pub(super) fn skip<T>(why: Why, detail: impl Into<String>) -> Held<T> {
    Err(Not::skipped(why, detail))
}

/// What was looked at is not as the claim says.
pub(super) fn differs<T>(
    what: impl Into<String>,
    expected: impl Into<String>,
    observed: impl Into<String>,
) -> Held<T> {
    let found = Found::Differs { expected: expected.into(), observed: observed.into(), since: SCOPE.since() };
    Err(Not::Step(Step { what: what.into(), found }))
}

/// `observed` is exactly what was expected. `what` names it, as in "revents after the peer closed".
pub(super) fn is<T: Show + PartialEq>(what: impl fmt::Display, observed: T, expected: T) -> Held {
    if observed == expected {
        tell_step(Step { what: what.to_string(), found: Found::Holds });
        return Ok(());
    }
    differs(what.to_string(), expected.show(), observed.show())
}

/// `condition` is true; if not, `observed` tells what was there instead. `what` is a statement, as in
/// "the time left is below 5 s".
pub(super) fn holds(what: impl fmt::Display, condition: bool, observed: impl Show) -> Held {
    if condition {
        tell_step(Step { what: what.to_string(), found: Found::Holds });
        return Ok(());
    }
    differs(what.to_string(), "so", observed.show())
}

/// The experiment needs this, and is not about it.
pub(super) fn needs(why: Why, what: impl fmt::Display, condition: bool, observed: impl Show) -> Held {
    if condition { Ok(()) } else { skip(why, format!("it needs that {what}, and found {}", observed.show())) }
}

/// What was found is told, and the experiment goes on: what follows does not depend on it.
pub(super) fn noted(held: Held) {
    if let Err(not) = held {
        not.told();
    }
}

/// A part of an experiment that stands for itself: whatever it finds is told, and the experiment goes on. `what` comes
/// before the name of each thing that it looks at.
pub(super) fn step(what: impl fmt::Display, work: impl FnOnce() -> Held) {
    let before = SCOPE.enter(&what.to_string());
    noted(work());
    SCOPE.leave(before);
}

/// The same for a part that says what Linux does since a certain version.
pub(super) fn since(version: Since, work: impl FnOnce() -> Held) {
    let before = SCOPE.replace_since(version);
    noted(work());
    SCOPE.replace_since(before);
}

fn tell_step(Step { what, found }: Step) {
    tell(&Record::Step(Step { what: SCOPE.name(&what), found }));
}

/// Where in the experiment this process is.
pub(super) static SCOPE: Scope = Scope { what: Mutex::new(String::new()), since: Mutex::new(Since::ALWAYS) };

/// The parts of an experiment that have begun, and since when what they say is so.
#[derive(Debug)]
pub(super) struct Scope {
    what: Mutex<String>,
    since: Mutex<Since>,
}

impl Scope {
    /// Since when what follows is so; what was said before.
    pub(super) fn replace_since(&self, since: Since) -> Since {
        std::mem::replace(&mut self.since.lock().unwrap_or_else(PoisonError::into_inner), since)
    }

    fn since(&self) -> Since {
        *self.since.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A part begins; what there was before it.
    pub(super) fn enter(&self, part: &str) -> String {
        let mut what = self.what.lock().unwrap_or_else(PoisonError::into_inner);
        let inner = if what.is_empty() { part.to_owned() } else { format!("{what}: {part}") };
        std::mem::replace(&mut what, inner)
    }

    fn leave(&self, before: String) {
        *self.what.lock().unwrap_or_else(PoisonError::into_inner) = before;
    }

    fn name(&self, what: &str) -> String {
        let part = self.what.lock().unwrap_or_else(PoisonError::into_inner);
        match (part.is_empty(), what.is_empty()) {
            (true, _) => what.to_owned(),
            (false, true) => part.clone(),
            (false, false) => format!("{part}: {what}"),
        }
    }
}

/// In words, for the report.
pub(super) trait Show {
    fn show(&self) -> String;
}

impl Show for () {
    fn show(&self) -> String {
        "success".to_owned()
    }
}

impl Show for Duration {
    fn show(&self) -> String {
        format!("{} ms", self.as_micros() as f64 / 1000.0)
    }
}

impl<T: Show> Show for Reply<T> {
    fn show(&self) -> String {
        match self {
            Ok(value) => value.show(),
            Err(refusal) => format!("{:?}", refusal.errno),
        }
    }
}

impl<T: Show> Show for Option<T> {
    fn show(&self) -> String {
        self.as_ref().map_or_else(|| "none".to_owned(), Show::show)
    }
}

impl<T: Show + ?Sized> Show for &T {
    fn show(&self) -> String {
        (**self).show()
    }
}

impl<T: Show> Show for [T] {
    fn show(&self) -> String {
        format!("[{}]", self.iter().map(Show::show).collect::<Vec<_>>().join(", "))
    }
}

impl<T: Show> Show for Vec<T> {
    fn show(&self) -> String {
        self.as_slice().show()
    }
}

impl<T: Show, const N: usize> Show for [T; N] {
    fn show(&self) -> String {
        self.as_slice().show()
    }
}

impl<A: Show, B: Show> Show for (A, B) {
    fn show(&self) -> String {
        format!("({}, {})", self.0.show(), self.1.show())
    }
}

impl<A: Show, B: Show, C: Show> Show for (A, B, C) {
    fn show(&self) -> String {
        format!("({}, {}, {})", self.0.show(), self.1.show(), self.2.show())
    }
}

impl<A: Show, B: Show, C: Show, D: Show> Show for (A, B, C, D) {
    fn show(&self) -> String {
        format!("({}, {}, {}, {})", self.0.show(), self.1.show(), self.2.show(), self.3.show())
    }
}

macro_rules! show_as_displayed {
    ($($type:ty),*) => { $(impl Show for $type { fn show(&self) -> String { self.to_string() } })* };
}
show_as_displayed!(bool, u8, i16, u16, i32, u32, i64, u64, usize, str, String, fmt::Arguments<'_>);

impl Show for Errno {
    fn show(&self) -> String {
        match self {
            // What 0 is in nix, as SO_ERROR without an error.
            Errno::UnknownErrno => "no error".to_owned(),
            errno => format!("{errno:?}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::raw::no;

    #[test]
    fn a_difference_names_what_was_looked_at() {
        let Err(Not::Step(step)) = is("recv", no::<usize>(Errno::EPIPE), Ok(4)) else {
            panic!("4 bytes are not EPIPE")
        };
        let (expected, observed) = ("4".to_owned(), "EPIPE".to_owned());
        let found = Found::Differs { expected, observed, since: Since::ALWAYS };
        assert_eq!(step, Step { what: "recv".to_owned(), found });
    }

    #[test]
    fn a_call_of_the_set_up_that_fails_is_no_difference() {
        for (call, errno, reason) in [
            ("epoll_pwait2", Errno::ENOSYS, Why::Missing),
            ("epoll_pwait2", Errno::EPERM, Why::Denied),
            ("epoll_ctl", Errno::EPERM, Why::Setup),
            ("open", Errno::ENOENT, Why::Missing),
            ("pipe2", Errno::EMFILE, Why::Limits),
            ("pipe2", Errno::EINVAL, Why::Setup),
        ] {
            let Not::Step(step) = Not::from(Refusal { call, errno }) else {
                panic!("{call} is told nowhere")
            };
            assert!(
                matches!(step.found, Found::Skipped { why, .. } if why == reason),
                "{call} {errno}: {step:?}"
            );
        }
    }
}
