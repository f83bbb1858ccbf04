//! How full is full: from how many bytes on there is IN, and up to how many there is OUT.
//!
//! OUT goes off long before send fails. What poll says is advice about when to write, not whether one can.

use super::*;
use crate::sys::raw::SIOCOUTQNSD;
use libc::{IPPROTO_TCP, MSG_DONTWAIT, MSG_NOSIGNAL, SHUT_WR, SO_RCVBUF, SO_RCVLOWAT, SO_SNDBUF, SOL_SOCKET};

pub(super) const FACTS: &[Fact] = &[
    Fact {
        id: "poll-rcvlowat-gates-in",
        claim: "With SO_RCVLOWAT at 4, a TCP socket with 2 bytes has no IN, and with 4 bytes it has. The FIN gives \
                IN with fewer, and a non-blocking recv returns what is there, be it below the mark.",
        reference: "socket(7) SO_RCVLOWAT; tcp_stream_is_readable in net/ipv4/tcp.c",
        since: Since(2, 6),
        matters: "A server that waits for whole headers sleeps until they are there. The option was without effect \
                  on poll before Linux 2.6.28.",
        experiment: "SO_RCVLOWAT is set to 4; the peer sends 2 bytes, a fence is crossed, poll; 2 more, poll; recv of \
                     3, poll, recv; the peer sends a byte and its FIN.",
        run: |k| {
            let fence = Fence::new(k)?;
            let (ours, peer) = tcp_pair(k)?;
            set_option(k, ours, SOL_SOCKET, SO_RCVLOWAT, 4)?;
            let send = |bytes: &[u8]| k.send(peer, bytes, MSG_NOSIGNAL);
            send(b"12")?;
            until_readable_bytes(k, ours, 2)?;
            fence.cross(k)?;
            is("with 2 of 4 bytes", mask(k, ours)?, OUT)?;
            send(b"34")?;
            is("with 4 of 4 bytes", mask_with(k, ours, IN)?, IN | OUT)?;
            is("recv of 3 bytes", k.recv(ours, &mut [0; 3], MSG_DONTWAIT), Ok(3))?;
            is("with 1 of 4 bytes", mask(k, ours)?, OUT)?;
            is("recv below the mark", k.recv(ours, &mut [0; 4], MSG_DONTWAIT), Ok(1))?;
            send(b"5")?;
            until_readable_bytes(k, ours, 1)?;
            is("with 1 of 4 bytes again", mask(k, ours)?, OUT)?;
            k.shutdown(peer, SHUT_WR)?;
            is("with 1 of 4 bytes and the FIN", mask_with(k, ours, RDHUP)?, IN | OUT | RDHUP)
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "poll-notsent-lowat-gates-out",
        claim: "With TCP_NOTSENT_LOWAT at 16 KiB, OUT goes off when 8 KiB wait to be sent: half the mark. send takes \
                bytes until there is the whole mark, and only then gives EAGAIN. Without the option it takes much more.",
        reference: "tcp(7) TCP_NOTSENT_LOWAT; tcp_stream_memory_free in net/ipv4/tcp.c; commit a74f0fa082b7",
        since: Since(5, 0),
        matters: "A sender that writes only when there is OUT keeps its backlog, and so its latency, small. One that \
                  writes until EAGAIN keeps twice as much.",
        experiment: "The peer does not read; 1 KiB at a time is sent until EAGAIN, with poll and SIOCOUTQNSD (bytes not \
                     yet sent) after each; then the same without the option.",
        run: |k| {
            const MARK: i32 = 16 << 10;
            const CHUNK: i32 = 1 << 10;
            let not_sent = |fd: i32| {
                let mut bytes = 0;
                k.ioctl(fd, SIOCOUTQNSD, &mut bytes)?;
                Ok(bytes)
            };
            let (ours, _peer) = pair_with_small_buffers(k)?;
            set_option(k, ours, IPPROTO_TCP, libc::TCP_NOTSENT_LOWAT, MARK)?;
            let with = fill_and_watch(k, ours, CHUNK as usize, || not_sent(ours))?;
            let half = MARK / 2..MARK / 2 + CHUNK;
            holds(
                format!("without OUT the bytes not yet sent are half the mark, {half:?}"),
                half.contains(&with.at_off),
                with.at_off,
            )?;
            let whole = MARK..MARK + CHUNK;
            holds(
                format!("at EAGAIN the bytes not yet sent are the mark, {whole:?}"),
                whole.contains(&with.at_full),
                with.at_full,
            )?;
            let (ours, _peer) = pair_with_small_buffers(k)?;
            let without = fill_and_watch(k, ours, CHUNK as usize, || not_sent(ours))?;
            holds(
                "without the option more than twice as many bytes wait at EAGAIN",
                without.at_full > 2 * with.at_full,
                without.at_full,
            )
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "poll-tcp-out-hysteresis",
        claim: "OUT of a TCP socket goes off when about two thirds of the send buffer are used, while send takes \
                bytes until it is full. One byte read by the peer does not bring OUT back.",
        reference: "sk_stream_is_writeable in include/net/sock.h: a third must be free",
        matters: "A writer is woken for a good piece, not for each byte. Without OUT a send may well succeed.",
        experiment: "The peer does not read; 8 KiB at a time is sent until EAGAIN, with poll and SIOCOUTQ (bytes in the \
                     buffer) after each; the peer reads a byte, a fence is crossed, poll; the peer reads all, poll.",
        run: |k| {
            let fence = Fence::new(k)?;
            let (ours, peer) = pair_with_small_buffers(k)?;
            let in_buffer = || {
                let mut bytes = 0;
                k.ioctl(ours, libc::TIOCOUTQ, &mut bytes)?;
                Ok(bytes)
            };
            let Filled { at_off, at_full, taken } = fill_and_watch(k, ours, 8 << 10, in_buffer)?;
            let percent = at_off * 100 / at_full.max(1);
            holds(
                "OUT goes off when 55 % to 80 % of the bytes are in the buffer that are in it at EAGAIN",
                (55..=80).contains(&percent),
                format!("at {percent} %: {at_off} of {at_full} bytes"),
            )?;
            is("with a full buffer", mask(k, ours)?, NONE)?;
            is("recv at the peer", k.recv(peer, &mut [0], 0), Ok(1))?;
            fence.cross(k)?;
            is("after the peer has read a byte", mask(k, ours)?, NONE)?;
            let mut left = taken - 1;
            let mut buffer = vec![0; 64 << 10];
            while left > 0 {
                match k.recv(peer, &mut buffer, 0)? {
                    0 => {
                        return differs(
                            "what the peer reads",
                            "all that was sent",
                            format!("{left} bytes are missing"),
                        );
                    }
                    n => left -= n,
                }
            }
            is("after the peer has read all", mask_with(k, ours, OUT)?, OUT)
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "poll-unix-out-quarter-rule",
        claim: "OUT of an AF_UNIX stream goes off when more than a quarter of SO_SNDBUF is used, while send takes \
                the other three quarters as well.",
        reference: "unix_writable in net/unix/af_unix.c: (wmem << 2) <= sndbuf",
        matters: "A loop that writes only when there is OUT uses a quarter of the buffer. And as long as the peer \
                  leaves more than a quarter unread, there is no OUT though send would succeed.",
        experiment: "1 KiB at a time is sent until EAGAIN, with poll before each; the peer reads half, poll and send; \
                     the peer reads the rest, poll.",
        run: |k| {
            let (ours, peer) = unix_pair(k)?;
            let send = || k.send(ours, &[b'x'; 1024], MSG_DONTWAIT | MSG_NOSIGNAL);
            let (mut with_out, mut all) = (0, 0);
            loop {
                let out = mask(k, ours)? == OUT;
                match send() {
                    Ok(_) => all += 1,
                    Err(refusal) if refusal.errno == Errno::EAGAIN => break,
                    Err(refusal) => return Err(refusal.into()),
                }
                with_out += i32::from(out);
            }
            let percent = with_out * 100 / all;
            holds(
                "20 % to 33 % of the sends that succeed are made while there is OUT",
                (20..=33).contains(&percent),
                format!("{percent} %: {with_out} of {all}"),
            )?;
            let receive = |pieces: i32| -> Held {
                for _ in 0..pieces {
                    is("recv at the peer", k.recv(peer, &mut [0; 1024], MSG_DONTWAIT), Ok(1024))?;
                }
                Ok(())
            };
            receive(all / 2)?;
            is("with half of it read", mask(k, ours)?, NONE)?;
            is("send with half of it read", send(), Ok(1024))?;
            receive(all - all / 2 + 1)?;
            is("with all of it read", mask(k, ours)?, OUT)
        },
        ..Fact::ALWAYS
    },
];

/// A connection whose peer has little room, and does not read: what is sent stays with the sender soon. The buffers
/// are of fixed sizes.
fn pair_with_small_buffers(k: K) -> Held<(i32, i32)> {
    let (listener, address) = listener(k, 1)?;
    set_option(k, listener, SOL_SOCKET, SO_RCVBUF, 16 << 10)?;
    let ours = connected(k, &address)?;
    set_option(k, ours, SOL_SOCKET, SO_SNDBUF, 256 << 10)?;
    let peer = k.accept(listener)?;
    Ok((ours, peer))
}

/// What filling a socket showed, in bytes.
#[derive(Debug)]
struct Filled {
    /// What `measure` said when there was no OUT any more.
    at_off: i32,
    /// What `measure` said when send gave EAGAIN.
    at_full: i32,
    /// What send took in all.
    taken: usize,
}

/// Send `chunk` bytes at a time until EAGAIN, with a look at OUT after each. While acknowledgements are still under
/// way OUT may come back, and so may room; both are looked at again behind the fence, after they were measured.
fn fill_and_watch(k: K, fd: i32, chunk: usize, measure: impl Fn() -> Held<i32>) -> Held<Filled> {
    let fence = Fence::new(k)?;
    let bytes = vec![b'x'; chunk];
    let (mut at_off, mut taken) = (None, 0);
    loop {
        match k.send(fd, &bytes, MSG_DONTWAIT | MSG_NOSIGNAL) {
            Ok(n) => taken += n,
            Err(refusal) if refusal.errno == Errno::EAGAIN => {
                fence.cross(k)?;
                let at_full = measure()?;
                match k.send(fd, b"x", MSG_DONTWAIT | MSG_NOSIGNAL) {
                    Ok(n) => taken += n,
                    Err(_) => return Ok(Filled { at_off: at_off.unwrap_or(at_full), at_full, taken }),
                }
            }
            Err(refusal) => return Err(refusal.into()),
        }
        if mask(k, fd)? == OUT {
            at_off = None;
        } else if at_off.is_none() {
            fence.cross(k)?;
            let measured = measure()?;
            at_off = (mask(k, fd)? != OUT).then_some(measured);
        }
    }
}
