//! Kernels that break a fact of `facts/nonblock/`.

use super::super::kernel::Kernel;
use super::Mutant;
use crate::sys::Errno;
use crate::sys::raw::{self, Address, At, Refusal, Reply};
use libc::{O_NONBLOCK, POLLOUT, SOL_SOCKET, pollfd};

pub(super) const MUTANTS: &[Mutant] = &[
    Mutant {
        name: "refused-at-once",
        breaks: "nb-connect-refused-einprogress",
        behaviour: "A non-blocking connect to a closed port gives ECONNREFUSED itself, as WSL 1 did (microsoft/WSL#1584).",
        also: &[],
        kernel: &RefusedAtOnce,
    },
    Mutant {
        name: "accept-inherits-nonblock",
        breaks: "nb-accept-flags-not-inherited",
        behaviour: "An accepted socket has O_NONBLOCK from its listener, as on the BSDs.",
        also: &[],
        kernel: &AcceptInheritsNonblock,
    },
    Mutant {
        name: "accept-econnaborted",
        breaks: "nb-accept-after-rst",
        behaviour: "accept gives ECONNABORTED for a connection that was reset, as POSIX has it.",
        also: &[],
        kernel: &AcceptEconnaborted,
    },
    Mutant {
        name: "connect-afresh-after-error",
        breaks: "nb-connect-after-soerror-econnaborted",
        behaviour: "After SO_ERROR was read connect begins afresh at once, as everybody expects.",
        also: &[],
        kernel: &ConnectAfresh,
    },
    Mutant {
        name: "connect-done-on-loopback",
        breaks: "nb-connect-einprogress-loopback",
        behaviour: "A non-blocking connect on loopback returns 0, as the BSDs may do.",
        also: &[],
        kernel: &ConnectDoneOnLoopback,
    },
    Mutant {
        name: "connect-restarted",
        breaks: "nb-connect-interrupted-continues",
        behaviour: "A connect that a signal interrupted is called again inside, as language runtimes do.",
        also: &[],
        kernel: &ConnectRestarted,
    },
    Mutant {
        name: "so-error-stays",
        breaks: "nb-connect-error-once",
        behaviour: "SO_ERROR does not clear the error it tells.",
        also: &[],
        kernel: &SoErrorStays,
    },
];

fn refused(call: &'static str, errno: Errno) -> Refusal {
    Refusal { call, errno }
}

fn is_refusal<T>(reply: &Reply<T>, errno: Errno) -> bool {
    matches!(reply, Err(refusal) if refusal.errno == errno)
}

fn so_error(fd: i32) -> i32 {
    let mut value = [0; 4];
    raw::getsockopt(fd, SOL_SOCKET, libc::SO_ERROR, &mut value).map_or(0, |_| i32::from_ne_bytes(value))
}

fn poll_now(fd: i32, events: i16) -> i16 {
    let mut one = pollfd { fd, events, revents: 0 };
    raw::poll(At::from(&mut one), 0).map_or(0, |_| one.revents)
}

struct RefusedAtOnce;

impl Kernel for RefusedAtOnce {
    fn connect(&self, fd: i32, address: &Address) -> Reply<()> {
        let reply = raw::connect(fd, address);
        if is_refusal(&reply, Errno::EINPROGRESS) && poll_now(fd, POLLOUT) & libc::POLLERR != 0 {
            return Err(refused("connect", Errno::from_raw(so_error(fd))));
        }
        reply
    }
}

struct AcceptInheritsNonblock;

impl Kernel for AcceptInheritsNonblock {
    fn accept(&self, fd: i32) -> Reply<i32> {
        let accepted = raw::accept(fd)?;
        let flags = raw::fcntl(fd, libc::F_GETFL, 0)? & O_NONBLOCK;
        raw::fcntl(accepted, libc::F_SETFL, raw::fcntl(accepted, libc::F_GETFL, 0)? | flags)?;
        Ok(accepted)
    }
}

struct AcceptEconnaborted;

impl Kernel for AcceptEconnaborted {
    fn accept(&self, fd: i32) -> Reply<i32> {
        let accepted = raw::accept(fd)?;
        if so_error(accepted) == libc::ECONNRESET {
            raw::close(accepted)?;
            return Err(refused("accept", Errno::ECONNABORTED));
        }
        Ok(accepted)
    }
}

struct ConnectAfresh;

impl Kernel for ConnectAfresh {
    fn connect(&self, fd: i32, address: &Address) -> Reply<()> {
        let reply = raw::connect(fd, address);
        if is_refusal(&reply, Errno::ECONNABORTED) { raw::connect(fd, address) } else { reply }
    }
}

struct ConnectDoneOnLoopback;

impl Kernel for ConnectDoneOnLoopback {
    fn connect(&self, fd: i32, address: &Address) -> Reply<()> {
        let reply = raw::connect(fd, address);
        let done = is_refusal(&reply, Errno::EINPROGRESS) && poll_now(fd, POLLOUT) == POLLOUT;
        if done { Ok(()) } else { reply }
    }
}

struct ConnectRestarted;

impl Kernel for ConnectRestarted {
    fn connect(&self, fd: i32, address: &Address) -> Reply<()> {
        let reply = raw::connect(fd, address);
        // It waits for as long as there is no room, and then says that it is connected: after a while, for the
        // experiment to see that rather than its own time limit.
        if is_refusal(&reply, Errno::EINTR) {
            let mut one = pollfd { fd, events: POLLOUT, revents: 0 };
            raw::poll(At::from(&mut one), 300)?;
            return Ok(());
        }
        reply
    }
}

/// The last error that was told.
static ERROR: std::sync::atomic::AtomicI32 = std::sync::atomic::AtomicI32::new(0);

struct SoErrorStays;

impl Kernel for SoErrorStays {
    fn getsockopt(&self, fd: i32, level: i32, option: i32, value: &mut [u8]) -> Reply<usize> {
        use std::sync::atomic::Ordering::SeqCst;
        let n = raw::getsockopt(fd, level, option, value)?;
        if (level, option) == (SOL_SOCKET, libc::SO_ERROR) {
            match value[..] {
                [0, 0, 0, 0] => value.copy_from_slice(&ERROR.load(SeqCst).to_ne_bytes()),
                [a, b, c, d] => ERROR.store(i32::from_ne_bytes([a, b, c, d]), SeqCst),
                _ => {}
            }
        }
        Ok(n)
    }
}
