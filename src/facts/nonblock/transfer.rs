//! recv, send and write that do not wait.

use crate::facts::support::*;
use libc::{MSG_DONTWAIT, MSG_NOSIGNAL, O_CLOEXEC, O_NONBLOCK, SO_RCVBUF, SO_SNDBUF, SOL_SOCKET};

pub(super) const FACTS: &[Fact] = &[
    Fact {
        id: "nb-msg-dontwait-one-call",
        claim: "MSG_DONTWAIT gives EAGAIN on a blocking socket and does not change its flags.",
        reference: "recv(2) MSG_DONTWAIT",
        matters: "It is non-blocking I/O for one call, without the danger of O_NONBLOCK, which everybody shares who has the socket.",
        experiment: "recv with the flag on an empty blocking socket; its status flags before and after.",
        run: |k| {
            let (ours, _peer) = unix_pair(k)?;
            let before = k.fcntl(ours, libc::F_GETFL, 0)?;
            is("O_NONBLOCK before", before & O_NONBLOCK, 0)?;
            is("recv with MSG_DONTWAIT", k.recv(ours, &mut [0; 8], MSG_DONTWAIT), no(Errno::EAGAIN))?;
            is("the status flags after it", k.fcntl(ours, libc::F_GETFL, 0)?, before)
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "nb-recv-zero-length",
        claim: "recv with a length of 0 returns 0 while data is queued, and EAGAIN on an empty non-blocking stream, for TCP and AF_UNIX alike.",
        reference: "recv(2)",
        matters: "A return of 0 is the end of the stream only if room was given.",
        experiment: "recv of 0 bytes on an empty and on a filled socket, of TCP and of AF_UNIX.",
        run: |k| {
            for (what, (ours, peer)) in [("TCP", tcp_pair(k)?), ("AF_UNIX", unix_pair(k)?)] {
                set_nonblocking(k, ours)?;
                is(format!("{what}, recv of 0 bytes, empty"), k.recv(ours, &mut [], 0), no(Errno::EAGAIN))?;
                k.send(peer, b"data", MSG_NOSIGNAL)?;
                until_readable_bytes(k, ours, 4)?;
                is(format!("{what}, recv of 0 bytes with 4 queued"), k.recv(ours, &mut [], 0), Ok(0))?;
                is(format!("{what}, recv of the 4"), k.recv(ours, &mut [0; 8], 0), Ok(4))?;
            }
            Ok(())
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "nb-send-partial-then-eagain",
        claim: "A non-blocking send of more than there is room for takes a part; when the buffers are full comes \
                EAGAIN; every byte that was accepted can be read, and no other.",
        reference: "send(2)",
        matters: "Who ignores the count of a send loses the middle of a response.",
        experiment: "4 MiB are sent at once into small buffers, then 50 kB at a time until EAGAIN; the peer reads to the end and \
                     compares each byte.",
        run: |k| {
            const LARGE: usize = 4 << 20;
            let (listener, address) = listener(k, 1)?;
            // Far less than is sent, also where the defaults are large.
            set_option(k, listener, SOL_SOCKET, SO_RCVBUF, 64 << 10)?;
            let ours = tcp(k)?;
            set_option(k, ours, SOL_SOCKET, SO_SNDBUF, 64 << 10)?;
            k.connect(ours, &address)?;
            let peer = k.accept(listener)?;

            let mut accepted = k.send(ours, &pattern(0, LARGE), MSG_DONTWAIT | MSG_NOSIGNAL)?;
            holds("a send of 4 MiB takes a part", (1..LARGE).contains(&accepted), accepted)?;
            let full = loop {
                match k.send(ours, &pattern(accepted, 50_000), MSG_DONTWAIT | MSG_NOSIGNAL) {
                    Ok(n) => accepted += n,
                    refused => break refused,
                }
                holds("a send gives EAGAIN before 64 MiB", accepted < 64 << 20, accepted)?;
            };
            is("the send that was refused", full, no(Errno::EAGAIN))?;
            k.shutdown(ours, libc::SHUT_WR)?;
            let (mut read, mut buffer) = (0, vec![0; 1 << 16]);
            loop {
                let n = k.recv(peer, &mut buffer, 0)?;
                if n == 0 {
                    break;
                }
                holds(
                    "the bytes arrive as they were sent",
                    buffer[..n] == pattern(read, n),
                    format!("not those from {read}"),
                )?;
                read += n;
            }
            is("bytes that the peer read, of those accepted", read, accepted)
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "nb-pipe-atomic-write",
        claim: "A non-blocking write to a pipe of up to PIPE_BUF bytes is all or nothing; of a page and a byte, with one \
                page free, it writes the page.",
        reference: "pipe(7) PIPE_BUF",
        matters: "Log lines of several processes stay whole up to 4096 bytes, and no further.",
        experiment: "A pipe of two pages is filled but for 96 bytes and 200 are written; a page is read, and a page and a byte \
                     are written; then 4096 bytes with less than a page free.",
        run: |k| {
            let [reading, writing] = k.pipe2(O_CLOEXEC | O_NONBLOCK)?;
            // The least that a pipe can have is a page, which is 64 KiB on some machines.
            let page = k.fcntl(writing, libc::F_SETPIPE_SZ, 1)? as usize;
            k.fcntl(writing, libc::F_SETPIPE_SZ, 2 * page as i32)?;
            let bytes = vec![b'x'; page + 1];

            k.write(writing, &bytes[..page])?;
            k.write(writing, &bytes[..page - 96])?;
            is("write of 200 bytes with room for 96", k.write(writing, &bytes[..200]), no(Errno::EAGAIN))?;
            is("bytes in the pipe after it", readable_bytes(k, reading)? as usize, 2 * page - 96)?;
            is("write of 96 bytes with room for 96", k.write(writing, &bytes[..96]), Ok(96))?;

            k.read(reading, &mut vec![0; page])?;
            is("write of a page and a byte with a page free", k.write(writing, &bytes), Ok(page))?;
            is("bytes in the pipe after it", readable_bytes(k, reading)? as usize, 2 * page)?;
            k.read(reading, &mut vec![0; page - 1])?;
            is("write of 4096 bytes with no page free", k.write(writing, &bytes[..4096]), no(Errno::EAGAIN))
        },
        ..Fact::ALWAYS
    },
];

/// The byte at each place of a stream; the period is no power of two.
fn pattern(from: usize, n: usize) -> Vec<u8> {
    (from..from + n).map(|at| (at % 251) as u8).collect()
}
