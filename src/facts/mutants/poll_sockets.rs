//! Kernels that break a fact of `facts/poll/` about sockets.

use super::super::kernel::Kernel;
use super::Mutant;
use super::kinds::{Changed, Close, Send, Shutdown};
use super::poll::tcp_state;
use crate::sys::Errno;
use crate::sys::raw::{self, At, Reply, no};
use libc::{AF_INET, AF_UNIX, SOCK_DGRAM, SOCK_STREAM, SOL_SOCKET, c_short, pollfd};
use libc::{POLLERR, POLLHUP, POLLIN, POLLNVAL, POLLOUT, POLLPRI, POLLRDHUP};
use std::sync::{Mutex, PoisonError};

pub(super) const MUTANTS: &[Mutant] = &[
    Mutant {
        name: "rdhup-implies-hup",
        breaks: "poll-tcp-peer-fin",
        behaviour: "HUP comes with RDHUP, on a half close already, as mio before #939 had it.",
        kernel: &Changed(|one| one.revents |= if one.revents & POLLRDHUP == 0 { 0 } else { POLLHUP }),
    },
    Mutant {
        name: "unix-close-as-tcp",
        breaks: "poll-unix-peer-close-hup",
        behaviour: "An AF_UNIX stream whose peer closes has no HUP, as a TCP socket has none, and as in gVisor's issue 7331.",
        kernel: &Changed(|one| {
            let end = one.revents & POLLHUP != 0 && is_socket(one.fd, AF_UNIX, SOCK_STREAM);
            one.revents &= if end { !POLLHUP } else { !0 };
        }),
    },
    Mutant {
        name: "so-error-leaves-err",
        breaks: "poll-soerror-clears-err-only",
        behaviour: "ERR stays after SO_ERROR was read, as people expect who poll for it later.",
        kernel: &SoErrorLeavesErr,
    },
    Mutant {
        name: "refused-is-err-alone",
        breaks: "poll-tcp-refused-mask",
        behaviour: "A refused connection has ERR without HUP, as people expect of one that never was up.",
        kernel: &Changed(|one| {
            let failed = one.revents & POLLERR != 0 && is_socket(one.fd, AF_INET, SOCK_STREAM);
            one.revents &= if failed { !POLLHUP } else { !0 };
        }),
    },
    Mutant {
        name: "shut-wr-ends-out",
        breaks: "poll-tcp-own-shutwr-stays-out",
        behaviour: "There is no OUT after our own SHUT_WR, since no write can succeed.",
        kernel: &Changed(|one| {
            let (fin_wait1, fin_wait2) = (Some(4), Some(5));
            let shut = [fin_wait1, fin_wait2].contains(&tcp_state(one.fd));
            one.revents &= if shut { !POLLOUT } else { !0 };
        }),
    },
    Mutant {
        name: "two-fins-no-hup",
        breaks: "poll-tcp-both-fins-hup",
        behaviour: "HUP comes with an RST only, and not when both sides have sent their FIN.",
        kernel: &Changed(|one| {
            let clean = one.revents & (POLLERR | POLLRDHUP) == POLLRDHUP;
            one.revents &= if clean && is_socket(one.fd, AF_INET, SOCK_STREAM) { !POLLHUP } else { !0 };
        }),
    },
    Mutant {
        name: "shut-rd-tells-peer",
        breaks: "poll-tcp-local-shut-rd",
        behaviour: "SHUT_RD takes the whole connection down, so that the peer learns of it.",
        kernel: &Shutdown(|fd, how| {
            let both = how == libc::SHUT_RD && is_socket(fd, AF_INET, SOCK_STREAM);
            raw::shutdown(fd, if both { libc::SHUT_RDWR } else { how })
        }),
    },
    Mutant {
        name: "error-has-pri",
        breaks: "poll-tcp-rst-mask",
        behaviour: "The ERR of a TCP socket comes with PRI, as people expect because select calls its third set that \
                    of exceptional conditions.",
        kernel: &Changed(|one| {
            let failed = one.revents & POLLERR != 0 && is_socket(one.fd, AF_INET, SOCK_STREAM);
            one.revents |= if failed { asked(one, POLLPRI) } else { 0 };
        }),
    },
    Mutant {
        name: "urgent-stays",
        breaks: "poll-oob-pri",
        behaviour: "PRI stays after the urgent byte was read, as people expect of IN that comes with it.",
        kernel: &UrgentStays,
    },
    Mutant {
        name: "unix-close-drops-unread",
        breaks: "poll-unix-peer-close-unread-err",
        behaviour: "What the peer has not read is lost without a word when it closes, as in gVisor's issue 735.",
        kernel: &Close(|fd| {
            if is_socket(fd, AF_UNIX, SOCK_STREAM) {
                while raw::recv(fd, &mut [0; 4096], libc::MSG_DONTWAIT).is_ok_and(|n| n > 0) {}
            }
            raw::close(fd)
        }),
    },
    Mutant {
        name: "unix-shut-wr-is-both",
        breaks: "poll-unix-peer-shutwr",
        behaviour: "SHUT_WR of an AF_UNIX stream shuts both directions.",
        kernel: &Shutdown(|fd, how| {
            let both = how == libc::SHUT_WR && is_socket(fd, AF_UNIX, SOCK_STREAM);
            raw::shutdown(fd, if both { libc::SHUT_RDWR } else { how })
        }),
    },
    Mutant {
        name: "unix-listener-forgets-queue",
        breaks: "poll-unix-listener-close-err",
        behaviour: "A listener that closes ends the connections in its queue as if they had been accepted and closed: \
                    no ERR, and recv gives 0. gVisor did so until 2026.",
        kernel: &Close(|fd| {
            if is_socket(fd, AF_UNIX, SOCK_STREAM) && is_listener(fd) {
                // It accepts what is there, and closes it.
                let flags = raw::fcntl(fd, libc::F_GETFL, 0)?;
                raw::fcntl(fd, libc::F_SETFL, flags | libc::O_NONBLOCK)?;
                while let Ok(accepted) = raw::accept(fd) {
                    raw::close(accepted)?;
                }
            }
            raw::close(fd)
        }),
    },
    Mutant {
        name: "udp-error-stays",
        breaks: "poll-udp-icmp-error",
        behaviour: "A connected UDP socket that was refused once stays refused, as people expect of a connection.",
        kernel: &Send(|fd, bytes, flags| {
            static REFUSED: Marked = Marked::new();
            if REFUSED.has(fd) {
                return no(Errno::ECONNREFUSED);
            }
            let sent = raw::send(fd, bytes, flags);
            if sent == no(Errno::ECONNREFUSED) && is_socket(fd, AF_INET, SOCK_DGRAM) {
                REFUSED.add(fd);
            }
            sent
        }),
    },
    Mutant {
        name: "unix-dgram-out-always",
        breaks: "poll-unix-dgram-peer-queue",
        behaviour: "An AF_UNIX datagram socket has OUT whatever its peer has not read, as Shadow had it.",
        kernel: &Changed(|one| {
            one.revents |= if is_socket(one.fd, AF_UNIX, SOCK_DGRAM) { asked(one, POLLOUT) } else { 0 };
        }),
    },
    Mutant {
        name: "errqueue-is-silent",
        breaks: "poll-errqueue-is-err",
        behaviour: "ERR stands for an error alone: a notice of MSG_ZEROCOPY is found only by looking for it.",
        kernel: &Changed(|one| {
            let notice = one.revents & (POLLERR | POLLHUP) == POLLERR
                && int_option(one.fd, libc::SO_ZEROCOPY) == Ok(1);
            one.revents &= if notice { !POLLERR } else { !0 };
        }),
    },
    Mutant {
        name: "udp-readable-by-bytes",
        breaks: "poll-udp-zero-length-readable",
        behaviour: "A socket is readable when it has bytes: an empty datagram is not seen.",
        kernel: &Changed(|one| {
            let mut bytes = 0;
            let empty = is_socket(one.fd, AF_INET, SOCK_DGRAM)
                && raw::ioctl(one.fd, libc::FIONREAD, &mut bytes).is_ok()
                && bytes == 0;
            one.revents &= if empty { !POLLIN } else { !0 };
        }),
    },
];

/// Without the bits that nobody asked for and that poll does not add by itself.
pub(super) fn asked(one: &pollfd, bits: c_short) -> c_short {
    bits & (one.events | POLLERR | POLLHUP | POLLNVAL)
}

/// An option whose value is an int.
pub(super) fn int_option(fd: i32, option: i32) -> Reply<i32> {
    let mut value = [0; 4];
    raw::getsockopt(fd, SOL_SOCKET, option, &mut value)?;
    Ok(i32::from_ne_bytes(value))
}

/// Whether `fd` is a socket of this family and kind.
pub(super) fn is_socket(fd: i32, domain: i32, kind: i32) -> bool {
    int_option(fd, libc::SO_DOMAIN) == Ok(domain) && int_option(fd, libc::SO_TYPE) == Ok(kind)
}

/// Whether `fd` is a listener.
pub(super) fn is_listener(fd: i32) -> bool {
    int_option(fd, libc::SO_ACCEPTCONN) == Ok(1)
}

/// Descriptors with something that a mutant wants to know again.
pub(super) struct Marked(Mutex<Vec<i32>>);

impl Marked {
    pub(super) const fn new() -> Marked {
        Marked(Mutex::new(Vec::new()))
    }

    pub(super) fn has(&self, fd: i32) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains(&fd)
    }

    pub(super) fn add(&self, fd: i32) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(fd);
    }
}

struct SoErrorLeavesErr;

/// Sockets whose error was read.
static ERROR_READ: Marked = Marked::new();

impl Kernel for SoErrorLeavesErr {
    fn getsockopt(&self, fd: i32, level: i32, option: i32, value: &mut [u8]) -> Reply<usize> {
        let n = raw::getsockopt(fd, level, option, value)?;
        if (level, option) == (SOL_SOCKET, libc::SO_ERROR) && value.iter().any(|byte| *byte != 0) {
            ERROR_READ.add(fd);
        }
        Ok(n)
    }

    fn poll(&self, fds: At<'_, pollfd>, timeout: i32) -> Reply<usize> {
        Changed(|one| one.revents |= if ERROR_READ.has(one.fd) { POLLERR } else { 0 }).poll(fds, timeout)
    }
}

struct UrgentStays;

/// Sockets whose urgent byte was read.
static URGENT: Marked = Marked::new();

impl Kernel for UrgentStays {
    fn recv(&self, fd: i32, buffer: &mut [u8], flags: i32) -> Reply<usize> {
        let received = raw::recv(fd, buffer, flags)?;
        if flags & libc::MSG_OOB != 0 {
            URGENT.add(fd);
        }
        Ok(received)
    }

    fn poll(&self, fds: At<'_, pollfd>, timeout: i32) -> Reply<usize> {
        Changed(|one| one.revents |= if URGENT.has(one.fd) { asked(one, POLLPRI) } else { 0 })
            .poll(fds, timeout)
    }
}
