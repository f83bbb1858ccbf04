//! What a process inherits from its parent, and how we handle it.
//!
//! execve(2) keeps the signal mask, the signals that are ignored, the open descriptors with their flags, the limits and
//! the file mode mask. Some supervisors, language runtimes and shells leave these in an unusual state. Every program of
//! this package calls [`prepare`] first:
//!
//! | inherited | what happens here |
//! |---|---|
//! | blocked signals | none is blocked afterwards: a blocked SIGTERM would make a server deaf, a blocked SIGCHLD would leave a zombie for each client of `fork` |
//! | SIGCHLD ignored | back to the default: the kernel would collect our children before we do |
//! | SIGHUP ignored | stays ignored: that is what nohup(1) asks for |
//! | SIGINT ignored | stays ignored, as in shells: a script starts its background jobs so, and its Ctrl-C is not meant for them ([`stop_on_signals`](crate::stop::Stopper::stop_on_signals)) |
//! | SIGTERM ignored | is caught where a program stops in order: nobody sends it by accident |
//! | SIGPIPE | ignored: `std` does it. A reader that has gone is `EPIPE` |
//! | `RLIMIT_FSIZE` | SIGXFSZ is ignored: a file that grows beyond the limit is `EFBIG`, which can be told |
//! | descriptors 0 to 2 closed | opened on /dev/null: `std` does it before `main`. So no socket gets these numbers |
//! | `O_NONBLOCK` on the standard streams | stays: it is shared with other processes. Reads and writes wait ([`sys::stdio`](crate::sys::stdio)) |
//! | the soft limit on descriptors | servers and the load generator raise it ([`Nofile::raise`](crate::sys::limits::Nofile::raise)) |
//! | the file mode mask | stays: it says how files are to be protected. A file that is written stays open until it is complete |

use crate::sys::signal::{self, Signal};
use std::path::PathBuf;

/// Put what was inherited in order. Call it first in `main`, while there is one thread.
///
/// What cannot be changed, under a seccomp filter for example, stays as it is: a program that works in part is better
/// than none.
pub fn prepare() {
    if signal::is_ignored(Signal::SIGCHLD).unwrap_or(true) {
        signal::default(Signal::SIGCHLD).ok();
    }
    signal::ignore(Signal::SIGXFSZ).ok();
    // Last: a signal that was pending arrives now.
    signal::unblock_all().ok();
}

/// The path of this program, to start it again: the link in /proc, which is this program even after another was installed
/// in its place. Without /proc it is the name by which it was started.
#[must_use]
pub fn this_program() -> PathBuf {
    let link = PathBuf::from("/proc/self/exe");
    if link.exists() { link } else { std::env::args_os().next().map_or(link, PathBuf::from) }
}
