//! Parents that leave a process in an unusual state.

use io_models::sys::fcntl::set_nonblocking;
use io_models::sys::poll::{PollFlags, wait_for};
use io_models::sys::signal::{self, Signal};
use nix::sys::signal::SigSet;
use std::io::{self, PipeReader, PipeWriter};
use std::time::Duration;

/// Do `start` with these signals blocked: what it starts inherits that.
pub(crate) fn blocked<T>(signals: &[Signal], start: impl FnOnce() -> T) -> T {
    let set: SigSet = signals.iter().copied().collect();
    let before =
        set.thread_swap_mask(nix::sys::signal::SigmaskHow::SIG_BLOCK).expect("the mask of this thread");
    let started = start();
    before.thread_set_mask().expect("the mask of this thread");
    started
}

/// A shell that was told to run the tests in the background has them ignore SIGINT, and so would what they start.
pub(crate) fn in_the_foreground() {
    signal::default(Signal::SIGINT).expect("what SIGINT does");
}

/// A pipe of which the writing end is non-blocking, for all who have it.
pub(crate) fn nonblocking_pipe() -> (PipeReader, PipeWriter) {
    let (reader, writer) = io::pipe().expect("a pipe");
    set_nonblocking(&writer).expect("the flags of a pipe");
    (reader, writer)
}

/// Whether nothing more fits the pipe.
pub(crate) fn is_full(writer: &PipeWriter) -> bool {
    !wait_for(writer, PollFlags::POLLOUT, Some(Duration::ZERO)).expect("poll of a pipe")
}
