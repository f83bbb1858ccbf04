//! recv, send and write that do not wait.

use super::super::check::{Held, holds, is};
use super::super::support::*;
use super::super::{Area, Fact, Since};
use crate::sys::Errno;
use crate::sys::raw::no;
use libc::{MSG_DONTWAIT, MSG_NOSIGNAL, O_CLOEXEC, O_NONBLOCK};

pub(super) const FACTS: &[Fact] = &[
    Fact {
        id: "nb-msg-dontwait-one-call",
        area: Area::Nonblock,
        claim: "MSG_DONTWAIT gives EAGAIN on a blocking socket and does not change its flags.",
        reference: "recv(2) MSG_DONTWAIT",
        since: Since::ALWAYS,
        matters: "It is non-blocking I/O for one call, without the danger of O_NONBLOCK, which everybody shares who has the socket.",
        experiment: "recv with the flag on an empty blocking socket; its status flags before and after.",
        wrong: &[],
        alone: false,
        run: msg_dontwait_one_call,
    },
    Fact {
        id: "nb-recv-zero-length",
        area: Area::Nonblock,
        claim: "recv with a length of 0 returns 0 while data is queued, and EAGAIN on an empty non-blocking stream, for TCP and AF_UNIX alike.",
        reference: "recv(2)",
        since: Since::ALWAYS,
        matters: "A return of 0 is the end of the stream only if room was given.",
        experiment: "recv of 0 bytes on an empty and on a filled socket, of TCP and of AF_UNIX.",
        wrong: &[],
        alone: false,
        run: recv_zero_length,
    },
    Fact {
        id: "nb-send-partial-then-eagain",
        area: Area::Nonblock,
        claim: "Large non-blocking sends fill the buffer, the last that succeeds may be short, then comes EAGAIN; every byte that was accepted \
                can be read.",
        reference: "send(2)",
        since: Since::ALWAYS,
        matters: "Who ignores the count of a send loses the middle of a response.",
        experiment: "50 kB are sent at a time until EAGAIN; the peer reads exactly as many bytes as were accepted, in order.",
        wrong: &[],
        alone: false,
        run: send_partial_then_eagain,
    },
    Fact {
        id: "nb-pipe-atomic-write",
        area: Area::Nonblock,
        claim: "A non-blocking write to a pipe of up to PIPE_BUF bytes is all or nothing; 4097 bytes with one page free writes 4096.",
        reference: "pipe(7) PIPE_BUF",
        since: Since::ALWAYS,
        matters: "Log lines of several processes stay whole up to 4096 bytes, and no further.",
        experiment: "A pipe is filled, one page is read, 4097 bytes are written; then 4096 bytes with less than a page free.",
        wrong: &[],
        alone: false,
        run: pipe_atomic_write,
    },
];

fn msg_dontwait_one_call(k: K) -> Held {
    let (ours, _peer) = unix_pair(k)?;
    let before = k.fcntl(ours, libc::F_GETFL, 0)?;
    is("O_NONBLOCK before", before & O_NONBLOCK, 0)?;
    is("recv with MSG_DONTWAIT", k.recv(ours, &mut [0; 8], MSG_DONTWAIT), no(Errno::EAGAIN))?;
    is("the status flags after it", k.fcntl(ours, libc::F_GETFL, 0)?, before)
}

fn recv_zero_length(k: K) -> Held {
    for (what, (ours, peer)) in [("TCP", tcp_pair(k)?), ("AF_UNIX", unix_pair(k)?)] {
        set_nonblocking(k, ours)?;
        is(format!("{what}, recv of 0 bytes, empty"), k.recv(ours, &mut [], 0), no(Errno::EAGAIN))?;
        k.send(peer, b"data", MSG_NOSIGNAL)?;
        until_readable_bytes(k, ours, 4)?;
        is(format!("{what}, recv of 0 bytes with 4 queued"), k.recv(ours, &mut [], 0), Ok(0))?;
        is(format!("{what}, recv of the 4"), k.recv(ours, &mut [0; 8], 0), Ok(4))?;
    }
    Ok(())
}

fn send_partial_then_eagain(k: K) -> Held {
    let (ours, peer) = tcp_pair(k)?;
    let stream: Vec<u8> = (0..50_000u32).map(|i| (i % 251) as u8).collect();
    let mut accepted = 0;
    loop {
        match k.send(ours, &stream, MSG_DONTWAIT | MSG_NOSIGNAL) {
            Ok(n) => accepted += n,
            refused => {
                is("the send that was refused", refused, no(Errno::EAGAIN))?;
                break;
            }
        }
        holds("a send gives EAGAIN before a gigabyte", accepted < 1 << 30, accepted)?;
    }
    k.shutdown(ours, libc::SHUT_WR)?;
    let (mut read, mut buffer) = (0, vec![0; 1 << 16]);
    loop {
        match k.recv(peer, &mut buffer, 0)? {
            0 => break,
            n => read += n,
        }
    }
    is("bytes that the peer read, of those accepted", read, accepted)
}

fn pipe_atomic_write(k: K) -> Held {
    const PAGE: usize = 4096;
    let [reading, writing] = k.pipe2(O_CLOEXEC | O_NONBLOCK)?;
    let capacity = k.fcntl(writing, libc::F_GETPIPE_SZ, 0)? as usize;
    while k.write(writing, &[b'x'; PAGE]).is_ok() {}
    is("bytes in the full pipe", readable_bytes(k, reading)? as usize, capacity)?;
    k.read(reading, &mut [0; PAGE])?;
    is("write of 4097 bytes with a page free", k.write(writing, &[b'x'; PAGE + 1]), Ok(PAGE))?;
    k.read(reading, &mut [0; PAGE - 1])?;
    is("write of 4096 bytes with no page free", k.write(writing, &[b'x'; PAGE]), no(Errno::EAGAIN))
}
