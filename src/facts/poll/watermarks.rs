//! How full is full: from how many bytes on there is IN, and up to how many there is OUT.
//!
//! OUT goes off long before send fails. What poll says is advice about when to write, not whether one can.

use super::*;
use crate::sys::raw::SIOCOUTQNSD;
use libc::{IPPROTO_TCP, MSG_DONTWAIT, MSG_NOSIGNAL, SHUT_WR, SO_RCVBUF, SO_RCVLOWAT, SO_SNDBUF, SOL_SOCKET};

pub(super) const FACTS: &[Fact] = &[
    Fact {
        id: "poll-rcvlowat-gates-in",
        claim: "With SO_RCVLOWAT at 4, a TCP socket with 2 bytes has no IN, and with 4 bytes it has: an edge for epoll, which 2 \
                bytes are not. The FIN gives IN with fewer, and a non-blocking recv returns what is there, even below the mark.",
        reference: "socket(7) SO_RCVLOWAT; tcp_stream_is_readable in net/ipv4/tcp.c",
        since: Since(2, 6),
        matters: "A server that waits for whole headers sleeps until they are there. The option was without effect on \
                  poll before Linux 2.6.28.",
        experiment: "SO_RCVLOWAT is set to 4; the peer sends 2 bytes, a fence is crossed, poll; 2 more, poll; recv of \
                     3, poll, recv; the peer sends a byte and its FIN.",
        run: |k| {
            let (fence, epoll) = (Fence::new(k)?, epoll(k)?);
            let (ours, peer) = tcp_pair(k)?;
            set_option(k, ours, SOL_SOCKET, SO_RCVLOWAT, 4)?;
            add(k, epoll, ours, IN | ET)?;
            let send = |bytes: &[u8]| k.send(peer, bytes, MSG_NOSIGNAL);
            send(b"12")?;
            until_readable_bytes(k, ours, 2)?;
            fence.cross(k)?;
            is("with 2 of 4 bytes", mask(k, ours)?, OUT)?;
            is("edges with 2 of 4 bytes", ready(k, epoll)?, vec![])?;
            send(b"34")?;
            is("edges with 4 of 4 bytes", ready_soon(k, epoll)?, vec![(ours, IN)])?;
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
        claim: "With TCP_NOTSENT_LOWAT at 16 KiB there is OUT exactly while less than half of that waits to be sent. send takes \
                bytes until the whole mark waits, and only then gives EAGAIN. Without the option it takes much more.",
        reference: "tcp(7) TCP_NOTSENT_LOWAT; tcp_stream_memory_free in net/ipv4/tcp.c; commit a74f0fa082b7",
        since: Since(5, 0),
        matters: "A sender that writes only when there is OUT keeps its backlog, and so its latency, small. One that \
                  writes until EAGAIN keeps twice as much.",
        experiment: "The peer does not read; 1 KiB at a time is sent until EAGAIN, with poll and SIOCOUTQNSD (bytes \
                     not yet sent) after each; and the same with the option at its highest value.",
        run: |k| {
            const MARK: i32 = 16 << 10;
            const CHUNK: i32 = 2 << 10;
            let not_sent = |fd: i32| {
                let mut bytes = 0;
                k.ioctl(fd, SIOCOUTQNSD, &mut bytes)?;
                Ok(bytes)
            };
            let filled = |mark: i32, chunk: i32, rule: fn(i32) -> bool| {
                let (ours, _peer) = pair_with_small_buffers(k)?;
                set_option(k, ours, IPPROTO_TCP, libc::TCP_NOTSENT_LOWAT, mark)?;
                fill_and_watch(k, ours, chunk as usize, || not_sent(ours), |bytes| rule(*bytes))
            };
            // The default is the administrator's.
            let without = filled(-1, 64 << 10, |_| true)?.at_full;
            noted(holds("without a mark more than 32 KiB wait at EAGAIN", without > 2 * MARK, without));
            let with = filled(MARK, CHUNK, |bytes| 2 * bytes < MARK)?;
            noted(is("sends after which OUT was not as the bytes not yet sent say", with.against_rule, 0));
            let whole = MARK..MARK + CHUNK;
            let what = format!("at EAGAIN the bytes not yet sent are the mark, {whole:?}");
            holds(what, whole.contains(&with.at_full), with.at_full)
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "poll-tcp-out-hysteresis",
        claim: "A TCP socket has OUT exactly while at least a third of its send buffer is free, though send takes \
                bytes until it is full. One byte read by the peer does not bring OUT back.",
        reference: "sk_stream_is_writeable in include/net/sock.h: the free part must be half of the used one",
        matters: "A writer is woken for a good piece, not for each byte. Without OUT a send may well succeed.",
        experiment: "The peer does not read; 8 KiB at a time is sent until EAGAIN, with poll and SO_MEMINFO after \
                     each; the peer reads a byte, a fence is crossed, poll; the peer reads all, poll.",
        run: |k| {
            let fence = Fence::new(k)?;
            let (ours, peer) = pair_with_small_buffers(k)?;
            set_option(k, ours, IPPROTO_TCP, libc::TCP_NOTSENT_LOWAT, -1)?;
            let memory = || {
                let mut words = [0; 36];
                let n = k.getsockopt(ours, SOL_SOCKET, libc::SO_MEMINFO, &mut words)?;
                needs(Why::Oracle, "SO_MEMINFO tells what is queued", n >= 24, n)?;
                let word =
                    |n: usize| i32::from_ne_bytes([words[n], words[n + 1], words[n + 2], words[n + 3]]);
                // SK_MEMINFO_SNDBUF and SK_MEMINFO_WMEM_QUEUED of linux/sock_diag.h.
                Ok((word(12), word(20)))
            };
            let filled = fill_and_watch(k, ours, 8 << 10, memory, |(size, used)| size - used >= used / 2)?;
            is("sends after which OUT was not as the free memory says", filled.against_rule, 0)?;
            let (size, used) = filled.at_full;
            let whole = size > 0 && used >= size;
            holds("at EAGAIN the whole buffer is used", whole, format!("{used} of {size} bytes"))?;
            is("with a full buffer", mask(k, ours)?, NONE)?;
            is("recv at the peer", k.recv(peer, &mut [0], MSG_DONTWAIT), Ok(1))?;
            fence.cross(k)?;
            is("after the peer has read a byte", mask(k, ours)?, NONE)?;
            set_time_limit(k, peer, libc::SO_RCVTIMEO, i64::from(bound_ms()))?;
            let (mut left, mut buffer) = (filled.taken - 1, vec![0; 64 << 10]);
            while left > 0 {
                match k.recv(peer, &mut buffer, 0)? {
                    0 => {
                        return skip(
                            Why::Setup,
                            format!("the peer cannot read all: {left} bytes are missing"),
                        );
                    }
                    n => left -= n.min(left),
                }
            }
            is("after the peer has read all", mask_with(k, ours, OUT)?, OUT)
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "poll-unix-out-quarter-rule",
        claim: "An AF_UNIX stream has OUT exactly while less than a quarter of SO_SNDBUF is used, though send takes \
                the other three quarters as well.",
        reference: "unix_writable in net/unix/af_unix.c: (wmem << 2) <= sndbuf; sock_alloc_send_pskb in net/core/sock.c",
        matters: "A loop that writes only when there is OUT uses a quarter of the buffer. And as long as the peer \
                  leaves more than a quarter unread, there is no OUT though send would succeed.",
        experiment: "1 KiB at a time is sent until EAGAIN, with poll and SIOCOUTQ before each; the peer reads half, \
                     poll and send; the peer reads the rest, poll.",
        run: |k| {
            let (ours, peer) = unix_pair(k)?;
            let size = option(k, ours, SOL_SOCKET, SO_SNDBUF)?;
            let send = || k.send(ours, &[b'x'; 1024], MSG_DONTWAIT | MSG_NOSIGNAL);
            let used = || {
                let mut bytes = 0;
                k.ioctl(ours, libc::TIOCOUTQ, &mut bytes)?;
                Held::Ok(bytes)
            };
            let (mut all, mut with_out, mut against_rule) = (0, 0, 0);
            loop {
                let out = mask(k, ours)? == OUT;
                against_rule += usize::from(out != (i64::from(used()?) * 4 < i64::from(size)));
                match send() {
                    Ok(_) => all += 1,
                    Err(refusal) if refusal.errno == Errno::EAGAIN => break,
                    Err(refusal) => return Err(refusal.into()),
                }
                with_out += usize::from(out);
            }
            is("sends before which OUT was not as the used memory says", against_rule, 0)?;
            needs(
                Why::Setting,
                "some sends fit into a quarter of SO_SNDBUF",
                with_out > 2 && all > with_out,
                all,
            )?;
            holds("at EAGAIN the whole buffer is used", used()? >= size, used()?)?;
            let receive = |pieces: usize| -> Held {
                for _ in 0..pieces {
                    k.recv(peer, &mut [0; 1024], MSG_DONTWAIT)?;
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

/// What filling a socket showed.
#[derive(Debug)]
struct Filled<T> {
    /// What `measure` said when send gave EAGAIN.
    at_full: T,
    /// What send took in all, in bytes.
    taken: usize,
    /// After how many sends OUT was not as the rule says.
    against_rule: usize,
}

/// Send `chunk` bytes at a time until EAGAIN; after each OUT is compared with what `rule` says of what was measured. While
/// acknowledgements are under way both change: a look counts if the measure is the same before and after it.
fn fill_and_watch<T: PartialEq>(
    k: K,
    fd: i32,
    chunk: usize,
    measure: impl Fn() -> Held<T>,
    rule: impl Fn(&T) -> bool,
) -> Held<Filled<T>> {
    let fence = Fence::new(k)?;
    let bytes = vec![b'x'; chunk];
    let (mut taken, mut against_rule) = (0, 0);
    loop {
        match k.send(fd, &bytes, MSG_DONTWAIT | MSG_NOSIGNAL) {
            Ok(n) => taken += n,
            Err(refusal) if refusal.errno == Errno::EAGAIN => {
                fence.cross(k)?;
                let at_full = measure()?;
                match k.send(fd, b"x", MSG_DONTWAIT | MSG_NOSIGNAL) {
                    Ok(n) => taken += n,
                    Err(_) => return Ok(Filled { at_full, taken, against_rule }),
                }
            }
            Err(refusal) => return Err(refusal.into()),
        }
        let (measured, out) = (measure()?, mask(k, fd)? == OUT);
        if measure()? == measured {
            against_rule += usize::from(out != rule(&measured));
        }
    }
}
