//! Kernels that break a fact of `facts/poll/` about sockets.

use super::kinds::*;
use libc::{
    AF_INET, AF_UNIX, POLLERR, POLLHUP, POLLIN, POLLOUT, POLLPRI, POLLRDHUP, SOCK_DGRAM, SOCK_STREAM,
    SOL_SOCKET,
};

pub(super) const MUTANTS: &[Mutant] = &[
    Mutant {
        name: "rdhup-implies-hup",
        breaks: "poll-tcp-peer-fin",
        behaviour: "HUP comes with RDHUP, on a half close already, as mio before #939 had it.",
        kernel: &Gains(POLLHUP, |one| one.revents & POLLRDHUP != 0),
    },
    Mutant {
        name: "unix-close-as-tcp",
        breaks: "poll-unix-peer-close-hup",
        behaviour: "An AF_UNIX stream whose peer closes has no HUP, as a TCP socket has none, and as in gVisor's issue 7331.",
        kernel: &Loses(POLLHUP, |one| is_socket(one.fd, AF_UNIX, SOCK_STREAM)),
    },
    Mutant {
        name: "so-error-leaves-err",
        breaks: "poll-soerror-clears-err-only",
        behaviour: "ERR stays after SO_ERROR was read, as people expect who poll for it later.",
        kernel: &Table {
            getsockopt: |fd, level, option, value| {
                let n = raw::getsockopt(fd, level, option, value)?;
                if (level, option) == (SOL_SOCKET, libc::SO_ERROR) && value.iter().any(|byte| *byte != 0) {
                    mark(fd);
                }
                Ok(n)
            },
            poll: |fds, timeout| Gains(POLLERR, |one| is_marked(one.fd)).poll(fds, timeout),
            ..Table::LINUX
        },
    },
    Mutant {
        name: "refused-is-err-alone",
        breaks: "poll-tcp-refused-mask",
        behaviour: "A refused connection has ERR without HUP, as people expect of one that never was up.",
        kernel: &Loses(POLLHUP, is_failed_tcp),
    },
    Mutant {
        name: "shut-wr-ends-out",
        breaks: "poll-tcp-own-shutwr-stays-out",
        behaviour: "There is no OUT after our own SHUT_WR, since no write can succeed.",
        kernel: &Loses(POLLOUT, |one| {
            let (fin_wait1, fin_wait2) = (Some(4), Some(5));
            [fin_wait1, fin_wait2].contains(&tcp_state(one.fd))
        }),
    },
    Mutant {
        name: "two-fins-no-hup",
        breaks: "poll-tcp-both-fins-hup",
        behaviour: "HUP comes with an RST only, and not when both sides have sent their FIN.",
        kernel: &Loses(POLLHUP, |one| {
            one.revents & (POLLERR | POLLRDHUP) == POLLRDHUP && is_socket(one.fd, AF_INET, SOCK_STREAM)
        }),
    },
    Mutant {
        name: "shut-rd-tells-peer",
        breaks: "poll-tcp-local-shut-rd",
        behaviour: "SHUT_RD takes the whole connection down, so that the peer learns of it.",
        kernel: &instead::shutdown(|fd, how| {
            let both = how == libc::SHUT_RD && is_socket(fd, AF_INET, SOCK_STREAM);
            raw::shutdown(fd, if both { libc::SHUT_RDWR } else { how })
        }),
    },
    Mutant {
        name: "error-has-pri",
        breaks: "poll-tcp-rst-mask",
        behaviour: "The ERR of a TCP socket comes with PRI, as people expect because select calls its third set that \
                    of exceptional conditions.",
        kernel: &Gains(POLLPRI, is_failed_tcp),
    },
    Mutant {
        name: "urgent-stays",
        breaks: "poll-oob-pri",
        behaviour: "PRI stays after the urgent byte was read, as people expect of IN that comes with it.",
        kernel: &Table {
            recv: |fd, buffer, flags| {
                let received = raw::recv(fd, buffer, flags)?;
                if flags & libc::MSG_OOB != 0 {
                    mark(fd);
                }
                Ok(received)
            },
            poll: |fds, timeout| Gains(POLLPRI, |one| is_marked(one.fd)).poll(fds, timeout),
            ..Table::LINUX
        },
    },
    Mutant {
        name: "unix-close-drops-unread",
        breaks: "poll-unix-peer-close-unread-err",
        behaviour: "What the peer has not read is lost without a word when it closes, as in gVisor's issue 735.",
        kernel: &instead::close(|fd| {
            if is_socket(fd, AF_UNIX, SOCK_STREAM) {
                drain(fd);
            }
            raw::close(fd)
        }),
    },
    Mutant {
        name: "unix-shut-wr-is-both",
        breaks: "poll-unix-peer-shutwr",
        behaviour: "SHUT_WR of an AF_UNIX stream shuts both directions.",
        kernel: &instead::shutdown(|fd, how| {
            let both = how == libc::SHUT_WR && is_socket(fd, AF_UNIX, SOCK_STREAM);
            raw::shutdown(fd, if both { libc::SHUT_RDWR } else { how })
        }),
    },
    Mutant {
        name: "unix-listener-forgets-queue",
        breaks: "poll-unix-listener-close-err",
        behaviour: "A listener that closes ends the connections in its queue as if they had been accepted and closed: \
                    no ERR, and recv gives 0. gVisor did so until 2026.",
        kernel: &instead::close(|fd| {
            if is_socket(fd, AF_UNIX, SOCK_STREAM) && is_listener(fd) {
                // It accepts what is there, and closes it.
                set_nonblocking(fd)?;
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
        kernel: &instead::send(|fd, bytes, flags| {
            if is_marked(fd) {
                return no(Errno::ECONNREFUSED);
            }
            let sent = raw::send(fd, bytes, flags);
            if sent == no(Errno::ECONNREFUSED) && is_socket(fd, AF_INET, SOCK_DGRAM) {
                mark(fd);
            }
            sent
        }),
    },
    Mutant {
        name: "unix-dgram-out-always",
        breaks: "poll-unix-dgram-peer-queue",
        behaviour: "An AF_UNIX datagram socket has OUT whatever its peer has not read, as Shadow had it.",
        kernel: &Gains(POLLOUT, |one| is_socket(one.fd, AF_UNIX, SOCK_DGRAM)),
    },
    Mutant {
        name: "errqueue-is-silent",
        breaks: "poll-errqueue-is-err",
        behaviour: "ERR stands for an error alone: a notice of MSG_ZEROCOPY is found only by looking for it.",
        kernel: &Loses(POLLERR, |one| {
            one.revents & POLLHUP == 0 && option(one.fd, SOL_SOCKET, libc::SO_ZEROCOPY) == 1
        }),
    },
    Mutant {
        name: "udp-readable-by-bytes",
        breaks: "poll-udp-zero-length-readable",
        behaviour: "A socket is readable when it has bytes: an empty datagram is not seen.",
        kernel: &Loses(POLLIN, |one| {
            let (mut bytes, is_udp) = (0, is_socket(one.fd, AF_INET, SOCK_DGRAM));
            is_udp && raw::ioctl(one.fd, libc::FIONREAD, &mut bytes).is_ok() && bytes == 0
        }),
    },
];

fn is_failed_tcp(one: &pollfd) -> bool {
    one.revents & POLLERR != 0 && is_socket(one.fd, AF_INET, SOCK_STREAM)
}
