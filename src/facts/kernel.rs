//! The calls that facts are about, as a table that can be replaced row by row.
//!
//! [`Linux`] takes each row as it is: the call of [`raw`]. A wrong kernel ([`mutants`](super::mutants))
//! overrides one, and may use the others to do it. What experiments only need to set themselves up (fork, a
//! new namespace, a limit) is not here: nothing would be learned from getting it wrong.

use super::hook::{Again, Hook};
use crate::sys::raw::{
    self, Action, Address, At, Came, Completion, Mask, Message, ReadOnly, Reply, Sets, Submission,
};
use libc::{epoll_event, pollfd, timespec, timeval};
use std::time::Duration;

macro_rules! kernel {
    ($(fn $call:ident($($argument:ident: $type:ty),*) -> $reply:ty;)*) => {
        /// A kernel: the real one, unless a call is overridden.
        pub(super) trait Kernel: Sync {
            $(fn $call(&self, $($argument: $type),*) -> Reply<$reply> {
                raw::$call($($argument),*)
            })*
        }

        /// A row of the table.
        #[expect(non_camel_case_types, reason = "the names of the calls, as everybody writes them")]
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(super) enum Call { $($call,)* }

        /// A kernel that has a function for each call: those of [`Table::LINUX`], but for the calls that are wrong.
        pub(super) struct Table {
            $(pub(super) $call: fn($($type),*) -> Reply<$reply>,)*
        }

        impl Table {
            pub(super) const LINUX: Table = Table { $($call: raw::$call,)* };
        }

        impl Kernel for Table {
            $(fn $call(&self, $($argument: $type),*) -> Reply<$reply> {
                (self.$call)($($argument),*)
            })*
        }

        /// The kernel that does this instead of one call: `instead::close(|fd| ...)`.
        #[expect(dead_code, reason = "no wrong kernel is needed for some of the calls alone")]
        pub(super) mod instead {
            use super::*;

            $(pub(in crate::facts) const fn $call(does: fn($($type),*) -> Reply<$reply>) -> Table {
                Table { $call: does, ..Table::LINUX }
            })*
        }

        impl<H: Hook> Kernel for H {
            $(fn $call(&self, $(mut $argument: $type),*) -> Reply<$reply> {
                if let Some(instead) = self.instead(Call::$call) {
                    return instead;
                }
                let reply = raw::$call($(<$type as Again>::again(&mut $argument)),*);
                self.after(Call::$call, reply, &mut [$(&mut $argument),*])
            })*
        }
    };
}

kernel! {
    // select, poll, epoll
    fn select(nfds: i32, sets: Sets<'_>, timeout: Option<&mut timeval>) -> usize;
    fn pselect6(nfds: i32, sets: Sets<'_>, timeout: Option<&mut timespec>, mask: Mask) -> usize;
    fn pselect6_read_only(nfds: i32, sets: Sets<'_>, timeout: &ReadOnly<timespec>, mask: Mask) -> usize;
    fn poll(fds: At<'_, pollfd>, timeout: i32) -> usize;
    fn ppoll(fds: At<'_, pollfd>, timeout: Option<&mut timespec>, mask: Mask) -> usize;
    fn epoll_create(size: i32) -> i32;
    fn epoll_create1(flags: i32) -> i32;
    fn epoll_ctl(epoll: i32, op: i32, fd: i32, event: Option<epoll_event>) -> ();
    fn epoll_wait(epoll: i32, events: At<'_, epoll_event>, max_events: i32, timeout: i32) -> usize;
    fn epoll_pwait(epoll: i32, events: At<'_, epoll_event>, max_events: i32, timeout: i32, mask: Mask) -> usize;
    fn epoll_pwait2(
        epoll: i32, events: At<'_, epoll_event>, max_events: i32, timeout: Option<&mut timespec>, mask: Mask
    ) -> usize;
    fn epoll_params(epoll: i32, params: &mut [u8]) -> ();
    fn set_epoll_params(epoll: i32, params: &[u8]) -> ();

    // descriptors
    fn pipe2(flags: i32) -> [i32; 2];
    fn pipe2_into(ends: &mut [i32; 2], flags: i32) -> ();
    fn read(fd: i32, buffer: &mut [u8]) -> usize;
    fn write(fd: i32, bytes: &[u8]) -> usize;
    fn open(path: &str, flags: i32) -> i32;
    fn close(fd: i32) -> ();
    fn dup(fd: i32) -> i32;
    fn dup2(fd: i32, to: i32) -> i32;
    fn dup3(fd: i32, to: i32, flags: i32) -> i32;
    fn fcntl(fd: i32, command: i32, argument: i32) -> i32;
    fn ioctl(fd: i32, request: libc::Ioctl, value: &mut i32) -> i32;
    fn memfd_create(flags: u32) -> i32;
    fn eventfd(value: u32, flags: i32) -> i32;
    fn timerfd_create(clock: i32, flags: i32) -> i32;
    fn timerfd_settime(fd: i32, first_ns: i64, period_ns: i64) -> ();
    fn signalfd(fd: i32, signals: u64, flags: i32) -> i32;
    fn pidfd_open(pid: i32, flags: u32) -> i32;
    fn kcmp_epoll_target(fd: i32, epoll: i32, target: i32, offset: u32) -> i32;

    // sockets
    fn socket(domain: i32, kind: i32, protocol: i32) -> i32;
    fn socketpair(kind: i32) -> [i32; 2];
    fn bind(fd: i32, address: &Address) -> ();
    fn listen(fd: i32, backlog: i32) -> ();
    fn accept(fd: i32) -> i32;
    fn accept4(fd: i32, flags: i32) -> i32;
    fn connect(fd: i32, address: &Address) -> ();
    fn shutdown(fd: i32, how: i32) -> ();
    fn getsockname(fd: i32) -> Address;
    fn getpeername(fd: i32) -> Address;
    fn getsockopt(fd: i32, level: i32, option: i32, value: &mut [u8]) -> usize;
    fn setsockopt(fd: i32, level: i32, option: i32, value: &[u8]) -> ();
    fn steer_reuseport(fd: i32, k: u32) -> ();
    fn send(fd: i32, bytes: &[u8], flags: i32) -> usize;
    fn sendto(fd: i32, bytes: &[u8], flags: i32, to: &Address) -> usize;
    fn recv(fd: i32, buffer: &mut [u8], flags: i32) -> usize;
    fn send_fds(fd: i32, fds: &[i32]) -> usize;
    fn recv_fds(fd: i32, room: usize, max: usize, flags: i32) -> Message;
    fn sendfile(to: i32, from: i32, offset: &mut i64, n: usize) -> usize;

    // signals and children
    fn sigaction(signal: i32, action: Action, flags: i32) -> ();
    fn sigprocmask(how: i32, signals: u64) -> u64;
    fn sigpending() -> u64;
    fn sigtimedwait(signals: u64, timeout_ms: i64) -> Came;
    fn sigqueue(pid: i32, signal: i32, value: i32) -> ();
    fn kill(pid: i32, signal: i32) -> ();
    fn pause() -> ();
    fn alarm_left() -> i32;
    fn nanosleep(seconds: i64, nanoseconds: i64) -> ();
    fn waitpid(pid: i32, options: i32) -> (i32, i32);
    fn waitid(pid: i32, options: i32) -> ();
    fn waitid_pidfd(pidfd: i32, options: i32) -> ();
    fn pidfd_send_signal(pidfd: i32, signal: i32) -> ();

    // io_uring: io_uring_setup; io_uring_enter to submit, and to wait; the next completion
    fn uring_setup(entries: u32, completions: u32, flags: u32) -> i32;
    fn uring_eventfd(ring: i32, eventfd: i32) -> ();
    fn uring_buffers(ring: i32, n: u32, size: u32) -> ();
    fn uring_submit(ring: i32, operations: &[Submission]) -> usize;
    fn uring_wait(ring: i32, want: usize, limit: Option<Duration>) -> ();
    fn uring_next(ring: i32) -> Option<Completion>;
}

/// The kernel that this runs on.
#[derive(Debug)]
pub(super) struct Linux;

impl Kernel for Linux {}
