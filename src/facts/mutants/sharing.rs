//! Kernels that break a fact of `facts/sharing.rs`.

use super::super::kernel::Kernel;
use super::Mutant;
use crate::sys::Errno;
use crate::sys::raw::{self, At, Reply, no};
use libc::{SO_ACCEPTCONN, SO_REUSEPORT, SOL_SOCKET};
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};

pub(super) const MUTANTS: &[Mutant] = &[
    Mutant {
        name: "reuseport-always",
        breaks: "mp-reuseport-all-or-nothing",
        behaviour: "Every TCP socket has SO_REUSEPORT, so that one which did not ask for it can share a \
                    port.",
        kernel: &ReuseportAlways,
    },
    Mutant {
        name: "reuseport-last-wins",
        breaks: "mp-reuseport-one-owner",
        behaviour: "All connections go to the listener that came last, as on the BSDs and on macOS.",
        kernel: &ReuseportLastWins,
    },
    Mutant {
        name: "close-keeps-queue",
        breaks: "mp-reuseport-close-drops-queue",
        behaviour: "close of a listener resets none of the connections in its queue, as with \
                    net.ipv4.tcp_migrate_req.",
        kernel: &CloseKeepsQueue,
    },
    Mutant {
        name: "migrates-to-nobody",
        breaks: "mp-migrate-req-keeps-queue",
        behaviour: "The queue of a listener that is closed is lost to those that are left, as before Linux \
                    5.14.",
        kernel: &MigratesToNobody,
    },
    Mutant {
        name: "cbpf-ignored",
        breaks: "mp-reuseport-cbpf-steers",
        behaviour: "SO_ATTACH_REUSEPORT_CBPF does nothing: connections are spread at random.",
        kernel: &CbpfIgnored,
    },
    Mutant {
        name: "reuseport-before-bind-only",
        breaks: "mp-reuseport-after-bind",
        behaviour: "SO_REUSEPORT on a socket that is bound fails with EINVAL, as socket(7) lets one expect.",
        kernel: &ReuseportBeforeBindOnly,
    },
    Mutant {
        name: "accept-aborted",
        breaks: "mp-prefork-shared-listener",
        behaviour: "accept of a non-blocking listener whose connection somebody else took gives \
                    ECONNABORTED, which POSIX has for connections that went away.",
        kernel: &AcceptAborted,
    },
];

struct ReuseportAlways;

impl Kernel for ReuseportAlways {
    fn bind(&self, fd: i32, address: &raw::Address) -> Reply<()> {
        // Refused where it makes no sense.
        raw::setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &1i32.to_ne_bytes()).ok();
        raw::bind(fd, address)
    }
}

struct ReuseportLastWins;

/// How many listeners there have been.
static LISTENERS: AtomicU32 = AtomicU32::new(0);

impl Kernel for ReuseportLastWins {
    fn listen(&self, fd: i32, backlog: i32) -> Reply<()> {
        raw::listen(fd, backlog)?;
        // Refused to sockets that do not share.
        raw::steer_reuseport(fd, LISTENERS.fetch_add(1, SeqCst)).ok();
        Ok(())
    }
}

fn is_listener(fd: i32) -> bool {
    let mut value = [0; 4];
    raw::getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &mut value).is_ok() && i32::from_ne_bytes(value) == 1
}

/// Whether a connection waits.
fn has_waiting(fd: i32) -> Reply<bool> {
    let mut entry = libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
    Ok(raw::poll(At::from(&mut entry), 0)? == 1)
}

struct CloseKeepsQueue;

impl Kernel for CloseKeepsQueue {
    fn close(&self, fd: i32) -> Reply<()> {
        if is_listener(fd) {
            // They live on, out of everybody's reach.
            while has_waiting(fd)? {
                raw::accept(fd)?;
            }
        }
        raw::close(fd)
    }
}

struct MigratesToNobody;

impl Kernel for MigratesToNobody {
    fn close(&self, fd: i32) -> Reply<()> {
        if is_listener(fd) {
            while has_waiting(fd)? {
                raw::close(raw::accept(fd)?)?;
            }
        }
        raw::close(fd)
    }
}

struct CbpfIgnored;

impl Kernel for CbpfIgnored {
    fn steer_reuseport(&self, _: i32, _: u32) -> Reply<()> {
        Ok(())
    }
}

struct ReuseportBeforeBindOnly;

impl Kernel for ReuseportBeforeBindOnly {
    fn setsockopt(&self, fd: i32, level: i32, option: i32, value: &[u8]) -> Reply<()> {
        if (level, option) == (SOL_SOCKET, SO_REUSEPORT) && raw::getsockname(fd)?.port() != 0 {
            return no(Errno::EINVAL);
        }
        raw::setsockopt(fd, level, option, value)
    }
}

struct AcceptAborted;

impl Kernel for AcceptAborted {
    fn accept(&self, fd: i32) -> Reply<i32> {
        let accepted = raw::accept(fd);
        if accepted == no(Errno::EAGAIN) { no(Errno::ECONNABORTED) } else { accepted }
    }
}
