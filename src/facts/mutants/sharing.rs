//! Kernels that break a fact of `facts/sharing.rs`.

use super::kinds::*;
use libc::{AF_UNIX, SO_INCOMING_CPU, SO_REUSEPORT, SOL_SOCKET};
use std::sync::atomic::AtomicU32;

pub(super) const MUTANTS: &[Mutant] = &[
    Mutant {
        name: "reuseport-always",
        breaks: "mp-reuseport-all-or-nothing",
        behaviour: "Every TCP socket has SO_REUSEPORT, so that one which did not ask for it can share a port.",
        kernel: &instead::bind(|fd, address| {
            // Refused where it makes no sense.
            raw::setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &1i32.to_ne_bytes()).ok();
            raw::bind(fd, address)
        }),
    },
    Mutant {
        name: "reuseport-of-any-user",
        breaks: "mp-reuseport-same-user",
        behaviour: "Any user may share a port whose sockets have SO_REUSEPORT, as in gVisor.",
        kernel: &instead::bind(|fd, address| match raw::bind(fd, address) {
            Err(_) if option(fd, SOL_SOCKET, SO_REUSEPORT) == 1 => Ok(()),
            reply => reply,
        }),
    },
    Mutant {
        name: "reuseport-last-wins",
        breaks: "mp-reuseport-one-owner",
        behaviour: "All connections go to the listener that came last, as on the BSDs and on macOS.",
        kernel: &instead::listen(|fd, backlog| {
            /// How many listeners there have been.
            static LISTENERS: AtomicU32 = AtomicU32::new(0);
            raw::listen(fd, backlog)?;
            // Refused to sockets that do not share.
            if raw::steer_reuseport(fd, LISTENERS.load(SeqCst)).is_ok() {
                LISTENERS.fetch_add(1, SeqCst);
            }
            Ok(())
        }),
    },
    Mutant {
        name: "close-keeps-queue",
        breaks: "mp-reuseport-close-drops-queue",
        behaviour: "close of a listener resets none of the connections in its queue, as with net.ipv4.tcp_migrate_req.",
        kernel: &instead::close(|fd| {
            // They live on, out of everybody's reach.
            while is_pending(fd) {
                raw::accept(fd)?;
            }
            raw::close(fd)
        }),
    },
    Mutant {
        name: "migrates-to-nobody",
        breaks: "mp-migrate-req-keeps-queue",
        behaviour: "The queue of a listener that is closed is lost to those that are left, as before Linux 5.14.",
        kernel: &instead::close(|fd| {
            while is_pending(fd) {
                raw::close(raw::accept(fd)?)?;
            }
            raw::close(fd)
        }),
    },
    Mutant {
        name: "cbpf-ignored",
        breaks: "mp-reuseport-cbpf-steers",
        behaviour: "SO_ATTACH_REUSEPORT_CBPF does nothing: connections are spread at random.",
        kernel: &Ignored(Call::steer_reuseport),
    },
    Mutant {
        name: "cbpf-modulo",
        breaks: "mp-cbpf-out-of-range",
        behaviour: "A number that no listener has is taken modulo their number, as authors of such programs hope.",
        kernel: &instead::steer_reuseport(|fd, k| raw::steer_reuseport(fd, k % 2)),
    },
    Mutant {
        name: "incoming-cpu-ignored",
        breaks: "mp-incoming-cpu",
        behaviour: "SO_INCOMING_CPU says nothing about listeners that share a port, as before Linux 6.2.",
        kernel: &OptionIgnored(SOL_SOCKET, SO_INCOMING_CPU),
    },
    Mutant {
        name: "reuseport-before-bind-only",
        breaks: "mp-reuseport-after-bind",
        behaviour: "SO_REUSEPORT on a socket that is bound fails with EINVAL, as socket(7) lets one expect.",
        kernel: &instead::setsockopt(|fd, level, option, value| {
            if (level, option) == (SOL_SOCKET, SO_REUSEPORT) && raw::getsockname(fd)?.port() != 0 {
                return no(Errno::EINVAL);
            }
            raw::setsockopt(fd, level, option, value)
        }),
    },
    Mutant {
        name: "abstract-names-are-global",
        breaks: "mp-abstract-per-netns",
        behaviour: "An abstract name can be reached from all network namespaces, as a path can.",
        kernel: &instead::connect(|fd, address| match raw::connect(fd, address) {
            Err(_) if option(fd, SOL_SOCKET, libc::SO_DOMAIN) == AF_UNIX => Ok(()),
            reply => reply,
        }),
    },
    Mutant {
        name: "blocked-accept-is-eagain",
        breaks: "mp-prefork-shared-accept",
        behaviour: "A blocked accept that is woken gives EAGAIN, as where a connection wakes all that wait.",
        kernel: &instead::accept(|listener| raw::accept(listener).and(no(Errno::EAGAIN))),
    },
    Mutant {
        name: "accept-aborted",
        breaks: "mp-prefork-shared-listener",
        behaviour: "accept of a non-blocking listener whose connection somebody else took gives \
                    ECONNABORTED, which POSIX has for connections that went away.",
        kernel: &OtherErrno(Call::accept, Errno::EAGAIN, Errno::ECONNABORTED),
    },
];
