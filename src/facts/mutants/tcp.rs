//! Kernels that break a fact of `facts/tcp/`.

use super::super::kernel::Kernel;
use super::Mutant;
use super::tcp_ends::{BindSets, ShutThenClose};
use crate::sys::Errno;
use crate::sys::raw::{self, At, Refusal, Reply};
use libc::{POLLERR, SOL_SOCKET, pollfd};
use std::sync::atomic::{AtomicI32, Ordering::SeqCst};

pub(super) const MUTANTS: &[Mutant] = &[
    Mutant {
        name: "backlog-exact",
        breaks: "tcp-backlog-plus-one",
        behaviour: "listen(n) lets n connections wait, not n + 1, as its manual page can be read.",
        kernel: &BacklogExact,
    },
    Mutant {
        name: "backlog-not-capped",
        breaks: "tcp-backlog-capped",
        behaviour: "A negative backlog is none, as in kernels that do not cast it to unsigned.",
        kernel: &BacklogNegative,
    },
    Mutant {
        name: "overflow-refuses",
        breaks: "tcp-overflow-drops-syn",
        behaviour: "connect to a full queue is refused with an RST, which asterinas tried and took back.",
        kernel: &OverflowRefuses,
    },
    Mutant {
        name: "rst-after-fin-is-econnreset",
        breaks: "tcp-fin-rst-is-epipe",
        behaviour: "SO_ERROR after FIN and RST is ECONNRESET, as programmers expect.",
        kernel: &RstAfterFinIsEconnreset,
    },
    Mutant {
        name: "rst-discards-data",
        breaks: "tcp-rst-keeps-received-data",
        behaviour: "An RST throws away what was received before it, as RFC 793 allowed.",
        kernel: &RstDiscardsData,
    },
    Mutant {
        name: "close-with-unread-sends-fin",
        breaks: "tcp-close-with-unread-sends-rst",
        behaviour: "close with unread data sends a FIN, as gVisor did (google/gvisor#1449) and turmoil (tokio-rs/turmoil#269).",
        kernel: &CloseDrainsFirst,
    },
    Mutant {
        name: "reuseaddr-of-new-socket-suffices",
        breaks: "tcp-reuseaddr-needed-on-old-socket",
        behaviour: "Every socket has SO_REUSEADDR, so that the option of the old one does not matter: the common belief.",
        kernel: &BindSets(libc::SO_REUSEADDR),
    },
    Mutant {
        name: "close-sends-fin-at-once",
        breaks: "tcp-fin-needs-last-reference",
        behaviour: "close shuts the connection down though another reference is left.",
        kernel: &ShutThenClose(libc::SHUT_WR),
    },
    Mutant {
        name: "shut-rd-blocks-arrivals",
        breaks: "tcp-shut-rd-does-not-block-arrivals",
        behaviour: "After SHUT_RD recv gives nothing that arrives later, as AF_UNIX and many texts have it.",
        kernel: &ShutRdBlocks,
    },
];

struct BacklogExact;

impl Kernel for BacklogExact {
    fn listen(&self, fd: i32, backlog: i32) -> Reply<()> {
        raw::listen(fd, (backlog - 1).max(0))
    }
}

struct BacklogNegative;

impl Kernel for BacklogNegative {
    fn listen(&self, fd: i32, backlog: i32) -> Reply<()> {
        raw::listen(fd, backlog.max(0))
    }
}

struct OverflowRefuses;

impl Kernel for OverflowRefuses {
    fn poll(&self, mut fds: At<'_, pollfd>, timeout: i32) -> Reply<usize> {
        let ready = raw::poll(fds.again(), timeout)?;
        let At::Memory(fds) = fds else { return Ok(ready) };
        // What a client would see once the RST had come.
        let refused = fds.iter_mut().filter(|one| one.revents == 0 && is_syn_sent(one.fd));
        Ok(ready + refused.map(|one| one.revents = POLLERR).count())
    }
}

fn is_syn_sent(fd: i32) -> bool {
    const SYN_SENT: u8 = 2;
    let mut info = [0; 104];
    raw::getsockopt(fd, libc::IPPROTO_TCP, libc::TCP_INFO, &mut info).is_ok() && info[0] == SYN_SENT
}

struct RstAfterFinIsEconnreset;

impl Kernel for RstAfterFinIsEconnreset {
    fn getsockopt(&self, fd: i32, level: i32, option: i32, value: &mut [u8]) -> Reply<usize> {
        let n = raw::getsockopt(fd, level, option, value)?;
        if (level, option) == (SOL_SOCKET, libc::SO_ERROR) && value[..] == libc::EPIPE.to_ne_bytes() {
            value.copy_from_slice(&libc::ECONNRESET.to_ne_bytes());
        }
        Ok(n)
    }
}

struct RstDiscardsData;

impl Kernel for RstDiscardsData {
    fn recv(&self, fd: i32, buffer: &mut [u8], flags: i32) -> Reply<usize> {
        match pending_error(fd) {
            Some(errno) => Err(Refusal { call: "recv", errno }),
            None => raw::recv(fd, buffer, flags),
        }
    }
}

/// SO_ERROR, which is cleared, if poll says that there is one.
fn pending_error(fd: i32) -> Option<Errno> {
    let mut one = pollfd { fd, events: 0, revents: 0 };
    raw::poll(At::from(&mut one), 0).ok()?;
    let mut value = [0; 4];
    raw::getsockopt(fd, SOL_SOCKET, libc::SO_ERROR, &mut value).ok()?;
    let errno = i32::from_ne_bytes(value);
    (one.revents & POLLERR != 0 && errno != 0).then(|| Errno::from_raw(errno))
}

struct CloseDrainsFirst;

impl Kernel for CloseDrainsFirst {
    fn close(&self, fd: i32) -> Reply<()> {
        while raw::recv(fd, &mut [0; 4096], libc::MSG_DONTWAIT).is_ok_and(|n| n > 0) {}
        raw::close(fd)
    }
}

/// The socket that was shut for reading last.
static SHUT: AtomicI32 = AtomicI32::new(-1);

struct ShutRdBlocks;

impl Kernel for ShutRdBlocks {
    fn shutdown(&self, fd: i32, how: i32) -> Reply<()> {
        if how == libc::SHUT_RD {
            SHUT.store(fd, SeqCst);
        }
        raw::shutdown(fd, how)
    }

    fn recv(&self, fd: i32, buffer: &mut [u8], flags: i32) -> Reply<usize> {
        if SHUT.load(SeqCst) == fd { Ok(0) } else { raw::recv(fd, buffer, flags) }
    }
}
