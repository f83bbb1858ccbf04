//! Kernels that break a fact of `facts/tcp/`.

use super::kinds::*;
use libc::{IPPROTO_TCP, POLLERR, SHUT_RD, SHUT_WR, SO_ERROR, SO_LINGER, SOL_SOCKET, TCP_INFO};

pub(super) const MUTANTS: &[Mutant] = &[
    Mutant {
        name: "backlog-exact",
        breaks: "tcp-backlog-plus-one",
        behaviour: "listen(n) lets n connections wait, not n + 1, as its manual page can be read.",
        kernel: &instead::listen(|fd, backlog| raw::listen(fd, (backlog - 1).max(0))),
    },
    Mutant {
        name: "backlog-not-capped",
        breaks: "tcp-backlog-capped",
        behaviour: "A negative backlog is none, as in kernels that do not cast it to unsigned.",
        kernel: &instead::listen(|fd, backlog| raw::listen(fd, backlog.max(0))),
    },
    Mutant {
        name: "overflow-refuses",
        breaks: "tcp-overflow-drops-syn",
        behaviour: "connect to a full queue is refused with an RST, which asterinas tried and took back.",
        kernel: &Changed(|one| {
            // What a client would see once the RST had come.
            if one.revents == 0 && is_syn_sent(one.fd) {
                one.revents = POLLERR;
            }
        }),
    },
    Mutant {
        name: "syn-exponential",
        breaks: "tcp-syn-linear",
        behaviour: "Each SYN that is sent again waits twice as long as the last, as before Linux 6.5 and in all textbooks.",
        // Within the 6 s of the experiment there would be two.
        kernel: &OptionChanged(IPPROTO_TCP, TCP_INFO, |_, value| {
            const TOTAL_RETRANS: usize = 100;
            value.iter_mut().skip(TOTAL_RETRANS).for_each(|byte| *byte = 0);
        }),
    },
    Mutant {
        name: "defer-accept-ignored",
        breaks: "tcp-defer-accept",
        behaviour: "TCP_DEFER_ACCEPT is taken and ignored.",
        kernel: &OptionIgnored(IPPROTO_TCP, libc::TCP_DEFER_ACCEPT),
    },
    Mutant {
        name: "user-timeout-ignored",
        breaks: "tcp-user-timeout-zero-window",
        behaviour: "TCP_USER_TIMEOUT says nothing of a peer that acknowledges, as its text in RFC 5482 can be read.",
        kernel: &OptionIgnored(IPPROTO_TCP, libc::TCP_USER_TIMEOUT),
    },
    Mutant {
        name: "fastopen-connect-ignored",
        breaks: "tcp-fastopen-connect-lazy",
        behaviour: "TCP_FASTOPEN_CONNECT is taken and ignored: connect connects.",
        kernel: &OptionIgnored(IPPROTO_TCP, libc::TCP_FASTOPEN_CONNECT),
    },
    Mutant {
        name: "cork-ignored",
        breaks: "tcp-cork-holds-back",
        behaviour: "TCP_CORK is taken and ignored.",
        kernel: &OptionIgnored(IPPROTO_TCP, libc::TCP_CORK),
    },
    Mutant {
        name: "rst-after-fin-is-econnreset",
        breaks: "tcp-fin-rst-is-epipe",
        behaviour: "SO_ERROR after FIN and RST is ECONNRESET, as programmers expect.",
        kernel: &OptionChanged(SOL_SOCKET, SO_ERROR, |_, value| {
            if value[..] == libc::EPIPE.to_ne_bytes() {
                value.copy_from_slice(&libc::ECONNRESET.to_ne_bytes());
            }
        }),
    },
    Mutant {
        name: "rst-discards-data",
        breaks: "tcp-rst-keeps-received-data",
        behaviour: "An RST throws away what was received before it, as RFC 793 allowed.",
        kernel: &instead::recv(|fd, buffer, flags| {
            if polled(fd, 0, 0) & POLLERR != 0 {
                drain(fd);
            }
            raw::recv(fd, buffer, flags)
        }),
    },
    Mutant {
        name: "shutdown-after-rst-succeeds",
        breaks: "tcp-shutdown-after-rst",
        behaviour: "shutdown of a connection that was reset gives 0: it is down already.",
        kernel: &instead::shutdown(|fd, how| raw::shutdown(fd, how).or(Ok(()))),
    },
    Mutant {
        name: "close-with-unread-sends-fin",
        breaks: "tcp-close-with-unread-sends-rst",
        behaviour: "close with unread data sends a FIN, as gVisor did (google/gvisor#1449) and turmoil (tokio-rs/turmoil#269).",
        kernel: &instead::close(|fd| {
            drain(fd);
            raw::close(fd)
        }),
    },
    Mutant {
        name: "rst-is-epipe",
        breaks: "tcp-plain-rst-is-econnreset",
        behaviour: "The first send after an RST gives EPIPE.",
        kernel: &OtherErrno(Call::send, Errno::ECONNRESET, Errno::EPIPE),
    },
    Mutant {
        name: "close-sends-fin-at-once",
        breaks: "tcp-fin-needs-last-reference",
        behaviour: "close shuts the connection down though another reference is left.",
        kernel: &instead::close(|fd| shut_then_close(fd, SHUT_WR)),
    },
    Mutant {
        name: "close-wakes-recv",
        breaks: "tcp-close-vs-shutdown-wake-recv",
        behaviour: "close wakes a recv in another thread, as on Solaris and with Java's sockets.",
        kernel: &instead::close(|fd| shut_then_close(fd, SHUT_RD)),
    },
    Mutant {
        name: "close-wakes-accept",
        breaks: "tcp-listener-close-does-not-wake-accept",
        behaviour: "close of a listener wakes an accept in another thread.",
        kernel: &instead::close(|fd| shut_then_close(fd, libc::SHUT_RDWR)),
    },
    Mutant {
        name: "nonblock-close-does-not-linger",
        breaks: "tcp-linger-blocks-nonblock",
        behaviour: "close of a non-blocking socket does not wait, as O_NONBLOCK lets one expect; on FreeBSD it is so.",
        kernel: &instead::close(|fd| {
            raw::setsockopt(fd, SOL_SOCKET, SO_LINGER, &[0; 8]).ok();
            raw::close(fd)
        }),
    },
    Mutant {
        name: "shut-rd-blocks-arrivals",
        breaks: "tcp-shut-rd-does-not-block-arrivals",
        behaviour: "After SHUT_RD recv gives nothing that arrives later, as AF_UNIX and many texts have it.",
        kernel: &Table {
            shutdown: |fd, how| deaf_after(SHUT_RD, fd, how),
            recv: RECV_UNLESS_DEAF,
            ..Table::LINUX
        },
    },
    Mutant {
        name: "half-close-is-whole",
        breaks: "tcp-half-close-keeps-other-way",
        behaviour: "After SHUT_WR nothing is received either.",
        kernel: &Table {
            shutdown: |fd, how| deaf_after(SHUT_WR, fd, how),
            recv: RECV_UNLESS_DEAF,
            ..Table::LINUX
        },
    },
    Mutant {
        name: "timewait-in-tcp-info",
        breaks: "tcp-timewait-reads-as-close",
        behaviour: "TCP_INFO says TIME_WAIT of a connection that is in it.",
        kernel: &OptionChanged(IPPROTO_TCP, TCP_INFO, |_, value| {
            const TIME_WAIT: u8 = 6;
            const CLOSE: u8 = 7;
            value[0] = if value[0] == CLOSE { TIME_WAIT } else { value[0] };
        }),
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
        kernel: &instead::close(|fd| {
            // Nobody has the number of what is accepted, so it stays open.
            while is_pending(fd) {
                raw::accept(fd)?;
            }
            raw::close(fd)
        }),
    },
    Mutant {
        name: "listener-shutdown-ignored",
        breaks: "tcp-listener-shut-rd",
        behaviour: "shutdown of a listener does nothing.",
        kernel: &instead::shutdown(|fd, how| if is_listener(fd) { Ok(()) } else { raw::shutdown(fd, how) }),
    },
    Mutant {
        name: "reuseaddr-shares",
        breaks: "tcp-reuseaddr-no-two-listeners",
        behaviour: "SO_REUSEADDR allows two listeners on one address, as the option of that name does on Windows.",
        kernel: &instead::bind(|fd, address| {
            raw::setsockopt(fd, SOL_SOCKET, libc::SO_REUSEPORT, &1i32.to_ne_bytes())?;
            raw::bind(fd, address)
        }),
    },
    Mutant {
        name: "timewait-blocks-nobody",
        breaks: "tcp-timewait-blocks-bind",
        behaviour: "A port in TIME_WAIT can be bound without SO_REUSEADDR, as on Windows.",
        kernel: &BIND_REUSES,
    },
    Mutant {
        name: "reuseaddr-of-new-socket-suffices",
        breaks: "tcp-reuseaddr-needed-on-old-socket",
        behaviour: "Every socket has SO_REUSEADDR, so that the option of the old one does not matter: the common belief.",
        kernel: &BIND_REUSES,
    },
    Mutant {
        name: "self-connect-refused",
        breaks: "tcp-self-connect",
        behaviour: "A socket cannot connect to itself, as some BSDs have it.",
        kernel: &instead::connect(|fd, address| match raw::getsockname(fd) {
            Ok(own) if own == *address => no(Errno::ECONNREFUSED),
            _ => raw::connect(fd, address),
        }),
    },
];

/// Each socket that is bound has SO_REUSEADDR.
const BIND_REUSES: Table = instead::bind(|fd, address| {
    raw::setsockopt(fd, SOL_SOCKET, libc::SO_REUSEADDR, &1i32.to_ne_bytes())?;
    raw::bind(fd, address)
});

fn shut_then_close(fd: i32, how: i32) -> Reply<()> {
    // A refusal is that of a descriptor which is no connection, and needs no waking.
    raw::shutdown(fd, how).ok();
    raw::close(fd)
}

/// shutdown, after which the socket is deaf if it was shut down in this way.
fn deaf_after(deaf: i32, fd: i32, how: i32) -> Reply<()> {
    if how == deaf {
        mark(fd);
    }
    raw::shutdown(fd, how)
}

/// recv gives 0 from a socket that is deaf.
const RECV_UNLESS_DEAF: fn(i32, &mut [u8], i32) -> Reply<usize> =
    |fd, buffer, flags| if is_marked(fd) { Ok(0) } else { raw::recv(fd, buffer, flags) };
