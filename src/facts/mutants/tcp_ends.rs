//! Kernels that break a fact of `facts/tcp/` about ends: of connections, of listeners, of ports.

use super::super::kernel::Kernel;
use super::Mutant;
use super::kinds::OptionIgnored;
use crate::sys::Errno;
use crate::sys::raw::{self, Address, Refusal, Reply};
use libc::{
    IPPROTO_TCP, SHUT_RD, SHUT_RDWR, SHUT_WR, SO_ACCEPTCONN, SO_LINGER, SOL_SOCKET, TCP_DEFER_ACCEPT,
    TCP_INFO,
};
use std::sync::atomic::{AtomicI32, Ordering::SeqCst};

pub(super) const MUTANTS: &[Mutant] = &[
    Mutant {
        name: "close-wakes-recv",
        breaks: "tcp-close-vs-shutdown-wake-recv",
        behaviour: "close wakes a recv in another thread, as on Solaris and with Java's sockets.",
        kernel: &ShutThenClose(SHUT_RD),
    },
    Mutant {
        name: "close-wakes-accept",
        breaks: "tcp-listener-close-does-not-wake-accept",
        behaviour: "close of a listener wakes an accept in another thread.",
        kernel: &ShutThenClose(SHUT_RDWR),
    },
    Mutant {
        name: "half-close-is-whole",
        breaks: "tcp-half-close-keeps-other-way",
        behaviour: "After SHUT_WR nothing is received either.",
        kernel: &HalfCloseIsWhole,
    },
    Mutant {
        name: "timewait-in-tcp-info",
        breaks: "tcp-timewait-reads-as-close",
        behaviour: "TCP_INFO says TIME_WAIT of a connection that is in it.",
        kernel: &TimewaitInTcpInfo,
    },
    Mutant {
        name: "defer-accept-ignored",
        breaks: "tcp-defer-accept",
        behaviour: "TCP_DEFER_ACCEPT is taken and ignored.",
        kernel: &OptionIgnored(IPPROTO_TCP, TCP_DEFER_ACCEPT),
    },
    Mutant {
        name: "linger-ignored",
        breaks: "tcp-linger-zero-no-timewait",
        behaviour: "SO_LINGER is taken and ignored.",
        kernel: &OptionIgnored(SOL_SOCKET, SO_LINGER),
    },
    Mutant {
        name: "listener-close-keeps-queue",
        breaks: "tcp-listener-close-resets-queue",
        behaviour: "Connections in the queue of a listener that is closed stay as they are.",
        kernel: &ListenerCloseKeepsQueue,
    },
    Mutant {
        name: "listener-shutdown-ignored",
        breaks: "tcp-listener-shut-rd",
        behaviour: "shutdown of a listener does nothing.",
        kernel: &ListenerShutdownIgnored,
    },
    Mutant {
        name: "rst-is-epipe",
        breaks: "tcp-plain-rst-is-econnreset",
        behaviour: "The first send after an RST gives EPIPE.",
        kernel: &RstIsEpipe,
    },
    Mutant {
        name: "reuseaddr-shares",
        breaks: "tcp-reuseaddr-no-two-listeners",
        behaviour: "SO_REUSEADDR allows two listeners on one address, as the option of that name does on Windows.",
        kernel: &BindSets(libc::SO_REUSEPORT),
    },
    Mutant {
        name: "timewait-blocks-nobody",
        breaks: "tcp-timewait-blocks-bind",
        behaviour: "A port in TIME_WAIT can be bound without SO_REUSEADDR, as on Windows.",
        kernel: &BindSets(libc::SO_REUSEADDR),
    },
    Mutant {
        name: "self-connect-refused",
        breaks: "tcp-self-connect",
        behaviour: "A socket cannot connect to itself, as some BSDs have it.",
        kernel: &SelfConnectRefused,
    },
];

fn is_listener(fd: i32) -> bool {
    let mut value = [0; 4];
    raw::getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &mut value).is_ok() && value != [0; 4]
}

/// Shuts down so before it closes.
pub(super) struct ShutThenClose(pub(super) i32);

impl Kernel for ShutThenClose {
    fn close(&self, fd: i32) -> Reply<()> {
        // A refusal is that of a descriptor which is no connection, and needs no waking.
        raw::shutdown(fd, self.0).ok();
        raw::close(fd)
    }
}

/// The socket that was shut for writing last.
static SHUT: AtomicI32 = AtomicI32::new(-1);

struct HalfCloseIsWhole;

impl Kernel for HalfCloseIsWhole {
    fn shutdown(&self, fd: i32, how: i32) -> Reply<()> {
        if how == SHUT_WR {
            SHUT.store(fd, SeqCst);
        }
        raw::shutdown(fd, how)
    }

    fn recv(&self, fd: i32, buffer: &mut [u8], flags: i32) -> Reply<usize> {
        if SHUT.load(SeqCst) == fd { Ok(0) } else { raw::recv(fd, buffer, flags) }
    }
}

struct TimewaitInTcpInfo;

impl Kernel for TimewaitInTcpInfo {
    fn getsockopt(&self, fd: i32, level: i32, option: i32, value: &mut [u8]) -> Reply<usize> {
        const TIME_WAIT: u8 = 6;
        const CLOSE: u8 = 7;
        let n = raw::getsockopt(fd, level, option, value)?;
        if (level, option, value[0]) == (IPPROTO_TCP, TCP_INFO, CLOSE) {
            value[0] = TIME_WAIT;
        }
        Ok(n)
    }
}

struct ListenerCloseKeepsQueue;

impl Kernel for ListenerCloseKeepsQueue {
    fn close(&self, fd: i32) -> Reply<()> {
        if is_listener(fd) {
            raw::fcntl(fd, libc::F_SETFL, libc::O_NONBLOCK)?;
            // Nobody has the number of what is accepted, so it stays open.
            while raw::accept(fd).is_ok() {}
        }
        raw::close(fd)
    }
}

struct ListenerShutdownIgnored;

impl Kernel for ListenerShutdownIgnored {
    fn shutdown(&self, fd: i32, how: i32) -> Reply<()> {
        if is_listener(fd) { Ok(()) } else { raw::shutdown(fd, how) }
    }
}

struct RstIsEpipe;

impl Kernel for RstIsEpipe {
    fn send(&self, fd: i32, bytes: &[u8], flags: i32) -> Reply<usize> {
        raw::send(fd, bytes, flags).map_err(|refusal| match refusal.errno {
            Errno::ECONNRESET => Refusal { errno: Errno::EPIPE, ..refusal },
            _ => refusal,
        })
    }
}

/// Sets this option on every socket that is bound.
pub(super) struct BindSets(pub(super) i32);

impl Kernel for BindSets {
    fn bind(&self, fd: i32, address: &Address) -> Reply<()> {
        raw::setsockopt(fd, SOL_SOCKET, self.0, &1i32.to_ne_bytes())?;
        raw::bind(fd, address)
    }
}

struct SelfConnectRefused;

impl Kernel for SelfConnectRefused {
    fn connect(&self, fd: i32, address: &Address) -> Reply<()> {
        if raw::getsockname(fd).is_ok_and(|own| own == *address) {
            return Err(Refusal { call: "connect", errno: Errno::ECONNREFUSED });
        }
        raw::connect(fd, address)
    }
}
