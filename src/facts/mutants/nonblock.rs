//! Kernels that break a fact of `facts/nonblock/`.

use super::kinds::*;
use crate::sys::raw::Address;
use libc::{
    AF_UNIX, F_SETFL, IPPROTO_TCP, MSG_DONTWAIT, O_NONBLOCK, POLLERR, POLLIN, POLLOUT, SO_ERROR, SOL_SOCKET,
};

pub(super) const MUTANTS: &[Mutant] = &[
    Mutant {
        name: "refused-at-once",
        breaks: "nb-connect-refused-einprogress",
        behaviour: "A non-blocking connect to a closed port gives ECONNREFUSED itself, as WSL 1 did (microsoft/WSL#1584).",
        kernel: &instead::connect(|fd, address| match raw::connect(fd, address) {
            // On a busy machine the end of a connect on loopback may come a moment later.
            Err(is) if is.errno == Errno::EINPROGRESS && polled(fd, POLLOUT, 1000) & POLLERR != 0 => {
                no(Errno::from_raw(so_error(fd)))
            }
            reply => reply,
        }),
    },
    Mutant {
        name: "accept-inherits-nonblock",
        breaks: "nb-accept-flags-not-inherited",
        behaviour: "An accepted socket has O_NONBLOCK from its listener, as on the BSDs.",
        kernel: &instead::accept(|listener| {
            let accepted = raw::accept(listener)?;
            raw::fcntl(accepted, F_SETFL, flags(accepted) | flags(listener) & O_NONBLOCK)?;
            Ok(accepted)
        }),
    },
    Mutant {
        name: "accept-econnaborted",
        breaks: "nb-accept-after-rst",
        behaviour: "accept gives ECONNABORTED for a connection that was reset, as POSIX has it.",
        kernel: &instead::accept(|listener| {
            let accepted = raw::accept(listener)?;
            if so_error(accepted) == libc::ECONNRESET { no(Errno::ECONNABORTED) } else { Ok(accepted) }
        }),
    },
    Mutant {
        name: "connect-afresh-after-error",
        breaks: "nb-connect-after-soerror-econnaborted",
        behaviour: "After SO_ERROR was read connect begins afresh at once, as everybody expects.",
        kernel: &instead::connect(|fd, address| match raw::connect(fd, address) {
            Err(is) if is.errno == Errno::ECONNABORTED => raw::connect(fd, address),
            reply => reply,
        }),
    },
    Mutant {
        name: "connect-done-on-loopback",
        breaks: "nb-connect-einprogress-loopback",
        behaviour: "A non-blocking connect on loopback returns 0, as the BSDs may do.",
        kernel: &instead::connect(|fd, address| match raw::connect(fd, address) {
            Err(is) if is.errno == Errno::EINPROGRESS && polled(fd, POLLOUT, 1000) == POLLOUT => Ok(()),
            reply => reply,
        }),
    },
    Mutant {
        name: "connect-restarted",
        breaks: "nb-connect-interrupted-continues",
        behaviour: "A connect that a signal interrupted is called again inside, as language runtimes do.",
        // It waits for as long as there is no room, and then says that it is connected: after a while, for the
        // experiment to see that rather than its own time limit.
        kernel: &instead::connect(|fd, address| match raw::connect(fd, address) {
            Err(is) if is.errno == Errno::EINTR => {
                polled(fd, POLLOUT, 300);
                Ok(())
            }
            reply => reply,
        }),
    },
    Mutant {
        name: "connect-after-eintr-is-ealready",
        breaks: "nb-connect-again-after-eintr",
        behaviour: "connect that is called again after EINTR gives EALREADY whether or not the socket blocks, as POSIX has it.",
        kernel: &instead::connect(|fd, address| {
            if is_syn_sent(fd) { no(Errno::EALREADY) } else { raw::connect(fd, address) }
        }),
    },
    Mutant {
        name: "so-error-stays",
        breaks: "nb-connect-error-once",
        behaviour: "SO_ERROR does not clear the error it tells.",
        kernel: &OptionChanged(SOL_SOCKET, SO_ERROR, |_, value| {
            /// The last error that was told.
            static ERROR: AtomicI32 = AtomicI32::new(0);
            match value[..] {
                [0, 0, 0, 0] => value.copy_from_slice(&ERROR.load(SeqCst).to_ne_bytes()),
                [a, b, c, d] => ERROR.store(i32::from_ne_bytes([a, b, c, d]), SeqCst),
                _ => {}
            }
        }),
    },
    Mutant {
        name: "second-connect-is-eisconn",
        breaks: "nb-connect-poll-sequence",
        behaviour: "The first connect after the connection is established gives EISCONN, as on the BSDs.",
        kernel: &instead::connect(|fd, address| {
            raw::connect(fd, address)?;
            if is_nonblocking(fd) { no(Errno::EISCONN) } else { Ok(()) }
        }),
    },
    Mutant {
        name: "syn-sent-is-enotconn",
        breaks: "nb-connect-ealready",
        behaviour: "recv gives ENOTCONN while the connection is being made, as POSIX and the BSDs have it.",
        kernel: &instead::recv(|fd, buffer, flags| {
            if is_syn_sent(fd) { no(Errno::ENOTCONN) } else { raw::recv(fd, buffer, flags) }
        }),
    },
    Mutant {
        name: "connect-limit-is-etimedout",
        breaks: "nb-connect-sndtimeo",
        behaviour: "A connect that has waited for SO_SNDTIMEO gives ETIMEDOUT, as its name suggests.",
        kernel: &instead::connect(|fd, address| match raw::connect(fd, address) {
            Err(is) if is.errno == Errno::EINPROGRESS && !is_nonblocking(fd) => no(Errno::ETIMEDOUT),
            reply => reply,
        }),
    },
    Mutant {
        name: "unspec-is-eafnosupport",
        breaks: "nb-connect-unspec-disconnects",
        behaviour: "connect with AF_UNSPEC is for datagram sockets alone, and gives EAFNOSUPPORT for TCP.",
        kernel: &instead::connect(|fd, address| match *address == Address::unspecified() {
            true => no(Errno::EAFNOSUPPORT),
            false => raw::connect(fd, address),
        }),
    },
    Mutant {
        name: "fresh-socket-is-silent",
        breaks: "nb-register-before-connect",
        behaviour: "epoll has nothing to say of a socket that never connected, as tokio-rs/tokio#4549 expected.",
        kernel: &Waited(|_, events| {
            events.retain(|event| event.events != (libc::EPOLLOUT | libc::EPOLLHUP) as u32)
        }),
    },
    Mutant {
        name: "retry-is-econnaborted",
        breaks: "nb-connect-retry-after-refusal",
        behaviour: "connect after a refusal gives ECONNABORTED whether or not SO_ERROR was read, as in gVisor \
                    (google/gvisor#3828).",
        kernel: &instead::connect(|fd, address| {
            if polled(fd, POLLOUT, 0) & POLLERR != 0 {
                so_error(fd);
            }
            raw::connect(fd, address)
        }),
    },
    Mutant {
        name: "unix-connect-in-progress",
        breaks: "nb-connect-unix-eagain",
        behaviour: "A non-blocking AF_UNIX connect to a full queue gives EINPROGRESS, as that of TCP does.",
        kernel: &instead::connect(|fd, address| match raw::connect(fd, address) {
            Err(is) if is.errno == Errno::EAGAIN && option(fd, SOL_SOCKET, libc::SO_DOMAIN) == AF_UNIX => {
                no(Errno::EINPROGRESS)
            }
            reply => reply,
        }),
    },
    Mutant {
        name: "unconnected-send-is-enotconn",
        breaks: "nb-unconnected-errors",
        behaviour: "send on a TCP socket that is not connected gives ENOTCONN, as POSIX has it.",
        kernel: &OtherErrno(Call::send, Errno::EPIPE, Errno::ENOTCONN),
    },
    Mutant {
        name: "ports-exhausted-everywhere",
        breaks: "nb-ports-exhausted",
        behaviour: "A local port that is in use serves no second destination, as with bind before connect.",
        kernel: &instead::connect(|fd, address| {
            // One is connected to each listener.
            if !marked().is_empty() {
                return no(Errno::EADDRNOTAVAIL);
            }
            raw::connect(fd, address).inspect(|()| mark(fd))
        }),
    },
    Mutant {
        name: "v6-only",
        breaks: "nb-dual-stack",
        behaviour: "A listener on [::] is for IPv6 alone, as on OpenBSD.",
        kernel: &instead::setsockopt(|fd, level, option, value| match (level, option) {
            (libc::IPPROTO_IPV6, libc::IPV6_V6ONLY) => {
                raw::setsockopt(fd, level, option, &1i32.to_ne_bytes())
            }
            _ => raw::setsockopt(fd, level, option, value),
        }),
    },
    Mutant {
        name: "accept-resets-options",
        breaks: "nb-accept-options-inherited",
        behaviour: "An accepted socket starts with the default of TCP_NODELAY, as many servers suppose.",
        kernel: &instead::accept(|listener| {
            let accepted = raw::accept(listener)?;
            raw::setsockopt(accepted, IPPROTO_TCP, libc::TCP_NODELAY, &0i32.to_ne_bytes())?;
            Ok(accepted)
        }),
    },
    Mutant {
        name: "dontwait-sticks",
        breaks: "nb-msg-dontwait-one-call",
        behaviour: "MSG_DONTWAIT sets O_NONBLOCK, and leaves it set, as an emulation by fcntl does.",
        kernel: &instead::recv(|fd, buffer, flags| {
            if flags & MSG_DONTWAIT != 0 {
                set_nonblocking(fd)?;
            }
            raw::recv(fd, buffer, flags)
        }),
    },
    Mutant {
        name: "recv-of-nothing-is-zero",
        breaks: "nb-recv-zero-length",
        behaviour: "recv of 0 bytes gives 0 without a look at the socket, as read of 0 bytes does for files.",
        kernel: &instead::recv(
            |fd, buffer, flags| if buffer.is_empty() { Ok(0) } else { raw::recv(fd, buffer, flags) },
        ),
    },
    Mutant {
        name: "send-counts-what-it-was-given",
        breaks: "nb-send-partial-then-eagain",
        behaviour: "send says that it took all when it took a part: the belief of all who ignore its result.",
        kernel: &instead::send(|fd, bytes, flags| raw::send(fd, bytes, flags).map(|_| bytes.len())),
    },
    Mutant {
        name: "waitall-is-all-or-eintr",
        breaks: "nb-waitall-short-on-signal",
        behaviour: "recv with MSG_WAITALL gives EINTR when a signal comes before it has all, as its name lets one expect.",
        kernel: &instead::recv(|fd, buffer, flags| match raw::recv(fd, buffer, flags) {
            Ok(n) if flags & libc::MSG_WAITALL != 0 && n < buffer.len() => no(Errno::EINTR),
            reply => reply,
        }),
    },
    Mutant {
        name: "msg-trunc-ignored",
        breaks: "nb-msg-trunc",
        behaviour: "recv takes no MSG_TRUNC from its caller, as on the BSDs.",
        kernel: &instead::recv(|fd, buffer, flags| raw::recv(fd, buffer, flags & !libc::MSG_TRUNC)),
    },
    Mutant {
        name: "sendfile-keeps-offset",
        breaks: "nb-sendfile-partial",
        behaviour: "sendfile leaves the offset as it was, as on FreeBSD, where it is no pointer.",
        kernel: &instead::sendfile(|to, from, offset, n| {
            let mut moved = *offset;
            raw::sendfile(to, from, &mut moved, n)
        }),
    },
    Mutant {
        name: "buffers-as-asked",
        breaks: "nb-buffers-doubled",
        behaviour: "SO_RCVBUF reads back as it was set, as on the BSDs.",
        kernel: &OptionChanged(SOL_SOCKET, libc::SO_RCVBUF, |fd, value| {
            value.copy_from_slice(&(option(fd, SOL_SOCKET, libc::SO_RCVBUF) / 2).to_ne_bytes());
        }),
    },
    Mutant {
        name: "pipe-splits-short-writes",
        breaks: "nb-pipe-atomic-write",
        behaviour: "A pipe takes what there is room for of any write, as a socket does.",
        kernel: &instead::write(|fd, bytes| {
            let (mut written, mut rest) = (raw::write(fd, bytes), bytes.len());
            while written == no(Errno::EAGAIN) && rest > 1 {
                rest /= 2;
                written = raw::write(fd, &bytes[..rest]);
            }
            written
        }),
    },
    Mutant {
        name: "room-lets-the-waiting-in",
        breaks: "nb-connect-completes-on-syn-retransmit",
        behaviour: "accept completes a connect that waits for room at once, as it does for AF_UNIX.",
        kernel: &Table {
            accept: |fd| raw::accept(fd).inspect(|_| ROOM.store(true, SeqCst)),
            poll: |mut fds, timeout| {
                if let At::Memory([one]) = &mut fds
                    && ROOM.load(SeqCst)
                    && one.events & POLLOUT != 0
                    && is_syn_sent(one.fd)
                {
                    one.revents = POLLOUT;
                    return Ok(1);
                }
                raw::poll(fds, timeout)
            },
            ..Table::LINUX
        },
    },
    Mutant {
        name: "fin-overtakes-data",
        breaks: "nb-accept-after-fin",
        behaviour: "recv gives 0 as soon as the FIN is there, as in programs that take RDHUP for the end.",
        kernel: &instead::recv(|fd, buffer, flags| match polled(fd, libc::POLLRDHUP, 0) & libc::POLLRDHUP {
            0 => raw::recv(fd, buffer, flags),
            _ => Ok(0),
        }),
    },
    Mutant {
        name: "accept-newest-first",
        breaks: "nb-accept-queue-fifo",
        behaviour: "accept hands out the newest connection first, as some servers do with their own queues under load.",
        kernel: &instead::accept(|listener| {
            /// What was taken from the queue of a listener and not handed out yet.
            static TAKEN: Mutex<Vec<i32>> = Mutex::new(Vec::new());
            let mut taken = locked(&TAKEN);
            while taken.is_empty() || polled(listener, POLLIN, 0) != 0 {
                taken.push(raw::accept(listener)?);
            }
            taken.pop().map_or(no(Errno::EAGAIN), Ok)
        }),
    },
    Mutant {
        name: "accept-eagain-is-eproto",
        breaks: "nb-accept-eagain",
        behaviour: "accept gives EPROTO when there is nothing in the queue, as SVR4 did for a connection that went.",
        kernel: &OtherErrno(Call::accept, Errno::EAGAIN, Errno::EPROTO),
    },
];

/// Whether accept has made room.
static ROOM: AtomicBool = AtomicBool::new(false);
