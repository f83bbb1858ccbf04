//! What an experiment says on its way: it goes on, or it ends with what differs or why it was not made.

use super::Outcome;
use crate::sys::Errno;
use crate::sys::raw::{Refusal, Reply};
use std::fmt;
use std::time::Duration;

/// `Ok` for as long as the kernel does what it should; an experiment that comes to its end with it holds.
pub(super) type Held<T = ()> = Result<T, Not>;

/// Why an experiment ended early.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Not {
    /// The kernel did something else.
    Differs { expected: String, observed: String },
    /// The experiment cannot be made here.
    Skipped { why: String },
}

impl From<Held> for Outcome {
    fn from(held: Held) -> Outcome {
        match held {
            Ok(()) => Outcome::Holds,
            Err(Not::Differs { expected, observed }) => Outcome::Differs { expected, observed },
            Err(Not::Skipped { why }) => Outcome::Skipped { why },
        }
    }
}

/// A call that the experiment needs, and that is not what it is about, failed. What is missing or not
/// allowed here makes the experiment impossible; anything else is a difference.
impl From<Refusal> for Not {
    fn from(refusal: Refusal) -> Not {
        let Refusal { call, errno } = refusal;
        let why = match errno {
            Errno::ENOSYS => "this kernel does not have it, or a filter denies it",
            Errno::EPERM | Errno::EACCES => "not permitted here",
            Errno::EMFILE | Errno::ENFILE => "too few descriptors here for the experiment",
            Errno::EAFNOSUPPORT
            | Errno::EPROTONOSUPPORT
            | Errno::ESOCKTNOSUPPORT
            | Errno::ENOPROTOOPT
            | Errno::EOPNOTSUPP => "not supported here",
            Errno::ENETUNREACH | Errno::EADDRNOTAVAIL | Errno::ENETDOWN => {
                "there is no loopback network here"
            }
            Errno::ENOMEM | Errno::ENOSPC => "too little memory or room here",
            Errno::EROFS => "nothing can be written to here",
            _ => {
                return Not::Differs {
                    expected: format!("{call} succeeds"),
                    observed: format!("{call}: {errno:?}"),
                };
            }
        };
        Not::Skipped { why: format!("{call} gives {errno:?}: {why}") }
    }
}

/// The experiment cannot be made here.
pub(super) fn skip<T>(why: impl Into<String>) -> Held<T> {
    Err(Not::Skipped { why: why.into() })
}

/// It differs.
pub(super) fn differs<T>(expected: impl Into<String>, observed: impl Into<String>) -> Held<T> {
    Err(Not::Differs { expected: expected.into(), observed: observed.into() })
}

/// `observed` is exactly what was expected. `what` names it, as in "revents after the peer closed".
pub(super) fn is<T: Show + PartialEq>(what: impl fmt::Display, observed: T, expected: T) -> Held {
    if observed == expected {
        return Ok(());
    }
    differs(format!("{what}: {}", expected.show()), format!("{what}: {}", observed.show()))
}

/// `condition` is true; if not, `observed` tells what was there instead. `what` is a statement, as in
/// "the time left is below 5 s".
pub(super) fn holds(what: impl fmt::Display, condition: bool, observed: impl Show) -> Held {
    if condition { Ok(()) } else { differs(what.to_string(), observed.show()) }
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
    fn a_difference_names_what_was_looked_at_on_both_sides() {
        assert_eq!(is("bytes", 3usize, 3), Ok(()));
        let Err(Not::Differs { expected, observed }) = is("recv", no::<usize>(Errno::EPIPE), Ok(4)) else {
            panic!("4 bytes are not EPIPE")
        };
        assert_eq!((expected.as_str(), observed.as_str()), ("recv: 4", "recv: EPIPE"));
    }

    #[test]
    fn what_is_missing_or_forbidden_is_no_difference() {
        for errno in [Errno::ENOSYS, Errno::EPERM, Errno::EMFILE] {
            assert!(
                matches!(Not::from(Refusal { call: "epoll_pwait2", errno }), Not::Skipped { .. }),
                "{errno}"
            );
        }
        let broken = Not::from(Refusal { call: "pipe2", errno: Errno::EINVAL });
        assert!(matches!(broken, Not::Differs { .. }), "{broken:?}");
    }
}
