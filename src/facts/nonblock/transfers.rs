//! recv, send and write that do not wait: what they take, and what they say when there is nothing to take.

use super::super::check::{Held, differs, holds, is};
use super::super::support::*;
use super::super::{Area, Fact, Since};
use crate::sys::Errno;
use crate::sys::raw::{Reply, no};
use libc::{F_GETFL, F_SETPIPE_SZ, MSG_DONTWAIT, MSG_NOSIGNAL, O_NONBLOCK, SO_RCVBUF, SO_SNDBUF, SOL_SOCKET};

pub(super) const FACTS: &[Fact] = &[
    Fact {
        id: "nb-msg-dontwait-one-call",
        area: Area::Nonblock,
        claim: "recv and send with MSG_DONTWAIT give EAGAIN on a blocking socket, and its flags stay as they \
                were.",
        reference: "recv(2) MSG_DONTWAIT; send(2) MSG_DONTWAIT",
        since: Since::ALWAYS,
        matters: "One call can be made non-blocking without changing the description, which other processes \
                  may share.",
        experiment: "A blocking TCP socket receives with the flag, an AF_UNIX stream sends with it until it \
                     is full; F_GETFL before and after.",
        wrong: &[],
        alone: false,
        run: msg_dontwait_one_call,
    },
    Fact {
        id: "nb-recv-zero-length",
        area: Area::Nonblock,
        claim: "recv of 0 bytes gives 0 when there is data, which stays, and EAGAIN on an empty non-blocking \
                stream, TCP or AF_UNIX.",
        reference: "recv(2); tcp_recvmsg_locked in net/ipv4/tcp.c; unix_stream_read_generic in \
                    net/unix/af_unix.c",
        since: Since::ALWAYS,
        matters: "A buffer that happens to have no room left makes recv give 0, which reads as the end of \
                  the stream.",
        experiment: "Both kinds of stream, empty and with four bytes: recv into no bytes, and FIONREAD.",
        wrong: &[],
        alone: false,
        run: recv_zero_length,
    },
    Fact {
        id: "nb-send-partial-then-eagain",
        area: Area::Nonblock,
        claim: "A non-blocking send of more than there is room for takes a part; once the buffers are full, \
                send gives EAGAIN; and the peer reads exactly what was taken.",
        reference: "send(2); tcp_sendmsg_locked in net/ipv4/tcp.c",
        since: Since::ALWAYS,
        matters: "Code that ignores the count loses the rest of what it sent, but only with peers that read \
                  slowly.",
        experiment: "4 MiB are sent at once into small buffers, then 50 kB at a time until EAGAIN; the peer \
                     reads to the end and compares each byte.",
        wrong: &[],
        alone: false,
        run: send_partial_then_eagain,
    },
    Fact {
        id: "nb-pipe-atomic-write",
        area: Area::Nonblock,
        claim: "A non-blocking write of at most PIPE_BUF bytes into a pipe is taken whole or not at all; one \
                byte more than a page, with one page free, is taken in part: a page.",
        reference: "pipe(7) PIPE_BUF; pipe_write in fs/pipe.c",
        since: Since::ALWAYS,
        matters: "Short records of several writers do not mix, and need no lock. Longer ones do, and need \
                  code for the rest.",
        experiment: "A pipe of two pages is filled but for 96 bytes, then 200 are written; it is emptied by \
                     a page and a page and a byte are written.",
        wrong: &[],
        alone: false,
        run: pipe_atomic_write,
    },
];

fn msg_dontwait_one_call(k: K) -> Held {
    let flags = |fd| k.fcntl(fd, F_GETFL, 0);
    let (client, _server) = tcp_pair(k)?;
    let before = flags(client)?;
    is("O_NONBLOCK of the socket", before & O_NONBLOCK, 0)?;
    let received = k.recv(client, &mut [0; 8], MSG_DONTWAIT);
    is("recv with MSG_DONTWAIT of an empty blocking socket", received, no(Errno::EAGAIN))?;
    is("F_GETFL after it", flags(client)?, before)?;

    let (one, _other) = unix_pair(k)?;
    let before = flags(one)?;
    is("O_NONBLOCK of the other socket", before & O_NONBLOCK, 0)?;
    let sent = fill(k, one, 4096)?;
    holds("a stream takes something before it is full", sent > 0, sent)?;
    let refused = k.send(one, &[0; 4096], MSG_DONTWAIT | MSG_NOSIGNAL);
    is("send with MSG_DONTWAIT of a full blocking socket", refused, no(Errno::EAGAIN))?;
    is("F_GETFL after it", flags(one)?, before)
}

fn recv_zero_length(k: K) -> Held {
    for (kind, (one, other)) in [("TCP", tcp_pair(k)?), ("AF_UNIX", unix_pair(k)?)] {
        set_nonblocking(k, one)?;
        is(format!("{kind}: recv of 0 bytes, empty"), k.recv(one, &mut [], 0), no(Errno::EAGAIN))?;
        k.send(other, b"data", MSG_NOSIGNAL)?;
        until_readable_bytes(k, one, 4)?;
        is(format!("{kind}: recv of 0 bytes, with data"), k.recv(one, &mut [], 0), Ok(0))?;
        is(format!("{kind}: bytes that are there after it"), readable_bytes(k, one)?, 4)?;
    }
    Ok(())
}

/// The byte at each place of the stream; the period is no power of two.
fn pattern(from: usize, n: usize) -> Vec<u8> {
    (from..from + n).map(|at| (at % 251) as u8).collect()
}

fn send_partial_then_eagain(k: K) -> Held {
    const LARGE: usize = 4 << 20;
    let (listener, address) = listener(k, 1)?;
    // Far less than is sent, also where the defaults are large.
    set_option(k, listener, SOL_SOCKET, SO_RCVBUF, 64 << 10)?;
    let client = tcp(k)?;
    set_option(k, client, SOL_SOCKET, SO_SNDBUF, 64 << 10)?;
    k.connect(client, &address)?;
    let server = k.accept(listener)?;
    set_nonblocking(k, client)?;

    let mut taken = k.send(client, &pattern(0, LARGE), MSG_NOSIGNAL)?;
    holds("a send of 4 MiB takes a part", (1..LARGE).contains(&taken), taken)?;
    let full = loop {
        match k.send(client, &pattern(taken, 50_000), MSG_NOSIGNAL) {
            Ok(n) => taken += n,
            refused => break refused,
        }
        holds("the buffers are full before 64 MiB are taken", taken < 64 << 20, taken)?;
    };
    is("send when the buffers are full", full, no(Errno::EAGAIN))?;

    k.shutdown(client, libc::SHUT_WR)?;
    let (mut read, mut buffer) = (0, vec![0; 64 << 10]);
    loop {
        let n = k.recv(server, &mut buffer, 0)?;
        if n == 0 {
            break;
        }
        if buffer[..n] != pattern(read, n) {
            return differs(
                "the bytes arrive as they were sent",
                format!("not those from {read} to {}", read + n),
            );
        }
        read += n;
    }
    is("bytes that the peer read, and that send had taken", read, taken)
}

fn pipe_atomic_write(k: K) -> Held {
    let [read_end, write_end] = k.pipe2(O_NONBLOCK)?;
    // The least that a pipe can have: a page.
    let page = k.fcntl(write_end, F_SETPIPE_SZ, 1)? as usize;
    k.fcntl(write_end, F_SETPIPE_SZ, 2 * page as i32)?;
    let there = || -> Reply<i32> { readable_bytes(k, read_end) };
    let bytes = vec![b'x'; page + 1];

    k.write(write_end, &bytes[..page])?;
    k.write(write_end, &bytes[..page - 96])?;
    let before = there()?;
    is("write of 200 bytes with room for 96", k.write(write_end, &bytes[..200]), no(Errno::EAGAIN))?;
    is("bytes in the pipe after it", there()?, before)?;
    is("write of 96 bytes with room for 96", k.write(write_end, &bytes[..96]), Ok(96))?;
    is("write of 1 byte with no room", k.write(write_end, &bytes[..1]), no(Errno::EAGAIN))?;

    is("read of a page", k.read(read_end, &mut vec![0; page]), Ok(page))?;
    is("write of a page and a byte, a page being free", k.write(write_end, &bytes), Ok(page))?;
    is("bytes in the pipe after it", there()?, 2 * page as i32)?;
    is("read of a page", k.read(read_end, &mut vec![0; page]), Ok(page))?;
    is("write of PIPE_BUF bytes, a page being free", k.write(write_end, &bytes[..4096]), Ok(4096))
}
