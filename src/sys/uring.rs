//! io_uring(7): for now, whether this kernel lets us use it. Over the io-uring crate.

use super::{Call, calls};
use io_uring::IoUring;

/// Why io_uring cannot be used here, in words; `None` when it can.
///
/// Kernels may lack it (before 5.1), forbid it (`kernel.io_uring_disabled`), and containers
/// usually do (seccomp).
#[must_use]
pub fn unavailable() -> Option<String> {
    calls::count(Call::IoUringSetup);
    match IoUring::new(2) {
        Ok(_ring) => None,
        Err(why) => Some(match why.raw_os_error() {
            Some(libc::ENOSYS) => "this kernel has no io_uring, or a seccomp filter hides it".into(),
            Some(libc::EPERM) => {
                "io_uring is forbidden: sysctl kernel.io_uring_disabled, or a seccomp filter".into()
            }
            _ => format!("io_uring_setup: {why}"),
        }),
    }
}
