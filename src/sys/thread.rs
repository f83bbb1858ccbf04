//! Threads: pthread_create(3), over `std::thread`.

use super::{Call, calls};
use crate::error::{Error, Result};
use nix::errno::Errno;
use std::thread::{Builder, Scope, ScopedJoinHandle};

/// Stack of a thread, in bytes. Our loops are not deep, and their buffers are not on the stack; most of it is never touched,
/// and so costs address space only.
const STACK_BYTES: usize = 256 * 1024;

/// Start a thread that ends before `scope` does.
///
/// # Errors
///
/// `EAGAIN` at a limit on threads (`RLIMIT_NPROC`, `pids.max` of the control group, `kernel.threads-max`), `ENOMEM`.
#[doc(alias = "pthread_create")]
pub fn spawn_scoped<'scope, T: Send + 'scope>(
    scope: &'scope Scope<'scope, '_>,
    work: impl FnOnce() -> T + Send + 'scope,
) -> Result<ScopedJoinHandle<'scope, T>> {
    calls::count(Call::Clone3);
    Builder::new().stack_size(STACK_BYTES).spawn_scoped(scope, work).map_err(|why| {
        let source = Errno::from_raw(why.raw_os_error().unwrap_or(libc::EAGAIN));
        Error::Call { call: Call::Clone3, fd: None, source }
    })
}
