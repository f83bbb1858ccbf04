//! A connect that is refused: which error, how often, and what comes after it.

use crate::facts::support::*;
use libc::MSG_NOSIGNAL;

pub(super) const FACTS: &[Fact] = &[
    Fact {
        id: "nb-connect-refused-einprogress",
        claim: "A non-blocking connect to a closed loopback port gives EINPROGRESS too, never ECONNREFUSED directly; \
                then poll shows ERR and HUP, and SO_ERROR is ECONNREFUSED.",
        reference: "connect(2); release_sock in net/core/sock.c handles the RST at the end of the call",
        matters: "The error is told by SO_ERROR, once the socket is writable, and by nothing else.",
        experiment: "A non-blocking socket connects to a port that nobody listens at, and is polled.",
        wrong: &["WSL 1: https://github.com/microsoft/WSL/issues/1584"],
        run: |k| {
            let address = refused_address(k)?;
            let fd = tcp_nonblocking(k)?;
            noted(is("connect to a closed port", k.connect(fd, &address), no(Errno::EINPROGRESS)));
            noted(shows("the socket once it is over", k, fd, ERR | HUP));
            is("SO_ERROR then", so_error(k, fd)?, Errno::ECONNREFUSED)
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "nb-connect-error-once",
        claim: "After a refusal SO_ERROR gives ECONNREFUSED once and then 0; recv then returns 0 and send gives EPIPE.",
        reference: "socket(7) SO_ERROR; sock_error in include/net/sock.h",
        matters: "Logging SO_ERROR clears it, and the code that decides sees none: the socket then looks like one whose \
                  peer closed.",
        experiment: "A refused socket is asked for SO_ERROR twice, then read from and written to.",
        wrong: &[
            "mio: https://github.com/tokio-rs/mio/issues/1942",
            "rust-libp2p: https://github.com/libp2p/rust-libp2p/issues/2725",
        ],
        run: |k| {
            let fd = refused(k, &refused_address(k)?)?;
            noted(is("SO_ERROR", so_error(k, fd)?, Errno::ECONNREFUSED));
            noted(is("SO_ERROR again", so_error(k, fd)?, NO_ERROR));
            noted(is("recv", k.recv(fd, &mut [0; 8], 0), Ok(0)));
            is("send", k.send(fd, b"x", MSG_NOSIGNAL), no(Errno::EPIPE))
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "nb-connect-retry-after-refusal",
        claim: "connect that is called again instead of reading SO_ERROR gives ECONNREFUSED, and the next one begins afresh with EINPROGRESS.",
        reference: "__inet_stream_connect in net/ipv4/af_inet.c, sock_error",
        matters: "On Linux a socket may be used again after a refusal; POSIX leaves its state open.",
        experiment: "A socket connects to a closed port, waits for ERR, and connects twice more.",
        run: |k| {
            let address = refused_address(k)?;
            let fd = refused(k, &address)?;
            is("connect after the refusal", k.connect(fd, &address), no(Errno::ECONNREFUSED))?;
            is("connect once more", k.connect(fd, &address), no(Errno::EINPROGRESS))
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "nb-connect-after-soerror-econnaborted",
        claim: "If SO_ERROR was read first, the next connect gives ECONNABORTED, and only the one after it begins afresh.",
        reference: "__inet_stream_connect in net/ipv4/af_inet.c: sock_error(sk) ?: -ECONNABORTED",
        matters: "A client that retries on the same socket sees an error that no peer caused.",
        experiment: "A refused socket is asked for SO_ERROR and connects twice more.",
        wrong: &["gVisor, which gives ECONNABORTED always: https://gvisor.dev/issue/3828"],
        run: |k| {
            let address = refused_address(k)?;
            let fd = refused(k, &address)?;
            is("SO_ERROR", so_error(k, fd)?, Errno::ECONNREFUSED)?;
            is("connect after SO_ERROR was read", k.connect(fd, &address), no(Errno::ECONNABORTED))?;
            is("connect once more", k.connect(fd, &address), no(Errno::EINPROGRESS))
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "nb-unconnected-errors",
        claim: "On a TCP socket that was never connected recv gives ENOTCONN, send EPIPE, shutdown ENOTCONN; on an AF_UNIX stream socket recv gives \
                EINVAL and send ENOTCONN.",
        reference: "tcp_sendmsg_locked in net/ipv4/tcp.c, unix_stream_read_generic in net/unix/af_unix.c",
        matters: "Code that tests for ENOTCONN alone misses half of the cases.",
        experiment: "Each call is made on a fresh socket.",
        run: |k| {
            let fd = tcp(k)?;
            noted(is("TCP recv", k.recv(fd, &mut [0; 8], 0), no(Errno::ENOTCONN)));
            noted(is("TCP send", k.send(fd, b"x", MSG_NOSIGNAL), no(Errno::EPIPE)));
            noted(is("TCP shutdown", k.shutdown(fd, libc::SHUT_RDWR), no(Errno::ENOTCONN)));
            let fd = k.socket(libc::AF_UNIX, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0)?;
            noted(is("AF_UNIX recv", k.recv(fd, &mut [0; 8], 0), no(Errno::EINVAL)));
            is("AF_UNIX send", k.send(fd, b"x", MSG_NOSIGNAL), no(Errno::ENOTCONN))
        },
        ..Fact::ALWAYS
    },
];

/// A non-blocking socket whose connect to `address` was refused, which nobody has been told yet.
fn refused(k: K, address: &Address) -> Held<i32> {
    let fd = connecting(k, address)?;
    until_shows(k, fd, RESET)?;
    Ok(fd)
}
