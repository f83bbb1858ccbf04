//! This program was built without io_uring.

use super::super::Refusal;
use super::{Completion, Reply, Submission};
use crate::sys::Errno;
use libc::epoll_event;
use std::time::Duration;

/// Whether this program can use io_uring at all.
pub(crate) const HAS_URING: bool = false;

fn none<T>() -> Reply<T> {
    Err(Refusal { call: "io_uring_setup", errno: Errno::ENOSYS })
}

pub(crate) fn uring_setup(_entries: u32, _completions: u32, _flags: u32) -> Reply<i32> {
    none()
}

pub(crate) fn uring_eventfd(_ring: i32, _eventfd: i32) -> Reply<()> {
    none()
}

pub(crate) fn uring_buffers(_ring: i32, _n: u32, _size: u32) -> Reply<()> {
    none()
}

pub(crate) fn uring_submit(_ring: i32, _operations: &[Submission]) -> Reply<usize> {
    none()
}

pub(crate) fn uring_wait(_ring: i32, _want: usize, _limit: Option<Duration>) -> Reply<()> {
    none()
}

pub(crate) fn uring_next(_ring: i32) -> Reply<Option<Completion>> {
    none()
}

pub(crate) fn uring_keeps_overflow(_ring: i32) -> Reply<bool> {
    none()
}

pub(crate) fn uring_has_limits(_ring: i32) -> Reply<bool> {
    none()
}

pub(crate) fn uring_received(_ring: i32, _name: &str, _n: usize) -> Reply<Vec<u8>> {
    none()
}

pub(crate) fn uring_event(_ring: i32, _name: &str) -> Reply<epoll_event> {
    none()
}
