//! recv, send and write that do not wait.

use crate::facts::support::*;
use libc::{MSG_DONTWAIT, MSG_NOSIGNAL, O_CLOEXEC, O_NONBLOCK, SO_RCVBUF, SO_SNDBUF, SOL_SOCKET};

pub(super) const FACTS: &[Fact] = &[
    Fact {
        id: "nb-msg-dontwait-one-call",
        claim: "MSG_DONTWAIT gives EAGAIN on a blocking socket and does not change its flags.",
        reference: "recv(2) MSG_DONTWAIT",
        matters: "It is non-blocking I/O for one call, without the danger of O_NONBLOCK, which everybody shares who has the socket.",
        experiment: "recv with the flag on an empty blocking socket; then its status flags.",
        run: |k| {
            let (ours, _peer) = unix_pair(k)?;
            let before = k.fcntl(ours, libc::F_GETFL, 0)?;
            noted(is("recv with MSG_DONTWAIT", k.recv(ours, &mut [0; 8], MSG_DONTWAIT), no(Errno::EAGAIN)));
            is("its flags after it", k.fcntl(ours, libc::F_GETFL, 0), Ok(before & !libc::O_NONBLOCK))
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
                step(what, || {
                    set_nonblocking(k, ours)?;
                    noted(is("recv of 0 bytes, empty", k.recv(ours, &mut [], 0), no(Errno::EAGAIN)));
                    k.send(peer, b"data", MSG_NOSIGNAL)?;
                    until_readable_bytes(k, ours, 4)?;
                    is("recv of 0 bytes with 4 queued", k.recv(ours, &mut [], 0), Ok(0))?;
                    is("recv of the 4", k.recv(ours, &mut [0; 8], 0), Ok(4))
                });
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
            until_pending(k, listener)?;
            let peer = k.accept(listener)?;
            set_time_limit(k, peer, libc::SO_RCVTIMEO, i64::from(bound_ms()))?;

            let mut accepted = k.send(ours, &pattern(0, LARGE), MSG_DONTWAIT | MSG_NOSIGNAL)?;
            holds("a send of 4 MiB takes a part", (1..LARGE).contains(&accepted), accepted)?;
            let full = loop {
                match k.send(ours, &pattern(accepted, 50_000), MSG_DONTWAIT | MSG_NOSIGNAL) {
                    Ok(n) if accepted < 64 << 20 => accepted += n,
                    last => break last,
                }
            };
            is("a send to full buffers", full, no(Errno::EAGAIN))?;
            k.shutdown(ours, libc::SHUT_WR)?;
            let (mut read, mut wrong, mut buffer) = (0, 0, vec![0; 1 << 16]);
            loop {
                match k.recv(peer, &mut buffer, 0)? {
                    0 => break,
                    n => {
                        wrong += usize::from(buffer[..n] != pattern(read, n));
                        read += n;
                    }
                }
            }
            noted(is("recvs whose bytes are not those that were sent", wrong, 0));
            is("bytes that the peer read, of those accepted", read, accepted)
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "nb-waitall-short-on-signal",
        claim: "recv with MSG_WAITALL that a signal interrupts gives what it has already, a short count, and EINTR only if \
                it has nothing.",
        reference: "recv(2) MSG_WAITALL; sk_wait_data in tcp_recvmsg_locked, net/ipv4/tcp.c",
        matters: "MSG_WAITALL does not save the loop around recv: who expects all or an error takes a part for the whole.",
        experiment: "A thread waits for 4 bytes and has 2 when it gets a signal, whose handler is without SA_RESTART; another one \
                     has none. TCP and AF_UNIX.",
        run: |k| {
            k.sigaction(libc::SIGUSR1, Action::Count, 0)?;
            let interrupted = |ours: i32| -> Held<Reply<usize>> {
                let waiter = Waiter::asleep(RECV, move || k.recv(ours, &mut [0; 4], libc::MSG_WAITALL))?;
                raw::tgkill(waiter.thread, libc::SIGUSR1)?;
                waiter.join()
            };
            for (what, (ours, peer)) in [("TCP", tcp_pair(k)?), ("AF_UNIX", unix_pair(k)?)] {
                step(what, || {
                    is("recv with nothing", interrupted(ours)?, no(Errno::EINTR))?;
                    k.send(peer, b"ab", MSG_NOSIGNAL)?;
                    until_readable_bytes(k, ours, 2)?;
                    is("recv of 4 bytes with 2", interrupted(ours)?, Ok(2))
                });
            }
            Ok(())
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "nb-msg-trunc",
        claim: "MSG_TRUNC discards bytes of a TCP stream without copying them; for UDP it makes recv give the true length \
                of a datagram that is longer than the buffer.",
        reference: "tcp(7), recv(2) MSG_TRUNC",
        matters: "It is the cheapest way to skip a body; and the only way for recv to see that it cut off a datagram.",
        experiment: "6 bytes are sent, and recv called with the flag and 4 bytes of room, then without.",
        run: |k| {
            for (what, (ours, peer), length, then) in
                [("TCP", tcp_pair(k)?, 4, Ok(2)), ("UDP", udp_pair(k)?, 6, no(Errno::EAGAIN))]
            {
                step(what, || {
                    k.send(peer, b"abcdef", MSG_NOSIGNAL)?;
                    until_readable_bytes(k, ours, 6)?;
                    let mut buffer = *b"....";
                    is(
                        "recv with MSG_TRUNC",
                        k.recv(ours, &mut buffer, libc::MSG_TRUNC | MSG_DONTWAIT),
                        Ok(length),
                    )?;
                    let expected = if what == "TCP" { "...." } else { "abcd" };
                    noted(is("its buffer", &*String::from_utf8_lossy(&buffer), expected));
                    is("the next recv", k.recv(ours, &mut [0; 8], MSG_DONTWAIT), then)
                });
            }
            Ok(())
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "nb-sendfile-partial",
        claim: "sendfile to a non-blocking socket with too little room gives a short count, and moves the offset by it; \
                with no room it gives EAGAIN, and the offset stays.",
        reference: "sendfile(2)",
        matters: "A server that takes sendfile for all or nothing truncates large files for slow clients.",
        experiment: "4 MiB of a memfd are sent into the small buffers of an AF_UNIX socket until EAGAIN; after each call the \
                     offset is compared with the sum of the counts.",
        run: |k| {
            const LARGE: usize = 4 << 20;
            let file = k.memfd_create(0)?;
            let (ours, _peer) = unix_pair(k)?;
            set_option(k, ours, SOL_SOCKET, SO_SNDBUF, 64 << 10)?;
            set_nonblocking(k, ours)?;
            let written = k.write(file, &vec![b'x'; LARGE])?;
            needs(Why::Setup, "the file has 4 MiB", written == LARGE, written)?;
            let (mut offset, mut sent) = (0, 0);
            let full = loop {
                match k.sendfile(ours, file, &mut offset, LARGE - sent) {
                    Ok(n) if n > 0 => sent += n,
                    last => break last,
                }
                is("the offset after a sendfile, of the bytes sent", offset as usize, sent)?;
            };
            noted(holds("a part was sent", (1..LARGE).contains(&sent), sent));
            noted(is("sendfile to full buffers", full, no(Errno::EAGAIN)));
            is("the offset after it", offset as usize, sent)
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "nb-buffers-doubled",
        claim: "SO_RCVBUF and SO_SNDBUF read back as twice what was set, and what is above the limit of the host is cut \
                to it without an error.",
        reference: "socket(7) SO_RCVBUF, SO_SNDBUF, rmem_max, wmem_max; __sock_set_rcvbuf in net/core/sock.c",
        matters: "A server that asks for 16 MiB gets 416 KiB on a default host, and its log says that all went well.",
        experiment: "Each is set to 20 000 and read; then to 2^30, which succeeds, and is compared with the limit in /proc.",
        run: |k| {
            let fd = tcp(k)?;
            for (what, option_of, limit) in
                [("SO_RCVBUF", SO_RCVBUF, "rmem_max"), ("SO_SNDBUF", SO_SNDBUF, "wmem_max")]
            {
                step(what, || {
                    let set = |size| set_option(k, fd, SOL_SOCKET, option_of, size);
                    let most = number_of(&format!("/proc/sys/net/core/{limit}"));
                    is("set to 20 000", set(20_000), Ok(()))?;
                    let expected = most.as_ref().map_or(20_000, |&most| most.min(20_000));
                    noted(is("its value then", option(k, fd, SOL_SOCKET, option_of)?, 2 * expected as i32));
                    is("set to 2^30", set(1 << 30), Ok(()))?;
                    is(
                        "its value then, of the limit",
                        option(k, fd, SOL_SOCKET, option_of)?,
                        2 * most?.min((1 << 30) - 1) as i32,
                    )
                });
            }
            Ok(())
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
