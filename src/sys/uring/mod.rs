//! io_uring(7): operations are queued in memory that is shared with the kernel, and so are their results. It uses the io-uring crate.
//!
//! - [`Ring`] is the two queues, io_uring_enter(2), and the slots of sockets.
//! - [`Lease`] is a received piece in a buffer of the ring, which can be read, sent from, and given back.
//! - The operations are methods of the ring: accept, receive, send, poll, cancel, close.
//!
//! An operation that the kernel works on uses memory of ours. So that no safe call can take that memory away, the ring owns it: the
//! buffers that it receives into, and what it sends, until the completion hands it back.

mod buffers;
mod operations;
mod ring;

pub use buffers::{Lease, Plan};
pub use operations::{Manner, Piece, Socket};
pub use ring::{Completion, Event, Ring, Setup};

use super::limits::{Resource, soft};
use super::{Call, Errno, calls};
use crate::error::{Error, Result};
use std::io;

/// Why a [`Ring`] cannot be used here, in words; `None` when it can.
///
/// Kernels may lack io_uring (before 5.1) or what a ring needs of it (before 6.1), the system may forbid it
/// (`kernel.io_uring_disabled`), containers usually do (seccomp), and the limit on locked memory may be too low. To learn it, a ring is
/// made and used, with all three system calls.
#[must_use]
pub fn unavailable() -> Option<String> {
    let why = Ring::new(Setup { slots: 1, ..Setup::default() }).err()?;
    Some(match why.errno() {
        Some(Errno::ENOSYS) => format!("this kernel has no io_uring, or a seccomp filter hides it ({why})"),
        Some(Errno::EPERM | Errno::EACCES) => {
            format!("io_uring is forbidden: sysctl kernel.io_uring_disabled, or a seccomp filter ({why})")
        }
        Some(Errno::EINVAL) => format!("io_uring of this kernel is older than Linux 6.1 ({why})"),
        Some(Errno::ENOMEM) => {
            let limit = soft(Resource::RLIMIT_MEMLOCK)
                .map_or_else(|| "unknown".to_owned(), |bytes| format!("{bytes} bytes"));
            format!("{why}; the limit on locked memory is {limit}: raise `ulimit -l`")
        }
        _ => why.to_string(),
    })
}

fn cvt_io<T>(call: Call, result: io::Result<T>) -> Result<T> {
    calls::count(call);
    result.map_err(|why| {
        let source = Errno::from_raw(why.raw_os_error().unwrap_or(libc::EINVAL));
        Error::Call { call, fd: None, source }
    })
}

#[cfg(test)]
mod tests;
