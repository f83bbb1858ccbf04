//! Linux network I/O models, side by side: the system calls that they are made of, thin and safe.
#![deny(unsafe_code)]
#![deny(clippy::unwrap_used)]

#[cfg(not(target_os = "linux"))]
compile_error!("io-models is about Linux: epoll, eventfd and /proc/PID/task exist nowhere else");

#[cfg(not(target_pointer_width = "64"))]
compile_error!("io-models needs a 64-bit Linux: the kernel's timespec differs from libc's elsewhere");

pub mod initserver;
pub mod echo;
pub mod serve;
pub mod stop;
pub mod model;
pub mod error;
#[expect(unsafe_code, reason = "the only place that calls the kernel")]
pub mod sys;

pub use error::{Error, Result};
