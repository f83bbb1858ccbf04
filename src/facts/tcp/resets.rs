//! Resets: who gets which error, how often, and what happens to data.

use crate::facts::support::*;
use libc::{MSG_DONTWAIT, MSG_NOSIGNAL, SIGPIPE};

pub(super) const FACTS: &[Fact] = &[
    Fact {
        id: "tcp-fin-rst-is-epipe",
        claim: "When the peer has closed (FIN) and we send, the first send succeeds and the RST that answers sets EPIPE: the next send gives \
                EPIPE, or SO_ERROR is EPIPE, while recv returns 0. ECONNRESET is never seen.",
        reference: "tcp_reset in net/ipv4/tcp_input.c: EPIPE in CLOSE_WAIT",
        matters: "Programs that expect ECONNRESET from a peer that went away see EPIPE, and SIGPIPE with it.",
        experiment: "The peer closes, we send, and wait for ERR; then, on a fresh connection each, send, SO_ERROR and recv are called.",
        run: |k| {
            let recv = |fd| k.recv(fd, &mut [0; 8], MSG_DONTWAIT);
            let ours = after_fin_and_rst(k)?;
            noted(is("the second send", k.send(ours, b"x", MSG_NOSIGNAL), no(Errno::EPIPE)));
            noted(is("SO_ERROR instead", so_error(k, after_fin_and_rst(k)?)?, Errno::EPIPE));
            let ours = after_fin_and_rst(k)?;
            noted(is("recv instead", recv(ours), Ok(0)));
            is("recv again", recv(ours), Ok(0))
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "tcp-plain-rst-is-econnreset",
        claim: "After an RST without a FIN the first send or recv gives ECONNRESET without SIGPIPE; later sends give EPIPE with \
                SIGPIPE, later recvs 0.",
        reference: "tcp_reset in net/ipv4/tcp_input.c; sk_stream_error in net/core/stream.c",
        matters: "The error is told once, to whoever asks first: a writer that looks only at EPIPE never learns of a reset that the \
                  reader saw.",
        experiment: "The peer closes with SO_LINGER {1, 0}. On a fresh connection each: send, send; recv, recv; recv, send. A handler \
                     counts SIGPIPE.",
        wrong: &[
            ".NET: https://github.com/dotnet/runtime/issues/57186",
            "Seastar: https://github.com/scylladb/seastar/issues/2983",
        ],
        run: |k| {
            k.sigaction(SIGPIPE, Action::Count, 0)?;
            let recv = |fd| -> Reply<usize> { k.recv(fd, &mut [0; 8], MSG_DONTWAIT) };
            // What send gives, and how often SIGPIPE came with it.
            let send = |fd| -> (Reply<usize>, u32) {
                let before = raw::handled(SIGPIPE);
                (k.send(fd, b"x", 0), raw::handled(SIGPIPE) - before)
            };
            step("send, send", || {
                let ours = after_rst(k, b"")?;
                is("the first, and SIGPIPEs", send(ours), (no(Errno::ECONNRESET), 0))?;
                is("the second, and SIGPIPEs", send(ours), (no(Errno::EPIPE), 1))
            });
            step("recv, recv", || {
                let ours = after_rst(k, b"")?;
                is("the first", recv(ours), no(Errno::ECONNRESET))?;
                is("the second", recv(ours), Ok(0))
            });
            step("recv, send", || {
                let ours = after_rst(k, b"")?;
                is("the first", recv(ours), no(Errno::ECONNRESET))?;
                is("the second, and SIGPIPEs", send(ours), (no(Errno::EPIPE), 1))
            });
            Ok(())
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "tcp-rst-keeps-received-data",
        claim: "Data that was received before an RST can still be read: recv gives it, then ECONNRESET, then 0.",
        reference: "tcp_recvmsg_locked in net/ipv4/tcp.c takes the queue first",
        matters: "A response that was sent before the server reset the connection is not lost to a client that reads on.",
        experiment: "The peer writes and closes with SO_LINGER {1, 0}; once ERR is reported, recv is called three times.",
        run: |k| {
            let ours = after_rst(k, b"last words")?;
            let recv = || k.recv(ours, &mut [0; 32], MSG_DONTWAIT);
            is("the first recv", recv(), Ok(10))?;
            is("the second recv", recv(), no(Errno::ECONNRESET))?;
            is("the third recv", recv(), Ok(0))
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "tcp-shutdown-after-rst",
        claim: "shutdown of a connection that was reset gives ENOTCONN.",
        reference: "shutdown(2) ENOTCONN; inet_shutdown in net/ipv4/af_inet.c, case TCP_CLOSE",
        matters: "The peer decides whether shutdown fails: code that unwraps its result ends with the first reset.",
        experiment: "The peer closes with SO_LINGER {1, 0}; once ERR is reported, shutdown is called, for writing and for reading.",
        wrong: &[
            "fix8: https://github.com/fix8/fix8/pull/201",
            "spiped: https://github.com/Tarsnap/spiped/pull/398",
        ],
        run: |k| {
            let ours = after_rst(k, b"")?;
            noted(is("shutdown for writing", k.shutdown(ours, libc::SHUT_WR), no(Errno::ENOTCONN)));
            is("shutdown for reading", k.shutdown(ours, libc::SHUT_RD), no(Errno::ENOTCONN))
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "tcp-close-with-unread-sends-rst",
        claim: "close of a socket with unread data in its receive buffer sends an RST instead of a FIN.",
        reference: "__tcp_close in net/ipv4/tcp.c; RFC 2525 section 2.17",
        matters: "A server that answers without reading the whole request resets the client, which may lose the answer.",
        experiment: "One end writes, the other closes without reading; the first is polled and reads.",
        wrong: &[
            "gVisor: https://github.com/google/gvisor/issues/1449",
            "turmoil: https://github.com/tokio-rs/turmoil/issues/269",
            "asterinas: https://github.com/asterinas/asterinas/issues/1855",
        ],
        run: |k| {
            let (ours, peer) = tcp_pair(k)?;
            k.send(ours, b"never read", MSG_NOSIGNAL)?;
            until_readable_bytes(k, peer, 10)?;
            k.close(peer)?;
            noted(shows("the other end", k, ours, ERR | HUP));
            is("its recv", recv_soon(k, ours, 8), no(Errno::ECONNRESET))
        },
        ..Fact::ALWAYS
    },
];

/// A socket whose peer closed in order and then answered our data with an RST, which has arrived.
fn after_fin_and_rst(k: K) -> Held<i32> {
    let (ours, peer) = tcp_pair(k)?;
    k.close(peer)?;
    until_state(k, ours, CLOSE_WAIT)?;
    is("the first send", k.send(ours, b"x", MSG_NOSIGNAL), Ok(1))?;
    until_shows(k, ours, RESET)?;
    Ok(ours)
}

/// A socket that was reset, after its peer sent `data`.
fn after_rst(k: K, data: &[u8]) -> Held<i32> {
    let (ours, peer) = tcp_pair(k)?;
    if !data.is_empty() {
        k.send(peer, data, MSG_NOSIGNAL)?;
    }
    reset_connection(k, peer)?;
    until_shows(k, ours, RESET)?;
    Ok(ours)
}
